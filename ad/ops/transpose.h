// transpose.h -- square blocks transposed in registers.
//
// transpose_block_T turns WIDTH_T rows of WIDTH_T elements, lds apart, into rows ldd apart. Only the first `rows`
// rows of the source need exist; the last of them stands in for the others. Columns are taken one 16-byte group at a
// time: the groups of far rows are joined into wide registers while loading, so that only the small transposition
// inside 16 bytes is left for the shuffle port.
#ifndef AD_OPS_TRANSPOSE_H
#define AD_OPS_TRANSPOSE_H

#include "vector.h"

// Where row i of a block starts.
AD_VECTOR int64_t block_row(int i, int64_t rows, int64_t lds) { return (i < rows ? i : rows - 1) * lds; }

#if defined(__AVX512F__)

// 4 elements of rows i, i + 4, i + 8, i + 12.
AD_VECTOR __m512 join_f32(const float *s, int i, int64_t rows, int64_t lds) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(s + block_row(i, rows, lds)));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(s + block_row(i + 4, rows, lds)), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(s + block_row(i + 8, rows, lds)), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(s + block_row(i + 12, rows, lds)), 3);
}

AD_VECTOR void transpose_block_f32(int64_t rows, const float *s, int64_t lds, float *d, int64_t ldd) {
    for (int c = 0; c < 16; c += 4) {
        __m512 r0 = join_f32(s + c, 0, rows, lds), r1 = join_f32(s + c, 1, rows, lds);
        __m512 r2 = join_f32(s + c, 2, rows, lds), r3 = join_f32(s + c, 3, rows, lds);
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)), b = _mm512_castps_pd(_mm512_unpackhi_ps(r0, r1));
        __m512d e = _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)), f = _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3));
        _mm512_storeu_ps(d + c * ldd, _mm512_castpd_ps(_mm512_unpacklo_pd(a, e)));
        _mm512_storeu_ps(d + (c + 1) * ldd, _mm512_castpd_ps(_mm512_unpackhi_pd(a, e)));
        _mm512_storeu_ps(d + (c + 2) * ldd, _mm512_castpd_ps(_mm512_unpacklo_pd(b, f)));
        _mm512_storeu_ps(d + (c + 3) * ldd, _mm512_castpd_ps(_mm512_unpackhi_pd(b, f)));
    }
}

// 2 elements of rows i, i + 2, i + 4, i + 6.
AD_VECTOR __m512d join_f64(const double *s, int i, int64_t rows, int64_t lds) {
    __m512d v = _mm512_castpd128_pd512(_mm_loadu_pd(s + block_row(i, rows, lds)));
    v = _mm512_insertf64x2(v, _mm_loadu_pd(s + block_row(i + 2, rows, lds)), 1);
    v = _mm512_insertf64x2(v, _mm_loadu_pd(s + block_row(i + 4, rows, lds)), 2);
    return _mm512_insertf64x2(v, _mm_loadu_pd(s + block_row(i + 6, rows, lds)), 3);
}

AD_VECTOR void transpose_block_f64(int64_t rows, const double *s, int64_t lds, double *d, int64_t ldd) {
    for (int c = 0; c < 8; c += 2) {
        __m512d r0 = join_f64(s + c, 0, rows, lds), r1 = join_f64(s + c, 1, rows, lds);
        _mm512_storeu_pd(d + c * ldd, _mm512_unpacklo_pd(r0, r1));
        _mm512_storeu_pd(d + (c + 1) * ldd, _mm512_unpackhi_pd(r0, r1));
    }
}

// sum_each: element i of the result is the sum of the lanes of r[i]. Lanes are added as halves, quarters, ...
AD_VECTOR vec_f32 sum_each_f32(vec_f32 r[16]) {
    AD_UNROLL for (int i = 0; i < 8; i++)
        r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 8], 0x44), _mm512_shuffle_f32x4(r[i], r[i + 8], 0xee));
    AD_UNROLL for (int i = 0; i < 4; i++)
        r[i] = _mm512_add_ps(_mm512_shuffle_f32x4(r[i], r[i + 4], 0x88), _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd));
    AD_UNROLL for (int half = 2; half > 0; half /= 2) {
        AD_UNROLL for (int i = 0; i < half; i++)
            r[i] = _mm512_add_ps(_mm512_unpacklo_ps(r[i], r[i + half]), _mm512_unpackhi_ps(r[i], r[i + half]));
    }
    return _mm512_shuffle_f32x4(r[0], r[0], 0xd8);  // quarters are rows 0, 8, 4, 12 and the three after each
}

AD_VECTOR vec_f64 sum_each_f64(vec_f64 r[8]) {
    AD_UNROLL for (int i = 0; i < 4; i++)
        r[i] = _mm512_add_pd(_mm512_shuffle_f64x2(r[i], r[i + 4], 0x44), _mm512_shuffle_f64x2(r[i], r[i + 4], 0xee));
    AD_UNROLL for (int i = 0; i < 2; i++)
        r[i] = _mm512_add_pd(_mm512_shuffle_f64x2(r[i], r[i + 2], 0x88), _mm512_shuffle_f64x2(r[i], r[i + 2], 0xdd));
    r[0] = _mm512_add_pd(_mm512_unpacklo_pd(r[0], r[1]), _mm512_unpackhi_pd(r[0], r[1]));
    return _mm512_shuffle_f64x2(r[0], r[0], 0xd8);
}

