// isa.c -- the registry of ops, and the kernels of the instruction set in use, chosen once.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "ops/combine.h"

// One line a file in ad/ops/: its ops, per instruction set (ops/family.h).
#define FAMILIES(F)                                                                                                \
    F(leaf) F(view) F(take) F(gather) F(arithmetic) F(rounding) F(power) F(exponential) F(logarithm) F(trigonometric) \
    F(hyperbolic) F(error_function) F(gamma) F(activation) F(compare) F(reduce) F(extremum) F(softmax) F(scan)       \
    F(sort) F(linear) F(staircase) F(matmul) F(small_matrix) F(cholesky) F(determinant) F(lapack) F(matrix_exp) F(random) \
    F(solver) F(loop) F(rational_quadratic)

#define DECLARE(name) extern const ad_op *const ad_family_##name##_plain[];
FAMILIES(DECLARE)
extern const ad_passes ad_passes_plain;
#define ENTRY_PLAIN(name) ad_family_##name##_plain,
static const ad_op *const *const plain[] = {FAMILIES(ENTRY_PLAIN) NULL};

#if defined(__x86_64__)
#define DECLARE_X86(name)                                  \
    extern const ad_op *const ad_family_##name##_avx2[];   \
    extern const ad_op *const ad_family_##name##_avx512[];
FAMILIES(DECLARE_X86)
extern const ad_passes ad_passes_avx2, ad_passes_avx512;
#define ENTRY_AVX2(name) ad_family_##name##_avx2,
#define ENTRY_AVX512(name) ad_family_##name##_avx512,
static const ad_op *const *const avx2[] = {FAMILIES(ENTRY_AVX2) NULL};
static const ad_op *const *const avx512[] = {FAMILIES(ENTRY_AVX512) NULL};
#endif

enum { MAX_OPS = 1024, TABLE = 4096 };

static struct {  // the one global: what the CPU is, and a table from base op to op in use
    const char *name;
    const ad_passes *passes;
    const ad_op *base[MAX_OPS];
    int n;
    const ad_op *key[TABLE], *value[TABLE];
} chosen;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static size_t hash(const ad_op *op) { return ((uintptr_t)op >> 4) * 0x9E3779B97F4A7C15u >> 52; }

static void add_family(const ad_op *const *base, const ad_op *const *used) {
    for (int i = 0; base[i] && chosen.n < MAX_OPS; i++) {
        size_t h = hash(base[i]);
        while (chosen.key[h]) h = (h + 1) % TABLE;
        chosen.key[h] = base[i], chosen.value[h] = used[i];
        chosen.base[chosen.n++] = base[i];
    }
}

static void choose(void) {
    const ad_op *const *const *used = plain;
    chosen.name = "plain", chosen.passes = &ad_passes_plain;
#if defined(__x86_64__)
    const char *force = getenv("AD_CPU");
    bool has2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool has512 = has2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    bool allow2 = !force || strcmp(force, "plain") != 0, allow512 = allow2 && (!force || strcmp(force, "avx2") != 0);
    if (has512 && allow512) used = avx512, chosen.name = "avx512", chosen.passes = &ad_passes_avx512;
    else if (has2 && allow2) used = avx2, chosen.name = "avx2", chosen.passes = &ad_passes_avx2;
#endif
    for (int f = 0; plain[f]; f++) add_family(plain[f], used[f]);
}

const char *ad_cpu_name(void) {
    pthread_once(&once, choose);
    return chosen.name;
}

const ad_passes *ad_passes_of_cpu(void) {
    pthread_once(&once, choose);
    return chosen.passes;
}

const ad_op *const *const *ad_isa_families(const char *isa) {
#if defined(__x86_64__)
    if (!strcmp(isa, "avx2")) return avx2;
    if (!strcmp(isa, "avx512")) return avx512;
#endif
    return strcmp(isa, "plain") ? NULL : plain;
}

const ad_op *const *ad_op_registry(int *n) {
    pthread_once(&once, choose);
    *n = chosen.n;
    return chosen.base;
}

const ad_op *ad_isa_op(const ad_op *op) {
    pthread_once(&once, choose);
    for (size_t h = hash(op); chosen.key[h]; h = (h + 1) % TABLE)
        if (chosen.key[h] == op) return chosen.value[h];
    return op;
}
