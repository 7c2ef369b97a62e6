// test_lu_linear.c -- the LU linear layer: reference values, both ways of multiplying, permutations, refusals.
#include "layers.h"

enum { D = 5, B = 10, WIDE = 300 };

typedef struct reference {
    npz file;
    flow_layer *layer;
    double *x, *z, *log_det;
} reference;

// Entries of the two triangles in row-major order, as the reference lists them, to and from one matrix.
static void place(double *matrix, double *lower, double *upper, double *diagonal, bool back) {
    int l = 0, u = 0;
    for (int i = 0; i < D * D; i++) {
        double *at = i / D > i % D ? &lower[l++] : i / D < i % D ? &upper[u++] : &diagonal[i / D];
        if (back)
            *at = matrix[i];
        else
            matrix[i] = *at;
    }
}

static reference open_reference(void) {
    int64_t n;
    reference r = {.file = npz_open("lu_linear_d5.npz")};
    r.layer = flow_lu_linear(D, &(flow_lu_linear_options){.type = AD_F64}, &layers_error);
    layers_assert_made(r.layer);
    double *lower = npz_array(&r.file, "lower_entries", &n), *upper = npz_array(&r.file, "upper_entries", &n);
    double *diagonal = npz_array(&r.file, "raw_diag", &n), *b = npz_array(&r.file, "bias", &n), matrix[D * D];
    place(matrix, lower, upper, diagonal, false);
    layers_set(layers_param(r.layer, "LU"), matrix);
    layers_set(layers_param(r.layer, "b"), b);
    double *all[] = {lower, upper, diagonal, b};
    for (int i = 0; i < 4; i++) free(all[i]);
    r.x = npz_array(&r.file, "x", &n);
    r.z = npz_array(&r.file, "z", &n);
    r.log_det = npz_array(&r.file, "log_det", &n);
    assert_int_equal(n, B);
    return r;
}

static void close_reference(reference *r) {
    flow_layer_free(r->layer);
    npz_close(&r->file);
    free(r->x);
    free(r->z);
    free(r->log_det);
}

static void normalize_has_the_reference_values(void **state) {
    (void)state;
    reference r = open_reference();
    double z[B * D], log_det[B];
    layers_run(r.layer, AD_F64, true, r.x, B, z, log_det);
    util_assert_all_close(z, r.z, B * D, 1e-12);
    util_assert_all_close(log_det, r.log_det, B, 1e-12);
    close_reference(&r);
}

static void generate_has_the_reference_values(void **state) {
    (void)state;
    reference r = open_reference();
    double x[B * D], log_det[B];
    layers_run(r.layer, AD_F64, false, r.z, B, x, log_det);
    util_assert_all_close(x, r.x, B * D, 1e-10);  // the weight's condition number is 8.6e3
    for (int i = 0; i < B; i++) util_assert_close(-log_det[i], r.log_det[i], 1e-12);
    close_reference(&r);
}

static void gradients_are_those_of_the_reference(void **state) {
    (void)state;
    reference r = open_reference();
    int64_t n;
    double *cot_z = npz_array(&r.file, "cot_z", &n), *cot_log_det = npz_array(&r.file, "cot_log_det", &n);
    double got[B * D], lower[10], upper[10], diagonal[D];
    layers_gradients(r.layer, true, r.x, B, cot_z, cot_log_det, got);
    place(layers_param(r.layer, "LU")->grad, lower, upper, diagonal, true);
    const struct {
        const char *name;
        const double *got;
    } all[] = {{"grad_x", got},
               {"grad_lower_entries", lower},
               {"grad_upper_entries", upper},
               {"grad_raw_diag", diagonal},
               {"grad_bias", layers_param(r.layer, "b")->grad}};
    for (int i = 0; i < 5; i++) {
        double *want = npz_array(&r.file, all[i].name, &n);
        util_assert_all_close(all[i].got, want, n, 1e-10);
        free(want);
    }
    free(cot_z);
    free(cot_log_det);
    close_reference(&r);
}

