// coupling_pair.c -- two couplings, the second the other way round, so that every feature is mapped.
//
// With shifts alone the pair of reversible residual nets (Gomez et al. 2017; i-RevNet, Jacobsen et al. 2018):
// h1' = h1 + f1(h2), h2' = h2 + f2(h1'). Its determinant is 1: each of the two is a triangular map with ones on the
// diagonal. With other transformers the two-sided blocks of RealNVP and Glow, as FrEIA builds them.
#include <stdlib.h>

#include "internal.h"

typedef struct pair {
    flow_steps steps;
    int64_t split;
} pair;

static bool keeps_volume(const flow_transformer *t) {
    return t->type == &flow_additive_transformer_type || t->type == &flow_incompressible_transformer_type;
}

flow_layer *flow_coupling_pair(int64_t D, int64_t C, flow_transformer *transformer,
                               const flow_coupling_pair_options *options, ad_error *error) {
    flow_coupling_pair_options o = options ? *options : (flow_coupling_pair_options){.split = 0};
    pair *p = (pair *)flow_steps_new(&flow_coupling_pair_type, sizeof *p, D, C, transformer, &o.couplings, error);
    if (!p) return NULL;
    const int64_t first = o.split ? o.split : (D + 1) / 2;
    if (first < 1 || (D > 1 && first >= D) || first > D) {
        ad_fail(error, AD_EARG, "coupling pair: split %lld leaves one part of %lld features empty", (long long)o.split,
                (long long)D);
        return flow_steps_abandon(&p->steps, &o.couplings);
    }
    if (keeps_volume(transformer)) p->steps.layer.jacobian.structure = FLOW_VOLUME_PRESERVING;
    p->split = first;
    flow_step *step = calloc(2, sizeof *step);
    if (step) step[0] = (flow_step){first, D - first, 0, first, NULL, 0};
    if (step) step[1] = (flow_step){0, first, first, D - first, NULL, 0};
    return flow_steps_finish(&p->steps, step, D > 1 ? 2 : 1, &o.couplings, error);
}

static json_t *describe(const flow_layer *layer) {
    return flow_json_with(flow_steps_describe(layer), "split", json_integer(((const pair *)layer)->split));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_steps_described d;
    flow_coupling_pair_options o = {.split = 0};
    if (!flow_json_int(options, "split", 1, FLOW_MAX_FEATURES, &o.split, error) ||
        !flow_steps_read(options, making, &d, error)) {
        return NULL;
    }
    o.couplings = d.couplings;
    flow_layer *layer = flow_coupling_pair(d.D, d.C, d.transformer, &o, error);
    free(d.nets);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 6, C = D == 1 ? 2 : i % 3;
    const flow_coupling_pair_options o = {.split = D > 2 && i % 4 == 2 ? D - 1 : 0, .couplings = flow_steps_example(i)};
    return flow_coupling_pair(D, C, flow_steps_example_transformer(i, error), &o, error);
}

const flow_layer_type flow_coupling_pair_type = {.name = "coupling pair",
                                                 .normalize = flow_steps_normalize,
                                                 .generate = flow_steps_generate,
                                                 .describe = describe,
                                                 .make = make,
                                                 .example = example,
                                                 .gauge = flow_steps_gauge};
