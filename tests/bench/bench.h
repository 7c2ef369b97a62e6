// bench.h -- what the workloads share: a table entry each, steps of training by likelihood, failures.
#ifndef PULLBACK_BENCH_H
#define PULLBACK_BENCH_H

#include "ad.h"
#include "data.h"
#include "flows.h"
#include "optim.h"

typedef struct bench_size {  // of a model; 0: the workload's own
    int depth;
    int64_t width;
} bench_size;

// What a workload works on.
typedef struct bench {
    ad_engine *engine;
    ad_tape *tape;  // f32
    flow_model *model;
    optim_optimizer *adam;
    float *x;          // [points][D]: moons in 2-D, otherwise standard normal
    ad_source source;  // of x
    ad_random random;
    ad_program *program;  // of a step that is replayed
    int64_t batch, points;
    int64_t nodes;  // recorded; 0: not counted
    double loss;
} bench;

typedef struct workload {
    const char *name;
    int64_t batch;   // unless another is asked for
    int64_t points;  // rows of data; 0: a batch
    flow_model *(*model)(const bench_size *size, ad_error *error);
    void (*start)(bench *b);  // once, before the first step; NULL: nothing
    void (*step)(bench *b);   // what is timed
    bool latency;             // of the engine
} workload;

// One list per file, ended by a workload without a name.
extern const workload bench_w1[], bench_w2[], bench_w3[], bench_w6[];

_Noreturn void bench_fail(const char *message);
// A new recording, with x as rows "data".
ad_var bench_record_input(bench *b);
// The mean negative log-density of x, recorded anew.
ad_var bench_record_likelihood(bench *b);
// Gradients of loss, recorded last, and Adam.
void bench_train(bench *b, ad_var loss, double rate);
// The same in two parts: the step kept once, then run as often as wanted without recording.
void bench_compile(bench *b, ad_var loss);
void bench_replay(bench *b, double rate);
// A step of maximum likelihood: the three together, at a rate so small that thousands of steps on one batch cannot
// drive parameters to where they overflow.
void bench_likelihood_step(bench *b);

#endif
