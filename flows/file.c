// file.c -- models in safetensors files: tensors by name, the model's own description beside them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "model.h"

// In the metadata of a file; the value is JSON with this version.
#define KEY "flow_model"
#define NOTE "note."  // before the keys of notes
enum { VERSION = 1 };

static json_t *to_json(const flow_model *model) {
    // A member that is NULL is left out.
    json_t *json = json_pack("{s:i, s:s*, s:o, s:o}", "version", VERSION, "text", model->text, "layer",
                             flow_describe_layer(model->layer), "base", flow_describe_base(model->base));
    return model->embed ? flow_json_with(json, "embed", flow_describe_net(model->embed)) : json;
}

char *flow_describe(const flow_model *model) {
    json_t *json = to_json(model);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static ad_type tensor_type(const flow_tensor *t) {
    return t->param ? t->param->type : t->state->type;
}
static ad_shape tensor_shape(const flow_tensor *t) {
    return t->param ? t->param->shape : t->state->shape;
}
static void *tensor_data(const flow_tensor *t) {
    return t->param ? t->param->data : t->state->data;
}
static size_t tensor_bytes(const flow_tensor *t) {
    return (size_t)(t->param ? t->param->count : t->state->count) * ad_type_size(tensor_type(t));
}

// The description and all notes; the keys of notes, which are new texts, lie behind the array.
static data_meta *make_meta(const flow_model *model, const char *description) {
    const size_t n = (size_t)model->n_notes, room = sizeof NOTE + 200;
    data_meta *meta = calloc(1, (n + 1) * sizeof *meta + n * room);
    if (!meta) return NULL;
    char *keys = (char *)(meta + n + 1);
    meta[0] = (data_meta){KEY, description};
    for (size_t i = 0; i < n; i++, keys += room) {
        snprintf(keys, room, NOTE "%s", model->notes[i].key);
        meta[i + 1] = (data_meta){keys, model->notes[i].text};
    }
    return meta;
}

static ad_status read_notes(flow_model *model, const data_tensors *file, ad_error *error) {
    ad_status status = AD_OK;
    for (int64_t i = 0; i < file->n_meta && status == AD_OK; i++) {
        const char *key = file->meta[i].key;
        if (strncmp(key, NOTE, sizeof NOTE - 1) != 0) continue;
        status = flow_set_note(model, key + sizeof NOTE - 1, file->meta[i].value, error);
    }
    return status;
}

ad_status flow_save(const flow_model *model, const char *path, ad_error *error) {
    char *text = flow_describe(model);
    data_tensor *tensors = calloc((size_t)model->n_tensors + 1, sizeof *tensors);
    data_meta *meta = make_meta(model, text);
    ad_status status;
    if (text && tensors && meta) {
        for (int i = 0; i < model->n_tensors; i++) {
            const flow_tensor *t = &model->tensors[i];
            tensors[i] = (data_tensor){t->name, tensor_type(t), tensor_shape(t), tensor_data(t)};
        }
        data_tensors all = {.tensor = tensors, .n = model->n_tensors, .meta = meta, .n_meta = model->n_notes + 1};
        status = data_save_tensors(path, &all, error);
    } else {
        status = ad_fail(error, AD_ENOMEM, "%s: out of memory", path);
    }
    free(meta);
    free(tensors);
    free(text);
    return status;
}

// ---- loading ------------------------------------------------------------------------------------------------------

// Puts the file's name before a message made without knowing it.
static void name_file(const char *path, ad_error *error) {
    if (!error || strncmp(error->message, path, strlen(path)) == 0) return;
    ad_error copy = *error;
    ad_fail(error, copy.status, "%s: %s", path, copy.message);
}

// The line a model was made from is a comment: layer and base tell what it is now.
static bool keep_text(flow_model *model, const json_t *text, ad_error *error) {
    if (!text) return true;
    if (!json_is_string(text) || json_string_length(text) > FLOW_MOST_TEXT) {
        ad_fail(error, AD_EFORMAT, "\"text\" of the model should be a text of at most %d characters", FLOW_MOST_TEXT);
        return false;
    }
    if (flow_model_set_text(model, json_string_value(text))) return true;
    ad_fail(error, AD_ENOMEM, "model: out of memory");
    return false;
}

static flow_model *from_json(const char *text, int64_t elements, const flow_load_options *options, ad_error *error) {
    json_error_t where;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json) {
        ad_fail(error, AD_EFORMAT, "the model's description is not JSON: %s", where.text);
        return NULL;
    }
    flow_model *model = NULL;
    const json_t *version = json_object_get(json, "version");
    if (!json_is_integer(version) || json_integer_value(version) != VERSION) {
        ad_fail(error, AD_EFORMAT, "model of version %lld; this library reads version %d",
                (long long)json_integer_value(version), (int)VERSION);
    } else {
        flow_load_options none = {.types = NULL}, o = options ? *options : none;
        flow_making making = {o.types, o.nets, o.bases, &elements, o.transformers};
        flow_layer *layer = flow_make_layer(json_object_get(json, "layer"), &making, error);
        flow_base *base = layer ? flow_make_base(json_object_get(json, "base"), &making, error) : NULL;
        model = flow_model_new(layer, base, error);
        const json_t *embed = json_object_get(json, "embed");
        if (model && embed) model = flow_embed(model, flow_make_net(embed, &making, error), error);
        if (model && !keep_text(model, json_object_get(json, "text"), error)) {
            flow_model_free(model);
            model = NULL;
        }
    }
    json_decref(json);
    return model;
}

