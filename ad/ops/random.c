// random.c -- random numbers as leaves: functions of seed, step, stream, row and element alone.
//
// Element 4e+j of row r is made of Philox's output words for
//     counter = (e, low r, stream ^ (high r * W), low step),  key = (low seed, high seed ^ (high step * W)),
// low and high the 32-bit halves, W = 0x9E3779B9 odd: below 2^32 rows and steps this is (e, r, stream, step) and the
// seed, and beyond them counters still repeat only across streams or seeds that differ in just those bits. A uniform
// number is u = (word j + 1/2) 2^-32. Normal numbers come in pairs from words (0, 1) and (2, 3), by Box and Muller
// (1958): sqrt(-2 log u) times cos and sin of 2 pi u', u and u' of the pair's words. The others invert their
// distribution function at u: exponential -log u, logistic 2 atanh(2u - 1) = log(u / (1-u)), Gumbel -log(-log u),
// Rademacher the sign of u - 1/2. All is computed in f64, where u and 2u - 1 are exact, so that both tails go as far as
// 2^-33 does, and rounded at the end: an f32 tape sees the f64 tape's numbers rounded.
#include <sleef.h>
#include <string.h>

#include "philox.h"
#include "simd.h"

#if defined(AD_SIMD_AVX512)
typedef Sleef___m512d_2 sin_cos;
#define SIN_COS_PI Sleef_sincospid8_u35avx512f
#elif defined(AD_SIMD_AVX2)
typedef Sleef___m256d_2 sin_cos;
#define SIN_COS_PI Sleef_sincospid4_u35avx2
#else
typedef Sleef_double2 sin_cos;
#define SIN_COS_PI Sleef_sincospi_u35
#endif

enum { LANES = PHILOX_LANES };

typedef struct random_attr {  // without padding
    ad_shape shape;
    uint32_t stream;
} random_attr;
_Static_assert(sizeof(random_attr) == sizeof(ad_shape) + sizeof(uint32_t), "attributes are hashed as bytes");

static bool random_shape(ad_shape_call *call) {
    call->y = ((const random_attr *)call->attr)->shape;
    return true;
}

// The bits of elements 4e .. 4e+3 for the lanes from r0 on; lanes beyond the last row repeat it.
static void fill_bits(const ad_kernel *k, int64_t e, int r0, philox_block *b) {
    const ad_random *random = k->slot;
    const uint32_t W = 0x9E3779B9u, stream = ((const random_attr *)k->attr)->stream;
    for (int l = 0; l < LANES; l++) {
        int lane = r0 + l < k->live ? r0 + l : k->live - 1;
        uint64_t row = (uint64_t)(k->first_row + lane);
        b->word[0][l] = (uint32_t)e;
        b->word[1][l] = (uint32_t)row;
        b->word[2][l] = stream ^ (uint32_t)(row >> 32) * W;
        b->word[3][l] = (uint32_t)random->step;
    }
    philox4x32_10(b, (uint32_t)random->seed, (uint32_t)(random->seed >> 32) ^ (uint32_t)(random->step >> 32) * W);
}

// (word + 1/2) scale, exact. The detour over int32_t is the conversion that all instruction sets have.
static void to_unit(const uint32_t *word, double scale, double *u) {
    for (int l = 0; l < LANES; l++) u[l] = ((double)(int32_t)(word[l] ^ 0x80000000u) + 2147483648.5) * scale;
}

static void uniform_block(const philox_block *b, double z[4][LANES]) {
    for (int j = 0; j < 4; j++) to_unit(b->word[j], 0x1p-32, z[j]);
}

static void normal_block(const philox_block *b, double z[4][LANES]) {
    for (int j = 0; j < 4; j += 2) {
        double u[LANES], turn[LANES], log_u[LANES];
        to_unit(b->word[j], 0x1p-32, u);
        to_unit(b->word[j + 1], 0x1p-31, turn);  // 2 u', in units of pi
        for (int l = 0; l < LANES; l += VD) {
            sin_cos w = SIN_COS_PI(vd_load(turn + l));
            vd_store(log_u + l, AD_SLEEF_F64(log)(vd_load(u + l)));
            vd_store(z[j] + l, w.y);
            vd_store(z[j + 1] + l, w.x);
        }
        for (int l = 0; l < LANES; l++) {
            double radius = sqrt(-2 * log_u[l]);
            z[j][l] *= radius;
            z[j + 1][l] *= radius;
        }
    }
}

static void exponential_block(const philox_block *b, double z[4][LANES]) {
    uniform_block(b, z);
    for (int j = 0; j < 4; j++)
        for (int l = 0; l < LANES; l += VD) vd_store(z[j] + l, -AD_SLEEF_F64(log)(vd_load(z[j] + l)));
}

