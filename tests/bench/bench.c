// bench.c -- times workloads and prints one JSON line: bench --workload W1 --threads 2 [--batch N] [--reps N] [--seconds S]
//
// W1: RealNVP in 2-D, 8 affine couplings, conditioners 1-64-64-2 (ReLU), batch 256, forward + backward + Adam, f32.
// W1-record: the same step, recording alone (no plan is run), with its nanoseconds a node.
// W1-replay: the loss alone, run again without recording: no gradients, no Adam.
// A repetition is about a second of steps; the figures are the median, least and most of the repetitions, ms a step.
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "ad.h"
#include "data.h"
#include "flows.h"
#include "optim.h"

typedef struct options {
    const char *workload;
    int threads, reps;
    int64_t batch;
    double seconds;
} options;

typedef struct w1 {
    ad_engine *engine;
    ad_tape *tape;
    flow_model *model;
    optim_adam *adam;
    float *x;
    ad_source source;
    int64_t batch, nodes;
    double loss;
} w1;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void fail(const char *message) {
    fprintf(stderr, "bench: %s\n", message);
    exit(1);
}

// ---- W1 -------------------------------------------------------------------------------------------------------------------

static ad_var w1_record(w1 *w) {
    ad_tape_reset(w->tape);
    ad_rows rows = ad_rows_new(w->tape, "data");
    ad_rows_set(rows, w->batch, 0);
    ad_var x = ad_input(rows, ad_shape1(2), &w->source);
    return ad_neg(ad_mean_rows(flow_log_prob(w->model, x, AD_NONE)));
}

static void w1_step(w1 *w) {
    ad_error error;
    ad_var loss = w1_record(w);
    if (ad_backward(loss) != AD_OK) fail(ad_tape_message(w->tape));
    w->loss = ad_value(loss);
    // A small rate: thousands of steps on one batch must not drive the unbounded log-scales to overflow.
    if (optim_adam_step(w->adam, w->engine, 1e-6, NULL, &error) != AD_OK) fail(error.message);
}

// Records loss and gradients as a step does, but runs nothing.
static void w1_record_step(w1 *w) {
    int n;
    ad_param *const *params = flow_params(w->model, &n);
    ad_var x[256], gx[256], loss = w1_record(w);
    for (int i = 0; i < n && i < 256; i++) x[i] = ad_use(w->tape, params[i]);
    ad_grad(loss, x, n, gx);
    if (ad_tape_status(w->tape) != AD_OK) fail(ad_tape_message(w->tape));
    w->nodes = gx[0].id + 1;  // ids count up: the first layer's gradient is among the last nodes
    for (int i = 0; i < n; i++) w->nodes = gx[i].id + 1 > w->nodes ? gx[i].id + 1 : w->nodes;
}

static void w1_replay(w1 *w) {
    if (ad_run(w->tape) != AD_OK) fail(ad_tape_message(w->tape));
}

static void w1_new(w1 *w, const options *o) {
    ad_error error;
    *w = (w1){.batch = o->batch ? o->batch : 256};
    w->engine = ad_engine_new(&(ad_engine_options){.threads = o->threads}, &error);
    w->tape = w->engine ? ad_tape_new(w->engine, AD_F32) : NULL;
    w->model = flow_realnvp(2, 0, &(flow_realnvp_options){.layers = 8, .bound = INFINITY, .raw = true}, &error);
    int n = 0;
    ad_param *const *params = w->model ? flow_params(w->model, &n) : NULL;
    w->adam = params ? optim_adam_new(params, n, NULL, &error) : NULL;
    w->x = malloc((size_t)w->batch * 2 * sizeof *w->x);
    if (!w->tape || !w->adam || !w->x) fail(error.message);
    const data_density *moons = data_find_density("moons");
    for (int64_t i = 0; i < w->batch; i++) {
        double p[2];
        moons->sample(1, 7, i, p);
        w->x[2 * i] = (float)p[0], w->x[2 * i + 1] = (float)p[1];
    }
    w->source = (ad_source){w->x, AD_F32, w->batch, 0, NULL};
}

