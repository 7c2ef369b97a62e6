// combine.c -- passes over whole arrays: chunk accumulators into totals, checks for finite values.
#include "combine.h"

#include "simd.h"

// y may not overlap x. Up to four chunks are read side by side, each a stream for the prefetcher; JOIN takes v into t.
#define COMBINE(name, Y, X, JOIN)                                                                      \
    AD_INLINE X name##_join(X t, X v) { return JOIN; }                                                 \
    AD_INLINE void name##_few(Y *restrict y, const X *restrict x, int n, int64_t stride, int64_t count) { \
        for (int64_t i = 0; i < count; i++) {                                                          \
            X t = x[i];                                                                                \
            for (int c = 1; c < n; c++) t = name##_join(t, x[c * stride + i]);                         \
            y[i] = (Y)t;                                                                               \
        }                                                                                              \
    }                                                                                                  \
    static void name##_many(Y *restrict y, const X *restrict x, int64_t n, int64_t stride, int64_t count) { \
        X total[512]; /* blocks of y stay in L1 while the chunks pass */                               \
        for (int64_t i0 = 0; i0 < count; i0 += 512) {                                                  \
            int64_t m = count - i0 < 512 ? count - i0 : 512;                                           \
            for (int64_t i = 0; i < m; i++) total[i] = x[i0 + i];                                      \
            for (int64_t c = 1; c < n; c++)                                                            \
                for (int64_t i = 0; i < m; i++) total[i] = name##_join(total[i], x[c * stride + i0 + i]); \
            for (int64_t i = 0; i < m; i++) y[i0 + i] = (Y)total[i];                                   \
        }                                                                                              \
    }                                                                                                  \
    static void name(void *y, const void *x, int64_t n, int64_t stride, int64_t count) {               \
        switch (n) {                                                                                   \
            case 1: name##_few(y, x, 1, stride, count); break;                                         \
            case 2: name##_few(y, x, 2, stride, count); break;                                         \
            case 3: name##_few(y, x, 3, stride, count); break;                                         \
            case 4: name##_few(y, x, 4, stride, count); break;                                         \
            default: name##_many(y, x, n, stride, count); break;                                       \
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
