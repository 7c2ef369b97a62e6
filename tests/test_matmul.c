// test_matmul.c -- products of matrices against loops: shared and per row, transposed, leading dimensions broadcast.
#include "util.h"

#include <float.h>

enum { ROWS = 70 };  // two blocks, the second not full

typedef struct factor {
    ad_shape shape;
    bool rows;
    double *data;
} factor;

typedef struct sizes {
    int64_t M, K, N;
    ad_shape a, b, y;  // leading dimensions
} sizes;

static double rounded(ad_type type, double x) {
    return type == AD_F32 ? (double)(float)x : x;
}

static factor new_factor(ad_type type, ad_shape leading, int64_t i, int64_t j, bool rows, uint64_t seed) {
    factor f = {leading, rows, NULL};
    f.shape.dim[f.shape.rank++] = (int32_t)i;
    f.shape.dim[f.shape.rank++] = (int32_t)j;
    int64_t n = ad_shape_count(f.shape) * ROWS;
    f.data = malloc((size_t)(n + 1) * sizeof *f.data);
    util_fill(f.data, n, seed, -1, 1);
    for (int64_t e = 0; e < n; e++) f.data[e] = rounded(type, f.data[e]);
    return f;
}

static ad_var record(ad_tape *tape, ad_rows rows, const factor *f, ad_source *source) {
    *source = util_source(f->data, ROWS);
    return f->rows ? ad_input(rows, f->shape, source) : ad_shared_input(tape, f->shape, source);
}

// Number of the matrix of x that belongs to leading index s of y.
static int64_t matrix_of(ad_shape x, ad_shape y, int64_t s) {
    int64_t number = 0, step = 1;
    for (int i = y.rank - 1, j = x.rank - 1; j >= 0; i--, j--) {
        if (x.dim[j] != 1) number += s % y.dim[i] * step;
        step *= x.dim[j];
        s /= y.dim[i];
    }
    return number;
}

// Element (i, j), or (j, i) where transposed, of the matrix for leading index s in row r.
static double element(const factor *f, ad_shape y, int64_t s, int64_t r, int64_t i, int64_t j, bool transposed) {
    ad_shape leading = f->shape;
    leading.rank -= 2;
    int64_t columns = f->shape.dim[leading.rank + 1], size = columns * f->shape.dim[leading.rank];
    int64_t from = (f->rows ? r : 0) * ad_shape_count(f->shape) + matrix_of(leading, y, s) * size;
    return f->data[from + (transposed ? j * columns + i : i * columns + j)];
}

static void check_product(ad_type type, const sizes *z, bool a_rows, bool b_rows, int flags) {
    bool ta = flags & AD_TRANSPOSE_A, tb = flags & AD_TRANSPOSE_B;
    factor a = new_factor(type, z->a, ta ? z->K : z->M, ta ? z->M : z->K, a_rows, 1);
    factor b = new_factor(type, z->b, tb ? z->N : z->K, tb ? z->K : z->N, b_rows, 2);
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_rows rows = util_rows(tape, "rows", ROWS);
    ad_source sources[2];
    ad_var y = ad_keep(ad_matmul(record(tape, rows, &a, &sources[0]), record(tape, rows, &b, &sources[1]), flags));
    util_run(tape);
    int64_t R = a_rows || b_rows ? ROWS : 1, S = ad_shape_count(z->y), n = R * S * z->M * z->N;
    assert_int_equal(ad_has_rows(y), a_rows || b_rows);
    double *out = malloc((size_t)(n + 1) * sizeof *out), eps = type == AD_F32 ? FLT_EPSILON : DBL_EPSILON;
    util_read(y, out, n);
    for (int64_t e = 0; e < n; e++) {
        int64_t j = e % z->N, i = e / z->N % z->M, s = e / (z->N * z->M) % S, r = e / (z->N * z->M * S);
        long double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < z->K; k++) {
            long double term = (long double)element(&a, z->y, s, r, i, k, ta) * element(&b, z->y, s, r, k, j, tb);
            sum += term, magnitude += fabsl(term);
        }
        if (!(fabsl(out[e] - sum) <= (long double)(z->K + 1) * eps * magnitude))
            fail_msg("flags %d, rows %d %d: element %d is %g, not %g", flags, a_rows, b_rows, (int)e, out[e],
                     (double)sum);
    }
    free(out);
    free(a.data);
    free(b.data);
    ad_tape_free(tape);
}