static void w1_free(w1 *w) {
    optim_adam_free(w->adam);
    flow_model_free(w->model);
    ad_tape_free(w->tape);
    ad_engine_free(w->engine);
    free(w->x);
}

// ---- measuring ------------------------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Milliseconds a step of each repetition, sorted; returns the steps in one.
static int64_t measure(void (*step)(w1 *), w1 *w, const options *o, double *ms) {
    double start = now();
    int64_t warm = 0, steps;
    for (; warm < 5 || now() - start < 0.5; warm++) step(w);
    steps = (int64_t)(o->seconds * (double)warm / (now() - start)) + 1;
    for (int r = 0; r < o->reps; r++) {
        start = now();
        for (int64_t i = 0; i < steps; i++) step(w);
        ms[r] = 1e3 * (now() - start) / (double)steps;
    }
    qsort(ms, (size_t)o->reps, sizeof *ms, by_value);
    return steps;
}

static void use_cpus(int threads) {  // the last ones: interrupts go to the first
    cpu_set_t all, use;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    CPU_ZERO(&use);
    for (int cpu = CPU_SETSIZE - 1, n = 0; cpu >= 0 && n < threads; cpu--)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &use), n++;
    sched_setaffinity(0, sizeof use, &use);
}

static void usage(void) {
    fprintf(stderr, "bench --workload W1|W1-record|W1-replay [--threads N] [--batch N] [--reps N] [--seconds S]\n");
    exit(2);
}

static double number(const char *text, double low, double high) {
    char *end;
    double v = strtod(text, &end);
    if (*end || end == text || !(v >= low && v <= high)) usage();
    return v;
}

static options parse(int argc, char **argv) {
    static const struct option list[] = {{"workload", 1, 0, 'w'}, {"threads", 1, 0, 't'}, {"batch", 1, 0, 'b'},
                                         {"reps", 1, 0, 'r'},     {"seconds", 1, 0, 's'}, {0, 0, 0, 0}};
    options o = {NULL, 1, 5, 0, 1};
    for (int c; (c = getopt_long(argc, argv, "", list, NULL)) != -1;) {
        if (c == 'w') o.workload = optarg;
        else if (c == 't') o.threads = (int)number(optarg, 1, 1024);
        else if (c == 'b') o.batch = (int64_t)number(optarg, 1, 1e8);
        else if (c == 'r') o.reps = (int)number(optarg, 1, 99);
        else if (c == 's') o.seconds = number(optarg, 0.001, 1000);
        else usage();
    }
    if (!o.workload || optind < argc) usage();
    return o;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*step)(w1 *);
    } workloads[] = {{"W1", w1_step}, {"W1-record", w1_record_step}, {"W1-replay", w1_replay}};
    options o = parse(argc, argv);
    use_cpus(o.threads);
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(o.workload, workloads[i].name) != 0) continue;
        w1 w;
        double ms[99];
        w1_new(&w, &o);
        if (workloads[i].step == w1_replay) ad_keep(w1_record(&w));
        int64_t steps = measure(workloads[i].step, &w, &o, ms);
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        printf("{\"workload\": \"%s\", \"threads\": %d, \"batch\": %lld, \"ms_median\": %.5g, \"ms_min\": %.5g, \"ms_max\": %.5g, "
               "\"steps\": %lld, \"reps\": %d, \"params\": %lld, \"loss\": %.6g, \"peak_rss_mb\": %.1f, \"cpu\": \"%s\"",
               o.workload, ad_engine_threads(w.engine), (long long)w.batch, ms[o.reps / 2], ms[0], ms[o.reps - 1],
               (long long)steps, o.reps, (long long)flow_param_count(w.model), w.loss, (double)usage.ru_maxrss / 1024,
               ad_cpu_name());
        if (w.nodes) printf(", \"nodes\": %lld, \"ns_per_node\": %.1f", (long long)w.nodes, ms[o.reps / 2] * 1e6 / (double)w.nodes);
        printf("}\n");
        w1_free(&w);
        return 0;
    }
    usage();
}
