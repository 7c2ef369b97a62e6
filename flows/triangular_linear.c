// triangular_linear.c -- a lower or upper triangular matrix with a positive diagonal: z = T x + b.
//
// Each feature sees those before it (lower) or after it (upper) and itself: the linear autoregressive map, whose
// determinant is the product of the diagonal.
#include "internal.h"

typedef struct triangular {
    flow_linear_layer linear;
    ad_param *T;  // [D,D]; on the diagonal raw log-scales, the other half is not used
    bool upper;
} triangular;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const triangular *l = (const triangular *)layer;
    ad_var s, T = flow_triangle(ad_use(x.tape, l->T), l->upper, l->linear.bound, &s);
    return (flow_result){ad_linear(T, x, flow_linear_b(&l->linear, x.tape)), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const triangular *l = (const triangular *)layer;
    ad_var s, T = flow_triangle(ad_use(z.tape, l->T), l->upper, l->linear.bound, &s);
    ad_var x = ad_solve_triangular(T, flow_linear_unshift(&l->linear, z), l->upper ? AD_UPPER : 0);
    return (flow_result){x, ad_neg(s)};
}

flow_layer *flow_triangular_linear(int64_t D, const flow_triangular_options *options, ad_error *error) {
    flow_triangular_options o = options ? *options : (flow_triangular_options){0};
    triangular *l = flow_linear_layer_new(&flow_triangular_linear_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    l->upper = o.upper;
    l->T = flow_add_param(&l->linear.layer.owner, "T", o.linear.type, ad_shape2(D, D), error);
    for (int64_t i = 0; l->T && o.linear.random && i < D * D; i++) {
        bool used = o.upper ? i % D > i / D : i % D < i / D;
        if (used) ad_param_set(l->T, i, flow_random_unit(&o.linear.seed) / (double)D);
    }
    if (l->T) return &l->linear.layer;
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const triangular *l = (const triangular *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "upper", json_boolean(l->upper));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_triangular_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) || !flow_json_bool(options, "upper", &o.upper, error) ||
        !flow_take_elements(making, D * D + D, error)) {
        return NULL;
    }
    return flow_triangular_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_triangular_options o = {.upper = i % 2,
                                 .linear = {.no_shift = i % 4 == 1,
                                            .random = i % 3,
                                            .bound = i % 5 == 2 ? 0.7 : 0,
                                            .seed = (uint64_t)i,
                                            .type = i % 4 < 2 ? AD_F64 : AD_F32}};
    return flow_triangular_linear(1 + i % 6, &o, error);
}

const flow_layer_type flow_triangular_linear_type = {.name = "triangular linear",
                                                     .normalize = normalize,
                                                     .generate = generate,
                                                     .describe = describe,
                                                     .make = make,
                                                     .example = example};
