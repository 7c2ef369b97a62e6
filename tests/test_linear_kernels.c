// test_linear_kernels.c -- white box: products in the lane layout on every instruction set this machine has: values,
// bits and live lanes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/gemm.h"

extern const ad_op *const ad_family_linear_plain[];
#if defined(__x86_64__)
extern const ad_op *const ad_family_linear_avx2[], *const ad_family_linear_avx512[];
#endif

// The families this machine can run; returns how many.
static int families(const ad_op *const *out[3]) {
    int n = 0;
    out[n++] = ad_family_linear_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = ad_family_linear_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        out[n++] = ad_family_linear_avx512;
#endif
    return n;
}

// ---- tensors of either type ----

// [S][n] with R lanes each, or shared (lane false, one lane).
typedef struct tensor {
    ad_type type;
    ad_shape shape;
    int64_t S, n;
    int R;
    bool lane;
    char *data;  // exactly as long as it should be: a sanitizer sees what is read beyond
} tensor;

static size_t size_of(ad_type type) { return type == AD_F64 ? 8 : 4; }
static size_t bytes(const tensor *t) { return (size_t)(t->S * t->n * t->R) * size_of(t->type); }

static double get(const tensor *t, int64_t s, int64_t i, int r) {
    int64_t at = (s * t->n + i) * t->R + (t->lane ? r : 0);
    return t->type == AD_F64 ? ((double *)t->data)[at] : ((float *)t->data)[at];
}

static void set(const tensor *t, int64_t s, int64_t i, int r, double value) {
    int64_t at = (s * t->n + i) * t->R + r;
    if (t->type == AD_F64) {
        ((double *)t->data)[at] = value;
    } else {
        ((float *)t->data)[at] = (float)value;
    }
}

static uint64_t seed = 1;
static double uniform(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) * 0x1p-52 - 1;
}

enum { ALONE = -1 };  // without a leading axis

// R 0: shared.
static tensor make(ad_type type, int64_t S, int64_t n, int R) {
    tensor t = {.type = type, .S = S == ALONE ? 1 : S, .n = n, .R = R ? R : 1, .lane = R > 0};
    t.shape = S == ALONE ? ad_shape1(n) : ad_shape2(S, n);
    t.data = malloc(bytes(&t) + 1);
    for (int64_t s = 0; s < t.S; s++)
        for (int64_t i = 0; i < n; i++)
            for (int r = 0; r < t.R; r++) set(&t, s, i, r, uniform());
    return t;
}

// ---- calling a kernel ----

typedef struct call {
    const ad_op *const *family;
    const char *op;
    int live;
    bool first;
    int epilogue;  // with an operand: the last one
} call;

static void run(const call *c, const tensor *x, int n, tensor *y) {
    ad_kernel_operand operand[4];
    int R = 1;
    for (int i = 0; i < n; i++) R = x[i].lane ? x[i].R : R;
    for (int i = 0; i < n; i++) {
        operand[i] = (ad_kernel_operand){x[i].data, x[i].lane ? R : 1, x[i].lane, &x[i].shape};
    }
    const ad_op *op = *c->family;
    for (int i = 0; strcmp(op->name, c->op) != 0; i++) op = c->family[i];
    ad_kernel k = {.n = n - (c->epilogue == AD_EPILOGUE_RELU_SLOPE), .epilogue = c->epilogue, .R = R, .live = c->live ? c->live : R, .x = operand, .y = y->data, .shape = &y->shape,
                   .first = c->first};
    size_t scratch = op->scratch ? (op->scratch(&k, y->type) + 63) / 64 * 64 : 0;
    k.scratch = scratch ? aligned_alloc(64, scratch) : NULL;
    op->kernel[y->type](&k);
    free(k.scratch);
}

// ---- references ----

static double epsilon(ad_type type) { return type == AD_F64 ? DBL_EPSILON : FLT_EPSILON; }

