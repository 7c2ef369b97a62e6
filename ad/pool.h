// pool.h -- the engine's threads: run n items on all of them and come back.
//
// A run costs about a microsecond while the workers are warm: they spin a few tens of microseconds after a run before
// they block. With more threads than processors nobody spins. Workers that have not woken when all items are taken are
// not waited for. fork is not supported: a child has the pool but none of its workers, and may only exec.
#ifndef AD_POOL_H
#define AD_POOL_H

#include <stdint.h>

typedef struct ad_pool ad_pool;

// A pool of threads - 1 workers and the caller of each run; fewer when the system gives no more (ad_pool_threads).
// NULL when out of memory. Owned by the caller.
ad_pool *ad_pool_new(int threads);
// Ends and joins the workers. No run may be under way.
void ad_pool_free(ad_pool *pool);
int ad_pool_threads(const ad_pool *pool);

typedef void (*ad_pool_fn)(void *arg, int64_t i, int thread);
// Calls fn(arg, i, thread) for i = 0 .. n-1, each once, in any order, and returns when all are done.
// thread is 0 (the caller) to threads - 1; no two items of a run have the same at a time. Kernels' floating-point mode
// (fpmode.h) holds inside fn. Runs from several threads queue; fn must not start a run on its own pool.
void ad_pool_run(ad_pool *pool, int64_t n, ad_pool_fn fn, void *arg);

// Processors the calling thread may run on; at least 1.
int ad_cpu_affinity_count(void);

#endif
