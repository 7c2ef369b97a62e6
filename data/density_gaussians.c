// density_gaussians.c -- mixtures of Gaussians: eight on a circle, and 400 on a square that stands on its corner.
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

enum { SIDE = 20 };
static const double diamond_noise = 0.04;

static void diamond_centre(int k, double *c) {
    double a = 5.0 * (k / SIDE) / (SIDE - 1) - 2.5, b = 5.0 * (k % SIDE) / (SIDE - 1) - 2.5;
    c[0] = (a - b) * sqrt(0.5);
    c[1] = (a + b) * sqrt(0.5);
}

static void sample_diamond(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double e[2];
        diamond_centre((int)(SIDE * SIDE * data_uniform(&draw, 0)), x);
        data_normal_pair(&draw, 2, e);
        for (int k = 0; k < 2; k++) x[k] += diamond_noise * e[k];
    }
}

static void make_diamond(data_nodes *nodes) {
    nodes->n = SIDE * SIDE;
    nodes->s = diamond_noise;
    for (int k = 0; k < nodes->n; k++) {
        double c[2];
        diamond_centre(k, c);
        nodes->x[k] = c[0];
        nodes->y[k] = c[1];
        nodes->log_weight[k] = -log(SIDE * SIDE);
    }
}

static double log_diamond(const double *x) {
    data_nodes nodes;
    make_diamond(&nodes);
    return data_nodes_log_density(&nodes, x);
}

static ad_var diamond_ops(ad_var x) {
    data_nodes nodes;
    data_expect(x, "diamond", 2);
    make_diamond(&nodes);
    return data_nodes_log_prob(&nodes, x);
}

// The entropy is twice that of 20 Gaussians on a line.
const data_density data_diamond = {.name = "diamond",
                                   .dimension = 2,
                                   .entropy = 2.38608298515,
                                   .sample = sample_diamond,
                                   .log_density = log_diamond,
                                   .log_prob = diamond_ops};
