// owner.c -- what owns tensors: adding, freeing.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// Room for one more pointer-sized item after n.
static bool grow(void *array, int n, size_t size) {
    void **p = array;
    if (n & (n - 1)) return true;  // grows at 0, 1, 2, 4, 8, ...
    void *larger = realloc(*p, (n ? 2 * (size_t)n : 1) * size);
    if (larger) *p = larger;
    return larger != NULL;
}

static bool name_taken(const flow_owner *owner, const char *name) {
    for (int i = 0; i < owner->n_params; i++) {
        if (strcmp(owner->params[i]->name, name) == 0) return true;
    }
    for (int i = 0; i < owner->n_states; i++) {
        if (strcmp(owner->states[i]->name, name) == 0) return true;
    }
    for (int i = 0; i < owner->n_parts; i++) {
        if (strcmp(owner->parts[i].name, name) == 0) return true;
    }
    return false;
}

// The dot separates names in files, so that a name with one could mean two tensors.
static ad_status check_name(const flow_owner *owner, const char *name, ad_error *error) {
    if (!name || !*name || strchr(name, '.')) {
        return ad_fail(error, AD_EARG, "flow: tensor name '%s' is empty or has a dot", name ? name : "");
    }
    if (name_taken(owner, name)) return ad_fail(error, AD_EARG, "flow: the name '%s' is taken in this layer", name);
    return AD_OK;
}

static void *out_of_memory(ad_error *error) {
    ad_fail(error, AD_ENOMEM, "flow: out of memory");
    return NULL;
}

ad_param *flow_add_param(flow_owner *owner, const char *name, ad_type type, ad_shape shape, ad_error *error) {
    if (check_name(owner, name, error)) return NULL;
    if (!grow(&owner->params, owner->n_params, sizeof *owner->params)) return out_of_memory(error);
    ad_param *param = ad_param_new(name, type, shape, error);
    if (param) owner->params[owner->n_params++] = param;
    return param;
}

ad_state *flow_add_state(flow_owner *owner, const char *name, ad_type type, ad_shape shape, ad_error *error) {
    if (check_name(owner, name, error)) return NULL;
    if (!grow(&owner->states, owner->n_states, sizeof *owner->states)) return out_of_memory(error);
    ad_state *state = ad_state_new(name, type, shape, error);
    if (state) owner->states[owner->n_states++] = state;
    return state;
}

ad_status flow_add_part(flow_owner *owner, const char *name, flow_owner *part, ad_error *error) {
    ad_status status = check_name(owner, name, error);
    char *copy = status == AD_OK ? strdup(name) : NULL;
    if (copy && grow(&owner->parts, owner->n_parts, sizeof *owner->parts)) {
        owner->parts[owner->n_parts++] = (flow_part){copy, part};
        return AD_OK;
    }
    free(copy);
    flow_owner_free(part);
    if (status == AD_OK) status = ad_fail(error, AD_ENOMEM, "flow: out of memory");
    return status;
}

void flow_owner_free(flow_owner *owner) {
    if (!owner) return;
    for (int i = 0; i < owner->n_parts; i++) {
        flow_owner_free(owner->parts[i].owner);
        free(owner->parts[i].name);
    }
    for (int i = 0; i < owner->n_params; i++) ad_param_free(owner->params[i]);
    for (int i = 0; i < owner->n_states; i++) ad_state_free(owner->states[i]);
    if (owner->release) owner->release(owner);
    free(owner->parts);
    free(owner->params);
    free(owner->states);
    free(owner);
}
