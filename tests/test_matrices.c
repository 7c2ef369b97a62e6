// test_matrices.c -- systems, inverses, determinants and factorisations: what they promise, in residuals; singular
// ones.
#include "matrices.h"
#include "npz.h"

static const int64_t small[] = {1, 2, 3, 4, 5, 8, 16};
enum { SMALL = sizeof small / sizeof *small, LARGE = 64 };

static ad_var solve(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve(x[0], x[1]);
}
static ad_var solve_triangular(void *arg, const ad_var *x) {
    return ad_solve_triangular(x[0], x[1], *(int *)arg);
}
static ad_var inverse(void *arg, const ad_var *x) {
    (void)arg;
    return ad_inverse(x[0]);
}
static ad_var det(void *arg, const ad_var *x) {
    (void)arg;
    return ad_det(x[0]);
}
static ad_var log_abs_det(void *arg, const ad_var *x) {
    (void)arg;
    return ad_log_abs_det(x[0]);
}
static ad_var det_sign(void *arg, const ad_var *x) {
    (void)arg;
    return ad_det_sign(x[0]);
}
static ad_var cholesky(void *arg, const ad_var *x) {
    (void)arg;
    return ad_cholesky(x[0]);
}
static ad_var lu(void *arg, const ad_var *x) {
    (void)arg;
    ad_lu_factors f = ad_lu(x[0]);
    return ad_concat((ad_var[]){f.P, f.L, f.U}, 3, 0);
}
static ad_var qr(void *arg, const ad_var *x) {
    (void)arg;
    ad_qr_factors f = ad_qr(x[0]);
    return ad_concat((ad_var[]){f.Q, f.R}, 2, 0);
}
static ad_var matrix_exp(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matrix_exp(x[0]);
}
static ad_var det_gradient(void *arg, const ad_var *x) {
    ad_var g;
    (void)arg;
    ad_grad(ad_det(x[0]), x, 1, &g);
    return g;
}
static ad_var log_det_gradient(void *arg, const ad_var *x) {
    ad_var g;
    (void)arg;
    ad_grad(ad_log_abs_det(x[0]), x, 1, &g);
    return g;
}
static ad_var det_second(void *arg, const ad_var *x) {
    ad_var g;
    (void)arg;
    ad_grad(ad_sum(det_gradient(NULL, x)), x, 1, &g);
    return g;
}

// ---- systems -------------------------------------------------------------------------------------------------------

// |A x - b| within some D eps |A| |x|: what a backward stable solution has, whatever A's condition.
static void check_system(ad_type type, int64_t D, int64_t N, bool a_rows, bool b_rows) {
    operand x[] = {matrices_random(type, ad_shape2(D, D), a_rows, (uint64_t)D),
                   matrices_random(type, N ? ad_shape2(D, N) : ad_shape1(D), b_rows, 99)};
    int64_t columns = N ? N : 1, R = a_rows || b_rows ? MATRICES_ROWS : 1;
    double *out = malloc((size_t)(R * D * columns) * sizeof *out);
    matrices_run(type, solve, NULL, x, 2, out);
    for (int64_t r = 0; r < R; r++) {
        const double *A = matrices_row(&x[0], r), *b = matrices_row(&x[1], r), *y = out + r * D * columns;
        double scale = matrices_norm(D, D, A) * matrices_norm(D, columns, y) + matrices_norm(D, columns, b);
        double residual = matrices_residual(D, D, columns, A, false, y, false, b);
        if (!(residual <= 4 * (double)D * matrices_eps(type) * scale))
            fail_msg("D %d, N %d, rows %d %d, row %d: residual %g of %g", (int)D, (int)N, a_rows, b_rows, (int)r,
                     residual, scale);
    }
    free(out);
    free(x[0].data);
    free(x[1].data);
}

static void solutions_leave_small_residuals(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i < SMALL; i++)
            for (int rows = 0; rows < 4; rows++)
                for (int64_t N = 0; N < 4; N++) check_system((ad_type)type, small[i], N, rows & 1, rows & 2);
    for (int type = 0; type < 2; type++)
        for (int64_t N = 0; N < 6; N += 5) {
            check_system((ad_type)type, LARGE, N, false, false);
            check_system((ad_type)type, LARGE, N, false, true);
        }
}

static void inverses_times_their_matrices_are_one(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i <= SMALL; i++)
            for (int rows = 0; rows < (i < SMALL ? 2 : 1); rows++) {
                int64_t D = i < SMALL ? small[i] : LARGE;
                operand A = matrices_random((ad_type)type, ad_shape2(D, D), rows, (uint64_t)D + 7);
                double *out = malloc((size_t)(D * D * MATRICES_ROWS) * sizeof *out), one[LARGE * LARGE];
                matrices_run((ad_type)type, inverse, NULL, &A, 1, out);
                matrices_identity(D, one);
                for (int64_t r = 0; r < (rows ? MATRICES_ROWS : 1); r++) {
                    const double *a = matrices_row(&A, r), *y = out + r * D * D;
                    double condition = matrices_norm(D, D, a) * matrices_norm(D, D, y);
                    assert_true(matrices_residual(D, D, D, a, false, y, false, one) <=
                                4 * (double)D * matrices_eps((ad_type)type) * condition);
                }
                free(out);
                free(A.data);
            }
}

