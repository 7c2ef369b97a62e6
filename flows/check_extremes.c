// check_extremes.c -- a layer under test at inputs that are tiny, huge, or on the edge of where they may lie: no NaN.
//
// An infinity is an answer there (e^x of 1e30), whatever other features of a row far out then come to; and so is a run
// that fails loudly for want of a root. A NaN is not, in neither direction, in either type, nor in the gradient of a
// finite result.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"

enum { POINTS = 16, SHAPES = 2 };  // all features alike, or the first alone

typedef struct extremes {
    double *in, *context;             // [n][D], [n][C]
    double *value, *log_det, *slope;  // [n][D], [n], [n][D]
    double *memory;
    int n;
    bool box;  // ends on both sides
} extremes;

// Numbers between low and high, edges first; anywhere when they are equal. big: the largest size.
static int list_points(double low, double high, double big, ad_type type, double *points) {
    const double sizes[] = {0, big, 1e5, 30, 1e-8, type == AD_F64 ? 1e-300 : 1e-38, sqrt(big)};
    int n = 0;
    bool box = high > low;
    if (box && isfinite(low)) points[n++] = low;
    if (box && isfinite(high)) points[n++] = high;
    if (box && isfinite(low) && isfinite(high)) {
        points[n++] = low + (high - low) * (type == AD_F64 ? DBL_EPSILON : (double)FLT_EPSILON);
        points[n++] = high - (high - low) * (type == AD_F64 ? DBL_EPSILON : (double)FLT_EPSILON);
        return n;
    }
    for (int i = 0; i < 7; i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            double v = sign * sizes[i];
            if (!box || (v > low && v < high)) points[n++] = v;
        }
    }
    return n;
}

static ad_status run(checking *c, flow_direction direction, const extremes *e, int first, int n) {
    int64_t D = c->D;
    ad_source x = {.data = e->in + first * D, .type = AD_F64, .count = n};
    ad_source k = {.data = e->context + first * c->C, .type = AD_F64, .count = n};
    ad_tape_reset(c->tape);
    ad_rows rows = ad_rows_new(c->tape, "check");
    ad_rows_set(rows, n, first);
    ad_var v = ad_input(rows, direction == FLOW_NORMALIZE ? c->layer->x_shape : c->layer->z_shape, &x), g;
    flow_result r = flow_record_whole(c->layer, direction, v, c->C ? ad_input(rows, ad_shape1(c->C), &k) : AD_NONE);
    ad_grad(ad_add(ad_sum(r.value), r.log_det), &v, 1, &g);
    ad_var all[] = {r.value, r.log_det, g};
    double *out[] = {e->value + first * D, e->log_det + first, e->slope + first * D};
    for (int i = 0; i < 3; i++) {
        if (ad_ok(all[i]) && !ad_has_rows(all[i])) all[i] = ad_to_rows(all[i], rows);
        ad_keep(all[i]);
    }
    ad_status status = ad_run(c->tape);
    for (int i = 0; i < 3 && status == AD_OK; i++) status = ad_read(all[i], out[i], n * (i == 1 ? 1 : D));
    return status;
}

// Whether row r is without NaN; a message otherwise.
static ad_status check_row(checking *c, flow_direction direction, const extremes *e, int r, ad_type type) {
    const double *in = e->in + r * c->D;
    const char *what = isnan(e->log_det[r]) ? "log_det" : NULL;
    bool finite = isfinite(e->log_det[r]), overflow = false, far = fabs(in[0]) > 1 && !e->box;
    for (int64_t d = 0; d < c->D; d++) {
        if (isnan(e->value[r * c->D + d])) what = "value";
        finite = finite && isfinite(e->value[r * c->D + d]);
        overflow = overflow || isinf(e->value[r * c->D + d]);
    }
    for (int64_t d = 0; d < c->D && !what && finite; d++) {
        if (isnan(e->slope[r * c->D + d])) what = "gradient";
    }
    if (!what || (overflow && far)) return AD_OK;
    return ad_fail(c->error, AD_ENONFINITE, "%s: the %s of %s is nan at an extreme input, %.17g (%s), in %s", c->name,
                   what, check_direction(direction), in[0],
                   c->D == 1        ? "one feature"
                   : in[1] == in[0] ? "in all features"
                                    : "in feature 0",
                   type == AD_F64 ? "f64" : "f32");
}

// One row fails as a whole run does; the others are then looked at alone.
static ad_status check_rows_alone(checking *c, flow_direction direction, const extremes *e, ad_type type) {
    ad_status status = AD_OK;
    for (int r = 0; r < e->n && status == AD_OK; r++) {
        ad_status ran = run(c, direction, e, r, 1);
        if (ran == AD_ECONVERGE || ran == AD_ENONFINITE) continue;
        status = ran == AD_OK ? check_row(c, direction, e, r, type)
                              : ad_fail(c->error, ran, "%s: %s cannot be computed at an extreme input, %g: %s", c->name,
                                        check_direction(direction), e->in[r * c->D], ad_tape_message(c->tape));
    }
    return status;
}

static bool fill(extremes *e, const checking *c, flow_direction direction, ad_type type) {
    double points[POINTS + 4];
    bool normalize = direction == FLOW_NORMALIZE;
    const flow_layer *l = c->layer;
    int n = list_points(normalize ? l->low : l->z_low, normalize ? l->high : l->z_high, type == AD_F64 ? 1e30 : 1e12,
                        type, points);
    e->box = normalize ? l->low < l->high && isfinite(l->high - l->low)
                       : l->z_low < l->z_high && isfinite(l->z_high - l->z_low);
    e->n = c->D == 1 ? n : SHAPES * n;
    e->memory = calloc((size_t)e->n * (size_t)(3 * c->D + 1 + c->C), sizeof(double));
    if (!e->memory) return false;
    e->in = e->memory;
    e->context = e->in + e->n * c->D;
    e->value = e->context + e->n * c->C;
    e->slope = e->value + e->n * c->D;
    e->log_det = e->slope + e->n * c->D;
    const double *usual = normalize ? c->x : c->z;
    for (int r = 0; r < e->n; r++) {
        for (int64_t d = 0; d < c->D; d++) e->in[r * c->D + d] = d == 0 || r < n ? points[r % n] : usual[d];
        for (int64_t d = 0; d < c->C; d++) e->context[r * c->C + d] = c->context[d];
    }
    return true;
}

ad_status check_extremes(checking *c, flow_direction direction, ad_type type) {
    extremes e = {.n = 0};
    if (!fill(&e, c, direction, type)) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    ad_tape *own = c->tape;
    c->tape = ad_tape_new(c->engine, type);
    ad_status status = c->tape ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (status == AD_OK) {
        if (run(c, direction, &e, 0, e.n) != AD_OK) {
            status = check_rows_alone(c, direction, &e, type);
        } else {
            for (int r = 0; r < e.n && status == AD_OK; r++) status = check_row(c, direction, &e, r, type);
        }
    }
    ad_tape_free(c->tape);
    c->tape = own;
    free(e.memory);
    return status;
}
