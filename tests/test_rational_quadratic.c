// test_rational_quadratic.c -- rational-quadratic splines: reference values, the laws of a bijection at any parameters,
// tails, and refusals.
#include <float.h>

#include "npz.h"

// ---- values of the reference files ----------------------------------------------------------------------------------

typedef struct reference {
    npz z;
    int K;
    double bound;
    ad_tape *tape;
    double *raw;         // [P, 3 K - 1]
    double *memory[16];  // of all arrays
    int n;
} reference;

enum { SETS = 6 };

static double *array(reference *r, const char *name, int64_t *count) {
    return r->memory[r->n++] = npz_array(&r->z, name, count);
}

static reference open_reference(const char *name, int K, double bound) {
    reference r = {.z = npz_open(name), .K = K, .bound = bound, .tape = ad_tape_new(NULL, AD_F64)};
    const int64_t width = 3 * K - 1;
    int64_t n;
    const double *w = array(&r, "raw_widths", &n), *h = array(&r, "raw_heights", &n), *d = array(&r, "raw_derivs", &n);
    assert_int_equal(n, SETS * (K - 1));
    r.raw = r.memory[r.n++] = malloc((size_t)(SETS * width) * sizeof(double));
    for (int64_t p = 0; p < SETS; p++)
        for (int64_t j = 0; j < width; j++)
            r.raw[p * width + j] = j < K       ? w[p * K + j]
                                   : j < 2 * K ? h[p * K + j - K]
                                               : d[p * (K - 1) + j - 2 * K];
    return r;
}

static void close_reference(reference *r) {
    ad_tape_free(r->tape);
    for (int i = 0; i < r->n; i++) free(r->memory[i]);
    npz_close(&r->z);
}

// The splines at an array of points [P, N], the sets of parameters being the rows.
static ad_var spline_of(reference *r, const char *points, bool inverse, ad_var *x, ad_var *raw, int64_t *count) {
    static ad_source sources[2];
    sources[0] = util_source(array(r, points, count), SETS);
    sources[1] = util_source(r->raw, SETS);
    const int64_t N = *count / SETS, width = 3 * r->K - 1;
    ad_rows rows = util_rows(r->tape, "sets", SETS);
    *x = ad_input(rows, ad_shape1(N), &sources[0]);
    *raw = ad_input(rows, ad_shape1(width), &sources[1]);
    ad_var parameters = ad_expand(ad_reshape(*raw, ad_shape2(1, width)), ad_shape2(N, width));
    return ad_rational_quadratic(*x, parameters, &(ad_spline_options){.bound = r->bound}, inverse);
}

static void check_values(reference *r, const char *points, bool inverse, const char *value, double tolerance,
                         const char *log_slope, double log_tolerance) {
    ad_tape_reset(r->tape);
    ad_var x, raw;
    int64_t n;
    ad_var y = ad_keep(spline_of(r, points, inverse, &x, &raw, &n));
    util_run(r->tape);
    const double *want = array(r, value, &n), *slopes = array(r, log_slope, &n);
    const int64_t N = n / SETS;
    double *got = r->memory[r->n++] = malloc((size_t)(2 * n) * sizeof(double));
    util_read(y, got, 2 * n);
    for (int p = 0; p < SETS; p++) {
        util_assert_all_close(got + p * 2 * N, want + p * N, N, tolerance);
        util_assert_all_close(got + p * 2 * N + N, slopes + p * N, N, log_tolerance);
    }
}

