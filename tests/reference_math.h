// reference_math.h -- references of powers, logarithms, trigonometric and hyperbolic functions, rounding.
#ifndef PULLBACK_TESTS_REFERENCE_MATH_H
#define PULLBACK_TESTS_REFERENCE_MATH_H

#include "reference.h"

// log(2) in two parts: so that x - log(2) is exact enough around its root.
static const real log_two[] = {0xb17217f7d1cf79acp-64L, -0xd871319ff0342543p-130L};
static const double power_exponent = -2.75;
static const double clamp_bounds[] = {-0.75, 1.5};

// log |e^x - 1|: around its root ln(2) by what e^x - 1 differs from 1.
static real log_abs_expm1(real x) {
    if (x < -1) return log1pl(-expl(x));
    if (x < 0.3) return logl(fabsl(expm1l(x)));
    return x < 40 ? log1pl(2 * expm1l((x - log_two[0]) - log_two[1])) : x;
}

static real log_add_exp_of(real a, real b) {
    real d = a == b ? 0 : -fabsl(a - b);
    return fmaxl(a, b) + log1pl(expl(d)) + 0 * d;
}

REFERENCE(exp2, exp2l(a))
REFERENCE(expm1, expm1l(a))
REFERENCE(log1p, log1pl(a))
REFERENCE(log2, log2l(a))
REFERENCE(log1mexp, a > 0 ? NAN : log_abs_expm1(a))
REFERENCE(softplus_inverse, a < 0 ? NAN : log_abs_expm1(a))
REFERENCE(log_add_exp, isnan(a) || isnan(b) ? NAN : isinf(a - b) ? fmaxl(a, b) : log_add_exp_of(a, b))
REFERENCE(log_sigmoid, a < 0 ? a - log1pl(expl(a)) : -log1pl(expl(-a)))
REFERENCE(logit, a < 0.25 ? logl(a / (1 - a)) : log1pl((2 * a - 1) / (1 - a)))
REFERENCE(gap, a == b ? 0 : a - b)
REFERENCE(sin, sinl(a))
REFERENCE(cos, cosl(a))
REFERENCE(tan, tanl(a))
REFERENCE(asin, asinl(a))
REFERENCE(acos, acosl(a))
REFERENCE(atan, atanl(a))
REFERENCE(atan2, atan2l(a, b))
REFERENCE(sinh, sinhl(a))
REFERENCE(cosh, coshl(a))
REFERENCE(asinh, asinhl(a))
REFERENCE(acosh, acoshl(a))
REFERENCE(atanh, atanhl(a))
REFERENCE(rsqrt, 1 / sqrtl(a))
REFERENCE(pow, powl(a, b))
REFERENCE(power, powl(a, power_exponent))
REFERENCE(hypot, isnan(a) || isnan(b) ? NAN : hypotl(a, b))
REFERENCE(abs, fabsl(a))
REFERENCE(sign, a > 0 ? 1 : a < 0 ? -1 : a)
REFERENCE(floor, floorl(a))
REFERENCE(ceil, ceill(a))
REFERENCE(round, rintl(a))
REFERENCE(maximum, isnan(a) || isnan(b) ? NAN : fmaxl(a, b))
REFERENCE(minimum, isnan(a) || isnan(b) ? NAN : fminl(a, b))
REFERENCE(share, isnan(a) || isnan(b) ? NAN : a == b ? 0.5 : a > b)
REFERENCE(clamp, a < clamp_bounds[0] ? clamp_bounds[0] : a > clamp_bounds[1] ? clamp_bounds[1] : a)
REFERENCE(not_equal, a != b)

// Where denormals count as zero the logarithm of what is nearly e^x - 1, or x, has none of its own.
static bool a_not_denormal(real a, real b, real c) {
    (void)b, (void)c;
    return a == 0 || !(fabsl(a) < 0x1p-126L);
}

// Away from the zeros of log_add_exp.
static bool sum_away_from_one(real a, real b, real c) {
    (void)c;
    real largest = fmaxl(a, b);
    return !(largest > -1.5L && largest < 0);
}

#define MATH_REFERENCES \
    ROW(1, exp2), ROW(1, expm1), ROW(1, log1p), ROW(1, log2), DOMAIN_ROW(1, log1mexp, a_not_denormal), \
    DOMAIN_ROW(1, softplus_inverse, a_not_denormal), DOMAIN_ROW(2, log_add_exp, sum_away_from_one), \
    ROW(1, log_sigmoid), DOMAIN_ROW(1, logit, a_not_denormal), ROW(2, gap), ROW(1, sin), ROW(1, cos), ROW(1, tan), \
    ROW(1, asin), ROW(1, acos), ROW(1, atan), ROW(2, atan2), ROW(1, sinh), ROW(1, cosh), ROW(1, asinh), \
    ROW(1, acosh), ROW(1, atanh), ROW(1, rsqrt), ROW(2, pow), ATTR_ROW(1, power, &power_exponent), ROW(2, hypot), \
    ROW(1, abs), ROW(1, sign), ROW(1, floor), ROW(1, ceil), ROW(1, round), ROW(2, maximum), ROW(2, minimum), \
    ROW(2, share), ATTR_ROW(1, clamp, clamp_bounds), ROW(2, not_equal),

#endif
