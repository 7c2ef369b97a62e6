// planar.c -- planar flows: space stretched or squeezed along one direction, by how far a point is from a plane.
//
// Rezende and Mohamed 2015, eq. 10 to 13, with the u-hat of their appendix A.1: y = x + u^ h(w.x + b), where
// w.u^ = softplus(w.u) - 1 > -1 keeps the map one to one. Everything is written in m = 1 + w.u^ = softplus(w.u): with
// t = h(w.x + b) = tanh(...) the determinant is 1 + (m - 1) (1 - t^2) = t^2 + m (1 - t^2), of two positive terms,
// which loses no digits where m is small. w.u below -15 counts as -15: m is at least 3e-7, and its logarithm finite.
//
// The other direction is a scalar equation per row. In t it is t = tanh(c - (m - 1) t), c = w.y + b: its root is
// unique (slopes lie between 0 and infinity) and lies within -1 to 1, whatever the parameters are.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct planar {
    flow_layer layer;
    ad_param *u, *w, *b;  // [D], [D], [1]
    flow_net *net;        // [C] -> [2 D + 1], added to u, w and b, or NULL
    bool flip;
    double slope;  // of the leaky relu; 0: tanh
} planar;

// The layer's parameters on a tape, shared or, with a context, one each a row.
typedef struct recorded {
    ad_var u_hat, w, b;  // [D], [D], [1]
    ad_var m, stretch;   // 1 + w.u^ and w.u^, []
    double slope;
} recorded;

static recorded record(const planar *p, ad_tape *tape, ad_var context) {
    const int64_t D = p->u->count;
    ad_var offsets = p->net ? flow_net_apply(p->net, context) : AD_NONE;
    ad_var u = flow_with_context(ad_use(tape, p->u), offsets, 0);
    ad_var w = flow_with_context(ad_use(tape, p->w), offsets, D), wu = ad_sum(ad_mul(w, u));
    ad_var bounded = ad_maximum(wu, ad_number(tape, -15));
    // softplus(bounded) - 1 - w.u, without the difference of two large numbers.
    ad_var moved = ad_add(ad_offset(ad_softplus(ad_neg(bounded)), -1), ad_sub(bounded, wu));
    ad_var m = ad_softplus(bounded);
    return (recorded){.u_hat = ad_add(u, ad_mul(w, ad_div(moved, ad_sum(ad_square(w))))),
                      .w = w,
                      .b = flow_with_context(ad_use(tape, p->b), offsets, 2 * D),
                      .m = m,
                      .stretch = ad_offset(m, -1),
                      .slope = p->slope};
}

// w.x + b, [1]; and u^ t for t [1]. Of shared parameters as products, whose gradients take fewer passes.
static ad_var plane(const recorded *r, ad_var x) {
    if (ad_has_rows(r->w)) return ad_add(ad_reshape(ad_sum(ad_mul(r->w, x)), ad_shape1(1)), r->b);
    return ad_linear(ad_reshape(r->w, ad_shape2(1, ad_dim(r->w, 0))), x, r->b);
}

static ad_var along(const recorded *r, ad_var t) {
    if (ad_has_rows(r->u_hat)) return ad_mul(r->u_hat, t);
    return ad_linear(ad_reshape(r->u_hat, ad_shape2(ad_dim(r->u_hat, 0), 1)), t, AD_NONE);
}

// ---- tanh -----------------------------------------------------------------------------------------------------------

static ad_var log_slope(const recorded *r, ad_var t) {
    ad_var q = ad_square(t);
    return ad_log(ad_add(q, ad_mul(r->m, ad_offset(ad_neg(q), 1))));
}

static flow_result tanh_there(const recorded *r, ad_var x) {
    ad_var t = ad_tanh(plane(r, x));
    return (flow_result){ad_add(x, along(r, t)), log_slope(r, t)};
}

typedef struct equation {
    ad_var c, stretch;
} equation;

static ad_var residual(void *arg, ad_var t) {
    const equation *e = arg;
    return ad_sub(t, ad_tanh(ad_sub(e->c, ad_mul(e->stretch, t))));
}

static flow_result tanh_back(const recorded *r, ad_var y) {
    equation e = {plane(r, y), r->stretch};
    ad_var t = ad_root(e.c, residual, &e, NULL).value;  // from -1 to 1, the default bracket
    return (flow_result){ad_sub(y, ad_mul(r->u_hat, t)), ad_neg(log_slope(r, t))};
}

// ---- leaky relu -----------------------------------------------------------------------------------------------------
// The slope of the map along w.x + b is m above the plane and 1 + slope (m - 1) = (1 - slope) + slope m below it: both
// positive, so that the sign of w.y + b says on which side x was.

static ad_var below_slope(const recorded *r) {
    return ad_offset(ad_scale(r->m, r->slope), 1 - r->slope);
}

