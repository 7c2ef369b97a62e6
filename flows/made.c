// made.c -- masked autoregressive net (MADE, Germain et al. 2015): parameters of each feature from the features before it.
//
// Features are sorted by their order, hidden units by degree: a unit of degree d sees the context and the first d features.
// Masks are then stairs, which ad_linear_staircase takes; W is stored sorted, and is 0 beyond them. Where there is no
// context degrees start at 1: nothing is left for a unit of degree 0 to see (but with D = 1, where there is no other).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct made {
    flow_net net;
    int64_t D, C, P;
    int layers;  // hidden ones
    int64_t width;
    flow_activation activation;
    ad_type type;
    int64_t *order;                  // [D] features, each after those that it may depend on
    int64_t *known;                  // [D] hidden units that see no more than the first k features
    int64_t *first, *hidden, *last;  // columns of a layer's rows: [width] of (context, features), [width] of units, [D P]
} made;

enum { MAX_LAYERS = 1000 };

static int64_t rows_of(const made *m, int layer) {
    return layer < m->layers ? m->width : m->D * m->P;
}
static const int64_t *columns_of(const made *m, int layer) {
    return layer == m->layers ? m->last : layer == 0 ? m->first : m->hidden;
}
static int64_t inputs_of(const made *m, int layer) {
    return layer == 0 ? m->C + m->D : m->width;
}

// ---- degrees ------------------------------------------------------------------------------------------------------

// Degrees from low to D - 1, spread evenly over the hidden units.
static void set_stairs(made *m) {
    int64_t low = m->C > 0 || m->D == 1 ? 0 : 1, n = m->D - low;
    for (int64_t j = 0; j < m->width; j++) {
        int64_t degree = low + j * n / m->width;
        m->first[j] = m->C + degree;
        for (int64_t k = degree; k < m->D; k++) m->known[k] = j + 1;
    }
    for (int64_t j = 0; j < m->width; j++) m->hidden[j] = m->known[m->first[j] - m->C];
    for (int64_t i = 0; i < m->D * m->P; i++) {
        int64_t k = i / m->P;
        m->last[i] = m->layers ? m->known[k] : m->C + k;
    }
}

static bool set_order(made *m, const int64_t *order, ad_error *error) {
    for (int64_t k = 0; k < m->D; k++) m->known[k] = 0;  // times seen
    for (int64_t k = 0; k < m->D; k++) {
        m->order[k] = order ? order[k] : k;
        if (m->order[k] >= 0 && m->order[k] < m->D && m->known[m->order[k]]++ == 0) continue;
        ad_fail(error, AD_EARG, "made: the order does not hold each of 0 to %lld once", (long long)(m->D - 1));
        return false;
    }
    memset(m->known, 0, (size_t)m->D * sizeof *m->known);
    return true;
}

// ---- all features at once -----------------------------------------------------------------------------------------

// Rows row, row + 1, ... (rows of them) of a layer, for inputs of which there are enough.
static ad_var apply_rows(const made *m, int layer, int64_t row, int64_t rows, ad_var in) {
    ad_var W = ad_use(in.tape, m->net.owner.params[2 * layer]), b = ad_use(in.tape, m->net.owner.params[2 * layer + 1]);
    if (rows < rows_of(m, layer)) {
        W = ad_slice(W, 0, row, rows);
        b = ad_slice(b, 0, row, rows);
    }
    return ad_linear_staircase(W, in, b, columns_of(m, layer) + row);
}

static bool in_order(const made *m) {
    for (int64_t k = 0; k < m->D; k++) {
        if (m->order[k] != k) return false;
    }
    return true;
}