static void check_all(const sizes *z) {
    for (int type = 0; type < 2; type++)
        for (int rows = 0; rows < 4; rows++)
            for (int flags = 0; flags < 4; flags++) check_product((ad_type)type, z, rows & 1, rows & 2, flags);
}

static void products_of_all_sizes(void **state) {
    static const int64_t size[][3] = {{1, 1, 1}, {2, 3, 4},  {1, 5, 1},  {7, 1, 3},    {5, 6, 9},
                                      {3, 2, 5}, {4, 17, 1}, {1, 2, 33}, {19, 20, 18}, {70, 33, 40}};
    (void)state;
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        check_all(&(sizes){size[i][0], size[i][1], size[i][2], {0}, {0}, {0}});
}

static void leading_dimensions_broadcast(void **state) {
    (void)state;
    check_all(&(sizes){2, 3, 2, {1, {4}}, {1, {4}}, {1, {4}}});
    check_all(&(sizes){2, 3, 2, {0}, {1, {3}}, {1, {3}}});
    check_all(&(sizes){2, 1, 3, {2, {2, 3}}, {0}, {2, {2, 3}}});
    check_all(&(sizes){1, 2, 2, {2, {2, 1}}, {2, {1, 3}}, {2, {2, 3}}});
    check_all(&(sizes){2, 2, 1, {1, {3}}, {3, {2, 2, 1}}, {3, {2, 2, 3}}});
    check_all(&(sizes){1, 2, 1, {4, {2, 1, 2, 1}}, {4, {1, 2, 1, 3}}, {4, {2, 2, 2, 3}}});
}

// Sums over nothing are zero, and results without elements are well formed.
static void sizes_of_zero(void **state) {
    (void)state;
    const double data[6] = {1, 2, 3, 4, 5, 6};
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var a = ad_constant(tape, ad_shape2(2, 3), data), b = ad_transpose(a, (const int[]){1, 0});
    ad_var y = ad_keep(ad_matmul(ad_slice(a, 1, 0, 0), ad_slice(b, 0, 0, 0), 0));
    ad_var none = ad_matmul(ad_slice(a, 0, 0, 0), b, 0);
    ad_var sum = ad_keep(ad_sum(none));
    assert_int_equal(ad_dim(none, 0), 0);
    assert_int_equal(ad_dim(none, 1), 2);
    util_run(tape);
    double out[4], total = 1;
    util_read(y, out, 4);
    util_read(sum, &total, 1);
    for (int i = 0; i < 4; i++) assert_true(out[i] == 0);
    assert_true(total == 0);
    ad_tape_free(tape);
}

// A row's bits are the same alone and among others, in another lane.
static void rows_are_independent(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        factor a = new_factor((ad_type)type, ad_shape0(), 5, 7, true, 3);
        factor b = new_factor((ad_type)type, ad_shape0(), 7, 6, true, 4);
        double all[ROWS * 30], alone[30];
        for (int64_t row = -1; row < ROWS; row += row < 0 ? 1 : 13) {
            ad_tape *tape = ad_tape_new(NULL, (ad_type)type);
            ad_rows rows = util_rows(tape, "rows", row < 0 ? ROWS : 1);
            const ad_source from[2] = {util_source(a.data + (row < 0 ? 0 : row * 35), ROWS - (row < 0 ? 0 : row)),
                                       util_source(b.data + (row < 0 ? 0 : row * 42), ROWS - (row < 0 ? 0 : row))};
            ad_var y = ad_keep(ad_matmul(ad_input(rows, a.shape, &from[0]), ad_input(rows, b.shape, &from[1]), 0));
            util_run(tape);
            util_read(y, row < 0 ? all : alone, row < 0 ? ROWS * 30 : 30);
            if (row >= 0) assert_memory_equal(alone, all + row * 30, sizeof alone);
            ad_tape_free(tape);
        }
        free(a.data);
        free(b.data);
    }
}

