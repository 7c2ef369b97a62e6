// loop.c -- loops whose length depends on values, and the implicit function theorem for what they solve.
#include <string.h>

#include "../internal.h"
#include "cotangent.h"
#include "family.h"
#include "solver.h"

// The loop node's operands are init, a placeholder for the state, the body's next state and its done flag. The planner
// runs the nodes between placeholder and results as the body (plan_emit.c), block.c repeats them. Its value is the
// state, then iterations, then done, as one vector a row.
static bool loop_shape(ad_shape_call *c) {
    c->y = ad_shape1(((const ad_loop_attr *)c->attr)->n + 2);
    return true;
}

static bool implicit_shape(ad_shape_call *c) {
    c->y = c->x[0];
    return true;
}

// Operands of implicit and fixed_point_implicit: the value y, a placeholder for it, the function of the placeholder,
// and all that it uses beside.
enum { VALUE, PLACE, FUNCTION, USED };

// Cotangents of what the function uses, from u, that of its value f (recorded again at y itself, so that any order is
// right).
static void pull_used(const ad_vjp_call *c, ad_var f, ad_var u) {
    ad_tape *t = c->y.tape;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *x = ad_arena_take(&t->scratch, (size_t)c->n * sizeof *x);
    int n = 0;
    if (!x) {
        ad_tape_fail(t, AD_ENOMEM, "implicit: out of memory");
        return;
    }
    for (int i = USED; i < c->n; i++)
        if (c->need[i]) x[n++] = c->x[i];
    x[n] = c->y;
    ad_vjp_paths(f, u, x, n + 1, x, true);
    for (int i = USED, k = 0; i < c->n; i++)
        if (c->need[i]) c->gx[i] = x[k++];
    ad_arena_release(&t->scratch, mark);
}

// f(y, theta) = 0 gives dy = -(df/dtheta) dtheta / (df/dy).
static void implicit_vjp(const ad_vjp_call *c) {
    ad_var f = ad_substitute(c->x[FUNCTION], c->x[PLACE], c->y), slope;
    ad_vjp_paths(f, ad_number(c->y.tape, 1), &c->y, 1, &slope, true);
    pull_used(c, f, ad_neg(ad_cotangent_div(c->gy, slope)));
}

// y = g(y, theta) gives dy = (1 - dg/dy)^-1 (dg/dtheta) dtheta. The transposed inverse times gy is a fixed point too:
// u = gy + (dg/dy)^T u.
typedef struct adjoint {
    ad_var g, y, gy;
} adjoint;
static ad_var adjoint_step(void *arg, ad_var u) {
    const adjoint *a = arg;
    ad_var gu;
    ad_vjp_paths(a->g, u, &a->y, 1, &gu, true);
    return ad_add(a->gy, gu);
}
static void fixed_implicit_vjp(const ad_vjp_call *c) {
    ad_fixed_attr attr;
    memcpy(&attr, c->attr, sizeof attr);
    attr.adjoint = 1;
    adjoint a = {ad_substitute(c->x[FUNCTION], c->x[PLACE], c->y), c->y, c->gy};
    pull_used(c, a.g, ad_fixed_solve(c->gy, adjoint_step, &a, &attr).value);
}

#if AD_ISA_BASE
typedef struct cubic {
    ad_var x;
} cubic;
static ad_var cubic_residual(void *arg, ad_var y) {
    return ad_sub(ad_add(y, ad_mul(y, ad_square(y))), ((const cubic *)arg)->x);
}
static void newton_step(void *arg, ad_var y, ad_var *next, ad_var *done) {
    ad_var step = ad_div(cubic_residual(arg, y), ad_offset(ad_scale(ad_square(y), 3), 1));
    *next = ad_sub(y, step);
    *done = ad_less(ad_sum(ad_square(step)), ad_number(y.tape, 1e-28));
}
static ad_var solved(void *arg, const ad_var *x) {
    (void)arg;
    cubic c = {x[0]};
    return ad_implicit(ad_loop(ad_stop_gradient(x[0]), 60, newton_step, &c).state, cubic_residual, &c);
}
// y = x + tanh(x y) / 2.
static ad_var damped(void *arg, ad_var y) {
    const ad_var x = *(const ad_var *)arg;
    return ad_add(x, ad_scale(ad_tanh(ad_mul(x, y)), 0.5));
}
static ad_var settled(void *arg, const ad_var *x) {
    (void)arg;
    ad_var used = x[0];
    return ad_fixed_point(ad_stop_gradient(x[0]), damped, &used, NULL).value;
}
#define TEST(function) \
    (const ad_op_test[]){{.n = 1, .x = {{.shape = {1, {2}}, .rows = true}}, .f = function}}, .n_tests = 1
#else
#define TEST(function) NULL
#endif

