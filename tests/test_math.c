// test_math.c -- powers, logarithms, circular and hyperbolic functions, rounding: values at the edges, derivatives of
// high order, ties, operands of all kinds, errors.
#include <float.h>

#include "npz.h"

enum { MOST = 64, ORDERS = 5 };

typedef ad_var (*unary)(ad_var x);
typedef ad_var (*binary)(ad_var a, ad_var b);

// ---- derivatives by repeated gradients ----------------------------------------------------------------------------

static ad_var gradient(ad_var y, ad_var x) {
    ad_var gx = AD_NONE;
    ad_grad(ad_sum(y), &x, 1, &gx);
    return gx;
}

// d[order][i] = the derivative of that order of f at x[i], as [N] shared.
static void derivatives(ad_type type, unary f, int orders, const double *x, int n, double d[ORDERS][MOST]) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, 1);
    ad_var v = ad_shared_input(tape, ad_shape1(n), &source), y[ORDERS];
    for (int k = 0; k < orders; k++) y[k] = ad_keep(k ? gradient(y[k - 1], v) : f(v));
    util_run(tape);
    for (int k = 0; k < orders; k++) util_read(y[k], d[k], n);
    ad_tape_free(tape);
}

// Value and first derivatives of f(a, b), per row: out[0] = f, out[1] = df/da, out[2] = df/db, then the three second
// ones aa, ab, bb.
static void derivatives2(ad_type type, binary f, double a, double b, double out[6]) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_rows rows = util_rows(tape, "data", 1);
    ad_source sources[] = {util_source(&a, 1), util_source(&b, 1)};
    ad_var x[2], g[2], second[2];
    for (int i = 0; i < 2; i++) x[i] = ad_input(rows, ad_shape0(), &sources[i]);
    ad_var y = f(x[0], x[1]);
    ad_grad(y, x, 2, g);
    ad_var keep[6] = {y, g[0], g[1]};
    ad_grad(g[0], x, 2, second);
    keep[3] = second[0], keep[4] = second[1];
    ad_grad(g[1], x, 2, second);
    keep[5] = second[1];
    for (int i = 0; i < 6; i++) ad_keep(keep[i]);
    util_run(tape);
    for (int i = 0; i < 6; i++) util_read(keep[i], &out[i], 1);
    ad_tape_free(tape);
}

static ad_var power_2p5(ad_var x) { return ad_power(x, 2.5); }
static ad_var power_m1p3(ad_var x) { return ad_power(x, -1.3); }
static ad_var cube(ad_var x) { return ad_power(x, 3); }
static ad_var pow_2p5(ad_var x) { return ad_pow(x, ad_number(x.tape, 2.5)); }
static ad_var pow_m1p3(ad_var x) { return ad_pow(x, ad_number(x.tape, -1.3)); }
static ad_var pow_cube(ad_var x) { return ad_pow(x, ad_number(x.tape, 3)); }

static const struct {
    const char *name;
    unary f;
} referenced[] = {
    {"exp", ad_exp},           {"log", ad_log},                 {"log1p", ad_log1p},           {"expm1", ad_expm1},
    {"sqrt", ad_sqrt},         {"rsqrt", ad_rsqrt},             {"reciprocal", ad_reciprocal}, {"sin", ad_sin},
    {"cos", ad_cos},           {"tan", ad_tan},                 {"asin", ad_asin},             {"acos", ad_acos},
    {"atan", ad_atan},         {"sinh", ad_sinh},               {"cosh", ad_cosh},             {"tanh", ad_tanh},
    {"asinh", ad_asinh},       {"acosh", ad_acosh},             {"atanh", ad_atanh},           {"sigmoid", ad_sigmoid},
    {"softplus", ad_softplus}, {"log_sigmoid", ad_log_sigmoid}, {"pow_2p5", power_2p5},        {"pow_m1p3", power_m1p3},
    {"cube", cube},            {"pow_2p5", pow_2p5},            {"pow_m1p3", pow_m1p3},        {"cube", pow_cube},
};

