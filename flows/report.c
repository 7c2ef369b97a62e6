// report.c -- flow_report: what each layer of a model does with some rows.
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "model.h"

// What is at its bound: closer than this.
static const double at_bound = 0.95;

typedef struct reporting {
    const flow_model *model;
    ad_tape *tape;   // in the type of the parameters
    checking check;  // for Jacobians
    int64_t n, C;
    int jacobian_rows;
    double *context;  // [n][C], as layers see it
    ad_error *error;
} reporting;

// ---- one layer -----------------------------------------------------------------------------------------------------

typedef struct recorded {
    flow_result z;
    ad_var saturated, tails;  // [] per row, or AD_NONE
} recorded;

static ad_var by_row(ad_var v, ad_rows rows) {
    if (ad_is_none(v)) return v;
    return ad_keep(ad_ok(v) && !ad_has_rows(v) ? ad_to_rows(v, rows) : v);
}

static ad_rows start(const reporting *r) {
    ad_tape_reset(r->tape);
    ad_rows rows = ad_rows_new(r->tape, "report");
    ad_rows_set(rows, r->n, 0);
    return rows;
}

static ad_var context_of(const reporting *r, const flow_layer *layer, ad_rows rows, ad_source *source) {
    *source = (ad_source){.data = r->context, .type = AD_F64, .count = r->n};
    return layer->C ? ad_input(rows, ad_shape1(layer->C), source) : AD_NONE;
}

static recorded record(const reporting *r, const flow_layer *layer, const ad_source *x, ad_source *k) {
    ad_rows rows = start(r);
    ad_var v = ad_input(rows, layer->x_shape, x), context = context_of(r, layer, rows, k);
    recorded out = {flow_record_whole(layer, FLOW_NORMALIZE, v, context), AD_NONE, AD_NONE};
    flow_gauges g = {AD_NONE, AD_NONE};
    if (layer->type->gauge) {
        ad_scope(r->tape, layer->type->name, -1);
        g = layer->type->gauge(layer, v, out.z.value, context);
        ad_scope_end(r->tape);
    }
    if (!ad_is_none(g.saturation)) {
        out.saturated = by_row(ad_mean(ad_greater(g.saturation, ad_number(r->tape, at_bound))), rows);
    }
    if (!ad_is_none(g.tails)) out.tails = by_row(ad_mean(g.tails), rows);
    out.z = (flow_result){by_row(out.z.value, rows), by_row(out.z.log_det, rows)};
    return out;
}

static void moments(const double *v, int64_t n, double *mean, double *sd) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (v[i] - *mean) * (v[i] - *mean);
    *sd = sqrt(squares / (double)n);
}

static ad_status read_mean(ad_var v, double *work, int64_t n, double *mean) {
    double sd;
    *mean = NAN;
    if (ad_is_none(v)) return AD_OK;
    ad_status status = ad_read(v, work, n);
    if (status == AD_OK) moments(work, n, mean, &sd);
    return status;
}

// z [n][K] of x [n][D]. work: [n].
static ad_status normalize(const reporting *r, const flow_layer *layer, const double *x, double *z, double *work,
                           flow_fare *fare) {
    ad_source in = {.data = x, .type = AD_F64, .count = r->n}, k;
    recorded made = record(r, layer, &in, &k);
    ad_status status = ad_run(r->tape);
    if (status == AD_OK) status = ad_read(made.z.value, z, r->n * ad_shape_count(layer->z_shape));
    if (status == AD_OK) status = ad_read(made.z.log_det, work, r->n);
    if (status == AD_OK) moments(work, r->n, &fare->log_det, &fare->log_det_sd);
    if (status == AD_OK) status = read_mean(made.saturated, work, r->n, &fare->saturation);
    if (status == AD_OK) status = read_mean(made.tails, work, r->n, &fare->tails);
    return status == AD_OK ? AD_OK : ad_fail(r->error, status, "report: %s", ad_tape_message(r->tape));
}

