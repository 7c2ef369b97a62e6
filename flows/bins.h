// bins.h -- what splines share: a box cut into bins, the bin that a point is in, and what lies outside.
#ifndef FLOWS_BINS_H
#define FLOWS_BINS_H

#include "internal.h"

typedef struct flow_spline flow_spline;
// The family of a type of splines: P = per_bin K + more raw parameters of at least so many bins K, and both directions.
typedef struct flow_spline_form {
    int64_t per_bin, more, least;
    flow_result (*transform)(const flow_spline *s, flow_parameters p, ad_var v, bool inverse);
    bool circle;  // features lie in the box, before and after
} flow_spline_form;

// A transformer of bins: options as of flow_spline_transformer, settled.
struct flow_spline {
    flow_transformer transformer;
    int64_t bins;  // K
    ad_spline_options options;
};

flow_transformer *flow_spline_new(const flow_transformer_type *type, const flow_spline_transformer_options *options,
                                  ad_error *error);
// The calls of such a type.
flow_result flow_spline_normalize(const flow_transformer *transformer, flow_parameters p, ad_var v);
flow_result flow_spline_generate(const flow_transformer *transformer, flow_parameters p, ad_var v);
json_t *flow_spline_describe(const flow_transformer *transformer);
flow_transformer *flow_spline_make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                                   ad_error *error);
flow_transformer *flow_spline_usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                                    ad_error *error);
flow_transformer *flow_spline_example(const flow_transformer_type *type, int i, ad_error *error);
#define FLOW_SPLINE_CALLS                                                                                   \
    .normalize = flow_spline_normalize, .generate = flow_spline_generate, .describe = flow_spline_describe, \
    .make = flow_spline_make, .example = flow_spline_example, .usual = flow_spline_usual, .by_feature = true
// How many features are outside the box.
flow_gauges flow_spline_gauge(const flow_transformer *transformer, flow_parameters p, ad_var v);

// ---- knots and slopes of raw numbers ------------------------------------------------------------------------------

// Raw parameters from .. from + n of each feature: [n features, n].
ad_var flow_spline_raw(flow_parameters p, int64_t from, int64_t n);
// Shares of the box, summing to 1, of raw ones: least + (1 - K least) softmax. [..., K].
ad_var flow_spline_shares(const flow_spline *s, ad_var raw, double least);
// Knots of shares, the ends exact: [..., K + 1].
ad_var flow_spline_knots(const flow_spline *s, ad_var shares);
// Sizes of bins between knots.
ad_var flow_spline_sizes(const flow_spline *s, ad_var knots);
// Knots of K equal bins, [1, K + 1].
ad_var flow_spline_even_knots(const flow_spline *s, ad_tape *tape);
// Slopes from min_derivative to its reciprocal, 1 of raw numbers 0.
ad_var flow_spline_slopes(const flow_spline *s, ad_var raw);

// ---- the bin of a point -------------------------------------------------------------------------------------------

// Of points [n]. Inside its bin a map is one of the unit square: t from 0 to 1 on the side of x, q on that of y.
typedef struct flow_bins {
    const flow_spline *spline;
    bool inverse;         // points are y
    ad_var v, inside;     // as given; 1 in the box, else 0
    ad_var k;             // number of the bin [n,1]
    ad_var x0, w, y0, h;  // its left edges, width and height
    ad_var steep;         // h / w
    ad_var at, left;      // where the point is in it: t (inverse: q), and 1 - that, from its other edge
} flow_bins;

// knots_x, knots_y [n or 1, K + 1]. Points outside are at 0 instead.
flow_bins flow_bins_find(const flow_spline *s, ad_var v, ad_var knots_x, ad_var knots_y, bool inverse);
// Of numbers at all knots, those at the ends of the bin; of numbers of all bins, that of the bin.
void flow_bins_ends(const flow_bins *b, ad_var at_knots, ad_var *low, ad_var *high);
ad_var flow_bins_own(const flow_bins *b, ad_var of_bins);
// The point on the other side: q (inverse: t), and the slope dq/dt there, AD_NONE for 1; outside the identity.
flow_result flow_bins_result(const flow_bins *b, ad_var other, ad_var slope);

// t nearer to the root of f by Halley's step: f, its slope (positive) and its second derivative there.
ad_var flow_halley(ad_var t, ad_var f, ad_var slope, ad_var bend);

// ---- cubic bins (cubic_bins.c) ------------------------------------------------------------------------------------

// The largest slope at a bin's end, in units of the bin's: of 3 at both ends it would be flat in the middle.
#define FLOW_CUBIC_MOST 2.99
// From min_derivative to FLOW_CUBIC_MOST, of raw numbers; and the raw number of 1.
ad_var flow_cubic_ratios(const flow_spline *s, ad_var raw);
double flow_cubic_raw_of_one(const flow_spline *s);
// Through cubic Hermite bins of slopes at_knots [n, K + 1].
flow_result flow_cubic_bins(const flow_bins *b, ad_var at_knots);

#endif