static void check_gradients(reference *r) {
    ad_tape_reset(r->tape);
    ad_var in[2], g[2];
    int64_t n, count;
    ad_var y = spline_of(r, "xg", false, &in[0], &in[1], &n);
    ad_source cots[2] = {util_source(array(r, "cot_z", &n), SETS), util_source(array(r, "cot_log_det", &n), SETS)};
    const int64_t N = n / SETS, K = r->K, width = 3 * K - 1;
    ad_var sum = ad_number(r->tape, 0);
    for (int i = 0; i < 2; i++) {
        ad_var cot = ad_input(ad_rows_of(in[0]), ad_shape2(1, N), &cots[i]);
        sum = ad_add(sum, ad_sum(ad_mul(cot, ad_slice(y, 0, i, 1))));
    }
    ad_grad(ad_sum_rows(sum), in, 2, g);
    ad_keep(g[0]);
    ad_keep(g[1]);
    util_run(r->tape);
    double *got = r->memory[r->n++] = malloc((size_t)(SETS * (N + width)) * sizeof(double));
    util_read(g[0], got, SETS * N);
    const double *gx = array(r, "grad_xg", &count);
    util_assert_all_close(got, gx, SETS * N, 1e-9);
    util_read(g[1], got, SETS * width);
    const double *w = array(r, "grad_raw_widths", &count), *h = array(r, "grad_raw_heights", &count);
    const double *d = array(r, "grad_raw_derivs", &count);
    for (int64_t p = 0; p < SETS; p++) {
        util_assert_all_close(got + p * width, w + p * K, K, 1e-9);
        util_assert_all_close(got + p * width + K, h + p * K, K, 1e-9);
        util_assert_all_close(got + p * width + 2 * K, d + p * (K - 1), K - 1, 1e-9);
    }
}

static const struct {
    const char *name;
    int K;
    double bound;
} files[] = {{"rqs_k8_b3.npz", 8, 3}, {"rqs_k16_b5.npz", 16, 5}};

static void y_has_the_reference_values(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        reference r = open_reference(files[i].name, files[i].K, files[i].bound);
        check_values(&r, "x", false, "z", 1e-10, "log_det", 5e-9);
        close_reference(&r);
    }
}

static void x_has_the_reference_values(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        reference r = open_reference(files[i].name, files[i].K, files[i].bound);
        check_values(&r, "z", true, "x_inv", 1e-9, "log_det_inv", 2e-8);
        close_reference(&r);
        r = open_reference(files[i].name, files[i].K, files[i].bound);
        check_values(&r, "y_query", true, "x_query", 1e-9, "log_det_query", 2e-8);
        close_reference(&r);
    }
}

static void gradients_have_the_reference_values(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        reference r = open_reference(files[i].name, files[i].K, files[i].bound);
        check_gradients(&r);
        close_reference(&r);
    }
}

// ---- a box of other sides -------------------------------------------------------------------------------------------
//
// From [-1, 4] to [0.5, 3], by lines before and after ours from [-2.5, 2.5] to itself. Its slopes at the ends are not
// what ours has there, so that the outer bins are others; the three between are the same.

static reference open_box(void) {
    enum { KNOTS = 5 + 1, WIDTH_OF_ONE = 3 * 5 - 1 };
    reference r = {.z = npz_open("rqs_box_k5.npz"), .K = 5, .bound = 2.5, .tape = ad_tape_new(NULL, AD_F64)};
    int64_t n;
    const double *w = array(&r, "raw_widths", &n), *h = array(&r, "raw_heights", &n), *d = array(&r, "derivs", &n);
    assert_int_equal(n, SETS * KNOTS);
    r.raw = r.memory[r.n++] = malloc(SETS * WIDTH_OF_ONE * sizeof(double));
    for (int p = 0; p < SETS; p++) {
        double *raw = r.raw + p * WIDTH_OF_ONE;
        memcpy(raw, w + p * 5, 5 * sizeof(double));
        memcpy(raw + 5, h + p * 5, 5 * sizeof(double));
        for (int k = 1; k < 5; k++) raw[9 + k] = log(expm1(2 * d[p * KNOTS + k] - 1e-3));
    }
    return r;
}

