// density_nodes.c -- normal noise about points and curves of the plane, in plain C and as ops.
#include <math.h>

#include "densities.h"

double data_gauss(int k, int panels, double *weight) {
    // Gauss-Legendre nodes and weights of 16 points on [-1, 1], the positive half.
    static const double at[8] = {0.0950125098376374402, 0.2816035507792589132, 0.4580167776572273863,
                                 0.6178762444026437484, 0.7554044083550030338, 0.8656312023878317438,
                                 0.9445750230732325761, 0.9894009349916499325};
    static const double of[8] = {0.1894506104550684963, 0.1826034150449235889, 0.1691565193950025382,
                                 0.1495959888165767321, 0.1246289712555338720, 0.0951585116824927848,
                                 0.0622535239386478929, 0.0271524594117540949};
    int i = k % 16;
    *weight = of[i / 2] / (2 * panels);
    return (k / 16 + 0.5 + (i % 2 == 0 ? at[i / 2] : -at[i / 2]) / 2) / panels;
}

void data_nodes_curve(data_nodes *nodes, void (*curve)(double t, double *p), const double range[2], int panels,
                      double total) {
    for (int k = 0; k < 16 * panels && nodes->n < DATA_NODES; k++) {
        double weight, p[2], t = range[0] + (range[1] - range[0]) * data_gauss(k, panels, &weight);
        curve(t, p);
        nodes->x[nodes->n] = p[0];
        nodes->y[nodes->n] = p[1];
        nodes->log_weight[nodes->n++] = log(weight * total);
    }
}

double data_log_add(double a, double b) {
    double high = fmax(a, b), low = fmin(a, b);
    return high == -INFINITY ? high : high + log1p(exp(low - high));
}

double data_nodes_log_density(const data_nodes *nodes, const double *x) {
    double v = nodes->s * nodes->s, term[DATA_NODES], high = -INFINITY, sum = 0;
    for (int k = 0; k < nodes->n; k++) {
        double dx = x[0] - nodes->x[k], dy = x[1] - nodes->y[k];
        term[k] = nodes->log_weight[k] - (dx * dx + dy * dy) / (2 * v);
        high = fmax(high, term[k]);
    }
    if (high == -INFINITY) return high;
    for (int k = 0; k < nodes->n; k++) sum += exp(term[k] - high);
    return high + log(sum) - log(2 * DATA_PI * v);
}

ad_var data_nodes_log_prob(const data_nodes *nodes, ad_var x) {
    ad_shape shape = ad_shape1(nodes->n);
    double v = nodes->s * nodes->s;
    // Differences, not the expanded square: that would cancel in f32.
    ad_var dx = ad_sub(data_element(x, 0), ad_constant(x.tape, shape, nodes->x));
    ad_var dy = ad_sub(data_element(x, 1), ad_constant(x.tape, shape, nodes->y));
    ad_var square = ad_add(ad_square(dx), ad_square(dy));  // [n]
    ad_var terms = ad_add(ad_scale(square, -0.5 / v), ad_constant(x.tape, shape, nodes->log_weight));
    return ad_offset(ad_logsumexp(terms), -log(2 * DATA_PI * v));
}
