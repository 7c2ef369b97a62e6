// linear.c -- products of a shared matrix with rows, and the sum over rows of outer products.
//
// Letters: W [O,I]; S the product of x's leading dimensions, each leading index a product of its own; R lanes.
#include "gemm.h"
#include <string.h>

static size_t element_size(ad_type type) { return type == AD_F64 ? sizeof(double) : sizeof(float); }

static int64_t leading(const ad_shape *shape) {
    int64_t n = 1;
    for (int i = 0; i + 1 < shape->rank; i++) n *= shape->dim[i];
    return n;
}

static int32_t last_dim(const ad_shape *shape) { return shape->dim[shape->rank - 1]; }

// [leading...,n]
static ad_shape with_last(ad_shape shape, int64_t n) {
    shape.dim[shape.rank - 1] = (int32_t)n;
    return shape;
}

// ---- shape rules ----

// W [O,I] and x [...,in], both named in messages; out is what stands in in's place.
static bool product_shape(ad_shape_call *call, int in, int out) {
    char text[2][64];
    const ad_shape *W = &call->x[0], *x = &call->x[1];
    if (call->rows[0]) return ad_shape_fail(call, "W has rows; it must be shared, one matrix for all rows");
    if (W->rank != 2) {
        return ad_shape_fail(call, "W is %s, expected a matrix [O,I]", ad_shape_print(*W, text[0], sizeof text[0]));
    }
    if (x->rank < 1 || last_dim(x) != W->dim[in]) {
        return ad_shape_fail(call, "x is %s, expected [...,%lld] for W %s", ad_shape_print(*x, text[0], sizeof text[0]),
                             (long long)W->dim[in], ad_shape_print(*W, text[1], sizeof text[1]));
    }
    call->y = with_last(*x, W->dim[out]);
    return true;
}

static bool linear_shape(ad_shape_call *call) {
    char text[64];
    if (call->n != 2 && call->n != 3) return ad_shape_fail(call, "%d operands, expected W, x and perhaps b", call->n);
    if (!product_shape(call, 1, 0)) return false;
    if (call->n == 2) return true;
    const ad_shape *b = &call->x[2];
    if (call->rows[2]) return ad_shape_fail(call, "b has rows; it must be shared (add a bias of each row with ad_add)");
    if (b->rank == 1 && b->dim[0] == call->x[0].dim[0]) return true;
    return ad_shape_fail(call, "b is %s, expected [%lld]", ad_shape_print(*b, text, sizeof text),
                         (long long)call->x[0].dim[0]);
}

static bool linear_transposed_shape(ad_shape_call *call) {
    if (call->n != 2) return ad_shape_fail(call, "%d operands, expected W and x", call->n);
    return product_shape(call, 0, 1);
}

static bool outer_shape(ad_shape_call *call) {
    char text[2][64];
    if (call->n != 2) return ad_shape_fail(call, "%d operands, expected a and b", call->n);
    const ad_shape *a = &call->x[0], *b = &call->x[1];
    bool fit = a->rank >= 1 && a->rank == b->rank;
    for (int i = 0; fit && i + 1 < a->rank; i++) fit = a->dim[i] == b->dim[i];
    if (!fit) {
        return ad_shape_fail(call, "a is %s and b %s, expected [...,O] and [...,I] with the same leading dimensions",
                             ad_shape_print(*a, text[0], sizeof text[0]), ad_shape_print(*b, text[1], sizeof text[1]));
    }
    call->y = (ad_shape){.rank = 2, .dim = {last_dim(a), last_dim(b)}};
    return true;
}

static bool outer_rows_shape(ad_shape_call *call) {
    if (!outer_shape(call)) return false;
    return call->rows[0] || call->rows[1] || ad_shape_fail(call, "neither a nor b has rows to sum over");
}

// ---- kernels ----

static const void *epilogue_operand(const ad_kernel *k, size_t offset) {
    return k->epilogue == AD_EPILOGUE_RELU_SLOPE ? (const char *)k->x[k->n].data + offset : NULL;
}

