// note.c -- texts that a model carries, and keeps in its files: names of columns, where its data came from.
#include <stdlib.h>
#include <string.h>

#include "model.h"

static flow_model_note *find(const flow_model *model, const char *key) {
    for (int i = 0; i < model->n_notes; i++) {
        if (strcmp(model->notes[i].key, key) == 0) return &model->notes[i];
    }
    return NULL;
}

const char *flow_note(const flow_model *model, const char *key) {
    const flow_model_note *note = find(model, key);
    return note ? note->text : NULL;
}

const char *flow_note_number(const flow_model *model, int i, const char **key) {
    if (i < 0 || i >= model->n_notes) return NULL;
    *key = model->notes[i].key;
    return model->notes[i].text;
}

ad_status flow_set_note(flow_model *model, const char *key, const char *text, ad_error *error) {
    size_t size = strlen(key);
    if (size < 1 || size > 200) {
        return ad_fail(error, AD_EARG, "note: a key of %zu bytes; expected 1 to 200", size);
    }
    flow_model_note *note = find(model, key);
    if (!note) {
        flow_model_note *more = realloc(model->notes, ((size_t)model->n_notes + 1) * sizeof *more);
        char *copy = more ? strdup(key) : NULL;
        if (more) model->notes = more;
        if (!copy) return ad_fail(error, AD_ENOMEM, "note: out of memory");
        note = &model->notes[model->n_notes];
        *note = (flow_model_note){copy, NULL};
    }
    char *copy = strdup(text);
    if (!copy) {
        if (!note->text) free(note->key);
        return ad_fail(error, AD_ENOMEM, "note: out of memory");
    }
    if (!note->text) model->n_notes++;
    free(note->text);
    note->text = copy;
    return AD_OK;
}

void flow_notes_free(flow_model *model) {
    for (int i = 0; i < model->n_notes; i++) {
        free(model->notes[i].key);
        free(model->notes[i].text);
    }
    free(model->notes);
}
