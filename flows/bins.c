// bins.c -- a box cut into bins: knots of raw numbers, the bin of a point, values in it, and what lies outside.
//
// Both directions take the same knots from the same raw numbers, rounded as the tape's type has it, and sizes of bins
// are differences of knots: so rounding of knots moves the map, but does not part its two directions.
#include <math.h>

#include "bins.h"

enum { MAX_BINS = 4096 };

// ---- transformers of bins -------------------------------------------------------------------------------------------

static const flow_spline_form *form_of(const flow_transformer_type *type) {
    return type->family;
}

// Defaults filled in, ranges those of ad_rational_quadratic.
static bool settle(const flow_transformer_type *type, flow_spline_transformer_options *o, ad_error *error) {
    const char *name = type->name;
    const int64_t least = form_of(type)->least;
    ad_spline_options *s = &o->spline;
    if (o->bins == 0) o->bins = 8;
    if (s->bound == 0) s->bound = 3;
    if (s->min_width == 0) s->min_width = 1e-3;
    if (s->min_height == 0) s->min_height = 1e-3;
    if (s->min_derivative == 0) s->min_derivative = 1e-3;
    if (s->scale == 0) s->scale = o->divide > 0 ? 1 / sqrt(o->divide) : 1;
    if (o->bins < least || o->bins > MAX_BINS) {
        ad_fail(error, AD_EARG, "%s: %lld bins, expected %lld to %d", name, (long long)o->bins, (long long)least,
                MAX_BINS);
    } else if (!(s->bound >= 1e-3 && s->bound <= 1e6)) {
        ad_fail(error, AD_EARG, "%s: bound %g, expected 1e-3 to 1e6", name, s->bound);
    } else if (!(s->min_width >= 1e-6 && s->min_width * (double)o->bins < 1) ||
               !(s->min_height >= 1e-6 && s->min_height * (double)o->bins < 1)) {
        ad_fail(error, AD_EARG, "%s: %lld bins of least width %g and height %g do not fit into the box", name,
                (long long)o->bins, s->min_width, s->min_height);
    } else if (!(s->min_derivative >= 1e-6 && s->min_derivative < 1) || !(s->scale >= 1e-6 && s->scale <= 1e6)) {
        ad_fail(error, AD_EARG, "%s: least slope %g, scale %g: out of range", name, s->min_derivative, s->scale);
    } else {
        return true;
    }
    return false;
}

flow_transformer *flow_spline_new(const flow_transformer_type *type, const flow_spline_transformer_options *options,
                                  ad_error *error) {
    flow_spline_transformer_options o = options ? *options : (flow_spline_transformer_options){.bins = 0};
    const flow_spline_form *form = form_of(type);
    flow_spline *s = settle(type, &o, error)
                         ? flow_transformer_new(type, sizeof *s, form->per_bin * o.bins + form->more, error)
                         : NULL;
    if (!s) return NULL;
    s->bins = o.bins;
    s->options = o.spline;
    if (form->circle) {
        s->transformer.low = s->transformer.z_low = -o.spline.bound;
        s->transformer.high = s->transformer.z_high = o.spline.bound;
    }
    return &s->transformer;
}

flow_result flow_spline_normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    return form_of(t->type)->transform((const flow_spline *)t, p, v, false);
}

flow_result flow_spline_generate(const flow_transformer *t, flow_parameters p, ad_var v) {
    return form_of(t->type)->transform((const flow_spline *)t, p, v, true);
}

json_t *flow_spline_describe(const flow_transformer *t) {
    const flow_spline *s = (const flow_spline *)t;
    const ad_spline_options *o = &s->options;
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "bins", (json_int_t)s->bins, "bound", o->bound, "min_width",
                     o->min_width, "min_height", o->min_height, "min_derivative", o->min_derivative, "scale", o->scale);
}

flow_transformer *flow_spline_make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                                   ad_error *error) {
    (void)making;
    flow_spline_transformer_options o = {.bins = 0};
    if (!flow_json_int(options, "bins", form_of(type)->least, MAX_BINS, &o.bins, error) ||
        !flow_json_number(options, "bound", &o.spline.bound, error) ||
        !flow_json_number(options, "min_width", &o.spline.min_width, error) ||
        !flow_json_number(options, "min_height", &o.spline.min_height, error) ||
        !flow_json_number(options, "min_derivative", &o.spline.min_derivative, error) ||
        !flow_json_number(options, "scale", &o.spline.scale, error)) {
        return NULL;
    }
    return flow_spline_new(type, &o, error);
}

flow_transformer *flow_spline_usual(const flow_transformer_type *type, const flow_usual_transformer_options *o,
                                    ad_error *error) {
    const flow_spline_transformer_options spline = {.bins = o->bins, .spline = {.bound = o->bound}, .divide = o->width};
    return flow_spline_new(type, &spline, error);
}

