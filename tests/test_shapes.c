// test_shapes.c -- rearrangements: values, edges, clear errors. Random ones are in test_shape_programs.c.
#include "util.h"

#include <limits.h>

typedef struct fixture {
    ad_tape *tape;
    ad_rows rows;
    double data[5 * 24];
    ad_source source;
} fixture;

static int set_up_type(void **state, ad_type type) {
    fixture *f = calloc(1, sizeof *f);
    f->tape = ad_tape_new(NULL, type);
    f->rows = util_rows(f->tape, "data", 5);
    for (int i = 0; i < 5 * 24; i++) f->data[i] = i + 1;
    f->source = util_source(f->data, 5);
    *state = f;
    return 0;
}
static int set_up(void **state) { return set_up_type(state, AD_F64); }
static int set_up_f32(void **state) { return set_up_type(state, AD_F32); }

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    free(f);
    return 0;
}

// 1, 2, 3, ... in row 0, going on in the others.
static ad_var row_value(fixture *f, ad_shape shape) { return ad_input(f->rows, shape, &f->source); }
static ad_var shared_value(fixture *f, ad_shape shape) { return ad_shared_input(f->tape, shape, &f->source); }

static void assert_value(ad_var v, int64_t n, const double *want) {
    double out[200];
    ad_keep(v);
    util_run(v.tape);
    util_read(v, out, 200);
    for (int64_t i = 0; i < n; i++)
        if (!(out[i] == want[i]) && !(isnan(out[i]) && isnan(want[i])))
            fail_msg("element %d is %g, expected %g", (int)i, out[i], want[i]);
}
#define ASSERT_VALUE(v, ...) \
    assert_value(v, sizeof(double[])__VA_ARGS__ / sizeof(double), (const double[])__VA_ARGS__)

static void assert_shape(ad_var v, ad_shape want) {
    char a[64], b[64];
    util_assert_ok(v.tape);
    if (!ad_shape_equal(ad_shape_of(v), want))
        fail_msg("shape %s, expected %s", ad_shape_print(ad_shape_of(v), a, sizeof a),
                 ad_shape_print(want, b, sizeof b));
}

// The call left that error on the tape, which starts anew.
static void assert_fails(fixture *f, ad_var v, ad_status status, const char *text) {
    assert_false(ad_ok(v));
    assert_int_equal(ad_tape_status(f->tape), status);
    util_assert_contains(ad_tape_message(f->tape), text);
    ad_tape_reset(f->tape);
    f->rows = util_rows(f->tape, "data", 5);
}

// ---- along an axis ------------------------------------------------------------------------------------------------

static void slices_with_a_step(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape2(2, 5));
    ASSERT_VALUE(ad_slice_step(x, 1, 0, 3, 2), {1, 3, 5, 6, 8, 10});
    ASSERT_VALUE(ad_slice_step(x, -1, 4, 2, -3), {5, 2, 10, 7});
    ASSERT_VALUE(ad_slice_step(x, 0, 1, 2, -1), {6, 7, 8, 9, 10, 1, 2, 3, 4, 5});
    ASSERT_VALUE(ad_slice_step(x, 1, 3, 1, INT64_MIN), {4, 9});
    assert_shape(ad_slice_step(x, 1, 5, 0, 7), ad_shape2(2, 0));
    assert_int_equal(ad_slice_step(x, 1, 1, 3, 1).id, ad_slice(x, 1, 1, 3).id);
}

static void slices_beyond_an_axis_are_refused(void **state) {
    fixture *f = *state;
    static const int64_t bad[][3] = {{0, 4, 2},  {3, 3, -2},  {5, 1, 1},  {-1, 1, 1}, {0, -1, 1}, {0, 2, 0},
                                     {6, 0, 1}, {0, 2, INT64_MAX}, {4, 2, INT64_MIN}, {0, INT64_MAX, 1}};
    for (int i = 0; i < 10; i++)
        assert_fails(f, ad_slice_step(shared_value(f, ad_shape2(2, 5)), 1, bad[i][0], bad[i][1], bad[i][2]), AD_EARG,
                     "of axis 1 of shape [2,5]");
    assert_fails(f, ad_slice_step(shared_value(f, ad_shape1(5)), 1, 0, 1, 1), AD_ESHAPE,
                 "slice_step: axis 1 is out of range for shape [5]: expected -1 to 0");
}

