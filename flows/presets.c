// presets.c -- models by name: layers of one kind with something between them that mixes features.
#include <stdlib.h>

#include "internal.h"
#include "model.h"

// ---- what presets share ---------------------------------------------------------------------------------------------

typedef struct plan {
    const char *name;
    int layers;
    flow_mix mix;
    bool raw, scaled;  // no standardising layer in front; a learned scale of each feature at the end
    uint64_t seed;
    ad_type type;
    flow_layer *(*layer)(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error);
    const void *options;
    flow_mask mask;
} plan;

static flow_layer *mixing(const plan *p, int i, int64_t D, ad_error *error) {
    const uint64_t seed = flow_subseed(~p->seed, (uint64_t)i);
    flow_lu_linear_options lu = {.shuffle = true, .seed = seed, .type = p->type};
    switch (p->mix) {
        case FLOW_MIX_REVERSE:
            return flow_permutation(D, NULL, error);
        case FLOW_MIX_RANDOM:
            return flow_random_permutation(D, seed, error);
        default:
            return flow_lu_linear(D, &lu, error);
    }
}

// Layers in order, as many as until one fails, whose NULL is then among them; their number.
static int make_layers(const plan *p, int64_t D, int64_t C, flow_layer **layers, ad_error *error) {
    int n = 0;
    if (!p->raw) {
        layers[n++] = flow_standardise(D, &(flow_standardise_options){.type = p->type}, error);
        if (!layers[n - 1]) return n;
    }
    for (int i = 0; i < p->layers; i++) {
        if (p->mix == FLOW_MIX_LU || (p->mix != FLOW_MIX_HALVES && i > 0)) {
            layers[n++] = mixing(p, i, D, error);
            if (!layers[n - 1]) return n;
        }
        layers[n++] = p->layer(p->options, p->mix, i, D, C, error);
        if (!layers[n - 1]) return n;
    }
    if (!p->scaled) return n;
    const flow_affine_transformer_options scale = {.bound = 5, .no_shift = true};
    layers[n++] = flow_elementwise(D, 0, flow_affine_transformer(&scale, error),
                                   &(flow_elementwise_options){.type = p->type}, error);
    return n;
}

static flow_model *build(plan *p, int usual_layers, flow_mix usual_mix, int64_t D, int64_t C, ad_error *error) {
    if (p->layers == 0) p->layers = usual_layers;
    if (p->mix == FLOW_MIX_USUAL) p->mix = usual_mix;
    if (p->layers < 1 || p->layers > 10000 || (unsigned)p->mix > FLOW_MIX_LU || (unsigned)p->mask > FLOW_MASK_RANDOM) {
        ad_fail(error, AD_EARG, "%s: %d layers, mix %d, mask %d; expected 1 to 10000 layers, mix 0 to %d and mask 0 to %d",
                p->name, p->layers, (int)p->mix, (int)p->mask, FLOW_MIX_LU, FLOW_MASK_RANDOM);
        return NULL;
    }
    flow_layer **layers = calloc(2 * (size_t)p->layers + 2, sizeof *layers);
    if (!layers) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", p->name);
        return NULL;
    }
    const int n = make_layers(p, D, C, layers, error);
    flow_layer *chain = flow_chain(layers, n, error);  // with a NULL among them: frees the rest and fails
    free(layers);
    return chain ? flow_model_new(chain, flow_standard_normal(D, error), error) : NULL;
}

// Of couplings that alternate the part that they keep; others leave that to what stands between them.
static flow_half keep(flow_mix mix, int i) {
    return mix == FLOW_MIX_HALVES && i % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST;
}

static void set_mask(flow_mask mask, uint64_t seed, int i, flow_coupling_options *c) {
    c->alternate = mask == FLOW_MASK_ALTERNATE;
    c->shuffle = mask == FLOW_MASK_RANDOM;
    c->seed = flow_subseed(seed + 1, (uint64_t)i / 2);
}

// ---- nice, realnvp --------------------------------------------------------------------------------------------------

static flow_layer *nice_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    const flow_nice_options *o = options;
    flow_coupling_options c = {.keep = keep(mix, i), .mlp = o->mlp};
    set_mask(o->mask, o->mlp.seed, i, &c);
    c.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_coupling(D, C, flow_additive_transformer(error), &c, error);
}

flow_model *flow_nice(int64_t D, int64_t C, const flow_nice_options *options, ad_error *error) {
    flow_nice_options o = options ? *options : (flow_nice_options){.layers = 0};
    plan p = {"nice", o.layers, o.mix, o.raw, true, o.mlp.seed, o.mlp.type, nice_layer, &o, o.mask};
    return build(&p, 4, FLOW_MIX_HALVES, D, C, error);
}