// A generate that fails is something to report, not a failure of the report. back: [n][D].
static void go_back(const reporting *r, const flow_layer *layer, const double *x, const double *z, double *back,
                    flow_fare *fare) {
    ad_source in = {.data = z, .type = AD_F64, .count = r->n}, k;
    ad_rows rows = start(r);
    ad_var v = ad_input(rows, layer->z_shape, &in), context = context_of(r, layer, rows, &k);
    int64_t N = r->n * ad_shape_count(layer->x_shape);
    ad_var value = by_row(flow_record_whole(layer, FLOW_GENERATE, v, context).value, rows);
    fare->round_trip = INFINITY;
    if (ad_run(r->tape) != AD_OK || ad_read(value, back, N) != AD_OK) return;
    double worst = 0;
    for (int64_t i = 0; i < N; i++) {
        double off = fabs(back[i] - x[i]) / (1 + fabs(x[i]));
        worst = off <= worst ? worst : isnan(off) ? INFINITY : off;
    }
    fare->round_trip = worst;
}

// By the Jacobians of the first rows.
static ad_status find_condition(reporting *r, flow_layer *layer, const double *x, flow_fare *fare) {
    enum { MOST_FEATURES = 64 };
    int64_t D = ad_shape_count(layer->x_shape);
    int n = (int)(r->n < r->jacobian_rows ? r->n : r->jacobian_rows);
    fare->condition = NAN;
    if (n <= 0 || D > MOST_FEATURES || D != ad_shape_count(layer->z_shape)) return AD_OK;
    double *memory = calloc((size_t)n * (size_t)(D + 1 + D * D), sizeof *memory);
    if (!memory) return ad_fail(r->error, AD_ENOMEM, "report: out of memory");
    check_values v = {memory, memory + n * D, memory + n * (D + 1)};
    checking *c = &r->check;
    c->layer = layer;
    c->name = layer->type->name;
    c->D = D;
    c->C = layer->C;
    ad_status status = check_run(c, FLOW_NORMALIZE, x, r->context, 0, n, &v);
    for (int i = 0; i < n && status == AD_OK; i++) {
        double norm, inverse_norm;
        if (isnan(check_invert(v.jacobian + i * D * D, D, &norm, &inverse_norm))) {
            status = ad_fail(r->error, AD_ENOMEM, "report: out of memory");
            break;
        }
        double condition = norm * inverse_norm;
        if (!(condition <= fare->condition)) fare->condition = isnan(condition) ? INFINITY : condition;
    }
    free(memory);
    return status;
}

// x becomes what the layer makes of it, which takes room for both.
static ad_status measure(reporting *r, flow_layer *layer, double *x, double *z, double *work, flow_fare *fare) {
    int64_t N = r->n * ad_shape_count(layer->z_shape);
    fare->name = layer->type->name;
    ad_status status = normalize(r, layer, x, z, work, fare);
    if (status == AD_OK) status = find_condition(r, layer, x, fare);
    if (status != AD_OK) return status;
    go_back(r, layer, x, z, work, fare);
    for (int64_t i = 0; i < N; i++) x[i] = z[i];
    return AD_OK;
}

// ---- the model -----------------------------------------------------------------------------------------------------

static bool is_chain(const flow_layer *layer) {
    return layer->type == &flow_chain_type;
}
static flow_layer *layer_at(const flow_layer *layer, int i) {
    return (flow_layer *)(uintptr_t)(is_chain(layer) ? flow_chain_at(layer, i) : layer);
}

// The largest row on the way, in elements.
static int64_t widest(const flow_layer *layer, int n) {
    int64_t D = 0;
    for (int i = 0; i < n; i++) {
        int64_t x = ad_shape_count(layer_at(layer, i)->x_shape), z = ad_shape_count(layer_at(layer, i)->z_shape);
        D = x > D ? x : D;
        D = z > D ? z : D;
    }
    return D;
}

static void read_rows(const reporting *r, const flow_rows *rows, double *x) {
    int64_t D = ad_shape_count(r->model->layer->x_shape);
    for (int64_t i = 0; i < r->n * D; i++) x[i] = flow_rows_get(rows, D, i / D, i % D);
    for (int64_t i = 0; i < r->n * r->C; i++) {
        int64_t row = rows->index ? rows->index[i / r->C] : i / r->C;
        r->context[i] = flow_source_get(&rows->context, r->C, row, i % r->C);
    }
}

