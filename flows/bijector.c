// bijector.c -- one increasing function of a number applied to every feature: the layer of the maps in bijector_maps.c.
#include <math.h>
#include <string.h>

#include "internal.h"

typedef struct bijector {
    flow_layer layer;
    const flow_curve *map;
    bool inverse, learn;
    double p[FLOW_CURVE_PARAMETERS];       // as given, or at the start of learning
    ad_param *raw[FLOW_CURVE_PARAMETERS];  // [D], or NULL
    double low, high;                      // of a map onto a box
    double x_box[2], y_box[2];             // of the map's two sides
    ad_type type;
} bijector;

// Where v is beyond a side's ends, and v moved to just within them.
static ad_var hold(ad_var v, const double box[2], ad_var *outside) {
    const bool single = ad_tape_type(v.tape) == AD_F32;
    const double eps = single ? 0x1p-23 : 0x1p-52, tiny = single ? 1e-36 : 1e-300;
    double low = box[0], high = box[1];
    *outside = AD_NONE;
    if (low == high) return v;
    ad_var below = ad_less(v, ad_number(v.tape, low)), above = ad_greater(v, ad_number(v.tape, high));
    *outside = ad_maximum(below, above);
    low += low == 0 ? tiny : fabs(low) * eps;
    if (isfinite(high)) high -= high == 0 ? tiny : fabs(high) * eps;
    v = ad_maximum(v, ad_number(v.tape, low));
    return isfinite(high) ? ad_minimum(v, ad_number(v.tape, high)) : v;
}

// Number k of the map: fixed, or learned within its range as mid + half tanh(...) of raw, of its logarithm where the
// row says so: as given where raw is 0, and there as fast as raw, so that one step size suits all.
static ad_var number(const bijector *l, ad_tape *tape, int k) {
    const flow_curve_parameter *p = &l->map->p[k];
    if (!l->raw[k]) return ad_number(tape, l->p[k]);
    double low = p->log ? log(p->low) : p->low, high = p->log ? log(p->high) : p->high;
    double mid = 0.5 * (low + high), half = 0.5 * (high - low),
           share = ((p->log ? log(l->p[k]) : l->p[k]) - mid) / half;
    ad_var v = ad_scale(ad_use(tape, l->raw[k]), 1 / (half * (1 - share * share)));
    v = ad_offset(ad_scale(ad_tanh(ad_offset(v, atanh(share))), half), mid);
    return p->log ? ad_exp(v) : v;
}

static flow_curve_numbers record(const bijector *l, ad_tape *tape) {
    return (flow_curve_numbers){number(l, tape, 0), number(l, tape, 1), l->low, l->high};
}

// What is true of either.
static ad_var either(ad_var a, ad_var b) {
    return ad_is_none(a) ? b : ad_is_none(b) ? a : ad_maximum(a, b);
}

// Where a value that may grow beyond what the type holds has come to that: it is no longer told from its neighbours.
static ad_var overflown(ad_var value, bool grows) {
    const double most = flow_curve_largest(ad_tape_type(value.tape));
    return grows ? ad_greater_equal(ad_abs(value), ad_number(value.tape, most)) : AD_NONE;
}

// Outside the domain the density is 0, whichever direction one comes from: -inf in normalize, inf in generate.
static ad_var log_det(ad_var log_slope, ad_var outside, flow_direction direction) {
    double nothing = direction == FLOW_NORMALIZE ? -INFINITY : INFINITY;
    return ad_is_none(outside) ? log_slope : ad_where(outside, ad_number(log_slope.tape, nothing), log_slope);
}

static flow_result there(const bijector *l, ad_var x, flow_direction direction) {
    flow_curve_numbers n = record(l, x.tape);
    ad_var outside, inside = hold(x, l->x_box, &outside), y = l->map->value(&n, inside);
    outside = either(outside, overflown(y, l->map->grows[0]));
    return (flow_result){y, log_det(l->map->log_slope(&n, inside), outside, direction)};
}

static flow_result back(const bijector *l, ad_var y, flow_direction direction) {
    flow_curve_numbers n = record(l, y.tape);
    ad_var outside, beyond, x = l->map->inverse(&n, hold(y, l->y_box, &outside));
    outside = either(outside, overflown(x, l->map->grows[1]));
    ad_var slope = l->map->log_slope(&n, hold(x, l->x_box, &beyond));  // rounding may have x on the edge
    return (flow_result){x, log_det(ad_neg(slope), outside, direction)};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const bijector *l = (const bijector *)layer;
    return (l->inverse ? back : there)(l, x, FLOW_NORMALIZE);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const bijector *l = (const bijector *)layer;
    return (l->inverse ? there : back)(l, z, FLOW_GENERATE);
}

