// w6.c -- W6: 32 planar layers trained by reverse KL to the density of two modes on a ring, 2-D.
#include <stdlib.h>

#include "bench.h"

enum { LAYERS = 32 };

// Points of normal(0, 1) from the sum of 12 uniform numbers.
static double normal(uint64_t *state) {
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 11) * 0x1p-53;
    }
    return sum;
}

// u and w are normal(0, 1/4), b is 0.
static flow_model *model(const bench_size *size, ad_error *error) {
    if (size->depth || size->width) bench_fail("W6 has one size");
    flow_layer *layers[LAYERS];
    for (int i = 0; i < LAYERS; i++) layers[i] = flow_planar(2, 0, NULL, error);
    flow_model *m = flow_model_new(flow_chain(layers, LAYERS, error), flow_standard_normal(2, error), error);
    int n = 0;
    uint64_t state = 1;
    ad_param *const *params = m ? flow_params(m, &n) : NULL;
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++)
            ad_param_set(params[i], k, params[i]->count == 1 ? 0 : 0.5 * normal(&state));
    }
    return m;
}

static ad_var mode(ad_var x, double at) {
    return ad_scale(ad_square(ad_scale(ad_offset(x, -at), 1 / 0.3)), -0.5);
}

// -((|z| - 2) / 0.2)^2 / 2 + log(e^(-((z0 - 2) / 0.3)^2 / 2) + e^(-((z0 + 2) / 0.3)^2 / 2))
static ad_var ring(ad_var z) {
    ad_var radius = ad_scale(ad_square(ad_scale(ad_offset(ad_norm(z), -2), 1 / 0.2)), -0.5);
    ad_var x = ad_reshape(ad_slice(z, 0, 0, 1), ad_shape0());
    return ad_add(radius, ad_log_add_exp(mode(x, 2), mode(x, -2)));
}

static ad_var record(bench *b) {
    ad_tape_reset(b->tape);
    ad_rows rows = ad_rows_new(b->tape, "draws");
    ad_rows_set(rows, b->batch, 0);
    flow_draw draw = flow_sample_and_log_prob(b->model, rows, &b->random, 0, AD_NONE);
    return ad_mean_rows(ad_sub(draw.log_prob, ring(draw.value)));
}

static void record_once(bench *b) {
    bench_compile(b, record(b));
}

static void replay(bench *b) {
    bench_replay(b, 1e-4);
    b->random.step++;  // fresh draws in each step
}

static void step(bench *b) {
    bench_train(b, record(b), 1e-4);
    b->random.step++;
}

const workload bench_w6[] = {{"W6", 512, 0, model, record_once, replay, false},
                             {"W6-recorded", 512, 0, model, NULL, step, false},
                             {0}};
