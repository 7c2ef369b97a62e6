// gallery.c -- every model by name, fitted to one density of the plane: one picture, and how far off each of them is.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fresh.h"
#include "options.h"
#include "output.h"
#include "panels.h"
#include "points.h"
#include "portrait.h"

typedef struct request {
    const char *density, *picture;
    int64_t steps, batch, seed, test_points, threads;
    double lr, average;
    bool quiet;
    ad_engine *engine;
    portrait window;
    panels *picture_under_way;
} request;

static void draw(const request *r, int panel, const double *log_p, const char *title) {
    panels_heat(r->picture_under_way, panel, log_p, PORTRAIT_NX, PORTRAIT_NY, r->window.scale);
    panels_frame(r->picture_under_way, panel, title);
}

// Fits the model of that name, says how it did, draws it.
static ad_status show(const request *r, int panel, const char *name, double *log_p, ad_error *error) {
    const fresh_options how = {.steps = r->steps,
                               .batch = r->batch,
                               .seed = r->seed,
                               .lr = r->lr,
                               .average = r->average,
                               .engine = r->engine,
                               .quiet = r->quiet,
                               .name = name};
    const data_density *density = r->window.density;
    flow_model *model = flow_from_text(name, 2, 0, error);
    if (!model) return error->status;
    optim_fit_result fit;
    fresh_judgement j;
    ad_status status = fresh_fit(model, density, &how, &fit, error);
    if (status == AD_OK) status = fresh_judge(model, density, r->engine, r->test_points, r->seed, &j, error);
    if (status == AD_OK) status = points_score(model, r->engine, r->window.cells, PORTRAIT_CELLS, log_p, error);
    if (status == AD_OK) {
        char title[100];
        snprintf(title, sizeof title, "%s\ngap %.3f nats", name, j.gap);
        draw(r, panel, log_p, title);
        printf("%-14s %10" PRId64 " %9.1f   %.4f +- %.4f\n", name, flow_param_count(model), fit.seconds, j.gap,
               j.nll_error);
        fflush(stdout);
    }
    flow_model_free(model);
    return status;
}

static int count_names(void) {
    int n = 0;
    while (flow_text_name(n)) n++;
    return n;
}

static ad_status show_all(request *r, ad_error *error) {
    const int n = count_names(), columns = n < 16 ? 4 : 5;
    const panels_layout layout = {
        .n = 1 + n, .columns = columns, .all = {r->window.x, r->window.y, NULL, NULL}, .title_lines = 2, .bar = true};
    double *log_p = malloc(PORTRAIT_CELLS * sizeof *log_p);
    r->picture_under_way = panels_new(&layout);
    if (!log_p || !r->picture_under_way) return free(log_p), ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    char title[100];
    snprintf(title, sizeof title, "%s\nentropy %.3f", r->window.density->name, r->window.density->entropy);
    draw(r, 0, r->window.truth, title);
    printf("%-14s %10s %9s   %s\n", "model", "parameters", "seconds", "test NLL above the entropy (nats)");
    ad_status status = AD_OK;
    for (int i = 0; i < n && status == AD_OK; i++) {
        ad_error inner = {0};
        status = show(r, 1 + i, flow_text_name(i), log_p, &inner);
        if (status != AD_OK) ad_fail(error, status, "%s: %s", flow_text_name(i), inner.message);
    }
    panels_bar(r->picture_under_way, 0, (n + columns) / columns, r->window.scale, "log density (nats)");
    free(log_p);
    return status;
}

static ad_status work(request *r, ad_error *error) {
    const data_density *density = data_find_density(r->density);
    if (!density || density->dimension != 2 || !density->sample) {
        return ad_fail(error, AD_EARG, "there is no density '%s' of the plane: data.h lists them", r->density);
    }
    ad_status status = output_check(r->picture, error);
    if (status == AD_OK) status = portrait_open(&r->window, density, r->engine, error);
    if (status == AD_OK) status = show_all(r, error);
    const char *wrong =
        r->picture_under_way ? panels_save(r->picture_under_way, status == AD_OK ? r->picture : NULL) : NULL;
    if (status != AD_OK) return status;
    if (wrong) return ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", r->picture, wrong);
    printf("picture        %s\n", r->picture);
    return fflush(stdout) ? ad_fail(error, AD_EIO, "cannot write the results: %s", strerror(errno)) : AD_OK;
}

int main(int argc, char **argv) {
    request r = {.density = "2spirals", .picture = "gallery.png"};
    r.steps = 1500, r.batch = 256, r.seed = 1, r.test_points = 20000, r.lr = 3e-3, r.average = 0.99;
    const option_row rows[] = {
        {"density", "NAME",
         "8gaussians, moons, circles, rings, swissroll, 2spirals, pinwheel, checkerboard, ... (data.h)", OPTION_TEXT,
         &r.density, 0, 0},
        {"steps", "N", "steps of Adam, of each model", OPTION_COUNT, &r.steps, 1, 1e9},
        {"batch", "N", "fresh points a step", OPTION_COUNT, &r.batch, 2, 1e6},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"average", "X", "decay of the moving average of weights; 0: none", OPTION_NUMBER, &r.average, 0, 0.999999},
        {"test-points", "N", "fresh points to score", OPTION_COUNT, &r.test_points, 2, 1e8},
        {"picture", "FILE", "where to draw: .png, .svg or .pdf", OPTION_TEXT, &r.picture, 0, 0},
        {"seed", "N", "of points and batches; same seed, same models", OPTION_COUNT, &r.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Fits all models that have a name to a density of the plane, in one picture.", rows,
                 sizeof rows / sizeof *rows);
    ad_error error = {0};
    r.engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = r.engine ? work(&r, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "gallery: %s\n", error.message);
    portrait_close(&r.window);
    ad_engine_free(r.engine);
    return status != AD_OK;
}
