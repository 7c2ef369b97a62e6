// test_layer_memory.c -- layers of data, and rows with weights, when memory runs out.
#include "failing.h"
#include "flows.h"

static const double x[8] = {1, 5, 2, 0, 3, 7, 0, 4}, weights[4] = {1, 0, 2, 1};

static bool fits_a_box(ad_error *error) {
    flow_layer *layer = flow_clip(2, NULL, error);
    flow_rows rows = {.x = util_source(x, 4)};
    bool ok = layer != NULL && layer->type->init(layer, &rows, error) == AD_OK;
    flow_layer_free(layer);
    return ok;
}

// The constructor that fails frees the others' layers.
static bool makes_a_model_of_whole_numbers(ad_error *error) {
    flow_layer *layers[2] = {flow_dequantise(2, NULL, error), NULL};
    if (layers[0] != NULL) layers[1] = flow_logit(2, NULL, error);
    flow_layer *chain = layers[0] != NULL ? flow_chain(layers, 2, error) : NULL;
    flow_base *base = chain != NULL ? flow_standard_normal(2, error) : NULL;
    flow_model *model = chain != NULL ? flow_model_new(chain, base, error) : NULL;
    flow_model_free(model);
    return model != NULL;
}

static bool leaves_rows_out(ad_error *error) {
    static flow_model *model;  // made once
    if (model == NULL) {
        model = flow_model_new(flow_clip(2, NULL, error), flow_standard_normal(2, error), error);
        if (model == NULL) return false;
    }
    flow_rows rows = {.x = util_source(x, 4), .weight = util_source(weights, 4)};
    flow_used_rows used;
    bool ok = flow_use_rows(&used, model, &rows, error) == AD_OK;
    assert_true(!ok || used.n == 3);
    flow_used_rows_free(&used);
    return ok;
}

// ---- couplings and the like: each owns transformers and nets from the call on -----------------------------------------

static bool made(flow_layer *layer) {
    flow_layer_free(layer);
    return layer != NULL;
}

static bool makes_a_coupling(ad_error *error) {
    flow_coupling_options o = {.mlp = {.layers = 1, .width = 3}, .kept_transformer = flow_spline_transformer(NULL, error)};
    if (o.kept_transformer == NULL) return false;
    return made(flow_coupling(4, 1, flow_affine_transformer(NULL, error), &o, error));
}

static bool makes_a_coupling_of_a_net(ad_error *error) {
    flow_coupling_options o = {.net = flow_residual_net(2, 2, &(flow_residual_net_options){.width = 3}, error), .shuffle = true};
    if (o.net == NULL) return false;
    return made(flow_coupling(4, 0, flow_additive_transformer(error), &o, error));
}

static bool makes_an_autoregressive_layer(ad_error *error) {
    const bool adjacency[9] = {0, 0, 0, 1, 0, 0, 1, 0, 0};
    const flow_autoregressive_options o = {
        .made = {.mlp = {.layers = 1, .width = 3}, .adjacency = adjacency, .residual = true}};
    return made(flow_autoregressive(3, 1, flow_spline_transformer(NULL, error), &o, error));
}

static bool makes_elementwise_layers(ad_error *error) {
    const flow_elementwise_options o = {.mlp = {.layers = 1, .width = 3}};
    flow_layer *layers[2] = {flow_elementwise(2, 0, flow_affine_transformer(NULL, error), &o, error), NULL};
    if (layers[0] != NULL) {
        layers[1] = flow_inverse(flow_elementwise(1, 2, flow_additive_transformer(error), &o, error), error);
    }
    return layers[0] != NULL && made(flow_split(layers, 2, error));
}

static bool makes_presets(ad_error *error) {
    const flow_mlp_options mlp = {.layers = 1, .width = 3};
    flow_model *a = flow_nsf(2, 0, &(flow_nsf_options){.layers = 1, .map_kept = true, .mlp = mlp}, error);
    flow_model *b = a ? flow_nice(2, 0, &(flow_nice_options){.layers = 1, .mlp = mlp}, error) : NULL;
    flow_model_free(a);
    flow_model_free(b);
    return b != NULL;
}

