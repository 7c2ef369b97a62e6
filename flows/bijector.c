// bijector.c -- one increasing function of a number applied to every feature: the layer of the maps in bijector_maps.c.
#include <math.h>
#include <stdio.h>

#include "internal.h"

typedef struct bijector {
    flow_layer layer;
    flow_curve_settings curve;
    bool inverse, learn;
    ad_param *raw[FLOW_CURVE_PARAMETERS];  // [D], or NULL
    ad_type type;
} bijector;

static ad_var number(const bijector *l, ad_tape *tape, int k) {
    return flow_curve_number(&l->curve, k, l->raw[k] ? ad_use(tape, l->raw[k]) : AD_NONE, tape);
}

static flow_result apply(const bijector *l, bool there, ad_var v, flow_direction direction) {
    const flow_curve_numbers n = {number(l, v.tape, 0), number(l, v.tape, 1), l->curve.low, l->curve.high};
    return (there ? flow_curve_there : flow_curve_back)(&l->curve, &n, v, direction);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const bijector *l = (const bijector *)layer;
    return apply(l, !l->inverse, x, FLOW_NORMALIZE);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const bijector *l = (const bijector *)layer;
    return apply(l, l->inverse, z, FLOW_GENERATE);
}

// Nothing is fitted; but rows outside the map's domain are not to be learnt from.
static ad_status look(const flow_layer *layer, double low, double high, const flow_rows *rows, ad_error *error) {
    char who[80];
    snprintf(who, sizeof who, "bijector '%s'", ((const bijector *)layer)->curve.map->name);
    return flow_rows_within(who, rows, layer->x_shape.dim[0], low, high, error);
}
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return look(layer, layer->low, layer->high, rows, error);
}
static ad_status init_back(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    return look(layer, layer->z_low, layer->z_high, rows, error);
}

// ---- options --------------------------------------------------------------------------------------------------------

static bool settle(bijector *l, const char *name, const flow_bijector_options *o, ad_error *error) {
    const double given[FLOW_CURVE_PARAMETERS] = {o->a, o->b};
    if (!flow_curve_settle(&l->curve, name, given, o->low, o->high, error)) return false;
    const double *x = l->inverse ? l->curve.y_box : l->curve.x_box, *z = l->inverse ? l->curve.x_box : l->curve.y_box;
    l->layer.low = x[0], l->layer.high = x[1];
    l->layer.z_low = z[0], l->layer.z_high = z[1];
    l->layer.initialised = x[0] == x[1] && z[0] == z[1];  // of an inverse z is where data come
    return true;
}

static bool add_learned(bijector *l, int64_t D, ad_error *error) {
    for (int k = 0; k < FLOW_CURVE_PARAMETERS && l->learn && l->curve.map->p[k].name; k++) {
        l->raw[k] = flow_add_param(&l->layer.owner, l->curve.map->p[k].name, l->type, ad_shape1(D), error);
        if (!l->raw[k]) return false;
    }
    return true;
}

flow_layer *flow_bijector(int64_t D, const char *name, const flow_bijector_options *options, ad_error *error) {
    flow_bijector_options o = options ? *options : (flow_bijector_options){0};
    bijector *l = flow_layer_new(&flow_bijector_type, sizeof *l, D, 0, error);
    if (!l) return NULL;
    l->inverse = o.inverse;
    l->learn = o.learn;
    l->type = o.type;
    if (settle(l, name, &o, error) && add_learned(l, D, error)) return &l->layer;
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const bijector *l = (const bijector *)layer;
    return json_pack("{s:I, s:s, s:b, s:b, s:f, s:f, s:f, s:f, s:s}", "features", (json_int_t)layer->x_shape.dim[0],
                     "map", l->curve.map->name, "inverse", l->inverse, "learn", l->learn, "a", l->curve.p[0], "b",
                     l->curve.p[1], "low", l->curve.low, "high", l->curve.high, "precision", flow_type_text(l->type));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_bijector_options o = {0};
    const char *name = json_string_value(json_object_get(options, "map"));
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_bool(options, "inverse", &o.inverse, error) || !flow_json_bool(options, "learn", &o.learn, error) ||
        !flow_json_number(options, "a", &o.a, error) || !flow_json_number(options, "b", &o.b, error) ||
        !flow_json_number(options, "low", &o.low, error) || !flow_json_number(options, "high", &o.high, error) ||
        !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, o.learn ? FLOW_CURVE_PARAMETERS * D : 0, error)) {
        return NULL;
    }
    return flow_bijector(D, name, &o, error);
}

// Every map in turn, both ways round.
static flow_layer *example(int i, ad_error *error) {
    int n;
    const flow_curve *maps = flow_curves(&n), *map = maps + i % n;  // apart: n is to be there
    int turn = i / n;
    flow_bijector_options o = {.inverse = turn % 2,
                               .learn = turn / 2 % 2 == 0,
                               .low = flow_curve_onto_a_box(map) && turn % 4 ? -3 : 0,
                               .high = flow_curve_onto_a_box(map) && turn % 4 ? 5 : 0,
                               .type = i % 3 ? AD_F64 : AD_F32};
    const flow_curve_parameter *p = map->p;
    if (p[0].name && turn % 4 % 3) o.a = 0.5 * p[0].start + 0.3 * (turn % 3) * p[0].start;
    if (p[1].name && turn % 4 % 3) o.b = 0.7;
    return flow_bijector(1 + (i + turn) % 4, map->name, &o, error);
}

const flow_layer_type flow_bijector_type = {.name = "bijector",
                                            .structure = FLOW_ELEMENTWISE,
                                            .normalize = normalize,
                                            .generate = generate,
                                            .describe = describe,
                                            .make = make,
                                            .init = init,
                                            .init_back = init_back,
                                            .example = example};
