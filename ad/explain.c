// explain.c -- plans and values as text.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"

typedef struct text {  // grows as it is written
    char *data;
    size_t size, room;
    bool failed;
} text;

static void AD_PRINTF(2, 3) put(text *t, const char *format, ...) {
    for (int tries = 0; tries < 2 && !t->failed; tries++) {
        va_list args;
        va_start(args, format);
        int n = vsnprintf(t->data ? t->data + t->size : NULL, t->room - t->size, format, args);
        va_end(args);
        if (n >= 0 && t->size + (size_t)n < t->room) {
            t->size += (size_t)n;
            return;
        }
        t->failed = n < 0 || !ad_grow(&t->data, &t->room, t->size + (size_t)n + 1, 1);
    }
}

static char *finish(text *t) {
    if (!t->failed) return t->data;
    free(t->data);
    return NULL;
}

// ---- plans ----------------------------------------------------------------------------------------------------------

typedef struct cost {
    double flops, bytes;
} cost;

static double features(const plan_place *x) { return x->base == BASE_TILE || x->base == BASE_NONE ? 0 : (double)x->count; }

// Per row (or once, for shared sections): flops, and bytes that leave or enter tiles.
static cost kernel_cost(const ad_plan *p, const ad_op *op, uint32_t node, uint32_t x, uint32_t n, const plan_place *y) {
    cost c = {(double)plan_node(p, node)->count, features(y)};
    ad_kernel_operand operand[8];
    for (uint32_t i = 0; i < n; i++) {
        c.bytes += features(&p->places[x + i]);
        if (i < 8) operand[i] = (ad_kernel_operand){.shape = p->places[x + i].shape, .lane = p->places[x + i].lane};
    }
    ad_kernel k = {.n = (int)n, .R = 1, .live = 1, .x = operand, .shape = &plan_node(p, node)->shape, .attr = plan_attr(p, node)};
    if (op->flops && n <= 8 && n == (uint32_t)plan_node(p, node)->n) c.flops = op->flops(&k);
    c.bytes *= (double)ad_type_size(p->type);
    return c;
}

static void put_line(text *t, const ad_tape *tape, const ad_plan *p, const char *indent, const char *what, uint32_t id,
                     cost c, double us) {
    char path[160] = "", shape[64];
    const ad_node *node = plan_node(p, id);
    ad_scope_path(tape, tape->nodes[id].scope, path, sizeof path);
    put(t, "%s%-14s %-12s %10.0f flops %8.0f bytes", indent, what, ad_shape_print(node->shape, shape, sizeof shape), c.flops, c.bytes);
    if (us >= 0) put(t, " %8.2f us", us);
    put(t, "%s%s\n", path[0] ? "  " : "", path);
}

static double micros(const ad_plan *p, uint32_t i) {
    return p->profile && p->profile_runs ? (double)p->profile[i] * 1e-3 / (double)p->profile_runs : -1;
}

static cost put_run(text *t, const ad_tape *tape, const ad_plan *p, uint32_t i) {
    const plan_instr *in = &p->instrs[i];
    cost all = {0, 0};
    put(t, "  run of %u", in->n_steps);
    if (micros(p, i) >= 0) put(t, ", %.2f us", micros(p, i));
    put(t, "\n");
    for (uint32_t s = in->steps; s < in->steps + in->n_steps; s++) {
        const plan_step *step = &p->steps[s];
        cost c = kernel_cost(p, step->op, step->node, step->x, step->n, &step->y);
        put_line(t, tape, p, "    ", step->op->name, step->node, c, -1);
        all.flops += c.flops, all.bytes += c.bytes;
    }
    return all;
}

static cost put_instr(text *t, const ad_tape *tape, const ad_plan *p, uint32_t i) {
    static const char *const names[] = {[PLAN_SPREAD] = "spread", [PLAN_STORE] = "keep rows", [PLAN_LOOP] = "loop",
                                        [PLAN_LOOP_END] = "end of loop"};
    const plan_instr *in = &p->instrs[i];
    if (in->kind == PLAN_RUN) return put_run(t, tape, p, i);
    cost c = kernel_cost(p, in->op, in->node, in->x, in->n, &in->y);
    if (in->kind != PLAN_KERNEL) c.flops = 0;
    put_line(t, tape, p, "  ", in->kind == PLAN_KERNEL ? in->op->name : names[in->kind], in->node, c, micros(p, i));
    if (in->then) put_line(t, tape, p, "    then ", in->then->name, in->then_node, (cost){(double)in->y.count, 0}, -1);
    return c;
}

static void put_stored(text *t, const ad_tape *tape, const ad_plan *p, const plan_section *s) {
    for (uint32_t i = s->first; i < s->first + s->n; i++) {
        const plan_instr *in = &p->instrs[i];
        for (uint32_t k = 0; k <= (in->kind == PLAN_RUN ? in->n_steps : 0); k++) {
            bool step = in->kind == PLAN_RUN;
            if (step && k == in->n_steps) break;
            const plan_place *y = step ? &p->steps[in->steps + k].y : &in->y;
            uint32_t id = step ? p->steps[in->steps + k].node : in->node;
            char shape[64], path[160];
            if (y->base != BASE_STORED) continue;
            put(t, "  stored for a later stage: %s %s  %s\n", plan_node(p, id)->op->name,
                ad_shape_print(plan_node(p, id)->shape, shape, sizeof shape),
                ad_scope_path(tape, tape->nodes[id].scope, path, sizeof path));
        }
    }
}

