// plan_emit.c -- instructions for the nodes of one section, and where each value is.
#include <stdlib.h>
#include <string.h>

#include "plan.h"

static const uint32_t *inputs(const planner *pl, uint32_t id) { return ad_node_inputs(pl->stream, &pl->nodes[id]); }

// ---- places -----------------------------------------------------------------------------------------------------------

plan_place plan_new_buffer(planner *pl, plan_base base, int64_t size, int lane) {
    plan_place p = {.base = (uint8_t)base, .lane = (uint8_t)lane, .buffer = -1, .count = size};
    if (!ad_grow(&pl->buffers, &pl->room_buffers, pl->n_buffers + 1, sizeof *pl->buffers)) {
        pl->failed = true;
        return p;
    }
    p.buffer = (int32_t)pl->n_buffers;
    pl->buffers[pl->n_buffers++] =
        (plan_buffer){.base = (uint8_t)base, .parent = -1, .size = size, .first = UINT32_MAX, .defined = true};
    return p;
}

int32_t plan_root(const planner *pl, int32_t buffer, int64_t *offset) {
    while (buffer >= 0 && pl->buffers[buffer].parent >= 0) {
        *offset += pl->buffers[buffer].parent_offset;
        buffer = pl->buffers[buffer].parent;
    }
    return buffer;
}

// The place of a value as an operand in this section.
static plan_place value(const planner *pl, uint32_t id) { return pl->nodes[id].rows ? pl->here[id] : pl->shared[id]; }

static void set_value(planner *pl, uint32_t id, plan_place p) {
    p.shape = &pl->plan->nodes[id].shape;
    p.count = pl->nodes[id].count;
    if (pl->nodes[id].rows) {
        pl->here[id] = p;
        if (p.base == BASE_STORED) pl->stores[id] = p;
    } else {
        pl->shared[id] = p;
    }
}

// Memory for a node's result.
static plan_place result(planner *pl, uint32_t id) {
    const ad_node *node = &pl->nodes[id];
    plan_base base = !node->rows ? BASE_SHARED : pl->stored[id] && pl->level[id] == pl->section.level ? BASE_STORED : BASE_BLOCK;
    plan_place p = plan_new_buffer(pl, base, node->count, node->rows != 0);
    p.shape = &pl->plan->nodes[id].shape;
    return p;
}

// ---- instructions -----------------------------------------------------------------------------------------------------

static plan_instr *emit(planner *pl, plan_kind kind, uint32_t id) {
    ad_plan *p = pl->plan;
    if (!ad_grow(&p->instrs, &p->room_instrs, p->n_instrs + 1, sizeof *p->instrs)) {
        pl->failed = true;
        return NULL;
    }
    plan_instr *in = &p->instrs[p->n_instrs++];
    *in = (plan_instr){.kind = kind, .node = id, .op = ad_isa_op(pl->nodes[id].op), .x = (uint32_t)p->n_places,
                       .y = {.buffer = -1}};
    return in;
}

static void emit_place(planner *pl, plan_place place) {
    ad_plan *p = pl->plan;
    if (!ad_grow(&p->places, &p->room_places, p->n_places + 1, sizeof *p->places)) pl->failed = true;
    else p->places[p->n_places++] = place;
}

static void emit_instr(planner *pl, plan_kind kind, uint32_t id, const plan_place *x, uint32_t n, plan_place y) {
    plan_instr *in = emit(pl, kind, id);
    if (!in) return;
    in->n = n;
    in->y = y;
    for (uint32_t i = 0; i < n; i++) emit_place(pl, x[i]);
}

// A copy of a value, the same for all rows, with a lane for each row.
static plan_place spread(planner *pl, uint32_t id, plan_place x) {
    plan_place y = plan_new_buffer(pl, BASE_BLOCK, x.count, 1);
    y.shape = x.shape;
    emit_instr(pl, PLAN_SPREAD, id, &x, 1, y);
    return y;
}

