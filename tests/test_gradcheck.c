// test_gradcheck.c -- the gradient checker: right rules pass, each kind of wrong rule is caught and named.
#include "util.h"

#include "op.h"

// ---- ops under test: y = x^2, y = a b, y = x + b over rows of a matrix, y = max(x, 0) -----------------------------

static void square_lanes(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = ((const double *)x[0])[i] * ((const double *)x[0])[i];
}

static void product_lanes(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = ((const double *)x[0])[i] * ((const double *)x[1])[i];
}

static void hinge_lanes(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = ((const double *)x[0])[i] > 0 ? ((const double *)x[0])[i] : 0;
}

static bool bias_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}

// [I][J] + [J]
static void bias_kernel(const ad_kernel *k) {
    const int64_t I = k->shape->dim[0], J = k->shape->dim[1];
    for (int64_t f = 0; f < I * J; f++)
        for (int r = 0; r < k->R; r++) {
            const double x = ((const double *)k->x[0].data)[f * k->x[0].stride + r * k->x[0].lane];
            const double b = ((const double *)k->x[1].data)[f % J * k->x[1].stride + r * k->x[1].lane];
            ((double *)k->y)[f * k->R + r] = x + b;
        }
}

// Its result says in which lane it was computed.
static void lane_kernel(const ad_kernel *k) {
    for (int64_t f = 0; f < ad_shape_count(*k->shape); f++)
        for (int r = 0; r < k->R; r++)
            ((double *)k->y)[f * k->R + r] = ((const double *)k->x[0].data)[f * k->x[0].stride + r * k->x[0].lane] + r;
}

static const double zero_kink[] = {0};
static const ad_gradcheck_input one_row_input[] = {{.rows = true, .shape = {1, {3}}}};
static const ad_gradcheck_input one_shared_input[] = {{.rows = false, .shape = {1, {3}}}};
static const ad_gradcheck_input two_row_inputs[] = {{.rows = true, .shape = {1, {3}}},
                                                    {.rows = true, .shape = {1, {3}}}};
static const ad_gradcheck_input row_and_shared[] = {{.rows = true, .shape = {1, {3}}}, {.shape = {1, {3}}}};
static const ad_gradcheck_input matrix_and_bias[] = {{.rows = true, .shape = {2, {2, 3}}},
                                                     {.rows = true, .shape = {1, {3}}}};
static const ad_gradcheck_input hinge_input[] = {{.rows = true, .shape = {1, {3}}, .kinks = zero_kink, .n_kinks = 1}};

typedef struct application {
    const ad_op *op;
    int n;
} application;

static ad_var apply(void *arg, const ad_var *x) {
    const application *a = arg;
    return ad_apply(a->op, x, a->n, NULL, 0);
}

static ad_status check_op(const ad_op *op, const ad_gradcheck_input *inputs, int n, ad_error *error) {
    application a = {op, n};
    return ad_gradcheck(apply, &a, inputs, n, NULL, error);
}

static void assert_passes(const ad_op *op, const ad_gradcheck_input *inputs, int n) {
    ad_error error = {AD_OK, ""};
    if (check_op(op, inputs, n, &error) != AD_OK) fail_msg("%s", error.message);
}

static void assert_caught(const ad_op *op, const ad_gradcheck_input *inputs, int n, const char *order,
                          const char *input) {
    ad_error error = {AD_OK, ""};
    assert_int_equal(check_op(op, inputs, n, &error), AD_ENOGRAD);
    util_assert_contains(error.message, order);
    util_assert_contains(error.message, input);
    util_assert_contains(error.message, "element");
}

static ad_op elementwise(ad_lanes_fn lanes, void (*vjp)(const ad_vjp_call *)) {
    const ad_op op = {.name = "test op", .flags = AD_OP_ELEMENTWISE, .vjp = vjp, .lanes = {NULL, lanes}};
    return op;
}

static ad_op bias_op(void (*vjp)(const ad_vjp_call *)) {
    const ad_op op = {.name = "test bias", .shape = bias_shape, .vjp = vjp, .kernel = {NULL, bias_kernel}};
    return op;
}

// ---- right rules --------------------------------------------------------------------------------------------------

static void square_right(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(c->x[0], 2));
}
static void product_right(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, c->x[1]);
    c->gx[1] = ad_mul(c->gy, c->x[0]);
}
static void bias_right(const ad_vjp_call *c) {
    c->gx[0] = c->gy;
    c->gx[1] = ad_sum_axis(c->gy, 0);
}
static void hinge_right(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_greater(c->x[0], ad_number(c->y.tape, 0)));
}

