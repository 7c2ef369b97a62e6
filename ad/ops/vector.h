// vector.h -- the few vector operations that products need, one set per instruction set.
//
// vec_f32 and vec_f64 hold WIDTH_f32 and WIDTH_f64 lanes. mul_add is fused wherever the instruction set fuses, so
// that one path rounds the same way in every kernel; plain x86-64 has no fused form and rounds twice. load_part and
// store_part touch the first n elements only, 0 <= n <= WIDTH; lanes not loaded are 0. relu and relu_slope are those of
// gemm.h's epilogues, and of the ops of these names: NaN stays NaN, relu(-0) = +0.
#ifndef AD_OPS_VECTOR_H
#define AD_OPS_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

// Functions and loops that must vanish into registers; a line about to be written, or read (at any address).
#if defined(__GNUC__)
#define AD_VECTOR static inline __attribute__((always_inline))
#define AD_UNROLL _Pragma("GCC unroll 16")
#define AD_PREFETCH(p) __builtin_prefetch(p, 1)
#define AD_PREFETCH_READ(p) __builtin_prefetch(p, 0)
#else
#define AD_VECTOR static inline
#define AD_UNROLL
#define AD_PREFETCH(p) (void)(p)
#define AD_PREFETCH_READ(p) (void)(p)
#endif

#if defined(__AVX512F__)

typedef __m512 vec_f32;
typedef __m512d vec_f64;
enum { WIDTH_f32 = 16, WIDTH_f64 = 8 };
AD_VECTOR vec_f32 load_f32(const float *p) { return _mm512_loadu_ps(p); }
AD_VECTOR vec_f64 load_f64(const double *p) { return _mm512_loadu_pd(p); }
AD_VECTOR void store_f32(float *p, vec_f32 v) { _mm512_storeu_ps(p, v); }
AD_VECTOR void store_f64(double *p, vec_f64 v) { _mm512_storeu_pd(p, v); }
AD_VECTOR vec_f32 spread_f32(float x) { return _mm512_set1_ps(x); }
AD_VECTOR vec_f64 spread_f64(double x) { return _mm512_set1_pd(x); }
AD_VECTOR vec_f32 mul_add_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm512_fmadd_ps(a, b, c); }
AD_VECTOR vec_f64 mul_add_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm512_fmadd_pd(a, b, c); }
AD_VECTOR vec_f32 relu_f32(vec_f32 c) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(c, _mm512_setzero_ps(), _CMP_NLE_UQ), c);
}
AD_VECTOR vec_f64 relu_f64(vec_f64 c) {
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(c, _mm512_setzero_pd(), _CMP_NLE_UQ), c);
}
AD_VECTOR vec_f32 relu_slope_f32(vec_f32 c, vec_f32 d) {
    __mmask16 on = _mm512_cmp_ps_mask(d, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _mm512_mask_mov_ps(d, on | _mm512_cmp_ps_mask(c, _mm512_setzero_ps(), _CMP_EQ_OQ), c);
}
AD_VECTOR vec_f64 relu_slope_f64(vec_f64 c, vec_f64 d) {
    __mmask8 on = _mm512_cmp_pd_mask(d, _mm512_setzero_pd(), _CMP_GT_OQ);
    return _mm512_mask_mov_pd(d, on | _mm512_cmp_pd_mask(c, _mm512_setzero_pd(), _CMP_EQ_OQ), c);
}
AD_VECTOR vec_f32 load_part_f32(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
AD_VECTOR vec_f64 load_part_f64(const double *p, int64_t n) {
    return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
AD_VECTOR void store_part_f32(float *p, int64_t n, vec_f32 v) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}
AD_VECTOR void store_part_f64(double *p, int64_t n, vec_f64 v) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), v);
}

#elif defined(__AVX2__) && defined(__FMA__)

