// test_record.c -- recording: errors in words, inert handles, stale handles, identical nodes.
#include "util.h"

#include "op.h"

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    ad_rows rows;
    double data[12];
    ad_source source;
    ad_var x;  // [3] per row, 4 rows
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options one_thread = {.threads = 1};
    f->engine = ad_engine_new(&one_thread, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, 12, 1, -1, 1);
    f->source = util_source(f->data, 4);
    f->rows = util_rows(f->tape, "data", 4);
    f->x = ad_input(f->rows, ad_shape1(3), &f->source);
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

static void assert_error(const ad_tape *tape, ad_status status, const char *part) {
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
}

// ---- errors in words ----------------------------------------------------------------------------------------------

static void two_tapes_do_not_mix(void **state) {
    fixture *f = *state;
    ad_tape *other = ad_tape_new(f->engine, AD_F64);
    const ad_var y = ad_add(f->x, ad_number(other, 1));
    assert_false(ad_ok(y));
    const ad_tape *blamed = ad_tape_status(f->tape) != AD_OK ? f->tape : other;
    assert_error(blamed, AD_EMIX, "add");
    util_assert_contains(ad_tape_message(blamed), "tape");
    ad_tape_free(other);
}

static void two_row_sets_do_not_mix(void **state) {
    fixture *f = *state;
    const ad_rows others = util_rows(f->tape, "prior", 5);
    const ad_var y = ad_add(f->x, ad_input(others, ad_shape1(3), &f->source));
    assert_false(ad_ok(y));
    assert_error(f->tape, AD_EMIX, "prior");
    util_assert_contains(ad_tape_message(f->tape), "data");
}

static void a_handle_is_stale_after_reset(void **state) {
    fixture *f = *state;
    ad_tape_reset(f->tape);
    assert_false(ad_ok(f->x));
    assert_false(ad_ok(ad_exp(f->x)));
    assert_error(f->tape, AD_ESTALE, "reset");
}

static void a_row_set_is_stale_after_reset(void **state) {
    fixture *f = *state;
    ad_tape_reset(f->tape);
    assert_false(ad_ok(ad_input(f->rows, ad_shape1(3), &f->source)));
    assert_int_equal(ad_tape_status(f->tape), AD_ESTALE);
}

static void a_stale_handle_is_not_read(void **state) {
    fixture *f = *state;
    double out[12];
    const ad_var y = ad_keep(ad_exp(f->x));
    util_run(f->tape);
    ad_tape_reset(f->tape);
    assert_int_equal(ad_read(y, out, 12), AD_ESTALE);
}

static void an_unkept_value_names_ad_keep(void **state) {
    fixture *f = *state;
    double out[12];
    const ad_var y = ad_exp(f->x);
    ad_keep(ad_neg(y));
    util_run(f->tape);
    assert_int_equal(ad_read(y, out, 12), AD_EUNKEPT);
    util_assert_contains(ad_tape_message(f->tape), "ad_keep");
}

static void unkept_data_is_null(void **state) {
    fixture *f = *state;
    const ad_var y = ad_exp(f->x);
    ad_keep(ad_neg(y));
    util_run(f->tape);
    assert_null(ad_data(y));
}

static void too_little_room_is_an_error(void **state) {
    fixture *f = *state;
    double out[12];
    const ad_var y = ad_keep(ad_exp(f->x));
    util_run(f->tape);
    assert_int_not_equal(ad_read(y, out, 11), AD_OK);
}

static void a_non_finite_parameter_is_named(void **state) {
    fixture *f = *state;
    ad_param *w = util_param("net.weight", AD_F64, ad_shape1(3), 1);
    ad_param_set(w, 1, NAN);
    ad_keep(ad_mul(ad_use(f->tape, w), f->x));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    assert_error(f->tape, AD_ENONFINITE, "net.weight");
    ad_param_free(w);
}

