// trigonometric.c -- sin, cos, tan, asin, acos, atan, atan2.
//
// NaN gives NaN. sin, cos and tan are right for every finite x, however large, and NaN for infinite x; asin and acos
// are NaN outside [-1, 1]. atan2(y, x) is C's, infinite and zero operands included (atan2(0, 0) = 0); its gradient is 0
// at the origin, where there is none, and NaN in y where x is infinite, in x where y is.
#include <sleef.h>

#include "simd.h"
#include "slope.h"

// Two things SLEEF does that the engine must not. It reduces all elements of a vector as the largest one needs it, and
// the ways (below `few`, below `many`, and the rest) differ in last bits: here each vector holds elements of one kind,
// the others in the first being 0. And with denormals flushed it loses numbers near the smallest normal ones: below
// `small` sin and tan are x.
#define PERIODIC(V, NAME, SLEEF, small, few, many)                                                  \
    AD_INLINE V V##_##NAME(V x) {                                                                   \
        const V first = V##_set(few), second = V##_set(many);                                       \
        V a = V##_abs(x), y = SLEEF(NAME)(V##_if_less(a, first, x, V##_set(0)));                    \
        if (!V##_all_less(a, first)) {                                                              \
            V middle = SLEEF(NAME)(V##_if_less(a, first, first, V##_if_less(a, second, x, first))); \
            V large = SLEEF(NAME)(V##_if_less(a, second, second, x));                               \
            y = V##_if_less(a, first, y, V##_if_less(a, second, middle, large));                    \
        }                                                                                           \
        return V##_if_less(a, V##_set(small), x, y);                                                \
    }
// In f32 those beyond `few` go through f64: with denormals flushed SLEEF's reduction of large floats loses digits, 2.3 ulp
// at 0x1.feb852p+84.
#define PERIODIC_F32(NAME, small)                                                     \
    AD_INLINE vf vf_##NAME(vf x) {                                                    \
        const vf few = vf_set(125);                                                   \
        vf a = vf_abs(x), y = AD_SLEEF_F32(NAME)(vf_if_less(a, few, x, vf_set(0)));   \
        if (!vf_all_less(a, few)) {                                                   \
            vf far = vf_join(vd_##NAME(vd_low(x)), vd_##NAME(vd_high(x)));            \
            y = vf_if_less(a, few, y, far);                                           \
        }                                                                             \
        return vf_if_less(a, vf_set(small), x, y);                                    \
    }
#define ANGLE(V, NAME, SLEEF) \
    AD_INLINE V V##_##NAME(V x) { return SLEEF(NAME)(x); }

PERIODIC(vd, sin, AD_SLEEF_F64, 0x1p-40, 15, 1e14)
PERIODIC(vd, cos, AD_SLEEF_F64, 0, 15, 1e14)
PERIODIC(vd, tan, AD_SLEEF_F64, 0x1p-40, 15, 1e14)
ANGLE(vd, asin, AD_SLEEF_F64)
ANGLE(vd, acos, AD_SLEEF_F64)
ANGLE(vd, atan, AD_SLEEF_F64)

#if AD_ISA_BASE  // flushing costs SLEEF's scalar f32 functions their large arguments too
#define WIDE(NAME) \
    AD_INLINE vf vf_##NAME(vf x) { return (vf)vd_##NAME(x); }
WIDE(sin)
WIDE(cos)
WIDE(tan)
WIDE(asin)
WIDE(acos)
WIDE(atan)
#else
PERIODIC_F32(sin, 0x1p-20f)
PERIODIC_F32(cos, 0)
PERIODIC_F32(tan, 0x1p-20f)
ANGLE(vf, asin, AD_SLEEF_F32)
ANGLE(vf, acos, AD_SLEEF_F32)
ANGLE(vf, atan, AD_SLEEF_F32)
#endif

// atan2 loses those, and with them the reciprocals of large ones: both operands are moved up or down together. Near the
// positive x axis it is y / x.
#define ATAN2(V, SLEEF, large, thin)                                                                        \
    AD_INLINE V V##_angle(V y, V x) {                                                                       \
        V size = V##_max(V##_abs(x), V##_abs(y)), most = V##_set(large), one = V##_set(1);                  \
        if (!V##_any_less(size, one) && !V##_any_less(most, size)) return SLEEF(atan2)(y, x);               \
        V scale = V##_if_less(size, one, most, V##_if_less(most, size, V##_set(1 / (large)), one));         \
        return SLEEF(atan2)(y * scale, x * scale);                                                          \
    }                                                                                                       \
    AD_INLINE V V##_atan2(V y, V x) { return V##_if_less(V##_abs(y), x * V##_set(thin), y / x, V##_angle(y, x)); }

ATAN2(vd, AD_SLEEF_F64, 0x1p500, 0x1p-40)
#if AD_ISA_BASE
AD_INLINE vf vf_atan2(vf y, vf x) { return (vf)vd_atan2(y, x); }
#else
ATAN2(vf, AD_SLEEF_F32, 0x1p60f, 0x1p-20f)
#endif

#define LANES(NAME)                    \
    AD_LANES_VF(NAME##_f32, vf_##NAME) \
    AD_LANES_VD(NAME##_f64, vd_##NAME)
LANES(sin)
LANES(cos)
LANES(tan)
LANES(asin)
LANES(acos)
LANES(atan)
AD_LANES2_VF(atan2_f32, vf_atan2)
AD_LANES2_VD(atan2_f64, vd_atan2)

// ---- gradients -----------------------------------------------------------------------------------------------------

static void sin_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_cos(call->x[0])); }

static void cos_vjp(const ad_vjp_call *call) { call->gx[0] = ad_neg(ad_cotangent_mul(call->gy, ad_sin(call->x[0]))); }

static void tan_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_offset(ad_square(call->y), 1));
}

