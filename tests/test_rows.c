// test_rows.c -- a row's results do not depend, in any bit, on the batch it came in.
#include "util.h"

enum { D = 40, O = 7, WIDE = 560, MOST = 3000, PREFIXES = 130 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape[2];
    double *data;  // [MOST][D]
    ad_source source;
    ad_param *W, *b, *V, *U, *Y;  // [D,D], [D], [O,D], [WIDE,D], [WIDE,WIDE]
    char *alone, *other;          // results, in the tape's type
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options options = {.threads = 2};
    f->engine = ad_engine_new(&options, NULL);
    for (int type = 0; type < 2; type++) f->tape[type] = ad_tape_new(f->engine, (ad_type)type);
    f->data = malloc(MOST * D * sizeof *f->data);
    util_fill(f->data, MOST * D, 1, -1, 1);
    f->source = util_source(f->data, MOST);
    f->W = util_param("W", AD_F64, ad_shape2(D, D), 2);
    f->b = util_param("b", AD_F64, ad_shape1(D), 3);
    f->V = util_param("V", AD_F64, ad_shape2(O, D), 4);
    f->U = util_param("U", AD_F64, ad_shape2(WIDE, D), 5);
    f->Y = util_param("Y", AD_F64, ad_shape2(WIDE, WIDE), 6);
    f->alone = calloc(MOST * D, sizeof(double));
    f->other = calloc(MOST * D, sizeof(double));
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    for (int type = 0; type < 2; type++) ad_tape_free(f->tape[type]);
    ad_engine_free(f->engine);
    ad_param_free(f->W);
    ad_param_free(f->b);
    ad_param_free(f->V);
    ad_param_free(f->U);
    ad_param_free(f->Y);
    free(f->data);
    free(f->alone);
    free(f->other);
    free(f);
    return 0;
}

typedef ad_var (*function)(fixture *f, ad_var x);

// Two layers, functions and sums of several kinds: [O + 2] per row.
static ad_var network(fixture *f, ad_var x) {
    ad_tape *tape = x.tape;
    const ad_var h = ad_tanh(ad_linear(ad_use(tape, f->W), x, ad_use(tape, f->b)));
    const ad_var e = ad_exp(ad_sub(h, ad_softplus(x)));
    const ad_var sum = ad_reshape(ad_log(ad_sum(e)), ad_shape1(1));
    const ad_var mean = ad_reshape(ad_mean(ad_sigmoid(ad_mul(h, x))), ad_shape1(1));
    const ad_var parts[] = {ad_linear(ad_use(tape, f->V), e, AD_NONE), sum, mean};
    return ad_concat(parts, 3, 0);
}

static ad_var network_gradient(fixture *f, ad_var x) {
    ad_var g = AD_NONE;
    ad_grad(ad_sum(ad_square(network(f, x))), &x, 1, &g);
    return g;
}

// Weights beyond 1 MiB, for which large batches run in larger blocks: [D] per row.
static ad_var wide_gradient(fixture *f, ad_var x) {
    ad_tape *tape = x.tape;
    const ad_var h = ad_tanh(ad_linear(ad_use(tape, f->U), x, AD_NONE));
    const ad_var y = ad_tanh(ad_scale(ad_linear(ad_use(tape, f->Y), h, AD_NONE), 0.1));
    ad_var g = AD_NONE;
    ad_grad(ad_sum(y), &x, 1, &g);
    return g;
}

static ad_var noise(fixture *f, ad_var x) {
    static const ad_random random = {3, 5};
    (void)f;
    return ad_mul(x, ad_normal(ad_rows_of(x), ad_shape1(D), &random, 1));
}

// Bytes of one row of what was computed for `count` rows, written to out.
static size_t compute(fixture *f, ad_type type, function fn, int64_t count, int64_t first, char *out) {
    ad_tape *tape = f->tape[type];
    ad_tape_reset(tape);
    const ad_rows rows = ad_rows_new(tape, "data");
    ad_rows_set(rows, count, first);
    const ad_var y = ad_keep(fn(f, ad_input(rows, ad_shape1(D), &f->source)));
    util_run(tape);
    const size_t row = (size_t)ad_shape_count(ad_shape_of(y)) * ad_type_size(type);
    memcpy(out, ad_data(y), row * (size_t)count);
    return row;
}

