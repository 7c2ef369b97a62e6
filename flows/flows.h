// flows.h -- normalizing flows: invertible layers, conditioner nets, base densities and models, recorded on an ad tape.
//
//     flow_model *model = flow_realnvp(2, 0, NULL, &error);           // 2 features, no context, default options
//     flow_init_from_data(model, &rows, &error);                      // standardisation kept in the model
//     ad_var log_p = flow_log_prob(model, x, AD_NONE);                // [] per row
//     ad_backward(ad_neg(ad_mean_rows(log_p)));                       // then optim_update: see optim.h
//     ad_var fresh = flow_sample(model, rows, &random, 0, AD_NONE);   // [2] per row
//     flow_save(model, "model.safetensors", &error);
//
// Two directions, named by what they do: *normalize* takes data x to latent z, *generate* takes z to x. Layers stand in
// the order in which normalize applies them. A context is [C] per row (or shared), or AD_NONE when the model takes
// none.
#ifndef PULLBACK_FLOWS_H
#define PULLBACK_FLOWS_H

#include "ad.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_t;  // jansson.h: needed by authors of layers only

// ---- models -------------------------------------------------------------------------------------------------------

typedef struct flow_layer flow_layer;
typedef struct flow_net flow_net;
typedef struct flow_base flow_base;
typedef struct flow_model flow_model;

// What a layer gives: value, and log|det d value / d input| of the direction taken.
typedef struct flow_result {
    ad_var value, log_det;
} flow_result;

// What a layer or transformer tells of itself to flow_report.
typedef struct flow_gauges {
    ad_var saturation;  // of numbers kept within a bound: how near each is to it, 0 to 1, in any shape; AD_NONE: has none
    ad_var tails;       // 1 where an input lies outside of where the map is learned (a spline's box), else 0; AD_NONE
} flow_gauges;

// What flow_sample_and_log_prob gives.
typedef struct flow_draw {
    ad_var value, log_prob;
} flow_draw;

// A model: the density of x such that layer's normalize(x) follows base. Owns both from now on, on failure too (they
// are then freed). Fails (NULL) when their shapes do not fit, or when either is NULL: *error is then left as the
// constructor that failed filled it in.
AD_API flow_model *flow_model_new(flow_layer *layer, flow_base *base, ad_error *error);
AD_API void flow_model_free(flow_model *model);

// Features of a row of x; context features (0: none); borrowed layer and base.
AD_API ad_shape flow_model_shape(const flow_model *model);
AD_API int64_t flow_model_context(const flow_model *model);
AD_API flow_layer *flow_model_layer(const flow_model *model);
AD_API flow_base *flow_model_base(const flow_model *model);

// Log-density of each row of x under the model, shape [] per row.
// x: [D] per row; context: [C] per row, or AD_NONE. Borrows both. Differentiable in x, context and parameters.
// log_det and base density are summed in f64 and rounded once. Fails on the tape (AD_ESHAPE) when D or C are not the
// model's.
AD_API ad_var flow_log_prob(const flow_model *model, ad_var x, ad_var context);
// z and log|det dz/dx|; x and log|det dx/dz|. Shapes and failure as flow_log_prob; log_det [] per row.
AD_API flow_result flow_normalize(const flow_model *model, ad_var x, ad_var context);
AD_API flow_result flow_generate(const flow_model *model, ad_var z, ad_var context);
// Samples, [D] per row of rows. random is borrowed until the run ends: the same seed, step and stream give the same
// rows. stream is below 2^24: base densities that need several streams take the higher numbers.
AD_API ad_var flow_sample(const flow_model *model, ad_rows rows, const ad_random *random, uint32_t stream,
                          ad_var context);
// Samples at temperature T: of the base density to the power 1/T^2 (Kingma and Dhariwal 2018, section 6.1; see
// flow_temper), through the layers. Fails on the tape (AD_EARG) where flow_temper would.
AD_API ad_var flow_sample_tempered(const flow_model *model, double T, ad_rows rows, const ad_random *random,
                                   uint32_t stream, ad_var context);
// Samples and their log-density ([] per row) in one pass through the layers.
AD_API flow_draw flow_sample_and_log_prob(const flow_model *model, ad_rows rows, const ad_random *random,
                                          uint32_t stream, ad_var context);

// A tensor of a model under the name it has in files ("flow.1.net.W0"): param or state, the other is NULL.
typedef struct flow_tensor {
    const char *name;
    ad_param *param;
    ad_state *state;
} flow_tensor;
// All trainable tensors, in a fixed order; *n their number. Borrowed from the model, in its lifetime.
AD_API ad_param *const *flow_params(const flow_model *model, int *n);
// All tensors, saved states among them.
AD_API const flow_tensor *flow_tensors(const flow_model *model, int *n);
// Number of trainable elements.
AD_API int64_t flow_param_count(const flow_model *model);

// Rows to learn from or to score. x: all rows there are; context: that of each, or data NULL. index (say, a
// data_split's) picks n of them; NULL: all of x.count. weight: a number of each row, finite and not negative, that says how
// often it counts; data NULL: 1 each. A row of weight 0 is as if it were not there. x.index, context.index and weight.index
// must be NULL. Borrows everything.
typedef struct flow_rows {
    ad_source x, context;
    const int64_t *index;
    int64_t n;
    ad_source weight;
} flow_rows;

