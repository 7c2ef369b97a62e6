// loop.c -- loops whose length depends on values, and the implicit function theorem for what they solve.
#include <string.h>

#include "../internal.h"
#include "family.h"

// The loop node's operands are init, a placeholder for the state, the body's next state and its done flag. The planner runs
// the nodes between placeholder and results as the body (plan_emit.c), block.c repeats them. Its value is the state, then
// iterations, then done, as one vector a row.
static bool loop_shape(ad_shape_call *c) {
    c->y = ad_shape1(((const ad_loop_attr *)c->attr)->n + 2);
    return true;
}

static bool implicit_shape(ad_shape_call *c) {
    c->y = c->x[0];
    return true;
}

// f(y, theta) = 0 gives dy = -(df/dtheta) dtheta / (df/dy), with f recorded again at y itself so that any order is right.
static void implicit_vjp(const ad_vjp_call *c) {
    ad_tape *t = c->y.tape;
    int captured = c->n - 3;
    ad_var f = ad_substitute(c->x[2], c->x[1], c->y), slope;
    ad_vjp_paths(f, ad_number(t, 1), &c->y, 1, &slope, true);
    ad_var u = ad_neg(ad_div(c->gy, slope));
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *x = ad_arena_take(&t->scratch, (size_t)(captured + 1) * sizeof *x);
    if (!x) {
        ad_tape_fail(t, AD_ENOMEM, "implicit: out of memory");
        return;
    }
    for (int i = 0; i < captured; i++) x[i] = c->x[3 + i];
    x[captured] = c->y;
    ad_vjp_paths(f, u, x, captured + 1, x, true);
    for (int i = 0; i < captured; i++) c->gx[3 + i] = x[i];
    ad_arena_release(&t->scratch, mark);
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
#define TEST(function) (const ad_op_test[]){{.n = 1, .x = {{.shape = {1, {2}}, .rows = true}}, .f = function}}, .n_tests = 1
#else
#define TEST(function) NULL
#endif

static const ad_op loop_op = {.name = "loop", .shape = loop_shape, .role = AD_ROLE_LOOP, .tests = TEST(solved)};
static const ad_op implicit_op = {.name = "implicit", .shape = implicit_shape, .vjp = implicit_vjp, .role = AD_ROLE_ALIAS,
                                  .tests = TEST(solved)};

AD_FAMILY(loop) = {&loop_op, &implicit_op, NULL};

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

// Vars that nodes depending on p read from outside: what the root depends on. Returns their number.
static int outside(ad_tape *t, ad_var p, ad_var r, const bool *depends, ad_var *out) {
    int n = 0;
    for (uint32_t id = p.id + 1; id <= r.id; id++) {
        const uint32_t *in = ad_node_inputs(t->stream, &t->nodes[id]);
        for (uint32_t i = 0; depends[id - p.id] && i < t->nodes[id].n; i++) {
            if (in[i] >= p.id && depends[in[i] - p.id]) continue;
            bool seen = false;
            for (int j = 0; j < n && !seen; j++) seen = out[j].id == in[i];
            if (!seen) out[n++] = ad_var_at(t, in[i]);
        }
    }
    return n;
}

ad_var ad_implicit(ad_var y, ad_var (*residual)(void *arg, ad_var y), void *arg) {
    if (!ad_check_var(y, "implicit")) return y.tape ? ad_inert(y.tape) : y;
    ad_tape *t = y.tape;
    ad_var p = ad_placeholder(t, ad_rows_of(y), ad_shape_of(y)), r = residual(arg, p);
    if (r.tape != t) ad_tape_fail(t, AD_EMIX, "implicit: the residual is not on the tape of y");
    if (t->error.status != AD_OK || !ad_check_var(r, "implicit: residual")) return ad_inert(t);
    if (!ad_shape_equal(ad_shape_of(r), ad_shape_of(y)) || r.id < p.id) {
        ad_tape_fail(t, AD_ESHAPE, "implicit: the residual must depend on y, and have its shape");
        return ad_inert(t);
    }
    size_t operands = 3;
    for (uint32_t id = p.id; id <= r.id; id++) operands += t->nodes[id].n;
    ad_arena mark = ad_arena_mark(&t->scratch);
    bool *depends = mark_depends(t, p, r.id);
    ad_var *x = ad_arena_take(&t->scratch, operands * sizeof *x), result = ad_inert(t);
    if (depends && !depends[r.id - p.id]) {
        ad_tape_fail(t, AD_EARG, "implicit: the residual does not depend on y");
    } else if (depends && x) {
        x[0] = y, x[1] = p, x[2] = r;
        int n = outside(t, p, r, depends, x + 3);
        result = ad_apply(&implicit_op, x, 3 + n, NULL, 0);
    }
    ad_arena_release(&t->scratch, mark);
    return result;
}
#endif
