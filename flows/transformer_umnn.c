// transformer_umnn.c -- the element map that integrates a positive net: an unconstrained monotonic neural network.
//
// Wehenkel and Louppe 2019, eq. 2: y = shift + integral from 0 to v of g(u) du, g(u) = exp(log-slope of a net at u and
// the signal), so that log_det is log g(v). Quadrature by Clenshaw and Curtis (or Gauss and Legendre, as zuko has it).
// Hidden units are tanh, or elu, whose second derivative jumps, which costs the rules their convergence.
//
// The derivative in v is g(v) itself, as Leibniz has it, not that of the rule; so to second order, mixed with
// parameters too. Outside of [-reach, reach] the map goes on as a line: there a rule for all of [0, v] sees little of
// the net.
#include <stdlib.h>

#include "rising.h"

enum { MOST_SIGNAL = 4096, MOST_NODES = 1024, MOST_LAYERS = 16 };

typedef struct umnn {
    flow_transformer transformer;
    flow_net *net;  // [1 + S] -> [1], an mlp of tanh units, a part
    int64_t S;
    int layers, nodes;
    int64_t width;
    bool gauss_legendre, softsign, elu;
    double bound, reach;
    ad_type type;
    double *node, *weight;  // [nodes] on [0, 1]
} umnn;

// ---- quadrature -----------------------------------------------------------------------------------------------------

static const double pi = 3.14159265358979323846;

// Waldvogel 2006, eq. 2.4-2.5.
static void clenshaw_curtis(int nodes, double *node, double *weight) {
    const int n = nodes - 1;
    for (int k = 0; k <= n; k++) {
        double sum = 1;
        for (int j = 1; j <= n / 2; j++) {
            sum -= (2 * j == n ? 1 : 2) * cos(2 * pi * j * k / n) / (4.0 * j * j - 1);
        }
        node[k] = 0.5 - 0.5 * cos(pi * k / n);
        weight[k] = (k == 0 || k == n ? 0.5 : 1) * sum / n;
    }
}

// Newton's steps on the Legendre polynomial, from Chebyshev's points.
static void gauss_legendre(int n, double *node, double *weight) {
    for (int k = 0; k < n; k++) {
        double x = cos(pi * (k + 0.75) / (n + 0.5)), slope = 1;
        for (int i = 0; i < 8; i++) {
            double p = 1, before = 0;
            for (int j = 1; j <= n; j++) {
                const double next = ((2 * j - 1) * x * p - (j - 1) * before) / j;
                before = p;
                p = next;
            }
            slope = n * (x * p - before) / (x * x - 1);
            x -= p / slope;
        }
        node[k] = 0.5 - 0.5 * x;
        weight[k] = 1 / ((1 - x * x) * slope * slope);
    }
}

// ---- the integrand --------------------------------------------------------------------------------------------------

// What the first map makes of the signal [n,S]: [n,1,H].
static ad_var first_of_signal(const umnn *t, ad_var raw) {
    ad_param *const *params = t->net->owner.params;
    ad_var W = ad_slice(ad_use(raw.tape, params[0]), 1, 1, t->S), b = ad_use(raw.tape, params[1]);
    return ad_insert_axis(ad_linear(W, ad_slice(raw, -1, 0, t->S), b), 1);
}

// log g at u [n,N].
static ad_var log_integrand(const umnn *t, ad_var of_signal, ad_var u) {
    ad_var W = ad_reshape(ad_slice(ad_use(u.tape, t->net->owner.params[0]), 1, 0, 1), ad_shape1(t->width));
    ad_var h = ad_add(ad_mul(ad_insert_axis(u, -1), W), of_signal);
    for (int i = 1; i <= t->layers; i++) h = flow_linear(t->net, i, t->elu ? ad_elu(h, 1) : ad_tanh(h));
    h = ad_squeeze(h, -1);
    return t->softsign ? ad_scale(ad_softsign(ad_scale(h, 1 / t->bound)), t->bound) : flow_bounded(h, t->bound);
}

// ---- the map --------------------------------------------------------------------------------------------------------

// Integral from 0 to x, [n], as a constant of x.
static ad_var rule(const umnn *t, ad_var of_signal, ad_var x) {
    ad_var nodes = ad_constant(x.tape, ad_shape1(t->nodes), t->node);
    ad_var weights = ad_constant(x.tape, ad_shape1(t->nodes), t->weight), still = ad_stop_gradient(x);
    ad_var g = ad_exp(log_integrand(t, of_signal, ad_mul(ad_insert_axis(still, -1), nodes)));
    return ad_mul(still, ad_sum_axis(ad_mul(g, weights), -1));
}

