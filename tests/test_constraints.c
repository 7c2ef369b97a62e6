// test_constraints.c -- layers onto natural parameters: volumes by quadrature, closed forms, edges, several side by
// side.
#include "files.h"
#include "flows.h"
#include "layers.h"
#include "util.h"

#define PI 3.14159265358979323846

// ---- volumes -----------------------------------------------------------------------------------------------------

// A log-density of x, in free coordinates.
typedef double (*density)(const double *x, int64_t D);

// Integral over a grid of D = 1 to 3 latent dimensions of exp(log density + log_det): 1 where both are right. The
// trapezoidal rule is exact to many digits for smooth functions that vanish at the ends.
static double integral(const flow_layer *layer, density log_density, double low, double high, int points) {
    const int64_t D = layer->z_shape.dim[0], K = layer->x_shape.dim[0];
    const double step = (high - low) / (points - 1);
    int64_t n = 1;
    for (int64_t k = 0; k < D; k++) n *= points;
    double *z = calloc((size_t)(n * D), sizeof *z), *x = calloc((size_t)(n * K), sizeof *x);
    double *log_det = calloc((size_t)n, sizeof *log_det), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0, rest = i; k < D; k++, rest /= points) z[i * D + k] = low + step * (double)(rest % points);
    }
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    const ad_source source = util_source(z, n);
    flow_result r = flow_layer_generate(layer, ad_input(util_rows(tape, "grid", n), layer->z_shape, &source), AD_NONE);
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, x, n * K);
    util_read(r.log_det, log_det, n);
    for (int64_t i = 0; i < n; i++) sum += exp(log_density(x + i * K, K) + log_det[i]);
    ad_tape_free(tape);
    free(z), free(x), free(log_det);
    return sum * pow(step, (double)D);
}

// Dirichlet with parameters 1.5, 2.5, ...
static double dirichlet(const double *x, int64_t K) {
    double log_p = 0, total = 0;
    for (int64_t k = 0; k < K; k++) {
        const double a = 1.5 + (double)k;
        log_p += (a - 1) * log(x[k]) - lgamma(a);
        total += a;
    }
    return log_p + lgamma(total);
}

// Standard normals, sorted.
static double sorted_normals(const double *x, int64_t D) {
    double log_p = lgamma((double)D + 1);
    for (int64_t k = 0; k < D; k++) log_p -= 0.5 * x[k] * x[k] + 0.5 * log(2 * PI);
    return log_p;
}

// Uniform over correlation matrices, whose volume is 2 for K = 2, pi^2 / 2 for K = 3: dR = prod L_ii^(K - i) dL.
static double uniform_correlations(const double *L, int64_t n) {
    return n == 4 ? -log(2) : log(L[4]) - log(PI * PI / 2);
}

static void volumes_are_those_of_free_coordinates(void **state) {
    (void)state;
    for (int64_t K = 2; K <= 3; K++) {
        flow_layer *simplex = flow_simplex(K, NULL), *ordered = flow_ordered(K, NULL),
                   *corr = flow_correlation(K, NULL);
        util_assert_close(integral(simplex, dirichlet, -25, 25, 201), 1, 1e-10);
        util_assert_close(integral(ordered, sorted_normals, -27, 9, K == 2 ? 241 : 121), 1, K == 2 ? 1e-9 : 1e-6);
        util_assert_close(integral(corr, uniform_correlations, -11, 11, K == 2 ? 201 : 61), 1, 1e-8);
        flow_layer_free(simplex), flow_layer_free(ordered), flow_layer_free(corr);
    }
}

// ---- values ------------------------------------------------------------------------------------------------------

static void values_in_closed_form(void **state) {
    (void)state;
    double x[16], log_det;
    flow_layer *layer = flow_simplex(4, NULL);
    const double zero[6] = {0};
    // layers_run wants equal sizes: these are run by hand.
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    flow_result r = flow_layer_generate(layer, ad_constant(tape, ad_shape1(3), zero), AD_NONE);
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, x, 4);
    util_read(r.log_det, &log_det, 1);
    for (int k = 0; k < 4; k++) util_assert_close(x[k], 0.25, 1e-15);
    // Sticks of 1, 3/4, 1/2, broken at 1/4, 1/3, 1/2.
    util_assert_close(log_det, log(3.0 / 16) + log(3.0 / 4 * 2 / 9) + log(1.0 / 8), 1e-14);
    flow_layer_free(layer);

    ad_tape_reset(tape);
    layer = flow_correlation(3, NULL);
    const double z[3] = {atanh(0.6), atanh(-0.8), atanh(0.5)};
    r = flow_layer_generate(layer, ad_constant(tape, ad_shape1(3), z), AD_NONE);
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, x, 9);
    util_read(r.log_det, &log_det, 1);
    const double L[9] = {1, 0, 0, 0.6, 0.8, 0, -0.8, 0.3, 0.6 * sqrt(0.75)};
    for (int k = 0; k < 9; k++) util_assert_close(x[k], L[k], 1e-15);
    util_assert_close(log_det, log(0.64) + log(0.36) + log(0.75 * 0.6), 1e-14);
    flow_layer_free(layer);

    layer = flow_ordered(3, NULL);
    const double y[3] = {-2, 0.5, -1}, right[3] = {-2, -2 + exp(0.5), -2 + exp(0.5) + exp(-1)};
    layers_run(layer, AD_F64, false, y, 1, x, &log_det);
    for (int k = 0; k < 3; k++) util_assert_close(x[k], right[k], 1e-15);
    util_assert_close(log_det, -0.5, 1e-15);
    flow_layer_free(layer);
    ad_tape_free(tape);
}