// |value - sum| within the bound of a sum of n rounded products.
static bool near(double value, double sum, double magnitude, int64_t n, ad_type type) {
    return fabs(value - sum) <= (double)(n + 4) * epsilon(type) * magnitude;
}

static void check_linear(const tensor *W, const tensor *x, const tensor *b, const tensor *y, bool transposed) {
    for (int64_t s = 0; s < y->S; s++)
        for (int64_t o = 0; o < y->n; o++)
            for (int r = 0; r < y->R; r++) {
                double sum = b ? get(b, 0, o, 0) : 0, magnitude = fabs(sum);
                for (int64_t i = 0; i < x->n; i++) {
                    double term = (transposed ? get(W, i, o, 0) : get(W, o, i, 0)) * get(x, s, i, r);
                    sum += term, magnitude += fabs(term);
                }
                assert_true(near(get(y, s, o, r), sum, magnitude, x->n, y->type));
            }
}

// before: the accumulator as it was, or NULL when it is written.
static void check_outer(const tensor *a, const tensor *b, int live, const tensor *y, const tensor *before) {
    for (int64_t o = 0; o < a->n; o++)
        for (int64_t i = 0; i < b->n; i++) {
            double sum = before ? get(before, o, i, 0) : 0, magnitude = fabs(sum);
            for (int64_t s = 0; s < a->S; s++)
                for (int r = 0; r < live; r++) {
                    double term = get(a, s, o, r) * get(b, s, i, r);
                    sum += term, magnitude += fabs(term);
                }
            assert_true(near(get(y, o, i, 0), sum, magnitude, a->S * live, y->type));
        }
}

// ---- values ----

static const int64_t dims[][2] = {{1, 1}, {2, 1}, {1, 2}, {3, 5}, {5, 3}, {8, 7}, {7, 16}, {16, 9}, {17, 31}, {33, 20},
                                  {64, 64}, {1, 64}, {64, 2}, {70, 300}, {260, 67}, {6, 600}};
enum { N_DIMS = sizeof dims / sizeof *dims };
static const int lanes[] = {0, 16, 32, 64};

static void each_case(void (*check)(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int R, int64_t S)) {
    const ad_op *const *family[3];
    for (int f = families(family) - 1; f >= 0; f--)
        for (int type = AD_F32; type <= AD_F64; type++)
            for (int d = 0; d < N_DIMS; d++)
                for (size_t r = 0; r < sizeof lanes / sizeof *lanes; r++) {
                    int64_t S = d % 3 == 0 ? ALONE : d % 3 == 1 ? 2 : 7;
                    if (dims[d][0] * dims[d][1] * lanes[r] > 300000) S = ALONE;
                    check(family[f], (ad_type)type, dims[d][0], dims[d][1], lanes[r], S);
                }
}

static void linear_case(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int R, int64_t S) {
    tensor x[3] = {make(type, O, I, 0), make(type, S, I, R), make(type, ALONE, O, 0)}, y = make(type, S, O, R);
    for (int n = 2; n <= 3; n++) {
        run(&(call){.family = family, .op = "linear"}, x, n, &y);
        check_linear(&x[0], &x[1], n == 3 ? &x[2] : NULL, &y, false);
    }
    for (int i = 0; i < 3; i++) free(x[i].data);
    free(y.data);
}
static void test_linear(void **state) {
    (void)state;
    each_case(linear_case);
}

static void transposed_case(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int R, int64_t S) {
    tensor x[2] = {make(type, O, I, 0), make(type, S, O, R)}, y = make(type, S, I, R);
    run(&(call){.family = family, .op = "linear_transposed"}, x, 2, &y);
    check_linear(&x[0], &x[1], NULL, &y, true);
    free(x[0].data);
    free(x[1].data);
    free(y.data);
}
static void test_linear_transposed(void **state) {
    (void)state;
    each_case(transposed_case);
}