// Without the shift. The derivatives in x are those of a polynomial of second order around x, which is 0 there.
static flow_result forth(const umnn *t, ad_var of_signal, ad_var v) {
    ad_var x = ad_clamp(v, -t->reach, t->reach);
    ad_var log_g = ad_squeeze(log_integrand(t, of_signal, ad_insert_axis(x, -1)), -1), g = ad_exp(log_g), bend;
    ad_vjp(g, ad_fill(v.tape, ad_shape_of(g), 1), &x, 1, &bend);
    ad_var none = ad_sub(x, ad_stop_gradient(x));
    ad_var slope = ad_mul(none, ad_sub(g, ad_scale(ad_mul(bend, none), 0.5)));
    ad_var outside = ad_mul(ad_sub(v, x), g);
    return (flow_result){ad_add(ad_add(rule(t, of_signal, x), slope), outside), log_g};
}

// v with rows, where the parameters have: their derivatives are to be taken row by row.
static ad_var with_rows(ad_var v, ad_var raw) {
    return ad_has_rows(raw) && !ad_has_rows(v) ? ad_to_rows(v, ad_rows_of(raw)) : v;
}

static ad_var shift(const umnn *t, ad_var raw) {
    return ad_squeeze(ad_slice(raw, -1, t->S, 1), -1);
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const umnn *t = (const umnn *)transformer;
    ad_var raw = flow_parameters_by_feature(p);
    flow_result r = forth(t, first_of_signal(t, raw), with_rows(v, raw));
    return (flow_result){ad_add(r.value, shift(t, raw)), r.log_det};
}

typedef struct equation {
    const umnn *t;
    ad_var of_signal, y;
} equation;

static flow_rise excess(void *arg, ad_var v) {
    const equation *e = arg;
    flow_result r = forth(e->t, e->of_signal, v);
    return (flow_rise){ad_sub(r.value, e->y), ad_exp(r.log_det)};
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const umnn *t = (const umnn *)transformer;
    ad_var raw = flow_parameters_by_feature(p);
    equation e = {t, first_of_signal(t, raw), ad_sub(with_rows(v, raw), shift(t, raw))};
    ad_var x = flow_rising_root(e.y, excess, &e, NULL);
    return (flow_result){x, ad_neg(forth(t, e.of_signal, x).log_det)};
}

// How many features are on the lines.
static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)p;
    return (flow_gauges){AD_NONE, ad_greater(ad_abs(v), ad_number(v.tape, ((const umnn *)t)->reach))};
}

// ---- made and described ---------------------------------------------------------------------------------------------

static bool settle(flow_umnn_transformer_options *o, ad_error *error) {
    if (o->signal == 0) o->signal = 8;
    if (o->layers == 0) o->layers = 2;
    if (o->width == 0) o->width = 32;
    if (o->nodes == 0) o->nodes = 21;
    if (o->bound == 0) o->bound = 7;
    if (o->reach == 0) o->reach = 10;
    if (o->signal < 1 || o->signal > MOST_SIGNAL || o->layers < 1 || o->layers > MOST_LAYERS || o->width < 1 ||
        o->width > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "umnn: a signal of %lld, %d hidden layers of %lld: out of range", (long long)o->signal,
                o->layers, (long long)o->width);
    } else if (o->nodes < 2 || o->nodes > MOST_NODES) {
        ad_fail(error, AD_EARG, "umnn: %d nodes, expected 2 to %d", o->nodes, MOST_NODES);
    } else if (!(o->bound >= 0.1 && o->bound <= 20) || !(o->reach >= 1e-3 && o->reach <= 1e6)) {
        ad_fail(error, AD_EARG, "umnn: bound %g, reach %g; expected 0.1 to 20, and 1e-3 to 1e6", o->bound, o->reach);
    } else {
        return true;
    }
    return false;
}

static void release(flow_owner *owner) {
    free(((umnn *)owner)->node);
}

