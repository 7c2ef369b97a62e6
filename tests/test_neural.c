// test_neural.c -- transformers of sigmoids and small monotone nets: closed forms, reference values, starts, gradients
// to second order, wild parameters, tails, refusals.
#include "layers.h"

// ---- all of them ----------------------------------------------------------------------------------------------------

static flow_transformer *logistic_mixture(void) {
    return flow_logistic_mixture_transformer(&(flow_mixture_transformer_options){.components = 3}, &layers_error);
}
static flow_transformer *normal_mixture(void) {
    return flow_gaussianization_transformer(&(flow_mixture_transformer_options){.components = 3}, &layers_error);
}
static flow_transformer *logistic_gaussianization(void) {
    const flow_mixture_transformer_options o = {.components = 3, .logistic = true};
    return flow_gaussianization_transformer(&o, &layers_error);
}
static flow_transformer *sigmoidal(void) {
    const flow_mixture_transformer_options o = {.components = 3, .layers = 2};
    return flow_sigmoidal_transformer(&o, &layers_error);
}

static flow_transformer *dense_sigmoidal(void) {
    const flow_dense_sigmoidal_transformer_options o = {.units = 3, .layers = 2, .type = AD_F64};
    return flow_dense_sigmoidal_transformer(&o, &layers_error);
}
static flow_transformer *umnn(void) {
    const flow_umnn_transformer_options o = {.signal = 2, .width = 6, .nodes = 33, .reach = 5, .type = AD_F64};
    return flow_umnn_transformer(&o, &layers_error);
}

static flow_transformer *monotone_net(void) {
    const flow_monotone_net_transformer_options o = {.signal = 2, .width = 6, .type = AD_F64};
    return flow_monotone_net_transformer(&o, &layers_error);
}

typedef struct maker {
    const char *name;
    flow_transformer *(*make)(void);
    double near;  // how near the identity it starts, on [-2, 2]
} maker;

static const maker makers[] = {
    {"logistic mixture", logistic_mixture, 0.1},
    {"gaussianization", normal_mixture, 0.1},
    {"gaussianization", logistic_gaussianization, 0.4},  // as far as the distributions differ
    {"deep sigmoidal", sigmoidal, 0.2},
    {"dense sigmoidal", dense_sigmoidal, 0.2},
    {"umnn", umnn, 0.2},
    {"monotone net", monotone_net, 1},
};
enum { MAKERS = sizeof makers / sizeof *makers };

static flow_transformer *made(const maker *m) {
    flow_transformer *t = m->make();
    layers_assert_made(t);
    assert_string_equal(t->type->name, m->name);
    return t;
}

// n points through one feature's map with these raw parameters; false when the run fails for want of a root.
static bool try(const flow_transformer *t, ad_type type, bool normalize, const double *raw, const double *v, int64_t n,
                double *value, double *log_det) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(v, n);
    flow_parameters p = {ad_constant(tape, ad_shape2(1, t->P), raw), 1, t->P, true};
    ad_var in = ad_input(util_rows(tape, "points", n), ad_shape1(1), &source);
    flow_result r = normalize ? flow_transformer_normalize(t, p, in) : flow_transformer_generate(t, p, in);
    ad_keep(r.value);
    ad_keep(r.log_det);
    const ad_status status = ad_run(tape);
    if (status == AD_OK) {
        util_read(r.value, value, n);
        util_read(r.log_det, log_det, n);
    } else if (status != AD_ECONVERGE) {
        fail_msg("%s", ad_tape_message(tape));
    }
    ad_tape_free(tape);
    return status == AD_OK;
}

static void run(const flow_transformer *t, ad_type type, bool normalize, const double *raw, const double *v, int64_t n,
                double *value, double *log_det) {
    if (!try(t, type, normalize, raw, v, n, value, log_det)) fail_msg("%s: no root found", t->type->name);
}

static double *start(const flow_transformer *t) {
    double *raw = calloc((size_t)t->P, sizeof *raw);
    if (t->type->identity) t->type->identity(t, raw);
    return raw;
}

