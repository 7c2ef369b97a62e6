// type.c -- the types that a table's elements are stored in: name, size, and the loops that convert them.
#include <string.h>

#include "internal.h"

// Blocks have a constant length, so that compilers vectorise the loops in ordinary optimisation too.
enum { BLOCK = 32 };

#define CONVERT_TO(name, in_type, value, out_name, out_type)                                   \
    static void name##_to_##out_name(const void *restrict from, size_t n, void *restrict to) { \
        const in_type *restrict in = from;                                                     \
        out_type *restrict out = to;                                                           \
        for (; n >= BLOCK; n -= BLOCK, in += BLOCK, out += BLOCK)                              \
            for (int i = 0; i < BLOCK; i++) out[i] = (out_type)value(in[i]);                   \
        for (size_t i = 0; i < n; i++) out[i] = (out_type)value(in[i]);                        \
    }
#define CONVERT(name, in_type, value) \
    CONVERT_TO(name, in_type, value, f32, float) CONVERT_TO(name, in_type, value, f64, double)

// The value of a half. No branches; and nothing smaller than the least half is computed, so that it holds too where
// denormals are flushed.
static inline float half_value(uint16_t half) {
    uint32_t magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16, exponent = magnitude >> 10, bits;
    float small = (float)(int32_t)magnitude * 0x1p-24f, value;  // when the exponent is 0
    memcpy(&bits, &small, sizeof bits);
    uint32_t normal = (magnitude << 13) + (exponent == 31 ? 224u << 23 : 112u << 23);
    bits = (exponent == 0 ? bits : normal) | sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define PLAIN(x) (x)
#define TRUTH(x) ((x) != 0)
CONVERT(f2, uint16_t, half_value)
CONVERT(f4, float, PLAIN)
CONVERT(f8, double, PLAIN)
CONVERT(i1, int8_t, PLAIN)
CONVERT(i2, int16_t, PLAIN)
CONVERT(i4, int32_t, PLAIN)
CONVERT(i8, int64_t, PLAIN)
CONVERT(u1, uint8_t, PLAIN)
CONVERT(u2, uint16_t, PLAIN)
CONVERT(u4, uint32_t, PLAIN)
CONVERT(u8, uint64_t, PLAIN)
CONVERT(b1, uint8_t, TRUTH)

typedef struct stored_type {
    const char *name;
    size_t size;
    void (*convert[2])(const void *restrict from, size_t n, void *restrict to);  // to an ad_type
} stored_type;

#define STORED(name, in_type)            \
    {                                    \
#name, sizeof(in_type), {        \
            name##_to_f32, name##_to_f64 \
        }                                \
    }
static const stored_type types[DATA_TYPES] = {
    [DATA_F16] = STORED(f2, uint16_t), [DATA_F32] = STORED(f4, float),    [DATA_F64] = STORED(f8, double),
    [DATA_I8] = STORED(i1, int8_t),    [DATA_I16] = STORED(i2, int16_t),  [DATA_I32] = STORED(i4, int32_t),
    [DATA_I64] = STORED(i8, int64_t),  [DATA_U8] = STORED(u1, uint8_t),   [DATA_U16] = STORED(u2, uint16_t),
    [DATA_U32] = STORED(u4, uint32_t), [DATA_U64] = STORED(u8, uint64_t), [DATA_BOOL] = STORED(b1, uint8_t),
};

bool data_type_ok(data_type type) {
    return (unsigned)type < DATA_TYPES;
}

size_t data_type_size(data_type type) {
    return data_type_ok(type) ? types[type].size : 0;
}

const char *data_type_name(data_type type) {
    return data_type_ok(type) ? types[type].name : "none";
}

bool data_type_find(const char *name, size_t size, data_type *type) {
    for (int t = 0; t < DATA_TYPES; t++) {
        if (size != 2 || memcmp(types[t].name, name, 2) != 0) continue;
        *type = (data_type)t;
        return true;
    }
    return false;
}

// ---- byte order -----------------------------------------------------------------------------------------------------

#define SWAP(bits, expression)                           \
    static void swap##bits(void *bytes, size_t n) {      \
        unsigned char *at = bytes;                       \
        for (size_t i = 0; i < n; i++, at += bits / 8) { \
            uint##bits##_t x;                            \
            memcpy(&x, at, sizeof x);                    \
            x = expression;                              \
            memcpy(at, &x, sizeof x);                    \
        }                                                \
    }
SWAP(16, (uint16_t)(x << 8 | x >> 8))
SWAP(32, x << 24 | (x << 8 & 0xff0000) | (x >> 8 & 0xff00) | x >> 24)
SWAP(64, x << 56 | (x << 40 & 0xff000000000000) | (x << 24 & 0xff0000000000) | (x << 8 & 0xff00000000) |
             (x >> 8 & 0xff000000) | (x >> 24 & 0xff0000) | (x >> 40 & 0xff00) | x >> 56)

void data_swap(data_type type, void *elements, size_t n) {
    size_t size = data_type_size(type);
    if (size == 2) swap16(elements, n);
    if (size == 4) swap32(elements, n);
    if (size == 8) swap64(elements, n);
}

// ---- conversion -----------------------------------------------------------------------------------------------------

// In pieces that stay in the first cache when they must be swapped or aligned first.
void data_convert_elements(const data_elements *from, size_t n, ad_type type, void *to) {
    const stored_type *t = &types[from->type];
    const unsigned char *in = from->bytes;
    unsigned char *out = to;
    if (!from->swapped && (uintptr_t)in % t->size == 0) {
        t->convert[type](in, n, out);
        return;
    }
    uint64_t buffer[256];
    size_t room = sizeof buffer / t->size;
    for (size_t k; n > 0; n -= k, in += k * t->size, out += k * ad_type_size(type)) {
        k = n < room ? n : room;
        memcpy(buffer, in, k * t->size);
        if (from->swapped) data_swap(from->type, buffer, k);
        t->convert[type](buffer, k, out);
    }
}
