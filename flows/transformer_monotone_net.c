// transformer_monotone_net.c -- the element map that is a net of positive weights and increasing units.
//
// As zuko's neural autoregressive flow has it (after Huang et al. 2018; units after Runje and Shankaranarayana 2023):
// maps |W| h + b of h = (v, signal), hidden units elu(a) and, the other half, -elu(-a), so that some go on as lines on
// either side. A line of slope floor is added, and all of it rescaled and shifted. The slope in v is carried along from
// map to map: a sum of positive products, at least floor, so that its logarithm is finite and exact.
//
// Beyond +-1e9 the map goes on as a line, and signals are held there: sums stay finite in f32.
#include <stdlib.h>

#include "rising.h"

enum { MOST_SIGNAL = 4096, MOST_LAYERS = 16 };
#define REACH 1e9

typedef struct monotone {
    flow_transformer transformer;
    flow_net *net;  // [1 + S] -> [1], an mlp of whose weights the sizes count, a part
    int64_t S, width;
    int layers;
    double floor, bound;
    ad_type type;
} monotone;

// ---- the map --------------------------------------------------------------------------------------------------------

static ad_var weights(const monotone *t, ad_tape *tape, int i) {
    return ad_abs(ad_use(tape, t->net->owner.params[2 * i]));
}
static ad_var biases(const monotone *t, ad_tape *tape, int i) {
    return ad_use(tape, t->net->owner.params[2 * i + 1]);
}

// Units of which the second half is turned around; *slope: theirs.
static ad_var units(ad_var a, ad_var *slope) {
    const int64_t H = ad_dim(a, -1), half = (H + 1) / 2;
    ad_var zero = ad_number(a.tape, 0), up = ad_slice(a, -1, 0, half);
    if (H == half) {
        *slope = ad_exp(ad_minimum(up, zero));
        return ad_elu(up, 1);
    }
    ad_var down = ad_neg(ad_slice(a, -1, half, H - half)), both[2] = {ad_elu(up, 1), ad_neg(ad_elu(down, 1))};
    *slope = ad_exp(ad_minimum(ad_concat((ad_var[]){up, down}, 2, -1), zero));
    return ad_concat(both, 2, -1);
}

// What the first map makes of the signal [n,S]: [n,H].
static ad_var first_of_signal(const monotone *t, ad_var raw) {
    ad_var W = ad_slice(weights(t, raw.tape, 0), 1, 1, t->S), signal = ad_slice(raw, -1, 0, t->S);
    return ad_linear(W, ad_clamp(signal, -REACH, REACH), biases(t, raw.tape, 0));
}

// Without rescaling; log_det is the slope's logarithm.
static flow_result forth(const monotone *t, ad_var of_signal, ad_var v) {
    ad_tape *tape = v.tape;
    ad_var x = ad_clamp(v, -REACH, REACH), W = ad_reshape(ad_slice(weights(t, tape, 0), 1, 0, 1), ad_shape1(t->width));
    ad_var h = ad_add(ad_mul(ad_insert_axis(x, -1), W), of_signal), rise = W;
    for (int i = 1; i <= t->layers; i++) {
        ad_var slope;
        h = units(h, &slope);
        W = weights(t, tape, i);
        h = ad_linear(W, h, biases(t, tape, i));
        rise = ad_linear(W, ad_mul(rise, slope), AD_NONE);
    }
    rise = ad_offset(ad_squeeze(rise, -1), t->floor);
    ad_var value = ad_add(ad_squeeze(h, -1), ad_scale(x, t->floor));
    return (flow_result){ad_add(value, ad_mul(ad_sub(v, x), rise)), ad_log(rise)};
}

static ad_var log_scale(const monotone *t, ad_var raw) {
    return flow_bounded(ad_squeeze(ad_slice(raw, -1, t->S, 1), -1), t->bound);
}
static ad_var shift(const monotone *t, ad_var raw) {
    return ad_squeeze(ad_slice(raw, -1, t->S + 1, 1), -1);
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const monotone *t = (const monotone *)transformer;
    ad_var raw = flow_parameters_by_feature(p), s = log_scale(t, raw);
    flow_result r = forth(t, first_of_signal(t, raw), v);
    return (flow_result){ad_add(ad_mul(r.value, ad_exp(s)), shift(t, raw)), ad_add(r.log_det, s)};
}

