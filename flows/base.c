// base.c -- the standard normal base density. And any base: made, freed, recorded on its own.
#include <stdlib.h>

#include "internal.h"

void *flow_base_new(const flow_base_type *type, size_t size, int64_t D, int64_t C, ad_error *error) {
    if (D < 1 || D > FLOW_MAX_FEATURES || C < 0 || C > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "%s: %lld features and %lld of context; expected 1 to 2^24 and 0 to 2^24", type->name,
                (long long)D, (long long)C);
        return NULL;
    }
    flow_base *base = calloc(1, size);
    if (!base) {
        ad_fail(error, AD_ENOMEM, "%s: out of memory", type->name);
        return NULL;
    }
    base->type = type;
    base->shape = ad_shape1(D);
    base->C = C;
    return base;
}

void flow_base_free(flow_base *base) {
    if (base) flow_owner_free(&base->owner);
}

ad_var flow_base_log_prob(const flow_base *base, ad_var z, ad_var context) {
    if (!flow_check_call(base->type->name, z, base->shape, context, base->C)) return flow_inert(z);
    flow_terms terms = {.n = 0};
    ad_scope(z.tape, base->type->name, -1);
    flow_terms_add(&terms, base->type->log_prob(base, z, context));
    ad_scope_end(z.tape);
    return flow_terms_sum(&terms, z);
}

ad_var flow_base_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    ad_scope(rows.tape, base->type->name, -1);
    ad_var z = base->type->sample(base, rows, random, stream, base->C ? context : AD_NONE);
    ad_scope_end(rows.tape);
    return flow_check_call(base->type->name, z, base->shape, context, base->C) ? z : flow_inert(z);
}

// ---- standard normal ----------------------------------------------------------------------------------------------

// One term a feature, so that a model rounds the sum of all its terms once: -z^2/2 - log(2 pi)/2.
static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)base;
    (void)context;
    return ad_offset(ad_scale(ad_square(z), -0.5), -FLOW_HALF_LOG_2PI);
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    return ad_normal(rows, base->shape, random, stream);
}

static ad_var center(const flow_base *base, ad_tape *tape, ad_var context) {
    (void)context;
    return ad_fill(tape, base->shape, 0);
}

static json_t *describe(const flow_base *base) {
    return json_pack("{s:I}", "features", (json_int_t)base->shape.dim[0]);
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type, (void)making;
    int64_t D;
    return flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ? flow_standard_normal(D, error) : NULL;
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    return flow_standard_normal(1 + i % 4, error);
}

flow_base *flow_standard_normal(int64_t D, ad_error *error) {
    return flow_base_new(&flow_standard_normal_type, sizeof(flow_base), D, 0, error);
}

const flow_base_type flow_standard_normal_type = {.name = "standard normal",
                                                  .log_prob = log_prob,
                                                  .sample = sample,
                                                  .describe = describe,
                                                  .make = make,
                                                  .example = example,
                                                  .center = center,
                                                  .noise_power = 1};
