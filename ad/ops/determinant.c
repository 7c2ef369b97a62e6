// determinant.c -- det, log |det| and the determinant's sign, shared and per row.
//
// From the factors A = P L U: the product of U's diagonal, with the sign of P. The gradient of det is the matrix of
// cofactors, which a singular A has too: up to D = 3 det is written out, so that it has derivatives of every order
// there; above, the first one exists at every A and the others where A is not singular.
#include <float.h>
#include <sleef.h>

#include "cotangent.h"
#include "lanes.h"
#include "matrix.h"

// Operands A (for its derivative) and its factors F [D+1,D].

static int64_t order(const ad_kernel *k) {
    return k->x[1].shape->dim[1];
}

// NaN in lanes where one of U's diagonal is, else 0.
AD_INLINE vd nan_of(const ad_kernel *k, int64_t r, ad_type type) {
    vd bad = vd_set(0), zero = vd_set(0);
    for (int64_t i = 0; i < order(k); i++) {
        vd u = vd_abs(lanes_load(&k->x[1], i * (order(k) + 1), r, k->R - r, type));
        bad = bad + vd_if_less(u, vd_set(INFINITY), zero, vd_if_less(zero, u, zero, u));
    }
    return bad;
}

// -1, 0 or 1.
AD_INLINE vd sign_of(const ad_kernel *k, int64_t r, ad_type type) {
    const ad_kernel_operand *F = &k->x[1];
    int64_t D = order(k), lanes = k->R - r;
    vd sign = vd_set(1), zero = vd_set(0);
    for (int64_t i = 0; i < D; i++) {
        vd u = lanes_load(F, i * (D + 1), r, lanes, type), p = lanes_load(F, D * D + i, r, lanes, type);
        sign = vd_if_less(u, zero, zero - sign, sign);
        sign = vd_if_less(vd_abs(u), vd_set(DBL_MIN), zero, sign);
        for (int64_t j = 0; j < i; j++)
            sign = vd_if_less(p, lanes_load(F, D * D + j, r, lanes, type), zero - sign, sign);
    }
    return sign;
}

// Mantissas and exponents apart: the product may be a number where a part of it is not.
static double magnitude(const ad_kernel *k, int64_t r, ad_type type) {
    int64_t D = order(k), sum = 0;
    double product = 1;
    for (int64_t i = 0; i < D; i++) {
        int exponent, carry;
        product *= frexp(fabs(lanes_get(&k->x[1], i * (D + 1), r, type)), &exponent);
        product = frexp(product, &carry);
        sum += exponent + carry;
    }
    return ldexp(product, sum > 10000 ? 10000 : sum < -10000 ? -10000 : (int)sum);
}

AD_INLINE void det_kernel(const ad_kernel *k, ad_type type) {
    for (int64_t r = 0; r < k->R; r += VD) {
        double product[VD] = {0};
        for (int64_t l = 0; l < VD && r + l < k->R; l++) product[l] = magnitude(k, r + l, type);
        lanes_store(k->y, r, sign_of(k, r, type) * vd_load(product), k->R - r, type);
    }
}

AD_INLINE void log_abs_det_kernel(const ad_kernel *k, ad_type type) {
    int64_t D = order(k);
    for (int64_t r = 0; r < k->R; r += VD) {
        vd sum = vd_set(0);
        for (int64_t i = 0; i < D; i++)
            sum = sum + AD_SLEEF_F64(log)(vd_abs(lanes_load(&k->x[1], i * (D + 1), r, k->R - r, type)));
        lanes_fail_not_finite(k, r, nan_of(k, r, type));
        lanes_store(k->y, r, sum, k->R - r, type);
    }
}

AD_INLINE void det_sign_kernel(const ad_kernel *k, ad_type type) {
    for (int64_t r = 0; r < k->R; r += VD) {
        lanes_fail_not_finite(k, r, nan_of(k, r, type));
        lanes_store(k->y, r, sign_of(k, r, type), k->R - r, type);
    }
}

