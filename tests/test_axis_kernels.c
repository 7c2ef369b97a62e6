// test_axis_kernels.c -- white-box: kernels along an axis, of every instruction set, in any number of lanes and with
// gaps between features, against naive loops. Arrays end where they end: nothing may be read or written beyond.
#include <math.h>

#include "kernels.h"

typedef struct attributes {  // large enough for every op's: axis, all of them, and two switches
    int32_t axis, all, first, second;
} attributes;

typedef struct subject {
    const char *op;
    int32_t attr_first;             // the first switch
    bool full;                      // result of the operand's shape
    void (*line)(const double *x, int64_t n, double *y);
    double tolerance[2];            // relative to max(1, |y|), by type; 0: exact
} subject;

// ---- naive loops over one line -------------------------------------------------------------------------------------

static void sum_line(const double *x, int64_t n, double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    *y = (double)sum;
}
static void norm_line(const double *x, int64_t n, double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (long double)x[i] * x[i];
    *y = (double)sqrtl(sum);
}
static int64_t extremum_at(const double *x, int64_t n, double sign) {
    int64_t at = 0;
    for (int64_t i = 1; i < n; i++)
        if (sign * x[i] > sign * x[at]) at = i;
    return at;
}
static void max_line(const double *x, int64_t n, double *y) { *y = x[extremum_at(x, n, 1)]; }
static void min_line(const double *x, int64_t n, double *y) { *y = x[extremum_at(x, n, -1)]; }
static void argmax_line(const double *x, int64_t n, double *y) { *y = (double)extremum_at(x, n, 1); }
static void mask_line(const double *x, int64_t n, double *y) {
    for (int64_t i = 0; i < n; i++) y[i] = i == extremum_at(x, n, 1);
}
static void prod_line(const double *x, int64_t n, double *y) {
    long double product = 1;
    for (int64_t i = 0; i < n; i++) product *= x[i];
    *y = (double)product;
}
static void cumsum_line(const double *x, int64_t n, double *y) {
    for (int64_t i = 0; i < n; i++) sum_line(x, i + 1, &y[i]);
}
static void cumprod_line(const double *x, int64_t n, double *y) {
    for (int64_t i = 0; i < n; i++) prod_line(x, i + 1, &y[i]);
}
static void cumprod_back_line(const double *x, int64_t n, double *y) {
    for (int64_t i = 0; i < n; i++) prod_line(x + i, n - i, &y[i]);
}
static long double exp_sum(const double *x, int64_t n) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += expl(x[i]);
    return sum;
}
static void logsumexp_line(const double *x, int64_t n, double *y) { *y = (double)logl(exp_sum(x, n)); }
static void softmax_line(const double *x, int64_t n, double *y) {
    const long double sum = exp_sum(x, n);
    for (int64_t i = 0; i < n; i++) y[i] = (double)(expl(x[i]) / sum);
}
static void log_softmax_line(const double *x, int64_t n, double *y) {
    const long double log_sum = logl(exp_sum(x, n));
    for (int64_t i = 0; i < n; i++) y[i] = (double)(x[i] - log_sum);
}
static void argsort_line(const double *x, int64_t n, double *y) {
    for (int64_t i = 0; i < n; i++) {
        int64_t rank = 0;
        for (int64_t j = 0; j < n; j++) rank += x[j] < x[i] || (x[j] == x[i] && j < i);
        y[rank] = (double)i;
    }
}

static const subject subjects[] = {
    {"sum", 0, false, sum_line, {1.3e-7, 1e-14}},
    {"norm", 0, false, norm_line, {1.3e-7, 1e-14}},
    {"max", 0, false, max_line, {0, 0}},
    {"min", 1, false, min_line, {0, 0}},
    {"argmax", 0, false, argmax_line, {0, 0}},
    {"extremum_mask", 0, true, mask_line, {0, 0}},
    {"prod", 0, false, prod_line, {1.3e-7, 1e-14}},
    {"cumsum", 0, true, cumsum_line, {1.3e-7, 1e-14}},
    {"cumprod", 0, true, cumprod_line, {1.3e-7, 1e-14}},
    {"cumprod", 1, true, cumprod_back_line, {1.3e-7, 1e-14}},
    {"logsumexp", 0, false, logsumexp_line, {3e-7, 1e-15}},
    {"softmax", 0, true, softmax_line, {3e-7, 1e-15}},
    {"log_softmax", 0, true, log_softmax_line, {3e-7, 1e-15}},
    {"argsort", 0, true, argsort_line, {0, 0}},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects, MOST = 1 << 16 };

// ---- running -------------------------------------------------------------------------------------------------------

