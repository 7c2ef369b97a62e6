// test_ranked.c -- layers whose latents stand by their derivatives: by what order, when it is made, what follows it,
// files, refusals.
#include "files.h"
#include "layers.h"

static flow_layer *diagonal(const double *log_scale) {
    flow_layer *layer = flow_diagonal_affine(4, &(flow_diagonal_options){.linear = {.type = AD_F64}}, &layers_error);
    layers_assert_made(layer);
    for (int d = 0; d < 4; d++) {  // bound 7, of tanh
        ad_param_set(layers_param(layer, "log_scale"), d, 7 * atanh(log_scale[d] / 7));
    }
    return layer;
}

static flow_layer *ranked(flow_layer *layer, bool smallest) {
    flow_layer *r = flow_ranked(layer, smallest, &layers_error);
    layers_assert_made(r);
    return r;
}

static flow_model *model_of(flow_layer *layer) {
    flow_model *model =
        flow_model_new(layer, flow_standard_normal(layer->z_shape.dim[0], &layers_error), &layers_error);
    layers_assert_made(model);
    return model;
}

static void see(flow_model *model, const double *x, int64_t n) {
    const flow_rows rows = {.x = util_source(x, n)};
    if (flow_init_from_data(model, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
}

static const double scales[4] = {0.3, -0.5, 1, 0.1}, point[4] = {1, 2, 3, 4};

// What latent stands where: which feature of point, by its scale.
static void assert_order(const flow_layer *layer, const int *order) {
    double z[4], back[4], log_det;
    layers_run(layer, AD_F64, true, point, 1, z, &log_det);
    for (int i = 0; i < 4; i++) util_assert_close(z[i], point[order[i]] * exp(scales[order[i]]), 1e-13);
    util_assert_close(log_det, 0.9, 1e-13);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    util_assert_all_close(back, point, 4, 1e-13);
    util_assert_close(log_det, -0.9, 1e-13);
}

static void latents_stand_by_their_derivatives(void **state) {
    (void)state;
    for (int smallest = 0; smallest < 2; smallest++) {
        flow_layer *layer = ranked(diagonal(scales), smallest);
        flow_model *model = model_of(layer);
        assert_false(layer->initialised);
        assert_order(layer, (const int[]){0, 1, 2, 3});  // until it has seen data
        see(model, point, 1);
        assert_order(layer, smallest ? (const int[]){1, 3, 0, 2} : (const int[]){2, 0, 3, 1});
        flow_model_free(model);
    }
}

// Not by the diagonal of the Jacobian, which is 0.5, 0.
static void a_derivative_is_a_row_of_the_jacobian(void **state) {
    (void)state;
    flow_layer *dense = flow_dense_linear(2, &(flow_linear_options){.type = AD_F64}, &layers_error);
    layers_assert_made(dense);
    layers_set(layers_param(dense, "W"), (const double[]){0.5, 0.5, 3, 0});
    flow_layer *layer = ranked(dense, false);
    flow_model *model = model_of(layer);
    const double x[2] = {1, 2};
    double z[2], log_det;
    see(model, x, 1);
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_close(z[0], 3, 1e-14);
    util_assert_close(z[1], 1.5, 1e-14);
    flow_model_free(model);
}

// asinh has slopes 1 and 0.0995 at 0 and 10, 0.447 at 2: the first have the larger mean, but the smaller mean of logs.
static void it_is_the_mean_of_logarithms_that_counts(void **state) {
    (void)state;
    flow_layer *layer = ranked(flow_bijector(2, "asinh", NULL, &layers_error), false);
    flow_model *model = model_of(layer);
    const double x[4] = {0, 2, 10, 2};
    double z[4], log_det[2];
    see(model, x, 2);
    layers_run(layer, AD_F64, true, x, 2, z, log_det);
    util_assert_close(z[0], asinh(2), 1e-14);
    util_assert_close(z[3], asinh(10), 1e-14);
    flow_model_free(model);
}

// A coupling that keeps the first half keeps the features of the largest derivatives.
static void what_follows_keeps_the_largest(void **state) {
    (void)state;
    const flow_coupling_options o = {.mlp = {.layers = -1, .type = AD_F64}};
    flow_layer *coupling = flow_coupling(4, 0, flow_additive_transformer(&layers_error), &o, &layers_error);
    layers_assert_made(coupling);
    layers_set(layers_part(coupling, "net")->params[1], (const double[]){100, 200});
    flow_layer *both[2] = {ranked(diagonal(scales), false), coupling};
    flow_layer *chain = flow_chain(both, 2, &layers_error);
    layers_assert_made(chain);
    flow_model *model = model_of(chain);
    double z[4], log_det;
    see(model, point, 1);
    layers_run(chain, AD_F64, true, point, 1, z, &log_det);
    util_assert_close(z[0], 3 * exp(1), 1e-13);
    util_assert_close(z[1], exp(0.3), 1e-13);
    util_assert_close(z[2], 4 * exp(0.1) + 100, 1e-13);
    util_assert_close(z[3], 2 * exp(-0.5) + 200, 1e-13);
    flow_model_free(model);
}

static void ranks_may_be_made_again(void **state) {
    (void)state;
    flow_layer *inner = diagonal(scales), *layer = ranked(inner, false);
    flow_layer *parts[2] = {layer, flow_permutation(1, (const int64_t[]){0}, &layers_error)};
    flow_model *model = model_of(flow_split(parts, 2, &layers_error));
    const double x[5] = {1, 2, 3, 4, 5};
    see(model, x, 1);
    for (int d = 0; d < 4; d++) ad_param_set(layers_param(inner, "log_scale"), d, d);
    double z[4], log_det;
    layers_run(layer, AD_F64, true, point, 1, z, &log_det);
    util_assert_close(z[0], 3 * exp(7 * tanh(2 / 7.)), 1e-12);  // the order is what it was
    const flow_rows rows = {.x = util_source(x, 1)};
    assert_int_equal(flow_rank(model, &rows, &layers_error), AD_OK);
    layers_run(layer, AD_F64, true, point, 1, z, &log_det);
    util_assert_close(z[0], 4 * exp(7 * tanh(3 / 7.)), 1e-12);
    util_assert_close(z[3], 1, 1e-12);
    assert_true(layer->initialised);
    flow_model_free(model);
}

static void files_keep_the_order(void **state) {
    (void)state;
    flow_model *model = model_of(ranked(diagonal(scales), false));
    see(model, point, 1);
    if (flow_save(model, files_path("ranked.safetensors"), &layers_error) != AD_OK)
        fail_msg("%s", layers_error.message);
    flow_model *loaded = flow_load(files_path("ranked.safetensors"), NULL, &layers_error);
    layers_assert_made(loaded);
    assert_order(flow_model_layer(loaded), (const int[]){2, 0, 3, 1});
    double z[4], log_det;
    layers_run(flow_model_layer(loaded), AD_F32, true, point, 1, z, &log_det);
    util_assert_close(z[0], 3 * exp(1), 1e-6);
    flow_model_free(model);
    flow_model_free(loaded);
}

// Whatever a file has for places is a permutation.
static void wild_places_are_a_permutation(void **state) {
    (void)state;
    flow_layer *layer = ranked(diagonal((const double[]){0, 0, 0, 0}), false);
    const double wild[4] = {(double)NAN, 1e300, -INFINITY, 1e300};
    memcpy(layer->owner.states[0]->data, wild, sizeof wild);
    double z[4], back[4], log_det;
    layers_run(layer, AD_F64, true, point, 1, z, &log_det);
    util_assert_all_close(z, ((const double[]){3, 2, 4, 1}), 4, 1e-15);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    util_assert_all_close(back, point, 4, 1e-15);
    flow_layer_free(layer);
}

static void what_cannot_be_ranked_is_refused(void **state) {
    (void)state;
    flow_layer *layer = ranked(flow_bijector(2, "asinh", NULL, &layers_error), false);
    flow_model *model = model_of(layer);
    const double x[4] = {1, 2, 3, 4}, bad[2] = {1, (double)NAN};
    see(model, x, 2);
    const flow_rows rows = {.x = util_source(bad, 1)}, none = {.x = util_source(x, 0)};
    assert_int_equal(flow_rank(model, &rows, &layers_error), AD_ENONFINITE);
    util_assert_contains(layers_error.message, "ranked: the derivatives of feature 1 are not finite");
    assert_true(layer->initialised);
    assert_int_not_equal(flow_rank(model, &none, &layers_error), AD_OK);
    flow_model_free(model);
    model = model_of(diagonal(scales));
    assert_int_equal(flow_rank(model, &rows, &layers_error), AD_EARG);
    util_assert_contains(layers_error.message, "flow_rank: no ranked layer");
    flow_model_free(model);
    layers_assert_refused(flow_ranked(flow_dequantise(2, NULL, &layers_error), false, &layers_error), AD_EARG,
                          "ranked: a dequantise is for whole numbers");
    layers_error = (ad_error){AD_EIO, "as it was"};
    layers_assert_refused(flow_ranked(NULL, false, &layers_error), AD_EIO, "as it was");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(latents_stand_by_their_derivatives),
        cmocka_unit_test(a_derivative_is_a_row_of_the_jacobian),
        cmocka_unit_test(it_is_the_mean_of_logarithms_that_counts),
        cmocka_unit_test(what_follows_keeps_the_largest),
        cmocka_unit_test(ranks_may_be_made_again),
        cmocka_unit_test(files_keep_the_order),
        cmocka_unit_test(wild_places_are_a_permutation),
        cmocka_unit_test(what_cannot_be_ranked_is_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