flow_transformer *flow_spline_example(const flow_transformer_type *type, int i, ad_error *error) {
    flow_spline_transformer_options o = {
        .bins = form_of(type)->least + i % 7,
        .spline = {.bound = 1 + i % 3, .min_width = i % 4 ? 0 : 0.02, .min_derivative = i % 4 ? 0 : 0.05},
        .divide = i % 2 ? 16 : 0};
    return flow_spline_new(type, &o, error);
}

flow_gauges flow_spline_gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)p;
    const flow_spline *s = (const flow_spline *)t;
    return (flow_gauges){AD_NONE, ad_greater(ad_abs(v), ad_number(v.tape, s->options.bound))};
}

// ---- knots and slopes of raw numbers --------------------------------------------------------------------------------

ad_var flow_spline_raw(flow_parameters p, int64_t from, int64_t n) {
    return ad_slice(flow_parameters_by_feature(p), -1, from, n);
}

ad_var flow_spline_shares(const flow_spline *s, ad_var raw, double least) {
    ad_var shares = ad_softmax(ad_scale(raw, s->options.scale), -1);
    return ad_offset(ad_scale(shares, 1 - (double)s->bins * least), least);
}

ad_var flow_spline_knots(const flow_spline *s, ad_var shares) {
    const double bound = s->options.bound;
    ad_var sums = ad_slice(ad_cumsum(shares, -1), -1, 0, s->bins - 1);
    ad_var inner = ad_offset(ad_scale(sums, 2 * bound), -bound);
    return ad_pad(ad_pad(inner, -1, 1, 0, -bound), -1, 0, 1, bound);
}

ad_var flow_spline_sizes(const flow_spline *s, ad_var knots) {
    return ad_sub(ad_slice(knots, -1, 1, s->bins), ad_slice(knots, -1, 0, s->bins));
}

ad_var flow_spline_even_knots(const flow_spline *s, ad_tape *tape) {
    return flow_spline_knots(s, ad_fill(tape, ad_shape2(1, s->bins), 1 / (double)s->bins));
}

ad_var flow_spline_slopes(const flow_spline *s, ad_var raw) {
    return ad_exp(flow_bounded(raw, -log(s->options.min_derivative)));
}

// ---- the bin of a point ---------------------------------------------------------------------------------------------

void flow_bins_ends(const flow_bins *b, ad_var at_knots, ad_var *low, ad_var *high) {
    const int64_t K = b->spline->bins;
    *low = ad_squeeze(ad_take_along(ad_slice(at_knots, -1, 0, K), -1, b->k), -1);
    *high = ad_squeeze(ad_take_along(ad_slice(at_knots, -1, 1, K), -1, b->k), -1);
}

ad_var flow_bins_own(const flow_bins *b, ad_var of_bins) {
    return ad_squeeze(ad_take_along(of_bins, -1, b->k), -1);
}

flow_bins flow_bins_find(const flow_spline *s, ad_var v, ad_var knots_x, ad_var knots_y, bool inverse) {
    flow_bins b = {.spline = s, .inverse = inverse, .v = v};
    b.inside = ad_less_equal(ad_abs(v), ad_number(v.tape, s->options.bound));
    ad_var in = ad_where(b.inside, v, ad_number(v.tape, 0)), x1, y1;
    ad_var inner = ad_slice(inverse ? knots_y : knots_x, -1, 1, s->bins - 1);
    b.k = ad_searchsorted(inner, ad_insert_axis(in, -1), true);
    flow_bins_ends(&b, knots_x, &b.x0, &x1);
    flow_bins_ends(&b, knots_y, &b.y0, &y1);
    b.w = ad_sub(x1, b.x0);
    const double eps = ad_tape_type(v.tape) == AD_F32 ? 0x1p-23 : 0x1p-52;
    b.h = ad_maximum(ad_sub(y1, b.y0), ad_number(v.tape, s->options.bound * eps / 4));  // knots may be one number
    b.steep = ad_div(b.h, b.w);
    b.at = ad_div(ad_sub(in, inverse ? b.y0 : b.x0), inverse ? b.h : b.w);
    b.left = ad_div(ad_sub(inverse ? y1 : x1, in), inverse ? b.h : b.w);
    return b;
}

flow_result flow_bins_result(const flow_bins *b, ad_var other, ad_var slope) {
    ad_var log_slope = ad_log(ad_is_none(slope) ? b->steep : ad_mul(b->steep, slope));
    ad_var value = b->inverse ? ad_add(b->x0, ad_mul(b->w, other)) : ad_add(b->y0, ad_mul(b->h, other));
    log_slope = ad_where(b->inside, log_slope, ad_number(b->v.tape, 0));
    return (flow_result){ad_where(b->inside, value, b->v), b->inverse ? ad_neg(log_slope) : log_slope};
}

// Halley's step is 2 f f' / (2 f'^2 - f f''); the divisor is kept from what Newton's step is half of.
ad_var flow_halley(ad_var t, ad_var f, ad_var slope, ad_var bend) {
    ad_var square = ad_square(slope), divisor = ad_sub(ad_scale(square, 2), ad_mul(f, bend));
    return ad_sub(t, ad_div(ad_scale(ad_mul(f, slope), 2), ad_maximum(divisor, square)));
}
