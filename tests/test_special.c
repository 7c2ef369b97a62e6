// test_special.c -- error functions, gamma functions and activations: published values, derivatives, tails, edges,
// errors.
#include <float.h>

#include "npz.h"
#include "special_exact.h"

typedef ad_var (*unary)(ad_var x);

static ad_var trigamma(ad_var x) { return ad_polygamma(x, 1); }
static ad_var tetragamma(ad_var x) { return ad_polygamma(x, 2); }
static ad_var elu_1(ad_var x) { return ad_elu(x, 1); }
static ad_var elu_2(ad_var x) { return ad_elu(x, 2); }
static ad_var celu_2(ad_var x) { return ad_celu(x, 2); }
static ad_var leaky_relu_tenth(ad_var x) { return ad_leaky_relu(x, 0.1); }

// The order-th derivative of f at n numbers; all functions here act elementwise, so that a sum has these as gradient.
static void derivative(ad_type type, unary f, int order, const double *x, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, 1);
    ad_var v = ad_shared_input(tape, ad_shape1(n), &source), y = f(v);
    for (int i = 0; i < order; i++) ad_grad(ad_sum(y), &v, 1, &y);
    ad_keep(y);
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

static double value_at(ad_type type, unary f, double x) {
    double y;
    derivative(type, f, 0, &x, 1, &y);
    return y;
}

static double slope_at(ad_type type, unary f, int order, double x) {
    double y;
    derivative(type, f, order, &x, 1, &y);
    return y;
}

// ---- stored values -------------------------------------------------------------------------------------------------

static double *array_of(const npz *file, const char *name, const char *suffix, int64_t *n) {
    char text[40];
    snprintf(text, sizeof text, "%s%s", name, suffix);
    return npz_array(file, text, n);
}

// The tolerances are those stated with the values. Results and arguments that are not normal may be flushed.
static void check_values(const npz *file, const char *name, unary f, double low, double absolute) {
    int64_t n;
    double *x = array_of(file, name, "_x", &n), *y = array_of(file, name, "_y", &n);
    double *got = malloc((size_t)n * sizeof *got);
    derivative(AD_F64, f, 0, x, n, got);
    for (int64_t i = 0; i < n; i++) {
        if (x[i] < low || (x[i] != 0 && fabs(x[i]) < DBL_MIN)) continue;
        if (!(got[i] == y[i] || fabs(got[i] - y[i]) <= 1e-12 * fabs(y[i]) + fmax(absolute, DBL_MIN)))
            fail_msg("%s(%.17g): %.17g, expected %.17g", name, x[i], got[i], y[i]);
    }
    free(x), free(y), free(got);
}

static void test_values(void **state) {
    (void)state;
    npz file = npz_open("special_functions.npz");
    check_values(&file, "erf", ad_erf, -INFINITY, 0);
    check_values(&file, "erfc", ad_erfc, -INFINITY, 0);
    check_values(&file, "erfinv", ad_erfinv, -INFINITY, 0);
    check_values(&file, "ndtr", ad_normal_cdf, -INFINITY, 0);
    check_values(&file, "log_ndtr", ad_normal_log_cdf, -INFINITY, 0);
    check_values(&file, "ndtri", ad_normal_quantile, -INFINITY, 0);
    check_values(&file, "lgamma", ad_lgamma, -INFINITY, 1e-15);
    check_values(&file, "digamma", ad_digamma, -INFINITY, 1e-15);
    check_values(&file, "trigamma", trigamma, 0, 0);
    npz_close(&file);
}

static void check_derivatives(const npz *file, const char *name, unary f) {
    int64_t n, all;
    double *x = array_of(file, name, "_x", &n), *d = array_of(file, name, "_d", &all), got[8];
    for (int order = 0; order <= 4; order++) {
        derivative(AD_F64, f, order, x, n, got);
        for (int64_t i = 0; i < n; i++)
            if (!util_close(got[i], d[i * 5 + order], 1e-11))
                fail_msg("%s, derivative %d at %g: %.17g, expected %.17g", name, order, x[i], got[i],
                         d[i * 5 + order]);
    }
    free(x), free(d);
}

