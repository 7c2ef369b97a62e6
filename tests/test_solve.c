// test_solve.c -- ad_root and ad_fixed_point: known solutions, hard ones, their derivatives, and failures.
#include "util.h"

#include "op.h"

enum { B = 100 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    ad_rows rows;
    double data[B];
    ad_source source;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->engine = ad_engine_new(NULL, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    f->rows = util_rows(f->tape, "data", B);
    util_fill(f->data, B, 1, -20, 20);
    f->source = util_source(f->data, B);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
    free(f);
    return 0;
}

// sin, as an op of a user's.
static void sin_f64(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = sin(((const double *)x[0])[i]);
}
static void cos_f64(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = cos(((const double *)x[0])[i]);
}
static void sin_vjp(const ad_vjp_call *c);
static void cos_vjp(const ad_vjp_call *c);
static const ad_op sin_op = {.name = "test sin", .flags = AD_OP_ELEMENTWISE, .vjp = sin_vjp, .lanes = {NULL, sin_f64}};
static const ad_op cos_op = {.name = "test cos", .flags = AD_OP_ELEMENTWISE, .vjp = cos_vjp, .lanes = {NULL, cos_f64}};
static ad_var sine(ad_var x) {
    return ad_apply(&sin_op, &x, 1, NULL, 0);
}
static ad_var cosine(ad_var x) {
    return ad_apply(&cos_op, &x, 1, NULL, 0);
}
static void sin_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, cosine(c->x[0]));
}
static void cos_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_neg(ad_mul(c->gy, sine(c->x[0])));
}

// ---- functions with roots; arg: x and more -------------------------------------------------------------------------

static ad_var cubic(void *arg, ad_var y) {
    const ad_var *x = arg;
    return ad_sub(ad_add(y, ad_mul(y, ad_square(y))), *x);
}
static ad_var line(void *arg, ad_var y) {
    return ad_sub(y, *(const ad_var *)arg);
}
static ad_var falling_line(void *arg, ad_var y) {
    return ad_sub(*(const ad_var *)arg, y);
}
static ad_var exponential(void *arg, ad_var y) {
    return ad_sub(ad_exp(y), *(const ad_var *)arg);
}
static ad_var logarithm(void *arg, ad_var y) {
    return ad_sub(ad_log(y), *(const ad_var *)arg);
}
static ad_var wave(void *arg, ad_var y) {
    return ad_sub(ad_add(y, sine(y)), *(const ad_var *)arg);
}
static ad_var no_root(void *arg, ad_var y) {
    return ad_add(ad_exp(y), ad_square(*(const ad_var *)arg));
}
static ad_var not_a_number(void *arg, ad_var y) {
    return ad_log(ad_sub(ad_neg(ad_square(y)), ad_exp(*(ad_var *)arg)));
}
static ad_var step(void *arg, ad_var y) {
    const ad_var one = ad_number(y.tape, 1);
    return ad_where(ad_less(y, *(const ad_var *)arg), ad_neg(one), one);
}
// Slopes 0.001, 1, 50, 0.02 from left to right, kinks at -2, 0.5, 3.
static ad_var kinked(void *arg, ad_var y) {
    const double kink[] = {-2, 0.5, 3}, change[] = {0.999, 49, -49.98};
    ad_var f = ad_scale(y, 0.001);
    for (int i = 0; i < 3; i++) f = ad_add(f, ad_scale(ad_relu(ad_offset(y, -kink[i])), change[i]));
    return ad_sub(f, *(const ad_var *)arg);
}
static double kinked_at(double y) {
    return 0.001 * y + 0.999 * fmax(y + 2, 0) + 49 * fmax(y - 0.5, 0) - 49.98 * fmax(y - 3, 0);
}
// 0 between -1 and 1, of slope 1 elsewhere.
static ad_var flat_inside(void *arg, ad_var y) {
    return ad_sub(ad_sub(ad_relu(ad_offset(y, -1)), ad_relu(ad_offset(ad_neg(y), -1))), *(const ad_var *)arg);
}

// The roots of f for the inputs x[0..n), on a tape of the given type.
static void solve(fixture *fix, ad_type type, ad_var (*f)(void *, ad_var), const double *x, int n,
                  const ad_solver_options *options, double *y) {
    ad_tape *tape = ad_tape_new(fix->engine, type);
    const ad_source source = util_source(x, n);
    ad_var in = ad_input(util_rows(tape, "data", n), ad_shape0(), &source);
    const ad_solution s = ad_root(in, f, &in, options);
    ad_keep(s.value);
    util_run(tape);
    util_read(s.value, y, n);
    ad_tape_free(tape);
}

static double cubic_root(double x) {
    double y = cbrt(x);
    for (int i = 0; i < 100; i++) y -= (y + y * y * y - x) / (1 + 3 * y * y);
    return y;
}

