// rising.h -- roots of increasing functions whose slope is known.
#ifndef PULLBACK_RISING_H
#define PULLBACK_RISING_H

#include "internal.h"

typedef struct flow_rise {
    ad_var value, slope;
} flow_rise;

// v with at(arg, v).value = 0, element by element, as ad_root finds it; at(arg, v).slope is d value / d v. The search
// takes it from there, which is cheaper than the chain rule. Derivatives are those of the value, to any order. at is
// called twice.
ad_var flow_rising_root(ad_var like, flow_rise (*at)(void *arg, ad_var v), void *arg, const ad_solver_options *options);

#endif
