// test_optim.c -- Adam against reference values, the training loop by what it promises. White box: Adam's kernels.
#include "../optim/adam_kernel.h"
#include "data.h"
#include "npz.h"
#include "op.h"
#include "optim.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// ---- Adam
// -------------------------------------------------------------------------------------------------------------

static optim_adam *adam_of(ad_param *param, const optim_adam_options *options) {
    optim_adam *adam = optim_adam_new(&param, 1, options, &error);
    if (!adam) fail_msg("%s", error.message);
    return adam;
}

// Gradients are given, whatever the parameters are.
static void adam_follows_the_reference_on_given_gradients(void **state) {
    (void)state;
    npz z = npz_open("optim_open.npz");
    int64_t n, steps, rows;
    double *p0 = npz_array(&z, "p0", &n), *grads = npz_array(&z, "grads", &steps),
           *want = npz_array(&z, "p_adam", &rows);
    ad_param *p = ad_param_new("p", AD_F64, ad_shape1(n), NULL);
    memcpy(p->data, p0, (size_t)n * sizeof *p0);
    optim_adam *adam = adam_of(p, NULL);
    for (int64_t t = 0; t < steps / n; t++) {
        memcpy(p->grad, grads + t * n, (size_t)n * sizeof *grads);
        assert_status_ok(optim_adam_step(adam, NULL, 0.1, NULL, &error));
        util_assert_all_close((double *)p->data, want + (t + 1) * n, n, 1e-11);
    }
    assert_int_equal(optim_adam_steps(adam), 100);
    optim_adam_free(adam);
    ad_param_free(p);
    free(p0);
    free(grads);
    free(want);
    npz_close(&z);
}

// loss = 1/2 (p-c)^T A (p-c) + sum log cosh p, its gradient from the tape: a step the way users take it.
static void adam_follows_the_reference_on_a_loss(void **state) {
    (void)state;
    npz z = npz_open("optim_closed.npz");
    int64_t n, size;
    double *c = npz_array(&z, "c", &n), *A = npz_array(&z, "A", &size), *p0 = npz_array(&z, "p0", &n);
    double *want = npz_array(&z, "p_adam", &size);
    ad_param *p = ad_param_new("p", AD_F64, ad_shape1(n), NULL);
    memcpy(p->data, p0, (size_t)n * sizeof *p0);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    optim_adam *adam = adam_of(p, NULL);
    for (int64_t t = 0; t < 100; t++) {
        ad_tape_reset(tape);
        ad_var v = ad_use(tape, p), d = ad_sub(v, ad_constant(tape, ad_shape1(n), c));
        ad_var quadratic =
            ad_scale(ad_sum(ad_mul(d, ad_linear(ad_constant(tape, ad_shape2(n, n), A), d, AD_NONE))), 0.5);
        ad_var log_cosh = ad_sum(ad_sub(ad_softplus(ad_scale(v, 2)), v));  // but for a constant
        if (ad_backward(ad_add(quadratic, log_cosh)) != AD_OK) fail_msg("%s", ad_tape_message(tape));
        assert_status_ok(optim_adam_step(adam, ad_tape_engine(tape), 0.1, NULL, &error));
        util_assert_all_close((double *)p->data, want + (t + 1) * n, n, 1e-10);
    }
    optim_adam_free(adam);
    ad_tape_free(tape);
    ad_param_free(p);
    free(c);
    free(A);
    free(p0);
    free(want);
    npz_close(&z);
}

static void fill_gradient(ad_param *p, uint64_t seed) {
    for (int64_t i = 0; i < p->count; i++) {
        double g = util_uniform(&seed, -1, 1);
        if (p->type == AD_F64) {
            ((double *)p->grad)[i] = g;
        } else {
            ((float *)p->grad)[i] = (float)g;
        }
    }
}

enum { N_PARAMS = 5 };
static const int64_t sizes[N_PARAMS] = {3, 50001, 1, 16384, 777};

static void make_params(ad_param **params) {
    for (int i = 0; i < N_PARAMS; i++) {
        params[i] = util_param("p", i == 3 ? AD_F64 : AD_F32, ad_shape1(sizes[i]), (uint64_t)i);
    }
}

static void free_params(ad_param **params) {
    for (int i = 0; i < N_PARAMS; i++) ad_param_free(params[i]);
}

