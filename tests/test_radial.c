// test_radial.c -- the radial layer: reference values and gradients, its inverse, extremes, refusals.
#include "layers.h"

enum { P = 5, D = 3, B = 14 };
static const double bound = 20;

static flow_layer *radial(int64_t features, const flow_radial_options *o) {
    flow_layer *layer = flow_radial(features, 0, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// The raw parameter of a logarithm.
static double raw(double log_value) {
    return bound * atanh(log_value / bound);
}

static void set(const flow_layer *layer, const double *center, double alpha, double beta) {
    layers_set(layers_param(layer, "center"), center);
    ad_param_set(layers_param(layer, "log_alpha"), 0, raw(log(alpha)));
    ad_param_set(layers_param(layer, "log_stretch"), 0, raw(log1p(beta / alpha)));
}

typedef struct reference {
    npz file;
    flow_layer *layer;
    double *a, *beta, *center, *x, *y, *log_det;
} reference;

static reference open_reference(bool flip) {
    int64_t n;
    reference r = {.file = npz_open("radial_d3.npz")};
    r.layer = radial(D, &(flow_radial_options){.flip = flip, .bound = bound, .type = AD_F64});
    r.a = npz_array(&r.file, "a", &n);
    r.beta = npz_array(&r.file, "beta_hat", &n);
    r.center = npz_array(&r.file, "z0", &n);
    r.x = npz_array(&r.file, "x", &n);
    assert_int_equal(n, P * B * D);
    r.y = npz_array(&r.file, "y", &n);
    r.log_det = npz_array(&r.file, "log_det", &n);
    return r;
}

static void close_reference(reference *r) {
    double *all[] = {r->a, r->beta, r->center, r->x, r->y, r->log_det};
    for (int i = 0; i < 6; i++) free(all[i]);
    flow_layer_free(r->layer);
    npz_close(&r->file);
}

// Both directions, of all parameter sets, whichever has the paper's formula.
static void check_values(bool flip) {
    reference r = open_reference(flip);
    double y[B * D], x[B * D], log_det[B];
    for (int p = 0; p < P; p++) {
        set(r.layer, r.center + p * D, r.a[p], r.beta[p]);
        layers_run(r.layer, AD_F64, flip, r.x + p * B * D, B, y, log_det);
        util_assert_all_close(y, r.y + p * B * D, B * D, 1e-11);
        util_assert_all_close(log_det, r.log_det + p * B, B, 1e-11);
        layers_run(r.layer, AD_F64, !flip, r.y + p * B * D, B, x, log_det);
        util_assert_all_close(x, r.x + p * B * D, B * D, 1e-10);
        for (int i = 0; i < B; i++) util_assert_close(-log_det[i], r.log_det[p * B + i], 1e-9);
    }
    close_reference(&r);
}

static void both_directions_have_the_reference_values(void **state) {
    (void)state;
    check_values(false);
}

static void flipped_they_have_them_the_other_way(void **state) {
    (void)state;
    check_values(true);
}

// Gradients in alpha and beta come from those in their logarithms by the chain rule.
static void gradients_are_those_of_the_reference(void **state) {
    (void)state;
    reference r = open_reference(false);
    int64_t n;
    double *cot_y = npz_array(&r.file, "cot_y", &n), *cot_log_det = npz_array(&r.file, "cot_log_det", &n);
    double *grad_x = npz_array(&r.file, "grad_x", &n), *grad_center = npz_array(&r.file, "grad_z0", &n);
    double *grad_beta = npz_array(&r.file, "grad_beta", &n), *beta = npz_array(&r.file, "beta", &n), got[B * D];
    for (int p = 0; p < P; p++) {
        set(r.layer, r.center + p * D, r.a[p], r.beta[p]);
        layers_gradients(r.layer, false, r.x + p * B * D, B, cot_y + p * B * D, cot_log_det + p * B, got);
        util_assert_all_close(got, grad_x + p * B * D, B * D, 1e-9);
        util_assert_all_close((double *)layers_param(r.layer, "center")->grad, grad_center + p * D, D, 1e-9);
        // d raw / d beta, beta_hat = softplus(beta) - a: log k = log(softplus(beta) / a).
        const double sum = r.a[p] + r.beta[p], log_k = log(sum / r.a[p]);
        const double slope = 1 / (1 - pow(log_k / bound, 2)) / sum / (1 + exp(-beta[p]));
        util_assert_close(((double *)layers_param(r.layer, "log_stretch")->grad)[0] * slope, grad_beta[p], 1e-9);
    }
    double *all[] = {cot_y, cot_log_det, grad_x, grad_center, grad_beta, beta};
    for (int i = 0; i < 6; i++) free(all[i]);
    close_reference(&r);
}

static void it_starts_as_the_identity(void **state) {
    (void)state;
    flow_layer *layer = radial(3, &(flow_radial_options){.seed = 9, .type = AD_F64});
    const double x[3] = {0.5, -1, 2};
    double z[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_all_close(z, x, 3, 1e-15);
    util_assert_close(log_det, 0, 1e-15);
    flow_layer_free(layer);
}

// Whatever training does to the two numbers, points near and far go there and back, in f32.
static void nothing_overflows(void **state) {
    (void)state;
    enum { N = 6 };
    const double x[N * 2] = {0, 0, 1e-20, 0, 1, -1, 1e4, 1e4, -1e15, 3, 1e18, -1e18}, zeros[2] = {0, 0},
                       ones[N] = {1, 1};
    flow_layer *layer = radial(2, NULL);
    for (int i = 0; i < 4; i++) {
        double y[N * 2], back[N * 2], log_det[N], back_det[N], gradient[N * 2], cot[N * 2];
        layers_set(layers_param(layer, "center"), zeros);
        ad_param_set(layers_param(layer, "log_alpha"), 0, i % 2 ? 1e30 : -1e30);
        ad_param_set(layers_param(layer, "log_stretch"), 0, i / 2 ? 1e30 : -1e30);
        layers_run(layer, AD_F32, false, x, N, y, log_det);
        layers_run(layer, AD_F32, true, y, N, back, back_det);
        for (int k = 0; k < N * 2; k++) assert_true(fabs(back[k] - x[k]) <= 1e-3 * (1e-20 + fabs(x[k])));
        for (int k = 0; k < N; k++) util_assert_close(back_det[k], -log_det[k], 1e-4);
        for (int k = 0; k < N * 2; k++) cot[k] = 1;
        layers_gradients(layer, true, y, N, cot, ones, gradient);
        for (int k = 0; k < N * 2; k++) assert_true(isfinite(gradient[k]));
    }
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    flow_radial_options wide = {.bound = 21}, nan = {.bound = (double)NAN};
    flow_radial_options wrong = {.net = flow_mlp(3, 5, NULL, NULL)}, needless = {.net = flow_mlp(3, 4, NULL, NULL)};
    layers_assert_refused(flow_radial(0, 0, NULL, &layers_error), AD_EARG, "radial: 0 features");
    layers_assert_refused(flow_radial(2, 0, &wide, &layers_error), AD_EARG, "radial: bound 21");
    layers_assert_refused(flow_radial(2, 0, &nan, &layers_error), AD_EARG, "radial: bound nan");
    layers_assert_refused(flow_radial(2, 3, &wrong, &layers_error), AD_ESHAPE, "[3] -> [5], expected [3] -> [4]");
    layers_assert_refused(flow_radial(2, 0, &needless, &layers_error), AD_EARG, "radial: a net, but no context");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_directions_have_the_reference_values),
        cmocka_unit_test(flipped_they_have_them_the_other_way),
        cmocka_unit_test(gradients_are_those_of_the_reference),
        cmocka_unit_test(it_starts_as_the_identity),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
