// test_moons.c -- two moons: the log-density against its definition, the entropy against both, the sampler.
#include "data.h"
#include "util.h"

static const long double pi = 3.14159265358979323846L;

// Both moons, noise .1, x = 2 p + (-1, -.2): their integral by Simpson's rule with n steps.
static long double simpson(const double *x, int n) {
    long double px = ((long double)x[0] + 1) / 2, py = ((long double)x[1] + 0.2L) / 2, sum = 0;
    for (int i = 0; i <= n; i++) {
        long double t = pi * i / n, c = cosl(t), s = sinl(t);
        long double outer = (px - c) * (px - c) + (py - s) * (py - s);
        long double inner = (px - 1 + c) * (px - 1 + c) + (py - 0.5L + s) * (py - 0.5L + s);
        sum += (i == 0 || i == n ? 1 : i % 2 == 1 ? 4 : 2) * (expl(-outer * 50) + expl(-inner * 50));
    }
    return sum / n / 3;
}

// The definition, by one step of Richardson's extrapolation.
static double slow_log_density(const double *x) {
    long double integral = (16 * simpson(x, 10000) - simpson(x, 5000)) / 15;
    return (double)logl(integral / 2 / (2 * pi * 0.01L) / 4);
}

static void log_density_is_the_definition(void **state) {
    (void)state;
    uint64_t seed = 1;
    double x[2];
    for (int i = 0; i < 200; i++) {
        x[0] = util_uniform(&seed, -5, 5);
        x[1] = util_uniform(&seed, -4, 4);
        util_assert_close(data_moons_log_density(x), slow_log_density(x), 1e-12);
    }
    // Centres of both circles, on the axis, on the curve's ends, beyond them.
    const double special[][2] = {{-1, -0.2}, {1, 0.8},  {3, -0.2}, {-3, -0.2},
                                 {1, -0.2},  {-1, 1.8}, {0, -0.2}, {-1, -3}};
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        util_assert_close(data_moons_log_density(special[i]), slow_log_density(special[i]), 1e-12);
    }
}

static void log_density_is_finite_far_away(void **state) {
    (void)state;
    const double far[][2] = {{1e6, -1e6}, {-1e100, 3}, {0, 1e-300}};
    for (int i = 0; i < 3; i++) assert_true(isfinite(data_moons_log_density(far[i])));
    const double beyond[2] = {1e200, 1e300};
    assert_true(data_moons_log_density(beyond) == -INFINITY);
}

// The trapezoidal rule over the plane: exact but for rounding, since the density is smooth and falls off at once.
static void density_integrates_to_one_and_to_the_entropy(void **state) {
    (void)state;
    const double h = 0.08;
    double mass = 0, entropy = 0;
    for (double x = -5; x < 5; x += h) {
        for (double y = -3.4; y < 4; y += h) {
            double point[2] = {x, y}, l = data_moons_log_density(point);
            mass += exp(l) * h * h;
            entropy -= exp(l) * l * h * h;
        }
    }
    util_assert_close(mass, 1, 1e-12);
    util_assert_close(entropy, DATA_MOONS_ENTROPY, 1e-9);
}

static void samples_have_the_entropy(void **state) {
    (void)state;
    enum { N = 50000 };
    double *x = malloc(2 * N * sizeof *x), mean = 0, square = 0;
    data_moons_sample(N, 1, 0, x);
    for (int i = 0; i < N; i++) {
        double nll = -data_moons_log_density(x + 2 * i);
        mean += nll / N;
        square += nll * nll / N;
    }
    free(x);
    double deviation = sqrt((square - mean * mean) / N);
    assert_true(fabs(mean - DATA_MOONS_ENTROPY) < 5 * deviation);
    assert_true(deviation < 0.01);
}

// Mean and covariance in closed form: p has mean (.5, .25); E cos^2 t = 1/2, E sin t = 2 / pi.
static void samples_have_the_moments(void **state) {
    (void)state;
    enum { N = 100000 };
    double *x = malloc(2 * N * sizeof *x), mean[2] = {0, 0}, moment[3] = {0, 0, 0};
    data_moons_sample(N, 2, 0, x);
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 2; k++) mean[k] += x[2 * i + k] / N;
        moment[0] += x[2 * i] * x[2 * i] / N;
        moment[1] += x[2 * i + 1] * x[2 * i + 1] / N;
        moment[2] += x[2 * i] * x[2 * i + 1] / N;
    }
    free(x);
    // p1 is sin t or .5 - sin t, of mean .25; x1 = 2 p1 - .2. x0 is 2 cos t - 1 or 1 - 2 cos t, so that x0 x1 has the
    // mean of -x1 of the outer moon plus x1 of the inner one, halved.
    double s = (double)(2 / pi), p1_square = (0.5 + (0.25 - s + 0.5)) / 2 + 0.01;
    double x1_square = 4 * p1_square - 0.8 * 0.25 + 0.04, product = (-(2 * s - 0.2) + (1 - 2 * s - 0.2)) / 2;
    assert_true(fabs(mean[0]) < 0.02 && fabs(mean[1] - 0.3) < 0.02);
    assert_true(fabs(moment[0] - (4 * 0.51 + 1)) < 0.05);
    assert_true(fabs(moment[1] - x1_square) < 0.05);
    assert_true(fabs(moment[2] - product) < 0.05);
}

static void points_depend_on_seed_and_number_alone(void **state) {
    (void)state;
    double all[20], some[4];
    data_moons_sample(10, 9, 100, all);
    data_moons_sample(2, 9, 107, some);
    assert_memory_equal(all + 14, some, sizeof some);
    data_moons_sample(2, 10, 107, some);
    assert_memory_not_equal(all + 14, some, sizeof some);
}

// Worked out apart from this code: Philox of counter (n / 2, point, 0, "data") and key 42 in another language.
static void known_points_stay_what_they_were(void **state) {
    (void)state;
    const double want[4] = {1.4185246583336548, -1.4295631874774222, 0.8901673132299242, 0.6009536288751434};
    double x[4];
    data_moons_sample(2, 42, 1000000, x);
    util_assert_all_close(x, want, 4, 1e-12);
}

static void tables_hold_the_same_points(void **state) {
    (void)state;
    const data_density *moons = data_find_density("moons");
    assert_non_null(moons);
    data_table *f4 = data_density_table(moons, AD_F32, 50, 3, NULL),
               *f8 = data_density_table(moons, AD_F64, 50, 3, NULL);
    double x[100];
    data_moons_sample(50, 3, 0, x);
    for (int i = 0; i < 100; i++) {
        assert_true(data_get(f8, i / 2, i % 2) == x[i]);
        assert_true(data_get(f4, i / 2, i % 2) == (double)(float)x[i]);
    }
    data_table_free(f4);
    data_table_free(f8);
}

static void unknown_densities_are_not_found(void **state) {
    (void)state;
    assert_null(data_find_density("moon"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_density_is_the_definition),
        cmocka_unit_test(log_density_is_finite_far_away),
        cmocka_unit_test(density_integrates_to_one_and_to_the_entropy),
        cmocka_unit_test(samples_have_the_entropy),
        cmocka_unit_test(samples_have_the_moments),
        cmocka_unit_test(points_depend_on_seed_and_number_alone),
        cmocka_unit_test(known_points_stay_what_they_were),
        cmocka_unit_test(tables_hold_the_same_points),
        cmocka_unit_test(unknown_densities_are_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
