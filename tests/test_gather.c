// test_gather.c -- elements by numbers that are values, against loops: every operand shared or per row, both
// precisions.
#include "util.h"

enum { ROWS = 70, MOST = 4096 };  // more than a block of rows, and lanes of the last one left over

typedef struct fixture {
    ad_tape *tape;
    ad_rows rows;
    uint64_t seed;
    double x[ROWS * 48], index[ROWS * 48], g[ROWS * 48], want[MOST], out[MOST];
    ad_source x_source, index_source, g_source;
} fixture;

static void begin(fixture *f) {
    ad_tape_reset(f->tape);
    f->rows = util_rows(f->tape, "data", ROWS);
}

static int set_up_type(void **state, ad_type type) {
    fixture *f = calloc(1, sizeof *f);
    f->tape = ad_tape_new(NULL, type);
    f->x_source = util_source(f->x, ROWS);
    f->index_source = util_source(f->index, ROWS);
    f->g_source = util_source(f->g, ROWS);
    begin(f);
    *state = f;
    return 0;
}
static int set_up(void **state) { return set_up_type(state, AD_F64); }
static int set_up_f32(void **state) { return set_up_type(state, AD_F32); }

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    free(f);
    return 0;
}

static int whole(fixture *f, int n) { return (int)util_uniform(&f->seed, 0, n); }
static void fill_whole(fixture *f, double *x, int64_t n, int low, int high) {
    for (int64_t i = 0; i < n; i++) x[i] = low + whole(f, high - low + 1);
}

static ad_var operand(fixture *f, ad_shape shape, bool rows, const ad_source *source) {
    return rows ? ad_input(f->rows, shape, source) : ad_shared_input(f->tape, shape, source);
}

// Elements of the operand in row r.
static const double *in_row(const double *x, bool rows, int r, int64_t count) { return x + (rows ? r * count : 0); }

static void assert_read(fixture *f, ad_var v, int64_t n) {
    util_read(v, f->out, MOST);
    for (int64_t i = 0; i < n; i++)
        if (f->out[i] != f->want[i]) fail_msg("element %d is %g, expected %g", (int)i, f->out[i], f->want[i]);
}

static void assert_fails(fixture *f, ad_var v, ad_status status, const char *text) {
    assert_false(ad_ok(v));
    assert_int_equal(ad_tape_status(f->tape), status);
    util_assert_contains(ad_tape_message(f->tape), text);
    begin(f);
}

// ---- along an axis ------------------------------------------------------------------------------------------------

// x [p,n,q] and index [p,m,q] around the axis.
typedef struct along {
    ad_shape x, index;
    int axis, p, n, m, q;
} along;
static const along cases[] = {
    {{1, {5}}, {1, {3}}, 0, 1, 5, 3, 1},
    {{2, {4, 3}}, {2, {1, 3}}, 0, 1, 4, 1, 3},
    {{2, {2, 9}}, {2, {2, 2}}, -1, 2, 9, 2, 1},
    {{3, {2, 3, 4}}, {3, {2, 5, 4}}, 1, 2, 3, 5, 4},
    {{3, {2, 3, 4}}, {3, {2, 0, 4}}, -2, 2, 3, 0, 4},
    {{2, {3, 1}}, {2, {3, 4}}, 1, 3, 1, 4, 1},
};
enum { CASES = sizeof cases / sizeof *cases };

// y[p,i,q] = x[p, index[p,i,q], q]; or, for the adjoint, z[p, index[p,i,q], q] += y[p,i,q].
static void take_loop(const along *c, const double *x, const double *index, double *y) {
    for (int p = 0; p < c->p; p++)
        for (int i = 0; i < c->m; i++)
            for (int q = 0; q < c->q; q++) {
                int f = (p * c->m + i) * c->q + q;
                y[f] = x[(p * c->n + (int)index[f]) * c->q + q];
            }
}
static void put_loop(const along *c, const double *y, const double *index, double *z) {
    for (int p = 0; p < c->p; p++)
        for (int i = 0; i < c->m; i++)
            for (int q = 0; q < c->q; q++) {
                int f = (p * c->m + i) * c->q + q;
                z[(p * c->n + (int)index[f]) * c->q + q] += y[f];
            }
}

