// scan.c -- products along axes, cumulative sums and products.
//
// Everything runs in f64 inside. Gradients never divide by a factor, so that zeros among them are factors like others:
// the derivative of a product in a factor is the product of those before it and those after it, and a cumulative
// product's is a linear recurrence. In f32 such a partial product may overflow although the whole one does not.
#include "axis.h"
#include "cotangent.h"

// Cumulative from the front, or from the back.
typedef struct scan_attr {
    axis_attr along;
    int32_t back;
    int32_t adjoint;  // of recurrence
} scan_attr;

static axis_runs scan_runs(const ad_kernel *k) { return axis_runs_of(k, &((const scan_attr *)k->attr)->along); }

// y[i] = JOIN of t, the result before, and v = x[i]; START before the first.
#define SCAN(NAME, T, START, JOIN)                                                                   \
    static void NAME(const ad_kernel *k) {                                                           \
        const axis_runs runs = scan_runs(k);                                                         \
        const T *x = k->x[0].data;                                                                   \
        const bool back = ((const scan_attr *)k->attr)->back;                                        \
        T *y = k->y;                                                                                 \
        double sum[AXIS_LANES];                                                                      \
        AXIS_FOR_RUNS(runs, from, removed, to, m, {                                                  \
            (void)removed;                                                                           \
            for (int64_t r = 0; r < m; r++) sum[r] = START;                                          \
            for (int64_t j = 0; j < runs.n; j++) {                                                   \
                const int64_t i = back ? runs.n - 1 - j : j;                                         \
                const T *line = x + from + i * runs.x_step;                                          \
                T *out = y + to + i * runs.y_step;                                                   \
                AD_IVDEP for (int64_t r = 0; r < m; r++) {                                           \
                    const double v = line[r], t = sum[r];                                            \
                    sum[r] = JOIN;                                                                   \
                    out[r] = (T)sum[r];                                                              \
                }                                                                                    \
            }                                                                                        \
        })                                                                                           \
    }
SCAN(cumsum_f32, float, 0, t + v)
SCAN(cumsum_f64, double, 0, t + v)
SCAN(cumprod_f32, float, 1, t *v)
SCAN(cumprod_f64, double, 1, t *v)

#define PROD(NAME, T)                                                                                \
    static void NAME(const ad_kernel *k) {                                                           \
        const axis_runs runs = axis_runs_of(k, k->attr);                                             \
        const T *x = k->x[0].data;                                                                   \
        T *y = k->y;                                                                                 \
        double product[AXIS_LANES];                                                                  \
        AXIS_FOR_RUNS(runs, from, to, full, m, {                                                     \
            (void)full;                                                                              \
            for (int64_t r = 0; r < m; r++) product[r] = 1;                                          \
            for (int64_t i = 0; i < runs.n; i++) {                                                   \
                const T *line = x + from + i * runs.x_step;                                          \
                AD_IVDEP for (int64_t r = 0; r < m; r++) product[r] *= line[r];                      \
            }                                                                                        \
            for (int64_t r = 0; r < m; r++) y[to + r] = (T)product[r];                               \
        })                                                                                           \
    }
PROD(prod_f32, float)
PROD(prod_f64, double)

// From the front, of a = x[0] and b = x[1]: y[i] = b[i] + a[i] y[i-1]; its adjoint: y[i] = b[i] + a[i+1] y[i+1]. From
// the back the same with the axis turned round. In both, a's first element (from the back: last) has no say. A
// cotangent of 0 stays 0 whatever a is.
#define RECURRENCE(NAME, T)                                                                          \
    static void NAME(const ad_kernel *k) {                                                           \
        const axis_runs runs = scan_runs(k);                                                         \
        const scan_attr *attr = k->attr;                                                             \
        const bool down = attr->back != attr->adjoint;                                               \
        const int64_t b_step = axis_in(k, 1, runs.x_step);                                           \
        const T *a = k->x[0].data, *b = k->x[1].data;                                                \
        T *y = k->y;                                                                                 \
        double last[AXIS_LANES];                                                                     \
        AXIS_FOR_RUNS(runs, from, removed, to, m, {                                                  \
            const int64_t from_b = axis_in(k, 1, from - r_) + r_;                                    \
            (void)removed;                                                                           \
            for (int64_t r = 0; r < m; r++) last[r] = 0;                                             \
            for (int64_t j = 0; j < runs.n; j++) {                                                   \
                const int64_t i = down ? runs.n - 1 - j : j;                                         \
                const int64_t at = !attr->adjoint || j == 0 ? i : down ? i + 1 : i - 1;              \
                const T *factor = a + from + at * runs.x_step, *term = b + from_b + i * b_step;      \
                T *out = y + to + i * runs.y_step;                                                   \
                AD_IVDEP for (int64_t r = 0; r < m; r++) {                                           \
                    const double t = last[r], f = factor[r], product = t == 0 ? 0 : t * f;           \
                    last[r] = term[r] + product;                                                     \
                    out[r] = (T)last[r];                                                             \
                }                                                                                    \
            }                                                                                        \
        })                                                                                           \
    }
