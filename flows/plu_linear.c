// plu_linear.c -- an invertible linear map by the LU factors of a rotation: z = P L U x + b, P and the signs of U
// fixed.
//
// Kingma and Dhariwal 2018, section 3.2 and eq. 10, with their start: P, L, U and the signs are those of a random
// rotation, found by elimination with row pivots. One parameter holds L below the diagonal, U above it, and on it the
// raw logarithms of the sizes on U's diagonal, which are bounded both ways.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct plu_linear {
    flow_linear_layer linear;
    ad_param *LU;             // [D,D]
    ad_state *sign;           // [D], 1 or -1
    flow_layer *permutation;  // a part: row i of L U x goes to place order[i]
} plu_linear;

// Up to here the product L U is formed: D^2 a row and D^3 a step, where the factors one after the other cost 2 D^2 a
// row.
enum { LARGEST_PRODUCT = 256 };

typedef struct factors {
    ad_var below, U, log_size;  // L without its diagonal
} factors;

static factors use(const plu_linear *l, ad_tape *tape) {
    ad_var LU = ad_use(tape, l->LU), log_size = flow_bounded(ad_diagonal(LU), l->linear.bound);
    ad_var size = ad_exp(log_size), negative = ad_less(ad_use_state(tape, l->sign), ad_number(tape, 0));
    ad_var diagonal = ad_where(negative, ad_neg(size), size);  // whatever numbers a file has for signs
    return (factors){ad_tril(LU, -1), ad_add(ad_triu(LU, 1), ad_diag(diagonal)), log_size};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const plu_linear *l = (const plu_linear *)layer;
    factors f = use(l, x.tape);
    ad_var y;
    if (layer->x_shape.dim[0] <= LARGEST_PRODUCT) {
        y = ad_linear(ad_add(f.U, ad_matmul(f.below, f.U, 0)), x, AD_NONE);
    } else {
        y = ad_linear(f.U, x, AD_NONE);
        y = ad_add(y, ad_linear(f.below, y, AD_NONE));
    }
    y = flow_record(l->permutation, FLOW_GENERATE, -1, y, AD_NONE).value;
    return (flow_result){flow_linear_shift(&l->linear, y), f.log_size};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const plu_linear *l = (const plu_linear *)layer;
    factors f = use(l, z.tape);
    ad_var y = flow_record(l->permutation, FLOW_NORMALIZE, -1, flow_linear_unshift(&l->linear, z), AD_NONE).value;
    y = ad_solve_triangular(f.below, y, AD_UNIT_DIAGONAL);
    return (flow_result){ad_solve_triangular(f.U, y, AD_UPPER), ad_neg(f.log_size)};
}

// ---- a rotation's factors -------------------------------------------------------------------------------------------

static void swap_rows(double *a, int64_t D, int64_t i, int64_t k) {
    for (int64_t j = 0; i != k && j < D; j++) {
        const double v = a[i * D + j];
        a[i * D + j] = a[k * D + j];
        a[k * D + j] = v;
    }
}

// a [D][D] becomes L below its diagonal and U on and above it; row i of L U is row order[i] of what a was.
static void factorise(double *a, int64_t D, int64_t *order) {
    for (int64_t i = 0; i < D; i++) order[i] = i;
    for (int64_t k = 0; k < D; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < D; i++) best = fabs(a[i * D + k]) > fabs(a[best * D + k]) ? i : best;
        const int64_t moved = order[k];
        order[k] = order[best];
        order[best] = moved;
        swap_rows(a, D, k, best);
        for (int64_t i = k + 1; i < D; i++) {
            const double f = a[i * D + k] /= a[k * D + k];  // a rotation has no column of zeros
            for (int64_t j = k + 1; j < D; j++) a[i * D + j] -= f * a[k * D + j];
        }
    }
}

// raw with bound tanh(raw / bound) = log_size, or as near as that comes.
static double unbound(double log_size, double bound) {
    const double most = 1 - 1e-6;
    return bound * atanh(fmax(-most, fmin(most, log_size / bound)));
}

