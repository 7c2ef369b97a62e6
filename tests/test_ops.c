// test_ops.c -- every op of the library against differences, by the cases beside its descriptor (white-box: the
// registry).
#include "util.h"

#include "internal.h"

enum { MOST_OPS = 500 };

typedef struct subject {
    const ad_op *op;
    const ad_op_test *test;
} subject;

static ad_var apply(void *arg, const ad_var *x) {
    const subject *s = arg;
    return ad_apply(s->op, x, s->test->n, NULL, 0);
}

static void check_op(void **state) {
    const ad_op *op = *state;
    if (op->n_tests < 1) fail_msg("op %s has no test", op->name);
    for (int i = 0; i < op->n_tests; i++) {
        const ad_op_test *test = &op->tests[i];
        subject s = {op, test};
        const ad_gradcheck_options options = {.order = test->order, .seed = (uint64_t)i};
        ad_error error = {AD_OK, ""};
        if (ad_gradcheck(test->f ? test->f : apply, &s, test->x, test->n, &options, &error) != AD_OK)
            fail_msg("op %s, test %d: %s", op->name, i, error.message);
    }
}

static void names_are_unique(void **state) {
    (void)state;
    int n = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    assert_true(n > 0);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(ops[i]->name, ops[j]->name);
}

int main(void) {
    static struct CMUnitTest tests[MOST_OPS + 1];
    int n = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    if (n > MOST_OPS) return 1;
    for (int i = 0; i < n; i++) {
        const struct CMUnitTest test = {ops[i]->name, check_op, NULL, NULL, (void *)ops[i]};
        tests[i] = test;
    }
    const struct CMUnitTest last = cmocka_unit_test(names_are_unique);
    tests[n] = last;
    return _cmocka_run_group_tests("ops", tests, (size_t)n + 1, NULL, NULL);
}
