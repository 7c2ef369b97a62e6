// test_polynomials.c -- transformers of polynomials, and those of few parameters: closed forms, reference values,
// starts, gradients to second order, wild parameters, refusals.
#include "transformers.h"

enum { BERNSTEIN, SUM_OF_SQUARES, NONLINEAR_SQUARED, MAKERS };
enum { DEGREE = 5 };

static flow_transformer *bernstein(ad_error *error) {
    return flow_bernstein_transformer(&(flow_bernstein_transformer_options){.degree = DEGREE, .bound = 3}, error);
}

static flow_transformer *sum_of_squares(ad_error *error) {
    const flow_sum_of_squares_transformer_options o = {.polynomials = 2, .degree = 3, .scale = 4};
    return flow_sum_of_squares_transformer(&o, error);
}

static flow_transformer *nonlinear_squared(ad_error *error) {
    return flow_nonlinear_squared_transformer(NULL, error);
}

static const transformers_maker makers[] = {
    {"bernstein", bernstein, 7, false, 0},
    {"sum of squares", sum_of_squares, 17, false, 5e-3},
    {"nonlinear squared", nonlinear_squared, 5.5, false, 0},
};

static void they_start_as_the_identity(void **state) {
    (void)state;
    transformers_check_starts(makers, MAKERS);
}

static void wild_parameters_come_back(void **state) {
    (void)state;
    transformers_check_wild(makers, MAKERS);
}

static void huge_parameters_make_no_nan(void **state) {
    (void)state;
    transformers_check_huge(makers, MAKERS);
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    transformers_check_gradients(makers, MAKERS);
}

// ---- closed forms ---------------------------------------------------------------------------------------------------

static double power(double x, int k) {
    double y = 1;
    for (int i = 0; i < k; i++) y *= x;
    return y;
}

// By binomials, in powers of t and 1 - t.
static double bernstein_at(const double *c, int n, double t) {
    double sum = 0, choose = 1;
    for (int k = 0; k <= n; k++) {
        sum += c[k] * choose * power(t, k) * power(1 - t, n - k);
        choose = choose * (n - k) / (k + 1);
    }
    return sum;
}

static void bernstein_polynomials_are_their_formula(void **state) {
    (void)state;
    const double raw[DEGREE] = {0.4, -1, 2, 0.3, -0.6}, x[6] = {-3, -1.7, 0.2, 2.9, 3.5, -40};
    double c[DEGREE + 1] = {0}, s[DEGREE], sum = 0, z[6], log_det[6];
    for (int k = 0; k < DEGREE; k++) sum += exp(raw[k]);
    for (int k = 0; k < DEGREE; k++) {
        s[k] = 1e-3 + (1 - 1e-3) * DEGREE * exp(raw[k]) / sum;
        c[k + 1] = c[k] + s[k] / DEGREE;
    }
    util_assert_close(c[DEGREE], 1, 1e-15);
    flow_transformer *t = transformers_made(&makers[BERNSTEIN]);
    transformers_run(t, AD_F64, true, raw, x, 6, z, log_det);
    for (int i = 0; i < 6; i++) {
        const double edge = fmin(3, fmax(-3, x[i])), at = (edge + 3) / 6, slope = bernstein_at(s, DEGREE - 1, at);
        util_assert_close(z[i], 6 * bernstein_at(c, DEGREE, at) - 3 + slope * (x[i] - edge), 1e-13);
        util_assert_close(log_det[i], log(slope), 1e-13);
    }
    flow_transformer_free(t);
}

static void a_bump_is_its_formula(void **state) {
    (void)state;
    const double raw[5] = {0.4, -1.1, 2.5, 0.3, -0.6}, x[5] = {-3, -0.7, 0.2, 1.5, 60};
    const double b = exp(2 * tanh(-1.1 / 2)), d = exp(2 * tanh(0.3 / 2));
    const double c = 0.95 * 8 * sqrt(3) / 9 * b / d * tanh(2.5);
    double z[5], log_det[5];
    flow_transformer *t = transformers_made(&makers[NONLINEAR_SQUARED]);
    assert_int_equal(t->P, 5);
    transformers_run(t, AD_F64, true, raw, x, 5, z, log_det);
    for (int i = 0; i < 5; i++) {
        const double w = d * x[i] - 0.6, below = 1 + w * w;
        util_assert_close(z[i], 0.4 + b * x[i] + c / below, 1e-14);
        util_assert_close(log_det[i], log(b - 2 * c * d * w / (below * below)), 1e-13);
    }
    flow_transformer_free(t);
}

