// plan_memory.c -- addresses: buffers of a section laid out by liveness, then every place resolved.
#include <stdlib.h>
#include <string.h>

#include "plan.h"

// ---- liveness -------------------------------------------------------------------------------------------------------

static void touch(planner *pl, const plan_place *x, uint32_t at) {
    int64_t offset = 0;
    int32_t root = plan_root(pl, x->buffer, &offset);
    if (root < (int32_t)pl->first_buffer) return;
    plan_buffer *b = &pl->buffers[root];
    if (at < b->first) b->first = at;
    if (at > b->last) b->last = at;
}

static void touch_instr(planner *pl, const plan_instr *in, uint32_t at) {
    const ad_plan *p = pl->plan;
    touch(pl, &in->y, at);
    for (uint32_t k = 0; k < in->n; k++) touch(pl, &p->places[in->x + k], at);
    if (in->kind != PLAN_RUN) return;
    for (uint32_t s = in->steps; s < in->steps + in->n_steps; s++) {
        touch(pl, &p->steps[s].y, at);
        for (uint32_t k = 0; k < p->steps[s].n; k++) touch(pl, &p->places[p->steps[s].x + k], at);
    }
    for (uint32_t s = in->spreads; s < in->spreads + in->n_spreads; s++) touch(pl, &p->spreads[s].x, at);
}

// What a loop's body reads from outside lives until the loop ends.
static void extend_over_loop(planner *pl, uint32_t begin, uint32_t end) {
    for (size_t b = pl->first_buffer; b < pl->n_buffers; b++) {
        plan_buffer *buf = &pl->buffers[b];
        if (buf->first < begin && buf->last > begin && buf->last < end) buf->last = end;
    }
}

static void find_lifetimes(planner *pl) {
    const ad_plan *p = pl->plan;
    uint32_t end = pl->section.first + pl->section.n;
    for (uint32_t i = pl->section.first; i < end; i++) {
        plan_instr in = p->instrs[i];
        if (in.kind == PLAN_RUN) in.y.buffer = -1;  // steps say it
        touch_instr(pl, &in, i);
    }
    for (uint32_t i = end; i-- > pl->section.first;)  // inner loops first, then those around them
        if (p->instrs[i].kind == PLAN_LOOP) extend_over_loop(pl, i, p->instrs[i].other);
}

// ---- results in the memory of operands ----------------------------------------------------------------------------------

// The last step of a run that reads root; -1: none, or read by a spread.
static int64_t last_reader(const planner *pl, const plan_instr *in, int32_t root) {
    const ad_plan *p = pl->plan;
    int64_t last = -1, offset = 0;
    for (uint32_t s = in->spreads; s < in->spreads + in->n_spreads; s++)
        if (plan_root(pl, p->spreads[s].x.buffer, &offset) == root) return INT64_MAX;
    for (uint32_t s = in->steps; s < in->steps + in->n_steps; s++)
        for (uint32_t k = 0; k < p->steps[s].n; k++)
            if (plan_root(pl, p->places[p->steps[s].x + k].buffer, &offset) == root) last = s;
    return last;
}

// Whether y, written by step s of instruction i, can be written over x, which the run reads for the last time.
static bool can_overwrite(const planner *pl, uint32_t i, uint32_t s, const plan_place *x, const plan_place *y) {
    int64_t from = x->offset;
    int32_t root = plan_root(pl, x->buffer, &from);
    if (root < (int32_t)pl->first_buffer || root == y->buffer || from != 0) return false;
    const plan_buffer *a = &pl->buffers[root], *b = &pl->buffers[y->buffer];
    return a->base == BASE_BLOCK && a->last == i && a->first < i && a->size == b->size && x->count == a->size &&
           last_reader(pl, &pl->plan->instrs[i], root) <= s;
}

// An elementwise result takes the memory of an operand that nothing reads any more: it is in the nearest cache.
static void write_over_operands(planner *pl) {
    ad_plan *p = pl->plan;
    for (uint32_t i = pl->section.first; i < pl->section.first + pl->section.n; i++) {
        const plan_instr *in = &p->instrs[i];
        if (in->kind != PLAN_RUN) continue;
        for (uint32_t s = in->steps; s < in->steps + in->n_steps; s++) {
            const plan_place *y = &p->steps[s].y;
            if (y->buffer < 0 || y->offset != 0) continue;
            plan_buffer *b = &pl->buffers[y->buffer];
            if (b->base != BASE_BLOCK || b->parent >= 0 || b->first != i) continue;
            for (uint32_t k = 0; k < p->steps[s].n && b->parent < 0; k++) {
                const plan_place *x = &p->places[p->steps[s].x + k];
                if (!can_overwrite(pl, i, s, x, y)) continue;
                int64_t offset = 0;
                b->parent = plan_root(pl, x->buffer, &offset);
                b->parent_offset = 0;
                if (b->last > pl->buffers[b->parent].last) pl->buffers[b->parent].last = b->last;
            }
        }
    }
}