static void test_derivatives(void **state) {
    (void)state;
    npz file = npz_open("op_derivatives.npz");
    check_derivatives(&file, "erf", ad_erf);
    check_derivatives(&file, "erfc", ad_erfc);
    check_derivatives(&file, "erfinv", ad_erfinv);
    check_derivatives(&file, "lgamma", ad_lgamma);
    check_derivatives(&file, "digamma", ad_digamma);
    check_derivatives(&file, "gelu", ad_gelu);
    check_derivatives(&file, "silu", ad_silu);
    check_derivatives(&file, "elu_pos", elu_1);
    check_derivatives(&file, "elu_neg", elu_1);
    npz_close(&file);
}

// ---- tails --------------------------------------------------------------------------------------------------------

// log Phi and its first two derivatives, -x^2/2 - ..., -x + ..., -1 + ...: where Phi itself is 0 long since.
static void test_log_cdf_left_tail(void **state) {
    (void)state;
    util_assert_close(value_at(AD_F64, ad_normal_log_cdf, -1e5) / -5000000012.4318640, 1, 1e-15);
    util_assert_close(value_at(AD_F64, ad_normal_log_cdf, -1e150) / -5e299, 1, 1e-15);
    util_assert_close(value_at(AD_F32, ad_normal_log_cdf, -1e5) / -5000000012.4318640, 1, FLT_EPSILON);
    util_assert_close(value_at(AD_F32, ad_normal_log_cdf, -2.5e19) / -3.125e38, 1, FLT_EPSILON);
    assert_true(value_at(AD_F32, ad_normal_log_cdf, -2.7e19) == -INFINITY);  // x^2/2 above the largest number
    for (int type = 0; type < 2; type++) {
        double eps = type == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
        util_assert_close(slope_at((ad_type)type, ad_normal_log_cdf, 1, -1e5) / (1e5 + 1e-5), 1, 4 * eps);
        util_assert_close(slope_at((ad_type)type, ad_normal_log_cdf, 2, -1e5), -1 + 1e-10, 4 * eps);
    }
}

static void test_log_cdf_right_tail(void **state) {
    (void)state;
    util_assert_close(value_at(AD_F64, ad_normal_log_cdf, 10) / -7.6198530241605261e-24, 1, 1e-15);
    util_assert_close(slope_at(AD_F64, ad_normal_log_cdf, 1, 10) / 7.6945986267064193e-23, 1, 1e-15);
    assert_true(value_at(AD_F64, ad_normal_log_cdf, 1e300) == 0);
}

static void test_lgamma_overflows_with_its_value_only(void **state) {
    (void)state;
    assert_true(isfinite(value_at(AD_F32, ad_lgamma, 4.05e36)));
    assert_true(isinf(value_at(AD_F32, ad_lgamma, 4.1e36)));
    assert_true(isfinite(value_at(AD_F64, ad_lgamma, 2.55e305)));
}

// ---- gamma --------------------------------------------------------------------------------------------------------

static void test_every_polygamma(void **state) {
    (void)state;
    for (int n = 1; n <= 20; n++) {
        double x[64], got[64];
        for (int i = 0; i < 64; i++) x[i] = pow(10, -2 + i / 16.0);
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_var y = ad_keep(ad_polygamma(ad_constant(tape, ad_shape1(64), x), n));
        util_run(tape);
        util_read(y, got, 64);
        for (int i = 0; i < 64; i++) {
            double expected = (double)reference_polygamma(x[i], n);
            if (!(fabs(got[i] / expected - 1) <= (3 + 1.5 * n) * DBL_EPSILON))
                fail_msg("polygamma %d at %g: %.17g, expected %.17g", n, x[i], got[i], expected);
        }
        ad_tape_free(tape);
    }
}

