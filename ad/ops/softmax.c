// softmax.c -- logsumexp, softmax and log_softmax, along axes and over rows.
//
// No finite element overflows: the largest is subtracted first. Sums accumulate in f64, the largest element apart from
// the others, so that the logarithm of a sum near 1 keeps its digits. -inf is an element of weight 0: of elements that
// are all -inf the logsumexp and its gradient are -inf and 0, the softmax is 0. Where elements are +inf the logsumexp
// is inf, and they alone have weight, equal shares (over rows none has). NaN makes its lane NaN. In f32 a softmax far
// below the largest, e^-d, is off by d/2 + 2 units in the last place: the difference of two floats is rounded to one.
#include <float.h>
#include <sleef.h>

#include "axis.h"
#include "cotangent.h"

typedef enum softmax_kind { LOGSUMEXP, SOFTMAX, LOG_SOFTMAX } softmax_kind;

enum { PARTS = 16 };  // partial sums along a contiguous axis

AD_INLINE vf vf_exp(vf x) { return AD_SLEEF_F32(exp)(x); }
AD_INLINE vd vd_exp(vd x) { return AD_SLEEF_F64(exp)(x); }
AD_INLINE vd vd_log1p(vd x) { return AD_SLEEF_F64(log1p)(x); }

#define REAL float
#define VEC vf
#define WIDTH VF
#define HALVES (VF / VD)
#define LARGEST FLT_MAX
#define NAME(name) AD_CAT(name, f32)
#define V(name) AD_CAT(vf, name)
#define WIDEN_LOW(a) vd_low(a)
#define WIDEN_HIGH(a) vd_high(a)
#define NARROW(y, a) vd_to_f32(y, a)
#include "softmax_real.h"
#undef REAL
#undef VEC
#undef WIDTH
#undef HALVES
#undef LARGEST
#undef NAME
#undef V
#undef WIDEN_LOW
#undef WIDEN_HIGH
#undef NARROW

#define REAL double
#define VEC vd
#define WIDTH VD
#define HALVES 1
#define LARGEST DBL_MAX
#define NAME(name) AD_CAT(name, f64)
#define V(name) AD_CAT(vd, name)
#define WIDEN_LOW(a) (a)
#define WIDEN_HIGH(a) (a)
#define NARROW(y, a) vd_store(y, a)
#include "softmax_real.h"

// The softmax y pulls a cotangent g back: y (g - sum(g y)), in one pass instead of five. No product where a factor of
// cotangents is 0, as in cotangent.h.
#define SLOPE(NAME, T)                                                                               \
    static void NAME(const ad_kernel *k) {                                                           \
        const axis_runs runs = axis_runs_of(k, k->attr);                                             \
        const int64_t y_step = axis_in(k, 1, runs.x_step);                                           \
        double sum[AXIS_LANES];                                                                      \
        AXIS_FOR_RUNS(runs, from, removed, to, m, {                                                  \
            const T *g = (const T *)k->x[0].data + from;                                             \
            const T *y = (const T *)k->x[1].data + axis_in(k, 1, from - r_) + r_;                    \
            T *out = (T *)k->y + to;                                                                 \
            (void)removed;                                                                           \
            for (int64_t r = 0; r < m; r++) sum[r] = 0;                                              \
            for (int64_t i = 0; i < runs.n; i++)                                                     \
                AD_IVDEP for (int64_t r = 0; r < m; r++) {                                           \
                    const double a = g[i * runs.x_step + r], b = y[i * y_step + r];                  \
                    sum[r] += a == 0 ? 0 : a * b;                                                    \
                }                                                                                    \
            for (int64_t i = 0; i < runs.n; i++)                                                     \
                AD_IVDEP for (int64_t r = 0; r < m; r++) {                                           \
                    const double a = g[i * runs.x_step + r] - sum[r], b = y[i * y_step + r];         \
                    out[i * runs.y_step + r] = (T)(a == 0 ? 0 : a * b);                              \
                }                                                                                    \
        })                                                                                           \
    }
SLOPE(slope_f32, float)
SLOPE(slope_f64, double)

static bool logsumexp_shape(ad_shape_call *call) { return axis_removed(call, call->attr); }
static bool softmax_shape(ad_shape_call *call) { return axis_kept(call, call->attr); }
static bool slope_shape(ad_shape_call *call) { return axis_kept_of_all(call, call->attr); }

// Exponentials, sums and divisions count as one each.
static double softmax_flops(const ad_kernel *k) { return 4 * (double)ad_shape_count(*k->x[0].shape) * k->R; }

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op softmax_op, slope_op;

static ad_var sum_along(ad_var x, const axis_attr *attr) {
    return attr->all ? ad_sum(x) : axis_restored(ad_sum_axis(x, attr->axis), x, attr);
}

// Weights made of x - y would have y's rounding error, large where y is.
static void logsumexp_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0], weights = ad_apply(&softmax_op, &x, 1, call->attr, sizeof(axis_attr));
    call->gx[0] = ad_cotangent_mul(axis_restored(call->gy, x, call->attr), weights);
}

static ad_var slope(ad_var g, ad_var y, const axis_attr *attr) {
    const ad_var x[] = {g, y};
    return ad_apply(&slope_op, x, 2, attr, sizeof *attr);
}

static void softmax_vjp(const ad_vjp_call *call) { call->gx[0] = slope(call->gy, call->y, call->attr); }

