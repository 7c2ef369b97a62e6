// test_derive.c -- layers derived from a map, by what they equal: values, gradients, both element types, files.
#include "derived_layers.h"
#include "files.h"

// ---- equals, written by hand ---------------------------------------------------------------------------------------

enum { B = 6, MOST = 4 };

// Points of the data side, from anywhere.
static void place(const flow_layer *layer, double *x, int64_t n) {
    double range = layer->high - layer->low;
    for (int64_t i = 0; i < n && range > 0; i++) x[i] = layer->low + range / (1 + exp(-x[i]));
}

static flow_layer *made(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *o) {
    flow_layer *layer = flow_derive(type, D, C, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

static void fill_params(const flow_owner *owner, uint64_t seed) {
    for (int i = 0; i < owner->n_params; i++) {
        for (int64_t k = 0; k < owner->params[i]->count; k++) {
            ad_param_set(owner->params[i], k, util_uniform(&seed, -0.7, 0.7));
        }
    }
    for (int i = 0; i < owner->n_parts; i++) fill_params(owner->parts[i].owner, seed + (uint64_t)i + 1);
}

// Both layers give the same, both ways.
static void check_equal(const flow_layer *layer, const flow_layer *equal) {
    const int64_t D = layer->x_shape.dim[0];
    double x[B * MOST], got[B * MOST], want[B * MOST], log_det[B], want_log_det[B];
    util_fill(x, B * D, 7, -2, 2);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_run(layer, AD_F64, normalize, x, B, got, log_det);
        layers_run(equal, AD_F64, normalize, x, B, want, want_log_det);
        util_assert_all_close(got, want, B * D, 1e-11);
        util_assert_all_close(log_det, want_log_det, B, 1e-11);
    }
}

// And the same gradients in input and parameters, which stand in the same order.
static void check_equal_gradients(const flow_layer *layer, const flow_layer *equal, const flow_owner *owner,
                                  const flow_owner *equal_owner) {
    const int64_t D = layer->x_shape.dim[0];
    double x[B * MOST], by_value[B * MOST], by_log_det[B], got[B * MOST], want[B * MOST];
    util_fill(x, B * D, 8, -2, 2);
    util_fill(by_value, B * D, 9, -1, 1);
    util_fill(by_log_det, B, 10, -1, 1);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_gradients(layer, normalize, x, B, by_value, by_log_det, got);
        layers_gradients(equal, normalize, x, B, by_value, by_log_det, want);
        util_assert_all_close(got, want, B * D, 1e-9);
        for (int i = 0; i < owner->n_params; i++) {
            util_assert_all_close((double *)owner->params[i]->grad, (double *)equal_owner->params[i]->grad,
                                  owner->params[i]->count, 1e-9);
        }
    }
}

static const flow_owner *part(const flow_layer *layer, const char *name) {
    for (int i = 0; i < layer->owner.n_parts; i++) {
        if (strcmp(layer->owner.parts[i].name, name) == 0) return layer->owner.parts[i].owner;
    }
    fail_msg("no part '%s'", name);
    return NULL;
}

static void an_autoregressive_map_is_the_layer_written_by_hand(void **state) {
    (void)state;
    static const int64_t order[3] = {1, 2, 0};
    const flow_mlp_options mlp = {.layers = 1, .width = 9, .activation = FLOW_TANH, .type = AD_F64};
    flow_layer *layer = made(&affine_type, 3, 0, &(flow_derive_options){.order = order, .mlp = mlp, .type = AD_F64});
    flow_autoregressive_options o = {.scale = FLOW_SCALE_EXP, .made = {.mlp = mlp, .order = order}};
    flow_layer *equal = flow_affine_autoregressive(3, 0, &o, &layers_error);
    layers_assert_made(equal);
    const flow_owner *net = part(layer, "conditioner"), *equal_net = part(equal, "net");
    fill_params(net, 3);
    fill_params(equal_net, 3);
    check_equal(layer, equal);
    check_equal_gradients(layer, equal, net, equal_net);
    flow_layer_free(equal);
    flow_layer_free(layer);
}

