// test_sort.c -- sort, argsort, searchsorted: order, ties, NaN, long axes, gradients, errors.
#include "util.h"

enum { MOST = 64000 };
static double x_data[MOST], got[MOST], expected[MOST];

static bool before(double a, double b) { return a < b || (!isnan(a) && isnan(b)); }

// Numbers of line's elements in order: how many come before each.
static void argsort_line(const double *x, int64_t n, int64_t step, double *y) {
    for (int64_t i = 0; i < n; i++) {
        int64_t rank = 0;
        for (int64_t j = 0; j < n; j++)
            rank += before(x[j * step], x[i * step]) || (!before(x[i * step], x[j * step]) && j < i);
        y[rank * step] = (double)i;
    }
}

// Small whole numbers, so that many are equal, and a few that are not numbers or infinite.
static void fill(int64_t n, uint64_t seed) {
    assert_true(n <= MOST);
    for (int64_t j = 0; j < n; j++) {
        const double u = util_uniform(&seed, -20, 20);
        x_data[j] = u > 19 ? NAN : u > 18 ? INFINITY : u < -19 ? -INFINITY : u < -18 ? -0.0 : floor(u);
    }
}

static ad_var input(ad_tape *tape, ad_shape shape, int64_t B, ad_source *source) {
    *source = util_source(x_data, B ? B : 1);
    return B ? ad_input(util_rows(tape, "data", B), shape, source) : ad_shared_input(tape, shape, source);
}

static void assert_same(double a, double b, int64_t j, const char *what) {
    if (isnan(b) ? isnan(a) : a == b) return;
    fail_msg("%s: element %lld is %.17g, not %.17g", what, (long long)j, a, b);
}

static void check_sort(ad_engine *engine, ad_type type, ad_shape shape, int axis, int64_t B) {
    ad_tape *tape = ad_tape_new(engine, type);
    ad_source source;
    ad_var x = input(tape, shape, B, &source);
    int64_t pre = B ? B : 1, post = 1, n = shape.dim[axis];
    for (int i = 0; i < shape.rank; i++) *(i < axis ? &pre : &post) *= i == axis ? 1 : shape.dim[i];
    fill(pre * n * post, 37);
    ad_var y[] = {ad_keep(ad_argsort(x, axis)), ad_keep(ad_sort(x, axis - shape.rank))};
    util_run(tape);
    for (int64_t p = 0; p < pre; p++)
        for (int64_t q = 0; q < post; q++)
            argsort_line(x_data + p * n * post + q, n, post, expected + p * n * post + q);
    util_read(y[0], got, pre * n * post);
    for (int64_t j = 0; j < pre * n * post; j++) assert_same(got[j], expected[j], j, "argsort");
    util_read(y[1], got, pre * n * post);
    for (int64_t j = 0; j < pre * n * post; j++) {
        const int64_t line = j / (n * post) * n * post + j % post;
        assert_same(got[j], x_data[line + (int64_t)expected[j] * post], j, "sort");
    }
    ad_tape_free(tape);
}

static void sorted_in_every_shape(void **state) {
    const ad_shape shapes[] = {ad_shape1(1),    ad_shape1(2),    ad_shape1(17),      ad_shape1(100),
                               ad_shape2(5, 3), ad_shape2(1, 4), ad_shape3(2, 40, 3)};
    const int64_t rows[] = {0, 1, 3, 70};
    for (int type = 0; type < 2; type++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int axis = 0; axis < shapes[i].rank; axis++)
                for (int b = 0; b < 4; b++) check_sort(*state, (ad_type)type, shapes[i], axis, rows[b]);
}

