// decimal.c -- w * 10^q to the nearest double, by integers alone.
#include <string.h>

#include "internal.h"

// The idea is Lemire's ("Number parsing at a gigabyte per second", 2021, after Eisel): the product of w and the leading
// bits of 5^q tells the double unless its tail lies at a rounding boundary within the bits that were left out. Here 5^q
// is 5^r, exact in 64 bits, times 5^(28 k) in 128: small tables, and a tail of 70 bits or more, so that a number of up
// to 19 digits is undecided only where it is a tie or next to one.

typedef struct wide {
    uint64_t high, low;
} wide;

static wide multiply(uint64_t a, uint64_t b) {
    uint64_t a1 = a >> 32, a0 = (uint32_t)a, b1 = b >> 32, b0 = (uint32_t)b;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return (wide){a1 * b1 + (middle >> 32) + (other >> 32), other << 32 | (uint32_t)low};
}

static uint64_t add(uint64_t *a, uint64_t b) {
    *a += b;
    return *a < b;  // the carry
}

enum { STEP = 28, FIRST = -13 };  // 5^27 is the largest power below 2^63

// w * 10^q = (product + error) * 2^exponent, with the error in 0 to ERROR, or none where exact.
enum { ERROR = 4 };
typedef struct scaled {
    wide product;
    int exponent;
    bool exact;
} scaled;

static scaled scale(uint64_t w, int q) {
    // 5^(28 k), k from FIRST: 128 bits, truncated, and the exponent of 2 that they are to be multiplied by.
    static const struct {
        uint64_t high, low;
        int exponent;
    } coarse[] = {{0xe1afa13afbd14d6d, 0x82189c09a3a1ec21, -973}, {0xe3e27a444d8d98b7, 0xfd1b1b2308169b25, -908},
                  {0xe61acf033d1a45df, 0x6fb92487298e33bd, -843}, {0xe858ad248f5c22c9, 0xd1b3400f8f9cff68, -778},
                  {0xea9c227723ee8bcb, 0x465e15a979c1cadc, -713}, {0xece53cec4a314ebd, 0xa4f8bf5635246428, -648},
                  {0xef340a98172aace4, 0x86fb897116c87c34, -583}, {0xf18899b1bc3f8ca1, 0xdc44e6c3cb279ac1, -518},
                  {0xf3e2f893dec3f126, 0x5a89dba3c3efccfa, -453}, {0xf64335bcf065d37d, 0x4d4617b5ff4a16d5, -388},
                  {0xf8a95fcf88747d94, 0x75a44c6397ce912a, -323}, {0xfb158592be068d2e, 0xeed6e2f0f0d56712, -258},
                  {0xfd87b5f28300ca0d, 0x8bca9d6e188853fc, -193}, {0x8000000000000000, 0x0000000000000000, -127},
                  {0x813f3978f8940984, 0x4000000000000000, -62},  {0x82818f1281ed449f, 0xbff8f10e7a8921a4, 3},
                  {0x83c7088e1aab65db, 0x792667c6da79e0fa, 68},   {0x850fadc09923329e, 0x03e2cf6bc604ddb0, 133},
                  {0x865b86925b9bc5c2, 0x0b8a2392ba45a9b2, 198},  {0x87aa9aff79042286, 0x90fb44d2f05d0842, 263},
                  {0x88fcf317f22241e2, 0x441fece3bdf81f03, 328},  {0x8a5296ffe33cc92f, 0x82bd6b70d99aaa6f, 393},
                  {0x8bab8eefb6409c1a, 0x1ad089b6c2f7548e, 458},  {0x8d07e33455637eb2, 0xdb0b487b6423e1e8, 523},
                  {0x8e679c2f5e44ff8f, 0x570f09eaa7ea7648, 588}};
    static const uint64_t fine[STEP] = {0x0000000000000001, 0x0000000000000005, 0x0000000000000019, 0x000000000000007d,
                                        0x0000000000000271, 0x0000000000000c35, 0x0000000000003d09, 0x000000000001312d,
                                        0x000000000005f5e1, 0x00000000001dcd65, 0x00000000009502f9, 0x0000000002e90edd,
                                        0x000000000e8d4a51, 0x0000000048c27395, 0x000000016bcc41e9, 0x000000071afd498d,
                                        0x0000002386f26fc1, 0x000000b1a2bc2ec5, 0x000003782dace9d9, 0x00001158e460913d,
                                        0x000056bc75e2d631, 0x0001b1ae4d6e2ef5, 0x000878678326eac9, 0x002a5a058fc295ed,
                                        0x00d3c21bcecceda1, 0x0422ca8b0a00a425, 0x14adf4b7320334b9, 0x6765c793fa10079d};
    int k = (q - FIRST * STEP) / STEP, r = (q - FIRST * STEP) % STEP;
    int shift = data_leading_zeros(w), fine_shift = data_leading_zeros(fine[r]);
    wide a = multiply(w << shift, fine[r] << fine_shift);
    scaled s = {a, q - shift - fine_shift, k == -FIRST};
    if (s.exact) return s;
    s.exponent += 128 + coarse[k].exponent;
    s.product = multiply(a.high, coarse[k].high);
    s.product.high += add(&s.product.low, multiply(a.high, coarse[k].low).high);
    s.product.high += add(&s.product.low, multiply(a.low, coarse[k].high).high);
    return s;
}

// The product's bits from drop on (in 65 to 128), rounded to nearest and to even; false when the error leaves it open.
static bool round_at(const scaled *s, int drop, uint64_t *out) {
    uint64_t half = UINT64_C(1) << (drop - 65), high = s->product.high & (2 * half - 1), low = s->product.low;
    uint64_t kept = drop == 128 ? 0 : s->product.high >> (drop - 64);
    bool above = high > half || (high == half && low > 0), tie = high == half && low == 0;
    if (s->exact) {
        above = above || (tie && (kept & 1) != 0);
    } else if (tie || (high == half - 1 && low >= UINT64_MAX - ERROR)) {
        return false;
    }
    *out = kept + above;
    return true;
}

bool data_decimal(uint64_t w, int64_t q, double *value) {
    uint64_t bits = 0;
    if (w != 0 && q > 308) {
        bits = UINT64_C(0x7ff) << 52;
    } else if (w != 0 && q >= -342) {
        scaled s = scale(w, (int)q);
        int size = 128 - data_leading_zeros(s.product.high), exponent = size - 1 + s.exponent;
        int keep = exponent >= -1022 ? 53 : 53 + 1022 + exponent;  // fewer bits in a denormal
        if (keep == -1) return false;                              // half the least denormal, or just below
        if (keep >= 0 && !round_at(&s, size - keep, &bits)) return false;
        // The leading bit of a normal number adds one to the exponent field; so does a carry out of the mantissa.
        if (exponent >= -1022) bits += (uint64_t)(exponent + 1022) << 52;
        if (exponent > 1023 || bits > UINT64_C(0x7ff) << 52) bits = UINT64_C(0x7ff) << 52;
    }
    memcpy(value, &bits, sizeof bits);
    return true;
}
