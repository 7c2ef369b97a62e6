// base_tempered.c -- a base density to the power 1/T^2, normalised: what sampling at temperature T means.
//
// For a normal that is its noise times T (Kingma and Dhariwal 2018, section 6.1), for a Laplace density times T^2, for
// a uniform one nothing: z = center + T^p (s - center) with s of the base and p the type's noise_power. Densities whose
// power is no scaled copy of themselves have no exact sampler here, and are refused.
#include <math.h>
#include <string.h>

#include "base.h"

typedef struct tempered {
    flow_base base;
    flow_base *inner;  // a part
    double T;
} tempered;

bool flow_can_temper(const flow_base *base, double T, ad_error *error) {
    if (!base->type->center) {
        ad_fail(error, AD_EARG, "tempered: a power of the base density '%s' is no scaled copy of it", base->type->name);
    } else if (!(T >= 1e-6 && T <= 1e6)) {
        ad_fail(error, AD_EARG, "tempered: temperature %g; expected 1e-6 to 1e6", T);
    } else {
        return true;
    }
    return false;
}

ad_var flow_temper_noise(const flow_base *base, double T, ad_var z, ad_var context) {
    double factor = pow(T, base->type->noise_power);
    if (factor == 1) return z;
    ad_var center = base->type->center(base, z.tape, context);
    return ad_add(center, ad_scale(ad_sub(z, center), factor));
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    const tempered *t = (const tempered *)base;
    const flow_base_type *type = t->inner->type;
    double p = type->noise_power;
    ad_var parts[] = {type->log_prob(t->inner, flow_temper_noise(t->inner, 1 / t->T, z, context), context),
                      ad_number(z.tape, -(double)base->shape.dim[0] * p * log(t->T))};
    flow_terms terms = {.n = 0};
    for (int i = 0; i < 2; i++) flow_terms_add(&terms, parts[i]);
    return flow_terms_join(&terms);
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    const tempered *t = (const tempered *)base;
    return flow_temper_noise(t->inner, t->T, t->inner->type->sample(t->inner, rows, random, stream, context), context);
}

flow_base *flow_temper(flow_base *base, double T, ad_error *error) {
    if (!base) return NULL;
    tempered *t = NULL;
    if (base->type == &flow_base_tempered_type) {
        ad_fail(error, AD_EARG, "tempered: the base density is tempered already");
    } else if (flow_can_temper(base, T, error)) {
        t = flow_base_new(&flow_base_tempered_type, sizeof *t, base->shape.dim[0], base->C, error);
    }
    if (!t) {
        flow_base_free(base);
        return NULL;
    }
    t->inner = base;
    t->T = T;
    t->base.low = base->low;
    t->base.high = base->high;
    if (flow_add_part(&t->base.owner, "of", &base->owner, error) == AD_OK) return &t->base;
    flow_base_free(&t->base);
    return NULL;
}

static json_t *describe(const flow_base *base) {
    const tempered *t = (const tempered *)base;
    return json_pack("{s:f, s:o}", "temperature", t->T, "of", flow_describe_base(t->inner));
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    double T;
    const json_t *of = json_object_get(options, "of");
    const char *name = json_string_value(json_object_get(of, "type"));
    if (!flow_json_number(options, "temperature", &T, error)) return NULL;
    if (name && (strcmp(name, type->name) == 0 || strcmp(name, flow_base_folded_type.name) == 0)) {
        ad_fail(error, AD_EFORMAT, "tempered: of a %s base density", name);  // would nest as deep as a file likes
        return NULL;
    }
    return flow_temper(flow_make_base(of, making, error), T, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    static const flow_base_type *const types[] = {&flow_standard_normal_type, &flow_base_normal_type,
                                                  &flow_base_laplace_type, &flow_base_full_type, &flow_base_pca_type};
    return flow_temper(types[i % 5]->example(types[i % 5], i, error), 0.5 + i % 3 * 0.4, error);
}

const flow_base_type flow_base_tempered_type = {
    .name = "tempered", .log_prob = log_prob, .sample = sample, .describe = describe, .make = make, .example = example};
