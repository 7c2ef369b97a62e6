// test_dequantise.c -- uniform dequantisation: bins kept, noise uniform and each row's own, the bound, files, refusals.
#include "files.h"
#include "layers.h"

static flow_layer *made(int64_t D, const flow_dequantise_options *options) {
    flow_layer *layer = flow_dequantise(D, options, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// n rows, the first with that number.
static void normalize(const flow_layer *layer, ad_type type, const double *x, int64_t n, int64_t first, double *z) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, n);
    ad_rows rows = ad_rows_new(tape, "data");
    ad_rows_set(rows, n, first);
    ad_var value = ad_keep(flow_layer_normalize(layer, ad_input(rows, layer->x_shape, &source), AD_NONE).value);
    util_run(tape);
    util_read(value, z, n * layer->x_shape.dim[0]);
    ad_tape_free(tape);
}

// In either type, with the most levels there are and noise at its extremes among 65536 draws.
static void floor_takes_the_noise_off(void **state) {
    (void)state;
    enum { N = 65536 };
    double *x = malloc(4 * N * sizeof *x), *z = x + N, *back = z + N, *log_det = back + N;
    assert_non_null(x);
    const int64_t levels[] = {256, 255, N};
    for (int i = 0; i < 6; i++) {
        flow_dequantise_options o = {.levels = levels[i / 2], .low = -3, .bin = 0.5, .seed = 1};
        ad_type type = i % 2 ? AD_F64 : AD_F32;
        flow_layer *layer = made(1, &o);
        for (int k = 0; k < N; k++) x[k] = -3 + 0.5 * (k % (int)o.levels);
        layers_run(layer, type, true, x, N, z, log_det);
        for (int k = 0; k < N; k++) {
            assert_true(z[k] > 0 && z[k] < 1);
            util_assert_close(log_det[k], -log(0.5 * (double)o.levels), type == AD_F64 ? 1e-13 : 1e-6);
        }
        layers_run(layer, type, false, z, N, back, log_det);
        assert_memory_equal(back, x, N * sizeof *x);
        flow_layer_free(layer);
    }
    free(x);
}

static void noise_is_uniform(void **state) {
    (void)state;
    enum { N = 20000, BINS = 20, D = 2 };
    double *x = calloc(N * D, sizeof *x), *z = malloc(N * D * sizeof *z), counts[BINS] = {0}, square = 0, product = 0;
    assert_true(x != NULL && z != NULL);
    flow_layer *layer = made(D, &(flow_dequantise_options){.levels = 2, .seed = 4});
    normalize(layer, AD_F64, x, N, 0, z);
    for (int i = 0; i < N * D; i++) counts[(int)(2 * z[i] * BINS)]++;
    for (int i = 0; i < BINS; i++) square += pow(counts[i] - N * D / BINS, 2) / (N * D / BINS);
    for (int i = 0; i < N; i++) product += (2 * z[2 * i] - 0.5) * (2 * z[2 * i + 1] - 0.5) / N;
    assert_true(fabs(square - (BINS - 1)) < 4 * sqrt(2 * (BINS - 1)));
    assert_true(fabs(product) < 4 / 12.0 / sqrt(N));
    free(x);
    free(z);
    flow_layer_free(layer);
}

static void a_rows_noise_is_that_of_its_number(void **state) {
    (void)state;
    const double x[20] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};
    double all[20], some[6];
    flow_layer *layer = made(2, NULL);
    normalize(layer, AD_F64, x, 10, 100, all);
    normalize(layer, AD_F64, x + 8, 3, 104, some);
    assert_memory_equal(some, all + 8, sizeof some);
    normalize(layer, AD_F64, x + 8, 3, 0, some);
    assert_memory_not_equal(some, all + 8, sizeof some);
    flow_layer_free(layer);
}

static flow_model *model_of(uint64_t seed) {
    flow_dequantise_options o = {.levels = 2, .seed = seed};
    flow_model *model = flow_model_new(made(1, &o), flow_standard_normal(1, &layers_error), &layers_error);
    layers_assert_made(model);
    return model;
}

static void log_prob(const flow_model *model, const double *x, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n);
    ad_var y = ad_keep(flow_log_prob(model, ad_input(util_rows(tape, "data", n), ad_shape1(1), &source), AD_NONE));
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

