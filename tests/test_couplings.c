// test_couplings.c -- couplings that keep volumes, pairs, recursive couplings and ladders: closed forms, the couplings
// they are made of, who sees whom, refusals.
#include "layers.h"

static ad_param *net_param(const flow_layer *layer, const char *net, int i) {
    return layers_part(layer, net)->params[i];
}

// All numbers of a layer at random.
static flow_layer *stirred(flow_layer *layer) {
    layers_assert_made(layer);
    uint64_t seed = 11;
    for (int i = 0; i < layer->owner.n_parts; i++) {
        const flow_owner *part = layer->owner.parts[i].owner;
        for (int k = 0; k < part->n_params; k++) {
            for (int64_t e = 0; e < part->params[k]->count; e++) {
                ad_param_set(part->params[k], e, util_uniform(&seed, -0.8, 0.8));
            }
        }
    }
    return layer;
}

static void copy_net(const flow_layer *to, const char *to_name, const flow_layer *from, const char *from_name) {
    const flow_owner *a = layers_part(to, to_name), *b = layers_part(from, from_name);
    assert_int_equal(a->n_params, b->n_params);
    for (int i = 0; i < a->n_params; i++) {
        assert_int_equal(a->params[i]->count, b->params[i]->count);
        layers_set(a->params[i], b->params[i]->data);
    }
}

static const flow_mlp_options tanh_net = {.layers = 1, .width = 6, .activation = FLOW_TANH, .type = AD_F64};
static const flow_mlp_options linear_net = {.layers = -1, .type = AD_F64};

static flow_transformer *additive(void) {
    return flow_additive_transformer(&layers_error);
}
static flow_transformer *affine(void) {
    return flow_affine_transformer(NULL, &layers_error);
}

// ---- scales with product 1 ------------------------------------------------------------------------------------------

// Of generate x2 = z2 exp(s - mean s) + t, s = bound tanh(raw / bound), where the net is its biases.
static void a_gin_coupling_is_its_formula(void **state) {
    (void)state;
    const flow_coupling_options o = {.bound = 1.5, .split = 1, .mlp = linear_net};
    flow_layer *layer = flow_gin_coupling(4, 0, &o, &layers_error);
    layers_assert_made(layer);
    const double raw[6] = {0.4, -1.2, 2, 0.5, -0.25, 3}, z[4] = {0.3, 1.5, -2, 0.7};
    layers_set(net_param(layer, "net", 1), raw);
    double s[3], mean = 0, x[4], back[4], log_det;
    for (int i = 0; i < 3; i++) mean += (s[i] = 1.5 * tanh(raw[i] / 1.5)) / 3;
    layers_run(layer, AD_F64, false, z, 1, x, &log_det);
    assert_true(x[0] == z[0] && log_det == 0);
    for (int i = 0; i < 3; i++) util_assert_close(x[1 + i], z[1 + i] * exp(s[i] - mean) + raw[3 + i], 1e-14);
    layers_run(layer, AD_F64, true, x, 1, back, &log_det);
    util_assert_all_close(back, z, 4, 1e-14);
    assert_true(log_det == 0);
    flow_layer_free(layer);
}

static void of_one_feature_it_is_a_shift(void **state) {
    (void)state;
    flow_layer *layer = flow_gin_coupling(2, 0, &(flow_coupling_options){.mlp = linear_net}, &layers_error);
    layers_assert_made(layer);
    layers_set(net_param(layer, "net", 1), (const double[]){1.7, 0.25});
    const double z[2] = {5, 2};
    double x[2], log_det;
    layers_run(layer, AD_F64, false, z, 1, x, &log_det);
    assert_true(x[0] == 5 && x[1] == 2.25 && log_det == 0);
    flow_layer_free(layer);
}

// Raw numbers that are huge: scales stay between e^(-2 bound) and e^(2 bound).
static void wild_numbers_stay_bounded(void **state) {
    (void)state;
    flow_layer *layer = flow_gin_coupling(4, 0, &(flow_coupling_options){.mlp = linear_net}, &layers_error);
    layers_assert_made(layer);
    layers_set(net_param(layer, "net", 1), (const double[]){1e30, -1e30, 0, 0});
    const double z[4] = {0, 0, 1, 1};
    double x[4], log_det;
    layers_run(layer, AD_F32, false, z, 1, x, &log_det);
    util_assert_close(x[2], exp(2), 1e-6);
    util_assert_close(x[3], exp(-2), 1e-6);
    flow_layer_free(layer);
}

