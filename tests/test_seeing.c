// test_seeing.c -- what ad_explain, ad_show, AD_PROFILE and AD_TRACE_NAN say.
#include "util.h"

#include "op.h"

enum { B = 70, D = 3 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[B * D];
    ad_source source;
    ad_param *W;
    char text[1 << 16];  // all messages so far
} fixture;

static void collect(void *arg, const char *text) {
    fixture *f = arg;
    const size_t used = strlen(f->text);
    snprintf(f->text + used, sizeof f->text - used, "%s\n", text);
}

static void new_engine(fixture *f) {
    const ad_engine_options options = {.threads = 2, .message = collect, .message_arg = f};
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    assert_non_null(f->tape);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    unsetenv("AD_PROFILE");
    unsetenv("AD_TRACE_NAN");
    util_fill(f->data, B * D, 1, 0.1, 2);
    f->source = util_source(f->data, B);
    f->W = util_param("W", AD_F64, ad_shape2(D, D), 2);
    new_engine(f);
    *state = f;
    return 0;
}

static void free_engine(fixture *f) {
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
}

static int tear_down(void **state) {
    fixture *f = *state;
    free_engine(f);
    ad_param_free(f->W);
    free(f);
    return 0;
}

// An engine that sees `name` in its environment.
static void engine_with(fixture *f, const char *name) {
    free_engine(f);
    setenv(name, "1", 1);
    new_engine(f);
    unsetenv(name);
}

static ad_var input(fixture *f) {
    return ad_input(util_rows(f->tape, "data", B), ad_shape1(D), &f->source);
}

// A layer, then an op that needs the batch's mean: two stages, the layer's result stored between them.
static ad_var two_stages(fixture *f) {
    ad_scope(f->tape, "flow", 3);
    ad_scope(f->tape, "mlp", -1);
    const ad_var h = ad_tanh(ad_linear(ad_use(f->tape, f->W), ad_log(input(f)), AD_NONE));
    ad_scope_end(f->tape);
    ad_scope_end(f->tape);
    const ad_var y = ad_linear(ad_use(f->tape, f->W), h, AD_NONE);
    return ad_keep(ad_sum_rows(ad_exp(ad_sub(y, ad_mean_rows(y)))));
}

// ---- ad_explain ---------------------------------------------------------------------------------------------------

static void assert_explained(fixture *f, const char *part) {
    two_stages(f);
    char *text = ad_explain(f->tape);
    if (!text) fail_msg("%s", ad_tape_message(f->tape));
    util_assert_contains(text, part);
    free(text);
}

static void explain_lists_stages(void **state) {
    assert_explained(*state, "row stage");
}
static void explain_lists_ops(void **state) {
    assert_explained(*state, "linear");
}
static void explain_gives_places(void **state) {
    assert_explained(*state, "flow[3]/mlp");
}
static void explain_counts_flops(void **state) {
    assert_explained(*state, "flop");
}
static void explain_counts_bytes(void **state) {
    assert_explained(*state, "bytes");
}
static void explain_lists_what_is_stored(void **state) {
    assert_explained(*state, "stored");
}

static void explaining_changes_nothing(void **state) {
    fixture *f = *state;
    double got[D];
    const ad_var y = two_stages(f);
    free(ad_explain(f->tape));
    util_assert_ok(f->tape);
    util_run(f->tape);
    util_read(y, got, D);
    for (int i = 0; i < D; i++) assert_true(isfinite(got[i]));
}

// The weights are the only other operand: there is no bias to look at.
static void explain_of_a_kept_layer_without_bias(void **state) {
    fixture *f = *state;
    ad_keep(ad_linear(ad_use(f->tape, f->W), input(f), AD_NONE));
    char *text = ad_explain(f->tape);
    util_assert_contains(text, "linear");
    free(text);
}

// ---- ad_show ------------------------------------------------------------------------------------------------------

static void assert_shown(ad_var v, int n, const char *part) {
    char *text = ad_show(v, n);
    util_assert_contains(text, part);
    free(text);
}

