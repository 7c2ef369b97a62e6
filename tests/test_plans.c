// test_plans.c -- stages, one plan for all batch sizes, states, programs (white-box: counts plans by internal.h).
#include "util.h"

#include "internal.h"

enum { D = 3, MOST = 1000 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[MOST * D];
    ad_source source;
    ad_param *W, *b;  // [D,D], [D]
    char warning[1000];
    int warnings;
} fixture;

static void warn(void *arg, const char *text) {
    fixture *f = arg;
    f->warnings++;
    snprintf(f->warning, sizeof f->warning, "%s", text);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options options = {.threads = 1, .message = warn, .message_arg = f};
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, MOST * D, 1, -1, 1);
    f->source = util_source(f->data, MOST);
    f->W = util_param("W", AD_F64, ad_shape2(D, D), 2);
    f->b = util_param("b", AD_F64, ad_shape1(D), 3);
    *state = f;
    return 0;
}

static void free_tape_and_engine(fixture *f) {
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
}

static int tear_down(void **state) {
    fixture *f = *state;
    free_tape_and_engine(f);
    ad_param_free(f->W);
    ad_param_free(f->b);
    free(f);
    return 0;
}

static ad_var input(fixture *f, const char *name, int64_t count) {
    return ad_input(util_rows(f->tape, name, count), ad_shape1(D), &f->source);
}

static ad_var gradient(ad_var y, ad_var x) {
    ad_var gx = AD_NONE;
    ad_grad(y, &x, 1, &gx);
    return gx;
}

static int row_stages(fixture *f) {
    char *text = ad_explain(f->tape);
    if (!text) fail_msg("%s", ad_tape_message(f->tape));
    int n = 0;
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        n += strncmp(line, "row stage", strlen("row stage")) == 0;
    free(text);
    return n;
}

// ---- stages -------------------------------------------------------------------------------------------------------

static ad_var standardised(ad_var x) {
    const ad_var centred = ad_sub(x, ad_mean_rows(x));
    return ad_div(centred, ad_sqrt(ad_mean_rows(ad_square(centred))));
}

static void moments(const fixture *f, int B, double mean[D], double sd[D]) {
    for (int i = 0; i < D; i++) {
        mean[i] = sd[i] = 0;
        for (int r = 0; r < B; r++) mean[i] += f->data[r * D + i] / B;
        for (int r = 0; r < B; r++) sd[i] += pow(f->data[r * D + i] - mean[i], 2) / B;
        sd[i] = sqrt(sd[i]);
    }
}

static void standardising_by_the_batch(void **state) {
    fixture *f = *state;
    enum { B = 100 };
    double got[B * D], mean[D], sd[D];
    const ad_var z = ad_keep(standardised(input(f, "data", B)));
    util_run(f->tape);
    util_read(z, got, B * D);
    moments(f, B, mean, sd);
    for (int j = 0; j < B * D; j++) util_assert_close(got[j], (f->data[j] - mean[j % D]) / sd[j % D], 1e-12);
}

// L = sum c z^3, g = dL/dz = 3 c z^2: dL/dx = (g - mean(g) - z mean(g z)) / sd.
static void differentiating_through_the_batch(void **state) {
    fixture *f = *state;
    enum { B = 100 };
    double got[B * D], mean[D], sd[D];
    const ad_var x = input(f, "data", B);
    const ad_var z = standardised(x);
    const ad_var g = ad_keep(gradient(ad_sum_rows(ad_sum(ad_mul(z, ad_square(z)))), x));
    util_run(f->tape);
    util_read(g, got, B * D);
    moments(f, B, mean, sd);
    for (int i = 0; i < D; i++) {
        double mean_g = 0, mean_gz = 0;
        for (int r = 0; r < B; r++) {
            const double v = (f->data[r * D + i] - mean[i]) / sd[i];
            mean_g += 3 * v * v / B;
            mean_gz += 3 * v * v * v / B;
        }
        for (int r = 0; r < B; r++) {
            const double v = (f->data[r * D + i] - mean[i]) / sd[i];
            util_assert_close(got[r * D + i], (3 * v * v - mean_g - v * mean_gz) / sd[i], 1e-11);
        }
    }
}

static void the_batch_statistics_are_a_stage_of_their_own(void **state) {
    fixture *f = *state;
    ad_keep(ad_sum_rows(ad_exp(ad_sub(input(f, "data", 100), ad_mean_rows(input(f, "data", 100))))));
    assert_int_equal(row_stages(f), 2);
}

static ad_var standardised_gradient(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[1], standardised(x[0]));
}
static void standardising_to_second_order(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {{.rows = true, .shape = {1, {D}}}, {.shape = {1, {D}}}};
    ad_error error = {AD_OK, ""};
    const ad_gradcheck_options rough = {.tolerance1 = 1e-6, .tolerance2 = 1e-5};  // three rows may lie close together
    if (ad_gradcheck(standardised_gradient, NULL, in, 2, &rough, &error) != AD_OK) fail_msg("%s", error.message);
}

