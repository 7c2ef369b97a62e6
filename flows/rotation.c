// rotation.c -- a random rotation of all features, drawn once and not trained.
//
// Q of the QR factors of a Gaussian matrix, R's diagonal positive (Stewart 1980), with determinant 1: uniform among the
// rotations. It mixes features where a permutation only reorders them. Kept in the model as numbers, in double, so that
// a file means the same map on every machine.
#include "internal.h"

typedef struct rotation {
    flow_layer layer;
    ad_state *Q;  // [D,D], in double
} rotation;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    return (flow_result){ad_linear(ad_use_state(x.tape, ((const rotation *)layer)->Q), x, AD_NONE), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    return (flow_result){ad_linear_transposed(ad_use_state(z.tape, ((const rotation *)layer)->Q), z), AD_NONE};
}

static rotation *without_numbers(int64_t D, ad_error *error) {
    rotation *l = flow_layer_new(&flow_rotation_type, sizeof *l, D, 0, error);
    if (!l) return NULL;
    l->Q = flow_add_state(&l->layer.owner, "Q", AD_F64, ad_shape2(D, D), error);
    if (l->Q) return l;
    flow_layer_free(&l->layer);
    return NULL;
}

flow_layer *flow_rotation(int64_t D, uint64_t seed, ad_error *error) {
    rotation *l = without_numbers(D, error);
    if (!l || flow_random_rotation(l->Q->data, D, seed, error)) return l ? &l->layer : NULL;
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "features", (json_int_t)layer->x_shape.dim[0]);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_take_elements(making, D * D, error)) {
        return NULL;
    }
    rotation *l = without_numbers(D, error);
    return l ? &l->layer : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    return flow_rotation(1 + i % 8, (uint64_t)i, error);
}

const flow_layer_type flow_rotation_type = {.name = "rotation",
                                            .structure = FLOW_ORTHOGONAL,
                                            .normalize = normalize,
                                            .generate = generate,
                                            .describe = describe,
                                            .make = make,
                                            .example = example};
