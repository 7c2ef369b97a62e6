// transformer.c -- element maps: made, freed, recorded, and how their raw parameters lie.
#include <stdlib.h>

#include "internal.h"

void *flow_transformer_new(const flow_transformer_type *type, size_t size, int64_t P, ad_error *error) {
    if (P < 1 || P > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "%s: %lld parameters a feature, expected 1 to 2^24", type->name, (long long)P);
        return NULL;
    }
    flow_transformer *t = calloc(1, size);
    if (!t) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
        return NULL;
    }
    t->type = type;
    t->P = P;
    return t;
}

void flow_transformer_free(flow_transformer *transformer) {
    if (transformer) flow_owner_free(&transformer->owner);
}

// ---- parameters -----------------------------------------------------------------------------------------------------

static ad_var flat(ad_var raw) {
    ad_shape s = ad_shape_of(raw);
    return s.rank == 1 ? raw : ad_reshape(raw, ad_shape1(ad_shape_count(s)));
}

ad_var flow_parameter(flow_parameters p, int64_t i) {
    if (p.by_feature && p.n > 1) return ad_slice_step(flat(p.raw), 0, i, p.n, p.P);
    return ad_slice(flat(p.raw), 0, i * p.n, p.n);
}

ad_var flow_parameters_by_feature(flow_parameters p) {
    if (p.by_feature || p.n == 1 || p.P == 1) return ad_reshape(p.raw, ad_shape2(p.n, p.P));
    return ad_transpose(ad_reshape(p.raw, ad_shape2(p.P, p.n)), (const int[]){1, 0});
}

void flow_identity(const flow_transformer *t, double *raw) {
    for (int64_t i = 0; i < t->P; i++) raw[i] = 0;
    if (t->type->identity) t->type->identity(t, raw);
}

bool flow_start_as_identity(const flow_transformer *t, ad_param *param, int64_t n, bool by_feature, ad_error *error) {
    double *raw = calloc((size_t)t->P, sizeof *raw);
    if (!raw) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", t->type->name);
        return false;
    }
    flow_identity(t, raw);
    for (int64_t i = 0; i < n * t->P; i++) ad_param_set(param, i, raw[by_feature ? i % t->P : i / n]);
    free(raw);
    return true;
}

bool flow_narrow_layer(flow_layer *layer, flow_transformer *t, bool inverse, ad_error *error) {
    t->swapped = inverse;
    const double low = inverse ? t->z_low : t->low, high = inverse ? t->z_high : t->high;
    const double z_low = inverse ? t->low : t->z_low, z_high = inverse ? t->high : t->z_high;
    if (flow_narrow(&layer->low, &layer->high, low, high) && flow_narrow(&layer->z_low, &layer->z_high, z_low, z_high)) {
        return true;
    }
    ad_fail(error, AD_EARG, "%s: the transformer %s is for another range", layer->type->name, t->type->name);
    return false;
}

bool flow_same_ranges(const flow_transformer *t, const flow_transformer *kept) {
    if (!kept) return t->low == t->z_low && t->high == t->z_high;
    return t->low == kept->low && t->high == kept->high && t->z_low == kept->z_low && t->z_high == kept->z_high;
}

// ---- both directions ------------------------------------------------------------------------------------------------

flow_result flow_transform(const flow_transformer *t, flow_direction direction, flow_parameters p, ad_var v) {
    return (direction == FLOW_NORMALIZE ? t->type->normalize : t->type->generate)(t, p, v);
}

flow_gauges flow_gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    return t->type->gauge ? t->type->gauge(t, p, v) : (flow_gauges){AD_NONE, AD_NONE};
}

ad_var flow_seen(const flow_transformer *t, ad_var v) {
    return t->type->seen ? t->type->seen(t, v) : v;
}

flow_result flow_transformer_normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    return flow_transform(t, FLOW_NORMALIZE, p, v);
}

flow_result flow_transformer_generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    return flow_transform(t, FLOW_GENERATE, p, v);
}