static const ad_op *op_named(const isa *i, const char *name) {
    for (int k = 0; k < i->n; k++)
        if (!strcmp(i->op[k]->name, name)) return i->op[k];
    fail_msg("no op %s", name);
    return NULL;
}

typedef struct layout {  // x [pre][n][post] features, `stride` apart, of R lanes
    int64_t pre, n, post;
    int R, stride;
} layout;

static int64_t features(const layout *l) { return l->pre * l->n * l->post; }
static int64_t result_features(const layout *l, const subject *s) { return s->full ? features(l) : l->pre * l->post; }

// x's elements without the gaps, [features][R], through the kernel; *y gets the result, [features][R].
static void run(const isa *i, ad_type type, const subject *s, const layout *l, const double *x, double *y) {
    static double gaps[MOST];
    const size_t e = ad_type_size(type), n_x = (size_t)((features(l) - 1) * l->stride + l->R);
    const size_t n_y = (size_t)(result_features(l, s) * l->R);
    assert_true(n_x <= MOST);
    for (size_t j = 0; j < n_x; j++) gaps[j] = NAN;
    for (int64_t f = 0; f < features(l); f++) memcpy(gaps + f * l->stride, x + f * l->R, (size_t)l->R * sizeof *x);
    void *data = malloc(n_x * e), *out = malloc(n_y * e);
    to_type(type, gaps, data, (int)n_x);
    attributes attr = {1, 0, s->attr_first, 0};
    ad_shape x_shape = ad_shape3(l->pre, l->n, l->post);
    ad_shape y_shape = s->full ? x_shape : ad_shape2(l->pre, l->post);
    ad_kernel_operand operand = {data, l->stride, l->R > 1, &x_shape};
    ad_kernel k = {.n = 1, .R = l->R, .live = l->R, .x = &operand, .y = out, .shape = &y_shape, .attr = &attr};
    const ad_op *op = op_named(i, s->op);
    k.scratch = malloc(op->scratch ? op->scratch(&k, type) : 1);
    op->kernel[type](&k);
    from_type(type, out, y, (int)n_y);
    free(k.scratch);
    free(data);
    free(out);
}

static void naive(const subject *s, const layout *l, const double *x, double *y) {
    double line[128], result[128];
    for (int64_t p = 0; p < l->pre; p++)
        for (int64_t q = 0; q < l->post; q++)
            for (int r = 0; r < l->R; r++) {
                for (int64_t i = 0; i < l->n; i++) line[i] = x[((p * l->n + i) * l->post + q) * l->R + r];
                s->line(line, l->n, result);
                for (int64_t i = 0; i < (s->full ? l->n : 1); i++)
                    y[((s->full ? p * l->n + i : p) * l->post + q) * l->R + r] = result[i];
            }
}

static void check(const subject *s, const layout *l, uint64_t seed) {
    static double x[MOST], expected[MOST], y[MOST];
    for (int64_t j = 0; j < features(l) * l->R; j++)  // a float, often one that was there before
        x[j] = (float)(j % 3 == 2 ? x[j / 2] : uniform(&seed, -1.5, 1.5));
    naive(s, l, x, expected);
    for (int type = 0; type < 2; type++)
        for (int i = 0; i < n_isas; i++) {
            run(&isas[i], (ad_type)type, s, l, x, y);
            for (int64_t j = 0; j < result_features(l, s) * l->R; j++)
                if (!(fabs(y[j] - expected[j]) <= s->tolerance[type] * fmax(1, fabs(expected[j]))))
                    fail_msg("%s %s f%d [%d,%d,%d] R %d stride %d: y[%d] = %.17g, naive %.17g", s->op, isas[i].name,
                             type ? 64 : 32, (int)l->pre, (int)l->n, (int)l->post, l->R, l->stride, (int)j, y[j],
                             expected[j]);
        }
}

static void lanes_of_rows(void **state) {
    (void)state;
    static const int extents[] = {1, 2, 3, 7}, lanes[] = {2, 16, 32, 64, 72};
    for (int s = 0; s < SUBJECTS; s++)
        for (int a = 0; a < 4; a++)
            for (int b = 0; b < 4; b++)
                for (int c = 0; c < 3; c++)
                    for (int r = 0; r < 5; r++)
                        for (int gap = 0; gap <= 16; gap += 16) {
                            const layout l = {extents[c], extents[a], extents[b], lanes[r], lanes[r] + gap};
                            check(&subjects[s], &l, (uint64_t)(a + 4 * b));
                        }
}

