// arithmetic.c -- add, sub, mul, div, neg, square, sqrt, reciprocal, scale, offset.
//
// Loops the compiler vectorises; every result is correctly rounded. Gradients multiply the cotangent first, (gy y) y
// and not gy (y y), so that one that is small or zero stays so next to a large operand.
#include "cotangent.h"
#include "simd.h"

AD_LANES2(add, a + b)
AD_LANES2(sub, a - b)
AD_LANES2(mul, a * b)
AD_LANES2(div, a / b)
AD_LANES1(neg, -a)
AD_LANES1(square, a * a)
AD_LANES1_T(sqrt_f32, float, sqrtf(a))
AD_LANES1_T(sqrt_f64, double, sqrt(a))
AD_LANES1(reciprocal, 1 / a)
AD_LANES1_NUMBER(scale, a * c)
AD_LANES1_NUMBER(offset, a + c)
AD_LANES2(cotangent_mul, a == 0 ? 0 : a * b)
AD_LANES2(cotangent_div, a == 0 ? 0 : a / b)
AD_LANES2(cotangent_pair, (a == 0) | (b == 0) ? 0 : a * b)

// ---- gradients -----------------------------------------------------------------------------------------------------

static void add_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = call->gy;
    if (call->need[1]) call->gx[1] = call->gy;
}

static void sub_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = call->gy;
    if (call->need[1]) call->gx[1] = ad_neg(call->gy);
}

static void mul_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = ad_cotangent_mul(call->gy, call->x[1]);
    if (call->need[1]) call->gx[1] = ad_cotangent_mul(call->gy, call->x[0]);
}

static void div_vjp(const ad_vjp_call *call) {
    ad_var ga = ad_cotangent_div(call->gy, call->x[1]);
    if (call->need[0]) call->gx[0] = ga;
    if (call->need[1]) call->gx[1] = ad_neg(ad_cotangent_mul(ga, call->y));
}

static void neg_vjp(const ad_vjp_call *call) { call->gx[0] = ad_neg(call->gy); }

static void square_vjp(const ad_vjp_call *call) { call->gx[0] = ad_scale(ad_cotangent_mul(call->gy, call->x[0]), 2); }

// Infinite at 0, as the derivative is, unless gy is 0.
static void sqrt_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_div(ad_scale(call->gy, 0.5), call->y); }

static void reciprocal_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_neg(ad_cotangent_mul(ad_cotangent_mul(call->gy, call->y), call->y));
}

static void scale_vjp(const ad_vjp_call *call) { call->gx[0] = ad_scale(call->gy, *(const double *)call->attr); }

static void offset_vjp(const ad_vjp_call *call) { call->gx[0] = call->gy; }

static void cotangent_mul_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = ad_cotangent_mul(call->gy, call->x[1]);
    if (call->need[1]) call->gx[1] = ad_cotangent_pair(call->gy, call->x[0]);
}

static void cotangent_div_vjp(const ad_vjp_call *call) {
    if (call->need[0]) call->gx[0] = ad_cotangent_div(call->gy, call->x[1]);
    if (call->need[1]) call->gx[1] = ad_neg(ad_cotangent_div(ad_cotangent_pair(call->gy, call->y), call->x[1]));
}

static void cotangent_pair_vjp(const ad_vjp_call *call) {
    for (int i = 0; i < 2; i++)
        if (call->need[i]) call->gx[i] = ad_cotangent_pair(call->gy, call->x[1 - i]);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var scale_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(x[0], -1.75);
}

static ad_var offset_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_offset(x[0], 0.625);
}

// The same operand twice.
static ad_var mul_self_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], x[0]);
}

static ad_var div_self_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_div(ad_offset(x[0], 1), x[0]);
}

// Broadcasting both ways, rows with shared, rank 0 with rank 2.
static const ad_op_test binary_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {0, {0}}}, {.shape = {2, {2, 2}}}}},
};
static const ad_op_test mul_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {0, {0}}}, {.shape = {2, {2, 2}}}}},
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true}}, .f = mul_self_test},
};
static const ad_op_test div_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, {.shape = {1, {3}}, .rows = true, .low = 0.5, .high = 2}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}, .low = -2, .high = -0.5}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, {.shape = {1, {3}}, .rows = true, .low = 0.5, .high = 2}}},
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true, .low = 0.5, .high = 2}}, .f = div_self_test},
};
static const ad_op_test quotient_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, {.shape = {1, {3}}, .rows = true, .low = 0.5, .high = 2}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}, .low = -2, .high = -0.5}}},
};
static const ad_op_test unary_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}}};
static const ad_op_test sqrt_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.2, .high = 3}}}};
static const ad_op_test reciprocal_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.5, .high = 2}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -2, .high = -0.5}}},
};
static const ad_op_test scale_tests[] = {{.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = scale_test}};
static const ad_op_test offset_tests[] = {{.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = offset_test}};

