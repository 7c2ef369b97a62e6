// derive.c -- layers derived from a map: made and freed; what maps may ask for.
#include "derive.h"

#include <stdlib.h>
#include <string.h>

// ---- for maps ------------------------------------------------------------------------------------------------------

static ad_var missing(const flow_call *call, const char *what, const char *name) {
    ad_tape_fail(call->tape, AD_EARG, "the map asks for a %s '%s', which the layer does not have", what,
                 name ? name : "");
    return ad_number(call->tape, 0);  // inert by now
}

static bool same(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

// Of a tensor with a row a feature, the row of the feature that is alone.
static ad_var own_row(const flow_call *call, ad_var tensor, const char *name) {
    const flow_tensor_form *form = call->layer->type->derived ? call->layer->type->derived->tensors : NULL;
    for (int i = 0; call->feature && form && i < FLOW_TENSOR_FORMS; i++) {
        const int64_t first = form[i].dim[0];
        if (!same(form[i].name, name)) continue;
        if (first && first != FLOW_DIM_FEATURES && first != FLOW_DIM_CHANGED) break;
        return ad_slice(tensor, 0, call->feature - 1, 1);
    }
    return tensor;
}

ad_var flow_use(const flow_call *call, const char *name) {
    const flow_owner *owner = &call->layer->owner;
    for (int i = 0; i < owner->n_params; i++) {
        if (same(owner->params[i]->name, name)) return own_row(call, ad_use(call->tape, owner->params[i]), name);
    }
    for (int i = 0; i < owner->n_states; i++) {
        if (same(owner->states[i]->name, name)) return own_row(call, ad_use_state(call->tape, owner->states[i]), name);
    }
    return missing(call, "tensor", name);
}

ad_var flow_use_net(const flow_call *call, const char *name, ad_var in) {
    const flow_owner *owner = &call->layer->owner;
    for (int i = 0; i < owner->n_parts; i++) {
        if (same(owner->parts[i].name, name)) return flow_net_apply((const flow_net *)owner->parts[i].owner, in);
    }
    return missing(call, "net", name);
}

ad_var flow_use_parameter(const flow_call *call, int64_t p) {
    const flow_derivation *form = call->layer->type->derived;
    if (ad_is_none(call->parameters) || p < 0 || p >= form->conditioner) {
        ad_tape_fail(call->tape, AD_EARG, "the map asks for parameter %lld; the conditioner gives %d", (long long)p,
                     form->conditioner);
        return ad_number(call->tape, 0);
    }
    return ad_reshape(ad_slice(call->parameters, 1, p, 1), ad_shape1(ad_dim(call->parameters, 0)));
}

double flow_number_of(const flow_layer *layer, const char *name) {
    const derived *d = derive_of(layer);
    for (int i = 0; layer->type->derived && i < FLOW_NUMBERS; i++) {
        if (same(layer->type->derived->numbers[i].name, name)) return d->numbers[i];
    }
    return (double)NAN;
}

// ---- what contradicts itself ---------------------------------------------------------------------------------------

// A matrix per row has to be worked with.
static bool needs_matrix(const flow_derivation *f) {
    bool both = f->normalize && f->generate;
    switch (f->structure) {
        case FLOW_VOLUME_PRESERVING:
            return !both;
        case FLOW_CONTRACTIVE:
            return !f->log_det;
        case FLOW_DENSE:
            return !both || !f->log_det;
        default:
            return false;
    }
}

static const char *contradiction(const flow_derivation *f) {
    bool both = f->normalize && f->generate, low_rank = f->structure == FLOW_LOW_RANK;
    if ((unsigned)f->structure > FLOW_DENSE || f->structure == FLOW_UNDECLARED) return "no structure is declared";
    if (!f->normalize && !f->generate) return "there is no map";
    if (low_rank != (f->bottleneck != NULL)) return "a bottleneck belongs to low rank, and to nothing else";
    if (both && (low_rank || f->structure == FLOW_CONTRACTIVE)) {
        return "of low rank and of a contraction one direction is given, the other always solved for";
    }
    if (f->conditioner < 0 || f->conditioner > 4096)
        return "the conditioner should give 0 to 4096 parameters a feature";
    if (f->conditioner && f->structure > FLOW_AUTOREGRESSIVE) {
        return "a conditioner belongs to elementwise, coupling and autoregressive maps";
    }
    if (!(f->low <= f->high) || !isfinite(f->low) || !isfinite(f->high)) return "low and high are no interval";
    if (!(f->tolerance >= 0 && f->tolerance < 1)) return "the tolerance should be 0 to 1";
    if (f->max_iterations < 0 || f->max_iterations > 1 << 24) return "max_iterations should be 0 to 2^24";
    return NULL;
}

static bool check_form(const flow_layer_type *type, int64_t D, int64_t C, ad_error *error) {
    if (!type || !type->name) {
        ad_fail(error, AD_EARG, "flow_derive: no type, or one without a name");
        return false;
    }
    const flow_derivation *f = type->derived;
    const char *wrong = f ? contradiction(f) : "the type has no derivation";
    if (wrong) {
        ad_fail(error, AD_EARG, "%s: %s", type->name, wrong);
    } else if (needs_matrix(f) && D > DERIVE_MOST) {
        ad_fail(error, AD_EARG,
                "%s: %lld features, but the Jacobian of a row is worked with up to %d: give log_det%s, or declare more "
                "structure",
                type->name, (long long)D, (int)DERIVE_MOST,
                f->structure == FLOW_CONTRACTIVE ? "" : " and the other direction");
    } else if (f->structure == FLOW_COUPLING && D == 1 && C == 0) {
        ad_fail(error, AD_EARG, "%s: one feature and no context leave nothing to condition on", type->name);
    } else {
        return true;
    }
    return false;
}

// ---- sizes, order, options -----------------------------------------------------------------------------------------

static bool set_sizes(derived *d, int64_t D, const flow_derive_options *o, ad_error *error) {
    const char *name = d->layer.type->name;
    d->kept = 0;
    d->rank = 0;
    if (d->form->structure == FLOW_COUPLING && D > 1) {
        int64_t split = o->split ? o->split : (D + 1) / 2;
        if ((unsigned)o->keep > FLOW_KEEP_SECOND) {
            ad_fail(error, AD_EARG, "%s: keep is %d, expected first or second half", name, (int)o->keep);
            return false;
        }
        if (split < 1 || split >= D) {
            ad_fail(error, AD_EARG, "%s: split %lld leaves one part of %lld features empty", name, (long long)split,
                    (long long)D);
            return false;
        }
        d->kept = o->keep == FLOW_KEEP_SECOND && !o->order ? D - split : split;
    }
    if (d->form->structure == FLOW_LOW_RANK) {
        d->rank = o->rank ? o->rank : d->form->rank ? d->form->rank : 1;
        if (d->rank < 1 || d->rank > DERIVE_MOST) {
            ad_fail(error, AD_EARG, "%s: rank %lld; expected 1 to %d", name, (long long)d->rank, (int)DERIVE_MOST);
            return false;
        }
    }
    d->changed = D - d->kept;
    return true;
}

// Element k of the order asked for.
static int64_t ordered(const derived *d, int64_t D, const flow_derive_options *o, int64_t k) {
    if (o->order) return o->order[k];
    return (k + D - d->kept) % D;  // the second part kept
}

static bool set_order(derived *d, int64_t D, const flow_derive_options *o, ad_error *error) {
    bool second = d->form->structure == FLOW_COUPLING && o->keep == FLOW_KEEP_SECOND && d->kept > 0;
    if (!o->order && !second) return true;
    d->order = calloc((size_t)D, sizeof *d->order);
    d->place = calloc((size_t)D, sizeof *d->place);
    if (!d->order || !d->place) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", d->layer.type->name);
        return false;
    }
    for (int64_t k = 0; k < D; k++) d->place[k] = -1;
    for (int64_t k = 0; k < D; k++) {
        int64_t at = d->order[k] = ordered(d, D, o, k);
        if (at >= 0 && at < D && d->place[at] < 0) {
            d->place[at] = k;
            continue;
        }
        ad_fail(error, AD_EARG, "%s: the order does not hold each of 0 to %lld once", d->layer.type->name,
                (long long)(D - 1));
        return false;
    }
    return true;
}

