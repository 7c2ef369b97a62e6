// test_anneal.c -- annealed importance sampling: log Z and moments of a Gaussian target, refusals, repetition.
#include "flows.h"
#include "optim.h"
#include "util.h"

enum { D = 2 };
static const double log_2pi = 1.83787706640934548356;
static ad_error error;

typedef struct gauss {
    double mean[D], sd[D];
} gauss;
static const gauss wide = {{2, -1}, {0.5, 1.5}};

// Unnormalised: log Z is 4.5 + sum log sd + log(2 pi).
static ad_var gaussian(void *arg, ad_var x) {
    const gauss *g = arg;
    ad_var m = ad_constant(x.tape, ad_shape1(D), g->mean), s = ad_constant(x.tape, ad_shape1(D), g->sd);
    return ad_offset(ad_scale(ad_sum(ad_square(ad_div(ad_sub(x, m), s))), -0.5), 4.5);
}
static optim_target target_of(const gauss *g) {
    return (optim_target){gaussian, (void *)(uintptr_t)g, "gaussian"};
}

static flow_model *standard(void) {
    flow_diagonal_options o = {.linear.type = AD_F64};
    flow_model *model = flow_model_new(flow_diagonal_affine(D, &o, &error), flow_standard_normal(D, &error), &error);
    if (!model) fail_msg("%s", error.message);
    return model;
}

static optim_annealer *annealer_of(const flow_model *model, const optim_target *t, const optim_annealing_options *o) {
    optim_annealer *a = optim_annealer_new(model, t, o, &error);
    if (!a) fail_msg("%s", error.message);
    return a;
}

// Runs long enough for step sizes to settle, then what chains say: all weights of these runs together.
typedef struct said {
    optim_importance report;
    double mean[D], mean_error[D];
} said;

enum { CHAINS = 500, SETTLING = 40, RUNS = 20 };

static said chains_say(const gauss *g, const optim_annealing_options *o) {
    static double log_weight[CHAINS * RUNS], x[D][CHAINS * RUNS];
    flow_model *model = standard();
    const optim_target t = target_of(g);
    optim_annealer *a = annealer_of(model, &t, o);
    const optim_annealed *out = optim_annealer_result(a);
    for (int run = 0; run < SETTLING + RUNS; run++) {
        if (optim_annealer_run(a, (uint64_t)run, &error) != AD_OK) fail_msg("%s", error.message);
        for (int i = 0; run >= SETTLING && i < CHAINS; i++) {
            log_weight[(run - SETTLING) * CHAINS + i] = out->log_weight[i];
            for (int k = 0; k < D; k++) x[k][(run - SETTLING) * CHAINS + i] = out->x[i * D + k];
        }
    }
    assert_true(out->acceptance > (o->leapfrog < 0 ? 0.15 : 0.5) && out->acceptance < (o->leapfrog < 0 ? 0.35 : 0.8));
    said s;
    assert_int_equal(optim_importance_of(log_weight, CHAINS * RUNS, 1, &s.report, &error), AD_OK);
    for (int k = 0; k < D; k++) {
        optim_expectation(log_weight, x[k], CHAINS * RUNS, &s.mean[k], &s.mean_error[k], &error);
    }
    optim_annealer_free(a);
    flow_model_free(model);
    return s;
}

static void expect(const said *s, double log_z, const double *mean) {
    if (!(fabs(s->report.log_z - log_z) <= 4 * s->report.log_z_error)) {
        fail_msg("log Z %.4f +- %.4f, expected %.4f", s->report.log_z, s->report.log_z_error, log_z);
    }
    for (int k = 0; k < D; k++) {
        if (fabs(s->mean[k] - mean[k]) <= 4 * s->mean_error[k]) continue;
        fail_msg("mean %d: %.4f +- %.4f, expected %.4f", k, s->mean[k], s->mean_error[k], mean[k]);
    }
}

// Hamiltonian and random walk.
static void chains_reach_the_target(void **state) {
    (void)state;
    for (int walk = 0; walk < 2; walk++) {
        const optim_annealing_options o = {.chains = CHAINS,
                                           .distributions = 8,
                                           .transitions = walk ? 3 : 1,
                                           .leapfrog = walk ? -1 : 0,
                                           .to_target = true,
                                           .seed = 4,
                                           .type = AD_F64};
        said s = chains_say(&wide, &o);
        expect(&s, 4.5 + log(wide.sd[0] * wide.sd[1]) + log_2pi, wide.mean);
        assert_true(s.report.ess > (walk ? 0.06 : 0.15));
    }
}

