// plan.c -- from recording to plan: what is needed, in which stage, and what crosses stages.
#include "plan.h"

#include <stdlib.h>
#include <string.h>

// ---- memory ---------------------------------------------------------------------------------------------------------

void ad_plan_free(ad_plan *p) {
    if (!p) return;
    free(p->stream);
    free(p->nodes);
    free(p->outputs);
    free(p->output_places);
    free(p->instrs);
    free(p->places);
    free(p->steps);
    free(p->spreads);
    free(p->sums);
    free(p->sections);
    free(p->sets);
    free(p->leaves);
    free(p->profile);
    free(p);
}

static void *copy_of(const void *from, size_t size) {
    void *to = malloc(size ? size : 1);
    if (to && size) memcpy(to, from, size);
    return to;
}

static ad_plan *plan_copy_recording(const ad_tape *t) {
    ad_plan *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->type = t->bind.type;
    p->n_nodes = (uint32_t)t->n_nodes;
    p->n_outputs = (uint32_t)t->n_outputs;
    p->n_slots = (uint32_t)t->bind.n_slots;
    p->stream_size = t->stream_size;
    p->stream = copy_of(t->stream, t->stream_size);
    p->nodes = copy_of(t->nodes, t->n_nodes * sizeof *t->nodes);
    p->outputs = copy_of(t->outputs, t->n_outputs * sizeof *t->outputs);
    p->output_places = calloc(t->n_outputs + 1, sizeof *p->output_places);
    p->n_sets = (uint32_t)t->bind.n_rows;
    p->sets = calloc(t->bind.n_rows + 1, sizeof *p->sets);
    if (p->sets && p->stream && p->nodes && p->outputs && p->output_places) return p;
    ad_plan_free(p);
    return NULL;
}

static bool planner_init(planner *pl, ad_tape *t) {
    *pl = (planner){.tape = t, .stream = t->stream, .nodes = t->nodes, .n = (uint32_t)t->n_nodes};
    size_t n = t->n_nodes + 1;
    pl->plan = plan_copy_recording(t);
    pl->live = calloc(n, sizeof *pl->live);
    pl->level = calloc(n, sizeof *pl->level);
    pl->body = calloc(n, sizeof *pl->body);
    pl->loop_node = calloc(n, sizeof *pl->loop_node);
    pl->leafy = calloc(n, sizeof *pl->leafy);
    pl->again = calloc(n, sizeof *pl->again);
    pl->stored = calloc(n, sizeof *pl->stored);
    pl->marked = calloc(n, sizeof *pl->marked);
    pl->shared = calloc(n, sizeof *pl->shared);
    pl->stores = calloc(n, sizeof *pl->stores);
    pl->here = calloc(n, sizeof *pl->here);
    return pl->plan && pl->live && pl->level && pl->body && pl->loop_node && pl->leafy && pl->again && pl->stored && pl->marked &&
           pl->shared && pl->stores && pl->here;
}

static void planner_free(planner *pl) {
    free(pl->live);
    free(pl->level);
    free(pl->body);
    free(pl->loop_node);
    free(pl->leafy);
    free(pl->again);
    free(pl->stored);
    free(pl->marked);
    free(pl->shared);
    free(pl->stores);
    free(pl->here);
    free(pl->buffers);
}

// ---- analysis ---------------------------------------------------------------------------------------------------------

static const uint32_t *inputs(const planner *pl, uint32_t id) { return ad_node_inputs(pl->stream, &pl->nodes[id]); }

static void mark_live(planner *pl) {
    for (uint32_t i = 0; i < pl->plan->n_outputs; i++)
        if (pl->plan->outputs[i].id != UINT32_MAX) pl->live[pl->plan->outputs[i].id] = true;
    for (uint32_t id = pl->n; id-- > 0;) {
        if (!pl->live[id]) continue;
        const uint32_t *in = inputs(pl, id);
        for (uint32_t i = 0; i < ad_live_inputs(&pl->nodes[id]); i++) pl->live[in[i]] = true;
    }
}

