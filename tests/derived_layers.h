// derived_layers.h -- for tests: derived layers of every structure, with examples for the laws.
#ifndef PULLBACK_TESTS_DERIVED_LAYERS_H
#define PULLBACK_TESTS_DERIVED_LAYERS_H

#include "layers.h"

static inline ad_type derived_precision(int i) {
    return i % 3 == 2 ? AD_F32 : AD_F64;
}

// ---- elementwise ---------------------------------------------------------------------------------------------------

static ad_var sinh_arcsinh(const flow_call *c, ad_var x) {
    return ad_sinh(ad_mul(ad_add(ad_asinh(x), flow_use(c, "skew")), ad_exp(flow_use(c, "tail"))));
}
static const flow_derivation sinh_arcsinh_map = {FLOW_ELEMENTWISE, .normalize = sinh_arcsinh,
                                                 .tensors = {{.name = "skew"}, {.name = "tail"}}};
static flow_layer *sinh_arcsinh_example(int i, ad_error *error);
static const flow_layer_type sinh_arcsinh_type = {
    .name = "sinh-arcsinh", .derived = &sinh_arcsinh_map, .example = sinh_arcsinh_example};
static flow_layer *sinh_arcsinh_example(int i, ad_error *error) {
    return flow_derive(&sinh_arcsinh_type, 1 + i % 4, 0, &(flow_derive_options){.type = derived_precision(i)}, error);
}

// Slope 1 where x > 0, else an option: decreasing features too, by a sign that is a state.
static ad_var leaky(const flow_call *c, ad_var x) {
    return ad_mul(flow_use(c, "sign"), ad_leaky_relu(x, flow_number_of(c->layer, "slope")));
}
static const flow_derivation leaky_map = {FLOW_ELEMENTWISE, .normalize = leaky,
                                          .tensors = {{.name = "sign", .start = 1, .state = true}},
                                          .numbers = {{"slope", 0.1}}};
static flow_layer *leaky_example(int i, ad_error *error);
static const flow_layer_type leaky_type = {.name = "leaky", .derived = &leaky_map, .example = leaky_example};
static flow_layer *leaky_example(int i, ad_error *error) {
    const flow_number numbers[] = {{"slope", 0.05 + 0.1 * (i % 10)}, {NULL, 0}};
    flow_derive_options o = {.numbers = i % 2 ? numbers : NULL, .type = derived_precision(i)};
    flow_layer *layer = flow_derive(&leaky_type, 1 + i % 3, 0, &o, error);
    if (layer && derived_precision(i) == AD_F64) ((double *)layer->owner.states[0]->data)[0] = -1;
    return layer;
}

// A shift and a scale by a conditioner: of the context, of what a coupling keeps, of the features before, or learned.
static ad_var bend(const flow_call *c, ad_var v) {
    ad_var s = flow_use_parameter(c, 0), t = flow_use_parameter(c, 1);
    return ad_sinh(ad_add(ad_mul(ad_asinh(v), ad_exp(ad_tanh(s))), t));
}
static const flow_derivation bend_map = {FLOW_ELEMENTWISE, .generate = bend, .conditioner = 2};
static const flow_derivation bend_coupling_map = {FLOW_COUPLING, .normalize = bend, .conditioner = 2};
static const flow_derivation bend_autoregressive_map = {FLOW_AUTOREGRESSIVE, .normalize = bend, .conditioner = 2};
static flow_layer *bend_example(int i, ad_error *error);
static flow_layer *bend_coupling_example(int i, ad_error *error);
static flow_layer *bend_autoregressive_example(int i, ad_error *error);
static const flow_layer_type bend_type = {.name = "bend", .derived = &bend_map, .example = bend_example};
static const flow_layer_type bend_coupling_type = {
    .name = "bend coupling", .derived = &bend_coupling_map, .example = bend_coupling_example};
static const flow_layer_type bend_autoregressive_type = {
    .name = "bend autoregressive", .derived = &bend_autoregressive_map, .example = bend_autoregressive_example};

