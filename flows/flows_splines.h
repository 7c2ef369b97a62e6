// flows_splines.h -- further transformers: maps of one feature made of pieces over the bins of a box, of polynomials,
// and other increasing maps with few parameters.
//
// Those with flow_spline_transformer_options map the box [-bound, bound] onto itself, by bins whose widths and heights, in
// units of the box, are min + (1 - K min) softmax(scale raw). All options may be NULL. All start as the identity, or near
// it; and whatever their raw parameters are, log-slopes are bounded.
#ifndef PULLBACK_FLOWS_SPLINES_H
#define PULLBACK_FLOWS_SPLINES_H

#include "flows_transformers.h"

#ifdef __cplusplus
extern "C" {
#endif

// normalize: straight pieces over K equal bins (Mueller et al. 2019; Prince, eq. 16.12), the identity outside the box. P = K
// raw heights. Of the options min_width and min_derivative are not used.
AD_API flow_transformer *flow_linear_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// The integral of a density that is linear in each bin and 1 at both ends of the box (Mueller et al. 2019), the identity
// outside. P = 2 K - 1: raw widths [K], raw densities at inner knots [K - 1], K >= 3. min_derivative: least density; min_height
// is not used.
AD_API flow_transformer *flow_quadratic_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// Two linear-rational pieces in each bin (Dolatabadi et al. 2020), the identity outside. P = 4 K - 1: raw widths and heights
// [K] each, raw slopes at inner knots [K - 1], where the pieces of each bin meet [K]. Slopes at knots lie between min_derivative
// and its reciprocal: exp(m tanh(raw / m)), m = -log min_derivative.
AD_API flow_transformer *flow_linear_rational_spline_transformer(const flow_spline_transformer_options *options,
                                                                 ad_error *error);

// Monotone cubics with Steffen's slopes at inner knots (Durkan et al. 2019, "Cubic-spline flows"), the identity outside the
// box, where the density jumps. P = 2 K + 2: raw widths and heights [K] each, raw slopes of both ends, which lie between
// min_derivative and 2.99 times that of the first or last bin. Back by Halley's steps, without a loop.
AD_API flow_transformer *flow_cubic_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// Monotone cubics with learned slopes at knots (Hermite's): between min_derivative and 2.99 times that of the flatter bin
// beside. P = 3 K + 1: raw widths and heights [K] each, raw slopes at all knots [K + 1]. Outside and back as cubic splines.
AD_API flow_transformer *flow_hermite_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// The circle whose points are -bound to bound, these two being one (Rezende et al. 2020): a rational-quadratic spline with one
// slope there, then a shift around it. Features lie in the box, before and after. P = 3 K + 1: raw widths, heights and slopes at
// the left edges of bins [K] each (slopes as of linear-rational splines), the shift.
AD_API flow_transformer *flow_circular_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// A quarter of a sine wave over each of K equal bins (Prince, eq. 16.33, corrected), mixed with a straight line, so that slopes
// are never 0; the identity outside the box. P = K + 1: raw heights, the raw part of the sine, at most 1 - min_derivative. It
// starts with a part of 0.02. min_width is not used. Back by Halley's steps, without a loop.
AD_API flow_transformer *flow_sinusoid_transformer(const flow_spline_transformer_options *options, ad_error *error);

typedef struct flow_censored_mixture_transformer_options {
    int64_t bins;        // n, 2 to 65536: one a value; 0: 256
    int64_t components;  // K, 1 to 4096; 0: 8
    double low, high;    // of the box, 1e-3 to 1e6 in size; both 0: -3 and 3
    double scale_bound;  // of log-scales, 1 to 20; 0: log(bins) + 3, at which a component has all but 4e-9 in one bin
    double floor;        // what all bins share alike of the probability, 1e-6 to 0.5; 0: 1e-4
} flow_censored_mixture_transformer_options;
// For discrete data. normalize: straight pieces over n equal bins of the box, bin k of them higher by floor / n + (1 - floor)
// (F_k+1 - F_k), in units of the box (Salimans et al. 2017, "PixelCNN++", eq. 2): F_k the cumulative distribution of a mixture of
// K logistic distributions at the bin's left edge, but F_0 = 0 and F_n = 1. So where features are values 0 .. n - 1 with uniform
// noise, scaled to the box (flow_dequantise does all that for a box from 0 to 1), and the base density is uniform on the box,
// log_prob of one elementwise, coupling or autoregressive layer of it is the log-probability of the values, whatever the noise:
// the nets of these see features as the middles of their bins. (Of several layers the first alone knows values: in texts say
// layers=1.) P = 3 K, however many values: raw weights, locations (held within +-1e6), raw log-scales, both in units in which
// the box is [-1, 1]; log-scales are scale_bound tanh(raw / scale_bound). Features lie in the box; outside it is the identity.
// Back by halving, exactly. It starts with slopes from 0.4 to 3, within 0.007 of the box of the identity (of 8 components and
// 256 bins; of more components nearer).
AD_API flow_transformer *flow_censored_mixture_transformer(const flow_censored_mixture_transformer_options *options,
                                                           ad_error *error);

// ---- polynomials, and few parameters --------------------------------------------------------------------------------
// Back from polynomials goes ad_root: a loop a feature when an autoregressive layer sweeps.

typedef struct flow_bernstein_transformer_options {
    int64_t degree;       // n, 1 to 64; 0: 16
    double bound, floor;  // of the box, and the least slope; 0: 5 and 1e-3
} flow_bernstein_transformer_options;
// normalize: a Bernstein polynomial of increasing coefficients (Ramasinghe et al. 2021) that maps the box [-bound, bound] onto
// itself, lines of its slopes at the ends outside. P = n raw increments: their softmax, so that slopes lie between floor
// and n.
AD_API flow_transformer *flow_bernstein_transformer(const flow_bernstein_transformer_options *options, ad_error *error);

typedef struct flow_sum_of_squares_transformer_options {
    int64_t polynomials, degree;  // K, 1 to 256, and L, 1 to 16; 0: 3 and 4
    double scale;                 // of v; 0: 10
    double bound;                 // beyond which lines go on, at most 2 scale; 0: scale
    double floor;                 // the least slope; 0: 1e-3
} flow_sum_of_squares_transformer_options;
// normalize: shift + the integral from 0 to v of floor + mean over i of (1 + sum of a_ij (u / scale)^j, j = 0 .. L)^2 (Jaini et
// al. 2019; constants and form are zuko's). P = K (L + 1) + 1: a_1j, a_2j, ..., which are taken as within +-1000, then the
// shift.
AD_API flow_transformer *flow_sum_of_squares_transformer(const flow_sum_of_squares_transformer_options *options,
                                                         ad_error *error);

typedef struct flow_nonlinear_squared_transformer_options {
    double bound;  // of log b and log d, 0.001 to 20; 0: 2
    double most;   // how much of its slope the bump may take away, at most 0.99; 0: 0.95
} flow_nonlinear_squared_transformer_options;
// normalize: a + b v + c / (1 + (d v + g)^2) (Ziegler and Rush 2019). P = 5: a, raw log b, raw c, raw log d, g, with log b and
// log d bound tanh(raw / bound), and c = most (8 sqrt(3) / 9) (b / d) tanh(raw). Back by Halley's steps, without a loop.
AD_API flow_transformer *flow_nonlinear_squared_transformer(const flow_nonlinear_squared_transformer_options *options,
                                                            ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
