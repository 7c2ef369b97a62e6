// logit.c -- numbers within bounds (bytes of an image, shares) stretched over the whole line, feature by feature.
//
// z = logit(u), u = alpha + (1 - 2 alpha) (x - low) / (high - low), as Dinh et al. 2017 (section 4.1) do with pixels. alpha
// keeps u away from 0 and 1, so that values at the bounds themselves stay finite. The log-slope is taken from z:
// -log u - log(1 - u) = softplus(z) + softplus(-z).
#include <math.h>

#include "internal.h"

typedef struct logit {
    flow_layer layer;
    double alpha;
} logit;

// log du/dx.
static double log_slope(const logit *l) { return log1p(-2 * l->alpha) - log(l->layer.high - l->layer.low); }

static ad_var log_dz_du(ad_var z) { return ad_add(ad_softplus(z), ad_softplus(ad_neg(z))); }

// Where u is not within 0 and 1 there is no z: the density of such an x is 0. (NaN is not outside, and stays NaN.)
static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const logit *l = (const logit *)layer;
    ad_tape *t = x.tape;
    double slope = exp(log_slope(l));
    ad_var u = ad_offset(ad_scale(ad_offset(x, -layer->low), slope), l->alpha);
    ad_var outside = ad_maximum(ad_less_equal(u, ad_number(t, 0)), ad_greater_equal(u, ad_number(t, 1)));
    ad_var z = ad_logit(ad_where(outside, ad_number(t, 0.5), u));
    ad_var log_det = ad_offset(log_dz_du(z), log_slope(l));
    return (flow_result){z, ad_where(outside, ad_number(t, -INFINITY), log_det)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const logit *l = (const logit *)layer;
    ad_var x = ad_offset(ad_scale(ad_offset(ad_sigmoid(z), -l->alpha), exp(-log_slope(l))), layer->low);
    return (flow_result){x, ad_neg(ad_offset(log_dz_du(z), log_slope(l)))};
}

// Nothing is fitted; but rows that have no z are not to be learnt from.
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const logit *l = (const logit *)layer;
    int64_t D = layer->x_shape.dim[0], n = flow_rows_count(rows, 0, error);
    for (int64_t i = 0; i < n * D; i++) {
        double x = flow_rows_get(rows, D, i / D, i % D), u = l->alpha + exp(log_slope(l)) * (x - layer->low);
        if (u > 0 && u < 1) continue;
        return ad_fail(error, isfinite(x) ? AD_EARG : AD_ENONFINITE,
                       "logit: row %lld, feature %lld is %g, expected a number between %g and %g%s", (long long)(i / D),
                       (long long)(i % D), flow_said(x), layer->low, layer->high,
                       l->alpha > 0 ? "" : " (without these: alpha is 0)");
    }
    return n < 0 ? AD_EARG : AD_OK;
}

static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return flow_rows_within("logit", rows, layer->x_shape.dim[0], 0, 0, error);
}

flow_layer *flow_logit(int64_t D, const flow_logit_options *options, ad_error *error) {
    flow_logit_options o = options ? *options : (flow_logit_options){0};
    if (o.low == 0 && o.high == 0) o.high = 1;
    if (!(o.alpha >= 0 && o.alpha < 0.5) || !(o.low < o.high) || !isfinite(o.high - o.low)) {
        ad_fail(error, AD_EARG, "logit: alpha %g, bounds %g and %g; expected alpha from 0 to below 0.5, and low < high",
                o.alpha, o.low, o.high);
        return NULL;
    }
    logit *l = flow_layer_new(&flow_logit_type, sizeof *l, D, 0, error);
    if (!l) return NULL;
    l->alpha = o.alpha;
    l->layer.low = o.low;
    l->layer.high = o.high;
    return &l->layer;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I, s:f, s:f, s:f}", "features", (json_int_t)layer->x_shape.dim[0], "alpha",
                     ((const logit *)layer)->alpha, "low", layer->low, "high", layer->high);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_logit_options o = {0};
    (void)making;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_number(options, "alpha", &o.alpha, error) || !flow_json_number(options, "low", &o.low, error) ||
        !flow_json_number(options, "high", &o.high, error)) {
        return NULL;
    }
    return flow_logit(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_logit_options o = {.alpha = i % 3 ? 0.05 * (i % 3) : 0, .low = i % 2 ? -1.5 : 0, .high = i % 2 ? 256 : 0};
    return flow_logit(1 + i % 4, &o, error);
}

const flow_layer_type flow_logit_type = {.name = "logit",
                                         .structure = FLOW_ELEMENTWISE,
                                         .normalize = normalize,
                                         .generate = generate,
                                         .describe = describe,
                                         .make = make,
                                         .init = init,
                                         .init_back = init_back,
                                         .example = example};
