// power.c -- rsqrt, pow, power; hypot for derivatives.
//
// pow is C's: NaN for negative a and b not whole, a^0 = 1 and 1^b = 1 even for NaN, otherwise NaN gives NaN. Its
// gradient in b is 0 where a is 0, whatever b, and NaN where a is negative. power rounds c to the tape's element type;
// a few c are simpler ops. rsqrt(+-0) = +-inf, NaN below.
#include <sleef.h>

#include "simd.h"
#include "slope.h"

AD_LANES1_T(rsqrt_f32, float, 1 / sqrtf(a))
AD_LANES1_T(rsqrt_f64, double, 1 / sqrt(a))

AD_INLINE vf vf_pow(vf a, vf b) { return AD_SLEEF_F32(pow)(a, b); }
AD_INLINE vd vd_pow(vd a, vd b) { return AD_SLEEF_F64(pow)(a, b); }
AD_LANES2_VF(pow_f32, vf_pow)
AD_LANES2_VD(pow_f64, vd_pow)

#define POWER_T(NAME, T, V, WIDTH)                                                         \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {         \
        T *y = vy;                                                                         \
        const T *xa = x[0];                                                                \
        const V c = V##_set((T) * (const double *)attr);                                   \
        size_t j = 0;                                                                      \
        for (; j + WIDTH <= n; j += WIDTH) V##_store(y + j, V##_pow(V##_load(xa + j), c)); \
        if (j < n) V##_store_part(y + j, V##_pow(V##_load_part(xa + j, n - j), c), n - j); \
    }
POWER_T(power_f32, float, vf, VF)
POWER_T(power_f64, double, vd, VD)

// Squares of doubles overflow: scaled by a power of 2 they do not.
AD_INLINE double hypot_scaled(double a, double b) {
    double largest = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    double down = largest > 0x1p500 ? 0x1p-600 : largest < 0x1p-400 ? 0x1p600 : 1;
    double up = largest > 0x1p500 ? 0x1p600 : largest < 0x1p-400 ? 0x1p-600 : 1;
    return sqrt((a * down) * (a * down) + (b * down) * (b * down)) * up;
}
AD_LANES2_T(hypot_f32, float, (float)sqrt((double)a *a + (double)b * b))
AD_LANES2_T(hypot_f64, double, hypot_scaled(a, b))

// ---- gradients -----------------------------------------------------------------------------------------------------

// -1/2 x^(-3/2) as y / x, since y^3 would underflow sooner.
static void rsqrt_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_div(ad_cotangent_mul(ad_scale(call->gy, -0.5), call->y), call->x[0]);
}

// gy b first: it is 0 for b = 0, where a^-1 may be infinite.
static ad_var pow_slope_a(const ad_vjp_call *call) {
    ad_var a = call->x[0], b = call->x[1];
    return ad_cotangent_mul(ad_cotangent_mul(call->gy, b), ad_pow(a, ad_offset(b, -1)));
}

// log(a), but 0 for a = 0, comes before the power, which may be infinite there.
static ad_var pow_slope_b(const ad_vjp_call *call) {
    ad_var a = call->x[0], zero = ad_number(a.tape, 0);
    ad_var log = ad_where(ad_equal(a, zero), zero, ad_log(a));
    return ad_cotangent_mul(ad_cotangent_mul(call->gy, log), call->y);
}

static void pow_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = pow_slope_a(call);
    if (call->need[1]) call->gx[1] = pow_slope_b(call);
}

// Of x^0 zero.
static void power_vjp(const ad_vjp_call *call) {
    double c = *(const double *)call->attr;
    if (c != 0) call->gx[0] = ad_cotangent_mul(ad_scale(call->gy, c), ad_power(call->x[0], c - 1));
}

static void hypot_vjp(const ad_vjp_call *call) {
    for (int i = 0; i < 2; i++)
        if (call->need[i]) call->gx[i] = ad_cotangent_mul(call->gy, ad_div(call->x[i], call->y));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#define POWER_TEST(NAME, c)                                 \
    static ad_var NAME##_test(void *arg, const ad_var *x) { \
        (void)arg;                                          \
        return ad_power(x[0], c);                           \
    }
POWER_TEST(fraction, 2.5)
POWER_TEST(negative, -1.3)
POWER_TEST(fourth, 4)
POWER_TEST(minus_two, -2)
POWER_TEST(constant, 0)

// Negative bases, with exponents that are whole and known.
static ad_var whole_exponent_test(void *arg, const ad_var *x) {
    (void)arg;
    const double exponents[] = {0, 1, 3};
    return ad_pow(x[0], ad_constant(x[0].tape, ad_shape1(3), exponents));
}

static const ad_op_test positive_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.3, .high = 3}}}};
static const ad_op_test pow_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.4, .high = 2}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}, .low = 0.4, .high = 2}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 2}}, .low = 0.4, .high = 2}, {.shape = {0, {0}}}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = whole_exponent_test},
};
static const ad_op_test power_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.3, .high = 3}}, .f = fraction_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 0.4, .high = 3}}, .f = negative_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = fourth_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .low = -2, .high = -0.5}}, .f = minus_two_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = constant_test},
};
static const ad_op_test hypot_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.3, .high = 2}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, {.shape = {1, {3}}, .rows = true, .low = -2, .high = -0.5}}},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured (tests/test_kernels.c), rsqrt on every 1021st float.

enum { PLAIN = AD_OP_ELEMENTWISE, CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP };

static const ad_op rsqrt_op = {
    .name = "rsqrt", .flags = CHEAP, .vjp = rsqrt_vjp, AD_KERNELS(rsqrt), .ulp = {1.5, 1.5}, AD_TESTS(positive_tests)};
static const ad_op pow_op = {
    .name = "pow", .flags = PLAIN, .vjp = pow_vjp, AD_KERNELS(pow), .ulp = {1, 1}, AD_TESTS(pow_tests)};
static const ad_op power_op = {
    .name = "power", .flags = PLAIN, .vjp = power_vjp, AD_KERNELS(power), .ulp = {1, 1}, AD_TESTS(power_tests)};
static const ad_op hypot_op = {
    .name = "hypot", .flags = CHEAP, .vjp = hypot_vjp, AD_KERNELS(hypot), .ulp = {1, 1.5}, AD_TESTS(hypot_tests)};

AD_FAMILY(power) = {&rsqrt_op, &pow_op, &power_op, &hypot_op, NULL};

#if AD_ISA_BASE

ad_var ad_rsqrt(ad_var x) { return ad_apply(&rsqrt_op, &x, 1, NULL, 0); }

ad_var ad_pow(ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(&pow_op, x, 2, NULL, 0);
}

ad_var ad_hypot(ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(&hypot_op, x, 2, NULL, 0);
}

ad_var ad_power(ad_var x, double c) {
    if (c == 0.5) return ad_sqrt(x);
    if (c == -0.5) return ad_rsqrt(x);
    if (c == 1) return x;
    if (c == 2) return ad_square(x);
    if (c == 3) return ad_mul(ad_square(x), x);
    if (c == -1) return ad_reciprocal(x);
    return ad_apply(&power_op, &x, 1, &c, sizeof c);
}

#endif
