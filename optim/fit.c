// fit.c -- maximum likelihood: the loss of a batch of rows and of the validation rows; train.c does the rest.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "data.h"
#include "train.h"

typedef struct fit {
    flow_model *model;
    optim_fit_options o;
    data_batches batches;
    int64_t per_epoch;
    ad_engine *engine, *own_engine;
    ad_tape *tape;
    flow_used_rows used;
    int64_t *index;  // [batch] rows of the batch
    optim_batch batch;
    ad_random random;  // of the noise
    optim_scorer scorer;
    char data[40], identity[400];
} fit;

// ---- the loss -----------------------------------------------------------------------------------------------------

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

// Minus the mean log-density of the batch. Weights are divided by their mean over all rows, not over the batch: so the
// mean over batches is that of the whole.
static ad_var record_loss(const fit *f) {
    ad_var log_prob = optim_record_log_prob(f->model, f->tape, &f->batch);
    if (f->batch.weight.data) {
        ad_var weight = ad_input(ad_rows_new(f->tape, "data"), ad_shape0(), &f->batch.weight);
        log_prob = ad_mul(ad_scale(weight, 1 / f->used.weight), log_prob);
    }
    return ad_neg(ad_mean_rows(log_prob));
}

// Batch number i of those that make step.
static ad_status run_batch(fit *f, int64_t step, int64_t i, double *loss, ad_error *error) {
    int64_t number = step * f->o.accumulate + i;
    f->batch.n = data_batch(&f->batches, number / f->per_epoch, number % f->per_epoch, f->index);
    f->random.step = (uint64_t)number + 1;
    flow_set_step(f->model, f->random.step);
    ad_tape_reset(f->tape);
    ad_set_training(f->tape, true);
    ad_var mean = ad_keep(record_loss(f)),
           scaled = f->o.accumulate == 1 ? mean : ad_scale(mean, 1 / (double)f->o.accumulate);
    ad_status status = i == 0 ? ad_backward(scaled) : ad_backward_add(scaled);
    if (status != AD_OK) return ad_fail(error, status, "%s", ad_tape_message(f->tape));
    *loss = ad_value(mean);
    return AD_OK;
}

static ad_status compute(void *arg, int64_t step, double *loss, ad_error *error) {
    fit *f = arg;
    double sum = 0, one;
    for (int64_t i = 0; i < f->o.accumulate; i++) {
        ad_status status = run_batch(f, step, i, &one, error);
        if (status != AD_OK) return status;
        sum += one;
        if (!isfinite(one)) break;  // the batch that undo looks at
    }
    *loss = isfinite(sum) ? sum / (double)f->o.accumulate : sum;
    return AD_OK;
}

static void undo(void *arg, int64_t step, double loss, ad_error *why) {
    (void)step;
    fit *f = arg;
    ad_error where = {0};
    flow_rows batch = {.x = f->used.rows.x, .context = f->used.rows.context, .index = f->index, .n = f->batch.n};
    ad_reject(f->tape);
    if (isfinite(loss)) {
        ad_fail(why, AD_ENONFINITE, "the loss is %g, but the gradient is not finite in %s", loss,
                bad_gradient(f->model));
    } else if (flow_find_nonfinite(f->model, &batch, &where) == AD_OK) {
        ad_fail(why, AD_ENONFINITE,
                "the loss is not finite, though parameters and all values of the layers are: latent values too large "
                "to square; a smaller learning rate may help");
    } else {
        ad_fail(why, AD_ENONFINITE, "the loss is not finite: %s", where.message);
    }
}

static ad_status validate(void *arg, double *loss, ad_error *error) {
    fit *f = arg;
    double mean;
    flow_set_step(f->model, 0);  // one noise for all validations, so that they compare
    ad_status status = optim_scorer_run(&f->scorer, &mean, NULL, error);
    *loss = -mean;
    return status;
}

// ---- a run --------------------------------------------------------------------------------------------------------

static void digest_rows(XXH3_state_t *state, const ad_source *source, int64_t width, const flow_used_rows *used) {
    if (!source->data) return;
    size_t bytes = (size_t)width * ad_type_size(source->type), stride = source->row_stride ? source->row_stride : bytes;
    for (int64_t i = 0; i < used->n; i++) {
        int64_t row = used->rows.index ? used->rows.index[i] : i;
        XXH3_64bits_update(state, (const char *)source->data + (size_t)row * stride, bytes);
    }
}