// ---- layout -----------------------------------------------------------------------------------------------------------

typedef struct live_buffer {
    int64_t offset, size;
    uint32_t last;
} live_buffer;

static int order_by_first(const void *a, const void *b) {
    const plan_buffer *x = *(plan_buffer *const *)a, *y = *(plan_buffer *const *)b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return x < y ? -1 : x > y;
}

// The lowest gap that holds size features among the live buffers, which are kept sorted by offset.
static int64_t place_buffer(live_buffer *live, size_t *n, const plan_buffer *b) {
    size_t w = 0;
    for (size_t i = 0; i < *n; i++)
        if (live[i].last >= b->first) live[w++] = live[i];
    *n = w;
    int64_t at = 0;
    size_t i = 0;
    for (; i < *n && live[i].offset - at < b->size; i++) at = live[i].offset + live[i].size;
    memmove(live + i + 1, live + i, (*n - i) * sizeof *live);
    live[i] = (live_buffer){at, b->size, b->last};
    (*n)++;
    return at;
}

static void lay_out_block(planner *pl) {
    size_t n = pl->n_buffers - pl->first_buffer, m = 0, n_live = 0;
    plan_buffer **order = malloc((n + 1) * sizeof(plan_buffer *));
    live_buffer *live = malloc((n + 1) * sizeof *live);
    if (!order || !live) pl->failed = true;
    for (size_t b = pl->first_buffer; b < pl->n_buffers && !pl->failed; b++) {
        plan_buffer *buf = &pl->buffers[b];
        if (buf->parent < 0 && buf->base == BASE_BLOCK && buf->first != UINT32_MAX) order[m++] = buf;
    }
    if (!pl->failed) qsort(order, m, sizeof *order, order_by_first);
    for (size_t i = 0; i < m && !pl->failed; i++) {
        order[i]->offset = place_buffer(live, &n_live, order[i]);
        int64_t end = order[i]->offset + order[i]->size;
        if (end > pl->section.block_features) pl->section.block_features = end;
    }
    free(order);
    free(live);
}

void plan_allocate_section(planner *pl) {
    find_lifetimes(pl);
    write_over_operands(pl);
    lay_out_block(pl);
    for (size_t b = pl->first_buffer; b < pl->n_buffers; b++) {
        plan_buffer *buf = &pl->buffers[b];
        if (buf->parent >= 0) continue;
        if (buf->base == BASE_STORED) {
            plan_set *set = &pl->plan->sets[pl->section.rows - 1];
            buf->offset = set->stored_features;
            set->stored_features += buf->size;
        } else if (buf->base == BASE_SHARED) {
            buf->offset = pl->plan->shared_elements;
            pl->plan->shared_elements += (buf->size + 15) / 16 * 16;
        }
    }
}

// ---- addresses ----------------------------------------------------------------------------------------------------------

// A gradient whose value has a buffer of its own is computed right in the parameter's memory.
static void claim_targets(planner *pl) {
    ad_plan *p = pl->plan;
    for (uint32_t i = 0; i < p->n_outputs; i++) {
        const ad_output *out = &p->outputs[i];
        if (out->id == UINT32_MAX || pl->nodes[out->id].rows) continue;
        plan_place x = p->output_places[i] = pl->shared[out->id];
        if (out->kind != AD_GRADIENT || out->type != p->type || x.buffer < 0) continue;
        plan_buffer *b = &pl->buffers[x.buffer];
        if (b->base != BASE_SHARED || b->parent >= 0 || x.offset != 0 || b->size != out->count) continue;
        b->base = BASE_TARGET, b->index = i, b->offset = 0;
    }
}

static void resolve(const planner *pl, plan_place *x) {
    if (x->base == BASE_NONE || x->buffer < 0) return;
    int32_t root = plan_root(pl, x->buffer, &x->offset);
    const plan_buffer *b = &pl->buffers[root];
    x->base = b->base;
    x->index = b->index;
    x->offset += b->offset;
    x->buffer = -1;
}

