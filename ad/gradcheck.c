// gradcheck.c -- gradients of a function against differences of its values, first and second order.
//
// y = f(x) is weighted to a scalar L = sum(w y), so that one gradient tests all of y. First order: g = dL/dx against
// differences of L in every element. Second order: with a random direction v, d(g.v)/dx against differences of g.v.
// Differences are central ones, extrapolated to step 0 (Ridders 1982), whose tableau also bounds their own error.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { ROWS = 3, TABLEAU = 8, ATTEMPTS = 3 };

typedef struct variable {  // one input of f
    ad_gradcheck_input is;
    int64_t rows, count;    // rows x count elements; rows 1 when shared
    int64_t near;           // points sampled near kinks so far
    double *x, *v;          // point and direction
    double *derivative[2];  // dL/dx and d(g.v)/dx
    ad_source x_source, v_source;
} variable;

typedef struct program {  // a tape with f recorded on it
    ad_tape *tape;
    ad_rows rows;
    ad_var y, scalar[2];  // L and g.v
    ad_var *x, *derivative[2];
} program;

typedef struct check {
    ad_function f;
    void *arg;
    int n, order, cases;
    double tolerance[2];
    uint64_t seed;
    ad_engine *engine;
    program values, gradients;
    variable *in;
    int64_t y_rows, y_count;
    double *w, *y, *y_other;  // weights of y; values of y
    ad_source w_source;
    ad_error *error;
} check;

typedef struct estimate {
    double value, error;
} estimate;

// ---- points -------------------------------------------------------------------------------------------------------

static double uniform(check *c, double low, double high) { return ad_sample_uniform(&c->seed, low, high); }
static double sample(check *c, variable *in) { return ad_sample(&in->is, &c->seed, &in->near); }

static void choose_point(check *c) {
    for (int i = 0; i < c->n; i++) {
        variable *in = &c->in[i];
        for (int64_t j = 0; j < in->rows * in->count; j++) {
            in->x[j] = sample(c, in);
            in->v[j] = uniform(c, -1, 1);
        }
    }
    for (int64_t j = 0; j < c->y_rows * c->y_count; j++) c->w[j] = uniform(c, 0.5, 1.5) * (j % 2 ? -1 : 1);
}

// ---- recording ----------------------------------------------------------------------------------------------------

static double *doubles(int64_t n) {
    return n < 0 || (uint64_t)n > SIZE_MAX / sizeof(double) - 1 ? NULL : calloc((size_t)n + 1, sizeof(double));
}

static ad_status tape_error(check *c, const ad_tape *tape) {
    return ad_fail(c->error, ad_tape_status(tape), "%s", ad_tape_message(tape));
}

static ad_var leaf(const program *p, const variable *in, const ad_source *source) {
    return in->is.rows ? ad_input(p->rows, in->is.shape, source) : ad_shared_input(p->tape, in->is.shape, source);
}

static ad_var total(ad_var x) {
    const ad_var sum = ad_sum(x);
    return ad_has_rows(sum) ? ad_sum_rows(sum) : sum;
}

// Room for the weights and values of y, whose shape is known once f has been recorded.
static ad_status measure_result(check *c, ad_var y) {
    c->y_count = ad_shape_count(ad_shape_of(y));
    c->y_rows = ad_has_rows(y) ? ad_rows_count(ad_rows_of(y)) : 1;
    const int64_t n = c->y_rows * c->y_count;
    c->w = doubles(n);
    c->y = doubles(n);
    c->y_other = doubles(n);
    if (!c->w || !c->y || !c->y_other) return ad_fail(c->error, AD_ENOMEM, "gradcheck: out of memory");
    c->w_source = (ad_source){c->w, AD_F64, c->y_rows, 0, NULL};
    return AD_OK;
}

static ad_status record_function(check *c, program *p) {
    if (!(p->tape = ad_tape_new(c->engine, AD_F64))) return ad_fail(c->error, AD_ENOMEM, "gradcheck: out of memory");
    for (int i = 0; i < c->n && !p->rows.tape; i++)
        if (c->in[i].is.rows) p->rows = ad_rows_new(p->tape, "gradcheck");
    if (p->rows.tape) ad_rows_set(p->rows, ROWS, 0);
    for (int i = 0; i < c->n; i++) p->x[i] = leaf(p, &c->in[i], &c->in[i].x_source);
    if (ad_tape_status(p->tape) == AD_OK) p->y = c->f(c->arg, p->x);
    if (ad_tape_status(p->tape) != AD_OK) return tape_error(c, p->tape);
    if (p->y.tape != p->tape || !ad_ok(p->y))
        return ad_fail(c->error, AD_EARG, "gradcheck: the function returned no value of the tape of its inputs");
    return AD_OK;
}

