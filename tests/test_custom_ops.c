// test_custom_ops.c -- ops of a user: all five kinds, in the program and in a shared object loaded at run time. Linked
// with the shared library, as users' programs are; the first argument is that object.
#include <dlfcn.h>

#include "util.h"

#include "op.h"

enum { D = 3, ROWS = 70 };  // more than one block

#define BOTH(KERNEL) KERNEL(f32, float) KERNEL(f64, double)
#define AT(T, k, i, f, r) (((const T *)(k)->x[i].data)[(f) * (k)->x[i].stride + (r) * (k)->x[i].lane])
#define TESTS(list) .tests = list, .n_tests = sizeof list / sizeof *list

// ---- 1: a C function that composes ops ------------------------------------------------------------------------------

// exp(s) x + t, the values packed in one operand as s, then t.
static ad_var affine_composed(ad_var x, ad_var packed) {
    return ad_add(ad_mul(ad_exp(ad_slice(packed, 0, 0, D)), x), ad_slice(packed, 0, D, D));
}

// ---- 2: kernel and vjp in ops: the shared object's huber ------------------------------------------------------------

static const ad_op *huber_op;
static ad_var (*huber)(ad_var x, double delta);

// ---- 3: kernel and expand -------------------------------------------------------------------------------------------
// The same affine map in one pass; general (its operands have different shapes).

static bool affine_shape(ad_shape_call *call) {
    if (call->x[0].rank != 1 || call->x[1].rank != 1 || call->x[1].dim[0] != 2 * call->x[0].dim[0])
        return ad_shape_fail(call, "expected [D] and [2 D]");
    call->y = call->x[0];
    return true;
}
static ad_var affine_expand(const ad_var *x, int n, const void *attr) {
    (void)n, (void)attr;
    const int64_t d = ad_dim(x[0], 0);
    return ad_add(ad_mul(ad_exp(ad_slice(x[1], 0, 0, d)), x[0]), ad_slice(x[1], 0, d, d));
}
#define AFFINE(suffix, T)                                                                          \
    static void affine_##suffix(const ad_kernel *k) {                                              \
        const int64_t d = ad_shape_count(*k->shape);                                               \
        for (int64_t f = 0; f < d; f++)                                                            \
            for (int r = 0; r < k->R; r++)                                                         \
                ((T *)k->y)[f * k->R + r] =                                                        \
                    (T)exp((double)AT(T, k, 1, f, r)) * AT(T, k, 0, f, r) + AT(T, k, 1, d + f, r); \
    }
BOTH(AFFINE)
static const ad_op_test affine_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, {.shape = {1, {6}}, .rows = true}}},
    {.n = 2, .x = {{.shape = {1, {2}}, .rows = true}, {.shape = {1, {4}}}}}};
static const ad_op affine_op = {.name = "my_affine",
                                .shape = affine_shape,
                                .expand = affine_expand,
                                .kernel = {affine_f32, affine_f64},
                                TESTS(affine_tests)};
static ad_var affine(ad_var x, ad_var packed) {
    const ad_var in[] = {x, packed};
    return ad_apply(&affine_op, in, 2, NULL, 0);
}

// ---- 4: kernel and vjp kernel ---------------------------------------------------------------------------------------
// Elementwise: the power x^p of an attribute p, times a scale that broadcasts; its scratch-free vjp in one pass.

typedef struct power_attr {
    int32_t p, unused;
} power_attr;

