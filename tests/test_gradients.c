// test_gradients.c -- derivatives of any order against closed forms and differences.
#include "util.h"

enum { B = 5, D = 3, O = 4 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    ad_rows rows;
    double data[B * D];
    ad_source source;
    ad_var x;             // [D] per row
    ad_var t;             // [] per row: the first element of x's row, positive
    ad_param *W, *b, *a;  // [O,D], [O], [O]
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    const ad_engine_options one_thread = {.threads = 1};
    f->engine = ad_engine_new(&one_thread, NULL);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, B * D, 1, 0.2, 1.5);
    f->source = util_source(f->data, B);
    f->rows = util_rows(f->tape, "data", B);
    f->x = ad_input(f->rows, ad_shape1(D), &f->source);
    f->t = ad_reshape(ad_slice(f->x, 0, 0, 1), ad_shape0());
    f->W = util_param("W", AD_F64, ad_shape2(O, D), 2);
    f->b = util_param("b", AD_F64, ad_shape1(O), 3);
    f->a = util_param("a", AD_F64, ad_shape1(O), 4);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
    ad_param_free(f->W);
    ad_param_free(f->b);
    ad_param_free(f->a);
    free(f);
    return 0;
}

static ad_var gradient(ad_var y, ad_var x) {
    ad_var gx = AD_NONE;
    ad_grad(y, &x, 1, &gx);
    return gx;
}

static void assert_rows(fixture *f, ad_var v, int64_t n, const double *expected, double tolerance) {
    double got[B * D * O];
    ad_keep(v);
    util_run(f->tape);
    util_read(v, got, n);
    util_assert_all_close(got, expected, n, tolerance);
}

// ---- orders one to three ------------------------------------------------------------------------------------------

// d^order y / dt^order for every row against exact(t, order).
static void assert_orders(fixture *f, ad_var y, double (*exact)(double t, int order)) {
    ad_var v = y;
    for (int order = 1; order <= 3; order++) {
        double expected[B];
        v = gradient(v, f->t);
        for (int r = 0; r < B; r++) expected[r] = exact(f->data[r * D], order);
        assert_rows(f, v, B, expected, 1e-12);
    }
}

static double exact_product(double t, int order) {
    if (order == 1) return (t * t * t + 3 * t * t) * exp(t);
    if (order == 2) return (t * t * t + 6 * t * t + 6 * t) * exp(t);
    return (t * t * t + 9 * t * t + 18 * t + 6) * exp(t);
}
static void three_orders_of_a_product(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_mul(ad_mul(f->t, ad_square(f->t)), ad_exp(f->t)), exact_product);
}

static double exact_tanh(double t, int order) {
    const double y = tanh(t), d = 1 - y * y;
    return order == 1 ? d : order == 2 ? -2 * y * d : d * (6 * y * y - 2);
}
static void three_orders_of_tanh(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_tanh(f->t), exact_tanh);
}

static double exact_log(double t, int order) {
    return order == 1 ? 1 / t : order == 2 ? -1 / (t * t) : 2 / (t * t * t);
}
static void three_orders_of_log(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_log(f->t), exact_log);
}

static double exact_sigmoid(double t, int order) {
    const double s = 1 / (1 + exp(-t)), d = s * (1 - s);
    return order == 1 ? d : order == 2 ? d * (1 - 2 * s) : d * (1 - 6 * s + 6 * s * s);
}
static void three_orders_of_sigmoid(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_sigmoid(f->t), exact_sigmoid);
}

static double exact_softplus(double t, int order) {
    return order == 1 ? 1 / (1 + exp(-t)) : exact_sigmoid(t, order - 1);
}
static void three_orders_of_softplus(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_softplus(f->t), exact_softplus);
}

static double exact_sqrt(double t, int order) {
    return order == 1 ? 0.5 / sqrt(t) : order == 2 ? -0.25 * pow(t, -1.5) : 0.375 * pow(t, -2.5);
}
static void three_orders_of_sqrt(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_sqrt(f->t), exact_sqrt);
}