// Written first, then added to; both factors of rows, or one of them shared.
static void outer_rows_case(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int R, int64_t S) {
    if (R == 0) return;
    for (int shared = -1; shared < 2; shared++) {
        tensor x[2] = {make(type, S, O, shared == 0 ? 0 : R), make(type, S, I, shared == 1 ? 0 : R)};
        tensor y = make(type, O, I, 0), before = make(type, O, I, 0);
        int live = R - 3;
        run(&(call){.family = family, .op = "outer_rows", .live = live, .first = true}, x, 2, &y);
        check_outer(&x[0], &x[1], live, &y, NULL);
        memcpy(before.data, y.data, bytes(&y));
        run(&(call){.family = family, .op = "outer_rows", .live = R}, x, 2, &y);
        check_outer(&x[0], &x[1], R, &y, &before);
        free(x[0].data);
        free(x[1].data);
        free(y.data);
        free(before.data);
    }
}
static void test_outer_rows(void **state) {
    (void)state;
    each_case(outer_rows_case);
}

static void outer_case(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int R, int64_t S) {
    if (R) return;
    tensor x[2] = {make(type, S, O, 0), make(type, S, I, 0)}, y = make(type, O, I, 0);
    run(&(call){.family = family, .op = "outer"}, x, 2, &y);
    check_outer(&x[0], &x[1], 1, &y, NULL);
    free(x[0].data);
    free(x[1].data);
    free(y.data);
}
static void test_outer(void **state) {
    (void)state;
    each_case(outer_case);
}

// Sums over nothing: no inputs, no outputs, no leading indices.
static void test_empty(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int f = families(family) - 1; f >= 0; f--)
        for (int R = 0; R <= 16; R += 16) {
            linear_case(family[f], AD_F32, 3, 0, R, 2);
            linear_case(family[f], AD_F32, 0, 3, R, 2);
            transposed_case(family[f], AD_F64, 0, 3, R, 2);
            outer_rows_case(family[f], AD_F64, 3, 0, R, 2);
        }
    tensor x[2] = {make(AD_F32, 0, 5, 16), make(AD_F32, 0, 6, 16)}, y = make(AD_F32, 5, 6, 0);
    run(&(call){.family = family[0], .op = "outer_rows", .live = 16, .first = true}, x, 2, &y);
    for (int i = 0; i < 30; i++) assert_true(get(&y, i / 6, i % 6, 0) == 0);
    free(x[0].data);
    free(x[1].data);
    free(y.data);
}

// ---- bits ----

// Lane r of x copied from row (first + r) of rows, of [S][n][rows->R].
static tensor take_rows(const tensor *rows, int first, int R) {
    tensor t = make(rows->type, rows->S, rows->n, R);
    for (int64_t s = 0; s < rows->S; s++)
        for (int64_t i = 0; i < rows->n; i++)
            for (int r = 0; r < R; r++) set(&t, s, i, r, get(rows, s, i, (first + r) % rows->R));
    return t;
}

// A row's result has the same bits in blocks of 32, 64 and 256, in any lane, beside any neighbours.
static void row_bits(const call *c, ad_type type, int64_t O, int64_t I) {
    static const struct {
        int R, first;
    } block[] = {{32, 0}, {64, 0}, {16, 5}, {64, 201}, {256, 77}};
    bool transposed = strcmp(c->op, "linear") != 0;
    tensor W = make(type, O, I, 0), b = make(type, ALONE, O, 0), all = make(type, 2, transposed ? O : I, 256);
    tensor whole = make(type, 2, transposed ? I : O, 256);
    run(c, (tensor[]){W, all, b}, transposed ? 2 : 3, &whole);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
        tensor x = take_rows(&all, block[i].first, block[i].R), y = make(type, 2, whole.n, block[i].R);
        run(c, (tensor[]){W, x, b}, transposed ? 2 : 3, &y);
        tensor expected = take_rows(&whole, block[i].first, block[i].R);
        assert_memory_equal(y.data, expected.data, bytes(&y));
        free(x.data);
        free(y.data);
        free(expected.data);
    }
    free(W.data);
    free(b.data);
    free(all.data);
    free(whole.data);
}

