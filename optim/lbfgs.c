// lbfgs.c -- L-BFGS with a line search for the strong Wolfe conditions.
//
// Nocedal and Wright 2006: two-loop recursion (algorithm 7.4), line search (3.5) and zoom (3.6) with cubic
// interpolation (eq. 3.59) kept away from the ends of the bracket. A point without a finite loss and gradient counts as
// a loss of infinity.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// The loss along the direction, at a length.
typedef struct point {
    double length, loss, slope;
} point;

struct optim_lbfgs {
    ad_param **params;
    int n_params;
    int64_t n;  // elements of all that are not frozen
    optim_evaluate evaluate;
    void *arg;
    optim_lbfgs_options o;
    double *memory;
    double *x, *g, *direction, *low_x, *low_g, *trial_x, *trial_g;  // [n] each
    double *s, *y;                                                  // [history][n]: steps, changes of the gradient
    double *rho, *alpha;                                            // [history]: 1 / (s.y)
    int pairs, next;                                                // kept, and where the next goes
    double loss;
    bool started;
    int evaluations;  // of this step
};

// ---- parameters as one vector -------------------------------------------------------------------------------------

static void gather(const optim_lbfgs *l, bool gradient, double *out) {
    for (int i = 0; i < l->n_params; i++) {
        const ad_param *p = l->params[i];
        const void *from = gradient ? p->grad : p->data;
        for (int64_t k = 0; k < p->count; k++) {
            *out++ = p->type == AD_F64 ? ((const double *)from)[k] : (double)((const float *)from)[k];
        }
    }
}

static void scatter(const optim_lbfgs *l, const double *x) {
    for (int i = 0; i < l->n_params; i++) {
        for (int64_t k = 0; k < l->params[i]->count; k++) ad_param_set(l->params[i], k, *x++);
    }
}

static double dot(int64_t n, const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double largest(int64_t n, const double *a) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(a[i]));
    return most;
}

// ---- made ---------------------------------------------------------------------------------------------------------

static bool settle(optim_lbfgs_options *o, ad_error *error) {
    if (o->history == 0) o->history = 10;
    if (o->first_step == 0) o->first_step = 1;
    if (o->decrease == 0) o->decrease = 1e-4;
    if (o->curvature == 0) o->curvature = 0.9;
    if (o->evaluations == 0) o->evaluations = 25;
    if (o->tolerance == 0) o->tolerance = 1e-8;
    if (o->history >= 1 && o->history <= 1000 && o->first_step > 0 && isfinite(o->first_step) && o->decrease > 0 &&
        o->decrease < o->curvature && o->curvature < 1 && o->evaluations >= 2 && o->tolerance > 0) {
        return true;
    }
    ad_fail(error, AD_EARG,
            "lbfgs: history %d, first_step %g, decrease %g, curvature %g, evaluations %d, tolerance %g; expected 1 to "
            "1000, above "
            "0, 0 < decrease < curvature < 1, 2 or more, above 0",
            o->history, o->first_step, o->decrease, o->curvature, o->evaluations, o->tolerance);
    return false;
}

static bool allocate(optim_lbfgs *l, ad_param *const *params, int n) {
    l->params = calloc((size_t)n + 1, sizeof *params);
    if (!l->params) return false;
    for (int i = 0; i < n; i++) {
        if (params[i]->frozen) continue;
        l->params[l->n_params++] = params[i];
        l->n += params[i]->count;
    }
    const size_t h = (size_t)l->o.history, most = SIZE_MAX / sizeof(double) / (2 * h + 8);
    if ((size_t)l->n > most) return false;
    l->memory = calloc((2 * h + 7) * (size_t)l->n + 2 * h, sizeof(double));
    if (!l->memory) return false;
    double **vectors[] = {&l->x, &l->g, &l->direction, &l->low_x, &l->low_g, &l->trial_x, &l->trial_g}, *at = l->memory;
    for (int i = 0; i < 7; i++, at += l->n) *vectors[i] = at;
    l->s = at;
    l->y = l->s + (int64_t)h * l->n;
    l->rho = l->y + (int64_t)h * l->n;
    l->alpha = l->rho + h;
    return true;
}

