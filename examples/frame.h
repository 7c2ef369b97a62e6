// frame.h -- a panel with axes on a page: where numbers lie in it, and dots, bars, lines, contours.
#ifndef EXAMPLES_FRAME_H
#define EXAMPLES_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "canvas.h"

typedef struct frame {
    cairo_t *cr;
    double left, top, width, height;
    plot_range x, y;
    bool alone;     // no panel beside it: numbers below it may reach farther
    double margin;  // at the left, where the name begins; 0: close to the numbers
} frame;

typedef enum frame_colour { FRAME_BLUE, FRAME_PALE_BLUE, FRAME_ORANGE, FRAME_GREY, FRAME_BLACK } frame_colour;
void frame_ink(cairo_t *cr, frame_colour colour);

double frame_x(const frame *f, double x);
double frame_y(const frame *f, double y);

// Sides that have ticks with numbers and a name; the box is drawn always. NULL: none.
void frame_axes(const frame *f, const char *x_name, const char *y_name);
// Room that names and numbers take: left of a frame that shows this range, and below any.
double frame_left_margin(cairo_t *cr, plot_range y, double height);
double frame_bottom_margin(void);

// All are cut off at the frame's edges. Values that are not finite are left out.
void frame_dots(const frame *f, const double *x, const double *y, int64_t n, size_t stride, double radius);
void frame_bars(const frame *f, const double *height, int n);  // over all of f->x
void frame_line(const frame *f, const double *x, const double *y, int64_t n, double width);
// Where value [ny][nx], at the centres of a grid over both ranges (lowest y first), is level: marching squares.
void frame_contour(const frame *f, const double *value, int nx, int ny, double level, double width);

// Text that fits the width: cut, with an ellipsis, where need be.
const char *frame_fit(cairo_t *cr, const char *text, double width, char cut[128]);

#endif
