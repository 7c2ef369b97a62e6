// conditioner.c -- the nets that give a transformer's parameters: made so that a layer starts as the identity, or
// checked.
#include "internal.h"

// Zero weights in the last map, and its biases what the transformer calls its identity.
static flow_net *started(flow_net *net, const flow_transformer *t, bool by_feature, ad_error *error) {
    if (!net) return NULL;
    ad_param *bias = net->owner.params[net->owner.n_params - 1];
    if (flow_start_as_identity(t, bias, bias->count / t->P, by_feature, error)) return net;
    flow_net_free(net);
    return NULL;
}

flow_net *flow_conditioner_net(const char *who, int64_t in, int64_t n, const flow_transformer *t,
                               const flow_conditioner_options *o, ad_error *error) {
    const int64_t out = n * t->P;
    if (o->net) {
        if (o->net->in == in && o->net->out == out) return o->net;
        ad_fail(error, AD_ESHAPE, "%s: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]", who,
                (long long)o->net->in, (long long)o->net->out, (long long)in, (long long)out);
        flow_net_free(o->net);
        return NULL;
    }
    flow_mlp_options mlp = o->mlp;
    flow_residual_net_options residual = o->residual;
    mlp.zero_last = residual.zero_last = true;
    switch (o->kind) {
        case FLOW_MLP:
            return started(flow_mlp(in, out, &mlp, error), t, t->type->by_feature, error);
        case FLOW_RESIDUAL_NET:
            return started(flow_residual_net(in, out, &residual, error), t, t->type->by_feature, error);
        default:
            ad_fail(error, AD_EARG, "%s: conditioner is %d, expected 0 or 1", who, (int)o->kind);
            return NULL;
    }
}

flow_net *flow_conditioner_made(const char *who, int64_t D, int64_t C, const flow_transformer *t,
                                const flow_made_options *options, flow_net *net, ad_error *error) {
    if (net) {
        if (flow_is_made(net, D, C, t->P)) return net;
        ad_fail(error, AD_ESHAPE, "%s: the net is not a made of %lld features, context %lld and %lld outputs each", who,
                (long long)D, (long long)C, (long long)t->P);
        flow_net_free(net);
        return NULL;
    }
    flow_made_options made = *options;
    made.mlp.zero_last = true;
    return started(flow_made(D, C, t->P, &made, error), t, true, error);
}

ad_param *flow_add_raw(flow_owner *owner, const char *name, ad_type type, int64_t n, const flow_transformer *t,
                       ad_error *error) {
    const bool by_feature = t->type->by_feature;
    ad_param *raw = flow_add_param(owner, name, type, by_feature ? ad_shape2(n, t->P) : ad_shape2(t->P, n), error);
    return raw && flow_start_as_identity(t, raw, n, by_feature, error) ? raw : NULL;
}

flow_parameters flow_use_raw(ad_tape *tape, ad_param *raw, int64_t n, const flow_transformer *t) {
    return (flow_parameters){ad_use(tape, raw), n, t->P, t->type->by_feature};
}
