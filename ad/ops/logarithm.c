// logarithm.c -- log1p, log2, log1mexp, log_add_exp, log_sigmoid, logit, softplus_inverse.
//
// NaN gives NaN everywhere. log1p(-1) = -inf, log2(+-0) = -inf, below that NaN. log1mexp(0) = -inf, log1mexp(-inf) = 0,
// NaN above 0; softplus_inverse(0) = -inf, NaN below 0. logit(0) = -inf, logit(1) = inf, NaN outside. log_sigmoid and
// log_add_exp overflow for no finite operand and take infinite ones to their limits: log_add_exp(-inf, -inf) = -inf,
// log_add_exp(inf, anything) = inf, and equal infinities get half the gradient each, as all equal operands do. In a run
// denormals count as zero.
//
// Near its zeros, where e^a + e^b is 1, log_add_exp is accurate to an ulp of its larger operand, not of itself.
#include "cotangent.h"
#include "vmath.h"

#define LOG2E 1.4426950408889634

AD_INLINE vf vf_log2(vf x) { return AD_SLEEF_F32(log2)(x); }
AD_INLINE vd vd_log2(vd x) { return AD_SLEEF_F64(log2)(x); }
AD_INLINE vf vf_log_sigmoid(vf x) { return -vf_softplus(-x); }
AD_INLINE vd vd_log_sigmoid(vd x) { return -vd_softplus(-x); }
// max(a, b) + log(1 + e^-|a - b|); the difference of equal infinities is 0.
AD_INLINE vf vf_log_add_exp(vf a, vf b) {
    return vf_max(a, b) + vf_softplus(vf_if_equal(a, b, vf_set(0), -vf_abs(a - b)));
}
AD_INLINE vd vd_log_add_exp(vd a, vd b) {
    return vd_max(a, b) + vd_softplus(vd_if_equal(a, b, vd_set(0), -vd_abs(a - b)));
}

AD_LANES_VF(log1p_f32, vf_log1p)
AD_LANES_VD(log1p_f64, vd_log1p)
AD_LANES_VF(log2_f32, vf_log2)
AD_LANES_VD(log2_f64, vd_log2)
AD_LANES_VF(log1mexp_f32, vf_log1mexp)
AD_LANES_VD(log1mexp_f64, vd_log1mexp)
AD_LANES_VF(log_sigmoid_f32, vf_log_sigmoid)
AD_LANES_VD(log_sigmoid_f64, vd_log_sigmoid)
AD_LANES_VF(logit_f32, vf_logit)
AD_LANES_VD(logit_f64, vd_logit)
AD_LANES_VF(softplus_inverse_f32, vf_softplus_inverse)
AD_LANES_VD(softplus_inverse_f64, vd_softplus_inverse)
AD_LANES2_VF(log_add_exp_f32, vf_log_add_exp)
AD_LANES2_VD(log_add_exp_f64, vd_log_add_exp)
AD_LANES2(gap, a == b ? 0 : a - b)  // a - b, but 0 for equal infinities

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op gap_op;

static ad_var gap(ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(&gap_op, x, 2, NULL, 0);
}

static void log1p_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_div(call->gy, ad_offset(call->x[0], 1)); }

static void log2_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_div(ad_scale(call->gy, LOG2E), call->x[0]); }

// Of log1mexp and softplus_inverse, both log |e^x - 1|: 1 / (1 - e^-x).
static void log_abs_expm1_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_neg(ad_cotangent_div(call->gy, ad_expm1(ad_neg(call->x[0]))));
}

static void log_sigmoid_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_sigmoid(ad_neg(call->x[0])));
}

static void logit_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0];
    call->gx[0] = ad_cotangent_div(call->gy, ad_mul(x, ad_offset(ad_neg(x), 1)));
}

static void log_add_exp_vjp(const ad_vjp_call *call) {
    ad_var d = gap(call->x[0], call->x[1]);
    if (call->need[0]) call->gx[0] = ad_cotangent_mul(call->gy, ad_sigmoid(d));
    if (call->need[1]) call->gx[1] = ad_cotangent_mul(call->gy, ad_sigmoid(ad_neg(d)));
}

