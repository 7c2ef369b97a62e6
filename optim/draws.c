// draws.c -- draws of a model with their weights, on the host.
#include <string.h>

#include "internal.h"

ad_status optim_drawer_open(optim_drawer *d, const flow_model *model, const optim_target *target, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error) {
    *d = (optim_drawer){.batch = batch > 0 ? batch : 4096, .type = type, .weighted = target != NULL};
    d->elements = ad_shape_count(flow_model_shape(model));
    if (flow_model_context(model)) return ad_fail(error, AD_EARG, "draws: the model takes a context");
    d->tape = ad_tape_new(engine, type);
    if (!d->tape) return ad_fail(error, AD_ENOMEM, "draws: out of memory");
    ad_rows rows = ad_rows_new(d->tape, "draws");
    optim_sampling sampling = {.rows = rows, .random = &d->random};
    ad_var out[2];
    if (target) {
        flow_draw draw = flow_sample_and_log_prob(model, rows, &d->random, 0, AD_NONE);
        out[0] = draw.value;
        out[1] = ad_sub(optim_record_target(target, &sampling, draw.value), draw.log_prob);
    } else {
        out[0] = flow_sample(model, rows, &d->random, 0, AD_NONE);
    }
    ad_rows_set(rows, 1, 0);
    d->program = ad_compile(out, target ? 2 : 1, error);
    if (d->program) return AD_OK;
    return error ? error->status : AD_EARG;
}

void optim_drawer_close(optim_drawer *drawer) {
    ad_program_free(drawer->program);
    ad_tape_free(drawer->tape);
}

static void copy(const optim_drawer *d, int output, double *to, int64_t n) {
    const void *data = ad_program_data(d->program, output);
    if (d->type == AD_F64) {
        memcpy(to, data, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i++) to[i] = (double)((const float *)data)[i];
}

ad_status optim_drawer_run(optim_drawer *d, uint64_t seed, int64_t n, double *x, double *log_weight, ad_error *error) {
    d->random.seed = seed;
    for (int64_t first = 0; first < n; first += d->batch) {
        const int64_t count = n - first < d->batch ? n - first : d->batch;
        ad_status status = ad_program_rows(d->program, "draws", count, first, error);
        if (status == AD_OK) status = ad_program_run(d->program, error);
        if (status != AD_OK) return status;
        if (x) copy(d, 0, x + first * d->elements, count * d->elements);
        if (log_weight) copy(d, 1, log_weight + first, count);
    }
    return AD_OK;
}

ad_status optim_draws(const flow_model *model, const optim_target *target, const optim_drawing *drawing,
                      ad_error *error) {
    int n_params;
    ad_param *const *params = flow_params(model, &n_params);
    if (drawing->n < 0 || (drawing->log_weight && !(target && target->log_prob))) {
        return ad_fail(error, AD_EARG, "draws: %lld of them%s", (long long)drawing->n,
                       drawing->n < 0 ? "" : "; weights need a target");
    }
    optim_drawer drawer;
    ad_status status = optim_drawer_open(&drawer, model, drawing->log_weight ? target : NULL, drawing->batch,
                                         drawing->engine, n_params ? params[0]->type : AD_F64, error);
    if (status == AD_OK) {
        status = optim_drawer_run(&drawer, drawing->seed, drawing->n, drawing->x, drawing->log_weight, error);
    }
    optim_drawer_close(&drawer);
    return status;
}