static void start(const plu_linear *l, const double *a, int64_t D) {
    for (int64_t i = 0; i < D * D; i++) {
        const bool diagonal = i / D == i % D;
        ad_param_set(l->LU, i, diagonal ? unbound(log(fabs(a[i])), l->linear.bound) : a[i]);
        if (diagonal) ((double *)l->sign->data)[i / D] = a[i] < 0 ? -1 : 1;
    }
}

// ---- making one -----------------------------------------------------------------------------------------------------

// permutation becomes a part. The identity but for that; false: out of memory.
static bool assemble(plu_linear *l, flow_layer *permutation, ad_error *error) {
    const int64_t D = l->linear.layer.x_shape.dim[0];
    flow_owner *owner = &l->linear.layer.owner;
    if (!permutation || flow_add_part(owner, "permutation", &permutation->owner, error)) return false;
    l->permutation = permutation;
    l->LU = flow_add_param(owner, "LU", l->linear.type, ad_shape2(D, D), error);
    l->sign = l->LU ? flow_add_state(owner, "sign", AD_F64, ad_shape1(D), error) : NULL;
    for (int64_t d = 0; l->sign && d < D; d++) ((double *)l->sign->data)[d] = 1;
    return l->sign != NULL;
}

static bool start_as_rotation(plu_linear *l, uint64_t seed, ad_error *error) {
    const int64_t D = l->linear.layer.x_shape.dim[0];
    double *a = calloc((size_t)D, (size_t)D * sizeof *a);
    int64_t *order = calloc((size_t)D, sizeof *order);
    bool ok = a && order;
    if (!ok) ad_fail(error, AD_ENOMEM, "plu linear: out of memory");
    if (ok) ok = flow_random_rotation(a, D, seed, error);
    if (ok) {
        factorise(a, D, order);
        ok = assemble(l, flow_permutation(D, order, error), error);
    }
    if (ok) start(l, a, D);
    free(order);
    free(a);
    return ok;
}

static flow_layer *in_order(int64_t D, ad_error *error) {
    int64_t *order = calloc((size_t)D, sizeof *order);
    if (!order) ad_fail(error, AD_ENOMEM, "plu linear: out of memory");
    for (int64_t d = 0; order && d < D; d++) order[d] = d;
    flow_layer *permutation = order ? flow_permutation(D, order, error) : NULL;
    free(order);
    return permutation;
}

flow_layer *flow_plu_linear(int64_t D, const flow_linear_options *options, ad_error *error) {
    const flow_linear_options o = options ? *options : (flow_linear_options){0};
    plu_linear *l = flow_linear_layer_new(&flow_plu_linear_type, sizeof *l, D, &o, error);
    if (!l) return NULL;
    if (o.random ? start_as_rotation(l, o.seed, error) : assemble(l, in_order(D, error), error))
        return &l->linear.layer;
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const plu_linear *l = (const plu_linear *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "permutation", flow_describe_layer(l->permutation));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_linear_options o = {0};
    if (!flow_linear_read(options, &D, &o, error) || !flow_take_elements(making, D * D + 2 * D, error)) return NULL;
    flow_layer *permutation = flow_make_layer(json_object_get(options, "permutation"), making, error);
    if (!permutation) return NULL;
    if (permutation->type != &flow_permutation_type || permutation->x_shape.dim[0] != D) {
        ad_fail(error, AD_EFORMAT, "plu linear: \"permutation\" should be a permutation of %lld features",
                (long long)D);
        flow_layer_free(permutation);
        return NULL;
    }
    plu_linear *l = flow_linear_layer_new(&flow_plu_linear_type, sizeof *l, D, &o, error);
    if (!l) flow_layer_free(permutation);
    if (!l || assemble(l, permutation, error)) return l ? &l->linear.layer : NULL;
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static flow_layer *example(int i, ad_error *error) {
    flow_linear_options o = {.no_shift = i % 3 == 1,
                             .random = i % 4 != 3,
                             .bound = i % 7 == 3 ? 2 : 0,
                             .seed = (uint64_t)i,
                             .type = i % 5 < 3 ? AD_F64 : AD_F32};
    return flow_plu_linear(1 + i % 6, &o, error);
}

const flow_layer_type flow_plu_linear_type = {.name = "plu linear",
                                              .normalize = normalize,
                                              .generate = generate,
                                              .describe = describe,
                                              .make = make,
                                              .example = example};
