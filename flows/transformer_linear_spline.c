// transformer_linear_spline.c -- the element map of straight pieces over equal bins.
//
// Mueller et al. 2019, "Neural importance sampling"; Prince, "Understanding deep learning", eq. 16.12,
// where with b = floor(K x) the sum is of the heights of bins before and (K x - b) times that of bin b + 1. Its density
// jumps at knots. Slopes lie between K min_height and K.
#include "bins.h"

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    ad_var heights = flow_spline_shares(s, flow_spline_raw(p, 0, s->bins), s->options.min_height);
    ad_var knots = flow_spline_knots(s, heights);
    flow_bins b =
        flow_bins_find(s, v, ad_expand(flow_spline_even_knots(s, v.tape), ad_shape_of(knots)), knots, inverse);
    return flow_bins_result(&b, b.at, AD_NONE);
}

flow_transformer *flow_linear_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_linear_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 1, .least = 2, .transform = transform};

const flow_transformer_type flow_linear_spline_transformer_type = {
    .name = "linear spline", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .family = &form};
