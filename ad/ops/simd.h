// simd.h -- vectors of floats and doubles for kernels: one source for plain C, AVX2+FMA and AVX-512.
//
// vf holds VF floats, vd VD doubles; both take + - * / as scalars do. In plain C a vector is one number, which is also
// the fallback for every compiler and machine without these instruction sets. The instruction set is that of the
// compilation (ad/ops/family.h), and everything here is inlined: one name, another meaning in each.
#ifndef AD_OPS_SIMD_H
#define AD_OPS_SIMD_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "family.h"

#if !AD_ISA_BASE && defined(__AVX512F__) && defined(__AVX512DQ__)
#define AD_SIMD_AVX512 1
#include <immintrin.h>
#elif !AD_ISA_BASE && defined(__AVX2__) && defined(__FMA__)
#define AD_SIMD_AVX2 1
#include <immintrin.h>
#endif

// The iterations of the loop that follows are independent although y may be the same array as an operand: y[j] is
// written after x[j] is read and nothing else overlaps.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"  // sanitizers and -O0 do not vectorise
#define AD_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define AD_IVDEP _Pragma("GCC ivdep")
#else
#define AD_IVDEP
#endif

#if defined(__GNUC__)
#define AD_INLINE static inline __attribute__((always_inline, unused))
#else
#define AD_INLINE static inline
#endif

// Initialisers of a descriptor: both kernels of NAME; a list of tests.
#define AD_KERNELS(NAME) .lanes = {NAME##_f32, NAME##_f64}
#define AD_TESTS(LIST) .tests = LIST, .n_tests = sizeof LIST / sizeof LIST[0]

// ---- flat loops the compiler vectorises ----------------------------------------------------------------------------

// Lanes kernels NAME_f32 and NAME_f64: y[j] = EXPR of a (and b, c), the operands' elements.
#define AD_LANES1(NAME, EXPR) AD_LANES1_T(NAME##_f32, float, EXPR) AD_LANES1_T(NAME##_f64, double, EXPR)
#define AD_LANES2(NAME, EXPR) AD_LANES2_T(NAME##_f32, float, EXPR) AD_LANES2_T(NAME##_f64, double, EXPR)
#define AD_LANES3(NAME, EXPR) AD_LANES3_T(NAME##_f32, float, EXPR) AD_LANES3_T(NAME##_f64, double, EXPR)
// As AD_LANES1, with c: the op's attribute, one double, rounded to the element type.
#define AD_LANES1_NUMBER(NAME, EXPR)             \
    AD_LANES1_NUMBER_T(NAME##_f32, float, EXPR)  \
    AD_LANES1_NUMBER_T(NAME##_f64, double, EXPR)

#define AD_LANES1_T(NAME, T, EXPR)                                                    \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {    \
        T *y = vy;                                                                    \
        const T *xa = x[0];                                                           \
        (void)attr;                                                                   \
        AD_IVDEP for (size_t j = 0; j < n; j++) {                                     \
            const T a = xa[j];                                                        \
            y[j] = (EXPR);                                                            \
        }                                                                             \
    }
#define AD_LANES1_NUMBER_T(NAME, T, EXPR)                                             \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {    \
        T *y = vy;                                                                    \
        const T *xa = x[0];                                                           \
        const T c = (T)*(const double *)attr;                                         \
        AD_IVDEP for (size_t j = 0; j < n; j++) {                                     \
            const T a = xa[j];                                                        \
            y[j] = (EXPR);                                                            \
        }                                                                             \
    }
#define AD_LANES2_T(NAME, T, EXPR)                                                    \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {    \
        T *y = vy;                                                                    \
        const T *xa = x[0], *xb = x[1];                                               \
        (void)attr;                                                                   \
        AD_IVDEP for (size_t j = 0; j < n; j++) {                                     \
            const T a = xa[j], b = xb[j];                                             \
            y[j] = (EXPR);                                                            \
        }                                                                             \
    }
#define AD_LANES3_T(NAME, T, EXPR)                                                    \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {    \
        T *y = vy;                                                                    \
        const T *xa = x[0], *xb = x[1], *xc = x[2];                                   \
        (void)attr;                                                                   \
        AD_IVDEP for (size_t j = 0; j < n; j++) {                                     \
            const T a = xa[j], b = xb[j], c = xc[j];                                  \
            y[j] = (EXPR);                                                            \
        }                                                                             \
    }

