// custom_op.c -- an op of your own, outside the library: log cosh(x), a loss that outliers cannot dominate.
//
// An elementwise op is a flat loop for each element type, and a vjp written in ops: d/dx log cosh x = tanh x. From
// these follow derivatives of any order, threads and batches. ad_check_op gives it every check that the library's ops get,
// over the range that stands beside it; then it is the loss of a line through points of which every tenth is far off.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "op.h"

// |x| + log(1 + e^(-2|x|)) - log 2: cosh itself would overflow.
static void log_cosh_f32(size_t n, void *y, const void *const *x, const void *attr) {
    const float *in = x[0];
    (void)attr;
    for (size_t j = 0; j < n; j++) ((float *)y)[j] = fabsf(in[j]) + log1pf(expf(-2 * fabsf(in[j]))) - logf(2);
}
static void log_cosh_f64(size_t n, void *y, const void *const *x, const void *attr) {
    const double *in = x[0];
    (void)attr;
    for (size_t j = 0; j < n; j++) ((double *)y)[j] = fabs(in[j]) + log1p(exp(-2 * fabs(in[j]))) - log(2);
}
static void log_cosh_vjp(const ad_vjp_call *call) { call->gx[0] = ad_mul(call->gy, ad_tanh(call->x[0])); }

static const ad_op_test log_cosh_test = {.n = 1, .x = {{.shape = {1, {3}}, .rows = true, .low = -3, .high = 3}}};
static const ad_op log_cosh_op = {"log_cosh", .flags = AD_OP_ELEMENTWISE, .vjp = log_cosh_vjp,
                                  .lanes = {log_cosh_f32, log_cosh_f64}, .tests = &log_cosh_test, .n_tests = 1};

static ad_var log_cosh(ad_var x) { return ad_apply(&log_cosh_op, &x, 1, NULL, 0); }

static int wrong(const char *message) { return fprintf(stderr, "custom_op: %s\n", message), 1; }

int main(int argc, char **argv) {
    ad_error error = {0};
    if (argc > 1) {
        printf("Usage: %s\nChecks an op of its own, log cosh, and fits a line with it.\n", argv[0]);
        return strcmp(argv[1], "--help") != 0;
    }
    if (ad_check_op(&log_cosh_op, 100, &error) != AD_OK) return wrong(error.message);
    printf("log_cosh: first and second derivatives agree with differences, f32 with f64, each row with itself alone\n");

    float point[200][2];  // y = 2 x - 1, but every tenth is 30 too high
    for (int i = 0; i < 200; i++) point[i][0] = (float)i / 100 - 1, point[i][1] = 2 * point[i][0] - (i % 10 ? 1 : -29);
    const ad_source source = {.data = point, .type = AD_F32, .count = 200};
    ad_param *line = ad_param_new("line", AD_F32, ad_shape1(2), &error);  // slope, intercept
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    if (!line || !tape) return wrong(error.message);
    for (int step = 0; step < 500; step++, ad_tape_reset(tape)) {
        ad_rows rows = ad_rows_new(tape, "points");
        ad_rows_set(rows, 200, 0);
        ad_var p = ad_input(rows, ad_shape1(2), &source), w = ad_use(tape, line);
        ad_var fit = ad_add(ad_mul(ad_slice(w, 0, 0, 1), ad_slice(p, 0, 0, 1)), ad_slice(w, 0, 1, 1));
        ad_var residual = ad_sub(fit, ad_slice(p, 0, 1, 1)), loss = ad_mean_rows(ad_sum(log_cosh(residual)));
        if (ad_backward(ad_keep(loss)) != AD_OK) return wrong(ad_tape_message(tape));
        for (int i = 0; i < 2; i++) ((float *)line->data)[i] -= 0.5f * ((float *)line->grad)[i];
        if (step % 499 == 0) printf("step %3d: loss %.4f\n", step, ad_value(loss));
    }
    printf("fit: y = %.2f x %+.2f (least squares: 1.59 x +2.00)\n", ad_param_get(line, 0), ad_param_get(line, 1));
    return ad_tape_free(tape), ad_param_free(line), 0;
}
