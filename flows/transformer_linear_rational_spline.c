// transformer_linear_rational_spline.c -- the element map of two linear-rational pieces in each bin.
//
// Dolatabadi, Erfani and Leckie 2020, "Invertible generative modeling using linear rational splines"; the
// constants are pyro's. On the unit square, of slopes a0 and a1 at the ends, the pieces meet at t = l (learned), with
// weights 1, r = sqrt(a0 / a1) and m = l a0 + (1 - l) r a1 at left, right and there: the left one is
// m c t / (l - t + m t), c = l r / (1 - l + l r) its end; the right one is the same from the other corner. Both, and
// their inverses, are quotients of sums of positive terms.
#include "bins.h"

// l from 0.025 to 0.975.
static const double least_part = 0.025;

typedef struct piece {
    ad_var from;    // how far from its corner the point is
    ad_var length;  // of its side
    ad_var end;     // where it ends on the other side
    ad_var weight;  // of that end, the corner's being 1
} piece;

// Of a point on x's side, or on y's.
static ad_var value(const piece *p, bool inverse) {
    ad_var e = ad_mul(p->weight, inverse ? ad_sub(p->end, p->from) : ad_mul(p->end, p->from));
    if (inverse) return ad_div(ad_mul(p->from, p->length), ad_add(e, p->from));
    return ad_div(e, ad_add(ad_sub(p->length, p->from), ad_mul(p->weight, p->from)));
}

static ad_var choose(ad_var c, ad_var a, ad_var b) {
    return ad_where(c, a, b);
}

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    ad_var widths = flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_width), d0, d1;
    ad_var heights = flow_spline_shares(s, flow_spline_raw(p, K, K), s->options.min_height);
    ad_var slopes = flow_spline_slopes(s, flow_spline_raw(p, 2 * K, K - 1));
    flow_bins b = flow_bins_find(s, v, flow_spline_knots(s, widths), flow_spline_knots(s, heights), inverse);
    flow_bins_ends(&b, ad_pad(slopes, -1, 1, 1, 1), &d0, &d1);
    ad_var raw = flow_bins_own(&b, flow_spline_raw(p, 3 * K - 1, K));
    ad_var l = ad_offset(ad_scale(ad_sigmoid(raw), 1 - 2 * least_part), least_part);
    ad_var rest = ad_offset(ad_scale(ad_sigmoid(ad_neg(raw)), 1 - 2 * least_part), least_part);
    ad_var r = ad_sqrt(ad_div(d0, d1)), lr = ad_mul(l, r), both = ad_add(rest, lr);
    ad_var m = ad_div(ad_add(ad_mul(l, d0), ad_mul(rest, ad_mul(r, d1))), b.steep);
    ad_var ends[2] = {ad_div(lr, both), ad_div(rest, both)};
    ad_var first = ad_less(b.at, inverse ? ends[0] : l);
    // The right piece from its own corner: there 1 - q of 1 - t, with weight r at the corner.
    piece at = {choose(first, b.at, b.left), choose(first, l, rest), choose(first, ends[0], ends[1]),
                choose(first, m, ad_div(m, r))};
    ad_var near = value(&at, inverse), t = inverse ? near : at.from;
    ad_var divisor = ad_add(ad_sub(at.length, t), ad_mul(at.weight, t));
    ad_var slope = ad_div(ad_mul(at.weight, ad_mul(at.end, at.length)), ad_square(divisor));
    return flow_bins_result(&b, choose(first, near, ad_sub(ad_number(v.tape, 1), near)), slope);
}

flow_transformer *flow_linear_rational_spline_transformer(const flow_spline_transformer_options *options,
                                                          ad_error *error) {
    return flow_spline_new(&flow_linear_rational_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 4, .more = -1, .least = 2, .transform = transform};

const flow_transformer_type flow_linear_rational_spline_transformer_type = {
    .name = "linear-rational spline", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .family = &form};
