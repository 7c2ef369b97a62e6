// regression.c -- regression problems: files, splits, the linear baseline.
#include "regression.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const double tau = 6.283185307179586;

// ---- files -------------------------------------------------------------------------------------------------------

// Whole numbers, one a line, each below most. NULL on error.
static int64_t *read_numbers(const char *folder, const char *name, int64_t k, int64_t most, int64_t *n,
                             ad_error *error) {
    char path[1024], file[64];
    snprintf(file, sizeof file, name, (long long)k);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    data_table *table = data_read(path, error);
    int64_t *v = table ? malloc((size_t)table->rows * sizeof *v) : NULL;
    if (table && !v) ad_fail(error, AD_ENOMEM, "%s: out of memory", path);
    *n = table ? table->rows : 0;
    for (int64_t i = 0; v && i < *n; i++) {
        double at = data_get(table, i, 0);
        if (at >= 0 && at < (double)most) {
            v[i] = (int64_t)at;
            continue;
        }
        ad_fail(error, AD_EFORMAT, "%s: %g, expected a number from 0 to %lld", path, at, (long long)most - 1);
        free(v), v = NULL;
    }
    data_table_free(table);
    return v;
}

static data_table *pick(const data_table *from, const int64_t *columns, int64_t n, ad_error *error) {
    data_table *to = data_table_new(DATA_F64, from->rows, n, error);
    for (int64_t i = 0; to && i < from->rows * n; i++)
        ((double *)data_values(to))[i] = data_get(from, i / n, columns[i % n]);
    return to;
}

static ad_status read_folder(regression *r, const char *folder, const char *splits, ad_error *error) {
    char path[1024];
    snprintf(path, sizeof path, "%s/data.txt", folder);
    data_table *all = data_read(path, error);
    int64_t C = 0, one = 0;
    int64_t *features = all ? read_numbers(folder, "index_features.txt", 0, all->columns, &C, error) : NULL;
    int64_t *target = features ? read_numbers(folder, "index_target.txt", 0, all->columns, &one, error) : NULL;
    if (target) r->x = pick(all, features, C, error);
    if (r->x) r->y = pick(all, target, 1, error);
    free(features), free(target);
    data_table_free(all);
    if (!r->y) return error->status;
    r->folder = splits ? splits : folder;
    for (FILE *f; snprintf(path, sizeof path, "%s/index_train_%lld.txt", r->folder, (long long)r->splits) &&
                  (f = fopen(path, "r"));
         r->splits++) {
        fclose(f);
    }
    return r->splits ? AD_OK : ad_fail(error, AD_EIO, "%s: could not be opened: unpack splits.tar.gz", path);
}

static ad_status make(regression *r, ad_error *error) {
    enum { ROWS = 3000 };
    const data_density *noise = data_find_density("gaussian");  // of deviations 1 and 1/2
    r->x = data_table_new(DATA_F64, ROWS, 1, error), r->y = data_table_new(DATA_F64, ROWS, 1, error);
    r->truth = malloc(ROWS * sizeof *r->truth);
    if (!r->x || !r->y || !r->truth) return ad_fail(error, AD_ENOMEM, "out of memory");
    double *x = data_values(r->x), *y = data_values(r->y), n[4];
    for (int64_t i = 0; i < ROWS; i++) {
        noise->sample(2, 1, 2 * i, n);
        x[i] = 3 * erf(n[0] / sqrt(2));
        const double mean = (1 + sin(x[i])) / 2, sd = 0.05 * (1 + fabs(x[i]));
        y[i] = (n[1] > 0 ? mean : -mean) + sd * n[2];
        const double a = (y[i] - mean) / sd, b = (y[i] + mean) / sd;
        r->truth[i] = log((exp(-a * a / 2) + exp(-b * b / 2)) / (2 * sd * sqrt(tau)));
    }
    r->splits = 1;
    return AD_OK;
}

ad_status regression_open(regression *r, const char *folder, const char *splits, ad_error *error) {
    *r = (regression){0};
    return folder ? read_folder(r, folder, splits, error) : make(r, error);
}

