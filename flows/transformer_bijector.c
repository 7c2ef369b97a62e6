// transformer_bijector.c -- any map of bijector_maps.c as the map of a feature, by parameters: a scale and a shift on a
// side that has no ends, and the map's own numbers.
#include <math.h>

#include "internal.h"

typedef struct bijector {
    flow_transformer transformer;
    flow_curve_settings curve;
    bool inverse, plain;
    double bound;
    bool before, after;  // on which side of the map, as normalize takes it, scale and shift stand
} bijector;

// ---- both directions ------------------------------------------------------------------------------------------------

// Raw log-scale and shift come first.
static int own_numbers(const bijector *t) {
    return t->before || t->after ? 2 : 0;
}

static ad_var number(const bijector *t, flow_parameters p, int k) {
    const bool there = t->curve.map->p[k].name != NULL;
    return flow_curve_number(&t->curve, k, there ? flow_parameter(p, own_numbers(t) + k) : AD_NONE, p.raw.tape);
}

// The map alone, in the direction in which the transformer is taken; direction is that of the layer.
static flow_result bend(const bijector *t, flow_parameters p, bool there, ad_var v, flow_direction direction) {
    const flow_curve_numbers n = {number(t, p, 0), number(t, p, 1), t->curve.low, t->curve.high};
    return (there ? flow_curve_there : flow_curve_back)(&t->curve, &n, v, direction);
}

static flow_result join(ad_var value, flow_result bent, ad_var log_scale) {
    return (flow_result){value, ad_add(bent.log_det, log_scale)};
}

static flow_result normalize(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const bijector *t = (const bijector *)transformer;
    const flow_direction direction = transformer->swapped ? FLOW_GENERATE : FLOW_NORMALIZE;
    if (own_numbers(t) == 0) return bend(t, p, !t->inverse, v, direction);
    ad_var s = flow_bounded(flow_parameter(p, 0), t->bound), shift = flow_parameter(p, 1), scale = ad_exp(s);
    if (t->before) {
        flow_result r = bend(t, p, !t->inverse, ad_add(ad_mul(v, scale), shift), direction);
        return join(r.value, r, s);
    }
    flow_result r = bend(t, p, !t->inverse, v, direction);
    return join(ad_add(ad_mul(r.value, scale), shift), r, s);
}

static flow_result generate(const flow_transformer *transformer, flow_parameters p, ad_var v) {
    const bijector *t = (const bijector *)transformer;
    const flow_direction direction = transformer->swapped ? FLOW_NORMALIZE : FLOW_GENERATE;
    if (own_numbers(t) == 0) return bend(t, p, t->inverse, v, direction);
    ad_var s = ad_neg(flow_bounded(flow_parameter(p, 0), t->bound)), shift = flow_parameter(p, 1), scale = ad_exp(s);
    if (t->before) {
        flow_result r = bend(t, p, t->inverse, v, direction);
        return join(ad_mul(ad_sub(r.value, shift), scale), r, s);
    }
    flow_result r = bend(t, p, t->inverse, ad_mul(ad_sub(v, shift), scale), direction);
    return join(r.value, r, s);
}

// ---- made and described ---------------------------------------------------------------------------------------------

static bool anywhere(const double box[2]) {
    return box[0] == box[1];
}

static int count_numbers(const flow_curve *map) {
    int n = 0;
    while (n < FLOW_CURVE_PARAMETERS && map->p[n].name) n++;
    return n;
}

flow_transformer *flow_bijector_transformer(const char *name, const flow_bijector_transformer_options *options,
                                            ad_error *error) {
    const flow_bijector_transformer_options o =
        options ? *options : (flow_bijector_transformer_options){.inverse = false};
    bijector made = {.inverse = o.inverse, .plain = o.plain, .bound = o.bound == 0 ? 2 : o.bound};
    if (!flow_curve_settle(&made.curve, name, (const double[]){o.a, o.b}, o.low, o.high, error)) return NULL;
    if (!(made.bound >= 1e-3 && made.bound <= 20)) {
        ad_fail(error, AD_EARG, "bijector: bound %g of the log-scale; expected 0.001 to 20", made.bound);
        return NULL;
    }
    const double *in = o.inverse ? made.curve.y_box : made.curve.x_box;
    const double *out = o.inverse ? made.curve.x_box : made.curve.y_box;
    made.before = !o.plain && anywhere(in);
    made.after = !o.plain && !made.before && anywhere(out);
    const int P = own_numbers(&made) + count_numbers(made.curve.map);
    if (P == 0) {
        ad_fail(error, AD_EARG, "bijector '%s': a map without numbers, plain: nothing is left to choose", name);
        return NULL;
    }
    bijector *t = flow_transformer_new(&flow_bijector_transformer_type, sizeof *t, P, error);
    if (!t) return NULL;
    made.transformer = t->transformer;
    *t = made;
    t->transformer.low = in[0], t->transformer.high = in[1];
    t->transformer.z_low = out[0], t->transformer.z_high = out[1];
    return &t->transformer;
}

static json_t *describe(const flow_transformer *transformer) {
    const bijector *t = (const bijector *)transformer;
    return json_pack("{s:s, s:b, s:b, s:f, s:f, s:f, s:f, s:f}", "map", t->curve.map->name, "inverse", t->inverse,
                     "plain", t->plain, "bound", t->bound, "a", t->curve.p[0], "b", t->curve.p[1], "low", t->curve.low,
                     "high", t->curve.high);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    flow_bijector_transformer_options o = {.inverse = false};
    const char *name = json_string_value(json_object_get(options, "map"));
    if (!flow_json_bool(options, "inverse", &o.inverse, error) || !flow_json_bool(options, "plain", &o.plain, error) ||
        !flow_json_number(options, "bound", &o.bound, error) || !flow_json_number(options, "a", &o.a, error) ||
        !flow_json_number(options, "b", &o.b, error) || !flow_json_number(options, "low", &o.low, error) ||
        !flow_json_number(options, "high", &o.high, error)) {
        return NULL;
    }
    return flow_bijector_transformer(name, &o, error);
}

// Maps of all numbers onto all, that do not grow beyond them: for any layer, also with others about it.
static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    static const char *const names[] = {"leaky relu", "sneaky relu", "bent identity", "leaky tanh"};
    const flow_bijector_transformer_options o = {
        .inverse = i / 4 % 2, .plain = i % 4 == 0 && i / 8 % 2, .bound = i % 3 ? 0 : 1, .a = i % 4 < 2 ? 0.5 : 0};
    return flow_bijector_transformer(names[i % 4], &o, error);
}

const flow_transformer_type flow_bijector_transformer_type = {.name = "bijector",
                                                              .normalize = normalize,
                                                              .generate = generate,
                                                              .describe = describe,
                                                              .make = make,
                                                              .example = example};