// Small shares keep their digits, in f32 too: log x is right where x is 1e-30.
static void small_shares_come_back(void **state) {
    (void)state;
    flow_layer *layer = flow_simplex(3, NULL);
    const double z[2] = {-69, 40};
    double back[2];
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_var there = flow_layer_generate(layer, ad_constant(tape, ad_shape1(2), z), AD_NONE).value;
    ad_var again = ad_keep(flow_layer_normalize(layer, there, AD_NONE).value);
    util_run(tape);
    util_read(again, back, 2);
    for (int k = 0; k < 2; k++) util_assert_close(back[k], z[k], 1e-4);
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// ---- outside -----------------------------------------------------------------------------------------------------

static void density_is_zero_outside(void **state) {
    (void)state;
    flow_layer *layers[3] = {flow_simplex(3, NULL), flow_ordered(3, NULL), flow_correlation(2, NULL)};
    const double outside[3][4] = {{0.5, 0, 0.5}, {1, 1, 2}, {1, 0, 0.5, -0.1}};
    for (int i = 0; i < 3; i++) {
        const int64_t K = layers[i]->z_shape.dim[0];
        flow_model *model = flow_model_new(layers[i], flow_standard_normal(K, NULL), NULL);
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        const ad_source source = util_source(outside[i], 1);
        ad_var x = ad_input(util_rows(tape, "data", 1), flow_model_shape(model), &source), g;
        ad_var log_p = ad_keep(flow_log_prob(model, x, AD_NONE));
        ad_grad(log_p, &x, 1, &g);
        ad_keep(g);
        util_run(tape);
        double value, gradient[4];
        util_read(log_p, &value, 1);
        util_read(g, gradient, ad_shape_count(flow_model_shape(model)));
        assert_true(value == -INFINITY);
        for (int64_t k = 0; k < ad_shape_count(flow_model_shape(model)); k++) assert_true(isfinite(gradient[k]));
        ad_tape_free(tape);
        flow_model_free(model);
    }
}

// ---- side by side, saved -----------------------------------------------------------------------------------------

static flow_model *mixed(void) {
    flow_layer *parts[4] = {flow_bijector(2, "exp", &(flow_bijector_options){.inverse = true}, &layers_error),
                            flow_simplex(3, &layers_error),
                            flow_logit(1, &(flow_logit_options){.low = -1, .high = 4}, &layers_error),
                            flow_correlation(3, &layers_error)};
    flow_layer *chain[2] = {flow_split(parts, 4, &layers_error),
                            flow_affine_coupling(8, 0, &(flow_coupling_options){.mlp.type = AD_F64}, &layers_error)};
    flow_model *model =
        flow_model_new(flow_chain(chain, 2, &layers_error), flow_standard_normal(8, &layers_error), &layers_error);
    layers_assert_made(model);
    return model;
}

static void natural_parameters_side_by_side(void **state) {
    (void)state;
    flow_model *model = mixed();
    assert_int_equal(flow_model_shape(model).dim[0], 2 + 3 + 1 + 9);
    assert_int_equal(flow_save(model, files_path("mixed.safetensors"), &layers_error), AD_OK);
    flow_model *loaded = flow_load(files_path("mixed.safetensors"), NULL, &layers_error);
    layers_assert_made(loaded);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_random random = {3, 1};
    enum { N = 20, D = 15 };
    flow_draw draw = flow_sample_and_log_prob(model, util_rows(tape, "draws", N), &random, 0, AD_NONE);
    ad_var log_p = ad_keep(flow_log_prob(loaded, draw.value, AD_NONE));
    ad_keep(draw.value), ad_keep(draw.log_prob);
    util_run(tape);
    double x[N * D], a[N], b[N];
    util_read(draw.value, x, N * D);
    util_read(draw.log_prob, a, N);
    util_read(log_p, b, N);
    for (int i = 0; i < N; i++) {
        const double *p = x + i * D;
        util_assert_close(a[i], b[i], 1e-10 * (1 + fabs(a[i])));
        assert_true(p[0] > 0 && p[1] > 0 && p[2] > 0 && p[3] > 0 && p[4] > 0 && p[5] > -1 && p[5] < 4);
        util_assert_close(p[2] + p[3] + p[4], 1, 1e-14);
        util_assert_close(p[12] * p[12] + p[13] * p[13] + p[14] * p[14], 1, 1e-14);
    }
    ad_tape_free(tape);
    flow_model_free(model);
    flow_model_free(loaded);
}

static void larger_ones_keep_the_laws(void **state) {
    (void)state;
    flow_layer *layers[3] = {flow_simplex(12, NULL), flow_ordered(12, NULL), flow_correlation(5, NULL)};
    for (int i = 0; i < 3; i++) {
        const flow_check_options o = {.cases = 2, .rows = 3};
        if (flow_check(layers[i], &o, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
        flow_layer_free(layers[i]);
    }
}

// Far out data lie so near to the edge that a difference leaves the set, and free coordinates do not tell them apart.
static void laws_hold_far_out(void **state) {
    (void)state;
    for (int i = 0; i < 9; i++) {
        const int64_t K = 2 + i / 3 * 2;
        flow_layer *layer = i % 3 == 0   ? flow_simplex(K, &layers_error)
                            : i % 3 == 1 ? flow_ordered(K, &layers_error)
                                         : flow_correlation(K, &layers_error);
        const flow_check_options o = {.cases = 1, .rows = 4, .spread = i % 2 ? 5 : 3, .seed = (uint64_t)i};
        layers_assert_made(layer);
        if (flow_check(layer, &o, &layers_error) != AD_OK) fail_msg("%d: %s", i, layers_error.message);
        flow_layer_free(layer);
    }
}

// The factor itself carries what its free elements do not.
static void small_diagonals_come_back(void **state) {
    (void)state;
    enum { K = 5, N = K * (K - 1) / 2, ROWS = 20 };
    static double z[ROWS * N], x[ROWS * K * K], back[ROWS * K * K], log_det[2][ROWS];
    util_fill(z, ROWS * N, 4, -4, 4);
    for (int type = AD_F32; type <= AD_F64; type++) {
        flow_layer *layer = flow_correlation(K, &layers_error);
        ad_tape *tape = ad_tape_new(NULL, (ad_type)type);
        ad_source source = util_source(z, ROWS);
        ad_var in = ad_input(util_rows(tape, "data", ROWS), ad_shape1(N), &source);
        flow_result there = flow_layer_generate(layer, in, AD_NONE);
        flow_result here = flow_layer_normalize(layer, there.value, AD_NONE);
        ad_var all[] = {ad_keep(there.value), ad_keep(here.value), ad_keep(there.log_det), ad_keep(here.log_det)};
        util_run(tape);
        util_read(all[0], x, ROWS * K * K);
        util_read(all[1], back, ROWS * N);
        util_read(all[2], log_det[0], ROWS);
        util_read(all[3], log_det[1], ROWS);
        double least = 1;
        for (int r = 0; r < ROWS; r++) {
            least = fmin(least, x[r * K * K + K * K - 1]);
            util_assert_close(log_det[1][r], -log_det[0][r], type == AD_F64 ? 1e-12 : 1e-5);
        }
        assert_true(least < 3e-4);  // whose square is below the rounding of 1 in floats
        util_assert_all_close(back, z, ROWS * N, type == AD_F64 ? 1e-12 : 1e-5);
        ad_tape_free(tape);
        flow_layer_free(layer);
    }
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    layers_assert_refused(flow_simplex(1, &layers_error), AD_EARG, "1 shares");
    layers_assert_refused(flow_ordered(0, &layers_error), AD_EARG, "0 features");
    layers_assert_refused(flow_correlation(1, &layers_error), AD_EARG, "1 rows");
    layers_assert_refused(flow_correlation(65, &layers_error), AD_EARG, "65 rows");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(volumes_are_those_of_free_coordinates),
                                       cmocka_unit_test(values_in_closed_form),
                                       cmocka_unit_test(small_shares_come_back),
                                       cmocka_unit_test(density_is_zero_outside),
                                       cmocka_unit_test(natural_parameters_side_by_side),
                                       cmocka_unit_test(larger_ones_keep_the_laws),
                                       cmocka_unit_test(laws_hold_far_out),
                                       cmocka_unit_test(small_diagonals_come_back),
                                       cmocka_unit_test(impossible_sizes_are_refused)};
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