static void a_training_step_is_one_stage(void **state) {
    fixture *f = *state;
    const ad_var y = ad_tanh(ad_linear(ad_use(f->tape, f->W), input(f, "data", 100), ad_use(f->tape, f->b)));
    ad_keep(gradient(ad_mean_rows(ad_sum(ad_square(y))), ad_use(f->tape, f->W)));
    assert_int_equal(row_stages(f), 1);
}

static void a_hessian_vector_product_is_one_stage(void **state) {
    fixture *f = *state;
    const ad_var W = ad_use(f->tape, f->W);
    const ad_var y = ad_tanh(ad_linear(W, input(f, "data", 100), ad_use(f->tape, f->b)));
    const ad_var g = gradient(ad_mean_rows(ad_sum(ad_square(y))), W);
    ad_keep(gradient(ad_sum(ad_mul(g, ad_fill(f->tape, ad_shape2(D, D), 0.5))), W));
    assert_int_equal(row_stages(f), 1);
}

// Random numbers that both stages need are the same in both: standardised noise has mean 0 and variance 1.
static void noise_is_the_same_in_every_stage(void **state) {
    fixture *f = *state;
    enum { B = 150 };
    const ad_random random = {42, 7};
    const ad_var z = standardised(ad_normal(util_rows(f->tape, "noise", B), ad_shape1(D), &random, 1));
    const ad_var mean = ad_keep(ad_mean_rows(z)), square = ad_keep(ad_mean_rows(ad_square(z)));
    double got[D];
    util_run(f->tape);
    util_read(mean, got, D);
    for (int i = 0; i < D; i++) util_assert_close(got[i], 0, 1e-13);
    util_read(square, got, D);
    for (int i = 0; i < D; i++) util_assert_close(got[i], 1, 1e-13);
}

// A value too dear to compute again crosses into the second stage.
static void values_cross_stages(void **state) {
    fixture *f = *state;
    enum { B = 130 };
    const ad_var x = input(f, "data", B);
    const ad_var y = ad_linear(ad_use(f->tape, f->W), ad_tanh(x), ad_use(f->tape, f->b));
    const ad_var z = ad_keep(ad_sub(y, ad_mean_rows(y)));
    double got[B * D], mean[D] = {0}, exact[B * D];
    util_run(f->tape);
    util_read(z, got, B * D);
    for (int j = 0; j < B * D; j++) {
        exact[j] = ad_param_get(f->b, j % D);
        for (int i = 0; i < D; i++) exact[j] += ad_param_get(f->W, j % D * D + i) * tanh(f->data[j / D * D + i]);
        mean[j % D] += exact[j] / B;
    }
    for (int j = 0; j < B * D; j++) util_assert_close(got[j], exact[j] - mean[j % D], 1e-12);
}

// Both row sets keep a dear value for their second stages.
static void two_row_sets_cross_stages(void **state) {
    fixture *f = *state;
    static const int64_t counts[] = {130, 37};
    static const char *const names[] = {"data", "prior"};
    ad_var z[2];
    for (int k = 0; k < 2; k++) {
        const ad_var x = ad_scale(input(f, names[k], counts[k]), 1 + k);
        const ad_var y = ad_linear(ad_use(f->tape, f->W), ad_tanh(x), AD_NONE);
        z[k] = ad_keep(ad_sub(y, ad_mean_rows(y)));
    }
    util_run(f->tape);
    for (int k = 0; k < 2; k++) {
        double got[130 * D], mean[D] = {0}, exact[130 * D] = {0};
        util_read(z[k], got, counts[k] * D);
        for (int64_t j = 0; j < counts[k] * D; j++) {
            for (int i = 0; i < D; i++)
                exact[j] += ad_param_get(f->W, j % D * D + i) * tanh((1 + k) * f->data[j / D * D + i]);
            mean[j % D] += exact[j] / (double)counts[k];
        }
        for (int64_t j = 0; j < counts[k] * D; j++) util_assert_close(got[j], exact[j] - mean[j % D], 1e-12);
    }
}

// ---- one plan for every batch -------------------------------------------------------------------------------------

static const int64_t batches[] = {1, 2, 63, 64, 65, 1000};
enum { N_BATCHES = 6 };

static ad_var training_loss(fixture *f, int64_t count, ad_var *y) {
    *y = ad_keep(ad_tanh(ad_linear(ad_use(f->tape, f->W), input(f, "data", count), ad_use(f->tape, f->b))));
    return ad_mean_rows(ad_sum(ad_square(*y)));
}

