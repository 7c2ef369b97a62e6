// test_derive_sweep.c -- inverses of autoregressive maps with a conditioner: by sweeps, feature by feature, and where
// the one fails or cannot be, the other.
#include "layers.h"

enum { D = 3, ROWS = 5 };

// A bend by the conditioner and by two tensors of the layer's own, of which one has a row a feature.
static ad_var bend(const flow_call *c, ad_var v) {
    ad_var skew = flow_use(c, "skew"), rate = ad_sum_axis(flow_use(c, "rates"), 1), both = flow_use(c, "both");
    ad_var s = ad_add(flow_use_parameter(c, 0), ad_mul(rate, both)), t = ad_add(flow_use_parameter(c, 1), skew);
    return ad_sinh(ad_add(ad_mul(ad_asinh(v), ad_exp(ad_tanh(s))), t));
}
// The same of all features alone.
static ad_var bend_all(const flow_call *c, ad_var v) {
    return ad_add(bend(c, v), ad_fill(c->tape, c->layer->x_shape, 0));
}
#define TENSORS                                                                \
    .tensors = {{.name = "skew", .spread = 1},                                 \
                {.name = "rates", .dim = {FLOW_DIM_FEATURES, 2}, .spread = 1}, \
                {.name = "both", .dim = {1}, .start = 0.5}}
static const flow_derivation alone_map = {FLOW_AUTOREGRESSIVE, .normalize = bend, .conditioner = 2, TENSORS};
static const flow_derivation whole_map = {FLOW_AUTOREGRESSIVE, .normalize = bend_all, .conditioner = 2, TENSORS};
static const flow_layer_type alone_type = {.name = "alone", .derived = &alone_map},
                             whole_type = {.name = "whole", .derived = &whole_map};

static void fill_params(const flow_owner *owner, uint64_t seed) {
    for (int i = 0; i < owner->n_params; i++) {
        for (int64_t k = 0; k < owner->params[i]->count; k++) {
            ad_param_set(owner->params[i], k, util_uniform(&seed, -0.7, 0.7));
        }
    }
    for (int i = 0; i < owner->n_parts; i++) fill_params(owner->parts[i].owner, seed + (uint64_t)i + 1);
}

static flow_layer *made(const flow_layer_type *type, int64_t features, const int64_t *order) {
    const flow_mlp_options mlp = {.layers = 1, .width = 7, .activation = FLOW_TANH};
    const flow_derive_options o = {.order = order, .mlp = mlp, .type = AD_F64, .seed = 2};
    flow_layer *layer = flow_derive(type, features, 0, &o, &layers_error);
    layers_assert_made(layer);
    fill_params(&layer->owner, 5);
    return layer;
}

static void both_ways_find_the_same_inverse_and_gradients(void **state) {
    (void)state;
    static const int64_t order[D] = {2, 0, 1};
    double z[ROWS * D], by_value[ROWS * D], by_log_det[ROWS], v[2][ROWS * D], log_det[2][ROWS], g[2][ROWS * D];
    util_fill(z, ROWS * D, 1, -3, 3);
    util_fill(by_value, ROWS * D, 2, -1, 1);
    util_fill(by_log_det, ROWS, 3, -1, 1);
    for (int sorted = 0; sorted < 2; sorted++) {
        flow_layer *layers[] = {made(&alone_type, D, sorted ? NULL : order),
                                made(&whole_type, D, sorted ? NULL : order)};
        for (int i = 0; i < 2; i++) {
            layers_run(layers[i], AD_F64, false, z, ROWS, v[i], log_det[i]);
            layers_gradients(layers[i], false, z, ROWS, by_value, by_log_det, g[i]);
        }
        util_assert_all_close(v[0], v[1], ROWS * D, 1e-12);
        util_assert_all_close(log_det[0], log_det[1], ROWS, 1e-12);
        util_assert_all_close(g[0], g[1], ROWS * D, 1e-9);
        const flow_owner *a = &layers[0]->owner, *b = &layers[1]->owner;
        for (int part = 0; part < 2; part++) {
            for (int i = 0; i < a->n_params; i++) {
                util_assert_all_close((double *)a->params[i]->grad, (double *)b->params[i]->grad, a->params[i]->count,
                                      1e-9);
            }
            a = layers_part(layers[0], "conditioner"), b = layers_part(layers[1], "conditioner");
        }
        flow_layer_free(layers[0]);
        flow_layer_free(layers[1]);
    }
}

static void solve(const flow_layer *layer, const double *z, int64_t n, double *value, double *done,
                  double *iterations) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, n);
    ad_solution s = flow_derived_solve(layer, ad_input(util_rows(tape, "data", n), layer->x_shape, &source), AD_NONE);
    ad_keep(s.value);
    ad_keep(s.done);
    ad_keep(s.iterations);
    util_run(tape);
    util_read(s.value, value, n * layer->x_shape.dim[0]);
    util_read(s.done, done, n);
    util_read(s.iterations, iterations, n);
    ad_tape_free(tape);
}

