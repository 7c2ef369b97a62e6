// test_censored_mixture.c -- the transformer for discrete data: probabilities of values against the formula, exact
// likelihoods and inverses, tails and single precision, starts, gradients, a table learnt, refusals.
#include "optim.h"
#include "transformers.h"

typedef flow_censored_mixture_transformer_options options;

static flow_transformer *made(const options *o) {
    flow_transformer *t = flow_censored_mixture_transformer(o, &layers_error);
    layers_assert_made(t);
    return t;
}

// Edges at -3, -1.5, 0, 1.5 and 3, as transformers.h has them.
static flow_transformer *four_bins(ad_error *error) {
    return flow_censored_mixture_transformer(&(options){.bins = 4, .components = 3, .low = -3, .high = 3}, error);
}
static const transformers_maker maker = {"censored mixture", four_bins, 9.3, false, 0.12};

static void it_starts_near_the_identity(void **state) {
    (void)state;
    transformers_check_starts(&maker, 1);
}

static void wild_parameters_come_back(void **state) {
    (void)state;
    transformers_check_wild(&maker, 1);
}

static void huge_parameters_make_no_nan(void **state) {
    (void)state;
    transformers_check_huge(&maker, 1);
}

// What flow_report is told: outside of the box, whose ends belong to it.
static void points_outside_are_told(void **state) {
    (void)state;
    const double v[6] = {-3.001, -3, 0, 3, 3.5, 1e30}, want[6] = {1, 0, 0, 0, 1, 1};
    double got[6];
    flow_layer *layer = flow_elementwise(1, 0, four_bins(&layers_error), NULL, &layers_error);
    layers_assert_made(layer);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = util_source(v, 6);
    ad_var x = ad_input(util_rows(tape, "data", 6), ad_shape1(1), &source);
    ad_var tails = ad_keep(layer->type->gauge(layer, x, x, AD_NONE).tails);
    util_run(tape);
    util_read(tails, got, 6);
    assert_memory_equal(got, want, sizeof want);
    ad_tape_free(tape);
    flow_layer_free(layer);
}

static void gradients_are_right_to_second_order(void **state) {
    (void)state;
    transformers_check_gradients(&maker, 1);
}

// How near, of many bins: bounds on |z - v| in a box from -1 to 1 and on both sides of log-slopes.
static void many_bins_start_near_the_identity(void **state) {
    (void)state;
    enum { N = 1024 };
    static const struct {
        int64_t bins, components;
        double apart, low, high;
    } cases[] = {{256, 1, 0.15, -1.1, 3},
                 {256, 8, 0.014, -0.85, 1.05},
                 {256, 64, 0.0015, -0.23, 0.18},
                 {16, 4, 0.026, -0.23, 0.18}};
    double v[N], z[N], log_det[N];
    for (int i = 0; i < N; i++) v[i] = -1 + (i + 0.5) * 2 / N;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        flow_transformer *t =
            made(&(options){.bins = cases[c].bins, .components = cases[c].components, .low = -1, .high = 1});
        double *raw = transformers_start(t);
        transformers_run(t, AD_F64, true, raw, v, N, z, log_det);
        for (int i = 0; i < N; i++) {
            assert_true(fabs(z[i] - v[i]) < cases[c].apart);
            assert_true(log_det[i] > cases[c].low && log_det[i] < cases[c].high);
        }
        free(raw);
        flow_transformer_free(t);
    }
}

// ---- the formula ----------------------------------------------------------------------------------------------------

typedef struct reference {
    int64_t bins, K;
    double floor, scale_bound;
} reference;

// Probability of value k: of each component sinh((b - a) / 2) / (2 cosh(a / 2) cosh(b / 2)), a and b its arguments at
// the bin's edges; of the outer values the tail.
static double probability(const reference *r, const double *raw, int64_t k) {
    const long double n = (long double)r->bins;
    long double sum = 0, all = 0;
    for (int64_t j = 0; j < r->K; j++) all += expl(raw[j]);
    for (int64_t j = 0; j < r->K; j++) {
        const long double scale = expl(r->scale_bound * tanhl(raw[2 * r->K + j] / (long double)r->scale_bound));
        const long double a = (-1 + 2 * k / n - raw[r->K + j]) / scale, half = 1 / (n * scale), b = a + 2 * half;
        const long double inner = sinhl(half) / (2 * coshl(a / 2) * coshl(b / 2));
        const long double outer = 1 / (1 + expl(k == 0 ? -b : a));
        sum += expl(raw[j]) / all * (k == 0 || k == r->bins - 1 ? outer : inner);
    }
    return (double)(r->floor / n + (1 - (long double)r->floor) * sum);
}