static void gumbel_block(const philox_block *b, double z[4][LANES]) {
    exponential_block(b, z);
    for (int j = 0; j < 4; j++)
        for (int l = 0; l < LANES; l += VD) vd_store(z[j] + l, -AD_SLEEF_F64(log)(vd_load(z[j] + l)));
}

static void logistic_block(const philox_block *b, double z[4][LANES]) {
    for (int j = 0; j < 4; j++) {
        to_unit(b->word[j], 0x1p-31, z[j]);
        for (int l = 0; l < LANES; l += VD) {
            vd y = AD_SLEEF_F64(atanh)(vd_load(z[j] + l) - vd_set(1));
            vd_store(z[j] + l, y + y);
        }
    }
}

static void rademacher_block(const philox_block *b, double z[4][LANES]) {
    for (int j = 0; j < 4; j++)
        for (int l = 0; l < LANES; l++) z[j][l] = b->word[j][l] >> 31 ? 1 : -1;
}

static void store_f32(const ad_kernel *k, int64_t f, int r0, int n, const double *z) {
    float *y = (float *)k->y + f * k->R + r0;
    for (int l = 0; l < n; l++) y[l] = (float)z[l];
}

// Numbers that would round to 1 stay below it.
static void store_below_one_f32(const ad_kernel *k, int64_t f, int r0, int n, const double *z) {
    float *y = (float *)k->y + f * k->R + r0;
    for (int l = 0; l < n; l++) {
        float u = (float)z[l];
        y[l] = u < 0x1.fffffep-1f ? u : 0x1.fffffep-1f;
    }
}

static void store_f64(const ad_kernel *k, int64_t f, int r0, int n, const double *z) {
    memcpy((double *)k->y + f * k->R + r0, z, (size_t)n * sizeof *z);
}

AD_INLINE void random_run(const ad_kernel *k, void (*make)(const philox_block *b, double z[4][LANES]),
                          void (*store)(const ad_kernel *k, int64_t f, int r0, int n, const double *z)) {
    int64_t count = ad_shape_count(*k->shape);
    for (int64_t f = 0; f < count; f += 4)
        for (int r0 = 0; r0 < k->R; r0 += LANES) {
            philox_block b;
            double z[4][LANES];
            int n = k->R - r0 < LANES ? k->R - r0 : LANES;
            fill_bits(k, f / 4, r0, &b);
            make(&b, z);
            for (int j = 0; j < 4 && f + j < count; j++) store(k, f + j, r0, n, z[j]);
        }
}

static void uniform_f32(const ad_kernel *k) { random_run(k, uniform_block, store_below_one_f32); }
static void uniform_f64(const ad_kernel *k) { random_run(k, uniform_block, store_f64); }
static void normal_f32(const ad_kernel *k) { random_run(k, normal_block, store_f32); }
static void normal_f64(const ad_kernel *k) { random_run(k, normal_block, store_f64); }
static void exponential_f32(const ad_kernel *k) { random_run(k, exponential_block, store_f32); }
static void exponential_f64(const ad_kernel *k) { random_run(k, exponential_block, store_f64); }
static void logistic_f32(const ad_kernel *k) { random_run(k, logistic_block, store_f32); }
static void logistic_f64(const ad_kernel *k) { random_run(k, logistic_block, store_f64); }
static void gumbel_f32(const ad_kernel *k) { random_run(k, gumbel_block, store_f32); }
static void gumbel_f64(const ad_kernel *k) { random_run(k, gumbel_block, store_f64); }
static void rademacher_f32(const ad_kernel *k) { random_run(k, rademacher_block, store_f32); }
static void rademacher_f64(const ad_kernel *k) { random_run(k, rademacher_block, store_f64); }

// ---- the ops ----

#if AD_ISA_BASE
static const ad_random test_random = {.seed = 7, .step = 3};

static ad_var times_uniform(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_uniform(ad_rows_of(x[0]), ad_shape1(5), &test_random, 1));
}
static ad_var times_normal(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_normal(ad_rows_of(x[0]), ad_shape1(5), &test_random, 2));
}
static ad_var times_exponential(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_exponential(ad_rows_of(x[0]), ad_shape1(5), &test_random, 3));
}
static ad_var times_logistic(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_logistic(ad_rows_of(x[0]), ad_shape1(5), &test_random, 4));
}
static ad_var times_gumbel(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_gumbel(ad_rows_of(x[0]), ad_shape1(5), &test_random, 5));
}
static ad_var times_rademacher(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_rademacher(ad_rows_of(x[0]), ad_shape1(5), &test_random, 6));
}
static const ad_op_test uniform_tests[] = {{.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_uniform}};
static const ad_op_test normal_tests[] = {{.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_normal}};
static const ad_op_test exponential_tests[] = {
    {.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_exponential}};
static const ad_op_test logistic_tests[] = {{.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_logistic}};
static const ad_op_test gumbel_tests[] = {{.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_gumbel}};
static const ad_op_test rademacher_tests[] = {
    {.n = 1, .x = {{.shape = {1, {5}}, .rows = true}}, .f = times_rademacher}};
