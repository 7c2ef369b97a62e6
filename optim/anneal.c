// anneal.c -- annealed importance sampling from a flow towards a target: chains on the host, densities on a tape.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

// A set of points, one a chain, and what the tape says of them.
typedef struct points {
    double *x, *log_q, *log_p, *dq, *dp;  // [chains][D], [chains], [chains], [chains][D] twice
} points;

struct optim_annealer {
    optim_annealing_options o;
    int64_t n, D;
    ad_engine *own_engine;
    ad_tape *tape;
    ad_program *draw, *evaluate;
    ad_random random;
    ad_source source;  // proposal.x
    points now, proposal;
    double *momentum, *memory;
    bool *dead;         // chains whose proposal left where densities are finite
    double *step_size;  // [distributions]
    optim_annealed out;
};

// ---- made -----------------------------------------------------------------------------------------------------------

static ad_status settle(optim_annealing_options *o, ad_error *error) {
    if (o->chains == 0) o->chains = 128;
    if (o->distributions == 0) o->distributions = 4;
    if (o->transitions == 0) o->transitions = 1;
    if (o->leapfrog == 0) o->leapfrog = 5;
    if (o->step_size == 0) o->step_size = 0.1;
    if (o->chains > 0 && o->chains <= INT32_MAX && o->distributions > 0 && o->transitions > 0 && o->step_size > 0 &&
        isfinite(o->step_size)) {
        return AD_OK;
    }
    return ad_fail(error, AD_EARG,
                   "annealer: chains %lld, distributions %d, transitions %d, step_size %g: one is out of range",
                   (long long)o->chains, o->distributions, o->transitions, o->step_size);
}

static double *take(double **memory, int64_t n) {
    double *at = *memory;
    *memory += n;
    return at;
}

static points take_points(double **memory, int64_t n, int64_t D) {
    return (points){take(memory, n * D), take(memory, n), take(memory, n), take(memory, n * D), take(memory, n * D)};
}

static bool allocate(optim_annealer *a) {
    const int64_t n = a->n, D = a->D;
    const size_t size = (size_t)n * (size_t)(8 * D + 6) + (size_t)a->o.distributions;
    double *memory = a->memory = calloc(size, sizeof(double));
    a->dead = calloc((size_t)n, sizeof *a->dead);
    if (!memory || !a->dead) return false;
    a->now = take_points(&memory, n, D);
    a->proposal = take_points(&memory, n, D);
    a->momentum = take(&memory, n * D);
    a->out = (optim_annealed){n, take(&memory, n * D), take(&memory, n), take(&memory, n), NAN};
    a->step_size = take(&memory, a->o.distributions);
    for (int k = 0; k < a->o.distributions; k++) a->step_size[k] = a->o.step_size;
    return true;
}

static ad_var per_row(ad_var v, ad_rows rows) {
    return ad_ok(v) && !ad_has_rows(v) ? ad_to_rows(v, rows) : v;
}

static bool record(optim_annealer *a, const flow_model *model, const optim_target *target, ad_error *error) {
    ad_shape shape = flow_model_shape(model);
    ad_rows rows = ad_rows_new(a->tape, "chains");
    ad_rows_set(rows, a->n, 0);
    ad_var x = flow_sample(model, rows, &a->random, 0, AD_NONE);
    a->draw = ad_compile(&x, 1, error);
    ad_tape_reset(a->tape);
    rows = ad_rows_new(a->tape, "chains");
    ad_rows_set(rows, a->n, 0);
    optim_sampling sampling = {.rows = rows};
    a->source = (ad_source){.data = a->proposal.x, .type = AD_F64, .count = a->n};
    x = ad_input(rows, shape, &a->source);
    ad_var out[4] = {flow_log_prob(model, x, AD_NONE), optim_record_target(target, &sampling, x)};
    ad_grad(out[0], &x, 1, &out[2]);
    ad_grad(out[1], &x, 1, &out[3]);
    for (int i = 0; i < 4; i++) out[i] = per_row(out[i], rows);
    a->evaluate = a->draw ? ad_compile(out, 4, error) : NULL;
    return a->evaluate != NULL;
}

