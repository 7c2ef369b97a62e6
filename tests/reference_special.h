// reference_special.h -- references of the special functions and activations.
#ifndef PULLBACK_TESTS_REFERENCE_SPECIAL_H
#define PULLBACK_TESTS_REFERENCE_SPECIAL_H

#include "reference.h"
#include "special_exact.h"

static const double leak = 0.1, polygamma_order = 3;
static const double elu_numbers[] = {1.05, 1.75, 0.7};  // right, left, rate
static real bound(real x, real most) { return isnan(x) ? x : fmaxl(fminl(x, most), -most); }

// Not beside roots at negative x.
static bool digamma_domain(real a, real b, real c) {
    (void)b, (void)c;
    return a >= 0 || !(fabsl(reference_digamma(a)) < 1 + logl(1 - a));
}
static bool lgamma_domain(real a, real b, real c) {
    (void)b, (void)c;
    return a >= 0 || !(fabsl(lgammal(a)) < 1);
}

// Not beside the slopes' roots, nor where the exponential is below the smallest f32 number (of gelu f64).
static bool gelu_domain(real a, real b, real c) {
    (void)b, (void)c;
    return !(a < -37.4L);
}
static bool gelu_slope_domain(real a, real b, real c) { return gelu_domain(a, b, c) && !(fabsl(a + 0.7518L) < 0.25L); }
static bool silu_domain(real a, real b, real c) {
    (void)b, (void)c;
    return !(a < -87);
}
static bool silu_slope_domain(real a, real b, real c) { return silu_domain(a, b, c) && !(fabsl(a + 1.2785L) < 0.5L); }
static bool elu_domain(real a, real b, real c) {  // where rate x is not flushed
    (void)b, (void)c;
    return !(a < 0 && a > -2e-38L);
}
static bool elu_slope_domain(real a, real b, real c) { return silu_domain((real)elu_numbers[2] * a, b, c); }

REFERENCE(erf, erfl(a))
REFERENCE(erfc, erfcl(a))
REFERENCE(erfinv, reference_quantile(a / 2, (1 - fabsl(a)) / 2) * sqrtl(0.5L))
REFERENCE(normal_cdf, a < 0 ? reference_tail(-a) : 1 - reference_tail(a))
REFERENCE(normal_log_cdf, reference_log_cdf(a))
REFERENCE(normal_quantile, reference_quantile(a - 0.5L, a < 0.5L ? a : 1 - a))
REFERENCE(normal_density, reference_density(a))
REFERENCE(normal_hazard, reference_hazard(a))
REFERENCE(normal_hazard_excess, reference_hazard_excess(a))
REFERENCE(lgamma, lgammal(a))
REFERENCE(digamma, a == 0 ? -1 / a : reference_digamma(a))
REFERENCE(polygamma, reference_polygamma(a, (int)polygamma_order))
REFERENCE(leaky_relu, a > 0 ? a : a *leak)
REFERENCE(softsign, isinf(a) ? copysignl(1, a) : a / (1 + fabsl(a)))
REFERENCE(elu, a > 0 ? elu_numbers[0] * a : elu_numbers[1] * expm1l(a * elu_numbers[2]))
REFERENCE(elu_slope, a > 0 ? elu_numbers[0] : elu_numbers[1] * expl(a * elu_numbers[2]))
REFERENCE(gelu, a < 0 ? fmaxl(a, -200) * reference_tail(-a) : a * (1 - reference_tail(a)))
REFERENCE(gelu_slope, (a < 0 ? reference_tail(-a) : 1 - reference_tail(a)) + bound(a, 200) * reference_density(a))
REFERENCE(silu, (a < 0 ? fmaxl(a, -11000) : a) * sigmoid_of(a))
REFERENCE(silu_slope, sigmoid_of(a) * (1 + bound(a, 11000) * sigmoid_of(-a)))

#define SPECIAL_REFERENCES \
    ROW(1, erf), ROW(1, erfc), ROW(1, erfinv), ROW(1, normal_cdf), ROW(1, normal_log_cdf), ROW(1, normal_quantile), \
    ROW(1, normal_density), ROW(1, normal_hazard), ROW(1, normal_hazard_excess), \
    DOMAIN_ROW(1, lgamma, lgamma_domain), DOMAIN_ROW(1, digamma, digamma_domain), \
    ATTR_ROW(1, polygamma, &polygamma_order), ATTR_ROW(1, leaky_relu, &leak), ROW(1, softsign), \
    ATTR_DOMAIN_ROW(1, elu, elu_numbers, elu_domain), ATTR_DOMAIN_ROW(1, elu_slope, elu_numbers, elu_slope_domain), \
    DOMAIN_ROW(1, gelu, gelu_domain), DOMAIN_ROW(1, gelu_slope, gelu_slope_domain), \
    DOMAIN_ROW(1, silu, silu_domain), DOMAIN_ROW(1, silu_slope, silu_slope_domain),

#endif
