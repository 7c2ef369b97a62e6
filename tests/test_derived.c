// test_derived.c -- Jacobians, Hessian products and traces against closed forms, and their own derivatives.
#include "util.h"

enum { B = 70, D = 3, E = 2 };

typedef struct fixture {
    ad_tape *tape;
    ad_rows rows;
    double x[B * D], c[E * D];
    ad_source source, shared;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->tape = ad_tape_new(NULL, AD_F64);
    f->rows = util_rows(f->tape, "data", B);
    util_fill(f->x, B * D, 1, -1.5, 1.5);
    util_fill(f->c, E * D, 2, -1, 1);
    f->source = util_source(f->x, B);
    f->shared = util_source(f->c, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    free(f);
    return 0;
}

static ad_var input(fixture *f) {
    return ad_input(f->rows, ad_shape1(D), &f->source);
}
static ad_var matrix(fixture *f) {
    return ad_shared_input(f->tape, ad_shape2(E, D), &f->shared);
}

// tanh(C x), [E].
static ad_var layer(ad_var C, ad_var x) {
    return ad_tanh(ad_linear(C, x, AD_NONE));
}

// 1 - tanh(C x)^2 for row r, and output e.
static double slope(const fixture *f, int r, int e) {
    double a = 0;
    for (int d = 0; d < D; d++) a += f->c[e * D + d] * f->x[r * D + d];
    return 1 - tanh(a) * tanh(a);
}

static void assert_shape(ad_var v, ad_shape shape) {
    assert_true(ad_shape_equal(ad_shape_of(v), shape));
}

// ---- Jacobians ----------------------------------------------------------------------------------------------------

static void a_jacobian_per_row(void **state) {
    fixture *f = *state;
    double J[B * E * D];
    const ad_var x = input(f), jacobian = ad_keep(ad_jacobian(layer(matrix(f), x), x));
    assert_shape(jacobian, ad_shape2(E, D));
    util_run(f->tape);
    util_read(jacobian, J, B * E * D);
    for (int r = 0; r < B; r++)
        for (int e = 0; e < E; e++)
            for (int d = 0; d < D; d++)
                util_assert_close(J[(r * E + e) * D + d], slope(f, r, e) * f->c[e * D + d], 1e-14);
}

// y[e] per row depends on C[e,:] by slope x.
static void a_jacobian_per_row_in_a_shared_var(void **state) {
    fixture *f = *state;
    double J[B * E * E * D];
    const ad_var C = matrix(f), jacobian = ad_keep(ad_jacobian(layer(C, input(f)), C));
    assert_shape(jacobian, ad_shape3(E, E, D));
    assert_true(ad_has_rows(jacobian));
    util_run(f->tape);
    util_read(jacobian, J, B * E * E * D);
    for (int r = 0; r < B; r++)
        for (int e = 0; e < E; e++)
            for (int k = 0; k < E * D; k++)
                util_assert_close(J[(r * E + e) * E * D + k], e == k / D ? slope(f, r, e) * f->x[r * D + k % D] : 0,
                                  1e-14);
}

static void a_shared_jacobian(void **state) {
    fixture *f = *state;
    double J[E * D * E * D];
    const ad_var C = matrix(f), jacobian = ad_keep(ad_jacobian(ad_square(C), C));
    assert_shape(jacobian, ad_shape4(E, D, E, D));
    assert_false(ad_has_rows(jacobian));
    util_run(f->tape);
    util_read(jacobian, J, E * D * E * D);
    for (int i = 0; i < E * D; i++)
        for (int j = 0; j < E * D; j++) util_assert_close(J[i * E * D + j], i == j ? 2 * f->c[i] : 0, 1e-15);
}

// Of a total over rows in what is per row: each row has the derivative in its own.
static void a_jacobian_of_a_shared_value_per_row(void **state) {
    fixture *f = *state;
    double J[B * D * D];
    const ad_var x = input(f), jacobian = ad_keep(ad_jacobian(ad_sum_rows(ad_square(x)), x));
    util_run(f->tape);
    util_read(jacobian, J, B * D * D);
    for (int r = 0; r < B; r++)
        for (int k = 0; k < D * D; k++)
            util_assert_close(J[r * D * D + k], k / D == k % D ? 2 * f->x[r * D + k % D] : 0, 1e-15);
}

static void a_jacobian_of_a_scalar_is_its_gradient(void **state) {
    fixture *f = *state;
    double J[B * D], g[B * D];
    const ad_var x = input(f), y = ad_sum(ad_exp(x)), jacobian = ad_keep(ad_jacobian(y, x));
    ad_var gradient;
    ad_grad(y, &x, 1, &gradient);
    ad_keep(gradient);
    assert_shape(jacobian, ad_shape1(D));
    util_run(f->tape);
    util_read(jacobian, J, B * D);
    util_read(gradient, g, B * D);
    assert_memory_equal(J, g, sizeof J);
}

static void a_jacobian_of_a_value_in_itself_is_the_identity(void **state) {
    fixture *f = *state;
    double J[B * D * D];
    const ad_var x = input(f), jacobian = ad_keep(ad_jacobian(x, x));
    util_run(f->tape);
    util_read(jacobian, J, B * D * D);
    for (int k = 0; k < B * D * D; k++) util_assert_close(J[k], k / D % D == k % D, 0);
}

static void a_jacobian_of_what_does_not_depend_is_zero(void **state) {
    fixture *f = *state;
    double J[B * E * D * D];
    const ad_var x = input(f), jacobian = ad_keep(ad_jacobian(matrix(f), x));
    assert_shape(jacobian, ad_shape3(E, D, D));
    util_run(f->tape);
    util_read(jacobian, J, B * E * D * D);
    for (int k = 0; k < B * E * D * D; k++) util_assert_close(J[k], 0, 0);
}

static void a_jacobian_without_elements(void **state) {
    fixture *f = *state;
    const ad_var x = input(f), none = ad_slice(x, 0, 0, 0);
    assert_shape(ad_jacobian(none, x), ad_shape2(0, D));
    assert_true(ad_has_rows(ad_jacobian(none, x)));
    util_assert_ok(f->tape);
}

// Elementwise: the sweeps share all but their cotangents.
static void sweeps_share_what_they_can(void **state) {
    fixture *f = *state;
    const ad_var x = input(f), y = ad_exp(x), before = ad_jacobian(y, x), again = ad_jacobian(y, x);
    util_assert_ok(f->tape);
    assert_int_equal(before.id, again.id);
}

// ---- products and traces --------------------------------------------------------------------------------------------

// y = sum x^3 / 6 + x0 x1: H = diag(x) and 1 at (0,1) and (1,0).
static ad_var cubic(ad_var x) {
    const ad_var cube = ad_scale(ad_sum(ad_mul(x, ad_square(x))), 1.0 / 6);
    return ad_add(cube, ad_sum(ad_mul(ad_slice(x, 0, 0, 1), ad_slice(x, 0, 1, 1))));
}

static void a_hessian_product(void **state) {
    fixture *f = *state;
    double Hv[B * D];
    const double v[D] = {0.5, -2, 3};
    const ad_var x = input(f),
                 product = ad_keep(ad_hessian_product(cubic(x), x, ad_constant(f->tape, ad_shape1(D), v)));
    util_run(f->tape);
    util_read(product, Hv, B * D);
    for (int r = 0; r < B; r++)
        for (int d = 0; d < D; d++)
            util_assert_close(Hv[r * D + d], f->x[r * D + d] * v[d] + (d == 0 ? v[1] : d == 1 ? v[0] : 0), 1e-14);
}

// x -> x A x elementwise: trace = sum of 2 A_dd x_d and of off-diagonal terms; here by the Jacobian's own diagonal.
static ad_var square_map(fixture *f, ad_var x) {
    static const double A[D * D] = {0.4, -1, 0.3, 2, 0.1, 0.7, -0.6, 1.1, 0.9};
    return ad_tanh(ad_mul(x, ad_linear(ad_constant(f->tape, ad_shape2(D, D), A), x, AD_NONE)));
}

static void a_trace_is_the_sum_of_the_diagonal(void **state) {
    fixture *f = *state;
    double trace[B], J[B * D * D];
    const ad_var x = input(f), y = square_map(f, x), t = ad_keep(ad_jacobian_trace(y, x)),
                 j = ad_keep(ad_jacobian(y, x));
    assert_shape(t, ad_shape0());
    util_run(f->tape);
    util_read(t, trace, B);
    util_read(j, J, B * D * D);
    for (int r = 0; r < B; r++)
        util_assert_close(trace[r], J[r * D * D] + J[r * D * D + D + 1] + J[r * D * D + 2 * D + 2], 1e-14);
}

static void a_trace_per_row_in_a_shared_var(void **state) {
    fixture *f = *state;
    double trace[B];
    const ad_var c = ad_slice(ad_reshape(matrix(f), ad_shape1(E * D)), 0, 0, D);
    const ad_var t = ad_keep(ad_jacobian_trace(ad_mul(input(f), ad_square(c)), c));
    util_run(f->tape);
    util_read(t, trace, B);
    for (int r = 0; r < B; r++) {
        double exact = 0;
        for (int d = 0; d < D; d++) exact += 2 * f->c[d] * f->x[r * D + d];
        util_assert_close(trace[r], exact, 1e-14);
    }
}

static void a_trace_of_nothing_is_zero(void **state) {
    fixture *f = *state;
    double trace[B];
    const ad_var none = ad_slice(input(f), 0, 0, 0), t = ad_keep(ad_jacobian_trace(none, none));
    util_run(f->tape);
    util_read(t, trace, B);
    for (int r = 0; r < B; r++) util_assert_close(trace[r], 0, 0);
}

// With the unit vectors for probes, the estimates are the diagonal; their sum is the trace.
static void estimates_along_unit_vectors_add_up(void **state) {
    fixture *f = *state;
    double trace[B], estimate[D][B];
    const ad_var x = input(f), y = square_map(f, x), t = ad_keep(ad_jacobian_trace(y, x));
    ad_var part[D];
    for (int d = 0; d < D; d++) {
        const double e[D] = {d == 0, d == 1, d == 2};
        part[d] = ad_keep(ad_jacobian_trace_estimate(y, x, ad_constant(f->tape, ad_shape1(D), e)));
        assert_shape(part[d], ad_shape0());
    }
    util_run(f->tape);
    util_read(t, trace, B);
    for (int d = 0; d < D; d++) util_read(part[d], estimate[d], B);
    for (int r = 0; r < B; r++) util_assert_close(estimate[0][r] + estimate[1][r] + estimate[2][r], trace[r], 1e-13);
}

// v^T J v for probes of a row's own, and for a shared x.
static void an_estimate_is_a_quadratic_form(void **state) {
    fixture *f = *state;
    double J[B * D * D], estimate[B], of_shared[B], v[B * D];
    util_fill(v, B * D, 3, -1, 1);
    const ad_source source = util_source(v, B);
    const ad_var x = input(f), y = square_map(f, x), j = ad_keep(ad_jacobian(y, x));
    const ad_var t = ad_keep(ad_jacobian_trace_estimate(y, x, ad_input(f->rows, ad_shape1(D), &source)));
    const ad_var c = ad_fill(f->tape, ad_shape1(D), 0.5), w = ad_constant(f->tape, ad_shape1(D), v);
    const ad_var s = ad_keep(ad_jacobian_trace_estimate(ad_mul(x, ad_square(c)), c, w));
    util_run(f->tape);
    util_read(j, J, B * D * D);
    util_read(t, estimate, B);
    util_read(s, of_shared, B);
    for (int r = 0; r < B; r++) {
        double exact = 0, diagonal = 0;
        for (int k = 0; k < D * D; k++) exact += v[r * D + k / D] * J[r * D * D + k] * v[r * D + k % D];
        for (int d = 0; d < D; d++) diagonal += v[d] * v[d] * f->x[r * D + d];
        util_assert_close(estimate[r], exact, 1e-13);
        util_assert_close(of_shared[r], diagonal, 1e-14);
    }
}

// ---- derivatives of derivatives
// -----------------------------------------------------------------------------------------

static ad_var jacobian_of_layer(void *arg, const ad_var *x) {
    (void)arg;
    return ad_jacobian(layer(x[0], x[1]), x[1]);
}
static ad_var jacobian_of_layer_in_weights(void *arg, const ad_var *x) {
    (void)arg;
    return ad_jacobian(layer(x[0], x[1]), x[0]);
}
static ad_var trace_of_network(void *arg, const ad_var *x) {
    (void)arg;
    return ad_jacobian_trace(ad_linear_transposed(x[0], layer(x[0], x[1])), x[1]);
}
static ad_var estimate_of_network(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var v = ad_constant(x[0].tape, ad_shape1(D), (const double[]){1, -1, 1});
    return ad_jacobian_trace_estimate(ad_linear_transposed(x[0], layer(x[0], x[1])), x[1], v);
}
static ad_var product_of_network(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var v = ad_constant(x[0].tape, ad_shape1(D), (const double[]){0.5, -1, 2});
    return ad_hessian_product(ad_sum(ad_square(layer(x[0], x[1]))), x[1], v);
}

static void assert_differentiable(ad_function function) {
    const ad_gradcheck_input in[] = {{.shape = {2, {E, D}}}, {.shape = {1, {D}}, .rows = true}};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(function, NULL, in, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}
static void derivatives_of_a_jacobian(void **state) {
    (void)state;
    assert_differentiable(jacobian_of_layer);
}
static void derivatives_of_a_jacobian_in_a_shared_var(void **state) {
    (void)state;
    assert_differentiable(jacobian_of_layer_in_weights);
}
static void derivatives_of_a_trace(void **state) {
    (void)state;
    assert_differentiable(trace_of_network);
}
static void derivatives_of_an_estimate(void **state) {
    (void)state;
    assert_differentiable(estimate_of_network);
}
static void derivatives_of_a_hessian_product(void **state) {
    (void)state;
    assert_differentiable(product_of_network);
}

// ---- errors
// -----------------------------------------------------------------------------------------------------------

static void assert_fails(ad_tape *tape, ad_var inert, ad_status status, const char *part) {
    assert_false(ad_ok(inert));
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
}

static void a_jacobian_of_too_many_axes(void **state) {
    fixture *f = *state;
    const ad_shape shape = {4, {1, 1, 1, 1}};
    const ad_var x = ad_fill(f->tape, shape, 1);
    assert_fails(f->tape, ad_jacobian(ad_exp(x), x), AD_ESHAPE,
                 "jacobian: of y [1,1,1,1] in x [1,1,1,1]: more than 6 axes");
}
static void a_trace_of_unequal_shapes(void **state) {
    fixture *f = *state;
    const ad_var x = input(f);
    assert_fails(f->tape, ad_jacobian_trace(layer(matrix(f), x), x), AD_ESHAPE, "y has shape [2] and x [3]");
}
static void an_estimate_with_a_probe_of_another_shape(void **state) {
    fixture *f = *state;
    const ad_var x = input(f);
    assert_fails(f->tape, ad_jacobian_trace_estimate(x, x, ad_number(f->tape, 1)), AD_ESHAPE, "cotangent");
}
static void x_is_needed(void **state) {
    fixture *f = *state;
    assert_fails(f->tape, ad_jacobian(input(f), AD_NONE), AD_EARG, "jacobian: y and x");
}
static void y_may_be_inert(void **state) {
    fixture *f = *state;
    assert_false(ad_ok(ad_jacobian(AD_NONE, input(f))));
    assert_false(ad_ok(ad_jacobian_trace(AD_NONE, AD_NONE)));
    util_assert_ok(f->tape);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_jacobian_per_row),
        TEST(a_jacobian_per_row_in_a_shared_var),
        TEST(a_shared_jacobian),
        TEST(a_jacobian_of_a_shared_value_per_row),
        TEST(a_jacobian_of_a_scalar_is_its_gradient),
        TEST(a_jacobian_of_a_value_in_itself_is_the_identity),
        TEST(a_jacobian_of_what_does_not_depend_is_zero),
        TEST(a_jacobian_without_elements),
        TEST(sweeps_share_what_they_can),
        TEST(a_hessian_product),
        TEST(a_trace_is_the_sum_of_the_diagonal),
        TEST(a_trace_per_row_in_a_shared_var),
        TEST(a_trace_of_nothing_is_zero),
        TEST(estimates_along_unit_vectors_add_up),
        TEST(an_estimate_is_a_quadratic_form),
        TEST(derivatives_of_a_jacobian),
        TEST(derivatives_of_a_jacobian_in_a_shared_var),
        TEST(derivatives_of_a_trace),
        TEST(derivatives_of_an_estimate),
        TEST(derivatives_of_a_hessian_product),
        TEST(a_jacobian_of_too_many_axes),
        TEST(a_trace_of_unequal_shapes),
        TEST(an_estimate_with_a_probe_of_another_shape),
        TEST(x_is_needed),
        TEST(y_may_be_inert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
