// flows_nets.h -- conditioner nets: plain, residual, masked.
#ifndef PULLBACK_FLOWS_NETS_H
#define PULLBACK_FLOWS_NETS_H

#include "flows_model.h"

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