void regression_close(regression *r) {
    data_table_free(r->x), data_table_free(r->y);
    free(r->truth);
}

data_split *regression_split(const regression *r, int64_t k, ad_error *error) {
    if (!r->folder) return data_split_new(r->y->rows, 0, 0.2, 1, error);
    data_split s = {0}, *split = NULL;
    s.train = read_numbers(r->folder, "index_train_%lld.txt", k, r->y->rows, &s.n_train, error);
    if (s.train) s.test = read_numbers(r->folder, "index_test_%lld.txt", k, r->y->rows, &s.n_test, error);
    if (s.test) split = data_split_given(r->y->rows, &s, error);
    free(s.train), free(s.test);
    return split;
}

// ---- numbers -----------------------------------------------------------------------------------------------------

data_table *regression_inputs(const regression *r, const data_split *s, ad_error *error) {
    const int64_t C = r->x->columns;
    data_table *out = data_table_new(DATA_F32, r->x->rows, C, error);
    for (int64_t c = 0; out && c < C; c++) {
        double mean = 0, squares = 0;
        for (int64_t i = 0; i < s->n_train; i++) mean += data_get(r->x, s->train[i], c) / (double)s->n_train;
        for (int64_t i = 0; i < s->n_train; i++)
            squares += pow(data_get(r->x, s->train[i], c) - mean, 2) / (double)s->n_train;
        const double scale = squares > 0 ? 1 / sqrt(squares) : 0;
        float *v = (float *)data_values(out) + c;
        for (int64_t i = 0; i < r->x->rows; i++) v[i * C] = (float)((data_get(r->x, i, c) - mean) * scale);
    }
    return out;
}

// Solves A w = b for a symmetric positive definite A [n][n] by elimination; both are overwritten, b by w.
static void solve(double *A, double *b, int64_t n) {
    for (int64_t k = 0; k < n; k++) {
        for (int64_t i = k + 1; i < n; i++) {
            const double f = A[i * n + k] / A[k * n + k];
            for (int64_t j = k; j < n; j++) A[i * n + j] -= f * A[k * n + j];
            b[i] -= f * b[k];
        }
    }
    for (int64_t k = n - 1; k >= 0; k--) {
        for (int64_t j = k + 1; j < n; j++) b[k] -= A[k * n + j] * b[j];
        b[k] /= A[k * n + k];
    }
}

static double predict(const data_table *inputs, const double *w, int64_t row) {
    double sum = w[inputs->columns];
    for (int64_t c = 0; c < inputs->columns; c++) sum += w[c] * data_get(inputs, row, c);
    return sum;
}

double regression_linear(const regression *r, const data_table *inputs, const data_split *s) {
    const int64_t C = inputs->columns, n = C + 1;
    double *A = calloc((size_t)(n * n + n), sizeof *A), *w = A ? A + n * n : NULL, variance = 0, mean = NAN;
    for (int64_t i = 0; A && i < s->n_train; i++) {
        const double y = data_get(r->y, s->train[i], 0);
        for (int64_t a = 0; a < n; a++) {
            const double x = a < C ? data_get(inputs, s->train[i], a) : 1;
            for (int64_t b = 0; b < n; b++) A[a * n + b] += x * (b < C ? data_get(inputs, s->train[i], b) : 1);
            w[a] += x * y;
        }
    }
    for (int64_t a = 0; A && a < n; a++) A[a * n + a] += 1e-6 * (double)s->n_train;  // for columns that repeat others
    if (A) solve(A, w, n), mean = 0;
    for (int64_t i = 0; A && i < s->n_train; i++)
        variance += pow(data_get(r->y, s->train[i], 0) - predict(inputs, w, s->train[i]), 2) / (double)s->n_train;
    for (int64_t i = 0; A && i < s->n_test; i++) {
        const double e = data_get(r->y, s->test[i], 0) - predict(inputs, w, s->test[i]);
        mean -= (log(tau * variance) + e * e / variance) / 2 / (double)s->n_test;
    }
    free(A);
    return mean;
}