static void a_shape_error_says_op_shapes_and_place(void **state) {
    fixture *f = *state;
    ad_scope(f->tape, "flow", 3);
    ad_scope(f->tape, "mlp", -1);
    ad_add(f->x, ad_fill(f->tape, ad_shape2(2, 4), 1));
    ad_scope_end(f->tape);
    ad_scope_end(f->tape);
    assert_error(f->tape, AD_ESHAPE, "add");
    util_assert_contains(ad_tape_message(f->tape), "[3]");
    util_assert_contains(ad_tape_message(f->tape), "[2,4]");
    util_assert_contains(ad_tape_message(f->tape), "flow[3]");
    util_assert_contains(ad_tape_message(f->tape), "mlp");
}

static void an_ended_scope_is_not_named(void **state) {
    fixture *f = *state;
    ad_scope(f->tape, "flow", 3);
    ad_scope_end(f->tape);
    ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    assert_null(strstr(ad_tape_message(f->tape), "flow"));
}

static void the_first_error_sticks(void **state) {
    fixture *f = *state;
    ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    ad_slice(f->x, 0, 2, 9);
    assert_error(f->tape, AD_ESHAPE, "add");
    assert_int_equal(ad_run(f->tape), AD_ESHAPE);
    assert_error(f->tape, AD_ESHAPE, "add");
}

static void ones_own_error_sticks_with_its_place(void **state) {
    fixture *f = *state;
    ad_scope(f->tape, "flow", 3);
    ad_tape_fail(f->tape, AD_EARG, "want %d knots", 4);
    ad_scope_end(f->tape);
    assert_error(f->tape, AD_EARG, "want 4 knots");
    util_assert_contains(ad_tape_message(f->tape), "flow[3]");
}

static void reset_clears_the_error(void **state) {
    fixture *f = *state;
    ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    ad_tape_reset(f->tape);
    assert_int_equal(ad_tape_status(f->tape), AD_OK);
    assert_string_equal(ad_tape_message(f->tape), "");
    const ad_var y = ad_keep(ad_exp(ad_input(util_rows(f->tape, "data", 4), ad_shape1(3), &f->source)));
    util_run(f->tape);
    assert_non_null(ad_data(y));
}

static void more_rows_than_the_source_has(void **state) {
    fixture *f = *state;
    ad_keep(ad_exp(f->x));
    ad_rows_set(f->rows, 5, 0);
    assert_int_equal(ad_run(f->tape), AD_EARG);
}

static void an_index_beyond_the_source(void **state) {
    fixture *f = *state;
    const int64_t index[] = {0, 4};
    f->source.index = index;
    ad_keep(ad_exp(f->x));
    ad_rows_set(f->rows, 2, 0);
    assert_int_equal(ad_run(f->tape), AD_EARG);
}

static void the_number_of_rows_must_be_set(void **state) {
    fixture *f = *state;
    ad_keep(ad_exp(ad_input(ad_rows_new(f->tape, "unset"), ad_shape1(3), &f->source)));
    assert_int_equal(ad_run(f->tape), AD_EORDER);
    util_assert_contains(ad_tape_message(f->tape), "unset");
}

static void no_rows_are_too_few(void **state) {
    fixture *f = *state;
    ad_rows_set(f->rows, 0, 0);
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
}

static void reading_before_running_is_an_error(void **state) {
    fixture *f = *state;
    double out[12];
    assert_int_not_equal(ad_read(ad_keep(ad_exp(f->x)), out, 12), AD_OK);
    util_assert_contains(ad_tape_message(f->tape), "ad_run");
}

static void ending_no_scope_is_an_error(void **state) {
    fixture *f = *state;
    ad_scope_end(f->tape);
    assert_int_equal(ad_tape_status(f->tape), AD_EORDER);
}

static void an_engine_wants_a_number_of_threads(void **state) {
    (void)state;
    const ad_engine_options none = {.threads = -1};
    ad_error error = {AD_OK, ""};
    assert_null(ad_engine_new(&none, &error));
    assert_int_equal(error.status, AD_EARG);
    util_assert_contains(error.message, "threads");
}