// The half that is not read holds NaN, and so does a unit diagonal.
static void check_triangular(ad_type type, int64_t D, int64_t N, bool a_rows, bool b_rows, int flags) {
    operand x[] = {matrices_random(type, ad_shape2(D, D), a_rows, (uint64_t)D),
                   matrices_random(type, N ? ad_shape2(D, N) : ad_shape1(D), b_rows, 98)};
    int64_t columns = N ? N : 1, R = a_rows || b_rows ? MATRICES_ROWS : 1, n = D * D * (a_rows ? MATRICES_ROWS : 1);
    double *full = malloc((size_t)n * sizeof *full), *out = malloc((size_t)(R * D * columns) * sizeof *out);
    for (int64_t e = 0; e < n; e++) {
        int64_t i = e / D % D, j = e % D;
        bool read = i == j ? !(flags & AD_UNIT_DIAGONAL) : flags & AD_UPPER ? j > i : j < i;
        if (i == j) x[0].data[e] += x[0].data[e] < 0 ? -1 : 1;
        full[e] = read ? x[0].data[e] : i == j ? 1 : 0;
        if (!read) x[0].data[e] = NAN;
    }
    matrices_run(type, solve_triangular, &flags, x, 2, out);
    for (int64_t r = 0; r < R; r++) {
        const double *A = full + (a_rows ? r * D * D : 0), *b = matrices_row(&x[1], r), *y = out + r * D * columns;
        double scale = (double)D * matrices_norm(D, D, A) * matrices_norm(D, columns, y) + matrices_norm(D, columns, b);
        double residual = matrices_residual(D, D, columns, A, flags & AD_TRANSPOSED, y, false, b);
        if (!(residual <= 4 * (double)D * matrices_eps(type) * scale))
            fail_msg("D %d, N %d, flags %d, row %d: residual %g of %g", (int)D, (int)N, flags, (int)r, residual, scale);
    }
    free(full);
    free(out);
    free(x[0].data);
    free(x[1].data);
}

static void triangular_systems_read_one_half(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int flags = 0; flags < 8; flags++)
            for (int i = 0; i < SMALL; i++)
                for (int rows = 0; rows < 4; rows++)
                    check_triangular((ad_type)type, small[i], i % 3, rows & 1, rows & 2, flags);
    for (int flags = 0; flags < 8; flags++)
        for (int rows = 0; rows < 2; rows++) check_triangular(AD_F64, 40, 2 * rows, false, rows, flags);
}

// The Hilbert matrix has condition 1.5e10 at D = 8: the solution is as wrong as that allows and no more.
static void ill_conditioned_systems(void **state) {
    enum { D = 8 };
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        operand x[] = {matrices_random(AD_F64, ad_shape2(D, D), rows, 1),
                       matrices_random(AD_F64, ad_shape1(D), rows, 1)};
        for (int64_t e = 0; e < D * D * (rows ? MATRICES_ROWS : 1); e++)
            x[0].data[e] = 360360.0 / (double)(e / D % D + e % D + 1);  // whole numbers: exactly the matrix meant
        for (int64_t e = 0; e < D * (rows ? MATRICES_ROWS : 1); e++) {
            x[1].data[e] = 0;
            for (int64_t j = 0; j < D; j++) x[1].data[e] += 360360.0 / (double)(e % D + j + 1);
        }
        double out[D * MATRICES_ROWS];
        matrices_run(AD_F64, solve, NULL, x, 2, out);
        for (int64_t e = 0; e < D * (rows ? MATRICES_ROWS : 1); e++) util_assert_close(out[e], 1, 1.5e10 * DBL_EPSILON);
        free(x[0].data);
        free(x[1].data);
    }
}

// ---- determinants --------------------------------------------------------------------------------------------------

static void check_determinants(ad_type type, int64_t D, bool rows) {
    operand A = matrices_random(type, ad_shape2(D, D), rows, (uint64_t)D + 50);
    double d[MATRICES_ROWS], l[MATRICES_ROWS], s[MATRICES_ROWS], *inv = malloc((size_t)(D * D) * MATRICES_ROWS * 8);
    matrices_run(type, det, NULL, &A, 1, d);
    matrices_run(type, log_abs_det, NULL, &A, 1, l);
    matrices_run(type, det_sign, NULL, &A, 1, s);
    matrices_run(type, inverse, NULL, &A, 1, inv);
    for (int64_t r = 0; r < (rows ? MATRICES_ROWS : 1); r++) {
        const double *a = matrices_row(&A, r);
        double sign, log_det = matrices_log_det(D, a, &sign);
        // A's backward error moves log |det| by at most its trace with the inverse.
        double condition = matrices_norm(D, D, a) * matrices_norm(D, D, inv + r * D * D);
        double allowed = 4 * (double)D * matrices_eps(type) * condition;
        assert_true(s[r] == sign);
        assert_true(fabs(l[r] - log_det) <= allowed);
        assert_true(fabs(d[r] - sign * exp(log_det)) <= allowed * exp(log_det));
    }
    free(inv);
    free(A.data);
}

