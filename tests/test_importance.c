// test_importance.c -- what importance weights say: closed forms, quantile grids instead of random draws.
#include "optim.h"
#include "util.h"

static ad_error error;

static optim_importance of(const double *log_weight, int64_t n) {
    optim_importance out;
    if (optim_importance_of(log_weight, n, 1, &out, &error) != AD_OK) fail_msg("%s", error.message);
    return out;
}

static void equal_weights_are_perfect(void **state) {
    (void)state;
    double w[100];
    for (int i = 0; i < 100; i++) w[i] = -700.5;
    optim_importance r = of(w, 100);
    assert_int_equal(r.n, 100);
    assert_int_equal(r.zeros, 0);
    util_assert_close(r.elbo, -700.5, 1e-12);
    util_assert_close(r.log_z, -700.5, 1e-12);
    util_assert_close(r.elbo_error, 0, 1e-12);
    util_assert_close(r.log_z_error, 0, 0);
    util_assert_close(r.ess, 1, 1e-15);
    util_assert_close(r.acceptance, 1, 0);
    assert_true(r.pareto_k == -INFINITY);
}

static void two_weights_by_hand(void **state) {
    (void)state;
    const double w[3] = {1000, 1000 + log(3), -INFINITY};
    optim_importance r = of(w, 2);
    util_assert_close(r.elbo, 1000 + log(3) / 2, 1e-12);
    util_assert_close(r.elbo_error, log(3) / 2, 1e-12);
    util_assert_close(r.log_z, 1000 + log(2), 1e-12);
    util_assert_close(r.log_z_error, 0.5, 1e-12);  // weights 1 and 3: deviation sqrt(2), over sqrt(2), over 2
    util_assert_close(r.ess, 16.0 / 10 / 2, 1e-12);
    assert_true(r.pareto_k == INFINITY);  // too few to say
    r = of(w, 3);
    assert_int_equal(r.zeros, 1);
    util_assert_close(r.log_z, 1000 + log(4.0 / 3), 1e-12);
    assert_true(r.elbo == -INFINITY);
    const double f[3] = {1, 2, NAN};
    double mean, se;
    assert_int_equal(optim_expectation(w, f, 3, &mean, &se, &error), AD_OK);
    util_assert_close(mean, 1.75, 1e-12);
    util_assert_close(se, sqrt(0.75 * 0.75 + 9 * 0.25 * 0.25) / 4, 1e-12);
}

// The quantile of a standard normal by bisection of erfc.
static double quantile(double u) {
    double low = -10, high = 10;
    for (int i = 0; i < 80; i++) {
        double middle = 0.5 * (low + high);
        if (0.5 * erfc(-middle / sqrt(2)) < u) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// q = N(0, 1), p~ = e^2 N(1/2, 1): log w = 2 + x/2 - 1/8, E[w^2] / E[w]^2 = e^(1/4).
static void a_shifted_normal_has_its_closed_forms(void **state) {
    (void)state;
    enum { N = 20000 };
    double *w = malloc(N * sizeof *w), *x = malloc(N * sizeof *x), mean, se;
    for (int i = 0; i < N; i++) {
        x[i] = quantile((i + 0.5) / N);
        w[i] = 2 + x[i] / 2 - 0.125;
    }
    optim_importance r = of(w, N);
    util_assert_close(r.elbo, 2 - 0.125, 1e-6);
    util_assert_close(r.elbo_error, 0.5 / sqrt(N), 1e-5);
    util_assert_close(r.log_z, 2, 1e-4);
    util_assert_close(r.log_z_error, sqrt((exp(0.25) - 1) / N), 1e-4);
    util_assert_close(r.ess, exp(-0.25), 1e-3);
    assert_true(r.pareto_k < 0.5);
    assert_int_equal(optim_expectation(w, x, N, &mean, &se, &error), AD_OK);
    util_assert_close(mean, 0.5, 1e-3);
    // Var of w (x - 1/2) under q, w = exp(x/2 - 1/8): e^(1/4) E[(y - 1/2)^2], y of N(1, 1).
    util_assert_close(se, sqrt(exp(0.25) * 1.25 / N), 1e-4);
    free(w);
    free(x);
}

// Weights (1 - u)^-k are Pareto of shape k.
static void pareto_tails_have_their_shape(void **state) {
    (void)state;
    enum { N = 10000, TAIL = 300 };
    double *w = malloc(N * sizeof *w);
    for (int k = 3; k <= 12; k += 3) {
        for (int i = 0; i < N; i++) w[i] = -0.1 * k * log(1 - ((i * 7919) % N + 0.5) / N);
        double want = (0.1 * k * TAIL + 5) / (TAIL + 10);
        util_assert_close(of(w, N).pareto_k, want, 0.05);
    }
    free(w);
}

static void acceptance_is_that_of_the_chain(void **state) {
    (void)state;
    enum { N = 40000 };
    double *w = malloc(N * sizeof *w);
    for (int i = 0; i < N; i++) w[i] = i;
    util_assert_close(of(w, N).acceptance, 1, 0);
    for (int i = 0; i < N; i++) w[i] = -100.0 * i;
    util_assert_close(of(w, N).acceptance, 0, 0);
    // Weights 1 and 3 in turn: from 1 always on to 3; from 3, offered a 1 every second time, a third.
    // Offers of 3 when at 3 are accepted. In state 3 (after an offer of 3), offer 1: accepted 1/3.
    for (int i = 0; i < N; i++) w[i] = i % 2 ? log(3) : 0;
    util_assert_close(of(w, N).acceptance, (1 + 1.0 / 3) / 2, 0.01);
    free(w);
}

static void bad_weights_are_refused(void **state) {
    (void)state;
    const double w[4] = {0, NAN, INFINITY, -INFINITY};
    optim_importance r;
    double mean;
    assert_int_equal(optim_importance_of(w, 0, 1, &r, &error), AD_EARG);
    assert_int_equal(optim_importance_of(w, 2, 1, &r, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "log-weight 1 is ");
    assert_int_equal(optim_importance_of(w + 2, 1, 1, &r, &error), AD_ENONFINITE);
    assert_int_equal(optim_importance_of(w + 3, 1, 1, &r, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "all 1 weights are 0");
    assert_int_equal(optim_expectation(w, w, 2, &mean, NULL, &error), AD_ENONFINITE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_weights_are_perfect),
        cmocka_unit_test(two_weights_by_hand),
        cmocka_unit_test(a_shifted_normal_has_its_closed_forms),
        cmocka_unit_test(pareto_tails_have_their_shape),
        cmocka_unit_test(acceptance_is_that_of_the_chain),
        cmocka_unit_test(bad_weights_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
