// test_reductions.c -- reductions, softmax and scans through the public calls: values against naive loops, edges,
// errors, gradients where a formula could go wrong, and bits that depend on neither batch nor threads.
#include <float.h>

#include "npz.h"

typedef ad_var (*along_axis)(ad_var x, int axis);
typedef ad_var (*along_all)(ad_var x);

// ---- the calls, and loops that do the same to one line -------------------------------------------------------------

static ad_var variance0_axis(ad_var x, int axis) { return ad_variance_axis(x, axis, 0); }
static ad_var variance1_axis(ad_var x, int axis) { return ad_variance_axis(x, axis, 1); }
static ad_var variance0(ad_var x) { return ad_variance(x, 0); }
static ad_var variance1(ad_var x) { return ad_variance(x, 1); }

static void sum_line(const double *x, int64_t n, double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    *y = (double)sum;
}
static void mean_line(const double *x, int64_t n, double *y) {
    sum_line(x, n, y);
    *y /= (double)n;
}
static void squares_line(const double *x, int64_t n, double around, double divisor, double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += ((long double)x[i] - around) * ((long double)x[i] - around);
    *y = (double)(sum / divisor);
}
static void variance0_line(const double *x, int64_t n, double *y) {
    double mean;
    mean_line(x, n, &mean);
    squares_line(x, n, mean, (double)n, y);
}
static void variance1_line(const double *x, int64_t n, double *y) {
    double mean;
    mean_line(x, n, &mean);
    squares_line(x, n, mean, (double)n - 1, y);
}
static void norm_line(const double *x, int64_t n, double *y) {
    squares_line(x, n, 0, 1, y);
    *y = sqrt(*y);
}
static void prod_line(const double *x, int64_t n, double *y) {
    long double product = 1;
    for (int64_t i = 0; i < n; i++) product *= x[i];
    *y = (double)product;
}
static void max_line(const double *x, int64_t n, double *y) {
    *y = x[0];
    for (int64_t i = 1; i < n; i++) *y = fmax(*y, x[i]);
}
static void min_line(const double *x, int64_t n, double *y) {
    *y = x[0];
    for (int64_t i = 1; i < n; i++) *y = fmin(*y, x[i]);
}
static void argmax_line(const double *x, int64_t n, double *y) {
    *y = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[(int64_t)*y]) *y = (double)i;
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
static void cumsum_line(const double *x, int64_t n, double *y) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) y[i] = (double)(sum += x[i]);
}
static void cumprod_line(const double *x, int64_t n, double *y) {
    long double product = 1;
    for (int64_t i = 0; i < n; i++) y[i] = (double)(product *= x[i]);
}

typedef struct subject {
    const char *name;
    along_axis axis;
    along_all all;  // NULL: there is no such form, and the result has x's shape
    void (*line)(const double *x, int64_t n, double *y);
    double tolerance[2];  // by type, relative to max(1, |y|)
    int64_t least;        // elements needed
} subject;
static const subject subjects[] = {
    {"sum", ad_sum_axis, ad_sum, sum_line, {1e-7, 1e-14}, 0},
    {"mean", ad_mean_axis, ad_mean, mean_line, {2e-7, 1e-14}, 1},
    {"variance, ddof 0", variance0_axis, variance0, variance0_line, {1e-6, 1e-13}, 1},
    {"variance, ddof 1", variance1_axis, variance1, variance1_line, {1e-6, 1e-13}, 2},
    {"norm", ad_norm_axis, ad_norm, norm_line, {1e-7, 3e-14}, 0},
    {"prod", ad_prod_axis, ad_prod, prod_line, {1e-7, 1e-14}, 0},
    {"max", ad_max_axis, ad_max, max_line, {0, 0}, 1},
    {"min", ad_min_axis, ad_min, min_line, {0, 0}, 1},
    {"argmax", ad_argmax, NULL, argmax_line, {0, 0}, 1},
    {"logsumexp", ad_logsumexp_axis, ad_logsumexp, logsumexp_line, {3e-7, 1e-15}, 0},
    {"softmax", ad_softmax, NULL, softmax_line, {3e-7, 1e-15}, 0},
    {"log_softmax", ad_log_softmax, NULL, log_softmax_line, {3e-7, 2e-15}, 0},
    {"cumsum", ad_cumsum, NULL, cumsum_line, {1e-7, 1e-14}, 0},
    {"cumprod", ad_cumprod, NULL, cumprod_line, {1e-7, 1e-14}, 0},
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects, ARGMAX = 8, MOST = 40000 };

// ---- values --------------------------------------------------------------------------------------------------------

static double x_data[MOST], expected[MOST];

// Numbers that are floats, some of them equal.
static void fill(int64_t n, uint64_t seed) {
    assert_true(n <= MOST);
    for (int64_t j = 0; j < n; j++) x_data[j] = (float)(j % 5 == 4 ? x_data[j / 2] : util_uniform(&seed, -1.5, 1.5));
}

// B rows; 0: shared.
static ad_var input(ad_tape *tape, ad_shape shape, int64_t B, ad_source *source) {
    *source = util_source(x_data, B ? B : 1);
    return B ? ad_input(util_rows(tape, "data", B), shape, source) : ad_shared_input(tape, shape, source);
}

// The naive result over [pre, n, post], lines of n; returns its number of elements.
static int64_t naive(const subject *s, bool full, int64_t pre, int64_t n, int64_t post) {
    static double line[MOST], result[MOST];
    for (int64_t p = 0; p < pre; p++)
        for (int64_t q = 0; q < post; q++) {
            for (int64_t i = 0; i < n; i++) line[i] = x_data[(p * n + i) * post + q];
            s->line(line, n, result);
            for (int64_t i = 0; i < (full ? n : 1); i++) expected[((full ? p * n + i : p) * post) + q] = result[i];
        }
    return pre * post * (full ? n : 1);
}

