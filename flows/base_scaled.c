// base_scaled.c -- location and scale of base densities of independent features: fixed, learned, by class, or a net's.
//
// z = location + scale u with u of a standard density, so log p(z) = log p_u((z - location) / scale) - log scale. The
// log-scale is bound tanh(raw / bound): within e^-10 to e^10 by default, and the raw number itself to a few digits near
// 0.
#include <math.h>

#include "base.h"

static const char *const place_names[] = {"fixed", "learned", "classes", "net"};

double flow_scale_bound(const char *who, double bound, ad_error *error) {
    if (bound == 0) return 10;
    if (bound >= 1e-3 && bound <= 50) return bound;
    ad_fail(error, AD_EARG, "%s: bound %g of the log-scale; expected 0.001 to 50, or 0 for 10", who, bound);
    return NAN;
}

// ---- recording ----------------------------------------------------------------------------------------------------

// Location and raw log-scale, [2 D]; AD_NONE when fixed.
static ad_var values(const flow_scaled *s, ad_tape *tape, ad_var context) {
    switch (s->place) {
        case FLOW_PLACE_LEARNED:
            return ad_reshape(ad_use(tape, s->values), ad_shape1(s->values->count));
        case FLOW_PLACE_CLASSES:
            return ad_linear(ad_use(tape, s->values), context, AD_NONE);
        case FLOW_PLACE_NET:
            return flow_net_apply(s->net, context);
        default:
            return AD_NONE;
    }
}

static ad_var log_scale(const flow_scaled *s, ad_var both) {
    int64_t D = s->base.shape.dim[0];
    return flow_bounded(ad_slice(both, 0, D, D), s->bound);
}

ad_var flow_scaled_center(const flow_base *base, ad_tape *tape, ad_var context) {
    const flow_scaled *s = (const flow_scaled *)base;
    ad_var both = values(s, tape, context);
    return ad_is_none(both) ? ad_fill(tape, base->shape, 0) : ad_slice(both, 0, 0, base->shape.dim[0]);
}

ad_var flow_scaled_log_prob(const flow_base *base, ad_var z, ad_var context) {
    const flow_scaled *s = (const flow_scaled *)base;
    ad_var both = values(s, z.tape, context);
    if (ad_is_none(both)) return s->family->log_density(s, z);
    ad_var a = log_scale(s, both), location = ad_slice(both, 0, 0, base->shape.dim[0]);
    return ad_sub(s->family->log_density(s, ad_mul(ad_sub(z, location), ad_exp(ad_neg(a)))), a);
}

ad_var flow_scaled_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream,
                          ad_var context) {
    const flow_scaled *s = (const flow_scaled *)base;
    ad_var u = s->family->draw(s, rows, random, stream), both = values(s, rows.tape, context);
    if (ad_is_none(both)) return u;
    return ad_add(ad_slice(both, 0, 0, base->shape.dim[0]), ad_mul(ad_exp(log_scale(s, both)), u));
}

// ---- life -----------------------------------------------------------------------------------------------------------

static bool settle(flow_scaled *s, const flow_scaled_options *o, ad_error *error) {
    const char *name = s->base.type->name;
    int64_t D = s->base.shape.dim[0], C = s->base.C;
    s->type = o->type;
    s->bound = flow_scale_bound(name, o->bound, error);
    s->place = o->fixed     ? FLOW_PLACE_FIXED
               : C == 0     ? FLOW_PLACE_LEARNED
               : o->classes ? FLOW_PLACE_CLASSES
                            : FLOW_PLACE_NET;
    if (isnan(s->bound)) return false;
    if ((unsigned)o->type > AD_F64) {
        ad_fail(error, AD_EARG, "%s: element type %d; expected AD_F32 or AD_F64", name, (int)o->type);
    } else if (o->fixed && (C || o->classes || o->net)) {
        ad_fail(error, AD_EARG, "%s: fixed, so it takes no context, classes or net", name);
    } else if ((o->classes || o->net) && C == 0) {
        ad_fail(error, AD_EARG, "%s: %s without a context", name, o->net ? "a net" : "classes");
    } else if (o->classes && o->net) {
        ad_fail(error, AD_EARG, "%s: both classes and a net", name);
    } else if (o->net && (o->net->in != C || o->net->out != 2 * D)) {
        ad_fail(error, AD_ESHAPE, "%s: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]", name,
                (long long)o->net->in, (long long)o->net->out, (long long)C, (long long)(2 * D));
    } else {
        return true;
    }
    return false;
}