// Planar flows are identity plus rank one. // u^ as flow_planar has it
static ad_var plane(const flow_call *c, ad_var z) {
    return ad_linear(ad_reshape(flow_use(c, "w"), ad_shape2(1, ad_dim(z, 0))), z, flow_use(c, "b"));
}
static ad_var along_u(const flow_call *c, ad_var h) {
    ad_var u = flow_use(c, "u"), w = flow_use(c, "w"), wu = ad_sum(ad_mul(w, u));
    ad_var lift = ad_div(ad_sub(ad_offset(ad_softplus(wu), -1), wu), ad_sum(ad_square(w)));
    return ad_mul(ad_add(u, ad_mul(w, lift)), ad_tanh(h));
}
static const flow_derivation planar_map = {FLOW_LOW_RANK, .generate = along_u, .bottleneck = plane,
                                           .tensors = {{.name = "u"}, {.name = "w"}, {.name = "b", .dim = {1}}}};
static const flow_layer_type planar_type = {.name = "plane", .derived = &planar_map};

static void a_map_of_rank_one_is_the_planar_flow(void **state) {
    (void)state;
    flow_layer *layer = made(&planar_type, 4, 0, &(flow_derive_options){.type = AD_F64});
    flow_layer *equal = flow_planar(4, 0, &(flow_planar_options){.type = AD_F64}, &layers_error);
    layers_assert_made(equal);
    fill_params(&layer->owner, 4);
    fill_params(&equal->owner, 4);
    check_equal(layer, equal);
    check_equal_gradients(layer, equal, &layer->owner, &equal->owner);
    flow_layer_free(equal);
    flow_layer_free(layer);
}

// The same map as a dense one: Newton's iteration and the whole determinant come to the same.
static ad_var planar_whole(const flow_call *c, ad_var z) {
    return ad_add(z, along_u(c, plane(c, z)));
}
static const flow_derivation planar_dense_map = {FLOW_DENSE, .generate = planar_whole,
                                                 .tensors = {{.name = "u"}, {.name = "w"}, {.name = "b", .dim = {1}}}};
static const flow_layer_type planar_dense_type = {.name = "dense plane", .derived = &planar_dense_map};

static void structures_agree_where_a_map_has_two(void **state) {
    (void)state;
    flow_layer *low = made(&planar_type, 3, 0, &(flow_derive_options){.type = AD_F64});
    flow_layer *dense = made(&planar_dense_type, 3, 0, &(flow_derive_options){.type = AD_F64});
    fill_params(&low->owner, 5);
    fill_params(&dense->owner, 5);
    check_equal(low, dense);
    check_equal_gradients(low, dense, &low->owner, &dense->owner);
    flow_layer_free(dense);
    flow_layer_free(low);
}

static void an_elementwise_map_has_its_closed_form(void **state) {
    (void)state;
    flow_layer *layer = made(&sinh_arcsinh_type, 2, 0, &(flow_derive_options){.type = AD_F64});
    const double skew[2] = {0.3, -0.5}, tail[2] = {0.2, -0.4}, x[4] = {-3, 0.5, 0, 20};
    double z[4], log_det[2], back[4];
    layers_set(layers_param(layer, "skew"), skew);
    layers_set(layers_param(layer, "tail"), tail);
    layers_run(layer, AD_F64, true, x, 2, z, log_det);
    for (int r = 0; r < 2; r++) {
        double sum = 0;
        for (int d = 0; d < 2; d++) {
            double u = (asinh(x[2 * r + d]) + skew[d]) * exp(tail[d]);
            util_assert_close(z[2 * r + d], sinh(u), 1e-12);
            sum += log(cosh(u) * exp(tail[d]) / sqrt(1 + x[2 * r + d] * x[2 * r + d]));
        }
        util_assert_close(log_det[r], sum, 1e-12);
    }
    layers_run(layer, AD_F64, false, z, 2, back, log_det);
    util_assert_all_close(back, x, 4, 1e-12);
    flow_layer_free(layer);
}

// Slopes 1 and -0.25: one feature rises, the other falls.
static void increasing_and_decreasing_features_mix(void **state) {
    (void)state;
    const flow_number slope[] = {{"slope", 0.25}, {NULL, 0}};
    flow_layer *layer = made(&leaky_type, 2, 0, &(flow_derive_options){.numbers = slope, .type = AD_F64});
    ((double *)layer->owner.states[0]->data)[1] = -1;
    const double z[4] = {2, 3, -0.5, -8}, x[4] = {2, -12, -2, 8};
    double got[4], log_det[2];
    layers_run(layer, AD_F64, false, z, 2, got, log_det);
    util_assert_all_close(got, x, 4, 1e-13);
    util_assert_close(log_det[0], log(4), 1e-13);
    util_assert_close(log_det[1], log(4), 1e-13);
    flow_layer_free(layer);
}

