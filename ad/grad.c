// grad.c -- reverse-mode differentiation: from y back to x, every vjp recorded as ops.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct contribution {  // to one node's cotangent
    ad_var g;
    int32_t next;
} contribution;

typedef struct sweep {
    ad_tape *tape;
    uint32_t low, high;   // ids from the first x to y
    uint8_t *depends;     // [high - low + 1] on an x, differentiably
    uint8_t *is_x;
    int32_t *head;        // first contribution, -1: none
    ad_var *total;        // gathered cotangents, of x only
    contribution *list;
    int32_t n_list;
} sweep;

// ---- shapes of cotangents ---------------------------------------------------------------------------------------

static ad_var sum_to_shape(ad_var g, ad_shape want) {
    ad_shape s = ad_shape_of(g);
    for (int64_t extra = s.rank - want.rank; extra > 0; extra--) g = ad_sum_axis(g, 0);
    s = ad_shape_of(g);
    for (int i = 0; i < s.rank && s.rank == want.rank; i++) {
        if (want.dim[i] != 1 || s.dim[i] == 1) continue;
        ad_shape kept = ad_shape_of(g);
        kept.dim[i] = 1;
        g = ad_reshape(ad_sum_axis(g, i), kept);
    }
    s = ad_shape_of(g);
    return ad_shape_equal(s, want) || !ad_ok(g) ? g : ad_expand(g, want);
}

ad_var ad_conform(ad_var g, ad_var x) {
    const ad_node *from = ad_node_of(g), *to = ad_node_of(x);
    if (from && to && from->rows == to->rows && ad_same_shape(&from->shape, &to->shape)) return g;
    ad_shape want = ad_shape_of(x);
    if (!ad_shape_equal(ad_shape_of(g), want)) {
        if (ad_shape_count(ad_shape_of(g)) == ad_shape_count(want)) g = ad_reshape(g, want);
        else g = sum_to_shape(g, want);
    }
    if (ad_has_rows(g) && !ad_has_rows(x)) return ad_sum_rows(g);
    if (!ad_has_rows(g) && ad_has_rows(x)) return ad_to_rows(g, ad_rows_of(x));
    return g;
}

// ---- gathering ----------------------------------------------------------------------------------------------------

typedef struct part {
    ad_var g;
    ad_view_attr where;
} part;

static int by_offset(const void *a, const void *b) {
    const part *p = a, *q = b;
    if (p->where.offset != q->where.offset) return p->where.offset < q->where.offset ? -1 : 1;
    return p->g.id < q->g.id ? -1 : p->g.id > q->g.id;
}

// Parts at equal places are added; the rest become one place node.
static ad_var place_parts(ad_var x, part *parts, int n) {
    ad_tape *t = x.tape;
    qsort(parts, (size_t)n, sizeof *parts, by_offset);
    int m = 0;
    for (int i = 0; i < n; i++) {
        bool same = m > 0 && memcmp(&parts[m - 1].where, &parts[i].where, sizeof parts[i].where) == 0;
        if (same) parts[m - 1].g = ad_add(parts[m - 1].g, parts[i].g);
        else parts[m++] = parts[i];
    }
    ad_var *g = ad_arena_take(&t->scratch, (size_t)m * sizeof *g);
    ad_view_attr *where = ad_arena_take(&t->scratch, (size_t)m * sizeof *where);
    if (!g || !where) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return ad_inert(t);
    }
    for (int i = 0; i < m; i++) g[i] = parts[i].g, where[i] = parts[i].where;
    return ad_place(t, ad_rows_of(x), ad_shape_of(x), g, where, m);
}

// The parts of a contribution that is itself a place node; 0 when it is not.
static int parts_of(const ad_tape *t, ad_var g, part *out) {
    const ad_node *node = ad_node_of(g);
    if (!node || node->op->role != AD_ROLE_PLACE) return 0;
    if (out) {
        const uint32_t *ids = ad_node_inputs(t->stream, node);
        const ad_view_attr *where = ad_place_parts(ad_node_attr(t->stream, node));
        for (uint32_t i = 0; i < node->n; i++) out[i] = (part){ad_var_at(g.tape, ids[i]), where[i]};
    }
    return (int)node->n;
}

