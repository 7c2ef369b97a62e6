// dequantise.c -- whole numbers (bytes, counts) spread over their bins by uniform noise, as densities need them.
//
// z = (k + u) / levels, k = (x - low) / bin, u uniform in (0, 1). A density of z, in units of x, then bounds the
// probability of x from below: E_u log p(k + u) <= log P(x) (Theis, van den Oord and Bethge 2016, section 3.1).
// generate takes the floor, so that samples are whole again. The noise is the layer's own random numbers, keyed by
// seed, step, row and feature: a row gets the same in any batch.
#include <math.h>

#include "internal.h"

enum { MOST_LEVELS = 65536, STREAM = 0x64657175 };

typedef struct dequantise {
    flow_layer layer;
    int64_t levels;
    double low, bin;
    ad_random random;
} dequantise;

static ad_var each(const flow_layer *layer, ad_tape *tape, double value) {
    return ad_fill(tape, layer->x_shape, value);
}

// The place of x within its bin, r + place. Kept off the bin's edges by a few roundings, or the sum would now and then
// be a neighbour's, for which floor would take it.
static ad_var place(const dequantise *d, ad_var x, ad_var r) {
    double rounding = ad_tape_type(x.tape) == AD_F32 ? 0x1p-21 : 0x1p-50;
    ad_var u = ad_uniform(ad_rows_of(x), d->layer.x_shape, &d->random, STREAM);
    ad_var margin = ad_scale(ad_offset(ad_abs(r), 1), rounding);
    return ad_minimum(ad_maximum(u, margin), ad_offset(ad_neg(margin), 1));
}

// Beyond the levels there are no x: the density is 0. (NaN is not beyond, and stays NaN.)
static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const dequantise *d = (const dequantise *)layer;
    ad_tape *t = x.tape;
    if (!ad_has_rows(x)) {
        ad_tape_fail(t, AD_EARG, "x is shared: noise is drawn for rows");
        return (flow_result){flow_inert(x), flow_inert(x)};
    }
    ad_var k = ad_scale(ad_offset(x, -d->low), 1 / d->bin), r = ad_round(k);
    ad_var outside = ad_maximum(ad_less(r, ad_number(t, 0)), ad_greater(r, ad_number(t, (double)(d->levels - 1))));
    ad_var z = ad_scale(ad_add(k, place(d, x, r)), 1 / (double)d->levels);
    ad_var log_det = each(layer, t, -log((double)d->levels * d->bin));
    return (flow_result){ad_where(outside, ad_number(t, 0.5), z), ad_where(outside, ad_number(t, -INFINITY), log_det)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const dequantise *d = (const dequantise *)layer;
    ad_var k = ad_clamp(ad_floor(ad_scale(z, (double)d->levels)), 0, (double)(d->levels - 1));
    return (flow_result){ad_offset(ad_scale(k, d->bin), d->low), each(layer, z.tape, log((double)d->levels * d->bin))};
}

// Nothing is fitted; but what is no level is not to be learnt from.
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const dequantise *d = (const dequantise *)layer;
    int64_t D = layer->x_shape.dim[0], n = flow_rows_count(rows, 0, error);
    for (int64_t i = 0; i < n * D; i++) {
        double x = flow_rows_get(rows, D, i / D, i % D), k = (x - d->low) / d->bin;
        if (k > -0.5 && k < (double)d->levels - 0.5 && fabs(k - round(k)) < 1e-3) continue;
        return ad_fail(
            error, isfinite(x) ? AD_EARG : AD_ENONFINITE,
            "dequantise: row %lld, feature %lld is %.9g, expected %.9g + %.9g k with a whole k from 0 to %lld",
            (long long)(i / D), (long long)(i % D), flow_said(x), d->low, d->bin, (long long)d->levels - 1);
    }
    return n < 0 ? AD_EARG : AD_OK;
}

flow_layer *flow_dequantise(int64_t D, const flow_dequantise_options *options, ad_error *error) {
    flow_dequantise_options o = options ? *options : (flow_dequantise_options){0};
    if (o.levels == 0) o.levels = 256;
    if (o.bin == 0) o.bin = 1;
    if (o.levels < 2 || o.levels > MOST_LEVELS || !(o.bin > 0) || !isfinite(o.low) ||
        !isfinite(o.low + o.bin * (double)o.levels)) {
        ad_fail(error, AD_EARG,
                "dequantise: %lld levels from %g, %g apart; expected 2 to %d of them, and finite bounds",
                (long long)o.levels, o.low, o.bin, MOST_LEVELS);
        return NULL;
    }
    dequantise *d = flow_layer_new(&flow_dequantise_type, sizeof *d, D, 0, error);
    if (!d) return NULL;
    d->levels = o.levels;
    d->low = o.low;
    d->bin = o.bin;
    d->random.seed = o.seed;
    d->layer.discrete = true;
    d->layer.z_high = 1;
    d->layer.owner.random = &d->random;
    return &d->layer;
}

static json_t *describe(const flow_layer *layer) {
    const dequantise *d = (const dequantise *)layer;
    return json_pack("{s:I, s:I, s:f, s:f, s:I}", "features", (json_int_t)layer->x_shape.dim[0], "levels",
                     (json_int_t)d->levels, "low", d->low, "bin", d->bin, "seed", (json_int_t)d->random.seed);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, seed;
    flow_dequantise_options o = {0};
    (void)making;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "levels", 2, MOST_LEVELS, &o.levels, error) ||
        !flow_json_number(options, "low", &o.low, error) || !flow_json_number(options, "bin", &o.bin, error) ||
        !flow_json_int(options, "seed", INT64_MIN, INT64_MAX, &seed, error)) {
        return NULL;
    }
    o.seed = (uint64_t)seed;
    return flow_dequantise(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t levels[] = {256, 2, 5, MOST_LEVELS};
    flow_dequantise_options o = {
        .levels = levels[i % 4], .low = i % 3 ? -2.5 : 0, .bin = i % 3 ? 1.5 : 1, .seed = (uint64_t)i};
    return flow_dequantise(1 + i % 5, &o, error);
}

const flow_layer_type flow_dequantise_type = {.name = "dequantise",
                                              .normalize = normalize,
                                              .generate = generate,
                                              .describe = describe,
                                              .make = make,
                                              .init = init,
                                              .example = example};
