// fit_target.c -- a flow fitted to an unnormalised density by its own draws: a loop on public calls.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "data.h"
#include "internal.h"

typedef struct fit {
    flow_model *model;
    const optim_target *target;
    optim_target_options o;
    ad_engine *engine, *own_engine;
    ad_tape *tape;
    ad_random random;
    double beta;
    optim_optimizer *optimizer;
    optim_average *average;
    optim_annealer *annealer;
    optim_drawer drawer;
    double *log_weight;  // [the most of draws, validation and report]
    optim_snapshot *best;
    // Rows of data beside the draws.
    flow_used_rows used;
    data_batches batches;
    int64_t *index, per_epoch;
    optim_batch batch;
    double start;
    optim_progress now;
    optim_target_result result;
} fit;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- made -----------------------------------------------------------------------------------------------------------

static void settle(optim_target_options *o) {
    if (o->steps == 0) o->steps = 5000;
    if (o->draws == 0) o->draws = 256;
    if (o->lr == 0) o->lr = 1e-3;
    if (o->beta == 0) o->beta = 1;
    if (o->beta_share == 0) o->beta_share = 0.5;
    if (o->data_weight == 0) o->data_weight = 1;
    if (o->data_batch == 0) o->data_batch = 256;
    if (o->validate_every == 0) o->validate_every = o->steps / 20 > 1 ? o->steps / 20 : 1;
    if (o->validation_draws == 0) o->validation_draws = 2048;
    if (o->report_draws == 0) o->report_draws = 10000;
    o->optimizer.max_norm = o->optimizer.max_norm == 0 ? 10 : o->optimizer.max_norm < 0 ? 0 : o->optimizer.max_norm;
}

static ad_status check(const optim_target_options *o, ad_error *error) {
    const int64_t most = (int64_t)1 << 30;
    bool sizes = o->steps > 0 && o->draws > 0 && o->draws <= most && o->data_batch > 0 && o->validate_every > 0 &&
                 o->validation_draws > 0 && o->validation_draws <= most && o->report_draws > 0 &&
                 o->report_draws <= most && o->warm_up >= 0;
    if (!sizes) {
        return ad_fail(
            error, AD_EARG,
            "optim_fit_target: steps %lld, draws %lld, data_batch %lld, validate_every %lld, validation_draws "
            "%lld, report_draws %lld, warm_up %lld: one is out of range",
            (long long)o->steps, (long long)o->draws, (long long)o->data_batch, (long long)o->validate_every,
            (long long)o->validation_draws, (long long)o->report_draws, (long long)o->warm_up);
    }
    if (o->lr > 0 && isfinite(o->lr) && o->last_lr >= 0 && o->beta > 0 && o->beta <= 1 && o->beta_share > 0 &&
        o->beta_share <= 1 && isfinite(o->data_weight) && o->divergence >= 0 && o->divergence <= OPTIM_ANNEALED) {
        return AD_OK;
    }
    return ad_fail(error, AD_EARG,
                   "optim_fit_target: lr %g, last_lr %g, beta %g, beta_share %g, data_weight %g, divergence %d: one is "
                   "out of range",
                   o->lr, o->last_lr, o->beta, o->beta_share, o->data_weight, (int)o->divergence);
}

static ad_status use_data(fit *f, ad_error *error) {
    ad_status status = flow_use_rows(&f->used, f->model, f->o.data, error);
    if (status != AD_OK) return status;
    if (f->o.data_batch > f->used.n) f->o.data_batch = f->used.n;
    f->batches = (data_batches){
        .count = f->used.n, .size = f->o.data_batch, .seed = f->o.seed, .index = f->used.rows.index, .drop_last = true};
    f->per_epoch = data_batch_count(&f->batches);
    f->index = calloc((size_t)f->o.data_batch, sizeof *f->index);
    if (!f->index) return ad_fail(error, AD_ENOMEM, "optim_fit_target: out of memory");
    f->batch = optim_batch_of(&f->used.rows, f->index);
    return AD_OK;
}

static ad_status use_chains(fit *f, ad_error *error) {
    optim_annealing_options a = f->o.annealing;
    if (a.chains == 0) a.chains = f->o.draws;
    f->o.draws = a.chains;
    a.seed = f->o.seed;
    a.engine = f->engine;
    a.type = f->o.type;
    f->annealer = optim_annealer_new(f->model, f->target, &a, error);
    return f->annealer ? AD_OK : AD_EARG;
}