// Between its poles, close to them and far out; beside the roots of those of even order the error is that of the two
// terms of the nearest poles.
static void test_every_polygamma_of_negative_numbers(void **state) {
    enum { N = 400 };
    static double x[N], got[N];
    (void)state;
    for (int i = 0; i < N; i++) x[i] = i < 300 ? -(i + 0.37) / 23 : i < 350 ? -1 - pow(2, 299 - i) : -1e3 * i - 0.3;
    for (int n = 1; n <= 20; n++) {
        real factorial = 1;
        for (int i = 2; i <= n; i++) factorial *= i;
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_var y = ad_keep(ad_polygamma(ad_constant(tape, ad_shape1(N), x), n));
        util_run(tape);
        util_read(y, got, N);
        for (int i = 0; i < N; i++) {
            real expected = reference_polygamma(x[i], n),
                 size = fmaxl(fabsl(expected), n % 2 ? 0 : ldexpl(factorial, n + 1));
            if (!(fabsl(got[i] - expected) <= (4 + 3 * n) * DBL_EPSILON * size) && !isinf((double)expected))
                fail_msg("polygamma %d at %g: %.17g, expected %.17Lg", n, x[i], got[i], expected);
        }
        ad_tape_free(tape);
    }
}

static void test_second_derivatives_of_lgamma(void **state) {
    (void)state;
    for (double x = -7.95; x < 3; x += 0.1)
        for (int order = 2; order <= 4; order++) {
            double expected = (double)reference_polygamma(x, order - 1);
            util_assert_close(slope_at(AD_F64, ad_lgamma, order, x), expected, 1e-14 * fmax(fabs(expected), 10));
            util_assert_close(slope_at(AD_F64, ad_digamma, order - 1, x), expected, 1e-14 * fmax(fabs(expected), 10));
        }
}

// Between its poles at negative numbers each has a root; SLEEF's lgamma of floats is off by 2e-4 there.
static void check_negative(unary f, ad_type type, double tolerance) {
    enum { N = 4000 };
    static double x[N], got[N];
    for (int i = 0; i < N; i++) x[i] = -(i + 0.37) / 200;
    if (type == AD_F32)
        for (int i = 0; i < N; i++) x[i] = (float)x[i];
    derivative(type, f, 0, x, N, got);
    for (int i = 0; i < N; i++) {
        real expected = f == ad_lgamma ? lgammal(x[i]) : reference_digamma(x[i]);
        real size = fmaxl(fabsl(expected), f == ad_lgamma ? 1 : 1 + logl(1 - x[i]));
        if (!(fabsl(got[i] - expected) <= tolerance * size))
            fail_msg("f%d at %.17g: %.17g, expected %.17Lg", type ? 64 : 32, x[i], got[i], expected);
    }
}

static void test_near_negative_roots(void **state) {
    (void)state;
    check_negative(ad_lgamma, AD_F32, FLT_EPSILON / 2);
    check_negative(ad_lgamma, AD_F64, DBL_EPSILON);
    check_negative(ad_digamma, AD_F32, FLT_EPSILON / 2);
    check_negative(ad_digamma, AD_F64, 4 * DBL_EPSILON);
}

static void test_near_positive_roots(void **state) {
    (void)state;
    for (int i = 0; i < 40; i++) {
        double h = ldexp(1, -i - 5), root = 0x1.762d86356be3fp+0;
        util_assert_close(value_at(AD_F64, ad_lgamma, 1 + h) / (double)lgammal(1 + h), 1, DBL_EPSILON);
        util_assert_close(value_at(AD_F64, ad_lgamma, 2 - h) / (double)lgammal(2 - h), 1, DBL_EPSILON);
        util_assert_close(value_at(AD_F64, ad_digamma, root + h) / (double)reference_digamma(root + h), 1,
                          3 * DBL_EPSILON);
    }
}

// ---- edges --------------------------------------------------------------------------------------------------------

