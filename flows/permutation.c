// permutation.c -- features reordered, so that couplings reach all of them.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct permutation {
    flow_layer layer;
    int64_t *order, *inverse;  // z[i] = x[order[i]], x[i] = z[inverse[i]]
} permutation;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    return (flow_result){ad_take(x, 0, ((const permutation *)layer)->order, layer->x_shape.dim[0]), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    return (flow_result){ad_take(z, 0, ((const permutation *)layer)->inverse, layer->x_shape.dim[0]), AD_NONE};
}

static void release(flow_owner *owner) {
    permutation *p = (permutation *)owner;
    free(p->order);
    free(p->inverse);
}

// False when order is not a permutation of 0..D-1.
static bool invert(const int64_t *order, int64_t D, int64_t *inverse) {
    for (int64_t i = 0; i < D; i++) inverse[i] = -1;
    for (int64_t i = 0; i < D; i++) {
        if (order[i] < 0 || order[i] >= D || inverse[order[i]] >= 0) return false;
        inverse[order[i]] = i;
    }
    return true;
}

flow_layer *flow_permutation(int64_t D, const int64_t *order, ad_error *error) {
    permutation *p = flow_layer_new(&flow_permutation_type, sizeof *p, D, 0, error);
    if (!p) return NULL;
    p->layer.owner.release = release;
    p->order = malloc((size_t)D * sizeof *p->order);
    p->inverse = malloc((size_t)D * sizeof *p->inverse);
    if (!p->order || !p->inverse) {
        ad_fail(error, AD_ENOMEM, "permutation: out of memory");
    } else {
        for (int64_t i = 0; i < D; i++) p->order[i] = order ? order[i] : D - 1 - i;
        if (invert(p->order, D, p->inverse)) return &p->layer;
        ad_fail(error, AD_EARG, "permutation: the order does not hold each of 0 to %lld once", (long long)(D - 1));
    }
    flow_layer_free(&p->layer);
    return NULL;
}

flow_layer *flow_random_permutation(int64_t D, uint64_t seed, ad_error *error) {
    int64_t *order = D > 0 && D <= FLOW_MAX_FEATURES ? malloc((size_t)D * sizeof *order) : NULL;
    if (!order) {
        ad_fail(error, D > 0 && D <= FLOW_MAX_FEATURES ? AD_ENOMEM : AD_EARG, "permutation of %lld features",
                (long long)D);
        return NULL;
    }
    for (int64_t i = 0; i < D; i++) {  // inside out: element i goes to a place j <= i
        int64_t j = (int64_t)(flow_random(&seed) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    flow_layer *layer = flow_permutation(D, order, error);
    free(order);
    return layer;
}

static json_t *describe(const flow_layer *layer) {
    int64_t D = layer->x_shape.dim[0];
    return json_pack("{s:I, s:o}", "features", (json_int_t)D, "order",
                     flow_json_list(((const permutation *)layer)->order, D));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t D;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error)) return NULL;
    const json_t *list = json_object_get(options, "order");
    if (json_array_size(list) != (size_t)D) {
        ad_fail(error, AD_EFORMAT, "permutation: \"order\" should be a list of %lld numbers", (long long)D);
        return NULL;
    }
    int64_t *order = malloc((size_t)D * sizeof *order);
    if (!order) {
        ad_fail(error, AD_ENOMEM, "permutation: out of memory");
        return NULL;
    }
    for (int64_t i = 0; i < D; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        order[i] = json_is_integer(item) ? json_integer_value(item) : -1;
    }
    flow_layer *layer = flow_permutation(D, order, error);
    free(order);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    int64_t D = 1 + i % 6;
    return i % 2 ? flow_random_permutation(D, (uint64_t)i, error) : flow_permutation(D, NULL, error);
}

const flow_layer_type flow_permutation_type = {.name = "permutation",
                                               .structure = FLOW_ORTHOGONAL,
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = describe,
                                               .make = make,
                                               .example = example};
