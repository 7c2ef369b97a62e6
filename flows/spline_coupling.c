// spline_coupling.c -- coupling of rational-quadratic splines: some features bent by a net of the others.
//
// Durkan et al. 2019. A net whose output is 0 gives equal bins and, by the bias of its last linear, slopes of 1: the
// identity, where the layer starts. (Raw slopes of 0, the start elsewhere, are slopes of 0.694, so that deep stacks
// begin far from it.)
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct spline_coupling {
    flow_layer layer;
    flow_net *net;  // [kept + C] -> [changed (3 K - 1)], a part
    int64_t bins, n_kept;
    int64_t *order, *place;  // [D] each: kept features, then the others; and where in that order each feature is
    ad_spline_options spline;
} spline_coupling;

enum { MAX_BINS = 4096 };

// ---- both directions ----------------------------------------------------------------------------------------------

// Kept and changed features in the places they have in v; parts that are ranges need no copy.
static ad_var join(const spline_coupling *c, ad_var kept, ad_var changed) {
    const int64_t D = c->layer.x_shape.dim[0], k = c->n_kept;
    ad_var first[] = {kept, changed}, last[] = {changed, kept};
    if (c->order[k - 1] == k - 1) return ad_concat(first, 2, 0);
    if (c->order[0] == D - k) return ad_concat(last, 2, 0);
    return ad_take(ad_concat(first, 2, 0), 0, c->place, D);
}

static flow_result transform(const spline_coupling *c, bool inverse, ad_var v, ad_var context) {
    const int64_t D = c->layer.x_shape.dim[0], k = c->n_kept, n = D - k;
    ad_var kept = k ? ad_take(v, 0, c->order, k) : AD_NONE, changed = k ? ad_take(v, 0, c->order + k, n) : v;
    ad_var in[2] = {kept, context};
    ad_var u = ad_is_none(context) ? kept : k == 0 ? context : ad_concat(in, 2, 0);
    ad_var raw = ad_reshape(flow_net_apply(c->net, u), ad_shape2(n, 3 * c->bins - 1));
    ad_var both = ad_rational_quadratic(changed, raw, &c->spline, inverse);
    ad_var value = ad_reshape(ad_slice(both, 0, 0, 1), ad_shape1(n));
    return (flow_result){k ? join(c, kept, value) : value, ad_slice(both, 0, 1, 1)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const spline_coupling *)layer, false, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const spline_coupling *)layer, true, z, context);
}

// ---- made ---------------------------------------------------------------------------------------------------------

// Defaults of the spline filled in, its ranges those of ad_rational_quadratic.
static bool settle_spline(flow_spline_coupling_options *o, ad_error *error) {
    ad_spline_options *s = &o->spline;
    if (o->bins == 0) o->bins = 8;
    if (s->bound == 0) s->bound = 3;
    if (s->min_width == 0) s->min_width = 1e-3;
    if (s->min_height == 0) s->min_height = 1e-3;
    if (s->min_derivative == 0) s->min_derivative = 1e-3;
    if (s->scale == 0) s->scale = 1;
    if (o->bins < 2 || o->bins > MAX_BINS) {
        ad_fail(error, AD_EARG, "spline coupling: %lld bins, expected 2 to %d", (long long)o->bins, MAX_BINS);
    } else if (!(s->bound >= 1e-3 && s->bound <= 1e6)) {
        ad_fail(error, AD_EARG, "spline coupling: bound %g, expected 1e-3 to 1e6", s->bound);
    } else if (!(s->min_width >= 1e-6 && s->min_width * (double)o->bins < 1) ||
               !(s->min_height >= 1e-6 && s->min_height * (double)o->bins < 1)) {
        ad_fail(error, AD_EARG, "spline coupling: %lld bins of least width %g and height %g do not fit into the box",
                (long long)o->bins, s->min_width, s->min_height);
    } else if (!(s->min_derivative >= 1e-6 && s->min_derivative < 1) || !(s->scale >= 1e-6 && s->scale <= 1e6)) {
        ad_fail(error, AD_EARG, "spline coupling: least slope %g, scale %g: out of range", s->min_derivative, s->scale);
    } else if ((unsigned)o->conditioner > FLOW_RESIDUAL_NET) {
        ad_fail(error, AD_EARG, "spline coupling: conditioner is %d, expected 0 or 1", (int)o->conditioner);
    } else {
        return true;
    }
    return false;
}

