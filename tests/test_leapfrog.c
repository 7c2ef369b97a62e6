// test_leapfrog.c -- leapfrog and Hamiltonian layers: the papers' recurrences written out, pairs of shifts, parts of
// different size, starts, refusals.
#include "layers.h"

enum { MOST = 8, ROWS = 3 };

static const flow_mlp_options units = {.width = 5, .activation = FLOW_TANH, .seed = 3, .type = AD_F64};
static const flow_mlp_options tanh_net = {.layers = 1, .width = 6, .activation = FLOW_TANH, .type = AD_F64};

static flow_layer *leapfrog(int64_t D, const flow_leapfrog_options *o) {
    flow_layer *layer = flow_leapfrog(D, 0, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

static const double *numbers(const flow_layer *layer, char letter, int i) {
    char name[16];
    snprintf(name, sizeof name, "%c%d", letter, i);
    return layers_param(layer, name)->data;
}

// K^T tanh(K y + b) of K [5,most]: n numbers of y, the first m of the result.
static void symmetric(const double *K, const double *b, int most, const double *y, int n, double *f, int m) {
    for (int e = 0; e < m; e++) f[e] = 0;
    for (int u = 0; u < 5; u++) {
        double a = b[u];
        for (int e = 0; e < n; e++) a += K[u * most + e] * y[e];
        for (int e = 0; e < m; e++) f[e] += K[u * most + e] * tanh(a);
    }
}

// ---- formulas -------------------------------------------------------------------------------------------------------

// Chang et al., the leapfrog network: y_{t+1} = 2 y_t - y_{t-1} - h^2 K_t^T s(K_t y_t + b_t), of (y_0, y_1).
static void a_leapfrog_is_its_recurrence(void **state) {
    (void)state;
    enum { n = 3, T = 4 };
    const double h = 0.3;
    flow_layer *layer = leapfrog(2 * n, &(flow_leapfrog_options){.steps = T, .step = h, .couplings = {.mlp = units}});
    double x[ROWS * 2 * n], z[ROWS * 2 * n], log_det[ROWS];
    util_fill(x, ROWS * 2 * n, 5, -2, 2);
    layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
    for (int r = 0; r < ROWS; r++) {
        const double *v = x + r * 2 * n;
        double y[T + 2][n], f[n], want[2 * n];
        for (int d = 0; d < n; d++) y[0][d] = v[n + d] - h * v[d], y[1][d] = v[n + d];
        for (int t = 1; t <= T; t++) {
            symmetric(numbers(layer, 'K', t - 1), numbers(layer, 'b', t - 1), n, y[t], n, f, n);
            for (int d = 0; d < n; d++) y[t + 1][d] = 2 * y[t][d] - y[t - 1][d] - h * h * f[d];
        }
        for (int d = 0; d < n; d++) want[d] = (y[T + 1][d] - y[T][d]) / h, want[n + d] = y[T + 1][d];
        util_assert_all_close(z + r * 2 * n, want, 2 * n, 1e-13);
        assert_true(log_det[r] == 0);
    }
    flow_layer_free(layer);
}

// The same paper's two-layer network: y += h K1^T s(K1 z + b1), z -= h K2^T s(K2 y + b2), of (y, z).
static void a_hamiltonian_is_its_recurrence(void **state) {
    (void)state;
    enum { n = 3, T = 3 };
    const double h = 0.4;
    const flow_leapfrog_options o = {
        .kind = FLOW_HAMILTONIAN, .steps = T, .step = h, .fixed = true, .couplings = {.mlp = units}};
    flow_layer *layer = leapfrog(2 * n, &o);
    double x[2 * n], z[2 * n], want[2 * n], f[n], log_det;
    util_fill(x, 2 * n, 5, -2, 2);
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    memcpy(want, x, sizeof want);
    for (int i = 0; i < 2 * T; i++) {
        double *from = want + (i % 2 ? 0 : n), *to = want + (i % 2 ? n : 0);
        symmetric(numbers(layer, 'K', i), numbers(layer, 'b', i), n, from, n, f, n);
        for (int d = 0; d < n; d++) to[d] += (i % 2 ? -h : h) * f[d];
    }
    util_assert_all_close(z, want, 2 * n, 1e-14);
    assert_true(log_det == 0);
    flow_layer_free(layer);
}

// A part that is smaller takes the first columns of K; the first velocities move the first positions.
static void parts_may_differ_in_size(void **state) {
    (void)state;
    enum { D = 5, T = 2 };
    for (int m = 1; m < D; m++) {
        const int n = D - m, most = m > n ? m : n, k = m < n ? m : n;
        const double h = 0.25;
        flow_layer *layer =
            leapfrog(D, &(flow_leapfrog_options){.steps = T, .step = h, .split = m, .couplings = {.mlp = units}});
        assert_int_equal(layers_param(layer, "K0")->shape.dim[1], most);
        double x[D], z[D], want[D], f[D], log_det;
        util_fill(x, D, 5, -2, 2);
        memcpy(want, x, sizeof want);
        for (int t = 0; t < T; t++) {
            symmetric(numbers(layer, 'K', t), numbers(layer, 'b', t), most, want + m, n, f, m);
            for (int d = 0; d < m; d++) want[d] -= h * f[d];
            for (int d = 0; d < k; d++) want[m + d] += h * want[d];
        }
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        util_assert_all_close(z, want, D, 1e-14);
        flow_layer_free(layer);
    }
}

// v - T h K^T s(b), if all T forces are one.
static void one_feature_is_shifted(void **state) {
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        const flow_leapfrog_options o = {
            .kind = (flow_leapfrog_kind)kind, .steps = 2, .step = 0.5, .couplings = {.mlp = units}};
        flow_layer *layer = leapfrog(1, &o);
        double f[2], z, log_det;
        for (int t = 0; t < 2; t++) {
            symmetric(numbers(layer, 'K', t), numbers(layer, 'b', t), 1, NULL, 0, &f[t], 1);
        }
        layers_run(layer, AD_F64, true, (const double[]){0.75}, 1, &z, &log_det);
        util_assert_close(z, 0.75 + (kind ? 0.5 : -0.5) * (f[0] + f[1]), 1e-15);
        assert_true(f[0] != 0 && log_det == 0);
        flow_layer_free(layer);
    }
}

// What is known beside the row moves the kinks: b + U c in the place of b.
static void a_context_moves_the_units(void **state) {
    (void)state;
    const flow_leapfrog_options o = {.steps = 2, .step = 0.5, .couplings = {.mlp = units}};
    flow_layer *seeing = flow_leapfrog(3, 2, &o, &layers_error), *blind = leapfrog(3, &o);
    layers_assert_made(seeing);
    const double c[2] = {0.5, -2}, x[3] = {1, 0.5, -1};
    for (int t = 0; t < 2; t++) {
        const char *names[2][2] = {{"K0", "b0"}, {"K1", "b1"}};
        const double *U = numbers(seeing, 'U', t);
        layers_set(layers_param(blind, names[t][0]), numbers(seeing, 'K', t));
        for (int u = 0; u < 5; u++) {
            const double b = numbers(seeing, 'b', t)[u] + U[2 * u] * c[0] + U[2 * u + 1] * c[1];
            ad_param_set(layers_param(blind, names[t][1]), u, b);
        }
    }
    double want[3], got[3], log_det;
    layers_run(blind, AD_F64, true, x, 1, want, &log_det);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, 1);
    ad_var in = ad_input(util_rows(tape, "data", 1), ad_shape1(3), &source);
    ad_var z = ad_keep(flow_layer_normalize(seeing, in, ad_constant(tape, ad_shape1(2), c)).value);
    util_run(tape);
    util_read(z, got, 3);
    util_assert_all_close(got, want, 3, 1e-14);
    ad_tape_free(tape);
    flow_layer_free(seeing);
    flow_layer_free(blind);
}

