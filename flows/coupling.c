// coupling.c -- coupling: some features mapped one by one, by parameters that a net gives of the others.
//
// Dinh, Krueger and Bengio 2015; Dinh, Sohl-Dickstein and Bengio 2017, eq. 7-8; with one net for all parameters Kingma
// and Dhariwal 2018. With a transformer of its own for the features kept, of learned parameters, as in nflows's
// splines.
#include <stdlib.h>

#include "internal.h"

typedef struct coupling {
    flow_layer layer;
    flow_transformer *transformer, *kept_transformer;  // parts; the second may be NULL
    flow_net *net;                                     // [kept + C] -> [changed P], a part
    ad_param *kept_raw;                                // of kept_transformer
    bool inverse;
    int64_t n_kept;
    int64_t *order, *place;  // [D] each: kept features, then the others; and where in that order each feature is
} coupling;

// ---- both directions ------------------------------------------------------------------------------------------------

// Kept and changed features in the places they have in v; parts that are ranges need no copy.
static ad_var join(const coupling *c, ad_var kept, ad_var changed) {
    const int64_t D = c->layer.x_shape.dim[0], k = c->n_kept;
    ad_var first[] = {kept, changed}, last[] = {changed, kept};
    if (c->order[k - 1] == k - 1) return ad_concat(first, 2, 0);
    if (c->order[0] == D - k) return ad_concat(last, 2, 0);
    return ad_take(ad_concat(first, 2, 0), 0, c->place, D);
}

// Kept features through their own map, where they have one.
static flow_result map_kept(const coupling *c, flow_direction direction, ad_var kept) {
    if (!c->kept_transformer) return (flow_result){kept, AD_NONE};
    flow_parameters p = flow_use_raw(kept.tape, c->kept_raw, c->n_kept, c->kept_transformer);
    return flow_transform(c->kept_transformer, direction, p, kept);
}

static flow_parameters parameters_at(const coupling *c, ad_var kept, ad_var context) {
    const flow_transformer *t = c->transformer;
    if (c->n_kept) kept = flow_seen(t, kept);
    ad_var in[2] = {kept, context};
    ad_var u = ad_is_none(context) ? kept : c->n_kept == 0 ? context : ad_concat(in, 2, 0);
    return (flow_parameters){flow_net_apply(c->net, u), c->layer.x_shape.dim[0] - c->n_kept, t->P, t->type->by_feature};
}

static flow_result transform(const coupling *c, flow_direction direction, ad_var v, ad_var context) {
    const int64_t D = c->layer.x_shape.dim[0], k = c->n_kept, n = D - k;
    const flow_transformer *t = c->transformer;
    if (c->inverse) direction = !direction;
    ad_var kept = k ? ad_take(v, 0, c->order, k) : AD_NONE, changed = k ? ad_take(v, 0, c->order + k, n) : v;
    flow_result own = map_kept(c, direction, kept);
    // The net sees the kept features as they are on the data side, in both directions.
    flow_parameters p = parameters_at(c, direction == FLOW_NORMALIZE ? kept : own.value, context);
    flow_result r = flow_transform(t, direction, p, changed);
    if (k == 0) return r;
    flow_terms terms = {.n = 0};
    flow_terms_add(&terms, r.log_det);
    flow_terms_add(&terms, own.log_det);
    return (flow_result){join(c, own.value, r.value), flow_terms_join(&terms)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const coupling *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const coupling *)layer, FLOW_GENERATE, z, context);
}

static flow_gauges gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context) {
    const coupling *c = (const coupling *)layer;
    const int64_t D = layer->x_shape.dim[0], k = c->n_kept;
    ad_var v = c->inverse ? z : x, kept = k ? ad_take(v, 0, c->order, k) : AD_NONE;
    ad_var changed = k ? ad_take(v, 0, c->order + k, D - k) : v;
    return flow_gauge(c->transformer, parameters_at(c, kept, context), changed);
}

// ---- which features are kept ----------------------------------------------------------------------------------------

static void release(flow_owner *owner) {
    free(((coupling *)owner)->order);
}

static bool in_first_part(const flow_coupling_options *o, int64_t split, int64_t d) {
    if (o->width) return (d / o->width + d % o->width) % 2 == 0;
    return o->alternate ? d % 2 == 0 : d < split;
}

// Whether features are kept, in kept[D].
static void choose(const flow_coupling_options *o, int64_t D, int64_t *kept) {
    const int64_t split = o->split ? o->split : (D + 1) / 2;
    uint64_t random = o->seed;
    for (int64_t d = 0; d < D; d++) {
        int64_t j = o->shuffle && !o->kept ? (int64_t)(flow_random(&random) % (uint64_t)(d + 1)) : d;
        if (j != d) kept[d] = kept[j];  // Fisher and Yates, inside out
        kept[j] = o->kept ? o->kept[d] : D > 1 && in_first_part(o, split, d) == (o->keep == FLOW_KEEP_FIRST);
    }
}

