// w3.c -- W3: a neural spline flow in 6-D, 10 times an LU linear and a spline coupling of 8 bins (conditioners:
// residual nets of 2 blocks, 256 wide). W9: its log-density of 100,000 points; and of one.

#include "bench.h"

enum { D = 6, STEPS = 10, POINTS = 100000 };

static flow_layer *coupling(int i, ad_error *error) {
    return flow_spline_coupling(D, 0,
                                &(flow_spline_coupling_options){.divide = true,
                                                                .keep = i % 2 ? FLOW_KEEP_FIRST : FLOW_KEEP_SECOND,
                                                                .alternate = true,
                                                                .conditioner = FLOW_RESIDUAL_NET,
                                                                .residual = {.width = 256, .seed = (uint64_t)i}},
                                error);
}

static flow_model *model(const bench_size *size, ad_error *error) {
    if (size->depth || size->width) bench_fail("W3 and W9 have one size");
    flow_layer *layers[2 * STEPS];
    for (int i = 0; i < STEPS; i++) {
        layers[2 * i] = flow_lu_linear(D, NULL, error);
        layers[2 * i + 1] = coupling(i, error);
    }
    return flow_model_new(flow_chain(layers, 2 * STEPS, error), flow_standard_normal(D, error), error);
}

// The log-density of all points, a batch at a time; the mean is the loss that is printed.
static void evaluate(bench *b) {
    double sum = 0;
    for (int64_t at = 0; at < b->points; at += b->batch) {
        int64_t n = b->points - at < b->batch ? b->points - at : b->batch;
        ad_source source = {b->x + at * D, AD_F32, n, 0, NULL};
        ad_tape_reset(b->tape);
        ad_rows rows = ad_rows_new(b->tape, "data");
        ad_rows_set(rows, n, 0);
        ad_var log_prob = ad_keep(flow_log_prob(b->model, ad_input(rows, ad_shape1(D), &source), AD_NONE));
        if (ad_run(b->tape) != AD_OK) bench_fail(ad_tape_message(b->tape));
        const float *values = ad_data(log_prob);
        for (int64_t i = 0; i < n; i++) sum += (double)values[i];
    }
    b->loss = -sum / (double)b->points;
}

static void compile_one(bench *b) {
    ad_error error;
    ad_var log_prob = flow_log_prob(b->model, bench_record_input(b), AD_NONE);
    b->program = ad_compile(&log_prob, 1, &error);
    if (!b->program) bench_fail(error.message);
}

static void evaluate_one(bench *b) {
    ad_error error;
    if (ad_program_run(b->program, &error) != AD_OK) bench_fail(error.message);
    b->loss = -(double)*(const float *)ad_program_data(b->program, 0);
}

const workload bench_w3[] = {{"W3", 512, 0, model, NULL, bench_likelihood_step, false},
                             {"W9", 4096, POINTS, model, NULL, evaluate, false},
                             {"W9-one", 1, 1, model, compile_one, evaluate_one, true},
                             {0}};
