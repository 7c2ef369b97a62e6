// transformer_circular_spline.c -- the element map of a circle by a rational-quadratic spline and a turn.
//
// Rezende et al. 2020, "Normalizing flows on tori and spheres": the ends of the box are one point, with
// one learned slope, and a learned shift turns the circle. The formulas are those of ad_rational_quadratic on the unit
// square, without its limit to slopes of 1 at the ends.
#include "bins.h"

// The point of the box that v is on the circle.
static ad_var turned(const flow_spline *s, ad_var v) {
    const double bound = s->options.bound, round = 2 * bound;
    ad_var times = ad_floor(ad_scale(ad_offset(v, bound), 1 / round));
    ad_var inside = ad_less_equal(ad_abs(v), ad_number(v.tape, bound));
    return ad_where(inside, v, ad_clamp(ad_sub(v, ad_scale(times, round)), -bound, bound));
}

// The positive root t : u of (1 - q) t^2 + (a0 (1 - q) - a1 q) t u - q u^2 = 0, as t.
static ad_var root(const flow_bins *b, ad_var a0, ad_var a1) {
    ad_var q = b->at, p = b->left, c = ad_sub(ad_mul(a0, p), ad_mul(a1, q));
    ad_var square = ad_sqrt(ad_add(ad_square(c), ad_scale(ad_mul(q, p), 4)));
    ad_var negative = ad_less(c, ad_number(c.tape, 0));
    ad_var t = ad_where(negative, ad_sub(square, c), ad_scale(q, 2));
    ad_var u = ad_where(negative, ad_scale(p, 2), ad_add(square, c));
    return ad_div(t, ad_add(t, u));
}

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    ad_var shift = ad_reshape(flow_spline_raw(p, 3 * K, 1), ad_shape1(p.n)), d0, d1;
    ad_var widths = flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_width);
    ad_var heights = flow_spline_shares(s, flow_spline_raw(p, K, K), s->options.min_height);
    ad_var slopes = flow_spline_slopes(s, flow_spline_raw(p, 2 * K, K));
    ad_var all[] = {slopes, ad_slice(slopes, -1, 0, 1)};
    ad_var in = turned(s, inverse ? ad_sub(v, shift) : v);
    flow_bins b = flow_bins_find(s, in, flow_spline_knots(s, widths), flow_spline_knots(s, heights), inverse);
    flow_bins_ends(&b, ad_concat(all, 2, -1), &d0, &d1);
    ad_var a0 = ad_div(d0, b.steep), a1 = ad_div(d1, b.steep);
    ad_var t = inverse ? root(&b, a0, a1) : b.at, u = inverse ? ad_sub(ad_number(v.tape, 1), t) : b.left;
    ad_var tu = ad_mul(t, u), tt = ad_square(t), uu = ad_square(u);
    ad_var E = ad_add(ad_add(tt, uu), ad_mul(ad_add(a0, a1), tu));
    ad_var M = ad_add(ad_add(ad_mul(a1, tt), ad_mul(a0, uu)), ad_scale(tu, 2));
    ad_var q = ad_div(ad_add(tt, ad_mul(a0, tu)), E);
    flow_result r = flow_bins_result(&b, inverse ? t : q, ad_div(M, ad_square(E)));
    if (!inverse) r.value = turned(s, ad_add(r.value, shift));
    return r;
}

flow_transformer *flow_circular_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_circular_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 3, .more = 1, .least = 2, .transform = transform, .circle = true};

const flow_transformer_type flow_circular_spline_transformer_type = {
    .name = "circular spline", FLOW_SPLINE_CALLS, .family = &form};
