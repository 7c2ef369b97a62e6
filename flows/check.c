// check.c -- flow_check: the laws every layer must keep, and in words which one is broken.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

// ---- points, and parameters away from where they start --------------------------------------------------------------

// A point between low and high, made of one that is anywhere.
static double within(double v, double low, double high) {
    if (!(low < high)) return v;
    if (isfinite(low)) return isfinite(high) ? low + (high - low) / (1 + exp(-v)) : low + exp(v);
    return isfinite(high) ? high - exp(v) : v;
}

static void draw(checking *c) {
    const flow_layer *l = c->layer;
    for (int64_t i = 0; i < c->B * c->D; i++) {
        c->x[i] = within(c->o.spread * check_normal(&c->random), l->low, l->high);
    }
    for (int64_t i = 0; i < c->B * c->D; i++) {
        c->z[i] = within(c->o.spread * check_normal(&c->random), l->z_low, l->z_high);
    }
    for (int64_t i = 0; i < c->B * c->C; i++) c->context[i] = check_normal(&c->random);
    for (int64_t i = 0; i < c->B * c->C; i++) c->context2[i] = check_normal(&c->random);
}

size_t check_param_bytes(const flow_owner *owner) {
    size_t n = 0;
    for (int i = 0; i < owner->n_params; i++) n += (size_t)owner->params[i]->count * sizeof(double);
    for (int i = 0; i < owner->n_parts; i++) n += check_param_bytes(owner->parts[i].owner);
    return n;
}

// Copies all parameters to at, or back, and returns what follows. f32 values survive the way through doubles.
double *check_copy_params(const flow_owner *owner, double *at, bool back) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        for (int64_t k = 0; k < p->count; k++, at++) {
            if (back) {
                ad_param_set(p, k, *at);
            } else {
                *at = ad_param_get(p, k);
            }
        }
    }
    for (int i = 0; i < owner->n_parts; i++) at = check_copy_params(owner->parts[i].owner, at, back);
    return at;
}

void check_perturb(const flow_owner *owner, double size, uint64_t *random) {
    for (int i = 0; i < owner->n_params; i++) {
        ad_param *p = owner->params[i];
        for (int64_t k = 0; k < p->count; k++) {
            ad_param_set(p, k, ad_param_get(p, k) + size * check_normal(random));
        }
    }
    for (int i = 0; i < owner->n_parts; i++) check_perturb(owner->parts[i].owner, size, random);
}

// ---- one law each ---------------------------------------------------------------------------------------------------

static ad_status check_finite(checking *c, flow_direction direction, const check_values *v) {
    for (int64_t i = 0; i < c->B * c->D; i++) {
        if (isfinite(v->value[i])) continue;
        return ad_fail(c->error, AD_ENONFINITE,
                       "%s: %s gives %g in row %lld, feature %lld, from a finite input, case %d", c->name,
                       check_direction(direction), flow_said(v->value[i]), (long long)(i / c->D), (long long)(i % c->D),
                       c->case_number);
    }
    for (int r = 0; r < c->B; r++) {
        if (isfinite(v->log_det[r])) continue;
        return ad_fail(c->error, AD_ENONFINITE, "%s: log_det of %s is %g in row %d, from a finite input, case %d",
                       c->name, check_direction(direction), flow_said(v->log_det[r]), r, c->case_number);
    }
    return AD_OK;
}

// Rows computed alone are those of the batch, bit for bit.
static ad_status check_rows(checking *c, flow_direction direction, const double *in, const check_values *batch) {
    double *value = calloc((size_t)c->D, sizeof *value), log_det;
    check_values alone = {value, &log_det, NULL};
    ad_status status = value ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    for (int r = 0; r < c->B && status == AD_OK; r++) {
        status = check_run(c, direction, in, c->context, r, 1, &alone);
        if (status != AD_OK) break;
        bool same = memcmp(value, batch->value + r * c->D, (size_t)c->D * sizeof *value) == 0;
        if (same && memcmp(&log_det, batch->log_det + r, sizeof log_det) == 0) continue;
        status = ad_fail(c->error, AD_EMIX,
                         "%s: row %d of %s depends on the other rows of the batch: alone, its %s is another one, "
                         "case %d",
                         c->name, r, check_direction(direction), same ? "log_det" : "value", c->case_number);
    }
    free(value);
    return status;
}