#define ONE_TEST(list) .tests = list, .n_tests = 1
#else
#define ONE_TEST(list) .tests = NULL
#endif

static const ad_op uniform_op = {
    .name = "uniform", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {uniform_f32, uniform_f64}, .ulp = {1, 0}, ONE_TEST(uniform_tests)};

// f64: log (1 ulp, halved by the root), root, sine (3.5) and product.
static const ad_op normal_op = {
    .name = "normal", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {normal_f32, normal_f64}, .ulp = {1, 5}, ONE_TEST(normal_tests)};

static const ad_op exponential_op = {
    .name = "exponential", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {exponential_f32, exponential_f64}, .ulp = {0.51, 1}, ONE_TEST(exponential_tests)};
static const ad_op logistic_op = {
    .name = "logistic", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {logistic_f32, logistic_f64}, .ulp = {0.51, 1}, ONE_TEST(logistic_tests)};
// Of numbers below 1: in units of the last place of 1.
static const ad_op gumbel_op = {
    .name = "gumbel", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {gumbel_f32, gumbel_f64}, .ulp = {1, 2}, ONE_TEST(gumbel_tests)};
static const ad_op rademacher_op = {
    .name = "rademacher", .flags = AD_OP_CHEAP | AD_OP_CONSTANT, .shape = random_shape,
    .kernel = {rademacher_f32, rademacher_f64}, ONE_TEST(rademacher_tests)};

AD_FAMILY(random) = {&uniform_op, &normal_op, &exponential_op, &logistic_op, &gumbel_op, &rademacher_op, NULL};

#if AD_ISA_BASE
#include "../internal.h"

static ad_var record(const ad_op *op, ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    char text[64];
    random_attr attr = {.shape = shape, .stream = stream};
    if (!rows.tape) return ad_none();
    if (!random) {
        ad_tape_fail(rows.tape, AD_EARG, "ad_%s: random is NULL, expected a seed and step", op->name);
    } else if (ad_shape_count(shape) < 1) {
        ad_tape_fail(rows.tape, AD_ESHAPE, "ad_%s: shape %s has no elements, or too many", op->name,
                     ad_shape_print(shape, text, sizeof text));
    } else {
        return ad_record_leaf(rows.tape, rows, op, &attr, sizeof attr, random);
    }
    return ad_inert(rows.tape);
}

ad_var ad_uniform(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&uniform_op, rows, shape, random, stream);
}

ad_var ad_normal(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&normal_op, rows, shape, random, stream);
}

ad_var ad_exponential(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&exponential_op, rows, shape, random, stream);
}

ad_var ad_logistic(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&logistic_op, rows, shape, random, stream);
}

ad_var ad_gumbel(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&gumbel_op, rows, shape, random, stream);
}

ad_var ad_rademacher(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream) {
    return record(&rademacher_op, rows, shape, random, stream);
}

// The largest of logits plus independent Gumbel numbers (Gumbel 1954; Maddison, Tarlow and Minka 2014).
ad_var ad_categorical(ad_var logits, ad_rows rows, const ad_random *random, uint32_t stream) {
    if (!ad_check_var(logits, "ad_categorical")) return ad_inert(logits.tape);
    ad_shape shape = ad_shape_of(logits);
    if (shape.rank > 0 && shape.dim[shape.rank - 1] > 0)
        return ad_argmax(ad_add(logits, ad_gumbel(rows, shape, random, stream)), -1);
    char text[64];
    ad_tape_fail(logits.tape, AD_ESHAPE, "ad_categorical: logits of shape %s have no last axis to draw from",
                 ad_shape_print(shape, text, sizeof text));
    return ad_inert(logits.tape);
}

// where rather than a product with the mask: what is dropped is 0 and has a gradient of 0 even if it is infinite.
ad_var ad_dropout(ad_var x, double p, const ad_random *random, uint32_t stream) {
    if (!ad_check_var(x, "ad_dropout")) return ad_inert(x.tape);
    if (!(p >= 0 && p < 1)) {
        ad_tape_fail(x.tape, AD_EARG, "ad_dropout: p is %g, expected 0 <= p < 1", p);
    } else if (!ad_has_rows(x)) {
        ad_tape_fail(x.tape, AD_EARG, "ad_dropout: x is shared, expected one value per row (ad_to_rows)");
    } else if (!ad_is_training(x.tape) || p == 0 || ad_shape_count(ad_shape_of(x)) == 0) {
        return x;
    } else {
        ad_var kept = ad_greater(ad_uniform(ad_rows_of(x), ad_shape_of(x), random, stream), ad_number(x.tape, p));
        return ad_where(kept, ad_scale(x, 1 / (1 - p)), ad_number(x.tape, 0));
    }
    return ad_inert(x.tape);
}
#endif