// For those who write loops of their own: the rows checked against a model, and those of weight 0 left out.
typedef struct flow_used_rows {
    flow_rows rows;  // index NULL: all rows of x
    int64_t n;       // how many they are, at least 1
    double weight;   // their mean weight
    int64_t *owned;  // rows.index where it is a new one, else NULL
} flow_used_rows;
AD_API ad_status flow_use_rows(flow_used_rows *used, const flow_model *model, const flow_rows *rows, ad_error *error);
AD_API void flow_used_rows_free(flow_used_rows *used);  // safe after failure, too

// Data-dependent initialisation: each layer that has one, in order, sees the rows as the layers before it leave them, all of
// one weight but for those of weight 0.
// Done once: layers already initialised (also by flow_load) stay as they are. Fails on a non-finite value or a constant
// feature, naming row and feature; layers before the one that fails are then initialised.
AD_API ad_status flow_init_from_data(flow_model *model, const flow_rows *rows, ad_error *error);

// Sets the step of the random numbers that layers draw by themselves (flow_dequantise), from the next run on; 0 in a new or
// loaded model. The same step gives a row the same noise, in whatever batch: in training, each step is to have its own.
AD_API void flow_set_step(flow_model *model, uint64_t step);

// Writes the model, atomically, as a safetensors file: tensors by name, the model's own description in the metadata.
AD_API ad_status flow_save(const flow_model *model, const char *path, ad_error *error);

typedef struct flow_layer_type flow_layer_type;
typedef struct flow_transformer_type flow_transformer_type;
typedef struct flow_net_type flow_net_type;
typedef struct flow_base_type flow_base_type;
typedef struct flow_load_options {  // each beside the library's own, ended by NULL; or NULL
    const flow_layer_type *const *types;
    const flow_transformer_type *const *transformers;
    const flow_net_type *const *nets;
    const flow_base_type *const *bases;
} flow_load_options;
// The model of a file, rebuilt from its own description. options may be NULL. NULL, and nothing kept, when the file
// cannot be read, is of an unknown version, names an unknown layer, lacks a tensor, or has one of another shape or
// type.
AD_API flow_model *flow_load(const char *path, const flow_load_options *options, ad_error *error);
// Texts that a model carries and files keep: names of columns, where its data came from. key: 1 to 200 bytes; both UTF-8 and
// copied. flow_note: the text (borrowed until it is set anew), or NULL.
AD_API ad_status flow_set_note(flow_model *model, const char *key, const char *text, ad_error *error);
AD_API const char *flow_note(const flow_model *model, const char *key);
// All of them, numbered from 0: text and *key; NULL beyond the last.
AD_API const char *flow_note_number(const flow_model *model, int i, const char **key);
// The model as JSON text, as stored in files. Caller frees with free(). NULL when out of memory.
AD_API char *flow_describe(const flow_model *model);

// ---- conditioner nets ---------------------------------------------------------------------------------------------

typedef enum flow_activation { FLOW_RELU = 0, FLOW_TANH, FLOW_LEAKY_RELU /* slope 0.01 below 0 */ } flow_activation;

typedef struct flow_mlp_options {
    int layers;                  // hidden layers; 0: 2; negative: none (one linear map)
    int64_t width;               // of hidden layers; 0: 64
    flow_activation activation;  // weights start as He et al. 2015 (relu), Glorot and Bengio 2010 (tanh), both uniform
    bool zero_last;              // last linear starts at zero: the net's output does, too
    uint64_t seed;               // of the initial values
    ad_type type;                // of the parameters: AD_F32 (0) or AD_F64
} flow_mlp_options;

// A multi-layer perceptron [in] -> [out]. options may be NULL. Owned by the caller until a layer takes it over.
AD_API flow_net *flow_mlp(int64_t in, int64_t out, const flow_mlp_options *options, ad_error *error);

typedef struct flow_residual_net_options {
    int blocks;                  // 0: 2; negative: none
    int64_t width;               // of the blocks; 0: 64
    flow_activation activation;
    bool zero_last;              // last linear starts at zero: the net's output does, too
    uint64_t seed;               // of the initial values
    ad_type type;                // of the parameters: AD_F32 (0) or AD_F64
} flow_residual_net_options;
// A residual net [in] -> [out] with pre-activation (He et al. 2016; as Durkan et al. 2019 use it): a linear map, blocks
// h + linear(act(linear(act(h)))), a linear map. Starts uniform in +-1/sqrt(in of each linear), the last of a block in
// +-1e-3, so that blocks start near the identity. As flow_mlp otherwise.
AD_API flow_net *flow_residual_net(int64_t in, int64_t out, const flow_residual_net_options *options, ad_error *error);
AD_API void flow_net_free(flow_net *net);
// The net's output for x [..., in] -> [..., out].
AD_API ad_var flow_net_apply(const flow_net *net, ad_var x);

