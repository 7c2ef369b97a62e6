// anomaly.c -- rows that do not belong: a density is learnt from normal rows, and what it finds unlikely ranks first.
//
// Noise is added to what is learnt, at each step anew: the density becomes a smoothed one, which does not learn rows by
// heart. How much is said by the rows themselves: somewhat more than it is from one to its neighbours, in each feature.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "anomaly_rows.h"
#include "flows.h"
#include "optim.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "show_step.h"

typedef struct settings {
    const char *data, *model, *picture;
    int64_t steps, batch, models, seed, threads, show;
    double noise, reach, lr;
    bool none, quiet;
} settings;

// Adds minus the log-density of each row, over the number of models.
static ad_status score(const flow_model *model, const data_table *x, double models, ad_engine *engine, scored *out,
                       ad_error *error) {
    ad_tape *tape = ad_tape_new(engine, AD_F32);
    double log_p[1024];
    int64_t index[1024];
    for (int64_t first = 0; tape && first < x->rows && ad_tape_status(tape) == AD_OK; first += 1024) {
        int64_t n = x->rows - first < 1024 ? x->rows - first : 1024;
        for (int64_t i = 0; i < n; i++) index[i] = first + i;
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "rows");
        ad_rows_set(set, n, first);
        ad_source source = data_source(x, 0, index);
        ad_var p = ad_keep(flow_log_prob(model, ad_input(set, ad_shape1(x->columns), &source), AD_NONE));
        if (ad_run(tape) == AD_OK) ad_read(p, log_p, n);
        for (int64_t i = 0; i < n; i++) out[first + i].score -= log_p[i] / models, out[first + i].row = first + i;
    }
    ad_status status = tape ? ad_tape_status(tape) : AD_ENOMEM;
    if (status != AD_OK) ad_fail(error, status, "%s", tape ? ad_tape_message(tape) : "out of memory");
    ad_tape_free(tape);
    return status;
}

// Model number i: fitted to the rows to learn, its scores added to the list.
static ad_status run(const settings *s, int64_t i, const anomaly_rows *a, ad_engine *engine, scored *list,
                     ad_error *error) {
    char text[500];
    snprintf(text, sizeof text, "%s%sseed=%" PRId64, s->model, strchr(s->model, ':') ? "," : ":", s->seed + i);
    flow_model *model = flow_from_text(text, a->x->columns, 0, error);
    if (!model) return error->status;
    progress meter = progress_start(s->quiet);
    const flow_rows rows = {.x = data_source(a->x, 0, NULL), .index = a->learn, .n = a->n};
    const optim_fit_options how = {.steps = s->steps,
                                   .batch = s->batch,
                                   .lr = s->lr,
                                   .schedule = OPTIM_COSINE,
                                   .warm_up = 50,
                                   .noise = s->noise,
                                   .average = 0.99,
                                   .seed = (uint64_t)(s->seed + i),
                                   .engine = engine,
                                   .progress = show_step,
                                   .progress_arg = &meter};
    optim_fit_result done;
    ad_status status = optim_fit(model, &rows, &how, &done, error);
    if (status == AD_OK)
        progress_end(&meter, "model %" PRId64 " of %" PRId64 ": %.1f s", i + 1, s->models, done.seconds);
    if (status == AD_OK) status = score(model, a->x, (double)s->models, engine, list, error);
    flow_model_free(model);
    return status;
}

// Scores of the rows that were not learnt (without labels: of all), ranked.
static ad_status report(const settings *s, const anomaly_rows *a, scored *list, ad_error *error) {
    int64_t kept = 0;
    for (int64_t r = 0, i = 0; r < a->x->rows; r++) {
        const bool learnt = a->labelled && i < a->n && a->learn[i] == r;
        i += learnt;
        if (!learnt) list[kept] = list[r], list[kept++].odd = a->odd[r];
    }
    const double auroc = anomaly_rank(list, kept);
    printf("%" PRId64 " rows learnt, %" PRId64 " ranked", a->n, kept);
    printf(a->labelled ? ", %" PRId64 " of them odd\nAUROC %.4f\n" : "\n", a->odds, auroc);
    printf("noise %.3f\n", s->noise);
    for (int64_t i = 0; i < s->show && i < kept; i++) {
        printf("row %-8" PRId64 " -log density %10.3f  %s\n", list[i].row, list[i].score,
               !a->labelled  ? ""
               : list[i].odd ? "odd"
                             : "normal");
    }
    return s->picture ? anomaly_draw(s->picture, list, kept, error) : AD_OK;
}

int main(int argc, char **argv) {
    settings s = {.data = "", .model = "nsf-ar:layers=3,hidden=64x2,bins=8,bound=5", .steps = 1800, .batch = 256};
    s.seed = 1, s.show = 10;
    s.models = 1, s.reach = 1.4, s.lr = 2e-3;
    const option_row rows[] = {
        {"DATA", NULL, "table; labels (1: odd) last, or y beside X of an .npz; else moons, and noise", OPTION_ARGUMENT,
         &s.data, 0, 0},
        {"no-labels", NULL, "all columns are features: all rows are learnt, and ranked", OPTION_FLAG, &s.none, 0, 0},
        {"model", "TEXT", "of the density", OPTION_TEXT, &s.model, 0, 0},
        {"models", "N", "whose scores are averaged, seeds apart", OPTION_COUNT, &s.models, 1, 1000},
        {"reach", "X", "noise, in distances to the fifth neighbour", OPTION_NUMBER, &s.reach, 0, 100},
        {"noise", "X", "instead: its standard deviation, in those of the columns", OPTION_NUMBER, &s.noise, 0, 10},
        {"steps", "N", "of Adam", OPTION_COUNT, &s.steps, 1, 1e9},
        {"batch", "N", "rows a step", OPTION_COUNT, &s.batch, 1, 1e6},
        {"lr", "X", "learning rate at first", OPTION_NUMBER, &s.lr, 1e-12, 10},
        {"show", "N", "outliers to list", OPTION_COUNT, &s.show, 0, 1e6},
        {"seed", "N", "same seed, same result", OPTION_COUNT, &s.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &s.threads, 0, 256},
        {"picture", "FILE", "of the scores: .png, .svg or .pdf", OPTION_TEXT, &s.picture, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &s.quiet, 0, 0}};
    options_read(argc, argv, "Learns the density of normal rows, and ranks the others by how unlikely they are.", rows,
                 sizeof rows / sizeof *rows);
    ad_error error = {0};
    anomaly_rows a = {0};
    ad_status status = s.picture ? output_check(s.picture, &error) : AD_OK;
    if (status == AD_OK) status = anomaly_read(&a, *s.data ? s.data : NULL, s.none, &error);
    ad_engine *engine = status == AD_OK ? ad_engine_new(&(ad_engine_options){.threads = (int)s.threads}, &error) : NULL;
    scored *list = engine ? calloc((size_t)a.x->rows, sizeof *list) : NULL;
    status = list ? AD_OK : error.status ? error.status : ad_fail(&error, AD_ENOMEM, "out of memory");
    if (status == AD_OK && s.noise == 0) s.noise = s.reach * anomaly_spacing(&a);
    for (int64_t i = 0; i < s.models && status == AD_OK; i++) status = run(&s, i, &a, engine, list, &error);
    if (status == AD_OK) status = report(&s, &a, list, &error);
    if (status != AD_OK) fprintf(stderr, "anomaly: %s\n", error.message);
    ad_engine_free(engine), anomaly_free(&a), free(list);
    return status != AD_OK;
}
