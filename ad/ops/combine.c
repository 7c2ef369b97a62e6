// combine.c -- passes over whole arrays: chunk accumulators into totals, checks for finite values.
#include "combine.h"

#include "family.h"

// y may not overlap x; blocks of y stay in L1 while the chunks pass. JOIN takes the element of a chunk, v, into t.
#define COMBINE(name, Y, X, JOIN)                                                                      \
    static void name(void *y_, const void *x_, int64_t n, int64_t stride, int64_t count) {             \
        Y *restrict y = y_;                                                                            \
        const X *restrict x = x_;                                                                      \
        X total[512];                                                                                  \
        for (int64_t i0 = 0; i0 < count; i0 += 512) {                                                  \
            int64_t m = count - i0 < 512 ? count - i0 : 512;                                           \
            for (int64_t i = 0; i < m; i++) total[i] = x[i0 + i];                                      \
            for (int64_t c = 1; c < n; c++)                                                            \
                for (int64_t i = 0; i < m; i++) {                                                      \
                    const X v = x[c * stride + i0 + i], t = total[i];                                  \
                    total[i] = JOIN;                                                                   \
                }                                                                                      \
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (Y)total[i];                                   \
        }                                                                                              \
    }
COMBINE(sum_f32, float, float, t + v)
COMBINE(sum_f64, double, double, t + v)
COMBINE(sum_wide_f32, float, double, t + v)
COMBINE(max_f32, float, float, (v > t) | (v != v) ? v : t)
COMBINE(max_f64, double, double, (v > t) | (v != v) ? v : t)

// x * 0 is 0 for finite x and NaN for all others.
#define FINITE(name, T)                                        \
    static bool name(const void *x_, int64_t n) {              \
        const T *x = x_;                                       \
        T bad[16] = {0};                                       \
        int64_t i = 0;                                         \
        for (; i + 16 <= n; i += 16)                           \
            for (int k = 0; k < 16; k++) bad[k] += x[i + k] * 0; \
        for (; i < n; i++) bad[0] += x[i] * 0;                 \
        T all = 0;                                             \
        for (int k = 0; k < 16; k++) all += bad[k];            \
        return all == 0;                                       \
    }
FINITE(finite_f32, float)
FINITE(finite_f64, double)

extern const ad_passes AD_ISA_NAME(ad_passes);
const ad_passes AD_ISA_NAME(ad_passes) = {
    {sum_f32, sum_f64}, {sum_wide_f32, sum_f64}, {max_f32, max_f64}, {finite_f32, finite_f64}};
