// evaluate.c -- mean log-density of many rows under a model.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

int64_t optim_rows_count(const flow_model *model, const flow_rows *rows, ad_error *error) {
    int64_t n = rows->index ? rows->n : rows->x.count, C = flow_model_context(model);
    if (!rows->x.data || n < 1) {
        ad_fail(error, AD_EARG, "rows: no data");
    } else if (rows->x.index || rows->context.index) {
        ad_fail(error, AD_EARG, "rows: x.index and context.index must be NULL; flow_rows.index picks rows");
    } else if (C > 0 && (!rows->context.data || rows->context.count < rows->x.count)) {
        ad_fail(error, AD_EARG, "rows: the model takes a context of %lld features, given for %lld of %lld rows",
                (long long)C, rows->context.data ? (long long)rows->context.count : 0, (long long)rows->x.count);
    } else {
        return n;
    }
    return 0;
}

ad_var optim_record_log_prob(const flow_model *model, ad_tape *tape, const ad_source *x, const ad_source *context,
                             int64_t n) {
    ad_rows set = ad_rows_new(tape, "data");
    ad_rows_set(set, n, 0);
    int64_t C = flow_model_context(model);
    ad_var c = C ? ad_input(set, ad_shape1(C), context) : AD_NONE;
    return flow_log_prob(model, ad_input(set, flow_model_shape(model), x), c);
}

ad_status optim_scorer_open(optim_scorer *scorer, const flow_model *model, const flow_rows *rows, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error) {
    *scorer = (optim_scorer){.model = model, .rows = rows, .x = rows->x, .context = rows->context};
    scorer->count = optim_rows_count(model, rows, error);
    if (scorer->count == 0) return AD_EARG;
    scorer->batch = batch <= 0 ? 4096 : batch;
    if (scorer->batch > scorer->count) scorer->batch = scorer->count;
    scorer->tape = ad_tape_new(engine, type);
    scorer->log_prob = calloc((size_t)scorer->batch, sizeof(double));
    scorer->index = calloc((size_t)scorer->batch, sizeof(int64_t));
    scorer->x.index = scorer->context.index = scorer->index;
    if (scorer->tape && scorer->log_prob && scorer->index) return AD_OK;
    return ad_fail(error, AD_ENOMEM, "out of memory for scoring batches of %lld rows", (long long)scorer->batch);
}

void optim_scorer_close(optim_scorer *scorer) {
    ad_tape_free(scorer->tape);
    free(scorer->log_prob);
    free(scorer->index);
}

static ad_status run_batch(optim_scorer *s, int64_t first, int64_t n, ad_error *error) {
    for (int64_t i = 0; i < n; i++) s->index[i] = s->rows->index ? s->rows->index[first + i] : first + i;
    ad_tape_reset(s->tape);
    ad_var log_prob = ad_keep(optim_record_log_prob(s->model, s->tape, &s->x, &s->context, n));
    ad_status status = ad_run(s->tape);
    if (status == AD_OK) status = ad_read(log_prob, s->log_prob, n);
    return status == AD_OK ? AD_OK : ad_fail(error, status, "%s", ad_tape_message(s->tape));
}

// Sums of differences to the first value: the variance keeps its digits.
ad_status optim_scorer_run(optim_scorer *s, double *mean, double *standard_error, ad_error *error) {
    double sum = 0, squares = 0, origin = 0, N = (double)s->count;
    for (int64_t first = 0; first < s->count; first += s->batch) {
        int64_t n = s->count - first < s->batch ? s->count - first : s->batch;
        ad_status status = run_batch(s, first, n, error);
        if (status != AD_OK) return status;
        if (first == 0 && isfinite(s->log_prob[0])) origin = s->log_prob[0];
        for (int64_t i = 0; i < n; i++) {
            double d = s->log_prob[i] - origin;
            sum += d;
            squares += d * d;
        }
    }
    *mean = origin + sum / N;
    double variance = (squares - sum * sum / N) / (N - 1);
    if (standard_error) *standard_error = s->count > 1 ? sqrt(fmax(variance, 0) / N) : NAN;
    return AD_OK;
}

ad_status optim_mean_log_prob(const flow_model *model, const flow_rows *rows, int64_t batch, ad_engine *engine,
                              double *mean, double *standard_error, ad_error *error) {
    optim_scorer scorer;
    int n;
    ad_param *const *params = flow_params(model, &n);
    ad_type type = n ? params[0]->type : AD_F64;
    ad_status status = optim_scorer_open(&scorer, model, rows, batch, engine, type, error);
    if (status == AD_OK) status = optim_scorer_run(&scorer, mean, standard_error, error);
    optim_scorer_close(&scorer);
    return status;
}