static void roots_of_a_cubic(void **state) {
    fixture *f = *state;
    double y[B];
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, cubic, f->data, B, NULL, y);
        for (int i = 0; i < B; i++) util_assert_close(y[i], cubic_root(f->data[i]), type == AD_F32 ? 1e-6 : 1e-15);
    }
}

// y + sin y has slope 0 at odd multiples of pi, and roots there.
static void roots_where_the_slope_vanishes(void **state) {
    fixture *f = *state;
    double y[B], x[B];
    const double pi = acos(-1);
    for (int i = 0; i < B; i++) x[i] = i % 2 ? f->data[i] : (2 * (i % 7) - 7) * pi;
    solve(f, AD_F64, wave, x, B, NULL, y);
    for (int i = 0; i < B; i++) util_assert_close(y[i] + sin(y[i]), x[i], 1e-14);
}

static void roots_over_forty_decades(void **state) {
    fixture *f = *state;
    double y[41], c[41];
    for (int i = 0; i <= 40; i++) c[i] = pow(10, i - 20);
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, exponential, c, 41, NULL, y);
        for (int i = 0; i <= 40; i++) util_assert_close(y[i], log(c[i]), type == AD_F32 ? 1e-6 : 1e-14);
    }
}

static void roots_far_away(void **state) {
    fixture *f = *state;
    const double x[] = {1e6, -1e6, 123456.75, 1e30, -1e30, 1e37};
    double y[6];
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, line, x, 6, NULL, y);
        for (int i = 0; i < 6; i++) util_assert_close(y[i] / x[i], 1, type == AD_F32 ? 1e-6 : 1e-15);
    }
}

// The tolerance is relative to max(1, |y|): a root near 0 to full precision needs a smaller one.
static void roots_close_to_zero(void **state) {
    fixture *f = *state;
    const double x[] = {1e-30, -1e-30, 1e-20, 0, -1e-12};
    const ad_solver_options fine = {.tolerance = 1e-300};
    double y[5];
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, cubic, x, 5, NULL, y);
        for (int i = 0; i < 5; i++) util_assert_close(y[i], x[i], type == AD_F32 ? 1e-6 : 1e-15);
        solve(f, type, cubic, x, 5, &fine, y);
        for (int i = 0; i < 5; i++) assert_true(fabs(y[i] - x[i]) <= (type == AD_F32 ? 2.5e-7 : 1e-15) * fabs(x[i]));
    }
}

static void roots_between_kinks(void **state) {
    fixture *f = *state;
    double y[B], x[B];
    for (int i = 0; i < B; i++) x[i] = kinked_at(f->data[i] / 4);
    x[0] = kinked_at(0.5), x[1] = kinked_at(3), x[2] = kinked_at(-2), x[3] = kinked_at(-5000), x[4] = kinked_at(5000);
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, kinked, x, B, NULL, y);
        for (int i = 0; i < B; i++) util_assert_close(kinked_at(y[i]), x[i], type == AD_F32 ? 6e-5 : 1e-13);
    }
}

static void roots_beyond_a_flat_part(void **state) {
    fixture *f = *state;
    const double x[] = {3, -3, 1e5, -1e-3, 0};
    double y[5];
    solve(f, AD_F64, flat_inside, x, 5, NULL, y);
    for (int i = 0; i < 4; i++) util_assert_close(y[i], x[i] + copysign(1, x[i]), 1e-15);
    assert_true(fabs(y[4]) <= 1);
}

// A jump over zero is found by bisection, its slope being 0 or unknown everywhere.
static void a_change_of_sign_without_slope(void **state) {
    fixture *f = *state;
    double y[B];
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        solve(f, type, step, f->data, B, NULL, y);
        for (int i = 0; i < B; i++) util_assert_close(y[i], f->data[i], type == AD_F32 ? 1e-6 : 1e-15);
    }
}

static void falling_functions_are_recognised(void **state) {
    fixture *f = *state;
    double y[B];
    solve(f, AD_F64, falling_line, f->data, B, NULL, y);
    for (int i = 0; i < B; i++) util_assert_close(y[i], f->data[i], 1e-15);
}

// log(y) = x: -inf at the first point, NaN left of it.
static void functions_end_where_they_are_not_a_number(void **state) {
    fixture *f = *state;
    double y[B], x[B];
    const ad_solver_options left = {.low = -3, .high = 0.125};
    for (int i = 0; i < B; i++) x[i] = f->data[i] / 4;
    solve(f, AD_F64, logarithm, x, B, NULL, y);
    for (int i = 0; i < B; i++) util_assert_close(y[i], exp(x[i]), 1e-14);
    solve(f, AD_F64, logarithm, x, B, &left, y);
    for (int i = 0; i < B; i++) util_assert_close(y[i], exp(x[i]), 1e-14);
}