RECURRENCE(recurrence_f32, float)
RECURRENCE(recurrence_f64, double)

static bool prod_shape(ad_shape_call *call) { return axis_removed(call, call->attr); }
static bool scan_shape(ad_shape_call *call) { return axis_kept(call, &((const scan_attr *)call->attr)->along); }
static double prod_flops(const ad_kernel *k) { return (double)ad_shape_count(*k->x[0].shape) * k->R; }

static bool recurrence_shape(ad_shape_call *call) {
    return axis_kept_of_all(call, &((const scan_attr *)call->attr)->along);
}

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op cumsum_op, cumprod_op, recurrence_op;

static ad_var scan(const ad_op *op, ad_var x, int axis, bool back) {
    const scan_attr attr = {axis_of(x, axis), back, 0};
    return ad_apply(op, &x, 1, &attr, sizeof attr);
}

static ad_var recurrence(ad_var a, ad_var b, const scan_attr *like, bool adjoint) {
    const ad_var x[] = {a, b};
    scan_attr attr = *like;
    attr.adjoint = adjoint;
    return ad_apply(&recurrence_op, x, 2, &attr, sizeof attr);
}

// v moved by one along the axis, away from the end where the scan starts; value takes the free place.
static ad_var moved(ad_var v, int axis, bool back, double value) {
    int64_t n = ad_dim(v, axis);
    if (n == 0) return v;
    return ad_pad(ad_slice(v, axis, back ? 1 : 0, n - 1), axis, back ? 0 : 1, back ? 1 : 0, value);
}

static void cumsum_vjp(const ad_vjp_call *call) {
    const scan_attr *attr = call->attr;
    call->gx[0] = scan(&cumsum_op, call->gy, attr->along.axis, !attr->back);
}

// What y[i] holds of x[k], i from k on, is y[k-1] x[k+1] ... x[i].
static void cumprod_vjp(const ad_vjp_call *call) {
    const scan_attr *attr = call->attr;
    ad_var before = moved(call->y, attr->along.axis, attr->back, 1);
    call->gx[0] = ad_cotangent_mul(recurrence(call->x[0], call->gy, attr, true), before);
}

static void recurrence_vjp(const ad_vjp_call *call) {
    const scan_attr *attr = call->attr;
    ad_var gb = recurrence(call->x[0], call->gy, attr, !attr->adjoint);
    if (call->need[1]) call->gx[1] = gb;
    if (!call->need[0]) return;
    ad_var y = call->y, *later = attr->adjoint ? &gb : &y;  // of the two that a stands between
    *later = moved(*later, attr->along.axis, attr->back, 0);
    call->gx[0] = ad_cotangent_mul(gb, y);
}

// gy times the product of the factors before and that of those after.
static void prod_vjp(const ad_vjp_call *call) {
    const axis_attr *attr = call->attr;
    ad_var x = call->x[0], line = attr->all ? ad_reshape(x, ad_shape1(ad_shape_count(ad_shape_of(x)))) : x;
    int axis = attr->all ? 0 : attr->axis;
    ad_var before = moved(scan(&cumprod_op, line, axis, false), axis, false, 1);
    ad_var after = moved(scan(&cumprod_op, line, axis, true), axis, true, 1);
    ad_var gx = ad_cotangent_mul(ad_cotangent_mul(axis_restored(call->gy, x, attr), before), after);
    call->gx[0] = ad_reshape(gx, ad_shape_of(x));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var prod_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_prod_axis(x[0], 0);
}

static ad_var prod_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_prod_axis(x[0], -1);
}

