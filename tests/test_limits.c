// test_limits.c -- sizes and counts at and beyond what the engine takes: the right value, or an error in words.
#include "util.h"

#include "op.h"

enum { ROWS = 70, WIDTH = 5 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[ROWS * WIDTH];
    ad_source source;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options options = {.threads = 2};
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, ROWS * WIDTH, 1, -1, 1);
    f->source = util_source(f->data, ROWS);
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

// ---- iterations ---------------------------------------------------------------------------------------------------

static void never_done(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    *next = s;
    *done = ad_number(s.tape, 0);
}

// In f32, 2^24 + 1 is 2^24.
static void more_iterations_than_are_counted_exactly(void **state) {
    fixture *f = *state;
    assert_false(ad_ok(ad_loop(ad_number(f->tape, 1), (1 << 24) + 1, never_done, NULL).state));
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "max_iterations");
}

static void as_many_iterations_as_are_counted_exactly(void **state) {
    fixture *f = *state;
    ad_tape *single = ad_tape_new(f->engine, AD_F32);
    const ad_loop_result r = ad_loop(ad_number(single, 1), 1 << 24, never_done, NULL);
    util_assert_ok(single);
    if (!UTIL_SANITIZED) assert_true(ad_value(r.iterations) == 1 << 24);  // a second of time
    ad_tape_free(single);
}

// ---- ops of one's own ---------------------------------------------------------------------------------------------

static bool first_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}
static void do_nothing(const ad_kernel *k) {
    (void)k;
}
static const ad_op total_op = {
    .name = "my_total", .flags = AD_OP_REDUCES_ROWS, .shape = first_shape, .kernel = {do_nothing, do_nothing}};

static void a_row_reduction_wants_rows(void **state) {
    fixture *f = *state;
    const ad_var x = ad_fill(f->tape, ad_shape1(3), 1);
    assert_false(ad_ok(ad_apply(&total_op, &x, 1, NULL, 0)));
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "my_total");
}

enum { MOST_OPERANDS = 8 };

static void sum_lanes(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (int i = 0; i < MOST_OPERANDS; i++) sum += ((const double *)x[i])[j];
        ((double *)y)[j] = sum;
    }
}
static const ad_op sum8_op = {.name = "sum8", .flags = AD_OP_ELEMENTWISE, .lanes = {NULL, sum_lanes}};

// Runs the sum of x[0..8), which is scale * input + offset.
static void assert_sums(fixture *f, const ad_var *x, double scale, double offset) {
    double got[ROWS * WIDTH];
    const ad_var y = ad_keep(ad_apply(&sum8_op, x, MOST_OPERANDS, NULL, 0));
    util_run(f->tape);
    util_read(y, got, ROWS * WIDTH);
    for (int j = 0; j < ROWS * WIDTH; j++) util_assert_close(got[j], scale * f->data[j] + offset, 1e-14);
}

static void eight_operands_of_one_shape(void **state) {
    fixture *f = *state;
    ad_var x[MOST_OPERANDS];
    for (int i = 0; i < MOST_OPERANDS; i++)
        x[i] = ad_scale(ad_input(util_rows(f->tape, "data", ROWS), ad_shape1(WIDTH), &f->source), 1 + i);
    assert_sums(f, x, 36, 0);
}

static void seven_shared_numbers_beside_rows(void **state) {
    fixture *f = *state;
    ad_var x[MOST_OPERANDS] = {ad_input(util_rows(f->tape, "data", ROWS), ad_shape1(WIDTH), &f->source)};
    for (int i = 1; i < MOST_OPERANDS; i++) x[i] = ad_number(f->tape, i);
    assert_sums(f, x, 1, 28);
}

static void seven_numbers_of_the_row_beside_it(void **state) {
    fixture *f = *state;
    const ad_rows rows = util_rows(f->tape, "data", ROWS);
    ad_var x[MOST_OPERANDS] = {ad_input(rows, ad_shape1(WIDTH), &f->source)};
    for (int i = 1; i < MOST_OPERANDS; i++) x[i] = ad_to_rows(ad_number(f->tape, i), rows);
    assert_sums(f, x, 1, 28);
}

// Broadcast in all eight: none has the result's shape.
static void eight_operands_broadcast(void **state) {
    fixture *f = *state;
    double got[2 * WIDTH];
    ad_var x[MOST_OPERANDS];
    for (int i = 0; i < MOST_OPERANDS; i++)
        x[i] = ad_scale(ad_fill(f->tape, i % 2 ? ad_shape2(2, 1) : ad_shape1(WIDTH), 1), 1 + i);
    const ad_var y = ad_keep(ad_apply(&sum8_op, x, MOST_OPERANDS, NULL, 0));
    util_run(f->tape);
    util_read(y, got, 2 * WIDTH);
    for (int i = 0; i < 2 * WIDTH; i++) util_assert_close(got[i], 36, 1e-14);
}