optim_annealer *optim_annealer_new(const flow_model *model, const optim_target *target,
                                   const optim_annealing_options *options, ad_error *error) {
    optim_annealing_options o = options ? *options : (optim_annealing_options){0};
    if (settle(&o, error) != AD_OK) return NULL;
    if (flow_model_context(model)) {
        ad_fail(error, AD_EARG, "annealer: the model takes a context");
        return NULL;
    }
    optim_annealer *a = calloc(1, sizeof *a);
    if (a) *a = (optim_annealer){.o = o, .n = o.chains, .D = ad_shape_count(flow_model_shape(model))};
    if (a && !o.engine) a->own_engine = ad_engine_new(NULL, error);
    if (a && (o.engine || a->own_engine)) a->tape = ad_tape_new(o.engine ? o.engine : a->own_engine, o.type);
    if (!a || !a->tape || !allocate(a)) {
        ad_fail(error, AD_ENOMEM, "annealer: out of memory for %lld chains", (long long)o.chains);
        optim_annealer_free(a);
        return NULL;
    }
    a->random.seed = o.seed;
    if (record(a, model, target, error)) return a;
    optim_annealer_free(a);
    return NULL;
}

void optim_annealer_free(optim_annealer *a) {
    if (!a) return;
    ad_program_free(a->draw);
    ad_program_free(a->evaluate);
    ad_tape_free(a->tape);
    ad_engine_free(a->own_engine);
    free(a->memory);
    free(a->dead);
    free(a);
}

const optim_annealed *optim_annealer_result(const optim_annealer *annealer) {
    return &annealer->out;
}

double *optim_annealer_steps(optim_annealer *annealer, int64_t *n) {
    *n = annealer->o.distributions;
    return annealer->step_size;
}

// ---- densities on the tape ---------------------------------------------------------------------------------------