static void check_training_step(fixture *f, int64_t count, ad_var y) {
    static double got[MOST * D];
    double gW[D * D] = {0};
    util_read(y, got, count * D);
    for (int64_t r = 0; r < count; r++)
        for (int o = 0; o < D; o++) {
            double v = ad_param_get(f->b, o);
            for (int i = 0; i < D; i++) v += ad_param_get(f->W, o * D + i) * f->data[r * D + i];
            v = tanh(v);
            util_assert_close(got[r * D + o], v, 1e-14);
            for (int i = 0; i < D; i++) gW[o * D + i] += 2 * v * (1 - v * v) * f->data[r * D + i] / (double)count;
        }
    util_assert_all_close((double *)f->W->grad, gW, D * D, 1e-13);
}

static void batches_of_any_size_are_computed_right(void **state) {
    fixture *f = *state;
    for (int k = 0; k < N_BATCHES; k++) {
        ad_var y;
        if (ad_backward(training_loss(f, batches[k], &y)) != AD_OK) fail_msg("%s", ad_tape_message(f->tape));
        check_training_step(f, batches[k], y);
        ad_tape_reset(f->tape);
    }
}

static void batches_of_any_size_share_one_plan(void **state) {
    fixture *f = *state;
    for (int k = 0; k < N_BATCHES; k++) {
        ad_var y;
        assert_int_equal(ad_backward(training_loss(f, batches[k], &y)), AD_OK);
        ad_tape_reset(f->tape);
    }
    assert_int_equal(ad_engine_plans_made(f->engine), 1);
}

static void two_row_sets_of_different_size(void **state) {
    fixture *f = *state;
    const ad_var a = input(f, "data", 70), b = input(f, "prior", 33);
    const ad_var centre = ad_mean_rows(b);
    const ad_var y = ad_keep(ad_sum_rows(ad_square(ad_sub(a, centre)))), z = ad_keep(ad_sum_rows(ad_square(b)));
    double got[D], exact[D] = {0}, squares[D] = {0}, mean[D] = {0};
    util_run(f->tape);
    for (int j = 0; j < 33 * D; j++) {
        mean[j % D] += f->data[j] / 33;
        squares[j % D] += f->data[j] * f->data[j];
    }
    for (int j = 0; j < 70 * D; j++) exact[j % D] += pow(f->data[j] - mean[j % D], 2);
    util_read(y, got, D);
    util_assert_all_close(got, exact, D, 1e-13);
    util_read(z, got, D);
    util_assert_all_close(got, squares, D, 1e-13);
}

static void gradients_of_two_row_sets_add(void **state) {
    fixture *f = *state;
    const ad_var w = ad_use(f->tape, f->b);
    const ad_var loss = ad_add(ad_sum_rows(ad_sum(ad_mul(w, input(f, "data", 70)))),
                               ad_sum_rows(ad_sum(ad_mul(w, input(f, "prior", 33)))));
    double exact[D] = {0};
    for (int j = 0; j < 70 * D; j++) exact[j % D] += f->data[j] * (j < 33 * D ? 2 : 1);
    assert_int_equal(ad_backward(loss), AD_OK);
    util_assert_all_close((double *)f->b->grad, exact, D, 1e-13);
}

static void rows_are_picked_by_index(void **state) {
    fixture *f = *state;
    const int64_t index[] = {7, 999, 0, 7, 64};
    double got[5 * D];
    f->source.index = index;
    const ad_var y = ad_keep(ad_scale(input(f, "data", 5), 2));
    util_run(f->tape);
    util_read(y, got, 5 * D);
    for (int j = 0; j < 5 * D; j++) util_assert_close(got[j], 2 * f->data[index[j / D] * D + j % D], 0);
}

static void rows_are_picked_by_stride(void **state) {
    fixture *f = *state;
    double got[5 * D];
    f->source.row_stride = 2 * D * sizeof(double);
    f->source.count = MOST / 2;
    const ad_var y = ad_keep(ad_scale(input(f, "data", 5), 2));
    util_run(f->tape);
    util_read(y, got, 5 * D);
    for (int j = 0; j < 5 * D; j++) util_assert_close(got[j], 2 * f->data[j / D * 2 * D + j % D], 0);
}

static void single_precision_rows_are_converted(void **state) {
    fixture *f = *state;
    float data[4 * D];
    double got[4 * D];
    for (int j = 0; j < 4 * D; j++) data[j] = (float)f->data[j];
    const ad_source source = {data, AD_F32, 4, 0, NULL};
    const ad_var y = ad_keep(ad_scale(ad_input(util_rows(f->tape, "data", 4), ad_shape1(D), &source), 2));
    util_run(f->tape);
    util_read(y, got, 4 * D);
    for (int j = 0; j < 4 * D; j++) util_assert_close(got[j], 2 * (double)data[j], 0);
}

// ---- what changes from step to step -------------------------------------------------------------------------------

static void a_scalar_changes_without_a_new_plan(void **state) {
    fixture *f = *state;
    double beta = 0;
    for (int step = 0; step < 10; step++) {
        double got;
        const ad_var y = ad_keep(ad_mul(ad_scalar(f->tape, &beta), ad_sum_rows(ad_sum(input(f, "data", 10)))));
        beta = 0.1 * step;
        util_run(f->tape);
        util_read(y, &got, 1);
        double exact = 0;
        for (int j = 0; j < 10 * D; j++) exact += beta * f->data[j];
        util_assert_close(got, exact, 1e-13);
        ad_tape_reset(f->tape);
    }
    assert_int_equal(ad_engine_plans_made(f->engine), 1);
}

