// flows_neural.h -- transformers made of sigmoids and small monotone nets; a layer that is a monotone net as a whole.
//
// normalize is a formula; generate finds its root, to rounding, with gradients by the implicit function theorem, and
// fails the run (AD_ECONVERGE) where there is none. log_det is computed from logarithms, exact however far out. All
// options may be NULL. All start near the identity.
#ifndef PULLBACK_FLOWS_NEURAL_H
#define PULLBACK_FLOWS_NEURAL_H

#include "flows_layers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_mixture_transformer_options {
    int64_t components;  // K, 1 to 4096; 0: 8
    int layers;          // of a deep sigmoidal one: maps one after the other, 1 to 16; 0: 1
    double bound;        // of the components' log-scales, 1 to 20; 0: 7
    double scale_bound;  // of a logistic mixture: of its own log-scale, 0.1 to 20; 0: 2
    bool logistic;       // of gaussianization: components are logistic, else normal
} flow_mixture_transformer_options;

// normalize: logit(F(v)) scale + shift, F the cumulative distribution of a mixture of K logistic distributions (Ho et
// al. 2019, "Flow++", eq. 13-15). P = 3 K + 2: raw weights, locations, raw log-scales [K] each, raw log-scale, shift.
// Log-scales are bound tanh(raw / bound), locations held within +-1e6. Far out a line of the slope of the widest
// component.
AD_API flow_transformer *flow_logistic_mixture_transformer(const flow_mixture_transformer_options *options,
                                                           ad_error *error);
// normalize: the standard normal quantile of F(v), F of a mixture of normal (or logistic) distributions (Chen and
// Gopinath 2000; Meng et al. 2020). P = 3 K, as above. Far out a line, too; of logistic components it grows as a root.
AD_API flow_transformer *flow_gaussianization_transformer(const flow_mixture_transformer_options *options,
                                                          ad_error *error);
// normalize: logit(sum over k of w_k sigmoid(a_k v + b_k)), as often as there are layers (Huang et al. 2018, "Neural
// autoregressive flows", the deep sigmoidal flow). P = 3 K a layer: raw w, b, raw log a, which are bound tanh(raw /
// bound).
AD_API flow_transformer *flow_sigmoidal_transformer(const flow_mixture_transformer_options *options, ad_error *error);

typedef struct flow_dense_sigmoidal_transformer_options {
    int64_t units;  // H of each layer, 1 to 1024; 0: 8
    int layers;     // 1 to 16; 0: 2
    double bound;   // of log a, 1 to 20; 0: 7
    uint64_t seed;  // of the initial values, and
    ad_type type;   // of what is learned of w and u: AD_F32 (0) or AD_F64
} flow_dense_sigmoidal_transformer_options;
// normalize: layers h <- logit(w sigmoid(a (u h) + b)), from one number over H to one number (Huang et al. 2018, the
// dense sigmoidal flow). Rows of w and u are softmaxes of learned logits plus raw ones by column. P = 3 H + 4 H (layers
// - 1): of each layer raw w, b, raw log a and, but for the first, raw u [H] each. Far out a line.
AD_API flow_transformer *flow_dense_sigmoidal_transformer(const flow_dense_sigmoidal_transformer_options *options,
                                                          ad_error *error);

typedef struct flow_umnn_transformer_options {
    int64_t signal;       // S, numbers of each feature that the net sees, 1 to 4096; 0: 8
    int layers;           // hidden ones, 1 to 16; 0: 2
    int64_t width;        // of these; 0: 32
    int nodes;            // of the quadrature, 2 to 1024; 0: 21
    bool gauss_legendre;  // nodes of Gauss and Legendre, else of Clenshaw and Curtis
    bool softsign;        // log-slopes are r / (1 + |r| / bound) (zuko's), else bound tanh(r / bound)
    bool elu;             // hidden units are elu (zuko's): rules need many more nodes than for tanh
    double bound;         // 0.1 to 20; 0: 7
    double reach;         // 1e-3 to 1e6; 0: 10
    uint64_t seed;        // of the net's initial values
    ad_type type;         // of its parameters: AD_F32 (0) or AD_F64
} flow_umnn_transformer_options;
// normalize: shift + integral from 0 to v of exp(log-slope(u)) du, the log-slope a net of its own, all features', with
// tanh (or elu) units, of u and the feature's signal (Wehenkel and Louppe 2019, "Unconstrained monotonic neural
// networks"). P = S + 1: signal, shift. log_det is the log-slope at v. Derivatives in v are those of the integral, to
// second order, those in the rest the rule's. Outside of [-reach, reach] a line. Values are as exact as the rule is:
// nets that bend much within [0, v] want more nodes.
AD_API flow_transformer *flow_umnn_transformer(const flow_umnn_transformer_options *options, ad_error *error);

typedef struct flow_monotone_net_transformer_options {
    int64_t signal;  // S, numbers of each feature that the net sees, 1 to 4096; 0: 8
    int layers;      // hidden ones, 1 to 16; 0: 2
    int64_t width;   // of these; 0: 32
    double floor;    // least slope before rescaling, 1e-15 to 1; 0: 1e-3
    double bound;    // of the log-scale, 0.1 to 20; 0: 5
    uint64_t seed;   // of the net's initial values
    ad_type type;    // of its parameters: AD_F32 (0) or AD_F64
} flow_monotone_net_transformer_options;
// normalize: (net(v, signal) + floor v) scale + shift, the net of its own, all features', with weights |W| and units
// elu(a) and -elu(-a), half and half (zuko's monotone net of neural autoregressive flows, Huang et al. 2018). P = S +
// 2: signal, raw log-scale, bound tanh(raw / bound), shift. Beyond +-1e9 a line.
AD_API flow_transformer *flow_monotone_net_transformer(const flow_monotone_net_transformer_options *options,
                                                       ad_error *error);

typedef struct flow_block_naf_options {
    int64_t width;  // hidden units of each feature; 0: 16
    int layers;     // hidden ones, 1 to 16; 0: 2
    bool reversed;  // a feature sees those behind it, else those before it
    double bound;   // of log-weights on the diagonal and of logarithms of rows' lengths, 1 to 20; 0: 5
    uint64_t seed;  // of the initial values
    ad_type type;   // of the parameters: AD_F32 (0) or AD_F64
} flow_block_naf_options;
// A block neural autoregressive layer (De Cao, Titov and Aziz 2019): z = (1 - g) x + g net(x), the net of tanh units in
// blocks of a feature each, its weights positive from each block to the same, any from those before, rows normalised; g
// a gate of each feature, sigmoid of within +-5. A context is added, mapped linearly, to the first hidden units.
// normalize is one pass; generate finds the features' roots, one after the other or, of more than 64, all at once by as
// many passes, with gradients by the implicit function theorem; it fails as transformers do. [D] -> [D]. options may be
// NULL.
AD_API flow_layer *flow_block_naf(int64_t D, int64_t C, const flow_block_naf_options *options, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