static void only_layers_that_map_at_once_take_it(void **state) {
    (void)state;
    layers_assert_refused(
        flow_autoregressive(3, 0, flow_incompressible_transformer(0, &layers_error), NULL, &layers_error), AD_EARG,
        "autoregressive: the transformer incompressible maps features together");
    layers_assert_refused(flow_gin_coupling(3, 0, &(flow_coupling_options){.bound = 21}, &layers_error), AD_EARG,
                          "incompressible: bound 21");
    layers_assert_refused(flow_gin_coupling(3, 0, &(flow_coupling_options){.bound = (double)NAN}, &layers_error),
                          AD_EARG, "incompressible: bound nan");
    flow_layer *layer = flow_elementwise(3, 0, flow_incompressible_transformer(0, &layers_error), NULL, &layers_error);
    layers_assert_made(layer);
    flow_layer_free(layer);
}

// ---- pairs ----------------------------------------------------------------------------------------------------------

// Of linear maps: h1' = h1 + F1 h2, h2' = h2 + F2 h1', by hand.
static void a_revnet_pair_is_its_formula(void **state) {
    (void)state;
    flow_layer *layer =
        flow_revnet_pair(3, 0, &(flow_coupling_pair_options){.couplings = {.mlp = linear_net}}, &layers_error);
    layers_assert_made(layer);
    layers_set(net_param(layer, "net0", 0), (const double[]){2, -1});   // [2,1]: of the last feature
    layers_set(net_param(layer, "net1", 0), (const double[]){0.5, 3});  // [1,2]: of the first two
    const double h[3] = {1, 2, 3}, want[3] = {7, -1, 3 + 3.5 - 3};
    double out[3], back[3], log_det;
    layers_run(layer, AD_F64, true, h, 1, out, &log_det);
    assert_memory_equal(out, want, sizeof want);
    assert_true(log_det == 0);
    layers_run(layer, AD_F64, false, out, 1, back, &log_det);
    assert_memory_equal(back, h, sizeof h);
    flow_layer_free(layer);
}

// Two couplings, one after the other, to the bit.
static void a_pair_is_two_couplings(void **state) {
    (void)state;
    const flow_coupling_pair_options o = {.split = 2, .couplings = {.mlp = tanh_net}};
    flow_layer *pair = stirred(flow_coupling_pair(5, 0, affine(), &o, &layers_error));
    flow_coupling_options c = {.split = 2, .keep = FLOW_KEEP_SECOND, .mlp = tanh_net};
    flow_layer *both[2] = {flow_coupling(5, 0, affine(), &c, &layers_error), NULL};
    c.keep = FLOW_KEEP_FIRST;
    both[1] = flow_coupling(5, 0, affine(), &c, &layers_error);
    flow_layer *chain = flow_chain(both, 2, &layers_error);
    layers_assert_made(chain);
    copy_net(both[0], "net", pair, "net0");
    copy_net(both[1], "net", pair, "net1");
    double x[20], got[20], want[20], log_det[4], want_det[4];
    util_fill(x, 20, 3, -1, 1);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_run(pair, AD_F64, normalize, x, 4, got, log_det);
        layers_run(chain, AD_F64, normalize, x, 4, want, want_det);
        assert_memory_equal(got, want, sizeof want);
        assert_memory_equal(log_det, want_det, sizeof want_det);
    }
    flow_layer_free(pair);
    flow_layer_free(chain);
}

// ---- recursive couplings --------------------------------------------------------------------------------------------

// Of five features: [2 | 3], then [1 | 1] and [1 | 2], then [1 | 1] of the last two.
static void hint_is_couplings_of_couplings(void **state) {
    (void)state;
    const flow_hint_options o = {.couplings = {.mlp = tanh_net}};
    flow_layer *hint = stirred(flow_hint(5, 0, affine(), &o, &layers_error));
    flow_coupling_options c = {.mlp = tanh_net};
    c.split = 2;
    flow_layer *root = flow_coupling(5, 0, affine(), &c, &layers_error);
    c.split = 1;
    flow_layer *left = flow_coupling(2, 0, affine(), &c, &layers_error);
    flow_layer *right = flow_coupling(3, 0, affine(), &c, &layers_error);
    flow_layer *deep = flow_coupling(2, 0, affine(), &c, &layers_error);
    flow_layer *tail[2] = {flow_permutation(1, (const int64_t[]){0}, &layers_error), deep};
    flow_layer *halves[2] = {right, flow_split(tail, 2, &layers_error)};
    flow_layer *sides[2] = {left, flow_chain(halves, 2, &layers_error)};
    flow_layer *all[2] = {root, flow_split(sides, 2, &layers_error)}, *chain = flow_chain(all, 2, &layers_error);
    layers_assert_made(chain);
    copy_net(root, "net", hint, "net0");
    copy_net(left, "net", hint, "net1");
    copy_net(right, "net", hint, "net2");
    copy_net(deep, "net", hint, "net3");
    double x[20], got[20], want[20], log_det[4], want_det[4];
    util_fill(x, 20, 3, -1, 1);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_run(hint, AD_F64, normalize, x, 4, got, log_det);
        layers_run(chain, AD_F64, normalize, x, 4, want, want_det);
        util_assert_all_close(got, want, 20, 1e-15);
        util_assert_all_close(log_det, want_det, 4, 1e-15);
    }
    flow_layer_free(hint);
    flow_layer_free(chain);
}