static void the_bracket_may_be_given(void **state) {
    fixture *f = *state;
    const ad_solver_options around = {.low = 999990, .high = 1000010}, elsewhere = {.low = -7, .high = -6.5};
    const double x[] = {1e6};
    double y;
    solve(f, AD_F32, line, x, 1, &around, &y);
    util_assert_close(y, 1e6, 0);
    solve(f, AD_F64, cubic, x, 1, &elsewhere, &y);
    util_assert_close(y, cubic_root(1e6), 1e-15);
}

static void elements_have_roots_of_their_own(void **state) {
    fixture *f = *state;
    double y[20 * 4], residual[20], iterations[20], done[20];
    const ad_source source = util_source(f->data, 20);
    ad_var x = ad_input(util_rows(f->tape, "data", 20), ad_shape2(2, 2), &source);
    const ad_solution s = ad_root(x, cubic, &x, NULL);
    assert_true(ad_shape_equal(ad_shape_of(s.value), ad_shape2(2, 2)));
    ad_keep(s.value), ad_keep(s.residual), ad_keep(s.iterations), ad_keep(s.done);
    util_run(f->tape);
    util_read(s.value, y, 80);
    util_read(s.residual, residual, 20);
    util_read(s.iterations, iterations, 20);
    util_read(s.done, done, 20);
    for (int i = 0; i < 80; i++) util_assert_close(y[i], cubic_root(f->data[i]), 1e-15);
    for (int r = 0; r < 20; r++) {
        double most = 0;
        for (int i = 4 * r; i < 4 * r + 4; i++) most = fmax(most, fabs(y[i] + y[i] * (y[i] * y[i]) - f->data[i]));
        util_assert_close(residual[r], most, 0);
        assert_true(done[r] == 1 && iterations[r] >= 3 && iterations[r] <= 15);
    }
}

// Newton's method is exact for a line inside the bracket: the second evaluation finds 0.
static void a_line_takes_two_evaluations(void **state) {
    fixture *f = *state;
    double iterations, residual;
    ad_var x = ad_number(f->tape, 0.5);
    const ad_solution s = ad_root(x, line, &x, NULL);
    ad_keep(s.iterations), ad_keep(s.residual);
    util_run(f->tape);
    util_read(s.iterations, &iterations, 1);
    util_read(s.residual, &residual, 1);
    util_assert_close(iterations, 2, 0);
    util_assert_close(residual, 0, 0);
}

static void a_root_of_nothing(void **state) {
    fixture *f = *state;
    double done;
    ad_var x = ad_fill(f->tape, ad_shape1(0), 0);
    const ad_solution s = ad_root(x, cubic, &x, NULL);
    ad_keep(s.value), ad_keep(s.done);
    util_run(f->tape);
    util_read(s.done, &done, 1);
    util_assert_close(done, 1, 0);
}

// ---- a row is on its own
// ------------------------------------------------------------------------------------------------

// Rows from trivial to very hard; bits of values and counts for every batch and number of threads.
static void rows_do_not_depend_on_each_other(void **state) {
    fixture *f = *state;
    const int sizes[] = {1, 63, 64, 65, B};
    double x[B], y[B], count[B], one[B], counted[B];
    for (int i = 0; i < B; i++) x[i] = i % 3 ? kinked_at(f->data[i]) * pow(10, i % 5) : f->data[i] * 1e-3;
    for (int threads = 1; threads <= 3; threads++) {
        const ad_engine_options options = {.threads = threads};
        ad_engine *engine = ad_engine_new(&options, NULL);
        for (int k = 4; k >= 0; k--) {
            ad_tape *tape = ad_tape_new(engine, AD_F32);
            const int n = sizes[k], from = B - n;
            const ad_source source = util_source(x + from, n);
            ad_var in = ad_input(util_rows(tape, "data", n), ad_shape0(), &source);
            const ad_solution s = ad_root(in, kinked, &in, NULL);
            ad_keep(s.value), ad_keep(s.iterations);
            util_run(tape);
            util_read(s.value, k == 4 && threads == 1 ? y : one, n);
            util_read(s.iterations, k == 4 && threads == 1 ? count : counted, n);
            if (k < 4 || threads > 1) {
                assert_memory_equal(one, y + from, (size_t)n * sizeof *y);
                assert_memory_equal(counted, count + from, (size_t)n * sizeof *count);
            }
            ad_tape_free(tape);
        }
        ad_engine_free(engine);
    }
}

// ---- derivatives of roots
// ---------------------------------------------------------------------------------------------

// y = log c: y' = 1 / c, y'' = -1 / c^2.
static void derivatives_over_forty_decades(void **state) {
    fixture *f = *state;
    double c[41], first[41], second[41];
    for (int i = 0; i <= 40; i++) c[i] = pow(10, i - 20);
    const ad_source source = util_source(c, 41);
    ad_var x = ad_input(util_rows(f->tape, "data", 41), ad_shape0(), &source), g, h;
    const ad_var y = ad_root(x, exponential, &x, NULL).value;
    ad_grad(y, &x, 1, &g);
    ad_grad(g, &x, 1, &h);
    ad_keep(g), ad_keep(h);
    util_run(f->tape);
    util_read(g, first, 41);
    util_read(h, second, 41);
    for (int i = 0; i <= 40; i++) {
        util_assert_close(first[i] * c[i], 1, 1e-13);
        util_assert_close(second[i] * c[i] * c[i], -1, 1e-13);
    }
}

