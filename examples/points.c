// points.c -- where points come from, and what a model says about them.
#include "points.h"

#include <math.h>
#include <math.h>
#include <stdlib.h>

enum { VALID = 10000, FEWEST = 50, BATCH = 4096 };

// ---- parts -------------------------------------------------------------------------------------------------------

ad_status points_of_moons(points *p, int64_t n_train, int64_t n_test, uint64_t seed, ad_error *error) {
    const int64_t rows = n_train + VALID + n_test;
    *p = (points){.n_train = n_train, .n_valid = VALID, .n_test = n_test};
    p->table = data_density_table(data_find_density("moons"), AD_F64, rows, seed, error);
    if (!p->table) return error->status;
    p->order = malloc((size_t)rows * sizeof *p->order);
    if (!p->order) return ad_fail(error, AD_ENOMEM, "out of memory for %lld points", (long long)rows);
    for (int64_t i = 0; i < rows; i++) p->order[i] = i;
    return AD_OK;
}

ad_status points_of_file(points *p, const char *file, bool test_only, uint64_t seed, ad_error *error) {
    *p = (points){.table = data_read(file, error)};
    if (p->table && !data_in_place(p->table)) {  // integers, say
        data_table *stored = p->table;
        p->table = data_convert(stored, AD_F64, error);
        data_table_free(stored);
    }
    if (!p->table) return error->status;
    const int64_t rows = p->table->rows;
    if (p->table->columns != 2) {
        return ad_fail(error, AD_EFORMAT, "%s: expected two columns, found %lld", file, (long long)p->table->columns);
    }
    if (rows < (test_only ? 1 : FEWEST)) {
        return ad_fail(error, AD_EFORMAT, "%s: expected at least %d rows, found %lld", file, test_only ? 1 : FEWEST,
                       (long long)rows);
    }
    ad_error inner = {0};
    if (data_check_finite(p->table, &inner) != AD_OK)
        return ad_fail(error, inner.status, "%s: %s", file, inner.message);
    p->order = malloc((size_t)rows * sizeof *p->order);
    if (!p->order) return ad_fail(error, AD_ENOMEM, "out of memory for %lld points", (long long)rows);
    p->n_valid = p->n_test = rows / 10;
    if (test_only) p->n_valid = 0, p->n_test = rows;
    p->n_train = rows - p->n_valid - p->n_test;
    const data_batches all = {.count = rows, .size = rows, .seed = seed, .in_order = test_only};
    data_batch(&all, 0, 0, p->order);
    return AD_OK;
}

void points_free(points *p) {
    data_table_free(p->table);
    free(p->order);
}

static flow_rows part(const points *p, int64_t first, int64_t n) {
    return (flow_rows){.x = data_source(p->table, 0, NULL), .index = p->order + first, .n = n};
}

flow_rows points_train(const points *p) {
    return part(p, 0, p->n_train);
}
flow_rows points_valid(const points *p) {
    return part(p, p->n_train, p->n_valid);
}

double *points_test(const points *p) {
    double *xy = malloc((size_t)p->n_test * 2 * sizeof *xy);
    for (int64_t i = 0; xy && i < 2 * p->n_test; i++) {
        xy[i] = data_get(p->table, p->order[p->n_train + p->n_valid + i / 2], i % 2);
    }
    return xy;
}

// ---- models ------------------------------------------------------------------------------------------------------

