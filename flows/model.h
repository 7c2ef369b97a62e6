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
    flow_net *embed;       // [C] -> what layer and base take as context; NULL: they see it as it is
    int64_t C;             // context features; 0: none
    flow_tensor *tensors;  // [n_tensors], names owned
    ad_param **params;     // [n_params], those of tensors
    int n_tensors, n_params;
    char *text;  // the line it was made from; or NULL
    flow_model_note *notes;  // [n_notes], texts owned
    int n_notes;
};

enum { FLOW_MOST_TEXT = 1000 };  // characters of such a line
// The model, not embedded yet, with another base density. Owns both, on failure too.
flow_model *flow_model_rebase(flow_model *model, flow_base *base, ad_error *error);
// Keeps a copy of the text; false: out of memory.
bool flow_model_set_text(flow_model *model, const char *text);

// Lists the tensors anew; false: out of memory.
bool flow_model_list(flow_model *model);

// A context as layer and base see it; AD_NONE as it is.
ad_var flow_model_see(const char *who, const flow_model *model, ad_var context);
// The same of the first n picked rows, on the host. Free with flow_rows_seen_free.
ad_status flow_rows_see(const flow_model *model, const flow_rows *rows, int64_t n, flow_rows *seen, ad_error *error);
void flow_rows_seen_free(const flow_model *model, flow_rows *seen);

void flow_notes_free(flow_model *model);

#endif