static void check_value(const subject *s, ad_var y, int64_t n, const char *where) {
    static double got[MOST];
    ad_keep(y);
    util_run(y.tape);
    util_read(y, got, n);
    for (int64_t j = 0; j < n; j++)
        if (!util_close(got[j], expected[j], s->tolerance[ad_tape_type(y.tape)]))
            fail_msg("%s, f%d, %s: element %lld is %.17g, not %.17g", s->name, ad_tape_type(y.tape) ? 64 : 32, where,
                     (long long)j, got[j], expected[j]);
}

// Along one axis of B rows (0: shared) of that shape, and along all axes.
static void check_shape(ad_engine *engine, const subject *s, ad_type type, ad_shape shape, int64_t B) {
    ad_tape *tape = ad_tape_new(engine, type);
    ad_source source;
    ad_var x = input(tape, shape, B, &source);
    const int64_t rows = B ? B : 1, count = ad_shape_count(shape);
    char where[80], text[40];
    fill(rows * count, 11);
    ad_shape_print(shape, text, sizeof text);
    for (int axis = 0; axis < shape.rank; axis++) {
        int64_t pre = rows, post = 1;
        for (int i = 0; i < shape.rank; i++) *(i < axis ? &pre : &post) *= i == axis ? 1 : shape.dim[i];
        if (shape.dim[axis] < s->least) continue;
        const bool full = !s->all && s != &subjects[ARGMAX];
        const int64_t n = naive(s, full, pre, shape.dim[axis], post);
        snprintf(where, sizeof where, "axis %d of %s, %lld rows", axis, text, (long long)B);
        check_value(s, s->axis(x, axis), n, where);
        check_value(s, s->axis(x, axis - shape.rank), n, where);
    }
    if (s->all && count >= s->least) {
        const int64_t n = naive(s, false, rows, count, 1);
        snprintf(where, sizeof where, "all of %s, %lld rows", text, (long long)B);
        check_value(s, s->all(x), n, where);
    }
    ad_tape_free(tape);
}

static void values_in_every_shape(void **state) {
    const ad_shape shapes[] = {ad_shape0(),           ad_shape1(1),           ad_shape1(5),
                               ad_shape1(70),         ad_shape2(1, 4),        ad_shape2(3, 1),
                               ad_shape2(7, 3),       ad_shape2(2, 33),       ad_shape3(2, 3, 4),
                               ad_shape3(5, 1, 2),    ad_shape4(2, 3, 1, 17)};
    const int64_t rows[] = {0, 1, 3, 70};
    for (int s = 0; s < SUBJECTS; s++)
        for (int type = 0; type < 2; type++)
            for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
                for (int b = 0; b < 4; b++) check_shape(*state, &subjects[s], (ad_type)type, shapes[i], rows[b]);
}

static void values_along_long_axes(void **state) {
    for (int s = 0; s < SUBJECTS; s++)
        for (int type = 0; type < 2; type++) {
            check_shape(*state, &subjects[s], (ad_type)type, ad_shape1(10000), 0);
            check_shape(*state, &subjects[s], (ad_type)type, ad_shape1(10000), 3);
            check_shape(*state, &subjects[s], (ad_type)type, ad_shape2(10000, 2), 0);
        }
}

// Operands that are parts of others: a slice that stays where it is, and one with gaps.
static void values_of_parts(void **state) {
    for (int s = 0; s < SUBJECTS; s++)
        for (int64_t B = 0; B <= 40; B += 20) {
            ad_tape *tape = ad_tape_new(*state, AD_F64);
            ad_source source;
            ad_var x = input(tape, ad_shape2(6, 5), B, &source);
            const int64_t rows = B ? B : 1;
            double whole[40 * 30];
            fill(rows * 30, 13);
            memcpy(whole, x_data, sizeof whole);
            for (int64_t j = 0; j < rows * 15; j++) x_data[j] = whole[j / 15 * 30 + 10 + j % 15];
            const int64_t n = naive(&subjects[s], !subjects[s].all && s != ARGMAX, rows, 3, 5);
            memcpy(x_data, whole, sizeof whole);
            check_value(&subjects[s], subjects[s].axis(ad_slice(x, 0, 2, 3), 0), n, "middle lines");
            for (int64_t j = 0; j < rows * 12; j++) x_data[j] = whole[j / 12 * 30 + j % 12 / 2 * 5 + 1 + j % 2];
            const int64_t m = naive(&subjects[s], !subjects[s].all && s != ARGMAX, rows * 6, 2, 1);
            memcpy(x_data, whole, sizeof whole);
            check_value(&subjects[s], subjects[s].axis(ad_slice(x, 1, 1, 2), 1), m, "middle columns");
            ad_tape_free(tape);
        }
}

// ---- bits ----------------------------------------------------------------------------------------------------------

static void bits_of_a_row_are_its_own(void **state) {
    enum { F = 24, B = 150 };
    static double all[B * F], one[F];
    for (int s = 0; s < SUBJECTS; s++)
        for (int type = 0; type < 2; type++) {
            ad_tape *tape = ad_tape_new(*state, (ad_type)type);
            ad_source source;
            ad_var x = input(tape, ad_shape2(6, 4), B, &source), y = ad_keep(subjects[s].axis(x, 0));
            const int64_t n = ad_shape_count(ad_shape_of(y));
            fill(B * F, 17);
            util_run(tape);
            util_read(y, all, B * n);
            for (int64_t r = 0; r < B; r += 49) {
                source.index = &r;
                ad_rows_set(ad_rows_of(x), 1, r);
                util_run(tape);
                util_read(y, one, n);
                if (memcmp(one, all + r * n, (size_t)n * sizeof *one) != 0)
                    fail_msg("%s: row %lld has other bits alone", subjects[s].name, (long long)r);
            }
            ad_tape_free(tape);
        }
}

