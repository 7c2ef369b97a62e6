// sylvester.c -- Sylvester flows: planar flows along M orthogonal directions at once.
//
// van den Berg, Hasenclever, Tomczak and Welling 2018, eq. 8-13: y = x + Q R tanh(R~ Q^T x + b), Q [D,M] with
// orthonormal columns, R and R~ [M,M] upper triangular. By Sylvester's identity the determinant is the product over i
// of 1 + (1 - t_i^2) r_i r~_i, t = tanh(...), which in m_i = 1 + r_i r~_i is t_i^2 + m_i (1 - t_i^2). The diagonals are
// 0.99 tanh(raw), so that m_i is 0.02 to 1.98: one to one, and bounded both ways.
//
// The other direction is an equation of M unknowns a row: t = tanh(c - G t), c = R~ Q^T y + b, G = R~ R upper
// triangular. Newton steps with the diagonal of the Jacobian alone settle the last unknown as a scalar Newton method
// does, then the one before it, and so on: the slope of t - tanh(c - g t) is at least 0.02 and has one extremum, so
// that from any point in
// [-1, 1], and held there, the steps converge. At the solution the step's own Jacobian is strictly triangular, so that
// the adjoint equation ends after at most M iterations.
#include <float.h>
#include <math.h>

#include "internal.h"

typedef struct sylvester {
    flow_layer layer;
    flow_sylvester_kind kind;
    ad_param *W;                // vectors of reflections [K,D], or what Q is the QR factor of [D,M]; NULL: triangular
    ad_param *R, *R_tilde, *b;  // [M,M], [M,M], [M]
    flow_net *net;              // [C] -> [M], added to b, or NULL
    bool flip;
} sylvester;

enum { KINDS = 4 };
static const char *const kind_names[KINDS] = {"householder", "orthogonal", "triangular", "reversed triangular"};

typedef struct recorded {
    ad_var out, in;  // Q R [D,M], R~ Q^T [M,D]
    ad_var b, G;     // [M], [M,M]
    ad_var stretch;  // r_i r~_i, [M]
} recorded;

static ad_var triangle(ad_var raw, ad_var *diagonal) {
    *diagonal = ad_scale(ad_tanh(ad_diagonal(raw)), 0.99);
    return ad_add(ad_triu(raw, 1), ad_diag(*diagonal));
}

// Q, of the kinds that have one.
static ad_var basis(const sylvester *l, ad_tape *tape) {
    if (l->kind == FLOW_SYLVESTER_ORTHOGONAL) return ad_qr(ad_use(tape, l->W)).Q;
    const int64_t D = l->layer.x_shape.dim[0], M = l->b->count;
    flow_reflections r = flow_reflections_use(tape, l->W);
    ad_var I = ad_slice(ad_diag(ad_fill(tape, ad_shape1(D), 1)), 1, 0, M);
    return ad_sub(I, ad_matmul(r.V, ad_slice(r.U, 1, 0, M), AD_TRANSPOSE_A));
}

static recorded record(const sylvester *l, ad_tape *tape, ad_var context) {
    ad_var r, r_tilde, R = triangle(ad_use(tape, l->R), &r), R_tilde = triangle(ad_use(tape, l->R_tilde), &r_tilde);
    recorded a = {.G = ad_matmul(R_tilde, R, 0), .stretch = ad_mul(r, r_tilde)};
    a.b = flow_with_context(ad_use(tape, l->b), l->net ? flow_net_apply(l->net, context) : AD_NONE, 0);
    if (l->kind == FLOW_SYLVESTER_TRIANGULAR) {
        a.out = R, a.in = R_tilde;
    } else if (l->kind == FLOW_SYLVESTER_REVERSED) {
        a.out = ad_flip(R, 0), a.in = ad_flip(R_tilde, 1);
    } else {
        ad_var Q = basis(l, tape);
        a.out = ad_matmul(Q, R, 0);
        a.in = ad_matmul(R_tilde, Q, AD_TRANSPOSE_B);
    }
    return a;
}

static ad_var inner(const recorded *a, ad_var v) {
    return ad_add(ad_linear(a->in, v, AD_NONE), a->b);
}

