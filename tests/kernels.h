// kernels.h -- for white-box tests of kernels: the families of ops of every instruction set this CPU has.
#ifndef PULLBACK_TESTS_KERNELS_H
#define PULLBACK_TESTS_KERNELS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "internal.h"

enum { ISA_COUNT = 3, OPS = 400 };

typedef struct isa {
    const char *name;
    const ad_op *op[OPS];  // of all families, one after the other
    int n;
} isa;

static isa isas[ISA_COUNT];
static int n_isas;

static void add_isa(const char *name) {
    isa *added = &isas[n_isas++];
    const ad_op *const *const *families = ad_isa_families(name);
    added->name = name;
    for (int f = 0; families[f]; f++)
        for (int i = 0; families[f][i]; i++) added->op[added->n++] = families[f][i];
}

static int find_isas(void **state) {
    (void)state;
    add_isa("plain");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) add_isa("avx2");
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl"))
        add_isa("avx512");
#endif
    return 0;
}

static inline void to_type(ad_type type, const double *from, void *to, int n) {
    for (int j = 0; j < n; j++) {
        if (type == AD_F32)
            ((float *)to)[j] = (float)from[j];
        else
            ((double *)to)[j] = from[j];
    }
}

static inline void from_type(ad_type type, const void *from, double *to, int n) {
    for (int j = 0; j < n; j++) to[j] = type == AD_F32 ? (double)((const float *)from)[j] : ((const double *)from)[j];
}

static inline uint64_t random_bits(uint64_t *state) {  // splitmix64
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline double uniform(uint64_t *state, double low, double high) {
    return low + (high - low) * (double)(random_bits(state) >> 11) * 0x1p-53;
}

#endif