// Values and logarithms of slopes at the points between the first inner knot and the last.
static void check_box(reference *r, bool inverse, const char *points, const char *value, const char *log_slope,
                      double tolerance, double log_tolerance) {
    ad_tape_reset(r->tape);
    int64_t n;
    double *in = array(r, points, &n);
    const int64_t N = n / SETS;
    const double *ends = array(r, inverse ? "knots_y" : "knots_x", &n), *want = array(r, value, &n);
    const double *slopes = array(r, log_slope, &n), scale = inverse ? 2 : 1, shift = inverse ? -3.5 : -1.5;
    const ad_source sources[2] = {util_source(in, SETS), util_source(r->raw, SETS)};
    ad_rows rows = util_rows(r->tape, "sets", SETS);
    ad_var x = ad_offset(ad_scale(ad_input(rows, ad_shape1(N), &sources[0]), scale), shift);
    ad_var raw = ad_reshape(ad_input(rows, ad_shape1(14), &sources[1]), ad_shape2(1, 14));
    const ad_spline_options o = {.bound = 2.5};
    ad_var y = ad_keep(ad_rational_quadratic(x, ad_expand(raw, ad_shape2(N, 14)), &o, inverse));
    util_run(r->tape);
    double *got = r->memory[r->n++] = malloc((size_t)(2 * n) * sizeof(double));
    util_read(y, got, 2 * n);
    int64_t inner = 0;
    for (int64_t i = 0; i < n; i++) {
        const double *knots = ends + i / N * 6, *at = got + i / N * 2 * N + i % N;
        if (!(in[i] >= knots[1] && in[i] <= knots[4])) continue;
        inner++;
        util_assert_close(inverse ? at[0] + 1.5 : 0.5 * at[0] + 1.75, want[i], tolerance);
        util_assert_close(at[N] + (inverse ? 1 : -1) * log(2), slopes[i], log_tolerance);
    }
    assert_true(inner > n / 3);
}

static void inner_bins_of_a_box_have_the_reference_values(void **state) {
    (void)state;
    reference r = open_box();
    check_box(&r, false, "x", "z", "log_det", 1e-10, 5e-9);
    check_box(&r, true, "y_query", "x_query", "log_det_query", 1e-9, 2e-8);
    close_reference(&r);
}

// ---- any parameters, any points -------------------------------------------------------------------------------------

enum { B = 512, D = 24, K = 8, WIDTH = 3 * K - 1, N = B * D };
static const double BOUND = 3;

typedef struct property {
    ad_tape *tape;
    ad_type type;
    double raw[N * WIDTH], x[N];
    double there[2 * N], back[2 * N], gx[N], graw[N * WIDTH];  // there: [B][2][D]
    double gy[N];         // of the way back's log-slope in y
    double again[2 * N];  // there once more, from where the way back ended
} property;

// The right edge of bin k, in x, of a spline.
static double knot(const double *raw, int k) {
    double top = -INFINITY, sum = 0, part = 0;
    for (int j = 0; j < K; j++) top = fmax(top, raw[j]);
    for (int j = 0; j < K; j++) sum += exp(raw[j] - top);
    for (int j = 0; j <= k; j++) part += 1e-3 + (1 - 1e-3 * K) * exp(raw[j] - top) / sum;
    return -BOUND + 2 * BOUND * part;
}

static double round_to(ad_type type, double v) {
    return type == AD_F32 ? (double)(float)v : v;
}

// A neighbour of v in its type.
static double beside(ad_type type, double v, double towards) {
    return type == AD_F32 ? (double)nextafterf((float)v, (float)towards) : nextafter(v, towards);
}

static double point(const property *p, int64_t i, uint64_t *seed) {
    const double at = round_to(p->type, knot(p->raw + i * WIDTH, (int)(i / 16 % (K - 1))));
    const double huge = p->type == AD_F32 ? FLT_MAX : DBL_MAX, side = i / 16 % 2 ? -1 : 1;
    switch (i % 16) {
        case 0: return at;
        case 1: return beside(p->type, at, 10);
        case 2: return beside(p->type, at, -10);
        case 3: return side * BOUND;
        case 4: return side * beside(p->type, BOUND, 10);
        case 5: return side * beside(p->type, BOUND, 0);
        case 6: return side * round_to(p->type, util_uniform(seed, BOUND + 1, 100));
        case 7: return side * huge;
        case 8: return side * INFINITY;
        case 9: return side * 0.0;
        default: return round_to(p->type, util_uniform(seed, -BOUND, BOUND));
    }
}

static void draw(property *p, uint64_t *seed) {
    for (int64_t i = 0; i < N; i++) {
        const double scale = 0.1 * pow(1000, util_uniform(seed, 0, 1));
        for (int j = 0; j < WIDTH; j++) p->raw[i * WIDTH + j] = round_to(p->type, scale * util_uniform(seed, -1, 1));
        p->x[i] = point(p, i, seed);
    }
}

