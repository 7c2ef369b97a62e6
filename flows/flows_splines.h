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

#ifdef __cplusplus
}
#endif
#endif
