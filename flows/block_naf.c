// block_naf.c -- block neural autoregressive layer: a masked net that is increasing in each feature.
//
// De Cao, Titov and Aziz 2019. Maps of D blocks of units, one a feature: blocks on the diagonal are exp(E) > 0, blocks
// below it any V, rows normalised to a length of e^s (eq. 8-9); tanh between. z = (1 - g) x + g net(x), g a gate of
// each feature (section 3.3): onto all numbers, near the identity at the start, slopes at least 1 - g, so that log_det,
// the logarithm of a sum of positive products carried along the diagonal, is finite. A context is added to the first
// map.
//
// What a feature becomes depends on those before it only by what V makes of these: with that given all features are
// separate equations, of a net of one block each. generate solves them one after the other, or, of many features, all
// at once as often as there are features.
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

enum { MOST_LAYERS = 16, ONE_BY_ONE = 64 /* features, each recorded by itself */ };
#define GATE_BOUND 5.0
#define REACH 3.0  // of hidden units at the start

typedef struct block_map {
    int64_t out, in;   // units of a block
    ad_param *V, *E;   // [D out, D in], [D, out, in]
    ad_param *s, *b;   // [D, out]
    int64_t *columns;  // [D out] of V that a row sees
} block_map;

typedef struct block_naf {
    flow_layer layer;
    block_map map[MOST_LAYERS + 1];
    ad_param *gate, *U;  // [D]; [D width, C] or NULL
    int64_t width;
    int layers;
    bool reversed;
    double bound;
    ad_type type;
    int64_t *order;  // [D], and all columns behind it
} block_naf;

// ---- recorded once --------------------------------------------------------------------------------------------------

typedef struct weights {
    ad_var V;            // [D out, D in]
    ad_var E, scale, b;  // [D,out,in], [D,out], [D,out]
} weights;

typedef struct net {
    const block_naf *l;
    weights w[MOST_LAYERS + 1];
    ad_var g, rest;  // gate, and 1 - gate, [D]
} net;

static weights weights_at(const block_naf *l, const block_map *m, ad_tape *tape) {
    weights w = {.V = ad_use(tape, m->V), .E = ad_exp(flow_bounded(ad_use(tape, m->E), l->bound))};
    ad_var ones = ad_fill(tape, ad_shape1(m->V->shape.dim[1]), 1);
    ad_var below = ad_linear_staircase(ad_square(w.V), ones, AD_NONE, m->columns);
    ad_var length = ad_add(ad_sum_axis(ad_square(w.E), -1), ad_reshape(below, m->s->shape));
    w.scale = ad_mul(ad_exp(flow_bounded(ad_use(tape, m->s), l->bound)), ad_rsqrt(length));
    w.b = ad_use(tape, m->b);
    return w;
}

static void use(net *n, const block_naf *l, ad_tape *tape, ad_var context) {
    n->l = l;
    for (int i = 0; i <= l->layers; i++) n->w[i] = weights_at(l, &l->map[i], tape);
    if (l->U) {
        ad_var of_context = ad_linear(ad_use(tape, l->U), context, AD_NONE);
        n->w[0].b = ad_add(n->w[0].b, ad_reshape(of_context, l->map[0].b->shape));
    }
    ad_var raw = flow_bounded(ad_use(tape, l->gate), GATE_BOUND);
    n->g = ad_sigmoid(raw);
    n->rest = ad_sigmoid(ad_neg(raw));
}

// ---- features given what those before them come to ------------------------------------------------------------------

// E [n,out,in] on h [n,in]. Block by block: gradients of matmul's shared matrix are a matrix a row before they are
// summed.
static ad_var diagonal(ad_var E, ad_var h) {
    const int64_t n = ad_dim(E, 0);
    ad_var y[ONE_BY_ONE];
    if (n > ONE_BY_ONE) return ad_squeeze(ad_matmul(E, ad_insert_axis(h, -1), 0), -1);
    for (int64_t i = 0; i < n; i++) {
        y[i] = ad_linear(ad_squeeze(ad_slice(E, 0, i, 1), 0), ad_squeeze(ad_slice(h, 0, i, 1), 0), AD_NONE);
    }
    return ad_stack(y, (int)n, 0);
}

// Of features x [n], the first of them number from, what V makes of those before them in below[i] [n,out].
typedef struct separate {
    const net *net;
    int64_t from, n;
    ad_var below[MOST_LAYERS + 1];
    ad_var z;  // what they are to become
} separate;

static ad_var part(const separate *s, ad_var of_all) {
    return ad_dim(of_all, 0) == s->n ? of_all : ad_slice(of_all, 0, s->from, s->n);
}

