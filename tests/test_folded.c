// test_folded.c -- base densities without signs: closed forms, chi-squared numbers, folds of some features, samples
// against their distribution, what lies outside, files, refusals.
#include <jansson.h>

#include "files.h"
#include "layers.h"

static flow_base *folded(flow_base *of, const int64_t *features, int64_t n) {
    flow_base *base = flow_base_folded(of, features, n, &layers_error);
    layers_assert_made(base);
    return base;
}

// A normal of one feature at 0.7 of scale 0.8: its two preimages differ.
enum { UNEVEN_AT = 7, UNEVEN_SCALE = 8 };  // tenths
static flow_base *uneven(void) {
    flow_base *base = flow_base_normal(1, 0, &(flow_scaled_options){.type = AD_F64}, &layers_error);
    layers_assert_made(base);
    ad_param_set(base->owner.params[0], 0, UNEVEN_AT / 10.0);
    ad_param_set(base->owner.params[0], 1, 10 * atanh(log(UNEVEN_SCALE / 10.0) / 10));
    return base;
}
static double uneven_density(double z) {
    const double u = (z - UNEVEN_AT / 10.0) / (UNEVEN_SCALE / 10.0);
    return exp(-u * u / 2) / (UNEVEN_SCALE / 10.0 * sqrt(2 * acos(-1)));
}
static double uneven_cdf(double z) {
    return 0.5 * erfc((UNEVEN_AT / 10.0 - z) / (UNEVEN_SCALE / 10.0 * sqrt(2)));
}

// A correlated normal of three features: z = mean + L e.
static const double mean[3] = {0.5, -0.3, 0.2}, L[9] = {1, 0, 0, 0.7, 1, 0, -0.5, 0.4, 1};
static flow_base *correlated(void) {
    flow_base *base = flow_base_full(3, &(flow_full_options){.type = AD_F64}, &layers_error);
    layers_assert_made(base);
    for (int i = 0; i < 3; i++) ad_param_set(base->owner.params[0], i, mean[i]);
    for (int i = 0; i < 9; i++) ad_param_set(base->owner.params[1], i, i % 4 ? L[i] : 0);
    return base;
}
static double correlated_density(double z0, double z1, double z2) {
    const double e0 = z0 - mean[0], e1 = z1 - mean[1] - L[3] * e0, e2 = z2 - mean[2] - L[6] * e0 - L[7] * e1;
    return exp(-(e0 * e0 + e1 * e1 + e2 * e2) / 2) * pow(2 * acos(-1), -1.5);
}

