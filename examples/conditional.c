// conditional.c -- p(y | x), the density of one number given others: test log-likelihoods over the fixed splits of a
// regression set, beside a Gaussian whose mean is linear in x.
//
// A few flows, each stopped by validation rows of its own, are averaged: p = mean of p_m. Without arguments the data
// are made, and what the true density scores is printed, too.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "conditional_picture.h"
#include "optim.h"
#include "options.h"
#include "output.h"
#include "progress.h"

typedef struct request {
    const char *folder, *splits, *model, *picture;
    int64_t use, members, steps, batch, patience, seed, threads;
    double lr, weight_decay;
    bool quiet;
} request;

// One flow, trained on nine tenths of the training rows, stopped by the others.
static flow_model *fit(const request *r, const flow_rows *all, const data_split *s, int64_t C, uint64_t seed,
                       ad_engine *engine, ad_error *error) {
    char text[512];
    snprintf(text, sizeof text, "%s,seed=%" PRIu64, r->model, seed);
    data_split *inner = data_split_new(s->n_train, 0.1, 0, seed, error);
    flow_model *model = inner ? flow_from_text(text, 1, C, error) : NULL;
    flow_rows train = *all, valid = *all;
    for (int64_t i = 0; model && i < inner->n_train; i++) inner->train[i] = s->train[inner->train[i]];
    for (int64_t i = 0; model && i < inner->n_valid; i++) inner->valid[i] = s->train[inner->valid[i]];
    if (model)
        train.index = inner->train, train.n = inner->n_train, valid.index = inner->valid, valid.n = inner->n_valid;
    const optim_fit_options how = {.steps = r->steps,
                                   .batch = r->batch,
                                   .lr = r->lr,
                                   .warm_up = 50,
                                   .optimizer = {.method = OPTIM_ADAMW, .weight_decay = r->weight_decay},
                                   .average = 0.99,
                                   .validation = &valid,
                                   .validate_every = 50,
                                   .patience = r->patience,
                                   .plateau = true,
                                   .lower = {.factor = 0.5, .patience = (int)(r->patience / 3)},
                                   .seed = seed,
                                   .engine = engine};
    if (!model || flow_init_from_data(model, &train, error) || optim_fit(model, &train, &how, NULL, error)) {
        flow_model_free(model);
        model = NULL;
    }
    data_split_free(inner);
    return model;
}

// Mean log-density of the test rows under the mean of the models; NAN with *error.
static double score(flow_model *const *models, int64_t M, const flow_rows *all, const data_split *s, ad_error *error) {
    double *log_p = calloc((size_t)(s->n_test * (M + 1)), sizeof *log_p), mean = 0;
    ad_status status = log_p ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory");
    for (int64_t m = 0; m < M && status == AD_OK; m++)
        status = conditional_log_prob(models[m], all, s->test, s->n_test, log_p + (m + 1) * s->n_test, error);
    for (int64_t i = 0; i < s->n_test && status == AD_OK; i++) {
        double most = -INFINITY, sum = 0;
        for (int64_t m = 1; m <= M; m++) most = fmax(most, log_p[m * s->n_test + i]);
        for (int64_t m = 1; m <= M; m++) sum += exp(log_p[m * s->n_test + i] - most);
        mean += (most + log(sum / (double)M)) / (double)s->n_test;
    }
    return free(log_p), status == AD_OK ? mean : NAN;
}

static ad_status one_split(const request *r, const regression *g, int64_t k, ad_engine *engine, double out[3],
                           ad_error *error) {
    flow_model *models[CONDITIONAL_MEMBERS] = {NULL};
    data_split *s = regression_split(g, k, error);
    data_table *inputs = s ? regression_inputs(g, s, error) : NULL;
    ad_status status = inputs ? AD_OK : error->status;
    if (status == AD_OK) {
        const flow_rows all = {.x = data_source(g->y, 0, NULL), .context = data_source(inputs, 0, NULL)};
        for (int64_t m = 0; m < r->members && status == AD_OK; m++) {
            const uint64_t seed = (uint64_t)((r->seed * 1000 + k) * CONDITIONAL_MEMBERS + m);
            models[m] = fit(r, &all, s, inputs->columns, seed, engine, error);
            if (!models[m]) status = error->status;
        }
        if (status == AD_OK) out[0] = score(models, r->members, &all, s, error), status = error->status;
        if (status == AD_OK) out[1] = regression_linear(g, inputs, s);
        for (int64_t i = 0; g->truth && i < s->n_test; i++) out[2] += g->truth[s->test[i]] / (double)s->n_test;
        if (status == AD_OK && r->picture && k == 0)
            status = conditional_draw(r->picture, models, r->members, g, s, inputs, error);
    }
    for (int64_t m = 0; m < r->members; m++) flow_model_free(models[m]);
    data_table_free(inputs), data_split_free(s);
    return status;
}

