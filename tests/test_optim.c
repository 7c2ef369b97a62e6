// test_optim.c -- the training loop by what it promises.
#include "data.h"
#include "optim.h"
#include "util.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// ---- maximum likelihood
// -------------------------------------------------------------------------------------------------

typedef struct moons {
    data_table *train, *held_out;
    flow_rows rows, validation;
    flow_model *model;
} moons;

static moons moons_new(void) {
    const data_density *density = data_find_density("moons");
    moons m = {.train = data_density_table(density, AD_F32, 4000, 1, &error),
               .held_out = data_density_table(density, AD_F32, 1000, 2, &error)};
    if (!m.train || !m.held_out) fail_msg("%s", error.message);
    m.rows.x = data_source(m.train, 0, NULL);
    m.validation.x = data_source(m.held_out, 0, NULL);
    const flow_realnvp_options options = {.layers = 6, .mlp = {.width = 32, .seed = 1}};
    m.model = flow_realnvp(2, 0, &options, &error);
    if (!m.model) fail_msg("%s", error.message);
    assert_status_ok(flow_init_from_data(m.model, &m.rows, &error));
    return m;
}

static void moons_free(moons *m) {
    data_table_free(m->train);
    data_table_free(m->held_out);
    flow_model_free(m->model);
}

static double nll(const moons *m) {
    double mean;
    assert_status_ok(optim_mean_log_prob(m->model, &m->validation, 0, NULL, &mean, NULL, &error));
    return -mean;
}

static void fit_learns_two_moons(void **state) {
    (void)state;
    moons m = moons_new();
    double before = nll(&m);
    const optim_fit_options options = {
        .steps = 600, .lr = 5e-3, .schedule = OPTIM_COSINE, .warm_up = 20, .validation = &m.validation};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_true(before > 2.9);
    assert_true(nll(&m) < 2.55);
    assert_int_equal(result.steps, 600);
    moons_free(&m);
}

// A learning rate that ruins the model at the end: the best weights are those from before.
static void the_best_weights_are_kept(void **state) {
    (void)state;
    moons m = moons_new();
    const optim_fit_options options = {
        .steps = 60, .lr = 0.3, .validation = &m.validation, .validate_every = 1, .optimizer = {.max_norm = -1}};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_true(result.best_step >= 1 && result.best_step < 60);
    assert_true(nll(&m) == result.validation);
    moons_free(&m);
}

static void fit_gives_the_same_bits_for_any_threads(void **state) {
    (void)state;
    float first[64];
    for (int threads = 1; threads <= 3; threads++) {
        moons m = moons_new();
        const ad_engine_options engine_options = {.threads = threads};
        ad_engine *engine = ad_engine_new(&engine_options, &error);
        const optim_fit_options options = {.steps = 50, .seed = 3, .engine = engine, .validation = &m.validation};
        assert_status_ok(optim_fit(m.model, &m.rows, &options, NULL, &error));
        int n;
        ad_param *const *params = flow_params(m.model, &n);
        assert_true(params[2]->count >= 64);
        if (threads == 1) memcpy(first, params[2]->data, sizeof first);
        assert_memory_equal(first, params[2]->data, sizeof first);
        ad_engine_free(engine);
        moons_free(&m);
    }
}

typedef struct watch {
    int calls, stop_after, validated;
    double last_lr, last_validation;
} watch;

static bool watching(void *arg, const optim_progress *p) {
    watch *w = arg;
    w->calls++;
    assert_int_equal(p->step, w->calls);
    assert_true(isfinite(p->loss) && p->grad_norm > 0 && p->rows_per_second > 0);
    w->validated += p->validated;
    w->last_lr = p->lr;
    w->last_validation = p->validation;
    return w->calls != w->stop_after;
}