static void padding_with_any_number(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape2(2, 2));
    ASSERT_VALUE(ad_pad(x, 1, 1, 2, 0), {0, 1, 2, 0, 0, 0, 3, 4, 0, 0});
    ASSERT_VALUE(ad_pad(x, 0, 1, 1, -7), {-7, -7, 1, 2, 3, 4, -7, -7});
    ASSERT_VALUE(ad_pad(x, 1, 0, 1, INFINITY), {1, 2, INFINITY, 3, 4, INFINITY});
    ASSERT_VALUE(ad_pad(x, 1, 1, 0, NAN), {NAN, 1, 2, NAN, 3, 4});
    ASSERT_VALUE(ad_pad(ad_slice(x, 1, 1, 0), 1, 2, 0, 3), {3, 3, 3, 3});
    ASSERT_VALUE(ad_pad(ad_slice(x, 1, 1, 0), 1, 1, 1, 0), {0, 0, 0, 0});
    assert_int_equal(ad_pad(x, 0, 0, 0, 5).id, x.id);
    assert_fails(f, ad_pad(x, 0, -1, 0, 0), AD_EARG, "pad: -1 elements before and 0 after");
    assert_fails(f, ad_pad(shared_value(f, ad_shape1(2)), 0, INT32_MAX, 1, 0), AD_ESHAPE, "pad: shape [2]");
}

static void tiles_and_flips(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape2(2, 2));
    ASSERT_VALUE(ad_tile(x, 1, 2), {1, 2, 1, 2, 3, 4, 3, 4});
    ASSERT_VALUE(ad_tile(x, 0, 2), {1, 2, 3, 4, 1, 2, 3, 4});
    assert_shape(ad_tile(x, 0, 0), ad_shape2(0, 2));
    ASSERT_VALUE(ad_flip(x, -1), {2, 1, 4, 3});
    assert_int_equal(ad_flip(ad_slice(x, 0, 0, 1), 0).id, ad_slice(x, 0, 0, 1).id);
    assert_fails(f, ad_tile(x, 0, -1), AD_EARG, "tile: -1 times");
    assert_fails(f, ad_tile(shared_value(f, ad_shape1(2)), 0, INT32_MAX), AD_ESHAPE, "at most 2^31 - 1 elements");
}

static void scattered_elements_add_up(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape2(2, 3));
    ASSERT_VALUE(ad_scatter_add(x, 1, (const int64_t[]){3, 0, 3}, 3, 4), {2, 0, 0, 4, 5, 0, 0, 10});
    ASSERT_VALUE(ad_scatter_add(x, 1, (const int64_t[]){1, 1, 1}, 3, 2), {0, 6, 0, 15});
    ASSERT_VALUE(ad_scatter_add(x, 1, (const int64_t[]){2, 0, 1}, 3, 3), {2, 3, 1, 5, 6, 4});
    ASSERT_VALUE(ad_scatter_add(x, 1, (const int64_t[]){4, 2, 0}, 3, 5), {3, 0, 2, 0, 1, 6, 0, 5, 0, 4});
    ASSERT_VALUE(ad_scatter_add(ad_slice(x, 1, 0, 0), 1, NULL, 0, 2), {0, 0, 0, 0});
    assert_fails(f, ad_scatter_add(x, 1, (const int64_t[]){0, 4, 1}, 3, 4), AD_EARG,
                 "scatter_add: index 4 at 1: axis 1 has 4 elements");
    assert_fails(f, ad_scatter_add(shared_value(f, ad_shape1(3)), 0, (const int64_t[]){0, 1}, 2, 4), AD_EARG,
                 "2 indices for 3 elements of axis 0");
}

// 10^8 and a thousand times 1: in single precision each 1 alone would be lost.
static ad_var large_and_ones(fixture *f) {
    double values[1001] = {1e8};
    for (int i = 1; i <= 1000; i++) values[i] = 1;
    return ad_constant(f->tape, ad_shape1(1001), values);
}

static void scattered_elements_are_summed_in_double(void **state) {
    fixture *f = *state;
    int64_t index[1001] = {1, 0};
    for (int i = 2; i <= 1000; i++) index[i] = 1;
    ASSERT_VALUE(ad_scatter_add(large_and_ones(f), 0, index, 1001, 2), {1, 100001000});
}