#define POWER(suffix, T)                                                                                       \
    static T power_of_##suffix(T x, int p) {                                                                   \
        T y = 1;                                                                                               \
        for (int i = 0; i < p; i++) y *= x;                                                                    \
        return y;                                                                                              \
    }                                                                                                          \
    static void power_##suffix(size_t n, void *y, const void *const *x, const void *attr) {                    \
        for (size_t i = 0; i < n; i++)                                                                         \
            ((T *)y)[i] =                                                                                      \
                ((const T *)x[1])[i] * power_of_##suffix(((const T *)x[0])[i], ((const power_attr *)attr)->p); \
    }                                                                                                          \
    static void power_vjp_##suffix(const ad_kernel *k) { /* x, scale, y, gy */                                 \
        const int p = ((const power_attr *)k->attr)->p;                                                        \
        const int64_t n = ad_shape_count(*k->x[0].shape);                                                      \
        T *gx = k->y, *gs = gx + n * k->R;                                                                     \
        for (int64_t f = 0; f < n; f++)                                                                        \
            for (int r = 0; r < k->R; r++) {                                                                   \
                const T x = AT(T, k, 0, f, r), s = AT(T, k, 1, f, r), gy = AT(T, k, 3, f, r);                  \
                gx[f * k->R + r] = gy * s * (T)p * power_of_##suffix(x, p - 1);                                \
                gs[f * k->R + r] = gy * power_of_##suffix(x, p);                                               \
            }                                                                                                  \
    }
BOTH(POWER)
static ad_var power_test(void *arg, const ad_var *x);
static const ad_op_test power_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {1, {3}}, .rows = true}}, .f = power_test},
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, {.shape = {0, {0}}}}, .f = power_test},
    {.n = 2, .x = {{.shape = {1, {3}}}, {.shape = {2, {2, 1}}, .rows = true}}, .f = power_test}};
static const ad_op power_op = {.name = "my_power",
                               .flags = AD_OP_ELEMENTWISE,
                               .lanes = {power_f32, power_f64},
                               .vjp_kernel = {power_vjp_f32, power_vjp_f64},
                               TESTS(power_tests)};
static ad_var scaled_power(ad_var x, ad_var scale, int p) {
    const power_attr attr = {.p = p};
    const ad_var in[] = {x, scale};
    return ad_apply(&power_op, in, 2, &attr, sizeof attr);
}
static ad_var power_test(void *arg, const ad_var *x) {
    (void)arg;
    return scaled_power(x[0], x[1], 3);
}

// A row reduction: the sum of squares over rows, with scratch for no better reason than to have it.
static bool squares_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}
static size_t squares_scratch(const ad_kernel *k, ad_type type) {
    return (size_t)k->R * ad_type_size(type);
}
#define SQUARES(suffix, T)                                                                            \
    static void squares_##suffix(const ad_kernel *k) {                                                \
        T *square = k->scratch;                                                                       \
        for (int64_t f = 0; f < ad_shape_count(*k->shape); f++) {                                     \
            double sum = k->first ? 0 : ((double *)k->y)[f];                                          \
            for (int r = 0; r < k->R; r++) square[r] = AT(T, k, 0, f, r) * AT(T, k, 0, f, r);         \
            for (int r = 0; r < k->live; r++) sum += (double)square[r];                               \
            ((double *)k->y)[f] = sum;                                                                \
        }                                                                                             \
    }                                                                                                 \
    static void squares_vjp_##suffix(const ad_kernel *k) { /* x, y, gy */                             \
        T *square = k->scratch;                                                                       \
        for (int64_t f = 0; f < ad_shape_count(*k->x[0].shape); f++) {                                \
            for (int r = 0; r < k->R; r++) square[r] = 2 * AT(T, k, 0, f, r);                         \
            for (int r = 0; r < k->R; r++) ((T *)k->y)[f * k->R + r] = AT(T, k, 2, f, r) * square[r]; \
        }                                                                                             \
    }
BOTH(SQUARES)
static const ad_op_test squares_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}}};
static const ad_op squares_op = {.name = "my_squares",
                                 .flags = AD_OP_REDUCES_ROWS | AD_OP_F64_SUM,
                                 .shape = squares_shape,
                                 .kernel = {squares_f32, squares_f64},
                                 .vjp_kernel = {squares_vjp_f32, squares_vjp_f64},
                                 .scratch = squares_scratch,
                                 TESTS(squares_tests)};

// ---- 5: kernel only -------------------------------------------------------------------------------------------------
// How many elements of each row are positive; a NaN fails the run.