static void right_rules_pass(void **state) {
    (void)state;
    const ad_op square = elementwise(square_lanes, square_right), product = elementwise(product_lanes, product_right);
    const ad_op hinge = elementwise(hinge_lanes, hinge_right), bias = bias_op(bias_right);
    assert_passes(&square, one_row_input, 1);
    assert_passes(&square, one_shared_input, 1);
    assert_passes(&product, two_row_inputs, 2);
    assert_passes(&product, row_and_shared, 2);
    assert_passes(&bias, matrix_and_bias, 2);
    assert_passes(&hinge, hinge_input, 1);
}

// A cotangent left in the result's shape: the engine sums over what was broadcast.
static const ad_gradcheck_input matrix_and_column[] = {{.rows = true, .shape = {2, {2, 3}}}, {.shape = {2, {2, 1}}}};
static void column_kernel(const ad_kernel *k) {  // [2][3] times [2][1]
    const ad_kernel_operand *x = &k->x[0], *b = &k->x[1];
    for (int64_t f = 0; f < 6; f++)
        for (int r = 0; r < k->R; r++)
            ((double *)k->y)[f * k->R + r] = ((const double *)x->data)[f * x->stride + r * x->lane] *
                                             ((const double *)b->data)[f / 3 * b->stride + r * b->lane];
}
static void column_right(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, c->x[1]);
    c->gx[1] = ad_mul(c->gy, c->x[0]);
}
static void broadcast_cotangents_are_summed(void **state) {
    (void)state;
    const ad_op op = {.name = "test column", .shape = bias_shape, .vjp = column_right, .kernel = {NULL, column_kernel}};
    assert_passes(&op, matrix_and_column, 2);
}

// Derivatives from simpler ops alone.
static ad_var product_expanded(const ad_var *x, int n, const void *attr) {
    (void)n;
    (void)attr;
    return ad_mul(x[0], x[1]);
}
static void an_op_may_be_differentiated_by_what_it_expands_to(void **state) {
    (void)state;
    ad_op op = elementwise(product_lanes, NULL);
    op.expand = product_expanded;
    assert_passes(&op, two_row_inputs, 2);
    assert_passes(&op, row_and_shared, 2);
}

// ---- wrong rules --------------------------------------------------------------------------------------------------

static void square_sign(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(c->x[0], -2));
}
static void wrong_sign(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_sign);
    assert_caught(&op, one_row_input, 1, "first order", "input 0");
}

static void square_factor(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, c->x[0]);
}
static void wrong_factor(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_factor);
    assert_caught(&op, one_row_input, 1, "first order", "input 0");
}

static void square_slightly_off(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(c->x[0], 2 + 4e-6));
}
static void factor_off_by_two_in_a_million(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_slightly_off);
    assert_caught(&op, one_row_input, 1, "first order", "input 0");
}

// Keeps the cotangent of one element of the broadcast axis instead of their sum.
static void bias_no_sum(const ad_vjp_call *c) {
    c->gx[0] = c->gy;
    c->gx[1] = ad_reshape(ad_slice(c->gy, 0, 0, 1), ad_shape_of(c->x[1]));
}
static void missing_sum_over_a_broadcast_axis(void **state) {
    (void)state;
    const ad_op op = bias_op(bias_no_sum);
    assert_caught(&op, matrix_and_bias, 2, "first order", "input 1");
}

// The mean over rows where a shared operand's gradient is the sum.
static void product_mean_rows(const ad_vjp_call *c) {
    product_right(c);
    c->gx[1] = ad_mean_rows(c->gx[1]);
}
static void missing_sum_over_rows(void **state) {
    (void)state;
    const ad_op op = elementwise(product_lanes, product_mean_rows);
    assert_caught(&op, row_and_shared, 2, "first order", "input 1");
}

static void product_wrong_operand(const ad_vjp_call *c) {
    product_right(c);
    c->gx[1] = ad_mul(c->gy, c->x[1]);
}
static void wrong_operand(void **state) {
    (void)state;
    const ad_op op = elementwise(product_lanes, product_wrong_operand);
    assert_caught(&op, two_row_inputs, 2, "first order", "input 1");
}