static void a_reflection_is_its_own_inverse(void **state) {
    (void)state;
    flow_layer *layer = made(&householder_type, 3, 0, &(flow_derive_options){.type = AD_F64});
    const double w[3] = {1, 2, -2}, b[3] = {0.5, 0, 1}, z[3] = {1.5, 2, 4};
    double x[3], log_det;
    layers_set(layers_param(layer, "w"), w);
    layers_set(layers_param(layer, "b"), b);
    layers_run(layer, AD_F64, false, z, 1, x, &log_det);
    const double off[3] = {1, 2, 3}, along = 2 * (1 + 4 - 6) / 9.0;
    for (int i = 0; i < 3; i++) util_assert_close(x[i], off[i] - along * w[i], 1e-14);
    util_assert_close(log_det, 0, 0);
    flow_layer_free(layer);
}

static ad_var sum_from_the_end(const flow_call *c, ad_var x) {
    (void)c;
    return ad_flip(ad_cumsum(ad_flip(x, 0), 0), 0);
}
static ad_var reorder(const flow_call *c, ad_var x) {
    static const int64_t order[3] = {2, 0, 1};
    (void)c;
    return ad_take(x, 0, order, 3);
}
static const flow_derivation reorder_map = {FLOW_ORTHOGONAL, .normalize = reorder};
static const flow_layer_type reorder_type = {.name = "reorder", .derived = &reorder_map};

static void a_permutation_is_orthogonal(void **state) {
    (void)state;
    flow_layer *layer = made(&reorder_type, 3, 0, NULL);
    const double z[3] = {1.25, -2.5, 3}, x[3] = {-2.5, 3, 1.25};
    double got[3], log_det;
    layers_run(layer, AD_F32, false, z, 1, got, &log_det);
    util_assert_all_close(got, x, 3, 0);
    util_assert_close(log_det, 0, 0);
    flow_layer_free(layer);
}

// Sums from the end: feature d depends on itself and those after it, so the order is the other way round.
static const flow_derivation sums_map = {FLOW_AUTOREGRESSIVE, .generate = sum_from_the_end};
static const flow_layer_type sums_type = {.name = "sums", .derived = &sums_map};

static void an_order_may_run_backwards(void **state) {
    (void)state;
    static const int64_t order[3] = {2, 1, 0};
    flow_layer *layer = made(&sums_type, 3, 0, &(flow_derive_options){.order = order, .type = AD_F64});
    const double x[3] = {6, 5, 3}, z[3] = {1, 2, 3};
    double got[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, got, &log_det);
    util_assert_all_close(got, z, 3, 1e-14);
    util_assert_close(log_det, 0, 1e-14);
    flow_layer_free(layer);
}

// x^3 is flat at 0: the value is right there, its log-slope is what it is.
static ad_var cube(const flow_call *c, ad_var x) {
    (void)c;
    return ad_mul(x, ad_square(x));
}
static const flow_derivation cube_map = {FLOW_ELEMENTWISE, .normalize = cube};
static const flow_layer_type cube_type = {.name = "cube", .derived = &cube_map};

static void a_flat_point_has_an_infinite_log_det(void **state) {
    (void)state;
    flow_layer *layer = made(&cube_type, 1, 0, NULL);
    const double z[3] = {0, 8, -27}, x[3] = {0, 2, -3};
    double got[3], log_det[3];
    layers_run(layer, AD_F64, false, z, 3, got, log_det);
    util_assert_all_close(got, x, 3, 1e-14);
    assert_true(log_det[0] == (double)INFINITY);
    util_assert_close(log_det[1], -log(12), 1e-14);
    layers_run(layer, AD_F64, true, x, 3, got, log_det);
    util_assert_all_close(got, z, 3, 1e-14);
    assert_true(log_det[0] == (double)-INFINITY);
    flow_layer_free(layer);
}

