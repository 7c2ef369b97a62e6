// matrix_exp.c -- the exponential of a shared matrix.
//
// Scaling and squaring with a Pade approximant (Higham 2005), all in f64: exp(A) = r(A / 2^s)^(2^s), the order of r and
// s such that the error is below the rounding. Both follow from norms of powers of A (Al-Mohy & Higham 2009), which of
// a matrix far from normal are much below the powers of its norm: each squaring too many costs digits. The gradient is
// the exponential of a larger matrix, so of any order.
#include <float.h>
#include <math.h>
#include <string.h>

#include "gemm.h"
#include "lanes.h"
#include "matrix.h"

enum { MATRICES = 9 };  // of D x D: those below

typedef struct work {
    int64_t D;
    bool upper, lower;  // what A is
    double *A, *power[5], *U, *V, *spare;  // power[i]: A^(2 i), from 1 on
    int *pivot;
} work;

static void multiply(int64_t D, const double *a, const double *b, double *c) {
    AD_ISA_NAME(ad_gemm_f64)
    (&(ad_gemm){.M = D, .N = D, .K = D, .A = a, .am = D, .ak = 1, .B = b, .ldb = D, .C = c, .ldc = D});
}

// y = c[0] I + c[2] A^2 + c[4] A^4 + ... : n even powers of A, besides the identity.
static void even_powers(const work *w, int n, const double *c, double *y) {
    for (int64_t i = 0; i < w->D * w->D; i++) {
        double sum = i % (w->D + 1) == 0 ? c[0] : 0;
        for (int p = 1; p <= n; p++) sum += c[2 * p] * w->power[p][i];
        y[i] = sum;
    }
}

// r = V^-1 U' with U' = V + U, V' = V - U: A becomes r(A). LAPACK solves the transposes, all of which commute. Of a
// triangular A the zeros stay, and what is small beside them loses no digits.
static void divide(const work *w) {
    int64_t n = w->D * w->D;
    for (int64_t i = 0; i < n; i++) {
        w->A[i] = w->V[i] + w->U[i];
        w->V[i] -= w->U[i];
    }
    if (w->upper || w->lower)
        ad_lapack_triangular(w->D, w->V, (w->upper ? AD_UPPER : 0) | AD_TRANSPOSED, w->D, w->A);
    else
        ad_lapack_solve(w->D, w->V, w->pivot, w->D, w->A);
}

// The even powers up to the n-th, of which `known` are there.
static void raise(const work *w, int known, int n) {
    for (int p = known + 1; p <= n; p++)
        multiply(w->D, p > 1 ? w->power[p - 1] : w->A, p > 1 ? w->power[1] : w->A, w->power[p]);
}

// Orders 3, 5, 7, 9, from `terms` even powers.
static void pade(const work *w, int terms, const double *c) {
    even_powers(w, terms, c + 1, w->spare);
    multiply(w->D, w->A, w->spare, w->U);
    even_powers(w, terms, c, w->V);
    divide(w);
}

// Order 13: U = A (A^6 (c13 A^6 + c11 A^4 + c9 A^2) + c7 A^6 + c5 A^4 + c3 A^2 + c1 I), V likewise.
static void pade13(const work *w) {
    static const double c[] = {64764752532480000.0,
                               32382376266240000.0,
                               7771770303897600.0,
                               1187353796428800.0,
                               129060195264000.0,
                               10559470521600.0,
                               670442572800.0,
                               33522128640.0,
                               1323241920.0,
                               40840800.0,
                               960960.0,
                               16380.0,
                               182.0,
                               1.0};
    const double high_odd[] = {0, 0, c[9], 0, c[11], 0, c[13]}, high_even[] = {0, 0, c[8], 0, c[10], 0, c[12]};
    int64_t D = w->D, n = D * D;
    even_powers(w, 3, high_odd, w->spare);
    multiply(D, w->power[3], w->spare, w->U);
    even_powers(w, 3, c + 1, w->spare);
    for (int64_t i = 0; i < n; i++) w->spare[i] += w->U[i];
    multiply(D, w->A, w->spare, w->U);
    even_powers(w, 3, high_even, w->spare);
    multiply(D, w->power[3], w->spare, w->V);
    even_powers(w, 3, c, w->spare);
    for (int64_t i = 0; i < n; i++) w->V[i] += w->spare[i];
    divide(w);
}

// The largest sum of magnitudes in a column.
static double norm1(int64_t D, const double *a) {
    double largest = 0;
    for (int64_t j = 0; j < D; j++) {
        double sum = 0;
        for (int64_t i = 0; i < D; i++) sum += fabs(a[i * D + j]);
        if (sum > largest) largest = sum;
    }
    return largest;
}

