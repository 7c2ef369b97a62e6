// posterior_models.c -- the posteriors of posteriordb's that examples/posterior.c knows, and logistic regression.
#include "posterior_models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char posterior_list[] = "eight_schools, kidiq, nes, mesquite, blr, ark, garch, mixture, logistic, logistic_flat";

// ---- parts of log-densities --------------------------------------------------------------------------------------

static ad_var element(ad_var x, int64_t i) {
    return ad_reshape(ad_slice(x, 0, i, 1), ad_shape0());
}

static ad_var normal(ad_var x, double sd) {  // at 0, summed; without constants
    return ad_scale(ad_sum(ad_square(x)), -0.5 / (sd * sd));
}

static ad_var half_cauchy(ad_var x, double scale) {
    return ad_neg(ad_log1p(ad_square(ad_scale(x, 1 / scale))));
}

static ad_var data_y(const posterior *p, ad_tape *tape) {
    return ad_constant(tape, ad_shape1(p->N), p->y);
}

static void all(const posterior *p, const double *x, double *out) {
    memcpy(out, x, (size_t)p->n * sizeof *out);
}

static void name_all(posterior *p, const char *name, int64_t count) {
    for (int64_t k = 1; k <= count; k++) {
        snprintf(p->names[p->n++], sizeof *p->names, count > 1 ? "%.12s[%d]" : "%.12s", name, (int)k);
    }
}

static flow_layer *positive(int64_t D, ad_error *error) {
    return flow_bijector(D, "exp", &(flow_bijector_options){.inverse = true}, error);
}

static flow_layer *anything(int64_t D, ad_error *error) {
    int64_t order[POSTERIOR_NAMES];
    for (int64_t k = 0; k < D; k++) order[k] = k;
    return flow_permutation(D, order, error);  // nothing moves
}

// ---- eight schools: x = (t [8], mu, tau) -------------------------------------------------------------------------

static const double effects[8] = {28, 8, -3, 7, -1, 1, 18, 12}, errors[8] = {15, 10, 16, 11, 9, 11, 10, 18};

static ad_var eight_schools(void *arg, ad_var x) {
    (void)arg;
    ad_tape *tape = x.tape;
    ad_var t = ad_slice(x, 0, 0, 8), mu = element(x, 8), tau = element(x, 9);
    ad_var y = ad_constant(tape, ad_shape1(8), effects), s = ad_constant(tape, ad_shape1(8), errors);
    ad_var theta = ad_add(mu, ad_mul(tau, t));
    ad_var fit = ad_scale(ad_sum(ad_square(ad_div(ad_sub(y, theta), s))), -0.5);
    return ad_add(ad_add(fit, normal(t, 1)), ad_add(normal(mu, 5), half_cauchy(tau, 5)));
}

static void schools(const posterior *p, const double *x, double *out) {
    (void)p;
    for (int k = 0; k < 8; k++) out[k] = x[8] + x[9] * x[k];
    out[8] = x[8], out[9] = x[9];
}

// ---- linear regression: x = (beta [K], sigma) --------------------------------------------------------------------

static ad_var regression(const posterior *p, ad_var x, double beta_sd) {
    ad_var beta = ad_slice(x, 0, 0, p->K), sigma = element(x, p->K);
    ad_var X = ad_constant(x.tape, ad_shape2(p->N, p->K), p->X);
    ad_var rest = ad_div(ad_sub(data_y(p, x.tape), ad_linear(X, beta, AD_NONE)), sigma);
    ad_var fit = ad_sub(normal(rest, 1), ad_scale(ad_log(sigma), (double)p->N));
    return beta_sd > 0 ? ad_add(fit, normal(beta, beta_sd)) : fit;
}

static ad_var flat_regression(void *arg, ad_var x) {
    return regression(arg, x, 0);
}

static ad_var kidiq(void *arg, ad_var x) {
    const posterior *p = arg;
    return ad_add(regression(p, x, 0), half_cauchy(element(x, p->K), 2.5));
}

static ad_var blr(void *arg, ad_var x) {
    const posterior *p = arg;
    return ad_add(regression(p, x, 10), normal(element(x, p->K), 10));
}

static ad_var ark(void *arg, ad_var x) {
    const posterior *p = arg;
    return ad_add(regression(p, x, 10), half_cauchy(element(x, p->K), 2.5));
}

// ---- garch(1,1): x = (mu, alpha0, alpha1, beta1, 1 - alpha1 - beta1) ---------------------------------------------

static ad_var garch(void *arg, ad_var x) {
    const posterior *p = arg;
    ad_var mu = element(x, 0), a0 = element(x, 1), a1 = element(x, 2), b1 = element(x, 3);
    ad_var s2 = ad_number(x.tape, p->first * p->first), all_s2[512];
    ad_var off = ad_square(ad_sub(data_y(p, x.tape), mu));
    for (int64_t t = 0; t < p->N; t++) {
        all_s2[t] = t == 0 && ad_has_rows(x) ? ad_to_rows(s2, ad_rows_of(x)) : s2;
        s2 = ad_add(ad_add(a0, ad_mul(a1, element(off, t))), ad_mul(b1, s2));
    }
    ad_var variance = ad_stack(all_s2, (int)p->N, 0);
    return ad_scale(ad_sum(ad_add(ad_log(variance), ad_div(off, variance))), -0.5);
}

// ---- two normals: x = (mu [2] ascending, sigma [2], theta) -------------------------------------------------------