static double exact_quotient(double t, int order) {  // 1 / (1 + t)
    const double u = 1 / (1 + t);
    return order == 1 ? -u * u : order == 2 ? 2 * u * u * u : -6 * u * u * u * u;
}
static void three_orders_of_a_quotient(void **state) {
    fixture *f = *state;
    assert_orders(f, ad_div(ad_number(f->tape, 1), ad_offset(f->t, 1)), exact_quotient);
}

static void a_value_used_many_times(void **state) {
    fixture *f = *state;
    ad_var y = f->t;
    double expected[B];
    for (int k = 0; k < 5; k++) y = ad_mul(y, f->t);  // t^6
    for (int r = 0; r < B; r++) expected[r] = 6 * pow(f->data[r * D], 5);
    assert_rows(f, gradient(y, f->t), B, expected, 1e-13);
}

// ---- what a gradient is of, and in --------------------------------------------------------------------------------

static void of_a_row_scalar_in_shared_sums_over_rows(void **state) {
    fixture *f = *state;
    const ad_var w = ad_shared_input(f->tape, ad_shape1(D), &f->source);
    const ad_var g = gradient(ad_sum(ad_mul(w, ad_square(f->x))), w);
    double expected[D] = {0};
    for (int i = 0; i < B * D; i++) expected[i % D] += f->data[i] * f->data[i];
    assert_false(ad_has_rows(g));
    assert_rows(f, g, D, expected, 1e-13);
}

static void in_rows_of_shared_are_per_row(void **state) {
    fixture *f = *state;
    const ad_var w = ad_to_rows(ad_shared_input(f->tape, ad_shape1(D), &f->source), f->rows);
    const ad_var g = gradient(ad_sum(ad_mul(w, ad_square(f->x))), w);
    double expected[B * D];
    for (int i = 0; i < B * D; i++) expected[i] = f->data[i] * f->data[i];
    assert_true(ad_has_rows(g));
    assert_rows(f, g, B * D, expected, 1e-13);
}

static void per_row_gradients_of_weights(void **state) {
    fixture *f = *state;
    const ad_var W = ad_to_rows(ad_use(f->tape, f->W), f->rows);  // [O,D] per row
    const ad_var y = ad_sum_axis(ad_mul(W, f->x), 1);
    double expected[B * O * D];
    for (int r = 0; r < B; r++)
        for (int o = 0; o < O; o++) {
            double v = 0;
            for (int i = 0; i < D; i++) v += ad_param_get(f->W, o * D + i) * f->data[r * D + i];
            for (int i = 0; i < D; i++) expected[(r * O + o) * D + i] = 2 * v * f->data[r * D + i];
        }
    assert_rows(f, gradient(ad_sum(ad_square(y)), W), B * O * D, expected, 1e-13);
}

static void of_a_shared_loss_in_row_inputs(void **state) {
    fixture *f = *state;
    const ad_var g = gradient(ad_mean_rows(ad_sum(ad_square(f->x))), f->x);
    double expected[B * D];
    for (int i = 0; i < B * D; i++) expected[i] = 2 * f->data[i] / B;
    assert_true(ad_has_rows(g));
    assert_rows(f, g, B * D, expected, 1e-13);
}

static void in_a_value_on_the_way(void **state) {
    fixture *f = *state;
    const ad_var middle = ad_exp(f->x);
    double expected[B * D];
    for (int i = 0; i < B * D; i++) expected[i] = 2 * exp(f->data[i]);
    assert_rows(f, gradient(ad_sum(ad_square(middle)), middle), B * D, expected, 1e-13);
}

static void in_itself_is_one(void **state) {
    fixture *f = *state;
    const double expected[B] = {1, 1, 1, 1, 1};
    assert_rows(f, gradient(f->t, f->t), B, expected, 0);
}

static void in_what_was_not_used_is_zero(void **state) {
    fixture *f = *state;
    const ad_var w = ad_shared_input(f->tape, ad_shape1(D), &f->source);
    const double expected[D] = {0};
    const ad_var g = gradient(ad_sum(f->x), w);
    assert_true(ad_shape_equal(ad_shape_of(g), ad_shape1(D)));
    assert_rows(f, g, D, expected, 0);
}

