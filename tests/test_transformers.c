// test_transformers.c -- element maps and the layers on them: values, starts, ways to invert, who sees whom, refusals,
// files.
#include <jansson.h>

#include "files.h"
#include "layers.h"

static flow_result both_ways(const flow_transformer *t, bool normalize, flow_parameters p, ad_var v) {
    return normalize ? flow_transformer_normalize(t, p, v) : flow_transformer_generate(t, p, v);
}

// ---- values ---------------------------------------------------------------------------------------------------------

// n features of shared numbers through a transformer.
static void apply(const flow_transformer *t, bool normalize, bool by_feature, const double *raw, const double *v,
                  int64_t n, double *value, double *log_det) {
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
    check_affine((flow_affine_transformer_options){.bound = 1.5}, exp(1.5 * tanh(0.4 / 1.5)),
                 exp(1.5 * tanh(-1.2 / 1.5)));
    check_affine((flow_affine_transformer_options){.bound = INFINITY}, exp(0.4), exp(-1.2));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_EXP}, exp(0.4), exp(-1.2));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SOFTSIGN, .bound = 3}, exp(0.4 / (1 + 0.4 / 3)),
                 exp(-1.2 / (1 + 1.2 / 3)));
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SOFTPLUS, .floor = 0.02}, log1p(exp(0.4)) + 0.02,
                 log1p(exp(-1.2)) + 0.02);
    check_affine((flow_affine_transformer_options){.scale = FLOW_SCALE_SIGMOID}, sigmoid(2.4) + 1e-3,
                 sigmoid(0.8) + 1e-3);
}

