// inverse.c -- a layer with its directions swapped.
#include "internal.h"

typedef struct inverse {
    flow_layer layer;
    flow_layer *inner;  // a part
} inverse;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return flow_record(((const inverse *)layer)->inner, FLOW_GENERATE, -1, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return flow_record(((const inverse *)layer)->inner, FLOW_NORMALIZE, -1, z, context);
}

// Data come to the side where the layer has its latents; and twice the other way round is the way it was.
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return flow_init_layer(((const inverse *)layer)->inner, FLOW_GENERATE, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return flow_init_layer(((const inverse *)layer)->inner, FLOW_NORMALIZE, rows, error);
}

flow_layer *flow_inverse(flow_layer *layer, ad_error *error) {
    if (layer && layer->discrete) {
        ad_fail(error, AD_EARG, "inverse: a %s is for whole numbers, and first of a chain only", layer->type->name);
        flow_layer_free(layer);
        return NULL;
    }
    inverse *v = layer ? flow_layer_new(&flow_inverse_type, sizeof *v, 1, layer->C, error) : NULL;
    if (!v) {
        flow_layer_free(layer);
        return NULL;
    }
    v->inner = layer;
    v->layer.x_shape = layer->z_shape;
    v->layer.z_shape = layer->x_shape;
    v->layer.low = layer->z_low, v->layer.high = layer->z_high;
    v->layer.z_low = layer->low, v->layer.z_high = layer->high;
    v->layer.initialised = layer->initialised;
    const flow_structure structure = layer->jacobian.structure;  // these hold of an inverse, too
    if (structure == FLOW_ELEMENTWISE || structure == FLOW_COUPLING || structure == FLOW_AUTOREGRESSIVE) {
        v->layer.jacobian = layer->jacobian;
    }
    if (flow_add_part(&v->layer.owner, "layer", &layer->owner, error) == AD_OK) return &v->layer;
    flow_layer_free(&v->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:o}", "layer", flow_describe_layer(((const inverse *)layer)->inner));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_inverse(flow_make_layer(json_object_get(options, "layer"), making, error), error);
}

static flow_layer *example(int i, ad_error *error) {
    const flow_layer_type *types[] = {&flow_coupling_type, &flow_lu_linear_type, &flow_logit_type, &flow_planar_type};
    return flow_inverse(types[i % 4]->example(i / 4, error), error);
}

const flow_layer_type flow_inverse_type = {.name = "inverse",
                                           .normalize = normalize,
                                           .generate = generate,
                                           .describe = describe,
                                           .make = make,
                                           .init = init,
                                           .init_back = init_back,
                                           .example = example};