static void they_start_near_the_identity(void **state) {
    (void)state;
    double v[40], z[40], log_det[40];
    for (int k = 0; k < 40; k++) v[k] = -1.95 + 0.1 * k;
    for (int i = 0; i < MAKERS; i++) {
        flow_transformer *t = made(&makers[i]);
        double *raw = start(t);
        for (int way = 0; way < 2; way++) {
            run(t, AD_F64, way, raw, v, 40, z, log_det);
            for (int k = 0; k < 40; k++) {
                if (!(fabs(z[k] - v[k]) <= makers[i].near && fabs(log_det[k]) <= 2 * makers[i].near)) {
                    fail_msg("%s: from %g to %g, slope e^%g", makers[i].name, v[k], z[k], log_det[k]);
                }
            }
        }
        free(raw);
        flow_transformer_free(t);
    }
}

// In units of what rounding costs: in x that of z, or in z that of x. Any parameters.
static void check_wild(const maker *m, ad_type type, double size, uint64_t *seed) {
    enum { POINTS = 40 };
    const double edges[] = {0, -0.0, 1e-30, 1e4, -1e4, 30, -30};
    double v[POINTS], z[POINTS], back[POINTS], again[POINTS], log_det[POINTS], unused[POINTS];
    flow_transformer *t = made(m);
    double *raw = start(t);
    for (int64_t i = 0; i < t->P; i++) raw[i] += util_uniform(seed, -size, size);
    for (int k = 0; k < POINTS; k++) v[k] = k < 7 ? edges[k] : (double)(float)util_uniform(seed, -4, 4);
    run(t, type, true, raw, v, POINTS, z, log_det);
    run(t, type, false, raw, z, POINTS, back, unused);
    run(t, type, true, raw, back, POINTS, again, unused);
    for (int k = 0; k < POINTS; k++) {
        const double eps = type == AD_F64 ? 0x1p-52 : 0x1p-23, slope = exp(log_det[k]);
        const double unit = 200 * eps * fmax(10 + size, fmax(fabs(v[k]), fabs(z[k])));
        if (!isfinite(z[k]) || !isfinite(log_det[k]) ||
            (!(fabs(back[k] - v[k]) <= unit * (1 + 1 / slope)) && !(fabs(again[k] - z[k]) <= unit * (1 + slope)))) {
            fail_msg("%s %s: from %.17g by %.17g of slope %g to %.17g", m->name, type == AD_F64 ? "f64" : "f32", v[k],
                     z[k], slope, back[k]);
        }
    }
    free(raw);
    flow_transformer_free(t);
}

static void wild_parameters_come_back(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < MAKERS; i++) {
        for (int k = 0; k < (UTIL_SANITIZED ? 4 : 12); k++) {
            check_wild(&makers[i], (ad_type)(k % 2), 0.1 * pow(300, util_uniform(&seed, 0, 1)), &seed);
        }
    }
}

// Finite however far out, also by parameters as large: values, slopes and gradients; increasing.
static void tails_are_finite(void **state) {
    (void)state;
    const double v[] = {-3e38, -1e30, -1e20, -1e9, -1e4, -100, 100, 1e4, 1e9, 1e20, 1e30, 3e38};
    enum { N = sizeof v / sizeof *v };
    double z[N], log_det[N];
    for (int i = 0; i < 4 * MAKERS; i++) {
        flow_transformer *t = made(&makers[i / 4]);
        double *raw = start(t);
        uint64_t seed = (uint64_t)i;
        for (int64_t k = 0; k < t->P; k++) raw[k] += i & 2 ? 1e25 * util_uniform(&seed, -1, 1) : 0;
        run(t, (ad_type)(i & 1), true, raw, v, N, z, log_det);
        for (int k = 0; k < N; k++) {
            if (!isfinite(z[k]) || !isfinite(log_det[k]) || (k && !(z[k] >= z[k - 1]))) {
                fail_msg("%s, %d: from %g to %g, slope e^%g", makers[i / 4].name, i % 4, v[k], z[k], log_det[k]);
            }
        }
        free(raw);
        flow_transformer_free(t);
    }
}