static void backward_wants_a_shared_scalar(void **state) {
    fixture *f = *state;
    assert_int_not_equal(ad_backward(ad_sum(f->x)), AD_OK);
}

static void value_wants_a_shared_scalar(void **state) {
    fixture *f = *state;
    assert_true(isnan(ad_value(ad_sum(f->x))));
    assert_int_not_equal(ad_tape_status(f->tape), AD_OK);
}

static void a_bad_shape_is_an_error(void **state) {
    fixture *f = *state;
    ad_reshape(f->x, ad_shape1(-3));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
}

static void a_product_of_dimensions_that_overflows(void **state) {
    fixture *f = *state;
    ad_fill(f->tape, ad_shape4(1 << 20, 1 << 20, 1 << 20, 1 << 20), 0);
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
}

// ---- another tape's values where an op looks behind them -----------------------------------------------------------

// A value with a number that f->tape does not have.
static ad_var far_value(ad_tape *tape) {
    ad_var v = ad_number(tape, 1);
    for (int i = 0; i < 3000; i++) v = ad_offset(v, 1);
    return v;
}

static void foreign_next(void *arg, ad_var s, ad_var *next, ad_var *done) {
    *next = *(ad_var *)arg;
    *done = ad_greater(s, ad_number(s.tape, 1));
}
static void foreign_done(void *arg, ad_var s, ad_var *next, ad_var *done) {
    *next = ad_offset(s, 1);
    *done = *(ad_var *)arg;
}
static ad_var foreign_residual(void *arg, ad_var y) {
    (void)y;
    return *(ad_var *)arg;
}

// What uses the foreign value on f->tape, and returns the result.
typedef ad_var (*user)(fixture *f, ad_var foreign);
static void assert_foreign_is_refused(fixture *f, user use) {
    ad_tape *other = ad_tape_new(f->engine, AD_F64);
    assert_false(ad_ok(use(f, far_value(other))));
    assert_int_equal(ad_tape_status(f->tape), AD_EMIX);
    ad_tape_free(other);
}

static ad_var loop_to_it(fixture *f, ad_var foreign) {
    return ad_loop(ad_number(f->tape, 0), 3, foreign_next, &foreign).state;
}
static ad_var loop_until_it(fixture *f, ad_var foreign) {
    return ad_loop(ad_number(f->tape, 0), 3, foreign_done, &foreign).state;
}
static ad_var root_of_it(fixture *f, ad_var foreign) {
    return ad_implicit(ad_number(f->tape, 0), foreign_residual, &foreign);
}
static ad_var pull_it_back(fixture *f, ad_var foreign) {
    const ad_var x = ad_number(f->tape, 0);
    ad_var g = AD_NONE;
    ad_vjp(x, foreign, &x, 1, &g);  // dx/dx is 1: no op looks at it
    return g;
}
static ad_var push_it_forward(fixture *f, ad_var foreign) {
    const ad_var x = ad_number(f->tape, 0);
    return ad_jvp(ad_exp(x), x, foreign);
}

static void a_next_state_of_another_tape(void **state) {
    assert_foreign_is_refused(*state, loop_to_it);
}
static void a_done_of_another_tape(void **state) {
    assert_foreign_is_refused(*state, loop_until_it);
}
static void a_residual_of_another_tape(void **state) {
    assert_foreign_is_refused(*state, root_of_it);
}
static void a_cotangent_of_another_tape(void **state) {
    assert_foreign_is_refused(*state, pull_it_back);
}
static void a_tangent_of_another_tape(void **state) {
    assert_foreign_is_refused(*state, push_it_forward);
}

// ---- cotangents and tangents of another shape
// ------------------------------------------------------------------------

