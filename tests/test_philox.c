// test_philox.c -- white box: random number kernels of every instruction set this machine has: the generator against
// published answers, layout, ranges, distributions, independence of blocking.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op.h"
#include "ops/philox.h"

#if defined(__has_include)
#if __has_include(<Random123/philox.h>)
#include <Random123/philox.h>
#define HAVE_RANDOM123 1
#endif
#endif

extern const ad_op *const ad_family_random_plain[];
#if defined(__x86_64__)
extern const ad_op *const ad_family_random_avx2[], *const ad_family_random_avx512[];
#endif

// The families this machine can run; returns how many.
static int families(const ad_op *const *out[3]) {
    int n = 0;
    out[n++] = ad_family_random_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out[n++] = ad_family_random_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        out[n++] = ad_family_random_avx512;
#endif
    return n;
}

static const ad_op *op_of(const ad_op *const *family, const char *name) {
    while (strcmp((*family)->name, name) != 0) family++;
    return *family;
}

// As random.c lays out its attributes.
typedef struct attributes {
    ad_shape shape;
    uint32_t stream;
} attributes;

// A block of R lanes, live of them rows, from global row `row`; y is [features][R].
typedef struct block {
    int features;
    int R, live;
    int64_t row;
    uint32_t stream;
    ad_random random;
} block;

static void run(const ad_op *op, ad_type type, const block *b, void *y) {
    attributes attr = {.shape = {1, {b->features}}, .stream = b->stream};
    ad_kernel k = {.R = b->R, .live = b->live, .first_row = b->row, .y = y, .shape = &attr.shape, .attr = &attr,
                   .slot = &b->random};
    op->kernel[type](&k);
}

static void counted_words(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    philox_block b;
    for (int l = 0; l < PHILOX_LANES; l++)
        for (int j = 0; j < 4; j++) b.word[j][l] = counter[j];
    philox4x32_10(&b, key[0], key[1]);
    for (int j = 0; j < 4; j++) out[j] = b.word[j][PHILOX_LANES - 1];
}

// Random123's kat_vectors for philox4x32-10.
static void test_known_answers(void **state) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t words[4];
        counted_words(known[i].counter, known[i].key, words);
        assert_memory_equal(words, known[i].answer, sizeof words);
    }
}

static void test_random123(void **state) {
    (void)state;
#ifdef HAVE_RANDOM123
    uint32_t seed = 1;
    for (int i = 0; i < 10000; i++) {
        uint32_t in[6], words[4];
        for (int j = 0; j < 6; j++) in[j] = seed = seed * 1664525u + 1013904223u;
        philox4x32_ctr_t counter = {{in[0], in[1], in[2], in[3]}};
        philox4x32_key_t key = {{in[4], in[5]}};
        philox4x32_ctr_t expected = philox4x32(counter, key);
        counted_words(in, in + 4, words);
        assert_memory_equal(words, expected.v, sizeof words);
    }
#else
    skip();
#endif
}

// Element 4e+j of row r is word j of the counter (e, low r, stream ^ high r W, low step), with the seed as key.
static void test_counter_layout(void **state) {
    (void)state;
    const block b = {.features = 7, .R = 32, .live = 32, .row = 0x500000003, .stream = 9,
                     .random = {.seed = 0x0123456789abcdef, .step = 0x200000011}};
    double y[7 * 32];
    run(op_of(ad_family_random_plain, "uniform"), AD_F64, &b, y);
    for (uint32_t f = 0; f < 7; f++)
        for (uint32_t r = 0; r < 32; r++) {
            uint32_t counter[4] = {f / 4, 3 + r, 9 ^ 5 * 0x9E3779B9u, 0x11}, words[4];
            uint32_t key[2] = {0x89abcdef, 0x01234567 ^ 2 * 0x9E3779B9u};
            counted_words(counter, key, words);
            assert_true(y[f * 32 + r] == (words[f % 4] + 0.5) * 0x1p-32);
        }
}