// Kepler's equation E - e sin E = M; x[0] = M per row, x[1] = e shared.
static ad_var kepler(void *arg, ad_var E) {
    const ad_var *x = arg;
    return ad_sub(ad_sub(E, ad_mul(x[1], sine(E))), x[0]);
}
static ad_var eccentric_anomaly(void *arg, const ad_var *x) {
    (void)arg;
    ad_var used[] = {x[0], x[1]};
    return ad_root(x[0], kepler, used, NULL).value;
}
static void keplers_equation(void **state) {
    fixture *f = *state;
    double M[B], E[B], slope[B], sum = 0, ge;
    const double e = 0.97;
    util_fill(M, B, 5, -3.1, 3.1);
    const ad_source source = util_source(M, B);
    ad_var x[] = {ad_input(f->rows, ad_shape0(), &source), ad_number(f->tape, e)}, g[2];
    const ad_var y = ad_keep(eccentric_anomaly(NULL, x));
    ad_grad(y, x, 2, g);
    ad_keep(g[0]), ad_keep(g[1]);
    util_run(f->tape);
    util_read(y, E, B);
    util_read(g[0], slope, B);
    util_read(g[1], &ge, 1);
    for (int i = 0; i < B; i++) {
        util_assert_close(E[i] - e * sin(E[i]), M[i], 1e-14);
        util_assert_close(slope[i], 1 / (1 - e * cos(E[i])), 1e-12);
        sum += sin(E[i]) / (1 - e * cos(E[i]));
    }
    util_assert_close(ge, sum, 1e-12);
}
static void gradcheck_of_keplers_equation(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {{.rows = true, .shape = {1, {2}}, .low = -3, .high = 3},
                                     {.low = 0.1, .high = 0.6}};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(eccentric_anomaly, NULL, in, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

// Planar flow z = x + u tanh(w.x + b), inverted through a = w.x: a + (w.u) tanh(a + b) = w.z.
enum { D = 3 };
static const double planar_u[D] = {0.7, -0.4, 0.9}, planar_w[D] = {0.5, -1.2, 0.8};
typedef struct planar {
    ad_var wz;
    double wu, b;
} planar;
static ad_var planar_forward(ad_var x, double b) {
    const ad_var u = ad_constant(x.tape, ad_shape1(D), planar_u), w = ad_constant(x.tape, ad_shape1(D), planar_w);
    return ad_add(x, ad_mul(u, ad_tanh(ad_offset(ad_sum(ad_mul(w, x)), b))));
}
static ad_var planar_equation(void *arg, ad_var a) {
    const planar *p = arg;
    return ad_sub(ad_add(a, ad_scale(ad_tanh(ad_offset(a, p->b)), p->wu)), p->wz);
}
static ad_var planar_inverse(ad_var z, double b) {
    const ad_var u = ad_constant(z.tape, ad_shape1(D), planar_u), w = ad_constant(z.tape, ad_shape1(D), planar_w);
    planar p = {ad_sum(ad_mul(w, z)), 0, b};
    for (int i = 0; i < D; i++) p.wu += planar_u[i] * planar_w[i];
    const ad_var a = ad_root(p.wz, planar_equation, &p, NULL).value;
    return ad_sub(z, ad_mul(u, ad_tanh(ad_offset(a, b))));
}
static void the_inverse_of_a_planar_flow(void **state) {
    fixture *f = *state;
    double x[30 * D], back[30 * D], forth[30 * D * D], J[30 * D * D];
    util_fill(x, 30 * D, 7, -4, 4);
    const ad_source source = util_source(x, 30);
    const ad_var in = ad_input(util_rows(f->tape, "data", 30), ad_shape1(D), &source);
    const ad_var z = planar_forward(in, 0.3), again = ad_keep(planar_inverse(z, 0.3));
    const ad_var a = ad_keep(ad_jacobian(z, in)), b = ad_keep(ad_jacobian(again, z));
    util_run(f->tape);
    util_read(again, back, 30 * D);
    util_read(a, forth, 30 * D * D);
    util_read(b, J, 30 * D * D);
    util_assert_all_close(back, x, 30 * D, 1e-13);
    for (int r = 0; r < 30; r++)
        for (int i = 0; i < D * D; i++) {
            double product = 0;
            for (int k = 0; k < D; k++) product += J[r * D * D + i / D * D + k] * forth[r * D * D + k * D + i % D];
            util_assert_close(product, i / D == i % D, 1e-13);
        }
}

// A parameter is found by descent through the root that it decides.
static ad_var root_of_parameter(void *arg, ad_var y) {
    const ad_var *x = arg;
    return ad_sub(ad_add(y, ad_mul(ad_exp(x[1]), ad_mul(y, ad_square(y)))), x[0]);
}
static void training_through_a_root(void **state) {
    fixture *f = *state;
    ad_param *c = util_param("c", AD_F64, ad_shape0(), 1);
    double target[B], x[B], loss = 0;
    util_fill(x, B, 9, -3, 3);
    for (int i = 0; i < B; i++) target[i] = cubic_root(x[i]);  // c = 0
    const ad_source in = util_source(x, B), out = util_source(target, B);
    ad_param_set(c, 0, 1);
    for (int step_number = 0; step_number < 200; step_number++) {
        ad_tape_reset(f->tape);
        const ad_rows rows = util_rows(f->tape, "data", B);
        ad_var used[] = {ad_input(rows, ad_shape0(), &in), ad_use(f->tape, c)};
        const ad_var y = ad_root(used[0], root_of_parameter, used, NULL).value;
        const ad_var error = ad_mean_rows(ad_square(ad_sub(y, ad_input(rows, ad_shape0(), &out))));
        assert_int_equal(ad_backward(error), AD_OK);
        loss = ad_value(error);
        ad_param_set(c, 0, ad_param_get(c, 0) - 5 * ((double *)c->grad)[0]);
    }
    util_assert_close(loss, 0, 1e-12);
    util_assert_close(ad_param_get(c, 0), 0, 1e-6);
    ad_param_free(c);
}

// ---- failures
// ---------------------------------------------------------------------------------------------------------

static ad_solution run_root(fixture *f, ad_var (*function)(void *, ad_var), const ad_solver_options *options) {
    static ad_var x;
    x = ad_input(f->rows, ad_shape0(), &f->source);
    const ad_solution s = ad_root(x, function, &x, options);
    ad_keep(s.value), ad_keep(s.done), ad_keep(s.residual);
    return s;
}

static void no_root_fails_the_run(void **state) {
    fixture *f = *state;
    run_root(f, no_root, NULL);
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(f->tape), "root of row 0: element 0: no change of sign found after ");
    util_assert_contains(ad_tape_message(f->tape), "bracket [-1.79769e+308, ");
    util_assert_contains(ad_tape_message(f->tape), "residual ");
}

static void nan_everywhere_fails_the_run(void **state) {
    fixture *f = *state;
    run_root(f, not_a_number, NULL);
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(f->tape), "no change of sign found after 3 iterations");
}