static void log_prob(const flow_base *base, ad_type type, const double *z, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(z, n);
    ad_var y = ad_keep(flow_base_log_prob(base, ad_input(util_rows(tape, "z", n), base->shape, &source), AD_NONE));
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

static void model_log_prob(const flow_model *model, const double *x, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n);
    ad_var v = ad_input(util_rows(tape, "data", n), flow_model_shape(model), &source);
    ad_var y = ad_keep(flow_log_prob(model, v, AD_NONE));
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

// ---- closed forms ---------------------------------------------------------------------------------------------------

static void both_preimages_count(void **state) {
    (void)state;
    const double z[6] = {0, 0.3, 0.7, 2, 5, 30};
    double got[6];
    flow_base *base = folded(uneven(), NULL, 0);
    assert_true(base->low == 0 && base->high == INFINITY);
    log_prob(base, AD_F64, z, 6, got);
    for (int i = 0; i < 5; i++) util_assert_close(got[i], log(uneven_density(z[i]) + uneven_density(-z[i])), 1e-13);
    const double u = (30 - 0.7) / 0.8;  // where both densities are too small for numbers
    util_assert_close(got[5], -u * u / 2 - log(0.8) - 0.91893853320467274178, 1e-13);
    flow_base_free(base);
}

// Feature 1 alone; features 0 and 2: sums of two and of four.
static void some_features_lose_their_sign(void **state) {
    (void)state;
    const double z[12] = {-0.4, 0.9, 0.3, 1.2, 0, -0.8, 0.6, 0.1, 0.5, 2, -1, 1.5};
    const int64_t second[1] = {1}, others[2] = {0, 2};
    double got[4];
    flow_base *base = folded(correlated(), second, 1);
    assert_true(base->low == base->high);
    log_prob(base, AD_F64, z, 3, got);
    for (int i = 0; i < 3; i++) {
        const double *v = z + 3 * i;
        const double p = correlated_density(v[0], v[1], v[2]) + correlated_density(v[0], -v[1], v[2]);
        util_assert_close(got[i], log(p), 1e-12);
    }
    flow_base_free(base);
    base = folded(correlated(), others, 2);
    log_prob(base, AD_F64, z + 6, 2, got);
    for (int i = 0; i < 2; i++) {
        const double *v = z + 6 + 3 * i;
        double p = 0;
        for (int k = 0; k < 4; k++) p += correlated_density(k % 2 ? -v[0] : v[0], v[1], k / 2 ? -v[2] : v[2]);
        util_assert_close(got[i], log(p), 1e-12);
    }
    flow_base_free(base);
}

static void outside_there_is_nothing(void **state) {
    (void)state;
    const double z[4] = {-1e-300, -3, NAN, -0.0}, corner[6] = {0.5, -1e-9, 1, -1, 0.5, 1};
    const int64_t first[2] = {0, 1};
    double got[4];
    flow_base *base = folded(uneven(), NULL, 0);
    log_prob(base, AD_F64, z, 4, got);
    for (int i = 0; i < 3; i++) assert_true(got[i] == -(double)INFINITY);
    util_assert_close(got[3], log(2 * uneven_density(0)), 1e-13);
    flow_base_free(base);
    base = folded(correlated(), first, 2);
    log_prob(base, AD_F32, corner, 2, got);
    assert_true(got[0] == -(double)INFINITY && got[1] == -(double)INFINITY);
    flow_base_free(base);
}

// Of a box one preimage, or none, may be outside; gradients stay without NaN.
static void a_box_is_folded_within_its_ends(void **state) {
    (void)state;
    const double z[4] = {0.5, 1.5, 2.5, 3.5}, want[4] = {0.5, 0.25, 0.25, 0};
    double got[4], gradient[4];
    flow_base *base = folded(flow_base_uniform(1, -1, 3, &layers_error), NULL, 0);
    assert_true(base->low == 0 && base->high == 3);
    flow_base *half = folded(flow_base_uniform(2, -1, 3, &layers_error), (const int64_t[]){1}, 1);
    assert_true(half->low == -1 && half->high == 3);
    flow_base_free(half);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, 4);
    ad_var v = ad_input(util_rows(tape, "z", 4), base->shape, &source), p = flow_base_log_prob(base, v, AD_NONE), g;
    ad_grad(p, &v, 1, &g);
    ad_keep(p);
    if (!ad_has_rows(g)) g = ad_to_rows(g, ad_rows_of(v));
    ad_keep(g);
    util_run(tape);
    util_read(p, got, 4);
    util_read(g, gradient, 4);
    for (int i = 0; i < 4; i++) {
        util_assert_close(exp(got[i]), want[i], 1e-14);
        assert_true(gradient[i] == 0);
    }
    ad_tape_free(tape);
    flow_base_free(base);
}