static void a_scale_alone_and_a_shift_alone(void **state) {
    (void)state;
    const double raw[2] = {0.4, -1.2}, v[2] = {1.5, -2};
    double value[2], log_det[2];
    flow_transformer *t =
        flow_affine_transformer(&(flow_affine_transformer_options){FLOW_SCALE_EXP, 0, 0, true}, &layers_error);
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
    ad_var y = ad_keep(ad_rational_quadratic(ad_constant(tape, ad_shape1(3), v),
                                             ad_constant(tape, ad_shape2(3, P), raw), &spline, false));
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

// A bijector starts as the map that it is, a censored mixture as near as its components come: see its own test.
static bool starts_elsewhere(const flow_transformer_type *type) {
    return strcmp(type->name, "bijector") == 0 || strcmp(type->name, "censored mixture") == 0;
}

// Raw numbers that a type calls those of its identity.
static void starts_are_near_the_identity(void **state) {
    (void)state;
    for (const flow_transformer_type *const *type = flow_transformer_types(); *type; type++) {
        if (starts_elsewhere(*type)) continue;
        for (int i = 0; i < 20; i++) {
            flow_transformer *t = (*type)->example(*type, i, &layers_error);
            layers_assert_made(t);
            const double v = 0.4;
            double value, log_det, *raw = calloc((size_t)t->P, sizeof *raw);
            if (t->type->identity) t->type->identity(t, raw);
            apply(t, true, true, raw, &v, 1, &value, &log_det);
            if (!(fabs(log_det) <= 0.15 && fabs(value - v) <= 0.1))
                fail_msg("%s %d: %g, slope e^%g", t->type->name, i, value, log_det);
            free(raw);
            flow_transformer_free(t);
        }
    }
}

// ---- laws -----------------------------------------------------------------------------------------------------------

// Configuration i of a transformer's in one layer or another: couplings give parameters by its layout, masked nets by
// feature.
static flow_layer *layer_of(flow_transformer *t, int i) {
    const int64_t D = 1 + i % 3, C = i % 4 == 3 || (i % 3 == 0 && D == 1) ? 2 : 0;
    const flow_mlp_options mlp = {
        .layers = 1, .width = 5, .activation = FLOW_TANH, .seed = (uint64_t)i, .type = AD_F64};
    const flow_elementwise_options elementwise = {.inverse = i % 2, .type = AD_F64, .mlp = mlp};
    const flow_coupling_options coupling = {.inverse = i % 2, .mlp = mlp};
    const flow_autoregressive_options autoregressive = {.inverse = i % 2, .made = {.mlp = mlp}};
    if (i / 3 % 3 == 0 && (D > 1 || C > 0)) return flow_coupling(D, C, t, &coupling, &layers_error);
    if (i / 3 % 3 == 1 && !t->type->jointly) return flow_autoregressive(D, C, t, &autoregressive, &layers_error);
    return flow_elementwise(D, C, t, &elementwise, &layers_error);
}

static void every_transformer_keeps_the_laws(void **state) {
    (void)state;
    for (const flow_transformer_type *const *type = flow_transformer_types(); *type; type++) {
        for (int i = 0; i < (UTIL_SANITIZED ? 6 : 18); i++) {
            flow_transformer *t = (*type)->example(*type, i, &layers_error);
            layers_assert_made(t);
            flow_layer *layer = layer_of(t, i);
            layers_assert_made(layer);
            const flow_check_options o = {.cases = 1, .spread = 0.7, .seed = (uint64_t)i};
            if (flow_check(layer, &o, &layers_error) != AD_OK) {
                fail_msg("%s %d: %s", (*type)->name, i, layers_error.message);
            }
            flow_layer_free(layer);
        }
    }
}

static void examples_of_transformers_do_not_end(void **state) {
    (void)state;
    for (const flow_transformer_type *const *type = flow_transformer_types(); *type; type++) {
        for (int i = 0; i < 200; i++) {
            flow_transformer *t = (*type)->example(*type, i, &layers_error);
            layers_assert_made(t);
            flow_transformer_free(t);
        }
    }
}

// ---- couplings ------------------------------------------------------------------------------------------------------

// nflows's affine coupling: scale sigmoid(r + 2) + 1e-3, its net giving shifts first.
static flow_layer *nflows_coupling(const npz *file, int i, const double *mask) {
    bool kept[4];
    for (int d = 0; d < 4; d++) kept[d] = mask[d] == 0;
    const flow_coupling_options o = {.kept = kept,
                                     .mlp = {.layers = 2, .width = 16, .activation = FLOW_TANH, .type = AD_F64}};
    flow_transformer *t =
        flow_affine_transformer(&(flow_affine_transformer_options){.scale = FLOW_SCALE_SIGMOID}, &layers_error);
    flow_layer *layer = flow_coupling(4, 0, t, &o, &layers_error);
    layers_assert_made(layer);
    const flow_owner *net = layers_part(layer, "net");
    for (int k = 0; k < net->n_params; k++) {
        char name[40];
        int64_t n;
        snprintf(name, sizeof name, "l%d_%.20s", i, net->params[k]->name);
        double *values = npz_array(file, name, &n);
        assert_int_equal(n, net->params[k]->count);
        const int64_t half = k >= 4 ? n / 2 : 0;  // of the last map
        for (int64_t e = 0; e < n; e++) ad_param_set(net->params[k], e, values[(e + half) % n]);
        free(values);
    }
    return layer;
}

static void compare(const npz *file, const char *name, const double *got, double tolerance) {
    int64_t n;
    double *want = npz_array(file, name, &n);
    util_assert_all_close(got, want, n, tolerance);
    free(want);
}

static void a_coupling_has_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("realnvp_sigmoid_d4.npz");
    int64_t n;
    double *masks = npz_array(&file, "masks", &n), *x = npz_array(&file, "x", &n), *z = npz_array(&file, "z", &n);
    flow_layer *layers[2];
    for (int i = 0; i < 2; i++) layers[i] = nflows_coupling(&file, i, masks + 4 * i);
    flow_layer *chain = flow_chain(layers, 2, &layers_error);
    layers_assert_made(chain);
    double value[64], log_det[16];
    assert_int_equal(n, 64);
    layers_run(chain, AD_F64, true, x, 16, value, log_det);
    compare(&file, "z", value, 1e-11);
    compare(&file, "log_det", log_det, 1e-11);
    layers_run(chain, AD_F64, false, z, 16, value, log_det);
    compare(&file, "x_inv", value, 1e-11);
    flow_layer_free(chain);
    free(masks), free(x), free(z);
    npz_close(&file);
}