// L and, for second order, g.v; with gradients, their derivatives too.
static ad_status record(check *c, program *p, bool gradients) {
    ad_status status = record_function(c, p);
    if (status == AD_OK && !c->w) status = measure_result(c, p->y);
    if (status != AD_OK) return status;
    const ad_shape shape = ad_shape_of(p->y);
    const ad_var w = ad_has_rows(p->y) ? ad_input(ad_rows_of(p->y), shape, &c->w_source)
                                       : ad_shared_input(p->tape, shape, &c->w_source);
    p->scalar[0] = total(ad_mul(w, p->y));
    if (gradients || c->order == 2) ad_grad(p->scalar[0], p->x, c->n, p->derivative[0]);
    p->scalar[1] = ad_number(p->tape, 0);
    for (int i = 0; i < c->n && c->order == 2; i++)
        p->scalar[1] = ad_add(p->scalar[1], total(ad_mul(leaf(p, &c->in[i], &c->in[i].v_source), p->derivative[0][i])));
    if (gradients && c->order == 2) ad_grad(p->scalar[1], p->x, c->n, p->derivative[1]);
    if (!gradients) ad_keep(p->y);
    for (int o = 0; o < c->order; o++) {
        if (!gradients) ad_keep(p->scalar[o]);
        for (int i = 0; i < c->n && gradients; i++) ad_keep(p->derivative[o][i]);
    }
    return ad_tape_status(p->tape) == AD_OK ? AD_OK : tape_error(c, p->tape);
}

// ---- values -------------------------------------------------------------------------------------------------------

static ad_status run_values(check *c, double scalar[2]) {
    ad_status status = ad_run(c->values.tape);
    for (int o = 0; o < c->order && status == AD_OK; o++) status = ad_read(c->values.scalar[o], &scalar[o], 1);
    return status == AD_OK ? AD_OK : tape_error(c, c->values.tape);
}

static ad_status read_result(check *c, double *y, int64_t rows) {
    const ad_status status = ad_read(c->values.y, y, rows * c->y_count);
    return status == AD_OK ? AD_OK : tape_error(c, c->values.tape);
}

static ad_status run_gradients(check *c) {
    ad_status status = ad_run(c->gradients.tape);
    for (int o = 0; o < c->order && status == AD_OK; o++)
        for (int i = 0; i < c->n && status == AD_OK; i++) {
            const variable *in = &c->in[i];
            status = ad_read(c->gradients.derivative[o][i], in->derivative[o], in->rows * in->count);
        }
    return status == AD_OK ? AD_OK : tape_error(c, c->gradients.tape);
}

// ---- differences --------------------------------------------------------------------------------------------------

// Enters the difference at the k-th step (each 1.4 times shorter) into the tableau; keeps the entry with the least
// error.
static void extrapolate(double tableau[TABLEAU][TABLEAU], int k, double difference, estimate *best) {
    const double shrink2 = 1.4 * 1.4;
    double power = shrink2;
    tableau[k][0] = difference;
    if (k == 0) *best = (estimate){difference, INFINITY};
    for (int j = 1; j <= k; j++, power *= shrink2) {
        tableau[k][j] = (tableau[k][j - 1] * power - tableau[k - 1][j - 1]) / (power - 1);
        const double error = fmax(fabs(tableau[k][j] - tableau[k][j - 1]), fabs(tableau[k][j] - tableau[k - 1][j - 1]));
        if (error <= best->error) *best = (estimate){tableau[k][j], error};
    }
}

// Derivatives of both scalars in *x by central differences with steps from h down.
static ad_status differences(check *c, double *x, double h, estimate best[2]) {
    const double at = *x;
    double tableau[2][TABLEAU][TABLEAU], up[2] = {0, 0}, down[2] = {0, 0};
    ad_status status = AD_OK;
    for (int k = 0; k < TABLEAU && status == AD_OK; k++, h /= 1.4) {
        const double above = at + h, below = at - h;
        *x = above;
        status = run_values(c, up);
        *x = below;
        if (status == AD_OK) status = run_values(c, down);
        bool enough = true;
        for (int o = 0; o < c->order; o++) {
            extrapolate(tableau[o], k, (up[o] - down[o]) / (above - below), &best[o]);
            enough = enough && best[o].error <= 0.01 * c->tolerance[o];
        }
        if (enough) break;
    }
    *x = at;
    return status;
}

// The differences must be sharp enough to tell, and the gradient within their error and the tolerance. NaN never
// agrees.
static bool agree(double analytic, estimate numeric, double tolerance) {
    const double allowed = tolerance * fmax(1, fabs(numeric.value));
    return numeric.error <= allowed && fabs(analytic - numeric.value) <= allowed + numeric.error;
}

