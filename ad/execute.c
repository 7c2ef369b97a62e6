// execute.c -- one run of a plan: checks, sections in order, totals of reductions, outputs.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "fpmode.h"
#include "ops/combine.h"

// ---- blocks -------------------------------------------------------------------------------------------------------------

enum { SMALL_WEIGHTS = 1 << 20, SMALL_OP = 512, MAX_SUMS = 32 << 20, MAX_CHUNKS = 16, WIDE_CHECK = 1 << 18 };

// R = 64; 32 for few rows; up to 256 when reading the weights again for each block would cost more than larger activations,
// or when ops have so few elements that calling them costs more than computing. Latency mode: a single row has no lanes.
plan_blocks plan_blocks_of(const plan_set *set, int64_t rows, bool latency) {
    if (latency && rows == 1) return (plan_blocks){.R = 1, .blocks = 1, .chunks = 1};
    plan_blocks b = {.R = rows <= 32 ? 32 : 64};
    while (b.R < 256 && rows >= 4 * b.R && (set->weight_bytes > SMALL_WEIGHTS || set->features * b.R < SMALL_OP * set->ops))
        b.R *= 2;
    b.blocks = (rows + b.R - 1) / b.R;
    b.chunks = set->sum_bytes ? MAX_SUMS / set->sum_bytes : MAX_CHUNKS;
    if (b.chunks < 2) b.chunks = 2;
    if (b.chunks > MAX_CHUNKS) b.chunks = MAX_CHUNKS;
    if (b.chunks > b.blocks) b.chunks = b.blocks;
    return b;
}

// ---- what is bound --------------------------------------------------------------------------------------------------------

static ad_status check_source(const ad_source *s, int64_t rows, const char *what, ad_error *error) {
    if (!s->data) return ad_fail(error, AD_EARG, "%s: its source has no data", what);
    if (s->type != AD_F32 && s->type != AD_F64) return ad_fail(error, AD_EARG, "%s: unknown element type %d", what, (int)s->type);
    if (!s->index) {
        if (rows > s->count)
            return ad_fail(error, AD_EARG, "%s: %lld rows asked for, its source has %lld", what, (long long)rows,
                           (long long)s->count);
        return AD_OK;
    }
    for (int64_t r = 0; r < rows; r++)
        if (s->index[r] < 0 || s->index[r] >= s->count)
            return ad_fail(error, AD_EARG, "%s: index[%lld] is %lld, its source has %lld rows", what, (long long)r,
                           (long long)s->index[r], (long long)s->count);
    return AD_OK;
}

static ad_status fail_param(const ad_tensor *p, ad_error *error) {
    for (int64_t i = 0; i < p->count; i++) {
        double v = p->type == AD_F32 ? (double)((const float *)p->data)[i] : ((const double *)p->data)[i];
        if (v - v != 0)
            return ad_fail(error, AD_ENONFINITE, "parameter '%s': element %lld is %g", p->name ? p->name : "?", (long long)i, v);
    }
    return AD_OK;
}

typedef struct param_check {
    const ad_plan *plan;
    const ad_binding *bind;
    _Atomic uint32_t bad;  // the first leaf that is not finite
} param_check;

static const ad_tensor *param_of_leaf(const param_check *c, uint32_t leaf) {
    const ad_node *node = &c->plan->nodes[c->plan->leaves[leaf]];
    return node->op == ad_param_op ? c->bind->slots[node->slot - 1].bound : NULL;
}

static void check_param(void *arg, int64_t leaf, int thread) {
    param_check *c = arg;
    const ad_tensor *p = param_of_leaf(c, (uint32_t)leaf);
    (void)thread;
    if (!p || ad_passes_of_cpu()->finite[p->type](p->data, p->count)) return;
    uint32_t bad = atomic_load(&c->bad);
    while ((uint32_t)leaf < bad && !atomic_compare_exchange_weak(&c->bad, &bad, (uint32_t)leaf)) continue;
}

// Whether all parameters are finite; many of them are read by all threads.
static ad_status check_params(ad_engine *e, const ad_plan *plan, const ad_binding *bind, ad_error *error) {
    param_check c = {plan, bind, UINT32_MAX};
    int64_t count = 0;
    for (uint32_t i = 0; i < plan->n_leaves; i++) count += param_of_leaf(&c, i) ? param_of_leaf(&c, i)->count : 0;
    if (count > WIDE_CHECK) ad_pool_run(e->pool, plan->n_leaves, check_param, &c);
    else for (uint32_t i = 0; i < plan->n_leaves; i++) check_param(&c, i, 0);
    return c.bad == UINT32_MAX ? AD_OK : fail_param(param_of_leaf(&c, c.bad), error);
}

