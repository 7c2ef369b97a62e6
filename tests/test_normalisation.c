// test_normalisation.c -- ActNorm and batch normalisation: what they fit, when, what they keep, refusals.
#include "files.h"
#include "layers.h"

enum { D = 2, N = 4 };
static const double data[N * D] = {1, 100, 2, 300, 3, 200, 6, 400}, mean[D] = {3, 250}, variance[D] = {3.5, 12500};

static flow_layer *made(flow_layer *layer) {
    layers_assert_made(layer);
    return layer;
}

static flow_model *model_of(flow_layer *layer) {
    flow_model *model = flow_model_new(made(layer), flow_standard_normal(layer->x_shape.dim[0], NULL), &layers_error);
    layers_assert_made(model);
    return model;
}

static ad_status fit(flow_model *model, const double *x, int64_t n) {
    flow_rows rows = {.x = util_source(x, n)};
    return flow_init_from_data(model, &rows, &layers_error);
}

static double state_of(const flow_layer *layer, const char *name, int i) {
    for (int s = 0; s < layer->owner.n_states; s++) {
        if (strcmp(layer->owner.states[s]->name, name) == 0) return ((double *)layer->owner.states[s]->data)[i];
    }
    fail_msg("no state '%s'", name);
    return 0;
}

// ---- ActNorm --------------------------------------------------------------------------------------------------------

static void actnorm_brings_the_data_to_mean_0_and_variance_1(void **state) {
    (void)state;
    flow_model *model = model_of(flow_actnorm(D, &(flow_linear_options){.type = AD_F64}, &layers_error));
    assert_int_equal(fit(model, data, N), AD_OK);
    double z[N * D], log_det[N];
    layers_run(flow_model_layer(model), AD_F64, true, data, N, z, log_det);
    for (int i = 0; i < N * D; i++) util_assert_close(z[i], (data[i] - mean[i % D]) / sqrt(variance[i % D]), 1e-13);
    util_assert_close(log_det[0], -0.5 * log(variance[0] * variance[1]), 1e-13);
    flow_model_free(model);
}

static void actnorm_learns_on_from_there(void **state) {
    (void)state;
    const double raw[D] = {0.5, -0.25}, b[D] = {1, 2}, x[D] = {4, 5};
    flow_layer *layer = made(flow_actnorm(D, &(flow_linear_options){.type = AD_F64}, &layers_error));
    layers_set(layers_param(layer, "log_scale"), raw);
    layers_set(layers_param(layer, "b"), b);
    double z[D], log_det, sum = 0;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    for (int d = 0; d < D; d++) {
        const double s = 7 * tanh(raw[d] / 7);
        util_assert_close(z[d], exp(s) * x[d] + b[d], 1e-13);
        sum += s;
    }
    util_assert_close(log_det, sum, 1e-13);
    flow_layer_free(layer);
}

// The first rows decide; neither later ones nor those a loaded model sees.
static void actnorm_is_fitted_once(void **state) {
    (void)state;
    const double other[2 * D] = {-5, 5, 7, 8};
    flow_model *model = model_of(flow_actnorm(D, NULL, &layers_error));
    assert_int_equal(fit(model, data, N), AD_OK);
    assert_int_equal(fit(model, other, 2), AD_OK);
    assert_true(state_of(flow_model_layer(model), "mean", 1) == mean[1]);
    assert_int_equal(flow_save(model, files_path("actnorm.safetensors"), &layers_error), AD_OK);
    flow_model_free(model);
    model = flow_load(files_path("actnorm.safetensors"), NULL, &layers_error);
    layers_assert_made(model);
    assert_int_equal(fit(model, other, 2), AD_OK);
    assert_true(state_of(flow_model_layer(model), "mean", 1) == mean[1]);
    util_assert_close(state_of(flow_model_layer(model), "sd", 1), sqrt(variance[1]), 1e-15);
    flow_model_free(model);
}

