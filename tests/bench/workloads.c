// workloads.c -- what the workloads share.
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

_Noreturn void bench_fail(const char *message) {
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

ad_var bench_record_input(bench *b) {
    ad_tape_reset(b->tape);
    ad_rows rows = ad_rows_new(b->tape, "data");
    ad_rows_set(rows, b->batch, 0);
    return ad_input(rows, flow_model_shape(b->model), &b->source);
}

ad_var bench_record_likelihood(bench *b) {
    return ad_neg(ad_mean_rows(flow_log_prob(b->model, bench_record_input(b), AD_NONE)));
}

void bench_train(bench *b, ad_var loss, double rate) {
    ad_error error;
    if (ad_backward(loss) != AD_OK) bench_fail(ad_tape_message(b->tape));
    b->loss = ad_value(loss);
    if (optim_update(b->adam, b->engine, rate, NULL, &error) != AD_OK) bench_fail(error.message);
}

void bench_compile(bench *b, ad_var loss) {
    ad_error error;
    b->program = ad_compile_backward(loss, &error);
    if (!b->program) bench_fail(error.message);
}

void bench_replay(bench *b, double rate) {
    ad_error error;
    if (ad_program_run(b->program, &error) != AD_OK) bench_fail(error.message);
    b->loss = *(const float *)ad_program_data(b->program, 0);
    if (optim_update(b->adam, b->engine, rate, NULL, &error) != AD_OK) bench_fail(error.message);
}

void bench_likelihood_step(bench *b) {
    bench_train(b, bench_record_likelihood(b), 1e-6);
}
