// test_distributions.c -- random vars: distributions at fixed seeds (p > 1e-6), what they depend on and what not, dropout.
#include "util.h"

enum { B = 4000, D = 25, COUNT = B * D };

typedef ad_var (*sampler)(ad_rows rows, ad_shape shape, const ad_random *random, uint32_t stream);
static const sampler samplers[] = {ad_uniform, ad_normal, ad_exponential, ad_logistic, ad_gumbel, ad_rademacher};
enum { SAMPLERS = sizeof samplers / sizeof *samplers };

// How numbers are asked for; zero fields: one default, in f64.
typedef struct draw {
    ad_type type;
    int threads;
    int64_t rows, first;
    uint32_t stream;
    ad_random random;
} draw;

// rows x D numbers, row-major.
static void sample(sampler f, const draw *d, double *out) {
    const ad_engine_options options = {.threads = d->threads};
    ad_engine *engine = ad_engine_new(&options, NULL);
    ad_tape *tape = ad_tape_new(engine, d->type);
    ad_rows rows = ad_rows_new(tape, "data");
    ad_rows_set(rows, d->rows, d->first);
    ad_var y = ad_keep(f(rows, ad_shape1(D), &d->random, d->stream));
    util_run(tape);
    util_read(y, out, d->rows * D);
    ad_tape_free(tape);
    ad_engine_free(engine);
}

static const draw usual = {.type = AD_F64, .threads = 1, .rows = B, .stream = 3, .random = {11, 4}};

// ---- distributions ---------------------------------------------------------------------------------------------------

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Largest distance between the empirical and the uniform distribution function, times sqrt n: above 2.7 with p = 1e-6.
static double kolmogorov(double *u, int n) {
    double most = 0;
    qsort(u, (size_t)n, sizeof *u, ascending);
    for (int i = 0; i < n; i++) most = fmax(most, fmax((i + 1.0) / n - u[i], u[i] - (double)i / n));
    return most * sqrt(n);
}

static double exponential_cdf(double x) { return -expm1(-x); }
static double logistic_cdf(double x) { return 1 / (1 + exp(-x)); }
static double gumbel_cdf(double x) { return exp(-exp(-x)); }

static const struct law {
    sampler f;
    double (*cdf)(double x);
    double mean, variance, fourth;  // fourth: of the central moments
    double low, high;               // of 100,000 numbers the least and largest are beyond these
} laws[] = {
    {ad_exponential, exponential_cdf, 1, 1, 9, 1e-3, 8},
    {ad_logistic, logistic_cdf, 0, 3.2898681336964529, 45.457575, -8, 8},
    {ad_gumbel, gumbel_cdf, 0.57721566490153286, 1.6449340668482264, 14.611364, -1.8, 8},
};
enum { LAWS = sizeof laws / sizeof *laws };

static void test_distribution_functions(void **state) {
    (void)state;
    double *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < LAWS; i++) {
        sample(laws[i].f, &usual, x);
        for (int j = 0; j < COUNT; j++) x[j] = laws[i].cdf(x[j]);
        double distance = kolmogorov(x, COUNT);
        if (!(distance < 2.7)) fail_msg("law %d: %g", i, distance);
    }
    free(x);
}

// Mean and variance within 4.9 standard errors.
static void test_moments(void **state) {
    (void)state;
    double *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < LAWS; i++) {
        double sum = 0, squares = 0, variance = laws[i].variance;
        sample(laws[i].f, &usual, x);
        for (int j = 0; j < COUNT; j++) sum += x[j] - laws[i].mean;
        for (int j = 0; j < COUNT; j++) squares += (x[j] - laws[i].mean) * (x[j] - laws[i].mean) - variance;
        assert_true(fabs(sum / COUNT) < 4.9 * sqrt(variance / COUNT));
        assert_true(fabs(squares / COUNT) < 4.9 * sqrt((laws[i].fourth - variance * variance) / COUNT));
    }
    free(x);
}

