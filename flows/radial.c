// radial.c -- radial flows: space stretched or squeezed around a point.
//
// Tabak and Turner 2013; Rezende and Mohamed 2015, eq. 14: y = x + beta h (x - x0), h = 1 / (alpha + r), r = |x - x0|.
// With k = (alpha + beta) / alpha, which is above 0 where the map is one to one, p = r / (alpha + r) and q = alpha /
// (alpha + r) = 1 - p, distances grow by p + k q, and the slope along the radius is p (1 + q) + k q^2: sums of positive
// terms, that neither cancel nor overflow. log alpha and log k are the parameters, bounded both ways.
//
// The other direction is a quadratic equation in r: with g = |y - x0| and s = alpha k - g, r^2 + s r - alpha g = 0.
#include <math.h>

#include "internal.h"

typedef struct radial {
    flow_layer layer;
    ad_param *center, *log_alpha, *log_stretch;  // [D], [1] and [1], the last two raw
    flow_net *net;                               // [C] -> [D + 2], added to them, or NULL
    double bound;
    bool flip;
} radial;

typedef struct recorded {
    ad_var center, alpha, k;  // [D], [1], [1]
} recorded;

static recorded record(const radial *l, ad_tape *tape, ad_var context) {
    const int64_t D = l->center->count;
    ad_var offsets = l->net ? flow_net_apply(l->net, context) : AD_NONE;
    ad_var alpha = flow_with_context(ad_use(tape, l->log_alpha), offsets, D);
    ad_var k = flow_with_context(ad_use(tape, l->log_stretch), offsets, D + 1);
    return (recorded){flow_with_context(ad_use(tape, l->center), offsets, 0), ad_exp(flow_bounded(alpha, l->bound)),
                      ad_exp(flow_bounded(k, l->bound))};
}

static ad_var length(ad_var v) {
    return ad_reshape(ad_norm(v), ad_shape1(1));
}

// By what distances from the center grow at distance r; and the log_det of that.
static ad_var growth(const recorded *a, ad_var r, int64_t D, ad_var *log_det) {
    ad_var sum = ad_add(a->alpha, r), p = ad_div(r, sum), q = ad_div(a->alpha, sum), kq = ad_mul(a->k, q);
    ad_var grow = ad_add(p, kq), slope = ad_add(ad_mul(p, ad_offset(q, 1)), ad_mul(kq, q));
    *log_det = ad_add(ad_scale(ad_log(grow), (double)(D - 1)), ad_log(slope));
    return grow;
}

static flow_result there(const recorded *a, ad_var x) {
    ad_var off = ad_sub(x, a->center), log_det, grow = growth(a, length(off), ad_dim(x, 0), &log_det);
    return (flow_result){ad_add(a->center, ad_mul(off, grow)), log_det};
}

// The root above 0, for s of either sign without a difference: halves of |s| +- the square root.
static ad_var distance_before(const recorded *a, ad_var g) {
    ad_var s = ad_scale(ad_sub(ad_mul(a->alpha, a->k), g), 0.5), product = ad_mul(a->alpha, g), size = ad_abs(s);
    // sqrt(s^2 + alpha g), by its larger part, which may be too large to be squared.
    ad_var most = ad_stop_gradient(ad_maximum(size, ad_offset(ad_sqrt(product), 1e-20))), over = ad_reciprocal(most);
    ad_var inner = ad_add(ad_square(ad_mul(size, over)), ad_mul(ad_mul(a->alpha, over), ad_mul(g, over)));
    ad_var sum = ad_add(size, ad_mul(most, ad_sqrt(inner)));
    return ad_where(ad_greater(s, ad_number(s.tape, 0)), ad_div(product, sum), sum);
}

static flow_result back(const recorded *a, ad_var y) {
    ad_var off = ad_sub(y, a->center), log_det, r = distance_before(a, length(off));
    ad_var grow = growth(a, r, ad_dim(y, 0), &log_det);
    return (flow_result){ad_add(a->center, ad_div(off, grow)), ad_neg(log_det)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const radial *l = (const radial *)layer;
    recorded a = record(l, x.tape, context);
    return (l->flip ? there : back)(&a, x);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const radial *l = (const radial *)layer;
    recorded a = record(l, z.tape, context);
    return (l->flip ? back : there)(&a, z);
}

flow_layer *flow_radial(int64_t D, int64_t C, const flow_radial_options *options, ad_error *error) {
    flow_radial_options o = options ? *options : (flow_radial_options){0};
    const double bound = o.bound == 0 ? 5 : o.bound;
    radial *l = NULL;
    if (!(bound >= 1e-3 && bound <= 20)) {
        ad_fail(error, AD_EARG, "radial: bound %g of the logarithms; expected 0.001 to 20", bound);
    } else {
        l = flow_layer_new(&flow_radial_type, sizeof *l, D, C, error);
    }
    if (!l) {
        flow_net_free(o.net);
        return NULL;
    }
    l->bound = bound;
    l->flip = o.flip;
    flow_owner *owner = &l->layer.owner;
    if (flow_add_context_net(&l->layer, D + 2, o.net, &o.mlp, &l->net, error) &&
        (l->center = flow_add_param(owner, "center", o.type, ad_shape1(D), error)) &&
        (l->log_alpha = flow_add_param(owner, "log_alpha", o.type, ad_shape1(1), error)) &&
        (l->log_stretch = flow_add_param(owner, "log_stretch", o.type, ad_shape1(1), error))) {
        flow_fill_uniform(l->center, 1, &o.seed);
        return &l->layer;
    }
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const radial *l = (const radial *)layer;
    return json_pack("{s:I, s:I, s:b, s:f, s:s, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "flip", l->flip, "bound", l->bound, "precision",
                     flow_type_text(l->center->type), "net", l->net ? flow_describe_net(l->net) : json_null());
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, C;
    flow_radial_options o = {0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_bool(options, "flip", &o.flip, error) || !flow_json_number(options, "bound", &o.bound, error) ||
        !flow_json_type(options, &o.type, error) || !flow_take_elements(making, D + 2, error) ||
        !flow_read_context_net(options, making, C, &o.net, error)) {
        return NULL;
    }
    return flow_radial(D, C, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const ad_type type = i % 3 ? AD_F64 : AD_F32;
    flow_radial_options o = {
        .flip = i % 2,
        .bound = i % 5 == 1 ? 1 : 0,
        .mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH, .seed = (uint64_t)i, .type = type},
        .seed = (uint64_t)i,
        .type = type};
    return flow_radial(1 + i % 5, i / 2 % 3, &o, error);
}

const flow_layer_type flow_radial_type = {.name = "radial",
                                          .normalize = normalize,
                                          .generate = generate,
                                          .describe = describe,
                                          .make = make,
                                          .example = example};