// ---- as couplings of shifts -----------------------------------------------------------------------------------------

// One free Hamiltonian step of size 1 is a RevNet pair: the same nets, the same bits.
static void a_free_pair_is_a_revnet_pair(void **state) {
    (void)state;
    flow_mlp_options net = tanh_net;
    flow_net *nets[4];
    for (int i = 0; i < 4; i++) {
        net.seed = (uint64_t)(i % 2);
        nets[i] = flow_mlp(i % 2 ? 3 : 2, i % 2 ? 2 : 3, &net, &layers_error);
        layers_assert_made(nets[i]);
    }
    const flow_leapfrog_options o = {
        .kind = FLOW_HAMILTONIAN, .steps = 1, .step = 1, .fixed = true, .couplings = {.nets = nets, .n_nets = 2}};
    const flow_coupling_pair_options p = {.couplings = {.nets = nets + 2, .n_nets = 2}};
    flow_layer *layer = leapfrog(5, &o), *pair = flow_revnet_pair(5, 0, &p, &layers_error);
    layers_assert_made(pair);
    double x[ROWS * 5], got[ROWS * 5], want[ROWS * 5], log_det[ROWS];
    util_fill(x, ROWS * 5, 3, -1, 1);
    for (int normalize = 0; normalize < 2; normalize++) {
        layers_run(layer, AD_F64, normalize, x, ROWS, got, log_det);
        layers_run(pair, AD_F64, normalize, x, ROWS, want, log_det);
        assert_memory_equal(got, want, sizeof want);
    }
    flow_layer_free(layer);
    flow_layer_free(pair);
}

