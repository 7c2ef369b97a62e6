// fit.c -- maximum likelihood with Adam: a loop on public calls, with validation and the best weights kept.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "data.h"
#include "internal.h"

typedef struct fit {
    flow_model *model;
    optim_fit_options o;
    data_batches batches;
    int64_t per_epoch;
    ad_engine *engine, *own_engine;
    ad_tape *tape;
    optim_optimizer *adam;
    flow_used_rows used;
    int64_t *index;  // [batch] rows of the batch
    optim_batch batch;
    optim_scorer scorer;
    optim_snapshot *best;
    double start;
    optim_progress now;
    optim_fit_result result;
} fit;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- made ---------------------------------------------------------------------------------------------------------

static ad_status settle(optim_fit_options *o, int64_t count, ad_error *error) {
    if (o->steps == 0) o->steps = 2000;
    if (o->batch == 0) o->batch = 256;
    if (o->batch > count) o->batch = count;
    if (o->lr == 0) o->lr = 1e-3;
    if (o->validate_every == 0) o->validate_every = o->steps / 20 > 1 ? o->steps / 20 : 1;
    o->optimizer.max_norm = o->optimizer.max_norm == 0 ? 10 : o->optimizer.max_norm < 0 ? 0 : o->optimizer.max_norm;
    if (o->steps > 0 && o->batch > 0 && o->lr > 0 && isfinite(o->lr) && o->validate_every > 0 && o->warm_up >= 0 &&
        o->last_lr >= 0) {
        return AD_OK;
    }
    return ad_fail(error, AD_EARG,
                   "optim_fit: steps %lld, batch %lld, lr %g, warm_up %lld, last_lr %g, validate_every %lld: one is "
                   "out of range",
                   (long long)o->steps, (long long)o->batch, o->lr, (long long)o->warm_up, o->last_lr,
                   (long long)o->validate_every);
}

static ad_status make(fit *f, ad_error *error) {
    int n;
    ad_param *const *params = flow_params(f->model, &n);
    f->engine = f->o.engine;
    if (!f->engine) f->engine = f->own_engine = ad_engine_new(NULL, error);
    if (!f->engine) return AD_ENOMEM;
    f->tape = ad_tape_new(f->engine, f->o.type);
    f->index = calloc((size_t)f->o.batch, sizeof *f->index);
    f->best = optim_snapshot_new(f->model);
    if (!f->tape || !f->index || !f->best) return ad_fail(error, AD_ENOMEM, "optim_fit: out of memory");
    f->adam = optim_new(params, n, &f->o.optimizer, error);
    if (!f->adam) return AD_EARG;
    f->batch = optim_batch_of(&f->used.rows, f->index);
    if (!f->o.validation) return AD_OK;
    return optim_scorer_open(&f->scorer, f->model, f->o.validation, 0, f->engine, f->o.type, error);
}

static ad_status open_fit(fit *f, flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                          ad_error *error) {
    *f = (fit){.model = model, .now.validation = NAN, .result = {.loss = NAN, .validation = NAN}};
    if (options) f->o = *options;
    ad_status status = flow_use_rows(&f->used, model, rows, error);
    if (status == AD_OK) status = settle(&f->o, f->used.n, error);
    if (status != AD_OK) return status;
    f->batches = (data_batches){.count = f->used.n,
                                .size = f->o.batch,
                                .seed = f->o.seed,
                                .index = f->used.rows.index,
                                .drop_last = true};
    f->per_epoch = data_batch_count(&f->batches);
    f->now.steps = f->o.steps;
    f->start = seconds();
    return make(f, error);
}

static void close_fit(fit *f) {
    flow_set_step(f->model, 0);
    flow_used_rows_free(&f->used);
    optim_scorer_close(&f->scorer);
    optim_free(f->adam);
    optim_snapshot_free(f->best);
    free(f->index);
    ad_tape_free(f->tape);
    ad_engine_free(f->own_engine);
}

// ---- run ----------------------------------------------------------------------------------------------------------

// Full name of the first parameter with a gradient that is not finite.
static const char *bad_gradient(const flow_model *model) {
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) {
        const ad_param *p = t[i].param;
        for (int64_t k = 0; p && !p->frozen && k < p->count; k++) {
            double g = p->type == AD_F64 ? ((const double *)p->grad)[k] : (double)((const float *)p->grad)[k];
            if (!isfinite(g)) return t[i].name;
        }
    }
    return "no parameter";  // their squares overflow together
}

