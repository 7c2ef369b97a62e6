// block.c -- the instructions of a section, run over one block of rows after another.
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"

typedef struct block {  // what one thread works on
    ad_execution *run;
    ad_worker *worker;
    char *memory, *tile, *sums;
    int R, live;
    int64_t number, row;  // of the block; of its first row
    bool first;           // of its chunk: accumulators are written
    int loops;            // around the instruction: rows that are done may hold anything there
    uint32_t node;        // whose kernel runs
} block;

// ---- places -----------------------------------------------------------------------------------------------------------

char *ad_place_at(const ad_execution *run, const plan_place *x, char *memory, int R, int64_t number, char *sums) {
    int64_t e = (int64_t)run->element;
    switch ((plan_base)x->base) {
        case BASE_BLOCK: return memory + x->offset * R * e;
        case BASE_STORED:
            return run->stored + (number * run->plan->sets[run->section->rows - 1].stored_features + x->offset) * R * e;
        case BASE_SHARED: return run->shared + x->offset * e;
        case BASE_SLOT: return (char *)((const ad_tensor *)run->bind->slots[x->index].bound)->data + x->offset * e;
        case BASE_TARGET: return (char *)run->bind->memory[x->index].target + x->offset * e;
        case BASE_SUM: return sums + x->offset;
        default: return NULL;
    }
}

static char *at(const block *b, const plan_place *x) {
    return ad_place_at(b->run, x, b->memory, b->R, b->number, b->sums);
}

// ---- preparing kernel calls ---------------------------------------------------------------------------------------------

static const void *slot_of(const ad_execution *run, const ad_node *node) {
    if (!node->slot) return NULL;
    const ad_slot *slot = &run->bind->slots[node->slot - 1];
    return slot->bound ? slot->bound : &run->bind->rows[slot->key - 1];
}

static void point_operands(const block *b, const plan_instr *in, ad_kernel *k, ad_kernel_operand *x) {
    const plan_place *places = b->run->plan->places + in->x;
    for (uint32_t i = 0; i < in->n; i++)
        x[i] = (ad_kernel_operand){at(b, &places[i]), places[i].lane ? b->R : 1, places[i].lane, places[i].shape};
    k->y = at(b, &in->y);
    k->x = x;
}

static void prepare_kernel(const block *b, const plan_instr *in, ad_kernel *k, ad_kernel_operand *x) {
    const ad_plan *plan = b->run->plan;
    const ad_node *node = plan_node(plan, in->node);
    *k = (ad_kernel){.n = (int)node->n, .epilogue = in->then ? in->then->epilogue : 0, .R = b->R, .shape = &node->shape, .attr = plan_attr(plan, in->node),
                     .slot = slot_of(b->run, node), .scratch = b->worker->scratch.data};
    point_operands(b, in, k, x);
}

bool ad_reserve_worker(const ad_execution *run, ad_worker *w, int R) {
    const plan_section *s = run->section;
    int k = R >= 256 ? 4 : R >= 128 ? 3 : R >= 64 ? 2 : R >= 32 ? 1 : 0;
    w->prepared = false;
    return ad_memory_reserve(&w->block, (size_t)s->block_features * (size_t)R * run->element) &&
           ad_memory_reserve(&w->tile, (size_t)TILE_SLOTS * TILE_BYTES) && ad_memory_reserve(&w->scratch, s->scratch[k]) &&
           ad_memory_reserve(&w->kernels, s->n * sizeof(ad_kernel)) &&
           ad_memory_reserve(&w->operands, s->places * sizeof(ad_kernel_operand));
}

// Kernel calls of the section, made once a run and thread; calls whose operands move are pointed anew for each block.
static void prepare(block *b) {
    const plan_section *s = b->run->section;
    ad_worker *w = b->worker;
    b->memory = w->block.data, b->tile = w->tile.data;
    ad_kernel *kernels = w->kernels.data;
    ad_kernel_operand *x = w->operands.data;
    for (uint32_t i = 0; i < s->n && !w->prepared; i++) {
        const plan_instr *in = &b->run->plan->instrs[s->first + i];
        if (in->kind == PLAN_KERNEL) prepare_kernel(b, in, &kernels[i], x);
        x += in->n;
    }
    w->prepared = true;
}

// ---- looking for non-finite values (AD_TRACE_NAN) -----------------------------------------------------------------------