typedef enum flow_order { FLOW_ORDER_NATURAL = 0, FLOW_ORDER_REVERSED, FLOW_ORDER_RANDOM /* of mlp.seed */ } flow_order;
typedef struct flow_made_options {
    flow_mlp_options mlp;   // hidden layers, as there; by default two of 64 units
    flow_order arrange;     // each feature sees all before it: in the order 0, 1, 2, ..., in the reversed or a random one
    const int64_t *order;   // instead: [D] features, each after those that it may depend on
    const bool *adjacency;  // instead: [D][D], element d D + e: feature d sees feature e, and no others; without circles; D at
                            // most 4,096
    bool residual;          // a masked residual net, as flow_residual_net, of mlp.layers blocks
} flow_made_options;
// A masked autoregressive net (MADE, Germain et al. 2015; residual as Durkan and Nash 2019): P parameters of each of D
// features, from the features that it sees and from all of the context. As a net [D + C] -> [D P]. options may be NULL; order
// and adjacency are copied. Hidden units are sorted by degree: their number of features seen, from 0 (with a context or D = 1)
// or 1 to D - 1, evenly spread; with an adjacency each sees what one of the features sees, so that a feature depends on those
// that it is said to see, and on none that these see in turn.
AD_API flow_net *flow_made(int64_t D, int64_t C, int64_t P, const flow_made_options *options, ad_error *error);
// The parameters [D,P] of all features of x [D], context [C] (AD_NONE when C is 0). Fails on the tape when shapes are others
// (AD_ESHAPE), or the net is no made (AD_EARG).
AD_API ad_var flow_made_apply(const flow_net *made, ad_var x, ad_var context);
// What features become: v [n] given their parameters [n P], those of one feature one after the other. n is 1, but with an
// adjacency, where features that do not depend on one another come together.
typedef ad_var (*flow_made_step)(void *arg, ad_var parameters, ad_var v);
typedef struct flow_sweep {
    ad_var value;       // [D]
    ad_var parameters;  // [D,P]: flow_made_apply's at value, to the bit
} flow_sweep;
// value with value_d = step(parameters of d at value, v_d), feature by feature in the order (with an adjacency level by
// level: a feature follows those that it sees): the inverse of what
// flow_made_apply's parameters do to all at once. Each hidden unit is computed once, as soon as what it sees is known, so
// that a sweep costs about one flow_made_apply; it records some 25 ops a feature and layer.
AD_API flow_sweep flow_made_sweep(const flow_net *made, ad_var v, ad_var context, flow_made_step step, void *arg);

// ---- transformers -------------------------------------------------------------------------------------------------
// A transformer maps one feature, increasingly, by P raw parameters that may be any numbers: of a net, or learned. Couplings,
// autoregressive and elementwise layers take any. Constructors return one owned by the caller until a layer takes it over
// (one layer, on its failure too), or NULL with *error filled in.

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
    double bound, floor;  // see there; 0: 2 and 1e-3. bound INFINITY: exp(r)
    bool no_shift;        // the scale alone: P = 1
} flow_affine_transformer_options;
// normalize: v scale + shift; parameters (raw scale, shift). options may be NULL.
AD_API flow_transformer *flow_affine_transformer(const flow_affine_transformer_options *options, ad_error *error);

typedef struct flow_spline_transformer_options {
    int64_t bins;              // K, 2 to 4096; 0: 8
    ad_spline_options spline;  // bound of the box, least widths, heights and slopes, as there
    double divide;             // spline.scale, where that is 0, is 1 / sqrt(divide): of the width of the net, as in nflows
} flow_spline_transformer_options;
// normalize: a monotone rational-quadratic spline (ad_rational_quadratic; Durkan et al. 2019), the identity outside [-bound,
// bound]. P = 3 K - 1. options may be NULL.
AD_API flow_transformer *flow_spline_transformer(const flow_spline_transformer_options *options, ad_error *error);

// ---- layers -------------------------------------------------------------------------------------------------------
// Constructors return a layer owned by the caller until a chain or model takes it over, or NULL with *error filled in.

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

// z[i] = x[order[i]]; order NULL: reversed. order is copied. log_det 0.
AD_API flow_layer *flow_permutation(int64_t D, const int64_t *order, ad_error *error);
// The same with a random order (Fisher and Yates, of seed alone).
AD_API flow_layer *flow_random_permutation(int64_t D, uint64_t seed, ad_error *error);

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

// What linear layers z = W x + b have in common.
typedef struct flow_linear_options {
    bool no_shift;  // z = W x, without the parameter "b" [D]
    bool random;    // starts at random, of seed; false: as the identity, or near it
    double bound;   // log-scales stay below it either way, s = bound tanh(raw / bound): 0.001 to 80; 0: 7
    uint64_t seed;
    ad_type type;  // of the parameters
} flow_linear_options;

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

// ---- constraints ----------------------------------------------------------------------------------------------------
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
// The layer with its directions swapped. Owns it, on failure too. One that wants to see data cannot, this way round:
// flow_init_from_data then fails.
AD_API flow_layer *flow_inverse(flow_layer *layer, ad_error *error);

AD_API void flow_layer_free(flow_layer *layer);
// One layer on its own: as flow_normalize and flow_generate.
AD_API flow_result flow_layer_normalize(const flow_layer *layer, ad_var x, ad_var context);
AD_API flow_result flow_layer_generate(const flow_layer *layer, ad_var z, ad_var context);

// ---- base densities -----------------------------------------------------------------------------------------------