static inline flow_derive_options bend_options(int i) {
    return (flow_derive_options){
        .mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH}, .type = derived_precision(i), .seed = (uint64_t)i};
}
static flow_layer *bend_example(int i, ad_error *error) {
    flow_derive_options o = bend_options(i);
    return flow_derive(&bend_type, 1 + i % 3, i % 2 ? 2 : 0, &o, error);
}
static flow_layer *bend_coupling_example(int i, ad_error *error) {
    static const int64_t order[5] = {1, 4, 2, 0, 3};
    const int64_t D = 1 + i % 5;
    flow_derive_options o = bend_options(i);
    o.keep = i % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST;
    o.split = D > 2 && i % 3 == 1 ? 1 : 0;
    if (D == 5) o.order = order;
    return flow_derive(&bend_coupling_type, D, D == 1 ? 2 : i % 3, &o, error);
}
static flow_layer *bend_autoregressive_example(int i, ad_error *error) {
    static const int64_t order[3] = {2, 0, 1};
    flow_derive_options o = bend_options(i);
    o.order = i % 3 == 2 && i % 2 ? order : NULL;
    return flow_derive(&bend_autoregressive_type, 1 + i % 3, i % 2 ? 0 : 2, &o, error);
}

// ---- autoregressive, a whole map -----------------------------------------------------------------------------------

// z = x + x^3 / 3 at each feature, plus a strictly lower triangular matrix times tanh(x).
static ad_var cubic_chain(const flow_call *c, ad_var x) {
    ad_var L = ad_tril(flow_use(c, "L"), -1), own = ad_add(x, ad_scale(ad_mul(x, ad_square(x)), 1.0 / 3));
    return ad_add(own, ad_linear(L, ad_tanh(x), AD_NONE));
}
static const flow_derivation cubic_chain_map = {
    FLOW_AUTOREGRESSIVE, .normalize = cubic_chain,
    .tensors = {{.name = "L", .dim = {FLOW_DIM_FEATURES, FLOW_DIM_FEATURES}, .spread = 1}}};
static flow_layer *cubic_chain_example(int i, ad_error *error);
static const flow_layer_type cubic_chain_type = {
    .name = "cubic chain", .derived = &cubic_chain_map, .example = cubic_chain_example};
static flow_layer *cubic_chain_example(int i, ad_error *error) {
    flow_derive_options o = {.type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&cubic_chain_type, 1 + i % 4, 0, &o, error);
}

// ---- volume-preserving ---------------------------------------------------------------------------------------------

// One step of a pendulum's time (leapfrog, an area-preserving map of place and speed), for as long as the context says.
static ad_var pendulum(const flow_call *c, ad_var x) {
    ad_var q = ad_slice(x, 0, 0, 1), p = ad_slice(x, 0, 1, 1), h = ad_scale(ad_tanh(c->context), 0.5);
    p = ad_sub(p, ad_mul(h, ad_mul(flow_use(c, "g"), ad_sin(q))));
    ad_var both[2] = {ad_add(q, ad_mul(h, p)), p};
    return ad_concat(both, 2, 0);
}
static const flow_derivation pendulum_map = {FLOW_VOLUME_PRESERVING, .generate = pendulum,
                                             .tensors = {{.name = "g", .dim = {1}, .start = 1}}};
static flow_layer *pendulum_example(int i, ad_error *error);
static const flow_layer_type pendulum_type = {
    .name = "pendulum", .derived = &pendulum_map, .example = pendulum_example};
static flow_layer *pendulum_example(int i, ad_error *error) {
    return flow_derive(&pendulum_type, 2, 1, &(flow_derive_options){.type = derived_precision(i)}, error);
}

// ---- orthogonal ----------------------------------------------------------------------------------------------------