// Rows at their root from the start converge in one iteration, the others do not.
static void the_first_row_that_fails_is_named(void **state) {
    fixture *f = *state;
    const ad_solver_options short_of_time = {.max_iterations = 3};
    for (int i = 0; i < B; i++) f->data[i] = i == 70 || i == 71 ? 0.625 : 0;
    run_root(f, cubic, &short_of_time);
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(f->tape), "root of row 70: element 0: ");
    util_assert_contains(ad_tape_message(f->tape), "after 3 iterations");
}

static void failures_may_be_allowed(void **state) {
    fixture *f = *state;
    const ad_solver_options allowing = {.max_iterations = 3, .allow_failure = true};
    double done[B], y[B], residual[B];
    for (int i = 0; i < B; i++) f->data[i] = i % 2 ? 0.625 : 0;
    const ad_solution s = run_root(f, cubic, &allowing);
    util_run(f->tape);
    util_read(s.done, done, B);
    util_read(s.value, y, B);
    util_read(s.residual, residual, B);
    for (int i = 0; i < B; i++) {
        util_assert_close(done[i], i % 2 == 0, 0);
        util_assert_close(residual[i], fabs(y[i] + y[i] * (y[i] * y[i]) - f->data[i]), 1e-16);
        assert_true(isfinite(y[i]));
    }
}

// A row that failed and does not count has no part in the gradient.
static void failed_rows_can_be_left_out(void **state) {
    fixture *f = *state;
    const ad_solver_options allowing = {.allow_failure = true};
    double g;
    for (int i = 0; i < B; i++) f->data[i] = i % 2 ? -1 : 2;
    ad_var x = ad_input(f->rows, ad_shape0(), &f->source), c = ad_number(f->tape, 1), scaled = ad_mul(x, c), gc;
    const ad_solution s = ad_root(x, exponential, &scaled, &allowing);  // exp(y) = c x: y = log(c x), where x > 0
    ad_grad(ad_sum_rows(ad_where(s.done, s.value, ad_number(f->tape, 0))), &c, 1, &gc);
    ad_keep(gc);
    util_run(f->tape);
    util_read(gc, &g, 1);
    util_assert_close(g, B / 2, 1e-13);
}

