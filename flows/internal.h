// internal.h -- what the files of flows/ share: recording with checks, descriptions as JSON, initial values.
#ifndef FLOWS_INTERNAL_H
#define FLOWS_INTERNAL_H

#include <jansson.h>
#include <math.h>

#include "flows.h"

// ---- recording (record.c) -----------------------------------------------------------------------------------------

typedef enum flow_direction { FLOW_NORMALIZE, FLOW_GENERATE } flow_direction;

// Log-density terms of several sources, joined along one axis: [k], or AD_NONE while there are none.
typedef struct flow_terms {
    ad_var part[16];
    int n;
} flow_terms;
// Adds a term of any shape (AD_NONE: nothing).
void flow_terms_add(flow_terms *terms, ad_var term);
// All terms as one var [k]; AD_NONE when there are none.
ad_var flow_terms_join(flow_terms *terms);
// Their sum, accumulated in f64 and rounded once, [] per row when like has rows.
ad_var flow_terms_sum(flow_terms *terms, ad_var like);

// One layer in one direction under its scope, shapes checked; log_det is left in parts. index < 0: not one of several.
flow_result flow_record(const flow_layer *layer, flow_direction direction, int index, ad_var v, ad_var context);
// The same with log_det summed.
flow_result flow_record_whole(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context);
// Fails on v's tape unless v has that shape, and context C features (AD_NONE when C is 0). who names the caller.
bool flow_check_call(const char *who, ad_var v, ad_shape shape, ad_var context, int64_t C);
// The part about the context.
bool flow_check_context(const char *who, ad_tape *tape, ad_var context, int64_t C);
// A handle of v's tape that stands for nothing.
ad_var flow_inert(ad_var v);

// ---- descriptions (describe.c) ------------------------------------------------------------------------------------

// {"type": name, options...}; NULL when out of memory.
json_t *flow_describe_layer(const flow_layer *layer);
json_t *flow_describe_transformer(const flow_transformer *transformer);
json_t *flow_describe_net(const flow_net *net);
json_t *flow_describe_base(const flow_base *base);
// The object of a description, or NULL (unknown type, bad options).
flow_layer *flow_make_layer(const json_t *description, const flow_making *making, ad_error *error);
flow_transformer *flow_make_transformer(const json_t *description, const flow_making *making, ad_error *error);
flow_net *flow_make_net(const json_t *description, const flow_making *making, ad_error *error);
flow_base *flow_make_base(const json_t *description, const flow_making *making, ad_error *error);
// A member of a description: false, and a message naming it, when it is absent, of another type or out of range.
bool flow_json_int(const json_t *object, const char *key, int64_t low, int64_t high, int64_t *value, ad_error *error);
bool flow_json_number(const json_t *object, const char *key, double *value, ad_error *error);
// One of n texts: its number.
bool flow_json_choice(const json_t *object, const char *key, const char *const *texts, int n, int *value,
                      ad_error *error);
bool flow_json_bool(const json_t *object, const char *key, bool *value, ad_error *error);
// The object with one more member; takes both over. NULL when either is NULL or memory runs out.
json_t *flow_json_with(json_t *object, const char *key, json_t *value);
json_t *flow_json_list(const int64_t *values, int64_t n);
const char *flow_type_text(ad_type type);  // "f32" or "f64"
bool flow_json_type(const json_t *object, ad_type *type, ad_error *error);

// Largest feature count a description may ask for: a model file cannot make us allocate without bound.
#define FLOW_MAX_FEATURES ((int64_t)1 << 24)

// ---- initial values -----------------------------------------------------------------------------------------------

// splitmix64 (Steele, Lea and Flood 2014): integer arithmetic alone, so models start equal on every machine.
static inline uint64_t flow_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
// In [-1, 1).
static inline double flow_random_unit(uint64_t *state) {
    return (double)(int64_t)flow_random(state) * 0x1p-63;
}
// Uniform in [-bound, bound).
void flow_fill_uniform(ad_param *param, double bound, uint64_t *random);
// The seed of part number i of an object with that seed.
static inline uint64_t flow_subseed(uint64_t seed, uint64_t i) {
    uint64_t state = seed ^ (i + 1) * 0xd1342543de82ef95u;
    return flow_random(&state);
}

