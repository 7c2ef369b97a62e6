// transformer_affine.c -- the element map v scale + shift, with all the ways to make a scale of a raw number.
//
// Bounded log-scales (tanh, softsign) are bounded both ways: unbounded ones overflow on data far from the training set,
// and the inverse of many layers loses its digits as the product of the scales grows.
#include <math.h>

#include "internal.h"

typedef struct affine {
    flow_transformer transformer;
    flow_scale scale;
    double bound, floor;
    bool no_shift;
} affine;

static const char *const scale_names[] = {"tanh", "exp", "softsign", "softplus", "sigmoid"};
enum { SCALES = 5 };

// ---- the map --------------------------------------------------------------------------------------------------------

static bool is_direct(const affine *a) {
    return a->scale == FLOW_SCALE_SOFTPLUS || a->scale == FLOW_SCALE_SIGMOID;
}

static ad_var direct_scale(const affine *a, ad_var r) {
    return ad_offset(a->scale == FLOW_SCALE_SOFTPLUS ? ad_softplus(r) : ad_sigmoid(ad_offset(r, 2)), a->floor);
}

// Times sign, at no cost of its own.
static ad_var log_scale(const affine *a, ad_var r, double sign) {
    if (a->scale == FLOW_SCALE_EXP) return sign < 0 ? ad_neg(r) : r;
    ad_var u = ad_scale(r, 1 / a->bound);
    return ad_scale(a->scale == FLOW_SCALE_TANH ? ad_tanh(u) : ad_softsign(u), sign * a->bound);
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    const affine *a = (const affine *)t;
    ad_var r = flow_parameter(p, 0), scale, log_det;
    if (is_direct(a)) {
        scale = direct_scale(a, r);
        log_det = ad_log(scale);
    } else {
        log_det = log_scale(a, r, 1);
        scale = ad_exp(log_det);
    }
    ad_var w = ad_mul(v, scale);
    return (flow_result){a->no_shift ? w : ad_add(w, flow_parameter(p, 1)), log_det};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    const affine *a = (const affine *)t;
    ad_var r = flow_parameter(p, 0), w = a->no_shift ? v : ad_sub(v, flow_parameter(p, 1));
    if (is_direct(a)) {
        ad_var scale = direct_scale(a, r);
        return (flow_result){ad_div(w, scale), ad_neg(ad_log(scale))};
    }
    ad_var s = log_scale(a, r, -1);
    return (flow_result){ad_mul(w, ad_exp(s)), s};
}

// How near the log-scale is to its bound.
static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)v;
    const affine *a = (const affine *)t;
    if (a->scale != FLOW_SCALE_TANH && a->scale != FLOW_SCALE_SOFTSIGN) return (flow_gauges){AD_NONE, AD_NONE};
    return (flow_gauges){ad_abs(ad_scale(log_scale(a, flow_parameter(p, 0), 1), 1 / a->bound)), AD_NONE};
}

// Sigmoids stay where raw numbers of 0 put them, at a scale of 0.88: of 1 itself they have hardly a slope.
static void identity(const flow_transformer *t, double *raw) {
    const affine *a = (const affine *)t;
    if (a->scale == FLOW_SCALE_SOFTPLUS && a->floor < 1) raw[0] = log(expm1(1 - a->floor));
}

// ---- made and described ---------------------------------------------------------------------------------------------

flow_transformer *flow_affine_transformer(const flow_affine_transformer_options *options, ad_error *error) {
    flow_affine_transformer_options o =
        options ? *options : (flow_affine_transformer_options){.scale = FLOW_SCALE_TANH};
    if (o.bound == 0) o.bound = 2;
    if (o.floor == 0) o.floor = 1e-3;
    if (!((o.bound >= 1e-3 && o.bound <= 1e6) || o.bound == (double)INFINITY) ||
        !(o.floor >= 1e-30 && o.floor <= 1e30)) {
        ad_fail(error, AD_EARG, "affine: bound %g, floor %g; expected 1e-3 to 1e6 (or inf: none), and 1e-30 to 1e30",
                flow_said(o.bound), flow_said(o.floor));
        return NULL;
    }
    if ((unsigned)o.scale >= SCALES) {
        ad_fail(error, AD_EARG, "affine: scale is %d, expected 0 to %d", (int)o.scale, SCALES - 1);
        return NULL;
    }
    if (isinf(o.bound)) {  // no bound: the same as exp
        o.bound = 2;
        if (o.scale == FLOW_SCALE_TANH || o.scale == FLOW_SCALE_SOFTSIGN) o.scale = FLOW_SCALE_EXP;
    }
    affine *a = flow_transformer_new(&flow_affine_transformer_type, sizeof *a, o.no_shift ? 1 : 2, error);
    if (!a) return NULL;
    a->scale = o.scale;
    a->bound = o.bound;
    a->floor = o.floor;
    a->no_shift = o.no_shift;
    return &a->transformer;
}

static json_t *describe(const flow_transformer *t) {
    const affine *a = (const affine *)t;
    return json_pack("{s:s, s:f, s:f, s:b}", "scale", scale_names[a->scale], "bound", a->bound, "floor", a->floor,
                     "no_shift", a->no_shift);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    int scale;
    flow_affine_transformer_options o = {.no_shift = false};
    if (!flow_json_choice(options, "scale", scale_names, SCALES, &scale, error) ||
        !flow_json_bool(options, "no_shift", &o.no_shift, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_number(options, "floor", &o.floor, error)) {
        return NULL;
    }
    o.scale = (flow_scale)scale;
    return flow_affine_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    return flow_affine_transformer(&(flow_affine_transformer_options){.bound = options->bound}, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    flow_affine_transformer_options o = {.scale = (flow_scale)(i % SCALES),
                                         .bound = i % 7 == 6 ? INFINITY : 0.5 + i % 4,
                                         .floor = i % 3 ? 0 : 0.05,
                                         .no_shift = i % 11 == 10};
    return flow_affine_transformer(&o, error);
}

const flow_transformer_type flow_affine_transformer_type = {.name = "affine",
                                                            .normalize = normalize,
                                                            .generate = generate,
                                                            .describe = describe,
                                                            .make = make,
                                                            .example = example,
                                                            .usual = usual,
                                                            .gauge = gauge,
                                                            .identity = identity};