#elif defined(__AVX2__) && defined(__FMA__)

// 4 elements of rows i, i + 4.
AD_VECTOR __m256 join_f32(const float *s, int i, int64_t rows, int64_t lds) {
    __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(s + block_row(i, rows, lds)));
    return _mm256_insertf128_ps(v, _mm_loadu_ps(s + block_row(i + 4, rows, lds)), 1);
}

AD_VECTOR void transpose_block_f32(int64_t rows, const float *s, int64_t lds, float *d, int64_t ldd) {
    for (int c = 0; c < 8; c += 4) {
        __m256 r0 = join_f32(s + c, 0, rows, lds), r1 = join_f32(s + c, 1, rows, lds);
        __m256 r2 = join_f32(s + c, 2, rows, lds), r3 = join_f32(s + c, 3, rows, lds);
        __m256d a = _mm256_castps_pd(_mm256_unpacklo_ps(r0, r1)), b = _mm256_castps_pd(_mm256_unpackhi_ps(r0, r1));
        __m256d e = _mm256_castps_pd(_mm256_unpacklo_ps(r2, r3)), f = _mm256_castps_pd(_mm256_unpackhi_ps(r2, r3));
        _mm256_storeu_ps(d + c * ldd, _mm256_castpd_ps(_mm256_unpacklo_pd(a, e)));
        _mm256_storeu_ps(d + (c + 1) * ldd, _mm256_castpd_ps(_mm256_unpackhi_pd(a, e)));
        _mm256_storeu_ps(d + (c + 2) * ldd, _mm256_castpd_ps(_mm256_unpacklo_pd(b, f)));
        _mm256_storeu_ps(d + (c + 3) * ldd, _mm256_castpd_ps(_mm256_unpackhi_pd(b, f)));
    }
}

// 2 elements of rows i, i + 2.
AD_VECTOR __m256d join_f64(const double *s, int i, int64_t rows, int64_t lds) {
    __m256d v = _mm256_castpd128_pd256(_mm_loadu_pd(s + block_row(i, rows, lds)));
    return _mm256_insertf128_pd(v, _mm_loadu_pd(s + block_row(i + 2, rows, lds)), 1);
}

AD_VECTOR void transpose_block_f64(int64_t rows, const double *s, int64_t lds, double *d, int64_t ldd) {
    for (int c = 0; c < 4; c += 2) {
        __m256d r0 = join_f64(s + c, 0, rows, lds), r1 = join_f64(s + c, 1, rows, lds);
        _mm256_storeu_pd(d + c * ldd, _mm256_unpacklo_pd(r0, r1));
        _mm256_storeu_pd(d + (c + 1) * ldd, _mm256_unpackhi_pd(r0, r1));
    }
}

AD_VECTOR vec_f32 sum_each_f32(vec_f32 r[8]) {
    AD_UNROLL for (int i = 0; i < 4; i++)
        r[i] = _mm256_add_ps(_mm256_permute2f128_ps(r[i], r[i + 4], 0x20), _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    AD_UNROLL for (int half = 2; half > 0; half /= 2) {
        AD_UNROLL for (int i = 0; i < half; i++)
            r[i] = _mm256_add_ps(_mm256_unpacklo_ps(r[i], r[i + half]), _mm256_unpackhi_ps(r[i], r[i + half]));
    }
    return r[0];
}

AD_VECTOR vec_f64 sum_each_f64(vec_f64 r[4]) {
    AD_UNROLL for (int i = 0; i < 2; i++)
        r[i] = _mm256_add_pd(_mm256_permute2f128_pd(r[i], r[i + 2], 0x20), _mm256_permute2f128_pd(r[i], r[i + 2], 0x31));
    return _mm256_add_pd(_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
}

#else

AD_VECTOR void transpose_block_f32(int64_t rows, const float *s, int64_t lds, float *d, int64_t ldd) {
    for (int j = 0; j < WIDTH_f32; j++)
        for (int i = 0; i < WIDTH_f32; i++) d[j * ldd + i] = s[block_row(i, rows, lds) + j];
}

AD_VECTOR void transpose_block_f64(int64_t rows, const double *s, int64_t lds, double *d, int64_t ldd) {
    for (int j = 0; j < WIDTH_f64; j++)
        for (int i = 0; i < WIDTH_f64; i++) d[j * ldd + i] = s[block_row(i, rows, lds) + j];
}

AD_VECTOR vec_f32 sum_each_f32(vec_f32 r[WIDTH_f32]) {
    float lanes[WIDTH_f32][WIDTH_f32], sum[WIDTH_f32];
    memcpy(lanes, r, sizeof lanes);
    for (int i = 0; i < WIDTH_f32; i++) {
        sum[i] = 0;
        for (int j = 0; j < WIDTH_f32; j++) sum[i] += lanes[i][j];
    }
    return load_f32(sum);
}

AD_VECTOR vec_f64 sum_each_f64(vec_f64 r[WIDTH_f64]) {
    double lanes[WIDTH_f64][WIDTH_f64], sum[WIDTH_f64];
    memcpy(lanes, r, sizeof lanes);
    for (int i = 0; i < WIDTH_f64; i++) {
        sum[i] = 0;
        for (int j = 0; j < WIDTH_f64; j++) sum[i] += lanes[i][j];
    }
    return load_f64(sum);
}

#endif
#endif
