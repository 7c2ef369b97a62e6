// made.c -- masked autoregressive net (MADE, Germain et al. 2015): parameters of each feature from the features before
// it.
//
// Features are sorted by level, hidden units by degree: a unit of degree l sees the context and (some of) the features
// of the first l levels. Masks are then stairs, which ad_linear_staircase takes; matrices are stored sorted, and are 0
// beyond them. Where features see others as they please (adjacency; as in zuko's masked nets), a mask of 0 and 1 takes
// out the rest.
#include "made.h"

#include <math.h>
#include <stdlib.h>

// ---- sizes ----------------------------------------------------------------------------------------------------------

int flow_made_maps(const flow_made_net *m) {
    return m->residual ? 2 * m->layers + 2 : m->layers + 1;
}
bool flow_made_has_hidden(const flow_made_net *m) {
    return m->residual || m->layers > 0;
}
int64_t flow_made_rows(const flow_made_net *m, int i) {
    return i == flow_made_maps(m) - 1 ? m->D * m->P : m->width;
}
int64_t flow_made_inputs(const flow_made_net *m, int i) {
    return i == 0 ? m->C + m->D : m->width;
}
const int64_t *flow_made_columns(const flow_made_net *m, int i) {
    return i == flow_made_maps(m) - 1 ? m->last : i == 0 ? m->first : m->hidden;
}

// ---- all features at once -------------------------------------------------------------------------------------------

ad_var flow_made_apply_rows(const flow_made_net *m, int i, int64_t row, int64_t rows, ad_var in) {
    ad_param *const *params = m->net.owner.params;
    ad_var W = ad_use(in.tape, params[2 * i]), b = ad_use(in.tape, params[2 * i + 1]);
    if (m->mask) W = ad_mul(W, ad_shared_input(in.tape, ad_shape_of(W), &m->mask_source[i]));
    if (rows < flow_made_rows(m, i)) {
        W = ad_slice(W, 0, row, rows);
        b = ad_slice(b, 0, row, rows);
    }
    return ad_linear_staircase(W, in, b, flow_made_columns(m, i) + row);
}

ad_var flow_made_grow(ad_var known, ad_var more) {
    ad_var both[2] = {known, more};
    return ad_is_none(known) ? more : ad_concat(both, 2, 0);
}

// New units of map i, from what is known of its inputs.
static ad_var map(const flow_made_net *m, int i, int64_t from, int64_t n, const ad_var *in, ad_var nothing) {
    ad_scope(nothing.tape, "made", i);
    ad_var h = flow_made_apply_rows(m, i, from, n, ad_is_none(in[i]) ? nothing : in[i]);
    ad_scope_end(nothing.tape);
    return h;
}

void flow_made_units(const flow_made_net *m, int64_t from, int64_t n, ad_var *in, ad_var nothing) {
    for (int i = 0; !m->residual && i < m->layers; i++) {
        in[i + 1] = flow_made_grow(in[i + 1], flow_activate(m->activation, map(m, i, from, n, in, nothing)));
    }
    if (!m->residual) return;
    ad_var h = map(m, 0, from, n, in, nothing);
    for (int i = 1; i <= 2 * m->layers; i += 2) {
        in[i] = flow_made_grow(in[i], flow_activate(m->activation, h));
        in[i + 1] = flow_made_grow(in[i + 1], flow_activate(m->activation, map(m, i, from, n, in, nothing)));
        h = ad_add(h, map(m, i + 1, from, n, in, nothing));
    }
    const int last = 2 * m->layers + 1;
    in[last] = flow_made_grow(in[last], h);
}

static bool in_order(const flow_made_net *m) {
    for (int64_t k = 0; k < m->D; k++) {
        if (m->order[k] != k) return false;
    }
    return true;
}

ad_var flow_made_unsort(const flow_made_net *m, ad_var v) {
    if (in_order(m)) return v;
    int64_t *place = malloc((size_t)m->D * sizeof *place);
    if (!place) {
        ad_tape_fail(v.tape, AD_ENOMEM, "made: out of memory");
        return flow_inert(v);
    }
    for (int64_t k = 0; k < m->D; k++) place[m->order[k]] = k;
    v = ad_take(v, 0, place, m->D);
    free(place);
    return v;
}

