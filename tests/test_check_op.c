// test_check_op.c -- ad_check_op: right ops pass, each kind of faulty op is caught and its fault named.
#include "util.h"

#include "op.h"

// ---- right kernels --------------------------------------------------------------------------------------------------
// Each for both types: y = x^2, y = a b, and y = A x for a matrix and a vector of each row, or shared.

#define BOTH(KERNEL) KERNEL(f32, float) KERNEL(f64, double)

#define SQUARE(suffix, T)                                                                         \
    static void square_##suffix(size_t n, void *y, const void *const *x, const void *attr) {      \
        (void)attr;                                                                               \
        for (size_t i = 0; i < n; i++) ((T *)y)[i] = ((const T *)x[0])[i] * ((const T *)x[0])[i]; \
    }
#define PRODUCT(suffix, T)                                                                        \
    static void product_##suffix(size_t n, void *y, const void *const *x, const void *attr) {     \
        (void)attr;                                                                               \
        for (size_t i = 0; i < n; i++) ((T *)y)[i] = ((const T *)x[0])[i] * ((const T *)x[1])[i]; \
    }
BOTH(SQUARE)
BOTH(PRODUCT)

#define AT(T, k, i, f, r) (((const T *)(k)->x[i].data)[(f) * (k)->x[i].stride + (r) * (k)->x[i].lane])

// Lanes r of R, operand A read at (i, j); what is added is a fault's.
#define TIMES(name, T, lanes, A, fault)                                                       \
    static void name(const ad_kernel *k) {                                                    \
        const int64_t I = k->shape->dim[0], J = k->x[1].shape->dim[0];                        \
        for (int64_t i = 0; i < I; i++)                                                       \
            for (int r = 0; r < (lanes); r++) {                                               \
                T sum = 0;                                                                    \
                for (int64_t j = 0; j < J; j++) sum += AT(T, k, 0, A, r) * AT(T, k, 1, j, r); \
                ((T *)k->y)[i * k->R + r] = sum + (T)(fault);                                 \
            }                                                                                 \
    }
TIMES(times_f32, float, k->R, i *J + j, 0)
TIMES(times_f64, double, k->R, i *J + j, 0)

static bool times_shape(ad_shape_call *call) {
    if (call->x[0].rank != 2 || call->x[1].rank != 1 || call->x[0].dim[1] != call->x[1].dim[0])
        return ad_shape_fail(call, "expected a matrix and a vector");
    call->y = ad_shape1(call->x[0].dim[0]);
    return true;
}

static void square_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(c->x[0], 2));
}
static void product_vjp(const ad_vjp_call *c) {
    if (c->need[0]) c->gx[0] = ad_mul(c->gy, c->x[1]);
    if (c->need[1]) c->gx[1] = ad_mul(c->gy, c->x[0]);
}
static ad_var column(ad_var v) {
    return ad_reshape(v, ad_shape2(ad_dim(v, 0), 1));
}
static void times_vjp(const ad_vjp_call *c) {
    if (c->need[0]) c->gx[0] = ad_mul(column(c->gy), c->x[1]);
    if (c->need[1]) c->gx[1] = ad_sum_axis(ad_mul(c->x[0], column(c->gy)), 0);
}
static ad_var times_expand(const ad_var *x, int n, const void *attr) {
    (void)n, (void)attr;
    return ad_sum_axis(ad_mul(x[0], x[1]), 1);
}
static ad_var product_expand(const ad_var *x, int n, const void *attr) {
    (void)n, (void)attr;
    return ad_mul(x[0], x[1]);
}

// Gradients of times: gA [I][J], then gx [J].
#define TIMES_VJP(name, T, sign)                                                        \
    static void name(const ad_kernel *k) {                                              \
        const int64_t I = k->x[0].shape->dim[0], J = k->x[0].shape->dim[1];             \
        T *gA = k->y, *gx = gA + I * J * k->R;                                          \
        for (int64_t j = 0; j < J; j++)                                                 \
            for (int r = 0; r < k->R; r++) {                                            \
                T sum = 0;                                                              \
                for (int64_t i = 0; i < I; i++) {                                       \
                    gA[(i * J + j) * k->R + r] = AT(T, k, 3, i, r) * AT(T, k, 1, j, r); \
                    sum += AT(T, k, 0, i * J + j, r) * AT(T, k, 3, i, r);               \
                }                                                                       \
                gx[j * k->R + r] = sign sum;                                            \
            }                                                                           \
    }
TIMES_VJP(times_vjp_f32, float, +)
TIMES_VJP(times_vjp_f64, double, +)

