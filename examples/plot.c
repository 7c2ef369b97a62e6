// plot.c -- panels with axes on cairo. Sizes are pixels of a picture 1,600 wide, legible when shown at a quarter of
// that.
#include "plot.h"

#include <cairo.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "colormap.h"

enum { WIDTH = 1600, FONT = 34, PAD = 12, TICK = 9, BAR = 34, MAX_TICKS = 5 };

struct plot {
    cairo_surface_t *surface;
    cairo_t *cr;
    plot_range x, y;
    double left, top, width, height;  // of panel 0: the others follow at intervals of left + width
};

// ---- numbers on axes ---------------------------------------------------------------------------------------------

// Multiples of step = 1, 2 or 5 times a power of ten; labels leave out a common factor 10^exponent.
typedef struct ticks {
    double first, step;
    int n, exponent;
} ticks;

static ticks ticks_of(plot_range range, int most) {
    double rough = (range.high - range.low) / most, power = pow(10, floor(log10(rough)));
    double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
    double first = ceil(range.low / step - 1e-9), last = floor(range.high / step + 1e-9);
    double size = log10(fmax(fabs(first), fabs(last)) * step);  // -inf for a single tick, at 0
    if (!(last - first < 2 * most) || !(size < 300)) return (ticks){0};
    int exponent = fabs(size) < 4 || size < -300 ? 0 : (int)floor(size);
    return (ticks){first * step, step, 1 + (int)(last - first), exponent};
}

// Label of tick i, with as many decimals as the step has.
static const char *tick_text(ticks t, int i, char text[32]) {
    double value = t.first + i * t.step, unit = pow(10, t.exponent);
    if (fabs(value) < t.step / 2) return "0";
    int decimals = (int)fmin(fmax(0, ceil(-log10(t.step / unit) - 1e-9)), 7);
    snprintf(text, 32, "%s%.*f", value < 0 ? "−" : "", decimals, fabs(value / unit));
    return text;
}