// Independent standard normals, [D].
AD_API flow_base *flow_standard_normal(int64_t D, ad_error *error);

// Location and scale of bases of independent features. Without a context they are learned, one pair a feature (parameter
// "values" [2,D]: location, raw log-scale), and start at 0 and 1; with a context [C] they are what a net says of it.
typedef struct flow_scaled_options {
    bool fixed;            // location 0 and scale 1, nothing learned; C is 0
    bool classes;          // the context is a class, one-hot: a location and a scale of each, "values" [2 D,C]
    double bound;          // the log-scale is bound tanh(raw / bound); 0: 10; at most 50
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

// base to the power 1/T^2, normalised: a normal with its noise times T, Laplace with T^2, uniform as it is. Owns base, on
// failure too; of NULL, NULL with *error left alone. Fails (AD_EARG) on bases whose power is no scaled copy of themselves.
AD_API flow_base *flow_temper(flow_base *base, double T, ad_error *error);

AD_API void flow_base_free(flow_base *base);
// One base on its own: the log-density of each row of z [D], shape [] per row, summed in f64; samples as flow_sample's.
// Both fail on the tape (AD_ESHAPE) when D or C are not the base's.
AD_API ad_var flow_base_log_prob(const flow_base *base, ad_var z, ad_var context);
AD_API ad_var flow_base_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream,
                               ad_var context);

// ---- presets ------------------------------------------------------------------------------------------------------

// All start as the identity, or near it. options may be NULL; seed and type of their mlp are those of the whole model. A
// standardising layer stands in front, whose numbers flow_init_from_data fits, unless raw.

// What stands between layers.
typedef enum flow_mix {
    FLOW_MIX_USUAL = 0,  // as the preset says
    FLOW_MIX_HALVES,     // nothing: couplings keep the first and the second half in turn
    FLOW_MIX_REVERSE,    // features reversed
    FLOW_MIX_RANDOM,     // features permuted at random
    FLOW_MIX_LU          // and in front of the first: features permuted at random and an LU linear
} flow_mix;

typedef struct flow_nice_options {
    int layers;    // couplings; 0: 4
    flow_mix mix;  // usual: halves
    bool raw;
    flow_mlp_options mlp;  // of the conditioners
} flow_nice_options;
// NICE (Dinh, Krueger and Bengio 2015): additive couplings, a learned scale of each feature, standard normal base.
AD_API flow_model *flow_nice(int64_t D, int64_t C, const flow_nice_options *options, ad_error *error);

typedef struct flow_realnvp_options {
    int layers;    // couplings; 0: 8
    double bound;  // of the log-scales, as flow_coupling_options
    flow_mix mix;  // usual: halves
    bool raw;
    flow_mlp_options mlp;  // of the conditioners
} flow_realnvp_options;
// RealNVP for vectors (Dinh et al. 2017): affine couplings, standard normal base.
AD_API flow_model *flow_realnvp(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error);

typedef struct flow_maf_options {
    int layers;    // autoregressive ones; 0: 5
    flow_mix mix;  // usual: reverse
    bool raw;
    flow_autoregressive_options layer;  // of each; net must be NULL
} flow_maf_options;
// Masked autoregressive flow (Papamakarios et al. 2017), or inverse: affine autoregressive layers, standard normal base.
AD_API flow_model *flow_maf(int64_t D, int64_t C, const flow_maf_options *options, ad_error *error);
// Inverse autoregressive flow (Kingma et al. 2016): flow_maf with layer.inverse.
AD_API flow_model *flow_iaf(int64_t D, int64_t C, const flow_maf_options *options, ad_error *error);

typedef struct flow_nsf_options {
    int layers;           // 0: 5
    int64_t bins;         // as flow_spline_transformer_options: 0: 8
    double bound;         // of the box; 0: 3
    flow_mix mix;         // usual: LU
    bool raw;
    bool autoregressive;  // layers are autoregressive, else couplings that keep even and odd features in turn
    bool inverse;         // the layers' directions swapped: an autoregressive one then samples in one pass
    bool map_kept;        // couplings map the features kept as well, by learned splines
    bool plain;           // conditioners are plain nets, else residual ones
    flow_mlp_options mlp; // of the conditioners: layers (of residual nets: blocks), width, activation
} flow_nsf_options;
// Neural spline flow (Durkan et al. 2019): rational-quadratic splines, raw widths and heights over the root of the conditioner's
// width; standard normal base.
AD_API flow_model *flow_nsf(int64_t D, int64_t C, const flow_nsf_options *options, ad_error *error);

// A model from one line, "NAME" or "NAME:KEY=VALUE,KEY=VALUE,...", as "nsf-ar:layers=5,hidden=256x2,bins=8,base=student":
// names nice, realnvp, maf, iaf, nsf-coupling, nsf-ar, planar, radial, sylvester; keys and values as flow_text_help lists
// them, defaults those of the presets above. D features, C of context (0: none). NULL with a message (AD_EARG) that names
// what is expected, when the name, a key or a value is not known or does not fit. The model keeps the line, and so do its
// files: flow_describe shows it.
AD_API flow_model *flow_from_text(const char *text, int64_t D, int64_t C, ad_error *error);
// The line a model was made from, borrowed; NULL: none.
AD_API const char *flow_model_text(const flow_model *model);
// All names, keys and values of such lines, as text. Caller frees with free(). NULL when out of memory.
AD_API char *flow_text_help(void);

