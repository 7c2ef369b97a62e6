// svd_linear.c -- an invertible linear map by its singular values: z = U diag(exp(s)) V x + b, U and V products of
// reflections.
//
// Zhang, Lei and Dhillon 2018; as nflows's SVDLinear. The condition number is the parameters' own, at most e^(2 bound),
// and both directions cost the same.
#include "internal.h"

typedef struct svd_linear {
    flow_reflecting v;
    ad_param *U, *log_scale;  // [K,D], [D] raw
} svd_linear;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const svd_linear *l = (const svd_linear *)layer;
    flow_reflections U = flow_reflections_use(x.tape, l->U), V = flow_reflections_use(x.tape, l->v.V);
    ad_var s = flow_bounded(ad_use(x.tape, l->log_scale), l->v.linear.bound);
    ad_var y = flow_reflect(&U, ad_mul(flow_reflect(&V, x, false), ad_exp(s)), false);
    return (flow_result){flow_linear_shift(&l->v.linear, y), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const svd_linear *l = (const svd_linear *)layer;
    flow_reflections U = flow_reflections_use(z.tape, l->U), V = flow_reflections_use(z.tape, l->v.V);
    ad_var s = ad_neg(flow_bounded(ad_use(z.tape, l->log_scale), l->v.linear.bound));
    ad_var y = flow_reflect(&U, flow_linear_unshift(&l->v.linear, z), true);
    return (flow_result){flow_reflect(&V, ad_mul(y, ad_exp(s)), true), s};
}

flow_layer *flow_svd_linear(int64_t D, const flow_householder_options *options, ad_error *error) {
    flow_householder_options o;
    svd_linear *l = flow_reflecting_new(&flow_svd_linear_type, sizeof *l, D, options, &o, error);
    if (!l) return NULL;
    flow_owner *owner = &l->v.linear.layer.owner;
    if ((l->U = flow_add_param(owner, "U", o.linear.type, ad_shape2(o.reflections, D), error)) &&
        (l->v.V = flow_add_param(owner, "V", o.linear.type, ad_shape2(o.reflections, D), error)) &&
        (l->log_scale = flow_add_param(owner, "log_scale", o.linear.type, ad_shape1(D), error))) {
        flow_reflections_start(l->U, o.linear.random, &o.linear.seed);
        flow_reflections_start(l->v.V, o.linear.random, &o.linear.seed);
        return &l->v.linear.layer;
    }
    flow_layer_free(&l->v.linear.layer);
    return NULL;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_householder_options o;
    if (!flow_reflecting_read(options, &D, &o, error) ||
        !flow_take_elements(making, 2 * (o.reflections + 1) * D, error)) {
        return NULL;
    }
    return flow_svd_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const flow_householder_options o = flow_reflecting_example(i);
    return flow_svd_linear(1 + i % 5, &o, error);
}

const flow_layer_type flow_svd_linear_type = {.name = "svd linear",
                                              .normalize = normalize,
                                              .generate = generate,
                                              .describe = flow_reflecting_describe,
                                              .make = make,
                                              .example = example};