// Every leaf that the plan reads, but for parameters: sources long enough, row counts set.
static ad_status check_leaves(const ad_plan *plan, const ad_binding *bind, ad_error *error) {
    for (size_t i = 0; i < plan->n_sections; i++) {
        const plan_section *s = &plan->sections[i];
        if (s->rows && bind->rows[s->rows - 1].count < 1)
            return ad_fail(error, AD_EORDER, "row set '%s': its number of rows was not set (ad_rows_set)",
                           bind->rows[s->rows - 1].name);
    }
    for (uint32_t i = 0; i < plan->n_leaves; i++) {
        const ad_node *node = &plan->nodes[plan->leaves[i]];
        const ad_slot *slot = &bind->slots[node->slot - 1];
        ad_status status = AD_OK;
        if (!slot->bound) {
            if (bind->rows[slot->key - 1].count < 1)
                status = ad_fail(error, AD_EORDER, "row set '%s': its number of rows was not set (ad_rows_set)",
                                 bind->rows[slot->key - 1].name);
        } else if (node->op == ad_input_op) {
            char what[80];
            snprintf(what, sizeof what, "input over row set '%s'", bind->rows[node->rows - 1].name);
            status = check_source(slot->bound, bind->rows[node->rows - 1].count, what, error);
        } else if (node->op == ad_shared_input_op) {
            status = check_source(slot->bound, 1, "shared input", error);
        }
        if (status != AD_OK) return status;
    }
    return AD_OK;
}

// ---- totals of row reductions -----------------------------------------------------------------------------------------------

enum { SPLIT = 2048 };  // elements that one thread takes

// Elements [from, to) of all totals of the section, taken one after another.
static void total_split(void *arg, int64_t split, int thread) {
    const ad_execution *run = arg;
    const plan_section *s = run->section;
    const ad_passes *passes = ad_passes_of_cpu();
    ad_type type = run->plan->type;
    int64_t from = split * SPLIT, to = from + SPLIT;
    (void)thread;
    for (uint32_t i = s->sums; i < s->sums + s->n_sums; i++) {
        const plan_sum *sum = &run->plan->sums[i];
        int64_t count = plan_node(run->plan, sum->node)->count, a = from - sum->start, b = to - sum->start;
        if (a < 0) a = 0;
        if (b > count) b = count;
        if (a >= b) continue;
        int64_t e = sum->wide ? 8 : (int64_t)run->element;
        char *y = ad_place_at(run, &sum->y, NULL, 1, 0, NULL) + a * (int64_t)run->element;
        const char *x = run->sums + sum->offset + a * e;
        bool max = plan_node(run->plan, sum->node)->op->flags & AD_OP_MAX_ROWS;
        (max ? passes->max : sum->wide ? passes->sum_wide : passes->sum)[type](y, x, run->blocks.chunks, s->sum_bytes / e, b - a);
    }
}

static void total_sums(ad_execution *run) {
    const plan_section *s = run->section;
    if (!s->n_sums) return;
    const plan_sum *last = &run->plan->sums[s->sums + s->n_sums - 1];
    int64_t n = last->start + plan_node(run->plan, last->node)->count;
    ad_pool_run(run->engine->pool, (n + SPLIT - 1) / SPLIT, total_split, run);
}

// AD_TRACE_NAN: the first total that is not finite.
static void trace_sums(ad_execution *run) {
    const plan_section *s = run->section;
    for (uint32_t i = s->sums; i < s->sums + s->n_sums && !atomic_load(&run->failed); i++) {
        const ad_node *node = plan_node(run->plan, run->plan->sums[i].node);
        const char *y = ad_place_at(run, &run->plan->sums[i].y, NULL, 1, 0, NULL);
        if (ad_passes_of_cpu()->finite[run->plan->type](y, node->count)) continue;
        char path[160] = "";
        if (run->tape) ad_scope_path(run->tape, run->tape->nodes[run->plan->sums[i].node].scope, path, sizeof path);
        ad_fail(run->error, AD_ENONFINITE, "%s%s%s (node %u): the total over rows is not finite", path, path[0] ? ": " : "",
                node->op->name, run->plan->sums[i].node);
        ad_engine_message(run->engine, run->error->message);
        atomic_store(&run->failed, 1);
    }
}

// ---- sections -----------------------------------------------------------------------------------------------------------------