// The shape without size 0, which inputs do not have; sliced to it.
static ad_var indices(fixture *f, const along *c, bool rows) {
    ad_shape s = c->index;
    int axis = c->axis < 0 ? c->axis + s.rank : c->axis;
    if (c->m) return operand(f, s, rows, &f->index_source);
    s.dim[axis] = 1;
    return ad_slice(operand(f, s, rows, &f->index_source), axis, 0, 0);
}

static void check_take(fixture *f, const along *c, bool x_rows, bool index_rows) {
    int64_t nx = ad_shape_count(c->x), n = ad_shape_count(c->index);
    bool rows = x_rows || index_rows;
    begin(f);
    fill_whole(f, f->x, ROWS * nx, -9, 9);
    fill_whole(f, f->index, ROWS * (n ? n : nx), 0, c->n - 1);
    ad_var x = operand(f, c->x, x_rows, &f->x_source), y = ad_take_along(x, c->axis, indices(f, c, index_rows)), gx;
    assert_true(ad_shape_equal(ad_shape_of(y), c->index) && ad_has_rows(y) == rows);
    ad_vjp(y, ad_square(y), &x, 1, &gx);
    if (n) ad_keep(y);
    ad_keep(gx);
    util_run(f->tape);
    double square[64], total[ROWS * 24] = {0};
    for (int r = 0; r < (rows ? ROWS : 1); r++) {
        double *got = f->want + r * n;
        const double *index = in_row(f->index, index_rows, r, n);
        take_loop(c, in_row(f->x, x_rows, r, nx), index, got);
        for (int64_t i = 0; i < n; i++) square[i] = got[i] * got[i];
        put_loop(c, square, index, total + (x_rows ? r * nx : 0));
    }
    if (n) assert_read(f, y, n * (rows ? ROWS : 1));
    memcpy(f->want, total, sizeof total);
    assert_read(f, gx, nx * (x_rows ? ROWS : 1));
}

static void elements_are_taken_along_an_axis(void **state) {
    for (int i = 0; i < CASES * 4; i++) check_take(*state, &cases[i / 4], i & 1, i >> 1 & 1);
}

static void check_put(fixture *f, const along *c, bool y_rows, bool index_rows) {
    int64_t nz = ad_shape_count(c->x), n = ad_shape_count(c->index);
    bool rows = y_rows || index_rows;
    if (!n) return;
    begin(f);
    fill_whole(f, f->x, ROWS * n, -9, 9);
    fill_whole(f, f->index, ROWS * n, 0, c->n - 1);
    ad_var y = operand(f, c->index, y_rows, &f->x_source), index = indices(f, c, index_rows), gy;
    ad_var z = ad_put_along(y, c->axis, index, c->n);
    assert_true(ad_shape_equal(ad_shape_of(z), c->x) && ad_has_rows(z) == rows);
    ad_vjp(z, ad_square(z), &y, 1, &gy);
    ad_keep(z);
    ad_keep(gy);
    util_run(f->tape);
    double total[ROWS * 64] = {0}, square[64], taken[64];
    memset(f->want, 0, sizeof f->want);
    for (int r = 0; r < (rows ? ROWS : 1); r++) {
        const double *at = in_row(f->index, index_rows, r, n);
        put_loop(c, in_row(f->x, y_rows, r, n), at, f->want + r * nz);
        for (int64_t i = 0; i < nz; i++) square[i] = f->want[r * nz + i] * f->want[r * nz + i];
        take_loop(c, square, at, taken);
        for (int64_t i = 0; i < n; i++) total[(y_rows ? r * n : 0) + i] += taken[i];
    }
    assert_read(f, z, nz * (rows ? ROWS : 1));
    memcpy(f->want, total, (size_t)(n * (y_rows ? ROWS : 1)) * sizeof *total);
    assert_read(f, gy, n * (y_rows ? ROWS : 1));
}