// ---- what nets share (linear_net.c) -------------------------------------------------------------------------------

enum { FLOW_ACTIVATIONS = 3 };
extern const char *const flow_activation_names[FLOW_ACTIVATIONS];
ad_var flow_activate(flow_activation activation, ad_var h);

// Linear map number i, in this order, of a net: adds its tensors W<i> [out,in] and b<i> [out]; applies it.
bool flow_add_linear(flow_net *net, int i, int64_t in, int64_t out, ad_type type, ad_error *error);
ad_var flow_linear(const flow_net *net, int i, ad_var x);

// A net of linear maps of one width.
typedef struct flow_linear_net {
    flow_net net;
    int depth;  // in hidden layers, or blocks
    int64_t width;
    flow_activation activation;
    ad_type type;
} flow_linear_net;
// What its depth is called in descriptions and in messages, and the largest.
typedef struct flow_depth {
    const char *key, *text;
    int most;
} flow_depth;
// A net of these sizes (in, out and those below; 0: the default, depth negative: 0), checked, without tensors.
flow_linear_net *flow_linear_net_new(const flow_net_type *type, const flow_depth *depth, const flow_linear_net *sizes,
                                     ad_error *error);
json_t *flow_linear_net_describe(const flow_linear_net *m, const flow_depth *depth);
// The sizes of a description; depth 0 is none.
bool flow_linear_net_read(const json_t *options, const flow_depth *depth, flow_linear_net *m, ad_error *error);

// ---- transformers and the nets that give their parameters (transformer.c, conditioner.c) ------------------------------

flow_result flow_transform(const flow_transformer *t, flow_direction direction, flow_parameters p, ad_var v);
flow_gauges flow_gauge(const flow_transformer *t, flow_parameters p, ad_var v);
ad_var flow_seen(const flow_transformer *t, ad_var v);
// The raw parameters [P] of (nearly) the identity.
void flow_identity(const flow_transformer *t, double *raw);
// Puts them into the first n P elements of param, by feature or by parameter.
bool flow_start_as_identity(const flow_transformer *t, ad_param *param, int64_t n, bool by_feature, ad_error *error);
// Narrows where a layer's features lie to where t takes them; false, with a message, when nothing is left. Tells t whether the
// layer takes it the other way round.
bool flow_narrow_layer(flow_layer *layer, flow_transformer *t, bool inverse, ad_error *error);
// Whether features that kept (NULL: none) maps lie where those do that t maps, before and after.
bool flow_same_ranges(const flow_transformer *t, const flow_transformer *kept);
// Adds learned parameters of n features, laid out as t's type has them, that start as the identity; and records them.
ad_param *flow_add_raw(flow_owner *owner, const char *name, ad_type type, int64_t n, const flow_transformer *t,
                       ad_error *error);
flow_parameters flow_use_raw(ad_tape *tape, ad_param *raw, int64_t n, const flow_transformer *t);
typedef struct flow_conditioner_options {
    flow_conditioner kind;
    flow_mlp_options mlp;
    flow_residual_net_options residual;
    flow_net *net;
} flow_conditioner_options;
// A net [in] -> [n P] that makes t start as the identity; or the net given, checked, and freed when it does not fit. who is
// the layer, for messages.
flow_net *flow_conditioner_net(const char *who, int64_t in, int64_t n, const flow_transformer *t,
                               const flow_conditioner_options *o, ad_error *error);
// The same, a made.
flow_net *flow_conditioner_made(const char *who, int64_t D, int64_t C, const flow_transformer *t,
                                const flow_made_options *options, flow_net *net, ad_error *error);
