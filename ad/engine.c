// engine.c -- an engine's life, and its cache of plans.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- memory ---------------------------------------------------------------------------------------------------------

void *ad_memory_reserve(ad_memory *m, size_t size) {
    if (size == 0) size = 1;
    if (size <= m->size) return m->data;
    void *data = ad_aligned(size, 1);
    if (!data) return NULL;
    free(m->data);
    m->data = data, m->size = size;
    return data;
}

// ---- life -------------------------------------------------------------------------------------------------------------

static bool is_set(const char *name) {
    const char *v = getenv(name);
    return v && *v && strcmp(v, "0") != 0;
}

ad_engine *ad_engine_new(const ad_engine_options *options, ad_error *error) {
    static const ad_engine_options defaults;
    const ad_engine_options *o = options ? options : &defaults;
    if (o->threads < 0 || o->threads > 1024 || o->plan_cache < 0) {
        ad_fail(error, AD_EARG, "engine: %d threads, %d plans: expected 0 to 1024 threads and 0 or more plans", o->threads,
                o->plan_cache);
        return NULL;
    }
    ad_engine *e = calloc(1, sizeof *e);
    if (e) {
        e->max_plans = o->plan_cache ? o->plan_cache : 64;
        e->plans = calloc((size_t)e->max_plans, sizeof *e->plans);
        e->pool = ad_pool_new(o->threads ? o->threads : ad_cpu_affinity_count());
        e->threads = e->pool ? ad_pool_threads(e->pool) : 0;
        e->workers = calloc((size_t)e->threads + 1, sizeof *e->workers);
        e->message = o->message, e->message_arg = o->message_arg;
        e->latency = o->latency;
        e->profile = is_set("AD_PROFILE"), e->trace = is_set("AD_TRACE_NAN");
        pthread_mutex_init(&e->lock, NULL);
    }
    if (e && e->plans && e->pool && e->workers) return e;
    ad_engine_free(e);
    ad_fail(error, AD_ENOMEM, "engine: out of memory");
    return NULL;
}