static ad_status make(fit *f, ad_error *error) {
    int n;
    ad_param *const *params = flow_params(f->model, &n);
    f->engine = f->o.engine;
    if (!f->engine) f->engine = f->own_engine = ad_engine_new(NULL, error);
    if (!f->engine) return AD_ENOMEM;
    const int64_t kept = f->o.validation_draws > f->o.report_draws ? f->o.validation_draws : f->o.report_draws;
    f->tape = ad_tape_new(f->engine, f->o.type);
    f->best = optim_snapshot_new(f->model);
    f->log_weight = calloc((size_t)(kept > f->o.draws ? kept : f->o.draws), sizeof *f->log_weight);
    if (!f->tape || !f->best || !f->log_weight) return ad_fail(error, AD_ENOMEM, "optim_fit_target: out of memory");
    f->optimizer = optim_new(params, n, &f->o.optimizer, error);
    if (!f->optimizer) return AD_EARG;
    if (f->o.average != 0 && !(f->average = optim_average_new(params, n, f->o.average, error))) return AD_EARG;
    ad_status status = f->o.data ? use_data(f, error) : AD_OK;
    if (status == AD_OK && f->o.divergence == OPTIM_ANNEALED) status = use_chains(f, error);
    return status == AD_OK ? optim_drawer_open(&f->drawer, f->model, f->target, 0, f->engine, f->o.type, error)
                           : status;
}

static ad_status open_fit(fit *f, flow_model *model, const optim_target *target, const optim_target_options *options,
                          ad_error *error) {
    *f = (fit){.model = model, .target = target, .now.validation = NAN, .result = {.loss = NAN, .elbo = NAN}};
    if (options) f->o = *options;
    settle(&f->o);
    ad_status status = check(&f->o, error);
    if (status != AD_OK) return status;
    if (!target || !target->log_prob) return ad_fail(error, AD_EARG, "optim_fit_target: there is no target");
    if (flow_model_context(model)) return ad_fail(error, AD_EARG, "optim_fit_target: the model takes a context");
    f->random.seed = f->o.seed;
    f->now.steps = f->o.steps;
    f->start = seconds();
    return make(f, error);
}

static void close_fit(fit *f) {
    flow_set_step(f->model, 0);
    flow_used_rows_free(&f->used);
    optim_annealer_free(f->annealer);
    optim_drawer_close(&f->drawer);
    optim_average_free(f->average);
    optim_free(f->optimizer);
    optim_snapshot_free(f->best);
    free(f->index);
    free(f->log_weight);
    ad_tape_free(f->tape);
    ad_engine_free(f->own_engine);
}

// ---- one step
// ---------------------------------------------------------------------------------------------------------

static double beta_at(const optim_target_options *o, int64_t step) {
    double done = (double)step / (o->beta_share * (double)o->steps);
    return done < 1 ? o->beta + (1 - o->beta) * done : 1;
}

static optim_divergence_loss record_divergence(const fit *f) {
    optim_sampling s = {.rows = ad_rows_new(f->tape, "draws"), .random = &f->random};
    ad_rows_set(s.rows, f->o.draws, 0);
    if (f->o.beta < 1) s.beta = ad_scalar(f->tape, &f->beta);
    switch (f->o.divergence) {
        case OPTIM_REVERSE_KL:
            return optim_reverse_kl(f->model, f->target, &s);
        case OPTIM_ALPHA:
            return optim_alpha_divergence(f->model, f->target, &s, f->o.alpha);
        case OPTIM_FORWARD_KL:
            return optim_forward_kl(f->model, f->target, &s);
        case OPTIM_FORWARD_PATH_KL:
            return optim_forward_path_kl(f->model, f->target, &s);
        default:
            return optim_path_kl(f->model, f->target, &s);
    }
}

// The loss on chains, which are borrowed until the run ends.
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

static ad_var record_data(fit *f) {
    const int64_t step = f->now.step;
    f->batch.n = data_batch(&f->batches, step / f->per_epoch, step % f->per_epoch, f->index);
    ad_var log_prob = optim_record_log_prob(f->model, f->tape, &f->batch);
    if (f->batch.weight.data) {
        ad_var weight = ad_input(ad_rows_new(f->tape, "data"), ad_shape0(), &f->batch.weight);
        log_prob = ad_mul(ad_scale(weight, 1 / f->used.weight), log_prob);
    }
    return ad_scale(ad_mean_rows(log_prob), -f->o.data_weight);
}

// Says which draw makes a loss that is not finite. States go back to what they were before the step.
static ad_status not_finite(fit *f, ad_var log_weight, ad_error *error) {
    const long long step = f->now.step + 1;
    ad_reject(f->tape);
    if (!ad_is_none(log_weight) && ad_read(log_weight, f->log_weight, f->o.draws) == AD_OK) {
        for (int64_t i = 0; i < f->o.draws; i++) {
            if (isfinite(f->log_weight[i])) continue;
            return ad_fail(error, AD_ENONFINITE, "step %lld: the loss is %g: log weight %g of %s at draw %lld of %lld",
                           step, f->now.loss, f->log_weight[i], f->target->name ? f->target->name : "the target",
                           (long long)i, (long long)f->o.draws);
        }
    }
    if (isfinite(f->now.loss)) {
        return ad_fail(error, AD_ENONFINITE, "step %lld: the loss is %g, but its gradient is not finite", step,
                       f->now.loss);
    }
    return ad_fail(error, AD_ENONFINITE, "step %lld: the loss is %g", step, f->now.loss);
}

