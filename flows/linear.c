// linear.c -- what linear layers z = W x + b share: their options, shift, triangles, products of reflections,
// rotations.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

// ---- the layer ------------------------------------------------------------------------------------------------------

void *flow_linear_layer_new(const flow_layer_type *type, size_t size, int64_t D, const flow_linear_options *options,
                            ad_error *error) {
    const double bound = options->bound == 0 ? 7 : options->bound;
    if (!(bound >= 1e-3 && bound <= 80)) {  // e^80 still leaves room in f32
        ad_fail(error, AD_EARG, "%s: bound %g of the log-scales; expected 0.001 to 80", type->name, bound);
        return NULL;
    }
    flow_linear_layer *l = flow_layer_new(type, size, D, 0, error);
    if (!l) return NULL;
    l->bound = bound;
    l->type = options->type;
    if (options->no_shift) return l;
    l->b = flow_add_param(&l->layer.owner, "b", l->type, ad_shape1(D), error);
    if (l->b) return l;
    flow_layer_free(&l->layer);
    return NULL;
}

ad_var flow_linear_b(const flow_linear_layer *l, ad_tape *tape) {
    return l->b ? ad_use(tape, l->b) : AD_NONE;
}

ad_var flow_linear_unshift(const flow_linear_layer *l, ad_var z) {
    return l->b ? ad_sub(z, ad_use(z.tape, l->b)) : z;
}

ad_var flow_linear_shift(const flow_linear_layer *l, ad_var y) {
    return l->b ? ad_add(y, ad_use(y.tape, l->b)) : y;
}

json_t *flow_linear_describe(const flow_linear_layer *l) {
    return json_pack("{s:I, s:b, s:f, s:s}", "features", (json_int_t)l->layer.x_shape.dim[0], "shift", l->b != NULL,
                     "bound", l->bound, "precision", flow_type_text(l->type));
}

bool flow_linear_read(const json_t *options, int64_t *D, flow_linear_options *o, ad_error *error) {
    bool shift;
    *o = (flow_linear_options){0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, D, error) ||
        !flow_json_bool(options, "shift", &shift, error) || !flow_json_number(options, "bound", &o->bound, error) ||
        !flow_json_type(options, &o->type, error)) {
        return false;
    }
    o->no_shift = !shift;
    return true;
}

// ---- bounded scales -------------------------------------------------------------------------------------------------

ad_var flow_bounded(ad_var raw, double bound) {
    return ad_scale(ad_tanh(ad_scale(raw, 1 / bound)), bound);
}

ad_var flow_triangle(ad_var raw, bool upper, double bound, ad_var *log_diagonal) {
    *log_diagonal = flow_bounded(ad_diagonal(raw), bound);
    return ad_add(upper ? ad_triu(raw, 1) : ad_tril(raw, -1), ad_diag(ad_exp(*log_diagonal)));
}

// ---- rotations ------------------------------------------------------------------------------------------------------

static double normal(uint64_t *random) {  // Box and Muller
    double u = (double)(flow_random(random) >> 11) * 0x1p-53 + 0x1p-54;
    return sqrt(-2 * log(u)) * cos(3.14159265358979323846 * flow_random_unit(random));
}

// Q <- Q H for the reflection that takes the Gaussian vector v [n] to the first of the last n axes. Returns its sign.
static double reflect_columns(double *Q, int64_t D, int64_t n, double *v) {
    double length = 0;
    for (int64_t i = 0; i < n; i++) length = hypot(length, v[i]);
    const double sign = v[0] < 0 ? -1 : 1;
    v[0] += sign * length;
    double square = 0;
    for (int64_t i = 0; i < n; i++) square += v[i] * v[i];
    for (int64_t r = 0; square > 0 && r < D; r++) {
        double *row = Q + r * D + D - n, dot = 0;
        for (int64_t i = 0; i < n; i++) dot += row[i] * v[i];
        for (int64_t i = 0; i < n; i++) row[i] -= 2 * dot / square * v[i];
    }
    return sign;
}

bool flow_random_rotation(double *Q, int64_t D, uint64_t seed, ad_error *error) {
    double *v = calloc((size_t)D, 2 * sizeof *v), *signs = v ? v + D : NULL, determinant = 1;
    if (!v) {
        ad_fail(error, AD_ENOMEM, "rotation: out of memory");
        return false;
    }
    for (int64_t i = 0; i < D * D; i++) Q[i] = i / D == i % D;
    for (int64_t k = 0; k < D; k++) {
        const int64_t n = D - k;
        for (int64_t i = 0; i < n; i++) v[i] = normal(&seed);
        // A reflection has determinant -1; column k of R then gets a positive diagonal by -sign.
        signs[k] = n > 1 ? -reflect_columns(Q, D, n, v) : 1;
        determinant *= n > 1 ? -signs[k] : 1;
    }
    if (determinant < 0) signs[D - 1] = -1;
    for (int64_t i = 0; i < D * D; i++) Q[i] *= signs[i % D];
    free(v);
    return true;
}

bool flow_start_matrix(ad_param *W, bool random, uint64_t seed, ad_error *error) {
    const int64_t D = W->shape.dim[0];
    double *Q = random ? malloc((size_t)W->count * sizeof *Q) : NULL;
    bool made = !random || (Q && flow_random_rotation(Q, D, seed, error));
    if (random && !Q) ad_fail(error, AD_ENOMEM, "linear: out of memory");
    for (int64_t i = 0; made && i < W->count; i++) ad_param_set(W, i, random ? Q[i] : i / D == i % D);
    free(Q);
    return made;
}