ad_status optim_fingerprint(const flow_model *model, const flow_used_rows *used, char *text, size_t size, ad_error *error) {
    XXH3_state_t *state = XXH3_createState();
    if (!state) return ad_fail(error, AD_ENOMEM, "out of memory for a fingerprint");
    XXH3_64bits_reset(state);
    digest_rows(state, &used->rows.x, ad_shape_count(flow_model_shape(model)), used);
    digest_rows(state, &used->rows.context, flow_model_context(model), used);
    digest_rows(state, &used->rows.weight, 1, used);
    snprintf(text, size, "%016llx, %lld rows", (unsigned long long)XXH3_64bits_digest(state), (long long)used->n);
    XXH3_freeState(state);
    return AD_OK;
}

// What decides the bits of a run, but for its data and what train.c adds.
static void identify(fit *f) {
    const optim_fit_options *o = &f->o;
    int n = snprintf(f->identity, sizeof f->identity,
                     "batch %lld x %lld, seed %llu, lr %.17g, schedule %d, warm-up %lld, last %.17g, average %.17g, "
                     "max_norm %.17g, decay %.17g, type %d",
                     (long long)o->batch, (long long)o->accumulate, (unsigned long long)o->seed, o->lr,
                     (int)o->schedule, (long long)o->warm_up, o->last_lr, o->average, o->optimizer.max_norm,
                     o->optimizer.weight_decay, (int)o->type);
    if (o->noise > 0) snprintf(f->identity + n, sizeof f->identity - (size_t)n, ", noise %.17g", o->noise);
}

static ad_status make(fit *f, ad_error *error) {
    f->engine = f->o.engine;
    if (!f->engine) f->engine = f->own_engine = ad_engine_new(NULL, error);
    if (!f->engine) return AD_ENOMEM;
    f->tape = ad_tape_new(f->engine, f->o.type);
    f->index = calloc((size_t)f->o.batch, sizeof *f->index);
    if (!f->tape || !f->index) return ad_fail(error, AD_ENOMEM, "optim_fit: out of memory");
    f->batch = optim_batch_of(&f->used.rows, f->index);
    f->random.seed = f->o.seed;
    f->batch.noise = f->o.noise, f->batch.random = &f->random;
    if (!f->o.validation) return AD_OK;
    return optim_scorer_open(&f->scorer, f->model, f->o.validation, 0, f->engine, f->o.type, error);
}

static ad_status open_fit(fit *f, flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                          ad_error *error) {
    *f = (fit){.model = model};
    if (options) f->o = *options;
    ad_status status = flow_use_rows(&f->used, model, rows, error);
    if (status == AD_OK) status = optim_settle("optim_fit", &f->o, error);
    if (status != AD_OK) return status;
    if (f->o.batch > f->used.n) f->o.batch = f->used.n;
    f->batches = (data_batches){
        .count = f->used.n, .size = f->o.batch, .seed = f->o.seed, .index = f->used.rows.index, .drop_last = true};
    f->per_epoch = data_batch_count(&f->batches);
    identify(f);
    if (f->o.care.checkpoint || f->o.care.log) status = optim_fingerprint(model, &f->used, f->data, sizeof f->data, error);
    return status == AD_OK ? make(f, error) : status;
}

static void close_fit(fit *f) {
    flow_set_step(f->model, 0);
    flow_used_rows_free(&f->used);
    optim_scorer_close(&f->scorer);
    free(f->index);
    ad_tape_free(f->tape);
    ad_engine_free(f->own_engine);
}

ad_status optim_fit(flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                    optim_fit_result *result, ad_error *error) {
    fit f;
    if (result) *result = (optim_fit_result){.loss = NAN, .validation = NAN};
    ad_status status = open_fit(&f, model, rows, options, error);
    if (status == AD_OK) {
        const optim_task task = {.run = "optim_fit",
                                 .compute = compute,
                                 .undo = undo,
                                 .validate = f.o.validation ? validate : NULL,
                                 .arg = &f,
                                 .rows = f.o.batch * f.o.accumulate,
                                 .data = *f.data ? f.data : NULL,
                                 .identity = f.identity};
        optim_training t;
        status = optim_training_open(&t, model, f.engine, &f.o, &task, error);
        if (status == AD_OK) status = optim_training_run(&t, error);
        optim_training_close(&t, result);
    }
    close_fit(&f);
    return status;
}
