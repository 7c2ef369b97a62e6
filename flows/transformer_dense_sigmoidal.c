// transformer_dense_sigmoidal.c -- the element map of several layers of sigmoids, densely connected.
//
// Huang et al. 2018, "Neural autoregressive flows", eq. 10: h <- logit(w sigmoid(a (u h) + b)), rows of w and u shares
// that sum to 1; from one number over H to one number again. As in their code the logits of w and u are learned ones
// plus those of the conditioner, by column, lest it has to give whole matrices. All slopes are kept as logarithms,
// those of each logit as in mixture.c.
#include <stdio.h>

#include "mixture.h"

enum { MOST_UNITS = 1024, MOST_LAYERS = 16 };
#define FARTHEST 1e6  // b, so that gradients far out do not overflow

typedef struct dense {
    flow_transformer transformer;
    int64_t H;
    int layers;
    double bound;
    ad_type type;
    ad_param *W[MOST_LAYERS], *U[MOST_LAYERS];  // [H,H] and, of the last, [1,H]; [H,H], none of the first
} dense;

// Raw numbers of layer i: of w, b, a [H], of u [H] but for the first.
static int64_t first_of(const dense *t, int i) {
    return 4 * t->H * i - (i > 0 ? t->H : 0);
}

// ---- the map --------------------------------------------------------------------------------------------------------

typedef struct parts {
    ad_var log_w;        // [n,O,H]
    ad_var a, log_a, b;  // [n,H]
    ad_var u, log_u;     // [n,H,H]; of the first layer none
} parts;

static ad_var log_shares(ad_param *learned, ad_var given) {
    return ad_log_softmax(ad_add(ad_use(given.tape, learned), ad_insert_axis(given, -2)), -1);
}

static parts parts_at(const dense *t, ad_var raw, int i) {
    const int64_t H = t->H, first = first_of(t, i);
    parts p = {.log_w = log_shares(t->W[i], ad_slice(raw, -1, first, H)),
               .b = ad_clamp(ad_slice(raw, -1, first + H, H), -FARTHEST, FARTHEST),
               .log_a = flow_bounded(ad_slice(raw, -1, first + 2 * H, H), t->bound),
               .u = AD_NONE,
               .log_u = AD_NONE};
    p.a = ad_exp(p.log_a);
    if (i == 0) return p;
    p.log_u = log_shares(t->U[i], ad_slice(raw, -1, first + 3 * H, H));
    p.u = ad_exp(p.log_u);
    return p;
}

static flow_result forth(const dense *t, const parts *all, ad_var v) {
    ad_var h = ad_insert_axis(v, -1), log_slope = AD_NONE;
    for (int i = 0; i < t->layers; i++) {
        const parts *p = &all[i];
        ad_var in = i ? ad_sum_axis(ad_mul(p->u, ad_insert_axis(h, -2)), -1) : h, rise = p->log_a;
        if (i) rise = ad_add(rise, ad_logsumexp_axis(ad_add(p->log_u, ad_insert_axis(log_slope, -2)), -1));
        ad_var sum = ad_add(ad_mul(p->a, in), p->b);
        flow_mixture m = flow_mixture_at(false, ad_insert_axis(sum, -2), p->log_w, ad_insert_axis(rise, -2));
        h = flow_mixture_logit(&m);
        log_slope = flow_mixture_logit_slope(&m);
    }
    return (flow_result){ad_squeeze(h, -1), ad_squeeze(log_slope, -1)};
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const dense *t = (const dense *)transformer;
    ad_var raw = flow_parameters_by_feature(p);
    parts all[MOST_LAYERS];
    for (int i = 0; i < t->layers; i++) all[i] = parts_at(t, raw, i);
    return forth(t, all, v);
}

typedef struct equation {
    const dense *t;
    const parts *all;
    ad_var y;
} equation;

// The slope is never quite 0, as in transformer_mixture.c.
static ad_var excess(void *arg, ad_var v) {
    const equation *e = arg;
    const double least = ad_tape_type(v.tape) == AD_F32 ? 1e-20 : 1e-100;
    ad_var y = forth(e->t, e->all, v).value;
    return ad_add(ad_sub(y, e->y), ad_scale(ad_sub(v, ad_stop_gradient(v)), least));
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const dense *t = (const dense *)transformer;
    ad_var raw = flow_parameters_by_feature(p);
    parts all[MOST_LAYERS];
    for (int i = 0; i < t->layers; i++) all[i] = parts_at(t, raw, i);
    equation e = {t, all, v};
    ad_var like = ad_add(v, ad_squeeze(ad_slice(raw, -1, 0, 1), -1));  // has rows where either has
    ad_var x = ad_root(like, excess, &e, NULL).value;
    return (flow_result){x, ad_neg(forth(t, all, x).log_det)};
}