// All features come nearer together: iterations do not grow with their number.
static void sweeps_are_few_however_many_features(void **state) {
    (void)state;
    enum { MANY = 20 };
    double z[2 * MANY], value[2 * MANY], done[2], iterations[2], most[2] = {0, 0};
    util_fill(z, 2 * MANY, 1, -1, 1);
    for (int i = 0; i < 2; i++) {
        flow_layer *layer = made(i ? &whole_type : &alone_type, MANY, NULL);
        solve(layer, z, 2, value, done, iterations);
        for (int r = 0; r < 2; r++) {
            assert_true(done[r] == 1);
            most[i] = fmax(most[i], iterations[r]);
        }
        flow_layer_free(layer);
    }
    assert_true(most[0] < 20);
    assert_true(most[1] > 2 * MANY);  // each in its turn: at least two evaluations
}

// Flat at either side of 3, so that Newton's steps from 0 go to and fro, farther and farther.
static ad_var shelf(const flow_call *c, ad_var v) {
    ad_var u = ad_offset(v, -3), t = ad_tanh(flow_use_parameter(c, 0));
    return ad_add(ad_add(ad_div(u, ad_offset(ad_abs(u), 1)), ad_scale(u, 0.001)), ad_add(t, flow_use_parameter(c, 1)));
}
static const flow_derivation shelf_map = {FLOW_AUTOREGRESSIVE, .normalize = shelf, .conditioner = 2};
static const flow_layer_type shelf_type = {.name = "shelf", .derived = &shelf_map};

static void rows_that_newton_does_not_solve_are_solved_in_brackets(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], back[ROWS * D], done[ROWS], iterations[ROWS], log_det[ROWS], most = 0;
    util_fill(x, ROWS * D, 9, -8, 14);
    flow_layer *layer = made(&shelf_type, D, NULL);
    layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
    solve(layer, z, ROWS, back, done, iterations);
    for (int r = 0; r < ROWS; r++) {
        assert_true(done[r] == 1);
        most = fmax(most, iterations[r]);
    }
    assert_true(most > 24);  // sweeps alone take no more
    util_assert_all_close(back, x, ROWS * D, 1e-9);
    flow_layer_free(layer);
}

// Out of (0, 1): no step leaves it.
static ad_var stretch(const flow_call *c, ad_var v) {
    return ad_add(ad_mul(ad_exp(ad_tanh(flow_use_parameter(c, 0))), ad_logit(v)), flow_use_parameter(c, 1));
}
static const flow_derivation stretch_map = {FLOW_AUTOREGRESSIVE, .normalize = stretch, .conditioner = 2, .low = 0,
                                            .high = 1};
static const flow_layer_type stretch_type = {.name = "stretch", .derived = &stretch_map};

static void steps_stay_where_the_map_is(void **state) {
    (void)state;
    double x[ROWS * D], z[ROWS * D], back[ROWS * D], done[ROWS], iterations[ROWS], log_det[ROWS];
    util_fill(x, ROWS * D, 9, 0.001, 0.999);
    flow_layer *layer = made(&stretch_type, D, NULL);
    layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
    solve(layer, z, ROWS, back, done, iterations);
    for (int r = 0; r < ROWS; r++) assert_true(done[r] == 1 && iterations[r] < 30);
    util_assert_all_close(back, x, ROWS * D, 1e-12);
    flow_layer_free(layer);
}

// Bounded: what lies beyond has no inverse, and the run says so by feature.
static ad_var squash(const flow_call *c, ad_var v) {
    return ad_add(ad_tanh(v), ad_scale(ad_tanh(flow_use_parameter(c, 0)), 0.1));
}
static const flow_derivation squash_map = {FLOW_AUTOREGRESSIVE, .normalize = squash, .conditioner = 1};
static const flow_layer_type squash_type = {.name = "squash", .derived = &squash_map};

static void a_row_without_a_solution_is_named(void **state) {
    (void)state;
    const double z[2 * D] = {0.1, 0.2, -0.3, 0.2, 1.5, 0};
    flow_layer *layer = made(&squash_type, D, NULL);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, 2);
    ad_var v = ad_input(util_rows(tape, "data", 2), layer->x_shape, &source);
    ad_keep(flow_layer_generate(layer, v, AD_NONE).value);
    assert_int_equal(ad_run(tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(tape), "feature 1: not converged");
    util_assert_contains(ad_tape_message(tape), "row 1");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_find_the_same_inverse_and_gradients),
        cmocka_unit_test(sweeps_are_few_however_many_features),
        cmocka_unit_test(rows_that_newton_does_not_solve_are_solved_in_brackets),
        cmocka_unit_test(steps_stay_where_the_map_is),
        cmocka_unit_test(a_row_without_a_solution_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
