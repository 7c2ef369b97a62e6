// test_failures.c -- kernels that fail: which row is reported, and what a failed run leaves as it was.
#include "op.h"
#include "util.h"

enum { MOST_ROWS = 500 };

// ---- an op whose kernel fails where its operand says so -----------------------------------------------------------------

// y = x; a lane where x is not 0 fails with that number, whichever lanes are live, the last one first.
#define REPORT(NAME, T)                                                                                       \
    static void NAME(const ad_kernel *k) {                                                                    \
        T *y = k->y;                                                                                          \
        for (int r = k->R - 1; r >= 0; r--) {                                                                 \
            y[r] = ((const T *)k->x[0].data)[r * k->x[0].lane];                                               \
            if (y[r] != 0) ad_kernel_fail(k, r, AD_ENONFINITE, "%g is not %s", (double)y[r], "nothing");      \
        }                                                                                                     \
    }
REPORT(report_f32, float)
REPORT(report_f64, double)
static bool same_shape(ad_shape_call *c) {
    c->y = c->x[0];
    return true;
}
static const ad_op report_op = {.name = "report", .shape = same_shape, .kernel = {report_f32, report_f64}};
static const ad_op second_op = {.name = "second", .shape = same_shape, .kernel = {report_f32, report_f64}};

// Fails in all lanes that are no rows, and only there.
static void report_padding(const ad_kernel *k) {
    memcpy(k->y, k->x[0].data, (size_t)k->R * sizeof(double));
    for (int r = k->live; r < k->R; r++) ad_kernel_fail(k, r, AD_EARG, "lane %d", r);
}
static const ad_op padding_op = {.name = "padding", .shape = same_shape, .kernel = {NULL, report_padding}};

// A sum over rows that fails in each row.
static void report_sum(const ad_kernel *k) {
    if (k->first) *(double *)k->y = 0;
    for (int r = 0; r < k->live; r++) ad_kernel_fail(k, r, AD_ECONVERGE, "no sum");
}
static const ad_op sum_op = {.name = "failing_sum", .flags = AD_OP_REDUCES_ROWS | AD_OP_F64_SUM, .shape = same_shape,
                             .kernel = {report_sum, report_sum}};

static ad_var apply(const ad_op *op, ad_var x) { return ad_apply(op, &x, 1, NULL, 0); }

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    ad_rows rows;
    double data[MOST_ROWS];
    ad_source source;
} fixture;

static void begin(fixture *f, int64_t rows) {
    ad_tape_reset(f->tape);
    f->rows = util_rows(f->tape, "data", rows);
}
static void open_engine(fixture *f, int threads) {
    const ad_engine_options options = {.threads = threads};
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    begin(f, MOST_ROWS);
}
static void close_engine(fixture *f) {
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->source = util_source(f->data, MOST_ROWS);
    open_engine(f, 2);
    *state = f;
    return 0;
}
static int tear_down(void **state) {
    fixture *f = *state;
    close_engine(f);
    free(f);
    return 0;
}

static ad_var input(fixture *f) { return ad_input(f->rows, ad_shape0(), &f->source); }

// ---- what is reported ---------------------------------------------------------------------------------------------------

// Whichever thread or lane comes first.
static void the_first_row_counts(void **state) {
    fixture *f = *state;
    f->data[37] = 1, f->data[38] = 2, f->data[400] = 3, f->data[499] = 4;
    for (int threads = 1; threads <= 3; threads++) {
        close_engine(f);
        open_engine(f, threads);
        for (int again = 0; again < 50; again++) {
            begin(f, MOST_ROWS);
            ad_keep(apply(&report_op, input(f)));
            assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
            assert_string_equal(ad_tape_message(f->tape), "report of row 37: 1 is not nothing");
        }
    }
}

static void the_first_instruction_counts_in_a_row(void **state) {
    fixture *f = *state;
    f->data[70] = 1;
    ad_keep(apply(&second_op, apply(&report_op, input(f))));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "report of row 70");
}

static void an_earlier_row_counts_more_than_an_earlier_instruction(void **state) {
    fixture *f = *state;
    f->data[70] = 1;
    double other[MOST_ROWS] = {0};
    other[3] = 1;
    ad_source source = util_source(other, MOST_ROWS);
    ad_keep(ad_add(apply(&report_op, input(f)), apply(&second_op, ad_input(f->rows, ad_shape0(), &source))));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "second of row 3");
}

// Rows are numbered from 0 in this batch, wherever it starts globally.
static void rows_are_numbered_in_the_batch(void **state) {
    fixture *f = *state;
    f->data[5] = 1;
    ad_rows_set(f->rows, 6, 1000);
    ad_keep(apply(&report_op, input(f)));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "of row 5:");
}