static const ad_op loop_op = {.name = "loop", .shape = loop_shape, .role = AD_ROLE_LOOP, .tests = TEST(solved)};
static const ad_op implicit_op = {
    .name = "implicit", .shape = implicit_shape, .vjp = implicit_vjp, .role = AD_ROLE_ALIAS, .tests = TEST(solved)};
static const ad_op fixed_implicit_op = {.name = "fixed_point_implicit",
                                        .shape = implicit_shape,
                                        .vjp = fixed_implicit_vjp,
                                        .role = AD_ROLE_ALIAS,
                                        .tests = TEST(settled)};

AD_FAMILY(loop) = {&loop_op, &implicit_op, &fixed_implicit_op, NULL};

#if AD_ISA_BASE
// Marks which of the nodes p .. last depend on p; depends[0] is p's. NULL when out of memory.
static bool *mark_depends(ad_tape *t, ad_var p, uint32_t last) {
    bool *depends = ad_arena_take(&t->scratch, last - p.id + 1);
    if (!depends) {
        ad_tape_fail(t, AD_ENOMEM, "loop: out of memory");
        return NULL;
    }
    depends[0] = true;
    for (uint32_t id = p.id + 1; id <= last; id++) {
        const ad_node *node = &t->nodes[id];
        const uint32_t *in = ad_node_inputs(t->stream, node);
        bool d = false;
        for (uint32_t i = 0; i < node->n; i++) d = d || (in[i] >= p.id && depends[in[i] - p.id]);
        depends[id - p.id] = d;
    }
    return depends;
}

static bool check_body(ad_var p, ad_var next, ad_var done) {
    ad_tape *t = p.tape;
    char a[64], b[64];
    if (next.tape != t || done.tape != t) {
        ad_tape_fail(t, AD_EMIX, "loop: the body's results are not on the tape of init");
        return false;
    }
    if (!ad_check_var(next, "loop: next state") || !ad_check_var(done, "loop: done")) return false;
    if (!ad_shape_equal(ad_shape_of(next), ad_shape_of(p)) || ad_shape_count(ad_shape_of(done)) != 1) {
        ad_tape_fail(t, AD_ESHAPE, "loop: next state %s, expected %s; done must have one element",
                     ad_shape_print(ad_shape_of(next), a, sizeof a), ad_shape_print(ad_shape_of(p), b, sizeof b));
        return false;
    }
    if (!ad_has_rows(p) && (ad_has_rows(next) || ad_has_rows(done))) {
        ad_tape_fail(t, AD_EARG, "loop: the body's results have rows and init has none: start from ad_to_rows");
        return false;
    }
    uint32_t last = next.id > done.id ? next.id : done.id;
    ad_arena mark = ad_arena_mark(&t->scratch);
    const bool *depends = last < p.id ? NULL : mark_depends(t, p, last);
    for (uint32_t id = p.id; depends && id <= last; id++)
        if (depends[id - p.id] && (t->nodes[id].op->flags & AD_OP_REDUCES_ROWS))
            ad_tape_fail(t, AD_EARG, "loop: %s over rows inside the body: rows must not depend on each other",
                         t->nodes[id].op->name);
    ad_arena_release(&t->scratch, mark);
    return t->error.status == AD_OK;
}

static ad_loop_result loop_inert(ad_tape *t) {
    ad_var v = t ? ad_inert(t) : ad_none();
    return (ad_loop_result){v, v, v};
}

ad_loop_result ad_loop(ad_var init, int max_iterations, ad_loop_body body, void *arg) {
    if (!ad_check_var(init, "loop")) return loop_inert(init.tape);
    ad_tape *t = init.tape;
    if (max_iterations < 1 || max_iterations > 1 << 24) {  // f32 counts them exactly up to there
        ad_tape_fail(t, AD_EARG, "loop: max_iterations is %d, expected 1 to 2^24", max_iterations);
        return loop_inert(t);
    }
    ad_var p = ad_placeholder(t, ad_rows_of(init), ad_shape_of(init)), next = ad_inert(t), done = ad_inert(t);
    ad_scope(t, "loop", -1);
    body(arg, p, &next, &done);
    ad_scope_end(t);
    if (t->error.status != AD_OK || !check_body(p, next, done)) return loop_inert(t);
    int64_t n = ad_shape_count(ad_shape_of(init));
    ad_loop_attr attr = {n, max_iterations};
    ad_var x[] = {init, p, ad_conform(next, p), done};
    if (ad_has_rows(p) && !ad_has_rows(done)) x[3] = ad_to_rows(done, ad_rows_of(p));
    ad_var y = ad_apply(&loop_op, x, 4, &attr, sizeof attr);
    return (ad_loop_result){ad_reshape(ad_slice(y, 0, 0, n), ad_shape_of(init)),
                            ad_reshape(ad_slice(y, 0, n, 1), ad_shape0()),
                            ad_reshape(ad_slice(y, 0, n + 1, 1), ad_shape0())};
}