static bool settle_parts(coupling *c, const flow_coupling_options *o, ad_error *error) {
    const int64_t D = c->layer.x_shape.dim[0];
    if ((unsigned)o->keep > FLOW_KEEP_SECOND) {
        ad_fail(error, AD_EARG, "coupling: keep is %d, expected first or second part", (int)o->keep);
        return false;
    }
    if (D > 1 && !o->kept && (o->split < 0 || o->split >= D)) {
        ad_fail(error, AD_EARG, "coupling: split %lld leaves one part of %lld features empty", (long long)o->split,
                (long long)D);
        return false;
    }
    if (!o->kept && (o->width < 0 || (o->width > 0 && D % o->width != 0))) {
        ad_fail(error, AD_EARG, "coupling: %lld features are no picture %lld wide", (long long)D, (long long)o->width);
        return false;
    }
    c->layer.owner.release = release;
    c->order = malloc(2 * (size_t)D * sizeof *c->order);
    if (!c->order) {
        ad_fail(error, AD_ENOMEM, "coupling: out of memory");
        return false;
    }
    c->place = c->order + D;
    choose(o, D, c->place);
    int64_t n = 0, kept = 0;
    for (int64_t d = 0; d < D; d++) kept += c->place[d];
    for (int changed = 0; changed < 2; changed++) {
        for (int64_t d = 0; d < D; d++) {
            if (c->place[d] != changed) c->order[n++] = d;
        }
    }
    for (int64_t i = 0; i < D; i++) c->place[c->order[i]] = i;
    c->n_kept = kept;
    if (kept == D) ad_fail(error, AD_EARG, "coupling: all features are kept, none is changed");
    if (kept + c->layer.C == 0) {
        ad_fail(error, AD_EARG, "coupling: no feature kept and no context leave nothing to condition on");
    }
    return kept < D && kept + c->layer.C > 0;
}

// ---- making one -----------------------------------------------------------------------------------------------------

// What the options gave, until the layer owns it.
static void drop(flow_transformer *transformer, flow_transformer *kept_transformer, flow_net *net) {
    flow_transformer_free(transformer);
    flow_transformer_free(kept_transformer);
    flow_net_free(net);
}

// All features of a row lie in one range.
static bool ranges_fit(const coupling *c, const flow_transformer *kept, ad_error *error) {
    const flow_transformer *t = c->transformer;
    if (c->n_kept == 0 || flow_same_ranges(t, kept)) return true;
    ad_fail(error, AD_EARG, "coupling: the transformer %s takes features to another range than those kept",
            t->type->name);
    return false;
}

static bool add_kept(coupling *c, flow_transformer *t, ad_type type, ad_error *error) {
    if (!t) return true;
    if (flow_add_part(&c->layer.owner, "kept_transformer", &t->owner, error)) return false;
    c->kept_transformer = t;
    if (c->n_kept == 0) {
        ad_fail(error, AD_EARG, "coupling: a transformer for the features kept, but none is kept");
        return false;
    }
    c->kept_raw = flow_add_raw(&c->layer.owner, "kept_raw", type, c->n_kept, t, error);
    return c->kept_raw && flow_narrow_layer(&c->layer, t, c->inverse, error);
}

// Takes over transformers and net.
static bool assemble(coupling *c, flow_transformer *t, const flow_coupling_options *o, ad_error *error) {
    const int64_t D = c->layer.x_shape.dim[0];
    if (flow_add_part(&c->layer.owner, "transformer", &t->owner, error)) {
        drop(NULL, o->kept_transformer, o->net);
        return false;
    }
    c->transformer = t;
    const flow_conditioner_options how = {o->conditioner, o->mlp, o->residual, o->net};
    flow_net *net = flow_conditioner_net("coupling", c->n_kept + c->layer.C, D - c->n_kept, t, &how, error);
    if (!net || flow_add_part(&c->layer.owner, "net", &net->owner, error) ||
        !flow_narrow_layer(&c->layer, t, o->inverse, error) || !ranges_fit(c, o->kept_transformer, error)) {
        flow_transformer_free(o->kept_transformer);
        return false;
    }
    c->net = net;
    return add_kept(c, o->kept_transformer, net->owner.n_params ? net->owner.params[0]->type : AD_F32, error);
}

flow_layer *flow_coupling(int64_t D, int64_t C, flow_transformer *transformer, const flow_coupling_options *options,
                          ad_error *error) {
    flow_coupling_options o = options ? *options : (flow_coupling_options){.inverse = false};
    coupling *c = transformer ? flow_layer_new(&flow_coupling_type, sizeof *c, D, C, error) : NULL;
    if (c && o.bound != 0) {
        ad_fail(error, AD_EARG, "coupling: bound %g is flow_affine_coupling's; a transformer has its own", o.bound);
    } else if (c && settle_parts(c, &o, error)) {
        c->inverse = o.inverse;
        if (!o.kept_transformer) c->layer.jacobian = (flow_jacobian){FLOW_COUPLING, c->order, c->n_kept, 0};
        if (assemble(c, transformer, &o, error)) return &c->layer;
        transformer = o.kept_transformer = NULL;
        o.net = NULL;
    }
    drop(transformer, o.kept_transformer, o.net);
    flow_layer_free(c ? &c->layer : NULL);
    return NULL;
}

