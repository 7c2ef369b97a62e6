// w1.c -- W1: RealNVP in 2-D, 8 affine couplings, conditioners 1-64-64-2 (ReLU); recorded alone, and replayed.
#include <math.h>

#include "bench.h"

enum { MOST_PARAMS = 1024 };

static flow_model *model(const bench_size *size, ad_error *error) {
    flow_realnvp_options o = {.layers = size->depth ? size->depth : 8, .bound = INFINITY, .raw = true};
    o.mlp.width = size->width;
    return flow_realnvp(2, 0, &o, error);
}

// Records loss and gradients as a step does, but runs nothing.
static void record(bench *b) {
    int n;
    ad_param *const *params = flow_params(b->model, &n);
    ad_var x[MOST_PARAMS], gx[MOST_PARAMS], loss = bench_record_likelihood(b);
    if (n > MOST_PARAMS) bench_fail("too deep");
    for (int i = 0; i < n; i++) x[i] = ad_use(b->tape, params[i]);
    ad_grad(loss, x, n, gx);
    if (ad_tape_status(b->tape) != AD_OK) bench_fail(ad_tape_message(b->tape));
    b->nodes = gx[0].id + 1;  // ids count up: the first layer's gradient is among the last nodes
    for (int i = 0; i < n; i++) b->nodes = gx[i].id + 1 > b->nodes ? gx[i].id + 1 : b->nodes;
}

static void record_once(bench *b) {
    bench_compile(b, bench_record_likelihood(b));
}

static void replay(bench *b) {
    bench_replay(b, 1e-6);
}

const workload bench_w1[] = {{"W1", 256, 0, model, NULL, bench_likelihood_step, false},
                             {"W1-record", 256, 0, model, NULL, record, false},
                             {"W1-replay", 256, 0, model, record_once, replay, false},
                             {0}};
