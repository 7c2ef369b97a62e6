// rounding.c -- abs, sign, floor, ceil, round, maximum, minimum, clamp.
//
// All are exact. NaN gives NaN, and from either operand of maximum and minimum. Signs of zeros stay, but which of two
// equal zeros maximum and minimum give is left open. clamp's bounds are rounded to the tape's element type.
#include "../internal.h"
#include "cotangent.h"
#include "simd.h"

typedef struct clamp_attr {
    double low, high;
} clamp_attr;

AD_LANES1_T(abs_f32, float, fabsf(a))
AD_LANES1_T(abs_f64, double, fabs(a))
AD_LANES1(sign, a > 0 ? 1 : a < 0 ? -1 : a)
AD_LANES1_T(floor_f32, float, floorf(a))
AD_LANES1_T(floor_f64, double, floor(a))
AD_LANES1_T(ceil_f32, float, ceilf(a))
AD_LANES1_T(ceil_f64, double, ceil(a))
AD_LANES1_T(round_f32, float, rintf(a))
AD_LANES1_T(round_f64, double, rint(a))
AD_LANES2(maximum, ((a > b) | (a != a)) ? a : b)
AD_LANES2(minimum, ((a < b) | (a != a)) ? a : b)
// NaN where either is.
AD_LANES2(share, a > b ? 1 : a < b ? 0 : a == b ? 0.5f : a + b)

#define CLAMP_T(NAME, T)                                                           \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) { \
        T *y = vy;                                                                 \
        const T *xa = x[0];                                                        \
        const T low = (T)((const clamp_attr *)attr)->low;                          \
        const T high = (T)((const clamp_attr *)attr)->high;                        \
        AD_IVDEP for (size_t j = 0; j < n; j++) {                                  \
            const T a = xa[j];                                                     \
            y[j] = a < low ? low : a > high ? high : a;                            \
        }                                                                          \
    }
CLAMP_T(clamp_f32, float)
CLAMP_T(clamp_f64, double)

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op share_op;

// The part of the cotangent that goes to a where the larger operand counts: all, none, or half.
static ad_var share(ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(&share_op, x, 2, NULL, 0);
}

static void abs_vjp(const ad_vjp_call *call) { call->gx[0] = ad_cotangent_mul(call->gy, ad_sign(call->x[0])); }

static void maximum_vjp(const ad_vjp_call *call) {
    for (int i = 0; i < 2; i++)
        if (call->need[i]) call->gx[i] = ad_cotangent_mul(call->gy, share(call->x[i], call->x[1 - i]));
}

static void minimum_vjp(const ad_vjp_call *call) {
    for (int i = 0; i < 2; i++)
        if (call->need[i]) call->gx[i] = ad_cotangent_mul(call->gy, share(call->x[1 - i], call->x[i]));
}

// Where x came through unchanged, the bounds included.
static void clamp_vjp(const ad_vjp_call *call) {
    ad_var unchanged = ad_equal(call->x[0], call->y);
    call->gx[0] = ad_where(unchanged, call->gy, ad_number(call->gy.tape, 0));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var clamp_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_clamp(x[0], -0.5, 0.75);
}

// A value and its bound, of which one side is open.
static ad_var clamp_open_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(ad_clamp(x[0], -INFINITY, 0.25), x[0]);
}

static const double zero[] = {0}, bounds[] = {-0.5, 0.75}, bound[] = {0.25}, whole[] = {-1, 0, 1},
                    halves[] = {-1.5, -0.5, 0.5, 1.5};
static const ad_op_test kink_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .kinks = zero, .n_kinks = 1}}},
    {.n = 1, .x = {{.shape = {0, {0}}, .low = -2, .high = -1}}},
};
static const ad_op_test step_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .kinks = whole, .n_kinks = 3}}}};
static const ad_op_test round_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -2, .high = 2, .kinks = halves, .n_kinks = 4}}}};
static const ad_op_test larger_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true, .low = 2, .high = 3}}},
    {.n = 2, .x = {{.shape = {2, {2, 1}}, .low = 2, .high = 3}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {0, {0}}}}},
};
static const ad_op_test clamp_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .kinks = bounds, .n_kinks = 2}}, .f = clamp_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .kinks = bound, .n_kinks = 1}}, .f = clamp_open_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

enum { CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP, STEP = CHEAP | AD_OP_CONSTANT };

static const ad_op abs_op = {.name = "abs", .flags = CHEAP, .vjp = abs_vjp, AD_KERNELS(abs), AD_TESTS(kink_tests)};
static const ad_op sign_op = {.name = "sign", .flags = STEP, AD_KERNELS(sign), AD_TESTS(kink_tests)};
static const ad_op floor_op = {.name = "floor", .flags = STEP, AD_KERNELS(floor), AD_TESTS(step_tests)};
static const ad_op ceil_op = {.name = "ceil", .flags = STEP, AD_KERNELS(ceil), AD_TESTS(step_tests)};
static const ad_op round_op = {.name = "round", .flags = STEP, AD_KERNELS(round), AD_TESTS(round_tests)};
static const ad_op maximum_op = {
    .name = "maximum", .flags = CHEAP, .vjp = maximum_vjp, AD_KERNELS(maximum), AD_TESTS(larger_tests)};
static const ad_op minimum_op = {
    .name = "minimum", .flags = CHEAP, .vjp = minimum_vjp, AD_KERNELS(minimum), AD_TESTS(larger_tests)};
static const ad_op share_op = {.name = "share", .flags = STEP, AD_KERNELS(share), AD_TESTS(larger_tests)};
static const ad_op clamp_op = {
    .name = "clamp", .flags = CHEAP, .vjp = clamp_vjp, AD_KERNELS(clamp), AD_TESTS(clamp_tests)};

AD_FAMILY(rounding) = {&abs_op,     &sign_op,    &floor_op, &ceil_op,  &round_op,
                       &maximum_op, &minimum_op, &share_op, &clamp_op, NULL};

#if AD_ISA_BASE

static ad_var binary(const ad_op *op, ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(op, x, 2, NULL, 0);
}

ad_var ad_abs(ad_var x) { return ad_apply(&abs_op, &x, 1, NULL, 0); }
ad_var ad_sign(ad_var x) { return ad_apply(&sign_op, &x, 1, NULL, 0); }
ad_var ad_floor(ad_var x) { return ad_apply(&floor_op, &x, 1, NULL, 0); }
ad_var ad_ceil(ad_var x) { return ad_apply(&ceil_op, &x, 1, NULL, 0); }
ad_var ad_round(ad_var x) { return ad_apply(&round_op, &x, 1, NULL, 0); }
ad_var ad_maximum(ad_var a, ad_var b) { return binary(&maximum_op, a, b); }
ad_var ad_minimum(ad_var a, ad_var b) { return binary(&minimum_op, a, b); }

ad_var ad_clamp(ad_var x, double low, double high) {
    const clamp_attr attr = {low, high};
    if (low <= high) return ad_apply(&clamp_op, &x, 1, &attr, sizeof attr);
    ad_tape_fail(x.tape, AD_EARG, "clamp: from %g to %g is no range", low, high);
    return ad_inert(x.tape);
}

#endif
