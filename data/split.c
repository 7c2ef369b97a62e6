// split.c -- rows for training, validation and test: by a hash of the row's number, or given.
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "internal.h"

enum { TRAIN, VALID, TEST, PARTS };

// One block for all parts.
static data_split *split_alloc(uint64_t rows, ad_error *error) {
    uint64_t bytes;
    data_split *split = calloc(1, sizeof *split);
    bool fits = data_mul(rows, sizeof(int64_t), &bytes) && bytes <= SIZE_MAX / 2;
    int64_t *numbers = fits ? malloc((size_t)bytes + 1) : NULL;
    if (split == NULL || numbers == NULL) {
        free(split);
        free(numbers);
        ad_fail(error, AD_ENOMEM, "out of memory for a split of %llu rows", (unsigned long long)rows);
        return NULL;
    }
    split->train = numbers;
    return split;
}

static void set_parts(data_split *split, const int64_t n[PARTS]) {
    int64_t *numbers = split->train;
    *split = (data_split){numbers, numbers + n[TRAIN], numbers + n[TRAIN] + n[VALID], n[TRAIN], n[VALID], n[TEST]};
}

void data_split_free(data_split *split) {
    if (split == NULL) return;
    free(split->train);
    free(split);
}

static int part_of(int64_t row, double valid, double test, uint64_t seed) {
    unsigned char bytes[8];  // little-endian, so that every machine splits alike
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)row >> (8 * i));
    double u = (double)(XXH64(bytes, sizeof bytes, seed) >> 11) * 0x1p-53;
    return u < valid ? VALID : u < valid + test ? TEST : TRAIN;
}

data_split *data_split_new(int64_t rows, double valid, double test, uint64_t seed, ad_error *error) {
    if (rows < 1 || !(valid >= 0 && test >= 0 && valid + test <= 1)) {
        ad_fail(error, AD_EARG,
                "a split needs at least one row (got %lld) and fractions of at least 0 that sum to at most 1 (got %g "
                "and %g)",
                (long long)rows, valid, test);
        return NULL;
    }
    data_split *split = split_alloc((uint64_t)rows, error);
    if (split == NULL) return NULL;
    int64_t n[PARTS] = {0};
    for (int64_t row = 0; row < rows; row++) n[part_of(row, valid, test, seed)]++;
    set_parts(split, n);
    int64_t *next[PARTS] = {split->train, split->valid, split->test};
    for (int64_t row = 0; row < rows; row++) *next[part_of(row, valid, test, seed)]++ = row;
    return split;
}

// ---- given ----

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Whether numbers are in 0 .. rows - 1 and all differ. Sorts them.
static ad_status check_numbers(int64_t *numbers, size_t n, int64_t rows, ad_error *error) {
    qsort(numbers, n, sizeof *numbers, by_value);
    for (size_t i = 0; i < n; i++) {
        if (numbers[i] < 0 || numbers[i] >= rows) {
            return ad_fail(error, AD_EARG, "split: row %lld, expected 0 to %lld", (long long)numbers[i],
                           (long long)rows - 1);
        }
        if (i > 0 && numbers[i] == numbers[i - 1]) {
            return ad_fail(error, AD_EARG, "split: row %lld stands in it twice", (long long)numbers[i]);
        }
    }
    return AD_OK;
}

static void copy_given(data_split *split, const data_split *given) {
    const int64_t n[PARTS] = {given->n_train, given->n_valid, given->n_test};
    const int64_t *from[PARTS] = {given->train, given->valid, given->test};
    int64_t *to = split->train;
    for (int part = 0; part < PARTS; to += n[part++]) {
        if (n[part] > 0) memcpy(to, from[part], (size_t)n[part] * sizeof *to);
    }
}

data_split *data_split_given(int64_t rows, const data_split *given, ad_error *error) {
    const int64_t n[PARTS] = {given->n_train, given->n_valid, given->n_test};
    bool ok = rows >= 1 && n[TRAIN] >= 0 && n[VALID] >= 0 && n[TEST] >= 0 && n[TRAIN] <= rows && n[VALID] <= rows &&
              n[TEST] <= rows && (n[TRAIN] == 0 || given->train) && (n[VALID] == 0 || given->valid) &&
              (n[TEST] == 0 || given->test);
    if (!ok) {
        ad_fail(error, AD_EARG, "split: parts of %lld, %lld and %lld rows of %lld: expected lists of so many",
                (long long)n[TRAIN], (long long)n[VALID], (long long)n[TEST], (long long)rows);
        return NULL;
    }
    data_split *split = split_alloc((uint64_t)n[TRAIN] + (uint64_t)n[VALID] + (uint64_t)n[TEST], error);
    if (split == NULL) return NULL;
    set_parts(split, n);
    copy_given(split, given);
    if (check_numbers(split->train, (size_t)(n[TRAIN] + n[VALID] + n[TEST]), rows, error) == AD_OK) {
        copy_given(split, given);
        return split;
    }
    data_split_free(split);
    return NULL;
}