// log(t^2 + (1 + stretch) (1 - t^2))
static ad_var log_det(const recorded *a, ad_var t) {
    return ad_log1p(ad_mul(a->stretch, ad_offset(ad_neg(ad_square(t)), 1)));
}

static flow_result there(const recorded *a, ad_var x) {
    ad_var t = ad_tanh(inner(a, x));
    return (flow_result){ad_add(x, ad_linear(a->out, t, AD_NONE)), log_det(a, t)};
}

typedef struct equation {
    ad_var c, G, stretch;
    ad_var rounding;  // of the argument of tanh, [M]
    double eps;
} equation;

// One step. Where t solves its equation to rounding it stays as it is, lest the equations before it see it jitter; its
// derivatives are those of the step all the same.
static ad_var newton(void *arg, ad_var t) {
    const equation *e = arg;
    ad_var tau = ad_tanh(ad_sub(e->c, ad_linear(e->G, t, AD_NONE)));
    ad_var rest = ad_sub(t, tau), bend = ad_offset(ad_neg(ad_square(tau)), 1);
    ad_var allowed = ad_scale(ad_offset(ad_mul(e->rounding, bend), 4), e->eps);
    ad_var step = ad_div(rest, ad_offset(ad_mul(e->stretch, bend), 1));
    ad_var kept = ad_where(ad_less_equal(ad_abs(rest), allowed), step, ad_number(t.tape, 0));
    return ad_clamp(ad_sub(t, ad_sub(step, ad_stop_gradient(kept))), -1, 1);
}

static flow_result back(const recorded *a, ad_var y) {
    const int64_t M = ad_dim(a->b, 0);
    equation e = {.c = inner(a, y), .G = a->G, .stretch = a->stretch};
    e.eps = ad_tape_type(y.tape) == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    e.rounding = ad_scale(ad_sum_axis(ad_abs(a->G), 1), 2);
    ad_solver_options o = {.max_iterations = M < 50000 ? 200 + 20 * (int)M : 1000200};
    ad_var t = ad_stop_gradient(ad_fixed_point(ad_tanh(e.c), newton, &e, &o).value);
    // Once more from there for the derivatives: in the adjoint equation, where the slope is 0.02, rounding stays within
    // some hundred times itself.
    o.tolerance = 512 * e.eps;
    t = ad_fixed_point(t, newton, &e, &o).value;
    return (flow_result){ad_sub(y, ad_linear(a->out, t, AD_NONE)), ad_neg(log_det(a, t))};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const sylvester *l = (const sylvester *)layer;
    recorded a = record(l, x.tape, context);
    return (l->flip ? there : back)(&a, x);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const sylvester *l = (const sylvester *)layer;
    recorded a = record(l, z.tape, context);
    return (l->flip ? back : there)(&a, z);
}

// ---- making ---------------------------------------------------------------------------------------------------------

// R = 0 is the identity, and has a gradient where R~ and b are not zero.
static void start(const sylvester *l, uint64_t random) {
    const int64_t M = l->b->count;
    if (l->kind == FLOW_SYLVESTER_HOUSEHOLDER) flow_reflections_start(l->W, true, &random);
    if (l->kind == FLOW_SYLVESTER_ORTHOGONAL) flow_fill_uniform(l->W, 1, &random);
    for (int64_t i = 0; i < M * M; i++) {
        double v = flow_random_unit(&random);
        if (i / M <= i % M) ad_param_set(l->R_tilde, i, i / M == i % M ? v : v / sqrt((double)M));
    }
    flow_fill_uniform(l->b, 1, &random);
}

static bool settle(const flow_sylvester_options *o, int64_t D, int64_t M, int64_t K, ad_error *error) {
    const bool all = o->kind >= FLOW_SYLVESTER_TRIANGULAR;
    if ((unsigned)o->kind >= KINDS) {
        ad_fail(error, AD_EARG, "sylvester: kind %d; expected 0 to %d", (int)o->kind, KINDS - 1);
    } else if (M < 1 || M > D || (all && M != D)) {
        ad_fail(error, AD_EARG, "sylvester: %lld directions in %lld features%s", (long long)M, (long long)D,
                all ? "; a triangular one has as many" : "");
    } else if (K < 1 || K > FLOW_MAX_FEATURES) {
        ad_fail(error, AD_EARG, "sylvester: %lld reflections; expected 1 to 2^24", (long long)K);
    } else {
        return true;
    }
    return false;
}

