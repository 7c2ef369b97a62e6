// ulps.h -- the distance of a result from its reference, and whether it is within the bound that its op states.
#ifndef PULLBACK_TESTS_ULPS_H
#define PULLBACK_TESTS_ULPS_H

#include <float.h>

#include "op.h"
#include "reference.h"

static const double smallest[] = {FLT_MIN, DBL_MIN}, largest[] = {FLT_MAX, DBL_MAX};

// Distance of y from exact in units of the last place of exact, denormals having the smallest normal number's.
static inline double ulps(ad_type type, double y, real exact) {
    double rounded = type == AD_F32 ? (double)(float)exact : (double)exact;
    if (isnan(rounded) || isnan(y)) return isnan(rounded) && isnan(y) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(y)) {
        // Within an ulp of overflow either is right.
        return y == rounded || (fabsl(exact) >= largest[type] && fabs(y) >= largest[type] && (y > 0) == (exact > 0))
                   ? 0
                   : INFINITY;
    }
    int exponent;
    frexpl(fmaxl(fabsl(exact), smallest[type]), &exponent);
    return (double)(fabsl(y - exact) / ldexpl(1, exponent - (type == AD_F32 ? 24 : 53)));
}

static inline bool within(const ad_op *op, ad_type type, double y, real exact) {
    if (op->ulp[type] == 0) return ulps(type, y, exact) <= 0.5001;
    if (fabsl(exact) < smallest[type]) return fabsl(y - exact) <= smallest[type];  // may be flushed
    return ulps(type, y, exact) <= op->ulp[type];
}

#endif
