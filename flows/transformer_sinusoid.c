// transformer_sinusoid.c -- the element map of a quarter of a sine wave in each of equal bins.
//
// Prince, "Understanding deep learning", eq. 16.33 as corrected: with b = floor(K x) the sum of the heights of bins
// before, and of bin b + 1 its height times sin((K x - b) pi / 2). That has slope 0 at the right edge of each bin, a
// log_det of minus infinity: here a part c of it is mixed with 1 - c of a straight line. c is learned, from nearly 0,
// where layers start as the identity, to 1 - min_derivative.
#include "bins.h"

enum { STEPS = 4 };  // of Halley's, from the sine's own root: more than rounding lets one see, for any c

typedef struct wave {
    ad_var c, line;  // line: 1 - c
    ad_var q;
} wave;

static const double quarter = 1.57079632679489661923;

static ad_var residual(void *arg, ad_var t) {
    const wave *w = arg;
    return ad_sub(ad_add(ad_mul(w->c, ad_sin(ad_scale(t, quarter))), ad_mul(w->line, t)), w->q);
}

static ad_var root(wave *w) {
    wave fixed = {ad_stop_gradient(w->c), ad_stop_gradient(w->line), ad_stop_gradient(w->q)};
    ad_var t = ad_scale(ad_asin(ad_clamp(fixed.q, 0, 1)), 1 / quarter);
    for (int i = 0; i < STEPS; i++) {
        ad_var angle = ad_scale(t, quarter);
        ad_var slope = ad_add(fixed.line, ad_scale(ad_mul(fixed.c, ad_cos(angle)), quarter));
        ad_var bend = ad_scale(ad_mul(fixed.c, ad_sin(angle)), -quarter * quarter);
        t = ad_clamp(flow_halley(t, residual(&fixed, t), slope, bend), 0, 1);
    }
    return ad_implicit(t, residual, w);
}

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    const double least = s->options.min_derivative;
    ad_var heights = flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_height);
    ad_var knots = flow_spline_knots(s, heights), raw = ad_reshape(flow_spline_raw(p, K, 1), ad_shape1(p.n));
    flow_bins b =
        flow_bins_find(s, v, ad_expand(flow_spline_even_knots(s, v.tape), ad_shape_of(knots)), knots, inverse);
    wave w = {ad_scale(ad_sigmoid(raw), 1 - least), ad_offset(ad_scale(ad_sigmoid(ad_neg(raw)), 1 - least), least),
              inverse ? b.at : ad_number(v.tape, 0)};
    ad_var t = inverse ? root(&w) : b.at;
    ad_var cosine = inverse ? ad_cos(ad_scale(t, quarter)) : ad_sin(ad_scale(b.left, quarter));
    ad_var slope = ad_add(w.line, ad_scale(ad_mul(w.c, cosine), quarter));
    return flow_bins_result(&b, inverse ? t : residual(&w, t), slope);
}

static void identity(const flow_transformer *t, double *raw) {
    raw[((const flow_spline *)t)->bins] = -4;
}

flow_transformer *flow_sinusoid_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_sinusoid_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 1, .more = 1, .least = 2, .transform = transform};

const flow_transformer_type flow_sinusoid_transformer_type = {
    .name = "sinusoid", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .identity = identity, .family = &form};