static void actnorm_refuses_what_has_no_scale(void **state) {
    (void)state;
    const double constant[3 * D] = {1, 7, 2, 7, 3, 7}, nan[2 * D] = {1, 2, (double)NAN, 3};
    flow_model *model = model_of(flow_actnorm(D, NULL, &layers_error));
    assert_int_equal(fit(model, constant, 3), AD_EARG);
    util_assert_contains(layers_error.message, "actnorm: feature 1 has standard deviation 0 in 3 rows");
    assert_int_equal(fit(model, data, 1), AD_EARG);
    util_assert_contains(layers_error.message, "feature 0 has standard deviation 0 in 1 rows");
    assert_int_equal(fit(model, nan, 2), AD_ENONFINITE);
    util_assert_contains(layers_error.message, "actnorm: row 1, feature 0 is nan");
    assert_true(state_of(flow_model_layer(model), "mean", 0) == 0 && state_of(flow_model_layer(model), "sd", 0) == 1);
    assert_int_equal(fit(model, data, N), AD_OK);  // a failure is not the one time
    assert_true(state_of(flow_model_layer(model), "mean", 0) == mean[0]);
    flow_model_free(model);
}

// ---- batch normalisation
// ----------------------------------------------------------------------------------------------

static flow_layer *batch_norm(const flow_batch_norm_options *o) {
    flow_batch_norm_options f64 = *o;
    f64.linear.type = AD_F64;
    return made(flow_batch_norm(D, &f64, &layers_error));
}

// normalize of n rows, in training or not. gradient NULL, or of sum cot z + log_det in x.
static void train(const flow_layer *layer, bool training, const double *x, int64_t n, const double *cot, double *z,
                  double *log_det, double *gradient) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_set_training(tape, training);
    ad_source source = util_source(x, n), weights = util_source(cot ? cot : x, n);
    ad_rows rows = util_rows(tape, "data", n);
    ad_var in = ad_input(rows, ad_shape1(D), &source), g;
    flow_result r = flow_layer_normalize(layer, in, AD_NONE);
    ad_var S = ad_sum_rows(ad_add(ad_sum(ad_mul(r.value, ad_input(rows, ad_shape1(D), &weights))), r.log_det));
    if (gradient) ad_grad(S, &in, 1, &g);
    if (gradient) ad_keep(g);
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, z, n * D);
    util_read(r.log_det, log_det, n);
    if (gradient) util_read(g, gradient, n * D);
    ad_tape_free(tape);
}

static void training_takes_the_statistics_of_the_batch(void **state) {
    (void)state;
    const double raw[D] = {0.3, -0.2}, beta[D] = {1, -1}, eps = 0.5;
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.eps = eps});
    layers_set(layers_param(layer, "log_scale"), raw);
    layers_set(layers_param(layer, "b"), beta);
    double z[N * D], log_det[N], want_det = 0;
    train(layer, true, data, N, NULL, z, log_det, NULL);
    for (int i = 0; i < N * D; i++) {
        const double gamma = exp(7 * tanh(raw[i % D] / 7)), sd = sqrt(variance[i % D] + eps);
        util_assert_close(z[i], gamma * (data[i] - mean[i % D]) / sd + beta[i % D], 1e-12);
        if (i < D) want_det += log(gamma / sd);
    }
    for (int r = 0; r < N; r++) util_assert_close(log_det[r], want_det, 1e-12);
    flow_layer_free(layer);
}

static void averages_run_after_the_batches(void **state) {
    (void)state;
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.momentum = 0.25});
    double z[N * D], log_det[N], running[2] = {0, 1};
    for (int step = 0; step < 3; step++) {
        train(layer, true, data, N, NULL, z, log_det, NULL);
        running[0] += 0.25 * (mean[1] - running[0]);
        running[1] += 0.25 * (variance[1] - running[1]);
        util_assert_close(state_of(layer, "mean", 1), running[0], 1e-14);
        util_assert_close(state_of(layer, "variance", 1), running[1], 1e-14);
    }
    train(layer, false, data, N, NULL, z, log_det, NULL);
    util_assert_close(state_of(layer, "mean", 1), running[0], 1e-14);
    for (int r = 0; r < N; r++) {
        util_assert_close(z[r * D + 1], (data[r * D + 1] - running[0]) / sqrt(running[1] + 1e-5), 1e-12);
    }
    flow_layer_free(layer);
}

// Before any training the layer is the identity but for eps: its variance does not start at 0.
static void a_new_one_can_be_evaluated(void **state) {
    (void)state;
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.eps = 1e-12});
    double z[N * D], log_det[N], back[N * D];
    layers_run(layer, AD_F64, true, data, N, z, log_det);
    util_assert_all_close(z, data, N * D, 1e-11);
    layers_run(layer, AD_F64, false, data, N, back, log_det);
    util_assert_all_close(back, data, N * D, 1e-11);
    flow_layer_free(layer);
}

