// model.c -- layer and base density as one density: recorded, sampled, its tensors listed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

// ---- tensors ------------------------------------------------------------------------------------------------------

static int count_tensors(const flow_owner *owner) {
    int n = owner->n_params + owner->n_states;
    for (int i = 0; i < owner->n_parts; i++) n += count_tensors(owner->parts[i].owner);
    return n;
}

static char *join_name(const char *prefix, const char *name) {
    size_t size = strlen(prefix) + strlen(name) + 2;
    char *joined = malloc(size);
    if (joined) snprintf(joined, size, "%s.%s", prefix, name);
    return joined;
}

static bool list_one(flow_model *model, const char *prefix, const char *name, ad_param *param, ad_state *state) {
    char *joined = join_name(prefix, name);
    if (!joined) return false;
    if (param) model->params[model->n_params++] = param;
    model->tensors[model->n_tensors++] = (flow_tensor){joined, param, state};
    return true;
}

static bool list(flow_model *model, const char *prefix, const flow_owner *owner) {
    bool ok = true;
    for (int i = 0; ok && i < owner->n_params; i++) {
        ok = list_one(model, prefix, owner->params[i]->name, owner->params[i], NULL);
    }
    for (int i = 0; ok && i < owner->n_states; i++) {
        ok = list_one(model, prefix, owner->states[i]->name, NULL, owner->states[i]);
    }
    for (int i = 0; ok && i < owner->n_parts; i++) {
        char *inner = join_name(prefix, owner->parts[i].name);
        ok = inner && list(model, inner, owner->parts[i].owner);
        free(inner);
    }
    return ok;
}

static void free_list(flow_model *model) {
    for (int i = 0; i < model->n_tensors; i++) free((char *)(uintptr_t)model->tensors[i].name);
    free(model->tensors);
    free(model->params);
    model->n_tensors = model->n_params = 0;
}

bool flow_model_list(flow_model *model) {
    const flow_owner *embed = model->embed ? &model->embed->owner : NULL;
    size_t n = (size_t)(count_tensors(&model->layer->owner) + count_tensors(&model->base->owner));
    if (embed) n += (size_t)count_tensors(embed);
    free_list(model);
    model->tensors = calloc(n + 1, sizeof *model->tensors);
    model->params = calloc(n + 1, sizeof *model->params);
    return model->tensors && model->params && list(model, "flow", &model->layer->owner) &&
           list(model, "base", &model->base->owner) && (!embed || list(model, "embed", embed));
}

ad_param *const *flow_params(const flow_model *model, int *n) {
    *n = model->n_params;
    return model->params;
}

const flow_tensor *flow_tensors(const flow_model *model, int *n) {
    *n = model->n_tensors;
    return model->tensors;
}

int64_t flow_param_count(const flow_model *model) {
    int64_t n = 0;
    for (int i = 0; i < model->n_params; i++) n += model->params[i]->count;
    return n;
}

// ---- life ---------------------------------------------------------------------------------------------------------

static bool fits(const flow_layer *layer, const flow_base *base, ad_error *error) {
    char z[96], b[96];
    if (!ad_shape_equal(layer->z_shape, base->shape)) {
        ad_fail(error, AD_ESHAPE, "model: the layer's latent rows are %s, but the base density's are %s",
                ad_shape_print(layer->z_shape, z, sizeof z), ad_shape_print(base->shape, b, sizeof b));
        return false;
    }
    if (layer->C && base->C && layer->C != base->C) {
        ad_fail(error, AD_ESHAPE, "model: the layer takes a context of %lld, the base density of %lld",
                (long long)layer->C, (long long)base->C);
        return false;
    }
    return true;
}

flow_model *flow_model_new(flow_layer *layer, flow_base *base, ad_error *error) {
    bool fit = layer && base && fits(layer, base, error);  // NULL: *error tells of the constructor that failed
    flow_model *model = fit ? calloc(1, sizeof *model) : NULL;
    if (!model) {
        if (fit) ad_fail(error, AD_ENOMEM, "model: out of memory");
        flow_layer_free(layer);
        flow_base_free(base);
        return NULL;
    }
    *model = (flow_model){.layer = layer, .base = base, .C = layer->C ? layer->C : base->C};
    if (flow_model_list(model)) return model;
    ad_fail(error, AD_ENOMEM, "model: out of memory");
    flow_model_free(model);
    return NULL;
}

void flow_model_free(flow_model *model) {
    if (!model) return;
    free_list(model);
    free(model->text);
    flow_notes_free(model);
    flow_layer_free(model->layer);
    flow_base_free(model->base);
    flow_net_free(model->embed);
    free(model);
}

ad_shape flow_model_shape(const flow_model *model) {
    return model->layer->x_shape;
}
int64_t flow_model_context(const flow_model *model) {
    return model->C;
}
flow_layer *flow_model_layer(const flow_model *model) {
    return model->layer;
}
flow_base *flow_model_base(const flow_model *model) {
    return model->base;
}
const char *flow_model_text(const flow_model *model) {
    return model->text;
}

flow_model *flow_model_rebase(flow_model *model, flow_base *base, ad_error *error) {
    flow_layer *layer = model->layer;
    model->layer = NULL;
    flow_model_free(model);
    return flow_model_new(layer, base, error);
}

