// model.h -- what a model holds.
#ifndef FLOWS_MODEL_H
#define FLOWS_MODEL_H

#include "internal.h"

typedef struct flow_model_note {
    char *key, *text;
} flow_model_note;

struct flow_model {
    flow_layer *layer;
    flow_base *base;
    int64_t C;             // context features of either; 0: none
    flow_tensor *tensors;  // [n_tensors], names owned
    ad_param **params;     // [n_params], those of tensors
    int n_tensors, n_params;
    char *text;  // the line it was made from; or NULL
    flow_model_note *notes;  // [n_notes], texts owned
    int n_notes;
};

enum { FLOW_MOST_TEXT = 1000 };  // characters of such a line
// The model with another base density. Owns both, on failure too.
flow_model *flow_model_rebase(flow_model *model, flow_base *base, ad_error *error);
// Keeps a copy of the text; false: out of memory.
bool flow_model_set_text(flow_model *model, const char *text);

void flow_notes_free(flow_model *model);

#endif