// Raw numbers as a net gone wild gives them: values, log-slopes and gradients without NaN, or a run that fails.
static void check_huge(const maker *m, ad_type type, uint64_t *seed) {
    static const double sizes[] = {0, 1, -1, 1e5, -1e5, 1e30, -1e30}, v[] = {-2.9, 0, 0.2, 1.4, 30};
    enum { POINTS = sizeof v / sizeof *v };
    flow_transformer *t = made(m);
    double *raw = calloc((size_t)t->P, sizeof *raw), out[3][POINTS], *g = calloc((size_t)t->P, sizeof *g);
    for (int64_t i = 0; i < t->P; i++) raw[i] = sizes[(int)util_uniform(seed, 0, 6.999)];
    for (int way = 0; way < 2; way++) {
        ad_tape *tape = ad_tape_new(NULL, type);
        ad_source source = util_source(v, POINTS);
        ad_var in = ad_input(util_rows(tape, "points", POINTS), ad_shape1(1), &source), grad[2];
        flow_parameters p = {ad_constant(tape, ad_shape2(1, t->P), raw), 1, t->P, true};
        flow_result r = way ? flow_transformer_normalize(t, p, in) : flow_transformer_generate(t, p, in);
        ad_grad(ad_sum_rows(ad_add(ad_sum(r.value), ad_sum(r.log_det))), (const ad_var[]){in, p.raw}, 2, grad);
        ad_keep(r.value), ad_keep(r.log_det), ad_keep(grad[0]), ad_keep(grad[1]);
        const ad_status status = ad_run(tape);
        if (status == AD_OK) {
            util_read(r.value, out[0], POINTS);
            util_read(r.log_det, out[1], POINTS);
            util_read(grad[0], out[2], POINTS);
            util_read(grad[1], g, t->P);
            for (int i = 0; i < 3 * POINTS; i++) {
                const double at = out[i / POINTS][i % POINTS];
                if (i / POINTS < 2 ? !isfinite(at) : isnan(at)) {
                    fail_msg("%s, way %d, f%d: output %d is %g", m->name, way, type ? 64 : 32, i / POINTS, at);
                }
            }
            for (int64_t i = 0; i < t->P; i++) {
                if (isnan(g[i])) fail_msg("%s, way %d, f%d: gradient %d", m->name, way, type ? 64 : 32, (int)i);
            }
        } else {
            assert_true(!way && status == AD_ECONVERGE);
        }
        ad_tape_free(tape);
    }
    free(raw), free(g);
    flow_transformer_free(t);
}

static void huge_parameters_make_no_nan(void **state) {
    (void)state;
    uint64_t seed = 8;
    for (int i = 0; i < MAKERS; i++) {
        for (int k = 0; k < (UTIL_SANITIZED ? 6 : 20); k++) check_huge(&makers[i], (ad_type)(k % 2), &seed);
    }
}

// In f32, too, whatever a latent is.
static void logistic_tails_come_back(void **state) {
    (void)state;
    const double y[] = {-1e30, -1e20, -1e9, 1e19, 1e25, 1e30};
    enum { N = sizeof y / sizeof *y };
    double x[N], again[N], log_det[N];
    flow_transformer *all[] = {flow_logistic_mixture_transformer(NULL, &layers_error),
                               flow_sigmoidal_transformer(NULL, &layers_error),
                               flow_dense_sigmoidal_transformer(NULL, &layers_error)};
    for (int i = 0; i < 3; i++) {
        layers_assert_made(all[i]);
        double *raw = start(all[i]);
        run(all[i], AD_F32, false, raw, y, N, x, log_det);
        run(all[i], AD_F32, true, raw, x, N, again, log_det);
        for (int k = 0; k < N; k++) util_assert_close(again[k] / y[k], 1, 1e-5);
        free(raw);
        flow_transformer_free(all[i]);
    }
}

typedef struct probe {
    const flow_transformer *t;
    bool normalize;
} probe;

static ad_var weighted(void *arg, const ad_var *x) {
    static const double weights[2] = {1, -0.6};
    const probe *p = arg;
    double *raw = start(p->t);
    ad_var identity = ad_constant(x[0].tape, ad_shape2(1, p->t->P), raw);
    free(raw);
    flow_parameters parameters = {ad_add(ad_scale(x[1], 0.3), identity), 2, p->t->P, true};
    flow_result r = p->normalize ? flow_transformer_normalize(p->t, parameters, x[0])
                                 : flow_transformer_generate(p->t, parameters, x[0]);
    ad_var w = ad_constant(x[0].tape, ad_shape1(2), weights);
    return ad_add(ad_sum(ad_mul(w, r.value)), ad_sum(ad_mul(ad_square(w), ad_reshape(r.log_det, ad_shape1(2)))));
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    for (int i = 0; i < 2 * MAKERS; i++) {
        flow_transformer *t = made(&makers[i / 2]);
        probe p = {t, i % 2};
        const ad_gradcheck_input inputs[] = {{.shape = ad_shape1(2), .rows = true},
                                             {.shape = ad_shape2(2, t->P), .rows = true}};
        const ad_gradcheck_options o = {.cases = 1};
        if (ad_gradcheck(weighted, &p, inputs, 2, &o, &layers_error) != AD_OK) {
            fail_msg("%s %d: %s", makers[i / 2].name, i % 2, layers_error.message);
        }
        flow_transformer_free(t);
    }
}

