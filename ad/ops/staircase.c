// staircase.c -- products with a matrix of which output o reads the first columns[o] inputs only, columns ascending: the
// masked linear maps of autoregressive nets (Germain et al. 2015), outputs sorted by degree.
//
// Rows of equal columns are one group. What lies beyond the stairs is neither read nor multiplied, and has gradient 0. Every
// element is summed in the order of its terms, whichever way the products are cut: the bits do not depend on it.
//
// Letters: W [O,I]; x [...,X], X <= I its inputs at hand; S the product of x's leading dimensions; R lanes.
#include <stdlib.h>
#include <string.h>

#include "../internal.h"
#include "gemm.h"

typedef struct stair {
    int32_t end, columns;  // rows from the end of the stair before to here
} stair;
typedef struct staircase_attr {  // followed by n stairs
    int32_t n, I, X, zero;
} staircase_attr;

typedef struct group {
    int64_t row, rows, columns;
    int64_t above;  // columns of the group before: those from there on are read from this group's first row on
} group;

static group group_at(const staircase_attr *attr, int i) {
    const stair *s = (const stair *)(const void *)(attr + 1);
    int64_t row = i ? s[i - 1].end : 0;
    return (group){row, s[i].end - row, s[i].columns, i ? s[i - 1].columns : 0};
}

static int64_t last_columns(const staircase_attr *attr) { return attr->n ? group_at(attr, attr->n - 1).columns : 0; }

static size_t size_of_attr(const staircase_attr *attr) { return sizeof *attr + (size_t)attr->n * sizeof(stair); }

static size_t element_size(ad_type type) { return type == AD_F64 ? sizeof(double) : sizeof(float); }

static int64_t leading(const ad_shape *shape) {
    int64_t n = 1;
    for (int i = 0; i + 1 < shape->rank; i++) n *= shape->dim[i];
    return n;
}

static int32_t last_dim(const ad_shape *shape) { return shape->dim[shape->rank - 1]; }

static ad_shape with_last(ad_shape shape, int64_t n) {
    shape.dim[shape.rank - 1] = (int32_t)n;
    return shape;
}

// ---- shape rules ----

// W is a matrix of the stairs' rows, and x [...,size].
static bool operands_fit(ad_shape_call *c, int64_t size) {
    const staircase_attr *attr = c->attr;
    const ad_shape *W = &c->x[0], *x = &c->x[1];
    char text[2][64];
    if (c->rows[0]) return ad_shape_fail(c, "W has rows; it must be shared, one matrix for all rows");
    if (W->rank == 2 && W->dim[1] == attr->I && x->rank >= 1 && last_dim(x) == size) return true;
    return ad_shape_fail(c, "W is %s and x %s, expected [O,%d] and [...,%lld]", ad_shape_print(*W, text[0], sizeof text[0]),
                         ad_shape_print(*x, text[1], sizeof text[1]), (int)attr->I, (long long)size);
}

static bool forward_shape(ad_shape_call *c) {
    const staircase_attr *attr = c->attr;
    if (!operands_fit(c, attr->X)) return false;
    int64_t O = c->x[0].dim[0];
    c->y = with_last(c->x[1], O);
    if (c->n == 2) return true;
    if (c->rows[2]) return ad_shape_fail(c, "b has rows; it must be shared (add a bias of each row with ad_add)");
    if (c->x[2].rank == 1 && c->x[2].dim[0] == O) return true;
    char text[64];
    return ad_shape_fail(c, "b is %s, expected [%lld]", ad_shape_print(c->x[2], text, sizeof text), (long long)O);
}

static bool transposed_shape(ad_shape_call *c) {
    const staircase_attr *attr = c->attr;
    if (!operands_fit(c, c->x[0].rank == 2 ? c->x[0].dim[0] : -1)) return false;
    c->y = with_last(c->x[1], attr->X);
    return true;
}

// Called for the derivatives of the two above only: a [...,O], b [...,X].
static bool outer_rows_shape(ad_shape_call *c) {
    const staircase_attr *attr = c->attr;
    c->y = (ad_shape){.rank = 2, .dim = {last_dim(&c->x[0]), attr->I}};
    return true;
}

static bool outer_shape(ad_shape_call *c) {
    if (c->rows[0] || c->rows[1]) return ad_shape_fail(c, "a or b has rows, to be summed over");
    return outer_rows_shape(c);
}

