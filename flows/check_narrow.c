// check_narrow.c -- a layer under test in f32 against f64, within what its conditioning allows.
//
// How much rounding may matter is measured: input, context and parameters are moved by a few units in the last place of
// f32, in f64, and what that does to the results is the yardstick. A layer that does worse loses digits inside.
#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { MOVES = 3 };
static const double move = 0x1p-20;  // 8 units in the last place of f32
static const double leeway = 40;     // times what such a move does
static const double inside = 3e-5;   // relative: what rounding inside may do however well conditioned

typedef struct narrow {
    double *in, *context;              // [B][D], [B][C]
    check_values wide, narrow, moved;  // [B]
    double *spread;                    // [B][D + 1]: the largest change of value and log_det
    double *memory;
} narrow;

static bool make_room(narrow *n, const checking *c) {
    size_t B = (size_t)c->B, D = (size_t)c->D, C = (size_t)c->C;
    double *m = n->memory = calloc(B * (D + C + 4 * (D + 1)), sizeof *m);
    if (!m) return false;
    n->in = m, m += B * D;
    n->context = m, m += B * C;
    check_values *all[] = {&n->wide, &n->narrow, &n->moved};
    for (int i = 0; i < 3; i++, m += B * (D + 1)) *all[i] = (check_values){m, m + B * D, NULL};
    n->spread = m;
    return true;
}

static void jolt(double *to, const double *from, int64_t n, uint64_t *random, bool still) {
    for (int64_t i = 0; i < n; i++) to[i] = (double)(float)from[i] * (1 + (still ? 0 : move * check_normal(random)));
}

static void jolt_params(const flow_owner *owner, uint64_t *random) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        for (int64_t k = 0; k < p->count; k++) {
            ad_param_set(p, k, ad_param_get(p, k) * (1 + move * check_normal(random)));
        }
    }
    for (int i = 0; i < owner->n_parts; i++) jolt_params(owner->parts[i].owner, random);
}

// Element i of value and log_det together: [B][D], then [B].
static double element(const checking *c, const check_values *v, int64_t i) {
    return i < c->B * c->D ? v->value[i] : v->log_det[i - c->B * c->D];
}

static ad_status measure(checking *c, flow_direction direction, const double *in, narrow *n, double *backup) {
    ad_status status = AD_OK;
    for (int k = 0; k < MOVES && status == AD_OK; k++) {
        jolt(n->in, in, c->B * c->D, &c->random, false);
        jolt(n->context, c->context, c->B * c->C, &c->random, false);
        check_copy_params(&c->layer->owner, backup, false);
        jolt_params(&c->layer->owner, &c->random);
        status = check_run(c, direction, n->in, n->context, 0, c->B, &n->moved);
        check_copy_params(&c->layer->owner, backup, true);
        for (int64_t i = 0; i < c->B * (c->D + 1) && status == AD_OK; i++) {
            n->spread[i] = fmax(n->spread[i], fabs(element(c, &n->moved, i) - element(c, &n->wide, i)));
        }
    }
    return status;
}

static ad_status in_f32(checking *c, flow_direction direction, const narrow *n) {
    ad_tape *own = c->tape;
    c->tape = ad_tape_new(c->engine, AD_F32);
    ad_status status = c->tape ? check_run(c, direction, n->in, n->context, 0, c->B, &n->narrow)
                               : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    ad_tape_free(c->tape);
    c->tape = own;
    return status;
}

static ad_status compare(const checking *c, flow_direction direction, const narrow *n) {
    for (int64_t i = 0; i < c->B * (c->D + 1); i++) {
        double got = element(c, &n->narrow, i), want = element(c, &n->wide, i), size = fabs(want);
        bool is_value = i < c->B * c->D;
        int64_t row = is_value ? i / c->D : i - c->B * c->D;
        for (int64_t d = 0; d < c->D; d++) size = fmax(size, fabs(n->in[row * c->D + d]));
        if (fabs(got - want) <= inside * (double)(c->D + 4) * (1 + size) + leeway * n->spread[i] || !isfinite(want))
            continue;
        return ad_fail(
            c->error, isfinite(got) ? AD_EARG : AD_ENONFINITE,
            "%s: in f32 %s loses digits: %s of row %lld is %.9g, in f64 %.9g, where rounding moves it by %.2g", c->name,
            check_direction(direction), is_value ? "the value" : "log_det", (long long)row, flow_said(got), want,
            n->spread[i]);
    }
    return AD_OK;
}

ad_status check_narrow(checking *c, flow_direction direction, double *backup) {
    const double *in = direction == FLOW_NORMALIZE ? c->x : c->z;
    narrow n = {.memory = NULL};
    if (!make_room(&n, c)) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    jolt(n.in, in, c->B * c->D, &c->random, true);
    jolt(n.context, c->context, c->B * c->C, &c->random, true);
    ad_status status = check_run(c, direction, n.in, n.context, 0, c->B, &n.wide);
    if (status == AD_OK) status = measure(c, direction, in, &n, backup);
    jolt(n.in, in, c->B * c->D, &c->random, true);
    jolt(n.context, c->context, c->B * c->C, &c->random, true);
    if (status == AD_OK) status = in_f32(c, direction, &n);
    if (status == AD_OK) status = compare(c, direction, &n);
    free(n.memory);
    return status;
}
