// test_fit_target.c -- flows fitted to unnormalised densities: what is reached, kept and reported; draws; wrong calls.
#include "files.h"
#include "flows.h"
#include "optim.h"
#include "util.h"

enum { D = 2 };
static const double mean[D] = {1.5, -0.5}, sd[D] = {0.6, 1.8}, offset = -7.5;
static ad_error error;

static double log_z(void) {
    return offset + log(sd[0] * sd[1]) + 1.83787706640934548356;
}

static ad_var gaussian(void *arg, ad_var x) {
    (void)arg;
    ad_var m = ad_constant(x.tape, ad_shape1(D), mean), s = ad_constant(x.tape, ad_shape1(D), sd);
    return ad_offset(ad_scale(ad_sum(ad_square(ad_div(ad_sub(x, m), s))), -0.5), offset);
}
static const optim_target target = {gaussian, NULL, "gaussian"};

static flow_model *affine(ad_type type) {
    flow_diagonal_options o = {.linear.type = type};
    flow_model *model = flow_model_new(flow_diagonal_affine(D, &o, &error), flow_standard_normal(D, &error), &error);
    if (!model) fail_msg("%s", error.message);
    return model;
}

static optim_target_result fit(flow_model *model, const optim_target *t, const optim_target_options *o) {
    optim_target_result r;
    if (optim_fit_target(model, t, o, &r, &error) != AD_OK) fail_msg("%s", error.message);
    return r;
}

static void every_divergence_finds_a_gaussian(void **state) {
    (void)state;
    for (int d = 0; d <= OPTIM_ANNEALED; d++) {
        flow_model *model = affine(AD_F64);
        const bool noisy = d == OPTIM_REVERSE_KL || d == OPTIM_FORWARD_KL || d == OPTIM_ANNEALED;
        optim_target_options o = {
            .divergence = (optim_divergence)d,
            .alpha = 0.5,
            .fit = {.steps = 1500, .batch = 128, .lr = 0.03, .schedule = OPTIM_COSINE, .seed = 3, .type = AD_F64}};
        optim_target_result r = fit(model, &target, &o);
        const double gap = noisy ? 2e-3 : 1e-5;  // along paths nothing is left to chance
        if (!(fabs(r.report.elbo - log_z()) <= gap && fabs(r.report.log_z - log_z()) <= gap)) {
            fail_msg("divergence %d: ELBO %.8f, log Z %.8f, expected %.8f", d, r.report.elbo, r.report.log_z, log_z());
        }
        util_assert_close(r.report.ess, 1, noisy ? 0.02 : 1e-5);
        assert_int_equal(r.report.n, 10000);
        assert_int_equal(r.fit.steps, 1500);
        flow_model_free(model);
    }
}

static void the_chi_squared_bound_falls_on_log_z(void **state) {
    (void)state;
    flow_model *model = affine(AD_F64);
    optim_target_options o = {.divergence = OPTIM_ALPHA,
                              .alpha = -1,
                              .fit = {.steps = 1500, .lr = 0.03, .schedule = OPTIM_COSINE, .type = AD_F64}};
    optim_target_result r = fit(model, &target, &o);
    util_assert_close(r.fit.loss, log_z(), 1e-5);
    flow_model_free(model);
}

typedef struct seen {
    double loss[64], validation[64];
    int n, stop_after;
} seen;
static bool see(void *arg, const optim_progress *p) {
    seen *s = arg;
    s->loss[s->n] = p->loss;
    s->validation[s->n] = p->validated ? p->validation : NAN;
    return ++s->n != s->stop_after;
}

static void the_best_weights_are_kept(void **state) {
    (void)state;
    flow_model *model = affine(AD_F64);
    seen s = {.n = 0};
    optim_target_options o = {.divergence = OPTIM_REVERSE_KL,
                              .validation_draws = 500,
                              .fit = {.steps = 40,
                                      .batch = 4,
                                      .lr = 0.5,
                                      .validate_every = 1,
                                      .seed = 1,
                                      .type = AD_F64,
                                      .progress = see,
                                      .progress_arg = &s}};
    optim_target_result r = fit(model, &target, &o);
    int best = 0;
    for (int i = 1; i < 40; i++) best = s.validation[i] < s.validation[best] ? i : best;
    assert_true(best < 39);
    assert_int_equal(r.fit.best_step, best + 1);
    util_assert_close(r.elbo, -s.validation[best], 0);
    util_assert_close(r.fit.loss, s.loss[39], 0);
    // The model has them: fresh draws say the same of it.
    static double w[10000];
    optim_importance i;
    assert_int_equal(optim_draws(model, &target, &(optim_drawing){.n = 10000, .log_weight = w, .seed = 9}, &error),
                     AD_OK);
    assert_int_equal(optim_importance_of(w, 10000, 1, &i, &error), AD_OK);
    assert_true(fabs(i.elbo - r.report.elbo) <= 4 * hypot(i.elbo_error, r.report.elbo_error));
    flow_model_free(model);
    model = affine(AD_F64);
    s.n = 0;
    o.keep_last = true;
    r = fit(model, &target, &o);
    assert_int_equal(r.fit.best_step, 40);
    assert_true(isnan(r.elbo));
    flow_model_free(model);
    model = affine(AD_F64);
    s = (seen){.stop_after = 7};
    r = fit(model, &target, &o);
    assert_true(r.fit.stopped);
    assert_int_equal(r.fit.steps, 7);
    flow_model_free(model);
}

