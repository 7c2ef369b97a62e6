// check_value.c -- a test's function evaluated: inputs per row or shared, in f32 or f64, in a batch of some rows.
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

ad_status ad_check_fail(const check *c, ad_status status, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ad_fail(c->error, status, "op %s, test %d: %s", c->op->name, c->number, text);
}

check_way ad_check_declared(const check *c, ad_type type, int64_t count) {
    check_way way = {.type = type, .count = count, .need = c->order ? (1u << c->test->n) - 1 : 0};
    for (int i = 0; i < c->test->n; i++) way.rows[i] = c->in[i].rows;
    return way;
}

// Rounded to f32, so that tapes of both types compute the same.
void ad_check_choose(check *c, double low, double high) {
    for (int i = 0; i < c->test->n; i++) {
        ad_gradcheck_input in = c->in[i];
        int64_t near = 0;
        if (low < high) in.low = fmax(in.low, low), in.high = fmin(in.high, high);
        for (int64_t j = 0; j < CHECK_ROWS * c->count[i]; j++) {
            c->x[i][j] = (float)ad_sample(&in, &c->seed, &near);
            c->moved[i][j] = c->x[i][j] * (1 + (ad_sample_uniform(&c->seed, 0, 1) < 0.5 ? -1 : 1) * 0x1p-24);
        }
    }
}

// ---- recording ------------------------------------------------------------------------------------------------------

static const int64_t row_zero[CHECK_ROWS];

static ad_var leaf(check *c, const check_way *way, int i, ad_source *source) {
    ad_tape *t = c->tape[way->type];
    const double *x = way->moved ? c->moved[i] : c->x[i];
    *source = (ad_source){x + (way->repeat[i] ? 0 : way->first * c->count[i]), AD_F64, way->count, 0,
                          way->repeat[i] ? row_zero : NULL};
    if (!way->rows[i]) return ad_shared_input(t, c->in[i].shape, source);
    ad_rows rows = ad_rows_new(t, "rows");
    ad_rows_set(rows, way->count, way->first);
    return ad_input(rows, c->in[i].shape, source);
}

ad_var ad_check_record(check *c, const check_way *way, ad_source *sources, ad_var *x) {
    ad_tape *t = c->tape[way->type];
    ad_tape_reset(t);
    for (int i = 0; i < c->test->n; i++) x[i] = way->alias && i ? x[0] : leaf(c, way, i, &sources[i]);
    ad_var y = c->test->f ? c->test->f(NULL, x) : ad_apply(c->op, x, c->test->n, NULL, 0);
    if (ad_tape_status(t) == AD_OK && (y.tape != t || !ad_ok(y)))
        ad_tape_fail(t, AD_EARG, "the test's function gave no value of its inputs' tape");
    return way->with && ad_tape_status(t) == AD_OK ? ad_replace(y, c->op, way->with, c) : y;
}

ad_var ad_check_weigh(ad_var y) {
    int64_t n = ad_shape_count(ad_shape_of(y));
    double *w = malloc((size_t)(n > 0 ? n : 1) * sizeof *w);
    if (!w) return AD_NONE;
    for (int64_t j = 0; j < n; j++) w[j] = (j % 2 ? -1 : 1) * (0.5 + fmod(0.618 * (double)(j + 1), 1));
    ad_var sum = ad_sum(ad_mul(ad_constant(y.tape, ad_shape_of(y), w), y));
    free(w);
    return ad_has_rows(sum) ? ad_sum_rows(sum) : sum;
}

// ---- results --------------------------------------------------------------------------------------------------------

// Whether v is computed from more rows than its own.
static bool rows_meet(ad_var v) {
    const ad_tape *t = v.tape;
    uint8_t *used = calloc(v.id + (size_t)1, 1);
    bool meet = !used;
    for (uint32_t id = v.id + 1; used && id-- > 0;) {
        const ad_node *node = &t->nodes[id];
        used[v.id] = 1;
        if (!used[id]) continue;
        const uint32_t *in = ad_node_inputs(t->stream, node);
        for (uint32_t i = 0; i < ad_live_inputs(node); i++) used[in[i]] = 1;
        meet = meet || (node->op->flags & AD_OP_REDUCES_ROWS) || (node->slot && !t->bind.slots[node->slot - 1].bound);
    }
    free(used);
    return meet;
}

static ad_status read_value(ad_var v, int64_t rows, check_value *to) {
    to->rows = ad_has_rows(v) ? rows : 0;
    to->count = ad_shape_count(ad_shape_of(v));
    to->meet = rows_meet(v);
    int64_t n = to->count * (to->rows ? to->rows : 1);
    free(to->data);
    to->data = malloc((size_t)(n > 0 ? n : 1) * sizeof *to->data);
    return to->data ? ad_read(v, to->data, n) : AD_ENOMEM;
}