// ---- kernels with lanes ----

// What stands at element i of data.
static void *at(const void *data, int64_t i, ad_type type) { return (char *)(uintptr_t)data + i * (int64_t)element_size(type); }

static const void *epilogue_operand(const ad_kernel *k, int64_t i, ad_type type) {
    return k->epilogue == AD_EPILOGUE_RELU_SLOPE ? at(k->x[k->n].data, i, type) : NULL;
}

static void zero(void *data, int64_t i, int64_t n, ad_type type) {
    if (n > 0) memset(at(data, i, type), 0, (size_t)n * element_size(type));
}

// Groups of few rows, or whose strips have few columns, are taken several at a time, so that products have tiles to fill.
enum { BUNDLE = 12 };

// y = W x + b for groups i to j: what all of them read in one product, then, strip by strip, what the later ones do.
static void forward_bundle(const ad_kernel *k, const ad_gemm *whole, int i, int j, ad_type type) {
    const staircase_attr *attr = k->attr;
    int64_t row = group_at(attr, i).row, end = group_at(attr, j - 1).row + group_at(attr, j - 1).rows;
    bool split = j - i > 1 && whole->epilogue;  // rows of a product are then not all done: epilogues wait
    for (int n = i; n < j; n++) {
        group s = group_at(attr, n);
        int64_t from = n > i ? s.above : 0;
        ad_gemm g = *whole;
        g.M = end - s.row, g.K = s.columns - from, g.add = n > i;
        g.A = at(g.A, s.row * attr->I + from, type);
        g.B = at(g.B, from * g.ldb, type);
        g.C = at(g.C, s.row * k->R, type);
        if (g.bias) g.bias = at(g.bias, s.row, type);
        if (g.with) g.with = at(g.with, s.row * k->R, type);
        if (split) g.epilogue = AD_EPILOGUE_NONE;
        ad_gemm_run(type, &g);
    }
    if (!split) return;
    const void *with = whole->with ? at(whole->with, row * k->R, type) : NULL;
    ad_gemm_finish(type, end - row, k->R, at(whole->C, row * k->R, type), k->R, whole->epilogue, with);
}

static void forward_lanes(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    const staircase_attr *attr = k->attr;
    int64_t O = W->shape->dim[0], S = leading(x->shape);
    ad_gemm g = {.M = O, .N = k->R, .A = W->data, .am = attr->I, .ak = 1, .ldb = x->stride, .ldc = k->R,
                 .bias = k->n == 3 ? k->x[2].data : NULL, .epilogue = k->epilogue};
    for (int64_t s = 0; s < S; s++) {
        g.with = epilogue_operand(k, s * O * k->R, type);
        g.B = at(x->data, s * attr->X * x->stride, type);
        g.C = at(k->y, s * O * k->R, type);
        for (int i = 0, j; i < attr->n; i = j) {
            int64_t rows = 0;
            for (j = i; j < attr->n && rows < BUNDLE; j++) rows += group_at(attr, j).rows;
            forward_bundle(k, &g, i, j, type);
        }
    }
}

// y = W^T x for the strips of columns of groups i to j: rows that read some of these, group by group, then those that read
// all.
static void transposed_bundle(const ad_kernel *k, const ad_gemm *whole, int i, int j, ad_type type) {
    const staircase_attr *attr = k->attr;
    int64_t from = group_at(attr, i).above, end = group_at(attr, j - 1).columns;
    if (j - i > 1) zero(whole->C, from * k->R, (end - from) * k->R, type);
    for (int n = i; n < j; n++) {
        group s = group_at(attr, n);
        bool last = n + 1 == j;
        ad_gemm g = *whole;
        g.M = s.columns - from, g.K = last ? whole->K - s.row : s.rows, g.add = j - i > 1;
        g.A = at(g.A, s.row * attr->I + from, type);
        g.B = at(g.B, s.row * g.ldb, type);
        g.C = at(g.C, from * k->R, type);
        if (g.with) g.with = at(g.with, from * k->R, type);
        if (!last) g.epilogue = AD_EPILOGUE_NONE;
        ad_gemm_run(type, &g);
    }
}