static void show_gives_the_first_rows(void **state) {
    fixture *f = *state;
    for (int i = 0; i < B * D; i++) f->data[i] = 100 + i;
    const ad_var y = ad_scale(input(f), 2);
    char *text = ad_show(y, 2);
    util_assert_contains(text, "200");
    util_assert_contains(text, "210");  // row 1, element 2
    assert_null(strstr(text, "212"));   // row 2
    free(text);
}

static void show_gives_shared_values(void **state) {
    fixture *f = *state;
    const double values[] = {1.25, -7.5, 3};
    assert_shown(ad_scale(ad_constant(f->tape, ad_shape1(3), values), 2), 3, "-15");
}

static void show_of_more_rows_than_there_are(void **state) {
    fixture *f = *state;
    f->data[B * D - 1] = 321;
    assert_shown(ad_scale(input(f), 2), 1000, "642");
}

static void show_says_what_is_wrong(void **state) {
    fixture *f = *state;
    ad_param_set(f->W, 0, NAN);
    assert_shown(ad_scale(ad_use(f->tape, f->W), 2), 3, "W");
}

static void show_of_nothing_is_text(void **state) {
    (void)state;
    char *text = ad_show(AD_NONE, 3);
    assert_non_null(text);
    free(text);
}

static void showing_leaves_the_tape_as_it_was(void **state) {
    fixture *f = *state;
    double got[B * D];
    const ad_var x = ad_exp(input(f));
    free(ad_show(x, 2));
    util_assert_ok(f->tape);
    ad_keep(ad_neg(x));
    util_run(f->tape);
    assert_int_equal(ad_read(x, got, B * D), AD_EUNKEPT);
}

static void a_show_that_fails_leaves_the_tape_as_it_was(void **state) {
    fixture *f = *state;
    ad_param_set(f->W, 0, NAN);
    free(ad_show(ad_scale(ad_use(f->tape, f->W), 2), 3));
    assert_int_equal(ad_tape_status(f->tape), AD_OK);
}

static void showing_between_run_and_read(void **state) {
    fixture *f = *state;
    double got[B * D];
    const ad_var x = input(f), y = ad_keep(ad_scale(x, 2));
    util_run(f->tape);
    free(ad_show(x, 2));
    util_read(y, got, B * D);
    for (int i = 0; i < B * D; i++) util_assert_close(got[i], 2 * f->data[i], 0);
}

static void show_looks_at_no_parameter_that_it_does_not_need(void **state) {
    fixture *f = *state;
    ad_param_set(f->W, 0, NAN);
    ad_exp(ad_use(f->tape, f->W));
    assert_shown(ad_number(f->tape, 42), 1, "42");
}

static void show_wants_no_size_of_rows_that_it_does_not_need(void **state) {
    fixture *f = *state;
    ad_row_count(ad_rows_new(f->tape, "unset"));
    assert_shown(ad_number(f->tape, 42), 1, "42");
}

// ---- AD_PROFILE ---------------------------------------------------------------------------------------------------

static void profile_names_ops_and_places(void **state) {
    fixture *f = *state;
    engine_with(f, "AD_PROFILE");
    two_stages(f);
    util_run(f->tape);
    free_engine(f);  // a report may wait for the end
    util_assert_contains(f->text, "linear");
    util_assert_contains(f->text, "flow[3]");
    new_engine(f);
}

static void a_profiled_run_gives_the_same_values(void **state) {
    fixture *f = *state;
    double plain[D], profiled[D];
    ad_var y = two_stages(f);
    util_run(f->tape);
    util_read(y, plain, D);
    engine_with(f, "AD_PROFILE");
    y = two_stages(f);
    util_run(f->tape);
    util_read(y, profiled, D);
    assert_memory_equal(plain, profiled, sizeof plain);
}

static void without_it_there_is_no_report(void **state) {
    fixture *f = *state;
    two_stages(f);
    util_run(f->tape);
    assert_string_equal(f->text, "");
}

