// rank_one_linear.c -- the identity plus a matrix of rank one that keeps an inverse: z = x + u^ (v.x) + b.
//
// As a planar layer whose h is the identity (Rezende and Mohamed 2015, appendix A.1): u^ is u with the part along v
// moved so that 1 + v.u^ = m > 0. Here m = exp(bound tanh(v.u / bound)), so that log_det = log m is bounded both ways.
// The inverse is Sherman and Morrison's x = y - u^ (v.y) / m, y = z - b.
#include "internal.h"

typedef struct rank_one {
    flow_linear_layer linear;
    ad_param *u, *v;  // [D]
} rank_one;

typedef struct recorded {
    ad_var u_hat, v;  // [D,1], [1,D]
    ad_var log_m;     // []
} recorded;

static recorded record(const rank_one *l, ad_tape *tape) {
    const int64_t D = l->u->count;
    ad_var u = ad_use(tape, l->u), v = ad_use(tape, l->v), along = ad_sum(ad_mul(u, v));
    ad_var log_m = flow_bounded(along, l->linear.bound), square = ad_sum(ad_square(v));
    ad_var lift = ad_div(ad_sub(ad_expm1(log_m), along), ad_maximum(square, ad_number(tape, 1e-30)));
    return (recorded){.u_hat = ad_reshape(ad_add(u, ad_mul(v, lift)), ad_shape2(D, 1)),
                      .v = ad_reshape(v, ad_shape2(1, D)),
                      .log_m = log_m};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const rank_one *l = (const rank_one *)layer;
    recorded r = record(l, x.tape);
    ad_var across = ad_linear(r.u_hat, ad_linear(r.v, x, AD_NONE), flow_linear_b(&l->linear, x.tape));
    return (flow_result){ad_add(x, across), r.log_m};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const rank_one *l = (const rank_one *)layer;
    recorded r = record(l, z.tape);
    ad_var y = flow_linear_unshift(&l->linear, z);
    ad_var part = ad_mul(ad_linear(r.v, y, AD_NONE), ad_exp(ad_neg(r.log_m)));
    return (flow_result){ad_sub(y, ad_linear(r.u_hat, part, AD_NONE)), ad_neg(r.log_m)};
}

flow_layer *flow_rank_one_linear(int64_t D, const flow_linear_options *options, ad_error *error) {
    flow_linear_options o = options ? *options : (flow_linear_options){0};
    rank_one *l = flow_linear_layer_new(&flow_rank_one_linear_type, sizeof *l, D, &o, error);
    if (!l) return NULL;
    flow_owner *owner = &l->linear.layer.owner;
    if ((l->u = flow_add_param(owner, "u", o.type, ad_shape1(D), error)) &&
        (l->v = flow_add_param(owner, "v", o.type, ad_shape1(D), error))) {
        flow_fill_uniform(l->v, 1, &o.seed);
        if (o.random) flow_fill_uniform(l->u, 1, &o.seed);
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return flow_linear_describe((const flow_linear_layer *)layer);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_linear_options o;
    if (!flow_linear_read(options, &D, &o, error) || !flow_take_elements(making, 3 * D, error)) return NULL;
    return flow_rank_one_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_linear_options o = {.no_shift = i % 4 == 1,
                             .random = i % 2,
                             .bound = i % 3 == 1 ? 0.6 : 0,
                             .seed = (uint64_t)i,
                             .type = i % 5 < 2 ? AD_F64 : AD_F32};
    return flow_rank_one_linear(1 + i % 6, &o, error);
}

const flow_layer_type flow_rank_one_linear_type = {.name = "rank one linear",
                                                   .normalize = normalize,
                                                   .generate = generate,
                                                   .describe = describe,
                                                   .make = make,
                                                   .example = example};
