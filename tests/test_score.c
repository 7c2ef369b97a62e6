// test_score.c -- test scores in nats and bits per dimension, against closed forms.
#include "flows.h"
#include "optim.h"
#include "util.h"

static ad_error error;
static const double LN2 = 0.69314718055994530942, HALF_LOG_2PI = 0.91893853320467274178;

static optim_score score(const flow_model *model, const flow_rows *rows, const optim_score_options *options) {
    optim_score s;
    if (optim_test_score(model, rows, options, &s, &error) != AD_OK) fail_msg("%s", error.message);
    return s;
}

static flow_model *normal(int64_t D) {
    flow_model *model = flow_model_new(flow_permutation(D, NULL, &error), flow_standard_normal(D, &error), &error);
    if (!model) fail_msg("%s", error.message);
    return model;
}

// Of density 1 / levels everywhere in its bins.
static flow_model *uniform(int64_t D, const flow_dequantise_options *options) {
    flow_model *model = flow_model_new(flow_dequantise(D, options, &error), flow_base_uniform(D, 0, 1, &error), &error);
    if (!model) fail_msg("%s", error.message);
    return model;
}

static void bytes_that_are_all_alike_take_eight_bits(void **state) {
    (void)state;
    const double x[12] = {0, 255, 3, 7, 200, 128, 1, 2, 254, 90, 91, 92};
    flow_model *model = uniform(3, NULL);
    const flow_rows rows = {.x = util_source(x, 4)};
    const optim_score s = score(model, &rows, NULL);
    util_assert_close(s.bits, 8, 1e-14);
    util_assert_close(s.log_prob, -24 * LN2, 1e-14);
    util_assert_close(s.bits_error, 0, 1e-14);
    assert_int_equal(s.n, 4);
    flow_model_free(model);
}

// The density is per unit of x, whatever the bins.
static void bins_of_another_width_take_as_many_bits(void **state) {
    (void)state;
    const double x[4] = {-1, -0.5, 0, 0.5};
    flow_model *model = uniform(1, &(flow_dequantise_options){.levels = 4, .low = -1, .bin = 0.5});
    const flow_rows rows = {.x = util_source(x, 4)};
    const optim_score s = score(model, &rows, &(optim_score_options){.bin = 0.5});
    util_assert_close(s.bits, 2, 1e-14);
    util_assert_close(s.log_prob, -LN2, 1e-14);
    flow_model_free(model);
}

static void values_with_noise_of_their_own_have_a_bin(void **state) {
    (void)state;
    const double x[6] = {0.5, -1, 2, 0, 0, 1};
    flow_model *model = normal(2);
    const flow_rows rows = {.x = util_source(x, 3)};
    const double q[3] = {1.25 / 2, 4.0 / 2, 1.0 / 2}, mean = (q[0] + q[1] + q[2]) / 3;
    double squares = 0;
    for (int i = 0; i < 3; i++) squares += (q[i] - mean) * (q[i] - mean);
    const optim_score s = score(model, &rows, &(optim_score_options){.bin = 1.0 / 256, .batch = 2});
    util_assert_close(s.log_prob, -2 * HALF_LOG_2PI - mean, 1e-14);
    util_assert_close(s.log_prob_error, sqrt(squares / 2 / 3), 1e-14);
    util_assert_close(s.bits, (2 * HALF_LOG_2PI + mean) / (2 * LN2) + 8, 1e-14);
    util_assert_close(s.bits_error, sqrt(squares / 2 / 3) / (2 * LN2), 1e-14);
    flow_model_free(model);
}

static void weights_count_rows(void **state) {
    (void)state;
    const double x[3] = {1, 100, 2}, weights[3] = {1, 0, 3};
    flow_model *model = normal(1);
    const flow_rows rows = {.x = util_source(x, 3), .weight = util_source(weights, 3)};
    const optim_score s = score(model, &rows, NULL);
    util_assert_close(s.log_prob, -HALF_LOG_2PI - (0.5 + 3 * 2) / 4, 1e-14);
    assert_int_equal(s.n, 2);
    flow_model_free(model);
}

static void what_cannot_be_scored_is_refused(void **state) {
    (void)state;
    const double x[2] = {1, 2}, bad[] = {-1, NAN, INFINITY};
    flow_model *model = normal(2);
    flow_rows rows = {.x = util_source(x, 1)};
    optim_score s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(optim_test_score(model, &rows, &(optim_score_options){.bin = bad[i]}, &s, &error), AD_EARG);
        util_assert_contains(error.message, "above 0");
        assert_true(isnan(s.bits));
    }
    rows.x.data = NULL;
    assert_int_equal(optim_test_score(model, &rows, NULL, &s, &error), AD_EARG);
    assert_true(isnan(s.log_prob));
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_all_alike_take_eight_bits),
        cmocka_unit_test(bins_of_another_width_take_as_many_bits),
        cmocka_unit_test(values_with_noise_of_their_own_have_a_bin),
        cmocka_unit_test(weights_count_rows),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