// ---- AD_TRACE_NAN -------------------------------------------------------------------------------------------------

static void trace_a_negative_logarithm(fixture *f) {
    engine_with(f, "AD_TRACE_NAN");
    f->data[67 * D + 1] = -1;  // in the second block; the first row that is not finite
    f->data[69 * D + 2] = -1;
    two_stages(f);
    ad_run(f->tape);
}

static void trace_names_the_op(void **state) {
    fixture *f = *state;
    trace_a_negative_logarithm(f);
    util_assert_contains(f->text, "log");
}

static void trace_names_the_place(void **state) {
    fixture *f = *state;
    trace_a_negative_logarithm(f);
    util_assert_contains(f->text, "flow[3]/mlp");
}

static void trace_names_the_row(void **state) {
    fixture *f = *state;
    trace_a_negative_logarithm(f);
    util_assert_contains(f->text, "row 67");
}

static void trace_is_silent_on_finite_values(void **state) {
    fixture *f = *state;
    engine_with(f, "AD_TRACE_NAN");
    two_stages(f);
    util_run(f->tape);
    assert_string_equal(f->text, "");
}

static void trace_sees_gradients(void **state) {
    fixture *f = *state;
    engine_with(f, "AD_TRACE_NAN");
    for (int i = 0; i < D; i++) f->data[5 * D + i] = 0;  // sqrt(0) is fine, its slope is not
    const ad_var x = input(f);
    ad_var g = AD_NONE;
    ad_scope(f->tape, "layer", 2);
    const ad_var y = ad_sum(ad_sqrt(x));
    ad_scope_end(f->tape);
    ad_grad(y, &x, 1, &g);
    ad_keep(g);
    ad_run(f->tape);
    util_assert_contains(f->text, "row 5");
    util_assert_contains(f->text, "layer[2]");
}

// The logarithms of all rows, kept.
static void record_log(ad_tape *tape, const ad_source *source) {
    ad_keep(ad_log(ad_input(util_rows(tape, "data", B), ad_shape1(D), source)));
}

// Two tapes share a plan, the first one's ops are in a scope. Traces the second, when the first is gone.
static void trace_a_second_tape(fixture *f, const char *scope) {
    engine_with(f, "AD_TRACE_NAN");
    ad_tape *second = ad_tape_new(f->engine, AD_F64);
    ad_scope(f->tape, "flow", 3);
    record_log(f->tape, &f->source);
    ad_scope_end(f->tape);
    util_run(f->tape);
    ad_tape_free(f->tape);
    f->tape = second;
    if (scope) ad_scope(second, scope, 4);
    record_log(second, &f->source);
    if (scope) ad_scope_end(second);
    f->data[5 * D] = -1;
    assert_int_equal(ad_run(second), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(second), "log");
}

static void trace_of_a_tape_without_scopes_gives_no_place(void **state) {
    fixture *f = *state;
    trace_a_second_tape(f, NULL);
    assert_null(strstr(ad_tape_message(f->tape), "flow"));
}

static void trace_gives_the_place_of_the_tape_that_runs(void **state) {
    fixture *f = *state;
    trace_a_second_tape(f, "prior");
    util_assert_contains(ad_tape_message(f->tape), "prior[4]");
}

// The logarithm, slowly: a thread that starts behind the first one overtakes it.
static void slow_log_lanes(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t j = 0; j < n; j++) {
        double v = ((const double *)x[0])[j];
        for (int i = 0; i < 50; i++) v = exp(log(v));
        ((double *)y)[j] = log(v);
    }
}
static const ad_op slow_log_op = {.name = "slow_log", .flags = AD_OP_ELEMENTWISE, .lanes = {NULL, slow_log_lanes}};

