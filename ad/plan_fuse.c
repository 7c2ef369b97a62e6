// plan_fuse.c -- consecutive elementwise instructions become runs, executed tile by tile.
//
// Inside a run every value has the same number of features, so that a tile of it (up to TILE_BYTES) can go through all steps
// while it is in L1. Values that only the run uses never leave their tile slot. Operands that are broadcast are spread into
// slots first.
#include <stdlib.h>
#include <string.h>

#include "engine.h"

enum { MAX_STEPS = 48, MAX_SPREADS = 8 };  // spreads: as many as an elementwise op has operands

typedef struct run {  // being built
    plan_instr instr;
    int64_t n;        // features
    plan_step step[MAX_STEPS];
    int n_steps;
    plan_spread spread[MAX_SPREADS];
    int n_spreads;
} run;

// Whether an operand's elements lie as the result's do.
static bool is_full(const planner *pl, const plan_place *x, int64_t n) {
    return x->count == n && (x->lane || !pl->section.rows);
}

static bool same_place(const plan_place *a, const plan_place *b) {
    return a->base == b->base && a->index == b->index && a->buffer == b->buffer && a->offset == b->offset &&
           a->count == b->count && a->lane == b->lane;
}

static int find_spread(const run *r, const plan_place *x) {
    for (int i = 0; i < r->n_spreads; i++)
        if (same_place(&r->spread[i].x, x)) return i;
    return -1;
}

// Whether x may be read inside the run: not written by it, or exactly as it was written.
static bool readable(const planner *pl, const run *r, const plan_place *x) {
    int64_t from = x->offset;
    int32_t root = plan_root(pl, x->buffer, &from);
    for (int i = 0; root >= 0 && i < r->n_steps; i++) {
        int64_t at = r->step[i].y.offset;
        if (plan_root(pl, r->step[i].y.buffer, &at) != root) continue;
        bool apart = from + x->count <= at || at + r->n <= from;
        if (!apart && !(from == at && is_full(pl, x, r->n))) return false;
    }
    return true;
}

static bool fits(const planner *pl, const run *r, const plan_instr *in) {
    if (r->n_steps == MAX_STEPS || in->y.count != r->n) return false;
    int spreads = r->n_spreads;
    for (uint32_t i = 0; i < in->n; i++) {
        const plan_place *x = &pl->plan->places[in->x + i];
        if (!readable(pl, r, x)) return false;
        if (!is_full(pl, x, r->n) && find_spread(r, x) < 0) spreads++;
    }
    return spreads <= MAX_SPREADS;
}

static void add_step(planner *pl, run *r, const plan_instr *in) {
    r->step[r->n_steps++] = (plan_step){in->op, in->node, in->x, in->n, in->y};
    for (uint32_t i = 0; i < in->n; i++) {
        plan_place *x = &pl->plan->places[in->x + i];
        if (is_full(pl, x, r->n)) continue;
        int k = find_spread(r, x);
        if (k < 0) {
            k = r->n_spreads++;
            r->spread[k] = (plan_spread){*x, (uint32_t)k};
        }
        *x = (plan_place){.base = BASE_TILE, .index = (uint32_t)k, .buffer = -1, .lane = 1, .count = r->n, .shape = x->shape};
    }
}

// Uses of a step's result by later steps; the last one in *last.
static int uses_in_run(const planner *pl, const run *r, int step, int *last) {
    int n = 0;
    *last = step;
    for (int i = step + 1; i < r->n_steps; i++)
        for (uint32_t k = 0; k < r->step[i].n; k++)
            if (pl->plan->places[r->step[i].x + k].buffer == r->step[step].y.buffer) n++, *last = i;
    return n;
}