static void one_lane(void **state) {
    (void)state;
    for (int s = 0; s < SUBJECTS; s++)
        for (int n = 1; n < 100; n += n < 40 ? 1 : 13)
            for (int post = 1; post < 40; post += n < 18 ? 1 : 19)
                for (int stride = 1; stride < 3; stride++) {
                    const layout l = {2, n, post, 1, stride};
                    check(&subjects[s], &l, (uint64_t)n);
                }
}

// A lane has the same bits among other lanes and in another place.
static void a_lane_is_its_own(void **state) {
    (void)state;
    static double x[MOST], wide[MOST], narrow[MOST], y[MOST];
    uint64_t seed = 7;
    const layout many = {1, 50, 1, 64, 64}, few = {1, 50, 1, 3, 64};
    for (int j = 0; j < 50 * 64; j++) x[j] = (float)uniform(&seed, -3, 3);
    for (int f = 0; f < 50; f++) memcpy(y + 3 * f, x + 64 * f + 20, 3 * sizeof *x);
    for (int s = 0; s < SUBJECTS; s++)
        for (int type = 0; type < 2; type++)
            for (int i = 0; i < n_isas; i++) {
                run(&isas[i], (ad_type)type, &subjects[s], &many, x, wide);
                run(&isas[i], (ad_type)type, &subjects[s], &few, y, narrow);
                for (int64_t f = 0; f < result_features(&many, &subjects[s]); f++)
                    if (memcmp(wide + 64 * f + 20, narrow + 3 * f, 3 * sizeof *x) != 0)
                        fail_msg("%s %s f%d: feature %d depends on the other lanes", subjects[s].op, isas[i].name,
                                 type ? 64 : 32, (int)f);
            }
}

// SLEEF's functions do, and all else is rounded exactly.
static void avx2_and_avx512_agree_in_every_bit(void **state) {
    (void)state;
    static double x[MOST], y[2][MOST];
    if (n_isas < 3) skip();
    uint64_t seed = 9;
    const layout layouts[] = {{2, 37, 1, 1, 1}, {1, 9, 2, 64, 64}, {2, 100, 1, 1, 1}};
    for (int j = 0; j < MOST; j++) x[j] = (float)uniform(&seed, -30, 30);
    for (int s = 0; s < SUBJECTS; s++)
        for (int l = 0; l < 3; l++)
            for (int type = 0; type < 2; type++) {
                run(&isas[1], (ad_type)type, &subjects[s], &layouts[l], x, y[0]);
                run(&isas[2], (ad_type)type, &subjects[s], &layouts[l], x, y[1]);
                const int64_t n = result_features(&layouts[l], &subjects[s]) * layouts[l].R;
                if (memcmp(y[0], y[1], (size_t)n * sizeof(double)) != 0)
                    fail_msg("%s, f%d, layout %d", subjects[s].op, type ? 64 : 32, l);
            }
}

// ---- two operands ---------------------------------------------------------------------------------------------------

// y of operands of [2][5][3] features, stride[i] apart, of R lanes.
static void run_two(const isa *i, const char *name, attributes attr, ad_type type, const double *x, int R,
                    const int *stride, double *y) {
    static double gaps[2][MOST], data[2][MOST], out[MOST];
    enum { F = 30 };
    ad_shape shape = ad_shape3(2, 5, 3);
    ad_kernel_operand operand[2];
    for (int o = 0; o < 2; o++) {
        for (int j = 0; j < F * stride[o]; j++) gaps[o][j] = NAN;
        for (int f = 0; f < F; f++)
            memcpy(gaps[o] + f * stride[o], x + (o * F + f) * R, (size_t)R * sizeof *x);
        to_type(type, gaps[o], data[o], F * stride[o]);
        operand[o] = (ad_kernel_operand){data[o], stride[o], R > 1, &shape};
    }
    ad_kernel k = {.n = 2, .R = R, .live = R, .x = operand, .y = out, .shape = &shape, .attr = &attr};
    op_named(i, name)->kernel[type](&k);
    from_type(type, out, y, F * R);
}

static void naive_recurrence(const double *a, const double *b, int R, bool back, bool adjoint, double *y) {
    const bool down = back != adjoint;
    for (int p = 0; p < 2; p++)
        for (int q = 0; q < 3 * R; q++) {
            double last = 0;
            for (int j = 0; j < 5; j++) {
                const int i = down ? 4 - j : j, link = adjoint ? (down ? i + 1 : i - 1) : i;
                last = b[(p * 5 + i) * 3 * R + q] + (j ? a[(p * 5 + link) * 3 * R + q] * last : 0);
                y[(p * 5 + i) * 3 * R + q] = last;
            }
        }
}

