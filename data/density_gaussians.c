// density_gaussians.c -- eight Gaussians on a circle.
#include <math.h>

#include "densities.h"

static const double scale = 1.414;

static void centre(int k, double *c) {
    c[0] = 4 / scale * cos(k * DATA_PI / 4);
    c[1] = 4 / scale * sin(k * DATA_PI / 4);
}

static void sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double c[2], e[2];
        centre((int)(8 * data_uniform(&draw, 0)), c);
        data_normal_pair(&draw, 2, e);
        for (int k = 0; k < 2; k++) x[k] = c[k] + 0.5 / scale * e[k];
    }
}

static void make(data_nodes *nodes) {
    nodes->n = 8;
    nodes->s = 0.5 / scale;
    for (int k = 0; k < 8; k++) {
        double c[2];
        centre(k, c);
        nodes->x[k] = c[0];
        nodes->y[k] = c[1];
        nodes->log_weight[k] = -log(8);
    }
}

static double log_density(const double *x) {
    data_nodes nodes;
    make(&nodes);
    return data_nodes_log_density(&nodes, x);
}

static ad_var log_prob(ad_var x) {
    data_nodes nodes;
    data_expect(x, "8gaussians", 2);
    make(&nodes);
    return data_nodes_log_prob(&nodes, x);
}

const data_density data_8gaussians = {.name = "8gaussians",
                                      .dimension = 2,
                                      .entropy = 2.83188040613764,
                                      .sample = sample,
                                      .log_density = log_density,
                                      .log_prob = log_prob};
