// test_splines.c -- transformers of bins: closed forms, starts, gradients to second order, wild parameters, refusals.
#include "transformers.h"

// ---- all of them ----------------------------------------------------------------------------------------------------

enum { LINEAR, QUADRATIC, LINEAR_RATIONAL, CUBIC, HERMITE, CIRCULAR, SINUSOID, MAKERS };
enum { K = 4 };
static const flow_spline_transformer_options small = {.bins = K, .spline = {.bound = 3}};

#define SMALL(name)                                          \
    static flow_transformer *small_##name(ad_error *error) { \
        return flow_##name##_transformer(&small, error);     \
    }
SMALL(linear_spline)
SMALL(quadratic_spline)
SMALL(linear_rational_spline)
SMALL(cubic_spline)
SMALL(hermite_spline)
SMALL(circular_spline)
SMALL(sinusoid)

static const transformers_maker makers[] = {
    {"linear spline", small_linear_spline, 6, false, 0},
    {"quadratic spline", small_quadratic_spline, 7, false, 0},
    {"linear-rational spline", small_linear_rational_spline, 25, false, 0},
    {"cubic spline", small_cubic_spline, 15, false, 0},
    {"hermite spline", small_hermite_spline, 15, false, 0},
    {"circular spline", small_circular_spline, 25, true, 0},
    {"sinusoid", small_sinusoid, 13, false, 0.03},
};

static void they_start_as_the_identity(void **state) {
    (void)state;
    transformers_check_starts(makers, MAKERS);
}

static void wild_parameters_come_back(void **state) {
    (void)state;
    transformers_check_wild(makers, MAKERS);
}

static void huge_parameters_make_no_nan(void **state) {
    (void)state;
    transformers_check_huge(makers, MAKERS);
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    transformers_check_gradients(makers, MAKERS);
}

// Few data lie outside the box, and layer stands upon layer: whatever was learned inside moves nothing there.
static void outside_is_the_identity(void **state) {
    (void)state;
    const double x[4] = {-50, -3.0001, 3.0001, 50};
    double raw[40], z[4], log_det[4];
    util_fill(raw, 40, 5, -20, 20);
    for (int i = 0; i < MAKERS; i++) {
        flow_transformer *t = transformers_made(&makers[i]);
        for (int way = 0; way < 2; way++) {
            transformers_run(t, AD_F64, way, raw, x, 4, z, log_det);
            for (int k = 0; k < 4 && !makers[i].circle; k++) {
                if (z[k] != x[k] || log_det[k] != 0) fail_msg("%s: %g to %g", makers[i].name, x[k], z[k]);
            }
        }
        flow_transformer_free(t);
    }
}

// ---- closed forms ---------------------------------------------------------------------------------------------------

// min + (1 - n min) softmax.
static void shares(const double *raw, int n, double least, double *out) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += exp(raw[i]);
    for (int i = 0; i < n; i++) out[i] = least + (1 - n * least) * exp(raw[i]) / sum;
}

// Values and log-slopes of the map with these raw parameters against a formula's.
static void compare(const transformers_maker *m, const double *raw, int64_t P,
                    double (*formula)(const double *raw, double x, double *log_slope)) {
    double x[50], z[50], log_det[50], slope;
    flow_transformer *t = transformers_made(m);
    assert_int_equal(t->P, P);
    const double reach = m->circle ? 3 : 3.6;
    util_fill(x, 50, 11, -reach, reach);
    transformers_run(t, AD_F64, true, raw, x, 50, z, log_det);
    for (int i = 0; i < 50; i++) {
        util_assert_close(z[i], formula(raw, x[i], &slope), 1e-13);
        util_assert_close(log_det[i], slope, 1e-12);
    }
    flow_transformer_free(t);
}

// Prince, eq. 16.12, with h = (x + 3) / 6.
static double straight_pieces(const double *raw, double x, double *log_slope) {
    double phi[K], sum = 0, h = (x + 3) / 6;
    *log_slope = 0;
    if (h < 0 || h > 1) return x;
    shares(raw, K, 1e-3, phi);
    const int b = (int)fmin(floor(K * h), K - 1);
    for (int k = 0; k < b; k++) sum += phi[k];
    *log_slope = log(K * phi[b]);
    return 6 * (sum + (K * h - b) * phi[b]) - 3;
}

