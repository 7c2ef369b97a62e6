// text_presets.c -- the models that one-line descriptions name: a row each.
#include <stdlib.h>

#include "from_text.h"

static int whole(const text_settings *s, text_value value) {
    return (int)s->value[value];
}
static bool yes(const text_settings *s, text_value value) {
    return s->value[value] != 0;
}

static flow_mlp_options mlp(const text_settings *s) {
    return (flow_mlp_options){.layers = whole(s, TEXT_DEPTH),
                              .width = (int64_t)s->value[TEXT_WIDTH],
                              .activation = (flow_activation)whole(s, TEXT_ACTIVATION),
                              .seed = (uint64_t)s->value[TEXT_SEED],
                              .type = (ad_type)whole(s, TEXT_TYPE)};
}

static flow_model *nice(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_nice_options o = {
        .layers = whole(s, TEXT_LAYERS), .mix = (flow_mix)whole(s, TEXT_MIX), .raw = yes(s, TEXT_RAW), .mlp = mlp(s)};
    o.mask = (flow_mask)whole(s, TEXT_MASK);
    return flow_nice(D, C, &o, error);
}

static flow_realnvp_options couplings(const text_settings *s) {
    return (flow_realnvp_options){.layers = whole(s, TEXT_LAYERS),
                                  .bound = s->value[TEXT_BOUND],
                                  .mix = (flow_mix)whole(s, TEXT_MIX),
                                  .raw = yes(s, TEXT_RAW),
                                  .mlp = mlp(s),
                                  .mask = (flow_mask)whole(s, TEXT_MASK)};
}
static flow_model *realnvp(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const flow_realnvp_options o = couplings(s);
    return flow_realnvp(D, C, &o, error);
}
static flow_model *gin(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const flow_realnvp_options o = couplings(s);
    return flow_gin(D, C, &o, error);
}

static flow_model *revnet(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_nice_options o = {
        .layers = whole(s, TEXT_LAYERS), .mix = (flow_mix)whole(s, TEXT_MIX), .raw = yes(s, TEXT_RAW), .mlp = mlp(s)};
    return flow_revnet(D, C, &o, error);
}

static flow_model *hint(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_hint_model_options o = {.layers = whole(s, TEXT_LAYERS),
                                 .bound = s->value[TEXT_BOUND],
                                 .depth = whole(s, TEXT_LEVELS),
                                 .taper = yes(s, TEXT_TAPER),
                                 .mix = (flow_mix)whole(s, TEXT_MIX),
                                 .raw = yes(s, TEXT_RAW),
                                 .mlp = mlp(s)};
    return flow_hint_model(D, C, &o, error);
}

static flow_model *ladder(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_ladder_model_options o = {.layers = whole(s, TEXT_LAYERS),
                                   .bound = s->value[TEXT_BOUND],
                                   .parts = whole(s, TEXT_PARTS),
                                   .sees = whole(s, TEXT_SEES),
                                   .mix = (flow_mix)whole(s, TEXT_MIX),
                                   .raw = yes(s, TEXT_RAW),
                                   .mlp = mlp(s)};
    return flow_ladder_model(D, C, &o, error);
}

static flow_model *leapfrog(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    const int form = whole(s, TEXT_FORM);
    flow_leapfrog_model_options o = {.layers = whole(s, TEXT_LAYERS),
                                     .kind = form == 2 ? FLOW_HAMILTONIAN : FLOW_LEAPFROG,
                                     .steps = whole(s, TEXT_STEPS),
                                     .step = s->value[TEXT_STEP],
                                     .free = form == 1,
                                     .mix = (flow_mix)whole(s, TEXT_MIX),
                                     .raw = yes(s, TEXT_RAW),
                                     .mlp = mlp(s)};
    return flow_leapfrog_model(D, C, &o, error);
}

static flow_model *maf(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_maf_options o = {
        .layers = whole(s, TEXT_LAYERS), .mix = (flow_mix)whole(s, TEXT_MIX), .raw = yes(s, TEXT_RAW)};
    o.layer.scale = (flow_scale)whole(s, TEXT_SCALE);
    o.layer.bound = s->value[TEXT_BOUND];
    o.layer.made.mlp = mlp(s);
    return flow_maf(D, C, &o, error);
}

static flow_model *iaf(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    flow_maf_options o = {
        .layers = whole(s, TEXT_LAYERS), .mix = (flow_mix)whole(s, TEXT_MIX), .raw = yes(s, TEXT_RAW)};
    o.layer.scale = (flow_scale)whole(s, TEXT_SCALE);
    o.layer.bound = s->value[TEXT_BOUND];
    o.layer.made.mlp = mlp(s);
    return flow_iaf(D, C, &o, error);
}