// J = I + W^T diag(sigmoid(W x + b)) W, its determinant by hand.
static void a_dense_map_has_the_determinant_of_its_jacobian(void **state) {
    (void)state;
    flow_layer *layer = made(&potential_type, 3, 0, &(flow_derive_options){.type = AD_F64});
    const double W[9] = {1, -0.5, 0.3, 0.2, 0.9, -1.1, 0, 0.4, 1.3}, b[3] = {0.1, -0.2, 0.3}, x[3] = {0.7, -1.2, 0.4};
    double z[3], back[3], log_det, J[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    layers_set(layers_param(layer, "W"), W);
    layers_set(layers_param(layer, "b"), b);
    for (int k = 0; k < 3; k++) {
        double h = W[3 * k] * x[0] + W[3 * k + 1] * x[1] + W[3 * k + 2] * x[2] + b[k], s = 1 / (1 + exp(-h));
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) J[i][j] += s * W[3 * k + i] * W[3 * k + j];
        }
    }
    double det = J[0][0] * (J[1][1] * J[2][2] - J[1][2] * J[2][1]) - J[0][1] * (J[1][0] * J[2][2] - J[1][2] * J[2][0]) +
                 J[0][2] * (J[1][0] * J[2][1] - J[1][1] * J[2][0]);
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_close(log_det, log(det), 1e-13);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    util_assert_all_close(back, x, 3, 1e-13);
    util_assert_close(log_det, -log(det), 1e-13);
    flow_layer_free(layer);
}

// One feature: 1 + g'(x), by hand.
static void a_contraction_has_its_closed_form(void **state) {
    (void)state;
    flow_layer *layer = made(&residual_type, 1, 0, &(flow_derive_options){.type = AD_F64});
    const double W = 3, w = 0.75, x[2] = {0.4, -2};  // W / (1 + |W|)
    double z[2], back[2], log_det[2];
    layers_set(layers_param(layer, "W"), &W);
    layers_run(layer, AD_F64, true, x, 2, z, log_det);
    for (int r = 0; r < 2; r++) {
        double t = tanh(w * x[r]);
        util_assert_close(z[r], x[r] + 0.9 * t, 1e-14);
        util_assert_close(log_det[r], log(1 + 0.9 * w * (1 - t * t)), 1e-14);
    }
    layers_run(layer, AD_F64, false, z, 2, back, log_det);
    util_assert_all_close(back, x, 2, 1e-12);
    flow_layer_free(layer);
}

// ---- gradients -----------------------------------------------------------------------------------------------------

typedef struct direction {
    const flow_layer *layer;
    bool normalize;
} direction;

static ad_var both_results(void *arg, const ad_var *x) {
    const direction *d = arg;
    ad_var context = d->layer->C ? x[1] : AD_NONE;
    flow_result r =
        d->normalize ? flow_layer_normalize(d->layer, x[0], context) : flow_layer_generate(d->layer, x[0], context);
    ad_var parts[2] = {r.value, ad_reshape(r.log_det, ad_shape1(1))};
    return ad_concat(parts, 2, 0);
}

// In the input, and in all that a map uses: a context, per row and shared.
static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = derived_types; *type; type++) {
        if (*type == &leaky_type) continue;  // has kinks
        for (int i = 1; i < 3; i++) {
            flow_layer *layer = (*type)->example(i, &layers_error);
            layers_assert_made(layer);
            fill_params(&layer->owner, (uint64_t)i);
            ad_gradcheck_input in[2] = {{.shape = layer->x_shape, .rows = true},
                                        {.shape = ad_shape1(layer->C), .rows = i == 1}};
            for (int normalize = 0; normalize < 2; normalize++) {
                direction d = {layer, normalize};
                if (normalize && layer->low < layer->high) in[0].low = 0.1, in[0].high = 0.9;
                ad_gradcheck_options o = {.cases = 1, .tolerance1 = 1e-6, .tolerance2 = 1e-5};
                if (ad_gradcheck(both_results, &d, in, layer->C ? 2 : 1, &o, &layers_error) != AD_OK) {
                    fail_msg("%s, example %d, normalize %d: %s", (*type)->name, i, normalize, layers_error.message);
                }
            }
            flow_layer_free(layer);
        }
    }
}

// ---- f32 -----------------------------------------------------------------------------------------------------------