// The sum of all contributions to x: whole ones added, partial ones in one place node.
static ad_var gather(const sweep *s, ad_var x, int32_t head) {
    ad_tape *t = s->tape;
    ad_var sum = ad_none();
    int n = 0;
    for (int32_t i = head; i >= 0; i = s->list[i].next) {
        int parts = parts_of(t, s->list[i].g, NULL);
        if (parts) n += parts;
        else sum = ad_is_none(sum) ? s->list[i].g : ad_add(s->list[i].g, sum);
    }
    if (!n) return sum;
    if (ad_is_none(sum) && s->list[head].next < 0) return s->list[head].g;
    ad_arena mark = ad_arena_mark(&t->scratch);
    part *parts = ad_arena_take(&t->scratch, (size_t)(n + 1) * sizeof *parts);
    if (!parts) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return ad_inert(t);
    }
    n = 0;
    for (int32_t i = head; i >= 0; i = s->list[i].next) n += parts_of(t, s->list[i].g, parts + n);
    if (!ad_is_none(sum)) {
        part *p = &parts[n++];
        memset(p, 0, sizeof *p);
        p->g = sum, p->where.shape = ad_shape_of(x);
        ad_shape_strides(p->where.shape, p->where.stride);
    }
    ad_var g = place_parts(x, parts, n);
    ad_arena_release(&t->scratch, mark);
    return g;
}

// ---- the sweep --------------------------------------------------------------------------------------------------------

static bool sweep_init(sweep *s, ad_var y, const ad_var *x, int n) {
    ad_tape *t = s->tape = y.tape;
    s->high = y.id;
    s->low = y.id;
    for (int i = 0; i < n; i++)
        if (x[i].id < s->low) s->low = x[i].id;
    size_t span = s->high - s->low + 1, inputs = 1;
    for (uint32_t id = s->low; id <= s->high; id++) inputs += t->nodes[id].n;
    s->depends = ad_arena_take(&t->scratch, span);
    s->is_x = ad_arena_take(&t->scratch, span);
    s->head = ad_arena_take(&t->scratch, span * sizeof *s->head);
    s->total = ad_arena_take(&t->scratch, span * sizeof *s->total);
    s->list = ad_arena_take(&t->scratch, inputs * sizeof *s->list);
    s->n_list = 0;
    if (!s->depends || !s->is_x || !s->head || !s->total || !s->list) return false;
    memset(s->depends, 0, span);
    memset(s->is_x, 0, span);
    memset(s->head, 0xff, span * sizeof *s->head);
    return true;
}

static void mark_depends(sweep *s, const ad_var *x, int n) {
    const ad_tape *t = s->tape;
    for (int i = 0; i < n; i++)
        if (x[i].id <= s->high) s->is_x[x[i].id - s->low] = s->depends[x[i].id - s->low] = 1;
    for (uint32_t id = s->low; id <= s->high; id++) {
        const ad_node *node = &t->nodes[id];
        const uint32_t *in = ad_node_inputs(t->stream, node);
        if (node->op->flags & AD_OP_CONSTANT) continue;
        for (uint32_t i = 0; i < node->n && !s->depends[id - s->low]; i++)
            if (in[i] >= s->low && s->depends[in[i] - s->low]) s->depends[id - s->low] = 1;
    }
}

static void contribute(sweep *s, ad_var x, ad_var g) {
    int32_t *head = &s->head[x.id - s->low];
    s->list[s->n_list] = (contribution){ad_conform(g, x), *head};
    *head = s->n_list++;
}

// ---- gradients of one op ------------------------------------------------------------------------------------------------

