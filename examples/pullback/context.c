// context.c -- contexts of mean 0 and deviation 1, whatever their units.
#include <math.h>
#include <string.h>

#include "tool.h"

static ad_param *tensor(const flow_net *net, const char *name) {
    for (int i = 0; i < net->owner.n_params; i++) {
        if (strcmp(net->owner.params[i]->name, name) == 0) return net->owner.params[i];
    }
    return NULL;
}

flow_model *tool_standardise_context(flow_model *model, const data_table *context, const int64_t *rows, int64_t n,
                                     ad_error *error) {
    const int64_t C = context->columns;
    flow_net *net = model ? flow_mlp(C, C, &(flow_mlp_options){.layers = -1}, error) : NULL;  // one linear map
    ad_param *W = net ? tensor(net, "W0") : NULL, *b = net ? tensor(net, "b0") : NULL;
    for (int64_t c = 0; W && b && c < C; c++) {
        // From the first row on: a column that is constant has deviation 0, not what rounding leaves of it.
        const double first = data_get(context, rows[0], c);
        double shift = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) shift += (data_get(context, rows[i], c) - first) / (double)n;
        for (int64_t i = 0; i < n; i++) squares += pow(data_get(context, rows[i], c) - first - shift, 2) / (double)n;
        const double mean = first + shift, scale = squares > 0 ? fmin(1 / sqrt(squares), 1e30) : 0;  // within floats
        for (int64_t k = 0; k < C; k++) ad_param_set(W, c * C + k, k == c ? scale : 0);
        ad_param_set(b, c, -mean * scale);
    }
    if (W && b) W->frozen = b->frozen = true;  // steps of an optimizer are no steps in these units
    return flow_embed(model, net, error);
}