// ---- checking -----------------------------------------------------------------------------------------------------

typedef struct flow_check_options {
    int rows;          // points in a batch; 0: 7
    int cases;         // random parameter values, contexts and points; 0: 3
    double spread;     // standard deviation of the points; 0: 1
    double perturb;    // of the noise added to parameters for each case, so that no layer is checked only where it
                       // starts, as the identity; 0: 0.3; negative: none. The layer is as before afterwards.
    double tolerance;  // relative, times the condition number where an inverse is involved; 0: 1e-9
    uint64_t seed;
    bool brief;                     // only what is looked at in every case
    const char *path;               // flow_check_model's alone: a file to write, read back and remove; NULL: none
    const flow_load_options *load;  // types of one's own that it has inside; its own, and a chain's layers', need no mention
} flow_check_options;

// Tests a layer in f64: finite values; round trip both ways; the structure that its jacobian declares, and log_det of
// both directions, against the autodiff Jacobian; gradients in x, context and each parameter against differences; rows
// computed alone equal to rows in a batch, bit for bit; context really used; a second run with the same bits, and no state
// changed. Then, unless brief, once: the same bits on two threads, and from a layer made again from its description; f32
// against f64, as far as the measured conditioning allows; no NaN from inputs that are tiny, huge or on the edge of where
// they may lie, nor in gradients there. (A discrete layer at whole numbers, its generate only as far as it undoes
// normalize.) AD_OK, or a message that says in words what is wrong, where, and both values.
AD_API ad_status flow_check(flow_layer *layer, const flow_check_options *options, ad_error *error);
// The model's layer as above; its base density: samples that are finite, within its bounds and of its support, the same
// again and alone, context used, made again from its description; then log_prob against the base density of z plus log_det,
// and flow_sample_and_log_prob against flow_log_prob of the same samples; with a path, the same bits from a file.
AD_API ad_status flow_check_model(flow_model *model, const flow_check_options *options, ad_error *error);

// How a layer, or a whole model, fares on some rows. NAN: does not apply.
typedef struct flow_fare {
    const char *name;            // of the layer's type
    double log_det, log_det_sd;  // of normalize: mean over rows, and standard deviation
    double share;                // of the mean in the sum of all layers' means, all taken as sizes
    double saturation;           // share of numbers kept within a bound that are beyond 0.95 of it
    double tails;                // share of inputs outside of where the map is learned
    double condition;            // of the Jacobian, the largest of some rows, in the infinity norm
    double round_trip;           // the largest |generate(normalize(x)) - x| / (1 + |x|); infinite when generate fails
} flow_fare;
typedef struct flow_health {
    int64_t rows;
    int n;
    flow_fare *layers;  // [n], in the order of normalize; of a model that is no chain, the one
    flow_fare whole;    // from data to latents
    double log_prob, log_prob_sd;
} flow_health;

typedef struct flow_report_options {
    int64_t rows;       // at most so many of those given; 0: 1000
    int jacobian_rows;  // of which the Jacobian is looked at, up to 64 features; 0: 8; negative: none
} flow_report_options;
// What each layer does with the rows: its part in log_det, what is at its bounds or in tails, its conditioning and round
// trip. Computed in the type of the parameters, as training does; Jacobians in f64. options may be NULL. NULL with a message
// when it cannot be computed. Free with flow_health_free.
AD_API flow_health *flow_report(const flow_model *model, const flow_rows *rows, const flow_report_options *options,
                                ad_error *error);
AD_API void flow_health_free(flow_health *health);
// The same as a table. Caller frees with free(). NULL when out of memory.
AD_API char *flow_health_text(const flow_health *health);

typedef struct flow_integral_options {
    const double *low, *high;  // [D] the box; NULL: a wide one around samples of the model
    const double *context;     // [C]; NULL: zeros
    int points;                // of the grid along each feature; 0: 20001 of one feature, 801 of two
    double tolerance;          // 0: 1e-3
    uint64_t seed;             // of the samples
} flow_integral_options;
// Whether the model's density, of one or two features, integrates to one: by trapezoids (midpoints in a box that data cannot
// leave), in f64. *integral (may be NULL): what it came to. AD_OK, or AD_EARG with a message that says whether the grid, the
// box or the density is at fault. options may be NULL.
AD_API ad_status flow_check_integral(const flow_model *model, const flow_integral_options *options, double *integral,
                                     ad_error *error);

// Says where a log-density that is not finite comes from: a tensor, a row of the data, or the first layer that makes
// it, by name and row. AD_ENONFINITE with a message, or AD_OK ("every value is finite" in the message). error must not
// be NULL.
AD_API ad_status flow_find_nonfinite(const flow_model *model, const flow_rows *rows, ad_error *error);

// ---- for authors of layers ----------------------------------------------------------------------------------------
// A layer is a struct that begins with flow_layer, made by flow_layer_new, and one flow_layer_type. Its tensors and
// parts are added to its owner, which frees, lists, saves and loads them: a type has nothing to write for that.