// The names that flow_usual_transformer takes, shortened, numbered from 0; false when there is none of that number.
bool flow_transformer_text(int number, char *text, size_t size);
char *flow_transformer_texts(char *buffer, size_t size);  // all, with commas; returns buffer
// Example number i of one type or another.
flow_transformer *flow_example_transformer(int i, ad_error *error);

// ---- layers of several couplings in turn (steps.c) -------------------------------------------------------------------

// n_changed features from number changed on, mapped by parameters that the net gives of n_kept others (0: of the context).
typedef struct flow_step {
    int64_t kept, n_kept, changed, n_changed;
    flow_net *net;  // a part
    int level;      // its hidden units are halved so many times
} flow_step;
enum { FLOW_MOST_STEPS = 1 << 12 };
typedef struct flow_steps {
    flow_layer layer;
    flow_transformer *transformer;  // a part
    flow_step *step;                // [n], in the order in which normalize takes them
    int n;
    bool inverse;
} flow_steps;
// A layer of size bytes (the struct that begins with flow_steps) without its steps yet, or NULL: transformer and nets of o are
// then freed, as in what follows. It takes over the transformer.
flow_steps *flow_steps_new(const flow_layer_type *type, size_t size, int64_t D, int64_t C,
                           flow_transformer *transformer, const flow_couplings_options *o, ad_error *error);
// Gives it its steps, of malloc (NULL: out of memory), and their nets; or frees it and gives NULL.
flow_layer *flow_steps_finish(flow_steps *s, flow_step *step, int n, const flow_couplings_options *o, ad_error *error);
// Frees it; NULL.
flow_layer *flow_steps_abandon(flow_steps *s, const flow_couplings_options *o);
flow_result flow_steps_normalize(const flow_layer *layer, ad_var x, ad_var context);
flow_result flow_steps_generate(const flow_layer *layer, ad_var z, ad_var context);
flow_gauges flow_steps_gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context);
json_t *flow_steps_describe(const flow_layer *layer);
// What flow_steps_describe says; nets, which couplings name, are the caller's to free (the array alone) after making the layer.
typedef struct flow_steps_described {
    int64_t D, C;
    flow_transformer *transformer;
    flow_net **nets;
    flow_couplings_options couplings;
} flow_steps_described;
bool flow_steps_read(const json_t *options, const flow_making *making, flow_steps_described *d, ad_error *error);
// A list of 1 to FLOW_MOST_STEPS nets; the array is the caller's to free.
flow_net **flow_read_nets(const json_t *list, const flow_making *making, int *n, ad_error *error);
flow_couplings_options flow_steps_example(int i);
flow_transformer *flow_steps_example_transformer(int i, ad_error *error);

// Narrows a range to what lies in another as well (equal ends: anywhere); false when nothing is left.
bool flow_narrow(double *low, double *high, double also_low, double also_high);

// ---- layers that consist of layers (layer_list.c) -----------------------------------------------------------------

typedef struct flow_layer_list {
    flow_layer layer;
    flow_layer **layers;  // [n], parts "0", "1", ...
    int n;
} flow_layer_list;
// A layer that owns them (on failure they are freed), of one feature and no context until told; or NULL, with *error as the
// constructor of one that is NULL left it.
flow_layer_list *flow_layer_list_new(const flow_layer_type *type, flow_layer *const *layers, int n, ad_error *error);
// Its context is that of its layers, which must agree; it is initialised when they are.
bool flow_layer_list_context(flow_layer_list *list, ad_error *error);
json_t *flow_layer_list_describe(const flow_layer *layer);
flow_layer *flow_layer_list_make(const json_t *options, const flow_making *making,
                                 flow_layer *(*constructor)(flow_layer *const *layers, int n, ad_error *error),
                                 ad_error *error);

// ---- rows on the host (rows.c) ------------------------------------------------------------------------------------