static flow_layer *realnvp_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    const flow_realnvp_options *o = options;
    flow_coupling_options c = {.keep = keep(mix, i), .bound = o->bound, .mlp = o->mlp};
    set_mask(o->mask, o->mlp.seed, i, &c);
    c.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_affine_coupling(D, C, &c, error);
}

flow_model *flow_realnvp(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error) {
    flow_realnvp_options o = options ? *options : (flow_realnvp_options){.layers = 0};
    plan p = {"realnvp", o.layers, o.mix, o.raw, false, o.mlp.seed, o.mlp.type, realnvp_layer, &o, o.mask};
    return build(&p, 8, FLOW_MIX_HALVES, D, C, error);
}

// ---- gin, revnet, hint ----------------------------------------------------------------------------------------------

static flow_layer *gin_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    const flow_realnvp_options *o = options;
    flow_coupling_options c = {.keep = keep(mix, i), .bound = o->bound, .mlp = o->mlp};
    set_mask(o->mask, o->mlp.seed, i, &c);
    c.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_gin_coupling(D, C, &c, error);
}

flow_model *flow_gin(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error) {
    flow_realnvp_options o = options ? *options : (flow_realnvp_options){.layers = 0};
    plan p = {"gin", o.layers, o.mix, o.raw, true, o.mlp.seed, o.mlp.type, gin_layer, &o, o.mask};
    return build(&p, 8, D == 2 ? FLOW_MIX_HALVES : FLOW_MIX_RANDOM, D, C, error);
}

static flow_layer *revnet_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    const flow_nice_options *o = options;
    flow_coupling_pair_options c = {.couplings = {.mlp = o->mlp}};
    c.couplings.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_revnet_pair(D, C, &c, error);
}

flow_model *flow_revnet(int64_t D, int64_t C, const flow_nice_options *options, ad_error *error) {
    flow_nice_options o = options ? *options : (flow_nice_options){.layers = 0};
    plan p = {"revnet", o.layers, o.mix, o.raw, true, o.mlp.seed, o.mlp.type, revnet_layer, &o, FLOW_MASK_USUAL};
    return build(&p, 4, FLOW_MIX_HALVES, D, C, error);
}

static flow_layer *hint_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    const flow_hint_model_options *o = options;
    flow_hint_options h = {.depth = o->depth, .taper = o->taper, .couplings = {.mlp = o->mlp}};
    h.couplings.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    const flow_affine_transformer_options affine = {.bound = o->bound};
    return flow_hint(D, C, flow_affine_transformer(&affine, error), &h, error);
}

flow_model *flow_hint_model(int64_t D, int64_t C, const flow_hint_model_options *options, ad_error *error) {
    flow_hint_model_options o = options ? *options : (flow_hint_model_options){.layers = 0};
    plan p = {"hint", o.layers, o.mix, o.raw, false, o.mlp.seed, o.mlp.type, hint_layer, &o, FLOW_MASK_USUAL};
    return build(&p, 4, FLOW_MIX_REVERSE, D, C, error);
}

// ---- ladder, leapfrog -----------------------------------------------------------------------------------------------

static flow_layer *ladder_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    const flow_ladder_model_options *o = options;
    flow_ladder_options l = {.parts = o->parts, .sees = o->sees, .couplings = {.mlp = o->mlp}};
    l.couplings.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    const flow_affine_transformer_options affine = {.bound = o->bound};
    return flow_ladder(D, C, flow_affine_transformer(&affine, error), &l, error);
}

flow_model *flow_ladder_model(int64_t D, int64_t C, const flow_ladder_model_options *options, ad_error *error) {
    flow_ladder_model_options o = options ? *options : (flow_ladder_model_options){.layers = 0};
    plan p = {"ladder", o.layers, o.mix, o.raw, false, o.mlp.seed, o.mlp.type, ladder_layer, &o, FLOW_MASK_USUAL};
    return build(&p, 8, FLOW_MIX_REVERSE, D, C, error);
}

// Steps start large: from 0 layers take long to find that they may turn. That and what stands between layers was chosen
// by trying, on three densities of the plane.
static flow_layer *leapfrog_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    const flow_leapfrog_model_options *o = options;
    const double usual = o->free ? 0.2 : o->kind == FLOW_LEAPFROG ? 1 : 0.4;
    flow_leapfrog_options l = {.kind = o->kind,
                               .steps = o->steps,
                               .step = o->step == 0 ? usual : o->step,
                               .free = o->free,
                               .couplings = {.mlp = o->mlp}};
    l.couplings.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_leapfrog(D, C, &l, error);
}

flow_model *flow_leapfrog_model(int64_t D, int64_t C, const flow_leapfrog_model_options *options, ad_error *error) {
    flow_leapfrog_model_options o = options ? *options : (flow_leapfrog_model_options){.layers = 0};
    plan p = {"leapfrog", o.layers, o.mix, o.raw, true, o.mlp.seed, o.mlp.type, leapfrog_layer, &o, FLOW_MASK_USUAL};
    return build(&p, 4, FLOW_MIX_REVERSE, D, C, error);
}