static void stir(const flow_owner *owner, uint64_t *seed, double size) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, util_uniform(seed, -size, size));
    }
    for (int i = 0; i < owner->n_parts; i++) stir(owner->parts[i].owner, seed, size);
}

// A layer with everything at random.
static flow_layer *stirred(flow_layer *layer, double size) {
    uint64_t seed = 6;
    layers_assert_made(layer);
    stir(&layer->owner, &seed, size);
    return layer;
}

static flow_transformer *additive(void) {
    return flow_additive_transformer(&layers_error);
}

// Which of six features a layer changes, as bits.
static unsigned changed_by(flow_coupling_options o) {
    o.mlp.type = AD_F64;
    flow_layer *layer = stirred(flow_coupling(6, 0, additive(), &o, &layers_error), 1);
    const double x[6] = {0.4, -0.9, 0.2, 1.3, -0.5, 0.8};
    double z[6], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    assert_true(log_det == 0);
    unsigned changed = 0;
    for (int d = 0; d < 6; d++) changed |= (z[d] != x[d] ? 1u : 0u) << d;
    flow_layer_free(layer);
    return changed;
}

// ---- masks: which parts couplings keep
// -------------------------------------------------------------------------------

static void a_mask_of_halves(void **state) {
    (void)state;
    assert_int_equal(changed_by((flow_coupling_options){.split = 0}), 0x38);
    assert_int_equal(changed_by((flow_coupling_options){.keep = FLOW_KEEP_SECOND}), 0x07);
    assert_int_equal(changed_by((flow_coupling_options){.split = 5}), 0x20);
}

static void a_mask_of_every_other_feature(void **state) {
    (void)state;
    assert_int_equal(changed_by((flow_coupling_options){.alternate = true}), 0x2a);
    assert_int_equal(changed_by((flow_coupling_options){.alternate = true, .keep = FLOW_KEEP_SECOND}), 0x15);
}

// Of a picture of two rows: 101 over 010. Of one row it is every other feature.
static void a_mask_as_a_checkerboard(void **state) {
    (void)state;
    assert_int_equal(changed_by((flow_coupling_options){.width = 3}), 0x2a);
    assert_int_equal(changed_by((flow_coupling_options){.width = 2}), 0x26);  // 10 over 01 over 10
    assert_int_equal(changed_by((flow_coupling_options){.width = 2, .keep = FLOW_KEEP_SECOND}), 0x19);
    assert_int_equal(changed_by((flow_coupling_options){.width = 6}), 0x2a);
    assert_int_equal(changed_by((flow_coupling_options){.width = 1}), 0x2a);
}

static void a_mask_given(void **state) {
    (void)state;
    const bool kept[6] = {false, true, true, false, true, true};
    assert_int_equal(changed_by((flow_coupling_options){.kept = kept}), 0x09);
    assert_int_equal(changed_by((flow_coupling_options){.kept = kept, .alternate = true, .shuffle = true}), 0x09);
}

static void a_mask_at_random(void **state) {
    (void)state;
    unsigned different = 0;
    for (uint64_t seed = 0; seed < 6; seed++) {
        flow_coupling_options o = {.shuffle = true, .seed = seed, .split = 2};
        const unsigned some = changed_by(o);
        int n = 0;
        for (int d = 0; d < 6; d++) n += some >> d & 1;
        assert_int_equal(n, 4);
        assert_int_equal(some, changed_by(o));
        o.keep = FLOW_KEEP_SECOND;
        assert_int_equal(some ^ changed_by(o), 0x3f);  // the other part
        different |= some ^ changed_by((flow_coupling_options){.shuffle = true, .seed = seed + 1, .split = 2});
    }
    assert_int_not_equal(different, 0);
}