// Row by row the same bits for blocks of 32, 64 and 256, of 1, and starting anywhere.
static void same_for_any_blocking(const ad_op *op, ad_type type) {
    enum { ROWS = 256, FEATURES = 6 };
    size_t size = type == AD_F64 ? 8 : 4;
    static const int sizes[] = {16, 32, 64, 1};
    char *whole = malloc(ROWS * FEATURES * 8), *part = malloc(ROWS * FEATURES * 8);
    block b = {.features = FEATURES, .R = ROWS, .live = ROWS, .row = 1000, .stream = 1, .random = {.seed = 5}};
    run(op, type, &b, whole);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        b.R = b.live = sizes[i];
        for (int r0 = 0; r0 + b.R <= ROWS; r0 += b.R) {
            b.row = 1000 + r0;
            run(op, type, &b, part);
            for (int f = 0; f < FEATURES; f++)
                assert_memory_equal(part + size * (size_t)(f * b.R), whole + size * (size_t)(f * ROWS + r0),
                                    size * (size_t)b.R);
        }
    }
    free(whole);
    free(part);
}

static void test_blocking(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int i = families(family) - 1; i >= 0; i--)
        for (const ad_op *const *op = family[i]; *op; op++) {
            same_for_any_blocking(*op, AD_F32);
            same_for_any_blocking(*op, AD_F64);
        }
}

static void test_dead_lanes_repeat_the_last_row(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int i = families(family) - 1; i >= 0; i--) {
        double y[3 * 64];
        const block b = {.features = 3, .R = 64, .live = 5, .random = {.seed = 2}};
        run(op_of(family[i], "normal"), AD_F64, &b, y);
        for (int f = 0; f < 3; f++)
            for (int r = 5; r < 64; r++) assert_true(y[f * 64 + r] == y[f * 64 + 4]);
    }
}

// Each of seed, step, stream and row changes the numbers.
static void test_every_coordinate_counts(void **state) {
    (void)state;
    const ad_op *op = op_of(ad_family_random_plain, "normal");
    const block base = {.features = 4, .R = 1, .live = 1, .row = 1, .stream = 1, .random = {1, 1}};
    block other[6] = {base, base, base, base, base, base};
    other[0].random.seed = 2, other[1].random.seed = 1 + (1ull << 32), other[2].random.step = 2;
    other[3].random.step = 1 + (1ull << 32), other[4].stream = 2, other[5].row = 1 + (1ll << 32);
    double y[4], z[4];
    run(op, AD_F64, &base, y);
    for (int i = 0; i < 6; i++) {
        run(op, AD_F64, &other[i], z);
        for (int j = 0; j < 4; j++) assert_true(y[j] != z[j]);
    }
}

enum { ROWS = 1024, FEATURES = 101, COUNT = ROWS * FEATURES };

static double *many(const ad_op *op) {
    double *y = malloc(COUNT * sizeof *y);
    const block b = {.features = FEATURES, .R = ROWS, .live = ROWS, .stream = 3, .random = {.seed = 11, .step = 4}};
    run(op, AD_F64, &b, y);
    return y;
}

// Distance in units of the last place of a float of b's size.
static double ulps_f32(double a, double b) {
    return fabs(a - b) / ldexp(1, ilogb(b) - 23);
}

// f32 numbers are the rounded f64 ones: half an ulp, and a little for double rounding.
static void test_f32_rounds_f64(void **state) {
    const ad_op *const *family[3];
    (void)state;
    for (int i = families(family) - 1; i >= 0; i--) {
        const ad_op *op = op_of(family[i], "normal");
        float *y = malloc(COUNT * sizeof *y);
        double *z = many(op);
        const block b = {.features = FEATURES, .R = ROWS, .live = ROWS, .stream = 3, .random = {.seed = 11, .step = 4}};
        run(op, AD_F32, &b, y);
        for (int j = 0; j < COUNT; j++) assert_true(ulps_f32(y[j], z[j]) <= 0.5001);
        free(y);
        free(z);
    }
}

// Normal numbers are Box and Muller's of the uniform ones, on every path.
static void test_box_muller(void **state) {
    const ad_op *const *family[3];
    const double two_pi = 6.283185307179586477;
    (void)state;
    for (int i = families(family) - 1; i >= 0; i--) {
        double *u = many(op_of(ad_family_random_plain, "uniform")), *z = many(op_of(family[i], "normal"));
        for (int f = 0; f + 1 < FEATURES; f += 2)
            for (int r = 0; r < ROWS; r++) {
                double radius = sqrt(-2 * log(u[f * ROWS + r])), angle = two_pi * u[(f + 1) * ROWS + r];
                assert_true(fabs(z[f * ROWS + r] - radius * cos(angle)) <= 1e-14);
                assert_true(fabs(z[(f + 1) * ROWS + r] - radius * sin(angle)) <= 1e-14);
            }
        free(u);
        free(z);
    }
}