// One of bins values each, at the same place of its bin: the logs of their probabilities.
static void logs_of(const flow_transformer *t, ad_type type, const double *raw, int64_t bins, double at, double *z,
                    double *log_p) {
    double *v = calloc((size_t)bins, sizeof *v);
    for (int64_t k = 0; k < bins; k++) v[k] = t->low + ((double)k + at) * (t->high - t->low) / (double)bins;
    transformers_run(t, type, true, raw, v, bins, z, log_p);
    for (int64_t k = 0; k < bins; k++) log_p[k] -= log((double)bins);
    free(v);
}

static void check_formula(const options *o, const reference *r, const double *raw) {
    double *z = malloc(2 * (size_t)o->bins * sizeof *z), *log_p = z + o->bins, sum = 0, whole = 0;
    flow_transformer *t = made(o);
    logs_of(t, AD_F64, raw, o->bins, 0.25, z, log_p);
    for (int64_t k = 0; k < o->bins; k++) {
        const double P = probability(r, raw, k);
        if (!(fabs(exp(log_p[k]) / P - 1) < 1e-12)) fail_msg("value %d: %.17g, not %.17g", (int)k, exp(log_p[k]), P);
        util_assert_close(z[k], o->low + (o->high - o->low) * (sum + P / 4), 1e-13);
        sum += P;
        whole += exp(log_p[k]);
    }
    util_assert_close(whole, 1, 1e-13);
    flow_transformer_free(t);
    free(z);
}

static void probabilities_are_the_formula(void **state) {
    (void)state;
    // Weights, locations (one outside the box), log-scales.
    const double raw[9] = {0.3, -1, 0.5, -0.4, 0.35, 1.2, -2, -3.5, 0.4};
    const reference r = {16, 3, 1e-3, 5};
    check_formula(&(options){.bins = 16, .components = 3, .low = -2, .high = 2, .scale_bound = 5, .floor = 1e-3}, &r,
                  raw);
    const reference bytes = {256, 3, 1e-6, 8};
    check_formula(&(options){.bins = 256, .components = 3, .high = 1, .scale_bound = 8, .floor = 1e-6}, &bytes, raw);
    const reference coin = {2, 1, 0.5, 20};
    check_formula(&(options){.bins = 2, .components = 1, .low = 2, .high = 5, .scale_bound = 20, .floor = 0.5}, &coin,
                  raw + 1);
}

// Wide components, of which the edges of bins are so near that F there differs by little more than rounding; narrow
// ones, far out in whose tails the rest lies.
static void differences_do_not_cancel(void **state) {
    (void)state;
    enum { BINS = 65536 };
    double *z = malloc(2 * BINS * sizeof *z), *log_p = z + BINS;
    const double raws[3][6] = {{0, 0.5, -0.2, 0.9, 2, 1}, {0, 0, -30, 40, 1, 1}, {0, 1, 0.1, 0.5, -6, -7}};
    const reference r = {BINS, 2, 1e-6, 10};
    flow_transformer *t = made(&(options){.bins = BINS, .components = 2, .scale_bound = 10, .floor = 1e-6});
    for (int i = 0; i < 6; i++) {
        const double *raw = raws[i / 2];
        logs_of(t, i % 2 ? AD_F64 : AD_F32, raw, BINS, 0.5, z, log_p);
        for (int64_t k = 0; k < BINS; k += 7) {
            // Of narrow ones rounding of what is given, locations and log-scales, is felt as much.
            const double felt = i / 2 == 2 ? 1e4 : 1;
            const double P = probability(&r, raw, k), eps = felt * (i % 2 ? 0x1p-52 : 0x1p-23);
            if (!(fabs(log_p[k] - log(P)) < 30 * eps)) fail_msg("case %d, value %d: %g", i, (int)k, log_p[k] - log(P));
        }
    }
    flow_transformer_free(t);
    free(z);
}