// Number of rows picked, after checking that they are there; -1 and a message otherwise. C 0: no context wanted.
int64_t flow_rows_count(const flow_rows *rows, int64_t C, ad_error *error);
// Element e of a row of width elements of a source; of picked row r of x.
double flow_source_get(const ad_source *source, int64_t width, int64_t row, int64_t e);
double flow_rows_get(const flow_rows *rows, int64_t D, int64_t r, int64_t e);
// The rows as they leave a layer's normalize, or generate: [n][D] doubles.
ad_status flow_rows_map(const flow_layer *layer, flow_direction direction, const flow_rows *rows, double *out,
                        ad_error *error);
// Lets a layer that still wants to see data see rows at the side where direction starts.
ad_status flow_init_layer(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error);
// All elements of rows of [D] are above low and below high (equal: finite); a failure names row and feature. who names the
// caller, here and below.
ad_status flow_rows_within(const char *who, const flow_rows *rows, int64_t D, double low, double high, ad_error *error);

// Mean and standard deviation of each feature into two states [D], as standardise does; or, for generate, those for which
// v sd + mean has mean 0 and standard deviation 1.
ad_status flow_rows_fit(const char *who, flow_direction direction, const flow_rows *rows, ad_state *mean, ad_state *sd,
                        ad_error *error);

// ---- parameters that follow a context (context_net.c) --------------------------------------------------------------

// The net [C] -> [out] of a layer with a context, given or made, as its part "net"; *net NULL without one. Owns given, on
// failure too.
bool flow_add_context_net(flow_layer *layer, int64_t out, flow_net *given, const flow_mlp_options *options, flow_net **net,
                          ad_error *error);
// The parameter [n] with the net's outputs from start on added; offsets AD_NONE: as it is.
ad_var flow_with_context(ad_var parameter, ad_var offsets, int64_t start);
bool flow_read_context_net(const json_t *options, const flow_making *making, int64_t C, flow_net **net, ad_error *error);

// ---- linear layers (linear.c) -------------------------------------------------------------------------------------

// What a layer z = W x + b begins with.
typedef struct flow_linear_layer {
    flow_layer layer;
    ad_param *b;   // [D]; NULL: no shift
    double bound;  // of log-scales
    ad_type type;
} flow_linear_layer;
// A zeroed layer of size bytes (the struct that begins with flow_linear_layer) with its shift, or NULL.
void *flow_linear_layer_new(const flow_layer_type *type, size_t size, int64_t D, const flow_linear_options *options,
                            ad_error *error);
ad_var flow_linear_b(const flow_linear_layer *l, ad_tape *tape);  // AD_NONE: no shift
ad_var flow_linear_shift(const flow_linear_layer *l, ad_var y);    // y + b
ad_var flow_linear_unshift(const flow_linear_layer *l, ad_var z);  // z - b
// The common options as a JSON object, and read back; *o is zero elsewhere.
json_t *flow_linear_describe(const flow_linear_layer *l);
bool flow_linear_read(const json_t *options, int64_t *D, flow_linear_options *o, ad_error *error);

// bound tanh(raw / bound): raw where that is small, within +-bound wherever it is.
ad_var flow_bounded(ad_var raw, double bound);
// The lower or upper triangle of raw [D,D] with exp(*log_diagonal) on the diagonal, bounded.
ad_var flow_triangle(ad_var raw, bool upper, double bound, ad_var *log_diagonal);

// The product of reflections H_K ... H_1 along the rows of V [K,D] (reflections.c).
typedef struct flow_reflections {
    ad_var V, U;  // [K,D]
    ad_var Q;     // the product [D,D], where that is the cheaper way; or AD_NONE
} flow_reflections;
flow_reflections flow_reflections_use(ad_tape *tape, ad_param *V);
ad_var flow_reflect(const flow_reflections *r, ad_var x, bool back);
void flow_reflections_start(ad_param *V, bool random, uint64_t *seed);
// What layers with such a product begin with; as flow_linear_layer otherwise. *o: the options with their defaults.
typedef struct flow_reflecting {
    flow_linear_layer linear;
    ad_param *V;  // [K,D], of any length
} flow_reflecting;
void *flow_reflecting_new(const flow_layer_type *type, size_t size, int64_t D, const flow_householder_options *options,
                          flow_householder_options *o, ad_error *error);
