// matmul.c -- products of matrices, shared and per row.
//
// A product with a shared factor goes to the GEMM (gemm.h), the other factor's lanes being columns; factors that both
// have rows are multiplied lane by lane, summed in f64 (in f32 then with one rounding). A sum is in the order of k.
#include "gemm.h"
#include "lanes.h"
#include "matrix.h"

typedef struct matmul_attr {
    int64_t flags;
} matmul_attr;

// One product: matrices of M x K and K x N, element (i, j) of a factor being feature i*row + j*column from its start.
typedef struct factor {
    ad_kernel_operand x;
    int64_t row, column;
} factor;
typedef struct product {
    int64_t M, N, K;
    factor a, b;
    void *y;
} product;

static void gemm(ad_type type, const ad_gemm *g) {
    if (type == AD_F64) {
        AD_ISA_NAME(ad_gemm_f64)(g);
    } else {
        AD_ISA_NAME(ad_gemm_f32)(g);
    }
}

AD_INLINE const void *advance(const void *p, int64_t elements, ad_type type) {
    return (const char *)p + elements * (type == AD_F32 ? 4 : 8);
}

// ---- without lanes -------------------------------------------------------------------------------------------------

static void transpose(const void *from, int64_t rows, int64_t columns, void *to, ad_type type) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            if (type == AD_F32) {
                ((float *)to)[j * rows + i] = ((const float *)from)[i * columns + j];
            } else {
                ((double *)to)[j * rows + i] = ((const double *)from)[i * columns + j];
            }
        }
}

static void multiply_dense(const product *p, void *scratch, ad_type type) {
    ad_gemm g = {.M = p->M,
                 .N = p->N,
                 .K = p->K,
                 .A = p->a.x.data,
                 .am = p->a.row,
                 .ak = p->a.column,
                 .B = p->b.x.data,
                 .ldb = p->b.row,
                 .C = p->y,
                 .ldc = p->N};
    if (p->b.column == 1) {
        gemm(type, &g);
    } else if (p->a.column == 1) {
        g.ldb = p->b.column;
        if (type == AD_F64) {
            AD_ISA_NAME(ad_gemm_nt_f64)(&g, scratch);
        } else {
            AD_ISA_NAME(ad_gemm_nt_f32)(&g, scratch);
        }
    } else {  // a^T b^T is the transpose of b a
        gemm(type, &(ad_gemm){.M = p->N,
                              .N = p->M,
                              .K = p->K,
                              .A = p->b.x.data,
                              .am = p->b.column,
                              .ak = 1,
                              .B = p->a.x.data,
                              .ldb = p->a.column,
                              .C = scratch,
                              .ldc = p->M});
        transpose(scratch, p->N, p->M, p->y, type);
    }
}

// ---- one factor with lanes -----------------------------------------------------------------------------------------

// y[m] = sum over k of a[m,k] b[k], where a lane of b is a column, or all lanes of a row of b are.
static void multiply_shared_lanes(const product *p, int64_t R, ad_type type) {
    const ad_kernel_operand *b = &p->b.x;
    ad_gemm g = {.M = p->M,
                 .N = R,
                 .K = p->K,
                 .A = p->a.x.data,
                 .am = p->a.row,
                 .ak = p->a.column,
                 .ldb = p->b.row * b->stride,
                 .ldc = p->N * R};
    bool whole = p->b.column == 1 && b->stride == R;
    if (whole) g.N = p->N * R;
    for (int64_t n = 0; n < (whole ? 1 : p->N); n++) {
        g.B = advance(b->data, n * p->b.column * b->stride, type);
        g.C = (void *)(uintptr_t)advance(p->y, n * R, type);
        gemm(type, &g);
    }
}

// y[m]^T = b^T a[m]^T, row by row of a.
static void multiply_lanes_shared(const product *p, int64_t R, ad_type type) {
    const ad_kernel_operand *a = &p->a.x;
    ad_gemm g = {.M = p->N,
                 .N = R,
                 .K = p->K,
                 .A = p->b.x.data,
                 .am = p->b.column,
                 .ak = p->b.row,
                 .ldb = p->a.column * a->stride,
                 .ldc = R};
    for (int64_t m = 0; m < p->M; m++) {
        g.B = advance(a->data, m * p->a.row * a->stride, type);
        g.C = (void *)(uintptr_t)advance(p->y, m * p->N * R, type);
        gemm(type, &g);
    }
}

