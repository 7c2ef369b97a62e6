// test_check_memory.c -- bases, lines of text, checks and reports when memory runs out: an error that says so, no leak.
#include <jansson.h>

#include "failing.h"
#include "flows.h"

// ---- bases ---------------------------------------------------------------------------------------------------------

static const flow_base_type *type;  // under test
static int number;
static json_t *description;

static bool makes_an_example(ad_error *error) {
    flow_base *base = type->example(type, number, error);
    flow_base_free(base);
    return base != NULL;
}

static bool makes_what_is_described(ad_error *error) {
    flow_base *base = type->make(type, description, NULL, error);
    flow_base_free(base);
    return base != NULL;
}

static void each_base(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    for (const flow_base_type *const *t = flow_base_types(); *t; t++) {
        type = *t;
        for (number = 0; number < 5; number++) {
            failing_each(makes_an_example);
            flow_base *base = type->example(type, number, NULL);
            description = type->describe(base);
            assert_non_null(description);
            failing_each(makes_what_is_described);
            json_decref(description);
            flow_base_free(base);
        }
    }
}

// ---- models --------------------------------------------------------------------------------------------------------

static const char *line;
static flow_model *model;

static bool makes_a_line(ad_error *error) {
    flow_model *made = flow_from_text(line, 2, 1, error);
    flow_model_free(made);
    return made != NULL;
}

static bool reports(ad_error *error) {
    const double x[4] = {1, 2, -1, 0}, context[2] = {0.5, 1};
    flow_rows rows = {.x = {x, AD_F64, 2, 0, NULL}, .context = {context, AD_F64, 2, 0, NULL}};
    flow_health *health = flow_report(model, &rows, NULL, error);
    flow_health_free(health);
    return health != NULL;
}

static bool integrates(ad_error *error) {
    return flow_check_integral(model, &(flow_integral_options){.points = 51, .tolerance = 1}, NULL, error) == AD_OK;
}

static bool checks(ad_error *error) {
    return flow_check_model(model, &(flow_check_options){.rows = 1, .cases = 1}, error) == AD_OK;
}

static void lines_of_text(void **state) {
    (void)state;
    static const char *const lines[] = {"realnvp:layers=1,hidden=2x1,base=conditional",
                                        "planar:layers=1,base=mixture",
                                        "leapfrog:layers=1,steps=2,hidden=2x1",
                                        "leapfrog:layers=1,steps=1,hidden=2x1,form=free,mix=lu",
                                        "triangular-spline:layers=1,hidden=2x1,transformer=umnn",
                                        "nsf-coupling:layers=1,hidden=2x1,transformer=censored-mixture,map-kept=yes"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        line = lines[i];
        failing_each(makes_a_line);
    }
}

static void with_a_model(bool (*f)(ad_error *error)) {
    if (!CAN_FAIL) skip();
    model = flow_from_text("realnvp:layers=1,hidden=2x1,base=conditional", 2, 1, NULL);
    assert_non_null(model);
    failing_each(f);
    flow_model_free(model);
}

static void a_report(void **state) {
    (void)state;
    with_a_model(reports);
}
static void an_integral(void **state) {
    (void)state;
    with_a_model(integrates);
}
static void a_check(void **state) {
    (void)state;
    if (!CAN_FAIL) skip();
    const flow_scaled_options o = {.classes = true};
    model = flow_model_new(flow_diagonal_affine(1, NULL, NULL), flow_base_normal(1, 1, &o, NULL), NULL);
    assert_non_null(model);  // small, as a check allocates a thousand times
    failing_each(checks);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_base),   cmocka_unit_test(lines_of_text), cmocka_unit_test(a_report),
        cmocka_unit_test(an_integral), cmocka_unit_test(a_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
