// estimate.h -- densities of points, to be drawn: histograms, smoothed.
#ifndef EXAMPLES_ESTIMATE_H
#define EXAMPLES_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "canvas.h"

// The middle share of n numbers, x[0], x[stride], ..., and a margin of a twelfth each side. All numbers are finite.
plot_range estimate_range(const double *x, int64_t n, size_t stride, double share);
// Bins that suit so many numbers.
int estimate_bins(int64_t n);
// Density in each of bins over a range, from n numbers of which some may lie outside. smooth: standard deviation of the
// kernel in bins; 0: none. False when out of memory.
bool estimate_1d(const double *x, int64_t n, size_t stride, plot_range range, int bins, double smooth, double *density);
// The same of n pairs, x and y alike: density [bins][bins], lowest y first.
bool estimate_2d(const double *x, const double *y, int64_t n, size_t stride, plot_range xs, plot_range ys, int bins,
                 double smooth, double *density);
// The level above which lies this share of all mass, in cells of this area; NAN when less than that is in the cells, or
// out of memory.
double estimate_level(const double *density, int cells, double area, double share);

#endif