static bool is_kept(const flow_spline_coupling_options *o, int64_t D, int64_t d) {
    const int64_t split = o->split ? o->split : (D + 1) / 2;
    if (o->kept) return o->kept[d];
    if (D == 1) return false;
    const bool first = o->alternate ? d % 2 == 0 : d < split;
    return first == (o->keep == FLOW_KEEP_FIRST);
}

static void release(flow_owner *owner) {
    spline_coupling *c = (spline_coupling *)owner;
    free(c->order);
    free(c->place);
}

// Number of kept features; -1, with a message, when they, or the net, do not fit. Allocates nothing: D may be a file's.
static int64_t count_kept(const flow_spline_coupling_options *o, int64_t D, int64_t C, ad_error *error) {
    int64_t kept = 0;
    if ((unsigned)o->keep > FLOW_KEEP_SECOND || o->split < 0 || (D > 1 && o->split >= D)) {
        ad_fail(error, AD_EARG, "spline coupling: keep is %d and split %lld, of %lld features", (int)o->keep,
                (long long)o->split, (long long)D);
        return -1;
    }
    for (int64_t d = 0; d < D; d++) kept += is_kept(o, D, d);
    const int64_t in = kept + C, out = (D - kept) * (3 * o->bins - 1);
    if (kept == D) {
        ad_fail(error, AD_EARG, "spline coupling: all features are kept, none is changed");
    } else if (in == 0) {
        ad_fail(error, AD_EARG, "spline coupling: no feature kept and no context leave nothing to condition on");
    } else if (o->net && (o->net->in != in || o->net->out != out)) {
        ad_fail(error, AD_ESHAPE, "spline coupling: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]",
                (long long)o->net->in, (long long)o->net->out, (long long)in, (long long)out);
    } else {
        return kept;
    }
    return -1;
}

static bool settle_order(spline_coupling *c, const flow_spline_coupling_options *o, int64_t D, ad_error *error) {
    c->n_kept = count_kept(o, D, c->layer.C, error);
    if (c->n_kept < 0) return false;
    c->layer.owner.release = release;
    c->order = malloc((size_t)D * sizeof *c->order);
    c->place = malloc((size_t)D * sizeof *c->place);
    if (!c->order || !c->place) {
        ad_fail(error, AD_ENOMEM, "spline coupling: out of memory");
        return false;
    }
    int64_t n = 0;
    for (int changed = 0; changed < 2; changed++) {
        for (int64_t d = 0; d < D; d++) {
            if (is_kept(o, D, d) != changed) c->order[c->place[d] = n++] = d;
        }
    }
    return true;
}

// The net of the options, or a new one that starts the layer as the identity.
static flow_net *conditioner(const flow_spline_coupling_options *o, int64_t in, int64_t changed, ad_error *error) {
    const int64_t P = 3 * o->bins - 1, out = changed * P;
    if (o->net) return o->net;
    flow_mlp_options mlp = o->mlp;
    flow_residual_net_options residual = o->residual;
    mlp.zero_last = residual.zero_last = true;
    flow_net *net = o->conditioner == FLOW_RESIDUAL_NET ? flow_residual_net(in, out, &residual, error)
                                                        : flow_mlp(in, out, &mlp, error);
    if (!net) return NULL;
    ad_param *bias = net->owner.params[net->owner.n_params - 1];
    const double raw = log(expm1(1 - o->spline.min_derivative));
    for (int64_t i = 0; i < out; i++) {
        if (i % P >= 2 * o->bins) ad_param_set(bias, i, raw);
    }
    return net;
}

flow_layer *flow_spline_coupling(int64_t D, int64_t C, const flow_spline_coupling_options *options, ad_error *error) {
    flow_spline_coupling_options o = options ? *options : (flow_spline_coupling_options){0};
    const int64_t width = o.conditioner == FLOW_RESIDUAL_NET ? o.residual.width : o.mlp.width;
    if (o.divide && !o.net && o.spline.scale == 0 && width >= 0) o.spline.scale = 1 / sqrt(width ? (double)width : 64);
    spline_coupling *c = flow_layer_new(&flow_spline_coupling_type, sizeof *c, D, C, error);
    if (!c || !settle_spline(&o, error) || !settle_order(c, &o, D, error)) {
        flow_net_free(o.net);
        flow_layer_free(c ? &c->layer : NULL);
        return NULL;
    }
    flow_net *net = conditioner(&o, c->n_kept + C, D - c->n_kept, error);
    if (!net || flow_add_part(&c->layer.owner, "net", &net->owner, error)) {
        flow_layer_free(&c->layer);
        return NULL;
    }
    c->net = net;
    c->bins = o.bins;
    c->spline = o.spline;
    return &c->layer;
}