// And one of positions that stay (more of them than velocities) but for those that a velocity moves.
static void positions_without_velocity_stay(void **state) {
    (void)state;
    const flow_leapfrog_options o = {.steps = 3, .step = 0.5, .split = 1, .couplings = {.mlp = units}};
    flow_layer *layer = leapfrog(4, &o);
    const double x[4] = {1, 2, 3, 4};
    double z[4], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    assert_true(z[0] != 1 && z[1] != 2 && z[2] == 3 && z[3] == 4);
    flow_layer_free(layer);
}

// ---- volumes, inverses ----------------------------------------------------------------------------------------------

// The determinant of the Jacobian by elimination, of derivatives row by row.
static double determinant(const flow_layer *layer, bool normalize, const double *x, int D) {
    double J[MOST][MOST], none = 0, det = 1;
    for (int i = 0; i < D; i++) {
        double row[MOST] = {0};
        row[i] = 1;
        layers_gradients(layer, normalize, x, 1, row, &none, J[i]);
    }
    for (int c = 0; c < D; c++) {
        int best = c;
        for (int r = c; r < D; r++) best = fabs(J[r][c]) > fabs(J[best][c]) ? r : best;
        for (int k = 0; k < D && best != c; k++) {
            const double kept = J[c][k];
            J[c][k] = J[best][k], J[best][k] = kept;
        }
        det *= best != c ? -J[c][c] : J[c][c];
        for (int r = c + 1; r < D; r++) {
            const double by = J[r][c] / J[c][c];
            for (int k = c; k < D; k++) J[r][k] -= by * J[c][k];
        }
    }
    return det;
}

static void volumes_are_kept_and_steps_undone(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        const int D = 4 + i % 2;
        const flow_leapfrog_options o = {.kind = (flow_leapfrog_kind)(i / 4),
                                         .steps = 5,
                                         .step = 0.5,
                                         .couplings = {.inverse = i / 2 % 2, .mlp = units}};
        flow_layer *layer = leapfrog(D, &o);
        double x[ROWS * MOST], z[ROWS * MOST], back[ROWS * MOST], log_det[ROWS];
        util_fill(x, ROWS * D, 3, -3, 3);
        layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
        layers_run(layer, AD_F64, false, z, ROWS, back, log_det);
        util_assert_all_close(back, x, ROWS * D, 1e-13);
        for (int d = 0; d < D; d++) assert_true(fabs(z[d] - x[d]) > 0.01);
        util_assert_close(determinant(layer, true, x, D), 1, 1e-12);
        util_assert_close(determinant(layer, false, x, D), 1, 1e-12);
        flow_layer_free(layer);
    }
}