typedef struct flow_owner flow_owner;
typedef struct flow_part {
    char *name;
    flow_owner *owner;
} flow_part;
// What owns tensors: the head of every layer, net and base. Fields may be read.
struct flow_owner {
    int n_params, n_states, n_parts;
    ad_param **params;
    ad_state **states;
    flow_part *parts;
    void (*release)(flow_owner *self);  // frees what the object owns beyond tensors and parts; NULL: nothing
    ad_random *random;                  // of the random numbers that it draws by itself: see flow_set_step; NULL: none
};
// Add a tensor (zero) or a part under a name unique in this owner; freed with it (the part on failure, too).
AD_API ad_param *flow_add_param(flow_owner *owner, const char *name, ad_type type, ad_shape shape, ad_error *error);
AD_API ad_state *flow_add_state(flow_owner *owner, const char *name, ad_type type, ad_shape shape, ad_error *error);
AD_API ad_status flow_add_part(flow_owner *owner, const char *name, flow_owner *part, ad_error *error);

// How an object is made again from its description.
typedef struct flow_making {
    const flow_layer_type *const *types;  // beside the library's own; NULL: none
    const flow_net_type *const *nets;     // the same
    const flow_base_type *const *bases;
    int64_t *elements;                    // what tensors may still take; NULL: no limit
    const flow_transformer_type *const *transformers;  // as types
} flow_making;
// Takes n elements for tensors about to be made, so that a bad file cannot ask for more memory than it is worth: false,
// with a message, when fewer are left.
AD_API bool flow_take_elements(const flow_making *making, int64_t n, ad_error *error);

// What is so of the Jacobian J [D,D] of a layer, row by row; of both directions, unless it says otherwise.
typedef enum flow_structure {
    FLOW_UNDECLARED = 0,
    FLOW_ELEMENTWISE,        // J is diagonal
    FLOW_COUPLING,           // features kept as they are; of the others each depends on itself and on those
    FLOW_AUTOREGRESSIVE,     // a feature depends on itself and on those before it in an order
    FLOW_VOLUME_PRESERVING,  // |det J| = 1
    FLOW_ORTHOGONAL,         // J^T J = I: rotations, reflections, permutations, also with a shift
    FLOW_LOW_RANK,           // J - I has a rank of r at most
    FLOW_CONTRACTIVE,        // J - I has a largest singular value below 1; of the direction that is given
    FLOW_DENSE               // J is invertible
} flow_structure;
typedef struct flow_jacobian {
    flow_structure structure;
    const int64_t *order;  // [D] features, in the layer's lifetime: autoregressive; coupling, those kept first. NULL: 0, 1, ...
    int64_t kept, rank;    // of a coupling; of low rank
} flow_jacobian;

typedef struct flow_derivation flow_derivation;

struct flow_layer_type {
    const char *name;  // in files, errors and scopes
    // Both directions, recorded as ops: shapes are checked and the scope is set by the caller. log_det may be left in
    // parts of any shape (say, one log-slope a feature): callers sum them all, in f64, once. AD_NONE: zero.
    flow_result (*normalize)(const flow_layer *layer, ad_var x, ad_var context);
    flow_result (*generate)(const flow_layer *layer, ad_var z, ad_var context);
    // Options as a new JSON object, without tensors; NULL when out of memory. And a layer made from them.
    struct json_t *(*describe)(const flow_layer *layer);
    flow_layer *(*make)(const struct json_t *options, const flow_making *making, ad_error *error);
    // Sets the layer from rows as they reach it. NULL: nothing to do.
    ad_status (*init)(flow_layer *layer, const flow_rows *rows, ad_error *error);
    // A configuration for the law tests: number i of as many as one likes.
    flow_layer *(*example)(int i, ad_error *error);
    // Of layers whose data lie on a surface or in a region (shares, ascending numbers): free coordinates of x, as many as
    // there are latent features, and x from these. log_det of both directions is in them. NULL: all of x is free.
    ad_var (*coordinates)(const flow_layer *layer, ad_var x);
    ad_var (*complete)(const flow_layer *layer, ad_var coordinates);
    const flow_derivation *derived;  // what the first four are derived from; they are then NULL. NULL: written by hand
    flow_structure structure;        // of the Jacobian of all its layers; 0: their own jacobian says it, or nothing does
    // What it tells flow_report where normalize takes x to z. NULL: nothing.
    flow_gauges (*gauge)(const flow_layer *layer, ad_var x, ad_var z, ad_var context);
};

struct flow_layer {
    flow_owner owner;
    const flow_layer_type *type;
    ad_shape x_shape, z_shape;  // of a row on the data side and on the latent side
    int64_t C;                  // context features; 0: takes none
    bool initialised;           // nothing left to do for flow_init_from_data
    double low, high;           // between which elements of the data side lie (infinite: no end); equal: anywhere
    double z_low, z_high;       // the same of the latent side
    bool discrete;              // normalize adds noise to whole numbers, which generate takes off: first of a chain only
    flow_jacobian jacobian;     // what flow_check is to see held; zero: nothing is said
};
// A zeroed layer of size bytes (sizeof the struct that begins with flow_layer) for rows of shape [D], or NULL.
AD_API void *flow_layer_new(const flow_layer_type *type, size_t size, int64_t D, int64_t C, ad_error *error);

