// transformer_quadratic_spline.c -- the element map of parabolas: the integral of a density linear in each bin.
//
// Mueller et al. 2019, "Neural importance sampling", in a box with the identity outside: the densities p at the box's
// ends are 1, so that slopes do not jump there. With raw densities e = exp(raw) at inner knots, their c is the area of
// all, by which all are divided: c = A + c (w_first + w_last) / 2, A = sum of e (w_left + w_right) / 2. In a bin, of t
// from its left edge and u from its right one, the map is t (p0 (1 + u) + p1 t) / (p0 + p1), and at its value q the slope
// is 2 sqrt(p0^2 (1 - q) + p1^2 q) / (p0 + p1): sums of positive terms in either direction.
#include "bins.h"

// Densities at all knots, from min_derivative on: [n, K + 1].
static ad_var densities(const flow_spline *s, ad_var raw, ad_var widths) {
    const int64_t K = s->bins;
    const double least = s->options.min_derivative;
    ad_var e = ad_softmax(ad_scale(raw, s->options.scale), -1);
    ad_var left = ad_slice(widths, -1, 0, K - 1), right = ad_slice(widths, -1, 1, K - 1);
    ad_var area = ad_sum_axis(ad_mul(e, ad_scale(ad_add(left, right), 0.5)), -1);
    ad_var ends = ad_add(ad_slice(widths, -1, 0, 1), ad_slice(widths, -1, K - 1, 1));
    ad_var per = ad_div(ad_offset(ad_scale(ends, -0.5), 1), ad_insert_axis(area, -1));
    ad_var inner = ad_offset(ad_scale(ad_mul(e, per), 1 - least), least);
    return ad_pad(inner, -1, 1, 1, 1);
}

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    ad_var widths = flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_width), p0, p1;
    ad_var all = densities(s, flow_spline_raw(p, K, K - 1), widths);
    ad_var both = ad_add(ad_slice(all, -1, 0, K), ad_slice(all, -1, 1, K));
    ad_var heights = ad_scale(ad_mul(widths, both), 0.5);
    flow_bins b = flow_bins_find(s, v, flow_spline_knots(s, widths), flow_spline_knots(s, heights), inverse);
    flow_bins_ends(&b, all, &p0, &p1);
    ad_var sum = ad_add(p0, p1), slope, other;
    if (inverse) {
        slope = ad_sqrt(ad_add(ad_mul(ad_square(p0), b.left), ad_mul(ad_square(p1), b.at)));
        other = ad_div(ad_mul(sum, b.at), ad_add(p0, slope));
    } else {
        slope = ad_add(ad_mul(p0, b.left), ad_mul(p1, b.at));
        other = ad_div(ad_mul(b.at, ad_add(p0, slope)), sum);
    }
    return flow_bins_result(&b, other, ad_scale(ad_div(slope, sum), 2));
}

flow_transformer *flow_quadratic_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_quadratic_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 2, .more = -1, .least = 3, .transform = transform};

const flow_transformer_type flow_quadratic_spline_transformer_type = {
    .name = "quadratic spline", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .family = &form};
