// philox.h -- Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
// as easy as 1, 2, 3" (2011), for PHILOX_LANES counters at once.
#ifndef AD_OPS_PHILOX_H
#define AD_OPS_PHILOX_H

#include <stdint.h>

enum { PHILOX_LANES = 16 };

// Four words a lane: a counter before, random bits after.
typedef struct philox_block {
    uint32_t word[4][PHILOX_LANES];
} philox_block;

// 32-bit factors in the low halves of 64-bit lanes, as the multiply instructions want them: the lanes of one register
// go in two, even ones where they are and odd ones shifted down. What is left in the high halves does no harm.
#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512i philox_wide;
enum { PHILOX_WIDE = 16 };
static inline philox_wide philox_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
static inline philox_wide philox_spread(uint32_t a) { return _mm512_set1_epi64(a); }
static inline philox_wide philox_product(philox_wide a, philox_wide b) { return _mm512_mul_epu32(a, b); }
static inline philox_wide philox_high(philox_wide a) { return _mm512_srli_epi64(a, 32); }
static inline philox_wide philox_xor(philox_wide a, philox_wide b) { return _mm512_xor_si512(a, b); }
static inline void philox_store(uint32_t *p, philox_wide even, philox_wide odd) {
    _mm512_storeu_si512(p, _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)));
}
#elif defined(__AVX2__)
#include <immintrin.h>
typedef __m256i philox_wide;
enum { PHILOX_WIDE = 8 };
static inline philox_wide philox_load(const uint32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline philox_wide philox_spread(uint32_t a) { return _mm256_set1_epi64x(a); }
static inline philox_wide philox_product(philox_wide a, philox_wide b) { return _mm256_mul_epu32(a, b); }
static inline philox_wide philox_high(philox_wide a) { return _mm256_srli_epi64(a, 32); }
static inline philox_wide philox_xor(philox_wide a, philox_wide b) { return _mm256_xor_si256(a, b); }
static inline void philox_store(uint32_t *p, philox_wide even, philox_wide odd) {
    _mm256_storeu_si256((__m256i *)p, _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA));
}
#else
typedef uint64_t philox_wide;  // one lane, which is its own even half
enum { PHILOX_WIDE = 1 };
static inline philox_wide philox_load(const uint32_t *p) { return *p; }
static inline philox_wide philox_spread(uint32_t a) { return a; }
static inline philox_wide philox_product(philox_wide a, philox_wide b) { return (uint64_t)(uint32_t)a * (uint32_t)b; }
static inline philox_wide philox_high(philox_wide a) { return a >> 32; }
static inline philox_wide philox_xor(philox_wide a, philox_wide b) { return a ^ b; }
static inline void philox_store(uint32_t *p, philox_wide even, philox_wide odd) {
    (void)odd;
    *p = (uint32_t)even;
}
#endif

static inline void philox_rounds(philox_wide w[4], uint32_t key0, uint32_t key1) {
    const philox_wide m0 = philox_spread(0xD2511F53u), m2 = philox_spread(0xCD9E8D57u);
    for (int round = 0; round < 10; round++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
        philox_wide p0 = philox_product(w[0], m0), p2 = philox_product(w[2], m2);
        w[0] = philox_xor(philox_xor(philox_high(p2), w[1]), philox_spread(key0));
        w[1] = p2;
        w[2] = philox_xor(philox_xor(philox_high(p0), w[3]), philox_spread(key1));
        w[3] = p0;
    }
}

static inline void philox4x32_10(philox_block *b, uint32_t key0, uint32_t key1) {
    for (int l = 0; l < PHILOX_LANES; l += PHILOX_WIDE) {
        philox_wide even[4], odd[4];
        for (int j = 0; j < 4; j++) even[j] = philox_load(&b->word[j][l]);
        for (int j = 0; j < 4; j++) odd[j] = philox_high(even[j]);
        philox_rounds(even, key0, key1);
        if (PHILOX_WIDE > 1) philox_rounds(odd, key0, key1);
        for (int j = 0; j < 4; j++) philox_store(&b->word[j][l], even[j], odd[j]);
    }
}

#endif