static void lagged_training_sees_the_batches_before(void **state) {
    (void)state;
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.momentum = 1, .lagged = true, .eps = 1e-12});
    double z[N * D], log_det[N];
    train(layer, true, data, N, NULL, z, log_det, NULL);
    util_assert_all_close(z, data, N * D, 1e-11);
    train(layer, true, data, N, NULL, z, log_det, NULL);
    for (int i = 0; i < N * D; i++) util_assert_close(z[i], (data[i] - mean[i % D]) / sqrt(variance[i % D]), 1e-11);
    flow_layer_free(layer);
}

// A row moves its batch's statistics: the gradient has that part, too.
static void gradients_go_through_the_statistics(void **state) {
    (void)state;
    double x[N * D], cot[N * D], z[N * D], log_det[N], gradient[N * D];
    util_fill(x, N * D, 1, -1, 1);
    util_fill(cot, N * D, 2, -1, 1);
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.eps = 0.01});
    train(layer, true, x, N, cot, z, log_det, gradient);
    for (int i = 0; i < N * D; i++) {
        const double h = 1e-5, at = x[i];
        double S[2] = {0, 0};
        for (int side = 0; side < 2; side++) {
            x[i] = at + (side ? h : -h);
            train(layer, true, x, N, NULL, z, log_det, NULL);
            for (int k = 0; k < N * D; k++) S[side] += cot[k] * z[k];
            for (int r = 0; r < N; r++) S[side] += log_det[r];
        }
        x[i] = at;
        util_assert_close(gradient[i], (S[1] - S[0]) / (2 * h), 1e-7);
    }
    flow_layer_free(layer);
}

static void one_row_and_constants_stay_finite(void **state) {
    (void)state;
    const double x[D] = {3, -7}, ones[D] = {1, 1};
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.eps = 0});
    double z[D], log_det, gradient[D];
    train(layer, true, x, 1, ones, z, &log_det, gradient);
    for (int d = 0; d < D; d++) assert_true(z[d] == 0 && isfinite(gradient[d]));
    util_assert_close(log_det, -log(1e-5), 1e-12);
    flow_layer_free(layer);
}

static void rows_may_set_the_averages(void **state) {
    (void)state;
    flow_model *model = model_of(batch_norm(&(flow_batch_norm_options){.eps = 0}));
    assert_int_equal(fit(model, data, N), AD_OK);
    for (int d = 0; d < D; d++) {
        util_assert_close(state_of(flow_model_layer(model), "mean", d), mean[d], 1e-14);
        util_assert_close(state_of(flow_model_layer(model), "variance", d), variance[d], 1e-14);
    }
    flow_model_free(model);
}

static void two_passes_in_one_step_are_refused(void **state) {
    (void)state;
    flow_layer *layer = batch_norm(&(flow_batch_norm_options){.eps = 0});
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_set_training(tape, true);
    ad_source source = util_source(data, N);
    const char *const names[2] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        flow_layer_normalize(layer, ad_input(util_rows(tape, names[i], N), ad_shape1(D), &source), AD_NONE);
    }
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    util_assert_contains(ad_tape_message(tape), "state 'mean' is assigned twice");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    ad_error *e = &layers_error;
    flow_batch_norm_options fast = {.momentum = 1.5}, negative = {.eps = -1}, nan = {.momentum = (double)NAN};
    layers_assert_refused(flow_actnorm(0, NULL, e), AD_EARG, "actnorm: 0 features");
    layers_assert_refused(flow_batch_norm(2, &fast, e), AD_EARG, "batch norm: momentum 1.5");
    layers_assert_refused(flow_batch_norm(2, &negative, e), AD_EARG, "eps -1");
    layers_assert_refused(flow_batch_norm(2, &nan, e), AD_EARG, "momentum nan");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actnorm_brings_the_data_to_mean_0_and_variance_1),
        cmocka_unit_test(actnorm_learns_on_from_there),
        cmocka_unit_test_teardown(actnorm_is_fitted_once, files_empty),
        cmocka_unit_test(actnorm_refuses_what_has_no_scale),
        cmocka_unit_test(training_takes_the_statistics_of_the_batch),
        cmocka_unit_test(averages_run_after_the_batches),
        cmocka_unit_test(a_new_one_can_be_evaluated),
        cmocka_unit_test(lagged_training_sees_the_batches_before),
        cmocka_unit_test(gradients_go_through_the_statistics),
        cmocka_unit_test(one_row_and_constants_stay_finite),
        cmocka_unit_test(rows_may_set_the_averages),
        cmocka_unit_test(two_passes_in_one_step_are_refused),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
