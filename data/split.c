// split.c -- training and validation rows by a hash of the row's number.
#include <stdlib.h>

#include <xxhash.h>

#include "internal.h"

static bool is_valid(int64_t row, double fraction, uint64_t seed) {
    unsigned char bytes[8];  // little-endian, so that every machine splits alike
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)row >> (8 * i));
    double u = (double)(XXH64(bytes, sizeof bytes, seed) >> 11) * 0x1p-53;
    return u < fraction;
}

data_split *data_split_new(int64_t rows, double fraction, uint64_t seed, ad_error *error) {
    if (rows < 1 || !(fraction >= 0 && fraction <= 1)) {
        ad_fail(error, AD_EARG, "a split needs at least one row (got %lld) and a fraction in 0 to 1", (long long)rows);
        return NULL;
    }
    data_split *split = calloc(1, sizeof *split);
    int64_t *numbers = (uint64_t)rows > SIZE_MAX / sizeof *numbers ? NULL : malloc((size_t)rows * sizeof *numbers);
    if (split == NULL || numbers == NULL) {
        free(split);
        free(numbers);
        ad_fail(error, AD_ENOMEM, "out of memory for a split of %lld rows", (long long)rows);
        return NULL;
    }
    for (int64_t row = 0; row < rows; row++) split->n_valid += is_valid(row, fraction, seed);
    // One block, valid after train.
    split->train = numbers;
    split->valid = numbers + (rows - split->n_valid);
    int64_t valid = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (is_valid(row, fraction, seed)) {
            split->valid[valid++] = row;
        } else {
            split->train[split->n_train++] = row;
        }
    }
    return split;
}

void data_split_free(data_split *split) {
    if (split == NULL) return;
    free(split->train);
    free(split);
}