static void nine_operands_are_refused_at_the_call(void **state) {
    fixture *f = *state;
    ad_var x[MOST_OPERANDS + 1];
    for (int i = 0; i <= MOST_OPERANDS; i++) x[i] = ad_number(f->tape, i);
    assert_false(ad_ok(ad_apply(&sum8_op, x, MOST_OPERANDS + 1, NULL, 0)));
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "sum8");
}

// ---- rows ---------------------------------------------------------------------------------------------------------

static const ad_random seed = {1, 0};
static const int64_t FAR_TOO_MANY = (int64_t)1 << 61;

static void assert_too_large(ad_status status) {
    assert_true(status == AD_ENOMEM || status == AD_EARG);
}

static ad_var numbers(fixture *f, int64_t count) {
    return ad_normal(util_rows(f->tape, "data", count), ad_shape1(8), &seed, 0);
}

static void far_too_many_rows_to_keep(void **state) {
    fixture *f = *state;
    ad_keep(ad_exp(numbers(f, FAR_TOO_MANY)));
    assert_too_large(ad_run(f->tape));
}

static void far_too_many_rows_to_store_between_stages(void **state) {
    fixture *f = *state;
    const ad_var y = ad_softplus(ad_exp(numbers(f, FAR_TOO_MANY)));
    ad_keep(ad_sum_rows(ad_exp(ad_sub(y, ad_mean_rows(y)))));
    assert_too_large(ad_run(f->tape));
}

static void far_too_many_rows_of_a_program(void **state) {
    fixture *f = *state;
    ad_error error = {AD_OK, ""};
    const ad_var y = ad_exp(numbers(f, 5));
    ad_program *program = ad_compile(&y, 1, &error);
    assert_non_null(program);
    ad_status status = ad_program_rows(program, "data", FAR_TOO_MANY, 0, &error);
    if (status == AD_OK) status = ad_program_run(program, &error);
    assert_too_large(status);
    ad_program_free(program);
}

static void a_tape_runs_after_far_too_many_rows(void **state) {
    fixture *f = *state;
    ad_keep(ad_exp(numbers(f, FAR_TOO_MANY)));
    ad_run(f->tape);
    ad_tape_reset(f->tape);
    double got[5 * 8];
    const ad_var y = ad_keep(ad_exp(numbers(f, 5)));
    util_run(f->tape);
    util_read(y, got, 5 * 8);
}

// ---- shapes -------------------------------------------------------------------------------------------------------

static void assert_too_large_to_join(ad_shape part, int n, int axis) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var x[4];
    for (int i = 0; i < n; i++) x[i] = ad_expand(ad_number(tape, 1), part);
    util_assert_ok(tape);
    assert_false(ad_ok(ad_concat(x, n, axis)));
    assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
    ad_tape_free(tape);
}

static void a_joined_axis_beyond_32_bits(void **state) {
    (void)state;
    assert_too_large_to_join(ad_shape1(1 << 30), 3, 0);
}
static void a_joined_axis_that_would_wrap_to_nothing(void **state) {
    (void)state;
    assert_too_large_to_join(ad_shape1(1 << 30), 4, 0);
}
static void two_of_the_largest_joined(void **state) {
    (void)state;
    assert_too_large_to_join(ad_shape2(1, INT32_MAX), 2, 1);
}
static void a_joined_product_beyond_32_bits(void **state) {
    (void)state;
    assert_too_large_to_join(ad_shape2(1, 1 << 30), 3, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(more_iterations_than_are_counted_exactly),
        TEST(as_many_iterations_as_are_counted_exactly),
        TEST(a_row_reduction_wants_rows),
        TEST(eight_operands_of_one_shape),
        TEST(seven_shared_numbers_beside_rows),
        TEST(seven_numbers_of_the_row_beside_it),
        TEST(eight_operands_broadcast),
        TEST(nine_operands_are_refused_at_the_call),
        TEST(far_too_many_rows_to_keep),
        TEST(far_too_many_rows_to_store_between_stages),
        TEST(far_too_many_rows_of_a_program),
        TEST(a_tape_runs_after_far_too_many_rows),
        TEST(a_joined_axis_beyond_32_bits),
        TEST(a_joined_axis_that_would_wrap_to_nothing),
        TEST(two_of_the_largest_joined),
        TEST(a_joined_product_beyond_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