// ---- mixtures -------------------------------------------------------------------------------------------------------

static double bounded_raw(double log_scale) {
    return 7 * atanh(log_scale / 7);
}

static void a_logistic_mixture_has_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("mixture_densities.npz");
    int64_t n, K;
    double *logits = npz_array(&file, "logits", &K), *loc = npz_array(&file, "loc", &K);
    double *log_scale = npz_array(&file, "log_scale", &K), *x = npz_array(&file, "mlc_x", &n);
    double *logit = npz_array(&file, "mlc_logit", &n), *density = npz_array(&file, "mlc_logdF", &n);
    double raw[11], z[40], log_det[40];
    assert_true(K == 3 && n <= 40);
    for (int k = 0; k < 3; k++) {
        raw[k] = logits[k];
        raw[3 + k] = loc[k];
        raw[6 + k] = bounded_raw(log_scale[k]);
    }
    raw[9] = 2 * atanh(0.5 / 2);  // a scale of e^0.5
    raw[10] = -0.25;
    flow_transformer *t = logistic_mixture();
    assert_int_equal(t->P, 11);
    run(t, AD_F64, true, raw, x, n, z, log_det);
    for (int i = 0; i < n; i++) {
        const double a = fabs(logit[i]), log_both = -a - 2 * log1p(exp(-a));  // log F (1 - F)
        util_assert_close(z[i], logit[i] * exp(0.5) - 0.25, 1e-11);
        util_assert_close(log_det[i], density[i] - log_both + 0.5, 1e-11);
    }
    flow_transformer_free(t);
    free(logits), free(loc), free(log_scale), free(x), free(logit), free(density);
    npz_close(&file);
}

// One normal component: a line, wherever.
static void one_normal_is_a_line(void **state) {
    (void)state;
    const double raw[3] = {0.3, 0.7, 7 * atanh(-1.2 / 7)}, slope = exp(1.2);
    const double v[] = {-1e9, -300, -12, -3, -0.1, 0.7, 0.9, 4, 11, 40, 1e5, 1e12};
    enum { N = sizeof v / sizeof *v };
    double z[N], log_det[N];
    flow_transformer *t =
        flow_gaussianization_transformer(&(flow_mixture_transformer_options){.components = 1}, &layers_error);
    layers_assert_made(t);
    run(t, AD_F64, true, raw, v, N, z, log_det);
    for (int i = 0; i < N; i++) {
        assert_true(fabs(z[i] - (v[i] - 0.7) * slope) <= 1e-13 * (1 + fabs(v[i]) * slope));
        util_assert_close(log_det[i], 1.2, 1e-12);
    }
    flow_transformer_free(t);
}

// F and its density, of normals or logistics.
static double distribution(const double *raw, bool normal, double x, double *density) {
    double F = 0, sum = 0;
    *density = 0;
    for (int k = 0; k < 3; k++) sum += exp(raw[k]);
    for (int k = 0; k < 3; k++) {
        const double s = exp(7 * tanh(raw[6 + k] / 7)), u = (x - raw[3 + k]) / s, w = exp(raw[k]) / sum;
        const double S = normal ? 0.5 * erfc(-u / sqrt(2)) : 1 / (1 + exp(-u));
        F += w * S;
        *density += w / s * (normal ? exp(-u * u / 2) / sqrt(2 * 3.14159265358979323846) : S * (1 - S));
    }
    return F;
}