static void read_output(const optim_annealer *a, const ad_program *program, int output, double *to, int64_t n) {
    const void *data = ad_program_data(program, output);
    if (a->o.type == AD_F64) {
        memcpy(to, data, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i++) to[i] = ((const float *)data)[i];
}

// Of the proposal's x, all finite.
static ad_status evaluate(optim_annealer *a, ad_error *error) {
    ad_status status = ad_program_run(a->evaluate, error);
    if (status != AD_OK) return status;
    read_output(a, a->evaluate, 0, a->proposal.log_q, a->n);
    read_output(a, a->evaluate, 1, a->proposal.log_p, a->n);
    read_output(a, a->evaluate, 2, a->proposal.dq, a->n * a->D);
    read_output(a, a->evaluate, 3, a->proposal.dp, a->n * a->D);
    return AD_OK;
}

static void copy_chain(const optim_annealer *a, const points *from, points *to, int64_t i) {
    const size_t bytes = (size_t)a->D * sizeof(double);
    memcpy(to->x + i * a->D, from->x + i * a->D, bytes);
    memcpy(to->dq + i * a->D, from->dq + i * a->D, bytes);
    memcpy(to->dp + i * a->D, from->dp + i * a->D, bytes);
    to->log_q[i] = from->log_q[i];
    to->log_p[i] = from->log_p[i];
}

// ---- one transition ----------------------------------------------------------------------------------------------

// log of the density in between at share b of the way: (1 - b) log q + b log g, g = p~ or p~^2 / q.
typedef struct between {
    double q, p;  // powers of the two
} between;

static between at_share(const optim_annealer *a, double b) {
    return a->o.to_target ? (between){1 - b, b} : (between){1 - 2 * b, 2 * b};
}

static double log_between(between w, const points *p, int64_t i) {
    return w.q * p->log_q[i] + w.p * p->log_p[i];
}

static double normal(uint64_t *random) {  // Box and Muller
    double u = optim_uniform(random), v = optim_uniform(random);
    return sqrt(-2 * log(u)) * cos(6.28318530717958647693 * v);
}

// Moves a proposal by move, element by element; a chain that would not stay finite is dead, and waits where it started.
static void shift(optim_annealer *a, int64_t i, double step) {
    double *x = a->proposal.x + i * a->D;
    bool finite = !a->dead[i];
    for (int64_t k = 0; finite && k < a->D; k++) {
        x[k] += step * a->momentum[i * a->D + k];
        finite = fabs(x[k]) < 1e18;  // squares stay finite, in f32 too
    }
    if (finite) return;
    a->dead[i] = true;
    memcpy(x, a->now.x + i * a->D, (size_t)a->D * sizeof *x);
}

static void push(optim_annealer *a, between w, int64_t i, double step) {
    for (int64_t k = i * a->D; k < (i + 1) * a->D; k++) {
        a->momentum[k] += step * (w.q * a->proposal.dq[k] + w.p * a->proposal.dp[k]);
    }
}

static double kinetic(const optim_annealer *a, int64_t i) {
    double sum = 0;
    for (int64_t k = i * a->D; k < (i + 1) * a->D; k++) sum += a->momentum[k] * a->momentum[k];
    return 0.5 * sum;
}

// The proposal from momenta drawn before: leapfrog, or one step along them.
static ad_status propose(optim_annealer *a, between w, double step, ad_error *error) {
    ad_status status = AD_OK;
    if (a->o.leapfrog < 0) {
        for (int64_t i = 0; i < a->n; i++) shift(a, i, step);
        return evaluate(a, error);
    }
    for (int j = 0; j < a->o.leapfrog && status == AD_OK; j++) {
        for (int64_t i = 0; i < a->n; i++) {
            push(a, w, i, j == 0 ? 0.5 * step : step);
            shift(a, i, step);
        }
        status = evaluate(a, error);
    }
    for (int64_t i = 0; i < a->n; i++) push(a, w, i, 0.5 * step);
    return status;
}

// One transition of all chains; returns the share accepted, or a negative number when the densities cannot be computed.
static double transition(optim_annealer *a, between w, double step, uint64_t *random, ad_error *error) {
    double *start = a->out.weight;  // kinetic energy, for now
    int64_t accepted = 0;
    for (int64_t i = 0; i < a->n; i++) {
        copy_chain(a, &a->now, &a->proposal, i);
        a->dead[i] = false;
        for (int64_t k = 0; k < a->D; k++) a->momentum[i * a->D + k] = normal(random);
        start[i] = kinetic(a, i);
    }
    if (propose(a, w, step, error) != AD_OK) return -1;
    for (int64_t i = 0; i < a->n; i++) {
        double u = optim_uniform(random);
        double gain = log_between(w, &a->proposal, i) - log_between(w, &a->now, i);
        if (a->o.leapfrog > 0) gain += start[i] - kinetic(a, i);
        // Away from where the density is 0 any point is a gain; NaN is none.
        if (a->dead[i] || !isfinite(log_between(w, &a->proposal, i)) || !(log(u) < gain)) continue;
        copy_chain(a, &a->proposal, &a->now, i);
        accepted++;
    }
    return (double)accepted / (double)a->n;
}

// ---- a run -------------------------------------------------------------------------------------------------------

static ad_status start(optim_annealer *a, ad_error *error) {
    ad_status status = ad_program_run(a->draw, error);
    if (status != AD_OK) return status;
    read_output(a, a->draw, 0, a->proposal.x, a->n * a->D);
    status = evaluate(a, error);
    for (int64_t i = 0; i < a->n && status == AD_OK; i++) {
        copy_chain(a, &a->proposal, &a->now, i);
        a->out.log_weight[i] = 0;
    }
    return status;
}

// log w gains the change of log density from share b of the way to share c, at where the chains are.
static void weigh(optim_annealer *a, double b, double c) {
    between from = at_share(a, b), to = at_share(a, c), change = {to.q - from.q, to.p - from.p};
    for (int64_t i = 0; i < a->n; i++) a->out.log_weight[i] += log_between(change, &a->now, i);
}

static ad_status normalise(optim_annealer *a, ad_error *error) {
    double most = -INFINITY, sum = 0;
    const double *log_w = a->out.log_weight;
    for (int64_t i = 0; i < a->n; i++) most = fmax(most, log_w[i]);
    if (!isfinite(most)) return ad_fail(error, AD_ENONFINITE, "annealer: no chain has a finite weight above 0");
    for (int64_t i = 0; i < a->n; i++) {
        a->out.weight[i] = isnan(log_w[i]) ? 0 : exp(log_w[i] - most);
        sum += a->out.weight[i];
    }
    for (int64_t i = 0; i < a->n; i++) a->out.weight[i] *= (double)a->n / sum;
    memcpy(a->out.x, a->now.x, (size_t)(a->n * a->D) * sizeof(double));
    return AD_OK;
}

ad_status optim_annealer_run(optim_annealer *a, uint64_t step, ad_error *error) {
    const int K = a->o.distributions;
    const double wanted = a->o.leapfrog > 0 ? 0.65 : 0.25;
    uint64_t random = a->o.seed ^ (step + 1) * 0xd1342543de82ef95u;
    double accepted = 0;
    a->random.step = step;
    ad_status status = start(a, error);
    for (int k = 0; k < K && status == AD_OK; k++) {
        const double b = (k + 1.0) / (K + 1);
        weigh(a, (double)k / (K + 1), b);
        for (int t = 0; t < a->o.transitions; t++) {
            double share = transition(a, at_share(a, b), a->step_size[k], &random, error);
            if (share < 0) return error ? error->status : AD_ENONFINITE;
            accepted += share / K / a->o.transitions;
            if (!a->o.fixed_step) a->step_size[k] *= share > wanted ? 1.05 : 1 / 1.05;
        }
    }
    if (status != AD_OK) return status;
    weigh(a, (double)K / (K + 1), 1);
    a->out.acceptance = accepted;
    return normalise(a, error);
}