static void a_new_number_is_a_new_plan(void **state) {
    fixture *f = *state;
    for (int step = 0; step < 2; step++) {
        ad_keep(ad_sum_rows(ad_scale(input(f, "data", 10), 1 + step)));
        util_run(f->tape);
        ad_tape_reset(f->tape);
    }
    assert_int_equal(ad_engine_plans_made(f->engine), 2);
}

static void planning_every_step_is_reported(void **state) {
    fixture *f = *state;
    for (int step = 0; step < 6; step++) {
        ad_scope(f->tape, "flow", 3);
        ad_keep(ad_sum_rows(ad_scale(input(f, "data", 10), 1 + step)));
        ad_scope_end(f->tape);
        util_run(f->tape);
        ad_tape_reset(f->tape);
    }
    assert_true(f->warnings >= 1);
    util_assert_contains(f->warning, "scale");
    util_assert_contains(f->warning, "flow[3]");
}

static void planning_twice_is_not_reported(void **state) {
    fixture *f = *state;
    for (int step = 0; step < 6; step++) {
        ad_keep(ad_sum_rows(ad_scale(input(f, "data", 10), 1 + step % 2)));
        util_run(f->tape);
        ad_tape_reset(f->tape);
    }
    assert_int_equal(f->warnings, 0);
}

static void training_and_evaluation_have_plans_of_their_own(void **state) {
    fixture *f = *state;
    for (int step = 0; step < 4; step++) {
        ad_set_training(f->tape, step % 2 == 0);
        assert_int_equal(ad_is_training(f->tape), step % 2 == 0);
        ad_keep(ad_sum_rows(input(f, "data", 10)));
        util_run(f->tape);
        ad_tape_reset(f->tape);
    }
    assert_int_equal(ad_engine_plans_made(f->engine), 2);
}

static void both_types_have_plans_of_their_own(void **state) {
    fixture *f = *state;
    ad_tape *single = ad_tape_new(f->engine, AD_F32);
    ad_keep(ad_sum_rows(input(f, "data", 10)));
    util_run(f->tape);
    ad_keep(ad_sum_rows(ad_input(util_rows(single, "data", 10), ad_shape1(D), &f->source)));
    util_run(single);
    assert_int_equal(ad_engine_plans_made(f->engine), 2);
    ad_tape_free(single);
}

static void a_small_cache_forgets_and_plans_anew(void **state) {
    fixture *f = *state;
    const ad_engine_options options = {.threads = 1, .plan_cache = 2};
    ad_engine *engine = ad_engine_new(&options, NULL);
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    for (int step = 0; step < 9; step++) {
        const double factor = 1 + step % 3;
        double got[D];
        const ad_var y = ad_keep(ad_scale(ad_input(util_rows(tape, "data", 1), ad_shape1(D), &f->source), factor));
        util_run(tape);
        util_read(y, got, D);
        for (int i = 0; i < D; i++) util_assert_close(got[i], factor * f->data[i], 0);
        ad_tape_reset(tape);
    }
    ad_tape_free(tape);
    ad_engine_free(engine);
}

static void parameters_are_read_at_run(void **state) {
    fixture *f = *state;
    double got;
    const ad_var y = ad_keep(ad_sum(ad_use(f->tape, f->b)));
    util_run(f->tape);
    for (int i = 0; i < D; i++) ad_param_set(f->b, i, i);
    util_run(f->tape);
    util_read(y, &got, 1);
    util_assert_close(got, 0 + 1 + 2, 0);
}

// ---- states -------------------------------------------------------------------------------------------------------

static double *values_of(ad_state *s) {
    return s->data;
}

static void a_state_is_read_before_it_is_assigned(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("mean", AD_F64, ad_shape0(), NULL);
    values_of(s)[0] = 3;
    const ad_var old = ad_use_state(f->tape, s);
    const ad_var twice = ad_keep(ad_scale(old, 2));
    ad_assign(s, ad_add(old, ad_sum_rows(ad_sum(input(f, "data", 2)))));
    double sum = 0, got;
    for (int j = 0; j < 2 * D; j++) sum += f->data[j];
    util_run(f->tape);
    util_read(twice, &got, 1);
    util_assert_close(got, 6, 0);
    util_assert_close(values_of(s)[0], 3 + sum, 1e-14);
    ad_state_free(s);
}