// log2 of the norm of |A|^n, |A| the magnitudes: 1^T |A|^n, with the vector brought back to 1 at each step.
static double log2_norm_of_power(const work *w, int n) {
    int64_t D = w->D;
    double *x = w->spare, *y = w->U, sum = 0;
    for (int64_t j = 0; j < D; j++) x[j] = 1;
    for (int p = 0; p < n; p++) {
        double largest = 0, *t = x;
        for (int64_t j = 0; j < D; j++) y[j] = 0;
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) y[j] += x[i] * fabs(w->A[i * D + j]);
        for (int64_t j = 0; j < D; j++) largest = fmax(largest, y[j]);
        if (largest == 0) return -INFINITY;
        for (int64_t j = 0; j < D; j++) y[j] /= largest;
        sum += log2(largest);
        x = y, y = t;
    }
    return sum;
}

// By how many halvings of A the first term of the error of order m falls below the rounding: |A|^(2m+1) / |A|, over
// binom(2m, m) (2m+1)!, whose log2 is given.
static int halvings(const work *w, int m, double log2_divisor) {
    double bits = log2_norm_of_power(w, 2 * m + 1) - log2(norm1(w->D, w->A)) - log2_divisor + 53;
    return bits > 0 ? (int)ceil(bits / (2 * m)) : 0;
}

// A and its three even powers, of A / 2^s.
static void scale_down(const work *w, int s) {
    int64_t n = w->D * w->D;
    for (int64_t i = 0; i < n; i++) w->A[i] = ldexp(w->A[i], -s);
    for (int p = 1; p <= 3; p++)
        for (int64_t i = 0; i < n; i++) w->power[p][i] = ldexp(w->power[p][i], -2 * p * s);
}

static const struct low_order {
    double norm, log2_divisor, c[10];
    int order, terms;
} low[] = {
    // Higham's table 2.3, and the coefficients of his 2.1
    {1.495585217958292e-2, 16.62113611327464, {120, 60, 12, 1}, 3, 1},
    {2.539398330063230e-1, 33.227772656854164, {30240, 15120, 3360, 420, 30, 1}, 5, 2},
    {9.504178996162932e-1, 51.994974307382165, {17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1}, 7, 3},
    {2.097847961257068e0,
     72.32471809893495,
     {17643225600.0, 8821612800.0, 2075673600, 302702400, 30270240, 2162160, 110880, 3960, 90, 1},
     9,
     4},
};

// Of a small A by its norm alone.
static bool small_exponential(const work *w, double norm) {
    for (int i = 0; i < 4; i++) {
        if (norm > low[i].norm) continue;
        raise(w, 0, low[i].terms);
        pade(w, low[i].terms, low[i].c);
        return true;
    }
    return false;
}

static double root_of_norm(const work *w, const double *power, int n) { return pow(norm1(w->D, power), 1.0 / n); }

// By the norms of powers (their algorithm 5.1; norms are computed, not estimated). norm is at most 2^90: none
// overflows. A becomes that of A / 2^s; returns s.
static int scaled_exponential(const work *w) {
    const double most = 4.25, log2_divisor = 116.447004251763;  // of order 13
    raise(w, 0, 4);
    const double d4 = root_of_norm(w, w->power[2], 4), d6 = root_of_norm(w, w->power[3], 6);
    const double d8 = root_of_norm(w, w->power[4], 8);
    for (int i = 0; i < 4; i++) {
        if (fmax(d6, i < 2 ? d4 : d8) > low[i].norm || halvings(w, low[i].order, low[i].log2_divisor) > 0) continue;
        pade(w, low[i].terms, low[i].c);
        return 0;
    }
    multiply(w->D, w->power[2], w->power[3], w->spare);
    const double d10 = root_of_norm(w, w->spare, 10), size = fmin(fmax(d6, d8), fmax(d8, d10));
    const int s = size > most ? (int)ceil(log2(size / most)) : 0;
    scale_down(w, s);
    const int more = halvings(w, 13, log2_divisor);
    scale_down(w, more);
    pade13(w);
    return s + more;
}

static bool is_triangular(const work *w, bool upper) {
    for (int64_t i = 0; i < w->D; i++)
        for (int64_t j = 0; j < w->D; j++)
            if ((upper ? i > j : i < j) && w->A[i * w->D + j] != 0) return false;
    return true;
}

static void exponential(work *w) {
    int64_t n = w->D * w->D;
    const double norm = norm1(w->D, w->A);
    int exponent = 0, s;
    w->upper = is_triangular(w, true), w->lower = is_triangular(w, false);
    if (small_exponential(w, norm)) return;
    frexp(fmin(norm, DBL_MAX), &exponent);
    const int huge = exponent > 90 ? exponent - 90 : 0;
    for (int64_t i = 0; huge && i < n; i++) w->A[i] = ldexp(w->A[i], -huge);
    s = huge + scaled_exponential(w);
    for (; s > 0; s--) {
        multiply(w->D, w->A, w->A, w->spare);
        memcpy(w->A, w->spare, (size_t)n * sizeof(double));
    }
}