// Kept features through a map of their own; the net sees them on the data side.
static void kept_features_may_have_a_map(void **state) {
    (void)state;
    const double x[2] = {0.7, -0.4};
    double z[2][2], log_det[2], back[2];
    for (int i = 0; i < 2; i++) {
        flow_coupling_options o = {.mlp = {.layers = 1, .type = AD_F64}};
        if (i)
            o.kept_transformer =
                flow_affine_transformer(&(flow_affine_transformer_options){.bound = INFINITY}, &layers_error);
        flow_layer *layer = flow_coupling(2, 0, additive(), &o, &layers_error);
        layers_assert_made(layer);
        uint64_t seed = 6;
        stir(layers_part(layer, "net"), &seed, 1);
        if (i) layers_set(layers_param(layer, "kept_raw"), (const double[]){0.5, 0.25});
        layers_run(layer, AD_F64, true, x, 1, z[i], &log_det[i]);
        layers_run(layer, AD_F64, false, z[i], 1, back, &log_det[0]);
        util_assert_all_close(back, x, 2, 1e-14);
        flow_layer_free(layer);
    }
    assert_true(z[0][0] == x[0]);
    util_assert_close(z[1][0], 0.7 * exp(0.5) + 0.25, 1e-15);
    assert_true(z[1][1] == z[0][1]);
    util_assert_close(log_det[1], 0.5, 1e-15);
}

// inverse swaps the directions, to the bit; so does flow_inverse.
static void inverse_swaps_the_directions(void **state) {
    (void)state;
    double x[12], value[3][2][12], log_det[3][2][4];
    util_fill(x, 12, 5, -1, 1);
    for (int i = 0; i < 3; i++) {
        flow_coupling_options o = {.inverse = i == 1, .mlp = {.type = AD_F64}};
        flow_transformer *t = flow_affine_transformer(NULL, &layers_error);
        flow_layer *layer = stirred(flow_coupling(3, 0, t, &o, &layers_error), 0.5);
        if (i == 2) layer = flow_inverse(layer, &layers_error);
        layers_assert_made(layer);
        layers_run(layer, AD_F64, true, x, 4, value[i][0], log_det[i][0]);
        layers_run(layer, AD_F64, false, x, 4, value[i][1], log_det[i][1]);
        flow_layer_free(layer);
    }
    for (int i = 1; i < 3; i++) {
        assert_memory_equal(value[i][0], value[0][1], sizeof value[0][1]);
        assert_memory_equal(value[i][1], value[0][0], sizeof value[0][0]);
        assert_memory_equal(log_det[i][0], log_det[0][1], sizeof log_det[0][1]);
    }
    assert_memory_not_equal(value[0][0], value[0][1], sizeof value[0][0]);
}

// ---- elementwise layers, splits -------------------------------------------------------------------------------------

