// losses.c -- losses against steps.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "columns.h"
#include "estimate.h"
#include "frame.h"

// A centred mean over a fortieth of the curve.
static void smooth(const loss_curve *c, double *out) {
    const int64_t reach = c->n / 80;
    for (int64_t i = 0; i < c->n; i++) {
        double sum = 0;
        int64_t n = 0;
        for (int64_t j = i > reach ? i - reach : 0; j < c->n && j <= i + reach; j++) sum += c->loss[j], n++;
        out[i] = sum / (double)n;
    }
}

static int64_t least(const loss_curve *c) {
    int64_t best = 0;
    for (int64_t i = 1; i < c->n; i++) {
        if (c->loss[i] < c->loss[best]) best = i;
    }
    return best;
}

// All but the highest losses, which come first and would press the others flat.
static plot_range losses_range(const loss_curve *train, const loss_curve *validation) {
    plot_range y = {INFINITY, -INFINITY};
    const loss_curve *curves[] = {train, validation};
    for (int k = 0; k < 2; k++) {
        if (curves[k]->n == 0) continue;
        plot_range r = estimate_range(curves[k]->loss, curves[k]->n, 1, k == 0 ? 0.96 : 0.9);
        y.low = fmin(y.low, fmin(r.low, curves[k]->loss[least(curves[k])])), y.high = fmax(y.high, r.high);
    }
    double margin = (y.high - y.low) / 20;
    return (plot_range){y.low - margin, y.high + margin};
}

static double key(cairo_t *cr, frame_colour colour, const char *text, double x) {
    const double y = CANVAS_PAD + 0.6 * CANVAS_FONT, mark = 1.2 * CANVAS_FONT;
    frame_ink(cr, FRAME_BLACK);
    canvas_text(cr, text, x, y, 1, 0.5);
    x -= canvas_text_width(cr, text) + CANVAS_PAD + mark;
    frame_ink(cr, colour);
    cairo_rectangle(cr, x, y - 2.5, mark, 5);
    cairo_fill(cr);
    return x - 1.5 * CANVAS_FONT;
}

static void draw_validation(const frame *f, const loss_curve *v) {
    const int64_t best = least(v);
    char text[96];
    frame_ink(f->cr, FRAME_ORANGE);
    frame_line(f, v->step, v->loss, v->n, 4.5);
    if (v->n <= 100) frame_dots(f, v->step, v->loss, v->n, 1, 6);
    frame_ink(f->cr, FRAME_BLACK);
    cairo_arc(f->cr, frame_x(f, v->step[best]), frame_y(f, v->loss[best]), 11, 0, 2 * acos(-1));
    cairo_stroke(f->cr);
    snprintf(text, sizeof text, "validation, least %.4f at step %.0f", v->loss[best], v->step[best]);
    key(f->cr, FRAME_ORANGE, text, CANVAS_WIDTH - CANVAS_PAD);
}

const char *columns_draw_losses(const char *file, const loss_curve *train, const loss_curve *validation) {
    double *means = malloc((size_t)(train->n + 1) * sizeof *means);
    if (!means) return "out of memory";
    double last =
        fmax(train->n ? train->step[train->n - 1] : 1, validation->n ? validation->step[validation->n - 1] : 1);
    frame f = {.x = {0, 1.02 * last},
               .y = losses_range(train, validation),
               .top = 2.2 * CANVAS_FONT,
               .height = 640,
               .alone = true};
    f.cr = canvas_new(CANVAS_WIDTH, f.top + f.height + frame_bottom_margin());
    f.left = frame_left_margin(f.cr, f.y, f.height);
    f.width = CANVAS_WIDTH - f.left - 3 * CANVAS_PAD;
    smooth(train, means);
    frame_ink(f.cr, FRAME_PALE_BLUE);
    frame_line(&f, train->step, train->loss, train->n, 1.5);
    cairo_set_source_rgb(f.cr, 0.17, 0.27, 0.58);
    frame_line(&f, train->step, means, train->n, 4.5);
    frame_axes(&f, "step", "loss (nats)");
    key(f.cr, FRAME_BLUE, "training", f.left + 6.2 * CANVAS_FONT);
    if (validation->n) draw_validation(&f, validation);
    free(means);
    return canvas_save(f.cr, file);
}
