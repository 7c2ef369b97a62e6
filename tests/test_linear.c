// test_linear.c -- linear layers: closed forms and reference values, how they start, singular matrices, refusals.
#include "layers.h"

static flow_layer *made(flow_layer *layer) {
    layers_assert_made(layer);
    return layer;
}

static const flow_linear_options wide = {.type = AD_F64};

// normalize of x [n][D] is W x + b with that log_det, and generate takes it back. Frees the layer.
static void check_map(flow_layer *layer, const double *W, const double *b, double log_det) {
    enum { N = 3, MOST = 6 };
    const int64_t D = layer->x_shape.dim[0];
    double x[N * MOST], z[N * MOST], back[N * MOST], there_det[N], back_det[N];
    assert_true(D <= MOST);
    util_fill(x, N * D, 7, -2, 2);
    layers_run(layer, AD_F64, true, x, N, z, there_det);
    for (int64_t r = 0; r < N; r++) {
        for (int64_t i = 0; i < D; i++) {
            double want = b ? b[i] : 0;
            for (int64_t j = 0; j < D; j++) want += W[i * D + j] * x[r * D + j];
            util_assert_close(z[r * D + i], want, 1e-13);
        }
        util_assert_close(there_det[r], log_det, 1e-13);
    }
    layers_run(layer, AD_F64, false, z, N, back, back_det);
    util_assert_all_close(back, x, N * D, 1e-11);
    util_assert_close(back_det[0], -log_det, 1e-13);
    flow_layer_free(layer);
}

// ---- one kind each --------------------------------------------------------------------------------------------------

static void dense_is_any_matrix(void **state) {
    (void)state;
    const double W[4] = {1, 2, 3, 4}, b[2] = {0.5, -1};
    flow_layer *layer = made(flow_dense_linear(2, &wide, &layers_error));
    layers_set(layers_param(layer, "W"), W);
    layers_set(layers_param(layer, "b"), b);
    check_map(layer, W, b, log(2));
}

static void a_singular_matrix_has_no_generate(void **state) {
    (void)state;
    const double W[4] = {1, 2, 2, 4}, z[2] = {1, 1};
    flow_layer *layer = made(flow_dense_linear(2, &wide, &layers_error));
    layers_set(layers_param(layer, "W"), W);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, 1);
    ad_keep(flow_layer_generate(layer, ad_input(util_rows(tape, "data", 1), ad_shape1(2), &source), AD_NONE).value);
    assert_int_equal(ad_run(tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(tape), "singular");
    ad_tape_free(tape);
    double value[2], log_det;
    layers_run(layer, AD_F64, true, z, 1, value, &log_det);
    assert_true(log_det == -INFINITY);
    flow_layer_free(layer);
}

static void diagonal_scales_and_shifts(void **state) {
    (void)state;
    const double raw[2] = {0.4, -3}, b[2] = {2, 3}, s[2] = {1.5 * tanh(0.4 / 1.5), 1.5 * tanh(-2)};
    const double W[4] = {exp(s[0]), 0, 0, exp(s[1])}, I[4] = {1, 0, 0, 1};
    flow_diagonal_options o = {.linear = {.bound = 1.5, .type = AD_F64}};
    flow_layer *layer = made(flow_diagonal_affine(2, &o, &layers_error));
    layers_set(layers_param(layer, "log_scale"), raw);
    layers_set(layers_param(layer, "b"), b);
    check_map(layer, W, b, s[0] + s[1]);
    o.linear.no_shift = true;
    layer = made(flow_diagonal_affine(2, &o, &layers_error));
    layers_set(layers_param(layer, "log_scale"), raw);
    assert_int_equal(layer->owner.n_params, 1);
    check_map(layer, W, NULL, s[0] + s[1]);
    o = (flow_diagonal_options){.no_scale = true, .linear = wide};
    layer = made(flow_diagonal_affine(2, &o, &layers_error));
    layers_set(layers_param(layer, "b"), b);
    assert_int_equal(layer->owner.n_params, 1);
    check_map(layer, I, b, 0);
}