static void seed_and_step_make_the_noise(void **state) {
    (void)state;
    const double x[3] = {0, 1, 1};
    double a[3], b[3];
    flow_model *model = model_of(7), *other = model_of(8);
    log_prob(model, x, 3, a);
    log_prob(other, x, 3, b);
    assert_memory_not_equal(a, b, sizeof a);
    flow_set_step(model, 1);
    log_prob(model, x, 3, b);
    assert_memory_not_equal(a, b, sizeof a);
    flow_set_step(model, 0);
    log_prob(model, x, 3, b);
    assert_memory_equal(a, b, sizeof a);
    flow_model_free(model);
    flow_model_free(other);
}

// Under a standard normal z of (0, 1/2), x = 0: E log p = -E z^2 / 2 - log(2 pi) / 2 - log 2, below the log of its
// probability.
static void log_prob_is_a_bound_in_the_mean(void **state) {
    (void)state;
    enum { N = 20000 };
    double *x = calloc(N, sizeof *x), *l = malloc(N * sizeof *l), mean = 0, square = 0;
    assert_true(x != NULL && l != NULL);
    flow_model *model = model_of(1);
    log_prob(model, x, N, l);
    for (int i = 0; i < N; i++) mean += l[i] / N;
    for (int i = 0; i < N; i++) square += pow(l[i] - mean, 2) / N;
    double want = -1.0 / 24 - 0.91893853320467274178 - log(2), error = sqrt(square / N);
    assert_true(fabs(mean - want) < 4 * error);
    assert_true(want < log(erf(0.5 / sqrt(2)) / 2) && error < 1e-3);
    free(x);
    free(l);
    flow_model_free(model);
}

static void beyond_the_levels_the_density_is_zero(void **state) {
    (void)state;
    const double x[5] = {-1, 256, 255, 1e30, NAN};
    double z[5], log_det[5];
    flow_layer *layer = made(1, NULL);
    layers_run(layer, AD_F64, true, x, 5, z, log_det);
    assert_true(log_det[0] == -INFINITY && log_det[1] == -INFINITY && log_det[3] == -INFINITY);
    assert_true(isfinite(z[0]) && isfinite(z[1]) && isfinite(z[3]));
    assert_true(isfinite(log_det[2]) && isnan(z[4]));
    flow_layer_free(layer);
}

static void samples_are_levels(void **state) {
    (void)state;
    const double z[6] = {-5, 0, 0.26, 0.999, 1, 1e30}, want[6] = {-3, -3, -1, 3, 3, 3};
    double x[6], log_det[6];
    flow_layer *layer = made(1, &(flow_dequantise_options){.levels = 4, .low = -3, .bin = 2});
    layers_run(layer, AD_F64, false, z, 6, x, log_det);
    for (int i = 0; i < 6; i++) {
        assert_true(x[i] == want[i]);
        util_assert_close(log_det[i], log(8), 1e-14);
    }
    flow_layer_free(layer);
}

static void files_keep_the_layer(void **state) {
    (void)state;
    const double x[3] = {0, 1, 1};
    double a[3], b[3];
    flow_model *model = model_of(UINT64_MAX - 5);
    log_prob(model, x, 3, a);
    flow_set_step(model, 9);
    assert_int_equal(flow_save(model, files_path("m.safetensors"), &layers_error), AD_OK);
    flow_model *loaded = flow_load(files_path("m.safetensors"), NULL, &layers_error);
    layers_assert_made(loaded);
    log_prob(loaded, x, 3, b);
    assert_memory_equal(a, b, sizeof a);
    flow_model_free(model);
    flow_model_free(loaded);
}

static void assert_rows(double x, ad_status status, const char *words) {
    double all[4] = {0, 1, 2, x};
    flow_layer *layer = made(2, &(flow_dequantise_options){.levels = 4});
    flow_rows rows = {.x = util_source(all, 2)};
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), status);
    if (status != AD_OK) util_assert_contains(layers_error.message, words);
    flow_layer_free(layer);
}

