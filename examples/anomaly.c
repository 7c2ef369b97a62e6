// anomaly.c -- rows that do not belong: a density is learnt from normal rows, and what it finds unlikely ranks first.
//
// Noise is added to what is learnt, at each step anew: the density becomes a smoothed one, which does not learn rows by
// heart.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "anomaly_rows.h"
#include "flows.h"
#include "optim.h"
#include "options.h"
#include "progress.h"

typedef struct settings {
    const char *data, *model, *picture;
    int64_t steps, batch, seed, threads, show;
    double noise, lr;
    bool none, quiet;
} settings;

static ad_status train(const settings *s, flow_model *model, const data_table *x, const int64_t *learn, int64_t n,
                       ad_engine *engine, ad_error *error) {
    int n_params;
    ad_param *const *params = flow_params(model, &n_params);
    optim_optimizer *adam = optim_new(params, n_params, &(optim_options){.max_norm = 5}, error);
    optim_average *average = optim_average_new(params, n_params, 0.99, error);
    ad_tape *tape = ad_tape_new(engine, AD_F32);
    data_batches batches = {
        .count = n, .size = s->batch < n ? s->batch : n, .seed = (uint64_t)s->seed, .index = learn, .drop_last = true};
    const int64_t epoch = data_batch_count(&batches);
    int64_t *rows = calloc((size_t)s->batch, sizeof *rows);
    ad_status status = adam && average && tape && rows ? AD_OK : AD_ENOMEM;
    ad_random random = {.seed = (uint64_t)s->seed};
    progress meter = progress_start(s->quiet);
    for (int64_t step = 0; step < s->steps && status == AD_OK; step++) {
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "rows");
        ad_rows_set(set, data_batch(&batches, step / epoch, step % epoch, rows), 0);
        ad_source source = data_source(x, 0, rows);
        random.step = (uint64_t)step;
        ad_var v = ad_input(set, ad_shape1(x->columns), &source);
        v = ad_add(v, ad_scale(ad_normal(set, ad_shape1(x->columns), &random, 0), s->noise));
        status = ad_backward(ad_neg(ad_mean_rows(flow_log_prob(model, v, AD_NONE))));
        double lr = s->lr * optim_schedule_factor(OPTIM_COSINE, step, s->steps, 50, 0);
        if (status == AD_OK) status = optim_update(adam, engine, lr, NULL, error);
        optim_average_update(average);
        progress_show(&meter, "step %" PRId64 " of %" PRId64 "  %.0f s", step, s->steps, progress_seconds(&meter));
    }
    if (status == AD_OK) optim_average_swap(average);
    if (status == AD_OK) progress_end(&meter, "%" PRId64 " steps in %.1f s", s->steps, progress_seconds(&meter));
    free(rows);
    ad_tape_free(tape);
    optim_average_free(average);
    optim_free(adam);
    return status;
}

static ad_status score(const flow_model *model, const data_table *x, ad_engine *engine, scored *out, ad_error *error) {
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
        for (int64_t i = 0; i < n; i++) out[first + i] = (scored){-log_p[i], first + i, false};
    }
    ad_status status = tape ? ad_tape_status(tape) : AD_ENOMEM;
    if (status != AD_OK) ad_fail(error, status, "%s", tape ? ad_tape_message(tape) : "out of memory");
    ad_tape_free(tape);
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
    for (int64_t i = 0; i < s->show && i < kept; i++) {
        printf("row %-8" PRId64 " -log density %10.3f  %s\n", list[i].row, list[i].score,
               !a->labelled  ? ""
               : list[i].odd ? "odd"
                             : "normal");
    }
    return s->picture ? anomaly_draw(s->picture, list, kept, error) : AD_OK;
}

int main(int argc, char **argv) {
    settings s = {.data = "", .model = "nsf-ar:layers=3,hidden=64x2,bins=8,bound=5", .steps = 600, .batch = 256};
    s.seed = 1, s.show = 10;
    s.noise = 0.3, s.lr = 2e-3;
    const option_row rows[] = {
        {"DATA", NULL, "table; labels (1: odd) last, or y beside X of an .npz; else moons, and noise", OPTION_ARGUMENT,
         &s.data, 0, 0},
        {"no-labels", NULL, "all columns are features: all rows are learnt, and ranked", OPTION_FLAG, &s.none, 0, 0},
        {"model", "TEXT", "of the density", OPTION_TEXT, &s.model, 0, 0},
        {"noise", "X", "standard deviation of what is added, in those of the columns", OPTION_NUMBER, &s.noise, 0, 10},
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
    anomaly_rows a;
    ad_status status = anomaly_read(&a, *s.data ? s.data : NULL, s.none, &error);
    flow_model *model = status == AD_OK ? flow_from_text(s.model, a.x->columns, 0, &error) : NULL;
    ad_engine *engine = model ? ad_engine_new(&(ad_engine_options){.threads = (int)s.threads}, &error) : NULL;
    scored *list = engine ? calloc((size_t)a.x->rows, sizeof *list) : NULL;
    status = list ? AD_OK : error.status ? error.status : ad_fail(&error, AD_ENOMEM, "out of memory");
    if (status == AD_OK) status = train(&s, model, a.x, a.learn, a.n, engine, &error);
    if (status == AD_OK) status = score(model, a.x, engine, list, &error);
    if (status == AD_OK) status = report(&s, &a, list, &error);
    if (status != AD_OK) fprintf(stderr, "anomaly: %s\n", error.message);
    flow_model_free(model), ad_engine_free(engine), anomaly_free(&a), free(list);
    return status != AD_OK;
}
