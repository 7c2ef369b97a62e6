// fit_target.c -- a flow fitted to an unnormalised density: the loss of its own draws, and their ELBO; train.c does the
// rest.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data.h"
#include "train.h"

typedef struct fit {
    flow_model *model;
    const optim_target *target;
    optim_target_options o;
    ad_engine *engine, *own_engine;
    ad_tape *tape;
    bool ran;  // the tape, in this step
    ad_random random;
    double beta;
    ad_var log_weight;  // of the draws of the last step; AD_NONE with chains
    optim_annealer *annealer;
    ad_error chains;  // why they failed
    optim_drawer drawer;
    double *weights;  // [the most of draws, validation and report]
    // Rows of data beside the draws.
    flow_used_rows used;
    data_batches batches;
    int64_t *index, per_epoch;
    optim_batch batch;
    char data[40], identity[640];
} fit;

// ---- the loss -----------------------------------------------------------------------------------------------------

static double beta_at(const optim_target_options *o, int64_t step) {
    double done = (double)step / (o->beta_share * (double)o->fit.steps);
    return done < 1 ? o->beta + (1 - o->beta) * done : 1;
}

static ad_var record_draws(fit *f) {
    optim_sampling s = {.rows = ad_rows_new(f->tape, "draws"), .random = &f->random};
    optim_divergence_loss loss;
    ad_rows_set(s.rows, f->o.fit.batch, 0);
    if (f->o.beta < 1) s.beta = ad_scalar(f->tape, &f->beta);
    switch (f->o.divergence) {
        case OPTIM_REVERSE_KL:
            loss = optim_reverse_kl(f->model, f->target, &s);
            break;
        case OPTIM_ALPHA:
            loss = optim_alpha_divergence(f->model, f->target, &s, f->o.alpha);
            break;
        case OPTIM_FORWARD_KL:
            loss = optim_forward_kl(f->model, f->target, &s);
            break;
        case OPTIM_FORWARD_PATH_KL:
            loss = optim_forward_path_kl(f->model, f->target, &s);
            break;
        default:
            loss = optim_path_kl(f->model, f->target, &s);
    }
    f->log_weight = ad_keep(loss.log_weight);
    return loss.loss;
}

// source is read at run.
static ad_var record_chains(const fit *f, ad_source source[2]) {
    const optim_annealed *chains = optim_annealer_result(f->annealer);
    ad_rows rows = ad_rows_new(f->tape, "chains");
    ad_rows_set(rows, chains->chains, 0);
    source[0] = (ad_source){.data = chains->x, .type = AD_F64, .count = chains->chains};
    source[1] = (ad_source){.data = chains->weight, .type = AD_F64, .count = chains->chains};
    ad_var x = ad_input(rows, flow_model_shape(f->model), &source[0]);
    ad_var weight = ad_input(rows, ad_shape0(), &source[1]);
    return ad_neg(ad_mean_rows(ad_mul(weight, flow_log_prob(f->model, x, AD_NONE))));
}

static ad_var record_data(fit *f, int64_t number) {
    f->batch.n = data_batch(&f->batches, number / f->per_epoch, number % f->per_epoch, f->index);
    ad_var log_prob = optim_record_log_prob(f->model, f->tape, &f->batch);
    if (f->batch.weight.data) {
        ad_var weight = ad_input(ad_rows_new(f->tape, "data"), ad_shape0(), &f->batch.weight);
        log_prob = ad_mul(ad_scale(weight, 1 / f->used.weight), log_prob);
    }
    return ad_scale(ad_mean_rows(log_prob), -f->o.data_weight);
}

