// panels.c -- panels in rows and columns on a canvas.
#include "panels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BAR = 34 };

struct panels {
    cairo_t *cr;
    panels_layout layout;
    panels_axes *axes;            // [n]
    double left, top;             // of panel 0
    double width, height;         // of a panel
    double across, down, bottom;  // from a panel to the next; room below the last row
};

// ---- layout ------------------------------------------------------------------------------------------------------

static int rows_of(const panels *p) {
    return (p->layout.n + p->layout.columns - 1) / p->layout.columns;
}

static double widest(const panels *p, bool of_x) {
    double wide = 0;
    for (int i = 0; i < p->layout.n; i++) {
        plot_range range = of_x ? p->axes[i].x : p->axes[i].y;
        wide = fmax(wide, canvas_widest_label(p->cr, canvas_ticks_of(range, CANVAS_TICKS)));
    }
    return wide;
}

static double aspect_of(const panels_layout *l) {
    if (l->aspect > 0) return l->aspect;
    double ratio = (l->all.y.high - l->all.y.low) / (l->all.x.high - l->all.x.low);
    return fmin(fmax(ratio, 0.75), 1.25);
}

static void measure(panels *p) {
    const panels_layout *l = &p->layout;
    const double columns = l->columns, label = widest(p, true);
    const double bar =
        l->bar ? 2 * CANVAS_PAD + BAR + CANVAS_TICK + CANVAS_PAD + canvas_text_width(p->cr, "−10") + 1.6 * CANVAS_FONT
               : label / 2 + CANVAS_PAD;
    p->left = l->rows ? CANVAS_PAD : 1.3 * CANVAS_FONT + CANVAS_PAD + widest(p, false) + CANVAS_TICK + CANVAS_PAD;
    p->top = ((l->title_lines > 1 ? l->title_lines : 1) + (l->rows != NULL)) * 1.2 * CANVAS_FONT + CANVAS_PAD;
    p->bottom = CANVAS_PAD + (l->rows ? 0 : CANVAS_TICK + 2 * CANVAS_PAD + 2 * CANVAS_FONT);
    const double gap = l->each ? p->left + label / 2 : (l->rows ? 0 : fmax(label, CANVAS_FONT)) + CANVAS_PAD;
    p->width = floor((l->page - bar - p->left - (columns - 1) * gap) / columns);
    p->height = floor(p->width * aspect_of(l));
    p->across = p->width + gap;
    p->down = p->top + p->height + (l->each ? p->bottom : CANVAS_PAD);
}

panels *panels_new(const panels_layout *layout) {
    panels *p = malloc(sizeof *p);
    panels_axes *axes = calloc((size_t)layout->n, sizeof *axes);
    if (!p || !axes) return free(p), free(axes), NULL;
    *p = (panels){.cr = canvas_new(1, 1), .layout = *layout, .axes = axes};  // a page to measure labels with
    if (!layout->page) p->layout.page = CANVAS_WIDTH;
    for (int i = 0; i < layout->n; i++) axes[i] = layout->each ? layout->each[i] : layout->all;
    measure(p);
    canvas_save(p->cr, NULL);
    const int rows = rows_of(p);
    p->cr = canvas_new(p->layout.page, p->top + (rows - 1) * p->down + p->height + p->bottom);
    return p;
}

static double left_of(const panels *p, int panel) {
    return p->left + panel % p->layout.columns * p->across;
}
static double top_of(const panels *p, int panel) {
    return p->top + (double)(panel / p->layout.columns) * p->down;
}
static double to_x(const panels *p, int panel, double x) {
    plot_range r = p->axes[panel].x;
    return left_of(p, panel) + (x - r.low) / (r.high - r.low) * p->width;
}
static double to_y(const panels *p, int panel, double y) {
    plot_range r = p->axes[panel].y;
    return top_of(p, panel) + p->height - (y - r.low) / (r.high - r.low) * p->height;
}

// ---- what is in panels -------------------------------------------------------------------------------------------

static void begin(panels *p, int panel, panels_colour colour, double alpha) {
    static const double rgb[][3] = {{0.17, 0.27, 0.58}, {0.85, 0.42, 0.08}, {0.10, 0.52, 0.38}, {0.45, 0.45, 0.45}};
    cairo_save(p->cr);
    cairo_rectangle(p->cr, left_of(p, panel), top_of(p, panel), p->width, p->height);
    cairo_clip(p->cr);
    cairo_set_source_rgba(p->cr, rgb[colour][0], rgb[colour][1], rgb[colour][2], alpha);
}

void panels_dots(panels *p, int panel, const double *xy, size_t n, double radius, panels_colour colour) {
    begin(p, panel, colour, radius < 4 ? 0.45 : 0.7);
    for (size_t i = 0; i < n; i++) {
        cairo_arc(p->cr, to_x(p, panel, xy[2 * i]), to_y(p, panel, xy[2 * i + 1]), radius, 0, 2 * acos(-1));
        cairo_fill(p->cr);
    }
    cairo_restore(p->cr);
}

void panels_points(panels *p, int panel, const double *xy, size_t n, panels_colour colour) {
    panels_dots(p, panel, xy, n, 2.3, colour);
}

void panels_curve(panels *p, int panel, const double *xy, size_t n, panels_colour colour) {
    const double far = 4 * CANVAS_WIDTH;  // cairo's coordinates have an end
    begin(p, panel, colour, 0.85);
    cairo_set_line_join(p->cr, CAIRO_LINE_JOIN_ROUND);
    if (p->layout.each) cairo_set_line_width(p->cr, 4);
    bool open = false;
    for (size_t i = 0; i < n; i++) {
        double x = to_x(p, panel, xy[2 * i]), y = to_y(p, panel, xy[2 * i + 1]);
        bool there = isfinite(x) && isfinite(y);
        x = fmin(fmax(x, -far), far), y = fmin(fmax(y, -far), far);
        if (there && open) cairo_line_to(p->cr, x, y);
        if (there && !open) cairo_move_to(p->cr, x, y);
        open = there;
    }
    cairo_stroke(p->cr);
    cairo_restore(p->cr);
}

