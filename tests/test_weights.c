// test_weights.c -- weights of rows in fitting and scoring, and the noise of layers there.
#include "optim.h"
#include "util.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

enum { ROWS = 60, REPEATED = 2 * ROWS, STEPS = 20 };

// Points in columns 0 and 1, their weights 0 to 4 in column 2; and each point as often as its weight says.
typedef struct sample {
    double table[ROWS * 3], repeated[REPEATED * 2];
    int64_t kept[ROWS];
    int n_repeated, n_kept;
} sample;

static void sample_make(sample *s) {
    uint64_t seed = 8;
    *s = (sample){.n_kept = 0};
    for (int r = 0; r < ROWS; r++) {
        double *row = s->table + 3 * r;
        row[0] = util_uniform(&seed, -1, 2);
        row[1] = row[0] * row[0] + util_uniform(&seed, -1, 1);
        row[2] = r * 7 % 5;
        if (row[2] > 0) s->kept[s->n_kept++] = r;
        for (int i = 0; i < (int)row[2]; i++) memcpy(s->repeated + 2 * s->n_repeated++, row, 2 * sizeof *row);
    }
}

static flow_rows weighted(const sample *s) {
    size_t stride = 3 * sizeof(double);
    flow_rows rows = {.x = {s->table, AD_F64, ROWS, stride, NULL},
                      .weight = {s->table + 2, AD_F64, ROWS, stride, NULL}};
    return rows;
}

static flow_model *small_model(void) {
    flow_realnvp_options options = {.layers = 2, .mlp = {.layers = 1, .width = 6, .seed = 4, .type = AD_F64}};
    flow_model *model = flow_realnvp(2, 0, &options, &error);
    assert_non_null(model);
    int n;
    uint64_t seed = 5;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) ad_param_set(params[i], k, util_uniform(&seed, -0.3, 0.3));
    }
    return model;
}

static double mean_of(const flow_rows *rows, int64_t batch, double *standard_error) {
    flow_model *model = small_model();
    double mean;
    assert_status_ok(optim_mean_log_prob(model, rows, batch, NULL, &mean, standard_error, &error));
    flow_model_free(model);
    return mean;
}

static flow_model *fitted(const flow_rows *rows, int64_t batch) {
    flow_model *model = small_model();
    optim_fit_options options = {.steps = STEPS, .batch = batch, .lr = 0.01, .type = AD_F64, .seed = 2};
    assert_status_ok(optim_fit(model, rows, &options, NULL, &error));
    return model;
}

// Parameters of the two agree; tolerance 0: to the bit. Frees both.
static void assert_same(flow_model *a, flow_model *b, double tolerance) {
    int n;
    ad_param *const *p = flow_params(a, &n), *const *q = flow_params(b, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < p[i]->count; k++) {
            double x = ad_param_get(p[i], k), y = ad_param_get(q[i], k);
            if (x != y) util_assert_close(x, y, tolerance);
        }
    }
    flow_model_free(a);
    flow_model_free(b);
}

static void scoring_counts_rows_by_their_weights(void **state) {
    (void)state;
    sample s;
    sample_make(&s);
    flow_rows rows = weighted(&s), repeated = {.x = util_source(s.repeated, s.n_repeated)};
    util_assert_close(mean_of(&rows, 0, NULL), mean_of(&repeated, 0, NULL), 1e-13);
    util_assert_close(mean_of(&rows, 7, NULL), mean_of(&repeated, 7, NULL), 1e-13);
}

static void weights_may_be_floats(void **state) {
    (void)state;
    sample s;
    float weights[ROWS];
    sample_make(&s);
    flow_rows rows = weighted(&s), floats = rows;
    for (int r = 0; r < ROWS; r++) weights[r] = (float)s.table[3 * r + 2];
    floats.weight = (ad_source){weights, AD_F32, ROWS, 0, NULL};
    assert_true(mean_of(&rows, 0, NULL) == mean_of(&floats, 0, NULL));
    assert_same(fitted(&rows, 16), fitted(&floats, 16), 0);
}

