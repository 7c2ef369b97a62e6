// reverse_kl.c -- the reverse KL divergence from a flow to a target, by its own draws: plain, and along their path.
#include "internal.h"

optim_divergence_loss optim_reverse_kl(const flow_model *model, const optim_target *target,
                                       const optim_sampling *sampling) {
    if (!optim_check_sampling("optim_reverse_kl", model, target, sampling)) return optim_no_loss(sampling);
    flow_draw draw =
        flow_sample_and_log_prob(model, sampling->rows, sampling->random, sampling->stream, sampling->context);
    ad_var log_w = ad_sub(optim_record_target(target, sampling, draw.value), draw.log_prob);
    return (optim_divergence_loss){ad_neg(ad_mean_rows(log_w)), log_w};
}

optim_divergence_loss optim_path_kl(const flow_model *model, const optim_target *target,
                                    const optim_sampling *sampling) {
    if (!optim_check_sampling("optim_path_kl", model, target, sampling)) return optim_no_loss(sampling);
    optim_path path = optim_record_path(model, target, sampling);
    ad_var share = ad_neg(ad_reciprocal(ad_row_count(sampling->rows)));
    ad_var value = ad_neg(ad_mean_rows(path.log_weight));
    return (optim_divergence_loss){optim_along(&path, value, share), path.log_weight};
}