static void rows_that_are_no_levels_are_named(void **state) {
    (void)state;
    assert_rows(3, AD_OK, "");
    assert_rows(4, AD_EARG, "row 1, feature 1 is 4, expected 0 + 1 k with a whole k from 0 to 3");
    assert_rows(-1, AD_EARG, "row 1, feature 1 is -1");
    assert_rows(1.5, AD_EARG, "row 1, feature 1 is 1.5");
    assert_rows(NAN, AD_ENONFINITE, "row 1, feature 1 is nan");
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const flow_dequantise_options bad[] = {{.levels = 1}, {.levels = -1},    {.levels = 65537}, {.bin = -1},
                                           {.bin = NAN},  {.low = INFINITY}, {.bin = 1e308}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        layers_assert_refused(flow_dequantise(2, &bad[i], &layers_error), AD_EARG, "dequantise: ");
    }
    flow_layer *chain[2] = {flow_permutation(2, NULL, &layers_error), made(2, NULL)};
    layers_assert_refused(flow_chain(chain, 2, &layers_error), AD_EARG,
                          "layer 1 (dequantise) takes whole numbers, so it has to be the first");
}

static void shared_values_fail(void **state) {
    (void)state;
    flow_layer *layer = made(2, NULL);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    flow_layer_normalize(layer, ad_fill(tape, ad_shape1(2), 1), AD_NONE);
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    util_assert_contains(ad_tape_message(tape), "noise is drawn for rows");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// A whole model of bytes keeps the laws, and its layers are fitted to what the noise leaves.
static void a_model_of_bytes_keeps_the_laws(void **state) {
    (void)state;
    double x[60];
    for (int i = 0; i < 60; i++) x[i] = (i * 37 % 101 + 7 * (i % 3)) % 256;
    flow_layer *layers[3] = {made(3, NULL), flow_logit(3, &(flow_logit_options){.alpha = 0.05}, &layers_error),
                             flow_standardise(3, NULL, &layers_error)};
    flow_model *model =
        flow_model_new(flow_chain(layers, 3, &layers_error), flow_standard_normal(3, &layers_error), &layers_error);
    layers_assert_made(model);
    flow_rows rows = {.x = util_source(x, 20)};
    if (flow_init_from_data(model, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    if (flow_check_model(model, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_model_free(model);
}

// ---- the law check itself, on layers whose generate is wrong
// ----------------------------------------------------------

static flow_result (*right)(const flow_layer *layer, ad_var z, ad_var context);

static flow_result mirrored(const flow_layer *layer, ad_var z, ad_var context) {
    flow_result r = right(layer, z, context);
    return (flow_result){ad_offset(ad_neg(r.value), 255), r.log_det};
}

static flow_result negated(const flow_layer *layer, ad_var z, ad_var context) {
    flow_result r = right(layer, z, context);
    return (flow_result){r.value, ad_neg(r.log_det)};
}

static void assert_noticed(flow_result (*generate)(const flow_layer *, ad_var, ad_var), const char *words) {
    flow_layer *layer = made(2, NULL);
    flow_layer_type wrong = *layer->type;
    right = wrong.generate;
    wrong.generate = generate;
    layer->type = &wrong;
    if (flow_check(layer, NULL, &layers_error) == AD_OK) fail_msg("not noticed: %s", words);
    util_assert_contains(layers_error.message, words);
    flow_layer_free(layer);
}

static void check_names_what_is_wrong_in_generate(void **state) {
    (void)state;
    assert_noticed(mirrored, "generate does not undo normalize");
    assert_noticed(negated, "log_det of generate is wrong");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floor_takes_the_noise_off),
        cmocka_unit_test(noise_is_uniform),
        cmocka_unit_test(a_rows_noise_is_that_of_its_number),
        cmocka_unit_test(seed_and_step_make_the_noise),
        cmocka_unit_test(log_prob_is_a_bound_in_the_mean),
        cmocka_unit_test(beyond_the_levels_the_density_is_zero),
        cmocka_unit_test(samples_are_levels),
        cmocka_unit_test(files_keep_the_layer),
        cmocka_unit_test(rows_that_are_no_levels_are_named),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(shared_values_fail),
        cmocka_unit_test(a_model_of_bytes_keeps_the_laws),
        cmocka_unit_test(check_names_what_is_wrong_in_generate),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
