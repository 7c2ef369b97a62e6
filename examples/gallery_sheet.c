// gallery_sheet.c -- true densities and models of them in one picture.
#include "gallery_sheet.h"

#include <stdio.h>
#include <stdlib.h>

#include "fresh.h"
#include "points.h"

static ad_status open_windows(gallery_sheet *s, ad_engine *engine, ad_error *error) {
    ad_status status = AD_OK;
    for (int d = 1; d <= s->name->n && status == AD_OK; d++) {
        const data_density *density = fresh_density(s->name->name[d], error);
        status = density ? portrait_open(&s->window[d - 1], density, engine, error) : error->status;
    }
    return status;
}

// Colours of a sheet of several densities are nats below what is highest in each.
static void draw(gallery_sheet *s, int m, int d, double *log_p, const char *title) {
    const int panel = m * s->name->n + d - 1;
    panels_heat(s->drawn, panel, log_p, PORTRAIT_NX, PORTRAIT_NY, s->window[d - 1].scale);
    panels_frame(s->drawn, panel, title);
}

static void draw_truth(gallery_sheet *s, int d) {
    char title[80];
    const data_density *density = s->window[d - 1].density;
    snprintf(title, sizeof title, s->name->n > 1 ? "%s" : "%s\nentropy %.3f", density->name, density->entropy);
    draw(s, 0, d, s->window[d - 1].truth, title);
}

ad_status gallery_sheet_open(gallery_sheet *s, const names *models, const names *densities, ad_engine *engine,
                             ad_error *error) {
    const int n = densities->n, few = models->n < 16 ? 4 : 5;
    *s = (gallery_sheet){.model = models, .name = densities};
    s->window = calloc((size_t)n, sizeof *s->window);
    s->log_p = malloc(PORTRAIT_CELLS * sizeof *s->log_p);
    if (!s->window || !s->log_p) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    ad_status status = open_windows(s, engine, error);
    if (status != AD_OK) return status;
    panels_layout layout = {
        .n = (1 + models->n) * n, .columns = n > 1 ? n : few, .title_lines = n > 1 ? 1 : 2, .bar = true};
    layout.all = (panels_axes){s->window[0].x, s->window[0].y, NULL, NULL};
    if (n > 1) layout.rows = models->name, layout.page = 150 + 280 * n;
    s->drawn = panels_new(&layout);
    if (!s->drawn) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    for (int d = 1; d <= n; d++) draw_truth(s, d);
    const plot_range scale = s->window[0].scale, below = {scale.low - scale.high, 0};
    const int rows = (layout.n + layout.columns - 1) / layout.columns;
    panels_bar(s->drawn, 0, rows < 4 ? rows : 4, n > 1 ? below : scale,
               n > 1 ? "log density below its highest (nats)" : "log density (nats)");
    return AD_OK;
}

ad_status gallery_sheet_show(gallery_sheet *s, int m, int d, const flow_model *model, double gap, ad_error *error) {
    const portrait *p = &s->window[d - 1];
    char title[100];
    ad_status status = points_score(model, p->engine, p->cells, PORTRAIT_CELLS, s->log_p, error);
    if (status != AD_OK) return status;
    if (s->name->n > 1) {
        snprintf(title, sizeof title, "gap %.3f", gap);
    } else {
        snprintf(title, sizeof title, "%.60s\ngap %.3f nats", s->model->name[m], gap);
    }
    draw(s, m, d, s->log_p, title);
    return AD_OK;
}

ad_status gallery_sheet_save(gallery_sheet *s, const char *file, ad_error *error) {
    const char *wrong = panels_save(s->drawn, file);
    s->drawn = NULL;
    return wrong ? ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong) : AD_OK;
}

void gallery_sheet_close(gallery_sheet *s) {
    for (int d = 0; s->window && d < s->name->n; d++) portrait_close(&s->window[d]);
    if (s->drawn) panels_save(s->drawn, NULL);
    free(s->window);
    free(s->log_p);
}
