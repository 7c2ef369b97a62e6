// forward_kl.c -- the forward KL divergence from a target to a flow, by self-normalised weights of the flow's draws.
#include "internal.h"

// Normalised weights v, and KL(p || q) = sum v log w - log mean w.
static ad_var normalised(ad_var log_weight, ad_rows rows, ad_var *divergence) {
    ad_var total = ad_logsumexp_rows(log_weight), v = ad_exp(ad_sub(log_weight, total));
    ad_var zero = ad_number(rows.tape, 0);  // 0 log 0 is 0
    ad_var term = ad_where(ad_greater(v, zero), ad_mul(v, log_weight), zero);
    *divergence = ad_sub(ad_sum_rows(term), ad_sub(total, ad_log(ad_row_count(rows))));
    return v;
}

optim_divergence_loss optim_forward_kl(const flow_model *model, const optim_target *target,
                                       const optim_sampling *sampling) {
    if (!optim_check_sampling("optim_forward_kl", model, target, sampling)) return optim_no_loss(sampling);
    flow_draw draw =
        flow_sample_and_log_prob(model, sampling->rows, sampling->random, sampling->stream, sampling->context);
    ad_var x = ad_stop_gradient(draw.value), divergence;
    ad_var log_w = ad_stop_gradient(ad_sub(optim_record_target(target, sampling, x), draw.log_prob));
    ad_var v = normalised(log_w, sampling->rows, &divergence);
    ad_var score = ad_neg(ad_sum_rows(ad_mul(ad_stop_gradient(v), flow_log_prob(model, x, sampling->context))));
    return (optim_divergence_loss){optim_value_and_gradient(divergence, score), log_w};
}

optim_divergence_loss optim_forward_path_kl(const flow_model *model, const optim_target *target,
                                            const optim_sampling *sampling) {
    if (!optim_check_sampling("optim_forward_path_kl", model, target, sampling)) return optim_no_loss(sampling);
    ad_var divergence;
    optim_path path = optim_record_path(model, target, sampling);
    ad_var v = normalised(path.log_weight, sampling->rows, &divergence);
    return (optim_divergence_loss){optim_along(&path, divergence, ad_sub(ad_square(v), v)), path.log_weight};
}