// A net in front of the context, which data-dependent initialisation puts rows through.
static bool embeds(ad_error *error) {
    flow_model *model = flow_from_text("realnvp:layers=1,hidden=3x1,embed=3x1,base=conditional", 2, 2, error);
    const flow_rows rows = {.x = util_source(x, 4), .context = util_source(x, 4)};
    bool ok = model != NULL && flow_init_from_data(model, &rows, error) == AD_OK;
    flow_model_free(model);
    return ok;
}

static bool makes_a_box(ad_error *error) {
    flow_base *base = flow_temper(flow_base_box(2, NULL, x, error), 0.5, error);
    flow_base_free(base);
    return base != NULL;
}

// Recorded anew each time: what is known of the tape's memory does not hide a failure.
static bool sweeps(ad_error *error) {
    static flow_layer *layer;  // made once
    const flow_autoregressive_options o = {.made = {.mlp = {.layers = 1, .width = 3}}};
    if (layer == NULL) layer = flow_affine_autoregressive(3, 0, &o, error);
    ad_tape *tape = layer != NULL ? ad_tape_new(NULL, AD_F64) : NULL;
    if (tape == NULL) return ad_fail(error, AD_ENOMEM, "no tape") == AD_OK;
    flow_result r = flow_layer_generate(layer, ad_constant(tape, ad_shape1(3), x), AD_NONE);
    ad_keep(r.value);
    ad_status status = ad_run(tape);
    if (status != AD_OK) ad_fail(error, status, "%s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status == AD_OK;
}

// A recursive coupling keeps its row in pieces while it is recorded.
static bool couples_again_and_again(ad_error *error) {
    static flow_layer *layer;  // made once
    const flow_hint_options o = {.couplings = {.mlp = {.layers = 1, .width = 3}}};
    if (layer == NULL) layer = flow_hint(5, 0, flow_affine_transformer(NULL, error), &o, error);
    ad_tape *tape = layer != NULL ? ad_tape_new(NULL, AD_F64) : NULL;
    if (tape == NULL) return ad_fail(error, AD_ENOMEM, "no tape") == AD_OK;
    flow_result r = flow_layer_generate(layer, ad_constant(tape, ad_shape1(5), x), AD_NONE);
    ad_keep(r.value);
    ad_status status = ad_run(tape);
    if (status != AD_OK) ad_fail(error, status, "%s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status == AD_OK;
}

static bool ranks(ad_error *error) {
    static flow_model *model;  // made once
    if (model == NULL) {
        flow_layer *layer = flow_ranked(flow_bijector(2, "asinh", NULL, error), false, error);
        model = layer ? flow_model_new(layer, flow_standard_normal(2, error), error) : NULL;
        if (model == NULL) return false;
    }
    const flow_rows rows = {.x = util_source(x, 4)};
    return flow_rank(model, &rows, error) == AD_OK;
}

#define FAILS(work)                     \
    static void work##_(void **state) { \
        (void)state;                    \
        failing_each(work);             \
    }
FAILS(makes_a_coupling)
FAILS(makes_a_coupling_of_a_net)
FAILS(makes_an_autoregressive_layer)
FAILS(makes_elementwise_layers)
FAILS(makes_presets)
FAILS(embeds)
FAILS(makes_a_box)
FAILS(sweeps)
FAILS(couples_again_and_again)
FAILS(ranks)

static void boxes(void **state) {
    (void)state;
    failing_each(fits_a_box);
}
static void models(void **state) {
    (void)state;
    failing_each(makes_a_model_of_whole_numbers);
}
static void weighted_rows(void **state) {
    (void)state;
    failing_each(leaves_rows_out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(boxes), cmocka_unit_test(models),
                                       cmocka_unit_test(weighted_rows),
                                       cmocka_unit_test(makes_a_coupling_),
                                       cmocka_unit_test(makes_a_coupling_of_a_net_),
                                       cmocka_unit_test(makes_an_autoregressive_layer_),
                                       cmocka_unit_test(makes_elementwise_layers_),
                                       cmocka_unit_test(makes_presets_),
                                       cmocka_unit_test(embeds_),
                                       cmocka_unit_test(makes_a_box_),
                                       cmocka_unit_test(sweeps_),
                                       cmocka_unit_test(couples_again_and_again_),
                                       cmocka_unit_test(ranks_)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
