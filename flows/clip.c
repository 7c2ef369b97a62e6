// clip.c -- a box that the data lies in: what is outside is moved to its edge when learning, and has density zero.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct clip {
    flow_layer layer;
    ad_state *low, *high;  // [D], in double, owned by layer.owner
    double share, margin;
    bool always;
} clip;

static ad_var moved(const clip *c, ad_var x) {
    ad_var low = ad_use_state(x.tape, c->low), high = ad_use_state(x.tape, c->high);
    return ad_minimum(ad_maximum(x, low), high);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const clip *c = (const clip *)layer;
    ad_tape *t = x.tape;
    if (c->always || ad_is_training(t)) return (flow_result){moved(c, x), AD_NONE};
    ad_var outside = ad_maximum(ad_less(x, ad_use_state(t, c->low)), ad_greater(x, ad_use_state(t, c->high)));
    return (flow_result){moved(c, x), ad_where(outside, ad_number(t, -INFINITY), ad_number(t, 0))};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    return (flow_result){moved((const clip *)layer, z), AD_NONE};
}

// ---- fitting --------------------------------------------------------------------------------------------------------

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The quantile of share p of sorted values: linear between them, as numpy's.
static double quantile(const double *sorted, int64_t n, double p) {
    double at = p * (double)(n - 1), whole = floor(at);
    int64_t i = (int64_t)whole;
    return i + 1 < n ? sorted[i] + (at - whole) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

// The box of feature d, through room for n values.
static ad_status fit(const clip *c, const flow_rows *rows, int64_t n, int64_t d, double *values, double box[2],
                     ad_error *error) {
    for (int64_t r = 0; r < n; r++) {
        values[r] = flow_rows_get(rows, c->layer.x_shape.dim[0], r, d);
        if (isfinite(values[r])) continue;
        return ad_fail(error, AD_ENONFINITE, "clip: row %lld, feature %lld is %g", (long long)r, (long long)d,
                       flow_said(values[r]));
    }
    qsort(values, (size_t)n, sizeof *values, compare);
    double low = quantile(values, n, c->share), high = quantile(values, n, 1 - c->share), wide = high - low;
    box[0] = low - c->margin * wide;
    box[1] = high + c->margin * wide;
    if (box[0] < box[1] && isfinite(box[0]) && isfinite(box[1])) return AD_OK;
    return ad_fail(
        error, AD_EARG,
        "clip: the box of feature %lld is %g to %g in %lld rows: no density can be fitted to a constant (leave "
        "the feature out, or add noise)",
        (long long)d, box[0], box[1], (long long)n);
}

static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const clip *c = (const clip *)layer;
    int64_t D = layer->x_shape.dim[0], n = flow_rows_count(rows, 0, error);
    if (n < 0) return AD_EARG;
    double *boxes = malloc((size_t)D * 2 * sizeof *boxes), *values = malloc((size_t)n * sizeof *values);
    ad_status status = boxes && values ? AD_OK : ad_fail(error, AD_ENOMEM, "clip: out of memory");
    for (int64_t d = 0; d < D && status == AD_OK; d++) status = fit(c, rows, n, d, values, boxes + 2 * d, error);
    for (int64_t d = 0; d < D && status == AD_OK; d++) {  // all or none
        ((double *)c->low->data)[d] = boxes[2 * d];
        ((double *)c->high->data)[d] = boxes[2 * d + 1];
    }
    free(boxes);
    free(values);
    return status;
}

// ---- the layer ------------------------------------------------------------------------------------------------------

static bool check_options(const flow_clip_options *o, int64_t D, ad_error *error) {
    if (!o->low != !o->high) {
        ad_fail(error, AD_EARG, "clip: low and high are given both or neither");
        return false;
    }
    if (!(o->share >= 0 && o->share < 0.5) || !(o->margin >= 0 && o->margin <= 1e6)) {
        ad_fail(error, AD_EARG, "clip: share %g, margin %g; expected 0 to below 0.5, and 0 to 1e6", o->share,
                o->margin);
        return false;
    }
    for (int64_t d = 0; o->low && d < D; d++) {
        if (o->low[d] < o->high[d] && isfinite(o->high[d] - o->low[d])) continue;
        ad_fail(error, AD_EARG, "clip: the box of feature %lld is %g to %g", (long long)d, o->low[d], o->high[d]);
        return false;
    }
    return true;
}

flow_layer *flow_clip(int64_t D, const flow_clip_options *options, ad_error *error) {
    flow_clip_options o = options ? *options : (flow_clip_options){0};
    if (!check_options(&o, D, error)) return NULL;
    clip *c = flow_layer_new(&flow_clip_type, sizeof *c, D, 0, error);
    if (!c) return NULL;
    c->share = o.share;
    c->margin = o.margin;
    c->always = o.always;
    c->layer.initialised = o.low != NULL;
    if ((c->low = flow_add_state(&c->layer.owner, "low", AD_F64, ad_shape1(D), error)) &&
        (c->high = flow_add_state(&c->layer.owner, "high", AD_F64, ad_shape1(D), error))) {
        for (int64_t d = 0; d < D; d++) {
            ((double *)c->low->data)[d] = o.low ? o.low[d] : -FLT_MAX;  // finite in either type
            ((double *)c->high->data)[d] = o.high ? o.high[d] : FLT_MAX;
        }
        return &c->layer;
    }
    flow_layer_free(&c->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const clip *c = (const clip *)layer;
    return json_pack("{s:I, s:f, s:f, s:b}", "features", (json_int_t)layer->x_shape.dim[0], "share", c->share, "margin",
                     c->margin, "always", (int)c->always);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    const json_t *always = json_object_get(options, "always");
    flow_clip_options o = {.always = json_is_true(always)};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_number(options, "share", &o.share, error) ||
        !flow_json_number(options, "margin", &o.margin, error)) {
        return NULL;
    }
    if (!json_is_boolean(always)) {
        ad_fail(error, AD_EFORMAT, "clip: \"always\" should be true or false");
        return NULL;
    }
    return flow_take_elements(making, 2 * D, error) ? flow_clip(D, &o, error) : NULL;
}

// Boxes around all points that the law tests draw: at an edge there is no inverse.
static flow_layer *example(int i, ad_error *error) {
    double low[4], high[4];
    uint64_t seed = (uint64_t)i;
    for (int d = 0; d < 4; d++) {
        low[d] = -10 + 2 * flow_random_unit(&seed);
        high[d] = 10 + 2 * flow_random_unit(&seed);
    }
    flow_clip_options o = {.low = low, .high = high, .share = 0.01 * (i % 3), .margin = 0.1 * (i % 2), .always = i % 2};
    return flow_clip(1 + i % 4, &o, error);
}

const flow_layer_type flow_clip_type = {.name = "clip",
                                        .structure = FLOW_ELEMENTWISE,
                                        .normalize = normalize,
                                        .generate = generate,
                                        .describe = describe,
                                        .make = make,
                                        .init = init,
                                        .init_back = init,  // the box is the same at either side
                                        .example = example};
