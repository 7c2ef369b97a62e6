// derive_file.c -- derived layers described, and made again from their description.
#include <stdlib.h>

#include "derive.h"

// ---- to JSON -------------------------------------------------------------------------------------------------------

static json_t *describe_numbers(const derived *d) {
    json_t *object = json_object();
    for (int i = 0; object && i < FLOW_NUMBERS; i++) {
        const char *name = d->form->numbers[i].name;
        if (name && json_object_set_new(object, name, json_real(d->numbers[i])) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

json_t *flow_derived_describe(const flow_layer *layer) {
    const derived *d = derive_of(layer);
    int64_t D = layer->x_shape.dim[0];
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:s, s:o, s:o}", "features", (json_int_t)D, "context",
                     (json_int_t)layer->C, "kept", (json_int_t)d->kept, "rank", (json_int_t)d->rank, "order",
                     d->order ? flow_json_list(d->order, D) : json_null(), "precision", flow_type_text(d->type),
                     "options", describe_numbers(d), "conditioner", d->net ? flow_describe_net(d->net) : json_null());
}

// ---- from JSON -----------------------------------------------------------------------------------------------------

static bool read_order(const flow_layer_type *type, const json_t *options, int64_t D, int64_t **order,
                       ad_error *error) {
    const json_t *list = json_object_get(options, "order");
    *order = NULL;
    if (json_is_null(list)) return true;
    if (json_array_size(list) != (size_t)D) {
        ad_fail(error, AD_EFORMAT, "%s: \"order\" should be null or a list of %lld features", type->name, (long long)D);
        return false;
    }
    *order = malloc((size_t)D * sizeof **order);
    if (!*order) ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
    for (int64_t k = 0; *order && k < D; k++) {
        const json_t *at = json_array_get(list, (size_t)k);
        (*order)[k] = json_is_integer(at) ? (int64_t)json_integer_value(at) : -1;
    }
    return *order != NULL;
}

// Each option of the derivation, ended by a NULL name.
static bool read_numbers(const flow_layer_type *type, const json_t *options, flow_number *numbers, ad_error *error) {
    const json_t *object = json_object_get(options, "options"), *value;
    int n = 0;
    for (int i = 0; i < FLOW_NUMBERS; i++) {
        const char *name = type->derived->numbers[i].name;
        if (!name) continue;
        if (!json_is_number(value = json_object_get(object, name))) {
            ad_fail(error, AD_EFORMAT, "%s: \"%s\" of \"options\" should be a number", type->name, name);
            return false;
        }
        numbers[n++] = (flow_number){name, json_number_value(value)};
    }
    numbers[n].name = NULL;
    return true;
}

// The conditioner described, when it is one of these sizes. NULL with *ok true: none.
static flow_net *read_conditioner(const flow_layer_type *type, const json_t *options, const int64_t *sizes,
                                  const flow_making *making, bool *ok, ad_error *error) {
    const json_t *described = json_object_get(options, "conditioner");
    int64_t D = sizes[0], C = sizes[1], kept = sizes[2], P = type->derived->conditioner;
    bool ordered = type->derived->structure == FLOW_AUTOREGRESSIVE, wanted = P > 0 && (ordered || kept + C > 0);
    *ok = !wanted && json_is_null(described);
    if (*ok) return NULL;
    flow_net *net = wanted ? flow_make_net(described, making, error) : NULL;
    *ok = net && (ordered ? flow_is_made(net, D, C, P) : net->in == kept + C && net->out == (D - kept) * P);
    if (*ok) return net;
    if (net || !wanted) ad_fail(error, AD_EFORMAT, "%s: \"conditioner\" is not of this layer's sizes", type->name);
    flow_net_free(net);
    return NULL;
}

static int64_t elements_of(const flow_derivation *form, int64_t D, int64_t C, int64_t rank) {
    const int64_t sizes[] = {0, D, D, C, rank};
    int64_t total = D + C;
    for (int i = 0; i < FLOW_TENSOR_FORMS; i++) {
        const int64_t *dim = form->tensors[i].dim;
        double n = form->tensors[i].name ? 1 : 0;
        for (int k = 0; k < 3 && dim[k]; k++)
            n *= (double)(dim[k] < 0 && dim[k] >= FLOW_DIM_RANK ? sizes[-dim[k]] : dim[k]);
        if (!dim[0]) n *= (double)D;
        if (n > (double)INT32_MAX) return INT64_MAX;
        total += (int64_t)n;
    }
    return total;
}

flow_layer *flow_derived_make(const flow_layer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    const flow_derivation *form = type->derived;
    flow_derive_options o = {.order = NULL};
    flow_number numbers[FLOW_NUMBERS + 1];
    int64_t D, C, kept, rank, *order = NULL;
    const bool part = form->structure == FLOW_COUPLING, low = form->structure == FLOW_LOW_RANK;
    bool ok = flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) &&
              flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) &&
              flow_json_int(options, "kept", part && D > 1, part ? D - 1 : 0, &kept, error) &&
              flow_json_int(options, "rank", low, low ? DERIVE_MOST : 0, &rank, error) &&
              flow_json_type(options, &o.type, error) && read_numbers(type, options, numbers, error) &&
              flow_take_elements(making, elements_of(form, D, C, rank), error) &&
              read_order(type, options, D, &order, error);
    const int64_t sizes[] = {D, C, kept};
    flow_net *net = ok ? read_conditioner(type, options, sizes, making, &ok, error) : NULL;
    o.order = order;
    o.split = kept;
    o.rank = rank;
    o.numbers = numbers;
    flow_layer *layer = ok ? derive_make(type, D, C, &o, net, error) : NULL;
    free(order);
    return layer;
}
