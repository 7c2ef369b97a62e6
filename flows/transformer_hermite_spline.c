// transformer_hermite_spline.c -- the element map of monotone cubics of learned slopes at knots.
//
// Cubic Hermite interpolation within the region that Fritsch and Carlson 1980 show to be enough: a slope at most three
// times those of the bins to both sides. It is learned as a part of that. Outside of the box is the
// identity, as with cubic splines.
#include "bins.h"

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    ad_var x = flow_spline_knots(s, flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_width));
    ad_var y = flow_spline_knots(s, flow_spline_shares(s, flow_spline_raw(p, K, K), s->options.min_height));
    ad_var steep = ad_div(flow_spline_sizes(s, y), flow_spline_sizes(s, x));
    ad_var least[] = {ad_slice(steep, -1, 0, 1),
                      ad_minimum(ad_slice(steep, -1, 0, K - 1), ad_slice(steep, -1, 1, K - 1)),
                      ad_slice(steep, -1, K - 1, 1)};
    ad_var slopes = ad_mul(ad_concat(least, 3, -1), flow_cubic_ratios(s, flow_spline_raw(p, 2 * K, K + 1)));
    flow_bins b = flow_bins_find(s, v, x, y, inverse);
    return flow_cubic_bins(&b, slopes);
}

static void identity(const flow_transformer *t, double *raw) {
    const flow_spline *s = (const flow_spline *)t;
    for (int64_t i = 2 * s->bins; i < t->P; i++) raw[i] = flow_cubic_raw_of_one(s);
}

flow_transformer *flow_hermite_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_hermite_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 3, .more = 1, .least = 2, .transform = transform};

const flow_transformer_type flow_hermite_spline_transformer_type = {
    .name = "hermite spline", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .identity = identity, .family = &form};
