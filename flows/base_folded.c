// base_folded.c -- a base density of which some features lose their sign: that of |z_i|, z of another base density.
//
// Two to one, so no bijection, but what a flow may begin with: with R the ways of giving the features signs, log p(|z|)
// = log sum over R of p(R |z|). A square of it is the square of z: of a standard normal a chi-squared number.
#include <math.h>
#include <string.h>

#include "base.h"

enum { MOST_FOLDS = 8 };  // twice the work each

typedef struct folded {
    flow_base base;
    flow_base *inner;                // a part
    int64_t n, feature[MOST_FOLDS];  // ascending
} folded;

// [D]: of feature number k the bit k times value, of features that are not folded 0.
static ad_var spread(const folded *f, ad_tape *tape, int bits, double value) {
    double of[MOST_FOLDS];
    for (int64_t k = 0; k < f->n; k++) of[k] = bits >> k & 1 ? value : 0;
    return ad_scatter_add(ad_constant(tape, ad_shape1(f->n), of), 0, f->feature, f->n, f->base.shape.dim[0]);
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    const folded *f = (const folded *)base;
    const int ways = 1 << f->n;
    ad_var l[1 << MOST_FOLDS];
    for (int bits = 0; bits < ways; bits++) {
        ad_var at = bits ? ad_mul(z, ad_offset(spread(f, z.tape, bits, -2), 1)) : z;
        flow_terms terms = {.n = 0};
        flow_terms_add(&terms, f->inner->type->log_prob(f->inner, at, context));
        l[bits] = flow_terms_sum(&terms, z);
    }
    ad_var least = ad_min(ad_take(z, 0, f->feature, f->n));
    ad_var inside = ad_greater_equal(least, ad_number(z.tape, 0));  // nor is NaN
    return ad_where(inside, ad_logsumexp(ad_stack(l, ways, 0)), ad_number(z.tape, -(double)INFINITY));
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    const folded *f = (const folded *)base;
    ad_var z = f->inner->type->sample(f->inner, rows, random, stream, context);
    return ad_where(spread(f, rows.tape, (1 << f->n) - 1, 1), ad_abs(z), z);
}

// Ascending, within D.
static bool take_features(folded *f, const int64_t *features, int64_t n, int64_t D, ad_error *error) {
    if (!features) n = D;
    if (n < 1 || n > MOST_FOLDS) {
        ad_fail(error, AD_EARG, "folded: %lld features; expected 1 to %d of them", (long long)n, MOST_FOLDS);
        return false;
    }
    f->n = n;
    for (int64_t k = 0; k < n; k++) {
        f->feature[k] = features ? features[k] : k;
        if (f->feature[k] > (k ? f->feature[k - 1] : -1) && f->feature[k] < D) continue;
        ad_fail(error, AD_EARG,
                "folded: feature %lld of %lld, number %lld in the list; expected them in ascending order",
                (long long)f->feature[k], (long long)D, (long long)k);
        return false;
    }
    return true;
}

// Where elements of all features together lie.
static void set_range(folded *f) {
    const flow_base *of = f->inner;
    const bool all = f->n == of->shape.dim[0], ends = of->low < of->high;
    if (!all && !ends) return;
    f->base.high = ends ? fmax(fabs(of->low), fabs(of->high)) : INFINITY;
    f->base.low = all ? 0 : fmin(of->low, 0);
}

flow_base *flow_base_folded(flow_base *of, const int64_t *features, int64_t n, ad_error *error) {
    if (!of) return NULL;
    folded *f = NULL;
    if (of->type == &flow_base_folded_type) {
        ad_fail(error, AD_EARG, "folded: the base density is folded already; name all features at once");
    } else {
        f = flow_base_new(&flow_base_folded_type, sizeof *f, of->shape.dim[0], of->C, error);
    }
    if (!f || !take_features(f, features, n, of->shape.dim[0], error)) {
        flow_base_free(of);
        flow_base_free(f ? &f->base : NULL);
        return NULL;
    }
    f->inner = of;
    set_range(f);
    if (flow_add_part(&f->base.owner, "of", &of->owner, error) == AD_OK) return &f->base;
    flow_base_free(&f->base);
    return NULL;
}

// ---- described ------------------------------------------------------------------------------------------------------

static json_t *describe(const flow_base *base) {
    const folded *f = (const folded *)base;
    return flow_json_with(json_pack("{s:o}", "folds", flow_json_list(f->feature, f->n)), "of",
                          flow_describe_base(f->inner));
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type;
    int64_t features[MOST_FOLDS];
    const json_t *of = json_object_get(options, "of"), *list = json_object_get(options, "folds");
    const size_t n = json_array_size(list);
    const char *name = json_string_value(json_object_get(of, "type"));
    if (n < 1 || n > MOST_FOLDS) {
        ad_fail(error, AD_EFORMAT, "folded: \"folds\" should be a list of 1 to %d features", MOST_FOLDS);
        return NULL;
    }
    for (size_t k = 0; k < n; k++) {
        const json_t *item = json_array_get(list, k);
        features[k] = json_is_integer(item) ? json_integer_value(item) : -1;
    }
    if (name && strcmp(name, flow_base_folded_type.name) == 0) {  // would nest as deep as a file likes
        ad_fail(error, AD_EFORMAT, "folded: of a folded base density");
        return NULL;
    }
    return flow_base_folded(flow_make_base(of, making, error), features, (int64_t)n, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    static const flow_base_type *const types[] = {&flow_base_normal_type,  &flow_standard_normal_type,
                                                  &flow_base_gumbel_type,  &flow_base_full_type,
                                                  &flow_base_mixture_type, &flow_base_student_type};
    return flow_base_folded(types[i % 6]->example(types[i % 6], i, error), NULL, 0, error);
}

const flow_base_type flow_base_folded_type = {
    .name = "folded", .log_prob = log_prob, .sample = sample, .describe = describe, .make = make, .example = example};