static void two_states_are_exchanged(void **state) {
    fixture *f = *state;
    ad_state *a = ad_state_new("a", AD_F64, ad_shape1(2), NULL), *b = ad_state_new("b", AD_F64, ad_shape1(2), NULL);
    values_of(a)[1] = 1;
    values_of(b)[1] = 2;
    ad_assign(a, ad_use_state(f->tape, b));
    ad_assign(b, ad_use_state(f->tape, a));
    util_run(f->tape);
    util_assert_close(values_of(a)[1], 2, 0);
    util_assert_close(values_of(b)[1], 1, 0);
    ad_state_free(a);
    ad_state_free(b);
}

static void a_rejected_step_gives_the_state_back(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape0(), NULL);
    values_of(s)[0] = 3;
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    util_run(f->tape);
    util_assert_close(values_of(s)[0], 4, 0);
    ad_reject(f->tape);
    util_assert_close(values_of(s)[0], 3, 0);
    ad_state_free(s);
}

static void a_failed_run_leaves_the_state(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape0(), NULL);
    ad_param_set(f->b, 0, NAN);
    ad_keep(ad_sum(ad_use(f->tape, f->b)));
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_close(values_of(s)[0], 0, 0);
    ad_state_free(s);
}

static void a_step_is_rejected_once(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape0(), NULL);
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    util_run(f->tape);
    util_run(f->tape);
    ad_reject(f->tape);
    ad_reject(f->tape);
    util_assert_close(values_of(s)[0], 1, 0);
    ad_state_free(s);
}

static void rejecting_before_a_run_does_nothing(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape0(), NULL);
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    ad_reject(f->tape);
    util_assert_close(values_of(s)[0], 0, 0);
    ad_state_free(s);
}

static void a_state_is_assigned_once(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape0(), NULL);
    ad_assign(s, ad_number(f->tape, 1));
    ad_assign(s, ad_number(f->tape, 2));
    assert_int_equal(ad_tape_status(f->tape), AD_EARG);
    util_assert_contains(ad_tape_message(f->tape), "count");
    ad_state_free(s);
}

static void a_state_takes_a_value_of_its_shape(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape1(2), NULL);
    ad_assign(s, ad_number(f->tape, 1));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(f->tape), "count");
    ad_state_free(s);
}

static void a_state_takes_a_shared_value(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F64, ad_shape1(D), NULL);
    ad_assign(s, input(f, "data", 5));
    assert_int_not_equal(ad_tape_status(f->tape), AD_OK);
    ad_state_free(s);
}

static void a_state_counts_steps(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("count", AD_F32, ad_shape0(), NULL);  // of the other type
    for (int step = 0; step < 5; step++) {
        ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
        util_run(f->tape);
        ad_tape_reset(f->tape);
    }
    assert_true(((float *)s->data)[0] == 5);
    assert_int_equal(ad_engine_plans_made(f->engine), 1);
    ad_state_free(s);
}

// What is assigned after the run was not part of it.
static void an_assignment_after_the_run_is_not_rejected(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("s", AD_F64, ad_shape0(), NULL), *q = ad_state_new("q", AD_F64, ad_shape0(), NULL);
    values_of(s)[0] = 3;
    values_of(q)[0] = 7;
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    util_run(f->tape);
    ad_assign(q, ad_offset(ad_use_state(f->tape, q), 5));
    ad_reject(f->tape);
    util_assert_close(values_of(s)[0], 3, 0);
    util_assert_close(values_of(q)[0], 7, 0);
    ad_state_free(s);
    ad_state_free(q);
}

// Nor does it count as part of it when it takes a gradient's place among the requests.
static void an_assignment_after_a_backward_is_not_rejected(void **state) {
    fixture *f = *state;
    ad_state *s = ad_state_new("s", AD_F64, ad_shape0(), NULL), *q = ad_state_new("q", AD_F64, ad_shape0(), NULL);
    ad_param *p = util_param("p", AD_F64, ad_shape0(), 3);
    values_of(s)[0] = 3;
    values_of(q)[0] = 7;
    ad_assign(s, ad_offset(ad_use_state(f->tape, s), 1));
    assert_int_equal(ad_backward(ad_square(ad_use(f->tape, p))), AD_OK);
    ad_assign(q, ad_offset(ad_use_state(f->tape, q), 5));
    ad_reject(f->tape);
    util_assert_close(values_of(s)[0], 3, 0);
    util_assert_close(values_of(q)[0], 7, 0);
    ad_state_free(s);
    ad_state_free(q);
    ad_param_free(p);
}

// ---- programs -----------------------------------------------------------------------------------------------------

static void run_program(ad_program *program) {
    ad_error error = {AD_OK, ""};
    if (ad_program_run(program, &error) != AD_OK) fail_msg("%s", error.message);
}

static void check_program(const fixture *f, const ad_program *program, int64_t count) {
    double sum = 0;
    for (int64_t j = 0; j < count * D; j++) {
        util_assert_close(((const double *)ad_program_data(program, 0))[j], exp(f->data[j]), 1e-14);
        sum += exp(f->data[j]);
    }
    util_assert_close(((const double *)ad_program_data(program, 1))[0], sum, 1e-13);
}