static const ad_op_test one_test[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}}};
static const ad_op_test two_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {2, {2, 3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}}}}};
static const ad_op_test times_tests[] = {
    {.n = 2, .x = {{.shape = {2, {3, 3}}, .rows = true}, {.shape = {1, {3}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {2, {2, 3}}}, {.shape = {1, {3}}, .rows = true}}}};
#define TESTS(list) .tests = list, .n_tests = sizeof list / sizeof *list

static const ad_op right_square = {.name = "my_square",
                                   .flags = AD_OP_ELEMENTWISE,
                                   .vjp = square_vjp,
                                   .lanes = {square_f32, square_f64},
                                   TESTS(one_test)};
static const ad_op right_product = {.name = "my_product",
                                    .flags = AD_OP_ELEMENTWISE,
                                    .vjp = product_vjp,
                                    .lanes = {product_f32, product_f64},
                                    TESTS(two_tests)};
static const ad_op right_times = {
    .name = "my_times", .shape = times_shape, .vjp = times_vjp, .kernel = {times_f32, times_f64}, TESTS(times_tests)};

// ---- asserting ------------------------------------------------------------------------------------------------------

static void passes(const ad_op *op) {
    ad_error error = {AD_OK, ""};
    if (ad_check_op(op, 3, &error) != AD_OK) fail_msg("%s", error.message);
}

static void caught(const ad_op *op, const char *fault) {
    ad_error error = {AD_OK, ""};
    const ad_status status = ad_check_op(op, 3, &error);
    if (status == AD_OK) fail_msg("not caught: expected \"%s\"", fault);
    assert_int_equal(status, error.status);
    util_assert_contains(error.message, fault);
    if (op->name) util_assert_contains(error.message, op->name);
}

static void vjp_caught(const ad_op *right, void (*vjp)(const ad_vjp_call *), const char *fault) {
    ad_op op = *right;
    op.vjp = vjp;
    caught(&op, fault);
}

static void kernel_caught(ad_kernel_fn f32, ad_kernel_fn f64, const char *fault) {
    ad_op op = right_times;
    op.kernel[AD_F32] = f32, op.kernel[AD_F64] = f64;
    caught(&op, fault);
}

// ---- right ops ------------------------------------------------------------------------------------------------------

static void test_right_ops(void **state) {
    (void)state;
    passes(&right_square);
    passes(&right_product);
    passes(&right_times);
}

static void test_by_expansion(void **state) {
    (void)state;
    ad_op op = right_times, product = right_product;
    op.vjp = NULL, op.expand = times_expand;
    product.vjp = NULL, product.expand = product_expand;
    passes(&op);
    passes(&product);
}

static void test_by_vjp_kernel(void **state) {
    (void)state;
    ad_op op = right_times;
    op.vjp_kernel[0] = times_vjp_f32, op.vjp_kernel[1] = times_vjp_f64;
    passes(&op);  // second order by vjp
    op.expand = times_expand;
    passes(&op);
    op.vjp = NULL;
    passes(&op);
    op.expand = NULL;
    passes(&op);  // first order only
}

static void test_without_derivative(void **state) {
    (void)state;
    ad_op op = right_times;
    op.vjp = NULL;
    passes(&op);
}

static void test_constant(void **state) {
    (void)state;
    ad_op op = right_square;
    op.vjp = NULL, op.flags |= AD_OP_CONSTANT;
    // Differences of its values are not zero: the flag is a lie.
    caught(&op, "first order");
}

// ---- wrong vjps -----------------------------------------------------------------------------------------------------

static void sign(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(c->x[0], -2));
}
static void factor(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, c->x[0]);
}
static void stale(const ad_vjp_call *c) {
    c->gx[0] = ad_scale(c->gy, 2 * 0.7);
}
static void second(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, ad_scale(ad_stop_gradient(c->x[0]), 2));
}
static void transposed(const ad_vjp_call *c) {  // A gy instead of A^T gy
    times_vjp(c);
    if (c->need[1] && ad_dim(c->x[0], 0) == ad_dim(c->x[0], 1)) c->gx[1] = ad_sum_axis(ad_mul(c->x[0], c->gy), 1);
}
// The mean over rows instead of the sum where an operand is shared.
static void unsummed(const ad_vjp_call *c) {
    product_vjp(c);
    if (c->need[1] && !ad_has_rows(c->x[1]) && ad_has_rows(c->gx[1])) c->gx[1] = ad_mean_rows(c->gx[1]);
}
// The first part of the gradient in a vector that all rows of the matrix meet, instead of the sum.
static void unreduced(const ad_vjp_call *c) {
    times_vjp(c);
    if (c->need[1]) c->gx[1] = ad_reshape(ad_slice(ad_mul(c->x[0], column(c->gy)), 0, 0, 1), ad_shape_of(c->x[1]));
}
static void together(const ad_vjp_call *c) {
    if (c->need[0] && c->need[1]) product_vjp(c);
}
static void swapped(const ad_vjp_call *c) {
    c->gx[0] = ad_mul(c->gy, c->x[0]);
    c->gx[1] = ad_mul(c->gy, c->x[1]);
}
// Off by less than first order shows; its derivative in x[0] and that of the other gradient in x[1] still differ.
static void asymmetric(const ad_vjp_call *c) {
    product_vjp(c);
    if (c->need[1]) c->gx[1] = ad_scale(c->gx[1], 1 + 2e-8);
}

