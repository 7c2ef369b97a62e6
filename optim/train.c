// train.c -- what every training run does around its loss. See train.h.
#include "train.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GOOD_EVERY = 50 };  // steps between copies for a rollback

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- options ------------------------------------------------------------------------------------------------------

static int64_t share(int64_t steps, int64_t n) {
    return steps / n > 1 ? steps / n : 1;
}

ad_status optim_settle(const char *run, optim_fit_options *o, ad_error *error) {
    if (o->steps == 0) o->steps = 2000;
    if (o->batch == 0) o->batch = 256;
    if (o->lr == 0) o->lr = 1e-3;
    if (o->accumulate == 0) o->accumulate = 1;
    if (o->validate_every == 0) o->validate_every = share(o->steps, 20);
    if (o->care.checkpoint_every == 0) o->care.checkpoint_every = share(o->steps, 20);
    if (o->care.log_every == 0) o->care.log_every = share(o->steps, 2000);
    o->optimizer.max_norm = o->optimizer.max_norm == 0 ? 10 : o->optimizer.max_norm < 0 ? 0 : o->optimizer.max_norm;
    if (!(o->steps > 0 && o->batch > 0 && o->lr > 0 && isfinite(o->lr) && o->validate_every > 0 && o->warm_up >= 0 &&
          o->last_lr >= 0)) {
        return ad_fail(
            error, AD_EARG,
            "%s: steps %lld, batch %lld, lr %g, warm_up %lld, last_lr %g, validate_every %lld: one is out of range",
            run, (long long)o->steps, (long long)o->batch, o->lr, (long long)o->warm_up, o->last_lr,
            (long long)o->validate_every);
    }
    if (!(o->noise >= 0 && isfinite(o->noise))) {
        return ad_fail(error, AD_EARG, "%s: noise %g is out of range", run, o->noise);
    }
    if (o->accumulate < 1 || o->patience < 0 || !(o->average >= 0 && o->average < 1) || o->care.checkpoint_every < 1 ||
        o->care.log_every < 1 || o->care.keep < 0) {
        return ad_fail(error, AD_EARG,
                       "%s: accumulate %lld, patience %lld, average %g, checkpoint_every %lld, log_every %lld, keep "
                       "%d: one is out of range",
                       run, (long long)o->accumulate, (long long)o->patience, o->average,
                       (long long)o->care.checkpoint_every, (long long)o->care.log_every, o->care.keep);
    }
    if (o->schedule == OPTIM_EXPONENTIAL && o->last_lr == 0) {
        return ad_fail(error, AD_EARG, "%s: an exponential schedule needs a last_lr above 0", run);
    }
    return AD_OK;
}

// ---- what went wrong, and was mended ------------------------------------------------------------------------------

static void note(optim_training *t, const char *format, ...) {
    if (t->now.trouble) return;  // the first of a step
    va_list args;
    va_start(args, format);
    vsnprintf(t->trouble, sizeof t->trouble, format, args);
    va_end(args);
    t->now.trouble = t->trouble;
}

// ---- made ---------------------------------------------------------------------------------------------------------

// What a rollback brings back.
static void add_state(optim_training *t, optim_checkpoint *c) {
    optim_checkpoint_model(c, "model", t->model);
    optim_checkpoint_optimizer(c, "optimizer", t->optimizer);
    if (t->average) optim_checkpoint_average(c, "average", t->average);
    if (t->task.add) t->task.add(t->task.arg, c);
}

// What decides the bits of a run and is not in the task's own identity. Without a schedule its length does not.
static void identify(const optim_fit_options *o, char *text, size_t size) {
    const optim_options *a = &o->optimizer;
    const optim_guard *g = &o->care.guard;
    const optim_plateau *p = &o->lower;
    snprintf(text, size,
             "steps %lld, betas %.17g %.17g, eps %.17g, amsgrad %d, momentum %.17g %.17g %d, max_value %.17g, "
             "validations %lld, "
             "plateau %d %.17g %d %.17g %.17g, guard %d %lld %lld %.17g %.17g",
             o->schedule == OPTIM_CONSTANT ? 0LL : (long long)o->steps, a->beta1, a->beta2, a->eps, a->amsgrad,
             a->momentum, a->dampening, a->nesterov, a->max_value, (long long)o->validate_every, o->plateau, p->factor,
             p->patience, p->threshold, p->least, g->off, (long long)g->skips, (long long)g->rollbacks, g->factor,
             g->spike);
}

