// hyperbolic.c -- sinh, cosh, asinh, acosh, atanh.
//
// NaN gives NaN. sinh and cosh overflow where their values do, asinh and acosh nowhere. acosh is NaN below 1, atanh
// outside [-1, 1]; atanh(+-1) = +-inf.
#include <sleef.h>

#include "simd.h"
#include "slope.h"

// SLEEF's sinh and cosh overflow where e^|x| does, which is log(2) early; its asinh and acosh where x^2 does, and asinh
// underflows to 0 early. Above `large` the first two are c e^(|x| - r) (1 + d), r = log(2 c) + d such that |x| - r is
// exact; above `huge` the others are log(x) + log(2), below `small` asinh is x.
#define GUARDED(V, SLEEF, large, r, d, c, huge, log2, small)                                         \
    AD_INLINE V V##_half_exp(V a) {                                                                  \
        V e = SLEEF(exp)(a - V##_set(r));                                                            \
        return (e + e * V##_set(d)) * V##_set(c);                                                    \
    }                                                                                                \
    AD_INLINE V V##_sinh(V x) {                                                                      \
        V y = SLEEF(sinh)(x), a = V##_abs(x), limit = V##_set(large);                                \
        if (V##_any_less(limit, a)) y = V##_if_less(limit, a, V##_copysign(V##_half_exp(a), x), y);  \
        return y;                                                                                    \
    }                                                                                                \
    AD_INLINE V V##_cosh(V x) {                                                                      \
        V y = SLEEF(cosh)(x), a = V##_abs(x), limit = V##_set(large);                                \
        if (V##_any_less(limit, a)) y = V##_if_less(limit, a, V##_half_exp(a), y);                   \
        return y;                                                                                    \
    }                                                                                                \
    AD_INLINE V V##_log_twice(V a) { return SLEEF(log)(a) + V##_set(log2); }                         \
    AD_INLINE V V##_asinh(V x) {                                                                     \
        V a = V##_abs(x), limit = V##_set(huge);                                                     \
        V y = V##_if_less(a, V##_set(small), x, SLEEF(asinh)(x));                                    \
        if (V##_any_less(limit, a)) y = V##_if_less(limit, a, V##_copysign(V##_log_twice(a), x), y); \
        return y;                                                                                    \
    }                                                                                                \
    AD_INLINE V V##_acosh(V x) {                                                                     \
        V y = SLEEF(acosh)(x), limit = V##_set(huge);                                                \
        if (V##_any_less(limit, x)) y = V##_if_less(limit, x, V##_log_twice(x), y);                  \
        return y;                                                                                    \
    }                                                                                                \
    AD_INLINE V V##_atanh(V x) { return SLEEF(atanh)(x); }

GUARDED(vf, AD_SLEEF_F32, 88, 0x1.62e43p+5f, 0x1.05c610p-23f, 0x1p63f, 0x1p50f, 0x1.62e43p-1f, 0x1p-20f)
GUARDED(vd, AD_SLEEF_F64, 709, 0x1.62e42fefa39f0p+8, 0x1.950d871319ff0p-45, 0x1p511, 0x1p500, 0x1.62e42fefa39efp-1,
        0x1p-40)

#define LANES(NAME)                    \
    AD_LANES_VF(NAME##_f32, vf_##NAME) \
    AD_LANES_VD(NAME##_f64, vd_##NAME)
LANES(sinh)
LANES(cosh)
LANES(asinh)
LANES(acosh)
LANES(atanh)

// ---- gradients -----------------------------------------------------------------------------------------------------

static void sinh_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_cosh(call->x[0])); }

static void cosh_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_sinh(call->x[0])); }

static void asinh_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0];
    call->gx[0] = ad_cotangent_div(call->gy, ad_hypot(x, ad_number(x.tape, 1)));
}

// 1 / (sqrt(x - 1) sqrt(x + 1)): the square of x may overflow.
static void acosh_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0], roots = ad_mul(ad_sqrt(ad_offset(x, -1)), ad_sqrt(ad_offset(x, 1)));
    call->gx[0] = ad_cotangent_div(call->gy, roots);
}

static void atanh_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_div(call->gy, ad_one_minus_square(call->x[0]));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -3, .high = 3}}},
};
static const ad_op_test acosh_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 1.2, .high = 4}}}};
static const ad_op_test atanh_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -0.85, .high = 0.85}}}};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured: f32 on every 1021st float or more, f64 on some hundred thousand numbers.

enum { PLAIN = AD_OP_ELEMENTWISE };

static const ad_op sinh_op = {
    .name = "sinh", .flags = PLAIN, .vjp = sinh_vjp, AD_KERNELS(sinh), .ulp = {1.4, 1.4}, AD_TESTS(smooth_tests)};
static const ad_op cosh_op = {
    .name = "cosh", .flags = PLAIN, .vjp = cosh_vjp, AD_KERNELS(cosh), .ulp = {1.4, 1.4}, AD_TESTS(smooth_tests)};
static const ad_op asinh_op = {
    .name = "asinh", .flags = PLAIN, .vjp = asinh_vjp, AD_KERNELS(asinh), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op acosh_op = {
    .name = "acosh", .flags = PLAIN, .vjp = acosh_vjp, AD_KERNELS(acosh), .ulp = {1, 1}, AD_TESTS(acosh_tests)};
static const ad_op atanh_op = {
    .name = "atanh", .flags = PLAIN, .vjp = atanh_vjp, AD_KERNELS(atanh), .ulp = {1.1, 1.1}, AD_TESTS(atanh_tests)};

AD_FAMILY(hyperbolic) = {&sinh_op, &cosh_op, &asinh_op, &acosh_op, &atanh_op, NULL};

#if AD_ISA_BASE

ad_var ad_sinh(ad_var x) { return ad_apply(&sinh_op, &x, 1, NULL, 0); }
ad_var ad_cosh(ad_var x) { return ad_apply(&cosh_op, &x, 1, NULL, 0); }
ad_var ad_asinh(ad_var x) { return ad_apply(&asinh_op, &x, 1, NULL, 0); }
ad_var ad_acosh(ad_var x) { return ad_apply(&acosh_op, &x, 1, NULL, 0); }
ad_var ad_atanh(ad_var x) { return ad_apply(&atanh_op, &x, 1, NULL, 0); }

#endif
