// vmath.h -- tanh, sigmoid, softplus, and logarithms that lose nothing at their ends, built on one inline exponential
// and one inline logarithm.
//
// SLEEF's tanh takes three times as long and SLEEF has neither of the next two. In f32 all three come from
// t = e^-|x| <= 1 with one division; sigmoid and softplus keep t as a sum of two floats, so that their error is the
// final rounding and little else. log1p, log1mexp, softplus_inverse and logit are the logarithm of such a sum, which
// keeps what the rounding of 1 + x, 1 - e^x and so on would drop. Only operations that IEEE 754 rounds exactly, fma
// among them: AVX2 and AVX-512 give the same bits. In f64, and in f32 without fma (plain C, where the f64 result is
// rounded), they are the textbook forms on SLEEF.
//
// NaN gives NaN. A result below the smallest normal number may come as 0 (runs flush denormals anyway).
#ifndef AD_OPS_VMATH_H
#define AD_OPS_VMATH_H

#include <sleef.h>

#include "simd.h"

// ---- f64: errors are those of SLEEF (1 ulp each) plus the roundings of the formula ---------------------------------

AD_INLINE vd vd_tanh(vd x) { return AD_SLEEF_F64(tanh)(x); }

AD_INLINE vd vd_sigmoid(vd x) {
    vd one = vd_set(1), t = AD_SLEEF_F64(exp)(vd_set(0) - vd_abs(x));
    return vd_if_negative(x, t, one) / (one + t);
}

AD_INLINE vd vd_softplus(vd x) {
    vd t = AD_SLEEF_F64(exp)(vd_set(0) - vd_abs(x));
    return vd_max(x, vd_set(0)) + AD_SLEEF_F64(log1p)(t);
}

// log(hi + lo), |lo| at most an ulp of hi.
AD_INLINE vd vd_log_sum(vd hi, vd lo) {
    vd y = AD_SLEEF_F64(log)(hi);
    return vd_if_less(vd_abs(y), vd_set(INFINITY), y + lo / hi, y);
}

// SLEEF underflows to 0 near the smallest normal numbers, and overflows above 1.1e307.
AD_INLINE vd vd_log1p(vd x) {
    const vd large = vd_set(0x1p1000);
    vd y = vd_if_less(vd_abs(x), vd_set(0x1p-60), x, AD_SLEEF_F64(log1p)(x));
    if (vd_any_less(large, x)) y = vd_if_less(large, x, AD_SLEEF_F64(log)(x), y);
    return y;
}

AD_INLINE vd vd_expm1(vd x) { return AD_SLEEF_F64(expm1)(x); }

// log(1 - e^x) by expm1 near 0, by 1 - e^x and its rounding error further out (the split of Maechler 2012).
AD_INLINE vd vd_log1mexp(vd x) {
    const vd split = vd_set(-0.7);
    vd one = vd_set(1), t = AD_SLEEF_F64(exp)(x), far = one - t, near = vd_set(0) - AD_SLEEF_F64(expm1)(x);
    return vd_log_sum(vd_if_less(x, split, far, near), vd_if_less(x, split, (one - far) - t, vd_set(0)));
}

// log(e^x - 1), with e^x - 1 = 1 + 2 (e^(x - ln 2) - 1) but near 0: so it is exact around its root ln 2.
AD_INLINE vd vd_softplus_inverse(vd x) {
    const vd split = vd_set(0.35), large = vd_set(40);
    vd one = vd_set(1), near = vd_min(large, x);
    vd shifted = (near - vd_set(0x1.62e42fefa39efp-1)) - vd_set(0x1.abc9e3b39803fp-56);
    vd m = AD_SLEEF_F64(expm1)(vd_if_less(x, split, near, shifted)), m2 = m + m, sum = one + m2, back = sum - one;
    vd hi = vd_if_less(x, split, m, sum), lo = vd_if_less(x, split, vd_set(0), (one - (sum - back)) + (m2 - back));
    return vd_if_less(x, large, vd_log_sum(hi, lo), x);
}