// ---- in models ------------------------------------------------------------------------------------------------------

static void log_prob(const flow_model *model, ad_type type, const double *x, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, n);
    ad_var v = ad_input(util_rows(tape, "data", n), flow_model_shape(model), &source);
    ad_var y = ad_keep(flow_log_prob(model, v, AD_NONE));
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

static flow_model *model_of(flow_transformer *t, const double *raw, int64_t D) {
    flow_base *base = flow_base_uniform(D, t->low, t->high, &layers_error);
    const int64_t P = t->P;
    flow_layer *layer = flow_elementwise(D, 0, t, &(flow_elementwise_options){.type = AD_F64}, &layers_error);
    layers_assert_made(layer);
    for (int64_t i = 0; i < D * P; i++) ad_param_set(layers_param(layer, "raw"), i, raw[i % P]);
    flow_model *model = flow_model_new(layer, base, &layers_error);
    layers_assert_made(model);
    return model;
}

// log_prob + log(width of a bin) = log P, whatever the noise: at both edges of the box, next to others, in between.
static void likelihoods_are_exact_whatever_the_noise(void **state) {
    (void)state;
    enum { BINS = 12, N = 5 };
    const double raw[6] = {0.4, -0.3, -0.5, 0.6, -1.5, -2.5}, noise[N] = {1e-12, 0.1, 0.5, 0.987, 1 - 1e-12};
    const reference r = {BINS, 2, 1e-4, 5};
    double x[2 * N], log_p[N];
    flow_model *model =
        model_of(made(&(options){.bins = BINS, .components = 2, .low = -6, .high = 6, .scale_bound = 5}), raw, 2);
    for (int k = 0; k < BINS; k++) {
        const double want = log(probability(&r, raw, k)) + log(probability(&r, raw, BINS - 1 - k));
        for (int i = 0; i < N; i++) {
            x[2 * i] = -6 + k + noise[i];
            x[2 * i + 1] = -6 + (BINS - 1 - k) + noise[N - 1 - i];
        }
        log_prob(model, AD_F64, x, N, log_p);
        for (int i = 0; i < N; i++) util_assert_close(log_p[i], want, 1e-12);
    }
    const double ends[4] = {-6, 6, 6, -6};
    log_prob(model, AD_F32, ends, 2, log_p);  // the base density has not lost them
    const double corner = log(probability(&r, raw, 0)) + log(probability(&r, raw, BINS - 1));
    for (int i = 0; i < 2; i++) util_assert_close(log_p[i], corner, 1e-5);
    flow_model_free(model);
}

// There and back at each edge, and next to it; bins are found by the rounded edges in both directions.
static void edges_come_back(void **state) {
    (void)state;
    const double raw[6] = {0.4, -0.3, -0.5, 0.6, -1, -0.5}, bounds[3] = {1, 3, 0.7};
    const int64_t sizes[5] = {2, 3, 16, 100, 256};
    double v[771], z[771], back[771], log_det[771], opposite[771];
    for (int i = 0; i < 30; i++) {
        const int64_t bins = sizes[i % 5], n = 3 * (bins + 1);
        const ad_type type = i / 5 % 2 ? AD_F64 : AD_F32;
        const double eps = type == AD_F64 ? 0x1p-52 : 0x1p-23,
                     bound = type == AD_F64 ? bounds[i / 10] : (float)bounds[i / 10];
        flow_transformer *t =
            made(&(options){.bins = bins, .components = 2, .low = -bound, .high = bound, .scale_bound = 3});
        for (int64_t k = 0; k < n; k++) {
            const double edge = -bound + (double)(k / 3) * (2 * bound / (double)bins);
            v[k] = fmin(fmax(edge + (double)(k % 3 - 1) * bound * eps, -bound), bound);
        }
        transformers_run(t, type, true, raw, v, n, z, log_det);
        transformers_run(t, type, false, raw, z, n, back, opposite);
        for (int64_t k = 0; k < n; k++) {
            assert_true(fabs(z[k]) <= bound);
            double slope = 1;  // the least of those on both sides: on which an edge is, rounding decides
            for (int64_t e = k > 1 ? k - 2 : 0; e < n && e < k + 3; e++) slope = fmin(slope, exp(log_det[e]));
            util_assert_close(back[k], v[k], 8 * bound * eps * (1 + 1 / slope));
        }
        assert_true(z[0] == -bound && z[n - 1] == bound && back[0] == -bound && back[n - 1] == bound);
        flow_transformer_free(t);
    }
}

