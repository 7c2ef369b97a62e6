// test_stages.c -- row reductions that read totals of rows: each total is complete before it is read.
#include "util.h"

#include "op.h"

enum { B = 200, SHORT = 70, D = 3 };  // rows: several blocks, the last one in part

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[B * D];
    ad_source source;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options options = {.threads = 2};
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, B * D, 1, 0.1, 1);
    f->source = util_source(f->data, B);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
    free(f);
    return 0;
}

static ad_var input(fixture *f, ad_rows rows) {
    return ad_input(rows, ad_shape1(D), &f->source);
}
static ad_var data(fixture *f) {
    return input(f, util_rows(f->tape, "data", B));
}

// Of the first `count` rows.
static void total(const fixture *f, int64_t count, double *m) {
    for (int i = 0; i < D; i++) m[i] = 0;
    for (int64_t j = 0; j < count * D; j++) m[j % D] += f->data[j];
}

// Runs and expects a b^T.
static void assert_outer(ad_var G, const double *a, const double *b) {
    double got[D * D];
    ad_keep(G);
    util_run(G.tape);
    util_read(G, got, D * D);
    for (int i = 0; i < D * D; i++) util_assert_close(got[i], a[i / D] * b[i % D], 1e-12);
}

static void rows_times_their_total(void **state) {
    fixture *f = *state;
    double m[D];
    const ad_var x = data(f);
    total(f, B, m);
    assert_outer(ad_outer_rows(x, ad_sum_rows(x)), m, m);
}

static void a_total_times_its_rows(void **state) {
    fixture *f = *state;
    double m[D];
    const ad_var x = data(f);
    total(f, B, m);
    assert_outer(ad_outer_rows(ad_sum_rows(x), x), m, m);
}

static void rows_times_an_op_of_their_total(void **state) {
    fixture *f = *state;
    double m[D];
    const ad_var x = data(f);
    total(f, B, m);
    assert_outer(ad_outer_rows(x, ad_scale(ad_sum_rows(x), 1)), m, m);
}

// The same plan again: nothing is left of the run before.
static void the_total_is_that_of_this_run(void **state) {
    fixture *f = *state;
    double m[D];
    const ad_var x = data(f), G = ad_outer_rows(x, ad_sum_rows(x));
    ad_keep(G);
    util_run(f->tape);
    for (int j = 0; j < B * D; j++) f->data[j] *= 10;
    total(f, B, m);
    assert_outer(G, m, m);
}

static void a_total_of_a_total(void **state) {
    fixture *f = *state;
    double m[D], square = 0, mm[D];
    const ad_var x = data(f), G = ad_outer_rows(x, ad_sum_rows(x));  // m m^T
    total(f, B, m);
    for (int i = 0; i < D; i++) square += m[i] * m[i];
    for (int i = 0; i < D; i++) mm[i] = m[i] * square;
    const ad_var Gm = ad_linear(G, ad_sum_rows(x), AD_NONE);  // m |m|^2
    assert_outer(ad_outer_rows(x, Gm), m, mm);
}

// sum of G is (sum of m)^2: its gradient in every element is 2 sum of m.
static void differentiating_rows_times_their_total(void **state) {
    fixture *f = *state;
    double m[D], got[B * D];
    const ad_var x = data(f), y = ad_sum(ad_outer_rows(x, ad_sum_rows(x)));
    ad_var g = AD_NONE;
    ad_grad(y, &x, 1, &g);
    ad_keep(g);
    total(f, B, m);
    util_run(f->tape);
    util_read(g, got, B * D);
    for (int j = 0; j < B * D; j++) util_assert_close(got[j], 2 * (m[0] + m[1] + m[2]), 1e-12);
}

// ---- two row sets -------------------------------------------------------------------------------------------------

static void assert_total_of_another_set(fixture *f, bool totalled_first) {
    double a[D], b[D];
    ad_rows rows[2];
    if (totalled_first) rows[1] = util_rows(f->tape, "totalled", SHORT);
    rows[0] = util_rows(f->tape, "multiplied", B);
    if (!totalled_first) rows[1] = util_rows(f->tape, "totalled", SHORT);
    total(f, B, a);
    total(f, SHORT, b);
    assert_outer(ad_outer_rows(input(f, rows[0]), ad_sum_rows(input(f, rows[1]))), a, b);
}

static void a_total_of_a_set_made_before(void **state) {
    assert_total_of_another_set(*state, true);
}
static void a_total_of_a_set_made_after(void **state) {
    assert_total_of_another_set(*state, false);
}

// ---- an op of one's own ---------------------------------------------------------------------------------------------

static bool scaled_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// Sum over rows of x * c, c one shared number.
static void scaled_total(const ad_kernel *k) {
    const double *x = k->x[0].data, *c = k->x[1].data;
    double *y = k->y;
    for (int64_t f = 0; f < ad_shape_count(*k->shape); f++) {
        double sum = k->first ? 0 : y[f];
        for (int r = 0; r < k->live; r++) sum += x[f * k->x[0].stride + r] * c[r * k->x[1].lane];
        y[f] = sum;
    }
}

static const ad_op scaled_total_op = {
    .name = "scaled_total", .flags = AD_OP_REDUCES_ROWS, .shape = scaled_shape, .kernel = {NULL, scaled_total}};

static void a_reduction_of_ones_own_reads_a_total(void **state) {
    fixture *f = *state;
    double m[D], got[D];
    const ad_var x = data(f), operands[] = {x, ad_sum(ad_sum_rows(x))};
    const ad_var y = ad_keep(ad_apply(&scaled_total_op, operands, 2, NULL, 0));
    total(f, B, m);
    util_run(f->tape);
    util_read(y, got, D);
    for (int i = 0; i < D; i++) util_assert_close(got[i], m[i] * (m[0] + m[1] + m[2]), 1e-12);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(rows_times_their_total),
        TEST(a_total_times_its_rows),
        TEST(rows_times_an_op_of_their_total),
        TEST(the_total_is_that_of_this_run),
        TEST(a_total_of_a_total),
        TEST(differentiating_rows_times_their_total),
        TEST(a_total_of_a_set_made_before),
        TEST(a_total_of_a_set_made_after),
        TEST(a_reduction_of_ones_own_reads_a_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
