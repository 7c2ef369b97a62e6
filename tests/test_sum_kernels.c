// test_sum_kernels.c -- white-box: sums over features and rows, of every instruction set, against naive ones.
#include <math.h>

#include "kernels.h"

typedef struct sum_attr {  // as in ad/ops/reduce.c
    int32_t axis, all;
} sum_attr;

static const ad_op *op_named(const isa *i, const char *name) {
    for (int k = 0; k < i->n; k++)
        if (!strcmp(i->op[k]->name, name)) return i->op[k];
    fail_msg("no op %s", name);
    return NULL;
}

enum { SUM_ROOM = 1 << 14 };
static double data[SUM_ROOM], scratch[SUM_ROOM];

static void fill(uint64_t seed) {
    for (int j = 0; j < SUM_ROOM; j++) data[j] = (float)uniform(&seed, -1, 1);
}

// The sum kernel on data, in lanes of R at stride (R = 1, stride 1, lane 0 for a shared tensor); y [count][R].
static void run_sum(const isa *i, ad_type type, ad_shape shape, sum_attr attr, int R, int stride, int lane, double *y,
                    int count) {
    static double x[SUM_ROOM], out[SUM_ROOM];
    to_type(type, data, x, SUM_ROOM);
    ad_shape y_shape = ad_shape1(count);
    ad_kernel_operand operand = {x, stride, lane, &shape};
    ad_kernel k = {.n = 1, .R = R, .live = R, .x = &operand, .y = out, .shape = &y_shape, .attr = &attr};
    op_named(i, "sum")->kernel[type](&k);
    from_type(type, out, y, count * R);
}

static void naive_sum(ad_type type, int pre, int n, int post, int R, int stride, double *y) {
    for (int p = 0; p < pre; p++)
        for (int q = 0; q < post; q++)
            for (int r = 0; r < R; r++) {
                double sum = 0;
                for (int j = 0; j < n; j++) sum += data[((p * n + j) * post + q) * stride + r];
                y[(p * post + q) * R + r] = type == AD_F32 ? (double)(float)sum : sum;
            }
}

static void check_sum(int pre, int n, int post, bool all, int R, int stride, int lane) {
    static double y[SUM_ROOM], plain[SUM_ROOM];
    int count = pre * post;
    fill(3);
    for (int type = 0; type < 2; type++) {
        ad_shape shape = all ? ad_shape2(n, 1) : ad_shape3(pre, n, post);
        naive_sum((ad_type)type, pre, n, post, R, stride, scratch);
        for (int i = 0; i < n_isas; i++) {
            run_sum(&isas[i], (ad_type)type, shape, (sum_attr){1, all}, R, stride, lane, y, count);
            if (i == 0) memcpy(plain, y, sizeof y);
            for (int j = 0; j < count * R; j++) {
                double tolerance = type == AD_F32 ? 1.2e-7 * fabs(scratch[j]) + 1e-12 : 1e-15 * n;
                if (!(fabs(y[j] - scratch[j]) <= tolerance) || y[j] != plain[j])
                    fail_msg("%s f%d [%d,%d,%d] R %d stride %d: y[%d] = %a, naive %a, plain %a", isas[i].name,
                             type ? 64 : 32, pre, n, post, R, stride, j, y[j], scratch[j], plain[j]);
            }
        }
    }
}

static void test_sum_of_rows_operand(void **state) {
    (void)state;
    static const int extents[] = {0, 1, 2, 3, 5}, lanes[] = {16, 32, 48, 64};
    for (int a = 1; a < 5; a++)
        for (int b = 0; b < 5; b++)
            for (int c = 1; c < 5; c++)
                for (int l = 0; l < 4; l++) {
                    check_sum(extents[a], extents[b], extents[c], false, lanes[l], lanes[l], 1);
                    check_sum(extents[a], extents[b], extents[c], false, lanes[l], lanes[l] + 16, 1);
                }
}

static void test_sum_of_shared_operand(void **state) {
    (void)state;
    for (int n = 0; n < 40; n++)
        for (int post = 1; post < 40; post++) check_sum(2, n, post, false, 1, 1, 0);
    check_sum(3, 7, 5, false, 1, 2, 0);
}