static ad_status fill(const flow_tensor *t, const data_tensors *file, ad_error *error) {
    char got[96], want[96];
    const data_tensor *found = data_find_tensor(file, t->name);
    if (!found) return ad_fail(error, AD_EFORMAT, "tensor '%s' is missing", t->name);
    if (!ad_shape_equal(found->shape, tensor_shape(t))) {
        return ad_fail(error, AD_EFORMAT, "tensor '%s' is %s, expected %s", t->name,
                       ad_shape_print(found->shape, got, sizeof got),
                       ad_shape_print(tensor_shape(t), want, sizeof want));
    }
    if (found->type != tensor_type(t)) {
        return ad_fail(error, AD_EFORMAT, "tensor '%s' is %s, expected %s", t->name, flow_type_text(found->type),
                       flow_type_text(tensor_type(t)));
    }
    memcpy(tensor_data(t), found->data, tensor_bytes(t));
    return AD_OK;
}

// A tensor the model does not have means that the description is not this file's.
static ad_status fill_all(const flow_model *model, const data_tensors *file, ad_error *error) {
    if (file->n != model->n_tensors) {
        for (int i = 0; i < model->n_tensors; i++) {
            if (!data_find_tensor(file, model->tensors[i].name)) return fill(&model->tensors[i], file, error);
        }
        return ad_fail(error, AD_EFORMAT, "%lld tensors, but the model described has %d", (long long)file->n,
                       model->n_tensors);
    }
    ad_status status = AD_OK;
    for (int i = 0; i < model->n_tensors && status == AD_OK; i++) status = fill(&model->tensors[i], file, error);
    return status;
}

flow_model *flow_load(const char *path, const flow_load_options *options, ad_error *error) {
    data_tensors *file = data_load_tensors(path, error);
    if (!file) return NULL;
    const char *text = data_find_meta(file, KEY);
    flow_model *model = NULL;
    if (!text) {
        ad_fail(error, AD_EFORMAT, "%s: no \"" KEY "\" in its metadata: not a model written by flow_save", path);
    } else {
        // What the file holds and as much again: a model that lacks a tensor is made, to say which.
        int64_t elements = 1 << 16;
        for (int64_t i = 0; i < file->n; i++) elements += 2 * ad_shape_count(file->tensor[i].shape);
        model = from_json(text, elements, options, error);
        if (model && (fill_all(model, file, error) != AD_OK || read_notes(model, file, error) != AD_OK)) {
            flow_model_free(model);
            model = NULL;
        }
        if (!model) name_file(path, error);
    }
    data_tensors_free(file);
    return model;
}
