// special.h -- the upper tail of the normal distribution for vectors of doubles, and what its users share.
//
// Everything here is f64; f32 kernels round the result (AD_LANES_WIDE). That keeps one text for both types, and makes
// the f32 result nearly correctly rounded where an f32 formula would cancel.
#ifndef AD_OPS_SPECIAL_H
#define AD_OPS_SPECIAL_H

#include <sleef.h>

#include "simd.h"

// a b + c, rounded once where the instruction set does that.
AD_INLINE vd vd_multiply_add(vd a, vd b, vd c) {
#if AD_ISA_BASE
    return a * b + c;
#else
    return vd_fma(a, b, c);
#endif
}

// c[0] + c[1] t + ... + c[n-1] t^(n-1).
AD_INLINE vd vd_polynomial(const double *c, int n, vd t) {
    vd y = vd_set(c[n - 1]);
    for (int i = n - 2; i >= 0; i--) y = vd_multiply_add(y, t, vd_set(c[i]));
    return y;
}

// min(x, high), max(x, low); NaN stays NaN.
AD_INLINE vd vd_at_most(vd x, double high) { return vd_if_less(vd_set(high), x, vd_set(high), x); }
AD_INLINE vd vd_at_least(vd x, double low) { return vd_if_less(x, vd_set(low), vd_set(low), x); }

ad_var ad_normal_density(ad_var x);  // exp(-x^2/2) / sqrt(2 pi) (error_function.c)

#define NORMAL_DENSITY_0 0x1.9884533d43651p-2  // 1 / sqrt(2 pi)
enum { NORMAL_FAR = 40 };                      // beyond it the density is 0 in f64

// exp(-a^2/2) / sqrt(2 pi) for |a| <= NORMAL_FAR: what rounding the square loses is put back.
AD_INLINE vd vd_normal_density(vd a) {
    vd q = a * a, lost = vd_fma(a, a, -q);
    vd e = AD_SLEEF_F64(exp)(vd_set(-0.5) * q) * vd_set(NORMAL_DENSITY_0);
    return vd_fma(e, vd_set(-0.5) * lost, e);
}

// E(a) = density(a) / Phi(-a) - a for a >= 0, from which the whole tail follows without cancellation:
// Phi(-a) = density(a) / (a + E). It falls from sqrt(2/pi) to 0 as 1/a, so that E (a + 7/2) is smooth in
// t = (a - 7/2) / (a + 7/2), and here the Chebyshev series of that, error 1.3e-17, in powers of t.
AD_INLINE vd vd_normal_excess(vd a) {
    static const double c[] = {
        0x1.c27e3edb727fbp+0,   -0x1.07aca9e6aa4b0p+0,  0x1.af81837b86595p-3,   0x1.3ace3d5a9db16p-3,
        -0x1.9cd58a0097920p-4,  -0x1.6b6613b93b747p-6,  0x1.23886e5498f72p-5,   0x1.0a0f8714aeea5p-9,
        -0x1.84b7132422c41p-7,  0x1.1d63b0d153161p-12,  0x1.faf6219beb605p-9,   -0x1.ac9decade4139p-13,
        -0x1.42de522006d3cp-10, 0x1.d202ad7f1f62bp-15,  0x1.8a963ffda644dp-12,  -0x1.24cb33fc3028cp-18,
        -0x1.c2201604feabap-14, -0x1.dbc2d983dcc55p-19, 0x1.cf65fd5597275p-16,  0x1.027d3365d0866p-19,
        -0x1.9f1807346f1dfp-18, -0x1.df0bd8fc5b9c1p-22, 0x1.38f1b3d77bd19p-20,  0x1.78cd766901e8ap-27,
        -0x1.84774fe5d60d9p-23, 0x1.66f4c9378c2a3p-26,  0x1.7ebaa196e18cdp-26,  -0x1.1122be2cac562p-28,
        -0x1.d7f91e271d55fp-30};
    vd w = vd_set(1) / (a + vd_set(3.5)), t = vd_multiply_add(vd_set(-7), w, vd_set(1));
    return vd_polynomial(c, sizeof c / sizeof c[0], t) * w;
}

#endif