// Orders 0 to 4 against 80 digits, relative to max(1, |.|).
static void test_reference_derivatives(void **state) {
    (void)state;
    npz file = npz_open("op_derivatives.npz");
    for (size_t t = 0; t < sizeof referenced / sizeof referenced[0]; t++) {
        char name[40];
        int64_t n, all;
        snprintf(name, sizeof name, "%s_x", referenced[t].name);
        double *x = npz_array(&file, name, &n), got[ORDERS][MOST];
        snprintf(name, sizeof name, "%s_d", referenced[t].name);
        double *d = npz_array(&file, name, &all);
        derivatives(AD_F64, referenced[t].f, ORDERS, x, (int)n, got);
        for (int k = 0; k < ORDERS; k++)
            for (int64_t i = 0; i < n; i++)
                if (!util_close(got[k][i], d[i * ORDERS + k], 2e-12))
                    fail_msg("%s, derivative %d at %g: %.17g, expected %.17g", referenced[t].name, k, x[i], got[k][i],
                             d[i * ORDERS + k]);
        free(x), free(d);
    }
    npz_close(&file);
}

// The closed forms of log |e^x - 1|, logit and 2^x, log2 x, where differences would be blunt.
static void test_derivatives_near_the_ends(void **state) {
    (void)state;
    double got[ORDERS][MOST];
    const double near[] = {1e-9, 0.5, 30, 800};
    derivatives(AD_F64, ad_softplus_inverse, 3, near, 4, got);
    for (int i = 0; i < 4; i++) {
        const double s = -1 / expm1(-near[i]);
        util_assert_close(got[1][i] / s, 1, 1e-15);
        assert_true(fabs(got[2][i] + s * (s - 1)) <= 1e-14 * s * fabs(s));  // s - 1 rounds
    }
    const double below[] = {-1e-9, -0.5, -30, -800};
    derivatives(AD_F64, ad_log1mexp, 3, below, 4, got);
    for (int i = 0; i < 4; i++) {
        const double s = -1 / expm1(-below[i]);
        util_assert_close(i == 3 ? got[1][i] : got[1][i] / s, i < 3, 1e-15);
        assert_true(isfinite(got[2][i]));
    }
    const double inside[] = {1e-30, 0.25, 0.5, 1 - 0x1p-50};
    derivatives(AD_F64, ad_logit, 2, inside, 4, got);
    for (int i = 0; i < 4; i++) util_assert_close(got[1][i] * inside[i] * (1 - inside[i]), 1, 1e-15);
}

// ---- values at the edges ------------------------------------------------------------------------------------------

#define LOG2 0.69314718055994530942
#define EITHER (-1)  // both element types