flow_layer *flow_sylvester(int64_t D, int64_t C, const flow_sylvester_options *options, ad_error *error) {
    flow_sylvester_options o = options ? *options : (flow_sylvester_options){0};
    const int64_t M = o.directions == 0 ? D : o.directions, K = o.reflections == 0 ? D : o.reflections;
    sylvester *l = flow_layer_new(&flow_sylvester_type, sizeof *l, D, C, error);
    if (!l || !settle(&o, D, M, K, error)) {
        flow_net_free(o.net);
        flow_layer_free(l ? &l->layer : NULL);
        return NULL;
    }
    l->layer.jacobian = (flow_jacobian){.structure = FLOW_LOW_RANK, .rank = M};
    l->kind = o.kind;
    l->flip = o.flip;
    const ad_shape W = o.kind == FLOW_SYLVESTER_HOUSEHOLDER ? ad_shape2(K, D) : ad_shape2(D, M);
    flow_owner *owner = &l->layer.owner;
    if (flow_add_context_net(&l->layer, M, o.net, &o.mlp, &l->net, error) &&
        (o.kind >= FLOW_SYLVESTER_TRIANGULAR || (l->W = flow_add_param(owner, "W", o.type, W, error))) &&
        (l->R = flow_add_param(owner, "R", o.type, ad_shape2(M, M), error)) &&
        (l->R_tilde = flow_add_param(owner, "R_tilde", o.type, ad_shape2(M, M), error)) &&
        (l->b = flow_add_param(owner, "b", o.type, ad_shape1(M), error))) {
        start(l, o.seed);
        return &l->layer;
    }
    flow_layer_free(&l->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const sylvester *l = (const sylvester *)layer;
    const int64_t K = l->kind == FLOW_SYLVESTER_HOUSEHOLDER ? l->W->shape.dim[0] : 1;
    return json_pack("{s:I, s:I, s:s, s:I, s:I, s:b, s:s, s:o}", "features", (json_int_t)layer->x_shape.dim[0],
                     "context", (json_int_t)layer->C, "kind", kind_names[l->kind], "directions",
                     (json_int_t)l->b->count, "reflections", (json_int_t)K, "flip", l->flip, "precision",
                     flow_type_text(l->b->type), "net", l->net ? flow_describe_net(l->net) : json_null());
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, C;
    int kind;
    flow_sylvester_options o = {0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_choice(options, "kind", kind_names, KINDS, &kind, error) ||
        !flow_json_int(options, "directions", 1, D, &o.directions, error) ||
        !flow_json_int(options, "reflections", 1, FLOW_MAX_FEATURES, &o.reflections, error) ||
        !flow_json_bool(options, "flip", &o.flip, error) || !flow_json_type(options, &o.type, error)) {
        return NULL;
    }
    o.kind = (flow_sylvester_kind)kind;
    const int64_t M = o.directions, vectors = o.kind == FLOW_SYLVESTER_HOUSEHOLDER ? o.reflections : M;
    if (!flow_take_elements(making, (o.kind >= FLOW_SYLVESTER_TRIANGULAR ? 0 : vectors * D) + 2 * M * M + M, error) ||
        !flow_read_context_net(options, making, C, &o.net, error)) {
        return NULL;
    }
    return flow_sylvester(D, C, &o, error);
}

static flow_layer *example(int i, ad_error *error) {
    const ad_type type = i % 3 ? AD_F64 : AD_F32;
    const int64_t D = 1 + i % 5;
    flow_sylvester_options o = {
        .kind = (flow_sylvester_kind)(i % KINDS),
        .directions = i % KINDS < 2 && i % 3 == 1 ? (D + 1) / 2 : 0,
        .reflections = i % 4 == 0 ? i % 3 : 0,
        .flip = i / 4 % 2,
        .mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH, .seed = (uint64_t)i, .type = type},
        .seed = (uint64_t)i,
        .type = type};
    return flow_sylvester(D, i / 2 % 3, &o, error);
}

const flow_layer_type flow_sylvester_type = {.name = "sylvester",
                                             .normalize = normalize,
                                             .generate = generate,
                                             .describe = describe,
                                             .make = make,
                                             .example = example};
