// importance.c -- how well draws of a model stand for a target: what their importance weights say.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

static double largest(const double *v, int64_t n) {
    double most = -INFINITY;
    for (int64_t i = 0; i < n; i++) most = fmax(most, v[i]);
    return most;
}

static ad_status check(const char *who, const double *log_weight, int64_t n, ad_error *error) {
    if (n < 1) return ad_fail(error, AD_EARG, "%s: %lld weights; expected 1 or more", who, (long long)n);
    for (int64_t i = 0; i < n; i++) {
        if (isnan(log_weight[i]) || log_weight[i] == INFINITY) {
            return ad_fail(error, AD_ENONFINITE, "%s: log-weight %lld is %g", who, (long long)i, log_weight[i]);
        }
    }
    if (largest(log_weight, n) > -INFINITY) return AD_OK;
    return ad_fail(error, AD_ENONFINITE, "%s: all %lld weights are 0", who, (long long)n);
}

// ---- Pareto tail ----------------------------------------------------------------------------------------------------

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Shape and scale of a generalised Pareto distribution fitted to n sorted excesses above 0: the posterior mean of Zhang
// and Stephens 2009, whose prior and number of quadrature points these are.
static void fit_pareto(const double *x, int64_t n, double *shape, double *scale) {
    enum { MOST = 1000 };
    double theta[MOST], profile[MOST];
    const int points = (int)fmin(30 + floor(sqrt((double)n)), MOST);
    const double quartile = x[(int64_t)floor((double)n / 4 + 0.5) - 1], N = (double)n;
    for (int j = 0; j < points; j++) {
        theta[j] = 1 / x[n - 1] + (1 - sqrt(points / (j + 0.5))) / (3 * quartile);
        double k = 0;
        for (int64_t i = 0; i < n; i++) k += log1p(-theta[j] * x[i]);
        k /= N;
        profile[j] = N * (log(-theta[j] / k) - k - 1);
    }
    double mean = 0;
    for (int j = 0; j < points; j++) {
        double sum = 0;
        for (int i = 0; i < points; i++) sum += exp(profile[i] - profile[j]);
        mean += theta[j] / sum;
    }
    double k = 0;
    for (int64_t i = 0; i < n; i++) k += log1p(-mean * x[i]);
    k /= N;
    *shape = k;
    *scale = -k / mean;
}

// k-hat (Vehtari et al. 2024, with their weak prior towards 0.5): of the M largest of n sorted weights, whose largest
// is 1. Fewer than 5 in the tail, or a tail of equal weights, say nothing: infinity and minus infinity.
static double pareto_k(const double *weight, int64_t n) {
    const int64_t tail = (int64_t)ceil(fmin(0.2 * (double)n, 3 * sqrt((double)n)));
    if (tail < 5 || tail >= n) return INFINITY;
    const double cut = weight[n - tail - 1];
    if (weight[n - 1] - cut <= 1e-12) return -INFINITY;
    double *excess = malloc((size_t)tail * sizeof *excess);
    if (!excess) return NAN;
    for (int64_t i = 0; i < tail; i++) excess[i] = fmax(weight[n - tail + i] - cut, 1e-300);
    double k, scale;
    fit_pareto(excess, tail, &k, &scale);
    free(excess);
    return k * (double)tail / ((double)tail + 10) + 0.5 * 10 / ((double)tail + 10);
}

// ---- summary --------------------------------------------------------------------------------------------------------

// Share of proposals that a Metropolis chain accepts which is offered the draws in their order.
static double acceptance(const double *log_weight, int64_t n, uint64_t seed) {
    int64_t accepted = 0, at = 0;
    for (int64_t i = 1; i < n; i++) {
        double u = optim_uniform(&seed);
        if (log_weight[at] > -INFINITY && !(log(u) < log_weight[i] - log_weight[at])) continue;
        at = i;
        accepted++;
    }
    return n > 1 ? (double)accepted / (double)(n - 1) : NAN;
}

ad_status optim_importance_of(const double *log_weight, int64_t n, uint64_t seed, optim_importance *out,
                              ad_error *error) {
    ad_status status = check("importance", log_weight, n, error);
    double *weight = status == AD_OK ? malloc((size_t)n * sizeof *weight) : NULL;
    if (status == AD_OK && !weight)
        status = ad_fail(error, AD_ENOMEM, "importance: out of memory for %lld weights", (long long)n);
    if (status != AD_OK) return status;
    const double N = (double)n, top = largest(log_weight, n);
    double sum = 0, squares = 0, logs = 0, spread = 0, deviation = 0;
    *out = (optim_importance){.n = n};
    for (int64_t i = 0; i < n; i++) {
        weight[i] = exp(log_weight[i] - top);
        sum += weight[i];
        squares += weight[i] * weight[i];
        logs += log_weight[i];
        out->zeros += log_weight[i] == -INFINITY;
    }
    out->elbo = logs / N;
    for (int64_t i = 0; i < n; i++) {
        double d = log_weight[i] - out->elbo, e = weight[i] - sum / N;
        spread += d * d;
        deviation += e * e;
    }
    out->elbo_error = n > 1 ? sqrt(spread / (N - 1) / N) : NAN;
    out->log_z = top + log(sum / N);
    out->log_z_error = n > 1 ? sqrt(deviation / (N - 1) / N) / (sum / N) : NAN;
    out->ess = sum * sum / squares / N;
    out->acceptance = acceptance(log_weight, n, seed);
    qsort(weight, (size_t)n, sizeof *weight, ascending);
    out->pareto_k = pareto_k(weight, n);
    free(weight);
    return isnan(out->pareto_k) ? ad_fail(error, AD_ENOMEM, "importance: out of memory for %lld weights", (long long)n)
                                : AD_OK;
}

// Error by the delta method: of sum w (f - mean) / sum w.
ad_status optim_expectation(const double *log_weight, const double *f, int64_t n, double *mean, double *standard_error,
                            ad_error *error) {
    ad_status status = check("expectation", log_weight, n, error);
    if (status != AD_OK) return status;
    const double top = largest(log_weight, n);
    double sum = 0, weighted = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) {
        double w = exp(log_weight[i] - top);
        sum += w;
        if (w > 0) weighted += w * f[i];
    }
    *mean = weighted / sum;
    for (int64_t i = 0; i < n; i++) {
        double w = exp(log_weight[i] - top), d = w > 0 ? w * (f[i] - *mean) : 0;
        squares += d * d;
    }
    if (standard_error) *standard_error = n > 1 ? sqrt(squares) / sum : NAN;
    return AD_OK;
}