static bool is_moving(const plan_place *x) { return x->base == BASE_STORED || x->base == BASE_SUM; }

// Row nodes and their elements, and the shared values that they read, counted once: what a block streams through the caches.
static void count_weights(planner *pl) {
    memset(pl->marked, 0, pl->n * sizeof *pl->marked);
    for (uint32_t id = 0; id < pl->n; id++) {
        const ad_node *node = &pl->nodes[id];
        if (!pl->live[id] || !node->rows) continue;
        pl->plan->sets[node->rows - 1].ops++;
        pl->plan->sets[node->rows - 1].features += node->count;
        const uint32_t *in = ad_node_inputs(pl->stream, node);
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) {
            if (pl->nodes[in[i]].rows || pl->marked[in[i]]) continue;
            pl->marked[in[i]] = true;
            pl->plan->sets[node->rows - 1].weight_bytes += pl->nodes[in[i]].count * (int64_t)ad_type_size(pl->plan->type);
        }
    }
}

// The most scratch that a kernel of the section asks for with R lanes.
static size_t scratch_of(const ad_plan *p, const plan_section *s, int R, ad_kernel_operand *x) {
    size_t most = 0;
    for (uint32_t i = s->first; i < s->first + s->n; i++) {
        const plan_instr *in = &p->instrs[i];
        if (in->kind != PLAN_KERNEL || !in->op->scratch) continue;
        for (uint32_t k = 0; k < in->n; k++) {
            const plan_place *place = &p->places[in->x + k];
            x[k] = (ad_kernel_operand){.stride = place->lane ? R : 1, .lane = place->lane, .shape = place->shape};
        }
        ad_kernel call = {.n = (int)in->n, .R = R, .live = R, .x = x, .shape = &p->nodes[in->node].shape,
                          .attr = plan_attr(p, in->node)};
        size_t bytes = in->op->scratch(&call, p->type);
        if (bytes > most) most = bytes;
    }
    return most;
}

static bool note_section(ad_plan *p, plan_section *s) {
    uint32_t places = 0;
    for (uint32_t i = s->first; i < s->first + s->n; i++) {
        plan_instr *in = &p->instrs[i];
        in->moves = is_moving(&in->y);
        for (uint32_t k = 0; k < in->n; k++) in->moves = in->moves || is_moving(&p->places[in->x + k]);
        for (uint32_t t = in->steps; t < in->steps + in->n_steps; t++) {
            in->moves = in->moves || is_moving(&p->steps[t].y);
            for (uint32_t k = 0; k < p->steps[t].n; k++)
                in->moves = in->moves || is_moving(&p->places[p->steps[t].x + k]);
        }
        for (uint32_t k = in->spreads; k < in->spreads + in->n_spreads; k++)
            in->moves = in->moves || is_moving(&p->spreads[k].x);
        places += in->n;
    }
    int64_t start = 0;
    for (uint32_t i = s->sums; i < s->sums + s->n_sums; i++) {
        p->sums[i].start = start;
        start += p->nodes[p->sums[i].node].count;
    }
    s->places = places;
    ad_kernel_operand *x = malloc((places + 1) * sizeof *x);
    if (!x) return false;
    for (int k = 0; k < (s->rows ? 5 : 1); k++) s->scratch[k] = scratch_of(p, s, k ? 16 << k : 1, x);
    free(x);
    if (s->rows && s->sum_bytes > p->sets[s->rows - 1].sum_bytes) p->sets[s->rows - 1].sum_bytes = s->sum_bytes;
    return true;
}

void plan_resolve(planner *pl) {
    ad_plan *p = pl->plan;
    claim_targets(pl);
    for (size_t i = 0; i < p->n_places; i++) resolve(pl, &p->places[i]);
    for (size_t i = 0; i < p->n_instrs; i++) resolve(pl, &p->instrs[i].y);
    for (size_t i = 0; i < p->n_steps; i++) resolve(pl, &p->steps[i].y);
    for (size_t i = 0; i < p->n_spreads; i++) resolve(pl, &p->spreads[i].x);
    for (size_t i = 0; i < p->n_sums; i++) resolve(pl, &p->sums[i].y);
    for (uint32_t i = 0; i < p->n_outputs; i++) resolve(pl, &p->output_places[i]);
    count_weights(pl);
    for (size_t i = 0; i < p->n_sections && !pl->failed; i++) pl->failed = !note_section(p, &p->sections[i]);
}
