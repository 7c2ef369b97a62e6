// evaluate.c -- mean log-density of many rows under a model.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

optim_batch optim_batch_of(const flow_rows *rows, const int64_t *index) {
    optim_batch batch = {.x = rows->x, .context = rows->context, .weight = rows->weight};
    batch.x.index = batch.context.index = batch.weight.index = index;
    return batch;
}

enum { NOISE_STREAM = 0x6e6f6973 };  // apart from those of samplers

ad_var optim_record_log_prob(const flow_model *model, ad_tape *tape, const optim_batch *batch) {
    ad_rows set = ad_rows_new(tape, "data");
    ad_rows_set(set, batch->n, batch->first);
    int64_t C = flow_model_context(model);
    ad_var c = C ? ad_input(set, ad_shape1(C), &batch->context) : AD_NONE;
    ad_var x = ad_input(set, flow_model_shape(model), &batch->x);
    if (batch->noise > 0) {
        ad_var noise = ad_normal(set, flow_model_shape(model), batch->random, NOISE_STREAM);
        x = ad_add(x, ad_scale(noise, batch->noise));
    }
    return flow_log_prob(model, x, c);
}

ad_status optim_scorer_open(optim_scorer *scorer, const flow_model *model, const flow_rows *rows, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error) {
    *scorer = (optim_scorer){.model = model};
    ad_status status = flow_use_rows(&scorer->used, model, rows, error);
    if (status != AD_OK) return status;
    scorer->batch = batch <= 0 ? 4096 : batch;
    if (scorer->batch > scorer->used.n) scorer->batch = scorer->used.n;
    scorer->tape = ad_tape_new(engine, type);
    scorer->log_prob = calloc((size_t)scorer->batch, sizeof(double));
    scorer->index = calloc((size_t)scorer->batch, sizeof(int64_t));
    if (scorer->tape && scorer->log_prob && scorer->index) return AD_OK;
    return ad_fail(error, AD_ENOMEM, "out of memory for scoring batches of %lld rows", (long long)scorer->batch);
}

void optim_scorer_close(optim_scorer *scorer) {
    flow_used_rows_free(&scorer->used);
    ad_tape_free(scorer->tape);
    free(scorer->log_prob);
    free(scorer->index);
}

static ad_status run_batch(optim_scorer *s, int64_t first, int64_t n, ad_error *error) {
    const int64_t *index = s->used.rows.index;
    for (int64_t i = 0; i < n; i++) s->index[i] = index ? index[first + i] : first + i;
    optim_batch batch = optim_batch_of(&s->used.rows, s->index);
    batch.n = n;
    batch.first = first;  // random numbers of a row do not depend on the size of batches
    ad_tape_reset(s->tape);
    ad_var log_prob = ad_keep(optim_record_log_prob(s->model, s->tape, &batch));
    ad_status status = ad_run(s->tape);
    if (status == AD_OK) status = ad_read(log_prob, s->log_prob, n);
    return status == AD_OK ? AD_OK : ad_fail(error, status, "%s", ad_tape_message(s->tape));
}

static double weight_of(const ad_source *weight, int64_t row) {
    size_t size = ad_type_size(weight->type), stride = weight->row_stride ? weight->row_stride : size;
    const char *at = (const char *)weight->data + (size_t)row * stride;
    double d = 0;
    float f = 0;
    memcpy(weight->type == AD_F64 ? (void *)&d : (void *)&f, at, size);
    return weight->type == AD_F64 ? d : (double)f;
}

// Sums over rows of weight w and log-density d above an origin: the variance keeps its digits.
typedef struct sums {
    double w, wd, ww, wwd, wwdd, origin;
} sums;

static void add_batch(sums *s, const optim_scorer *scorer, int64_t n) {
    const ad_source *weight = &scorer->used.rows.weight;
    for (int64_t i = 0; i < n; i++) {
        double d = scorer->log_prob[i] - s->origin, w = weight->data ? weight_of(weight, scorer->index[i]) : 1;
        s->w += w;
        s->wd += w * d;
        s->ww += w * w;
        s->wwd += w * w * d;
        s->wwdd += w * w * d * d;
    }
}

ad_status optim_scorer_run(optim_scorer *s, double *mean, double *standard_error, ad_error *error) {
    sums sum = {0};
    double N = (double)s->used.n;
    for (int64_t first = 0; first < s->used.n; first += s->batch) {
        int64_t n = s->used.n - first < s->batch ? s->used.n - first : s->batch;
        ad_status status = run_batch(s, first, n, error);
        if (status != AD_OK) return status;
        if (first == 0 && isfinite(s->log_prob[0])) sum.origin = s->log_prob[0];
        add_batch(&sum, s, n);
    }
    double d = sum.wd / sum.w, squares = sum.wwdd - 2 * d * sum.wwd + d * d * sum.ww;  // of w (d_i - d)
    *mean = sum.origin + d;
    if (standard_error) *standard_error = N > 1 ? sqrt(fmax(squares, 0) * N / (N - 1)) / sum.w : NAN;
    return AD_OK;
}

// n may be NULL: rows that were scored.
static ad_status evaluate(const flow_model *model, const flow_rows *rows, int64_t batch, ad_engine *engine,
                          double mean_and_error[2], int64_t *n, ad_error *error) {
    optim_scorer scorer;
    int params;
    ad_param *const *first = flow_params(model, &params);
    ad_type type = params ? first[0]->type : AD_F64;
    ad_status status = optim_scorer_open(&scorer, model, rows, batch, engine, type, error);
    if (status == AD_OK) status = optim_scorer_run(&scorer, &mean_and_error[0], &mean_and_error[1], error);
    if (n) *n = scorer.used.n;
    optim_scorer_close(&scorer);
    return status;
}

ad_status optim_mean_log_prob(const flow_model *model, const flow_rows *rows, int64_t batch, ad_engine *engine,
                              double *mean, double *standard_error, ad_error *error) {
    double found[2];
    ad_status status = evaluate(model, rows, batch, engine, found, NULL, error);
    if (status == AD_OK) *mean = found[0];
    if (status == AD_OK && standard_error) *standard_error = found[1];
    return status;
}

ad_status optim_test_score(const flow_model *model, const flow_rows *rows, const optim_score_options *options,
                           optim_score *score, ad_error *error) {
    const optim_score_options o = options ? *options : (optim_score_options){.bin = 1};
    const double bin = o.bin == 0 ? 1 : o.bin, LN2 = 0.69314718055994530942;
    double found[2];
    int64_t n;
    *score = (optim_score){NAN, NAN, NAN, NAN, 0};
    if (!(bin > 0 && isfinite(bin))) return ad_fail(error, AD_EARG, "optim_test_score: bin %g, expected above 0", o.bin);
    ad_status status = evaluate(model, rows, o.batch, o.engine, found, &n, error);
    if (status != AD_OK) return status;
    const double D = (double)ad_shape_count(flow_model_shape(model));
    *score =
        (optim_score){found[0], found[1], -found[0] / (D * LN2) - log2(bin), found[1] / (D * LN2), n};
    return AD_OK;
}
