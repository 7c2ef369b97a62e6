// frame.c -- a panel with axes on a page.
#include "frame.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void frame_ink(cairo_t *cr, frame_colour colour) {
    static const double rgba[][4] = {{0.17, 0.27, 0.58, 0.45},
                                     {0.66, 0.74, 0.90, 1},
                                     {0.85, 0.37, 0.01, 1},
                                     {0.60, 0.60, 0.60, 1},
                                     {0.1, 0.1, 0.1, 1}};
    const double *c = rgba[colour];
    cairo_set_source_rgba(cr, c[0], c[1], c[2], c[3]);
}

double frame_x(const frame *f, double x) {
    return f->left + (x - f->x.low) / (f->x.high - f->x.low) * f->width;
}

double frame_y(const frame *f, double y) {
    return f->top + f->height - (y - f->y.low) / (f->y.high - f->y.low) * f->height;
}

// ---- axes --------------------------------------------------------------------------------------------------------

static canvas_ticks ticks_along(plot_range range, double length) {
    double most = floor(length / (1.05 * CANVAS_FONT));
    return canvas_ticks_of(range, (int)fmin(fmax(most, 2), CANVAS_TICKS));
}

double frame_left_margin(cairo_t *cr, plot_range y, double height) {
    return 1.3 * CANVAS_FONT + 2 * CANVAS_PAD + CANVAS_TICK + canvas_widest_label(cr, ticks_along(y, height));
}

double frame_bottom_margin(void) {
    return CANVAS_TICK + 3 * CANVAS_PAD + 2 * CANVAS_FONT;
}

const char *frame_fit(cairo_t *cr, const char *text, double width, char cut[128]) {
    size_t n = strlen(text);
    if (n < 124 && canvas_text_width(cr, text) <= width) return text;
    for (n = n < 120 ? n : 120; n > 0; n--) {
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--;  // not within a character
        snprintf(cut, 128, "%.*s…", (int)n, text);
        if (canvas_text_width(cr, cut) <= width) break;
    }
    return cut;
}

// Numbers that would overlap others are left out: those of panels beside this one, too.
static void x_axis(const frame *f, const char *name) {
    const double bottom = f->top + f->height, right = f->left + f->width;
    char text[64], cut[128];
    canvas_ticks t = ticks_along(f->x, f->width);
    double end = -INFINITY;
    for (int i = 0; i < t.n; i++) {
        const char *label = canvas_tick_text(t, i, text);
        double at = frame_x(f, t.first + i * t.step), half = canvas_text_width(f->cr, label) / 2;
        double over = f->alone ? half : CANVAS_PAD / 2.0;
        canvas_line(f->cr, at, bottom, 0, CANVAS_TICK);
        if (at - half < f->left - over || at + half > right + over || at - half < end + CANVAS_PAD) continue;
        canvas_text(f->cr, label, at, bottom + CANVAS_TICK + CANVAS_PAD, 0.5, 0);
        end = at + half;
    }
    canvas_text(f->cr, canvas_axis_text(frame_fit(f->cr, name, f->width, cut), t, text), f->left + f->width / 2,
                bottom + CANVAS_TICK + 2 * CANVAS_PAD + CANVAS_FONT, 0.5, 0);
}

static void y_axis(const frame *f, const char *name) {
    char text[64], cut[128];
    canvas_ticks t = ticks_along(f->y, f->height);
    double widest = canvas_widest_label(f->cr, t);
    for (int i = 0; i < t.n; i++) {
        double at = frame_y(f, t.first + i * t.step), edge = fmin(at - f->top, f->top + f->height - at);
        canvas_line(f->cr, f->left, at, -CANVAS_TICK, 0);
        if (!f->alone && edge < 0.3 * CANVAS_FONT) continue;
        canvas_text(f->cr, canvas_tick_text(t, i, text), f->left - CANVAS_TICK - CANVAS_PAD, at, 1, 0.5);
    }
    const double close = CANVAS_TICK + 2 * CANVAS_PAD + widest + 0.75 * CANVAS_FONT;
    canvas_upright(f->cr, canvas_axis_text(frame_fit(f->cr, name, f->height, cut), t, text),
                   f->left - fmax(close, f->margin - 0.5 * CANVAS_FONT), f->top + f->height / 2);
}