// Each latent of a fine grid comes to a point of the bin that holds it, and never of the next.
static void latents_come_to_the_value_that_holds_them(void **state) {
    (void)state;
    enum { N = 2000, BINS = 16 };
    const double raw[6] = {0.4, -0.3, -0.5, 0.6, -2, -3};
    const reference r = {BINS, 2, 1e-4, 5};
    double *z = malloc(3 * N * sizeof *z), *v = z + N, *log_det = v + N, upto[BINS + 1] = {0};
    for (int k = 0; k < BINS; k++) upto[k + 1] = upto[k] + probability(&r, raw, k);
    for (int i = 0; i < N; i++) z[i] = -8 + 16 * (i + 0.5) / N;
    flow_transformer *t = made(&(options){.bins = BINS, .components = 2, .low = -8, .high = 8, .scale_bound = 5});
    transformers_run(t, AD_F64, false, raw, z, N, v, log_det);
    for (int i = 0; i < N; i++) {
        const int k = (int)floor(v[i] + 8);
        assert_true(k >= 0 && k < BINS && upto[k] <= (i + 0.5) / N && (i + 0.5) / N <= upto[k + 1]);
        util_assert_close(v[i], -8 + k + ((i + 0.5) / N - upto[k]) / (upto[k + 1] - upto[k]), 1e-9);
    }
    flow_transformer_free(t);
    free(z);
}

// Latents next to where bins meet, in single precision: what comes of one is in the bin whose slope it has, and not, by
// rounding, in the next.
static void latents_next_to_edges_stay_in_their_bins(void **state) {
    (void)state;
    enum { BINS = 100, N = 7 * (BINS - 1) };
    const double raw[6] = {0.4, -0.3, -0.5, 0.6, -1, -0.5};
    double edge[BINS - 1], y[N], z[N], v[N], again[N], back[N], log_det[N];
    flow_transformer *t = made(&(options){.bins = BINS, .components = 2, .scale_bound = 3});
    for (int k = 0; k < BINS - 1; k++) edge[k] = -3 + (k + 1) * 6.0 / BINS;
    transformers_run(t, AD_F32, true, raw, edge, BINS - 1, y, log_det);
    for (int i = 0; i < N; i++) z[i] = y[i / 7] + (i % 7 - 3) * 0x1p-22;
    transformers_run(t, AD_F32, false, raw, z, N, v, back);
    transformers_run(t, AD_F32, true, raw, v, N, again, log_det);
    for (int i = 0; i < N; i++) util_assert_close(log_det[i], -back[i], 1e-7);
    flow_transformer_free(t);
}

// ---- values that condition others -----------------------------------------------------------------------------------

enum { SIDE = 5, PAIRS = SIDE * SIDE };

// Dequantised pairs of 0 .. 4 through one layer whose nets have been stirred.
static flow_model *pairs(bool autoregressive, uint64_t seed) {
    const flow_dequantise_options noise = {.levels = SIDE, .seed = seed};
    const flow_mlp_options mlp = {.width = 8, .type = AD_F64};
    flow_transformer *t = made(&(options){.bins = SIDE, .components = 2, .high = 1});
    flow_layer *layers[2] = {
        flow_dequantise(2, &noise, &layers_error),
        autoregressive ? flow_autoregressive(2, 0, t, &(flow_autoregressive_options){.made.mlp = mlp}, &layers_error)
                       : flow_coupling(2, 0, t, &(flow_coupling_options){.mlp = mlp}, &layers_error)};
    flow_base *base = flow_base_uniform(2, 0, 1, &layers_error);
    flow_model *model = flow_model_new(flow_chain(layers, 2, &layers_error), base, &layers_error);
    layers_assert_made(model);
    int n;
    uint64_t random = 4;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) {
            ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&random, -0.7, 0.7));
        }
    }
    return model;
}