// The first loss is that at beta's start; log p~ counts in full in the end.
static void beta_rises_to_one(void **state) {
    (void)state;
    double first[2];
    for (int i = 0; i < 2; i++) {
        flow_model *model = affine(AD_F64);
        seen s = {.stop_after = i == 0 ? 1 : 0};
        optim_target_options o = {.beta = i == 0 ? 1 : 0.25,
                                  .fit = {.steps = 60,
                                          .lr = 0.1,
                                          .schedule = OPTIM_COSINE,
                                          .validate_every = 10,
                                          .type = AD_F64,
                                          .progress = see,
                                          .progress_arg = &s}};
        optim_target_result r = fit(model, &target, &o);
        first[i] = s.loss[0];
        if (i == 1) util_assert_close(r.report.elbo, log_z(), 0.05);
        if (i == 1) assert_true(r.fit.best_step >= 30);
        flow_model_free(model);
    }
    // loss = mean log q - beta mean log p~, at the same draws: mean log q follows from the two.
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    flow_model *model = affine(AD_F64);
    ad_random random = {0, 1};
    flow_draw draw = flow_sample_and_log_prob(model, util_rows(tape, "draws", 256), &random, 0, AD_NONE);
    double log_q = ad_value(ad_keep(ad_mean_rows(draw.log_prob)));
    util_assert_close(first[1], log_q + 0.25 * (first[0] - log_q), 1e-12);
    ad_tape_free(tape);
    flow_model_free(model);
}

static void rows_of_data_are_added(void **state) {
    (void)state;
    double x[30 * D], w[30], loss[2];
    util_fill(x, 30 * D, 5, -2, 2);
    util_fill(w, 30, 6, 0.5, 2);
    const flow_rows rows = {.x = util_source(x, 30), .weight = util_source(w, 30)};
    double score = 0, total = 0;
    for (int i = 0; i < 2; i++) {
        flow_model *model = affine(AD_F64);
        optim_target_options o = {
            .data = i ? &rows : NULL, .data_weight = 0.75, .validation_draws = 10, .fit = {.steps = 1, .type = AD_F64}};
        loss[i] = fit(model, &target, &o).fit.loss;
        flow_model_free(model);
    }
    for (int i = 0; i < 30; i++) {  // under a standard normal
        double square = x[i * D] * x[i * D] + x[i * D + 1] * x[i * D + 1];
        score += w[i] * (0.5 * square + 1.83787706640934548356);
        total += w[i];
    }
    util_assert_close(loss[1] - loss[0], 0.75 * score / total, 1e-12);
}

static void averages_are_scored_and_kept(void **state) {
    (void)state;
    double elbo[2];
    for (int i = 0; i < 2; i++) {
        flow_model *model = affine(AD_F64);
        optim_target_options o = {
            .divergence = OPTIM_REVERSE_KL,
            .keep_last = true,
            .fit = {.steps = 400, .batch = 8, .lr = 0.1, .average = i ? 0.98 : 0, .type = AD_F64}};
        elbo[i] = fit(model, &target, &o).report.elbo;
        flow_model_free(model);
    }
    assert_true(log_z() - elbo[1] < 0.3 * (log_z() - elbo[0]));
}

static void same_seed_same_bits(void **state) {
    (void)state;
    double kept[2][2 * D];
    for (int i = 0; i < 2; i++) {
        ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = 1 + 2 * i}, NULL);
        flow_model *model = affine(AD_F32);
        optim_target_options o = {.fit = {.steps = 20, .batch = 300, .seed = 4, .engine = engine}};
        fit(model, &target, &o);
        int n;
        ad_param *const *p = flow_params(model, &n);
        for (int k = 0; k < 2 * D; k++) kept[i][k] = ad_param_get(p[k / D], k % D);
        flow_model_free(model);
        ad_engine_free(engine);
    }
    assert_memory_equal(kept[0], kept[1], sizeof kept[0]);
}

// ---- draws -------------------------------------------------------------------------------------------------------

