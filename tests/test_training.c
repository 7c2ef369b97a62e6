// test_training.c -- what surrounds the loss of a training run: guard, early stop, averages, checkpoints, logs,
// signals.
#include <dirent.h>
#include <jansson.h>
#include <signal.h>

#include "data.h"
#include "files.h"
#include "optim.h"
#include "util.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// ---- the guard ----------------------------------------------------------------------------------------------------

static void the_guard_skips_rolls_back_and_gives_up(void **state) {
    (void)state;
    optim_guard g = {.skips = 2, .rollbacks = 1, .factor = 0.25};
    assert_int_equal(optim_guard_judge(&g, 1, 1), OPTIM_GOOD);
    assert_int_equal(optim_guard_judge(&g, NAN, 1), OPTIM_SKIP);
    assert_int_equal(optim_guard_judge(&g, 1, 1), OPTIM_GOOD);  // in a row again from here
    assert_int_equal(optim_guard_judge(&g, INFINITY, 1), OPTIM_SKIP);
    assert_int_equal(optim_guard_judge(&g, 1, INFINITY), OPTIM_ROLL_BACK);
    util_assert_close(g.scale, 0.25, 0);
    assert_int_equal(optim_guard_judge(&g, 1, NAN), OPTIM_SKIP);
    assert_int_equal(optim_guard_judge(&g, 1, NAN), OPTIM_GIVE_UP);
    assert_int_equal(g.skipped, 5);
    optim_guard off = {.off = true};
    assert_int_equal(optim_guard_judge(&off, NAN, 1), OPTIM_GIVE_UP);
}

static void the_guard_tells_spikes(void **state) {
    (void)state;
    optim_guard plain = {0}, g = {.spike = 6};
    uint64_t seed = 1;
    for (int i = 0; i < 300; i++) {
        double loss = 2 + 0.1 * util_uniform(&seed, -1, 1), norm = exp(util_uniform(&seed, -1, 1));
        assert_int_equal(optim_guard_judge(&g, loss, norm), OPTIM_GOOD);
        assert_int_equal(optim_guard_judge(&plain, loss, norm), OPTIM_GOOD);
    }
    assert_int_equal(optim_guard_judge(&g, 1, 1), OPTIM_GOOD);  // low is no spike
    assert_int_equal(optim_guard_judge(&g, 3, 1), OPTIM_SKIP);
    assert_int_equal(optim_guard_judge(&g, 2, 1e4), OPTIM_SKIP);
    assert_int_equal(optim_guard_judge(&g, 2, 1), OPTIM_GOOD);
    assert_int_equal(optim_guard_judge(&plain, 3, 1e4), OPTIM_GOOD);
}

// ---- runs ---------------------------------------------------------------------------------------------------------

typedef struct moons {
    data_table *train, *held_out;
    flow_rows rows, validation;
    flow_model *model;
} moons;

static moons moons_new(int64_t n, ad_type type) {
    const data_density *density = data_find_density("moons");
    moons m = {.train = data_density_table(density, AD_F32, n, 1, &error),
               .held_out = data_density_table(density, AD_F32, 500, 2, &error)};
    if (!m.train || !m.held_out) fail_msg("%s", error.message);
    m.rows.x = data_source(m.train, 0, NULL);
    m.validation.x = data_source(m.held_out, 0, NULL);
    m.model =
        flow_realnvp(2, 0, &(flow_realnvp_options){.layers = 4, .mlp = {.width = 8, .seed = 1, .type = type}}, &error);
    if (!m.model) fail_msg("%s", error.message);
    return m;
}

static void moons_free(moons *m) {
    data_table_free(m->train);
    data_table_free(m->held_out);
    flow_model_free(m->model);
}

static uint64_t digest(const flow_model *model) {
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; t[i].param && k < t[i].param->count; k++) {
            double v = ad_param_get(t[i].param, k);
            uint64_t bits;
            memcpy(&bits, &v, sizeof bits);
            sum = sum * 0x9e3779b97f4a7c15u + bits;
        }
    }
    return sum;
}

