// teacher.c -- a trained density as the target of another.
#include "internal.h"

static ad_var log_prob(void *arg, ad_var x) {
    return flow_log_prob(arg, x, AD_NONE);
}

optim_target optim_teacher(const flow_model *model) {
    return (optim_target){log_prob, (void *)(uintptr_t)model, "teacher"};
}