static void run_with_context(const flow_layer *layer, ad_type type, bool normalize, const double *in, double *value,
                             double *log_det) {
    const double context[2 * B] = {0.5, -1, 0.3, 0.8, -0.2, 0.9};
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(in, B), k = util_source(context, B);
    ad_rows rows = util_rows(tape, "data", B);
    ad_var c = layer->C ? ad_input(rows, ad_shape1(layer->C), &k) : AD_NONE;
    ad_var v = ad_input(rows, layer->x_shape, &source);
    flow_result r = normalize ? flow_layer_normalize(layer, v, c) : flow_layer_generate(layer, v, c);
    ad_keep(r.value);
    ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, value, B * layer->x_shape.dim[0]);
    util_read(r.log_det, log_det, B);
    ad_tape_free(tape);
}

// Slopes of these maps lie between 0.05 and 50.
static void floats_hold_within_the_conditioning(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = derived_types; *type; type++) {
        for (int i = 1; i < 5; i++) {
            flow_layer *layer = (*type)->example(i, &layers_error);
            layers_assert_made(layer);
            fill_params(&layer->owner, (uint64_t)i);
            double x[B * 20], z[B * 20], back[B * 20], exact[B * 20], log_det[B], back_log_det[B], exact_log_det[B];
            util_fill(x, B * layer->x_shape.dim[0], 3, -1.5, 1.5);
            place(layer, x, B * layer->x_shape.dim[0]);
            run_with_context(layer, AD_F32, true, x, z, log_det);
            run_with_context(layer, AD_F64, true, x, exact, exact_log_det);
            util_assert_all_close(z, exact, B * layer->x_shape.dim[0], 1e-5);
            util_assert_all_close(log_det, exact_log_det, B, 1e-4);
            run_with_context(layer, AD_F32, false, z, back, back_log_det);
            util_assert_all_close(back, x, B * layer->x_shape.dim[0], 1e-4);
            for (int r = 0; r < B; r++) util_assert_close(back_log_det[r], -log_det[r], 1e-3);
            flow_layer_free(layer);
        }
    }
}

// ---- far out -------------------------------------------------------------------------------------------------------

// Steep, and far from where searches start.
static void inverses_are_found_far_out(void **state) {
    (void)state;
    const flow_layer_type *const types[] = {&sinh_arcsinh_type, &leaky_type,      &cubic_chain_type,
                                            &residual_type,     &bottleneck_type, &potential_type};
    const double z[2 * B] = {0, 0, 1e3, -1e3, 1e6, 3, -1e-9, 1e-12, 5e4, -7, 12, -1e5};
    for (int t = 0; t < 6; t++) {
        for (int i = 0; i < 3; i++) {
            flow_layer *layer = made(types[t], 2, 0, &(flow_derive_options){.type = AD_F64, .seed = (uint64_t)i});
            double x[2 * B], back[2 * B], log_det[B];
            layers_run(layer, AD_F64, false, z, B, x, log_det);
            layers_run(layer, AD_F64, true, x, B, back, log_det);
            for (int r = 0; r < 2 * B; r++) util_assert_close(back[r], z[r], 1e-8);
            flow_layer_free(layer);
        }
    }
}

// ---- what a map may see --------------------------------------------------------------------------------------------

// The parts of a context that are the features themselves are no derivative in these.
static void a_context_may_be_the_features_themselves(void **state) {
    (void)state;
    const flow_layer_type *const types[] = {&bend_type, &bend_coupling_type, &residual_type, &potential_type};
    double x[2 * B], values[2][2 * B], log_dets[2][B];
    util_fill(x, 2 * B, 21, -1, 1);
    for (int t = 0; t < 4; t++) {
        flow_layer *layer = made(types[t], 2, 2, &(flow_derive_options){.type = AD_F64, .seed = 2});
        fill_params(&layer->owner, 6);
        for (int normalize = 0; normalize < 2; normalize++) {
            for (int same = 0; same < 2; same++) {
                ad_tape *tape = ad_tape_new(NULL, AD_F64);
                ad_source source = util_source(x, B), copy = util_source(x, B);
                ad_rows rows = util_rows(tape, "data", B);
                ad_var v = ad_input(rows, ad_shape1(2), &source);
                ad_var c = same ? ad_scale(v, 1) : ad_input(rows, ad_shape1(2), &copy);
                flow_result r = normalize ? flow_layer_normalize(layer, v, c) : flow_layer_generate(layer, v, c);
                ad_keep(r.value);
                ad_keep(r.log_det);
                util_run(tape);
                util_read(r.value, values[same], 2 * B);
                util_read(r.log_det, log_dets[same], B);
                ad_tape_free(tape);
            }
            util_assert_all_close(values[0], values[1], 2 * B, 1e-12);
            util_assert_all_close(log_dets[0], log_dets[1], B, 1e-12);
        }
        flow_layer_free(layer);
    }
}

