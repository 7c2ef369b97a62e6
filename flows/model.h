// model.h -- what a model holds.
#ifndef FLOWS_MODEL_H
#define FLOWS_MODEL_H

#include "internal.h"

struct flow_model {
    flow_layer *layer;
    flow_base *base;
    int64_t C;             // context features of either; 0: none
    flow_tensor *tensors;  // [n_tensors], names owned
    ad_param **params;     // [n_params], those of tensors
    int n_tensors, n_params;
};

#endif