// Set number i of the draws that make step.
static ad_status run_draws(fit *f, int64_t step, int64_t i, double *loss, ad_error *error) {
    const int64_t number = step * f->o.fit.accumulate + i;
    ad_source source[2];
    f->ran = false;
    f->log_weight = AD_NONE;
    f->random.step = (uint64_t)number + 1;
    f->beta = beta_at(&f->o, step);
    flow_set_step(f->model, f->random.step);
    ad_status status = f->annealer ? optim_annealer_run(f->annealer, f->random.step, &f->chains) : AD_OK;
    if (status != AD_OK) return ad_fail(error, status, "%s", f->chains.message);
    ad_tape_reset(f->tape);
    ad_set_training(f->tape, true);
    ad_var mean = f->annealer ? record_chains(f, source) : record_draws(f);
    if (f->o.data) mean = ad_add(mean, record_data(f, number));
    ad_keep(mean);
    ad_var scaled = f->o.fit.accumulate == 1 ? mean : ad_scale(mean, 1 / (double)f->o.fit.accumulate);
    status = i == 0 ? ad_backward(scaled) : ad_backward_add(scaled);
    if (status != AD_OK) return ad_fail(error, status, "%s", ad_tape_message(f->tape));
    f->ran = true;
    *loss = ad_value(mean);
    return AD_OK;
}

static ad_status compute(void *arg, int64_t step, double *loss, ad_error *error) {
    fit *f = arg;
    double sum = 0, one;
    for (int64_t i = 0; i < f->o.fit.accumulate; i++) {
        ad_status status = run_draws(f, step, i, &one, error);
        if (status != AD_OK) return status;
        sum += one;
        if (!isfinite(one)) break;  // the draws that undo looks at
    }
    *loss = isfinite(sum) ? sum / (double)f->o.fit.accumulate : sum;
    return AD_OK;
}

static void undo(void *arg, int64_t step, double loss, ad_error *why) {
    (void)step;
    fit *f = arg;
    if (!f->ran) {
        ad_fail(why, AD_ENONFINITE, "%s", f->annealer ? f->chains.message : ad_tape_message(f->tape));
        return;
    }
    const int64_t n = f->o.fit.batch;
    const bool known = !ad_is_none(f->log_weight) && ad_read(f->log_weight, f->weights, n) == AD_OK;
    ad_reject(f->tape);
    for (int64_t i = 0; known && i < n; i++) {
        if (isfinite(f->weights[i])) continue;
        ad_fail(why, AD_ENONFINITE, "the loss is %g: log p~ - log q is %g for %s at draw %lld of %lld", loss,
                f->weights[i], f->target->name ? f->target->name : "the target", (long long)i, (long long)n);
        return;
    }
    ad_fail(why, AD_ENONFINITE, isfinite(loss) ? "the loss is %g, but its gradient is not finite" : "the loss is %g",
            loss);
}

// Minus the ELBO, of draws that all validations share; their seed is not that of training.
static ad_status validate(void *arg, double *loss, ad_error *error) {
    fit *f = arg;
    const int64_t n = f->o.validation_draws;
    flow_set_step(f->model, 0);
    ad_status status = optim_drawer_run(&f->drawer, ~f->o.fit.seed, n, NULL, f->weights, error);
    *loss = 0;
    for (int64_t i = 0; i < n && status == AD_OK; i++) *loss -= f->weights[i] / (double)n;
    return status;
}

static void add(void *arg, optim_checkpoint *checkpoint) {
    const fit *f = arg;
    int64_t n;
    double *steps = optim_annealer_steps(f->annealer, &n);
    optim_checkpoint_tensor(checkpoint, "annealer/step_size", AD_F64, n, steps);
}

// ---- a run --------------------------------------------------------------------------------------------------------