static void test_row_bits(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int f = families(family) - 1; f >= 0; f--)
        for (int d = 0; d < N_DIMS; d++)
            for (int type = AD_F32; type <= AD_F64; type++) {
                row_bits(&(call){.family = family[f], .op = "linear"}, (ad_type)type, dims[d][0], dims[d][1]);
                row_bits(&(call){.family = family[f], .op = "linear_transposed"}, (ad_type)type, dims[d][0], dims[d][1]);
            }
}

// Lanes beyond the live ones may hold anything: 0 * infinity is not a number, and it must not be added.
static void dead_lanes(const ad_op *const *family, ad_type type, int64_t O, int64_t I, int live) {
    tensor a = make(type, 2, O, 64), b = make(type, 2, I, 64), y = make(type, O, I, 0);
    for (int64_t s = 0; s < 2; s++)
        for (int r = live; r < 64; r++) {
            for (int64_t o = 0; o < O; o++) set(&a, s, o, r, r % 2 ? (double)NAN : 0);
            for (int64_t i = 0; i < I; i++) set(&b, s, i, r, (double)INFINITY);
        }
    run(&(call){.family = family, .op = "outer_rows", .live = live, .first = true}, (tensor[]){a, b}, 2, &y);
    check_outer(&a, &b, live, &y, NULL);
    free(a.data);
    free(b.data);
    free(y.data);
}

static void test_dead_lanes(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int f = families(family) - 1; f >= 0; f--)
        for (int type = AD_F32; type <= AD_F64; type++)
            for (int live = 1; live < 64; live += live < 20 ? 1 : 7) {
                dead_lanes(family[f], (ad_type)type, 20, 21, live);
                dead_lanes(family[f], (ad_type)type, 1, 9, live);
                dead_lanes(family[f], (ad_type)type, 17, 3, live);
            }
}

// ---- shape rules ----

static const ad_op *base_op(const char *name) {
    const ad_op *const *op = ad_family_linear_plain;
    while (strcmp((*op)->name, name) != 0) op++;
    return *op;
}

static void test_shapes(void **state) {
    (void)state;
    ad_shape x[3] = {{2, {3, 4}}, {2, {5, 4}}, {1, {3}}};
    ad_shape_call linear = {.n = 3, .x = x, .rows = (bool[]){false, true, false}};
    assert_true(base_op("linear")->shape(&linear));
    assert_int_equal(linear.y.rank, 2);
    assert_int_equal(linear.y.dim[0], 5);
    assert_int_equal(linear.y.dim[1], 3);
    ad_shape_call outer = {.n = 2, .x = (ad_shape[]){{2, {5, 3}}, {2, {5, 4}}}, .rows = (bool[]){true, true}};
    assert_true(base_op("outer_rows")->shape(&outer));
    assert_int_equal(outer.y.rank, 2);
    assert_int_equal(outer.y.dim[0], 3);
    assert_int_equal(outer.y.dim[1], 4);
}