void ad_engine_free(ad_engine *e) {
    if (!e) return;
    for (int i = 0; i < e->n_plans; i++) ad_plan_free(e->plans[i]);
    free(e->plans);
    ad_pool_free(e->pool);
    for (int i = 0; i < e->threads && e->workers; i++) {
        ad_worker *w = &e->workers[i];
        free(w->block.data);
        free(w->tile.data);
        free(w->scratch.data);
        free(w->kernels.data);
        free(w->operands.data);
    }
    free(e->workers);
    free(e->shared.data);
    free(e->sums.data);
    free(e->stored.data);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

int ad_engine_threads(const ad_engine *e) { return e->threads; }
int64_t ad_engine_plans_made(const ad_engine *e) { return e->plans_made; }

void ad_engine_message(const ad_engine *e, const char *text) {
    if (e->message) {
        e->message(e->message_arg, text);
    } else if (e->profile || e->trace) {
        ssize_t ignored = write(2, text, strlen(text));
        ignored = ignored < 0 ? ignored : write(2, "\n", 1);
        (void)ignored;
    }
}

typedef struct parallel_call {
    void (*fn)(void *arg, int64_t i);
    void *arg;
} parallel_call;
static void parallel_item(void *arg, int64_t i, int thread) {
    const parallel_call *call = arg;
    (void)thread;
    call->fn(call->arg, i);
}
void ad_parallel(ad_engine *e, int64_t n, void (*fn)(void *arg, int64_t i), void *arg) {
    parallel_call call = {fn, arg};
    ad_pool_run(e->pool, n, parallel_item, &call);
}

// ---- plan cache -------------------------------------------------------------------------------------------------------

static void plan_key(const ad_tape *t, uint64_t key[2]) {
    XXH128_hash_t outputs = XXH3_128bits(t->outputs, t->n_outputs * sizeof *t->outputs);
    uint64_t seed = outputs.low64 ^ (outputs.high64 << 1) ^ (t->training ? 2u : 0u) ^ (uint64_t)t->bind.type;
    XXH128_hash_t h = XXH3_128bits_withSeed(t->stream, t->stream_size, seed);
    key[0] = h.low64, key[1] = h.high64;
}

// But for the recording itself.
static bool asks_the_same(const ad_plan *p, const ad_tape *t) {
    return p->type == t->bind.type && p->training == t->training && p->stream_size == t->stream_size &&
           p->n_outputs == t->n_outputs && memcmp(p->outputs, t->outputs, t->n_outputs * sizeof *t->outputs) == 0;
}

static ad_plan *find_plan(const ad_engine *e, const ad_tape *t, const uint64_t key[2]) {
    for (int i = 0; i < e->n_plans; i++) {
        ad_plan *p = e->plans[i];
        if (p->key[0] == key[0] && p->key[1] == key[1] && asks_the_same(p, t) &&
            memcmp(p->stream, t->stream, t->stream_size) == 0)
            return p;
    }
    return NULL;
}

// The tape's last plan, when it has only repeated that recording since: then there is nothing to hash or compare.
static ad_plan *find_repeated(const ad_engine *e, const ad_tape *t) {
    for (int i = 0; t->planned_at == t->appended && i < e->n_plans; i++)
        if (e->plans[i]->number == t->planned && asks_the_same(e->plans[i], t)) return e->plans[i];
    return NULL;
}

// In words, where the tape departs from the plan before.
static void describe_difference(const ad_plan *p, const ad_tape *t, char *text, size_t size) {
    uint32_t n = p->n_nodes < t->n_nodes ? p->n_nodes : (uint32_t)t->n_nodes;
    char path[160];
    for (uint32_t i = 0; i < n; i++) {
        const ad_node *a = &p->nodes[i], *b = &t->nodes[i];
        const ad_record *ra = ad_node_record(p->stream, a), *rb = ad_node_record(t->stream, b);
        const char *what = NULL;
        if (a->op != b->op) what = "the op";
        else if (ra->rows != rb->rows || ra->slot != rb->slot) what = "what it is bound to";
        else if (a->n != b->n || memcmp(ad_node_inputs(p->stream, a), ad_node_inputs(t->stream, b), a->n * 4) != 0)
            what = "an operand";
        else if (ra->attr_size != rb->attr_size ||
                 memcmp(ad_node_attr(p->stream, a), ad_node_attr(t->stream, b), ra->attr_size) != 0)
            what = "an attribute";
        if (!what) continue;
        snprintf(text, size, "node %u (%s%s%s): %s differs", i, b->op->name, b->scope ? " in " : "",
                 ad_scope_path(t, b->scope, path, sizeof path), what);
        return;
    }
    if (p->n_nodes != t->n_nodes)
        snprintf(text, size, "%u nodes before, %zu now", p->n_nodes, t->n_nodes);
    else
        snprintf(text, size, "the outputs, the element type or the training mode differ");
}

static void note_miss(ad_engine *e, const ad_tape *t) {
    if (!e->last || ++e->misses < 3) return;
    char why[256], text[400];
    describe_difference(e->last, t, why, sizeof why);
    snprintf(text, sizeof text, "a plan was made anew in three successive steps: %s; use ad_scalar for what changes", why);
    ad_engine_message(e, text);
    e->misses = 0;
}

void ad_plan_release(ad_plan *p) {
    if (--p->uses == 0 && p->dropped) ad_plan_free(p);
}

// Makes room for one more plan: the one not used for longest leaves.
static void drop_oldest(ad_engine *e) {
    int oldest = 0;
    for (int i = 1; i < e->n_plans; i++)
        if (e->plans[i]->last_use < e->plans[oldest]->last_use) oldest = i;
    ad_plan *p = e->plans[oldest];
    if (e->last == p) e->last = NULL;
    e->plans[oldest] = e->plans[--e->n_plans];
    p->dropped = true;
    if (p->uses == 0) ad_plan_free(p);
}

ad_plan *ad_engine_plan(ad_engine *e, ad_tape *t, bool step) {
    uint64_t key[2];
    ad_plan *p = find_repeated(e, t);
    if (!p) {
        plan_key(t, key);
        p = find_plan(e, t, key);
    }
    if (p) {
        e->misses = 0;
    } else {
        if (step) note_miss(e, t);
        p = ad_plan_new(t);
        if (!p) return NULL;
        p->key[0] = key[0], p->key[1] = key[1];
        p->training = t->training;
        p->number = ++e->plans_made;
        if (e->n_plans == e->max_plans) drop_oldest(e);
        e->plans[e->n_plans++] = p;
    }
    p->last_use = ++e->clock;
    p->uses++;
    e->last = p;
    t->planned = p->number, t->planned_at = t->appended;
    return p;
}