static void elements_are_put_along_an_axis(void **state) {
    for (int i = 0; i < CASES * 4; i++) check_put(*state, &cases[i / 4], i & 1, i >> 1 & 1);
}

// The other dimensions stretch, of the operand and of the index.
static void other_dimensions_broadcast(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 12; i++) f->x[i] = i, f->index[i] = i % 3;
    ad_var x = operand(f, ad_shape2(3, 4), false, &f->x_source);
    ad_var one = operand(f, ad_shape2(1, 2), false, &f->index_source),
           many = operand(f, ad_shape2(2, 1), false, &f->index_source);
    ad_var a = ad_keep(ad_take_along(x, 1, one)), b = ad_keep(ad_take_along(ad_slice(x, 0, 0, 1), 1, many));
    ad_var c = ad_keep(ad_put_along(ad_slice(x, 0, 1, 1), 0, many, 2));
    util_run(f->tape);
    memcpy(f->want, (const double[]){0, 1, 4, 5, 8, 9}, 6 * sizeof(double));
    assert_read(f, a, 6);
    memcpy(f->want, (const double[]){0, 1}, 2 * sizeof(double));
    assert_read(f, b, 2);
    memcpy(f->want, (const double[]){4, 5, 6, 7, 4, 5, 6, 7}, 8 * sizeof(double));
    assert_read(f, c, 8);
}

static void misfits_are_refused(void **state) {
    fixture *f = *state;
    ad_tape *other = ad_tape_new(NULL, AD_F64);
#define X operand(f, ad_shape2(3, 4), true, &f->x_source)
#define INDEX(...) operand(f, __VA_ARGS__, true, &f->index_source)
    assert_fails(f, ad_take_along(X, 1, INDEX(ad_shape1(3))), AD_ESHAPE,
                 "take_along: index of shape [3] for an operand of shape [3,4] along axis 1");
    assert_fails(f, ad_take_along(X, 1, INDEX(ad_shape2(2, 4))), AD_ESHAPE, "index of shape [2,4]");
    assert_fails(f, ad_take_along(X, 2, INDEX(ad_shape2(3, 4))), AD_ESHAPE,
                 "take_along: axis 2 is out of range for shape [3,4]");
    assert_fails(f, ad_put_along(X, 0, INDEX(ad_shape2(3, 3)), 5), AD_ESHAPE, "put_along: index of shape [3,3]");
    assert_fails(f, ad_put_along(X, 0, INDEX(ad_shape2(3, 4)), -1), AD_EARG, "put_along: -1 elements along axis 0");
    assert_fails(f, ad_take_along(X, 0, AD_NONE), AD_EARG, "operand and index are not on one tape");
    assert_fails(f, ad_take_along(X, 0, ad_number(other, 1)), AD_EMIX, "operand and index are not on one tape");
    assert_fails(f, ad_embedding(X, INDEX(ad_shape1(2))), AD_ESHAPE, "embedding: W has rows");
    assert_fails(f, ad_embedding(ad_number(f->tape, 1), INDEX(ad_shape1(2))), AD_ESHAPE, "expected a matrix W [N,D]");
    assert_fails(f, ad_embedding(AD_NONE, INDEX(ad_shape1(2))), AD_EARG, "embedding: operand 0 is AD_NONE");
    assert_fails(f, ad_one_hot(INDEX(ad_shape1(2)), -1), AD_EARG, "one_hot: -1 elements");
    assert_fails(f, ad_one_hot(INDEX((ad_shape){6, {1, 1, 1, 1, 1, 2}}), 3), AD_ESHAPE, "at most 5 axes");
    ad_tape_free(other);
}