static ad_status settle(optim_target_options *o, ad_error *error) {
    const int64_t most = (int64_t)1 << 30;
    if (o->fit.steps == 0) o->fit.steps = 5000;
    if (o->beta == 0) o->beta = 1;
    if (o->beta_share == 0) o->beta_share = 0.5;
    if (o->data_weight == 0) o->data_weight = 1;
    if (o->data_batch == 0) o->data_batch = 256;
    if (o->validation_draws == 0) o->validation_draws = 2048;
    if (o->report_draws == 0) o->report_draws = 10000;
    if (o->divergence == OPTIM_ANNEALED && o->annealing.chains > 0) o->fit.batch = o->annealing.chains;
    ad_status status = optim_settle("optim_fit_target", &o->fit, error);
    if (status != AD_OK) return status;
    if (o->beta > 0 && o->beta <= 1 && o->beta_share > 0 && o->beta_share <= 1 && isfinite(o->data_weight) &&
        o->divergence >= 0 && o->divergence <= OPTIM_ANNEALED && o->fit.batch <= most && o->data_batch > 0 &&
        o->validation_draws > 0 && o->validation_draws <= most && o->report_draws > 0 && o->report_draws <= most) {
        return AD_OK;
    }
    return ad_fail(
        error, AD_EARG,
        "optim_fit_target: batch %lld, beta %g, beta_share %g, data_weight %g, data_batch %lld, divergence %d, "
        "validation_draws %lld, report_draws %lld: one is out of range",
        (long long)o->fit.batch, o->beta, o->beta_share, o->data_weight, (long long)o->data_batch, (int)o->divergence,
        (long long)o->validation_draws, (long long)o->report_draws);
}

static ad_status use_data(fit *f, ad_error *error) {
    ad_status status = flow_use_rows(&f->used, f->model, f->o.data, error);
    if (status != AD_OK) return status;
    if (f->o.data_batch > f->used.n) f->o.data_batch = f->used.n;
    f->batches = (data_batches){.count = f->used.n,
                                .size = f->o.data_batch,
                                .seed = f->o.fit.seed,
                                .index = f->used.rows.index,
                                .drop_last = true};
    f->per_epoch = data_batch_count(&f->batches);
    f->index = calloc((size_t)f->o.data_batch, sizeof *f->index);
    if (!f->index) return ad_fail(error, AD_ENOMEM, "optim_fit_target: out of memory");
    f->batch = optim_batch_of(&f->used.rows, f->index);
    f->batch.noise = f->o.fit.noise, f->batch.random = &f->random;
    return optim_fingerprint(f->model, &f->used, f->data, sizeof f->data, error);
}

static ad_status use_chains(fit *f, ad_error *error) {
    optim_annealing_options a = f->o.annealing;
    a.chains = f->o.fit.batch;
    a.seed = f->o.fit.seed;
    a.engine = f->engine;
    a.type = f->o.fit.type;
    f->annealer = optim_annealer_new(f->model, f->target, &a, error);
    return f->annealer ? AD_OK : AD_EARG;
}

// What decides the bits of a run, but for its data and how long it goes on (annealed by beta, its length does).
static void identify(fit *f) {
    const optim_target_options *o = &f->o;
    const optim_fit_options *c = &o->fit;
    const optim_annealing_options *a = &o->annealing;
    const int n = snprintf(
        f->identity, sizeof f->identity,
        "target %.60s, divergence %d, alpha %.17g, draws %lld x %lld, seed %llu, lr %.17g, schedule %d, warm-up %lld, "
        "last %.17g, average %.17g, max_norm %.17g, decay %.17g, type %d, beta %.17g over %lld, data %lld by %.17g, "
        "chains %d %d %d %.17g %d %d",
        f->target->name ? f->target->name : "", (int)o->divergence, o->alpha, (long long)c->batch,
        (long long)c->accumulate, (unsigned long long)c->seed, c->lr, (int)c->schedule, (long long)c->warm_up,
        c->last_lr, c->average, c->optimizer.max_norm, c->optimizer.weight_decay, (int)c->type, o->beta,
        o->beta < 1 ? (long long)(o->beta_share * (double)c->steps) : 0, o->data ? (long long)o->data_batch : 0,
        o->data_weight, a->distributions, a->transitions, a->leapfrog, a->step_size, a->fixed_step, a->to_target);
    if (c->noise > 0) snprintf(f->identity + n, sizeof f->identity - (size_t)n, ", noise %.17g", c->noise);
}