json_t *flow_reflecting_describe(const flow_layer *layer);
bool flow_reflecting_read(const json_t *options, int64_t *D, flow_householder_options *o, ad_error *error);
flow_householder_options flow_reflecting_example(int i);

// Q [D][D] a random rotation. And W [D,D] one, or the identity.
bool flow_random_rotation(double *Q, int64_t D, uint64_t seed, ad_error *error);
bool flow_start_matrix(ad_param *W, bool random, uint64_t seed, ad_error *error);

// ---- base densities ------------------------------------------------------------------------------------------------

#define FLOW_HALF_LOG_2PI 0.91893853320467274178
// Whether flow_temper would take it; samples z of it at temperature T.
bool flow_can_temper(const flow_base *base, double T, ad_error *error);
ad_var flow_temper_noise(const flow_base *base, double T, ad_var z, ad_var context);

// ---- maps of one number (bijector_maps.c) ---------------------------------------------------------------------------

enum { FLOW_CURVE_PARAMETERS = 2 };
// The numbers a map has, as vars that broadcast with its argument; and its box.
typedef struct flow_curve_numbers {
    ad_var a, b;
    double low, high;
} flow_curve_numbers;
typedef struct flow_curve_parameter {
    const char *name;         // NULL: there is none
    double start, low, high;  // by default, and the range
    bool log;                 // learned as its logarithm
} flow_curve_parameter;
typedef struct flow_curve {
    const char *name;
    // An increasing map, its inverse, and the logarithm of its slope, elementwise.
    ad_var (*value)(const flow_curve_numbers *n, ad_var x);
    ad_var (*inverse)(const flow_curve_numbers *n, ad_var y);
    ad_var (*log_slope)(const flow_curve_numbers *n, ad_var x);
    double x_box[2], y_box[2];  // what it maps onto what; equal: all numbers; the first larger: the box of its options
    flow_curve_parameter p[FLOW_CURVE_PARAMETERS];
    bool grows[2];  // value, inverse: may come to the largest number
} flow_curve;
// Values of this size stand for those that the type cannot hold.
double flow_curve_largest(ad_type type);
const flow_curve *flow_curves(int *n);
// A map by name with its numbers and sides (curve.c).
typedef struct flow_curve_settings {
    const flow_curve *map;
    double p[FLOW_CURVE_PARAMETERS];  // as given, or at the start of learning
    double low, high;                 // of a map onto a box
    double x_box[2], y_box[2];        // of the map's two sides
} flow_curve_settings;
// False and a message when there is no such map, or its numbers or box are out of range. s is zero at the call.
bool flow_curve_settle(flow_curve_settings *s, const char *name, const double given[FLOW_CURVE_PARAMETERS], double low,
                       double high, ad_error *error);
bool flow_curve_onto_a_box(const flow_curve *map);
// Number k of the map: fixed (raw AD_NONE), or learned within its range as mid + half tanh(...) of raw, of its logarithm where
// the row says so: as given where raw is 0, and there as fast as raw, so that one step size suits all.
ad_var flow_curve_number(const flow_curve_settings *s, int k, ad_var raw, ad_tape *tape);
// The map and its inverse; direction is that of the layer.
flow_result flow_curve_there(const flow_curve_settings *s, const flow_curve_numbers *n, ad_var x,
                             flow_direction direction);
flow_result flow_curve_back(const flow_curve_settings *s, const flow_curve_numbers *n, ad_var y,
                            flow_direction direction);

// ---- types, one per file ------------------------------------------------------------------------------------------

