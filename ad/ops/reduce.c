// reduce.c -- sums over feature axes and over rows, and the means made of them.
//
// All sums accumulate in f64. The order of additions is fixed by shapes, R and live lanes, never by the instruction
// set: over features each lane adds one feature after the other; over the lanes of a feature, and over a contiguous
// shared tensor, sixteen partial sums (number j takes the elements j, j + 16, ...) are added as a tree.
#include "simd.h"

enum { PARTS = 16 };

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

// y[r] = sum over i < n of x[i step + r], for r < lanes: four vectors of lanes at a time.
AD_INLINE void sum_lanes(const void *x, int64_t step, int64_t n, int64_t lanes, void *y, int64_t at, ad_type type) {
    int64_t r = 0;
    for (; r + 4 * VD <= lanes; r += 4 * VD) {
        vd a = vd_set(0), b = a, c = a, d = a;
        for (int64_t i = 0; i < n; i++) {
            const void *row = element(x, i * step + r, type);
            a = a + load(row, type);
            b = b + load(element(row, VD, type), type);
            c = c + load(element(row, 2 * VD, type), type);
            d = d + load(element(row, 3 * VD, type), type);
        }
        store(y, at + r, a, type);
        store(y, at + r + VD, b, type);
        store(y, at + r + 2 * VD, c, type);
        store(y, at + r + 3 * VD, d, type);
    }
    for (; r + VD <= lanes; r += VD) {
        vd a = vd_set(0);
        for (int64_t i = 0; i < n; i++) a = a + load(element(x, i * step + r, type), type);
        store(y, at + r, a, type);
    }
    for (; r < lanes; r++) {
        double a = 0;
        for (int64_t i = 0; i < n; i++) a += load_one(element(x, i * step + r, type), type);
        store_one(y, at + r, a, type);
    }
}

// The sum of n contiguous elements.
AD_INLINE double sum_contiguous(const void *x, int64_t n, ad_type type) {
    vd sum[PARTS / VD];
    for (int v = 0; v < PARTS / VD; v++) sum[v] = vd_set(0);
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (int v = 0; v < PARTS / VD; v++) sum[v] = sum[v] + load(element(x, i + v * VD, type), type);
    for (int v = 0; i < n; v++, i += VD) sum[v] = sum[v] + load_part(element(x, i, type), n - i, type);
    for (int half = PARTS / VD / 2; half > 0; half /= 2)
        for (int v = 0; v < half; v++) sum[v] = sum[v] + sum[v + half];
    return vd_sum(sum[0]);
}

// The attribute: which axis, counted from the front, or all of them.
typedef struct sum_attr {
    int32_t axis, all;
} sum_attr;

// x as [pre, n, post], y as [pre, post].
typedef struct sum_extent {
    int64_t pre, n, post;
} sum_extent;

static sum_extent extent(const ad_shape *x, const sum_attr *attr) {
    sum_extent e = {1, 1, 1};
    for (int i = 0; i < x->rank; i++) {
        int64_t *part = attr->all || i == attr->axis ? &e.n : i < attr->axis ? &e.pre : &e.post;
        *part *= x->dim[i];
    }
    return e;
}

AD_INLINE void sum_kernel(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *x = &k->x[0];
    sum_extent e = extent(x->shape, k->attr);
    int64_t R = k->R, step = e.post * x->stride;
    for (int64_t p = 0; p < e.pre; p++) {
        const void *from = element(x->data, p * e.n * step, type);
        if (!x->lane && step == 1) {
            store_one(k->y, p, sum_contiguous(from, e.n, type), type);
        } else if (x->stride == R) {  // no gaps: [post][R] is one run of lanes
            sum_lanes(from, step, e.n, step, k->y, p * step, type);
        } else {
            for (int64_t q = 0; q < e.post; q++)
                sum_lanes(element(from, q * x->stride, type), step, e.n, R, k->y, (p * e.post + q) * R, type);
        }
    }
}

static void sum_f32(const ad_kernel *k) { sum_kernel(k, AD_F32); }
static void sum_f64(const ad_kernel *k) { sum_kernel(k, AD_F64); }

