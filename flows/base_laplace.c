// base_laplace.c -- independent Laplace densities.
#include "base.h"

static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_offset(ad_neg(ad_abs(u)), -0.69314718055994530942);  // log 2
}

// Sign and size apart, so that both tails are as fine as the exponential's.
static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    ad_shape shape = scaled->base.shape;
    return ad_mul(ad_rademacher(rows, shape, random, flow_stream(stream, 1)),
                  ad_exponential(rows, shape, random, stream));
}

static const flow_family family = {&flow_base_laplace_type, log_density, draw};

flow_base *flow_base_laplace(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&family, sizeof(flow_scaled), D, C, options, error);
}

static flow_base *make(const json_t *options, const flow_making *making, ad_error *error) {
    return flow_scaled_make(&family, options, making, error);
}
static flow_base *example(int i, ad_error *error) {
    return flow_scaled_example(&family, i, error);
}

const flow_base_type flow_base_laplace_type = {.name = "laplace",
                                               .log_prob = flow_scaled_log_prob,
                                               .sample = flow_scaled_sample,
                                               .describe = flow_scaled_describe,
                                               .make = make,
                                               .example = example,
                                               .center = flow_scaled_center,
                                               .noise_power = 2};
