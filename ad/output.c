// output.c -- asking for values: keep, assign, backward, run, read.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

// ---- requests -----------------------------------------------------------------------------------------------------------

int ad_find_output(const ad_tape *t, uint32_t id, ad_output_kind kind, const void *target) {
    for (size_t i = 0; i < t->n_outputs; i++)
        if (t->outputs[i].id == id && t->outputs[i].kind == kind && (!target || t->bind.memory[i].target == target))
            return (int)i;
    return -1;
}

// Appends a request; the memory entry of an earlier step at this place is used again.
static bool add_output(ad_tape *t, uint32_t id, ad_output_kind kind, ad_type type, int64_t count, void *target) {
    ad_binding *b = &t->bind;
    if (!ad_grow(&t->outputs, &t->room_outputs, t->n_outputs + 1, sizeof *t->outputs) ||
        !ad_grow(&b->memory, &b->room_memory, t->n_outputs + 1, sizeof *b->memory)) {
        ad_tape_fail(t, AD_ENOMEM, "output: out of memory");
        return false;
    }
    for (; b->n_memory <= t->n_outputs; b->n_memory++) memset(&b->memory[b->n_memory], 0, sizeof *b->memory);
    b->memory[t->n_outputs].target = target;
    ad_output *out = &t->outputs[t->n_outputs++];
    memset(out, 0, sizeof *out);  // padding is part of the plan's key
    out->id = id, out->kind = kind, out->type = type, out->count = count;
    t->ran = false;
    return true;
}

ad_var ad_keep(ad_var v) {
    if (!ad_check_var(v, "ad_keep")) return v.tape ? ad_inert(v.tape) : v;
    if (ad_find_output(v.tape, v.id, AD_KEEP, NULL) < 0)
        add_output(v.tape, v.id, AD_KEEP, v.tape->bind.type, ad_node_of(v)->count, NULL);
    return v;
}

void ad_assign(ad_state *state, ad_var v) {
    if (!ad_check_var(v, "ad_assign")) return;
    ad_tape *t = v.tape;
    char a[64], b[64];
    if (!state || ad_has_rows(v) || !ad_shape_equal(state->shape, ad_shape_of(v))) {
        ad_tape_fail(t, state ? AD_ESHAPE : AD_EARG, "ad_assign: state '%s' %s takes a shared value of its shape, not %s%s",
                     state ? state->name : "NULL", ad_shape_print(state ? state->shape : ad_shape0(), a, sizeof a),
                     ad_shape_print(ad_shape_of(v), b, sizeof b), ad_has_rows(v) ? " per row" : "");
        return;
    }
    for (size_t i = 0; i < t->n_outputs; i++)
        if (t->outputs[i].kind == AD_ASSIGN && t->bind.memory[i].target == state && t->outputs[i].id != v.id) {
            ad_tape_fail(t, AD_EARG, "ad_assign: state '%s' is assigned twice", state->name);
            return;
        }
    if (ad_find_output(t, v.id, AD_ASSIGN, state) < 0) add_output(t, v.id, AD_ASSIGN, state->type, state->count, state);
}

void ad_reject(ad_tape *t) {
    if (!t || !t->can_reject) return;
    ad_swap_states(t->outputs, t->outputs_run, &t->bind);
    t->can_reject = false;
}

// ---- running ------------------------------------------------------------------------------------------------------------

ad_status ad_run(ad_tape *t) {
    if (!t) return AD_ENOMEM;
    t->can_reject = false;
    if (t->error.status != AD_OK) return t->error.status;
    if (t->scope) ad_tape_fail(t, AD_EORDER, "ad_run inside a scope: ad_scope_end is missing");
    if (t->n_outputs == 0 && t->error.status == AD_OK) {
        t->ran = true;
        return AD_OK;
    }
    ad_engine *e = t->bind.engine;
    pthread_mutex_lock(&e->lock);
    ad_plan *plan = t->error.status == AD_OK ? ad_engine_plan(e, t, true) : NULL;
    if (plan) {
        ad_error error = {AD_OK, ""};
        if (ad_execute(e, plan, &t->bind, t, &error) == AD_OK) {
            t->ran = t->can_reject = true;
            t->outputs_run = (uint32_t)t->n_outputs;
            if (e->profile && t->runs++ % 100 == 0) ad_engine_report(e, t, plan);
        } else {
            ad_tape_fail(t, error.status, "%s", error.message);
        }
        ad_plan_release(plan);
    }
    pthread_mutex_unlock(&e->lock);
    return t->error.status;
}