// The slope at one point, used at all.
static void square_stale(const ad_vjp_call *c) {
    c->gx[0] = ad_scale(c->gy, 2 * 0.7);
}
static void stale_value(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_stale);
    assert_caught(&op, one_row_input, 1, "first order", "input 0");
}

// The value of another row: the mean over the batch.
static void square_other_rows(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(ad_mean_rows(c->x[0]), 2));
}
static void value_of_other_rows(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_other_rows);
    assert_caught(&op, one_row_input, 1, "first order", "row");
}

static void square_forgotten(const ad_vjp_call *c) {
    (void)c;
}
static void gradient_left_zero(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_forgotten);
    assert_caught(&op, one_row_input, 1, "first order", "input 0");
}

static void square_nan(const ad_vjp_call *c) {
    square_right(c);
    c->gx[0] = ad_mul(c->gx[0], ad_sqrt(ad_offset(ad_neg(ad_square(c->x[0])), -1)));
}
static void gradient_is_nan(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_nan);
    assert_caught(&op, one_row_input, 1, "first order", "nan");
}

// Right in value, but its own derivative is lost.
static void square_stopped(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(ad_stop_gradient(c->x[0]), 2));
}
static void wrong_at_second_order_only(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_stopped);
    assert_caught(&op, one_row_input, 1, "second order", "input 0");
}

static void first_order_alone_can_be_asked_for(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, square_stopped);
    application a = {&op, 1};
    const ad_gradcheck_options first = {.order = 1};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(apply, &a, one_row_input, 1, &first, &error) != AD_OK) fail_msg("%s", error.message);
}

// Slope 1/2 where |x| < 0.02, which points spread over the range hardly ever meet.
static void hinge_smoothed(const ad_vjp_call *c) {
    const ad_var step = ad_greater(c->x[0], ad_number(c->y.tape, 0));
    const ad_var close = ad_less(ad_square(c->x[0]), ad_number(c->y.tape, 0.02 * 0.02));
    c->gx[0] = ad_mul(c->gy, ad_where(close, ad_number(c->y.tape, 0.5), step));
}
static void wrong_close_to_a_kink(void **state) {
    (void)state;
    const ad_op op = elementwise(hinge_lanes, hinge_smoothed);
    assert_caught(&op, hinge_input, 1, "first order", "input 0");
}

static void hinge_left(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_where(ad_greater(c->x[0], ad_number(c->y.tape, 0)), ad_number(c->y.tape, 1),
                                      ad_number(c->y.tape, 0.01)));
}
static void wrong_on_one_side_of_a_kink(void **state) {
    (void)state;
    const ad_op op = elementwise(hinge_lanes, hinge_left);
    assert_caught(&op, hinge_input, 1, "first order", "input 0");
}

static void lane_right(const ad_vjp_call *c) {
    c->gx[0] = c->gy;
}
static void value_depends_on_the_batch(void **state) {
    (void)state;
    const ad_op op = {.name = "test lane", .shape = bias_shape, .vjp = lane_right, .kernel = {NULL, lane_kernel}};
    ad_error error = {AD_OK, ""};
    assert_int_equal(check_op(&op, one_row_input, 1, &error), AD_ENOGRAD);
    util_assert_contains(error.message, "alone");
}

// ---- functions ----------------------------------------------------------------------------------------------------