// Map i of units h [n,in]: its sums [n,out].
static ad_var sums(const separate *s, int i, ad_var h) {
    const weights *w = &s->net->w[i];
    ad_var sum = ad_add(diagonal(part(s, w->E), h), s->below[i]);
    return ad_add(ad_mul(sum, part(s, w->scale)), part(s, w->b));
}

static ad_var gated(const separate *s, ad_var x, ad_var y) {
    return ad_add(ad_mul(part(s, s->net->rest), x), ad_mul(part(s, s->net->g), y));
}

static ad_var excess(void *arg, ad_var x) {
    const separate *s = arg;
    const int last = s->net->l->layers;
    ad_var h = ad_insert_axis(x, -1);
    for (int i = 0; i < last; i++) h = ad_tanh(sums(s, i, h));
    return ad_sub(gated(s, x, ad_squeeze(sums(s, last, h), -1)), s->z);
}

// ---- all features ---------------------------------------------------------------------------------------------------

static ad_var flat(ad_var h) {
    return ad_reshape(h, ad_shape1(ad_shape_count(ad_shape_of(h))));
}

// With what V makes of the units in *s.
static flow_result forth(const net *n, ad_var x, separate *s) {
    const int last = n->l->layers;
    *s = (separate){.net = n, .n = n->l->layer.x_shape.dim[0]};
    ad_var h = ad_insert_axis(x, -1), rise = AD_NONE;
    for (int i = 0; i <= last; i++) {
        const block_map *m = &n->l->map[i];
        s->below[i] = ad_reshape(ad_linear_staircase(n->w[i].V, flat(h), AD_NONE, m->columns), m->b->shape);
        h = sums(s, i, h);
        ad_var up = i ? diagonal(n->w[i].E, rise) : ad_squeeze(n->w[i].E, -1);
        rise = ad_mul(up, n->w[i].scale);
        if (i == last) break;
        ad_var twice = ad_scale(h, 2);  // 1 - tanh^2, which cancels
        rise = ad_mul(rise, ad_scale(ad_mul(ad_sigmoid(twice), ad_sigmoid(ad_neg(twice))), 4));
        h = ad_tanh(h);
    }
    ad_var slope = ad_add(n->rest, ad_mul(n->g, ad_squeeze(rise, -1)));
    return (flow_result){gated(s, x, ad_squeeze(h, -1)), ad_log(slope)};
}

// ---- one after the other --------------------------------------------------------------------------------------------

// What V makes of the units known [i in] of the first features in feature i.
static ad_var below_one(const net *n, int map, int64_t feature, ad_var known, ad_var like) {
    const block_map *m = &n->l->map[map];
    if (feature == 0) return ad_fill(like.tape, ad_shape2(1, m->out), 0);
    ad_var V = ad_slice(ad_slice(n->w[map].V, 0, feature * m->out, m->out), 1, 0, feature * m->in);
    return ad_reshape(ad_linear(V, known, AD_NONE), ad_shape2(1, m->out));
}

static ad_var grown(ad_var known, ad_var more) {
    ad_var both[2] = {known, flat(more)};
    return ad_is_none(known) ? both[1] : ad_concat(both, 2, 0);
}

// Feature i needs V's part of map k only when map k - 1 of the features before is known: all of them are.
static ad_var one_by_one(const net *n, ad_var z) {
    const int64_t D = n->l->layer.x_shape.dim[0];
    ad_var known[MOST_LAYERS + 1];  // of each map what it sees
    for (int i = 0; i <= n->l->layers; i++) known[i] = AD_NONE;
    for (int64_t d = 0; d < D; d++) {
        separate s = {.net = n, .from = d, .n = 1, .z = ad_slice(z, 0, d, 1)};
        for (int i = 0; i <= n->l->layers; i++) s.below[i] = below_one(n, i, d, known[i], z);
        ad_var x = ad_root(s.z, excess, &s, NULL).value, h = ad_insert_axis(x, -1);
        for (int i = 0; i <= n->l->layers; i++) {
            known[i] = grown(known[i], h);
            if (i < n->l->layers) h = ad_tanh(sums(&s, i, h));
        }
    }
    return known[0];
}

// ---- all at once ----------------------------------------------------------------------------------------------------

typedef struct iterating {
    const net *net;
    ad_var z;
} iterating;

static ad_var pass(void *arg, ad_var x) {
    const iterating *it = arg;
    separate s;
    forth(it->net, x, &s);
    s.z = it->z;
    return ad_root(it->z, excess, &s, NULL).value;
}