// y = x^2 of a shared x [6].
static void assert_cotangent_does_not_fit(fixture *f, ad_var gy) {
    const ad_var x = ad_fill(f->tape, ad_shape1(6), 3);
    ad_var g = AD_NONE;
    ad_vjp(ad_square(x), gy, &x, 1, &g);
    assert_false(ad_ok(g));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
}

static void assert_tangent_does_not_fit(fixture *f, ad_var dx) {
    const ad_var x = ad_fill(f->tape, ad_shape1(6), 3);
    assert_false(ad_ok(ad_jvp(ad_square(x), x, dx)));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
}

static ad_var per_row(fixture *f, ad_shape shape) {
    return ad_to_rows(ad_fill(f->tape, shape, 1), f->rows);
}

static void a_cotangent_of_more_elements(void **state) {
    fixture *f = *state;
    assert_cotangent_does_not_fit(f, ad_fill(f->tape, ad_shape2(2, 6), 1));
}
static void a_cotangent_of_fewer_elements(void **state) {
    fixture *f = *state;
    assert_cotangent_does_not_fit(f, ad_number(f->tape, 1));
}
static void a_cotangent_of_another_shape(void **state) {
    fixture *f = *state;
    assert_cotangent_does_not_fit(f, ad_fill(f->tape, ad_shape2(3, 2), 1));
}
static void a_cotangent_per_row_of_a_shared_value(void **state) {
    fixture *f = *state;
    assert_cotangent_does_not_fit(f, per_row(f, ad_shape1(6)));
}
static void a_tangent_of_more_elements(void **state) {
    fixture *f = *state;
    assert_tangent_does_not_fit(f, ad_fill(f->tape, ad_shape2(2, 6), 1));
}
static void a_tangent_of_fewer_elements(void **state) {
    fixture *f = *state;
    assert_tangent_does_not_fit(f, ad_number(f->tape, 1));
}
static void a_tangent_of_another_shape(void **state) {
    fixture *f = *state;
    assert_tangent_does_not_fit(f, ad_fill(f->tape, ad_shape2(3, 2), 1));
}
static void a_tangent_per_row_of_a_shared_value(void **state) {
    fixture *f = *state;
    assert_tangent_does_not_fit(f, per_row(f, ad_shape1(6)));
}

// The same cotangent for every row.
static void a_shared_cotangent_of_rows(void **state) {
    fixture *f = *state;
    const double c[] = {2, -3, 5};
    double got[12];
    ad_var g = AD_NONE;
    ad_vjp(ad_square(f->x), ad_constant(f->tape, ad_shape1(3), c), &f->x, 1, &g);
    ad_keep(g);
    util_run(f->tape);
    util_read(g, got, 12);
    for (int i = 0; i < 12; i++) util_assert_close(got[i], 2 * f->data[i] * c[i % 3], 1e-15);
}

// ---- no tape --------------------------------------------------------------------------------------------------------

static void no_tape_has_no_row_set(void **state) {
    (void)state;
    const ad_rows rows = ad_rows_new(NULL, "data");
    assert_null(rows.tape);
    ad_rows_set(rows, 3, 0);
    assert_int_equal(ad_rows_count(rows), 0);
}
static void no_tape_does_not_train(void **state) {
    (void)state;
    ad_set_training(NULL, true);
    assert_false(ad_is_training(NULL));
}
static void no_tape_is_reset(void **state) {
    (void)state;
    ad_tape_reset(NULL);
}
static void no_tape_has_some_type(void **state) {
    (void)state;
    const ad_type type = ad_tape_type(NULL);
    assert_true(type == AD_F32 || type == AD_F64);
}
static void no_tape_has_no_engine(void **state) {
    (void)state;
    assert_null(ad_tape_engine(NULL));
}
static void no_tape_is_not_explained(void **state) {
    (void)state;
    assert_null(ad_explain(NULL));
}
static void no_tape_takes_nothing_back(void **state) {
    (void)state;
    ad_reject(NULL);
}
static void no_tape_does_not_run(void **state) {
    (void)state;
    assert_int_not_equal(ad_run(NULL), AD_OK);
}
static void no_tape_has_no_leaves(void **state) {
    fixture *f = *state;
    const double one = 1;
    ad_scope(NULL, "flow", 3);
    ad_scope_end(NULL);
    ad_tape_fail(NULL, AD_EARG, "no tape");
    assert_false(ad_ok(ad_number(NULL, 1)));
    assert_false(ad_ok(ad_scalar(NULL, &one)));
    assert_false(ad_ok(ad_constant(NULL, ad_shape0(), &one)));
    assert_false(ad_ok(ad_shared_input(NULL, ad_shape1(3), &f->source)));
    assert_false(ad_ok(ad_input(ad_rows_new(NULL, "data"), ad_shape1(3), &f->source)));
}

