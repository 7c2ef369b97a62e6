// check_op.c -- every check of an op, over its tests.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { ROWS = 3, POINTS = 5 };  // points: at which all but differences are looked at

int ad_op_orders(const ad_op *op) {
    if (op->vjp || op->expand || (op->flags & AD_OP_CONSTANT) || op->role != AD_ROLE_PLAIN) return 2;
    return op->vjp_kernel[0] && op->vjp_kernel[1] ? 1 : 0;
}

// ---- the descriptor -------------------------------------------------------------------------------------------------

static ad_status check_input(check *c, int i) {
    const ad_gradcheck_input in = ad_sample_input(&c->test->x[i]);
    if (ad_shape_count(in.shape) < 1)
        return ad_check_fail(c, AD_EARG, "input %d: its shape has no elements, or too many", i);
    if (!(in.low < in.high) || !isfinite(in.low) || !isfinite(in.high))
        return ad_check_fail(c, AD_EARG, "input %d: range from %g to %g", i, in.low, in.high);
    if (in.n_kinks > 0 && !in.kinks)
        return ad_check_fail(c, AD_EARG, "input %d: %d kinks, and no list of them", i, in.n_kinks);
    return AD_OK;
}

ad_status ad_op_complete(const ad_op *op, ad_error *error) {
    if (!op || !op->name || !op->name[0]) return ad_fail(error, AD_EARG, "an op without a name");
    const bool elementwise = op->flags & AD_OP_ELEMENTWISE;
    for (int type = 0; type < 2 && op->role == AD_ROLE_PLAIN; type++) {
        const char *name = type ? "f64" : "f32";
        if (elementwise ? !op->lanes[type] : !op->kernel[type])
            return ad_fail(error, AD_EARG, "op %s: no %s kernel", op->name, name);
        if (!op->vjp_kernel[type] && op->vjp_kernel[!type])
            return ad_fail(error, AD_EARG, "op %s: no %s vjp kernel", op->name, name);
    }
    if (!elementwise && !op->shape) return ad_fail(error, AD_EARG, "op %s: no shape rule", op->name);
    for (int type = 0; type < 2; type++)
        if (!(op->ulp[type] >= 0) || isinf(op->ulp[type]))
            return ad_fail(error, AD_EARG, "op %s: error bound of %g ulp", op->name, op->ulp[type]);
    if (!op->tests || op->n_tests < 1) return ad_fail(error, AD_EARG, "op %s: no tests", op->name);
    check c = {.op = op, .error = error};
    ad_status status = AD_OK;
    for (c.number = 0; c.number < op->n_tests && status == AD_OK; c.number++) {
        c.test = &op->tests[c.number];
        if (c.test->n < 1 || c.test->n > CHECK_INPUTS) return ad_check_fail(&c, AD_EARG, "%d inputs", c.test->n);
        for (int i = 0; i < c.test->n && status == AD_OK; i++) status = check_input(&c, i);
    }
    return status;
}

// ---- differences ----------------------------------------------------------------------------------------------------

static ad_var apply(void *arg, const ad_var *x) {
    const check *c = arg;
    return ad_apply(c->op, x, c->test->n, NULL, 0);
}

static ad_status check_differences(check *c, int cases) {
    ad_error error = {AD_OK, ""};
    const ad_gradcheck_options options = {.order = c->order, .cases = cases, .seed = c->seed};
    const ad_status status = c->test->f ? ad_gradcheck(c->test->f, NULL, c->test->x, c->test->n, &options, &error)
                                        : ad_gradcheck(apply, c, c->test->x, c->test->n, &options, &error);
    return status == AD_OK ? AD_OK : ad_check_fail(c, status, "%s", error.message);
}

// ---- symmetry of second derivatives ---------------------------------------------------------------------------------

typedef struct directions {  // u and v of all inputs, and H of the one that was run
    double *d[2][CHECK_INPUTS], *h[2][CHECK_INPUTS];
    int64_t n[CHECK_INPUTS];
} directions;

static bool directions_new(check *c, directions *d) {
    bool room = true;
    for (int i = 0; i < c->test->n; i++) {
        d->n[i] = c->count[i] * (c->in[i].rows ? ROWS : 1);
        for (int k = 0; k < 2; k++) {
            d->d[k][i] = calloc((size_t)d->n[i], sizeof(double));
            d->h[k][i] = calloc((size_t)d->n[i], sizeof(double));
            room = room && d->d[k][i] && d->h[k][i];
            for (int64_t j = 0; room && j < d->n[i]; j++) d->d[k][i][j] = ad_sample_uniform(&c->seed, -1, 1);
        }
    }
    return room;
}