static bool add_tensors(flow_scaled *s, const flow_scaled_options *o, ad_error *error) {
    int64_t D = s->base.shape.dim[0], C = s->base.C;
    flow_owner *owner = &s->base.owner;
    if (s->place == FLOW_PLACE_NET) {
        flow_mlp_options mlp = o->mlp;
        mlp.zero_last = true;
        mlp.type = o->type;
        flow_net *net = o->net ? o->net : flow_mlp(C, 2 * D, &mlp, error);
        if (!net || flow_add_part(owner, "net", &net->owner, error)) return false;
        s->net = net;
    } else if (s->place != FLOW_PLACE_FIXED) {
        ad_shape shape = s->place == FLOW_PLACE_LEARNED ? ad_shape2(2, D) : ad_shape2(2 * D, C);
        s->values = flow_add_param(owner, "values", o->type, shape, error);
        return s->values != NULL;
    }
    return true;
}

void *flow_scaled_new(const flow_base_type *type, size_t size, int64_t D, int64_t C, const flow_scaled_options *options,
                      ad_error *error) {
    flow_scaled_options o = options ? *options : (flow_scaled_options){0};
    flow_scaled *s = flow_base_new(type, size, D, C, error);
    if (!s || !settle(s, &o, error)) {
        flow_net_free(o.net);
        flow_base_free(s ? &s->base : NULL);
        return NULL;
    }
    s->family = type->family;
    if (add_tensors(s, &o, error)) return s;
    flow_base_free(&s->base);
    return NULL;
}

// ---- described ------------------------------------------------------------------------------------------------------

json_t *flow_scaled_describe(const flow_base *base) {
    const flow_scaled *s = (const flow_scaled *)base;
    json_t *object = json_pack("{s:I, s:I, s:s, s:f, s:s}", "features", (json_int_t)base->shape.dim[0], "context",
                               (json_int_t)base->C, "place", place_names[s->place], "bound", s->bound, "precision",
                               flow_type_text(s->type));
    if (object && s->net && json_object_set_new(object, "net", flow_describe_net(s->net)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

bool flow_scaled_read(const json_t *options, const flow_making *making, int64_t *D, int64_t *C,
                      flow_scaled_options *scaled, ad_error *error) {
    int place;
    *scaled = (flow_scaled_options){0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, C, error) ||
        !flow_json_choice(options, "place", place_names, 4, &place, error) ||
        !flow_json_number(options, "bound", &scaled->bound, error) || !flow_json_type(options, &scaled->type, error)) {
        return false;
    }
    if ((place >= FLOW_PLACE_CLASSES) != (*C > 0)) {
        ad_fail(error, AD_EFORMAT, "base density: \"place\" %s does not go with a context of %lld", place_names[place],
                (long long)*C);
        return false;
    }
    scaled->fixed = place == FLOW_PLACE_FIXED;
    scaled->classes = place == FLOW_PLACE_CLASSES;
    if (place == FLOW_PLACE_LEARNED && !flow_take_elements(making, 2 * *D, error)) return false;
    if (place == FLOW_PLACE_CLASSES && !flow_take_elements(making, 2 * *D * *C, error)) return false;
    if (place != FLOW_PLACE_NET) return true;
    scaled->net = flow_make_net(json_object_get(options, "net"), making, error);
    return scaled->net != NULL;
}

flow_scaled_options flow_scaled_example_options(int i, int64_t *D, int64_t *C) {
    *D = 1 + i / 4 % 3;
    *C = i % 4 == 2 ? 3 : i % 4 == 3 ? 1 + i % 3 : 0;
    return (flow_scaled_options){.fixed = i % 4 == 0,
                                 .classes = i % 4 == 2,
                                 .bound = i % 5 ? 0 : 1.5,
                                 .mlp = {.layers = 1, .width = 4, .activation = FLOW_TANH, .seed = (uint64_t)i},
                                 .type = i % 3 ? AD_F64 : AD_F32};
}

flow_base *flow_scaled_make(const flow_base_type *type, const json_t *options, const flow_making *making,
                            ad_error *error) {
    int64_t D, C;
    flow_scaled_options o;
    if (!flow_scaled_read(options, making, &D, &C, &o, error)) return NULL;
    return flow_scaled_new(type, sizeof(flow_scaled), D, C, &o, error);
}

flow_base *flow_scaled_example(const flow_base_type *type, int i, ad_error *error) {
    int64_t D, C;
    const flow_scaled_options o = flow_scaled_example_options(i, &D, &C);
    return flow_scaled_new(type, sizeof(flow_scaled), D, C, &o, error);
}
