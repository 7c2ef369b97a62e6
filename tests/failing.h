// failing.h -- makes the n-th allocation fail, once or from then on: for one test program, which includes it once.
#ifndef PULLBACK_TESTS_FAILING_H
#define PULLBACK_TESTS_FAILING_H

#include <errno.h>
#include <stdatomic.h>

#include "util.h"

// The C library's allocator with a countdown in front. Sanitizers bring their own.
#if defined(__GLIBC__) && !UTIL_SANITIZED
#define CAN_FAIL 1
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_long failing_left = -1;  // allocations before the one that fails; negative: none fails
static atomic_bool failing_on;         // and all after it
static atomic_bool failing_hit;        // one has failed

static inline bool fails_now(void) {
    if (atomic_load(&failing_left) < 0) return false;
    bool on = atomic_load(&failing_on);
    bool fails = on && atomic_load(&failing_left) == 0 ? true : atomic_fetch_sub(&failing_left, 1) == 0;
    if (fails) atomic_store(&failing_hit, true);
    return fails;
}

void *malloc(size_t size) {
    return fails_now() ? NULL : __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    return fails_now() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *old, size_t size) {
    return fails_now() ? NULL : __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    return fails_now() ? NULL : __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size) {
    *out = fails_now() ? NULL : __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
static inline void failing_set(long n, bool on) {
    atomic_store(&failing_on, on);
    atomic_store(&failing_hit, false);
    atomic_store(&failing_left, n);
}
#else
#define CAN_FAIL 0
static inline void failing_set(long n, bool on) {
    (void)n;
    (void)on;
}
#endif

// Calls work, which says whether it succeeded, with its first, second, ... allocation failing until none is left to
// fail. It may do without what it does not get.
static inline void failing_each(bool (*work)(ad_error *error)) {
#if CAN_FAIL
    for (int on = 0; on < 2; on++) {
        bool hit = true;
        for (long n = 0; hit; n++) {
            ad_error error = {AD_OK, ""}, again = error;
            if (n > 10000) fail_msg("no end of allocations");
            failing_set(n, on != 0);
            bool ok = work(&error);
            hit = atomic_load(&failing_hit);
            failing_set(-1, false);
            if (!ok && error.status != AD_ENOMEM) fail_msg("allocation %ld: %d: %s", n, error.status, error.message);
            if (!work(&again)) fail_msg("again after allocation %ld: %s", n, again.message);
            if (!hit && n == 0) fail_msg("nothing is allocated");
        }
    }
#else
    (void)work;
    skip();
#endif
}

#endif
