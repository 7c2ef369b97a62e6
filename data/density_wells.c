// density_wells.c -- double wells: that of Noe et al. 2019, and many of them side by side (Midgley et al. 2023).
#include <math.h>

#include "densities.h"

// exp(-k (a^2 - c)^2 - tilt a) by rejection. As (|a| + sqrt c)^2 >= c, it is below exp(-k c (|a| - sqrt c)^2 - tilt a),
// a normal number on either side of 0, if on the wrong one, it is rejected too. Four draws a trial, numbered from
// first.
static double draw_well(const data_draw *draw, uint32_t first, double k, double c, double tilt) {
    double root = sqrt(c), v = 1 / (2 * k * c), right = 1 / (1 + exp(2 * tilt * root));
    for (uint32_t n = first;; n += 4) {
        double side = data_uniform(draw, n) < right ? 1 : -1, e[2];
        data_normal_pair(draw, n + 2, e);
        double a = side * root - tilt * v + sqrt(v) * e[0], near = fabs(a) - root, square = a * a - c;
        if (side * a > 0 && log(data_uniform(draw, n + 1)) < k * (c * near * near - square * square)) return a;
    }
}

static void sample_noe(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double e[2];
        data_normal_pair(&draw, 0, e);
        x[0] = draw_well(&draw, 2, 0.25, 6, 1);
        x[1] = e[0];
    }
}

static void sample_many(int pairs, int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        for (uint32_t pair = 0; pair < (uint32_t)pairs; pair++, x += 2) {
            double e[2];
            data_normal_pair(&draw, pair << 20, e);
            x[0] = draw_well(&draw, (pair << 20) + 2, 1, 3, -0.5);
            x[1] = e[0];
        }
    }
}

static void sample_many_2(int64_t n, uint64_t seed, int64_t first, double *x) {
    sample_many(1, n, seed, first, x);
}
static void sample_many_6(int64_t n, uint64_t seed, int64_t first, double *x) {
    sample_many(3, n, seed, first, x);
}
static void sample_many_32(int64_t n, uint64_t seed, int64_t first, double *x) {
    sample_many(16, n, seed, first, x);
}

static double log_noe(const double *x) {
    double a = x[0], square = a * a;
    return -(square * square / 4 - 3 * square + a + x[1] * x[1] / 2);
}

static ad_var noe(ad_var x) {
    data_expect(x, "double_well", 2);
    ad_var a = data_element(x, 0), square = ad_square(a);
    ad_var well = ad_add(ad_mul(square, ad_offset(ad_scale(square, 0.25), -3)), a);  // no difference of infinities
    return ad_neg(ad_add(well, ad_scale(ad_square(data_element(x, 1)), 0.5)));
}

static double log_many(const double *x, int pairs) {
    double sum = 0;
    for (int i = 0; i < 2 * pairs; i += 2) {
        double a = x[i], square = a * a;
        sum -= -a / 2 - 6 * square + square * square + x[i + 1] * x[i + 1] / 2;
    }
    return sum;
}

static ad_var many(ad_var x, int pairs) {
    ad_var a = ad_slice_step(x, 0, 0, pairs, 2), b = ad_slice_step(x, 0, 1, pairs, 2), square = ad_square(a);
    ad_var well = ad_sub(ad_mul(square, ad_offset(square, -6)), ad_scale(a, 0.5));
    return ad_neg(ad_sum(ad_add(well, ad_scale(ad_square(b), 0.5))));
}

static double log_many_2(const double *x) {
    return log_many(x, 1);
}
static double log_many_6(const double *x) {
    return log_many(x, 3);
}
static double log_many_32(const double *x) {
    return log_many(x, 16);
}

static ad_var many_2(ad_var x) {
    data_expect(x, "many_well_2", 2);
    return many(x, 1);
}

static ad_var many_6(ad_var x) {
    data_expect(x, "many_well_6", 6);
    return many(x, 3);
}

static ad_var many_32(ad_var x) {
    data_expect(x, "many_well_32", 32);
    return many(x, 16);
}

#define LOG_PAIR 10.2934797070614
#define ENTROPY_PAIR 1.71857606682852

const data_density data_double_well = {.name = "double_well",
                                       .dimension = 2,
                                       .entropy = 1.63700928352372,
                                       .log_normaliser = 12.0649289986293,
                                       .sample = sample_noe,
                                       .log_density = log_noe,
                                       .log_prob = noe};
const data_density data_many_well_2 = {.name = "many_well_2",
                                       .dimension = 2,
                                       .entropy = ENTROPY_PAIR,
                                       .log_normaliser = LOG_PAIR,
                                       .sample = sample_many_2,
                                       .log_density = log_many_2,
                                       .log_prob = many_2};
const data_density data_many_well_6 = {.name = "many_well_6",
                                       .dimension = 6,
                                       .entropy = 3 * ENTROPY_PAIR,
                                       .log_normaliser = 3 * LOG_PAIR,
                                       .sample = sample_many_6,
                                       .log_density = log_many_6,
                                       .log_prob = many_6};
const data_density data_many_well_32 = {.name = "many_well_32",
                                        .dimension = 32,
                                        .entropy = 16 * ENTROPY_PAIR,
                                        .log_normaliser = 16 * LOG_PAIR,
                                        .sample = sample_many_32,
                                        .log_density = log_many_32,
                                        .log_prob = many_32};