static void naive_slope(const double *g, const double *s, int R, double *y) {
    for (int p = 0; p < 2; p++)
        for (int q = 0; q < 3 * R; q++) {
            double sum = 0;
            for (int i = 0; i < 5; i++) sum += g[(p * 5 + i) * 3 * R + q] * s[(p * 5 + i) * 3 * R + q];
            for (int i = 0; i < 5; i++) {
                const int at = (p * 5 + i) * 3 * R + q;
                y[at] = s[at] * (g[at] - sum);
            }
        }
}

static void two_operands_with_gaps(void **state) {
    (void)state;
    static double x[60 * 64], y[30 * 64], want[30 * 64];
    uint64_t seed = 21;
    for (int R = 1; R <= 64; R += 21)
        for (int gap = 0; gap < 4; gap++)
            for (int kind = 0; kind < 5; kind++) {
                const int stride[2] = {R + (gap & 1 ? 7 : 0), R + (gap & 2 ? 5 : 0)};
                const attributes attr = {1, 0, kind & 1, kind / 2};
                for (int j = 0; j < 60 * R; j++) x[j] = (float)uniform(&seed, -1.5, 1.5);
                if (kind < 4) naive_recurrence(x, x + 30 * R, R, kind & 1, kind / 2, want);
                else naive_slope(x, x + 30 * R, R, want);
                for (int i = 0; i < n_isas; i++)
                    for (int type = 0; type < 2; type++) {
                        run_two(&isas[i], kind < 4 ? "recurrence" : "softmax_slope", attr, (ad_type)type, x, R, stride,
                                y);
                        for (int j = 0; j < 30 * R; j++)
                            if (!(fabs(y[j] - want[j]) <= (type ? 1e-14 : 1e-6) * fmax(1, fabs(want[j]))))
                                fail_msg("%s, kind %d, R %d, gaps %d: y[%d] = %.17g, not %.17g", isas[i].name, kind, R,
                                         gap, j, y[j], want[j]);
                    }
            }
}

// ---- over rows -----------------------------------------------------------------------------------------------------

static void run_max_rows(const isa *i, ad_type type, const double *x, int stride, int live, bool first, void *y) {
    enum { F = 3 };
    static double data[MOST];
    to_type(type, x, data, F * stride);
    ad_shape shape = ad_shape1(F);
    ad_kernel_operand operand = {data, stride, 1, &shape};
    ad_kernel k = {.n = 1, .R = 64, .live = live, .x = &operand, .y = y, .shape = &shape, .first = first};
    op_named(i, "max_rows")->kernel[type](&k);
}

static void max_over_live_lanes(void **state) {
    (void)state;
    static double x[3 * 80];
    uint64_t seed = 3;
    for (int j = 0; j < 3 * 80; j++) x[j] = (float)uniform(&seed, -2, -1);
    for (int live = 1; live <= 64; live++) {
        double padded[3 * 80];
        memcpy(padded, x, sizeof x);
        for (int f = 0; f < 3; f++)
            for (int r = live; r < 80; r++) padded[80 * f + r] = NAN;  // lanes that are no rows
        for (int i = 0; i < n_isas; i++)
            for (int type = 0; type < 2; type++) {
                double out[3] = {NAN, NAN, NAN}, y[3], expected[3];
                run_max_rows(&isas[i], (ad_type)type, padded, 80, live, true, out);
                from_type((ad_type)type, out, y, 3);
                for (int f = 0; f < 3; f++) max_line(x + 80 * f, live, &expected[f]);
                assert_memory_equal(y, expected, sizeof y);
            }
    }
}

static void max_over_rows_keeps_what_is_there(void **state) {
    (void)state;
    double x[3 * 64];
    for (int j = 0; j < 3 * 64; j++) x[j] = -(double)(j % 64) - 1;
    x[64 + 40] = NAN;
    for (int i = 0; i < n_isas; i++) {
        double y[3] = {-2, -2, 5};
        run_max_rows(&isas[i], AD_F64, x, 64, 64, false, y);
        assert_true(y[0] == -1 && isnan(y[1]) && y[2] == 5);
        for (int j = 0; j < 3 * 64; j++) x[j] = isnan(x[j]) ? -8 : x[j];
        run_max_rows(&isas[i], AD_F64, x, 64, 64, false, y);
        assert_true(y[0] == -1 && isnan(y[1]) && y[2] == 5);
        x[64 + 40] = NAN;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_of_rows),
        cmocka_unit_test(one_lane),
        cmocka_unit_test(a_lane_is_its_own),
        cmocka_unit_test(avx2_and_avx512_agree_in_every_bit),
        cmocka_unit_test(two_operands_with_gaps),
        cmocka_unit_test(max_over_live_lanes),
        cmocka_unit_test(max_over_rows_keeps_what_is_there),
    };
    return cmocka_run_group_tests(tests, find_isas, NULL);
}