// Marks what depends on the state of a loop, from its placeholder on to the loop, whose own value is outside of its body.
static void mark_body(planner *pl, uint32_t loop) {
    const uint32_t p = inputs(pl, loop)[1];
    pl->body[p] = pl->loop_node[p] = loop;
    for (uint32_t id = p + 1; id < loop; id++) {
        const ad_node *node = &pl->nodes[id];
        const uint32_t *in = inputs(pl, id);
        bool depends = false;
        if (!pl->live[id] || node->op->role == AD_ROLE_PLACEHOLDER) continue;
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) depends = depends || pl->body[in[i]] == loop;
        if (!depends) continue;
        pl->body[id] = loop;  // innermost: the placeholder made last
        if (!pl->loop_node[id] || p > inputs(pl, pl->loop_node[id])[1]) pl->loop_node[id] = loop;
    }
}

// The bodies of all loops, inner ones first. A node behind a loop has no use for values of its body.
static void find_bodies(planner *pl) {
    bool any = false;
    for (uint32_t id = 0; id < pl->n; id++) {
        if (!pl->live[id] || pl->nodes[id].op->role != AD_ROLE_LOOP) continue;
        mark_body(pl, id);
        any = true;
    }
    for (uint32_t id = 0; id < pl->n && any; id++) {
        const uint32_t *in = inputs(pl, id);
        for (uint32_t i = 0; pl->live[id] && i < ad_live_inputs(&pl->nodes[id]); i++)
            if (pl->body[in[i]] && id > pl->loop_node[in[i]])
                ad_tape_fail(pl->tape, AD_EARG, "%s: a value of a loop's body is used outside of the loop",
                             pl->nodes[in[i]].op->name);
    }
    for (uint32_t i = 0; i < pl->plan->n_outputs; i++) {
        uint32_t id = pl->plan->outputs[i].id;
        if (id != UINT32_MAX && pl->body[id])
            ad_tape_fail(pl->tape, AD_EARG, "%s: a value of a loop's body is used outside of the loop", pl->nodes[id].op->name);
    }
}

// A stray placeholder, or a body value used by a node outside the body, has no value when the node runs.
static void check_bodies(planner *pl) {
    for (uint32_t id = 0; id < pl->n && pl->tape->error.status == AD_OK; id++) {
        if (pl->live[id] && pl->nodes[id].op->role == AD_ROLE_PLACEHOLDER && !pl->body[id])
            ad_tape_fail(pl->tape, AD_EARG, "a placeholder outside of its loop or directional derivative");
        if (pl->live[id] && pl->body[id] && (pl->nodes[id].op->flags & AD_OP_REDUCES_ROWS))
            ad_tape_fail(pl->tape, AD_EARG, "%s: rows reduced inside a loop's body", pl->nodes[id].op->name);
    }
}

// Level of a row node: its row stage; of a shared node: the row stages before it.
static void find_levels(planner *pl) {
    for (uint32_t id = 0; id < pl->n; id++) {
        const ad_node *node = &pl->nodes[id];
        const uint32_t *in = inputs(pl, id);
        if (!pl->live[id]) continue;
        bool moved = node->op->role == AD_ROLE_VIEW || node->op->role == AD_ROLE_ALIAS;
        pl->leafy[id] = node->rows && (node->n == 0 || moved || (node->op->flags & AD_OP_CHEAP));
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) {
            if (pl->level[in[i]] > pl->level[id]) pl->level[id] = pl->level[in[i]];
            if (pl->nodes[in[i]].rows && !pl->leafy[in[i]]) pl->leafy[id] = false;
        }
        if (node->op->flags & AD_OP_REDUCES_ROWS) pl->level[id]++;
        pl->again[id] = pl->leafy[id] || (node->rows && moved);  // an alias costs nothing: its operand is stored
    }
    for (uint32_t id = pl->n; id-- > 0;)  // bodies run where their loop runs
        if (pl->live[id] && pl->body[id]) pl->level[id] = pl->level[pl->loop_node[id]], pl->again[id] = false;
}

// ---- sections ---------------------------------------------------------------------------------------------------------

// A row value of an earlier stage is needed: computed again, or stored there.
static void need_earlier(planner *pl, uint32_t id) {
    pl->marked[id] = true;
    if (!pl->again[id]) pl->stored[id] = true;
}

