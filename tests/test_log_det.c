// test_log_det.c -- log_det of many layers and features: added in f64, rounded once.
#include "layers.h"

enum { LAYERS = 64, D = 3072, N = 2 };

// Layers of slopes from 0.8 to 1.5 each, so that terms of either sign add up to thousands.
static flow_layer *deep(void) {
    flow_layer *layers[LAYERS];
    uint64_t seed = 5;
    for (int i = 0; i < LAYERS; i++) {
        const char *const maps[3] = {"sinh arcsinh", "symlog", "leaky relu"};
        flow_bijector_options o = {.learn = true, .a = i % 3 == 1 ? 0.05 : i % 3 == 2 ? 0.8 : 0};
        layers[i] = flow_bijector(D, maps[i % 3], &o, &layers_error);
        layers_assert_made(layers[i]);
        for (int p = 0; p < layers[i]->owner.n_params; p++) {
            ad_param *param = layers[i]->owner.params[p];
            for (int64_t k = 0; k < D; k++) ad_param_set(param, k, util_uniform(&seed, -0.01, 0.01));
        }
    }
    flow_layer *chain = flow_chain(layers, LAYERS, &layers_error);
    layers_assert_made(chain);
    return chain;
}

// Within 1e-6 nats a feature of what f64 gives throughout; sums in f32 would miss that by a hundred times.
static void it_is_accumulated_in_f64(void **state) {
    (void)state;
    flow_layer *layer = deep();
    double *x = calloc(4 * N * D, sizeof *x), *z = x + N * D, *value = z + N * D, wide[N], narrow[N];
    util_fill(x, N * D, 1, -1.5, 1.5);
    for (int normalize = 1; normalize >= 0; normalize--) {
        double *in = normalize ? x : z;
        for (int64_t i = 0; i < N * D; i++) in[i] = (double)(float)in[i];
        layers_run(layer, AD_F64, normalize, in, N, normalize ? z : value, wide);
        layers_run(layer, AD_F32, normalize, in, N, value, narrow);
        for (int r = 0; r < N; r++) {
            assert_true(fabs(wide[r]) > 1000);
            if (!(fabs(narrow[r] - wide[r]) <= 1e-6 * D)) fail_msg("%.9g in f32, %.9g in f64", narrow[r], wide[r]);
        }
    }
    free(x);
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(it_is_accumulated_in_f64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