// ---- both with lanes -----------------------------------------------------------------------------------------------

// Columns n .. n + nt of row m, lanes r .. r + VD of which `lanes` are there.
AD_INLINE void lane_dots(const int nt, const product *p, int64_t m, int64_t n, int64_t r, int64_t lanes, int64_t R,
                         ad_type type) {
    vd sum[4];
    for (int i = 0; i < nt; i++) sum[i] = vd_set(0);
    for (int64_t k = 0; k < p->K; k++) {
        vd a = lanes_load(&p->a.x, m * p->a.row + k * p->a.column, r, lanes, type);
        for (int i = 0; i < nt; i++)
            sum[i] = sum[i] + a * lanes_load(&p->b.x, k * p->b.row + (n + i) * p->b.column, r, lanes, type);
    }
    for (int i = 0; i < nt; i++) lanes_store(p->y, (m * p->N + n + i) * R + r, sum[i], lanes, type);
}

AD_INLINE void multiply_lanes(const product *p, int64_t R, ad_type type) {
    for (int64_t r = 0; r < R; r += VD) {
        int64_t lanes = R - r < VD ? R - r : VD;
        for (int64_t m = 0; m < p->M; m++) {
            int64_t n = 0;
            for (; n + 4 <= p->N; n += 4) lane_dots(4, p, m, n, r, lanes, R, type);
            for (; n < p->N; n++) lane_dots(1, p, m, n, r, lanes, R, type);
        }
    }
}

// ---- the op --------------------------------------------------------------------------------------------------------

AD_INLINE void multiply(const product *p, int64_t R, void *scratch, ad_type type) {
    if (R == 1) {
        multiply_dense(p, scratch, type);
    } else if (p->b.x.lane && !p->a.x.lane) {
        multiply_shared_lanes(p, R, type);
    } else if (p->a.x.lane && !p->b.x.lane) {
        multiply_lanes_shared(p, R, type);
    } else {
        multiply_lanes(p, R, type);
    }
}

static factor new_factor(const ad_kernel_operand *x, bool transposed) {
    const ad_shape *s = x->shape;
    int64_t columns = s->dim[s->rank - 1];
    return (factor){*x, transposed ? 1 : columns, transposed ? columns : 1};
}

// Elements of a matrix times the number of the matrix that belongs to leading index `index` of y, x broadcast to it.
static int64_t leading_offset(const ad_shape *x, const ad_shape *y, int64_t index) {
    int64_t offset = 0, step = (int64_t)x->dim[x->rank - 1] * x->dim[x->rank - 2];
    for (int i = y->rank - 3, j = x->rank - 3; j >= 0; i--, j--) {
        if (x->dim[j] != 1) offset += index % y->dim[i] * step;
        index /= y->dim[i];
        step *= x->dim[j];
    }
    return offset;
}

AD_INLINE void matmul_kernel(const ad_kernel *k, ad_type type) {
    const matmul_attr *attr = k->attr;
    const ad_shape *y = k->shape, *a = k->x[0].shape;
    product p = {.M = y->dim[y->rank - 2],
                 .N = y->dim[y->rank - 1],
                 .K = a->dim[a->rank - (attr->flags & AD_TRANSPOSE_A ? 2 : 1)],
                 .a = new_factor(&k->x[0], attr->flags & AD_TRANSPOSE_A),
                 .b = new_factor(&k->x[1], attr->flags & AD_TRANSPOSE_B)};
    int64_t count = 1;
    for (int i = 0; i + 2 < y->rank; i++) count *= y->dim[i];
    for (int64_t s = 0; s < count; s++) {
        p.a.x.data = advance(k->x[0].data, leading_offset(a, y, s) * k->x[0].stride, type);
        p.b.x.data = advance(k->x[1].data, leading_offset(k->x[1].shape, y, s) * k->x[1].stride, type);
        p.y = (void *)(uintptr_t)advance(k->y, s * p.M * p.N * k->R, type);
        multiply(&p, k->R, k->scratch, type);
    }
}

static void matmul_f32(const ad_kernel *k) {
    matmul_kernel(k, AD_F32);
}
static void matmul_f64(const ad_kernel *k) {
    matmul_kernel(k, AD_F64);
}

