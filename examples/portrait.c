// portrait.c -- true density, model density, samples and warp in four panels.
#include "portrait.h"

#include <math.h>
#include <stdlib.h>

#include "panels.h"
#include "plot.h"
#include "points.h"

enum { LOOK = 20000, DOTS = 6000, LINES = 17, ALONG = 801, WARP = 2 * LINES * ALONG };

// ---- the window --------------------------------------------------------------------------------------------------

// The highest value and eight nats down, a factor of 3,000: beyond that a density is nothing to look at.
static plot_range scale_of(const double *log_p) {
    double high = -INFINITY;
    for (int i = 0; i < PORTRAIT_CELLS; i++) high = fmax(high, log_p[i]);
    return (plot_range){high - 8, high};
}

ad_status portrait_open(portrait *p, const data_density *density, ad_engine *engine, ad_error *error) {
    *p = (portrait){.density = density, .engine = engine};
    p->cells = malloc(PORTRAIT_CELLS * 2 * sizeof *p->cells);
    p->truth = malloc(PORTRAIT_CELLS * sizeof *p->truth);
    double *look = malloc(LOOK * 2 * sizeof *look);
    if (!p->cells || !p->truth || !look) return free(look), ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    density->sample(LOOK, 1, 0, look);
    p->x = plot_range_of(look, LOOK, 0, 0.999), p->y = plot_range_of(look, LOOK, 1, 0.999);
    plot_equal_units(&p->x, &p->y);
    free(look);
    for (int i = 0; i < PORTRAIT_CELLS; i++) {
        double *at = p->cells + 2 * i;
        at[0] = p->x.low + (i % PORTRAIT_NX + 0.5) / PORTRAIT_NX * (p->x.high - p->x.low);
        at[1] = p->y.low + ((double)(i / PORTRAIT_NX) + 0.5) / PORTRAIT_NY * (p->y.high - p->y.low);
    }
    ad_status status = points_truth(density, engine, p->cells, PORTRAIT_CELLS, p->truth, error);
    p->scale = scale_of(p->truth);
    return status;
}

void portrait_close(portrait *p) {
    free(p->cells);
    free(p->truth);
}

// ---- the picture -------------------------------------------------------------------------------------------------

// Lines of constant z1, then of constant z2, from -4 to 4; those of constant z at intervals of 0.5.
static void latent_grid(double *z) {
    for (int i = 0; i < WARP; i++) {
        const int line = i / ALONG, along = line / LINES;
        z[2 * i + along] = line % LINES * 8.0 / (LINES - 1) - 4;
        z[2 * i + 1 - along] = i % ALONG * 8.0 / (ALONG - 1) - 4;
    }
}

static void draw_warp(panels *picture, int panel, const double *x) {
    for (int line = 0; line < 2 * LINES; line++) {
        panels_curve(picture, panel, x + 2 * line * ALONG, ALONG, line < LINES ? PANELS_BLUE : PANELS_ORANGE);
    }
}

ad_status portrait_draw(const portrait *p, const char *file, const flow_model *model, const char *title, uint64_t seed,
                        ad_error *error) {
    const panels_layout layout = {.n = 4, .columns = 2, .all = {p->x, p->y, NULL, NULL}, .bar = true};
    double *work = malloc((PORTRAIT_CELLS + 2 * DOTS + 4 * WARP) * sizeof *work);
    panels *picture = work ? panels_new(&layout) : NULL;
    if (!picture) return free(work), ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    double *dots = work + PORTRAIT_CELLS, *z = dots + 2 * DOTS, *x = z + 2 * WARP;
    latent_grid(z);
    ad_status status = points_score(model, p->engine, p->cells, PORTRAIT_CELLS, work, error);
    if (status == AD_OK) status = points_sample(model, p->engine, seed, DOTS, dots, error);
    if (status == AD_OK) status = points_generate(model, p->engine, z, WARP, x, error);
    if (status == AD_OK) {
        panels_heat(picture, 0, p->truth, PORTRAIT_NX, PORTRAIT_NY, p->scale);
        panels_heat(picture, 1, work, PORTRAIT_NX, PORTRAIT_NY, p->scale);
        panels_points(picture, 2, dots, DOTS, PANELS_BLUE);
        draw_warp(picture, 3, x);
        panels_frame(picture, 0, p->density->name);
        panels_frame(picture, 1, title);
        panels_frame(picture, 2, "samples");
        panels_frame(picture, 3, "latent grid, warped");
        panels_bar(picture, 0, 1, p->scale, "log density (nats)");
    }
    const char *wrong = panels_save(picture, status == AD_OK ? file : NULL);
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong);
    free(work);
    return status;
}