static void det_f32(const ad_kernel *k) {
    det_kernel(k, AD_F32);
}
static void det_f64(const ad_kernel *k) {
    det_kernel(k, AD_F64);
}
static void log_abs_det_f32(const ad_kernel *k) {
    log_abs_det_kernel(k, AD_F32);
}
static void log_abs_det_f64(const ad_kernel *k) {
    log_abs_det_kernel(k, AD_F64);
}
static void det_sign_f32(const ad_kernel *k) {
    det_sign_kernel(k, AD_F32);
}
static void det_sign_f64(const ad_kernel *k) {
    det_sign_kernel(k, AD_F64);
}

static bool det_shape(ad_shape_call *call) {
    call->y = (ad_shape){0};
    return call->n == 2;
}

// ---- cofactors -----------------------------------------------------------------------------------------------------
// Of one lane at a time: P A Q = L U with pivots the largest of what is left, so that zeros come last. Cofactors of
// a product are the products of cofactors: those of L are L^-T, those of P are P times its sign, and those of U follow
// from its first D - 1 rows and columns even if the last pivot is 0; of two pivots that are 0, all are.

typedef struct complete {  // of the lane at hand
    int64_t D, *row, *column;
    double *a, *c, sign;  // [D][D]: L and U; the cofactors
} complete;

static void exchange(double *x, double *y, int64_t n, int64_t step) {
    for (int64_t i = 0; i < n * step; i += step) {
        double t = x[i];
        x[i] = y[i], y[i] = t;
    }
}

static void swap_numbers(int64_t *x, int64_t *y) {
    int64_t t = *x;
    *x = *y, *y = t;
}

static void pivot_complete(complete *f, int64_t k) {
    int64_t D = f->D, i = k, j = k;
    for (int64_t e = k * D; e < D * D; e++)
        if (e % D >= k && fabs(f->a[e]) > fabs(f->a[i * D + j])) i = e / D, j = e % D;
    if (i != k) {
        exchange(f->a + i * D, f->a + k * D, D, 1);
        swap_numbers(&f->row[i], &f->row[k]);
        f->sign = -f->sign;
    }
    if (j != k) {
        exchange(f->a + j, f->a + k, D, D);
        swap_numbers(&f->column[j], &f->column[k]);
        f->sign = -f->sign;
    }
}

static void factor_complete(complete *f) {
    int64_t D = f->D;
    f->sign = 1;
    for (int64_t i = 0; i < D; i++) f->row[i] = f->column[i] = i;
    for (int64_t k = 0; k < D; k++) {
        pivot_complete(f, k);
        double u = f->a[k * D + k];
        for (int64_t i = k + 1; i < D && u != 0; i++) {
            double l = f->a[i * D + k] /= u;
            for (int64_t j = k + 1; j < D; j++) f->a[i * D + j] -= l * f->a[k * D + j];
        }
    }
}

// Cofactors of U = [V u; 0 d]: [d det(V) V^-T, 0; -det(V) (V^-1 u)^T, det(V)].
static void upper_cofactors(const complete *f) {
    int64_t D = f->D, n = D - 1;
    const double *U = f->a;
    double *C = f->c, det = 1;
    for (int64_t i = 0; i < n; i++) det *= U[i * D + i];
    for (int64_t i = 0; i < D * D; i++) C[i] = 0;
    if (det == 0) return;
    double d = U[n * D + n];
    for (int64_t column = 0; column < D; column++) {  // V^-1 of a unit vector, or of u: into row `column` of C
        double *x = C + column * D;
        for (int64_t i = column < n ? column : n - 1; i >= 0; i--) {
            double sum = column == n ? U[i * D + n] : i == column;
            for (int64_t j = i + 1; j < n; j++) sum -= U[i * D + j] * x[j];
            x[i] = sum / U[i * D + i];
        }
        for (int64_t i = 0; i < n; i++) x[i] *= column < n ? d * det : -det;
    }
    C[n * D + n] = det;
}