// The bin of x among knots from -3 to 3 of these shares, the knots' values being those of the others.
typedef struct bin {
    int k;
    double x0, w, y0, h, t;
} bin;
static bin bin_of(const double *widths, const double *heights, double x) {
    bin b = {0, -3, 6 * widths[0], -3, 6 * heights[0], 0};
    while (b.k < K - 1 && x >= b.x0 + b.w) {
        b.x0 += b.w, b.y0 += b.h;
        b.k++;
        b.w = 6 * widths[b.k], b.h = 6 * heights[b.k];
    }
    b.t = (x - b.x0) / b.w;
    return b;
}

// Densities at the ends 1, the rest as the paper's over the area, which with them is 1.
static double parabolas(const double *raw, double x, double *log_slope) {
    double w[K], e[K + 1], area = 0, sum = 0;
    *log_slope = 0;
    if (fabs(x) > 3) return x;
    shares(raw, K, 1e-3, w);
    for (int i = 0; i < K - 1; i++) sum += e[i + 1] = exp(raw[K + i]);
    for (int i = 1; i < K; i++) area += e[i] * (w[i - 1] + w[i]) / 2;
    e[0] = e[K] = area / (1 - (w[0] + w[K - 1]) / 2);
    for (int i = 0; i <= K; i++) e[i] = 1e-3 + (1 - 1e-3) * e[i] / e[K];
    double total = 0, heights[K];
    for (int i = 0; i < K; i++) total += heights[i] = w[i] * (e[i] + e[i + 1]) / 2;
    util_assert_close(total, 1, 1e-14);
    bin b = bin_of(w, heights, x);
    *log_slope = log(e[b.k] + (e[b.k + 1] - e[b.k]) * b.t);
    return b.y0 + b.w * (e[b.k] * b.t + (e[b.k + 1] - e[b.k]) * b.t * b.t / 2);
}

static double bounded_slope(double raw) {
    const double m = -log(1e-3);
    return exp(m * tanh(raw / m));
}

// As the paper's algorithm has it, in x and y.
static double linear_rationals(const double *raw, double x, double *log_slope) {
    double w[K], h[K], d[K + 1] = {[0] = 1, [K] = 1};
    *log_slope = 0;
    if (fabs(x) > 3) return x;
    shares(raw, K, 1e-3, w);
    shares(raw + K, K, 1e-3, h);
    for (int i = 1; i < K; i++) d[i] = bounded_slope(raw[2 * K + i - 1]);
    bin b = bin_of(w, h, x);
    const double l = 0.025 + 0.95 / (1 + exp(-raw[3 * K - 1 + b.k])), d0 = d[b.k], d1 = d[b.k + 1], t = b.t;
    const double wa = 1, wb = sqrt(d0 / d1) * wa, wc = (l * wa * d0 + (1 - l) * wb * d1) / (b.h / b.w);
    const double ya = b.y0, yb = b.y0 + b.h, yc = ((1 - l) * wa * ya + l * wb * yb) / ((1 - l) * wa + l * wb);
    if (t <= l) {
        const double below = wa * (l - t) + wc * t;
        *log_slope = log(wa * wc * l * (yc - ya) / (below * below) / b.w);
        return (wa * ya * (l - t) + wc * yc * t) / below;
    }
    const double below = wc * (1 - t) + wb * (t - l);
    *log_slope = log(wb * wc * (1 - l) * (yb - yc) / (below * below) / b.w);
    return (wc * yc * (1 - t) + wb * yb * (t - l)) / below;
}

// Hermite's cubic by its four basis polynomials, of slopes d at the knots; outside the identity.
static double hermite(const double *w, const double *h, const double *d, double x, double *log_slope) {
    *log_slope = 0;
    if (fabs(x) > 3) return x;
    bin b = bin_of(w, h, x);
    const double t = b.t, t2 = t * t, t3 = t2 * t, y1 = b.y0 + b.h, d0 = b.w * d[b.k], d1 = b.w * d[b.k + 1];
    *log_slope = log(((6 * t2 - 6 * t) * (b.y0 - y1) + (3 * t2 - 4 * t + 1) * d0 + (3 * t2 - 2 * t) * d1) / b.w);
    return (2 * t3 - 3 * t2 + 1) * b.y0 + (t3 - 2 * t2 + t) * d0 + (3 * t2 - 2 * t3) * y1 + (t3 - t2) * d1;
}

static double ratio(double raw) {
    return 1e-3 + (2.99 - 1e-3) / (1 + exp(-raw));
}

static double steffen(const double *raw, double x, double *log_slope) {
    double w[K], h[K], s[K], d[K + 1];
    shares(raw, K, 1e-3, w);
    shares(raw + K, K, 1e-3, h);
    for (int i = 0; i < K; i++) s[i] = h[i] / w[i];
    d[0] = ratio(raw[2 * K]) * s[0];
    d[K] = ratio(raw[2 * K + 1]) * s[K - 1];
    for (int i = 1; i < K; i++) {
        const double p = (s[i - 1] * w[i] + s[i] * w[i - 1]) / (w[i - 1] + w[i]);
        d[i] = 2 * fmin(fmin(s[i - 1], s[i]), p / 2);
    }
    return hermite(w, h, d, x, log_slope);
}

