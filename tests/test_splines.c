// test_splines.c -- transformers of bins and other increasing maps of few parameters: closed forms, starts, gradients to
// second order, wild parameters, refusals.
#include "layers.h"

// ---- all of them ----------------------------------------------------------------------------------------------------

typedef struct maker {
    const char *name;
    flow_transformer *(*make)(const flow_spline_transformer_options *options, ad_error *error);
    double bound;  // of log-slopes, with the options below
} maker;

static const maker makers[] = {
    {"linear spline", flow_linear_spline_transformer, 8},
};
enum { MAKERS = sizeof makers / sizeof *makers, K = 4 };

static flow_transformer *made(const maker *m) {
    const flow_spline_transformer_options o = {.bins = K, .spline = {.bound = 3}};
    flow_transformer *t = m->make(&o, &layers_error);
    layers_assert_made(t);
    assert_string_equal(t->type->name, m->name);
    return t;
}

// n points through one feature's map with these raw parameters.
static void run(const flow_transformer *t, ad_type type, bool normalize, const double *raw, const double *v, int64_t n,
                double *value, double *log_det) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(v, n);
    flow_parameters p = {ad_constant(tape, ad_shape2(1, t->P), raw), 1, t->P, true};
    ad_var in = ad_input(util_rows(tape, "points", n), ad_shape1(1), &source);
    flow_result r = normalize ? flow_transformer_normalize(t, p, in) : flow_transformer_generate(t, p, in);
    ad_keep(r.value);
    ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, value, n);
    util_read(r.log_det, log_det, n);
    ad_tape_free(tape);
}

static double *start(const flow_transformer *t) {
    double *raw = calloc((size_t)t->P, sizeof *raw);
    if (t->type->identity) t->type->identity(t, raw);
    return raw;
}

static void they_start_as_the_identity(void **state) {
    (void)state;
    double v[40], z[40], log_det[40];
    for (int i = 0; i < 40; i++) v[i] = -4.1 + 0.2 * i;
    for (int i = 0; i < MAKERS; i++) {
        flow_transformer *t = made(&makers[i]);
        double *raw = start(t);
        for (int way = 0; way < 2; way++) {
            run(t, AD_F64, way, raw, v, 40, z, log_det);
            util_assert_all_close(z, v, 40, 1e-13);
            for (int k = 0; k < 40; k++) util_assert_close(log_det[k], 0, 1e-12);
        }
        free(raw);
        flow_transformer_free(t);
    }
}

// In units of what rounding costs: in x that of z, or in z that of x. Any parameters, points in bins, at the box's ends and
// far out.
static void check_wild(const maker *m, ad_type type, double size, uint64_t *seed) {
    enum { POINTS = 60 };
    const double edges[] = {-3, 3, 0, -0.0, 1e12, -1e12, 1e-30, 2.9999998, 3.0000002};
    double v[POINTS], z[POINTS], back[POINTS], again[POINTS], log_det[POINTS], unused[POINTS];
    flow_transformer *t = made(m);
    double *raw = start(t);
    for (int64_t i = 0; i < t->P; i++) raw[i] += util_uniform(seed, -size, size);
    for (int k = 0; k < POINTS; k++) v[k] = k < 9 ? edges[k] : (double)(float)util_uniform(seed, -3.5, 3.5);
    run(t, type, true, raw, v, POINTS, z, log_det);
    run(t, type, false, raw, z, POINTS, back, unused);
    run(t, type, true, raw, back, POINTS, again, unused);
    for (int k = 0; k < POINTS; k++) {
        const double eps = type == AD_F64 ? 0x1p-52 : 0x1p-23, slope = exp(log_det[k]);
        const double unit = 8 * eps * fmax(3, fmax(fabs(v[k]), fabs(z[k])));
        if (!isfinite(z[k]) || !(fabs(log_det[k]) <= m->bound) ||
            (!(fabs(back[k] - v[k]) <= unit * (1 + 1 / slope)) && !(fabs(again[k] - z[k]) <= unit * (1 + slope)))) {
            fail_msg("%s: from %.17g by %.17g of slope %g to %.17g", m->name, v[k], z[k], slope, back[k]);
        }
    }
    free(raw);
    flow_transformer_free(t);
}

