// transformers.h -- for tests: what transformers of any kind should do at the start, with wild parameters, and their
// gradients.
#ifndef PULLBACK_TESTS_TRANSFORMERS_H
#define PULLBACK_TESTS_TRANSFORMERS_H

#include "layers.h"

// A transformer with knots, where it has any, at -3, -1.5, 0, 1.5 and 3 to begin with.
typedef struct transformers_maker {
    const char *name;
    flow_transformer *(*make)(ad_error *error);
    double bound;  // of log-slopes
    bool circle;   // of points in the box from -3 to 3 alone
    double start;  // how far from the identity it may start; 0: not at all
} transformers_maker;

static inline flow_transformer *transformers_made(const transformers_maker *m) {
    flow_transformer *t = m->make(&layers_error);
    layers_assert_made(t);
    assert_string_equal(t->type->name, m->name);
    return t;
}

// n points through one feature's map with these raw parameters.
static inline void transformers_run(const flow_transformer *t, ad_type type, bool normalize, const double *raw,
                                    const double *v, int64_t n, double *value, double *log_det) {
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

static inline double *transformers_start(const flow_transformer *t) {
    double *raw = calloc((size_t)t->P, sizeof *raw);
    if (t->type->identity) t->type->identity(t, raw);
    return raw;
}

static inline void transformers_check_starts(const transformers_maker *makers, int n) {
    double v[40], z[40], log_det[40];
    for (int i = 0; i < n; i++) {
        const double step = makers[i].circle ? 0.15 : 0.2, tolerance = makers[i].start > 0 ? makers[i].start : 1e-12;
        for (int k = 0; k < 40; k++) v[k] = -19.6 * step + step * k;
        flow_transformer *t = transformers_made(&makers[i]);
        double *raw = transformers_start(t);
        for (int way = 0; way < 2; way++) {
            transformers_run(t, AD_F64, way, raw, v, 40, z, log_det);
            util_assert_all_close(z, v, 40, tolerance);
            for (int k = 0; k < 40; k++) util_assert_close(log_det[k], 0, tolerance);
        }
        free(raw);
        flow_transformer_free(t);
    }
}

static inline double transformers_apart(const transformers_maker *m, double a, double b) {
    const double d = fabs(a - b);
    return m->circle ? fmin(d, fabs(6 - d)) : d;
}

// In units of what rounding costs: in x that of z, or in z that of x. Any parameters, points in bins, at the box's ends
// and far out.
static inline void transformers_check_one_wild(const transformers_maker *m, ad_type type, double size, uint64_t *seed) {
    enum { POINTS = 60 };
    const double edges[] = {-3, 3, 0, -0.0, 1e12, -1e12, 1e-30, 2.9999998, 3.0000002};
    double v[POINTS], z[POINTS], back[POINTS], again[POINTS], log_det[POINTS], unused[POINTS];
    flow_transformer *t = transformers_made(m);
    double *raw = transformers_start(t);
    for (int64_t i = 0; i < t->P; i++) raw[i] += util_uniform(seed, -size, size);
    const double reach = m->circle ? 3 : 3.5;
    for (int k = 0; k < POINTS; k++) {
        v[k] =
            k < 9 && !(m->circle && fabs(edges[k]) > 3) ? edges[k] : (double)(float)util_uniform(seed, -reach, reach);
    }
    transformers_run(t, type, true, raw, v, POINTS, z, log_det);
    transformers_run(t, type, false, raw, z, POINTS, back, unused);
    transformers_run(t, type, true, raw, back, POINTS, again, unused);
    for (int k = 0; k < POINTS; k++) {
        const double eps = type == AD_F64 ? 0x1p-52 : 0x1p-23, slope = exp(log_det[k]);
        const double unit = 8 * eps * fmax(3, fmax(fabs(v[k]), fabs(z[k])));
        if (!isfinite(z[k]) || !(fabs(log_det[k]) <= m->bound) ||
            (!(transformers_apart(m, back[k], v[k]) <= unit * (1 + 1 / slope)) &&
             !(transformers_apart(m, again[k], z[k]) <= unit * (1 + slope)))) {
            fail_msg("%s: from %.17g by %.17g of slope %g to %.17g", m->name, v[k], z[k], slope, back[k]);
        }
    }
    free(raw);
    flow_transformer_free(t);
}

static inline void transformers_check_wild(const transformers_maker *makers, int n) {
    uint64_t seed = 5;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < (UTIL_SANITIZED ? 6 : 40); k++) {
            transformers_check_one_wild(&makers[i], (ad_type)(k % 2), 0.1 * pow(1000, util_uniform(&seed, 0, 1)),
                                        &seed);
        }
    }
}

typedef struct transformers_probe {
    const flow_transformer *t;
    bool normalize;
} transformers_probe;