static void stop_gradient_stops(void **state) {
    fixture *f = *state;
    double expected[B];
    for (int r = 0; r < B; r++) expected[r] = f->data[r * D];
    assert_rows(f, gradient(ad_mul(ad_stop_gradient(f->t), f->t), f->t), B, expected, 0);
}

static void of_a_vector_is_an_error(void **state) {
    fixture *f = *state;
    gradient(f->x, f->x);
    assert_int_not_equal(ad_tape_status(f->tape), AD_OK);
}

static void of_shared_values_only(void **state) {
    fixture *f = *state;
    const ad_var w = ad_use(f->tape, f->a);
    double expected[O];
    for (int o = 0; o < O; o++) expected[o] = exp(ad_param_get(f->a, o));
    assert_rows(f, gradient(ad_sum(ad_exp(w)), w), O, expected, 1e-13);
}

static void of_broadcast_operands(void **state) {
    fixture *f = *state;
    const ad_var column = ad_reshape(f->x, ad_shape2(D, 1)), line = ad_use(f->tape, f->a);
    ad_var x[2] = {f->x, line}, g[2];
    double sum_a = 0, sum_x = 0, in_x[B * D], in_a[O];
    ad_grad(ad_sum(ad_mul(column, line)), x, 2, g);  // sum_io x_i a_o
    for (int o = 0; o < O; o++) sum_a += ad_param_get(f->a, o);
    for (int i = 0; i < B * D; i++) sum_x += f->data[i];
    for (int i = 0; i < B * D; i++) in_x[i] = sum_a;
    for (int o = 0; o < O; o++) in_a[o] = sum_x;
    assert_rows(f, g[0], B * D, in_x, 1e-13);
    assert_rows(f, g[1], O, in_a, 1e-13);
}

static void a_vjp_weights_what_it_is_given(void **state) {
    fixture *f = *state;
    ad_var g = AD_NONE;
    double expected[B * D];
    ad_vjp(ad_exp(f->x), ad_square(f->x), &f->x, 1, &g);
    for (int i = 0; i < B * D; i++) expected[i] = f->data[i] * f->data[i] * exp(f->data[i]);
    assert_rows(f, g, B * D, expected, 1e-13);
}

// ---- jvp, Hessians ------------------------------------------------------------------------------------------------

static void jvp_of_an_elementwise_function(void **state) {
    fixture *f = *state;
    double expected[B * D];
    for (int i = 0; i < B * D; i++) expected[i] = exp(f->data[i]) * f->data[i];
    assert_rows(f, ad_jvp(ad_exp(f->x), f->x, f->x), B * D, expected, 1e-13);
}

static void jvp_through_a_layer(void **state) {
    fixture *f = *state;
    const ad_var v = ad_square(f->x);
    const ad_var y = ad_tanh(ad_linear(ad_use(f->tape, f->W), f->x, ad_use(f->tape, f->b)));
    double expected[B * O];
    for (int r = 0; r < B; r++)
        for (int o = 0; o < O; o++) {
            double u = ad_param_get(f->b, o), du = 0;
            for (int i = 0; i < D; i++) {
                const double x = f->data[r * D + i];
                u += ad_param_get(f->W, o * D + i) * x;
                du += ad_param_get(f->W, o * D + i) * x * x;
            }
            expected[r * O + o] = (1 - tanh(u) * tanh(u)) * du;
        }
    assert_rows(f, ad_jvp(y, f->x, v), B * O, expected, 1e-13);
}

static void a_jvp_is_differentiated(void **state) {
    fixture *f = *state;
    double expected[B * D];
    const ad_var j = ad_jvp(ad_mul(f->x, ad_square(f->x)), f->x, ad_fill(f->tape, ad_shape1(D), 1));  // 3 x^2
    for (int i = 0; i < B * D; i++) expected[i] = 6 * f->data[i];
    assert_rows(f, gradient(ad_sum(j), f->x), B * D, expected, 1e-13);
}