static void progress_sees_every_step(void **state) {
    (void)state;
    moons m = moons_new();
    watch w = {0};
    const optim_fit_options options = {.steps = 10,
                                       .lr = 1e-3,
                                       .schedule = OPTIM_COSINE,
                                       .validation = &m.validation,
                                       .validate_every = 4,
                                       .progress = watching,
                                       .progress_arg = &w};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(w.calls, 10);
    assert_int_equal(w.validated, 3);  // after 4, 8 and 10
    util_assert_close(w.last_lr, 1e-3 * 0.5 * (1 + cos(0.9 * 3.14159265358979323846)), 1e-12);
    assert_true(w.last_validation >= result.validation);
    assert_false(result.stopped);
    moons_free(&m);
}

static void progress_can_stop_the_fit(void **state) {
    (void)state;
    moons m = moons_new();
    watch w = {.stop_after = 3};
    const optim_fit_options options = {
        .steps = 10, .validation = &m.validation, .validate_every = 100, .progress = watching, .progress_arg = &w};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(result.steps, 3);
    assert_true(result.stopped);
    assert_int_equal(result.best_step, 3);  // scored on the way out
    assert_true(nll(&m) == result.validation);
    moons_free(&m);
}

static void only_the_rows_picked_are_seen(void **state) {
    (void)state;
    moons m = moons_new();
    float *x = data_values(m.train);
    int64_t *index = malloc(2000 * sizeof *index);
    for (int i = 0; i < 2000; i++) {
        index[i] = 2 * i;
        x[2 * (2 * i + 1)] = NAN;  // in the rows between
    }
    m.rows.index = index;
    m.rows.n = 2000;
    const optim_fit_options options = {.steps = 20};
    assert_status_ok(optim_fit(m.model, &m.rows, &options, NULL, &error));
    free(index);
    moons_free(&m);
}