// Log-densities of a model, or, where there is none, of a known density (normalised).
static ad_status score(const flow_model *model, const data_density *density, ad_engine *engine, const double *xy,
                       int64_t n, double *log_p, ad_error *error) {
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "out of memory for a tape");
    for (int64_t first = 0; first < n && ad_tape_status(tape) == AD_OK; first += BATCH) {
        const int64_t count = n - first < BATCH ? n - first : BATCH;
        ad_tape_reset(tape);
        ad_rows rows = ad_rows_new(tape, "points");
        ad_rows_set(rows, count, first);
        ad_source source = {.data = xy + 2 * first, .type = AD_F64, .count = count};
        ad_var x = ad_input(rows, ad_shape1(2), &source);
        ad_var p = ad_keep(model ? flow_log_prob(model, x, AD_NONE)
                                 : ad_offset(density->log_prob(x), -density->log_normaliser));
        if (ad_run(tape) == AD_OK) ad_read(p, log_p + first, count);
    }
    ad_status status = ad_tape_status(tape);
    if (status != AD_OK) ad_fail(error, status, "scoring: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

flow_model *points_model(const char *file, ad_error *error) {
    flow_model *model = flow_load(file, NULL, error);
    if (!model || (ad_shape_equal(flow_model_shape(model), ad_shape1(2)) && flow_model_context(model) == 0))
        return model;
    ad_fail(error, AD_ESHAPE, "%s: not a model of points of the plane", file);
    return flow_model_free(model), NULL;
}

void points_average(const double *log_p, int64_t n, double *nll, double *standard_error) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum -= log_p[i];
    *nll = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (log_p[i] + *nll) * (log_p[i] + *nll);
    *standard_error = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : NAN;
}

ad_status points_score(const flow_model *model, ad_engine *engine, const double *xy, int64_t n, double *log_p,
                       ad_error *error) {
    return score(model, NULL, engine, xy, n, log_p, error);
}

ad_status points_truth(const data_density *density, ad_engine *engine, const double *xy, int64_t n, double *log_p,
                       ad_error *error) {
    return score(NULL, density, engine, xy, n, log_p, error);
}

ad_status points_sample(const flow_model *model, ad_engine *engine, uint64_t seed, int64_t n, double *xy,
                        ad_error *error) {
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "out of memory for a tape");
    ad_random random = {.seed = seed};
    ad_rows rows = ad_rows_new(tape, "samples");
    ad_rows_set(rows, n, 0);
    ad_var x = ad_keep(flow_sample(model, rows, &random, 0, AD_NONE));
    if (ad_run(tape) == AD_OK) ad_read(x, xy, 2 * n);
    ad_status status = ad_tape_status(tape);
    if (status != AD_OK) ad_fail(error, status, "sampling: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

// x from z, or x from x by way of z.
static ad_status map(const flow_model *model, ad_engine *engine, const double *in, int64_t n, bool both, double *out,
                     ad_error *error) {
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "out of memory for a tape");
    for (int64_t first = 0; first < n && ad_tape_status(tape) == AD_OK; first += BATCH) {
        const int64_t count = n - first < BATCH ? n - first : BATCH;
        ad_tape_reset(tape);
        ad_rows rows = ad_rows_new(tape, "points");
        ad_rows_set(rows, count, first);
        ad_source source = {.data = in + 2 * first, .type = AD_F64, .count = count};
        ad_var z = ad_input(rows, ad_shape1(2), &source);
        if (both) z = flow_normalize(model, z, AD_NONE).value;
        ad_var x = ad_keep(flow_generate(model, z, AD_NONE).value);
        if (ad_run(tape) == AD_OK) ad_read(x, out + 2 * first, 2 * count);
    }
    ad_status status = ad_tape_status(tape);
    if (status != AD_OK) ad_fail(error, status, "generating: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

ad_status points_generate(const flow_model *model, ad_engine *engine, const double *z, int64_t n, double *x,
                          ad_error *error) {
    return map(model, engine, z, n, false, x, error);
}

ad_status points_round_trip(const flow_model *model, ad_engine *engine, const double *xy, int64_t n, double *largest,
                            ad_error *error) {
    double *back = malloc((size_t)n * 2 * sizeof *back);
    if (!back) return ad_fail(error, AD_ENOMEM, "out of memory for %lld points", (long long)n);
    ad_status status = map(model, engine, xy, n, true, back, error);
    *largest = 0;
    for (int64_t i = 0; i < 2 * n; i++) {
        const double off = fabs(xy[i] - back[i]);
        *largest = isnan(off) ? INFINITY : fmax(*largest, off);
    }
    free(back);
    return status;
}
