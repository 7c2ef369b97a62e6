// transformer_censored_mixture.c -- the element map of straight pieces over equal bins, one a value of discrete data,
// of heights that a censored mixture of logistic distributions gives.
//
// Salimans et al. 2017, "PixelCNN++", eq. 2: value k of n has the probability F(k + 1) - F(k), F the mixture's
// cumulative distribution at the edges of bins, but 0 at the first and 1 at the last, so that tails belong to the outer
// values. Values plus noise, uniform in a bin each, then have a density that is constant in bins, and no dequantisation
// gap; nets see the value alone. Parameters are the mixture's, however many values there are; of the bins none is
// computed but a point's own.
#include "internal.h"

enum { MOST_BINS = 65536, MOST_COMPONENTS = 4096 };
#define FARTHEST 1e6  // location

typedef struct censored {
    flow_transformer transformer;
    int64_t bins, K;
    double low, high, scale_bound, floor;
} censored;

// ---- the mixture ----------------------------------------------------------------------------------------------------

// Of each feature, all [n,K], in units in which the box is [-1, 1].
typedef struct mixture {
    ad_var weight, place, slope;
} mixture;

static mixture mixture_at(const censored *t, flow_parameters p) {
    ad_var raw = flow_parameters_by_feature(p);
    ad_var log_scale = flow_bounded(ad_slice(raw, -1, 2 * t->K, t->K), t->scale_bound);
    return (mixture){.weight = ad_softmax(ad_slice(raw, -1, 0, t->K), -1),
                     .place = ad_clamp(ad_slice(raw, -1, t->K, t->K), -FARTHEST, FARTHEST),
                     .slope = ad_exp(ad_neg(log_scale))};
}

// The components' arguments at edge k [n], [n,K].
static ad_var arguments(const censored *t, const mixture *m, ad_var k) {
    ad_var edge = ad_offset(ad_scale(k, 2 / (double)t->bins), -1);
    return ad_mul(ad_sub(ad_insert_axis(edge, -1), m->place), m->slope);
}

// floor and the mixture share the probability.
static ad_var share_of(const censored *t, ad_var of_mixture, ad_var bins) {
    return ad_add(ad_scale(of_mixture, 1 - t->floor), ad_scale(bins, t->floor / (double)t->bins));
}

static ad_var weighted(const mixture *m, ad_var each) {
    return ad_sum_axis(ad_mul(m->weight, each), -1);
}

// Probability of all bins before k < bins.
static ad_var before(const censored *t, const mixture *m, ad_var k) {
    ad_var zero = ad_number(k.tape, 0);
    ad_var F = weighted(m, ad_sigmoid(arguments(t, m, k)));
    return share_of(t, ad_where(ad_greater(k, zero), F, zero), k);
}

// Probability of bin k: with a and b the arguments at its edges S(b) - S(a) = S(b) S(-a) (1 - e^(a - b)), in which
// nothing cancels, with b - a from the bin's width. In the outer bins the tail alone.
static ad_var own(const censored *t, const mixture *m, ad_var k) {
    ad_var one = ad_number(k.tape, 1), a = arguments(t, m, k), apart = ad_scale(m->slope, 2 / (double)t->bins);
    ad_var first = ad_insert_axis(ad_less(k, one), -1);
    ad_var last = ad_insert_axis(ad_greater_equal(k, ad_number(k.tape, (double)t->bins - 1)), -1);
    ad_var below = ad_where(last, one, ad_sigmoid(ad_add(a, apart)));
    ad_var above = ad_where(first, one, ad_sigmoid(ad_neg(a)));
    ad_var between = ad_where(ad_maximum(first, last), one, ad_neg(ad_expm1(ad_neg(apart))));
    return share_of(t, weighted(m, ad_mul(ad_mul(below, above), between)), one);
}

// ---- the bin of a point ---------------------------------------------------------------------------------------------

static double width_of(const censored *t) {
    return (t->high - t->low) / (double)t->bins;
}

static ad_var edge_at(const censored *t, ad_var k) {
    return ad_offset(ad_scale(k, width_of(t)), t->low);
}

// The last bin whose left edge is not beyond v.
static ad_var bin_of(const censored *t, ad_var v) {
    ad_var last = ad_number(v.tape, (double)t->bins - 1);
    ad_var k = ad_floor(ad_scale(ad_offset(v, -t->low), 1 / width_of(t)));
    k = ad_minimum(ad_sub(k, ad_less(v, edge_at(t, k))), last);  // the quotient may be rounded over an edge
    return ad_minimum(ad_add(k, ad_greater_equal(v, edge_at(t, ad_offset(k, 1)))), last);
}

