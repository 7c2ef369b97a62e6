// test_staircase.c -- white box: products with a staircase, on every instruction set this machine has, against dense ones of
// a matrix that is 0 beyond the stairs; and what is refused.
#include "ops/gemm.h"
#include "util.h"

#define FAMILY(isa) extern const ad_op *const ad_family_linear_##isa[], *const ad_family_staircase_##isa[];
FAMILY(plain)
#if defined(__x86_64__)
FAMILY(avx2)
FAMILY(avx512)
#endif

typedef struct isa {
    const ad_op *const *dense, *const *stairs;
} isa;

// Those this machine can run; returns how many.
static int isas(isa out[3]) {
    int n = 0;
    out[n++] = (isa){ad_family_linear_plain, ad_family_staircase_plain};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        out[n++] = (isa){ad_family_linear_avx2, ad_family_staircase_avx2};
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        out[n++] = (isa){ad_family_linear_avx512, ad_family_staircase_avx512};
#endif
    return n;
}

enum { MAX_ROWS = 300 };

typedef struct attributes {  // as in staircase.c
    int32_t n, I, X, zero, stair[MAX_ROWS][2];
} attributes;

// ---- numbers of either type ----

// Exactly as many as there should be: a sanitizer sees what is touched beyond.
typedef struct numbers {
    ad_type type;
    int64_t n;
    char *data;
} numbers;

static double get(const numbers *t, int64_t i) {
    return t->type == AD_F64 ? ((double *)(void *)t->data)[i] : (double)((float *)(void *)t->data)[i];
}
static void set(const numbers *t, int64_t i, double v) {
    if (t->type == AD_F64) ((double *)(void *)t->data)[i] = v;
    else ((float *)(void *)t->data)[i] = (float)v;
}

static uint64_t seed = 1;

static numbers make(ad_type type, int64_t n) {
    numbers t = {type, n, malloc((size_t)n * ad_type_size(type) + 1)};
    for (int64_t i = 0; i < n; i++) set(&t, i, util_uniform(&seed, -1, 1));
    return t;
}

static void assert_same(const numbers *a, const numbers *b) {
    for (int64_t i = 0; i < a->n; i++) {
        double p = get(a, i), q = get(b, i);
        if (!(p == q)) fail_msg("element %lld: %.17g is not %.17g", (long long)i, p, q);
    }
}

static void assert_near(const numbers *a, const numbers *b, int64_t terms) {
    double bound = (double)(terms + 4) * (a->type == AD_F64 ? 0x1p-52 : 0x1p-23) * (double)(terms + 1);
    for (int64_t i = 0; i < a->n; i++) {
        double p = get(a, i), q = get(b, i);
        if (!(fabs(p - q) <= bound)) fail_msg("element %lld: %.17g is not %.17g", (long long)i, p, q);
    }
}

// ---- a case: sizes, stairs, and the two matrices ----

typedef struct problem {
    ad_type type;
    int64_t O, I, X, S;
    int R;
    int64_t columns[MAX_ROWS];
    attributes attr;
    numbers W, dense;  // [O,I], not a number beyond the stairs; [O,X], 0 there
} problem;

enum { HIDDEN, RANDOM, NONE, ALL, PATTERNS };

static void set_columns(problem *p, int pattern) {
    int64_t groups = p->O < 21 ? p->O : 21;
    for (int64_t o = 0; o < p->O; o++) {
        switch (pattern) {
            case HIDDEN: p->columns[o] = p->X * (o * groups / p->O) / groups; break;
            case RANDOM: p->columns[o] = (int64_t)(util_uniform(&seed, 0, 1) * (double)(p->X + 1)); break;
            case NONE: p->columns[o] = 0; break;
            default: p->columns[o] = p->X; break;
        }
        if (o && p->columns[o] < p->columns[o - 1]) p->columns[o] = p->columns[o - 1];
    }
    p->attr = (attributes){.I = (int32_t)p->I, .X = (int32_t)p->X};
    for (int64_t o = 0; o < p->O; o++) {
        if (o == 0 || p->columns[o] != p->columns[o - 1]) p->attr.n++;
        p->attr.stair[p->attr.n - 1][0] = (int32_t)(o + 1);
        p->attr.stair[p->attr.n - 1][1] = (int32_t)p->columns[o];
    }
}