static void test_wrong_vjps(void **state) {
    (void)state;
    vjp_caught(&right_square, sign, "first order, input 0");
    vjp_caught(&right_square, factor, "first order, input 0");
    vjp_caught(&right_square, stale, "first order, input 0");
    vjp_caught(&right_square, second, "second order, input 0");
    vjp_caught(&right_times, transposed, "first order, input 1");
    vjp_caught(&right_product, unsummed, "the gradient in input 1, element 0, summed over rows");
    vjp_caught(&right_times, unreduced, "first order, input 1");
    vjp_caught(&right_product, swapped, "first order, input 0");
}

static void test_a_vjp_that_ignores_what_is_needed(void **state) {
    (void)state;
    vjp_caught(&right_product, together, "some inputs only");
}

static void test_an_asymmetric_hessian(void **state) {
    (void)state;
    vjp_caught(&right_product, asymmetric, "not symmetric");
}

// ---- wrong kernels --------------------------------------------------------------------------------------------------

TIMES(rounded_f32, float, k->R, i *J + j, 1e-4)
TIMES(live_f32, float, k->live, i *J + j, 0)
TIMES(live_f64, double, k->live, i *J + j, 0)
TIMES(one_f32, float, k->R, i *J + j, k->R == 1)
TIMES(one_f64, double, k->R, i *J + j, k->R == 1)
TIMES(next_f32, float, k->R, i *J + j, AT(float, k, 1, 0, (r + 1) % k->R) > 0)
TIMES(next_f64, double, k->R, i *J + j, AT(double, k, 1, 0, (r + 1) % k->R) > 0)
TIMES(late_f32, float, k->R, i *J + j, k->row + r == 64)
TIMES(late_f64, double, k->R, i *J + j, k->row + r == 64)

static void beyond_f32(const ad_kernel *k) {
    times_f32(k);
    if (k->R == 33) ((float *)k->y)[ad_shape_count(*k->shape) * k->R] = 1;  // as no run calls it
}

static void test_wrong_kernels(void **state) {
    (void)state;
    kernel_caught(rounded_f32, times_f64, "f32 against f64");
    kernel_caught(live_f32, times_f64, "beyond the last row");
    kernel_caught(times_f32, live_f64, "beyond the last row");
    kernel_caught(times_f32, one_f64, "shared");
    kernel_caught(one_f32, times_f64, "f32 against f64");
    kernel_caught(next_f32, times_f64, "in a batch of");
    kernel_caught(times_f32, next_f64, "in a batch of");
    kernel_caught(next_f32, next_f64, "in a batch of");
    kernel_caught(late_f32, late_f64, "in a batch of");
    kernel_caught(beyond_f32, times_f64, "writes beyond its result");
}

// Clears its result before it reads: wrong where that is an operand's place.
#define CLEARED(suffix, T)                                                                         \
    static void cleared_##suffix(size_t n, void *y, const void *const *x, const void *attr) {      \
        (void)attr;                                                                                \
        for (size_t i = 0; i < n; i++) ((T *)y)[i] = 0;                                            \
        for (size_t i = 0; i < n; i++) ((T *)y)[i] += ((const T *)x[0])[i] * ((const T *)x[0])[i]; \
    }
// Four at a time, and the rest left out.
#define FOURS(suffix, T)                                                                    \
    static void fours_##suffix(size_t n, void *y, const void *const *x, const void *attr) { \
        square_##suffix(n / 4 * 4, y, x, attr);                                             \
    }
BOTH(CLEARED)
BOTH(FOURS)

static void test_wrong_lanes(void **state) {
    (void)state;
    ad_op op = right_square;
    op.lanes[0] = cleared_f32, op.lanes[1] = cleared_f64;
    caught(&op, "in place of an operand");
    op.lanes[0] = fours_f32, op.lanes[1] = square_f64;
    caught(&op, "f32 against f64");
    op.lanes[0] = square_f32, op.lanes[1] = fours_f64;
    caught(&op, "my_square");
}