// What documents and headers promise, and where libraries of vector functions are known to fail.
static const struct {
    const char *name;
    unary f;
    int type;
    double x, y;
} edges[] = {
    {"log1p", ad_log1p, EITHER, -1, -INFINITY},
    {"log1p", ad_log1p, EITHER, -1.5, NAN},
    {"log1p", ad_log1p, EITHER, INFINITY, INFINITY},
    {"log1p", ad_log1p, EITHER, 1e-30, 1e-30},
    {"log1p", ad_log1p, AD_F32, 3e38, 88.596845824274431},
    {"log1p", ad_log1p, AD_F64, 1.5e308, 709.60167375027424},
    {"log1p", ad_log1p, AD_F64, 3e-308, 3e-308},
    {"log2", ad_log2, EITHER, 0, -INFINITY},
    {"log2", ad_log2, EITHER, -1, NAN},
    {"log2", ad_log2, EITHER, 0x1p-100, -100},
    {"exp2", ad_exp2, EITHER, -INFINITY, 0},
    {"exp2", ad_exp2, EITHER, 100, 0x1p100},
    {"exp2", ad_exp2, AD_F32, 128, INFINITY},
    {"exp2", ad_exp2, AD_F64, 1024, INFINITY},
    {"expm1", ad_expm1, EITHER, -INFINITY, -1},
    {"expm1", ad_expm1, EITHER, -200, -1},
    {"expm1", ad_expm1, EITHER, 1e-30, 1e-30},
    {"expm1", ad_expm1, EITHER, INFINITY, INFINITY},
    {"expm1", ad_expm1, AD_F32, 88.5, 2.7230878250681116e38},
    {"expm1", ad_expm1, AD_F32, 89, INFINITY},
    {"log1mexp", ad_log1mexp, EITHER, 0, -INFINITY},
    {"log1mexp", ad_log1mexp, EITHER, 1, NAN},
    {"log1mexp", ad_log1mexp, EITHER, INFINITY, NAN},
    {"log1mexp", ad_log1mexp, EITHER, -INFINITY, 0},
    {"log1mexp", ad_log1mexp, EITHER, -0x1p-100, -100 * LOG2},
    {"log1mexp", ad_log1mexp, EITHER, -80, -1.8048513878454152e-35},
    {"log1mexp", ad_log1mexp, AD_F64, -700, -9.8596765437597708e-305},
    {"softplus_inverse", ad_softplus_inverse, EITHER, 0, -INFINITY},
    {"softplus_inverse", ad_softplus_inverse, EITHER, -1, NAN},
    {"softplus_inverse", ad_softplus_inverse, EITHER, INFINITY, INFINITY},
    {"softplus_inverse", ad_softplus_inverse, EITHER, 0x1p-100, -100 * LOG2},
    {"softplus_inverse", ad_softplus_inverse, EITHER, 0x1p120, 0x1p120},
    {"softplus_inverse", ad_softplus_inverse, AD_F32, (float)LOG2, 2 * ((float)LOG2 - LOG2)},
    {"softplus_inverse", ad_softplus_inverse, AD_F64, LOG2, -4.6380936276925993e-17},
    {"log_sigmoid", ad_log_sigmoid, EITHER, INFINITY, 0},
    {"log_sigmoid", ad_log_sigmoid, EITHER, -INFINITY, -INFINITY},
    {"log_sigmoid", ad_log_sigmoid, EITHER, -0x1p127, -0x1p127},
    {"log_sigmoid", ad_log_sigmoid, EITHER, 80, -1.8048513878454152e-35},
    {"logit", ad_logit, EITHER, 0, -INFINITY},
    {"logit", ad_logit, EITHER, 1, INFINITY},
    {"logit", ad_logit, EITHER, 0.5, 0},
    {"logit", ad_logit, EITHER, -1e38, NAN},
    {"logit", ad_logit, EITHER, 1e38, NAN},
    {"logit", ad_logit, EITHER, 0.5 + 0x1p-20, 3.8146972656296259e-06},
    {"logit", ad_logit, EITHER, 0x1p-100, -100 * LOG2},
    {"sin", ad_sin, EITHER, INFINITY, NAN},
    {"sin", ad_sin, EITHER, 0x1p120, 0.37782010936075183},
    {"cos", ad_cos, EITHER, 0x1p120, -0.9258790228548379},
    {"tan", ad_tan, EITHER, 0x1p120, -0.40806638884180396},
    {"sin", ad_sin, AD_F64, 0x1p1023, 0.5631277798508839},
    {"tan", ad_tan, AD_F64, 3e-308, 3e-308},
    {"asin", ad_asin, EITHER, 1, 1.5707963267948966},
    {"asin", ad_asin, EITHER, 1.5, NAN},
    {"acos", ad_acos, EITHER, -1, 3.1415926535897932},
    {"acos", ad_acos, EITHER, -1.5, NAN},
    {"atan", ad_atan, EITHER, -INFINITY, -1.5707963267948966},
    {"sinh", ad_sinh, AD_F32, 89.25, 2.8823884854534822e38},
    {"sinh", ad_sinh, AD_F32, -89.25, -2.8823884854534822e38},
    {"cosh", ad_cosh, AD_F32, -89.25, 2.8823884854534822e38},
    {"sinh", ad_sinh, AD_F32, 89.5, INFINITY},
    {"sinh", ad_sinh, AD_F64, 710.25, 1.4342530302495123e308},
    {"cosh", ad_cosh, AD_F64, -710.25, 1.4342530302495123e308},
    {"cosh", ad_cosh, AD_F64, 711, INFINITY},
    {"asinh", ad_asinh, AD_F32, -3e38, -89.289993004834376},
    {"asinh", ad_asinh, AD_F64, 1.5e308, 710.29482093083418},
    {"asinh", ad_asinh, AD_F64, 3e-308, 3e-308},
    {"asinh", ad_asinh, EITHER, -INFINITY, -INFINITY},
    {"acosh", ad_acosh, AD_F32, 3e38, 89.289993004834376},
    {"acosh", ad_acosh, AD_F64, 1.5e308, 710.29482093083418},
    {"acosh", ad_acosh, EITHER, 0.5, NAN},
    {"acosh", ad_acosh, EITHER, -1e30, NAN},
    {"acosh", ad_acosh, EITHER, 1, 0},
    {"atanh", ad_atanh, EITHER, 1, INFINITY},
    {"atanh", ad_atanh, EITHER, -1, -INFINITY},
    {"atanh", ad_atanh, EITHER, 2, NAN},
    {"rsqrt", ad_rsqrt, EITHER, 0, INFINITY},
    {"rsqrt", ad_rsqrt, EITHER, INFINITY, 0},
    {"rsqrt", ad_rsqrt, EITHER, -1, NAN},
    {"round", ad_round, EITHER, 0.5, 0},
    {"round", ad_round, EITHER, 1.5, 2},
    {"round", ad_round, EITHER, -2.5, -2},
    {"floor", ad_floor, EITHER, -0.5, -1},
    {"ceil", ad_ceil, EITHER, 0x1p40, 0x1p40},
    {"sign", ad_sign, EITHER, -INFINITY, -1},
    {"sign", ad_sign, EITHER, 0, 0},
    {"sign", ad_sign, EITHER, NAN, NAN},
    {"abs", ad_abs, EITHER, -INFINITY, INFINITY},
};