// "name", or "name (10⁴)" when tick labels leave a factor out.
static const char *axis_text(const char *name, ticks t, char text[64]) {
    static const char *const digit[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    int e = abs(t.exponent) % 1000;
    if (!e) return name;
    snprintf(text, 64, "%s (10%s%s%s%s)", name, t.exponent < 0 ? "⁻" : "", e > 99 ? digit[e / 100] : "",
             e > 9 ? digit[e / 10 % 10] : "", digit[e % 10]);
    return text;
}

// ---- text --------------------------------------------------------------------------------------------------------

static double text_width(cairo_t *cr, const char *text) {
    cairo_text_extents_t extents;
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

// Text with its point of alignment (0 left or top, 1 right or bottom) at x, y.
static void put_text(cairo_t *cr, const char *text, double x, double y, double align_x, double align_y) {
    const double cap = 0.73 * FONT;  // height of a capital letter
    cairo_move_to(cr, x - align_x * text_width(cr, text), y + (1 - align_y) * cap);
    cairo_show_text(cr, text);
}

// Text read from below: x is its left side, y its middle.
static void put_upright(cairo_t *cr, const char *text, double x, double y) {
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -acos(0));
    put_text(cr, text, 0, 0, 0.5, 0);
    cairo_restore(cr);
}

static double widest_label(cairo_t *cr, ticks t) {
    char text[32];
    double widest = 0;
    for (int i = 0; i < t.n; i++) widest = fmax(widest, text_width(cr, tick_text(t, i, text)));
    return widest;
}

// As many ticks along a panel of this width as have labels that keep clear of each other.
static ticks ticks_that_fit(cairo_t *cr, plot_range range, double width) {
    int most = MAX_TICKS;
    ticks t = ticks_of(range, most);
    while (most > 1 && t.step / (range.high - range.low) * width < widest_label(cr, t) + PAD) {
        t = ticks_of(range, --most);
    }
    return t;
}

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

static void start_page(plot *p, int height) {
    p->surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, WIDTH, height);
    p->cr = cairo_create(p->surface);
    cairo_set_source_rgb(p->cr, 1, 1, 1);
    cairo_paint(p->cr);
    cairo_select_font_face(p->cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(p->cr, FONT);
    cairo_set_line_width(p->cr, 2.5);
}

plot *plot_new(int panels, plot_range x, plot_range y) {
    plot *p = malloc(sizeof *p);
    if (!p) return NULL;
    *p = (plot){.x = x, .y = y};
    start_page(p, 1);  // to measure labels, which decide the margins
    p->left = 1.3 * FONT + PAD + widest_label(p->cr, ticks_of(y, MAX_TICKS)) + TICK + PAD;
    p->top = 2 * FONT;
    double bar = 2 * PAD + BAR + TICK + PAD + text_width(p->cr, "−10") + 1.6 * FONT;
    p->width = floor((WIDTH - bar - panels * p->left) / panels);
    p->height = floor(p->width * fmin(fmax((y.high - y.low) / (x.high - x.low), 0.75), 1.25));
    cairo_destroy(p->cr);
    cairo_surface_destroy(p->surface);
    start_page(p, (int)(p->top + p->height + TICK + PAD + FONT + PAD + FONT + PAD));
    return p;
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

static void line(cairo_t *cr, double x, double y, double dx, double dy) {
    cairo_move_to(cr, x, y);
    cairo_rel_line_to(cr, dx, dy);
    cairo_stroke(cr);
}

static void axes(plot *p, int panel, const char *title) {
    cairo_t *cr = p->cr;
    char text[32], name[64];
    const double left = panel_left(p, panel), bottom = p->top + p->height, middle = left + p->width / 2;
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    cairo_rectangle(cr, left, p->top, p->width, p->height);
    cairo_stroke(cr);
    ticks tx = ticks_that_fit(cr, p->x, p->width), ty = ticks_of(p->y, MAX_TICKS);
    for (int i = 0; i < tx.n; i++) {
        double at = to_x(p, panel, tx.first + i * tx.step);
        line(cr, at, bottom, 0, TICK);
        put_text(cr, tick_text(tx, i, text), at, bottom + TICK + PAD, 0.5, 0);
    }
    for (int i = 0; i < ty.n; i++) {
        double at = to_y(p, ty.first + i * ty.step);
        line(cr, left, at, -TICK, 0);
        put_text(cr, tick_text(ty, i, text), left - TICK - PAD, at, 1, 0.5);
    }
    put_text(cr, title, middle, p->top - PAD, 0.5, 1);
    put_text(cr, axis_text("x₁", tx, name), middle, bottom + TICK + PAD + FONT + PAD, 0.5, 0);
    put_upright(cr, axis_text("x₂", ty, name), left - p->left + 0.3 * FONT, p->top + p->height / 2);
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

static uint32_t pixel(double t) {
    double rgb[3];
    colormap(t, rgb);
    uint32_t packed = 0;
    for (int c = 0; c < 3; c++) packed = packed << 8 | (uint32_t)lround(255 * rgb[c]);
    return packed;
}

// An image of nx by ny colours stretched over a rectangle; its first row is the lowest.
static void image(cairo_t *cr, const double *t, int nx, int ny, const double box[4]) {
    cairo_surface_t *cells = cairo_image_surface_create(CAIRO_FORMAT_RGB24, nx, ny);
    unsigned char *bytes = cairo_image_surface_get_data(cells);
    const int stride = cairo_image_surface_get_stride(cells);
    for (int j = 0; bytes && j < ny; j++) {
        for (int i = 0; i < nx; i++) {
            uint32_t colour = pixel(t[j * nx + i]);
            memcpy(bytes + (ptrdiff_t)(ny - 1 - j) * stride + 4 * i, &colour, 4);
        }
    }
    cairo_surface_mark_dirty(cells);
    cairo_save(cr);
    cairo_translate(cr, box[0], box[1]);
    cairo_scale(cr, box[2] / nx, box[3] / ny);
    cairo_set_source_surface(cr, cells, 0, 0);
    cairo_pattern_set_extend(cairo_get_source(cr), CAIRO_EXTEND_PAD);
    cairo_rectangle(cr, 0, 0, nx, ny);
    cairo_fill(cr);
    cairo_restore(cr);
    cairo_surface_destroy(cells);
}

static void colour_bar(plot *p, double x, plot_range scale, const char *unit) {
    cairo_t *cr = p->cr;
    double ramp[256];
    for (int i = 0; i < 256; i++) ramp[i] = i / 255.0;
    image(cr, ramp, 1, 256, (double[4]){x, p->top, BAR, p->height});
    cairo_set_source_rgb(cr, 0.1, 0.1, 0.1);
    cairo_rectangle(cr, x, p->top, BAR, p->height);
    cairo_stroke(cr);
    char text[32];
    ticks t = ticks_of(scale, MAX_TICKS);
    for (int i = 0; i < t.n; i++) {
        double at = p->top + p->height * (scale.high - t.first - i * t.step) / (scale.high - scale.low);
        line(cr, x + BAR, at, TICK, 0);
        put_text(cr, tick_text(t, i, text), x + BAR + TICK + PAD, at, 0, 0.5);
    }
    put_upright(cr, unit, WIDTH - 1.2 * FONT, p->top + p->height / 2);
}

void plot_heat(plot *p, int panel, const char *title, const double *value, int nx, int ny, plot_range scale,
               const char *unit) {
    double *t = malloc((size_t)nx * (size_t)ny * sizeof *t);
    for (int i = 0; t && i < nx * ny; i++) t[i] = (value[i] - scale.low) / (scale.high - scale.low);
    if (t) image(p->cr, t, nx, ny, (double[4]){panel_left(p, panel), p->top, p->width, p->height});
    free(t);
    axes(p, panel, title);
    colour_bar(p, panel_left(p, panel) + p->width + 2 * PAD, scale, unit);
}

const char *plot_save(plot *p, const char *file) {
    cairo_status_t status = cairo_status(p->cr);
    if (file && status == CAIRO_STATUS_SUCCESS) status = cairo_surface_write_to_png(p->surface, file);
    cairo_destroy(p->cr);
    cairo_surface_destroy(p->surface);
    free(p);
    return status == CAIRO_STATUS_SUCCESS ? NULL : cairo_status_to_string(status);
}
