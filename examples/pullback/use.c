// use.c -- models from files, and what they say of rows.
#include <math.h>
#include <stdlib.h>

#include "tool.h"

enum { BATCH = 4096 };

flow_model *tool_load(const char *file, tool_columns *columns, ad_error *error) {
    flow_model *model = flow_load(file, NULL, error);
    if (!model || !columns) return model;
    if (!columns->target) columns->target = flow_note(model, TOOL_TARGET);
    if (!columns->context) columns->context = flow_note(model, TOOL_CONTEXT);
    return model;
}

ad_status tool_fits(const flow_model *model, const tool_rows *rows, ad_error *error) {
    int64_t D = ad_shape_count(flow_model_shape(model)), C = flow_model_context(model);
    int64_t c = rows->context ? rows->context->columns : 0;
    if (rows->x->columns == D && c == C) return AD_OK;
    return ad_fail(error, AD_ESHAPE, "the model is of %lld columns given %lld; the table has %lld and %lld",
                   (long long)D, (long long)C, (long long)rows->x->columns, (long long)c);
}

ad_status tool_score(const flow_model *model, ad_engine *engine, const tool_rows *rows, double *log_p,
                     ad_error *error) {
    ad_status status = tool_fits(model, rows, error);
    if (status != AD_OK) return status;
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "out of memory for a tape");
    const int64_t C = flow_model_context(model), n = rows->x->rows;
    const flow_rows all = tool_source(rows);
    for (int64_t first = 0; first < n && ad_tape_status(tape) == AD_OK; first += BATCH) {
        const int64_t count = n - first < BATCH ? n - first : BATCH;
        ad_source x = all.x, context = all.context;
        x.data = (const char *)x.data + (size_t)(first * rows->x->columns) * ad_type_size(x.type);
        x.count = count;
        if (C)
            context.data = (const char *)context.data + (size_t)(first * C) * ad_type_size(context.type),
            context.count = count;
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "table");
        ad_rows_set(set, count, first);
        ad_var c = C ? ad_input(set, ad_shape1(C), &context) : AD_NONE;
        ad_var p = ad_keep(flow_log_prob(model, ad_input(set, flow_model_shape(model), &x), c));
        if (ad_run(tape) == AD_OK) ad_read(p, log_p + first, count);
    }
    status = ad_tape_status(tape);
    if (status != AD_OK) ad_fail(error, status, "scoring: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

ad_status tool_draw(const flow_model *model, ad_engine *engine, const data_table *context, uint64_t seed,
                    data_table *out, ad_error *error) {
    const int64_t D = ad_shape_count(flow_model_shape(model)), C = flow_model_context(model);
    double *x = data_values(out);
    int64_t index[BATCH];
    ad_tape *tape = ad_tape_new(engine, AD_F64);
    ad_random random = {.seed = seed};
    for (int64_t first = 0; tape && first < out->rows && ad_tape_status(tape) == AD_OK; first += BATCH) {
        int64_t count = out->rows - first < BATCH ? out->rows - first : BATCH;
        ad_tape_reset(tape);
        ad_rows set = ad_rows_new(tape, "samples");
        ad_rows_set(set, count, first);
        ad_source source = {0};
        if (C) {
            for (int64_t i = 0; i < count; i++) index[i] = (first + i) % context->rows;
            source = data_source(context, 0, index);
        }
        ad_var v = ad_keep(flow_sample(model, set, &random, 0, C ? ad_input(set, ad_shape1(C), &source) : AD_NONE));
        if (ad_run(tape) == AD_OK) ad_read(v, x + first * D, count * D);
    }
    ad_status status = tape ? ad_tape_status(tape) : AD_ENOMEM;
    if (status != AD_OK) ad_fail(error, status, "sampling: %s", tape ? ad_tape_message(tape) : "out of memory");
    ad_tape_free(tape);
    return status;
}

void tool_mean(const double *v, int64_t n, double *mean, double *standard_error) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += v[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (v[i] - *mean) * (v[i] - *mean);
    *standard_error = n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : NAN;
}
