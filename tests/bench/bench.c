// bench.c -- times workloads and prints one JSON line: bench --workload W1 --threads 2 [--batch N] [--depth N] [--width N]
// [--reps N] [--seconds S]
//
// A workload is an entry in a list of its own file, w1.c and so on; README.md says what each is. A repetition is about
// a second of steps; the figures are the median, least and most of the repetitions, ms a step.
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

static const workload *const lists[] = {bench_w1, bench_w2, bench_w3, bench_w6};

typedef struct options {
    const char *workload;
    int threads, reps;
    int64_t batch;
    bench_size size;
    double seconds;
} options;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- made and freed -------------------------------------------------------------------------------------------------

// Rows of the workload's data: moons in 2-D; otherwise standard normal numbers, drawn by the library itself.
static void fill(bench *b) {
    int64_t D = ad_shape_count(flow_model_shape(b->model));
    b->x = malloc((size_t)(b->points * D) * sizeof *b->x);
    if (!b->x) bench_fail("out of memory");
    const data_density *moons = data_find_density("moons");
    for (int64_t i = 0; D == 2 && i < b->points; i++) {
        double p[2];
        moons->sample(1, 7, i, p);
        b->x[2 * i] = (float)p[0], b->x[2 * i + 1] = (float)p[1];
    }
    b->source = (ad_source){b->x, AD_F32, b->points, 0, NULL};
    if (D == 2) return;
    ad_tape *tape = ad_tape_new(b->engine, AD_F32);
    ad_random random = {7, 0};
    ad_rows rows = ad_rows_new(tape, "data");
    ad_rows_set(rows, b->points, 0);
    ad_var x = ad_keep(ad_normal(rows, flow_model_shape(b->model), &random, 0));
    if (ad_run(tape) != AD_OK) bench_fail(ad_tape_message(tape));
    memcpy(b->x, ad_data(x), (size_t)(b->points * D) * sizeof *b->x);
    ad_tape_free(tape);
}

static bench make(const workload *w, const options *o) {
    ad_error error;
    bench b = {.batch = o->batch ? o->batch : w->batch, .random = {.seed = 3}};
    b.points = w->points ? w->points : b.batch;
    b.engine = ad_engine_new(&(ad_engine_options){.threads = o->threads, .latency = w->latency}, &error);
    b.tape = b.engine ? ad_tape_new(b.engine, AD_F32) : NULL;
    b.model = w->model(&o->size, &error);
    int n = 0;
    ad_param *const *params = b.model ? flow_params(b.model, &n) : NULL;
    b.adam = params ? optim_new(params, n, NULL, &error) : NULL;
    if (!b.tape || !b.adam) bench_fail(error.message);
    fill(&b);
    if (w->start) w->start(&b);
    return b;
}

static void release(bench *b) {
    ad_program_free(b->program);
    optim_free(b->adam);
    flow_model_free(b->model);
    ad_tape_free(b->tape);
    ad_engine_free(b->engine);
    free(b->x);
}

// ---- measuring ------------------------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Milliseconds a step of each repetition, sorted; returns the steps in one.
static int64_t measure(void (*step)(bench *), bench *b, const options *o, double *ms) {
    double start = now();
    int64_t warm = 0, steps;
    for (double spent = 0; warm < 5 || spent < 0.5; warm++, spent = now() - start) {
        if (warm >= 2 && spent > 10) break;
        step(b);
    }
    steps = (int64_t)(o->seconds * (double)warm / (now() - start)) + 1;
    for (int r = 0; r < o->reps; r++) {
        start = now();
        for (int64_t i = 0; i < steps; i++) step(b);
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

static _Noreturn void usage(void) {
    fprintf(stderr, "bench --workload NAME [--threads N] [--batch N] [--depth N] [--width N] [--reps N] [--seconds S], with NAME one of\n");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const workload *w = lists[i]; w->name; w++) fprintf(stderr, " %s", w->name);
    fprintf(stderr, "\n");
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
                                         {"depth", 1, 0, 'd'},    {"width", 1, 0, 'i'},
                                         {"reps", 1, 0, 'r'},     {"seconds", 1, 0, 's'}, {0, 0, 0, 0}};
    options o = {NULL, 1, 5, 0, {0, 0}, 1};
    for (int c; (c = getopt_long(argc, argv, "", list, NULL)) != -1;) {
        if (c == 'w')
            o.workload = optarg;
        else if (c == 't')
            o.threads = (int)number(optarg, 1, 1024);
        else if (c == 'b')
            o.batch = (int64_t)number(optarg, 1, 1e8);
        else if (c == 'd')
            o.size.depth = (int)number(optarg, 1, 256);
        else if (c == 'i')
            o.size.width = (int64_t)number(optarg, 1, 8192);
        else if (c == 'r')
            o.reps = (int)number(optarg, 1, 99);
        else if (c == 's')
            o.seconds = number(optarg, 0.001, 1000);
        else
            usage();
    }
    if (!o.workload || optind < argc) usage();
    return o;
}

static const workload *find(const char *name) {
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const workload *w = lists[i]; w->name; w++)
            if (strcmp(name, w->name) == 0) return w;
    usage();
}

static void print(const bench *b, const options *o, int64_t steps, const double *ms) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "{\"workload\": \"%s\", \"threads\": %d, \"batch\": %lld, \"ms_median\": %.5g, \"ms_min\": %.5g, \"ms_max\": "
        "%.5g, "
        "\"steps\": %lld, \"reps\": %d, \"params\": %lld, \"loss\": %.6g, \"peak_rss_mb\": %.1f, \"cpu\": \"%s\"",
        o->workload, ad_engine_threads(b->engine), (long long)b->batch, ms[o->reps / 2], ms[0], ms[o->reps - 1],
        (long long)steps, o->reps, (long long)flow_param_count(b->model), b->loss, (double)usage.ru_maxrss / 1024,
        ad_cpu_name());
    if (b->nodes)
        printf(", \"nodes\": %lld, \"ns_per_node\": %.1f", (long long)b->nodes,
               ms[o->reps / 2] * 1e6 / (double)b->nodes);
    printf("}\n");
}

int main(int argc, char **argv) {
    options o = parse(argc, argv);
    const workload *w = find(o.workload);
    double ms[99];
    use_cpus(o.threads);
    bench b = make(w, &o);
    int64_t steps = measure(w->step, &b, &o, ms);
    print(&b, &o, steps, ms);
    release(&b);
    return 0;
}
