// made.c -- masked autoregressive net (MADE, Germain et al. 2015): parameters of each feature from the features before it.
//
// Features are sorted by level, hidden units by degree: a unit of degree l sees the context and (some of) the features of the
// first l levels. Masks are then stairs, which ad_linear_staircase takes; matrices are stored sorted, and are 0 beyond them.
// Where features see others as they please (adjacency; as in zuko's masked nets), a mask of 0 and 1 takes out the rest.
#include "made.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    return D >= 1 && D <= FLOW_MAX_FEATURES && C >= 0 && C <= FLOW_MAX_FEATURES && P >= 1 && P <= FLOW_MAX_FEATURES / D &&
           layers <= FLOW_MADE_MOST_LAYERS && width >= 1 && width <= FLOW_MAX_FEATURES &&
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
    m->net = (flow_net){.owner = {.release = flow_made_release}, .type = &flow_made_type, .in = D + m->C, .out = D * m->P};
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
        ad_fail(error, AD_EARG, "made: %lld features, context %lld, %lld outputs each, %d hidden layers of %lld, "
                "activation %d: out of range", (long long)D, (long long)C, (long long)P, layers, (long long)width,
                (int)o->activation);
        return NULL;
    }
    flow_made_net *m = new_made(&(flow_made_net){.D = D, .C = C, .P = P, .layers = layers, .width = width,
                                                 .activation = o->activation, .type = o->type, .residual = all.residual},
                                error);
    if (!m) return NULL;
    if (flow_made_set_order(m, &all, error) && flow_made_set_stairs(m, error) && flow_made_set_masks(m, error) &&
        add_maps(m, o, error)) {
        return &m->net;
    }
    flow_net_free(&m->net);
    return NULL;
}

// ---- descriptions ---------------------------------------------------------------------------------------------------

// For each feature the list of those that it sees; null: all before it in the order.
static json_t *list_parents(const flow_made_net *m) {
    if (!m->sees) return json_null();
    json_t *all = json_array();
    for (int64_t d = 0; all && d < m->D; d++) {
        json_t *list = json_array();
        for (int64_t e = 0; e < m->D; e++) {
            if (flow_made_sees(m, d, e)) json_array_append_new(list, json_integer(e));
        }
        if (json_array_append_new(all, list) == 0) continue;
        json_decref(all);
        all = NULL;
    }
    return all;
}

static json_t *describe(const flow_net *net) {
    const flow_made_net *m = (const flow_made_net *)net;
    return json_pack("{s:I, s:I, s:I, s:b, s:i, s:I, s:s, s:s, s:o, s:o}", "features", (json_int_t)m->D, "context",
                     (json_int_t)m->C, "outputs", (json_int_t)m->P, "residual", m->residual, "layers", m->layers, "width",
                     (json_int_t)m->width, "activation", flow_activation_names[m->activation], "precision",
                     flow_type_text(m->type), "order", m->sees ? json_null() : flow_json_list(m->order, m->D), "parents",
                     list_parents(m));
}

// At most 2^60 with all at their bounds.
static int64_t count_elements(const flow_made_net *m) {
    const int64_t in = m->D + m->C + 1, out = m->D * m->P;
    if (!flow_made_has_hidden(m)) return in * out;
    return in * m->width + (flow_made_maps(m) - 2) * (m->width + 1) * m->width + (m->width + 1) * out;
}

// The list "order" of D numbers, which the caller frees; NULL and a message.
static int64_t *read_order(const json_t *options, int64_t D, ad_error *error) {
    const json_t *list = json_object_get(options, "order");
    if (json_array_size(list) != (size_t)D) {
        ad_fail(error, AD_EFORMAT, "made: \"order\" should be a list of %lld numbers", (long long)D);
        return NULL;
    }
    int64_t *order = malloc((size_t)D * sizeof *order);
    if (!order) ad_fail(error, AD_ENOMEM, "made: out of memory");
    for (int64_t i = 0; order && i < D; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        order[i] = json_is_integer(item) ? json_integer_value(item) : -1;
    }
    return order;
}

// The lists "parents" as adjacency [D][D], which the caller frees; NULL and a message.
static bool *read_parents(const json_t *list, int64_t D, ad_error *error) {
    bool fits = D <= FLOW_MADE_MOST_ADJACENT && json_array_size(list) == (size_t)D;
    bool *adjacency = fits ? calloc((size_t)(D * D), sizeof *adjacency) : NULL;
    for (int64_t d = 0; adjacency && fits && d < D; d++) {
        const json_t *of = json_array_get(list, (size_t)d);
        fits = json_is_array(of);
        for (size_t i = 0; fits && i < json_array_size(of); i++) {
            const json_t *item = json_array_get(of, i);
            const json_int_t e = json_integer_value(item);
            fits = json_is_integer(item) && e >= 0 && e < D;
            if (fits) adjacency[d * D + e] = true;
        }
    }
    if (fits && adjacency) return adjacency;
    ad_fail(error, fits ? AD_ENOMEM : AD_EFORMAT, "made: \"parents\" should be %lld lists of features (at most %d)",
            (long long)D, FLOW_MADE_MOST_ADJACENT);
    free(adjacency);
    return NULL;
}

static bool read_sizes(const json_t *options, flow_made_net *m, ad_error *error) {
    int64_t layers;
    int activation;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &m->D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &m->C, error) ||
        !flow_json_int(options, "outputs", 1, FLOW_MAX_FEATURES / m->D, &m->P, error) ||
        !flow_json_bool(options, "residual", &m->residual, error) ||
        !flow_json_int(options, "layers", 0, FLOW_MADE_MOST_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &m->width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &m->type, error)) {
        return false;
    }
    m->layers = (int)layers;
    m->activation = (flow_activation)activation;
    return true;
}

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_made_net m = {.D = 1};
    const json_t *parents = json_object_get(options, "parents");
    const bool ordered = json_is_null(parents);
    if (!read_sizes(options, &m, error)) return NULL;
    const int64_t n = count_elements(&m);  // a mask is as large as its matrix
    if (!flow_take_elements(making, n, error)) return NULL;
    int64_t *order = ordered ? read_order(options, m.D, error) : NULL;
    bool *adjacency = ordered ? NULL : read_parents(parents, m.D, error);
    flow_made_options o = {.mlp = {.layers = m.layers ? m.layers : -1,
                                   .width = m.width,
                                   .activation = m.activation,
                                   .zero_last = true,
                                   .type = m.type},
                           .order = order,
                           .adjacency = adjacency,
                           .residual = m.residual};
    flow_net *net = order || adjacency ? flow_made(m.D, m.C, m.P, &o, error) : NULL;
    free(order);
    free(adjacency);
    return net;
}

const flow_net_type flow_made_type = {.name = "made", .apply = apply, .describe = describe, .make = make};
