// low_rank_linear.c -- a diagonal matrix plus one of low rank: z = (diag(d) + U V^T) x + b.
//
// With C = I + V^T diag(1/d) U [K,K], the matrix determinant lemma gives log|det| = sum log d + log|det C|, and
// Woodbury's identity the inverse: with y = diag(1/d) (z - b), x = y - diag(1/d) U C^-1 V^T y.
#include "internal.h"

typedef struct low_rank {
    flow_linear_layer linear;
    ad_param *U, *V;      // [D,K]; V NULL: it is U
    ad_param *log_scale;  // [D], raw
} low_rank;

typedef struct recorded {
    ad_var U, V, log_d, C;
} recorded;

static recorded record(const low_rank *l, ad_tape *tape) {
    recorded r = {.U = ad_use(tape, l->U), .log_d = flow_bounded(ad_use(tape, l->log_scale), l->linear.bound)};
    r.V = l->V ? ad_use(tape, l->V) : r.U;
    ad_var scaled = ad_mul(r.U, ad_insert_axis(ad_exp(ad_neg(r.log_d)), 1));
    ad_var I = ad_diag(ad_fill(tape, ad_shape1(l->U->shape.dim[1]), 1));
    r.C = ad_add(I, ad_matmul(r.V, scaled, AD_TRANSPOSE_A));
    return r;
}

static ad_var log_det(const recorded *r) {
    return ad_add(ad_sum(r->log_d), ad_log_abs_det(r->C));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const low_rank *l = (const low_rank *)layer;
    recorded r = record(l, x.tape);
    ad_var across = ad_linear(r.U, ad_linear_transposed(r.V, x), flow_linear_b(&l->linear, x.tape));
    return (flow_result){ad_add(ad_mul(x, ad_exp(r.log_d)), across), log_det(&r)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const low_rank *l = (const low_rank *)layer;
    recorded r = record(l, z.tape);
    ad_var over_d = ad_exp(ad_neg(r.log_d)), y = ad_mul(flow_linear_unshift(&l->linear, z), over_d);
    ad_var w = ad_solve(r.C, ad_linear_transposed(r.V, y));
    return (flow_result){ad_sub(y, ad_mul(ad_linear(r.U, w, AD_NONE), over_d)), ad_neg(log_det(&r))};
}

// U = 0 is the identity, and has gradients where V is not zero; with V = U only small numbers have.
static bool start(low_rank *l, int64_t D, int64_t K, const flow_low_rank_options *o, ad_error *error) {
    flow_owner *owner = &l->linear.layer.owner;
    uint64_t random = o->linear.seed;
    if (!(l->U = flow_add_param(owner, "U", o->linear.type, ad_shape2(D, K), error)) ||
        (!o->symmetric && !(l->V = flow_add_param(owner, "V", o->linear.type, ad_shape2(D, K), error))) ||
        !(l->log_scale = flow_add_param(owner, "log_scale", o->linear.type, ad_shape1(D), error))) {
        return false;
    }
    const double spread = 1 / (double)D;
    if (l->V) flow_fill_uniform(l->V, spread, &random);
    if (!l->V || o->linear.random) flow_fill_uniform(l->U, o->linear.random ? spread : 1e-3, &random);
    return true;
}

flow_layer *flow_low_rank_linear(int64_t D, const flow_low_rank_options *options, ad_error *error) {
    flow_low_rank_options o = options ? *options : (flow_low_rank_options){0};
    const int64_t K = o.rank == 0 ? 1 : o.rank;
    if (K < 1 || K > D) {
        ad_fail(error, AD_EARG, "low rank linear: rank %lld of %lld features", (long long)K, (long long)D);
        return NULL;
    }
    low_rank *l = flow_linear_layer_new(&flow_low_rank_linear_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    if (start(l, D, K, &o, error)) return &l->linear.layer;
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const low_rank *l = (const low_rank *)layer;
    json_t *options = flow_json_with(flow_linear_describe(&l->linear), "rank", json_integer(l->U->shape.dim[1]));
    return flow_json_with(options, "symmetric", json_boolean(l->V == NULL));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_low_rank_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) || !flow_json_int(options, "rank", 1, D, &o.rank, error) ||
        !flow_json_bool(options, "symmetric", &o.symmetric, error) ||
        !flow_take_elements(making, 2 * (o.rank + 1) * D, error)) {
        return NULL;
    }
    return flow_low_rank_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 6;
    flow_low_rank_options o = {.rank = 1 + i % 3 < D ? 1 + i % 3 : D,
                               .symmetric = i % 4 > 1,
                               .linear = {.no_shift = i % 3 == 1,
                                          .random = i % 2,
                                          .bound = i % 5 == 3 ? 0.8 : 0,
                                          .seed = (uint64_t)i,
                                          .type = i % 5 < 3 ? AD_F64 : AD_F32}};
    return flow_low_rank_linear(D, &o, error);
}

const flow_layer_type flow_low_rank_linear_type = {.name = "low rank linear",
                                                   .normalize = normalize,
                                                   .generate = generate,
                                                   .describe = describe,
                                                   .make = make,
                                                   .example = example};
