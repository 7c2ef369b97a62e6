// base_gumbel.c -- independent Gumbel densities (of the maximum).
#include "base.h"

static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_neg(ad_add(u, ad_exp(ad_neg(u))));
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    return ad_gumbel(rows, scaled->base.shape, random, stream);
}

static const flow_family family = {log_density, draw};

flow_base *flow_base_gumbel(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&flow_base_gumbel_type, sizeof(flow_scaled), D, C, options, error);
}

const flow_base_type flow_base_gumbel_type = {.name = "gumbel", .family = &family, FLOW_SCALED_CALLS};
