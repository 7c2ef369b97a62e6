// moons.c -- two moons: sampler and exact log-density, a mixture of Gaussians integrated along two half circles.
#include <math.h>

#include "densities.h"

static const double noise = 0.1, scale = 2, shift[2] = {-1, -0.2};

void data_moons_sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double t = DATA_PI * data_uniform(&draw, 0), p[2] = {cos(t), sin(t)}, e[2];
        if (data_uniform(&draw, 1) < 0.5) {
            p[0] = 1 - p[0];
            p[1] = 0.5 - p[1];
        }
        data_normal_pair(&draw, 2, e);
        for (int k = 0; k < 2; k++) x[k] = scale * (p[k] + noise * e[k]) + shift[k];
    }
}

enum { PANELS = 4 };

// How far beyond a, for 0 <= a <= pi, the function cos a - cos(a + w) first is drop, or more than pi - a where it never
// is.
static double reach(double a, double drop) {
    if (drop > 1e-4) return drop < 1 + cos(a) ? acos(cos(a) - drop) - a : DATA_PI;
    double square = sin(a) * sin(a) + 2 * drop * cos(a);  // cos to second order: the above would cancel
    return square > 0 ? 2 * drop / (sin(a) + sqrt(square)) : DATA_PI;
}

// log of the integral of exp(kappa (cos s - cos a)) ds for s in a..b, 0 <= a <= b <= pi: the integrand falls from 1.
// Beyond the s where it is e^-40 nothing is left to add.
static double log_arc(double kappa, double a, double b) {
    double sum = 0, h = fmin(b - a, reach(a, 40 / kappa));
    for (int i = 0; i < 16 * PANELS; i++) {
        double weight, u = data_gauss(i, PANELS, &weight) * h;
        sum += weight * exp(-2 * kappa * sin(a + u / 2) * sin(u / 2));
    }
    return log(sum * h);
}

// log of the integral of exp(-|p - (cos t, sin t)|^2 / (2 noise^2)) dt for t in 0..pi, over a piece of the half circle
// whose angle to p runs from a to b. |p - c|^2 = (r - 1)^2 + 4 r sin^2(angle / 2).
static double log_piece(double r, double a, double b) {
    if (b <= a) return -INFINITY;
    double v = noise * noise, half = sin(a / 2), distance = (r - 1) * (r - 1) + 4 * r * half * half;
    if (distance == INFINITY) return -INFINITY;
    return -distance / (2 * v) + log_arc(r / v, a, b);
}

// log-density at p of a point on the upper unit half circle plus noise.
static double log_half_circle(double px, double py) {
    double r = hypot(px, py), angle = atan2(py, px), v = noise * noise;
    // Above the axis the nearest point is at angle, and the pieces lie on both sides of it; below, they start at the
    // two ends and meet opposite p.
    double integral = angle >= 0 ? data_log_add(log_piece(r, 0, angle), log_piece(r, 0, DATA_PI - angle))
                                 : data_log_add(log_piece(r, -angle, DATA_PI), log_piece(r, DATA_PI + angle, DATA_PI));
    return integral - log(2 * DATA_PI * v * DATA_PI);
}

double data_moons_log_density(const double *x) {
    double p = (x[0] - shift[0]) / scale, q = (x[1] - shift[1]) / scale;
    double outer = log_half_circle(p, q), inner = log_half_circle(1 - p, 0.5 - q);
    return data_log_add(outer, inner) + log(0.5 / (scale * scale));
}

static void upper(double t, double *p) {
    p[0] = scale * cos(t) + shift[0];
    p[1] = scale * sin(t) + shift[1];
}

static void lower(double t, double *p) {
    p[0] = scale * (1 - cos(t)) + shift[0];
    p[1] = scale * (0.5 - sin(t)) + shift[1];
}

static ad_var log_prob(ad_var x) {
    const double range[2] = {0, DATA_PI};
    data_nodes nodes = {.s = scale * noise};
    data_expect(x, "moons", 2);
    data_nodes_curve(&nodes, upper, range, 12, 0.5);
    data_nodes_curve(&nodes, lower, range, 12, 0.5);
    return data_nodes_log_prob(&nodes, x);
}

const data_density data_moons = {.name = "moons",
                                 .dimension = 2,
                                 .entropy = DATA_MOONS_ENTROPY,
                                 .sample = data_moons_sample,
                                 .log_density = data_moons_log_density,
                                 .log_prob = log_prob};