bool flow_model_set_text(flow_model *model, const char *text) {
    free(model->text);
    model->text = strdup(text);
    return model->text != NULL;
}

ad_status flow_init_from_data(flow_model *model, const flow_rows *rows, ad_error *error) {
    flow_layer *layer = model->layer;
    if (layer->initialised) return AD_OK;
    flow_used_rows used;
    ad_status status = flow_use_rows(&used, model, rows, error);
    flow_rows seen;
    if (status == AD_OK) status = flow_rows_see(model, &used.rows, used.n, &seen, error);
    if (status == AD_OK) {
        status = flow_init_layer(layer, FLOW_NORMALIZE, &seen, error);
        flow_rows_seen_free(model, &seen);
    }
    flow_used_rows_free(&used);
    return status;
}

static void set_step(flow_owner *owner, uint64_t step) {
    if (owner->random) owner->random->step = step;
    for (int i = 0; i < owner->n_parts; i++) set_step(owner->parts[i].owner, step);
}

void flow_set_step(flow_model *model, uint64_t step) {
    set_step(&model->layer->owner, step);
    set_step(&model->base->owner, step);
    if (model->embed) set_step(&model->embed->owner, step);
}

// ---- recording ----------------------------------------------------------------------------------------------------

static bool check(const char *who, const flow_model *model, ad_var v, ad_var context, bool latent) {
    return flow_check_call(who, v, latent ? model->layer->z_shape : model->layer->x_shape, context, model->C);
}

static flow_result both(const char *who, const flow_model *model, flow_direction direction, ad_var v, ad_var context) {
    if (!check(who, model, v, context, direction == FLOW_GENERATE)) {
        return (flow_result){flow_inert(v), flow_inert(v)};
    }
    return flow_record_whole(model->layer, direction, v, flow_model_see(who, model, context));
}

flow_result flow_normalize(const flow_model *model, ad_var x, ad_var context) {
    return both("flow_normalize", model, FLOW_NORMALIZE, x, context);
}

flow_result flow_generate(const flow_model *model, ad_var z, ad_var context) {
    return both("flow_generate", model, FLOW_GENERATE, z, context);
}

// Terms of the base density of z; context as the base sees it, here and below.
static ad_var base_terms(const flow_model *model, ad_var z, ad_var context) {
    ad_scope(z.tape, model->base->type->name, -1);
    ad_var terms = model->base->type->log_prob(model->base, z, model->base->C ? context : AD_NONE);
    ad_scope_end(z.tape);
    return terms;
}

ad_var flow_log_prob(const flow_model *model, ad_var x, ad_var context) {
    if (!check("flow_log_prob", model, x, context, false)) return flow_inert(x);
    context = flow_model_see("flow_log_prob", model, context);
    flow_result z = flow_record(model->layer, FLOW_NORMALIZE, -1, x, context);
    flow_terms terms = {.n = 0};
    flow_terms_add(&terms, z.log_det);
    flow_terms_add(&terms, base_terms(model, z.value, context));
    return flow_terms_sum(&terms, x);
}

static ad_var sample_base(const flow_model *model, ad_rows rows, const ad_random *random, uint32_t stream,
                          ad_var context) {
    ad_scope(rows.tape, model->base->type->name, -1);
    ad_var z = model->base->type->sample(model->base, rows, random, stream, model->base->C ? context : AD_NONE);
    ad_scope_end(rows.tape);
    return z;
}

ad_var flow_sample(const flow_model *model, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    ad_var seen = flow_model_see("flow_sample", model, context);
    ad_var z = sample_base(model, rows, random, stream, seen);
    if (!check("flow_sample", model, z, context, true)) return flow_inert(z);
    return flow_record(model->layer, FLOW_GENERATE, -1, z, seen).value;
}

ad_var flow_sample_tempered(const flow_model *model, double T, ad_rows rows, const ad_random *random, uint32_t stream,
                            ad_var context) {
    ad_error error;
    ad_var seen = flow_model_see("flow_sample_tempered", model, context);
    ad_var z = sample_base(model, rows, random, stream, seen);
    if (!check("flow_sample_tempered", model, z, context, true)) return flow_inert(z);
    if (!flow_can_temper(model->base, T, &error)) {
        ad_tape_fail(z.tape, error.status, "flow_sample_tempered: %s", error.message);
        return flow_inert(z);
    }
    z = flow_temper_noise(model->base, T, z, model->base->C ? seen : AD_NONE);
    return flow_record(model->layer, FLOW_GENERATE, -1, z, seen).value;
}

flow_draw flow_sample_and_log_prob(const flow_model *model, ad_rows rows, const ad_random *random, uint32_t stream,
                                   ad_var context) {
    ad_var seen = flow_model_see("flow_sample_and_log_prob", model, context);
    ad_var z = sample_base(model, rows, random, stream, seen);
    if (!check("flow_sample_and_log_prob", model, z, context, true)) return (flow_draw){flow_inert(z), flow_inert(z)};
    flow_result x = flow_record(model->layer, FLOW_GENERATE, -1, z, seen);
    flow_terms terms = {.n = 0};
    if (!ad_is_none(x.log_det)) flow_terms_add(&terms, ad_neg(x.log_det));
    flow_terms_add(&terms, base_terms(model, z, seen));
    return (flow_draw){x.value, flow_terms_sum(&terms, z)};
}
