// check_gradients.c -- gradients through a layer under test against differences along random directions.
//
// S = sum over rows of (sum_d w_d value_d + w log_det). A parameter stored in f32 moves by what its rounding leaves of
// a step, so the difference is compared with gradient times the move really made.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"

// What S is differentiated in: numbers of the host, or a parameter.
typedef struct target {
    const char *kind, *name;
    double *values;
    ad_param *param;
    int64_t n;
    double *gradient;  // [n]
} target;

static double get(const target *t, int64_t i) {
    return t->param ? ad_param_get(t->param, i) : t->values[i];
}
static void set(const target *t, int64_t i, double v) {
    if (t->param) {
        ad_param_set(t->param, i, v);
    } else {
        t->values[i] = v;
    }
}

static int count_params(const flow_owner *owner) {
    int n = owner->n_params;
    for (int i = 0; i < owner->n_parts; i++) n += count_params(owner->parts[i].owner);
    return n;
}

static int list_params(const flow_owner *owner, target *targets, int n) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        targets[n++] = (target){.kind = "parameter", .name = p->name, .param = p, .n = p->count};
    }
    for (int i = 0; i < owner->n_parts; i++) n = list_params(owner->parts[i].owner, targets, n);
    return n;
}

// ---- S and its gradients ------------------------------------------------------------------------------------------

static ad_var weighted(checking *c, ad_var value, ad_var log_det) {
    uint64_t random = c->o.seed + 17;
    ad_var sum = ad_scale(log_det, 0.5 + flow_random_unit(&random) / 3);
    ad_var flat = ad_reshape(value, ad_shape1(c->D));
    for (int64_t d = 0; d < c->D; d++) {
        sum = ad_add(sum, ad_scale(ad_sum(ad_slice(flat, 0, d, 1)), flow_random_unit(&random)));
    }
    return ad_sum_rows(sum);
}

// S; and, when targets is not NULL, the gradient in each.
static ad_status evaluate(checking *c, flow_direction direction, double *S, target *targets, int n) {
    bool normalize = direction == FLOW_NORMALIZE;
    ad_source in = {.data = normalize ? c->x : c->z, .type = AD_F64, .count = c->B};
    ad_source k = {.data = c->context, .type = AD_F64, .count = c->B};
    ad_tape_reset(c->tape);
    ad_rows rows = ad_rows_new(c->tape, "check");
    ad_rows_set(rows, c->B, 0);
    ad_var v = ad_input(rows, normalize ? c->layer->x_shape : c->layer->z_shape, &in);
    ad_var context = c->C ? ad_input(rows, ad_shape1(c->C), &k) : AD_NONE;
    flow_result r = flow_record_whole(c->layer, direction, v, context);
    ad_var sum = ad_keep(weighted(c, r.value, r.log_det));
    ad_var *g = targets ? calloc(2 * (size_t)n, sizeof *g) : NULL;
    if (targets && !g) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    for (int i = 0; g && i < n; i++) {
        ad_var at = targets[i].param                  ? ad_use(c->tape, targets[i].param)
                    : targets[i].values == c->context ? context
                                                      : v;
        ad_grad(sum, &at, 1, &g[i]);
        if (ad_ok(g[i]) && !targets[i].param && !ad_has_rows(g[i])) g[i] = ad_to_rows(g[i], rows);
        ad_keep(g[i]);
    }
    ad_status status = ad_run(c->tape);
    if (status == AD_OK) status = ad_read(sum, S, 1);
    for (int i = 0; g && i < n && status == AD_OK; i++) status = ad_read(g[i], targets[i].gradient, targets[i].n);
    free(g);
    if (status == AD_OK) return AD_OK;
    return ad_fail(c->error, status, "%s: gradients of %s cannot be computed: %s", c->name, check_direction(direction),
                   ad_tape_message(c->tape));
}

// ---- differences --------------------------------------------------------------------------------------------------

// (S(at + h u) - S(at - h u) - gradient . move) / h: 0 but for rounding and h^2 S'''. And how far the one-sided
// differences are apart, where S(at) is middle: h S'', unless a kink lies between.
static ad_status defect(checking *c, flow_direction direction, const target *t, const double *at, const double *u,
                        double h, double middle, double *out, double *bend) {
    double S[2], expected = 0, uneven = 0;  // uneven: of f32 parameters, by their rounding
    for (int64_t i = 0; i < t->n; i++) {
        set(t, i, at[i] - h * u[i]);
        expected -= t->gradient[i] * get(t, i);
        uneven += t->gradient[i] * (get(t, i) - at[i]);
    }
    ad_status status = evaluate(c, direction, &S[0], NULL, 0);
    for (int64_t i = 0; i < t->n; i++) {
        set(t, i, at[i] + h * u[i]);
        expected += t->gradient[i] * get(t, i);
        uneven += t->gradient[i] * (get(t, i) - at[i]);
    }
    if (status == AD_OK) status = evaluate(c, direction, &S[1], NULL, 0);
    for (int64_t i = 0; i < t->n; i++) set(t, i, at[i]);
    *out = (S[1] - S[0] - expected) / h;
    *bend = fabs(S[1] + S[0] - 2 * middle - uneven) / h;
    return status;
}

