// actnorm.c -- features brought to mean 0 and variance 1 by the data they first see, from there on learned.
//
// Kingma and Dhariwal 2018, section 3.1: z = exp(s) (x - mean) / sd + b. The statistics of the rows are states, and s
// and b start at 0: the map that Glow starts with and learns from, but centred before it is scaled, which keeps digits,
// with steps that do not depend on the data's units, and with a scale bounded about the data's own.
#include <stdlib.h>

#include "internal.h"

typedef struct actnorm {
    flow_linear_layer linear;
    ad_param *log_scale;  // [D], raw
    ad_state *mean, *sd;  // [D]
} actnorm;

static ad_var log_scale(const actnorm *l, ad_tape *tape) {
    ad_var s = flow_bounded(ad_use(tape, l->log_scale), l->linear.bound);
    return ad_sub(s, ad_log(ad_use_state(tape, l->sd)));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const actnorm *l = (const actnorm *)layer;
    ad_var s = log_scale(l, x.tape), off = ad_sub(x, ad_use_state(x.tape, l->mean));
    return (flow_result){flow_linear_shift(&l->linear, ad_mul(off, ad_exp(s))), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const actnorm *l = (const actnorm *)layer;
    ad_var s = ad_neg(log_scale(l, z.tape)), off = ad_mul(flow_linear_unshift(&l->linear, z), ad_exp(s));
    return (flow_result){ad_add(off, ad_use_state(z.tape, l->mean)), s};
}

static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const actnorm *l = (const actnorm *)layer;
    return flow_rows_fit("actnorm", FLOW_NORMALIZE, rows, l->mean, l->sd, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const actnorm *l = (const actnorm *)layer;
    return flow_rows_fit("actnorm", FLOW_GENERATE, rows, l->mean, l->sd, error);
}

flow_layer *flow_actnorm(int64_t D, const flow_linear_options *options, ad_error *error) {
    flow_linear_options o = options ? *options : (flow_linear_options){0};
    actnorm *l = flow_linear_layer_new(&flow_actnorm_type, sizeof *l, D, &o, error);
    if (!l) return NULL;
    flow_owner *owner = &l->linear.layer.owner;
    if ((l->log_scale = flow_add_param(owner, "log_scale", o.type, ad_shape1(D), error)) &&
        (l->mean = flow_add_state(owner, "mean", AD_F64, ad_shape1(D), error)) &&
        (l->sd = flow_add_state(owner, "sd", AD_F64, ad_shape1(D), error))) {
        for (int64_t d = 0; d < D; d++) ((double *)l->sd->data)[d] = 1;
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
    if (!flow_linear_read(options, &D, &o, error) || !flow_take_elements(making, 4 * D, error)) return NULL;
    return flow_actnorm(D, &o, error);
}

// Fitted to rows in units far apart.
static flow_layer *example(int i, ad_error *error) {
    enum { ROWS = 8, MOST = 5 };
    double x[ROWS * MOST];
    const int64_t D = 1 + i % MOST;
    uint64_t seed = (uint64_t)i;
    for (int64_t k = 0; k < ROWS * D; k++)
        x[k] = 2 * (double)(k % D) + (0.1 + (double)(k % D)) * flow_random_unit(&seed);
    flow_linear_options o = {.no_shift = i % 4 == 1, .bound = i % 3 == 1 ? 1 : 0, .type = i % 2 ? AD_F64 : AD_F32};
    flow_layer *layer = flow_actnorm(D, &o, error);
    flow_rows rows = {.x = {.data = x, .type = AD_F64, .count = ROWS}};
    if (layer && init(layer, &rows, error) == AD_OK) {
        layer->initialised = true;
        return layer;
    }
    flow_layer_free(layer);
    return NULL;
}

const flow_layer_type flow_actnorm_type = {.name = "actnorm",
                                           .structure = FLOW_ELEMENTWISE,
                                           .normalize = normalize,
                                           .generate = generate,
                                           .describe = describe,
                                           .make = make,
                                           .init = init,
                                           .init_back = init_back,
                                           .example = example};