static ad_status report(check *c, int number, int order, int i, int64_t j, estimate numeric) {
    const variable *in = &c->in[i];
    char row[40] = "";
    if (in->is.rows) snprintf(row, sizeof row, "row %d, ", (int)(j / in->count));
    return ad_fail(
        c->error, AD_ENOGRAD,
        "gradcheck: %s order, input %d, %selement %lld (case %d, at %.6g): analytic %.12g, numeric %.12g +- %.1g",
        order == 0 ? "first" : "second", i, row, (long long)(j % in->count), number, in->x[j], in->derivative[order][j],
        numeric.value, numeric.error);
}

// All orders in element j of input i. A step may cross a kink that lies elsewhere than in this input: shorter ones
// decide.
static ad_status check_element(check *c, int number, int i, int64_t j) {
    variable *in = &c->in[i];
    double h = fmin(0.1, 0.9 * ad_sample_clearance(&in->is, in->x[j]));
    estimate numeric[2];
    int wrong = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++, h *= 0.05) {
        const ad_status status = differences(c, &in->x[j], h, numeric);
        if (status != AD_OK) return status;
        for (wrong = 0; wrong < c->order; wrong++)
            if (!agree(in->derivative[wrong][j], numeric[wrong], c->tolerance[wrong])) break;
        if (wrong == c->order) return AD_OK;
    }
    return report(c, number, wrong, i, j, numeric[wrong]);
}

static ad_status check_case(check *c, int number) {
    choose_point(c);
    ad_status status = run_gradients(c);
    for (int i = 0; i < c->n && status == AD_OK; i++)
        for (int64_t j = 0; j < c->in[i].rows * c->in[i].count && status == AD_OK; j++)
            status = check_element(c, number, i, j);
    return status;
}

// ---- rows alone and together --------------------------------------------------------------------------------------

// Row k of the next run is row index[k] of the point; the first has global number `first`.
static void select_rows(check *c, const int64_t *index, int64_t count, int64_t first) {
    for (int i = 0; i < c->n; i++)
        if (c->in[i].is.rows) c->in[i].x_source.index = c->in[i].v_source.index = index;
    c->w_source.index = index;
    ad_rows_set(c->values.rows, count, first);
}

// Whether y of the other rows stays as it is, to the bit, when row r moves: f may normalise over the batch, and then
// does not promise what check_alone asks for.
static ad_status moves_alone(check *c, int64_t r, bool *alone) {
    double unused[2];
    for (int i = 0; i < c->n; i++)
        for (int64_t j = r * c->in[i].count; c->in[i].is.rows && j < (r + 1) * c->in[i].count; j++)
            c->in[i].x[j] = sample(c, &c->in[i]);
    ad_status status = run_values(c, unused);
    if (status == AD_OK) status = read_result(c, c->y_other, ROWS);
    for (int64_t j = 0; j < ROWS * c->y_count; j++)
        if (j / c->y_count != r && memcmp(&c->y[j], &c->y_other[j], sizeof(double)) != 0) *alone = false;
    memcpy(c->y, c->y_other, (size_t)(ROWS * c->y_count) * sizeof(double));
    return status;
}

// First element in which rows index[0 .. count) of y, computed as a batch of their own, differ from c->y; -1: none.
static ad_status compare_rows(check *c, const int64_t *index, int64_t count, int64_t first, int64_t *differs) {
    double unused[2];
    *differs = -1;
    select_rows(c, index, count, first);
    ad_status status = run_values(c, unused);
    if (status == AD_OK) status = read_result(c, c->y_other, count);
    for (int64_t k = count * c->y_count - 1; k >= 0 && status == AD_OK; k--) {
        const int64_t j = index[k / c->y_count] * c->y_count + k % c->y_count;
        if (memcmp(&c->y[j], &c->y_other[k], sizeof(double)) != 0) *differs = j;
    }
    select_rows(c, NULL, ROWS, 0);
    return status;
}

// A row alone, or in another lane, must have to the bit the values it had. One of the two is enough: the number of rows
// may enter f (then only the lane is changed), and so may random numbers, which know their row (then it is left alone).
static ad_status check_alone(check *c) {
    static const int64_t turned[ROWS] = {1, 2, 0}, each[ROWS] = {0, 1, 2};
    bool alone = true;
    double unused[2];
    int64_t differs = -1, in_other_lane = -1;
    choose_point(c);
    ad_status status = run_values(c, unused);
    if (status == AD_OK) status = read_result(c, c->y, ROWS);
    for (int64_t r = 0; r < ROWS && status == AD_OK; r++) status = moves_alone(c, r, &alone);
    if (status == AD_OK) status = compare_rows(c, turned, ROWS, 0, &in_other_lane);
    for (int64_t r = 0; r < ROWS && status == AD_OK && differs < 0; r++)
        status = compare_rows(c, &each[r], 1, r, &differs);
    if (status != AD_OK || !alone || differs < 0 || in_other_lane < 0) return status;
    return ad_fail(c->error, AD_ENOGRAD,
                   "gradcheck: row %d, element %lld of the result is %.17g in a batch, and not alone",
                   (int)(differs / c->y_count), (long long)(differs % c->y_count), c->y[differs]);
}

