// check_points.c -- a layer under test run on points of the host, and small determinants.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

double check_normal(uint64_t *random) {  // Box and Muller
    double u = (double)(flow_random(random) >> 11) * 0x1p-53 + 0x1p-54, v = flow_random_unit(random);
    return sqrt(-2 * log(u)) * cos(3.14159265358979323846 * v);
}

// Gradients of each feature of value, joined: [D D] per row.
static ad_var jacobian(ad_var value, ad_var x, int64_t D) {
    ad_var flat = ad_reshape(value, ad_shape1(D)), all = AD_NONE;
    for (int64_t i = 0; i < D; i++) {
        ad_var g;
        ad_grad(ad_sum(ad_slice(flat, 0, i, 1)), &x, 1, &g);
        ad_var row[2] = {all, ad_reshape(g, ad_shape1(D))};
        // A feature that does not depend on x at all has a shared zero gradient.
        if (ad_ok(row[1]) && !ad_has_rows(row[1])) row[1] = ad_to_rows(row[1], ad_rows_of(x));
        all = i == 0 ? row[1] : ad_concat(row, 2, 0);
    }
    return all;
}

ad_status check_run(checking *c, flow_direction direction, const double *in, const double *context, int first, int n,
                    const check_values *out) {
    int64_t D = c->D;
    ad_source x = {.data = in + first * D, .type = AD_F64, .count = n};
    ad_source k = {.data = context ? context + first * c->C : NULL, .type = AD_F64, .count = n};
    ad_tape_reset(c->tape);
    ad_rows rows = ad_rows_new(c->tape, "check");
    ad_rows_set(rows, n, first);
    ad_var v = ad_input(rows, direction == FLOW_NORMALIZE ? c->layer->x_shape : c->layer->z_shape, &x);
    flow_result r = flow_record_whole(c->layer, direction, v, c->C ? ad_input(rows, ad_shape1(c->C), &k) : AD_NONE);
    ad_var J = out->jacobian ? jacobian(r.value, v, D) : AD_NONE;
    if (ad_ok(r.value) && !ad_has_rows(r.value)) r.value = ad_to_rows(r.value, rows);
    ad_keep(r.value);
    ad_keep(r.log_det);
    if (out->jacobian) ad_keep(J);
    ad_status status = ad_run(c->tape);
    if (status == AD_OK) status = ad_read(r.value, out->value, n * D);
    if (status == AD_OK) status = ad_read(r.log_det, out->log_det, n);
    if (status == AD_OK && out->jacobian) status = ad_read(J, out->jacobian, n * D * D);
    if (status == AD_OK) return AD_OK;
    return ad_fail(c->error, status, "%s: %s cannot be computed: %s", c->name, check_direction(direction),
                   ad_tape_message(c->tape));
}

static double row_sum_norm(const double *a, int64_t D) {
    double norm = 0;
    for (int64_t i = 0; i < D; i++) {
        double sum = 0;
        for (int64_t j = 0; j < D; j++) sum += fabs(a[i * D + j]);
        norm = fmax(norm, sum);
    }
    return norm;
}

static void swap_rows(double *a, int64_t D, int64_t i, int64_t k) {
    for (int64_t j = 0; i != k && j < D; j++) {
        double t = a[i * D + j];
        a[i * D + j] = a[k * D + j];
        a[k * D + j] = t;
    }
}

static void swap_columns(double *a, int64_t D, int64_t i, int64_t k) {
    for (int64_t r = 0; i != k && r < D; r++) {
        double t = a[r * D + i];
        a[r * D + i] = a[r * D + k];
        a[r * D + k] = t;
    }
}

// One step of Gauss-Jordan in place, pivot a[k][k].
static void eliminate(double *a, int64_t D, int64_t k) {
    double pivot = a[k * D + k];
    a[k * D + k] = 1;
    for (int64_t j = 0; j < D; j++) a[k * D + j] /= pivot;
    for (int64_t i = 0; i < D; i++) {
        double f = a[i * D + k];
        if (i == k || f == 0) continue;
        a[i * D + k] = 0;
        for (int64_t j = 0; j < D; j++) a[i * D + j] -= f * a[k * D + j];
    }
}

double check_invert(double *a, int64_t D, double *norm, double *inverse_norm) {
    double log_det = 0;
    int64_t *swapped = calloc((size_t)D, sizeof *swapped);
    *norm = row_sum_norm(a, D);
    *inverse_norm = INFINITY;
    for (int64_t k = 0; swapped && k < D; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < D; i++) {
            if (fabs(a[i * D + k]) > fabs(a[best * D + k])) best = i;
        }
        swapped[k] = best;
        swap_rows(a, D, k, best);
        log_det += log(fabs(a[k * D + k]));
        if (!(fabs(a[k * D + k]) > 0)) {
            free(swapped);
            return -INFINITY;
        }
        eliminate(a, D, k);
    }
    if (!swapped) return NAN;
    for (int64_t k = D - 1; k >= 0; k--) swap_columns(a, D, k, swapped[k]);
    *inverse_norm = row_sum_norm(a, D);
    free(swapped);
    return log_det;
}