static void transposed_lanes(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    const staircase_attr *attr = k->attr;
    int64_t O = W->shape->dim[0], S = leading(x->shape), read = last_columns(attr);
    ad_gemm g = {.N = k->R, .K = O, .A = W->data, .am = 1, .ak = attr->I, .ldb = x->stride, .ldc = k->R,
                 .epilogue = k->epilogue};
    for (int64_t s = 0; s < S; s++) {
        g.with = epilogue_operand(k, s * attr->X * k->R, type);
        g.B = at(x->data, s * O * x->stride, type);
        g.C = at(k->y, s * attr->X * k->R, type);
        for (int i = 0, j; i < attr->n; i = j) {
            int64_t columns = 0;
            for (j = i; j < attr->n && columns < BUNDLE; j++) columns += group_at(attr, j).columns - group_at(attr, j).above;
            transposed_bundle(k, &g, i, j, type);
        }
        zero(g.C, read * k->R, (attr->X - read) * k->R, type);
    }
}

// ---- kernels without lanes: x [S,n] is a matrix ----

static void forward_dense(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    const staircase_attr *attr = k->attr;
    int64_t O = W->shape->dim[0], S = leading(x->shape);
    for (int64_t s = 0; k->n == 3 && s < S; s++) {
        if (O) memcpy(at(k->y, s * O, type), k->x[2].data, (size_t)O * element_size(type));
    }
    for (int i = 0; i < attr->n; i++) {
        group s = group_at(attr, i);
        ad_gemm_nt_run(type,
                       &(ad_gemm){.M = S, .N = s.rows, .K = s.columns, .A = x->data, .am = attr->X, .ak = 1,
                                  .B = at(W->data, s.row * attr->I, type), .ldb = attr->I, .C = at(k->y, s.row, type),
                                  .ldc = O, .add = k->n == 3},
                       k->scratch);
    }
    ad_gemm_finish(type, S, O, k->y, O, k->epilogue, epilogue_operand(k, 0, type));
}

static void transposed_dense(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    const staircase_attr *attr = k->attr;
    int64_t O = W->shape->dim[0], S = leading(x->shape), read = last_columns(attr);
    for (int i = 0; i < attr->n; i++) {
        group s = group_at(attr, i);
        ad_gemm_run(type, &(ad_gemm){.M = S, .N = s.columns - s.above, .K = O - s.row, .A = at(x->data, s.row, type), .am = O,
                                     .ak = 1, .B = at(W->data, s.row * attr->I + s.above, type), .ldb = attr->I,
                                     .C = at(k->y, s.above, type), .ldc = attr->X});
    }
    ad_gemm_finish(type, S, read, k->y, attr->X, k->epilogue, epilogue_operand(k, 0, type));
    for (int64_t s = 0; s < S; s++) zero(k->y, s * attr->X + read, attr->X - read, type);
}

// ---- gradients of W ----

static void zero_beyond(const ad_kernel *k, ad_type type) {
    const staircase_attr *attr = k->attr;
    for (int i = 0; i < attr->n; i++) {
        group s = group_at(attr, i);
        for (int64_t o = s.row; o < s.row + s.rows; o++) zero(k->y, o * attr->I + s.columns, attr->I - s.columns, type);
    }
}

enum { STRIP = 64 };  // columns: whole panels of the product's on every instruction set

// Columns n0 to n0 + STRIP of the gradient: groups that end inside on their own, all that go beyond as one.
static void outer_strip(const ad_kernel *k, ad_type type, const ad_gemm *whole, int64_t n0) {
    const staircase_attr *attr = k->attr;
    bool beyond = false;
    for (int i = 0; i < attr->n && !beyond; i++) {
        group s = group_at(attr, i);
        if (s.columns <= n0) continue;
        ad_gemm g = *whole;
        beyond = s.columns >= n0 + STRIP;
        g.M = beyond ? whole->M - s.row : s.rows, g.N = beyond ? STRIP : s.columns - n0;
        g.A = at(g.A, s.row * g.am, type);
        g.B = at(g.B, n0 * g.ldb, type);
        g.C = at(g.C, s.row * attr->I + n0, type);
        ad_gemm_nt_run(type, &g, k->scratch);
    }
}