static void test_edges(void **state) {
    (void)state;
    static const struct {
        unary f;
        double x, y;
    } table[] = {
        {ad_erf, INFINITY, 1},
        {ad_erf, -INFINITY, -1},
        {ad_erfc, INFINITY, 0},
        {ad_erfc, -INFINITY, 2},
        {ad_erfinv, 1, INFINITY},
        {ad_erfinv, -1, -INFINITY},
        {ad_erfinv, 1.5, NAN},
        {ad_erfinv, -INFINITY, NAN},
        {ad_normal_cdf, INFINITY, 1},
        {ad_normal_cdf, -INFINITY, 0},
        {ad_normal_cdf, -3e38, 0},
        {ad_normal_log_cdf, INFINITY, 0},
        {ad_normal_log_cdf, -INFINITY, -INFINITY},
        {ad_normal_quantile, 0, -INFINITY},
        {ad_normal_quantile, 1, INFINITY},
        {ad_normal_quantile, 0.5, 0},
        {ad_normal_quantile, -0.25, NAN},
        {ad_normal_quantile, 2, NAN},
        {ad_lgamma, 0, INFINITY},
        {ad_lgamma, 1, 0},
        {ad_lgamma, 2, 0},
        {ad_lgamma, -3, INFINITY},
        {ad_lgamma, -INFINITY, INFINITY},
        {ad_lgamma, INFINITY, INFINITY},
        {ad_digamma, 0, -INFINITY},
        {ad_digamma, -0.0, INFINITY},
        {ad_digamma, -2, NAN},
        {ad_digamma, -INFINITY, NAN},
        {ad_digamma, INFINITY, INFINITY},
        {trigamma, 0, INFINITY},
        {trigamma, INFINITY, 0},
        {trigamma, -1, INFINITY},
        {trigamma, -0x1p60, INFINITY},
        {trigamma, -INFINITY, NAN},
        {tetragamma, -1, NAN},
        {tetragamma, 0, -INFINITY},
        {tetragamma, -INFINITY, NAN},
        {leaky_relu_tenth, -INFINITY, -INFINITY},
        {leaky_relu_tenth, INFINITY, INFINITY},
        {elu_2, -INFINITY, -2},
        {elu_2, INFINITY, INFINITY},
        {celu_2, -INFINITY, -2},
        {ad_selu, INFINITY, INFINITY},
        {ad_gelu, -INFINITY, 0},
        {ad_gelu, INFINITY, INFINITY},
        {ad_gelu, -3e38, 0},
        {ad_gelu, 0x1p127, 0x1p127},
        {ad_silu, -INFINITY, 0},
        {ad_silu, INFINITY, INFINITY},
        {ad_silu, -3e38, 0},
        {ad_silu, 0x1p127, 0x1p127},
        {ad_softsign, -INFINITY, -1},
        {ad_softsign, INFINITY, 1},
        {ad_softsign, 0x1p127, 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int type = 0; type < 2; type++) {
            double y = value_at((ad_type)type, table[i].f, table[i].x);
            if (!(y == table[i].y || (isnan(y) && isnan(table[i].y))))
                fail_msg("entry %d, f%d, at %g: %g, expected %g", (int)i, type ? 64 : 32, table[i].x, y, table[i].y);
        }
}

static const unary every[] = {ad_erf,
                              ad_erfc,
                              ad_erfinv,
                              ad_normal_cdf,
                              ad_normal_log_cdf,
                              ad_normal_quantile,
                              ad_lgamma,
                              ad_digamma,
                              trigamma,
                              leaky_relu_tenth,
                              elu_2,
                              celu_2,
                              ad_selu,
                              ad_gelu,
                              ad_silu,
                              ad_softsign};
enum { EVERY = sizeof every / sizeof *every };

static void test_nan_stays(void **state) {
    (void)state;
    for (int i = 0; i < EVERY; i++)
        for (int type = 0; type < 2; type++) {
            if (!isnan(value_at((ad_type)type, every[i], NAN))) fail_msg("function %d, f%d", i, type ? 64 : 32);
            if (!isnan(slope_at((ad_type)type, every[i], 1, NAN)) && every[i] != leaky_relu_tenth)
                fail_msg("slope of function %d, f%d", i, type ? 64 : 32);
        }
}

// The branch that ad_where did not take is NaN or infinite, and so is its slope: nothing of that reaches the gradient.
static void test_untaken_branch_has_no_gradient(void **state) {
    static const struct {
        unary f;
        double x;
    } table[] = {{ad_erfinv, 2},   {ad_erfinv, 1},  {ad_normal_quantile, 0}, {ad_normal_log_cdf, -INFINITY},
                 {ad_lgamma, -1},  {ad_lgamma, 0},  {ad_digamma, -2.5},      {trigamma, -1},
                 {ad_gelu, -INFINITY}, {ad_silu, INFINITY}, {ad_softsign, NAN}, {elu_1, NAN}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_source source = util_source(&table[i].x, 1);
        ad_var x = ad_shared_input(tape, ad_shape0(), &source), g;
        ad_grad(ad_where(ad_number(tape, 0), table[i].f(x), ad_number(tape, 3)), &x, 1, &g);
        if (ad_value(ad_keep(g)) != 0) fail_msg("entry %d: %g, %s", (int)i, ad_value(g), ad_tape_message(tape));
        ad_tape_free(tape);
    }
}

static void test_slopes_at_kinks(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        double eps = type == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
        util_assert_close(slope_at((ad_type)type, leaky_relu_tenth, 1, 0), 0.1, eps);
        util_assert_close(slope_at((ad_type)type, elu_2, 1, 0), 2, eps);
        util_assert_close(slope_at((ad_type)type, celu_2, 1, 0), 1, eps);
        util_assert_close(slope_at((ad_type)type, celu_2, 2, 0), 0.5, eps);
        util_assert_close(slope_at((ad_type)type, ad_selu, 1, 0), 1.7580993408473766, 2 * eps);
        util_assert_close(slope_at((ad_type)type, ad_softsign, 1, 0), 1, eps);
    }
}