// A reflection, I - 2 w w^T / w.w, and a shift.
static ad_var householder(const flow_call *c, ad_var x) {
    ad_var w = flow_use(c, "w"), along = ad_div(ad_sum(ad_mul(w, x)), ad_sum(ad_square(w)));
    return ad_add(ad_sub(x, ad_mul(w, ad_scale(along, 2))), flow_use(c, "b"));
}
static const flow_derivation householder_map = {FLOW_ORTHOGONAL, .normalize = householder,
                                                .tensors = {{.name = "w", .start = 1, .spread = 0.5}, {.name = "b"}}};
static flow_layer *householder_example(int i, ad_error *error);
static const flow_layer_type householder_type = {
    .name = "householder", .derived = &householder_map, .example = householder_example};
static flow_layer *householder_example(int i, ad_error *error) {
    flow_derive_options o = {.type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&householder_type, 1 + i % 4, 0, &o, error);
}

// ---- low rank ------------------------------------------------------------------------------------------------------

// Q tanh(c) with Q = W^T diag(softplus(s) - 1/2) / max(1, |W|^2), and c = W x + b: det(I + diag(h') W Q) > 0.
static ad_var squeeze(const flow_call *c, ad_var x) {
    return ad_linear(flow_use(c, "W"), x, flow_use(c, "b"));
}
static ad_var spread(const flow_call *c, ad_var h) {
    ad_var W = flow_use(c, "W"), size = ad_offset(ad_sum(ad_square(W)), 1);
    ad_var scale = ad_div(ad_offset(ad_softplus(flow_use(c, "s")), -0.5), size);
    const int order[2] = {1, 0};
    return ad_linear(ad_transpose(W, order), ad_mul(scale, ad_tanh(h)), AD_NONE);
}
static const flow_derivation bottleneck_map = {
    FLOW_LOW_RANK, .generate = spread, .bottleneck = squeeze,
    .tensors = {{.name = "W", .dim = {FLOW_DIM_RANK, FLOW_DIM_FEATURES}, .spread = 1},
                {.name = "b", .dim = {FLOW_DIM_RANK}},
                {.name = "s", .dim = {FLOW_DIM_RANK}, .spread = 1}}};
static flow_layer *bottleneck_example(int i, ad_error *error);
static const flow_layer_type bottleneck_type = {
    .name = "bottleneck", .derived = &bottleneck_map, .example = bottleneck_example};
static flow_layer *bottleneck_example(int i, ad_error *error) {
    flow_derive_options o = {.rank = i % 4, .type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&bottleneck_type, 1 + i % 5, 0, &o, error);
}

// ---- contractive ---------------------------------------------------------------------------------------------------

// 0.9 tanh(W x / (1 + |W|)), as in an i-ResNet (Behrmann et al. 2019) but for how the norm is kept down.
static ad_var residual(const flow_call *c, ad_var x) {
    ad_var W = flow_use(c, "W"), size = ad_offset(ad_sqrt(ad_sum(ad_square(W))), 1),
           h = ad_linear(ad_div(W, size), x, AD_NONE);
    if (!ad_is_none(c->context)) h = ad_add(h, ad_sum(c->context));
    return ad_scale(ad_tanh(h), 0.9);
}
static const flow_derivation residual_map = {
    FLOW_CONTRACTIVE, .normalize = residual,
    .tensors = {{.name = "W", .dim = {FLOW_DIM_FEATURES, FLOW_DIM_FEATURES}, .spread = 1}}};
static flow_layer *residual_example(int i, ad_error *error);
static const flow_layer_type residual_type = {
    .name = "residual block", .derived = &residual_map, .example = residual_example};
static flow_layer *residual_example(int i, ad_error *error) {
    flow_derive_options o = {.type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&residual_type, 1 + i % 4, i % 2 ? 0 : 2, &o, error);
}

// ---- dense ---------------------------------------------------------------------------------------------------------

