// test_pool.c -- the thread pool: every item once, threads told apart, floating-point mode (white-box: pool.h).
#include "util.h"

#include <dlfcn.h>
#include <errno.h>
#include <fenv.h>
#include <float.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "fpmode.h"
#include "pool.h"

static const int thread_counts[] = {1, 2, 3, 8};
enum { N_COUNTS = 4, MAX_ITEMS = 1000, MAX_THREADS = 8 };

typedef struct record {
    atomic_int times[MAX_ITEMS];
    atomic_int inside[MAX_THREADS];
    atomic_int clashes, strangers;
    int threads;
} record;

static void note(void *arg, int64_t i, int thread) {
    record *r = arg;
    if (thread < 0 || thread >= r->threads) {
        atomic_fetch_add(&r->strangers, 1);
        return;
    }
    if (atomic_fetch_add(&r->inside[thread], 1) != 0) atomic_fetch_add(&r->clashes, 1);
    atomic_fetch_add(&r->times[i], 1);
    atomic_fetch_sub(&r->inside[thread], 1);
}

static void each_item_runs_once(void **state) {
    (void)state;
    static const int64_t items[] = {0, 1, 2, 7, MAX_ITEMS};
    for (int c = 0; c < N_COUNTS; c++) {
        ad_pool *pool = ad_pool_new(thread_counts[c]);
        for (int k = 0; k < 5; k++) {
            record r = {.threads = ad_pool_threads(pool)};
            ad_pool_run(pool, items[k], note, &r);
            for (int i = 0; i < MAX_ITEMS; i++) assert_int_equal(atomic_load(&r.times[i]), i < items[k]);
        }
        ad_pool_free(pool);
    }
}

static void threads_are_told_apart(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(MAX_THREADS);
    record r = {.threads = ad_pool_threads(pool)};
    for (int k = 0; k < 20; k++) ad_pool_run(pool, MAX_ITEMS, note, &r);
    assert_int_equal(atomic_load(&r.strangers), 0);
    assert_int_equal(atomic_load(&r.clashes), 0);
    ad_pool_free(pool);
}

static void add_one(void *arg, int64_t i, int thread) {
    (void)thread;
    ((int64_t *)arg)[i] += 1;
}

// What one run writes the next one sees, without atomics: ThreadSanitizer watches.
static void many_short_runs(void **state) {
    (void)state;
    for (int c = 0; c < N_COUNTS; c++) {
        ad_pool *pool = ad_pool_new(thread_counts[c]);
        int64_t sums[5] = {0};
        for (int k = 0; k < 5000; k++) ad_pool_run(pool, 5, add_one, sums);
        for (int i = 0; i < 5; i++) assert_int_equal(sums[i], 5000);
        ad_pool_free(pool);
    }
}

static void sleeping_workers_wake(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(3);
    int64_t sums[5] = {0};
    for (int k = 0; k < 20; k++) {
        const struct timespec pause = {0, 2000000};  // far beyond the spin: workers have blocked
        nanosleep(&pause, NULL);
        ad_pool_run(pool, 5, add_one, sums);
    }
    for (int i = 0; i < 5; i++) assert_int_equal(sums[i], 20);
    ad_pool_free(pool);
}

// Item 0 ends only when item 1 runs on another thread: workers do take part.
static void wait_for_other(void *arg, int64_t i, int thread) {
    (void)thread;
    atomic_int *started = arg;
    atomic_fetch_add(started, 1);
    while (i < 2 && atomic_load(started) < 2) sched_yield();
}

static void workers_take_part(void **state) {
    (void)state;
    for (int c = 1; c < N_COUNTS; c++) {
        ad_pool *pool = ad_pool_new(thread_counts[c]);
        atomic_int started = 0;
        ad_pool_run(pool, 2, wait_for_other, &started);
        assert_int_equal(atomic_load(&started), 2);
        ad_pool_free(pool);
    }
}

static void sleep_if_worker(void *arg, int64_t i, int thread) {
    const struct timespec pause = {0, 5000000};
    add_one(arg, i, thread);
    if (thread != 0) nanosleep(&pause, NULL);
}

// The caller runs out of items long before a worker does, and blocks.
static void caller_waits_for_the_last(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(2);
    int64_t sums[64] = {0};
    for (int k = 0; k < 20; k++) ad_pool_run(pool, 64, sleep_if_worker, sums);
    for (int i = 0; i < 64; i++) assert_int_equal(sums[i], 20);
    ad_pool_free(pool);
}

#if defined(__SSE2__) || defined(__aarch64__)
static void count_denormals(void *arg, int64_t i, int thread) {
    (void)i;
    (void)thread;
    volatile float tiny = FLT_MIN;
    volatile float half = tiny * 0.5f;
    const struct timespec pause = {0, 100000};
    nanosleep(&pause, NULL);  // so that workers get items too
    if (half != 0) atomic_fetch_add((atomic_int *)arg, 1);
}