// However far training takes the raw scale, neither direction overflows, in f32.
static void scales_are_bounded_both_ways(void **state) {
    (void)state;
    const double raw[2] = {1e30, -1e30}, x[2] = {2, 2}, want[2] = {2 * exp(7), 2 * exp(-7)};
    flow_layer *layer = made(flow_diagonal_affine(2, NULL, &layers_error));
    layers_set(layers_param(layer, "log_scale"), raw);
    double z[2], back[2], log_det;
    layers_run(layer, AD_F32, true, x, 1, z, &log_det);
    util_assert_all_close(z, want, 2, 1e-6);
    layers_run(layer, AD_F32, false, z, 1, back, &log_det);
    util_assert_all_close(back, x, 2, 1e-6);
    flow_layer_free(layer);
}

static void triangular_reads_one_half(void **state) {
    (void)state;
    const double T[9] = {0.1, 5, 6, 2, -0.3, 7, 3, 4, 0.2}, b[3] = {1, 2, 3};
    for (int upper = 0; upper < 2; upper++) {
        double W[9], log_det = 0;
        for (int i = 0; i < 9; i++) {
            W[i] = (upper ? i % 3 > i / 3 : i % 3 < i / 3) ? T[i] : 0;
            if (i % 4 == 0) log_det += 7 * tanh(T[i] / 7);
            if (i % 4 == 0) W[i] = exp(7 * tanh(T[i] / 7));
        }
        flow_triangular_options o = {.upper = upper, .linear = wide};
        flow_layer *layer = made(flow_triangular_linear(3, &o, &layers_error));
        layers_set(layers_param(layer, "T"), T);
        layers_set(layers_param(layer, "b"), b);
        check_map(layer, W, b, log_det);
    }
}

static void reflections_have_the_reference_values(void **state) {
    (void)state;
    enum { D = 5, B = 10, K = 4 };
    npz file = npz_open("householder_d5_k4.npz");
    int64_t n;
    flow_householder_options o = {.reflections = K, .linear = {.no_shift = true, .type = AD_F64}};
    flow_layer *layer = made(flow_householder(D, &o, &layers_error));
    double *q = npz_array(&file, "q", &n), *x = npz_array(&file, "x", &n), *want = npz_array(&file, "z", &n);
    double *cot_z = npz_array(&file, "cot_z", &n), *grad_x = npz_array(&file, "grad_x", &n);
    double *grad_q = npz_array(&file, "grad_q", &n), *cot_log_det = npz_array(&file, "cot_log_det", &n);
    double z[B * D], back[B * D], log_det[B], gradient[B * D];
    ad_param *V = layers_param(layer, "V");
    layers_set(V, q);
    layers_run(layer, AD_F64, true, x, B, z, log_det);
    util_assert_all_close(z, want, B * D, 1e-12);
    for (int r = 0; r < B; r++) assert_true(log_det[r] == 0);
    layers_run(layer, AD_F64, false, z, B, back, log_det);
    util_assert_all_close(back, x, B * D, 1e-11);
    layers_gradients(layer, true, x, B, cot_z, cot_log_det, gradient);
    util_assert_all_close(gradient, grad_x, B * D, 1e-10);
    for (int i = 0; i < K * D; i++) {  // relative to each vector's largest: their lengths differ by 1e6
        double most = 0;
        for (int d = 0; d < D; d++) most = fmax(most, fabs(grad_q[i / D * D + d]));
        assert_true(fabs(((double *)V->grad)[i] - grad_q[i]) <= 1e-10 * most);
    }
    double *all[] = {q, x, want, cot_z, grad_x, grad_q, cot_log_det};
    for (int i = 0; i < 7; i++) free(all[i]);
    flow_layer_free(layer);
    npz_close(&file);
}

// Few reflections go through two thin products, many through the matrix: the same map, here against reflecting one by
// one.
static void both_ways_of_reflecting_agree(void **state) {
    (void)state;
    enum { D = 6 };
    for (int K = 2; K < 6; K++) {
        flow_householder_options o = {.reflections = K, .linear = {.random = true, .seed = 3, .type = AD_F64}};
        flow_layer *layer = made(flow_householder(D, &o, &layers_error));
        const double *V = layers_param(layer, "V")->data;
        double x[D] = {1, -2, 0.5, 3, 0, 0.25}, z[D], log_det;
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        for (int k = 0; k < K; k++) {
            double dot = 0, square = 0;
            for (int d = 0; d < D; d++) dot += V[k * D + d] * x[d], square += V[k * D + d] * V[k * D + d];
            for (int d = 0; d < D; d++) x[d] -= 2 * dot / square * V[k * D + d];
        }
        util_assert_all_close(z, x, D, 1e-13);
        flow_layer_free(layer);
    }
}

