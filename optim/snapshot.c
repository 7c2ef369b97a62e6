// snapshot.c -- a copy of a model's tensors, to go back to.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct optim_snapshot {
    const flow_model *model;
    char *bytes;
};

static size_t tensor_bytes(const flow_tensor *t) {
    ad_type type = t->param ? t->param->type : t->state->type;
    return (size_t)(t->param ? t->param->count : t->state->count) * ad_type_size(type);
}

static void copy(const optim_snapshot *snapshot, bool restore) {
    int n;
    const flow_tensor *t = flow_tensors(snapshot->model, &n);
    char *at = snapshot->bytes;
    for (int i = 0; i < n; i++) {
        void *data = t[i].param ? t[i].param->data : t[i].state->data;
        size_t bytes = tensor_bytes(&t[i]);
        memcpy(restore ? data : at, restore ? at : data, bytes);
        at += bytes;
    }
}

optim_snapshot *optim_snapshot_new(const flow_model *model) {
    int n;
    size_t bytes = 1;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) bytes += tensor_bytes(&t[i]);
    optim_snapshot *snapshot = malloc(sizeof *snapshot);
    if (!snapshot) return NULL;
    *snapshot = (optim_snapshot){model, malloc(bytes)};
    if (snapshot->bytes) {
        optim_snapshot_take(snapshot);
        return snapshot;
    }
    free(snapshot);
    return NULL;
}

void optim_snapshot_take(optim_snapshot *snapshot) {
    copy(snapshot, false);
}
void optim_snapshot_restore(const optim_snapshot *snapshot) {
    copy(snapshot, true);
}

void optim_snapshot_free(optim_snapshot *snapshot) {
    if (!snapshot) return;
    free(snapshot->bytes);
    free(snapshot);
}

bool optim_snapshot_kept(const optim_snapshot *snapshot, int i, optim_kept *kept) {
    int n;
    const flow_tensor *t = flow_tensors(snapshot->model, &n);
    if (i >= n) return false;
    char *at = snapshot->bytes;
    for (int k = 0; k < i; k++) at += tensor_bytes(&t[k]);
    const ad_type type = t[i].param ? t[i].param->type : t[i].state->type;
    *kept = (optim_kept){type, (int64_t)(tensor_bytes(&t[i]) / ad_type_size(type)), at};
    return true;
}
