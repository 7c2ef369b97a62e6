// allocations.h -- counts allocations: for one test program, which includes it once.
#ifndef PULLBACK_TESTS_ALLOCATIONS_H
#define PULLBACK_TESTS_ALLOCATIONS_H

#include <stdatomic.h>

#include "util.h"

// The C library's allocator with a counter in front. Sanitizers bring their own.
#if defined(__GLIBC__) && !UTIL_SANITIZED
#define CAN_COUNT 1
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_long allocations;

void *malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
void *calloc(size_t n, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, size);
}
void *realloc(void *old, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **out, size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : 12;
}
#else
#define CAN_COUNT 0
static long allocations;
#endif

#endif
