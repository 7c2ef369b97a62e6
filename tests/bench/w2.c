// w2.c -- W2: a masked autoregressive flow in 21-D, 5 affine layers with nets 21-512-512-42, reversed between. W8: 10,000
// samples of it.
#include "bench.h"

enum { D = 21, SAMPLES = 10000 };

static flow_model *model(const bench_size *size, ad_error *error) {
    flow_maf_options o = {.layers = size->depth ? size->depth : 5, .raw = true};
    o.layer.made.mlp.layers = 2;
    o.layer.made.mlp.width = size->width ? size->width : 512;
    return flow_maf(D, 0, &o, error);
}

// The mean of the first feature is the loss that is printed.
static void sample(bench *b) {
    ad_tape_reset(b->tape);
    ad_rows rows = ad_rows_new(b->tape, "draws");
    ad_rows_set(rows, b->batch, 0);
    ad_var x = ad_keep(flow_sample(b->model, rows, &b->random, 0, AD_NONE));
    if (ad_run(b->tape) != AD_OK) bench_fail(ad_tape_message(b->tape));
    const float *values = ad_data(x);
    b->loss = 0;
    for (int64_t i = 0; i < b->batch; i++) b->loss += (double)values[i * D] / (double)b->batch;
    b->random.step++;  // fresh draws in each step
}

const workload bench_w2[] = {{"W2", 512, 0, model, NULL, bench_likelihood_step, false},
                             {"W8", SAMPLES, 1, model, NULL, sample, false},
                             {0}};