// 100 rows of NaN among 20,000, met twice: every step that meets one is skipped, and the score is that of a clean run.
static void rows_that_are_not_numbers_do_no_harm(void **state) {
    (void)state;
    double validation[2];
    for (int bad = 0; bad < 2; bad++) {
        moons m = moons_new(20000, AD_F32);
        float *x = data_values(m.train);
        for (int i = 0; bad && i < 100; i++) x[2 * 197 * i + i % 2] = NAN;
        const optim_fit_options options = {.steps = 2000, .batch = 20, .lr = 3e-3, .validation = &m.validation};
        optim_fit_result result;
        assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
        validation[bad] = result.validation;
        if (bad) assert_in_range(result.skipped, 150, 200);  // some batches hold two of them
        if (!bad) assert_int_equal(result.skipped, 0);
        moons_free(&m);
    }
    util_assert_close(validation[1], validation[0], 0.01 * validation[0]);
}

// A parameter becomes NaN, as a bug of a layer might do it: only going back helps.
static bool poison(void *arg, const optim_progress *p) {
    moons *m = arg;
    int n;
    ad_param *const *params = flow_params(m->model, &n);
    if (p->step == 120) ad_param_set(params[3], 2, NAN);
    if (p->step == 121) {
        assert_non_null(p->trouble);
        util_assert_contains(p->trouble, "step 121: ");
        util_assert_contains(p->trouble, ": skipped");
        util_assert_contains(p->trouble, "element 2 of tensor 'flow.");
    }
    if (p->step == 123) util_assert_contains(p->trouble, "back to the last good parameters");
    if (p->step == 124) {
        assert_null(p->trouble);
        util_assert_close(p->lr, 1e-3 * 0.5, 0);
    }
    return true;
}

static void parameters_come_back(void **state) {
    (void)state;
    moons m = moons_new(1000, AD_F32);
    const optim_fit_options options = {
        .steps = 200, .lr = 1e-3, .batch = 50, .validation = &m.validation, .progress = poison, .progress_arg = &m};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(result.skipped, 3);
    assert_int_equal(result.rolled_back, 1);
    assert_int_equal(result.best_step, 200);
    moons_free(&m);
}