static bool same(ad_type type, double y, double expected) {
    if (isnan(expected)) return isnan(y);
    if (isinf(expected) || expected == 0) return y == expected;
    return fabs(y / expected - 1) <= (type == AD_F32 ? 2 * FLT_EPSILON : 4 * DBL_EPSILON);
}

static void test_edges(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof edges / sizeof edges[0]; t++)
        for (int type = 0; type < 2; type++) {
            double y[ORDERS][MOST];
            if (edges[t].type != EITHER && edges[t].type != type) continue;
            derivatives((ad_type)type, edges[t].f, 1, &edges[t].x, 1, y);
            if (!same((ad_type)type, y[0][0], edges[t].y))
                fail_msg("f%d %s(%.17g) = %.17g, expected %.17g", type ? 64 : 32, edges[t].name, edges[t].x, y[0][0],
                         edges[t].y);
        }
}

static void test_nan_stays_nan(void **state) {
    (void)state;
    const double x = NAN;
    for (size_t t = 0; t < sizeof edges / sizeof edges[0]; t++)
        for (int type = 0; type < 2; type++) {
            double y[ORDERS][MOST];
            derivatives((ad_type)type, edges[t].f, 1, &x, 1, y);
            if (!isnan(y[0][0])) fail_msg("f%d %s(NaN) = %g", type ? 64 : 32, edges[t].name, y[0][0]);
        }
}

// For every finite x in their domain these have finite values and slopes.
static void test_stable_functions_stay_finite(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unary f;
        double low;
        double high;
    } stable[] = {{"log_sigmoid", ad_log_sigmoid, -FLT_MAX, FLT_MAX},
                  {"softplus", ad_softplus, -FLT_MAX, FLT_MAX},
                  {"log1mexp", ad_log1mexp, -FLT_MAX, -FLT_MIN},
                  {"softplus_inverse", ad_softplus_inverse, FLT_MIN, FLT_MAX},
                  {"asinh", ad_asinh, -FLT_MAX, FLT_MAX},
                  {"atan", ad_atan, -FLT_MAX, FLT_MAX},
                  {"log1p", ad_log1p, -0.9999999, FLT_MAX},
                  {"logit", ad_logit, FLT_MIN, 0.9999999}};
    const double x[] = {-FLT_MAX, -1e38, -1e19, -100, -88, -1e-5, -FLT_MIN, FLT_MIN, 1e-5, 0.9999, 88, 100, 1e19, 1e38,
                        FLT_MAX};
    for (size_t t = 0; t < sizeof stable / sizeof stable[0]; t++)
        for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
            double y[ORDERS][MOST];
            if (x[i] < stable[t].low || x[i] > stable[t].high) continue;
            derivatives(AD_F32, stable[t].f, 2, &x[i], 1, y);
            if (!isfinite(y[0][0]) || !isfinite(y[1][0]))
                fail_msg("%s(%g) = %g, slope %g", stable[t].name, x[i], y[0][0], y[1][0]);
        }
}

// ---- two operands -------------------------------------------------------------------------------------------------

static double naive_log_add_exp(double a, double b) { return log(exp(a) + exp(b)); }
static double naive_not_equal(double a, double b) { return a != b; }