// The gradient of a strictly convex function: x + W^T softplus(W x + b) (a convex potential, Brenier's map), and a
// shift from the context.
static ad_var potential(const flow_call *c, ad_var x) {
    const int order[2] = {1, 0};
    ad_var W = flow_use(c, "W"), h = ad_softplus(ad_linear(W, x, flow_use(c, "b")));
    ad_var y = ad_add(x, ad_linear(ad_transpose(W, order), h, AD_NONE));
    return ad_is_none(c->context) ? y : ad_add(y, ad_sum(c->context));
}
static const flow_derivation potential_map = {
    FLOW_DENSE, .normalize = potential,
    .tensors = {{.name = "W", .dim = {FLOW_DIM_FEATURES, FLOW_DIM_FEATURES}, .spread = 1}, {.name = "b"}}};
static flow_layer *potential_example(int i, ad_error *error);
static const flow_layer_type potential_type = {
    .name = "potential", .derived = &potential_map, .example = potential_example};
static flow_layer *potential_example(int i, ad_error *error) {
    flow_derive_options o = {.type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&potential_type, 1 + i % 3, i % 2 ? 0 : 2, &o, error);
}

// ---- both directions, or log_det, given ----------------------------------------------------------------------------

static ad_var affine(const flow_call *c, ad_var v) {
    return ad_add(ad_mul(v, ad_exp(flow_use_parameter(c, 0))), flow_use_parameter(c, 1));
}
static ad_var affine_back(const flow_call *c, ad_var v) {
    return ad_mul(ad_sub(v, flow_use_parameter(c, 1)), ad_exp(ad_neg(flow_use_parameter(c, 0))));
}
static const flow_derivation affine_map = {FLOW_AUTOREGRESSIVE, .normalize = affine, .generate = affine_back,
                                           .conditioner = 2};
static const flow_derivation affine_coupling_map = {FLOW_COUPLING, .normalize = affine, .generate = affine_back,
                                                    .conditioner = 2};
static flow_layer *affine_example(int i, ad_error *error);
static flow_layer *affine_coupling_example(int i, ad_error *error);
static const flow_layer_type affine_type = {
    .name = "affine, both ways", .derived = &affine_map, .example = affine_example};
static const flow_layer_type affine_coupling_type = {
    .name = "affine coupling, both ways", .derived = &affine_coupling_map, .example = affine_coupling_example};
static flow_layer *affine_example(int i, ad_error *error) {
    flow_derive_options o = bend_options(i);
    return flow_derive(&affine_type, 1 + i % 3, i % 2, &o, error);
}
static flow_layer *affine_coupling_example(int i, ad_error *error) {
    flow_derive_options o = bend_options(i);
    return flow_derive(&affine_coupling_type, 2 + i % 3, i % 2, &o, error);
}

static ad_var matrix(const flow_call *c) {
    ad_var W = flow_use(c, "W");
    return ad_add(W, ad_diag(ad_fill(c->tape, ad_shape1(ad_dim(W, 0)), 3)));
}
static ad_var multiply(const flow_call *c, ad_var x) {
    return ad_linear(matrix(c), x, AD_NONE);
}
static ad_var divide(const flow_call *c, ad_var z) {
    return ad_solve(matrix(c), z);
}
static const flow_derivation matrix_map = {
    FLOW_DENSE, .normalize = multiply, .generate = divide,
    .tensors = {{.name = "W", .dim = {FLOW_DIM_FEATURES, FLOW_DIM_FEATURES}, .spread = 0.5}}};
static flow_layer *matrix_example(int i, ad_error *error);
static const flow_layer_type matrix_type = {.name = "matrix", .derived = &matrix_map, .example = matrix_example};
static flow_layer *matrix_example(int i, ad_error *error) {
    flow_derive_options o = {.type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&matrix_type, 1 + i % 3, 0, &o, error);
}

// x + sin(a x) / (2 max(1, a)), feature by feature: its log_det is known, and D is free.
static ad_var wave_rate(const flow_call *c) {
    return ad_maximum(flow_use(c, "a"), ad_number(c->tape, 1));
}
static ad_var wave(const flow_call *c, ad_var x) {
    return ad_scale(ad_div(ad_sin(ad_mul(flow_use(c, "a"), x)), wave_rate(c)), 0.5);
}
static ad_var wave_log_det(const flow_call *c, ad_var x) {
    ad_var a = flow_use(c, "a");
    return ad_log(ad_offset(ad_scale(ad_mul(ad_div(a, wave_rate(c)), ad_cos(ad_mul(a, x))), 0.5), 1));
}
static const flow_derivation wave_map = {FLOW_CONTRACTIVE, .generate = wave, .log_det = wave_log_det,
                                         .tensors = {{.name = "a", .start = 1.2}}};