static void a_vector_of_zeros_reflects_nothing(void **state) {
    (void)state;
    const double V[4] = {0, 0, 1, 0}, W[4] = {-1, 0, 0, 1};
    flow_householder_options o = {.reflections = 2, .linear = wide};
    flow_layer *layer = made(flow_householder(2, &o, &layers_error));
    layers_set(layers_param(layer, "V"), V);
    check_map(layer, W, NULL, 0);
}

static void qr_is_reflections_times_a_triangle(void **state) {
    (void)state;
    const double V[2] = {0, 3}, R[4] = {0.2, 5, 9, -0.1};  // the reflection changes the second feature's sign
    const double s[2] = {7 * tanh(0.2 / 7), 7 * tanh(-0.1 / 7)}, W[4] = {exp(s[0]), 5, 0, -exp(s[1])};
    flow_householder_options o = {.reflections = 1, .linear = wide};
    flow_layer *layer = made(flow_qr_linear(2, &o, &layers_error));
    layers_set(layers_param(layer, "V"), V);
    layers_set(layers_param(layer, "R"), R);
    check_map(layer, W, NULL, s[0] + s[1]);
}

static void svd_has_its_singular_values(void **state) {
    (void)state;
    const double U[2] = {1, -1}, V[2] = {0, 2}, raw[2] = {0.5, -1};  // U swaps, V changes the second sign
    const double s[2] = {7 * tanh(0.5 / 7), 7 * tanh(-1. / 7)}, W[4] = {0, -exp(s[1]), exp(s[0]), 0};
    flow_householder_options o = {.reflections = 1, .linear = wide};
    flow_layer *layer = made(flow_svd_linear(2, &o, &layers_error));
    layers_set(layers_param(layer, "U"), U);
    layers_set(layers_param(layer, "V"), V);
    layers_set(layers_param(layer, "log_scale"), raw);
    check_map(layer, W, NULL, s[0] + s[1]);
}

// W = {., .; a, .} turns the plane by a, by 2 atan a; and {3, -4; 4, 3} is 5 times a rotation.
static void each_orthogonal_kind_turns_the_plane(void **state) {
    (void)state;
    const double raw[3][4] = {{9, 9, 0.7, 9}, {9, 9, 0.7, 9}, {3, -4, 4, 3}};
    const double angle[3] = {0.7, 2 * atan(0.7), atan2(4, 3)};
    for (int kind = 0; kind < 3; kind++) {
        flow_orthogonal_options o = {.kind = (flow_orthogonal_kind)kind, .linear = wide};
        flow_layer *layer = made(flow_orthogonal(2, &o, &layers_error));
        layers_set(layers_param(layer, "W"), raw[kind]);
        const double c = cos(angle[kind]), s = sin(angle[kind]), W[4] = {c, -s, s, c};
        check_map(layer, W, NULL, 0);
    }
}

// Trained far from an orthogonal matrix, the layer is orthogonal all the same.
static void lengths_are_kept_whatever_the_parameters(void **state) {
    (void)state;
    enum { D = 5 };
    const double x[D] = {1, -2, 0.5, 3, 1}, length = 1 + 4 + 0.25 + 9 + 1;
    for (int kind = 0; kind < 3; kind++) {
        flow_orthogonal_options o = {.kind = (flow_orthogonal_kind)kind, .linear = {.no_shift = true, .type = AD_F64}};
        flow_layer *layer = made(flow_orthogonal(D, &o, &layers_error));
        ad_param *W = layers_param(layer, "W");
        util_fill(W->data, W->count, 5, -30, 30);
        double z[D], log_det, got = 0;
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        for (int d = 0; d < D; d++) got += z[d] * z[d];
        util_assert_close(got, length, 1e-12);
        flow_layer_free(layer);
    }
}

