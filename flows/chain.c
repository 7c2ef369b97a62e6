// chain.c -- layers one after another: itself a layer.
#include <stdlib.h>

#include "internal.h"

typedef flow_layer_list chain;

int flow_chain_length(const flow_layer *layer) {
    return ((const chain *)layer)->n;
}
const flow_layer *flow_chain_at(const flow_layer *layer, int i) {
    return ((const chain *)layer)->layers[i];
}

// All layers' terms of log_det are passed on as they are, so that a model rounds their sum once.
static flow_result run(const chain *c, flow_direction direction, ad_var v, ad_var context) {
    flow_terms terms = {.n = 0};
    for (int k = 0; k < c->n; k++) {
        int i = direction == FLOW_NORMALIZE ? k : c->n - 1 - k;
        flow_result step = flow_record(c->layers[i], direction, i, v, context);
        flow_terms_add(&terms, step.log_det);
        v = step.value;
    }
    return (flow_result){v, flow_terms_join(&terms)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return run((const chain *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return run((const chain *)layer, FLOW_GENERATE, z, context);
}

// The layer that rows come to as number k.
static flow_layer *met(const chain *c, flow_direction direction, int k) {
    return c->layers[direction == FLOW_NORMALIZE ? k : c->n - 1 - k];
}

// Number of the last layer on the way that still wants to see data; -1: none.
static int last_uninitialised(const chain *c, flow_direction direction) {
    int k = c->n - 1;
    while (k >= 0 && met(c, direction, k)->initialised) k--;
    return k;
}

static void free_rows(const flow_rows *rows) {
    free((void *)(uintptr_t)rows->x.data);
    free((void *)(uintptr_t)rows->context.data);
}

// Rows after a layer: what it makes of them, and the context of the rows picked. data of both is owned.
static ad_status pass(const flow_layer *l, flow_direction direction, int64_t C, flow_rows *seen, int64_t n,
                      ad_error *error) {
    size_t D = (size_t)ad_shape_count(direction == FLOW_NORMALIZE ? l->z_shape : l->x_shape);
    double *z = calloc((size_t)n, D * sizeof *z);
    double *context = C ? calloc((size_t)n, (size_t)C * sizeof *context) : NULL;
    ad_status status = AD_OK;
    if (!z || (C && !context)) {
        status = ad_fail(error, AD_ENOMEM, "chain: out of memory for %lld rows", (long long)n);
    } else {
        status = flow_rows_map(l, direction, seen, z, error);
    }
    for (int64_t i = 0; status == AD_OK && i < n * C; i++) {
        int64_t r = i / C;
        context[i] = flow_source_get(&seen->context, C, seen->index ? seen->index[r] : r, i % C);
    }
    *seen = (flow_rows){.x = {.data = z, .type = AD_F64, .count = n},
                        .context = {.data = context, .type = AD_F64, .count = n}};
    return status;
}

// Each layer sees the rows as those before it leave them; nothing is computed after the last that wants to see any.
static ad_status init_along(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error) {
    chain *c = (chain *)layer;
    int last = last_uninitialised(c, direction);
    int64_t n = flow_rows_count(rows, layer->C, error);
    if (n < 0) return AD_EARG;
    flow_rows seen = *rows, before;
    ad_status status = AD_OK;
    for (int k = 0; k <= last && status == AD_OK; k++) {
        flow_layer *l = met(c, direction, k);
        status = flow_init_layer(l, direction, &seen, error);
        if (status != AD_OK || k == last) break;
        before = seen;
        status = pass(l, direction, layer->C, &seen, n, error);
        if (k > 0) free_rows(&before);
    }
    if (seen.x.data != rows->x.data) free_rows(&seen);
    return status;
}
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return init_along(layer, FLOW_NORMALIZE, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return init_along(layer, FLOW_GENERATE, rows, error);
}

static bool follows(const chain *c, int i, ad_error *error) {
    char got[96], want[96];
    if (i > 0 && c->layers[i]->discrete) {
        ad_fail(error, AD_EARG, "chain: layer %d (%s) takes whole numbers, so it has to be the first", i,
                c->layers[i]->type->name);
        return false;
    }
    if (i == 0 || ad_shape_equal(c->layers[i]->x_shape, c->layers[i - 1]->z_shape)) return true;
    ad_fail(error, AD_ESHAPE, "chain: layer %d (%s) takes %s, but layer %d (%s) gives %s", i, c->layers[i]->type->name,
            ad_shape_print(c->layers[i]->x_shape, want, sizeof want), i - 1, c->layers[i - 1]->type->name,
            ad_shape_print(c->layers[i - 1]->z_shape, got, sizeof got));
    return false;
}

flow_layer *flow_chain(flow_layer *const *layers, int n, ad_error *error) {
    chain *c = flow_layer_list_new(&flow_chain_type, layers, n, error);
    bool ok = c != NULL;
    for (int i = 0; ok && i < n; i++) ok = follows(c, i, error);
    if (!ok || !flow_layer_list_context(c, error)) {
        flow_layer_free(c ? &c->layer : NULL);
        return NULL;
    }
    c->layer.x_shape = c->layers[0]->x_shape;
    c->layer.low = c->layers[0]->low;
    c->layer.high = c->layers[0]->high;
    c->layer.discrete = c->layers[0]->discrete;
    c->layer.z_low = c->layers[c->n - 1]->z_low;
    c->layer.z_high = c->layers[c->n - 1]->z_high;
    c->layer.z_shape = c->layers[c->n - 1]->z_shape;
    return &c->layer;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_layer_list_make(options, making, flow_chain, error);
}

static flow_layer *example(int i, ad_error *error) {
    enum { MOST = 6 };
    int64_t D = 2 + i % 3, C = i % 3;
    int n = 1 + i % MOST;
    flow_layer *layers[MOST];
    for (int k = 0; k < n; k++) {
        flow_coupling_options o = {.keep = k % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST,
                                   .mlp = {.width = 8, .seed = (uint64_t)(i + k), .activation = FLOW_TANH}};
        layers[k] = k % 3 == 1   ? flow_random_permutation(D, (uint64_t)(i + k), error)
                    : k % 3 == 2 ? flow_standardise(D, NULL, error)
                                 : flow_affine_coupling(D, C, &o, error);
    }
    return flow_chain(layers, n, error);
}

const flow_layer_type flow_chain_type = {.name = "chain",
                                         .normalize = normalize,
                                         .generate = generate,
                                         .describe = flow_layer_list_describe,
                                         .make = make,
                                         .init = init,
                                         .init_back = init_back,
                                         .example = example};