// ---- described ------------------------------------------------------------------------------------------------------

static json_t *describe(const flow_layer *layer) {
    const coupling *c = (const coupling *)layer;
    json_t *kept = c->kept_transformer ? flow_describe_transformer(c->kept_transformer) : json_null();
    return json_pack("{s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "inverse", c->inverse, "kept", flow_json_list(c->order, c->n_kept),
                     "transformer", flow_describe_transformer(c->transformer), "kept_transformer", kept, "net",
                     flow_describe_net(c->net));
}

// The features listed, as a new array of D; NULL, with a message, when one is not a feature.
static bool *read_kept(const json_t *options, int64_t D, ad_error *error) {
    const json_t *list = json_object_get(options, "kept");
    bool *kept = calloc((size_t)D, sizeof *kept), fits = json_is_array(list);
    if (!kept) {
        ad_fail(error, AD_ENOMEM, "coupling: out of memory");
        return NULL;
    }
    for (size_t i = 0; i < json_array_size(list) && fits; i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t d = json_integer_value(item);
        fits = json_is_integer(item) && d >= 0 && d < D && !kept[d];
        if (fits) kept[d] = true;
    }
    if (fits) return kept;
    ad_fail(error, AD_EFORMAT, "coupling: \"kept\" should list some of the features, 0 to %lld", (long long)(D - 1));
    free(kept);
    return NULL;
}

// False when one of the parts described cannot be made: none is kept then.
static bool read_parts(const json_t *options, const flow_making *making, flow_transformer **t, flow_coupling_options *o,
                       ad_error *error) {
    const json_t *kept = json_object_get(options, "kept_transformer");
    const bool has_kept = kept && !json_is_null(kept);
    *t = flow_make_transformer(json_object_get(options, "transformer"), making, error);
    if (*t && has_kept) o->kept_transformer = flow_make_transformer(kept, making, error);
    if (*t && !has_kept == !o->kept_transformer) o->net = flow_make_net(json_object_get(options, "net"), making, error);
    if (o->net) return true;
    drop(*t, o->kept_transformer, NULL);
    return false;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_coupling_options o = {.inverse = false};
    flow_transformer *t;
    int64_t D, C;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_bool(options, "inverse", &o.inverse, error) || !read_parts(options, making, &t, &o, error)) {
        return NULL;
    }
    bool *kept = NULL;
    if (D > o.net->in + o.net->out) {  // features that no parameter of the file stands for take no memory
        ad_fail(error, AD_EFORMAT, "coupling: %lld features, but the net is [%lld] -> [%lld]", (long long)D,
                (long long)o.net->in, (long long)o.net->out);
    } else {
        kept = read_kept(options, D, error);
    }
    const int64_t n_kept = (int64_t)json_array_size(json_object_get(options, "kept"));
    if (kept && o.kept_transformer && !flow_take_elements(making, n_kept * o.kept_transformer->P, error)) {
        free(kept);
        kept = NULL;
    }
    o.kept = kept;
    if (!kept) drop(t, o.kept_transformer, o.net);
    flow_layer *layer = kept ? flow_coupling(D, C, t, &o, error) : NULL;
    free(kept);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    static const bool middle[6] = {false, true, false, true, true, false}, none[6] = {false};
    const int64_t D = 1 + i % 6, C = D == 1 ? 2 : i % 3;
    const ad_type type = i % 2 ? AD_F64 : AD_F32;
    const flow_activation activation = (flow_activation)(i % 3);
    flow_coupling_options o = {
        .inverse = i / 2 % 2,
        .kept = i % 11 == 7 && D > 1 ? middle
                : i % 11 == 8 && C   ? none
                                     : NULL,
        .keep = i / 3 % 2 ? FLOW_KEEP_SECOND : FLOW_KEEP_FIRST,
        .split = D > 2 && i % 4 == 2 ? 1 : 0,
        .alternate = i % 4 == 3,
        .width = D == 6 && i % 4 == 1 ? 3 : 0,
        .shuffle = i % 5 == 4,
        .seed = (uint64_t)i,
        .conditioner = i % 4 == 1 ? FLOW_RESIDUAL_NET : FLOW_MLP,
        .mlp =
            {.layers = i % 3 ? 1 : -1, .width = 5 + i % 5, .activation = activation, .seed = (uint64_t)i, .type = type},
        .residual = {.blocks = 1, .width = 5, .activation = activation, .seed = (uint64_t)i, .type = type}};
    flow_transformer *t = flow_example_transformer(i, error);
    if (t && D > 1 && i % 7 == 5 && !o.kept) o.kept_transformer = flow_example_transformer(i / 7, error);
    if (o.kept_transformer && !flow_same_ranges(t, o.kept_transformer)) {
        flow_transformer_free(o.kept_transformer);
        o.kept_transformer = NULL;
    }
    return flow_coupling(D, C, t, &o, error);
}

const flow_layer_type flow_coupling_type = {.name = "coupling",
                                            .normalize = normalize,
                                            .generate = generate,
                                            .describe = describe,
                                            .make = make,
                                            .example = example,
                                            .gauge = gauge};
