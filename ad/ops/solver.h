// solver.h -- the steps that ad_root and ad_fixed_point (solve.c) repeat, and what they leave behind.
#ifndef AD_OPS_SOLVER_H
#define AD_OPS_SOLVER_H

#include "../op.h"

// The state of a search: this many numbers an element, plane after plane [..][n], then the numbers of the row. The f of
// an end (of a falling f: -f) is 0 where it was not evaluated yet, so that the bracket may grow, and of the wrong sign
// where f is NaN.
enum {
    ROOT_Y,  // where f is evaluated next; of a finished element the root
    ROOT_LOW,
    ROOT_HIGH,
    ROOT_F_LOW,
    ROOT_F_HIGH,
    ROOT_STEP,  // length of the last step; negative: it tried for a change of sign
    ROOT_STEP_BEFORE,
    ROOT_SIGN,  // of f's slope; 0: f was flat so far
    ROOT_STATUS,
    ROOT_PLANES
};
enum { ROOT_SEARCHING, ROOT_FOUND, ROOT_FAILED };
// The numbers of the row, behind the planes, or behind the y of an iteration.
enum { ROW_ITERATIONS, ROW_FINISHED, ROW_CONVERGED, ROW_RESIDUAL, ROW_NUMBERS };

typedef struct ad_root_attr {
    ad_shape shape;  // of y
    int32_t required;
    int64_t n;  // elements of y
    double tolerance, low, high;
} ad_root_attr;

typedef struct ad_fixed_attr {
    ad_shape shape;
    int32_t required, adjoint;  // adjoint: a linear equation, the tolerance relative to its solution
    int32_t max_iterations;
    int64_t n;
    double tolerance;
} ad_fixed_attr;

// The state after f and its slope at ROOT_Y: both of y's shape.
ad_var ad_root_step(ad_var state, ad_var f, ad_var slope, const ad_root_attr *attr);
// y of a state; fails the run where an element has no root, if required.
ad_var ad_root_value(ad_var state, const ad_root_attr *attr);
// The state [n + ROW_NUMBERS] after g(y), and its y, in the same way.
ad_var ad_fixed_step(ad_var state, ad_var g, const ad_fixed_attr *attr);
ad_var ad_fixed_value(ad_var state, const ad_fixed_attr *attr);
// y = g(arg, y) found before, with derivatives to any order in what g uses.
ad_var ad_fixed_implicit(ad_var y, ad_var (*g)(void *arg, ad_var y), void *arg, const ad_fixed_attr *attr);
// Solves y = g(arg, y) from start (solve.c).
ad_solution ad_fixed_solve(ad_var start, ad_var (*g)(void *arg, ad_var y), void *arg, const ad_fixed_attr *attr);

#endif
