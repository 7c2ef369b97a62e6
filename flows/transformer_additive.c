// transformer_additive.c -- the element map v + shift (NICE, Dinh, Krueger and Bengio 2015): it keeps volumes.
#include "internal.h"

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)t;
    return (flow_result){ad_add(v, flow_parameter(p, 0)), AD_NONE};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)t;
    return (flow_result){ad_sub(v, flow_parameter(p, 0)), AD_NONE};
}

flow_transformer *flow_additive_transformer(ad_error *error) {
    return flow_transformer_new(&flow_additive_transformer_type, sizeof(flow_transformer), 1, error);
}

static json_t *describe(const flow_transformer *t) {
    (void)t;
    return json_object();
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)options, (void)making;
    return flow_additive_transformer(error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type, (void)options;
    return flow_additive_transformer(error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type, (void)i;
    return flow_additive_transformer(error);
}

const flow_transformer_type flow_additive_transformer_type = {.name = "additive",
                                                              .normalize = normalize,
                                                              .generate = generate,
                                                              .describe = describe,
                                                              .make = make,
                                                              .example = example,
                                                              .usual = usual};
