// op.h -- for authors of ops: one ad_op struct says everything about an op.
//
// The least a user's elementwise op needs is a name, a lanes kernel and a vjp; it is then applied with ad_apply and
// checked with ad_check_op (examples/custom_op.c). The library's own ops, in ad/ops/, are the same struct.
#ifndef PULLBACK_OP_H
#define PULLBACK_OP_H

#include "ad.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ad_op ad_op;

// ---- recording ------------------------------------------------------------------------------------------------------

// What a shape rule sees and fills in.
typedef struct ad_shape_call {
    int n;                // operands
    const ad_shape *x;    // [n] their shapes
    const bool *rows;     // [n] whether they have rows
    const void *attr;     // the op's attributes
    ad_shape y;           // out: the result's shape
    char message[200];    // out: what is wrong (ad_shape_fail)
} ad_shape_call;
// Fills call->message and returns false.
AD_API bool ad_shape_fail(ad_shape_call *call, const char *format, ...) AD_PRINTF(2, 3);

// What a vjp sees: y = op(x[0..n)), gy of y's shape. It records ops and sets gx[i] where need[i]; an entry left AD_NONE is a
// zero gradient. gx[i] may still have the shape and rows of y where the op broadcast x[i]: the engine sums it.
typedef struct ad_vjp_call {
    ad_var y, gy;
    int n;
    const ad_var *x;
    const bool *need;
    const void *attr;
    ad_var *gx;
} ad_vjp_call;

// ---- kernels --------------------------------------------------------------------------------------------------------

// Elementwise kernel: y[j] = f(x[0][j], x[1][j], ...) for j < n, in one flat loop. Operands are already broadcast and spread.
// y may be the same array as an operand. Pointers are aligned to elements only. Keeps no state.
typedef void (*ad_lanes_fn)(size_t n, void *y, const void *const *x, const void *attr);

// Any other kernel works on a block of R rows. Feature f of operand i in lane r is the element
// x[i].data[f * x[i].stride + r * x[i].lane]; y[f * R + r] for the result. A shared-only call has R = 1.
typedef struct ad_kernel_operand {
    const void *data;
    int64_t stride;         // elements from one feature to the next
    int lane;               // 1: per row; 0: shared (only for ops flagged AD_OP_STRIDED, others get a spread copy)
    const ad_shape *shape;
} ad_kernel_operand;

typedef struct ad_kernel {
    int n;                       // operands
    int R, live;                 // lanes, and how many of them are rows that exist (the rest repeat the last)
    int64_t row, first_row;      // number of the row in lane 0: in this batch, and globally (random numbers)
    const ad_kernel_operand *x;  // [n]
    void *y;                     // row reductions: the accumulator, of y's shape
    const ad_shape *shape;       // of y
    bool first;                  // row reductions: write the accumulator instead of adding to it
    const void *attr;
    const void *slot;            // what a leaf is bound to (leaves only)
    void *call;                  // the engine's
    void *scratch;               // as many bytes as scratch() asked for, 64-byte aligned
    int epilogue;                // AD_OP_EPILOGUES: of the op to apply to the result; its other operand, like y, is x[n]
} ad_kernel;
typedef void (*ad_kernel_fn)(const ad_kernel *kernel);
// From a kernel: the run fails with status and this message, op, place and row (of that lane) before it. The run goes on to
// the end of the section, so the result must be written all the same; of several failures the one of the first row counts.
// Lanes from kernel->live on must not be reported.
AD_API void ad_kernel_fail(const ad_kernel *kernel, int lane, ad_status status, const char *format, ...) AD_PRINTF(4, 5);

// ---- the op -----------------------------------------------------------------------------------------------------------

