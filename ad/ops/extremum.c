// extremum.c -- largest and smallest elements along axes and over rows, and where they are.
//
// The first of equal ones is the one; NaN is larger and smaller than any number, so the first NaN where there is one.
// Over rows equal ones share: they come in no order there.
#include "axis.h"
#include "cotangent.h"

typedef struct extremum_attr {
    axis_attr along;
    int32_t least, zero;
} extremum_attr;

// What a kernel writes: the extremum, its number along the axis, or 1 at its place and 0 elsewhere.
typedef enum extremum_kind { VALUE, NUMBER, MASK } extremum_kind;

// best[r]: largest of s x[i step + r], i < n, for r < m lanes.
#define LARGEST(NAME, T)                                                                            \
    AD_INLINE void NAME(const T *x, int64_t step, int64_t n, int64_t m, T s, T *best) {             \
        for (int64_t r = 0; r < m; r++) best[r] = s * x[r];                                         \
        for (int64_t i = 1; i < n; i++) {                                                           \
            const T *line = x + i * step;                                                           \
            AD_IVDEP for (int64_t r = 0; r < m; r++) {                                              \
                const T v = s * line[r], t = best[r];                                               \
                best[r] = (v > t) | (v != v) ? v : t;                                               \
            }                                                                                       \
        }                                                                                           \
    }

// at[r]: the number i of the first of the largest.
#define FIRST(NAME, T)                                                                              \
    AD_INLINE void NAME(const T *x, int64_t step, int64_t n, int64_t m, T s, T *best, T *at) {      \
        for (int64_t r = 0; r < m; r++) best[r] = s * x[r], at[r] = 0;                              \
        for (int64_t i = 1; i < n; i++) {                                                           \
            const T *line = x + i * step, number = (T)i;                                            \
            AD_IVDEP for (int64_t r = 0; r < m; r++) {                                              \
                const T v = s * line[r], t = best[r], a = at[r];                                    \
                const int take = (v > t) | ((v != v) & (t == t));                                   \
                best[r] = take ? v : t;                                                             \
                at[r] = take ? number : a;                                                          \
            }                                                                                       \
        }                                                                                           \
    }

#define EXTREMUM(NAME, T, LARGEST_OF, FIRST_OF)                                                     \
    AD_INLINE void NAME(const ad_kernel *k, extremum_kind kind) {                                   \
        const extremum_attr *attr = k->attr;                                                        \
        const axis_runs runs = axis_runs_of(k, &attr->along);                                       \
        const T s = attr->least ? -1 : 1, *x = k->x[0].data;                                        \
        T *y = k->y, best[AXIS_LANES], at[AXIS_LANES];                                              \
        AXIS_FOR_RUNS(runs, from, to, full, m, {                                                    \
            if (kind == VALUE) LARGEST_OF(x + from, runs.x_step, runs.n, m, s, best);               \
            else FIRST_OF(x + from, runs.x_step, runs.n, m, s, best, at);                           \
            for (int64_t r = 0; r < m && kind == VALUE; r++) y[to + r] = s * best[r];               \
            for (int64_t r = 0; r < m && kind == NUMBER; r++) y[to + r] = at[r];                    \
            for (int64_t i = 0; i < runs.n && kind == MASK; i++)                                    \
                for (int64_t r = 0; r < m; r++) y[full + i * runs.y_step + r] = at[r] == (T)i;      \
        })                                                                                          \
    }

LARGEST(largest_f32, float)
LARGEST(largest_f64, double)
FIRST(first_f32, float)
FIRST(first_f64, double)
EXTREMUM(extremum_f32, float, largest_f32, first_f32)
EXTREMUM(extremum_f64, double, largest_f64, first_f64)

static void value_f32(const ad_kernel *k) { extremum_f32(k, VALUE); }
static void value_f64(const ad_kernel *k) { extremum_f64(k, VALUE); }
static void argmax_f32(const ad_kernel *k) { extremum_f32(k, NUMBER); }
static void argmax_f64(const ad_kernel *k) { extremum_f64(k, NUMBER); }
static void mask_f32(const ad_kernel *k) { extremum_f32(k, MASK); }
static void mask_f64(const ad_kernel *k) { extremum_f64(k, MASK); }