static const struct {
    const char *name;
    binary f;
    double (*naive)(double a, double b);
} pairs[] = {{"maximum", ad_maximum, fmax},      {"minimum", ad_minimum, fmin},
             {"pow", ad_pow, pow},               {"atan2", ad_atan2, atan2},
             {"log_add_exp", ad_log_add_exp, naive_log_add_exp}, {"not_equal", ad_not_equal, naive_not_equal}};

enum { B = 5, M = 2, N = 3 };

// a [M,1] with b [N], shared or per row each.
static void check_pair(size_t t, bool a_rows, bool b_rows) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_rows rows = util_rows(tape, "data", B);
    double a[B * M], b[B * N], y[B * M * N];
    util_fill(a, B * M, 1, 0.2, 2);
    util_fill(b, B * N, 2, 0.2, 2);
    b[0] = a[0];
    ad_source source_a = util_source(a, a_rows ? B : 1), source_b = util_source(b, b_rows ? B : 1);
    ad_var va = a_rows ? ad_input(rows, ad_shape2(M, 1), &source_a) : ad_shared_input(tape, ad_shape2(M, 1), &source_a);
    ad_var vb = b_rows ? ad_input(rows, ad_shape1(N), &source_b) : ad_shared_input(tape, ad_shape1(N), &source_b);
    ad_var v = ad_keep(pairs[t].f(va, vb));
    int count = a_rows || b_rows ? B : 1;
    util_run(tape);
    util_read(v, y, count * M * N);
    for (int r = 0; r < count; r++)
        for (int i = 0; i < M; i++)
            for (int j = 0; j < N; j++) {
                const double expected = pairs[t].naive(a[(a_rows ? r * M : 0) + i], b[(b_rows ? r * N : 0) + j]);
                if (!util_close(y[(r * M + i) * N + j], expected, 1e-15))
                    fail_msg("%s, row %d, element %d,%d: %.17g, expected %.17g", pairs[t].name, r, i, j,
                             y[(r * M + i) * N + j], expected);
            }
    ad_tape_free(tape);
}

static void test_pairs(void **state) {
    (void)state;
    for (size_t t = 0; t < sizeof pairs / sizeof pairs[0]; t++)
        for (int kind = 0; kind < 4; kind++) check_pair(t, kind & 1, kind & 2);
}

static void assert_all(const char *what, const double *got, const double *expected, int n, double tolerance) {
    for (int i = 0; i < n; i++)
        if (isnan(expected[i]) ? !isnan(got[i])
                               : !(got[i] == expected[i] || util_close(got[i], expected[i], tolerance)))
            fail_msg("%s: number %d is %.17g, expected %.17g", what, i, got[i], expected[i]);
}

// Ties share the gradient; NaN wins over either operand.
static void test_maximum_and_minimum(void **state) {
    (void)state;
    double d[6];
    derivatives2(AD_F32, ad_maximum, 1, 1, d);
    assert_all("maximum(1, 1)", d, (double[]){1, 0.5, 0.5}, 3, 0);
    derivatives2(AD_F32, ad_minimum, 1, 1, d);
    assert_all("minimum(1, 1)", d, (double[]){1, 0.5, 0.5}, 3, 0);
    derivatives2(AD_F32, ad_maximum, -1, INFINITY, d);
    assert_all("maximum(-1, inf)", d, (double[]){INFINITY, 0, 1}, 3, 0);
    derivatives2(AD_F32, ad_minimum, -1, INFINITY, d);
    assert_all("minimum(-1, inf)", d, (double[]){-1, 1, 0}, 3, 0);
    const binary both[] = {ad_maximum, ad_minimum};
    for (int i = 0; i < 2; i++) {
        derivatives2(AD_F64, both[i], NAN, 1, d);
        assert_true(isnan(d[0]));
        derivatives2(AD_F64, both[i], 1, NAN, d);
        assert_true(isnan(d[0]));
    }
}

static ad_var clamp(ad_var x) { return ad_clamp(x, -0.5, 0.75); }
static ad_var clamp_below(ad_var x) { return ad_clamp(x, -INFINITY, 0.75); }

static void test_slopes_at_kinks(void **state) {
    (void)state;
    double d[ORDERS][MOST];
    const double x[] = {-2, -0.5, 0, 0.75, 3, INFINITY};
    derivatives(AD_F64, clamp, 2, x, 6, d);
    assert_all("clamp", d[0], (double[]){-0.5, -0.5, 0, 0.75, 0.75, 0.75}, 6, 0);
    assert_all("slope of clamp", d[1], (double[]){0, 1, 1, 1, 0, 0}, 6, 0);
    derivatives(AD_F64, clamp_below, 2, x, 6, d);
    assert_all("slope of clamp from -inf", d[1], (double[]){1, 1, 1, 1, 0, 0}, 6, 0);
    derivatives(AD_F64, ad_abs, 2, x, 6, d);
    assert_all("slope of abs", d[1], (double[]){-1, -1, 0, 1, 1, 1}, 6, 0);
}