void panels_word(panels *p, int panel, panels_mark mark, panels_colour colour) {
    begin(p, panel, colour, 1);
    canvas_text(p->cr, mark.word, to_x(p, panel, mark.x), to_y(p, panel, mark.y), 0.5, 0.5);
    cairo_restore(p->cr);
}

void panels_heat(panels *p, int panel, const double *value, int nx, int ny, plot_range scale) {
    double *t = malloc((size_t)nx * (size_t)ny * sizeof *t);
    for (int i = 0; t && i < nx * ny; i++) t[i] = (value[i] - scale.low) / (scale.high - scale.low);
    if (t) canvas_image(p->cr, t, nx, ny, (double[4]){left_of(p, panel), top_of(p, panel), p->width, p->height});
    free(t);
}

// ---- what is around them -----------------------------------------------------------------------------------------

static void x_axis(panels *p, int panel, bool labels) {
    char text[64];
    const panels_axes *a = &p->axes[panel];
    const double bottom = top_of(p, panel) + p->height, below = bottom + CANVAS_TICK + CANVAS_PAD;
    canvas_ticks t = canvas_ticks_that_fit(p->cr, a->x, p->width);
    for (int i = 0; i < t.n; i++) {
        double at = to_x(p, panel, t.first + i * t.step);
        canvas_line(p->cr, at, bottom, 0, CANVAS_TICK);
        if (labels) canvas_text(p->cr, canvas_tick_text(t, i, text), at, below, 0.5, 0);
    }
    if (!labels) return;
    canvas_text(p->cr, canvas_axis_text(a->x_name ? a->x_name : "x₁", t, text), left_of(p, panel) + p->width / 2,
                below + CANVAS_FONT + CANVAS_PAD, 0.5, 0);
}

static void y_axis(panels *p, int panel, bool labels) {
    char text[64];
    const panels_axes *a = &p->axes[panel];
    const double left = left_of(p, panel);
    canvas_ticks t = canvas_ticks_of(a->y, CANVAS_TICKS);
    for (int i = 0; i < t.n; i++) {
        double at = to_y(p, panel, t.first + i * t.step);
        canvas_line(p->cr, left, at, -CANVAS_TICK, 0);
        if (labels) canvas_text(p->cr, canvas_tick_text(t, i, text), left - CANVAS_TICK - CANVAS_PAD, at, 1, 0.5);
    }
    if (!labels) return;
    canvas_upright(p->cr, canvas_axis_text(a->y_name ? a->y_name : "x₂", t, text), left - p->left + 0.3 * CANVAS_FONT,
                   top_of(p, panel) + p->height / 2);
}

void panels_frame(panels *p, int panel, const char *title) {
    const bool each = p->layout.each != NULL;
    const double left = left_of(p, panel), top = top_of(p, panel);
    cairo_set_source_rgb(p->cr, 0.1, 0.1, 0.1);
    cairo_rectangle(p->cr, left, top, p->width, p->height);
    cairo_stroke(p->cr);
    const int row = panel / p->layout.columns, column = panel % p->layout.columns, named = p->layout.rows != NULL;
    if (named) {
        if (column == 0) canvas_text(p->cr, p->layout.rows[row], left, top - p->top + 0.25 * CANVAS_FONT, 0, 0);
    } else {
        x_axis(p, panel, each || panel + p->layout.columns >= p->layout.n);
        y_axis(p, panel, each || column == 0);
    }
    char line[128];
    for (int i = named; *title; i++) {
        size_t n = strcspn(title, "\n"), kept = n < sizeof line ? n : sizeof line - 1;
        memcpy(line, title, kept);
        line[kept] = 0;
        canvas_text(p->cr, line, left + p->width / 2, top - p->top + (1.2 * i + 0.25) * CANVAS_FONT, 0.5, 0);
        title += n + (title[n] == '\n');
    }
}

void panels_bar(panels *p, int first_row, int rows, plot_range scale, const char *unit) {
    const double x = p->left + (p->layout.columns - 1) * p->across + p->width + 2 * CANVAS_PAD;
    const double top = p->top + first_row * p->down, height = (rows - 1) * p->down + p->height;
    double ramp[256];
    char text[32];
    for (int i = 0; i < 256; i++) ramp[i] = i / 255.0;
    canvas_image(p->cr, ramp, 1, 256, (double[4]){x, top, BAR, height});
    cairo_set_source_rgb(p->cr, 0.1, 0.1, 0.1);
    cairo_rectangle(p->cr, x, top, BAR, height);
    cairo_stroke(p->cr);
    canvas_ticks t = canvas_ticks_of(scale, CANVAS_TICKS);
    for (int i = 0; i < t.n; i++) {
        double at = top + height * (scale.high - t.first - i * t.step) / (scale.high - scale.low);
        canvas_line(p->cr, x + BAR, at, CANVAS_TICK, 0);
        canvas_text(p->cr, canvas_tick_text(t, i, text), x + BAR + CANVAS_TICK + CANVAS_PAD, at, 0, 0.5);
    }
    canvas_upright(p->cr, unit, p->layout.page - 1.2 * CANVAS_FONT, top + height / 2);
}

const char *panels_save(panels *p, const char *file) {
    const char *wrong = canvas_save(p->cr, file);
    free(p->axes);
    free(p);
    return wrong;
}
