// base_logistic.c -- independent logistic densities, the base of NICE (Dinh et al. 2015).
#include "base.h"

// -u - 2 log(1 + e^-u) = log sigmoid(u) + log sigmoid(-u): one of them is small, neither overflows.
static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_add(ad_log_sigmoid(u), ad_log_sigmoid(ad_neg(u)));
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    return ad_logistic(rows, scaled->base.shape, random, stream);
}

static const flow_family family = {log_density, draw};

flow_base *flow_base_logistic(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&flow_base_logistic_type, sizeof(flow_scaled), D, C, options, error);
}

const flow_base_type flow_base_logistic_type = {.name = "logistic", .family = &family, FLOW_SCALED_CALLS};