// max(a, b): its kinks are where a = b, which no list of points can say.
static ad_var larger(void *arg, const ad_var *x) {
    (void)arg;
    return ad_where(ad_greater(x[0], x[1]), x[0], x[1]);
}
static void kinks_between_inputs_are_stepped_around(void **state) {
    (void)state;
    const ad_gradcheck_options many = {.cases = 100};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(larger, NULL, two_row_inputs, 2, &many, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var centred(void *arg, const ad_var *x) {
    (void)arg;
    return ad_exp(ad_sub(x[0], ad_mean_rows(x[0])));
}
static void rows_may_meet_in_the_function(void **state) {
    (void)state;
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(centred, NULL, one_row_input, 1, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var counted(void *arg, const ad_var *x) {
    (void)arg;
    return ad_div(x[0], ad_row_count(ad_rows_of(x[0])));
}
static void the_number_of_rows_may_enter_the_function(void **state) {
    (void)state;
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(counted, NULL, one_row_input, 1, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var noisy(void *arg, const ad_var *x) {
    return ad_mul(x[0], ad_normal(ad_rows_of(x[0]), ad_shape1(3), arg, 1));
}
static void random_numbers_may_enter_the_function(void **state) {
    (void)state;
    ad_random random = {1, 2};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(noisy, &random, one_row_input, 1, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var logarithm(void *arg, const ad_var *x) {
    (void)arg;
    return ad_log(x[0]);
}
static void steps_stay_inside_the_range(void **state) {
    (void)state;
    const ad_gradcheck_input positive[] = {{.rows = true, .shape = {1, {3}}, .low = 1e-3, .high = 2}};
    const ad_gradcheck_options loose = {.tolerance2 = 1e-5};  // slopes to 1e6 close to 0
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(logarithm, NULL, positive, 1, &loose, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var misshapen(void *arg, const ad_var *x) {
    (void)arg;
    return ad_add(x[0], ad_reshape(x[0], ad_shape1(7)));
}
static void a_function_that_fails_is_reported(void **state) {
    (void)state;
    ad_error error = {AD_OK, ""};
    assert_int_equal(ad_gradcheck(misshapen, NULL, one_row_input, 1, NULL, &error), AD_ESHAPE);
    util_assert_contains(error.message, "reshape");
}

static ad_var nothing(void *arg, const ad_var *x) {
    (void)arg;
    (void)x;
    return AD_NONE;
}
static void a_function_without_value_is_reported(void **state) {
    (void)state;
    ad_error error = {AD_OK, ""};
    assert_int_equal(ad_gradcheck(nothing, NULL, one_row_input, 1, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "function");
}

static void an_op_without_derivative_is_reported(void **state) {
    (void)state;
    const ad_op op = elementwise(square_lanes, NULL);
    ad_error error = {AD_OK, ""};
    assert_int_equal(check_op(&op, one_row_input, 1, &error), AD_ENOGRAD);
    util_assert_contains(error.message, "test op");
}

static void bad_arguments_are_reported(void **state) {
    (void)state;
    const ad_gradcheck_input backwards[] = {{.shape = {1, {3}}, .low = 1, .high = -1}};
    const ad_gradcheck_input misshaped[] = {{.shape = {1, {-3}}}};
    ad_error error = {AD_OK, ""};
    assert_int_equal(ad_gradcheck(NULL, NULL, one_row_input, 1, NULL, &error), AD_EARG);
    assert_int_equal(ad_gradcheck(logarithm, NULL, one_row_input, 0, NULL, &error), AD_EARG);
    assert_int_equal(ad_gradcheck(logarithm, NULL, backwards, 1, NULL, &error), AD_EARG);
    assert_int_equal(ad_gradcheck(logarithm, NULL, misshaped, 1, NULL, &error), AD_ESHAPE);
    assert_int_equal(ad_gradcheck(logarithm, NULL, backwards, 1, NULL, NULL), AD_EARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_rules_pass),
        cmocka_unit_test(broadcast_cotangents_are_summed),
        cmocka_unit_test(an_op_may_be_differentiated_by_what_it_expands_to),
        cmocka_unit_test(wrong_sign),
        cmocka_unit_test(wrong_factor),
        cmocka_unit_test(factor_off_by_two_in_a_million),
        cmocka_unit_test(missing_sum_over_a_broadcast_axis),
        cmocka_unit_test(missing_sum_over_rows),
        cmocka_unit_test(wrong_operand),
        cmocka_unit_test(stale_value),
        cmocka_unit_test(value_of_other_rows),
        cmocka_unit_test(gradient_left_zero),
        cmocka_unit_test(gradient_is_nan),
        cmocka_unit_test(wrong_at_second_order_only),
        cmocka_unit_test(first_order_alone_can_be_asked_for),
        cmocka_unit_test(wrong_close_to_a_kink),
        cmocka_unit_test(wrong_on_one_side_of_a_kink),
        cmocka_unit_test(value_depends_on_the_batch),
        cmocka_unit_test(kinks_between_inputs_are_stepped_around),
        cmocka_unit_test(rows_may_meet_in_the_function),
        cmocka_unit_test(the_number_of_rows_may_enter_the_function),
        cmocka_unit_test(random_numbers_may_enter_the_function),
        cmocka_unit_test(steps_stay_inside_the_range),
        cmocka_unit_test(a_function_that_fails_is_reported),
        cmocka_unit_test(a_function_without_value_is_reported),
        cmocka_unit_test(an_op_without_derivative_is_reported),
        cmocka_unit_test(bad_arguments_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
