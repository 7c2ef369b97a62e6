// test_sylvester.c -- the Sylvester layer: the paper's formula written out, its inverse at its steepest, refusals.
#include "layers.h"

enum { D = 4, N = 5 };

static flow_layer *sylvester(const flow_sylvester_options *o) {
    flow_layer *layer = flow_sylvester(D, 0, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// Q [D][M] of each kind, by hand.
static void basis(flow_sylvester_kind kind, const double *W, int M, double *Q) {
    for (int i = 0; i < D * M; i++) {
        const int d = i / M, m = i % M;
        Q[i] = kind == FLOW_SYLVESTER_REVERSED ? d == D - 1 - m : d == m;
    }
    for (int m = 0; m < M && kind == FLOW_SYLVESTER_HOUSEHOLDER; m++) {
        for (int k = 0; k < D; k++) {  // reflections of the column, the first one first
            double dot = 0, square = 0;
            for (int d = 0; d < D; d++) dot += W[k * D + d] * Q[d * M + m], square += W[k * D + d] * W[k * D + d];
            for (int d = 0; d < D; d++) Q[d * M + m] -= 2 * dot / square * W[k * D + d];
        }
    }
    for (int m = 0; m < M && kind == FLOW_SYLVESTER_ORTHOGONAL; m++) {  // Gram and Schmidt
        for (int d = 0; d < D; d++) Q[d * M + m] = W[d * M + m];
        for (int k = 0; k <= m; k++) {
            double dot = 0;
            for (int d = 0; d < D; d++) dot += Q[d * M + k] * Q[d * M + m];
            for (int d = 0; d < D; d++)
                Q[d * M + m] = k < m ? Q[d * M + m] - dot * Q[d * M + k] : Q[d * M + m] / sqrt(dot);
        }
    }
}

static double entry(const double *R, int M, int i, int j) {
    return i > j ? 0 : i == j ? 0.99 * tanh(R[i * M + j]) : R[i * M + j];
}

// y and log_det of one row x.
static void formula(const flow_layer *layer, const double *Q, int M, const double *x, double *y, double *log_det) {
    const double *R = layers_param(layer, "R")->data, *R_tilde = layers_param(layer, "R_tilde")->data;
    const double *b = layers_param(layer, "b")->data;
    double v[D], t[D];
    *log_det = 0;
    for (int m = 0; m < M; m++) {
        v[m] = 0;
        for (int d = 0; d < D; d++) v[m] += Q[d * M + m] * x[d];
    }
    for (int m = 0; m < M; m++) {
        double a = b[m];
        for (int k = 0; k < M; k++) a += entry(R_tilde, M, m, k) * v[k];
        t[m] = tanh(a);
        *log_det += log(1 + (1 - t[m] * t[m]) * entry(R, M, m, m) * entry(R_tilde, M, m, m));
    }
    for (int d = 0; d < D; d++) {
        y[d] = x[d];
        for (int m = 0; m < M; m++) {
            for (int k = 0; k < M; k++) y[d] += Q[d * M + m] * entry(R, M, m, k) * t[k];
        }
    }
}

static void stir(flow_layer *layer, double size) {
    for (int i = 0; i < layer->owner.n_params; i++) {
        util_fill(layer->owner.params[i]->data, layer->owner.params[i]->count, (uint64_t)i + 1, -size, size);
    }
}

static void every_kind_follows_the_formula(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        const flow_sylvester_kind kind = (flow_sylvester_kind)(i % 4);
        const int M = kind < FLOW_SYLVESTER_TRIANGULAR && i % 3 ? 2 : D;
        const bool flip = i / 4 % 2;
        flow_layer *layer =
            sylvester(&(flow_sylvester_options){.kind = kind, .directions = M, .flip = flip, .type = AD_F64});
        double x[N * D], y[N * D], back[N * D], log_det[N], back_det[N], Q[D * D], want[D], want_det;
        stir(layer, 1.5);
        basis(kind, kind < FLOW_SYLVESTER_TRIANGULAR ? layers_param(layer, "W")->data : NULL, M, Q);
        util_fill(x, N * D, 3, -2, 2);
        layers_run(layer, AD_F64, flip, x, N, y, log_det);
        layers_run(layer, AD_F64, !flip, y, N, back, back_det);
        for (int r = 0; r < N; r++) {
            formula(layer, Q, M, x + r * D, want, &want_det);
            util_assert_all_close(y + r * D, want, D, 1e-13);
            util_assert_close(log_det[r], want_det, 1e-13);
            util_assert_close(back_det[r], -want_det, 1e-11);
        }
        util_assert_all_close(back, x, N * D, 1e-11);
        flow_layer_free(layer);
    }
}

// Diagonals at their bound of either sign, large numbers above them and points everywhere: slopes from 0.02 to 1.98.
static void check_steep(ad_type type, double sign, double above, double tolerance) {
    enum { POINTS = 200 };
    flow_layer *layer = sylvester(&(flow_sylvester_options){.kind = FLOW_SYLVESTER_TRIANGULAR, .type = AD_F64});
    double x[POINTS * D], y[POINTS * D], back[POINTS * D], log_det[POINTS], back_det[POINTS];
    stir(layer, above);
    for (int m = 0; m < D; m++) {
        ad_param_set(layers_param(layer, "R"), m * D + m, 1e30);
        ad_param_set(layers_param(layer, "R_tilde"), m * D + m, sign * 1e30);
    }
    util_fill(x, POINTS * D, 3, -3, 3);
    layers_run(layer, type, false, x, POINTS, y, log_det);
    layers_run(layer, type, true, y, POINTS, back, back_det);
    util_assert_all_close(back, x, POINTS * D, tolerance);
    for (int r = 0; r < POINTS; r++) assert_true(isfinite(back_det[r]));
    flow_layer_free(layer);
}

static void the_inverse_is_found_where_the_map_is_flattest(void **state) {
    (void)state;
    check_steep(AD_F64, -1, 0.5, 1e-9);
    check_steep(AD_F64, 1, 0.5, 1e-12);
    check_steep(AD_F64, -1, 5, 1e-3);  // the condition number is that of four steps of slope 0.02 through factors of 5
    check_steep(AD_F32, 1, 0.5, 1e-4);
    check_steep(AD_F32, 1, 5, 0.1);
}

// Many directions that depend on each other strongly: what comes back is taken to where it came from.
static void many_directions_are_solved(void **state) {
    (void)state;
    enum { MANY = 48, POINTS = 20 };
    flow_sylvester_options o = {.kind = FLOW_SYLVESTER_TRIANGULAR, .type = AD_F64};
    for (int i = 0; i < 6; i++) {
        flow_layer *layer = flow_sylvester(MANY, 0, &o, &layers_error);
        layers_assert_made(layer);
        double y[POINTS * MANY], x[POINTS * MANY], again[POINTS * MANY], log_det[POINTS], back_det[POINTS];
        stir(layer, 0.3 * (1 << i / 2));
        for (int m = 0; m < MANY; m++) ad_param_set(layers_param(layer, "R"), m * MANY + m, m % 2 ? 5 : -5);
        util_fill(y, POINTS * MANY, 3, -3, 3);
        const ad_type type = i % 2 ? AD_F64 : AD_F32;
        layers_run(layer, type, true, y, POINTS, x, back_det);
        layers_run(layer, type, false, x, POINTS, again, log_det);
        util_assert_all_close(again, y, POINTS * MANY, type == AD_F64 ? 1e-12 : 1e-3);
        flow_layer_free(layer);
    }
}

// The equation of the gradients has the inverse of the slopes in it, 50 at most: in f32 it is solved all the same.
static void gradients_are_found_in_f32(void **state) {
    (void)state;
    enum { POINTS = 100 };
    double y[POINTS * D], gradient[POINTS * D];
    util_fill(y, POINTS * D, 3, -3, 3);
    for (int i = 0; i < 20; i++) {
        flow_layer *layer = sylvester(&(flow_sylvester_options){.kind = (flow_sylvester_kind)(i % 4), .type = AD_F64});
        stir(layer, 0.5 + 0.1 * i);
        for (int m = 0; m < D; m++) {
            ad_param_set(layers_param(layer, "R"), m * D + m, 3);
            ad_param_set(layers_param(layer, "R_tilde"), m * D + m, i % 3 ? -3 : 3);
        }
        ad_tape *tape = ad_tape_new(NULL, AD_F32);
        ad_source source = util_source(y, POINTS);
        ad_var in = ad_input(util_rows(tape, "data", POINTS), ad_shape1(D), &source), g;
        flow_result r = flow_layer_normalize(layer, in, AD_NONE);
        ad_var S = ad_sum_rows(ad_add(ad_sum(r.value), r.log_det));
        ad_grad(S, &in, 1, &g);
        ad_keep(g);
        if (ad_backward(S) != AD_OK) fail_msg("%s", ad_tape_message(tape));
        util_read(g, gradient, POINTS * D);
        for (int k = 0; k < POINTS * D; k++) assert_true(isfinite(gradient[k]));
        ad_tape_free(tape);
        flow_layer_free(layer);
    }
}

static void it_starts_as_the_identity(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        flow_layer *layer =
            sylvester(&(flow_sylvester_options){.kind = (flow_sylvester_kind)kind, .seed = 9, .type = AD_F64});
        const double x[D] = {0.5, -1, 2, 0};
        double z[D], log_det;
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        util_assert_all_close(z, x, D, 1e-14);
        util_assert_close(log_det, 0, 1e-14);
        flow_layer_free(layer);
    }
}

