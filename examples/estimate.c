// estimate.c -- densities of points: histograms, smoothed.
#include "estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

plot_range estimate_range(const double *x, int64_t n, size_t stride, double share) {
    double *sorted = n > 0 ? malloc((size_t)n * sizeof *sorted) : NULL;
    if (!sorted) return (plot_range){-1, 1};
    for (int64_t i = 0; i < n; i++) sorted[i] = x[(size_t)i * stride];
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    int64_t cut = (int64_t)((double)(n - 1) * (1 - share) / 2);
    double low = sorted[cut], high = sorted[n - 1 - cut];
    free(sorted);
    double margin = high > low ? (high - low) / 12 : fmax(1, fabs(low) / 10);
    return (plot_range){low - margin, high + margin};
}

int estimate_bins(int64_t n) {
    return (int)fmin(fmax(2 * cbrt((double)n), 10), 60);
}

// One axis of a grid: count lines of n values, those of a line stride apart. Weights beyond the ends are left out, and
// the others scaled to sum to 1, so that edges do not fade.
static bool smooth_lines(double *v, int n, int stride, int count, int next, double sd) {
    const int reach = (int)ceil(3 * sd);
    double *line = malloc((size_t)n * sizeof *line);
    if (!line) return false;
    for (int k = 0; k < count; k++) {
        double *at = v + (ptrdiff_t)k * next;
        for (int i = 0; i < n; i++) line[i] = at[(ptrdiff_t)i * stride];
        for (int i = 0; i < n; i++) {
            double sum = 0, weights = 0;
            for (int j = i > reach ? i - reach : 0; j < n && j <= i + reach; j++) {
                double w = exp(-(j - i) * (j - i) / (2 * sd * sd));
                sum += w * line[j], weights += w;
            }
            at[(ptrdiff_t)i * stride] = sum / weights;
        }
    }
    free(line);
    return true;
}

static int bin_of(double x, plot_range range, int bins) {
    double at = (x - range.low) / (range.high - range.low) * bins;
    return at >= 0 && at < bins ? (int)at : -1;
}

bool estimate_1d(const double *x, int64_t n, size_t stride, plot_range range, int bins, double smooth,
                 double *density) {
    const double unit = bins / (range.high - range.low) / (double)n;
    memset(density, 0, (size_t)bins * sizeof *density);
    for (int64_t i = 0; i < n; i++) {
        int bin = bin_of(x[(size_t)i * stride], range, bins);
        if (bin >= 0) density[bin] += unit;
    }
    return smooth <= 0 || smooth_lines(density, bins, 1, 1, 0, smooth);
}

bool estimate_2d(const double *x, const double *y, int64_t n, size_t stride, plot_range xs, plot_range ys, int bins,
                 double smooth, double *density) {
    const double unit = bins / (xs.high - xs.low) * bins / (ys.high - ys.low) / (double)n;
    memset(density, 0, (size_t)(bins * bins) * sizeof *density);
    for (int64_t i = 0; i < n; i++) {
        int a = bin_of(x[(size_t)i * stride], xs, bins), b = bin_of(y[(size_t)i * stride], ys, bins);
        if (a >= 0 && b >= 0) density[b * bins + a] += unit;
    }
    if (smooth <= 0) return true;
    return smooth_lines(density, bins, 1, bins, bins, smooth) && smooth_lines(density, bins, bins, bins, 1, smooth);
}

double estimate_level(const double *density, int cells, double area, double share) {
    double *sorted = malloc((size_t)cells * sizeof *sorted), sum = 0, level = NAN;
    if (!sorted) return NAN;
    memcpy(sorted, density, (size_t)cells * sizeof *sorted);
    qsort(sorted, (size_t)cells, sizeof *sorted, ascending);
    for (int i = cells - 1; i >= 0 && sum < share; i--) sum += sorted[i] * area, level = sorted[i];
    free(sorted);
    return sum < share ? NAN : level;
}
