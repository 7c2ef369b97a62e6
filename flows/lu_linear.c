// lu_linear.c -- an invertible linear map by its triangular factors: z = L U x + b.
//
// Dinh et al. 2017 mix features by permutations; Oliva et al. 2018 and Kingma and Dhariwal 2018 (section 3.2) by
// matrices whose determinant is known from their LU factors. Both factors share one parameter [D,D]: L's entries below
// the diagonal (its diagonal is 1), U's above it, and on it what softplus makes U's diagonal of.
#include <math.h>

#include "internal.h"

typedef struct lu_linear {
    flow_layer layer;
    ad_param *LU, *b;         // [D,D], [D]
    flow_layer *permutation;  // in front, or NULL
    double floor;             // what U's diagonal stays above
} lu_linear;

// Up to here normalize multiplies by W = L U: one product of D^2 a row and D^3 a step, where the factors one after the
// other cost 2 D^2 a row. With fewer rows in a batch than D the factors would be faster.
enum { LARGEST_PRODUCT = 256 };

static ad_var diagonal_of_U(const lu_linear *l, ad_var LU) {
    return ad_offset(ad_softplus(ad_diagonal(LU)), l->floor);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const lu_linear *l = (const lu_linear *)layer;
    ad_var LU = ad_use(x.tape, l->LU), b = ad_use(x.tape, l->b), diagonal = diagonal_of_U(l, LU);
    ad_var below = ad_tril(LU, -1), U = ad_add(ad_triu(LU, 1), ad_diag(diagonal)), z;
    if (l->permutation) x = flow_record(l->permutation, FLOW_NORMALIZE, -1, x, AD_NONE).value;
    if (layer->x_shape.dim[0] <= LARGEST_PRODUCT) {
        z = ad_linear(ad_add(U, ad_matmul(below, U, 0)), x, b);
    } else {
        ad_var y = ad_linear(U, x, AD_NONE);
        z = ad_add(y, ad_linear(below, y, b));
    }
    return (flow_result){z, ad_sum(ad_log(diagonal))};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const lu_linear *l = (const lu_linear *)layer;
    ad_var LU = ad_use(z.tape, l->LU), diagonal = diagonal_of_U(l, LU);
    ad_var U = ad_add(ad_triu(LU, 1), ad_diag(diagonal));
    ad_var y = ad_solve_triangular(LU, ad_sub(z, ad_use(z.tape, l->b)), AD_UNIT_DIAGONAL);
    ad_var x = ad_solve_triangular(U, y, AD_UPPER);
    if (l->permutation) x = flow_record(l->permutation, FLOW_GENERATE, -1, x, AD_NONE).value;
    return (flow_result){x, ad_neg(ad_sum(ad_log(diagonal)))};
}

static void start(const lu_linear *l, int64_t D, const flow_lu_linear_options *o) {
    uint64_t random = o->seed;
    for (int64_t i = 0; i < D * D; i++) {
        bool diagonal = i / D == i % D;
        if (o->random && !diagonal) ad_param_set(l->LU, i, flow_random_unit(&random) / sqrt((double)D));
        if (diagonal) ad_param_set(l->LU, i, log(expm1(1 - l->floor)));
    }
}

// permutation becomes a part; NULL: none.
static flow_layer *assemble(int64_t D, flow_layer *permutation, const flow_lu_linear_options *o, ad_error *error) {
    lu_linear *l = flow_layer_new(&flow_lu_linear_type, sizeof *l, D, 0, error);
    if (!l || (permutation && flow_add_part(&l->layer.owner, "permutation", &permutation->owner, error))) {
        if (!l) flow_layer_free(permutation);
        flow_layer_free(l ? &l->layer : NULL);
        return NULL;
    }
    l->permutation = permutation;
    l->floor = o->floor == 0 ? 1e-3 : o->floor;
    if (!(l->floor > 0 && l->floor < 1)) {
        ad_fail(error, AD_EARG, "lu linear: floor %g of the diagonal; expected 0 to 1", l->floor);
    } else if ((l->LU = flow_add_param(&l->layer.owner, "LU", o->type, ad_shape2(D, D), error)) &&
               (l->b = flow_add_param(&l->layer.owner, "b", o->type, ad_shape1(D), error))) {
        start(l, D, o);
        return &l->layer;
    }
    flow_layer_free(&l->layer);
    return NULL;
}

flow_layer *flow_lu_linear(int64_t D, const flow_lu_linear_options *options, ad_error *error) {
    flow_lu_linear_options o = options ? *options : (flow_lu_linear_options){0};
    flow_layer *permutation = NULL;
    if (o.order || o.shuffle) {
        permutation = o.order ? flow_permutation(D, o.order, error) : flow_random_permutation(D, ~o.seed, error);
        if (!permutation) return NULL;
    }
    return assemble(D, permutation, &o, error);
}

static json_t *describe(const flow_layer *layer) {
    const lu_linear *l = (const lu_linear *)layer;
    return json_pack("{s:I, s:f, s:s, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "floor", l->floor,
                     "precision", flow_type_text(l->LU->type), "permutation",
                     l->permutation ? flow_describe_layer(l->permutation) : json_null());
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D;
    flow_lu_linear_options o = {0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_number(options, "floor", &o.floor, error) || !flow_json_type(options, &o.type, error) ||
        !flow_take_elements(making, D * D + D, error)) {
        return NULL;
    }
    const json_t *described = json_object_get(options, "permutation");
    if (json_is_null(described)) return assemble(D, NULL, &o, error);
    flow_layer *permutation = flow_make_layer(described, making, error);
    if (permutation && permutation->type == &flow_permutation_type && permutation->x_shape.dim[0] == D) {
        return assemble(D, permutation, &o, error);
    }
    if (permutation) {
        ad_fail(error, AD_EFORMAT, "lu linear: \"permutation\" should be null or a permutation of %lld features",
                (long long)D);
    }
    flow_layer_free(permutation);
    return NULL;
}

static flow_layer *example(int i, ad_error *error) {
    flow_lu_linear_options o = {.shuffle = i % 3 == 1,
                                .floor = i % 4 == 3 ? 0.3 : 0,
                                .random = i % 2 == 1,
                                .seed = (uint64_t)i,
                                .type = i % 5 < 2 ? AD_F64 : AD_F32};
    return flow_lu_linear(1 + i % 6, &o, error);
}

const flow_layer_type flow_lu_linear_type = {.name = "lu linear",
                                             .normalize = normalize,
                                             .generate = generate,
                                             .describe = describe,
                                             .make = make,
                                             .example = example};
