// transformer_incompressible.c -- the map v scale + shift of several features whose scales have product 1: it keeps
// volumes (GIN, Sorrenson, Rother and Koethe 2020).
//
// Log-scales have their mean over the features of the call taken off, as in the authors' code; their paper makes the
// last one minus the sum of the others. Of one feature the scale is 1.
#include "internal.h"

typedef struct incompressible {
    flow_transformer transformer;
    double bound;
} incompressible;

// [n], with sum 0: log_det is 0 but for rounding.
static ad_var log_scale(const incompressible *c, flow_parameters p) {
    ad_var s = flow_bounded(flow_parameter(p, 0), c->bound);
    return ad_sub(s, ad_mean(s));
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    ad_var w = p.n > 1 ? ad_mul(v, ad_exp(log_scale((const incompressible *)t, p))) : v;
    return (flow_result){ad_add(w, flow_parameter(p, 1)), AD_NONE};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    ad_var w = ad_sub(v, flow_parameter(p, 1));
    if (p.n > 1) w = ad_mul(w, ad_exp(ad_neg(log_scale((const incompressible *)t, p))));
    return (flow_result){w, AD_NONE};
}

// How near log-scales are to their bound, before the mean is taken off.
static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)v;
    const double bound = ((const incompressible *)t)->bound;
    return (flow_gauges){ad_abs(ad_tanh(ad_scale(flow_parameter(p, 0), 1 / bound))), AD_NONE};
}

flow_transformer *flow_incompressible_transformer(double bound, ad_error *error) {
    if (bound == 0) bound = 2;
    if (!(bound >= 1e-3 && bound <= 20)) {
        ad_fail(error, AD_EARG, "incompressible: bound %g of the log-scales; expected 0.001 to 20", bound);
        return NULL;
    }
    incompressible *c = flow_transformer_new(&flow_incompressible_transformer_type, sizeof *c, 2, error);
    if (!c) return NULL;
    c->bound = bound;
    return &c->transformer;
}

static json_t *describe(const flow_transformer *t) {
    return json_pack("{s:f}", "bound", ((const incompressible *)t)->bound);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    double bound;
    return flow_json_number(options, "bound", &bound, error) ? flow_incompressible_transformer(bound, error) : NULL;
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    return flow_incompressible_transformer(i % 4 ? 0.5 + i % 5 : 0, error);
}

const flow_transformer_type flow_incompressible_transformer_type = {.name = "incompressible",
                                                                    .normalize = normalize,
                                                                    .generate = generate,
                                                                    .describe = describe,
                                                                    .make = make,
                                                                    .example = example,
                                                                    .gauge = gauge,
                                                                    .jointly = true};
