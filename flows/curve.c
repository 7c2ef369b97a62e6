// curve.c -- a map of one number by name, both ways: its numbers, what lies outside its sides.
#include <math.h>
#include <string.h>

#include "internal.h"

// Where v is beyond a side's ends, and v moved to just within them.
static ad_var hold(ad_var v, const double box[2], ad_var *outside) {
    const bool single = ad_tape_type(v.tape) == AD_F32;
    const double eps = single ? 0x1p-23 : 0x1p-52, tiny = single ? 1e-36 : 1e-300;
    double low = box[0], high = box[1];
    *outside = AD_NONE;
    if (low == high) return v;
    ad_var below = ad_less(v, ad_number(v.tape, low)), above = ad_greater(v, ad_number(v.tape, high));
    *outside = ad_maximum(below, above);
    low += low == 0 ? tiny : fabs(low) * eps;
    if (isfinite(high)) high -= high == 0 ? tiny : fabs(high) * eps;
    v = ad_maximum(v, ad_number(v.tape, low));
    return isfinite(high) ? ad_minimum(v, ad_number(v.tape, high)) : v;
}

ad_var flow_curve_number(const flow_curve_settings *s, int k, ad_var raw, ad_tape *tape) {
    const flow_curve_parameter *p = &s->map->p[k];
    if (ad_is_none(raw)) return ad_number(tape, s->p[k]);
    double low = p->log ? log(p->low) : p->low, high = p->log ? log(p->high) : p->high;
    double mid = 0.5 * (low + high), half = 0.5 * (high - low),
           share = ((p->log ? log(s->p[k]) : s->p[k]) - mid) / half;
    ad_var v = ad_scale(raw, 1 / (half * (1 - share * share)));
    v = ad_offset(ad_scale(ad_tanh(ad_offset(v, atanh(share))), half), mid);
    return p->log ? ad_exp(v) : v;
}

// What is true of either.
static ad_var either(ad_var a, ad_var b) {
    return ad_is_none(a) ? b : ad_is_none(b) ? a : ad_maximum(a, b);
}

// Where a value that may grow beyond what the type holds has come to that: it is no longer told from its neighbours.
static ad_var overflown(ad_var value, bool grows) {
    const double most = flow_curve_largest(ad_tape_type(value.tape));
    return grows ? ad_greater_equal(ad_abs(value), ad_number(value.tape, most)) : AD_NONE;
}

// Outside the domain the density is 0, whichever direction one comes from: -inf in normalize, inf in generate.
static ad_var log_det(ad_var log_slope, ad_var outside, flow_direction direction) {
    double nothing = direction == FLOW_NORMALIZE ? -INFINITY : INFINITY;
    return ad_is_none(outside) ? log_slope : ad_where(outside, ad_number(log_slope.tape, nothing), log_slope);
}

flow_result flow_curve_there(const flow_curve_settings *s, const flow_curve_numbers *n, ad_var x,
                             flow_direction direction) {
    ad_var outside, inside = hold(x, s->x_box, &outside), y = s->map->value(n, inside);
    outside = either(outside, overflown(y, s->map->grows[0]));
    return (flow_result){y, log_det(s->map->log_slope(n, inside), outside, direction)};
}

flow_result flow_curve_back(const flow_curve_settings *s, const flow_curve_numbers *n, ad_var y,
                            flow_direction direction) {
    ad_var outside, beyond, x = s->map->inverse(n, hold(y, s->y_box, &outside));
    outside = either(outside, overflown(x, s->map->grows[1]));
    ad_var slope = s->map->log_slope(n, hold(x, s->x_box, &beyond));  // rounding may have x on the edge
    return (flow_result){x, log_det(ad_neg(slope), outside, direction)};
}

// ---- settings -------------------------------------------------------------------------------------------------------

static const flow_curve *find(const char *name) {
    int n;
    const flow_curve *maps = flow_curves(&n);
    for (int i = 0; name && i < n; i++) {
        if (strcmp(maps[i].name, name) == 0) return &maps[i];
    }
    return NULL;
}

bool flow_curve_onto_a_box(const flow_curve *map) {
    return map->y_box[0] > map->y_box[1];
}

bool flow_curve_settle(flow_curve_settings *s, const char *name, const double given[FLOW_CURVE_PARAMETERS], double low,
                       double high, ad_error *error) {
    const flow_curve *map = find(name);
    if (!map) {
        ad_fail(error, AD_EARG, "bijector: no map '%.64s'", name ? name : "");
        return false;
    }
    s->map = map;
    for (int k = 0; k < FLOW_CURVE_PARAMETERS && map->p[k].name; k++) {
        const flow_curve_parameter *p = &map->p[k];
        s->p[k] = given[k] == 0 ? p->start : given[k];
        if (s->p[k] > p->low && s->p[k] < p->high) continue;
        ad_fail(error, AD_EARG, "bijector '%s': %s %g; expected more than %g and less than %g", map->name, p->name,
                s->p[k], p->low, p->high);
        return false;
    }
    memcpy(s->x_box, map->x_box, sizeof s->x_box);
    memcpy(s->y_box, map->y_box, sizeof s->y_box);
    if (!flow_curve_onto_a_box(map)) return true;
    s->low = s->y_box[0] = low;
    s->high = s->y_box[1] = low == 0 && high == 0 ? 1 : high;
    if (s->low < s->high && isfinite(s->high - s->low)) return true;
    ad_fail(error, AD_EARG, "bijector '%s': a box from %g to %g", map->name, s->low, s->high);
    return false;
}