static flow_model *nsf(const text_settings *s, bool autoregressive, int64_t D, int64_t C, ad_error *error) {
    flow_nsf_options o = {.layers = whole(s, TEXT_LAYERS),
                          .bins = (int64_t)s->value[TEXT_BINS],
                          .bound = s->value[TEXT_BOUND],
                          .mix = (flow_mix)whole(s, TEXT_MIX),
                          .raw = yes(s, TEXT_RAW),
                          .autoregressive = autoregressive,
                          .inverse = yes(s, TEXT_INVERSE),
                          .map_kept = yes(s, TEXT_MAP_KEPT),
                          .plain = yes(s, TEXT_NET),
                          .mlp = mlp(s),
                          .mask = (flow_mask)whole(s, TEXT_MASK)};
    char transformer[64];
    const bool other = flow_transformer_text(whole(s, TEXT_TRANSFORMER) - 1, transformer, sizeof transformer);
    if (other) o.transformer = transformer;
    return flow_nsf(D, C, &o, error);
}
static flow_model *nsf_coupling(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return nsf(s, false, D, C, error);
}
static flow_model *nsf_ar(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return nsf(s, true, D, C, error);
}

// ---- stacks of one layer -----------------------------------------------------------------------------------------
// Their closed form is normalize, as likelihoods want it, unless inverse.

typedef flow_layer *(*maker)(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C, ad_error *error);

static flow_model *stack(const text_settings *s, maker make, int usual, int64_t D, int64_t C, ad_error *error) {
    const int count = whole(s, TEXT_LAYERS) ? whole(s, TEXT_LAYERS) : usual;
    flow_layer **layers = calloc((size_t)count + 1, sizeof *layers);
    if (!layers) {
        ad_fail(error, AD_ENOMEM, "model: out of memory");
        return NULL;
    }
    int n = 0;
    bool ok = true;
    const flow_standardise_options standard = {.type = (ad_type)whole(s, TEXT_TYPE)};
    if (!yes(s, TEXT_RAW)) ok = (layers[n++] = flow_standardise(D, &standard, error)) != NULL;
    for (int i = 0; ok && i < count; i++) {
        uint64_t seed = flow_subseed((uint64_t)s->value[TEXT_SEED], (uint64_t)i);
        ok = (layers[n++] = make(s, i, seed, D, C, error)) != NULL;
    }
    flow_layer *chain = flow_chain(layers, n, error);  // with a NULL among them: frees the rest and fails
    free(layers);
    return chain ? flow_model_new(chain, flow_standard_normal(D, error), error) : NULL;
}

static flow_mlp_options conditioner(const text_settings *s, uint64_t seed) {
    flow_mlp_options o = mlp(s);
    o.seed = seed;
    return o;
}

static flow_layer *planar_layer(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C, ad_error *error) {
    (void)i;
    flow_planar_options o = {.flip = !yes(s, TEXT_INVERSE),
                             .slope = s->value[TEXT_SLOPE],
                             .mlp = conditioner(s, seed),
                             .seed = seed,
                             .type = (ad_type)whole(s, TEXT_TYPE)};
    return flow_planar(D, C, &o, error);
}
static flow_model *planar(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return stack(s, planar_layer, 16, D, C, error);
}

static flow_layer *radial_layer(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C, ad_error *error) {
    (void)i;
    flow_radial_options o = {.flip = !yes(s, TEXT_INVERSE),
                             .bound = s->value[TEXT_BOUND],
                             .mlp = conditioner(s, seed),
                             .seed = seed,
                             .type = (ad_type)whole(s, TEXT_TYPE)};
    return flow_radial(D, C, &o, error);
}
static flow_model *radial(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return stack(s, radial_layer, 16, D, C, error);
}

static flow_layer *sylvester_layer(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C,
                                   ad_error *error) {
    flow_sylvester_options o = {.kind = (flow_sylvester_kind)whole(s, TEXT_KIND),
                                .directions = (int64_t)s->value[TEXT_DIRECTIONS],
                                .flip = !yes(s, TEXT_INVERSE),
                                .mlp = conditioner(s, seed),
                                .seed = seed,
                                .type = (ad_type)whole(s, TEXT_TYPE)};
    if (o.kind == FLOW_SYLVESTER_TRIANGULAR && i % 2) o.kind = FLOW_SYLVESTER_REVERSED;
    return flow_sylvester(D, C, &o, error);
}
static flow_model *sylvester(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return stack(s, sylvester_layer, 8, D, C, error);
}