static bool positives_shape(ad_shape_call *call) {
    call->y = ad_shape0();
    return true;
}
#define POSITIVES(suffix, T)                                                                  \
    static void positives_##suffix(const ad_kernel *k) {                                      \
        for (int r = 0; r < k->R; r++) {                                                      \
            T n = 0;                                                                          \
            for (int64_t f = 0; f < ad_shape_count(*k->x[0].shape); f++) {                    \
                const T v = AT(T, k, 0, f, r);                                                \
                if (v != v) ad_kernel_fail(k, r, AD_ENONFINITE, "element %d is NaN", (int)f); \
                n += v > 0;                                                                   \
            }                                                                                 \
            ((T *)k->y)[r] = n;                                                               \
        }                                                                                     \
    }
BOTH(POSITIVES)
static const ad_op_test positives_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}}};
static const ad_op positives_op = {
    .name = "my_positives", .shape = positives_shape, .kernel = {positives_f32, positives_f64}, TESTS(positives_tests)};

static ad_var positives(ad_var x) {
    return ad_apply(&positives_op, &x, 1, NULL, 0);
}

// ---- checked as the library's own -----------------------------------------------------------------------------------

static void assert_checks(const ad_op *op) {
    ad_error error = {AD_OK, ""};
    if (ad_check_op(op, 20, &error) != AD_OK) fail_msg("%s", error.message);
}

