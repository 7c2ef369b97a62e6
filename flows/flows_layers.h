// flows_layers.h -- layers: couplings, autoregressive and elementwise ones, planar flows and their relatives,
// normalisation, and layers made of layers.
//
// Constructors return a layer owned by the caller until a chain or model takes it over, or NULL with *error filled in.
#ifndef PULLBACK_FLOWS_LAYERS_H
#define PULLBACK_FLOWS_LAYERS_H

#include "flows_linear.h"
#include "flows_nets.h"
#include "flows_transformers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum flow_half { FLOW_KEEP_FIRST = 0, FLOW_KEEP_SECOND } flow_half;
typedef enum flow_conditioner { FLOW_MLP = 0, FLOW_RESIDUAL_NET } flow_conditioner;

typedef struct flow_coupling_options {
    flow_half keep;        // the part left alone, which conditions the other
    int64_t split;         // features in the first part; 0: (D + 1) / 2
    double bound;          // flow_affine_coupling's alone: of its log-scales; 0: 2; INFINITY: plain exp
    flow_mlp_options mlp;  // of the conditioner (zero_last is set: the layer starts as the identity)
    flow_net *net;         // instead: a net [kept + C] -> [changed P], laid out as the transformer's type says (by_feature), owned
                           // by the layer, also on failure
    bool inverse;          // normalize and generate swapped
    const bool *kept;      // [D], borrowed: features left alone, to condition the others; NULL: as keep, split and these say
    bool alternate;        // the first part is features 0, 2, 4, ...
    int64_t width;         // features are a picture, row by row, so wide: the first part is a checkerboard's, row plus column
                           // even
    bool shuffle;          // parts are as large, but of features at random (of seed)
    uint64_t seed;
    flow_conditioner conditioner;
    flow_residual_net_options residual;   // of the conditioner; as mlp
    flow_transformer *kept_transformer;   // maps the kept features by learned parameters; owned by the layer, also on failure
} flow_coupling_options;
// Coupling (Dinh et al. 2015, 2017; nflows): the transformer maps the features that are not kept, by parameters that a net
// gives of (kept features, context). x: [D], D >= 2, or D = 1 with a context; nothing kept needs a context. With
// kept_transformer the net sees the kept features as they are on the data side (the latent side, with inverse). Generate is the
// exact inverse. Owns the transformer, on failure too.
AD_API flow_layer *flow_coupling(int64_t D, int64_t C, flow_transformer *transformer, const flow_coupling_options *options,
                                 ad_error *error);
// Affine coupling (Dinh et al. 2017; Kingma and Dhariwal 2018): x2 = z2 exp(s) + t, z2 = (x2 - t) exp(-s), |s| < bound, where
// (s, t) come from one net of (x1, context): raw log-scale in its first half of outputs, shift in its second.
AD_API flow_layer *flow_affine_coupling(int64_t D, int64_t C, const flow_coupling_options *options, ad_error *error);

// The same with scales whose product is 1 (GIN, Sorrenson et al. 2020): flow_incompressible_transformer of bound. log_det 0.
AD_API flow_layer *flow_gin_coupling(int64_t D, int64_t C, const flow_coupling_options *options, ad_error *error);

typedef struct flow_spline_coupling_options {
    int64_t bins;              // K, 2 to 4096; 0: 8
    ad_spline_options spline;  // bound of the box, least widths, heights and slopes, as there
    bool divide;               // spline.scale is 1 / sqrt(width of the conditioner), as in nflows; not with net
    const bool *kept;          // these as flow_coupling_options
    flow_half keep;
    int64_t split;
    bool alternate;
    flow_conditioner conditioner;
    flow_mlp_options mlp;
    flow_residual_net_options residual;
    flow_net *net;
} flow_spline_coupling_options;
// Coupling of monotone rational-quadratic splines (Durkan et al. 2019): flow_coupling with flow_spline_transformer.
AD_API flow_layer *flow_spline_coupling(int64_t D, int64_t C, const flow_spline_coupling_options *options,
                                        ad_error *error);