static ad_var variance_rows(ad_var x) { return ad_variance_rows(x, 1); }
static const along_all over_rows[] = {ad_sum_rows,   ad_mean_rows,  ad_max_rows,
                                      ad_min_rows,   variance_rows, ad_logsumexp_rows};
enum { OVER_ROWS = sizeof over_rows / sizeof *over_rows };

static void bits_over_rows_do_not_depend_on_threads(void **state) {
    (void)state;
    enum { B = 1000, F = 3, N = OVER_ROWS * (F + B * F) };
    static double first[N], other[N];
    fill(B * F, 19);
    for (int type = 0; type < 2; type++)
        for (int threads = 1; threads <= 3; threads++) {
            ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = threads}, NULL);
            ad_tape *tape = ad_tape_new(engine, (ad_type)type);
            ad_source source;
            ad_var x = input(tape, ad_shape1(F), B, &source), y[OVER_ROWS], gx[OVER_ROWS];
            for (int i = 0; i < OVER_ROWS; i++) {
                y[i] = ad_keep(over_rows[i](x));
                ad_grad(ad_sum(ad_square(y[i])), &x, 1, &gx[i]);
                ad_keep(gx[i]);
            }
            util_run(tape);
            double *out = threads == 1 ? first : other;
            for (int i = 0; i < OVER_ROWS; i++) {
                util_read(y[i], out + i * F, F);
                util_read(gx[i], out + OVER_ROWS * F + i * B * F, B * F);
            }
            if (threads > 1) assert_memory_equal(first, other, sizeof first);
            ad_tape_free(tape);
            ad_engine_free(engine);
        }
}

// ---- small cases ---------------------------------------------------------------------------------------------------

typedef struct small {  // x [n], shared, of one tape; y = f(x) and its gradients
    ad_tape *tape;
    double x[8];
    ad_source source;
    ad_var v;
} small;

static small small_new(ad_engine *engine, ad_type type, int n, const double *x, small *s) {
    s->tape = ad_tape_new(engine, type);
    memcpy(s->x, x, (size_t)n * sizeof *x);
    s->source = util_source(s->x, 1);
    s->v = ad_shared_input(s->tape, ad_shape1(n), &s->source);
    return *s;
}

static void assert_same(double got, double want, double tolerance, const char *what) {
    if (isnan(want) ? isnan(got) : isinf(want) ? got == want : util_close(got, want, tolerance)) return;
    fail_msg("%s: %.17g, not %.17g", what, got, want);
}

// f(x) is y (n_y elements), the gradient of the sum of w y is gx; both types. NULL: not looked at.
static void check_small(ad_engine *engine, along_all f, int n, const double *x, int n_y, const double *y,
                        const double *w, const double *gx, const char *what) {
    for (int type = 0; type < 2; type++) {
        small s;
        double got[8];
        small_new(engine, (ad_type)type, n, x, &s);
        ad_var v = ad_keep(f(s.v)), g = AD_NONE;
        if (gx) {
            ad_grad(ad_sum(ad_mul(v, ad_constant(s.tape, ad_shape_of(v), w))), &s.v, 1, &g);
            ad_keep(g);
        }
        util_run(s.tape);
        const double tolerance = type ? 1e-14 : 3e-7;
        if (y) util_read(v, got, n_y);
        for (int i = 0; y && i < n_y; i++) assert_same(got[i], y[i], tolerance, what);
        if (gx) util_read(g, got, n);
        for (int i = 0; gx && i < n; i++) assert_same(got[i], gx[i], tolerance, what);
        ad_tape_free(s.tape);
    }
}

static const double ones[] = {1, 1, 1, 1, 1, 1, 1, 1};
static const double inf = INFINITY;
#define LIST(...) ((const double[]){__VA_ARGS__})
#define CHECK(f, n, x, n_y, y, w, gx) check_small(*state, f, n, x, n_y, y, w, gx, #f " of " #x)

static ad_var softmax(ad_var x) { return ad_softmax(x, 0); }
static ad_var log_softmax(ad_var x) { return ad_log_softmax(x, 0); }
static ad_var cumsum(ad_var x) { return ad_cumsum(x, 0); }
static ad_var cumprod(ad_var x) { return ad_cumprod(x, 0); }
static ad_var argmax(ad_var x) { return ad_argmax(x, 0); }

static void first_of_equal_ones_has_the_gradient(void **state) {
    CHECK(ad_max, 4, LIST(1, 3, 3, 2), 1, LIST(3), ones, LIST(0, 1, 0, 0));
    CHECK(ad_min, 4, LIST(5, 3, 4, 3), 1, LIST(3), ones, LIST(0, 1, 0, 0));
    CHECK(argmax, 4, LIST(1, 3, 3, 2), 1, LIST(1), ones, NULL);
    CHECK(ad_max, 2, LIST(-inf, -inf), 1, LIST(-inf), ones, LIST(1, 0));
    CHECK(ad_max, 1, LIST(7), 1, LIST(7), ones, LIST(1));
}

static void nan_wins_extrema(void **state) {
    CHECK(ad_max, 4, LIST(1, NAN, inf, NAN), 1, LIST(NAN), ones, LIST(0, 1, 0, 0));
    CHECK(ad_max, 3, LIST(NAN, 2, 3), 1, LIST(NAN), ones, LIST(1, 0, 0));
    CHECK(ad_min, 3, LIST(1, -inf, NAN), 1, LIST(NAN), ones, LIST(0, 0, 1));
    CHECK(argmax, 4, LIST(1, 5, NAN, NAN), 1, LIST(2), ones, NULL);
}