// ---- rows of a matrix ---------------------------------------------------------------------------------------------

static void check_embedding(fixture *f, ad_shape shape, int64_t N, int64_t D, bool rows) {
    begin(f);
    int64_t S = ad_shape_count(shape);
    fill_whole(f, f->x, N * D, -9, 9);
    fill_whole(f, f->index, ROWS * S, 0, (int)N - 2);  // the last row of W is not touched
    ad_var W = operand(f, ad_shape2(N, D), false, &f->x_source),
           y = ad_embedding(W, operand(f, shape, rows, &f->index_source));
    ad_var gW;
    ad_vjp(y, ad_square(y), &W, 1, &gW);
    ad_keep(y);
    ad_keep(gW);
    util_run(f->tape);
    double total[100] = {0};
    for (int r = 0; r < (rows ? ROWS : 1); r++)
        for (int64_t s = 0; s < S; s++)
            for (int64_t d = 0; d < D; d++) {
                int64_t w = (int64_t)f->index[r * S + s] * D + d;
                f->want[(r * S + s) * D + d] = f->x[w];
                total[w] += f->x[w] * f->x[w];
            }
    assert_true(ad_has_rows(y) == rows && ad_shape_of(y).rank == shape.rank + 1);
    assert_read(f, y, S * D * (rows ? ROWS : 1));
    memcpy(f->want, total, sizeof total);
    assert_false(ad_has_rows(gW));
    assert_read(f, gW, N * D);
}

static void rows_of_a_matrix(void **state) {
    for (int rows = 0; rows < 2; rows++) {
        check_embedding(*state, ad_shape0(), 5, 7, rows);
        check_embedding(*state, ad_shape1(3), 4, 1, rows);
        check_embedding(*state, ad_shape2(2, 2), 3, 5, rows);
    }
}

// 10^8 in one row and 1 in 69 others, of one index: in single precision each 1 alone would be lost.
static void gradients_of_a_row_are_summed_in_double(void **state) {
    fixture *f = *state;
    for (int r = 0; r < ROWS; r++) f->g[r] = r ? 1 : 1e8;
    for (int r = 0; r < ROWS; r++) f->index[r] = 1;
    ad_var W = ad_fill(f->tape, ad_shape2(3, 1), 1), gW;
    W = ad_add(W, ad_scalar(f->tape, f->x));
    ad_vjp(ad_embedding(W, operand(f, ad_shape0(), true, &f->index_source)),
           operand(f, ad_shape1(1), true, &f->g_source), &W, 1, &gW);
    ad_keep(gW);
    util_run(f->tape);
    memcpy(f->want, (const double[]){0, (float)(1e8 + ROWS - 1), 0}, 3 * sizeof(double));
    assert_read(f, gW, 3);
}

static void elements_put_together_are_summed_in_double(void **state) {
    fixture *f = *state;
    f->x[0] = 1e8;
    for (int i = 1; i < 20; i++) f->x[i] = 1;
    ad_var index = ad_fill(f->tape, ad_shape1(20), 1);
    ad_var y = ad_keep(ad_put_along(operand(f, ad_shape1(20), false, &f->x_source), 0, index, 2));
    util_run(f->tape);
    memcpy(f->want, (const double[]){0, (float)(1e8 + 19)}, 2 * sizeof(double));
    assert_read(f, y, 2);
}