static void gradients_of_repeated_elements_are_summed_in_double(void **state) {
    fixture *f = *state;
    ad_var x = ad_reshape(shared_value(f, ad_shape1(1)), ad_shape2(1, 1)), g;
    ad_vjp(ad_expand(x, ad_shape2(1, 1001)), ad_reshape(large_and_ones(f), ad_shape2(1, 1001)), &x, 1, &g);
    ASSERT_VALUE(g, {100001000});
}

// ---- axes ---------------------------------------------------------------------------------------------------------

static void axes_come_and_go(void **state) {
    fixture *f = *state;
    ad_var x = row_value(f, ad_shape2(2, 3)), scalar = ad_number(f->tape, 4);
    assert_shape(ad_insert_axis(x, 0), ad_shape3(1, 2, 3));
    assert_shape(ad_insert_axis(x, -1), ad_shape3(2, 3, 1));
    assert_shape(ad_insert_axis(x, 2), ad_shape3(2, 3, 1));
    assert_shape(ad_insert_axis(scalar, 0), ad_shape1(1));
    assert_shape(ad_squeeze(ad_insert_axis(x, 1), 1), ad_shape2(2, 3));
    assert_shape(ad_stack((const ad_var[]){x, x, x}, 3, 1), ad_shape3(2, 3, 3));
    ASSERT_VALUE(ad_stack((const ad_var[]){scalar, scalar}, 2, -1), {4, 4});
    assert_true(ad_is_none(ad_stack(NULL, 0, 0)));
}

static void axes_out_of_range_are_refused(void **state) {
    fixture *f = *state;
    ad_shape six = {6, {1, 1, 1, 1, 1, 2}};
#define X shared_value(f, ad_shape2(2, 3))
#define SIX ad_reshape(shared_value(f, ad_shape1(2)), six)
    assert_fails(f, ad_insert_axis(X, 3), AD_ESHAPE, "insert_axis: axis 3 of a result of 3 axes");
    assert_fails(f, ad_insert_axis(X, -4), AD_ESHAPE, "axis -4");
    assert_fails(f, ad_insert_axis(SIX, 0), AD_ESHAPE, "room for one more axis");
    assert_fails(f, ad_squeeze(X, 0), AD_ESHAPE, "squeeze: shape [2,3]: expected a dimension of 1");
    assert_fails(f, ad_diag(SIX), AD_ESHAPE, "diag");
    assert_fails(f, ad_diag(ad_number(f->tape, 1)), AD_ESHAPE, "diag: shape []");
    assert_fails(f, ad_diagonal(X), AD_ESHAPE, "diagonal: shape [2,3]: expected [...,D,D]");
    assert_fails(f, ad_tril(shared_value(f, ad_shape1(3)), 0), AD_ESHAPE, "tril: shape [3]: expected [...,M,N]");
    assert_fails(f, ad_outer(ad_number(f->tape, 1), X), AD_ESHAPE, "outer: shape []: expected [...,M]");
    assert_fails(f, ad_outer(X, ad_number(f->tape, 1)), AD_ESHAPE, "expected [...,N]");
    assert_fails(f, ad_outer(X, shared_value(f, ad_shape2(4, 5))), AD_ESHAPE,
                 "outer: leading dimensions of [2,3] and [4,5] do not broadcast");
    assert_fails(f, ad_outer(X, AD_NONE), AD_EARG, "outer: operand 1 is AD_NONE");
    assert_fails(f, ad_outer(AD_NONE, X), AD_EARG, "outer: operand 0 is AD_NONE");
    assert_fails(f, ad_outer(SIX, X), AD_ESHAPE, "outer: shape [1,1,1,1,1,2]: expected room for one more axis");
    assert_fails(f, ad_flip(X, 2), AD_ESHAPE, "flip: axis 2 is out of range for shape [2,3]");
}