static ad_status train_step(fit *f, ad_error *error) {
    const int64_t step = f->now.step;
    ad_source source[2];
    f->random.step = (uint64_t)step + 1;
    f->beta = beta_at(&f->o, step);
    flow_set_step(f->model, f->random.step);
    ad_status status = f->annealer ? optim_annealer_run(f->annealer, f->random.step, error) : AD_OK;
    if (status != AD_OK) return status;
    ad_tape_reset(f->tape);
    ad_set_training(f->tape, true);
    optim_divergence_loss recorded = {AD_NONE, AD_NONE};
    if (f->annealer) {
        recorded.loss = record_chains(f, source);
    } else {
        recorded = record_divergence(f);
        ad_keep(recorded.log_weight);
    }
    ad_var loss = ad_keep(f->o.data ? ad_add(recorded.loss, record_data(f)) : recorded.loss);
    status = ad_backward(loss);
    if (status != AD_OK) return ad_fail(error, status, "step %lld: %s", (long long)step + 1, ad_tape_message(f->tape));
    f->now.loss = ad_value(loss);
    f->now.lr = f->o.lr * optim_schedule_factor(f->o.schedule, step, f->o.steps, f->o.warm_up, f->o.last_lr);
    optim_step done = {.grad_norm = NAN};
    if (isfinite(f->now.loss)) status = optim_update(f->optimizer, f->engine, f->now.lr, &done, error);
    f->now.grad_norm = done.grad_norm;
    if (!isfinite(f->now.loss) || status == AD_ENONFINITE) return not_finite(f, recorded.log_weight, error);
    if (status == AD_OK && f->average) optim_average_update(f->average);
    f->now.step++;
    return status;
}

// ---- the loop
// -----------------------------------------------------------------------------------------------------------

// Mean log weight of the draws that all validations share; their seed is not that of training.
static ad_status score(fit *f, double *elbo, ad_error *error) {
    const int64_t n = f->o.validation_draws;
    flow_set_step(f->model, 0);
    ad_status status = optim_drawer_run(&f->drawer, ~f->o.seed, n, NULL, f->log_weight, error);
    *elbo = 0;
    for (int64_t i = 0; i < n && status == AD_OK; i++) *elbo += f->log_weight[i] / (double)n;
    return status;
}

// Scores the weights (their average, where there is one) and keeps them when they are the best so far.
static ad_status validate(fit *f, ad_error *error) {
    double elbo;
    if (f->average) optim_average_swap(f->average);
    ad_status status = score(f, &elbo, error);
    const bool better = isnan(f->result.elbo) || elbo > f->result.elbo;
    if (status == AD_OK) {
        f->now.validation = -elbo;
        f->now.validated = true;
        const bool annealed = f->o.beta == 1 || beta_at(&f->o, f->now.step) == 1;
        if (!isnan(elbo) && (f->o.keep_last || (annealed && better))) {
            f->result.elbo = elbo;
            f->result.best_step = f->now.step;
            optim_snapshot_take(f->best);
        }
    }
    if (f->average) optim_average_swap(f->average);
    return status;
}

static bool report(fit *f) {
    f->now.seconds = seconds() - f->start;
    f->now.rows_per_second = (double)f->now.step * (double)f->o.draws / fmax(f->now.seconds, 1e-9);
    return !f->o.progress || f->o.progress(f->o.progress_arg, &f->now);
}

static ad_status loop(fit *f, ad_error *error) {
    ad_status status = AD_OK;
    while (status == AD_OK && f->now.step < f->o.steps && !f->result.stopped) {
        status = train_step(f, error);
        if (status != AD_OK) break;
        f->now.validated = false;
        if (f->now.step % f->o.validate_every == 0 || f->now.step == f->o.steps) status = validate(f, error);
        if (status == AD_OK) f->result.stopped = !report(f);
    }
    if (status == AD_OK && f->result.stopped && !f->now.validated) status = validate(f, error);
    return status;
}

// The weights kept become the model's, and fresh draws of them the report.
static ad_status finish(fit *f, ad_error *error) {
    if (!isnan(f->result.elbo)) {
        optim_snapshot_restore(f->best);
    } else {
        f->result.best_step = f->now.step;
    }
    flow_set_step(f->model, 0);
    const int64_t n = f->o.report_draws;
    ad_status status = optim_drawer_run(&f->drawer, ~f->o.seed - 1, n, NULL, f->log_weight, error);
    return status == AD_OK ? optim_importance_of(f->log_weight, n, f->o.seed, &f->result.report, error) : status;
}

ad_status optim_fit_target(flow_model *model, const optim_target *target, const optim_target_options *options,
                           optim_target_result *result, ad_error *error) {
    fit f;
    ad_status status = open_fit(&f, model, target, options, error);
    if (status == AD_OK) status = loop(&f, error);
    if (status == AD_OK) {
        status = finish(&f, error);
    } else if (!isnan(f.result.elbo)) {
        optim_snapshot_restore(f.best);
    }
    f.result.steps = f.now.step;
    f.result.loss = f.now.loss;
    f.result.seconds = seconds() - f.start;
    if (result) *result = f.result;
    close_fit(&f);
    return status;
}
