// linear_net.c -- what nets of linear maps on vectors share: made of checked sizes, their maps, described and read.
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

const char *const flow_activation_names[FLOW_ACTIVATIONS] = {"relu", "tanh", "leaky relu"};

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

void flow_fill_uniform(ad_param *param, double bound, uint64_t *random) {
    for (int64_t i = 0; i < param->count; i++) ad_param_set(param, i, bound * flow_random_unit(random));
}

bool flow_add_linear(flow_net *net, int i, int64_t in, int64_t out, ad_type type, ad_error *error) {
    char name[16];
    snprintf(name, sizeof name, "W%d", i);
    if (!flow_add_param(&net->owner, name, type, ad_shape2(out, in), error)) return false;
    snprintf(name, sizeof name, "b%d", i);
    return flow_add_param(&net->owner, name, type, ad_shape1(out), error) != NULL;
}

ad_var flow_linear(const flow_net *net, int i, ad_var x) {
    return ad_linear(ad_use(x.tape, net->owner.params[2 * i]), x, ad_use(x.tape, net->owner.params[2 * i + 1]));
}

flow_linear_net *flow_linear_net_new(const flow_net_type *type, const flow_depth *depth, const flow_linear_net *sizes,
                                     ad_error *error) {
    flow_linear_net n = *sizes, *m;
    n.net.type = type;
    n.depth = n.depth == 0 ? 2 : n.depth < 0 ? 0 : n.depth;
    if (n.width == 0) n.width = 64;
    if (n.net.in < 1 || n.net.in > FLOW_MAX_FEATURES || n.net.out < 1 || n.net.out > FLOW_MAX_FEATURES ||
        n.depth > depth->most || n.width < 1 || n.width > FLOW_MAX_FEATURES ||
        (unsigned)n.activation >= FLOW_ACTIVATIONS || (unsigned)n.type > AD_F64) {
        ad_fail(error, AD_EARG, "%s: %lld -> %lld with %d %s of %lld, activation %d: out of range", type->name,
                (long long)n.net.in, (long long)n.net.out, n.depth, depth->text, (long long)n.width, (int)n.activation);
        return NULL;
    }
    m = malloc(sizeof *m);
    if (!m) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
        return NULL;
    }
    *m = n;
    return m;
}

json_t *flow_linear_net_describe(const flow_linear_net *m, const flow_depth *depth) {
    return json_pack("{s:I, s:I, s:i, s:I, s:s, s:s}", "in", (json_int_t)m->net.in, "out", (json_int_t)m->net.out,
                     depth->key, m->depth, "width", (json_int_t)m->width, "activation",
                     flow_activation_names[m->activation], "precision", flow_type_text(m->type));
}

bool flow_linear_net_read(const json_t *options, const flow_depth *depth, flow_linear_net *m, ad_error *error) {
    int64_t n;
    int activation;
    *m = (flow_linear_net){.depth = 0};
    if (!flow_json_int(options, "in", 1, FLOW_MAX_FEATURES, &m->net.in, error) ||
        !flow_json_int(options, "out", 1, FLOW_MAX_FEATURES, &m->net.out, error) ||
        !flow_json_int(options, depth->key, 0, depth->most, &n, error) ||
        !flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &m->width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error) ||
        !flow_json_type(options, &m->type, error)) {
        return false;
    }
    m->depth = (int)n;
    m->activation = (flow_activation)activation;
    return true;
}