// A reduction adds to the chunk's accumulator; the total is a shared value.
static plan_place emit_sum(planner *pl, uint32_t id) {
    ad_plan *p = pl->plan;
    const ad_node *node = &pl->nodes[id];
    bool wide = node->op->flags & AD_OP_F64_SUM;
    int64_t bytes = node->count * (wide ? 8 : (int64_t)ad_type_size(p->type)), offset = pl->section.sum_bytes;
    plan_place total = plan_new_buffer(pl, BASE_SHARED, node->count, 0);
    set_value(pl, id, total);
    if (!ad_grow(&p->sums, &p->room_sums, p->n_sums + 1, sizeof *p->sums)) pl->failed = true;
    else p->sums[p->n_sums++] = (plan_sum){.node = id, .wide = wide, .offset = offset, .y = pl->shared[id]};
    pl->section.sum_bytes = (offset + bytes + 63) / 64 * 64;
    return (plan_place){.base = BASE_SUM, .buffer = -1, .offset = offset, .count = node->count,
                        .shape = &p->nodes[id].shape};
}

// An op of a user may lack one of the kernels.
static void check_kernel(planner *pl, const ad_op *op) {
    ad_type type = pl->plan->type;
    if ((op->flags & AD_OP_ELEMENTWISE) ? op->lanes[type] != NULL : op->kernel[type] != NULL) return;
    ad_tape_fail(pl->tape, AD_EARG, "%s: the op has no kernel for %s", op->name, type == AD_F32 ? "f32" : "f64");
}

static void emit_kernel(planner *pl, uint32_t id) {
    const ad_node *node = &pl->nodes[id];
    const uint32_t *in = inputs(pl, id);
    bool elementwise = node->op->flags & AD_OP_ELEMENTWISE, strided = node->op->flags & AD_OP_STRIDED;
    check_kernel(pl, node->op);
    plan_place small[8], *x = node->n <= 8 ? small : malloc(node->n * sizeof *x);
    if (!x) {
        pl->failed = true;
        return;
    }
    for (uint32_t i = 0; i < node->n; i++) {
        x[i] = value(pl, in[i]);
        // A value made the same for all rows (to_rows) looks like any other row value to a kernel.
        bool in_place = strided && (!pl->nodes[in[i]].rows || node->op->role == AD_ROLE_VIEW || node->op->role == AD_ROLE_PLACE);
        if (pl->section.rows && !x[i].lane && !elementwise && !in_place) x[i] = spread(pl, id, x[i]);
    }
    if (pl->section.rows && (node->op->flags & AD_OP_REDUCES_ROWS)) {
        emit_instr(pl, PLAN_KERNEL, id, x, node->n, emit_sum(pl, id));
    } else {
        plan_place y = result(pl, id);
        emit_instr(pl, elementwise ? PLAN_RUN : PLAN_KERNEL, id, x, node->n, y);
        set_value(pl, id, y);
    }
    if (x != small) free(x);
}

// ---- values that are parts of others ----------------------------------------------------------------------------------

static void emit_view(planner *pl, uint32_t id) {
    const ad_view_attr *attr = ad_node_attr(pl->stream, &pl->nodes[id]);
    plan_place x = value(pl, inputs(pl, id)[0]);
    if (!ad_view_contiguous(attr)) {
        emit_kernel(pl, id);
        return;
    }
    x.offset += attr->offset;
    set_value(pl, id, x);
}

// A part can be computed inside the whole when its buffer holds nothing else and belongs nowhere else.
static bool can_place(const planner *pl, uint32_t id, uint32_t part, plan_place p, plan_place whole) {
    if (p.buffer < (int32_t)pl->first_buffer || p.lane != whole.lane || pl->loop_node[id] != pl->loop_node[part]) return false;
    const plan_buffer *b = &pl->buffers[p.buffer];
    bool same_kind = b->base == whole.base || (b->base == BASE_BLOCK && whole.base == BASE_STORED);
    return b->defined && b->parent < 0 && p.offset == 0 && p.count == b->size && same_kind;
}