static void an_elementwise_layer_has_numbers_of_each_feature(void **state) {
    (void)state;
    flow_transformer *t =
        flow_affine_transformer(&(flow_affine_transformer_options){.scale = FLOW_SCALE_EXP}, &layers_error);
    flow_layer *layer = flow_elementwise(3, 0, t, &(flow_elementwise_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    layers_set(layers_param(layer, "raw"), (const double[]){0.1, 0.2, 0.3, 1, 2, 3});
    const double x[3] = {2, 2, 2};
    double z[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    for (int d = 0; d < 3; d++) util_assert_close(z[d], 2 * exp(0.1 * (d + 1)) + d + 1, 1e-14);
    util_assert_close(log_det, 0.6, 1e-14);
    flow_layer_free(layer);
}

static void a_split_is_its_layers_side_by_side(void **state) {
    (void)state;
    flow_layer *layers[3] = {flow_permutation(2, NULL, &layers_error), flow_standardise(1, NULL, &layers_error),
                             flow_standardise(2, NULL, &layers_error)};
    flow_layer *split = flow_split(layers, 3, &layers_error);
    flow_model *model = flow_model_new(split, flow_standard_normal(5, &layers_error), &layers_error);
    layers_assert_made(model);
    const double x[10] = {1, 2, 10, 5, 6, 3, 4, 30, 9, 14};
    const double want[10] = {2, 1, -1, -1, -1, 4, 3, 1, 1, 1};
    double z[10], log_det[2];
    assert_int_equal(flow_init_from_data(model, &(flow_rows){.x = util_source(x, 2)}, &layers_error), AD_OK);
    layers_run(split, AD_F64, true, x, 2, z, log_det);
    util_assert_all_close(z, want, 10, 1e-6);  // states are f32
    util_assert_close(log_det[0], -log(10 * 2 * 4), 1e-6);
    flow_model_free(model);
}

static void an_all_in_one_block_is_a_layer(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const flow_all_in_one_options o = {
            .coupling = {.mlp = {.width = 6, .activation = FLOW_TANH, .type = AD_F64}}, .hard = i % 2, .seed = 3};
        flow_layer *block = flow_all_in_one(3, i / 2, &o, &layers_error);
        layers_assert_made(block);
        assert_false(block->initialised);  // actnorm waits for data
        if (flow_check(block, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
        flow_layer_free(block);
    }
}

// ---- any parameters, any points -------------------------------------------------------------------------------------

// In f32, in units of what rounding costs: in x that of z, or in z that of x. Parameters depend on features before, so
// that of more than one feature the round trip is theirs, too: one feature, given a context.
static void splines_come_back_as_well_as_they_can(void **state) {
    (void)state;
    enum { ROWS = 200 };
    double x[ROWS], z[ROWS], back[ROWS], again[ROWS], log_det[ROWS], unused[ROWS];
    uint64_t seed = 12;
    for (int i = 0; i < (UTIL_SANITIZED ? 5 : 50); i++) {
        flow_layer *layer = flow_elementwise(1, 0, flow_spline_transformer(NULL, &layers_error), NULL, &layers_error);
        layers_assert_made(layer);
        const double scale = 0.1 * pow(1000, util_uniform(&seed, 0, 1));
        stir(&layer->owner, &seed, scale);
        for (int r = 0; r < ROWS; r++) x[r] = (double)(float)util_uniform(&seed, -3.5, 3.5);
        layers_run(layer, AD_F32, true, x, ROWS, z, log_det);
        layers_run(layer, AD_F32, false, z, ROWS, back, unused);
        layers_run(layer, AD_F32, true, back, ROWS, again, unused);
        for (int r = 0; r < ROWS; r++) {
            const double unit = 3 * 0x1p-23, slope = exp(log_det[r]);
            assert_true(isfinite(z[r]) && isfinite(log_det[r]) && isfinite(back[r]));
            if (fabs(x[r]) > 3) assert_true(z[r] == x[r] && back[r] == x[r]);
            if (!(fabs(back[r] - x[r]) <= 4 * unit * (1 + 1 / slope)) &&
                !(fabs(again[r] - z[r]) <= 4 * unit * (1 + slope))) {
                fail_msg("from %.9g by %.9g of slope %g to %.9g", x[r], z[r], slope, back[r]);
            }
        }
        flow_layer_free(layer);
    }
}

// Nets gone wild give finite numbers where scales are bounded.
static void wild_nets_give_finite_numbers(void **state) {
    (void)state;
    double x[400], z[400], log_det[100];
    util_fill(x, 400, 8, -100, 100);
    for (int i = 0; i < 12; i++) {
        const flow_affine_transformer_options affine = {.scale = i % 2 ? FLOW_SCALE_TANH : FLOW_SCALE_SIGMOID};
        flow_transformer *t = i % 3 == 0   ? flow_affine_transformer(&affine, &layers_error)
                              : i % 3 == 1 ? flow_spline_transformer(NULL, &layers_error)
                                           : additive();
        flow_layer *layer = stirred(
            i < 6 ? flow_coupling(4, 0, t, NULL, &layers_error) : flow_autoregressive(4, 0, t, NULL, &layers_error),
            30);
        for (int way = 0; way < 4; way++) {
            layers_run(layer, (ad_type)(way / 2), way % 2, x, 100, z, log_det);
            for (int k = 0; k < 400; k++) {
                if (!isfinite(z[k]) || !isfinite(log_det[k / 4]))
                    fail_msg("case %d, way %d: %g, %g", i, way, z[k], log_det[k / 4]);
            }
        }
        flow_layer_free(layer);
    }
}

// ---- a transformer of one's own -------------------------------------------------------------------------------------

// z = v^3 / 3 + e^a v: increasing; back by ad_root.
typedef struct cubing {
    ad_var a, z;
} cubing;
static ad_var cube(ad_var a, ad_var v) {
    return ad_add(ad_scale(ad_mul(v, ad_square(v)), 1 / 3.), ad_mul(ad_exp(a), v));
}
static ad_var cube_residual(void *arg, ad_var v) {
    const cubing *c = arg;
    return ad_sub(cube(c->a, v), c->z);
}
static ad_var cube_slope(ad_var a, ad_var v) {
    return ad_log(ad_add(ad_square(v), ad_exp(a)));
}
static flow_result cube_normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)t;
    ad_var a = flow_parameter(p, 0);
    return (flow_result){cube(a, v), cube_slope(a, v)};
}
static flow_result cube_generate(const flow_transformer *t, flow_parameters p, ad_var z) {
    (void)t;
    cubing c = {flow_parameter(p, 0), z};
    ad_var v = ad_root(z, cube_residual, &c, NULL).value;
    return (flow_result){v, ad_neg(cube_slope(c.a, v))};
}
static json_t *cube_describe(const flow_transformer *t) {
    (void)t;
    return json_object();
}
static flow_transformer *cube_make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                                   ad_error *error) {
    (void)options, (void)making;
    return flow_transformer_new(type, sizeof(flow_transformer), 1, error);
}
static const flow_transformer_type cube_type = {.name = "cube",
                                                .normalize = cube_normalize,
                                                .generate = cube_generate,
                                                .describe = cube_describe,
                                                .make = cube_make};

static void own_transformers_go_into_every_layer(void **state) {
    (void)state;
    const flow_coupling_options coupling = {.mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH}};
    const flow_autoregressive_options autoregressive = {.made = {.mlp = coupling.mlp}};
    flow_layer *layers[3] = {
        flow_coupling(3, 0, cube_make(&cube_type, NULL, NULL, &layers_error), &coupling, &layers_error),
        flow_autoregressive(3, 0, cube_make(&cube_type, NULL, NULL, &layers_error), &autoregressive, &layers_error),
        flow_elementwise(3, 0, cube_make(&cube_type, NULL, NULL, &layers_error), NULL, &layers_error)};
    flow_model *model =
        flow_model_new(flow_chain(layers, 3, &layers_error), flow_standard_normal(3, &layers_error), &layers_error);
    layers_assert_made(model);
    const flow_transformer_type *const types[] = {&cube_type, NULL};
    const flow_load_options own = {.transformers = types};
    const flow_check_options light = {.cases = 1, .spread = 0.5, .load = &own};
    if (flow_check_model(model, &light, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    assert_int_equal(flow_save(model, files_path("cube.safetensors"), &layers_error), AD_OK);
    assert_null(flow_load(files_path("cube.safetensors"), NULL, &layers_error));
    util_assert_contains(layers_error.message, "unknown transformer 'cube'");
    flow_model *loaded = flow_load(files_path("cube.safetensors"), &own, &layers_error);
    layers_assert_made(loaded);
    char *text[2] = {flow_describe(model), flow_describe(loaded)};
    assert_string_equal(text[0], text[1]);
    free(text[0]), free(text[1]);
    flow_model_free(model);
    flow_model_free(loaded);
}

// Of a range: a layer has the same, and takes no other transformer of another.
static flow_transformer *boxed(double low, double high) {
    flow_transformer *t = cube_make(&cube_type, NULL, NULL, &layers_error);
    layers_assert_made(t);
    t->low = low, t->high = high;
    t->z_low = -1, t->z_high = 2;
    return t;
}

static void a_layer_lies_where_its_transformer_does(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        flow_layer *layer =
            flow_elementwise(2, 0, boxed(0, INFINITY), &(flow_elementwise_options){.inverse = i}, &layers_error);
        layers_assert_made(layer);
        assert_true((i ? layer->z_low : layer->low) == 0 && isinf(i ? layer->z_high : layer->high));
        assert_true((i ? layer->low : layer->z_low) == -1 && (i ? layer->high : layer->z_high) == 2);
        flow_layer_free(layer);
    }
    flow_coupling_options o = {.kept_transformer = boxed(0, 1)};
    flow_layer *coupling = flow_coupling(2, 0, boxed(0, 1), &o, &layers_error);
    layers_assert_made(coupling);
    assert_true(coupling->low == 0 && coupling->high == 1 && coupling->z_low == -1 && coupling->z_high == 2);
    flow_layer_free(coupling);
    o.kept_transformer = boxed(-5, -4);
    assert_null(flow_coupling(2, 0, boxed(0, 1), &o, &layers_error));
    util_assert_contains(layers_error.message, "coupling: the transformer cube takes features to another range");
    assert_null(flow_coupling(2, 0, boxed(0, 1), NULL, &layers_error));
    util_assert_contains(layers_error.message, "than those kept");
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void refused(flow_layer *layer, const char *words) {
    if (layer) fail_msg("not refused: %s", words);
    util_assert_contains(layers_error.message, words);
}

#define E &layers_error

static void bad_options_are_refused(void **state) {
    (void)state;
    const bool all[3] = {true, true, true}, none[3] = {false};
    refused(flow_coupling(1, 0, additive(), NULL, E), "nothing to condition on");
    refused(flow_coupling(0, 0, additive(), NULL, E), "coupling: 0 features");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.kept = all}, E), "none is changed");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.width = 2}, E), "3 features are no picture 2 wide");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.width = -1}, E), "no picture -1 wide");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.split = -1}, E), "split -1");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.keep = (flow_half)2}, E), "keep is 2");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.bound = 2}, E),
            "bound 2 is flow_affine_coupling's");
    refused(flow_coupling(3, 0, additive(), &(flow_coupling_options){.conditioner = (flow_conditioner)2}, E),
            "conditioner is 2");
    refused(flow_coupling(3, 1, additive(), &(flow_coupling_options){.kept = none, .kept_transformer = additive()}, E),
            "none is kept");
    refused(flow_coupling(3, 0, additive(),
                          &(flow_coupling_options){.net = flow_mlp(2, 2, NULL, E), .kept_transformer = additive()}, E),
            "the net is [2] -> [2], expected [2] -> [1]");
    refused(flow_autoregressive(3, 0, additive(), &(flow_autoregressive_options){.bound = 1}, E),
            "a transformer has its own");
    refused(flow_autoregressive(3, 0, additive(), &(flow_autoregressive_options){.solve = (flow_solve)3}, E),
            "solve is 3");
    refused(flow_autoregressive(3, 0, additive(), &(flow_autoregressive_options){.passes = -1}, E), "-1 passes");
    refused(flow_autoregressive(3, 0, additive(), &(flow_autoregressive_options){.tolerance = 1}, E), "tolerance 1:");
    refused(flow_autoregressive(3, 0, additive(), &(flow_autoregressive_options){.net = flow_mlp(3, 3, NULL, E)}, E),
            "not a made of 3 features, context 0 and 1 outputs");
    refused(flow_elementwise(3, 0, additive(), &(flow_elementwise_options){.net = flow_mlp(3, 3, NULL, E)}, E),
            "no context");
    refused(flow_elementwise(3, 2, additive(), &(flow_elementwise_options){.net = flow_mlp(3, 3, NULL, E)}, E),
            "the net is [3] -> [3], expected [2] -> [3]");
    refused(flow_elementwise(0, 0, additive(), NULL, E), "elementwise: 0 features");
    assert_null(flow_affine_transformer(&(flow_affine_transformer_options){.floor = -1}, E));
    util_assert_contains(layers_error.message, "floor -1");
    // Whose reciprocals are no numbers in f32: such a scale is NaN.
    assert_null(flow_affine_transformer(&(flow_affine_transformer_options){.bound = 1e-300}, E));
    util_assert_contains(layers_error.message, "bound 1e-300");
    assert_null(flow_affine_transformer(&(flow_affine_transformer_options){.bound = 1e300}, E));
    util_assert_contains(layers_error.message, "bound 1e+300");
    assert_null(flow_affine_transformer(&(flow_affine_transformer_options){.floor = 1e300}, E));
    util_assert_contains(layers_error.message, "floor 1e+300");
    assert_null(flow_spline_transformer(&(flow_spline_transformer_options){.bins = 5000}, E));
    util_assert_contains(layers_error.message, "5000 bins");
    assert_null(flow_transformer_new(&cube_type, sizeof(flow_transformer), 0, E));
    util_assert_contains(layers_error.message, "cube: 0 parameters a feature");
}