static void determinants_of_random_matrices(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i < SMALL; i++)
            for (int rows = 0; rows < 2; rows++) check_determinants((ad_type)type, small[i], rows);
    check_determinants(AD_F64, LARGE, false);
    check_determinants(AD_F32, LARGE, false);
}

// Elements of whole numbers, of rank below D, in row 1 of 3 (or shared).
static operand singular(int64_t D, int64_t rank, bool rows) {
    operand A = {ad_shape2(D, D), rows ? 3 : 0, malloc((size_t)(3 * D * D) * sizeof(double))};
    for (int64_t e = 0; e < 3 * D * D; e++) A.data[e] = e % D == e / D % D ? 2 : 0;
    double *a = A.data + (rows ? D * D : 0);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            a[i * D + j] = 0;
            for (int64_t k = 0; k < rank; k++)
                a[i * D + j] += (double)((i >= k) * (j >= k) * (k + 1 + (k == 0 && i == 1)));
        }
    return A;
}

static void determinants_of_singular_matrices(void **state) {
    (void)state;
    for (int64_t D = 1; D <= 6; D++)
        for (int rows = 0; rows < 2; rows++) {
            operand A = singular(D, D - 1, rows);
            double out[3][3];
            matrices_run(AD_F32, det, NULL, &A, 1, out[0]);
            matrices_run(AD_F32, log_abs_det, NULL, &A, 1, out[1]);
            matrices_run(AD_F32, det_sign, NULL, &A, 1, out[2]);
            assert_true(out[0][rows] == 0);
            assert_true(out[1][rows] == -INFINITY);
            assert_true(out[2][rows] == 0);
            if (rows) util_assert_close(out[1][0], (double)D * log(2), 1e-6);
            free(A.data);
        }
}

// A product of which parts overflow.
static void determinants_do_not_overflow_on_the_way(void **state) {
    const double element[] = {1e200, 1e150, 1e-180, 1e-170};
    (void)state;
    for (int rows = 0; rows < 2; rows++) {
        operand A = singular(4, 0, rows);
        for (int i = 0; i < 4; i++)
            for (int r = 0; r < 3; r++) A.data[r * 16 + i * 5] = element[i];
        double out[3];
        matrices_run(AD_F64, det, NULL, &A, 1, out);
        util_assert_close(out[0], 1, 1e-13);
        free(A.data);
    }
}

static double minor_of(const double *a, int64_t D, int64_t row, int64_t column) {
    double b[64], sign;
    for (int64_t i = 0, e = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            if (i != row && j != column) b[e++] = a[i * D + j];
    double log_det = matrices_log_det(D - 1, b, &sign);
    return ((row + column) % 2 ? -1 : 1) * (isfinite(log_det) ? sign * exp(log_det) : 0);
}

static void gradients_of_det_are_cofactors(void **state) {
    (void)state;
    for (int64_t D = 2; D <= 6; D++)
        for (int64_t rank = D - 3 < 0 ? 0 : D - 3; rank <= D; rank++)
            for (int rows = 0; rows < 2; rows++) {
                operand A = singular(D, rank, rows);
                double out[3 * 36];
                matrices_run(AD_F64, det_gradient, NULL, &A, 1, out);
                const double *a = A.data + (rows ? D * D : 0), *g = out + (rows ? D * D : 0);
                for (int64_t e = 0; e < D * D; e++) {
                    double minor = minor_of(a, D, e / D, e % D);
                    util_assert_close(g[e], minor != minor ? 0 : minor, 1e-11);
                }
                free(A.data);
            }
}

// Second derivatives of a 2 x 2 determinant are constant; above 3 x 3 they need the inverse, and say so.
static void second_derivatives_of_singular_det(void **state) {
    (void)state;
    operand A = singular(2, 1, true), B = singular(4, 3, true);
    double out[12];
    matrices_run(AD_F64, det_second, NULL, &A, 1, out);
    for (int i = 0; i < 12; i++) assert_true(out[i] == (i % 4 == 0 || i % 4 == 3 ? 1 : -1));
    matrices_fails(AD_F64, det_second, &B, 1, "row 1: A is singular");
    free(A.data);
    free(B.data);
}

// ---- factors -------------------------------------------------------------------------------------------------------

static void check_lu(ad_type type, int64_t D, bool deficient) {
    operand A = matrices_random(type, ad_shape2(D, D), false, (uint64_t)D);
    for (int64_t i = 0; i < D && deficient; i++) A.data[i * D + D / 2] = A.data[i * D];
    double *f = malloc((size_t)(4 * D * D) * sizeof *f), *L = f + D * D, *U = L + D * D, *PA = U + D * D;
    matrices_run(type, lu, NULL, &A, 1, f);
    for (int64_t i = 0; i < D; i++) {
        double ones[2] = {0, 0};
        for (int64_t j = 0; j < D; j++) {
            assert_true(f[i * D + j] == 0 || f[i * D + j] == 1);
            ones[0] += f[i * D + j], ones[1] += f[j * D + i];
            assert_true(j > i ? L[i * D + j] == 0 : j == i ? L[i * D + j] == 1 : fabs(L[i * D + j]) <= 1);
            assert_true(j >= i || U[i * D + j] == 0);
        }
        assert_true(ones[0] == 1 && ones[1] == 1);
        for (int64_t j = 0; j < D; j++) {  // P^T A
            PA[i * D + j] = 0;
            for (int64_t p = 0; p < D; p++) PA[i * D + j] += f[p * D + i] * A.data[p * D + j];
        }
    }
    double scale = matrices_norm(D, D, L) * matrices_norm(D, D, U);
    assert_true(matrices_residual(D, D, D, L, false, U, false, PA) <= 2 * (double)D * matrices_eps(type) * scale);
    free(f);
    free(A.data);
}

static void lu_factors_multiply_to_the_matrix(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i <= SMALL; i++)
            for (int deficient = 0; deficient < 2; deficient++)
                check_lu((ad_type)type, i < SMALL ? small[i] : LARGE, deficient);
}

