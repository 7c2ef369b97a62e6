// flows_data.h -- layers that stand next to the data: its scale, its bounds, whole numbers, natural parameters. As in
// flows_layers.h, constructors return a layer owned by the caller.
#ifndef PULLBACK_FLOWS_DATA_H
#define PULLBACK_FLOWS_DATA_H

#include "flows_model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_standardise_options {
    const double *mean, *sd;  // [D] each; both NULL: 0 and 1 until flow_init_from_data fits them
    ad_type type;             // of the two states
} flow_standardise_options;
// z = (x - mean) / sd, feature by feature; mean and sd are states: saved, not trained.
AD_API flow_layer *flow_standardise(int64_t D, const flow_standardise_options *options, ad_error *error);

// z = diag(1 / root) V^T ((x - mean) / sd): features without correlation and of variance 1, where V diag(root^2) V^T are the
// correlations of the rows that flow_init_from_data sees (PCA-cor whitening, Kessy, Lewin and Strimmer 2018); the identity
// until then. States in double, saved, not trained. D at most 8,192. Fitting fails on a constant feature and on one that is
// a linear combination of others (as it is in fewer than D + 1 rows).
AD_API flow_layer *flow_whiten(int64_t D, ad_error *error);

typedef struct flow_logit_options {
    double alpha;      // from 0 to below 0.5
    double low, high;  // both 0: 0 and 1
} flow_logit_options;
// z = logit(alpha + (1 - 2 alpha) (x - low) / (high - low)), feature by feature (Dinh et al. 2017, section 4.1). With alpha
// above 0, x may be low and high themselves, and what generate gives may lie beyond them by alpha / (1 - 2 alpha) of their
// distance. Beyond that the log-density is minus infinity, and flow_init_from_data fails, naming row and feature.
AD_API flow_layer *flow_logit(int64_t D, const flow_logit_options *options, ad_error *error);

typedef struct flow_dequantise_options {
    int64_t levels;   // 2 to 65,536; 0: 256
    double low, bin;  // x is low + bin k, k from 0 to levels - 1; bin 0: 1
    uint64_t seed;    // of the noise
} flow_dequantise_options;
// Uniform dequantisation, for bytes and other whole numbers: z = ((x - low) / bin + u) / levels in (0, 1), u uniform noise of
// each row and feature (Theis et al. 2016; Dinh et al. 2017); generate gives the x of the bin that z is in, the first or
// last where z is not in (0, 1): flow_logit, or another map from (0, 1), is to follow. Stands first in a chain, or alone.
// flow_log_prob is then a log-density per unit of x, whose mean over u is at most log P(x) - D log bin: bits per dimension
// follow as usual. A row's noise depends on seed, step (flow_set_step) and the row's number (ad_rows_set); optim_fit draws
// it anew at each step. Rows only. What flow_sample_and_log_prob gives is of z, before rounding. Log-density minus infinity
// where x is below or above all levels; flow_init_from_data fails there, and where k is not whole, naming row and feature.
AD_API flow_layer *flow_dequantise(int64_t D, const flow_dequantise_options *options, ad_error *error);

typedef struct flow_clip_options {
    const double *low, *high;  // [D] each; both NULL: no bounds until flow_init_from_data fits them
    double share;              // of rows, below 0.5, that the fitted box leaves out at either side; 0: none
    double margin;             // the fitted box is widened at either side by this share of its width
    bool always;               // when scoring, too
} flow_clip_options;
// A box: x outside it is moved to its edge when learning (ad_is_training) and in flow_init_from_data; when scoring it has
// log-density minus infinity, unless always is set. Inside the layer is the identity; generate moves what lies outside to
// the edge, so that no sample does (flow_sample_and_log_prob is of the point before). The density is not normalised anew to
// the box. Fitted to the quantiles of the rows (linear between values) and the margin; it fails on a constant feature.
// States "low" and "high", in double, saved, not trained.
AD_API flow_layer *flow_clip(int64_t D, const flow_clip_options *options, ad_error *error);

// ---- natural parameters -------------------------------------------------------------------------------------------
// The data side of these is where parameters of a model live by nature, and their latent side is free: a target written
// in natural parameters is fitted by a model whose first layer is one, or a flow_split of several. Positive numbers:
// flow_bijector "exp" or "softplus" with inverse; numbers between bounds: flow_logit. log_det is that in free
// coordinates of the data side, as Stan takes it. Data that do not lie there have log-density minus infinity.

// x: K >= 2 positive numbers that sum to 1; z: [K - 1]. A stick is broken K - 1 times (as Stan does): z = 0 are even
// shares. Free coordinates are all but the last. That x sums to 1 is not checked.
AD_API flow_layer *flow_simplex(int64_t K, ad_error *error);
// x: D ascending numbers; z: the first, and the logarithms of their differences.
AD_API flow_layer *flow_ordered(int64_t D, ad_error *error);
// x: the Cholesky factor L of a correlation matrix L L^T of K rows, 2 to 64: [K K], row by row, zeros above the
// diagonal; z: [K (K - 1) / 2], of which tanh are partial correlations (Lewandowski, Kurowicka and Joe 2009). Free
// coordinates are the elements below the diagonal. LKJ's density of L at eta is then prod_i L_ii^(K - i + 2 eta - 2), i
// from 1, up to a constant.
AD_API flow_layer *flow_correlation(int64_t K, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