static void test_sum_of_everything(void **state) {
    (void)state;
    for (int n = 0; n < 100; n++) check_sum(1, n, 1, true, 1, 1, 0);
    check_sum(1, 10007, 1, true, 1, 1, 0);
    check_sum(1, 100, 1, true, 64, 64, 1);
}

static void test_sum_is_wide_inside(void **state) {
    (void)state;
    fill(3);
    data[0] = 0x1p30, data[1] = 1, data[2] = -0x1p30;
    for (int i = 0; i < n_isas; i++) {
        double y;
        run_sum(&isas[i], AD_F32, ad_shape3(1, 3, 1), (sum_attr){1, 0}, 1, 1, 0, &y, 1);
        assert_true(y == 1);
    }
}

// A lane's bits do not depend on how many lanes there are.
static void test_sum_of_a_lane_is_its_own(void **state) {
    (void)state;
    static double wide[64], narrow[16];
    fill(5);
    for (int i = 0; i < n_isas; i++) {
        run_sum(&isas[i], AD_F64, ad_shape3(1, 50, 1), (sum_attr){1, 0}, 64, 64, 1, wide, 1);
        run_sum(&isas[i], AD_F64, ad_shape3(1, 50, 1), (sum_attr){1, 0}, 16, 64, 1, narrow, 1);
        assert_memory_equal(wide, narrow, sizeof narrow);
    }
}

static void run_sum_rows(const isa *i, ad_type type, int features, int R, int stride, int live, bool first, double *y) {
    static double x[SUM_ROOM];
    to_type(type, data, x, SUM_ROOM);
    ad_shape shape = ad_shape1(features);
    ad_kernel_operand operand = {x, stride, 1, &shape};
    ad_kernel k = {.n = 1, .R = R, .live = live, .x = &operand, .y = y, .shape = &shape, .first = first};
    op_named(i, "sum_rows")->kernel[type](&k);
}

static void test_sum_rows(void **state) {
    (void)state;
    enum { F = 5, R = 64, STRIDE = 80 };
    for (int live = 1; live <= R; live++)
        for (int type = 0; type < 2; type++) {
            double plain[F], y[F];
            fill(9);
            for (int f = 0; f < F; f++)  // lanes that are no rows
                for (int r = live; r < STRIDE; r++) data[f * STRIDE + r] = NAN;
            for (int i = 0; i < n_isas; i++) {
                run_sum_rows(&isas[i], (ad_type)type, F, R, STRIDE, live, true, y);
                if (i == 0) memcpy(plain, y, sizeof y);
                for (int f = 0; f < F; f++) {
                    double sum = 0;
                    for (int r = 0; r < live; r++) sum += data[f * STRIDE + r];
                    if (!(fabs(y[f] - sum) <= 1e-13) || y[f] != plain[f])
                        fail_msg("%s f%d live %d: y[%d] = %a, naive %a, plain %a", isas[i].name, type ? 64 : 32, live,
                                 f, y[f], sum, plain[f]);
                }
            }
        }
}

static void test_sum_rows_adds_to_what_is_there(void **state) {
    (void)state;
    fill(9);
    for (int i = 0; i < n_isas; i++) {
        double once[3] = {NAN, NAN, NAN}, twice[3];
        run_sum_rows(&isas[i], AD_F32, 3, 32, 32, 30, true, once);
        memcpy(twice, once, sizeof once);
        run_sum_rows(&isas[i], AD_F32, 3, 32, 32, 30, false, twice);
        for (int f = 0; f < 3; f++) assert_true(twice[f] == 2 * once[f]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum_of_rows_operand),
        cmocka_unit_test(test_sum_of_shared_operand),
        cmocka_unit_test(test_sum_of_everything),
        cmocka_unit_test(test_sum_is_wide_inside),
        cmocka_unit_test(test_sum_of_a_lane_is_its_own),
        cmocka_unit_test(test_sum_rows),
        cmocka_unit_test(test_sum_rows_adds_to_what_is_there),
    };
    return cmocka_run_group_tests(tests, find_isas, NULL);
}
