// elementwise.c -- each feature mapped on its own, by learned parameters, or by those that a net gives of the context.
#include "internal.h"

typedef struct elementwise {
    flow_layer layer;
    flow_transformer *transformer;  // a part
    ad_param *raw;                  // learned parameters; NULL with a context
    flow_net *net;                  // [C] -> [D P], a part; NULL without
    bool inverse;
} elementwise;

static flow_parameters parameters_at(const elementwise *e, ad_tape *tape, ad_var context) {
    const flow_transformer *t = e->transformer;
    const int64_t D = e->layer.x_shape.dim[0];
    if (e->raw) return flow_use_raw(tape, e->raw, D, t);
    return (flow_parameters){flow_net_apply(e->net, context), D, t->P, t->type->by_feature};
}

static flow_result transform(const elementwise *e, flow_direction direction, ad_var v, ad_var context) {
    if (e->inverse) direction = !direction;
    return flow_transform(e->transformer, direction, parameters_at(e, v.tape, context), v);
}

static flow_gauges gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context) {
    const elementwise *e = (const elementwise *)layer;
    return flow_gauge(e->transformer, parameters_at(e, x.tape, context), e->inverse ? z : x);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const elementwise *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const elementwise *)layer, FLOW_GENERATE, z, context);
}

// Parameters, or the net that gives them.
static bool settle_parameters(elementwise *e, const flow_elementwise_options *o, ad_error *error) {
    const int64_t D = e->layer.x_shape.dim[0], C = e->layer.C;
    if (C == 0 && o->net) {
        ad_fail(error, AD_EARG, "elementwise: a net, but no context to give it");
        flow_net_free(o->net);
        return false;
    }
    if (C == 0) {
        e->raw = flow_add_raw(&e->layer.owner, "raw", o->type, D, e->transformer, error);
        return e->raw != NULL;
    }
    const flow_conditioner_options how = {o->conditioner, o->mlp, o->residual, o->net};
    e->net = flow_conditioner_net("elementwise", C, D, e->transformer, &how, error);
    return e->net && flow_add_part(&e->layer.owner, "net", &e->net->owner, error) == AD_OK;
}

flow_layer *flow_elementwise(int64_t D, int64_t C, flow_transformer *transformer,
                             const flow_elementwise_options *options, ad_error *error) {
    flow_elementwise_options o = options ? *options : (flow_elementwise_options){.inverse = false};
    elementwise *e = transformer ? flow_layer_new(&flow_elementwise_type, sizeof *e, D, C, error) : NULL;
    if (!e || flow_add_part(&e->layer.owner, "transformer", &transformer->owner, error)) {
        if (!e) flow_transformer_free(transformer);
        flow_net_free(o.net);
        flow_layer_free(e ? &e->layer : NULL);
        return NULL;
    }
    e->transformer = transformer;
    e->inverse = o.inverse;
    e->layer.jacobian.structure = FLOW_ELEMENTWISE;
    if (!flow_narrow_layer(&e->layer, transformer, o.inverse, error)) {
        flow_net_free(o.net);
    } else if (settle_parameters(e, &o, error)) {
        return &e->layer;
    }
    flow_layer_free(&e->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const elementwise *e = (const elementwise *)layer;
    return json_pack("{s:I, s:I, s:b, s:s, s:o, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "inverse", e->inverse, "precision",
                     flow_type_text(e->raw ? e->raw->type : AD_F32), "transformer",
                     flow_describe_transformer(e->transformer), "net",
                     e->net ? flow_describe_net(e->net) : json_null());
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_elementwise_options o = {.inverse = false};
    int64_t D, C;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_bool(options, "inverse", &o.inverse, error) || !flow_json_type(options, &o.type, error)) {
        return NULL;
    }
    flow_transformer *t = flow_make_transformer(json_object_get(options, "transformer"), making, error);
    bool fits = t && (C > 0 || flow_take_elements(making, D * t->P, error));
    if (fits && C > 0) o.net = flow_make_net(json_object_get(options, "net"), making, error);
    if (fits && (C == 0 || o.net)) return flow_elementwise(D, C, t, &o, error);
    flow_transformer_free(t);
    return NULL;
}

static flow_layer *example(int i, ad_error *error) {
    const ad_type type = i % 2 ? AD_F64 : AD_F32;
    flow_elementwise_options o = {
        .inverse = i / 2 % 2,
        .type = type,
        .mlp = {.layers = 1, .width = 5, .activation = FLOW_TANH, .seed = (uint64_t)i, .type = type}};
    return flow_elementwise(1 + i % 6, i / 3 % 3, flow_example_transformer(i, error), &o, error);
}

const flow_layer_type flow_elementwise_type = {.name = "elementwise",
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = describe,
                                               .make = make,
                                               .example = example,
                                               .gauge = gauge};