static double determinant3(const double *a) {
    return a[0] * (a[4] * a[8] - a[5] * a[7]) - a[1] * (a[3] * a[8] - a[5] * a[6]) + a[2] * (a[3] * a[7] - a[4] * a[6]);
}

static void a_random_rotation_is_one(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        flow_layer *layer = made(flow_rotation(3, seed, &layers_error));
        const double *Q = layer->owner.states[0]->data;
        util_assert_close(determinant3(Q), 1, 1e-13);
        for (int i = 0; i < 9; i++) {
            double dot = 0;
            for (int k = 0; k < 3; k++) dot += Q[k * 3 + i / 3] * Q[k * 3 + i % 3];
            util_assert_close(dot, i / 3 == i % 3, 1e-13);
        }
        double W[9];
        memcpy(W, Q, sizeof W);
        check_map(layer, W, NULL, 0);
    }
}

// Uniform among the rotations: each entry has mean 0 and variance 1/3; within five standard errors.
static void random_rotations_are_uniform(void **state) {
    (void)state;
    enum { N = 2000 };
    double sum[9] = {0}, square[9] = {0};
    for (uint64_t seed = 0; seed < N; seed++) {
        flow_layer *layer = made(flow_rotation(3, seed, &layers_error));
        const double *Q = layer->owner.states[0]->data;
        for (int i = 0; i < 9; i++) sum[i] += Q[i] / N, square[i] += Q[i] * Q[i] / N;
        flow_layer_free(layer);
    }
    for (int i = 0; i < 9; i++) {
        assert_true(fabs(sum[i]) < 5 * sqrt(1. / 3 / N));
        assert_true(fabs(square[i] - 1. / 3) < 5 * sqrt(4. / 45 / N));
    }
}

static void a_plane_is_turned(void **state) {
    (void)state;
    const double c = cos(0.3), s = sin(0.3), W[9] = {c, 0, s, 0, 1, 0, -s, 0, c};
    flow_plane_options o = {.i = 2, .j = 0, .angle = 0.3, .type = AD_F64};
    check_map(made(flow_plane_rotation(3, &o, &layers_error)), W, NULL, 0);
}

static void low_rank_has_the_determinant_of_the_whole(void **state) {
    (void)state;
    const double U[6] = {1, 2, -1, 0.5, 0.25, 1}, V[6] = {0.5, 1, 1, -1, 2, 0.5}, raw[3] = {0.5, -0.5, 0.1};
    const double b[3] = {1, 0, -1};
    for (int symmetric = 0; symmetric < 2; symmetric++) {
        double W[9];
        for (int i = 0; i < 9; i++) {
            const double *v = symmetric ? U : V;
            W[i] = U[i / 3 * 2] * v[i % 3 * 2] + U[i / 3 * 2 + 1] * v[i % 3 * 2 + 1];
            if (i % 4 == 0) W[i] += exp(7 * tanh(raw[i / 3] / 7));
        }
        flow_low_rank_options o = {.rank = 2, .symmetric = symmetric, .linear = wide};
        flow_layer *layer = made(flow_low_rank_linear(3, &o, &layers_error));
        layers_set(layers_param(layer, "U"), U);
        if (!symmetric) layers_set(layers_param(layer, "V"), V);
        layers_set(layers_param(layer, "log_scale"), raw);
        layers_set(layers_param(layer, "b"), b);
        check_map(layer, W, b, log(fabs(determinant3(W))));
    }
}

static void rank_one_moves_u_to_the_safe_side(void **state) {
    (void)state;
    const double u[3] = {-4, 1, 2}, v[3] = {2, 1, -1}, along = -9, s = 7 * tanh(along / 7);
    double W[9];
    for (int i = 0; i < 9; i++) {
        W[i] = (i % 4 == 0) + (u[i / 3] + v[i / 3] * (exp(s) - 1 - along) / 6) * v[i % 3];
    }
    util_assert_close(log(determinant3(W)), s, 1e-10);
    flow_layer *layer = made(flow_rank_one_linear(3, &wide, &layers_error));
    layers_set(layers_param(layer, "u"), u);
    layers_set(layers_param(layer, "v"), v);
    check_map(layer, W, NULL, s);
}