// A constructor that failed leaves its own message.
static void a_missing_part_is_passed_on(void **state) {
    (void)state;
    const flow_spline_transformer_options bad = {.bins = 1};
    const flow_coupling_options o = {.net = flow_mlp(1, 1, NULL, E), .kept_transformer = additive()};
    refused(flow_coupling(2, 0, flow_spline_transformer(&bad, E), &o, E), "1 bins");
    refused(flow_autoregressive(2, 0, flow_spline_transformer(&bad, E), NULL, E), "1 bins");
    refused(flow_elementwise(2, 0, flow_spline_transformer(&bad, E), NULL, E), "1 bins");
    refused(flow_inverse(flow_elementwise(2, 0, flow_spline_transformer(&bad, E), NULL, E), E), "1 bins");
    flow_layer *layers[2] = {flow_permutation(2, NULL, E), flow_permutation(0, NULL, E)};
    refused(flow_split(layers, 2, E), "permutation: 0 features");
    refused(flow_all_in_one(1, 0, NULL, E), "nothing to condition on");
}

static void wrapped_layers_are_refused(void **state) {
    (void)state;
    refused(flow_split(NULL, 0, E), "split: no layers");
    const flow_logit_options far = {.low = 5, .high = 6};
    flow_layer *layers[2] = {flow_logit(1, NULL, E), flow_logit(1, &far, E)};
    refused(flow_split(layers, 2, E), "split: layer 1 (logit) is for another range than those before it");
    flow_layer *contexts[2] = {flow_affine_coupling(2, 1, NULL, E), flow_affine_coupling(2, 2, NULL, E)};
    refused(flow_split(contexts, 2, E), "split: layer 1 (coupling) takes a context of 2, one before it of 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affine_scales_are_their_formulas),
        cmocka_unit_test(a_scale_alone_and_a_shift_alone),
        cmocka_unit_test(the_spline_is_the_op),
        cmocka_unit_test(starts_are_near_the_identity),
        cmocka_unit_test(every_transformer_keeps_the_laws),
        cmocka_unit_test(examples_of_transformers_do_not_end),
        cmocka_unit_test(a_layer_lies_where_its_transformer_does),
        cmocka_unit_test(a_coupling_has_the_reference_values),
        cmocka_unit_test(a_mask_of_halves),
        cmocka_unit_test(a_mask_of_every_other_feature),
        cmocka_unit_test(a_mask_as_a_checkerboard),
        cmocka_unit_test(a_mask_given),
        cmocka_unit_test(a_mask_at_random),
        cmocka_unit_test(kept_features_may_have_a_map),
        cmocka_unit_test(inverse_swaps_the_directions),
        cmocka_unit_test(an_elementwise_layer_has_numbers_of_each_feature),
        cmocka_unit_test(a_split_is_its_layers_side_by_side),
        cmocka_unit_test(an_all_in_one_block_is_a_layer),
        cmocka_unit_test(splines_come_back_as_well_as_they_can),
        cmocka_unit_test(wild_nets_give_finite_numbers),
        cmocka_unit_test(own_transformers_go_into_every_layer),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(a_missing_part_is_passed_on),
        cmocka_unit_test(wrapped_layers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
