// test_laws.c -- the laws of every registered layer, 100 configurations each.
#include "flows.h"
#include "util.h"

enum { CONFIGURATIONS = UTIL_SANITIZED ? 20 : 100 };  // sanitizers take their time

// Every configuration at few points: flow_check's own defaults, which are wider, are used on fewer of them in
// test_flows.
static void check_type(void **state) {
    const flow_layer_type *type = *state;
    ad_error error = {AD_OK, ""};
    for (int i = 0; i < CONFIGURATIONS; i++) {
        flow_layer *layer = type->example(i, &error);
        if (!layer) fail_msg("%s %d: %s", type->name, i, error.message);
        flow_check_options options = {.rows = 2, .cases = 1, .tolerance = 1e-11, .seed = (uint64_t)i + 1000};
        if (flow_check(layer, &options, &error) != AD_OK) fail_msg("%s %d: %s", type->name, i, error.message);
        flow_layer_free(layer);
    }
}

// One test per type, named after it. test_laws K N: types K, K + N, ... only.
int main(int argc, char **argv) {
    struct CMUnitTest tests[200] = {{NULL, NULL, NULL, NULL, NULL}};
    const flow_layer_type *const *types = flow_layer_types();
    const int first = argc > 2 ? atoi(argv[1]) : 0, step = argc > 2 ? atoi(argv[2]) : 1;
    size_t n = 0;
    for (int i = 0; types[i] && n < sizeof tests / sizeof *tests; i++) {
        if (i % step != first) continue;
        tests[n++] = (struct CMUnitTest){types[i]->name, check_type, NULL, NULL, (void *)(uintptr_t)types[i]};
    }
    return _cmocka_run_group_tests("laws", tests, n, NULL, NULL);
}
