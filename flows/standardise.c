// standardise.c -- each feature brought to mean 0 and standard deviation 1, by numbers fitted once and kept in the
// model.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct standardise {
    flow_layer layer;
    ad_state *mean, *sd;  // [D], owned by layer.owner
} standardise;

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const standardise *s = (const standardise *)layer;
    ad_var sd = ad_use_state(x.tape, s->sd);
    return (flow_result){ad_div(ad_sub(x, ad_use_state(x.tape, s->mean)), sd), ad_neg(ad_log(sd))};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const standardise *s = (const standardise *)layer;
    ad_var sd = ad_use_state(z.tape, s->sd);
    return (flow_result){ad_add(ad_mul(z, sd), ad_use_state(z.tape, s->mean)), ad_log(sd)};
}

static void put(ad_state *state, int64_t i, double value) {
    if (state->type == AD_F64) {
        ((double *)state->data)[i] = value;
    } else {
        ((float *)state->data)[i] = (float)value;
    }
}

// Mean and standard deviation (divisor n) of feature d, in two passes: the plain sum of squares loses digits.
static ad_status moments(const char *who, const flow_rows *rows, int64_t n, int64_t D, int64_t d, double fit[2],
                         ad_error *error) {
    double sum = 0, squares = 0;
    bool varies = false;  // rounding makes the deviation of a constant more than 0
    for (int64_t r = 0; r < n; r++) {
        double x = flow_rows_get(rows, D, r, d);
        if (!isfinite(x)) {
            return ad_fail(error, AD_ENONFINITE, "%s: row %lld, feature %lld is %g", who, (long long)r, (long long)d,
                           flow_said(x));
        }
        sum += x;
        varies = varies || x != flow_rows_get(rows, D, 0, d);
    }
    fit[0] = sum / (double)n;
    for (int64_t r = 0; r < n; r++) {
        double off = flow_rows_get(rows, D, r, d) - fit[0];
        squares += off * off;
    }
    fit[1] = varies ? sqrt(squares / (double)n) : 0;
    if (isfinite(fit[1]) && fit[1] > 1e-30) return AD_OK;
    return ad_fail(error, AD_EARG,
                   "%s: feature %lld has standard deviation %g in %lld rows: no density can be fitted to a "
                   "constant (leave the feature out, or add noise)",
                   who, (long long)d, fit[1], (long long)n);
}

ad_status flow_rows_fit(const char *who, flow_direction direction, const flow_rows *rows, ad_state *mean, ad_state *sd,
                        ad_error *error) {
    const int64_t D = mean->count, n = flow_rows_count(rows, 0, error);
    if (n < 0) return AD_EARG;
    double *fit = malloc((size_t)D * 2 * sizeof *fit);  // set all or none
    if (!fit) return ad_fail(error, AD_ENOMEM, "%s: out of memory", who);
    ad_status status = AD_OK;
    for (int64_t d = 0; d < D && status == AD_OK; d++) status = moments(who, rows, n, D, d, fit + 2 * d, error);
    for (int64_t d = 0; d < D && status == AD_OK; d++) {
        const bool back = direction == FLOW_GENERATE;
        put(mean, d, back ? -fit[2 * d] / fit[2 * d + 1] : fit[2 * d]);
        put(sd, d, back ? 1 / fit[2 * d + 1] : fit[2 * d + 1]);
    }
    free(fit);
    return status;
}

static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const standardise *s = (const standardise *)layer;
    return flow_rows_fit("standardise", FLOW_NORMALIZE, rows, s->mean, s->sd, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const standardise *s = (const standardise *)layer;
    return flow_rows_fit("standardise", FLOW_GENERATE, rows, s->mean, s->sd, error);
}

flow_layer *flow_standardise(int64_t D, const flow_standardise_options *options, ad_error *error) {
    flow_standardise_options o = options ? *options : (flow_standardise_options){0};
    if (!o.mean != !o.sd) {
        ad_fail(error, AD_EARG, "standardise: mean and sd are given both or neither");
        return NULL;
    }
    standardise *s = flow_layer_new(&flow_standardise_type, sizeof *s, D, 0, error);
    if (!s) return NULL;
    s->mean = flow_add_state(&s->layer.owner, "mean", o.type, ad_shape1(D), error);
    s->sd = s->mean ? flow_add_state(&s->layer.owner, "sd", o.type, ad_shape1(D), error) : NULL;
    for (int64_t d = 0; s->sd && d < D; d++) {
        double mean = o.mean ? o.mean[d] : 0, sd = o.sd ? o.sd[d] : 1;
        if (isfinite(mean) && isfinite(sd) && sd > 0) {
            put(s->mean, d, mean);
            put(s->sd, d, sd);
            continue;
        }
        ad_fail(error, AD_EARG, "standardise: feature %lld has mean %g and sd %g", (long long)d, mean, sd);
        s->sd = NULL;
    }
    s->layer.initialised = o.mean != NULL;
    if (s->sd) return &s->layer;
    flow_layer_free(&s->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I, s:s}", "features", (json_int_t)layer->x_shape.dim[0], "precision",
                     flow_type_text(((const standardise *)layer)->mean->type));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_standardise_options o = {0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error)) return NULL;
    if (!flow_take_elements(making, 2 * D, error)) return NULL;
    return flow_json_type(options, &o.type, error) ? flow_standardise(D, &o, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    double mean[4], sd[4];
    uint64_t seed = (uint64_t)i;
    for (int d = 0; d < 4; d++) {
        mean[d] = 3 * flow_random_unit(&seed);
        sd[d] = exp(2 * flow_random_unit(&seed));
    }
    flow_standardise_options o = {mean, sd, i % 2 ? AD_F64 : AD_F32};
    return flow_standardise(1 + i % 4, &o, error);
}

const flow_layer_type flow_standardise_type = {.name = "standardise",
                                               .structure = FLOW_ELEMENTWISE,
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = describe,
                                               .make = make,
                                               .init = init,
                                               .init_back = init_back,
                                               .example = example};