// What features of value change when feature from of the input moves, as bits.
static unsigned moved_by(const flow_layer *layer, bool normalize, int from) {
    enum { MOST = 8 };
    const int64_t D = layer->x_shape.dim[0];
    double in[2 * MOST], out[2 * MOST], log_det[2];
    util_fill(in, MOST, 9, -1, 1);
    for (int64_t d = 0; d < D; d++) in[D + d] = in[d] + (d == from ? 0.5 : 0);
    layers_run(layer, AD_F64, normalize, in, 2, out, log_det);
    unsigned moved = 0;
    for (int64_t d = 0; d < D; d++) moved |= (out[d] != out[D + d] ? 1u : 0u) << d;
    return moved;
}

// Feature d depends on all before it, and on none after it, in both directions.
static void the_jacobian_of_hint_is_triangular_without_zeros(void **state) {
    (void)state;
    flow_layer *layer =
        stirred(flow_hint(7, 0, affine(), &(flow_hint_options){.couplings = {.mlp = tanh_net}}, &layers_error));
    for (int from = 0; from < 7; from++) {
        for (int normalize = 0; normalize < 2; normalize++) {
            assert_int_equal(moved_by(layer, normalize, from), 0x7f & ~((1u << from) - 1));
        }
    }
    flow_layer_free(layer);
}

static void depth_and_taper_say_how_large_it_is(void **state) {
    (void)state;
    flow_hint_options o = {.depth = 2, .taper = true, .couplings = {.mlp = {.layers = 1, .width = 40}}};
    flow_layer *layer = flow_hint(16, 3, affine(), &o, &layers_error);
    layers_assert_made(layer);
    assert_int_equal(layer->owner.n_parts, 1 + 3);
    assert_int_equal(net_param(layer, "net0", 0)->shape.dim[0], 40);
    assert_int_equal(net_param(layer, "net1", 0)->shape.dim[0], 20);
    assert_int_equal(net_param(layer, "net1", 0)->shape.dim[1], 4 + 3);
    assert_int_equal(net_param(layer, "net2", 0)->shape.dim[0], 20);
    flow_layer_free(layer);
    o = (flow_hint_options){.taper = true, .couplings = {.mlp = {.layers = 1, .width = 40}}};
    layer = flow_hint(16, 0, affine(), &o, &layers_error);
    layers_assert_made(layer);
    assert_int_equal(layer->owner.n_parts, 1 + 15);
    assert_int_equal(net_param(layer, "net3", 0)->shape.dim[0], 10);  // 40, 20, 10, and no less
    flow_layer_free(layer);
}

// ---- ladders --------------------------------------------------------------------------------------------------------

static void a_ladder_of_two_parts_is_a_coupling(void **state) {
    (void)state;
    const flow_ladder_options o = {.parts = 2, .couplings = {.mlp = tanh_net}};
    flow_layer *ladder = stirred(flow_ladder(5, 0, affine(), &o, &layers_error));
    flow_layer *coupling = flow_coupling(5, 0, affine(), &(flow_coupling_options){.mlp = tanh_net}, &layers_error);
    layers_assert_made(coupling);
    copy_net(coupling, "net", ladder, "net0");
    double x[20], got[20], want[20], log_det[4], want_det[4];
    util_fill(x, 20, 3, -1, 1);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_run(ladder, AD_F64, normalize, x, 4, got, log_det);
        layers_run(coupling, AD_F64, normalize, x, 4, want, want_det);
        assert_memory_equal(got, want, sizeof want);
        assert_memory_equal(log_det, want_det, sizeof want_det);
    }
    flow_layer_free(ladder);
    flow_layer_free(coupling);
}