static double learned_slopes(const double *raw, double x, double *log_slope) {
    double w[K], h[K], s[K + 2], d[K + 1];
    shares(raw, K, 1e-3, w);
    shares(raw + K, K, 1e-3, h);
    for (int i = 0; i < K; i++) s[i + 1] = h[i] / w[i];
    s[0] = s[1], s[K + 1] = s[K];
    for (int i = 0; i <= K; i++) d[i] = ratio(raw[2 * K + i]) * fmin(s[i], s[i + 1]);
    return hermite(w, h, d, x, log_slope);
}

// Durkan et al. 2019, "Neural spline flows", eq. 4 and 5, with one slope at both ends, then the turn.
static double turned_spline(const double *raw, double x, double *log_slope) {
    double w[K], h[K], d[K + 1];
    shares(raw, K, 1e-3, w);
    shares(raw + K, K, 1e-3, h);
    for (int i = 0; i <= K; i++) d[i] = bounded_slope(raw[2 * K + i % K]);
    bin b = bin_of(w, h, x);
    const double s = b.h / b.w, t = b.t, d0 = d[b.k], d1 = d[b.k + 1], below = s + (d1 + d0 - 2 * s) * t * (1 - t);
    const double y = b.y0 + b.h * (s * t * t + d0 * t * (1 - t)) / below + raw[3 * K];
    *log_slope = log(s * s * (d1 * t * t + 2 * s * t * (1 - t) + d0 * (1 - t) * (1 - t)) / (below * below));
    return y < -3 ? y + 6 : y > 3 ? y - 6 : y;
}

// Prince, eq. 16.33, corrected, and the straight line.
static double sines(const double *raw, double x, double *log_slope) {
    double phi[K], sum = 0, h = (x + 3) / 6, part = (1 - 1e-3) / (1 + exp(-raw[K])), turn = 1.57079632679489661923;
    *log_slope = 0;
    if (h < 0 || h > 1) return x;
    shares(raw, K, 1e-3, phi);
    const int b = (int)fmin(floor(K * h), K - 1);
    for (int k = 0; k < b; k++) sum += phi[k];
    *log_slope = log(K * phi[b] * (part * turn * cos((K * h - b) * turn) + 1 - part));
    return 6 * (sum + phi[b] * (part * sin((K * h - b) * turn) + (1 - part) * (K * h - b))) - 3;
}

static const double some[4 * K - 1] = {0.3, -1, 2, 0.5, 0.7, -0.4, 1.2, -1.5, 0.6, -2, 1.1, 0.9, 0.2, -1.2, 3};

static void straight_pieces_are_their_formula(void **state) {
    (void)state;
    compare(&makers[LINEAR], some, K, straight_pieces);
}

static void quadratic_splines_are_their_formula(void **state) {
    (void)state;
    compare(&makers[QUADRATIC], some, 2 * K - 1, parabolas);
}

static void linear_rational_splines_are_their_formula(void **state) {
    (void)state;
    compare(&makers[LINEAR_RATIONAL], some, 4 * K - 1, linear_rationals);
}

static void cubic_splines_are_their_formula(void **state) {
    (void)state;
    compare(&makers[CUBIC], some, 2 * K + 2, steffen);
}

static void hermite_splines_are_their_formula(void **state) {
    (void)state;
    compare(&makers[HERMITE], some, 3 * K + 1, learned_slopes);
}

static void circular_splines_are_their_formula(void **state) {
    (void)state;
    compare(&makers[CIRCULAR], some, 3 * K + 1, turned_spline);
}

static void waves_are_their_formula(void **state) {
    (void)state;
    compare(&makers[SINUSOID], some, K + 1, sines);
}

// What the straight line takes away: with all of the sine, the slope at a bin's right edge is that of the line alone.
static void a_wave_is_not_flat_at_its_end(void **state) {
    (void)state;
    const double raw[K + 1] = {0, 0, 0, 0, 60}, x[2] = {-1.5 - 1e-12, -1.5};
    double z[2], log_det[2];
    flow_transformer *t = transformers_made(&makers[SINUSOID]);
    transformers_run(t, AD_F64, true, raw, x, 2, z, log_det);
    util_assert_close(log_det[0], log(1e-3), 1e-6);
    util_assert_close(log_det[1], log(1e-3 + 0.999 * 1.57079632679489661923), 1e-12);
    flow_transformer_free(t);
}