bool flow_made_check_call(const flow_net *net, ad_var x, ad_var context) {
    const flow_made_net *m = (const flow_made_net *)net;
    if (ad_is_none(x)) return false;
    if (net->type == &flow_made_type) return flow_check_call("made", x, ad_shape1(m->D), context, m->C);
    ad_tape_fail(x.tape, AD_EARG, "made: the net is of type '%s'", net->type->name);
    return false;
}

ad_var flow_made_apply(const flow_net *net, ad_var x, ad_var context) {
    const flow_made_net *m = (const flow_made_net *)net;
    if (!flow_made_check_call(net, x, context)) return flow_inert(x);
    const int last = flow_made_maps(m) - 1;
    ad_var *in = malloc((size_t)(last + 1) * sizeof *in);
    if (!in) {
        ad_tape_fail(x.tape, AD_ENOMEM, "made: out of memory");
        return flow_inert(x);
    }
    for (int i = 0; i <= last; i++) in[i] = AD_NONE;
    in[0] = flow_made_grow(m->C ? context : AD_NONE, in_order(m) ? x : ad_take(x, 0, m->order, m->D));
    if (flow_made_has_hidden(m)) flow_made_units(m, 0, m->width, in, x);
    ad_var h = map(m, last, 0, flow_made_rows(m, last), in, x);
    free(in);
    return flow_made_unsort(m, ad_reshape(h, ad_shape2(m->D, m->P)));
}

// As any net: u is (x, context).
static ad_var apply(const flow_net *net, ad_var u) {
    const flow_made_net *m = (const flow_made_net *)net;
    if (!flow_check_call("made", u, ad_shape1(net->in), AD_NONE, 0)) return flow_inert(u);
    ad_var context = m->C ? ad_slice(u, 0, m->D, m->C) : AD_NONE;
    return ad_reshape(flow_made_apply(net, ad_slice(u, 0, 0, m->D), context), ad_shape1(net->out));
}

bool flow_is_made(const flow_net *net, int64_t D, int64_t C, int64_t P) {
    const flow_made_net *m = (const flow_made_net *)net;
    return net->type == &flow_made_type && m->D == D && m->C == C && m->P == P;
}

int64_t flow_made_levels(const flow_net *made) {
    return ((const flow_made_net *)made)->levels;
}
const int64_t *flow_made_order(const flow_net *made) {
    return ((const flow_made_net *)made)->order;
}

// ---- making one -----------------------------------------------------------------------------------------------------

// Uniform in +-bound where the row sees the input; elsewhere 0.
static void start_row(const flow_made_net *m, int i, int64_t row, double bound, uint64_t *random) {
    ad_param *W = m->net.owner.params[2 * i];
    const int64_t I = W->shape.dim[1];
    for (int64_t c = 0; c < flow_made_columns(m, i)[row]; c++) {
        if (!m->mask || m->mask[i][row * I + c] != 0) ad_param_set(W, row * I + c, bound * flow_random_unit(random));
    }
}

static double inputs_seen(const flow_made_net *m, int i, int64_t row) {
    int64_t seen = flow_made_columns(m, i)[row], I = flow_made_inputs(m, i), n = 0;
    for (int64_t c = 0; m->mask && c < seen; c++) n += m->mask[i][row * I + c] != 0;
    return fmax(1, (double)(m->mask ? n : seen));
}