// What layers of several couplings have in common: each coupling has a net of its own.
typedef struct flow_couplings_options {
    bool inverse;                  // normalize and generate swapped
    flow_conditioner conditioner;  // these as flow_coupling_options, of all nets, with seeds of their own
    flow_mlp_options mlp;
    flow_residual_net_options residual;
    flow_net *const *nets;  // instead: n_nets nets [kept + C] -> [changed P], owned by the layer, also on failure; the array
    int n_nets;             // is borrowed
} flow_couplings_options;

typedef struct flow_coupling_pair_options {
    int64_t split;  // features in the first part; 0: (D + 1) / 2
    flow_couplings_options couplings;
} flow_coupling_pair_options;
// Two couplings: normalize maps the first part by parameters of (second part, context), then the second part by parameters of
// (the first part as it is now, context). D >= 2, or D = 1 with a context. Owns the transformer, on failure too.
AD_API flow_layer *flow_coupling_pair(int64_t D, int64_t C, flow_transformer *transformer,
                                      const flow_coupling_pair_options *options, ad_error *error);
// The same of shifts (Gomez et al. 2017; Jacobsen et al. 2018): h1' = h1 + f1(h2), h2' = h2 + f2(h1'); log_det 0.
AD_API flow_layer *flow_revnet_pair(int64_t D, int64_t C, const flow_coupling_pair_options *options, ad_error *error);

typedef struct flow_hint_options {
    int depth;   // levels of couplings, at most 64; 0: until parts have one feature
    bool taper;  // hidden units of the nets halve from level to level, while there are 16
    flow_couplings_options couplings;  // nets: of a part's coupling, then of its first half, then of its second
} flow_hint_options;
// Recursive coupling (HINT, Kruse et al. 2021): normalize maps the second half (the larger) by parameters of (first half,
// context), then does the same within each half. A feature comes to depend on all before it. D >= 2, or D = 1 with a context;
// at most 4,096 couplings: D - 1, or fewer by depth. Owns the transformer, on failure too.
AD_API flow_layer *flow_hint(int64_t D, int64_t C, flow_transformer *transformer, const flow_hint_options *options,
                             ad_error *error);

typedef struct flow_ladder_options {
    int parts;  // K, 2 to D, at most 4,096; 0: 4, or D
    int sees;   // a part's net sees so many parts before it; 0: all
    flow_couplings_options couplings;  // nets: of the last part first
} flow_ladder_options;
// A ladder of couplings: features in K parts of about equal size, each mapped by parameters of (parts before it, context), on
// the data side; the first one, with a context, by that alone, otherwise kept. Generate takes one part after the other. D >= 2,
// or D = 1 with a context. Owns the transformer, on failure too.
AD_API flow_layer *flow_ladder(int64_t D, int64_t C, flow_transformer *transformer, const flow_ladder_options *options,
                               ad_error *error);