// order undone: element order[k] is the k-th.
static ad_var unsort(const made *m, ad_var v) {
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

// The staircases take fewer inputs than W has columns: without this, features would be read in a short context's place.
static bool check_call(const flow_net *net, ad_var x, ad_var context) {
    const made *m = (const made *)net;
    if (ad_is_none(x)) return false;
    if (net->type == &flow_made_type) return flow_check_call("made", x, ad_shape1(m->D), context, m->C);
    ad_tape_fail(x.tape, AD_EARG, "made: the net is of type '%s'", net->type->name);
    return false;
}

ad_var flow_made_apply(const flow_net *net, ad_var x, ad_var context) {
    const made *m = (const made *)net;
    if (!check_call(net, x, context)) return flow_inert(x);
    bool sorted = in_order(m);
    ad_var u[2] = {context, sorted ? x : ad_take(x, 0, m->order, m->D)};
    ad_var h = m->C ? ad_concat(u, 2, 0) : u[1];
    for (int i = 0; i <= m->layers; i++) {
        ad_scope(x.tape, "made", i);
        h = apply_rows(m, i, 0, rows_of(m, i), h);
        if (i < m->layers) h = flow_activate(m->activation, h);
        ad_scope_end(x.tape);
    }
    h = ad_reshape(h, ad_shape2(m->D, m->P));
    return sorted ? h : unsort(m, h);
}

// As any net: u is (x, context).
static ad_var apply(const flow_net *net, ad_var u) {
    const made *m = (const made *)net;
    if (!flow_check_call("made", u, ad_shape1(net->in), AD_NONE, 0)) return flow_inert(u);
    ad_var context = m->C ? ad_slice(u, 0, m->D, m->C) : AD_NONE;
    return ad_reshape(flow_made_apply(net, ad_slice(u, 0, 0, m->D), context), ad_shape1(net->out));
}

// ---- feature by feature -------------------------------------------------------------------------------------------

// known and more; a concatenation in place, of which the next one is part in turn.
static ad_var grow(ad_var known, ad_var more) {
    ad_var both[2] = {known, more};
    return ad_is_none(known) ? more : ad_concat(both, 2, 0);
}

// Parameters [P] of the k-th feature, given h[0] (context and the k features before). Only the hidden units that these make
// known are computed: h[1 ..] grow by them.
static ad_var parameters_of(const made *m, int64_t k, ad_var *h, ad_var nothing) {
    int64_t from = k ? m->known[k - 1] : 0, n = m->known[k] - from;
    for (int i = 0; i < m->layers && n; i++) {
        ad_var in = ad_is_none(h[i]) ? nothing : h[i];
        h[i + 1] = grow(h[i + 1], flow_activate(m->activation, apply_rows(m, i, from, n, in)));
    }
    return apply_rows(m, m->layers, k * m->P, m->P, ad_is_none(h[m->layers]) ? nothing : h[m->layers]);
}

// All parts joined; overwrites them. An op takes so many operands only.
static ad_var join(ad_var *part, int64_t n) {
    enum { MOST = 4096 };
    while (n > 1) {
        int64_t m = 0;
        for (int64_t i = 0; i < n; i += MOST) part[m++] = ad_concat(part + i, (int)(n - i < MOST ? n - i : MOST), 0);
        n = m;
    }
    return part[0];
}

flow_sweep flow_made_sweep(const flow_net *net, ad_var v, ad_var context, flow_made_step step, void *arg) {
    const made *m = (const made *)net;
    flow_sweep result = {flow_inert(v), flow_inert(v)};
    if (!check_call(net, v, context)) return result;
    ad_var *value = calloc(2 * (size_t)m->D + (size_t)m->layers + 1, sizeof *value);
    if (!value) {
        ad_tape_fail(v.tape, AD_ENOMEM, "made: out of memory");
        return result;
    }
    ad_var *parameters = value + m->D, *h = parameters + m->D, nothing = ad_slice(v, 0, 0, 0);
    for (int i = 0; i <= m->layers; i++) h[i] = AD_NONE;
    h[0] = context;
    for (int64_t k = 0; k < m->D; k++) {
        int64_t d = m->order[k];
        ad_scope(v.tape, "made feature", (int)d);
        ad_var p = parameters_of(m, k, h, nothing);
        value[d] = step(arg, p, ad_slice(v, 0, d, 1));
        parameters[d] = ad_reshape(p, ad_shape2(1, m->P));
        if (k + 1 < m->D) h[0] = grow(h[0], value[d]);
        ad_scope_end(v.tape);
    }
    result = (flow_sweep){join(value, m->D), join(parameters, m->D)};
    free(value);
    return result;
}

bool flow_is_made(const flow_net *net, int64_t D, int64_t C, int64_t P) {
    const made *m = (const made *)net;
    return net->type == &flow_made_type && m->D == D && m->C == C && m->P == P;
}

// ---- making one ---------------------------------------------------------------------------------------------------

// As for an mlp (mlp.c), each row by the inputs that it sees.
static void start(const made *m, int layer, uint64_t *random) {
    ad_param *W = m->net.owner.params[2 * layer], *b = m->net.owner.params[2 * layer + 1];
    const int64_t *columns = columns_of(m, layer);
    bool he = layer < m->layers && m->activation != FLOW_TANH;
    for (int64_t o = 0; o < W->shape.dim[0]; o++) {
        double in = fmax(1, (double)columns[o]), out = he ? 0 : (double)W->shape.dim[0];
        for (int64_t i = 0; i < columns[o]; i++) {
            ad_param_set(W, o * W->shape.dim[1] + i, sqrt(6 / (in + out)) * flow_random_unit(random));
        }
        if (layer < m->layers) ad_param_set(b, o, flow_random_unit(random) / sqrt(in));
    }
}

static bool add_layers(made *m, const flow_mlp_options *o, ad_error *error) {
    uint64_t random = o->seed;
    for (int i = 0; i <= m->layers; i++) {
        if (!flow_add_linear(&m->net, i, inputs_of(m, i), rows_of(m, i), o->type, error)) return false;
        if (i < m->layers || !o->zero_last) start(m, i, &random);
    }
    return true;
}

static void release(flow_owner *owner) {
    free(((made *)owner)->order);
}

static bool in_range(int64_t D, int64_t C, int64_t P, const flow_mlp_options *o, int layers, int64_t width) {
    return D >= 1 && D <= FLOW_MAX_FEATURES && C >= 0 && C <= FLOW_MAX_FEATURES && P >= 1 && P <= FLOW_MAX_FEATURES / D &&
           layers <= MAX_LAYERS && width >= 1 && width <= FLOW_MAX_FEATURES &&
           (unsigned)o->activation < FLOW_ACTIVATIONS && (unsigned)o->type <= AD_F64;
}

flow_net *flow_made(int64_t D, int64_t C, int64_t P, const flow_made_options *options, ad_error *error) {
    flow_made_options all = options ? *options : (flow_made_options){.order = NULL};
    const flow_mlp_options *o = &all.mlp;
    int layers = o->layers == 0 ? 2 : o->layers < 0 ? 0 : o->layers;
    int64_t width = layers == 0 ? 1 : o->width == 0 ? 64 : o->width;  // of none: nothing that a bad file could enlarge
    if (!in_range(D, C, P, o, layers, width)) {
        ad_fail(error, AD_EARG, "made: %lld features, context %lld, %lld outputs each, %d hidden layers of %lld, "
                "activation %d: out of range", (long long)D, (long long)C, (long long)P, layers, (long long)width,
                (int)o->activation);
        return NULL;
    }
    made *m = calloc(1, sizeof *m);
    int64_t *lists = calloc((size_t)(2 * D + 2 * width + D * P), sizeof *lists);
    if (!m || !lists) {
        ad_fail(error, AD_ENOMEM, "made: out of memory");
        free(m);
        free(lists);
        return NULL;
    }
    *m = (made){.net = {.owner = {.release = release}, .type = &flow_made_type, .in = D + C, .out = D * P},
                .D = D, .C = C, .P = P, .layers = layers, .width = width, .activation = o->activation, .type = o->type,
                .order = lists, .known = lists + D, .first = lists + 2 * D, .hidden = lists + 2 * D + width,
                .last = lists + 2 * D + 2 * width};
    if (!set_order(m, all.order, error)) {
        flow_net_free(&m->net);
        return NULL;
    }
    set_stairs(m);
    if (add_layers(m, o, error)) return &m->net;
    flow_net_free(&m->net);
    return NULL;
}

// ---- descriptions -------------------------------------------------------------------------------------------------

static json_t *describe(const flow_net *net) {
    const made *m = (const made *)net;
    return json_pack("{s:I, s:I, s:I, s:i, s:I, s:s, s:s, s:o}", "features", (json_int_t)m->D, "context",
                     (json_int_t)m->C, "outputs", (json_int_t)m->P, "layers", m->layers, "width", (json_int_t)m->width,
                     "activation", flow_activation_names[m->activation], "precision", flow_type_text(m->type), "order",
                     flow_json_list(m->order, m->D));
}

// At most 2^60 with all at their bounds.
static int64_t count_elements(int64_t D, int64_t C, int64_t P, int64_t layers, int64_t width) {
    if (layers == 0) return (D + C + 1) * D * P;
    return (D + C + 1) * width + (layers - 1) * (width + 1) * width + (width + 1) * D * P;
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

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, C, P, layers, width;
    int activation;
    ad_type type;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_int(options, "outputs", 1, FLOW_MAX_FEATURES / D, &P, error) ||
        !flow_json_int(options, "layers", 0, MAX_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &type, error) ||
        !flow_take_elements(making, count_elements(D, C, P, layers, width), error)) {
        return NULL;
    }
    int64_t *order = read_order(options, D, error);
    flow_made_options o = {.mlp = {.layers = layers ? (int)layers : -1,
                                   .width = width,
                                   .activation = (flow_activation)activation,
                                   .zero_last = true,
                                   .type = type},
                           .order = order};
    flow_net *net = order ? flow_made(D, C, P, &o, error) : NULL;
    free(order);
    return net;
}

const flow_net_type flow_made_type = {.name = "made", .apply = apply, .describe = describe, .make = make};