static ad_var component(const posterior *p, ad_var x, int k, ad_var log_share) {
    ad_var mu = element(x, k), sigma = element(x, 2 + k);
    ad_var square = ad_square(ad_div(ad_sub(data_y(p, x.tape), mu), sigma));
    return ad_add(ad_scale(square, -0.5), ad_sub(log_share, ad_log(sigma)));
}

static ad_var mixture(void *arg, ad_var x) {
    const posterior *p = arg;
    ad_var theta = element(x, 4), log_first = ad_log(theta), log_second = ad_log1p(ad_neg(theta));
    ad_var fit = ad_sum(ad_log_add_exp(component(p, x, 0, log_first), component(p, x, 1, log_second)));
    ad_var prior = ad_add(normal(ad_slice(x, 0, 0, 4), 2), ad_scale(ad_add(log_first, log_second), 4));
    return ad_add(fit, prior);
}

// ---- logistic regression: x = weights ----------------------------------------------------------------------------

// Labels as signs are multiplied into X: each row's logarithm of its probability is log sigmoid(x.w).
static ad_var logistic_flat(void *arg, ad_var x) {
    const posterior *p = arg;
    return ad_sum(ad_log_sigmoid(ad_linear(ad_constant(x.tape, ad_shape2(p->N, p->K), p->X), x, AD_NONE)));
}

static ad_var logistic(void *arg, ad_var x) {
    const double log_normaliser = 0.91893853320467274178 * (double)((const posterior *)arg)->K;
    return ad_offset(ad_add(logistic_flat(arg, x), normal(x, 1)), -log_normaliser);
}

static ad_status no_data(posterior *p, const char *file, ad_error *error) {
    if (file) return ad_fail(error, AD_EARG, "eight_schools has its own data");
    p->K = 8;
    return AD_OK;
}

// ---- the list ----------------------------------------------------------------------------------------------------

typedef enum shape { SCHOOLS, REGRESSION, ARK, GARCH, MIXTURE, LOGISTIC } shape;

static const struct model {
    const char *name;
    ad_status (*read)(posterior *p, const char *file, ad_error *error);
    ad_var (*log_prob)(void *arg, ad_var x);
    shape shape;
} models[] = {{"eight_schools", no_data, eight_schools, SCHOOLS},
              {"kidiq", posterior_read_kidiq, kidiq, REGRESSION},
              {"nes", posterior_read_nes, flat_regression, REGRESSION},
              {"mesquite", posterior_read_mesquite, flat_regression, REGRESSION},
              {"blr", posterior_read_blr, blr, REGRESSION},
              {"ark", posterior_read_ark, ark, ARK},
              {"garch", posterior_read_garch, garch, GARCH},
              {"mixture", posterior_read_mixture, mixture, MIXTURE},
              {"logistic", posterior_read_logistic, logistic, LOGISTIC},
              {"logistic_flat", posterior_read_logistic, logistic_flat, LOGISTIC}};

// Where parameters live, and what they are called.
static void lay_out(posterior *p, shape kind, ad_error *error) {
    flow_layer *parts[3] = {NULL, NULL, NULL};
    int n = 2;
    if (kind == GARCH) {
        parts[0] = anything(1, error), parts[1] = positive(1, error), parts[2] = flow_simplex(3, error), n = 3;
        name_all(p, "mu", 1), name_all(p, "alpha0", 1), name_all(p, "alpha1", 1), name_all(p, "beta1", 1);
    } else if (kind == MIXTURE) {
        parts[0] = flow_ordered(2, error), parts[1] = positive(2, error), parts[2] = flow_logit(1, NULL, error), n = 3;
        name_all(p, "mu", 2), name_all(p, "sigma", 2), name_all(p, "theta", 1);
    } else if (kind == LOGISTIC) {
        parts[0] = anything(p->K, error), n = 1;
        name_all(p, "w", p->K);
    } else {
        parts[0] = anything(kind == SCHOOLS ? 9 : p->K, error), parts[1] = positive(1, error);
        if (kind == SCHOOLS) name_all(p, "theta", 8), name_all(p, "mu", 1), name_all(p, "tau", 1);
        if (kind == ARK) name_all(p, "alpha", 1);
        if (kind != SCHOOLS) name_all(p, "beta", kind == ARK ? 5 : p->K), name_all(p, "sigma", 1);
    }
    p->quantities = kind == SCHOOLS ? schools : all;
    p->natural = flow_split(parts, n, error);
}

ad_status posterior_open(posterior *p, const char *name, const char *file, ad_error *error) {
    *p = (posterior){.name = name};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (strcmp(models[i].name, name) != 0) continue;
        if (!file && models[i].shape != SCHOOLS) return ad_fail(error, AD_EARG, "%s needs --data", name);
        ad_status status = models[i].read(p, file, error);
        if (status != AD_OK) return status;
        if (p->K > POSTERIOR_NAMES - 2) return ad_fail(error, AD_EARG, "%s: too many predictors", file);
        p->target = (optim_target){models[i].log_prob, p, models[i].name};
        lay_out(p, models[i].shape, error);
        return p->natural ? AD_OK : error->status;
    }
    return ad_fail(error, AD_EARG, "there is no model '%s'; expected one of %s", name, posterior_list);
}

void posterior_close(posterior *p) {
    flow_layer_free(p->natural);
    free(p->y);
    free(p->X);
}
