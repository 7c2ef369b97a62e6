// transformer_bernstein.c -- the element map of a Bernstein polynomial of increasing coefficients.
//
// Ramasinghe et al. 2021, "Robust normalizing flows using Bernstein-type polynomials". Of degree n on the box: with t
// from its left end and u = 1 - t, the slope is sum of s_k B_k, B_k = binomial(n - 1, k) t^k u^(n - 1 - k), where the
// shares s_k >= floor have mean 1; and the map the sum of c_k B_k, c the sums of shares before, and t times the slope.
// All are sums of positive terms. Outside go the lines of the ends' slopes: as point and slope are those of the nearest
// point of the box, one formula does for all.
#include <math.h>

#include "rising.h"

typedef struct bernstein {
    flow_transformer transformer;
    int64_t degree;
    double bound, floor;
} bernstein;

enum { MAX_DEGREE = 64 };

// ---- the map --------------------------------------------------------------------------------------------------------

// Of n features: shares, and sums of those before, as parts of the box, [n, degree], and where the map should come to.
typedef struct curve {
    const bernstein *b;
    ad_var shares, before, z;
} curve;

static curve curve_of(const bernstein *b, flow_parameters p, ad_var z) {
    const double n = (double)b->degree;
    curve c = {.b = b, .z = z};
    ad_var parts = ad_softmax(flow_parameters_by_feature(p), -1);
    c.shares = ad_offset(ad_scale(parts, n * (1 - b->floor)), b->floor);
    ad_var with = ad_scale(ad_cumsum(c.shares, -1), 1 / n);
    c.before = b->degree > 1 ? ad_pad(ad_slice(with, -1, 0, b->degree - 1), -1, 1, 0, 0) : ad_zeros_like(with);
    return c;
}

// Polynomials of degree n - 1 at t [N]: [N, n].
static ad_var basis(const bernstein *b, ad_var t, ad_var u) {
    const int last = (int)b->degree - 1;
    ad_var up[MAX_DEGREE], down[MAX_DEGREE], all[MAX_DEGREE];
    double choose = 1;
    if (last == 0) return ad_fill(t.tape, ad_shape2(1, 1), 1);
    for (int k = 0; k <= last; k++) {
        up[k] = k < 2 ? t : ad_mul(up[k - 1], t);
        down[k] = k < 2 ? u : ad_mul(down[k - 1], u);
    }
    for (int k = 0; k <= last; k++) {
        ad_var term = k == 0 ? down[last] : k == last ? up[last] : ad_mul(up[k], down[last - k]);
        all[k] = ad_scale(term, choose);
        choose = choose * (last - k) / (k + 1);
    }
    return ad_stack(all, last + 1, -1);
}

// Value and slope.
static flow_result at(const curve *c, ad_var v) {
    const double bound = c->b->bound;
    ad_var edge = ad_clamp(v, -bound, bound), over = ad_sub(v, edge);
    ad_var t = ad_scale(ad_offset(edge, bound), 0.5 / bound), u = ad_scale(ad_offset(ad_neg(edge), bound), 0.5 / bound);
    ad_var B = basis(c->b, t, u), slope = ad_sum_axis(ad_mul(B, c->shares), -1);
    ad_var q = ad_add(ad_sum_axis(ad_mul(B, c->before), -1), ad_scale(ad_mul(t, slope), 1 / (double)c->b->degree));
    return (flow_result){ad_add(ad_offset(ad_scale(q, 2 * bound), -bound), ad_mul(slope, over)), slope};
}

static flow_rise excess(void *arg, ad_var v) {
    const curve *c = arg;
    flow_result r = at(c, v);
    return (flow_rise){ad_sub(r.value, c->z), r.log_det};
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    curve c = curve_of((const bernstein *)t, p, AD_NONE);
    flow_result r = at(&c, v);
    return (flow_result){r.value, ad_log(r.log_det)};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var z) {
    const bernstein *b = (const bernstein *)t;
    curve c = curve_of(b, p, z);
    const ad_solver_options o = {.low = -b->bound, .high = b->bound};
    ad_var v = flow_rising_root(z, excess, &c, &o);
    return (flow_result){v, ad_neg(ad_log(at(&c, v).log_det))};
}

static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)p;
    return (flow_gauges){AD_NONE, ad_greater(ad_abs(v), ad_number(v.tape, ((const bernstein *)t)->bound))};
}

// ---- made and described ---------------------------------------------------------------------------------------------

flow_transformer *flow_bernstein_transformer(const flow_bernstein_transformer_options *options, ad_error *error) {
    flow_bernstein_transformer_options o = options ? *options : (flow_bernstein_transformer_options){.degree = 0};
    if (o.degree == 0) o.degree = 16;
    if (o.bound == 0) o.bound = 5;
    if (o.floor == 0) o.floor = 1e-3;
    if (o.degree < 1 || o.degree > MAX_DEGREE) {
        ad_fail(error, AD_EARG, "bernstein: degree %lld, expected 1 to %d", (long long)o.degree, MAX_DEGREE);
        return NULL;
    }
    if (!(o.bound >= 1e-3 && o.bound <= 1e6) || !(o.floor >= 1e-6 && o.floor < 1)) {
        ad_fail(error, AD_EARG, "bernstein: bound %g, floor %g; expected 1e-3 to 1e6, and 1e-6 to below 1", o.bound,
                o.floor);
        return NULL;
    }
    bernstein *b = flow_transformer_new(&flow_bernstein_transformer_type, sizeof *b, o.degree, error);
    if (!b) return NULL;
    b->degree = o.degree;
    b->bound = o.bound;
    b->floor = o.floor;
    return &b->transformer;
}

static json_t *describe(const flow_transformer *t) {
    const bernstein *b = (const bernstein *)t;
    return json_pack("{s:I, s:f, s:f}", "degree", (json_int_t)b->degree, "bound", b->bound, "floor", b->floor);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    flow_bernstein_transformer_options o = {.degree = 0};
    if (!flow_json_int(options, "degree", 1, MAX_DEGREE, &o.degree, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_number(options, "floor", &o.floor, error)) {
        return NULL;
    }
    return flow_bernstein_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    return flow_bernstein_transformer(
        &(flow_bernstein_transformer_options){.degree = options->bins, .bound = options->bound}, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const flow_bernstein_transformer_options o = {
        .degree = i % 5 == 4 ? 16 : 2 + i % 5, .bound = 1 + i % 4, .floor = i % 3 ? 0 : 0.05};
    return flow_bernstein_transformer(&o, error);
}

const flow_transformer_type flow_bernstein_transformer_type = {.name = "bernstein",
                                                               .normalize = normalize,
                                                               .generate = generate,
                                                               .describe = describe,
                                                               .make = make,
                                                               .example = example,
                                                               .usual = usual,
                                                               .gauge = gauge,
                                                               .by_feature = true};