static flow_layer *wave_example(int i, ad_error *error);
static const flow_layer_type wave_type = {.name = "wave", .derived = &wave_map, .example = wave_example};
static flow_layer *wave_example(int i, ad_error *error) {
    return flow_derive(&wave_type, i == 0 ? 20 : 1 + i % 3, 0, &(flow_derive_options){.type = derived_precision(i)},
                       error);
}

// ---- what build adds, and where a map lies -------------------------------------------------------------------------

// A coupling with a net of its own, whose width is an option.
static ad_status own_net(flow_layer *layer, const flow_derive_options *o, ad_error *error) {
    const int64_t D = layer->x_shape.dim[0], k = layer->jacobian.kept;
    flow_mlp_options mlp = {.layers = 1,
                            .width = (int64_t)flow_number_of(layer, "width"),
                            .activation = FLOW_TANH,
                            .seed = o->seed,
                            .type = o->type};
    flow_net *net = flow_mlp(k + layer->C, D - k, &mlp, error);
    return net ? flow_add_part(&layer->owner, "shift", &net->owner, error) : AD_ENOMEM;
}
static ad_var own_shift(const flow_call *c, ad_var v) {
    ad_var in[2] = {c->kept, c->context}, u = ad_is_none(c->context) ? c->kept : ad_concat(in, 2, 0);
    return ad_add(ad_add(v, ad_scale(ad_tanh(v), 0.5)), flow_use_net(c, "shift", u));
}
static const flow_derivation own_net_map = {FLOW_COUPLING, .generate = own_shift, .build = own_net,
                                            .numbers = {{"width", 5}}};
static flow_layer *own_net_example(int i, ad_error *error);
static const flow_layer_type own_net_type = {.name = "own net", .derived = &own_net_map, .example = own_net_example};
static flow_layer *own_net_example(int i, ad_error *error) {
    const flow_number numbers[] = {{"width", 3 + i % 4}, {NULL, 0}};
    flow_derive_options o = {.numbers = i % 2 ? numbers : NULL, .type = derived_precision(i), .seed = (uint64_t)i};
    return flow_derive(&own_net_type, 2 + i % 3, i % 2, &o, error);
}

// The logit: from (0, 1), with a slope to learn.
static ad_var logistic(const flow_call *c, ad_var x) {
    return ad_mul(ad_exp(flow_use(c, "a")), ad_logit(x));
}
static const flow_derivation logistic_map = {FLOW_ELEMENTWISE, .normalize = logistic, .tensors = {{.name = "a"}},
                                             .low = 0, .high = 1};
static flow_layer *logistic_example(int i, ad_error *error);
static const flow_layer_type logistic_type = {
    .name = "logistic", .derived = &logistic_map, .example = logistic_example};
static flow_layer *logistic_example(int i, ad_error *error) {
    return flow_derive(&logistic_type, 1 + i % 3, 0, &(flow_derive_options){.type = derived_precision(i)}, error);
}

static const flow_layer_type *const derived_types[] = {&sinh_arcsinh_type,
                                                       &leaky_type,
                                                       &bend_type,
                                                       &bend_coupling_type,
                                                       &bend_autoregressive_type,
                                                       &cubic_chain_type,
                                                       &pendulum_type,
                                                       &householder_type,
                                                       &bottleneck_type,
                                                       &residual_type,
                                                       &potential_type,
                                                       &affine_type,
                                                       &affine_coupling_type,
                                                       &matrix_type,
                                                       &own_net_type,
                                                       &logistic_type,
                                                       &wave_type,
                                                       NULL};

#endif