// log(x / (1 - x)), from 1/4 on as log(1 + (2 x - 1) / (1 - x)), where 2 x - 1 is exact: so it is around its root 1/2.
AD_INLINE vd vd_logit(vd x) {
    const vd split = vd_set(0.25);
    vd one = vd_set(1), q = vd_if_less(x, split, x, x + x - one) / (one - x), sum = one + q, back = sum - one;
    vd lo = (one - (sum - back)) + (q - back);
    return vd_log_sum(vd_if_less(x, split, q, sum), vd_if_less(x, split, vd_set(0), lo));
}

#if AD_ISA_BASE

AD_INLINE vf vf_log1p(vf x) { return (vf)Sleef_log1p_u10(x); }
AD_INLINE vf vf_expm1(vf x) { return (vf)Sleef_expm1_u10(x); }
AD_INLINE vf vf_log1mexp(vf x) { return (vf)vd_log1mexp(x); }
AD_INLINE vf vf_softplus_inverse(vf x) { return (vf)vd_softplus_inverse(x); }
AD_INLINE vf vf_logit(vf x) { return (vf)vd_logit(x); }

// Six times as fast as SLEEF's scalar tanh, and far within the rounding to f32.
AD_INLINE vf vf_tanh(vf x) {
    vd a = x, t = Sleef_exp_u10(-2 * fabs(a));
    return (vf)(fabs(a) < 1e-3 ? a * (1 - a * a / 3) : copysign((1 - t) / (1 + t), a));
}
AD_INLINE vf vf_sigmoid(vf x) { return (vf)vd_sigmoid(x); }
AD_INLINE vf vf_softplus(vf x) { return (vf)vd_softplus(x); }

#else

// ---- f32 -----------------------------------------------------------------------------------------------------------

// e^x = s (1 + r + p), s = 2^k, |r| <= ln(2)/2, p = e^r - 1 - r. For |x| <= 88 and NaN.
typedef struct vf_exp_parts {
    vf s, r, p;
    vf z, r_lost;  // k + 1.5 * 2^23; what rounding has taken from r
} vf_exp_parts;

// Minimax polynomial of (e^r - 1 - r) / r^2, absolute error of p below 3.2e-9.
AD_INLINE vf_exp_parts vf_exp_split(vf x) {
    const vf shift = vf_set(0x1.8p23f);  // adding it rounds to an integer
    vf z = vf_fma(x, vf_set(0x1.715476p0f), shift), k = z - shift;
    vf r = vf_fnma(k, vf_set(0x1.62e43p-1f), x);        // exact: x and k ln2_high agree in their leading bits
    vf exact = r, low = vf_set(-0x1.05c610p-29f);
    r = vf_fnma(k, low, r);
    vf r2 = r * r;  // Estrin's scheme: these chains are bound by latency
    vf q = vf_fma(vf_set(0x1.123b92p-7f), r, vf_set(0x1.55545ep-5f));
    q = vf_fma(vf_set(0x1.6db478p-10f), r2, q);
    q = vf_fma(q, r2, vf_fma(vf_set(0x1.55548ep-3f), r, vf_set(0.5f)));
    return (vf_exp_parts){vf_pow2(z), r, q * r2, z, vf_fnma(k, low, exact - r)};
}

// An unevaluated sum hi + lo.
typedef struct vf_pair {
    vf hi, lo;
} vf_pair;

// a + b with |a| >= |b|, exactly (Dekker 1971).
AD_INLINE vf_pair vf_sum(vf a, vf b) {
    vf hi = a + b;
    return (vf_pair){hi, (a - hi) + b};
}

// a + b + c with |a| >= |b| >= |c|, c added to the low part.
AD_INLINE vf_pair vf_sum3(vf a, vf b, vf c) {
    vf_pair sum = vf_sum(a, b);
    return (vf_pair){sum.hi, sum.lo + c};
}

// a + b in any order, exactly (Knuth 1969).
AD_INLINE vf_pair vf_sum_any(vf a, vf b) {
    vf hi = a + b, back = hi - a;
    return (vf_pair){hi, (a - (hi - back)) + (b - back)};
}

