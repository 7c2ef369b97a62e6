// gamma.c -- lgamma, digamma, polygamma.
//
// f32 kernels compute in f64. NaN gives NaN. lgamma is log |Gamma(x)|: +inf at 0, the negative whole numbers and
// +-inf; it keeps its relative accuracy at the roots 1 and 2. digamma: -inf at 0 (+inf at -0), NaN at the negative
// whole numbers and -inf. Both have a root between any two poles, and so have the derivatives of digamma of even order;
// beside those at negative x the error is that of a number of the size of 1 (lgamma), 1 + log(1 - x) (digamma),
// n! 2^(n+1) (of the n-th derivative: the terms of two poles cancel). polygamma(n), n >= 1, is infinite at 0; at the
// negative whole numbers it is inf for odd n, where both sides agree, and NaN for even n; NaN at -inf.
#include <string.h>

#include "cotangent.h"
#include "special.h"

#if defined(AD_SIMD_AVX512)
typedef Sleef___m512d_2 sin_cos;
#define SIN_COS_PI Sleef_sincospid8_u05avx512f
#elif defined(AD_SIMD_AVX2)
typedef Sleef___m256d_2 sin_cos;
#define SIN_COS_PI Sleef_sincospid4_u05avx2
#else
typedef Sleef_double2 sin_cos;
#define SIN_COS_PI Sleef_sincospi_u05
#endif

// SLEEF's f32 version overflows above 4e36 and is wrong by thousands of ulp near negative roots: f64 for both.
#if AD_ISA_BASE
// Without fma and with denormals flushed it is wrong near the smallest numbers too.
AD_INLINE vd lgamma_of(vd x) { return fabs(x) < 0x1p-60 ? -Sleef_log_u10(fabs(x)) : Sleef_lgamma_u10(x); }
#else
AD_INLINE vd lgamma_of(vd x) { return AD_SLEEF_F64(lgamma)(x); }
#endif

// ---- digamma -------------------------------------------------------------------------------------------------------

// On [1,2]: (x - root) R(x - 3/2), R rational and positive, relative error 4e-18. The root is a sum of two doubles.
AD_INLINE vd digamma_middle(vd x) {
    static const double top[] = {0x1.e6f0cbb873616p-1, 0x1.1bae77ffb9acap+0, 0x1.cd7400b8423e4p-2,
                                 0x1.3b98617d5d81ep-4, 0x1.50a9984f44976p-8, 0x1.74af0d14261d1p-14};
    static const double bottom[] = {1,
                                    0x1.9c4f7027343f9p+0,
                                    0x1.e06a07004ef38p-1,
                                    0x1.fb324d43fd08ep-3,
                                    0x1.e8dd21d0832cdp-6,
                                    0x1.71d48ca74e509p-10,
                                    0x1.071659a460b27p-16};
    vd s = x - vd_set(1.5), from_root = x - vd_set(0x1.762d86356be3fp+0) - vd_set(0x1.b86a722197829p-54);
    return from_root * (vd_polynomial(top, sizeof top / sizeof *top, s) /
                        vd_polynomial(bottom, sizeof bottom / sizeof *bottom, s));
}

// log z - 1/(2z) - sum B_2k / (2k z^2k), error below 5e-17 for z >= 10.
AD_INLINE vd digamma_far(vd z) {
    static const double c[] = {0x1.5555555555555p-4, -0x1.1111111111111p-7, 0x1.0410410410410p-8, -0x1.1111111111111p-8,
                               0x1.f07c1f07c1f08p-8, -0x1.5995995995996p-6, 0x1.5555555555555p-4};
    vd r = vd_set(1) / z, r2 = r * r;
    return AD_SLEEF_F64(log)(z) - (vd_set(0.5) * r + r2 * vd_polynomial(c, sizeof c / sizeof *c, r2));
}

// For x > 0. Below 10 from [1,2], by steps of one whose sum of 1/(x-k) is a single fraction: down to it they add
// numbers of one sign, up from (0,1) it is one step.
AD_INLINE vd digamma_positive(vd x) {
    vd one = vd_set(1), near = vd_at_most(x, 10), middle = vd_if_less(x, one, x + one, near);
    vd top = vd_set(0), bottom = one;
    for (int k = 1; k <= 8; k++) {
        vd next = near - vd_set(k);
        top = vd_if_less(next, one, top, top * next + bottom);
        bottom = vd_if_less(next, one, bottom, bottom * next);
        middle = vd_if_less(next, one, middle, next);
    }
    vd y = digamma_middle(middle) + vd_if_less(x, one, -one / x, top / bottom);
    return vd_if_less(x, vd_set(10), y, digamma_far(vd_at_least(x, 10)));
}