// sqrt(sum w^2 (l - mean)^2 n / (n - 1)) / sum w, the log-densities taken one by one; n rows have a weight.
static void the_standard_error_is_that_of_a_weighted_mean(void **state) {
    (void)state;
    sample s;
    sample_make(&s);
    flow_rows rows = weighted(&s);
    double got, mean = mean_of(&rows, 0, &got), squares = 0, sum = 0, n = s.n_kept;
    for (int i = 0; i < s.n_kept; i++) {
        flow_rows one = {.x = rows.x, .index = &s.kept[i], .n = 1};
        double w = s.table[3 * s.kept[i] + 2];
        squares += pow(w * (mean_of(&one, 0, NULL) - mean), 2);
        sum += w;
    }
    util_assert_close(got, sqrt(squares * n / (n - 1)) / sum, 1e-11);
}

// Not even what they hold is seen: it may be NaN.
static void rows_of_weight_zero_are_absent(void **state) {
    (void)state;
    sample s;
    sample_make(&s);
    double same[ROWS];
    for (int r = 0; r < ROWS; r++) same[r] = s.table[3 * r + 2] > 0 ? 0.25 : 0;
    flow_rows rows = weighted(&s), kept = {.x = rows.x, .index = s.kept, .n = s.n_kept};
    rows.weight = util_source(same, ROWS);
    for (int r = 0; r < ROWS; r++) {
        if (same[r] == 0) s.table[3 * r] = NAN;
    }
    assert_true(mean_of(&rows, 16, NULL) == mean_of(&kept, 16, NULL));
    assert_same(fitted(&rows, 16), fitted(&kept, 16), 0);
    flow_model *a = small_model(), *b = small_model();
    assert_status_ok(flow_init_from_data(a, &rows, &error));
    assert_status_ok(flow_init_from_data(b, &kept, &error));
    int n;
    const flow_tensor *t = flow_tensors(a, &n), *u = flow_tensors(b, &n);
    assert_string_equal(t[0].name, "flow.0.mean");
    assert_memory_equal(t[0].state->data, u[0].state->data, 2 * ad_type_size(t[0].state->type));
    flow_model_free(a);
    flow_model_free(b);
}

static void whole_weights_are_repeated_rows(void **state) {
    (void)state;
    sample s;
    sample_make(&s);
    flow_rows rows = weighted(&s), repeated = {.x = util_source(s.repeated, s.n_repeated)};
    assert_same(fitted(&rows, ROWS), fitted(&repeated, REPEATED), 1e-10);
}

// A power of two, so that not a bit changes: batches are divided by the mean weight of all rows.
static void the_unit_of_weights_does_not_matter(void **state) {
    (void)state;
    sample s;
    double large[ROWS];
    sample_make(&s);
    flow_rows rows = weighted(&s), scaled = rows;
    for (int r = 0; r < ROWS; r++) large[r] = 1024 * s.table[3 * r + 2];
    scaled.weight = util_source(large, ROWS);
    assert_same(fitted(&rows, 16), fitted(&scaled, 16), 0);
}

// Losses of the batches of an epoch, each as many rows, have the loss of all as their mean.
typedef struct losses {
    double sum;
    int64_t n;
} losses;

static bool add_loss(void *arg, const optim_progress *progress) {
    losses *l = arg;
    l->sum += progress->loss;
    l->n++;
    return true;
}

static void losses_of_batches_have_the_mean_of_all(void **state) {
    (void)state;
    sample s;
    losses l = {0};
    sample_make(&s);
    flow_rows rows = weighted(&s);
    flow_model *model = small_model();
    optim_fit_options options = {
        .batch = s.n_kept / 6, .steps = 6, .lr = 1e-300, .type = AD_F64, .progress = add_loss, .progress_arg = &l};
    assert_int_equal(s.n_kept % 6, 0);
    assert_status_ok(optim_fit(model, &rows, &options, NULL, &error));
    util_assert_close(l.sum / (double)l.n, -mean_of(&rows, 0, NULL), 1e-12);
    flow_model_free(model);
}

static void assert_refused(const flow_rows *rows, const char *words) {
    flow_model *model = small_model();
    double mean;
    assert_int_equal(optim_fit(model, rows, NULL, NULL, &error), AD_EARG);
    util_assert_contains(error.message, words);
    assert_int_equal(optim_mean_log_prob(model, rows, 0, NULL, &mean, NULL, &error), AD_EARG);
    util_assert_contains(error.message, words);
    assert_int_equal(flow_init_from_data(model, rows, &error), AD_EARG);
    util_assert_contains(error.message, words);
    flow_model_free(model);
}

