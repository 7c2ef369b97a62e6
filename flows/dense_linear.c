// dense_linear.c -- any square matrix: z = W x + b, its determinant by LU factors.
#include "internal.h"

typedef struct dense {
    flow_linear_layer linear;
    ad_param *W;  // [D,D]
} dense;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const dense *l = (const dense *)layer;
    ad_var W = ad_use(x.tape, l->W);
    return (flow_result){ad_linear(W, x, flow_linear_b(&l->linear, x.tape)), ad_log_abs_det(W)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const dense *l = (const dense *)layer;
    ad_var W = ad_use(z.tape, l->W);
    return (flow_result){ad_solve(W, flow_linear_unshift(&l->linear, z)), ad_neg(ad_log_abs_det(W))};
}

flow_layer *flow_dense_linear(int64_t D, const flow_linear_options *options, ad_error *error) {
    flow_linear_options o = options ? *options : (flow_linear_options){0};
    dense *l = flow_linear_layer_new(&flow_dense_linear_type, sizeof *l, D, &o, error);
    if (!l) return NULL;
    flow_layer *layer = &l->linear.layer;
    if ((l->W = flow_add_param(&layer->owner, "W", o.type, ad_shape2(D, D), error)) &&
        flow_start_matrix(l->W, o.random, o.seed, error)) {
        return layer;
    }
    flow_layer_free(layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return flow_linear_describe((const flow_linear_layer *)layer);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_linear_options o;
    if (!flow_linear_read(options, &D, &o, error) || !flow_take_elements(making, D * D + D, error)) return NULL;
    return flow_dense_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_linear_options o = {
        .no_shift = i % 4 == 1, .random = i % 2, .seed = (uint64_t)i, .type = i % 3 ? AD_F64 : AD_F32};
    return flow_dense_linear(1 + i % 5, &o, error);
}

const flow_layer_type flow_dense_linear_type = {.name = "dense linear",
                                                .normalize = normalize,
                                                .generate = generate,
                                                .describe = describe,
                                                .make = make,
                                                .example = example};
