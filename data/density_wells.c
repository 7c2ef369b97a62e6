// density_wells.c -- double wells: that of Noe et al. 2019, and many of them side by side (Midgley et al. 2023).
#include <math.h>

#include "densities.h"

static double log_noe(const double *x) {
    double a = x[0], square = a * a;
    return -(square * square / 4 - 3 * square + a + x[1] * x[1] / 2);
}

static ad_var noe(ad_var x) {
    data_expect(x, "double_well", 2);
    ad_var a = data_element(x, 0), square = ad_square(a);
    ad_var well = ad_add(ad_sub(ad_scale(ad_square(square), 0.25), ad_scale(square, 3)), a);
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
    ad_var well = ad_sub(ad_sub(ad_square(square), ad_scale(square, 6)), ad_scale(a, 0.5));
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
                                       .log_density = log_noe,
                                       .log_prob = noe};
const data_density data_many_well_2 = {.name = "many_well_2",
                                       .dimension = 2,
                                       .entropy = ENTROPY_PAIR,
                                       .log_normaliser = LOG_PAIR,
                                       .log_density = log_many_2,
                                       .log_prob = many_2};
const data_density data_many_well_6 = {.name = "many_well_6",
                                       .dimension = 6,
                                       .entropy = 3 * ENTROPY_PAIR,
                                       .log_normaliser = 3 * LOG_PAIR,
                                       .log_density = log_many_6,
                                       .log_prob = many_6};
const data_density data_many_well_32 = {.name = "many_well_32",
                                        .dimension = 32,
                                        .entropy = 16 * ENTROPY_PAIR,
                                        .log_normaliser = 16 * LOG_PAIR,
                                        .log_density = log_many_32,
                                        .log_prob = many_32};
