// ladder.c -- a ladder of couplings: the features in K parts, each mapped by parameters of the parts before it.
//
// Between a coupling (K = 2) and an autoregressive layer with a net for each feature (K = D): couplings whose first
// part grows rung by rung make one (Prince, Understanding Deep Learning, notes of chapter 16 on universality).
// normalize takes all rungs from x; generate climbs them in order.
#include <stdlib.h>

#include "internal.h"

typedef struct ladder {
    flow_steps steps;
    int parts, sees;
} ladder;

// Where part k of K begins.
static int64_t begin(int64_t D, int K, int k) {
    return D / K * k + (D % K < k ? D % K : k);
}

// The last part first: those before it are still as they are on the data side.
static void fill(flow_step *step, int64_t D, int K, int sees, int first) {
    for (int k = K - 1; k >= first; k--) {
        const int64_t kept = begin(D, K, sees && k > sees ? k - sees : 0), changed = begin(D, K, k);
        *step++ = (flow_step){kept, changed - kept, changed, begin(D, K, k + 1) - changed, NULL, 0};
    }
}

flow_layer *flow_ladder(int64_t D, int64_t C, flow_transformer *transformer, const flow_ladder_options *options,
                        ad_error *error) {
    flow_ladder_options o = options ? *options : (flow_ladder_options){.parts = 0};
    ladder *l = (ladder *)flow_steps_new(&flow_ladder_type, sizeof *l, D, C, transformer, &o.couplings, error);
    if (!l) return NULL;
    const int K = o.parts ? o.parts : D < 4 ? (int)D : 4;
    if (K < (D > 1 ? 2 : 1) || K > D || K > FLOW_MOST_STEPS || o.sees < 0) {
        ad_fail(error, AD_EARG, "ladder: %d parts of %lld features, each seeing %d; expected 2 to as many, at most %d",
                o.parts, (long long)D, o.sees, FLOW_MOST_STEPS);
        return flow_steps_abandon(&l->steps, &o.couplings);
    }
    l->parts = K;
    l->sees = o.sees;
    const int first = C > 0 || K == 1 ? 0 : 1, n = K - first;
    flow_step *step = calloc((size_t)n, sizeof *step);
    if (step) fill(step, D, K, o.sees, first);
    return flow_steps_finish(&l->steps, step, n, &o.couplings, error);
}

static json_t *describe(const flow_layer *layer) {
    const ladder *l = (const ladder *)layer;
    json_t *options = flow_json_with(flow_steps_describe(layer), "parts", json_integer(l->parts));
    return flow_json_with(options, "sees", json_integer(l->sees));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_steps_described d;
    flow_ladder_options o = {.parts = 0};
    int64_t parts, sees;
    if (!flow_json_int(options, "parts", 1, FLOW_MOST_STEPS, &parts, error) ||
        !flow_json_int(options, "sees", 0, FLOW_MAX_FEATURES, &sees, error) ||
        !flow_steps_read(options, making, &d, error)) {
        return NULL;
    }
    o.parts = (int)parts;
    o.sees = (int)sees;
    o.couplings = d.couplings;
    flow_layer *layer = flow_ladder(d.D, d.C, d.transformer, &o, error);
    free(d.nets);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 8, C = D == 1 ? 2 : i % 3;
    const flow_ladder_options o = {.parts = D < 3        ? 0
                                            : i % 4 == 1 ? (int)D
                                            : i % 4 == 2 ? 3
                                                         : 0,
                                   .sees = i % 5 == 3 ? 1 + i % 2 : 0,
                                   .couplings = flow_steps_example(i)};
    return flow_ladder(D, C, flow_steps_example_transformer(i, error), &o, error);
}

const flow_layer_type flow_ladder_type = {.name = "ladder",
                                          .structure = FLOW_AUTOREGRESSIVE,
                                          .normalize = flow_steps_normalize,
                                          .generate = flow_steps_generate,
                                          .describe = describe,
                                          .make = make,
                                          .example = example,
                                          .gauge = flow_steps_gauge};