optim_lbfgs *optim_lbfgs_new(ad_param *const *params, int n, optim_evaluate evaluate, void *arg,
                             const optim_lbfgs_options *options, ad_error *error) {
    optim_lbfgs_options o = options ? *options : (optim_lbfgs_options){0};
    if (!settle(&o, error)) return NULL;
    if (!evaluate || n < 0) {
        ad_fail(error, AD_EARG, "lbfgs: %s; expected a function and 0 or more parameters",
                evaluate ? "n below 0" : "no function");
        return NULL;
    }
    optim_lbfgs *l = calloc(1, sizeof *l);
    if (l) *l = (optim_lbfgs){.evaluate = evaluate, .arg = arg, .o = o};
    if (l && allocate(l, params, n)) return l;
    optim_lbfgs_free(l);
    ad_fail(error, AD_ENOMEM, "lbfgs: out of memory for %d parameters", n);
    return NULL;
}

void optim_lbfgs_free(optim_lbfgs *lbfgs) {
    if (!lbfgs) return;
    free(lbfgs->params);
    free(lbfgs->memory);
    free(lbfgs);
}

// ---- the direction ------------------------------------------------------------------------------------------------

// -H g, H the inverse Hessian that the pairs suggest; -g where that does not point downhill.
static void set_direction(optim_lbfgs *l) {
    const int64_t n = l->n;
    const int h = l->o.history;
    double *d = l->direction;
    for (int64_t i = 0; i < n; i++) d[i] = -l->g[i];
    for (int k = 1; k <= l->pairs; k++) {
        int j = (l->next - k + h) % h;
        l->alpha[j] = l->rho[j] * dot(n, l->s + j * n, d);
        for (int64_t i = 0; i < n; i++) d[i] -= l->alpha[j] * l->y[j * n + i];
    }
    if (l->pairs > 0) {
        const double *y = l->y + (l->next - 1 + h) % h * n;
        double scale = 1 / (l->rho[(l->next - 1 + h) % h] * dot(n, y, y));
        for (int64_t i = 0; i < n; i++) d[i] *= scale;
    }
    for (int k = l->pairs; k >= 1; k--) {
        int j = (l->next - k + h) % h;
        double beta = l->rho[j] * dot(n, l->y + j * n, d);
        for (int64_t i = 0; i < n; i++) d[i] += (l->alpha[j] - beta) * l->s[j * n + i];
    }
    double slope = dot(n, d, l->g);
    if (slope < 0 && isfinite(slope)) return;
    l->pairs = 0;
    for (int64_t i = 0; i < n; i++) d[i] = -l->g[i];
}

// s and y of a step taken, where the curvature along it is positive.
static void keep_pair(optim_lbfgs *l, const double *x, const double *g) {
    const int64_t n = l->n;
    double *s = l->s + l->next * n, *y = l->y + l->next * n;
    for (int64_t i = 0; i < n; i++) {
        s[i] = x[i] - l->x[i];
        y[i] = g[i] - l->g[i];
    }
    double sy = dot(n, s, y), yy = dot(n, y, y);
    if (!(sy > DBL_EPSILON * yy) || !isfinite(yy)) return;
    l->rho[l->next] = 1 / sy;
    l->next = (l->next + 1) % l->o.history;
    if (l->pairs < l->o.history) l->pairs++;
}

// ---- the line search ----------------------------------------------------------------------------------------------

// The loss at x + length direction (as the parameters' type holds it, in trial_x), its gradient in trial_g.
static ad_status evaluate_at(optim_lbfgs *l, double length, point *p, ad_error *error) {
    for (int64_t i = 0; i < l->n; i++) l->trial_x[i] = l->x[i] + length * l->direction[i];
    scatter(l, l->trial_x);
    gather(l, false, l->trial_x);
    *p = (point){length, NAN, NAN};
    l->evaluations++;
    ad_status status = l->evaluate(l->arg, &p->loss, error);
    if (status != AD_OK && status != AD_ENONFINITE) return status;
    gather(l, true, l->trial_g);
    p->slope = dot(l->n, l->trial_g, l->direction);
    if (status != AD_OK || !isfinite(p->loss) || !isfinite(p->slope)) p->loss = INFINITY;
    return AD_OK;
}

static void keep_low(optim_lbfgs *l) {
    memcpy(l->low_x, l->trial_x, (size_t)l->n * sizeof(double));
    memcpy(l->low_g, l->trial_g, (size_t)l->n * sizeof(double));
}

// Where the cubic through both losses and slopes is least, at least a tenth of the bracket away from its ends.
static double between(const point *a, const point *b) {
    double width = b->length - a->length, middle = a->length + 0.5 * width;
    if (!isfinite(b->loss)) return a->length + 0.1 * width;
    double d1 = a->slope + b->slope - 3 * (a->loss - b->loss) / (a->length - b->length),
           root = d1 * d1 - a->slope * b->slope;
    if (!(root >= 0)) return middle;
    double d2 = copysign(sqrt(root), width);
    double at = b->length - width * (b->slope + d2 - d1) / (b->slope - a->slope + 2 * d2);
    if (!isfinite(at)) return middle;
    double edge = 0.1 * fabs(width), low = fmin(a->length, b->length) + edge, high = fmax(a->length, b->length) - edge;
    return fmin(fmax(at, low), high);
}

