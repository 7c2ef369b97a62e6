// slope.h -- what derivatives of several families are made of.
#ifndef AD_OPS_SLOPE_H
#define AD_OPS_SLOPE_H

#include "cotangent.h"

ad_var ad_hypot(ad_var a, ad_var b);  // sqrt(a^2 + b^2) without overflow on the way (power.c)

// 1 - x^2 as (1 - x) (1 + x), which loses nothing near 1 and -1.
static inline ad_var ad_one_minus_square(ad_var x) {
    return ad_mul(ad_offset(ad_neg(x), 1), ad_offset(x, 1));
}

#endif