static void test_tails_are_reached(void **state) {
    (void)state;
    double *x = malloc(COUNT * sizeof *x);
    for (int i = 0; i < LAWS; i++) {
        double least = INFINITY, most = -INFINITY;
        sample(laws[i].f, &usual, x);
        for (int j = 0; j < COUNT; j++) least = fmin(least, x[j]), most = fmax(most, x[j]);
        assert_true(least < laws[i].low && most > laws[i].high && isfinite(least) && isfinite(most));
    }
    free(x);
}

static void test_rademacher(void **state) {
    (void)state;
    double *x = malloc(COUNT * sizeof *x), sum = 0, neighbours = 0;
    sample(ad_rademacher, &usual, x);
    for (int j = 0; j < COUNT; j++) assert_true(x[j] == 1 || x[j] == -1);
    for (int j = 0; j < COUNT; j++) sum += x[j];
    for (int j = 0; j + 1 < COUNT; j++) neighbours += x[j] * x[j + 1];
    assert_true(fabs(sum) < 4.9 * sqrt(COUNT) && fabs(neighbours) < 4.9 * sqrt(COUNT));
    free(x);
}

// Each is the documented function of the uniform number with the same seed, stream, row and element.
static void test_functions_of_uniform(void **state) {
    (void)state;
    double *u = malloc(COUNT * sizeof *u), *x = malloc(COUNT * sizeof *x);
    sample(ad_uniform, &usual, u);
    sample(ad_exponential, &usual, x);
    for (int j = 0; j < COUNT; j++) util_assert_close(x[j] / -log(u[j]), 1, 1e-15);
    sample(ad_logistic, &usual, x);
    for (int j = 0; j < COUNT; j++) util_assert_close(x[j], log(u[j]) - log1p(-u[j]), 1e-15);
    sample(ad_gumbel, &usual, x);
    for (int j = 0; j < COUNT; j++) util_assert_close(x[j], -log(-log(u[j])), 1e-15);
    sample(ad_rademacher, &usual, x);
    for (int j = 0; j < COUNT; j++) assert_true(x[j] == (u[j] < 0.5 ? -1 : 1));
    free(u);
    free(x);
}

// ---- what they depend on -----------------------------------------------------------------------------------------------

// Row r of the batch from first on is global row first + r, for any batch and any number of threads.
static void test_rows_are_global(void **state) {
    (void)state;
    double *all = malloc(COUNT * sizeof *all), *part = malloc(COUNT * sizeof *part);
    for (int i = 0; i < SAMPLERS; i++) {
        sample(samplers[i], &usual, all);
        for (int threads = 1; threads <= 2; threads++) {
            draw d = usual;
            d.threads = threads, d.first = 777, d.rows = 1501;
            sample(samplers[i], &d, part);
            assert_memory_equal(part, all + 777 * D, (size_t)d.rows * D * sizeof *part);
        }
    }
    free(all);
    free(part);
}

static void test_threads(void **state) {
    (void)state;
    double *one = malloc(COUNT * sizeof *one), *three = malloc(COUNT * sizeof *three);
    draw d = usual;
    d.threads = 3;
    for (int i = 0; i < SAMPLERS; i++) {
        sample(samplers[i], &usual, one);
        sample(samplers[i], &d, three);
        assert_memory_equal(one, three, COUNT * sizeof *one);
    }
    free(one);
    free(three);
}

static void test_f32_rounds_f64(void **state) {
    (void)state;
    double *wide = malloc(COUNT * sizeof *wide), *narrow = malloc(COUNT * sizeof *narrow);
    draw d = usual;
    d.type = AD_F32;
    for (int i = 1; i < SAMPLERS; i++) {  // uniform f32 numbers stay below 1 besides
        sample(samplers[i], &usual, wide);
        sample(samplers[i], &d, narrow);
        for (int j = 0; j < COUNT; j++) assert_true(narrow[j] == (double)(float)wide[j]);
    }
    free(wide);
    free(narrow);
}

