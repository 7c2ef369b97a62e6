// density_rings.c -- circles with normal noise: two and four about the origin, and four that cross (Durkan et al.
// 2019).
#include <math.h>

#include "densities.h"

typedef struct rings {
    const char *name;
    int n;
    double radius[4], s;
} rings;

static const rings two = {"circles", 2, {3, 1.5}, 0.24}, four = {"rings", 4, {3, 2.25, 1.5, 0.75}, 0.08};

static void sample(const rings *of, int64_t n, uint64_t seed, int64_t first, double *x) {
    for (; n > 0; n--, first++, x += 2) {
        data_draw draw = {seed, (uint64_t)first};
        double radius = of->radius[(int)(of->n * data_uniform(&draw, 0))], angle = 2 * DATA_PI * data_uniform(&draw, 1);
        double e[2];
        data_normal_pair(&draw, 2, e);
        x[0] = radius * cos(angle) + of->s * e[0];
        x[1] = radius * sin(angle) + of->s * e[1];
    }
}

// log(e^-k I0(k)), I0(k) = integral of e^(k cos t) dt / pi for t in 0..pi: by the trapezoidal rule up to where the
// integrand is below e^-40, which for an integrand that is even at both ends, or nothing, is exact but for rounding.
enum { STEPS = 20 };
static const double reach = 14;  // in units of 1 / sqrt(k)

static double log_i0e(double k) {
    double h = reach / sqrt(fmax(k, reach * reach / (DATA_PI * DATA_PI))), sum = 0;
    for (int i = 0; i <= STEPS; i++) {
        double s = sin(h * i / (2 * STEPS));
        sum += (i == 0 || i == STEPS ? 0.5 : 1) * exp(-2 * k * s * s);
    }
    return log(sum * h / STEPS / DATA_PI);
}

// k [n] -> [n].
static ad_var log_i0e_ops(ad_var k) {
    double at[STEPS + 1], weight[STEPS + 1];
    for (int i = 0; i <= STEPS; i++) {
        at[i] = i / (2.0 * STEPS);
        weight[i] = i == 0 || i == STEPS ? -log(2) : 0;
    }
    ad_tape *tape = k.tape;
    // Below infinity: there it would be times 0, where the density is 0 anyway.
    ad_var least = ad_number(tape, reach * reach / (DATA_PI * DATA_PI));
    ad_var shape = ad_insert_axis(ad_minimum(k, ad_number(tape, 1e36)), 1);  // [n, 1]
    // The result does not depend on h, so neither does its gradient.
    ad_var h = ad_scale(ad_rsqrt(ad_maximum(ad_stop_gradient(shape), least)), reach);
    ad_var s = ad_sin(ad_mul(h, ad_constant(tape, ad_shape1(STEPS + 1), at)));
    ad_var terms = ad_sub(ad_constant(tape, ad_shape1(STEPS + 1), weight), ad_scale(ad_mul(shape, ad_square(s)), 2));
    return ad_offset(ad_add(ad_logsumexp_axis(terms, 1), ad_log(ad_squeeze(h, 1))), -log(STEPS * DATA_PI));
}

// p(r) = mean over rings of exp(-(r - R)^2 / (2 s^2)) e^-k I0(k) / (2 pi s^2), k = r R / s^2.
static double log_density(const rings *of, const double *x) {
    double r = hypot(x[0], x[1]), v = of->s * of->s, sum = -INFINITY;
    for (int i = 0; i < of->n; i++) {
        double d = r - of->radius[i];
        sum = data_log_add(sum, -d * d / (2 * v) + log_i0e(r * of->radius[i] / v));
    }
    return sum - log(2 * DATA_PI * v * of->n);
}

static ad_var log_prob(const rings *of, ad_var x) {
    double v = of->s * of->s;
    data_expect(x, of->name, 2);
    ad_var radius = ad_constant(x.tape, ad_shape1(of->n), of->radius), r = ad_norm(x);
    ad_var terms = ad_scale(ad_square(ad_sub(r, radius)), -0.5 / v);
    ad_var sum = ad_logsumexp(ad_add(terms, log_i0e_ops(ad_scale(ad_mul(r, radius), 1 / v))));
    return ad_offset(sum, -log(2 * DATA_PI * v * of->n));
}

static void sample_two(int64_t n, uint64_t seed, int64_t first, double *x) {
    sample(&two, n, seed, first, x);
}
static void sample_four(int64_t n, uint64_t seed, int64_t first, double *x) {
    sample(&four, n, seed, first, x);
}
static double log_density_two(const double *x) {
    return log_density(&two, x);
}
static double log_density_four(const double *x) {
    return log_density(&four, x);
}
static ad_var log_prob_two(ad_var x) {
    return log_prob(&two, x);
}
static ad_var log_prob_four(ad_var x) {
    return log_prob(&four, x);
}

const data_density data_circles = {.name = "circles",
                                   .dimension = 2,
                                   .entropy = 3.26813571170577,
                                   .sample = sample_two,
                                   .log_density = log_density_two,
                                   .log_prob = log_prob_two};
const data_density data_rings = {.name = "rings",
                                 .dimension = 2,
                                 .entropy = 2.62318277017502,
                                 .sample = sample_four,
                                 .log_density = log_density_four,
                                 .log_prob = log_prob_four};

// ---- four circles of radius 2 about (1, 1), (1, -1), (-1, 1), (-1, -1), noise .1
// ----------------------------------------

static const rings single = {"four_circles", 1, {2}, 0.1};

static void sample_crossing(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        int quarter = (int)(4 * data_uniform(&draw, 4));  // beyond the draws of a ring
        sample(&single, 1, seed, first + i, x);
        x[0] += quarter % 2 == 0 ? 1 : -1;
        x[1] += quarter / 2 == 0 ? 1 : -1;
    }
}

static double log_density_crossing(const double *x) {
    double sum = -INFINITY;
    for (int quarter = 0; quarter < 4; quarter++) {
        double from[2] = {x[0] + (quarter % 2 == 0 ? -1 : 1), x[1] + (quarter / 2 == 0 ? -1 : 1)};
        sum = data_log_add(sum, log_density(&single, from));
    }
    return sum - log(4);
}

static ad_var log_prob_crossing(ad_var x) {
    data_expect(x, single.name, 2);
    ad_var parts[4];
    for (int quarter = 0; quarter < 4; quarter++) {
        const double to[2] = {quarter % 2 == 0 ? -1 : 1, quarter / 2 == 0 ? -1 : 1};
        parts[quarter] = log_prob(&single, ad_add(x, ad_constant(x.tape, ad_shape1(2), to)));
    }
    return ad_offset(ad_logsumexp(ad_stack(parts, 4, 0)), -log(4));
}

const data_density data_four_circles = {.name = "four_circles",
                                        .dimension = 2,
                                        .entropy = 2.87081901759,
                                        .sample = sample_crossing,
                                        .log_density = log_density_crossing,
                                        .log_prob = log_prob_crossing};
