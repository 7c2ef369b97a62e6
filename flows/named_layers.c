// named_layers.c -- couplings and autoregressive layers under the names of the field: a transformer and a form in one
// call.
#include <math.h>

#include "internal.h"

// Papers write the affine coupling in the direction of generate: x2 = z2 exp(s) + t.
flow_layer *flow_affine_coupling(int64_t D, int64_t C, const flow_coupling_options *options, ad_error *error) {
    flow_coupling_options o = options ? *options : (flow_coupling_options){.inverse = false};
    flow_transformer *t = flow_affine_transformer(&(flow_affine_transformer_options){.bound = o.bound}, error);
    o.bound = 0;
    o.inverse = !o.inverse;
    return flow_coupling(D, C, t, &o, error);
}

flow_layer *flow_gin_coupling(int64_t D, int64_t C, const flow_coupling_options *options, ad_error *error) {
    flow_coupling_options o = options ? *options : (flow_coupling_options){.inverse = false};
    flow_transformer *t = flow_incompressible_transformer(o.bound, error);
    o.bound = 0;
    o.inverse = !o.inverse;
    return flow_coupling(D, C, t, &o, error);
}

flow_layer *flow_revnet_pair(int64_t D, int64_t C, const flow_coupling_pair_options *options, ad_error *error) {
    return flow_coupling_pair(D, C, flow_additive_transformer(error), options, error);
}

flow_layer *flow_spline_coupling(int64_t D, int64_t C, const flow_spline_coupling_options *options, ad_error *error) {
    flow_spline_coupling_options o = options ? *options : (flow_spline_coupling_options){.bins = 0};
    const int64_t width = o.conditioner == FLOW_RESIDUAL_NET ? o.residual.width : o.mlp.width;
    const bool divide = o.divide && !o.net && width >= 0;
    flow_spline_transformer_options spline = {o.bins, o.spline, !divide ? 0 : width ? (double)width : 64};
    flow_coupling_options c = {.kept = o.kept,
                               .keep = o.keep,
                               .split = o.split,
                               .alternate = o.alternate,
                               .conditioner = o.conditioner,
                               .mlp = o.mlp,
                               .residual = o.residual,
                               .net = o.net};
    return flow_coupling(D, C, flow_spline_transformer(&spline, error), &c, error);
}

flow_layer *flow_affine_autoregressive(int64_t D, int64_t C, const flow_autoregressive_options *options,
                                       ad_error *error) {
    flow_autoregressive_options o = options ? *options : (flow_autoregressive_options){.inverse = false};
    flow_transformer *t = flow_affine_transformer(
        &(flow_affine_transformer_options){.scale = o.scale, .bound = o.bound, .floor = o.floor}, error);
    o.scale = FLOW_SCALE_TANH;
    o.bound = o.floor = 0;
    return flow_autoregressive(D, C, t, &o, error);
}

flow_layer *flow_all_in_one(int64_t D, int64_t C, const flow_all_in_one_options *options, ad_error *error) {
    flow_all_in_one_options o = options ? *options : (flow_all_in_one_options){.hard = false};
    const flow_linear_options linear = {.type = o.coupling.mlp.type};
    flow_layer *layers[3] = {flow_affine_coupling(D, C, &o.coupling, error), NULL, NULL};
    if (layers[0]) layers[1] = flow_actnorm(D, &linear, error);
    if (layers[1]) layers[2] = o.hard ? flow_random_permutation(D, o.seed, error) : flow_rotation(D, o.seed, error);
    return flow_chain(layers, 3, error);  // with a NULL among them: frees the others and fails
}