// ---- inert handles ------------------------------------------------------------------------------------------------

static void never(void *arg, ad_var s, ad_var *next, ad_var *done) {
    (void)arg;
    *next = s;
    *done = ad_sum(s);
}

static ad_var itself(void *arg, ad_var y) {
    (void)arg;
    return y;
}

// Every public op on v, as either operand of those that have two.
static void call_unary(ad_var v) {
    ad_var (*const ops[])(ad_var) = {ad_neg,      ad_square,    ad_sqrt,          ad_reciprocal, ad_exp, ad_log,
                                     ad_tanh,     ad_sigmoid,   ad_softplus,      ad_relu,       ad_sum, ad_mean,
                                     ad_sum_rows, ad_mean_rows, ad_stop_gradient, ad_zeros_like, ad_keep};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) assert_false(ad_ok(ops[i](v)));
    assert_false(ad_ok(ad_scale(v, 2)));
    assert_false(ad_ok(ad_offset(v, 2)));
    assert_false(ad_ok(ad_sum_axis(v, 0)));
    assert_false(ad_ok(ad_mean_axis(v, 0)));
}

static void call_binary(ad_var v, ad_var w) {
    ad_var (*const ops[])(ad_var, ad_var) = {
        ad_add,       ad_sub,           ad_mul,        ad_div,   ad_greater,
        ad_less,      ad_greater_equal, ad_less_equal, ad_equal, ad_linear_transposed,
        ad_outer_rows};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        assert_false(ad_ok(ops[i](v, w)));
        assert_false(ad_ok(ops[i](w, v)));
    }
    assert_false(ad_ok(ad_where(v, w, w)));
    assert_false(ad_ok(ad_where(w, v, w)));
    assert_false(ad_ok(ad_where(w, w, v)));
    assert_false(ad_ok(ad_linear(v, w, w)));
    assert_false(ad_ok(ad_linear(w, v, AD_NONE)));
}

static void call_rearranging(ad_var v, ad_rows rows) {
    const int order[] = {0};
    const int64_t index[] = {0};
    assert_false(ad_ok(ad_reshape(v, ad_shape1(3))));
    assert_false(ad_ok(ad_slice(v, 0, 0, 1)));
    assert_false(ad_ok(ad_concat(&v, 1, 0)));
    assert_false(ad_ok(ad_transpose(v, order)));
    assert_false(ad_ok(ad_take(v, 0, index, 1)));
    assert_false(ad_ok(ad_expand(v, ad_shape1(3))));
    assert_false(ad_ok(ad_to_rows(v, rows)));
}

static void call_the_rest(ad_var v, ad_var w) {
    ad_var g = w;
    ad_grad(v, &w, 1, &g);
    assert_false(ad_ok(g));
    g = w;
    ad_vjp(v, v, &w, 1, &g);
    assert_false(ad_ok(g));
    assert_false(ad_ok(ad_jvp(v, w, w)));
    assert_false(ad_ok(ad_jvp(w, v, w)));
    assert_false(ad_ok(ad_loop(v, 3, never, NULL).state));
    assert_false(ad_ok(ad_implicit(v, itself, NULL)));
}

