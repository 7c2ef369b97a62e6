// canvas.c -- a picture in cairo: kept as a recording until it is written in the format of its file.
#include "canvas.h"

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "colormap.h"

cairo_t *canvas_new(double width, double height) {
    cairo_surface_t *surface =
        cairo_recording_surface_create(CAIRO_CONTENT_COLOR_ALPHA, &(cairo_rectangle_t){0, 0, width, height});
    cairo_t *cr = cairo_create(surface);
    cairo_surface_destroy(surface);  // cr keeps it
    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, CANVAS_FONT);
    cairo_set_line_width(cr, 2.5);
    return cr;
}

static bool ends_with(const char *file, const char *end) {
    size_t n = strlen(file), m = strlen(end);
    return n >= m && strcasecmp(file + n - m, end) == 0;
}

static cairo_status_t put(void *to, const unsigned char *bytes, unsigned n) {
    return fwrite(bytes, 1, n, to) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

// A vector format has a page of points: 480 wide where the picture has 1,600.
static cairo_surface_t *page_of(const char *file, FILE *to, cairo_rectangle_t size, double *scale) {
    *scale = 0.3;
    const double width = *scale * size.width, height = *scale * size.height;
    if (ends_with(file, ".svg")) return cairo_svg_surface_create_for_stream(put, to, width, height);
    if (ends_with(file, ".pdf")) return cairo_pdf_surface_create_for_stream(put, to, width, height);
    *scale = 1;
    return cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)size.width, (int)size.height);
}

static cairo_status_t write_page(cairo_surface_t *recording, const char *file, FILE *stream) {
    cairo_rectangle_t size = {0, 0, 1, 1};
    double scale;
    cairo_recording_surface_get_extents(recording, &size);
    cairo_surface_t *page = page_of(file, stream, size, &scale);
    cairo_t *to = cairo_create(page);
    cairo_scale(to, scale, scale);
    cairo_set_source_surface(to, recording, 0, 0);
    cairo_paint(to);
    cairo_status_t status = cairo_status(to);
    cairo_destroy(to);
    if (status == CAIRO_STATUS_SUCCESS && cairo_surface_get_type(page) == CAIRO_SURFACE_TYPE_IMAGE) {
        status = cairo_surface_write_to_png_stream(page, put, stream);
    }
    cairo_surface_finish(page);
    if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(page);
    cairo_surface_destroy(page);
    return status;
}

// cairo does not say whether all that it had buffered reached the disk. No half of a picture is left.
static cairo_status_t write_file(cairo_surface_t *recording, const char *file) {
    FILE *to = fopen(file, "wb");
    struct stat what = {0};
    if (!to) return CAIRO_STATUS_WRITE_ERROR;
    const bool regular = fstat(fileno(to), &what) == 0 && S_ISREG(what.st_mode);
    cairo_status_t status = write_page(recording, file, to);
    const bool cut = ferror(to) != 0;
    if ((fclose(to) != 0 || cut) && status == CAIRO_STATUS_SUCCESS) status = CAIRO_STATUS_WRITE_ERROR;
    if (status != CAIRO_STATUS_SUCCESS && regular) unlink(file);
    return status;
}

const char *canvas_save(cairo_t *cr, const char *file) {
    cairo_status_t status = cairo_status(cr);
    if (file && status == CAIRO_STATUS_SUCCESS) status = write_file(cairo_get_target(cr), file);
    cairo_destroy(cr);
    return status == CAIRO_STATUS_SUCCESS ? NULL : cairo_status_to_string(status);
}

// ---- numbers on axes ---------------------------------------------------------------------------------------------

canvas_ticks canvas_ticks_of(plot_range range, int most) {
    double rough = (range.high - range.low) / most, power = pow(10, floor(log10(rough)));
    double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
    double first = ceil(range.low / step - 1e-9), last = floor(range.high / step + 1e-9);
    double size = log10(fmax(fabs(first), fabs(last)) * step);  // -inf for a single tick, at 0
    if (!(last - first < 2 * most) || !(size < 300)) return (canvas_ticks){0};
    int exponent = fabs(size) < 4 || size < -300 ? 0 : (int)floor(size);
    return (canvas_ticks){first * step, step, 1 + (int)(last - first), exponent, 1};
}

const char *canvas_tick_text(canvas_ticks t, int i, char text[32]) {
    double value = t.first + i * t.step, unit = pow(10, t.exponent), between = t.step * t.every;
    if (fabs(remainder(value, between)) > t.step / 2) return "";
    if (fabs(value) < t.step / 2) return "0";
    int decimals = 0;
    while (decimals < 7 && fabs(remainder(between / unit * pow(10, decimals), 1)) > 1e-6) decimals++;
    snprintf(text, 32, "%s%.*f", value < 0 ? "−" : "", decimals, fabs(value / unit));
    return text;
}

const char *canvas_axis_text(const char *name, canvas_ticks t, char text[64]) {
    static const char *const digit[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    int e = abs(t.exponent) % 1000;
    if (!e) return name;
    size_t n = strnlen(name, 44);
    while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80) n--;  // not within a character
    snprintf(text, 64, "%.*s (10%s%s%s%s)", (int)n, name, t.exponent < 0 ? "⁻" : "", e > 99 ? digit[e / 100] : "",
             e > 9 ? digit[e / 10 % 10] : "", digit[e % 10]);
    return text;
}

// ---- text --------------------------------------------------------------------------------------------------------

double canvas_text_width(cairo_t *cr, const char *text) {
    cairo_text_extents_t extents;
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

void canvas_text(cairo_t *cr, const char *text, double x, double y, double align_x, double align_y) {
    const double cap = 0.73 * CANVAS_FONT;  // height of a capital letter
    cairo_move_to(cr, x - align_x * canvas_text_width(cr, text), y + (1 - align_y) * cap);
    cairo_show_text(cr, text);
}

void canvas_upright(cairo_t *cr, const char *text, double x, double y) {
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -acos(0));
    canvas_text(cr, text, 0, 0, 0.5, 0);
    cairo_restore(cr);
}

double canvas_widest_label(cairo_t *cr, canvas_ticks t) {
    char text[32];
    double widest = 0;
    for (int i = 0; i < t.n; i++) widest = fmax(widest, canvas_text_width(cr, canvas_tick_text(t, i, text)));
    return widest;
}

canvas_ticks canvas_ticks_that_fit(cairo_t *cr, plot_range range, double width) {
    static const int every[] = {1, 2, 5, 10};
    canvas_ticks t = canvas_ticks_of(range, CANVAS_TICKS);
    const double across = t.step / (range.high - range.low) * width;
    for (int i = 1; i < 4 && t.every * across < canvas_widest_label(cr, t) + CANVAS_PAD; i++) t.every = every[i];
    return t;
}

// ---- shapes -----------------------------------------------------------------------------------------------------

void canvas_line(cairo_t *cr, double x, double y, double dx, double dy) {
    cairo_move_to(cr, x, y);
    cairo_rel_line_to(cr, dx, dy);
    cairo_stroke(cr);
}

static uint32_t pixel(double t) {
    double rgb[3];
    colormap(t, rgb);
    uint32_t packed = 0;
    for (int c = 0; c < 3; c++) packed = packed << 8 | (uint32_t)lround(255 * rgb[c]);
    return packed;
}

void canvas_image(cairo_t *cr, const double *t, int nx, int ny, const double box[4]) {
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
