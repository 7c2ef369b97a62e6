// gallery.c -- models by name, each fitted to densities of the plane: one picture, and how far off each of them is.
//
// Of one density, panels side by side; of several, a row for each model and a column for each density.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fresh.h"
#include "gallery_sheet.h"
#include "names.h"
#include "options.h"
#include "output.h"
#include "points.h"

static const char eight[] = "8gaussians,moons,circles,rings,swissroll,2spirals,pinwheel,checkerboard";

typedef struct request {
    const char *density, *models, *picture;
    int64_t steps, batch, seed, test_points, threads;
    double lr, average;
    bool quiet;
    ad_engine *engine;
    names model, name;  // of models, of densities
    gallery_sheet sheet;
} request;

// The names of all presets as one text, which the caller frees.
static char *presets(void) {
    size_t size = 1;
    for (int i = 0; flow_text_name(i); i++) size += strlen(flow_text_name(i)) + 1;
    char *text = calloc(size, 1);
    for (int i = 0; text && flow_text_name(i); i++) strcat(strcat(text, flow_text_name(i)), " ");
    return text;
}

static ad_status read_names(request *r, ad_error *error) {
    char *every = r->models ? NULL : presets();
    const char *models = r->models ? r->models : every;
    bool read = models && names_read(&r->model, "true density", models, ' ') &&
                names_read(&r->name, "", strcmp(r->density, "all") ? r->density : eight, ',');
    free(every);
    if (!read) return ad_fail(error, AD_ENOMEM, "out of memory for names");
    if (r->model.n < 1 || r->model.n > 64 || r->name.n < 1 || r->name.n > 16) {
        return ad_fail(error, AD_EARG, "%d models and %d densities; expected 1 to 64 and 1 to 16", r->model.n,
                       r->name.n);
    }
    for (int m = 1; m <= r->model.n; m++) {  // better known before the first fit
        flow_model *model = flow_from_text(r->model.name[m], 2, 0, error);
        if (!model) return error->status;
        flow_model_free(model);
    }
    return AD_OK;
}

typedef struct fitted {
    int64_t parameters;
    double seconds;
    fresh_judgement judged;
} fitted;

// Fits model m to density d, both counted from 1, and draws it.
static ad_status show(request *r, int m, int d, fitted *f, ad_error *error) {
    const char *name = r->model.name[m];
    const portrait *window = &r->sheet.window[d - 1];
    const fresh_options how = {.steps = r->steps,
                               .batch = r->batch,
                               .seed = r->seed,
                               .lr = r->lr,
                               .average = r->average,
                               .engine = r->engine,
                               .quiet = r->quiet,
                               .name = name};
    flow_model *model = flow_from_text(name, 2, 0, error);
    if (!model) return error->status;
    optim_fit_result fit;
    ad_status status = fresh_fit(model, window->density, &how, &fit, error);
    if (status == AD_OK) {
        status = fresh_judge(model, window->density, r->engine, r->test_points, r->seed, &f->judged, error);
    }
    if (status == AD_OK) status = gallery_sheet_show(&r->sheet, m, d, model, f->judged.gap, error);
    if (status == AD_OK) f->parameters = flow_param_count(model), f->seconds += fit.seconds;
    flow_model_free(model);
    return status;
}

static ad_status show_all(request *r, ad_error *error) {
    double gap[16], most = 0;
    printf("%-14s %10s %8s", "model", "parameters", "seconds");
    for (int d = 1; d <= r->name.n; d++) printf(" %12s", r->name.name[d]);
    printf("\n");
    for (int m = 1; m <= r->model.n; m++) {
        fitted f = {0};
        for (int d = 1; d <= r->name.n; d++) {
            ad_error inner = {0};
            if (show(r, m, d, &f, &inner) != AD_OK) {
                return ad_fail(error, inner.status, "%s: %s", r->model.name[m], inner.message);
            }
            gap[d - 1] = f.judged.gap, most = fmax(most, f.judged.nll_error);
        }
        printf("%-14s %10" PRId64 " %8.1f", r->model.name[m], f.parameters, f.seconds);
        for (int d = 1; d <= r->name.n; d++) printf(" %12.4f", gap[d - 1]);
        printf("\n");
        fflush(stdout);
    }
    printf("test NLL above the entropy, nats; standard errors of %.4f at most\n", most);
    return AD_OK;
}

static ad_status work(request *r, ad_error *error) {
    ad_status status = read_names(r, error);
    if (status == AD_OK) status = output_check(r->picture, error);
    if (status == AD_OK) status = gallery_sheet_open(&r->sheet, &r->model, &r->name, r->engine, error);
    if (status == AD_OK) status = show_all(r, error);
    if (status == AD_OK) status = gallery_sheet_save(&r->sheet, r->picture, error);
    if (status != AD_OK) return status;
    printf("picture        %s\n", r->picture);
    return fflush(stdout) ? ad_fail(error, AD_EIO, "cannot write the results: %s", strerror(errno)) : AD_OK;
}

int main(int argc, char **argv) {
    request r = {.density = "2spirals", .picture = "gallery.png"};
    r.steps = 1500, r.batch = 256, r.seed = 1, r.test_points = 20000, r.lr = 3e-3, r.average = 0.99;
    const option_row rows[] = {
        {"density", "NAMES",
         "8gaussians,moons,circles,rings,swissroll,2spirals,pinwheel,checkerboard, ... (data.h), or all", OPTION_TEXT,
         &r.density, 0, 0},
        {"models", "TEXTS", "as flow_from_text takes them, parted by spaces; by default each preset", OPTION_TEXT,
         &r.models, 0, 0},
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
    options_read(argc, argv, "Fits models that have a name to densities of the plane, in one picture.", rows,
                 sizeof rows / sizeof *rows);
    ad_error error = {0};
    r.engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = r.engine ? work(&r, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "gallery: %s\n", error.message);
    gallery_sheet_close(&r.sheet);
    names_free(&r.model);
    names_free(&r.name);
    ad_engine_free(r.engine);
    return status != AD_OK;
}