static void check_qr(ad_type type, int64_t M, int64_t N) {
    operand A = matrices_random(type, ad_shape2(M, N), false, (uint64_t)(M + N));
    double *Q = malloc((size_t)((M + N) * N) * sizeof *Q), *R = Q + M * N, one[LARGE * LARGE];
    double eps = matrices_eps(type), allowed = 4 * (double)M * eps;
    matrices_run(type, qr, NULL, &A, 1, Q);
    matrices_identity(N, one);
    assert_true(matrices_residual(N, M, N, Q, true, Q, false, one) <= allowed);
    assert_true(matrices_residual(M, N, N, Q, false, R, false, A.data) <= allowed * matrices_norm(M, N, A.data));
    for (int64_t i = 0; i < N; i++)
        for (int64_t j = 0; j <= i; j++) assert_true(j < i ? R[i * N + j] == 0 : R[i * N + j] >= 0);
    free(Q);
    free(A.data);
}

static void qr_factors_multiply_to_the_matrix(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i < SMALL; i++)
            for (int64_t extra = 0; extra < 8; extra += 3) check_qr((ad_type)type, small[i] + extra, small[i]);
    check_qr(AD_F64, 100, LARGE);
    check_qr(AD_F32, LARGE, LARGE);
}

// A = B B^T + I in its lower half; the upper holds NaN.
static operand definite(ad_type type, int64_t D, bool rows) {
    operand A = matrices_random(type, ad_shape2(D, D), rows, (uint64_t)D);
    double b[LARGE * LARGE];
    for (int64_t r = 0; r < (rows ? MATRICES_ROWS : 1); r++) {
        double *a = A.data + r * D * D;
        memcpy(b, a, (size_t)(D * D) * sizeof *b);
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                double sum = i == j;
                for (int64_t k = 0; k < D; k++) sum += b[i * D + k] * b[j * D + k];
                a[i * D + j] = j > i ? NAN : type == AD_F32 ? (double)(float)sum : sum;
            }
    }
    return A;
}

static void check_cholesky(ad_type type, int64_t D, bool rows) {
    operand A = definite(type, D, rows);
    double *out = malloc((size_t)(D * D * MATRICES_ROWS) * sizeof *out);
    matrices_run(type, cholesky, NULL, &A, 1, out);
    for (int64_t r = 0; r < (rows ? MATRICES_ROWS : 1); r++) {
        double *a = A.data + r * D * D, *L = out + r * D * D;
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = i + 1; j < D; j++) {
                a[i * D + j] = a[j * D + i];
                assert_true(L[i * D + j] == 0);
            }
        assert_true(matrices_residual(D, D, D, L, false, L, true, a) <=
                    2 * (double)D * matrices_eps(type) * matrices_norm(D, D, a));
    }
    free(out);
    free(A.data);
}

static void cholesky_factors_multiply_to_the_matrix(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int i = 0; i <= SMALL; i++)
            for (int rows = 0; rows < (i < SMALL ? 2 : 1); rows++)
                check_cholesky((ad_type)type, i < SMALL ? small[i] : LARGE, rows);
}

// ---- the exponential -----------------------------------------------------------------------------------------------

static void check_exp(int64_t D, const double *a, const double *expected, double tolerance) {
    operand A = {ad_shape2(D, D), 0, (double *)(uintptr_t)a};
    double out[LARGE * LARGE], scale = matrices_norm(D, D, expected);
    matrices_run(AD_F64, matrix_exp, NULL, &A, 1, out);
    for (int64_t i = 0; i < D * D; i++)
        if (!(fabs(out[i] - expected[i]) <= tolerance * scale))
            fail_msg("element %d is %.17g, not %.17g", (int)i, out[i], expected[i]);
}

static void exponentials_in_closed_form(void **state) {
    (void)state;
    const double nilpotent[9] = {0, 2, 3, 0, 0, 5, 0, 0, 0}, of_nilpotent[9] = {1, 2, 8, 0, 1, 5, 0, 0, 1};
    check_exp(3, nilpotent, of_nilpotent, 1e-15);
    for (double angle = 1e-3; angle < 2000; angle *= 7) {
        const double turn[4] = {0, -angle, angle, 0}, of_turn[4] = {cos(angle), -sin(angle), sin(angle), cos(angle)};
        check_exp(2, turn, of_turn, 1e-14 * fmax(1, angle));
    }
    for (double x = -700; x <= 700; x += 35) check_exp(1, &x, (const double[]){exp(x)}, 1e-14 * fmax(1, fabs(x)));
    // Far from normal: exp([a b; 0 c]) has b (e^a - e^c) / (a - c) in its corner, and a condition of about b^2.
    const double far[4] = {-1, 1e3, 0, -2}, of_far[4] = {exp(-1), 1e3 * (exp(-1) - exp(-2)), 0, exp(-2)};
    check_exp(2, far, of_far, 1e-10);
    double zero[16] = {0}, one[16];
    matrices_identity(4, one);
    check_exp(4, zero, one, 0);
}