// Slopes neither overflow nor lose their small values: far out they are 0, 1 or 1 / x^2.
static void test_slopes_far_out(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        const double far = 0x1p120;
        assert_true(slope_at((ad_type)type, ad_gelu, 1, far) == 1 && slope_at((ad_type)type, ad_gelu, 1, -far) == 0);
        assert_true(slope_at((ad_type)type, ad_silu, 1, far) == 1 && slope_at((ad_type)type, ad_silu, 1, -far) == 0);
        assert_true(slope_at((ad_type)type, elu_2, 1, far) == 1 && slope_at((ad_type)type, elu_2, 1, -far) == 0);
        util_assert_close(slope_at((ad_type)type, ad_softsign, 1, 0x1p40) * 0x1p80, 1, 1e-6);
        for (int order = 2; order <= 4; order++) {
            const double out[] = {50, 1e30, INFINITY};
            for (int i = 0; i < 3; i++)
                for (int side = -1; side <= 1; side += 2)
                    if (slope_at((ad_type)type, ad_gelu, order, side * out[i]) != 0 ||
                        (i > 0 && slope_at((ad_type)type, ad_silu, order, side * out[i]) != 0))
                        fail_msg("derivative %d at %g, f%d", order, side * out[i], type ? 64 : 32);
        }
    }
}

static void test_slopes_at_their_roots(void **state) {
    (void)state;
    for (int i = -100; i <= 100; i++) {
        double gelu_root = -0.7517915241 + i / 500.0, silu_root = -1.2784645428 + i / 200.0;
        real x = gelu_root, expected = reference_tail(-x) + x * reference_density(x);
        util_assert_close(slope_at(AD_F64, ad_gelu, 1, gelu_root), (double)expected, 2 * DBL_EPSILON);
        x = silu_root, expected = sigmoid_of(x) * (1 + x * sigmoid_of(-x));
        util_assert_close(slope_at(AD_F64, ad_silu, 1, silu_root), (double)expected, 2 * DBL_EPSILON);
    }
}