static ad_status make(fit *f, ad_error *error) {
    const optim_target_options *o = &f->o;
    int64_t most = o->validation_draws > o->report_draws ? o->validation_draws : o->report_draws;
    if (o->fit.batch > most) most = o->fit.batch;
    f->engine = o->fit.engine;
    if (!f->engine) f->engine = f->own_engine = ad_engine_new(NULL, error);
    if (!f->engine) return AD_ENOMEM;
    f->tape = ad_tape_new(f->engine, o->fit.type);
    f->weights = calloc((size_t)most, sizeof *f->weights);
    if (!f->tape || !f->weights) return ad_fail(error, AD_ENOMEM, "optim_fit_target: out of memory");
    ad_status status = o->data ? use_data(f, error) : AD_OK;
    if (status == AD_OK && o->divergence == OPTIM_ANNEALED) status = use_chains(f, error);
    if (status != AD_OK) return status;
    return optim_drawer_open(&f->drawer, f->model, f->target, 0, f->engine, o->fit.type, error);
}

static ad_status open_fit(fit *f, flow_model *model, const optim_target *target, const optim_target_options *options,
                          ad_error *error) {
    *f = (fit){.model = model, .target = target};
    if (options) f->o = *options;
    if (!target || !target->log_prob) return ad_fail(error, AD_EARG, "optim_fit_target: there is no target");
    if (flow_model_context(model)) return ad_fail(error, AD_EARG, "optim_fit_target: the model takes a context");
    ad_status status = settle(&f->o, error);
    if (status != AD_OK) return status;
    f->random.seed = f->o.fit.seed;
    identify(f);
    return make(f, error);
}

static void close_fit(fit *f) {
    flow_set_step(f->model, 0);
    flow_used_rows_free(&f->used);
    optim_annealer_free(f->annealer);
    optim_drawer_close(&f->drawer);
    free(f->index);
    free(f->weights);
    ad_tape_free(f->tape);
    ad_engine_free(f->own_engine);
}

static ad_status train(fit *f, optim_fit_result *result, ad_error *error) {
    const optim_target_options *o = &f->o;
    const optim_task task = {.run = "optim_fit_target",
                             .compute = compute,
                             .undo = undo,
                             .validate = o->keep_last ? NULL : validate,
                             .add = f->annealer ? add : NULL,
                             .arg = f,
                             .rows = o->fit.batch * o->fit.accumulate,
                             .validate_from = o->beta < 1 ? (int64_t)ceil(o->beta_share * (double)o->fit.steps) : 0,
                             .data = *f->data ? f->data : NULL,
                             .identity = f->identity};
    optim_training t;
    ad_status status = optim_training_open(&t, f->model, f->engine, &o->fit, &task, error);
    if (status == AD_OK) status = optim_training_run(&t, error);
    optim_training_close(&t, result);
    return status;
}

// Of fresh draws of the parameters kept.
static ad_status report(fit *f, optim_importance *out, ad_error *error) {
    const int64_t n = f->o.report_draws;
    flow_set_step(f->model, 0);
    ad_status status = optim_drawer_run(&f->drawer, ~f->o.fit.seed - 1, n, NULL, f->weights, error);
    return status == AD_OK ? optim_importance_of(f->weights, n, f->o.fit.seed, out, error) : status;
}

ad_status optim_fit_target(flow_model *model, const optim_target *target, const optim_target_options *options,
                           optim_target_result *result, ad_error *error) {
    fit f;
    optim_target_result r = {.fit = {.loss = NAN, .validation = NAN}};
    ad_status status = open_fit(&f, model, target, options, error);
    if (status == AD_OK) status = train(&f, &r.fit, error);
    if (status == AD_OK) status = report(&f, &r.report, error);
    r.elbo = -r.fit.validation;
    if (result) *result = r;
    close_fit(&f);
    return status;
}