// Rows of x are contiguous only when there are no lanes: then y[s] = b + W x[s] is X W^T, contracted along both rows.
static void linear_dense(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    int64_t O = W->shape->dim[0], I = W->shape->dim[1], S = leading(x->shape);
    size_t row = (size_t)O * element_size(type);
    ad_gemm g = {.M = S, .N = O, .K = I, .A = x->data, .am = I, .ak = 1, .B = W->data, .ldb = I, .C = k->y, .ldc = O,
                 .add = k->n == 3};
    for (int64_t s = 0; g.add && s < S; s++) memcpy((char *)k->y + (size_t)s * row, k->x[2].data, row);
    ad_gemm_nt_run(type, &g, k->scratch);
    ad_gemm_finish(type, S, O, k->y, O, k->epilogue, epilogue_operand(k, 0));
}

static void linear_lanes(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    int64_t O = W->shape->dim[0], I = W->shape->dim[1], S = leading(x->shape);
    size_t size = element_size(type);
    ad_gemm g = {.M = O, .N = k->R, .K = I, .A = W->data, .am = I, .ak = 1, .ldb = x->stride, .ldc = k->R,
                 .bias = k->n == 3 ? k->x[2].data : NULL, .epilogue = k->epilogue};
    for (int64_t s = 0; s < S; s++) {
        g.with = epilogue_operand(k, (size_t)(s * O * k->R) * size);
        g.B = (const char *)x->data + (size_t)(s * I * x->stride) * size;
        g.C = (char *)k->y + (size_t)(s * O * k->R) * size;
        ad_gemm_run(type, &g);
    }
}

static void linear_run(const ad_kernel *k, ad_type type) {
    if (k->R == 1) {
        linear_dense(k, type);
    } else {
        linear_lanes(k, type);
    }
}

static void linear_transposed_run(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *x = &k->x[1];
    int64_t O = W->shape->dim[0], I = W->shape->dim[1], S = leading(x->shape);
    size_t size = element_size(type);
    if (k->R == 1) {  // X W
        ad_gemm_run(type, &(ad_gemm){.M = S, .N = I, .K = O, .A = x->data, .am = O, .ak = 1, .B = W->data, .ldb = I,
                              .C = k->y, .ldc = I, .epilogue = k->epilogue, .with = epilogue_operand(k, 0)});
        return;
    }
    ad_gemm g = {.M = I, .N = k->R, .K = O, .A = W->data, .am = 1, .ak = I, .ldb = x->stride, .ldc = k->R,
                 .epilogue = k->epilogue};
    for (int64_t s = 0; s < S; s++) {
        g.with = epilogue_operand(k, (size_t)(s * I * k->R) * size);
        g.B = (const char *)x->data + (size_t)(s * O * x->stride) * size;
        g.C = (char *)k->y + (size_t)(s * I * k->R) * size;
        ad_gemm_run(type, &g);
    }
}

static void outer_run(const ad_kernel *k, ad_type type) {
    int64_t O = k->shape->dim[0], I = k->shape->dim[1];
    ad_gemm_run(type, &(ad_gemm){.M = O, .N = I, .K = leading(k->x[0].shape), .A = k->x[0].data, .am = 1, .ak = O,
                          .B = k->x[1].data, .ldb = I, .C = k->y, .ldc = I});
}

// The n features of a shared operand as [n][R].
static void spread(const char *data, int64_t n, int R, size_t size, char *to) {
    for (int64_t f = 0; f < n; f++)
        for (int r = 0; r < R; r++, to += size) memcpy(to, data + (size_t)f * size, size);
}