// n / d to about 0.5 ulp before the caller's own rounding: one division and its remainder.
AD_INLINE vf_pair vf_quotient(vf_pair n, vf_pair d) {
    vf inverse = vf_set(1) / d.hi, q = n.hi * inverse;
    vf remainder = vf_fnma(q, d.hi, n.hi) + vf_fnma(q, d.lo, n.lo);
    return (vf_pair){q, remainder * inverse};
}

// 1 - 2 t / (1 + t), t = e^-2|x|, from 0.7 on, where the quotient and its error are small; below, a minimax polynomial
// of (tanh(x) - x) / x^3 in x^2, relative error of tanh below 7e-10.
AD_INLINE vf vf_tanh(vf x) {
    vf a = vf_abs(x), u = a * a;
    vf_exp_parts e = vf_exp_split(vf_max(vf_set(-40), a * vf_set(-2)));
    vf t = vf_fma(e.s, e.r + e.p, e.s);
    vf large = vf_fnma(vf_set(2), t / (vf_set(1) + t), vf_set(1));
    vf p = vf_fma(vf_set(0.00189453422f), u, vf_set(-0.00788180344f));
    p = vf_fma(p, u, vf_set(0.0215703212f));
    p = vf_fma(p, u, vf_set(-0.0539207906f));
    p = vf_fma(p, u, vf_set(0.133329824f));
    p = vf_fma(p, u, vf_set(-0.333333254f));
    vf small = vf_fma(p * u, a, a);
    return vf_copysign(vf_if_less(a, vf_set(0.7f), small, large), x);
}

// 1 / (1 + t) or t / (1 + t), t = e^-|x| = s m. s is applied last, so that no correction underflows.
AD_INLINE vf vf_sigmoid(vf x) {
    vf one = vf_set(1), zero = vf_set(0);
    vf_exp_parts e = vf_exp_split(vf_max(vf_set(-88), zero - vf_abs(x)));
    vf_pair m = vf_sum(one, e.r + e.p);
    vf_pair n = {vf_if_negative(x, m.hi, one), vf_if_negative(x, m.lo, zero)};
    vf_pair q = vf_quotient(n, vf_sum3(one, e.s * m.hi, e.s * m.lo));
    return (q.hi + q.lo) * vf_if_negative(x, e.s, one);
}

// max(x, 0) + log(1 + t), t = e^-|x| = s m, log(1 + t) = 2 atanh(z), z = t / (2 + t) <= 1/3.
// Minimax polynomial of (2 atanh(z) - 2 z) / z^3 in z^2, relative error of the logarithm below 4.6e-9.
AD_INLINE vf vf_softplus(vf x) {
    vf two = vf_set(2), zero = vf_set(0);
    vf_exp_parts e = vf_exp_split(vf_max(vf_set(-88), zero - vf_abs(x)));
    vf_pair m = vf_sum(vf_set(1), e.r + e.p);
    vf_pair q = vf_quotient(m, vf_sum3(two, e.s * m.hi, e.s * m.lo));  // z / s
    vf z = e.s * q.hi, u = z * z;
    vf p = vf_fma(vf_set(0.280313462f), u, vf_set(0.279978454f));
    p = vf_fma(p, u * u, vf_fma(vf_set(0.400217712f), u, vf_set(0.666664124f)));
    vf log1p = vf_fma(two, q.hi, vf_fma(p * u, q.hi, two * q.lo)) * e.s;
    return vf_max(x, zero) + log1p;
}

