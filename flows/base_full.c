// base_full.c -- a normal of full covariance, by its Cholesky factor.
#include <math.h>

#include "base.h"

typedef struct full {
    flow_base base;
    ad_param *mean, *L;  // [D]; [D,D]: the factor below the diagonal, its raw log on it
    double bound;        // of the diagonal's log
} full;

// Log of the diagonal, [D]; and the lower triangular factor.
static ad_var log_diagonal(const full *f, ad_tape *tape) {
    return flow_bounded(ad_diagonal(ad_use(tape, f->L)), f->bound);
}
static ad_var factor(const full *f, ad_tape *tape) {
    return ad_add(ad_tril(ad_use(tape, f->L), -1), ad_diag(ad_exp(log_diagonal(f, tape))));
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)context;
    const full *f = (const full *)base;
    ad_var u = ad_solve_triangular(factor(f, z.tape), ad_sub(z, ad_use(z.tape, f->mean)), 0);
    return ad_sub(ad_offset(ad_scale(ad_square(u), -0.5), -FLOW_HALF_LOG_2PI), log_diagonal(f, z.tape));
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    (void)context;
    const full *f = (const full *)base;
    ad_var e = ad_normal(rows, base->shape, random, stream);
    return ad_linear(factor(f, rows.tape), e, ad_use(rows.tape, f->mean));
}

static ad_var center(const flow_base *base, ad_tape *tape, ad_var context) {
    (void)context;
    return ad_use(tape, ((const full *)base)->mean);
}

flow_base *flow_base_full(int64_t D, const flow_full_options *options, ad_error *error) {
    flow_full_options o = options ? *options : (flow_full_options){0};
    double bound = flow_scale_bound("full normal", o.bound, error);
    if (isnan(bound)) return NULL;
    if (D > 8192 || (unsigned)o.type > AD_F64) {
        ad_fail(error, AD_EARG, "full normal: %lld features, element type %d; expected 1 to 8192, AD_F32 or AD_F64",
                (long long)D, (int)o.type);
        return NULL;
    }
    full *f = flow_base_new(&flow_base_full_type, sizeof *f, D, 0, error);
    if (!f) return NULL;
    f->bound = bound;
    if ((f->mean = flow_add_param(&f->base.owner, "mean", o.type, ad_shape1(D), error)) &&
        (f->L = flow_add_param(&f->base.owner, "L", o.type, ad_shape2(D, D), error))) {
        return &f->base;
    }
    flow_base_free(&f->base);
    return NULL;
}

static json_t *describe(const flow_base *base) {
    const full *f = (const full *)base;
    return json_pack("{s:I, s:f, s:s}", "features", (json_int_t)base->shape.dim[0], "bound", f->bound, "precision",
                     flow_type_text(f->L->type));
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type;
    int64_t D;
    flow_full_options o;
    if (!flow_json_int(options, "features", 1, 8192, &D, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, D * (D + 1), error)) {
        return NULL;
    }
    return flow_base_full(D, &o, error);
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    flow_full_options o = {.bound = i % 3 ? 0 : 2, .type = i % 2 ? AD_F32 : AD_F64};
    return flow_base_full(1 + i % 4, &o, error);
}

const flow_base_type flow_base_full_type = {.name = "full normal",
                                            .log_prob = log_prob,
                                            .sample = sample,
                                            .describe = describe,
                                            .make = make,
                                            .example = example,
                                            .center = center,
                                            .noise_power = 1};