// p~^2 / q of two Gaussians is one, where 2 / sd^2 > 1: its mean and integral in closed form.
static void chains_reach_the_square_over_the_model(void **state) {
    (void)state;
    const gauss narrow = {{1, -0.5}, {0.8, 0.9}};
    double integral = 9, centre[D];
    for (int k = 0; k < D; k++) {
        double v = narrow.sd[k] * narrow.sd[k], m = narrow.mean[k], precision = 2 / v - 1;
        centre[k] = 2 * m / v / precision;
        integral += -m * m / v + 0.5 * precision * centre[k] * centre[k] + log_2pi - 0.5 * log(precision);
    }
    said s = chains_say(&narrow, &(optim_annealing_options){.chains = CHAINS, .seed = 4, .type = AD_F64});
    expect(&s, integral, centre);
    assert_true(s.report.ess > 0.25);
}

// Uniform on x0 < 1: proposals beyond are refused, and so are chains that start there.
static ad_var half(void *arg, ad_var x) {
    (void)arg;
    ad_var inside = ad_less(ad_slice(x, 0, 0, 1), ad_number(x.tape, 1));
    ad_var normal = ad_scale(ad_square(x), -0.5);
    return ad_sum(ad_where(inside, normal, ad_number(x.tape, -INFINITY)));
}

static void points_without_density_are_refused(void **state) {
    (void)state;
    flow_model *model = standard();
    const optim_target t = {half, NULL, NULL};
    optim_annealer *a = annealer_of(model, &t, &(optim_annealing_options){.to_target = true, .type = AD_F64});
    const optim_annealed *out = optim_annealer_result(a);
    int zeros = 0;
    for (int run = 0; run < 3; run++) {
        assert_int_equal(optim_annealer_run(a, 7, &error), AD_OK);
        for (int i = 0; i < 128; i++) {
            assert_true(out->weight[i] == 0 || out->x[i * D] < 1);
            zeros += run == 0 && out->weight[i] == 0;
        }
    }
    assert_in_range(zeros, 10, 35);  // P(x0 > 1) is 0.159
    optim_annealer_free(a);
    flow_model_free(model);
}

static ad_var nowhere(void *arg, ad_var x) {
    (void)arg;
    return ad_sum(ad_scale(ad_to_rows(ad_number(x.tape, -INFINITY), ad_rows_of(x)), 1));
}

static void bad_calls_say_so(void **state) {
    (void)state;
    flow_model *model = standard();
    const optim_target t = target_of(&wide), none = {nowhere, NULL, NULL};
    assert_null(optim_annealer_new(model, &t, &(optim_annealing_options){.chains = -1}, &error));
    assert_int_equal(error.status, AD_EARG);
    assert_non_null(strstr(error.message, "chains -1"));
    optim_annealer *a = annealer_of(model, &none, NULL);
    assert_int_equal(optim_annealer_run(a, 0, &error), AD_ENONFINITE);
    assert_non_null(strstr(error.message, "no chain"));
    optim_annealer_free(a);
    flow_model_free(model);
}

// With fixed steps a run depends on its number alone.
static void runs_repeat(void **state) {
    (void)state;
    flow_model *model = standard();
    const optim_target t = target_of(&wide);
    optim_annealer *a = annealer_of(model, &t, &(optim_annealing_options){.fixed_step = true});
    const optim_annealed *out = optim_annealer_result(a);
    double x[128 * D];
    assert_int_equal(optim_annealer_run(a, 3, &error), AD_OK);
    memcpy(x, out->x, sizeof x);
    assert_int_equal(optim_annealer_run(a, 4, &error), AD_OK);
    assert_memory_not_equal(x, out->x, sizeof x);
    assert_int_equal(optim_annealer_run(a, 3, &error), AD_OK);
    assert_memory_equal(x, out->x, sizeof x);
    optim_annealer_free(a);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_reach_the_target),
                                       cmocka_unit_test(chains_reach_the_square_over_the_model),
                                       cmocka_unit_test(points_without_density_are_refused),
                                       cmocka_unit_test(bad_calls_say_so), cmocka_unit_test(runs_repeat)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