static bool value_shape(ad_shape_call *call) {
    return axis_removed_not_empty(call, &((const extremum_attr *)call->attr)->along);
}
static bool mask_shape(ad_shape_call *call) { return axis_kept(call, &((const extremum_attr *)call->attr)->along); }

static const ad_op mask_op;

static void value_vjp(const ad_vjp_call *call) {
    const extremum_attr *attr = call->attr;
    ad_var x = call->x[0], mask = ad_apply(&mask_op, &x, 1, attr, sizeof *attr);
    call->gx[0] = ad_where(mask, axis_restored(call->gy, x, &attr->along), ad_number(x.tape, 0));
}

static double extremum_flops(const ad_kernel *k) { return (double)ad_shape_count(*k->x[0].shape) * k->R; }

// ---- over rows -----------------------------------------------------------------------------------------------------

// Sixteen largest ones side by side, then the largest of them: the order does not matter.
#define MAX_ROWS(NAME, T)                                                                           \
    static void NAME(const ad_kernel *k) {                                                          \
        const ad_kernel_operand *x = &k->x[0];                                                      \
        const int64_t features = ad_shape_count(*k->shape), live = k->live, whole = live / 16 * 16; \
        T *y = k->y, best[16];                                                                      \
        for (int64_t f = 0; f < features; f++) {                                                    \
            const T *line = (const T *)x->data + f * x->stride;                                     \
            for (int j = 0; j < 16; j++) best[j] = k->first ? line[0] : y[f];                       \
            for (int64_t r = 0; r < live; r += 16)                                                  \
                for (int64_t j = 0; j < (r < whole ? 16 : live - r); j++) {                         \
                    const T v = line[r + j], t = best[j];                                           \
                    best[j] = (v > t) | (v != v) ? v : t;                                           \
                }                                                                                   \
            for (int j = 1; j < 16; j++)                                                            \
                best[0] = (best[j] > best[0]) | (best[j] != best[j]) ? best[j] : best[0];           \
            y[f] = best[0];                                                                         \
        }                                                                                           \
    }
MAX_ROWS(max_rows_f32, float)
MAX_ROWS(max_rows_f64, double)

static bool max_rows_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// Equal ones share the cotangent. Where the largest is NaN no row is equal to it and none gets any.
static void max_rows_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0], mask = ad_equal(x, call->y);
    ad_var share = ad_cotangent_div(call->gy, ad_sum_rows(mask));
    call->gx[0] = ad_where(mask, share, ad_number(x.tape, 0));
}

// ---- tests ---------------------------------------------------------------------------------------------------------
// Differences must not cross from one element to another unawares. So the largest is known to be x or -x, with a kink
// at 0, or elements are moved apart by constants, rows by random numbers that are the same in every run.

// x with -x below it along a new first axis.
static ad_var both_signs(ad_var x) {
    ad_var pair[] = {x, ad_neg(x)};
    return ad_stack(pair, 2, 0);
}

// x with every element further from the others than its range: the largest is neither first nor last.
static ad_var apart(ad_var x) {
    ad_shape shape = ad_shape_of(x);
    double offset[24];
    int64_t n = ad_shape_count(shape);
    for (int64_t i = 0; i < n && i < 24; i++) offset[i] = 8 * (double)((7 * i + 5) % (n + 1));
    return ad_add(x, ad_constant(x.tape, shape, offset));
}

static ad_var max_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_max_axis(both_signs(x[0]), 0));
}

static ad_var max_middle_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_max_axis(apart(x[0]), -2));
}

static ad_var max_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_max(apart(x[0])));
}

static ad_var min_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_min_axis(both_signs(x[0]), 0));
}

static ad_var min_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_min_axis(apart(x[0]), -1));
}

static ad_var min_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_min(apart(x[0])));
}

static ad_var argmax_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_argmax(apart(x[0]), -1);
}

static ad_var mask_test(void *arg, const ad_var *x) {
    const extremum_attr attr = {{.all = 1}, 0, 0};
    ad_var y = apart(x[0]);
    (void)arg;
    return ad_apply(&mask_op, &y, 1, &attr, sizeof attr);
}