// sum over rows of log(1 + exp(w.x)): H v = sum s (1 - s) (x.v) x.
static void hessian_vector_product(void **state) {
    fixture *f = *state;
    const double w0[D] = {0.3, -0.7, 0.2}, v0[D] = {1, 2, -1};
    const ad_source w_source = util_source(w0, 1);
    const ad_var w = ad_shared_input(f->tape, ad_shape1(D), &w_source), v = ad_constant(f->tape, ad_shape1(D), v0);
    const ad_var g = gradient(ad_sum_rows(ad_softplus(ad_sum(ad_mul(w, f->x)))), w);
    double expected[D] = {0};
    for (int r = 0; r < B; r++) {
        double u = 0, xv = 0;
        for (int i = 0; i < D; i++) u += w0[i] * f->data[r * D + i], xv += v0[i] * f->data[r * D + i];
        for (int i = 0; i < D; i++) expected[i] += exact_sigmoid(u, 1) * xv * f->data[r * D + i];
    }
    assert_rows(f, gradient(ad_sum(ad_mul(g, v)), w), D, expected, 1e-12);
}

static void a_hessian_is_symmetric(void **state) {
    fixture *f = *state;
    const ad_var y = ad_tanh(ad_linear(ad_use(f->tape, f->W), f->x, ad_use(f->tape, f->b)));
    const ad_var g = gradient(ad_sum(ad_mul(y, y)), f->x);
    ad_var h[D];
    double H[D][B * D];
    for (int i = 0; i < D; i++) h[i] = ad_keep(gradient(ad_sum(ad_slice(g, 0, i, 1)), f->x));
    util_run(f->tape);
    for (int i = 0; i < D; i++) util_read(h[i], H[i], B * D);
    for (int r = 0; r < B; r++)
        for (int i = 0; i < D; i++)
            for (int j = 0; j < i; j++) util_assert_close(H[i][r * D + j], H[j][r * D + i], 1e-13);
}

// ---- parameters ---------------------------------------------------------------------------------------------------

static void fill_gradient(ad_param *p, double value) {
    for (int64_t i = 0; i < p->count; i++) ((double *)p->grad)[i] = value;
}

static double a_gradient(const fixture *f, int o) {  // of sum over rows of a_o^2 t
    double sum = 0;
    for (int r = 0; r < B; r++) sum += f->data[r * D];
    return 2 * ad_param_get(f->a, o) * sum;
}

static ad_var a_loss(fixture *f) {
    return ad_sum_rows(ad_mul(ad_sum(ad_square(ad_use(f->tape, f->a))), f->t));
}

static void backward_overwrites(void **state) {
    fixture *f = *state;
    fill_gradient(f->a, 7);
    assert_int_equal(ad_backward(a_loss(f)), AD_OK);
    for (int o = 0; o < O; o++) util_assert_close(((double *)f->a->grad)[o], a_gradient(f, o), 1e-13);
}

static void backward_add_accumulates(void **state) {
    fixture *f = *state;
    fill_gradient(f->a, 7);
    assert_int_equal(ad_backward_add(a_loss(f)), AD_OK);
    for (int o = 0; o < O; o++) util_assert_close(((double *)f->a->grad)[o], 7 + a_gradient(f, o), 1e-13);
}

static void backward_gives_zeros_where_not_reached(void **state) {
    fixture *f = *state;
    fill_gradient(f->b, 7);
    ad_keep(ad_exp(ad_use(f->tape, f->b)));
    assert_int_equal(ad_backward(a_loss(f)), AD_OK);
    for (int o = 0; o < O; o++) assert_true(((double *)f->b->grad)[o] == 0);
}

static void backward_add_leaves_what_is_not_reached(void **state) {
    fixture *f = *state;
    fill_gradient(f->b, 7);
    ad_keep(ad_exp(ad_use(f->tape, f->b)));
    assert_int_equal(ad_backward_add(a_loss(f)), AD_OK);
    for (int o = 0; o < O; o++) assert_true(((double *)f->b->grad)[o] == 7);
}

static void the_loss_can_be_read_after_backward(void **state) {
    fixture *f = *state;
    const ad_var loss = ad_sum(ad_square(ad_use(f->tape, f->a)));
    double exact = 0;
    for (int o = 0; o < O; o++) exact += ad_param_get(f->a, o) * ad_param_get(f->a, o);
    assert_int_equal(ad_backward(loss), AD_OK);
    util_assert_close(ad_value(loss), exact, 1e-14);
}

