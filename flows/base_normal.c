// base_normal.c -- independent normals of fixed, learned, class-conditional or conditional mean and scale.
#include "base.h"

static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    (void)scaled;
    return ad_offset(ad_scale(ad_square(u), -0.5), -FLOW_HALF_LOG_2PI);
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    return ad_normal(rows, scaled->base.shape, random, stream);
}

static const flow_family family = {log_density, draw};

flow_base *flow_base_normal(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error) {
    return flow_scaled_new(&flow_base_normal_type, sizeof(flow_scaled), D, C, options, error);
}

const flow_base_type flow_base_normal_type = {
    .name = "normal", .family = &family, FLOW_SCALED_CALLS, .center = flow_scaled_center, .noise_power = 1};
