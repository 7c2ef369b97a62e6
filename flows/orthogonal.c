// orthogonal.c -- an orthogonal matrix from free numbers: z = Q x + b, log_det 0.
//
// Q = exp(A) or (I - A)^-1 (I + A), with A = L - L^T for the part L of W below the diagonal, are rotations for any W
// (Golinski, Lezcano-Casado and Rainforth 2019; Cayley's reaches those without an eigenvalue -1). The third way takes
// the Q of W's QR factors, so that W is brought back to an orthogonal matrix in every step however far training moved
// it.
#include "internal.h"

typedef struct orthogonal {
    flow_linear_layer linear;
    ad_param *W;  // [D,D]
    flow_orthogonal_kind kind;
} orthogonal;

enum { KINDS = 3 };
static const char *const kind_names[KINDS] = {"exp", "cayley", "qr"};

static ad_var matrix(const orthogonal *l, ad_tape *tape) {
    ad_var W = ad_use(tape, l->W);
    if (l->kind == FLOW_ORTHOGONAL_QR) return ad_qr(W).Q;
    ad_var L = ad_tril(W, -1), A = ad_sub(L, ad_transpose(L, (const int[]){1, 0}));
    if (l->kind == FLOW_ORTHOGONAL_EXP) return ad_matrix_exp(A);
    ad_var I = ad_diag(ad_fill(tape, ad_shape1(l->W->shape.dim[0]), 1));
    return ad_solve(ad_sub(I, A), ad_add(I, A));  // I - A has singular values of at least 1
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const orthogonal *l = (const orthogonal *)layer;
    return (flow_result){ad_linear(matrix(l, x.tape), x, flow_linear_b(&l->linear, x.tape)), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const orthogonal *l = (const orthogonal *)layer;
    return (flow_result){ad_linear_transposed(matrix(l, z.tape), flow_linear_unshift(&l->linear, z)), AD_NONE};
}

static bool start(const orthogonal *l, const flow_linear_options *o, ad_error *error) {
    uint64_t random = o->seed;
    if (l->kind == FLOW_ORTHOGONAL_QR) return flow_start_matrix(l->W, o->random, o->seed, error);
    if (o->random) flow_fill_uniform(l->W, 1, &random);
    return true;
}

flow_layer *flow_orthogonal(int64_t D, const flow_orthogonal_options *options, ad_error *error) {
    flow_orthogonal_options o = options ? *options : (flow_orthogonal_options){0};
    if ((unsigned)o.kind >= KINDS) {
        ad_fail(error, AD_EARG, "orthogonal: kind %d; expected 0 to %d", (int)o.kind, KINDS - 1);
        return NULL;
    }
    orthogonal *l = flow_linear_layer_new(&flow_orthogonal_type, sizeof *l, D, &o.linear, error);
    if (!l) return NULL;
    l->kind = o.kind;
    l->W = flow_add_param(&l->linear.layer.owner, "W", o.linear.type, ad_shape2(D, D), error);
    if (l->W && start(l, &o.linear, error)) return &l->linear.layer;
    flow_layer_free(&l->linear.layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const orthogonal *l = (const orthogonal *)layer;
    return flow_json_with(flow_linear_describe(&l->linear), "kind", json_string(kind_names[l->kind]));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    int kind;
    flow_orthogonal_options o = {0};
    if (!flow_linear_read(options, &D, &o.linear, error) ||
        !flow_json_choice(options, "kind", kind_names, KINDS, &kind, error) ||
        !flow_take_elements(making, D * D + D, error)) {
        return NULL;
    }
    o.kind = (flow_orthogonal_kind)kind;
    return flow_orthogonal(D, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    flow_orthogonal_options o = {
        .kind = (flow_orthogonal_kind)(i % KINDS),
        .linear = {.no_shift = i % 4 == 1, .random = i % 2, .seed = (uint64_t)i, .type = i % 5 < 2 ? AD_F64 : AD_F32}};
    return flow_orthogonal(1 + i % 5, &o, error);
}

const flow_layer_type flow_orthogonal_type = {.name = "orthogonal",
                                              .structure = FLOW_ORTHOGONAL,
                                              .normalize = normalize,
                                              .generate = generate,
                                              .describe = describe,
                                              .make = make,
                                              .example = example};
