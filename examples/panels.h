// panels.h -- panels in rows and columns: points, curves, heat maps, on axes of all or of each; PNG, SVG or PDF.
#ifndef EXAMPLES_PANELS_H
#define EXAMPLES_PANELS_H

#include <stdbool.h>
#include <stddef.h>

#include "canvas.h"

typedef struct panels_axes {
    plot_range x, y;
    const char *x_name, *y_name;  // with units, where there are; NULL: x₁ and x₂
} panels_axes;

typedef struct panels_layout {
    int n, columns;           // panels from left to right, row by row
    panels_axes all;          // labelled at the left and at the bottom of the picture only
    const panels_axes *each;  // [n] instead: each panel has its own
    const char *const *rows;  // names of rows instead, above the titles: there are no axes
    double aspect;            // height of a panel over its width; 0: as all's ranges have it, from 0.75 to 1.25
    double page;              // width of the picture; 0: CANVAS_WIDTH
    int title_lines;          // 0: 1
    bool bar;                 // room for colour bars
} panels_layout;

// Colours that tell things apart, also in grey: dark blue, orange, green, grey.
typedef enum panels_colour { PANELS_BLUE, PANELS_ORANGE, PANELS_GREEN, PANELS_GREY } panels_colour;

// A picture without anything in it, or NULL when out of memory. Freed by panels_save. Copies the layout, borrows names.
typedef struct panels panels;
panels *panels_new(const panels_layout *layout);
// Points xy[n][2], as dots (small ones, and of a radius in pixels of a picture 1,600 wide) and as a line, interrupted
// where a coordinate is NaN. What is outside is cut off.
void panels_points(panels *p, int panel, const double *xy, size_t n, panels_colour colour);
void panels_dots(panels *p, int panel, const double *xy, size_t n, double radius, panels_colour colour);
void panels_curve(panels *p, int panel, const double *xy, size_t n, panels_colour colour);
// value[ny][nx] at the centres of a grid over the panel, lowest y first, in colours from scale.low to scale.high.
void panels_heat(panels *p, int panel, const double *value, int nx, int ny, plot_range scale);
// A word in a panel, its middle at x, y.
typedef struct panels_mark {
    const char *word;
    double x, y;
} panels_mark;
void panels_word(panels *p, int panel, panels_mark mark, panels_colour colour);
// The frame with ticks, labels and title (lines parted by \n): to be drawn last.
void panels_frame(panels *p, int panel, const char *title);
// What colours mean, at the right of rows of panels.
void panels_bar(panels *p, int first_row, int rows, plot_range scale, const char *unit);
// Writes the file (NULL: none) and frees the picture: canvas_save.
const char *panels_save(panels *p, const char *file);

#endif
