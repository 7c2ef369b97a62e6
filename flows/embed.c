// embed.c -- models whose context passes a net of its own before layers and base density see it.
#include <stdlib.h>

#include "model.h"

static bool fits(const flow_model *model, const flow_net *net, ad_error *error) {
    if (model->embed) {
        ad_fail(error, AD_EARG, "embed: the model's context passes a net already");
    } else if (model->C == 0) {
        ad_fail(error, AD_EARG, "embed: the model takes no context");
    } else if (net->out != model->C) {
        ad_fail(error, AD_ESHAPE, "embed: the net is [%lld] -> [%lld], but the model takes a context of [%lld]",
                (long long)net->in, (long long)net->out, (long long)model->C);
    } else {
        return true;
    }
    return false;
}

flow_model *flow_embed(flow_model *model, flow_net *net, ad_error *error) {
    if (!model || !net || !fits(model, net, error)) {  // NULL: *error tells of the constructor that failed
        flow_net_free(net);
        flow_model_free(model);
        return NULL;
    }
    model->embed = net;
    model->C = net->in;
    if (flow_model_list(model)) return model;
    ad_fail(error, AD_ENOMEM, "embed: out of memory");
    flow_model_free(model);
    return NULL;
}

ad_var flow_model_see(const char *who, const flow_model *model, ad_var context) {
    if (!model->embed || ad_is_none(context)) return context;
    if (!flow_check_context(who, context.tape, context, model->C)) return flow_inert(context);
    ad_scope(context.tape, "embed", -1);
    ad_var seen = flow_net_apply(model->embed, context);
    ad_scope_end(context.tape);
    return seen;
}

// ---- rows on the host ----------------------------------------------------------------------------------------------

static bool needed(const flow_model *model) {
    return model->embed && model->layer->C > 0;
}

// Rows first to first + B of the picked ones, into where the layers look for them.
static ad_status pass(const flow_model *model, ad_tape *tape, const flow_rows *rows, int64_t first, int64_t B,
                      double *block, double *out) {
    const int64_t C = model->C, E = model->embed->out;
    for (int64_t i = 0; i < B * C; i++) {
        const int64_t r = first + i / C;
        block[i] = flow_source_get(&rows->context, C, rows->index ? rows->index[r] : r, i % C);
    }
    ad_source source = {.data = block, .type = AD_F64, .count = B};
    ad_tape_reset(tape);
    ad_rows set = ad_rows_new(tape, "data");
    ad_rows_set(set, B, first);
    ad_var seen = ad_keep(flow_model_see("embed", model, ad_input(set, ad_shape1(C), &source)));
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(seen, block + B * C, B * E);
    for (int64_t i = 0; status == AD_OK && i < B * E; i++) {
        const int64_t r = first + i / E;
        out[(rows->index ? rows->index[r] : r) * E + i % E] = block[B * C + i];
    }
    return status;
}

ad_status flow_rows_see(const flow_model *model, const flow_rows *rows, int64_t n, flow_rows *seen, ad_error *error) {
    enum { BLOCK = 1024 };
    *seen = *rows;
    if (!needed(model)) return AD_OK;
    const int64_t C = model->C, E = model->embed->out;
    double *out = calloc((size_t)(rows->index ? rows->x.count : n), (size_t)E * sizeof *out);
    double *block = calloc(BLOCK, (size_t)(C + E) * sizeof *block);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_status status = out && block && tape ? AD_OK : ad_fail(error, AD_ENOMEM, "embed: out of memory");
    for (int64_t first = 0; first < n && status == AD_OK; first += BLOCK) {
        status = pass(model, tape, rows, first, n - first < BLOCK ? n - first : BLOCK, block, out);
        if (status != AD_OK) ad_fail(error, status, "%s", ad_tape_message(tape));
    }
    ad_tape_free(tape);
    free(block);
    seen->context = (ad_source){.data = out, .type = AD_F64, .count = rows->x.count};
    if (status != AD_OK) flow_rows_seen_free(model, seen);
    return status;
}

void flow_rows_seen_free(const flow_model *model, flow_rows *seen) {
    if (!needed(model)) return;
    free((void *)(uintptr_t)seen->context.data);
    seen->context.data = NULL;
}
