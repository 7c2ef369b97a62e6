// posterior.c -- fits a flow to a Bayesian posterior by its own draws; says how far to trust it, and compares with
// others' draws.
//
// Without arguments: eight schools (Rubin 1981), non-centred. A model's parameters are written as they are by nature
// (positive, ascending, shares); its first layer takes them to free numbers, the second to the scale of its curvature.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "output.h"
#include "posterior_models.h"
#include "progress.h"
#include "show_step.h"

typedef struct request {
    const char *model, *data, *save;
    posterior_comparison with;
    int64_t steps, draws, layers, width, bins, seed, threads, report;
    double lr;
    bool quiet;
} request;

// One pass to draw, about one to score (Kingma et al. 2016): affine maps unless there are bins of splines.
static flow_layer *mapped(const request *r, int64_t i, int64_t D, ad_error *error) {
    const flow_autoregressive_options how = {
        .inverse = true, .made.mlp = {.layers = 1, .width = r->width, .type = AD_F64, .seed = (uint64_t)(r->seed + i)}};
    const flow_spline_transformer_options spline = {.bins = r->bins, .spline.bound = 6};
    if (r->bins == 0) return flow_affine_autoregressive(D, 0, &how, error);
    return flow_autoregressive(D, 0, flow_spline_transformer(&spline, error), &how, error);
}

// Natural parameters, scale of the curvature, then autoregressive layers whose features an LU linear mixes.
static flow_model *build(const request *r, posterior *p, ad_error *error) {
    flow_layer *layers[64];
    flow_layer *natural = p->natural, *scale = optim_laplace(natural, &p->target, error);
    const int64_t D = ad_shape_count(natural->z_shape);
    int n = 0;
    p->natural = NULL;
    layers[n++] = natural, layers[n++] = scale;
    for (int64_t i = 0; i < r->layers && scale && D > 1; i++) {
        layers[n++] = flow_lu_linear(D, &(flow_lu_linear_options){.type = AD_F64}, error);
        layers[n++] = mapped(r, i, D, error);
    }
    layers[n++] = flow_lu_linear(D, &(flow_lu_linear_options){.type = AD_F64}, error);
    return flow_model_new(flow_chain(layers, n, error), flow_standard_normal(D, error), error);
}

static ad_status fit(const request *r, const posterior *p, ad_engine *engine, flow_model *model, ad_error *error) {
    progress meter = progress_start(r->quiet);
    const optim_target_options how = {.fit = {.steps = r->steps,
                                              .batch = r->draws,
                                              .lr = r->lr,
                                              .schedule = OPTIM_COSINE,
                                              .average = 0.995,
                                              .seed = (uint64_t)r->seed,
                                              .type = AD_F64,
                                              .engine = engine,
                                              .progress = show_step,
                                              .progress_arg = &meter},
                                      .report_draws = r->report};
    optim_target_result result;
    ad_status status = optim_fit_target(model, &p->target, &how, &result, error);
    if (status != AD_OK) return status;
    progress_end(&meter, "%" PRId64 " steps in %.1f s", result.fit.steps, result.fit.seconds);
    const optim_importance *i = &result.report;
    printf("ELBO   %.4f +- %.4f\nlog Z  %.4f +- %.4f\nESS    %.4f, Pareto k %.2f, acceptance %.3f, from %" PRId64
           " draws\n",
           i->elbo, i->elbo_error, i->log_z, i->log_z_error, i->ess, i->pareto_k, i->acceptance, i->n);
    return AD_OK;
}

int main(int argc, char **argv) {
    request r = {.model = "eight_schools",
                 .steps = 3000,
                 .draws = 256,
                 .layers = 4,
                 .width = 64,
                 .seed = 1,
                 .report = 100000,
                 .lr = 4e-3};
    const option_row rows[] = {
        {"model", "NAME", posterior_list, OPTION_TEXT, &r.model, 0, 0},
        {"data", "FILE", "as posteriordb's, a variable a line; of logistic a table, labels last", OPTION_TEXT, &r.data,
         0, 0},
        {"reference", "FILE", "means and sds to compare with: lines NAME,MEAN,SD", OPTION_TEXT, &r.with.reference, 0,
         0},
        {"picture", "FILE", "corner plot, .png, .svg or .pdf", OPTION_TEXT, &r.with.picture, 0, 0},
        {"reference-draws", "FILE", "table of others' draws to show in it", OPTION_TEXT, &r.with.draws, 0, 0},
        {"show", "A,B", "quantities in it; else a few", OPTION_TEXT, &r.with.show, 0, 0},
        {"steps", "N", "steps of Adam", OPTION_COUNT, &r.steps, 1, 1e9},
        {"draws", "N", "draws a step", OPTION_COUNT, &r.draws, 2, 1e6},
        {"layers", "N", "inverse autoregressive ones", OPTION_COUNT, &r.layers, 0, 30},
        {"width", "N", "of the hidden layer in each", OPTION_COUNT, &r.width, 1, 4096},
        {"bins", "N", "of splines of [-6, 6] in them; 0: affine maps instead", OPTION_COUNT, &r.bins, 0, 4096},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"report", "N", "draws for the report", OPTION_COUNT, &r.report, 100, 1e7},
        {"seed", "N", "same seed, same model", OPTION_COUNT, &r.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"save", "FILE", "where to save the model", OPTION_TEXT, &r.save, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Fits a flow to a Bayesian posterior by its own draws.", rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    posterior p = {.name = NULL};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = engine ? AD_OK : error.status;
    if (status == AD_OK && r.with.picture) status = output_check(r.with.picture, &error);
    if (status == AD_OK) status = posterior_open(&p, r.model, r.data, &error);
    flow_model *model = status == AD_OK ? build(&r, &p, &error) : NULL;
    if (status == AD_OK && !model) status = error.status;
    if (status == AD_OK) status = fit(&r, &p, engine, model, &error);
    r.with.n = r.report, r.with.seed = (uint64_t)r.seed + 77, r.with.engine = engine;
    if (status == AD_OK) status = posterior_compare(&p, model, &r.with, &error);
    if (status == AD_OK && r.save) status = flow_save(model, r.save, &error);
    if (status != AD_OK) fprintf(stderr, "posterior: %s\n", error.message);
    flow_model_free(model);
    posterior_close(&p);
    ad_engine_free(engine);
    return status == AD_OK ? 0 : 1;
}
