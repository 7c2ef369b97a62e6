// test_init_back.c -- flow_init_from_data through flow_inverse: layers fit rows that come to their latent side.
#include "layers.h"

enum { D = 3, ROWS = 60 };

// Correlated, in units of their own.
static void fill(double *x) {
    uint64_t seed = 5;
    for (int r = 0; r < ROWS; r++) {
        const double common = util_uniform(&seed, -1, 1);
        for (int d = 0; d < D; d++)
            x[r * D + d] = pow(100, d - 1) * (3 + common * (d + 1) + util_uniform(&seed, -1, 1));
    }
}

static flow_model *model_of(flow_layer *layer) {
    layers_assert_made(layer);
    flow_model *model =
        flow_model_new(layer, flow_standard_normal(layer->z_shape.dim[0], &layers_error), &layers_error);
    layers_assert_made(model);
    return model;
}

static flow_model *fitted(flow_layer *layer, const double *x) {
    flow_model *model = model_of(layer);
    const flow_rows rows = {.x = util_source(x, ROWS)};
    if (flow_init_from_data(model, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    return model;
}

// Mean 0 and variance 1 of each feature of z.
static void assert_standard(const double *z, double tolerance) {
    for (int d = 0; d < D; d++) {
        double mean = 0, square = 0;
        for (int r = 0; r < ROWS; r++) mean += z[r * D + d] / ROWS, square += z[r * D + d] * z[r * D + d] / ROWS;
        util_assert_close(mean, 0, tolerance);
        util_assert_close(square, 1, tolerance);
    }
}

static flow_layer *standardise(void) {
    return flow_standardise(D, &(flow_standardise_options){.type = AD_F64}, &layers_error);
}
static flow_layer *actnorm(void) {
    return flow_actnorm(D, &(flow_linear_options){.type = AD_F64}, &layers_error);
}
static flow_layer *batch_norm(void) {
    const flow_batch_norm_options o = {.eps = 1e-20, .linear = {.type = AD_F64}};
    return flow_batch_norm(D, &o, &layers_error);
}
static flow_layer *whiten(void) {
    return flow_whiten(D, &layers_error);
}

// And the same density as of the layer the right way round, which fits the same numbers.
static void fitted_layers_standardise_by_generate(void **state) {
    (void)state;
    flow_layer *(*const makes[])(void) = {standardise, actnorm, batch_norm, whiten};
    double x[ROWS * D], z[2][ROWS * D], log_det[2][ROWS];
    fill(x);
    for (int i = 0; i < 4; i++) {
        flow_model *back = fitted(flow_inverse(makes[i](), &layers_error), x), *there = fitted(makes[i](), x);
        layers_run(flow_model_layer(back), AD_F64, true, x, ROWS, z[0], log_det[0]);
        layers_run(flow_model_layer(there), AD_F64, true, x, ROWS, z[1], log_det[1]);
        assert_standard(z[0], 1e-11);
        util_assert_all_close(z[0], z[1], ROWS * D, 1e-11);
        util_assert_all_close(log_det[0], log_det[1], ROWS, 1e-11);
        flow_model_free(back);
        flow_model_free(there);
    }
}

static flow_layer *coupling(uint64_t seed) {
    const flow_mlp_options mlp = {.layers = 1, .width = 4, .activation = FLOW_TANH, .seed = seed, .type = AD_F64};
    flow_layer *layer = flow_affine_coupling(D, 0, &(flow_coupling_options){.mlp = mlp}, &layers_error);
    layers_assert_made(layer);
    const flow_owner *net = layers_part(layer, "net");
    for (int i = 0; i < net->n_params; i++) {
        for (int64_t k = 0; k < net->params[i]->count; k++) {
            ad_param_set(net->params[i], k, util_uniform(&seed, -0.3, 0.3));
        }
    }
    return layer;
}

// Of a chain the last layer comes first, and each sees what those before it leave.
static void chains_are_gone_through_backwards(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], log_det[ROWS];
    fill(x);
    flow_layer *layers[] = {actnorm(), coupling(1), standardise()};
    flow_model *model = fitted(flow_inverse(flow_chain(layers, 3, &layers_error), &layers_error), x);
    layers_run(layers[2], AD_F64, false, x, ROWS, z, log_det);
    assert_standard(z, 1e-11);
    layers_run(flow_model_layer(model), AD_F64, true, x, ROWS, z, log_det);
    assert_standard(z, 1e-11);
    flow_model_free(model);
}

static void layers_side_by_side_see_their_columns(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], log_det[ROWS];
    fill(x);
    const flow_linear_options f64 = {.type = AD_F64};
    flow_layer *parts[] = {flow_actnorm(1, &f64, &layers_error), flow_whiten(2, &layers_error)};
    flow_model *model = fitted(flow_inverse(flow_split(parts, 2, &layers_error), &layers_error), x);
    layers_run(flow_model_layer(model), AD_F64, true, x, ROWS, z, log_det);
    assert_standard(z, 1e-11);
    flow_model_free(model);
}