static void nan_reaches_sums_and_products(void **state) {
    const double x[] = {1, NAN, 2};
    CHECK(ad_sum, 3, x, 1, LIST(NAN), ones, LIST(1, 1, 1));
    CHECK(ad_norm, 3, x, 1, LIST(NAN), ones, NULL);
    CHECK(ad_prod, 3, x, 1, LIST(NAN), ones, LIST(NAN, 2, NAN));
    CHECK(cumsum, 3, x, 3, LIST(1, NAN, NAN), ones, LIST(3, 2, 1));
    CHECK(cumprod, 3, x, 3, LIST(1, NAN, NAN), ones, NULL);
    CHECK(ad_logsumexp, 3, x, 1, LIST(NAN), ones, NULL);
    CHECK(softmax, 3, x, 3, LIST(NAN, NAN, NAN), ones, NULL);
    CHECK(log_softmax, 3, x, 3, LIST(NAN, NAN, NAN), ones, NULL);
}

static void logsumexp_of_infinities(void **state) {
    CHECK(ad_logsumexp, 3, LIST(-inf, -inf, -inf), 1, LIST(-inf), ones, LIST(0, 0, 0));
    CHECK(ad_logsumexp, 3, LIST(-inf, 2, -inf), 1, LIST(2), ones, LIST(0, 1, 0));
    CHECK(ad_logsumexp, 3, LIST(1, inf, -inf), 1, LIST(inf), ones, LIST(0, 1, 0));
    CHECK(ad_logsumexp, 2, LIST(inf, inf), 1, LIST(inf), ones, LIST(0.5, 0.5));
    CHECK(ad_logsumexp, 3, LIST(NAN, inf, -inf), 1, LIST(NAN), ones, NULL);
}

static void softmax_of_infinities(void **state) {
    const double w[] = {1, 2, 4};
    CHECK(softmax, 3, LIST(-inf, -inf, -inf), 3, LIST(0, 0, 0), w, LIST(0, 0, 0));
    CHECK(softmax, 3, LIST(0, -inf, 0), 3, LIST(0.5, 0, 0.5), w, LIST(-0.75, 0, 0.75));
    CHECK(softmax, 3, LIST(0, inf, 5), 3, LIST(0, 1, 0), w, LIST(0, 0, 0));
    CHECK(log_softmax, 3, LIST(-inf, -inf, -inf), 3, LIST(-inf, -inf, -inf), w, LIST(1, 2, 4));
    CHECK(log_softmax, 3, LIST(0, -inf, 0), 3, LIST(-log(2), -inf, -log(2)), w, LIST(-2.5, 2, 0.5));
    CHECK(log_softmax, 3, LIST(0, inf, 5), 3, LIST(-inf, 0, -inf), w, LIST(1, -5, 4));
}

static void nothing_finite_overflows(void **state) {
    const double big = FLT_MAX;
    CHECK(ad_logsumexp, 3, LIST(big, -big, 0), 1, LIST(big), ones, LIST(1, 0, 0));
    CHECK(ad_logsumexp, 3, LIST(-big, -big, -big), 1, LIST(-big), ones, LIST(1. / 3, 1. / 3, 1. / 3));
    CHECK(softmax, 3, LIST(big, -big, big), 3, LIST(0.5, 0, 0.5), ones, LIST(0, 0, 0));
    CHECK(log_softmax, 2, LIST(big, 0), 2, LIST(0, -big), LIST(1, 0), LIST(0, 0));
    CHECK(ad_logsumexp, 2, LIST(1e4, 1e4), 1, LIST(1e4 + log(2)), ones, LIST(0.5, 0.5));
    CHECK(ad_norm, 2, LIST(3e30, 4e30), 1, LIST(5e30), ones, LIST(0.6, 0.8));
}

// In f64 alone.
static void nothing_finite_overflows_in_f64(void **state) {
    small s;
    double y[3];
    small_new(*state, AD_F64, 3, LIST(DBL_MAX, -DBL_MAX, DBL_MAX), &s);
    ad_var v[] = {ad_keep(ad_logsumexp(s.v)), ad_keep(softmax(s.v))};
    util_run(s.tape);
    util_read(v[0], y, 1);
    assert_true(y[0] == DBL_MAX);
    util_read(v[1], y, 3);
    assert_true(y[0] == 0.5 && y[1] == 0 && y[2] == 0.5);
    ad_tape_free(s.tape);
}

// Random numbers of any size, from the smallest to the largest, in any mixture.
static void random_extremes_stay_finite(void **state) {
    enum { B = 2000, N = 5 };
    static double x[B * N], y[B], p[B * N], l[B * N];
    uint64_t seed = 23;
    for (int type = 0; type < 2; type++) {
        const double most = type ? 307 : 38;
        for (int j = 0; j < B * N; j++) {
            x[j] = pow(10, util_uniform(&seed, -most, most)) * (util_uniform(&seed, -1, 1) < 0 ? -1 : 1);
            if (util_uniform(&seed, 0, 1) < 0.05) x[j] = -inf;
        }
        ad_tape *tape = ad_tape_new(*state, (ad_type)type);
        const ad_source source = util_source(x, B);
        ad_var v = ad_input(util_rows(tape, "data", B), ad_shape1(N), &source);
        ad_var out[] = {ad_keep(ad_logsumexp(v)), ad_keep(softmax(v)), ad_keep(log_softmax(v))};
        util_run(tape);
        util_read(out[0], y, B);
        util_read(out[1], p, B * N);
        util_read(out[2], l, B * N);
        for (int r = 0; r < B; r++) {
            double top, total;
            max_line(x + r * N, N, &top);
            sum_line(p + r * N, N, &total);
            if (top == -inf) continue;
            assert_true(isfinite(y[r]) && y[r] >= (type ? top : (double)(float)top));
            assert_true(fabs(total - 1) < 1e-6);
            for (int i = r * N; i < (r + 1) * N; i++)
                assert_true(p[i] >= 0 && p[i] <= 1 && l[i] <= 0 && (isfinite(l[i]) || x[i] == -inf || x[i] < -1e37));
        }
        ad_tape_free(tape);
    }
}