// A value without rows, alone or with a context per row, is what it is with rows.
static void shared_values_are_those_of_rows(void **state) {
    (void)state;
    const double context[2] = {0.4, -0.8};
    for (const flow_layer_type *const *type = derived_types; *type; type++) {
        flow_layer *layer = (*type)->example(1, &layers_error);
        layers_assert_made(layer);
        fill_params(&layer->owner, 12);
        const int64_t D = layer->x_shape.dim[0];
        double x[20], value[2][20], log_det[2];
        util_fill(x, D, 4, -1, 1);
        place(layer, x, D);
        for (int normalize = 0; normalize < 2; normalize++) {
            for (int shared = 0; shared < 2; shared++) {
                ad_tape *tape = ad_tape_new(NULL, AD_F64);
                ad_source source = util_source(x, 1), k = util_source(context, 1);
                ad_rows rows = util_rows(tape, "data", 1);
                ad_var v = shared ? ad_constant(tape, layer->x_shape, x) : ad_input(rows, layer->x_shape, &source);
                ad_var c = layer->C ? ad_input(rows, ad_shape1(layer->C), &k) : AD_NONE;
                flow_result r = normalize ? flow_layer_normalize(layer, v, c) : flow_layer_generate(layer, v, c);
                ad_keep(r.value);
                ad_keep(r.log_det);
                util_run(tape);
                util_read(r.value, value[shared], D);
                util_read(r.log_det, &log_det[shared], 1);
                ad_tape_free(tape);
            }
            util_assert_all_close(value[0], value[1], D, 1e-12);
            util_assert_close(log_det[0], log_det[1], 1e-12);
        }
        flow_layer_free(layer);
    }
}

// ---- sizes ---------------------------------------------------------------------------------------------------------

// As many features as a matrix per row may have, and many in a row of features, where float loops count far.
static void many_features_are_solved_for(void **state) {
    (void)state;
    enum { D = 16 };
    const flow_layer_type *const types[] = {&potential_type, &cubic_chain_type, &bend_autoregressive_type,
                                            &bottleneck_type, &residual_type};
    const double accuracy[] = {1e-4, 1e-11};
    double x[3 * D], z[3 * D], back[3 * D], log_det[3], back_log_det[3];
    util_fill(x, 3 * D, 31, -1, 1);
    for (int t = 0; t < 5; t++) {
        flow_layer *layer = made(types[t], D, 0, &(flow_derive_options){.type = AD_F64, .seed = 5, .rank = 4});
        fill_params(&layer->owner, 3);
        for (int type = AD_F32; type <= AD_F64; type++) {
            layers_run(layer, (ad_type)type, true, x, 3, z, log_det);
            layers_run(layer, (ad_type)type, false, z, 3, back, back_log_det);
            util_assert_all_close(back, x, 3 * D, accuracy[type]);
            for (int r = 0; r < 3; r++) util_assert_close(back_log_det[r], -log_det[r], 10 * accuracy[type]);
        }
        flow_layer_free(layer);
    }
}