// Where the bump takes away most of the slope, 0.05 of it is left.
static void a_bump_leaves_a_slope(void **state) {
    (void)state;
    const double raw[5] = {0, 0, 60, 0, 0}, x = 1 / sqrt(3);
    double z, log_det, back, unused;
    flow_transformer *t = transformers_made(&makers[NONLINEAR_SQUARED]);
    transformers_run(t, AD_F64, true, raw, &x, 1, &z, &log_det);
    util_assert_close(log_det, log(0.05), 1e-13);
    transformers_run(t, AD_F64, false, raw, &z, 1, &back, &unused);
    util_assert_close(back, x, 1e-13);
    flow_transformer_free(t);
}

// ---- zuko's sums of squares
// -------------------------------------------------------------------------------------------

enum { SETS = 4, POINTS = 18, NUMBERS = 15 };

static double *array(const npz *file, const char *name, int64_t n) {
    int64_t count;
    double *values = npz_array(file, name, &count);
    assert_int_equal(count, n);
    return values;
}

// Lines only from 20 on, beyond all points.
static flow_transformer *zuko(void) {
    flow_transformer *t =
        flow_sum_of_squares_transformer(&(flow_sum_of_squares_transformer_options){.bound = 20}, &layers_error);
    layers_assert_made(t);
    assert_int_equal(t->P, NUMBERS + 1);
    return t;
}

static void sums_of_squares_have_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("sos_k3_l4.npz");
    double *a = array(&file, "a", SETS * NUMBERS), *x = array(&file, "x", SETS * POINTS);
    double *y = array(&file, "y", SETS * POINTS), *want = array(&file, "log_det", SETS * POINTS);
    double z[POINTS], log_det[POINTS], back[POINTS];
    flow_transformer *t = zuko();
    for (int i = 0; i < SETS; i++) {
        double raw[NUMBERS + 1] = {0};
        memcpy(raw, a + NUMBERS * i, NUMBERS * sizeof *raw);
        transformers_run(t, AD_F64, true, raw, x + POINTS * i, POINTS, z, log_det);
        util_assert_all_close(z, y + POINTS * i, POINTS, 1e-12);
        util_assert_all_close(log_det, want + POINTS * i, POINTS, 1e-12);
        transformers_run(t, AD_F64, false, raw, y + POINTS * i, POINTS, back, log_det);
        util_assert_all_close(back, x + POINTS * i, POINTS, 1e-9);
    }
    flow_transformer_free(t);
    free(a), free(x), free(y), free(want);
    npz_close(&file);
}

// S and its gradients, set by set: points are features of one row, which share the raw numbers.
static void check_set(const flow_transformer *t, const double *a, const double *const *arrays, int set) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    double raw[NUMBERS + 1] = {0}, got[NUMBERS + 1 + POINTS];
    memcpy(raw, a + NUMBERS * set, NUMBERS * sizeof *raw);
    ad_var x = ad_constant(tape, ad_shape1(POINTS), arrays[0] + POINTS * set), g[2];
    ad_var numbers = ad_constant(tape, ad_shape2(1, t->P), raw);
    flow_parameters p = {ad_expand(numbers, ad_shape2(POINTS, t->P)), POINTS, t->P, true};
    flow_result r = flow_transformer_normalize(t, p, x);
    ad_var S = ad_add(ad_sum(ad_mul(r.value, ad_constant(tape, ad_shape1(POINTS), arrays[1] + POINTS * set))),
                      ad_sum(ad_mul(r.log_det, ad_constant(tape, ad_shape1(POINTS), arrays[2] + POINTS * set))));
    ad_grad(S, (const ad_var[]){x, numbers}, 2, g);
    ad_keep(g[0]), ad_keep(g[1]);
    util_run(tape);
    util_read(g[0], got, POINTS);
    util_assert_all_close(got, arrays[3] + POINTS * set, POINTS, 1e-10);
    util_read(g[1], got, NUMBERS + 1);
    util_assert_all_close(got, arrays[4] + NUMBERS * set, NUMBERS, 1e-10);
    ad_tape_free(tape);
}

static void sums_of_squares_have_the_reference_gradients(void **state) {
    (void)state;
    static const char *const names[] = {"x", "cot_y", "cot_log_det", "grad_x", "grad_a"};
    npz file = npz_open("sos_k3_l4.npz");
    double *a = array(&file, "a", SETS * NUMBERS), *arrays[5];
    flow_transformer *t = zuko();
    for (int i = 0; i < 5; i++) arrays[i] = array(&file, names[i], SETS * (i < 4 ? POINTS : NUMBERS));
    for (int set = 0; set < SETS; set++) check_set(t, a, (const double *const *)arrays, set);
    for (int i = 0; i < 5; i++) free(arrays[i]);
    flow_transformer_free(t);
    free(a);
    npz_close(&file);
}

