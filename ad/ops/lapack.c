// lapack.c -- factorisations of shared matrices, by LAPACK in f64: LU, QR.
//
// LAPACK counts columns first: what is a row here is a column there, so a matrix given as it is means its transpose. It
// is never given a size of 0 (its error handler ends the process), nor a matrix to factor that is not finite.
#include <dlfcn.h>
#include <float.h>
#include <pthread.h>
#include <string.h>

#include "lanes.h"
#include "matrix.h"

// ---- lu ------------------------------------------------------------------------------------------------------------

// Whether all elements are finite.
static bool load(const ad_kernel *k, int64_t n, double *a, ad_type type) {
    double bad = 0;
    for (int64_t i = 0; i < n; i++) {
        a[i] = lanes_get(&k->x[0], i, 0, type);
        bad += a[i] - a[i];
    }
    return bad == 0;
}

// The permutation from LAPACK's exchanges: row i with row pivot[i] - 1, one after the other.
static void store_permutation(const ad_kernel *k, int64_t D, const int *pivot, int64_t *row, ad_type type) {
    for (int64_t i = 0; i < D; i++) row[i] = i;
    for (int64_t i = 0; i < D && pivot; i++) {
        int64_t j = pivot[i] - 1, t = row[i];
        row[i] = row[j], row[j] = t;
    }
    for (int64_t i = 0; i < D; i++) lanes_put(k->y, D * D + i, (double)row[i], type);
}

// Of an A that is not finite all factors are NaN: what uses them reports it.
static void lu_factor_run(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[1];
    double *a = k->scratch, *factors = a + D * D;
    int64_t *row = (int64_t *)(void *)(factors + D * D);
    int *pivot = (int *)(void *)(row + D);
    bool good = load(k, D * D, a, type);
    if (good) ad_lapack_lu(D, a, factors, pivot);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) lanes_put(k->y, i * D + j, good ? factors[j * D + i] : NAN, type);
    store_permutation(k, D, good ? pivot : NULL, row, type);
}

static void lu_factor_f32(const ad_kernel *k) {
    lu_factor_run(k, AD_F32);
}
static void lu_factor_f64(const ad_kernel *k) {
    lu_factor_run(k, AD_F64);
}

static size_t lu_factor_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    size_t D = (size_t)k->shape->dim[1];
    return 2 * D * D * sizeof(double) + D * (sizeof(int64_t) + sizeof(int));
}

static double lu_factor_flops(const ad_kernel *k) {
    double D = k->shape->dim[1];
    return 2.0 / 3 * D * D * D;
}

static bool lu_factor_shape(ad_shape_call *call) {
    call->y = call->x[0];
    call->y.dim[0]++;
    return true;
}

// L and U in one matrix, from A (for its derivative) and the factors.
static void lu_run(const ad_kernel *k, ad_type type) {
    const size_t size = ad_type_size(type);
    if (ad_count_of(k->shape) && isnan(lanes_get(&k->x[1], 0, 0, type)))
        ad_kernel_fail(k, 0, AD_ENONFINITE, "A is not finite");
    if (ad_count_of(k->shape)) memcpy(k->y, k->x[1].data, (size_t)ad_count_of(k->shape) * size);
}
static void lu_f32(const ad_kernel *k) {
    lu_run(k, AD_F32);
}
static void lu_f64(const ad_kernel *k) {
    lu_run(k, AD_F64);
}

static bool lu_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// P of A = P L U, from the factors.
static void permutation_run(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[0];
    for (int64_t i = 0; i < D * D; i++) lanes_put(k->y, i, 0, type);
    for (int64_t i = 0; i < D; i++) lanes_put(k->y, (int64_t)lanes_get(&k->x[0], D * D + i, 0, type) * D + i, 1, type);
}
static void permutation_f32(const ad_kernel *k) {
    permutation_run(k, AD_F32);
}
static void permutation_f64(const ad_kernel *k) {
    permutation_run(k, AD_F64);
}

static bool permutation_shape(ad_shape_call *call) {
    call->y = call->x[0];
    call->y.dim[0]--;
    return true;
}

static const ad_op permutation_op;