// Results that nothing outside the run reads move to tile slots, as far as there are slots.
static void use_slots(planner *pl, run *r, const int *uses) {
    int free_at[TILE_SLOTS];  // step after which a slot is free
    for (int s = 0; s < TILE_SLOTS; s++) free_at[s] = s < r->n_spreads ? MAX_STEPS : -1;
    for (int i = 0; i < r->n_steps; i++) {
        plan_place y = r->step[i].y;
        const plan_buffer *b = &pl->buffers[y.buffer];
        int last, slot = 0;
        if (!pl->section.rows || b->base != BASE_BLOCK || b->parent >= 0 || b->size != r->n) continue;
        if (uses_in_run(pl, r, i, &last) != uses[y.buffer - (int32_t)pl->first_buffer]) continue;
        while (slot < TILE_SLOTS && free_at[slot] >= i) slot++;  // an operand's slot is free only after this step
        if (slot == TILE_SLOTS) continue;
        free_at[slot] = last;
        plan_place tile = {.base = BASE_TILE, .index = (uint32_t)slot, .buffer = -1, .lane = 1, .count = r->n, .shape = y.shape};
        for (int j = i + 1; j <= last; j++)
            for (uint32_t k = 0; k < r->step[j].n; k++) {
                plan_place *x = &pl->plan->places[r->step[j].x + k];
                if (x->buffer == y.buffer) *x = tile;
            }
        r->step[i].y = tile;
    }
}

static void finish_run(planner *pl, run *r, const int *uses, plan_instr *out) {
    ad_plan *p = pl->plan;
    use_slots(pl, r, uses);
    *out = r->instr;
    out->steps = (uint32_t)p->n_steps, out->n_steps = (uint32_t)r->n_steps;
    out->spreads = (uint32_t)p->n_spreads, out->n_spreads = (uint32_t)r->n_spreads;
    out->n = 0;
    if (!ad_grow(&p->steps, &p->room_steps, p->n_steps + (size_t)r->n_steps, sizeof *p->steps) ||
        !ad_grow(&p->spreads, &p->room_spreads, p->n_spreads + (size_t)r->n_spreads + 1, sizeof *p->spreads)) {
        pl->failed = true;
        return;
    }
    memcpy(p->steps + p->n_steps, r->step, (size_t)r->n_steps * sizeof *r->step);
    memcpy(p->spreads + p->n_spreads, r->spread, (size_t)r->n_spreads * sizeof *r->spread);
    p->n_steps += (size_t)r->n_steps, p->n_spreads += (size_t)r->n_spreads;
}

// ---- epilogues of products ----------------------------------------------------------------------------------------------

enum { LOOK_BACK = 4 };  // instructions between a product and its epilogue: the products of the bias's gradient

// Whether x is, or may be, written by the instruction.
static bool writes(const planner *pl, const plan_instr *in, const plan_place *x) {
    int64_t offset = 0;
    int32_t root = plan_root(pl, x->buffer, &offset);
    if (root < 0) return false;
    if (plan_root(pl, in->y.buffer, &offset) == root) return true;
    for (uint32_t s = in->steps; in->kind == PLAN_RUN && s < in->steps + in->n_steps; s++)
        if (plan_root(pl, pl->plan->steps[s].y.buffer, &offset) == root) return true;
    return false;
}

// Whether the product `kernel` can hand its result to the elementwise instruction while it is in registers: nothing else
// reads it. (A trace looks at every value.)
static bool is_epilogue(const planner *pl, const plan_instr *kernel, const plan_instr *in, const int *uses) {
    const plan_place *x = &pl->plan->places[in->x];
    if (!(kernel->op->flags & AD_OP_EPILOGUES) || kernel->then || !same_place(&kernel->y, x)) return false;
    if (kernel->y.buffer < (int32_t)pl->first_buffer || in->y.count != kernel->y.count) return false;
    const plan_buffer *b = &pl->buffers[kernel->y.buffer];
    return b->base == BASE_BLOCK && b->parent < 0 && uses[x->buffer - (int32_t)pl->first_buffer] == 1;
}

