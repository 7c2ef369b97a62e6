// transformer_nonlinear_squared.c -- the element map a + b v + c / (1 + (d v + g)^2) (Ziegler and Rush 2019).
//
// It increases while |c d| < (8 sqrt(3) / 9) b: here k = c d / b is that limit times most tanh(raw), so that slopes lie
// between (1 - most) b and (1 + most) b. Back, w = d v + g is the one root of w + k / (1 + w^2) = r, between r and r -
// k: six of Halley's steps from r - k / (1 + r^2) come to all digits of f64 for all k and r (tried at millions).
#include <math.h>

#include "bins.h"

typedef struct squared {
    flow_transformer transformer;
    double bound, most;
} squared;

enum { STEPS = 6 };

// ---- the map --------------------------------------------------------------------------------------------------------

typedef struct numbers {
    ad_var shift, log_b, k, log_d, g;
    ad_var r;
} numbers;

static numbers numbers_of(const squared *s, flow_parameters p) {
    return (numbers){.shift = flow_parameter(p, 0),
                     .log_b = flow_bounded(flow_parameter(p, 1), s->bound),
                     .k = ad_scale(ad_tanh(flow_parameter(p, 2)), s->most * 8 * sqrt(3) / 9),
                     .log_d = flow_bounded(flow_parameter(p, 3), s->bound),
                     .g = flow_parameter(p, 4)};
}

// Farther out the bump is 0 to rounding, but w may be infinite.
static ad_var held(ad_var w) {
    return ad_clamp(w, -1e15, 1e15);
}

// 1 / (1 + w^2)
static ad_var bump(ad_var w) {
    return ad_reciprocal(ad_offset(ad_square(w), 1));
}

static ad_var residual(void *arg, ad_var w) {
    const numbers *n = arg;
    return ad_sub(ad_add(w, ad_mul(n->k, bump(w))), n->r);
}

// 1 - 2 k w / (1 + w^2)^2
static ad_var slope_at(ad_var k, ad_var w, ad_var h) {
    return ad_offset(ad_scale(ad_mul(k, ad_mul(ad_mul(w, h), h)), -2), 1);
}

static ad_var root(numbers *n) {
    numbers fixed = {.k = ad_stop_gradient(n->k), .r = ad_stop_gradient(n->r)};
    ad_var zero = ad_number(n->k.tape, 0);
    ad_var low = ad_sub(fixed.r, ad_maximum(fixed.k, zero)), high = ad_sub(fixed.r, ad_minimum(fixed.k, zero));
    ad_var w = ad_sub(fixed.r, ad_mul(fixed.k, bump(fixed.r)));
    for (int i = 0; i < STEPS; i++) {
        ad_var h = bump(w), bend = ad_mul(ad_mul(fixed.k, ad_square(h)), ad_offset(ad_scale(h, -8), 6));
        w = flow_halley(w, residual(&fixed, w), slope_at(fixed.k, w, h), bend);
        w = ad_maximum(low, ad_minimum(high, w));
    }
    return ad_implicit(w, residual, n);
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    numbers n = numbers_of((const squared *)t, p);
    ad_var b = ad_exp(n.log_b), d = ad_exp(n.log_d), w = held(ad_add(ad_mul(d, v), n.g)), h = bump(w);
    ad_var value = ad_mul(b, ad_add(v, ad_div(ad_mul(n.k, h), d)));
    return (flow_result){ad_add(value, n.shift), ad_add(n.log_b, ad_log(slope_at(n.k, w, h)))};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var z) {
    numbers n = numbers_of((const squared *)t, p);
    ad_var d = ad_exp(n.log_d), line = ad_mul(ad_sub(z, n.shift), ad_exp(ad_neg(n.log_b)));
    n.r = held(ad_add(ad_mul(d, line), n.g));
    ad_var w = root(&n), h = bump(w);
    ad_var value = ad_sub(line, ad_div(ad_mul(n.k, h), d));  // not (w - g) / d, which cancels
    return (flow_result){value, ad_neg(ad_add(n.log_b, ad_log(slope_at(n.k, w, h))))};
}

// How near k is to its limit.
static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)t, (void)v;
    return (flow_gauges){ad_abs(ad_tanh(flow_parameter(p, 2))), AD_NONE};
}

// ---- made and described ---------------------------------------------------------------------------------------------

flow_transformer *flow_nonlinear_squared_transformer(const flow_nonlinear_squared_transformer_options *options,
                                                     ad_error *error) {
    flow_nonlinear_squared_transformer_options o =
        options ? *options : (flow_nonlinear_squared_transformer_options){.bound = 0};
    if (o.bound == 0) o.bound = 2;
    if (o.most == 0) o.most = 0.95;
    if (!(o.bound >= 1e-3 && o.bound <= 20) || !(o.most > 0 && o.most <= 0.99)) {
        ad_fail(error, AD_EARG, "nonlinear squared: bound %g, most %g; expected 0.001 to 20, and above 0 to 0.99",
                o.bound, o.most);
        return NULL;
    }
    squared *s = flow_transformer_new(&flow_nonlinear_squared_transformer_type, sizeof *s, 5, error);
    if (!s) return NULL;
    s->bound = o.bound;
    s->most = o.most;
    return &s->transformer;
}

static json_t *describe(const flow_transformer *t) {
    const squared *s = (const squared *)t;
    return json_pack("{s:f, s:f}", "bound", s->bound, "most", s->most);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    flow_nonlinear_squared_transformer_options o = {.bound = 0};
    if (!flow_json_number(options, "bound", &o.bound, error) || !flow_json_number(options, "most", &o.most, error)) {
        return NULL;
    }
    return flow_nonlinear_squared_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    return flow_nonlinear_squared_transformer(
        &(flow_nonlinear_squared_transformer_options){.bound = options->bound}, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const flow_nonlinear_squared_transformer_options o = {.bound = 1 + i % 3, .most = i % 4 ? 0 : 0.5};
    return flow_nonlinear_squared_transformer(&o, error);
}

const flow_transformer_type flow_nonlinear_squared_transformer_type = {.name = "nonlinear squared",
                                                                       .normalize = normalize,
                                                                       .generate = generate,
                                                                       .describe = describe,
                                                                       .make = make,
                                                                       .example = example,
                                                                       .usual = usual,
                                                                       .gauge = gauge};
