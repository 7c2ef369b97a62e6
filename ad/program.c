// program.c -- what a tape would run, kept to run again.
#include <stdlib.h>
#include <string.h>

#include "engine.h"

struct ad_program {
    ad_plan *plan;
    ad_binding bind;
    int n;
    int *memory;  // of output i
    bool ran;
    ad_arena constants;
};

void ad_program_free(ad_program *p) {
    if (!p) return;
    if (p->plan) {
        pthread_mutex_lock(&p->bind.engine->lock);
        ad_plan_release(p->plan);
        pthread_mutex_unlock(&p->bind.engine->lock);
    }
    for (size_t i = 0; i < p->bind.n_memory; i++) free(p->bind.memory[i].data);
    free(p->bind.memory);
    free(p->bind.slots);
    free(p->bind.rows);
    free(p->memory);
    ad_arena_free(&p->constants);
    free(p);
}

// Constants live in the tape until its reset; the program has its own.
static bool copy_constants(ad_program *p) {
    for (size_t i = 0; i < p->bind.n_slots; i++) {
        ad_slot *s = &p->bind.slots[i];
        if (!s->bound || s->key == (uint64_t)(uintptr_t)s->bound) continue;
        const ad_tensor *c = s->bound;
        size_t bytes = (size_t)c->count * ad_type_size(c->type);
        ad_tensor *own = ad_arena_take(&p->constants, sizeof *own);
        if (!own) return false;
        *own = *c;
        own->data = ad_arena_take(&p->constants, bytes);
        if (!own->data) return false;
        memcpy(own->data, c->data, bytes);
        s->bound = own;
    }
    return true;
}

static bool copy_names(ad_program *p) {
    for (size_t i = 0; i < p->bind.n_rows; i++) {
        size_t size = strlen(p->bind.rows[i].name) + 1;
        char *name = ad_arena_take(&p->constants, size);
        if (!name) return false;
        memcpy(name, p->bind.rows[i].name, size);
        p->bind.rows[i].name = name;
    }
    return true;
}

static bool program_copy(ad_program *p, const ad_tape *t) {
    p->bind = (ad_binding){.engine = t->bind.engine, .type = t->bind.type};
    p->bind.n_slots = t->bind.n_slots;
    p->bind.n_rows = t->bind.n_rows;
    p->bind.slots = malloc((t->bind.n_slots + 1) * sizeof *p->bind.slots);
    p->bind.rows = malloc((t->bind.n_rows + 1) * sizeof *p->bind.rows);
    p->bind.memory = calloc(t->n_outputs + 1, sizeof *p->bind.memory);
    if (!p->bind.slots || !p->bind.rows || !p->bind.memory) {
        p->bind.n_rows = 0;
        return false;
    }
    for (size_t i = 0; i < t->bind.n_slots; i++) p->bind.slots[i] = t->bind.slots[i];
    for (size_t i = 0; i < t->bind.n_rows; i++) p->bind.rows[i] = t->bind.rows[i];
    p->bind.n_memory = t->n_outputs;
    for (size_t i = 0; i < t->n_outputs; i++) p->bind.memory[i].target = t->bind.memory[i].target;
    return copy_constants(p) && copy_names(p);
}

ad_program *ad_compile(const ad_var *outputs, int n, ad_error *error) {
    ad_tape *t = n > 0 ? outputs[0].tape : NULL;
    if (!t) {
        ad_fail(error, AD_EARG, "ad_compile: no outputs");
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        if (outputs[i].tape != t) ad_tape_fail(t, AD_EMIX, "ad_compile: outputs 0 and %d are on different tapes", i);
        else ad_keep(outputs[i]);
    }
    ad_program *p = calloc(1, sizeof *p);
    if (p) p->memory = malloc((size_t)n * sizeof *p->memory);
    if (p && p->memory && t->error.status == AD_OK) {
        p->n = n;
        for (int i = 0; i < n; i++) p->memory[i] = ad_find_output(t, outputs[i].id, AD_KEEP, NULL);
        ad_engine *e = t->bind.engine;
        pthread_mutex_lock(&e->lock);
        bool ok = program_copy(p, t);
        p->plan = ok ? ad_engine_plan(e, t, false) : NULL;
        pthread_mutex_unlock(&e->lock);
        if (p->plan) return p;
        if (!ok) ad_tape_fail(t, AD_ENOMEM, "ad_compile: out of memory");
    }
    ad_fail(error, t->error.status ? t->error.status : AD_ENOMEM, "%s",
            t->error.status ? t->error.message : "ad_compile: out of memory");
    ad_program_free(p);
    return NULL;
}

ad_status ad_program_rows(ad_program *p, const char *name, int64_t count, int64_t first, ad_error *error) {
    if (count < 1 || first < 0 || first > INT64_MAX - count)
        return ad_fail(error, AD_EARG, "row set '%s': %lld rows from %lld", name, (long long)count, (long long)first);
    for (size_t i = 0; i < p->bind.n_rows; i++) {
        if (strcmp(p->bind.rows[i].name, name) != 0) continue;
        p->bind.rows[i].count = count, p->bind.rows[i].first = first;
        return AD_OK;
    }
    return ad_fail(error, AD_EARG, "the program has no row set '%s'", name);
}

ad_status ad_program_run(ad_program *p, ad_error *error) {
    ad_engine *e = p->bind.engine;
    ad_error own = {AD_OK, ""};
    pthread_mutex_lock(&e->lock);
    ad_status status = ad_execute(e, p->plan, &p->bind, NULL, &own);
    pthread_mutex_unlock(&e->lock);
    p->ran = status == AD_OK;
    return status == AD_OK ? AD_OK : ad_fail(error, status, "%s", own.message);
}

const void *ad_program_data(const ad_program *p, int i) {
    return p->ran && i >= 0 && i < p->n ? p->bind.memory[p->memory[i]].data : NULL;
}
