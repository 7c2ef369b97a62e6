// test_repeat.c -- one tape recording the same program again, parts of it, or another one: always as a fresh tape would.
#include "util.h"

#include <string.h>

enum { B = 5 };

typedef struct fixture {
    ad_param *a, *b;
    double data[B * 2], beta;
    ad_source source;
} fixture;

// Variants share a beginning, and differ in order, length, constants, operands and parameters.
static ad_var program(fixture *f, ad_tape *t, int variant) {
    ad_rows rows = ad_rows_new(t, variant == 6 ? "other" : "data");
    ad_rows_set(rows, B, 0);
    ad_var x = ad_input(rows, ad_shape1(2), &f->source);
    ad_var a = ad_use(t, variant == 1 ? f->b : f->a), y = ad_mul(x, a);
    if (variant == 2) return ad_mean_rows(ad_sum(y));
    y = ad_tanh(ad_add(y, ad_number(t, variant == 3 ? 0.25 : 0.5)));
    if (variant == 4) y = ad_square(y);
    const double constants[] = {1.5, variant == 5 ? -2 : 2};
    y = ad_add(ad_mul(y, ad_constant(t, ad_shape1(2), constants)), ad_use(t, f->b));
    y = ad_mul(y, ad_scalar(t, &f->beta));
    if (variant == 7) y = ad_mul(y, ad_exp(y));
    return ad_mean_rows(ad_sum(ad_square(ad_sub(y, ad_slice(y, 0, variant == 8 ? 1 : 0, 1)))));
}

// Loss and both gradients, in one array.
static void run(fixture *f, ad_tape *t, int variant, double out[5]) {
    ad_tape_reset(t);
    ad_var loss = program(f, t, variant);
    memset(f->a->grad, 0, 2 * sizeof(double));
    memset(f->b->grad, 0, 2 * sizeof(double));
    assert_int_equal(ad_backward(loss), AD_OK);
    out[0] = ad_value(loss);
    memcpy(out + 1, f->a->grad, 2 * sizeof(double));
    memcpy(out + 3, f->b->grad, 2 * sizeof(double));
}

static void as_a_fresh_tape(fixture *f, const int *variants, int n) {
    ad_tape *used = ad_tape_new(NULL, AD_F64);
    for (int i = 0; i < n; i++) {
        ad_tape *fresh = ad_tape_new(NULL, AD_F64);
        double expected[5], got[5];
        f->beta = 0.5 + 0.1 * i;
        run(f, fresh, variants[i], expected);
        run(f, used, variants[i], got);
        assert_memory_equal(got, expected, sizeof got);
        ad_tape_free(fresh);
    }
    ad_tape_free(used);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->a = ad_param_new("a", AD_F64, ad_shape1(2), NULL);
    f->b = ad_param_new("b", AD_F64, ad_shape1(2), NULL);
    for (int i = 0; i < 2; i++) ad_param_set(f->a, i, 0.3 + i), ad_param_set(f->b, i, -0.7 + 2 * i);
    for (int i = 0; i < B * 2; i++) f->data[i] = 0.1 * i - 0.4;
    f->source = (ad_source){f->data, AD_F64, B, 0, NULL};
    *state = f;
    return 0;
}
static int tear_down(void **state) {
    fixture *f = *state;
    ad_param_free(f->a);
    ad_param_free(f->b);
    free(f);
    return 0;
}

static void the_same_again(void **state) { as_a_fresh_tape(*state, (const int[]){0, 0, 0}, 3); }
static void another_parameter_early(void **state) { as_a_fresh_tape(*state, (const int[]){0, 1, 0, 1, 1, 0}, 6); }
static void shorter_and_longer(void **state) { as_a_fresh_tape(*state, (const int[]){0, 2, 0, 7, 7, 0, 2, 2, 7}, 9); }
static void another_number(void **state) { as_a_fresh_tape(*state, (const int[]){0, 3, 3, 0, 3, 0}, 6); }
static void an_op_more_in_the_middle(void **state) { as_a_fresh_tape(*state, (const int[]){0, 4, 0, 4, 4, 0}, 6); }
static void other_constants(void **state) { as_a_fresh_tape(*state, (const int[]){0, 5, 0, 5, 5, 0, 0, 5}, 8); }
static void another_row_set(void **state) { as_a_fresh_tape(*state, (const int[]){0, 6, 0, 6, 6}, 5); }
static void another_attribute_late(void **state) { as_a_fresh_tape(*state, (const int[]){0, 8, 0, 8, 8}, 5); }
static void all_of_them_in_turn(void **state) {
    int variants[90];
    for (int i = 0; i < 90; i++) variants[i] = i * 7 % 9;
    as_a_fresh_tape(*state, variants, 90);
}

// A handle of the recording before is stale even while this one repeats it.
static void old_handles_stay_stale(void **state) {
    fixture *f = *state;
    ad_tape *t = ad_tape_new(NULL, AD_F64);
    ad_var old = program(f, t, 0);
    ad_tape_reset(t);
    (void)program(f, t, 2);
    assert_false(ad_ok(old));
    assert_true(ad_is_none(ad_none()));
    (void)ad_exp(old);
    assert_int_equal(ad_tape_status(t), AD_ESTALE);
    ad_tape_free(t);
}

// After an error nothing of the recording is taken over.
static void after_an_error(void **state) {
    fixture *f = *state;
    ad_tape *t = ad_tape_new(NULL, AD_F64);
    double before[5], after[5];
    run(f, t, 0, before);
    ad_tape_reset(t);
    (void)ad_add(program(f, t, 4), ad_fill(t, ad_shape2(2, 3), 1));
    (void)ad_add(ad_fill(t, ad_shape1(2), 1), ad_fill(t, ad_shape1(3), 1));
    assert_int_equal(ad_tape_status(t), AD_ESHAPE);
    run(f, t, 0, after);
    assert_memory_equal(before, after, sizeof before);
    ad_tape_free(t);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_same_again),         TEST(another_parameter_early), TEST(shorter_and_longer),     TEST(another_number),
        TEST(an_op_more_in_the_middle), TEST(other_constants),       TEST(another_row_set),        TEST(another_attribute_late),
        TEST(all_of_them_in_turn),    TEST(old_handles_stay_stale),  TEST(after_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