// What C is of P A Q, y is of A.
AD_INLINE void cofactors_of_lane(const ad_kernel *k, complete *f, int64_t r, ad_type type) {
    int64_t D = f->D;
    for (int64_t e = 0; e < D * D; e++) f->a[e] = lanes_get(&k->x[0], e, r, type);
    factor_complete(f);
    upper_cofactors(f);
    for (int64_t i = D - 1; i >= 0; i--)  // L^-T C, from the last row up
        for (int64_t p = i + 1; p < D; p++)
            for (int64_t j = 0; j < D; j++) f->c[i * D + j] -= f->a[p * D + i] * f->c[p * D + j];
    for (int64_t e = 0; e < D * D; e++) {
        int64_t at = (f->row[e / D] * D + f->column[e % D]) * k->R + r;
        lanes_put(k->y, at, f->sign * f->c[e], type);
    }
}

AD_INLINE void cofactor_kernel(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[0];
    complete f = {.D = D, .a = k->scratch};
    f.c = f.a + D * D;
    f.row = (int64_t *)(void *)(f.c + D * D);
    f.column = f.row + D;
    for (int64_t r = 0; r < k->R && D > 0; r++) cofactors_of_lane(k, &f, r, type);
}

static void cofactor_f32(const ad_kernel *k) {
    cofactor_kernel(k, AD_F32);
}
static void cofactor_f64(const ad_kernel *k) {
    cofactor_kernel(k, AD_F64);
}

static size_t cofactor_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    size_t D = (size_t)k->shape->dim[0];
    return 2 * D * D * sizeof(double) + 2 * D * sizeof(int64_t);
}

static bool cofactor_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op cofactor_op;

static void det_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = ad_cotangent_mul(call->gy, ad_apply(&cofactor_op, &call->x[0], 1, NULL, 0));
}

static void log_abs_det_vjp(const ad_vjp_call *call) {
    if (call->need[0])
        call->gx[0] = ad_cotangent_mul(call->gy, ad_factored_solve(call->x[0], call->x[1], ad_none(), true));
}

// C = det(A) A^-T, so gA = <g, C> A^-T - A^-T g^T C.
static void cofactor_vjp(const ad_vjp_call *call) {
    ad_var A = call->x[0], inverse = ad_factored_solve(A, ad_lu_factor(A), ad_none(), true);
    ad_var along = ad_mul(ad_sum(ad_mul(call->gy, call->y)), inverse);
    call->gx[0] = ad_sub(along, ad_matmul(inverse, ad_matmul(call->gy, call->y, AD_TRANSPOSE_A), 0));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#define MATRIX(D)              \
    {                          \
        .shape = { 2, {D, D} } \
    }
#define MATRIX_ROWS(D) \
    { .shape = {2, {D, D}}, .rows = true }

static ad_var shifted(ad_var x, double c) {
    return ad_add(ad_triangle(x, false, 1, c), ad_triangle(x, true, 0, 0));
}
static ad_var det_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_det(x[0]);
}
static ad_var det_regular_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(ad_det(shifted(x[0], 3)), 0.02);
}
// Of rank 3 for every x.
static ad_var det_singular_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_det(ad_matmul(x[0], x[1], 0));
}
static ad_var log_abs_det_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_log_abs_det(shifted(x[0], 3));
}
static ad_var det_sign_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(ad_det_sign(shifted(x[0], -4)), ad_sum(x[0]));
}