static void assert_fails(ad_tape *tape, ad_solution s, ad_status status, const char *part) {
    assert_false(ad_ok(s.value) || ad_ok(s.iterations) || ad_ok(s.residual) || ad_ok(s.done));
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
}
static void a_bracket_upside_down(void **state) {
    fixture *f = *state;
    const ad_solver_options options = {.low = 2, .high = 1};
    assert_fails(f->tape, run_root(f, cubic, &options), AD_EARG, "root: a bracket from 2 to 1");
}
static void a_negative_tolerance(void **state) {
    fixture *f = *state;
    const ad_solver_options options = {.tolerance = -1};
    assert_fails(f->tape, run_root(f, cubic, &options), AD_EARG, "root: tolerance -1");
}
static ad_var total(void *arg, ad_var y) {
    return ad_add(ad_reshape(y, ad_shape1(1)), *(ad_var *)arg);
}
static void a_function_of_another_shape(void **state) {
    fixture *f = *state;
    assert_fails(f->tape, run_root(f, total, NULL), AD_ESHAPE,
                 "root: the function's value has shape [1], its argument []");
}
static ad_var given(void *arg, ad_var y) {
    (void)y;
    return *(ad_var *)arg;
}
static void a_function_without_y(void **state) {
    fixture *f = *state;
    assert_fails(f->tape, run_root(f, given, NULL), AD_EARG, "does not depend on y");
}
static void a_shared_start_for_rows(void **state) {
    fixture *f = *state;
    ad_var x = ad_input(f->rows, ad_shape0(), &f->source);
    assert_fails(f->tape, ad_root(ad_number(f->tape, 0), cubic, &x, NULL), AD_EMIX, "start from ad_to_rows");
}

// ---- fixed points
// -------------------------------------------------------------------------------------------------------

enum { N = 4 };
typedef struct net {  // y = tanh(W y) + x
    ad_var W, x;
} net;
static ad_var layer(void *arg, ad_var y) {
    const net *n = arg;
    return ad_add(ad_tanh(ad_linear(n->W, y, AD_NONE)), n->x);
}

// W with spectral norm 0.9.
static void contractive(double *W) {
    double v[N] = {1, 1, 1, 1}, u[N], norm = 0;
    util_fill(W, N * N, 11, -1, 1);
    for (int k = 0; k < 1000; k++) {
        norm = 0;
        for (int i = 0; i < N; i++) {
            u[i] = 0;
            for (int j = 0; j < N; j++) u[i] += W[i * N + j] * v[j];
        }
        for (int j = 0; j < N; j++) {
            v[j] = 0;
            for (int i = 0; i < N; i++) v[j] += W[i * N + j] * u[i];
            norm += v[j] * v[j];
        }
        for (int j = 0; j < N; j++) v[j] /= sqrt(norm);
    }
    for (int i = 0; i < N * N; i++) W[i] *= 0.9 / sqrt(sqrt(norm));
}

static void a_fixed_point_stays(void **state) {
    fixture *f = *state;
    double W[N * N], y[25 * N], residual[25], iterations[25], done[25];
    contractive(W);
    for (ad_type type = AD_F32; type <= AD_F64; type++) {
        ad_tape *tape = ad_tape_new(f->engine, type);
        const ad_source source = util_source(f->data, 25);
        net n = {ad_constant(tape, ad_shape2(N, N), W), ad_input(util_rows(tape, "data", 25), ad_shape1(N), &source)};
        const ad_solution s = ad_fixed_point(ad_scale(n.x, 0), layer, &n, NULL);
        ad_keep(s.value), ad_keep(s.residual), ad_keep(s.iterations), ad_keep(s.done);
        util_run(tape);
        util_read(s.value, y, 25 * N);
        util_read(s.residual, residual, 25);
        util_read(s.iterations, iterations, 25);
        util_read(s.done, done, 25);
        for (int r = 0; r < 25; r++) {
            double most = 1;  // the tolerance is relative to the largest element
            for (int i = 0; i < N; i++) most = fmax(most, fabs(y[r * N + i]));
            for (int i = 0; i < N; i++) {
                double a = 0;
                for (int j = 0; j < N; j++) a += W[i * N + j] * y[r * N + j];
                util_assert_close(y[r * N + i] / most, (tanh(a) + f->data[r * N + i]) / most,
                                  type == AD_F32 ? 1e-6 : 1e-14);
            }
            assert_true(residual[r] <= 4 * (type == AD_F32 ? 1.2e-7 : 2.3e-16) * most);
            assert_true(done[r] == 1 && iterations[r] >= 2 && iterations[r] <= 400);
        }
        ad_tape_free(tape);
    }
}