static void outer_rows_run(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *a = &k->x[0], *b = &k->x[1];
    const staircase_attr *attr = k->attr;
    int64_t O = k->shape->dim[0], S = leading(a->shape);
    if (k->first && S == 0) zero(k->y, 0, O * attr->I, type);
    if (k->first) zero_beyond(k, type);
    ad_gemm g = {.M = O, .K = k->live, .am = a->stride, .ak = 1, .ldb = b->stride, .C = k->y, .ldc = attr->I, .add = !k->first};
    for (int64_t s = 0; s < S; s++, g.add = true) {
        g.A = at(a->data, s * O * a->stride, type);
        g.B = at(b->data, s * attr->X * b->stride, type);
        for (int64_t n = 0; n < last_columns(attr); n += STRIP) outer_strip(k, type, &g, n);
    }
}

static void outer_run(const ad_kernel *k, ad_type type) {
    const staircase_attr *attr = k->attr;
    int64_t O = k->shape->dim[0];
    zero_beyond(k, type);
    for (int i = 0; i < attr->n; i++) {
        group s = group_at(attr, i);
        ad_gemm_run(type, &(ad_gemm){.M = s.rows, .N = s.columns, .K = leading(k->x[0].shape),
                                     .A = at(k->x[0].data, s.row, type), .am = 1, .ak = O, .B = k->x[1].data, .ldb = attr->X,
                                     .C = at(k->y, s.row * attr->I, type), .ldc = attr->I});
    }
}

// ---- calls ----

static size_t forward_scratch(const ad_kernel *k, ad_type type) {
    const staircase_attr *attr = k->attr;
    return k->R == 1 ? AD_ISA_NAME(ad_gemm_nt_scratch)(attr->X, type) : 0;
}
static size_t outer_rows_scratch(const ad_kernel *k, ad_type type) { return AD_ISA_NAME(ad_gemm_nt_scratch)(k->R, type); }

static double flops_of(const ad_kernel *k, const ad_shape *x) {
    const staircase_attr *attr = k->attr;
    double n = 0;
    for (int i = 0; i < attr->n; i++) n += (double)group_at(attr, i).rows * (double)group_at(attr, i).columns;
    return 2 * n * (double)leading(x) * k->R;
}
static double product_flops(const ad_kernel *k) { return flops_of(k, k->x[1].shape); }
static double outer_flops(const ad_kernel *k) { return flops_of(k, k->x[0].shape); }

static void forward_f32(const ad_kernel *k) { (k->R == 1 ? forward_dense : forward_lanes)(k, AD_F32); }
static void forward_f64(const ad_kernel *k) { (k->R == 1 ? forward_dense : forward_lanes)(k, AD_F64); }
static void transposed_f32(const ad_kernel *k) { (k->R == 1 ? transposed_dense : transposed_lanes)(k, AD_F32); }
static void transposed_f64(const ad_kernel *k) { (k->R == 1 ? transposed_dense : transposed_lanes)(k, AD_F64); }
static void outer_f32(const ad_kernel *k) { outer_run(k, AD_F32); }
static void outer_f64(const ad_kernel *k) { outer_run(k, AD_F64); }
static void outer_rows_f32(const ad_kernel *k) { outer_rows_run(k, AD_F32); }
static void outer_rows_f64(const ad_kernel *k) { outer_rows_run(k, AD_F64); }

// ---- derivatives: the three products are each other's ----

static ad_var forward(const staircase_attr *attr, ad_var W, ad_var x, ad_var b);
static ad_var transposed(const staircase_attr *attr, ad_var W, ad_var x);
static ad_var outer(const staircase_attr *attr, ad_var a, ad_var b);

static void forward_vjp(const ad_vjp_call *call) {
    ad_var gy = call->gy;
    if (call->need[0]) call->gx[0] = outer(call->attr, gy, call->x[1]);
    if (call->need[1]) call->gx[1] = transposed(call->attr, call->x[0], gy);
    if (call->n < 3 || !call->need[2]) return;
    ad_shape shape = ad_shape_of(gy);
    call->gx[2] = shape.rank == 1 ? gy : ad_sum_axis(ad_reshape(gy, ad_shape2(leading(&shape), last_dim(&shape))), 0);
}

static void transposed_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = outer(call->attr, call->x[1], call->gy);
    if (call->need[1]) call->gx[1] = forward(call->attr, call->x[0], call->gy, AD_NONE);
}

