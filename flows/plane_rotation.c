// plane_rotation.c -- two features rotated by a learned angle: z_i = c x_i - s x_j, z_j = s x_i + c x_j.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct plane {
    flow_layer layer;
    ad_param *angle;  // [1]
    int64_t i, j;
    int64_t *swapped;        // [D]: i and j in each other's place
    double *within, *sides;  // [D]: 1 at i and j; -1 at i, 1 at j; 0 elsewhere
} plane;

// x cos + (x with i and j swapped, -+) sin at i and j, x elsewhere.
static flow_result turn(const flow_layer *layer, ad_var v, double sign) {
    const plane *l = (const plane *)layer;
    const int64_t D = layer->x_shape.dim[0];
    ad_var angle = ad_scale(ad_use(v.tape, l->angle), sign);
    ad_var within = ad_constant(v.tape, ad_shape1(D), l->within), sides = ad_constant(v.tape, ad_shape1(D), l->sides);
    ad_var c = ad_offset(ad_mul(ad_offset(ad_cos(angle), -1), within), 1), s = ad_mul(ad_sin(angle), sides);
    return (flow_result){ad_add(ad_mul(c, v), ad_mul(s, ad_take(v, 0, l->swapped, D))), AD_NONE};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    return turn(layer, x, 1);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    return turn(layer, z, -1);
}

static void release(flow_owner *owner) {
    plane *l = (plane *)owner;
    free(l->swapped);
    free(l->within);
}

static bool fill(plane *l, int64_t D, ad_error *error) {
    l->swapped = malloc((size_t)D * sizeof *l->swapped);
    l->within = calloc((size_t)D, 2 * sizeof *l->within);
    if (!l->swapped || !l->within) {
        ad_fail(error, AD_ENOMEM, "plane rotation: out of memory");
        return false;
    }
    l->sides = l->within + D;
    for (int64_t d = 0; d < D; d++) l->swapped[d] = d == l->i ? l->j : d == l->j ? l->i : d;
    l->within[l->i] = l->within[l->j] = l->sides[l->j] = 1;
    l->sides[l->i] = -1;
    return true;
}

flow_layer *flow_plane_rotation(int64_t D, const flow_plane_options *options, ad_error *error) {
    flow_plane_options o = options ? *options : (flow_plane_options){0};
    if (o.i == 0 && o.j == 0) o.j = 1;
    if (o.i < 0 || o.i >= D || o.j < 0 || o.j >= D || o.i == o.j || !isfinite(o.angle)) {
        ad_fail(error, AD_EARG, "plane rotation: features %lld and %lld of %lld by an angle of %g", (long long)o.i,
                (long long)o.j, (long long)D, o.angle);
        return NULL;
    }
    plane *l = flow_layer_new(&flow_plane_rotation_type, sizeof *l, D, 0, error);
    if (!l) return NULL;
    l->layer.owner.release = release;
    l->i = o.i;
    l->j = o.j;
    l->angle = flow_add_param(&l->layer.owner, "angle", o.type, ad_shape1(1), error);
    if (l->angle && fill(l, D, error)) {
        ad_param_set(l->angle, 0, o.angle);
        return &l->layer;
    }
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const plane *l = (const plane *)layer;
    return json_pack("{s:I, s:I, s:I, s:s}", "features", (json_int_t)layer->x_shape.dim[0], "i", (json_int_t)l->i, "j",
                     (json_int_t)l->j, "precision", flow_type_text(l->angle->type));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_plane_options o = {0};
    if (!flow_json_int(options, "features", 2, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "i", 0, D - 1, &o.i, error) || !flow_json_int(options, "j", 0, D - 1, &o.j, error) ||
        !flow_json_type(options, &o.type, error) || !flow_take_elements(making, 3 * D, error)) {
        return NULL;
    }
    return flow_plane_rotation(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 2 + i % 4;
    flow_plane_options o = {.i = i % D, .j = (i + 1) % D, .angle = 0.4 * (i % 9), .type = i % 2 ? AD_F64 : AD_F32};
    return flow_plane_rotation(D, &o, error);
}

const flow_layer_type flow_plane_rotation_type = {.name = "plane rotation",
                                                  .structure = FLOW_ORTHOGONAL,
                                                  .normalize = normalize,
                                                  .generate = generate,
                                                  .describe = describe,
                                                  .make = make,
                                                  .example = example};
