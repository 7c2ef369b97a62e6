// adam_kernel.c -- the two loops of Adam for the instruction set AD_ISA: sum of squares, and the update.
//
// Nothing here may be reordered or contracted: every instruction set gives the same bits.
#include "adam_kernel.h"

#include <math.h>

#ifndef AD_ISA
#define AD_ISA plain
#endif
#define CAT_(a, b) a##_##b
#define CAT(a, b) CAT_(a, b)

// Sums are kept in 16 partial ones, whatever the width of a vector, and those added pairwise.
enum { LANES = 16 };

static double total(double *sum) {
    for (int half = LANES / 2; half; half /= 2) {
        for (int k = 0; k < half; k++) sum[k] += sum[k + half];
    }
    return sum[0];
}

// The update as PyTorch's single-tensor loop orders it, in the element's own type.
#define KERNELS(T, SQRT)                                                                                           \
    static double squares_##T(size_t n, const void *gradient) {                                                    \
        const T *g = gradient;                                                                                     \
        double sum[LANES] = {0};                                                                                   \
        size_t i = 0;                                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                                       \
            for (int k = 0; k < LANES; k++) sum[k] += (double)g[i + k] * (double)g[i + k];                         \
        }                                                                                                          \
        for (size_t k = 0; k < LANES && i + k < n; k++) sum[k] += (double)g[i + k] * (double)g[i + k];             \
        return total(sum);                                                                                         \
    }                                                                                                              \
    static void update_##T(size_t n, const optim_adam_rule *rule, const void *gradient, void *first, void *second, \
                           void *parameter) {                                                                      \
        const T *restrict g = gradient;                                                                            \
        T *restrict m = first, *restrict v = second, *restrict p = parameter;                                      \
        const T b1 = (T)rule->beta1, b2 = (T)rule->beta2, c1 = (T)(1 - rule->beta1), c2 = (T)(1 - rule->beta2);    \
        const T clip = (T)rule->clip, step = (T)rule->step, inv_root = (T)rule->inv_root, eps = (T)rule->eps;      \
        for (size_t i = 0; i < n; i++) {                                                                           \
            T gi = clip * g[i];                                                                                    \
            m[i] = b1 * m[i] + c1 * gi;                                                                            \
            v[i] = b2 * v[i] + c2 * gi * gi;                                                                       \
            p[i] -= step * m[i] / (SQRT(v[i]) * inv_root + eps);                                                   \
        }                                                                                                          \
    }
KERNELS(float, sqrtf)
KERNELS(double, sqrt)

const optim_adam_kernels CAT(optim_adam, AD_ISA) = {{squares_float, squares_double}, {update_float, update_double}};