// ---- layers derived from a map ------------------------------------------------------------------------------------
// Write the map in one direction and say what is so of its Jacobian: log_det, the other direction and gradients through
// both come by themselves. A whole elementwise layer (sinh-arcsinh, Jones and Pewsey 2009), with two numbers a feature to
// learn:
//
//     static ad_var bend(const flow_call *c, ad_var x) {
//         return ad_sinh(ad_mul(ad_add(ad_asinh(x), flow_use(c, "skew")), ad_exp(flow_use(c, "tail"))));
//     }
//     static const flow_derivation bend_map = {
//         FLOW_ELEMENTWISE, .normalize = bend, .tensors = {{.name = "skew"}, {.name = "tail"}}};
//     static const flow_layer_type bend_type = {"sinh-arcsinh", .derived = &bend_map};
//
// flow_derive(&bend_type, D, C, NULL, &error) is such a layer; flow_load takes bend_type among its types; flow_check says
// whether the structure is really held.

// Where a map is recorded.
typedef struct flow_call {
    const flow_layer *layer;
    ad_tape *tape;
    ad_var context;     // [C] per row or shared, or AD_NONE
    ad_var kept;        // coupling: the features kept [k], or AD_NONE when there are none
    ad_var parameters;  // [n,P]: what the conditioner says of each feature of v; AD_NONE without one
} flow_call;
// A map, recorded as ops, of v [n] per row: of all features (n = D), or of a coupling's that are not kept, in order. It
// must not mix rows.
typedef ad_var (*flow_map)(const flow_call *call, ad_var v);

// For use in maps: the layer's tensor of that name; column p of the conditioner's parameters, [n]; the output of its part
// of that name, a net, for in; an option. A name that is not there fails on the tape; of an option it gives NaN.
AD_API ad_var flow_use(const flow_call *call, const char *name);
AD_API ad_var flow_use_parameter(const flow_call *call, int64_t p);
AD_API ad_var flow_use_net(const flow_call *call, const char *name, ad_var in);
AD_API double flow_number_of(const flow_layer *layer, const char *name);

enum { FLOW_DIM_FEATURES = -1, FLOW_DIM_CHANGED = -2, FLOW_DIM_CONTEXT = -3, FLOW_DIM_RANK = -4 };
typedef struct flow_tensor_form {
    const char *name;      // NULL: none
    int64_t dim[3];        // sizes, or D, D less what is kept, C, the rank; 0 ends. None: [D]
    double start, spread;  // starts uniform in start +- spread
    bool state;            // saved, not trained
} flow_tensor_form;

typedef struct flow_number {
    const char *name;
    double value;
} flow_number;

typedef struct flow_derive_options {
    const int64_t *order;        // [D], copied: autoregressive, features each after those it depends on; coupling, those
                                 // kept first; NULL: 0, 1, 2, ...
    flow_half keep;              // coupling, without order: the part kept
    int64_t split;               // coupling: features in the first part (with order: kept); 0: (D + 1) / 2. Of one none is
    int64_t rank;                // of low rank, at most 16; 0: the derivation's
    const flow_number *numbers;  // options other than their defaults, ended by a NULL name
    flow_mlp_options mlp;        // of the conditioner; zero_last is set, seed and type are those below
    ad_type type;                // of the tensors
    uint64_t seed;
} flow_derive_options;

enum { FLOW_TENSOR_FORMS = 8, FLOW_NUMBERS = 8 };
struct flow_derivation {
    flow_structure structure;  // of the map
    // The map, x -> z or z -> x. When both are there neither is solved for; structure and log_det are then normalize's.
    // Low rank: what is added to v, from bottleneck's c: v + map(c). Contractive: what is added to v: v + map(v).
    flow_map normalize, generate;
    flow_map bottleneck;  // low rank: c [r], from v
    // log|det| of the map at v, in parts of any shape per row: for speed, or where the one derived is inexact. NULL: derived
    flow_map log_det;
    // P parameters a feature from a net: call->parameters. Elementwise: from the context, or learned where there is none;
    // coupling: from context and the features kept; autoregressive: from context and the features before, by a flow_made.
    // The map is then elementwise but for them, which makes log_det one sweep. They start at zero.
    int conditioner;
    flow_tensor_form tensors[FLOW_TENSOR_FORMS];
    flow_number numbers[FLOW_NUMBERS];  // options and their defaults, for flow_number_of; saved
    // Adds what else the layer owns (flow_add_part, ...), from sizes and options alone, and checks options. NULL: nothing
    ad_status (*build)(flow_layer *layer, const flow_derive_options *options, ad_error *error);
    double low, high;    // between which elements of the map's v lie: searches start there; equal: anywhere
    double tolerance;    // of what is solved for, as ad_solver_options, or for Newton's last step; 0: near rounding
    int max_iterations;  // a feature, or of the row; 0: 100, of a contraction 5,000
    int64_t rank;        // 0: 1
};

