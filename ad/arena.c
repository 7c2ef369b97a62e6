// arena.c -- memory that is handed out in order and taken back all at once.
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum { ALIGN = AD_ALIGN, CHUNK = 64 * 1024, HUGE_PAGE = 2 << 20 };

static ad_arena_chunk *chunk_new(size_t size) {
    size_t bytes = size > CHUNK ? size : CHUNK;
    ad_arena_chunk *c = ad_aligned(1, sizeof *c + bytes);
    if (c) c->next = NULL, c->size = bytes;
    return c;
}

void *ad_arena_take_slowly(ad_arena *a, size_t size) {
    if (size > SIZE_MAX - 4 * ALIGN) return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (!a->current) {
        if (!a->first) a->first = chunk_new(size);
        if (!a->first) return NULL;
        a->current = a->first, a->used = 0;
    }
    while (a->used + size > a->current->size) {
        if (!a->current->next && !(a->current->next = chunk_new(size))) return NULL;
        a->current = a->current->next, a->used = 0;
    }
    char *p = (char *)(a->current + 1) + a->used;
    a->used += size;
    return p;
}

void ad_arena_reset(ad_arena *a) {
    a->current = NULL, a->used = 0;
}

void ad_arena_free(ad_arena *a) {
    for (ad_arena_chunk *c = a->first, *next; c; c = next) next = c->next, free(c);
    memset(a, 0, sizeof *a);
}

int ad_grow_array(void *array, size_t *room, size_t n, size_t size) {
    size_t want = *room ? *room : 16;
    while (want < n) {
        if (want > SIZE_MAX / 2 / size) return 0;
        want *= 2;
    }
    void *p;
    memcpy(&p, array, sizeof p);
    p = realloc(p, want * size);
    if (!p) return 0;
    memcpy(array, &p, sizeof p);
    *room = want;
    return 1;
}

void *ad_aligned(size_t n, size_t size) {
    if (size && n > (SIZE_MAX - ALIGN) / size) return NULL;
    size_t bytes = (n * size + ALIGN - 1) / ALIGN * ALIGN;
#ifdef MADV_HUGEPAGE
    // Working memory of many pages is read in strides of a page and more: large pages where the system has them.
    if (bytes >= 2 * (size_t)HUGE_PAGE && bytes <= SIZE_MAX - HUGE_PAGE) {
        bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        void *p = aligned_alloc(HUGE_PAGE, bytes);
        if (p) madvise(p, bytes, MADV_HUGEPAGE);  // advice: it does not matter whether it is taken
        return p;
    }
#endif
    return aligned_alloc(ALIGN, bytes ? bytes : ALIGN);
}
