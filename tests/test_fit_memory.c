// test_fit_memory.c -- fitting a flow allocates nothing after the first step.
#include "allocations.h"
#include "util.h"

#include "data.h"
#include "optim.h"

enum { STEPS = 40, WARM = 5 };

static bool count(void *arg, const optim_progress *progress) {
    long *seen = arg;
    seen[progress->step] = allocations;
    return true;
}

// Validation comes with every fifth step: the first one is still warm-up.
static void fit_allocates_nothing_after_the_first_steps(void **state) {
    (void)state;
    if (!CAN_COUNT) skip();
    ad_error error;
    data_table *table = data_density_table(data_find_density("moons"), AD_F32, 1000, 1, &error);
    flow_model *model = flow_realnvp(2, 0, &(flow_realnvp_options){.layers = 3, .mlp = {.width = 8}}, &error);
    assert_non_null(table);
    assert_non_null(model);
    flow_rows rows = {.x = data_source(table, 0, NULL)};
    long seen[STEPS + 1] = {0};
    const optim_fit_options options = {.steps = STEPS,
                                       .batch = 100,
                                       .validation = &rows,
                                       .validate_every = WARM,
                                       .progress = count,
                                       .progress_arg = seen};
    if (optim_fit(model, &rows, &options, NULL, &error) != AD_OK) fail_msg("%s", error.message);
    assert_true(seen[1] > 0);
    assert_int_equal(seen[WARM - 1], seen[1]);  // training alone
    assert_int_equal(seen[STEPS], seen[WARM]);
    flow_model_free(model);
    data_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fit_allocates_nothing_after_the_first_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
