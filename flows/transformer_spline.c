// transformer_spline.c -- the element map of a monotone rational-quadratic spline (Durkan et al. 2019).
//
// Raw numbers of 0 give equal bins but slopes of 0.694 (as elsewhere), so that deep stacks would begin far from the
// identity: it is at raw slopes whose softplus is 1.
#include <math.h>

#include "internal.h"

typedef struct spline {
    flow_transformer transformer;
    int64_t bins;
    ad_spline_options options;
} spline;

enum { MAX_BINS = 4096 };

static flow_result transform(const flow_transformer *t, flow_parameters p, ad_var v, bool inverse) {
    const spline *s = (const spline *)t;
    ad_var both = ad_rational_quadratic(v, flow_parameters_by_feature(p), &s->options, inverse);
    return (flow_result){ad_reshape(ad_slice(both, 0, 0, 1), ad_shape1(p.n)), ad_slice(both, 0, 1, 1)};
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    return transform(t, p, v, false);
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    return transform(t, p, v, true);
}

static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)p;
    const spline *s = (const spline *)t;
    return (flow_gauges){AD_NONE, ad_greater(ad_abs(v), ad_number(v.tape, s->options.bound))};
}

static void identity(const flow_transformer *t, double *raw) {
    const spline *s = (const spline *)t;
    for (int64_t i = 2 * s->bins; i < t->P; i++) raw[i] = log(expm1(1 - s->options.min_derivative));
}

// Defaults filled in, ranges those of ad_rational_quadratic.
static bool settle(flow_spline_transformer_options *o, ad_error *error) {
    ad_spline_options *s = &o->spline;
    if (o->bins == 0) o->bins = 8;
    if (s->bound == 0) s->bound = 3;
    if (s->min_width == 0) s->min_width = 1e-3;
    if (s->min_height == 0) s->min_height = 1e-3;
    if (s->min_derivative == 0) s->min_derivative = 1e-3;
    if (s->scale == 0) s->scale = o->divide > 0 ? 1 / sqrt(o->divide) : 1;
    if (o->bins < 2 || o->bins > MAX_BINS) {
        ad_fail(error, AD_EARG, "spline: %lld bins, expected 2 to %d", (long long)o->bins, MAX_BINS);
    } else if (!(s->bound >= 1e-3 && s->bound <= 1e6)) {
        ad_fail(error, AD_EARG, "spline: bound %g, expected 1e-3 to 1e6", s->bound);
    } else if (!(s->min_width >= 1e-6 && s->min_width * (double)o->bins < 1) ||
               !(s->min_height >= 1e-6 && s->min_height * (double)o->bins < 1)) {
        ad_fail(error, AD_EARG, "spline: %lld bins of least width %g and height %g do not fit into the box",
                (long long)o->bins, s->min_width, s->min_height);
    } else if (!(s->min_derivative >= 1e-6 && s->min_derivative < 1) || !(s->scale >= 1e-6 && s->scale <= 1e6)) {
        ad_fail(error, AD_EARG, "spline: least slope %g, scale %g: out of range", s->min_derivative, s->scale);
    } else {
        return true;
    }
    return false;
}

flow_transformer *flow_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    flow_spline_transformer_options o = options ? *options : (flow_spline_transformer_options){.bins = 0};
    spline *s = settle(&o, error)
                    ? flow_transformer_new(&flow_spline_transformer_type, sizeof *s, 3 * o.bins - 1, error)
                    : NULL;
    if (!s) return NULL;
    s->bins = o.bins;
    s->options = o.spline;
    return &s->transformer;
}

static json_t *describe(const flow_transformer *t) {
    const spline *s = (const spline *)t;
    const ad_spline_options *o = &s->options;
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "bins", (json_int_t)s->bins, "bound", o->bound, "min_width",
                     o->min_width, "min_height", o->min_height, "min_derivative", o->min_derivative, "scale", o->scale);
}

static flow_transformer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    flow_spline_transformer_options o = {.bins = 0};
    if (!flow_json_int(options, "bins", 2, MAX_BINS, &o.bins, error) ||
        !flow_json_number(options, "bound", &o.spline.bound, error) ||
        !flow_json_number(options, "min_width", &o.spline.min_width, error) ||
        !flow_json_number(options, "min_height", &o.spline.min_height, error) ||
        !flow_json_number(options, "min_derivative", &o.spline.min_derivative, error) ||
        !flow_json_number(options, "scale", &o.spline.scale, error)) {
        return NULL;
    }
    return flow_spline_transformer(&o, error);
}

static flow_transformer *example(int i, ad_error *error) {
    flow_spline_transformer_options o = {
        .bins = 2 + i % 7,
        .spline = {.bound = 1 + i % 3, .min_width = i % 4 ? 0 : 0.02, .min_derivative = i % 4 ? 0 : 0.05},
        .divide = i % 2 ? 16 : 0};
    return flow_spline_transformer(&o, error);
}

const flow_transformer_type flow_spline_transformer_type = {.name = "rational-quadratic spline",
                                                            .normalize = normalize,
                                                            .generate = generate,
                                                            .describe = describe,
                                                            .make = make,
                                                            .example = example,
                                                            .gauge = gauge,
                                                            .identity = identity,
                                                            .by_feature = true};
