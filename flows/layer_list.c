// layer_list.c -- layers that consist of layers: owned, described, made again.
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

static void release(flow_owner *owner) {
    free(((flow_layer_list *)owner)->layers);
}

// Layers become parts "0", "1", ...; those from the first failure on are freed.
static bool adopt(flow_layer_list *list, flow_layer *const *layers, int n, ad_error *error) {
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%d", i);
        if (flow_add_part(&list->layer.owner, name, &layers[i]->owner, error)) {
            for (int k = i + 1; k < n; k++) flow_layer_free(layers[k]);  // layer i is freed already
            return false;
        }
        list->layers[list->n++] = layers[i];
    }
    return true;
}

flow_layer_list *flow_layer_list_new(const flow_layer_type *type, flow_layer *const *layers, int n, ad_error *error) {
    int missing = n < 1;
    for (int i = 0; i < n; i++) missing += layers[i] == NULL;
    if (n < 1) ad_fail(error, AD_EARG, "%s: no layers", type->name);
    flow_layer_list *list = missing ? NULL : flow_layer_new(type, sizeof *list, 1, 0, error);
    if (list) list->layers = calloc((size_t)n, sizeof(flow_layer *));
    if (!list || !list->layers) {
        if (list) ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
        for (int i = 0; i < n; i++) flow_layer_free(layers[i]);
        flow_layer_free(list ? &list->layer : NULL);
        return NULL;
    }
    list->layer.owner.release = release;
    if (adopt(list, layers, n, error)) return list;
    flow_layer_free(&list->layer);
    return NULL;
}

bool flow_layer_list_context(flow_layer_list *list, ad_error *error) {
    list->layer.initialised = true;
    for (int i = 0; i < list->n; i++) {
        const flow_layer *l = list->layers[i];
        if (l->C && list->layer.C && l->C != list->layer.C) {
            ad_fail(error, AD_ESHAPE, "%s: layer %d (%s) takes a context of %lld, one before it of %lld",
                    list->layer.type->name, i, l->type->name, (long long)l->C, (long long)list->layer.C);
            return false;
        }
        if (l->C) list->layer.C = l->C;
        if (!l->initialised) list->layer.initialised = false;
    }
    return true;
}

json_t *flow_layer_list_describe(const flow_layer *layer) {
    const flow_layer_list *list = (const flow_layer_list *)layer;
    json_t *all = json_array();
    for (int i = 0; all && i < list->n; i++) {
        if (json_array_append_new(all, flow_describe_layer(list->layers[i])) == 0) continue;
        json_decref(all);
        all = NULL;
    }
    return json_pack("{s:o}", "layers", all);
}

flow_layer *flow_layer_list_make(const json_t *options, const flow_making *making,
                                 flow_layer *(*constructor)(flow_layer *const *layers, int n, ad_error *error),
                                 ad_error *error) {
    const json_t *all = json_object_get(options, "layers");
    size_t n = json_array_size(all);
    if (n < 1 || n > 100000) {
        ad_fail(error, AD_EFORMAT, "\"layers\" should be a list of 1 to 100000 layers");
        return NULL;
    }
    flow_layer **layers = calloc(n, sizeof *layers);
    if (!layers) {
        ad_fail(error, AD_ENOMEM, "out of memory for %lld layers", (long long)n);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        layers[i] = flow_make_layer(json_array_get(all, i), making, error);
        if (!layers[i]) break;  // the constructor frees the others and fails
    }
    flow_layer *layer = constructor(layers, (int)n, error);
    free(layers);
    return layer;
}
