// kronecker_linear.c -- the Kronecker product of two matrices: with x read as X [M,N], Z = A X B^T + b.
//
// M^2 + N^2 parameters mix all M N features; log|det| = N log|det A| + M log|det B|.
#include "internal.h"

typedef struct kronecker {
    flow_linear_layer linear;
    ad_param *A, *B;  // [M,M], [N,N]
} kronecker;

static ad_var transpose(ad_var v) {
    return ad_transpose(v, (const int[]){1, 0});
}

static ad_var log_det(const kronecker *l, ad_tape *tape) {
    ad_var a = ad_log_abs_det(ad_use(tape, l->A)), b = ad_log_abs_det(ad_use(tape, l->B));
    return ad_add(ad_scale(a, (double)l->B->shape.dim[0]), ad_scale(b, (double)l->A->shape.dim[0]));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const kronecker *l = (const kronecker *)layer;
    const int64_t M = l->A->shape.dim[0], N = l->B->shape.dim[0];
    ad_var XB = ad_linear(ad_use(x.tape, l->B), ad_reshape(x, ad_shape2(M, N)), AD_NONE);
    ad_var Z = ad_matmul(ad_use(x.tape, l->A), XB, 0);
    return (flow_result){flow_linear_shift(&l->linear, ad_reshape(Z, ad_shape1(M * N))), log_det(l, x.tape)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const kronecker *l = (const kronecker *)layer;
    const int64_t M = l->A->shape.dim[0], N = l->B->shape.dim[0];
    ad_var Z = ad_reshape(flow_linear_unshift(&l->linear, z), ad_shape2(M, N));
    ad_var XB = ad_solve(ad_use(z.tape, l->A), Z);
    ad_var X = transpose(ad_solve(ad_use(z.tape, l->B), transpose(XB)));
    return (flow_result){ad_reshape(X, ad_shape1(M * N)), ad_neg(log_det(l, z.tape))};
}

// The largest divisor up to the square root.
static int64_t middle(int64_t D) {
    int64_t best = 1;
    for (int64_t m = 1; m * m <= D; m++) best = D % m == 0 ? m : best;
    return best;
}

flow_layer *flow_kronecker_linear(int64_t D, const flow_kronecker_options *options, ad_error *error) {
    flow_kronecker_options o = options ? *options : (flow_kronecker_options){0};
    kronecker *l = flow_linear_layer_new(&flow_kronecker_linear_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    const int64_t M = o.first == 0 ? middle(D) : o.first;
    flow_owner *owner = &l->linear.layer.owner;
    if (M < 1 || D % M != 0) {
        ad_fail(error, AD_EARG, "kronecker linear: %lld features are no multiple of %lld", (long long)D, (long long)M);
    } else if ((l->A = flow_add_param(owner, "A", o.linear.type, ad_shape2(M, M), error)) &&
               (l->B = flow_add_param(owner, "B", o.linear.type, ad_shape2(D / M, D / M), error)) &&
               flow_start_matrix(l->A, o.linear.random, o.linear.seed, error) &&
               flow_start_matrix(l->B, o.linear.random, ~o.linear.seed, error)) {
        return &l->linear.layer;
    }
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const kronecker *l = (const kronecker *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "first", json_integer(l->A->shape.dim[0]));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_kronecker_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) || !flow_json_int(options, "first", 1, D, &o.first, error)) {
        return NULL;
    }
    const int64_t N = D / o.first;
    if (!flow_take_elements(making, o.first * o.first + N * N + D, error)) return NULL;
    return flow_kronecker_linear(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    static const int64_t sizes[][2] = {{1, 1}, {2, 1}, {2, 2}, {4, 2}, {6, 2}, {6, 3}, {4, 0}, {3, 3}};
    const int64_t *size = sizes[i % 8];
    flow_kronecker_options o = {
        .first = size[1],
        .linear = {
            .no_shift = i % 3 == 1, .random = i % 5 > 2, .seed = (uint64_t)i, .type = i % 7 < 3 ? AD_F64 : AD_F32}};
    return flow_kronecker_linear(size[0], &o, error);
}

const flow_layer_type flow_kronecker_linear_type = {.name = "kronecker linear",
                                                    .normalize = normalize,
                                                    .generate = generate,
                                                    .describe = describe,
                                                    .make = make,
                                                    .example = example};