// The gradient in a shared factor is one sum over rows and leading indices.
static void gradients_sum_over_rows(void **state) {
    (void)state;
    for (int flags = 0; flags < 4; flags++) {
        bool ta = flags & AD_TRANSPOSE_A, tb = flags & AD_TRANSPOSE_B;
        factor a = new_factor(AD_F64, ad_shape0(), ta ? 3 : 2, ta ? 2 : 3, false, 5);
        factor b = new_factor(AD_F64, ad_shape1(2), tb ? 4 : 3, tb ? 3 : 4, true, 6);
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_rows rows = util_rows(tape, "rows", ROWS);
        ad_source sources[2];
        ad_var x[] = {record(tape, rows, &a, &sources[0]), record(tape, rows, &b, &sources[1])}, g;
        ad_grad(ad_sum(ad_matmul(x[0], x[1], flags)), x, 1, &g);
        ad_keep(g);
        util_run(tape);
        double out[6];
        util_read(g, out, 6);
        for (int64_t k = 0; k < 3; k++) {
            double sum = 0;
            for (int64_t r = 0; r < ROWS; r++)
                for (int64_t s = 0; s < 2; s++)
                    for (int64_t n = 0; n < 4; n++) sum += element(&b, ad_shape1(2), s, r, k, n, tb);
            for (int64_t m = 0; m < 2; m++) util_assert_close(out[ta ? k * 2 + m : m * 3 + k], sum, 1e-12);
        }
        free(a.data);
        free(b.data);
        ad_tape_free(tape);
    }
}

static void nan_propagates(void **state) {
    (void)state;
    const double a[4] = {1, NAN, 0, 1}, b[4] = {1, 2, 0, 0};
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_rows rows = util_rows(tape, "rows", 1);
    const ad_source source = util_source(a, 1);
    ad_var B = ad_constant(tape, ad_shape2(2, 2), b), A = ad_input(rows, ad_shape2(2, 2), &source);
    ad_var y = ad_keep(ad_matmul(A, B, 0)), z = ad_keep(ad_matmul(A, ad_to_rows(B, rows), 0));
    util_run(tape);
    double out[2][4];
    util_read(y, out[0], 4);
    util_read(z, out[1], 4);
    for (int i = 0; i < 2; i++) {
        assert_true(isnan(out[i][0]) && isnan(out[i][1]));
        assert_true(out[i][2] == 0 && out[i][3] == 0);
    }
    ad_tape_free(tape);
}

static void check_error(ad_shape a, ad_shape b, int flags, ad_status status, const char *text) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_matmul(ad_fill(tape, a, 1), ad_fill(tape, b, 1), flags);
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), text);
    ad_tape_free(tape);
}

static void errors_say_what_is_expected(void **state) {
    (void)state;
    check_error(ad_shape2(2, 3), ad_shape2(2, 3), 0, AD_ESHAPE, "expected matrices [...,M,K] and [...,K,N]");
    check_error(ad_shape2(2, 3), ad_shape2(2, 3), AD_TRANSPOSE_A | AD_TRANSPOSE_B, AD_ESHAPE,
                "expected matrices [...,K,M] and [...,N,K]; operands [2,3], [2,3]");
    check_error(ad_shape2(2, 3), ad_shape1(3), 0, AD_ESHAPE, "[3]");
    check_error(ad_shape3(2, 1, 1), ad_shape3(3, 1, 1), 0, AD_ESHAPE, "do not broadcast");
    check_error(ad_shape2(2, 2), ad_shape2(2, 2), 4, AD_EARG, "unknown flags 4");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_all_sizes),
        cmocka_unit_test(leading_dimensions_broadcast),
        cmocka_unit_test(sizes_of_zero),
        cmocka_unit_test(rows_are_independent),
        cmocka_unit_test(gradients_sum_over_rows),
        cmocka_unit_test(nan_propagates),
        cmocka_unit_test(errors_say_what_is_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
