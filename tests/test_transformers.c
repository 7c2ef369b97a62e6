// test_transformers.c -- element maps and the layers on them: values, starts, ways to invert, who sees whom, refusals, files.
#include <jansson.h>

#include "files.h"
#include "layers.h"

static flow_result both_ways(const flow_transformer *t, bool normalize, flow_parameters p, ad_var v) {
    return normalize ? flow_transformer_normalize(t, p, v) : flow_transformer_generate(t, p, v);
}

// ---- values ---------------------------------------------------------------------------------------------------------

// n features of shared numbers through a transformer.
static void apply(const flow_transformer *t, bool normalize, bool by_feature, const double *raw, const double *v, int64_t n,
                  double *value, double *log_det) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    flow_parameters p = {ad_constant(tape, ad_shape1(n * t->P), raw), n, t->P, by_feature};
    flow_result r = both_ways(t, normalize, p, ad_constant(tape, ad_shape1(n), v));
    ad_keep(r.value);
    ad_var slopes = ad_is_none(r.log_det) ? AD_NONE : ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, value, n);
    for (int64_t i = 0; i < n; i++) log_det[i] = 0;
    if (!ad_is_none(slopes)) util_read(slopes, log_det, n);
    ad_tape_free(tape);
}

// Two features with parameters (0.4, -0.3) and (-1.2, 0.8), in either layout, and both ways.
static void check_affine(flow_affine_transformer_options o, double scale0, double scale1) {
    const double by_feature[4] = {0.4, -0.3, -1.2, 0.8}, by_parameter[4] = {0.4, -1.2, -0.3, 0.8}, v[2] = {1.5, -2};
    const double want[2] = {1.5 * scale0 - 0.3, -2 * scale1 + 0.8}, slopes[2] = {log(scale0), log(scale1)};
    double value[2], log_det[2], back[2];
    flow_transformer *t = flow_affine_transformer(&o, &layers_error);
    layers_assert_made(t);
    for (int layout = 0; layout < 2; layout++) {
        const double *raw = layout ? by_feature : by_parameter;
        apply(t, true, layout, raw, v, 2, value, log_det);
        util_assert_all_close(value, want, 2, 1e-14);
        util_assert_all_close(log_det, slopes, 2, 1e-14);
        apply(t, false, layout, raw, value, 2, back, log_det);
        util_assert_all_close(back, v, 2, 1e-14);
        util_assert_close(log_det[0], -slopes[0], 1e-14);
        util_assert_close(log_det[1], -slopes[1], 1e-14);
    }
    flow_transformer_free(t);
}

static double sigmoid(double r) {
    return 1 / (1 + exp(-r));
}

static void affine_scales_are_their_formulas(void **state) {
    (void)state;
    check_affine((flow_affine_transformer_options){.bound = 1.5}, exp(1.5 * tanh(0.4 / 1.5)), exp(1.5 * tanh(-1.2 / 1.5)));
    check_affine((flow_affine_transformer_options){.bound = INFINITY}, exp(0.4), exp(-1.2));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_EXP}, exp(0.4), exp(-1.2));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SOFTSIGN, .bound = 3}, exp(0.4 / (1 + 0.4 / 3)),
                 exp(-1.2 / (1 + 1.2 / 3)));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SOFTPLUS, .floor = 0.02}, log1p(exp(0.4)) + 0.02,
                 log1p(exp(-1.2)) + 0.02);
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SIGMOID}, sigmoid(2.4) + 1e-3, sigmoid(0.8) + 1e-3);
}

static void a_scale_alone_and_a_shift_alone(void **state) {
    (void)state;
    const double raw[2] = {0.4, -1.2}, v[2] = {1.5, -2};
    double value[2], log_det[2];
    flow_transformer *t = flow_affine_transformer(&(flow_affine_transformer_options){FLOW_SCALE_EXP, 0, 0, true}, &layers_error);
    layers_assert_made(t);
    assert_int_equal(t->P, 1);
    apply(t, true, true, raw, v, 2, value, log_det);
    util_assert_close(value[0], 1.5 * exp(0.4), 1e-15);
    util_assert_close(log_det[1], -1.2, 1e-15);
    flow_transformer_free(t);
    t = flow_additive_transformer(&layers_error);
    layers_assert_made(t);
    apply(t, true, true, raw, v, 2, value, log_det);
    assert_true(value[0] == 1.5 + 0.4 && value[1] == -2 + -1.2 && log_det[0] == 0);
    apply(t, false, false, raw, v, 2, value, log_det);
    assert_true(value[0] == 1.5 - 0.4 && value[1] == -2 - -1.2);
    flow_transformer_free(t);
}

