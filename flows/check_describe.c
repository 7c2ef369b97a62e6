// check_describe.c -- a layer under test made again from its description is the same layer.
#include <stdlib.h>
#include <string.h>

#include "check.h"

// Tensors of one owner to the other's; false when names, shapes or types differ.
bool check_copy_tensors(const flow_owner *from, const flow_owner *to) {
    if (from->n_params != to->n_params || from->n_states != to->n_states || from->n_parts != to->n_parts) return false;
    for (int i = 0; i < from->n_params; i++) {
        const ad_param *a = from->params[i], *b = to->params[i];
        if (strcmp(a->name, b->name) != 0 || !ad_shape_equal(a->shape, b->shape) || a->type != b->type) return false;
        memcpy(b->data, a->data, (size_t)a->count * ad_type_size(a->type));
    }
    for (int i = 0; i < from->n_states; i++) {
        const ad_state *a = from->states[i], *b = to->states[i];
        if (strcmp(a->name, b->name) != 0 || !ad_shape_equal(a->shape, b->shape) || a->type != b->type) return false;
        memcpy(b->data, a->data, (size_t)a->count * ad_type_size(a->type));
    }
    for (int i = 0; i < from->n_parts; i++) {
        if (strcmp(from->parts[i].name, to->parts[i].name) != 0) return false;
        if (!check_copy_tensors(from->parts[i].owner, to->parts[i].owner)) return false;
    }
    return true;
}

// The types of a layer and, in a chain, of those inside; n of them so far. types NULL: counts only.
static size_t list_types(const flow_layer *layer, const flow_layer_type **types, size_t n) {
    if (types) types[n] = layer->type;
    n++;
    for (int i = 0; layer->type == &flow_chain_type && i < flow_chain_length(layer); i++) {
        n = list_types(flow_chain_at(layer, i), types, n);
    }
    return n;
}

// They count as given, before those of the options.
const flow_layer_type **check_known_types(const flow_layer *layer, const flow_load_options *load) {
    size_t n = list_types(layer, NULL, 0), more = 0;
    const flow_layer_type *const *given = load ? load->types : NULL;
    while (given && given[more]) more++;
    const flow_layer_type **types = calloc(n + more + 1, sizeof *types);
    if (!types) return NULL;
    list_types(layer, types, 0);
    for (size_t i = 0; i < more; i++) types[n + i] = given[i];
    return types;
}

// Through text, as a file has it.
static flow_layer *made_again(const checking *c, ad_error *error) {
    const flow_load_options none = {.types = NULL}, o = c->o.load ? *c->o.load : none;
    const flow_layer_type **types = check_known_types(c->layer, c->o.load);
    flow_making making = {types, o.nets, o.bases, NULL, o.transformers};
    json_t *described = flow_describe_layer(c->layer);
    char *text = described ? json_dumps(described, JSON_COMPACT) : NULL;
    json_t *read = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    flow_layer *copy = NULL;
    if (read && types) {
        copy = flow_make_layer(read, &making, error);
    } else {
        ad_fail(error, AD_ENOMEM, "describe gives no JSON object, which it should for want of memory only");
    }
    json_decref(read);
    json_decref(described);
    free(text);
    free(types);
    return copy;
}

static ad_status compare_copy(checking *c, flow_layer *copy, flow_direction direction, check_pair *p) {
    flow_layer *own = c->layer;
    const double *in = direction == FLOW_NORMALIZE ? c->x : c->z;
    ad_status status = check_run(c, direction, in, c->context, 0, c->B, &p->first);
    c->layer = copy;
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, &p->second);
    c->layer = own;
    if (status != AD_OK || !check_difference(c, p, c->B)) return status;
    return ad_fail(
        c->error, AD_EARG,
        "%s: made again from its description, with the same tensors, %s gives another %s: describe or make lose "
        "an option",
        c->name, check_direction(direction), check_difference(c, p, c->B));
}

ad_status check_description(checking *c) {
    const flow_layer_type *type = c->layer->type;
    const bool derived = type->derived != NULL;  // described and made by the library
    if (!derived && !type->describe && !type->make) return AD_OK;
    if (!derived && (!type->describe || !type->make)) {
        return ad_fail(c->error, AD_EARG, "%s: it can be %s, but the type has no %s", c->name,
                       type->describe ? "described" : "made", type->describe ? "make" : "describe");
    }
    ad_error inner = {AD_OK, ""};
    flow_layer *copy = made_again(c, &inner);
    if (!copy) {
        return ad_fail(c->error, inner.status == AD_ENOMEM ? AD_ENOMEM : AD_EARG,
                       "%s: it cannot be made again from its description: %s", c->name, inner.message);
    }
    check_pair p = {.memory = NULL};
    ad_status status = check_make_pair(&p, c, c->B) ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK && !check_copy_tensors(&c->layer->owner, &copy->owner)) {
        status = ad_fail(c->error, AD_EARG, "%s: made again from its description it has other tensors", c->name);
    }
    if (status == AD_OK) status = compare_copy(c, copy, FLOW_NORMALIZE, &p);
    if (status == AD_OK) status = compare_copy(c, copy, FLOW_GENERATE, &p);
    free(p.memory);
    flow_layer_free(copy);
    return status;
}