void ad_drop_repeated(const ad_var *x, int n, ad_var *gx) {
    for (int i = 1; i < n; i++)
        for (int j = 0; j < i; j++)
            if (x[i].id == x[j].id) gx[i] = ad_none();
}

static void vjp_by_expansion(const ad_op *op, const ad_vjp_call *c) {
    char a[64], b[64];
    ad_var y = op->expand(c->x, c->n, c->attr);
    if (ad_ok(y) && !ad_shape_equal(ad_shape_of(y), ad_shape_of(c->y)))
        ad_tape_fail(c->y.tape, AD_ESHAPE, "gradient: op %s has shape %s, and expands to shape %s", op->name,
                     ad_shape_print(ad_shape_of(c->y), a, sizeof a), ad_shape_print(ad_shape_of(y), b, sizeof b));
    ad_vjp_paths(y, c->gy, c->x, c->n, c->gx, true);
    ad_drop_repeated(c->x, c->n, c->gx);
}

static void vjp_in_ops(const ad_op *op, const ad_vjp_call *c) {
    if (op->vjp) op->vjp(c);
    else if (op->expand) vjp_by_expansion(op, c);
    else ad_tape_fail(c->y.tape, AD_ENOGRAD, "gradient: op %s is not differentiable", op->name);
}

// By the op's kernel, or in ops.
static void call_vjp(const ad_op *op, const ad_vjp_call *c, size_t attr_size) {
    if (op->vjp_kernel[c->y.tape->bind.type]) ad_vjp_by_kernel(op, c, attr_size);
    else vjp_in_ops(op, c);
}

// ---- one node -----------------------------------------------------------------------------------------------------------

// One node: its operands' cotangents from its own. Recording moves the tape's arrays, so what the vjp reads is copied.
static void pull_back(sweep *s, uint32_t id, ad_var gy) {
    ad_tape *t = s->tape;
    const ad_node node = t->nodes[id];
    uint32_t n = node.n, attr_size = ad_node_record(t->stream, &node)->attr_size;
    ad_arena mark = ad_arena_mark(&t->scratch);
    char *attr = ad_arena_take(&t->scratch, (attr_size + 7) / 8 * 8 + n * (2 * sizeof(ad_var) + sizeof(bool)));
    if (!attr) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return;
    }
    ad_var *x = (ad_var *)(void *)(attr + (attr_size + 7) / 8 * 8), *gx = x + n;
    bool *need = (bool *)(gx + n), any = false;
    if (attr_size) memcpy(attr, ad_node_attr(t->stream, &node), attr_size);
    const uint32_t *in = ad_node_inputs(t->stream, &node);
    for (uint32_t i = 0; i < n; i++) {
        x[i] = ad_var_at(t, in[i]), gx[i] = ad_none();
        need[i] = in[i] >= s->low && s->depends[in[i] - s->low];
        any = any || need[i];
    }
    if (any) {
        uint32_t scope = t->scope;
        t->scope = node.scope;  // cotangents belong to the place of their op
        ad_vjp_call call = {ad_var_at(t, id), gy, (int)n, x, need, attr, gx};
        call_vjp(node.op, &call, attr_size);
        for (uint32_t i = 0; i < n; i++)
            if (need[i] && !ad_is_none(gx[i])) contribute(s, x[i], gx[i]);
        t->scope = scope;
    }
    ad_arena_release(&t->scratch, mark);
}

static ad_var zeros_for(ad_var x) { return ad_conform(ad_number(x.tape, 0), x); }

static bool check_vars(ad_var y, const ad_var *x, int n) {
    bool ok = ad_check_var(y, "gradient");
    for (int i = 0; i < n && ok; i++) {
        if (x[i].tape != y.tape) {
            ad_tape_fail(y.tape, AD_EMIX, "gradient: y and x[%d] are not on one tape", i);
            ok = false;
        } else {
            ok = ad_check_var(x[i], "gradient");
        }
    }
    return ok && y.tape->error.status == AD_OK;
}

