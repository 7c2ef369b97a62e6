// presets.c -- models by name.
#include <stdlib.h>

#include "internal.h"

static flow_layer *coupling(int i, int64_t D, int64_t C, const flow_realnvp_options *o, ad_error *error) {
    flow_coupling_options c = {.bound = o->bound, .mlp = o->mlp};
    c.keep = o->mix == FLOW_MIX_HALVES && i % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST;
    c.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    return flow_affine_coupling(D, C, &c, error);
}

static flow_layer *between(int i, int64_t D, const flow_realnvp_options *o, ad_error *error) {
    if (o->mix == FLOW_MIX_REVERSE) return flow_permutation(D, NULL, error);
    return flow_random_permutation(D, flow_subseed(~o->mlp.seed, (uint64_t)i), error);
}

flow_model *flow_realnvp(int64_t D, int64_t C, const flow_realnvp_options *options, ad_error *error) {
    flow_realnvp_options o = options ? *options : (flow_realnvp_options){0};
    if (o.layers == 0) o.layers = 8;
    if (o.layers < 1 || o.layers > 10000 || (unsigned)o.mix > FLOW_MIX_RANDOM) {
        ad_fail(error, AD_EARG, "realnvp: %d layers, mix %d; expected 1 to 10000 layers and mix 0 to 2", o.layers,
                (int)o.mix);
        return NULL;
    }
    flow_layer **layers = calloc(2 * (size_t)o.layers + 1, sizeof *layers);
    if (!layers) {
        ad_fail(error, AD_ENOMEM, "realnvp: out of memory");
        return NULL;
    }
    int n = 0;
    bool ok = true;
    flow_standardise_options standard = {.type = o.mlp.type};
    if (!o.raw) ok = (layers[n++] = flow_standardise(D, &standard, error)) != NULL;
    for (int i = 0; ok && i < o.layers; i++) {
        if (i > 0 && o.mix != FLOW_MIX_HALVES) ok = (layers[n++] = between(i, D, &o, error)) != NULL;
        if (ok) ok = (layers[n++] = coupling(i, D, C, &o, error)) != NULL;
    }
    flow_layer *chain = flow_chain(layers, n, error);  // with a NULL among them: frees the rest and fails
    free(layers);
    return chain ? flow_model_new(chain, flow_standard_normal(D, error), error) : NULL;
}

// ---- masked autoregressive flow -----------------------------------------------------------------------------------

static flow_layer *autoregressive(int i, int64_t D, int64_t C, const flow_maf_options *o, ad_error *error) {
    flow_autoregressive_options a = o->layer;
    a.made.mlp.seed = flow_subseed(a.made.mlp.seed, (uint64_t)i);
    return flow_affine_autoregressive(D, C, &a, error);
}

static flow_layer *reorder(int i, int64_t D, const flow_maf_options *o, ad_error *error) {
    if (!o->random_order) return flow_permutation(D, NULL, error);
    return flow_random_permutation(D, flow_subseed(~o->layer.made.mlp.seed, (uint64_t)i), error);
}

flow_model *flow_maf(int64_t D, int64_t C, const flow_maf_options *options, ad_error *error) {
    flow_maf_options o = options ? *options : (flow_maf_options){0};
    if (o.layers == 0) o.layers = 5;
    if (o.layers < 1 || o.layers > 10000 || o.layer.net) {
        ad_fail(error, AD_EARG, "maf: %d layers%s; expected 1 to 10000 and a net of each layer's own", o.layers,
                o.layer.net ? " with one net given for all" : "");
        return NULL;
    }
    flow_layer **layers = calloc(2 * (size_t)o.layers + 1, sizeof *layers);
    if (!layers) {
        ad_fail(error, AD_ENOMEM, "maf: out of memory");
        return NULL;
    }
    int n = 0;
    bool ok = true;
    flow_standardise_options standard = {.type = o.layer.made.mlp.type};
    if (!o.raw) ok = (layers[n++] = flow_standardise(D, &standard, error)) != NULL;
    for (int i = 0; ok && i < o.layers; i++) {
        if (i > 0) ok = (layers[n++] = reorder(i, D, &o, error)) != NULL;
        if (ok) ok = (layers[n++] = autoregressive(i, D, C, &o, error)) != NULL;
    }
    flow_layer *chain = flow_chain(layers, n, error);  // with a NULL among them: frees the rest and fails
    free(layers);
    return chain ? flow_model_new(chain, flow_standard_normal(D, error), error) : NULL;
}
