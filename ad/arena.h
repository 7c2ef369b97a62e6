// arena.h -- memory that is handed out in order and taken back all at once.
#ifndef AD_ARENA_H
#define AD_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum { AD_ALIGN = 64 };
typedef struct ad_arena_chunk ad_arena_chunk;
struct ad_arena_chunk {
    ad_arena_chunk *next;
    size_t size;
    char pad[AD_ALIGN - sizeof(void *) - sizeof(size_t)];  // data follows, aligned
};
typedef struct ad_arena {
    ad_arena_chunk *first, *current;
    size_t used;  // of current
} ad_arena;

// size bytes, 64-byte aligned, uninitialised; NULL when out of memory.
void *ad_arena_take_slowly(ad_arena *arena, size_t size);  // where the current chunk has no room
static inline void *ad_arena_take(ad_arena *a, size_t size) {
    size_t room = a->current ? a->current->size - a->used : 0, padded = (size + AD_ALIGN - 1) / AD_ALIGN * AD_ALIGN;
    if (padded < size || padded > room || !a->current) return ad_arena_take_slowly(a, size);
    char *p = (char *)(a->current + 1) + a->used;
    a->used += padded;
    return p;
}
// Takes back all that was handed out after the mark. Chunks are kept for later.
static inline ad_arena ad_arena_mark(const ad_arena *arena) { return *arena; }
static inline void ad_arena_release(ad_arena *arena, ad_arena mark) {
    arena->current = mark.current, arena->used = mark.used;
}
void ad_arena_reset(ad_arena *arena);
void ad_arena_free(ad_arena *arena);

// Makes room for n elements of size bytes in *array (capacity *room), keeping its content. False when out of memory.
int ad_grow_array(void *array, size_t *room, size_t n, size_t size);
static inline int ad_grow(void *array, size_t *room, size_t n, size_t size) {
    return n <= *room || ad_grow_array(array, room, n, size);
}
// a * b, or SIZE_MAX (which no allocation gives) when that overflows.
static inline size_t ad_product(size_t a, size_t b) { return b && a > SIZE_MAX / b ? SIZE_MAX : a * b; }
// 64-byte aligned memory, a multiple of 64 bytes, for n elements of size bytes; NULL on overflow or when out of memory.
void *ad_aligned(size_t n, size_t size);

#endif