static void lanes_without_a_row_are_not_reported(void **state) {
    fixture *f = *state;
    static const int64_t counts[] = {1, 3, 31, 33, 65, 130};
    for (int i = 0; i < 6; i++) {
        begin(f, counts[i]);
        ad_keep(apply(&padding_op, input(f)));
        util_run(f->tape);
    }
}

// They repeat the last row, which is the one to name.
static void the_last_row_is_named_by_its_own_number(void **state) {
    fixture *f = *state;
    f->data[64] = 2;
    begin(f, 65);
    ad_keep(apply(&report_op, input(f)));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "of row 64:");
}

static void the_place_is_named(void **state) {
    fixture *f = *state;
    f->data[0] = 1;
    ad_scope(f->tape, "flow", 3);
    ad_scope(f->tape, "solve", -1);
    ad_keep(apply(&report_op, input(f)));
    ad_scope_end(f->tape);
    ad_scope_end(f->tape);
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    assert_int_equal(ad_tape_status(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "flow[3]");
    util_assert_contains(ad_tape_message(f->tape), "solve: report of row 0: 1 is not nothing");
}

static void a_shared_value_has_no_row(void **state) {
    fixture *f = *state;
    ad_keep(apply(&report_op, ad_number(f->tape, 2)));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    assert_string_equal(ad_tape_message(f->tape), "report: 2 is not nothing");
}

static void a_reduction_over_rows_can_fail(void **state) {
    fixture *f = *state;
    ad_keep(apply(&sum_op, input(f)));
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    assert_string_equal(ad_tape_message(f->tape), "failing_sum of row 0: no sum");
}

// A later stage, which an earlier row fails in, does not run.
static void an_earlier_stage_counts_more_than_an_earlier_row(void **state) {
    fixture *f = *state;
    f->data[99] = 1;
    ad_var x = input(f);
    ad_keep(apply(&report_op, x));
    ad_keep(apply(&second_op, ad_offset(ad_sub(x, ad_sum_rows(x)), 5)));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "report of row 99");
}

// ---- what is left ---------------------------------------------------------------------------------------------------------

static void states_keep_their_values(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("s", AD_F64, ad_shape0(), NULL);
    *(double *)s->data = 3;
    for (int fails = 0; fails < 2; fails++) {
        begin(f, MOST_ROWS);
        f->data[300] = fails;
        ad_keep(apply(&report_op, input(f)));
        ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
        assert_int_equal(ad_run(f->tape), fails ? AD_ENONFINITE : AD_OK);
        assert_true(*(double *)s->data == 4);
    }
    ad_reject(f->tape);
    assert_true(*(double *)s->data == 4);
    ad_state_free(s);
}

static void values_cannot_be_read(void **state) {
    fixture *f = *state;
    double out[MOST_ROWS];
    f->data[0] = 1;
    ad_var y = ad_keep(apply(&report_op, input(f)));
    ad_run(f->tape);
    assert_int_equal(ad_read(y, out, MOST_ROWS), AD_ENONFINITE);
    assert_null(ad_data(y));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);  // the error sticks
}

static void the_tape_can_be_used_again(void **state) {
    fixture *f = *state;
    double out[MOST_ROWS];
    for (int i = 0; i < 6; i++) {
        begin(f, MOST_ROWS);
        assert_string_equal(ad_tape_message(f->tape), "");
        f->data[123] = i % 2 ? 0 : i + 1;
        ad_var y = ad_keep(apply(&report_op, input(f)));
        if (i % 2 == 0) {
            assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
            continue;
        }
        util_run(f->tape);
        util_read(y, out, MOST_ROWS);
        assert_true(out[123] == 0);
    }
}

static void a_program_can_run_again(void **state) {
    fixture *f = *state;
    ad_error error;
    ad_var y = apply(&report_op, input(f));
    ad_program *p = ad_compile(&y, 1, &error);
    assert_non_null(p);
    for (int i = 0; i < 4; i++) {
        f->data[7] = i % 2;
        assert_int_equal(ad_program_run(p, i < 2 ? &error : NULL), i % 2 ? AD_ENONFINITE : AD_OK);
        assert_true((ad_program_data(p, 0) == NULL) == (i % 2));
        if (i == 1) assert_string_equal(error.message, "report of row 7: 1 is not nothing");
    }
    ad_program_free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_row_counts),
        TEST(the_first_instruction_counts_in_a_row),
        TEST(an_earlier_row_counts_more_than_an_earlier_instruction),
        TEST(rows_are_numbered_in_the_batch),
        TEST(lanes_without_a_row_are_not_reported),
        TEST(the_last_row_is_named_by_its_own_number),
        TEST(the_place_is_named),
        TEST(a_shared_value_has_no_row),
        TEST(a_reduction_over_rows_can_fail),
        TEST(an_earlier_stage_counts_more_than_an_earlier_row),
        TEST(states_keep_their_values),
        TEST(values_cannot_be_read),
        TEST(the_tape_can_be_used_again),
        TEST(a_program_can_run_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
