// check_repeat.c -- a layer under test does the same again: run twice, and on two threads.
#include <stdlib.h>
#include <string.h>

#include "check.h"

// ---- states --------------------------------------------------------------------------------------------------------

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

// ---- twice ---------------------------------------------------------------------------------------------------------

bool check_make_pair(check_pair *p, const checking *c, int n) {
    size_t each = (size_t)n * (size_t)(c->D + 1);
    double *m = p->memory = calloc(2 * each, sizeof *m);
    if (!m) return false;
    p->first = (check_values){m, m + (size_t)n * (size_t)c->D, NULL};
    p->second = (check_values){m + each, m + each + (size_t)n * (size_t)c->D, NULL};
    return true;
}

const char *check_difference(const checking *c, const check_pair *p, int n) {
    if (memcmp(p->first.value, p->second.value, (size_t)n * (size_t)c->D * sizeof(double)) != 0) return "value";
    return memcmp(p->first.log_det, p->second.log_det, (size_t)n * sizeof(double)) != 0 ? "log_det" : NULL;
}

static ad_status run_twice(checking *c, flow_direction direction, const double *in, check_pair *p, char *states) {
    char *at = states;
    compare_states(&c->layer->owner, &at, true);
    ad_status status = check_run(c, direction, in, c->context, 0, c->B, &p->first);
    at = states;
    const ad_state *changed = compare_states(&c->layer->owner, &at, false);
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, &p->second);
    if (status != AD_OK) return status;
    const char *what = check_difference(c, p, c->B);
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
    check_pair p = {.memory = NULL};
    char *states = malloc(state_bytes(&c->layer->owner) + 1);
    ad_status status =
        states && check_make_pair(&p, c, c->B) ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK) status = run_twice(c, direction, direction == FLOW_NORMALIZE ? c->x : c->z, &p, states);
    free(states);
    free(p.memory);
    return status;
}

// ---- threads -------------------------------------------------------------------------------------------------------

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
    check_pair p = {.memory = NULL};
    double *in = repeat_rows(direction == FLOW_NORMALIZE ? c->x : c->z, c->B, c->D);
    double *context = repeat_rows(c->context, c->B, c->C);
    ad_status status = in && context && check_make_pair(&p, c, MANY)
                           ? AD_OK
                           : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK) status = on_threads(c, direction, 1, in, context, &p.first);
    if (status == AD_OK) status = on_threads(c, direction, 2, in, context, &p.second);
    if (status == AD_OK && check_difference(c, &p, MANY)) {
        status = ad_fail(c->error, AD_EARG, "%s: %s gives other bits of its %s on two threads than on one", c->name,
                         check_direction(direction), check_difference(c, &p, MANY));
    }
    free(in);
    free(context);
    free(p.memory);
    return status;
}
