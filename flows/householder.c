// householder.c -- an orthogonal matrix as a product of reflections: z = H_K ... H_1 x + b.
//
// Tomczak and Welling 2016; K = D reflections reach every rotation. The determinant is +-1 whatever the vectors are.
#include "internal.h"

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const flow_reflecting *l = (const flow_reflecting *)layer;
    flow_reflections r = flow_reflections_use(x.tape, l->V);
    return (flow_result){flow_linear_shift(&l->linear, flow_reflect(&r, x, false)), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const flow_reflecting *l = (const flow_reflecting *)layer;
    flow_reflections r = flow_reflections_use(z.tape, l->V);
    return (flow_result){flow_reflect(&r, flow_linear_unshift(&l->linear, z), true), AD_NONE};
}

flow_layer *flow_householder(int64_t D, const flow_householder_options *options, ad_error *error) {
    flow_householder_options o;
    flow_reflecting *l = flow_reflecting_new(&flow_householder_type, sizeof *l, D, options, &o, error);
    if (!l) return NULL;
    l->V = flow_add_param(&l->linear.layer.owner, "V", o.linear.type, ad_shape2(o.reflections, D), error);
    if (l->V) {
        flow_reflections_start(l->V, o.linear.random, &o.linear.seed);
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_householder_options o;
    if (!flow_reflecting_read(options, &D, &o, error) || !flow_take_elements(making, (o.reflections + 1) * D, error)) {
        return NULL;
    }
    return flow_householder(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const flow_householder_options o = flow_reflecting_example(i);
    return flow_householder(1 + i % 6, &o, error);
}

const flow_layer_type flow_householder_type = {.name = "householder",
                                               .structure = FLOW_ORTHOGONAL,
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = flow_reflecting_describe,
                                               .make = make,
                                               .example = example};
