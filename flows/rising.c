// rising.c -- roots of increasing functions whose slope is known.
#include "rising.h"

typedef struct search {
    flow_rise (*at)(void *arg, ad_var v);
    void *arg;
} search;

// The value, with the slope as its only derivative.
static ad_var searched(void *arg, ad_var v) {
    const search *s = arg;
    flow_rise r = s->at(s->arg, v);
    ad_var none = ad_sub(v, ad_stop_gradient(v));
    return ad_add(ad_stop_gradient(r.value), ad_mul(ad_stop_gradient(r.slope), none));
}

static ad_var value(void *arg, ad_var v) {
    const search *s = arg;
    return s->at(s->arg, v).value;
}

ad_var flow_rising_root(ad_var like, flow_rise (*at)(void *arg, ad_var v), void *arg,
                        const ad_solver_options *options) {
    search s = {at, arg};
    return ad_implicit(ad_stop_gradient(ad_root(like, searched, &s, options).value), value, &s);
}