// Both layouts give what ad_rational_quadratic gives of [n,P].
static void the_spline_is_the_op(void **state) {
    (void)state;
    enum { K = 4, P = 3 * K - 1 };
    double raw[3 * P], turned[3 * P], v[3] = {0.3, -1.9, 7}, value[3], log_det[3], want[6];
    util_fill(raw, 3 * P, 3, -2, 2);
    for (int i = 0; i < 3 * P; i++) turned[i % P * 3 + i / P] = raw[i];
    flow_spline_transformer_options o = {.bins = K, .spline = {.bound = 2}, .divide = 16};
    flow_transformer *t = flow_spline_transformer(&o, &layers_error);
    layers_assert_made(t);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_spline_options spline = {.bound = 2, .scale = 0.25};
    ad_var y = ad_keep(ad_rational_quadratic(ad_constant(tape, ad_shape1(3), v), ad_constant(tape, ad_shape2(3, P), raw),
                                             &spline, false));
    util_run(tape);
    util_read(y, want, 6);
    ad_tape_free(tape);
    for (int layout = 0; layout < 2; layout++) {
        apply(t, true, layout, layout ? raw : turned, v, 3, value, log_det);
        assert_memory_equal(value, want, sizeof value);
        assert_memory_equal(log_det, want + 3, sizeof log_det);
        apply(t, false, layout, layout ? raw : turned, value, 3, value, log_det);
        util_assert_all_close(value, v, 3, 1e-13);
        for (int i = 0; i < 3; i++) util_assert_close(log_det[i], -want[3 + i], 1e-12);
    }
    flow_transformer_free(t);
}

// Raw numbers that a type calls those of its identity.
static void starts_are_near_the_identity(void **state) {
    (void)state;
    for (const flow_transformer_type *const *type = flow_transformer_types(); *type; type++) {
        for (int i = 0; i < 20; i++) {
            flow_transformer *t = (*type)->example(i, &layers_error);
            layers_assert_made(t);
            const double v = 0.4;
            double value, log_det, *raw = calloc((size_t)t->P, sizeof *raw);
            if (t->type->identity) t->type->identity(t, raw);
            apply(t, true, true, raw, &v, 1, &value, &log_det);
            if (!(fabs(log_det) <= 0.15 && fabs(value - v) <= 0.1)) fail_msg("%s %d: %g, slope e^%g", t->type->name, i, value, log_det);
            free(raw);
            flow_transformer_free(t);
        }
    }
}

// ---- layers ---------------------------------------------------------------------------------------------------------

enum { CONFIGURATIONS = UTIL_SANITIZED ? 15 : 100 };

static void check_type(const char *name) {
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        if (strcmp((*type)->name, name) != 0) continue;
        for (int i = 0; i < CONFIGURATIONS; i++) {
            flow_layer *layer = (*type)->example(i, &layers_error);
            layers_assert_made(layer);
            flow_check_options o = {.seed = (uint64_t)i, .cases = 1};
            if (flow_check(layer, &o, &layers_error) != AD_OK) fail_msg("%s %d: %s", name, i, layers_error.message);
            flow_layer_free(layer);
        }
        return;
    }
    fail_msg("no type '%s'", name);
}

static void couplings_keep_the_laws(void **state) {
    (void)state;
    check_type("coupling");
}
static void autoregressive_layers_keep_the_laws(void **state) {
    (void)state;
    check_type("autoregressive");
}
static void elementwise_layers_keep_the_laws(void **state) {
    (void)state;
    check_type("elementwise");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affine_scales_are_their_formulas),
        cmocka_unit_test(a_scale_alone_and_a_shift_alone),
        cmocka_unit_test(the_spline_is_the_op),
        cmocka_unit_test(starts_are_near_the_identity),
        cmocka_unit_test(couplings_keep_the_laws),
        cmocka_unit_test(autoregressive_layers_keep_the_laws),
        cmocka_unit_test(elementwise_layers_keep_the_laws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