// The product before instruction w of which the elementwise instruction can be the epilogue; NULL: none.
static plan_instr *find_product(planner *pl, uint32_t w, const plan_instr *in, const int *uses) {
    plan_instr *instrs = pl->plan->instrs;
    if (!in->op->epilogue || !pl->section.rows || pl->tape->bind.engine->trace) return NULL;
    for (uint32_t k = 1; k < in->n; k++)
        if (!is_full(pl, &pl->plan->places[in->x + k], in->y.count)) return NULL;
    for (uint32_t i = w; i > pl->section.first && w - i < LOOK_BACK; i--) {
        if (instrs[i - 1].kind == PLAN_KERNEL && is_epilogue(pl, &instrs[i - 1], in, uses)) return &instrs[i - 1];
        if (instrs[i - 1].kind != PLAN_KERNEL && instrs[i - 1].kind != PLAN_RUN) return NULL;
        for (uint32_t k = 1; k < in->n; k++)  // written too late
            if (writes(pl, &instrs[i - 1], &pl->plan->places[in->x + k])) return NULL;
    }
    return NULL;
}

// The operands of both, one after the other.
static void join_epilogue(planner *pl, plan_instr *kernel, const plan_instr *in) {
    ad_plan *p = pl->plan;
    uint32_t n = kernel->n + in->n - 1;
    if (!ad_grow(&p->places, &p->room_places, p->n_places + n, sizeof *p->places)) {
        pl->failed = true;
        return;
    }
    plan_place *x = p->places + p->n_places;
    memcpy(x, p->places + kernel->x, kernel->n * sizeof *x);
    memcpy(x + kernel->n, p->places + in->x + 1, (in->n - 1) * sizeof *x);
    kernel->x = (uint32_t)p->n_places, kernel->n = n;
    kernel->then = in->op, kernel->then_node = in->node;
    kernel->y = in->y;
    p->n_places += n;
}

// ---- a section ------------------------------------------------------------------------------------------------------------

// How often each buffer of the section is read.
static int *count_uses(const planner *pl) {
    int *uses = calloc(pl->n_buffers - pl->first_buffer + 1, sizeof *uses);
    for (size_t i = pl->section.first; uses && i < pl->plan->n_instrs; i++) {
        const plan_instr *in = &pl->plan->instrs[i];
        for (uint32_t k = 0; k < in->n; k++) {
            int32_t b = pl->plan->places[in->x + k].buffer;
            if (b >= (int32_t)pl->first_buffer) uses[b - (int32_t)pl->first_buffer]++;
        }
    }
    return uses;
}

void plan_fuse_section(planner *pl) {
    ad_plan *p = pl->plan;
    uint32_t end = (uint32_t)p->n_instrs, w = pl->section.first;
    int *uses = count_uses(pl);
    uint32_t *moved = malloc((end - w + 1) * sizeof *moved);  // new number of an instruction
    run *r = malloc(sizeof *r);
    if (!uses || !moved || !r) pl->failed = true;
    for (uint32_t i = w; i < end && !pl->failed;) {
        moved[i - pl->section.first] = w;
        if (p->instrs[i].kind != PLAN_RUN) {
            plan_instr in = p->instrs[i++];
            if (in.kind == PLAN_LOOP_END) {
                in.other = moved[in.other - pl->section.first];
                p->instrs[in.other].other = w;
            }
            p->instrs[w++] = in;
            continue;
        }
        plan_instr *product = find_product(pl, w, &p->instrs[i], uses);
        if (product) {
            join_epilogue(pl, product, &p->instrs[i++]);
            continue;
        }
        *r = (run){.instr = p->instrs[i], .n = p->instrs[i].y.count};
        // An instruction alone always fits.
        while (i < end && p->instrs[i].kind == PLAN_RUN && fits(pl, r, &p->instrs[i])) add_step(pl, r, &p->instrs[i++]);
        plan_instr out;
        finish_run(pl, r, uses, &out);
        p->instrs[w++] = out;
    }
    if (!pl->failed) p->n_instrs = w;
    free(uses);
    free(moved);
    free(r);
}
