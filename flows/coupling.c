// coupling.c -- affine coupling: half of the features shifted and scaled by a net of the other half.
//
// Dinh, Sohl-Dickstein and Bengio 2017, eq. 7-8, with one net for shift and log-scale (Kingma and Dhariwal 2018). The
// log-scale is bounded both ways: unbounded ones overflow on data far from the training set, and the inverse of many
// layers loses its digits as the product of the scales grows. generate is z2 exp(s) + t, so that exp(s) and t read as
// the scale and the place of x2 given x1.
#include <math.h>
#include <stdio.h>

#include "internal.h"

typedef struct coupling {
    flow_layer layer;
    flow_net *net;  // [kept + C] -> [2 changed], a part
    flow_half keep;
    int64_t split;
    double bound;
} coupling;

static const char *const keep_names[] = {"first", "second"};

static int64_t kept(int64_t D, flow_half keep, int64_t split) {
    return keep == FLOW_KEEP_FIRST ? split : D - split;
}

// x in its two parts; of k features one may be empty.
static ad_var part(const coupling *c, ad_var v, flow_half half) {
    int64_t D = c->layer.x_shape.dim[0];
    return half == FLOW_KEEP_FIRST ? ad_slice(v, 0, 0, c->split) : ad_slice(v, 0, c->split, D - c->split);
}

// Log-scale, times sign, and shift, given the kept part. // [changed] each
static void condition(const coupling *c, ad_var x1, ad_var context, double sign, ad_var *s, ad_var *t) {
    ad_var in[2] = {x1, context};
    ad_var u = ad_is_none(context) ? x1 : ad_is_none(x1) ? context : ad_concat(in, 2, 0);
    ad_var out = flow_net_apply(c->net, u);
    int64_t n = c->net->out / 2;
    ad_var r = ad_slice(out, 0, 0, n);
    *t = ad_slice(out, 0, n, n);
    *s = isfinite(c->bound) ? ad_scale(ad_tanh(ad_scale(r, 1 / c->bound)), sign * c->bound) : ad_scale(r, sign);
}

static flow_result transform(const coupling *c, flow_direction direction, ad_var v, ad_var context) {
    int64_t D = c->layer.x_shape.dim[0];
    bool whole = kept(D, c->keep, c->split) == 0;  // D = 1: all from the context
    ad_var v1 = whole ? AD_NONE : part(c, v, c->keep), v2 = whole ? v : part(c, v, (flow_half)!c->keep);
    ad_var s, t, w2;
    if (direction == FLOW_NORMALIZE) {
        condition(c, v1, context, -1, &s, &t);
        w2 = ad_mul(ad_sub(v2, t), ad_exp(s));
    } else {
        condition(c, v1, context, 1, &s, &t);
        w2 = ad_add(ad_mul(v2, ad_exp(s)), t);
    }
    if (whole) return (flow_result){w2, s};
    ad_var both[2] = {c->keep == FLOW_KEEP_FIRST ? v1 : w2, c->keep == FLOW_KEEP_FIRST ? w2 : v1};
    return (flow_result){ad_concat(both, 2, 0), s};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const coupling *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const coupling *)layer, FLOW_GENERATE, z, context);
}

// Defaults filled in; false and a message when out of range.
static bool settle(flow_coupling_options *o, int64_t D, int64_t C, ad_error *error) {
    if (o->bound == 0) o->bound = 2;
    if (o->split == 0) o->split = (D + 1) / 2;
    if (D == 1) o->split = o->keep == FLOW_KEEP_FIRST ? 0 : 1;  // nothing kept
    if (!(o->bound > 0)) {
        ad_fail(error, AD_EARG, "affine coupling: bound %g of the log-scale is not positive", o->bound);
    } else if ((unsigned)o->keep > FLOW_KEEP_SECOND) {
        ad_fail(error, AD_EARG, "affine coupling: keep is %d, expected first or second half", (int)o->keep);
    } else if (D == 1 && C == 0) {
        ad_fail(error, AD_EARG, "affine coupling: one feature and no context leave nothing to condition on");
    } else if (D > 1 && (o->split < 1 || o->split >= D)) {
        ad_fail(error, AD_EARG, "affine coupling: split %lld leaves one part of %lld features empty",
                (long long)o->split, (long long)D);
    } else {
        return true;
    }
    return false;
}

static flow_net *conditioner(const flow_coupling_options *o, int64_t in, int64_t out, ad_error *error) {
    if (o->net) {
        if (o->net->in == in && o->net->out == out) return o->net;
        ad_fail(error, AD_ESHAPE, "affine coupling: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]",
                (long long)o->net->in, (long long)o->net->out, (long long)in, (long long)out);
        flow_net_free(o->net);
        return NULL;
    }
    flow_mlp_options mlp = o->mlp;
    mlp.zero_last = true;
    return flow_mlp(in, out, &mlp, error);
}

flow_layer *flow_affine_coupling(int64_t D, int64_t C, const flow_coupling_options *options, ad_error *error) {
    flow_coupling_options o = options ? *options : (flow_coupling_options){0};
    coupling *c = flow_layer_new(&flow_affine_coupling_type, sizeof *c, D, C, error);
    if (!c || !settle(&o, D, C, error)) {
        flow_net_free(o.net);
        flow_layer_free(c ? &c->layer : NULL);
        return NULL;
    }
    int64_t k = kept(D, o.keep, o.split);
    flow_net *net = conditioner(&o, k + C, 2 * (D - k), error);
    if (!net || flow_add_part(&c->layer.owner, "net", &net->owner, error)) {
        flow_layer_free(&c->layer);
        return NULL;
    }
    c->net = net;
    c->keep = o.keep;
    c->split = o.split;
    c->bound = o.bound;
    return &c->layer;
}

static json_t *describe(const flow_layer *layer) {
    const coupling *c = (const coupling *)layer;
    json_t *bound = isfinite(c->bound) ? json_real(c->bound) : json_null();  // null: none
    return json_pack("{s:I, s:I, s:s, s:I, s:o, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "keep", keep_names[c->keep], "split", (json_int_t)c->split, "bound", bound,
                     "net", flow_describe_net(c->net));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_coupling_options o = {.bound = INFINITY};
    int64_t D, C;
    int keep;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_choice(options, "keep", keep_names, 2, &keep, error) ||
        !flow_json_int(options, "split", 0, D, &o.split, error) ||
        (!json_is_null(json_object_get(options, "bound")) && !flow_json_number(options, "bound", &o.bound, error))) {
        return NULL;
    }
    o.keep = (flow_half)keep;
    o.net = flow_make_net(json_object_get(options, "net"), making, error);
    return o.net ? flow_affine_coupling(D, C, &o, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    int64_t D = 1 + i % 5, C = i % 5 == 0 ? 2 : i % 3;
    flow_coupling_options o = {.keep = i / 2 % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST,
                               .bound = i % 4 == 3 ? INFINITY : 0.5 + i % 4,
                               .split = D > 2 && i % 3 == 2 ? 1 : 0,
                               .mlp = {.layers = i % 3 ? i % 3 : -1,
                                       .width = 8 + i % 7,
                                       .activation = (flow_activation)(i % 3),
                                       .seed = (uint64_t)i,
                                       .type = i % 2 ? AD_F64 : AD_F32}};
    return flow_affine_coupling(D, C, &o, error);
}

const flow_layer_type flow_affine_coupling_type = {.name = "affine coupling",
                                                   .normalize = normalize,
                                                   .generate = generate,
                                                   .describe = describe,
                                                   .make = make,
                                                   .example = example};