static void asin_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_div(call->gy, ad_sqrt(ad_one_minus_square(call->x[0])));
}

static void acos_vjp(const ad_vjp_call *call) {
    asin_vjp(call);
    call->gx[0] = ad_neg(call->gx[0]);
}

static void atan_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_div(call->gy, ad_offset(ad_square(call->x[0]), 1));
}

// x / h^2 and -y / h^2, divided by h twice, as h^2 may overflow.
static void atan2_vjp(const ad_vjp_call *call) {
    ad_var y = call->x[0], x = call->x[1], h = ad_hypot(y, x);
    if (call->need[0]) call->gx[0] = ad_cotangent_div(ad_cotangent_div(ad_cotangent_mul(call->gy, x), h), h);
    if (call->need[1]) call->gx[1] = ad_neg(ad_cotangent_div(ad_cotangent_div(ad_cotangent_mul(call->gy, y), h), h));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -4, .high = 4}}},
};
static const ad_op_test tan_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -1.2, .high = 1.2}}}};
static const ad_op_test asin_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -0.9, .high = 0.9}}}};
static const ad_op_test quadrant_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.3, .high = 2}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}, .low = -2, .high = -0.3}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {0, {0}}}, {.shape = {1, {2}}, .low = 0.3, .high = 2}}},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured: f32 on every 1021st float or more, f64 on some hundred thousand numbers.

enum { PLAIN = AD_OP_ELEMENTWISE };

static const ad_op sin_op = {
    .name = "sin", .flags = PLAIN, .vjp = sin_vjp, AD_KERNELS(sin), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op cos_op = {
    .name = "cos", .flags = PLAIN, .vjp = cos_vjp, AD_KERNELS(cos), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op tan_op = {
    .name = "tan", .flags = PLAIN, .vjp = tan_vjp, AD_KERNELS(tan), .ulp = {1, 1}, AD_TESTS(tan_tests)};
static const ad_op asin_op = {
    .name = "asin", .flags = PLAIN, .vjp = asin_vjp, AD_KERNELS(asin), .ulp = {1, 1}, AD_TESTS(asin_tests)};
static const ad_op acos_op = {
    .name = "acos", .flags = PLAIN, .vjp = acos_vjp, AD_KERNELS(acos), .ulp = {1, 1}, AD_TESTS(asin_tests)};
static const ad_op atan_op = {
    .name = "atan", .flags = PLAIN, .vjp = atan_vjp, AD_KERNELS(atan), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op atan2_op = {
    .name = "atan2", .flags = PLAIN, .vjp = atan2_vjp, AD_KERNELS(atan2), .ulp = {1, 1}, AD_TESTS(quadrant_tests)};

AD_FAMILY(trigonometric) = {&sin_op, &cos_op, &tan_op, &asin_op, &acos_op, &atan_op, &atan2_op, NULL};

#if AD_ISA_BASE

ad_var ad_sin(ad_var x) { return ad_apply(&sin_op, &x, 1, NULL, 0); }
ad_var ad_cos(ad_var x) { return ad_apply(&cos_op, &x, 1, NULL, 0); }
ad_var ad_tan(ad_var x) { return ad_apply(&tan_op, &x, 1, NULL, 0); }
ad_var ad_asin(ad_var x) { return ad_apply(&asin_op, &x, 1, NULL, 0); }
ad_var ad_acos(ad_var x) { return ad_apply(&acos_op, &x, 1, NULL, 0); }
ad_var ad_atan(ad_var x) { return ad_apply(&atan_op, &x, 1, NULL, 0); }

ad_var ad_atan2(ad_var y, ad_var x) {
    ad_var operands[] = {y, x};
    return ad_apply(&atan2_op, operands, 2, NULL, 0);
}

#endif