// Where one element outweighs all others, the small logarithm that remains keeps its digits.
static void logarithms_of_sums_near_one_keep_their_digits(void **state) {
    small s;
    double y[2];
    small_new(*state, AD_F64, 2, LIST(0, -50), &s);
    ad_var v[] = {ad_keep(ad_logsumexp(s.v)), ad_keep(log_softmax(s.v))};
    util_run(s.tape);
    util_read(v[0], y, 1);
    assert_true(fabs(y[0] / exp(-50) - 1) < 1e-14);
    util_read(v[1], y, 2);
    assert_true(fabs(y[0] / -exp(-50) - 1) < 1e-14 && y[1] == -50);
    ad_tape_free(s.tape);
}

// From the rounded result the weights would be off by 1e-3.
static void weights_of_a_large_logsumexp_are_accurate(void **state) {
    CHECK(ad_logsumexp, 2, LIST(16384, 16384 + 0.5), 1, NULL, ones, LIST(1 / (1 + exp(0.5)), 1 / (1 + exp(-0.5))));
}

static void gradients_of_products_with_zeros(void **state) {
    CHECK(ad_prod, 3, LIST(2, 3, 4), 1, LIST(24), ones, LIST(12, 8, 6));
    CHECK(ad_prod, 3, LIST(2, 0, 4), 1, LIST(0), ones, LIST(0, 8, 0));
    CHECK(ad_prod, 3, LIST(0, 3, 0), 1, LIST(0), ones, LIST(0, 0, 0));
    CHECK(cumprod, 4, LIST(2, 0, 3, 5), 4, LIST(2, 0, 0, 0), ones, LIST(1, 2 + 6 + 30, 0, 0));
    CHECK(cumprod, 4, LIST(0, 2, 0, 5), 4, LIST(0, 0, 0, 0), ones, LIST(1 + 2, 0, 0, 0));
    CHECK(cumsum, 3, LIST(1, 2, 4), 3, LIST(1, 3, 7), LIST(1, 10, 100), LIST(111, 110, 100));
}

static void norm_has_slope_zero_at_zero(void **state) {
    CHECK(ad_norm, 3, LIST(0, 0, 0), 1, LIST(0), ones, LIST(0, 0, 0));
    CHECK(ad_norm, 1, LIST(-2), 1, LIST(2), ones, LIST(-1));
    CHECK(ad_norm, 2, LIST(3, 4), 1, LIST(5), ones, LIST(0.6, 0.8));
    CHECK(ad_norm, 2, LIST(inf, 4), 1, LIST(inf), ones, NULL);
}

// A cotangent of 0 is one of a value that does not count: no gradient comes of it, whatever x is.
static void zero_cotangents_give_zero(void **state) {
    static const along_all f[] = {ad_sum, ad_mean, ad_norm, ad_prod, ad_max, ad_min, ad_logsumexp, softmax, log_softmax,
                                  cumsum, cumprod, variance0};
    const double zeros[] = {0, 0, 0};
    for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
        check_small(*state, f[i], 3, LIST(1, NAN, inf), 0, NULL, zeros, zeros, "zero cotangent");
        check_small(*state, f[i], 3, LIST(-inf, 0, 1e30), 0, NULL, zeros, zeros, "zero cotangent");
    }
}

// ---- higher orders -------------------------------------------------------------------------------------------------

static ad_var element(ad_var x, int64_t i) { return ad_reshape(ad_slice(x, 0, i, 1), ad_shape0()); }

// d^3 y / dx0 dx1 dx2
static ad_var third(ad_var y, ad_var x) {
    for (int i = 0; i < 3; i++) {
        ad_grad(y, &x, 1, &y);
        y = element(y, i);
    }
    return y;
}

static void check_third(ad_engine *engine, ad_var (*f)(ad_var x), const double *x, double want) {
    small s;
    small_new(engine, AD_F64, 4, x, &s);
    util_assert_close(ad_value(third(f(s.v), s.v)), want, 1e-13);
    ad_tape_free(s.tape);
}

static ad_var last_cumprod(ad_var x) { return element(ad_cumprod(x, 0), 3); }
static ad_var cubed_cumsum(ad_var x) {
    ad_var y = element(ad_cumsum(x, 0), 3);
    return ad_mul(y, ad_square(y));
}

static void third_derivatives(void **state) {
    check_third(*state, ad_prod, LIST(2, 3, 4, 5), 5);
    check_third(*state, ad_prod, LIST(0, 0, 0, 5), 5);
    check_third(*state, last_cumprod, LIST(0, 0, 0, 5), 5);
    check_third(*state, last_cumprod, LIST(1, 2, 3, 7), 7);
    check_third(*state, cubed_cumsum, LIST(1, 2, 3, 4), 6);
    // Of four equal ones, weights p = 1/4: the third cumulant 2 p^3.
    check_third(*state, ad_logsumexp, LIST(3, 3, 3, 3), 2. / 64);
    check_third(*state, ad_logsumexp, LIST(-inf, -inf, -inf, -inf), 0);
    // Of |x|: 3 x0 x1 x2 / |x|^5.
    check_third(*state, ad_norm, LIST(1, 2, 2, 4), 3. * 4 / 3125);
}

// ---- over rows -----------------------------------------------------------------------------------------------------

typedef struct over {  // x [2] per row, B rows
    ad_tape *tape;
    ad_source source;
    ad_var x;
} over;