// Each element to its own size: too many squarings would drown the small ones in the errors of the large.
static void check_exp_elements(int64_t D, const double *a, const double *expected, double tolerance) {
    operand A = {ad_shape2(D, D), 0, (double *)(uintptr_t)a};
    double out[16];
    matrices_run(AD_F64, matrix_exp, NULL, &A, 1, out);
    for (int64_t i = 0; i < D * D; i++)
        if (!(fabs(out[i] - expected[i]) <= tolerance * fabs(expected[i])))
            fail_msg("element %d is %.17g, not %.17g", (int)i, out[i], expected[i]);
}

static void exponentials_far_from_normal(void **state) {
    (void)state;
    for (double b = 1; b < 1e27; b *= 1e3) {
        const double reflection[4] = {1, b, 0, -1}, of_reflection[4] = {exp(1), b * sinh(1), 0, exp(-1)};
        check_exp_elements(2, reflection, of_reflection, 1e-14);
        const double lower[4] = {-1, 0, -b, 1}, of_lower[4] = {exp(-1), 0, -b * sinh(1), exp(1)};
        check_exp_elements(2, lower, of_lower, 1e-14);
        const double step[4] = {0, b, 0, 0}, of_step[4] = {1, b, 0, 1};
        check_exp_elements(2, step, of_step, 1e-15);
        const double tilted[4] = {20, b, 0, -20}, of_tilted[4] = {exp(20), b * sinh(20) / 20, 0, exp(-20)};
        check_exp(2, tilted, of_tilted, 1e-13);
    }
    for (double b = 1; b < 1e27; b *= 1e3) {
        const double chain[16] = {0, b, 0, 0, 0, 0, 2, 0, 0, 0, 0, b, 0, 0, 0, 0};
        const double of_chain[16] = {1, b, b, b * b / 3, 0, 1, 2, b, 0, 0, 1, b, 0, 0, 0, 1};
        check_exp_elements(4, chain, of_chain, 1e-14);
    }
}

static ad_var corner_of_exponential(void *arg, const ad_var *x) {
    (void)arg;
    ad_var gx, corner = ad_slice(ad_slice(ad_matrix_exp(x[0]), 0, 0, 1), 1, 1, 1);
    ad_grad(ad_sum(corner), x, 1, &gx);
    return gx;
}

// d/dA of b (e^a - e^c) / (a - c) at a = 1, c = -1. What is 0 above the diagonal of the gradient has errors of b.
static void gradient_of_an_exponential_far_from_normal(void **state) {
    (void)state;
    const double b = 1e4, s = sinh(1), a[4] = {1, b, 0, -1};
    const double expected[4] = {b * (exp(1) - s) / 2, s, b * b * (cosh(1) - s) / 2, b * (s - exp(-1)) / 2};
    operand A = {ad_shape2(2, 2), 0, (double *)(uintptr_t)a};
    double out[4];
    matrices_run(AD_F64, corner_of_exponential, NULL, &A, 1, out);
    for (int i = 0; i < 4; i++)
        if (!(fabs(out[i] - expected[i]) <= 1e-11 * fabs(expected[i])))
            fail_msg("element %d is %.17g, not %.17g", i, out[i], expected[i]);
}

// Taylor's series in long double, of norms that call for each order and for squaring.
static void exponentials_of_random_matrices(void **state) {
    (void)state;
    static const double size[] = {0.002, 0.03, 0.2, 0.5, 1.5, 3, 8};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int64_t D = 1; D <= 16; D += 5) {
            double a[256], expected[256];
            long double term[256], sum[256], next[256];
            util_fill(a, D * D, (uint64_t)D, -size[s] / (double)D, size[s] / (double)D);
            for (int64_t i = 0; i < D * D; i++) term[i] = sum[i] = i % (D + 1) == 0;
            for (int n = 1; n < 80; n++) {
                for (int64_t i = 0; i < D * D; i++) {
                    next[i] = 0;
                    for (int64_t k = 0; k < D; k++) next[i] += term[i / D * D + k] * a[k * D + i % D] / n;
                    sum[i] += next[i];
                }
                memcpy(term, next, sizeof term);
            }
            for (int64_t i = 0; i < D * D; i++) expected[i] = (double)sum[i];
            check_exp(D, a, expected, 1e-14);
        }
}

// ---- what cannot be done -------------------------------------------------------------------------------------------