// Nets see values without their noise: so the joint probability is exact, too, and sums to one over all pairs.
static void joint_likelihoods_are_exact(void **state) {
    (void)state;
    double x[2 * PAIRS], log_p[PAIRS], again[PAIRS];
    for (int i = 0; i < 2 * PAIRS; i++) x[i] = i % 2 ? i / 2 / SIDE : i / 2 % SIDE;
    for (int i = 0; i < 4; i++) {
        double sum = 0, uneven = 0;
        flow_model *model = pairs(i % 2, 1), *other = pairs(i % 2, 2);
        log_prob(model, i / 2 ? AD_F32 : AD_F64, x, PAIRS, log_p);
        log_prob(other, i / 2 ? AD_F32 : AD_F64, x, PAIRS, again);
        util_assert_all_close(log_p, again, PAIRS, i / 2 ? 1e-5 : 1e-13);
        for (int k = 0; k < PAIRS; k++) sum += exp(log_p[k]);
        // What the second is depends on the first: 2 x 2 determinants are not 0.
        for (int k = 0; k < SIDE; k++) {
            uneven = fmax(uneven, fabs(log_p[SIDE + k] - log_p[k] - log_p[SIDE] + log_p[0]));
        }
        util_assert_close(sum, 1, i / 2 ? 1e-5 : 1e-13);
        assert_true(uneven > 0.05);
        flow_model_free(model);
        flow_model_free(other);
    }
}

// Samples of pairs against their probabilities, by the sum of squares of differences over what is expected.
static void samples_are_of_the_joint_distribution(void **state) {
    (void)state;
    enum { N = 20000 };
    double x[2 * PAIRS], log_p[PAIRS], *z = malloc(2 * N * sizeof *z), seen[PAIRS] = {0}, squares = 0;
    for (int i = 0; i < 2 * PAIRS; i++) x[i] = i % 2 ? i / 2 / SIDE : i / 2 % SIDE;
    flow_model *model = pairs(true, 1);
    log_prob(model, AD_F64, x, PAIRS, log_p);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    const ad_random random = {8, 0};
    ad_var v = ad_keep(flow_sample(model, util_rows(tape, "z", N), &random, 1, AD_NONE));
    util_run(tape);
    util_read(v, z, 2 * N);
    for (int i = 0; i < N; i++) seen[(int)z[2 * i] + SIDE * (int)z[2 * i + 1]]++;
    for (int k = 0; k < PAIRS; k++) squares += pow(seen[k] - N * exp(log_p[k]), 2) / (N * exp(log_p[k]));
    assert_true(squares < PAIRS - 1 + 4 * sqrt(2 * (PAIRS - 1)));
    ad_tape_free(tape);
    flow_model_free(model);
    free(z);
}

// ---- learning -------------------------------------------------------------------------------------------------------

// A two-peaked table of 0 .. 15: the fit comes to the entropy of the rows, since no gap is left.
static void a_table_is_learnt_to_its_entropy(void **state) {
    (void)state;
    enum { VALUES = 16 };
    static const int counts[VALUES] = {4, 14, 34, 52, 58, 50, 33, 17, 12, 18, 36, 61, 55, 31, 20, 5};
    double x[500], mean, entropy = 0;
    uint64_t seed = 3;
    int n = 0;
    for (int k = 0; k < VALUES; k++) {
        for (int i = 0; i < counts[k]; i++) x[n++] = -8 + k + util_uniform(&seed, 0, 1);
    }
    assert_int_equal(n, 500);
    for (int k = 0; k < VALUES; k++) entropy -= counts[k] * log((double)counts[k] / n) / n;
    flow_model *model =
        flow_from_text("nsf-ar:transformer=censored-mixture,bins=16,bound=8,layers=1,hidden=8x1", 1, 0, &layers_error);
    layers_assert_made(model);
    const flow_rows rows = {.x = util_source(x, n)};
    const optim_fit_options o = {.steps = 400, .batch = n, .lr = 0.03, .schedule = OPTIM_COSINE, .type = AD_F64};
    if (optim_fit(model, &rows, &o, NULL, &layers_error) != AD_OK ||
        optim_mean_log_prob(model, &rows, 0, NULL, &mean, NULL, &layers_error) != AD_OK) {
        fail_msg("%s", layers_error.message);
    }
    // Bins of width 1: what is left is the fit of the mixture to a table of noise, and no model is below.
    if (!(-mean - entropy < 0.004 && -mean - entropy > -1e-5)) fail_msg("%.6f above %.6f", -mean - entropy, entropy);
    flow_model_free(model);
}