// Lanes are contiguous in both factors: they are contracted, as many of them as are rows.
static void outer_rows_run(const ad_kernel *k, ad_type type) {
    int64_t dim[2] = {k->shape->dim[0], k->shape->dim[1]}, stride[2], S = leading(k->x[0].shape);
    size_t size = element_size(type);
    char *spare = (char *)k->scratch + AD_ISA_NAME(ad_gemm_nt_scratch)(k->R, type);
    ad_gemm g = {.M = dim[0], .N = dim[1], .K = k->live, .ak = 1, .C = k->y, .ldc = dim[1], .add = !k->first};
    if (S == 0 && k->first) memset(k->y, 0, (size_t)(dim[0] * dim[1]) * size);
    for (int64_t s = 0; s < S; s++, g.add = true) {
        const void *factor[2];
        for (int i = 0; i < 2; i++) {
            const ad_kernel_operand *x = &k->x[i];
            stride[i] = x->lane ? x->stride : k->R;
            factor[i] = (const char *)x->data + (size_t)(s * dim[i] * (x->lane ? x->stride : 1)) * size;
            if (x->lane) continue;
            spread(factor[i], dim[i], k->R, size, spare);
            factor[i] = spare;
        }
        g.A = factor[0], g.am = stride[0], g.B = factor[1], g.ldb = stride[1];
        ad_gemm_nt_run(type, &g, k->scratch);
    }
}

static size_t linear_scratch(const ad_kernel *k, ad_type type) {
    return k->R == 1 ? AD_ISA_NAME(ad_gemm_nt_scratch)(k->x[0].shape->dim[1], type) : 0;
}

static size_t outer_rows_scratch(const ad_kernel *k, ad_type type) {
    size_t bytes = AD_ISA_NAME(ad_gemm_nt_scratch)(k->R, type);
    for (int i = 0; i < 2; i++) {  // at most one of them is shared
        if (!k->x[i].lane) bytes += (size_t)last_dim(k->x[i].shape) * (size_t)k->R * element_size(type);
    }
    return bytes;
}

static double product_flops(const ad_kernel *k) {
    const ad_shape *W = k->x[0].shape;
    return 2.0 * (double)W->dim[0] * (double)W->dim[1] * (double)leading(k->x[1].shape) * k->R;
}

static double outer_flops(const ad_kernel *k) {
    return 2.0 * (double)k->shape->dim[0] * (double)k->shape->dim[1] * (double)leading(k->x[0].shape) * k->R;
}

static void linear_f32(const ad_kernel *k) { linear_run(k, AD_F32); }
static void linear_f64(const ad_kernel *k) { linear_run(k, AD_F64); }
static void linear_transposed_f32(const ad_kernel *k) { linear_transposed_run(k, AD_F32); }
static void linear_transposed_f64(const ad_kernel *k) { linear_transposed_run(k, AD_F64); }
static void outer_f32(const ad_kernel *k) { outer_run(k, AD_F32); }
static void outer_f64(const ad_kernel *k) { outer_run(k, AD_F64); }
static void outer_rows_f32(const ad_kernel *k) { outer_rows_run(k, AD_F32); }
static void outer_rows_f64(const ad_kernel *k) { outer_rows_run(k, AD_F64); }

// ---- derivatives ----

static void linear_vjp(const ad_vjp_call *call) {
    ad_var W = call->x[0], x = call->x[1], gy = call->gy;
    if (call->need[0]) call->gx[0] = ad_outer_rows(gy, x);
    if (call->need[1]) call->gx[1] = ad_linear_transposed(W, gy);
    if (call->n < 3 || !call->need[2]) return;
    ad_shape shape = ad_shape_of(gy);
    call->gx[2] = shape.rank == 1 ? gy : ad_sum_axis(ad_reshape(gy, ad_shape2(leading(&shape), last_dim(&shape))), 0);
}

static void linear_transposed_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = ad_outer_rows(call->x[1], call->gy);
    if (call->need[1]) call->gx[1] = ad_linear(call->x[0], call->gy, AD_NONE);
}

// Where only one factor has rows, the cotangent of the other has them instead: the engine sums it over them, and gives
// the first one's, the same for all rows, to each row.
static void outer_vjp(const ad_vjp_call *call) {
    ad_var a = call->x[0], b = call->x[1], G = call->gy;
    if (call->need[0]) call->gx[0] = ad_linear(G, b, AD_NONE);
    if (call->need[1]) call->gx[1] = ad_linear_transposed(G, a);
}

// ---- the ops ----

