// density_swissroll.c -- a spiral with normal noise.
#include <math.h>

#include "densities.h"

static void curve(double u, double *p) {
    double t = 1.5 * DATA_PI * (1 + 2 * u);
    p[0] = t * cos(t) / 5;
    p[1] = t * sin(t) / 5;
}

static void sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double e[2];
        curve(data_uniform(&draw, 0), x);
        data_normal_pair(&draw, 2, e);
        for (int k = 0; k < 2; k++) x[k] += e[k] / 5;
    }
}

static void make(data_nodes *nodes) {
    const double range[2] = {0, 1};
    nodes->n = 0;
    nodes->s = 0.2;
    data_nodes_curve(nodes, curve, range, DATA_NODES / 16, 1);
}

static double log_density(const double *x) {
    data_nodes nodes;
    make(&nodes);
    return data_nodes_log_density(&nodes, x);
}

static ad_var log_prob(ad_var x) {
    data_nodes nodes;
    data_expect(x, "swissroll", 2);
    make(&nodes);
    return data_nodes_log_prob(&nodes, x);
}

const data_density data_swissroll = {.name = "swissroll",
                                     .dimension = 2,
                                     .entropy = 2.66964617388229,
                                     .sample = sample,
                                     .log_density = log_density,
                                     .log_prob = log_prob};
