// reduce.c -- sums and norms over feature axes, sums over rows, and the means and variances made of them.
//
// All sums accumulate in f64; a norm takes its square root there, too, so that in f32 no square overflows or vanishes.
// The order of additions is fixed by shapes, R and live lanes, never by the instruction set: over features each lane
// adds one feature after the other; over the lanes of a feature, and over a contiguous shared tensor, sixteen partial
// sums (number j takes the elements j, j + 16, ...) are added as a tree.
#include "axis.h"
#include "cotangent.h"

enum { PARTS = 16 };

// What is summed: the elements, or their squares, of which the root is taken.
typedef enum sum_kind { SUM, NORM } sum_kind;

AD_INLINE const void *element(const void *x, int64_t i, ad_type type) {
    return (const char *)x + (size_t)i * (type == AD_F32 ? sizeof(float) : sizeof(double));
}

AD_INLINE vd load(const void *x, ad_type type) { return type == AD_F32 ? vd_from_f32(x) : vd_load(x); }

// The first n elements, at most VD, and zeros.
AD_INLINE vd load_part(const void *x, int64_t n, ad_type type) {
    if (n >= VD) return load(x, type);
    return type == AD_F32 ? vd_from_f32_part(x, (size_t)n) : vd_load_part(x, (size_t)n);
}

AD_INLINE double load_one(const void *x, ad_type type) {
    return type == AD_F32 ? *(const float *)x : *(const double *)x;
}

AD_INLINE void store(void *y, int64_t i, vd a, ad_type type) {
    if (type == AD_F32) {
        vd_to_f32((float *)y + i, a);
    } else {
        vd_store((double *)y + i, a);
    }
}

AD_INLINE void store_one(void *y, int64_t i, double a, ad_type type) {
    if (type == AD_F32) {
        ((float *)y)[i] = (float)a;
    } else {
        ((double *)y)[i] = a;
    }
}

// ---- over features -------------------------------------------------------------------------------------------------

AD_INLINE vd add(vd sum, vd x, sum_kind kind) {
    if (kind == NORM) x = x * x;
    return sum + x;
}
AD_INLINE vd finish(vd sum, sum_kind kind) { return kind == NORM ? vd_sqrt(sum) : sum; }

// y[at + r] = sum over i < n of x[i step + r], for r < lanes: four vectors of lanes at a time.
AD_INLINE void sum_lanes(const void *x, int64_t step, int64_t n, int64_t lanes, void *y, int64_t at, ad_type type,
                         sum_kind kind) {
    int64_t r = 0;
    for (; r + 4 * VD <= lanes; r += 4 * VD) {
        vd sum[4] = {vd_set(0), vd_set(0), vd_set(0), vd_set(0)};
        for (int64_t i = 0; i < n; i++)
            for (int v = 0; v < 4; v++)
                sum[v] = add(sum[v], load(element(x, i * step + r + v * VD, type), type), kind);
        for (int v = 0; v < 4; v++) store(y, at + r + v * VD, finish(sum[v], kind), type);
    }
    for (; r + VD <= lanes; r += VD) {
        vd sum = vd_set(0);
        for (int64_t i = 0; i < n; i++) sum = add(sum, load(element(x, i * step + r, type), type), kind);
        store(y, at + r, finish(sum, kind), type);
    }
    for (; r < lanes; r++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            double v = load_one(element(x, i * step + r, type), type);
            sum += kind == NORM ? v * v : v;
        }
        store_one(y, at + r, kind == NORM ? sqrt(sum) : sum, type);
    }
}

// The sum of n contiguous elements.
AD_INLINE double sum_contiguous(const void *x, int64_t n, ad_type type, sum_kind kind) {
    vd sum[PARTS / VD];
    for (int v = 0; v < PARTS / VD; v++) sum[v] = vd_set(0);
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (int v = 0; v < PARTS / VD; v++) sum[v] = add(sum[v], load(element(x, i + v * VD, type), type), kind);
    for (int v = 0; i < n; v++, i += VD) sum[v] = add(sum[v], load_part(element(x, i, type), n - i, type), kind);
    for (int half = PARTS / VD / 2; half > 0; half /= 2)
        for (int v = 0; v < half; v++) sum[v] = sum[v] + sum[v + half];
    return kind == NORM ? sqrt(vd_sum(sum[0])) : vd_sum(sum[0]);
}

