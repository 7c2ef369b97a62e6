// npz.h -- for tests: arrays of the reference files, .npz as numpy.savez writes it (stored, little-endian doubles).
#ifndef PULLBACK_TESTS_NPZ_H
#define PULLBACK_TESTS_NPZ_H

#include "util.h"

typedef struct npz {
    char *bytes;
    size_t size;
} npz;

static inline uint64_t npz_number(const char *at, int bytes) {
    uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; i--) n = n << 8 | (unsigned char)at[i];
    return n;
}

// The file of that name in tests/reference, found beside this one.
static inline npz npz_open(const char *name) {
    char path[1000];
    const char *slash = strrchr(__FILE__, '/');
    int folder = slash ? (int)(slash - __FILE__) : 1;
    snprintf(path, sizeof path, "%.*s/reference/%s", folder, slash ? __FILE__ : ".", name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s: cannot be opened", path);
    npz z = {malloc(1 << 20), 0};
    z.size = fread(z.bytes, 1, 1 << 20, file);
    assert_true(z.size < 1 << 20);
    fclose(file);
    return z;
}

static inline void npz_close(npz *z) {
    free(z->bytes);
}

// The array as doubles, *count of them; the caller frees it. The test fails when there is none of that name.
static inline double *npz_array(const npz *z, const char *name, int64_t *count) {
    for (size_t at = 0; at + 30 < z->size && npz_number(z->bytes + at, 4) == 0x04034b50;) {
        const char *head = z->bytes + at;
        size_t name_size = npz_number(head + 26, 2), extra = npz_number(head + 28, 2), size = npz_number(head + 22, 4);
        if (size == UINT32_MAX)
            size = npz_number(head + 30 + name_size + 4, 8);  // zip64: the first 8 bytes of the field
        const char *data = head + 30 + name_size + extra;
        if (name_size == strlen(name) + 4 && memcmp(head + 30, name, name_size - 4) == 0) {
            size_t npy_head = 10 + npz_number(data + 8, 2);
            double *array = malloc(size - npy_head);
            memcpy(array, data + npy_head, size - npy_head);
            *count = (int64_t)((size - npy_head) / sizeof(double));
            return array;
        }
        at += 30 + name_size + extra + size;
    }
    fail_msg("no array '%s'", name);
    return NULL;
}

#endif