// gA = P L^-T (strictly lower(L^T gL) + upper(gU U^T)) U^-T (de Hoog, Anderssen & Lukas 2011).
static void lu_vjp(const ad_vjp_call *call) {
    ad_var y = call->y, g = call->gy, P = ad_apply(&permutation_op, &call->x[1], 1, NULL, 0);
    ad_var L = ad_triangle(y, false, 0, 1), U = ad_triangle(y, true, 1, 0);
    ad_var lower = ad_matmul(L, ad_triangle(g, false, 0, 0), AD_TRANSPOSE_A);
    ad_var upper = ad_matmul(ad_triangle(g, true, 1, 0), U, AD_TRANSPOSE_B);
    ad_var inner = ad_add(ad_triangle(lower, false, 0, 0), ad_triangle(upper, true, 1, 0));
    ad_var left = ad_solve_triangular(y, inner, AD_UNIT_DIAGONAL | AD_TRANSPOSED);
    ad_var right = ad_transposed(ad_solve_triangular(y, ad_transposed(left), AD_UPPER));
    call->gx[0] = ad_matmul(P, right, 0);
}

// ---- qr ------------------------------------------------------------------------------------------------------------

enum { QR_BLOCK = 64 };  // columns that LAPACK works on at once, at most

// y [M+N,N] is Q over R, R's diagonal made positive.
static void store_qr(const ad_kernel *k, int64_t M, int64_t N, const double *q, const double *r, ad_type type) {
    for (int64_t j = 0; j < N; j++) {
        bool negative = r[j * N + j] < 0;
        for (int64_t i = 0; i < M; i++) lanes_put(k->y, i * N + j, negative ? -q[j * M + i] : q[j * M + i], type);
        for (int64_t i = 0; i < N; i++)
            lanes_put(k->y, (M + j) * N + i, i < j ? 0 : negative ? -r[i * N + j] : r[i * N + j], type);
    }
}

// Whether each column is independent of those before it: what is left of it beside them, R's diagonal, is more than the
// rounding of the column.
static bool has_full_rank(const ad_kernel *k, int64_t M, int64_t N, const double *r) {
    for (int64_t j = 0; j < N; j++) {
        double size = 0;
        for (int64_t i = 0; i <= j; i++) size = hypot(size, r[j * N + i]);
        if (fabs(r[j * N + j]) > (double)M * DBL_EPSILON * size) continue;
        ad_kernel_fail(k, 0, AD_ENONFINITE, "A has not full rank: column %d depends on those before it", (int)j);
        return false;
    }
    return true;
}

static void qr_run(const ad_kernel *k, ad_type type) {
    int64_t N = k->x[0].shape->dim[1], M = k->x[0].shape->dim[0];
    double *a = k->scratch, *q = a + M * N, *r = q + M * N, *work = r + N * N;
    if (!load(k, M * N, a, type)) {
        ad_kernel_fail(k, 0, AD_ENONFINITE, "A is not finite");
        for (int64_t i = 0; i < (M + N) * N; i++) lanes_put(k->y, i, NAN, type);
        return;
    }
    for (int64_t i = 0; i < M; i++)
        for (int64_t j = 0; j < N; j++) q[j * M + i] = a[i * N + j];
    ad_lapack_qr(M, N, q, r, work);
    has_full_rank(k, M, N, r);
    store_qr(k, M, N, q, r, type);
}

static void qr_f32(const ad_kernel *k) {
    qr_run(k, AD_F32);
}
static void qr_f64(const ad_kernel *k) {
    qr_run(k, AD_F64);
}

static size_t qr_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    size_t M = (size_t)k->x[0].shape->dim[0], N = (size_t)k->x[0].shape->dim[1];
    return (2 * M * N + N * N + (QR_BLOCK + 1) * N) * sizeof(double);
}

static bool qr_shape(ad_shape_call *call) {
    call->y = call->x[0];
    if (call->y.dim[0] > INT32_MAX - call->y.dim[1]) return ad_shape_fail(call, "too large");
    call->y.dim[0] += call->y.dim[1];
    return true;
}

static ad_qr_factors qr_parts(ad_var packed, int64_t M) {
    int64_t N = ad_dim(packed, 1);
    return (ad_qr_factors){ad_slice(packed, 0, 0, M), ad_slice(packed, 0, M, N)};
}

