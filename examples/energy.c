// energy.c -- fits a flow to an energy that is known but for its normaliser, and says how well: no data are seen.
//
// Targets are densities of data.h by name: U1 to U4 of Rezende and Mohamed 2015, double_well, many_well_6, funnel, ...
// Their normalisers are known exactly, so that the report shows what a fit says of itself beside what is true.
//
// Fits start on a low power of the density, whose wells are joined (beta): wells found then are kept. For many_well_32:
// --model nsf-coupling:layers=4,hidden=32x1,bound=4,map-kept=yes,mix=halves,raw=yes --beta 0.05 --steps 1500.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "draws_picture.h"
#include "flows.h"
#include "optim.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "show_step.h"

typedef struct request {
    const char *target, *model, *method, *save, *picture;
    int64_t steps, draws, seed, threads, report;
    double lr, beta, average;
    bool quiet;
} request;

static const char *const methods[] = {"path", "reverse", "alpha", "forward", "forward-path", "annealed"};

static ad_var log_prob(void *arg, ad_var x) {
    return ((const data_density *)arg)->log_prob(x);
}

static ad_status fit(const request *r, const optim_target *target, ad_engine *engine, flow_model *model,
                     optim_target_result *result, ad_error *error) {
    progress meter = progress_start(r->quiet);
    optim_target_options how = {.fit = {.steps = r->steps,
                                        .batch = r->draws,
                                        .lr = r->lr,
                                        .schedule = OPTIM_COSINE,
                                        .average = r->average,
                                        .seed = (uint64_t)r->seed,
                                        .engine = engine,
                                        .progress = show_step,
                                        .progress_arg = &meter},
                                .beta = r->beta,
                                .alpha = 0.5,
                                .report_draws = r->report};
    for (int i = 0; i < 6; i++) {
        if (strcmp(r->method, methods[i]) == 0) how.divergence = (optim_divergence)i;
    }
    how.keep_last = how.divergence >= OPTIM_FORWARD_KL;  // the best ELBO may leave out modes
    ad_status status = optim_fit_target(model, target, &how, result, error);
    if (status == AD_OK) progress_end(&meter, "%" PRId64 " steps in %.1f s", result->fit.steps, result->fit.seconds);
    return status;
}

// Draws of the flow beside exact ones.
static ad_status draw(const char *file, const data_density *density, const double *x, int64_t n, ad_error *error) {
    double *exact = density->sample ? malloc((size_t)(n * density->dimension) * sizeof *exact) : NULL;
    if (exact) density->sample(n, 77, 0, exact);
    const corner_set truth = {density->name, exact, n}, flow = {"flow", x, n};
    ad_status status = draws_picture(file, density->dimension, exact ? &truth : NULL, &flow, error);
    return free(exact), status;
}

// Mean distance of log Z from the truth over 10 batches of 2,000 draws; of many wells the share of draws whose a is
// above 0 in each pair, where the truth is .8443: the least and the largest.
static ad_status look(const request *r, const optim_target *target, const data_density *density, ad_engine *engine,
                      const flow_model *model, ad_error *error) {
    enum { BATCHES = 10, N = 2000 };
    const int64_t D = density->dimension;
    double *x = malloc((size_t)(BATCHES * N * D) * sizeof *x), *w = malloc(BATCHES * N * sizeof *w), off = 0;
    if (!x || !w) return free(x), free(w), ad_fail(error, AD_ENOMEM, "out of memory for draws");
    const optim_drawing how = {BATCHES * N, x, w, .seed = (uint64_t)r->seed + 77, .engine = engine};
    ad_status status = optim_draws(model, target, &how, error);
    for (int i = 0; i < BATCHES && status == AD_OK; i++) {
        optim_importance one;
        status = optim_importance_of(w + i * N, N, 1, &one, error);
        off += fabs(one.log_z - density->log_normaliser) / BATCHES;
    }
    if (status == AD_OK) printf("log Z off by  %.4f on average, from 2,000 draws\n", off);
    double least = 1, most = 0;
    for (int64_t k = 0; k < D && strncmp(density->name, "many_well", 9) == 0; k += 2) {
        double share = 0;
        for (int64_t i = 0; i < BATCHES * N; i++) share += (x[i * D + k] > 0) / (double)(BATCHES * N);
        least = fmin(least, share), most = fmax(most, share);
    }
    if (most > 0 && status == AD_OK) printf("right wells   %.4f to %.4f of draws (truth .8443)\n", least, most);
    if (status == AD_OK && r->picture) status = draw(r->picture, density, x, BATCHES * N, error);
    free(x), free(w);
    return status;
}

