// pool.c -- the engine's threads: bounded spin, then block.
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fpmode.h"

// How long a worker looks for the next run, and the caller for the end of this one, before they block. The caller has
// nothing better to do and is late for every microsecond of waking up.
enum { WORKER_SPIN_NS = 50 * 1000, CALLER_SPIN_NS = 200 * 1000, PAUSES_PER_LOOK = 16 };

// The state word: number of the run (upper half), whether workers may still join it, how many are inside.
#define RUN_ONE ((uint64_t)1 << 32)
#define RUN_OPEN ((uint64_t)1 << 31)
#define RUN_INSIDE (RUN_OPEN - 1)

typedef struct share {  // of a run's items: a thread takes its own first
    alignas(64) atomic_int_fast64_t next;
    int64_t end;
} share;

typedef struct worker {
    ad_pool *pool;
    pthread_t id;
    int thread;
} worker;

struct ad_pool {
    alignas(64) atomic_uint_fast64_t state;
    share *shares;              // [threads], set up while the run is closed and nobody is inside
    alignas(64) ad_pool_fn fn;  // the run, likewise
    void *arg;
    alignas(64) atomic_int sleepers;  // workers blocked, or about to
    atomic_bool caller_sleeps, quit;
    bool spins;
    int threads;
    pthread_mutex_t turn;  // held during a run: callers queue
    pthread_mutex_t lock;  // for the two conditions
    pthread_cond_t begun, ended;
    worker *workers;
};

int ad_cpu_affinity_count(void) {
#ifdef __linux__
    // The set may be larger than cpu_set_t: the kernel says EINVAL until it is large enough.
    for (size_t cpus = 1024; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) break;
        const size_t size = CPU_ALLOC_SIZE(cpus);
        const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return count;
    }
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("isb");  // yield returns at once on most cores
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool run_waits(ad_pool *pool, uint64_t seen) {
    const uint64_t state = atomic_load_explicit(&pool->state, memory_order_acquire);
    return (state & RUN_OPEN) && (state ^ seen) >= RUN_ONE;
}

static bool run_is_left(ad_pool *pool, uint64_t unused) {
    (void)unused;
    return (atomic_load_explicit(&pool->state, memory_order_acquire) & RUN_INSIDE) == 0;
}

// Looks at condition for limit nanoseconds (once when the pool does not spin) and says whether it came true.
static bool spin(ad_pool *pool, bool (*condition)(ad_pool *, uint64_t), uint64_t seen, int64_t limit) {
    if (condition(pool, seen)) return true;
    if (!pool->spins) return false;
    const int64_t end = now_ns() + limit;
    do {
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            pause_briefly();
            if (condition(pool, seen)) return true;
        }
    } while (now_ns() < end);
    return false;
}

// A thread's own share is the same part of the items in every run of n: what it touched last time is in its cache. Then it
// helps the others.
static void take_items(ad_pool *pool, int thread) {
    for (int k = 0; k < pool->threads; k++) {
        share *s = &pool->shares[(thread + k) % pool->threads];
        for (;;) {
            const int64_t i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
            if (i >= s->end) break;
            pool->fn(pool->arg, i, thread);
        }
    }
}

// Enters the open run that is not `seen`. False when it closed meanwhile.
static bool join_run(ad_pool *pool, uint64_t *seen) {
    uint64_t state = atomic_load(&pool->state);
    while ((state & RUN_OPEN) && (state ^ *seen) >= RUN_ONE)
        if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) {
            *seen = state;
            return true;
        }
    return false;
}

static void leave_run(ad_pool *pool) {
    const uint64_t left = atomic_fetch_sub(&pool->state, 1) - 1;
    if ((left & (RUN_OPEN | RUN_INSIDE)) != 0 || !atomic_load(&pool->caller_sleeps)) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
}

