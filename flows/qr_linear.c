// qr_linear.c -- an invertible linear map by its QR factors: z = Q R x + b, Q a product of reflections.
//
// Hoogeboom, van den Berg and Welling 2019 (section 3.3); R is upper triangular with a positive diagonal, bounded both
// ways.
#include "internal.h"

typedef struct qr_linear {
    flow_reflecting q;
    ad_param *R;  // [D,D]
} qr_linear;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const qr_linear *l = (const qr_linear *)layer;
    flow_reflections Q = flow_reflections_use(x.tape, l->q.V);
    ad_var s, R = flow_triangle(ad_use(x.tape, l->R), true, l->q.linear.bound, &s);
    ad_var y = flow_reflect(&Q, ad_linear(R, x, AD_NONE), false);
    return (flow_result){flow_linear_shift(&l->q.linear, y), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const qr_linear *l = (const qr_linear *)layer;
    flow_reflections Q = flow_reflections_use(z.tape, l->q.V);
    ad_var s, R = flow_triangle(ad_use(z.tape, l->R), true, l->q.linear.bound, &s);
    ad_var y = flow_reflect(&Q, flow_linear_unshift(&l->q.linear, z), true);
    return (flow_result){ad_solve_triangular(R, y, AD_UPPER), ad_neg(s)};
}

flow_layer *flow_qr_linear(int64_t D, const flow_householder_options *options, ad_error *error) {
    flow_householder_options o;
    qr_linear *l = flow_reflecting_new(&flow_qr_linear_type, sizeof *l, D, options, &o, error);
    if (!l) return NULL;
    flow_owner *owner = &l->q.linear.layer.owner;
    if ((l->q.V = flow_add_param(owner, "V", o.linear.type, ad_shape2(o.reflections, D), error)) &&
        (l->R = flow_add_param(owner, "R", o.linear.type, ad_shape2(D, D), error))) {
        flow_reflections_start(l->q.V, o.linear.random, &o.linear.seed);
        return &l->q.linear.layer;
    }
    flow_layer_free(&l->q.linear.layer);
    return NULL;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_householder_options o;
    if (!flow_reflecting_read(options, &D, &o, error) ||
        !flow_take_elements(making, (o.reflections + D + 1) * D, error)) {
        return NULL;
    }
    return flow_qr_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const flow_householder_options o = flow_reflecting_example(i);
    return flow_qr_linear(1 + i % 5, &o, error);
}

const flow_layer_type flow_qr_linear_type = {.name = "qr linear",
                                             .normalize = normalize,
                                             .generate = generate,
                                             .describe = flow_reflecting_describe,
                                             .make = make,
                                             .example = example};
