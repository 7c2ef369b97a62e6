// check_model.c -- flow_check_model: the layer's laws, then those of the density.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model.h"

enum { ROWS = 9 };

// Three ways to the same numbers, all [] per row but value.
typedef struct ways {
    ad_var drawn, again, log_prob, of_value, by_hand;
} ways;

static ways record(flow_model *model, ad_tape *tape, const ad_source *context, const ad_random *random) {
    ad_rows rows = ad_rows_new(tape, "check");
    ad_rows_set(rows, ROWS, 0);
    ad_var c = model->C ? ad_input(rows, ad_shape1(model->C), context) : AD_NONE;
    flow_draw draw = flow_sample_and_log_prob(model, rows, random, 3, c);
    flow_result z = flow_normalize(model, draw.value, c);
    ad_var base = model->base->type->log_prob(model->base, z.value,
                                               model->base->C ? flow_model_see("check", model, c) : AD_NONE);
    return (ways){ad_keep(ad_sum(draw.value)), ad_keep(ad_sum(flow_sample(model, rows, random, 3, c))),
                  ad_keep(draw.log_prob), ad_keep(flow_log_prob(model, draw.value, c)),
                  ad_keep(ad_add(ad_sum(base), z.log_det))};
}

static ad_status agree(ad_var a, ad_var b, const char *what, ad_error *error) {
    double va[ROWS], vb[ROWS];
    ad_status status = ad_read(a, va, ROWS);
    if (status == AD_OK) status = ad_read(b, vb, ROWS);
    if (status != AD_OK) return ad_fail(error, status, "model: %s", ad_tape_message(a.tape));
    for (int r = 0; r < ROWS; r++) {
        if (fabs(va[r] - vb[r]) <= 1e-7 * (1 + fabs(vb[r]))) continue;
        return ad_fail(error, AD_EARG, "model: %s: row %d has %.10g and %.10g", what, r, va[r], vb[r]);
    }
    return AD_OK;
}

static ad_status check_density(flow_model *model, ad_tape *tape, const double *values, uint64_t seed, ad_error *error) {
    ad_source context = {.data = values, .type = AD_F64, .count = ROWS};
    ad_random random = {seed, 0};
    ways w = record(model, tape, &context, &random);
    ad_status status = ad_run(tape);
    if (status != AD_OK) return ad_fail(error, status, "model: %s", ad_tape_message(tape));
    status = agree(w.drawn, w.again, "flow_sample and flow_sample_and_log_prob draw differently", error);
    if (status == AD_OK) {
        status = agree(w.of_value, w.by_hand, "flow_log_prob is not the base density of z plus log_det", error);
    }
    if (status != AD_OK || model->layer->discrete)
        return status;  // the density is drawn for z, not for the x it rounds to
    return agree(w.log_prob, w.of_value, "flow_sample_and_log_prob and flow_log_prob disagree about a sample", error);
}

// ---- files ---------------------------------------------------------------------------------------------------------

// Drawn samples and their log_prob, [ROWS] each: of value only the sum.
static ad_status draw(const flow_model *model, const double *values, uint64_t seed, double *out, ad_error *error) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "flow_check_model: out of memory");
    ad_source source = {.data = values, .type = AD_F64, .count = ROWS};
    ad_random random = {seed, 0};
    ad_rows rows = ad_rows_new(tape, "check");
    ad_rows_set(rows, ROWS, 0);
    ad_var c = model->C ? ad_input(rows, ad_shape1(model->C), &source) : AD_NONE;
    flow_draw d = flow_sample_and_log_prob(model, rows, &random, 3, c);
    ad_var sum = ad_keep(ad_sum(d.value));
    ad_keep(d.log_prob);
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(sum, out, ROWS);
    if (status == AD_OK) status = ad_read(d.log_prob, out + ROWS, ROWS);
    if (status != AD_OK) ad_fail(error, status, "model: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

static flow_model *load(const flow_model *model, const flow_check_options *o, ad_error *error) {
    const flow_base_type *const own[] = {model->base->type, NULL};
    const flow_layer_type **types = check_known_types(model->layer, o->load);
    flow_load_options with = o->load ? *o->load : (flow_load_options){.types = NULL};
    with.types = types;
    if (!with.bases) with.bases = own;
    flow_model *loaded = types ? flow_load(o->path, &with, error) : NULL;
    if (!types) ad_fail(error, AD_ENOMEM, "flow_check_model: out of memory");
    free(types);
    return loaded;
}

// Written, read back: the same bits.
static ad_status check_file(const flow_model *model, const flow_check_options *o, const double *context,
                            ad_error *error) {
    double before[2 * ROWS], after[2 * ROWS];
    ad_status status = flow_save(model, o->path, error);
    if (status != AD_OK) return status;
    ad_error inner = {AD_OK, ""};
    flow_model *loaded = load(model, o, &inner);
    remove(o->path);
    if (!loaded) return ad_fail(error, inner.status, "model: saved, but not to be loaded: %s", inner.message);
    status = draw(model, context, o->seed, before, error);
    if (status == AD_OK) status = draw(loaded, context, o->seed, after, error);
    if (status == AD_OK && memcmp(before, after, sizeof before) != 0) {
        status = ad_fail(error, AD_EARG, "model: loaded from the file it was saved in, it draws or scores other rows");
    }
    flow_model_free(loaded);
    return status;
}

ad_status flow_check_model(flow_model *model, const flow_check_options *options, ad_error *error) {
    ad_status status = flow_check(model->layer, options, error);
    if (status == AD_OK) status = check_base(model->base, options, error);
    if (status != AD_OK) return status;
    uint64_t seed = options ? options->seed : 0;
    double *context = calloc((size_t)(ROWS * model->C) + 1, sizeof *context);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (context && tape) {
        for (int64_t i = 0; i < ROWS * model->C; i++) context[i] = check_normal(&seed);
        status = check_density(model, tape, context, seed, error);
        if (status == AD_OK && options && options->path) status = check_file(model, options, context, error);
    } else {
        status = ad_fail(error, AD_ENOMEM, "flow_check_model: out of memory");
    }
    ad_tape_free(tape);
    free(context);
    return status;
}
