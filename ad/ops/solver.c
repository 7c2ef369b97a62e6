// solver.c -- the steps of ad_root and ad_fixed_point as ops: root_step, root, fixed_point_step, fixed_point.
//
// None of them has a derivative: the solutions get theirs from what they solve (loop.c).
#include "solver.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "simd.h"

// Evaluations before the search insists on a shrinking bracket, and before it bisects only. 70 bisections are enough
// for f64.
enum { CAREFREE = 12, PATIENCE = 30 };

#define REAL float
#define REAL_NAME(name) name##_f32
#define EPS FLT_EPSILON
#define MOST FLT_MAX
#define SQRT sqrtf
#include "root_real.h"
#undef REAL
#undef REAL_NAME
#undef EPS
#undef MOST
#undef SQRT

#define REAL double
#define REAL_NAME(name) name##_f64
#define EPS DBL_EPSILON
#define MOST DBL_MAX
#define SQRT sqrt
#include "root_real.h"

// ---- shapes --------------------------------------------------------------------------------------------------------

static bool same_shape(ad_shape_call *c) {
    c->y = c->x[0];
    return true;
}
static bool root_value_shape(ad_shape_call *c) {
    c->y = ((const ad_root_attr *)c->attr)->shape;
    return true;
}
static bool fixed_value_shape(ad_shape_call *c) {
    c->y = ((const ad_fixed_attr *)c->attr)->shape;
    return true;
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
// y + w y^3 = x.
static ad_var cubic(void *arg, ad_var y) {
    const ad_var *x = arg;
    return ad_sub(ad_add(y, ad_mul(x[1], ad_mul(y, ad_square(y)))), x[0]);
}
static ad_var root_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_var used[] = {x[0], x[1]};
    return ad_root(x[0], cubic, used, NULL).value;
}
// y = tanh(W y / 2 + x), W small enough.
static ad_var layer(void *arg, ad_var y) {
    const ad_var *x = arg;
    return ad_tanh(ad_add(ad_linear(ad_scale(x[1], 0.5), y, AD_NONE), x[0]));
}
static ad_var fixed_test(void *arg, const ad_var *x) {
    (void)arg;
    ad_var used[] = {x[0], x[1]};
    return ad_fixed_point(ad_scale(x[0], 0), layer, used, NULL).value;
}
static const ad_op_test root_tests[] = {
    {.n = 2, .x = {{.shape = {1, {3}}, .rows = true, .low = -5, .high = 5}, {.low = 0.5, .high = 2}}, .f = root_test},
    {.n = 2, .x = {{.shape = {2, {2, 2}}}, {.shape = {1, {2}}, .low = 0.5, .high = 2}}, .f = root_test},
};
static const ad_op_test fixed_tests[] = {
    {.n = 2,
     .x = {{.shape = {1, {2}}, .rows = true}, {.shape = {2, {2, 2}}, .low = -0.9, .high = 0.9}},
     .f = fixed_test},
    {.n = 2, .x = {{.shape = {1, {2}}}, {.shape = {2, {2, 2}}, .low = -0.9, .high = 0.9}}, .f = fixed_test},
};
#define TESTS(list) AD_TESTS(list)
#else
#define TESTS(list) .tests = NULL
#endif

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op root_step_op = {.name = "root_step",
                                   .flags = AD_OP_CONSTANT,
                                   .shape = same_shape,
                                   .kernel = {root_step_f32, root_step_f64},
                                   TESTS(root_tests)};
static const ad_op root_op = {.name = "root",
                              .flags = AD_OP_CONSTANT,
                              .shape = root_value_shape,
                              .kernel = {root_value_f32, root_value_f64},
                              TESTS(root_tests)};
static const ad_op fixed_step_op = {.name = "fixed_point_step",
                                    .flags = AD_OP_CONSTANT,
                                    .shape = same_shape,
                                    .kernel = {fixed_step_f32, fixed_step_f64},
                                    TESTS(fixed_tests)};
static const ad_op fixed_op = {.name = "fixed_point",
                               .flags = AD_OP_CONSTANT,
                               .shape = fixed_value_shape,
                               .kernel = {fixed_value_f32, fixed_value_f64},
                               TESTS(fixed_tests)};

AD_FAMILY(solver) = {&root_step_op, &root_op, &fixed_step_op, &fixed_op, NULL};

#if AD_ISA_BASE
ad_var ad_root_step(ad_var state, ad_var f, ad_var slope, const ad_root_attr *attr) {
    ad_var x[] = {state, f, slope};
    return ad_apply(&root_step_op, x, 3, attr, sizeof *attr);
}
ad_var ad_root_value(ad_var state, const ad_root_attr *attr) {
    return ad_apply(&root_op, &state, 1, attr, sizeof *attr);
}
ad_var ad_fixed_step(ad_var state, ad_var g, const ad_fixed_attr *attr) {
    ad_var x[] = {state, g};
    return ad_apply(&fixed_step_op, x, 2, attr, sizeof *attr);
}
ad_var ad_fixed_value(ad_var state, const ad_fixed_attr *attr) {
    return ad_apply(&fixed_op, &state, 1, attr, sizeof *attr);
}
#endif