static over over_new(ad_engine *engine, ad_type type, int64_t B) {
    static ad_source source;  // borrowed until the next one
    source = util_source(x_data, B);
    over o = {.tape = ad_tape_new(engine, type)};
    o.x = ad_input(util_rows(o.tape, "data", B), ad_shape1(2), &source);
    return o;
}

static void column(int64_t B, int f, double *out) {
    for (int64_t r = 0; r < B; r++) out[r] = x_data[2 * r + f];
}

// All in one recording, so that sums and largest ones are combined side by side.
static void values_over_rows(void **state) {
    typedef void (*line)(const double *, int64_t, double *);
    static const line lines[OVER_ROWS] = {sum_line, mean_line, max_line, min_line, variance1_line, logsumexp_line};
    static const double tolerance[2] = {1e-6, 1e-13};
    const int64_t rows[] = {2, 31, 33, 64, 65, 1000, 5000};
    static double x[5000];
    for (int type = 0; type < 2; type++)
        for (int b = 0; b < 7; b++) {
            fill(2 * rows[b], 29);
            over o = over_new(*state, (ad_type)type, rows[b]);
            ad_var y[OVER_ROWS];
            for (int i = 0; i < OVER_ROWS; i++) y[i] = ad_keep(over_rows[i](o.x));
            util_run(o.tape);
            for (int i = 0; i < OVER_ROWS; i++)
                for (int f = 0; f < 2; f++) {
                    double got[2], want;
                    util_read(y[i], got, 2);
                    column(rows[b], f, x);
                    lines[i](x, rows[b], &want);
                    if (!util_close(got[f], want, i == 2 || i == 3 ? 0 : tolerance[type] * (i ? 1 : 10)))
                        fail_msg("over %d rows, call %d: %.17g, not %.17g", (int)rows[b], i, got[f], want);
                }
            ad_tape_free(o.tape);
        }
}

static void check_rows_gradient(ad_engine *engine, along_all f, int64_t B, const double *y, const double *gx) {
    for (int type = 0; type < 2; type++) {
        over o = over_new(engine, (ad_type)type, B);
        ad_var v = ad_keep(f(o.x)), g;
        double got[200];
        ad_grad(ad_sum(v), &o.x, 1, &g);
        ad_keep(g);
        util_run(o.tape);
        util_read(v, got, 2);
        for (int i = 0; i < 2; i++) assert_same(got[i], y[i], type ? 1e-14 : 3e-7, "over rows");
        util_read(g, got, 2 * B);
        for (int i = 0; i < 2 * B; i++) assert_same(got[i], gx[i], type ? 1e-14 : 3e-7, "gradient over rows");
        ad_tape_free(o.tape);
    }
}

static void set_rows(const double *x, int64_t B) { memcpy(x_data, x, (size_t)(2 * B) * sizeof *x); }

static void equal_rows_share_the_gradient(void **state) {
    set_rows(LIST(1, 5, 3, -2, 3, 5, 0, 4), 4);
    check_rows_gradient(*state, ad_max_rows, 4, LIST(3, 5), LIST(0, 0.5, 0.5, 0, 0.5, 0.5, 0, 0));
    check_rows_gradient(*state, ad_min_rows, 4, LIST(0, -2), LIST(0, 0, 0, 1, 0, 0, 1, 0));
    // Also across blocks and chunks.
    double gx[200];
    for (int j = 0; j < 200; j++) x_data[j] = j % 2 ? 0 : j, gx[j] = j % 2 ? 0.01 : j == 198;
    check_rows_gradient(*state, ad_max_rows, 100, LIST(198, 0), gx);
}

static void nan_among_rows(void **state) {
    set_rows(LIST(1, 5, NAN, -2, 3, inf), 3);
    check_rows_gradient(*state, ad_max_rows, 3, LIST(NAN, inf), LIST(0, 0, 0, 0, 0, 1));
    for (int64_t at = 0; at < 700; at += 699) {  // in the first and the last chunk
        fill(1400, 31);
        x_data[2 * at + 1] = NAN;
        over o = over_new(*state, AD_F32, 700);
        ad_var y = ad_keep(ad_max_rows(o.x));
        double got[2];
        util_run(o.tape);
        util_read(y, got, 2);
        assert_true(isfinite(got[0]) && isnan(got[1]));
        ad_tape_free(o.tape);
    }
}

static void logsumexp_over_rows_of_infinities(void **state) {
    set_rows(LIST(-inf, -inf, -inf, 2, -inf, -inf), 3);
    check_rows_gradient(*state, ad_logsumexp_rows, 3, LIST(-inf, 2), LIST(0, 0, 0, 1, 0, 0));
    set_rows(LIST(FLT_MAX, -FLT_MAX, -FLT_MAX, -FLT_MAX), 2);
    check_rows_gradient(*state, ad_logsumexp_rows, 2, LIST(FLT_MAX, -FLT_MAX), LIST(1, 0.5, 0, 0.5));
    set_rows(LIST(inf, NAN, 1, 0), 2);
    over o = over_new(*state, AD_F64, 2);
    ad_var y = ad_keep(ad_logsumexp_rows(o.x));
    double got[2];
    util_run(o.tape);
    util_read(y, got, 2);
    assert_true(got[0] == inf && isnan(got[1]));
    ad_tape_free(o.tape);
}