static ad_program *exp_program(fixture *f) {
    ad_error error = {AD_OK, ""};
    const ad_var y = ad_exp(input(f, "data", 10));
    const ad_var outputs[] = {y, ad_sum_rows(ad_sum(y))};
    ad_program *program = ad_compile(outputs, 2, &error);
    if (!program) fail_msg("%s", error.message);
    return program;
}

static void a_program_runs_again_with_new_inputs(void **state) {
    fixture *f = *state;
    ad_program *program = exp_program(f);
    for (int k = 0; k < 3; k++) {
        util_fill(f->data, MOST * D, 77 + k, -1, 1);
        run_program(program);
        check_program(f, program, 10);
    }
    ad_program_free(program);
}

static void a_program_runs_with_other_row_counts(void **state) {
    fixture *f = *state;
    ad_program *program = exp_program(f);
    for (int k = 0; k < N_BATCHES; k++) {
        assert_int_equal(ad_program_rows(program, "data", batches[k], 0, NULL), AD_OK);
        run_program(program);
        check_program(f, program, batches[k]);
    }
    ad_program_free(program);
}

static void a_program_survives_a_reset(void **state) {
    fixture *f = *state;
    ad_program *program = exp_program(f);
    ad_tape_reset(f->tape);
    ad_keep(ad_sum_rows(ad_square(input(f, "data", 5))));
    util_run(f->tape);
    run_program(program);
    check_program(f, program, 10);
    ad_program_free(program);
}

static void a_program_knows_its_row_sets(void **state) {
    fixture *f = *state;
    ad_program *program = exp_program(f);
    ad_error error = {AD_OK, ""};
    assert_int_equal(ad_program_rows(program, "prior", 5, 0, &error), AD_EARG);
    util_assert_contains(error.message, "prior");
    ad_program_free(program);
}

// The tape borrows names until its reset, the program has its own.
static void a_program_keeps_the_names_of_row_sets(void **state) {
    fixture *f = *state;
    char name[] = "data";
    const ad_var y = ad_exp(input(f, name, 10));
    const ad_var outputs[] = {y, ad_sum_rows(ad_sum(y))};
    ad_program *program = ad_compile(outputs, 2, NULL);
    assert_non_null(program);
    ad_tape_reset(f->tape);
    memset(name, 'x', sizeof name - 1);
    assert_int_equal(ad_program_rows(program, "data", 5, 0, NULL), AD_OK);
    run_program(program);
    check_program(f, program, 5);
    ad_program_free(program);
}