static problem pose(ad_type type, const int64_t *size, int R, int pattern) {
    problem p = {.type = type, .O = size[0], .I = size[1], .X = size[2], .S = size[3], .R = R};
    set_columns(&p, pattern);
    p.W = make(type, p.O * p.I), p.dense = make(type, p.O * p.X);
    for (int64_t o = 0; o < p.O; o++)
        for (int64_t i = 0; i < p.I; i++) {
            bool in = i < p.columns[o];
            if (!in) set(&p.W, o * p.I + i, (double)NAN);
            if (i < p.X) set(&p.dense, o * p.X + i, in ? get(&p.W, o * p.I + i) : 0);
        }
    return p;
}

static void solved(problem *p) {
    free(p->W.data);
    free(p->dense.data);
}

// check with all instruction sets, types, sizes, patterns; on lanes or not.
static void each_case(void (*check)(const isa *k, problem *p), bool lanes) {
    static const int64_t sizes[][4] = {{1, 1, 1, 1},      {5, 4, 3, 2},     {42, 260, 260, 1}, {100, 21, 21, 1}, {130, 130, 130, 1},
                                       {33, 300, 290, 2}, {64, 70, 70, 1}, {7, 0, 0, 1},      {3, 5, 0, 1},     {20, 21, 21, 3}};
    static const int R[] = {16, 64, 100, 256};
    isa k[3];
    for (int f = isas(k) - 1; f >= 0; f--)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int j = 0; j < 4 * PATTERNS; j++) {
                if (!lanes && j % 4) continue;
                for (int type = AD_F32; type <= AD_F64; type++) {
                    problem p = pose((ad_type)type, sizes[i], lanes ? R[j % 4] : 1, j / 4);
                    check(&k[f], &p);
                    solved(&p);
                }
            }
}

// ---- calling a kernel ----

typedef struct operand {
    const numbers *t;
    ad_shape shape;
    bool lane;
} operand;

typedef struct how {
    int live, epilogue;
    bool first;
} how;

static void run(const ad_op *const *family, const char *name, const problem *p, const operand *x, int n, how h, const numbers *y,
                ad_shape shape) {
    ad_kernel_operand operands[4];
    for (int i = 0; i < n; i++) operands[i] = (ad_kernel_operand){x[i].t->data, x[i].lane ? p->R : 1, x[i].lane && p->R > 1, &x[i].shape};
    const ad_op *op = *family;
    for (int i = 0; strcmp(op->name, name) != 0; i++) op = family[i];
    ad_kernel k = {.n = n - (h.epilogue == AD_EPILOGUE_RELU_SLOPE), .R = p->R, .live = h.live ? h.live : p->R, .x = operands,
                   .y = y->data, .shape = &shape, .first = h.first, .epilogue = h.epilogue, .attr = &p->attr};
    size_t scratch = op->scratch ? (op->scratch(&k, p->type) + 63) / 64 * 64 : 0;
    k.scratch = scratch ? aligned_alloc(64, scratch) : NULL;
    op->kernel[p->type](&k);
    free(k.scratch);
}

// ---- values ----

// The dense product's bits: it adds zeros at the ends of the same chains of multiply-adds.
static void check_forward(const isa *k, problem *p) {
    numbers x = make(p->type, p->S * p->X * p->R), b = make(p->type, p->O);
    numbers y = make(p->type, p->S * p->O * p->R), want = make(p->type, p->S * p->O * p->R);
    operand in[3] = {{&p->W, ad_shape2(p->O, p->I), false}, {&x, ad_shape2(p->S, p->X), true}, {&b, ad_shape1(p->O), false}};
    operand dense[3] = {{&p->dense, ad_shape2(p->O, p->X), false}, in[1], in[2]};
    for (int i = 0; i < 4; i++) {
        how h = {.epilogue = i % 2 && p->R > 1 ? AD_EPILOGUE_RELU : AD_EPILOGUE_NONE};
        run(k->stairs, "linear_staircase", p, in, 2 + i / 2, h, &y, ad_shape2(p->S, p->O));
        run(k->dense, "linear", p, dense, 2 + i / 2, h, &want, ad_shape2(p->S, p->O));
        if (p->R > 1) assert_same(&y, &want);
        else assert_near(&y, &want, p->X);
    }
    free(x.data), free(b.data), free(y.data), free(want.data);
}

