// diagonal_affine.c -- each feature scaled and shifted by numbers of its own: z = exp(s) x + b.
//
// The log-scale is bounded both ways, s = bound tanh(raw / bound), so that neither direction overflows.
#include "internal.h"

typedef struct diagonal {
    flow_linear_layer linear;
    ad_param *log_scale;  // [D], raw; NULL: no scale
} diagonal;

static ad_var log_scale(const diagonal *l, ad_tape *tape) {
    return l->log_scale ? flow_bounded(ad_use(tape, l->log_scale), l->linear.bound) : AD_NONE;
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const diagonal *l = (const diagonal *)layer;
    ad_var s = log_scale(l, x.tape), y = ad_is_none(s) ? x : ad_mul(x, ad_exp(s));
    return (flow_result){flow_linear_shift(&l->linear, y), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const diagonal *l = (const diagonal *)layer;
    ad_var s = log_scale(l, z.tape), y = flow_linear_unshift(&l->linear, z);
    if (ad_is_none(s)) return (flow_result){y, AD_NONE};
    return (flow_result){ad_mul(y, ad_exp(ad_neg(s))), ad_neg(s)};
}

static flow_gauges gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context) {
    (void)z, (void)context;
    const diagonal *l = (const diagonal *)layer;
    ad_var s = log_scale(l, x.tape);
    return (flow_gauges){ad_is_none(s) ? s : ad_abs(ad_scale(s, 1 / l->linear.bound)), AD_NONE};
}

flow_layer *flow_diagonal_affine(int64_t D, const flow_diagonal_options *options, ad_error *error) {
    flow_diagonal_options o = options ? *options : (flow_diagonal_options){0};
    if (o.no_scale && o.linear.no_shift) {
        ad_fail(error, AD_EARG, "diagonal affine: neither scale nor shift leaves nothing to do");
        return NULL;
    }
    diagonal *l = flow_linear_layer_new(&flow_diagonal_affine_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    flow_layer *layer = &l->linear.layer;
    if (!o.no_scale) {
        l->log_scale = flow_add_param(&layer->owner, "log_scale", o.linear.type, ad_shape1(D), error);
        if (!l->log_scale) {
            flow_layer_free(layer);
            return NULL;
        }
        if (o.linear.random) flow_fill_uniform(l->log_scale, 0.5, &o.linear.seed);
    }
    if (o.linear.random && l->linear.b) flow_fill_uniform(l->linear.b, 0.5, &o.linear.seed);
    return layer;
}

static json_t *describe(const flow_layer *layer) {
    const diagonal *l = (const diagonal *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "scale", json_boolean(l->log_scale != NULL));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    bool scale;
    flow_diagonal_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) || !flow_json_bool(options, "scale", &scale, error) ||
        !flow_take_elements(making, 2 * D, error)) {
        return NULL;
    }
    o.no_scale = !scale;
    return flow_diagonal_affine(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_diagonal_options o = {.no_scale = i % 5 == 1,
                               .linear = {.no_shift = i % 5 == 2,
                                          .random = i % 2,
                                          .bound = i % 3 == 2 ? 0.5 : 0,
                                          .seed = (uint64_t)i,
                                          .type = i % 4 < 2 ? AD_F64 : AD_F32}};
    return flow_diagonal_affine(1 + i % 7, &o, error);
}

const flow_layer_type flow_diagonal_affine_type = {.name = "diagonal affine",
                                                   .structure = FLOW_ELEMENTWISE,
                                                   .normalize = normalize,
                                                   .generate = generate,
                                                   .describe = describe,
                                                   .make = make,
                                                   .example = example,
                                                   .gauge = gauge};
