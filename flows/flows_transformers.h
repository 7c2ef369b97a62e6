// flows_transformers.h -- transformers, the maps of one feature that couplings and other layers share.
//
// A transformer maps one feature, increasingly, by P raw parameters that may be any numbers: of a net, or learned. Couplings,
// autoregressive and elementwise layers take any. Constructors return one owned by the caller until a layer takes it over
// (one layer, on its failure too), or NULL with *error filled in.
#ifndef PULLBACK_FLOWS_TRANSFORMERS_H
#define PULLBACK_FLOWS_TRANSFORMERS_H

#include "flows_model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_transformer flow_transformer;

// Raw parameters of n features, P each, n P elements in all: by feature (those of a feature one after the other: [n,P]), as
// masked nets give them, or by parameter ([P,n]).
typedef struct flow_parameters {
    ad_var raw;  // of any shape
    int64_t n, P;
    bool by_feature;
} flow_parameters;
// Parameter i of all features, [n]; all parameters, [n,P]. Fastest where they lie so.
AD_API ad_var flow_parameter(flow_parameters parameters, int64_t i);
AD_API ad_var flow_parameters_by_feature(flow_parameters parameters);

// What is said of a transformer whose kind is a matter of choice.
typedef struct flow_usual_transformer_options {
    int64_t bins;  // of splines; values of discrete data; components of mixtures; of polynomials the degree; others have none.
                   // 0: the transformer's default
    double bound;  // of the box outside of which a map is simple, or of log-scales; 0: the default
    double width;  // of the net that gives raw numbers: splines divide those of widths and heights by its root; 0: not
    uint64_t seed;  // of initial values, and
    ad_type type;   // of the parameters of those that have nets of their own
} flow_usual_transformer_options;
// One of the library's transformers by its name in files, or the same with "-" for blanks and without a last " spline", as
// "linear-rational". NULL with a message that lists them (AD_EARG) when there is none of that name.
AD_API flow_transformer *flow_usual_transformer(const char *name, const flow_usual_transformer_options *options,
                                                ad_error *error);

AD_API void flow_transformer_free(flow_transformer *transformer);
// Features v [n] through the map, and back; log_det is left in parts, or AD_NONE for zero.
AD_API flow_result flow_transformer_normalize(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
AD_API flow_result flow_transformer_generate(const flow_transformer *transformer, flow_parameters parameters, ad_var v);

// normalize: v + shift (Dinh, Krueger and Bengio 2015). P = 1.
AD_API flow_transformer *flow_additive_transformer(ad_error *error);

// How a scale comes from a raw number r.
typedef enum flow_scale {
    FLOW_SCALE_TANH = 0,  // exp(bound tanh(r / bound))
    FLOW_SCALE_EXP,       // exp(r)
    FLOW_SCALE_SOFTSIGN,  // exp(r / (1 + |r| / bound)), as zuko's with bound -log 1e-3
    FLOW_SCALE_SOFTPLUS,  // softplus(r) + floor, as nflows's
    FLOW_SCALE_SIGMOID    // sigmoid(r + 2) + floor
} flow_scale;
typedef struct flow_affine_transformer_options {
    flow_scale scale;
    double bound, floor;  // see there; 0: 2 and 1e-3. 1e-3 to 1e6, or INFINITY: exp(r); and 1e-30 to 1e30
    bool no_shift;        // the scale alone: P = 1
} flow_affine_transformer_options;
// normalize: v scale + shift; parameters (raw scale, shift). options may be NULL.
AD_API flow_transformer *flow_affine_transformer(const flow_affine_transformer_options *options, ad_error *error);

// normalize: v scale + shift, scales of the features mapped together having product 1 (GIN, Sorrenson et al. 2020): volumes are
// kept, log_det is 0. Log-scales are bound tanh(raw / bound), less their mean: bound 0.001 to 20; 0: 2. P = 2. For couplings of
// two changed features or more (of one it is a shift), and elementwise layers; autoregressive ones refuse it.
AD_API flow_transformer *flow_incompressible_transformer(double bound, ad_error *error);

typedef struct flow_spline_transformer_options {
    int64_t bins;              // K, 2 to 4096; 0: 8
    ad_spline_options spline;  // bound of the box, least widths, heights and slopes, as there
    double divide;             // spline.scale, where that is 0, is 1 / sqrt(divide): of the width of the net, as in nflows
} flow_spline_transformer_options;
// normalize: a monotone rational-quadratic spline (ad_rational_quadratic; Durkan et al. 2019), the identity outside [-bound,
// bound]. P = 3 K - 1. options may be NULL.
AD_API flow_transformer *flow_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
