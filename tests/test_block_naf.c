// test_block_naf.c -- block neural autoregressive layers: values against a loop over units, both ways to generate, what
// sees what, refusals.
#include "layers.h"

static flow_layer *made(int64_t D, int64_t C, const flow_block_naf_options *o) {
    flow_layer *layer = flow_block_naf(D, C, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// All parameters at random, gates of a half and more.
static void stir(const flow_layer *layer, uint64_t seed) {
    for (int i = 0; i < layer->owner.n_params; i++) {
        ad_param *p = layer->owner.params[i];
        const double low = strcmp(p->name, "gate") == 0 ? 0 : -1;
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, util_uniform(&seed, low, 1));
    }
}

static double get(const flow_layer *layer, char letter, int i, int64_t k) {
    char name[16];
    snprintf(name, sizeof name, "%c%d", letter, i);
    return ad_param_get(layers_param(layer, name), k);
}

// Map i of D blocks of in units (h, with their slopes in the feature of the block) to out units each.
static void apply(const flow_layer *layer, int i, int64_t out, int64_t in, const double *h, const double *rise,
                  double *next, double *next_rise) {
    const int64_t D = layer->x_shape.dim[0];
    for (int64_t r = 0; r < D * out; r++) {
        double sum = 0, up = 0, length = 0;
        for (int64_t c = 0; c < r / out * in; c++) {
            const double v = get(layer, 'V', i, r * D * in + c);
            sum += v * h[c];
            length += v * v;
        }
        for (int64_t c = 0; c < in; c++) {
            const double e = exp(5 * tanh(get(layer, 'E', i, r * in + c) / 5));
            sum += e * h[r / out * in + c];
            up += e * rise[r / out * in + c];
            length += e * e;
        }
        const double scale = exp(5 * tanh(get(layer, 's', i, r) / 5)) / sqrt(length);
        next[r] = scale * sum + get(layer, 'b', i, r);
        next_rise[r] = scale * up;
    }
}

static void values_are_the_formula(void **state) {
    (void)state;
    enum { D = 3, A = 2, N = 6 };
    flow_layer *layer = made(D, 0, &(flow_block_naf_options){.width = A, .layers = 2, .type = AD_F64});
    stir(layer, 3);
    double x[N * D], z[N * D], log_det[N], back[N * D], opposite[N];
    util_fill(x, N * D, 4, -2, 2);
    layers_run(layer, AD_F64, true, x, N, z, log_det);
    layers_run(layer, AD_F64, false, z, N, back, opposite);
    util_assert_all_close(back, x, N * D, 1e-13);
    for (int n = 0; n < N; n++) {
        double h[2][D * A], rise[2][D * A], sum = 0;
        for (int d = 0; d < D; d++) h[0][d] = x[n * D + d], rise[0][d] = 1;
        for (int i = 0; i < 3; i++) {
            const double *in = h[i % 2], *in_rise = rise[i % 2];
            double *out = h[1 - i % 2], *out_rise = rise[1 - i % 2];
            apply(layer, i, i < 2 ? A : 1, i ? A : 1, in, in_rise, out, out_rise);
            for (int k = 0; i < 2 && k < D * A; k++) {
                out[k] = tanh(out[k]);
                out_rise[k] *= 1 - out[k] * out[k];
            }
        }
        for (int d = 0; d < D; d++) {
            const double g = 1 / (1 + exp(-5 * tanh(ad_param_get(layers_param(layer, "gate"), d) / 5)));
            util_assert_close(z[n * D + d], (1 - g) * x[n * D + d] + g * h[1][d], 1e-13);
            sum += log(1 - g + g * rise[1][d]);
        }
        util_assert_close(log_det[n], sum, 1e-13);
        util_assert_close(opposite[n], -sum, 1e-12);
    }
    flow_layer_free(layer);
}

// Features that come all at once, in either order.
static void many_features_come_back(void **state) {
    (void)state;
    enum { D = 66, N = 3 };
    for (int reversed = 0; reversed < 2; reversed++) {
        flow_layer *layer =
            made(D, 0, &(flow_block_naf_options){.width = 2, .layers = 1, .reversed = reversed, .type = AD_F64});
        stir(layer, 5);
        double x[N * D], z[N * D], log_det[N], back[N * D], opposite[N], moved[N * D];
        util_fill(x, N * D, 6, -2, 2);
        layers_run(layer, AD_F64, true, x, N, z, log_det);
        layers_run(layer, AD_F64, false, z, N, back, opposite);
        util_assert_all_close(back, x, N * D, 1e-12);
        util_assert_close(log_det[1], -opposite[1], 1e-11);
        // The last feature of the order is seen by none of the others, the first by all.
        const int last = reversed ? 0 : D - 1, first = D - 1 - last;
        x[last] += 0.5;
        x[D + first] += 0.5;
        layers_run(layer, AD_F64, true, x, N, moved, log_det);
        for (int d = 0; d < D; d++) {
            assert_true((moved[d] != z[d]) == (d == last));
            assert_true(moved[D + d] != z[D + d]);
            assert_true(moved[2 * D + d] == z[2 * D + d]);
        }
        flow_layer_free(layer);
    }
}

// As it is; and, with gates all but open, the net by itself: one that does not rise learns nothing.
static void it_starts_near_the_identity(void **state) {
    (void)state;
    const int64_t widths[] = {0, 1, 5, 40};
    double x[20], z[20], log_det[5];
    util_fill(x, 20, 7, -2, 2);
    for (int i = 0; i < 16; i++) {
        const flow_block_naf_options o = {.width = widths[i % 4], .layers = 1 + i / 4, .seed = (uint64_t)i};
        flow_layer *layer = made(4, 0, &o);
        for (int open = 0; open < 2; open++) {
            ad_param *gate = layers_param(layer, "gate");
            for (int d = 0; open && d < 4; d++) ad_param_set(gate, d, 20);
            layers_run(layer, AD_F64, true, x, 5, z, log_det);
            util_assert_all_close(z, x, 20, open ? 1 : 0.25);
            for (int k = 0; k < 5; k++) util_assert_close(log_det[k], 0, open ? 4 : 0.6);
        }
        flow_layer_free(layer);
    }
}

// S = value . w + log_det, at points and in a parameter.
typedef struct probe {
    const flow_layer *layer;
    bool normalize;
} probe;

static ad_var weighted(void *arg, const ad_var *x) {
    static const double w[2] = {1, -0.7};
    const probe *p = arg;
    flow_result r =
        p->normalize ? flow_layer_normalize(p->layer, x[0], x[1]) : flow_layer_generate(p->layer, x[0], x[1]);
    return ad_add(ad_sum(ad_mul(r.value, ad_constant(x[0].tape, ad_shape1(2), w))), r.log_det);
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    flow_layer *layer = made(2, 1, &(flow_block_naf_options){.width = 2, .type = AD_F64});
    stir(layer, 8);
    for (int way = 0; way < 2; way++) {
        probe p = {layer, way};
        const ad_gradcheck_input inputs[] = {{.shape = ad_shape1(2), .rows = true},
                                             {.shape = ad_shape1(1), .rows = true}};
        const ad_gradcheck_options o = {.cases = 3};
        if (ad_gradcheck(weighted, &p, inputs, 2, &o, &layers_error) != AD_OK) {
            fail_msg("way %d: %s", way, layers_error.message);
        }
    }
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    typedef flow_block_naf_options options;
    ad_error *e = &layers_error;
    layers_assert_refused(flow_block_naf(0, 0, NULL, e), AD_EARG, "block naf: 0 features");
    layers_assert_refused(flow_block_naf(2, 0, &(options){.width = -1}, e), AD_EARG, "block naf: -1 units a feature");
    layers_assert_refused(flow_block_naf(2, 0, &(options){.layers = 17}, e), AD_EARG, "17 hidden layers");
    layers_assert_refused(flow_block_naf(2, 0, &(options){.bound = NAN}, e), AD_EARG, "bound nan");
    layers_assert_refused(flow_block_naf(2, 0, &(options){.type = (ad_type)2}, e), AD_EARG, "type 2");
}

// Units near their ends, where 1 - tanh^2 has no digits left in f32; gates of nearly 1.
static void log_det_in_f32_keeps_its_digits(void **state) {
    (void)state;
    enum { N = 101 };
    flow_layer *layer = made(1, 0, &(flow_block_naf_options){.width = 4, .seed = 1, .type = AD_F64});
    for (int i = 0; i < layer->owner.n_params; i++) {
        ad_param *p = layer->owner.params[i];
        const double gate = strcmp(p->name, "gate") == 0 ? 8 : 0, steep = p->name[0] == 's' ? 2.5 : gate;
        for (int64_t k = 0; steep > 0 && k < p->count; k++) ad_param_set(p, k, steep);
    }
    double x[N], z[N], narrow[N], wide[N];
    for (int i = 0; i < N; i++) x[i] = (i - N / 2) * 0x1p-6;
    layers_run(layer, AD_F32, true, x, N, z, narrow);
    layers_run(layer, AD_F64, true, x, N, z, wide);
    util_assert_all_close(narrow, wide, N, 1e-4);
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_the_formula),      cmocka_unit_test(many_features_come_back),
        cmocka_unit_test(it_starts_near_the_identity), cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(bad_options_are_refused),     cmocka_unit_test(log_det_in_f32_keeps_its_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