static const ad_random row_numbers = {1, 0};

static ad_var rows_apart(ad_var x) {
    return ad_add(x, ad_scale(ad_uniform(ad_rows_of(x), ad_shape_of(x), &row_numbers, 0), 1000));
}

static ad_var max_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_max_rows(rows_apart(x[0])));
}

static ad_var min_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_min_rows(rows_apart(x[0])));
}

static const double zero_kink[] = {0};
static const ad_op_test max_tests[] = {
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .kinks = zero_kink, .n_kinks = 1}}, .f = max_first_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .kinks = zero_kink, .n_kinks = 1}}, .f = max_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = max_middle_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}}}, .f = max_middle_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = max_test},
    {.n = 1, .x = {{.shape = {1, {4}}}}, .f = max_test},
};
static const ad_op_test min_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true, .kinks = zero_kink, .n_kinks = 1}}, .f = min_first_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}, .rows = true}}, .f = min_last_test},
    {.n = 1, .x = {{.shape = {3, {2, 2, 3}}}}, .f = min_last_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = min_test},
};
static const ad_op_test argmax_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = argmax_test},
    {.n = 1, .x = {{.shape = {1, {4}}}}, .f = argmax_test},
};
static const ad_op_test mask_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = mask_test}};
static const ad_op_test max_rows_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = max_rows_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = max_rows_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = min_rows_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op max_op = {.name = "max", .shape = value_shape, .vjp = value_vjp, .kernel = {value_f32, value_f64},
                             .flops = extremum_flops, AD_TESTS(max_tests)};
static const ad_op min_op = {.name = "min", .shape = value_shape, .vjp = value_vjp, .kernel = {value_f32, value_f64},
                             .flops = extremum_flops, AD_TESTS(min_tests)};
static const ad_op argmax_op = {.name = "argmax", .flags = AD_OP_CONSTANT, .shape = value_shape,
                                .kernel = {argmax_f32, argmax_f64}, .flops = extremum_flops, AD_TESTS(argmax_tests)};
static const ad_op mask_op = {.name = "extremum_mask", .flags = AD_OP_CONSTANT, .shape = mask_shape,
                              .kernel = {mask_f32, mask_f64}, .flops = extremum_flops, AD_TESTS(mask_tests)};
static const ad_op max_rows_op = {.name = "max_rows", .flags = AD_OP_REDUCES_ROWS | AD_OP_MAX_ROWS,
                                  .shape = max_rows_shape, .vjp = max_rows_vjp,
                                  .kernel = {max_rows_f32, max_rows_f64}, .flops = extremum_flops,
                                  AD_TESTS(max_rows_tests)};

AD_FAMILY(extremum) = {&max_op, &min_op, &argmax_op, &mask_op, &max_rows_op, NULL};

#if AD_ISA_BASE

static ad_var along(const ad_op *op, ad_var x, axis_attr axis, bool least) {
    const extremum_attr attr = {axis, least, 0};
    return ad_apply(op, &x, 1, &attr, sizeof attr);
}

ad_var ad_max(ad_var x) { return along(&max_op, x, (axis_attr){.all = 1}, false); }
ad_var ad_max_axis(ad_var x, int axis) { return along(&max_op, x, axis_of(x, axis), false); }
ad_var ad_min(ad_var x) { return along(&min_op, x, (axis_attr){.all = 1}, true); }
ad_var ad_min_axis(ad_var x, int axis) { return along(&min_op, x, axis_of(x, axis), true); }

ad_var ad_argmax(ad_var x, int axis) {
    axis_count_exactly(x, axis, "argmax");
    return along(&argmax_op, x, axis_of(x, axis), false);
}

static ad_var max_rows(ad_var x) { return ad_apply(&max_rows_op, &x, 1, NULL, 0); }

ad_var ad_max_rows(ad_var x) { return ad_check_has_rows(x, "max_rows") ? max_rows(x) : ad_inert(x.tape); }
ad_var ad_min_rows(ad_var x) {
    return ad_check_has_rows(x, "min_rows") ? ad_neg(max_rows(ad_neg(x))) : ad_inert(x.tape);
}

#endif
