// autoregressive.c -- affine autoregressive layer: each feature scaled and shifted by a net of those before it.
//
// Papamakarios, Pavlakou and Murray 2017 (MAF); with the directions swapped Kingma et al. 2016 (IAF). The way in which all
// that conditions is given takes one pass of the net; the other goes feature by feature, each hidden unit computed as soon as
// what it sees is known: one pass in all, too.
#include <math.h>

#include "internal.h"

typedef struct autoregressive {
    flow_layer layer;
    flow_net *net;  // a MADE with 2 outputs a feature, a part: scale (raw) and shift
    bool inverse;
    flow_scale scale;
    double bound, floor;
} autoregressive;

static const char *const scale_names[] = {"tanh", "exp", "softsign", "softplus", "sigmoid"};
enum { SCALES = 5 };

// ---- scale and shift ----------------------------------------------------------------------------------------------

// Of parameters [n,2] or [2]: one of the two, [n].
static ad_var parameter(ad_var parameters, int which) {
    int64_t n = ad_shape_count(ad_shape_of(parameters)) / 2;
    return ad_reshape(ad_slice(parameters, -1, which, 1), ad_shape1(n));
}

static ad_var log_scale(const autoregressive *a, ad_var r) {
    switch (a->scale) {
        case FLOW_SCALE_TANH:
            return ad_scale(ad_tanh(ad_scale(r, 1 / a->bound)), a->bound);
        case FLOW_SCALE_SOFTSIGN:
            return ad_scale(ad_softsign(ad_scale(r, 1 / a->bound)), a->bound);
        default:
            return r;
    }
}

static bool is_direct(const autoregressive *a) {
    return a->scale == FLOW_SCALE_SOFTPLUS || a->scale == FLOW_SCALE_SIGMOID;
}
static ad_var direct_scale(const autoregressive *a, ad_var r) {
    return ad_offset(a->scale == FLOW_SCALE_SOFTPLUS ? ad_softplus(r) : ad_sigmoid(ad_offset(r, 2)), a->floor);
}

// Log-determinant, by feature, of v scale + shift.
static ad_var log_det_of(const autoregressive *a, ad_var parameters) {
    ad_var r = parameter(parameters, 0);
    return is_direct(a) ? ad_log(direct_scale(a, r)) : log_scale(a, r);
}

static ad_var scaled(const autoregressive *a, ad_var parameters, ad_var v) {
    ad_var r = parameter(parameters, 0), shift = parameter(parameters, 1);
    return ad_add(ad_mul(v, is_direct(a) ? direct_scale(a, r) : ad_exp(log_scale(a, r))), shift);
}

static ad_var unscaled(void *arg, ad_var parameters, ad_var v) {
    const autoregressive *a = arg;
    ad_var r = parameter(parameters, 0), w = ad_sub(v, parameter(parameters, 1));
    return is_direct(a) ? ad_div(w, direct_scale(a, r)) : ad_mul(w, ad_exp(ad_neg(log_scale(a, r))));
}

// ---- the two ways -------------------------------------------------------------------------------------------------

static flow_result at_once(const autoregressive *a, ad_var v, ad_var context) {
    ad_var parameters = flow_made_apply(a->net, v, context);
    return (flow_result){scaled(a, parameters, v), log_det_of(a, parameters)};
}

