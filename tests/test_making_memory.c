// test_making_memory.c -- every registered layer made, and made from its description, when memory runs out.
#include <jansson.h>

#include "failing.h"
#include "flows.h"

static const flow_layer_type *type;  // under test
static int number;
static json_t *description;

static bool makes_an_example(ad_error *error) {
    flow_layer *layer = type->example(number, error);
    flow_layer_free(layer);
    return layer != NULL;
}

static bool makes_what_is_described(ad_error *error) {
    flow_layer *layer = type->make(description, NULL, error);
    flow_layer_free(layer);
    return layer != NULL;
}

static void each_layer(void **state) {
    (void)state;
    for (const flow_layer_type *const *t = flow_layer_types(); *t; t++) {
        type = *t;
        for (number = 0; number < 4; number++) {
            failing_each(makes_an_example);
            flow_layer *layer = type->example(number, NULL);
            description = type->describe(layer);
            assert_non_null(description);
            failing_each(makes_what_is_described);
            json_decref(description);
            flow_layer_free(layer);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_layer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
