// flows_bases.h -- base densities.
#ifndef PULLBACK_FLOWS_BASES_H
#define PULLBACK_FLOWS_BASES_H

#include "flows_nets.h"

#ifdef __cplusplus
extern "C" {
#endif

// Independent standard normals, [D].
AD_API flow_base *flow_standard_normal(int64_t D, ad_error *error);

// Location and scale of bases of independent features. Without a context they are learned, one pair a feature (parameter
// "values" [2,D]: location, raw log-scale), and start at 0 and 1; with a context [C] they are what a net says of it.
typedef struct flow_scaled_options {
    bool fixed;            // location 0 and scale 1, nothing learned; C is 0
    bool classes;          // the context is a class, one-hot: a location and a scale of each, "values" [2 D,C]
    double bound;          // the log-scale is bound tanh(raw / bound), 0.001 to 50; 0: 10
    flow_mlp_options mlp;  // of the net (zero_last is set, so that it starts at 0 and 1; type is this type)
    flow_net *net;         // instead: a net [C] -> [2 D], owned by the base, also on failure
    ad_type type;          // of the parameters: AD_F32 (0) or AD_F64
} flow_scaled_options;
// Independent normals, z = location + scale e: learned, conditional or (classes) class-conditional. options may be NULL.
// Samples of this base and those below are differentiable in what is learned, unless said otherwise.
AD_API flow_base *flow_base_normal(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error);
// The same of logistic densities (fixed: the base of NICE, Dinh et al. 2015), Laplace, and Gumbel (of the maximum).
AD_API flow_base *flow_base_logistic(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error);
AD_API flow_base *flow_base_laplace(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error);
AD_API flow_base *flow_base_gumbel(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error);

typedef struct flow_student_options {
    double df;      // degrees of freedom, 0.5 to 1e6 (1: Cauchy); 0: 5
    bool learn_df;  // each feature's is learned, from df on; stays above 2
    flow_scaled_options scaled;
} flow_student_options;
// Independent Student-t densities, for data with heavy tails. Sampled exactly (Bailey 1994), differentiably in df too.
AD_API flow_base *flow_base_student(int64_t D, int64_t C, const flow_student_options *options, ad_error *error);

typedef struct flow_full_options {
    double bound;  // of the log of the factor's diagonal, as in flow_scaled_options
    ad_type type;
} flow_full_options;
// A normal of full covariance L L^T, z = mean + L e: parameters "mean" [D] and "L" [D,D] (below the diagonal L, on it the
// raw log of L's, above it nothing). Starts as the standard normal. D at most 8,192. options may be NULL.
AD_API flow_base *flow_base_full(int64_t D, const flow_full_options *options, ad_error *error);

typedef struct flow_pca_options {
    double bound;   // of the noise's log, as in flow_scaled_options
    uint64_t seed;  // of W, which starts uniform in +-1/sqrt(D)
    ad_type type;
} flow_pca_options;
// A normal of low rank plus noise (probabilistic PCA, Tipping and Bishop 1999): z = mean + W y + s e with y [K], 1 <= K <= D.
// Parameters "mean" [D], "W" [D,K] and "log_noise" [1], raw. Costs O(D K) a row. options may be NULL.
AD_API flow_base *flow_base_pca(int64_t D, int64_t K, const flow_pca_options *options, ad_error *error);

typedef struct flow_mixture_options {
    int64_t components;    // K; 0: 8
    double bound;          // of log-scales, as in flow_scaled_options
    flow_mlp_options mlp;  // of the net, with a context (zero_last is set; type is this type); seed of the means' start
    flow_net *net;         // instead: a net [C] -> [K (1 + 2 D)], owned by the base, also on failure
    ad_type type;
} flow_mixture_options;
// A mixture of K independent normals; parameter "values" [K, 1 + 2 D]: each one's logit, mean and raw log-scale, with a
// context a net's. Means start spread over +-2. A sample is of a component drawn exactly: its gradient is right in that one's
// mean and scale, and none reaches the logits, so that losses on samples (reverse KL) do not learn the weights; log_prob
// does. options may be NULL.
AD_API flow_base *flow_base_mixture(int64_t D, int64_t C, const flow_mixture_options *options, ad_error *error);

// Uniform on the box [low, high]^D; both 0: [0, 1]^D. Its log-density outside is minus infinity: for layers whose latents
// stay in the box.
AD_API flow_base *flow_base_uniform(int64_t D, double low, double high, ad_error *error);
// The same with ends of each feature's own: from low[d] to high[d], copied; NULL: 0, and 1.
AD_API flow_base *flow_base_box(int64_t D, const double *low, const double *high, ad_error *error);

// base to the power 1/T^2, normalised: a normal with its noise times T, Laplace with T^2, uniform as it is. Owns base, on
// failure too; of NULL, NULL with *error left alone. Fails (AD_EARG) on bases whose power is no scaled copy of themselves.
AD_API flow_base *flow_temper(flow_base *base, double T, ad_error *error);

// Of z of base the n features listed (ascending, at most 8; NULL: all) as |z_i|: log_prob is the logarithm of the sum of the
// base's densities at all 2^n choices of their signs, minus infinity where one of them is below 0. No bijection does that. A
// standard normal of one feature and a map that squares make the chi-squared density. Owns base, on failure too; of NULL, NULL
// with *error left alone. Cannot be tempered, nor folded again.
AD_API flow_base *flow_base_folded(flow_base *base, const int64_t *features, int64_t n, ad_error *error);

AD_API void flow_base_free(flow_base *base);
// One base on its own: the log-density of each row of z [D], shape [] per row, summed in f64; samples as flow_sample's.
// Both fail on the tape (AD_ESHAPE) when D or C are not the base's.
AD_API ad_var flow_base_log_prob(const flow_base *base, ad_var z, ad_var context);
AD_API ad_var flow_base_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream,
                               ad_var context);

#ifdef __cplusplus
}
#endif
#endif
