// philox.h -- Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
// as 1, 2, 3" (2011), for PHILOX_LANES counters at once.
#ifndef AD_OPS_PHILOX_H
#define AD_OPS_PHILOX_H

#include <stdint.h>

enum { PHILOX_LANES = 16 };

// Four words a lane: a counter before, random bits after.
typedef struct philox_block {
    uint32_t word[4][PHILOX_LANES];
} philox_block;

static inline void philox_round(philox_block *b, uint32_t key0, uint32_t key1) {
    for (int l = 0; l < PHILOX_LANES; l++) {
        uint64_t p0 = (uint64_t)b->word[0][l] * 0xD2511F53u, p2 = (uint64_t)b->word[2][l] * 0xCD9E8D57u;
        b->word[0][l] = (uint32_t)(p2 >> 32) ^ b->word[1][l] ^ key0;
        b->word[1][l] = (uint32_t)p2;
        b->word[2][l] = (uint32_t)(p0 >> 32) ^ b->word[3][l] ^ key1;
        b->word[3][l] = (uint32_t)p0;
    }
}

static inline void philox4x32_10(philox_block *b, uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) philox_round(b, key0, key1);
}

#endif