// Values of both directions one after the other, and gradients of their sums.
static void run(property *p, bool inverse) {
    ad_source x = util_source(p->x, B), raw = util_source(p->raw, B);
    ad_tape_reset(p->tape);
    ad_rows rows = util_rows(p->tape, "points", B);
    ad_var in[2] = {ad_input(rows, ad_shape1(D), &x), ad_input(rows, ad_shape2(D, WIDTH), &raw)}, g[2], gy;
    ad_var y = ad_keep(ad_rational_quadratic(in[0], in[1], NULL, inverse));
    ad_var value = ad_reshape(ad_slice(y, 0, 0, 1), ad_shape1(D));
    ad_var back = ad_keep(ad_rational_quadratic(value, in[1], NULL, !inverse));
    ad_var end = ad_reshape(ad_slice(back, 0, 0, 1), ad_shape1(D));
    ad_var again = ad_keep(ad_rational_quadratic(end, in[1], NULL, inverse));
    ad_grad(ad_sum_rows(ad_sum(y)), in, 2, g);
    ad_grad(ad_sum_rows(ad_sum(ad_slice(back, 0, 1, 1))), &value, 1, &gy);
    ad_keep(g[0]);
    ad_keep(g[1]);
    ad_keep(gy);
    util_run(p->tape);
    util_read(y, p->there, 2 * N);
    util_read(back, p->back, 2 * N);
    util_read(again, p->again, 2 * N);
    util_read(g[0], p->gx, N);
    util_read(g[1], p->graw, N * WIDTH);
    util_read(gy, p->gy, N);
}

static void check_tail(const property *p, int64_t i, double y, double log_slope) {
    const bool zero = p->graw[i * WIDTH] == 0 && p->graw[i * WIDTH + K] == 0 && p->graw[i * WIDTH + 2 * K] == 0;
    if (y == p->x[i] && log_slope == 0 && p->gx[i] == 1 && zero) return;
    fail_msg("outside, at %g: y %g, log-slope %g, gradient %g", p->x[i], y, log_slope, p->gx[i]);
}

// The error of a round trip in units of what rounding must cost: in x that of y, or in y that of x. Beside a knot, where
// the slope changes much within an ulp, only one of the two is small.
static double trip_error(const property *p, int64_t i, int64_t at) {
    const double unit = BOUND * (p->type == AD_F32 ? FLT_EPSILON : DBL_EPSILON), log_slope = p->there[at + D];
    const double in_x = fabs(p->back[at] - p->x[i]) / (unit * (1 + exp(-log_slope)));
    const double in_y = fabs(p->again[at] - p->there[at]) / (unit * (1 + exp(log_slope)));
    return fmin(in_x, in_y);
}

// That of a log-slope and its negative. At a knot its derivative jumps, so that none says what rounding y costs.
static double log_error(const property *p, int64_t i, int64_t at) {
    const double eps = p->type == AD_F32 ? FLT_EPSILON : DBL_EPSILON, log_slope = p->there[at + D];
    if (i % 16 < 6) return 0;
    return fabs(p->back[at + D] + log_slope) / (eps * (1 + fabs(log_slope) + BOUND * fabs(p->gy[i])));
}

static void check_property(ad_type type, bool inverse, int draws) {
    property *p = malloc(sizeof *p);
    uint64_t seed = (uint64_t)type * 2 + inverse + 1;
    double trip = 0;
    int64_t above = 0;  // log-slopes off by more than that: where slopes change within the rounding of y
    p->tape = ad_tape_new(NULL, type);
    p->type = type;
    for (int k = 0; k < draws; k++) {
        draw(p, &seed);
        run(p, inverse);
        for (int64_t i = 0; i < N; i++) {
            const int64_t at = i / D * 2 * D + i % D;
            const double y = p->there[at], log_slope = p->there[at + D];
            if (fabs(p->x[i]) > BOUND) {
                check_tail(p, i, y, log_slope);
                continue;
            }
            bool finite = isfinite(y) && isfinite(log_slope) && isfinite(p->gx[i]) && isfinite(p->gy[i]);
            for (int j = 0; j < WIDTH; j++) finite = finite && isfinite(p->graw[i * WIDTH + j]);
            if (!finite) fail_msg("at %.17g: y %g, log-slope %g, gradient %g", p->x[i], y, log_slope, p->gx[i]);
            assert_true(fabs(y) <= BOUND * (1 + 4 * DBL_EPSILON));
            trip = fmax(trip, trip_error(p, i, at));
            above += !(log_error(p, i, at) <= 8);
        }
    }
    if (!(trip <= 4)) fail_msg("round trip: %g times what rounding costs", trip);
    if (above > (type == AD_F32 ? N * draws / 10000 : 0)) fail_msg("%lld sums of both log-slopes", (long long)above);
    ad_tape_free(p->tape);
    free(p);
}