static void outer_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = forward(call->attr, call->gy, call->x[1], AD_NONE);
    if (call->need[1]) call->gx[1] = transposed(call->attr, call->gy, call->x[0]);
}

// ---- the ops ----

// For the tests: of W [5,4], three inputs of which are at hand, and [3,6].
static const struct {
    staircase_attr head;
    stair stairs[3];
} low = {{3, 4, 3, 0}, {{1, 0}, {3, 1}, {5, 3}}}, wide = {{2, 6, 6, 0}, {{2, 3}, {3, 5}}};

static ad_var forward_low(void *arg, const ad_var *x) {
    (void)arg;
    return forward(&low.head, x[0], x[1], x[2]);
}
static ad_var forward_wide(void *arg, const ad_var *x) {
    (void)arg;
    return forward(&wide.head, x[0], x[1], AD_NONE);
}
static ad_var transposed_low(void *arg, const ad_var *x) {
    (void)arg;
    return transposed(&low.head, x[0], x[1]);
}
static ad_var transposed_wide(void *arg, const ad_var *x) {
    (void)arg;
    return transposed(&wide.head, x[0], x[1]);
}
static const ad_op outer_rows_op, outer_op;
static ad_var outer_rows_low(void *arg, const ad_var *x) {
    (void)arg;
    return ad_apply(&outer_rows_op, x, 2, &low, size_of_attr(&low.head));
}
static ad_var outer_rows_wide(void *arg, const ad_var *x) {
    (void)arg;
    return ad_apply(&outer_rows_op, x, 2, &wide, size_of_attr(&wide.head));
}
static ad_var outer_low(void *arg, const ad_var *x) {
    (void)arg;
    return ad_apply(&outer_op, x, 2, &low, size_of_attr(&low.head));
}
static ad_var outer_wide(void *arg, const ad_var *x) {
    (void)arg;
    return ad_apply(&outer_op, x, 2, &wide, size_of_attr(&wide.head));
}

static const ad_op_test forward_tests[] = {
    {.n = 3, .x = {{.shape = {2, {5, 4}}}, {.shape = {1, {3}}, .rows = true}, {.shape = {1, {5}}}}, .f = forward_low},
    {.n = 3, .x = {{.shape = {2, {5, 4}}}, {.shape = {2, {2, 3}}}, {.shape = {1, {5}}}}, .f = forward_low},
    {.n = 2, .x = {{.shape = {2, {3, 6}}}, {.shape = {2, {2, 6}}, .rows = true}}, .f = forward_wide},
};
static const ad_op_test transposed_tests[] = {
    {.n = 2, .x = {{.shape = {2, {5, 4}}}, {.shape = {2, {2, 5}}, .rows = true}}, .f = transposed_low},
    {.n = 2, .x = {{.shape = {2, {3, 6}}}, {.shape = {1, {3}}, .rows = true}}, .f = transposed_wide},
    {.n = 2, .x = {{.shape = {2, {3, 6}}}, {.shape = {2, {2, 3}}}}, .f = transposed_wide},
};
static const ad_op_test outer_rows_tests[] = {
    {.n = 2, .x = {{.shape = {1, {5}}, .rows = true}, {.shape = {1, {3}}, .rows = true}}, .f = outer_rows_low},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 6}}}}, .f = outer_rows_wide},
    {.n = 2, .x = {{.shape = {1, {3}}}, {.shape = {1, {6}}, .rows = true}}, .f = outer_rows_wide},
};
static const ad_op_test outer_tests[] = {
    {.n = 2, .x = {{.shape = {1, {5}}}, {.shape = {1, {3}}}}, .f = outer_low},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 6}}}}, .f = outer_wide},
};

// In units of the last place of the sum of the terms' magnitudes, as for ad_linear.
#define SUM_ULP {32, 32}
#define TESTS(name) .tests = name, .n_tests = sizeof name / sizeof *name

static const ad_op forward_op = {
    .name = "linear_staircase", .flags = AD_OP_STRIDED | AD_OP_EPILOGUES, .shape = forward_shape, .vjp = forward_vjp,
    .kernel = {forward_f32, forward_f64}, .scratch = forward_scratch, .flops = product_flops, .ulp = SUM_ULP,
    TESTS(forward_tests)};

