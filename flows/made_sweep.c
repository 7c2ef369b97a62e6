// made_sweep.c -- a masked autoregressive net level by level: each hidden unit is computed once, when what it sees is
// known.
#include <stdlib.h>

#include "made.h"

// Parameters [n P] of the n features of level l, given in[0] (context and all features before).
static ad_var parameters_of(const flow_made_net *m, int64_t l, ad_var *in, ad_var nothing) {
    const int last = flow_made_maps(m) - 1;
    const int64_t from = l ? m->known[l - 1] : 0, row = m->start[l] * m->P, rows = m->start[l + 1] * m->P - row;
    if (flow_made_has_hidden(m) && m->known[l] > from) flow_made_units(m, from, m->known[l] - from, in, nothing);
    return flow_made_apply_rows(m, last, row, rows, ad_is_none(in[last]) ? nothing : in[last]);
}

ad_var flow_join(ad_var *part, int64_t n) {
    enum { MOST = 4096 };  // operands of an op
    while (n > 1) {
        int64_t m = 0;
        for (int64_t i = 0; i < n; i += MOST) part[m++] = ad_concat(part + i, (int)(n - i < MOST ? n - i : MOST), 0);
        n = m;
    }
    return part[0];
}

// Room for parts of value and parameters, each level's, and for the inputs of all maps.
static ad_var *new_parts(const flow_made_net *m, ad_tape *tape) {
    const size_t maps = (size_t)flow_made_maps(m);
    ad_var *parts = calloc(2 * (size_t)m->D + maps, sizeof *parts);
    if (!parts) ad_tape_fail(tape, AD_ENOMEM, "made: out of memory");
    for (size_t i = 0; parts && i < maps; i++) parts[2 * (size_t)m->D + i] = AD_NONE;
    return parts;
}

flow_sweep flow_made_sweep(const flow_net *net, ad_var v, ad_var context, flow_made_step step, void *arg) {
    const flow_made_net *m = (const flow_made_net *)net;
    flow_sweep result = {flow_inert(v), flow_inert(v)};
    if (!flow_made_check_call(net, v, context)) return result;
    ad_var *value = new_parts(m, v.tape), nothing = ad_slice(v, 0, 0, 0);
    if (!value) return result;
    ad_var *parameters = value + m->D, *in = parameters + m->D;
    in[0] = context;
    const bool alone = m->levels == m->D;  // features then find their places without a rearrangement
    for (int64_t l = 0; l < m->levels; l++) {
        const int64_t k = m->start[l], n = m->start[l + 1] - k, at = alone ? m->order[k] : l;
        ad_scope(v.tape, "made feature", (int)m->order[k]);
        ad_var p = parameters_of(m, l, in, nothing);
        value[at] = step(arg, p, ad_take(v, 0, m->order + k, n));
        parameters[at] = ad_reshape(p, ad_shape2(n, m->P));
        if (l + 1 < m->levels) in[0] = flow_made_grow(in[0], value[at]);
        ad_scope_end(v.tape);
    }
    result = (flow_sweep){flow_join(value, m->levels), flow_join(parameters, m->levels)};
    if (!alone) result = (flow_sweep){flow_made_unsort(m, result.value), flow_made_unsort(m, result.parameters)};
    free(value);
    return result;
}
