// posterior_read.c -- the data of each model: outcomes y, predictors X.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "posterior_models.h"

// ---------------------------------------------------------------------------------------------------------------

// Column k of X becomes what f makes of two variables (b NULL: one).
static ad_status column(posterior *p, const char *file, int64_t k, const char *a, double (*f)(double v),
                        ad_error *error) {
    int64_t n;
    double *v = posterior_read(file, a, &n, error);
    if (!v) return error->status;
    for (int64_t i = 0; i < n && i < p->N; i++) p->X[i * p->K + k] = f ? f(v[i]) : v[i];
    free(v);
    return n == p->N ? AD_OK : ad_fail(error, AD_EFORMAT, "%s: '%s' has %d numbers", file, a, (int)n);
}

static double is_2(double v) {
    return v == 2;
}
static double is_3(double v) {
    return v == 3;
}
static double is_4(double v) {
    return v == 4;
}

static ad_status outcome(posterior *p, const char *file, const char *name, int64_t K, ad_error *error) {
    p->K = K;
    p->y = posterior_read(file, name, &p->N, error);
    if (!p->y) return error->status;
    p->X = calloc((size_t)(p->N * K + 1), sizeof *p->X);
    if (!p->X) return ad_fail(error, AD_ENOMEM, "out of memory for data");
    for (int64_t i = 0; i < p->N && K > 0; i++) p->X[i * K] = 1;
    return AD_OK;
}

typedef struct predictor {
    const char *name;
    double (*f)(double v);
} predictor;

static ad_status predictors(posterior *p, const char *file, const predictor *list, ad_error *error) {
    ad_status status = AD_OK;
    for (int64_t k = 1; k < p->K && list[k - 1].name && status == AD_OK; k++) {
        status = column(p, file, k, list[k - 1].name, list[k - 1].f, error);
    }
    return status;
}

ad_status posterior_read_kidiq(posterior *p, const char *file, ad_error *error) {
    const predictor list[] = {{"mom_hs", NULL}, {"mom_iq", NULL}, {NULL, NULL}};
    ad_status status = outcome(p, file, "kid_score", 4, error);
    if (status == AD_OK) status = predictors(p, file, list, error);
    for (int64_t i = 0; i < p->N && status == AD_OK; i++) p->X[i * 4 + 3] = p->X[i * 4 + 1] * p->X[i * 4 + 2];
    return status;
}

ad_status posterior_read_nes(posterior *p, const char *file, ad_error *error) {
    const predictor list[] = {{"real_ideo", NULL},    {"race_adj", NULL},     {"age_discrete", is_2},
                              {"age_discrete", is_3}, {"age_discrete", is_4}, {"educ1", NULL},
                              {"gender", NULL},       {"income", NULL}};
    ad_status status = outcome(p, file, "partyid7", 9, error);
    return status == AD_OK ? predictors(p, file, list, error) : status;
}

ad_status posterior_read_mesquite(posterior *p, const char *file, ad_error *error) {
    const predictor list[] = {{"diam1", log},        {"diam2", log},   {"canopy_height", log},
                              {"total_height", log}, {"density", log}, {"group", NULL}};
    ad_status status = outcome(p, file, "weight", 7, error);
    for (int64_t i = 0; i < p->N && status == AD_OK; i++) p->y[i] = log(p->y[i]);
    return status == AD_OK ? predictors(p, file, list, error) : status;
}

ad_status posterior_read_blr(posterior *p, const char *file, ad_error *error) {
    int64_t n;
    ad_status status = outcome(p, file, "y", 5, error);
    if (status != AD_OK) return status;
    free(p->X);
    p->X = posterior_read(file, "X", &n, error);
    return p->X && n == p->N * 5 ? AD_OK : ad_fail(error, AD_EFORMAT, "%s: bad X", file);
}

// Each y beside the five before it.
ad_status posterior_read_ark(posterior *p, const char *file, ad_error *error) {
    ad_status status = outcome(p, file, "y", 6, error);
    if (status != AD_OK) return status;
    p->N -= 5;
    for (int64_t i = 0; i < p->N; i++) {
        for (int64_t k = 1; k < 6; k++) p->X[i * 6 + k] = p->y[i + 5 - k];
    }
    memmove(p->y, p->y + 5, (size_t)p->N * sizeof *p->y);
    return AD_OK;
}

ad_status posterior_read_garch(posterior *p, const char *file, ad_error *error) {
    int64_t n;
    ad_status status = outcome(p, file, "y", 0, error);
    double *first = status == AD_OK ? posterior_read(file, "sigma1", &n, error) : NULL;
    if (!first) return error->status;
    p->first = *first;
    free(first);
    return p->N <= 512 ? AD_OK : ad_fail(error, AD_EFORMAT, "%s: too long a series", file);
}

ad_status posterior_read_mixture(posterior *p, const char *file, ad_error *error) {
    return outcome(p, file, "y", 0, error);
}

ad_status posterior_read_logistic(posterior *p, const char *file, ad_error *error) {
    data_table *table = data_read(file, error);
    if (!table) return error->status;
    p->N = table->rows, p->K = table->columns - 1;
    p->X = calloc((size_t)(p->N * p->K), sizeof *p->X);
    for (int64_t i = 0; i < p->N && p->X; i++) {
        double sign = data_get(table, i, p->K) > 0.5 ? 1 : -1;
        for (int64_t k = 0; k < p->K; k++) p->X[i * p->K + k] = sign * data_get(table, i, k);
    }
    data_table_free(table);
    return p->X ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for data");
}