static void it_starts_as_the_identity(void **state) {
    (void)state;
    flow_layer *layer = flow_lu_linear(3, &(flow_lu_linear_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    const double x[3] = {0.5, -1, 2};
    double z[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_all_close(z, x, 3, 1e-15);
    util_assert_close(log_det, 0, 1e-15);
    flow_layer_free(layer);
}

static void the_permutation_stands_in_front(void **state) {
    (void)state;
    const int64_t order[3] = {2, 0, 1};
    flow_lu_linear_options o = {.order = order, .type = AD_F64};
    flow_layer *layer = flow_lu_linear(3, &o, &layers_error);
    layers_assert_made(layer);
    ad_param_set(layers_param(layer, "LU"), 3, 10);  // L's entry (1,0): z[1] = x[0] + 10 x[2]
    const double x[3] = {1, 2, 3}, want[3] = {3, 31, 2};
    double z[3], back[3], log_det;
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_all_close(z, want, 3, 1e-14);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det);
    util_assert_all_close(back, x, 3, 1e-14);
    flow_layer_free(layer);
}

// Beyond the largest product normalize goes through the factors one by one: the same map, checked against loops.
static void a_wide_layer_is_the_same_map(void **state) {
    (void)state;
    flow_lu_linear_options o = {.random = true, .seed = 3, .type = AD_F64};
    flow_layer *layer = flow_lu_linear(WIDE, &o, &layers_error);
    layers_assert_made(layer);
    const double *LU = layers_param(layer, "LU")->data;
    double x[WIDE], y[WIDE], want[WIDE], z[WIDE], log_det;
    util_fill(x, WIDE, 5, -1, 1);
    for (int i = 0; i < WIDE; i++) {
        y[i] = x[i];  // the diagonal is 1
        for (int j = i + 1; j < WIDE; j++) y[i] += LU[i * WIDE + j] * x[j];
    }
    for (int i = 0; i < WIDE; i++) {
        want[i] = y[i];
        for (int j = 0; j < i; j++) want[i] += LU[i * WIDE + j] * y[j];
    }
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    util_assert_all_close(z, want, WIDE, 1e-12);
    util_assert_close(log_det, 0, 1e-12);
    flow_layer_free(layer);
}

// However negative the raw diagonal is, the map keeps an inverse.
static void the_diagonal_stays_above_its_floor(void **state) {
    (void)state;
    flow_layer *layer = flow_lu_linear(1, &(flow_lu_linear_options){.floor = 0.25}, &layers_error);
    layers_assert_made(layer);
    ad_param_set(layers_param(layer, "LU"), 0, -1e30);
    const double x = 4;
    double z, log_det;
    layers_run(layer, AD_F32, true, &x, 1, &z, &log_det);
    util_assert_close(z, 1, 1e-6);
    util_assert_close(log_det, log(0.25), 1e-6);
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const int64_t twice[2] = {1, 1};
    flow_lu_linear_options order = {.order = twice}, floor = {.floor = 1}, nan = {.floor = (double)NAN};
    layers_assert_refused(flow_lu_linear(0, NULL, &layers_error), AD_EARG, "lu linear: 0 features");
    layers_assert_refused(flow_lu_linear(2, &order, &layers_error), AD_EARG, "permutation");
    layers_assert_refused(flow_lu_linear(2, &floor, &layers_error), AD_EARG, "lu linear: floor 1");
    layers_assert_refused(flow_lu_linear(2, &nan, &layers_error), AD_EARG, "lu linear: floor nan");
    layers_assert_refused(flow_lu_linear(1 << 20, NULL, &layers_error), AD_ESHAPE, "LU");
}

// ---- factors of a rotation -----------------------------------------------------------------------------------------

static ad_state *state_of(const flow_layer *layer, const char *name) {
    for (int i = 0; i < layer->owner.n_states; i++) {
        if (strcmp(layer->owner.states[i]->name, name) == 0) return layer->owner.states[i];
    }
    fail_msg("no state '%s'", name);
    return NULL;
}

static void plu_starts_as_a_rotation(void **state) {
    (void)state;
    enum { N = 12 };
    double unit[N * N] = {0}, W[N * N], log_det[N];
    for (int i = 0; i < N; i++) unit[i * N + i] = 1;
    flow_layer *layer = flow_plu_linear(
        N, &(flow_linear_options){.random = true, .bound = 80, .seed = 3, .type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    layers_run(layer, AD_F64, true, unit, N, W, log_det);  // W transposed
    bool mixed = false;
    for (int i = 0; i < N; i++) {
        util_assert_close(log_det[i], 0, 1e-12);
        for (int j = 0; j < N; j++) {
            double product = 0;
            for (int k = 0; k < N; k++) product += W[i * N + k] * W[j * N + k];
            util_assert_close(product, i == j, 1e-12);
            mixed = mixed || (i != j && fabs(W[i * N + j]) > 0.1);
        }
    }
    assert_true(mixed);
    flow_layer_free(layer);
}

// z = P L U x + b with P from the layer's own permutation, and the signs of the rotation.
static void plu_is_the_product_of_its_factors(void **state) {
    (void)state;
    flow_layer *layer =
        flow_plu_linear(D, &(flow_linear_options){.random = true, .seed = 8, .type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    const ad_param *LU = layers_param(layer, "LU");
    ad_param *b = layers_param(layer, "b");
    const double *sign = state_of(layer, "sign")->data;
    double x[B * D], z[B * D], y[D], places[D] = {0, 1, 2, 3, 4}, log_det[B], size = 0, product = 1;
    util_fill(x, B * D, 3, -2, 2);
    for (int d = 0; d < D; d++) ad_param_set(b, d, 0.1 * d), size += 7 * tanh(ad_param_get(LU, d * D + d) / 7);
    for (int d = 0; d < D; d++) product *= sign[d];
    assert_true(fabs(product) == 1);
    layers_run(layer, AD_F64, true, x, B, z, log_det);
    double to[D], nothing;
    const flow_layer *permutation = (const flow_layer *)layers_part(layer, "permutation");
    layers_run(permutation, AD_F64, false, places, 1, to, &nothing);  // place i holds row to[i] of L U x
    for (int r = 0; r < B; r++) {
        for (int i = 0; i < D; i++) {
            y[i] = sign[i] * exp(7 * tanh(ad_param_get(LU, i * D + i) / 7)) * x[r * D + i];
            for (int j = i + 1; j < D; j++) y[i] += ad_param_get(LU, i * D + j) * x[r * D + j];
        }
        for (int i = D - 1; i >= 0; i--) {
            for (int j = 0; j < i; j++) y[i] += ad_param_get(LU, i * D + j) * y[j];
        }
        for (int i = 0; i < D; i++) util_assert_close(z[r * D + i], y[(int)to[i]] + 0.1 * i, 1e-12);
        util_assert_close(log_det[r], size, 1e-12);
    }
    flow_layer_free(layer);
}

// A file may have any numbers for the signs: they count as signs, and log_det stays that of the map.
static void plu_signs_are_signs(void **state) {
    (void)state;
    flow_layer *layer =
        flow_plu_linear(D, &(flow_linear_options){.random = true, .seed = 8, .type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    double x[B * D], z[2][B * D], log_det[B], *sign = state_of(layer, "sign")->data;
    util_fill(x, B * D, 3, -2, 2);
    layers_run(layer, AD_F64, true, x, B, z[0], log_det);
    for (int d = 0; d < D; d++) sign[d] *= d + 0.5;
    layers_run(layer, AD_F64, true, x, B, z[1], log_det);
    util_assert_all_close(z[1], z[0], B * D, 0);
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalize_has_the_reference_values),   cmocka_unit_test(generate_has_the_reference_values),
        cmocka_unit_test(gradients_are_those_of_the_reference), cmocka_unit_test(it_starts_as_the_identity),
        cmocka_unit_test(the_permutation_stands_in_front),      cmocka_unit_test(a_wide_layer_is_the_same_map),
        cmocka_unit_test(the_diagonal_stays_above_its_floor),   cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(plu_starts_as_a_rotation),
        cmocka_unit_test(plu_is_the_product_of_its_factors),
        cmocka_unit_test(plu_signs_are_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
