// ordered.c -- ascending numbers: the first is anything, each next one is above it by the exponential of a number.
#include <math.h>

#include "internal.h"

// What e^x may be of, either way, so that sums of some are finite, too.
static ad_var bounded(ad_var x) {
    const double most = ad_tape_type(x.tape) == AD_F32 ? 80 : 690;
    return ad_clamp(x, -most, most);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const int64_t D = layer->x_shape.dim[0];
    if (D == 1) return (flow_result){z, AD_NONE};
    ad_var logs = bounded(ad_slice(z, 0, 1, D - 1)), parts[2] = {ad_slice(z, 0, 0, 1), ad_exp(logs)};
    return (flow_result){ad_cumsum(ad_concat(parts, 2, 0), 0), logs};
}

// Where a number is not above the one before it there is no z: the density of such an x is 0.
static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const int64_t D = layer->x_shape.dim[0];
    if (D == 1) return (flow_result){x, AD_NONE};
    ad_tape *t = x.tape;
    ad_var step = ad_sub(ad_slice(x, 0, 1, D - 1), ad_slice(x, 0, 0, D - 1));
    ad_var outside = ad_less_equal(step, ad_number(t, 0));
    ad_var logs = ad_log(ad_where(outside, ad_number(t, 1), step)), parts[2] = {ad_slice(x, 0, 0, 1), logs};
    return (flow_result){ad_concat(parts, 2, 0), ad_where(outside, ad_number(t, -INFINITY), ad_neg(logs))};
}

// All numbers are free, in a region.
static ad_var same(const flow_layer *layer, ad_var x) {
    (void)layer;
    return x;
}

flow_layer *flow_ordered(int64_t D, ad_error *error) {
    return flow_layer_new(&flow_ordered_type, sizeof(flow_layer), D, 0, error);
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "features", (json_int_t)layer->x_shape.dim[0]);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t D;
    return flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ? flow_ordered(D, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    return flow_ordered(1 + i % 5, error);
}

const flow_layer_type flow_ordered_type = {.name = "ordered",
                                           .normalize = normalize,
                                           .generate = generate,
                                           .describe = describe,
                                           .make = make,
                                           .example = example,
                                           .coordinates = same,
                                           .complete = same};
