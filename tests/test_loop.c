// test_loop.c -- ad_loop solves y + c y^3 = x for every row; ad_implicit differentiates the root.
#include "util.h"

enum { B = 100 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[B];
    ad_source source;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options one_thread = {.threads = 1};
    f->engine = ad_engine_new(&one_thread, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, B, 1, -20, 20);
    f->data[3] = 0;  // its own root
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

typedef struct equation {
    ad_var x, c;   // [1] per row; shared scalar
    int recorded;  // how often the body was called
} equation;

static ad_var residual(void *arg, ad_var y) {
    const equation *e = arg;
    return ad_sub(ad_add(y, ad_mul(e->c, ad_mul(y, ad_square(y)))), e->x);
}

static ad_var scalar_of(ad_var v) {
    return ad_reshape(v, ad_shape0());
}

// Newton's method; done when the step is lost in rounding.
static void newton(void *arg, ad_var y, ad_var *next, ad_var *done) {
    equation *e = arg;
    const ad_var slope = ad_offset(ad_mul(ad_scale(e->c, 3), ad_square(y)), 1);
    const ad_var change = ad_div(residual(e, y), slope);
    e->recorded++;
    *next = ad_sub(y, change);
    *done = scalar_of(ad_less_equal(ad_square(change), ad_number(y.tape, 1e-26)));
}

// State: low and high end of an interval around the root.
static void bisection(void *arg, ad_var state, ad_var *next, ad_var *done) {
    const equation *e = arg;
    const ad_var low = ad_slice(state, 0, 0, 1), high = ad_slice(state, 0, 1, 1);
    const ad_var middle = ad_scale(ad_add(low, high), 0.5);
    const ad_var above = ad_greater(residual(arg, middle), ad_number(state.tape, 0));
    const ad_var ends[] = {ad_where(above, low, middle), ad_where(above, middle, high)};
    *next = ad_concat(ends, 2, 0);
    *done = scalar_of(ad_less(ad_sub(high, low), ad_number(e->x.tape, 1e-12)));
}

static equation equation_of(ad_tape *tape, int64_t count, const ad_source *source) {
    const equation e = {ad_input(util_rows(tape, "data", count), ad_shape1(1), source), ad_number(tape, 1), 0};
    return e;
}

// The root in plain C, to full precision.
static double root_of(double x) {
    double low = -fabs(x) - 1, high = fabs(x) + 1;
    for (int i = 0; i < 200; i++) {
        const double middle = 0.5 * (low + high);
        if (middle + middle * middle * middle > x)
            high = middle;
        else
            low = middle;
    }
    return 0.5 * (low + high);
}

static ad_var start_of(const equation *e) {
    return ad_scale(e->x, 0.3);
}

static void newton_finds_every_root(void **state) {
    fixture *f = *state;
    double got[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
    ad_keep(r.state);
    util_run(f->tape);
    util_read(r.state, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], root_of(f->data[i]), 1e-13);
}

static void bisection_finds_every_root(void **state) {
    fixture *f = *state;
    double got[B * 2];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var bound = ad_offset(ad_sqrt(ad_square(e.x)), 1);
    const ad_var ends[] = {ad_neg(bound), bound};
    const ad_loop_result r = ad_loop(ad_concat(ends, 2, 0), 200, bisection, &e);
    ad_keep(r.state);
    util_run(f->tape);
    util_read(r.state, got, B * 2);
    for (int i = 0; i < B; i++) util_assert_close(0.5 * (got[2 * i] + got[2 * i + 1]), root_of(f->data[i]), 1e-12);
}

static void single_precision_too(void **state) {
    fixture *f = *state;
    double got[B * 2];
    ad_tape *tape = ad_tape_new(f->engine, AD_F32);
    equation e = equation_of(tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 12, newton, &e);
    ad_keep(r.state);
    util_run(tape);
    util_read(r.state, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], root_of(f->data[i]), 1e-6);
    ad_tape_free(tape);
}

static void the_body_is_recorded_once(void **state) {
    fixture *f = *state;
    equation e = equation_of(f->tape, B, &f->source);
    ad_keep(ad_loop(start_of(&e), 100, newton, &e).state);
    util_run(f->tape);
    assert_int_equal(e.recorded, 1);
}