static const ad_op_test det_tests[] = {
    {.n = 1, .x = {MATRIX(1)}, .f = det_test},         {.n = 1, .x = {MATRIX_ROWS(2)}, .f = det_test},
    {.n = 1, .x = {MATRIX_ROWS(3)}, .f = det_test},    {.n = 1, .x = {MATRIX_ROWS(4)}, .f = det_regular_test},
    {.n = 1, .x = {MATRIX(5)}, .f = det_regular_test},
};
static const ad_op_test cofactor_tests[] = {
    {.n = 1, .x = {MATRIX_ROWS(4)}, .f = det_regular_test},
    {.n = 2, .x = {{.shape = {2, {4, 3}}, .rows = true}, {.shape = {2, {3, 4}}}}, .f = det_singular_test, .order = 1},
};
static const ad_op_test log_abs_det_tests[] = {
    {.n = 1, .x = {MATRIX_ROWS(1)}, .f = log_abs_det_test},
    {.n = 1, .x = {MATRIX_ROWS(3)}, .f = log_abs_det_test},
    {.n = 1, .x = {MATRIX(3)}, .f = log_abs_det_test},
};
static const ad_op_test det_sign_tests[] = {{.n = 1, .x = {MATRIX_ROWS(3)}, .f = det_sign_test}};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op det_op = {
    .name = "det", .shape = det_shape, .vjp = det_vjp, .kernel = {det_f32, det_f64}, AD_TESTS(det_tests)};
static const ad_op cofactor_op = {.name = "cofactor",
                                  .shape = cofactor_shape,
                                  .vjp = cofactor_vjp,
                                  .kernel = {cofactor_f32, cofactor_f64},
                                  .scratch = cofactor_scratch,
                                  AD_TESTS(cofactor_tests)};
static const ad_op log_abs_det_op = {.name = "log_abs_det",
                                     .shape = det_shape,
                                     .vjp = log_abs_det_vjp,
                                     .kernel = {log_abs_det_f32, log_abs_det_f64},
                                     AD_TESTS(log_abs_det_tests)};
static const ad_op det_sign_op = {.name = "det_sign",
                                  .flags = AD_OP_CONSTANT,
                                  .shape = det_shape,
                                  .kernel = {det_sign_f32, det_sign_f64},
                                  AD_TESTS(det_sign_tests)};

AD_FAMILY(determinant) = {&det_op, &cofactor_op, &log_abs_det_op, &det_sign_op, NULL};

#if AD_ISA_BASE

static ad_var row(ad_var A, int64_t i) {
    return ad_reshape(ad_slice(A, 0, i, 1), ad_shape1(ad_dim(A, 1)));
}

// The elements start, start + 1, start + 2 of a vector of three, counted round.
static ad_var turned(ad_var x, int64_t start) {
    const int64_t index[] = {start % 3, (start + 1) % 3, (start + 2) % 3};
    return ad_take(x, 0, index, 3);
}

static ad_var cross(ad_var a, ad_var b) {
    return ad_sub(ad_mul(turned(a, 1), turned(b, 2)), ad_mul(turned(a, 2), turned(b, 1)));
}

static ad_var of_factors(const ad_op *op, ad_var A) {
    ad_var x[] = {A, ad_lu_factor(A)};
    return ad_apply(op, x, 2, NULL, 0);
}

ad_var ad_det(ad_var A) {
    if (!ad_check_square(A, "det", true)) return ad_inert(A.tape);
    switch (ad_dim(A, 0)) {
        case 1:
            return ad_reshape(A, ad_shape0());
        case 2: {
            ad_var first = row(A, 0), turned_second = ad_flip(row(A, 1), 0), product = ad_mul(first, turned_second);
            return ad_sub(ad_reshape(ad_slice(product, 0, 0, 1), ad_shape0()),
                          ad_reshape(ad_slice(product, 0, 1, 1), ad_shape0()));
        }
        case 3:
            return ad_sum(ad_mul(row(A, 0), cross(row(A, 1), row(A, 2))));
        default:
            return of_factors(&det_op, A);
    }
}

ad_var ad_log_abs_det(ad_var A) {
    if (!ad_check_square(A, "log_abs_det", true)) return ad_inert(A.tape);
    return of_factors(&log_abs_det_op, A);
}

ad_var ad_det_sign(ad_var A) {
    if (!ad_check_square(A, "det_sign", true)) return ad_inert(A.tape);
    return of_factors(&det_sign_op, A);
}

#endif