AD_INLINE void sum_kernel(const ad_kernel *k, ad_type type, sum_kind kind) {
    const ad_kernel_operand *x = &k->x[0];
    const axis_runs runs = axis_runs_of(k, k->attr);
    for (int64_t p = 0; p < runs.pre; p++)
        for (int64_t q = 0; q < runs.post; q++) {
            const void *from = element(x->data, axis_x(&runs, p, q), type);
            if (!x->lane && runs.x_step == 1) {
                store_one(k->y, p, sum_contiguous(from, runs.n, type, kind), type);
            } else {
                sum_lanes(from, runs.x_step, runs.n, runs.lanes, k->y, axis_y(&runs, p, q), type, kind);
            }
        }
}

static void sum_f32(const ad_kernel *k) { sum_kernel(k, AD_F32, SUM); }
static void sum_f64(const ad_kernel *k) { sum_kernel(k, AD_F64, SUM); }
static void norm_f32(const ad_kernel *k) { sum_kernel(k, AD_F32, NORM); }
static void norm_f64(const ad_kernel *k) { sum_kernel(k, AD_F64, NORM); }

static bool sum_shape(ad_shape_call *call) { return axis_removed(call, call->attr); }

static void sum_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_expand(axis_restored(call->gy, call->x[0], call->attr), ad_shape_of(call->x[0]));
}

// x gy / y, and 0 where y is 0.
static void norm_vjp(const ad_vjp_call *call) {
    ad_var y = call->y, zero = ad_number(y.tape, 0);
    ad_var slope = ad_where(ad_equal(y, zero), zero, ad_cotangent_div(call->gy, y));
    call->gx[0] = ad_cotangent_mul(axis_restored(slope, call->x[0], call->attr), call->x[0]);
}

static double sum_flops(const ad_kernel *k) { return (double)ad_shape_count(*k->x[0].shape) * k->R; }

static double norm_flops(const ad_kernel *k) { return 2 * sum_flops(k); }

// ---- over rows -----------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
AD_INLINE int64_t sum_rows_together(const ad_kernel *k, ad_type type) { return (void)k, (void)type, 0; }
#else
#include "transpose.h"

// The sums of VD features at x, in sum_contiguous's order; n: a multiple of PARTS.
AD_INLINE vd sum_features(const void *x, int64_t stride, int64_t n, ad_type type) {
    vd part[PARTS / VD][VD];
    AD_UNROLL for (int v = 0; v < PARTS / VD; v++) {
        AD_UNROLL for (int f = 0; f < VD; f++) part[v][f] = vd_set(0);
    }
    for (int64_t i = 0; i < n; i += PARTS) {
        AD_UNROLL for (int f = 0; f < VD; f++) {
            AD_UNROLL for (int v = 0; v < PARTS / VD; v++)
                part[v][f] = part[v][f] + load(element(x, f * stride + i + v * VD, type), type);
        }
    }
    AD_UNROLL for (int half = PARTS / VD / 2; half > 0; half /= 2) {
        AD_UNROLL for (int v = 0; v < half; v++) {
            AD_UNROLL for (int f = 0; f < VD; f++) part[v][f] = part[v][f] + part[v + half][f];
        }
    }
    return sum_each_f64(part[0]);
}

// Whole groups of features of whole blocks; returns how many features that were.
AD_INLINE int64_t sum_rows_together(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *x = &k->x[0];
    int64_t features = ad_shape_count(*k->shape), f = 0;
    double *y = k->y;
    if (k->live % PARTS != 0) return 0;
    for (; f + VD <= features; f += VD) {
        vd sum = sum_features(element(x->data, f * x->stride, type), x->stride, k->live, type);
        if (!k->first) sum = vd_load(y + f) + sum;
        vd_store(y + f, sum);
    }
    return f;
}
#endif

AD_INLINE void sum_rows_kernel(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *x = &k->x[0];
    int64_t features = ad_shape_count(*k->shape);
    double *y = k->y;
    for (int64_t f = sum_rows_together(k, type); f < features; f++) {
        double sum = sum_contiguous(element(x->data, f * x->stride, type), k->live, type, SUM);
        y[f] = k->first ? sum : y[f] + sum;
    }
}

static void sum_rows_f32(const ad_kernel *k) { sum_rows_kernel(k, AD_F32); }
static void sum_rows_f64(const ad_kernel *k) { sum_rows_kernel(k, AD_F64); }

static bool sum_rows_shape(ad_shape_call *call) {
    if (!call->rows[0]) return ad_shape_fail(call, "the operand is shared: expected one that has rows");
    call->y = call->x[0];
    return true;
}

