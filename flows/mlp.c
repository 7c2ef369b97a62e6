// mlp.c -- multi-layer perceptron: the conditioner net of couplings on vectors. And any net: applied, freed.
#include <math.h>

#include "internal.h"

static const flow_depth depth = {"layers", "hidden layers", 1000};

ad_var flow_net_apply(const flow_net *net, ad_var x) {
    return net->type->apply(net, x);
}

void flow_net_free(flow_net *net) {
    if (net) flow_owner_free(&net->owner);
}

static ad_var apply(const flow_net *net, ad_var x) {
    const flow_linear_net *m = (const flow_linear_net *)net;
    ad_tape *tape = x.tape;
    for (int i = 0; tape && i <= m->depth; i++) {
        ad_scope(tape, "mlp", i);
        x = flow_linear(net, i, x);
        if (i < m->depth) x = flow_activate(m->activation, x);
        ad_scope_end(tape);
    }
    return x;
}

// He et al. 2015 for (leaky) relu, Glorot and Bengio 2010 for tanh and for the output. Hidden biases are spread as well
// (by 1/sqrt(in)): with a single input, zero biases would put every relu's kink in the same point.
static void start(const flow_linear_net *m, int i, uint64_t *random) {
    ad_param *W = m->net.owner.params[2 * i], *b = m->net.owner.params[2 * i + 1];
    double in = (double)W->shape.dim[1], out = (double)W->shape.dim[0];
    bool he = i < m->depth && m->activation != FLOW_TANH;
    flow_fill_uniform(W, he ? sqrt(6 / in) : sqrt(6 / (in + out)), random);
    if (i < m->depth) flow_fill_uniform(b, 1 / sqrt(in), random);
}

flow_net *flow_mlp(int64_t in, int64_t out, const flow_mlp_options *options, ad_error *error) {
    flow_mlp_options o = options ? *options : (flow_mlp_options){0};
    flow_linear_net sizes = {{.in = in, .out = out}, o.layers, o.width, o.activation, o.type};
    flow_linear_net *m = flow_linear_net_new(&flow_mlp_type, &depth, &sizes, error);
    for (int i = 0; m && i <= m->depth; i++) {
        if (!flow_add_linear(&m->net, i, i == 0 ? in : m->width, i == m->depth ? out : m->width, m->type, error)) {
            flow_net_free(&m->net);
            return NULL;
        }
        if (i < m->depth || !o.zero_last) start(m, i, &o.seed);
    }
    return m ? &m->net : NULL;
}

static json_t *describe(const flow_net *net) {
    return flow_linear_net_describe((const flow_linear_net *)net, &depth);
}

// At most 2^58 with all at their bounds.
static int64_t count_elements(const flow_linear_net *m) {
    if (m->depth == 0) return (m->net.in + 1) * m->net.out;
    return (m->net.in + 1) * m->width + (m->depth - 1) * (m->width + 1) * m->width + (m->width + 1) * m->net.out;
}

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_linear_net m;
    if (!flow_linear_net_read(options, &depth, &m, error) || !flow_take_elements(making, count_elements(&m), error)) {
        return NULL;
    }
    flow_mlp_options o = {.layers = m.depth ? m.depth : -1,
                          .width = m.width,
                          .activation = m.activation,
                          .zero_last = true,
                          .type = m.type};
    return flow_mlp(m.net.in, m.net.out, &o, error);
}

const flow_net_type flow_mlp_type = {.name = "mlp", .apply = apply, .describe = describe, .make = make};