static bool too_high(const optim_lbfgs *l, const point *start, const point *p) {
    return !(p->loss <= start->loss + l->o.decrease * p->length * start->slope);
}
static bool flat_enough(const optim_lbfgs *l, const point *start, const point *p) {
    return fabs(p->slope) <= -l->o.curvature * start->slope;
}

// Narrows low .. high (low: the least loss so far, low_x and low_g its place) until low does, or there is no more to
// try.
static ad_status zoom(optim_lbfgs *l, const point *start, point *low, point high, ad_error *error) {
    const double size = largest(l->n, l->direction);
    while (l->evaluations < l->o.evaluations &&
           fabs(high.length - low->length) * size > 1e-16 * (1 + largest(l->n, l->x))) {
        point p;
        ad_status status = evaluate_at(l, between(low, &high), &p, error);
        if (status != AD_OK) return status;
        if (too_high(l, start, &p) || p.loss >= low->loss) {
            high = p;
            continue;
        }
        bool done = flat_enough(l, start, &p);
        if (p.slope * (high.length - low->length) >= 0) high = *low;
        *low = p;
        keep_low(l);
        if (done) break;
    }
    return AD_OK;
}

// From length on: *low is where it ends, low->length 0 when no lower loss was found.
static ad_status search(optim_lbfgs *l, double length, point *low, ad_error *error) {
    const point start = *low;
    while (l->evaluations < l->o.evaluations) {
        point p;
        ad_status status = evaluate_at(l, length, &p, error);
        if (status != AD_OK) return status;
        if (too_high(l, &start, &p) || (low->length > 0 && p.loss >= low->loss)) return zoom(l, &start, low, p, error);
        point before = *low;
        *low = p;
        keep_low(l);
        if (flat_enough(l, &start, &p)) return AD_OK;
        if (p.slope >= 0) return zoom(l, &start, low, before, error);
        length *= 4;
    }
    return AD_OK;
}

// ---- a step -------------------------------------------------------------------------------------------------------

static ad_status begin(optim_lbfgs *l, ad_error *error) {
    gather(l, false, l->x);
    memset(l->direction, 0, (size_t)l->n * sizeof(double));
    point p;
    ad_status status = evaluate_at(l, 0, &p, error);
    if (status != AD_OK) return status;
    memcpy(l->g, l->trial_g, (size_t)l->n * sizeof(double));
    if (!isfinite(p.loss)) {
        return ad_fail(error, AD_ENONFINITE, "lbfgs: loss or gradient are not finite where the first step starts");
    }
    l->loss = p.loss;
    l->started = true;
    return AD_OK;
}

static void take(optim_lbfgs *l, const point *low) {
    keep_pair(l, l->low_x, l->low_g);
    memcpy(l->x, l->low_x, (size_t)l->n * sizeof(double));
    memcpy(l->g, l->low_g, (size_t)l->n * sizeof(double));
    l->loss = low->loss;
}

ad_status optim_lbfgs_update(optim_lbfgs *l, optim_lbfgs_iteration *done, ad_error *error) {
    l->evaluations = 0;
    ad_status status = l->started ? AD_OK : begin(l, error);
    point low = {0};
    bool converged = false;
    if (status == AD_OK && !(converged = largest(l->n, l->g) <= l->o.tolerance)) {
        set_direction(l);
        low = (point){0, l->loss, dot(l->n, l->direction, l->g)};
        double sum = 0;
        for (int64_t i = 0; i < l->n; i++) sum += fabs(l->g[i]);
        double length = l->pairs ? 1 : fmin(1, 1 / sum) * l->o.first_step;
        status = search(l, length, &low, error);
        if (status == AD_OK && low.length > 0) take(l, &low);
        scatter(l, l->x);
        if (status == AD_OK && low.length == 0) l->pairs = 0;  // the next step tries the gradient alone
        converged = largest(l->n, l->g) <= l->o.tolerance;
    }
    if (done && status == AD_OK) {
        *done = (optim_lbfgs_iteration){.loss = l->loss,
                                        .grad_norm = sqrt(dot(l->n, l->g, l->g)),
                                        .length = low.length,
                                        .evaluations = l->evaluations,
                                        .converged = converged,
                                        .stuck = !converged && low.length == 0};
    }
    return status;
}