static void kronecker_is_the_product_of_both(void **state) {
    (void)state;
    const double A[4] = {1, 2, 0.5, -1}, B[9] = {2, 0, 1, 0, 1, 0, 1, 1, 1};
    double W[36];
    for (int i = 0; i < 36; i++) W[i] = A[i / 6 / 3 * 2 + i % 6 / 3] * B[i / 6 % 3 * 3 + i % 6 % 3];
    flow_kronecker_options o = {.linear = wide};
    flow_layer *layer = made(flow_kronecker_linear(6, &o, &layers_error));
    layers_set(layers_param(layer, "A"), A);
    layers_set(layers_param(layer, "B"), B);
    check_map(layer, W, NULL, 3 * log(2) + 2 * log(determinant3(B)));
}

static void dct_is_its_sum_of_cosines(void **state) {
    (void)state;
    for (int64_t D = 1; D <= 6; D++) {
        double W[36];
        for (int64_t i = 0; i < D * D; i++) {
            double k = (double)(i / D), n = (double)(i % D);
            W[i] = sqrt((k == 0 ? 1 : 2) / (double)D) * cos(acos(-1) * (2 * n + 1) * k / (2 * (double)D));
        }
        check_map(made(flow_dct(D, &layers_error)), W, NULL, 0);
    }
}

// Angles of thousands of turns keep their digits in f32.
static void a_wide_dct_is_orthogonal_in_f32(void **state) {
    (void)state;
    enum { D = 700 };
    flow_layer *layer = made(flow_dct(D, &layers_error));
    double x[D], z[D], back[D], log_det;
    util_fill(x, D, 3, -1, 1);
    layers_run(layer, AD_F32, true, x, 1, z, &log_det);
    layers_run(layer, AD_F32, false, z, 1, back, &log_det);
    util_assert_all_close(back, x, D, 1e-5);
    flow_layer_free(layer);
}

// ---- all of them ----------------------------------------------------------------------------------------------------

enum { KINDS = 12 };

static flow_layer *kind(int i, int64_t D) {
    flow_linear_options l = {.seed = 5, .type = AD_F64};
    switch (i) {
        case 0:
            return flow_dense_linear(D, &l, &layers_error);
        case 1:
            return flow_diagonal_affine(D, &(flow_diagonal_options){.linear = l}, &layers_error);
        case 2:
            return flow_triangular_linear(D, &(flow_triangular_options){.linear = l}, &layers_error);
        case 3:
            return flow_householder(D, &(flow_householder_options){.linear = l}, &layers_error);
        case 4:
            return flow_qr_linear(D, &(flow_householder_options){.linear = l}, &layers_error);
        case 5:
            return flow_svd_linear(D, &(flow_householder_options){.linear = l}, &layers_error);
        case 6:
            return flow_low_rank_linear(D, &(flow_low_rank_options){.linear = l}, &layers_error);
        case 7:
            return flow_rank_one_linear(D, &l, &layers_error);
        case 8:
            return flow_kronecker_linear(D, &(flow_kronecker_options){.linear = l}, &layers_error);
        default: {
            flow_orthogonal_options o = {.kind = (flow_orthogonal_kind)(i - 9), .linear = l};
            return flow_orthogonal(D, &o, &layers_error);
        }
    }
}

static void all_start_as_the_identity(void **state) {
    (void)state;
    const double x[4] = {0.5, -1, 2, 0.25};
    for (int i = 0; i < KINDS; i++) {
        for (int64_t D = 1; D <= 4; D++) {
            flow_layer *layer = made(kind(i, D));
            double z[4], log_det;
            layers_run(layer, AD_F64, true, x, 1, z, &log_det);
            util_assert_all_close(z, x, D, 1e-14);
            util_assert_close(log_det, 0, 1e-14);
            flow_layer_free(layer);
        }
    }
}