// Several steps on several threads; the norms of the gradients go to norms.
static void take_steps(ad_param **params, int threads, double norms[3]) {
    const optim_adam_options options = {.max_norm = 2};
    const ad_engine_options engine_options = {.threads = threads};
    ad_engine *engine = threads ? ad_engine_new(&engine_options, &error) : NULL;
    optim_adam *adam = optim_adam_new(params, N_PARAMS, &options, &error);
    for (int t = 0; t < 3; t++) {
        optim_step step;
        for (int i = 0; i < N_PARAMS; i++) fill_gradient(params[i], (uint64_t)(100 * t + i));
        assert_status_ok(optim_adam_step(adam, engine, 0.01, &step, &error));
        assert_true(step.clipped);
        norms[t] = step.grad_norm;
    }
    optim_adam_free(adam);
    ad_engine_free(engine);
}

static void adam_gives_the_same_bits_for_any_threads(void **state) {
    (void)state;
    ad_param *one[N_PARAMS], *other[N_PARAMS];
    double norms[3], other_norms[3];
    make_params(one);
    take_steps(one, 0, norms);
    for (int threads = 1; threads <= 4; threads++) {
        make_params(other);
        take_steps(other, threads, other_norms);
        assert_memory_equal(norms, other_norms, sizeof norms);
        for (int i = 0; i < N_PARAMS; i++) {
            assert_memory_equal(one[i]->data, other[i]->data, (size_t)sizes[i] * ad_type_size(one[i]->type));
        }
        free_params(other);
    }
    free_params(one);
}

static void clipping_scales_the_gradient_to_the_norm(void **state) {
    (void)state;
    const double g[2] = {3, -4};
    // After one step, m = (1 - beta1) g and the update is lr sign(g): clipping shows in the second.
    double x[2];
    for (int clip = 0; clip < 2; clip++) {
        ad_param *p = ad_param_new("p", AD_F64, ad_shape1(2), NULL);
        const optim_adam_options options = {.max_norm = clip ? 1 : 0};
        optim_adam *adam = adam_of(p, &options);
        optim_step step;
        memcpy(p->grad, g, sizeof g);
        assert_status_ok(optim_adam_step(adam, NULL, 0.1, &step, &error));
        util_assert_close(step.grad_norm, 5, 1e-15);
        assert_true(step.clipped == (clip == 1));
        const double small[2] = {clip ? 0.06 : 0.3, clip ? -0.08 : -0.4};  // shorter than 1 both times
        memcpy(p->grad, small, sizeof small);
        assert_status_ok(optim_adam_step(adam, NULL, 0.1, &step, &error));
        assert_false(step.clipped);
        x[clip] = ((double *)p->data)[0];
        optim_adam_free(adam);
        ad_param_free(p);
    }
    util_assert_close(x[0], x[1], 1e-7);  // all gradients five times smaller: the same updates, but for eps
}

static void a_gradient_not_finite_is_refused(void **state) {
    (void)state;
    ad_param *params[2] = {util_param("good", AD_F32, ad_shape1(3), 1), util_param("bad", AD_F32, ad_shape2(2, 2), 2)};
    float before[4];
    memcpy(before, params[1]->data, sizeof before);
    optim_adam *adam = optim_adam_new(params, 2, NULL, &error);
    optim_step step;
    for (int i = 0; i < 2; i++) {
        ((float *)params[1]->grad)[3] = i ? NAN : INFINITY;
        assert_int_equal(optim_adam_step(adam, NULL, 0.1, &step, &error), AD_ENONFINITE);
        util_assert_contains(error.message, "'bad' [2,2] is not finite");
        assert_false(isfinite(step.grad_norm));
    }
    assert_memory_equal(before, params[1]->data, sizeof before);
    assert_int_equal(optim_adam_steps(adam), 0);
    optim_adam_free(adam);
    ad_param_free(params[0]);
    ad_param_free(params[1]);
}

static void frozen_parameters_stay(void **state) {
    (void)state;
    ad_param *params[2] = {util_param("a", AD_F32, ad_shape1(3), 1), util_param("b", AD_F32, ad_shape1(3), 2)};
    params[0]->frozen = true;
    fill_gradient(params[1], 1);
    ((float *)params[0]->grad)[0] = NAN;  // not even looked at
    float before[3];
    memcpy(before, params[0]->data, sizeof before);
    optim_adam *adam = optim_adam_new(params, 2, NULL, &error);
    assert_status_ok(optim_adam_step(adam, NULL, 0.1, NULL, &error));
    assert_memory_equal(before, params[0]->data, sizeof before);
    optim_adam_free(adam);
    ad_param_free(params[0]);
    ad_param_free(params[1]);
}