// Once more at the end, where a root that is not found fails the run.
static ad_var all_at_once(const net *n, ad_var z) {
    iterating it = {n, z};
    const ad_solver_options o = {
        .max_iterations = n->l->layer.x_shape.dim[0] < 100000 ? (int)n->l->layer.x_shape.dim[0] + 2 : 100000};
    return pass(&it, ad_fixed_point(z, pass, &it, &o).value);
}

// ---- both directions ------------------------------------------------------------------------------------------------

static ad_var turned(const block_naf *l, ad_var v) {
    return l->reversed ? ad_flip(v, 0) : v;
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const block_naf *l = (const block_naf *)layer;
    net n;
    separate s;
    use(&n, l, x.tape, context);
    flow_result r = forth(&n, turned(l, x), &s);
    return (flow_result){turned(l, r.value), r.log_det};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const block_naf *l = (const block_naf *)layer;
    net n;
    separate s;
    use(&n, l, z.tape, context);
    if (ad_has_rows(n.w[0].b) && !ad_has_rows(z)) z = ad_to_rows(z, ad_rows_of(n.w[0].b));
    z = turned(l, z);
    ad_var x = layer->x_shape.dim[0] <= ONE_BY_ONE ? one_by_one(&n, z) : all_at_once(&n, z);
    return (flow_result){turned(l, x), ad_neg(forth(&n, x, &s).log_det)};
}

// ---- making ---------------------------------------------------------------------------------------------------------

static void release(flow_owner *owner) {
    free(((block_naf *)owner)->order);
}

// Units of a block before map i.
static int64_t units(const block_naf *l, int i) {
    return i == 0 || i > l->layers ? 1 : l->width;
}

// The order of features, and which columns rows see.
static bool set_structure(block_naf *l, ad_error *error) {
    const int64_t D = l->layer.x_shape.dim[0];
    int64_t *at = l->order = malloc((size_t)(D * (2 + l->layers * l->width)) * sizeof *at);
    if (!at) {
        ad_fail(error, AD_ENOMEM, "block naf: out of memory");
        return false;
    }
    for (int64_t d = 0; d < D; d++) *at++ = l->reversed ? D - 1 - d : d;
    for (int i = 0; i <= l->layers; i++) {
        block_map *m = &l->map[i];
        m->in = units(l, i);
        m->out = units(l, i + 1);
        m->columns = at;
        for (int64_t r = 0; r < D * m->out; r++) *at++ = r / m->out * m->in;
    }
    l->layer.jacobian = (flow_jacobian){.structure = FLOW_AUTOREGRESSIVE, .order = l->order};
    return true;
}

static ad_param *add(block_naf *l, char letter, int i, ad_shape shape, ad_error *error) {
    char name[16];
    snprintf(name, sizeof name, "%c%d", letter, i);
    return flow_add_param(&l->layer.owner, name, l->type, shape, error);
}

static bool add_map(block_naf *l, int i, ad_error *error) {
    const int64_t D = l->layer.x_shape.dim[0];
    block_map *m = &l->map[i];
    return (m->V = add(l, 'V', i, ad_shape2(D * m->out, D * m->in), error)) &&
           (m->E = add(l, 'E', i, ad_shape3(D, m->out, m->in), error)) &&
           (m->s = add(l, 's', i, ad_shape2(D, m->out), error)) && (m->b = add(l, 'b', i, ad_shape2(D, m->out), error));
}

// A row of map i: its length, and b by place, -1 to 1, of the unit in its block.
static void start_row(const block_naf *l, int i, int64_t r, double place) {
    const block_map *m = &l->map[i];
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < m->columns[r]; c++) squares += pow(ad_param_get(m->V, r * m->V->shape.dim[1] + c), 2);
    for (int64_t c = 0; c < m->in; c++) {
        const double e = exp(l->bound * tanh(ad_param_get(m->E, r * m->in + c) / l->bound));
        sum += e;
        squares += e * e;
    }
    const double steep = i == l->layers ? 1 : fmax(1 / REACH, fmin(5, (double)l->width / 3));
    const double log_length = log((i ? REACH : 1) * steep * sqrt(squares) / sum), most = 0.9 * l->bound;
    const double held = fmax(-most, fmin(most, log_length));
    ad_param_set(m->s, r, l->bound * atanh(held / l->bound));
    if (i < l->layers) ad_param_set(m->b, r, -REACH * place * steep * exp(held - log_length));
}