static void denormals_are_flushed_inside(void **state) {
    (void)state;
    for (int c = 0; c < N_COUNTS; c++) {
        ad_pool *pool = ad_pool_new(thread_counts[c]);
        atomic_int seen = 0;
        ad_pool_run(pool, 1, count_denormals, &seen);
        ad_pool_run(pool, 50, count_denormals, &seen);
        assert_int_equal(atomic_load(&seen), 0);
        ad_pool_free(pool);
    }
}
#endif

static void callers_mode_is_restored(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(2);
    int64_t sums[5] = {0};
    const int old = fegetround();
    fesetround(FE_UPWARD);
    ad_pool_run(pool, 1, add_one, sums);
    ad_pool_run(pool, 5, add_one, sums);
    const int after = fegetround();
    volatile float tiny = FLT_MIN;
    volatile float half = tiny * 0.5f;
    fesetround(old);
    assert_int_equal(after, FE_UPWARD);
    assert_true(half != 0);
    ad_pool_free(pool);
}

static void note_rounding(void *arg, int64_t i, int thread) {
    (void)i;
    (void)thread;
    volatile double one = 1, little = 1e-20;  // fegetround would ask the x87 unit
    volatile double less = one - little;
    if (less != 1) atomic_fetch_add((atomic_int *)arg, 1);
}

// Threads inherit the mode of their maker: results must not depend on it.
static void items_round_to_nearest(void **state) {
    (void)state;
    const int old = fegetround();
    atomic_int wrong = 0;
    fesetround(FE_DOWNWARD);
    ad_pool *pool = ad_pool_new(2);
    ad_pool_run(pool, 1000, note_rounding, &wrong);
    fesetround(old);
    assert_int_equal(atomic_load(&wrong), 0);
    ad_pool_free(pool);
}

typedef struct caller {
    ad_pool *pool;
    record r;
} caller;

static void *call_often(void *arg) {
    caller *c = arg;
    for (int k = 0; k < 200; k++) ad_pool_run(c->pool, 100, note, &c->r);
    return NULL;
}

static void runs_of_two_callers_queue(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(3);
    static caller callers[2];
    pthread_t ids[2];
    for (int i = 0; i < 2; i++) {
        memset(&callers[i], 0, sizeof callers[i]);
        callers[i].pool = pool;
        callers[i].r.threads = 3;
        assert_int_equal(pthread_create(&ids[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 2; i++) pthread_join(ids[i], NULL);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 100; k++) assert_int_equal(atomic_load(&callers[i].r.times[k]), 200);
    ad_pool_free(pool);
}

static void new_and_free_at_once(void **state) {
    (void)state;
    for (int k = 0; k < 50; k++) ad_pool_free(ad_pool_new(1 + k % 8));
    ad_pool_free(NULL);
}

static void at_least_the_caller(void **state) {
    (void)state;
    ad_pool *pool = ad_pool_new(0);
    assert_int_equal(ad_pool_threads(pool), 1);
    ad_pool_free(pool);
    assert_true(ad_cpu_affinity_count() >= 1);
}

#if !UTIL_SANITIZED
// This definition stands before the C library's: a system that gives so many threads and no more.
static int threads_to_give = -1;
int pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*start)(void *), void *arg) {
    int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (threads_to_give == 0) return EAGAIN;
    if (threads_to_give > 0) threads_to_give--;
    *(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
    return create(id, attr, start, arg);
}

static void fewer_threads_when_the_system_gives_no_more(void **state) {
    (void)state;
    for (int given = 0; given < 3; given++) {
        threads_to_give = given;
        ad_pool *pool = ad_pool_new(8);
        threads_to_give = -1;
        assert_int_equal(ad_pool_threads(pool), given + 1);
        record r = {.threads = given + 1};
        ad_pool_run(pool, 100, note, &r);
        for (int i = 0; i < 100; i++) assert_int_equal(atomic_load(&r.times[i]), 1);
        ad_pool_free(pool);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_runs_once),
        cmocka_unit_test(threads_are_told_apart),
        cmocka_unit_test(many_short_runs),
        cmocka_unit_test(sleeping_workers_wake),
        cmocka_unit_test(workers_take_part),
        cmocka_unit_test(caller_waits_for_the_last),
#if defined(__SSE2__) || defined(__aarch64__)
        cmocka_unit_test(denormals_are_flushed_inside),
#endif
        cmocka_unit_test(callers_mode_is_restored),
        cmocka_unit_test(items_round_to_nearest),
        cmocka_unit_test(runs_of_two_callers_queue),
        cmocka_unit_test(new_and_free_at_once),
        cmocka_unit_test(at_least_the_caller),
#if !UTIL_SANITIZED
        cmocka_unit_test(fewer_threads_when_the_system_gives_no_more),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