static void twice_the_other_way_round_is_the_way_it_was(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], log_det[ROWS];
    fill(x);
    flow_layer *inner = standardise();
    flow_model *model = fitted(flow_inverse(flow_inverse(inner, &layers_error), &layers_error), x);
    layers_run(inner, AD_F64, true, x, ROWS, z, log_det);
    assert_standard(z, 1e-11);
    flow_model_free(model);
}

// Done once: the second rows change nothing.
static void it_is_done_once(void **state) {
    (void)state;
    double x[ROWS * D], z[2][ROWS * D], log_det[ROWS];
    fill(x);
    flow_model *model = fitted(flow_inverse(actnorm(), &layers_error), x);
    layers_run(flow_model_layer(model), AD_F64, true, x, ROWS, z[0], log_det);
    const flow_rows rows = {.x = util_source(z[0], ROWS)};
    assert_int_equal(flow_init_from_data(model, &rows, &layers_error), AD_OK);
    layers_run(flow_model_layer(model), AD_F64, true, x, ROWS, z[1], log_det);
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    flow_model_free(model);
}

// Maps with nothing to fit look at the rows: what has no place on that side is refused, by row and feature.
static void rows_are_looked_at(void **state) {
    (void)state;
    const double far[4] = {-3, 0.5, 7, 2}, half[4] = {0.5, 0.2, 1.5, 0.1};
    const flow_rows rows[] = {{.x = util_source(far, 2)}, {.x = util_source(half, 2)}};
    flow_model *logit = model_of(flow_inverse(flow_logit(2, NULL, &layers_error), &layers_error));
    assert_int_equal(flow_init_from_data(logit, &rows[0], &layers_error), AD_OK);
    flow_model_free(logit);
    for (int i = 0; i < 2; i++) {  // x = sigmoid(z), which lies in (0, 1); the other way round z = sigmoid(x)
        flow_layer *sigmoid = flow_bijector(2, "sigmoid", NULL, &layers_error);
        flow_model *model = model_of(i ? flow_inverse(sigmoid, &layers_error) : sigmoid);
        const ad_status status = flow_init_from_data(model, &rows[1], &layers_error);
        assert_int_equal(status, i ? AD_EARG : AD_OK);
        if (i) util_assert_contains(layers_error.message, "bijector 'sigmoid': row 1, feature 0 is 1.5");
        flow_model_free(model);
    }
    const double constant[4] = {1, 2, 1, 3};
    flow_model *model = model_of(flow_inverse(flow_whiten(2, &layers_error), &layers_error));
    assert_int_equal(flow_init_from_data(model, &(flow_rows){.x = util_source(constant, 2)}, &layers_error), AD_EARG);
    util_assert_contains(layers_error.message, "whiten: feature 0");
    flow_model_free(model);
}

// A layer of one's own that fits data, and says nothing of the other way round.
static flow_result as_it_is(const flow_layer *layer, ad_var v, ad_var context) {
    (void)layer;
    (void)context;
    return (flow_result){v, AD_NONE};
}
static ad_status see(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    (void)layer;
    (void)rows;
    (void)error;
    return AD_OK;
}
static const flow_layer_type own_type = {.name = "own", .normalize = as_it_is, .generate = as_it_is, .init = see};

static void a_layer_that_cannot_is_named(void **state) {
    (void)state;
    const double x[2] = {1, 3};
    flow_layer *own = flow_layer_new(&own_type, sizeof *own, 1, 0, &layers_error);
    flow_model *model = model_of(flow_inverse(own, &layers_error));
    assert_int_equal(flow_init_from_data(model, &(flow_rows){.x = util_source(x, 2)}, &layers_error), AD_EORDER);
    util_assert_contains(layers_error.message, "a own cannot be initialised from data the other way round");
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fitted_layers_standardise_by_generate),
        cmocka_unit_test(chains_are_gone_through_backwards),
        cmocka_unit_test(layers_side_by_side_see_their_columns),
        cmocka_unit_test(twice_the_other_way_round_is_the_way_it_was),
        cmocka_unit_test(it_is_done_once),
        cmocka_unit_test(rows_are_looked_at),
        cmocka_unit_test(a_layer_that_cannot_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