// Near the identity and quick to learn. Units of a block rise evenly over [-3, 3] of v, as steep as fills the gaps:
// their mean is nearly v / 3, of which the next map makes v again. Weights are small: with rows' lengths set apart that
// is the same map, whose directions an optimizer of steps of a given size, as Adam, turns the faster. Gates of 0.27:
// such an optimizer would take thousands of steps to open closed ones.
static void start(block_naf *l, uint64_t random) {
    const double most = 0.01 / sqrt((double)(l->gate->count * l->width));
    for (int i = 0; i <= l->layers; i++) {
        const block_map *m = &l->map[i];
        flow_fill_uniform(m->V, most, &random);
        flow_fill_uniform(m->E, 0.2, &random);
        for (int64_t k = 0; k < m->E->count; k++) ad_param_set(m->E, k, ad_param_get(m->E, k) - 3);
        for (int64_t r = 0; r < m->s->count; r++) {
            start_row(l, i, r, (double)(2 * (r % m->out) + 1) / (double)m->out - 1);
        }
    }
    for (int64_t d = 0; d < l->gate->count; d++) ad_param_set(l->gate, d, -1);
    if (l->U) flow_fill_uniform(l->U, 1 / sqrt((double)l->layer.C), &random);
}

static bool settle(flow_block_naf_options *o, int64_t D, ad_error *error) {
    if (o->width == 0) o->width = 16;
    if (o->layers == 0) o->layers = 2;
    if (o->bound == 0) o->bound = 5;
    if (o->width < 1 || o->width > FLOW_MAX_FEATURES / D || o->layers < 1 || o->layers > MOST_LAYERS) {
        ad_fail(error, AD_EARG, "block naf: %lld units a feature, %d hidden layers: out of range", (long long)o->width,
                o->layers);
    } else if (!(o->bound >= 1 && o->bound <= 20) || (unsigned)o->type > AD_F64) {
        ad_fail(error, AD_EARG, "block naf: bound %g, type %d; expected 1 to 20, and 0 or 1", o->bound, (int)o->type);
    } else {
        return true;
    }
    return false;
}

flow_layer *flow_block_naf(int64_t D, int64_t C, const flow_block_naf_options *options, ad_error *error) {
    flow_block_naf_options o = options ? *options : (flow_block_naf_options){.width = 0};
    block_naf *l = flow_layer_new(&flow_block_naf_type, sizeof *l, D, C, error);
    if (!l) return NULL;
    l->layer.owner.release = release;
    bool made = settle(&o, D, error);
    if (made) {
        l->width = o.width;
        l->layers = o.layers;
        l->reversed = o.reversed;
        l->bound = o.bound;
        l->type = o.type;
        made = set_structure(l, error);
    }
    for (int i = 0; made && i <= l->layers; i++) made = add_map(l, i, error);
    flow_owner *owner = &l->layer.owner;
    made = made && (l->gate = flow_add_param(owner, "gate", o.type, ad_shape1(D), error));
    if (C > 0) made = made && (l->U = flow_add_param(owner, "U", o.type, ad_shape2(D * l->width, C), error));
    if (made) {
        start(l, o.seed);
        return &l->layer;
    }
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const block_naf *l = (const block_naf *)layer;
    return json_pack("{s:I, s:I, s:I, s:i, s:b, s:f, s:s}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "width", (json_int_t)l->width, "layers", l->layers, "reversed", l->reversed,
                     "bound", l->bound, "precision", flow_type_text(l->type));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_block_naf_options o = {.width = 0};
    int64_t D, C, layers;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES / D, &o.width, error) ||
        !flow_json_int(options, "layers", 1, MOST_LAYERS, &layers, error) ||
        !flow_json_bool(options, "reversed", &o.reversed, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_type(options, &o.type, error)) {
        return NULL;
    }
    const int64_t H = D * o.width, V = 2 * D * H + (layers - 1) * H * H, E = 2 * H + (layers - 1) * H * o.width;
    o.layers = (int)layers;
    if (!flow_take_elements(making, V + E + 2 * (layers * H + D) + D + H * C, error)) return NULL;
    return flow_block_naf(D, C, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const flow_block_naf_options o = {.width = 1 + i % 4,
                                      .layers = 1 + i / 2 % 2,
                                      .reversed = i / 3 % 2,
                                      .bound = i % 7 == 6 ? 2 : 0,
                                      .seed = (uint64_t)i,
                                      .type = i % 3 ? AD_F64 : AD_F32};
    return flow_block_naf(1 + i % 5, i / 4 % 3, &o, error);
}

const flow_layer_type flow_block_naf_type = {.name = "block naf",
                                             .normalize = normalize,
                                             .generate = generate,
                                             .describe = describe,
                                             .make = make,
                                             .example = example};