// All different, so that the order is easily told.
static void long_axes(void **state) {
    enum { N = 10000 };
    for (int64_t B = 0; B < 4; B += 3)
        for (int type = 0; type < 2; type++) {
            ad_tape *tape = ad_tape_new(*state, (ad_type)type);
            ad_source source;
            ad_var x = input(tape, ad_shape1(N), B, &source);
            ad_var y = ad_keep(ad_sort(x, 0)), at = ad_keep(ad_argsort(x, 0));
            const int64_t rows = B ? B : 1;
            for (int64_t j = 0; j < rows * N; j++) x_data[j] = (double)(j * 7919 % N) + (double)(j / N);
            util_run(tape);
            util_read(y, got, rows * N);
            util_read(at, expected, rows * N);
            for (int64_t j = 0; j < rows * N; j++) {
                assert_true(got[j] == (double)(j % N) + (double)(j / N));
                assert_true(x_data[j / N * N + (int64_t)expected[j]] == got[j]);
            }
            ad_tape_free(tape);
        }
}

static void bits_of_a_row_are_its_own(void **state) {
    enum { N = 30, B = 100 };
    static double all[B * N], one[N];
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    ad_source source;
    ad_var x = input(tape, ad_shape1(N), B, &source), y = ad_keep(ad_sort(x, 0));
    fill(B * N, 41);
    util_run(tape);
    util_read(y, all, B * N);
    for (int64_t r = 0; r < B; r += 33) {
        source.index = &r;
        ad_rows_set(ad_rows_of(x), 1, r);
        util_run(tape);
        util_read(y, one, N);
        assert_memory_equal(one, all + r * N, sizeof one);
    }
    ad_tape_free(tape);
}

// The cotangent of a sorted element belongs to the element that it was; equal ones stay in order.
static void gradient_goes_through_the_permutation(void **state) {
    const double x[] = {3, 1, 3, NAN, 2}, w[] = {1, 10, 100, 1000, 10000}, want[] = {100, 1, 1000, 10000, 10};
    for (int type = 0; type < 2; type++) {
        ad_tape *tape = ad_tape_new(*state, (ad_type)type);
        const ad_source source = util_source(x, 1);
        ad_var v = ad_shared_input(tape, ad_shape1(5), &source), y = ad_sort(v, 0), g;
        ad_vjp(y, ad_constant(tape, ad_shape1(5), w), &v, 1, &g);
        ad_keep(g);
        util_run(tape);
        util_read(g, got, 5);
        for (int i = 0; i < 5; i++) assert_same(got[i], want[i], i, "gradient of sort");
        ad_tape_free(tape);
    }
}

// Of y = sum of w_i sorted(x)_i^3: the second derivative in x is diagonal, 6 w x.
static void second_derivative(void **state) {
    const double x[] = {2, -1, 5, 3}, w[] = {1, 10, 100, 1000};
    const double want[] = {6 * 10 * 2, 6 * -1, 6 * 1000 * 5, 6 * 100 * 3};
    ad_tape *tape = ad_tape_new(*state, AD_F64);
    const ad_source source = util_source(x, 1);
    ad_var v = ad_shared_input(tape, ad_shape1(4), &source), y = ad_sort(v, 0), g;
    ad_grad(ad_sum(ad_mul(ad_constant(tape, ad_shape1(4), w), ad_mul(y, ad_square(y)))), &v, 1, &g);
    ad_grad(ad_sum(g), &v, 1, &g);
    ad_keep(g);
    util_run(tape);
    util_read(g, got, 4);
    util_assert_all_close(got, want, 4, 1e-14);
    ad_tape_free(tape);
}

static void no_gradient_of_numbers(void **state) {
    const double x[] = {2, -1, 5};
    ad_tape *tape = ad_tape_new(*state, AD_F64);
    const ad_source source = util_source(x, 1);
    ad_var v = ad_shared_input(tape, ad_shape1(3), &source), g[2];
    ad_grad(ad_sum(ad_argsort(v, 0)), &v, 1, &g[0]);
    ad_grad(ad_sum(ad_searchsorted(v, v, false)), &v, 1, &g[1]);
    ad_keep(g[0]), ad_keep(g[1]);
    util_run(tape);
    for (int k = 0; k < 2; k++) {
        util_read(g[k], got, 3);
        for (int i = 0; i < 3; i++) assert_true(got[i] == 0);
    }
    ad_tape_free(tape);
}