// ---- descriptors ---------------------------------------------------------------------------------------------------

enum { CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP };

static const ad_op add_op = {.name = "add", .flags = CHEAP, .vjp = add_vjp, AD_KERNELS(add), AD_TESTS(binary_tests)};
static const ad_op sub_op = {.name = "sub", .flags = CHEAP, .vjp = sub_vjp, AD_KERNELS(sub), AD_TESTS(binary_tests)};
static const ad_op mul_op = {.name = "mul", .flags = CHEAP, .vjp = mul_vjp, AD_KERNELS(mul), AD_TESTS(mul_tests)};
static const ad_op div_op = {.name = "div", .flags = CHEAP, .vjp = div_vjp, AD_KERNELS(div), AD_TESTS(div_tests)};
static const ad_op neg_op = {.name = "neg", .flags = CHEAP, .vjp = neg_vjp, AD_KERNELS(neg), AD_TESTS(unary_tests)};
static const ad_op square_op = {
    .name = "square", .flags = CHEAP, .vjp = square_vjp, AD_KERNELS(square), AD_TESTS(unary_tests)};
static const ad_op sqrt_op = {.name = "sqrt", .flags = CHEAP, .vjp = sqrt_vjp, AD_KERNELS(sqrt), AD_TESTS(sqrt_tests)};
static const ad_op reciprocal_op = {
    .name = "reciprocal", .flags = CHEAP, .vjp = reciprocal_vjp, AD_KERNELS(reciprocal), AD_TESTS(reciprocal_tests)};
static const ad_op scale_op = {
    .name = "scale", .flags = CHEAP, .vjp = scale_vjp, AD_KERNELS(scale), AD_TESTS(scale_tests)};
static const ad_op offset_op = {
    .name = "offset", .flags = CHEAP, .vjp = offset_vjp, AD_KERNELS(offset), AD_TESTS(offset_tests)};
static const ad_op cotangent_mul_op = {
    .name = "cotangent_mul", .flags = CHEAP, .vjp = cotangent_mul_vjp, AD_KERNELS(cotangent_mul),
    AD_TESTS(binary_tests)};
static const ad_op cotangent_div_op = {
    .name = "cotangent_div", .flags = CHEAP, .vjp = cotangent_div_vjp, AD_KERNELS(cotangent_div),
    AD_TESTS(quotient_tests)};
static const ad_op cotangent_pair_op = {
    .name = "cotangent_pair", .flags = CHEAP, .vjp = cotangent_pair_vjp, AD_KERNELS(cotangent_pair),
    AD_TESTS(binary_tests)};

AD_FAMILY(arithmetic) = {&add_op,  &sub_op,        &mul_op,   &div_op,    &neg_op,           &square_op,
                         &sqrt_op, &reciprocal_op, &scale_op, &offset_op, &cotangent_mul_op, &cotangent_div_op,
                         &cotangent_pair_op, NULL};

#if AD_ISA_BASE

static ad_var binary(const ad_op *op, ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(op, x, 2, NULL, 0);
}

ad_var ad_add(ad_var a, ad_var b) { return binary(&add_op, a, b); }
ad_var ad_sub(ad_var a, ad_var b) { return binary(&sub_op, a, b); }
ad_var ad_mul(ad_var a, ad_var b) { return binary(&mul_op, a, b); }
ad_var ad_div(ad_var a, ad_var b) { return binary(&div_op, a, b); }
ad_var ad_cotangent_mul(ad_var g, ad_var x) { return binary(&cotangent_mul_op, g, x); }
ad_var ad_cotangent_div(ad_var g, ad_var x) { return binary(&cotangent_div_op, g, x); }
ad_var ad_cotangent_pair(ad_var g, ad_var h) { return binary(&cotangent_pair_op, g, h); }
ad_var ad_neg(ad_var x) { return ad_apply(&neg_op, &x, 1, NULL, 0); }
ad_var ad_square(ad_var x) { return ad_apply(&square_op, &x, 1, NULL, 0); }
ad_var ad_sqrt(ad_var x) { return ad_apply(&sqrt_op, &x, 1, NULL, 0); }
ad_var ad_reciprocal(ad_var x) { return ad_apply(&reciprocal_op, &x, 1, NULL, 0); }
ad_var ad_scale(ad_var x, double c) { return ad_apply(&scale_op, &x, 1, &c, sizeof c); }
ad_var ad_offset(ad_var x, double c) { return ad_apply(&offset_op, &x, 1, &c, sizeof c); }

#endif