// For the nodes p .. last, which placeholders made after p their values depend on: those of loops and implicit
// functions inside. Such a node has no value outside of these. NULL with the error on the tape.
static uint64_t *mark_inner(ad_tape *t, ad_var p, uint32_t last) {
    uint64_t *inner = ad_arena_take(&t->scratch, (last - p.id + 1) * sizeof *inner), next = 1;
    if (!inner) ad_tape_fail(t, AD_ENOMEM, "implicit: out of memory");
    for (uint32_t id = p.id; inner && id <= last; id++) {
        const ad_node *node = &t->nodes[id];
        const uint32_t *in = ad_node_inputs(t->stream, node);
        uint64_t *mine = &inner[id - p.id];
        *mine = 0;
        if (node->op == ad_placeholder_op && id > p.id) {
            *mine = next;
            next = next << 1 ? next << 1 : next;  // beyond 64 they share the last bit
        }
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) *mine |= in[i] >= p.id ? inner[in[i] - p.id] : 0;
        if (node->op == &loop_op && in[1] >= p.id) *mine &= ~inner[in[1] - p.id];
    }
    return inner;
}

// Vars that nodes depending on p read from outside: what the function depends on. Returns their number; -1 on error.
static int outside(ad_tape *t, ad_var p, ad_var r, const bool *depends, ad_var *out) {
    const uint64_t *inner = mark_inner(t, p, r.id);
    int n = 0;
    if (!inner) return -1;
    for (uint32_t id = p.id + 1; id <= r.id; id++) {
        const uint32_t *in = ad_node_inputs(t->stream, &t->nodes[id]);
        for (uint32_t i = 0; depends[id - p.id] && i < t->nodes[id].n; i++) {
            if (in[i] >= p.id && (depends[in[i] - p.id] || inner[in[i] - p.id])) continue;
            bool seen = false;
            for (int j = 0; j < n && !seen; j++) seen = out[j].id == in[i];
            if (!seen) out[n++] = ad_var_at(t, in[i]);
        }
    }
    return n;
}

// y with the derivatives that op's vjp makes of function(arg, y). A function that does not depend on y has a value of
// its own where that is a solution.
static ad_var attach(const ad_op *op, ad_var y, ad_var (*function)(void *arg, ad_var y), void *arg, const void *attr,
                     size_t attr_size) {
    ad_tape *t = y.tape;
    ad_var p = ad_placeholder(t, ad_rows_of(y), ad_shape_of(y)), r = function(arg, p);
    if (r.tape != t) ad_tape_fail(t, AD_EMIX, "%s: the function's value is not on the tape of y", op->name);
    if (t->error.status != AD_OK || !ad_check_var(r, op->name)) return ad_inert(t);
    if (!ad_shape_equal(ad_shape_of(r), ad_shape_of(y))) {
        ad_tape_fail(t, AD_ESHAPE, "%s: the function must have the shape of y", op->name);
        return ad_inert(t);
    }
    size_t operands = USED;
    for (uint32_t id = p.id; id <= r.id; id++) operands += t->nodes[id].n;
    ad_arena mark = ad_arena_mark(&t->scratch);
    bool *depends = r.id < p.id ? NULL : mark_depends(t, p, r.id);
    ad_var *x = ad_arena_take(&t->scratch, operands * sizeof *x), result = ad_inert(t);
    if (t->error.status == AD_OK && !(depends && depends[r.id - p.id])) {
        if (op == &fixed_implicit_op) result = ad_conform(r, y);
        else ad_tape_fail(t, AD_EARG, "%s: the function does not depend on y", op->name);
    } else if (depends && x) {
        x[VALUE] = y, x[PLACE] = p, x[FUNCTION] = r;
        int n = outside(t, p, r, depends, x + USED);
        if (n >= 0) result = ad_apply(op, x, USED + n, attr, attr_size);
    }
    ad_arena_release(&t->scratch, mark);
    return result;
}

ad_var ad_implicit(ad_var y, ad_var (*residual)(void *arg, ad_var y), void *arg) {
    if (!ad_check_var(y, "implicit")) return y.tape ? ad_inert(y.tape) : y;
    return attach(&implicit_op, y, residual, arg, NULL, 0);
}

ad_var ad_fixed_implicit(ad_var y, ad_var (*g)(void *arg, ad_var y), void *arg, const ad_fixed_attr *attr) {
    if (!ad_check_var(y, "fixed_point")) return y.tape ? ad_inert(y.tape) : y;
    return attach(&fixed_implicit_op, y, g, arg, attr, sizeof *attr);
}
#endif
