// ops_page.c -- white-box: prints the page of ops, ad/OPS.md, from the registry; fails, and with it the build, naming
// an op that lacks something: a name, kernels, a shape rule, error bounds, tests with the ranges they sample.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef struct arity {  // operands that tests give an op
    uint32_t least, most;
} arity;

static void count_operands(const ad_op *op, const ad_op_test *test, arity *a) {
    ad_tape *t = ad_tape_new(NULL, AD_F64);
    const ad_rows rows = ad_rows_new(t, "rows");
    const ad_source none = {.type = AD_F64};
    ad_var x[4], g[4];
    ad_rows_set(rows, 3, 0);
    for (int i = 0; i < test->n; i++)
        x[i] = test->x[i].rows ? ad_input(rows, test->x[i].shape, &none) : ad_fill(t, test->x[i].shape, i);
    const ad_var y = test->f ? test->f(NULL, x) : ad_apply(op, x, test->n, NULL, 0);
    if (ad_tape_status(t) == AD_OK && ad_op_orders(op) > 0) {
        ad_grad(ad_sum(ad_square(y)), x, test->n, g);
    }
    for (uint32_t id = 0; t && id < t->n_nodes; id++) {
        const ad_node *node = &t->nodes[id];
        if (node->op != op) continue;
        if (node->n < a->least) a->least = node->n;
        if (node->n > a->most) a->most = node->n;
    }
    ad_tape_free(t);
}

static void print_operands(const ad_op *op) {
    arity a = {UINT32_MAX, 0};
    for (int i = 0; i < op->n_tests; i++) count_operands(op, &op->tests[i], &a);
    if (a.least >= a.most || a.least == UINT32_MAX)
        printf(" | %u", a.most);
    else if (a.most == a.least + 1)
        printf(" | %u or %u", a.least, a.most);
    else
        printf(" | any number");
}

static void print_bound(const ad_op *op, ad_type type) {
    if (op->ulp[type] > 0)
        printf(" | %.3g", op->ulp[type]);
    else
        printf(" | %s", op->flags & AD_OP_ELEMENTWISE ? "0.5" : "");
}

static void print_notes(const ad_op *op) {
    const struct {
        bool is;
        const char *text;
    } notes[] = {{op->flags & AD_OP_ELEMENTWISE, "elementwise"},
                 {op->flags & AD_OP_MAX_ROWS, "largest over rows"},
                 {(op->flags & AD_OP_REDUCES_ROWS) && !(op->flags & AD_OP_MAX_ROWS), "sum over rows"},
                 {op->flags & AD_OP_F64_SUM, "accumulates in f64"},
                 {op->flags & AD_OP_CHEAP, "computed again rather than stored"},
                 {op->expand != NULL, "has an expansion"},
                 {op->vjp_kernel[0] != NULL, "has a vjp kernel"}};
    const char *comma = " | ";
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
        if (notes[i].is) printf("%s%s", comma, notes[i].text), comma = ", ";
    if (*comma == ' ') printf("%s", comma);
    printf(" |\n");
}

static const char *orders(const ad_op *op) {
    if (op->flags & AD_OP_CONSTANT) return "zero";
    if (op->role != AD_ROLE_PLAIN && !op->vjp && !op->expand) return "none";
    return ad_op_orders(op) == 2 ? "any order" : ad_op_orders(op) == 1 ? "first order" : "none";
}

static void print_page(const ad_op *const *ops, int n) {
    printf(
        "<!-- Printed by tests/ops_page.c from the registry of ops. To make it anew, from the root of the repository:\n"
        "     meson compile -C build && build/tests/ops_page > ad/OPS.md -->\n"
        "# Ops\n\n"
        "What the functions of `ad.h` record: every op of the library, by name. Functions that are not here compose "
        "several.\n"
        "Some ops only occur in derivatives, or carry data.\n\n"
        "- *Derivatives*: any order; the first only; zero (the op is constant as far as gradients go); none (asking is "
        "an\n"
        "  error that names the op). `tests/test_ops.c` compares all of them with extrapolated differences.\n"
        "- *ulp*: bound on the error of the value in units in the last place, on every instruction set; 0.5 is "
        "correctly\n"
        "  rounded. `tests/test_kernels.c` holds elementwise ops to it against long double, `tests/sweep.c` those of one\n"
        "  operand, in f32 and on demand, at all floats. Sums accumulate in f64.\n\n"
        "| op | operands | derivatives | ulp f32 | ulp f64 | |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < n; i++) {
        printf("| %s", ops[i]->name);
        print_operands(ops[i]);
        printf(" | %s", orders(ops[i]));
        print_bound(ops[i], AD_F32);
        print_bound(ops[i], AD_F64);
        print_notes(ops[i]);
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const ad_op *const *)a)->name, (*(const ad_op *const *)b)->name);
}

int main(void) {
    int n = 0, wrong = 0;
    const ad_op *const *ops = ad_op_registry(&n);
    const ad_op **sorted = malloc((size_t)n * sizeof *sorted);
    if (!sorted) return 1;
    for (int i = 0; i < n; i++) {
        ad_error error = {AD_OK, ""};
        sorted[i] = ops[i];
        if (ad_op_complete(ops[i], &error) == AD_OK) continue;
        fprintf(stderr, "ops_page: %s\n", error.message);
        wrong = 1;
    }
    if (!wrong) {
        qsort(sorted, (size_t)n, sizeof *sorted, by_name);
        print_page(sorted, n);
    }
    free(sorted);
    return wrong;
}