// ---- loops over a function of vectors ------------------------------------------------------------------------------

// Lanes kernel NAME from FN, of vf -> vf (V = vf) or vd -> vd (V = vd). Nothing is read or written beyond n.
#define AD_LANES_VF(NAME, FN) AD_LANES_V(NAME, FN, float, vf, VF)
#define AD_LANES_VD(NAME, FN) AD_LANES_V(NAME, FN, double, vd, VD)
#define AD_LANES_V(NAME, FN, T, V, WIDTH)                                             \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {    \
        T *y = vy;                                                                    \
        const T *xa = x[0];                                                           \
        size_t j = 0;                                                                 \
        (void)attr;                                                                   \
        for (; j + WIDTH <= n; j += WIDTH) V##_store(y + j, FN(V##_load(xa + j)));    \
        if (j < n) V##_store_part(y + j, FN(V##_load_part(xa + j, n - j)), n - j);    \
    }
// The same of two operands.
#define AD_LANES2_VF(NAME, FN) AD_LANES2_V(NAME, FN, float, vf, VF)
#define AD_LANES2_VD(NAME, FN) AD_LANES2_V(NAME, FN, double, vd, VD)
#define AD_LANES2_V(NAME, FN, T, V, WIDTH)                                                        \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {                \
        T *y = vy;                                                                                \
        const T *xa = x[0], *xb = x[1];                                                           \
        size_t j = 0;                                                                             \
        (void)attr;                                                                               \
        for (; j + WIDTH <= n; j += WIDTH) V##_store(y + j, FN(V##_load(xa + j), V##_load(xb + j))); \
        if (j < n)                                                                                \
            V##_store_part(y + j, FN(V##_load_part(xa + j, n - j), V##_load_part(xb + j, n - j)), n - j); \
    }

// Lanes kernels NAME_f32 and NAME_f64, both in f64: y = EXPR of a, a vd; f32 rounds the result. SETUP declares what EXPR
// needs of attr.
#define AD_LANES_WIDE(NAME, EXPR) AD_LANES_WIDE_WITH(NAME, EXPR, (void)attr)
#define AD_LANES_WIDE_WITH(NAME, EXPR, SETUP)                                               \
    static void NAME##_f64(size_t n, void *vy, const void *const *x, const void *attr) {    \
        double *y = vy;                                                                     \
        const double *xa = x[0];                                                            \
        SETUP;                                                                              \
        for (size_t j = 0; j < n; j += VD) {                                                \
            const size_t part = n - j < VD ? n - j : VD;                                    \
            const vd a = part == VD ? vd_load(xa + j) : vd_load_part(xa + j, part);         \
            const vd b = EXPR;                                                              \
            if (part == VD)                                                                 \
                vd_store(y + j, b);                                                         \
            else                                                                            \
                vd_store_part(y + j, b, part);                                              \
        }                                                                                   \
    }                                                                                       \
    static void NAME##_f32(size_t n, void *vy, const void *const *x, const void *attr) {    \
        float *y = vy, last[VD];                                                            \
        const float *xa = x[0];                                                             \
        SETUP;                                                                              \
        for (size_t j = 0; j < n; j += VD) {                                                \
            const size_t part = n - j < VD ? n - j : VD;                                    \
            const vd a = part == VD ? vd_from_f32(xa + j) : vd_from_f32_part(xa + j, part); \
            const vd b = EXPR;                                                              \
            vd_to_f32(part == VD ? y + j : last, b);                                        \
            for (size_t i = 0; i < part && part < VD; i++) y[j + i] = last[i];              \
        }                                                                                   \
    }

// ---- the vectors ---------------------------------------------------------------------------------------------------
// load_part reads the first n elements (n < width), zero in the others; store_part writes the first n.
// vd_from_f32 widens VD floats, vd_to_f32 rounds to them; vd_low and vd_high widen the halves of a vector, vf_join
// rounds to the halves of one.

#if defined(AD_SIMD_AVX512)

typedef __m512 vf;
typedef __m512d vd;
enum { VF = 16, VD = 8 };
#define AD_SLEEF_F32(fn) Sleef_##fn##f16_u10avx512f
#define AD_SLEEF_F64(fn) Sleef_##fn##d8_u10avx512f