// ---- searchsorted --------------------------------------------------------------------------------------------------

typedef struct table {  // an operand, [P][n] shared or [B][P][n]; P 1 where it has no leading dimension
    double data[MOST / 4];
    ad_source source;
    int64_t n, P;
    bool rows;
} table;

static ad_var table_var(table *t, ad_tape *tape, int64_t B, bool leading) {
    t->source = util_source(t->data, t->rows ? B : 1);
    const ad_shape shape = leading ? ad_shape2(t->P, t->n) : ad_shape1(t->n);
    return t->rows ? ad_input(util_rows(tape, "data", B), shape, &t->source) : ad_shared_input(tape, shape, &t->source);
}

static double *table_line(table *t, int64_t r, int64_t p) {
    return t->data + ((t->rows ? r * t->P : 0) + (t->P > 1 ? p : 0)) * t->n;
}

static void fill_table(table *t, int64_t B, uint64_t seed, bool ascending) {
    const int64_t lines = (t->rows ? B : 1) * t->P;
    assert_true(lines * t->n <= MOST / 4);
    for (int64_t l = 0; l < lines; l++) {
        double sum = -10;
        for (int64_t i = 0; i < t->n; i++) {  // whole numbers, so that some meet, and equal knots
            sum += floor(util_uniform(&seed, 0, 3));
            t->data[l * t->n + i] = ascending ? sum : floor(util_uniform(&seed, -12, 60));
        }
    }
}

static void check_search(ad_engine *engine, ad_type type, table *knots, table *x, bool knots_lead, bool x_leads,
                         int64_t P, int64_t B) {
    fill_table(knots, B, 43, true);
    fill_table(x, B, 47, false);
    x->data[0] = NAN, x->data[x->n - 1] = -INFINITY;
    ad_tape *tape = ad_tape_new(engine, type);
    ad_var k = table_var(knots, tape, B, knots_lead), v = table_var(x, tape, B, x_leads);
    ad_var y[] = {ad_keep(ad_searchsorted(k, v, false)), ad_keep(ad_searchsorted(k, v, true))};
    util_run(tape);
    const int64_t rows = ad_has_rows(y[0]) ? B : 1;
    for (int right = 0; right < 2; right++) {
        util_read(y[right], got, rows * P * x->n);
        for (int64_t j = 0; j < rows * P * x->n; j++) {
            const int64_t r = j / (P * x->n), p = j / x->n % P;
            const double *t = table_line(knots, r, p), b = table_line(x, r, p)[j % x->n];
            double count = 0;
            for (int64_t i = 0; i < knots->n; i++) count += t[i] < b || (right && t[i] == b);
            assert_same(got[j], count, j, right ? "searchsorted, right" : "searchsorted, left");
        }
    }
    ad_tape_free(tape);
}

// Few knots and many, each operand shared or per row, with and without leading dimensions.
static void counts_knots_below(void **state) {
    static table knots, x;
    const int64_t sizes[] = {1, 2, 8, 32, 33, 100};
    for (int type = 0; type < 2; type++)
        for (int k = 0; k < 6; k++)
            for (int rows = 0; rows < 4; rows++)
                for (int lead = 0; lead < 4; lead++) {
                    knots.n = sizes[k], x.n = 5;
                    knots.P = lead & 1 ? 3 : 1, x.P = lead & 2 ? 3 : 1;
                    knots.rows = rows & 1, x.rows = rows & 2;
                    check_search(*state, (ad_type)type, &knots, &x, lead & 1, lead & 2, lead ? 3 : 1, 37);
                }
}

static void leading_dimensions_of_one_stretch(void **state) {
    static table knots, x;
    knots.n = 7, knots.P = 1, knots.rows = true;
    x.n = 4, x.P = 3, x.rows = false;
    check_search(*state, AD_F64, &knots, &x, true, true, 3, 10);
}

