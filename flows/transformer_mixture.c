// transformer_mixture.c -- element maps through the cumulative distribution F of a mixture, and from there back to the
// line.
//
// Mixture of logistics: logit(F(v)) scale + shift (Ho et al. 2019, "Flow++", eq. 13-15). Gaussianization: the normal
// quantile of F(v) (Meng et al. 2020; Chen and Gopinath 2000). Deep sigmoidal: logit(sum of w_k sigmoid(a_k v + b_k)),
// once or again and again (Huang et al. 2018, "Neural autoregressive flows", eq. 8).
//
// The other direction is a root of logit(F(v)) - logit(F), which goes to infinity on both sides, near straight lines.
#include "mixture.h"

enum { MOST_COMPONENTS = 4096, MOST_LAYERS = 16 };
#define FARTHEST 1e6  // location

// The family of its type.
typedef struct form {
    bool direct;    // u = a v + b, else (v - location) / scale
    bool quantile;  // the normal quantile of F, else its logit
    bool affine;    // and then a scale and a shift
} form;

typedef struct mixture {
    flow_transformer transformer;
    const form *form;
    int64_t K;
    int layers;
    double bound, scale_bound;
    bool logistic;  // components
} mixture;

// ---- the map --------------------------------------------------------------------------------------------------------

// Of one mixture, all [n,K].
typedef struct parts {
    ad_var log_weight, place, log_slope, slope;
} parts;

static parts parts_at(const mixture *t, ad_var raw, int layer) {
    const int64_t K = t->K, first = 3 * K * layer;
    parts a = {.log_weight = ad_log_softmax(ad_slice(raw, -1, first, K), -1),
               .place = ad_clamp(ad_slice(raw, -1, first + K, K), -FARTHEST, FARTHEST),
               .log_slope = flow_bounded(ad_slice(raw, -1, first + 2 * K, K), t->bound)};
    if (!t->form->direct) a.log_slope = ad_neg(a.log_slope);
    a.slope = ad_exp(a.log_slope);
    return a;
}

static flow_mixture mixture_at(const mixture *t, const parts *a, ad_var v) {
    ad_var x = ad_insert_axis(v, -1);
    ad_var u = t->form->direct ? ad_add(ad_mul(x, a->slope), a->place) : ad_mul(ad_sub(x, a->place), a->slope);
    return flow_mixture_at(!t->logistic, u, a->log_weight, a->log_slope);
}

// From v to the logit or the quantile, with the log-slope.
static flow_result forth(const mixture *t, const parts *a, ad_var v) {
    flow_result r = {v, AD_NONE};
    for (int i = 0; i < t->layers; i++) {
        flow_mixture m = mixture_at(t, &a[i], r.value);
        r.value = t->form->quantile ? flow_mixture_quantile(&m) : flow_mixture_logit(&m);
        ad_var slope = t->form->quantile ? flow_mixture_quantile_slope(&m, r.value) : flow_mixture_logit_slope(&m);
        r.log_det = i ? ad_add(r.log_det, slope) : slope;
    }
    return r;
}

// Raw numbers of the scale and the shift.
static ad_var log_scale(const mixture *t, ad_var raw) {
    return flow_bounded(ad_squeeze(ad_slice(raw, -1, 3 * t->K * t->layers, 1), -1), t->scale_bound);
}
static ad_var shift(const mixture *t, ad_var raw) {
    return ad_squeeze(ad_slice(raw, -1, 3 * t->K * t->layers + 1, 1), -1);
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const mixture *t = (const mixture *)transformer;
    ad_var raw = flow_parameters_by_feature(p);
    parts a[MOST_LAYERS];
    for (int i = 0; i < t->layers; i++) a[i] = parts_at(t, raw, i);
    flow_result r = forth(t, a, v);
    if (!t->form->affine) return r;
    ad_var s = log_scale(t, raw);
    return (flow_result){ad_add(ad_mul(r.value, ad_exp(s)), shift(t, raw)), ad_add(r.log_det, s)};
}

