// base_uniform.c -- the uniform density on a box.
#include <math.h>

#include "internal.h"

// -log(high - low) inside, the edges included; -inf outside, and for NaN.
static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)context;
    ad_var low = ad_number(z.tape, base->low), high = ad_number(z.tape, base->high);
    ad_var inside = ad_mul(ad_greater_equal(z, low), ad_less_equal(z, high));
    return ad_where(inside, ad_number(z.tape, -log(base->high - base->low)), ad_number(z.tape, -(double)INFINITY));
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    ad_var u = ad_uniform(rows, base->shape, random, stream);
    // Rounding may go beyond an edge.
    return ad_clamp(ad_offset(ad_scale(u, base->high - base->low), base->low), base->low, base->high);
}

static ad_var center(const flow_base *base, ad_tape *tape, ad_var context) {
    (void)context;
    return ad_fill(tape, base->shape, base->low / 2 + base->high / 2);
}

flow_base *flow_base_uniform(int64_t D, double low, double high, ad_error *error) {
    if (low == 0 && high == 0) high = 1;
    if (!(low < high) || !(high - low < 1e30) || !(high - low > 1e-30)) {
        ad_fail(error, AD_EARG, "uniform: from %g to %g; expected low < high, 1e-30 to 1e30 apart", low, high);
        return NULL;
    }
    flow_base *base = flow_base_new(&flow_base_uniform_type, sizeof *base, D, 0, error);
    if (!base) return NULL;
    base->low = low;
    base->high = high;
    return base;
}

static json_t *describe(const flow_base *base) {
    return json_pack("{s:I, s:f, s:f}", "features", (json_int_t)base->shape.dim[0], "low", base->low, "high",
                     base->high);
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type, (void)making;
    int64_t D;
    double low, high;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_number(options, "low", &low, error) || !flow_json_number(options, "high", &high, error)) {
        return NULL;
    }
    return flow_base_uniform(D, low, high, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    return flow_base_uniform(1 + i % 4, i % 3 ? -i : 0, i % 3 ? 0.5 * i : 0, error);
}

const flow_base_type flow_base_uniform_type = {.name = "uniform",
                                               .log_prob = log_prob,
                                               .sample = sample,
                                               .describe = describe,
                                               .make = make,
                                               .example = example,
                                               .center = center,
                                               .noise_power = 0};
