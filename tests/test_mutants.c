// test_mutants.c -- white-box: a wrong vjp of any op of the library is found by ad_check_op.
//
// Each differentiable op is copied with a vjp that changes one of the gradients: its sign, by a hundred-thousandth, or
// to nothing. At least 95 % of these mutants must be killed; those that survive are printed.
// Under sanitizers, which make it slow, only the signs.
#include "util.h"

#include "internal.h"

enum { OPERANDS = 4 };
typedef enum mutation { NEGATED, SCALED, DROPPED, MUTATIONS, UNCHANGED } mutation;
static const char *const mutation_name[] = {"negated", "scaled", "dropped"};

// What vjps and test functions cannot be given: the mutant in hand.
static const ad_op *original;
static ad_op mutant;
static const ad_op_test *test;
static int target;
static mutation kind;
static bool hit;

static void mutant_vjp(const ad_vjp_call *c) {
    original->vjp(c);
    if (target >= c->n || !c->need[target] || ad_is_none(c->gx[target])) return;
    hit = true;
    ad_var *g = &c->gx[target];
    if (kind == NEGATED) *g = ad_neg(*g);
    if (kind == SCALED) *g = ad_scale(*g, 1 + 1e-5);
    if (kind == DROPPED) *g = ad_none();
}

static ad_var by_mutant(void *arg, ad_rows rows, const ad_var *x, int n, const void *attr, size_t attr_size) {
    (void)arg;
    return ad_apply_rows(&mutant, x[0].tape, rows, x, n, attr, attr_size);
}

static ad_var mutant_test(void *arg, const ad_var *x) {
    return ad_replace(test->f(arg, x), original, by_mutant, NULL);
}

// Whether the test kills the mutant.
static bool killed_by(const ad_op_test *t) {
    ad_op_test changed = *t;
    ad_error error = {AD_OK, ""};
    test = t;
    if (t->f) changed.f = mutant_test;
    mutant = *original;
    mutant.vjp = mutant_vjp;
    mutant.vjp_kernel[0] = mutant.vjp_kernel[1] = NULL;
    mutant.expand = NULL;
    mutant.tests = &changed, mutant.n_tests = 1;
    return ad_check_op(&mutant, 2, &error) != AD_OK && !strstr(error.message, "none of its tests uses it");
}

// 1: killed; 0: survived; -1: there is no such mutant, no test having that operand differentiated.
static int try_mutant(const ad_op *op, int operand, mutation how) {
    original = op, target = operand, kind = how, hit = false;
    for (int i = 0; i < op->n_tests; i++)
        if (killed_by(&op->tests[i]) && hit) return 1;
    return hit ? 0 : -1;
}

// What is killed is the mutation, not the copying.
static void test_unchanged_copies_pass(void **state) {
    (void)state;
    int n = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    for (int i = 0; i < n; i++)
        if (ops[i]->vjp && try_mutant(ops[i], 0, UNCHANGED) > 0)
            fail_msg("an unchanged copy of op %s is killed", ops[i]->name);
}

static void test_mutants_are_killed(void **state) {
    (void)state;
    int n = 0, made = 0, killed = 0, ops_reached = 0, differentiable = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    for (int i = 0; i < n; i++) {
        int of_op = 0;
        for (int operand = 0; ops[i]->vjp && operand < OPERANDS; operand++)
            for (int how = 0; how < (UTIL_SANITIZED ? 1 : MUTATIONS); how++) {
                const int result = try_mutant(ops[i], operand, (mutation)how);
                if (result < 0) continue;
                made++, of_op++, killed += result;
                if (!result)
                    print_message("survived: %s, gradient in operand %d %s\n", ops[i]->name, operand,
                                  mutation_name[how]);
            }
        differentiable += ops[i]->vjp != NULL;
        ops_reached += of_op > 0;
        if (ops[i]->vjp && !of_op) print_message("not reached by its tests: %s\n", ops[i]->name);
    }
    print_message("%d of %d mutants killed, of %d of %d differentiable ops\n", killed, made, ops_reached,
                  differentiable);
    assert_true(made > 0);
    assert_true(killed >= 0.95 * made);
    assert_true(ops_reached >= 0.8 * differentiable);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unchanged_copies_pass),
                                       cmocka_unit_test(test_mutants_are_killed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
