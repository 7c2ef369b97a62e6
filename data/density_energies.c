// density_energies.c -- the four energies of Rezende and Mohamed 2015, table 1; U2 to U4 under z1^2 / 8.
#include <math.h>

#include "densities.h"

// Of z1 [] and z2 []: what each of the exponents of U is the half square of.
static double wave(double z) {
    return sin(DATA_PI * z / 2);
}

static double half_square(double x, double s) {
    return -x * x / (2 * s * s);
}

static double log_u1(const double *z) {
    double ends = data_log_add(half_square(z[0] - 2, 0.6), half_square(z[0] + 2, 0.6));
    return half_square(hypot(z[0], z[1]) - 2, 0.4) + ends;
}

static double log_u2(const double *z) {
    return half_square(z[1] - wave(z[0]), 0.4) - z[0] * z[0] / 8;
}

static double log_u3(const double *z) {
    double d = z[1] - wave(z[0]), w = 3 * exp(half_square(z[0] - 1, 0.6));
    return data_log_add(half_square(d, 0.35), half_square(d + w, 0.35)) - z[0] * z[0] / 8;
}

static double log_u4(const double *z) {
    double d = z[1] - wave(z[0]), w = 3 / (1 + exp((1 - z[0]) / 0.3));
    return data_log_add(half_square(d, 0.4), half_square(d + w, 0.35)) - z[0] * z[0] / 8;
}

static ad_var half_squares(ad_var x, double s) {
    return ad_scale(ad_square(x), -0.5 / (s * s));
}

// z2 - sin(pi z1 / 2).
static ad_var from_wave(ad_var z) {
    return ad_sub(data_element(z, 1), ad_sin(ad_scale(data_element(z, 0), DATA_PI / 2)));
}

static ad_var under(ad_var log_p, ad_var z) {
    return ad_add(log_p, half_squares(data_element(z, 0), 2));
}

static ad_var u1(ad_var z) {
    data_expect(z, "U1", 2);
    ad_var z1 = data_element(z, 0);
    ad_var ends = ad_log_add_exp(half_squares(ad_offset(z1, -2), 0.6), half_squares(ad_offset(z1, 2), 0.6));
    return ad_add(half_squares(ad_offset(ad_norm(z), -2), 0.4), ends);
}

static ad_var u2(ad_var z) {
    data_expect(z, "U2", 2);
    return under(half_squares(from_wave(z), 0.4), z);
}

static ad_var u3(ad_var z) {
    data_expect(z, "U3", 2);
    ad_var d = from_wave(z), w = ad_scale(ad_exp(half_squares(ad_offset(data_element(z, 0), -1), 0.6)), 3);
    return under(ad_log_add_exp(half_squares(d, 0.35), half_squares(ad_add(d, w), 0.35)), z);
}

static ad_var u4(ad_var z) {
    data_expect(z, "U4", 2);
    ad_var w = ad_scale(ad_sigmoid(ad_scale(ad_offset(data_element(z, 0), -1), 1 / 0.3)), 3), d = from_wave(z);
    return under(ad_log_add_exp(half_squares(d, 0.4), half_squares(ad_add(d, w), 0.35)), z);
}

// log of 4 pi times the sum of the deviations across, but for U1.
const data_density data_u1 = {.name = "U1",
                              .dimension = 2,
                              .entropy = 2.660012535943,
                              .log_normaliser = 1.87750162611014,
                              .log_density = log_u1,
                              .log_prob = u1};
const data_density data_u2 = {.name = "U2",
                              .dimension = 2,
                              .entropy = 2.61473351503,
                              .log_normaliser = 1.61473351509514,
                              .log_density = log_u2,
                              .log_prob = u2};
const data_density data_u3 = {.name = "U3",
                              .dimension = 2,
                              .entropy = 2.72294414039,
                              .log_normaliser = 2.17434930303056,
                              .log_density = log_u3,
                              .log_prob = u3};
const data_density data_u4 = {.name = "U4",
                              .dimension = 2,
                              .entropy = 2.81097490034,
                              .log_normaliser = 2.24334217451751,
                              .log_density = log_u4,
                              .log_prob = u4};
