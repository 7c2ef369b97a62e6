// alpha_divergence.c -- bounds of log Z by powers of importance weights, with doubly-reparameterised gradients.
#include <math.h>

#include "internal.h"

// Gradient of L (Tucker et al. 2019, section 6, for the bound of Li and Turner 2016): d L = sum v (d log w, score and
// path); the score's part, reparameterised once more, is - sum (1 - alpha) v (1 - v) d log w / dx dx.
optim_divergence_loss optim_alpha_divergence(const flow_model *model, const optim_target *target,
                                             const optim_sampling *sampling, double alpha) {
    if (alpha == 1) return optim_path_kl(model, target, sampling);
    if (!optim_check_sampling("optim_alpha_divergence", model, target, sampling)) return optim_no_loss(sampling);
    if (!isfinite(alpha)) {
        ad_tape_fail(sampling->rows.tape, AD_EARG, "optim_alpha_divergence: alpha is %g", alpha);
        return optim_no_loss(sampling);
    }
    const double power = 1 - alpha, sign = alpha < 0 ? 1 : -1;
    optim_path path = optim_record_path(model, target, sampling);
    ad_var scaled = ad_scale(path.log_weight, power), total = ad_logsumexp_rows(scaled);
    ad_var v = ad_exp(ad_sub(scaled, total));
    ad_var bound = ad_scale(ad_sub(total, ad_log(ad_row_count(sampling->rows))), sign / power);
    ad_var coefficient = ad_add(ad_scale(v, sign * alpha), ad_scale(ad_square(v), sign * power));
    return (optim_divergence_loss){optim_along(&path, bound, coefficient), path.log_weight};
}
