// base_gumbel.c -- independent Gumbel densities (of the maximum).
#include "base.h"

static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_neg(ad_add(u, ad_exp(ad_neg(u))));
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    return ad_gumbel(rows, scaled->base.shape, random, stream);
}

static const flow_family family = {&flow_base_gumbel_type, log_density, draw};

flow_base *flow_base_gumbel(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&family, sizeof(flow_scaled), D, C, options, error);
}

static flow_base *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_scaled_make(&family, options, making, error);
}
static flow_base *example(int i, ad_error *error) {
    return flow_scaled_example(&family, i, error);
}

const flow_base_type flow_base_gumbel_type = {.name = "gumbel",
                                              .log_prob = flow_scaled_log_prob,
                                              .sample = flow_scaled_sample,
                                              .describe = flow_scaled_describe,
                                              .make = make,
                                              .example = example};