extern const flow_layer_type flow_autoregressive_type, flow_coupling_type, flow_elementwise_type;
extern const flow_layer_type flow_inverse_type, flow_split_type;
extern const flow_layer_type flow_coupling_pair_type, flow_hint_type, flow_ladder_type, flow_ranked_type;
extern const flow_layer_type flow_leapfrog_type;
extern const flow_transformer_type flow_incompressible_transformer_type, flow_bijector_transformer_type;
extern const flow_layer_type flow_permutation_type, flow_standardise_type, flow_chain_type;
extern const flow_layer_type flow_clip_type, flow_dequantise_type, flow_logit_type, flow_whiten_type;
extern const flow_layer_type flow_lu_linear_type, flow_plu_linear_type, flow_planar_type, flow_block_naf_type;
extern const flow_layer_type flow_actnorm_type, flow_batch_norm_type, flow_bijector_type, flow_radial_type;
extern const flow_layer_type flow_sylvester_type;
extern const flow_layer_type flow_dense_linear_type, flow_diagonal_affine_type, flow_triangular_linear_type;
extern const flow_layer_type flow_householder_type, flow_qr_linear_type, flow_svd_linear_type, flow_orthogonal_type;
extern const flow_layer_type flow_rotation_type, flow_plane_rotation_type, flow_low_rank_linear_type;
extern const flow_layer_type flow_rank_one_linear_type, flow_kronecker_linear_type, flow_dct_type;
extern const flow_transformer_type flow_logistic_mixture_transformer_type, flow_gaussianization_transformer_type;
extern const flow_transformer_type flow_sigmoidal_transformer_type, flow_umnn_transformer_type;
extern const flow_transformer_type flow_monotone_net_transformer_type, flow_dense_sigmoidal_transformer_type;
extern const flow_transformer_type flow_additive_transformer_type, flow_affine_transformer_type;
extern const flow_transformer_type flow_spline_transformer_type, flow_linear_spline_transformer_type;
extern const flow_transformer_type flow_quadratic_spline_transformer_type, flow_cubic_spline_transformer_type;
extern const flow_transformer_type flow_hermite_spline_transformer_type, flow_linear_rational_spline_transformer_type;
extern const flow_transformer_type flow_circular_spline_transformer_type, flow_sinusoid_transformer_type;
extern const flow_transformer_type flow_bernstein_transformer_type, flow_sum_of_squares_transformer_type;
extern const flow_transformer_type flow_nonlinear_squared_transformer_type, flow_censored_mixture_transformer_type;
extern const flow_layer_type flow_simplex_type, flow_ordered_type, flow_correlation_type;
extern const flow_net_type flow_made_type, flow_mlp_type, flow_residual_net_type;
extern const flow_base_type flow_standard_normal_type, flow_base_normal_type, flow_base_logistic_type;
extern const flow_base_type flow_base_laplace_type, flow_base_gumbel_type, flow_base_student_type, flow_base_full_type;
extern const flow_base_type flow_base_box_type, flow_base_pca_type, flow_base_mixture_type, flow_base_uniform_type, flow_base_tempered_type;
extern const flow_base_type flow_base_folded_type;
// Whether a net is a made of these sizes.
bool flow_is_made(const flow_net *net, int64_t D, int64_t C, int64_t P);
// Of a made: after so many passes a fixed point of it is exact.
int64_t flow_made_levels(const flow_net *made);
const int64_t *flow_made_order(const flow_net *made);  // [D] features, each after those that it sees
// All parts joined along the first axis; overwrites them.
ad_var flow_join(ad_var *part, int64_t n);
// Of a chain.
int flow_chain_length(const flow_layer *chain);
const flow_layer *flow_chain_at(const flow_layer *chain, int i);

// For messages: x86 makes NaNs with a sign, which says nothing.
static inline double flow_said(double v) {
    return v == v ? v : (double)NAN;
}

// ---- layers derived from a map (derive.c, derive_map.c, derive_inverse.c) ------------------------------------------

flow_result flow_derived_record(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context);
json_t *flow_derived_describe(const flow_layer *layer);
flow_layer *flow_derived_make(const flow_layer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error);
// The direction in which a layer's map is given: normalize of those written by hand.
flow_direction flow_given_direction(const flow_layer *layer);

// Frees the object that begins with owner, its parts and tensors.
void flow_owner_free(flow_owner *owner);

#endif