// Says where a loss or gradient that is not finite comes from. States go back to what they were before the step.
static ad_status not_finite(const fit *f, ad_error *error) {
    long long step = f->now.step + 1;
    ad_reject(f->tape);
    if (isfinite(f->now.loss)) {
        return ad_fail(error, AD_ENONFINITE, "step %lld: the loss is %g, but the gradient is not finite in %s", step,
                       f->now.loss, bad_gradient(f->model));
    }
    ad_error where = {0};
    flow_rows batch = {
        .x = f->used.rows.x, .context = f->used.rows.context, .index = f->index, .n = f->o.batch};
    if (flow_find_nonfinite(f->model, &batch, &where) == AD_OK) {
        return ad_fail(
            error, AD_ENONFINITE,
            "step %lld: the loss is not finite, though parameters and all values of the layers are: latent values "
            "too large to square; a smaller learning rate may help",
            step);
    }
    return ad_fail(error, AD_ENONFINITE, "step %lld: the loss is not finite: %s", step, where.message);
}

// Minus the mean log-density of the batch. Weights are divided by their mean over all rows, not over the batch: so the mean
// over batches is that of the whole.
static ad_var record_loss(const fit *f) {
    ad_var log_prob = optim_record_log_prob(f->model, f->tape, &f->batch);
    if (f->batch.weight.data) {
        ad_var weight = ad_input(ad_rows_new(f->tape, "data"), ad_shape0(), &f->batch.weight);
        log_prob = ad_mul(ad_scale(weight, 1 / f->used.weight), log_prob);
    }
    return ad_neg(ad_mean_rows(log_prob));
}

static ad_status train_step(fit *f, ad_error *error) {
    int64_t step = f->now.step;
    f->batch.n = data_batch(&f->batches, step / f->per_epoch, step % f->per_epoch, f->index);
    flow_set_step(f->model, (uint64_t)step + 1);
    ad_tape_reset(f->tape);
    ad_set_training(f->tape, true);
    ad_var loss = ad_keep(record_loss(f));
    ad_status status = ad_backward(loss);
    if (status != AD_OK) {
        return ad_fail(error, status, "step %lld: %s", (long long)step + 1, ad_tape_message(f->tape));
    }
    f->now.loss = ad_value(loss);
    f->now.lr = f->o.lr * optim_schedule_factor(f->o.schedule, step, f->o.steps, f->o.warm_up, f->o.last_lr);
    optim_step done = {.grad_norm = NAN};
    if (isfinite(f->now.loss)) status = optim_update(f->adam, f->engine, f->now.lr, &done, error);
    f->now.grad_norm = done.grad_norm;
    if (!isfinite(f->now.loss) || status == AD_ENONFINITE) return not_finite(f, error);
    f->now.step++;
    return status;
}

// Scores the weights and keeps them when they are the best so far.
static ad_status validate(fit *f, ad_error *error) {
    double mean;
    flow_set_step(f->model, 0);  // one noise for all validations, so that they compare
    ad_status status = optim_scorer_run(&f->scorer, &mean, NULL, error);
    if (status != AD_OK) return status;
    f->now.validation = -mean;
    f->now.validated = true;
    if (!isnan(f->result.validation) && !(-mean < f->result.validation)) return AD_OK;
    if (isnan(mean)) return AD_OK;
    f->result.validation = -mean;
    f->result.best_step = f->now.step;
    optim_snapshot_take(f->best);
    return AD_OK;
}

static bool report(fit *f) {
    f->now.seconds = seconds() - f->start;
    f->now.rows_per_second = (double)f->now.step * (double)f->o.batch / fmax(f->now.seconds, 1e-9);
    return !f->o.progress || f->o.progress(f->o.progress_arg, &f->now);
}

static ad_status loop(fit *f, ad_error *error) {
    ad_status status = AD_OK;
    while (status == AD_OK && f->now.step < f->o.steps && !f->result.stopped) {
        status = train_step(f, error);
        if (status != AD_OK) break;
        f->now.validated = false;
        bool due = f->now.step % f->o.validate_every == 0 || f->now.step == f->o.steps;
        if (f->o.validation && due) status = validate(f, error);
        if (status == AD_OK) f->result.stopped = !report(f);
    }
    if (status == AD_OK && f->result.stopped && f->o.validation && !f->now.validated) status = validate(f, error);
    return status;
}

ad_status optim_fit(flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                    optim_fit_result *result, ad_error *error) {
    fit f;
    ad_status status = open_fit(&f, model, rows, options, error);
    if (status == AD_OK) status = loop(&f, error);
    f.result.steps = f.now.step;
    f.result.loss = f.now.loss;
    f.result.seconds = seconds() - f.start;
    if (!isnan(f.result.validation)) {
        optim_snapshot_restore(f.best);
    } else {
        f.result.best_step = f.now.step;
    }
    if (result) *result = f.result;
    close_fit(&f);
    return status;
}