static void many_knots(void **state) {
    static table knots, x;
    knots.n = 10000, knots.P = 1, knots.rows = false;
    x.n = 40, x.P = 1, x.rows = true;
    check_search(*state, AD_F64, &knots, &x, false, false, 1, 9);
}

static void no_knots(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    ad_var knots = ad_slice(ad_fill(tape, ad_shape1(3), 1), 0, 0, 0);
    ad_var y = ad_keep(ad_searchsorted(knots, ad_fill(tape, ad_shape1(2), 5), true));
    util_run(tape);
    util_read(y, got, 2);
    assert_true(got[0] == 0 && got[1] == 0);
    ad_tape_free(tape);
}

// ---- errors --------------------------------------------------------------------------------------------------------

static void check_error(ad_tape *tape, ad_status status, const char *part) {
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
    ad_tape_reset(tape);
}

static void errors_say_what_is_wrong(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    ad_sort(ad_fill(tape, ad_shape2(2, 3), 1), 2);
    check_error(tape, AD_ESHAPE, "sort: axis 2 is out of range for shape [2,3]: expected -2 to 1");
    ad_argsort(ad_number(tape, 1), 0);
    check_error(tape, AD_ESHAPE, "argsort: axis 0 of a scalar");
    ad_argsort(ad_fill(tape, ad_shape1((1 << 24) + 1), 1), 0);
    check_error(tape, AD_EARG, "argsort: 16777217 elements: an f32 tape counts to 16777216");
    ad_searchsorted(ad_fill(tape, ad_shape2(2, 3), 1), ad_fill(tape, ad_shape2(4, 3), 1), false);
    check_error(tape, AD_ESHAPE, "searchsorted: expected knots [...,K] and x [...,N]");
    ad_searchsorted(ad_number(tape, 1), ad_fill(tape, ad_shape1(4), 1), false);
    check_error(tape, AD_ESHAPE, "searchsorted: expected knots [...,K]");
    ad_searchsorted(ad_fill(tape, ad_shape1((1 << 24) + 1), 1), ad_fill(tape, ad_shape1(4), 1), false);
    check_error(tape, AD_EARG, "searchsorted: 16777217 elements");
    ad_tape_free(tape);
}

static void inert_handles_do_no_harm(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    ad_tape_fail(tape, AD_EARG, "the first");
    ad_var x = ad_number(tape, 1);
    assert_false(ad_ok(ad_sort(x, 0)) || ad_ok(ad_sort(AD_NONE, 0)) || ad_ok(ad_argsort(AD_NONE, 0)));
    assert_false(ad_ok(ad_searchsorted(x, x, false)) || ad_ok(ad_searchsorted(AD_NONE, x, false)));
    check_error(tape, AD_EARG, "the first");
    ad_searchsorted(ad_fill(tape, ad_shape1(2), 1), AD_NONE, false);
    check_error(tape, AD_EARG, "searchsorted: operand 1 is AD_NONE");
    ad_tape_free(tape);
}

static int set_up(void **state) {
    *state = ad_engine_new(&(ad_engine_options){.threads = 2}, NULL);
    return *state ? 0 : 1;
}
static int tear_down(void **state) {
    ad_engine_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorted_in_every_shape),
        cmocka_unit_test(long_axes),
        cmocka_unit_test(bits_of_a_row_are_its_own),
        cmocka_unit_test(gradient_goes_through_the_permutation),
        cmocka_unit_test(second_derivative),
        cmocka_unit_test(no_gradient_of_numbers),
        cmocka_unit_test(counts_knots_below),
        cmocka_unit_test(leading_dimensions_of_one_stretch),
        cmocka_unit_test(many_knots),
        cmocka_unit_test(no_knots),
        cmocka_unit_test(errors_say_what_is_wrong),
        cmocka_unit_test(inert_handles_do_no_harm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