void ad_vjp_paths(ad_var y, ad_var gy, const ad_var *x, int n, ad_var *gx, bool barrier) {
    if (y.tape && gy.tape != y.tape) ad_tape_fail(y.tape, AD_EMIX, "gradient: y and its cotangent are not on one tape");
    bool usable = check_vars(y, x, n) && ad_check_var(gy, "gradient");
    ad_var none = y.tape ? ad_inert(y.tape) : ad_none();
    if (!usable) {
        for (int i = 0; i < n; i++) gx[i] = none;
        return;
    }
    ad_tape *t = y.tape;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *result = ad_arena_take(&t->scratch, (size_t)n * sizeof *result);  // gx may be x
    sweep s;
    if (!result || !sweep_init(&s, y, x, n)) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        for (int i = 0; i < n; i++) gx[i] = none;
        ad_arena_release(&t->scratch, mark);
        return;
    }
    mark_depends(&s, x, n);
    if (s.depends[s.high - s.low]) contribute(&s, y, gy);
    for (uint32_t id = s.high + 1; id-- > s.low && t->error.status == AD_OK;) {
        int32_t head = s.head[id - s.low];
        if (head < 0) continue;
        ad_var g = gather(&s, ad_var_at(t, id), head);
        s.total[id - s.low] = g;
        if (!(barrier && s.is_x[id - s.low])) pull_back(&s, id, g);
    }
    for (int i = 0; i < n; i++) {
        bool reached = x[i].id <= s.high && s.head[x[i].id - s.low] >= 0;
        result[i] = reached ? s.total[x[i].id - s.low] : zeros_for(x[i]);
    }
    bool ok = t->error.status == AD_OK;
    for (int i = 0; i < n; i++) gx[i] = ok ? result[i] : none;
    ad_arena_release(&t->scratch, mark);
}

// ---- public -----------------------------------------------------------------------------------------------------------

// A cotangent has its value's shape, and rows only where it has (one for all rows may be shared).
static void check_cotangent(const char *what, ad_var gy, ad_var y) {
    const ad_node *g = ad_node_of(gy), *v = ad_node_of(y);
    char a[64], b[64];
    if (!g || !v || gy.tape != y.tape) return;
    if (ad_shape_equal(g->shape, v->shape) && (g->rows == v->rows || !g->rows)) return;
    ad_tape_fail(y.tape, AD_ESHAPE, "%s %s%s: expected that of its value, %s%s", what, ad_shape_print(g->shape, a, sizeof a),
                 g->rows ? " per row" : "", ad_shape_print(v->shape, b, sizeof b), v->rows ? " per row" : "");
}

void ad_vjp(ad_var y, ad_var gy, const ad_var *x, int n, ad_var *gx) {
    check_cotangent("ad_vjp: cotangent of shape", gy, y);
    ad_vjp_paths(y, gy, x, n, gx, false);
}

void ad_grad(ad_var y, const ad_var *x, int n, ad_var *gx) {
    const ad_node *node = ad_node_of(y);
    if (node && node->count != 1) {
        char text[64];
        ad_tape_fail(y.tape, AD_ESHAPE, "ad_grad: y has shape %s: expected one element (ad_vjp takes a cotangent for others)",
                     ad_shape_print(node->shape, text, sizeof text));
    }
    ad_vjp_paths(y, y.tape ? ad_number(y.tape, 1) : y, x, n, gx, false);
}

ad_var ad_jvp(ad_var y, ad_var x, ad_var dx) {
    ad_var gx, dy;
    if (!check_vars(y, &x, 1)) return y.tape ? ad_inert(y.tape) : ad_none();
    // The vjp is linear in its cotangent u, so its own vjp in u is J dx, and u vanishes from the plan.
    ad_var u = ad_placeholder(y.tape, ad_rows_of(y), ad_shape_of(y));
    check_cotangent("ad_jvp: tangent of shape", dx, x);
    ad_vjp_paths(y, u, &x, 1, &gx, false);
    ad_vjp_paths(gx, dx, &u, 1, &dy, false);
    return dy;
}