static ad_status work(const request *r, ad_engine *engine, ad_error *error) {
    regression g = {0};
    progress meter = progress_start(r->quiet);
    ad_status status = r->picture ? output_check(r->picture, error) : AD_OK;
    if (status == AD_OK) status = regression_open(&g, *r->folder ? r->folder : NULL, r->splits, error);
    const int64_t n = r->use && r->use < g.splits ? r->use : g.splits;
    double sum[3] = {0}, squares[3] = {0};
    for (int64_t k = 0; k < n && status == AD_OK; k++) {
        double v[3] = {0};
        status = one_split(r, &g, k, engine, v, error);
        for (int i = 0; i < 3; i++) sum[i] += v[i], squares[i] += v[i] * v[i];
        if (status == AD_OK)
            progress_show(&meter, "split %" PRId64 " of %" PRId64 "  flow %.3f  linear %.3f", k + 1, n, v[0], v[1]);
    }
    const char *const names[] = {"flow", "linear", "truth"};
    if (status == AD_OK) progress_end(&meter, "%" PRId64 " splits in %.0f s", n, progress_seconds(&meter));
    for (int i = 0; i < (g.truth ? 3 : 2) && status == AD_OK; i++) {
        const double mean = sum[i] / (double)n, var = fmax(squares[i] / (double)n - mean * mean, 0);
        printf("%-7s %.4f nats", names[i], mean);
        printf(n > 1 ? " +- %.4f\n" : "\n", sqrt(var / (double)(n - 1)));
    }
    regression_close(&g);
    return status;
}

int main(int argc, char **argv) {
    request r = {.folder = "", .model = "nsf-ar:layers=1,hidden=50x2,bins=6,bound=4", .picture = "conditional.png"};
    r.members = 5, r.steps = 3000, r.batch = 64, r.patience = 12, r.seed = 1, r.lr = 3e-3, r.weight_decay = 1e-2;
    const option_row rows[] = {
        {"FOLDER", NULL, "a regression set: data.txt, index_features.txt, index_target.txt, splits", OPTION_ARGUMENT,
         &r.folder, 0, 0},
        {"splits", "FOLDER", "of index_train_K.txt and index_test_K.txt, where not the same", OPTION_TEXT, &r.splits, 0,
         0},
        {"use", "N", "splits used; 0: all", OPTION_COUNT, &r.use, 0, 1000},
        {"model", "TEXT", "as flow_from_text takes it", OPTION_TEXT, &r.model, 0, 0},
        {"members", "N", "flows averaged", OPTION_COUNT, &r.members, 1, CONDITIONAL_MEMBERS},
        {"steps", "N", "of AdamW, at most", OPTION_COUNT, &r.steps, 1, 1e9},
        {"batch", "N", "rows a step", OPTION_COUNT, &r.batch, 1, 1e6},
        {"patience", "N", "validations without a better one, every 50 steps, that end a fit", OPTION_COUNT, &r.patience,
         0, 1e6},
        {"lr", "X", "learning rate at first", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"weight-decay", "X", "of AdamW", OPTION_NUMBER, &r.weight_decay, 0, 1},
        {"seed", "N", "same seed, same result", OPTION_COUNT, &r.seed, 0, 1e9},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"picture", "FILE", "of split 0: .png, .svg or .pdf", OPTION_TEXT, &r.picture, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Test log-likelihood of y given x, in nats, by flows.", rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    ad_status status = engine ? work(&r, engine, &error) : error.status;
    ad_engine_free(engine);
    if (status != AD_OK) fprintf(stderr, "conditional: %s\n", error.message);
    return status != AD_OK || fflush(stdout);
}
