// cholesky.c -- Cholesky factors, shared by LAPACK and small ones per row a lane each; halves of matrices.
#include <float.h>

#include "lanes.h"
#include "matrix.h"

// ---- triangle ------------------------------------------------------------------------------------------------------

typedef struct triangle_attr {
    int64_t upper;
    double scale, offset;
} triangle_attr;

AD_INLINE void triangle_kernel(const ad_kernel *k, ad_type type) {
    const triangle_attr *attr = k->attr;
    int64_t M = k->shape->dim[0], N = k->shape->dim[1];
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) {
            bool in = attr->upper ? j > i : j < i;
            for (int64_t r = 0; r < k->R; r += VD) {
                vd x = i == j || in ? lanes_load(&k->x[0], i * N + j, r, k->R - r, type) : vd_set(0);
                if (i == j) x = (attr->scale == 0 ? vd_set(0) : x) * vd_set(attr->scale) + vd_set(attr->offset);
                lanes_store(k->y, (i * N + j) * k->R + r, x, k->R - r, type);
            }
        }
}

static void triangle_f32(const ad_kernel *k) {
    triangle_kernel(k, AD_F32);
}
static void triangle_f64(const ad_kernel *k) {
    triangle_kernel(k, AD_F64);
}

static bool triangle_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return call->y.rank == 2 || ad_shape_fail(call, "expected a matrix");
}

static void triangle_vjp(const ad_vjp_call *call) {
    const triangle_attr *attr = call->attr;
    call->gx[0] = ad_triangle(call->gy, attr->upper, attr->scale, 0);
}

// ---- cholesky ------------------------------------------------------------------------------------------------------

// The lower half of a becomes L, for a lane each; pivots that are not positive are left to the caller in `bad`: the
// first one's number + 1.
AD_INLINE void cholesky_lanes(int64_t D, vd *a, vd *bad) {
    *bad = vd_set(0);
    for (int64_t j = 0; j < D; j++) {
        vd d = a[j * D + j];
        for (int64_t p = 0; p < j; p++) d = d - a[j * D + p] * a[j * D + p];
        vd wrong = vd_if_less(d, vd_set(DBL_MIN), vd_set((double)(j + 1)), vd_set(0));  // where d is NaN, so is L
        *bad = vd_if_less(*bad, vd_set(0.5), wrong, *bad);
        vd l = vd_sqrt(d);
        a[j * D + j] = l;
        for (int64_t i = j + 1; i < D; i++) {
            vd sum = a[i * D + j];
            for (int64_t p = 0; p < j; p++) sum = sum - a[i * D + p] * a[j * D + p];
            a[i * D + j] = sum / l;
            a[j * D + i] = vd_set(0);
        }
    }
}

static void report_indefinite(const ad_kernel *k, int64_t lane, int minor) {
    ad_kernel_fail(k, (int)lane, AD_ENONFINITE, "A is not positive definite: its leading minor of order %d", minor);
}

AD_INLINE void cholesky_rows(const ad_kernel *k, int64_t D, ad_type type) {
    vd *a = k->scratch, bad, minor;
    for (int64_t r = 0; r < k->R; r += VD) {
        bad = vd_set(0);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j <= i; j++) {
                vd x = lanes_load(&k->x[0], i * D + j, r, k->R - r, type);
                a[i * D + j] = x;
                bad = bad + (x - x);
            }
        lanes_fail_not_finite(k, r, bad);
        cholesky_lanes(D, a, &minor);
        double order[VD], nan[VD];
        vd_store(order, minor);
        vd_store(nan, bad);
        for (int64_t l = 0; l < VD && r + l < k->R; l++)
            if (order[l] > 0 && nan[l] == 0) report_indefinite(k, r + l, (int)order[l]);
        for (int64_t f = 0; f < D * D; f++) lanes_store(k->y, f * k->R + r, a[f], k->R - r, type);
    }
}

