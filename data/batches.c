// batches.c -- batches of shuffled rows: a keyed permutation computed where it is needed, never stored.
#include <xxhash.h>

#include "internal.h"

// A Feistel network over numbers of a few more bits than count needs: two halves change in turn, by a hash of the
// other. Every round can be undone, so it is a permutation; a number that lands beyond count is permuted again until it
// does not
// ("cycle walking"), which happens to less than half of them at each turn, tiny counts apart.
// With fewer than 6 bits some orders come up visibly too often.
enum { ROUNDS = 8, FEWEST_BITS = 8, CHUNK = 64 };

typedef struct shuffle {
    uint64_t count;
    int low_bits;
    uint64_t low_mask, high_mask;
    uint64_t factor[ROUNDS], offset[ROUNDS];
} shuffle;

static shuffle shuffle_make(uint64_t count, uint64_t seed, uint64_t epoch) {
    shuffle s = {.count = count};
    int bits = FEWEST_BITS;
    while (bits < 63 && (count - 1) >> bits != 0) bits++;
    s.low_bits = (bits + 1) / 2;
    s.low_mask = (UINT64_C(1) << s.low_bits) - 1;
    s.high_mask = (UINT64_C(1) << (bits - s.low_bits)) - 1;
    unsigned char bytes[9];  // epoch, little-endian, and which of the keys
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(epoch >> (8 * i));
    for (int round = 0; round < ROUNDS; round++) {
        bytes[8] = (unsigned char)(2 * round);
        s.factor[round] = XXH64(bytes, sizeof bytes, seed);
        bytes[8]++;
        s.offset[round] = XXH64(bytes, sizeof bytes, seed);
    }
    return s;
}

// The halves have at most 32 bits, for which multiply-add-shift is strongly universal (Dietzfelbinger 1996).
static uint64_t shuffle_once(const shuffle *s, uint64_t x) {
    uint64_t low = x & s->low_mask, high = x >> s->low_bits;
    for (int round = 0; round < ROUNDS; round += 2) {
        high ^= (s->factor[round] * low + s->offset[round]) >> 32 & s->high_mask;
        low ^= (s->factor[round + 1] * high + s->offset[round + 1]) >> 32 & s->low_mask;
    }
    return high << s->low_bits | low;
}

// The shuffled numbers at places first .. first + n - 1, n <= CHUNK. Those that must walk on are gathered, so that no
// branch waits for a hash: three times as fast as one after the other.
static void shuffle_chunk(const shuffle *s, int64_t first, int n, int64_t *out) {
    int walking[CHUNK], left = n;
    for (int i = 0; i < n; i++) {
        walking[i] = i;
        out[i] = first + i;
    }
    while (left > 0) {
        int still = 0;
        for (int j = 0; j < left; j++) {
            int i = walking[j];
            uint64_t x = shuffle_once(s, (uint64_t)out[i]);
            out[i] = (int64_t)x;
            walking[still] = i;
            still += x >= s->count;
        }
        left = still;
    }
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
    if (batches->in_order) {
        for (int64_t i = 0; i < n; i++) rows[i] = first + i;
    } else {
        const shuffle s = shuffle_make((uint64_t)batches->count, batches->seed, (uint64_t)epoch);
        for (int64_t i = 0; i < n; i += CHUNK) {
            shuffle_chunk(&s, first + i, n - i < CHUNK ? (int)(n - i) : CHUNK, rows + i);
        }
    }
    if (batches->index == NULL) return n;
    for (int64_t i = 0; i < n; i++) rows[i] = batches->index[rows[i]];
    return n;
}