// Each is refused, with a message.
static void test_wrong_shapes(void **state) {
    static const struct {
        const char *op;
        int n;
        ad_shape x[3];
        bool rows[3];
    } wrong[] = {
        {"linear", 2, {{1, {3}}, {1, {3}}}, {false, true}},
        {"linear", 2, {{2, {3, 4}}, {1, {3}}}, {false, true}},
        {"linear", 2, {{2, {3, 4}}, {0, {0}}}, {false, true}},
        {"linear", 2, {{2, {3, 4}}, {1, {4}}}, {true, true}},
        {"linear", 3, {{2, {3, 4}}, {1, {4}}, {1, {4}}}, {false, true, false}},
        {"linear", 3, {{2, {3, 4}}, {1, {4}}, {1, {3}}}, {false, true, true}},
        {"linear_transposed", 2, {{2, {3, 4}}, {1, {4}}}, {false, true}},
        {"outer_rows", 2, {{2, {5, 3}}, {2, {6, 4}}}, {true, true}},
        {"outer_rows", 2, {{2, {5, 3}}, {1, {4}}}, {true, true}},
        {"outer_rows", 2, {{1, {3}}, {1, {4}}}, {false, false}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_shape_call shapes = {.n = wrong[i].n, .x = wrong[i].x, .rows = wrong[i].rows};
        assert_false(base_op(wrong[i].op)->shape(&shapes));
        assert_true(strlen(shapes.message) > 10);
    }
}

// ---- epilogues -------------------------------------------------------------------------------------------------------

// What an epilogue makes of c, d being its other operand.
static double applied(int epilogue, double c, double d) {
    if (epilogue == AD_EPILOGUE_RELU) return c <= 0 ? 0 : c;
    return d > 0 || c == 0 ? c : d;
}

static bool same(double a, double b) { return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b); }

// A product with an epilogue has the bits of the product, and of the op after it.
static void check_epilogue(const ad_op *const *family, bool transposed, int epilogue, ad_type type, const int64_t *size) {
    static const double special[] = {1, 0, -0.0, NAN, 2, -1, INFINITY, -INFINITY};
    int64_t S = size[0], O = size[1], I = size[2], R = size[3];
    tensor W = make(type, I, O, 0), x = make(type, S, I, (int)R), b = make(type, ALONE, O, 0);
    if (!transposed) W.shape = ad_shape2(O, I);
    tensor plain = make(type, S, O, (int)R), got = make(type, S, O, (int)R), with = make(type, S, O, (int)R);
    set(&x, 0, 0, 0, NAN);
    set(&x, S - 1, I - 1, (int)R - 1, -INFINITY);
    for (int64_t i = 0; i < O * R; i++) set(&with, i % S, i / R, (int)(i % R), special[i % 8]);
    for (int64_t i = 0; i < I; i++) set(&x, 0, i, 3, 0);  // products of 0
    tensor operands[4] = {W, x, b};
    int n = transposed ? 2 : 3;
    call c = {.family = family, .op = transposed ? "linear_transposed" : "linear"};
    run(&c, operands, n, &plain);
    c.epilogue = epilogue;
    operands[n] = with;
    run(&c, operands, epilogue == AD_EPILOGUE_RELU_SLOPE ? n + 1 : n, &got);
    for (int64_t s = 0; s < S; s++)
        for (int64_t o = 0; o < O; o++)
            for (int r = 0; r < R; r++)
                assert_true(same(get(&got, s, o, r), applied(epilogue, get(&plain, s, o, r), get(&with, s, o, r))));
    free(W.data), free(x.data), free(b.data), free(plain.data), free(got.data), free(with.data);
}

static void test_epilogues(void **state) {
    (void)state;
    static const int64_t sizes[][4] = {{1, 64, 64, 64}, {1, 1, 64, 64}, {1, 7, 1, 32},  {2, 13, 5, 64},
                                       {1, 5, 300, 64}, {3, 9, 3, 100}, {1, 6, 2, 256}, {1, 11, 530, 19}};
    const ad_op *const *family[3];
    for (int f = families(family) - 1; f >= 0; f--)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int k = 0; k < 8; k++)
                check_epilogue(family[f], k & 1, k & 2 ? AD_EPILOGUE_RELU : AD_EPILOGUE_RELU_SLOPE, k & 4 ? AD_F32 : AD_F64,
                               sizes[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_linear_transposed),
        cmocka_unit_test(test_outer_rows),
        cmocka_unit_test(test_outer),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_row_bits),
        cmocka_unit_test(test_epilogues),
        cmocka_unit_test(test_dead_lanes),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_wrong_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