// Adds the gradients of all parameters to the requests.
static void request_gradients(ad_var loss, ad_output_kind kind) {
    ad_tape *t = loss.tape;
    size_t n = 0, slots = t->bind.n_slots;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_param **param = ad_arena_take(&t->scratch, slots * sizeof *param);
    ad_var *x = ad_arena_take(&t->scratch, slots * sizeof *x), *gx = ad_arena_take(&t->scratch, slots * sizeof *gx);
    if (!param || !x || !gx) {
        ad_tape_fail(t, AD_ENOMEM, "ad_backward: out of memory");
        return;
    }
    for (size_t i = 0; i < slots; i++) {
        if (t->bind.slots[i].op != ad_param_op) continue;
        param[n] = (ad_param *)(uintptr_t)t->bind.slots[i].key;
        x[n] = ad_use(t, param[n]);
        n++;
    }
    ad_grad(loss, x, (int)n, gx);
    ad_var zero = ad_number(t, 0);
    for (size_t i = 0; i < n && t->error.status == AD_OK; i++) {
        bool zeros = gx[i].id == zero.id || gx[i].id == ad_conform(zero, x[i]).id;
        add_output(t, zeros ? UINT32_MAX : gx[i].id, kind, param[i]->type, param[i]->count, param[i]->grad);
    }
    ad_arena_release(&t->scratch, mark);
}

// Whether loss is a shared scalar of a tape without errors.
static bool check_loss(ad_var loss, const char *what) {
    const ad_node *node = ad_node_of(loss);
    char text[64];
    if (!ad_check_var(loss, what) || loss.tape->error.status != AD_OK) return false;
    if (!node->rows && node->count == 1) return true;
    ad_tape_fail(loss.tape, AD_ESHAPE, "%s: the loss has shape %s%s: expected a shared scalar (ad_mean_rows)", what,
                 ad_shape_print(node->shape, text, sizeof text), node->rows ? " per row" : "");
    return false;
}

static ad_status backward(ad_var loss, ad_output_kind kind) {
    ad_tape *t = loss.tape;
    if (!t) return AD_EARG;
    if (!check_loss(loss, "ad_backward")) return t->error.status;
    ad_keep(loss);
    size_t kept = t->n_outputs;
    request_gradients(loss, kind);
    ad_status status = ad_run(t);
    t->n_outputs = kept;  // gradients are asked for once; what takes their places was not run
    if (t->outputs_run > kept) t->outputs_run = (uint32_t)kept;
    return status;
}

ad_status ad_backward(ad_var loss) { return backward(loss, AD_GRADIENT); }
ad_status ad_backward_add(ad_var loss) { return backward(loss, AD_GRADIENT_ADD); }

ad_program *ad_compile_backward(ad_var loss, ad_error *error) {
    ad_tape *t = loss.tape;
    if (!t || !check_loss(loss, "ad_compile_backward")) {
        ad_fail(error, t ? t->error.status : AD_EARG, "%s", t ? t->error.message : "ad_compile_backward: no loss");
        return NULL;
    }
    ad_keep(loss);
    size_t kept = t->n_outputs;
    request_gradients(loss, AD_GRADIENT);
    ad_program *program = ad_compile(&loss, 1, error);
    t->n_outputs = kept;
    return program;
}

// ---- reading ------------------------------------------------------------------------------------------------------------

// The memory of a kept value after a run; NULL with the error on the tape.
static const ad_output_memory *kept(ad_var v, const char *what) {
    if (!ad_check_var(v, what) || v.tape->error.status != AD_OK) return NULL;
    ad_tape *t = v.tape;
    int i = ad_find_output(t, v.id, AD_KEEP, NULL);
    if (i < 0) {
        ad_tape_fail(t, AD_EUNKEPT, "%s: the value of %s was not kept: call ad_keep before the run", what, ad_node_of(v)->op->name);
        return NULL;
    }
    if (!t->ran) {
        ad_tape_fail(t, AD_EORDER, "%s: nothing has run since the last op was recorded: call ad_run first", what);
        return NULL;
    }
    return &t->bind.memory[i];
}

const void *ad_data(ad_var v) {
    const ad_output_memory *m = kept(v, "ad_data");
    return m ? m->data : NULL;
}

ad_status ad_read(ad_var v, double *out, int64_t n) {
    const ad_output_memory *m = kept(v, "ad_read");
    if (!m) return v.tape ? v.tape->error.status : AD_EARG;
    int64_t count = ad_node_of(v)->count * (m->rows ? m->rows : 1);
    if (n < count) {
        ad_tape_fail(v.tape, AD_EARG, "ad_read: room for %lld numbers, %lld needed", (long long)n, (long long)count);
        return AD_EARG;
    }
    for (int64_t i = 0; i < count; i++)
        out[i] = v.tape->bind.type == AD_F32 ? (double)((const float *)m->data)[i] : ((const double *)m->data)[i];
    return AD_OK;
}

double ad_value(ad_var v) {
    const ad_node *node = ad_node_of(v);
    if (!ad_check_var(v, "ad_value") || v.tape->error.status != AD_OK) return NAN;
    if (node->rows || node->count != 1) {
        char text[64];
        ad_tape_fail(v.tape, AD_ESHAPE, "ad_value: shape %s%s: expected a shared scalar",
                     ad_shape_print(node->shape, text, sizeof text), node->rows ? " per row" : "");
        return NAN;
    }
    if (!v.tape->ran) {
        ad_keep(v);
        if (ad_run(v.tape) != AD_OK) return NAN;
    }
    double x = NAN;
    return ad_read(v, &x, 1) == AD_OK ? x : NAN;
}
