// test_matrix_kernels.c -- white box: kernels of small matrices per row give the same bits on every instruction set,
// for any number of lanes and whatever lies between the features, and neither read nor write beyond them.
#include "kernels.h"

#include <math.h>
#include <stdio.h>

enum { MAX_D = 6 };

static const ad_op *find_op(const isa *in, const char *name) {
    for (int i = 0; i < in->n; i++)
        if (!strcmp(in->op[i]->name, name)) return in->op[i];
    fail_msg("no op %s", name);
    return NULL;
}

typedef struct operand {  // exactly as long as it must be
    ad_shape shape;
    int64_t stride;
    int lane;
    void *data;
} operand;

static size_t element(ad_type type) {
    return type == AD_F32 ? 4 : 8;
}

static operand new_operand(ad_type type, ad_shape shape, int R, int gap, bool rows, uint64_t seed) {
    operand x = {shape, rows ? R + gap : 1, rows, NULL};
    int64_t count = ad_shape_count(shape), n = count ? (count - 1) * x.stride + (rows ? R : 1) : 0;
    x.data = malloc((size_t)n * element(type));
    for (int64_t i = 0; i < n; i++) {
        double value = uniform(&seed, -1, 1);
        bool gap_element = rows && i % x.stride >= R;
        to_type(type, gap_element ? (const double[]){NAN} : &value, (char *)x.data + (size_t)i * element(type), 1);
    }
    return x;
}

// The result, exactly as long as it must be.
static void *run(const ad_op *op, ad_type type, int R, const operand *x, int n, int64_t attr, ad_shape shape) {
    ad_kernel_operand in[3];
    for (int i = 0; i < n; i++) in[i] = (ad_kernel_operand){x[i].data, x[i].stride, x[i].lane, &x[i].shape};
    const struct {
        int64_t flags;
        double scale, offset;
    } attributes = {attr, 0.5, 2};
    ad_kernel k = {.n = n, .R = R, .live = 0, .x = in, .shape = &shape, .attr = &attributes};
    size_t bytes = op->scratch ? op->scratch(&k, type) : 0;
    k.scratch = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(k.scratch, 0xff, bytes);
    k.y = malloc((size_t)ad_shape_count(shape) * (size_t)R * element(type));
    op->kernel[type](&k);
    free(k.scratch);
    return k.y;
}

// The same bits from all instruction sets; the result of the first.
static operand same(const char *name, ad_type type, int R, const operand *x, int n, int64_t attr, ad_shape shape,
                    double tolerance) {
    operand y = {shape, R, 1, run(find_op(&isas[0], name), type, R, x, n, attr, shape)};
    int64_t count = ad_shape_count(shape) * R;
    for (int i = 1; i < n_isas; i++) {
        void *other = run(find_op(&isas[i], name), type, R, x, n, attr, shape);
        for (int64_t e = 0; e < count; e++) {
            double a, b;
            from_type(type, (char *)y.data + (size_t)e * element(type), &a, 1);
            from_type(type, (char *)other + (size_t)e * element(type), &b, 1);
            if (isnan(a) || !(fabs(a - b) <= tolerance))
                fail_msg("%s on %s, R %d, element %d: %.17g, plain %.17g", name, isas[i].name, R, (int)e, b, a);
        }
        free(other);
    }
    return y;
}

static void check(const char *name, ad_type type, int R, const operand *x, int n, int64_t attr, ad_shape shape) {
    free(same(name, type, R, x, n, attr, shape, 0).data);
}

static void check_size(ad_type type, int D, int R, int gap) {
    ad_shape matrix = ad_shape2(D, D), tall = ad_shape2(D, 2);
    operand A = new_operand(type, matrix, R, gap, true, 1), shared = new_operand(type, matrix, R, 0, false, 2);
    operand b = new_operand(type, tall, R, gap, true, 3), shared_b = new_operand(type, tall, R, 0, false, 4);
    operand F = same("lu_factor_rows", type, R, &A, 1, 0, ad_shape2(D + 1, D), 0);
    for (int transposed = 0; transposed < 2; transposed++) {
        check("solve", type, R, (operand[]){A, F, b}, 3, transposed, tall);
        check("solve", type, R, (operand[]){A, F, shared_b}, 3, transposed, tall);
        check("solve", type, R, (operand[]){A, F}, 2, transposed, matrix);
    }
    for (int flags = 0; flags < 8; flags++) {
        check("solve_triangular", type, R, (operand[]){A, b}, 2, flags, tall);
        check("solve_triangular", type, R, (operand[]){shared, b}, 2, flags, tall);
        check("solve_triangular", type, R, (operand[]){A, shared_b}, 2, flags, tall);
    }
    check("triangle", type, R, &A, 1, 1, matrix);
    check("cofactor", type, R, &A, 1, 0, matrix);
    check("det", type, R, (operand[]){A, F}, 2, 0, ad_shape0());
    check("det_sign", type, R, (operand[]){A, F}, 2, 0, ad_shape0());
    operand l = same("log_abs_det", type, R, (operand[]){A, F}, 2, 0, ad_shape0(), type == AD_F32 ? 1e-6 : 1e-14);
    for (int flags = 0; flags < 4; flags++) check("matmul", type, R, (operand[]){A, A}, 2, flags, matrix);
    operand A_A = same("matmul", type, R, (operand[]){A, A}, 2, AD_TRANSPOSE_B, matrix, 0);
    if (D == 1) check("cholesky", type, R, &A_A, 1, 0, matrix);
    void *data[] = {A.data, shared.data, b.data, shared_b.data, F.data, l.data, A_A.data};
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) free(data[i]);
}

static void instruction_sets_agree(void **state) {
    static const int lanes[] = {2, 3, 4, 7, 8, 9, 15, 16, 31, 32, 33, 64};
    (void)state;
    for (int type = 0; type < 2; type++)
        for (int D = 1; D <= MAX_D; D++)
            for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++)
                check_size((ad_type)type, D, lanes[i], (int)i % 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(instruction_sets_agree)};
    return cmocka_run_group_tests(tests, find_isas, NULL);
}