// ---- replacing ----------------------------------------------------------------------------------------------------------

// Of a node, as ad_apply_rows wants them.
static ad_rows rows_of(ad_tape *t, const ad_node *node) {
    return (ad_rows){node->rows && !(node->op->flags & AD_OP_REDUCES_ROWS) ? t : NULL, node->rows - 1, t->epoch};
}

// Records node again with its operands mapped.
static ad_var replay(ad_tape *t, uint32_t id, const uint32_t *map, uint32_t low) {
    const ad_node node = t->nodes[id];
    uint32_t attr_size = ad_node_record(t->stream, &node)->attr_size;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *x = ad_arena_take(&t->scratch, node.n * sizeof *x);
    void *attr = ad_arena_take(&t->scratch, attr_size);
    if (!x || !attr) {
        ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", node.op->name);
        return ad_inert(t);
    }
    if (attr_size) memcpy(attr, ad_node_attr(t->stream, &node), attr_size);
    const uint32_t *in = ad_node_inputs(t->stream, &node);
    for (uint32_t i = 0; i < node.n; i++)
        x[i] = ad_var_at(t, in[i] >= low && map[in[i] - low] != UINT32_MAX ? map[in[i] - low] : in[i]);
    ad_var y = ad_apply_rows(node.op, t, rows_of(t, &node), x, (int)node.n, attr, attr_size);
    ad_arena_release(&t->scratch, mark);
    return y;
}

// What a substitution must know of the nodes low .. low + span - 1.
typedef struct changes {
    uint32_t low, span;
    bool *changed, *wanted;  // by the substitution; and the last node is computed from it
} changes;

// Function and placeholder of an implicit function say how it is differentiated: its value does not depend on them.
static bool is_symbolic(const ad_node *node, uint32_t operand) {
    return node->op->role == AD_ROLE_ALIAS && (operand == 1 || operand == 2);
}

// From the nodes already marked as changed to all that are computed from them and that the last one needs.
static void spread_changes(const ad_tape *t, const changes *c) {
    for (uint32_t i = 1; i < c->span; i++) {
        const ad_node *node = &t->nodes[c->low + i];
        const uint32_t *in = ad_node_inputs(t->stream, node);
        for (uint32_t k = 0; k < node->n && !c->changed[i]; k++)
            c->changed[i] = in[k] >= c->low && c->changed[in[k] - c->low] && !is_symbolic(node, k);
    }
    memset(c->wanted, 0, c->span);
    c->wanted[c->span - 1] = true;
    for (uint32_t i = c->span; i-- > 1;) {
        const uint32_t *in = ad_node_inputs(t->stream, &t->nodes[c->low + i]);
        for (uint32_t k = 0; k < t->nodes[c->low + i].n && c->changed[i] && c->wanted[i]; k++)
            if (in[k] >= c->low) c->wanted[in[k] - c->low] = true;
    }
}

// A loop that is recorded again needs a state of its own, and so its whole body. True when there was another one.
static bool renew_loops(ad_tape *t, const changes *c, uint32_t *map) {
    bool any = false;
    for (uint32_t i = 1; i < c->span; i++) {
        const ad_node *node = &t->nodes[c->low + i];
        if (node->op->role != AD_ROLE_LOOP || !c->changed[i] || !c->wanted[i]) continue;
        uint32_t state = ad_node_inputs(t->stream, node)[1];
        ad_shape shape = t->nodes[state].shape;
        if (state < c->low || map[state - c->low] != UINT32_MAX) continue;
        map[state - c->low] = ad_placeholder(t, rows_of(t, node), shape).id;
        c->changed[state - c->low] = any = true;
    }
    return any;
}