static void stacks_of_misfits_are_refused(void **state) {
    fixture *f = *state;
    ad_tape *other = ad_tape_new(NULL, AD_F64);
    ad_var x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_stack((const ad_var[]){x, shared_value(f, ad_shape1(2))}, 2, 0), AD_ESHAPE,
                 "stack: parts 0 and 1 have shapes [3] and [2]");
    x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_stack((const ad_var[]){x, AD_NONE}, 2, 0), AD_EARG, "stack: operand 1 is AD_NONE");
    x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_stack((const ad_var[]){AD_NONE, x}, 2, 0), AD_EARG, "stack: operand 0 is AD_NONE");
    x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_stack(&x, 1, 3), AD_ESHAPE, "stack: axis 3 of a result of 2 axes");
    x = row_value(f, ad_shape1(3));
    ad_var z = ad_uniform(util_rows(f->tape, "other", 5), ad_shape1(3), &(ad_random){1, 0}, 0);
    assert_fails(f, ad_stack((const ad_var[]){x, z}, 2, 0), AD_EMIX, "stack: operands of two row sets");
    assert_true(ad_is_none(ad_stack(NULL, 0, 0)) && ad_is_none(ad_concat(NULL, 0, 0)));
    assert_true(ad_is_none(ad_concat((const ad_var[]){AD_NONE}, 1, 0)) && ad_is_none(ad_concat(NULL, -1, 0)));
    x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_add(x, ad_concat(NULL, 0, 0)), AD_EARG, "add: operand 1 is AD_NONE");
    x = shared_value(f, ad_shape1(3));
    assert_fails(f, ad_stack((const ad_var[]){x, ad_number(other, 1)}, 2, 0), AD_EMIX,
                 "stack: operands 0 and 1 are on different tapes");
    assert_int_equal(ad_tape_status(other), AD_EMIX);
    ad_tape_free(other);
}

// ---- matrices -----------------------------------------------------------------------------------------------------

static void diagonals(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape3(2, 2, 2));
    ASSERT_VALUE(ad_diagonal(x), {1, 4, 5, 8});
    ASSERT_VALUE(ad_diag(ad_diagonal(x)), {1, 0, 0, 4, 5, 0, 0, 8});
    assert_int_equal(ad_shape_count(ad_shape_of(ad_diag(ad_slice(x, 2, 0, 0)))), 0);
}

static void triangles(void **state) {
    fixture *f = *state;
    ad_var x = shared_value(f, ad_shape2(2, 3));
    ASSERT_VALUE(ad_tril(x, 0), {1, 0, 0, 4, 5, 0});
    ASSERT_VALUE(ad_triu(x, 0), {1, 2, 3, 0, 5, 6});
    ASSERT_VALUE(ad_tril(x, 1), {1, 2, 0, 4, 5, 6});
    ASSERT_VALUE(ad_triu(x, -1), {1, 2, 3, 4, 5, 6});
    ASSERT_VALUE(ad_tril(x, -2), {0, 0, 0, 0, 0, 0});
    ASSERT_VALUE(ad_triu(x, INT_MAX), {0, 0, 0, 0, 0, 0});
    ASSERT_VALUE(ad_triu(x, INT_MIN), {1, 2, 3, 4, 5, 6});
    ASSERT_VALUE(ad_tril(x, INT_MAX), {1, 2, 3, 4, 5, 6});
}

// Neither the values nor the cotangents left out have a say.
static void triangles_choose_and_do_not_multiply(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 3; i++) f->data[4 * i + 1] = i ? NAN : INFINITY, f->data[4 * i + 2] = -INFINITY;
    ad_var x = row_value(f, ad_shape2(2, 2)), y = ad_tril(x, 0), g;
    ad_rows_set(f->rows, 3, 0);
    ad_vjp(y, x, &x, 1, &g);
    ad_keep(g);
    ASSERT_VALUE(y, {1, 0, -INFINITY, 4, 5, 0, -INFINITY, 8, 9, 0, -INFINITY, 12});
    double out[12];
    util_read(g, out, 12);
    assert_true(out[1] == 0 && out[5] == 0 && out[9] == 0);
}

static void outer_products(void **state) {
    fixture *f = *state;
    ad_var a = shared_value(f, ad_shape1(2)), b = shared_value(f, ad_shape2(2, 3));
    ASSERT_VALUE(ad_outer(a, b), {1, 2, 3, 2, 4, 6, 4, 5, 6, 8, 10, 12});
    ad_var rows = ad_slice(row_value(f, ad_shape1(2)), 0, 0, 1);
    ASSERT_VALUE(ad_outer(a, rows), {1, 2, 3, 6, 5, 10, 7, 14, 9, 18});
    assert_shape(ad_outer(ad_slice(a, 0, 0, 0), a), ad_shape2(0, 2));
}

// ---- plans --------------------------------------------------------------------------------------------------------

