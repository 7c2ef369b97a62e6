// colormap.h -- a perceptually uniform colour map from dark violet to yellow.
#ifndef EXAMPLES_COLORMAP_H
#define EXAMPLES_COLORMAP_H

// The colour of t in [0, 1] (clamped; NaN is 0) as sRGB components in [0, 1]. Lightness grows linearly with t.
void colormap(double t, double rgb[3]);

#endif
