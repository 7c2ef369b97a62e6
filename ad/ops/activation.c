// activation.c -- leaky_relu, elu, celu, selu, gelu, silu, softsign.
//
// NaN gives NaN; no finite argument overflows, or meets an overflow in the branch not taken. At -inf gelu and silu have
// their limit, 0, and softsign's limits are -1 and 1. A derivative that jumps at 0 has there the value of the left
// (leaky_relu, elu and selu; the second one of celu and softsign). Results below e^-87 in f32, e^-708 in f64, may be 0.
#include <float.h>

#include "cotangent.h"
#include "special.h"
#include "vmath.h"

// Lanes kernels NAME_f32 and NAME_f64: y = NAME_vf or NAME_vd of x and the attributes, of type ATTR.
#define LANES_ATTR(NAME, ATTR) LANES_ATTR_V(NAME##_f32, NAME##_vf, ATTR, float, vf, VF) \
    LANES_ATTR_V(NAME##_f64, NAME##_vd, ATTR, double, vd, VD)
#define LANES_ATTR_V(NAME, FN, ATTR, T, V, WIDTH)                                          \
    static void NAME(size_t n, void *vy, const void *const *x, const void *attr) {         \
        T *y = vy;                                                                         \
        const T *xa = x[0];                                                                \
        const ATTR e = *(const ATTR *)attr;                                                \
        size_t j = 0;                                                                      \
        for (; j + WIDTH <= n; j += WIDTH) V##_store(y + j, FN(V##_load(xa + j), &e));     \
        if (j < n) V##_store_part(y + j, FN(V##_load_part(xa + j, n - j), &e), n - j);     \
    }

// ---- leaky_relu, softsign ------------------------------------------------------------------------------------------

AD_LANES1_NUMBER(leaky_relu, a > 0 ? a : a * c)

// From 2^60 on the quotient is 1, also of infinities.
AD_LANES1(softsign, a > 0x1p60f ? 1 : a < -0x1p60f ? -1 : a / (1 + (a < 0 ? -a : a)))

// ---- elu, celu, selu: one op and its slope -------------------------------------------------------------------------

// elu: right x above 0, left (e^(rate x) - 1) below. elu_slope: right above 0, left e^(rate x) below.
typedef struct elu_attr {
    double right, left, rate;
} elu_attr;

AD_INLINE vf vf_at_most_zero(vf x) { return vf_if_less(vf_set(0), x, vf_set(0), x); }

AD_INLINE vf elu_vf(vf x, const elu_attr *e) {
    vf left = AD_SLEEF_F32(expm1)(vf_at_most_zero(x) * vf_set((float)e->rate)) * vf_set((float)e->left);
    return vf_if_less(vf_set(0), x, vf_set((float)e->right) * x, left);
}
AD_INLINE vd elu_vd(vd x, const elu_attr *e) {
    vd left = AD_SLEEF_F64(expm1)(vd_at_most(x, 0) * vd_set(e->rate)) * vd_set(e->left);
    return vd_if_less(vd_set(0), x, vd_set(e->right) * x, left);
}
// What rounding rate x loses counts for |rate x| in the exponential: it is put back.
AD_INLINE vd elu_slope_vd(vd x, const elu_attr *e) {
    vd a = vd_at_least(vd_at_most(x, 0), -0x1p500), rate = vd_set(e->rate), z = a * rate;
    vd y = AD_SLEEF_F64(exp)(z) * vd_set(e->left);
    return vd_if_less(vd_set(0), x, vd_set(e->right), vd_fma(y, vd_fma(a, rate, -z), y));
}
#if AD_ISA_BASE
AD_INLINE vf elu_slope_vf(vf x, const elu_attr *e) { return (vf)elu_slope_vd(x, e); }
#else
AD_INLINE vf elu_slope_vf(vf x, const elu_attr *e) {
    float high = (float)e->rate, low = (float)(e->rate - (double)high);
    vf a = vf_max(vf_set(-0x1p60f), vf_at_most_zero(x)), z = a * vf_set(high);
    vf lost = vf_fma(a, vf_set(low), vf_fma(a, vf_set(high), -z)), y = AD_SLEEF_F32(exp)(z) * vf_set((float)e->left);
    return vf_if_less(vf_set(0), x, vf_set((float)e->right), vf_fma(y, lost, y));
}
#endif
LANES_ATTR(elu, elu_attr)
LANES_ATTR(elu_slope, elu_attr)

// ---- gelu: x Phi(x), and its slope Phi(x) + x density(x), in f64 ---------------------------------------------------

// With R = Phi(-a) / density(a), a = |x|: the tail density R against 1, and d = density (a - R) against 0.
AD_INLINE vd gelu(vd x) {
    vd a = vd_at_most(vd_abs(x), NORMAL_FAR), tail = vd_normal_density(a) / (a + vd_normal_excess(a));
    return vd_at_least(x, -NORMAL_FAR) * vd_if_negative(x, tail, vd_set(1) - tail);
}
AD_INLINE vd gelu_slope(vd x) {
    vd a = vd_at_most(vd_abs(x), NORMAL_FAR);
    vd d = vd_normal_density(a) * (a - vd_set(1) / (a + vd_normal_excess(a)));
    return vd_if_negative(x, -d, vd_set(1) + d);
}
AD_LANES_WIDE(gelu, gelu(a))
AD_LANES_WIDE(gelu_slope, gelu_slope(a))

// ---- silu: x s(x), and its slope s(x) (1 + x s(-x)), s the sigmoid -------------------------------------------------

AD_INLINE vd vd_silu(vd x) { return vd_at_least(x, -745) * vd_sigmoid(x); }
AD_INLINE vd vd_silu_slope(vd x) {
    vd bounded = vd_at_least(vd_at_most(x, 745), -745);
    return vd_sigmoid(x) * (vd_set(1) + bounded * vd_sigmoid(-x));
}

#if AD_ISA_BASE
AD_INLINE vf vf_silu(vf x) { return (vf)vd_silu(x); }
AD_INLINE vf vf_silu_slope(vf x) { return (vf)vd_silu_slope(x); }
#else

// As vf_sigmoid, with x multiplied into the quotient while that is a sum of two.
AD_INLINE vf vf_silu(vf x) {
    vf one = vf_set(1), zero = vf_set(0), bounded = vf_max(vf_set(-88), x);
    vf_exp_parts e = vf_exp_split(vf_max(vf_set(-88), zero - vf_abs(x)));
    vf_pair m = vf_sum(one, e.r + e.p);
    vf_pair n = {vf_if_negative(x, m.hi, one), vf_if_negative(x, m.lo, zero)};
    vf_pair q = vf_quotient(n, vf_sum3(one, e.s * m.hi, e.s * m.lo));
    vf y = vf_fma(q.hi, bounded, q.lo * bounded) * vf_if_negative(x, e.s, one);
    return vf_if_less(vf_set(88), x, x, y);
}

AD_INLINE vf vf_silu_slope(vf x) {
    vf bounded = vf_max(vf_set(-88), vf_if_less(vf_set(88), x, vf_set(88), x));
    return vf_sigmoid(x) * vf_fma(bounded, vf_sigmoid(-x), vf_set(1));
}
#endif

AD_LANES_VF(silu_f32, vf_silu)
AD_LANES_VD(silu_f64, vd_silu)
AD_LANES_VF(silu_slope_f32, vf_silu_slope)
AD_LANES_VD(silu_slope_f64, vd_silu_slope)

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op elu_slope_op, gelu_slope_op, silu_slope_op;

static void leaky_relu_vjp(const ad_vjp_call *call) {
    ad_var right = ad_greater(call->x[0], ad_number(call->gy.tape, 0));
    call->gx[0] = ad_where(right, call->gy, ad_scale(call->gy, *(const double *)call->attr));
}

// 1 / (1 + |x|)^2.
static void softsign_vjp(const ad_vjp_call *call) {
    ad_var x = call->x[0], size = ad_where(ad_greater(x, ad_number(x.tape, 0)), x, ad_neg(x));
    ad_var r = ad_reciprocal(ad_offset(size, 1));
    call->gx[0] = ad_cotangent_mul(ad_cotangent_mul(call->gy, r), r);
}

static ad_var elu_slope_of(ad_var x, double right, double left, double rate) {
    const elu_attr attr = {right, left, rate};
    return ad_apply(&elu_slope_op, &x, 1, &attr, sizeof attr);
}

static void elu_vjp(const ad_vjp_call *call) {
    const elu_attr *e = call->attr;
    call->gx[0] = ad_cotangent_mul(call->gy, elu_slope_of(call->x[0], e->right, e->left * e->rate, e->rate));
}

static void elu_slope_vjp(const ad_vjp_call *call) {
    const elu_attr *e = call->attr;
    call->gx[0] = ad_cotangent_mul(call->gy, elu_slope_of(call->x[0], 0, e->left * e->rate, e->rate));
}

static void gelu_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_apply(&gelu_slope_op, call->x, 1, NULL, 0));
}