static size_t matmul_scratch(const ad_kernel *k, ad_type type) {
    const ad_shape *y = k->shape, *a = k->x[0].shape;
    int64_t flags = ((const matmul_attr *)k->attr)->flags;
    if (k->R != 1 || !(flags & AD_TRANSPOSE_B)) return 0;
    if (flags & AD_TRANSPOSE_A)
        return (size_t)y->dim[y->rank - 1] * (size_t)y->dim[y->rank - 2] * (type == AD_F32 ? 4 : 8);
    return AD_ISA_NAME(ad_gemm_nt_scratch)(a->dim[a->rank - 1], type);
}

static double matmul_flops(const ad_kernel *k) {
    const ad_shape *a = k->x[0].shape;
    bool transposed = ((const matmul_attr *)k->attr)->flags & AD_TRANSPOSE_A;
    return 2.0 * (double)ad_shape_count(*k->shape) * a->dim[a->rank - (transposed ? 2 : 1)] * k->R;
}

static bool leading_broadcast(const ad_shape *a, const ad_shape *b, ad_shape *y) {
    const ad_shape *longer = a->rank >= b->rank ? a : b, *other = longer == a ? b : a;
    *y = *longer;
    for (int i = longer->rank - 3, j = other->rank - 3; j >= 0; i--, j--) {
        if (y->dim[i] == 1) y->dim[i] = other->dim[j];
        if (other->dim[j] != 1 && other->dim[j] != y->dim[i]) return false;
    }
    return true;
}

static bool matmul_shape(ad_shape_call *call) {
    int64_t flags = ((const matmul_attr *)call->attr)->flags;
    const ad_shape *a = &call->x[0], *b = &call->x[1];
    int ta = flags & AD_TRANSPOSE_A ? 1 : 0, tb = flags & AD_TRANSPOSE_B ? 1 : 0;
    const char *form = ta   ? tb ? "[...,K,M] and [...,N,K]" : "[...,K,M] and [...,K,N]"
                       : tb ? "[...,M,K] and [...,N,K]"
                            : "[...,M,K] and [...,K,N]";
    if (a->rank < 2 || b->rank < 2 || a->dim[a->rank - 1 - ta] != b->dim[b->rank - 2 + tb])
        return ad_shape_fail(call, "expected matrices %s", form);
    if (!leading_broadcast(a, b, &call->y))
        return ad_shape_fail(call, "the leading dimensions of %s do not broadcast", form);
    call->y.dim[call->y.rank - 2] = a->dim[a->rank - 2 + ta];
    call->y.dim[call->y.rank - 1] = b->dim[b->rank - 1 - tb];
    return true;
}

// ---- gradients -----------------------------------------------------------------------------------------------------

// One shared matrix for all rows and leading indices: its gradient is a contraction over them, not a sum of products.
static bool contracts(ad_var x, ad_var other) {
    return !ad_has_rows(x) && ad_shape_of(x).rank == 2 && ad_has_rows(other);
}

static ad_var product_of(ad_var a, bool ta, ad_var b, bool tb) {
    return ad_matmul(a, b, (ta ? AD_TRANSPOSE_A : 0) | (tb ? AD_TRANSPOSE_B : 0));
}

// y = a b, where flags may say that a or b are stored as their transposes.
static void matmul_vjp(const ad_vjp_call *call) {
    int64_t flags = ((const matmul_attr *)call->attr)->flags;
    bool ta = flags & AD_TRANSPOSE_A, tb = flags & AD_TRANSPOSE_B;
    ad_var a = call->x[0], b = call->x[1], g = call->gy;
    if (call->need[0]) {
        if (contracts(a, b)) {  // rows of b^T and g^T, [...,N,K] and [...,N,M]
            ad_var bt = tb ? b : ad_transposed(b), gt = ad_transposed(g);
            call->gx[0] = ta ? ad_outer_rows(bt, gt) : ad_outer_rows(gt, bt);
        } else {
            call->gx[0] = ta ? product_of(b, tb, g, true) : product_of(g, false, b, !tb);
        }
    }
    if (!call->need[1]) return;
    if (contracts(b, a)) {  // rows of a and g, [...,M,K] and [...,M,N]
        ad_var an = ta ? ad_transposed(a) : a;
        call->gx[1] = tb ? ad_outer_rows(g, an) : ad_outer_rows(an, g);
    } else {
        call->gx[1] = tb ? product_of(g, true, a, ta) : product_of(a, !ta, g, false);
    }
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var plain_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matmul(x[0], x[1], 0);
}
static ad_var first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matmul(x[0], x[1], AD_TRANSPOSE_A);
}
static ad_var second_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matmul(x[0], x[1], AD_TRANSPOSE_B);
}
static ad_var both_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matmul(x[0], x[1], AD_TRANSPOSE_A | AD_TRANSPOSE_B);
}
static ad_var self_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_matmul(x[0], x[0], AD_TRANSPOSE_B);
}