static void gaussianization_is_its_formula(void **state) {
    (void)state;
    const double raw[9] = {0.3, -0.5, 0.9, -1, 0.4, 2, -0.6, 0.2, -1.1};
    double x[30], z[30], log_det[30], density;
    util_fill(x, 30, 4, -3, 4);
    for (int logistic = 0; logistic < 2; logistic++) {
        flow_transformer *t = logistic ? logistic_gaussianization() : normal_mixture();
        run(t, AD_F64, true, raw, x, 30, z, log_det);
        for (int i = 0; i < 30; i++) {
            util_assert_close(0.5 * erfc(-z[i] / sqrt(2)), distribution(raw, !logistic, x[i], &density), 1e-14);
            util_assert_close(log_det[i], log(density) + z[i] * z[i] / 2 + 0.91893853320467274178, 1e-11);
        }
        flow_transformer_free(t);
    }
}

// Huang et al. 2018, eq. 8, twice.
static void a_deep_sigmoidal_map_is_its_formula(void **state) {
    (void)state;
    double raw[18], x[20], z[20], log_det[20];
    util_fill(raw, 18, 8, -1.5, 1.5);
    util_fill(x, 20, 9, -3, 3);
    flow_transformer *t = sigmoidal();
    assert_int_equal(t->P, 18);
    run(t, AD_F64, true, raw, x, 20, z, log_det);
    for (int i = 0; i < 20; i++) {
        double y = x[i], log_slope = 0;
        for (const double *r = raw; r < raw + 18; r += 9) {
            double F = 0, slope = 0, sum = exp(r[0]) + exp(r[1]) + exp(r[2]);
            for (int k = 0; k < 3; k++) {
                const double a = exp(7 * tanh(r[6 + k] / 7)), S = 1 / (1 + exp(-a * y - r[3 + k]));
                F += exp(r[k]) / sum * S;
                slope += exp(r[k]) / sum * a * S * (1 - S);
            }
            y = log(F / (1 - F));
            log_slope += log(slope / (F * (1 - F)));
        }
        util_assert_close(z[i], y, 1e-12);
        util_assert_close(log_det[i], log_slope, 1e-12);
    }
    flow_transformer_free(t);
}

// Row r of shares [3]: softmax of learned logits and those given.
static void shares(const ad_param *learned, int r, const double *given, double *out) {
    double sum = 0;
    for (int k = 0; k < 3; k++) sum += out[k] = exp(ad_param_get(learned, 3 * r + k) + given[k]);
    for (int k = 0; k < 3; k++) out[k] /= sum;
}

// One layer of 3 sigmoids: rows of w on sigmoid(a in + b), in [3] with slopes, to out [rows] with slopes.
static void sigmoids(const ad_param *W, int rows, const double *raw, const double *in, const double *rise, double *out,
                     double *out_rise) {
    for (int r = 0; r < rows; r++) {
        double w[3], F = 0, slope = 0;
        shares(W, r, raw, w);
        for (int k = 0; k < 3; k++) {
            const double a = exp(7 * tanh(raw[6 + k] / 7)), S = 1 / (1 + exp(-a * in[k] - raw[3 + k]));
            F += w[k] * S;
            slope += w[k] * a * rise[k] * S * (1 - S);
        }
        out[r] = log(F / (1 - F));
        out_rise[r] = slope / (F * (1 - F));
    }
}

// Huang et al. 2018, eq. 10.
static void a_dense_sigmoidal_map_is_its_formula(void **state) {
    (void)state;
    double raw[21], x[20], z[20], log_det[20];
    util_fill(raw, 21, 18, -1.5, 1.5);
    util_fill(x, 20, 19, -3, 3);
    flow_transformer *t = dense_sigmoidal();
    assert_int_equal(t->P, 21);
    ad_param *const *params = t->owner.params;  // W0, W1, U1
    uint64_t seed = 4;
    for (int i = 0; i < 3; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) ad_param_set(params[i], k, util_uniform(&seed, -1, 1));
    }
    run(t, AD_F64, true, raw, x, 20, z, log_det);
    for (int i = 0; i < 20; i++) {
        const double in[3] = {x[i], x[i], x[i]}, one[3] = {1, 1, 1};
        double h[3], rise[3], u[3], mean[3] = {0}, slope[3] = {0}, y, y_rise;
        sigmoids(params[0], 3, raw, in, one, h, rise);
        for (int r = 0; r < 3; r++) {
            shares(params[2], r, raw + 18, u);
            for (int k = 0; k < 3; k++) mean[r] += u[k] * h[k], slope[r] += u[k] * rise[k];
        }
        sigmoids(params[1], 1, raw + 9, mean, slope, &y, &y_rise);
        util_assert_close(z[i], y, 1e-12);
        util_assert_close(log_det[i], log(y_rise), 1e-12);
    }
    flow_transformer_free(t);
}