typedef enum flow_leapfrog_kind { FLOW_LEAPFROG = 0, FLOW_HAMILTONIAN } flow_leapfrog_kind;
typedef struct flow_leapfrog_options {
    flow_leapfrog_kind kind;
    int steps;      // T; 0: 8. At most 4,096, Hamiltonian ones half as many
    double step;    // h at the start, to 100; 0: 0, the identity; with fixed 1 / T
    bool fixed;     // h is not learned
    int64_t split;  // m, features in the first part; 0: (D + 1) / 2
    bool free;      // forces are nets, of couplings; or nets are given. Else width (0: 64) and activation of its mlp are
                    // those of K's units, seed and type those of K
    flow_couplings_options couplings;  // nets: in the order of normalize; they start at random. The type of mlp is h's, too
} flow_leapfrog_options;
// Steps of reversible dynamics (Chang et al. 2018; Lensink et al. 2022), fully connected, |det| = 1. A row is velocities v (first
// part) and positions y (second part); normalize does T times v += h f(y), y += h v, with f(y) = -K^T s(K y + U context + b),
// s the activation: their y_{t+1} = 2 y_t - y_{t-1} + h^2 f(y_t) from y_0 = y - h v and y_1 = y on. Or, Hamiltonian,
// v += h K^T s(K y + U context + b), y -= h K'^T s(K' v + U' context + b'). Free: v += h net(y, context), in a Hamiltonian one
// y += h net'(v, context) as well; with h = 1 and T = 1 that is flow_revnet_pair. All T forces are different. Parameters "h" [1],
// "K0", "K1", ... [width,max(n,m)], "b0" [width], "U0" [width,C]. Where parts differ in size each takes the first columns of
// K, and the first min(n, m) velocities move as many positions. Any D, of one feature v alone; free a context is then needed.
AD_API flow_layer *flow_leapfrog(int64_t D, int64_t C, const flow_leapfrog_options *options, ad_error *error);

// How an autoregressive layer goes the way in which a feature's parameters depend on others not known yet.
typedef enum flow_solve {
    FLOW_SOLVE_SWEEP = 0,   // level by level, each hidden unit computed once (flow_made_sweep)
    FLOW_SOLVE_PASSES,      // all features at once, again and again (Jacobi; Song et al. 2021): so many passes through the net
    FLOW_SOLVE_FIXED_POINT  // the same until nothing changes by more than tolerance (ad_fixed_point)
} flow_solve;
typedef struct flow_autoregressive_options {
    bool inverse;            // the other direction is the one-pass one (IAF)
    flow_scale scale;        // these two flow_affine_autoregressive's alone: see there
    double bound, floor;
    flow_made_options made;  // the conditioner (zero_last is set: the layer starts as the identity, where the transformer can)
    flow_net *net;           // instead: a made with C and P, owned by the layer, also on failure
    flow_solve solve;
    int passes;              // 0, or more than are needed: as many as the made has levels (D, or the features on the
                             // longest path of its adjacency), which is exact
    double tolerance;        // as ad_solver_options
} flow_autoregressive_options;
// Autoregressive layer (Papamakarios et al. 2017): z_d is x_d mapped by the transformer, by parameters that a masked net gives of
// context and the features of x that d sees. With inverse (IAF, Kingma et al. 2016) x_d is z_d mapped, by parameters given of
// z. Both directions cost about one pass through the net. Owns the transformer, on failure too.
AD_API flow_layer *flow_autoregressive(int64_t D, int64_t C, flow_transformer *transformer,
                                       const flow_autoregressive_options *options, ad_error *error);
// Affine autoregressive layer (MAF): z_d = scale_d x_d + shift_d, by flow_affine_transformer of scale, bound and floor. With
// inverse x_d = scale_d z_d + shift_d.
AD_API flow_layer *flow_affine_autoregressive(int64_t D, int64_t C, const flow_autoregressive_options *options,
                                              ad_error *error);

typedef struct flow_elementwise_options {
    bool inverse;  // normalize and generate swapped
    ad_type type;  // of the learned parameters, where there is no context
    flow_conditioner conditioner;  // these as flow_coupling_options, where there is one
    flow_mlp_options mlp;
    flow_residual_net_options residual;
    flow_net *net;  // instead: a net [C] -> [D P]
} flow_elementwise_options;
// Each feature mapped on its own by the transformer: by learned parameters ("raw"), or by those that a net gives of the context
// alone. Starts as the identity, where the transformer can. Owns the transformer, on failure too.
AD_API flow_layer *flow_elementwise(int64_t D, int64_t C, flow_transformer *transformer,
                                    const flow_elementwise_options *options, ad_error *error);