// y = A y + b: y = (1 - A)^-1 b, dy/db = (1 - A)^-1, here for A = [[0, 1/2], [-1/4, 0]].
static ad_var affine(void *arg, ad_var y) {
    const net *n = arg;
    return ad_linear(n->W, y, n->x);
}
static void a_linear_fixed_point(void **state) {
    fixture *f = *state;
    const double A[] = {0, 0.5, -0.25, 0}, b[] = {3, -1},
                 inverse[] = {1 / 1.125, 0.5 / 1.125, -0.25 / 1.125, 1 / 1.125};
    double y[2], J[4];
    net n = {ad_constant(f->tape, ad_shape2(2, 2), A), ad_constant(f->tape, ad_shape1(2), b)};
    const ad_var value = ad_keep(ad_fixed_point(ad_zeros_like(n.x), affine, &n, NULL).value);
    const ad_var jacobian = ad_keep(ad_jacobian(value, n.x));
    util_run(f->tape);
    util_read(value, y, 2);
    util_read(jacobian, J, 4);
    for (int i = 0; i < 2; i++) util_assert_close(y[i], inverse[2 * i] * b[0] + inverse[2 * i + 1] * b[1], 1e-15);
    util_assert_all_close(J, inverse, 4, 1e-15);
}

// However small the cotangent: the adjoint equation's tolerance is relative.
static void small_cotangents_are_as_exact(void **state) {
    fixture *f = *state;
    double W[N * N], g[2];
    contractive(W);
    for (int k = 0; k < 2; k++) {
        ad_tape_reset(f->tape);
        net n = {ad_constant(f->tape, ad_shape2(N, N), W), ad_fill(f->tape, ad_shape1(N), 0.5)};
        ad_var sum = ad_sum(ad_fixed_point(ad_zeros_like(n.x), layer, &n, NULL).value), gx;
        ad_grad(ad_scale(sum, k ? 1e-40 : 1), &n.x, 1, &gx);
        g[k] = ad_value(ad_keep(ad_sum(gx)));
    }
    util_assert_close(g[1] * 1e40, g[0], 1e-14);
}

static ad_var settled(void *arg, const ad_var *x) {
    (void)arg;
    net n = {ad_scale(x[0], 0.3), x[1]};
    return ad_fixed_point(ad_scale(x[1], 0), layer, &n, NULL).value;
}
// The fixed point of a function that has a root inside: y = root(z + z^3 = x + tanh(W y)).
static ad_var inner(void *arg, ad_var y) {
    ad_var right = ad_scale(layer(arg, y), 0.5);
    return ad_root(right, cubic, &right, NULL).value;
}
static ad_var settled_root(void *arg, const ad_var *x) {
    (void)arg;
    net n = {ad_scale(x[0], 0.3), x[1]};
    return ad_fixed_point(ad_scale(x[1], 0), inner, &n, NULL).value;
}
static ad_var directional(void *arg, const ad_var *x) {
    return ad_jvp(settled(arg, x), x[1], ad_fill(x[1].tape, ad_shape1(2), 1));
}
static void assert_differentiable(ad_function function, bool rows, int cases) {
    const ad_gradcheck_input in[] = {{.shape = {2, {2, 2}}}, {.shape = {1, {2}}, .rows = rows}};
    const ad_gradcheck_options options = {.cases = cases};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(function, NULL, in, 2, &options, &error) != AD_OK) fail_msg("%s", error.message);
}
static void gradcheck_of_a_fixed_point(void **state) {
    (void)state;
    assert_differentiable(settled, true, 10);
    assert_differentiable(settled, false, 10);
}
static void gradcheck_of_a_root_within_a_fixed_point(void **state) {
    (void)state;
    assert_differentiable(settled_root, true, 3);
}
static void gradcheck_of_a_directional_derivative(void **state) {
    (void)state;
    assert_differentiable(directional, true, 3);
}

// The derivatives of the same numbers unrolled.
static void a_fixed_point_differentiates_as_its_iteration(void **state) {
    fixture *f = *state;
    double W[N * N], a[N * N], b[N * N];
    contractive(W);
    const ad_source source = util_source(f->data, 25);
    net n = {ad_constant(f->tape, ad_shape2(N, N), W),
             ad_scale(ad_input(util_rows(f->tape, "data", 25), ad_shape1(N), &source), 0.05)};
    ad_var y = ad_scale(n.x, 0), g[2];
    const ad_var value = ad_fixed_point(y, layer, &n, NULL).value;
    for (int i = 0; i < 400; i++) y = layer(&n, y);
    ad_grad(ad_sum_rows(ad_sum(ad_square(value))), &n.W, 1, &g[0]);
    ad_grad(ad_sum_rows(ad_sum(ad_square(y))), &n.W, 1, &g[1]);
    ad_keep(g[0]), ad_keep(g[1]);
    util_run(f->tape);
    util_read(g[0], a, N * N);
    util_read(g[1], b, N * N);
    util_assert_all_close(a, b, N * N, 1e-12);
}