static void check_transposed(const isa *k, problem *p) {
    numbers x = make(p->type, p->S * p->O * p->R), with = make(p->type, p->S * p->X * p->R);
    numbers y = make(p->type, p->S * p->X * p->R), want = make(p->type, p->S * p->X * p->R);
    operand in[3] = {{&p->W, ad_shape2(p->O, p->I), false}, {&x, ad_shape2(p->S, p->O), true}, {&with, ad_shape2(p->S, p->X), true}};
    operand dense[3] = {{&p->dense, ad_shape2(p->O, p->X), false}, in[1], in[2]};
    for (int i = 0; i < 2; i++) {
        how h = {.epilogue = i && p->R > 1 ? AD_EPILOGUE_RELU_SLOPE : AD_EPILOGUE_NONE};
        int n = h.epilogue ? 3 : 2;
        run(k->stairs, "linear_staircase_transposed", p, in, n, h, &y, ad_shape2(p->S, p->X));
        run(k->dense, "linear_transposed", p, dense, n, h, &want, ad_shape2(p->S, p->X));
        if (p->R > 1) assert_same(&y, &want);
        else assert_near(&y, &want, p->O);
    }
    free(x.data), free(with.data), free(y.data), free(want.data);
}

// want [O,X] within the stairs, exactly `beyond` outside.
static void assert_gradient(const problem *p, const numbers *G, const numbers *want, int64_t terms, double beyond) {
    for (int64_t o = 0; o < p->O; o++)
        for (int64_t i = 0; i < p->I; i++) {
            double g = get(G, o * p->I + i);
            if (i >= p->columns[o]) {
                assert_true(g == beyond);
                continue;
            }
            double bound = (double)(terms + 4) * (p->type == AD_F64 ? 0x1p-52 : 0x1p-23) * (double)(terms + 1);
            assert_true(fabs(g - get(want, o * p->X + i)) <= bound);
        }
}

// Written, then added to; what is beyond is set to 0 first and not touched afterwards. Lanes that are no rows hold anything.
static void check_outer_rows(const isa *k, problem *p) {
    numbers a = make(p->type, p->S * p->O * p->R), b = make(p->type, p->S * p->X * p->R);
    numbers G = make(p->type, p->O * p->I), want = make(p->type, p->O * p->X);
    operand in[2] = {{&a, ad_shape2(p->S, p->O), true}, {&b, ad_shape2(p->S, p->X), true}};
    int live = p->R - 3;
    for (int64_t i = 0; i < b.n; i++) if (i % p->R >= live) set(&b, i, (double)NAN);
    run(k->stairs, "outer_rows_staircase", p, in, 2, (how){.live = live, .first = true}, &G, ad_shape2(p->O, p->I));
    run(k->dense, "outer_rows", p, in, 2, (how){.live = live, .first = true}, &want, ad_shape2(p->O, p->X));
    assert_gradient(p, &G, &want, p->S * live, 0);
    for (int64_t i = 0; i < G.n; i++) if (i % p->I >= p->columns[i / p->I]) set(&G, i, 7.5);
    run(k->stairs, "outer_rows_staircase", p, in, 2, (how){.live = live}, &G, ad_shape2(p->O, p->I));
    run(k->dense, "outer_rows", p, in, 2, (how){.live = live}, &want, ad_shape2(p->O, p->X));
    assert_gradient(p, &G, &want, 2 * p->S * live, 7.5);
    free(a.data), free(b.data), free(G.data), free(want.data);
}

static void check_outer(const isa *k, problem *p) {
    numbers a = make(p->type, p->S * p->O), b = make(p->type, p->S * p->X);
    numbers G = make(p->type, p->O * p->I), want = make(p->type, p->O * p->X);
    operand in[2] = {{&a, ad_shape2(p->S, p->O), false}, {&b, ad_shape2(p->S, p->X), false}};
    run(k->stairs, "outer_staircase", p, in, 2, (how){.live = 1}, &G, ad_shape2(p->O, p->I));
    run(k->dense, "outer", p, in, 2, (how){.live = 1}, &want, ad_shape2(p->O, p->X));
    assert_gradient(p, &G, &want, p->S, 0);
    free(a.data), free(b.data), free(G.data), free(want.data);
}

static void products_have_the_bits_of_the_dense_ones(void **state) {
    (void)state;
    each_case(check_forward, true);
}
static void transposed_products_have_the_bits_of_the_dense_ones(void **state) {
    (void)state;
    each_case(check_transposed, true);
}
static void products_without_lanes(void **state) {
    (void)state;
    each_case(check_forward, false);
}
static void transposed_products_without_lanes(void **state) {
    (void)state;
    each_case(check_transposed, false);
}
static void gradients_are_zero_beyond_the_stairs(void **state) {
    (void)state;
    each_case(check_outer_rows, true);
}
static void gradients_without_lanes(void **state) {
    (void)state;
    each_case(check_outer, false);
}

