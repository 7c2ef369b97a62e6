// flows_derive.h -- layers derived from a map.
//
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
#ifndef PULLBACK_FLOWS_DERIVE_H
#define PULLBACK_FLOWS_DERIVE_H

#include "flows_author.h"
#include "flows_layers.h"

#ifdef __cplusplus
extern "C" {
#endif

// Where a map is recorded.
typedef struct flow_call {
    const flow_layer *layer;
    ad_tape *tape;
    ad_var context;     // [C] per row or shared, or AD_NONE
    ad_var kept;        // coupling: the features kept [k], or AD_NONE when there are none
    ad_var parameters;  // [n,P]: what the conditioner says of each feature of v; AD_NONE without one
    int64_t feature;    // v is one feature alone: its number, from 1; 0: v is all there are
} flow_call;
// A map, recorded as ops, of v [n] per row: of all features (n = D), or of a coupling's that are not kept, in order. It
// must not mix rows. An autoregressive one with a conditioner is also tried on one feature alone (n = 1, flow_use then gives
// its row of tensors that have one a feature): where it can do that, its inverse costs about ten passes through the net, else
// at least D.
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
//   autoregressive: D vjps (with a conditioner one); a scalar root a feature, one after the other: at least D passes; with a
//     conditioner Newton's iteration on all, a sweep each, and those roots where it fails.
//   volume-preserving: log_det 0; Newton's iteration with line search, D at most 16, unless both directions are given.
//   orthogonal: log_det 0; J^T (z - map(0)), one vjp.
//   low rank: log|det| of I_r + db/dv dA/dc [r,r], r sweeps; solved for c in r dimensions.
//   contractive: log|det J|, D at most 16, unless log_det is given; fixed point.
//   dense: log|det J|, D vjps, D at most 16, unless log_det is given; Newton's iteration, unless both directions are.
// What is solved for has its gradients by the implicit function theorem, to any order; a row without a solution fails the
// run (AD_ECONVERGE), naming row, iterations and residual. It takes one to three loops, each of its gradients one more. A
// log_det is only as good as derivatives in the tape's type: of a map that is flat to rounding it is minus infinity. Fails
// (NULL, AD_EARG) on a derivation that contradicts itself, a bad order, split, rank or option, and where D is too large.
AD_API flow_layer *flow_derive(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *options,
                               ad_error *error);
// The direction that is not the map's, for v [D], without failing the run: value, done ([] per row, 1 where solved),
// iterations, and as residual the largest |map(value) - v|: all to be kept. A given or explicit one takes 0 iterations.
AD_API ad_solution flow_derived_solve(const flow_layer *layer, ad_var v, ad_var context);

#ifdef __cplusplus
}
#endif
#endif