static void a_hopeless_run_gives_up_with_good_parameters(void **state) {
    (void)state;
    moons m = moons_new(100, AD_F32);
    uint64_t before = digest(m.model);
    ((float *)data_values(m.train))[2 * 57] = INFINITY;
    const optim_fit_options options = {.steps = 100, .batch = 100};
    optim_fit_result result;
    assert_int_equal(optim_fit(m.model, &m.rows, &options, &result, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "row 57 of the data, column 0, is inf");
    util_assert_contains(error.message, "Given up after 9 bad steps");
    assert_int_equal(result.skipped, 9);
    assert_true(digest(m.model) == before);
    const optim_fit_options shorter = {.steps = 2, .batch = 100};  // over before the guard would give up
    assert_int_equal(optim_fit(m.model, &m.rows, &shorter, &result, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "none of 2 steps could be taken");
    moons_free(&m);
}

static void patience_ends_a_run(void **state) {
    (void)state;
    moons m = moons_new(40, AD_F32);  // soon learnt by heart
    const optim_fit_options options = {
        .steps = 4000, .batch = 40, .lr = 2e-2, .validation = &m.validation, .validate_every = 10, .patience = 3};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_true(result.steps < 2000);
    assert_int_equal(result.steps, result.best_step + 30);
    // Started again, it is over.
    optim_fit_options again = options;
    again.care.checkpoint = files_path("patience");
    moons first = moons_new(40, AD_F32), second = moons_new(40, AD_F32);
    again.validation = &first.validation;
    assert_status_ok(optim_fit(first.model, &first.rows, &again, NULL, &error));
    again.validation = &second.validation;
    optim_fit_result over;
    assert_status_ok(optim_fit(second.model, &second.rows, &again, &over, &error));
    assert_int_equal(over.steps, result.steps);
    assert_true(digest(first.model) == digest(second.model) && digest(first.model) == digest(m.model));
    moons_free(&first);
    moons_free(&second);
    moons_free(&m);
}

// Two batches of 64 are one of 128, but for rounding.
static void accumulated_gradients_are_those_of_a_larger_batch(void **state) {
    (void)state;
    moons one = moons_new(512, AD_F64), two = moons_new(512, AD_F64);
    optim_fit_options options = {.steps = 20, .batch = 128, .type = AD_F64};
    optim_fit_result result[2];
    assert_status_ok(optim_fit(one.model, &one.rows, &options, &result[0], &error));
    options.batch = 64;
    options.accumulate = 2;
    assert_status_ok(optim_fit(two.model, &two.rows, &options, &result[1], &error));
    util_assert_close(result[0].loss, result[1].loss, 1e-10);
    int n;
    ad_param *const *a = flow_params(one.model, &n), *const *b = flow_params(two.model, &n);
    for (int i = 0; i < n; i++) util_assert_close(ad_param_get(a[i], 0), ad_param_get(b[i], 0), 1e-8);
    moons_free(&one);
    moons_free(&two);
}

static void the_average_is_validated_and_kept(void **state) {
    (void)state;
    moons m = moons_new(500, AD_F32);
    const optim_fit_options options = {
        .steps = 60, .batch = 20, .lr = 5e-2, .average = 0.95, .validation = &m.validation, .validate_every = 60};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    double mean;
    assert_status_ok(optim_mean_log_prob(m.model, &m.validation, 0, NULL, &mean, NULL, &error));
    assert_true(-mean == result.validation);
    moons last = moons_new(500, AD_F32);
    optim_fit_options plain = options;
    plain.average = 0;
    optim_fit_result noisy;
    assert_status_ok(optim_fit(last.model, &last.rows, &plain, &noisy, &error));
    assert_true(result.validation < noisy.validation);  // of so high a rate
    moons_free(&m);
    moons_free(&last);
}

// ---- stopped, and gone on -----------------------------------------------------------------------------------------

static bool stop_at(void *arg, const optim_progress *p) {
    return p->step < *(int64_t *)arg;
}

static optim_fit_options long_options(const moons *m, int64_t *stop) {
    return (optim_fit_options){.steps = 90,
                               .batch = 32,
                               .accumulate = 2,
                               .lr = 1e-2,
                               .schedule = OPTIM_COSINE,
                               .warm_up = 10,
                               .average = 0.9,
                               .validation = &m->validation,
                               .validate_every = 7,
                               .plateau = true,
                               .lower = {.patience = 1, .factor = 0.7},
                               .seed = 5,
                               .care = {.checkpoint_every = 11},
                               .progress = stop_at,
                               .progress_arg = stop};
}

static void a_stopped_run_goes_on_bit_for_bit(void **state) {
    (void)state;
    int64_t never = INT64_MAX;
    moons m = moons_new(333, AD_F32);
    ((float *)data_values(m.train))[2 * 100] = NAN;  // and steps that are skipped
    optim_fit_options options = long_options(&m, &never);
    options.care.checkpoint = files_path("straight");
    optim_fit_result straight, resumed;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &straight, &error));
    assert_true(straight.skipped > 3 && straight.resumed == 0);
    uint64_t want = digest(m.model);
    moons_free(&m);
    for (int64_t stop = 1; stop < 90; stop += 29) {
        char name[40];
        snprintf(name, sizeof name, "stopped%d", (int)stop);
        for (int part = 0; part < 2; part++) {
            int64_t at = part == 0 ? stop : never;
            m = moons_new(333, AD_F32);
            ((float *)data_values(m.train))[2 * 100] = NAN;
            options = long_options(&m, &at);
            options.care.checkpoint = files_path(name);
            assert_status_ok(optim_fit(m.model, &m.rows, &options, &resumed, &error));
            if (part == 1) assert_true(digest(m.model) == want);
            moons_free(&m);
        }
        assert_int_equal(resumed.resumed, stop);
        assert_int_equal(resumed.skipped, straight.skipped);
        assert_int_equal(resumed.best_step, straight.best_step);
        assert_true(resumed.validation == straight.validation);
    }
}

static void runs_of_other_options_or_data_are_told_apart(void **state) {
    (void)state;
    int64_t never = INT64_MAX;
    for (int change = 0; change < 5; change++) {
        moons m = moons_new(200, AD_F32);
        optim_fit_options options = {.steps = 5, .batch = 20, .care = {.checkpoint = files_path("which")}};
        options.progress = stop_at, options.progress_arg = &never;
        if (change == 1) options.seed = 1;
        if (change == 2) ((float *)data_values(m.train))[7] += 1;
        if (change == 3) options.optimizer.beta2 = 0.99;
        if (change == 4) options.care.guard.spike = 8;
        const char *texts[] = {NULL, "seed 0, lr 0.001", "its data is \"", "its training is \"", "its training is \""};
        ad_status status = optim_fit(m.model, &m.rows, &options, NULL, &error);
        assert_int_equal(status, change == 0 ? AD_OK : AD_EFORMAT);
        if (change) util_assert_contains(error.message, texts[change]);
        moons_free(&m);
    }
}

