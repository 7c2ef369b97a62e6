// vjp_kernel.c -- the gradients of an op that has a kernel for them.
//
// They are one node: its operands are the op's x[0..n), y and gy, all with the node's rows, elementwise ones with y's
// shape; its value the gradients in x[0..n), flat, one after the other. Its derivatives, that is second and higher
// orders, are those of the same gradients written in ops: from the op's expansion, or its vjp.
#include <string.h>

#include "internal.h"

typedef struct kernel_attr {  // followed by the op's attributes
    const ad_op *op, *used;   // used: with the kernels of the instruction set in use
    uint64_t attr_size;
} kernel_attr;

// ---- the node -------------------------------------------------------------------------------------------------------

static bool gradients_shape(ad_shape_call *c) {
    int64_t n = 0;
    for (int i = 0; i < c->n - 2; i++) n += ad_count_of(&c->x[i]);
    c->y = ad_shape1(n);
    return true;
}

static ad_kernel op_call(const ad_kernel *k) {
    ad_kernel call = *k;
    call.attr = (const kernel_attr *)k->attr + 1;
    return call;
}

static const ad_op *used(const ad_kernel *k) {
    return ((const kernel_attr *)k->attr)->used;
}

static void gradients_f32(const ad_kernel *k) {
    ad_kernel call = op_call(k);
    used(k)->vjp_kernel[AD_F32](&call);
}

static void gradients_f64(const ad_kernel *k) {
    ad_kernel call = op_call(k);
    used(k)->vjp_kernel[AD_F64](&call);
}

static size_t gradients_scratch(const ad_kernel *k, ad_type type) {
    ad_kernel call = op_call(k);
    return used(k)->scratch ? used(k)->scratch(&call, type) : 0;
}

// ---- the same in ops ------------------------------------------------------------------------------------------------

// sum gy dy/dx for all x, flat, one after the other, as the kernel has it.
static ad_var gradients_in_ops(const ad_op *op, const ad_var *x, int n, ad_var gy, const kernel_attr *attr,
                               ad_var *gx) {
    ad_tape *t = gy.tape;
    bool *need = ad_arena_take(&t->scratch, (size_t)n);
    if (!need) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return ad_inert(t);
    }
    memset(need, true, (size_t)n);
    for (int i = 0; i < n; i++) gx[i] = ad_none();
    if (op->expand) {
        ad_vjp_paths(op->expand(x, n, attr + 1), gy, x, n, gx, true);
        ad_drop_repeated(x, n, gx);
    } else {
        ad_vjp_call call = {ad_apply(op, x, n, attr + 1, attr->attr_size), gy, n, x, need, attr + 1, gx};
        op->vjp(&call);
    }
    for (int i = 0; i < n && t->error.status == AD_OK; i++) {
        ad_var g = ad_conform(ad_is_none(gx[i]) ? ad_number(t, 0) : gx[i], x[i]);
        gx[i] = ad_reshape(g, ad_shape1(ad_shape_count(ad_shape_of(g))));
    }
    return t->error.status == AD_OK ? ad_concat(gx, n, 0) : ad_inert(t);
}

// y adds nothing of its own: it is a function of x.
static void gradients_vjp(const ad_vjp_call *c) {
    const kernel_attr *attr = c->attr;
    const ad_op *op = attr->op;
    ad_tape *t = c->gy.tape;
    int n = c->n - 2;
    if (!op->expand && !op->vjp) {
        ad_tape_fail(t, AD_ENOGRAD, "gradient: op %s has a vjp kernel and no vjp or expand: first order only",
                     op->name);
        return;
    }
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *x = ad_arena_take(&t->scratch, (size_t)(2 * n + 2) * sizeof *x), *gx = x + n + 1;
    if (!x) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return;
    }
    memcpy(x, c->x, (size_t)n * sizeof *x);
    x[n] = c->x[n + 1];
    ad_var flat = gradients_in_ops(op, x, n, x[n], attr, gx);
    if (t->error.status == AD_OK) {
        ad_vjp_paths(flat, c->gy, x, n + 1, gx, true);
        ad_drop_repeated(x, n + 1, gx);
        for (int i = 0; i <= n; i++) c->gx[i < n ? i : n + 1] = gx[i];
    }
    ad_arena_release(&t->scratch, mark);
}

static const ad_op gradients_op = {.name = "vjp_kernel",
                                   .shape = gradients_shape,
                                   .vjp = gradients_vjp,
                                   .kernel = {gradients_f32, gradients_f64},
                                   .scratch = gradients_scratch};

// ---- recording ------------------------------------------------------------------------------------------------------

// The operand as kernels want it.
static ad_var fit(ad_var v, ad_rows rows, const ad_shape *shape) {
    if (shape && !ad_shape_equal(ad_shape_of(v), *shape)) v = ad_expand(v, *shape);
    return rows.tape && !ad_has_rows(v) ? ad_to_rows(v, rows) : v;
}

void ad_vjp_by_kernel(const ad_op *op, const ad_vjp_call *c, size_t attr_size) {
    ad_tape *t = c->y.tape;
    int n = c->n;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *x = ad_arena_take(&t->scratch, (size_t)(n + 2) * sizeof *x);
    kernel_attr *attr = ad_arena_take(&t->scratch, sizeof *attr + attr_size);
    if (!x || !attr) {
        ad_tape_fail(t, AD_ENOMEM, "gradient: out of memory");
        return;
    }
    *attr = (kernel_attr){op, ad_isa_op(op), attr_size};
    if (attr_size) memcpy(attr + 1, c->attr, attr_size);
    ad_rows rows = {NULL, 0, 0};  // a row reduction has them though its result has not
    for (int i = 0; i < n && !rows.tape; i++) rows = ad_rows_of(c->x[i]);
    ad_shape shape = ad_shape_of(c->y);
    bool elementwise = op->flags & AD_OP_ELEMENTWISE;
    for (int i = 0; i < n; i++) x[i] = fit(c->x[i], rows, elementwise ? &shape : NULL);
    x[n] = fit(c->y, rows, NULL);
    x[n + 1] = fit(c->gy, rows, NULL);
    ad_var flat = ad_apply(&gradients_op, x, n + 2, attr, sizeof *attr + attr_size);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        ad_shape s = ad_shape_of(x[i]);
        if (c->need[i]) c->gx[i] = ad_reshape(ad_slice(flat, 0, at, ad_shape_count(s)), s);
        at += ad_shape_count(s);
    }
    ad_arena_release(&t->scratch, mark);
}
