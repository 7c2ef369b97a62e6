// plot.c -- panels with axes, side by side.
#include "plot.h"

#include <math.h>
#include <stdlib.h>

enum { BAR = 34 };

struct plot {
    cairo_t *cr;
    plot_range x, y;
    const char *x_name, *y_name;
    double left, top, width, height;  // of panel 0: the others follow at intervals of left + width
};

// ---- layout ------------------------------------------------------------------------------------------------------

plot_range plot_range_of(const double *xy, size_t n, int column, double share) {
    enum { BINS = 4096 };  // quantiles to a four-thousandth of the span are enough for an axis
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) low = fmin(low, xy[2 * i + column]), high = fmax(high, xy[2 * i + column]);
    if (!(low < high)) return (plot_range){low - 1, low + 1};
    size_t count[BINS] = {0}, cut = (size_t)((double)n * (1 - share) / 2), below = 0, above = 0;
    for (size_t i = 0; i < n; i++) count[(int)((xy[2 * i + column] - low) / (high - low) * (BINS - 1))]++;
    int first = 0, last = BINS - 1;
    while (first < last && (below += count[first]) <= cut) first++;
    while (last > first && (above += count[last]) <= cut) last--;
    double bin = (high - low) / BINS, span = (last + 1 - first) * bin;
    return (plot_range){low + first * bin - span / 12, low + (last + 1) * bin + span / 12};
}

static void widen(plot_range *range, double span) {
    double more = (span - (range->high - range->low)) / 2;
    if (more > 0) range->low -= more, range->high += more;
}

void plot_equal_units(plot_range *x, plot_range *y) {
    double ratio = (y->high - y->low) / (x->high - x->low);
    if (!(ratio > 0.25 && ratio < 4)) return;
    widen(y, 0.75 * (x->high - x->low));
    widen(x, (y->high - y->low) / 1.25);
}

plot *plot_new(int panels, plot_range x, plot_range y) {
    plot *p = malloc(sizeof *p);
    if (!p) return NULL;
    *p = (plot){.x = x, .y = y, .x_name = "x₁", .y_name = "x₂"};
    p->cr = canvas_new(1, 1);  // to measure labels, which decide the margins
    p->left = 1.3 * CANVAS_FONT + CANVAS_PAD + canvas_widest_label(p->cr, canvas_ticks_of(y, CANVAS_TICKS)) +
              CANVAS_TICK + CANVAS_PAD;
    p->top = 2 * CANVAS_FONT;
    double bar = 2 * CANVAS_PAD + BAR + CANVAS_TICK + CANVAS_PAD + canvas_text_width(p->cr, "−10") + 1.6 * CANVAS_FONT;
    p->width = floor((CANVAS_WIDTH - bar - panels * p->left) / panels);
    p->height = floor(p->width * fmin(fmax((y.high - y.low) / (x.high - x.low), 0.75), 1.25));
    canvas_save(p->cr, NULL);
    p->cr = canvas_new(CANVAS_WIDTH, p->top + p->height + CANVAS_TICK + 3 * CANVAS_PAD + 2 * CANVAS_FONT);
    return p;
}

void plot_name_axes(plot *p, const char *x, const char *y) {
    p->x_name = x, p->y_name = y;
}

static double panel_left(const plot *p, int panel) {
    return p->left + panel * (p->left + p->width);
}

static double to_x(const plot *p, int panel, double x) {
    return panel_left(p, panel) + (x - p->x.low) / (p->x.high - p->x.low) * p->width;
}

static double to_y(const plot *p, double y) {
    return p->top + p->height - (y - p->y.low) / (p->y.high - p->y.low) * p->height;
}

