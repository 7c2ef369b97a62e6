// transformer_cubic_spline.c -- the element map of monotone cubics through knots (Steffen's slopes).
//
// Durkan et al. 2019, "Cubic-spline flows": slopes at inner knots are those of Steffen 1990, of the bins'
// heights and widths alone; those at the ends of the box are learned. Outside is the identity, though the density then
// jumps there: few data say what these slopes are, and on lines of them samples outside go to anywhere, layer by layer.
#include "bins.h"

// Steffen's slopes min(2 s_left, 2 s_right, (s_left w_right + s_right w_left) / (w_left + w_right)) at inner knots.
static ad_var steffen(ad_var steep, ad_var w, int64_t K) {
    ad_var s0 = ad_slice(steep, -1, 0, K - 1), s1 = ad_slice(steep, -1, 1, K - 1);
    ad_var w0 = ad_slice(w, -1, 0, K - 1), w1 = ad_slice(w, -1, 1, K - 1);
    ad_var middle = ad_div(ad_add(ad_mul(s0, w1), ad_mul(s1, w0)), ad_add(w0, w1));
    return ad_minimum(middle, ad_scale(ad_minimum(s0, s1), 2));
}

static flow_result transform(const flow_spline *s, flow_parameters p, ad_var v, bool inverse) {
    const int64_t K = s->bins;
    ad_var x = flow_spline_knots(s, flow_spline_shares(s, flow_spline_raw(p, 0, K), s->options.min_width));
    ad_var y = flow_spline_knots(s, flow_spline_shares(s, flow_spline_raw(p, K, K), s->options.min_height));
    ad_var widths = flow_spline_sizes(s, x), steep = ad_div(flow_spline_sizes(s, y), widths);
    ad_var ends = flow_cubic_ratios(s, flow_spline_raw(p, 2 * K, 2));
    ad_var slopes[] = {ad_mul(ad_slice(ends, -1, 0, 1), ad_slice(steep, -1, 0, 1)), steffen(steep, widths, K),
                       ad_mul(ad_slice(ends, -1, 1, 1), ad_slice(steep, -1, K - 1, 1))};
    flow_bins b = flow_bins_find(s, v, x, y, inverse);
    return flow_cubic_bins(&b, ad_concat(slopes, 3, -1));
}

static void identity(const flow_transformer *t, double *raw) {
    const flow_spline *s = (const flow_spline *)t;
    raw[2 * s->bins] = raw[2 * s->bins + 1] = flow_cubic_raw_of_one(s);
}

flow_transformer *flow_cubic_spline_transformer(const flow_spline_transformer_options *options, ad_error *error) {
    return flow_spline_new(&flow_cubic_spline_transformer_type, options, error);
}

static const flow_spline_form form = {.per_bin = 2, .more = 2, .least = 2, .transform = transform};

const flow_transformer_type flow_cubic_spline_transformer_type = {
    .name = "cubic spline", FLOW_SPLINE_CALLS, .gauge = flow_spline_gauge, .identity = identity, .family = &form};