static void test_steps_have_slope_zero(void **state) {
    (void)state;
    double d[ORDERS][MOST];
    const double x[] = {-1.5, 0, 0.5, 2};
    const unary steps[] = {ad_sign, ad_floor, ad_ceil, ad_round};
    for (int i = 0; i < 4; i++) {
        derivatives(AD_F64, steps[i], 2, x, 4, d);
        assert_all("slope of a step", d[1], (double[]){0, 0, 0, 0}, 4, 0);
    }
}

static void test_not_equal(void **state) {
    (void)state;
    double d[6];
    derivatives2(AD_F32, ad_not_equal, NAN, NAN, d);
    assert_all("NaN and NaN", d, (double[]){1, 0, 0}, 3, 0);
    derivatives2(AD_F32, ad_not_equal, 0, -0.0, d);
    assert_all("zeros", d, (double[]){0, 0, 0}, 3, 0);
}

static void test_log_add_exp_of_infinite_operands(void **state) {
    (void)state;
    static const struct {
        double a, b, d[6];
    } table[] = {
        {-INFINITY, -INFINITY, {-INFINITY, 0.5, 0.5, 0.25, -0.25, 0.25}},
        {INFINITY, INFINITY, {INFINITY, 0.5, 0.5, 0.25, -0.25, 0.25}},
        {INFINITY, -INFINITY, {INFINITY, 1, 0, 0, 0, 0}},
        {INFINITY, 3, {INFINITY, 1, 0, 0, 0, 0}},
        {3, -INFINITY, {3, 1, 0, 0, 0, 0}},
        {-INFINITY, 3, {3, 0, 1, 0, 0, 0}},
        {3, 3, {3 + LOG2, 0.5, 0.5, 0.25, -0.25, 0.25}},
        {3e38, -3e38, {3e38, 1, 0, 0, 0, 0}},
        {3e38, 3e38, {3e38, 0.5, 0.5, 0.25, -0.25, 0.25}},
        {NAN, 3, {NAN, NAN, NAN, NAN, NAN, NAN}},
        {3, NAN, {NAN, NAN, NAN, NAN, NAN, NAN}},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++)
        for (int type = 0; type < 2; type++) {
            double d[6];
            derivatives2((ad_type)type, ad_log_add_exp, table[t].a, table[t].b, d);
            assert_all("log_add_exp", d, table[t].d, 6, type ? 1e-15 : 1e-6);
        }
}

// In a the limit; in b, as documented, 0.
static void test_pow_at_zero(void **state) {
    (void)state;
    static const struct {
        double b, value, slope, curvature;
    } table[] = {{0, 1, 0, 0},        {0.5, 0, INFINITY, -INFINITY}, {1, 0, 1, 0},
                 {1.5, 0, 0, INFINITY}, {2, 0, 0, 2},                  {3, 0, 0, 0}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        double d[6];
        derivatives2(AD_F64, ad_pow, 0, table[t].b, d);
        assert_all("pow of 0", d, (double[]){table[t].value, table[t].slope, 0, table[t].curvature}, 4, 0);
    }
}

static void test_pow_second_derivatives(void **state) {
    (void)state;
    double d[6];
    derivatives2(AD_F64, ad_pow, 2, 0, d);
    assert_all("2^0", d, (double[]){1, 0, LOG2, 0, 0.5, LOG2 * LOG2}, 6, 1e-15);
    derivatives2(AD_F64, ad_pow, 2, 3, d);
    assert_all("2^3", d, (double[]){8, 12, 8 * LOG2, 12, 12 * LOG2 + 4, 8 * LOG2 * LOG2}, 6, 1e-15);
}

static ad_var square_by_pow(ad_var x) { return ad_pow(x, ad_number(x.tape, 2)); }