static void axes(plot *p, int panel, const char *title) {
    cairo_t *cr = p->cr;
    char text[32], name[64];
    const double left = panel_left(p, panel), bottom = p->top + p->height, middle = left + p->width / 2;
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    cairo_rectangle(cr, left, p->top, p->width, p->height);
    cairo_stroke(cr);
    canvas_ticks tx = canvas_ticks_that_fit(cr, p->x, p->width), ty = canvas_ticks_of(p->y, CANVAS_TICKS);
    for (int i = 0; i < tx.n; i++) {
        double at = to_x(p, panel, tx.first + i * tx.step);
        canvas_line(cr, at, bottom, 0, CANVAS_TICK);
        canvas_text(cr, canvas_tick_text(tx, i, text), at, bottom + CANVAS_TICK + CANVAS_PAD, 0.5, 0);
    }
    for (int i = 0; i < ty.n; i++) {
        double at = to_y(p, ty.first + i * ty.step);
        canvas_line(cr, left, at, -CANVAS_TICK, 0);
        canvas_text(cr, canvas_tick_text(ty, i, text), left - CANVAS_TICK - CANVAS_PAD, at, 1, 0.5);
    }
    canvas_text(cr, title, middle, p->top - CANVAS_PAD, 0.5, 1);
    canvas_text(cr, canvas_axis_text(p->x_name, tx, name), middle,
                bottom + CANVAS_TICK + CANVAS_PAD + CANVAS_FONT + CANVAS_PAD, 0.5, 0);
    canvas_upright(cr, canvas_axis_text(p->y_name, ty, name), left - p->left + 0.3 * CANVAS_FONT,
                   p->top + p->height / 2);
}

// ---- panels ------------------------------------------------------------------------------------------------------

void plot_points(plot *p, int panel, const char *title, const double *xy, size_t n) {
    cairo_save(p->cr);
    cairo_rectangle(p->cr, panel_left(p, panel), p->top, p->width, p->height);
    cairo_clip(p->cr);
    cairo_set_source_rgba(p->cr, 0.17, 0.27, 0.58, 0.45);
    for (size_t i = 0; i < n; i++) {
        cairo_arc(p->cr, to_x(p, panel, xy[2 * i]), to_y(p, xy[2 * i + 1]), 2.3, 0, 2 * acos(-1));
        cairo_fill(p->cr);
    }
    cairo_restore(p->cr);
    axes(p, panel, title);
}

static void colour_bar(plot *p, double x, plot_range scale, const char *unit) {
    cairo_t *cr = p->cr;
    double ramp[256];
    for (int i = 0; i < 256; i++) ramp[i] = i / 255.0;
    canvas_image(cr, ramp, 1, 256, (double[4]){x, p->top, BAR, p->height});
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    cairo_rectangle(cr, x, p->top, BAR, p->height);
    cairo_stroke(cr);
    char text[32];
    canvas_ticks t = canvas_ticks_of(scale, CANVAS_TICKS);
    for (int i = 0; i < t.n; i++) {
        double at = p->top + p->height * (scale.high - t.first - i * t.step) / (scale.high - scale.low);
        canvas_line(cr, x + BAR, at, CANVAS_TICK, 0);
        canvas_text(cr, canvas_tick_text(t, i, text), x + BAR + CANVAS_TICK + CANVAS_PAD, at, 0, 0.5);
    }
    canvas_upright(cr, unit, CANVAS_WIDTH - 1.2 * CANVAS_FONT, p->top + p->height / 2);
}

void plot_heat(plot *p, int panel, const char *title, const double *value, int nx, int ny, plot_range scale,
               const char *unit) {
    double *t = malloc((size_t)nx * (size_t)ny * sizeof *t);
    for (int i = 0; t && i < nx * ny; i++) t[i] = (value[i] - scale.low) / (scale.high - scale.low);
    if (t) canvas_image(p->cr, t, nx, ny, (double[4]){panel_left(p, panel), p->top, p->width, p->height});
    free(t);
    axes(p, panel, title);
    colour_bar(p, panel_left(p, panel) + p->width + 2 * CANVAS_PAD, scale, unit);
}

const char *plot_save(plot *p, const char *file) {
    const char *wrong = canvas_save(p->cr, file);
    free(p);
    return wrong;
}