typedef struct flow_bijector_options {
    bool inverse;      // normalize is the map's inverse
    double a, b;       // the map's numbers, in order; 0: as the list below says
    bool learn;        // they are parameters, one each a feature, that start there and stay within their range
    double low, high;  // of "soft clip"; both 0: 0 and 1
    ad_type type;      // of the parameters
} flow_bijector_options;
// An increasing map applied to each feature, z = f(x), or x = f(z) with inverse; by name, with its numbers (default; range):
//   "leaky relu"     a x below 0; slope (0.1; 0.001 to 1,000)
//   "elu"            e^x - 1 below 0, onto x > -1
//   "sneaky relu"    the same slopes, bent smoothly (Finzi et al. 2019); slope (0.1; 0.001 to 0.999)
//   "bent identity"  x + (sqrt(1 + x^2) - 1) / 2
//   "exp", "softplus", "squareplus"  onto the positive numbers; squareplus (x + sqrt(x^2 + a)) / 2, square (4; 0.001 to 1,000)
//   "sigmoid", "normal cdf", "laplace cdf", "cauchy cdf", "gumbel cdf"  onto (0, 1)
//   "kumaraswamy"    1 - (1 - x^a)^b of (0, 1); a, b (1; 0.02 to 50)
//   "tanh", "softsign"  onto (-1, 1)
//   "leaky tanh"     tanh, from +-edge on straight lines (3; 0.1 to 5); "log tanh": logarithms (1; 0.1 to 5)
//   "power"          sign(x) |x|^a, within 0.001 of 0 a straight line; exponent (3; 0.1 to 10)
//   "symlog"         sign(x) log(1 + a |x|) / a; scale (1; 0.01 to 100)
//   "asinh"
//   "sinh arcsinh"   sinh(a asinh(x) + b) (Jones and Pewsey 2009); tail (1; 0.1 to 10), skew (0; -5 to 5)
//   "lambert w"      x exp(a x^2 / 2) (Goerg 2015), heavy tails; tail (0.1; 0.001 to 2). Its inverse is a root per element.
//   "soft clip"      onto (low, high), nearly the identity inside; hinge, the width of its bends (1; 0.001 to 1,000)
// Where a side has ends, a value on an end is taken as the nearest number within; beyond them log_det stands for density 0
// (-inf in normalize, inf in generate), and flow_init_from_data fails on such data, naming row and feature. So it does where a
// result has grown beyond what the type holds (e^80 in f32, e^690 in f64), and is held there. A model whose z
// has ends needs a base density, or a next layer, that lies within them. Parameters have the names above.
AD_API flow_layer *flow_bijector(int64_t D, const char *name, const flow_bijector_options *options, ad_error *error);

typedef struct flow_bijector_transformer_options {
    bool inverse;      // normalize is the map's inverse
    bool plain;        // without scale and shift
    double bound;      // of the log-scale, by bound tanh(raw / bound): 0.001 to 20; 0: 2
    double a, b;       // these as flow_bijector_options: the map's numbers where their raw parameters are 0
    double low, high;
} flow_bijector_transformer_options;
// The same maps for couplings, autoregressive and elementwise layers, by parameters: f(v scale + shift), or f(v) scale + shift
// where the map takes numbers from a range to all numbers (with neither where both its sides have ends); parameters (raw
// log-scale, shift, the map's own, raw). A map between two ranges goes into layers that map all features: autoregressive,
// elementwise, couplings whose kept_transformer does the same. Starts as the map itself. options may be NULL.
AD_API flow_transformer *flow_bijector_transformer(const char *name, const flow_bijector_transformer_options *options,
                                                   ad_error *error);