// Numbers of another seed, step or stream are others, and not correlated.
static void test_streams(void **state) {
    (void)state;
    double *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    draw other[3] = {usual, usual, usual};
    other[0].stream++, other[1].random.seed++, other[2].random.step++;
    sample(ad_logistic, &usual, x);
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        sample(ad_logistic, &other[i], y);
        for (int j = 0; j < COUNT; j++) sum += x[j] * y[j];
        assert_true(fabs(sum) < 4.9 * 3.2898681336964529 * sqrt(COUNT));
    }
    free(x);
    free(y);
}

// ---- categorical -----------------------------------------------------------------------------------------------------

// Counts of 0 .. 4 against the probabilities of logits, by chi-square.
static void check_counts(const double *draws, int n, const double *logits) {
    double total = 0, counts[5] = {0}, sum = 0;
    for (int k = 0; k < 5; k++) total += exp(logits[k]);
    for (int i = 0; i < n; i++) {
        assert_true(draws[i] >= 0 && draws[i] <= 4 && draws[i] == floor(draws[i]));
        counts[(int)draws[i]]++;
    }
    for (int k = 0; k < 5; k++) {
        double expected = n * exp(logits[k]) / total;
        if (expected == 0) assert_true(counts[k] == 0);
        if (expected > 0) sum += (counts[k] - expected) * (counts[k] - expected) / expected;
    }
    if (!(sum < 33.4)) fail_msg("chi-square %g of 4 degrees of freedom", sum);  // p = 1e-6
}

static void test_categorical_shared(void **state) {
    static const double logits[] = {-1, 0.5, -INFINITY, 2, 1};
    static double draws[B];
    (void)state;
    for (int type = 0; type < 2; type++) {
        ad_tape *tape = ad_tape_new(NULL, (ad_type)type);
        ad_rows rows = util_rows(tape, "data", B);
        ad_var y = ad_keep(ad_categorical(ad_constant(tape, ad_shape1(5), logits), rows, &usual.random, 1));
        assert_int_equal(ad_shape_of(y).rank, 0);
        util_run(tape);
        util_read(y, draws, B);
        check_counts(draws, B, logits);
        ad_tape_free(tape);
    }
}

// Two distributions a row, which differ from row to row.
static void test_categorical_per_row(void **state) {
    static const double logits[2][5] = {{0, 1, 2, 3, 4}, {3, 1, -1, 1, 3}};
    static double x[B][2][5], draws[B][2], of[2][B];
    (void)state;
    for (int r = 0; r < B; r++)
        for (int i = 0; i < 2; i++) memcpy(x[r][i], logits[(r + i) % 2], sizeof x[r][i]);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(&x[0][0][0], B);
    ad_rows rows = util_rows(tape, "data", B);
    ad_var y = ad_keep(ad_categorical(ad_input(rows, ad_shape2(2, 5), &source), rows, &usual.random, 1));
    util_run(tape);
    util_read(y, &draws[0][0], 2 * B);
    for (int r = 0; r < B; r++)
        for (int i = 0; i < 2; i++) of[(r + i) % 2][r] = draws[r][i];
    check_counts(of[0], B, logits[0]);
    check_counts(of[1], B, logits[1]);
    ad_tape_free(tape);
}

static void test_categorical_errors(void **state) {
    (void)state;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_rows rows = util_rows(tape, "data", B);
    assert_false(ad_ok(ad_categorical(ad_number(tape, 0), rows, &usual.random, 1)));
    assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(tape), "ad_categorical: logits of shape [] have no last axis");
    ad_tape_free(tape);
}

// ---- dropout ---------------------------------------------------------------------------------------------------------

// What dropout made of x, and the gradient of its sum in x.
static void dropout(ad_type type, double p, const double *x, double *y, double *gx) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_set_training(tape, true);
    ad_source source = util_source(x, B);
    ad_var v = ad_input(util_rows(tape, "data", B), ad_shape1(D), &source), g;
    ad_var dropped = ad_keep(ad_dropout(v, p, &usual.random, 2));
    ad_grad(ad_sum(dropped), &v, 1, &g);
    ad_keep(g);
    util_run(tape);
    util_read(dropped, y, COUNT);
    util_read(g, gx, COUNT);
    ad_tape_free(tape);
}