// The gradient in W, bit for bit, for 1, 2 and 3 threads.
static void gradients_of_rows_do_not_depend_on_threads(void **state) {
    enum { COUNT = 2000, N = 10, D = 3 };
    (void)state;
    double *g = calloc(COUNT * D, sizeof *g), *index = calloc(COUNT, sizeof *index), zero[N * D] = {0};
    float first[N * D];
    uint64_t seed = 3;
    util_fill(g, COUNT * D, 5, -1, 1);
    for (int i = 0; i < COUNT; i++) index[i] = floor(util_uniform(&seed, 0, N));
    ad_source g_source = util_source(g, COUNT), index_source = util_source(index, COUNT),
              W_source = util_source(zero, 1);
    for (int threads = 1; threads <= 3; threads++) {
        const ad_engine_options options = {.threads = threads};
        ad_engine *engine = ad_engine_new(&options, NULL);
        ad_tape *tape = ad_tape_new(engine, AD_F32);
        ad_rows rows = util_rows(tape, "data", COUNT);
        ad_var W = ad_shared_input(tape, ad_shape2(N, D), &W_source), gW;
        ad_vjp(ad_embedding(W, ad_input(rows, ad_shape0(), &index_source)), ad_input(rows, ad_shape1(D), &g_source), &W,
               1, &gW);
        ad_keep(gW);
        util_run(tape);
        if (threads == 1) memcpy(first, ad_data(gW), sizeof first);
        assert_memory_equal(first, ad_data(gW), sizeof first);
        ad_tape_free(tape);
        ad_engine_free(engine);
    }
    free(g);
    free(index);
}

// ---- one_hot ------------------------------------------------------------------------------------------------------

static void one_hot_vectors(void **state) {
    fixture *f = *state;
    for (int rows = 0; rows < 2; rows++) {
        begin(f);
        fill_whole(f, f->index, ROWS * 2, 0, 4);
        f->index[1] = -0.0;
        ad_var y = ad_keep(ad_one_hot(operand(f, ad_shape1(2), rows, &f->index_source), 5));
        util_run(f->tape);
        for (int i = 0; i < (rows ? ROWS : 1) * 10; i++) f->want[i] = f->index[i / 5] == i % 5;
        assert_read(f, y, (rows ? ROWS : 1) * 10);
    }
    ad_var scalar = ad_one_hot(ad_number(f->tape, 1), 2);
    assert_true(ad_shape_equal(ad_shape_of(scalar), ad_shape1(2)));
}

static void indices_get_no_gradient(void **state) {
    fixture *f = *state;
    fill_whole(f, f->x, ROWS * 4, -9, 9);
    memset(f->index, 0, sizeof f->index);
    ad_var index = operand(f, ad_shape1(4), true, &f->index_source), x = ad_input(f->rows, ad_shape1(4), &f->x_source),
           gi;
    ad_var W = ad_shared_input(f->tape, ad_shape2(4, 1), &f->x_source);
    ad_var y = ad_mul(ad_take_along(x, 0, index), ad_put_along(x, 0, index, 4));
    y = ad_add(y, ad_add(ad_reshape(ad_embedding(W, index), ad_shape1(4)), ad_sum_axis(ad_one_hot(index, 4), 0)));
    ad_vjp(y, x, &index, 1, &gi);
    ad_keep(gi);
    util_run(f->tape);
    memset(f->want, 0, sizeof f->want);
    assert_read(f, gi, ROWS * 4);
}

// ---- indices out of range -----------------------------------------------------------------------------------------

typedef ad_var (*gather)(fixture *f, ad_var index);
static ad_var take_5(fixture *f, ad_var index) {
    return ad_take_along(operand(f, ad_shape1(5), true, &f->x_source), 0, index);
}
static ad_var take_shared_5(fixture *f, ad_var index) {
    return ad_take_along(operand(f, ad_shape1(5), false, &f->x_source), 0, index);
}
static ad_var put_5(fixture *f, ad_var index) {
    return ad_put_along(operand(f, ad_shape1(2), true, &f->x_source), 0, index, 5);
}
static ad_var embedding_5(fixture *f, ad_var index) {
    return ad_embedding(operand(f, ad_shape2(5, 3), false, &f->x_source), index);
}
static ad_var one_hot_5(fixture *f, ad_var index) { (void)f; return ad_one_hot(index, 5); }
// Only the gradient is asked for.
static ad_var gradient_5(fixture *f, ad_var index) {
    ad_var W = operand(f, ad_shape2(5, 3), false, &f->x_source), gW;
    ad_vjp(ad_embedding(W, index), operand(f, ad_shape2(2, 3), true, &f->g_source), &W, 1, &gW);
    return gW;
}
static const struct {
    const char *name;
    gather f;
} gathers[] = {{"take_along", take_5},       {"take_along", take_shared_5}, {"put_along", put_5},
               {"embedding", embedding_5},   {"one_hot", one_hot_5},        {"embedding_rows_adjoint", gradient_5}};

