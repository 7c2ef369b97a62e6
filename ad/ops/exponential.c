// exponential.c -- exp, exp2, expm1, log, tanh, sigmoid, softplus, relu.
//
// NaN gives NaN everywhere, relu and softplus included. exp(-inf) = exp2(-inf) = 0, expm1(-inf) = -1, and they overflow
// to inf above the largest logarithm; log(+-0) = -inf, log of a negative number is NaN. tanh, sigmoid and softplus take
// +-inf to their limits, and softplus overflows for no finite x. tanh(-0) = -0; relu(-0) = +0. In a run denormals count
// as zero, so that log of one is -inf; a result below the smallest normal number may be 0 in any case.
#include "cotangent.h"
#include "gemm.h"
#include "vmath.h"

AD_INLINE vf vf_exp(vf x) { return AD_SLEEF_F32(exp)(x); }
AD_INLINE vd vd_exp(vd x) { return AD_SLEEF_F64(exp)(x); }
AD_INLINE vf vf_exp2(vf x) { return AD_SLEEF_F32(exp2)(x); }
AD_INLINE vd vd_exp2(vd x) { return AD_SLEEF_F64(exp2)(x); }
AD_INLINE vf vf_log(vf x) { return AD_SLEEF_F32(log)(x); }
AD_INLINE vd vd_log(vd x) { return AD_SLEEF_F64(log)(x); }

AD_LANES_VF(exp_f32, vf_exp)
AD_LANES_VD(exp_f64, vd_exp)
AD_LANES_VF(exp2_f32, vf_exp2)
AD_LANES_VD(exp2_f64, vd_exp2)
AD_LANES_VF(expm1_f32, vf_expm1)
AD_LANES_VD(expm1_f64, vd_expm1)
AD_LANES_VF(log_f32, vf_log)
AD_LANES_VD(log_f64, vd_log)
AD_LANES_VF(tanh_f32, vf_tanh)
AD_LANES_VD(tanh_f64, vd_tanh)
AD_LANES_VF(sigmoid_f32, vf_sigmoid)
AD_LANES_VD(sigmoid_f64, vd_sigmoid)
AD_LANES_VF(softplus_f32, vf_softplus)
AD_LANES_VD(softplus_f64, vd_softplus)
AD_LANES1(relu, a <= 0 ? 0 : a)

// A cotangent a through the hot activations, from their result b (so b >= 0 for relu): one pass instead of three. 0
// where a is 0, as in cotangent.h.
AD_LANES2(tanh_slope, a == 0 ? 0 : a * ((1 - b) * (1 + b)))
AD_LANES2(sigmoid_slope, a == 0 ? 0 : a * (b * (1 - b)))
AD_LANES2(relu_slope, ((b > 0) | (a == 0)) ? a : b)  // b is 0 or NaN

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op tanh_slope_op, sigmoid_slope_op, relu_slope_op;

static ad_var slope(const ad_op *op, ad_var gy, ad_var y) {
    ad_var x[] = {gy, y};
    return ad_apply(op, x, 2, NULL, 0);
}

static void exp_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, call->y); }
static void exp2_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(ad_scale(call->gy, 0.6931471805599453), call->y);
}

// e^x anew: 1 + y is 0 where e^x is small.
static void expm1_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_exp(call->x[0])); }
static void log_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_div(call->gy, call->x[0]); }
static void tanh_vjp(const ad_vjp_call *call) { call->gx[0] = slope(&tanh_slope_op, call->gy, call->y); }
static void sigmoid_vjp(const ad_vjp_call *call) { call->gx[0] = slope(&sigmoid_slope_op, call->gy, call->y); }
static void softplus_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_sigmoid(call->x[0])); }
// From y, not x: the input of a fused linear and relu is never stored.
static void relu_vjp(const ad_vjp_call *call) { call->gx[0] = slope(&relu_slope_op, call->gy, call->y); }

// The slopes are linear in x[0]; s(x[1]) is 1 - y^2, y - y^2, and the step function.
static void tanh_slope_vjp(const ad_vjp_call *call) {
    ad_var g = call->x[0], y = call->x[1];
    if (call->need[0]) call->gx[0] = slope(&tanh_slope_op, call->gy, y);
    if (call->need[1]) call->gx[1] = ad_scale(ad_cotangent_mul(ad_cotangent_mul(call->gy, g), y), -2);
}

static void sigmoid_slope_vjp(const ad_vjp_call *call) {
    ad_var g = call->x[0], y = call->x[1];
    if (call->need[0]) call->gx[0] = slope(&sigmoid_slope_op, call->gy, y);
    if (call->need[1]) call->gx[1] = ad_cotangent_mul(ad_cotangent_mul(call->gy, g), ad_offset(ad_scale(y, -2), 1));
}

