// columns.h -- the density of each column, a panel each, and losses against steps: drawn to a file.
#ifndef EXAMPLES_COLUMNS_H
#define EXAMPLES_COLUMNS_H

#include "corner.h"

enum { COLUMNS_MOST = 12, COLUMNS_FINE = 256 };

// Bars of dots' histogram and the curve of lines', as corner_draw; names [D], D up to COLUMNS_MOST. exact: instead of
// the curve, for D = 1, densities at the centres of COLUMNS_FINE cells of estimate_range(dots, else lines, ..., 0.995);
// or NULL.
const char *columns_draw(const char *file, const char *const *names, int D, const corner_set *dots,
                         const corner_set *lines, const double *exact);

typedef struct loss_curve {
    const double *step, *loss;
    int64_t n;
} loss_curve;
// Training losses, in the background as they are and before it smoothed; and validation losses, the least of them
// marked.
const char *columns_draw_losses(const char *file, const loss_curve *train, const loss_curve *validation);

#endif