static void backward_twice_on_one_tape(void **state) {
    fixture *f = *state;
    const ad_var loss = a_loss(f);
    assert_int_equal(ad_backward(loss), AD_OK);
    assert_int_equal(ad_backward(loss), AD_OK);
    for (int o = 0; o < O; o++) util_assert_close(((double *)f->a->grad)[o], a_gradient(f, o), 1e-13);
}

static void backward_then_add_on_one_tape(void **state) {
    fixture *f = *state;
    const ad_var loss = a_loss(f);
    assert_int_equal(ad_backward(loss), AD_OK);
    assert_int_equal(ad_backward_add(loss), AD_OK);
    for (int o = 0; o < O; o++) util_assert_close(((double *)f->a->grad)[o], 2 * a_gradient(f, o), 1e-13);
}

static void backward_of_a_parameter_itself(void **state) {
    fixture *f = *state;
    ad_param *p = util_param("p", AD_F64, ad_shape0(), 8);
    assert_int_equal(ad_backward(ad_use(f->tape, p)), AD_OK);
    assert_true(((double *)p->grad)[0] == 1);
    ad_param_free(p);
}

static void two_parameters_with_one_gradient(void **state) {
    fixture *f = *state;
    ad_param *p = util_param("p", AD_F64, ad_shape1(O), 8);
    assert_int_equal(ad_backward(ad_sum(ad_exp(ad_add(ad_use(f->tape, p), ad_use(f->tape, f->a))))), AD_OK);
    for (int o = 0; o < O; o++) {
        const double exact = exp(ad_param_get(p, o) + ad_param_get(f->a, o));
        util_assert_close(((double *)p->grad)[o], exact, 1e-14);
        util_assert_close(((double *)f->a->grad)[o], exact, 1e-14);
    }
    ad_param_free(p);
}

static void a_parameter_of_the_other_type(void **state) {
    fixture *f = *state;
    ad_param *single = util_param("single", AD_F32, ad_shape1(D), 9);
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(ad_mul(ad_square(ad_use(f->tape, single)), f->x)))), AD_OK);
    for (int i = 0; i < D; i++) {
        double sum = 0;
        for (int r = 0; r < B; r++) sum += f->data[r * D + i];
        util_assert_close(((float *)single->grad)[i], 2 * ad_param_get(single, i) * sum, 1e-6);
    }
    ad_param_free(single);
}

// Weights, bias and input of a layer: dL/du = 2 u of L = sum u^2, u = W x + b.
static void gradients_of_a_linear_layer(void **state) {
    fixture *f = *state;
    const ad_var u = ad_linear(ad_use(f->tape, f->W), f->x, ad_use(f->tape, f->b));
    double gW[O * D] = {0}, gb[O] = {0};
    for (int r = 0; r < B; r++)
        for (int o = 0; o < O; o++) {
            double v = ad_param_get(f->b, o);
            for (int i = 0; i < D; i++) v += ad_param_get(f->W, o * D + i) * f->data[r * D + i];
            for (int i = 0; i < D; i++) gW[o * D + i] += 2 * v * f->data[r * D + i];
            gb[o] += 2 * v;
        }
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(ad_square(u)))), AD_OK);
    util_assert_all_close((double *)f->W->grad, gW, O * D, 1e-13);
    util_assert_all_close((double *)f->b->grad, gb, O, 1e-13);
}

// ---- a penalty on the gradient ------------------------------------------------------------------------------------

// mean over rows of |du/dx|^2, u = a.tanh(W x + b); x: [D] per row, then W, b, a.
static ad_var penalty(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var u = ad_sum(ad_mul(x[3], ad_tanh(ad_linear(x[1], x[0], x[2]))));
    return ad_mean_rows(ad_sum(ad_square(gradient(u, x[0]))));
}

static double value_with(ad_var value, ad_param *p, int64_t i, double x) {
    const double at = ad_param_get(p, i);
    double v = NAN;
    ad_param_set(p, i, x);
    util_run(value.tape);
    util_read(value, &v, 1);
    ad_param_set(p, i, at);
    return v;
}