// Of numbers without rounding the recurrence backwards is exact: a step of 1/2, forces that are whole.
static void the_inverse_is_exact(void **state) {
    (void)state;
    const flow_mlp_options linear = {.layers = -1, .type = AD_F64};
    flow_layer *layer =
        leapfrog(4, &(flow_leapfrog_options){.steps = 4, .step = 0.5, .free = true, .couplings = {.mlp = linear}});
    for (int t = 0; t < 4; t++) {
        const char *names[4] = {"net0", "net1", "net2", "net3"};
        layers_set(layers_part(layer, names[t])->params[0], (const double[]){1, -2, 3, t});
    }
    const double x[4] = {1, -2, 3, 5};
    double z[4], back[4], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    assert_memory_equal(back, x, sizeof x);
    assert_true(z[0] != x[0] && z[3] != x[3]);
    flow_layer_free(layer);
}

// A layer the other way round undoes one with the same numbers.
static void inverse_swaps_directions(void **state) {
    (void)state;
    flow_leapfrog_options o = {.steps = 3, .step = 0.3, .couplings = {.mlp = units}};
    flow_layer *layer = leapfrog(5, &o);
    o.couplings.inverse = true;
    flow_layer *other = leapfrog(5, &o);
    const double x[5] = {1, -2, 0.5, 0.3, 3};
    double a[5], b[5], log_det;
    layers_run(layer, AD_F64, true, x, 1, a, &log_det);
    layers_run(other, AD_F64, false, x, 1, b, &log_det);
    assert_memory_equal(a, b, sizeof a);
    flow_layer_free(layer);
    flow_layer_free(other);
}

// ---- options --------------------------------------------------------------------------------------------------------

// The identity at the start, and h feels which way to go; a step that is fixed is 1 / T.
static void it_starts_as_the_identity(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const flow_leapfrog_options o = {
            .kind = (flow_leapfrog_kind)(i % 2), .free = i > 1, .couplings = {.mlp = units}};
        flow_layer *layer = leapfrog(4, &o);
        const double x[4] = {1, -2, 0.5, 0.3}, ones[4] = {1, 1, 1, 1}, none = 0;
        double z[4], gradient[4], log_det;
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        assert_memory_equal(z, x, sizeof x);
        layers_gradients(layer, true, x, 1, ones, &none, gradient);
        const ad_param *h = layers_param(layer, "h");
        assert_true(((const double *)h->grad)[0] != 0);
        flow_layer_free(layer);
    }
    flow_leapfrog_options o = {.steps = 4, .fixed = true, .couplings = {.mlp = units}};
    flow_layer *fixed = leapfrog(4, &o);
    o.fixed = false;
    o.step = 0.25;
    flow_layer *learned = leapfrog(4, &o);
    const double x[4] = {1, -2, 0.5, 0.3};
    double a[4], b[4], log_det;
    layers_run(fixed, AD_F64, true, x, 1, a, &log_det);
    layers_run(learned, AD_F64, true, x, 1, b, &log_det);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(fixed->owner.n_params + 1, learned->owner.n_params);
    flow_layer_free(fixed);
    flow_layer_free(learned);
}

// Many features and few units, with the step that the preset starts from: forces that grow with the features would make
// numbers of some millions.
static void wide_layers_do_not_start_by_exploding(void **state) {
    (void)state;
    enum { D = 64 };
    for (int kind = 0; kind < 2; kind++) {
        const flow_leapfrog_options o = {
            .kind = (flow_leapfrog_kind)kind, .step = 1, .couplings = {.mlp = {.width = 5, .seed = 3}}};
        flow_layer *layer = leapfrog(D, &o);
        double x[ROWS * D], z[ROWS * D], log_det[ROWS];
        util_fill(x, ROWS * D, 5, -2, 2);
        layers_run(layer, AD_F64, true, x, ROWS, z, log_det);
        double most = 0;
        for (int i = 0; i < ROWS * D; i++) most = fmax(most, fabs(z[i]));
        assert_true(most < 100);
        flow_layer_free(layer);
    }
}