static void bad_adam_options_are_refused(void **state) {
    (void)state;
    const optim_adam_options bad[] = {{.beta1 = 1}, {.beta2 = 1.5}, {.eps = -1}, {.max_norm = -1}, {.beta1 = NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(optim_adam_new(NULL, 0, &bad[i], &error));
        util_assert_contains(error.message, "adam: beta1");
    }
    ad_param *p = util_param("p", AD_F32, ad_shape1(1), 1);
    optim_adam *adam = adam_of(p, NULL);
    assert_int_equal(optim_adam_step(adam, NULL, NAN, NULL, &error), AD_EARG);
    optim_adam_free(adam);
    ad_param_free(p);
}

// Kernels that this machine can run, against plain C.
static const optim_adam_kernels *other_kernels(int i) {
    const optim_adam_kernels *list[2] = {NULL, NULL};
#ifdef __x86_64__
    if (strcmp(ad_cpu_name(), "plain") != 0) list[0] = &optim_adam_avx2;
    if (strcmp(ad_cpu_name(), "avx512") == 0) list[1] = &optim_adam_avx512;
#endif
    return list[i];
}

static void kernels_agree_bit_for_bit(void **state) {
    (void)state;
    enum { N = 1003 };
    const optim_adam_rule rule = {0.9, 0.999, 1e-8, 0.7, 0.01, 1.3};
    for (int k = 0; k < 2; k++) {
        const optim_adam_kernels *kernels[2] = {&optim_adam_plain, other_kernels(k)};
        float v[2][4][N];
        double squares[2];
        for (int j = 0; j < 2 && kernels[1]; j++) {
            uint64_t seed = 3;
            for (int i = 0; i < 4 * N; i++) v[j][i / N][i % N] = (float)util_uniform(&seed, 1e-4, 1);
            squares[j] = kernels[j]->squares[AD_F32](N, v[j][0]);
            kernels[j]->update[AD_F32](N, &rule, v[j][0], v[j][1], v[j][2], v[j][3]);
        }
        if (!kernels[1]) continue;
        assert_true(squares[0] == squares[1]);
        assert_memory_equal(v[0], v[1], sizeof v[0]);
    }
}

static void schedules_have_their_shape(void **state) {
    (void)state;
    util_assert_close(optim_schedule_factor(OPTIM_CONSTANT, 70, 100, 0, 0), 1, 0);
    util_assert_close(optim_schedule_factor(OPTIM_CONSTANT, 4, 100, 10, 0), 0.5, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 9, 110, 10, 0.2), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 10, 110, 10, 0.2), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 60, 110, 10, 0.2), 0.6, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 110, 110, 10, 0.2), 0.2, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 5, 5, 5, 0.2), 1, 1e-15);
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
        .steps = 60, .lr = 0.3, .validation = &m.validation, .validate_every = 1, .adam = {.max_norm = -1}};
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
    const optim_fit_options options = {.steps = 10, .batch = 4000};
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
        .steps = 40, .lr = 1e30, .validation = &m.validation, .validate_every = 1, .adam = {.max_norm = -1}};
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

static void bad_fit_options_are_refused(void **state) {
    (void)state;
    moons m = moons_new();
    const optim_fit_options bad[] = {{.steps = -1}, {.batch = -1}, {.lr = -1}, {.lr = NAN}, {.validate_every = -1}};
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
        cmocka_unit_test(adam_follows_the_reference_on_given_gradients),
        cmocka_unit_test(adam_follows_the_reference_on_a_loss),
        cmocka_unit_test(adam_gives_the_same_bits_for_any_threads),
        cmocka_unit_test(clipping_scales_the_gradient_to_the_norm),
        cmocka_unit_test(a_gradient_not_finite_is_refused),
        cmocka_unit_test(frozen_parameters_stay),
        cmocka_unit_test(bad_adam_options_are_refused),
        cmocka_unit_test(kernels_agree_bit_for_bit),
        cmocka_unit_test(schedules_have_their_shape),
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
        cmocka_unit_test(bad_fit_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