// As for an mlp (mlp.c) or a residual net (residual_net.c), each row by the inputs that it sees.
static void start(const flow_made_net *m, int i, uint64_t *random) {
    ad_param *b = m->net.owner.params[2 * i + 1];
    const bool last = i == flow_made_maps(m) - 1, he = !last && m->activation != FLOW_TANH;
    const bool ends_block = m->residual && !last && i > 0 && i % 2 == 0;
    const double out = (double)flow_made_rows(m, i);
    for (int64_t r = 0; r < b->count; r++) {
        const double in = inputs_seen(m, i, r);
        double bound = he ? sqrt(6 / in) : sqrt(6 / (in + out));
        if (m->residual) bound = ends_block ? 1e-3 : 1 / sqrt(in);
        start_row(m, i, r, bound, random);
        if (!last || m->residual) ad_param_set(b, r, flow_random_unit(random) * (ends_block ? 1e-3 : 1 / sqrt(in)));
    }
}

static bool add_maps(flow_made_net *m, const flow_mlp_options *o, ad_error *error) {
    uint64_t random = o->seed;
    const int maps = flow_made_maps(m);
    for (int i = 0; i < maps; i++) {
        if (!flow_add_linear(&m->net, i, flow_made_inputs(m, i), flow_made_rows(m, i), o->type, error)) return false;
        if (i < maps - 1 || !o->zero_last) start(m, i, &random);
    }
    return true;
}

static bool in_range(int64_t D, int64_t C, int64_t P, const flow_mlp_options *o, int layers, int64_t width) {
    return D >= 1 && D <= FLOW_MAX_FEATURES && C >= 0 && C <= FLOW_MAX_FEATURES && P >= 1 &&
           P <= FLOW_MAX_FEATURES / D && layers <= FLOW_MADE_MOST_LAYERS && width >= 1 && width <= FLOW_MAX_FEATURES &&
           (unsigned)o->activation < FLOW_ACTIVATIONS && (unsigned)o->type <= AD_F64;
}

// Without tensors; sizes are in range.
static flow_made_net *new_made(const flow_made_net *sizes, ad_error *error) {
    const int64_t D = sizes->D, width = sizes->width;
    flow_made_net *m = malloc(sizeof *m);
    int64_t *lists = calloc((size_t)(3 * D + 1 + 3 * width + D * sizes->P), sizeof *lists);
    if (!m || !lists) {
        ad_fail(error, AD_ENOMEM, "made: out of memory");
        free(m);
        free(lists);
        return NULL;
    }
    *m = *sizes;
    m->net =
        (flow_net){.owner = {.release = flow_made_release}, .type = &flow_made_type, .in = D + m->C, .out = D * m->P};
    m->order = lists;
    m->known = m->order + D;
    m->start = m->known + D;
    m->first = m->start + D + 1;
    m->hidden = m->first + width;
    m->unit = m->hidden + width;
    m->last = m->unit + width;
    return m;
}

flow_net *flow_made(int64_t D, int64_t C, int64_t P, const flow_made_options *options, ad_error *error) {
    flow_made_options all = options ? *options : (flow_made_options){.order = NULL};
    const flow_mlp_options *o = &all.mlp;
    int layers = o->layers == 0 ? 2 : o->layers < 0 ? 0 : o->layers;
    const bool none = layers == 0 && !all.residual;
    int64_t width = none ? 1 : o->width == 0 ? 64 : o->width;  // of none: nothing that a bad file could enlarge
    if (!in_range(D, C, P, o, layers, width)) {
        ad_fail(error, AD_EARG,
                "made: %lld features, context %lld, %lld outputs each, %d hidden layers of %lld, "
                "activation %d: out of range",
                (long long)D, (long long)C, (long long)P, layers, (long long)width, (int)o->activation);
        return NULL;
    }
    flow_made_net *m = new_made(&(flow_made_net){.D = D,
                                                 .C = C,
                                                 .P = P,
                                                 .layers = layers,
                                                 .width = width,
                                                 .activation = o->activation,
                                                 .type = o->type,
                                                 .residual = all.residual},
                                error);
    if (!m) return NULL;
    if (flow_made_set_order(m, &all, error) && flow_made_set_stairs(m, error) && flow_made_set_masks(m, error) &&
        add_maps(m, o, error)) {
        return &m->net;
    }
    flow_net_free(&m->net);
    return NULL;
}

const flow_net_type flow_made_type = {
    .name = "made", .apply = apply, .describe = flow_made_describe, .make = flow_made_make};