static ad_var penalty_on(fixture *f, ad_tape *tape) {
    const ad_var x = ad_input(util_rows(tape, "data", B), ad_shape1(D), &f->source);
    const ad_var in[] = {x, ad_use(tape, f->W), ad_use(tape, f->b), ad_use(tape, f->a)};
    return penalty(NULL, in);
}

static void a_gradient_penalty_is_differentiated(void **state) {
    fixture *f = *state;
    ad_param *const p[] = {f->W, f->b, f->a};
    const double h = 1e-5;
    ad_tape *values = ad_tape_new(f->engine, AD_F64);
    const ad_var value = ad_keep(penalty_on(f, values));
    assert_int_equal(ad_backward(penalty_on(f, f->tape)), AD_OK);
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < p[k]->count; i++) {
            const double at = ad_param_get(p[k], i);
            const double up = value_with(value, p[k], i, at + h), down = value_with(value, p[k], i, at - h);
            util_assert_close(((double *)p[k]->grad)[i], (up - down) / (2 * h), 1e-8);
        }
    ad_tape_free(values);
}

static void assert_gradcheck(ad_function f, const ad_gradcheck_input *inputs, int n) {
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(f, NULL, inputs, n, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

static void a_gradient_penalty_to_second_order(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {
        {.rows = true, .shape = {1, {D}}}, {.shape = {2, {O, D}}}, {.shape = {1, {O}}}, {.shape = {1, {O}}}};
    assert_gradcheck(penalty, in, 4);
}

// ---- rearranging --------------------------------------------------------------------------------------------------

static const ad_gradcheck_input matrix_rows[] = {{.rows = true, .shape = {2, {3, 4}}}, {.shape = {2, {3, 4}}}};

static ad_var overlapping_slices(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var a = ad_slice(x[0], 1, 0, 3), b = ad_slice(x[0], 1, 1, 3), c = ad_slice(x[1], 1, 1, 3);
    return ad_mul(ad_exp(a), ad_mul(b, c));
}
static void slices(void **state) {
    (void)state;
    assert_gradcheck(overlapping_slices, matrix_rows, 2);
}

static ad_var slices_of_slices(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var inner = ad_slice(ad_slice(x[0], 0, 1, 2), 0, 1, 1);
    return ad_mul(ad_square(inner), ad_slice(x[1], 0, 0, 1));
}
static void nested_slices(void **state) {
    (void)state;
    assert_gradcheck(slices_of_slices, matrix_rows, 2);
}

static ad_var joined(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var parts[] = {ad_square(x[0]), x[1], ad_exp(x[0])};
    return ad_mul(ad_concat(parts, 3, 1), ad_concat(parts, 3, -1));
}
static void concatenations_along_the_last_axis(void **state) {
    (void)state;
    assert_gradcheck(joined, matrix_rows, 2);
}

static ad_var joined_first(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var parts[] = {ad_square(x[0]), x[1], x[0]};
    return ad_tanh(ad_concat(parts, 3, 0));
}
static void concatenations_along_the_first_axis(void **state) {
    (void)state;
    assert_gradcheck(joined_first, matrix_rows, 2);
}

// A coupling: halves split, one scaled by a function of the other, joined again.
static ad_var coupled(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var a = ad_slice(x[0], 1, 0, 2), b = ad_slice(x[0], 1, 2, 2);
    const ad_var parts[] = {a, ad_mul(b, ad_exp(ad_tanh(ad_mul(a, ad_slice(x[1], 1, 0, 2)))))};
    return ad_concat(parts, 2, 1);
}
static void splitting_and_joining(void **state) {
    (void)state;
    assert_gradcheck(coupled, matrix_rows, 2);
}

static ad_var many_joined(void *arg, const ad_var *x) {
    (void)arg;
    ad_var parts[20];
    for (int i = 0; i < 20; i++) parts[i] = ad_scale(x[i % 2], i);
    return ad_tanh(ad_concat(parts, 20, 1));
}
static void concatenations_of_many(void **state) {
    (void)state;
    assert_gradcheck(many_joined, matrix_rows, 2);
}

static ad_var transposed(void *arg, const ad_var *x) {
    (void)arg;
    const int order[] = {1, 0};
    return ad_mul(ad_transpose(ad_exp(x[0]), order), ad_transpose(x[1], order));
}
static void transposes(void **state) {
    (void)state;
    assert_gradcheck(transposed, matrix_rows, 2);
}

static ad_var taken(void *arg, const ad_var *x) {
    (void)arg;
    const int64_t index[] = {3, 0, 0, 2};  // one repeated, one left out
    return ad_mul(ad_take(ad_exp(x[0]), 1, index, 4), ad_take(x[1], -1, index, 4));
}
static void taking_elements(void **state) {
    (void)state;
    assert_gradcheck(taken, matrix_rows, 2);
}

static ad_var taken_first(void *arg, const ad_var *x) {
    (void)arg;
    const int64_t index[] = {2, 0, 1, 2};
    return ad_square(ad_take(ad_mul(x[0], x[1]), 0, index, 4));
}
static void taking_lines(void **state) {
    (void)state;
    assert_gradcheck(taken_first, matrix_rows, 2);
}

static ad_var spread(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(ad_expand(ad_sum_axis(x[0], 0), ad_shape2(3, 4)),
                  ad_expand(ad_slice(x[1], 0, 1, 1), ad_shape2(3, 4)));
}
static void expansions(void **state) {
    (void)state;
    assert_gradcheck(spread, matrix_rows, 2);
}

static ad_var reduced(void *arg, const ad_var *x) {
    (void)arg;
    const ad_var y = ad_mul(x[0], ad_exp(x[1]));
    return ad_mul(ad_sum_axis(y, 1), ad_mean_axis(ad_square(y), -1));
}
static void reductions(void **state) {
    (void)state;
    assert_gradcheck(reduced, matrix_rows, 2);
}

static ad_var reduced_rows(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(ad_sum_rows(ad_exp(x[0])), ad_mul(ad_mean_rows(ad_square(x[0])), x[1]));
}
static void reductions_over_rows(void **state) {
    (void)state;
    assert_gradcheck(reduced_rows, matrix_rows, 2);
}

// ---- not a number -------------------------------------------------------------------------------------------------

static void the_unused_branch_may_be_nan(void **state) {
    fixture *f = *state;
    const ad_var x = ad_offset(f->t, -0.8);  // both signs
    const ad_var y = ad_where(ad_greater(x, ad_number(f->tape, 0)), ad_log(x), ad_square(x));
    double expected[B];
    bool negative = false;
    for (int r = 0; r < B; r++) {
        const double v = f->data[r * D] - 0.8;
        negative = negative || v < 0;
        expected[r] = v > 0 ? 1 / v : 2 * v;
    }
    assert_true(negative);
    assert_rows(f, gradient(y, f->t), B, expected, 1e-12);
}

// An op whose own slope is NaN makes NaN of a zero cotangent, in any reverse mode: its operand is made harmless, too.
static void the_unused_branch_may_be_nan_in_weights(void **state) {
    fixture *f = *state;
    const ad_var w = ad_use(f->tape, f->a);
    const ad_var x = ad_mul(w, ad_offset(f->t, -0.8)), positive = ad_greater(x, ad_number(f->tape, 0));
    const ad_var root = ad_sqrt(ad_where(positive, x, ad_number(f->tape, 1)));
    const ad_var y = ad_where(positive, root, ad_scale(x, 0.5));
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(y))), AD_OK);
    for (int o = 0; o < O; o++) assert_true(isfinite(((double *)f->a->grad)[o]));
}