typedef struct equation {
    const monotone *t;
    ad_var of_signal, y;
} equation;

static flow_rise excess(void *arg, ad_var v) {
    const equation *e = arg;
    flow_result r = forth(e->t, e->of_signal, v);
    return (flow_rise){ad_sub(r.value, e->y), ad_exp(r.log_det)};
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const monotone *t = (const monotone *)transformer;
    ad_var raw = flow_parameters_by_feature(p), s = ad_neg(log_scale(t, raw));
    equation e = {t, first_of_signal(t, raw), ad_mul(ad_sub(v, shift(t, raw)), ad_exp(s))};
    ad_var x = flow_rising_root(e.y, excess, &e, NULL);
    return (flow_result){x, ad_sub(s, forth(t, e.of_signal, x).log_det)};
}

// ---- the start ------------------------------------------------------------------------------------------------------

// Hidden units that bend little over the data, and slopes of about 1 in all.
static void start(const monotone *t, uint64_t seed) {
    for (int i = 0; i <= t->layers; i++) {
        ad_param *W = t->net->owner.params[2 * i], *b = t->net->owner.params[2 * i + 1];
        const int64_t in = W->shape.dim[1];
        flow_fill_uniform(W, (i == t->layers ? 12 : 2) / (double)(i ? in : t->S), &seed);
        for (int64_t r = 0; i == 0 && r < t->width; r++) ad_param_set(W, r * in, 0.15 + 0.1 * flow_random_unit(&seed));
        if (i < t->layers) flow_fill_uniform(b, 1, &seed);
    }
}

// Map i of h [in] with slopes rise [in], on the host; both become [out], units included but for the last map.
static void host_map(const monotone *t, int i, const double *h, const double *rise, double *next, double *next_rise) {
    const ad_param *W = t->net->owner.params[2 * i], *b = t->net->owner.params[2 * i + 1];
    const int64_t in = W->shape.dim[1], out = W->shape.dim[0];
    for (int64_t r = 0; r < out; r++) {
        double a = ad_param_get(b, r), slope = 0;
        for (int64_t c = 0; c < in; c++) {
            const double w = fabs(ad_param_get(W, r * in + c));
            a += w * h[c];
            slope += w * rise[c];
        }
        const double sign = r < (out + 1) / 2 ? 1 : -1, u = sign * a;
        next[r] = i == t->layers || u > 0 ? a : sign * expm1(u);
        next_rise[r] = i == t->layers || u > 0 ? slope : slope * exp(u);
    }
}

// Of signal 0 the value is 0 at 0, and the slope 1 there.
static void identity(const flow_transformer *transformer, double *raw) {
    const monotone *t = (const monotone *)transformer;
    const int64_t most = t->width > 1 + t->S ? t->width : 1 + t->S;
    double *memory = calloc(4 * (size_t)most, sizeof *memory);
    if (!memory) return;  // then it starts somewhere else
    double *h = memory, *rise = h + most, *next = rise + most, *next_rise = next + most;
    rise[0] = 1;
    for (int i = 0; i <= t->layers; i++) {
        host_map(t, i, h, rise, next, next_rise);
        double *old = h, *old_rise = rise;
        h = next, rise = next_rise, next = old, next_rise = old_rise;
    }
    const double wanted = -log(rise[0] + t->floor), s = fmax(fmin(wanted, 0.999 * t->bound), -0.999 * t->bound);
    raw[t->S] = t->bound * atanh(s / t->bound);
    raw[t->S + 1] = -h[0] * exp(s);
    free(memory);
}

// ---- made and described ---------------------------------------------------------------------------------------------