static void call_readers(ad_var v) {
    double out[12];
    assert_int_not_equal(ad_read(v, out, 12), AD_OK);
    assert_null(ad_data(v));
    assert_true(isnan(ad_value(v)));
    assert_int_not_equal(ad_backward(v), AD_OK);
    assert_int_not_equal(ad_backward_add(v), AD_OK);
    char *text = ad_show(v, 3);
    assert_non_null(text);
    free(text);
    ad_program *program = ad_compile(&v, 1, NULL);
    assert_null(program);
}

static void assert_queries_are_safe(ad_var v) {
    assert_false(ad_ok(v));
    assert_false(ad_has_rows(v));
    assert_int_equal(ad_shape_of(v).rank, 0);
    assert_int_equal(ad_dim(v, 0), 0);
    assert_null(ad_rows_of(v).tape);
}

static void call_everything(ad_var v, ad_var w, ad_rows rows) {
    assert_queries_are_safe(v);
    call_unary(v);
    call_binary(v, w);
    call_rearranging(v, rows);
    call_the_rest(v, w);
    call_readers(v);
}

static void an_inert_handle_is_harmless(void **state) {
    fixture *f = *state;
    const ad_var inert = ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    call_everything(inert, f->x, f->rows);
    assert_error(f->tape, AD_ESHAPE, "add");
}

static void no_handle_is_harmless(void **state) {
    fixture *f = *state;
    call_everything(AD_NONE, f->x, f->rows);
}

static void a_stale_handle_is_harmless(void **state) {
    fixture *f = *state;
    ad_tape_reset(f->tape);
    const ad_rows rows = util_rows(f->tape, "data", 4);
    const ad_var fresh = ad_input(rows, ad_shape1(3), &f->source);
    call_everything(f->x, fresh, rows);
    assert_int_equal(ad_tape_status(f->tape), AD_ESTALE);
}

static void leaves_of_a_failed_tape_are_inert(void **state) {
    fixture *f = *state;
    const double number = 1;
    const ad_random random = {1, 0};
    ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    assert_false(ad_ok(ad_number(f->tape, 1)));
    assert_false(ad_ok(ad_scalar(f->tape, &number)));
    assert_false(ad_ok(ad_constant(f->tape, ad_shape0(), &number)));
    assert_false(ad_ok(ad_input(f->rows, ad_shape1(3), &f->source)));
    assert_false(ad_ok(ad_shared_input(f->tape, ad_shape1(3), &f->source)));
    assert_false(ad_ok(ad_normal(f->rows, ad_shape1(3), &random, 0)));
    assert_false(ad_ok(ad_uniform(f->rows, ad_shape1(3), &random, 0)));
    assert_false(ad_ok(ad_row_count(f->rows)));
}

static void explaining_a_failed_tape_gives_null(void **state) {
    fixture *f = *state;
    ad_add(f->x, ad_fill(f->tape, ad_shape1(4), 1));
    assert_null(ad_explain(f->tape));
}

// ---- identical nodes ----------------------------------------------------------------------------------------------

static void the_same_op_of_the_same_operands_is_one_node(void **state) {
    fixture *f = *state;
    const ad_var y = ad_exp(f->x);
    assert_int_equal(ad_add(f->x, y).id, ad_add(f->x, y).id);
    assert_int_equal(ad_slice(y, 0, 1, 2).id, ad_slice(y, 0, 1, 2).id);
    assert_int_equal(ad_number(f->tape, 0.5).id, ad_number(f->tape, 0.5).id);
}

static void another_op_or_operand_is_another_node(void **state) {
    fixture *f = *state;
    const ad_var y = ad_exp(f->x);
    assert_int_not_equal(ad_sub(f->x, y).id, ad_sub(y, f->x).id);
    assert_int_not_equal(ad_add(f->x, y).id, ad_mul(f->x, y).id);
}

