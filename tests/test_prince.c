// test_prince.c -- the problems of chapter 16 of Prince, "Understanding deep learning", 16.1 to 16.11, put to the
// library; and two equations of that chapter as they should read.
#include "layers.h"

static const double pi = 3.14159265358979323846;

static flow_model *model_of(flow_layer *layer, flow_base *base) {
    flow_model *model = flow_model_new(layer, base, &layers_error);
    layers_assert_made(model);
    return model;
}

static void log_prob_of(const flow_model *model, const double *x, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n);
    ad_var in = ad_input(util_rows(tape, "data", n), flow_model_shape(model), &source);
    ad_var log_prob = ad_keep(flow_log_prob(model, in, AD_NONE));
    util_run(tape);
    util_read(log_prob, out, n);
    ad_tape_free(tape);
}

// The Jacobian of one direction at one point, [D][D].
static void jacobian_of(const flow_layer *layer, bool normalize, const double *in, double *J) {
    const int64_t D = layer->x_shape.dim[0];
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(in, 1);
    ad_var v = ad_input(util_rows(tape, "data", 1), layer->x_shape, &source);
    flow_result r = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_var all = ad_keep(ad_jacobian(r.value, v));
    util_run(tape);
    util_read(all, J, D * D);
    ad_tape_free(tape);
}

static void stir(const flow_owner *owner, uint64_t *seed) {
    for (int i = 0; i < owner->n_params; i++) {
        for (int64_t k = 0; k < owner->params[i]->count; k++) {
            ad_param_set(owner->params[i], k, util_uniform(seed, -0.7, 0.7));
        }
    }
    for (int i = 0; i < owner->n_parts; i++) stir(owner->parts[i].owner, seed);
}