static void directions_free(directions *d) {
    for (int i = 0; i < CHECK_INPUTS; i++)
        for (int k = 0; k < 2; k++) free(d->d[k][i]), free(d->h[k][i]);
}

// H times direction k into d->h[k].
static ad_status hessian_times(check *c, directions *d, int k) {
    ad_tape *t = c->tape[AD_F64];
    const check_way way = ad_check_declared(c, AD_F64, ROWS);
    ad_source sources[CHECK_INPUTS], v[CHECK_INPUTS];
    ad_var x[CHECK_INPUTS], g[CHECK_INPUTS], h[CHECK_INPUTS];
    ad_var y = ad_check_record(c, &way, sources, x);
    if (ad_tape_status(t) == AD_OK) ad_grad(ad_check_weigh(y), x, c->test->n, g);
    ad_var slope = ad_number(t, 0);
    for (int i = 0; i < c->test->n && ad_tape_status(t) == AD_OK; i++) {
        v[i] = (ad_source){d->d[k][i], AD_F64, ROWS, 0, NULL};
        const ad_var vi = c->in[i].rows ? ad_input(ad_rows_of(x[i]), c->in[i].shape, &v[i])
                                        : ad_shared_input(t, c->in[i].shape, &v[i]);
        const ad_var part = ad_sum(ad_mul(vi, g[i]));
        slope = ad_add(slope, ad_has_rows(part) ? ad_sum_rows(part) : part);
    }
    if (ad_tape_status(t) == AD_OK) ad_grad(slope, x, c->test->n, h);
    for (int i = 0; i < c->test->n && ad_tape_status(t) == AD_OK; i++) ad_keep(h[i]);
    if (ad_tape_status(t) == AD_OK) ad_run(t);
    for (int i = 0; i < c->test->n && ad_tape_status(t) == AD_OK; i++) ad_read(h[i], d->h[k][i], d->n[i]);
    return ad_tape_status(t) == AD_OK ? AD_OK : ad_check_fail(c, ad_tape_status(t), "%s", ad_tape_message(t));
}

// <u, H v> = <v, H u>, whatever differences say: to 1e-10 of the sum of absolute values, or of 1 if that is larger.
static ad_status check_symmetry(check *c) {
    directions d = {0};
    ad_status status = directions_new(c, &d) ? AD_OK : ad_check_fail(c, AD_ENOMEM, "out of memory");
    for (int k = 0; k < 2 && status == AD_OK; k++) status = hessian_times(c, &d, k);
    double sum[2] = {0, 0}, most = 1;
    for (int i = 0; i < c->test->n && status == AD_OK; i++)
        for (int64_t j = 0; j < d.n[i]; j++)
            for (int k = 0; k < 2; k++) {
                const double term = d.d[!k][i][j] * d.h[k][i][j];
                sum[k] += term, most += fabs(term);
            }
    directions_free(&d);
    if (status != AD_OK || fabs(sum[0] - sum[1]) <= 1e-10 * most) return status;
    return ad_check_fail(c, AD_ENOGRAD, "second derivatives are not symmetric: <u, H v> is %.12g, <v, H u> is %.12g",
                         sum[0], sum[1]);
}

// ---- orders that are not claimed ------------------------------------------------------------------------------------

// The gradient of the op's first application in its operands, order times: inert after the first error.
static ad_var differentiate(check *c, int order) {
    ad_tape *t = c->tape[AD_F64];
    const check_way way = ad_check_declared(c, AD_F64, ROWS);
    ad_source sources[CHECK_INPUTS];
    ad_var x[CHECK_INPUTS];
    ad_check_record(c, &way, sources, x);
    uint32_t id = 0;
    while (id < t->n_nodes && (t->nodes[id].op != c->op || t->nodes[id].n == 0)) id++;
    if (id == t->n_nodes || ad_tape_status(t) != AD_OK) return AD_NONE;
    const ad_var operand = ad_var_at(t, ad_node_inputs(t->stream, &t->nodes[id])[0]);
    ad_var v = ad_var_at(t, id);
    for (int o = 0; o < order; o++) {
        ad_var g = AD_NONE;
        ad_grad(ad_check_weigh(o ? ad_square(v) : v), &operand, 1, &g);
        if (ad_tape_status(t) != AD_OK) return ad_inert(t);
        v = g;
    }
    return v;
}

