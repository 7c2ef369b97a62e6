// hint.c -- recursive coupling: each half of a coupling is coupled in itself, down to single features.
//
// Kruse, Detommaso, Koethe and Scheichl 2021 (HINT): the second half is mapped by parameters of the first, then both
// halves are treated alike. A feature comes to depend on itself and on all before it, so that the Jacobian is
// triangular without zeros; both directions take as many levels as D can be halved.
#include <stdlib.h>

#include "internal.h"

typedef struct hint {
    flow_steps steps;
    int depth;  // levels; 0: all
    bool taper;
} hint;

// Couplings of n features, in order: a half's own come after the coupling of both.
static int count(int64_t n, int depth) {
    if (n < 2 || depth == 0) return 0;
    return 1 + count(n / 2, depth - 1) + count(n - n / 2, depth - 1);
}

typedef struct filling {
    flow_step *step;
    int n;
    bool taper;
} filling;

static void fill(filling *f, int64_t from, int64_t n, int depth, int level) {
    const int64_t half = n / 2;
    if (n < 2 || depth == 0) return;
    f->step[f->n++] = (flow_step){from, half, from + half, n - half, NULL, f->taper ? level : 0};
    fill(f, from, half, depth - 1, level + 1);
    fill(f, from + half, n - half, depth - 1, level + 1);
}

// More levels than any D has, where all are wanted.
static int levels(int depth) {
    return depth == 0 ? 64 : depth;
}

static bool fits(const flow_hint_options *o, int64_t D, ad_error *error) {
    const int depth = levels(o->depth);
    if (o->depth < 0 || o->depth > 64) {
        ad_fail(error, AD_EARG, "hint: depth %d; expected 0 to 64", o->depth);
    } else if (D - 1 > FLOW_MOST_STEPS && (depth > 20 || ((int64_t)1 << depth) - 1 > FLOW_MOST_STEPS)) {
        ad_fail(error, AD_EARG, "hint: %lld features at depth %d take more than %d couplings", (long long)D, o->depth,
                FLOW_MOST_STEPS);
    } else {
        return true;
    }
    return false;
}

flow_layer *flow_hint(int64_t D, int64_t C, flow_transformer *transformer, const flow_hint_options *options,
                      ad_error *error) {
    flow_hint_options o = options ? *options : (flow_hint_options){.depth = 0};
    hint *h = (hint *)flow_steps_new(&flow_hint_type, sizeof *h, D, C, transformer, &o.couplings, error);
    if (!h) return NULL;
    h->depth = o.depth;
    h->taper = o.taper;
    if (!fits(&o, D, error)) return flow_steps_abandon(&h->steps, &o.couplings);
    const int n = D == 1 ? 1 : count(D, levels(o.depth));
    filling f = {calloc((size_t)n, sizeof *f.step), 0, o.taper};
    if (f.step) f.step[0] = (flow_step){0, 0, 0, 1, NULL, 0};  // of one feature, by the context alone
    if (f.step) fill(&f, 0, D, levels(o.depth), 0);
    return flow_steps_finish(&h->steps, f.step, n, &o.couplings, error);
}

static json_t *describe(const flow_layer *layer) {
    const hint *h = (const hint *)layer;
    json_t *options = flow_json_with(flow_steps_describe(layer), "depth", json_integer(h->depth));
    return flow_json_with(options, "taper", json_boolean(h->taper));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_steps_described d;
    flow_hint_options o = {.depth = 0};
    int64_t depth;
    if (!flow_json_int(options, "depth", 0, 64, &depth, error) || !flow_json_bool(options, "taper", &o.taper, error) ||
        !flow_steps_read(options, making, &d, error)) {
        return NULL;
    }
    o.depth = (int)depth;
    o.couplings = d.couplings;
    flow_layer *layer = flow_hint(d.D, d.C, d.transformer, &o, error);
    free(d.nets);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 9, C = D == 1 ? 2 : i % 3;
    const flow_hint_options o = {
        .depth = i % 4 == 3 ? 1 + i / 4 % 3 : 0, .taper = i % 5 == 1, .couplings = flow_steps_example(i)};
    return flow_hint(D, C, flow_steps_example_transformer(i, error), &o, error);
}

const flow_layer_type flow_hint_type = {.name = "hint",
                                        .structure = FLOW_AUTOREGRESSIVE,
                                        .normalize = flow_steps_normalize,
                                        .generate = flow_steps_generate,
                                        .describe = describe,
                                        .make = make,
                                        .example = example,
                                        .gauge = flow_steps_gauge};
