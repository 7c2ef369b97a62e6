// derive_map.c -- the map of a derived layer in the direction given, and its log-determinant by the structure declared.
#include "derive.h"

flow_map derive_given(const derived *d) {
    return d->form->normalize ? d->form->normalize : d->form->generate;
}

flow_map derive_other(const derived *d) {
    return d->form->normalize ? d->form->generate : NULL;
}

flow_direction flow_given_direction(const flow_layer *layer) {
    const flow_derivation *form = layer->type->derived;
    return form && !form->normalize ? FLOW_GENERATE : FLOW_NORMALIZE;
}

// ---- the map at a point --------------------------------------------------------------------------------------------

ad_var derive_sort(const derived *d, ad_var v) {
    return d->order ? ad_take(v, 0, d->order, ad_dim(v, 0)) : v;
}
ad_var derive_unsort(const derived *d, ad_var v) {
    return d->order ? ad_take(v, 0, d->place, ad_dim(v, 0)) : v;
}

// What the conditioner says of each feature changed, [n,P].
static ad_var parameters_of(const derived *d, const flow_call *call, ad_var v) {
    ad_shape shape = ad_shape2(d->changed, d->form->conditioner);
    if (d->form->conditioner == 0) return AD_NONE;
    if (!d->net) return ad_use(call->tape, d->parameters);
    if (d->form->structure == FLOW_AUTOREGRESSIVE) return flow_made_apply(d->net, v, call->context);
    ad_var in[2] = {call->kept, call->context};
    ad_var u = ad_is_none(in[0]) ? in[1] : ad_is_none(in[1]) ? in[0] : ad_concat(in, 2, 0);
    return ad_reshape(flow_net_apply(d->net, u), shape);
}

derive_point derive_point_with(const derived *d, ad_var v, ad_var context, ad_var parameters) {
    derive_point p = {.call = {&d->layer, v.tape, context, AD_NONE, AD_NONE, 0}, .v = v};
    if (d->kept) {
        ad_var sorted = derive_sort(d, v);
        p.call.kept = ad_slice(sorted, 0, 0, d->kept);
        p.v = ad_slice(sorted, 0, d->kept, d->changed);
    }
    p.call.parameters = ad_is_none(parameters) ? parameters_of(d, &p.call, v) : parameters;
    p.v = ad_offset(p.v, 0);  // a node of its own
    return p;
}
derive_point derive_point_at(const derived *d, ad_var v, ad_var context) {
    return derive_point_with(d, v, context, AD_NONE);
}

ad_var derive_call(const char *what, flow_map map, const flow_call *call, ad_var v, int64_t n) {
    char got[96];
    if (!ad_ok(v)) return flow_inert(v);
    ad_var y = map(call, v);
    if (ad_is_none(y)) {
        ad_tape_fail(v.tape, AD_EARG, "the %s gives nothing", what);
    } else if (y.tape != v.tape) {
        ad_tape_fail(v.tape, AD_EMIX, "the %s gives a var of another tape", what);
    } else if (ad_ok(y) && n >= 0 && !ad_shape_equal(ad_shape_of(y), ad_shape1(n))) {
        ad_tape_fail(v.tape, AD_ESHAPE, "the %s gives %s, expected [%lld]", what,
                     ad_shape_print(ad_shape_of(y), got, sizeof got), (long long)n);
    } else if (ad_ok(y) && ad_has_rows(v) && !ad_has_rows(y)) {
        return ad_to_rows(y, ad_rows_of(v));
    } else {
        return y;
    }
    return flow_inert(v);
}

// The user's function at a point: of what is changed, or what is added.
static ad_var map_at(const derived *d, const derive_point *p) {
    ad_var v = p->v;
    if (d->form->structure == FLOW_LOW_RANK) v = derive_call("bottleneck", d->form->bottleneck, &p->call, v, d->rank);
    return derive_call("map", derive_given(d), &p->call, v, d->changed);
}

static ad_var value_at(const derived *d, const derive_point *p) {
    ad_var y = map_at(d, p);
    if (d->form->structure == FLOW_LOW_RANK || d->form->structure == FLOW_CONTRACTIVE) return ad_add(p->v, y);
    if (d->kept == 0) return y;
    ad_var both[2] = {p->call.kept, y};
    return derive_unsort(d, ad_concat(both, 2, 0));
}