// The last bin before which there is no more than the probability u: as many halvings as bins ask for.
static ad_var bin_at(const censored *t, const mixture *m, ad_var u) {
    const mixture still = {ad_stop_gradient(m->weight), ad_stop_gradient(m->place), ad_stop_gradient(m->slope)};
    ad_var k = ad_zeros_like(u), end = ad_number(u.tape, (double)t->bins);
    int64_t step = 1;
    while (2 * step < t->bins) step *= 2;
    u = ad_stop_gradient(u);
    for (; step > 0; step /= 2) {
        ad_var next = ad_offset(k, (double)step);
        ad_var there = ad_mul(ad_less(next, end), ad_less_equal(before(t, &still, next), u));
        k = ad_where(there, next, k);
    }
    return k;
}

// ---- both directions ------------------------------------------------------------------------------------------------

// A point in the box, or its low end for one outside.
static ad_var inner(const censored *t, ad_var v, ad_var *inside) {
    ad_var low = ad_number(v.tape, t->low), high = ad_number(v.tape, t->high);
    *inside = ad_mul(ad_greater_equal(v, low), ad_less_equal(v, high));
    return ad_where(*inside, v, low);
}

// In the upper half of the last bin, a share left of which is to its right, a point is seen from the box's end, lest
// rounding takes it beyond.
static ad_var near_end(const censored *t, ad_var k, ad_var left) {
    ad_var last = ad_greater_equal(k, ad_number(k.tape, (double)t->bins - 1));
    return ad_mul(last, ad_less(left, ad_number(k.tape, 0.5)));
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const censored *t = (const censored *)transformer;
    const double per_unit = 1 / width_of(t), size = t->high - t->low;
    const mixture m = mixture_at(t, p);
    ad_var inside, in = inner(t, v, &inside), k = bin_of(t, in), height = own(t, &m, k);
    ad_var done = ad_scale(ad_sub(in, edge_at(t, k)), per_unit);
    ad_var left = ad_scale(ad_sub(ad_number(v.tape, t->high), in), per_unit);
    ad_var from_low = ad_offset(ad_scale(ad_add(before(t, &m, k), ad_mul(height, done)), size), t->low);
    ad_var from_high = ad_offset(ad_scale(ad_mul(height, left), -size), t->high);
    ad_var value = ad_clamp(ad_where(near_end(t, k, left), from_high, from_low), t->low, t->high);
    ad_var log_slope = ad_log(ad_scale(height, (double)t->bins));
    return (flow_result){ad_where(inside, value, v), ad_where(inside, log_slope, ad_number(v.tape, 0))};
}

// Kept inside of the bin that was found by a few roundings, or now and then a sample would be the next value.
static ad_var held(const censored *t, ad_var done) {
    const double rounding = ad_tape_type(done.tape) == AD_F32 ? 0x1p-23 : 0x1p-52;
    ad_var fixed = ad_stop_gradient(done);
    return ad_add(done, ad_sub(ad_clamp(fixed, 0, 1 - 2 * rounding * (double)t->bins), fixed));
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const censored *t = (const censored *)transformer;
    const double width = width_of(t), size = t->high - t->low;
    const mixture m = mixture_at(t, p);
    ad_var inside, in = inner(t, v, &inside), u = ad_scale(ad_offset(in, -t->low), 1 / size);
    ad_var k = bin_at(t, &m, u), height = own(t, &m, k);
    ad_var done = ad_div(ad_sub(u, before(t, &m, k)), height);
    ad_var left = ad_div(ad_scale(ad_sub(ad_number(v.tape, t->high), in), 1 / size), height);
    ad_var from_low = ad_add(edge_at(t, k), ad_scale(held(t, done), width));
    ad_var from_high = ad_offset(ad_scale(left, -width), t->high);
    ad_var log_slope = ad_neg(ad_log(ad_scale(height, (double)t->bins)));
    return (flow_result){ad_where(inside, ad_where(near_end(t, k, left), from_high, from_low), v),
                         ad_where(inside, log_slope, ad_number(v.tape, 0))};
}

static flow_gauges gauge(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    (void)p;
    ad_var inside;
    inner((const censored *)transformer, v, &inside);
    return (flow_gauges){AD_NONE, ad_offset(ad_neg(inside), 1)};
}

// The middle of its bin, which is what the value says, without the noise.
static ad_var seen(const flow_transformer *transformer, ad_var v) {
    const censored *t = (const censored *)transformer;
    ad_var inside, k = bin_of(t, inner(t, v, &inside));
    return ad_where(inside, edge_at(t, ad_offset(k, 0.5)), v);
}