// The largest row's own gradient is stopped: differences of first and second order say whether rightly so.
static ad_var logsumexp_rows_of(void *arg, const ad_var *x) {
    (void)arg;
    return ad_logsumexp_rows(ad_mul(x[0], x[1]));
}
static ad_var variance_rows_of(void *arg, const ad_var *x) {
    (void)arg;
    return ad_variance_rows(ad_mul(x[0], x[1]), 0);
}
static void derivatives_over_rows(void **state) {
    (void)state;
    const ad_gradcheck_input x[] = {{.shape = ad_shape2(2, 2), .rows = true}, {.shape = ad_shape1(2)}};
    ad_error error;
    if (ad_gradcheck(logsumexp_rows_of, NULL, x, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
    if (ad_gradcheck(variance_rows_of, NULL, x, 2, NULL, &error) != AD_OK) fail_msg("%s", error.message);
}

// One row against itself; with nothing to divide by the run fails.
static void variance_of_one_row(void **state) {
    for (int ddof = 0; ddof < 3; ddof++) {
        double got[2];
        char text[80];
        set_rows(LIST(3, 4), 1);
        over o = over_new(*state, ddof == 1 ? AD_F32 : AD_F64, 1);
        const ad_var y = ad_keep(ad_variance_rows(o.x, ddof));
        if (ddof == 0) {
            util_run(o.tape);
            util_read(y, got, 2);
            assert_true(got[0] == 0 && got[1] == 0);
        } else {
            assert_int_equal(ad_run(o.tape), AD_EARG);
            snprintf(text, sizeof text, "variance_rows: 1 rows less ddof %d leave nothing to divide by", ddof);
            util_assert_contains(ad_tape_message(o.tape), text);
        }
        ad_tape_free(o.tape);
    }
}

// The number of rows is read at run: one plan, which fails and then does not.
static void variance_of_few_rows(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    const double data[] = {1, 5, 3};
    for (int B = 1; B <= 3; B++) {
        const ad_source source = util_source(data, 3);
        const ad_rows rows = util_rows(tape, "data", B);
        const ad_var variance = ad_variance_rows(ad_input(rows, ad_shape0(), &source), 2);
        if (B == 3) {
            assert_true(ad_value(variance) == 8);
        } else {
            assert_true(isnan(ad_value(variance)));
            assert_int_equal(ad_tape_status(tape), AD_EARG);
        }
        ad_tape_reset(tape);
    }
    ad_tape_free(tape);
}

// ---- nothing to reduce ---------------------------------------------------------------------------------------------

static void empty_axes(void **state) {
    for (int64_t B = 0; B < 4; B += 3) {
        ad_tape *tape = ad_tape_new(*state, AD_F64);
        ad_source source;
        ad_var x = ad_slice(input(tape, ad_shape2(2, 3), B, &source), 1, 1, 0), g[3];
        ad_var y[] = {ad_keep(ad_sum_axis(x, 1)), ad_keep(ad_prod_axis(x, 1)), ad_keep(ad_logsumexp_axis(x, 1)),
                      ad_keep(ad_norm_axis(x, 1)), ad_keep(ad_logsumexp(x))};
        const double want[] = {0, 1, -inf, 0, -inf};
        const ad_var same[] = {ad_softmax(x, 1), ad_cumsum(x, 1), ad_cumprod(x, -1), ad_log_softmax(x, 0),
                               ad_sort(x, 1)};
        for (int i = 0; i < 3; i++) {
            ad_vjp(y[i], ad_fill(tape, ad_shape1(2), 1), &x, 1, &g[i]);
            ad_keep(g[i]);
        }
        for (int i = 0; i < 5; i++) {
            util_assert_ok(tape);
            assert_int_equal(ad_shape_count(ad_shape_of(same[i])), 0);
            ad_keep(same[i]);
        }
        util_run(tape);
        for (int i = 0; i < 5; i++) {
            double got[6];
            const int64_t n = (i < 4 ? 2 : 1) * (B ? B : 1);
            util_read(y[i], got, n);
            for (int64_t j = 0; j < n; j++) assert_same(got[j], want[i], 0, "empty axis");
        }
        // No lines, of two elements each.
        assert_int_equal(ad_shape_count(ad_shape_of(ad_max_axis(x, 0))), 0);
        assert_int_equal(ad_shape_count(ad_shape_of(ad_mean_axis(x, 0))), 0);
        assert_int_equal(ad_shape_count(ad_shape_of(ad_variance_axis(x, 0, 1))), 0);
        util_assert_ok(tape);
        ad_tape_free(tape);
    }
}

static void check_error(ad_tape *tape, ad_status status, const char *part) {
    assert_int_equal(ad_tape_status(tape), status);
    util_assert_contains(ad_tape_message(tape), part);
    ad_tape_reset(tape);
}

static void errors_say_what_is_wrong(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    const ad_shape shape = ad_shape2(2, 3), none = ad_shape2(2, 0);
    ad_max_axis(ad_fill(tape, none, 1), 1);
    check_error(tape, AD_ESHAPE, "max: no elements along the axis of shape [2,0]");
    ad_min(ad_fill(tape, none, 1));
    check_error(tape, AD_ESHAPE, "min: no elements along all axes of shape [2,0]");
    ad_argmax(ad_fill(tape, none, 1), -1);
    check_error(tape, AD_ESHAPE, "argmax: no elements");
    ad_mean(ad_fill(tape, none, 1));
    check_error(tape, AD_ESHAPE, "mean: no elements along all axes of shape [2,0]");
    ad_mean_axis(ad_fill(tape, none, 1), 1);
    check_error(tape, AD_ESHAPE, "mean: no elements along the axis of shape [2,0]");
    ad_variance(ad_fill(tape, none, 1), 0);
    check_error(tape, AD_EARG, "variance: 0 elements less ddof 0");
    ad_variance(ad_fill(tape, none, 1), -1);
    check_error(tape, AD_EARG, "variance: 0 elements less ddof -1");
    for (int i = 0; i < SUBJECTS; i++) {
        subjects[i].axis(ad_fill(tape, shape, 1), 2);
        check_error(tape, AD_ESHAPE, "axis 2 is out of range for shape [2,3]: expected -2 to 1");
        subjects[i].axis(ad_fill(tape, shape, 1), -3);
        check_error(tape, AD_ESHAPE, "axis -3 is out of range");
        subjects[i].axis(ad_number(tape, 1), 0);
        check_error(tape, AD_ESHAPE, "axis 0 of a scalar: it has none");
    }
    ad_variance_axis(ad_fill(tape, shape, 1), 1, 3);
    check_error(tape, AD_EARG, "variance: 3 elements less ddof 3");
    static const char *const named[OVER_ROWS] = {
        "sum_rows: ", "mean_rows: ", "max_rows: ", "min_rows: ", "variance_rows: ", "logsumexp_rows: "};
    for (int i = 0; i < OVER_ROWS; i++) {
        over_rows[i](ad_fill(tape, shape, 1));
        util_assert_contains(ad_tape_message(tape), named[i]);
        check_error(tape, AD_EARG, "the operand is shared: expected one that has rows");
    }
    ad_argmax(ad_fill(tape, ad_shape1((1 << 24) + 1), 1), 0);
    check_error(tape, AD_EARG, "argmax: 16777217 elements: an f32 tape counts to 16777216");
    ad_tape_free(tape);
}

static void inert_handles_do_no_harm(void **state) {
    ad_tape *tape = ad_tape_new(*state, AD_F32);
    ad_tape_fail(tape, AD_EARG, "the first");
    ad_var x = ad_number(tape, 1);
    for (int i = 0; i < SUBJECTS; i++) {
        assert_false(ad_ok(subjects[i].axis(x, 0)));
        assert_false(ad_ok(subjects[i].axis(AD_NONE, 0)));
        if (subjects[i].all) assert_false(ad_ok(subjects[i].all(x)) || ad_ok(subjects[i].all(AD_NONE)));
    }
    for (int i = 0; i < OVER_ROWS; i++) assert_false(ad_ok(over_rows[i](x)) || ad_ok(over_rows[i](AD_NONE)));
    check_error(tape, AD_EARG, "the first");
    ad_tape_free(tape);
}

// ---- reference numbers ---------------------------------------------------------------------------------------------

static void check_reference(ad_engine *engine, const char *file, const char *x_name, const char *y_name, int64_t N,
                            along_all f) {
    npz z = npz_open(file);
    int64_t n_x, n_y;
    double *x = npz_array(&z, x_name, &n_x), *y = npz_array(&z, y_name, &n_y), *got = malloc((size_t)n_y * sizeof *got);
    const int64_t B = n_x / N;
    for (int rows = 0; rows < 2; rows++) {
        ad_tape *tape = ad_tape_new(engine, AD_F64);
        const ad_source source = util_source(x, rows ? B : 1);
        ad_var v = rows ? ad_input(util_rows(tape, "data", B), ad_shape1(N), &source)
                        : ad_transpose(ad_shared_input(tape, ad_shape2(B, N), &source), (const int[]){1, 0});
        v = f(v);
        ad_keep(rows || ad_shape_of(v).rank < 2 ? v : (v = ad_transpose(v, (const int[]){1, 0})));
        util_run(tape);
        util_read(v, got, n_y);
        for (int64_t i = 0; i < n_y; i++)
            if (!(got[i] == y[i] || fabs(got[i] - y[i]) <= 1e-12 * fabs(y[i]) + 1e-15))
                fail_msg("%s[%d] is %.17g, not %.17g", y_name, (int)i, got[i], y[i]);
        ad_tape_free(tape);
    }
    free(x);
    free(y);
    free(got);
    free(z.bytes);
}

static ad_var logsumexp_first(ad_var x) { return ad_logsumexp_axis(x, 0); }
static void reference_numbers(void **state) {
    check_reference(*state, "special_functions.npz", "logsumexp_x", "logsumexp_y", 5, logsumexp_first);
    check_reference(*state, "mixture_densities.npz", "cat_logits", "cat_log_softmax", 4, log_softmax);
}

// ---- running -------------------------------------------------------------------------------------------------------

static int set_up(void **state) {
    *state = ad_engine_new(&(ad_engine_options){.threads = 2}, NULL);
    return *state ? 0 : 1;
}
static int tear_down(void **state) {
    ad_engine_free(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_in_every_shape),
        cmocka_unit_test(values_along_long_axes),
        cmocka_unit_test(values_of_parts),
        cmocka_unit_test(bits_of_a_row_are_its_own),
        cmocka_unit_test(bits_over_rows_do_not_depend_on_threads),
        cmocka_unit_test(first_of_equal_ones_has_the_gradient),
        cmocka_unit_test(nan_wins_extrema),
        cmocka_unit_test(nan_reaches_sums_and_products),
        cmocka_unit_test(logsumexp_of_infinities),
        cmocka_unit_test(softmax_of_infinities),
        cmocka_unit_test(nothing_finite_overflows),
        cmocka_unit_test(nothing_finite_overflows_in_f64),
        cmocka_unit_test(random_extremes_stay_finite),
        cmocka_unit_test(logarithms_of_sums_near_one_keep_their_digits),
        cmocka_unit_test(weights_of_a_large_logsumexp_are_accurate),
        cmocka_unit_test(gradients_of_products_with_zeros),
        cmocka_unit_test(norm_has_slope_zero_at_zero),
        cmocka_unit_test(zero_cotangents_give_zero),
        cmocka_unit_test(third_derivatives),
        cmocka_unit_test(values_over_rows),
        cmocka_unit_test(equal_rows_share_the_gradient),
        cmocka_unit_test(nan_among_rows),
        cmocka_unit_test(logsumexp_over_rows_of_infinities),
        cmocka_unit_test(derivatives_over_rows),
        cmocka_unit_test(variance_of_one_row),
        cmocka_unit_test(variance_of_few_rows),
        cmocka_unit_test(empty_axes),
        cmocka_unit_test(errors_say_what_is_wrong),
        cmocka_unit_test(inert_handles_do_no_harm),
        cmocka_unit_test(reference_numbers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