// (2 - x^2) density(x), the density as the derivative of the cdf. Bounded to where that is not 0: no square overflows.
static void gelu_slope_vjp(const ad_vjp_call *call) {
    ad_var x = ad_clamp(call->x[0], -NORMAL_FAR, NORMAL_FAR);
    ad_var bend = ad_mul(ad_normal_density(x), ad_offset(ad_neg(ad_square(x)), 2));
    call->gx[0] = ad_cotangent_mul(call->gy, bend);
}

static void silu_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_apply(&silu_slope_op, call->x, 1, NULL, 0));
}

// s s' (2 + x (s' - s)), s = s(x), s' = s(-x). Bounded to where that is not 0: x may be infinite.
static void silu_slope_vjp(const ad_vjp_call *call) {
    ad_var x = ad_clamp(call->x[0], -800, 800), s = ad_sigmoid(x), other = ad_sigmoid(ad_neg(x));
    ad_var bend = ad_mul(ad_mul(s, other), ad_offset(ad_mul(x, ad_sub(other, s)), 2));
    call->gx[0] = ad_cotangent_mul(call->gy, bend);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static ad_var leaky_relu_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_leaky_relu(x[0], 0.1);
}
static ad_var elu_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_elu(x[0], 1.5);
}
static ad_var celu_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_celu(x[0], 0.75);
}
static ad_var selu_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_selu(x[0]);
}
static ad_var elu_slope_test(void *arg, const ad_var *x) {
    (void)arg;
    const elu_attr attr = {1, 0.75, 1.5};
    return ad_apply(&elu_slope_op, x, 1, &attr, sizeof attr);
}