static const ad_op_test linear_tests[] = {
    {.n = 3, .x = {{.shape = {2, {3, 4}}}, {.shape = {1, {4}}, .rows = true}, {.shape = {1, {3}}}}},
    {.n = 3, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {2}}}}},
    {.n = 3, .x = {{.shape = {2, {3, 2}}}, {.shape = {3, {2, 1, 2}}}, {.shape = {1, {3}}}}},
    {.n = 2, .x = {{.shape = {2, {1, 3}}}, {.shape = {1, {3}}, .rows = true}}},
};
static const ad_op_test linear_transposed_tests[] = {
    {.n = 2, .x = {{.shape = {2, {3, 4}}}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {3, 2}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 2}}}}},
};
static const ad_op_test outer_rows_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, {.shape = {1, {4}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 2}}}}},
    {.n = 2, .x = {{.shape = {1, {2}}}, {.shape = {1, {3}}, .rows = true}}},
};
static const ad_op_test outer_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}}, {.shape = {1, {2}}}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {2, {2, 2}}}}},
};

// The bound is in units of the last place of the sum of the terms' magnitudes: I roundings, and one each for b and
// order.
#define SUM_ULP {32, 32}

static const ad_op linear_op = {
    .name = "linear", .flags = AD_OP_STRIDED | AD_OP_EPILOGUES, .shape = linear_shape, .vjp = linear_vjp,
    .kernel = {linear_f32, linear_f64}, .scratch = linear_scratch, .flops = product_flops, .ulp = SUM_ULP,
    .tests = linear_tests, .n_tests = sizeof linear_tests / sizeof *linear_tests};

static const ad_op linear_transposed_op = {
    .name = "linear_transposed", .flags = AD_OP_STRIDED | AD_OP_EPILOGUES, .shape = linear_transposed_shape,
    .vjp = linear_transposed_vjp, .kernel = {linear_transposed_f32, linear_transposed_f64}, .flops = product_flops,
    .ulp = SUM_ULP, .tests = linear_transposed_tests,
    .n_tests = sizeof linear_transposed_tests / sizeof *linear_transposed_tests};

static const ad_op outer_rows_op = {
    .name = "outer_rows", .flags = AD_OP_REDUCES_ROWS | AD_OP_STRIDED, .shape = outer_rows_shape, .vjp = outer_vjp,
    .kernel = {outer_rows_f32, outer_rows_f64}, .scratch = outer_rows_scratch, .flops = outer_flops, .ulp = SUM_ULP,
    .tests = outer_rows_tests, .n_tests = sizeof outer_rows_tests / sizeof *outer_rows_tests};

static const ad_op outer_op = {
    .name = "outer", .flags = AD_OP_STRIDED, .shape = outer_shape, .vjp = outer_vjp,
    .kernel = {outer_f32, outer_f64}, .flops = outer_flops, .ulp = SUM_ULP,
    .tests = outer_tests, .n_tests = sizeof outer_tests / sizeof *outer_tests};

AD_FAMILY(linear) = {&linear_op, &linear_transposed_op, &outer_rows_op, &outer_op, NULL};

#if AD_ISA_BASE
#include "../internal.h"
ad_var ad_linear(ad_var W, ad_var x, ad_var b) {
    ad_var operands[3] = {W, x, b};
    return ad_apply(&linear_op, operands, ad_is_none(b) ? 2 : 3, NULL, 0);
}

ad_var ad_linear_transposed(ad_var W, ad_var x) {
    ad_var operands[2] = {W, x};
    return ad_apply(&linear_transposed_op, operands, 2, NULL, 0);
}

ad_var ad_outer_rows(ad_var a, ad_var b) {
    ad_var operands[2] = {a, b};
    if (!ad_check_vars(operands, 2, "outer_rows")) return ad_inert(a.tape ? a.tape : b.tape);
    // Without rows it is the vjp of a shared-only product: an ordinary op, not a reduction over rows.
    return ad_apply(ad_has_rows(a) || ad_has_rows(b) ? &outer_rows_op : &outer_op, operands, 2, NULL, 0);
}
#endif
