// fingerprint.c -- the digest of what a data set holds, whatever file it stands in.
#include <string.h>

#include <xxhash.h>

#include "internal.h"

enum { BUFFER = 1 << 14 };

static void hash_numbers(XXH3_state_t *state, const int64_t *numbers, int n) {
    for (int i = 0; i < n; i++) {
        unsigned char bytes[8];
        for (int k = 0; k < 8; k++) bytes[k] = (unsigned char)((uint64_t)numbers[i] >> (8 * k));
        XXH3_128bits_update(state, bytes, sizeof bytes);
    }
}

// n elements in a row, as a little-endian machine stores them.
static void hash_elements(XXH3_state_t *state, const data_elements *from, size_t n) {
    uint64_t buffer[BUFFER / sizeof(uint64_t)];
    size_t size = data_type_size(from->type);
    if (size == 1 || from->swapped != data_host_is_little_endian()) {
        XXH3_128bits_update(state, from->bytes, n * size);
        return;
    }
    const unsigned char *at = from->bytes;
    for (size_t k; n > 0; n -= k, at += k * size) {
        k = n < BUFFER / size ? n : BUFFER / size;
        memcpy(buffer, at, k * size);
        data_swap(from->type, buffer, k);
        XXH3_128bits_update(state, buffer, k * size);
    }
}

// What the columns are for, how they are stored and shaped, and then their rows.
static void hash_columns(XXH3_state_t *state, int64_t role, const data_columns *c) {
    const data_table *t = c->table;
    int64_t head[5] = {role, t->type, t->rows, c->count, 0}, dims[AD_MAX_RANK] = {c->count};
    int rank = 1;
    if (c->count == t->columns && t->shape.rank > 0) {
        rank = t->shape.rank;
        for (int i = 0; i < rank; i++) dims[i] = t->shape.dim[i];
    }
    head[4] = rank;
    hash_numbers(state, head, 5);
    hash_numbers(state, dims, rank);
    bool packed = data_row_stride(t) == (size_t)c->count * data_type_size(t->type);
    int64_t steps = packed ? 1 : t->rows;
    for (int64_t row = 0; row < steps; row++) {
        data_elements elements = data_elements_at(t, row, c->first);
        hash_elements(state, &elements, (size_t)c->count * (size_t)(packed ? t->rows : 1));
    }
}

static void hash_group(XXH3_state_t *state, int64_t role, const data_columns *c, int most) {
    for (int i = 0; i < most && c[i].table != NULL; i++) hash_columns(state, role, &c[i]);
}

ad_status data_fingerprint(const data_set *set, char fingerprint[DATA_FINGERPRINT_SIZE], ad_error *error) {
    const data_set_parts *p = &set->parts;
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) return ad_fail(error, AD_ENOMEM, "out of memory for a fingerprint");
    XXH3_128bits_reset(state);
    const int64_t head[4] = {1, set->rows, p->classes, p->label_number};  // 1: what is hashed, and how, as of now
    hash_numbers(state, head, 4);
    hash_group(state, 1, p->x, DATA_MOST_COLUMNS);
    hash_group(state, 2, p->context, DATA_MOST_COLUMNS);
    hash_group(state, 3, &p->labels, 1);
    hash_group(state, 4, &p->weight, 1);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    for (int i = 0; i < DATA_FINGERPRINT_SIZE - 1; i++) {
        fingerprint[i] = "0123456789abcdef"[canonical.digest[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15];
    }
    fingerprint[DATA_FINGERPRINT_SIZE - 1] = '\0';
    return AD_OK;
}
