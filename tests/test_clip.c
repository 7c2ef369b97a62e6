// test_clip.c -- the box: where x is moved, where its density is zero, what it is fitted to, files, refusals.
#include "files.h"
#include "layers.h"

static const double low[2] = {-1, 10}, high[2] = {2, 20};

static flow_layer *made(const flow_clip_options *options) {
    flow_layer *layer = flow_clip(2, options, &layers_error);
    layers_assert_made(layer);
    return layer;
}

enum { N = 4 };
static const double points[2 * N] = {0, 15, -3, 15, 0.5, 21, 2, 10}, inside[2 * N] = {0, 15, -1, 15, 0.5, 20, 2, 10};

static void normalize(const flow_layer *layer, bool training, double *z, double *log_det) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_set_training(tape, training);
    ad_source source = util_source(points, N);
    flow_result r = flow_layer_normalize(layer, ad_input(util_rows(tape, "data", N), ad_shape1(2), &source), AD_NONE);
    ad_keep(r.value);
    ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, z, 2 * N);
    util_read(r.log_det, log_det, N);
    ad_tape_free(tape);
}

static void learning_moves_to_the_edge(void **state) {
    (void)state;
    double z[2 * N], log_det[N];
    flow_layer *layer = made(&(flow_clip_options){.low = low, .high = high});
    normalize(layer, true, z, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(z[i] == inside[i] && log_det[i / 2] == 0);
    flow_layer_free(layer);
}

static void scoring_gives_no_density_outside(void **state) {
    (void)state;
    double z[2 * N], log_det[N];
    flow_layer *layer = made(&(flow_clip_options){.low = low, .high = high});
    normalize(layer, false, z, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(z[i] == inside[i]);
    assert_true(log_det[0] == 0 && log_det[1] == -INFINITY && log_det[2] == -INFINITY && log_det[3] == 0);
    flow_layer_free(layer);
}

static void always_moves_when_scoring_too(void **state) {
    (void)state;
    double z[2 * N], log_det[N];
    flow_layer *layer = made(&(flow_clip_options){.low = low, .high = high, .always = true});
    normalize(layer, false, z, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(z[i] == inside[i] && log_det[i / 2] == 0);
    flow_layer_free(layer);
}

static void samples_lie_in_the_box(void **state) {
    (void)state;
    double x[2 * N], log_det[N];
    flow_layer *layer = made(&(flow_clip_options){.low = low, .high = high});
    layers_run(layer, AD_F64, false, points, N, x, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(x[i] == inside[i] && log_det[i / 2] == 0);
    flow_layer_free(layer);
}

static void gradients_outside_are_zero(void **state) {
    (void)state;
    const double ones[2 * N] = {1, 1, 1, 1, 1, 1, 1, 1};
    double gradient[2 * N];
    flow_layer *layer = made(&(flow_clip_options){.low = low, .high = high, .always = true});
    layers_gradients(layer, true, points, N, ones, ones, gradient);
    for (int i = 0; i < 6; i++) assert_true(gradient[i] == (points[i] == inside[i] ? 1 : 0));
    flow_layer_free(layer);
}

static void no_bounds_until_fitted(void **state) {
    (void)state;
    double z[2 * N], log_det[N];
    flow_layer *layer = made(NULL);
    assert_false(layer->initialised);
    normalize(layer, false, z, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(z[i] == points[i] && log_det[i / 2] == 0);
    flow_layer_free(layer);
}

// Rows 0 .. 10 in some order, and their squares.
static void fill(double *x) {
    for (int i = 0; i < 11; i++) {
        x[2 * i] = i * 4 % 11;
        x[2 * i + 1] = x[2 * i] * x[2 * i];
    }
}

static void assert_fit(const flow_clip_options *options, const double *want) {
    double x[22];
    fill(x);
    flow_layer *layer = made(options);
    flow_rows rows = {.x = util_source(x, 11)};
    if (layer->type->init(layer, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    const double *fitted_low = layer->owner.states[0]->data, *fitted_high = layer->owner.states[1]->data;
    for (int d = 0; d < 2; d++) {
        util_assert_close(fitted_low[d], want[2 * d], 1e-14);
        util_assert_close(fitted_high[d], want[2 * d + 1], 1e-14);
    }
    flow_layer_free(layer);
}

// numpy.quantile([0 .. 10] ** 2, [0.05, 0.95]) is 0.5, 90.5.
static void boxes_are_fitted_to_quantiles(void **state) {
    (void)state;
    assert_fit(NULL, (const double[]){0, 10, 0, 100});
    assert_fit(&(flow_clip_options){.share = 0.05}, (const double[]){0.5, 9.5, 0.5, 90.5});
    assert_fit(&(flow_clip_options){.share = 0.1, .margin = 0.5}, (const double[]){-3, 13, -39, 121});
}

static void assert_unfit(double x, double y, ad_status status, const char *words) {
    double all[6] = {1, 5, 2, 5, x, y};
    flow_layer *layer = made(NULL);
    flow_rows rows = {.x = util_source(all, 3)};
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), status);
    util_assert_contains(layers_error.message, words);
    assert_true(*(const double *)layer->owner.states[0]->data < -1e38);  // feature 0 would do, and is left alone
    flow_layer_free(layer);
}

static void bad_rows_are_named(void **state) {
    (void)state;
    assert_unfit(3, NAN, AD_ENONFINITE, "clip: row 2, feature 1 is nan");
    assert_unfit(INFINITY, 6, AD_ENONFINITE, "clip: row 2, feature 0 is inf");
    assert_unfit(3, 5, AD_EARG, "clip: the box of feature 1 is 5 to 5 in 3 rows");
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const double bad[2] = {3, 11}, endless[2] = {INFINITY, 20}, none[2] = {NAN, 20};
    const flow_clip_options options[] = {{.low = low},
                                         {.high = high},
                                         {.low = low, .high = high, .share = 0.5},
                                         {.low = bad, .high = high},
                                         {.low = low, .high = endless},
                                         {.low = low, .high = none},
                                         {.share = 0.5},
                                         {.share = -0.1},
                                         {.share = NAN},
                                         {.margin = -1},
                                         {.margin = INFINITY}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        layers_assert_refused(flow_clip(2, &options[i], &layers_error), AD_EARG, "clip: ");
    }
}

static void files_keep_the_box(void **state) {
    (void)state;
    flow_clip_options o = {.low = low, .high = high, .share = 0.25, .margin = 0.125, .always = true};
    flow_model *model = flow_model_new(made(&o), flow_standard_normal(2, &layers_error), &layers_error);
    layers_assert_made(model);
    assert_int_equal(flow_save(model, files_path("m.safetensors"), &layers_error), AD_OK);
    flow_model *loaded = flow_load(files_path("m.safetensors"), NULL, &layers_error);
    layers_assert_made(loaded);
    char *was = flow_describe(model), *is = flow_describe(loaded);
    assert_string_equal(is, was);
    util_assert_contains(is, "\"always\":true");
    double z[2 * N], log_det[N];
    normalize(flow_model_layer(loaded), false, z, log_det);
    for (int i = 0; i < 2 * N; i++) assert_true(z[i] == inside[i]);
    free(was);
    free(is);
    flow_model_free(model);
    flow_model_free(loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learning_moves_to_the_edge),    cmocka_unit_test(scoring_gives_no_density_outside),
        cmocka_unit_test(always_moves_when_scoring_too), cmocka_unit_test(samples_lie_in_the_box),
        cmocka_unit_test(gradients_outside_are_zero),    cmocka_unit_test(no_bounds_until_fitted),
        cmocka_unit_test(boxes_are_fitted_to_quantiles), cmocka_unit_test(bad_rows_are_named),
        cmocka_unit_test(bad_options_are_refused),       cmocka_unit_test(files_keep_the_box),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
