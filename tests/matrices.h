// matrices.h -- for tests of linear algebra: evaluating a function of shared and row matrices, naive algebra to judge
// it.
#ifndef PULLBACK_TESTS_MATRICES_H
#define PULLBACK_TESTS_MATRICES_H

#include "util.h"

#include <float.h>

enum { MATRICES_ROWS = 70 };  // two blocks, the second not full

typedef struct operand {
    ad_shape shape;
    int64_t rows;  // 0: shared
    double *data;
} operand;

static inline double matrices_eps(ad_type type) {
    return type == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
}

// Random elements of the type's precision.
static inline operand matrices_random(ad_type type, ad_shape shape, bool rows, uint64_t seed) {
    operand x = {shape, rows ? MATRICES_ROWS : 0, NULL};
    int64_t n = ad_shape_count(shape) * (rows ? MATRICES_ROWS : 1);
    x.data = malloc((size_t)(n + 1) * sizeof *x.data);
    util_fill(x.data, n, seed, -1, 1);
    for (int64_t i = 0; i < n && type == AD_F32; i++) x.data[i] = (double)(float)x.data[i];
    return x;
}

static inline const double *matrices_row(const operand *x, int64_t r) {
    return x->data + (x->rows ? r * ad_shape_count(x->shape) : 0);
}

// f of the operands, to out (as long as it takes); or the error.
static inline ad_status matrices_try(ad_type type, ad_function f, void *arg, const operand *x, int n, double *out,
                                     ad_error *error) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_rows rows = {0};
    ad_source source[4];
    ad_var in[4];
    for (int i = 0; i < n; i++) {
        source[i] = util_source(x[i].data, x[i].rows ? x[i].rows : 1);
        if (x[i].rows) rows = util_rows(tape, "rows", x[i].rows);
        in[i] = x[i].rows ? ad_input(rows, x[i].shape, &source[i]) : ad_shared_input(tape, x[i].shape, &source[i]);
    }
    ad_var y = ad_keep(f(arg, in));
    ad_status status = ad_run(tape);
    int64_t count = ad_shape_count(ad_shape_of(y)) * (ad_has_rows(y) ? ad_rows_count(rows) : 1);
    if (status == AD_OK) status = ad_read(y, out, count);
    ad_fail(error, status, "%s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

static inline void matrices_run(ad_type type, ad_function f, void *arg, const operand *x, int n, double *out) {
    ad_error error;
    if (matrices_try(type, f, arg, x, n, out, &error) != AD_OK) fail_msg("%s", error.message);
}

static inline void matrices_fails(ad_type type, ad_function f, const operand *x, int n, const char *text) {
    ad_error error;
    double *out = malloc(1 << 20);
    assert_int_equal(matrices_try(type, f, NULL, x, n, out, &error), AD_ENONFINITE);
    util_assert_contains(error.message, text);
    free(out);
}

// Largest sum of magnitudes of a row.
static inline double matrices_norm(int64_t M, int64_t N, const double *a) {
    double most = 0;
    for (int64_t i = 0; i < M; i++) {
        double sum = 0;
        for (int64_t j = 0; j < N; j++) sum += fabs(a[i * N + j]);
        most = fmax(most, sum);
    }
    return most;
}

// Norm of A B - C for A [M,K], B [K,N]; ta, tb: stored transposed.
static inline double matrices_residual(int64_t M, int64_t K, int64_t N, const double *a, bool ta, const double *b,
                                       bool tb, const double *c) {
    double most = 0;
    for (int64_t i = 0; i < M; i++) {
        double row = 0;
        for (int64_t j = 0; j < N; j++) {
            long double sum = -(long double)c[i * N + j];
            for (int64_t k = 0; k < K; k++)
                sum += (long double)a[ta ? k * M + i : i * K + k] * b[tb ? j * K + k : k * N + j];
            row += (double)fabsl(sum);
        }
        most = isnan(row) ? NAN : fmax(most, row);
    }
    return most;
}

static inline void matrices_identity(int64_t D, double *out) {
    for (int64_t i = 0; i < D * D; i++) out[i] = i % (D + 1) == 0;
}

// Determinant by elimination in long double, as sign and logarithm of its magnitude.
static inline double matrices_log_det(int64_t D, const double *from, double *sign) {
    long double *a = malloc((size_t)(D * D + 1) * sizeof *a), sum = 0;
    for (int64_t i = 0; i < D * D; i++) a[i] = from[i];
    *sign = 1;
    for (int64_t k = 0; k < D; k++) {
        int64_t p = k;
        for (int64_t i = k + 1; i < D; i++)
            if (fabsl(a[i * D + k]) > fabsl(a[p * D + k])) p = i;
        for (int64_t j = 0; j < D && p != k; j++) {
            long double t = a[p * D + j];
            a[p * D + j] = a[k * D + j], a[k * D + j] = t;
        }
        if ((p != k) != (a[k * D + k] < 0)) *sign = -*sign;
        sum += logl(fabsl(a[k * D + k]));
        for (int64_t i = k + 1; i < D; i++)
            for (int64_t j = D - 1; j >= k; j--) a[i * D + j] -= a[i * D + k] / a[k * D + k] * a[k * D + j];
    }
    free(a);
    return (double)sum;
}

#endif