// Pairs, the second near the first or far from it as the first is even or odd: only a net that sees the first can tell.
static void pairs_are_learnt_to_their_entropy(void **state) {
    (void)state;
    enum { VALUES = 6, ROWS = 480 };
    static const int after[2][4] = {{0, 0, 1, 2}, {3, 4, 4, 5}};
    double x[2 * ROWS], mean;
    for (int i = 0; i < ROWS; i++) {
        const int first = i % VALUES;
        x[2 * i] = first;
        x[2 * i + 1] = after[first % 2][i / VALUES % 4];
    }
    const double entropy = log(VALUES) + 1.5 * log(2);  // 1/2, 1/4, 1/4
    const flow_dequantise_options noise = {.levels = VALUES, .seed = 1};
    const flow_autoregressive_options o = {.made.mlp = {.width = 32, .seed = 2}};
    flow_transformer *t = made(&(options){.bins = VALUES, .components = 4, .high = 1});
    flow_layer *layers[2] = {flow_dequantise(2, &noise, &layers_error),
                             flow_autoregressive(2, 0, t, &o, &layers_error)};
    flow_base *base = flow_base_uniform(2, 0, 1, &layers_error);
    flow_model *model = flow_model_new(flow_chain(layers, 2, &layers_error), base, &layers_error);
    layers_assert_made(model);
    const flow_rows rows = {.x = util_source(x, ROWS)};
    const optim_fit_options fit = {.steps = 500, .batch = 120, .lr = 0.02, .schedule = OPTIM_COSINE};
    if (optim_fit(model, &rows, &fit, NULL, &layers_error) != AD_OK ||
        optim_mean_log_prob(model, &rows, 0, NULL, &mean, NULL, &layers_error) != AD_OK) {
        fail_msg("%s", layers_error.message);
    }
    if (!(-mean - entropy < 0.02 && -mean - entropy > -1e-5)) fail_msg("%.6f above %.6f", -mean - entropy, entropy);
    flow_model_free(model);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void refused(const options *o, const char *words) {
    if (flow_censored_mixture_transformer(o, &layers_error)) fail_msg("not refused: %s", words);
    assert_int_equal(layers_error.status, AD_EARG);
    util_assert_contains(layers_error.message, words);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    refused(&(options){.bins = 1}, "censored mixture: 1 bins, 8 components; expected 2 to 65536, and 1 to 4096");
    refused(&(options){.bins = 65537}, "65537 bins");
    refused(&(options){.components = -1}, "-1 components");
    refused(&(options){.high = NAN}, "censored mixture: from 0 to nan, log-scales within");
    refused(&(options){.low = 1, .high = 1}, "from 1 to 1");
    refused(&(options){.high = INFINITY}, "from 0 to inf");
    refused(&(options){.low = 100, .high = 101}, "not farther from 0 than 10 of it");
    refused(&(options){.scale_bound = 0.5}, "log-scales within 0.5");
    refused(&(options){.floor = 0.6}, "floor 0.6; expected a box of 1e-3 to 1e6");
    refused(&(options){.floor = -1}, "floor -1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_starts_near_the_identity),
        cmocka_unit_test(many_bins_start_near_the_identity),
        cmocka_unit_test(wild_parameters_come_back),
        cmocka_unit_test(huge_parameters_make_no_nan),
        cmocka_unit_test(points_outside_are_told),
        cmocka_unit_test(gradients_are_right_to_second_order),
        cmocka_unit_test(probabilities_are_the_formula),
        cmocka_unit_test(differences_do_not_cancel),
        cmocka_unit_test(likelihoods_are_exact_whatever_the_noise),
        cmocka_unit_test(edges_come_back),
        cmocka_unit_test(latents_come_to_the_value_that_holds_them),
        cmocka_unit_test(latents_next_to_edges_stay_in_their_bins),
        cmocka_unit_test(joint_likelihoods_are_exact),
        cmocka_unit_test(samples_are_of_the_joint_distribution),
        cmocka_unit_test(a_table_is_learnt_to_its_entropy),
        cmocka_unit_test(pairs_are_learnt_to_their_entropy),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
