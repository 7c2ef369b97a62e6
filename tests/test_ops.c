// test_ops.c -- every op of the library gets every check there is, by the cases beside its descriptor (white-box: the
// registry).
//
// At least CASES random points an op, spread over its tests; AD_TEST_CASES=20000 in the environment, or the first
// argument, asks for more. A second argument is the only op that is checked.
#include "util.h"

#include "internal.h"

enum { MOST_OPS = 1024, CASES = UTIL_SANITIZED ? 20 : 200 };

static int cases = CASES;

static void check_op(void **state) {
    const ad_op *op = *state;
    ad_error error = {AD_OK, ""};
    const int tests = op->n_tests > 0 ? op->n_tests : 1;
    if (ad_check_op(op, (cases + tests - 1) / tests, &error) != AD_OK) fail_msg("%s", error.message);
}

static void names_are_unique(void **state) {
    (void)state;
    int n = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(ops[i]->name, ops[j]->name);
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[MOST_OPS + 1];
    int n = 0, used = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    const char *more = argc > 1 ? argv[1] : getenv("AD_TEST_CASES");
    if (more && atoi(more) > 0) cases = atoi(more);
    if (n > MOST_OPS) return 1;
    for (int i = 0; i < n; i++) {
        const struct CMUnitTest test = {ops[i]->name, check_op, NULL, NULL, (void *)ops[i]};
        if (argc < 3 || !strcmp(argv[2], ops[i]->name)) tests[used++] = test;
    }
    const struct CMUnitTest last = cmocka_unit_test(names_are_unique);
    tests[used++] = last;
    return _cmocka_run_group_tests("ops", tests, (size_t)used, NULL, NULL);
}