typedef struct flow_planar_options {
    bool flip;             // normalize is the closed form instead (for training by likelihood), and generate the root
    double slope;          // 0: h is tanh; above 0 and below 1: h is the leaky relu of that slope below 0
    flow_mlp_options mlp;  // with a context: of the net whose outputs [2 D + 1] are added to u, w and b (zero_last is set)
    flow_net *net;         // instead: a net [C] -> [2 D + 1], owned by the layer, also on failure
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_planar_options;
// Planar flow (Rezende and Mohamed 2015, eq. 10-13 and appendix A.1): generate is x = z + u^ h(w.z + b), their closed form;
// normalize finds its inverse, of tanh by one scalar root per row (ad_root; gradients by the implicit function theorem; the
// run fails with AD_ECONVERGE on a row that is NaN), of the leaky relu in closed form. Parameters "u", "w" [D] (w not all
// zero) and "b" [1]; u^ is u with the part along w moved so that w.u^ = softplus(w.u) - 1, where w.u below -15 counts as -15.
// Starts as the identity, with the plane w.z + b = 0 at random.
AD_API flow_layer *flow_planar(int64_t D, int64_t C, const flow_planar_options *options, ad_error *error);

typedef struct flow_radial_options {
    bool flip;             // normalize is the formula below, and generate its inverse
    double bound;          // of |log alpha| and |log k|, by bound tanh(raw / bound): 0.001 to 20; 0: 5
    flow_mlp_options mlp;  // with a context: of the net whose outputs [D + 2] are added to the parameters (zero_last is set)
    flow_net *net;         // instead: a net [C] -> [D + 2], owned by the layer, also on failure
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_radial_options;
// Radial flow (Tabak and Turner 2013; Rezende and Mohamed 2015, eq. 14): generate is x = z + beta (z - z0) / (alpha + |z - z0|),
// beta = alpha (k - 1), alpha and k positive; normalize its inverse, both in closed form. Parameters "center" [D] (z0), raw
// "log_alpha" and "log_stretch" (log k) [1]. Starts as the identity, around a point at random. Close to z0 generate multiplies
// distances by k.
AD_API flow_layer *flow_radial(int64_t D, int64_t C, const flow_radial_options *options, ad_error *error);

typedef enum flow_sylvester_kind {
    FLOW_SYLVESTER_HOUSEHOLDER = 0,  // Q the first columns of a product of reflections along the rows of "W" [K,D]
    FLOW_SYLVESTER_ORTHOGONAL,       // Q of the QR factors of "W" [D,M]
    FLOW_SYLVESTER_TRIANGULAR,       // Q = I, M = D
    FLOW_SYLVESTER_REVERSED          // Q = I with its rows in reverse: for every other layer of a stack of triangular ones
} flow_sylvester_kind;
typedef struct flow_sylvester_options {
    flow_sylvester_kind kind;
    int64_t directions;    // M, up to D; 0: D
    int64_t reflections;   // K; 0: D
    bool flip;             // normalize is the formula below, and generate the iteration
    flow_mlp_options mlp;  // with a context: of the net whose outputs [M] are added to b (zero_last is set)
    flow_net *net;         // instead: a net [C] -> [M], owned by the layer, also on failure
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_sylvester_options;
// Sylvester flow (van den Berg et al. 2018): generate is x = z + Q R tanh(R~ Q^T z + b), Q [D,M] with orthonormal columns, R and
// R~ upper triangular, parameters "R", "R_tilde" [M,M] (diagonals 0.99 tanh(raw)) and "b" [M]. normalize finds tanh(...) of M
// elements a row by Newton steps (ad_fixed_point; gradients by the implicit function theorem; the run fails with AD_ECONVERGE
// on a row that is NaN). log_det by Sylvester's identity. Starts as the identity.
AD_API flow_layer *flow_sylvester(int64_t D, int64_t C, const flow_sylvester_options *options, ad_error *error);

// z = exp(s) (x - mean) / sd + b (ActNorm, Kingma and Dhariwal 2018): mean and sd (states, in double) are those of the rows that
// flow_init_from_data sees, 0 and 1 until then; raw "log_scale" and "b" [D] start at 0 and are trained. flow_init_from_data
// fails on a feature that is constant (as all are in one row) or not finite, naming it; done once, never after flow_load.
AD_API flow_layer *flow_actnorm(int64_t D, const flow_linear_options *options, ad_error *error);

typedef struct flow_batch_norm_options {
    double momentum;  // of the running averages: share of the new batch, to 1; 0: 0.1
    double eps;       // added to variances; 0: 1e-5
    bool lagged;      // running averages while training, too (a batch then sees those before it)
    bool no_scale;    // gamma is 1; linear.no_shift: beta is 0
    flow_linear_options linear;
} flow_batch_norm_options;
// z = gamma (x - mean) / sqrt(variance + eps) + beta (batch normalisation as a layer, Dinh et al. 2017, appendix E): while
// training (ad_is_training) normalize takes mean and variance (divisor: rows) from the batch, gradients included, and moves
// the states "mean" and "variance" (in double, 0 and 1 at the start; flow_init_from_data sets them to those of its rows)
// towards them; else, and in generate always, it takes the states. log_det is sum log gamma - log(variance + eps) / 2, the
// same for all rows. gamma = exp(s) of the raw "log_scale". Only one normalize of it in a training step.
AD_API flow_layer *flow_batch_norm(int64_t D, const flow_batch_norm_options *options, ad_error *error);

// layers[0] first (data side). Owns the layers from now on, on failure too; the array is copied. A NULL among them (a
// constructor that failed) fails with *error left as that constructor filled it in.
AD_API flow_layer *flow_chain(flow_layer *const *layers, int n, ad_error *error);

typedef struct flow_all_in_one_options {
    flow_coupling_options coupling;  // as flow_affine_coupling's; actnorm's numbers are of its mlp.type
    bool hard;                       // features permuted at random, else rotated
    uint64_t seed;                   // of permutation or rotation, which are not trained
} flow_all_in_one_options;
// All-in-one block (as in FrEIA, of Ardizzone et al.): a chain of flow_affine_coupling, flow_actnorm and flow_rotation (or
// flow_random_permutation). options may be NULL.
AD_API flow_layer *flow_all_in_one(int64_t D, int64_t C, const flow_all_in_one_options *options, ad_error *error);

// layers[i] on features of their own: the first takes the first features of a row, and so on. Each takes rows [D_i], and the
// context as in a chain. Ownership and a NULL among them as flow_chain.
AD_API flow_layer *flow_split(flow_layer *const *layers, int n, ad_error *error);
// The layer with its directions swapped. Owns it, on failure too. One that wants to see data sees them at its latent side:
// flow_standardise, flow_whiten, flow_actnorm and flow_batch_norm then standardise by generate (what they fit is the inverse
// of what they would); one of one's own without init_back fails in flow_init_from_data.
AD_API flow_layer *flow_inverse(flow_layer *layer, ad_error *error);

// The layer with its latent features in the order of their derivatives, largest first (or smallest): of the mean over data of
// log |dz_d / dx|, x the row (Das, Abbeel and Spanos 2019). What follows chooses by that: a coupling the half that it keeps, a
// split with a flow_permutation for the rest those that it maps on. flow_init_from_data ranks (K sweeps for K latents; state
// "place" [K]), on the layer as it is then; until then the order is the layer's own. Owns the layer, on failure too.
AD_API flow_layer *flow_ranked(flow_layer *layer, bool smallest, ad_error *error);
// Ranks all ranked layers of the model, its chains and splits again, by their derivatives at the rows now: after training for a
// while, as theirs. What follows a ranked layer then gets its features in another order. On failure ranks may be of either.
AD_API ad_status flow_rank(flow_model *model, const flow_rows *rows, ad_error *error);

AD_API void flow_layer_free(flow_layer *layer);
// One layer on its own: as flow_normalize and flow_generate.
AD_API flow_result flow_layer_normalize(const flow_layer *layer, ad_var x, ad_var context);
AD_API flow_result flow_layer_generate(const flow_layer *layer, ad_var z, ad_var context);

#ifdef __cplusplus
}
#endif
#endif