// LAPACK never sees what is not finite.
static void cholesky_shared(const ad_kernel *k, int64_t D, ad_type type) {
    double *a = k->scratch, bad = 0;
    for (int64_t f = 0; f < D * D; f++) {
        a[f] = f % D <= f / D ? lanes_get(&k->x[0], f, 0, type) : 0;
        bad += a[f] - a[f];
    }
    int minor = bad == 0 ? ad_lapack_cholesky(D, a) : 0;
    if (bad != 0) ad_kernel_fail(k, 0, AD_ENONFINITE, "A is not finite");
    if (minor > 0) report_indefinite(k, 0, minor);
    for (int64_t f = 0; f < D * D; f++) {
        lanes_put(k->y, f, a[f], type);
    }
}

AD_INLINE void cholesky_kernel(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[0];
    if (k->R == 1) {
        cholesky_shared(k, D, type);
    } else {
        cholesky_rows(k, D, type);
    }
}

static void cholesky_f32(const ad_kernel *k) {
    cholesky_kernel(k, AD_F32);
}
static void cholesky_f64(const ad_kernel *k) {
    cholesky_kernel(k, AD_F64);
}

static size_t cholesky_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    return (size_t)ad_count_of(k->shape) * (k->R == 1 ? sizeof(double) : sizeof(vd));
}

static bool cholesky_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// Murray 2016, eq. 10: S = L^-T phi(L^T gL) L^-1, phi the lower half with half the diagonal; gA is S made symmetric.
static void cholesky_vjp(const ad_vjp_call *call) {
    ad_var L = call->y, g = ad_triangle(call->gy, false, 1, 0);
    ad_var phi = ad_triangle(ad_matmul(L, g, AD_TRANSPOSE_A), false, 0.5, 0);
    ad_var left = ad_transposed(ad_solve_triangular(L, phi, AD_TRANSPOSED));
    ad_var S = ad_solve_triangular(L, left, AD_TRANSPOSED);
    call->gx[0] = ad_scale(ad_add(S, ad_transposed(S)), 0.5);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#define MATRIX(D)              \
    {                          \
        .shape = { 2, {D, D} } \
    }
#define MATRIX_ROWS(D) \
    { .shape = {2, {D, D}}, .rows = true }

static ad_var triangle_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_triangle(x[0], true, 0.5, 1));
}
// The gradient of a symmetric function: x enters as x x^T.
static ad_var cholesky_test(void *arg, const ad_var *x) {
    ad_var identity = ad_triangle(ad_zeros_like(x[0]), false, 1, 1);
    (void)arg;
    return ad_cholesky(ad_add(ad_matmul(x[0], x[0], AD_TRANSPOSE_B), identity));
}

static const ad_op_test triangle_tests[] = {
    {.n = 1, .x = {MATRIX_ROWS(3)}, .f = triangle_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}}}, .f = triangle_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}, .rows = true}}, .f = triangle_test},
};
static const ad_op_test cholesky_tests[] = {
    {.n = 1, .x = {MATRIX(3)}, .f = cholesky_test},
    {.n = 1, .x = {MATRIX_ROWS(2)}, .f = cholesky_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op triangle_op = {.name = "triangle",
                                  .shape = triangle_shape,
                                  .vjp = triangle_vjp,
                                  .kernel = {triangle_f32, triangle_f64},
                                  AD_TESTS(triangle_tests)};
static const ad_op cholesky_op = {.name = "cholesky",
                                  .shape = cholesky_shape,
                                  .vjp = cholesky_vjp,
                                  .kernel = {cholesky_f32, cholesky_f64},
                                  .scratch = cholesky_scratch,
                                  AD_TESTS(cholesky_tests)};

AD_FAMILY(cholesky) = {&triangle_op, &cholesky_op, NULL};

#if AD_ISA_BASE

ad_var ad_triangle(ad_var x, bool upper, double scale, double offset) {
    triangle_attr attr = {upper, scale, offset};
    return ad_apply(&triangle_op, &x, 1, &attr, sizeof attr);
}

ad_var ad_cholesky(ad_var A) {
    if (!ad_check_square(A, "cholesky", true)) return ad_inert(A.tape);
    return ad_apply(&cholesky_op, &A, 1, NULL, 0);
}

#endif
