// compare.c -- greater, less, greater_equal, less_equal, equal, not_equal, where, stop_gradient.
//
// Comparisons give 1 or 0; when an operand is NaN, 0, and not_equal 1. where takes a for every condition but +-0, so
// for NaN too; the branch not taken has no say, neither in the value nor, with a gradient of exactly 0, in the
// derivative.
#include <string.h>

#include "simd.h"

AD_LANES2(greater, a > b ? 1 : 0)
AD_LANES2(less, a < b ? 1 : 0)
AD_LANES2(greater_equal, a >= b ? 1 : 0)
AD_LANES2(less_equal, a <= b ? 1 : 0)
AD_LANES2(equal, a == b ? 1 : 0)
AD_LANES2(not_equal, a != b ? 1 : 0)
AD_LANES3(where, a != 0 ? b : c)

static void stop_gradient_f32(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    if (y != x[0]) memcpy(y, x[0], n * sizeof(float));
}

static void stop_gradient_f64(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    if (y != x[0]) memcpy(y, x[0], n * sizeof(double));
}

static void where_vjp(const ad_vjp_call *call) {
    ad_var c = call->x[0], zero = ad_number(call->gy.tape, 0);
    if (call->need[1]) call->gx[1] = ad_where(c, call->gy, zero);
    if (call->need[2]) call->gx[2] = ad_where(c, zero, call->gy);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const double zero_kink[] = {0};

// Both branches, and a condition that the operands do not know.
static ad_var where_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_where(ad_greater(x[0], ad_number(x[0].tape, 0)), x[1], ad_mul(x[2], x[2]));
}

// The derivative of a difference that is always 0, as recorded: 0.
static ad_var stop_gradient_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_sub(ad_stop_gradient(x[0]), ad_stop_gradient(ad_scale(x[0], 1)));
}

// Ranges apart, so that no difference quotient crosses the jump.
static const ad_op_test compare_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true, .low = 0, .high = 1}, {.shape = {1, {3}}, .low = 1.5, .high = 2}}},
    {.n = 2, .x = {{.shape = {1, {3}}, .low = 1.5, .high = 2}, {.shape = {1, {3}}, .rows = true, .low = 0, .high = 1}}},
};
static const ad_op_test where_tests[] = {
    {.n = 3,
     .x = {{.shape = {1, {3}}, .rows = true, .kinks = zero_kink, .n_kinks = 1},
           {.shape = {1, {3}}, .rows = true},
           {.shape = {1, {3}}, .rows = true}},
     .f = where_test},
    {.n = 3,
     .x = {{.shape = {2, {2, 1}}, .rows = true, .kinks = zero_kink, .n_kinks = 1},
           {.shape = {1, {3}}},
           {.shape = {0, {0}}}},
     .f = where_test},
};
static const ad_op_test stop_gradient_tests[] = {
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = stop_gradient_test, .order = 1}};

// ---- descriptors ---------------------------------------------------------------------------------------------------

enum { CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP, COMPARISON = CHEAP | AD_OP_CONSTANT };

static const ad_op greater_op = {.name = "greater", .flags = COMPARISON, AD_KERNELS(greater), AD_TESTS(compare_tests)};
static const ad_op less_op = {.name = "less", .flags = COMPARISON, AD_KERNELS(less), AD_TESTS(compare_tests)};
static const ad_op greater_equal_op = {
    .name = "greater_equal", .flags = COMPARISON, AD_KERNELS(greater_equal), AD_TESTS(compare_tests)};
static const ad_op less_equal_op = {
    .name = "less_equal", .flags = COMPARISON, AD_KERNELS(less_equal), AD_TESTS(compare_tests)};
static const ad_op equal_op = {.name = "equal", .flags = COMPARISON, AD_KERNELS(equal), AD_TESTS(compare_tests)};
static const ad_op not_equal_op = {
    .name = "not_equal", .flags = COMPARISON, AD_KERNELS(not_equal), AD_TESTS(compare_tests)};
static const ad_op where_op = {
    .name = "where", .flags = CHEAP, .vjp = where_vjp, AD_KERNELS(where), AD_TESTS(where_tests)};
static const ad_op stop_gradient_op = {
    .name = "stop_gradient", .flags = COMPARISON, AD_KERNELS(stop_gradient), AD_TESTS(stop_gradient_tests)};

AD_FAMILY(compare) = {&greater_op, &less_op,      &greater_equal_op, &less_equal_op,
                      &equal_op,   &not_equal_op, &where_op,         &stop_gradient_op, NULL};

#if AD_ISA_BASE

static ad_var compare(const ad_op *op, ad_var a, ad_var b) {
    ad_var x[] = {a, b};
    return ad_apply(op, x, 2, NULL, 0);
}

ad_var ad_greater(ad_var a, ad_var b) { return compare(&greater_op, a, b); }
ad_var ad_less(ad_var a, ad_var b) { return compare(&less_op, a, b); }
ad_var ad_greater_equal(ad_var a, ad_var b) { return compare(&greater_equal_op, a, b); }
ad_var ad_less_equal(ad_var a, ad_var b) { return compare(&less_equal_op, a, b); }
ad_var ad_equal(ad_var a, ad_var b) { return compare(&equal_op, a, b); }
ad_var ad_not_equal(ad_var a, ad_var b) { return compare(&not_equal_op, a, b); }
ad_var ad_stop_gradient(ad_var x) { return ad_apply(&stop_gradient_op, &x, 1, NULL, 0); }

ad_var ad_where(ad_var c, ad_var a, ad_var b) {
    ad_var x[] = {c, a, b};
    return ad_apply(&where_op, x, 3, NULL, 0);
}

#endif
