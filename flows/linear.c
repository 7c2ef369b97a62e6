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

// ---- reflections ----------------------------------------------------------------------------------------------------
// H_K ... H_1 = I - V^T U of the unit vectors V [K,D], with U = S^-T V and S = I/2 + the part of V V^T above the
// diagonal (Joffrain et al. 2006): two thin products, instead of K reflections one after the other. A vector of length
// 0 reflects nothing.

// Up to here the product is formed when it is the cheaper one: D^2 a row instead of 2 K D.
enum { LARGEST_PRODUCT = 512 };

flow_reflections flow_reflections_use(ad_tape *tape, ad_param *param) {
    const int64_t K = param->shape.dim[0], D = param->shape.dim[1];
    ad_var v = ad_use(tape, param), length = ad_insert_axis(ad_norm_axis(v, 1), 1);
    flow_reflections r = {.Q = AD_NONE};
    r.V = ad_div(v, ad_maximum(length, ad_number(tape, 1e-30)));
    ad_var S = ad_add(ad_triu(ad_matmul(r.V, r.V, AD_TRANSPOSE_B), 1), ad_diag(ad_fill(tape, ad_shape1(K), 0.5)));
    r.U = ad_solve_triangular(S, r.V, AD_UPPER | AD_TRANSPOSED);
    if (2 * K > D && D <= LARGEST_PRODUCT) {
        r.Q = ad_sub(ad_diag(ad_fill(tape, ad_shape1(D), 1)), ad_matmul(r.V, r.U, AD_TRANSPOSE_A));
    }
    return r;
}

ad_var flow_reflect(const flow_reflections *r, ad_var x, bool back) {
    if (!ad_is_none(r->Q)) return back ? ad_linear_transposed(r->Q, x) : ad_linear(r->Q, x, AD_NONE);
    ad_var first = back ? r->V : r->U, second = back ? r->U : r->V;
    return ad_sub(x, ad_linear_transposed(second, ad_linear(first, x, AD_NONE)));
}

// Pairs of equal vectors are the identity; one left over is a reflection of the last feature.
void flow_reflections_start(ad_param *V, bool random, uint64_t *seed) {
    const int64_t K = V->shape.dim[0], D = V->shape.dim[1];
    for (int64_t k = 0; k < K; k++) {
        for (int64_t d = 0; d < D; d++) {
            double v = flow_random_unit(seed);
            if (!random && k % 2 == 1) v = ad_param_get(V, (k - 1) * D + d);
            if (!random && k % 2 == 0 && k == K - 1) v = d == D - 1;
            ad_param_set(V, k * D + d, v);
        }
    }
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
