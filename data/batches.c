// batches.c -- batches of shuffled rows: a keyed permutation computed where it is needed, never stored.
#include <xxhash.h>

#include "internal.h"

// A Feistel network over numbers of 2 b or 2 b + 1 bits: their halves change in turn, by a hash of the other. Rounds
// undo, so it is a permutation; a number that lands beyond count is permuted again until it does not ("cycle walking").
enum { ROUNDS = 8, FEWEST_BITS = 4 };

typedef struct shuffle {
    uint64_t count;
    int low_bits;
    uint64_t low_mask, high_mask;
    uint64_t key[ROUNDS];
} shuffle;

static shuffle shuffle_make(uint64_t count, uint64_t seed, uint64_t epoch) {
    shuffle s = {.count = count};
    int bits = FEWEST_BITS;
    while (bits < 63 && (count - 1) >> bits != 0) bits++;
    s.low_bits = (bits + 1) / 2;
    s.low_mask = (UINT64_C(1) << s.low_bits) - 1;
    s.high_mask = (UINT64_C(1) << (bits - s.low_bits)) - 1;
    unsigned char bytes[9];  // epoch and round, little-endian
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(epoch >> (8 * i));
    for (int round = 0; round < ROUNDS; round++) {
        bytes[8] = (unsigned char)round;
        s.key[round] = XXH64(bytes, sizeof bytes, seed);
    }
    return s;
}

static uint64_t mix(uint64_t x, uint64_t key) {
    x = (x + key) * UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return x >> 32;
}

static uint64_t shuffle_at(const shuffle *s, uint64_t i) {
    do {
        uint64_t low = i & s->low_mask, high = i >> s->low_bits;
        for (int round = 0; round < ROUNDS; round += 2) {
            high ^= mix(low, s->key[round]) & s->high_mask;
            low ^= mix(high, s->key[round + 1]) & s->low_mask;
        }
        i = high << s->low_bits | low;
    } while (i >= s->count);
    return i;
}

int64_t data_batch_count(const data_batches *batches) {
    if (batches->count < 1 || batches->size < 1) return 0;
    int64_t full = batches->count / batches->size;
    return full + (!batches->drop_last && batches->count % batches->size != 0);
}

int64_t data_batch(const data_batches *batches, int64_t epoch, int64_t batch, int64_t *rows) {
    if (batch < 0 || batch >= data_batch_count(batches)) return 0;
    int64_t first = batch * batches->size;
    int64_t n = batches->count - first < batches->size ? batches->count - first : batches->size;
    const shuffle s = shuffle_make((uint64_t)batches->count, batches->seed, (uint64_t)epoch);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = batches->in_order ? first + i : (int64_t)shuffle_at(&s, (uint64_t)(first + i));
        rows[i] = batches->index == NULL ? row : batches->index[row];
    }
    return n;
}