static void add_run(optim_training *t, optim_checkpoint *c) {
    char name[32];
    optim_kept kept;
    for (int i = 0; optim_snapshot_kept(t->best, i, &kept); i++) {
        snprintf(name, sizeof name, "best/%d", i);
        optim_checkpoint_tensor(c, name, kept.type, kept.count, kept.data);
    }
    const struct {
        const char *name;
        int64_t *value;
    } counts[] = {{"best_step", &t->result.best_step},
                  {"waited", &t->waited},
                  {"history", &t->n_history},
                  {"guard/in_a_row", &t->guard.in_a_row},
                  {"guard/rolled_back", &t->guard.rolled_back},
                  {"guard/skipped", &t->guard.skipped},
                  {"guard/values", &t->guard.values},
                  {"plateau/bad", &t->plateau.bad},
                  {"plateau/values", &t->plateau.values}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        optim_checkpoint_count(c, counts[i].name, counts[i].value);
    optim_checkpoint_tensor(c, "guard/losses", AD_F64, OPTIM_GUARD_WINDOW, t->guard.losses);
    optim_checkpoint_tensor(c, "guard/log_norms", AD_F64, OPTIM_GUARD_WINDOW, t->guard.log_norms);
    optim_checkpoint_tensor(c, "guard/scale", AD_F64, 1, &t->guard.scale);
    optim_checkpoint_tensor(c, "plateau/scale", AD_F64, 1, &t->plateau.scale);
    optim_checkpoint_tensor(c, "plateau/best", AD_F64, 1, &t->plateau.best);
    optim_checkpoint_tensor(c, "numbers", AD_F64, 4, t->numbers);
    optim_checkpoint_tensor(c, "validations", AD_F64, 2 * OPTIM_HISTORY, t->history);
    optim_checkpoint_identity(c, "run", t->task.run);
    optim_checkpoint_identity(c, "options", t->task.identity);
    char how[1000];
    identify(&t->o, how, sizeof how);
    optim_checkpoint_identity(c, "training", how);
    if (t->task.data) optim_checkpoint_identity(c, "data", t->task.data);
}

static void remember(optim_training *t) {
    optim_checkpoint_copy(t->state, t->good, false);
}

static ad_status resume(optim_training *t, ad_error *error) {
    int64_t step;
    ad_status status = optim_checkpoint_load(t->checkpoint, &step, error);
    if (status != AD_OK || step < 0) return status;
    t->result.resumed = t->now.step = step;
    t->now.loss = t->numbers[0];
    t->now.validation = t->numbers[1];
    t->result.validation = t->numbers[2];
    t->result.seconds = t->numbers[3];
    if (optim_checkpoint_note(t->checkpoint))
        note(t, "a checkpoint was passed over: %.400s", optim_checkpoint_note(t->checkpoint));
    return AD_OK;
}

static ad_status open_logs(optim_training *t, ad_error *error) {
    const optim_care *care = &t->o.care;
    if (care->log && !(t->log = optim_log_open(care->log, t->now.step > 0, error))) return AD_EIO;
    if (care->events && !(t->events = optim_events_open(care->events, error))) return AD_EIO;
    if (!t->log) return AD_OK;
    char *model = flow_describe(t->model);
    optim_log_info info = {.run = t->task.run,
                           .seed = t->o.seed,
                           .params = flow_param_count(t->model),
                           .threads = ad_engine_threads(t->engine),
                           .data = t->task.data,
                           .model = model};
    ad_status status = optim_log_header(t->log, &info, error);
    free(model);
    return status;
}

static ad_status make(optim_training *t, ad_error *error) {
    int n;
    ad_param *const *params = flow_params(t->model, &n);
    if (!(t->optimizer = optim_new(params, n, &t->o.optimizer, error))) return AD_EARG;
    if (t->o.average > 0 && !(t->average = optim_average_new(params, n, t->o.average, error))) return AD_ENOMEM;
    t->best = optim_snapshot_new(t->model);
    t->state = optim_checkpoint_new("state", 0, error);
    if (!t->best || !t->state) return ad_fail(error, AD_ENOMEM, "%s: out of memory", t->task.run);
    add_state(t, t->state);
    t->good = malloc(optim_checkpoint_bytes(t->state) + 1);
    if (!t->good) return ad_fail(error, AD_ENOMEM, "%s: out of memory", t->task.run);
    ad_status status = AD_OK;
    if (t->o.care.checkpoint) {
        if (!(t->checkpoint = optim_checkpoint_new(t->o.care.checkpoint, t->o.care.keep, error))) return AD_EARG;
        add_state(t, t->checkpoint);
        add_run(t, t->checkpoint);
        status = resume(t, error);
    }
    remember(t);
    return status == AD_OK ? open_logs(t, error) : status;
}

ad_status optim_training_open(optim_training *t, flow_model *model, ad_engine *engine, const optim_fit_options *settled,
                              const optim_task *task, ad_error *error) {
    *t = (optim_training){.model = model,
                          .engine = engine,
                          .task = *task,
                          .o = *settled,
                          .guard = settled->care.guard,
                          .plateau = settled->lower,
                          .now = {.steps = settled->steps, .loss = NAN, .validation = NAN, .grad_norm = NAN},
                          .result = {.loss = NAN, .validation = NAN},
                          .start = seconds()};
    if (t->guard.scale == 0) t->guard.scale = 1;
    if (t->plateau.scale == 0) t->plateau.scale = 1;
    return make(t, error);
}

// ---- a step -------------------------------------------------------------------------------------------------------

static double rate(const optim_training *t) {
    const optim_fit_options *o = &t->o;
    return o->lr * optim_schedule_factor(o->schedule, t->now.step, o->steps, o->warm_up, o->last_lr) * t->guard.scale *
           t->plateau.scale;
}

// Says what is wrong with the step under way, and puts states back.
static void explain(optim_training *t, ad_error *why) {
    t->task.undo(t->task.arg, t->now.step, t->now.loss, why);
    if (isfinite(t->now.loss) && isfinite(t->now.grad_norm)) {
        ad_fail(why, AD_ENONFINITE, "a loss of %g with a gradient norm of %g stands out from those before", t->now.loss,
                t->now.grad_norm);
    }
}

static ad_status mend(optim_training *t, optim_verdict verdict, ad_error *error) {
    ad_error why = {0};
    const long long step = t->now.step + 1;
    explain(t, &why);
    if (verdict == OPTIM_GIVE_UP && t->guard.off)
        return ad_fail(error, AD_ENONFINITE, "step %lld: %s", step, why.message);
    if (verdict != OPTIM_SKIP) optim_checkpoint_copy(t->state, t->good, true);
    if (verdict == OPTIM_GIVE_UP) {
        return ad_fail(error, AD_ENONFINITE,
                       "step %lld: %.300s. Given up after %lld bad steps, the last %lld in a row, and %lld returns to "
                       "good parameters",
                       step, why.message, (long long)t->guard.skipped,
                       (long long)(t->guard.skips > 0 ? t->guard.skips : 3), (long long)t->guard.rolled_back);
    }
    note(t, "step %lld: %.400s: %s", step, why.message,
         verdict == OPTIM_SKIP ? "skipped" : "back to the last good parameters, with a lower rate");
    return AD_OK;
}

static ad_status take_step(optim_training *t, ad_error *error) {
    ad_error why = {0};
    t->now.validated = false;
    t->now.loss = t->now.grad_norm = NAN;
    t->now.lr = rate(t);
    ad_status status = t->task.compute(t->task.arg, t->now.step, &t->now.loss, &why);
    if (status != AD_OK && status != AD_ENONFINITE)
        return ad_fail(error, status, "step %lld: %s", (long long)t->now.step + 1, why.message);
    if (status == AD_ENONFINITE) t->now.loss = NAN;
    if (isfinite(t->now.loss)) t->now.grad_norm = optim_gradient_norm(t->optimizer, t->engine);
    optim_verdict verdict = optim_guard_judge(&t->guard, t->now.loss, t->now.grad_norm);
    if (verdict == OPTIM_GOOD) {
        optim_apply(t->optimizer, t->engine, t->now.lr);
        if (t->average) optim_average_update(t->average);
    } else if ((status = mend(t, verdict, error)) != AD_OK) {
        return status;
    }
    t->now.step++;
    if (t->now.step % GOOD_EVERY == 0 && t->guard.in_a_row == 0) remember(t);
    return AD_OK;
}

// ---- between steps ------------------------------------------------------------------------------------------------

// Scores the parameters (their average where there is one) and keeps them when they are the best so far.
static ad_status validate(optim_training *t, ad_error *error) {
    double loss;
    if (t->average) optim_average_swap(t->average);
    ad_status status = t->task.validate(t->task.arg, &loss, error);
    bool better = status == AD_OK && !isnan(loss) && !(loss >= t->result.validation);
    if (better) optim_snapshot_take(t->best);
    if (t->average) optim_average_swap(t->average);
    if (status != AD_OK) return status;
    t->now.validation = loss;
    t->now.validated = true;
    t->waited = better ? 0 : t->waited + 1;
    if (better) t->result.validation = loss, t->result.best_step = t->now.step;
    double *at = t->history + 2 * (t->n_history++ % OPTIM_HISTORY);
    at[0] = (double)t->now.step;
    at[1] = loss;
    if (t->o.plateau) optim_plateau_update(&t->plateau, loss);
    return AD_OK;
}

static double elapsed(const optim_training *t) {
    return t->result.seconds + seconds() - t->start;
}

static void save(optim_training *t) {
    if (!t->checkpoint) return;
    t->numbers[0] = t->now.loss;
    t->numbers[1] = t->now.validation;
    t->numbers[2] = t->result.validation;
    t->numbers[3] = elapsed(t);
    ad_error why;
    if (optim_checkpoint_save(t->checkpoint, t->now.step, &why) != AD_OK) note(t, "%s", why.message);
    if (t->guard.in_a_row == 0) remember(t);  // what a run that goes on from here has
}

static void write_logs(optim_training *t) {
    const optim_progress *p = &t->now;
    if (p->step % t->o.care.log_every != 0 && !p->validated && !p->trouble) return;
    ad_error why;
    if (t->log && optim_log_progress(t->log, p, &why) != AD_OK) note(t, "%s", why.message);
    if (!t->events) return;
    ad_status status = optim_events_scalar(t->events, "loss", p->step, p->loss, &why);
    if (status == AD_OK) status = optim_events_scalar(t->events, "grad_norm", p->step, p->grad_norm, &why);
    if (status == AD_OK) status = optim_events_scalar(t->events, "lr", p->step, p->lr, &why);
    if (status == AD_OK && p->validated)
        status = optim_events_scalar(t->events, "validation", p->step, p->validation, &why);
    if (status != AD_OK) note(t, "%s", why.message);
}

static void report(optim_training *t) {
    t->now.seconds = elapsed(t);
    t->now.rows_per_second =
        (double)(t->now.step - t->result.resumed) * (double)t->task.rows / fmax(seconds() - t->start, 1e-9);
    write_logs(t);
    if (t->o.progress && !t->o.progress(t->o.progress_arg, &t->now)) t->result.stopped = true;
    if (t->o.care.signals && optim_signal_caught()) t->result.stopped = true, t->result.signal = optim_signal_caught();
    t->now.trouble = NULL;
}

ad_status optim_training_run(optim_training *t, ad_error *error) {
    ad_status status = AD_OK;
    const optim_fit_options *o = &t->o;
    bool patient = o->patience == 0 || t->waited < o->patience;
    while (status == AD_OK && t->now.step < o->steps && !t->result.stopped && patient) {
        status = take_step(t, error);
        if (status != AD_OK) break;
        bool last = t->now.step == o->steps;
        bool due = t->now.step % o->validate_every == 0 && t->now.step >= t->task.validate_from;
        if (t->task.validate && (due || last)) status = validate(t, error);
        patient = o->patience == 0 || t->waited < o->patience;
        if (status == AD_OK && (t->now.step % o->care.checkpoint_every == 0 || last || !patient)) save(t);
        if (status == AD_OK) report(t);
    }
    if (status == AD_OK && t->result.stopped) {
        save(t);
        if (t->task.validate && !t->now.validated) status = validate(t, error);
    }
    if (status == AD_OK && t->guard.in_a_row > 0 && t->guard.skipped == t->now.step) {
        status = ad_fail(error, AD_ENONFINITE, "%s: none of %lld steps could be taken; the last: %.300s", t->task.run,
                         (long long)t->now.step, t->trouble);
    }
    return status;
}

void optim_training_close(optim_training *t, optim_fit_result *result) {
    t->result.steps = t->now.step;
    t->result.loss = t->now.loss;
    t->result.seconds = elapsed(t);
    t->result.skipped = t->guard.skipped;
    t->result.rolled_back = t->guard.rolled_back;
    if (t->best && !isnan(t->result.validation)) {
        optim_snapshot_restore(t->best);
    } else {
        t->result.best_step = t->now.step;
        if (t->average) optim_average_swap(t->average);
    }
    if (result) *result = t->result;
    optim_log_close(t->log);
    optim_events_close(t->events);
    optim_checkpoint_free(t->checkpoint);
    optim_checkpoint_free(t->state);
    free(t->good);
    optim_snapshot_free(t->best);
    optim_average_free(t->average);
    optim_free(t->optimizer);
}