static void a_program_survives_its_plan_leaving_the_cache(void **state) {
    fixture *f = *state;
    const ad_engine_options options = {.threads = 1, .plan_cache = 1};
    free_tape_and_engine(f);
    f->engine = ad_engine_new(&options, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    ad_program *program = exp_program(f);
    for (int step = 0; step < 3; step++) {
        ad_tape_reset(f->tape);
        ad_keep(ad_scale(input(f, "data", 10), step));
        util_run(f->tape);
        run_program(program);
        check_program(f, program, 10);
    }
    ad_program_free(program);
}

static void a_program_gives_gradients(void **state) {
    fixture *f = *state;
    const ad_var b = ad_use(f->tape, f->b);
    const ad_var g = gradient(ad_sum_rows(ad_sum(ad_mul(ad_square(b), input(f, "data", 10)))), b);
    ad_program *program = ad_compile(&g, 1, NULL);
    assert_non_null(program);
    for (int step = 0; step < 3; step++) {
        double sum[D] = {0};
        for (int i = 0; i < D; i++) ad_param_set(f->b, i, step + i);
        run_program(program);
        for (int j = 0; j < 10 * D; j++) sum[j % D] += 2 * (step + j % D) * f->data[j];
        util_assert_all_close((const double *)ad_program_data(program, 0), sum, D, 1e-13);
    }
    ad_program_free(program);
}

// As a tape that is recorded in each step: loss, gradients, and parameters changed in between.
static void a_program_of_a_training_step_fills_gradients(void **state) {
    fixture *f = *state;
    const ad_var x = input(f, "data", 10);
    const ad_var loss = ad_sum_rows(ad_sum(ad_mul(ad_square(ad_use(f->tape, f->b)), x)));
    ad_program *program = ad_compile_backward(loss, NULL);
    assert_non_null(program);
    ad_tape_reset(f->tape);
    for (int step = 0; step < 3; step++) {
        double sum[D] = {0}, total = 0;
        for (int i = 0; i < D; i++) ad_param_set(f->b, i, step + i);
        run_program(program);
        for (int j = 0; j < 10 * D; j++) {
            const double b = step + j % D;
            sum[j % D] += 2 * b * f->data[j];
            total += b * b * f->data[j];
        }
        util_assert_all_close((const double *)f->b->grad, sum, D, 1e-13);
        util_assert_close(((const double *)ad_program_data(program, 0))[0], total, 1e-13);
    }
    ad_program_free(program);
}

static void a_compiled_loss_is_a_shared_scalar(void **state) {
    fixture *f = *state;
    ad_error error = {AD_OK, ""};
    assert_null(ad_compile_backward(ad_sum(input(f, "data", 10)), &error));
    assert_int_equal(error.status, AD_ESHAPE);
    util_assert_contains(error.message, "ad_compile_backward: the loss has shape [] per row");
    assert_null(ad_compile_backward(AD_NONE, &error));
    assert_int_equal(error.status, AD_EARG);
}

// ---- values -------------------------------------------------------------------------------------------------------

static void a_value_runs_what_has_not_run(void **state) {
    fixture *f = *state;
    const ad_var sum = ad_sum(ad_use(f->tape, f->b));
    const double exact = ad_param_get(f->b, 0) + ad_param_get(f->b, 1) + ad_param_get(f->b, 2);
    util_assert_close(ad_value(sum), exact, 1e-15);
    util_assert_close(ad_value(ad_scale(sum, 2)), 2 * exact, 1e-15);
}

static void an_empty_tape_runs(void **state) {
    fixture *f = *state;
    assert_int_equal(ad_run(f->tape), AD_OK);
}

static void a_value_may_be_kept_twice(void **state) {
    fixture *f = *state;
    double a[D], b[D];
    const ad_var x = ad_keep(ad_exp(ad_use(f->tape, f->b))), y = ad_keep(ad_exp(ad_use(f->tape, f->b)));
    util_run(f->tape);
    util_read(x, a, D);
    util_read(y, b, D);
    assert_memory_equal(a, b, sizeof a);
}

static void a_second_run_refreshes_what_is_kept(void **state) {
    fixture *f = *state;
    double got[10 * D];
    const ad_var y = ad_keep(ad_exp(input(f, "data", 10)));
    util_run(f->tape);
    util_fill(f->data, MOST * D, 99, -1, 1);
    util_run(f->tape);
    util_read(y, got, 10 * D);
    for (int j = 0; j < 10 * D; j++) util_assert_close(got[j], exp(f->data[j]), 1e-15);
}

static void ops_after_a_run_are_run_next(void **state) {
    fixture *f = *state;
    double got[D];
    const ad_var x = ad_keep(ad_exp(ad_use(f->tape, f->b)));
    util_run(f->tape);
    const ad_var y = ad_keep(ad_scale(x, 2));
    util_run(f->tape);
    util_read(y, got, D);
    for (int i = 0; i < D; i++) util_assert_close(got[i], 2 * exp(ad_param_get(f->b, i)), 1e-15);
    util_read(x, got, D);
    for (int i = 0; i < D; i++) util_assert_close(got[i], exp(ad_param_get(f->b, i)), 1e-15);
}

static void kept_rows_come_out_row_major(void **state) {
    fixture *f = *state;
    ad_tape *single = ad_tape_new(f->engine, AD_F32);
    const ad_var x = ad_input(util_rows(single, "data", 70), ad_shape1(D), &f->source);
    const ad_var y = ad_keep(ad_neg(x));
    util_run(single);
    const float *got = ad_data(y);
    for (int j = 0; j < 70 * D; j++) assert_true(got[j] == -(float)f->data[j]);
    ad_tape_free(single);
}

// ---- what no output needs -----------------------------------------------------------------------------------------

static void assert_runs(fixture *f) {
    double got;
    const ad_var y = ad_keep(ad_sum_rows(ad_sum(input(f, "data", 10))));
    util_run(f->tape);
    util_read(y, &got, 1);
    double exact = 0;
    for (int j = 0; j < 10 * D; j++) exact += f->data[j];
    util_assert_close(got, exact, 1e-13);
}

static void an_unused_row_set_needs_no_size(void **state) {
    fixture *f = *state;
    ad_row_count(ad_rows_new(f->tape, "unset"));
    assert_runs(f);
}

static void an_unused_parameter_may_be_nan(void **state) {
    fixture *f = *state;
    ad_param_set(f->b, 0, NAN);
    ad_exp(ad_use(f->tape, f->b));
    assert_runs(f);
}

static void an_unused_source_may_be_short(void **state) {
    fixture *f = *state;
    const ad_source shorter = util_source(f->data, 2);
    ad_exp(ad_input(util_rows(f->tape, "data", 10), ad_shape1(D), &shorter));
    assert_runs(f);
}

static void an_unused_source_may_have_an_index_beyond_it(void **state) {
    fixture *f = *state;
    const int64_t index[10] = {MOST};
    ad_source picked = f->source;
    picked.index = index;
    ad_exp(ad_input(util_rows(f->tape, "data", 10), ad_shape1(D), &picked));
    assert_runs(f);
}

static void an_unused_scalar_may_be_nan(void **state) {
    fixture *f = *state;
    const double nan = NAN;
    ad_exp(ad_scalar(f->tape, &nan));
    assert_runs(f);
}

// ---- what is kept -------------------------------------------------------------------------------------------------

static void leaves_can_be_kept(void **state) {
    fixture *f = *state;
    double got[10 * D];
    const ad_var x = ad_keep(input(f, "data", 10)), b = ad_keep(ad_use(f->tape, f->b));
    util_run(f->tape);
    util_read(x, got, 10 * D);
    util_assert_all_close(got, f->data, 10 * D, 0);
    util_read(b, got, D);
    util_assert_all_close(got, (double *)f->b->data, D, 0);
}

static void shared_values_serve_before_and_after_rows(void **state) {
    fixture *f = *state;
    enum { B = 20 };
    const ad_var scale = ad_exp(ad_use(f->tape, f->b));                  // before the rows
    const ad_var sum = ad_sum_rows(ad_mul(scale, input(f, "data", B)));  // over them
    const ad_var y = ad_keep(ad_sum(ad_mul(ad_square(sum), scale)));     // after
    double exact = 0, got;
    for (int i = 0; i < D; i++) {
        double s = 0;
        for (int r = 0; r < B; r++) s += exp(ad_param_get(f->b, i)) * f->data[r * D + i];
        exact += s * s * exp(ad_param_get(f->b, i));
    }
    util_run(f->tape);
    util_read(y, &got, 1);
    util_assert_close(got, exact, 1e-13);
}

static void the_number_of_rows_is_read_at_run(void **state) {
    fixture *f = *state;
    const ad_rows rows = util_rows(f->tape, "data", 10);
    const ad_var n = ad_keep(ad_scale(ad_row_count(rows), 2));
    ad_keep(ad_sum_rows(ad_input(rows, ad_shape1(D), &f->source)));
    for (int count = 10; count < 13; count++) {
        double got;
        ad_rows_set(rows, count, 0);
        util_run(f->tape);
        util_read(n, &got, 1);
        util_assert_close(got, 2 * count, 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(standardising_by_the_batch),
        TEST(differentiating_through_the_batch),
        TEST(the_batch_statistics_are_a_stage_of_their_own),
        TEST(standardising_to_second_order),
        TEST(a_training_step_is_one_stage),
        TEST(a_hessian_vector_product_is_one_stage),
        TEST(noise_is_the_same_in_every_stage),
        TEST(values_cross_stages),
        TEST(two_row_sets_cross_stages),
        TEST(batches_of_any_size_are_computed_right),
        TEST(batches_of_any_size_share_one_plan),
        TEST(two_row_sets_of_different_size),
        TEST(gradients_of_two_row_sets_add),
        TEST(rows_are_picked_by_index),
        TEST(rows_are_picked_by_stride),
        TEST(single_precision_rows_are_converted),
        TEST(a_scalar_changes_without_a_new_plan),
        TEST(a_new_number_is_a_new_plan),
        TEST(planning_every_step_is_reported),
        TEST(planning_twice_is_not_reported),
        TEST(training_and_evaluation_have_plans_of_their_own),
        TEST(both_types_have_plans_of_their_own),
        TEST(a_small_cache_forgets_and_plans_anew),
        TEST(parameters_are_read_at_run),
        TEST(a_state_is_read_before_it_is_assigned),
        TEST(two_states_are_exchanged),
        TEST(a_rejected_step_gives_the_state_back),
        TEST(a_failed_run_leaves_the_state),
        TEST(a_step_is_rejected_once),
        TEST(rejecting_before_a_run_does_nothing),
        TEST(an_assignment_after_the_run_is_not_rejected),
        TEST(an_assignment_after_a_backward_is_not_rejected),
        TEST(a_state_is_assigned_once),
        TEST(a_state_takes_a_value_of_its_shape),
        TEST(a_state_takes_a_shared_value),
        TEST(a_state_counts_steps),
        TEST(a_program_runs_again_with_new_inputs),
        TEST(a_program_runs_with_other_row_counts),
        TEST(a_program_survives_a_reset),
        TEST(a_program_knows_its_row_sets),
        TEST(a_program_keeps_the_names_of_row_sets),
        TEST(a_program_survives_its_plan_leaving_the_cache),
        TEST(a_program_gives_gradients),
        TEST(a_program_of_a_training_step_fills_gradients),
        TEST(a_compiled_loss_is_a_shared_scalar),
        TEST(a_value_runs_what_has_not_run),
        TEST(an_empty_tape_runs),
        TEST(a_value_may_be_kept_twice),
        TEST(a_second_run_refreshes_what_is_kept),
        TEST(ops_after_a_run_are_run_next),
        TEST(kept_rows_come_out_row_major),
        TEST(an_unused_row_set_needs_no_size),
        TEST(an_unused_parameter_may_be_nan),
        TEST(an_unused_source_may_be_short),
        TEST(an_unused_source_may_have_an_index_beyond_it),
        TEST(an_unused_scalar_may_be_nan),
        TEST(leaves_can_be_kept),
        TEST(shared_values_serve_before_and_after_rows),
        TEST(the_number_of_rows_is_read_at_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