void ad_check_evaluate(check *c, const check_way *way, check_result *r) {
    ad_tape *t = c->tape[way->type];
    ad_source sources[CHECK_INPUTS];
    ad_var x[CHECK_INPUTS], asked[CHECK_INPUTS], g[CHECK_INPUTS];
    int n = 0;
    ad_var y = ad_keep(ad_check_record(c, way, sources, x));
    for (int i = 0; i < c->test->n; i++)
        if (way->need >> i & 1) asked[n++] = x[i];
    if (n && ad_tape_status(t) == AD_OK) ad_grad(ad_check_weigh(y), asked, n, g);
    for (int i = 0; i < n && ad_tape_status(t) == AD_OK; i++) ad_keep(g[i]);
    r->status = ad_tape_status(t) == AD_OK ? ad_run(t) : ad_tape_status(t);
    if (r->status == AD_OK) r->status = read_value(y, way->count, &r->y);
    for (int i = 0, k = 0; i < c->test->n && r->status == AD_OK; i++)
        if (way->need >> i & 1) r->status = read_value(g[k++], way->count, &r->g[i]);
    snprintf(r->message, sizeof r->message, "%s", ad_tape_message(t));
}

void ad_check_release(check_result *r) {
    free(r->y.data);
    for (int i = 0; i < CHECK_INPUTS; i++) free(r->g[i].data);
}

// ---- comparing ------------------------------------------------------------------------------------------------------

static double largest(const check_value *v) {
    double most = 1;
    for (int64_t j = 0; j < v->count * (v->rows ? v->rows : 1); j++) most = fmax(most, fabs(v->data[j]));
    return most;
}

// Equal NaN and infinities are the same.
static bool close(double a, double b, double allowed) {
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= allowed;
}

static double row_sum(const check_value *v, int64_t j, double scale) {
    double sum = v->rows ? 0 : v->data[j] * scale;
    for (int64_t r = 0; r < v->rows; r++) sum += v->data[r * v->count + j];
    return sum;
}

static ad_status same_values(const check *c, const check_value *a, const check_value *b, double tolerance,
                             const char *what) {
    const int64_t rows = a->rows > b->rows ? a->rows : b->rows;
    const double allowed = tolerance * largest(b);
    if (a->count != b->count)
        return ad_check_fail(c, AD_EARG, "%s: the value has %lld elements, expected %lld", what, (long long)a->count,
                             (long long)b->count);
    for (int64_t r = 0; r < (rows ? rows : 1); r++)
        for (int64_t j = 0; j < a->count; j++) {
            double p = a->data[(a->rows ? r : 0) * a->count + j], q = b->data[(b->rows ? r : 0) * b->count + j];
            if (!close(p, q, allowed))
                return ad_check_fail(c, AD_EARG, "%s: element %lld of row %lld is %.17g, expected %.17g", what,
                                     (long long)j, (long long)r, p, q);
        }
    return AD_OK;
}

// Where all inputs are shared the weighted sum is that of one row; scale_a and scale_b make up for it.
static ad_status same_gradient(const check *c, const check_result *got, const check_result *want, int i,
                               double tolerance, const char *what) {
    const check_value *a = &got->g[i], *b = &want->g[i];
    const double scale_a = got->y.rows || !want->y.rows ? 1 : (double)want->y.rows;
    const double scale_b = want->y.rows || !got->y.rows ? 1 : (double)got->y.rows;
    const double allowed = tolerance * fmax(scale_b, scale_a) * largest(b);
    const bool both = a->rows && b->rows;
    for (int64_t r = 0; r < (both ? a->rows : 1); r++)
        for (int64_t j = 0; j < a->count; j++) {
            double p = both ? a->data[r * a->count + j] : row_sum(a, j, scale_a);
            double q = both ? b->data[r * b->count + j] : row_sum(b, j, scale_b);
            if (!close(p, q, allowed))
                return ad_check_fail(c, AD_ENOGRAD,
                                     "%s: the gradient in input %d, element %lld%s is %.17g, expected %.17g", what, i,
                                     (long long)j, both ? "" : ", summed over rows,", p, q);
        }
    return AD_OK;
}

ad_status ad_check_same(const check *c, const check_result *got, const check_result *want, unsigned need,
                        double tolerance, const char *what) {
    if (got->status != AD_OK) return ad_check_fail(c, got->status, "%s: %s", what, got->message);
    if (want->status != AD_OK) return ad_check_fail(c, want->status, "%s: %s", what, want->message);
    ad_status status = same_values(c, &got->y, &want->y, tolerance, what);
    for (int i = 0; i < c->test->n && status == AD_OK; i++)
        if (need >> i & 1) status = same_gradient(c, got, want, i, tolerance, what);
    return status;
}