static void gap_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = call->gy;
    if (call->need[1]) call->gx[1] = ad_neg(call->gy);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const ad_op_test log1p_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -0.7, .high = 3}}},
    {.n = 1, .x = {{.shape = {0, {0}}, .low = -0.1, .high = 0.1}}},
};
static const ad_op_test positive_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.2, .high = 3}}}};
static const ad_op_test log1mexp_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -3, .high = -0.2}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -20, .high = -2}}},
};
static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -9, .high = 9}}},
};
static const ad_op_test logit_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.1, .high = 0.9}}}};
static const ad_op_test softplus_inverse_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.2, .high = 3}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 2, .high = 30}}},
};
static const ad_op_test binary_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, {.shape = {1, {3}}, .rows = true, .low = 3, .high = 9}}},
    {.n = 2, .x = {{.shape = {0, {0}}}, {.shape = {2, {2, 2}}}}},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured: f32 on every 1021st float or more, f64 on some hundred thousand numbers.

enum { PLAIN = AD_OP_ELEMENTWISE, CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP };

static const ad_op log1p_op = {
    .name = "log1p", .flags = PLAIN, .vjp = log1p_vjp, AD_KERNELS(log1p), .ulp = {1, 1}, AD_TESTS(log1p_tests)};
static const ad_op log2_op = {
    .name = "log2", .flags = PLAIN, .vjp = log2_vjp, AD_KERNELS(log2), .ulp = {1, 1}, AD_TESTS(positive_tests)};
static const ad_op log1mexp_op = {
    .name = "log1mexp", .flags = PLAIN, .vjp = log_abs_expm1_vjp, AD_KERNELS(log1mexp), .ulp = {1.1, 2.5},
    AD_TESTS(log1mexp_tests)};
static const ad_op log_add_exp_op = {
    .name = "log_add_exp", .flags = PLAIN, .vjp = log_add_exp_vjp, AD_KERNELS(log_add_exp), .ulp = {2, 3},
    AD_TESTS(binary_tests)};
static const ad_op log_sigmoid_op = {
    .name = "log_sigmoid", .flags = PLAIN, .vjp = log_sigmoid_vjp, AD_KERNELS(log_sigmoid), .ulp = {1.4, 3},
    AD_TESTS(smooth_tests)};
static const ad_op logit_op = {
    .name = "logit", .flags = PLAIN, .vjp = logit_vjp, AD_KERNELS(logit), .ulp = {1, 3.5}, AD_TESTS(logit_tests)};
static const ad_op softplus_inverse_op = {
    .name = "softplus_inverse", .flags = PLAIN, .vjp = log_abs_expm1_vjp, AD_KERNELS(softplus_inverse),
    .ulp = {1, 3}, AD_TESTS(softplus_inverse_tests)};
static const ad_op gap_op = {.name = "gap", .flags = CHEAP, .vjp = gap_vjp, AD_KERNELS(gap), AD_TESTS(binary_tests)};

AD_FAMILY(logarithm) = {
    &log1p_op, &log2_op, &log1mexp_op, &log_add_exp_op, &log_sigmoid_op, &logit_op, &softplus_inverse_op,
    &gap_op,   NULL};

#if AD_ISA_BASE

ad_var ad_log1p(ad_var x) { return ad_apply(&log1p_op, &x, 1, NULL, 0); }
ad_var ad_log2(ad_var x) { return ad_apply(&log2_op, &x, 1, NULL, 0); }
ad_var ad_log1mexp(ad_var x) { return ad_apply(&log1mexp_op, &x, 1, NULL, 0); }
ad_var ad_log_sigmoid(ad_var x) { return ad_apply(&log_sigmoid_op, &x, 1, NULL, 0); }
ad_var ad_logit(ad_var x) { return ad_apply(&logit_op, &x, 1, NULL, 0); }
ad_var ad_softplus_inverse(ad_var x) { return ad_apply(&softplus_inverse_op, &x, 1, NULL, 0); }

ad_var ad_log_add_exp(ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(&log_add_exp_op, x, 2, NULL, 0);
}

#endif