static const double zero_kink[] = {0};
#define KINKED {.shape = {2, {2, 3}}, .rows = true, .kinks = zero_kink, .n_kinks = 1}
static const ad_op_test leaky_relu_tests[] = {{.n = 1, .x = {KINKED}, .f = leaky_relu_test}};
static const ad_op_test softsign_tests[] = {
    {.n = 1, .x = {KINKED}}, {.n = 1, .x = {{.shape = {0, {0}}, .low = 5, .high = 9}}}};
static const ad_op_test elu_tests[] = {
    {.n = 1, .x = {KINKED}, .f = elu_test},
    {.n = 1, .x = {KINKED}, .f = celu_test},
    {.n = 1, .x = {{.shape = {1, {3}}, .kinks = zero_kink, .n_kinks = 1}}, .f = selu_test},
};
static const ad_op_test elu_slope_tests[] = {{.n = 1, .x = {KINKED}, .f = elu_slope_test}};
static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -4, .high = 4}}},
    {.n = 1, .x = {{.shape = {1, {3}}}}},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured (tests/test_kernels.c). Those of the slopes do not hold beside the root of the slope, where the
// error is absolute.

enum { PLAIN = AD_OP_ELEMENTWISE, CHEAP = AD_OP_ELEMENTWISE | AD_OP_CHEAP };

static const ad_op leaky_relu_op = {
    .name = "leaky_relu", .flags = CHEAP, .vjp = leaky_relu_vjp, AD_KERNELS(leaky_relu), .ulp = {1, 0.51},
    AD_TESTS(leaky_relu_tests)};