static void singular_matrices_name_their_row(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int64_t D = 1; D <= 5; D++) {
            operand x[] = {singular(D, D - 1, true), matrices_random(AD_F64, ad_shape1(D), false, 3)};
            int lower = 0;
            ad_error error;
            double out[200];
            matrices_fails((ad_type)type, solve, x, 2, "solve of row 1: A is singular: pivot");
            matrices_fails((ad_type)type, inverse, x, 1, "inverse of row 1: A is singular");
            matrices_fails((ad_type)type, log_det_gradient, x, 1, "row 1: A is singular");
            x[0].data[D * D] = 0;
            assert_int_equal(matrices_try((ad_type)type, solve_triangular, &lower, x, 2, out, &error), AD_ENONFINITE);
            util_assert_contains(error.message, "solve_triangular of row 1: A is singular: diagonal element 0 is 0");
            x[0].data[2 * D * D] = -1, x[0].data[D * D] = 1;
            if (D == 1) matrices_fails((ad_type)type, cholesky, x, 1, "cholesky of row 2: A is not positive definite");
            free(x[0].data);
            x[0] = singular(D, D - 1, false);
            matrices_fails((ad_type)type, solve, x, 2, "solve: A is singular: pivot");
            matrices_fails((ad_type)type, inverse, x, 1, "inverse: A is singular");
            x[1].rows = 1;  // a shared matrix, a side per row
            matrices_fails((ad_type)type, solve, x, 2, "A is singular");
            x[0].data[D * D - 1] = -1;
            matrices_fails((ad_type)type, cholesky, x, 1, "cholesky: A is not positive definite: its leading minor");
            free(x[0].data);
            free(x[1].data);
        }
}

static ad_var r_of(void *arg, const ad_var *x) {
    (void)arg;
    return ad_qr(x[0]).R;
}

// A column that the others make up, or of zeros; but not one that is only small.
static void qr_needs_full_rank(void **state) {
    (void)state;
    double repeated[12] = {1, 2, 1, 3, 1, 3, -1, 4, -1, 0.5, 7, 0.5}, zeros[6] = {1, 0, 2, 0, 3, 0}, out[9];
    const double graded[4] = {1e10, 1e-20, 0, 1e-20};
    operand A = {ad_shape2(4, 3), 0, repeated};
    matrices_fails(AD_F32, r_of, &A, 1, "qr: A has not full rank: column 2 depends on those before it");
    matrices_fails(AD_F64, r_of, &A, 1, "qr: A has not full rank: column 2 depends on those before it");
    A = (operand){ad_shape2(3, 2), 0, zeros};
    matrices_fails(AD_F64, r_of, &A, 1, "qr: A has not full rank: column 1 depends");
    A = (operand){ad_shape2(2, 2), 0, (double *)(uintptr_t)graded};
    matrices_run(AD_F64, r_of, NULL, &A, 1, out);
    assert_true(out[0] == 1e10 && out[1] == 1e-20 && out[2] == 0 && out[3] == 1e-20);
    A = (operand){ad_shape2(2, 2), 0, (double[]){1, 1, 1, 1 + 0x1p-40}};
    matrices_run(AD_F64, r_of, NULL, &A, 1, out);
    assert_true(out[3] > 0);
}

static void det_of_what_is_not_finite_is_nan(void **state) {
    (void)state;
    for (int rows = 0; rows < 2; rows++)
        for (int64_t D = 2; D <= 5; D++) {
            operand A = singular(D, D, rows);
            double out[3];
            A.data[(rows ? D * D : 0) + D] = NAN;
            matrices_run(AD_F64, det, NULL, &A, 1, out);
            assert_true(isnan(out[rows]));
            if (rows) assert_true(isfinite(out[0]) && isfinite(out[2]));
            free(A.data);
        }
}

static void matrices_that_are_not_finite(void **state) {
    (void)state;
    static const ad_function f[] = {inverse, log_abs_det, det_sign, cholesky, lu, qr, matrix_exp};
    static const char *const name[] = {"inverse", "log_abs_det", "det_sign", "cholesky", "lu", "qr", "matrix_exp"};
    const double bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++)
        for (size_t i = 0; i < sizeof f / sizeof *f; i++)
            for (int rows = 0; rows < (i < 4 ? 2 : 1); rows++) {
                operand A = singular(5, 5, rows);
                A.data[(rows ? 25 : 0) + 15] = bad[b];  // below the diagonal
                char text[80];
                snprintf(text, sizeof text, "%s%s: A is not finite", name[i], rows ? " of row 1" : "");
                matrices_fails(AD_F32, f[i], &A, 1, text);
                matrices_fails(AD_F64, f[i], &A, 1, text);
                free(A.data);
            }
}

static void shape_error(ad_function f, ad_shape a, ad_shape b, bool rows, const char *text) {
    operand x[] = {matrices_random(AD_F64, a, rows, 1), matrices_random(AD_F64, b, false, 1)};
    double out[2000];
    int flags = 0;
    ad_error error;
    assert_int_equal(matrices_try(AD_F64, f, &flags, x, 2, out, &error), AD_ESHAPE);
    util_assert_contains(error.message, text);
    free(x[0].data);
    free(x[1].data);
}