// Beyond the bound goes a line of the slope there, and the shift moves all.
static void sums_of_squares_go_on_as_lines(void **state) {
    (void)state;
    double raw[2 * 4 + 1] = {0.3, -1, 2, 0.5, 0.1, 0.4, -0.2, 1, 0.7}, x[3] = {4, 5, 4e6}, z[3], log_det[3];
    flow_transformer *t = transformers_made(&makers[SUM_OF_SQUARES]);
    assert_int_equal(t->P, 9);
    transformers_run(t, AD_F64, true, raw, x, 3, z, log_det);
    const double slope = (power(1 + 1.8, 2) + power(1 + 1.3, 2)) / 2 + 1e-3;
    for (int i = 0; i < 3; i++) util_assert_close(log_det[i], log(slope), 1e-13);
    util_assert_close(z[1] - z[0], slope, 1e-12);
    util_assert_close(z[2], z[0] + slope * (4e6 - 4), 1e-14);
    const double zero = 0;
    transformers_run(t, AD_F64, true, raw, &zero, 1, z, log_det);
    util_assert_close(z[0], 0.7, 1e-15);
    flow_transformer_free(t);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

// Where what the bump is a function of is beyond all numbers.
static void a_bump_is_a_line_far_out(void **state) {
    (void)state;
    const double raw[5] = {0, 0, 100, 1000, 0}, v[] = {1e35, -1e35};
    double value[2], log_det[2];
    flow_transformer *t = flow_nonlinear_squared_transformer(
        &(flow_nonlinear_squared_transformer_options){.bound = 20}, &layers_error);
    layers_assert_made(t);
    for (int way = 0; way < 2; way++) {
        transformers_run(t, AD_F32, way, raw, v, 2, value, log_det);
        for (int i = 0; i < 2; i++) {
            util_assert_close(value[i] / v[i], 1, 1e-6);
            util_assert_close(log_det[i], 0, 1e-6);
        }
    }
    flow_transformer_free(t);
}

static void refused(flow_transformer *t, const char *words) {
    assert_null(t);
    assert_int_equal(layers_error.status, AD_EARG);
    util_assert_contains(layers_error.message, words);
}

#define E &layers_error

static void bad_options_are_refused(void **state) {
    (void)state;
    refused(flow_bernstein_transformer(&(flow_bernstein_transformer_options){.degree = 65}, E), "degree 65");
    refused(flow_bernstein_transformer(&(flow_bernstein_transformer_options){.bound = NAN}, E), "bound nan");
    refused(flow_bernstein_transformer(&(flow_bernstein_transformer_options){.floor = 1}, E), "floor 1");
    refused(flow_sum_of_squares_transformer(&(flow_sum_of_squares_transformer_options){.polynomials = -1}, E),
            "-1 polynomials of degree 4");
    refused(flow_sum_of_squares_transformer(&(flow_sum_of_squares_transformer_options){.degree = 17}, E), "degree 17");
    refused(flow_sum_of_squares_transformer(&(flow_sum_of_squares_transformer_options){.bound = 21}, E), "bound 21");
    refused(flow_sum_of_squares_transformer(&(flow_sum_of_squares_transformer_options){.scale = INFINITY}, E),
            "scale inf");
    refused(flow_nonlinear_squared_transformer(&(flow_nonlinear_squared_transformer_options){.most = 1}, E), "most 1");
    refused(flow_nonlinear_squared_transformer(&(flow_nonlinear_squared_transformer_options){.bound = 1e-300}, E),
            "bound 1e-300");
    refused(flow_nonlinear_squared_transformer(&(flow_nonlinear_squared_transformer_options){.bound = -2}, E),
            "bound -2");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_start_as_the_identity),
        cmocka_unit_test(wild_parameters_come_back),
        cmocka_unit_test(huge_parameters_make_no_nan),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(bernstein_polynomials_are_their_formula),
        cmocka_unit_test(a_bump_is_its_formula),
        cmocka_unit_test(a_bump_leaves_a_slope),
        cmocka_unit_test(a_bump_is_a_line_far_out),
        cmocka_unit_test(sums_of_squares_have_the_reference_values),
        cmocka_unit_test(sums_of_squares_have_the_reference_gradients),
        cmocka_unit_test(sums_of_squares_go_on_as_lines),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
