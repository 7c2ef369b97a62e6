// vmath.h -- tanh, sigmoid and softplus of vectors, built on one inline exponential.
//
// SLEEF's tanh takes three times as long and SLEEF has neither of the others. In f32 all three come from
// t = e^-|x| <= 1 with one division; sigmoid and softplus keep t as a sum of two floats, so that their error is the final rounding and
// little else. Only operations that IEEE 754 rounds exactly, fma among them: AVX2 and AVX-512 give the same bits. In
// f64, and in f32 without fma (plain C, where the f64 result is rounded), they are the textbook forms on SLEEF.
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

#if AD_ISA_BASE

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
} vf_exp_parts;

// Minimax polynomial of (e^r - 1 - r) / r^2, absolute error of p below 3.2e-9.
AD_INLINE vf_exp_parts vf_exp_split(vf x) {
    const vf shift = vf_set(0x1.8p23f);  // adding it rounds to an integer
    vf z = vf_fma(x, vf_set(0x1.715476p0f), shift), k = z - shift;
    vf r = vf_fnma(k, vf_set(0x1.62e43p-1f), x);        // exact: x and k ln2_high agree in their leading bits
    r = vf_fnma(k, vf_set(-0x1.05c610p-29f), r);
    vf r2 = r * r;  // Estrin's scheme: these chains are bound by latency
    vf q = vf_fma(vf_set(0x1.123b92p-7f), r, vf_set(0x1.55545ep-5f));
    q = vf_fma(vf_set(0x1.6db478p-10f), r2, q);
    q = vf_fma(q, r2, vf_fma(vf_set(0x1.55548ep-3f), r, vf_set(0.5f)));
    return (vf_exp_parts){vf_pow2(z), r, q * r2};
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

#endif
#endif
