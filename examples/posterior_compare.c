// posterior_compare.c -- means and standard deviations, of draws and of summaries.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "posterior_models.h"

// Of v [n] under weights, equal ones for log_weight NULL. work [n] is written to.
static void moments(const double *log_weight, const double *v, double *work, int64_t n, double *mean, double *sd) {
    double square;
    for (int64_t i = 0; i < n && !log_weight; i++) work[i] = 0;
    optim_expectation(log_weight ? log_weight : work, v, n, mean, NULL, NULL);
    double sum = 0, top = -INFINITY;
    for (int64_t i = 0; i < n && log_weight; i++) top = fmax(top, log_weight[i]);
    square = 0;
    for (int64_t i = 0; i < n; i++) {
        const double w = log_weight ? exp(log_weight[i] - top) : 1;
        sum += w;
        square += w * (v[i] - *mean) * (v[i] - *mean);
    }
    *sd = sqrt(square / sum);
}

// Mean and sd of a quantity in a summary: lines "NAME,MEAN,SD,...".
static bool look_up(FILE *summary, const char *name, double *mean, double *sd) {
    char line[512];
    for (rewind(summary); fgets(line, sizeof line, summary);) {
        const size_t length = strlen(name);
        if (strncmp(line, name, length) == 0 && line[length] == ',' &&
            sscanf(line + length, ",%lf,%lf", mean, sd) == 2) {
            return true;
        }
    }
    return false;
}

static ad_status print(const posterior *p, const double *q, const double *log_w, double *work,
                       const posterior_comparison *with, ad_error *error) {
    double worst[4] = {0};
    FILE *summary = with->reference ? fopen(with->reference, "r") : NULL;
    if (with->reference && !summary) return ad_fail(error, AD_EIO, "%s: cannot be read", with->reference);
    for (int64_t k = 0; k < p->n; k++) {
        double m, s, mw, sw, mr, sr;
        moments(NULL, q + k * with->n, work, with->n, &m, &s);
        moments(log_w, q + k * with->n, work, with->n, &mw, &sw);
        printf("%-10s mean %10.4f sd %9.4f, weighted %10.4f %9.4f", p->names[k], m, s, mw, sw);
        bool known = summary && look_up(summary, p->names[k], &mr, &sr);
        if (known) printf(", reference %10.4f %9.4f", mr, sr);
        printf("\n");
        if (!known) continue;
        worst[0] = fmax(worst[0], fabs(m - mr) / sr), worst[1] = fmax(worst[1], fabs(log(s / sr)));
        worst[2] = fmax(worst[2], fabs(mw - mr) / sr), worst[3] = fmax(worst[3], fabs(log(sw / sr)));
    }
    if (summary)
        printf("largest error of means %.4f sd, of sds %.4f; weighted %.4f, %.4f\n", worst[0], worst[1], worst[2],
               worst[3]);
    if (summary) fclose(summary);
    return AD_OK;
}

ad_status posterior_compare(const posterior *p, const flow_model *model, const posterior_comparison *with,
                            ad_error *error) {
    const int64_t N = with->n, D = ad_shape_count(flow_model_shape(model));
    double *x = malloc((size_t)(N * (D + p->n + 2)) * sizeof *x), row[POSTERIOR_NAMES];
    if (!x) return ad_fail(error, AD_ENOMEM, "out of memory for draws");
    double *q = x + N * D, *log_w = q + N * p->n, *work = log_w + N;
    const optim_drawing how = {.n = N, .x = x, .log_weight = log_w, .seed = with->seed, .engine = with->engine};
    ad_status status = optim_draws(model, &p->target, &how, error);
    for (int64_t i = 0; i < N && status == AD_OK; i++) {
        p->quantities(p, x + i * D, row);
        for (int64_t k = 0; k < p->n; k++) q[k * N + i] = row[k];
    }
    if (status == AD_OK) status = print(p, q, log_w, work, with, error);
    if (status == AD_OK && with->picture) status = posterior_picture(p, q, with, error);
    free(x);
    return status;
}
