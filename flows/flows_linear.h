// flows_linear.h -- linear layers, and permutations. As in flows_layers.h, constructors return a layer owned by the caller.
#ifndef PULLBACK_FLOWS_LINEAR_H
#define PULLBACK_FLOWS_LINEAR_H

#include "flows_model.h"

#ifdef __cplusplus
extern "C" {
#endif

// z[i] = x[order[i]]; order NULL: reversed. order is copied. log_det 0.
AD_API flow_layer *flow_permutation(int64_t D, const int64_t *order, ad_error *error);
// The same with a random order (Fisher and Yates, of seed alone).
AD_API flow_layer *flow_random_permutation(int64_t D, uint64_t seed, ad_error *error);

typedef struct flow_lu_linear_options {
    const int64_t *order;  // z = L U x[order] + b; copied; NULL: as shuffle says
    bool shuffle;          // a random order, of seed; false: none
    double floor;          // U's diagonal is softplus(raw) + floor, 0 < floor < 1; 0: 1e-3
    bool random;           // entries off the diagonal start uniform in +-1/sqrt(D), of seed; false: L = U = identity
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_lu_linear_options;
// Invertible linear map by its LU factors (Oliva et al. 2018; Kingma and Dhariwal 2018, eq. 10): z = L U x + b, L unit lower
// and U upper triangular with a positive diagonal, log_det = sum log diag(U). Parameters "LU" [D,D] (L below the diagonal, U
// above, raw on it) and "b" [D]. generate solves with both factors; no matrix is inverted.
AD_API flow_layer *flow_lu_linear(int64_t D, const flow_lu_linear_options *options, ad_error *error);

// What linear layers z = W x + b have in common.
typedef struct flow_linear_options {
    bool no_shift;  // z = W x, without the parameter "b" [D]
    bool random;    // starts at random, of seed; false: as the identity, or near it
    double bound;   // log-scales stay below it either way, s = bound tanh(raw / bound): 0.001 to 80; 0: 7
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_linear_options;

// z = P L U x + b, the start random (of seed): the LU factors of a random rotation (Kingma and Dhariwal 2018, section 3.2), of
// which the permutation P and the signs of U's diagonal stay; not random: the identity. Parameter "LU" [D,D] (L below the
// diagonal, U above, raw logarithms of U's sizes on it), state "sign" [D]. log_det = sum of the logarithms.
AD_API flow_layer *flow_plu_linear(int64_t D, const flow_linear_options *options, ad_error *error);

// Any square matrix "W" [D,D] (an identity or a random rotation at the start): z = W x + b. log_det is that of LU factors, D^3
// once a step; generate solves. Where training makes W singular, log_det is -inf, and generate and gradients fail the run
// with AD_ENONFINITE. (flow_lu_linear, flow_qr_linear and flow_svd_linear stay invertible.) bound is not used.
AD_API flow_layer *flow_dense_linear(int64_t D, const flow_linear_options *options, ad_error *error);

typedef struct flow_diagonal_options {
    bool no_scale;  // shift only; with linear.no_shift instead, scale only
    flow_linear_options linear;
} flow_diagonal_options;
// z = exp(s) x + b, feature by feature; s from the raw "log_scale" [D].
AD_API flow_layer *flow_diagonal_affine(int64_t D, const flow_diagonal_options *options, ad_error *error);

typedef struct flow_triangular_options {
    bool upper;  // features see those after them; false: before
    flow_linear_options linear;
} flow_triangular_options;
// z = T x + b, T lower or upper triangular with diagonal exp(s): parameter "T" [D,D], raw s on its diagonal, the other half
// not used. log_det = sum s; generate substitutes.
AD_API flow_layer *flow_triangular_linear(int64_t D, const flow_triangular_options *options, ad_error *error);

typedef struct flow_householder_options {
    int64_t reflections;  // K; 0: D, or D + 1 where D is odd
    flow_linear_options linear;
} flow_householder_options;
// z = H_K ... H_1 x + b, H_k = I - 2 v_k v_k^T / |v_k|^2 (Tomczak and Welling 2016): orthogonal, log_det 0. Parameter "V" [K,D],
// of any lengths (0: no reflection). Starts as pairs of equal vectors, the identity; an odd one left over reflects the last
// feature. bound is not used.
AD_API flow_layer *flow_householder(int64_t D, const flow_householder_options *options, ad_error *error);
// z = Q R x + b: Q as above, R upper triangular with diagonal exp(s) (Hoogeboom et al. 2019): parameters "V" [K,D], "R" [D,D].
AD_API flow_layer *flow_qr_linear(int64_t D, const flow_householder_options *options, ad_error *error);
// z = U diag(exp(s)) V x + b, U and V each K reflections (Zhang et al. 2018): parameters "U", "V" [K,D], raw "log_scale" [D]. The
// condition number is at most e^(2 bound).
AD_API flow_layer *flow_svd_linear(int64_t D, const flow_householder_options *options, ad_error *error);

typedef enum flow_orthogonal_kind {
    FLOW_ORTHOGONAL_EXP = 0,  // exp(A), A = L - L^T, L the part of W below the diagonal: every rotation
    FLOW_ORTHOGONAL_CAYLEY,   // (I - A)^-1 (I + A): those without an eigenvalue -1
    FLOW_ORTHOGONAL_QR        // Q of W's QR factors: W orthogonalised anew in each step; one not of full rank fails the run
} flow_orthogonal_kind;
typedef struct flow_orthogonal_options {
    flow_orthogonal_kind kind;
    flow_linear_options linear;
} flow_orthogonal_options;
// z = Q x + b, Q orthogonal by one of the ways above from "W" [D,D] (Golinski et al. 2019): log_det 0. D^3 once a step. bound is
// not used.
AD_API flow_layer *flow_orthogonal(int64_t D, const flow_orthogonal_options *options, ad_error *error);

// z = Q x for a random rotation Q (of QR factors of a Gaussian matrix, determinant 1), of seed: not trained, kept as a state
// "Q" [D,D] in double. Takes D^3 steps to draw.
AD_API flow_layer *flow_rotation(int64_t D, uint64_t seed, ad_error *error);

typedef struct flow_plane_options {
    int64_t i, j;  // the two features; both 0: 0 and 1
    double angle;  // at the start
    ad_type type;
} flow_plane_options;
// z_i = x_i cos a - x_j sin a, z_j = x_i sin a + x_j cos a, a the parameter "angle" [1]; the other features stay. D >= 2.
AD_API flow_layer *flow_plane_rotation(int64_t D, const flow_plane_options *options, ad_error *error);

typedef struct flow_low_rank_options {
    int64_t rank;    // K, 1 to D; 0: 1
    bool symmetric;  // V is U: positive definite, so never singular
    flow_linear_options linear;
} flow_low_rank_options;
// z = (diag(exp(s)) + U V^T) x + b: parameters "U", "V" [D,K], raw "log_scale" [D]. log_det by the matrix determinant lemma,
// generate by Woodbury's identity: D K a row, D K^2 once a step. Not symmetric, it may become singular in training, as
// flow_dense_linear.
AD_API flow_layer *flow_low_rank_linear(int64_t D, const flow_low_rank_options *options, ad_error *error);
// z = x + u^ (v.x) + b, u^ being u with the part along v moved so that 1 + v.u^ = exp(s) > 0, s = bound tanh(v.u / bound):
// always invertible, log_det s. Parameters "u", "v" [D].
AD_API flow_layer *flow_rank_one_linear(int64_t D, const flow_linear_options *options, ad_error *error);

typedef struct flow_kronecker_options {
    int64_t first;  // M, a divisor of D; 0: the largest up to its square root
    flow_linear_options linear;
} flow_kronecker_options;
// z = (A (x) B) x + b: with x read as X [M,N], Z = A X B^T. Parameters "A" [M,M] and "B" [N,N], of which what is said of
// flow_dense_linear's W holds. log_det = N log|det A| + M log|det B|.
AD_API flow_layer *flow_kronecker_linear(int64_t D, const flow_kronecker_options *options, ad_error *error);

// The orthonormal discrete cosine transform (DCT-II) of the features, log_det 0. D at most 2,048.
AD_API flow_layer *flow_dct(int64_t D, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