void frame_axes(const frame *f, const char *x_name, const char *y_name) {
    frame_ink(f->cr, FRAME_BLACK);
    cairo_set_line_width(f->cr, 2.5);
    cairo_rectangle(f->cr, f->left, f->top, f->width, f->height);
    cairo_stroke(f->cr);
    if (x_name) x_axis(f, x_name);
    if (y_name) y_axis(f, y_name);
}

// ---- contents ----------------------------------------------------------------------------------------------------

static void begin(const frame *f) {
    cairo_save(f->cr);
    cairo_rectangle(f->cr, f->left, f->top, f->width, f->height);
    cairo_clip(f->cr);
    cairo_set_line_join(f->cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(f->cr, CAIRO_LINE_CAP_ROUND);
}

void frame_dots(const frame *f, const double *x, const double *y, int64_t n, size_t stride, double radius) {
    begin(f);
    for (int64_t i = 0; i < n; i++, x += stride, y += stride) {
        if (!(*x >= f->x.low && *x <= f->x.high && *y >= f->y.low && *y <= f->y.high)) continue;
        cairo_arc(f->cr, frame_x(f, *x), frame_y(f, *y), radius, 0, 2 * acos(-1));
        cairo_fill(f->cr);
    }
    cairo_restore(f->cr);
}

void frame_bars(const frame *f, const double *height, int n) {
    const double bottom = frame_y(f, f->y.low);
    begin(f);
    for (int i = 0; i < n; i++) {
        double at = f->left + f->width * i / n, top = frame_y(f, height[i]);
        cairo_rectangle(f->cr, at, top, f->width / n + 0.5, bottom - top);  // no seams
    }
    cairo_fill(f->cr);
    cairo_restore(f->cr);
}

void frame_line(const frame *f, const double *x, const double *y, int64_t n, double width) {
    begin(f);
    cairo_set_line_width(f->cr, width);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i])) continue;
        cairo_line_to(f->cr, frame_x(f, x[i]), frame_y(f, y[i]));
        if (i % 512 != 511) continue;  // cairo takes ever longer over a long path
        cairo_stroke(f->cr);
        cairo_move_to(f->cr, frame_x(f, x[i]), frame_y(f, y[i]));
    }
    cairo_stroke(f->cr);
    cairo_restore(f->cr);
}

// Corner k of a cell, around it: column and row beside its own.
static const int corner_x[] = {0, 1, 1, 0}, corner_y[] = {0, 0, 1, 1};

// Where the level crosses the side of a cell from corner k to the next.
static void side(const frame *f, const double *value, int nx, int ny, const int cell[2], int k, double level,
                 double at[2]) {
    const int ax = cell[0] + corner_x[k], ay = cell[1] + corner_y[k];
    const int bx = cell[0] + corner_x[(k + 1) % 4], by = cell[1] + corner_y[(k + 1) % 4];
    double a = value[ay * nx + ax], t = (level - a) / (value[by * nx + bx] - a);
    at[0] = f->left + f->width * (ax + t * (bx - ax) + 0.5) / nx;
    at[1] = f->top + f->height - f->height * (ay + t * (by - ay) + 0.5) / ny;
}

void frame_contour(const frame *f, const double *value, int nx, int ny, double level, double width) {
    begin(f);
    cairo_set_line_width(f->cr, width);
    for (int i = 0; i < (nx - 1) * (ny - 1); i++) {
        const int cell[2] = {i % (nx - 1), i / (nx - 1)};
        double at[4][2];
        int n = 0;
        for (int k = 0; k < 4; k++) {
            const int next = (k + 1) % 4;
            bool above = value[(cell[1] + corner_y[k]) * nx + cell[0] + corner_x[k]] > level;
            bool after = value[(cell[1] + corner_y[next]) * nx + cell[0] + corner_x[next]] > level;
            if (above != after) side(f, value, nx, ny, cell, k, level, at[n++]);
        }
        for (int k = 0; k + 1 < n; k += 2) {  // two crossings, or the four of a saddle
            cairo_move_to(f->cr, at[k][0], at[k][1]);
            cairo_line_to(f->cr, at[k + 1][0], at[k + 1][1]);
        }
    }
    cairo_stroke(f->cr);
    cairo_restore(f->cr);
}