static void wild_parameters_come_back(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < MAKERS; i++) {
        for (int k = 0; k < (UTIL_SANITIZED ? 6 : 40); k++) {
            check_wild(&makers[i], (ad_type)(k % 2), 0.1 * pow(1000, util_uniform(&seed, 0, 1)), &seed);
        }
    }
}

typedef struct probe {
    const flow_transformer *t;
    bool normalize;
} probe;

// Four points, each near the middle of a bin of its own and never at a knot, nearly even ones.
static ad_var weighted(void *arg, const ad_var *x) {
    static const double centers[K] = {-2.2, -0.7, 0.8, 2.3}, weights[K] = {1, -0.6, 0.8, 1.3};
    const probe *p = arg;
    ad_var v = ad_add(ad_scale(x[0], 0.15), ad_constant(x[0].tape, ad_shape1(K), centers));
    double *raw = start(p->t);
    ad_var identity = ad_constant(x[0].tape, ad_shape2(1, p->t->P), raw);
    free(raw);
    flow_parameters parameters = {ad_add(ad_scale(x[1], 0.12), identity), K, p->t->P, true};
    flow_result r =
        p->normalize ? flow_transformer_normalize(p->t, parameters, v) : flow_transformer_generate(p->t, parameters, v);
    ad_var w = ad_constant(x[0].tape, ad_shape1(K), weights);
    return ad_add(ad_sum(ad_mul(w, r.value)), ad_sum(ad_mul(ad_square(w), ad_reshape(r.log_det, ad_shape1(K)))));
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    for (int i = 0; i < MAKERS; i++) {
        for (int way = 0; way < 2; way++) {
            flow_transformer *t = made(&makers[i]);
            probe p = {t, way};
            const ad_gradcheck_input inputs[] = {{.shape = ad_shape1(K), .rows = true},
                                                 {.shape = ad_shape2(K, t->P), .rows = true}};
            const ad_gradcheck_options o = {.cases = UTIL_SANITIZED ? 1 : 3};
            if (ad_gradcheck(weighted, &p, inputs, 2, &o, &layers_error) != AD_OK) {
                fail_msg("%s: %s", makers[i].name, layers_error.message);
            }
            flow_transformer_free(t);
        }
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
static void compare(const maker *m, const double *raw, int64_t P,
                    double (*formula)(const double *raw, double x, double *log_slope)) {
    double x[50], z[50], log_det[50], slope;
    flow_transformer *t = made(m);
    assert_int_equal(t->P, P);
    util_fill(x, 50, 11, -3.6, 3.6);
    run(t, AD_F64, true, raw, x, 50, z, log_det);
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

static void a_linear_spline_is_its_formula(void **state) {
    (void)state;
    compare(&makers[0], (const double[]){0.3, -1, 2, 0.5}, K, straight_pieces);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void bad_options_are_refused(void **state) {
    (void)state;
    for (int i = 0; i < MAKERS; i++) {
        assert_null(makers[i].make(&(flow_spline_transformer_options){.bins = 5000}, &layers_error));
        util_assert_contains(layers_error.message, "5000 bins");
        util_assert_contains(layers_error.message, makers[i].name);
        assert_null(makers[i].make(&(flow_spline_transformer_options){.spline = {.bound = -1}}, &layers_error));
        util_assert_contains(layers_error.message, "bound -1");
        assert_int_equal(layers_error.status, AD_EARG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_start_as_the_identity),
        cmocka_unit_test(wild_parameters_come_back),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(a_linear_spline_is_its_formula),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