static void put_section(text *t, const ad_tape *tape, const ad_plan *p, const plan_section *s) {
    if (s->rows) {
        const ad_row_set *set = &tape->bind.rows[s->rows - 1];
        plan_blocks b = plan_blocks_of(&p->sets[s->rows - 1], set->count > 0 ? set->count : 1, tape->bind.engine->latency);
        put(t, "row stage %u over '%s': %lld rows, blocks of %d, %lld chunks, %lld features of working memory\n", s->level,
            set->name, (long long)set->count, b.R, (long long)b.chunks, (long long)s->block_features);
    } else {
        put(t, "shared stage %u\n", s->level);
    }
    cost all = {0, 0};
    for (uint32_t i = s->first; i < s->first + s->n; i++) {
        cost c = put_instr(t, tape, p, i);
        all.flops += c.flops, all.bytes += c.bytes;
    }
    put_stored(t, tape, p, s);
    put(t, "  in all %.0f flops, %.0f bytes%s\n", all.flops, all.bytes, s->rows ? " per row" : "");
    if (s->n_sums) put(t, "  %u row reductions, %lld bytes of accumulators a chunk\n", s->n_sums, (long long)s->sum_bytes);
}

static char *plan_text(const ad_tape *tape, const ad_plan *p) {
    text t = {0};
    put(&t, "plan: %u nodes, %zu instructions, %s, kernels %s\n", p->n_nodes, p->n_instrs, p->type == AD_F32 ? "f32" : "f64",
        ad_cpu_name());
    for (size_t i = 0; i < p->n_sections; i++) put_section(&t, tape, p, &p->sections[i]);
    if (p->profile && p->profile_runs)
        put(&t, "profile: %lld runs, %.2f us each\n", (long long)p->profile_runs,
            (double)p->profile[p->n_instrs] * 1e-3 / (double)p->profile_runs);
    return finish(&t);
}

char *ad_explain(ad_tape *tape) {
    if (!tape || tape->error.status != AD_OK) return NULL;
    ad_engine *e = tape->bind.engine;
    char *result = NULL;
    pthread_mutex_lock(&e->lock);
    ad_plan *plan = ad_engine_plan(e, tape, false);
    if (plan) {
        result = plan_text(tape, plan);
        ad_plan_release(plan);
        if (!result) ad_tape_fail(tape, AD_ENOMEM, "ad_explain: out of memory");
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

void ad_engine_report(const ad_engine *e, const ad_tape *tape, const ad_plan *plan) {
    char *report = plan_text(tape, plan);
    if (report) ad_engine_message(e, report);
    free(report);
}

// ---- values ---------------------------------------------------------------------------------------------------------

static void put_values(text *t, const char *data, ad_type type, int64_t n, int64_t limit) {
    put(t, "[");
    for (int64_t i = 0; i < n && i < limit; i++)
        put(t, "%s%.6g", i ? " " : "", type == AD_F32 ? (double)((const float *)(const void *)data)[i]
                                                      : ((const double *)(const void *)data)[i]);
    put(t, n > limit ? " ...]\n" : "]\n");
}

static char *value_text(ad_var v, const ad_program *program, int n) {
    text t = {0};
    const ad_node *node = ad_node_of(v);
    char shape[64];
    ad_type type = v.tape->bind.type;
    const char *data = ad_program_data(program, 0);
    int64_t rows = node->rows ? v.tape->bind.rows[node->rows - 1].count : 1;
    put(&t, "%s %s%s\n", node->op->name, ad_shape_print(node->shape, shape, sizeof shape), node->rows ? " per row" : "");
    if (!node->rows) {
        put_values(&t, data, type, node->count, n);
        return finish(&t);
    }
    for (int64_t r = 0; r < rows && r < n; r++) {
        put(&t, "row %lld ", (long long)r);
        put_values(&t, data + (size_t)(r * node->count) * ad_type_size(type), type, node->count, 64);
    }
    if (rows > n) put(&t, "... %lld rows\n", (long long)rows);
    return finish(&t);
}

char *ad_show(ad_var v, int n) {
    text t = {0};
    ad_tape *tape = v.tape;
    if (!ad_ok(v) || tape->error.status != AD_OK) {
        put(&t, "ad_show: %s", !tape ? "no var" : tape->error.message[0] ? tape->error.message : "a stale or inert handle");
        return finish(&t);
    }
    // Evaluated as a program of its own; the tape's requests are set aside, and errors taken back.
    size_t outputs = tape->n_outputs;
    bool ran = tape->ran;
    ad_output *set_aside = tape->outputs;
    size_t room = tape->room_outputs;
    tape->outputs = NULL, tape->n_outputs = tape->room_outputs = 0;
    ad_output_memory *memory = tape->bind.memory;
    size_t n_memory = tape->bind.n_memory, room_memory = tape->bind.room_memory;
    tape->bind.memory = NULL, tape->bind.n_memory = tape->bind.room_memory = 0;
    ad_error error = {AD_OK, ""};
    ad_program *program = ad_compile(&v, 1, &error);
    bool ok = program && ad_program_run(program, &error) == AD_OK;
    char *result = NULL;
    if (ok) {
        result = value_text(v, program, n > 0 ? n : 1);
    } else {
        put(&t, "ad_show: %s", error.message);
        result = finish(&t);
    }
    ad_program_free(program);
    free(tape->outputs);
    free(tape->bind.memory);
    tape->outputs = set_aside, tape->n_outputs = outputs, tape->room_outputs = room;
    tape->bind.memory = memory, tape->bind.n_memory = n_memory, tape->bind.room_memory = room_memory;
    tape->ran = ran;
    tape->error = (ad_error){AD_OK, ""};
    return result;
}