typedef struct watch {
    int troubles;
    char last[512];
} watch;

static bool watching(void *arg, const optim_progress *p) {
    watch *w = arg;
    w->troubles += p->trouble != NULL;
    if (p->trouble) snprintf(w->last, sizeof w->last, "%s", p->trouble);
    return true;
}

// The folder of the checkpoints is there at the start, and gone later.
static bool lose_folder(void *arg, const optim_progress *p) {
    char from[600];
    snprintf(from, sizeof from, "%s", files_path("lost"));
    if (p->step == 5) assert_int_equal(rename(from, files_path("elsewhere")), 0);
    return watching(arg, p);
}

static void a_run_outlives_its_checkpoints(void **state) {
    (void)state;
    moons m = moons_new(200, AD_F32);
    assert_int_equal(mkdir(files_path("lost"), 0777), 0);
    char path[600];
    snprintf(path, sizeof path, "%s/run", files_path("lost"));
    watch w = {0};
    const optim_fit_options options = {.steps = 20,
                                       .batch = 20,
                                       .care = {.checkpoint = path, .checkpoint_every = 4},
                                       .progress = lose_folder,
                                       .progress_arg = &w};
    optim_fit_result result;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(result.steps, 20);
    assert_int_equal(w.troubles, 4);  // after 8, 12, 16, 20
    util_assert_contains(w.last, "lost/run.000000000020");
    char kept[600];
    snprintf(kept, sizeof kept, "%s/run.000000000004.safetensors", files_path("elsewhere"));
    assert_int_equal(access(kept, R_OK), 0);
    remove(kept);
    moons_free(&m);
}

static bool raise_at(void *arg, const optim_progress *p) {
    if (p->step == *(int64_t *)arg) raise(SIGTERM);
    return true;
}

static void a_signal_ends_the_run_in_good_order(void **state) {
    (void)state;
    moons m = moons_new(200, AD_F32);
    int64_t at = 6;
    optim_fit_options options = {.steps = 50,
                                 .batch = 20,
                                 .care = {.checkpoint = files_path("signal"), .signals = true},
                                 .progress = raise_at,
                                 .progress_arg = &at};
    optim_fit_result result;
    optim_catch_signals(true);
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(result.signal, SIGTERM);
    assert_true(result.stopped);
    assert_int_equal(result.steps, 6);
    optim_catch_signals(false);
    assert_int_equal(optim_signal_caught(), 0);
    options.progress = NULL;
    assert_status_ok(optim_fit(m.model, &m.rows, &options, &result, &error));
    assert_int_equal(result.resumed, 6);
    assert_int_equal(result.steps, 50);
    moons_free(&m);
}

// ---- logs ---------------------------------------------------------------------------------------------------------

static void logs_are_json_lines(void **state) {
    (void)state;
    moons m = moons_new(200, AD_F32);
    ((float *)data_values(m.train))[2 * 20] = NAN;
    const optim_fit_options options = {.steps = 10,
                                       .batch = 100,
                                       .validation = &m.validation,
                                       .validate_every = 5,
                                       .seed = 7,
                                       .care = {.log = files_path("log.jsonl")}};
    assert_status_ok(optim_fit(m.model, &m.rows, &options, NULL, &error));
    FILE *file = fopen(files_path("log.jsonl"), "r");
    char line[20000];
    int lines = 0, nulls = 0, validations = 0, troubles = 0;
    for (; fgets(line, sizeof line, file); lines++) {
        json_t *json = json_loads(line, 0, NULL);
        assert_non_null(json);
        if (lines == 0) {
            assert_string_equal(json_string_value(json_object_get(json, "run")), "optim_fit");
            assert_int_equal(json_integer_value(json_object_get(json, "seed")), 7);
            assert_int_equal(json_integer_value(json_object_get(json, "params")), flow_param_count(m.model));
            assert_string_equal(json_string_value(json_object_get(json, "cpu")), ad_cpu_name());
            util_assert_contains(json_string_value(json_object_get(json, "data")), ", 200 rows");
            util_assert_contains(json_string_value(json_object_get(json, "model")), "coupling");
        } else {
            assert_int_equal(json_integer_value(json_object_get(json, "step")), lines);
            nulls += json_is_null(json_object_get(json, "loss"));
            validations += json_is_real(json_object_get(json, "validation"));
            troubles += json_is_string(json_object_get(json, "trouble"));
        }
        json_decref(json);
    }
    fclose(file);
    assert_int_equal(lines, 11);
    assert_int_equal(nulls, 5);  // the row is in one of two batches
    assert_int_equal(troubles, 5);
    assert_int_equal(validations, 2);
    moons_free(&m);
}