static flow_layer *dense(int64_t D, const double *W, const double *b) {
    flow_layer *layer = flow_dense_linear(D, &(flow_linear_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    layers_set(layers_param(layer, "W"), W);
    if (b) layers_set(layers_param(layer, "b"), b);
    return layer;
}

// ---- densities that are transformed ---------------------------------------------------------------------------------

// 16.1: z uniform on [0, 1], x = z^2: what is the density of x? 1 / (2 sqrt x).
static void a_uniform_density_squared(void **state) {
    (void)state;
    flow_layer *square = flow_bijector(1, "power", &(flow_bijector_options){.inverse = true, .a = 2}, &layers_error);
    flow_model *model = model_of(square, flow_base_uniform(1, 0, 1, &layers_error));
    const double x[4] = {0.0004, 0.09, 0.5, 0.99};
    double log_p[4];
    log_prob_of(model, x, 4, log_p);
    for (int i = 0; i < 4; i++) util_assert_close(exp(log_p[i]), 1 / (2 * sqrt(x[i])), 1e-13);
    flow_model_free(model);
}

// 16.2: z standard normal, x its logistic sigmoid: what is the density of x? N(logit x) / (x (1 - x)).
static void a_normal_density_through_a_sigmoid(void **state) {
    (void)state;
    flow_layer *sigmoid = flow_bijector(1, "sigmoid", &(flow_bijector_options){.inverse = true}, &layers_error);
    flow_model *model = model_of(sigmoid, flow_standard_normal(1, &layers_error));
    const double x[5] = {0.001, 0.2, 0.5, 0.77, 0.999};
    double log_p[5];
    log_prob_of(model, x, 5, log_p);
    for (int i = 0; i < 5; i++) {
        const double z = log(x[i] / (1 - x[i])), density = exp(-z * z / 2) / sqrt(2 * pi);
        util_assert_close(exp(log_p[i]), density / (x[i] * (1 - x[i])), 1e-12);
    }
    flow_model_free(model);
}

// ---- Jacobians and matrices -----------------------------------------------------------------------------------------

// 16.3: what are the Jacobian of the inverse of a chain of maps, and its determinant? The inverse matrix, and 1 over
// the determinant.
static void the_inverse_map_has_the_inverse_jacobian(void **state) {
    (void)state;
    enum { D = 4 };
    const flow_mlp_options net = {.layers = 1, .width = 8, .activation = FLOW_TANH, .type = AD_F64};
    flow_layer *layers[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        const flow_coupling_options o = {.keep = (flow_half)i, .mlp = net};
        layers[i] = flow_affine_coupling(D, 0, &o, &layers_error);
    }
    flow_layer *layer = flow_chain(layers, 2, &layers_error);
    layers_assert_made(layer);
    uint64_t seed = 4;
    stir(&layer->owner, &seed);
    const double z[D] = {0.3, -1, 0.8, 0.1};
    double x[D], back[D], F[D * D], G[D * D], log_det, inverse_log_det;
    layers_run(layer, AD_F64, false, z, 1, x, &log_det);
    layers_run(layer, AD_F64, true, x, 1, back, &inverse_log_det);
    jacobian_of(layer, false, z, F);
    jacobian_of(layer, true, x, G);
    for (int i = 0; i < D * D; i++) {
        double sum = 0;
        for (int k = 0; k < D; k++) sum += F[i / D * D + k] * G[k * D + i % D];
        util_assert_close(sum, i / D == i % D, 1e-12);
    }
    util_assert_close(inverse_log_det, -log_det, 1e-12);
    assert_true(fabs(log_det) > 0.01);
    flow_layer_free(layer);
}

static void check_matrix(const double *W, const double *inverse, double determinant) {
    flow_layer *layer = dense(4, W, NULL);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var A = ad_constant(tape, ad_shape2(4, 4), W), A_inverse = ad_keep(ad_inverse(A)), det = ad_keep(ad_det(A));
    util_run(tape);
    double got[16], z[4], log_det;
    util_read(A_inverse, got, 16);
    util_assert_all_close(got, inverse, 16, 1e-15);
    util_read(det, got, 1);
    util_assert_close(got[0], determinant, 1e-15);
    for (int i = 0; i < 4; i++) {  // column i of the inverse is where generate takes unit vector i
        const double unit[4] = {i == 0, i == 1, i == 2, i == 3};
        layers_run(layer, AD_F64, false, unit, 1, z, &log_det);
        for (int k = 0; k < 4; k++) util_assert_close(z[k], inverse[k * 4 + i], 1e-15);
        util_assert_close(log_det, -log(fabs(determinant)), 1e-15);
    }
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// 16.4: inverses and determinants, by hand, of a diagonal matrix and of a triangular one.
static void two_matrices_inverted_by_hand(void **state) {
    (void)state;
    check_matrix((const double[]){2, 0, 0, 0, 0, -5, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2},
                 (const double[]){0.5, 0, 0, 0, 0, -0.2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.5}, -20);
    check_matrix((const double[]){1, 0, 0, 0, 2, 4, 0, 0, 1, -1, 2, 0, 4, -2, -2, 1},
                 (const double[]){1, 0, 0, 0, -0.5, 0.25, 0, 0, -0.75, 0.125, 0.5, 0, -6.5, 0.75, 1, 1}, 8);
}

// ---- linear maps of random variables --------------------------------------------------------------------------------

static const double A[4] = {1.5, -0.5, 0.25, 2}, b[2] = {1, -3};

static void moments(const double *x, int n, double mean[2], double covariance[4]) {
    mean[0] = mean[1] = 0;
    for (int i = 0; i < 2 * n; i++) mean[i % 2] += x[i] / n;
    for (int e = 0; e < 4; e++) {
        covariance[e] = 0;
        for (int i = 0; i < n; i++) {
            covariance[e] += (x[2 * i + e / 2] - mean[e / 2]) * (x[2 * i + e % 2] - mean[e % 2]) / n;
        }
    }
}

// A S A^T
static void around(const double *S, double *out) {
    for (int e = 0; e < 4; e++) {
        out[e] = 0;
        for (int k = 0; k < 4; k++) out[e] += A[e / 2 * 2 + k / 2] * S[k] * A[e % 2 * 2 + k % 2];
    }
}

// 16.5: z of mean m and covariance S, x = A z + b: of which mean and covariance is x? A m + b and A S A^T, which holds
// of any finite set of points as well.
static void moments_of_a_linear_map(void **state) {
    (void)state;
    enum { N = 40 };
    double z[2 * N], x[2 * N], log_det[N], mean[2], S[4], got[2], covariance[4], want[4];
    util_fill(z, 2 * N, 8, -1, 3);
    flow_layer *layer = dense(2, A, b);
    layers_run(layer, AD_F64, true, z, N, x, log_det);
    moments(z, N, mean, S);
    moments(x, N, got, covariance);
    around(S, want);
    for (int i = 0; i < 2; i++) {
        util_assert_close(got[i], A[2 * i] * mean[0] + A[2 * i + 1] * mean[1] + b[i], 1e-13);
    }
    util_assert_all_close(covariance, want, 4, 1e-13);
    flow_layer_free(layer);
}

// 16.6: if z is normal (m, S), then A z + b is normal (A m + b, A S A^T), by the formula for transformed densities.
static void a_normal_density_stays_one(void **state) {
    (void)state;
    const double m[2] = {0.5, -1}, L[4] = {1.2, 0, 0.4, 0.7};  // S = L L^T
    const double S[4] = {L[0] * L[0], L[0] * L[2], L[0] * L[2], L[2] * L[2] + L[3] * L[3]};
    flow_base *base = flow_base_full(2, &(flow_full_options){.type = AD_F64}, &layers_error);
    layers_assert_made(base);
    const double raw[4] = {10 * atanh(log(L[0]) / 10), 0, L[2], 10 * atanh(log(L[3]) / 10)};  // logs of bound 10
    layers_set(base->owner.params[0], m);
    layers_set(base->owner.params[1], raw);
    flow_model *model = model_of(flow_inverse(dense(2, A, b), &layers_error), base);
    double x[20], log_p[10], V[4];
    util_fill(x, 20, 5, -4, 4);
    log_prob_of(model, x, 10, log_p);
    around(S, V);
    const double det = V[0] * V[3] - V[1] * V[2],
                 mean[2] = {A[0] * m[0] + A[1] * m[1] + b[0], A[2] * m[0] + A[3] * m[1] + b[1]};
    for (int i = 0; i < 10; i++) {
        const double u = x[2 * i] - mean[0], v = x[2 * i + 1] - mean[1];
        const double distance = (V[3] * u * u - (V[1] + V[2]) * u * v + V[0] * v * v) / det;
        util_assert_close(log_p[i], -distance / 2 - log(2 * pi) - log(det) / 2, 1e-12);
    }
    flow_model_free(model);
}

// ---- elementwise maps -----------------------------------------------------------------------------------------------

// 16.7: the inverse of the leaky ReLU (0.1 z below 0), and 1 over the determinant of its Jacobian, elementwise: 10 x
// below 0, and 10 to the number of features below 0.
static void the_leaky_relu_goes_back(void **state) {
    (void)state;
    flow_layer *layer = flow_bijector(5, "leaky relu", NULL, &layers_error);
    layers_assert_made(layer);
    const double z[5] = {-2, 0.5, -0.25, 3, -7}, x[5] = {-0.2, 0.5, -0.025, 3, -0.7};
    double got[5], log_det;
    layers_run(layer, AD_F64, true, z, 1, got, &log_det);
    util_assert_all_close(got, x, 5, 1e-15);
    util_assert_close(exp(-log_det), 1000, 1e-13);
    layers_run(layer, AD_F64, false, x, 1, got, &log_det);
    util_assert_all_close(got, z, 5, 1e-15);
    util_assert_close(exp(log_det), 1000, 1e-13);
    flow_layer_free(layer);
}

// 16.8: the Jacobian, and its determinant, of the piecewise-linear map of eq. 16.12 on each feature: diagonal, K times
// the height of the bin that the feature is in; and their product. (With b = floor(K h) the sum is of the b bins
// before.)
static void the_piecewise_linear_map_has_the_slopes_of_its_bins(void **state) {
    (void)state;
    enum { K = 5, D = 3 };
    const double phi[K] = {0.1, 0.2, 0.5, 0.1, 0.1}, h[D] = {0.13, 0.55, 0.9};
    const flow_spline_transformer_options o = {.bins = K, .spline = {.bound = 1, .min_height = 1e-6}};
    flow_layer *layer = flow_elementwise(D, 0, flow_linear_spline_transformer(&o, &layers_error),
                                         &(flow_elementwise_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    ad_param *raw = layers_param(layer, "raw");  // heights 1e-6 + (1 - 5e-6) softmax(raw)
    for (int i = 0; i < D * K; i++) ad_param_set(raw, i, log((phi[i % K] - 1e-6) / (1 - 5e-6)));
    double x[D], z[D], want[D], J[D * D], log_det, product = 1;
    for (int d = 0; d < D; d++) {
        const int bin = (int)floor(K * h[d]);
        want[d] = (K * h[d] - bin) * phi[bin];
        for (int k = 0; k < bin; k++) want[d] += phi[k];
        product *= K * phi[bin];
        x[d] = 2 * h[d] - 1;  // the library's box is [-1, 1]
    }
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    jacobian_of(layer, true, x, J);
    for (int d = 0; d < D; d++) util_assert_close((z[d] + 1) / 2, want[d], 1e-14);
    for (int i = 0; i < D * D; i++) {
        util_assert_close(J[i], i / D == i % D ? K * phi[(int)floor(K * h[i / D])] : 0, 1e-13);
    }
    util_assert_close(exp(log_det), product, 1e-13);
    flow_layer_free(layer);
}

// 16.9: the map of square roots over K = 5 equal bins, sqrt((K h - b) phi_b) plus the roots of all phi before, drawn
// with its inverse: here at points, as a layer of which this map is all that is written.
enum { BINS = 5 };
static const double heights[BINS] = {0.1, 0.2, 0.5, 0.1, 0.1};

static ad_var roots_map(const flow_call *c, ad_var h) {
    double before[BINS] = {0};
    for (int k = 1; k < BINS; k++) before[k] = before[k - 1] + sqrt(heights[k - 1]);
    ad_var at = ad_scale(h, BINS), bin = ad_clamp(ad_floor(at), 0, BINS - 1);
    ad_var phi = ad_take_along(ad_constant(c->tape, ad_shape1(BINS), heights), 0, bin);
    ad_var sum = ad_take_along(ad_constant(c->tape, ad_shape1(BINS), before), 0, bin);
    return ad_add(sum, ad_sqrt(ad_mul(ad_sub(at, bin), phi)));
}

static void square_roots_in_bins_go_back_as_squares(void **state) {
    (void)state;
    static const flow_derivation derivation = {FLOW_ELEMENTWISE, .normalize = roots_map, .low = 0, .high = 1};
    static const flow_layer_type type = {"roots in bins", .derived = &derivation};
    flow_layer *layer = flow_derive(&type, 1, 0, NULL, &layers_error);
    layers_assert_made(layer);
    enum { N = 10 };
    double h[N], want[N], slope[N], got[N], log_det[N];
    for (int i = 0; i < N; i++) {
        h[i] = 0.05 + 0.1 * i;  // two in each bin, none at an edge, where the slope is infinite
        const int bin = (int)floor(BINS * h[i]);
        want[i] = sqrt((BINS * h[i] - bin) * heights[bin]);
        slope[i] = BINS * heights[bin] / (2 * want[i]);
        for (int k = 0; k < bin; k++) want[i] += sqrt(heights[k]);
    }
    layers_run(layer, AD_F64, true, h, N, got, log_det);
    util_assert_all_close(got, want, N, 1e-14);
    for (int i = 0; i < N; i++) util_assert_close(log_det[i], log(slope[i]), 1e-12);
    layers_run(layer, AD_F64, false, want, N, got, log_det);
    for (int i = 0; i < N; i++) {
        double rest = want[i];  // the inverse: parabolas, (b + rest^2 / phi_b) / K
        int bin = 0;
        while (bin < BINS - 1 && rest > sqrt(heights[bin])) rest -= sqrt(heights[bin++]);
        util_assert_close((bin + rest * rest / heights[bin]) / BINS, h[i], 1e-14);
        util_assert_close(got[i], h[i], 1e-13);
        util_assert_close(log_det[i], -log(slope[i]), 1e-11);
    }
    flow_layer_free(layer);
}

// ---- residual pairs -------------------------------------------------------------------------------------------------

static double determinant4(const double *J) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var det = ad_keep(ad_det(ad_constant(tape, ad_shape2(4, 4), J)));
    util_run(tape);
    double value;
    util_read(det, &value, 1);
    ad_tape_free(tape);
    return value;
}

// Which elements of a [4][4] Jacobian are not zero, a row after the other as bits.
static unsigned pattern(const double *J) {
    unsigned bits = 0;
    for (int i = 0; i < 16; i++) bits |= (J[i] != 0 ? 1u : 0u) << i;
    return bits;
}

// 16.10: which elements of the Jacobian of h1' = h1 + f1(h2), h2' = h2 + f2(h1') are zero, (i) with full networks, (ii)
// with elementwise ones? (i) those off the diagonal of dh1'/dh1 alone; (ii) those off the diagonals of all four blocks.
// And the determinant is 1, what section 16.3.6 does not see: the pair is two couplings of shifts.
static void the_zeros_of_a_residual_pair(void **state) {
    (void)state;
    const double h[4] = {0.4, -0.6, 1.1, 0.2};
    double J[16], out[4], log_det;
    for (int elementwise = 0; elementwise < 2; elementwise++) {
        const flow_mlp_options net = {
            .layers = elementwise ? -1 : 1, .width = 6, .activation = FLOW_TANH, .type = AD_F64};
        flow_layer *layer =
            flow_revnet_pair(4, 0, &(flow_coupling_pair_options){.couplings = {.mlp = net}}, &layers_error);
        layers_assert_made(layer);
        uint64_t seed = 2;
        stir(&layer->owner, &seed);
        for (int i = 0; i < 2 && elementwise; i++) {
            layers_set(layers_part(layer, i ? "net1" : "net0")->params[0], (const double[]){0.7, 0, 0, -1.3});
        }
        jacobian_of(layer, true, h, J);
        // A digit a row, the first row last; bit k is column k.
        assert_int_equal(pattern(J), elementwise ? 0xa5a5 : 0xffed);
        util_assert_close(J[0], 1, 1e-15);
        util_assert_close(J[5], 1, 1e-15);
        util_assert_close(determinant4(J), 1, 1e-13);
        layers_run(layer, AD_F64, true, h, 1, out, &log_det);
        assert_true(log_det == 0);
        flow_layer_free(layer);
    }
}

// ---- densities known up to a factor ---------------------------------------------------------------------------------

// E[log p(x) - log q(x)] of x = generate(z) at z = 1 and -1, whose mean and variance are those of the base density.
static double kl_and_gradient(flow_layer *layer, double log_factor, double gradient[2]) {
    const double z[2] = {-1, 1};
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, 2);
    ad_var in = ad_input(util_rows(tape, "base", 2), ad_shape1(1), &source);
    flow_result x = flow_layer_generate(layer, in, AD_NONE);
    ad_var log_p = ad_sub(ad_scale(ad_sum(ad_square(in)), -0.5), x.log_det);
    ad_var log_q =
        ad_offset(ad_scale(ad_sum(ad_square(x.value)), -0.5), log_factor);  // standard normal, the same constant
    ad_var loss = ad_keep(ad_mean_rows(ad_sub(log_p, log_q)));
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    double value;
    util_read(loss, &value, 1);
    const flow_owner *inner = layer->owner.parts[0].owner;
    for (int i = 0; i < 2; i++) gradient[i] = ((double *)inner->params[i]->grad)[0];
    ad_tape_free(tape);
    return value;
}

// 16.11: does it matter for the KL divergence to q that q is known but for a factor k, and must the network be
// inverted? Neither: log k is added, gradients are the same, and only generate and its determinant are in it. For x = s
// z + m, z and q standard normal: (s^2 + m^2 - 1) / 2 - log s.
static void a_factor_of_the_target_does_not_matter(void **state) {
    (void)state;
    flow_layer *scale = flow_diagonal_affine(1, &(flow_diagonal_options){.linear = {.type = AD_F64}}, &layers_error);
    layers_assert_made(scale);
    const double s = 1.7, m = 0.6, raw = 7 * atanh(log(s) / 7);
    ad_param_set(layers_param(scale, "log_scale"), 0, raw);
    ad_param_set(layers_param(scale, "b"), 0, m);
    flow_layer *layer = flow_inverse(scale, &layers_error);
    layers_assert_made(layer);
    const double want = (s * s + m * m - 1) / 2 - log(s), bend = 1 - pow(log(s) / 7, 2);
    double plain[2], scaled[2], gradient[2] = {0, 0};
    const double kl = kl_and_gradient(layer, 0, plain), other = kl_and_gradient(layer, log(250), scaled);
    util_assert_close(kl, want, 1e-14);
    util_assert_close(other, want - log(250), 1e-14);
    for (int i = 0; i < 2; i++) assert_true(plain[i] == scaled[i]);
    const flow_owner *inner = layer->owner.parts[0].owner;
    for (int i = 0; i < 2; i++) gradient[i] = strcmp(inner->params[i]->name, "b") == 0 ? m : (s * s - 1) * bend;
    util_assert_all_close(plain, gradient, 2, 1e-14);
    flow_layer_free(layer);
}

// ---- equations as they should read ----------------------------------------------------------------------------------

// Eq. 16.19: h2 = h2' - f2(h1') first, then h1 = h1' - f1(h2).
static void a_residual_pair_goes_back_second_part_first(void **state) {
    (void)state;
    const flow_mlp_options net = {.layers = 1, .width = 6, .activation = FLOW_TANH, .type = AD_F64};
    flow_layer *layer = flow_revnet_pair(2, 0, &(flow_coupling_pair_options){.couplings = {.mlp = net}}, &layers_error);
    layers_assert_made(layer);
    uint64_t seed = 2;
    stir(&layer->owner, &seed);
    const double after[2] = {0.8, -0.3};
    double before[2], log_det, f[2];
    layers_run(layer, AD_F64, false, after, 1, before, &log_det);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    for (int i = 0; i < 2; i++) {  // f1 of the second part before, f2 of the first part after
        const flow_net *part = (const flow_net *)layers_part(layer, i ? "net1" : "net0");
        ad_var out = ad_keep(flow_net_apply(part, ad_constant(tape, ad_shape1(1), i ? after : before + 1)));
        util_run(tape);
        util_read(out, &f[i], 1);
    }
    util_assert_close(before[1], after[1] - f[1], 1e-15);
    util_assert_close(before[0], after[0] - f[0], 1e-15);
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// Eq. 16.22: log det(I + J) is the sum over k of (-1)^(k+1) tr(J^k) / k, for J with singular values below 1.
static void the_series_of_the_log_determinant_divides_by_k(void **state) {
    (void)state;
    const double J[4] = {0.3, -0.2, 0.1, 0.25};
    double power[4] = {1, 0, 0, 1}, sum = 0;
    for (int k = 1; k <= 60; k++) {
        const double p[4] = {power[0] * J[0] + power[1] * J[2], power[0] * J[1] + power[1] * J[3],
                             power[2] * J[0] + power[3] * J[2], power[2] * J[1] + power[3] * J[3]};
        memcpy(power, p, sizeof p);
        sum += (k % 2 ? 1 : -1) * (p[0] + p[3]) / k;
    }
    flow_layer *layer = dense(2, (const double[]){1.3, -0.2, 0.1, 1.25}, NULL);
    double z[2], log_det;
    layers_run(layer, AD_F64, true, (const double[]){1, 1}, 1, z, &log_det);
    util_assert_close(log_det, sum, 1e-14);
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uniform_density_squared),
        cmocka_unit_test(a_normal_density_through_a_sigmoid),
        cmocka_unit_test(the_inverse_map_has_the_inverse_jacobian),
        cmocka_unit_test(two_matrices_inverted_by_hand),
        cmocka_unit_test(moments_of_a_linear_map),
        cmocka_unit_test(a_normal_density_stays_one),
        cmocka_unit_test(the_leaky_relu_goes_back),
        cmocka_unit_test(the_piecewise_linear_map_has_the_slopes_of_its_bins),
        cmocka_unit_test(square_roots_in_bins_go_back_as_squares),
        cmocka_unit_test(the_zeros_of_a_residual_pair),
        cmocka_unit_test(a_factor_of_the_target_does_not_matter),
        cmocka_unit_test(a_residual_pair_goes_back_second_part_first),
        cmocka_unit_test(the_series_of_the_log_determinant_divides_by_k),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