static void sum_rows_vjp(const ad_vjp_call *call) { call->gx[0] = ad_to_rows(call->gy, ad_rows_of(call->x[0])); }

// ---- variances over rows: what only a run knows --------------------------------------------------------------------

// x[0] over x[1] - ddof, x[1] the number of rows.
#define OVER_ROWS(NAME, T)                                                                                     \
    static void NAME(const ad_kernel *k) {                                                                     \
        const ad_kernel_operand *x = &k->x[0];                                                                 \
        const T rows = *(const T *)k->x[1].data, divisor = rows - (T) * (const double *)k->attr;               \
        const int64_t features = ad_shape_count(*k->shape);                                                    \
        if (!(divisor > 0))                                                                                    \
            ad_kernel_fail(k, 0, AD_EARG, "%.0f rows less ddof %.0f leave nothing to divide by", (double)rows, \
                           *(const double *)k->attr);                                                          \
        for (int64_t f = 0; f < features; f++)                                                                 \
            for (int r = 0; r < k->R; r++)                                                                     \
                ((T *)k->y)[f * k->R + r] = ((const T *)x->data)[f * x->stride + r] / divisor;                 \
    }
OVER_ROWS(over_rows_f32, float)
OVER_ROWS(over_rows_f64, double)

static bool over_rows_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return call->x[1].rank == 0 || ad_shape_fail(call, "the number of rows is no scalar");
}

static const ad_op variance_rows_op;

static ad_var over_rows_less(ad_var sum, ad_var rows, double ddof) {
    const ad_var x[] = {sum, rows};
    return ad_apply(&variance_rows_op, x, 2, &ddof, sizeof ddof);
}

static void over_rows_vjp(const ad_vjp_call *call) {
    call->gx[0] = over_rows_less(call->gy, call->x[1], *(const double *)call->attr);
}

// ---- tests ---------------------------------------------------------------------------------------------------------
// Squares, so that the second derivative is not zero.

static ad_var sum_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_sum(ad_square(x[0]));
}

static ad_var sum_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_sum_axis(ad_square(x[0]), 0);
}

static ad_var sum_middle_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_sum_axis(x[0], -2));
}

static ad_var mean_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mean_axis(ad_square(x[0]), -1);
}

static ad_var mean_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_mean(x[0]));
}

static ad_var sum_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_sum_rows(ad_square(x[0])));
}

static ad_var mean_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mean_rows(ad_square(x[0]));
}

static ad_var norm_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_norm_axis(x[0], -1);
}

static ad_var norm_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_norm_axis(x[0], 0);
}

static ad_var norm_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_norm(x[0]);
}

static ad_var variance_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_variance(x[0], 0);
}

static ad_var variance_axis_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_variance_axis(x[0], 1, 1);
}

static ad_var variance_rows_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_variance_rows(x[0], -1);  // of one row, too
}

static ad_var variance_population_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_variance_rows(x[0], 0));
}

static const ad_op_test norm_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.2, .high = 1.5}}, .f = norm_last_test},
    {.n = 1, .x = {{.shape = {3, {3, 2, 2}}, .low = -1.5, .high = -0.2}}, .f = norm_first_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -1.5, .high = -0.2}}, .f = norm_test},
    {.n = 1, .x = {{.shape = {1, {5}}, .low = 0.2, .high = 1.5}}, .f = norm_test},
};
static const ad_op_test sum_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {1, {5}}}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = sum_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = sum_middle_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}}}, .f = sum_middle_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = mean_last_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}}}, .f = mean_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}, .rows = true}}, .f = variance_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = variance_axis_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}}}, .f = variance_axis_test},
};
static const ad_op_test sum_rows_tests[] = {
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = sum_rows_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = sum_rows_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = mean_rows_test},
};
static const ad_op_test variance_rows_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = variance_rows_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = variance_population_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op sum_op = {.name = "sum",
                             .flags = AD_OP_STRIDED,
                             .shape = sum_shape,
                             .vjp = sum_vjp,
                             .kernel = {sum_f32, sum_f64},
                             .flops = sum_flops,
                             AD_TESTS(sum_tests)};
static const ad_op norm_op = {.name = "norm",
                              .flags = AD_OP_STRIDED,
                              .shape = sum_shape,
                              .vjp = norm_vjp,
                              .kernel = {norm_f32, norm_f64},
                              .flops = norm_flops,
                              AD_TESTS(norm_tests)};