static ad_var of_some(void *arg, const ad_var *x) {
    return flow_base_log_prob(arg, x[0], AD_NONE);
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    const int64_t some[2] = {0, 2};
    flow_base *base = folded(correlated(), some, 2);
    const ad_gradcheck_input input = {ad_shape1(3), true, 0.1, 2, NULL, 0};
    if (ad_gradcheck(of_some, base, &input, 1, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_base_free(base);
}

// ---- chi-squared numbers --------------------------------------------------------------------------------------------

// x = z^2, but for a line within 1e-6 of 0.
static flow_model *squares(flow_base *base) {
    const flow_bijector_options o = {.inverse = true, .a = 2};
    flow_layer *square = flow_bijector(1, "power", &o, &layers_error);
    flow_model *model = flow_model_new(square, base, &layers_error);
    layers_assert_made(model);
    return model;
}

static void a_square_has_the_chi_squared_density(void **state) {
    (void)state;
    const double x[6] = {2e-6, 0.01, 0.5, 1, 7, 60};
    double got[6];
    flow_model *model = squares(folded(flow_standard_normal(1, &layers_error), NULL, 0));
    model_log_prob(model, x, 6, got);
    for (int i = 0; i < 6; i++) util_assert_close(got[i], -0.5 * log(2 * acos(-1) * x[i]) - x[i] / 2, 1e-12);
    flow_model_free(model);
    model = squares(folded(uneven(), NULL, 0));  // not a symmetric one
    model_log_prob(model, x, 6, got);
    for (int i = 0; i < 5; i++) {
        const double z = sqrt(x[i]), p = (uneven_density(z) + uneven_density(-z)) / (2 * z);
        util_assert_close(got[i], log(p), 1e-11);
    }
    flow_model_free(model);
}

// By the points x = s^2, of which Simpson's rule has half with weight 2, half with 4.
static void squares_integrate_to_one(void **state) {
    (void)state;
    enum { N = 2000 };
    double *x = malloc(2 * (N + 1) * sizeof *x), *p = x + N + 1, sum = 0;
    const double h = 9.0 / N;
    for (int i = 0; i <= N; i++) x[i] = h * i * h * i;
    flow_model *model = squares(folded(uneven(), NULL, 0));
    model_log_prob(model, x, N + 1, p);
    // At 0 the line has a finite slope: 2 s p(s^2) there is that of points near.
    for (int i = 0; i <= N; i++) p[i] = i ? exp(p[i]) * 2 * h * i : 2 * uneven_density(0);
    for (int i = 0; i <= N; i++) sum += p[i] * (i == 0 || i == N ? 1 : i % 2 ? 4 : 2) * h / 3;
    util_assert_close(sum, 1, 1e-8);
    flow_model_free(model);
    free(x);
}

// On the half-line from 0, and a quarter of the plane, by the library's own check.
static void densities_integrate_to_one(void **state) {
    (void)state;
    const double low[2] = {0, 0}, high[2] = {9, 9};
    for (int D = 1; D <= 2; D++) {
        flow_base *of = D == 1 ? uneven() : flow_base_gumbel(2, 0, NULL, &layers_error);
        flow_model *model =
            flow_model_new(flow_permutation(D, NULL, &layers_error), folded(of, NULL, 0), &layers_error);
        layers_assert_made(model);
        const flow_integral_options o = {.low = low, .high = high, .points = D == 1 ? 2001 : 301};
        double integral;
        if (flow_check_integral(model, &o, &integral, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
        util_assert_close(integral, 1, D == 1 ? 1e-5 : 5e-4);  // a Gumbel density has e^-9 beyond
        flow_model_free(model);
    }
}

// ---- samples --------------------------------------------------------------------------------------------------------

static void draw(const flow_base *base, ad_type type, int64_t n, double *z) {
    ad_tape *tape = ad_tape_new(NULL, type);
    const ad_random random = {11, 2};
    ad_rows rows = util_rows(tape, "z", n);
    ad_var v = ad_keep(flow_base_sample(base, rows, &random, 5, AD_NONE));
    util_run(tape);
    util_read(v, z, n * base->shape.dim[0]);
    ad_tape_free(tape);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The statistic of Kolmogorov and Smirnov, which exceeds 1.95 once in a thousand times.
static void samples_have_the_distribution(void **state) {
    (void)state;
    enum { ROWS = 20000 };
    double *z = malloc(ROWS * sizeof *z), most = 0;
    flow_base *base = folded(uneven(), NULL, 0);
    draw(base, AD_F64, ROWS, z);
    qsort(z, ROWS, sizeof *z, ascending);
    for (int i = 0; i < ROWS; i++) {
        const double F = uneven_cdf(z[i]) - uneven_cdf(-z[i]);
        most = fmax(most, fmax((i + 1.0) / ROWS - F, F - (double)i / ROWS));
    }
    assert_true(z[0] >= 0 && most * sqrt(ROWS) < 1.95);
    flow_base_free(base);
    free(z);
}

// The base's own samples, but for signs.
static void samples_keep_what_is_not_folded(void **state) {
    (void)state;
    enum { ROWS = 500 };
    double of[3 * ROWS], z[3 * ROWS];
    const int64_t second[1] = {1};
    int negative = 0;
    flow_base *inner = correlated(), *base = folded(correlated(), second, 1);
    draw(inner, AD_F32, ROWS, of);
    draw(base, AD_F32, ROWS, z);
    for (int i = 0; i < 3 * ROWS; i++) {
        assert_true(z[i] == (i % 3 == 1 ? fabs(of[i]) : of[i]));
        negative += i % 3 == 1 && of[i] < 0;
    }
    assert_true(negative > 100 && negative < 400);
    flow_base_free(inner);
    flow_base_free(base);
}

// ---- files and refusals ---------------------------------------------------------------------------------------------

static void a_file_brings_it_back(void **state) {
    (void)state;
    const int64_t some[2] = {0, 2};
    const double x[6] = {0.4, -0.9, 0.3, 1.2, 0.1, 0.8};
    double before[2], after[2];
    flow_model *model =
        flow_model_new(flow_permutation(3, NULL, &layers_error), folded(correlated(), some, 2), &layers_error);
    layers_assert_made(model);
    const char *path = files_path("folded.safetensors");
    if (flow_save(model, path, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_model *loaded = flow_load(path, NULL, &layers_error);
    layers_assert_made(loaded);
    log_prob(flow_model_base(model), AD_F64, x, 2, before);
    log_prob(flow_model_base(loaded), AD_F64, x, 2, after);
    assert_memory_equal(before, after, sizeof before);
    if (flow_check_model(loaded, &(flow_check_options){.cases = 2}, &layers_error) != AD_OK) {
        fail_msg("%s", layers_error.message);
    }
    flow_model_free(model);
    flow_model_free(loaded);
}

static void refused(flow_base *base, const char *words) {
    if (base) fail_msg("not refused: %s", words);
    assert_int_equal(layers_error.status, AD_EARG);
    util_assert_contains(layers_error.message, words);
}

// Neither kind holds the other in a file, or both could go on without end.
static void a_nest_in_a_file_is_refused(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        {"folded", "{\"folds\":[0],\"of\":{\"type\":\"folded\"}}"},
        {"tempered", "{\"temperature\":0.5,\"of\":{\"type\":\"folded\"}}"},
        {"folded", "{\"folds\":[\"0\"],\"of\":{\"type\":\"standard normal\",\"features\":1}}"}};
    static const char *const words[] = {"of a folded", "tempered: of a folded", "feature -1"};
    for (int i = 0; i < 3; i++) {
        json_t *json = json_loads(texts[i][1], 0, NULL);
        const flow_base_type *const *type = flow_base_types();
        while (strcmp((*type)->name, texts[i][0]) != 0) type++;
        assert_null((*type)->make(*type, json, NULL, &layers_error));
        util_assert_contains(layers_error.message, words[i]);
        json_decref(json);
    }
}

static void bad_folds_are_refused(void **state) {
    (void)state;
    ad_error *e = &layers_error;
    const int64_t beyond[1] = {3}, twice[2] = {1, 1}, down[2] = {2, 0}, negative[1] = {-1};
    refused(flow_base_folded(flow_standard_normal(9, e), NULL, 0, e), "folded: 9 features; expected 1 to 8");
    refused(flow_base_folded(flow_standard_normal(3, e), beyond, 0, e), "folded: 0 features");
    refused(flow_base_folded(flow_standard_normal(3, e), beyond, 1, e), "feature 3 of 3");
    refused(flow_base_folded(flow_standard_normal(3, e), negative, 1, e), "feature -1 of 3");
    refused(flow_base_folded(flow_standard_normal(3, e), twice, 2, e), "feature 1 of 3, number 1 in the list");
    refused(flow_base_folded(flow_standard_normal(3, e), down, 2, e), "expected them in ascending order");
    refused(flow_base_folded(folded(flow_standard_normal(2, e), NULL, 0), NULL, 0, e), "folded already");
    refused(flow_temper(folded(flow_standard_normal(2, e), NULL, 0), 0.5, e), "no scaled copy");
    *e = (ad_error){AD_OK, "left alone"};
    assert_null(flow_base_folded(NULL, NULL, 0, e));
    assert_string_equal(e->message, "left alone");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_preimages_count),
        cmocka_unit_test(some_features_lose_their_sign),
        cmocka_unit_test(outside_there_is_nothing),
        cmocka_unit_test(a_box_is_folded_within_its_ends),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(a_square_has_the_chi_squared_density),
        cmocka_unit_test(squares_integrate_to_one),
        cmocka_unit_test(densities_integrate_to_one),
        cmocka_unit_test(samples_have_the_distribution),
        cmocka_unit_test(samples_keep_what_is_not_folded),
        cmocka_unit_test(a_file_brings_it_back),
        cmocka_unit_test(a_nest_in_a_file_is_refused),
        cmocka_unit_test(bad_folds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