ad_var ad_substitute(ad_var expr, ad_var from, ad_var to) {
    if (expr.id < from.id) return expr;
    ad_tape *t = expr.tape;
    ad_arena mark = ad_arena_mark(&t->scratch);
    changes c = {.low = from.id, .span = expr.id - from.id + 1};
    uint32_t *map = ad_arena_take(&t->scratch, c.span * sizeof *map);
    c.changed = ad_arena_take(&t->scratch, c.span);
    c.wanted = ad_arena_take(&t->scratch, c.span);
    if (!map || !c.changed || !c.wanted) {
        ad_tape_fail(t, AD_ENOMEM, "substitute: out of memory");
        return ad_inert(t);
    }
    memset(map, 0xff, c.span * sizeof *map);
    memset(c.changed, 0, c.span);
    map[0] = to.id;
    c.changed[0] = true;
    do spread_changes(t, &c);
    while (renew_loops(t, &c, map));
    for (uint32_t i = 1; i < c.span && t->error.status == AD_OK; i++)
        if (c.changed[i] && c.wanted[i] && map[i] == UINT32_MAX) map[i] = replay(t, c.low + i, map, c.low).id;
    uint32_t result = map[c.span - 1];
    ad_arena_release(&t->scratch, mark);
    if (t->error.status != AD_OK) return ad_inert(t);
    return result == UINT32_MAX ? expr : ad_var_at(t, result);
}

// The nodes that y is computed from, itself included: used[id] is 1.
static void mark_used(const ad_tape *t, uint32_t id, uint8_t *used) {
    used[id] = 1;
    for (id++; id-- > 0;)
        for (uint32_t i = 0; used[id] && i < t->nodes[id].n; i++) used[ad_node_inputs(t->stream, &t->nodes[id])[i]] = 1;
}

// What `with` records instead of a node, with its operands mapped; recording moves the tape's arrays, hence the copies.
static ad_var replaced(ad_tape *t, uint32_t id, const uint32_t *map, ad_replacement with, void *arg) {
    const ad_node node = t->nodes[id];
    uint32_t attr_size = ad_node_record(t->stream, &node)->attr_size;
    ad_var *x = ad_arena_take(&t->scratch, node.n * sizeof *x);
    void *attr = ad_arena_take(&t->scratch, attr_size);
    if (!x || !attr) return ad_inert(t);
    memcpy(attr, ad_node_attr(t->stream, &node), attr_size);
    const uint32_t *in = ad_node_inputs(t->stream, &node);
    for (uint32_t i = 0; i < node.n; i++) x[i] = ad_var_at(t, map[in[i]] == UINT32_MAX ? in[i] : map[in[i]]);
    return with(arg, rows_of(t, &node), x, (int)node.n, attr, attr_size);
}

ad_var ad_replace(ad_var y, const ad_op *op, ad_replacement with, void *arg) {
    ad_tape *t = y.tape;
    if (!ad_ok(y)) return y;
    ad_arena mark = ad_arena_mark(&t->scratch);
    size_t n = y.id + (size_t)1;
    uint32_t *map = ad_arena_take(&t->scratch, n * sizeof *map);
    uint8_t *used = ad_arena_take(&t->scratch, n);
    if (!map || !used) {
        ad_tape_fail(t, AD_ENOMEM, "replace: out of memory");
        return ad_inert(t);
    }
    memset(map, 0xff, n * sizeof *map);
    memset(used, 0, n);
    mark_used(t, y.id, used);
    for (uint32_t id = 0; id < n && t->error.status == AD_OK; id++) {
        const uint32_t *in = ad_node_inputs(t->stream, &t->nodes[id]);
        bool touched = false;
        for (uint32_t i = 0; used[id] && i < t->nodes[id].n; i++) touched = touched || map[in[i]] != UINT32_MAX;
        if (used[id] && t->nodes[id].n && t->nodes[id].op == op) map[id] = replaced(t, id, map, with, arg).id;
        else if (touched) map[id] = replay(t, id, map, 0).id;
    }
    uint32_t result = map[y.id];
    ad_arena_release(&t->scratch, mark);
    if (t->error.status != AD_OK) return ad_inert(t);
    return result == UINT32_MAX ? y : ad_var_at(t, result);
}