AD_INLINE __mmask16 vf_first(size_t n) { return (__mmask16)((1u << n) - 1); }
AD_INLINE __mmask8 vd_first(size_t n) { return (__mmask8)((1u << n) - 1); }
AD_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
AD_INLINE vd vd_load(const double *p) { return _mm512_loadu_pd(p); }
AD_INLINE void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
AD_INLINE void vd_store(double *p, vd a) { _mm512_storeu_pd(p, a); }
AD_INLINE vf vf_load_part(const float *p, size_t n) { return _mm512_maskz_loadu_ps(vf_first(n), p); }
AD_INLINE vd vd_load_part(const double *p, size_t n) { return _mm512_maskz_loadu_pd(vd_first(n), p); }
AD_INLINE void vf_store_part(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, vf_first(n), a); }
AD_INLINE void vd_store_part(double *p, vd a, size_t n) { _mm512_mask_storeu_pd(p, vd_first(n), a); }
AD_INLINE vd vd_from_f32(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
AD_INLINE vd vd_from_f32_part(const float *p, size_t n) {
    return _mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_maskz_loadu_ps(vf_first(n), p)));
}
AD_INLINE void vd_to_f32(float *p, vd a) { _mm256_storeu_ps(p, _mm512_cvtpd_ps(a)); }
AD_INLINE vd vd_low(vf a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a)); }
AD_INLINE vd vd_high(vf a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)); }
AD_INLINE vf vf_join(vd low, vd high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

// The sum of all lanes, lane j with lane j + half, halves from large to small.
AD_INLINE double vd_sum(vd a) {
    __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

AD_INLINE vf vf_set(float a) { return _mm512_set1_ps(a); }
AD_INLINE vd vd_set(double a) { return _mm512_set1_pd(a); }
AD_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
AD_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm512_fmadd_pd(a, b, c); }
AD_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b
AD_INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
AD_INLINE vd vd_abs(vd a) { return _mm512_abs_pd(a); }
// max(a, b), min(a, b); b where either is NaN.
AD_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
AD_INLINE vd vd_max(vd a, vd b) { return _mm512_max_pd(a, b); }
AD_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
AD_INLINE vd vd_min(vd a, vd b) { return _mm512_min_pd(a, b); }
AD_INLINE vf vf_copysign(vf magnitude, vf sign) {
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));  // magnitude >= 0
}
AD_INLINE vd vd_copysign(vd magnitude, vd sign) {
    return _mm512_or_pd(magnitude, _mm512_and_pd(sign, _mm512_set1_pd(-0.0)));
}
// a where x's sign bit is set, else b.
AD_INLINE vf vf_if_negative(vf x, vf a, vf b) {
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(_mm512_castps_si512(x)), b, a);
}
AD_INLINE vd vd_if_negative(vd x, vd a, vd b) {
    return _mm512_mask_blend_pd(_mm512_movepi64_mask(_mm512_castpd_si512(x)), b, a);
}
// p where a < b, else q (so where either is NaN).
AD_INLINE vf vf_if_less(vf a, vf b, vf p, vf q) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), q, p);
}
AD_INLINE vd vd_if_less(vd a, vd b, vd p, vd q) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), q, p);
}
// Whether a < b anywhere, everywhere: to skip the work for rare cases where there are none. What an element becomes must
// not depend on the answer, which depends on its neighbours.
AD_INLINE bool vf_any_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) != 0; }
AD_INLINE bool vd_any_less(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ) != 0; }
AD_INLINE bool vf_all_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) == 0xffff; }
AD_INLINE bool vd_all_less(vd a, vd b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ) == 0xff; }
// p where a == b, else q.
AD_INLINE vf vf_if_equal(vf a, vf b, vf p, vf q) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), q, p);
}
AD_INLINE vd vd_if_equal(vd a, vd b, vd p, vd q) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ), q, p);
}
AD_INLINE vd vd_sqrt(vd a) { return _mm512_sqrt_pd(a); }
// 2^k for z = k + 1.5 * 2^23 and -127 <= k <= 127; 2^-127 comes as 0.
AD_INLINE vf vf_pow2(vf z) {
    __m512i k = _mm512_slli_epi32(_mm512_castps_si512(z), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(k, _mm512_set1_epi32(127 << 23)));
}
// k and m with a = 2^k m, sqrt(1/2) <= m < sqrt(2), for normal a > 0; any numbers for others.
AD_INLINE vf vf_exponent(vf a, vf *m) {
    const __m512i least = _mm512_castps_si512(_mm512_set1_ps(0x1.6a09e6p-1f));
    __m512i above = _mm512_sub_epi32(_mm512_castps_si512(a), least);
    *m = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_and_si512(above, _mm512_set1_epi32(0x7fffff)), least));
    return _mm512_cvtepi32_ps(_mm512_srai_epi32(above, 23));
}

