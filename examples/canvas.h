// canvas.h -- what pictures are made of: a page that becomes a PNG, SVG or PDF file, text, ticks, coloured cells.
#ifndef EXAMPLES_CANVAS_H
#define EXAMPLES_CANVAS_H

#include <cairo.h>

// Sizes are pixels of a picture 1,600 wide, legible when shown at a quarter of that.
enum { CANVAS_WIDTH = 1600, CANVAS_FONT = 34, CANVAS_PAD = 12, CANVAS_TICK = 9, CANVAS_TICKS = 5 };

typedef struct plot_range {
    double low, high;
} plot_range;

// A white page, with font and line width set. Never NULL: what goes wrong shows when it is saved.
cairo_t *canvas_new(double width, double height);
// Writes the file, SVG or PDF where its name ends so, else PNG (NULL: none), and frees the page. NULL, or what went
// wrong: static text.
const char *canvas_save(cairo_t *cr, const char *file);

// Multiples of step = 1, 2 or 5 times a power of ten; labels leave out a common factor 10^exponent, and stand at
// multiples of every steps.
typedef struct canvas_ticks {
    double first, step;
    int n, exponent, every;
} canvas_ticks;
canvas_ticks canvas_ticks_of(plot_range range, int most);
// With labels as often as they keep clear of each other along an axis of this width.
canvas_ticks canvas_ticks_that_fit(cairo_t *cr, plot_range range, double width);
// Label of tick i, with as many decimals as the steps between labels have; or "".
const char *canvas_tick_text(canvas_ticks t, int i, char text[32]);
double canvas_widest_label(cairo_t *cr, canvas_ticks t);
// "name", or "name (10⁴)" when tick labels leave a factor out.
const char *canvas_axis_text(const char *name, canvas_ticks t, char text[64]);

double canvas_text_width(cairo_t *cr, const char *text);
// Text with its point of alignment (0 left or top, 1 right or bottom) at x, y.
void canvas_text(cairo_t *cr, const char *text, double x, double y, double align_x, double align_y);
// Text read from below: x is its left side, y its middle.
void canvas_upright(cairo_t *cr, const char *text, double x, double y);

void canvas_line(cairo_t *cr, double x, double y, double dx, double dy);
// nx by ny cells t in [0, 1], coloured, over a rectangle (left, top, width, height); the first row is the lowest.
void canvas_image(cairo_t *cr, const double *t, int nx, int ny, const double box[4]);

#endif
