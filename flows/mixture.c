// mixture.c -- cumulative distributions of mixtures in log space, and the logit or the normal quantile of them.
//
// Far out F or 1 - F is 0 to rounding, and their logarithms are near lines and parabolas: all that follows is computed
// of these. Slopes come from the hazard of the smaller tail, F' / min(F, 1 - F), a mean of the components' hazards with
// their shares in the tail as weights: positive terms alone, and shares and hazards that do not cancel however far.
#include "mixture.h"

// Of the normal distribution squares are taken; what is sought in the other direction has to lie within.
static ad_var held(bool normal, ad_var u) {
    const bool single = ad_tape_type(u.tape) == AD_F32;
    const double reach = normal ? (single ? 1e18 : 1e150) : (single ? 1e36 : 1e300);
    return ad_clamp(u, -reach, reach);
}

static ad_var log_distribution(bool normal, ad_var u) {
    return normal ? ad_normal_log_cdf(u) : ad_log_sigmoid(u);
}

flow_mixture flow_mixture_at(bool normal, ad_var u, ad_var log_weight, ad_var log_slope) {
    flow_mixture m = {.normal = normal, .u = held(normal, u), .log_weight = log_weight, .log_slope = log_slope};
    m.lower = ad_add(log_weight, log_distribution(normal, m.u));
    m.upper = ad_add(log_weight, log_distribution(normal, ad_neg(m.u)));
    m.log_lower = ad_logsumexp_axis(m.lower, -1);
    m.log_upper = ad_logsumexp_axis(m.upper, -1);
    m.low = ad_less_equal(m.log_lower, m.log_upper);
    return m;
}

// ---- hazards --------------------------------------------------------------------------------------------------------

// log of density(u) / Phi(u). On the right of 0, where it falls below all numbers, by its parts.
static ad_var log_normal_hazard(ad_var u) {
    ad_var zero = ad_number(u.tape, 0), right = ad_greater(u, zero), b = ad_where(right, u, zero);
    ad_var a = ad_where(right, zero, u), log_cdf = ad_normal_log_cdf(a), hazard;
    ad_vjp(log_cdf, ad_fill(u.tape, ad_shape_of(log_cdf), 1), &a, 1, &hazard);
    ad_var density = ad_offset(ad_scale(ad_square(b), -0.5), -FLOW_HALF_LOG_2PI);
    return ad_where(right, ad_sub(density, ad_normal_log_cdf(b)), ad_log(hazard));
}

static ad_var log_component_hazard(bool normal, ad_var u) {
    return normal ? log_normal_hazard(u) : ad_log_sigmoid(ad_neg(u));
}

// log of F' / min(F, 1 - F)
static ad_var log_hazard(const flow_mixture *m) {
    ad_var low = ad_insert_axis(m->low, -1), u = ad_where(low, m->u, ad_neg(m->u));
    ad_var log_share = ad_log_softmax(ad_where(low, m->lower, m->upper), -1);
    ad_var hazard = ad_add(log_share, log_component_hazard(m->normal, u));
    return ad_logsumexp_axis(ad_add(hazard, m->log_slope), -1);
}

// ---- to the line ----------------------------------------------------------------------------------------------------

ad_var flow_mixture_logit(const flow_mixture *m) {
    return ad_sub(m->log_lower, m->log_upper);
}

ad_var flow_mixture_logit_slope(const flow_mixture *m) {
    return ad_sub(log_hazard(m), ad_where(m->low, m->log_upper, m->log_lower));
}

ad_var flow_normal_logit(ad_var y) {
    y = held(true, y);
    return ad_sub(ad_normal_log_cdf(y), ad_normal_log_cdf(ad_neg(y)));
}

static ad_var log_cdf_less(void *arg, ad_var y) {
    return ad_sub(ad_normal_log_cdf(y), *(const ad_var *)arg);
}

// One of Newton's steps on log Phi(y) = log_p.
static ad_var newton(ad_var y, ad_var log_p) {
    ad_var log_cdf = ad_normal_log_cdf(y), hazard;
    ad_vjp(log_cdf, ad_fill(y.tape, ad_shape_of(y), 1), &y, 1, &hazard);
    return ad_sub(y, ad_div(ad_sub(log_cdf, log_p), hazard));
}

// y with log Phi(y) = log_p <= log 1/2. Below e^-30 from -sqrt(w - log w), w = -2 log_p - log 2 pi, in three steps to
// rounding.
static ad_var quantile_of_log(ad_var log_p) {
    const double far = -30;
    ad_var p = ad_stop_gradient(log_p), limit = ad_number(p.tape, far), tail = ad_less(p, limit);
    ad_var near = ad_normal_quantile(ad_exp(ad_where(tail, limit, p)));
    ad_var beyond = ad_where(tail, p, limit), w = ad_offset(ad_scale(beyond, -2), -2 * FLOW_HALF_LOG_2PI);
    ad_var y = ad_neg(ad_sqrt(ad_sub(w, ad_log(w))));
    for (int i = 0; i < 3; i++) y = newton(y, beyond);
    return ad_implicit(ad_stop_gradient(ad_where(tail, y, near)), log_cdf_less, &log_p);
}

ad_var flow_mixture_quantile(const flow_mixture *m) {
    ad_var y = quantile_of_log(ad_where(m->low, m->log_lower, m->log_upper));
    return ad_where(m->low, y, ad_neg(y));
}

ad_var flow_mixture_quantile_slope(const flow_mixture *m, ad_var y) {
    return ad_sub(log_hazard(m), log_normal_hazard(ad_where(m->low, y, ad_neg(y))));
}