static void shape_errors_say_what_is_expected(void **state) {
    (void)state;
    ad_shape three = ad_shape1(3), large = ad_shape2(17, 17), wide = ad_shape2(2, 3);
    shape_error(solve, large, ad_shape1(17), true,
                "solve: A is [17,17] per row: matrices with rows are at most [16,16]");
    shape_error(solve_triangular, large, ad_shape1(17), true, "at most [16,16]");
    shape_error(inverse, large, three, true, "inverse: A is [17,17] per row");
    shape_error(det, large, three, true, "at most [16,16]");
    shape_error(log_abs_det, large, three, true, "at most [16,16]");
    shape_error(cholesky, large, three, true, "at most [16,16]");
    shape_error(solve, wide, three, false, "solve: A is [2,3], expected a square matrix [D,D]");
    shape_error(det, three, three, false, "det: A is [3], expected a square matrix");
    shape_error(solve, ad_shape2(2, 2), three, false, "expected b [2] or [2,N] for A [2,2]");
    shape_error(solve_triangular, ad_shape2(2, 2), ad_shape3(2, 1, 1), false, "expected b [2] or [2,N]");
    shape_error(lu, ad_shape2(2, 2), three, true, "lu: A has rows; it must be shared");
    shape_error(matrix_exp, ad_shape2(2, 2), three, true, "matrix_exp: A has rows; it must be shared");
    shape_error(qr, wide, three, false, "qr: A is [2,3], expected a shared matrix [M,N], M >= N");
    shape_error(qr, ad_shape2(2, 2), three, true, "qr: A is [2,2] per row");
}

static void matrices_without_elements(void **state) {
    (void)state;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var A = ad_slice(ad_slice(ad_fill(tape, ad_shape2(2, 2), 1), 0, 0, 0), 1, 0, 0);
    ad_var b = ad_slice(ad_fill(tape, ad_shape1(2), 1), 0, 0, 0), sum = ad_sum(ad_solve(A, b));
    sum = ad_add(sum, ad_sum(ad_inverse(A)));
    sum = ad_add(sum, ad_sum(ad_solve_triangular(A, b, 0)));
    sum = ad_add(sum, ad_sum(ad_cholesky(A)));
    sum = ad_add(sum, ad_sum(ad_lu(A).L));
    sum = ad_add(sum, ad_sum(ad_lu(A).P));
    sum = ad_add(sum, ad_sum(ad_qr(A).R));
    sum = ad_add(sum, ad_sum(ad_matrix_exp(A)));
    sum = ad_add(sum, ad_log_abs_det(A));
    ad_var one = ad_keep(ad_mul(ad_det(A), ad_det_sign(A))), g;
    ad_grad(ad_add(sum, one), &A, 1, &g);
    ad_keep(sum);
    ad_keep(ad_sum(g));
    util_run(tape);
    double out[2];
    util_read(sum, &out[0], 1);
    util_read(one, &out[1], 1);
    assert_true(out[0] == 0 && out[1] == 1);
    ad_tape_free(tape);
}

// ---- bits ----------------------------------------------------------------------------------------------------------

static ad_var everything(void *arg, const ad_var *x) {
    (void)arg;
    ad_var parts[] = {ad_reshape(ad_solve(x[0], x[1]), ad_shape1(5)),
                      ad_reshape(ad_inverse(x[0]), ad_shape1(25)),
                      ad_reshape(ad_det(x[0]), ad_shape1(1)),
                      ad_reshape(ad_log_abs_det(x[0]), ad_shape1(1)),
                      ad_reshape(ad_solve_triangular(x[0], x[1], AD_UPPER), ad_shape1(5)),
                      ad_reshape(ad_cholesky(ad_matmul(x[0], x[0], AD_TRANSPOSE_B)), ad_shape1(25))};
    return ad_concat(parts, 6, 0);
}

// A row's bits are the same alone and among others, in another lane.
static void rows_are_independent(void **state) {
    enum { N = 62 };
    (void)state;
    for (int type = 0; type < 2; type++) {
        operand x[] = {matrices_random((ad_type)type, ad_shape2(5, 5), true, 1),
                       matrices_random((ad_type)type, ad_shape1(5), true, 2)};
        double all[MATRICES_ROWS * N], alone[N];
        matrices_run((ad_type)type, everything, NULL, x, 2, all);
        for (int64_t r = 0; r < MATRICES_ROWS; r += 13) {
            const operand one[] = {{x[0].shape, 1, x[0].data + r * 25}, {x[1].shape, 1, x[1].data + r * 5}};
            matrices_run((ad_type)type, everything, NULL, one, 2, alone);
            assert_memory_equal(alone, all + r * N, sizeof alone);
        }
        free(x[0].data);
        free(x[1].data);
    }
}

