// kernels.c -- the rules of one instruction set in one table, and the sums of squares that gradient norms are made of.
#include "rule.h"

// Sums are kept in 16 partial ones, whatever the width of a vector, and those added pairwise.
enum { LANES = 16 };

static double total(double *sum) {
    for (int half = LANES / 2; half; half /= 2) {
        for (int k = 0; k < half; k++) sum[k] += sum[k + half];
    }
    return sum[0];
}

#define SQUARES(T)                                                                      \
    static double sum_##T(size_t n, const T *g, T limit) {                              \
        double sum[LANES] = {0};                                                        \
        size_t i = 0;                                                                   \
        for (; i + LANES <= n; i += LANES) {                                            \
            for (int k = 0; k < LANES; k++) {                                           \
                T v = g[i + k] > limit ? limit : g[i + k] < -limit ? -limit : g[i + k]; \
                sum[k] += (double)v * (double)v;                                        \
            }                                                                           \
        }                                                                               \
        for (size_t k = 0; k < LANES && i + k < n; k++) {                               \
            T v = g[i + k] > limit ? limit : g[i + k] < -limit ? -limit : g[i + k];     \
            sum[k] += (double)v * (double)v;                                            \
        }                                                                               \
        return total(sum);                                                              \
    }                                                                                   \
    static optim_squares squares_##T(size_t n, const void *g, double limit) {           \
        optim_squares s = {sum_##T(n, g, (T)INFINITY), 0};                              \
        s.cut = isinf(limit) ? s.whole : sum_##T(n, g, (T)limit);                       \
        return s;                                                                       \
    }
SQUARES(float)
SQUARES(double)

extern const optim_rule OPTIM_ISA_NAME(optim_adam), OPTIM_ISA_NAME(optim_adamw), OPTIM_ISA_NAME(optim_radam),
    OPTIM_ISA_NAME(optim_adamax), OPTIM_ISA_NAME(optim_sgd);

const optim_kernels OPTIM_ISA_NAME(optim_kernels) = {{[OPTIM_ADAM] = &OPTIM_ISA_NAME(optim_adam),
                                                      [OPTIM_ADAMW] = &OPTIM_ISA_NAME(optim_adamw),
                                                      [OPTIM_RADAM] = &OPTIM_ISA_NAME(optim_radam),
                                                      [OPTIM_ADAMAX] = &OPTIM_ISA_NAME(optim_adamax),
                                                      [OPTIM_SGD] = &OPTIM_ISA_NAME(optim_sgd)},
                                                     {squares_float, squares_double}};
