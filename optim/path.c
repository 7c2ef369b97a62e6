// path.c -- draws of a model beside a target, and gradients along the way they depend on parameters.
#include "internal.h"

bool optim_check_sampling(const char *who, const flow_model *model, const optim_target *target,
                          const optim_sampling *sampling) {
    ad_tape *tape = sampling->rows.tape;
    if (!tape) return false;
    if (!model || !target || !target->log_prob || !sampling->random) {
        ad_tape_fail(tape, AD_EARG, "%s: needs a model, a target with its log_prob, and a random", who);
        return false;
    }
    return true;
}

optim_divergence_loss optim_no_loss(const optim_sampling *sampling) {
    ad_var none = {sampling->rows.tape, UINT32_MAX, 0};
    return (optim_divergence_loss){none, none};
}

ad_var optim_record_target(const optim_target *target, const optim_sampling *sampling, ad_var x) {
    ad_scope(x.tape, target->name ? target->name : "target", -1);
    ad_var log_p = target->log_prob(target->arg, x);
    if (ad_ok(log_p) && ad_shape_of(log_p).rank != 0) {
        char shape[96];
        ad_tape_fail(x.tape, AD_ESHAPE, "log_prob gives %s; expected [] per row",
                     ad_shape_print(ad_shape_of(log_p), shape, sizeof shape));
    }
    ad_scope_end(x.tape);
    return ad_is_none(sampling->beta) ? log_p : ad_mul(sampling->beta, log_p);
}

// The model's density is taken at draws that no longer depend on parameters; its own log_prob keeps theirs out of the
// slope, which is a derivative in the draws alone.
optim_path optim_record_path(const flow_model *model, const optim_target *target, const optim_sampling *sampling) {
    flow_draw draw =
        flow_sample_and_log_prob(model, sampling->rows, sampling->random, sampling->stream, sampling->context);
    ad_var x = ad_stop_gradient(draw.value), slope;
    ad_var log_p = optim_record_target(target, sampling, x);
    ad_var log_w = ad_sub(log_p, flow_log_prob(model, x, sampling->context));
    ad_grad(log_w, &x, 1, &slope);
    return (optim_path){draw.value, ad_stop_gradient(ad_sub(log_p, draw.log_prob)), ad_stop_gradient(slope)};
}

ad_var optim_value_and_gradient(ad_var value, ad_var other) {
    return ad_add(ad_stop_gradient(ad_sub(value, other)), other);
}

ad_var optim_along(const optim_path *path, ad_var value, ad_var coefficient) {
    ad_var moved = ad_mul(ad_stop_gradient(coefficient), ad_sum(ad_mul(path->slope, path->x)));
    // Its own value is taken away row by row, so that no large numbers cancel.
    return ad_add(ad_stop_gradient(value), ad_sum_rows(ad_sub(moved, ad_stop_gradient(moved))));
}