static void draws_do_not_depend_on_batches(void **state) {
    (void)state;
    flow_model *model = affine(AD_F64);
    double x[2][50 * D], w[2][50], log_q[50], log_p[50];
    for (int i = 0; i < 2; i++) {
        optim_drawing d = {.n = 50, .x = x[i], .log_weight = w[i], .seed = 8, .batch = i ? 7 : 0};
        assert_int_equal(optim_draws(model, &target, &d, &error), AD_OK);
    }
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    const ad_source source = util_source(x[0], 50);
    ad_var v = ad_input(util_rows(tape, "points", 50), ad_shape1(D), &source);
    ad_var q = ad_keep(flow_log_prob(model, v, AD_NONE)), p = ad_keep(gaussian(NULL, v));
    assert_int_equal(ad_run(tape), AD_OK);
    ad_read(q, log_q, 50), ad_read(p, log_p, 50);
    for (int i = 0; i < 50; i++) util_assert_close(w[0][i], log_p[i] - log_q[i], 1e-12);
    assert_int_equal(optim_draws(model, NULL, &(optim_drawing){.n = 50, .x = x[1], .seed = 8}, &error), AD_OK);
    assert_memory_equal(x[0], x[1], sizeof x[0]);
    assert_int_equal(optim_draws(model, NULL, &(optim_drawing){.n = 50, .log_weight = w[0]}, &error), AD_EARG);
    assert_non_null(strstr(error.message, "need a target"));
    ad_tape_free(tape);
    flow_model_free(model);
}

// ---- distillation ------------------------------------------------------------------------------------------------

// A teacher that is fast in one direction, bent away from a normal; a student fast in the other learns it without data.
static void a_student_learns_its_teacher(void **state) {
    (void)state;
    flow_autoregressive_options layer = {.made.mlp = {.width = 16, .type = AD_F64}};
    flow_model *teacher = flow_maf(3, 0, &(flow_maf_options){.layers = 1, .raw = true, .layer = layer}, &error);
    layer.inverse = true;
    flow_model *student = flow_maf(3, 0, &(flow_maf_options){.layers = 2, .raw = true, .layer = layer}, &error);
    if (!teacher || !student) fail_msg("%s", error.message);
    int n;
    uint64_t seed = 2;
    ad_param *const *p = flow_params(teacher, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < p[i]->count; k++) {
            ad_param_set(p[i], k, ad_param_get(p[i], k) + util_uniform(&seed, -0.25, 0.25));
        }
    }
    const optim_target t = optim_teacher(teacher);
    double before[1000];
    optim_importance start;
    assert_int_equal(optim_draws(student, &t, &(optim_drawing){.n = 1000, .log_weight = before}, &error), AD_OK);
    assert_int_equal(optim_importance_of(before, 1000, 1, &start, &error), AD_OK);
    optim_target_options o = {.divergence = OPTIM_REVERSE_KL,
                              .fit = {.steps = 300, .batch = 64, .lr = 1e-2, .schedule = OPTIM_COSINE, .type = AD_F64}};
    optim_target_result r = fit(student, &t, &o);
    assert_true(start.elbo < -0.05);  // something there was to learn
    assert_true(r.report.elbo > 0.1 * start.elbo && r.report.elbo <= 3 * r.report.elbo_error);
    assert_true(fabs(r.report.log_z) <= 3 * r.report.log_z_error);  // a teacher integrates to 1
    assert_true(r.report.ess > 0.95);
    flow_model_free(teacher);
    flow_model_free(student);
}

// ---- where to start -------------------------------------------------------------------------------------------------

// A log-normal with correlated logarithms, by its natural parameters: the model is it, without any training.
static ad_var log_normal(void *arg, ad_var x) {
    (void)arg;
    ad_var v = ad_log(x), a = ad_offset(ad_slice(v, 0, 0, 1), -3), b = ad_offset(ad_slice(v, 0, 1, 1), 1);
    ad_var square = ad_add(ad_square(ad_scale(a, 10)), ad_square(ad_add(a, ad_scale(b, 0.5))));
    return ad_sub(ad_scale(ad_sum(square), -0.5), ad_sum(v));
}

