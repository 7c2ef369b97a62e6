// context_net.c -- the net of a context that adds to a layer's own parameters, so that they follow it.
#include "internal.h"

bool flow_add_context_net(flow_layer *layer, int64_t out, flow_net *given, const flow_mlp_options *options,
                          flow_net **net, ad_error *error) {
    flow_mlp_options mlp = *options;
    mlp.zero_last = true;
    *net = given;
    if (layer->C == 0) {
        if (given) ad_fail(error, AD_EARG, "%s: a net, but no context to give it", layer->type->name);
        flow_net_free(given);
        return !given;
    }
    if (!given) *net = flow_mlp(layer->C, out, &mlp, error);
    if (*net && ((*net)->in != layer->C || (*net)->out != out)) {
        ad_fail(error, AD_ESHAPE, "%s: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]", layer->type->name,
                (long long)(*net)->in, (long long)(*net)->out, (long long)layer->C, (long long)out);
        flow_net_free(*net);
        return false;
    }
    return *net && flow_add_part(&layer->owner, "net", &(*net)->owner, error) == AD_OK;
}

ad_var flow_with_context(ad_var parameter, ad_var offsets, int64_t start) {
    if (ad_is_none(offsets)) return parameter;
    return ad_add(parameter, ad_slice(offsets, 0, start, ad_dim(parameter, 0)));
}

bool flow_read_context_net(const json_t *options, const flow_making *making, int64_t C, flow_net **net,
                           ad_error *error) {
    *net = NULL;
    if (C == 0) return true;
    *net = flow_make_net(json_object_get(options, "net"), making, error);
    return *net != NULL;
}