static ad_status log_prob(const reporting *r, const flow_rows *data, const double *x, double *work,
                          flow_health *health) {
    ad_source in = {.data = x, .type = AD_F64, .count = r->n}, k = data->context;
    k.index = data->index;
    ad_rows rows = start(r);
    ad_var c = r->model->C ? ad_input(rows, ad_shape1(r->model->C), &k) : AD_NONE;
    ad_var p = ad_keep(flow_log_prob(r->model, ad_input(rows, r->model->layer->x_shape, &in), c));
    ad_status status = ad_run(r->tape);
    if (status == AD_OK) status = ad_read(p, work, r->n);
    if (status != AD_OK) return ad_fail(r->error, status, "report: %s", ad_tape_message(r->tape));
    moments(work, r->n, &health->log_prob, &health->log_prob_sd);
    return AD_OK;
}

static void share_out(flow_health *health) {
    double sum = 0;
    for (int i = 0; i < health->n; i++) sum += fabs(health->layers[i].log_det);
    for (int i = 0; i < health->n; i++) health->layers[i].share = sum > 0 ? fabs(health->layers[i].log_det) / sum : 0;
    health->whole.share = 1;
}

static ad_status look(reporting *r, const flow_rows *rows, flow_health *health) {
    flow_layer *layer = r->model->layer;
    flow_rows seen;
    const int64_t D = ad_shape_count(layer->x_shape);
    size_t room = (size_t)r->n * (size_t)widest(layer, health->n);
    double *x = calloc(3 * room, sizeof *x);
    if (!x) return ad_fail(r->error, AD_ENOMEM, "report: out of memory");
    double *z = x + room, *work = z + room;
    ad_status status = flow_rows_see(r->model, rows, r->n, &seen, r->error);
    if (status == AD_OK) {
        read_rows(r, &seen, x);
        flow_rows_seen_free(r->model, &seen);
        status = log_prob(r, rows, x, work, health);
    }
    if (status == AD_OK) status = measure(r, layer, x, z, work, &health->whole);
    for (int64_t i = 0; i < r->n * D; i++) x[i] = flow_rows_get(rows, D, i / D, i % D);
    for (int i = 0; i < health->n && status == AD_OK; i++) {
        status = measure(r, layer_at(layer, i), x, z, work, &health->layers[i]);
    }
    free(x);
    share_out(health);
    return status;
}

static ad_status prepare(reporting *r, const flow_rows *rows, const flow_report_options *o, flow_health *health) {
    const flow_layer *layer = r->model->layer;
    r->n = flow_rows_count(rows, r->model->C, r->error);
    if (r->n < 0) return AD_EARG;
    if (r->n > o->rows) r->n = o->rows;
    health->rows = r->n;
    health->n = is_chain(layer) ? flow_chain_length(layer) : 1;
    health->layers = calloc((size_t)health->n, sizeof *health->layers);
    r->context = calloc((size_t)(r->n * r->C) + 1, sizeof *r->context);
    r->tape = ad_tape_new(NULL, r->model->n_params ? r->model->params[0]->type : AD_F64);
    r->check = (checking){.error = r->error, .tape = ad_tape_new(NULL, AD_F64)};
    if (health->layers && r->context && r->tape && r->check.tape) return AD_OK;
    return ad_fail(r->error, AD_ENOMEM, "report: out of memory");
}

flow_health *flow_report(const flow_model *model, const flow_rows *rows, const flow_report_options *options,
                         ad_error *error) {
    flow_report_options o = options ? *options : (flow_report_options){.rows = 0};
    if (o.rows <= 0) o.rows = 1000;
    if (o.jacobian_rows == 0) o.jacobian_rows = 8;
    flow_health *health = calloc(1, sizeof *health);
    if (!health) {
        ad_fail(error, AD_ENOMEM, "report: out of memory");
        return NULL;
    }
    reporting r = {.model = model, .C = model->layer->C, .jacobian_rows = o.jacobian_rows, .error = error};
    ad_status status = prepare(&r, rows, &o, health);
    if (status == AD_OK) status = look(&r, rows, health);
    ad_tape_free(r.check.tape);
    ad_tape_free(r.tape);
    free(r.context);
    if (status == AD_OK) return health;
    flow_health_free(health);
    return NULL;
}

void flow_health_free(flow_health *health) {
    if (!health) return;
    free(health->layers);
    free(health);
}