// At the start every matrix already has a gradient: none has to wait for noise to leave it.
static void all_learn_from_the_start(void **state) {
    (void)state;
    enum { D = 3, N = 4 };
    double x[N * D], cot[N * D], cot_log_det[N] = {0.3, 0.1, -0.2, 0.4}, gradient[N * D];
    util_fill(x, N * D, 1, -1, 1);
    util_fill(cot, N * D, 2, -1, 1);
    for (int i = 0; i < KINDS; i++) {
        flow_layer *layer = made(kind(i, D));
        layers_gradients(layer, true, x, N, cot, cot_log_det, gradient);
        double most = 0;
        for (int p = 0; p < layer->owner.n_params; p++) {
            const ad_param *param = layer->owner.params[p];
            for (int64_t k = 0; strcmp(param->name, "b") && k < param->count; k++) {
                most = fmax(most, fabs(((double *)param->grad)[k]));
            }
        }
        if (!(most > 1e-3)) fail_msg("%s: largest gradient %g", layer->type->name, most);
        flow_layer_free(layer);
    }
}

static void bad_options_are_refused(void **state) {
    (void)state;
    ad_error *e = &layers_error;
    flow_linear_options l = {.bound = -1};
    layers_assert_refused(flow_dense_linear(0, NULL, e), AD_EARG, "dense linear: 0 features");
    layers_assert_refused(flow_triangular_linear(2, &(flow_triangular_options){.linear = l}, e), AD_EARG,
                          "triangular linear: bound -1");
    l.bound = (double)NAN;
    layers_assert_refused(flow_rank_one_linear(2, &l, e), AD_EARG, "rank one linear: bound nan");
    flow_diagonal_options nothing = {.no_scale = true, .linear = {.no_shift = true}};
    layers_assert_refused(flow_diagonal_affine(2, &nothing, e), AD_EARG, "neither scale nor shift");
    flow_householder_options few = {.reflections = -1};
    layers_assert_refused(flow_householder(2, &few, e), AD_EARG, "householder: -1 reflections");
    layers_assert_refused(flow_qr_linear(2, &few, e), AD_EARG, "qr linear: -1 reflections");
    layers_assert_refused(flow_svd_linear(2, &few, e), AD_EARG, "svd linear: -1 reflections");
    flow_orthogonal_options kind3 = {.kind = (flow_orthogonal_kind)3};
    layers_assert_refused(flow_orthogonal(2, &kind3, e), AD_EARG, "orthogonal: kind 3");
    layers_assert_refused(flow_low_rank_linear(2, &(flow_low_rank_options){.rank = 3}, e), AD_EARG, "rank 3 of 2");
    layers_assert_refused(flow_kronecker_linear(6, &(flow_kronecker_options){.first = 4}, e), AD_EARG,
                          "6 features are no multiple of 4");
    layers_assert_refused(flow_plane_rotation(1, NULL, e), AD_EARG, "features 0 and 1 of 1");
    layers_assert_refused(flow_plane_rotation(3, &(flow_plane_options){.i = 1, .j = 1}, e), AD_EARG, "1 and 1 of 3");
    layers_assert_refused(flow_dct(2049, e), AD_EARG, "dct: 2049 features, expected at most 2048");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense_is_any_matrix),
        cmocka_unit_test(a_singular_matrix_has_no_generate),
        cmocka_unit_test(diagonal_scales_and_shifts),
        cmocka_unit_test(scales_are_bounded_both_ways),
        cmocka_unit_test(triangular_reads_one_half),
        cmocka_unit_test(reflections_have_the_reference_values),
        cmocka_unit_test(both_ways_of_reflecting_agree),
        cmocka_unit_test(a_vector_of_zeros_reflects_nothing),
        cmocka_unit_test(qr_is_reflections_times_a_triangle),
        cmocka_unit_test(svd_has_its_singular_values),
        cmocka_unit_test(each_orthogonal_kind_turns_the_plane),
        cmocka_unit_test(lengths_are_kept_whatever_the_parameters),
        cmocka_unit_test(a_random_rotation_is_one),
        cmocka_unit_test(random_rotations_are_uniform),
        cmocka_unit_test(a_plane_is_turned),
        cmocka_unit_test(low_rank_has_the_determinant_of_the_whole),
        cmocka_unit_test(rank_one_moves_u_to_the_safe_side),
        cmocka_unit_test(kronecker_is_the_product_of_both),
        cmocka_unit_test(dct_is_its_sum_of_cosines),
        cmocka_unit_test(a_wide_dct_is_orthogonal_in_f32),
        cmocka_unit_test(all_start_as_the_identity),
        cmocka_unit_test(all_learn_from_the_start),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