#elif defined(AD_SIMD_AVX2)

typedef __m256 vf;
typedef __m256d vd;
enum { VF = 8, VD = 4 };
#define AD_SLEEF_F32(fn) Sleef_##fn##f8_u10avx2
#define AD_SLEEF_F64(fn) Sleef_##fn##d4_u10avx2

AD_INLINE __m256i vf_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
AD_INLINE __m256i vd_first(size_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((int64_t)n), _mm256_setr_epi64x(0, 1, 2, 3));
}
AD_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
AD_INLINE vd vd_load(const double *p) { return _mm256_loadu_pd(p); }
AD_INLINE void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
AD_INLINE void vd_store(double *p, vd a) { _mm256_storeu_pd(p, a); }
AD_INLINE vf vf_load_part(const float *p, size_t n) { return _mm256_maskload_ps(p, vf_first(n)); }
AD_INLINE vd vd_load_part(const double *p, size_t n) { return _mm256_maskload_pd(p, vd_first(n)); }
AD_INLINE void vf_store_part(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, vf_first(n), a); }
AD_INLINE void vd_store_part(double *p, vd a, size_t n) { _mm256_maskstore_pd(p, vd_first(n), a); }
AD_INLINE vd vd_from_f32(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
AD_INLINE vd vd_from_f32_part(const float *p, size_t n) {
    return _mm256_cvtps_pd(_mm_maskload_ps(p, _mm256_castsi256_si128(vf_first(n))));
}
AD_INLINE void vd_to_f32(float *p, vd a) { _mm_storeu_ps(p, _mm256_cvtpd_ps(a)); }
AD_INLINE vd vd_low(vf a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); }
AD_INLINE vd vd_high(vf a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); }
AD_INLINE vf vf_join(vd low, vd high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high), 1);
}

AD_INLINE double vd_sum(vd a) {
    __m128d c = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

AD_INLINE vf vf_set(float a) { return _mm256_set1_ps(a); }
AD_INLINE vd vd_set(double a) { return _mm256_set1_pd(a); }
AD_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
AD_INLINE vd vd_fma(vd a, vd b, vd c) { return _mm256_fmadd_pd(a, b, c); }
AD_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
AD_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
AD_INLINE vd vd_abs(vd a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
AD_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
AD_INLINE vd vd_max(vd a, vd b) { return _mm256_max_pd(a, b); }
AD_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
AD_INLINE vd vd_min(vd a, vd b) { return _mm256_min_pd(a, b); }
AD_INLINE vf vf_copysign(vf magnitude, vf sign) {
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}
AD_INLINE vd vd_copysign(vd magnitude, vd sign) {
    return _mm256_or_pd(magnitude, _mm256_and_pd(sign, _mm256_set1_pd(-0.0)));
}
AD_INLINE vf vf_if_negative(vf x, vf a, vf b) { return _mm256_blendv_ps(b, a, x); }
AD_INLINE vd vd_if_negative(vd x, vd a, vd b) { return _mm256_blendv_pd(b, a, x); }
AD_INLINE vf vf_if_less(vf a, vf b, vf p, vf q) { return _mm256_blendv_ps(q, p, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
AD_INLINE vd vd_if_less(vd a, vd b, vd p, vd q) { return _mm256_blendv_pd(q, p, _mm256_cmp_pd(a, b, _CMP_LT_OQ)); }
AD_INLINE bool vf_any_less(vf a, vf b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) != 0; }
AD_INLINE bool vd_any_less(vd a, vd b) { return _mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ)) != 0; }
AD_INLINE bool vf_all_less(vf a, vf b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)) == 0xff; }
AD_INLINE bool vd_all_less(vd a, vd b) { return _mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ)) == 0xf; }
AD_INLINE vf vf_if_equal(vf a, vf b, vf p, vf q) { return _mm256_blendv_ps(q, p, _mm256_cmp_ps(a, b, _CMP_EQ_OQ)); }
AD_INLINE vd vd_if_equal(vd a, vd b, vd p, vd q) { return _mm256_blendv_pd(q, p, _mm256_cmp_pd(a, b, _CMP_EQ_OQ)); }
AD_INLINE vd vd_sqrt(vd a) { return _mm256_sqrt_pd(a); }
AD_INLINE vf vf_pow2(vf z) {
    __m256i k = _mm256_slli_epi32(_mm256_castps_si256(z), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(k, _mm256_set1_epi32(127 << 23)));
}
AD_INLINE vf vf_exponent(vf a, vf *m) {
    const __m256i least = _mm256_castps_si256(_mm256_set1_ps(0x1.6a09e6p-1f));
    __m256i above = _mm256_sub_epi32(_mm256_castps_si256(a), least);
    *m = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_and_si256(above, _mm256_set1_epi32(0x7fffff)), least));
    return _mm256_cvtepi32_ps(_mm256_srai_epi32(above, 23));
}