static ad_var composed(void *arg, const ad_var *x) {
    (void)arg;
    return affine_composed(x[0], x[1]);
}
static void test_composed_ops_are_checked_by_gradcheck(void **state) {
    (void)state;
    const ad_gradcheck_input in[] = {{.shape = {1, {D}}, .rows = true}, {.shape = {1, {2 * D}}}};
    ad_error error = {AD_OK, ""};
    if (ad_gradcheck(composed, NULL, in, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}
static void test_kernel_and_vjp_from_a_shared_object(void **state) {
    (void)state;
    assert_checks(huber_op);
}
static void test_kernel_and_expand(void **state) {
    (void)state;
    assert_checks(&affine_op);
}
static void test_kernel_and_vjp_kernel(void **state) {
    (void)state;
    assert_checks(&power_op);
    assert_checks(&squares_op);
}
static void test_kernel_only(void **state) {
    (void)state;
    assert_checks(&positives_op);
}

// ---- used -----------------------------------------------------------------------------------------------------------

typedef struct fixture {
    ad_tape *tape;
    ad_rows rows;
    double data[ROWS * D];
    ad_source source;
    ad_var x;  // [D] per row
    ad_param *packed;
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->tape = ad_tape_new(NULL, AD_F64);
    f->rows = util_rows(f->tape, "data", ROWS);
    util_fill(f->data, ROWS * D, 5, -2, 2);
    f->source = util_source(f->data, ROWS);
    f->x = ad_input(f->rows, ad_shape1(D), &f->source);
    f->packed = util_param("packed", AD_F64, ad_shape1(2 * D), 9);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    ad_param_free(f->packed);
    free(f);
    return 0;
}

static ad_var gradient(ad_var y, ad_var x) {
    ad_var g = AD_NONE;
    ad_grad(y, &x, 1, &g);
    return g;
}

static void test_attributes_are_part_of_a_node(void **state) {
    fixture *f = *state;
    const ad_var one = ad_number(f->tape, 1), a = scaled_power(f->x, one, 2), b = scaled_power(f->x, one, 3);
    assert_int_equal(scaled_power(f->x, one, 2).id, a.id);
    assert_int_not_equal(a.id, b.id);
    double square[ROWS * D], cube[ROWS * D];
    ad_keep(a), ad_keep(b);
    util_run(f->tape);
    util_read(a, square, ROWS * D);
    util_read(b, cube, ROWS * D);
    for (int i = 0; i < ROWS * D; i++) {
        util_assert_close(square[i], f->data[i] * f->data[i], 1e-15);
        util_assert_close(cube[i], f->data[i] * f->data[i] * f->data[i], 1e-15);
    }
}

static void test_a_second_order_without_vjp_or_expand_is_refused(void **state) {
    fixture *f = *state;
    const ad_var g = gradient(ad_sum(scaled_power(f->x, ad_number(f->tape, 1), 3)), f->x);
    util_assert_ok(f->tape);
    assert_false(ad_ok(gradient(ad_sum(ad_square(g)), f->x)));
    assert_int_equal(ad_tape_status(f->tape), AD_ENOGRAD);
    util_assert_contains(ad_tape_message(f->tape),
                         "op my_power has a vjp kernel and no vjp or expand: first order only");
}

static void test_a_gradient_of_a_kernel_alone_is_refused(void **state) {
    fixture *f = *state;
    assert_false(ad_ok(gradient(positives(f->x), f->x)));
    assert_int_equal(ad_tape_status(f->tape), AD_ENOGRAD);
    util_assert_contains(ad_tape_message(f->tape), "op my_positives is not differentiable");
}

static void test_a_failing_kernel_names_op_and_row(void **state) {
    fixture *f = *state;
    f->data[66 * D + 1] = NAN;
    ad_keep(positives(f->x));
    assert_int_equal(ad_run(f->tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(f->tape), "my_positives of row 66: element 1 is NaN");
}

static void test_shapes_are_checked_at_the_call(void **state) {
    fixture *f = *state;
    affine(f->x, ad_fill(f->tape, ad_shape1(2), 1));
    assert_int_equal(ad_tape_status(f->tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(f->tape), "my_affine: expected [D] and [2 D]; operands [3] per row, [2]");
}

// x x by an expansion: each operand's gradient counts once, in every order.
static ad_var product_expand(const ad_var *x, int n, const void *attr) {
    (void)n, (void)attr;
    return ad_mul(x[0], x[1]);
}
static void product_f64(size_t n, void *y, const void *const *x, const void *attr) {
    (void)attr;
    for (size_t i = 0; i < n; i++) ((double *)y)[i] = ((const double *)x[0])[i] * ((const double *)x[1])[i];
}
static void product_vjp_f64(const ad_kernel *k) {  // x, x', y, gy
    const int64_t n = ad_shape_count(*k->x[0].shape) * k->R;
    for (int64_t i = 0; i < 2 * n; i++)
        ((double *)k->y)[i] = ((const double *)k->x[3].data)[i % n] * ((const double *)k->x[i < n ? 1 : 0].data)[i % n];
}
static void test_one_value_as_both_operands_of_an_expanded_op(void **state) {
    fixture *f = *state;
    static const ad_op by_expand = {
        .name = "my_product", .flags = AD_OP_ELEMENTWISE, .expand = product_expand, .lanes = {NULL, product_f64}};
    static const ad_op by_kernel = {.name = "my_product",
                                    .flags = AD_OP_ELEMENTWISE,
                                    .expand = product_expand,
                                    .lanes = {NULL, product_f64},
                                    .vjp_kernel = {NULL, product_vjp_f64}};
    static const ad_op *const ops[] = {&by_expand, &by_kernel};
    const ad_var pair[] = {f->x, f->x};
    for (int i = 0; i < 2; i++) {
        double first[ROWS * D], second[ROWS * D];
        const ad_var y = ad_apply(ops[i], pair, 2, NULL, 0), g = gradient(ad_sum(y), f->x);
        const ad_var h = gradient(ad_sum(ad_mul(g, f->x)), f->x);  // of 2 x^2
        ad_keep(g), ad_keep(h);
        util_run(f->tape);
        util_read(g, first, ROWS * D);
        util_read(h, second, ROWS * D);
        for (int j = 0; j < ROWS * D; j++) {
            util_assert_close(first[j], 2 * f->data[j], 1e-15);
            util_assert_close(second[j], 4 * f->data[j], 1e-15);
        }
    }
}

// ---- trained --------------------------------------------------------------------------------------------------------

// The affine map's square, weighted, in Huber's loss; and the sum of its squares. By custom ops, or the library's.
static ad_var loss_by(fixture *f, bool custom) {
    const ad_var packed = ad_use(f->tape, f->packed), y = custom ? affine(f->x, packed) : affine_composed(f->x, packed);
    const ad_var third = ad_slice(packed, 0, 0, D);
    const ad_var z = custom ? scaled_power(y, third, 2) : ad_mul(third, ad_mul(y, y));
    const ad_var w = custom ? huber(z, 1)
                            : ad_where(ad_less(ad_square(z), ad_number(f->tape, 1)), ad_scale(ad_square(z), 0.5),
                                       ad_offset(ad_sqrt(ad_square(z)), -0.5));
    const ad_var sums = custom ? ad_apply(&squares_op, &y, 1, NULL, 0) : ad_sum_rows(ad_square(y));
    return ad_add(ad_mean_rows(ad_sum(w)), ad_scale(ad_sum(sums), 0.01));
}

// A few steps of gradient descent; the parameter afterwards, and the first and last loss.
static void train(fixture *f, ad_type type, int threads, bool custom, double *trained, double loss[2]) {
    const ad_engine_options options = {.threads = threads};
    ad_engine *engine = ad_engine_new(&options, NULL);
    ad_tape *old = f->tape;
    f->tape = ad_tape_new(engine, type);
    for (int i = 0; i < 2 * D; i++) ad_param_set(f->packed, i, 0.1 * (i + 1));
    for (int step = 0; step < 8; step++, ad_tape_reset(f->tape)) {
        f->rows = util_rows(f->tape, "data", ROWS);
        f->x = ad_input(f->rows, ad_shape1(D), &f->source);
        const ad_var l = ad_keep(loss_by(f, custom));
        if (ad_backward(l) != AD_OK) fail_msg("%s", ad_tape_message(f->tape));
        loss[step > 0] = ad_value(l);
        for (int i = 0; i < 2 * D; i++)
            ad_param_set(f->packed, i, ad_param_get(f->packed, i) - 0.05 * ((double *)f->packed->grad)[i]);
    }
    for (int i = 0; i < 2 * D; i++) trained[i] = ad_param_get(f->packed, i);
    ad_tape_free(f->tape);
    ad_engine_free(engine);
    f->tape = old;
}

static void test_a_model_of_custom_ops_trains_as_one_of_the_librarys(void **state) {
    fixture *f = *state;
    double got[2 * D], want[2 * D], loss[2], expected[2];
    for (int type = 0; type < 2; type++) {
        train(f, (ad_type)type, 1, true, got, loss);
        train(f, (ad_type)type, 1, false, want, expected);
        assert_true(loss[1] < 0.8 * loss[0]);
        util_assert_all_close(loss, expected, 2, type ? 1e-12 : 1e-5);
        util_assert_all_close(got, want, 2 * D, type ? 1e-12 : 1e-5);
    }
}

static void test_threads_do_not_change_a_bit(void **state) {
    fixture *f = *state;
    double one[2 * D], three[2 * D], loss[2];
    train(f, AD_F32, 1, true, one, loss);
    train(f, AD_F32, 3, true, three, loss);
    assert_memory_equal(one, three, sizeof one);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_composed_ops_are_checked_by_gradcheck),
        cmocka_unit_test(test_kernel_and_vjp_from_a_shared_object),
        cmocka_unit_test(test_kernel_and_expand),
        cmocka_unit_test(test_kernel_and_vjp_kernel),
        cmocka_unit_test(test_kernel_only),
        cmocka_unit_test_setup_teardown(test_attributes_are_part_of_a_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_order_without_vjp_or_expand_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_gradient_of_a_kernel_alone_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_failing_kernel_names_op_and_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shapes_are_checked_at_the_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_value_as_both_operands_of_an_expanded_op, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_model_of_custom_ops_trains_as_one_of_the_librarys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads_do_not_change_a_bit, set_up, tear_down),
    };
    void *module = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!module) return fprintf(stderr, "test_custom_ops: %s\n", argc > 1 ? dlerror() : "no module given"), 1;
    const ad_op *const *ops = dlsym(module, "module_ops");
    huber_op = ops ? ops[0] : NULL;
    *(void **)(&huber) = dlsym(module, "module_huber");
    const int failed = huber_op && huber ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    return dlclose(module), failed;
}