// What a difference between the log_det given and the Jacobian's looks like.
static const char *diagnose(const checking *c, const double *given, const double *right) {
    bool zero = true, negated = true, constant = true;
    for (int r = 0; r < c->B; r++) {
        double small = 1e-7 * (1 + fabs(right[r]));
        zero = zero && given[r] == 0;
        negated = negated && fabs(given[r] + right[r]) <= small;
        constant = constant && fabs(given[r] - right[r] - (given[0] - right[0])) <= small;
    }
    if (zero) return "it is forgotten";
    if (negated) return "it has the wrong sign";
    if (constant) return "a constant term is forgotten or wrong";
    return "a term is forgotten or wrong";
}

// log_det against the Jacobian, which becomes its inverse; its norm goes to stretch[B].
static ad_status check_log_det(checking *c, flow_direction direction, const check_values *v, double *stretch) {
    double *right = calloc((size_t)c->B, sizeof *right), norm;
    if (!right) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    int worst = -1;
    bool done = true;
    for (int r = 0; r < c->B; r++) {
        right[r] = check_invert(v->jacobian + r * c->D * c->D, c->D, &norm, &stretch[r]);
        done = done && !isnan(right[r]);
        double allowed = c->o.tolerance * (1 + fabs(right[r]) + (double)c->D * norm * stretch[r]);
        if (worst < 0 && (isinf(right[r]) || !(fabs(v->log_det[r] - right[r]) <= allowed))) worst = r;
    }
    ad_status status = done ? AD_OK : ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    if (!done) worst = -1;
    if (worst >= 0 && isinf(right[worst])) {
        status = ad_fail(c->error, AD_EARG, "%s: %s is not invertible: its Jacobian is singular in row %d, case %d",
                         c->name, check_direction(direction), worst, c->case_number);
    } else if (worst >= 0) {
        status = ad_fail(c->error, AD_EARG,
                         "%s: log_det of %s is wrong: %s. Row %d: %.10g, from the Jacobian %.10g, case %d", c->name,
                         check_direction(direction), diagnose(c, v->log_det, right), worst, v->log_det[worst],
                         right[worst], c->case_number);
    }
    free(right);
    return status;
}

static double largest(const double *v, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(v[i]));
    return most;
}

// Whether a row came back with its features in another order.
static bool is_reordered(const double *in, const double *back, int64_t D, double small) {
    int64_t moved = 0;
    for (int64_t i = 0; i < D; i++) {
        int64_t from = 0;
        while (from < D && !(fabs(in[i] - back[from]) <= small)) from++;
        if (from == D) return false;
        moved += from != i;
    }
    return moved > 1;
}

// The other direction, of what one direction gave, is where it started. stretch: norm of the inverse Jacobian, by row.
static ad_status check_round_trip(checking *c, flow_direction direction, const double *in, const check_values *there,
                                  const double *stretch, const check_values *back) {
    flow_direction other = direction == FLOW_NORMALIZE ? FLOW_GENERATE : FLOW_NORMALIZE;
    ad_status status = check_run(c, other, there->value, c->context, 0, c->B, back);
    if (status != AD_OK) return status;
    for (int64_t i = 0; i < c->B * c->D; i++) {
        int64_t r = i / c->D;
        double size = 1 + largest(in + r * c->D, c->D) + stretch[r] * (1 + largest(there->value + r * c->D, c->D));
        if (fabs(back->value[i] - in[i]) <= c->o.tolerance * size) continue;
        return ad_fail(
            c->error, AD_EARG,
            "%s: %s does not undo %s%s: row %lld, feature %lld went in as %.10g and came back as %.10g, case %d",
            c->name, check_direction(other), check_direction(direction),
            is_reordered(in + r * c->D, back->value + r * c->D, c->D, c->o.tolerance * size)
                ? ", its features come back in another order"
                : "",
            (long long)r, (long long)(i % c->D), in[i], back->value[i], c->case_number);
    }
    return AD_OK;
}

// Whether another context makes another result, into *matters. v is overwritten.
static ad_status try_context(checking *c, flow_direction direction, const double *in, const check_values *v,
                             const check_values *other, bool *matters) {
    const check_values first = {v->value, v->log_det, NULL};
    const size_t bytes = (size_t)c->B * sizeof(double);
    ad_status status = check_run(c, direction, in, c->context, 0, c->B, &first);
    if (status == AD_OK) status = check_run(c, direction, in, c->context2, 0, c->B, other);
    *matters = memcmp(v->value, other->value, (size_t)c->D * bytes) || memcmp(v->log_det, other->log_det, bytes);
    return status;
}