// Words 0 and 2^32 - 1 cannot be asked for, but a million numbers come close enough to 1 to round there if let.
static void test_uniform_f32_is_inside_the_interval(void **state) {
    const ad_op *const *family[3];
    enum { R = 4096, F = 4096 };
    (void)state;
    float *y = malloc(sizeof *y * R * F);
    for (int i = families(family) - 1; i >= 0; i--) {
        const block b = {.features = F, .R = R, .live = R, .random = {.seed = 1}};
        float low = 1, high = 0;
        run(op_of(family[i], "uniform"), AD_F32, &b, y);
        for (int j = 0; j < R * F; j++) low = fminf(low, y[j]), high = fmaxf(high, y[j]);
        assert_true(low > 0 && low < 0x1p-20f);
        assert_true(high < 1 && high > 1 - 0x1p-20f);
    }
    free(y);
}

// Upper point of chi-square with n degrees of freedom at 4.75 standard deviations, p = 1e-6 (Wilson and Hilferty 1931).
static double chi_square_limit(int n) {
    double h = 2.0 / (9.0 * n);
    return n * pow(1 - h + 4.75 * sqrt(h), 3);
}

static double chi_square(const double *cell, int n, double expected) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (cell[i] - expected) * (cell[i] - expected) / expected;
    return sum;
}

// Cells of equal probability for numbers in (0,1), one by one and for pairs of neighbours in feature and in row.
static void assert_uniform(const double *u) {
    double one[256] = {0}, by_feature[32 * 32] = {0}, by_row[32 * 32] = {0};
    int features = FEATURES - 1, pairs = features * ROWS / 2;
    for (int f = 0; f < features; f++)
        for (int r = 0; r < ROWS; r++) {
            const double *x = u + f * ROWS + r;
            one[(int)(x[0] * 256)]++;
            if (f % 2 == 0) by_feature[(int)(x[0] * 32) * 32 + (int)(x[ROWS] * 32)]++;
            if (r % 2 == 0) by_row[(int)(x[0] * 32) * 32 + (int)(x[1] * 32)]++;
        }
    assert_true(chi_square(one, 256, 2 * pairs / 256.0) < chi_square_limit(255));
    assert_true(chi_square(by_feature, 1024, pairs / 1024.0) < chi_square_limit(1023));
    assert_true(chi_square(by_row, 1024, pairs / 1024.0) < chi_square_limit(1023));
}

static void test_uniform_distribution(void **state) {
    (void)state;
    double *u = many(op_of(ad_family_random_plain, "uniform"));
    assert_uniform(u);
    free(u);
}

static void test_normal_distribution(void **state) {
    (void)state;
    double *z = many(op_of(ad_family_random_plain, "normal"));
    for (int i = 0; i < COUNT; i++) z[i] = 0.5 * erfc(-z[i] / sqrt(2));
    assert_uniform(z);
    free(z);
}

// Moments 1 to 4 within 4.9 standard errors: those of z^m are sqrt((2m-1)!! - ((m-1)!!)^2 [m even]) / sqrt(n).
static void test_normal_moments(void **state) {
    (void)state;
    static const double mean[] = {0, 1, 0, 3}, deviation[] = {1, 1.41421356, 3.87298335, 9.79795897};
    double *z = many(op_of(ad_family_random_plain, "normal"));
    for (int m = 1; m <= 4; m++) {
        double sum = 0;
        for (int i = 0; i < COUNT; i++) sum += pow(z[i], m);
        assert_true(fabs(sum / COUNT - mean[m - 1]) < 4.9 * deviation[m - 1] / sqrt(COUNT));
    }
    free(z);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_random123),
        cmocka_unit_test(test_counter_layout),
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_dead_lanes_repeat_the_last_row),
        cmocka_unit_test(test_every_coordinate_counts),
        cmocka_unit_test(test_f32_rounds_f64),
        cmocka_unit_test(test_box_muller),
        cmocka_unit_test(test_uniform_f32_is_inside_the_interval),
        cmocka_unit_test(test_uniform_distribution),
        cmocka_unit_test(test_normal_distribution),
        cmocka_unit_test(test_normal_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