static double element(const ad_execution *run, const char *p, int64_t i) {
    return run->plan->type == AD_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

// Reports the first non-finite element of features [f0, f0 + n) of a node's value.
static void trace(const block *b, uint32_t id, const char *y, int64_t f0, int64_t n, bool lanes) {
    ad_execution *run = b->run;
    int R = lanes ? b->R : 1, live = lanes ? b->live : 1;
    if (!y || b->loops || atomic_load(&run->failed)) return;
    for (int r = 0; r < live; r++) {
        for (int64_t f = 0; f < n; f++) {
            double v = element(run, y, f * R + r);
            if (isfinite(v)) continue;
            atomic_store(&run->failed, 1);
            char path[160] = "", where[64] = "";
            const ad_node *node = plan_node(run->plan, id);
            if (run->tape) ad_scope_path(run->tape, run->tape->nodes[id].scope, path, sizeof path);
            if (b->run->section->rows) snprintf(where, sizeof where, " of row %lld", (long long)(b->row + r));
            ad_fail(run->error, AD_ENONFINITE, "%s%s%s (node %u): first non-finite value: %g in element %lld%s",
                    path, path[0] ? ": " : "", node->op->name, id, v, (long long)(f0 + f), where);
            ad_engine_message(run->engine, run->error->message);
            return;
        }
    }
}

// ---- failures of kernels --------------------------------------------------------------------------------------------------

// The message of the first row counts, whichever thread comes first; later sections do not run.
void ad_kernel_fail(const ad_kernel *k, int lane, ad_status status, const char *format, ...) {
    const block *b = k->call;
    if (!b) return;  // called by ad_check_op, outside of a run
    ad_execution *run = b->run;
    int64_t row = run->section->rows ? b->row + lane : 0;
    if (b->loops || lane >= b->live) return;  // nothing is known of lanes that are done
    while (atomic_exchange(&run->failing, 1)) continue;
    if (!atomic_load(&run->failed) || row < run->failed_row) {
        char path[160] = "", where[48] = "", text[300];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        if (run->tape) ad_scope_path(run->tape, run->tape->nodes[b->node].scope, path, sizeof path);
        if (run->section->rows) snprintf(where, sizeof where, " of row %lld", (long long)row);
        ad_fail(run->error, status, "%s%s%s%s: %s", path, path[0] ? ": " : "", plan_node(run->plan, b->node)->op->name,
                where, text);
        run->failed_row = row;
        atomic_store(&run->failed, 1);
    }
    atomic_store(&run->failing, 0);
}

// ---- elementwise runs -----------------------------------------------------------------------------------------------------

static void fill_lanes(char *y, const char *x, size_t n, size_t e) {
    if (e == 4) {
        float v, *p = (float *)(void *)y;
        memcpy(&v, x, sizeof v);
        for (size_t i = 0; i < n; i++) p[i] = v;
    } else {
        double v, *p = (double *)(void *)y;
        memcpy(&v, x, sizeof v);
        for (size_t i = 0; i < n; i++) p[i] = v;
    }
}

static char *slot_at(const block *b, uint32_t slot) { return b->tile + slot * TILE_BYTES; }

// Features [f, f + m) of a broadcast operand into its slot. What is the same for all features is written only once.
static void spread_tile(const block *b, const plan_spread *s, int64_t f, int64_t m, bool again) {
    size_t e = b->run->element, line = (size_t)b->R * e;
    const char *x = at(b, &s->x);
    char *y = slot_at(b, s->slot);
    if (s->x.count == 1 && again) return;
    if (s->x.count == 1 && !s->x.lane) {
        fill_lanes(y, x, (size_t)(m * b->R), e);
    } else if (s->x.count == 1) {
        for (int64_t i = 0; i < m; i++) memcpy(y + (size_t)i * line, x, line);
    } else {
        for (int64_t i = 0; i < m; i++) fill_lanes(y + (size_t)i * line, x + (size_t)(f + i) * e, (size_t)b->R, e);
    }
}

static void run_step(const block *b, const plan_step *s, int64_t f, int64_t m) {
    const ad_execution *run = b->run;
    const plan_place *places = run->plan->places + s->x;
    const void *x[8];
    int64_t shift = f * b->R * (int64_t)run->element;
    for (uint32_t i = 0; i < s->n; i++)
        x[i] = places[i].base == BASE_TILE ? slot_at(b, places[i].index) : at(b, &places[i]) + shift;
    char *y = s->y.base == BASE_TILE ? slot_at(b, s->y.index) : at(b, &s->y) + shift;
    s->op->lanes[run->plan->type]((size_t)(m * b->R), y, x, plan_attr(run->plan, s->node));
    if (run->engine->trace) trace(b, s->node, y, f, m, run->section->rows != 0);
}

// Features [from, to) of a run, tile by tile.
static void run_tiles(const block *b, const plan_instr *in, int64_t from, int64_t to) {
    const ad_plan *plan = b->run->plan;
    int64_t T = TILE_BYTES / ((int64_t)b->run->element * b->R);
    for (int64_t f = from; f < to; f += T) {
        int64_t m = to - f < T ? to - f : T;
        for (uint32_t i = 0; i < in->n_spreads; i++) spread_tile(b, &plan->spreads[in->spreads + i], f, m, f > from);
        for (uint32_t i = 0; i < in->n_steps; i++) run_step(b, &plan->steps[in->steps + i], f, m);
    }
}

// ---- other instructions ----------------------------------------------------------------------------------------------------

static void run_spread(const block *b, const plan_instr *in) {
    const plan_place *x = &b->run->plan->places[in->x];
    size_t e = b->run->element;
    const char *from = at(b, x);
    char *y = at(b, &in->y);
    for (int64_t f = 0; f < x->count; f++)
        fill_lanes(y + (size_t)(f * b->R) * e, from + (size_t)f * e, (size_t)b->R, e);
}

// Lanes become rows of a kept value.
static void run_store(const block *b, const plan_instr *in) {
    const plan_place *x = &b->run->plan->places[in->x];
    size_t e = b->run->element;
    const char *from = at(b, x);
    char *to = (char *)b->run->bind->memory[in->other].data + (size_t)(b->row * x->count) * e;
    int64_t stride = x->lane ? b->R : 1;
    for (int r = 0; r < b->live; r++)
        for (int64_t f = 0; f < x->count; f++, to += e) memcpy(to, from + (size_t)(f * stride + r * x->lane) * e, e);
}

static const ad_loop_attr *loop_attr(const block *b, const plan_instr *in) { return plan_attr(b->run->plan, in->node); }

// The state starts as init, the iterations and the done flag behind it as zero.
static void loop_begin(const block *b, const plan_instr *in) {
    const plan_place *x = &b->run->plan->places[in->x];
    int64_t n = loop_attr(b, in)->n;
    size_t e = b->run->element, line = (size_t)b->R * e;
    char *y = at(b, &in->y);
    const char *from = at(b, x);
    if (x->lane || !b->run->section->rows) memcpy(y, from, (size_t)n * line);
    else for (int64_t f = 0; f < n; f++) fill_lanes(y + (size_t)f * line, from + (size_t)f * e, (size_t)b->R, e);
    memset(y + (size_t)n * line, 0, 2 * line);
}

// Takes the next state in lanes not done; true when all are done, or the iterations used up. Few branches: which lanes
// are done is hard to guess.
enum { LANES = 64 };  // listed at once
#define LOOP_STEP(name, T)                                                                                \
    static bool name(T *y, const T *next, int64_t stride, int lane, const T *done, int done_lane,         \
                     const ad_loop_attr *attr, int R) {                                                   \
        T *iterations = y + attr->n * R, *finished = iterations + R;                                      \
        int searching = 0, idle = 0;                                                                      \
        for (int r = 0; r < R; r++) { /* 2: finishes now; done may be part of the state */                \
            const int begun = finished[r] == 0, ends = begun & (done[r * done_lane] != 0);                \
            iterations[r] += (T)begun;                                                                    \
            finished[r] += (T)(2 * ends);                                                                 \
            idle += 1 - begun;                                                                            \
            searching += begun & !ends & (iterations[r] < (T)attr->max_iterations);                       \
        }                                                                                                 \
        if (idle == 0 && lane) memcpy(y, next, (size_t)(attr->n * R) * sizeof(T));                        \
        for (int first = 0; first < R && !(idle == 0 && lane); first += LANES) {                          \
            int taking[LANES], n = 0;                                                                     \
            for (int r = first; r < R && r < first + LANES; r++) taking[n] = r, n += finished[r] != 1;    \
            for (int64_t f = 0; f < attr->n; f++)                                                         \
                for (int i = 0; i < n; i++) y[f * R + taking[i]] = next[f * stride + taking[i] * lane];   \
        }                                                                                                 \
        for (int r = 0; r < R; r++) finished[r] = (T)(finished[r] != 0);                                  \
        return searching == 0;                                                                            \
    }
LOOP_STEP(loop_step_f32, float)
LOOP_STEP(loop_step_f64, double)

static bool loop_end(const block *b, const plan_instr *in) {
    const plan_place *x = &b->run->plan->places[in->x];
    int64_t stride = x[0].lane ? b->R : 1;
    char *y = at(b, &in->y), *next = at(b, &x[0]), *done = at(b, &x[1]);
    if (b->run->plan->type == AD_F32)
        return loop_step_f32((float *)(void *)y, (float *)(void *)next, stride, x[0].lane, (float *)(void *)done, x[1].lane,
                             loop_attr(b, in), b->R);
    return loop_step_f64((double *)(void *)y, (double *)(void *)next, stride, x[0].lane, (double *)(void *)done, x[1].lane,
                         loop_attr(b, in), b->R);
}

// ---- wide runs ---------------------------------------------------------------------------------------------------------------

enum { SPLIT = 16384 };  // elements of a tile that one thread takes

typedef struct split_run {
    ad_execution *run;
    const plan_instr *in;
} split_run;

static void run_split(void *arg, int64_t i, int thread) {
    const split_run *s = arg;
    ad_worker *w = &s->run->engine->workers[thread];
    block b = {.run = s->run, .worker = w, .R = 1, .live = 1, .tile = w->tile.data};
    int64_t to = (i + 1) * SPLIT;
    run_tiles(&b, s->in, i * SPLIT, to < s->in->y.count ? to : s->in->y.count);
}

// An elementwise run over many elements, on all threads.
static void run_wide(ad_execution *run, const plan_instr *in) {
    split_run s = {run, in};
    ad_pool_run(run->engine->pool, (in->y.count + SPLIT - 1) / SPLIT, run_split, &s);
}

// ---- a block ----------------------------------------------------------------------------------------------------------------

static void run_kernel(block *b, const plan_instr *in, ad_kernel *k) {
    if (in->moves) point_operands(b, in, k, (ad_kernel_operand *)(uintptr_t)k->x);
    k->live = b->live;
    k->row = b->row;
    k->first_row = b->run->first_row + b->row;
    k->first = b->first;
    k->call = b;
    b->node = in->node;
    in->op->kernel[b->run->plan->type](k);
    if (b->run->engine->trace && in->y.base != BASE_SUM)
        trace(b, in->node, k->y, 0, plan_node(b->run->plan, in->node)->count, b->run->section->rows != 0);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run_instrs(block *b) {
    const plan_section *s = b->run->section;
    const plan_instr *instrs = b->run->plan->instrs + s->first;
    ad_kernel *kernels = b->worker->kernels.data;
    uint64_t *profile = b->run->plan->profile;
    for (uint32_t i = 0; i < s->n; i++) {
        const plan_instr *in = &instrs[i];
        uint64_t start = profile ? now() : 0;
        uint32_t here = i;
        switch (in->kind) {
            case PLAN_KERNEL: run_kernel(b, in, &kernels[i]); break;
            case PLAN_RUN:
                if (!s->rows && in->y.count > SPLIT && !b->run->engine->trace) run_wide(b->run, in);
                else run_tiles(b, in, 0, in->y.count);
                break;
            case PLAN_SPREAD: run_spread(b, in); break;
            case PLAN_STORE: run_store(b, in); break;
            case PLAN_LOOP:
                loop_begin(b, in);
                b->loops++;
                break;
            case PLAN_LOOP_END:
                if (!loop_end(b, in)) i = in->other - s->first;
                else if (--b->loops == 0 && b->run->engine->trace) trace(b, in->node, at(b, &in->y), 0, in->y.count, s->rows != 0);
                break;
        }
        if (profile) __atomic_fetch_add(&profile[s->first + here], now() - start, __ATOMIC_RELAXED);
    }
}

void ad_run_chunk(void *arg, int64_t chunk, int thread) {
    ad_execution *run = arg;
    const plan_blocks *n = &run->blocks;
    block b = {.run = run, .worker = &run->engine->workers[thread], .R = n->R,
               .sums = run->sums + chunk * run->section->sum_bytes, .first = true};
    prepare(&b);
    int64_t end = (chunk + 1) * n->blocks / n->chunks;
    for (b.number = chunk * n->blocks / n->chunks; b.number < end; b.number++, b.first = false) {
        b.row = b.number * b.R;
        b.live = run->rows - b.row < b.R ? (int)(run->rows - b.row) : b.R;
        run_instrs(&b);
    }
}

void ad_run_shared(ad_execution *run) {
    block b = {.run = run, .worker = &run->engine->workers[0], .R = 1, .live = 1, .first = true};
    prepare(&b);
    run_instrs(&b);
}