// A model of one layer of each kind that takes two features and no context, in both directions with gradients.
static void derived_layers_chain(void **state) {
    (void)state;
    const flow_layer_type *const types[] = {&sinh_arcsinh_type, &bend_coupling_type, &bend_autoregressive_type,
                                            &householder_type,  &bottleneck_type,    &residual_type,
                                            &potential_type,    &wave_type};
    flow_layer *layers[8];
    for (int i = 0; i < 8; i++) {
        layers[i] = made(types[i], 2, 0, &(flow_derive_options){.type = AD_F64, .seed = (uint64_t)i});
    }
    flow_layer *chain = flow_chain(layers, 8, &layers_error);
    layers_assert_made(chain);
    flow_check_options o = {.perturb = 0.1, .cases = 1, .rows = 4, .spread = 0.5};
    if (flow_check(chain, &o, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_layer_free(chain);
}

// ---- ill-conditioned, in floats ------------------------------------------------------------------------------------
// What rounding leaves of a
// residual is all that there is to reach: searches must end there, and not fail.

// Slopes in x0 + x1 and in x0 + rate x1 all but the same where tanh is flat.
static ad_var all_but_singular(const flow_call *c, ad_var x) {
    ad_var x0 = ad_slice(x, 0, 0, 1), x1 = ad_slice(x, 0, 1, 1);
    ad_var slope = ad_scale(x1, flow_number_of(c->layer, "rate"));
    ad_var parts[2] = {ad_add(ad_add(x0, x1), ad_tanh(x0)), ad_add(x0, slope)};
    return ad_offset(ad_concat(parts, 2, 0), flow_number_of(c->layer, "shift"));
}
static const flow_derivation shifted_map = {FLOW_DENSE, .normalize = all_but_singular,
                                            .numbers = {{"rate", 1.001}, {"shift", 50}}};
static const flow_layer_type shifted_type = {.name = "shifted", .derived = &shifted_map};
static const flow_derivation singular_map = {FLOW_DENSE, .normalize = all_but_singular,
                                             .numbers = {{"rate", 1.00001}, {"shift", 0}}};
static const flow_layer_type singular_type = {.name = "all but singular", .derived = &singular_map};

// Slope 0.95 against that of the identity, far from 0.
static ad_var far_pull(const flow_call *c, ad_var x) {
    (void)c;
    return ad_offset(ad_scale(ad_tanh(x), 0.95), 1000);
}
static const flow_derivation far_pull_map = {FLOW_CONTRACTIVE, .normalize = far_pull};
static const flow_layer_type far_pull_type = {.name = "far pull", .derived = &far_pull_map};

static void searches_end_at_rounding(void **state) {
    (void)state;
    enum { N = 200 };
    const flow_layer_type *const types[] = {&shifted_type, &singular_type, &far_pull_type};
    const double allowed[] = {3e-5, 1e-5, 1e-2};  // a few units in the last place of 60, 12, and of 1000; of that 64
    double x[2 * N], z[2 * N], again[2 * N], log_det[N];
    util_fill(x, 2 * N, 13, -6, 6);
    for (int t = 0; t < 3; t++) {
        flow_layer *layer = made(types[t], 2, 0, NULL);
        layers_run(layer, AD_F32, true, x, N, z, log_det);
        layers_run(layer, AD_F32, false, z, N, again, log_det);
        layers_run(layer, AD_F32, true, again, N, again, log_det);
        for (int i = 0; i < 2 * N; i++) {
            if (fabs(again[i] - z[i]) > allowed[t]) fail_msg("%s: %.9g is not %.9g", types[t]->name, again[i], z[i]);
        }
        flow_layer_free(layer);
    }
}

// A whole step from here goes too far; and the slope of the second is 0 where the search starts.
static ad_var step_like(const flow_call *c, ad_var x) {
    (void)c;
    return ad_add(x, ad_scale(ad_tanh(ad_scale(x, 5)), 10));
}
static ad_var cube_and_one(const flow_call *c, ad_var x) {
    (void)c;
    return ad_offset(ad_mul(x, ad_square(x)), 1);
}
static const flow_derivation step_like_map = {FLOW_DENSE, .normalize = step_like};
static const flow_layer_type step_like_type = {.name = "step-like", .derived = &step_like_map};
static const flow_derivation cube_and_one_map = {FLOW_DENSE, .normalize = cube_and_one};
static const flow_layer_type cube_and_one_type = {.name = "cube and one", .derived = &cube_and_one_map};

static void searches_find_their_way(void **state) {
    (void)state;
    const double z[4] = {0.5, -0.3, 11, -20};
    double x[4], again[4], log_det[2];
    flow_layer *layer = made(&step_like_type, 2, 0, NULL);
    layers_run(layer, AD_F64, false, z, 2, x, log_det);
    layers_run(layer, AD_F64, true, x, 2, again, log_det);
    util_assert_all_close(again, z, 4, 1e-13);
    flow_layer_free(layer);
    const double flat[2] = {0, 0};
    layer = made(&cube_and_one_type, 2, 0, NULL);
    layers_run(layer, AD_F64, false, flat, 1, x, log_det);
    for (int d = 0; d < 2; d++) util_assert_close(x[d], -1, 1e-14);
    util_assert_close(log_det[0], -2 * log(3), 1e-13);
    flow_layer_free(layer);
}

// Squares of these numbers are infinite in floats.
static void searches_do_not_overflow(void **state) {
    (void)state;
    const double z[4] = {1e25, -3e24, -2e30, 7e28};
    double x[4], again[4], log_det[2];
    flow_layer *layer = made(&potential_type, 2, 0, &(flow_derive_options){.seed = 2});
    layers_run(layer, AD_F32, false, z, 2, x, log_det);
    layers_run(layer, AD_F32, true, x, 2, again, log_det);
    for (int r = 0; r < 2; r++) {
        double size = fmax(fabs(z[2 * r]), fabs(z[2 * r + 1]));
        for (int d = 0; d < 2; d++) util_assert_close(again[2 * r + d] / size, z[2 * r + d] / size, 1e-5);
    }
    flow_layer_free(layer);
}

// ---- files ---------------------------------------------------------------------------------------------------------

static double log_prob(const flow_model *model, const double *x, const double *context) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, 1), k = util_source(context, 1);
    ad_rows rows = util_rows(tape, "data", 1);
    int64_t C = flow_model_context(model);
    ad_var v = ad_input(rows, flow_model_shape(model), &source);
    ad_var p = ad_keep(flow_log_prob(model, v, C ? ad_input(rows, ad_shape1(C), &k) : AD_NONE));
    util_run(tape);
    double value;
    util_read(p, &value, 1);
    ad_tape_free(tape);
    return value;
}