static bool sum_shape(ad_shape_call *call) {
    const sum_attr *attr = call->attr;
    ad_shape x = call->x[0];
    if (attr->all) return true;  // call->y is [] already
    if (x.rank == 0) return ad_shape_fail(call, "axis %d of a scalar: it has none", (int)attr->axis);
    if (attr->axis < 0 || attr->axis >= x.rank) {
        char text[80];
        return ad_shape_fail(call, "axis %d is out of range for shape %s: expected %d to %d", (int)attr->axis,
                             ad_shape_print(x, text, sizeof text), -(int)x.rank, (int)x.rank - 1);
    }
    call->y = x;
    call->y.rank = x.rank - 1;
    for (int64_t i = attr->axis; i < call->y.rank; i++) call->y.dim[i] = x.dim[i + 1];
    call->y.dim[call->y.rank] = 0;
    return true;
}

// gy with the summed axis back as a 1, spread over x.
static void sum_vjp(const ad_vjp_call *call) {
    const sum_attr *attr = call->attr;
    ad_shape x = ad_shape_of(call->x[0]), kept = x;
    ad_var gy = call->gy;
    if (!attr->all) {
        kept.dim[attr->axis] = 1;
        gy = ad_reshape(gy, kept);
    }
    call->gx[0] = ad_expand(gy, x);
}

static double sum_flops(const ad_kernel *k) { return (double)ad_shape_count(*k->x[0].shape) * k->R; }

// ---- over rows -----------------------------------------------------------------------------------------------------

AD_INLINE void sum_rows_kernel(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *x = &k->x[0];
    int64_t features = ad_shape_count(*k->shape);
    double *y = k->y;
    for (int64_t f = 0; f < features; f++) {
        double sum = sum_contiguous(element(x->data, f * x->stride, type), k->live, type);
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

// ---- tests ---------------------------------------------------------------------------------------------------------
// Squares,
// so that the second derivative is not zero.

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

static const ad_op_test sum_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {1, {5}}}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = sum_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = sum_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = sum_middle_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}}}, .f = sum_middle_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = mean_last_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}}}, .f = mean_test},
};
static const ad_op_test sum_rows_tests[] = {
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = sum_rows_test},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}, .f = sum_rows_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = mean_rows_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op sum_op = {.name = "sum",
                             .flags = AD_OP_STRIDED,
                             .shape = sum_shape,
                             .vjp = sum_vjp,
                             .kernel = {sum_f32, sum_f64},
                             .flops = sum_flops,
                             AD_TESTS(sum_tests)};
static const ad_op sum_rows_op = {.name = "sum_rows",
                                  .flags = AD_OP_REDUCES_ROWS | AD_OP_STRIDED | AD_OP_F64_SUM,
                                  .shape = sum_rows_shape,
                                  .vjp = sum_rows_vjp,
                                  .kernel = {sum_rows_f32, sum_rows_f64},
                                  .flops = sum_flops,
                                  AD_TESTS(sum_rows_tests)};

AD_FAMILY(reduce) = {&sum_op, &sum_rows_op, NULL};

#if AD_ISA_BASE

static ad_var sum(ad_var x, sum_attr attr) { return ad_apply(&sum_op, &x, 1, &attr, sizeof attr); }

ad_var ad_sum(ad_var x) { return sum(x, (sum_attr){.all = 1}); }

ad_var ad_sum_axis(ad_var x, int axis) {
    int rank = (int)ad_shape_of(x).rank;
    // Out of range either way is left for the shape rule to report.
    return sum(x, (sum_attr){.axis = axis < 0 && axis >= -rank ? axis + rank : axis});
}

ad_var ad_mean(ad_var x) { return ad_scale(ad_sum(x), 1.0 / (double)ad_shape_count(ad_shape_of(x))); }
ad_var ad_mean_axis(ad_var x, int axis) { return ad_scale(ad_sum_axis(x, axis), 1.0 / (double)ad_dim(x, axis)); }

ad_var ad_sum_rows(ad_var x) {
    if (ad_ok(x) && !ad_has_rows(x))
        ad_tape_fail(x.tape, AD_EARG, "sum_rows: the operand is shared: expected one that has rows");
    return ad_apply(&sum_rows_op, &x, 1, NULL, 0);
}

ad_var ad_mean_rows(ad_var x) {
    ad_var total = ad_sum_rows(x);
    return ad_ok(total) ? ad_div(total, ad_row_count(ad_rows_of(x))) : total;
}

#endif
