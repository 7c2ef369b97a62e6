// flows_presets.h -- whole models: named ones of the field, by options or from one line of text.
//
// All but flow_leapfrog_model start as the identity, or near it. options may be NULL; seed and type of their mlp are those
// of the whole model. A standardising layer stands in front, whose numbers flow_init_from_data fits, unless raw.
#ifndef PULLBACK_FLOWS_PRESETS_H
#define PULLBACK_FLOWS_PRESETS_H

#include "flows_layers.h"

#ifdef __cplusplus
extern "C" {
#endif

// What stands between layers.
typedef enum flow_mix {
    FLOW_MIX_USUAL = 0,  // as the preset says
    FLOW_MIX_HALVES,     // nothing: couplings keep the first and the second half in turn
    FLOW_MIX_REVERSE,    // features reversed
    FLOW_MIX_RANDOM,     // features permuted at random
    FLOW_MIX_LU          // and in front of the first: features permuted at random and an LU linear
} flow_mix;

// Which features couplings keep, in turn with the others.
typedef enum flow_mask {
    FLOW_MASK_USUAL = 0,  // as the preset says
    FLOW_MASK_HALVES,     // the first half
    FLOW_MASK_ALTERNATE,  // features 0, 2, 4, ...
    FLOW_MASK_RANDOM      // half of them, others in each pair of couplings
} flow_mask;

typedef struct flow_nice_options {
    int layers;    // couplings; 0: 4
    flow_mix mix;  // usual: halves
    bool raw;
    flow_mlp_options mlp;  // of the conditioners
    flow_mask mask;        // usual: halves; with something between couplings always the first part
} flow_nice_options;
// NICE (Dinh, Krueger and Bengio 2015): additive couplings, a learned scale of each feature, standard normal base.
AD_API flow_model *flow_nice(int64_t D, int64_t C, const flow_nice_options *options, ad_error *error);

typedef struct flow_realnvp_options {
    int layers;    // couplings; 0: 8
    double bound;  // of the log-scales, as flow_coupling_options
    flow_mix mix;  // usual: halves
    bool raw;
    flow_mlp_options mlp;  // of the conditioners
    flow_mask mask;        // as flow_nice_options
} flow_realnvp_options;
// RealNVP for vectors (Dinh et al. 2017): affine couplings, standard normal base.
AD_API flow_model *flow_realnvp(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error);

// GIN (Sorrenson, Rother and Koethe 2020): as flow_realnvp, but of flow_gin_coupling, which keeps volumes, with a learned scale
// of each feature at the end; mix is usually random, of two features halves.
AD_API flow_model *flow_gin(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error);
// Reversible residual nets (Gomez et al. 2017; Jacobsen et al. 2018): as flow_nice, but of flow_revnet_pair.
AD_API flow_model *flow_revnet(int64_t D, int64_t C, const flow_nice_options *options, ad_error *error);

typedef struct flow_hint_model_options {
    int layers;    // recursive couplings; 0: 4
    double bound;  // of the log-scales, as flow_affine_transformer_options
    int depth;     // as flow_hint_options
    bool taper;
    flow_mix mix;  // usual: reverse
    bool raw;
    flow_mlp_options mlp;  // of the nets
} flow_hint_model_options;
// HINT (Kruse et al. 2021): flow_hint of affine maps, standard normal base.
AD_API flow_model *flow_hint_model(int64_t D, int64_t C, const flow_hint_model_options *options, ad_error *error);

typedef struct flow_ladder_model_options {
    int layers;    // ladders; 0: 8
    double bound;  // of the log-scales, as flow_affine_transformer_options
    int parts;     // these as flow_ladder_options
    int sees;
    flow_mix mix;  // usual: reverse
    bool raw;
    flow_mlp_options mlp;  // of the nets
} flow_ladder_model_options;
// Ladders of couplings: flow_ladder of affine maps, standard normal base.
AD_API flow_model *flow_ladder_model(int64_t D, int64_t C, const flow_ladder_model_options *options, ad_error *error);

typedef struct flow_leapfrog_model_options {
    int layers;    // 0: 4
    flow_leapfrog_kind kind;  // these as flow_leapfrog_options
    int steps;
    bool free;
    double step;   // h at the start; 0: 1, of Hamiltonian ones 0.4, of free ones 0.2: not the identity
    flow_mix mix;  // usual: reverse
    bool raw;
    flow_mlp_options mlp;  // of the forces: width and activation (relu suits best), and layers of free ones
} flow_leapfrog_model_options;
// Reversible dynamics (Chang et al. 2018; Lensink et al. 2022): flow_leapfrog, which keeps volumes, with a learned scale
// of each feature at the end; standard normal base.
AD_API flow_model *flow_leapfrog_model(int64_t D, int64_t C, const flow_leapfrog_model_options *options,
                                       ad_error *error);

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
    flow_mask mask;       // of couplings; usual: alternate
    const char *transformer;  // another than the rational-quadratic spline, by a name that flow_usual_transformer knows;
                              // bins and bound are then as there. Borrowed for the call. Of circular splines and
                              // censored mixtures, whose features lie in a box: raw, mixed by permutations (usual: random),
                              // with a uniform base
} flow_nsf_options;
// Neural spline flow (Durkan et al. 2019): rational-quadratic splines, raw widths and heights over the root of the conditioner's
// width; standard normal base.
AD_API flow_model *flow_nsf(int64_t D, int64_t C, const flow_nsf_options *options, ad_error *error);

// A model from one line, "NAME" or "NAME:KEY=VALUE,KEY=VALUE,...", as "nsf-ar:layers=5,hidden=256x2,bins=8,base=student":
// names nice, realnvp, gin, revnet, hint, ladder, leapfrog, maf, iaf, nsf-coupling, nsf-ar, triangular-spline, planar,
// radial, sylvester, block-naf; keys and values as flow_text_help lists them, defaults those of the presets above. All but
// leapfrog and triangular-spline, whose linear layers are random, start as the identity or near it. D features, C of context
// (0: none). NULL with a message (AD_EARG) that names what is expected, when the name, a key or a value is not known or does
// not fit. The model keeps the line, and so do its files: flow_describe shows it.
AD_API flow_model *flow_from_text(const char *text, int64_t D, int64_t C, ad_error *error);
// The line a model was made from, borrowed; NULL: none.
AD_API const char *flow_model_text(const flow_model *model);
// All names, keys and values of such lines, as text. Caller frees with free(). NULL when out of memory.
AD_API char *flow_text_help(void);
// The names alone, numbered from 0: static; NULL beyond the last.
AD_API const char *flow_text_name(int number);

#ifdef __cplusplus
}
#endif
#endif
