// test_derive_laws.c -- the laws of derived layers of every structure, 100 configurations each.
#include "derived_layers.h"

enum { CONFIGURATIONS = UTIL_SANITIZED ? 20 : 100 };  // sanitizers take their time

// All laws in three of seven configurations (prime to what examples count by), in the others those of every case.
static void check_type(void **state) {
    const flow_layer_type *type = *state;
    for (int i = 0; i < CONFIGURATIONS; i++) {
        flow_layer *layer = type->example(i, &layers_error);
        if (!layer) fail_msg("%s %d: %s", type->name, i, layers_error.message);
        flow_check_options options = {.rows = 2, .cases = 1, .brief = i % 7 > 2, .seed = (uint64_t)i + 1000};
        if (flow_check(layer, &options, &layers_error) != AD_OK)
            fail_msg("%s %d: %s", type->name, i, layers_error.message);
        flow_layer_free(layer);
    }
}

// One test per type, named after it.
int main(int argc, char **argv) {
    struct CMUnitTest tests[sizeof derived_types / sizeof *derived_types - 1];
    size_t n = 0;
    for (; derived_types[n]; n++) {
        tests[n] =
            (struct CMUnitTest){derived_types[n]->name, check_type, NULL, NULL, (void *)(uintptr_t)derived_types[n]};
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("derived laws", tests, n, NULL, NULL);
}