enum {
    AD_OP_ELEMENTWISE = 1,   // lanes[] is used; shapes broadcast; shape rule NULL
    AD_OP_CHEAP = 2,         // cheaper to compute again than to store and load
    AD_OP_STRIDED = 4,       // kernel reads shared operands in place (lane 0)
    AD_OP_REDUCES_ROWS = 8,  // result is shared: kernel adds its live lanes to an accumulator
    AD_OP_F64_SUM = 16,      // of a row reduction: the accumulator is double whatever the tape's type
    AD_OP_MAX_ROWS = 64,     // of a row reduction: chunks combine to the largest (NaN if any is) instead of the sum
    AD_OP_EPILOGUES = 128,   // kernel applies kernel->epilogue (ops/gemm.h): internal
    AD_OP_CONSTANT = 32      // the derivative is zero everywhere (comparisons, stop_gradient, leaves)
};

// A case for the law tests: function f (NULL: the op itself) of n inputs.
typedef struct ad_op_test {
    int n;
    ad_gradcheck_input x[4];
    ad_function f;
    int order;  // derivatives checked: 0: 2
} ad_op_test;

// Known by its address: an ad_op stays where it is, and as it is, for as long as the engines that have seen it.
struct ad_op {
    const char *name;
    unsigned flags;
    bool (*shape)(ad_shape_call *call);       // NULL: elementwise broadcasting
    void (*vjp)(const ad_vjp_call *call);     // NULL: not differentiable, or by expand
    ad_var (*expand)(const ad_var *x, int n, const void *attr);  // the same value in simpler ops: source of derivatives if vjp NULL
    ad_lanes_fn lanes[2];                     // by ad_type; elementwise ops
    ad_kernel_fn kernel[2];                   // by ad_type; all others
    // First-order fast path: operands x[0..n), y, gy; result the gradients in x[0..n), flat, one after the other. All come
    // with y's rows (shared ones spread; of a row reduction: with x's), elementwise ones with y's shape. attr is the op's;
    // scratch() is asked for these calls too, with n + 2 operands. With expand (else vjp) second and higher orders go through
    // that; without both they are an error.
    ad_kernel_fn vjp_kernel[2];
    // Bytes of scratch a kernel call needs: shapes, lanes and R of the call are set, pointers are not. NULL: none.
    size_t (*scratch)(const ad_kernel *kernel, ad_type type);
    double (*flops)(const ad_kernel *kernel);  // per block, for reports; NULL: one an element of y
    double ulp[2];                            // stated error bound of the kernel, by ad_type; 0: correctly rounded
    const ad_op_test *tests;                  // at least one for every op
    int n_tests;
    int role, epilogue;                       // internal, 0 for ops of users
};

// Records op(x[0..n)) with attr_size bytes of attributes (copied; padding zeroed: they are part of the node's identity), or
// returns the identical node recorded before. Shared operands and operands with rows mix; all rows of one row set. At most 8
// operands of an elementwise op, 4096 of others.
AD_API ad_var ad_apply(const ad_op *op, const ad_var *x, int n, const void *attr, size_t attr_size);

// Every check that the library's own ops get, over op->tests with cases random points each (0: 10): derivatives of first and
// second order against differences, symmetry of second derivatives, rows against shared operands, one value as all operands,
// gradients of some operands only, a row alone and among others, f32 against f64, kernels and vjp kernels against expand or
// vjp, kernels on their own (padding, tails, in place, nothing written beyond). An op that lacks a name, a kernel, a shape rule
// or tests is a finding; orders that it does not claim are checked to be refused. AD_OK, or the first finding in words with
// AD_ENOGRAD (derivatives) or AD_EARG. An op may refuse to have rows, or to share, operands that its tests do not: with an
// error. Prints nothing. Tests call f with arg NULL.
AD_API ad_status ad_check_op(const ad_op *op, int cases, ad_error *error);

// Runs fn(arg, i) for i = 0 .. n-1 on the engine's threads, in any order, and returns when all are done.
AD_API void ad_parallel(ad_engine *engine, int64_t n, void (*fn)(void *arg, int64_t i), void *arg);

#ifdef __cplusplus
}
#endif
#endif