// gA = (gQ + Q S) R^-T, S the lower half of R gR^T - gQ^T Q made symmetric (Walter & Lehmann 2012, Roberts & Roberts
// 2020).
static void qr_vjp(const ad_vjp_call *call) {
    ad_qr_factors y = qr_parts(call->y, ad_dim(call->x[0], 0)), g = qr_parts(call->gy, ad_dim(call->x[0], 0));
    ad_var gR = ad_triangle(g.R, true, 1, 0);
    ad_var m = ad_sub(ad_matmul(y.R, gR, AD_TRANSPOSE_B), ad_matmul(g.Q, y.Q, AD_TRANSPOSE_A));
    ad_var S = ad_add(ad_triangle(m, false, 1, 0), ad_transposed(ad_triangle(m, false, 0, 0)));
    ad_var b = ad_add(g.Q, ad_matmul(y.Q, S, 0));
    call->gx[0] = ad_transposed(ad_solve_triangular(y.R, ad_transposed(b), AD_UPPER));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#define MATRIX(M, N)           \
    {                          \
        .shape = { 2, {M, N} } \
    }

static ad_var shifted(ad_var x, double c) {
    return ad_add(ad_triangle(x, false, 1, c), ad_triangle(x, true, 0, 0));
}
static ad_var inverse_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_inverse(shifted(x[0], 3));
}
// Rows exchanged, by the same permutation at every point.
static ad_var lu_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_lu_factors f = ad_lu(ad_take(shifted(x[0], 6), 0, (const int64_t[]){1, 2, 0}, 3));
    return ad_add(ad_square(f.L), ad_mul(f.P, ad_matmul(f.L, ad_square(f.U), 0)));
}
static ad_var qr_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_qr_factors f = ad_qr(x[0]);
    return ad_matmul(ad_square(f.Q), ad_add(f.R, ad_square(f.R)), 0);
}
static ad_var qr_square_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_var a = shifted(x[0], 4);
    return qr_test(NULL, &a);
}
static ad_var qr_tall_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_var a = ad_concat((ad_var[]){shifted(x[0], 4), x[1]}, 2, 0);
    return qr_test(NULL, &a);
}

static const ad_op_test factor_tests[] = {{.n = 1, .x = {MATRIX(3, 3)}, .f = inverse_test}};
static const ad_op_test lu_tests[] = {{.n = 1, .x = {MATRIX(3, 3)}, .f = lu_test}};
static const ad_op_test qr_tests[] = {
    {.n = 1, .x = {MATRIX(3, 3)}, .f = qr_square_test},
    {.n = 2, .x = {MATRIX(2, 2), MATRIX(2, 2)}, .f = qr_tall_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op lu_factor_op = {.name = "lu_factor",
                                   .flags = AD_OP_CONSTANT,
                                   .shape = lu_factor_shape,
                                   .kernel = {lu_factor_f32, lu_factor_f64},
                                   .scratch = lu_factor_scratch,
                                   .flops = lu_factor_flops,
                                   AD_TESTS(factor_tests)};
static const ad_op lu_op = {
    .name = "lu", .shape = lu_shape, .vjp = lu_vjp, .kernel = {lu_f32, lu_f64}, AD_TESTS(lu_tests)};
static const ad_op permutation_op = {.name = "lu_permutation",
                                     .flags = AD_OP_CONSTANT,
                                     .shape = permutation_shape,
                                     .kernel = {permutation_f32, permutation_f64},
                                     AD_TESTS(lu_tests)};
static const ad_op qr_op = {.name = "qr",
                            .shape = qr_shape,
                            .vjp = qr_vjp,
                            .kernel = {qr_f32, qr_f64},
                            .scratch = qr_scratch,
                            AD_TESTS(qr_tests)};

AD_FAMILY(lapack) = {&lu_factor_op, &lu_op, &permutation_op, &qr_op, NULL};

#if AD_ISA_BASE

ad_var ad_lu_factor(ad_var A) {
    return ad_has_rows(A) ? ad_lu_factor_rows(A) : ad_apply(&lu_factor_op, &A, 1, NULL, 0);
}

ad_lu_factors ad_lu(ad_var A) {
    ad_var none = ad_inert(A.tape);
    if (!ad_check_square(A, "lu", false)) return (ad_lu_factors){none, none, none};
    ad_var x[] = {A, ad_lu_factor(A)}, y = ad_apply(&lu_op, x, 2, NULL, 0);
    return (ad_lu_factors){ad_apply(&permutation_op, &x[1], 1, NULL, 0), ad_triangle(y, false, 0, 1),
                           ad_triangle(y, true, 1, 0)};
}

ad_qr_factors ad_qr(ad_var A) {
    ad_var none = ad_inert(A.tape);
    if (!ad_check_var(A, "qr")) return (ad_qr_factors){none, none};
    ad_shape s = ad_shape_of(A);
    char text[64];
    if (s.rank != 2 || s.dim[0] < s.dim[1] || ad_has_rows(A)) {
        ad_tape_fail(A.tape, AD_ESHAPE, "qr: A is %s%s, expected a shared matrix [M,N], M >= N",
                     ad_shape_print(s, text, sizeof text), ad_has_rows(A) ? " per row" : "");
        return (ad_qr_factors){none, none};
    }
    return qr_parts(ad_apply(&qr_op, &A, 1, NULL, 0), s.dim[0]);
}

// ---- LAPACK --------------------------------------------------------------------------------------------------------
// Fortran's calls: everything by address, lengths of characters at the end.

void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *ipiv, int *info);
void dgesv_(const int *n, const int *nrhs, double *a, const int *lda, int *ipiv, double *b, const int *ldb, int *info);
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t uplo_length);
void dtrtrs_(const char *uplo, const char *trans, const char *diag, const int *n, const int *nrhs, const double *a,
             const int *lda, double *b, const int *ldb, int *info, size_t uplo_length, size_t trans_length,
             size_t diag_length);
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork,
             int *info);
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work,
             const int *lwork, int *info);