static ad_var prod_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_prod(x[0]);
}

// One of the factors is 0, and in the next test two are.
static ad_var prod_zero_test(void *arg, const ad_var *x) {
    const double keep[] = {1, 0, 1};
    (void)arg;
    return ad_prod(ad_mul(x[0], ad_constant(x[0].tape, ad_shape1(3), keep)));
}

static ad_var cumprod_zeros_test(void *arg, const ad_var *x) {
    const double keep[] = {1, 0, 1, 0};
    (void)arg;
    return ad_cumprod(ad_mul(x[0], ad_constant(x[0].tape, ad_shape1(4), keep)), 0);
}

static ad_var cumsum_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_cumsum(x[0], -2));
}

static ad_var cumsum_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_cumsum(x[0], 0));
}

static ad_var cumprod_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_cumprod(x[0], -2);
}

static ad_var cumprod_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_cumprod(x[0], 0);
}

static ad_var cumprod_back_test(void *arg, const ad_var *x) {
    (void)arg;
    return scan(&cumprod_op, x[0], 1, true);
}

static ad_var recurrence_test(void *arg, const ad_var *x) {
    (void)arg;
    return recurrence(x[0], x[1], &(scan_attr){{.axis = 1}, 0, 0}, false);
}

static ad_var recurrence_back_test(void *arg, const ad_var *x) {
    (void)arg;
    return recurrence(x[0], x[1], &(scan_attr){{.axis = 0}, 1, 0}, true);
}

static const ad_op_test prod_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = prod_last_test},
    {.n = 1, .x = {{.shape = {3, {3, 2, 2}}}}, .f = prod_first_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = prod_test},
    {.n = 1, .x = {{.shape = {0, {0}}}}, .f = prod_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = prod_zero_test},
};
static const ad_op_test cumsum_tests[] = {
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = cumsum_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}}}, .f = cumsum_test},
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true}}, .f = cumsum_first_test},
};
static const ad_op_test cumprod_tests[] = {
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = cumprod_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}}}, .f = cumprod_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = cumprod_back_test},
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true}}, .f = cumprod_zeros_test},
    {.n = 1, .x = {{.shape = {1, {4}}}}, .f = cumprod_first_test},
};
static const ad_op_test recurrence_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 4}}, .rows = true}, {.shape = {2, {2, 4}}, .rows = true}}, .f = recurrence_test},
    {.n = 2, .x = {{.shape = {2, {4, 2}}}, {.shape = {2, {4, 2}}, .rows = true}}, .f = recurrence_back_test},
    {.n = 2, .x = {{.shape = {2, {3, 2}}}, {.shape = {2, {3, 2}}}}, .f = recurrence_back_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op prod_op = {.name = "prod", .shape = prod_shape, .vjp = prod_vjp, .kernel = {prod_f32, prod_f64},
                              .flops = prod_flops, AD_TESTS(prod_tests)};
static const ad_op cumsum_op = {.name = "cumsum", .shape = scan_shape, .vjp = cumsum_vjp,
                                .kernel = {cumsum_f32, cumsum_f64}, AD_TESTS(cumsum_tests)};
static const ad_op cumprod_op = {.name = "cumprod", .shape = scan_shape, .vjp = cumprod_vjp,
                                 .kernel = {cumprod_f32, cumprod_f64}, AD_TESTS(cumprod_tests)};
static const ad_op recurrence_op = {.name = "recurrence", .shape = recurrence_shape, .vjp = recurrence_vjp,
                                    .kernel = {recurrence_f32, recurrence_f64}, AD_TESTS(recurrence_tests)};

AD_FAMILY(scan) = {&prod_op, &cumsum_op, &cumprod_op, &recurrence_op, NULL};

#if AD_ISA_BASE

static ad_var along(const ad_op *op, ad_var x, axis_attr attr) { return ad_apply(op, &x, 1, &attr, sizeof attr); }

ad_var ad_prod(ad_var x) { return along(&prod_op, x, (axis_attr){.all = 1}); }
ad_var ad_prod_axis(ad_var x, int axis) { return along(&prod_op, x, axis_of(x, axis)); }
ad_var ad_cumsum(ad_var x, int axis) { return scan(&cumsum_op, x, axis, false); }
ad_var ad_cumprod(ad_var x, int axis) { return scan(&cumprod_op, x, axis, false); }

#endif