static void relu_slope_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = slope(&relu_slope_op, call->gy, call->x[1]);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const double zero[] = {0};
static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -4, .high = 4}}},
};
static const ad_op_test log_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.2, .high = 3}}}};
static const ad_op_test relu_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .kinks = zero, .n_kinks = 1}}}};
static const ad_op_test slope_tests[] = {
    {.n = 2,
     .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true, .low = -0.9, .high = 0.9}}},
    {.n = 2, .x = {{.shape = {1, {3}}}, {.shape = {2, {2, 3}}, .rows = true, .low = -0.9, .high = 0.9}}}};
static const ad_op_test relu_slope_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, {.shape = {1, {3}}, .rows = true, .low = 0.1, .high = 2}}}};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured (tests/test_kernels.c), over all floats for f32.

enum { PLAIN = AD_OP_ELEMENTWISE, CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP };

static const ad_op exp_op = {
    .name = "exp", .flags = PLAIN, .vjp = exp_vjp, AD_KERNELS(exp), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op exp2_op = {
    .name = "exp2", .flags = PLAIN, .vjp = exp2_vjp, AD_KERNELS(exp2), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op expm1_op = {
    .name = "expm1", .flags = PLAIN, .vjp = expm1_vjp, AD_KERNELS(expm1), .ulp = {1, 1}, AD_TESTS(smooth_tests)};
static const ad_op log_op = {
    .name = "log", .flags = PLAIN, .vjp = log_vjp, AD_KERNELS(log), .ulp = {1, 1}, AD_TESTS(log_tests)};
static const ad_op tanh_op = {
    .name = "tanh", .flags = PLAIN, .vjp = tanh_vjp, AD_KERNELS(tanh), .ulp = {1.3, 1}, AD_TESTS(smooth_tests)};
static const ad_op sigmoid_op = {
    .name = "sigmoid", .flags = PLAIN, .vjp = sigmoid_vjp, AD_KERNELS(sigmoid), .ulp = {1.1, 2.5},
    AD_TESTS(smooth_tests)};
static const ad_op softplus_op = {
    .name = "softplus", .flags = PLAIN, .vjp = softplus_vjp, AD_KERNELS(softplus), .ulp = {1.4, 3},
    AD_TESTS(smooth_tests)};
static const ad_op relu_op = {.name = "relu", .flags = CHEAP, .vjp = relu_vjp, AD_KERNELS(relu), AD_TESTS(relu_tests),
                              .epilogue = AD_EPILOGUE_RELU};
static const ad_op tanh_slope_op = {
    .name = "tanh_slope", .flags = CHEAP, .vjp = tanh_slope_vjp, AD_KERNELS(tanh_slope), .ulp = {3, 3},
    AD_TESTS(slope_tests)};
static const ad_op sigmoid_slope_op = {
    .name = "sigmoid_slope", .flags = CHEAP, .vjp = sigmoid_slope_vjp, AD_KERNELS(sigmoid_slope), .ulp = {3, 3},
    AD_TESTS(slope_tests)};
static const ad_op relu_slope_op = {
    .name = "relu_slope", .flags = CHEAP, .vjp = relu_slope_vjp, AD_KERNELS(relu_slope), AD_TESTS(relu_slope_tests),
    .epilogue = AD_EPILOGUE_RELU_SLOPE};

AD_FAMILY(exponential) = {&exp_op,      &exp2_op, &expm1_op,      &log_op,           &tanh_op,       &sigmoid_op,
                          &softplus_op, &relu_op, &tanh_slope_op, &sigmoid_slope_op, &relu_slope_op, NULL};

#if AD_ISA_BASE

ad_var ad_exp(ad_var x) { return ad_apply(&exp_op, &x, 1, NULL, 0); }
ad_var ad_exp2(ad_var x) { return ad_apply(&exp2_op, &x, 1, NULL, 0); }
ad_var ad_expm1(ad_var x) { return ad_apply(&expm1_op, &x, 1, NULL, 0); }
ad_var ad_log(ad_var x) { return ad_apply(&log_op, &x, 1, NULL, 0); }
ad_var ad_tanh(ad_var x) { return ad_apply(&tanh_op, &x, 1, NULL, 0); }
ad_var ad_sigmoid(ad_var x) { return ad_apply(&sigmoid_op, &x, 1, NULL, 0); }
ad_var ad_softplus(ad_var x) { return ad_apply(&softplus_op, &x, 1, NULL, 0); }
ad_var ad_relu(ad_var x) { return ad_apply(&relu_op, &x, 1, NULL, 0); }

#endif
