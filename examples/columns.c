// columns.c -- panels of one density each.
#include "columns.h"

#include <math.h>
#include <stdlib.h>

#include "estimate.h"
#include "frame.h"

typedef struct column {
    double bars[64], curve[COLUMNS_FINE], at[COLUMNS_FINE];
    plot_range x, y;
    int bins;
} column;

static bool fill(column *c, const corner_set *dots, const corner_set *lines, const double *exact, int i, int D) {
    const corner_set *all = dots ? dots : lines;
    double most = 0;
    bool ok = true;
    c->x = estimate_range(all->x + i, all->n, (size_t)D, 0.995);
    if (dots && lines && !exact) {  // and where most of the others are
        const plot_range most_lines = estimate_range(lines->x + i, lines->n, (size_t)D, 0.9);
        c->x = (plot_range){fmin(c->x.low, most_lines.low), fmax(c->x.high, most_lines.high)};
    }
    c->bins = dots ? estimate_bins(dots->n) : 0;
    if (dots) ok = estimate_1d(dots->x + i, dots->n, (size_t)D, c->x, c->bins, 0, c->bars);
    const double sd = lines ? 2.5 * fmax(1, pow(2e4 / (double)lines->n, 0.25)) : 0;  // fewer draws, smoother
    if (lines && !exact) ok = ok && estimate_1d(lines->x + i, lines->n, (size_t)D, c->x, COLUMNS_FINE, sd, c->curve);
    for (int k = 0; k < c->bins; k++) most = fmax(most, c->bars[k]);
    for (int k = 0; k < COLUMNS_FINE; k++) {
        c->at[k] = c->x.low + (k + 0.5) / COLUMNS_FINE * (c->x.high - c->x.low);
        if (exact) c->curve[k] = exact[k];
        if (lines) most = fmax(most, c->curve[k]);
    }
    c->y = (plot_range){0, most > 0 ? 1.08 * most : 1};
    return ok;
}

// What bars and curves are, in a line at the top.
static void legend(cairo_t *cr, const corner_set *dots, const corner_set *lines) {
    const double y = CANVAS_PAD + 0.6 * CANVAS_FONT, mark = 1.2 * CANVAS_FONT;
    double x = CANVAS_WIDTH - CANVAS_PAD;
    const corner_set *sets[] = {lines, dots};
    for (int i = 0; i < 2; i++) {
        if (!sets[i]) continue;
        frame_ink(cr, FRAME_BLACK);
        canvas_text(cr, sets[i]->name, x, y, 1, 0.5);
        x -= canvas_text_width(cr, sets[i]->name) + CANVAS_PAD + mark;
        frame_ink(cr, i == 0 ? FRAME_ORANGE : FRAME_PALE_BLUE);
        cairo_rectangle(cr, x, i == 0 ? y - 2.5 : y - 0.4 * CANVAS_FONT, mark, i == 0 ? 5 : 0.8 * CANVAS_FONT);
        cairo_fill(cr);
        x -= 2 * CANVAS_FONT;
    }
}

static const char *draw(const char *file, const char *const *names, int D, const column *c, const corner_set *dots,
                        const corner_set *lines) {
    const int across = D == 1 ? 1 : D <= 4 ? 2 : 3, down = (D + across - 1) / across;
    const double height = 1200 / (across + 1), top = 2.2 * CANVAS_FONT, below = frame_bottom_margin() + CANVAS_PAD;
    cairo_t *cr = canvas_new(1, 1);
    double left = 0;
    for (int i = 0; i < D; i++) left = fmax(left, frame_left_margin(cr, c[i].y, height));
    canvas_save(cr, NULL);
    cr = canvas_new(CANVAS_WIDTH, top + down * (height + below));
    const double width = floor((CANVAS_WIDTH - CANVAS_PAD) / across - left - CANVAS_PAD);
    for (int i = 0; i < D; i++) {
        const frame f = {.cr = cr,
                         .left = left + i % across * (left + width + CANVAS_PAD),
                         .top = top + (double)(i / across) * (height + below),
                         .width = width,
                         .height = height,
                         .x = c[i].x,
                         .y = c[i].y,
                         .alone = true};
        frame_ink(cr, FRAME_PALE_BLUE);
        if (dots) frame_bars(&f, c[i].bars, c[i].bins);
        frame_ink(cr, FRAME_ORANGE);
        if (lines) frame_line(&f, c[i].at, c[i].curve, COLUMNS_FINE, 4.5);
        frame_axes(&f, names[i], "density");
    }
    legend(cr, dots, lines);
    return canvas_save(cr, file);
}

const char *columns_draw(const char *file, const char *const *names, int D, const corner_set *dots,
                         const corner_set *lines, const double *exact) {
    if (D < 1 || D > COLUMNS_MOST) return "too many columns";
    column *c = calloc((size_t)D, sizeof *c);
    bool ok = c != NULL;
    for (int i = 0; ok && i < D; i++) ok = fill(&c[i], dots, lines, exact, i, D);
    const char *wrong = ok ? draw(file, names, D, c, dots, lines) : "out of memory";
    free(c);
    return wrong;
}