static flow_result leaky_there(const recorded *r, ad_var x) {
    ad_var v = plane(r, x), above = ad_greater(v, ad_number(v.tape, 0));
    ad_var h = ad_where(above, v, ad_scale(v, r->slope));
    return (flow_result){ad_add(x, ad_mul(r->u_hat, h)), ad_where(above, ad_log(r->m), ad_log(below_slope(r)))};
}

static flow_result leaky_back(const recorded *r, ad_var y) {
    ad_var c = plane(r, y), above = ad_greater(c, ad_number(c.tape, 0)), below = below_slope(r);
    ad_var h = ad_where(above, ad_div(c, r->m), ad_div(ad_scale(c, r->slope), below));
    ad_var log_det = ad_neg(ad_where(above, ad_log(r->m), ad_log(below)));
    return (flow_result){ad_sub(y, ad_mul(r->u_hat, h)), log_det};
}

// ---- the layer ------------------------------------------------------------------------------------------------------

static flow_result transform(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context) {
    const planar *p = (const planar *)layer;
    recorded r = record(p, v.tape, context);
    bool there = (direction == FLOW_GENERATE) != p->flip;
    if (p->slope == 0) return there ? tanh_there(&r, v) : tanh_back(&r, v);
    return there ? leaky_there(&r, v) : leaky_back(&r, v);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform(layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform(layer, FLOW_GENERATE, z, context);
}

// w of length 1, in a random direction; b in -1 to 1; u such that u^ = 0: w.u = log(e - 1), whose softplus is 1.
static bool start(const planar *p, int64_t D, uint64_t random, ad_error *error) {
    double *w = malloc((size_t)D * sizeof *w), length = 0;
    if (!w) {
        ad_fail(error, AD_ENOMEM, "planar: out of memory");
        return false;
    }
    for (int64_t i = 0; i < D; i++) {
        w[i] = flow_random_unit(&random);
        length = hypot(length, w[i]);
    }
    for (int64_t i = 0; i < D; i++) {
        double unit = length > 0 ? w[i] / length : i == 0;
        ad_param_set(p->w, i, unit);
        ad_param_set(p->u, i, unit * log(expm1(1)));
    }
    ad_param_set(p->b, 0, flow_random_unit(&random));
    free(w);
    return true;
}

flow_layer *flow_planar(int64_t D, int64_t C, const flow_planar_options *options, ad_error *error) {
    flow_planar_options o = options ? *options : (flow_planar_options){0};
    planar *p = flow_layer_new(&flow_planar_type, sizeof *p, D, C, error);
    if (p && !(o.slope >= 0 && o.slope < 1)) {
        ad_fail(error, AD_EARG, "planar: slope %g; expected 0 (tanh) or up to 1", o.slope);
        flow_layer_free(&p->layer);
        p = NULL;
    }
    if (!p) {
        flow_net_free(o.net);
        return NULL;
    }
    flow_owner *owner = &p->layer.owner;
    p->layer.jacobian = (flow_jacobian){.structure = FLOW_LOW_RANK, .rank = 1};
    p->flip = o.flip;
    p->slope = o.slope;
    if (flow_add_context_net(&p->layer, 2 * D + 1, o.net, &o.mlp, &p->net, error) &&
        (p->u = flow_add_param(owner, "u", o.type, ad_shape1(D), error)) &&
        (p->w = flow_add_param(owner, "w", o.type, ad_shape1(D), error)) &&
        (p->b = flow_add_param(owner, "b", o.type, ad_shape1(1), error)) && start(p, D, o.seed, error)) {
        return &p->layer;
    }
    flow_layer_free(&p->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const planar *p = (const planar *)layer;
    return json_pack("{s:I, s:I, s:b, s:f, s:s, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "flip", p->flip, "slope", p->slope, "precision", flow_type_text(p->u->type),
                     "net", p->net ? flow_describe_net(p->net) : json_null());
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, C = 0;
    flow_planar_options o = {.flip = json_is_true(json_object_get(options, "flip"))};
    bool conditional = json_object_get(options, "context") != NULL;  // files of before had none
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        (conditional && !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error)) ||
        !flow_json_number(options, "slope", &o.slope, error) || !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, 2 * D + 1, error) || !flow_read_context_net(options, making, C, &o.net, error)) {
        return NULL;
    }
    return flow_planar(D, C, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const ad_type type = i % 3 ? AD_F64 : AD_F32;
    flow_planar_options o = {
        .flip = i % 4 > 1,
        .slope = i % 2 ? 0.1 + 0.05 * (i % 17) : 0,
        .mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH, .seed = (uint64_t)i, .type = type},
        .seed = (uint64_t)i,
        .type = type};
    // With a context w is what noise adds up to: of one feature it may come close to 0, where the layer has no meaning.
    const int64_t C = i % 7 < 4 ? 0 : i % 7 - 3;
    return flow_planar((C ? 2 : 1) + i % 4, C, &o, error);
}

const flow_layer_type flow_planar_type = {.name = "planar",
                                          .normalize = normalize,
                                          .generate = generate,
                                          .describe = describe,
                                          .make = make,
                                          .example = example};