// The slope of sqrt is not a number there either, and meets a cotangent of zero.
static void the_slope_of_the_unused_branch_may_be_nan(void **state) {
    fixture *f = *state;
    const ad_var w = ad_use(f->tape, f->a);
    const ad_var x = ad_mul(w, ad_offset(f->t, -0.8));
    const ad_var y = ad_where(ad_greater(x, ad_number(f->tape, 0)), ad_sqrt(x), ad_scale(x, 0.5));
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(y))), AD_OK);
    for (int o = 0; o < O; o++) assert_true(isfinite(((double *)f->a->grad)[o]));
}

// log, 1/x and -1/x^2 are infinite at 0, where the cube is taken: 0, 0 and 6.
static void derivatives_beside_an_unused_branch_to_third_order(void **state) {
    fixture *f = *state;
    const double zero = 0, expected[] = {0, 0, 6};
    const ad_source source = util_source(&zero, 1);
    const ad_var x = ad_shared_input(f->tape, ad_shape0(), &source);
    ad_var y = ad_where(ad_greater(x, ad_number(f->tape, 0)), ad_log(x), ad_mul(x, ad_square(x))), g[3];
    for (int order = 0; order < 3; order++, y = g[order - 1]) {
        ad_grad(y, &x, 1, &g[order]);
        ad_keep(g[order]);
    }
    util_run(f->tape);
    for (int order = 0; order < 3; order++) {
        double got;
        util_read(g[order], &got, 1);
        util_assert_close(got, expected[order], 0);
    }
}