static flow_layer *block_naf_layer(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C,
                                   ad_error *error) {
    flow_block_naf_options o = {.width = (int64_t)s->value[TEXT_WIDTH],
                                .layers = whole(s, TEXT_DEPTH),
                                .reversed = i % 2,
                                .bound = s->value[TEXT_BOUND],
                                .seed = seed,
                                .type = (ad_type)whole(s, TEXT_TYPE)};
    return flow_block_naf(D, C, &o, error);
}
static flow_model *block_naf(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return stack(s, block_naf_layer, 4, D, C, error);
}

// Linear and elementwise in turn. Linear layers start at random: from the identity features of a grid's symmetry, as
// checkerboard's, do not find that they may mix. What a context says enters at the elementwise maps, shifted and scaled
// first, as a spline's box stays where it is.
static flow_layer *triangular_spline_layer(const text_settings *s, int i, uint64_t seed, int64_t D, int64_t C,
                                           ad_error *error) {
    const ad_type type = (ad_type)whole(s, TEXT_TYPE);
    const flow_elementwise_options o = {.type = type, .mlp = conditioner(s, seed)};
    const flow_triangular_options triangular = {.upper = i % 2, .linear = {.type = type, .random = true, .seed = seed}};
    const flow_usual_transformer_options map = {
        .bins = (int64_t)s->value[TEXT_BINS], .bound = s->value[TEXT_BOUND], .seed = seed, .type = type};
    char name[64];
    const bool other = flow_transformer_text(whole(s, TEXT_TRANSFORMER) - 1, name, sizeof name);
    flow_transformer *chosen = flow_usual_transformer(other ? name : "rational-quadratic", &map, error);
    if (chosen && chosen->low < chosen->high) {
        ad_fail(error, AD_EARG,
                "triangular-spline: with the transformer %s features lie in a box, which linear layers leave", name);
        flow_transformer_free(chosen);
        return NULL;
    }
    flow_layer *layers[3];
    int n = 0;
    bool ok = chosen && (layers[n++] = flow_triangular_linear(D, &triangular, error));
    if (ok && C > 0)
        ok = (layers[n++] = flow_elementwise(D, C, flow_affine_transformer(NULL, error), &o, error)) != NULL;
    if (!ok) flow_transformer_free(chosen);
    layers[n++] = ok ? flow_elementwise(D, C, chosen, &o, error) : NULL;
    return flow_chain(layers, n, error);
}
static flow_model *triangular_spline(const text_settings *s, int64_t D, int64_t C, ad_error *error) {
    return stack(s, triangular_spline_layer, 8, D, C, error);
}

const text_preset flow_text_presets[] = {
    {"nice", "layers hidden activation mix mask", "additive couplings and a scale (Dinh et al. 2015)", nice},
    {"realnvp", "layers hidden activation bound mix mask", "affine couplings (Dinh et al. 2017)", realnvp},
    {"gin", "layers hidden activation bound mix mask",
     "affine couplings that keep volumes, and a scale (Sorrenson et al. 2020)", gin},
    {"revnet", "layers hidden activation mix", "pairs of shifts, and a scale (Gomez et al. 2017)", revnet},
    {"hint", "layers hidden activation bound mix levels taper", "recursive affine couplings (Kruse et al. 2021)", hint},
    {"ladder", "layers hidden activation bound mix parts sees", "ladders of affine couplings (Prince 2023)", ladder},
    {"leapfrog", "layers hidden activation mix form steps step",
     "reversible dynamics that keep volumes, and a scale (Chang et al. 2018)", leapfrog},
    {"maf", "layers hidden activation scale bound mix",
     "affine autoregressive layers, one pass to normalize "
     "(Papamakarios et al. 2017)",
     maf},
    {"iaf", "layers hidden activation scale bound mix",
     "affine autoregressive layers, one pass to generate (Kingma et al. "
     "2016)",
     iaf},
    {"nsf-coupling", "layers hidden activation net transformer bins bound mix mask inverse map-kept",
     "spline couplings (Durkan et al. 2019)", nsf_coupling},
    {"nsf-ar", "layers hidden activation net transformer bins bound mix inverse",
     "autoregressive splines (Durkan et al. 2019)", nsf_ar},
    {"triangular-spline", "layers hidden activation transformer bins bound",
     "triangular linear layers and splines of single features in turn", triangular_spline},
    {"planar", "layers hidden activation inverse slope", "planar layers (Rezende and Mohamed 2015)", planar},
    {"radial", "layers hidden activation inverse bound", "radial layers (Rezende and Mohamed 2015)", radial},
    {"sylvester", "layers hidden activation inverse kind directions", "Sylvester layers (van den Berg et al. 2018)",
     sylvester},
    {"block-naf", "layers hidden bound", "block neural autoregressive layers (De Cao et al. 2019)", block_naf},
    {NULL, NULL, NULL, NULL},
};