// Blocks until a run opens or the pool ends. sleepers is raised before the last look at state, as open_run writes state
// before it looks at sleepers: one of the two sees the other.
static void sleep_until_run(ad_pool *pool, uint64_t seen) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!atomic_load(&pool->quit)) {
        const uint64_t state = atomic_load(&pool->state);
        if ((state & RUN_OPEN) && (state ^ seen) >= RUN_ONE) break;
        pthread_cond_wait(&pool->begun, &pool->lock);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *arg) {
    const worker *me = arg;
    ad_pool *pool = me->pool;
    uint64_t seen = 0;
    ad_fp_flush();
    while (!atomic_load(&pool->quit)) {
        if (!spin(pool, run_waits, seen, WORKER_SPIN_NS)) sleep_until_run(pool, seen);
        if (!join_run(pool, &seen)) continue;
        take_items(pool, me->thread);
        leave_run(pool);
    }
    return NULL;
}

static void open_run(ad_pool *pool, int64_t n, ad_pool_fn fn, void *arg) {
    for (int i = 0; i < pool->threads; i++) {
        atomic_store_explicit(&pool->shares[i].next, n / pool->threads * i + n % pool->threads * i / pool->threads,
                              memory_order_relaxed);
        pool->shares[i].end = n / pool->threads * (i + 1) + n % pool->threads * (i + 1) / pool->threads;
    }
    pool->fn = fn;
    pool->arg = arg;
    const uint64_t last = atomic_load_explicit(&pool->state, memory_order_relaxed);
    atomic_store(&pool->state, (last | RUN_OPEN) + RUN_ONE);
    if (atomic_load(&pool->sleepers) == 0) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
}

// Lets nobody else in and waits for those inside.
static void close_run(ad_pool *pool) {
    atomic_fetch_and(&pool->state, ~RUN_OPEN);
    if (spin(pool, run_is_left, 0, CALLER_SPIN_NS)) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->caller_sleeps, true);
    while ((atomic_load(&pool->state) & RUN_INSIDE) != 0) pthread_cond_wait(&pool->ended, &pool->lock);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->lock);
}

void ad_pool_run(ad_pool *pool, int64_t n, ad_pool_fn fn, void *arg) {
    const ad_fp_mode old = ad_fp_flush();
    if (n <= 1 || pool->threads == 1) {
        for (int64_t i = 0; i < n; i++) fn(arg, i, 0);
    } else {
        pthread_mutex_lock(&pool->turn);
        open_run(pool, n, fn, arg);
        take_items(pool, 0);
        close_run(pool);
        pthread_mutex_unlock(&pool->turn);
    }
    ad_fp_restore(old);
}

// Workers take no signals: handlers of the program run in its own threads.
static void start_workers(ad_pool *pool, int threads) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (pool->threads = 1; pool->threads < threads; pool->threads++) {
        worker *w = &pool->workers[pool->threads - 1];
        w->pool = pool;
        w->thread = pool->threads;
        if (pthread_create(&w->id, NULL, work, w) != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

ad_pool *ad_pool_new(int threads) {
    if (threads < 1) threads = 1;
    ad_pool *pool = aligned_alloc(alignof(ad_pool), sizeof *pool);
    worker *workers = calloc((size_t)threads, sizeof *workers);
    share *shares = aligned_alloc(alignof(share), (size_t)threads * sizeof *shares);
    if (!pool || !workers || !shares) {
        free(pool);
        free(workers);
        free(shares);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    for (int i = 0; i < threads; i++) atomic_init(&shares[i].next, 0);
    pool->shares = shares;
    atomic_init(&pool->state, 0);
    atomic_init(&pool->sleepers, 0);
    atomic_init(&pool->caller_sleeps, false);
    atomic_init(&pool->quit, false);
    pool->spins = threads <= ad_cpu_affinity_count();
    pool->workers = workers;
    pthread_mutex_init(&pool->turn, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->ended, NULL);
    start_workers(pool, threads);
    return pool;
}

void ad_pool_free(ad_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->quit, true);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i < pool->threads; i++) pthread_join(pool->workers[i - 1].id, NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->begun);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->turn);
    free(pool->workers);
    free(pool->shares);
    free(pool);
}

int ad_pool_threads(const ad_pool *pool) {
    return pool->threads;
}