static bool set_numbers(derived *d, const flow_number *given, ad_error *error) {
    for (int i = 0; i < FLOW_NUMBERS; i++) d->numbers[i] = d->form->numbers[i].value;
    for (; given && given->name; given++) {
        int i = 0;
        while (i < FLOW_NUMBERS && !same(d->form->numbers[i].name, given->name)) i++;
        if (i == FLOW_NUMBERS) {
            ad_fail(error, AD_EARG, "%s: no option '%.64s'", d->layer.type->name, given->name);
            return false;
        }
        d->numbers[i] = given->value;
    }
    for (int i = 0; i < FLOW_NUMBERS; i++) {
        if (isfinite(d->numbers[i])) continue;
        ad_fail(error, AD_EARG, "%s: option '%s' is %g", d->layer.type->name, d->form->numbers[i].name,
                flow_said(d->numbers[i]));
        return false;
    }
    return true;
}

// ---- tensors and nets ----------------------------------------------------------------------------------------------

static ad_shape shape_of(const derived *d, const flow_tensor_form *form) {
    const int64_t sizes[] = {0, ad_shape_count(d->layer.x_shape), d->changed, d->layer.C, d->rank};
    ad_shape shape = ad_shape0();
    for (int i = 0; i < 3 && form->dim[i]; i++) {
        int64_t dim = form->dim[i] < 0 && form->dim[i] >= FLOW_DIM_RANK ? sizes[-form->dim[i]] : form->dim[i];
        shape.dim[shape.rank++] = dim > INT32_MAX ? -1 : (int32_t)dim;
    }
    return form->dim[0] ? shape : d->layer.x_shape;
}

