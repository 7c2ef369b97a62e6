// test_optim_memory.c -- fits, draws, scores and checkpoints when memory runs out: each allocation that fails is said, and
// the next call works.
#include "failing.h"
#include "files.h"
#include "flows.h"
#include "optim.h"

static const double points[12] = {0.3, -1, 1, 0.5, -0.2, 2, 0.1, 0.7, -1.5, 0, 0.4, -0.6};
static ad_engine *engine;
static char path[300];

static ad_var gaussian(void *arg, ad_var x) {
    (void)arg;
    return ad_scale(ad_sum(ad_square(x)), -0.5);
}
static const optim_target target = {gaussian, NULL, "gaussian"};

static flow_rows rows(void) {
    return (flow_rows){.x = util_source(points, 6)};
}

static flow_model *small(ad_error *error) {
    flow_layer *layer = flow_diagonal_affine(2, NULL, error);
    flow_base *base = layer != NULL ? flow_standard_normal(2, error) : NULL;
    if (base == NULL) flow_layer_free(layer);
    return base != NULL ? flow_model_new(layer, base, error) : NULL;
}

// A model that is there, as in the field, when memory gets short.
static flow_model *ready(void) {
    static flow_model *model;
    ad_error error;
    if (model == NULL) failing_set(-1, false), model = small(&error);
    if (model == NULL) fail_msg("%s", error.message);
    return model;
}

static bool fits_to(const optim_target_options *options, ad_error *error) {
    optim_target_options o = *options;
    o.fit.steps = 2, o.fit.batch = 3, o.fit.validate_every = 1, o.fit.engine = engine;
    o.validation_draws = 4, o.report_draws = 12;
    optim_target_result result;
    return optim_fit_target(ready(), &target, &o, &result, error) == AD_OK;
}

static bool fits_along_paths(ad_error *error) {
    return fits_to(&(optim_target_options){.fit.average = 0.9, .fit.accumulate = 2, .beta = 0.5}, error);
}
static bool fits_by_the_score(ad_error *error) {
    return fits_to(&(optim_target_options){.divergence = OPTIM_REVERSE_KL, .keep_last = true}, error);
}
static bool fits_by_alpha(ad_error *error) {
    return fits_to(&(optim_target_options){.divergence = OPTIM_ALPHA, .alpha = 0.5}, error);
}
static bool fits_by_weights(ad_error *error) {
    return fits_to(&(optim_target_options){.divergence = OPTIM_FORWARD_KL}, error);
}
static bool fits_by_chains(ad_error *error) {
    return fits_to(&(optim_target_options){.divergence = OPTIM_ANNEALED, .annealing = {.distributions = 2, .leapfrog = 1}},
                   error);
}
static bool fits_with_data(ad_error *error) {
    const flow_rows data = rows();
    return fits_to(&(optim_target_options){.data = &data, .data_batch = 2}, error);
}
static bool fits_a_student(ad_error *error) {
    const optim_target teacher = optim_teacher(ready());
    flow_model *student = small(error);
    if (student == NULL) return false;
    const optim_target_options o = {
        .fit = {.steps = 1, .batch = 3, .engine = engine}, .validation_draws = 4, .report_draws = 8};
    bool ok = optim_fit_target(student, &teacher, &o, NULL, error) == AD_OK;
    flow_model_free(student);
    return ok;
}

static bool fits_to_data(ad_error *error) {
    const flow_rows data = rows();
    const optim_fit_options o = {
        .steps = 2, .batch = 3, .validation = &data, .validate_every = 1, .average = 0.9, .engine = engine};
    return optim_fit(ready(), &data, &o, NULL, error) == AD_OK;
}

static bool draws(ad_error *error) {
    double x[10], log_weight[5];
    const optim_drawing o = {.n = 5, .x = x, .log_weight = log_weight, .batch = 2, .engine = engine};
    optim_importance report;
    return optim_draws(ready(), &target, &o, error) == AD_OK &&
           optim_importance_of(log_weight, 5, 1, &report, error) == AD_OK;
}

static bool scores(ad_error *error) {
    const flow_rows data = rows();
    optim_score score;
    return optim_test_score(ready(), &data, &(optim_score_options){.batch = 4, .engine = engine}, &score, error) == AD_OK;
}

static bool finds_the_mode(ad_error *error) {
    static flow_layer *layer;
    if (layer == NULL) layer = flow_permutation(2, NULL, error);
    flow_layer *scale = layer != NULL ? optim_laplace(layer, &target, error) : NULL;
    flow_layer_free(scale);
    return scale != NULL;
}

// What cannot be saved is said by the save; what is saved comes back.
static bool saves_and_goes_on(ad_error *error) {
    int n;
    int64_t step = -1;
    ad_param *const *params = flow_params(ready(), &n);
    optim_optimizer *adam = optim_new(params, n, NULL, error);
    optim_average *average = adam != NULL ? optim_average_new(params, n, 0.9, error) : NULL;
    optim_checkpoint *c = average != NULL ? optim_checkpoint_new(path, 2, error) : NULL;
    bool ok = c != NULL;
    if (ok) {
        optim_checkpoint_model(c, "model", ready());
        optim_checkpoint_optimizer(c, "adam", adam);
        optim_checkpoint_average(c, "average", average);
        optim_checkpoint_identity(c, "data", "points");
        ok = optim_checkpoint_save(c, 3, error) == AD_OK && optim_checkpoint_load(c, &step, error) == AD_OK;
        if (ok) assert_int_equal(step, 3);
    }
    optim_checkpoint_free(c);
    optim_average_free(average);
    optim_free(adam);
    return ok;
}

static void each(bool (*work)(ad_error *error)) {
    ad_error error;
    if (engine == NULL) engine = ad_engine_new(&(ad_engine_options){.threads = 1}, &error);
    assert_non_null(engine);
    snprintf(path, sizeof path, "%s/run", files_dir);
    ready();
    failing_each(work);
}

#define CASE(name)                         \
    static void it_##name(void **state) { \
        (void)state;                       \
        each(name);                        \
    }
CASE(fits_along_paths)
CASE(fits_by_the_score)
CASE(fits_by_alpha)
CASE(fits_by_weights)
CASE(fits_by_chains)
CASE(fits_with_data)
CASE(fits_a_student)
CASE(fits_to_data)
CASE(draws)
CASE(scores)
CASE(finds_the_mode)
CASE(saves_and_goes_on)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_fits_along_paths), cmocka_unit_test(it_fits_by_the_score),
        cmocka_unit_test(it_fits_by_alpha),    cmocka_unit_test(it_fits_by_weights),
        cmocka_unit_test(it_fits_by_chains),   cmocka_unit_test(it_fits_with_data),
        cmocka_unit_test(it_fits_a_student),   cmocka_unit_test(it_fits_to_data),
        cmocka_unit_test(it_draws),            cmocka_unit_test(it_scores),
        cmocka_unit_test(it_finds_the_mode),   cmocka_unit_test(it_saves_and_goes_on),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
