// split.c -- different layers on different features, side by side.
#include "internal.h"

static flow_result run(const flow_layer_list *s, flow_direction direction, ad_var v, ad_var context) {
    flow_terms terms = {.n = 0};
    ad_var whole = AD_NONE;
    int64_t from = 0;
    for (int i = 0; i < s->n; i++) {
        const flow_layer *l = s->layers[i];
        const int64_t n = direction == FLOW_NORMALIZE ? l->x_shape.dim[0] : l->z_shape.dim[0];
        flow_result r = flow_record(s->layers[i], direction, i, ad_slice(v, 0, from, n), context);
        ad_var both[2] = {whole, r.value};
        whole = i ? ad_concat(both, 2, 0) : r.value;
        flow_terms_add(&terms, r.log_det);
        from += n;
    }
    return (flow_result){whole, flow_terms_join(&terms)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return run((const flow_layer_list *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return run((const flow_layer_list *)layer, FLOW_GENERATE, z, context);
}

// Each layer sees its own columns.
static ad_status init_along(flow_layer *layer, flow_direction direction, const flow_rows *rows, ad_error *error) {
    flow_layer_list *s = (flow_layer_list *)layer;
    const bool there = direction == FLOW_NORMALIZE;
    flow_rows seen = *rows;
    const size_t size = ad_type_size(rows->x.type);
    if (flow_rows_count(rows, layer->C, error) < 0) return AD_EARG;
    if (seen.x.row_stride == 0) seen.x.row_stride = (size_t)(there ? layer->x_shape : layer->z_shape).dim[0] * size;
    for (int i = 0; i < s->n; i++) {
        flow_layer *l = s->layers[i];
        ad_status status = flow_init_layer(l, direction, &seen, error);
        if (status != AD_OK) return status;
        seen.x.data = (const char *)seen.x.data + (size_t)(there ? l->x_shape : l->z_shape).dim[0] * size;
    }
    return AD_OK;
}
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return init_along(layer, FLOW_NORMALIZE, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return init_along(layer, FLOW_GENERATE, rows, error);
}

static bool shapes_ok(flow_layer_list *s, ad_error *error) {
    char x[96], z[96];
    int64_t D = 0, K = 0;
    for (int i = 0; i < s->n; i++) {
        const flow_layer *l = s->layers[i];
        if (l->x_shape.rank != 1 || l->z_shape.rank != 1) {
            ad_fail(error, AD_ESHAPE, "split: layer %d (%s) takes %s to %s, expected [n] to [m]", i, l->type->name,
                    ad_shape_print(l->x_shape, x, sizeof x), ad_shape_print(l->z_shape, z, sizeof z));
            return false;
        }
        D += l->x_shape.dim[0];
        K += l->z_shape.dim[0];
    }
    if (D > FLOW_MAX_FEATURES) ad_fail(error, AD_ESHAPE, "split: %lld features, expected at most 2^24", (long long)D);
    s->layer.x_shape = ad_shape1(D);
    s->layer.z_shape = ad_shape1(K);
    return D <= FLOW_MAX_FEATURES;
}

static bool ranges_ok(flow_layer_list *s, ad_error *error) {
    flow_layer *whole = &s->layer;
    for (int i = 0; i < s->n; i++) {
        const flow_layer *l = s->layers[i];
        if (!l->discrete && flow_narrow(&whole->low, &whole->high, l->low, l->high) &&
            flow_narrow(&whole->z_low, &whole->z_high, l->z_low, l->z_high)) {
            continue;
        }
        ad_fail(
            error, AD_EARG, "split: layer %d (%s) is %s", i, l->type->name,
            l->discrete ? "for whole numbers, and first of a chain only" : "for another range than those before it");
        return false;
    }
    return true;
}

flow_layer *flow_split(flow_layer *const *layers, int n, ad_error *error) {
    flow_layer_list *s = flow_layer_list_new(&flow_split_type, layers, n, error);
    if (!s || !shapes_ok(s, error) || !ranges_ok(s, error) || !flow_layer_list_context(s, error)) {
        flow_layer_free(s ? &s->layer : NULL);
        return NULL;
    }
    return &s->layer;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_layer_list_make(options, making, flow_split, error);
}

static flow_layer *example(int i, ad_error *error) {
    const int n = 1 + i % 3;
    flow_layer *layers[3];
    for (int k = 0; k < n; k++) {
        flow_coupling_options o = {
            .mlp = {.layers = 1, .width = 5, .activation = FLOW_TANH, .seed = (uint64_t)(i + k)}};
        layers[k] = (i + k) % 3 == 0   ? flow_affine_coupling(2, i % 2, &o, error)
                    : (i + k) % 3 == 1 ? flow_elementwise_type.example(3 * 6 * i + k, error)
                                       : flow_standardise(1, NULL, error);
    }
    return flow_split(layers, n, error);
}

const flow_layer_type flow_split_type = {.name = "split",
                                         .normalize = normalize,
                                         .generate = generate,
                                         .describe = flow_layer_list_describe,
                                         .make = make,
                                         .init = init,
                                         .init_back = init_back,
                                         .example = example};
