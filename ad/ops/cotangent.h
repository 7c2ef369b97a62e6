// cotangent.h -- products of a cotangent g for vjps: 0 where g is 0, whatever the other factor is.
//
// A zero cotangent says that the value does not count, most often because ad_where took the other branch. The value may
// then be infinite or NaN, and its derivative too: 0 times that must not reach a gradient.
#ifndef AD_OPS_COTANGENT_H
#define AD_OPS_COTANGENT_H

#include "../op.h"

ad_var ad_cotangent_mul(ad_var g, ad_var x);  // g x
ad_var ad_cotangent_div(ad_var g, ad_var x);  // g / x
// g h of two cotangents, 0 where either is: the second derivative of a value that does not count, whose first met an
// infinite factor on the way to h.
ad_var ad_cotangent_pair(ad_var g, ad_var h);

#endif
