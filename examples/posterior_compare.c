// posterior_compare.c -- means and standard deviations, of draws and of summaries.
#include <math.h>
#include <string.h>

#include "posterior_models.h"

void posterior_moments(const double *log_weight, const double *v, double *work, int64_t n, double *mean, double *sd) {
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
bool posterior_look_up(FILE *summary, const char *name, double *mean, double *sd) {
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
