// mlp.c -- multi-layer perceptron: the conditioner net of couplings on vectors. And any net: applied, freed.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

typedef struct mlp {
    flow_net net;
    int layers;  // hidden ones
    int64_t width;
    flow_activation activation;
    ad_type type;
} mlp;

const char *const flow_activation_names[FLOW_ACTIVATIONS] = {"relu", "tanh", "leaky relu"};
enum { MAX_LAYERS = 1000 };

ad_var flow_net_apply(const flow_net *net, ad_var x) {
    return net->type->apply(net, x);
}

void flow_net_free(flow_net *net) {
    if (net) flow_owner_free(&net->owner);
}

ad_var flow_activate(flow_activation activation, ad_var h) {
    switch (activation) {
        case FLOW_TANH:
            return ad_tanh(h);
        case FLOW_LEAKY_RELU:
            return ad_add(ad_scale(ad_relu(h), 0.99), ad_scale(h, 0.01));
        default:
            return ad_relu(h);
    }
}

static ad_var apply(const flow_net *net, ad_var x) {
    const mlp *m = (const mlp *)net;
    ad_tape *tape = x.tape;
    for (int i = 0; tape && i <= m->layers; i++) {
        ad_scope(tape, "mlp", i);
        x = ad_linear(ad_use(tape, net->owner.params[2 * i]), x, ad_use(tape, net->owner.params[2 * i + 1]));
        if (i < m->layers) x = flow_activate(m->activation, x);
        ad_scope_end(tape);
    }
    return x;
}

void flow_fill_uniform(ad_param *param, double bound, uint64_t *random) {
    for (int64_t i = 0; i < param->count; i++) ad_param_set(param, i, bound * flow_random_unit(random));
}

// He et al. 2015 for (leaky) relu, Glorot and Bengio 2010 for tanh and for the output. Hidden biases are spread as well
// (by 1/sqrt(in)): with a single input, zero biases would put every relu's kink in the same point.
static void start(const mlp *m, int i, ad_param *W, ad_param *b, uint64_t *random) {
    double in = (double)W->shape.dim[1], out = (double)W->shape.dim[0];
    bool he = i < m->layers && m->activation != FLOW_TANH;
    flow_fill_uniform(W, he ? sqrt(6 / in) : sqrt(6 / (in + out)), random);
    if (i < m->layers) flow_fill_uniform(b, 1 / sqrt(in), random);
}

static bool add_layers(mlp *m, const flow_mlp_options *o, ad_error *error) {
    uint64_t random = o->seed;
    for (int i = 0; i <= m->layers; i++) {
        int64_t in = i == 0 ? m->net.in : m->width, out = i == m->layers ? m->net.out : m->width;
        char name[16];
        snprintf(name, sizeof name, "W%d", i);
        ad_param *W = flow_add_param(&m->net.owner, name, o->type, ad_shape2(out, in), error);
        snprintf(name, sizeof name, "b%d", i);
        ad_param *b = W ? flow_add_param(&m->net.owner, name, o->type, ad_shape1(out), error) : NULL;
        if (!b) return false;
        if (i < m->layers || !o->zero_last) start(m, i, W, b, &random);
    }
    return true;
}

flow_net *flow_mlp(int64_t in, int64_t out, const flow_mlp_options *options, ad_error *error) {
    flow_mlp_options o = options ? *options : (flow_mlp_options){0};
    int layers = o.layers == 0 ? 2 : o.layers < 0 ? 0 : o.layers;
    int64_t width = o.width == 0 ? 64 : o.width;
    if (in < 1 || in > FLOW_MAX_FEATURES || out < 1 || out > FLOW_MAX_FEATURES || layers > MAX_LAYERS || width < 1 ||
        width > FLOW_MAX_FEATURES || (unsigned)o.activation >= FLOW_ACTIVATIONS || (unsigned)o.type > AD_F64) {
        ad_fail(error, AD_EARG, "mlp: %lld -> %lld with %d hidden layers of %lld, activation %d: out of range",
                (long long)in, (long long)out, layers, (long long)width, (int)o.activation);
        return NULL;
    }
    mlp *m = calloc(1, sizeof *m);
    if (!m) {
        ad_fail(error, AD_ENOMEM, "mlp: out of memory");
        return NULL;
    }
    *m = (mlp){.net = {.type = &flow_mlp_type, .in = in, .out = out},
               .layers = layers,
               .width = width,
               .activation = o.activation,
               .type = o.type};
    if (!add_layers(m, &o, error)) {
        flow_net_free(&m->net);
        return NULL;
    }
    return &m->net;
}

static json_t *describe(const flow_net *net) {
    const mlp *m = (const mlp *)net;
    return json_pack("{s:I, s:I, s:i, s:I, s:s, s:s}", "in", (json_int_t)net->in, "out", (json_int_t)net->out, "layers",
                     m->layers, "width", (json_int_t)m->width, "activation", flow_activation_names[m->activation],
                     "precision", flow_type_text(m->type));
}

// At most 2^58 with all at their bounds.
static int64_t count_elements(int64_t in, int64_t out, int64_t layers, int64_t width) {
    if (layers == 0) return (in + 1) * out;
    return (in + 1) * width + (layers - 1) * (width + 1) * width + (width + 1) * out;
}

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t in, out, layers, width;
    int activation;
    ad_type type;
    if (!flow_json_int(options, "in", 1, FLOW_MAX_FEATURES, &in, error) ||
        !flow_json_int(options, "out", 1, FLOW_MAX_FEATURES, &out, error) ||
        !flow_json_int(options, "layers", 0, MAX_LAYERS, &layers, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &type, error) ||
        !flow_take_elements(making, count_elements(in, out, layers, width), error)) {
        return NULL;
    }
    flow_mlp_options o = {.layers = layers ? (int)layers : -1,
                          .width = width,
                          .activation = (flow_activation)activation,
                          .zero_last = true,
                          .type = type};
    return flow_mlp(in, out, &o, error);
}

const flow_net_type flow_mlp_type = {.name = "mlp", .apply = apply, .describe = describe, .make = make};