static void a_loss_not_finite_stops_and_names_the_place(void **state) {
    (void)state;
    moons m = moons_new();
    int n;
    ad_param *const *params = flow_params(m.model, &n);
    float before[4];
    ((float *)data_values(m.train))[2 * 1234 + 1] = INFINITY;
    memcpy(before, params[0]->data, sizeof before);
    const optim_fit_options options = {.steps = 10, .batch = 4000, .care = {.guard = {.off = true}}};
    optim_fit_result result;
    assert_int_equal(optim_fit(m.model, &m.rows, &options, &result, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "step 1: ");
    util_assert_contains(error.message, "row 1234 of the data, column 1, is inf");
    assert_int_equal(result.steps, 0);
    assert_memory_equal(before, params[0]->data, sizeof before);
    moons_free(&m);
}

static void after_a_failure_the_best_weights_stay(void **state) {
    (void)state;
    moons m = moons_new();
    // Unbounded rate: some step makes a loss that is not finite, or not; either way the model is the best seen.
    const optim_fit_options options = {
        .steps = 40, .lr = 1e30, .validation = &m.validation, .validate_every = 1, .optimizer = {.max_norm = -1}};
    optim_fit_result result;
    ad_status status = optim_fit(m.model, &m.rows, &options, &result, &error);
    assert_true(status == AD_OK || status == AD_ENONFINITE);
    if (!isnan(result.validation)) assert_true(nll(&m) == result.validation);
    moons_free(&m);
}

// x = context + noise: a model that sees the context knows the mean.
static void fit_learns_a_conditional_density(void **state) {
    (void)state;
    enum { N = 2000 };
    double *x = malloc(N * sizeof *x), *context = malloc(N * sizeof *context);
    uint64_t seed = 1;
    for (int i = 0; i < N; i++) {
        context[i] = util_uniform(&seed, -2, 2);
        x[i] = context[i] + 0.1 * (util_uniform(&seed, -1, 1) + util_uniform(&seed, -1, 1));
    }
    const flow_realnvp_options model_options = {.layers = 2, .mlp = {.width = 16}};
    flow_model *model = flow_realnvp(1, 1, &model_options, &error);
    if (!model) fail_msg("%s", error.message);
    flow_rows rows = {.x = util_source(x, N), .context = util_source(context, N)};
    assert_status_ok(flow_init_from_data(model, &rows, &error));
    const optim_fit_options options = {.steps = 400, .lr = 1e-2};
    assert_status_ok(optim_fit(model, &rows, &options, NULL, &error));
    double mean;
    assert_status_ok(optim_mean_log_prob(model, &rows, 0, NULL, &mean, NULL, &error));
    assert_true(mean > 0.7);  // entropy of the noise: -1.1 + ...; without the context no model is above -1.3
    flow_model_free(model);
    free(x);
    free(context);
}

static void mean_log_prob_is_the_mean(void **state) {
    (void)state;
    flow_model *model = flow_model_new(flow_permutation(1, NULL, &error), flow_standard_normal(1, &error), &error);
    const double x[3] = {0, 1, 3}, c = -0.91893853320467274178;
    flow_rows rows = {.x = util_source(x, 3)};
    double mean, se;
    for (int64_t batch = 0; batch < 4; batch++) {
        assert_status_ok(optim_mean_log_prob(model, &rows, batch, NULL, &mean, &se, &error));
        util_assert_close(mean, c - 10.0 / 6, 1e-14);
        util_assert_close(se, sqrt((0 + 0.25 + 20.25 - 25.0 / 3) / 2 / 3), 1e-14);
    }
    flow_model_free(model);
}

// Rows at -1 and 1 and noise of 0.75: variance 1 + 0.75^2.
static void noise_widens_what_is_learnt(void **state) {
    (void)state;
    enum { N = 500 };
    double x[N], mean;
    for (int i = 0; i < N; i++) x[i] = i % 2 ? 1 : -1;
    const flow_diagonal_options f64 = {.linear.type = AD_F64};
    flow_model *model = flow_model_new(flow_diagonal_affine(1, &f64, &error), flow_standard_normal(1, &error), &error);
    flow_rows rows = {.x = util_source(x, N)};
    const optim_fit_options options = {
        .steps = 800, .batch = N, .lr = 0.03, .schedule = OPTIM_COSINE, .noise = 0.75, .type = AD_F64};
    assert_status_ok(optim_fit(model, &rows, &options, NULL, &error));
    assert_status_ok(optim_mean_log_prob(model, &rows, 0, NULL, &mean, NULL, &error));
    util_assert_close(mean, -0.91893853320467274178 - log(1.25) - 0.5 / 1.5625, 1e-2);
    flow_model_free(model);
}

// Its best weights are those of the rows as they are.
static void validation_is_without_noise(void **state) {
    (void)state;
    moons m = moons_new();
    const optim_fit_options options = {.steps = 4, .noise = 3, .validate_every = 2, .validation = &m.validation};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_true(result.validation == nll(&m));
    moons_free(&m);
}

static void bad_fit_options_are_refused(void **state) {
    (void)state;
    moons m = moons_new();
    const optim_fit_options bad[] = {{.steps = -1}, {.batch = -1}, {.lr = -1}, {.lr = NAN}, {.validate_every = -1}, {.noise = -1}, {.noise = NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(optim_fit(m.model, &m.rows, &bad[i], NULL, &error), AD_EARG);
        util_assert_contains(error.message, "out of range");
    }
    flow_rows none = {.x = {.data = NULL}};
    assert_int_equal(optim_fit(m.model, &none, NULL, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "no data");
    moons_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_learns_two_moons),
        cmocka_unit_test(the_best_weights_are_kept),
        cmocka_unit_test(fit_gives_the_same_bits_for_any_threads),
        cmocka_unit_test(progress_sees_every_step),
        cmocka_unit_test(progress_can_stop_the_fit),
        cmocka_unit_test(only_the_rows_picked_are_seen),
        cmocka_unit_test(a_loss_not_finite_stops_and_names_the_place),
        cmocka_unit_test(after_a_failure_the_best_weights_stay),
        cmocka_unit_test(fit_learns_a_conditional_density),
        cmocka_unit_test(mean_log_prob_is_the_mean),
        cmocka_unit_test(noise_widens_what_is_learnt),
        cmocka_unit_test(validation_is_without_noise),
        cmocka_unit_test(bad_fit_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