// log(a), |a.lo| at most an ulp of a.hi; of a denormal it is -inf. a = 2^k (1 + f), f = f.hi + f.lo, and the minimax
// polynomial of (log(1 + f) - f + f^2/2) / f^3 leaves a relative error of the logarithm below 5.9e-9.
AD_INLINE vf vf_log_pair(vf_pair a) {
    vf one = vf_set(1), m, k = vf_exponent(a.hi, &m);
    vf lo = a.lo * vf_pow2(vf_set(0x1.8p23f) + vf_max(vf_set(-127), vf_set(0) - k));
    vf_pair f = vf_sum(m - one, lo);
    vf h = f.hi * f.hi, h2 = h * h;
    vf p = vf_fma(vf_fma(vf_set(-0x1.38c974p-4f), f.hi, vf_set(0x1.055eaep-3f)), h,
                  vf_fma(vf_set(-0x1.0d8246p-3f), f.hi, vf_set(0x1.22d930p-3f)));
    vf q = vf_fma(vf_fma(vf_set(-0x1.54728ap-3f), f.hi, vf_set(0x1.99a01cp-3f)), h,
                  vf_fma(vf_set(-0x1.000226p-2f), f.hi, vf_set(0x1.555554p-2f)));
    p = vf_fma(p, h2, q);
    q = vf_fma(vf_set(-0.5f), h, vf_fma(h * f.hi, p, vf_fnma(f.lo, f.hi, f.lo)));
    vf_pair y = vf_sum(k * vf_set(0x1.62e4p-1f), f.hi);  // exact
    vf log = y.hi + (y.lo + vf_fma(k, vf_set(0x1.7f7d1cp-20f), q));
    log = vf_if_less(a.hi, vf_set(INFINITY), log, a.hi);
    vf below = vf_if_less(a.hi, vf_set(0), vf_set(NAN), vf_set(-INFINITY));
    return vf_if_less(a.hi, vf_set(0x1p-126f), below, log);
}

AD_INLINE vf vf_log1p(vf x) { return vf_copysign(vf_abs(vf_log_pair(vf_sum_any(vf_set(1), x))), x); }

// e^r - 1 - r for |r| <= ln(2)/2 as r^2/2 + r^3 q, relative error of e^r - 1 below 4.3e-10.
AD_INLINE vf vf_exp_tail(vf r) {
    vf r2 = r * r;
    vf q = vf_fma(vf_set(0x1.a242eep-13f), r2, vf_fma(vf_set(0x1.6d3c98p-10f), r, vf_set(0x1.111004p-7f)));
    q = vf_fma(q, r2, vf_fma(vf_set(0x1.5554f6p-5f), r, vf_set(0x1.555556p-3f)));
    return vf_fma(r2 * r, q, vf_set(0.5f) * r2);
}

// one (e^x - 1), given s = one 2^k and the parts of e^x.
AD_INLINE vf_pair vf_expm1_pair(vf s, vf one, vf_exp_parts e) {
    vf_pair a = vf_sum_any(s, vf_set(0) - one), b = vf_sum(a.hi, s * e.r);
    vf p = vf_fma(e.r_lost, vf_set(1) + e.r, vf_exp_tail(e.r));
    return vf_sum(b.hi, vf_fma(s, p, a.lo + b.lo));
}

// By halves, as 2^k alone may overflow.
AD_INLINE vf vf_expm1(vf x) {
    vf_exp_parts e = vf_exp_split(vf_min(vf_set(89), vf_max(vf_set(-40), x)));
    vf_pair half = vf_expm1_pair(vf_pow2(e.z - vf_set(1)), vf_set(0.5f), e);
    return vf_if_less(vf_abs(x), vf_set(0x1p-30f), x, (half.hi + half.lo) * vf_set(2));
}

// Far out -e^x, of which the pair has parts that underflow.
AD_INLINE vf vf_log1mexp(vf x) {
    vf_exp_parts e = vf_exp_split(vf_min(vf_set(1), vf_max(vf_set(-88), x)));
    vf_pair m = vf_expm1_pair(e.s, vf_set(1), e);
    vf far = vf_fnma(e.s, e.r + e.p, vf_set(0) - e.s);
    return vf_if_less(x, vf_set(-18), far, vf_log_pair((vf_pair){vf_set(0) - m.hi, vf_set(0) - m.lo}));
}

AD_INLINE vf vf_softplus_inverse(vf x) {
    const vf large = vf_set(20);
    vf_exp_parts e = vf_exp_split(vf_min(large, vf_max(vf_set(-1), x)));
    return vf_if_less(x, large, vf_log_pair(vf_expm1_pair(e.s, vf_set(1), e)), x);
}

AD_INLINE vf vf_logit(vf x) {
    vf zero = vf_set(0), one = vf_set(1);
    vf y = vf_log_pair(vf_quotient((vf_pair){x, zero}, vf_sum(one, zero - x)));
    return vf_if_less(one, x, vf_set(NAN), vf_if_less(x, zero, vf_set(NAN), y));
}

#endif
#endif
