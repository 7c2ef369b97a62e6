// residual_net.c -- residual net with pre-activation: a conditioner of couplings on vectors.
//
// Parameters are numbered as in an mlp: W0 is the first linear, 2 i + 1 and 2 i + 2 those of block i, the largest the
// last. The context is part of the input.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

typedef struct residual_net {
    flow_net net;
    int blocks;
    int64_t width;
    flow_activation activation;
    ad_type type;
} residual_net;

enum { MAX_BLOCKS = 500 };

static ad_var linear(const flow_net *net, int i, ad_var x) {
    return ad_linear(ad_use(x.tape, net->owner.params[2 * i]), x, ad_use(x.tape, net->owner.params[2 * i + 1]));
}

static ad_var block(const residual_net *m, int i, ad_var h) {
    ad_var inner = linear(&m->net, 2 * i + 1, flow_activate(m->activation, h));
    return ad_add(h, linear(&m->net, 2 * i + 2, flow_activate(m->activation, inner)));
}

static ad_var apply(const flow_net *net, ad_var x) {
    const residual_net *m = (const residual_net *)net;
    ad_tape *tape = x.tape;
    if (!tape) return x;
    ad_scope(tape, "residual net", -1);
    ad_var h = linear(net, 0, x);
    for (int i = 0; i < m->blocks; i++) {
        ad_scope(tape, "block", i);
        h = block(m, i, h);
        ad_scope_end(tape);
    }
    h = linear(net, 2 * m->blocks + 1, h);
    ad_scope_end(tape);
    return h;
}

static bool add_linears(residual_net *m, const flow_residual_net_options *o, ad_error *error) {
    uint64_t random = o->seed;
    const int last = 2 * m->blocks + 1;
    for (int i = 0; i <= last; i++) {
        int64_t in = i == 0 ? m->net.in : m->width, out = i == last ? m->net.out : m->width;
        double bound = i > 0 && i < last && i % 2 == 0 ? 1e-3 : 1 / sqrt((double)in);
        char name[16];
        snprintf(name, sizeof name, "W%d", i);
        ad_param *W = flow_add_param(&m->net.owner, name, o->type, ad_shape2(out, in), error);
        snprintf(name, sizeof name, "b%d", i);
        ad_param *b = W ? flow_add_param(&m->net.owner, name, o->type, ad_shape1(out), error) : NULL;
        if (!b) return false;
        if (i == last && o->zero_last) return true;
        flow_fill_uniform(W, bound, &random);
        flow_fill_uniform(b, bound, &random);
    }
    return true;
}

flow_net *flow_residual_net(int64_t in, int64_t out, const flow_residual_net_options *options, ad_error *error) {
    flow_residual_net_options o = options ? *options : (flow_residual_net_options){0};
    int blocks = o.blocks == 0 ? 2 : o.blocks < 0 ? 0 : o.blocks;
    int64_t width = o.width == 0 ? 64 : o.width;
    if (in < 1 || in > FLOW_MAX_FEATURES || out < 1 || out > FLOW_MAX_FEATURES || blocks > MAX_BLOCKS || width < 1 ||
        width > FLOW_MAX_FEATURES || (unsigned)o.activation >= FLOW_ACTIVATIONS || (unsigned)o.type > AD_F64) {
        ad_fail(error, AD_EARG, "residual net: %lld -> %lld with %d blocks of %lld, activation %d: out of range",
                (long long)in, (long long)out, blocks, (long long)width, (int)o.activation);
        return NULL;
    }
    residual_net *m = calloc(1, sizeof *m);
    if (!m) {
        ad_fail(error, AD_ENOMEM, "residual net: out of memory");
        return NULL;
    }
    *m = (residual_net){.net = {.type = &flow_residual_net_type, .in = in, .out = out},
                        .blocks = blocks,
                        .width = width,
                        .activation = o.activation,
                        .type = o.type};
    if (!add_linears(m, &o, error)) {
        flow_net_free(&m->net);
        return NULL;
    }
    return &m->net;
}

static json_t *describe(const flow_net *net) {
    const residual_net *m = (const residual_net *)net;
    return json_pack("{s:I, s:I, s:i, s:I, s:s, s:s}", "in", (json_int_t)net->in, "out", (json_int_t)net->out, "blocks",
                     m->blocks, "width", (json_int_t)m->width, "activation", flow_activation_names[m->activation],
                     "precision", flow_type_text(m->type));
}

// At most 2^59 with all at their bounds.
static int64_t count_elements(int64_t in, int64_t out, int64_t blocks, int64_t width) {
    return (in + 1) * width + 2 * blocks * (width + 1) * width + (width + 1) * out;
}

static flow_net *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t in, out, blocks, width;
    int activation;
    ad_type type;
    if (!flow_json_int(options, "in", 1, FLOW_MAX_FEATURES, &in, error) ||
        !flow_json_int(options, "out", 1, FLOW_MAX_FEATURES, &out, error) ||
        !flow_json_int(options, "blocks", 0, MAX_BLOCKS, &blocks, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &type, error) ||
        !flow_take_elements(making, count_elements(in, out, blocks, width), error)) {
        return NULL;
    }
    flow_residual_net_options o = {.blocks = blocks ? (int)blocks : -1,
                                   .width = width,
                                   .activation = (flow_activation)activation,
                                   .zero_last = true,
                                   .type = type};
    return flow_residual_net(in, out, &o, error);
}

const flow_net_type flow_residual_net_type = {
    .name = "residual net", .apply = apply, .describe = describe, .make = make};