static void mark_section(planner *pl, uint32_t rows, uint32_t level) {
    memset(pl->marked, 0, pl->n * sizeof *pl->marked);
    for (uint32_t i = 0; i < pl->plan->n_outputs; i++) {
        uint32_t id = pl->plan->outputs[i].id;
        if (id != UINT32_MAX && pl->nodes[id].rows == rows && pl->level[id] == level) pl->marked[id] = true;
    }
    for (uint32_t id = pl->n; id-- > 0;) {
        const ad_node *node = &pl->nodes[id];
        if (!pl->live[id]) continue;
        const uint32_t *in = inputs(pl, id);
        bool reduces = (node->op->flags & AD_OP_REDUCES_ROWS) && pl->level[id] == level + 1;
        if (reduces) {  // reductions of this row set belong to the section
            bool ours = false;
            for (uint32_t i = 0; i < node->n; i++) ours = ours || pl->nodes[in[i]].rows == rows;
            if (ours) pl->marked[id] = true;
        }
        if (node->rows == rows && pl->stored[id] && pl->level[id] == level) pl->marked[id] = true;
        if (!pl->marked[id]) continue;
        if (node->rows == rows && pl->stored[id] && pl->level[id] < level) continue;  // loaded
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) {
            if (!pl->nodes[in[i]].rows) continue;
            if (pl->level[in[i]] < level) need_earlier(pl, in[i]);
            else pl->marked[in[i]] = true;
        }
    }
}

static bool any_marked(const planner *pl) {
    for (uint32_t id = 0; id < pl->n; id++)
        if (pl->marked[id]) return true;
    return false;
}

static void build_section(planner *pl, uint32_t rows, uint32_t level) {
    pl->section = (plan_section){.rows = rows, .level = level, .first = (uint32_t)pl->plan->n_instrs,
                                 .sums = (uint32_t)pl->plan->n_sums};
    pl->first_buffer = pl->n_buffers;
    memset(pl->here, 0, pl->n * sizeof *pl->here);
    plan_emit_section(pl);
    if (!pl->failed) plan_fuse_section(pl);
    pl->section.n = (uint32_t)pl->plan->n_instrs - pl->section.first;
    pl->section.n_sums = (uint32_t)pl->plan->n_sums - pl->section.sums;
    if (!pl->failed) plan_allocate_section(pl);
    if (pl->section.n == 0 && pl->section.n_sums == 0) return;
    if (!ad_grow(&pl->plan->sections, &pl->plan->room_sections, pl->plan->n_sections + 1, sizeof *pl->plan->sections))
        pl->failed = true;
    else
        pl->plan->sections[pl->plan->n_sections++] = pl->section;
}

static void build_shared(planner *pl, uint32_t level) {
    for (uint32_t id = 0; id < pl->n; id++)
        pl->marked[id] = pl->live[id] && !pl->nodes[id].rows && pl->level[id] == level &&
                         !(pl->nodes[id].op->flags & AD_OP_REDUCES_ROWS);
    build_section(pl, 0, level);
}

static void list_leaves(planner *pl) {
    ad_plan *p = pl->plan;
    p->leaves = malloc((pl->n + 1u) * sizeof *p->leaves);
    if (!p->leaves) pl->failed = true;
    for (uint32_t id = 0; id < pl->n && !pl->failed; id++)
        if (pl->live[id] && pl->nodes[id].slot) p->leaves[p->n_leaves++] = id;
}

static void build_sections(planner *pl) {
    uint32_t top = 0, sets = (uint32_t)pl->tape->bind.n_rows;
    for (uint32_t id = 0; id < pl->n; id++)
        if (pl->live[id] && pl->level[id] > top) top = pl->level[id];
    for (uint32_t level = top + 1; level-- > 0;)  // later stages first: they say what earlier ones store
        for (uint32_t rows = 1; rows <= sets; rows++) mark_section(pl, rows, level);
    for (uint32_t level = 0; level <= top && !pl->failed; level++) {
        build_shared(pl, level);
        for (uint32_t rows = 1; rows <= sets && !pl->failed; rows++) {
            mark_section(pl, rows, level);
            if (any_marked(pl)) build_section(pl, rows, level);
        }
    }
}

ad_plan *ad_plan_new(ad_tape *t) {
    planner pl;
    if (!planner_init(&pl, t)) {
        pl.failed = true;
    } else {
        mark_live(&pl);
        find_bodies(&pl);
        find_levels(&pl);
        check_bodies(&pl);
        list_leaves(&pl);
        if (t->error.status == AD_OK && !pl.failed) build_sections(&pl);
        if (t->error.status == AD_OK && !pl.failed) plan_resolve(&pl);
    }
    planner_free(&pl);
    if (pl.failed) ad_tape_fail(t, AD_ENOMEM, "plan: out of memory");
    if (!pl.failed && t->error.status == AD_OK) return pl.plan;
    ad_plan_free(pl.plan);
    return NULL;
}