static void test_pow_of_negative_bases(void **state) {
    (void)state;
    double d[ORDERS][MOST];
    const double x[] = {-3, -0.0, 4};
    derivatives(AD_F64, square_by_pow, 4, x, 3, d);
    assert_all("x^2", d[0], (double[]){9, 0, 16}, 3, 0);
    assert_all("2 x", d[1], (double[]){-6, 0, 8}, 3, 0);
    assert_all("2", d[2], (double[]){2, 2, 2}, 3, 0);
    assert_all("0", d[3], (double[]){0, 0, 0}, 3, 0);
    derivatives(AD_F64, pow_2p5, 2, x, 1, d);
    assert_true(isnan(d[0][0]) && isnan(d[1][0]));
}

// power by number is pow, whichever op it maps to, with its derivatives, at 0 too.
static void test_power_agrees_with_pow(void **state) {
    (void)state;
    const double exponents[] = {-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 2.25}, x[] = {0.75, 3};
    for (size_t e = 0; e < sizeof exponents / sizeof exponents[0]; e++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_source source = util_source(x, 1);
        ad_var v = ad_shared_input(tape, ad_shape1(2), &source), kept[6];
        ad_var y[] = {ad_power(v, exponents[e]), ad_pow(v, ad_number(tape, exponents[e]))};
        for (int k = 0; k < 6; k++) {
            kept[k] = ad_keep(y[k % 2]);
            y[k % 2] = gradient(y[k % 2], v);
        }
        util_run(tape);
        for (int k = 0; k < 6; k += 2) {
            double got[2], expected[2];
            util_read(kept[k], got, 2);
            util_read(kept[k + 1], expected, 2);
            assert_all("power", got, expected, 2, 1e-14);
        }
        ad_tape_free(tape);
    }
}

static ad_var fourth(ad_var x) { return ad_power(x, 4); }
static ad_var zeroth(ad_var x) { return ad_power(x, 0); }

static void test_power_at_zero(void **state) {
    (void)state;
    double d[ORDERS][MOST];
    const double x[] = {0, -2};
    derivatives(AD_F64, fourth, 5, x, 2, d);
    assert_all("x^4", d[0], (double[]){0, 16}, 2, 0);
    assert_all("4 x^3", d[1], (double[]){0, -32}, 2, 0);
    assert_all("24 x", d[3], (double[]){0, -48}, 2, 0);
    assert_all("24", d[4], (double[]){24, 24}, 2, 0);
    derivatives(AD_F64, zeroth, 2, x, 2, d);
    assert_all("x^0", d[0], (double[]){1, 1}, 2, 0);
    assert_all("its slope", d[1], (double[]){0, 0}, 2, 0);
}

static void test_atan2(void **state) {
    (void)state;
    static const struct {
        double y, x, angle, gy, gx;
    } table[] = {
        {1, 1, 0.78539816339744831, 0.5, -0.5},
        {-1, -1, -2.3561944901923449, -0.5, 0.5},
        {0, -1, 3.1415926535897932, -1, 0},
        {0, 0, 0, 0, 0},
        {-INFINITY, INFINITY, -0.78539816339744831, NAN, NAN},
        {1, INFINITY, 0, NAN, 0},  // as documented
        {1e30, 1e30, 0.78539816339744831, 5e-31, -5e-31},   // squares overflow
        {3e37, 3e38, 0.099668652491162027, 3.3e-39, -3.3e-40},  // so do reciprocals
        {1e-25, -1e-25, 2.3561944901923449, -5e24, -5e24},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        double d[6];
        derivatives2(AD_F32, ad_atan2, table[t].y, table[t].x, d);
        const double scale = fmax(1, fabs(table[t].gy)), got[] = {d[0], d[1] / scale, d[2] / scale};
        assert_all("atan2", got, (double[]){table[t].angle, table[t].gy / scale, table[t].gx / scale}, 3, 1e-6);
    }
}

// ---- the branch not taken, errors ---------------------------------------------------------------------------------

