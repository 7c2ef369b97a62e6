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

static const flow_family family = {log_density, draw};

flow_base *flow_base_laplace(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&flow_base_laplace_type, sizeof(flow_scaled), D, C, options, error);
}

const flow_base_type flow_base_laplace_type = {
    .name = "laplace", .family = &family, FLOW_SCALED_CALLS, .center = flow_scaled_center, .noise_power = 2};
