// picture.c -- data, samples and density side by side.
#include "picture.h"

#include <math.h>
#include <stdlib.h>

#include "plot.h"
#include "points.h"

enum { DOTS = 4000, NX = 240, NY = 200 };

static void grid(plot_range x, plot_range y, double *xy) {
    for (int i = 0; i < NX * NY; i++) {
        xy[2 * i] = x.low + (i % NX + 0.5) / NX * (x.high - x.low);
        xy[2 * i + 1] = y.low + ((double)(i / NX) + 0.5) / NY * (y.high - y.low);
    }
}

// From the highest value down by eight nats, a factor of 3,000: beyond that a density is nothing to look at.
static plot_range scale_of(const double *log_p) {
    double high = -INFINITY;
    for (int i = 0; i < NX * NY; i++) high = fmax(high, log_p[i]);
    return (plot_range){ceil(high) - 8, ceil(high)};
}

ad_status picture_draw(const char *file, const flow_model *model, ad_engine *engine, const double *xy, int64_t n,
                       uint64_t seed, ad_error *error) {
    const int64_t dots = n < DOTS ? n : DOTS;
    double *cells = malloc(NX * NY * 3 * sizeof *cells), *samples = malloc((size_t)dots * 2 * sizeof *samples);
    plot_range x = plot_range_of(xy, (size_t)n, 0, 0.999), y = plot_range_of(xy, (size_t)n, 1, 0.999);
    plot_equal_units(&x, &y);
    plot *picture = cells && samples ? plot_new(3, x, y) : NULL;
    ad_status status = picture ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    if (status == AD_OK) status = points_sample(model, engine, seed, dots, samples, error);
    if (status == AD_OK) grid(x, y, cells);
    if (status == AD_OK) status = points_score(model, engine, cells, NX * NY, cells + 2 * NX * NY, error);
    if (status == AD_OK) {
        plot_points(picture, 0, "data", xy, (size_t)dots);
        plot_points(picture, 1, "samples", samples, (size_t)dots);
        plot_heat(picture, 2, "density", cells + 2 * NX * NY, NX, NY, scale_of(cells + 2 * NX * NY),
                  "log density (nats)");
    }
    const char *wrong = picture ? plot_save(picture, status == AD_OK ? file : NULL) : NULL;
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong);
    free(cells);
    free(samples);
    return status;
}