// Results must not depend on how many threads LAPACK would take, nor may these compete with the engine's: it gets one.
// OpenBLAS is the one that takes more; where it is what LAPACK comes from, it stays at one thread for the whole
// process. Its OpenMP variety follows OpenMP's number instead, which is the calling thread's own and put back after the
// call.
static struct {
    int (*threads)(void);
    void (*set_threads)(int);
} openmp;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find(const char *name, void *function) {
    void *address = dlsym(RTLD_DEFAULT, name);
    memcpy(function, &address, sizeof address);
}

static void take_one_thread(void) {
    void (*set_threads)(int);
    int (*parallel)(void);
    find("openblas_set_num_threads", &set_threads);
    find("openblas_get_parallel", &parallel);
    if (set_threads) set_threads(1);
    if (!parallel || parallel() != 2) return;
    find("omp_get_max_threads", &openmp.threads);
    find("omp_set_num_threads", &openmp.set_threads);
}

static int begin(void) {
    pthread_once(&once, take_one_thread);
    if (!openmp.threads || !openmp.set_threads) return 0;
    int threads = openmp.threads();
    openmp.set_threads(1);
    return threads;
}

static void end(int threads) {
    if (threads) openmp.set_threads(threads);
}

int ad_lapack_lu(int64_t D, const double *a, double *factors, int *pivot) {
    int n = (int)D, info = 0;
    if (n == 0) return 0;
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) factors[j * D + i] = a[i * D + j];
    int threads = begin();
    dgetrf_(&n, &n, factors, &n, pivot, &info);
    end(threads);
    return info;
}

int ad_lapack_solve(int64_t D, double *a, int *pivot, int64_t columns, double *b) {
    int n = (int)D, nrhs = (int)columns, info = 0;
    if (n == 0 || nrhs == 0) return 0;
    int threads = begin();
    dgesv_(&n, &nrhs, a, &n, pivot, b, &n, &info);
    end(threads);
    return info;
}

int ad_lapack_triangular(int64_t D, const double *a, int flags, int64_t columns, double *b) {
    int n = (int)D, nrhs = (int)columns, info = 0;
    if (n == 0 || nrhs == 0) return 0;
    int threads = begin();
    dtrtrs_(flags & AD_UPPER ? "L" : "U", flags & AD_TRANSPOSED ? "N" : "T", flags & AD_UNIT_DIAGONAL ? "U" : "N", &n,
            &nrhs, a, &n, b, &n, &info, 1, 1, 1);
    end(threads);
    return info;
}

int ad_lapack_cholesky(int64_t D, double *a) {
    int n = (int)D, info = 0;
    if (n == 0) return 0;
    int threads = begin();
    dpotrf_("U", &n, a, &n, &info, 1);
    end(threads);
    return info;
}

int ad_lapack_qr(int64_t M, int64_t N, double *a, double *r, double *work) {
    int m = (int)M, n = (int)N, length = QR_BLOCK * n, info = 0;
    if (n == 0) return 0;
    double *tau = work + QR_BLOCK * N;
    int threads = begin();
    dgeqrf_(&m, &n, a, &m, tau, work, &length, &info);
    for (int64_t j = 0; j < N; j++)
        for (int64_t i = 0; i < N; i++) r[j * N + i] = i <= j ? a[j * M + i] : 0;
    if (info == 0) dorgqr_(&m, &n, &n, a, &m, tau, work, &length, &info);
    end(threads);
    return info;
}

#endif