static void every_structure_is_saved_and_loaded(void **state) {
    (void)state;
    const flow_load_options options = {.types = derived_types};
    double x[20], context[2] = {0.4, -0.3};
    util_fill(x, 20, 5, 0.1, 0.9);
    for (const flow_layer_type *const *type = derived_types; *type; type++) {
        for (int i = 0; i < 8; i++) {
            flow_layer *layer = (*type)->example(i, &layers_error);
            layers_assert_made(layer);
            fill_params(&layer->owner, 17);
            flow_base *base = flow_standard_normal(layer->x_shape.dim[0], &layers_error);
            flow_model *model = flow_model_new(layer, base, &layers_error);
            layers_assert_made(model);
            if (flow_save(model, files_path("derived"), &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
            flow_model *again = flow_load(files_path("derived"), &options, &layers_error);
            layers_assert_made(again);
            char *texts[2] = {flow_describe(model), flow_describe(again)};
            assert_string_equal(texts[0], texts[1]);
            assert_true(log_prob(model, x, context) == log_prob(again, x, context));
            free(texts[0]);
            free(texts[1]);
            flow_model_free(again);
            flow_model_free(model);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_autoregressive_map_is_the_layer_written_by_hand),
        cmocka_unit_test(a_map_of_rank_one_is_the_planar_flow),
        cmocka_unit_test(structures_agree_where_a_map_has_two),
        cmocka_unit_test(an_elementwise_map_has_its_closed_form),
        cmocka_unit_test(increasing_and_decreasing_features_mix),
        cmocka_unit_test(a_reflection_is_its_own_inverse),
        cmocka_unit_test(a_permutation_is_orthogonal),
        cmocka_unit_test(an_order_may_run_backwards),
        cmocka_unit_test(a_flat_point_has_an_infinite_log_det),
        cmocka_unit_test(a_dense_map_has_the_determinant_of_its_jacobian),
        cmocka_unit_test(a_contraction_has_its_closed_form),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(floats_hold_within_the_conditioning),
        cmocka_unit_test(inverses_are_found_far_out),
        cmocka_unit_test(a_context_may_be_the_features_themselves),
        cmocka_unit_test(shared_values_are_those_of_rows),
        cmocka_unit_test(many_features_are_solved_for),
        cmocka_unit_test(derived_layers_chain),
        cmocka_unit_test(searches_end_at_rounding),
        cmocka_unit_test(searches_find_their_way),
        cmocka_unit_test(searches_do_not_overflow),
        cmocka_unit_test(every_structure_is_saved_and_loaded),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