static void print(const optim_target_result *r, const data_density *density) {
    const optim_importance *i = &r->report;
    printf("ELBO          %.4f +- %.4f\nlog Z         %.4f +- %.4f (truth %.4f)\n", i->elbo, i->elbo_error, i->log_z,
           i->log_z_error, density->log_normaliser);
    printf("ESS           %.4f, Pareto k %.2f, acceptance %.3f, from %" PRId64 " draws\n", i->ess, i->pareto_k,
           i->acceptance, i->n);
    bool bound = i->elbo <= density->log_normaliser + 3 * i->elbo_error;
    printf("bound         %s\n", bound ? "kept" : "BROKEN: the ELBO is above log Z");
}

static ad_status work(const request *r, ad_engine *engine, flow_model **model, ad_error *error) {
    const data_density *density = data_find_density(r->target);
    if (!density) return ad_fail(error, AD_EARG, "there is no target '%s': see data.h", r->target);
    const optim_target target = {log_prob, (void *)(uintptr_t)density, density->name};
    optim_target_result result;
    if (r->picture && output_check(r->picture, error) != AD_OK) return error->status;
    *model = flow_from_text(r->model, density->dimension, 0, error);
    if (!*model) return error->status;
    ad_status status = fit(r, &target, engine, *model, &result, error);
    if (status != AD_OK) return status;
    print(&result, density);
    status = look(r, &target, density, engine, *model, error);
    return status == AD_OK && r->save ? flow_save(*model, r->save, error) : status;
}

int main(int argc, char **argv) {
    request r = {
        .target = "U1", .model = "nsf-coupling:layers=6,bins=8,bound=5,hidden=64x2", .method = "path", .steps = 3000};
    r.draws = 256, r.seed = 1, r.report = 100000, r.lr = 3e-3, r.beta = 0.1, r.average = 0.995;
    const option_row rows[] = {
        {"target", "NAME", "the energy", OPTION_TEXT, &r.target, 0, 0},
        {"model", "TEXT", "as flow_from_text takes it", OPTION_TEXT, &r.model, 0, 0},
        {"method", "NAME", "path, reverse, alpha, forward, forward-path or annealed", OPTION_TEXT, &r.method, 0, 0},
        {"steps", "N", "steps of Adam", OPTION_COUNT, &r.steps, 1, 1e9},
        {"draws", "N", "draws a step", OPTION_COUNT, &r.draws, 2, 1e6},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"beta", "X", "where the power of the target starts", OPTION_NUMBER, &r.beta, 1e-6, 1},
        {"average", "X", "decay of the moving average of weights; 0: none", OPTION_NUMBER, &r.average, 0, 0.999999},
        {"report", "N", "draws for the report", OPTION_COUNT, &r.report, 100, 1e8},
        {"seed", "N", "same seed, same model", OPTION_COUNT, &r.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"save", "FILE", "where to save the model", OPTION_TEXT, &r.save, 0, 0},
        {"picture", "FILE", "draws beside exact ones: .png, .svg or .pdf", OPTION_TEXT, &r.picture, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Fits a flow to an energy by its own draws.", rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    flow_model *model = NULL;
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = engine ? work(&r, engine, &model, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "energy: %s\n", error.message);
    flow_model_free(model), ad_engine_free(engine);
    return status == AD_OK ? 0 : 1;
}