static void rows_take_their_own_number_of_iterations(void **state) {
    fixture *f = *state;
    double iterations[B], least = INFINITY, most = 0;
    equation e = equation_of(f->tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
    ad_keep(r.iterations);
    util_run(f->tape);
    util_read(r.iterations, iterations, B);
    for (int i = 0; i < B; i++) {
        least = fmin(least, iterations[i]);
        most = fmax(most, iterations[i]);
    }
    assert_true(least >= 1);
    assert_true(most > least);
    assert_true(most < 100);
}

static void finished_rows_say_so(void **state) {
    fixture *f = *state;
    double done[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
    ad_keep(r.done);
    util_run(f->tape);
    util_read(r.done, done, B);
    for (int i = 0; i < B; i++) assert_true(done[i] == 1);
}

// Row 3 starts at its root and finishes at once; the others cannot in two iterations.
static void rows_that_do_not_finish_say_so(void **state) {
    fixture *f = *state;
    double done[B], iterations[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 2, newton, &e);
    ad_keep(r.done);
    ad_keep(r.iterations);
    util_run(f->tape);
    util_read(r.done, done, B);
    util_read(r.iterations, iterations, B);
    for (int i = 0; i < B; i++) {
        if (fabs(f->data[i]) > 0.5 || i == 3) assert_true(done[i] == (i == 3));
        if (!done[i]) assert_true(iterations[i] == 2);
    }
}

// A row alone, without neighbours that keep its block running, has the same bits and the same count.
static void finished_rows_are_frozen(void **state) {
    fixture *f = *state;
    double all[B], counts[B], one, count;
    equation e = equation_of(f->tape, B, &f->source);
    ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
    ad_keep(r.state);
    ad_keep(r.iterations);
    util_run(f->tape);
    util_read(r.state, all, B);
    util_read(r.iterations, counts, B);
    for (int i = 0; i < B; i++) {
        const ad_source alone = util_source(f->data + i, 1);
        ad_tape_reset(f->tape);
        e = equation_of(f->tape, 1, &alone);
        r = ad_loop(start_of(&e), 100, newton, &e);
        ad_keep(r.state);
        ad_keep(r.iterations);
        util_run(f->tape);
        util_read(r.state, &one, 1);
        util_read(r.iterations, &count, 1);
        assert_memory_equal(&one, &all[i], sizeof one);
        assert_memory_equal(&count, &counts[i], sizeof count);
    }
}

static void two_batches_share_a_plan_in_any_order(void **state) {
    fixture *f = *state;
    double got[B];
    for (int step = 0; step < 4; step++) {
        const int64_t count = step % 2 ? 7 : B;
        ad_tape_reset(f->tape);
        equation e = equation_of(f->tape, count, &f->source);
        const ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
        ad_keep(r.state);
        util_run(f->tape);
        util_read(r.state, got, count);
        for (int64_t i = 0; i < count; i++) util_assert_close(got[i], root_of(f->data[i]), 1e-13);
    }
}

static void halve_and_add(void *arg, ad_var s, ad_var *next, ad_var *done) {
    *next = ad_offset(ad_scale(s, 0.5), 1);
    *done = ad_to_rows(ad_number(s.tape, 0), *(ad_rows *)arg);
}

// Never done: a scan of a fixed number of steps. s -> s/2 + 1 has s_n = 2 + (s_0 - 2) / 2^n.
static void a_fixed_number_of_iterations(void **state) {
    fixture *f = *state;
    double got[B];
    ad_rows rows = util_rows(f->tape, "data", B);
    const ad_var x = ad_input(rows, ad_shape1(1), &f->source);
    const ad_var y = ad_keep(ad_loop(x, 10, halve_and_add, &rows).state);
    util_run(f->tape);
    util_read(y, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], 2 + (f->data[i] - 2) / 1024, 1e-14);
}

// Every row starts from the same shared value.
static void rows_may_start_alike(void **state) {
    fixture *f = *state;
    double got[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var start = ad_to_rows(ad_fill(f->tape, ad_shape1(1), 0.5), ad_rows_of(e.x));
    const ad_var y = ad_keep(ad_loop(start, 100, newton, &e).state);
    util_run(f->tape);
    util_read(y, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], root_of(f->data[i]), 1e-13);
}

// A state of shared values only: one root, found once.
static void a_shared_state_loops_too(void **state) {
    fixture *f = *state;
    double got;
    equation e = {ad_fill(f->tape, ad_shape1(1), 3), ad_number(f->tape, 1), 0};
    const ad_var y = ad_keep(ad_loop(ad_fill(f->tape, ad_shape1(1), 0.5), 100, newton, &e).state);
    util_run(f->tape);
    util_read(y, &got, 1);
    util_assert_close(got, root_of(3), 1e-13);
}

static void two_loops_in_one_program(void **state) {
    fixture *f = *state;
    double got[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var y = ad_loop(start_of(&e), 100, newton, &e).state;
    equation again = {y, e.c, 0};
    const ad_var z = ad_keep(ad_loop(ad_scale(y, 0.3), 100, newton, &again).state);
    util_run(f->tape);
    util_read(z, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], root_of(root_of(f->data[i])), 1e-12);
}

// The inner loop's equation depends on the outer loop's state: s <- root(x + s / 4) has s + s^3 = x + s / 4 at the end.
static void outer(void *arg, ad_var s, ad_var *next, ad_var *done) {
    const equation *e = arg;
    equation inner = {ad_add(e->x, ad_scale(s, 0.25)), e->c, 0};
    *next = ad_loop(s, 100, newton, &inner).state;
    *done = scalar_of(ad_less_equal(ad_square(ad_sub(*next, s)), ad_number(s.tape, 1e-28)));
}
static void a_loop_within_a_loop(void **state) {
    fixture *f = *state;
    double got[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var y = ad_keep(ad_loop(start_of(&e), 200, outer, &e).state);
    util_run(f->tape);
    util_read(y, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i] * 0.75 + got[i] * got[i] * got[i], f->data[i], 1e-11);
}

// More than a word has bits for: in a row, each of the one before, and each with one within.
static void two_hundred_loops_in_one_program(void **state) {
    fixture *f = *state;
    enum { LOOPS = 100 };
    double got[LOOPS * B];
    equation e[LOOPS];
    ad_var y[LOOPS];
    for (int i = 0; i < LOOPS; i++) {
        e[i] = equation_of(f->tape, B, &f->source);
        if (i) e[i].x = ad_add(e[i].x, ad_scale(y[i - 1], 0.1));
        y[i] = ad_loop(start_of(&e[i]), 200, outer, &e[i]).state;
    }
    const ad_var all = ad_keep(ad_concat(y, LOOPS, 0));
    util_run(f->tape);
    util_read(all, got, LOOPS * B);
    for (int i = 0; i < LOOPS * B; i++) {
        const double y1 = got[i], before = i % LOOPS ? got[i - 1] : 0;
        util_assert_close(y1 * 0.75 + y1 * y1 * y1, f->data[i / LOOPS] + 0.1 * before, 1e-11);
    }
}

static void results_serve_further_ops(void **state) {
    fixture *f = *state;
    double got, exact = 0;
    equation e = equation_of(f->tape, B, &f->source);
    const ad_loop_result r = ad_loop(start_of(&e), 100, newton, &e);
    const ad_var sum = ad_keep(ad_sum_rows(ad_sum(ad_square(r.state))));
    util_run(f->tape);
    util_read(sum, &got, 1);
    for (int i = 0; i < B; i++) exact += pow(root_of(f->data[i]), 2);
    util_assert_close(got, exact, 1e-12);
}

// From 0 in steps of 1, done once the state is not 0: at the second iteration, whose step is still made.
static void count_until(ad_var s, ad_var *next, ad_var *done, ad_var view) {
    *next = ad_offset(s, 1);
    *done = view;
}
static void done_is_the_state(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    count_until(s, next, done, s);
}
static void done_is_computed_of_the_state(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    count_until(s, next, done, ad_scale(s, 1));
}
static void done_is_a_part_of_the_state(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    count_until(s, next, done, scalar_of(ad_slice(s, 0, 1, 1)));
}

static void assert_two_iterations(fixture *f, ad_shape shape, ad_loop_body body) {
    double got[2 * B], iterations[B];
    const int64_t n = ad_shape_count(shape);
    const ad_var zero = ad_to_rows(ad_fill(f->tape, shape, 0), util_rows(f->tape, "data", B));
    const ad_loop_result r = ad_loop(zero, 10, body, NULL);
    ad_keep(r.state);
    ad_keep(r.iterations);
    util_run(f->tape);
    util_read(r.state, got, n * B);
    util_read(r.iterations, iterations, B);
    for (int i = 0; i < B; i++) util_assert_close(iterations[i], 2, 0);
    for (int i = 0; i < n * B; i++) util_assert_close(got[i], 2, 0);
}

static void done_may_be_computed_of_the_state(void **state) {
    assert_two_iterations(*state, ad_shape0(), done_is_computed_of_the_state);
}
static void done_may_be_the_state_before_the_step(void **state) {
    assert_two_iterations(*state, ad_shape0(), done_is_the_state);
}
static void done_may_be_a_part_of_the_state_before_the_step(void **state) {
    assert_two_iterations(*state, ad_shape1(2), done_is_a_part_of_the_state);
}

// ---- errors -------------------------------------------------------------------------------------------------------

static void meet(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    *next = ad_sub(s, ad_mean_rows(s));
    *done = scalar_of(ad_less(*next, ad_number(s.tape, 0)));
}
static void rows_do_not_meet_in_a_body(void **state) {
    fixture *f = *state;
    equation e = equation_of(f->tape, B, &f->source);
    ad_keep(ad_loop(e.x, 5, meet, NULL).state);
    assert_int_not_equal(ad_run(f->tape), AD_OK);
}

static void grow(void *arg, ad_var s, ad_var *next, ad_var *done) {
    const ad_var twice[] = {s, s};
    (void)arg;
    *next = ad_concat(twice, 2, 0);
    *done = ad_sum(s);
}
static void the_next_state_has_the_shape_of_the_state(void **state) {
    fixture *f = *state;
    equation e = equation_of(f->tape, B, &f->source);
    assert_false(ad_ok(ad_loop(e.x, 5, grow, NULL).state));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(f->tape), "loop");
}