// Each layer's sigmoids over [-1/2, 1/2], about as wide together as one.
static void identity(const flow_transformer *transformer, double *raw) {
    const dense *t = (const dense *)transformer;
    const double H = (double)t->H, pi = 3.14159265358979323846;
    const double scale = sqrt(1 - (1 - 1 / (H * H)) / (4 * pi * pi));
    for (int i = 0; i < t->layers; i++) {
        double *own = raw + first_of(t, i);
        for (int64_t k = 0; k < t->H; k++) {
            own[t->H + k] = (0.5 - ((double)k + 0.5) / H) / scale;
            own[2 * t->H + k] = t->bound * atanh(-log(scale) / t->bound);
        }
    }
}

// ---- made and described ---------------------------------------------------------------------------------------------

static ad_param *add(dense *t, char letter, int i, int64_t rows, uint64_t *seed, ad_error *error) {
    char name[16];
    snprintf(name, sizeof name, "%c%d", letter, i);
    ad_param *p = flow_add_param(&t->transformer.owner, name, t->type, ad_shape2(rows, t->H), error);
    if (p) flow_fill_uniform(p, 0.1, seed);
    return p;
}

static bool add_all(dense *t, uint64_t seed, ad_error *error) {
    for (int i = 0; i < t->layers; i++) {
        t->W[i] = add(t, 'W', i, i + 1 < t->layers ? t->H : 1, &seed, error);
        if (!t->W[i]) return false;
        if (i > 0 && !(t->U[i] = add(t, 'U', i, t->H, &seed, error))) return false;
    }
    return true;
}

static bool settle(flow_dense_sigmoidal_transformer_options *o, ad_error *error) {
    if (o->units == 0) o->units = 8;
    if (o->layers == 0) o->layers = 2;
    if (o->bound == 0) o->bound = 7;
    if (o->units < 1 || o->units > MOST_UNITS || o->layers < 1 || o->layers > MOST_LAYERS) {
        ad_fail(error, AD_EARG, "dense sigmoidal: %lld units, %d layers; expected 1 to %d, and 1 to %d",
                (long long)o->units, o->layers, MOST_UNITS, MOST_LAYERS);
    } else if (!(o->bound >= 1 && o->bound <= 20) || (unsigned)o->type > AD_F64) {
        ad_fail(error, AD_EARG, "dense sigmoidal: log-scales within %g, type %d; expected 1 to 20, and 0 or 1",
                o->bound, (int)o->type);
    } else {
        return true;
    }
    return false;
}

flow_transformer *flow_dense_sigmoidal_transformer(const flow_dense_sigmoidal_transformer_options *options,
                                                   ad_error *error) {
    flow_dense_sigmoidal_transformer_options o =
        options ? *options : (flow_dense_sigmoidal_transformer_options){.units = 0};
    if (!settle(&o, error)) return NULL;
    const int64_t P = (4 * o.layers - 1) * o.units;
    dense *t = flow_transformer_new(&flow_dense_sigmoidal_transformer_type, sizeof *t, P, error);
    if (!t) return NULL;
    t->H = o.units;
    t->layers = o.layers;
    t->bound = o.bound;
    t->type = o.type;
    if (add_all(t, o.seed, error)) return &t->transformer;
    flow_transformer_free(&t->transformer);
    return NULL;
}

static json_t *describe(const flow_transformer *transformer) {
    const dense *t = (const dense *)transformer;
    return json_pack("{s:I, s:i, s:f, s:s}", "units", (json_int_t)t->H, "layers", t->layers, "bound", t->bound,
                     "precision", flow_type_text(t->type));
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type;
    flow_dense_sigmoidal_transformer_options o = {.units = 0};
    int64_t layers;
    if (!flow_json_int(options, "units", 1, MOST_UNITS, &o.units, error) ||
        !flow_json_int(options, "layers", 1, MOST_LAYERS, &layers, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, (2 * (layers - 1) * o.units + 1) * o.units, error)) {
        return NULL;
    }
    o.layers = (int)layers;
    return flow_dense_sigmoidal_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    const flow_dense_sigmoidal_transformer_options o = {
        .units = options->bins, .bound = options->bound, .seed = options->seed, .type = options->type};
    return flow_dense_sigmoidal_transformer(&o, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const flow_dense_sigmoidal_transformer_options o = {.units = 1 + i % 3,
                                                        .layers = 1 + (i + 1) % 3,
                                                        .bound = i % 4 ? 0 : 2,
                                                        .seed = (uint64_t)i,
                                                        .type = i % 2 ? AD_F64 : AD_F32};
    return flow_dense_sigmoidal_transformer(&o, error);
}

const flow_transformer_type flow_dense_sigmoidal_transformer_type = {.name = "dense sigmoidal",
                                                                     .normalize = normalize,
                                                                     .generate = generate,
                                                                     .describe = describe,
                                                                     .make = make,
                                                                     .example = example,
                                                                     .usual = usual,
                                                                     .identity = identity,
                                                                     .by_feature = true};