// Nearly the identity: weights of the last map a tenth of usual ones.
static bool add_net(umnn *t, uint64_t seed, ad_error *error) {
    const flow_mlp_options o = {.layers = t->layers,
                                .width = t->width,
                                .activation = FLOW_TANH,
                                .zero_last = true,
                                .seed = seed,
                                .type = t->type};
    t->net = flow_mlp(1 + t->S, 1, &o, error);
    if (!t->net || flow_add_part(&t->transformer.owner, "net", &t->net->owner, error) != AD_OK) return false;
    uint64_t random = flow_subseed(seed, 0);
    flow_fill_uniform(t->net->owner.params[2 * t->layers], 0.1 / sqrt((double)t->width), &random);
    return true;
}

flow_transformer *flow_umnn_transformer(const flow_umnn_transformer_options *options, ad_error *error) {
    flow_umnn_transformer_options o = options ? *options : (flow_umnn_transformer_options){.signal = 0};
    umnn *t =
        settle(&o, error) ? flow_transformer_new(&flow_umnn_transformer_type, sizeof *t, o.signal + 1, error) : NULL;
    if (!t) return NULL;
    t->S = o.signal;
    t->layers = o.layers;
    t->width = o.width;
    t->nodes = o.nodes;
    t->gauss_legendre = o.gauss_legendre;
    t->softsign = o.softsign;
    t->elu = o.elu;
    t->bound = o.bound;
    t->reach = o.reach;
    t->type = o.type;
    t->transformer.owner.release = release;
    t->node = calloc(2 * (size_t)o.nodes, sizeof *t->node);
    if (!t->node) ad_fail(error, AD_ENOMEM, "umnn: out of memory");
    if (!t->node || !add_net(t, o.seed, error)) {
        flow_transformer_free(&t->transformer);
        return NULL;
    }
    t->weight = t->node + o.nodes;
    (o.gauss_legendre ? gauss_legendre : clenshaw_curtis)(o.nodes, t->node, t->weight);
    return &t->transformer;
}

static json_t *describe(const flow_transformer *transformer) {
    const umnn *t = (const umnn *)transformer;
    return json_pack("{s:I, s:i, s:I, s:i, s:b, s:b, s:b, s:f, s:f, s:s}", "signal", (json_int_t)t->S, "layers",
                     t->layers, "width", (json_int_t)t->width, "nodes", t->nodes, "gauss_legendre", t->gauss_legendre,
                     "softsign", t->softsign, "elu", t->elu, "bound", t->bound, "reach", t->reach, "precision",
                     flow_type_text(t->type));
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type;
    flow_umnn_transformer_options o = {.signal = 0};
    int64_t layers, nodes;
    if (!flow_json_int(options, "signal", 1, MOST_SIGNAL, &o.signal, error) ||
        !flow_json_int(options, "layers", 1, MOST_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &o.width, error) ||
        !flow_json_int(options, "nodes", 2, MOST_NODES, &nodes, error) ||
        !flow_json_bool(options, "gauss_legendre", &o.gauss_legendre, error) ||
        !flow_json_bool(options, "softsign", &o.softsign, error) || !flow_json_bool(options, "elu", &o.elu, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_number(options, "reach", &o.reach, error) ||
        !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, (o.signal + 2 + (layers - 1) * (o.width + 1) + 1) * o.width + 1, error)) {
        return NULL;
    }
    o.layers = (int)layers;
    o.nodes = (int)nodes;
    return flow_umnn_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    const flow_umnn_transformer_options o = {.bound = options->bound, .seed = options->seed, .type = options->type};
    return flow_umnn_transformer(&o, error);
}

// With nodes enough for differences of values to be their derivatives.
static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const bool elu = i % 7 == 5;
    const flow_umnn_transformer_options o = {.signal = 1 + i % 3,
                                             .layers = 1 + i % 5 / 4,
                                             .width = 2 + i % 2,
                                             .nodes = elu ? 129 : 17,
                                             .gauss_legendre = i % 5 == 3,
                                             .elu = elu,
                                             .bound = i % 2 ? 0 : 2,
                                             .reach = i % 4 == 3 ? 1.5 : 3,
                                             .seed = (uint64_t)i,
                                             .type = i % 3 ? AD_F64 : AD_F32};
    return flow_umnn_transformer(&o, error);
}

const flow_transformer_type flow_umnn_transformer_type = {.name = "umnn",
                                                          .normalize = normalize,
                                                          .generate = generate,
                                                          .describe = describe,
                                                          .make = make,
                                                          .example = example,
                                                          .usual = usual,
                                                          .gauge = gauge,
                                                          .by_feature = true};
