// tape.c -- a tape's life: errors, scopes, row sets, queries.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

ad_tape *ad_tape_new(ad_engine *engine, ad_type type) {
    if (type != AD_F32 && type != AD_F64) return NULL;
    ad_tape *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->own_engine = !engine;
    t->bind.engine = engine ? engine : ad_engine_new(NULL, NULL);
    t->bind.type = type;
    t->epoch = 1;
    if (!t->bind.engine) {
        free(t);
        return NULL;
    }
    t->repeats = true;
    return t;
}

void ad_tape_free(ad_tape *t) {
    if (!t) return;
    if (t->own_engine) ad_engine_free(t->bind.engine);
    for (size_t i = 0; i < t->bind.n_memory; i++) free(t->bind.memory[i].data);
    free(t->bind.memory);
    free(t->bind.slots);
    free(t->bind.rows);
    free(t->scopes);
    free(t->outputs);
    ad_arena_free(&t->constants);
    ad_arena_free(&t->scratch);
    ad_record_free(t);
    free(t);
}

void ad_tape_reset(ad_tape *t) {
    if (!t) return;
    ad_record_reset(t);
    t->bind.n_rows = 0;
    t->n_scopes = t->n_outputs = 0;
    t->scope = 0;
    t->placeholders = 0;
    t->ran = false;
    t->can_reject = false;
    t->error.status = AD_OK;
    t->error.message[0] = 0;
    ad_arena_reset(&t->scratch);
    t->epoch++;
}

ad_engine *ad_tape_engine(const ad_tape *t) { return t ? t->bind.engine : NULL; }
ad_type ad_tape_type(const ad_tape *t) { return t ? t->bind.type : AD_F32; }
ad_status ad_tape_status(const ad_tape *t) { return t ? t->error.status : AD_ENOMEM; }
const char *ad_tape_message(const ad_tape *t) { return t ? t->error.message : "no tape"; }
void ad_set_training(ad_tape *t, bool training) {
    if (t) t->training = training;
}
bool ad_is_training(const ad_tape *t) { return t && t->training; }

// ---- errors and scopes ------------------------------------------------------------------------------------------

char *ad_scope_path(const ad_tape *t, uint32_t scope, char *buffer, size_t size) {
    uint32_t path[32];
    int depth = 0;
    for (; scope && depth < 32; scope = t->scopes[scope - 1].parent) path[depth++] = scope;
    size_t used = 0;
    buffer[0] = 0;
    while (depth-- > 0 && used < size) {
        const ad_scope_node *s = &t->scopes[path[depth] - 1];
        const char *slash = used ? "/" : "";
        used += (size_t)(s->index < 0 ? snprintf(buffer + used, size - used, "%s%s", slash, s->name)
                                      : snprintf(buffer + used, size - used, "%s%s[%d]", slash, s->name, s->index));
    }
    return buffer;
}

void ad_tape_fail(ad_tape *t, ad_status status, const char *format, ...) {
    if (!t || t->error.status != AD_OK) return;
    char path[160];
    ad_scope_path(t, t->scope, path, sizeof path);
    t->error.status = status;
    int n = path[0] ? snprintf(t->error.message, sizeof t->error.message, "%s: ", path) : 0;
    va_list args;
    va_start(args, format);
    vsnprintf(t->error.message + n, sizeof t->error.message - (size_t)n, format, args);
    va_end(args);
}

void ad_scope(ad_tape *t, const char *name, int index) {
    if (!t) return;
    if (!ad_grow(&t->scopes, &t->room_scopes, t->n_scopes + 1, sizeof *t->scopes)) {
        ad_tape_fail(t, AD_ENOMEM, "scope %s: out of memory", name);
        return;
    }
    t->scopes[t->n_scopes++] = (ad_scope_node){name, index, t->scope};
    t->scope = (uint32_t)t->n_scopes;
}

void ad_scope_end(ad_tape *t) {
    if (!t) return;
    if (!t->scope) {
        ad_tape_fail(t, AD_EORDER, "ad_scope_end without ad_scope");
        return;
    }
    t->scope = t->scopes[t->scope - 1].parent;
}

// ---- row sets -----------------------------------------------------------------------------------------------------

ad_rows ad_rows_new(ad_tape *t, const char *name) {
    if (!t) return (ad_rows){NULL, UINT32_MAX, 0};
    ad_rows rows = {t, 0, t->epoch};
    for (; rows.id < t->bind.n_rows; rows.id++)
        if (strcmp(t->bind.rows[rows.id].name, name) == 0) return rows;
    if (!ad_grow(&t->bind.rows, &t->bind.room_rows, t->bind.n_rows + 1, sizeof *t->bind.rows)) {
        ad_tape_fail(t, AD_ENOMEM, "row set %s: out of memory", name);
        return (ad_rows){t, UINT32_MAX, t->epoch};
    }
    t->bind.rows[t->bind.n_rows++] = (ad_row_set){name, 0, 0};
    return rows;
}

static ad_row_set *row_set(ad_rows r) {
    return r.tape && r.epoch == r.tape->epoch && r.id < r.tape->bind.n_rows ? &r.tape->bind.rows[r.id] : NULL;
}

void ad_rows_set(ad_rows rows, int64_t count, int64_t first) {
    ad_row_set *set = row_set(rows);
    if (!set) {
        ad_tape_fail(rows.tape, AD_ESTALE, "ad_rows_set: a row set made before the tape's last reset");
    } else if (count < 1 || first < 0 || first > INT64_MAX - count) {
        ad_tape_fail(rows.tape, AD_EARG, "ad_rows_set: row set '%s': %lld rows from %lld: expected at least 1 from 0 or more",
                     set->name, (long long)count, (long long)first);
    } else {
        set->count = count, set->first = first;
    }
}

int64_t ad_rows_count(ad_rows rows) {
    const ad_row_set *set = row_set(rows);
    return set ? set->count : 0;
}

ad_rows ad_rows_of(ad_var v) {
    const ad_node *node = ad_node_of(v);
    ad_rows none = {NULL, UINT32_MAX, 0};
    if (!node || !node->rows) return none;
    return (ad_rows){v.tape, node->rows - 1, v.epoch};
}

// ---- queries --------------------------------------------------------------------------------------------------------

bool ad_check_var(ad_var v, const char *what) {
    if (ad_node_of(v)) return true;
    if (v.tape && v.epoch != v.tape->epoch)
        ad_tape_fail(v.tape, AD_ESTALE, "%s: a handle made before the tape's last reset", what);
    else if (v.tape)
        ad_tape_fail(v.tape, AD_EARG, "%s: an inert handle", what);
    return false;
}

ad_shape ad_shape_of(ad_var v) {
    const ad_node *node = ad_node_of(v);
    return node ? node->shape : ad_shape0();
}

int64_t ad_dim(ad_var v, int axis) {
    ad_shape s = ad_shape_of(v);
    int64_t a = ad_shape_axis(s, axis);
    return a < 0 ? 0 : s.dim[a];
}

bool ad_has_rows(ad_var v) {
    const ad_node *node = ad_node_of(v);
    return node && node->rows;
}

bool ad_ok(ad_var v) { return ad_node_of(v) != NULL; }
