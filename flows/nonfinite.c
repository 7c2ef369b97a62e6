// nonfinite.c -- where a log-density that is not finite comes from, layer by layer.
#include <math.h>
#include <stdlib.h>

#include "internal.h"
#include "model.h"

// The first element of v [n][width] that is not finite; -1: none.
static int64_t find(const double *v, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) return i;
    }
    return -1;
}

static ad_status check_tensors(const flow_model *model, ad_error *error) {
    for (int i = 0; i < model->n_tensors; i++) {
        const flow_tensor *t = &model->tensors[i];
        for (int64_t k = 0; k < (t->param ? t->param->count : t->state->count); k++) {
            ad_type type = t->param ? t->param->type : t->state->type;
            const void *data = t->param ? t->param->data : t->state->data;
            double v = type == AD_F64 ? ((const double *)data)[k] : (double)((const float *)data)[k];
            if (isfinite(v)) continue;
            return ad_fail(error, AD_ENONFINITE, "element %lld of tensor '%s' is %g", (long long)k, t->name,
                           flow_said(v));
        }
    }
    return AD_OK;
}

static ad_status check_data(const ad_source *source, const flow_rows *rows, int64_t n, int64_t width, const char *what,
                            ad_error *error) {
    for (int64_t i = 0; i < n * width; i++) {
        int64_t r = rows->index ? rows->index[i / width] : i / width;
        double v = flow_source_get(source, width, r, i % width);
        if (isfinite(v)) continue;
        return ad_fail(error, AD_ENONFINITE, "row %lld of the %s, column %lld, is %g", (long long)r, what,
                       (long long)(i % width), flow_said(v));
    }
    return AD_OK;
}

// The layer's own result on rows x, which it replaces by latents.
static ad_status check_layer(const flow_layer *layer, int number, ad_tape *tape, double *x, const double *context,
                             int64_t n, const flow_rows *rows, ad_error *error) {
    int64_t D = ad_shape_count(layer->x_shape), K = ad_shape_count(layer->z_shape);
    ad_source in = {.data = x, .type = AD_F64, .count = n}, c = {.data = context, .type = AD_F64, .count = n};
    double *out = calloc((size_t)n, (size_t)(K + 1) * sizeof *out);
    if (!out) return ad_fail(error, AD_ENOMEM, "out of memory");
    ad_tape_reset(tape);
    ad_rows set = ad_rows_new(tape, "data");
    ad_rows_set(set, n, 0);
    ad_var k = layer->C ? ad_input(set, ad_shape1(layer->C), &c) : AD_NONE;
    flow_result r = flow_record_whole(layer, FLOW_NORMALIZE, ad_input(set, layer->x_shape, &in), k);
    ad_keep(r.value);
    ad_keep(r.log_det);
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(r.value, out, n * K);
    if (status == AD_OK) status = ad_read(r.log_det, out + n * K, n);
    if (status != AD_OK) {
        ad_fail(error, status, "%s", ad_tape_message(tape));
    } else {
        int64_t bad = find(out, n * K + n), row = bad < n * K ? bad / K : bad - n * K;
        if (bad >= 0) {
            status = ad_fail(error, AD_ENONFINITE, "layer %d (%s) gives %s %g in row %lld of the data, from %g", number,
                             layer->type->name, bad < n * K ? "value" : "log_det", flow_said(out[bad]),
                             (long long)(rows->index ? rows->index[row] : row), x[row * D]);
        }
        for (int64_t i = 0; i < n * K && K <= D; i++) x[i] = out[i];
    }
    free(out);
    return status;
}

static ad_status check_layers(const flow_model *model, const flow_rows *rows, int64_t n, double *x, double *context,
                              ad_tape *tape, ad_error *error) {
    int64_t D = ad_shape_count(model->layer->x_shape), C = model->layer->C;
    for (int64_t i = 0; i < n * D; i++) x[i] = flow_rows_get(rows, D, i / D, i % D);
    for (int64_t i = 0; i < n * C; i++) {
        context[i] = flow_source_get(&rows->context, C, rows->index ? rows->index[i / C] : i / C, i % C);
    }
    bool chain = model->layer->type == &flow_chain_type;
    int count = chain ? flow_chain_length(model->layer) : 1;
    ad_status status = AD_OK;
    for (int i = 0; i < count && status == AD_OK; i++) {
        const flow_layer *layer = chain ? flow_chain_at(model->layer, i) : model->layer;
        status = check_layer(layer, i, tape, x, context, n, rows, error);
    }
    return status;
}

ad_status flow_find_nonfinite(const flow_model *model, const flow_rows *rows, ad_error *error) {
    int64_t n = flow_rows_count(rows, model->C, error), D = ad_shape_count(model->layer->x_shape);
    if (n < 0) return AD_EARG;
    ad_status status = check_tensors(model, error);
    if (status == AD_OK) status = check_data(&rows->x, rows, n, D, "data", error);
    if (status == AD_OK && model->C) status = check_data(&rows->context, rows, n, model->C, "context", error);
    if (status != AD_OK) return status;
    // In f32, as training computes: what overflows there may not in f64.
    ad_tape *tape = ad_tape_new(NULL, model->n_params ? model->params[0]->type : AD_F64);
    double *x = calloc((size_t)n, (size_t)D * sizeof *x),
           *context = calloc((size_t)n + 1, (size_t)(model->layer->C + 1) * sizeof *x);
    flow_rows seen;
    if (tape && x && context) {
        status = flow_rows_see(model, rows, n, &seen, error);
        if (status == AD_OK) {
            status = check_layers(model, &seen, n, x, context, tape, error);
            flow_rows_seen_free(model, &seen);
        }
    } else {
        status = ad_fail(error, AD_ENOMEM, "out of memory");
    }
    ad_tape_free(tape);
    free(x);
    free(context);
    if (status != AD_OK) return status;
    ad_fail(error, AD_OK, "every value is finite");
    return AD_OK;
}