// A layer of a type with a derivation, D features and C of context. options may be NULL. How each structure is worked out:
//   elementwise, coupling: one vjp; ad_root, in its bracket, on all features at once (increasing or decreasing).
//   autoregressive: D vjps (with a conditioner one); a scalar root a feature, one after the other: at least D passes.
//   volume-preserving: log_det 0; Newton's iteration with line search, D at most 16, unless both directions are given.
//   orthogonal: log_det 0; J^T (z - map(0)), one vjp.
//   low rank: log|det| of I_r + db/dv dA/dc [r,r], r sweeps; solved for c in r dimensions.
//   contractive: log|det J|, D at most 16, unless log_det is given; fixed point.
//   dense: log|det J|, D vjps, D at most 16, unless log_det is given; Newton's iteration, unless both directions are.
// What is solved for has its gradients by the implicit function theorem, to any order; a row without a solution fails the
// run (AD_ECONVERGE), naming row, iterations and residual. It takes one to three loops, each of its gradients one more (a
// program has room for 64). A log_det is only as good as derivatives in the tape's type: of a map that is flat to rounding
// it is minus infinity. Fails (NULL, AD_EARG) on a derivation that contradicts itself, a bad order, split, rank or option,
// and where D is too large.
AD_API flow_layer *flow_derive(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *options,
                               ad_error *error);
// The direction that is not the map's, for v [D], without failing the run: value, done ([] per row, 1 where solved),
// iterations, and as residual the largest |map(value) - v|: all to be kept. A given or explicit one takes 0 iterations.
AD_API ad_solution flow_derived_solve(const flow_layer *layer, ad_var v, ad_var context);

// Transformers, nets and bases are the same idea. A transformer v + a v^3 / 3, a = exp(raw), in a few lines:
//
//     static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
//         ad_var a = ad_exp(flow_parameter(p, 0)), square = ad_square(v);
//         ad_var value = ad_add(v, ad_scale(ad_mul(a, ad_mul(square, v)), 1 / 3.0));
//         return (flow_result){value, ad_log(ad_offset(ad_mul(a, square), 1))};
//     }
//
// generate finds v by ad_root; make is flow_transformer_new(&type, sizeof(flow_transformer), 1, error).
struct flow_transformer_type {
    const char *name;
    // Both directions of n features v [n], recorded as ops; log_det: log-slopes, of any shape, or AD_NONE for zero. v and
    // parameters are shared or per row.
    flow_result (*normalize)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
    flow_result (*generate)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
    struct json_t *(*describe)(const flow_transformer *transformer);
    flow_transformer *(*make)(const struct json_t *options, const flow_making *making, ad_error *error);
    flow_transformer *(*example)(int i, ad_error *error);
    // Raw parameters [P] of the identity, or of what comes near it: raw is 0 at the call. NULL: zeros.
    void (*identity)(const flow_transformer *transformer, double *raw);
    bool by_feature;  // how parameters lie where a net may choose; see flow_parameters
    // As a layer's, at v on the side that normalize takes. NULL: nothing.
    flow_gauges (*gauge)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
};
struct flow_transformer {
    flow_owner owner;
    const flow_transformer_type *type;
    int64_t P;             // raw parameters a feature
    double low, high;      // between which features lie before normalize (infinite: no end); equal: anywhere
    double z_low, z_high;  // the same after it
};
// A zeroed transformer of size bytes (sizeof the struct that begins with flow_transformer), or NULL.
AD_API void *flow_transformer_new(const flow_transformer_type *type, size_t size, int64_t P, ad_error *error);

struct flow_net_type {
    const char *name;
    ad_var (*apply)(const flow_net *net, ad_var x);
    struct json_t *(*describe)(const flow_net *net);
    flow_net *(*make)(const struct json_t *options, const flow_making *making, ad_error *error);
};
struct flow_net {
    flow_owner owner;
    const flow_net_type *type;
    int64_t in, out;
};

struct flow_base_type {
    const char *name;
    // Parts of the log-density, of any shape: callers sum them.
    ad_var (*log_prob)(const flow_base *base, ad_var z, ad_var context);
    ad_var (*sample)(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context);
    struct json_t *(*describe)(const flow_base *base);
    flow_base *(*make)(const struct json_t *options, const flow_making *making, ad_error *error);
    // A configuration for the law tests: number i of as many as one likes.
    flow_base *(*example)(int i, ad_error *error);
    // Where the density is the same to both sides, [D] shared or per row; and the p with which scaling about it by T^p is
    // the density to the power 1/T^2 (1 of normals). NULL: there is none, flow_temper fails.
    ad_var (*center)(const flow_base *base, ad_tape *tape, ad_var context);
    double noise_power;
};
struct flow_base {
    flow_owner owner;
    const flow_base_type *type;
    ad_shape shape;
    int64_t C;
    double low, high;  // between which elements lie; equal: anywhere
};
// A zeroed base of size bytes (sizeof the struct that begins with flow_base) for rows of shape [D], or NULL.
AD_API void *flow_base_new(const flow_base_type *type, size_t size, int64_t D, int64_t C, ad_error *error);

// The library's types, ended by NULL.
AD_API const flow_layer_type *const *flow_layer_types(void);
AD_API const flow_transformer_type *const *flow_transformer_types(void);
AD_API const flow_net_type *const *flow_net_types(void);
AD_API const flow_base_type *const *flow_base_types(void);

#ifdef __cplusplus
}
#endif
#endif
