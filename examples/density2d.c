// density2d.c -- fits a flow to a density of the plane by maximum likelihood, says how far off it is, and draws it.
//
// Densities of data.h are known exactly, and points of them are drawn anew at each step: what is left between the
// model's negative log-likelihood and the density's entropy is the KL divergence, and says how good the model is. Of
// frames a film is made by, say, ffmpeg -i density2d-%04d.png film.mp4.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fresh.h"
#include "options.h"
#include "output.h"
#include "portrait.h"

typedef struct request {
    const char *density, *model, *picture, *save;
    int64_t steps, batch, seed, test_points, frames, threads;
    double lr, average;
    bool json, quiet;
    // What frames are drawn with.
    portrait window;
    flow_model *fitted;
} request;

// ---- pictures ----------------------------------------------------------------------------------------------------

// Frame 7 of picture.png is picture-0007.png.
static ad_status draw_frame(void *arg, int64_t number, int64_t step, ad_error *error) {
    const request *r = arg;
    char file[4096], title[80];
    const char *end = strrchr(r->picture, '.');
    const int stem = (int)(end ? (size_t)(end - r->picture) : strlen(r->picture));
    snprintf(file, sizeof file, "%.*s-%04" PRId64 "%s", stem, r->picture, number, end ? end : "");
    snprintf(title, sizeof title, "model, step %" PRId64, step);
    return portrait_draw(&r->window, file, r->fitted, title, (uint64_t)r->seed, error);
}

// ---- results -----------------------------------------------------------------------------------------------------

static void print_text(const request *r, const fresh_judgement *j, double integral, const optim_fit_result *fit) {
    printf("test NLL    %.4f +- %.4f nats, %" PRId64 " fresh points\n", j->nll, j->nll_error, j->points);
    printf("entropy     %.4f nats, exact\n", r->window.density->entropy);
    printf("KL gap      %.4f +- %.4f nats; point by point %.4f +- %.4f\n", j->gap, j->nll_error, j->kl, j->kl_error);
    printf("integral    %.6f over a grid\n", integral);
    printf("round trip  %.1e at most\n", j->round_trip);
    printf("model       %s, %" PRId64 " parameters, %" PRId64 " steps in %.1f s\n", r->model,
           flow_param_count(r->fitted), fit->steps, fit->seconds);
    printf("picture     %s\n", r->picture);
}

static void print_json(const request *r, const fresh_judgement *j, double integral, const optim_fit_result *fit) {
    printf(
        "{\"density\": \"%s\", \"model\": \"%s\", \"nll\": %.9g, \"standard_error\": %.9g, \"entropy\": %.9g, "
        "\"gap\": %.9g, \"kl\": %.9g, \"kl_error\": %.9g, \"integral\": %.9g, \"round_trip\": %.3g, "
        "\"parameters\": %" PRId64 ", \"steps\": %" PRId64 ", \"seconds\": %.3g}\n",
        r->density, r->model, j->nll, j->nll_error, r->window.density->entropy, j->gap, j->kl, j->kl_error, integral,
        j->round_trip, flow_param_count(r->fitted), fit->steps, fit->seconds);
}

static ad_status work(request *r, ad_engine *engine, ad_error *error) {
    const fresh_options how = {.steps = r->steps,
                               .batch = r->batch,
                               .seed = r->seed,
                               .lr = r->lr,
                               .average = r->average,
                               .engine = engine,
                               .quiet = r->quiet,
                               .frames = r->frames,
                               .frame = r->frames ? draw_frame : NULL,
                               .frame_arg = r};
    const data_density *density = fresh_density(r->density, error);
    if (!density) return error->status;
    ad_status status = output_check(r->picture, error);
    if (status == AD_OK && r->save) status = output_check(r->save, error);
    if (status == AD_OK && !(r->fitted = flow_from_text(r->model, 2, 0, error))) status = error->status;
    if (status == AD_OK) status = portrait_open(&r->window, density, engine, error);
    fresh_judgement j;
    optim_fit_result fit;
    double integral;
    if (status == AD_OK) status = fresh_fit(r->fitted, density, &how, &fit, error);
    if (status == AD_OK && r->save) status = flow_save(r->fitted, r->save, error);
    if (status == AD_OK) status = fresh_judge(r->fitted, density, engine, r->test_points, r->seed, &j, error);
    if (status == AD_OK) status = fresh_integral(r->fitted, density, &integral, error);
    if (status != AD_OK) return status;
    char title[80];
    snprintf(title, sizeof title, "model, KL %.3f nats", j.kl);
    status = portrait_draw(&r->window, r->picture, r->fitted, title, (uint64_t)r->seed, error);
    if (status != AD_OK) return status;
    (r->json ? print_json : print_text)(r, &j, integral, &fit);
    return fflush(stdout) ? ad_fail(error, AD_EIO, "cannot write the results: %s", strerror(errno)) : AD_OK;
}

int main(int argc, char **argv) {
    request r = {.density = "2spirals",
                 .model = "nsf-coupling:layers=8,bins=16,hidden=64x2,net=plain",
                 .picture = "density2d.png"};
    r.steps = 5000, r.batch = 500, r.seed = 1, r.test_points = 100000, r.lr = 0.01, r.average = 0.999;
    const option_row rows[] = {
        {"density", "NAME",
         "8gaussians, moons, circles, rings, swissroll, 2spirals, pinwheel, checkerboard, ... (data.h)", OPTION_TEXT,
         &r.density, 0, 0},
        {"model", "TEXT", "as flow_from_text takes it", OPTION_TEXT, &r.model, 0, 0},
        {"steps", "N", "steps of Adam", OPTION_COUNT, &r.steps, 1, 1e9},
        {"batch", "N", "fresh points a step", OPTION_COUNT, &r.batch, 2, 1e6},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"average", "X", "decay of the moving average of weights; 0: none", OPTION_NUMBER, &r.average, 0, 0.999999},
        {"test-points", "N", "fresh points to score", OPTION_COUNT, &r.test_points, 2, 1e8},
        {"picture", "FILE", "where to draw: .png, .svg or .pdf", OPTION_TEXT, &r.picture, 0, 0},
        {"frames", "N", "pictures of the training, too: FILE-0001 and so on", OPTION_COUNT, &r.frames, 0, 9999},
        {"save", "FILE", "where to save the model", OPTION_TEXT, &r.save, 0, 0},
        {"seed", "N", "of points and batches; same seed, same model", OPTION_COUNT, &r.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"json", NULL, "results on stdout as one JSON object", OPTION_FLAG, &r.json, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Fits a flow to a density of the plane and draws both.", rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = engine ? work(&r, engine, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "density2d: %s\n", error.message);
    portrait_close(&r.window);
    flow_model_free(r.fitted);
    ad_engine_free(engine);
    return status != AD_OK;
}
