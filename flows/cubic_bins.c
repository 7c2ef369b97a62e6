// cubic_bins.c -- cubic Hermite pieces in bins, both ways.
//
// On the unit square, of slopes a0 and a1 at the ends, q = t^3 + (3 - a1) t^2 u + a0 t u^2 with u = 1 - t: positive
// terms while slopes are below 3. Back by Halley's steps from the root of the rational-quadratic piece of the same
// slopes, which is within 0.1 in q. From there five are enough for all slopes up to 2.99 and all digits of f64 (tried
// at millions of slopes and points, beside edges and flat places too); the derivatives are those of the implicit
// function.
#include <math.h>

#include "bins.h"

enum { STEPS = 5 };

ad_var flow_cubic_ratios(const flow_spline *s, ad_var raw) {
    const double least = s->options.min_derivative;
    return ad_offset(ad_scale(ad_sigmoid(raw), FLOW_CUBIC_MOST - least), least);
}

double flow_cubic_raw_of_one(const flow_spline *s) {
    return log((1 - s->options.min_derivative) / (FLOW_CUBIC_MOST - 1));
}

typedef struct cubic {
    ad_var a0, a1, q;
} cubic;

static ad_var residual(void *arg, ad_var t) {
    const cubic *c = arg;
    ad_var u = ad_offset(ad_neg(t), 1), tt = ad_square(t), rest = ad_offset(ad_neg(c->a1), 3);
    ad_var sum = ad_add(ad_mul(ad_square(u), c->a0), ad_add(tt, ad_mul(rest, ad_mul(t, u))));
    return ad_sub(ad_mul(t, sum), c->q);
}

// a0 u^2 + (6 - 2 a0 - 2 a1) t u + a1 t^2
static ad_var slope_at(const cubic *c, ad_var t, ad_var u) {
    ad_var middle = ad_offset(ad_scale(ad_add(c->a0, c->a1), -2), 6);
    ad_var ends = ad_add(ad_mul(c->a0, ad_square(u)), ad_mul(c->a1, ad_square(t)));
    return ad_add(ends, ad_mul(middle, ad_mul(t, u)));
}

// Near the root: that of the rational-quadratic piece.
static ad_var start(const cubic *c, ad_var p) {
    ad_var m = ad_sub(ad_mul(c->a0, p), ad_mul(c->a1, c->q));
    ad_var square = ad_sqrt(ad_add(ad_square(m), ad_scale(ad_mul(c->q, p), 4)));
    ad_var negative = ad_less(m, ad_number(m.tape, 0));
    ad_var t = ad_where(negative, ad_sub(square, m), ad_scale(c->q, 2));
    ad_var u = ad_where(negative, ad_scale(p, 2), ad_add(square, m));
    return ad_div(t, ad_add(t, u));
}

static ad_var root(cubic *c, ad_var p) {
    cubic fixed = {ad_stop_gradient(c->a0), ad_stop_gradient(c->a1), ad_stop_gradient(c->q)};
    ad_var t = start(&fixed, ad_stop_gradient(p));
    ad_var flat = ad_scale(ad_offset(ad_neg(ad_add(ad_scale(fixed.a0, 2), fixed.a1)), 3), 2);
    ad_var bent = ad_scale(ad_offset(ad_add(fixed.a0, fixed.a1), -2), 6);
    for (int i = 0; i < STEPS; i++) {
        ad_var slope = slope_at(&fixed, t, ad_offset(ad_neg(t), 1)), bend = ad_add(flat, ad_mul(bent, t));
        t = ad_clamp(flow_halley(t, residual(&fixed, t), slope, bend), 0, 1);
    }
    return ad_implicit(t, residual, c);
}

flow_result flow_cubic_bins(const flow_bins *b, ad_var at_knots) {
    ad_var d0, d1, zero = ad_number(b->v.tape, 0);
    flow_bins_ends(b, at_knots, &d0, &d1);
    cubic c = {ad_div(d0, b->steep), ad_div(d1, b->steep), b->inverse ? b->at : zero};
    ad_var t = b->inverse ? root(&c, b->left) : b->at, u = b->inverse ? ad_offset(ad_neg(t), 1) : b->left;
    ad_var other = b->inverse ? t : residual(&c, t);
    return flow_bins_result(b, other, slope_at(&c, t, u));
}