// ---- the other direction --------------------------------------------------------------------------------------------

typedef struct equation {
    const mixture *t;
    const parts *a;
    ad_var logit;  // of F, where v is sought
} equation;

// Between components far apart the slope falls to 0, and what follows from it would be NaN: least is next to nothing,
// in the slope alone.
static ad_var excess(void *arg, ad_var v) {
    const equation *e = arg;
    const double least = ad_tape_type(v.tape) == AD_F32 ? 1e-20 : 1e-100;
    ad_var y = v;
    for (int i = 0; i < e->t->layers; i++) {
        flow_mixture m = mixture_at(e->t, &e->a[i], y);
        y = flow_mixture_logit(&m);
    }
    return ad_add(ad_sub(y, e->logit), ad_scale(ad_sub(v, ad_stop_gradient(v)), least));
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const mixture *t = (const mixture *)transformer;
    ad_var raw = flow_parameters_by_feature(p), s = AD_NONE, y = v;
    parts a[MOST_LAYERS];
    for (int i = 0; i < t->layers; i++) a[i] = parts_at(t, raw, i);
    if (t->form->affine) {
        s = log_scale(t, raw);
        y = ad_mul(ad_sub(v, shift(t, raw)), ad_exp(ad_neg(s)));
    }
    equation e = {t, a, t->form->quantile ? flow_normal_logit(y) : y};
    ad_var like = ad_add(v, ad_squeeze(ad_slice(raw, -1, 0, 1), -1));  // has rows where either has
    ad_var x = ad_root(like, excess, &e, NULL).value;
    ad_var slope = forth(t, a, x).log_det;
    return (flow_result){x, ad_neg(t->form->affine ? ad_add(slope, s) : slope)};
}

// ---- the start ------------------------------------------------------------------------------------------------------

// Components that differ, lest they all have the same gradient for ever: evenly over [-1/2, 1/2], and so much narrower
// that together they are about as wide as one.
static void identity(const flow_transformer *transformer, double *raw) {
    const mixture *t = (const mixture *)transformer;
    const double K = (double)t->K, spread = (1 - 1 / (K * K)) / 12, pi = 3.14159265358979323846;
    // A logistic distribution of scale 0.6267 has the density of the normal one at 0.
    double scale = t->logistic ? sqrt(1 - 3 * spread / (pi * pi)) : sqrt(1 - spread);
    if (t->logistic && t->form->quantile) scale *= 0.6267;
    for (int i = 0; i < t->layers; i++) {
        double *own = raw + 3 * t->K * i;
        for (int64_t k = 0; k < t->K; k++) {
            const double place = -0.5 + ((double)k + 0.5) / K;
            own[t->K + k] = t->form->direct ? -place / scale : place;
            own[2 * t->K + k] = t->bound * atanh(log(scale) / t->bound * (t->form->direct ? -1 : 1));
        }
    }
}

// ---- made and described ---------------------------------------------------------------------------------------------

static bool settle(const flow_transformer_type *type, flow_mixture_transformer_options *o, ad_error *error) {
    const form *f = type->family;
    if (o->components == 0) o->components = 8;
    if (o->layers == 0) o->layers = 1;
    if (o->bound == 0) o->bound = 7;
    if (o->scale_bound == 0) o->scale_bound = 2;
    if (o->components < 1 || o->components > MOST_COMPONENTS || o->layers < 1 || o->layers > MOST_LAYERS) {
        ad_fail(error, AD_EARG, "%s: %lld components, %d layers; expected 1 to %d, and 1 to %d", type->name,
                (long long)o->components, o->layers, MOST_COMPONENTS, MOST_LAYERS);
    } else if (!(o->bound >= 1 && o->bound <= 20) || !(o->scale_bound >= 0.1 && o->scale_bound <= 20)) {
        ad_fail(error, AD_EARG, "%s: log-scales within %g, rescaling within %g; expected 1 to 20, and 0.1 to 20",
                type->name, o->bound, o->scale_bound);
    } else if (o->layers > 1 && !f->direct) {
        ad_fail(error, AD_EARG, "%s: %d layers; only a deep sigmoidal one has several", type->name, o->layers);
    } else if (o->logistic && !f->quantile) {
        ad_fail(error, AD_EARG, "%s: logistic is for gaussianization", type->name);
    } else {
        return true;
    }
    return false;
}