// pi cot(pi a), by the exact distance from the nearest whole number, *from_pole.
AD_INLINE vd pi_cotangent(vd a, vd *from_pole) {
    vd big = vd_set(0x1p52);
    *from_pole = a - ((a + big) - big);
    sin_cos w = SIN_COS_PI(*from_pole);  // x: sine, y: cosine
    vd cotangent = vd_set(0x1.921fb54442d18p+1) * w.y / w.x;
    return vd_if_less(vd_abs(*from_pole), vd_set(0x1p-30), vd_set(1) / *from_pole, cotangent);
}

// psi(x) = psi(1 - x) - pi cot(pi x) for x < 0.
AD_INLINE vd digamma(vd x) {
    vd zero = vd_set(0), a = vd_abs(x), from_pole, cotangent = pi_cotangent(a, &from_pole);
    vd y = digamma_positive(vd_if_less(x, zero, vd_set(1) + a, x));
    return vd_if_less(x, zero, vd_if_less(zero, vd_abs(from_pole), y + cotangent, vd_set(NAN)), y);
}

AD_LANES_WIDE(lgamma, lgamma_of(a))
AD_LANES_WIDE(digamma, digamma(a))

// ---- polygamma -----------------------------------------------------------------------------------------------------

enum { POLYGAMMA_MOST = 20, POLYGAMMA_STEPS = 10, POLYGAMMA_TERMS = 9 };

// (-1)^(n+1) times psi_n(x) = sum over k < 10 of n! / (x+k)^(n+1), plus with z = x + 10
// (n-1)!/z^n (1 + n/(2z) + sum over k of c[k] / z^2k), c[k] = B_2k (2k+n-1)! / ((2k)! (n-1)!): truncated at k = 8 below
// 2e-18 of the whole for all n and x (c[0] = 1).
typedef struct polygamma_series {
    int n;
    double factorial, below;  // n!, (n-1)!
    double c[POLYGAMMA_TERMS];
    double q[POLYGAMMA_MOST + 2];  // of the reflection
} polygamma_series;

// For x < 0 psi_n(x) = (-1)^n psi_n(1 - x) - pi d^n cot(pi x) / dx^n. In C = pi cot(pi x) the derivative is, but for
// its sign, the polynomial q_n with q_0 = C, q_n+1 = (pi^2 + C^2) q_n': no coefficient is negative, every other one is
// 0.
static void cotangent_derivative(int n, double *q) {
    const double pi_squared = 0x1.3bd3cc9be45dep+3;
    double next[POLYGAMMA_MOST + 2];
    memset(q, 0, (POLYGAMMA_MOST + 2) * sizeof *q);
    q[1] = 1;
    for (int k = 0; k < n; k++) {
        memset(next, 0, sizeof next);
        for (int j = 1; j <= k + 1; j++) {
            next[j - 1] += pi_squared * j * q[j];
            next[j + 1] += j * q[j];
        }
        memcpy(q, next, sizeof next);
    }
}

static polygamma_series polygamma_coefficients(const void *attr) {
    static const double B[] = {1,           1.0 / 6,  -1.0 / 30,       1.0 / 42, -1.0 / 30,
                               5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510};
    polygamma_series s = {.n = (int)*(const double *)attr, .below = 1};
    for (int i = 2; i < s.n; i++) s.below *= i;
    s.factorial = s.below * s.n;
    double ratio = 1;  // (2k+n-1)! / ((2k)! (n-1)!)
    for (int k = 0; k < POLYGAMMA_TERMS; k++) {
        s.c[k] = B[k] * ratio;
        ratio *= (2.0 * k + s.n) * (2.0 * k + s.n + 1) / ((2.0 * k + 1) * (2.0 * k + 2));
    }
    cotangent_derivative(s.n, s.q);
    return s;
}

// From the factorial on, factor by factor: no product leaves the range unless the result does.
AD_INLINE vd times_power(vd y, vd r, int n) {
    for (int i = 0; i < n; i++) y = y * r;
    return y;
}

// For x >= 0, without the sign.
AD_INLINE vd polygamma_positive(vd x, const polygamma_series *s) {
    vd r = vd_set(1) / (x + vd_set(POLYGAMMA_STEPS)), rest = vd_polynomial(s->c, POLYGAMMA_TERMS, r * r);
    vd y = times_power(vd_set(s->below), r, s->n) * (rest + vd_set(0.5 * s->n) * r);
    for (int k = POLYGAMMA_STEPS - 1; k >= 0; k--)
        y = y + times_power(vd_set(s->factorial), vd_set(1) / (x + vd_set(k)), s->n + 1);
    return y;
}