static flow_result one_by_one(const autoregressive *a, ad_var v, ad_var context) {
    flow_sweep s = flow_made_sweep(a->net, v, context, unscaled, (void *)(uintptr_t)a);
    return (flow_result){s.value, ad_neg(log_det_of(a, s.parameters))};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const autoregressive *a = (const autoregressive *)layer;
    return (a->inverse ? one_by_one : at_once)(a, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const autoregressive *a = (const autoregressive *)layer;
    return (a->inverse ? at_once : one_by_one)(a, z, context);
}

// ---- making one ---------------------------------------------------------------------------------------------------

static bool settle(flow_autoregressive_options *o, ad_error *error) {
    if (o->bound == 0) o->bound = 2;
    if (o->floor == 0) o->floor = 1e-3;
    if (!(o->bound > 0) || !isfinite(o->bound) || !(o->floor > 0) || !isfinite(o->floor)) {
        ad_fail(error, AD_EARG, "affine autoregressive: bound %g, floor %g; both must be positive and finite", o->bound,
                o->floor);
    } else if ((unsigned)o->scale >= SCALES) {
        ad_fail(error, AD_EARG, "affine autoregressive: scale is %d, expected 0 to %d", (int)o->scale, SCALES - 1);
    } else {
        return true;
    }
    return false;
}

static flow_net *conditioner(const flow_autoregressive_options *o, int64_t D, int64_t C, ad_error *error) {
    if (o->net) {
        if (flow_is_made(o->net, D, C, 2)) return o->net;
        ad_fail(error, AD_ESHAPE,
                "affine autoregressive: the net is not a made of %lld features, context %lld and 2 outputs each",
                (long long)D, (long long)C);
        flow_net_free(o->net);
        return NULL;
    }
    flow_made_options made = o->made;
    made.mlp.zero_last = true;
    return flow_made(D, C, 2, &made, error);
}

flow_layer *flow_affine_autoregressive(int64_t D, int64_t C, const flow_autoregressive_options *options,
                                       ad_error *error) {
    flow_autoregressive_options o = options ? *options : (flow_autoregressive_options){.inverse = false};
    autoregressive *a = flow_layer_new(&flow_affine_autoregressive_type, sizeof *a, D, C, error);
    if (!a || !settle(&o, error)) {
        flow_net_free(o.net);
        flow_layer_free(a ? &a->layer : NULL);
        return NULL;
    }
    flow_net *net = conditioner(&o, D, C, error);
    if (!net || flow_add_part(&a->layer.owner, "net", &net->owner, error)) {
        flow_layer_free(&a->layer);
        return NULL;
    }
    a->net = net;
    a->inverse = o.inverse;
    a->scale = o.scale;
    a->bound = o.bound;
    a->floor = o.floor;
    return &a->layer;
}

// ---- descriptions -------------------------------------------------------------------------------------------------

static json_t *describe(const flow_layer *layer) {
    const autoregressive *a = (const autoregressive *)layer;
    return json_pack("{s:I, s:I, s:b, s:s, s:f, s:f, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "inverse", a->inverse, "scale", scale_names[a->scale], "bound", a->bound,
                     "floor", a->floor, "net", flow_describe_net(a->net));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_autoregressive_options o = {.inverse = json_is_true(json_object_get(options, "inverse"))};
    int64_t D, C;
    int scale;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_choice(options, "scale", scale_names, SCALES, &scale, error) ||
        !flow_json_number(options, "bound", &o.bound, error) ||
        !flow_json_number(options, "floor", &o.floor, error)) {
        return NULL;
    }
    o.scale = (flow_scale)scale;
    o.net = flow_make_net(json_object_get(options, "net"), making, error);
    return o.net ? flow_affine_autoregressive(D, C, &o, error) : NULL;
}

// A random order where i says so.
static flow_layer *example(int i, ad_error *error) {
    int64_t D = 1 + i % 5, C = i % 3 == 2 ? 2 : 0, order[5];
    uint64_t random = (uint64_t)i;
    for (int64_t k = 0; k < D; k++) {
        int64_t j = i % 4 == 1 ? (int64_t)(flow_random(&random) % (uint64_t)(k + 1)) : k;
        order[k] = order[j];
        order[j] = k;
    }
    flow_autoregressive_options o = {.inverse = i / 3 % 2,
                                     .scale = (flow_scale)(i % SCALES),
                                     .bound = 0.5 + i % 4,
                                     .made = {.mlp = {.layers = i % 4 ? i % 4 : -1,
                                                      .width = 3 + i % 8,
                                                      .activation = (flow_activation)(i % 3),
                                                      .seed = (uint64_t)i,
                                                      .type = i % 2 ? AD_F64 : AD_F32},
                                              .order = i % 2 ? order : NULL}};
    return flow_affine_autoregressive(D, C, &o, error);
}

const flow_layer_type flow_affine_autoregressive_type = {.name = "affine autoregressive",
                                                         .normalize = normalize,
                                                         .generate = generate,
                                                         .describe = describe,
                                                         .make = make,
                                                         .example = example};