// Both ends of the box are one point: the same slope, and the same place after a turn.
static void a_circle_is_closed(void **state) {
    (void)state;
    const double x[2] = {-3, 3};
    double z[2], log_det[2], back[2];
    flow_transformer *t = transformers_made(&makers[CIRCULAR]);
    assert_true(t->low == -3 && t->high == 3 && t->z_low == -3 && t->z_high == 3);
    transformers_run(t, AD_F64, true, some, x, 2, z, log_det);
    util_assert_close(log_det[0], log_det[1], 1e-13);
    assert_true(transformers_apart(&makers[CIRCULAR], z[0], z[1]) < 1e-14);
    transformers_run(t, AD_F64, false, some, z, 2, back, log_det);
    for (int i = 0; i < 2; i++) assert_true(transformers_apart(&makers[CIRCULAR], back[i], 3) < 1e-13);
    flow_transformer_free(t);
}

// Of the whole model: a density on a torus, with samples of it.
static void a_model_lies_on_a_torus(void **state) {
    (void)state;
    flow_model *model = flow_from_text(
        "nsf-ar:transformer=circular,layers=2,bins=4,hidden=8x1,activation=tanh,type=f64", 2, 0, &layers_error);
    layers_assert_made(model);
    const flow_check_options o = {.cases = 1};
    if (flow_check_model(model, &o, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_model_free(model);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static flow_transformer *(*const constructors[])(const flow_spline_transformer_options *, ad_error *) = {
    flow_linear_spline_transformer, flow_quadratic_spline_transformer, flow_linear_rational_spline_transformer,
    flow_cubic_spline_transformer,  flow_hermite_spline_transformer,   flow_circular_spline_transformer,
    flow_sinusoid_transformer,
};

static void bad_options_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < MAKERS; i++) {
        assert_null(constructors[i](&(flow_spline_transformer_options){.bins = 5000}, &layers_error));
        util_assert_contains(layers_error.message, "5000 bins");
        util_assert_contains(layers_error.message, makers[i].name);
        const bool three = i == QUADRATIC;
        assert_null(constructors[i](&(flow_spline_transformer_options){.bins = 1 + three}, &layers_error));
        util_assert_contains(layers_error.message, three ? "2 bins, expected 3" : "1 bins, expected 2");
        assert_null(constructors[i](&(flow_spline_transformer_options){.spline = {.bound = -1}}, &layers_error));
        util_assert_contains(layers_error.message, "bound -1");
        assert_int_equal(layers_error.status, AD_EARG);
    }
}

// Bins of which, at the right end, f32 sees no height.
static void flat_bins_are_finite_in_f32(void **state) {
    (void)state;
    enum { BINS = 64, N = 200 };
    double raw[2 * BINS - 1] = {0}, v[N], value[N], log_det[N];
    for (int k = 0; k < BINS / 2; k++) raw[BINS / 2 + k] = raw[BINS + BINS / 2 - 1 + k] = -60;
    for (int i = 0; i < N; i++) v[i] = 3 - i * 0x1p-22;
    const flow_spline_transformer_options o = {.bins = BINS, .spline = {.bound = 3, .min_width = 1e-6}};
    flow_transformer *t = flow_quadratic_spline_transformer(&o, &layers_error);
    layers_assert_made(t);
    for (int way = 0; way < 2; way++) {
        transformers_run(t, AD_F32, way, raw, v, N, value, log_det);
        for (int i = 0; i < N; i++) {
            if (!isfinite(log_det[i]) || !(fabs(value[i]) <= 3)) fail_msg("to %g, %g", value[i], log_det[i]);
        }
    }
    flow_transformer_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_start_as_the_identity),
        cmocka_unit_test(wild_parameters_come_back),
        cmocka_unit_test(huge_parameters_make_no_nan),
        cmocka_unit_test(outside_is_the_identity),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(straight_pieces_are_their_formula),
        cmocka_unit_test(quadratic_splines_are_their_formula),
        cmocka_unit_test(linear_rational_splines_are_their_formula),
        cmocka_unit_test(cubic_splines_are_their_formula),
        cmocka_unit_test(hermite_splines_are_their_formula),
        cmocka_unit_test(circular_splines_are_their_formula),
        cmocka_unit_test(waves_are_their_formula),
        cmocka_unit_test(a_wave_is_not_flat_at_its_end),
        cmocka_unit_test(a_circle_is_closed),
        cmocka_unit_test(a_model_lies_on_a_torus),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(flat_bins_are_finite_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