static void assert_bad_index(fixture *f, int op, double value, int row, int element) {
    char text[120];
    begin(f);
    memset(f->index, 0, sizeof f->index);
    f->index[row * 2 + element] = value;
    ad_keep(gathers[op].f(f, operand(f, ad_shape1(2), true, &f->index_source)));
    util_assert_ok(f->tape);
    assert_int_equal(ad_run(f->tape), AD_EARG);
    snprintf(text, sizeof text, "%s of row %d: index %.9g, element %d: expected a whole number from 0 to 4",
             gathers[op].name, row, value, element);
    util_assert_contains(ad_tape_message(f->tape), text);
}

static void indices_out_of_range_fail_the_run(void **state) {
    static const double bad[] = {-1,           5,   0.5,      -0x1p-30, 4.5, 0x1p100, -0x1p100, 2147483648.0,
                                 4294967296.0, NAN, INFINITY, -INFINITY};
    for (int op = 0; op < 6; op++)
        for (int i = 0; i < 12; i++) assert_bad_index(*state, op, bad[i], i % 2 ? 69 : 5 * i, i / 2 % 2);
}

static void a_shared_index_out_of_range_fails_the_run(void **state) {
    fixture *f = *state;
    f->index[1] = 5;
    for (int op = 0; op < 5; op++) {
        begin(f);
        ad_keep(gathers[op].f(f, operand(f, ad_shape1(2), false, &f->index_source)));
        assert_int_equal(ad_run(f->tape), AD_EARG);
        util_assert_contains(ad_tape_message(f->tape), gathers[op].name);
        util_assert_contains(ad_tape_message(f->tape), "index 5, element 1: expected a whole number from 0 to 4");
    }
}

// An axis without elements has no index in range.
static void nothing_can_be_taken_from_nothing(void **state) {
    fixture *f = *state;
    ad_var x = ad_slice(operand(f, ad_shape1(5), true, &f->x_source), 0, 2, 0);
    ad_keep(ad_take_along(x, 0, operand(f, ad_shape1(2), true, &f->index_source)));
    assert_int_equal(ad_run(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "take_along of row 0: index 0, element 0");
}

static void a_list_of_indices_must_be_there(void **state) {
    fixture *f = *state;
    assert_false(ad_ok(ad_take(operand(f, ad_shape1(5), true, &f->x_source), 0, NULL, 2)));
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "take: 2 indices, and the list is NULL");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_F32(f) {#f " in single precision", f, set_up_f32, tear_down, NULL}
#define TEST_BOTH(f) TEST(f), TEST_F32(f)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_BOTH(elements_are_taken_along_an_axis),
        TEST_BOTH(elements_are_put_along_an_axis),
        TEST(other_dimensions_broadcast),
        TEST(misfits_are_refused),
        TEST_BOTH(rows_of_a_matrix),
        TEST_F32(gradients_of_a_row_are_summed_in_double),
        TEST_F32(elements_put_together_are_summed_in_double),
        TEST(gradients_of_rows_do_not_depend_on_threads),
        TEST_BOTH(one_hot_vectors),
        TEST(indices_get_no_gradient),
        TEST_BOTH(indices_out_of_range_fail_the_run),
        TEST(a_shared_index_out_of_range_fails_the_run),
        TEST(nothing_can_be_taken_from_nothing),
        TEST(a_list_of_indices_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
