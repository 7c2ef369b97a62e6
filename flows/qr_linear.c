// qr_linear.c -- an invertible linear map by its QR factors: z = Q R x + b, Q a product of reflections.
//
// Hoogeboom, van den Berg and Welling 2019 (section 3.3); R is upper triangular with a positive diagonal, bounded both
// ways.
#include "internal.h"

typedef struct qr_linear {
    flow_linear_layer linear;
    ad_param *V, *R;  // [K,D], [D,D]
} qr_linear;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const qr_linear *l = (const qr_linear *)layer;
    flow_reflections Q = flow_reflections_use(x.tape, l->V);
    ad_var s, R = flow_triangle(ad_use(x.tape, l->R), true, l->linear.bound, &s);
    ad_var y = flow_reflect(&Q, ad_linear(R, x, AD_NONE), false);
    return (flow_result){flow_linear_shift(&l->linear, y), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const qr_linear *l = (const qr_linear *)layer;
    flow_reflections Q = flow_reflections_use(z.tape, l->V);
    ad_var s, R = flow_triangle(ad_use(z.tape, l->R), true, l->linear.bound, &s);
    ad_var y = flow_reflect(&Q, flow_linear_unshift(&l->linear, z), true);
    return (flow_result){ad_solve_triangular(R, y, AD_UPPER), ad_neg(s)};
}

flow_layer *flow_qr_linear(int64_t D, const flow_householder_options *options, ad_error *error) {
    flow_householder_options o = options ? *options : (flow_householder_options){0};
    const int64_t K = o.reflections == 0 ? D + D % 2 : o.reflections;
    if (K < 0 || K > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "qr linear: %lld reflections; expected 1 to 2^24", (long long)K);
        return NULL;
    }
    qr_linear *l = flow_linear_layer_new(&flow_qr_linear_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    flow_owner *owner = &l->linear.layer.owner;
    if ((l->V = flow_add_param(owner, "V", o.linear.type, ad_shape2(K, D), error)) &&
        (l->R = flow_add_param(owner, "R", o.linear.type, ad_shape2(D, D), error))) {
        flow_reflections_start(l->V, o.linear.random, &o.linear.seed);
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const qr_linear *l = (const qr_linear *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "reflections", json_integer(l->V->shape.dim[0]));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_householder_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) ||
        !flow_json_int(options, "reflections", 1, FLOW_MAX_FEATURES, &o.reflections, error) ||
        !flow_take_elements(making, (o.reflections + D + 1) * D, error)) {
        return NULL;
    }
    return flow_qr_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_householder_options o = {.reflections = i % 4,
                                  .linear = {.no_shift = i % 3 == 1,
                                             .random = i % 2,
                                             .bound = i % 7 == 3 ? 1 : 0,
                                             .seed = (uint64_t)i,
                                             .type = i % 5 < 3 ? AD_F64 : AD_F32}};
    return flow_qr_linear(1 + i % 5, &o, error);
}

const flow_layer_type flow_qr_linear_type = {.name = "qr linear",
                                             .normalize = normalize,
                                             .generate = generate,
                                             .describe = describe,
                                             .make = make,
                                             .example = example};