static const ad_op sum_rows_op = {.name = "sum_rows",
                                  .flags = AD_OP_REDUCES_ROWS | AD_OP_STRIDED | AD_OP_F64_SUM,
                                  .shape = sum_rows_shape,
                                  .vjp = sum_rows_vjp,
                                  .kernel = {sum_rows_f32, sum_rows_f64},
                                  .flops = sum_flops,
                                  AD_TESTS(sum_rows_tests)};

static const ad_op variance_rows_op = {.name = "variance_rows",
                                       .shape = over_rows_shape,
                                       .vjp = over_rows_vjp,
                                       .kernel = {over_rows_f32, over_rows_f64},
                                       AD_TESTS(variance_rows_tests)};

AD_FAMILY(reduce) = {&sum_op, &norm_op, &sum_rows_op, &variance_rows_op, NULL};

#if AD_ISA_BASE
#include "../internal.h"

static ad_var along(const ad_op *op, ad_var x, axis_attr attr) { return ad_apply(op, &x, 1, &attr, sizeof attr); }

ad_var ad_sum(ad_var x) { return along(&sum_op, x, (axis_attr){.all = 1}); }
ad_var ad_sum_axis(ad_var x, int axis) { return along(&sum_op, x, axis_of(x, axis)); }
ad_var ad_norm(ad_var x) { return along(&norm_op, x, (axis_attr){.all = 1}); }
ad_var ad_norm_axis(ad_var x, int axis) { return along(&norm_op, x, axis_of(x, axis)); }

// The sum over the number of elements n.
static ad_var mean(ad_var x, axis_attr attr, int64_t n) {
    char text[80];
    if (n < 1)
        ad_tape_fail(x.tape, AD_ESHAPE, "mean: no elements along %s of shape %s", attr.all ? "all axes" : "the axis",
                     ad_shape_print(ad_shape_of(x), text, sizeof text));
    return n < 1 ? ad_inert(x.tape) : ad_scale(along(&sum_op, x, attr), 1.0 / (double)n);
}

ad_var ad_mean(ad_var x) {
    if (!ad_check_var(x, "mean")) return ad_inert(x.tape);
    return mean(x, (axis_attr){.all = 1}, ad_shape_count(ad_shape_of(x)));
}
ad_var ad_mean_axis(ad_var x, int axis) {
    return ad_check_axis(x, axis, "mean") >= 0 ? mean(x, axis_of(x, axis), ad_dim(x, axis)) : ad_inert(x.tape);
}

static ad_var sum_rows(ad_var x) { return ad_apply(&sum_rows_op, &x, 1, NULL, 0); }

static ad_var mean_rows(ad_var x) { return ad_div(sum_rows(x), ad_row_count(ad_rows_of(x))); }

ad_var ad_sum_rows(ad_var x) { return ad_check_has_rows(x, "sum_rows") ? sum_rows(x) : ad_inert(x.tape); }
ad_var ad_mean_rows(ad_var x) { return ad_check_has_rows(x, "mean_rows") ? mean_rows(x) : ad_inert(x.tape); }

// The sum of squares around the mean, over the number of elements n less ddof.
static ad_var variance(ad_var x, axis_attr attr, int64_t n, int ddof) {
    if (n < 1 || n - ddof <= 0) {
        ad_tape_fail(x.tape, AD_EARG, "variance: %lld elements less ddof %d leave nothing to divide by", (long long)n,
                     ddof);
        return ad_inert(x.tape);
    }
    ad_var centre = axis_restored(mean(x, attr, n), x, &attr);
    return ad_scale(along(&sum_op, ad_square(ad_sub(x, centre)), attr), 1.0 / (double)(n - ddof));
}

ad_var ad_variance(ad_var x, int ddof) {
    if (!ad_check_var(x, "variance")) return ad_inert(x.tape);
    return variance(x, (axis_attr){.all = 1}, ad_shape_count(ad_shape_of(x)), ddof);
}
ad_var ad_variance_axis(ad_var x, int axis, int ddof) {
    if (ad_check_axis(x, axis, "variance") < 0) return ad_inert(x.tape);
    return variance(x, axis_of(x, axis), ad_dim(x, axis), ddof);
}

ad_var ad_variance_rows(ad_var x, int ddof) {
    if (!ad_check_has_rows(x, "variance_rows")) return ad_inert(x.tape);
    return over_rows_less(sum_rows(ad_square(ad_sub(x, mean_rows(x)))), ad_row_count(ad_rows_of(x)), ddof);
}

#endif