static bool reserve(ad_execution *run) {
    ad_engine *e = run->engine;
    size_t sums = 0, stored = 0;
    for (size_t i = 0; i < run->plan->n_sections; i++) {
        const plan_section *s = &run->plan->sections[i];
        if (!s->rows) continue;
        const plan_set *set = &run->plan->sets[s->rows - 1];
        plan_blocks b = plan_blocks_of(set, run->bind->rows[s->rows - 1].count, e->latency);
        size_t need = (size_t)s->sum_bytes * (size_t)b.chunks;
        if (need > sums) sums = need;
    }
    for (uint32_t r = 0; r < run->plan->n_sets; r++) {
        if (!run->plan->sets[r].stored_features) continue;
        plan_blocks b = plan_blocks_of(&run->plan->sets[r], run->bind->rows[r].count, e->latency);
        size_t rows = ad_product((size_t)b.blocks, (size_t)b.R);
        size_t bytes = ad_product(ad_product(rows, (size_t)run->plan->sets[r].stored_features), run->element);
        stored = stored > SIZE_MAX - bytes ? SIZE_MAX : stored + bytes;
    }
    run->shared = ad_memory_reserve(&e->shared, (size_t)run->plan->shared_elements * run->element);
    run->sums = ad_memory_reserve(&e->sums, sums);
    return run->shared && run->sums && ad_memory_reserve(&e->stored, stored);
}

// Where the stored values of a row set begin.
static char *stored_of(const ad_execution *run, uint32_t set) {
    char *p = run->engine->stored.data;
    for (uint32_t r = 0; r < set; r++) {
        if (!run->plan->sets[r].stored_features) continue;
        plan_blocks b = plan_blocks_of(&run->plan->sets[r], run->bind->rows[r].count, run->engine->latency);
        p += (size_t)b.blocks * (size_t)b.R * (size_t)run->plan->sets[r].stored_features * run->element;
    }
    return p;
}

static void run_section(ad_execution *run, const plan_section *s) {
    run->section = s;
    if (s->rows) {
        const ad_row_set *set = &run->bind->rows[s->rows - 1];
        run->rows = set->count, run->first_row = set->first;
        run->blocks = plan_blocks_of(&run->plan->sets[s->rows - 1], set->count, run->engine->latency);
        run->stored = stored_of(run, s->rows - 1);
    }
    for (int i = 0; i < run->engine->threads; i++) {
        if (ad_reserve_worker(run, &run->engine->workers[i], s->rows ? run->blocks.R : 1)) continue;
        ad_fail(run->error, AD_ENOMEM, "run: out of memory");
        atomic_store(&run->failed, 1);
        return;
    }
    if (!s->rows) {
        ad_run_shared(run);
    } else if (run->engine->trace) {  // in order, on one thread: "first" is well defined
        for (int64_t c = 0; c < run->blocks.chunks; c++) ad_run_chunk(run, c, 0);
    } else {
        ad_pool_run(run->engine->pool, run->blocks.chunks, ad_run_chunk, run);
    }
    total_sums(run);
    if (run->engine->trace) trace_sums(run);
}

// ---- outputs ------------------------------------------------------------------------------------------------------------------

static bool reserve_kept(ad_output_memory *m, size_t bytes) {
    if (m->data && bytes <= m->room) return true;
    void *data = ad_aligned(bytes, 1);
    if (!data) return false;
    free(m->data);
    m->data = data, m->room = bytes;
    return true;
}

// Room for kept values, before anything runs.
static bool reserve_outputs(ad_execution *run) {
    for (uint32_t i = 0; i < run->plan->n_outputs; i++) {
        const ad_output *out = &run->plan->outputs[i];
        ad_output_memory *m = &run->bind->memory[i];
        m->rows = 0;
        if (out->kind == AD_ASSIGN && !reserve_kept(m, (size_t)out->count * ad_type_size(out->type))) return false;
        if (out->kind != AD_KEEP) continue;
        uint32_t rows = run->plan->nodes[out->id].rows;
        m->rows = rows ? run->bind->rows[rows - 1].count : 0;
        size_t n = ad_product((size_t)out->count, (size_t)(rows ? m->rows : 1));
        if (!reserve_kept(m, ad_product(n, run->element))) return false;
    }
    return true;
}

