// anomaly.c -- rows that do not belong: a density is learnt from normal rows, and what it finds unlikely ranks first.
//
// The table has its labels (0 normal, 1 not) as array y beside X (.npz, as ADBench has them), or as its last column.
// The first half of the normal rows is learnt; all others are ranked. Noise is added to what is learnt, at each step
// anew: the density becomes a smoothed one, which does not learn rows by heart.
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "flows.h"
#include "optim.h"
#include "options.h"

typedef struct settings {
    const char *data, *model;
    int64_t steps, batch, seed, threads, show;
    double noise, lr;
} settings;

typedef struct scored {
    double score;
    int64_t row;
    bool odd;
} scored;

static int wrong(const char *message) {
    return fprintf(stderr, "anomaly: %s\n", message), 1;
}

// The features in floats, and which rows are odd.
static data_table *read(const settings *s, bool **odd, ad_error *error) {
    size_t n = strlen(s->data);
    bool npz = n > 4 && strcmp(s->data + n - 4, ".npz") == 0;
    data_table *table = npz ? data_read_npz(s->data, "X", error) : data_read(s->data, error);
    data_table *labels = npz && table ? data_read_npz(s->data, "y", error) : table;
    if (!table || !labels) return data_table_free(table), NULL;
    const int64_t D = npz ? table->columns : table->columns - 1;
    data_table *x = D < 1 || labels->rows != table->rows ? NULL : data_table_new(DATA_F32, table->rows, D, error);
    *odd = calloc((size_t)table->rows, sizeof **odd);
    if (x && *odd) {
        data_gather(table, NULL, table->rows, 0, D, AD_F32, data_values(x), error);
        for (int64_t r = 0; r < table->rows; r++) (*odd)[r] = data_get(labels, r, labels->columns - 1) > 0.5;
    } else if (D < 1 || labels->rows != table->rows) {
        ad_fail(error, AD_EFORMAT, "%s: expected features, and a label for each row", s->data);
    }
    if (npz) data_table_free(labels);
    data_table_free(table);
    return x;
}

// Columns without variance among the rows to learn say nothing there, and are left out by setting them to 0 with unit
// spread.
static void standardise(data_table *x, const int64_t *learn, int64_t n) {
    float *v = data_values(x);
    for (int64_t c = 0; c < x->columns; c++) {
        double mean = 0, variance = 0;
        for (int64_t i = 0; i < n; i++) mean += (double)v[learn[i] * x->columns + c] / (double)n;
        for (int64_t i = 0; i < n; i++) variance += pow((double)v[learn[i] * x->columns + c] - mean, 2) / (double)n;
        double scale = variance > 1e-12 ? 1 / sqrt(variance) : 0;
        for (int64_t r = 0; r < x->rows; r++) {
            double z = ((double)v[r * x->columns + c] - mean) * scale;
            v[r * x->columns + c] = (float)fmin(fmax(z, -20), 20);
        }
    }
}

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
    }
    if (status == AD_OK) optim_average_swap(average);
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

static int descending(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

// Share of pairs of an odd and a normal row in which the odd one ranks higher; ties count half.
static double auroc(scored *s, int64_t n) {
    qsort(s, (size_t)n, sizeof *s, descending);
    double above = 0, pairs = 0, odd = 0, normal = 0;
    for (int64_t i = 0; i < n;) {
        int64_t j = i, o = 0;
        for (; j < n && s[j].score == s[i].score; j++) o += s[j].odd;
        double here = (double)(j - i - o);
        pairs += here * (odd + 0.5 * (double)o);
        odd += (double)o, normal += here;
        i = j;
    }
    above = pairs;
    return above / (odd * normal);
}

int main(int argc, char **argv) {
    settings s = {
        .model = "nsf-ar:layers=3,hidden=64x2,bins=8,bound=5", .steps = 600, .batch = 256, .seed = 1, .show = 10};
    s.noise = 0.3, s.lr = 2e-3;
    const option_row rows[] = {
        {"DATA", NULL, "table with labels", OPTION_ARGUMENT, &s.data, 0, 0},
        {"model", "TEXT", "of the density", OPTION_TEXT, &s.model, 0, 0},
        {"noise", "X", "standard deviation of what is added, in those of the columns", OPTION_NUMBER, &s.noise, 0, 10},
        {"steps", "N", "of Adam", OPTION_COUNT, &s.steps, 1, 1e9},
        {"batch", "N", "rows a step", OPTION_COUNT, &s.batch, 1, 1e6},
        {"lr", "X", "learning rate at first", OPTION_NUMBER, &s.lr, 1e-12, 10},
        {"show", "N", "outliers to list", OPTION_COUNT, &s.show, 0, 1e6},
        {"seed", "N", "same seed, same result", OPTION_COUNT, &s.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &s.threads, 0, 256}};
    options_read(argc, argv, "Learns the density of normal rows, and ranks the others by how unlikely they are.", rows,
                 sizeof rows / sizeof *rows);
    ad_error error = {0};
    bool *odd = NULL;
    data_table *x = read(&s, &odd, &error);
    if (!x) return wrong(error.message);
    int64_t normal = 0, n = 0, *learn = calloc((size_t)x->rows, sizeof *learn), kept = 0;
    for (int64_t r = 0; r < x->rows; r++) normal += !odd[r];
    for (int64_t r = 0; r < x->rows && n < llround((double)normal / 2); r++) {
        if (!odd[r]) learn[n++] = r;
    }
    standardise(x, learn, n);
    flow_model *model = flow_from_text(s.model, x->columns, 0, &error);
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)s.threads}, &error);
    scored *list = calloc((size_t)x->rows, sizeof *list);
    if (!model || !engine || !list || train(&s, model, x, learn, n, engine, &error) ||
        score(model, x, engine, list, &error)) {
        return wrong(error.message);
    }
    for (int64_t r = 0, i = 0; r < x->rows; r++) {
        bool learnt = i < n && learn[i] == r;
        i += learnt;
        if (!learnt) list[kept] = list[r], list[kept++].odd = odd[r];
    }
    printf("%lld rows learnt, %lld ranked, %lld of them odd\nAUROC %.4f\n", (long long)n, (long long)kept,
           (long long)(x->rows - normal), auroc(list, kept));
    for (int64_t i = 0; i < s.show && i < kept; i++) {
        printf("row %-8lld -log density %10.3f  %s\n", (long long)list[i].row, list[i].score,
               list[i].odd ? "odd" : "normal");
    }
    flow_model_free(model), data_table_free(x), ad_engine_free(engine), free(odd), free(learn), free(list);
    return 0;
}