// Components evenly over the box, a fifth as wide as they are apart: as near the uniform distribution as they come
// without much of them outside, all of which goes to the outer bins.
static void identity(const flow_transformer *transformer, double *raw) {
    const censored *t = (const censored *)transformer;
    const double K = (double)t->K, log_scale = fmax(log(0.4 / K), -0.9 * t->scale_bound);
    for (int64_t i = 0; i < t->K; i++) {
        raw[t->K + i] = -1 + (2 * (double)i + 1) / K;
        raw[2 * t->K + i] = t->scale_bound * atanh(log_scale / t->scale_bound);
    }
}

// ---- made and described ---------------------------------------------------------------------------------------------

static bool settle(flow_censored_mixture_transformer_options *o, ad_error *error) {
    const char *name = flow_censored_mixture_transformer_type.name;
    if (o->bins == 0) o->bins = 256;
    if (o->components == 0) o->components = 8;
    if (o->low == 0 && o->high == 0) o->low = -3, o->high = 3;
    if (o->floor == 0) o->floor = 1e-4;
    if (o->bins < 2 || o->bins > MOST_BINS || o->components < 1 || o->components > MOST_COMPONENTS) {
        ad_fail(error, AD_EARG, "%s: %lld bins, %lld components; expected 2 to %d, and 1 to %d", name,
                (long long)o->bins, (long long)o->components, MOST_BINS, MOST_COMPONENTS);
        return false;
    }
    if (o->scale_bound == 0) o->scale_bound = log((double)o->bins) + 3;
    const double size = o->high - o->low;
    if (!(size >= 1e-3 && size <= 1e6 && fabs(o->low) <= 10 * size) || !(o->scale_bound >= 1 && o->scale_bound <= 20) ||
        !(o->floor >= 1e-6 && o->floor <= 0.5)) {
        ad_fail(error, AD_EARG,
                "%s: from %g to %g, log-scales within %g, floor %g; expected a box of 1e-3 to 1e6, not farther from 0 "
                "than 10 of it, 1 to 20, 1e-6 to 0.5",
                name, o->low, o->high, o->scale_bound, o->floor);
        return false;
    }
    return true;
}

flow_transformer *flow_censored_mixture_transformer(const flow_censored_mixture_transformer_options *options,
                                                    ad_error *error) {
    flow_censored_mixture_transformer_options o =
        options ? *options : (flow_censored_mixture_transformer_options){.bins = 0};
    censored *t = settle(&o, error) ? flow_transformer_new(&flow_censored_mixture_transformer_type, sizeof *t,
                                                           3 * o.components, error)
                                    : NULL;
    if (!t) return NULL;
    t->bins = o.bins;
    t->K = o.components;
    t->low = t->transformer.low = t->transformer.z_low = o.low;
    t->high = t->transformer.high = t->transformer.z_high = o.high;
    t->scale_bound = o.scale_bound;
    t->floor = o.floor;
    return &t->transformer;
}

static json_t *describe(const flow_transformer *transformer) {
    const censored *t = (const censored *)transformer;
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "bins", (json_int_t)t->bins, "components", (json_int_t)t->K,
                     "low", t->low, "high", t->high, "scale_bound", t->scale_bound, "floor", t->floor);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    flow_censored_mixture_transformer_options o = {.bins = 0};
    if (!flow_json_int(options, "bins", 2, MOST_BINS, &o.bins, error) ||
        !flow_json_int(options, "components", 1, MOST_COMPONENTS, &o.components, error) ||
        !flow_json_number(options, "low", &o.low, error) || !flow_json_number(options, "high", &o.high, error) ||
        !flow_json_number(options, "scale_bound", &o.scale_bound, error) ||
        !flow_json_number(options, "floor", &o.floor, error)) {
        return NULL;
    }
    return flow_censored_mixture_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    const flow_censored_mixture_transformer_options o = {
        .bins = options->bins, .low = -options->bound, .high = options->bound};
    return flow_censored_mixture_transformer(&o, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    static const int64_t bins[] = {5, 2, 256, 16};
    const flow_censored_mixture_transformer_options o = {.bins = bins[i % 4],
                                                         .components = 1 + i % 5,
                                                         .low = i % 3 == 1 ? -1 : 0,
                                                         .high = i % 3 ? i % 3 : 0,
                                                         .scale_bound = i % 5 == 4 ? 2 : 0,
                                                         .floor = i % 2 ? 0 : 0.01};
    return flow_censored_mixture_transformer(&o, error);
}

const flow_transformer_type flow_censored_mixture_transformer_type = {.name = "censored mixture",
                                                                      .normalize = normalize,
                                                                      .generate = generate,
                                                                      .describe = describe,
                                                                      .make = make,
                                                                      .example = example,
                                                                      .identity = identity,
                                                                      .usual = usual,
                                                                      .gauge = gauge,
                                                                      .seen = seen,
                                                                      .by_feature = true};
