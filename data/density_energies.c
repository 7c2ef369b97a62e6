// density_energies.c -- the four energies of Rezende and Mohamed 2015, table 1, and samplers; U2 to U4 under z1^2 / 8.
#include <math.h>

#include "densities.h"

// Of z1 [] and z2 []: what each of the exponents of U is the half square of.
static double wave(double z) {
    return sin(DATA_PI * z / 2);
}

static double half_square(double x, double s) {
    return -x * x / (2 * s * s);
}

static double bump(double z) {
    return 3 * exp(half_square(z - 1, 0.6));
}

static double step(double z) {
    return 3 / (1 + exp((1 - z) / 0.3));
}

static double log_u1(const double *z) {
    double ends = data_log_add(half_square(z[0] - 2, 0.6), half_square(z[0] + 2, 0.6));
    return half_square(hypot(z[0], z[1]) - 2, 0.4) + ends;
}

static double log_u2(const double *z) {
    return half_square(z[1] - wave(z[0]), 0.4) - z[0] * z[0] / 8;
}

static double log_u3(const double *z) {
    double d = z[1] - wave(z[0]), w = bump(z[0]);
    return data_log_add(half_square(d, 0.35), half_square(d + w, 0.35)) - z[0] * z[0] / 8;
}

static double log_u4(const double *z) {
    double d = z[1] - wave(z[0]), w = step(z[0]);
    return data_log_add(half_square(d, 0.4), half_square(d + w, 0.35)) - z[0] * z[0] / 8;
}

// By rejection: any angle, and a normal radius, to which r exp(-((r - 2) / .4)^2 / 2) comes up within a factor e^.7245.
static void sample_u1(int64_t n, uint64_t seed, int64_t first, double *z) {
    for (int64_t i = 0; i < n; i++, z += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        for (uint32_t k = 0;; k += 4) {
            double e[2], angle = 2 * DATA_PI * data_uniform(&draw, k);
            data_normal_pair(&draw, k + 2, e);
            double r = 2.1 + 0.42 * e[0];
            if (r <= 0) continue;
            z[0] = r * cos(angle);
            z[1] = r * sin(angle);
            if (log(data_uniform(&draw, k + 1)) < log_u1(z) + log(r) - half_square(e[0], 1) - 0.7245) break;
        }
    }
}

// z1 normal; z2 about the wave with deviation s[0], or moved down and with s[1], as often as either is wide.
static void sample_wave(const double s[2], double (*down)(double z), int64_t n, uint64_t seed, int64_t first,
                        double *z) {
    for (; n > 0; n--, first++, z += 2) {
        data_draw draw = {seed, (uint64_t)first};
        double e[2];
        data_normal_pair(&draw, 0, e);
        bool second = down != NULL && data_uniform(&draw, 2) * (s[0] + s[1]) > s[0];
        z[0] = 2 * e[0];
        z[1] = wave(z[0]) + (second ? s[1] * e[1] - down(z[0]) : s[0] * e[1]);
    }
}

static void sample_u2(int64_t n, uint64_t seed, int64_t first, double *z) {
    sample_wave((const double[]){0.4, 0}, NULL, n, seed, first, z);
}
static void sample_u3(int64_t n, uint64_t seed, int64_t first, double *z) {
    sample_wave((const double[]){0.35, 0.35}, bump, n, seed, first, z);
}
static void sample_u4(int64_t n, uint64_t seed, int64_t first, double *z) {
    sample_wave((const double[]){0.4, 0.35}, step, n, seed, first, z);
}

static ad_var half_squares(ad_var x, double s) {
    return ad_scale(ad_square(x), -0.5 / (s * s));
}

// z2 - sin(pi z1 / 2).
static ad_var from_wave(ad_var z) {
    ad_var finite = ad_clamp(data_element(z, 0), -1e30, 1e30);  // so that the product is, in f32
    return ad_sub(data_element(z, 1), ad_sin(ad_scale(finite, DATA_PI / 2)));
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
                              .sample = sample_u1,
                              .log_density = log_u1,
                              .log_prob = u1};
const data_density data_u2 = {.name = "U2",
                              .dimension = 2,
                              .entropy = 2.61473351503,
                              .log_normaliser = 1.61473351509514,
                              .sample = sample_u2,
                              .log_density = log_u2,
                              .log_prob = u2};
const data_density data_u3 = {.name = "U3",
                              .dimension = 2,
                              .entropy = 2.72294414039,
                              .log_normaliser = 2.17434930303056,
                              .sample = sample_u3,
                              .log_density = log_u3,
                              .log_prob = u3};
const data_density data_u4 = {.name = "U4",
                              .dimension = 2,
                              .entropy = 2.81097490034,
                              .log_normaliser = 2.24334217451751,
                              .sample = sample_u4,
                              .log_density = log_u4,
                              .log_prob = u4};