// 65 rows fill one block and one lane of the next: the other lanes must not bring log(0) into the sum.
static void log_of_65_rows_has_a_finite_weight_gradient(void **state) {
    fixture *f = *state;
    enum { N = 65 };
    double data[N * D], expected[O * D] = {0};
    util_fill(data, N * D, 5, 0.1, 3);
    const ad_source source = util_source(data, N);
    const ad_var x = ad_input(util_rows(f->tape, "more", N), ad_shape1(D), &source);
    assert_int_equal(ad_backward(ad_sum_rows(ad_sum(ad_linear(ad_use(f->tape, f->W), ad_log(x), AD_NONE)))), AD_OK);
    for (int r = 0; r < N; r++)
        for (int o = 0; o < O; o++)
            for (int i = 0; i < D; i++) expected[o * D + i] += log(data[r * D + i]);
    util_assert_all_close((double *)f->W->grad, expected, O * D, 1e-12);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(three_orders_of_a_product),
        TEST(three_orders_of_tanh),
        TEST(three_orders_of_log),
        TEST(three_orders_of_sigmoid),
        TEST(three_orders_of_softplus),
        TEST(three_orders_of_sqrt),
        TEST(three_orders_of_a_quotient),
        TEST(a_value_used_many_times),
        TEST(of_a_row_scalar_in_shared_sums_over_rows),
        TEST(in_rows_of_shared_are_per_row),
        TEST(per_row_gradients_of_weights),
        TEST(of_a_shared_loss_in_row_inputs),
        TEST(in_a_value_on_the_way),
        TEST(in_itself_is_one),
        TEST(in_what_was_not_used_is_zero),
        TEST(stop_gradient_stops),
        TEST(of_a_vector_is_an_error),
        TEST(of_shared_values_only),
        TEST(of_broadcast_operands),
        TEST(a_vjp_weights_what_it_is_given),
        TEST(jvp_of_an_elementwise_function),
        TEST(jvp_through_a_layer),
        TEST(a_jvp_is_differentiated),
        TEST(hessian_vector_product),
        TEST(a_hessian_is_symmetric),
        TEST(backward_overwrites),
        TEST(backward_add_accumulates),
        TEST(backward_gives_zeros_where_not_reached),
        TEST(backward_add_leaves_what_is_not_reached),
        TEST(the_loss_can_be_read_after_backward),
        TEST(backward_twice_on_one_tape),
        TEST(backward_then_add_on_one_tape),
        TEST(backward_of_a_parameter_itself),
        TEST(two_parameters_with_one_gradient),
        TEST(a_parameter_of_the_other_type),
        TEST(gradients_of_a_linear_layer),
        TEST(a_gradient_penalty_is_differentiated),
        TEST(a_gradient_penalty_to_second_order),
        TEST(slices),
        TEST(nested_slices),
        TEST(concatenations_along_the_last_axis),
        TEST(concatenations_along_the_first_axis),
        TEST(concatenations_of_many),
        TEST(splitting_and_joining),
        TEST(transposes),
        TEST(taking_elements),
        TEST(taking_lines),
        TEST(expansions),
        TEST(reductions),
        TEST(reductions_over_rows),
        TEST(the_unused_branch_may_be_nan),
        TEST(the_unused_branch_may_be_nan_in_weights),
        TEST(the_slope_of_the_unused_branch_may_be_nan),
        TEST(derivatives_beside_an_unused_branch_to_third_order),
        TEST(log_of_65_rows_has_a_finite_weight_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