enum { DRAWS = UTIL_SANITIZED ? 2 : 20 };

static void f32_keeps_the_laws(void **state) {
    (void)state;
    check_property(AD_F32, false, DRAWS);
    check_property(AD_F32, true, DRAWS);
}

static void f64_keeps_the_laws(void **state) {
    (void)state;
    check_property(AD_F64, false, DRAWS);
    check_property(AD_F64, true, DRAWS);
}

// ---- points that are not finite, and any number of them -------------------------------------------------------------

// y and log dy/dx at n points of one spline; gradients of the sum of both, if wanted.
static void one_spline(ad_type type, const double *raw, int width, const ad_spline_options *options, bool inverse,
                       const double *x, int n, double *y, double *gx) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source points = util_source(x, n);
    ad_rows rows = util_rows(tape, "points", n);
    ad_var in = ad_input(rows, ad_shape0(), &points), g;
    ad_var v = ad_rational_quadratic(in, ad_constant(tape, ad_shape1(width), raw), options, inverse);
    ad_keep(v);
    ad_grad(ad_sum(v), &in, 1, &g);
    ad_keep(g);
    util_run(tape);
    util_read(v, y, 2 * n);
    if (gx) util_read(g, gx, n);
    ad_tape_free(tape);
}

static void nan_and_infinities_give_themselves(void **state) {
    (void)state;
    const double raw[8] = {1, -2, 0.5, 0, 2, -1, 3, -4}, x[3] = {NAN, INFINITY, -INFINITY};
    for (int type = 0; type < 2; type++)
        for (int inverse = 0; inverse < 2; inverse++) {
            double y[6], gx[3];
            one_spline((ad_type)type, raw, 8, NULL, inverse, x, 3, y, gx);
            assert_true(isnan(y[0]) && isnan(y[1]));
            assert_true(y[2] == INFINITY && y[3] == 0 && y[4] == -INFINITY && y[5] == 0);
            assert_true(gx[1] == 1 && gx[2] == 1);
        }
}

static void parameters_of_nan_reach_their_points_alone(void **state) {
    (void)state;
    const double raw[5] = {NAN, 0, 0, 0, 0}, x[2] = {0.5, 4};
    double y[4];
    one_spline(AD_F64, raw, 5, NULL, false, x, 2, y, NULL);
    assert_true(isnan(y[0]) && isnan(y[1]));
    assert_true(y[2] == 4 && y[3] == 0);
}

// The largest parameters that a type has: values stay in the box, gradients may leave the type's range.
static void enormous_parameters_stay_in_the_box(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        const double most = type ? DBL_MAX : FLT_MAX;
        const double raw[8] = {most, -most, most, -most, most, most, most, -most};
        double x[33], y[66];
        for (int i = 0; i < 33; i++) x[i] = -3 + 6 * i / 32.0;
        for (int inverse = 0; inverse < 2; inverse++) {
            one_spline((ad_type)type, raw, 8, NULL, inverse, x, 33, y, NULL);
            for (int i = 0; i < 33; i++) {
                assert_true(fabs(y[2 * i]) <= 3 && isfinite(y[2 * i + 1]));
                assert_true(i == 0 || y[2 * i] >= y[2 * i - 2]);
            }
        }
    }
}

// ---- options --------------------------------------------------------------------------------------------------------

// Equal bins and slopes of 1 are the identity.
static void equal_bins_of_slope_one_are_the_identity(void **state) {
    (void)state;
    const double one = log(expm1(1 - 1e-3)), raw[8] = {7, 7, 7, -2, -2, -2, one, one};
    double x[9], y[18], gx[9];
    for (int i = 0; i < 9; i++) x[i] = -2 + 0.5 * i;
    one_spline(AD_F64, raw, 8, &(ad_spline_options){.bound = 1.7}, false, x, 9, y, gx);
    for (int i = 0; i < 9; i++) {
        util_assert_close(y[2 * i], x[i], 1e-15);
        util_assert_close(y[2 * i + 1], 0, 1e-15);
    }
}