static void fixed_points_of_rows_on_their_own(void **state) {
    fixture *f = *state;
    double W[N * N], all[25 * N], one[N];
    contractive(W);
    for (int r = -1; r < 25; r++) {
        ad_tape_reset(f->tape);
        const ad_source source = util_source(f->data + (r < 0 ? 0 : r * N), r < 0 ? 25 : 1);
        net n = {ad_constant(f->tape, ad_shape2(N, N), W),
                 ad_input(util_rows(f->tape, "data", r < 0 ? 25 : 1), ad_shape1(N), &source)};
        const ad_var y = ad_keep(ad_fixed_point(ad_scale(n.x, 0), layer, &n, NULL).value);
        util_run(f->tape);
        util_read(y, r < 0 ? all : one, r < 0 ? 25 * N : N);
        if (r >= 0) assert_memory_equal(one, all + r * N, sizeof one);
    }
}

// A function that ignores y is its own fixed point.
static void a_constant_is_a_fixed_point(void **state) {
    fixture *f = *state;
    double y[B], g[B];
    ad_var x = ad_input(f->rows, ad_shape0(), &f->source), gx;
    const ad_var value = ad_keep(ad_fixed_point(ad_scale(x, 0), given, &x, NULL).value);
    ad_grad(value, &x, 1, &gx);
    ad_keep(gx);
    util_run(f->tape);
    util_read(value, y, B);
    util_read(gx, g, B);
    for (int i = 0; i < B; i++) assert_true(y[i] == f->data[i] && g[i] == 1);
}

static ad_var doubled(void *arg, ad_var y) {
    return ad_add(ad_scale(y, 2), *(ad_var *)arg);
}
static ad_var squared(void *arg, ad_var y) {
    return ad_add(ad_square(y), *(ad_var *)arg);
}
static void assert_iteration_fails(fixture *f, ad_var (*g)(void *, ad_var), const ad_solver_options *options,
                                   const char *part) {
    for (int i = 0; i < B; i++) f->data[i] = i < 66 ? 0 : 3;
    ad_var x = ad_input(f->rows, ad_shape0(), &f->source);
    ad_keep(ad_fixed_point(ad_scale(x, 0), g, &x, options).value);
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(f->tape), part);
}
static void too_few_iterations_fail(void **state) {
    const ad_solver_options options = {.max_iterations = 5};
    assert_iteration_fails(*state, doubled, &options,
                           "fixed_point of row 66: not converged after 5 iterations: residual 48");
}
static void divergence_fails(void **state) {
    assert_iteration_fails(*state, squared, NULL, "fixed_point of row 66: diverged after ");
}

// y = y + x y has slope 2 at its solution 0, found at once; the adjoint equation has no solution that iterations reach.
static ad_var marginal(void *arg, ad_var y) {
    return ad_add(y, ad_mul(*(ad_var *)arg, y));
}
static void an_adjoint_without_solution_fails(void **state) {
    fixture *f = *state;
    ad_var x = ad_fill(f->tape, ad_shape0(), 1), g;
    const ad_var y = ad_fixed_point(ad_number(f->tape, 0), marginal, &x, NULL).value;
    ad_grad(y, &x, 1, &g);
    ad_keep(g);
    assert_int_equal(ad_run(f->tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(f->tape), "adjoint equation: ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(roots_of_a_cubic),
        TEST(roots_where_the_slope_vanishes),
        TEST(roots_over_forty_decades),
        TEST(roots_far_away),
        TEST(roots_close_to_zero),
        TEST(roots_between_kinks),
        TEST(roots_beyond_a_flat_part),
        TEST(a_change_of_sign_without_slope),
        TEST(falling_functions_are_recognised),
        TEST(functions_end_where_they_are_not_a_number),
        TEST(the_bracket_may_be_given),
        TEST(elements_have_roots_of_their_own),
        TEST(a_line_takes_two_evaluations),
        TEST(a_root_of_nothing),
        TEST(rows_do_not_depend_on_each_other),
        TEST(derivatives_over_forty_decades),
        TEST(keplers_equation),
        TEST(gradcheck_of_keplers_equation),
        TEST(the_inverse_of_a_planar_flow),
        TEST(training_through_a_root),
        TEST(no_root_fails_the_run),
        TEST(nan_everywhere_fails_the_run),
        TEST(the_first_row_that_fails_is_named),
        TEST(failures_may_be_allowed),
        TEST(failed_rows_can_be_left_out),
        TEST(a_bracket_upside_down),
        TEST(a_negative_tolerance),
        TEST(a_function_of_another_shape),
        TEST(a_function_without_y),
        TEST(a_shared_start_for_rows),
        TEST(a_fixed_point_stays),
        TEST(a_linear_fixed_point),
        TEST(small_cotangents_are_as_exact),
        TEST(gradcheck_of_a_fixed_point),
        TEST(gradcheck_of_a_root_within_a_fixed_point),
        TEST(gradcheck_of_a_directional_derivative),
        TEST(a_fixed_point_differentiates_as_its_iteration),
        TEST(fixed_points_of_rows_on_their_own),
        TEST(a_constant_is_a_fixed_point),
        TEST(too_few_iterations_fail),
        TEST(divergence_fails),
        TEST(an_adjoint_without_solution_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