static bool settle(flow_monotone_net_transformer_options *o, ad_error *error) {
    if (o->signal == 0) o->signal = 8;
    if (o->layers == 0) o->layers = 2;
    if (o->width == 0) o->width = 32;
    if (o->floor == 0) o->floor = 1e-3;
    if (o->bound == 0) o->bound = 5;
    if (o->signal < 1 || o->signal > MOST_SIGNAL || o->layers < 1 || o->layers > MOST_LAYERS || o->width < 1 ||
        o->width > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "monotone net: a signal of %lld, %d hidden layers of %lld: out of range",
                (long long)o->signal, o->layers, (long long)o->width);
    } else if (!(o->floor >= 1e-15 && o->floor <= 1) || !(o->bound >= 0.1 && o->bound <= 20)) {
        ad_fail(error, AD_EARG, "monotone net: floor %g, bound %g; expected 1e-15 to 1, and 0.1 to 20", o->floor,
                o->bound);
    } else {
        return true;
    }
    return false;
}

flow_transformer *flow_monotone_net_transformer(const flow_monotone_net_transformer_options *options, ad_error *error) {
    flow_monotone_net_transformer_options o = options ? *options : (flow_monotone_net_transformer_options){.signal = 0};
    monotone *t = NULL;
    if (settle(&o, error)) {
        t = flow_transformer_new(&flow_monotone_net_transformer_type, sizeof *t, o.signal + 2, error);
    }
    if (!t) return NULL;
    t->S = o.signal;
    t->layers = o.layers;
    t->width = o.width;
    t->floor = o.floor;
    t->bound = o.bound;
    t->type = o.type;
    const flow_mlp_options mlp = {.layers = o.layers, .width = o.width, .zero_last = true, .type = o.type};
    t->net = flow_mlp(1 + o.signal, 1, &mlp, error);
    if (!t->net || flow_add_part(&t->transformer.owner, "net", &t->net->owner, error) != AD_OK) {
        flow_transformer_free(&t->transformer);
        return NULL;
    }
    start(t, o.seed);
    return &t->transformer;
}

static json_t *describe(const flow_transformer *transformer) {
    const monotone *t = (const monotone *)transformer;
    return json_pack("{s:I, s:i, s:I, s:f, s:f, s:s}", "signal", (json_int_t)t->S, "layers", t->layers, "width",
                     (json_int_t)t->width, "floor", t->floor, "bound", t->bound, "precision", flow_type_text(t->type));
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type;
    flow_monotone_net_transformer_options o = {.signal = 0};
    int64_t layers;
    if (!flow_json_int(options, "signal", 1, MOST_SIGNAL, &o.signal, error) ||
        !flow_json_int(options, "layers", 1, MOST_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &o.width, error) ||
        !flow_json_number(options, "floor", &o.floor, error) || !flow_json_number(options, "bound", &o.bound, error) ||
        !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, (o.signal + 2 + (layers - 1) * (o.width + 1) + 1) * o.width + 1, error)) {
        return NULL;
    }
    o.layers = (int)layers;
    return flow_monotone_net_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    const flow_monotone_net_transformer_options o = {
        .bound = options->bound, .seed = options->seed, .type = options->type};
    return flow_monotone_net_transformer(&o, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const flow_monotone_net_transformer_options o = {.signal = 1 + i % 3,
                                                     .layers = 1 + i / 2 % 2,
                                                     .width = i % 7 == 6 ? 1 : 4 + i % 3,
                                                     .floor = i % 3 ? 0 : 0.1,
                                                     .bound = i % 5 == 4 ? 2 : 0,
                                                     .seed = (uint64_t)i,
                                                     .type = i % 4 ? AD_F64 : AD_F32};
    return flow_monotone_net_transformer(&o, error);
}

const flow_transformer_type flow_monotone_net_transformer_type = {.name = "monotone net",
                                                                  .normalize = normalize,
                                                                  .generate = generate,
                                                                  .describe = describe,
                                                                  .make = make,
                                                                  .example = example,
                                                                  .usual = usual,
                                                                  .identity = identity,
                                                                  .by_feature = true};
