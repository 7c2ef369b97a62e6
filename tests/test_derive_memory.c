// test_derive_memory.c -- derived layers made, loaded and run when memory runs out.
#include "failing.h"

#include "derived_layers.h"
#include "files.h"

static const flow_layer_type *type;  // under test
static int number;

static bool makes_an_example(ad_error *error) {
    flow_layer *layer = type->example(number, error);
    flow_layer_free(layer);
    return layer != NULL;
}

static bool loads(ad_error *error) {
    const flow_load_options options = {.types = derived_types};
    flow_model *model = flow_load(files_path("model"), &options, error);
    flow_model_free(model);
    return model != NULL;
}

static void save(void) {
    flow_layer *layer = type->example(number, &layers_error);
    layers_assert_made(layer);
    flow_base *base = flow_standard_normal(layer->x_shape.dim[0], &layers_error);
    flow_model *model = flow_model_new(layer, base, &layers_error);
    layers_assert_made(model);
    if (flow_save(model, files_path("model"), &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_model_free(model);
}

static void each_structure_is_made_and_loaded(void **state) {
    (void)state;
    for (const flow_layer_type *const *t = derived_types; *t; t++) {
        type = *t;
        for (number = 1; number < 3; number++) {
            failing_each(makes_an_example);
            save();
            failing_each(loads);
        }
    }
}

// An order, which no example of the first two has.
static bool makes_a_coupling(ad_error *error) {
    static const int64_t order[3] = {2, 0, 1};
    flow_layer *layer = flow_derive(&bend_coupling_type, 3, 0, &(flow_derive_options){.order = order}, error);
    flow_layer_free(layer);
    return layer != NULL;
}

static void an_order_is_kept_or_given_up(void **state) {
    (void)state;
    failing_each(makes_a_coupling);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_structure_is_made_and_loaded),
        cmocka_unit_test(an_order_is_kept_or_given_up),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