// Shared matrices large enough for LAPACK to take threads.
static void threads_do_not_change_bits(void **state) {
    enum { D = 200 };
    (void)state;
    operand A = matrices_random(AD_F64, ad_shape2(D, D), false, 5);
    operand x = matrices_random(AD_F64, ad_shape1(D), true, 6);
    double *g[3];
    for (int t = 0; t < 3; t++) {
        const ad_engine_options options = {.threads = 1 + t};
        ad_engine *engine = ad_engine_new(&options, NULL);
        ad_tape *tape = ad_tape_new(engine, AD_F64);
        const ad_source from[] = {util_source(A.data, 1), util_source(x.data, MATRICES_ROWS)};
        ad_rows rows = util_rows(tape, "rows", MATRICES_ROWS);
        ad_var a = ad_shared_input(tape, A.shape, &from[0]), b = ad_input(rows, x.shape, &from[1]), grad;
        ad_var loss = ad_add(ad_sum_rows(ad_sum(ad_square(ad_solve(a, b)))), ad_log_abs_det(a));
        loss = ad_add(loss, ad_sum(ad_qr(a).R));
        ad_grad(loss, &a, 1, &grad);
        ad_keep(grad);
        util_run(tape);
        g[t] = malloc(D * D * sizeof(double));
        util_read(grad, g[t], D * D);
        if (t > 0) assert_memory_equal(g[t], g[0], D * D * sizeof(double));
        ad_tape_free(tape);
        ad_engine_free(engine);
    }
    for (int t = 0; t < 3; t++) free(g[t]);
    free(A.data);
    free(x.data);
}

// ---- another library's numbers -------------------------------------------------------------------------------------

// z = L U x + bias, log |det|, the way back, and gradients (nflows' LULinear).
static void lu_linear_agrees_with_nflows(void **state) {
    enum { D = 5, B = 10 };
    (void)state;
    npz file = npz_open("lu_linear_d5.npz");
    int64_t n;
    double *weight = npz_array(&file, "weight", &n), *bias = npz_array(&file, "bias", &n),
           *x = npz_array(&file, "x", &n);
    double *z = npz_array(&file, "z", &n), *log_det = npz_array(&file, "log_det", &n),
           *x_inv = npz_array(&file, "x_inv", &n);
    double *L = npz_array(&file, "L", &n), *U = npz_array(&file, "U", &n), *cot = npz_array(&file, "cot_z", &n);
    double *grad_x = npz_array(&file, "grad_x", &n), out[B * D];
    for (int per_row = 0; per_row < 2; per_row++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_rows rows = util_rows(tape, "rows", B);
        const ad_source from[] = {util_source(x, B), util_source(z, B), util_source(cot, B)};
        ad_var xv = ad_input(rows, ad_shape1(D), &from[0]), zv = ad_input(rows, ad_shape1(D), &from[1]);
        ad_var W = ad_matmul(ad_constant(tape, ad_shape2(D, D), L), ad_constant(tape, ad_shape2(D, D), U), 0);
        ad_var b = ad_constant(tape, ad_shape1(D), bias), g;
        if (per_row) W = ad_to_rows(W, rows);
        ad_var y = ad_add(ad_reshape(ad_matmul(W, ad_reshape(xv, ad_shape2(D, 1)), 0), ad_shape1(D)), b);
        ad_var back = ad_keep(ad_solve(W, ad_sub(zv, b))), l = ad_keep(ad_log_abs_det(W));
        ad_grad(ad_sum(ad_mul(y, ad_input(rows, ad_shape1(D), &from[2]))), &xv, 1, &g);
        ad_keep(y), ad_keep(g), ad_keep(W);
        util_run(tape);
        util_read(y, out, B * D);
        util_assert_all_close(out, z, B * D, 1e-12);
        util_read(back, out, B * D);
        util_assert_all_close(out, x_inv, B * D, 1e-10);
        util_read(l, out, per_row ? B : 1);
        util_assert_all_close(out, log_det, per_row ? B : 1, 1e-12);
        util_read(g, out, B * D);
        util_assert_all_close(out, grad_x, B * D, 1e-10);
        ad_tape_free(tape);
    }
    double *arrays[] = {weight, bias, x, z, log_det, x_inv, L, U, cot, grad_x};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    npz_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solutions_leave_small_residuals),
        cmocka_unit_test(inverses_times_their_matrices_are_one),
        cmocka_unit_test(triangular_systems_read_one_half),
        cmocka_unit_test(ill_conditioned_systems),
        cmocka_unit_test(determinants_of_random_matrices),
        cmocka_unit_test(determinants_of_singular_matrices),
        cmocka_unit_test(determinants_do_not_overflow_on_the_way),
        cmocka_unit_test(gradients_of_det_are_cofactors),
        cmocka_unit_test(second_derivatives_of_singular_det),
        cmocka_unit_test(lu_factors_multiply_to_the_matrix),
        cmocka_unit_test(qr_factors_multiply_to_the_matrix),
        cmocka_unit_test(cholesky_factors_multiply_to_the_matrix),
        cmocka_unit_test(exponentials_in_closed_form),
        cmocka_unit_test(exponentials_of_random_matrices),
        cmocka_unit_test(singular_matrices_name_their_row),
        cmocka_unit_test(qr_needs_full_rank),
        cmocka_unit_test(det_of_what_is_not_finite_is_nan),
        cmocka_unit_test(exponentials_far_from_normal),
        cmocka_unit_test(gradient_of_an_exponential_far_from_normal),
        cmocka_unit_test(matrices_that_are_not_finite),
        cmocka_unit_test(shape_errors_say_what_is_expected),
        cmocka_unit_test(matrices_without_elements),
        cmocka_unit_test(rows_are_independent),
        cmocka_unit_test(threads_do_not_change_bits),
        cmocka_unit_test(lu_linear_agrees_with_nflows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