// Parts that lie apart are copied, not added to zeros: -0 stays -0.
static void parts_that_lie_apart_are_copied(void **state) {
    fixture *f = *state;
    double out[12];
    ad_var x =
        ad_neg(ad_shared_input(f->tape, ad_shape2(2, 2), &(ad_source){(const double[4]){0}, AD_F64, 1, 0, NULL}));
    ad_var y[] = {ad_concat((const ad_var[]){x, x}, 2, 1), ad_scatter_add(x, 1, (const int64_t[]){2, 0}, 2, 3)};
    for (int i = 0; i < 2; i++) ad_keep(y[i]);
    util_run(f->tape);
    util_read(y[0], out, 12);
    for (int i = 0; i < 8; i++) assert_true(signbit(out[i]));
    util_read(y[1], out, 12);
    for (int i = 0; i < 6; i++) assert_true(!signbit(out[i]) == (i % 3 == 1));
}

static void gradients_of_overlapping_slices_add_up(void **state) {
    fixture *f = *state;
    for (int axis = 0; axis < 2; axis++) {
        ad_var x = ad_exp(ad_scale(shared_value(f, ad_shape2(3, 3)), 0)), g;
        ad_var y = ad_add(ad_slice(x, axis, 0, 2), ad_slice(x, axis, 1, 2));
        ad_vjp(y, ad_fill(f->tape, ad_shape_of(y), 1), &x, 1, &g);
        if (axis) ASSERT_VALUE(g, {1, 2, 1, 1, 2, 1, 1, 2, 1});
        else ASSERT_VALUE(g, {1, 1, 1, 2, 2, 2, 1, 1, 1});
    }
}

static int count_in(const char *text, const char *part) {
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

// Going back is one copy, not zeros and a sum.
static void a_transposition_is_undone_by_one_copy(void **state) {
    fixture *f = *state;
    ad_var x = ad_exp(row_value(f, ad_shape2(2, 3))), g;
    ad_var y = ad_flip(ad_transpose(x, (const int[]){1, 0}), 0);
    ad_vjp(y, ad_square(y), &x, 1, &g);
    ad_keep(g);
    char *plan = ad_explain(f->tape);
    assert_non_null(plan);
    assert_int_equal(count_in(plan, "place"), 0);
    free(plan);
}

static void the_gradient_of_a_permutation_is_its_inverse(void **state) {
    fixture *f = *state;
    ad_var x = row_value(f, ad_shape1(4)), g;
    ad_vjp(ad_take(x, 0, (const int64_t[]){2, 0, 3, 1}, 4), x, &x, 1, &g);
    ad_keep(g);
    char *plan = ad_explain(f->tape);
    assert_non_null(plan);
    assert_int_equal(count_in(plan, "  put "), 0);
    free(plan);
    ad_rows_set(f->rows, 1, 0);
    ASSERT_VALUE(g, {2, 4, 1, 3});
}

// A part that a later stage reads again is not computed inside of a whole that only this stage knows: in each of two
// blocks.
static void a_part_stored_for_a_later_stage(void **state) {
    fixture *f = *state;
    enum { ROWS = 70 };
    double data[ROWS * 2], want[ROWS];
    for (int i = 0; i < ROWS * 2; i++) data[i] = i;
    for (int i = 0; i < ROWS; i++) want[i] = 4 * i + 1 - ROWS * (2 * ROWS - 1);
    ad_source source = util_source(data, ROWS);
    ad_rows_set(f->rows, ROWS, 0);
    ad_var part = ad_sum_axis(ad_input(f->rows, ad_shape2(1, 2), &source), 1);
    ad_var total = ad_sum_rows(ad_concat((const ad_var[]){part, part}, 2, 0));
    assert_value(ad_sub(part, ad_slice(total, 0, 1, 1)), ROWS, want);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_F32(f) cmocka_unit_test_setup_teardown(f, set_up_f32, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(slices_with_a_step),
        TEST(slices_beyond_an_axis_are_refused),
        TEST(padding_with_any_number),
        TEST(tiles_and_flips),
        TEST(scattered_elements_add_up),
        TEST_F32(scattered_elements_are_summed_in_double),
        TEST_F32(gradients_of_repeated_elements_are_summed_in_double),
        TEST(axes_come_and_go),
        TEST(axes_out_of_range_are_refused),
        TEST(stacks_of_misfits_are_refused),
        TEST(diagonals),
        TEST(triangles),
        TEST(triangles_choose_and_do_not_multiply),
        TEST(outer_products),
        TEST(parts_that_lie_apart_are_copied),
        TEST(gradients_of_overlapping_slices_add_up),
        TEST(a_transposition_is_undone_by_one_copy),
        TEST(the_gradient_of_a_permutation_is_its_inverse),
        TEST(a_part_stored_for_a_later_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