// The iteration says which row has no inverse, instead of passing on what it found.
static void a_row_without_inverse_is_named(void **state) {
    (void)state;
    flow_layer *layer = sylvester(&(flow_sylvester_options){.type = AD_F64});
    const double y[3 * D] = {0, 0, 0, 0, 1, (double)NAN};
    stir(layer, 1);
    ad_source source = util_source(y, 3);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_keep(flow_layer_normalize(layer, ad_input(util_rows(tape, "data", 3), ad_shape1(D), &source), AD_NONE).value);
    assert_int_equal(ad_run(tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(tape), "row 1");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    ad_error *e = &layers_error;
    flow_sylvester_options kind = {.kind = (flow_sylvester_kind)4}, many = {.directions = 3};
    flow_sylvester_options few = {.kind = FLOW_SYLVESTER_TRIANGULAR, .directions = 1}, none = {.reflections = -1};
    flow_sylvester_options wrong = {.net = flow_mlp(3, 5, NULL, NULL)};
    layers_assert_refused(flow_sylvester(0, 0, NULL, e), AD_EARG, "sylvester: 0 features");
    layers_assert_refused(flow_sylvester(2, 0, &kind, e), AD_EARG, "sylvester: kind 4");
    layers_assert_refused(flow_sylvester(2, 0, &many, e), AD_EARG, "3 directions in 2 features");
    layers_assert_refused(flow_sylvester(2, 0, &few, e), AD_EARG, "a triangular one has as many");
    layers_assert_refused(flow_sylvester(2, 0, &none, e), AD_EARG, "-1 reflections");
    layers_assert_refused(flow_sylvester(2, 3, &wrong, e), AD_ESHAPE, "[3] -> [5], expected [3] -> [2]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_follows_the_formula),
        cmocka_unit_test(the_inverse_is_found_where_the_map_is_flattest),
        cmocka_unit_test(many_directions_are_solved),
        cmocka_unit_test(gradients_are_found_in_f32),
        cmocka_unit_test(it_starts_as_the_identity),
        cmocka_unit_test(a_row_without_inverse_is_named),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
