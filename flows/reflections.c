// reflections.c -- products of Householder reflections, and what layers made of them share.
//
// H_K ... H_1 = I - V^T U of the unit vectors V [K,D], with U = S^-T V and S = I/2 + the part of V V^T above the
// diagonal (Joffrain et al. 2006): two thin products, instead of K reflections one after the other. A vector of length
// 0 reflects nothing.
#include "internal.h"

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

// ---- layers ---------------------------------------------------------------------------------------------------------

void *flow_reflecting_new(const flow_layer_type *type, size_t size, int64_t D, const flow_householder_options *options,
                          flow_householder_options *o, ad_error *error) {
    *o = options ? *options : (flow_householder_options){0};
    if (o->reflections == 0) o->reflections = D + D % 2;
    if (o->reflections >= 0 && o->reflections <= FLOW_MAX_FEATURES) {
        return flow_linear_layer_new(type, size, D, &o->linear, error);
    }
    ad_fail(error, AD_EARG, "%s: %lld reflections; expected 1 to 2^24", type->name, (long long)o->reflections);
    return NULL;
}

json_t *flow_reflecting_describe(const flow_layer *layer) {
    const flow_reflecting *l = (const flow_reflecting *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "reflections", json_integer(l->V->shape.dim[0]));
}

bool flow_reflecting_read(const json_t *options, int64_t *D, flow_householder_options *o, ad_error *error) {
    *o = (flow_householder_options){0};
    return flow_linear_read(options, D, &o->linear, error) &&
           flow_json_int(options, "reflections", 1, FLOW_MAX_FEATURES, &o->reflections, error);
}

flow_householder_options flow_reflecting_example(int i) {
    return (flow_householder_options){.reflections = i % 4,
                                      .linear = {.no_shift = i % 3 == 1,
                                                 .random = i % 2,
                                                 .bound = i % 7 == 3 ? 1 : 0,
                                                 .seed = (uint64_t)i,
                                                 .type = i % 5 < 3 ? AD_F64 : AD_F32}};
}