// ---- set-up -------------------------------------------------------------------------------------------------------

static ad_status new_variable(check *c, int i, const ad_gradcheck_input *input) {
    variable *in = &c->in[i];
    in->is = ad_sample_input(input);
    in->rows = input->rows ? ROWS : 1;
    in->count = ad_shape_count(input->shape);
    if (in->count < 0) return ad_fail(c->error, AD_ESHAPE, "gradcheck: input %d: bad shape", i);
    if (!(in->is.low < in->is.high) || !isfinite(in->is.low) || !isfinite(in->is.high))
        return ad_fail(c->error, AD_EARG, "gradcheck: input %d: range from %g to %g", i, input->low, input->high);
    const int64_t n = in->rows * in->count;
    in->x = doubles(n);
    in->v = doubles(n);
    in->derivative[0] = doubles(n);
    in->derivative[1] = doubles(n);
    if (!in->x || !in->v || !in->derivative[0] || !in->derivative[1])
        return ad_fail(c->error, AD_ENOMEM, "gradcheck: out of memory");
    in->x_source = (ad_source){in->x, AD_F64, in->rows, 0, NULL};
    in->v_source = (ad_source){in->v, AD_F64, in->rows, 0, NULL};
    return AD_OK;
}

static bool new_program(program *p, int n) {
    p->x = calloc((size_t)n + 1, sizeof *p->x);
    p->derivative[0] = calloc((size_t)n + 1, sizeof *p->x);
    p->derivative[1] = calloc((size_t)n + 1, sizeof *p->x);
    return p->x && p->derivative[0] && p->derivative[1];
}

static void free_program(program *p) {
    ad_tape_free(p->tape);
    free(p->x);
    free(p->derivative[0]);
    free(p->derivative[1]);
}

static ad_status run_check(check *c, const ad_gradcheck_input *inputs) {
    const ad_engine_options one_thread = {.threads = 1};
    if (!c->in || !new_program(&c->values, c->n) || !new_program(&c->gradients, c->n))
        return ad_fail(c->error, AD_ENOMEM, "gradcheck: out of memory");
    ad_error error = {AD_OK, ""};
    if (!(c->engine = ad_engine_new(&one_thread, &error))) return ad_fail(c->error, error.status, "%s", error.message);
    ad_status status = AD_OK;
    for (int i = 0; i < c->n && status == AD_OK; i++) status = new_variable(c, i, &inputs[i]);
    if (status == AD_OK) status = record(c, &c->values, false);
    if (status == AD_OK) status = record(c, &c->gradients, true);
    for (int number = 0; number < c->cases && status == AD_OK; number++) status = check_case(c, number);
    const program *p = &c->values;
    if (status == AD_OK && p->rows.tape && ad_has_rows(p->y) && ad_rows_of(p->y).id == p->rows.id)
        status = check_alone(c);
    return status;
}

static void free_check(check *c) {
    free_program(&c->values);
    free_program(&c->gradients);
    ad_engine_free(c->engine);
    for (int i = 0; i < c->n && c->in; i++) {
        free(c->in[i].x);
        free(c->in[i].v);
        free(c->in[i].derivative[0]);
        free(c->in[i].derivative[1]);
    }
    free(c->in);
    free(c->w);
    free(c->y);
    free(c->y_other);
}

ad_status ad_gradcheck(ad_function f, void *arg, const ad_gradcheck_input *inputs, int n,
                       const ad_gradcheck_options *options, ad_error *error) {
    const ad_gradcheck_options defaults = {0};
    if (!options) options = &defaults;
    if (!f || n < 1 || !inputs) return ad_fail(error, AD_EARG, "gradcheck: needs a function and at least one input");
    check c = {.f = f, .arg = arg, .n = n, .seed = options->seed, .error = error};
    c.order = options->order == 1 ? 1 : 2;
    c.cases = options->cases > 0 ? options->cases : 10;
    c.tolerance[0] = options->tolerance1 > 0 ? options->tolerance1 : 1e-7;
    c.tolerance[1] = options->tolerance2 > 0 ? options->tolerance2 : 1e-6;
    c.in = calloc((size_t)n, sizeof *c.in);
    const ad_status status = run_check(&c, inputs);
    free_check(&c);
    return status;
}