typedef __m256 vec_f32;
typedef __m256d vec_f64;
enum { WIDTH_f32 = 8, WIDTH_f64 = 4 };
AD_VECTOR vec_f32 load_f32(const float *p) { return _mm256_loadu_ps(p); }
AD_VECTOR vec_f64 load_f64(const double *p) { return _mm256_loadu_pd(p); }
AD_VECTOR void store_f32(float *p, vec_f32 v) { _mm256_storeu_ps(p, v); }
AD_VECTOR void store_f64(double *p, vec_f64 v) { _mm256_storeu_pd(p, v); }
AD_VECTOR vec_f32 spread_f32(float x) { return _mm256_set1_ps(x); }
AD_VECTOR vec_f64 spread_f64(double x) { return _mm256_set1_pd(x); }
AD_VECTOR vec_f32 mul_add_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
AD_VECTOR vec_f64 mul_add_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
AD_VECTOR vec_f32 relu_f32(vec_f32 c) {
    return _mm256_and_ps(c, _mm256_cmp_ps(c, _mm256_setzero_ps(), _CMP_NLE_UQ));
}
AD_VECTOR vec_f64 relu_f64(vec_f64 c) {
    return _mm256_and_pd(c, _mm256_cmp_pd(c, _mm256_setzero_pd(), _CMP_NLE_UQ));
}
AD_VECTOR vec_f32 relu_slope_f32(vec_f32 c, vec_f32 d) {
    vec_f32 zero = _mm256_setzero_ps(), on = _mm256_cmp_ps(d, zero, _CMP_GT_OQ);
    return _mm256_blendv_ps(d, c, _mm256_or_ps(on, _mm256_cmp_ps(c, zero, _CMP_EQ_OQ)));
}
AD_VECTOR vec_f64 relu_slope_f64(vec_f64 c, vec_f64 d) {
    vec_f64 zero = _mm256_setzero_pd(), on = _mm256_cmp_pd(d, zero, _CMP_GT_OQ);
    return _mm256_blendv_pd(d, c, _mm256_or_pd(on, _mm256_cmp_pd(c, zero, _CMP_EQ_OQ)));
}
AD_VECTOR __m256i first_f32(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
AD_VECTOR __m256i first_f64(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
AD_VECTOR vec_f32 load_part_f32(const float *p, int64_t n) { return _mm256_maskload_ps(p, first_f32(n)); }
AD_VECTOR vec_f64 load_part_f64(const double *p, int64_t n) { return _mm256_maskload_pd(p, first_f64(n)); }
AD_VECTOR void store_part_f32(float *p, int64_t n, vec_f32 v) { _mm256_maskstore_ps(p, first_f32(n), v); }
AD_VECTOR void store_part_f64(double *p, int64_t n, vec_f64 v) { _mm256_maskstore_pd(p, first_f64(n), v); }

#else

#if defined(__GNUC__)  // 16 bytes: SSE2, NEON, or whatever the compiler makes of it
typedef float vec_f32 __attribute__((vector_size(16)));
typedef double vec_f64 __attribute__((vector_size(16)));
enum { WIDTH_f32 = 4, WIDTH_f64 = 2 };
AD_VECTOR vec_f32 spread_f32(float x) { return (vec_f32){x, x, x, x}; }
AD_VECTOR vec_f64 spread_f64(double x) { return (vec_f64){x, x}; }
// Comparisons give all bits set, or none.
AD_VECTOR vec_f32 relu_f32(vec_f32 c) { return (vec_f32)((__typeof__(c <= 0))c & ~(c <= 0)); }
AD_VECTOR vec_f64 relu_f64(vec_f64 c) { return (vec_f64)((__typeof__(c <= 0))c & ~(c <= 0)); }
AD_VECTOR vec_f32 relu_slope_f32(vec_f32 c, vec_f32 d) {
    __typeof__(c == 0) on = (d > 0) | (c == 0);
    return (vec_f32)(((__typeof__(on))c & on) | ((__typeof__(on))d & ~on));
}
AD_VECTOR vec_f64 relu_slope_f64(vec_f64 c, vec_f64 d) {
    __typeof__(c == 0) on = (d > 0) | (c == 0);
    return (vec_f64)(((__typeof__(on))c & on) | ((__typeof__(on))d & ~on));
}
#else
typedef float vec_f32;
typedef double vec_f64;
enum { WIDTH_f32 = 1, WIDTH_f64 = 1 };
AD_VECTOR vec_f32 spread_f32(float x) { return x; }
AD_VECTOR vec_f64 spread_f64(double x) { return x; }
AD_VECTOR vec_f32 relu_f32(vec_f32 c) { return c <= 0 ? 0 : c; }
AD_VECTOR vec_f64 relu_f64(vec_f64 c) { return c <= 0 ? 0 : c; }
AD_VECTOR vec_f32 relu_slope_f32(vec_f32 c, vec_f32 d) { return d > 0 || c == 0 ? c : d; }
AD_VECTOR vec_f64 relu_slope_f64(vec_f64 c, vec_f64 d) { return d > 0 || c == 0 ? c : d; }
#endif
AD_VECTOR vec_f32 load_f32(const float *p) {
    vec_f32 v;
    memcpy(&v, p, sizeof v);
    return v;
}
AD_VECTOR vec_f64 load_f64(const double *p) {
    vec_f64 v;
    memcpy(&v, p, sizeof v);
    return v;
}
AD_VECTOR void store_f32(float *p, vec_f32 v) { memcpy(p, &v, sizeof v); }
AD_VECTOR void store_f64(double *p, vec_f64 v) { memcpy(p, &v, sizeof v); }
AD_VECTOR vec_f32 load_part_f32(const float *p, int64_t n) {
    vec_f32 v = spread_f32(0);
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
AD_VECTOR vec_f64 load_part_f64(const double *p, int64_t n) {
    vec_f64 v = spread_f64(0);
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
AD_VECTOR void store_part_f32(float *p, int64_t n, vec_f32 v) { memcpy(p, &v, (size_t)n * sizeof *p); }
AD_VECTOR void store_part_f64(double *p, int64_t n, vec_f64 v) { memcpy(p, &v, (size_t)n * sizeof *p); }
AD_VECTOR vec_f32 mul_add_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return a * b + c; }
AD_VECTOR vec_f64 mul_add_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return a * b + c; }

#endif
#endif