// Four points, each near the middle of a bin of its own and never at a knot, nearly even ones.
// Raw numbers as a net gone wild gives them: values, log-slopes and gradients without NaN. A layer's check has no
// parameters like these.
static inline void transformers_check_one_huge(const transformers_maker *m, ad_type type, uint64_t *seed) {
    static const double sizes[] = {0, 1, -1, 1e5, -1e5, 1e30, -1e30}, v[] = {-2.9, -3, 3, 0.2, 1.4, 2.999};
    enum { POINTS = sizeof v / sizeof *v };
    flow_transformer *t = transformers_made(m);
    double *raw = calloc((size_t)t->P, sizeof *raw), out[4][POINTS], *g = calloc((size_t)t->P, sizeof *g);
    for (int64_t i = 0; i < t->P; i++) raw[i] = sizes[(int)util_uniform(seed, 0, 6.999)];
    for (int way = 0; way < 2; way++) {
        ad_tape *tape = ad_tape_new(NULL, type);
        ad_source source = util_source(v, POINTS);
        ad_var in = ad_input(util_rows(tape, "points", POINTS), ad_shape1(1), &source), grad[2];
        flow_parameters p = {ad_constant(tape, ad_shape2(1, t->P), raw), 1, t->P, true};
        flow_result r = way ? flow_transformer_normalize(t, p, in) : flow_transformer_generate(t, p, in);
        ad_var sum = ad_sum_rows(ad_add(ad_sum(r.value), ad_sum(r.log_det)));
        ad_grad(sum, (const ad_var[]){in, p.raw}, 2, grad);
        ad_keep(r.value), ad_keep(r.log_det), ad_keep(grad[0]), ad_keep(grad[1]);
        util_run(tape);
        util_read(r.value, out[0], POINTS);
        util_read(r.log_det, out[1], POINTS);
        util_read(grad[0], out[2], POINTS);
        util_read(grad[1], g, t->P);
        for (int i = 0; i < 3 * POINTS; i++) {
            const double at = out[i / POINTS][i % POINTS];
            if (i / POINTS < 2 ? !isfinite(at) : isnan(at))
                fail_msg("%s, way %d, f%d: output %d is %g", m->name, way, type ? 64 : 32, i / POINTS, at);
        }
        for (int64_t i = 0; i < t->P; i++) {
            if (isnan(g[i])) fail_msg("%s, way %d, f%d: gradient %d", m->name, way, type ? 64 : 32, (int)i);
        }
        ad_tape_free(tape);
    }
    free(raw), free(g);
    flow_transformer_free(t);
}

static inline void transformers_check_huge(const transformers_maker *makers, int n) {
    uint64_t seed = 8;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < (UTIL_SANITIZED ? 10 : 100); k++) {
            transformers_check_one_huge(&makers[i], (ad_type)(k % 2), &seed);
        }
    }
}

enum { TRANSFORMERS_K = 4 };
static inline ad_var transformers_weighted(void *arg, const ad_var *x) {
    static const double centers[TRANSFORMERS_K] = {-2.2, -0.7, 0.8, 2.3}, weights[TRANSFORMERS_K] = {1, -0.6, 0.8, 1.3};
    const transformers_probe *p = arg;
    ad_var v = ad_add(ad_scale(x[0], 0.15), ad_constant(x[0].tape, ad_shape1(TRANSFORMERS_K), centers));
    double *raw = transformers_start(p->t);
    ad_var identity = ad_constant(x[0].tape, ad_shape2(1, p->t->P), raw);
    free(raw);
    flow_parameters parameters = {ad_add(ad_scale(x[1], 0.12), identity), TRANSFORMERS_K, p->t->P, true};
    flow_result r =
        p->normalize ? flow_transformer_normalize(p->t, parameters, v) : flow_transformer_generate(p->t, parameters, v);
    ad_var w = ad_constant(x[0].tape, ad_shape1(TRANSFORMERS_K), weights);
    return ad_add(ad_sum(ad_mul(w, r.value)),
                  ad_sum(ad_mul(ad_square(w), ad_reshape(r.log_det, ad_shape1(TRANSFORMERS_K)))));
}

static inline void transformers_check_gradients(const transformers_maker *makers, int n) {
    for (int i = 0; i < n; i++) {
        for (int way = 0; way < 2; way++) {
            flow_transformer *t = transformers_made(&makers[i]);
            transformers_probe p = {t, way};
            const ad_gradcheck_input inputs[] = {{.shape = ad_shape1(TRANSFORMERS_K), .rows = true},
                                                 {.shape = ad_shape2(TRANSFORMERS_K, t->P), .rows = true}};
            const ad_gradcheck_options o = {.cases = UTIL_SANITIZED ? 1 : 3};
            if (ad_gradcheck(transformers_weighted, &p, inputs, 2, &o, &layers_error) != AD_OK) {
                fail_msg("%s: %s", makers[i].name, layers_error.message);
            }
            flow_transformer_free(t);
        }
    }
}

#endif