// In g the slope is its own adjoint; in y, with h the cotangent: h (g - sum(g y)) - g sum(h y).
static void slope_vjp(const ad_vjp_call *call) {
    ad_var g = call->x[0], y = call->x[1], h = call->gy;
    if (call->need[0]) call->gx[0] = slope(h, y, call->attr);
    if (!call->need[1]) return;
    ad_var centered = ad_sub(g, sum_along(ad_cotangent_mul(g, y), call->attr));
    ad_var rest = ad_cotangent_mul(sum_along(ad_cotangent_mul(h, y), call->attr), g);
    call->gx[1] = ad_sub(ad_cotangent_mul(h, centered), rest);
}

static void log_softmax_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_sub(call->gy, ad_cotangent_mul(sum_along(call->gy, call->attr), ad_exp(call->y)));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var logsumexp_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_logsumexp_axis(x[0], 0);
}

static ad_var logsumexp_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_logsumexp_axis(x[0], -1);
}

static ad_var logsumexp_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_logsumexp(x[0]);
}

static ad_var logsumexp_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_logsumexp_rows(x[0]);
}

static ad_var softmax_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_softmax(x[0], 0);
}

static ad_var softmax_middle_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_softmax(x[0], -2);
}

static ad_var softmax_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_softmax(x[0], -1);
}

static ad_var log_softmax_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_log_softmax(x[0], 0);
}

static ad_var log_softmax_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_log_softmax(x[0], -1);
}

static const ad_op_test logsumexp_tests[] = {
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true, .low = -4, .high = 4}}, .f = logsumexp_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = logsumexp_first_test},
    {.n = 1, .x = {{.shape = {2, {2, 20}}}}, .f = logsumexp_last_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = logsumexp_test},
    {.n = 1, .x = {{.shape = {0, {0}}}}, .f = logsumexp_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = logsumexp_rows_test},
};
static const ad_op_test softmax_tests[] = {
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true, .low = -4, .high = 4}}, .f = softmax_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = softmax_middle_test},
    {.n = 1, .x = {{.shape = {2, {2, 20}}}}, .f = softmax_last_test},
    {.n = 1, .x = {{.shape = {3, {3, 2, 2}}}}, .f = softmax_first_test},
};
static ad_var slope_test(void *arg, const ad_var *x) {
    (void)arg;
    return slope(x[0], x[1], &(axis_attr){.axis = 1});
}

static ad_var slope_all_test(void *arg, const ad_var *x) {
    (void)arg;
    return slope(x[0], x[1], &(axis_attr){.all = 1});
}

static const ad_op_test slope_tests[] = {
    {.n = 2, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}, {.shape = {3, {2, 3, 2}}, .rows = true}}, .f = slope_test},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 3}}, .rows = true}}, .f = slope_test},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 3}}}}, .f = slope_all_test},
};
static const ad_op_test log_softmax_tests[] = {
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true, .low = -4, .high = 4}}, .f = log_softmax_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 2, 3}}, .rows = true}}, .f = log_softmax_last_test},
    {.n = 1, .x = {{.shape = {2, {2, 20}}}}, .f = log_softmax_last_test},
    {.n = 1, .x = {{.shape = {3, {3, 2, 2}}}}, .f = log_softmax_first_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op logsumexp_op = {.name = "logsumexp", .shape = logsumexp_shape, .vjp = logsumexp_vjp,
                                   .kernel = {logsumexp_f32, logsumexp_f64}, .flops = softmax_flops,
                                   AD_TESTS(logsumexp_tests)};
static const ad_op softmax_op = {.name = "softmax", .shape = softmax_shape, .vjp = softmax_vjp,
                                 .kernel = {softmax_f32, softmax_f64}, .flops = softmax_flops, AD_TESTS(softmax_tests)};
static const ad_op log_softmax_op = {.name = "log_softmax", .shape = softmax_shape, .vjp = log_softmax_vjp,
                                     .kernel = {log_softmax_f32, log_softmax_f64}, .flops = softmax_flops,
                                     AD_TESTS(log_softmax_tests)};

static const ad_op slope_op = {.name = "softmax_slope", .shape = slope_shape, .vjp = slope_vjp,
                               .kernel = {slope_f32, slope_f64}, .flops = softmax_flops, AD_TESTS(slope_tests)};

AD_FAMILY(softmax) = {&logsumexp_op, &softmax_op, &log_softmax_op, &slope_op, NULL};

#if AD_ISA_BASE

static ad_var along(const ad_op *op, ad_var x, axis_attr attr) { return ad_apply(op, &x, 1, &attr, sizeof attr); }

ad_var ad_logsumexp(ad_var x) { return along(&logsumexp_op, x, (axis_attr){.all = 1}); }
ad_var ad_logsumexp_axis(ad_var x, int axis) { return along(&logsumexp_op, x, axis_of(x, axis)); }
ad_var ad_softmax(ad_var x, int axis) { return along(&softmax_op, x, axis_of(x, axis)); }
ad_var ad_log_softmax(ad_var x, int axis) { return along(&log_softmax_op, x, axis_of(x, axis)); }

// The largest is a constant here: the result does not depend on what is subtracted and added again. The logarithm of
// an empty sum is not taken, so that it has no gradient.
ad_var ad_logsumexp_rows(ad_var x) {
    if (!ad_check_has_rows(x, "logsumexp_rows")) return ad_inert(x.tape);
    ad_var top = ad_stop_gradient(ad_max_rows(x));
    ad_var zero = ad_number(x.tape, 0), one = ad_number(x.tape, 1), lowest = ad_number(x.tape, -INFINITY);
    top = ad_where(ad_equal(ad_sub(top, top), zero), top, zero);  // where it is finite
    ad_var sum = ad_sum_rows(ad_exp(ad_sub(x, top))), empty = ad_equal(sum, zero);
    return ad_where(empty, lowest, ad_add(top, ad_log(ad_where(empty, one, sum))));
}

#endif