// The derivative of the cotangent at a > 0, as above; what has no sign at a pole is NaN.
AD_INLINE vd polygamma_reflection(vd a, const polygamma_series *s) {
    vd from_pole, C = pi_cotangent(a, &from_pole), z = C * C, y = vd_set(s->q[s->n + 1]);
    for (int j = s->n - 1; j >= 0; j -= 2) y = y * z + vd_set(s->q[j]);
    return s->n % 2 ? y : vd_if_less(vd_set(0), vd_abs(from_pole), y * C, vd_set(NAN));
}

AD_INLINE vd polygamma(vd x, const polygamma_series *s) {
    vd zero = vd_set(0), a = vd_abs(x), y = polygamma_positive(vd_if_less(x, zero, vd_set(1) + a, x), s);
    vd right = y;
    if (s->n % 2 == 0) right = -y;
    return vd_any_less(x, zero) ? vd_if_less(x, zero, polygamma_reflection(a, s) - y, right) : right;
}

AD_LANES_WIDE_WITH(polygamma, polygamma(a, &s), const polygamma_series s = polygamma_coefficients(attr))

// ---- gradients -----------------------------------------------------------------------------------------------------

static void lgamma_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_digamma(call->x[0]));
}
static void digamma_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_polygamma(call->x[0], 1));
}
static void polygamma_vjp(const ad_vjp_call *call) {
    int n = (int)*(const double *)call->attr;
    if (n == POLYGAMMA_MOST)
        ad_tape_fail(call->gy.tape, AD_ENOGRAD, "ad_polygamma: no derivative of the one of order %d, the last there is",
                     n);
    else
        call->gx[0] = ad_cotangent_mul(call->gy, ad_polygamma(call->x[0], n + 1));
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var polygamma_test_1(void *arg, const ad_var *x) {
    (void)arg;
    return ad_polygamma(x[0], 1);
}
static ad_var polygamma_test_2(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(ad_polygamma(x[0], 2), 1e-3);
}
static ad_var polygamma_test_6(void *arg, const ad_var *x) {
    (void)arg;
    return ad_polygamma(x[0], 6);
}

static const ad_op_test lgamma_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.4, .high = 4}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 20, .high = 30}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .low = -1.8, .high = -1.2}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -10.75, .high = -10.25}}},
};
static const ad_op_test digamma_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.4, .high = 4}}},
    {.n = 1, .x = {{.shape = {0, {0}}, .low = 9, .high = 11}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .low = -0.75, .high = -0.25}}},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .low = -7.8, .high = -7.3}}},
};
static const ad_op_test polygamma_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.5, .high = 4}}, .f = polygamma_test_1},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 1, .high = 4}}, .f = polygamma_test_6},
    {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .low = -1.75, .high = -1.25}}, .f = polygamma_test_1},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -5.7, .high = -5.3}}, .f = polygamma_test_2},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured (tests/test_kernels.c), but not beside roots at negative x. polygamma: 3 + 1.5 n.

static const ad_op lgamma_op = {
    .name = "lgamma", .flags = AD_OP_ELEMENTWISE, .vjp = lgamma_vjp, AD_KERNELS(lgamma), .ulp = {0.51, 1},
    AD_TESTS(lgamma_tests)};
static const ad_op digamma_op = {
    .name = "digamma", .flags = AD_OP_ELEMENTWISE, .vjp = digamma_vjp, AD_KERNELS(digamma), .ulp = {0.51, 7},
    AD_TESTS(digamma_tests)};
static const ad_op polygamma_op = {
    .name = "polygamma", .flags = AD_OP_ELEMENTWISE, .vjp = polygamma_vjp, AD_KERNELS(polygamma), .ulp = {0.51, 33},
    AD_TESTS(polygamma_tests)};

AD_FAMILY(gamma) = {&lgamma_op, &digamma_op, &polygamma_op, NULL};

#if AD_ISA_BASE
#include "../internal.h"

ad_var ad_lgamma(ad_var x) { return ad_apply(&lgamma_op, &x, 1, NULL, 0); }
ad_var ad_digamma(ad_var x) { return ad_apply(&digamma_op, &x, 1, NULL, 0); }

ad_var ad_polygamma(ad_var x, int n) {
    double order = n;  // exact, and without padding
    if (n == 0) return ad_digamma(x);
    if (n > 0 && n <= POLYGAMMA_MOST) return ad_apply(&polygamma_op, &x, 1, &order, sizeof order);
    if (x.tape) ad_tape_fail(x.tape, AD_EARG, "ad_polygamma: order %d, expected 0 to %d", n, POLYGAMMA_MOST);
    return ad_inert(x.tape);
}

#endif