// ---- wrong expansions and vjp kernels -------------------------------------------------------------------------------

static ad_var times_shifted(const ad_var *x, int n, const void *attr) {
    return ad_offset(times_expand(x, n, attr), 0.125);
}
static ad_var times_doubled(const ad_var *x, int n, const void *attr) {
    return ad_scale(times_expand(x, n, attr), 2);
}
static ad_var times_misshapen(const ad_var *x, int n, const void *attr) {
    return column(times_expand(x, n, attr));
}

static void test_wrong_expansions(void **state) {
    (void)state;
    ad_op op = right_times;
    op.vjp = NULL, op.expand = times_shifted;
    caught(&op, "against its expansion");
    op.expand = times_doubled;
    caught(&op, "first order");
    op.expand = times_misshapen;
    caught(&op, "expands to shape [3,1]");
    op.vjp = times_vjp, op.expand = times_doubled;
    caught(&op, "against its expansion");
}

TIMES_VJP(minus_vjp_f32, float, -)
TIMES_VJP(minus_vjp_f64, double, -)

static void test_wrong_vjp_kernels(void **state) {
    (void)state;
    ad_op op = right_times;
    op.vjp_kernel[0] = times_vjp_f32, op.vjp_kernel[1] = minus_vjp_f64;
    caught(&op, "order, input");
    op.vjp = NULL, op.expand = times_expand;
    caught(&op, "order, input");
    op.vjp_kernel[0] = minus_vjp_f32, op.vjp_kernel[1] = times_vjp_f64;
    caught(&op, "the gradient in input 1");
    op.expand = NULL;
    caught(&op, "f32 against f64: the gradient in input 1");
}

// ---- incomplete ops -------------------------------------------------------------------------------------------------

static void test_incomplete_ops(void **state) {
    (void)state;
    const ad_op_test backwards[] = {{.n = 1, .x = {{.shape = {1, {3}}, .low = 2, .high = 1}}}}, none[] = {{.n = 0}};
    ad_op op = right_square;
    op.name = NULL;
    caught(&op, "without a name");
    op = right_square, op.lanes[0] = NULL;
    caught(&op, "no f32 kernel");
    op = right_times, op.kernel[1] = NULL;
    caught(&op, "no f64 kernel");
    op = right_times, op.shape = NULL;
    caught(&op, "no shape rule");
    op = right_times, op.vjp_kernel[1] = times_vjp_f64;
    caught(&op, "no f32 vjp kernel");
    op = right_square, op.n_tests = 0;
    caught(&op, "no tests");
    op = right_square, op.tests = backwards;
    caught(&op, "range from 2 to 1");
    op = right_square, op.tests = none;
    caught(&op, "0 inputs");
    op = right_square, op.ulp[0] = -1;
    caught(&op, "error bound");
    assert_int_equal(ad_check_op(NULL, 1, NULL), AD_EARG);
}

static ad_var other_op(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(x[0]);
}
static void test_tests_that_do_not_use_the_op(void **state) {
    (void)state;
    const ad_op_test other[] = {{.n = 1, .x = {{.shape = {1, {3}}, .rows = true}}, .f = other_op}};
    ad_op op = right_square;
    op.tests = other;
    caught(&op, "none of its tests uses it");
}

static void test_an_op_without_a_kernel_for_the_type_fails_the_run(void **state) {
    (void)state;
    ad_op op = right_square;
    op.lanes[0] = NULL;
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    const ad_var x = ad_number(tape, 3);
    ad_keep(ad_apply(&op, &x, 1, NULL, 0));
    assert_int_equal(ad_run(tape), AD_EARG);
    util_assert_contains(ad_tape_message(tape), "my_square: the op has no kernel for f32");
    ad_tape_free(tape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right_ops),
        cmocka_unit_test(test_by_expansion),
        cmocka_unit_test(test_by_vjp_kernel),
        cmocka_unit_test(test_without_derivative),
        cmocka_unit_test(test_constant),
        cmocka_unit_test(test_wrong_vjps),
        cmocka_unit_test(test_a_vjp_that_ignores_what_is_needed),
        cmocka_unit_test(test_an_asymmetric_hessian),
        cmocka_unit_test(test_wrong_kernels),
        cmocka_unit_test(test_wrong_lanes),
        cmocka_unit_test(test_wrong_expansions),
        cmocka_unit_test(test_wrong_vjp_kernels),
        cmocka_unit_test(test_incomplete_ops),
        cmocka_unit_test(test_tests_that_do_not_use_the_op),
        cmocka_unit_test(test_an_op_without_a_kernel_for_the_type_fails_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
