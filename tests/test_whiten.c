// test_whiten.c -- whitening: what it makes of the rows it was fitted to, whatever their units, and what it refuses.
#include "layers.h"

enum { D = 4, ROWS = 200 };

// Correlated features, in units from 1e-9 to 1e9.
static void fill(double *x) {
    uint64_t seed = 5;
    for (int r = 0; r < ROWS; r++) {
        double common = util_uniform(&seed, -1, 1);
        for (int d = 0; d < D; d++)
            x[r * D + d] = pow(1e6, d - 1.5) * (7 + common * (d + 1) + util_uniform(&seed, -1, 1));
    }
}

static ad_status fit(flow_layer *layer, const double *x, int64_t n) {
    flow_rows rows = {.x = {.data = x, .type = AD_F64, .count = n}};
    return layer->type->init(layer, &rows, &layers_error);
}

static flow_layer *fitted(const double *x) {
    flow_layer *layer = flow_whiten(D, &layers_error);
    layers_assert_made(layer);
    if (fit(layer, x, ROWS) != AD_OK) fail_msg("%s", layers_error.message);
    return layer;
}

static void fitted_rows_are_white(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], log_det[ROWS];
    fill(x);
    flow_layer *layer = fitted(x);
    layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
    for (int i = 0; i < D; i++) {
        double mean = 0;
        for (int r = 0; r < ROWS; r++) mean += z[r * D + i] / ROWS;
        util_assert_close(mean, 0, 1e-12);
        for (int j = 0; j < D; j++) {
            double product = 0;
            for (int r = 0; r < ROWS; r++) product += z[r * D + i] * z[r * D + j] / ROWS;
            util_assert_close(product, i == j, 1e-10);
        }
    }
    flow_layer_free(layer);
}

// log |det| = -1/2 log det of the covariance, here by elimination.
static void log_det_is_that_of_the_covariance(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], log_det[ROWS], mean[D] = {0}, C[D][D] = {{0}}, want = 0;
    fill(x);
    for (int i = 0; i < ROWS * D; i++) mean[i % D] += x[i] / ROWS;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++) C[i][j] += (x[r * D + i] - mean[i]) * (x[r * D + j] - mean[j]) / ROWS;
    for (int k = 0; k < D; k++) {
        want -= 0.5 * log(C[k][k]);
        for (int i = k + 1; i < D; i++)
            for (int j = D - 1; j >= k; j--) C[i][j] -= C[i][k] / C[k][k] * C[k][j];
    }
    flow_layer *layer = fitted(x);
    layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
    for (int r = 0; r < ROWS; r++) util_assert_close(log_det[r], want, 1e-10);
    flow_layer_free(layer);
}

static void equal_rows_give_equal_layers(void **state) {
    (void)state;
    double x[ROWS * D];
    fill(x);
    flow_layer *a = fitted(x), *b = fitted(x);
    for (int i = 0; i < a->owner.n_states; i++) {
        const ad_state *s = a->owner.states[i];
        assert_memory_equal(s->data, b->owner.states[i]->data, (size_t)s->count * sizeof(double));
    }
    flow_layer_free(a);
    flow_layer_free(b);
}

static void assert_unfit(const double *x, int64_t n, ad_status status, const char *words) {
    flow_layer *layer = flow_whiten(D, &layers_error);
    layers_assert_made(layer);
    assert_int_equal(fit(layer, x, n), status);
    util_assert_contains(layers_error.message, words);
    flow_layer_free(layer);
}

static void bad_rows_are_named(void **state) {
    (void)state;
    double x[ROWS * D];
    fill(x);
    for (int r = 0; r < ROWS; r++) x[r * D + 2] = 0.1;
    assert_unfit(x, ROWS, AD_EARG, "feature 2 has standard deviation 0");
    for (int r = 0; r < ROWS; r++) x[r * D + 2] = 1e-9 * x[r * D + 3] + 5;
    assert_unfit(x, ROWS, AD_EARG, "is a linear combination of others");
    fill(x);
    assert_unfit(x, D, AD_EARG, "is a linear combination of others");  // centred, D rows span D - 1 directions
    x[9 * D + 1] = NAN;
    assert_unfit(x, ROWS, AD_ENONFINITE, "row 9, feature 1 is nan");
}

static void too_many_features_are_refused(void **state) {
    (void)state;
    layers_assert_refused(flow_whiten(0, &layers_error), AD_EARG, "0");
    layers_assert_refused(flow_whiten(10000, &layers_error), AD_EARG, "10000 features, expected at most 8192");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fitted_rows_are_white),      cmocka_unit_test(log_det_is_that_of_the_covariance),
        cmocka_unit_test(equal_rows_give_equal_layers), cmocka_unit_test(bad_rows_are_named),
        cmocka_unit_test(too_many_features_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