// A direction to compare along: from at[n] along u[n].
typedef struct course {
    double *at, *u;
    double allowed, noise;  // noise: what rounding of at alone makes of S
} course;

// Data on a surface or in a region stay there, however near to its edge they lie, when they move as latents make them.
static ad_status follow_latents(checking *c, const course *k) {
    const double far = 1e-3;
    const int64_t n = c->B * c->D;
    double *z = calloc((size_t)(2 * n + c->B), sizeof *z);
    if (!z) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    check_values moved = {z + n, z + 2 * n, NULL};
    for (int64_t i = 0; i < n; i++) z[i] = c->z[i] + far * k->u[i];
    ad_status status = check_run(c, FLOW_GENERATE, z, c->context, 0, c->B, &moved);
    for (int64_t i = 0; i < n && status == AD_OK; i++) k->u[i] = (moved.value[i] - k->at[i]) / far;
    free(z);
    return status;
}

static ad_status choose(checking *c, flow_direction direction, const target *t, double S, course *k) {
    double norm = 0;
    k->noise = 0;
    for (int64_t i = 0; i < t->n; i++) {
        k->at[i] = get(t, i);
        k->u[i] = check_normal(&c->random);
    }
    const bool inside = c->constrained && direction == FLOW_NORMALIZE && t->values == c->x;
    ad_status status = inside ? follow_latents(c, k) : AD_OK;
    for (int64_t i = 0; i < t->n; i++) {
        norm += t->gradient[i] * t->gradient[i] * k->u[i] * k->u[i];
        k->noise += 8 * DBL_EPSILON * fabs(t->gradient[i] * k->at[i]);
    }
    k->allowed = 1e-6 * sqrt(norm) + 1e-8 * (1 + fabs(S));
    return status;
}

// By Richardson's extrapolation of two steps. A step may cross a kink of a conditioner: shorter ones follow, and where
// the last still does, which the one-sided differences tell, that direction says nothing. Parameters in f32 do not move
// by the last one.
static ad_status along(checking *c, flow_direction direction, const target *t, double S, const course *k, double *off,
                       bool *agrees) {
    static const double steps[] = {2e-5, 1.25e-6, 8e-8};
    const int n = t->param && t->param->type == AD_F32 ? 2 : 3;
    double far = 0, near = 0, bend = 0;
    ad_status status = AD_OK;
    for (int i = 0; i < n && status == AD_OK; i++) {
        status = defect(c, direction, t, k->at, k->u, steps[i], S, &far, &bend);
        if (status == AD_OK) status = defect(c, direction, t, k->at, k->u, steps[i] / 2, S, &near, &bend);
        *off = (4 * near - far) / 3;
        const bool kink = i == n - 1 && bend > 0.05 * fabs(near);
        *agrees = kink || fabs(*off) <= k->allowed + k->noise / steps[i];
        if (*agrees) break;
    }
    return status;
}

// A wrong gradient is wrong in every direction.
static ad_status compare(checking *c, flow_direction direction, const target *t, double S) {
    enum { TRIES = 4 };
    double *work = calloc(2 * (size_t)t->n, sizeof *work), off = 0;
    if (!work) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    course k = {work, work + t->n, 0, 0};
    ad_status status = AD_OK;
    bool agrees = false;
    for (int i = 0; i < TRIES && status == AD_OK && !agrees; i++) {
        status = choose(c, direction, t, S, &k);
        if (status == AD_OK) status = along(c, direction, t, S, &k, &off, &agrees);
    }
    free(work);
    if (status != AD_OK || agrees) return status;
    return ad_fail(c->error, AD_ENOGRAD,
                   "%s: the gradient of %s in the %s%s%s is wrong: differences along random directions miss it by %.3g "
                   "(allowed %.3g), case %d",
                   c->name, check_direction(direction), t->kind, *t->name ? " " : "", t->name, flow_said(off),
                   k.allowed, c->case_number);
}

ad_status check_gradients(checking *c, flow_direction direction) {
    int n = 0, room = count_params(&c->layer->owner) + 2;
    double S = 0;
    target *targets = calloc((size_t)room, sizeof *targets);
    if (!targets) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    targets[n++] = (target){"input", "", direction == FLOW_NORMALIZE ? c->x : c->z, NULL, c->B * c->D, NULL};
    if (c->C) targets[n++] = (target){"context", "", c->context, NULL, c->B * c->C, NULL};
    n = list_params(&c->layer->owner, targets, n);
    ad_status status = AD_OK;
    for (int i = 0; i < n; i++) {
        targets[i].gradient = calloc((size_t)targets[i].n, sizeof(double));
        if (!targets[i].gradient) status = ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    }
    if (status == AD_OK) status = evaluate(c, direction, &S, targets, n);
    for (int i = 0; i < n && status == AD_OK; i++) status = compare(c, direction, &targets[i], S);
    for (int i = 0; i < n; i++) free(targets[i].gradient);
    free(targets);
    return status;
}