// Points that lie near 0 on the side where a direction ends, as data do of layers that standardise them; into at. Left alone
// where such points would not be in their box.
static ad_status come_from_zero(checking *c, flow_direction direction, const double *in, const check_values *v,
                                double *at) {
    const flow_layer *l = c->layer;
    const flow_direction back = direction == FLOW_NORMALIZE ? FLOW_GENERATE : FLOW_NORMALIZE;
    if (direction == FLOW_NORMALIZE ? l->z_low < l->z_high || l->discrete : l->low < l->high) return AD_OK;
    const check_values there = {v->value, v->log_det, NULL};
    for (int64_t i = 0; i < c->B * c->D; i++) at[i] = in[i] / (1 + fabs(in[i]));
    ad_status status = check_run(c, back, at, c->context, 0, c->B, &there);
    for (int64_t i = 0; i < c->B * c->D && status == AD_OK; i++) at[i] = v->value[i];
    return status;
}

// Another context must make another result, in every direction; if not at the points of the case, which may all lie in
// the tails of splines, then nearer to 0, on this side or on the other.
static ad_status check_context(checking *c, flow_direction direction, const double *in, const check_values *v,
                               const check_values *other) {
    bool matters = false;
    if (c->C == 0) return AD_OK;
    ad_status status = try_context(c, direction, in, v, other, &matters);
    if (status != AD_OK || matters) return status;
    double *near = malloc((size_t)(c->B * c->D) * sizeof *near);
    if (!near) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    const flow_layer *l = c->layer;
    const bool box = direction == FLOW_NORMALIZE ? l->low < l->high || l->discrete : l->z_low < l->z_high;
    for (int64_t i = 0; i < c->B * c->D; i++) near[i] = box ? in[i] : in[i] / (1 + fabs(in[i]));
    status = try_context(c, direction, near, v, other, &matters);
    if (status == AD_OK && !matters) status = come_from_zero(c, direction, in, v, near);
    if (status == AD_OK && !matters) status = try_context(c, direction, near, v, other, &matters);
    free(near);
    if (status != AD_OK || matters) return status;
    return ad_fail(c->error, AD_EARG, "%s: %s ignores the context: another one changes no bit, case %d", c->name,
                   check_direction(direction), c->case_number);
}

// What a discrete layer gives for latents is rounded: its log_det is checked against that of the way there, in undoing
// which back came about.
static ad_status check_opposite(checking *c, const check_values *there, const check_values *back) {
    for (int r = 0; r < c->B; r++) {
        if (fabs(there->log_det[r] + back->log_det[r]) <= c->o.tolerance * (1 + fabs(there->log_det[r]))) continue;
        return ad_fail(c->error, AD_EARG,
                       "%s: log_det of generate is wrong: row %d has %.10g where normalize has %.10g, case %d", c->name,
                       r, back->log_det[r], there->log_det[r], c->case_number);
    }
    return AD_OK;
}

// ---- all laws at all points -----------------------------------------------------------------------------------------

static ad_status check_one_way(checking *c, flow_direction direction, const check_values *v, const check_values *w,
                               double *stretch) {
    const double *in = direction == FLOW_NORMALIZE ? c->x : c->z;
    check_values plain = {v->value, v->log_det, NULL};
    bool discrete = c->layer->discrete;
    // Without gradients first: a layer that mixes rows has no Jacobian by row to speak of.
    ad_status status = c->case_number == 0 ? check_again(c, direction) : AD_OK;
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, &plain);
    if (status == AD_OK) status = check_finite(c, direction, &plain);
    if (status == AD_OK) status = check_rows(c, direction, in, &plain);
    if (discrete && direction == FLOW_GENERATE) return status;
    if (status == AD_OK) status = check_run(c, direction, in, c->context, 0, c->B, v);
    if (status == AD_OK) status = check_structure(c, direction, v->jacobian);
    if (status == AD_OK) status = check_log_det(c, direction, v, stretch);
    if (status == AD_OK) status = check_round_trip(c, direction, in, v, stretch, w);
    if (status == AD_OK && discrete) status = check_opposite(c, v, w);
    if (status == AD_OK) status = check_context(c, direction, in, v, w);
    if (status == AD_OK) status = check_gradients(c, direction);
    return status;
}

