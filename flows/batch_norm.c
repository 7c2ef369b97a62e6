// batch_norm.c -- features brought to mean 0 and variance 1 by the batch's own statistics while training.
//
// Dinh, Sohl-Dickstein and Bengio 2017, section 3.7 and appendix E: z = gamma (x - mean) / sqrt(var + eps) + beta.
// While training, mean and variance are those of the batch and part of the graph; else running averages. log_det is
// that of the affine map with these numbers: sum log gamma - log(var + eps) / 2. gamma is exp(s), bounded both ways.
#include <math.h>

#include "internal.h"

typedef struct batch_norm {
    flow_linear_layer linear;   // b is beta
    ad_param *log_scale;        // [D], raw; NULL: gamma is 1
    ad_state *mean, *variance;  // [D], running averages
    double momentum, eps;
    bool lagged;
} batch_norm;

// s - log(var + eps) / 2.
static ad_var log_scale(const batch_norm *l, ad_var variance) {
    ad_var s = ad_scale(ad_log(ad_offset(variance, l->eps)), -0.5);
    return l->log_scale ? ad_add(s, flow_bounded(ad_use(variance.tape, l->log_scale), l->linear.bound)) : s;
}

static void move(ad_state *state, ad_var running, ad_var batch, double momentum) {
    ad_assign(state, ad_add(ad_scale(running, 1 - momentum), ad_scale(ad_stop_gradient(batch), momentum)));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const batch_norm *l = (const batch_norm *)layer;
    ad_var mean = ad_use_state(x.tape, l->mean), variance = ad_use_state(x.tape, l->variance);
    if (ad_is_training(x.tape) && ad_has_rows(x)) {
        ad_var batch_mean = ad_mean_rows(x), batch_variance = ad_variance_rows(x, 0);
        move(l->mean, mean, batch_mean, l->momentum);
        move(l->variance, variance, batch_variance, l->momentum);
        if (!l->lagged) mean = batch_mean, variance = batch_variance;
    }
    ad_var s = log_scale(l, variance);
    return (flow_result){flow_linear_shift(&l->linear, ad_mul(ad_sub(x, mean), ad_exp(s))), s};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const batch_norm *l = (const batch_norm *)layer;
    ad_var s = ad_neg(log_scale(l, ad_use_state(z.tape, l->variance)));
    ad_var off = ad_mul(flow_linear_unshift(&l->linear, z), ad_exp(s));
    return (flow_result){ad_add(off, ad_use_state(z.tape, l->mean)), s};
}

static ad_status fit(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error) {
    const batch_norm *l = (const batch_norm *)layer;
    ad_status status = flow_rows_fit("batch norm", direction, rows, l->mean, l->variance, error);
    double *variance = l->variance->data;
    for (int64_t d = 0; d < l->variance->count && status == AD_OK; d++) variance[d] *= variance[d];
    return status;
}
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return fit(layer, FLOW_NORMALIZE, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return fit(layer, FLOW_GENERATE, rows, error);
}

static bool settle(batch_norm *l, const flow_batch_norm_options *o, ad_error *error) {
    l->momentum = o->momentum == 0 ? 0.1 : o->momentum;
    l->eps = o->eps == 0 ? 1e-5 : o->eps;
    l->lagged = o->lagged;
    if (l->momentum > 0 && l->momentum <= 1 && l->eps >= 1e-30 && l->eps <= 1) return true;
    ad_fail(error, AD_EARG, "batch norm: momentum %g and eps %g; expected 0 to 1, and 1e-30 to 1", l->momentum, l->eps);
    return false;
}

flow_layer *flow_batch_norm(int64_t D, const flow_batch_norm_options *options, ad_error *error) {
    flow_batch_norm_options o = options ? *options : (flow_batch_norm_options){0};
    batch_norm *l = flow_linear_layer_new(&flow_batch_norm_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    flow_owner *owner = &l->linear.layer.owner;
    if (settle(l, &o, error) &&
        (o.no_scale || (l->log_scale = flow_add_param(owner, "log_scale", o.linear.type, ad_shape1(D), error))) &&
        (l->mean = flow_add_state(owner, "mean", AD_F64, ad_shape1(D), error)) &&
        (l->variance = flow_add_state(owner, "variance", AD_F64, ad_shape1(D), error))) {
        for (int64_t d = 0; d < D; d++) ((double *)l->variance->data)[d] = 1;
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const batch_norm *l = (const batch_norm *)layer;
    json_t *options = flow_json_with(flow_linear_describe(&l->linear), "scale", json_boolean(l->log_scale != NULL));
    options = flow_json_with(options, "momentum", json_real(l->momentum));
    return flow_json_with(flow_json_with(options, "eps", json_real(l->eps)), "lagged", json_boolean(l->lagged));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    bool scale;
    flow_batch_norm_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) || !flow_json_bool(options, "scale", &scale, error) ||
        !flow_json_number(options, "momentum", &o.momentum, error) ||
        !flow_json_number(options, "eps", &o.eps, error) || !flow_json_bool(options, "lagged", &o.lagged, error) ||
        !flow_take_elements(making, 4 * D, error)) {
        return NULL;
    }
    o.no_scale = !scale;
    return flow_batch_norm(D, &o, error);
}

// Running averages away from where they start.
static flow_layer *example(int i, ad_error *error) {
    flow_batch_norm_options o = {.no_scale = i % 5 == 1,
                                 .momentum = i % 3 == 2 ? 0.01 : 0,
                                 .eps = i % 4 == 3 ? 0.1 : 0,
                                 .lagged = i % 2,
                                 .linear = {.no_shift = i % 5 < 2, .type = i % 3 ? AD_F64 : AD_F32}};
    flow_layer *layer = flow_batch_norm(1 + i % 5, &o, error);
    uint64_t seed = (uint64_t)i;
    for (int64_t d = 0; layer && d < 1 + i % 5; d++) {
        ((double *)layer->owner.states[0]->data)[d] = 3 * flow_random_unit(&seed);
        ((double *)layer->owner.states[1]->data)[d] = exp(2 * flow_random_unit(&seed));
    }
    return layer;
}

const flow_layer_type flow_batch_norm_type = {.name = "batch norm",
                                              .normalize = normalize,
                                              .generate = generate,
                                              .describe = describe,
                                              .make = make,
                                              .init = init,
                                              .init_back = init_back,
                                              .example = example};
