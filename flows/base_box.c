// base_box.c -- the uniform density on a box with sides of its own for each feature.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct box {
    flow_base base;
    double *low, *high;    // [D] each, one block
    double *log_density;  // [D] inside, in it too: in f32 the ends may be one number
} box;

typedef struct sides {
    ad_var low, high;
} sides;

static sides sides_of(const flow_base *base, ad_tape *tape) {
    const box *b = (const box *)base;
    return (sides){ad_constant(tape, base->shape, b->low), ad_constant(tape, base->shape, b->high)};
}

// -log(high - low) inside, the edges included; -inf outside, and for NaN.
static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)context;
    sides s = sides_of(base, z.tape);
    ad_var inside = ad_mul(ad_greater_equal(z, s.low), ad_less_equal(z, s.high));
    ad_var density = ad_constant(z.tape, base->shape, ((const box *)base)->log_density);
    return ad_where(inside, density, ad_number(z.tape, -(double)INFINITY));
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    sides s = sides_of(base, rows.tape);
    ad_var u = ad_uniform(rows, base->shape, random, stream), z = ad_add(ad_mul(u, ad_sub(s.high, s.low)), s.low);
    return ad_minimum(ad_maximum(z, s.low), s.high);  // rounding may go beyond an edge
}

static ad_var center(const flow_base *base, ad_tape *tape, ad_var context) {
    (void)context;
    sides s = sides_of(base, tape);
    return ad_scale(ad_add(s.low, s.high), 0.5);
}

static void release(flow_owner *owner) {
    free(((box *)owner)->low);
}

static bool take_sides(box *b, const double *low, const double *high, ad_error *error) {
    const int64_t D = b->base.shape.dim[0];
    b->base.low = INFINITY, b->base.high = -INFINITY;
    for (int64_t d = 0; d < D; d++) {
        const double from = b->low[d] = low ? low[d] : 0, to = b->high[d] = high ? high[d] : 1;
        b->log_density[d] = -log(to - from);
        b->base.low = fmin(b->base.low, from);
        b->base.high = fmax(b->base.high, to);
        if (isfinite(from) && to - from > 1e-30 && to - from < 1e30) continue;
        ad_fail(error, AD_EARG, "box: feature %lld from %g to %g; expected low < high, 1e-30 to 1e30 apart",
                (long long)d, from, to);
        return false;
    }
    return true;
}

flow_base *flow_base_box(int64_t D, const double *low, const double *high, ad_error *error) {
    box *b = flow_base_new(&flow_base_box_type, sizeof *b, D, 0, error);
    if (!b) return NULL;
    b->base.owner.release = release;
    b->low = calloc(3 * (size_t)D, sizeof *b->low);
    b->high = b->low ? b->low + D : NULL;
    b->log_density = b->low ? b->high + D : NULL;
    if (!b->low) ad_fail(error, AD_ENOMEM, "box: out of memory");
    if (b->low && take_sides(b, low, high, error)) return &b->base;
    flow_base_free(&b->base);
    return NULL;
}

// ---- described ------------------------------------------------------------------------------------------------------

static json_t *list(const double *values, int64_t n) {
    json_t *all = json_array();
    for (int64_t i = 0; all && i < n; i++) {
        if (json_array_append_new(all, json_real(values[i])) == 0) continue;
        json_decref(all);
        all = NULL;
    }
    return all;
}

static json_t *describe(const flow_base *base) {
    const box *b = (const box *)base;
    const int64_t D = base->shape.dim[0];
    return flow_json_with(json_pack("{s:o}", "low", list(b->low, D)), "high", list(b->high, D));
}

// The numbers of a list of n, into out; false with a message.
static bool read_list(const json_t *options, const char *key, size_t n, double *out, ad_error *error) {
    const json_t *all = json_object_get(options, key);
    bool fits = json_is_array(all) && json_array_size(all) == n;
    for (size_t i = 0; fits && i < n; i++) {
        fits = json_is_number(json_array_get(all, i));
        out[i] = json_number_value(json_array_get(all, i));
    }
    if (!fits) ad_fail(error, AD_EFORMAT, "box: \"%s\" should list %zu numbers", key, n);
    return fits;
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type, (void)making;
    const size_t D = json_array_size(json_object_get(options, "low"));
    double *read = D ? calloc(D, 2 * sizeof *read) : NULL;
    flow_base *base = NULL;
    if (!read) {
        ad_fail(error, D ? AD_ENOMEM : AD_EFORMAT, D ? "box: out of memory" : "box: \"low\" should list numbers");
    } else if (read_list(options, "low", D, read, error) && read_list(options, "high", D, read + D, error)) {
        base = flow_base_box((int64_t)D, read, read + D, error);
    }
    free(read);
    return base;
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    const double low[4] = {-1 - i, -1 - i, 0, 3}, high[4] = {0.5 * i, 0.5 * i, 1e-3, 300};
    return flow_base_box(1 + i % 4, i % 3 ? low : NULL, i % 3 ? high : NULL, error);
}

const flow_base_type flow_base_box_type = {.name = "box",
                                           .log_prob = log_prob,
                                           .sample = sample,
                                           .describe = describe,
                                           .make = make,
                                           .example = example,
                                           .center = center,
                                           .noise_power = 0};