static const ad_op transposed_op = {
    .name = "linear_staircase_transposed", .flags = AD_OP_STRIDED | AD_OP_EPILOGUES, .shape = transposed_shape,
    .vjp = transposed_vjp, .kernel = {transposed_f32, transposed_f64}, .flops = product_flops, .ulp = SUM_ULP,
    TESTS(transposed_tests)};

static const ad_op outer_rows_op = {
    .name = "outer_rows_staircase", .flags = AD_OP_REDUCES_ROWS, .shape = outer_rows_shape, .vjp = outer_vjp,
    .kernel = {outer_rows_f32, outer_rows_f64}, .scratch = outer_rows_scratch, .flops = outer_flops, .ulp = SUM_ULP,
    TESTS(outer_rows_tests)};

static const ad_op outer_op = {
    .name = "outer_staircase", .shape = outer_shape, .vjp = outer_vjp, .kernel = {outer_f32, outer_f64},
    .flops = outer_flops, .ulp = SUM_ULP, TESTS(outer_tests)};

static ad_var forward(const staircase_attr *attr, ad_var W, ad_var x, ad_var b) {
    ad_var operands[3] = {W, x, b};
    return ad_apply(&forward_op, operands, ad_is_none(b) ? 2 : 3, attr, size_of_attr(attr));
}

static ad_var transposed(const staircase_attr *attr, ad_var W, ad_var x) {
    ad_var operands[2] = {W, x};
    return ad_apply(&transposed_op, operands, 2, attr, size_of_attr(attr));
}

static ad_var outer(const staircase_attr *attr, ad_var a, ad_var b) {
    ad_var operands[2] = {a, b};
    const ad_op *op = ad_has_rows(a) || ad_has_rows(b) ? &outer_rows_op : &outer_op;
    return ad_apply(op, operands, 2, attr, size_of_attr(attr));
}

AD_FAMILY(staircase) = {&forward_op, &transposed_op, &outer_rows_op, &outer_op, NULL};

#if AD_ISA_BASE
// The stairs of columns [O]: at most O.
static void climb(staircase_attr *attr, const int64_t *columns, int64_t O) {
    stair *s = (stair *)(void *)(attr + 1);
    for (int64_t o = 0; o < O; o++) {
        if (attr->n == 0 || s[attr->n - 1].columns != columns[o]) s[attr->n++].columns = (int32_t)columns[o];
        s[attr->n - 1].end = (int32_t)(o + 1);
    }
}

// False, with the error on the tape, when columns do not ascend from 0 to X.
static bool check_columns(ad_tape *tape, const int64_t *columns, int64_t O, int64_t X) {
    for (int64_t o = 0; o < O; o++) {
        if (columns[o] >= (o ? columns[o - 1] : 0) && columns[o] <= X) continue;
        ad_tape_fail(tape, AD_EARG, "linear_staircase: columns[%lld] is %lld; they must ascend, from 0 to the %lld inputs of x",
                     (long long)o, (long long)columns[o], (long long)X);
        return false;
    }
    return true;
}

ad_var ad_linear_staircase(ad_var W, ad_var x, ad_var b, const int64_t *columns) {
    if (!ad_ok(W) || !ad_ok(x)) return ad_linear(W, x, b);  // which says what is wrong
    int64_t O = ad_dim(W, 0), I = ad_dim(W, -1), X = ad_dim(x, -1);
    ad_shape shape = ad_shape_of(W);
    if (shape.rank != 2 || X > I || ad_shape_of(x).rank == 0) {
        char text[2][64];
        ad_tape_fail(W.tape, AD_ESHAPE, "linear_staircase: W is %s and x %s, expected [O,I] and [...,I] or fewer inputs",
                     ad_shape_print(shape, text[0], sizeof text[0]), ad_shape_print(ad_shape_of(x), text[1], sizeof text[1]));
        return ad_inert(W.tape);
    }
    if (!check_columns(W.tape, columns, O, X)) return ad_inert(W.tape);
    staircase_attr *attr = malloc(sizeof *attr + (size_t)O * sizeof(stair));
    if (!attr) {
        ad_tape_fail(W.tape, AD_ENOMEM, "linear_staircase: out of memory");
        return ad_inert(W.tape);
    }
    *attr = (staircase_attr){.I = (int32_t)I, .X = (int32_t)X};
    climb(attr, columns, O);
    ad_var y = forward(attr, W, x, b);
    free(attr);
    return y;
}
#endif