#define M(i, j)                \
    {                          \
        .shape = { 2, {i, j} } \
    }
#define M_ROWS(i, j) \
    { .shape = {2, {i, j}}, .rows = true }
#define L(l, i, j)                \
    {                             \
        .shape = { 3, {l, i, j} } \
    }
#define L_ROWS(l, i, j) \
    { .shape = {3, {l, i, j}}, .rows = true }
static const ad_op_test matmul_tests[] = {
    {.n = 2, .x = {M(2, 3), M(3, 2)}, .f = plain_test},
    {.n = 2, .x = {M(2, 3), M_ROWS(3, 2)}, .f = plain_test},
    {.n = 2, .x = {M_ROWS(2, 3), M(3, 2)}, .f = plain_test},
    {.n = 2, .x = {M_ROWS(2, 3), M_ROWS(3, 2)}, .f = plain_test},
    {.n = 2, .x = {M(3, 2), M(3, 2)}, .f = first_test},
    {.n = 2, .x = {M(3, 2), M_ROWS(3, 2)}, .f = first_test},
    {.n = 2, .x = {M_ROWS(3, 2), M(3, 2)}, .f = first_test},
    {.n = 2, .x = {M_ROWS(3, 1), M_ROWS(3, 2)}, .f = first_test},
    {.n = 2, .x = {M(2, 3), M(2, 3)}, .f = second_test},
    {.n = 2, .x = {M(2, 3), M_ROWS(2, 3)}, .f = second_test},
    {.n = 2, .x = {M_ROWS(2, 3), M(2, 3)}, .f = second_test},
    {.n = 2, .x = {M_ROWS(2, 3), M_ROWS(1, 3)}, .f = second_test},
    {.n = 2, .x = {M(3, 2), M(2, 3)}, .f = both_test},
    {.n = 2, .x = {M(3, 2), M_ROWS(2, 3)}, .f = both_test},
    {.n = 2, .x = {M_ROWS(3, 2), M(2, 3)}, .f = both_test},
    {.n = 2, .x = {M_ROWS(3, 2), M_ROWS(1, 3)}, .f = both_test},
    {.n = 2, .x = {L(2, 1, 2), L_ROWS(1, 2, 2)}, .f = plain_test},
    {.n = 2, .x = {M(2, 2), L_ROWS(2, 2, 1)}, .f = plain_test},
    {.n = 2, .x = {L_ROWS(2, 2, 1), M_ROWS(2, 2)}, .f = first_test},
    {.n = 2, .x = {L(2, 2, 2), M(2, 1)}, .f = plain_test},
    {.n = 1, .x = {M_ROWS(2, 2)}, .f = self_test},
};

// In units of the last place of the sum of the terms' magnitudes, as those of linear.c.
static const ad_op matmul_op = {.name = "matmul",
                                .flags = AD_OP_STRIDED,
                                .shape = matmul_shape,
                                .vjp = matmul_vjp,
                                .kernel = {matmul_f32, matmul_f64},
                                .scratch = matmul_scratch,
                                .flops = matmul_flops,
                                .ulp = {32, 32},
                                AD_TESTS(matmul_tests)};

AD_FAMILY(matmul) = {&matmul_op, NULL};

#if AD_ISA_BASE

ad_var ad_transposed(ad_var x) {
    int order[AD_MAX_RANK], rank = ad_shape_of(x).rank;
    if (rank < 2) return x;  // of an inert handle
    for (int i = 0; i < rank; i++) order[i] = i;
    order[rank - 2] = rank - 1;
    order[rank - 1] = rank - 2;
    return ad_transpose(x, order);
}

ad_var ad_matmul(ad_var a, ad_var b, int flags) {
    ad_var x[] = {a, b};
    matmul_attr attr = {flags};
    if (a.tape && (flags & ~(AD_TRANSPOSE_A | AD_TRANSPOSE_B)))
        ad_tape_fail(a.tape, AD_EARG, "matmul: unknown flags %d", flags);
    return ad_apply(&matmul_op, x, 2, &attr, sizeof attr);
}

#endif