static void another_attribute_is_another_node(void **state) {
    fixture *f = *state;
    assert_int_not_equal(ad_scale(f->x, 2).id, ad_scale(f->x, 3).id);
    assert_int_not_equal(ad_slice(f->x, 0, 0, 2).id, ad_slice(f->x, 0, 1, 2).id);
    assert_int_not_equal(ad_reshape(f->x, ad_shape2(1, 3)).id, ad_reshape(f->x, ad_shape2(3, 1)).id);
    assert_int_not_equal(ad_number(f->tape, 0.0).id, ad_number(f->tape, -0.0).id);
}

static void leaves_are_told_apart_by_what_they_read(void **state) {
    fixture *f = *state;
    ad_param *a = util_param("a", AD_F64, ad_shape1(3), 1), *b = util_param("b", AD_F64, ad_shape1(3), 1);
    const ad_source other = f->source;
    assert_int_equal(ad_use(f->tape, a).id, ad_use(f->tape, a).id);
    assert_int_not_equal(ad_use(f->tape, a).id, ad_use(f->tape, b).id);
    assert_int_equal(ad_input(f->rows, ad_shape1(3), &f->source).id, f->x.id);
    assert_int_not_equal(ad_input(f->rows, ad_shape1(3), &other).id, f->x.id);
    ad_param_free(a);
    ad_param_free(b);
}

static void random_streams_are_told_apart(void **state) {
    fixture *f = *state;
    const ad_random random = {1, 0};
    const ad_shape shape = ad_shape1(3);
    assert_int_equal(ad_normal(f->rows, shape, &random, 1).id, ad_normal(f->rows, shape, &random, 1).id);
    assert_int_not_equal(ad_normal(f->rows, shape, &random, 1).id, ad_normal(f->rows, shape, &random, 2).id);
    assert_int_not_equal(ad_normal(f->rows, shape, &random, 1).id, ad_uniform(f->rows, shape, &random, 1).id);
}

static void many_nodes_are_found_again(void **state) {
    fixture *f = *state;
    static uint32_t ids[5000];
    for (int i = 0; i < 5000; i++) ids[i] = ad_scale(f->x, i).id;
    for (int i = 0; i < 5000; i++) assert_int_equal(ad_scale(f->x, i).id, ids[i]);
    util_assert_ok(f->tape);
}

static void the_same_name_is_the_same_row_set(void **state) {
    fixture *f = *state;
    char name[] = "data";
    assert_int_equal(ad_rows_new(f->tape, name).id, f->rows.id);
    assert_int_not_equal(ad_rows_new(f->tape, "prior").id, f->rows.id);
    assert_int_equal(ad_rows_count(f->rows), 4);
}

// ---- queries and both types ---------------------------------------------------------------------------------------

static void shapes_are_known_while_recording(void **state) {
    fixture *f = *state;
    const ad_var y = ad_add(f->x, ad_fill(f->tape, ad_shape2(2, 1), 1));
    assert_true(ad_shape_equal(ad_shape_of(y), ad_shape2(2, 3)));
    assert_true(ad_has_rows(y));
    assert_int_equal(ad_dim(y, -1), 3);
    assert_int_equal(ad_dim(y, 2), 0);
    assert_false(ad_has_rows(ad_sum_rows(y)));
    assert_int_equal(ad_shape_of(ad_sum(y)).rank, 0);
}

static double loss_of(ad_engine *engine, ad_type type, const ad_source *source, ad_param *w) {
    ad_tape *tape = ad_tape_new(engine, type);
    const ad_var x = ad_input(util_rows(tape, "data", 4), ad_shape1(3), source);
    const ad_var y = ad_tanh(ad_linear(ad_use(tape, w), x, AD_NONE));
    const double value = ad_value(ad_mean_rows(ad_sum(ad_exp(y))));
    util_assert_ok(tape);
    ad_tape_free(tape);
    return value;
}