#else

typedef float vf;
typedef double vd;
enum { VF = 1, VD = 1 };
#define AD_SLEEF_F32(fn) Sleef_##fn##f_u10
#define AD_SLEEF_F64(fn) Sleef_##fn##_u10

AD_INLINE vf vf_load(const float *p) { return *p; }
AD_INLINE vd vd_load(const double *p) { return *p; }
AD_INLINE void vf_store(float *p, vf a) { *p = a; }
AD_INLINE void vd_store(double *p, vd a) { *p = a; }
AD_INLINE vf vf_load_part(const float *p, size_t n) { return n ? *p : 0; }
AD_INLINE vd vd_load_part(const double *p, size_t n) { return n ? *p : 0; }
AD_INLINE void vf_store_part(float *p, vf a, size_t n) {
    if (n) *p = a;
}
AD_INLINE void vd_store_part(double *p, vd a, size_t n) {
    if (n) *p = a;
}
AD_INLINE vd vd_from_f32(const float *p) { return *p; }
AD_INLINE vd vd_from_f32_part(const float *p, size_t n) { return n ? *p : 0; }
AD_INLINE void vd_to_f32(float *p, vd a) { *p = (float)a; }
AD_INLINE vd vd_low(vf a) { return a; }   // a vector of one has one half
AD_INLINE vd vd_high(vf a) { return a; }

AD_INLINE double vd_sum(vd a) { return a; }

AD_INLINE vf vf_set(float a) { return a; }
AD_INLINE vd vd_set(double a) { return a; }
AD_INLINE vf vf_abs(vf a) { return fabsf(a); }
AD_INLINE vd vd_abs(vd a) { return fabs(a); }
AD_INLINE vf vf_max(vf a, vf b) { return a > b ? a : b; }
AD_INLINE vd vd_max(vd a, vd b) { return a > b ? a : b; }
AD_INLINE vf vf_min(vf a, vf b) { return a < b ? a : b; }
AD_INLINE vd vd_min(vd a, vd b) { return a < b ? a : b; }
AD_INLINE vf vf_copysign(vf magnitude, vf sign) { return copysignf(magnitude, sign); }
AD_INLINE vd vd_copysign(vd magnitude, vd sign) { return copysign(magnitude, sign); }
AD_INLINE vd vd_if_negative(vd x, vd a, vd b) { return signbit(x) ? a : b; }
AD_INLINE vf vf_if_less(vf a, vf b, vf p, vf q) { return a < b ? p : q; }
AD_INLINE vd vd_if_less(vd a, vd b, vd p, vd q) { return a < b ? p : q; }
AD_INLINE bool vf_any_less(vf a, vf b) { return a < b; }
AD_INLINE bool vd_any_less(vd a, vd b) { return a < b; }
AD_INLINE bool vf_all_less(vf a, vf b) { return a < b; }
AD_INLINE bool vd_all_less(vd a, vd b) { return a < b; }
AD_INLINE vf vf_if_equal(vf a, vf b, vf p, vf q) { return a == b ? p : q; }
AD_INLINE vd vd_if_equal(vd a, vd b, vd p, vd q) { return a == b ? p : q; }
AD_INLINE vd vd_sqrt(vd a) { return sqrt(a); }
AD_INLINE vd vd_fma(vd a, vd b, vd c) { return fma(a, b, c); }

#endif
#endif
