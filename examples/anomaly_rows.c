// anomaly_rows.c -- rows with labels: reading, ranking, a picture of their scores.
#include "anomaly_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"

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

// The first half of the normal rows; all without labels.
static ad_status choose(anomaly_rows *a, ad_error *error) {
    const int64_t rows = a->x->rows;
    a->learn = calloc((size_t)rows, sizeof *a->learn);
    if (!a->learn) return ad_fail(error, AD_ENOMEM, "out of memory");
    for (int64_t r = 0; r < rows; r++) a->odds += a->odd[r];
    const int64_t want = a->labelled ? llround((double)(rows - a->odds) / 2) : rows;
    for (int64_t r = 0; r < rows && a->n < want; r++) {
        if (!a->odd[r]) a->learn[a->n++] = r;
    }
    standardise(a->x, a->learn, a->n);
    return AD_OK;
}

static ad_status make(anomaly_rows *a, ad_error *error) {
    enum { MOONS = 3000, ROWS = 3150 };
    a->x = data_table_new(DATA_F32, ROWS, 2, error), a->odd = calloc(ROWS, sizeof *a->odd);
    if (!a->x || !a->odd) return ad_fail(error, AD_ENOMEM, "out of memory");
    const data_density *moons = data_find_density("moons"), *noise = data_find_density("gaussian");
    for (int64_t i = 0; i < ROWS; i++) {
        double v[2];
        (i < MOONS ? moons : noise)->sample(1, 1, i, v);
        a->odd[i] = i >= MOONS;
        for (int k = 0; k < 2; k++)
            ((float *)data_values(a->x))[2 * i + k] = (float)(a->odd[i] ? 2 * (k + 1) * v[k] : v[k]);
    }
    return AD_OK;
}

static ad_status read(anomaly_rows *a, const char *file, bool none, ad_error *error) {
    const size_t n = strlen(file);
    const bool npz = n > 4 && strcmp(file + n - 4, ".npz") == 0;
    data_table *table = npz ? data_read_npz(file, "X", error) : data_read(file, error);
    data_table *labels = npz && table && !none ? data_read_npz(file, "y", error) : table;
    ad_status status = table && labels ? AD_OK : error->status;
    const int64_t D = !table ? 0 : npz || none ? table->columns : table->columns - 1;
    if (status == AD_OK && (D < 1 || labels->rows != table->rows))
        status = ad_fail(error, AD_EFORMAT, "%s: expected features, and a label for each row", file);
    if (status == AD_OK) a->x = data_table_new(DATA_F32, table->rows, D, error);
    if (status == AD_OK) a->odd = calloc((size_t)table->rows, sizeof *a->odd);
    if (status == AD_OK && (!a->x || !a->odd)) status = ad_fail(error, AD_ENOMEM, "%s: out of memory", file);
    if (status == AD_OK) status = data_gather(table, NULL, table->rows, 0, D, AD_F32, data_values(a->x), error);
    for (int64_t r = 0; status == AD_OK && !none && r < table->rows; r++)
        a->odd[r] = data_get(labels, r, labels->columns - 1) > 0.5;
    if (labels != table) data_table_free(labels);
    data_table_free(table);
    return status;
}

ad_status anomaly_read(anomaly_rows *rows, const char *file, bool none, ad_error *error) {
    *rows = (anomaly_rows){.labelled = !none};
    ad_status status = file ? read(rows, file, none, error) : make(rows, error);
    return status == AD_OK ? choose(rows, error) : status;
}

void anomaly_free(anomaly_rows *rows) {
    data_table_free(rows->x);
    free(rows->odd), free(rows->learn);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double anomaly_spacing(const anomaly_rows *a) {
    enum { SOME = 200, NEAR = 5 };
    const float *v = a->x->values;
    const int64_t D = a->x->columns, *learn = a->learn, n = a->n;
    double found[SOME];
    int64_t m = 0, differ = 0;
    for (int64_t c = 0; c < D; c++) {
        bool same = true;
        for (int64_t i = 1; i < n && same; i++) same = v[learn[i] * D + c] == v[learn[0] * D + c];
        differ += !same;
    }
    for (int64_t i = 0; i < n && m < SOME; i += n < SOME ? 1 : n / SOME) {
        double near[NEAR + 1] = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};  // itself among them
        for (int64_t j = 0; j < n; j++) {
            double squares = 0;
            for (int64_t c = 0; c < D; c++) squares += pow((double)(v[learn[i] * D + c] - v[learn[j] * D + c]), 2);
            if (squares >= near[NEAR]) continue;
            near[NEAR] = squares;
            for (int k = NEAR; k > 0 && near[k] < near[k - 1]; k--) {
                const double swap = near[k];
                near[k] = near[k - 1], near[k - 1] = swap;
            }
        }
        found[m++] = sqrt(near[NEAR] / (double)(differ ? differ : 1));
    }
    qsort(found, (size_t)m, sizeof *found, ascending);
    return m && isfinite(found[m / 2]) ? found[m / 2] : 0;
}

static int descending(const void *a, const void *b) {
    const scored *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

double anomaly_rank(scored *s, int64_t n) {
    qsort(s, (size_t)n, sizeof *s, descending);
    double pairs = 0, odd = 0, normal = 0;
    for (int64_t i = 0; i < n;) {
        int64_t j = i, o = 0;
        for (; j < n && s[j].score == s[i].score; j++) o += s[j].odd;
        double here = (double)(j - i - o);
        pairs += here * (odd + 0.5 * (double)o);
        odd += (double)o, normal += here;
        i = j;
    }
    return pairs / (odd * normal);
}

ad_status anomaly_draw(const char *file, const scored *s, int64_t n, ad_error *error) {
#ifdef EXAMPLES_CAIRO
    static const char *const name = "−log density (nats)";
    double *v = malloc((size_t)n * sizeof *v);
    if (!v) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    int64_t normal = 0, odd = 0;
    for (int64_t i = 0; i < n; i++) v[s[i].odd ? n - ++odd : normal++] = s[i].score;
    const corner_set dots = {"normal rows", v, normal}, lines = {"odd rows", v + normal, odd};
    const char *wrong = columns_draw(file, &name, 1, normal ? &dots : NULL, odd ? &lines : NULL, NULL);
    free(v);
    if (wrong) return ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong);
#else
    (void)file, (void)s, (void)n, (void)error;
#endif
    return AD_OK;
}
