// plot.h -- a row of panels (points, heat maps) with common axes, drawn to a PNG, SVG or PDF file.
#ifndef EXAMPLES_PLOT_H
#define EXAMPLES_PLOT_H

#include <stddef.h>

#include "canvas.h"

typedef struct plot plot;

// The middle share (0 < share <= 1) of column 0 or 1 of the n points xy[n][2], and a margin of a twelfth each side.
plot_range plot_range_of(const double *xy, size_t n, int column, double share);

// Widens one range so that a unit is as long on both axes of a panel; leaves them alone when they differ too much for
// that.
void plot_equal_units(plot_range *x, plot_range *y);

// A picture of panels side by side that show the same ranges, or NULL when out of memory. Freed by plot_save.
plot *plot_new(int panels, plot_range x, plot_range y);
// Instead of x₁ and x₂; borrowed.
void plot_name_axes(plot *picture, const char *x, const char *y);
// Each point of xy[n][2] as a dot. Points outside of the ranges are left out.
void plot_points(plot *picture, int panel, const char *title, const double *xy, size_t n);
// value[ny][nx] at the centres of a grid over the ranges, lowest y first; colours from scale.low to scale.high,
// explained by a colour bar at the right of the picture.
void plot_heat(plot *picture, int panel, const char *title, const double *value, int nx, int ny, plot_range scale,
               const char *unit);
// Writes the file (NULL: none) and frees the picture: canvas_save.
const char *plot_save(plot *picture, const char *file);

#endif
