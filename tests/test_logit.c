// test_logit.c -- the logit layer: closed forms, what lies at and beyond the bounds, refusals.
#include "layers.h"

enum { N = 5 };

static flow_layer *made(double alpha, double low, double high) {
    flow_layer *layer = flow_logit(1, &(flow_logit_options){alpha, low, high}, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// As for pixels: z and log |dz/dx| from the formulas, with u written out.
static void values_follow_the_formulas(void **state) {
    (void)state;
    const double alpha = 0.05, x[N] = {0, 0.5, 100, 255.5, 256};
    flow_layer *layer = made(alpha, 0, 256);
    double z[N], log_det[N], back[N], back_det[N];
    layers_run(layer, AD_F64, true, x, N, z, log_det);
    layers_run(layer, AD_F64, false, z, N, back, back_det);
    for (int i = 0; i < N; i++) {
        double u = alpha + (1 - 2 * alpha) * x[i] / 256;
        util_assert_close(z[i], log(u / (1 - u)), 1e-13);
        util_assert_close(log_det[i], log((1 - 2 * alpha) / 256 / (u * (1 - u))), 1e-13);
        util_assert_close(back[i], x[i], 1e-12);
        util_assert_close(back_det[i], -log_det[i], 1e-12);
    }
    flow_layer_free(layer);
}

static void beyond_the_bounds_the_density_is_zero(void **state) {
    (void)state;
    const double x[N] = {-0.2, 1.2, 0.5, INFINITY, NAN};
    flow_layer *layer = made(0.1, 0, 1);
    double z[N], log_det[N];
    layers_run(layer, AD_F64, true, x, N, z, log_det);
    assert_true(log_det[0] == -INFINITY && log_det[1] == -INFINITY && log_det[3] == -INFINITY);
    assert_true(isfinite(z[0]) && isfinite(z[1]) && isfinite(log_det[2]));
    assert_true(isnan(z[4]) && isnan(log_det[4]));
    flow_layer_free(layer);
}

// The gradient of what is outside is that of a constant.
static void gradients_outside_are_zero(void **state) {
    (void)state;
    const double x[2] = {-3, 0.25}, ones[2] = {1, 1};
    flow_layer *layer = made(0, 0, 1);
    double gradient[2];
    layers_gradients(layer, true, x, 2, ones, ones, gradient);
    assert_true(gradient[0] == 0);
    util_assert_close(gradient[1], 1 / (0.25 * 0.75) - 1 / 0.25 + 1 / 0.75, 1e-12);
    flow_layer_free(layer);
}

static void assert_rows(flow_layer *layer, double x, ad_status status, const char *words) {
    double all[3] = {0.5, x, 0.7};
    flow_rows rows = {.x = util_source(all, 3)};
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), status);
    if (status != AD_OK) util_assert_contains(layers_error.message, words);
}

static void rows_outside_are_named(void **state) {
    (void)state;
    flow_layer *open = made(0, 0, 1), *wide = made(0.1, 0, 1);
    assert_rows(open, 0.9, AD_OK, "");
    assert_rows(open, 1, AD_EARG, "row 1, feature 0 is 1, expected a number between 0 and 1 (without these");
    assert_rows(wide, 1, AD_OK, "");
    assert_rows(wide, 7, AD_EARG, "row 1, feature 0 is 7, expected a number between 0 and 1");
    assert_rows(wide, NAN, AD_ENONFINITE, "row 1, feature 0 is nan");
    flow_layer_free(open);
    flow_layer_free(wide);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const double bad[][3] = {{0.5, 0, 1}, {-0.1, 0, 1}, {NAN, 0, 1}, {0, 2, 1}, {0, 0, INFINITY}, {0, NAN, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        flow_logit_options o = {bad[i][0], bad[i][1], bad[i][2]};
        layers_assert_refused(flow_logit(2, &o, &layers_error), AD_EARG, "logit: alpha");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_follow_the_formulas),   cmocka_unit_test(beyond_the_bounds_the_density_is_zero),
        cmocka_unit_test(gradients_outside_are_zero),   cmocka_unit_test(rows_outside_are_named),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