static void scale_multiplies_raw_sizes(void **state) {
    (void)state;
    double raw[8] = {1, -2, 0.5, 0, 2, -1, 3, -4}, x[5] = {-2.5, -1, 0.25, 1, 2}, a[10], b[10];
    one_spline(AD_F64, raw, 8, &(ad_spline_options){.scale = 0.25}, false, x, 5, a, NULL);
    for (int j = 0; j < 6; j++) raw[j] /= 4;
    one_spline(AD_F64, raw, 8, NULL, false, x, 5, b, NULL);
    util_assert_all_close(a, b, 10, 1e-14);
}

// Widths 0.1 + 0.8 softmax, heights 0.2 + 0.6 softmax, slope 0.3 + softplus: the knot between two bins.
static void least_sizes_are_those_given(void **state) {
    (void)state;
    const ad_spline_options o = {.bound = 2, .min_width = 0.1, .min_height = 0.2, .min_derivative = 0.3};
    const double raw[5] = {log(3), 0, 0, log(2), 1};
    const double x = -2 + 4 * (0.1 + 0.8 * 0.75), y = -2 + 4 * (0.2 + 0.6 / 3), slope = log(0.3 + log1p(exp(1)));
    double got[2];
    one_spline(AD_F64, raw, 5, &o, false, &x, 1, got, NULL);
    util_assert_close(got[0], y, 1e-14);
    util_assert_close(got[1], slope, 1e-13);
    one_spline(AD_F64, raw, 5, &o, true, &y, 1, got, NULL);
    util_assert_close(got[0], x, 1e-14);
    util_assert_close(got[1], -slope, 1e-13);
}

static void refuse(ad_shape x, ad_shape p, const ad_spline_options *options, const char *part) {
    static const double zeros[64];
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var v = ad_rational_quadratic(ad_constant(tape, x, zeros), ad_constant(tape, p, zeros), options, false);
    assert_false(ad_ok(v));
    assert_true(ad_tape_status(tape) != AD_OK);
    util_assert_contains(ad_tape_message(tape), part);
    ad_tape_free(tape);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    refuse(ad_shape1(2), ad_shape2(2, 7), NULL, "3 K - 1");
    refuse(ad_shape1(2), ad_shape2(2, 2), NULL, "3 K - 1");
    refuse(ad_shape1(2), ad_shape2(3, 5), NULL, "x is [2] and its parameters [3,5]");
    refuse(ad_shape1(2), ad_shape1(5), NULL, "3 K - 1");
    refuse(ad_shape1(2), ad_shape2(2, 8), &(ad_spline_options){.min_width = 0.4}, "more than the box holds");
    refuse(ad_shape1(2), ad_shape2(2, 8), &(ad_spline_options){.bound = -1}, "bound -1");
    refuse(ad_shape1(2), ad_shape2(2, 8), &(ad_spline_options){.min_height = NAN}, "out of range");
    refuse(ad_shape1(2), ad_shape2(2, 8), &(ad_spline_options){.min_derivative = 2}, "derivative 2");
    refuse(ad_shape1(2), ad_shape2(2, 8), &(ad_spline_options){.scale = -1}, "scale -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(y_has_the_reference_values),
        cmocka_unit_test(x_has_the_reference_values),
        cmocka_unit_test(gradients_have_the_reference_values),
        cmocka_unit_test(inner_bins_of_a_box_have_the_reference_values),
        cmocka_unit_test(f32_keeps_the_laws),
        cmocka_unit_test(f64_keeps_the_laws),
        cmocka_unit_test(nan_and_infinities_give_themselves),
        cmocka_unit_test(parameters_of_nan_reach_their_points_alone),
        cmocka_unit_test(enormous_parameters_stay_in_the_box),
        cmocka_unit_test(equal_bins_of_slope_one_are_the_identity),
        cmocka_unit_test(scale_multiplies_raw_sizes),
        cmocka_unit_test(least_sizes_are_those_given),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