// Parts of 3, 3 and 2 features; normalize takes all of x.
static void parts_see_those_before_them(void **state) {
    (void)state;
    flow_ladder_options o = {.parts = 3, .couplings = {.mlp = tanh_net}};
    flow_layer *all = stirred(flow_ladder(8, 0, affine(), &o, &layers_error));
    o.sees = 1;
    flow_layer *one = stirred(flow_ladder(8, 0, affine(), &o, &layers_error));
    assert_int_equal(moved_by(all, true, 1), 0xfa);
    assert_int_equal(moved_by(all, true, 4), 0xd0);
    assert_int_equal(moved_by(all, true, 7), 0x80);
    assert_int_equal(moved_by(one, true, 1), 0x3a);
    assert_int_equal(moved_by(one, true, 4), 0xd0);
    assert_int_equal(moved_by(one, false, 1), 0xfa);  // through the second part
    flow_layer_free(all);
    flow_layer_free(one);
}

// A part's parameters are of x: rungs by hand, of linear nets of shifts.
static void a_ladder_is_its_formula(void **state) {
    (void)state;
    flow_layer *layer =
        flow_ladder(3, 0, additive(), &(flow_ladder_options){.couplings = {.mlp = linear_net}}, &layers_error);
    layers_assert_made(layer);
    layers_set(net_param(layer, "net0", 0), (const double[]){2, -1});  // of the last feature
    layers_set(net_param(layer, "net1", 0), (const double[]){5});
    const double x[3] = {1, 2, 3}, want[3] = {1, 2 + 5, 3 + 2 - 2};
    double z[3], back[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    assert_memory_equal(z, want, sizeof want);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    assert_memory_equal(back, x, sizeof x);
    flow_layer_free(layer);
}

static void with_a_context_the_first_part_is_mapped_too(void **state) {
    (void)state;
    flow_layer *layer =
        flow_ladder(4, 2, affine(), &(flow_ladder_options){.couplings = {.mlp = linear_net}}, &layers_error);
    layers_assert_made(layer);
    assert_int_equal(layer->owner.n_parts, 1 + 4);
    assert_int_equal(net_param(layer, "net0", 0)->shape.dim[1], 3 + 2);
    assert_int_equal(net_param(layer, "net3", 0)->shape.dim[1], 2);
    flow_layer_free(layer);
}

// What a report says of scales near their bounds and of points outside of boxes: of all couplings, where each is taken.
static void reports_look_at_every_coupling(void **state) {
    (void)state;
    const double x[6] = {0.5, 2, 9, 0.5, 9, 9};  // two rows
    const flow_rows rows = {.x = util_source(x, 2)};
    const flow_hint_options o = {.couplings = {.mlp = linear_net}};
    for (int i = 0; i < 2; i++) {
        const flow_spline_transformer_options box = {.bins = 4, .spline = {.bound = 3}};
        flow_transformer *t = i ? flow_spline_transformer(&box, &layers_error) : affine();
        flow_layer *layer = flow_hint(3, 0, t, &o, &layers_error);
        layers_assert_made(layer);
        if (i == 0) ad_param_set(net_param(layer, "net1", 1), 0, 20);  // the last coupling's log-scale of three
        flow_model *model = flow_model_new(layer, flow_standard_normal(3, &layers_error), &layers_error);
        layers_assert_made(model);
        flow_health *h = flow_report(model, &rows, NULL, &layers_error);
        layers_assert_made(h);
        if (i == 0) util_assert_close(h->layers[0].saturation, 1 / 3., 1e-15);
        // Second and third feature are mapped, the third one twice: 9, 9 and 2; then 9, 9 and 9.
        if (i == 1) util_assert_close(h->layers[0].tails, 5 / 6., 1e-15);
        flow_health_free(h);
        flow_model_free(model);
    }
}

// ---- options --------------------------------------------------------------------------------------------------------

static void nets_may_be_given(void **state) {
    (void)state;
    flow_net *nets[2] = {flow_mlp(2, 2, &tanh_net, NULL), flow_mlp(2, 2, &tanh_net, NULL)};
    const flow_coupling_pair_options o = {.couplings = {.nets = nets, .n_nets = 2}};
    flow_layer *layer = flow_coupling_pair(4, 0, additive(), &o, &layers_error);
    layers_assert_made(layer);
    assert_ptr_equal(layers_part(layer, "net1"), &nets[1]->owner);
    flow_layer_free(layer);
    flow_net *few[1] = {flow_mlp(2, 2, &tanh_net, NULL)};
    const flow_coupling_pair_options wrong = {.couplings = {.nets = few, .n_nets = 1}};
    layers_assert_refused(flow_coupling_pair(4, 0, additive(), &wrong, &layers_error), AD_EARG,
                          "coupling pair: 1 nets, expected 2");
    flow_net *odd[3] = {flow_mlp(1, 2, &tanh_net, NULL), flow_mlp(2, 2, &tanh_net, NULL),
                        flow_mlp(1, 1, &tanh_net, NULL)};
    const flow_hint_options misfit = {.couplings = {.nets = odd, .n_nets = 3}};
    layers_assert_refused(flow_hint(4, 0, additive(), &misfit, &layers_error), AD_ESHAPE,
                          "hint: the net is [1] -> [2], expected [2] -> [2]");
}

static void one_feature_wants_a_context(void **state) {
    (void)state;
    const char *words = "one feature and no context leave nothing";
    layers_assert_refused(flow_revnet_pair(1, 0, NULL, &layers_error), AD_EARG, words);
    layers_assert_refused(flow_hint(1, 0, affine(), NULL, &layers_error), AD_EARG, words);
    layers_assert_refused(flow_ladder(1, 0, affine(), NULL, &layers_error), AD_EARG, words);
    for (int i = 0; i < 3; i++) {
        flow_layer *layer = i == 0   ? flow_revnet_pair(1, 2, NULL, &layers_error)
                            : i == 1 ? flow_hint(1, 2, affine(), NULL, &layers_error)
                                     : flow_ladder(1, 2, affine(), NULL, &layers_error);
        layers_assert_made(layer);
        flow_layer_free(layer);
    }
}

static void bad_options_are_refused(void **state) {
    (void)state;
    layers_assert_refused(flow_revnet_pair(3, 0, &(flow_coupling_pair_options){.split = 3}, &layers_error), AD_EARG,
                          "split 3 leaves one part of 3 features empty");
    layers_assert_refused(flow_revnet_pair(3, 0, &(flow_coupling_pair_options){.split = -1}, &layers_error), AD_EARG,
                          "split -1");
    layers_assert_refused(flow_hint(4, 0, affine(), &(flow_hint_options){.depth = 65}, &layers_error), AD_EARG,
                          "hint: depth 65");
    layers_assert_refused(flow_hint(5000, 0, affine(), NULL, &layers_error), AD_EARG,
                          "hint: 5000 features at depth 0 take more than 4096 couplings");
    layers_assert_refused(flow_ladder(4, 0, affine(), &(flow_ladder_options){.parts = 5}, &layers_error), AD_EARG,
                          "ladder: 5 parts of 4 features");
    layers_assert_refused(flow_ladder(4, 0, affine(), &(flow_ladder_options){.sees = -1}, &layers_error), AD_EARG,
                          "each seeing -1");
    layers_assert_refused(flow_ladder(0, 0, affine(), NULL, &layers_error), AD_EARG, "ladder: 0 features");
    layers_error = (ad_error){AD_EIO, "as it was"};
    layers_assert_refused(flow_hint(4, 0, NULL, NULL, &layers_error), AD_EIO, "as it was");
    layers_assert_refused(
        flow_hint(4, 0, affine(), &(flow_hint_options){.couplings = {.conditioner = (flow_conditioner)9}},
                  &layers_error),
        AD_EARG, "hint: conditioner is 9");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gin_coupling_is_its_formula),
        cmocka_unit_test(of_one_feature_it_is_a_shift),
        cmocka_unit_test(wild_numbers_stay_bounded),
        cmocka_unit_test(only_layers_that_map_at_once_take_it),
        cmocka_unit_test(a_revnet_pair_is_its_formula),
        cmocka_unit_test(a_pair_is_two_couplings),
        cmocka_unit_test(hint_is_couplings_of_couplings),
        cmocka_unit_test(the_jacobian_of_hint_is_triangular_without_zeros),
        cmocka_unit_test(depth_and_taper_say_how_large_it_is),
        cmocka_unit_test(a_ladder_of_two_parts_is_a_coupling),
        cmocka_unit_test(parts_see_those_before_them),
        cmocka_unit_test(a_ladder_is_its_formula),
        cmocka_unit_test(with_a_context_the_first_part_is_mapped_too),
        cmocka_unit_test(reports_look_at_every_coupling),
        cmocka_unit_test(nets_may_be_given),
        cmocka_unit_test(one_feature_wants_a_context),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
