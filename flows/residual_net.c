// residual_net.c -- residual net with pre-activation: a conditioner of couplings on vectors.
//
// Parameters are numbered as in an mlp: W0 is the first linear, 2 i + 1 and 2 i + 2 those of block i, the largest the
// last. The context is part of the input.
#include <math.h>

#include "internal.h"

static const flow_depth depth = {"blocks", "blocks", 500};

static ad_var block(const flow_linear_net *m, int i, ad_var h) {
    ad_var inner = flow_linear(&m->net, 2 * i + 1, flow_activate(m->activation, h));
    return ad_add(h, flow_linear(&m->net, 2 * i + 2, flow_activate(m->activation, inner)));
}

static ad_var apply(const flow_net *net, ad_var x) {
    const flow_linear_net *m = (const flow_linear_net *)net;
    ad_tape *tape = x.tape;
    if (!tape) return x;
    ad_scope(tape, "residual net", -1);
    ad_var h = flow_linear(net, 0, x);
    for (int i = 0; i < m->depth; i++) {
        ad_scope(tape, "block", i);
        h = block(m, i, h);
        ad_scope_end(tape);
    }
    h = flow_linear(net, 2 * m->depth + 1, h);
    ad_scope_end(tape);
    return h;
}

static void start(const flow_linear_net *m, int i, uint64_t *random) {
    ad_param *W = m->net.owner.params[2 * i], *b = m->net.owner.params[2 * i + 1];
    bool ends_block = i > 0 && i % 2 == 0;
    double bound = ends_block ? 1e-3 : 1 / sqrt((double)W->shape.dim[1]);
    flow_fill_uniform(W, bound, random);
    flow_fill_uniform(b, bound, random);
}

flow_net *flow_residual_net(int64_t in, int64_t out, const flow_residual_net_options *options, ad_error *error) {
    flow_residual_net_options o = options ? *options : (flow_residual_net_options){0};
    flow_linear_net sizes = {{.in = in, .out = out}, o.blocks, o.width, o.activation, o.type};
    flow_linear_net *m = flow_linear_net_new(&flow_residual_net_type, &depth, &sizes, error);
    const int last = m ? 2 * m->depth + 1 : -1;
    for (int i = 0; i <= last; i++) {
        if (!flow_add_linear(&m->net, i, i == 0 ? in : m->width, i == last ? out : m->width, m->type, error)) {
            flow_net_free(&m->net);
            return NULL;
        }
        if (i < last || !o.zero_last) start(m, i, &o.seed);
    }
    return m ? &m->net : NULL;
}

static json_t *describe(const flow_net *net) {
    return flow_linear_net_describe((const flow_linear_net *)net, &depth);
}

// At most 2^59 with all at their bounds.
static int64_t count_elements(const flow_linear_net *m) {
    return (m->net.in + 1) * m->width + 2 * m->depth * (m->width + 1) * m->width + (m->width + 1) * m->net.out;
}

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_linear_net m;
    if (!flow_linear_net_read(options, &depth, &m, error) || !flow_take_elements(making, count_elements(&m), error)) {
        return NULL;
    }
    flow_residual_net_options o = {.blocks = m.depth ? m.depth : -1,
                                   .width = m.width,
                                   .activation = m.activation,
                                   .zero_last = true,
                                   .type = m.type};
    return flow_residual_net(m.net.in, m.net.out, &o, error);
}

const flow_net_type flow_residual_net_type = {
    .name = "residual net", .apply = apply, .describe = describe, .make = make};
