// transformer_spline.c -- the element map of a monotone rational-quadratic spline (Durkan et al. 2019).
//
// Raw numbers of 0 give equal bins but slopes of 0.694 (as elsewhere), so that deep stacks would begin far from the
// identity: it is at raw slopes whose softplus is 1.
#include <math.h>

#include "bins.h"

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    ad_var both = ad_rational_quadratic(v, flow_parameters_by_feature(p), &s->options, inverse);
    return (flow_result){ad_reshape(ad_slice(both, 0, 0, 1), ad_shape1(p.n)), ad_slice(both, 0, 1, 1)};
}

static void identity(const flow_transformer *t, double *raw) {
    const flow_spline *s = (const flow_spline *)t;
    for (int64_t i = 2 * s->bins; i < t->P; i++) raw[i] = log(expm1(1 - s->options.min_derivative));
}

flow_transformer *flow_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 3, .more = -1, .least = 2, .transform = transform};

const flow_transformer_type flow_spline_transformer_type = {.name = "rational-quadratic spline",
                                                            FLOW_SPLINE_CALLS,
                                                            .gauge = flow_spline_gauge,
                                                            .identity = identity,
                                                            .family = &form};