static void put(ad_state *state, int64_t i, double value) {
    if (state->type == AD_F64) {
        ((double *)state->data)[i] = value;
    } else {
        ((float *)state->data)[i] = (float)value;
    }
}

static bool add_tensor(derived *d, const flow_tensor_form *form, uint64_t random, ad_error *error) {
    flow_owner *owner = &d->layer.owner;
    ad_shape shape = shape_of(d, form);
    ad_param *param = form->state ? NULL : flow_add_param(owner, form->name, d->type, shape, error);
    ad_state *state = form->state ? flow_add_state(owner, form->name, d->type, shape, error) : NULL;
    int64_t n = param ? param->count : state ? state->count : 0;
    for (int64_t i = 0; i < n; i++) {
        double value = form->start + form->spread * flow_random_unit(&random);
        if (param)
            ad_param_set(param, i, value);
        else
            put(state, i, value);
    }
    return param || state;
}

static flow_net *new_conditioner(const derived *d, const flow_derive_options *o, ad_error *error) {
    int64_t P = d->form->conditioner, C = d->layer.C;
    flow_mlp_options mlp = o->mlp;
    mlp.zero_last = true;
    mlp.seed = d->seed;
    mlp.type = d->type;
    if (d->form->structure != FLOW_AUTOREGRESSIVE) return flow_mlp(d->kept + C, d->changed * P, &mlp, error);
    return flow_made(d->changed, C, P, &(flow_made_options){.mlp = mlp, .order = d->order}, error);
}

// The conditioner, or what stands for it where there is nothing to see. given: one described in a file.
static bool add_conditioner(derived *d, const flow_derive_options *o, flow_net *given, ad_error *error) {
    int64_t P = d->form->conditioner;
    bool sees = d->kept + d->layer.C > 0 || d->form->structure == FLOW_AUTOREGRESSIVE;
    if (P == 0) return true;
    if (!sees) {
        d->parameters = flow_add_param(&d->layer.owner, "parameters", d->type, ad_shape2(d->changed, P), error);
        return d->parameters != NULL;
    }
    d->net = given ? given : new_conditioner(d, o, error);
    return d->net && flow_add_part(&d->layer.owner, "conditioner", &d->net->owner, error) == AD_OK;
}

static void release(flow_owner *owner) {
    derived *d = (derived *)owner;
    free(d->order);
    free(d->place);
}

// given: a conditioner described in a file, owned from now on.
flow_layer *derive_make(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *o,
                        flow_net *given, ad_error *error) {
    derived *d = check_form(type, D, C, error) ? flow_layer_new(type, sizeof *d, D, C, error) : NULL;
    if (!d) {
        flow_net_free(given);
        return NULL;
    }
    d->layer.owner.release = release;
    d->form = type->derived;
    d->type = o->type;
    d->seed = o->seed;
    bool ok = set_sizes(d, D, o, error) && set_order(d, D, o, error) && set_numbers(d, o->numbers, error);
    d->layer.jacobian = (flow_jacobian){d->form->structure, d->order, d->kept, d->rank};
    if (d->form->normalize) d->layer.low = d->form->low, d->layer.high = d->form->high;
    if (!ok) flow_net_free(given);
    ok = ok && add_conditioner(d, o, given, error);
    for (int i = 0; ok && i < FLOW_TENSOR_FORMS; i++) {
        if (d->form->tensors[i].name)
            ok = add_tensor(d, &d->form->tensors[i], flow_subseed(o->seed, (uint64_t)i), error);
    }
    if (!ok || (d->form->build && d->form->build(&d->layer, o, error) != AD_OK)) {
        flow_layer_free(&d->layer);
        return NULL;
    }
    d->takes_one = derive_takes_one(d);
    return &d->layer;
}

flow_layer *flow_derive(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *options,
                        ad_error *error) {
    flow_derive_options none = {.seed = 0};
    return derive_make(type, D, C, options ? options : &none, NULL, error);
}
