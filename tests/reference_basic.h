// reference_basic.h -- references of arithmetic, the first exponentials, comparisons.
#ifndef PULLBACK_TESTS_REFERENCE_BASIC_H
#define PULLBACK_TESTS_REFERENCE_BASIC_H

#include "reference.h"

static const double number = -1.75;  // what scale and offset take
REFERENCE(add, a + b)
REFERENCE(sub, a - b)
REFERENCE(mul, a *b)
REFERENCE(div, a / b)
REFERENCE(neg, -a)
REFERENCE(square, a *a)
REFERENCE(sqrt, sqrtl(a))
REFERENCE(reciprocal, 1 / a)
REFERENCE(scale, a *number)
REFERENCE(offset, a + number)
REFERENCE(exp, expl(a))
REFERENCE(log, logl(a))
REFERENCE(tanh, tanhl(a))
REFERENCE(sigmoid, a < 0 ? expl(a) / (1 + expl(a)) : 1 / (1 + expl(-a)))
REFERENCE(softplus, a > 0 ? a + log1pl(expl(-a)) : log1pl(expl(a)))
REFERENCE(relu, a <= 0 ? 0 : a)
REFERENCE(cotangent_mul, a == 0 ? 0 : a * b)
REFERENCE(cotangent_div, a == 0 ? 0 : a / b)
REFERENCE(cotangent_pair, a == 0 || b == 0 ? 0 : a * b)
REFERENCE(tanh_slope, a == 0 ? 0 : a * ((1 - b) * (1 + b)))
REFERENCE(sigmoid_slope, a == 0 ? 0 : a * (b * (1 - b)))
REFERENCE(relu_slope, b > 0 || a == 0 ? a : b)
REFERENCE(greater, a > b)
REFERENCE(less, a < b)
REFERENCE(greater_equal, a >= b)
REFERENCE(less_equal, a <= b)
REFERENCE(equal, a == b)
REFERENCE(where, a != 0 ? b : c)
REFERENCE(stop_gradient, a)


// What the slopes are for: b is a tanh or a sigmoid.
static bool b_within_one(real a, real b, real c) {
    (void)a, (void)c;
    return fabsl(b) <= 1;
}

#define BASIC_REFERENCES \
    ROW(2, add), ROW(2, sub), ROW(2, mul), ROW(2, div), ROW(1, neg), ROW(1, square), ROW(1, sqrt), \
    ROW(1, reciprocal), ATTR_ROW(1, scale, &number), ATTR_ROW(1, offset, &number), ROW(1, exp), ROW(1, log), \
    ROW(1, tanh), ROW(1, sigmoid), ROW(1, softplus), ROW(1, relu), DOMAIN_ROW(2, tanh_slope, b_within_one), \
    DOMAIN_ROW(2, sigmoid_slope, b_within_one), ROW(2, relu_slope), ROW(2, greater), ROW(2, less), \
    ROW(2, greater_equal), ROW(2, less_equal), ROW(2, equal), ROW(3, where), ROW(2, cotangent_mul), \
    ROW(2, cotangent_div), ROW(2, cotangent_pair), ROW(1, stop_gradient),

#endif