static flow_layer *refused(flow_leapfrog_options o) {
    return flow_leapfrog(4, 0, &o, &layers_error);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    layers_assert_refused(refused((flow_leapfrog_options){.split = 4}), AD_EARG,
                          "split 4 leaves one part of 4 features");
    layers_assert_refused(refused((flow_leapfrog_options){.split = INT64_MIN}), AD_EARG, "split -9223372036854775808");
    layers_assert_refused(refused((flow_leapfrog_options){.split = 5}), AD_EARG, "split 5");
    layers_assert_refused(refused((flow_leapfrog_options){.steps = -1}), AD_EARG, "kind 0, -1 steps");
    layers_assert_refused(refused((flow_leapfrog_options){.steps = 4097}), AD_EARG, "1 to 4096 steps");
    layers_assert_refused(refused((flow_leapfrog_options){.kind = FLOW_HAMILTONIAN, .steps = 2049}), AD_EARG,
                          "1 to 2048 steps");
    layers_assert_refused(refused((flow_leapfrog_options){.kind = FLOW_HAMILTONIAN, .steps = 5000}), AD_EARG,
                          "1 to 2048 steps");
    layers_assert_refused(refused((flow_leapfrog_options){.kind = (flow_leapfrog_kind)2}), AD_EARG, "kind 2, 0 steps");
    layers_assert_refused(refused((flow_leapfrog_options){.step = -1}), AD_EARG, "step -1; expected 0 to 100");
    layers_assert_refused(refused((flow_leapfrog_options){.step = (double)NAN}), AD_EARG, "step nan");
    layers_assert_refused(refused((flow_leapfrog_options){.couplings = {.mlp = {.width = -2}}}), AD_EARG, "width -2");
    layers_assert_refused(refused((flow_leapfrog_options){.couplings = {.mlp = {.activation = (flow_activation)7}}}),
                          AD_EARG, "activation 7");
    layers_assert_refused(
        refused((flow_leapfrog_options){.free = true, .couplings = {.conditioner = (flow_conditioner)9}}), AD_EARG,
        "leapfrog: conditioner is 9");
    layers_assert_refused(flow_leapfrog(0, 0, NULL, &layers_error), AD_EARG, "leapfrog: 0 features");
    layers_assert_refused(flow_leapfrog(1, 0, &(flow_leapfrog_options){.free = true}, &layers_error), AD_EARG,
                          "one feature and no context leave nets nothing");
}

static void nets_are_owned_also_on_failure(void **state) {
    (void)state;
    flow_net *few[1] = {flow_mlp(2, 2, &tanh_net, NULL)};
    flow_leapfrog_options o = {.steps = 2, .couplings = {.nets = few, .n_nets = 1}};
    layers_assert_refused(flow_leapfrog(4, 0, &o, &layers_error), AD_EARG, "leapfrog: 1 nets, expected 2");
    flow_net *odd[2] = {flow_mlp(2, 2, &tanh_net, NULL), flow_mlp(3, 2, &tanh_net, NULL)};
    o.couplings.nets = odd, o.couplings.n_nets = 2;
    layers_assert_refused(flow_leapfrog(4, 0, &o, &layers_error), AD_ESHAPE,
                          "leapfrog: the net is [3] -> [2], expected [2] -> [2]");
    flow_net *lost[2] = {flow_mlp(2, 2, &tanh_net, NULL), flow_mlp(2, 2, &tanh_net, NULL)};
    o.couplings.nets = lost;
    layers_assert_refused(flow_leapfrog(0, 0, &o, &layers_error), AD_EARG, "0 features");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leapfrog_is_its_recurrence),
        cmocka_unit_test(a_hamiltonian_is_its_recurrence),
        cmocka_unit_test(parts_may_differ_in_size),
        cmocka_unit_test(one_feature_is_shifted),
        cmocka_unit_test(a_context_moves_the_units),
        cmocka_unit_test(a_free_pair_is_a_revnet_pair),
        cmocka_unit_test(positions_without_velocity_stay),
        cmocka_unit_test(volumes_are_kept_and_steps_undone),
        cmocka_unit_test(the_inverse_is_exact),
        cmocka_unit_test(inverse_swaps_directions),
        cmocka_unit_test(it_starts_as_the_identity),
        cmocka_unit_test(wide_layers_do_not_start_by_exploding),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(nets_are_owned_also_on_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
