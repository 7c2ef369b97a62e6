// corner.c -- corner plots.
#include "corner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "estimate.h"
#include "frame.h"

enum { GAP = 18, DOTS = 3000, FINE = 128, CELLS = 128 };

typedef struct page {
    cairo_t *cr;
    const char *const *names;
    int D;
    const corner_set *dots, *lines;
    plot_range range[CORNER_MOST];
    double left, side;  // of panels
    double *work;       // [CELLS CELLS]
} page;

// The panel of row i and column j; of the diagonal, with densities from 0 up.
static frame panel(const page *p, int i, int j) {
    return (frame){.cr = p->cr,
                   .left = p->left + j * (p->side + GAP),
                   .top = CANVAS_PAD + i * (p->side + GAP),
                   .width = p->side,
                   .height = p->side,
                   .x = p->range[j],
                   .y = p->range[i],
                   .margin = p->left};
}

static bool single(page *p, int i) {
    frame f = panel(p, i, i);
    double curve[FINE], bars[64], at[FINE], most = 0;
    int bins = p->dots ? estimate_bins(p->dots->n) : 0;
    bool ok = true;
    if (p->dots) ok = estimate_1d(p->dots->x + i, p->dots->n, (size_t)p->D, f.x, bins, 0, bars);
    if (p->lines) ok = ok && estimate_1d(p->lines->x + i, p->lines->n, (size_t)p->D, f.x, FINE, 1.5, curve);
    for (int k = 0; k < bins; k++) most = fmax(most, bars[k]);
    for (int k = 0; k < FINE && p->lines; k++) {
        at[k] = f.x.low + (k + 0.5) / FINE * (f.x.high - f.x.low);
        most = fmax(most, curve[k]);
    }
    f.y = (plot_range){0, most > 0 ? 1.08 * most : 1};
    frame_ink(p->cr, FRAME_PALE_BLUE);
    if (p->dots) frame_bars(&f, bars, bins);
    frame_ink(p->cr, FRAME_ORANGE);
    if (p->lines) frame_line(&f, at, curve, FINE, 4.5);
    frame_axes(&f, i == p->D - 1 ? p->names[i] : NULL, NULL);
    return ok;
}

static bool pair(page *p, int i, int j) {
    const frame f = panel(p, i, j);
    bool ok = true;
    frame_ink(p->cr, FRAME_BLUE);
    if (p->dots) {  // spread over all rows, should they be in some order
        int64_t step = (p->dots->n + DOTS - 1) / DOTS;
        frame_dots(&f, p->dots->x + j, p->dots->x + i, p->dots->n / step, (size_t)(step * p->D), 2.3);
    }
    if (p->lines) {
        const double sd = 1.8 * fmax(1, pow(5e4 / (double)p->lines->n, 1 / 6.0));  // fewer draws, smoother
        ok = estimate_2d(p->lines->x + j, p->lines->x + i, p->lines->n, (size_t)p->D, f.x, f.y, CELLS, sd, p->work);
        frame_ink(p->cr, FRAME_ORANGE);
        const double area = (f.x.high - f.x.low) / CELLS * (f.y.high - f.y.low) / CELLS;
        frame_contour(&f, p->work, CELLS, CELLS, estimate_level(p->work, CELLS * CELLS, area, 0.5), 4.5);
        frame_contour(&f, p->work, CELLS, CELLS, estimate_level(p->work, CELLS * CELLS, area, 0.9), 3);
    }
    frame_axes(&f, i == p->D - 1 ? p->names[j] : NULL, j == 0 ? p->names[i] : NULL);
    return ok;
}

// In the corner without panels.
static void legend(const page *p) {
    const frame f = panel(p, 0, p->D - 1);
    const double width = fmax(f.width, 17 * CANVAS_FONT);
    const double x = f.left + f.width - width, mark = 1.2 * CANVAS_FONT;
    double y = f.top + CANVAS_FONT;
    char cut[128];
    if (p->dots) {
        frame_ink(p->cr, FRAME_PALE_BLUE);
        cairo_rectangle(p->cr, x, y - 0.4 * CANVAS_FONT, mark, 0.8 * CANVAS_FONT);
        cairo_fill(p->cr);
        frame_ink(p->cr, FRAME_BLACK);
        canvas_text(p->cr, frame_fit(p->cr, p->dots->name, width - mark, cut), x + mark + CANVAS_PAD, y, 0, 0.5);
        y += 1.6 * CANVAS_FONT;
    }
    if (p->lines) {
        frame_ink(p->cr, FRAME_ORANGE);
        cairo_set_line_width(p->cr, 4.5);
        canvas_line(p->cr, x, y, mark, 0);
        frame_ink(p->cr, FRAME_BLACK);
        canvas_text(p->cr, frame_fit(p->cr, p->lines->name, width - mark, cut), x + mark + CANVAS_PAD, y, 0, 0.5);
        y += 1.3 * CANVAS_FONT;
        canvas_text(p->cr, "regions of 50 % and 90 %", x + mark + CANVAS_PAD, y, 0, 0.5);
    }
}

static double side_of(const page *p) {
    return floor((CANVAS_WIDTH - p->left - CANVAS_PAD - (p->D - 1) * GAP) / p->D);
}

// Panels as large as numbers and names at the left allow.
static void lay_out(page *p) {
    cairo_t *cr = canvas_new(1, 1);
    for (int again = 0; again < 3; again++) {  // numbers depend on the side, which depends on their width
        p->side = side_of(p);
        for (int i = 1; i < p->D; i++) p->left = fmax(p->left, frame_left_margin(cr, p->range[i], p->side));
    }
    canvas_save(cr, NULL);
    p->side = side_of(p);
    p->cr = canvas_new(CANVAS_WIDTH, CANVAS_PAD + p->D * p->side + (p->D - 1) * GAP + frame_bottom_margin());
}

// Of the data, and so wide that the regions of the model fit in.
static plot_range range_of(const page *p, int i) {
    const corner_set *all = p->dots ? p->dots : p->lines;
    plot_range range = estimate_range(all->x + i, all->n, (size_t)p->D, 0.995);
    if (p->dots && p->lines) {
        const plot_range drawn = estimate_range(p->lines->x + i, p->lines->n, (size_t)p->D, 0.98);
        range = (plot_range){fmin(range.low, drawn.low), fmax(range.high, drawn.high)};
    }
    return range;
}

const char *corner_draw(const char *file, const char *const *names, int D, const corner_set *dots,
                        const corner_set *lines) {
    page p = {.names = names, .D = D, .dots = dots, .lines = lines, .work = malloc(CELLS * CELLS * sizeof(double))};
    if (!p.work || D < 2 || D > CORNER_MOST) return free(p.work), p.work ? "columns" : "out of memory";
    for (int i = 0; i < D; i++) p.range[i] = range_of(&p, i);
    lay_out(&p);
    bool ok = true;
    for (int i = 0; i < D; i++) {
        for (int j = 0; j < i; j++) ok = pair(&p, i, j) && ok;
        ok = single(&p, i) && ok;
    }
    legend(&p);
    free(p.work);
    const char *wrong = canvas_save(p.cr, ok ? file : NULL);
    return ok ? wrong : "out of memory";
}
