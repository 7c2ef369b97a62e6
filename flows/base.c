// base.c -- the standard normal base density. And any base: freed.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

void flow_base_free(flow_base *base) {
    if (base) flow_owner_free(&base->owner);
}

// One term a feature, so that a model rounds the sum of all its terms once: -z^2/2 - log(2 pi)/2.
static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)base;
    (void)context;
    return ad_offset(ad_scale(ad_square(z), -0.5), -0.91893853320467274178);
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    return ad_normal(rows, base->shape, random, stream);
}

static json_t *describe(const flow_base *base) {
    return json_pack("{s:I}", "features", (json_int_t)base->shape.dim[0]);
}

static flow_base *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t D;
    return flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ? flow_standard_normal(D, error) : NULL;
}

flow_base *flow_standard_normal(int64_t D, ad_error *error) {
    if (D < 1 || D > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "standard normal: %lld features; expected 1 to 2^24", (long long)D);
        return NULL;
    }
    flow_base *base = calloc(1, sizeof *base);
    if (!base) {
        ad_fail(error, AD_ENOMEM, "standard normal: out of memory");
        return NULL;
    }
    base->type = &flow_standard_normal_type;
    base->shape = ad_shape1(D);
    return base;
}

const flow_base_type flow_standard_normal_type = {
    .name = "standard normal", .log_prob = log_prob, .sample = sample, .describe = describe, .make = make};