// ---- rows and shared ------------------------------------------------------------------------------------------------

// Per row, in a batch that fills no block, and shared: the same bits.
static void test_rows_equal_shared(void **state) {
    enum { B = 37, D = 3 };
    static double x[B * D], rows[B * D], shared[B * D];
    (void)state;
    util_fill(x, B * D, 5, 0.05, 0.95);
    for (int i = 0; i < EVERY; i++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_source source = util_source(x, B), whole = util_source(x, 1);
        ad_var y = ad_keep(every[i](ad_input(util_rows(tape, "data", B), ad_shape1(D), &source)));
        ad_var z = ad_keep(every[i](ad_shared_input(tape, ad_shape3(B, 1, D), &whole)));
        util_run(tape);
        util_read(y, rows, B * D);
        util_read(z, shared, B * D);
        assert_memory_equal(rows, shared, sizeof rows);
        ad_tape_free(tape);
    }
}

// ---- errors -------------------------------------------------------------------------------------------------------

static void check_error(ad_tape *tape, ad_status status, const char *part) {
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
    ad_tape_reset(tape);
}

static void test_errors(void **state) {
    (void)state;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    const double one = 1;
    ad_var g, x;
    assert_false(ad_ok(ad_polygamma(ad_scalar(tape, &one), -1)));
    check_error(tape, AD_EARG, "ad_polygamma: order -1, expected 0 to 20");
    assert_false(ad_ok(ad_polygamma(ad_scalar(tape, &one), 21)));
    check_error(tape, AD_EARG, "ad_polygamma: order 21, expected 0 to 20");
    x = ad_scalar(tape, &one);
    ad_grad(ad_polygamma(x, 20), &x, 1, &g);
    check_error(tape, AD_ENOGRAD, "order 20");
    const double bad_alpha[] = {0, NAN, INFINITY, -1, 1e-320};
    for (int i = 0; i < 5; i++) {
        assert_false(ad_ok(ad_celu(ad_scalar(tape, &one), bad_alpha[i])));
        check_error(tape, AD_EARG, "celu: alpha is ");
        if (isfinite(bad_alpha[i])) continue;
        assert_false(ad_ok(ad_elu(ad_scalar(tape, &one), bad_alpha[i])));
        check_error(tape, AD_EARG, "elu: alpha is ");
    }
    ad_tape *narrow = ad_tape_new(NULL, AD_F32);
    assert_false(ad_ok(ad_elu(ad_scalar(narrow, &one), -1e39)));
    check_error(narrow, AD_EARG, "elu: alpha is -1e+39, expected a finite number");
    assert_false(ad_ok(ad_celu(ad_scalar(narrow, &one), 1e-40)));
    check_error(narrow, AD_EARG, "its reciprocal finite too");
    ad_tape_free(narrow);
    ad_tape_free(tape);
}

static void test_polygamma_0_is_digamma(void **state) {
    (void)state;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var x = ad_number(tape, 0.3), a = ad_polygamma(x, 0), b = ad_digamma(x);
    assert_true(ad_ok(a) && a.id == b.id);
    ad_tape_free(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_log_cdf_left_tail),
        cmocka_unit_test(test_log_cdf_right_tail),
        cmocka_unit_test(test_lgamma_overflows_with_its_value_only),
        cmocka_unit_test(test_every_polygamma),
        cmocka_unit_test(test_every_polygamma_of_negative_numbers),
        cmocka_unit_test(test_second_derivatives_of_lgamma),
        cmocka_unit_test(test_near_negative_roots),
        cmocka_unit_test(test_near_positive_roots),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_nan_stays),
        cmocka_unit_test(test_untaken_branch_has_no_gradient),
        cmocka_unit_test(test_slopes_at_kinks),
        cmocka_unit_test(test_slopes_far_out),
        cmocka_unit_test(test_slopes_at_their_roots),
        cmocka_unit_test(test_rows_equal_shared),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_polygamma_0_is_digamma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
