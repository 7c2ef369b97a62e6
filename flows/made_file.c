// made_file.c -- masked autoregressive nets as JSON, and back.
#include <stdlib.h>

#include "made.h"

// For each feature the list of those that it sees; null: all before it in the order.
static json_t *list_parents(const flow_made_net *m) {
    if (!m->sees) return json_null();
    json_t *all = json_array();
    for (int64_t d = 0; all && d < m->D; d++) {
        json_t *list = json_array();
        for (int64_t e = 0; e < m->D; e++) {
            if (flow_made_sees(m, d, e)) json_array_append_new(list, json_integer(e));
        }
        if (json_array_append_new(all, list) == 0) continue;
        json_decref(all);
        all = NULL;
    }
    return all;
}

json_t *flow_made_describe(const flow_net *net) {
    const flow_made_net *m = (const flow_made_net *)net;
    return json_pack("{s:I, s:I, s:I, s:b, s:i, s:I, s:s, s:s, s:o, s:o}", "features", (json_int_t)m->D, "context",
                     (json_int_t)m->C, "outputs", (json_int_t)m->P, "residual", m->residual, "layers", m->layers,
                     "width", (json_int_t)m->width, "activation", flow_activation_names[m->activation], "precision",
                     flow_type_text(m->type), "order", m->sees ? json_null() : flow_json_list(m->order, m->D),
                     "parents", list_parents(m));
}

// At most 2^60 with all at their bounds.
static int64_t count_elements(const flow_made_net *m) {
    const int64_t in = m->D + m->C + 1, out = m->D * m->P;
    if (!flow_made_has_hidden(m)) return in * out;
    return in * m->width + (flow_made_maps(m) - 2) * (m->width + 1) * m->width + (m->width + 1) * out;
}

// The list "order" of D numbers, which the caller frees; NULL and a message.
static int64_t *read_order(const json_t *options, int64_t D, ad_error *error) {
    const json_t *list = json_object_get(options, "order");
    if (json_array_size(list) != (size_t)D) {
        ad_fail(error, AD_EFORMAT, "made: \"order\" should be a list of %lld numbers", (long long)D);
        return NULL;
    }
    int64_t *order = malloc((size_t)D * sizeof *order);
    if (!order) ad_fail(error, AD_ENOMEM, "made: out of memory");
    for (int64_t i = 0; order && i < D; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        order[i] = json_is_integer(item) ? json_integer_value(item) : -1;
    }
    return order;
}

// The lists "parents" as adjacency [D][D], which the caller frees; NULL and a message.
static bool *read_parents(const json_t *list, int64_t D, ad_error *error) {
    bool fits = D <= FLOW_MADE_MOST_ADJACENT && json_array_size(list) == (size_t)D;
    bool *adjacency = fits ? calloc((size_t)(D * D), sizeof *adjacency) : NULL;
    for (int64_t d = 0; adjacency && fits && d < D; d++) {
        const json_t *of = json_array_get(list, (size_t)d);
        fits = json_is_array(of);
        for (size_t i = 0; fits && i < json_array_size(of); i++) {
            const json_t *item = json_array_get(of, i);
            const json_int_t e = json_integer_value(item);
            fits = json_is_integer(item) && e >= 0 && e < D;
            if (fits) adjacency[d * D + e] = true;
        }
    }
    if (fits && adjacency) return adjacency;
    ad_fail(error, fits ? AD_ENOMEM : AD_EFORMAT, "made: \"parents\" should be %lld lists of features (at most %d)",
            (long long)D, FLOW_MADE_MOST_ADJACENT);
    free(adjacency);
    return NULL;
}

static bool read_sizes(const json_t *options, flow_made_net *m, ad_error *error) {
    int64_t layers;
    int activation;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &m->D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &m->C, error) ||
        !flow_json_int(options, "outputs", 1, FLOW_MAX_FEATURES / m->D, &m->P, error) ||
        !flow_json_bool(options, "residual", &m->residual, error) ||
        !flow_json_int(options, "layers", 0, FLOW_MADE_MOST_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &m->width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &m->type, error)) {
        return false;
    }
    m->layers = (int)layers;
    m->activation = (flow_activation)activation;
    return true;
}

flow_net *flow_made_make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_made_net m = {.D = 1};
    const json_t *parents = json_object_get(options, "parents");
    const bool ordered = json_is_null(parents);
    if (!read_sizes(options, &m, error)) return NULL;
    const int64_t n = count_elements(&m);  // a mask is as large as its matrix
    if (!flow_take_elements(making, n, error)) return NULL;
    int64_t *order = ordered ? read_order(options, m.D, error) : NULL;
    bool *adjacency = ordered ? NULL : read_parents(parents, m.D, error);
    flow_made_options o = {.mlp = {.layers = m.layers ? m.layers : -1,
                                   .width = m.width,
                                   .activation = m.activation,
                                   .zero_last = true,
                                   .type = m.type},
                           .order = order,
                           .adjacency = adjacency,
                           .residual = m.residual};
    flow_net *net = order || adjacency ? flow_made(m.D, m.C, m.P, &o, error) : NULL;
    free(order);
    free(adjacency);
    return net;
}
