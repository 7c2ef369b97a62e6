// layer.c -- one layer: made, freed, and recorded on its own.
#include <stdlib.h>

#include "internal.h"

void *flow_layer_new(const flow_layer_type *type, size_t size, int64_t D, int64_t C, ad_error *error) {
    if (D < 1 || D > FLOW_MAX_FEATURES || C < 0 || C > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "%s: %lld features and %lld of context; expected 1 to 2^24 and 0 to 2^24", type->name,
                (long long)D, (long long)C);
        return NULL;
    }
    flow_layer *layer = calloc(1, size);
    if (!layer) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
        return NULL;
    }
    layer->type = type;
    layer->x_shape = layer->z_shape = ad_shape1(D);
    layer->C = C;
    layer->initialised = type->init == NULL;
    layer->jacobian.structure = type->structure;
    return layer;
}

bool flow_narrow(double *low, double *high, double also_low, double also_high) {
    if (also_low == also_high) return true;
    const bool anywhere = *low == *high;
    *low = anywhere ? also_low : fmax(*low, also_low);
    *high = anywhere ? also_high : fmin(*high, also_high);
    return *low < *high;
}

ad_status flow_init_layer(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error) {
    const flow_layer_type *type = layer->type;
    ad_status (*init)(flow_layer *, const flow_rows *, ad_error *) =
        direction == FLOW_NORMALIZE ? type->init : type->init_back;
    if (layer->initialised) return AD_OK;
    if (!init) {
        return ad_fail(error, AD_EORDER,
                       "inverse: a %s cannot be initialised from data the other way round; give it its numbers",
                       type->name);
    }
    const ad_status status = init(layer, rows, error);
    if (status == AD_OK) layer->initialised = true;
    return status;
}

void flow_layer_free(flow_layer *layer) {
    if (layer) flow_owner_free(&layer->owner);
}

// A context given to a layer that takes none is a caller's mistake here, unlike in a chain.
static flow_result whole(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context) {
    bool normalize = direction == FLOW_NORMALIZE;
    if (!flow_check_call(layer->type->name, v, normalize ? layer->x_shape : layer->z_shape, context, layer->C)) {
        return (flow_result){flow_inert(v), flow_inert(v)};
    }
    return flow_record_whole(layer, direction, v, context);
}

flow_result flow_layer_normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return whole(layer, FLOW_NORMALIZE, x, context);
}

flow_result flow_layer_generate(const flow_layer *layer, ad_var z, ad_var context) {
    return whole(layer, FLOW_GENERATE, z, context);
}
