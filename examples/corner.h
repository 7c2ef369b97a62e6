// corner.h -- corner plots: a panel for each column and for each pair of columns of two sets of points, drawn to a
// file.
#ifndef EXAMPLES_CORNER_H
#define EXAMPLES_CORNER_H

#include <stdint.h>

enum { CORNER_MOST = 8 };  // columns that stay legible

typedef struct corner_set {
    const char *name;  // in the legend
    const double *x;   // [n][D], all finite
    int64_t n;
} corner_set;

// names [D], D from 2 to CORNER_MOST. dots are shown as points and bars, lines as a curve and as the regions of highest
// density that hold 50 and 90 % of them, from a histogram, smoothed. Either may be NULL. NULL, or what went wrong:
// static text.
const char *corner_draw(const char *file, const char *const *names, int D, const corner_set *dots,
                        const corner_set *lines);

#endif