static const ad_op softsign_op = {
    .name = "softsign", .flags = CHEAP, .vjp = softsign_vjp, AD_KERNELS(softsign), .ulp = {1.5, 1.5},
    AD_TESTS(softsign_tests)};
static const ad_op elu_op = {
    .name = "elu", .flags = PLAIN, .vjp = elu_vjp, AD_KERNELS(elu), .ulp = {3, 3}, AD_TESTS(elu_tests)};
static const ad_op elu_slope_op = {
    .name = "elu_slope", .flags = PLAIN, .vjp = elu_slope_vjp, AD_KERNELS(elu_slope), .ulp = {3, 3},
    AD_TESTS(elu_slope_tests)};
static const ad_op gelu_op = {
    .name = "gelu", .flags = PLAIN, .vjp = gelu_vjp, AD_KERNELS(gelu), .ulp = {0.51, 6}, AD_TESTS(smooth_tests)};
static const ad_op gelu_slope_op = {
    .name = "gelu_slope", .flags = PLAIN, .vjp = gelu_slope_vjp, AD_KERNELS(gelu_slope), .ulp = {0.51, 7},
    AD_TESTS(smooth_tests)};
static const ad_op silu_op = {
    .name = "silu", .flags = PLAIN, .vjp = silu_vjp, AD_KERNELS(silu), .ulp = {1.2, 3}, AD_TESTS(smooth_tests)};
static const ad_op silu_slope_op = {
    .name = "silu_slope", .flags = PLAIN, .vjp = silu_slope_vjp, AD_KERNELS(silu_slope), .ulp = {4, 5},
    AD_TESTS(smooth_tests)};

AD_FAMILY(activation) = {&leaky_relu_op, &softsign_op, &elu_op,  &elu_slope_op,  &gelu_op,
                         &gelu_slope_op, &silu_op,     &silu_slope_op, NULL};

#if AD_ISA_BASE
#include "../internal.h"

ad_var ad_leaky_relu(ad_var x, double slope) { return ad_apply(&leaky_relu_op, &x, 1, &slope, sizeof slope); }
ad_var ad_softsign(ad_var x) { return ad_apply(&softsign_op, &x, 1, NULL, 0); }
ad_var ad_gelu(ad_var x) { return ad_apply(&gelu_op, &x, 1, NULL, 0); }
ad_var ad_silu(ad_var x) { return ad_apply(&silu_op, &x, 1, NULL, 0); }

static ad_var exponential_linear(ad_var x, double right, double left, double rate) {
    const elu_attr attr = {right, left, rate};
    return ad_apply(&elu_op, &x, 1, &attr, sizeof attr);
}

// The largest number of x's type.
static double largest(ad_var x) { return ad_tape_type(x.tape) == AD_F32 ? FLT_MAX : DBL_MAX; }

ad_var ad_elu(ad_var x, double alpha) {
    if (!ad_check_var(x, "elu")) return ad_inert(x.tape);
    if (fabs(alpha) <= largest(x)) return exponential_linear(x, 1, alpha, 1);
    ad_tape_fail(x.tape, AD_EARG, "elu: alpha is %g, expected a finite number", alpha);
    return ad_inert(x.tape);
}

ad_var ad_celu(ad_var x, double alpha) {
    if (!ad_check_var(x, "celu")) return ad_inert(x.tape);
    if (alpha > 0 && alpha <= largest(x) && 1 / alpha <= largest(x))
        return exponential_linear(x, 1, alpha, 1 / alpha);
    ad_tape_fail(x.tape, AD_EARG, "celu: alpha is %g, expected a finite number above 0, its reciprocal finite too",
                 alpha);
    return ad_inert(x.tape);
}

// The constants of Klambauer et al. (2017), with which mean 0 and variance 1 are a fixed point.
ad_var ad_selu(ad_var x) {
    if (!ad_check_var(x, "selu")) return ad_inert(x.tape);
    const double scale = 1.0507009873554804934193349852946, alpha = 1.6732632423543772848170429916717;
    return exponential_linear(x, scale, scale * alpha, 1);
}

#endif