static void emit_placed(planner *pl, uint32_t id) {
    const ad_node *node = &pl->nodes[id];
    const ad_place_attr *attr = ad_node_attr(pl->stream, node);
    const ad_view_attr *where = ad_place_parts(attr);
    const uint32_t *in = inputs(pl, id);
    plan_place y = result(pl, id), *x = malloc((node->n + 1) * sizeof *x);
    if (!x || pl->failed) {
        pl->failed = true;
        free(x);
        return;
    }
    uint32_t rest = 0;
    bool ranges = attr->cover == AD_PLACE_GAPS || attr->cover == AD_PLACE_FULL;
    for (uint32_t i = 0; i < node->n; i++) {
        x[i] = value(pl, in[i]);
        if (ranges && can_place(pl, id, in[i], x[i], y)) {
            pl->buffers[x[i].buffer].parent = y.buffer;
            pl->buffers[x[i].buffer].parent_offset = where[i].offset;
            x[i].base = BASE_NONE;
        } else {
            rest++;
        }
    }
    if (rest || attr->cover != AD_PLACE_FULL) emit_instr(pl, PLAN_KERNEL, id, x, node->n, y);
    set_value(pl, id, y);
    free(x);
}

// A leaf used where it lies, or copied with conversion.
static void emit_direct(planner *pl, uint32_t id) {
    const ad_node *node = &pl->nodes[id];
    int32_t type;
    memcpy(&type, (const char *)ad_node_attr(pl->stream, node) + sizeof(ad_shape), sizeof type);
    if (type != (int32_t)pl->plan->type) {
        emit_kernel(pl, id);
        return;
    }
    set_value(pl, id, (plan_place){.base = BASE_SLOT, .index = node->slot - 1, .buffer = -1});
}

static void emit_nodes(planner *pl, uint32_t owner);

static void emit_loop(planner *pl, uint32_t id) {
    const uint32_t *in = inputs(pl, id);
    plan_place init = value(pl, in[0]), y = result(pl, id), state = y;
    uint32_t begin = (uint32_t)pl->plan->n_instrs;
    emit_instr(pl, PLAN_LOOP, id, &init, 1, y);
    set_value(pl, in[1], state);
    emit_nodes(pl, id);
    plan_place x[] = {value(pl, in[2]), value(pl, in[3])};
    uint32_t end = (uint32_t)pl->plan->n_instrs;
    emit_instr(pl, PLAN_LOOP_END, id, x, 2, y);
    if (pl->failed) return;
    pl->plan->instrs[begin].other = end;
    pl->plan->instrs[end].other = begin;
    set_value(pl, id, y);
}

// ---- a section ----------------------------------------------------------------------------------------------------------

static void emit_node(planner *pl, uint32_t id) {
    const ad_node *node = &pl->nodes[id];
    if (node->rows && pl->stored[id] && pl->level[id] < pl->section.level) {
        pl->here[id] = pl->stores[id];
        return;
    }
    switch (node->op->role) {
        case AD_ROLE_DIRECT: emit_direct(pl, id); break;
        case AD_ROLE_VIEW: emit_view(pl, id); break;
        case AD_ROLE_PLACE: emit_placed(pl, id); break;
        case AD_ROLE_ALIAS: set_value(pl, id, value(pl, inputs(pl, id)[0])); break;
        case AD_ROLE_LOOP: emit_loop(pl, id); break;
        case AD_ROLE_PLACEHOLDER: break;
        default: emit_kernel(pl, id); break;
    }
}

static void emit_nodes(planner *pl, uint32_t owner) {
    uint32_t end = owner ? owner : pl->n;
    for (uint32_t id = 0; id < end && !pl->failed; id++)
        if (pl->marked[id] && pl->loop_node[id] == owner) emit_node(pl, id);
}

void plan_emit_section(planner *pl) {
    emit_nodes(pl, 0);
    for (uint32_t i = 0; i < pl->plan->n_outputs && !pl->failed; i++) {
        const ad_output *out = &pl->plan->outputs[i];
        if (out->id == UINT32_MAX || !pl->nodes[out->id].rows || pl->nodes[out->id].rows != pl->section.rows) continue;
        if (pl->level[out->id] != pl->section.level) continue;
        plan_place x = pl->here[out->id];
        emit_instr(pl, PLAN_STORE, out->id, &x, 1, (plan_place){.buffer = -1});
        if (!pl->failed) pl->plan->instrs[pl->plan->n_instrs - 1].other = i;
    }
}
