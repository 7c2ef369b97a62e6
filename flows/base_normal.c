// base_normal.c -- independent normals of fixed, learned, class-conditional or conditional mean and scale.
#include "base.h"

static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_offset(ad_scale(ad_square(u), -0.5), -FLOW_HALF_LOG_2PI);
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    return ad_normal(rows, scaled->base.shape, random, stream);
}

static const flow_family family = {&flow_base_normal_type, log_density, draw};

flow_base *flow_base_normal(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&family, sizeof(flow_scaled), D, C, options, error);
}

static flow_base *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_scaled_make(&family, options, making, error);
}
static flow_base *example(int i, ad_error *error) {
    return flow_scaled_example(&family, i, error);
}

const flow_base_type flow_base_normal_type = {.name = "normal",
                                              .log_prob = flow_scaled_log_prob,
                                              .sample = flow_scaled_sample,
                                              .describe = flow_scaled_describe,
                                              .make = make,
                                              .example = example,
                                              .center = flow_scaled_center,
                                              .noise_power = 1};