// Long enough to be split among threads: they must not be faster in finding one further behind.
static void trace_names_the_first_element(void **state) {
    fixture *f = *state;
    enum { LENGTH = 50000, FIRST = 16383 };
    engine_with(f, "AD_TRACE_NAN");
    ad_param *p = ad_param_new("p", AD_F64, ad_shape1(LENGTH), NULL);
    for (int i = 0; i < LENGTH; i++) ad_param_set(p, i, i >= FIRST ? -1 : 1);
    const ad_var x = ad_use(f->tape, p);
    ad_keep(ad_sum(ad_apply(&slow_log_op, &x, 1, NULL, 0)));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "element 16383");
    ad_param_free(p);
}

// Every addend is finite, in f32 too, but not their total.
static void assert_total_is_traced(fixture *f, double x, ad_var (*total)(ad_var), const char *op) {
    engine_with(f, "AD_TRACE_NAN");
    ad_tape *tape = ad_tape_new(f->engine, AD_F32);
    for (int i = 0; i < B * D; i++) f->data[i] = x;
    ad_keep(total(ad_input(util_rows(tape, "data", B), ad_shape1(D), &f->source)));
    assert_int_equal(ad_run(tape), AD_ENONFINITE);
    util_assert_contains(f->text, op);
    ad_tape_free(tape);
}

static ad_var squares(ad_var x) {
    return ad_outer_rows(x, x);
}
static void trace_sees_totals_of_rows(void **state) {
    assert_total_is_traced(*state, 1e38, ad_sum_rows, "sum_rows");
}
static void trace_sees_totals_of_products(void **state) {
    assert_total_is_traced(*state, 1.8e19, squares, "outer_rows");
}

// y is about 1e10 and so is its cotangent, but not the cotangent times x.
static void trace_sees_gradients_of_weights(void **state) {
    fixture *f = *state;
    engine_with(f, "AD_TRACE_NAN");
    for (int i = 0; i < B * D; i++) f->data[i] = 1e300;
    for (int i = 0; i < D * D; i++) ad_param_set(f->W, i, 1e-290);
    const ad_var y = ad_linear(ad_use(f->tape, f->W), input(f), AD_NONE);
    assert_int_equal(ad_backward(ad_mean_rows(ad_sum(ad_square(y)))), AD_ENONFINITE);
    util_assert_contains(f->text, "outer_rows");
}

static void the_kernels_in_use_have_a_name(void **state) {
    (void)state;
    const char *name = ad_cpu_name();
    assert_true(strcmp(name, "plain") == 0 || strcmp(name, "avx2") == 0 || strcmp(name, "avx512") == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(explain_lists_stages),
        TEST(explain_lists_ops),
        TEST(explain_gives_places),
        TEST(explain_counts_flops),
        TEST(explain_counts_bytes),
        TEST(explain_lists_what_is_stored),
        TEST(explaining_changes_nothing),
        TEST(explain_of_a_kept_layer_without_bias),
        TEST(show_gives_the_first_rows),
        TEST(show_gives_shared_values),
        TEST(show_of_more_rows_than_there_are),
        TEST(show_says_what_is_wrong),
        TEST(show_of_nothing_is_text),
        TEST(show_looks_at_no_parameter_that_it_does_not_need),
        TEST(show_wants_no_size_of_rows_that_it_does_not_need),
        TEST(showing_leaves_the_tape_as_it_was),
        TEST(a_show_that_fails_leaves_the_tape_as_it_was),
        TEST(showing_between_run_and_read),
        TEST(profile_names_ops_and_places),
        TEST(a_profiled_run_gives_the_same_values),
        TEST(without_it_there_is_no_report),
        TEST(trace_names_the_op),
        TEST(trace_names_the_place),
        TEST(trace_names_the_row),
        TEST(trace_is_silent_on_finite_values),
        TEST(trace_sees_gradients),
        TEST(trace_of_a_tape_without_scopes_gives_no_place),
        TEST(trace_gives_the_place_of_the_tape_that_runs),
        TEST(trace_names_the_first_element),
        TEST(trace_sees_totals_of_rows),
        TEST(trace_sees_totals_of_products),
        TEST(trace_sees_gradients_of_weights),
        TEST(the_kernels_in_use_have_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