// ---- bits of a row ----

// Rows first, first + 1, ... of the whole, in a block of R, have the bits that they have in the whole.
static void check_row_bits(const isa *k, problem *p) {
    enum { WHOLE = 256 };
    int R = p->R;
    numbers x = make(p->type, p->X * WHOLE), part = make(p->type, p->X * R);
    numbers whole = make(p->type, p->O * WHOLE), y = make(p->type, p->O * R), want = make(p->type, p->O * R);
    operand in[2] = {{&p->W, ad_shape2(p->O, p->I), false}, {&x, ad_shape1(p->X), true}};
    p->R = WHOLE;
    run(k->stairs, "linear_staircase", p, in, 2, (how){0}, &whole, ad_shape1(p->O));
    p->R = R;
    for (int64_t i = 0; i < part.n; i++) set(&part, i, get(&x, i / R * WHOLE + (i % R + 77) % WHOLE));
    for (int64_t i = 0; i < want.n; i++) set(&want, i, get(&whole, i / R * WHOLE + (i % R + 77) % WHOLE));
    in[1].t = &part;
    run(k->stairs, "linear_staircase", p, in, 2, (how){0}, &y, ad_shape1(p->O));
    assert_same(&y, &want);
    free(x.data), free(part.data), free(whole.data), free(y.data), free(want.data);
}
static void a_row_has_its_bits_in_any_block(void **state) {
    (void)state;
    each_case(check_row_bits, true);
}

// ---- recording ----

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    static const struct {
        int64_t O, I, X, columns[2];
        const char *words;
    } wrong[] = {{2, 3, 3, {2, 1}, "columns[1] is 1; they must ascend, from 0 to the 3 inputs of x"},
                 {2, 3, 3, {-1, 1}, "columns[0] is -1"},
                 {2, 3, 2, {1, 3}, "columns[1] is 3; they must ascend, from 0 to the 2 inputs"},
                 {2, 3, 4, {1, 3}, "W is [2,3] and x [4]"}};
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ad_var W = ad_fill(tape, ad_shape2(wrong[i].O, wrong[i].I), 1), x = ad_fill(tape, ad_shape1(wrong[i].X), 1);
        assert_false(ad_ok(ad_linear_staircase(W, x, AD_NONE, wrong[i].columns)));
        util_assert_contains(ad_tape_message(tape), wrong[i].words);
        ad_tape_reset(tape);
    }
    ad_var W = ad_fill(tape, ad_shape2(2, 3), 1), x = ad_fill(tape, ad_shape1(3), 1);
    assert_false(ad_ok(ad_linear_staircase(W, x, x, (int64_t[]){1, 2})));
    util_assert_contains(ad_tape_message(tape), "b is [3], expected [2]");
    ad_tape_free(tape);
}

// A relu and its slope go into the products, forward and backward.
static void relus_are_epilogues(void **state) {
    (void)state;
    static const int64_t columns[3] = {1, 1, 2};
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_param *W = util_param("W", AD_F32, ad_shape2(3, 3), 1), *V = util_param("V", AD_F32, ad_shape2(3, 3), 2);
    const double data[6] = {1, 2, 3, -1, -2, -3};
    ad_source source = util_source(data, 2);
    ad_var x = ad_input(util_rows(tape, "data", 2), ad_shape1(3), &source);
    ad_var w = ad_use(tape, W), h = ad_relu(ad_linear_staircase(w, x, AD_NONE, columns)), gw;
    ad_grad(ad_mean_rows(ad_sum(ad_linear_staircase(ad_use(tape, V), h, AD_NONE, columns))), &w, 1, &gw);
    ad_keep(gw);
    char *text = ad_explain(tape);
    util_assert_contains(text, "then relu ");
    util_assert_contains(text, "then relu_slope");
    free(text);
    ad_param_free(W), ad_param_free(V);
    ad_tape_free(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_have_the_bits_of_the_dense_ones),
        cmocka_unit_test(transposed_products_have_the_bits_of_the_dense_ones),
        cmocka_unit_test(products_without_lanes),
        cmocka_unit_test(transposed_products_without_lanes),
        cmocka_unit_test(gradients_are_zero_beyond_the_stairs),
        cmocka_unit_test(gradients_without_lanes),
        cmocka_unit_test(a_row_has_its_bits_in_any_block),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(relus_are_epilogues),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