// Nothing is fitted; but rows outside the map's domain are not to be learnt from.
static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    int64_t D = layer->x_shape.dim[0], n = flow_rows_count(rows, 0, error);
    for (int64_t i = 0; i < n * D; i++) {
        double x = flow_rows_get(rows, D, i / D, i % D);
        if (x > layer->low && x < layer->high) continue;
        return ad_fail(
            error, isfinite(x) ? AD_EARG : AD_ENONFINITE,
            "bijector '%s': row %lld, feature %lld is %g, expected a number between %g and %g (without these)",
            ((bijector *)layer)->map->name, (long long)(i / D), (long long)(i % D), flow_said(x), layer->low,
            layer->high);
    }
    return n < 0 ? AD_EARG : AD_OK;
}

// ---- options --------------------------------------------------------------------------------------------------------

static const flow_curve *find(const char *name) {
    int n;
    const flow_curve *maps = flow_curves(&n);
    for (int i = 0; i < n; i++) {
        if (strcmp(maps[i].name, name) == 0) return &maps[i];
    }
    return NULL;
}

static bool maps_onto_a_box(const flow_curve *map) {
    return map->y_box[0] > map->y_box[1];
}

// Sides and numbers of the map; false and a message when they are out of range.
static bool settle(bijector *l, const flow_bijector_options *o, ad_error *error) {
    const flow_curve *map = l->map;
    const double given[FLOW_CURVE_PARAMETERS] = {o->a, o->b};
    for (int k = 0; k < FLOW_CURVE_PARAMETERS && map->p[k].name; k++) {
        const flow_curve_parameter *p = &map->p[k];
        l->p[k] = given[k] == 0 ? p->start : given[k];
        if (l->p[k] > p->low && l->p[k] < p->high) continue;
        ad_fail(error, AD_EARG, "bijector '%s': %s %g; expected more than %g and less than %g", map->name, p->name,
                l->p[k], p->low, p->high);
        return false;
    }
    memcpy(l->x_box, map->x_box, sizeof l->x_box);
    memcpy(l->y_box, map->y_box, sizeof l->y_box);
    if (maps_onto_a_box(map)) {
        l->low = l->y_box[0] = o->low;
        l->high = l->y_box[1] = o->low == 0 && o->high == 0 ? 1 : o->high;
        if (!(l->low < l->high) || !isfinite(l->high - l->low)) {
            ad_fail(error, AD_EARG, "bijector '%s': a box from %g to %g", map->name, l->low, l->high);
            return false;
        }
    }
    const double *x = l->inverse ? l->y_box : l->x_box, *z = l->inverse ? l->x_box : l->y_box;
    l->layer.low = x[0], l->layer.high = x[1];
    l->layer.z_low = z[0], l->layer.z_high = z[1];
    l->layer.initialised = x[0] == x[1];
    return true;
}

static bool add_learned(bijector *l, int64_t D, ad_error *error) {
    for (int k = 0; k < FLOW_CURVE_PARAMETERS && l->learn && l->map->p[k].name; k++) {
        l->raw[k] = flow_add_param(&l->layer.owner, l->map->p[k].name, l->type, ad_shape1(D), error);
        if (!l->raw[k]) return false;
    }
    return true;
}

flow_layer *flow_bijector(int64_t D, const char *name, const flow_bijector_options *options, ad_error *error) {
    flow_bijector_options o = options ? *options : (flow_bijector_options){0};
    const flow_curve *map = name ? find(name) : NULL;
    if (!map) {
        ad_fail(error, AD_EARG, "bijector: no map '%.64s'", name ? name : "");
        return NULL;
    }
    bijector *l = flow_layer_new(&flow_bijector_type, sizeof *l, D, 0, error);
    if (!l) return NULL;
    l->map = map;
    l->inverse = o.inverse;
    l->learn = o.learn;
    l->type = o.type;
    if (settle(l, &o, error) && add_learned(l, D, error)) return &l->layer;
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const bijector *l = (const bijector *)layer;
    return json_pack("{s:I, s:s, s:b, s:b, s:f, s:f, s:f, s:f, s:s}", "features", (json_int_t)layer->x_shape.dim[0],
                     "map", l->map->name, "inverse", l->inverse, "learn", l->learn, "a", l->p[0], "b", l->p[1], "low",
                     l->low, "high", l->high, "precision", flow_type_text(l->type));
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
                               .low = maps_onto_a_box(map) && turn % 4 ? -3 : 0,
                               .high = maps_onto_a_box(map) && turn % 4 ? 5 : 0,
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
                                            .example = example};