static void matrix_exp_run(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[0], n = D * D;
    work w = {.D = D, .A = k->scratch};
    if (n == 0) return;
    for (int i = 1; i < 5; i++) w.power[i] = w.A + i * n;
    w.U = w.A + 5 * n, w.V = w.A + 6 * n, w.spare = w.A + 7 * n;
    w.pivot = (int *)(void *)(w.A + 8 * n);
    double bad = 0;
    for (int64_t i = 0; i < n; i++) {
        w.A[i] = lanes_get(&k->x[0], i, 0, type);
        bad += w.A[i] - w.A[i];
    }
    if (bad != 0) {
        ad_kernel_fail(k, 0, AD_ENONFINITE, "A is not finite");
    } else {
        exponential(&w);
    }
    for (int64_t i = 0; i < n; i++) {
        lanes_put(k->y, i, w.A[i], type);
    }
}

static void matrix_exp_f32(const ad_kernel *k) {
    matrix_exp_run(k, AD_F32);
}
static void matrix_exp_f64(const ad_kernel *k) {
    matrix_exp_run(k, AD_F64);
}

static size_t matrix_exp_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    return MATRICES * (size_t)ad_count_of(k->shape) * sizeof(double);
}

static double matrix_exp_flops(const ad_kernel *k) {
    double D = k->shape->dim[0];
    return 16 * D * D * D;
}

static bool same_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// A power of two that brings the matrix's norm to between 1/2 and 1; 1 for a matrix of zeros.
static void unit_scale_run(const ad_kernel *k, ad_type type) {
    const ad_shape *s = k->x[0].shape;
    int64_t D = s->dim[0];
    double largest = 0;
    int exponent = 0;
    for (int64_t j = 0; j < D; j++) {
        double sum = 0;
        for (int64_t i = 0; i < D; i++) sum += fabs(lanes_get(&k->x[0], i * D + j, 0, type));
        if (sum > largest) largest = sum;
    }
    if (isfinite(largest)) frexp(largest, &exponent);
    int most = type == AD_F32 ? 120 : 1000;
    double scale = ldexp(1, exponent > most ? -most : exponent < -most ? most : -exponent);
    lanes_put(k->y, 0, scale, type);
}
static void unit_scale_f32(const ad_kernel *k) {
    unit_scale_run(k, AD_F32);
}
static void unit_scale_f64(const ad_kernel *k) {
    unit_scale_run(k, AD_F64);
}

static bool scalar_shape(ad_shape_call *call) {
    call->y = (ad_shape){0};
    return true;
}

static const ad_op unit_scale_op;

// exp([X E; 0 X]) has the derivative of exp at X along E in its corner, and its adjoint is the derivative at X^T. That
// is linear in E, which is scaled so as not to ask for more squarings than X does; the scale is no part of the
// derivative.
static void matrix_exp_vjp(const ad_vjp_call *call) {
    ad_var X = ad_transposed(call->x[0]), g = call->gy, scale = ad_apply(&unit_scale_op, &g, 1, NULL, 0);
    int64_t D = ad_dim(X, 0);
    ad_var upper = ad_concat((ad_var[]){X, ad_mul(g, scale)}, 2, 1);
    ad_var lower = ad_concat((ad_var[]){ad_zeros_like(X), X}, 2, 1);
    ad_var whole = ad_matrix_exp(ad_concat((ad_var[]){upper, lower}, 2, 0));
    call->gx[0] = ad_div(ad_slice(ad_slice(whole, 0, 0, D), 1, D, D), scale);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var exp_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matrix_exp(x[0]);
}
static ad_var small_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(ad_matrix_exp(ad_scale(x[0], 0.05)), 20);
}
static ad_var large_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(ad_matrix_exp(ad_scale(x[0], 6)), 1e-4);
}

static const ad_op_test matrix_exp_tests[] = {
    {.n = 1, .x = {{.shape = {2, {1, 1}}}}, .f = exp_test},
    {.n = 1, .x = {{.shape = {2, {3, 3}}}}, .f = exp_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}}}, .f = small_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}}}, .f = large_test},
};

static const ad_op matrix_exp_op = {.name = "matrix_exp",
                                    .shape = same_shape,
                                    .vjp = matrix_exp_vjp,
                                    .kernel = {matrix_exp_f32, matrix_exp_f64},
                                    .scratch = matrix_exp_scratch,
                                    .flops = matrix_exp_flops,
                                    AD_TESTS(matrix_exp_tests)};
static const ad_op unit_scale_op = {.name = "unit_scale",
                                    .flags = AD_OP_CONSTANT,
                                    .shape = scalar_shape,
                                    .kernel = {unit_scale_f32, unit_scale_f64},
                                    AD_TESTS(matrix_exp_tests)};

AD_FAMILY(matrix_exp) = {&matrix_exp_op, &unit_scale_op, NULL};

#if AD_ISA_BASE

ad_var ad_matrix_exp(ad_var A) {
    if (!ad_check_square(A, "matrix_exp", false)) return ad_inert(A.tape);
    return ad_apply(&matrix_exp_op, &A, 1, NULL, 0);
}

#endif
