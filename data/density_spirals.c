// density_spirals.c -- two spirals: uniform boxes along both arms, with normal noise.
#include <math.h>

#include "densities.h"

static const double box = 0.5 / 3, s = 0.1;

static void sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double t = 3 * DATA_PI * sqrt(data_uniform(&draw, 0)), sign = data_uniform(&draw, 1) < 0.5 ? 1 : -1, e[2];
        data_normal_pair(&draw, 4, e);
        x[0] = sign * (-t * cos(t) / 3 + box * data_uniform(&draw, 2)) + s * e[0];
        x[1] = sign * (t * sin(t) / 3 + box * data_uniform(&draw, 3)) + s * e[1];
    }
}

// Nodes of one arm, the middles of the boxes. t = 3 pi v; the density of v is 2 v, and v of w such that equal steps of
// w are nearly equal lengths.
static void make(data_nodes *nodes) {
    const double a = 0.1;
    nodes->s = s;
    nodes->n = DATA_NODES;
    for (int k = 0; k < DATA_NODES; k++) {
        double weight, w = data_gauss(k, DATA_NODES / 16, &weight), v = sqrt(a * a + w * (1 + 2 * a)) - a;
        double t = 3 * DATA_PI * v;
        nodes->x[k] = -t * cos(t) / 3 + box / 2;
        nodes->y[k] = t * sin(t) / 3 + box / 2;
        nodes->log_weight[k] = log(weight * v * (1 + 2 * a) / (v + a));
    }
}

// log of the standard normal distribution function's upper tail.
static double log_tail(double z) {
    if (z < 30) return log(erfc(z * sqrt(0.5)) / 2);
    double q = 1 / (z * z);
    return -z * z / 2 - log(z * sqrt(2 * DATA_PI)) + log1p(q * (-1 + q * (3 + q * (-15 + q * 105))));
}

// log-density at distance m from the middle of a box with noise, but for its factor 1 / box: that of the integral
// between the two ends, the difference of tails beyond the near end and the far one.
static double log_box(double m) {
    double near = log_tail((fabs(m) - box / 2) / s), far = log_tail((fabs(m) + box / 2) / s);
    return near + log(-expm1(far - near));
}

static double log_density(const double *x) {
    data_nodes nodes;
    double sum = -INFINITY;
    make(&nodes);
    for (int sign = -1; sign < 2; sign += 2) {
        for (int k = 0; k < nodes.n; k++) {
            double p = log_box(sign * x[0] - nodes.x[k]) + log_box(sign * x[1] - nodes.y[k]);
            sum = data_log_add(sum, nodes.log_weight[k] + p);
        }
    }
    return sum - log(2 * box * box);
}

static ad_var log_box_ops(ad_var m) {
    // Farther away the density is 0 in any type, and the difference of two infinities would be no number.
    ad_var distance = ad_maximum(ad_scale(ad_abs(m), -1 / s), ad_number(m.tape, -1e15));
    ad_var near = ad_normal_log_cdf(ad_offset(distance, box / (2 * s)));
    ad_var far = ad_normal_log_cdf(ad_offset(distance, -box / (2 * s)));
    return ad_add(near, ad_log1mexp(ad_sub(far, near)));
}

static ad_var log_arm(const data_nodes *nodes, ad_var x) {
    ad_shape shape = ad_shape1(nodes->n);
    ad_var dx = ad_sub(data_element(x, 0), ad_constant(x.tape, shape, nodes->x));
    ad_var dy = ad_sub(data_element(x, 1), ad_constant(x.tape, shape, nodes->y));
    ad_var p = ad_add(log_box_ops(dx), log_box_ops(dy));
    return ad_logsumexp(ad_add(p, ad_constant(x.tape, shape, nodes->log_weight)));
}

static ad_var log_prob(ad_var x) {
    data_nodes nodes;
    data_expect(x, "2spirals", 2);
    make(&nodes);
    return ad_offset(ad_log_add_exp(log_arm(&nodes, x), log_arm(&nodes, ad_neg(x))), -log(2 * box * box));
}

const data_density data_2spirals = {.name = "2spirals",
                                    .dimension = 2,
                                    .entropy = 2.64545028346696,
                                    .sample = sample,
                                    .log_density = log_density,
                                    .log_prob = log_prob};