static ad_status check_zero(check *c) {
    const ad_var g = differentiate(c, 1);
    if (!g.tape) return AD_OK;
    const int64_t n = ad_shape_count(ad_shape_of(g)) * (ad_has_rows(g) ? ROWS : 1);
    double *value = calloc((size_t)(n > 0 ? n : 1), sizeof *value);
    ad_status status = value ? AD_OK : AD_ENOMEM;
    if (status == AD_OK) ad_keep(g), status = ad_run(g.tape);
    if (status == AD_OK) status = ad_read(g, value, n);
    if (status != AD_OK) ad_check_fail(c, status, "%s", ad_tape_message(g.tape));
    for (int64_t j = 0; j < n && status == AD_OK; j++)
        if (value[j] != 0) status = ad_check_fail(c, AD_ENOGRAD, "flagged constant, and its gradient is %g", value[j]);
    free(value);
    return status;
}

// The order after the last claimed one must be an error that names the op.
static ad_status check_orders(check *c) {
    const int orders = ad_op_orders(c->op);
    if (c->op->role != AD_ROLE_PLAIN) return AD_OK;
    if (c->op->flags & AD_OP_CONSTANT) return check_zero(c);
    if (orders == 2) return AD_OK;
    const ad_var g = differentiate(c, orders + 1);
    const ad_tape *t = c->tape[AD_F64];
    if (!g.tape || (ad_tape_status(t) == AD_ENOGRAD && strstr(ad_tape_message(t), c->op->name))) return AD_OK;
    return ad_check_fail(c, AD_ENOGRAD, "derivatives of order %d are not claimed, and not refused by name: %s",
                         orders + 1, ad_tape_message(t));
}

// ---- all ------------------------------------------------------------------------------------------------------------

static ad_status begin_test(check *c) {
    c->test = &c->op->tests[c->number];
    c->order = ad_op_orders(c->op);
    if (c->order == 2 && c->test->order == 1) c->order = 1;
    for (int i = 0; i < c->test->n; i++) {
        c->in[i] = ad_sample_input(&c->test->x[i]);
        c->count[i] = ad_shape_count(c->in[i].shape);
        c->x[i] = calloc((size_t)(CHECK_ROWS * c->count[i]), sizeof(double));
        c->moved[i] = calloc((size_t)(CHECK_ROWS * c->count[i]), sizeof(double));
        if (!c->x[i] || !c->moved[i]) return ad_check_fail(c, AD_ENOMEM, "out of memory");
    }
    return AD_OK;
}

static void end_test(check *c) {
    for (int i = 0; i < CHECK_INPUTS; i++) {
        free(c->x[i]), free(c->moved[i]);
        c->x[i] = c->moved[i] = NULL;
    }
}

static ad_status check_test(check *c, int cases, bool *found) {
    ad_status status = begin_test(c);
    if (status == AD_OK && c->order > 0) status = check_differences(c, cases);
    for (int k = 0; k < cases && k < POINTS && status == AD_OK; k++) {
        status = ad_check_ways(c);
        ad_check_choose(c, 0, 0);
        if (status == AD_OK) status = ad_check_kernels(c, found);
    }
    for (int k = 0; k < cases && c->order == 2 && status == AD_OK; k++) {
        ad_check_choose(c, 0, 0);
        status = check_symmetry(c);
    }
    if (status == AD_OK) status = check_orders(c);
    end_test(c);
    return status;
}

static ad_status check_tests(check *c, int cases) {
    bool found = c->op->role != AD_ROLE_PLAIN;
    ad_status status = AD_OK;
    for (c->number = 0; c->number < c->op->n_tests && status == AD_OK; c->number++) {
        c->seed = (uint64_t)c->number;
        status = check_test(c, cases, &found);
    }
    if (status == AD_OK && !found) status = ad_fail(c->error, AD_EARG, "op %s: none of its tests uses it", c->op->name);
    return status;
}

ad_status ad_check_op(const ad_op *op, int cases, ad_error *error) {
    const ad_engine_options one_thread = {.threads = 1};
    ad_status status = ad_op_complete(op, error);
    if (status != AD_OK) return status;
    check c = {.op = op, .error = error, .without = *op};
    c.without.vjp_kernel[0] = c.without.vjp_kernel[1] = NULL;
    if (!(c.engine = ad_engine_new(&one_thread, error))) return error ? error->status : AD_ENOMEM;
    c.tape[0] = ad_tape_new(c.engine, AD_F32);
    c.tape[1] = ad_tape_new(c.engine, AD_F64);
    status =
        c.tape[0] && c.tape[1] ? check_tests(&c, cases > 0 ? cases : 10) : ad_fail(error, AD_ENOMEM, "out of memory");
    ad_tape_free(c.tape[0]);
    ad_tape_free(c.tape[1]);
    ad_engine_free(c.engine);
    return status;
}