// ---- nets -----------------------------------------------------------------------------------------------------------

static double *set_from(const npz *file, const char *name, ad_param *param) {
    int64_t n;
    double *values = npz_array(file, name, &n);
    if (!param) return values;
    assert_int_equal(n, param->count);
    layers_set(param, values);
    free(values);
    return NULL;
}

// The net's tensors, named as in the file.
static void set_net(const npz *file, const flow_owner *net) {
    for (int i = 0; i < net->n_params; i++) set_from(file, net->params[i]->name, net->params[i]);
}

// zuko's of 3 sets of a signal and a constant, N points each; its gradients are those of the rule in all but x.
static void check_umnn(const char *name, bool elu) {
    enum { SETS = 3, N = 14, S = 4, POINTS = SETS * N };
    npz file = npz_open(name);
    const flow_umnn_transformer_options o = {.signal = S,
                                             .layers = 2,
                                             .width = 12,
                                             .nodes = 32,
                                             .gauss_legendre = true,
                                             .softsign = true,
                                             .elu = elu,
                                             .type = AD_F64};
    flow_transformer *t = flow_umnn_transformer(&o, &layers_error);
    layers_assert_made(t);
    const flow_owner *net = t->owner.parts[0].owner;
    set_net(&file, net);
    double *signal = set_from(&file, "signal", NULL), *constant = set_from(&file, "constant", NULL);
    double *x = set_from(&file, "x", NULL), *y = set_from(&file, "y_quad", NULL), raw[POINTS * (S + 1)];
    double *log_det = set_from(&file, "log_det", NULL), *cot_y = set_from(&file, "cot_y", NULL);
    double *cot_log_det = set_from(&file, "cot_log_det", NULL), *grad_x = set_from(&file, "grad_x", NULL);
    for (int i = 0; i < POINTS; i++) {
        for (int k = 0; k < S; k++) raw[i * (S + 1) + k] = signal[i / N * S + k];
        raw[i * (S + 1) + S] = constant[i / N];
    }
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var v = ad_constant(tape, ad_shape1(POINTS), x), gx, gW;
    flow_parameters p = {ad_constant(tape, ad_shape2(POINTS, S + 1), raw), POINTS, S + 1, true};
    flow_result r = flow_transformer_normalize(t, p, v);
    ad_var sum = ad_add(ad_sum(ad_mul(r.value, ad_constant(tape, ad_shape1(POINTS), cot_y))),
                        ad_sum(ad_mul(r.log_det, ad_constant(tape, ad_shape1(POINTS), cot_log_det))));
    ad_grad(sum, &v, 1, &gx);
    ad_var W = ad_use(tape, net->params[2]);
    ad_grad(sum, &W, 1, &gW);
    ad_var back = flow_transformer_generate(t, p, r.value).value;
    ad_var kept[] = {r.value, r.log_det, gx, back, gW};
    for (int i = 0; i < 5; i++) ad_keep(kept[i]);
    util_run(tape);
    const double *want[] = {y, log_det, grad_x, x, set_from(&file, "grad_W1", NULL)};
    const double tolerance[] = {1e-11, 1e-11, 1e-9, 1e-9, 1e-9};
    double got[144];
    for (int i = 0; i < 5; i++) {
        const int64_t n = i == 4 ? 144 : POINTS;
        util_read(kept[i], got, n);
        util_assert_all_close(got, want[i], n, tolerance[i]);
    }
    ad_tape_free(tape);
    flow_transformer_free(t);
    free(signal), free(constant), free(x), free(y), free(log_det), free(cot_y), free(cot_log_det), free(grad_x);
    free((void *)(uintptr_t)want[4]);
    npz_close(&file);
}

static void umnn_has_the_reference_values(void **state) {
    (void)state;
    check_umnn("umnn_tanh_s4.npz", false);
    check_umnn("umnn_elu_s4.npz", true);
}