// Rows of batches of 1 to 130, and of some large ones, against those of one batch.
static void assert_prefixes_agree(fixture *f, ad_type type, function fn) {
    const size_t row = compute(f, type, fn, PREFIXES, 0, f->alone);
    for (int64_t count = 1; count <= PREFIXES; count++) {
        compute(f, type, fn, count, 0, f->other);
        for (int64_t r = 0; r < count; r++)
            if (memcmp(f->alone + r * row, f->other + r * row, row) != 0)
                fail_msg("row %d of a batch of %d differs", (int)r, (int)count);
    }
    for (int64_t count = 500; count <= MOST; count += 1250) {
        compute(f, type, fn, count, 0, f->other);
        if (memcmp(f->alone, f->other, PREFIXES * row) != 0) fail_msg("rows of a batch of %d differ", (int)count);
    }
}

static void values_in_single_precision(void **state) {
    assert_prefixes_agree(*state, AD_F32, network);
}
static void values_in_double_precision(void **state) {
    assert_prefixes_agree(*state, AD_F64, network);
}
static void gradients_in_single_precision(void **state) {
    assert_prefixes_agree(*state, AD_F32, network_gradient);
}
static void gradients_in_double_precision(void **state) {
    assert_prefixes_agree(*state, AD_F64, network_gradient);
}
static void noise_in_single_precision(void **state) {
    assert_prefixes_agree(*state, AD_F32, noise);
}
static void noise_in_double_precision(void **state) {
    assert_prefixes_agree(*state, AD_F64, noise);
}

// One row, a few, and blocks of every size that so large weights ask for.
static void assert_wide_agrees(fixture *f, ad_type type) {
    static const int64_t counts[] = {1, 2, 31, 33, 70, 300, 600, 1100};
    const size_t row = compute(f, type, wide_gradient, MOST, 0, f->alone);
    for (int k = 0; k < 8; k++) {
        compute(f, type, wide_gradient, counts[k], 0, f->other);
        if (memcmp(f->alone, f->other, (size_t)counts[k] * row) != 0) fail_msg("a batch of %d differs", (int)counts[k]);
    }
}

static void wide_layers_in_single_precision(void **state) {
    assert_wide_agrees(*state, AD_F32);
}
static void wide_layers_in_double_precision(void **state) {
    assert_wide_agrees(*state, AD_F64);
}

// The same row in every lane of a block and beyond, among neighbours that differ.
static void a_row_is_the_same_in_every_lane(void **state) {
    fixture *f = *state;
    enum { LANES = 70 };
    int64_t index[LANES];
    for (int type = 0; type < 2; type++) {
        f->source.index = NULL;
        const size_t row = compute(f, (ad_type)type, network, 10, 0, f->alone);
        f->source.index = index;
        for (int lane = 0; lane < LANES; lane++) {
            for (int i = 0; i < LANES; i++) index[i] = i == lane ? 5 : (i * 31 + lane) % MOST;
            compute(f, (ad_type)type, network, LANES, 0, f->other);
            if (memcmp(f->alone + 5 * row, f->other + (size_t)lane * row, row) != 0) fail_msg("lane %d differs", lane);
        }
    }
}

// Rows whose neighbours overflow or are not numbers.
static void neighbours_may_be_nan(void **state) {
    fixture *f = *state;
    const size_t row = compute(f, AD_F32, network_gradient, 70, 0, f->alone);
    for (int i = 0; i < D; i++) f->data[13 * D + i] = NAN;
    for (int i = 0; i < D; i++) f->data[69 * D + i] = INFINITY;
    compute(f, AD_F32, network_gradient, 70, 0, f->other);
    for (size_t r = 0; r < 69; r++)
        if (r != 13 && memcmp(f->alone + r * row, f->other + r * row, row) != 0) fail_msg("row %d differs", (int)r);
}

// Random numbers are keyed by the global row: a part of the batch that knows where it starts gets the same.
static void noise_follows_the_global_row(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 100 * D; i++) f->data[i] = 1;
    const size_t row = compute(f, AD_F64, noise, 100, 0, f->alone);
    compute(f, AD_F64, noise, 30, 67, f->other);
    assert_memory_equal(f->alone + 67 * row, f->other, 30 * row);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(values_in_single_precision),      TEST(values_in_double_precision),
        TEST(gradients_in_single_precision),   TEST(gradients_in_double_precision),
        TEST(noise_in_single_precision),       TEST(noise_in_double_precision),
        TEST(wide_layers_in_single_precision), TEST(wide_layers_in_double_precision),
        TEST(a_row_is_the_same_in_every_lane), TEST(neighbours_may_be_nan),
        TEST(noise_follows_the_global_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