ad_var derive_value(const derived *d, ad_var v, ad_var context) {
    derive_point p = derive_point_at(d, v, context);
    return value_at(d, &p);
}

// ---- log-determinants ----------------------------------------------------------------------------------------------

// The derivative of y in v with that cotangent. A map that has none at all is a mistake.
static ad_var pull(ad_var y, ad_var gy, ad_var v) {
    ad_var g, nothing;
    ad_vjp(y, gy, &v, 1, &g);
    ad_grad(ad_number(v.tape, 1), &v, 1, &nothing);
    if (ad_ok(g) && g.id == nothing.id) {
        ad_tape_fail(v.tape, AD_EARG,
                     "the map's value does not depend on its argument, or its derivative is 0 everywhere");
    }
    return g;
}

static ad_var log_abs(ad_var x) {
    return ad_log(ad_abs(x));
}

// One sweep: no feature has a derivative in another one.
ad_var derive_slopes(const derived *d, const derive_point *p) {
    return pull(map_at(d, p), ad_fill(p->v.tape, ad_shape1(d->changed), 1), p->v);
}

// Element i of the derivative of element i, each by a sweep of its own.
static ad_var diagonal(ad_var y, ad_var v) {
    int64_t D = ad_dim(v, 0);
    ad_var all = AD_NONE;
    for (int64_t i = 0; i < D && ad_ok(y); i++) {
        ad_var g = pull(ad_slice(y, 0, i, 1), ad_fill(v.tape, ad_shape1(1), 1), v),
               both[2] = {all, ad_slice(g, 0, i, 1)};
        all = i == 0 ? both[1] : ad_concat(both, 2, 0);
    }
    return ad_is_none(all) ? flow_inert(v) : all;
}

ad_var derive_diagonal(const derived *d, const derive_point *p) {
    return d->form->conditioner ? derive_slopes(d, p) : diagonal(map_at(d, p), p->v);
}

// Matrix determinant lemma: |det(I + dA/dc db/dv)| = |det(I_r + db/dv dA/dc)|. Row i of the product: the cotangent e_i
// pulled back through b, then through A.
static ad_var log_det_low_rank(const derived *d, const derive_point *p) {
    int64_t r = d->rank;
    ad_var c = derive_call("bottleneck", d->form->bottleneck, &p->call, p->v, r);
    ad_var A = derive_call("map", derive_given(d), &p->call, c, d->changed), M = AD_NONE;
    for (int64_t i = 0; i < r && ad_ok(A); i++) {
        ad_var b = pull(ad_slice(c, 0, i, 1), ad_fill(c.tape, ad_shape1(1), 1), p->v);
        if (ad_ok(b) && !ad_has_rows(b) && ad_has_rows(A)) b = ad_to_rows(b, ad_rows_of(A));
        ad_var row = ad_reshape(pull(A, b, c), ad_shape2(1, r)), both[2] = {M, row};
        M = i == 0 ? row : ad_concat(both, 2, 0);
    }
    if (ad_is_none(M)) return flow_inert(p->v);
    ad_var one = ad_diag(ad_fill(c.tape, ad_shape1(r), 1));
    M = ad_add(one, M);
    return r == 1 ? log_abs(ad_reshape(M, ad_shape1(1))) : ad_log_abs_det(M);
}

ad_var derive_log_det(const derived *d, const derive_point *p) {
    if (d->form->log_det) return derive_call("log_det", d->form->log_det, &p->call, p->v, -1);
    switch (d->form->structure) {
        case FLOW_ELEMENTWISE:
        case FLOW_COUPLING:
            return log_abs(derive_slopes(d, p));
        case FLOW_AUTOREGRESSIVE:
            return log_abs(derive_diagonal(d, p));
        case FLOW_LOW_RANK:
            return log_det_low_rank(d, p);
        case FLOW_CONTRACTIVE:
        case FLOW_DENSE:
            return ad_log_abs_det(ad_jacobian(value_at(d, p), p->v));
        default:
            return AD_NONE;
    }
}