static void test_dropout_scales_what_it_keeps(void **state) {
    (void)state;
    double *x = malloc(3 * COUNT * sizeof *x), *y = x + COUNT, *gx = y + COUNT;
    util_fill(x, COUNT, 9, 0.5, 1.5);
    for (int type = 0; type < 2; type++) {
        int kept = 0;
        dropout((ad_type)type, 0.3, x, y, gx);
        for (int i = 0; i < COUNT; i++) {
            kept += y[i] != 0;
            if (y[i] != 0) util_assert_close(y[i] / (x[i] / 0.7), 1, type == AD_F32 ? 2e-7 : 4e-16);
            util_assert_close(gx[i], y[i] != 0 ? 1 / 0.7 : 0, type == AD_F32 ? 1e-7 : 1e-16);
        }
        assert_true(fabs(kept - 0.7 * COUNT) < 4.9 * sqrt(0.21 * COUNT));
    }
    free(x);
}

static void test_dropout_drops_infinities(void **state) {
    (void)state;
    double *x = malloc(3 * COUNT * sizeof *x), *y = x + COUNT, *gx = y + COUNT;
    for (int i = 0; i < COUNT; i++) x[i] = i % 2 ? INFINITY : NAN;
    dropout(AD_F64, 0.5, x, y, gx);
    int dropped = 0;
    for (int i = 0; i < COUNT; i++) {
        dropped += y[i] == 0;
        if (y[i] == 0) assert_true(gx[i] == 0);
    }
    assert_true(dropped > 0.4 * COUNT);
    free(x);
}

static void test_dropout_is_x_itself(void **state) {
    (void)state;
    static const double x[D];
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = util_source(x, 1);
    ad_var v = ad_input(util_rows(tape, "data", 1), ad_shape1(D), &source);
    assert_true(ad_dropout(v, 0.5, &usual.random, 0).id == v.id);  // not training
    ad_set_training(tape, true);
    assert_true(ad_dropout(v, 0, &usual.random, 0).id == v.id);
    assert_true(ad_dropout(v, 0.5, &usual.random, 0).id != v.id);
    util_assert_ok(tape);
    ad_tape_free(tape);
}

static void check_dropout_error(double p, bool shared, bool training, const char *part) {
    static const double x[D];
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_source source = util_source(x, 1);
    ad_set_training(tape, training);
    ad_var v = shared ? ad_shared_input(tape, ad_shape1(D), &source)
                      : ad_input(util_rows(tape, "data", 1), ad_shape1(D), &source);
    assert_false(ad_ok(ad_dropout(v, p, &usual.random, 0)));
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    util_assert_contains(ad_tape_message(tape), part);
    ad_tape_free(tape);
}

static void test_dropout_errors(void **state) {
    (void)state;
    for (int training = 0; training < 2; training++) {
        check_dropout_error(1, false, training, "ad_dropout: p is 1, expected 0 <= p < 1");
        check_dropout_error(-0.5, false, training, "ad_dropout: p is -0.5");
        check_dropout_error(NAN, false, training, "ad_dropout: p is nan");
        check_dropout_error(0.5, true, training, "ad_dropout: x is shared");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distribution_functions),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_tails_are_reached),
        cmocka_unit_test(test_rademacher),
        cmocka_unit_test(test_functions_of_uniform),
        cmocka_unit_test(test_rows_are_global),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_f32_rounds_f64),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_categorical_shared),
        cmocka_unit_test(test_categorical_per_row),
        cmocka_unit_test(test_categorical_errors),
        cmocka_unit_test(test_dropout_scales_what_it_keeps),
        cmocka_unit_test(test_dropout_drops_infinities),
        cmocka_unit_test(test_dropout_is_x_itself),
        cmocka_unit_test(test_dropout_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