static void convert(void *to, ad_type to_type, const void *from, ad_type from_type, int64_t n, bool add) {
    for (int64_t i = 0; i < n; i++) {
        double v = from_type == AD_F32 ? (double)((const float *)from)[i] : ((const double *)from)[i];
        if (to_type == AD_F32) ((float *)to)[i] = add ? ((float *)to)[i] + (float)v : (float)v;
        else ((double *)to)[i] = add ? ((double *)to)[i] + v : v;
    }
}

static void write_output(const ad_execution *run, uint32_t i) {
    const ad_output *out = &run->plan->outputs[i];
    ad_output_memory *m = &run->bind->memory[i];
    const plan_place *x = &run->plan->output_places[i];
    if (out->id == UINT32_MAX) {
        if (out->kind == AD_GRADIENT) memset(m->target, 0, (size_t)out->count * ad_type_size(out->type));
        return;
    }
    if (run->plan->nodes[out->id].rows || (x->base == BASE_TARGET && x->index == i)) return;  // written in place
    const char *from = ad_place_at(run, x, NULL, 1, 0, NULL);
    if (out->kind == AD_KEEP) {
        if (out->count) memcpy(m->data, from, (size_t)out->count * run->element);
    } else if (out->kind == AD_ASSIGN) {
        convert(m->data, out->type, from, run->plan->type, out->count, false);
    } else {
        convert(m->target, out->type, from, run->plan->type, out->count, out->kind == AD_GRADIENT_ADD);
    }
}

// States change when all reads are done; their old values stay in the output's memory for ad_reject.
void ad_swap_states(const ad_output *outputs, uint32_t n, ad_binding *bind) {
    for (uint32_t i = 0; i < n; i++) {
        if (outputs[i].kind != AD_ASSIGN) continue;
        char *state = ((ad_tensor *)bind->memory[i].target)->data, *other = bind->memory[i].data;
        size_t bytes = (size_t)outputs[i].count * ad_type_size(outputs[i].type);
        for (size_t k = 0; k < bytes; k++) {
            char old = state[k];
            state[k] = other[k], other[k] = old;
        }
    }
}

static void write_outputs(const ad_execution *run) {
    for (uint32_t i = 0; i < run->plan->n_outputs; i++) write_output(run, i);
    ad_swap_states(run->plan->outputs, run->plan->n_outputs, run->bind);
}

// ---- a run ----------------------------------------------------------------------------------------------------------------------

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Whether all that a run has to give is kept values, and all of these are finite.
static bool finite_outputs(const ad_plan *plan, const ad_binding *bind) {
    for (uint32_t i = 0; i < plan->n_outputs; i++) {
        const ad_output_memory *m = &bind->memory[i];
        int64_t n = plan->outputs[i].count * (m->rows ? m->rows : 1);
        if (!ad_passes_of_cpu()->finite[plan->type](m->data, n)) return false;
    }
    return true;
}

// In latency mode reading all parameters once more would double the time of a run that only evaluates: they are looked at
// when a result is not finite, or the run fails.
static bool checks_later(const ad_engine *e, const ad_plan *plan) {
    bool keeps = e->latency;
    for (uint32_t i = 0; i < plan->n_outputs && keeps; i++) keeps = plan->outputs[i].kind == AD_KEEP;
    return keeps;
}

ad_status ad_execute(ad_engine *e, ad_plan *plan, ad_binding *bind, const ad_tape *tape, ad_error *error) {
    bool later = checks_later(e, plan);
    ad_status status = check_leaves(plan, bind, error);
    if (status == AD_OK && !later) status = check_params(e, plan, bind, error);
    if (status != AD_OK) return status;
    if (e->profile && !plan->profile) plan->profile = calloc(plan->n_instrs + 1, sizeof *plan->profile);
    ad_execution run = {.engine = e, .plan = plan, .bind = bind, .tape = tape, .element = ad_type_size(plan->type),
                        .error = error};
    if (!reserve(&run) || !reserve_outputs(&run)) return ad_fail(error, AD_ENOMEM, "run: out of memory");
    ad_fp_mode mode = ad_fp_flush();
    uint64_t start = e->profile ? now() : 0;
    for (size_t i = 0; i < plan->n_sections && !atomic_load(&run.failed); i++) run_section(&run, &plan->sections[i]);
    if (plan->profile) plan->profile[plan->n_instrs] += now() - start;
    bool ok = !atomic_load(&run.failed);
    if (ok) write_outputs(&run);
    ad_fp_restore(mode);
    plan->profile_runs++;
    if (later && (!ok || !finite_outputs(plan, bind)) && check_params(e, plan, bind, error)) return error->status;
    return ok ? AD_OK : error->status;
}