// Fields of the format, read by hand; the check value of CRC-32C over "123456789" is e3069283.
static void events_are_what_tensorboard_reads(void **state) {
    (void)state;
    optim_events *events = optim_events_open(files_dir, &error);
    if (!events) fail_msg("%s", error.message);
    assert_status_ok(optim_events_scalar(events, "loss", 300, 1.5, &error));
    assert_int_equal(optim_events_scalar(events, "loss", -1, 1.5, &error), AD_EARG);
    optim_events_close(events);
    DIR *list = opendir(files_dir);
    unsigned char bytes[300];
    size_t n = 0;
    for (struct dirent *e; (e = readdir(list)) != NULL;) {
        if (strncmp(e->d_name, "events.out.tfevents.", 20) != 0) continue;
        FILE *file = fopen(files_path(e->d_name), "rb");
        n = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
    }
    closedir(list);
    // First record: length 24 = time 9, version 2 + 13.
    assert_int_equal(bytes[0], 24);
    // Of a length of 24 the masked CRC-32C, computed by its definition here.
    uint32_t c = 0xffffffffu;
    for (int i = 0; i < 8; i++) {
        c ^= bytes[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
    }
    c ^= 0xffffffffu;
    c = ((c >> 15) | (c << 17)) + 0xa282ead8u;
    assert_int_equal(bytes[8] | bytes[9] << 8 | bytes[10] << 16 | (uint32_t)bytes[11] << 24, c);
    assert_memory_equal(bytes + 12 + 9,
                        "\x1a\x0d"
                        "brain.Event:2",
                        15);
    // Second: time 9, step 1 + 2, summary 2 + (2 + (2 + 4 + 5)).
    const unsigned char *second = bytes + 12 + 24 + 4;
    assert_int_equal(second[0], 27);
    assert_memory_equal(second + 12 + 9, "\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\0\0\xc0\x3f", 18);
    assert_int_equal(n, 12 + 24 + 4 + 12 + 27 + 4);
    assert_null(optim_events_open(files_path("nowhere"), &error));
    util_assert_contains(error.message, "cannot be written");
    assert_null(optim_log_open(files_path("nowhere/log"), false, &error));
}

static void bad_options_are_refused(void **state) {
    (void)state;
    moons m = moons_new(50, AD_F32);
    const optim_fit_options bad[] = {{.accumulate = -1},
                                     {.patience = -1},
                                     {.average = 1},
                                     {.care = {.checkpoint_every = -1}},
                                     {.care = {.keep = -1}},
                                     {.schedule = OPTIM_EXPONENTIAL},
                                     {.care = {.checkpoint = "folder/"}},
                                     {.care = {.log = "/nowhere/at/all"}}};
    const ad_status want[] = {AD_EARG, AD_EARG, AD_EARG, AD_EARG, AD_EARG, AD_EARG, AD_EARG, AD_EIO};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(optim_fit(m.model, &m.rows, &bad[i], NULL, &error), want[i]);
    }
    moons_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_guard_skips_rolls_back_and_gives_up),
        cmocka_unit_test(the_guard_tells_spikes),
        cmocka_unit_test(rows_that_are_not_numbers_do_no_harm),
        cmocka_unit_test(parameters_come_back),
        cmocka_unit_test(a_hopeless_run_gives_up_with_good_parameters),
        cmocka_unit_test(patience_ends_a_run),
        cmocka_unit_test(accumulated_gradients_are_those_of_a_larger_batch),
        cmocka_unit_test(the_average_is_validated_and_kept),
        cmocka_unit_test(a_stopped_run_goes_on_bit_for_bit),
        cmocka_unit_test(runs_of_other_options_or_data_are_told_apart),
        cmocka_unit_test(a_run_outlives_its_checkpoints),
        cmocka_unit_test(a_signal_ends_the_run_in_good_order),
        cmocka_unit_test(logs_are_json_lines),
        cmocka_unit_test(events_are_what_tensorboard_reads),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