static void bad_weights_are_refused(void **state) {
    (void)state;
    const double x[6] = {1, 2, 3, 4, 5, 6};
    const int64_t index[3] = {0, 1, 2};
    double w[3] = {1, -1, 1};
    flow_rows rows = {.x = util_source(x, 3), .weight = util_source(w, 3)};
    assert_refused(&rows, "the weight of row 1 is -1, expected a finite number");
    w[1] = NAN;
    assert_refused(&rows, "the weight of row 1 is nan");
    w[1] = INFINITY;
    assert_refused(&rows, "the weight of row 1 is inf");
    w[0] = w[1] = w[2] = 0;
    assert_refused(&rows, "the weights of 3 rows add up to 0");
    w[0] = w[1] = 1e308;
    assert_refused(&rows, "the weights of 3 rows add up to inf");
    rows.weight.count = 2;
    assert_refused(&rows, "3 rows of data but 2 weights");
    rows.weight.index = index;
    assert_refused(&rows, "weight.index must be NULL");
}

// ---- noise of layers ------------------------------------------------------------------------------------------------

static flow_model *model_of_bytes(void) {
    flow_layer *layers[2] = {flow_dequantise(1, &(flow_dequantise_options){.levels = 4}, &error),
                             flow_logit(1, NULL, &error)};
    flow_model *model = flow_model_new(flow_chain(layers, 2, &error), flow_standard_normal(1, &error), &error);
    assert_non_null(model);
    return model;
}

typedef struct seen {
    double loss[STEPS], validation[STEPS];
} seen;

static bool see(void *arg, const optim_progress *progress) {
    seen *s = arg;
    s->loss[progress->step - 1] = progress->loss;
    s->validation[progress->step - 1] = progress->validation;
    return true;
}

// The model has nothing to learn, so only the noise changes.
static void each_step_has_noise_of_its_own(void **state) {
    (void)state;
    double x[ROWS], before, after;
    seen s;
    for (int i = 0; i < ROWS; i++) x[i] = i % 4;
    flow_rows rows = {.x = util_source(x, ROWS)};
    flow_model *model = model_of_bytes();
    assert_status_ok(optim_mean_log_prob(model, &rows, 0, NULL, &before, NULL, &error));
    optim_fit_options options = {.steps = STEPS,
                                 .batch = ROWS,
                                 .type = AD_F64,
                                 .validation = &rows,
                                 .validate_every = 1,
                                 .progress = see,
                                 .progress_arg = &s};
    assert_status_ok(optim_fit(model, &rows, &options, NULL, &error));
    for (int i = 0; i < STEPS; i++) {
        for (int k = 0; k < i; k++) assert_true(s.loss[i] != s.loss[k]);
        assert_true(s.validation[i] == -before);
    }
    assert_status_ok(optim_mean_log_prob(model, &rows, 0, NULL, &after, NULL, &error));
    assert_true(before == after);
    flow_model_free(model);
}

static void scores_do_not_depend_on_the_batch(void **state) {
    (void)state;
    double x[ROWS], a, b;
    for (int i = 0; i < ROWS; i++) x[i] = i % 4;
    flow_rows rows = {.x = util_source(x, ROWS)};
    flow_model *model = model_of_bytes();
    assert_status_ok(optim_mean_log_prob(model, &rows, 0, NULL, &a, NULL, &error));
    assert_status_ok(optim_mean_log_prob(model, &rows, 7, NULL, &b, NULL, &error));
    assert_true(a == b);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scoring_counts_rows_by_their_weights),
        cmocka_unit_test(weights_may_be_floats),
        cmocka_unit_test(the_standard_error_is_that_of_a_weighted_mean),
        cmocka_unit_test(rows_of_weight_zero_are_absent),
        cmocka_unit_test(whole_weights_are_repeated_rows),
        cmocka_unit_test(the_unit_of_weights_does_not_matter),
        cmocka_unit_test(losses_of_batches_have_the_mean_of_all),
        cmocka_unit_test(bad_weights_are_refused),
        cmocka_unit_test(each_step_has_noise_of_its_own),
        cmocka_unit_test(scores_do_not_depend_on_the_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