static flow_transformer *new_mixture(const flow_transformer_type *type, const flow_mixture_transformer_options *options,
                                     ad_error *error) {
    const form *f = type->family;
    flow_mixture_transformer_options o = options ? *options : (flow_mixture_transformer_options){.components = 0};
    mixture *t = NULL;
    if (settle(type, &o, error)) {
        t = flow_transformer_new(type, sizeof *t, 3 * o.components * o.layers + 2 * f->affine, error);
    }
    if (!t) return NULL;
    t->form = f;
    t->K = o.components;
    t->layers = o.layers;
    t->bound = o.bound;
    t->scale_bound = o.scale_bound;
    t->logistic = o.logistic || !f->quantile;
    return &t->transformer;
}

flow_transformer *flow_logistic_mixture_transformer(const flow_mixture_transformer_options *options, ad_error *error) {
    return new_mixture(&flow_logistic_mixture_transformer_type, options, error);
}
flow_transformer *flow_gaussianization_transformer(const flow_mixture_transformer_options *options, ad_error *error) {
    return new_mixture(&flow_gaussianization_transformer_type, options, error);
}
flow_transformer *flow_sigmoidal_transformer(const flow_mixture_transformer_options *options, ad_error *error) {
    return new_mixture(&flow_sigmoidal_transformer_type, options, error);
}

static json_t *describe(const flow_transformer *transformer) {
    const mixture *t = (const mixture *)transformer;
    return json_pack("{s:I, s:i, s:f, s:f, s:b}", "components", (json_int_t)t->K, "layers", t->layers, "bound",
                     t->bound, "scale_bound", t->scale_bound, "logistic", t->logistic && t->form->quantile);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)making;
    flow_mixture_transformer_options o = {.components = 0};
    int64_t layers;
    if (!flow_json_int(options, "components", 1, MOST_COMPONENTS, &o.components, error) ||
        !flow_json_int(options, "layers", 1, MOST_LAYERS, &layers, error) ||
        !flow_json_number(options, "bound", &o.bound, error) ||
        !flow_json_number(options, "scale_bound", &o.scale_bound, error) ||
        !flow_json_bool(options, "logistic", &o.logistic, error)) {
        return NULL;
    }
    o.layers = (int)layers;
    return new_mixture(type, &o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    const flow_mixture_transformer_options o = {.components = options->bins, .bound = options->bound};
    return new_mixture(type, &o, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    const form *f = type->family;
    flow_mixture_transformer_options o = {.components = 1 + i % 4,
                                          .layers = f->direct ? 1 + i / 2 % 2 : 0,
                                          .bound = i % 3 ? 0 : 2,
                                          .scale_bound = f->affine && i % 5 == 4 ? 0.5 : 0,
                                          .logistic = f->quantile && i / 3 % 2};
    return new_mixture(type, &o, error);
}

#define CALLS                                                                                             \
    .normalize = normalize, .generate = generate, .describe = describe, .make = make, .example = example, \
    .usual = usual, .identity = identity, .by_feature = true
const flow_transformer_type flow_logistic_mixture_transformer_type = {
    .name = "logistic mixture", CALLS, .family = &(const form){.affine = true}};
const flow_transformer_type flow_gaussianization_transformer_type = {
    .name = "gaussianization", CALLS, .family = &(const form){.quantile = true}};
const flow_transformer_type flow_sigmoidal_transformer_type = {
    .name = "deep sigmoidal", CALLS, .family = &(const form){.direct = true}};
