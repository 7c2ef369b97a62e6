// densities.h -- for the files of densities: random bits for samplers, the list.
#ifndef PULLBACK_DATA_DENSITIES_H
#define PULLBACK_DATA_DENSITIES_H

#include "data.h"

#define DATA_PI 3.14159265358979323846

// Random numbers of point i: draw n of them is a function of (seed, i, n) alone. Philox4x32-10 (Salmon et al. 2011),
// key = seed, counter = (n / 2, i, i >> 32, a constant that keeps these numbers apart from the engine's).
typedef struct data_draw {
    uint64_t seed, point;
} data_draw;

// 53 uniform bits in (0, 1), never 0 or 1.
double data_uniform(const data_draw *draw, uint32_t n);
// Two independent standard normal numbers, from uniform draws n and n + 1 (Box and Muller 1958).
void data_normal_pair(const data_draw *draw, uint32_t n, double out[2]);

enum { DATA_DENSITY_COLUMNS = 32 };  // no sampler has more

// Reports on the tape when x is not [dimension].
void data_expect(ad_var x, const char *name, int dimension);
// Element i of x, [].
ad_var data_element(ad_var x, int i);
double data_log_add(double a, double b);  // log(e^a + e^b)

// Normal noise of deviation s in both coordinates about points of the plane: a mixture of Gaussians, or a curve's by
// quadrature.
enum { DATA_NODES = 416 };
typedef struct data_nodes {
    int n;
    double s, x[DATA_NODES], y[DATA_NODES], log_weight[DATA_NODES];
} data_nodes;
// Adds nodes 16 to a panel for the curve at a t that is uniform in a..b, the weights adding to total.
void data_nodes_curve(data_nodes *nodes, void (*curve)(double t, double *p), const double range[2], int panels,
                      double total);
// The k-th of the panels of 16 Gauss-Legendre nodes on 0..1: position and weight.
double data_gauss(int k, int panels, double *weight);
double data_nodes_log_density(const data_nodes *nodes, const double *x);
ad_var data_nodes_log_prob(const data_nodes *nodes, ad_var x);

// One line a density, here and in densities.c.
extern const data_density data_moons, data_8gaussians, data_checkerboard, data_circles, data_rings, data_swissroll,
    data_2spirals, data_pinwheel, data_diamond, data_four_circles, data_flat, data_parabola, data_cubic, data_wave,
    data_corner, data_jump, data_funnel, data_double_well, data_many_well_2, data_many_well_6, data_many_well_32,
    data_u1, data_u2, data_u3, data_u4;

#endif