static void the_mode_and_its_curvature_are_found(void **state) {
    (void)state;
    const optim_target t = {log_normal, NULL, "log-normal"};
    flow_layer *positive = flow_bijector(D, "exp", &(flow_bijector_options){.inverse = true}, &error);
    flow_layer *chain[2] = {positive, optim_laplace(positive, &t, &error)};
    if (!chain[1]) fail_msg("%s", error.message);
    flow_model *model = flow_model_new(flow_chain(chain, 2, &error), flow_standard_normal(D, &error), &error);
    if (!model) fail_msg("%s", error.message);
    double w[100];
    assert_int_equal(optim_draws(model, &t, &(optim_drawing){.n = 100, .log_weight = w}, &error), AD_OK);
    for (int i = 0; i < 100; i++) util_assert_close(w[i], log(2 * 3.14159265358979323846) - log(10 * 0.5), 1e-6);
    int n;
    ad_param *const *p = flow_params(model, &n);
    for (int i = 0; i < n; i++) assert_true(p[i]->frozen);
    flow_model_free(model);
    assert_null(optim_laplace(NULL, &t, &error));
    assert_int_equal(error.status, AD_EARG);
}

// ---- checkpoints -------------------------------------------------------------------------------------------------

// Random numbers, beta, step sizes of chains and the average are all there.
static void a_stopped_run_goes_on_bit_for_bit(void **state) {
    (void)state;
    const optim_divergence which[2] = {OPTIM_REVERSE_KL, OPTIM_ANNEALED};
    for (int d = 0; d < 2; d++) {
        double kept[2][2 * D];
        for (int stops = 0; stops < 2; stops++) {
            char name[20];
            snprintf(name, sizeof name, "run%d%d", d, stops);
            optim_target_result r;
            for (int part = 0; part <= stops; part++) {
                flow_model *model = affine(AD_F64);
                seen s = {.stop_after = stops && part == 0 ? 13 : 0};
                optim_target_options o = {.divergence = which[d],
                                          .beta = 0.2,
                                          .fit = {.steps = 30,
                                                  .batch = 16,
                                                  .lr = 0.05,
                                                  .average = 0.9,
                                                  .care = {.checkpoint = files_path(name)},
                                                  .progress = see,
                                                  .progress_arg = &s}};
                r = fit(model, &target, &o);
                int n;
                ad_param *const *p = flow_params(model, &n);
                for (int k = 0; k < 2 * D; k++) kept[stops][k] = ad_param_get(p[k / D], k % D);
                flow_model_free(model);
            }
            assert_int_equal(r.fit.resumed, stops ? 13 : 0);
        }
        assert_memory_equal(kept[0], kept[1], sizeof kept[0]);
    }
}

// ---- wrong calls, bad numbers ------------------------------------------------------------------------------------

static void expect_failure(flow_model *model, const optim_target *t, const optim_target_options *o, ad_status status,
                           const char *text) {
    error.message[0] = 0;
    ad_status got = optim_fit_target(model, t, o, NULL, &error);
    if (got != status || !strstr(error.message, text)) fail_msg("%d %s; expected '%s'", got, error.message, text);
}

static ad_var broken(void *arg, ad_var x) {
    (void)arg;
    return ad_sum(ad_log(x));  // NaN below 0
}

static void failures_are_named(void **state) {
    (void)state;
    flow_model *model = affine(AD_F64), *conditional = flow_realnvp(2, 1, NULL, &error);
    expect_failure(model, &target, &(optim_target_options){.fit = {.steps = -1}}, AD_EARG, "steps -1");
    expect_failure(model, &target, &(optim_target_options){.beta = 2}, AD_EARG, "beta 2");
    expect_failure(model, &target, &(optim_target_options){.fit = {.average = 2}}, AD_EARG, "average 2");
    expect_failure(model, NULL, NULL, AD_EARG, "no target");
    expect_failure(conditional, &target, NULL, AD_EARG, "context");
    const optim_target bad = {broken, NULL, "logarithm"};
    const optim_target_options strict = {.fit = {.steps = 5, .care.guard.off = true}};
    expect_failure(model, &bad, &strict, AD_ENONFINITE, "step 1");
    assert_non_null(strstr(error.message, "for logarithm at draw"));
    int n;
    ad_param *const *p = flow_params(model, &n);
    for (int i = 0; i < n; i++) util_assert_close(ad_param_get(p[i], 0), 0, 0);
    flow_model_free(conditional);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_divergence_finds_a_gaussian),
                                       cmocka_unit_test(the_chi_squared_bound_falls_on_log_z),
                                       cmocka_unit_test(the_best_weights_are_kept),
                                       cmocka_unit_test(beta_rises_to_one),
                                       cmocka_unit_test(rows_of_data_are_added),
                                       cmocka_unit_test(averages_are_scored_and_kept),
                                       cmocka_unit_test(same_seed_same_bits),
                                       cmocka_unit_test(draws_do_not_depend_on_batches),
                                       cmocka_unit_test(a_student_learns_its_teacher),
                                       cmocka_unit_test(a_stopped_run_goes_on_bit_for_bit),

                                       cmocka_unit_test(the_mode_and_its_curvature_are_found),
                                       cmocka_unit_test(failures_are_named)};
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
