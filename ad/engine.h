// engine.h -- the engine: threads, plan cache, working memory, and one run over them.
#ifndef AD_ENGINE_H
#define AD_ENGINE_H

#include <pthread.h>

#include "plan.h"
#include "pool.h"

typedef struct ad_memory {  // grows, never shrinks
    void *data;
    size_t size;
} ad_memory;
// At least size bytes, 64-byte aligned, content undefined; NULL when out of memory.
void *ad_memory_reserve(ad_memory *memory, size_t size);

typedef struct ad_worker {  // working memory of one thread
    ad_memory block, tile, scratch, kernels, operands;
    bool prepared;          // kernels point at this run's section
} ad_worker;

struct ad_engine {
    ad_pool *pool;
    int threads;
    pthread_mutex_t lock;  // one run at a time
    ad_plan **plans;
    int n_plans, max_plans, misses;  // misses in a row
    int64_t plans_made, clock;
    ad_plan *last;         // plan of the last run, to say what differs from it
    ad_worker *workers;    // [threads]
    ad_memory shared, sums, stored;
    void (*message)(void *arg, const char *text);
    void *message_arg;
    bool latency, profile, trace;
};

void ad_engine_message(const ad_engine *engine, const char *text);
// The cached or new plan of what the tape would run, with a use added; NULL with the error on the tape. Engine locked. step:
// it is about to run, and counts as a step where plans made anew are reported.
ad_plan *ad_engine_plan(ad_engine *engine, ad_tape *tape, bool step);
// Ends a use; a plan that has left the cache is freed with its last use. Engine locked.
void ad_plan_release(ad_plan *plan);

// The plan with its profile, as a message (explain.c).
void ad_engine_report(const ad_engine *engine, const ad_tape *tape, const ad_plan *plan);

// One run of a plan: what every thread reads.
typedef struct ad_execution {
    ad_engine *engine;
    const ad_plan *plan;
    ad_binding *bind;
    const ad_tape *tape;  // for scope paths in messages; NULL for programs
    char *shared, *sums, *stored;
    size_t element;       // bytes
    const plan_section *section;
    plan_blocks blocks;
    int64_t rows, first_row;
    ad_error *error;
    _Atomic int failed;   // out of memory, ad_kernel_fail, or non-finite value found by AD_TRACE_NAN: in a worker
    _Atomic int failing;  // held while a kernel's failure is written to *error
    int64_t failed_row;   // of that failure
} ad_execution;

// Number of the output of that node and kind (and target, if not NULL); -1: none.
int ad_find_output(const ad_tape *tape, uint32_t id, ad_output_kind kind, const void *target);
// Runs plan on bind. The first error is in *error.
ad_status ad_execute(ad_engine *engine, ad_plan *plan, ad_binding *bind, const ad_tape *tape, ad_error *error);
// Exchanges assigned states with the values in their outputs' memory.
void ad_swap_states(const ad_output *outputs, uint32_t n, ad_binding *bind);
// block.c: room for run->section in blocks of R rows, before it runs (a worker must not fail, nor allocate late).
bool ad_reserve_worker(const ad_execution *run, ad_worker *worker, int R);
// block.c: all blocks of chunk `chunk` of run->section, on worker `thread`.
void ad_run_chunk(void *run, int64_t chunk, int thread);
// block.c: a shared section.
void ad_run_shared(ad_execution *run);
char *ad_place_at(const ad_execution *run, const plan_place *x, char *block, int R, int64_t block_number, char *sums);

#endif