// zuko's of 3 sets of a signal, N points each.
static void a_monotone_net_has_the_reference_values(void **state) {
    (void)state;
    enum { SETS = 3, N = 16, S = 4, POINTS = SETS * N, P = S + 2 };
    npz file = npz_open("naf_s4.npz");
    const flow_monotone_net_transformer_options o = {
        .signal = S, .layers = 2, .width = 16, .floor = 1e-15, .type = AD_F64};
    flow_transformer *t = flow_monotone_net_transformer(&o, &layers_error);
    layers_assert_made(t);
    const flow_owner *net = t->owner.parts[0].owner;
    set_net(&file, net);
    double *signal = set_from(&file, "signal", NULL), *x = set_from(&file, "x", NULL), raw[POINTS * P] = {0};
    double *cot_y = set_from(&file, "cot_y", NULL), *cot_log_det = set_from(&file, "cot_log_det", NULL);
    for (int i = 0; i < POINTS; i++) memcpy(raw + i * P, signal + i / N * S, S * sizeof *raw);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var v = ad_constant(tape, ad_shape1(POINTS), x), gx, gW;
    flow_parameters p = {ad_constant(tape, ad_shape2(POINTS, P), raw), POINTS, P, true};
    flow_result r = flow_transformer_normalize(t, p, v);
    ad_var sum = ad_add(ad_sum(ad_mul(r.value, ad_constant(tape, ad_shape1(POINTS), cot_y))),
                        ad_sum(ad_mul(r.log_det, ad_constant(tape, ad_shape1(POINTS), cot_log_det))));
    ad_grad(sum, &v, 1, &gx);
    ad_var W = ad_use(tape, net->params[2]);
    ad_grad(sum, &W, 1, &gW);
    ad_var kept[] = {r.value, r.log_det, gx, flow_transformer_generate(t, p, r.value).value, gW};
    for (int i = 0; i < 5; i++) ad_keep(kept[i]);
    util_run(tape);
    const char *const names[] = {"y", "log_det", "grad_x", "x", "grad_W1"};
    double got[256];
    for (int i = 0; i < 5; i++) {
        const int64_t n = i == 4 ? 256 : POINTS;
        double *want = set_from(&file, names[i], NULL);
        util_read(kept[i], got, n);
        util_assert_all_close(got, want, n, i < 2 ? 1e-11 : 1e-10);
        free(want);
    }
    ad_tape_free(tape);
    flow_transformer_free(t);
    free(signal), free(x), free(cot_y), free(cot_log_det);
    npz_close(&file);
}

// Both rules, with enough nodes, come to the converged integral; and what the map is outside of its reach.
static void quadrature_converges(void **state) {
    (void)state;
    npz file = npz_open("umnn_tanh_s4.npz");
    double *signal = set_from(&file, "signal", NULL), *constant = set_from(&file, "constant", NULL);
    double *x = set_from(&file, "x", NULL), *y = set_from(&file, "y_exact", NULL);
    double raw[5] = {signal[0], signal[1], signal[2], signal[3], constant[0]}, z[14], log_det[14];
    for (int gauss = 0; gauss < 2; gauss++) {
        const flow_umnn_transformer_options o = {.signal = 4,
                                                 .layers = 2,
                                                 .width = 12,
                                                 .nodes = 600 + gauss,
                                                 .gauss_legendre = gauss,
                                                 .softsign = true,
                                                 .reach = 6,
                                                 .type = AD_F64};
        flow_transformer *t = flow_umnn_transformer(&o, &layers_error);
        layers_assert_made(t);
        set_net(&file, t->owner.parts[0].owner);
        run(t, AD_F64, true, raw, x, 14, z, log_det);
        util_assert_all_close(z, y, 14, 1e-9);
        const double ends[] = {6, 7.5};
        run(t, AD_F64, true, raw, ends, 2, z, log_det);
        assert_true(log_det[1] == log_det[0]);
        util_assert_close(z[1], z[0] + 1.5 * exp(log_det[0]), 1e-14);
        flow_transformer_free(t);
    }
    free(signal), free(constant), free(x), free(y);
    npz_close(&file);
}

// ---- layers ---------------------------------------------------------------------------------------------------------