static ad_status check_case(checking *c) {
    int64_t B = c->B, D = c->D;
    double *memory = calloc((size_t)(B * (D + 1 + D * D + D + 1 + 1)), sizeof *memory);
    if (!memory) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    check_values v = {memory, memory + B * D, memory + B * (D + 1)};
    double *rest = memory + B * (D + 1 + D * D);
    check_values w = {rest, rest + B * D, NULL};
    draw(c);
    check_values made = {c->x, v.log_det, NULL};  // whole numbers to start from
    ad_status status = c->layer->discrete ? check_run(c, FLOW_GENERATE, c->z, c->context, 0, c->B, &made) : AD_OK;
    if (c->constrained) status = check_draw_free(c);
    if (status == AD_OK && c->constrained) status = check_complete(c);
    // What is derived from a map says nothing clear before the map is right.
    flow_direction first = flow_given_direction(c->layer), second = first ? FLOW_NORMALIZE : FLOW_GENERATE;
    if (status == AD_OK) status = check_one_way(c, first, &v, &w, rest + B * (D + 1));
    if (status == AD_OK) status = check_one_way(c, second, &v, &w, rest + B * (D + 1));
    free(memory);
    return status;
}

// What is seen once, at the points and parameters of the last case. backup: room for all parameters.
static ad_status check_once(checking *c, double *backup) {
    ad_status status = c->constrained ? AD_OK : check_description(c);
    for (int i = 0; i < 2 && status == AD_OK; i++) {
        flow_direction direction = (flow_direction)i;
        status = check_threads(c, direction);
        if (status == AD_OK && !c->layer->discrete) status = check_narrow(c, direction, backup);
        if (c->constrained && direction == FLOW_NORMALIZE) continue;
        if (status == AD_OK) status = check_extremes(c, direction, AD_F64);
        if (status == AD_OK) status = check_extremes(c, direction, AD_F32);
    }
    return status;
}

static void settle(checking *c, flow_layer *layer, const flow_check_options *options, ad_error *error) {
    *c = (checking){.layer = layer, .name = layer->type->name, .error = error, .C = layer->C};
    if (options) c->o = *options;
    if (c->o.rows <= 0) c->o.rows = 7;
    if (c->o.cases <= 0) c->o.cases = 3;
    if (c->o.spread == 0) c->o.spread = 1;
    c->o.perturb = c->o.perturb == 0 ? 0.3 : fmax(c->o.perturb, 0);
    if (c->o.tolerance == 0) c->o.tolerance = 1e-9;
    c->B = c->o.rows;
    c->D = ad_shape_count(layer->x_shape);
    c->random = c->o.seed;
}

static ad_status prepare(checking *c) {
    if (ad_shape_count(c->layer->z_shape) != c->D) {
        return ad_fail(c->error, AD_ESHAPE, "%s: %lld features of data but %lld of latent: not a bijection", c->name,
                       (long long)c->D, (long long)ad_shape_count(c->layer->z_shape));
    }
    size_t n = (size_t)c->B * 2 * (size_t)(c->D + c->C);
    c->engine = ad_engine_new(&(ad_engine_options){.threads = 1}, c->error);
    c->tape = c->engine ? ad_tape_new(c->engine, AD_F64) : NULL;
    c->memory = calloc(n + 2 * check_param_bytes(&c->layer->owner) / sizeof(double) + 1, sizeof(double));
    if (!c->tape || !c->memory) return ad_fail(c->error, AD_ENOMEM, "flow_check: out of memory");
    c->x = c->memory;
    c->z = c->x + c->B * c->D;
    c->context = c->z + c->B * c->D;
    c->context2 = c->context + c->B * c->C;
    return AD_OK;
}

static void finish(checking *c) {
    ad_tape_free(c->tape);
    ad_engine_free(c->engine);
    free(c->memory);
}

ad_status flow_check(flow_layer *layer, const flow_check_options *options, ad_error *error) {
    checking c;
    check_free_layer seen;
    settle(&c, layer, options, error);
    if (layer->type->complete) {
        c.layer = check_free(&seen, layer);
        c.constrained = true;
        c.D = ad_shape_count(c.layer->x_shape);
    }
    ad_status status = prepare(&c);
    double *backup = status == AD_OK ? c.context2 + c.B * c.C : NULL;
    double *second = backup ? check_copy_params(&layer->owner, backup, false) : NULL;
    for (c.case_number = 0; c.case_number < c.o.cases && status == AD_OK; c.case_number++) {
        check_perturb(&layer->owner, c.o.perturb, &c.random);
        status = check_case(&c);
        if (status == AD_OK && !c.o.brief && c.case_number == c.o.cases - 1) status = check_once(&c, second);
        check_copy_params(&layer->owner, backup, true);
    }
    finish(&c);
    return status;
}
