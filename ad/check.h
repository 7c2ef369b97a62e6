// check.h -- what the files of ad_check_op share: an op's test evaluated in one way or another, and results compared.
#ifndef AD_CHECK_H
#define AD_CHECK_H

#include "internal.h"

enum { CHECK_INPUTS = 4, CHECK_ROWS = 65 };

typedef struct check {
    const ad_op *op;
    const ad_op_test *test;  // of op->tests, and its number
    int number, order;       // order: derivatives that exist, 0 to 2
    ad_gradcheck_input in[CHECK_INPUTS];
    int64_t count[CHECK_INPUTS];
    double *x[CHECK_INPUTS], *moved[CHECK_INPUTS];  // the point, CHECK_ROWS rows of it, and one close by
    uint64_t seed;
    ad_engine *engine;
    ad_tape *tape[2];  // by ad_type
    ad_op without;     // op without its vjp kernel
    ad_error *error;
} check;

typedef struct check_way {  // how the test's function is evaluated
    ad_type type;
    bool rows[CHECK_INPUTS];    // per row or shared (row 0)
    bool repeat[CHECK_INPUTS];  // row 0 in all rows
    bool alias, moved;          // input 0 as all inputs; at the point close by
    unsigned need;              // bit i: with the gradient in input i
    int64_t first, count;       // rows of the point
    ad_replacement with;        // in place of op; NULL: none
} check_way;

typedef struct check_value {
    double *data;
    int64_t rows, count;  // rows 0: shared
    bool meet;            // computed from a reduction over rows, or their number
} check_value;

typedef struct check_result {
    ad_status status;
    char message[400];  // of the tape, when it failed
    check_value y, g[CHECK_INPUTS];
} check_result;

// ---- check_value.c --------------------------------------------------------------------------------------------------

// A finding: fills the error with op and test before it.
ad_status ad_check_fail(const check *c, ad_status status, const char *format, ...) AD_PRINTF(3, 4);
// The test's inputs as it declares them, with all gradients, in rows [0, count).
check_way ad_check_declared(const check *c, ad_type type, int64_t count);
// A new point; in [low, high] for all inputs where that is not empty.
void ad_check_choose(check *c, double low, double high);
// Leaves of the inputs, and the function of them, on a tape that is reset first. sources: [CHECK_INPUTS], read at run.
ad_var ad_check_record(check *c, const check_way *way, ad_source *sources, ad_var *x);
// The sum of w y, w different for each element; over rows too where y has them.
ad_var ad_check_weigh(ad_var y);
// Values of y and the gradients of its weighted sum. The result is freed by check_release; zeroed or used before.
void ad_check_evaluate(check *c, const check_way *way, check_result *result);
void ad_check_release(check_result *result);
// Finds a difference above tolerance (relative to the largest element, or to 1 if that is larger), of values: for all
// rows where one is shared; of gradients: summed over rows where one is shared.
ad_status ad_check_same(const check *c, const check_result *got, const check_result *want, unsigned need,
                        double tolerance, const char *what);

// ---- check_rows.c ---------------------------------------------------------------------------------------------------

// Rows against shared operands, aliased operands, gradients of some operands only, f32 against f64, a row in other
// batches.
ad_status ad_check_ways(check *c);

// ---- check_kernel.c -------------------------------------------------------------------------------------------------

// The kernels on their own: any number of lanes, padding, tails, in place, nothing written beyond.
ad_status ad_check_kernels(check *c, bool *found);

#endif
