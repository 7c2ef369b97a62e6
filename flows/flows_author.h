// flows_author.h -- for authors of layers, transformers, nets and bases of their own.
//
// A layer is a struct that begins with flow_layer, made by flow_layer_new, and one flow_layer_type. Its tensors and
// parts are added to its owner, which frees, lists, saves and loads them: a type has nothing to write for that.
#ifndef PULLBACK_FLOWS_AUTHOR_H
#define PULLBACK_FLOWS_AUTHOR_H

#include "flows_transformers.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_t;  // jansson.h

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
    // As init, where the layer stands the other way round (flow_inverse): from rows as they reach its latent side, such that
    // generate makes of them what normalize makes of rows after init. NULL: such rows do not say it.
    ad_status (*init_back)(flow_layer *layer, const flow_rows *rows, ad_error *error);
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

// Transformers, nets and bases are the same idea. A transformer v + a v^3 / 3, a = exp(raw), in a few lines:
//
//     static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
//         ad_var a = ad_exp(flow_parameter(p, 0)), square = ad_square(v);
//         ad_var value = ad_add(v, ad_scale(ad_mul(a, ad_mul(square, v)), 1 / 3.0));
//         return (flow_result){value, ad_log(ad_offset(ad_mul(a, square), 1))};
//     }
//
// generate finds v by ad_root; make is flow_transformer_new(type, sizeof(flow_transformer), 1, error).
struct flow_transformer_type {
    const char *name;
    // Both directions of n features v [n], recorded as ops; log_det: log-slopes, of any shape, or AD_NONE for zero. v and
    // parameters are shared or per row.
    flow_result (*normalize)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
    flow_result (*generate)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
    struct json_t *(*describe)(const flow_transformer *transformer);
    // As a layer's; type is the one whose call it is, so that types of one family may share them.
    flow_transformer *(*make)(const flow_transformer_type *type, const struct json_t *options,
                              const flow_making *making, ad_error *error);
    flow_transformer *(*example)(const flow_transformer_type *type, int i, ad_error *error);
    // Raw parameters [P] of the identity, or of what comes near it: raw is 0 at the call. NULL: zeros.
    void (*identity)(const flow_transformer *transformer, double *raw);
    bool by_feature;  // how parameters lie where a net may choose; see flow_parameters
    bool jointly;     // a feature's map depends on the parameters of all n: not for autoregressive layers
    // As a layer's, at v on the side that normalize takes. NULL: nothing.
    flow_gauges (*gauge)(const flow_transformer *transformer, flow_parameters parameters, ad_var v);
    // One for flow_usual_transformer, and so for presets and lines of text. NULL: none, it has no name there.
    flow_transformer *(*usual)(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error);
    const void *family;  // for the type's own calls: what sets it apart from others that share them. NULL: nothing
    // What of features v, on the side that normalize takes, conditions others in couplings and autoregressive layers: a var
    // of the same shape, and of itself itself. NULL: v.
    ad_var (*seen)(const flow_transformer *transformer, ad_var v);
};
struct flow_transformer {
    flow_owner owner;
    const flow_transformer_type *type;
    int64_t P;             // raw parameters a feature
    double low, high;      // between which features lie before normalize (infinite: no end); equal: anywhere
    double z_low, z_high;  // the same after it
    bool swapped;          // its layer normalizes by generate; set by the layer
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
    // As a transformer's.
    flow_base *(*make)(const flow_base_type *type, const struct json_t *options, const flow_making *making,
                       ad_error *error);
    flow_base *(*example)(const flow_base_type *type, int i, ad_error *error);
    // Where the density is the same to both sides, [D] shared or per row; and the p with which scaling about it by T^p is
    // the density to the power 1/T^2 (1 of normals). NULL: there is none, flow_temper fails.
    ad_var (*center)(const flow_base *base, ad_tape *tape, ad_var context);
    double noise_power;
    const void *family;  // as a transformer's
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
