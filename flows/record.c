// record.c -- layers recorded on a tape: shapes checked, scopes set, log-determinants gathered and summed once.
#include "internal.h"

ad_var flow_inert(ad_var v) {
    return (ad_var){v.tape, UINT32_MAX, v.epoch};
}

// Feature shape flattened to one axis.
static ad_var flatten(ad_var v) {
    return ad_reshape(v, ad_shape1(ad_shape_count(ad_shape_of(v))));
}

void flow_terms_add(flow_terms *terms, ad_var term) {
    enum { ROOM = sizeof terms->part / sizeof *terms->part };
    if (ad_is_none(term)) return;
    if (terms->n == ROOM) {
        terms->part[0] = ad_concat(terms->part, ROOM, 0);
        terms->n = 1;
    }
    terms->part[terms->n++] = ad_shape_of(term).rank == 1 ? term : flatten(term);
}

ad_var flow_terms_join(flow_terms *terms) {
    if (terms->n == 0) return AD_NONE;
    return terms->n == 1 ? terms->part[0] : ad_concat(terms->part, terms->n, 0);
}

ad_var flow_terms_sum(flow_terms *terms, ad_var like) {
    if (ad_is_none(like)) return like;
    ad_var sum = terms->n ? ad_sum(flow_terms_join(terms)) : ad_number(like.tape, 0);
    return ad_has_rows(like) && ad_ok(sum) && !ad_has_rows(sum) ? ad_to_rows(sum, ad_rows_of(like)) : sum;
}

bool flow_check_context(const char *who, ad_tape *tape, ad_var context, int64_t C) {
    char got[96];
    if (C == 0 && !ad_is_none(context)) {
        ad_tape_fail(tape, AD_ESHAPE, "%s: a context given, but the model takes none", who);
        return false;
    }
    if (C > 0 && (ad_is_none(context) || !ad_shape_equal(ad_shape_of(context), ad_shape1(C)))) {
        ad_tape_fail(tape, AD_ESHAPE, "%s: the model needs a context of [%lld], given %s", who, (long long)C,
                     ad_is_none(context) ? "none" : ad_shape_print(ad_shape_of(context), got, sizeof got));
        return false;
    }
    return true;
}

bool flow_check_call(const char *who, ad_var v, ad_shape shape, ad_var context, int64_t C) {
    char got[96], want[96];
    if (ad_is_none(v)) return false;
    if (!ad_ok(v)) {  // an error made earlier: keep it, or let the tape name a stale handle
        ad_neg(v);
        return false;
    }
    if (!ad_shape_equal(ad_shape_of(v), shape)) {
        ad_tape_fail(v.tape, AD_ESHAPE, "%s: rows of %s, but the model takes %s", who,
                     ad_shape_print(ad_shape_of(v), got, sizeof got), ad_shape_print(shape, want, sizeof want));
        return false;
    }
    return flow_check_context(who, v.tape, context, C);
}

flow_result flow_record(const flow_layer *layer, flow_direction direction, int index, ad_var v, ad_var context) {
    flow_result result = {flow_inert(v), flow_inert(v)};
    if (ad_is_none(v)) return result;
    bool normalize = direction == FLOW_NORMALIZE;
    ad_scope(v.tape, layer->type->name, index);
    // A layer without context simply does not see the chain's.
    if (layer->C == 0) context = AD_NONE;
    if (flow_check_call(normalize ? "normalize" : "generate", v, normalize ? layer->x_shape : layer->z_shape, context,
                        layer->C)) {
        const flow_layer_type *type = layer->type;
        result = type->derived ? flow_derived_record(layer, direction, v, context)
                               : (normalize ? type->normalize : type->generate)(layer, v, context);
    }
    ad_scope_end(v.tape);
    return result;
}

flow_result flow_record_whole(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context) {
    flow_result result = flow_record(layer, direction, -1, v, context);
    flow_terms terms = {.n = 0};
    flow_terms_add(&terms, result.log_det);
    result.log_det = flow_terms_sum(&terms, result.value);
    return result;
}