// ---- described ----------------------------------------------------------------------------------------------------

static json_t *describe(const flow_layer *layer) {
    const spline_coupling *c = (const spline_coupling *)layer;
    const ad_spline_options *s = &c->spline;
    return json_pack("{s:I, s:I, s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:o}", "features",
                     (json_int_t)layer->x_shape.dim[0], "context", (json_int_t)layer->C, "kept",
                     flow_json_list(c->order, c->n_kept), "bins", (json_int_t)c->bins, "bound", s->bound, "min_width",
                     s->min_width, "min_height", s->min_height, "min_derivative", s->min_derivative, "scale", s->scale,
                     "net", flow_describe_net(c->net));
}

// The features listed, as a new array of D; NULL, with a message, when one is not a feature.
static bool *read_kept(const json_t *options, int64_t D, ad_error *error) {
    const json_t *list = json_object_get(options, "kept");
    bool *kept = calloc((size_t)D, sizeof *kept), fits = json_is_array(list);
    if (!kept) {
        ad_fail(error, AD_ENOMEM, "spline coupling: out of memory");
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(list) && fits; i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t d = json_integer_value(item);
        fits = json_is_integer(item) && d >= 0 && d < D && !kept[d];
        if (fits) kept[d] = true;
    }
    if (fits) return kept;
    ad_fail(error, AD_EFORMAT, "spline coupling: \"kept\" should list some of the features, 0 to %lld",
            (long long)(D - 1));
    free(kept);
    return NULL;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_spline_coupling_options o = {.bins = 0};
    int64_t D, C;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_int(options, "bins", 2, MAX_BINS, &o.bins, error) ||
        !flow_json_number(options, "bound", &o.spline.bound, error) ||
        !flow_json_number(options, "min_width", &o.spline.min_width, error) ||
        !flow_json_number(options, "min_height", &o.spline.min_height, error) ||
        !flow_json_number(options, "min_derivative", &o.spline.min_derivative, error) ||
        !flow_json_number(options, "scale", &o.spline.scale, error)) {
        return NULL;
    }
    bool *kept = read_kept(options, D, error);
    o.kept = kept;
    o.net = kept ? flow_make_net(json_object_get(options, "net"), making, error) : NULL;
    flow_layer *layer = o.net ? flow_spline_coupling(D, C, &o, error) : NULL;
    free(kept);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    static const bool none[5] = {false}, middle[5] = {false, true, false, true, true};
    int64_t D = 1 + i % 5, C = i % 5 == 0 ? 2 : i % 3;
    ad_type type = i % 2 ? AD_F64 : AD_F32;
    flow_activation activation = (flow_activation)(i % 3);
    flow_spline_coupling_options o = {
        .bins = 2 + i % 7,
        .spline = {.bound = 1 + i % 3, .min_width = i % 4 ? 0 : 0.02, .min_derivative = i % 4 ? 0 : 0.05},
        .divide = i % 2,
        .kept = i == 7        ? middle
                : i == 8 && C ? none
                              : NULL,
        .keep = i / 2 % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST,
        .split = D > 2 && i % 3 == 2 ? 1 : 0,
        .alternate = i % 4 == 3,
        .conditioner = i % 3 == 1 ? FLOW_RESIDUAL_NET : FLOW_MLP,
        .mlp = {.layers = 1, .width = 6 + i % 5, .activation = activation, .seed = (uint64_t)i, .type = type},
        .residual = {.blocks = i % 2 ? 1 : 2, .width = 6, .activation = activation, .seed = (uint64_t)i, .type = type}};
    return flow_spline_coupling(D, C, &o, error);
}

const flow_layer_type flow_spline_coupling_type = {.name = "spline coupling",
                                                   .normalize = normalize,
                                                   .generate = generate,
                                                   .describe = describe,
                                                   .make = make,
                                                   .example = example};
