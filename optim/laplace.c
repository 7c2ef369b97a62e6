// laplace.c -- the mode of a target and its curvature there, as an affine layer.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

enum { STEPS = 500 };

typedef struct laplace {
    const flow_layer *layer;
    const optim_target *target;
    int64_t K;
    ad_tape *tape;
    ad_param *at;  // [K]
} laplace;

// Minus the log-density of the latent features.
static ad_var record(const laplace *l, ad_var v) {
    flow_result x = flow_layer_generate(l->layer, v, AD_NONE);
    optim_sampling once = {.rows = {.tape = l->tape}};
    return ad_neg(ad_add(optim_record_target(l->target, &once, x.value), x.log_det));
}

static ad_status evaluate(void *arg, double *loss, ad_error *error) {
    const laplace *l = arg;
    ad_tape_reset(l->tape);
    ad_var energy = ad_keep(record(l, ad_use(l->tape, l->at)));
    ad_status status = ad_backward(energy);
    if (status != AD_OK) return ad_fail(error, status, "laplace: %s", ad_tape_message(l->tape));
    *loss = ad_value(energy);
    return AD_OK;
}

static ad_status climb(laplace *l, ad_error *error) {
    optim_lbfgs *lbfgs = optim_lbfgs_new(&l->at, 1, evaluate, l, NULL, error);
    ad_status status = lbfgs ? AD_OK : AD_ENOMEM;
    optim_lbfgs_iteration now = {0};
    for (int i = 0; i < STEPS && status == AD_OK && !now.converged && !now.stuck; i++) {
        status = optim_lbfgs_update(lbfgs, &now, error);
    }
    optim_lbfgs_free(lbfgs);
    return status;
}

// H [K][K], row by row.
static ad_status curvature(const laplace *l, double *H, ad_error *error) {
    ad_var v, g;
    ad_tape_reset(l->tape);
    v = ad_use(l->tape, l->at);
    ad_grad(record(l, v), &v, 1, &g);
    ad_var J = ad_keep(ad_jacobian(g, v));
    ad_status status = ad_run(l->tape);
    if (status == AD_OK) status = ad_read(J, H, l->K * l->K);
    return status == AD_OK ? AD_OK : ad_fail(error, status, "laplace: %s", ad_tape_message(l->tape));
}

// Lower L with L L^T = H + ridge I; false when that is not positive definite.
static bool factor(const double *H, double ridge, int64_t K, double *L) {
    for (int64_t i = 0; i < K; i++) {
        for (int64_t j = 0; j <= i; j++) {
            double sum = 0.5 * (H[i * K + j] + H[j * K + i]) + (i == j ? ridge : 0);
            for (int64_t k = 0; k < j; k++) sum -= L[i * K + k] * L[j * K + k];
            if (i == j && !(sum > 1e-12 * fabs(H[i * K + i]))) return false;
            L[i * K + j] = i == j ? sqrt(sum) : sum / L[j * K + j];
        }
    }
    return true;
}

// z = L^T (v - mode).
static flow_layer *affine(const laplace *l, const double *L, ad_error *error) {
    const int64_t K = l->K;
    flow_layer *layer = flow_dense_linear(K, &(flow_linear_options){.type = AD_F64}, error);
    for (int p = 0; layer && p < layer->owner.n_params; p++) {
        ad_param *param = layer->owner.params[p];
        param->frozen = true;
        for (int64_t i = 0; i < K; i++) {
            double shift = 0;
            for (int64_t j = 0; j < K; j++) {
                const double w = j >= i ? L[j * K + i] : 0;
                shift -= w * ad_param_get(l->at, j);
                if (param->shape.rank == 2) ad_param_set(param, i * K + j, w);
            }
            if (param->shape.rank == 1) ad_param_set(param, i, shift);
        }
    }
    return layer;
}

static flow_layer *fit(laplace *l, double *H, ad_error *error) {
    const int64_t K = l->K;
    double *L = H + K * K, most = 0, ridge = 0;
    if (climb(l, error) != AD_OK || curvature(l, H, error) != AD_OK) return NULL;
    for (int64_t i = 0; i < K * K; i++) {
        if (isfinite(H[i])) {
            most = fmax(most, fabs(H[i]));
            continue;
        }
        ad_fail(error, AD_ENONFINITE, "laplace: the curvature at the mode is not finite");
        return NULL;
    }
    while (!factor(H, ridge, K, L)) ridge = ridge > 0 ? 4 * ridge : 1e-6 * fmax(most, 1e-6);
    return affine(l, L, error);
}

flow_layer *optim_laplace(const flow_layer *layer, const optim_target *target, ad_error *error) {
    if (!layer || !target || !target->log_prob || layer->C) {
        ad_fail(error, AD_EARG, "laplace: needs a target, and a layer that takes no context");
        return NULL;
    }
    laplace l = {.layer = layer, .target = target, .K = ad_shape_count(layer->z_shape)};
    flow_layer *made = NULL;
    double *memory = calloc((size_t)(2 * l.K * l.K), sizeof *memory);
    l.tape = ad_tape_new(NULL, AD_F64);
    l.at = ad_param_new("mode", AD_F64, layer->z_shape, error);
    if (memory && l.tape && l.at) {
        made = fit(&l, memory, error);
    } else {
        ad_fail(error, AD_ENOMEM, "laplace: out of memory");
    }
    ad_param_free(l.at);
    ad_tape_free(l.tape);
    free(memory);
    return made;
}