static ad_var guarded(unary f, ad_var x) {
    ad_var inside = ad_less(ad_abs(x), ad_number(x.tape, 0.9));
    return ad_where(inside, f(x), ad_square(x));
}
static ad_var guarded_log1p(ad_var x) { return guarded(ad_log1p, x); }
static ad_var guarded_asin(ad_var x) { return guarded(ad_asin, x); }
static ad_var guarded_atanh(ad_var x) { return guarded(ad_atanh, x); }
static ad_var guarded_acosh(ad_var x) { return guarded(ad_acosh, ad_offset(x, 2)); }
static ad_var guarded_logit(ad_var x) { return guarded(ad_logit, x); }
static ad_var guarded_power(ad_var x) { return guarded(pow_m1p3, x); }
static ad_var guarded_rsqrt(ad_var x) { return guarded(ad_rsqrt, x); }
static ad_var exp_exp(ad_var x) { return ad_exp(ad_exp(ad_scale(ad_square(x), 1000))); }
static ad_var guarded_exp_exp(ad_var x) { return guarded(exp_exp, x); }
// Infinite, or 0 / 0, at 1.
static ad_var quotient_at_1(ad_var x) { return ad_div(ad_offset(x, -1), ad_offset(x, -1)); }
static ad_var reciprocal_at_1(ad_var x) { return ad_reciprocal(ad_offset(x, -1)); }
static ad_var rsqrt_at_1(ad_var x) { return ad_rsqrt(ad_offset(ad_neg(x), 1)); }
static ad_var guarded_quotient(ad_var x) { return guarded(quotient_at_1, x); }
static ad_var guarded_reciprocal(ad_var x) { return guarded(reciprocal_at_1, x); }
static ad_var guarded_rsqrt_at_1(ad_var x) { return guarded(rsqrt_at_1, x); }

// Where the function is infinite or NaN and does not count, neither gradient nor second derivatives show it.
static void test_branch_not_taken(void **state) {
    (void)state;
    const unary functions[] = {guarded_log1p, guarded_asin,  guarded_atanh, guarded_acosh,
                               guarded_logit, guarded_power, guarded_rsqrt, guarded_exp_exp,
                               guarded_quotient, guarded_reciprocal, guarded_rsqrt_at_1};
    const double x[] = {-1, 1, -3, 3, -1e30};
    for (size_t t = 0; t < sizeof functions / sizeof functions[0]; t++) {
        double d[ORDERS][MOST];
        derivatives(AD_F64, functions[t], 3, x, 5, d);
        for (int i = 0; i < 5; i++) {
            const double shift = functions[t] == guarded_acosh ? 2 : 0, at = x[i] + shift;
            if (fabs(at) < 0.9) continue;
            if (d[1][i] != 2 * at || d[2][i] != 2)
                fail_msg("function %d at %g: derivatives %g %g", (int)t, x[i], d[1][i], d[2][i]);
        }
    }
}

static void check_error(ad_tape *tape, ad_var y, ad_status status, const char *text) {
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), text);
    assert_false(ad_ok(y));
    ad_tape_reset(tape);
}

static void test_errors(void **state) {
    (void)state;
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    check_error(tape, ad_clamp(ad_number(tape, 1), 2, 1), AD_EARG, "clamp: from 2 to 1");
    check_error(tape, ad_clamp(ad_number(tape, 1), NAN, 1), AD_EARG, "clamp: from nan to 1");
    const double three[3] = {1, 2, 3};
    const binary two[] = {ad_pow, ad_atan2, ad_maximum, ad_log_add_exp};
    const char *names[] = {"pow", "atan2", "maximum", "log_add_exp"};
    for (int i = 0; i < 4; i++) {
        ad_var a = ad_constant(tape, ad_shape1(3), three), b = ad_constant(tape, ad_shape1(2), three);
        check_error(tape, two[i](a, b), AD_ESHAPE, names[i]);
    }
    ad_var stale = ad_number(tape, 1);
    ad_tape_reset(tape);
    check_error(tape, ad_log1p(stale), AD_ESTALE, "log1p");
    ad_tape_free(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_derivatives),
        cmocka_unit_test(test_derivatives_near_the_ends),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_nan_stays_nan),
        cmocka_unit_test(test_stable_functions_stay_finite),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_maximum_and_minimum),
        cmocka_unit_test(test_slopes_at_kinks),
        cmocka_unit_test(test_steps_have_slope_zero),
        cmocka_unit_test(test_not_equal),
        cmocka_unit_test(test_log_add_exp_of_infinite_operands),
        cmocka_unit_test(test_pow_at_zero),
        cmocka_unit_test(test_pow_second_derivatives),
        cmocka_unit_test(test_pow_of_negative_bases),
        cmocka_unit_test(test_power_agrees_with_pow),
        cmocka_unit_test(test_power_at_zero),
        cmocka_unit_test(test_atan2),
        cmocka_unit_test(test_branch_not_taken),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
