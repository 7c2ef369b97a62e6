// check_free.c -- layers whose data lie on a surface or in a region, seen as bijections of free coordinates.
#include <math.h>
#include <stdlib.h>

#include "check.h"

static const flow_layer *whole_of(const flow_layer *layer) {
    return ((const check_free_layer *)layer)->whole;
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const flow_layer *whole = whole_of(layer);
    return whole->type->normalize(whole, whole->type->complete(whole, x), context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const flow_layer *whole = whole_of(layer);
    flow_result r = whole->type->generate(whole, z, context);
    return (flow_result){whole->type->coordinates(whole, r.value), r.log_det};
}

static const flow_layer_type free_type = {.name = "free coordinates", .normalize = normalize, .generate = generate};

flow_layer *check_free(check_free_layer *seen, flow_layer *layer) {
    *seen = (check_free_layer){.layer = *layer, .whole = layer};
    seen->layer.type = &free_type;
    seen->layer.x_shape = layer->z_shape;
    return &seen->layer;
}

// ---- points that free coordinates tell apart -----------------------------------------------------------------------
// Near the edge of the set what is not free hangs on digits that free coordinates do not have (a diagonal element of a
// Cholesky factor is what squares leave of 1): a difference of one rounding then leaves the set, or moves all of z.

// Whether rounding of data in f32 moves latents little, row by row: both [B][D].
static bool is_told(const checking *c, const double *z, const double *moved, int r) {
    for (int64_t i = r * c->D; i < (r + 1) * c->D; i++) {
        if (!(fabs(moved[i] - z[i]) <= 0.01 * (1 + fabs(z[i])))) return false;
    }
    return true;
}

// Latents of rows that are not are taken nearer to 0, in *left rows.
static ad_status draw_nearer(checking *c, double *work, int *left) {
    const int64_t n = c->B * c->D;
    check_values x = {c->x, work + 3 * n, NULL}, z = {work, work + 3 * n, NULL}, moved = {work + n, work + 3 * n, NULL};
    double *jolted = work + 2 * n;
    ad_status status = check_run(c, FLOW_GENERATE, c->z, c->context, 0, c->B, &x);
    for (int64_t i = 0; i < n; i++) jolted[i] = c->x[i] * (1 + 0x1p-21 * check_normal(&c->random));
    if (status == AD_OK) status = check_run(c, FLOW_NORMALIZE, c->x, c->context, 0, c->B, &z);
    if (status == AD_OK) status = check_run(c, FLOW_NORMALIZE, jolted, c->context, 0, c->B, &moved);
    *left = 0;
    for (int r = 0; r < c->B && status == AD_OK; r++) {
        if (is_told(c, z.value, moved.value, r)) continue;
        for (int64_t i = r * c->D; i < (r + 1) * c->D; i++) c->z[i] *= 0.7;
        ++*left;
    }
    return status;
}

ad_status check_draw_free(checking *c) {
    double *work = calloc((size_t)(c->B * (3 * c->D + 1)), sizeof *work);
    if (!work) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    int left = 1;
    ad_status status = AD_OK;
    for (int i = 0; i < 30 && left && status == AD_OK; i++) status = draw_nearer(c, work, &left);
    free(work);
    return status;
}

// What generate gives is what its free coordinates say.
ad_status check_complete(checking *c) {
    const flow_layer *whole = whole_of(c->layer);
    double *off = calloc((size_t)c->B, sizeof *off);
    if (!off) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    ad_source z = {.data = c->z, .type = AD_F64, .count = c->B},
              k = {.data = c->context, .type = AD_F64, .count = c->B};
    ad_tape_reset(c->tape);
    ad_rows rows = ad_rows_new(c->tape, "check");
    ad_rows_set(rows, c->B, 0);
    ad_var context = c->C ? ad_input(rows, ad_shape1(c->C), &k) : AD_NONE;
    ad_var x = whole->type->generate(whole, ad_input(rows, whole->z_shape, &z), context).value;
    ad_var again = whole->type->complete(whole, whole->type->coordinates(whole, x));
    ad_var most = ad_keep(ad_max(ad_abs(ad_sub(x, again))));
    ad_status status = ad_run(c->tape);
    if (status == AD_OK) status = ad_read(most, off, c->B);
    if (status != AD_OK) ad_fail(c->error, status, "%s: %s", c->name, ad_tape_message(c->tape));
    for (int r = 0; r < c->B && status == AD_OK; r++) {
        // A square root of what squares leave of 1 keeps half of the digits.
        if (off[r] <= sqrt(c->o.tolerance)) continue;
        status =
            ad_fail(c->error, AD_EARG,
                    "%s: generate leaves the set that its data lie on: row %d is %.3g from what its free coordinates "
                    "say, case %d",
                    c->name, r, off[r], c->case_number);
    }
    free(off);
    return status;
}