// ---- maf, iaf -------------------------------------------------------------------------------------------------------

static flow_layer *maf_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    flow_autoregressive_options a = ((const flow_maf_options *)options)->layer;
    a.made.mlp.seed = flow_subseed(a.made.mlp.seed, (uint64_t)i);
    return flow_affine_autoregressive(D, C, &a, error);
}

flow_model *flow_maf(int64_t D, int64_t C, const flow_maf_options *options, ad_error *error) {
    flow_maf_options o = options ? *options : (flow_maf_options){.layers = 0};
    plan p = {"maf", o.layers, o.mix, o.raw, false, o.layer.made.mlp.seed, o.layer.made.mlp.type, maf_layer, &o,
              FLOW_MASK_USUAL};
    if (!o.layer.net) return build(&p, 5, FLOW_MIX_REVERSE, D, C, error);
    ad_fail(error, AD_EARG, "maf: one net given for all layers; expected a net of each layer's own");
    return NULL;
}

flow_model *flow_iaf(int64_t D, int64_t C, const flow_maf_options *options, ad_error *error) {
    flow_maf_options o = options ? *options : (flow_maf_options){.layers = 0};
    o.layer.inverse = true;
    return flow_maf(D, C, &o, error);
}

// ---- neural spline flows --------------------------------------------------------------------------------------------

static flow_transformer *nsf_transformer(const flow_nsf_options *o, uint64_t seed, ad_error *error) {
    const double width = o->mlp.width > 0 ? (double)o->mlp.width : 64;
    const flow_usual_transformer_options usual = {.bins = o->bins, .bound = o->bound, .width = width, .seed = seed, .type = o->mlp.type};
    return flow_usual_transformer(o->transformer ? o->transformer : "rational-quadratic spline", &usual, error);
}

static flow_layer *nsf_autoregressive(const flow_nsf_options *o, uint64_t seed, int64_t D, int64_t C, ad_error *error) {
    flow_autoregressive_options a = {.inverse = o->inverse, .made = {.mlp = o->mlp, .residual = !o->plain}};
    a.made.mlp.seed = seed;
    return flow_autoregressive(D, C, nsf_transformer(o, seed, error), &a, error);
}

static flow_layer *nsf_layer(const void *options, flow_mix mix, int i, int64_t D, int64_t C, ad_error *error) {
    (void)mix;
    const flow_nsf_options *o = options;
    const uint64_t seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    if (o->autoregressive) return nsf_autoregressive(o, seed, D, C, error);
    flow_coupling_options c = {
        .inverse = o->inverse,
        .keep = i % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST,
        .conditioner = o->plain ? FLOW_MLP : FLOW_RESIDUAL_NET,
        .mlp = o->mlp,
        .residual = {
            .blocks = o->mlp.layers, .width = o->mlp.width, .activation = o->mlp.activation, .type = o->mlp.type}};
    c.mlp.seed = c.residual.seed = seed;
    set_mask(o->mask == FLOW_MASK_USUAL ? FLOW_MASK_ALTERNATE : o->mask, o->mlp.seed, i, &c);
    if (o->map_kept && D > 1 && !(c.kept_transformer = nsf_transformer(o, seed, error))) return NULL;
    return flow_coupling(D, C, nsf_transformer(o, seed, error), &c, error);
}

// The box that the transformer's features lie in; equal ends: none.
static bool nsf_box(const flow_nsf_options *o, double *low, double *high, ad_error *error) {
    flow_transformer *t = nsf_transformer(o, 0, error);
    if (!t) return false;
    *low = t->low;
    *high = t->high;
    flow_transformer_free(t);
    if (!(*low < *high) || o->mix != FLOW_MIX_LU) return true;
    ad_fail(error, AD_EARG,
            "nsf: with the transformer %.40s features lie in a box: nothing but a permutation may stand between layers",
            o->transformer);
    return false;
}

flow_model *flow_nsf(int64_t D, int64_t C, const flow_nsf_options *options, ad_error *error) {
    flow_nsf_options o = options ? *options : (flow_nsf_options){.layers = 0};
    double low, high;
    if (!nsf_box(&o, &low, &high, error)) return NULL;
    const bool box = low < high;
    plan p = {"nsf", o.layers, o.mix, o.raw || box, false, o.mlp.seed, o.mlp.type, nsf_layer, &o, o.mask};
    flow_model *model = build(&p, 5, box ? FLOW_MIX_RANDOM : FLOW_MIX_LU, D, C, error);
    flow_base *base = model && box ? flow_base_uniform(D, low, high, error) : NULL;
    if (!box || base) return base ? flow_model_rebase(model, base, error) : model;
    flow_model_free(model);
    return NULL;
}