static ad_var leaked;
static void leak(void *arg, ad_var s, ad_var *next, ad_var *done) {
    newton(arg, s, next, done);
    leaked = ad_exp(s);
}
static void a_value_of_the_body_is_not_used_outside(void **state) {
    fixture *f = *state;
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var y = ad_loop(e.x, 5, leak, &e).state;
    ad_keep(ad_add(y, leaked));
    assert_int_equal(ad_run(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "loop");
}

static void forget(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    (void)s;
    (void)next;
    (void)done;
}
static void a_body_without_results_is_an_error(void **state) {
    fixture *f = *state;
    equation e = equation_of(f->tape, B, &f->source);
    assert_false(ad_ok(ad_loop(e.x, 5, forget, NULL).state));
    assert_int_not_equal(ad_tape_status(f->tape), AD_OK);
}

// arg is the residual, whatever y is.
static ad_var given(void *arg, ad_var y) {
    (void)y;
    return *(ad_var *)arg;
}
static ad_var offset_of_given(void *arg, ad_var y) {
    (void)y;
    return ad_offset(*(ad_var *)arg, 0.25);
}
static void assert_ignoring_is_an_error(fixture *f, ad_var (*ignoring)(void *, ad_var)) {
    equation e = equation_of(f->tape, B, &f->source);
    assert_false(ad_ok(ad_implicit(start_of(&e), ignoring, &e.x)));
    assert_int_not_equal(ad_tape_status(f->tape), AD_OK);
    util_assert_contains(ad_tape_message(f->tape), "implicit");
}
static void a_residual_made_before_ignores_the_root(void **state) {
    assert_ignoring_is_an_error(*state, given);
}
static void a_residual_that_ignores_the_root_is_an_error(void **state) {
    assert_ignoring_is_an_error(*state, offset_of_given);
}

// ---- derivatives --------------------------------------------------------------------------------------------------

static ad_var root(equation *e) {
    const ad_var y = ad_loop(start_of(e), 100, newton, e).state;
    return ad_implicit(y, residual, e);
}

static void the_root_keeps_its_value(void **state) {
    fixture *f = *state;
    double got[B];
    equation e = equation_of(f->tape, B, &f->source);
    const ad_var y = ad_keep(root(&e));
    util_run(f->tape);
    util_read(y, got, B);
    for (int i = 0; i < B; i++) util_assert_close(got[i], root_of(f->data[i]), 1e-13);
}

// dy/dx = 1 / (1 + 3 y^2), d2y/dx2 = -6 y / (1 + 3 y^2)^3.
static void the_root_is_differentiated_twice(void **state) {
    fixture *f = *state;
    double first[B], second[B];
    equation e = equation_of(f->tape, B, &f->source);
    ad_var g = AD_NONE, h = AD_NONE;
    ad_grad(ad_sum(root(&e)), &e.x, 1, &g);
    ad_grad(ad_sum(g), &e.x, 1, &h);
    ad_keep(g);
    ad_keep(h);
    util_run(f->tape);
    util_read(g, first, B);
    util_read(h, second, B);
    for (int i = 0; i < B; i++) {
        const double y = root_of(f->data[i]), d = 1 / (1 + 3 * y * y);
        util_assert_close(first[i], d, 1e-12);
        util_assert_close(second[i], -6 * y * d * d * d, 1e-12);
    }
}

// x[0]: right-hand sides, per row; x[1]: the coefficient c.
static ad_var root_of_inputs(void *arg, const ad_var *x) {
    (void)arg;
    equation e = {x[0], x[1], 0};
    return root(&e);
}
static void gradcheck_of_the_root(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {{.rows = true, .shape = {1, {1}}, .low = -3, .high = 3}, {.low = 0.5, .high = 2}};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(root_of_inputs, NULL, in, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

static void the_root_has_a_gradient_in_parameters(void **state) {
    fixture *f = *state;
    ad_param *c = ad_param_new("c", AD_F64, ad_shape0(), NULL);
    ad_param_set(c, 0, 1);
    equation e = equation_of(f->tape, B, &f->source);
    e.c = ad_use(f->tape, c);
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(root(&e)))), AD_OK);
    double exact = 0;
    for (int i = 0; i < B; i++) {
        const double y = root_of(f->data[i]);
        exact += -y * y * y / (1 + 3 * y * y);
    }
    util_assert_close(((double *)c->grad)[0], exact, 1e-12);
    ad_param_free(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(newton_finds_every_root),
        TEST(bisection_finds_every_root),
        TEST(single_precision_too),
        TEST(the_body_is_recorded_once),
        TEST(rows_take_their_own_number_of_iterations),
        TEST(finished_rows_say_so),
        TEST(rows_that_do_not_finish_say_so),
        TEST(finished_rows_are_frozen),
        TEST(two_batches_share_a_plan_in_any_order),
        TEST(a_fixed_number_of_iterations),
        TEST(rows_may_start_alike),
        TEST(a_shared_state_loops_too),
        TEST(two_loops_in_one_program),
        TEST(a_loop_within_a_loop),
        TEST(two_hundred_loops_in_one_program),
        TEST(results_serve_further_ops),
        TEST(done_may_be_computed_of_the_state),
        TEST(done_may_be_the_state_before_the_step),
        TEST(done_may_be_a_part_of_the_state_before_the_step),
        TEST(rows_do_not_meet_in_a_body),
        TEST(the_next_state_has_the_shape_of_the_state),
        TEST(a_value_of_the_body_is_not_used_outside),
        TEST(a_body_without_results_is_an_error),
        TEST(a_residual_made_before_ignores_the_root),
        TEST(a_residual_that_ignores_the_root_is_an_error),
        TEST(the_root_keeps_its_value),
        TEST(the_root_is_differentiated_twice),
        TEST(gradcheck_of_the_root),
        TEST(the_root_has_a_gradient_in_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