static void one_program_runs_in_both_types(void **state) {
    fixture *f = *state;
    ad_param *w = util_param("w", AD_F64, ad_shape2(5, 3), 7);
    double expected = 0;
    for (int r = 0; r < 4; r++)
        for (int o = 0; o < 5; o++) {
            double y = 0;
            for (int i = 0; i < 3; i++) y += ad_param_get(w, o * 3 + i) * f->data[r * 3 + i];
            expected += exp(tanh(y)) / 4;
        }
    util_assert_close(loss_of(f->engine, AD_F64, &f->source, w), expected, 1e-13);
    util_assert_close(loss_of(f->engine, AD_F32, &f->source, w), expected, 1e-5);
    ad_param_free(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(two_tapes_do_not_mix),
        TEST(two_row_sets_do_not_mix),
        TEST(a_handle_is_stale_after_reset),
        TEST(a_row_set_is_stale_after_reset),
        TEST(a_stale_handle_is_not_read),
        TEST(an_unkept_value_names_ad_keep),
        TEST(unkept_data_is_null),
        TEST(too_little_room_is_an_error),
        TEST(a_non_finite_parameter_is_named),
        TEST(a_shape_error_says_op_shapes_and_place),
        TEST(an_ended_scope_is_not_named),
        TEST(the_first_error_sticks),
        TEST(ones_own_error_sticks_with_its_place),
        TEST(reset_clears_the_error),
        TEST(more_rows_than_the_source_has),
        TEST(an_index_beyond_the_source),
        TEST(the_number_of_rows_must_be_set),
        TEST(no_rows_are_too_few),
        TEST(reading_before_running_is_an_error),
        TEST(ending_no_scope_is_an_error),
        TEST(an_engine_wants_a_number_of_threads),
        TEST(backward_wants_a_shared_scalar),
        TEST(value_wants_a_shared_scalar),
        TEST(a_bad_shape_is_an_error),
        TEST(a_product_of_dimensions_that_overflows),
        TEST(a_next_state_of_another_tape),
        TEST(a_done_of_another_tape),
        TEST(a_residual_of_another_tape),
        TEST(a_cotangent_of_another_tape),
        TEST(a_tangent_of_another_tape),
        TEST(a_cotangent_of_more_elements),
        TEST(a_cotangent_of_fewer_elements),
        TEST(a_cotangent_of_another_shape),
        TEST(a_cotangent_per_row_of_a_shared_value),
        TEST(a_tangent_of_more_elements),
        TEST(a_tangent_of_fewer_elements),
        TEST(a_tangent_of_another_shape),
        TEST(a_tangent_per_row_of_a_shared_value),
        TEST(a_shared_cotangent_of_rows),
        TEST(no_tape_has_no_row_set),
        TEST(no_tape_does_not_train),
        TEST(no_tape_is_reset),
        TEST(no_tape_has_some_type),
        TEST(no_tape_has_no_engine),
        TEST(no_tape_is_not_explained),
        TEST(no_tape_takes_nothing_back),
        TEST(no_tape_does_not_run),
        TEST(no_tape_has_no_leaves),
        TEST(an_inert_handle_is_harmless),
        TEST(no_handle_is_harmless),
        TEST(a_stale_handle_is_harmless),
        TEST(leaves_of_a_failed_tape_are_inert),
        TEST(explaining_a_failed_tape_gives_null),
        TEST(the_same_op_of_the_same_operands_is_one_node),
        TEST(another_op_or_operand_is_another_node),
        TEST(another_attribute_is_another_node),
        TEST(leaves_are_told_apart_by_what_they_read),
        TEST(random_streams_are_told_apart),
        TEST(many_nodes_are_found_again),
        TEST(the_same_name_is_the_same_row_set),
        TEST(shapes_are_known_while_recording),
        TEST(one_program_runs_in_both_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
