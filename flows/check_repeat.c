// check_repeat.c -- a layer under test does the same again: run twice, on two threads, and made from its description.
#include <stdlib.h>
#include <string.h>

#include "check.h"

// ---- states
// -----------------------------------------------------------------------------------------------------------

// The first state whose bytes are not those at *at, or NULL; with copy they are copied there instead. Moves *at on.
static const ad_state *compare_states(const flow_owner *owner, char **at, bool copy) {
    const ad_state *changed = NULL;
    for (int i = 0; i < owner->n_states; i++) {
        const ad_state *s = owner->states[i];
        size_t bytes = (size_t)s->count * ad_type_size(s->type);
        if (copy) {
            memcpy(*at, s->data, bytes);
        } else if (!changed && memcmp(*at, s->data, bytes) != 0) {
            changed = s;
        }
        *at += bytes;
    }
    for (int i = 0; i < owner->n_parts; i++) {
        const ad_state *inner = compare_states(owner->parts[i].owner, at, copy);
        if (!changed) changed = inner;
    }
    return changed;
}

static size_t state_bytes(const flow_owner *owner) {
    size_t n = 0;
    for (int i = 0; i < owner->n_states; i++) {
        n += (size_t)owner->states[i]->count * ad_type_size(owner->states[i]->type);
    }
    for (int i = 0; i < owner->n_parts; i++) n += state_bytes(owner->parts[i].owner);
    return n;
}

// ---- twice
// --------------------------------------------------------------------------------------------------------------

// Values and log_dets of two runs, n rows each.
typedef struct pair {
    check_values first, second;
    double *memory;
} pair;

static bool make_pair(pair *p, const checking *c, int n) {
    size_t each = (size_t)n * (size_t)(c->D + 1);
    double *m = p->memory = calloc(2 * each, sizeof *m);
    if (!m) return false;
    p->first = (check_values){m, m + (size_t)n * (size_t)c->D, NULL};
    p->second = (check_values){m + each, m + each + (size_t)n * (size_t)c->D, NULL};
    return true;
}

// NULL when all bits are equal, else what differs.
static const char *difference(const checking *c, const pair *p, int n) {
    if (memcmp(p->first.value, p->second.value, (size_t)n * (size_t)c->D * sizeof(double)) != 0) return "value";
    return memcmp(p->first.log_det, p->second.log_det, (size_t)n * sizeof(double)) != 0 ? "log_det" : NULL;
}

static ad_status run_twice(checking *c, flow_direction direction, const double *in, pair *p, char *states) {
    char *at = states;
    compare_states(&c->layer->owner, &at, true);
    ad_status status = check_run(c, direction, in, c->context, 0, c->B, &p->first);
    at = states;
    const ad_state *changed = compare_states(&c->layer->owner, &at, false);
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, &p->second);
    if (status != AD_OK) return status;
    const char *what = difference(c, p, c->B);
    if (changed) {
        return ad_fail(
            c->error, AD_EARG,
            "%s: running %s changes its state '%s', though the tape is not training: what it gives depends on "
            "what it has seen before",
            c->name, check_direction(direction), changed->name);
    }
    if (!what) return AD_OK;
    return ad_fail(
        c->error, AD_EARG,
        "%s: %s run again on the same rows gives another %s: it depends on something beside rows, context and "
        "its tensors",
        c->name, check_direction(direction), what);
}

ad_status check_again(checking *c, flow_direction direction) {
    pair p = {.memory = NULL};
    char *states = malloc(state_bytes(&c->layer->owner) + 1);
    ad_status status =
        states && make_pair(&p, c, c->B) ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK) status = run_twice(c, direction, direction == FLOW_NORMALIZE ? c->x : c->z, &p, states);
    free(states);
    free(p.memory);
    return status;
}

// ---- threads
// ------------------------------------------------------------------------------------------------------------

enum { MANY = 150 };  // rows, enough for several blocks

// The rows of the case, over and over.
static double *repeat_rows(const double *rows, int B, int64_t width) {
    double *many = calloc((size_t)MANY * (size_t)width + 1, sizeof *many);
    for (int64_t i = 0; many && i < MANY * width; i++) many[i] = rows[i % (B * width)];
    return many;
}

static ad_status on_threads(checking *c, flow_direction direction, int threads, const double *in, const double *context,
                            const check_values *out) {
    ad_tape *own = c->tape;
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = threads}, c->error);
    c->tape = engine ? ad_tape_new(engine, AD_F64) : NULL;
    ad_status status = c->tape ? check_run(c, direction, in, context, 0, MANY, out)
                               : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    ad_tape_free(c->tape);
    ad_engine_free(engine);
    c->tape = own;
    return status;
}

ad_status check_threads(checking *c, flow_direction direction) {
    pair p = {.memory = NULL};
    double *in = repeat_rows(direction == FLOW_NORMALIZE ? c->x : c->z, c->B, c->D);
    double *context = repeat_rows(c->context, c->B, c->C);
    ad_status status =
        in && context && make_pair(&p, c, MANY) ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK) status = on_threads(c, direction, 1, in, context, &p.first);
    if (status == AD_OK) status = on_threads(c, direction, 2, in, context, &p.second);
    if (status == AD_OK && difference(c, &p, MANY)) {
        status = ad_fail(c->error, AD_EARG, "%s: %s gives other bits of its %s on two threads than on one", c->name,
                         check_direction(direction), difference(c, &p, MANY));
    }
    free(in);
    free(context);
    free(p.memory);
    return status;
}

// ---- described and made again
// -------------------------------------------------------------------------------------------

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

static ad_status compare_copy(checking *c, flow_layer *copy, flow_direction direction, pair *p) {
    flow_layer *own = c->layer;
    const double *in = direction == FLOW_NORMALIZE ? c->x : c->z;
    ad_status status = check_run(c, direction, in, c->context, 0, c->B, &p->first);
    c->layer = copy;
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, &p->second);
    c->layer = own;
    if (status != AD_OK || !difference(c, p, c->B)) return status;
    return ad_fail(
        c->error, AD_EARG,
        "%s: made again from its description, with the same tensors, %s gives another %s: describe or make lose "
        "an option",
        c->name, check_direction(direction), difference(c, p, c->B));
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
    pair p = {.memory = NULL};
    ad_status status = make_pair(&p, c, c->B) ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK && !check_copy_tensors(&c->layer->owner, &copy->owner)) {
        status = ad_fail(c->error, AD_EARG, "%s: made again from its description it has other tensors", c->name);
    }
    if (status == AD_OK) status = compare_copy(c, copy, FLOW_NORMALIZE, &p);
    if (status == AD_OK) status = compare_copy(c, copy, FLOW_GENERATE, &p);
    free(p.memory);
    flow_layer_free(copy);
    return status;
}