// All at once, until nothing changes: searches in a search.
static void many_features_generate_at_once(void **state) {
    (void)state;
    enum { D = 70 };
    const flow_autoregressive_options o = {.solve = FLOW_SOLVE_FIXED_POINT,
                                           .made = {.mlp = {.layers = 1, .width = 70, .type = AD_F64}}};
    const flow_mixture_transformer_options two = {.components = 2};
    flow_layer *layer = flow_autoregressive(D, 0, flow_sigmoidal_transformer(&two, &layers_error), &o, &layers_error);
    layers_assert_made(layer);
    uint64_t seed = 3;
    const flow_owner *net = layers_part(layer, "net");
    for (int i = 0; i < net->n_params; i++) {
        ad_param *p = net->params[i];
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, ad_param_get(p, k) + util_uniform(&seed, -0.1, 0.1));
    }
    double x[2 * D], z[2 * D], back[2 * D], log_det[2], opposite[2];
    util_fill(x, 2 * D, 2, -2, 2);
    layers_run(layer, AD_F64, true, x, 2, z, log_det);
    layers_run(layer, AD_F64, false, z, 2, back, opposite);
    util_assert_all_close(back, x, 2 * D, 1e-10);
    util_assert_close(log_det[0], -opposite[0], 1e-9);
    flow_layer_free(layer);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void refused(flow_transformer *t, const char *words) {
    if (t) fail_msg("not refused: %s", words);
    assert_int_equal(layers_error.status, AD_EARG);
    util_assert_contains(layers_error.message, words);
}

static void bad_mixtures_are_refused(void **state) {
    (void)state;
    typedef flow_mixture_transformer_options options;
    ad_error *e = &layers_error;
    refused(flow_logistic_mixture_transformer(&(options){.components = 5000}, e), "logistic mixture: 5000 components");
    refused(flow_sigmoidal_transformer(&(options){.layers = 17}, e), "deep sigmoidal: 8 components, 17 layers");
    refused(flow_gaussianization_transformer(&(options){.layers = 2}, e), "only a deep sigmoidal one has several");
    refused(flow_gaussianization_transformer(&(options){.bound = NAN}, e), "log-scales within nan");
    refused(flow_logistic_mixture_transformer(&(options){.scale_bound = 21}, e), "rescaling within 21");
    refused(flow_logistic_mixture_transformer(&(options){.logistic = true}, e), "logistic is for gaussianization");
}

static void bad_nets_are_refused(void **state) {
    (void)state;
    typedef flow_umnn_transformer_options umnn_options;
    ad_error *e = &layers_error;
    refused(flow_umnn_transformer(&(umnn_options){.signal = 5000}, e), "umnn: a signal of 5000");
    refused(flow_umnn_transformer(&(umnn_options){.layers = -1}, e), "-1 hidden layers of 32");
    refused(flow_umnn_transformer(&(umnn_options){.nodes = 1}, e), "umnn: 1 nodes, expected 2 to 1024");
    refused(flow_umnn_transformer(&(umnn_options){.bound = 30}, e), "umnn: bound 30, reach 10");
    refused(flow_umnn_transformer(&(umnn_options){.reach = INFINITY}, e), "reach inf");
    typedef flow_dense_sigmoidal_transformer_options dense_options;
    refused(flow_dense_sigmoidal_transformer(&(dense_options){.units = 2000}, e), "dense sigmoidal: 2000 units");
    refused(flow_dense_sigmoidal_transformer(&(dense_options){.bound = 0.5}, e), "log-scales within 0.5");
    typedef flow_monotone_net_transformer_options monotone_options;
    refused(flow_monotone_net_transformer(&(monotone_options){.width = -2}, e), "monotone net: a signal of 8");
    refused(flow_monotone_net_transformer(&(monotone_options){.floor = 2}, e), "floor 2, bound 5");
    refused(flow_monotone_net_transformer(&(monotone_options){.bound = NAN}, e), "bound nan");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_start_near_the_identity),
        cmocka_unit_test(wild_parameters_come_back),
        cmocka_unit_test(tails_are_finite),
        cmocka_unit_test(huge_parameters_make_no_nan),
        cmocka_unit_test(logistic_tails_come_back),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(a_logistic_mixture_has_the_reference_values),
        cmocka_unit_test(one_normal_is_a_line),
        cmocka_unit_test(gaussianization_is_its_formula),
        cmocka_unit_test(a_deep_sigmoidal_map_is_its_formula),
        cmocka_unit_test(a_dense_sigmoidal_map_is_its_formula),
        cmocka_unit_test(umnn_has_the_reference_values),
        cmocka_unit_test(quadrature_converges),
        cmocka_unit_test(a_monotone_net_has_the_reference_values),
        cmocka_unit_test(many_features_generate_at_once),
        cmocka_unit_test(bad_mixtures_are_refused),
        cmocka_unit_test(bad_nets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
