// householder.c -- an orthogonal matrix as a product of reflections: z = H_K ... H_1 x + b.
//
// Tomczak and Welling 2016; K = D reflections reach every rotation. The determinant is +-1 whatever the vectors are.
#include "internal.h"

typedef struct householder {
    flow_linear_layer linear;
    ad_param *V;  // [K,D], of any length
} householder;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const householder *l = (const householder *)layer;
    flow_reflections r = flow_reflections_use(x.tape, l->V);
    return (flow_result){flow_linear_shift(&l->linear, flow_reflect(&r, x, false)), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const householder *l = (const householder *)layer;
    flow_reflections r = flow_reflections_use(z.tape, l->V);
    return (flow_result){flow_reflect(&r, flow_linear_unshift(&l->linear, z), true), AD_NONE};
}

flow_layer *flow_householder(int64_t D, const flow_householder_options *options, ad_error *error) {
    flow_householder_options o = options ? *options : (flow_householder_options){0};
    const int64_t K = o.reflections == 0 ? D + D % 2 : o.reflections;
    if (K < 0 || K > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "householder: %lld reflections; expected 1 to 2^24", (long long)K);
        return NULL;
    }
    householder *l = flow_linear_layer_new(&flow_householder_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    l->V = flow_add_param(&l->linear.layer.owner, "V", o.linear.type, ad_shape2(K, D), error);
    if (l->V) {
        flow_reflections_start(l->V, o.linear.random, &o.linear.seed);
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const householder *l = (const householder *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "reflections", json_integer(l->V->shape.dim[0]));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_householder_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) ||
        !flow_json_int(options, "reflections", 1, FLOW_MAX_FEATURES, &o.reflections, error) ||
        !flow_take_elements(making, (o.reflections + 1) * D, error)) {
        return NULL;
    }
    return flow_householder(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_householder_options o = {
        .reflections = i % 4,
        .linear = {.no_shift = i % 3 == 1, .random = i % 2, .seed = (uint64_t)i, .type = i % 5 < 3 ? AD_F64 : AD_F32}};
    return flow_householder(1 + i % 6, &o, error);
}

const flow_layer_type flow_householder_type = {.name = "householder",
                                               .structure = FLOW_ORTHOGONAL,
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = describe,
                                               .make = make,
                                               .example = example};
