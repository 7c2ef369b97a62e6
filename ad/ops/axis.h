// axis.h -- ops along one feature axis, or along all of them: x is seen as [pre, n, post].
#ifndef AD_OPS_AXIS_H
#define AD_OPS_AXIS_H

#include "../internal.h"
#include "simd.h"

// The attribute: which axis, counted from the front, or all of them.
typedef struct axis_attr {
    int32_t axis, all;
} axis_attr;

typedef struct axis_extent {
    int64_t pre, n, post;
} axis_extent;

AD_INLINE axis_extent axis_extent_of(const ad_shape *x, const axis_attr *attr) {
    axis_extent e = {1, 1, 1};
    for (int i = 0; i < x->rank; i++) {
        int64_t *part = attr->all || i == attr->axis ? &e.n : i < attr->axis ? &e.pre : &e.post;
        *part *= x->dim[i];
    }
    return e;
}

// ---- shape rules ---------------------------------------------------------------------------------------------------

// False, with the message written, when the axis is none of x's.
AD_INLINE bool axis_check(ad_shape_call *call, const axis_attr *attr) {
    char text[160];
    if (attr->all || (attr->axis >= 0 && attr->axis < call->x[0].rank)) return true;
    return ad_shape_fail(call, "%s", ad_axis_error(call->x[0], attr->axis, text, sizeof text));
}

// The axis, or all axes, removed.
AD_INLINE bool axis_removed(ad_shape_call *call, const axis_attr *attr) {
    if (!axis_check(call, attr)) return false;
    if (attr->all) return true;  // call->y is [] already
    call->y = call->x[0];
    call->y.rank--;
    for (int i = attr->axis; i < call->y.rank; i++) call->y.dim[i] = call->x[0].dim[i + 1];
    call->y.dim[call->y.rank] = 0;
    return true;
}

// As axis_removed, for what has no value without elements.
AD_INLINE bool axis_removed_not_empty(ad_shape_call *call, const axis_attr *attr) {
    if (!axis_removed(call, attr)) return false;
    if (axis_extent_of(&call->x[0], attr).n > 0) return true;
    char text[80];
    return ad_shape_fail(call, "no elements along %s of shape %s", attr->all ? "all axes" : "the axis",
                         ad_shape_print(call->x[0], text, sizeof text));
}

// x's own shape.
AD_INLINE bool axis_kept(ad_shape_call *call, const axis_attr *attr) {
    call->y = call->x[0];
    return axis_check(call, attr);
}

// The shape that all operands have.
AD_INLINE bool axis_kept_of_all(ad_shape_call *call, const axis_attr *attr) {
    for (int i = 1; i < call->n; i++)
        if (!ad_shape_equal(call->x[0], call->x[i])) return ad_shape_fail(call, "operands of different shapes");
    return axis_kept(call, attr);
}

// ---- recording -----------------------------------------------------------------------------------------------------

// The attribute for an axis counted from either end. One out of range either way is left for the shape rule to report.
AD_INLINE axis_attr axis_of(ad_var x, int axis) {
    int rank = (int)ad_shape_of(x).rank;
    return (axis_attr){.axis = axis < 0 && axis >= -rank ? axis + rank : axis};
}

// v, from which the axis was removed, with a 1 in its place: it broadcasts over x.
AD_INLINE ad_var axis_restored(ad_var v, ad_var x, const axis_attr *attr) {
    if (attr->all) return v;
    ad_shape kept = ad_shape_of(x);
    kept.dim[attr->axis] = 1;
    return ad_reshape(v, kept);
}

// For ops whose values are numbers of elements: fails on the tape when its type cannot hold them all.
AD_INLINE void axis_count_exactly(ad_var x, int axis, const char *what) {
    const int64_t most = (int64_t)1 << 24;
    if (ad_dim(x, axis) <= most || ad_tape_type(x.tape) == AD_F64) return;
    ad_tape_fail(x.tape, AD_EARG, "%s: %lld elements: an f32 tape counts to %lld", what, (long long)ad_dim(x, axis),
                 (long long)most);
}

// ---- kernels -------------------------------------------------------------------------------------------------------

// The operand as runs of contiguous lanes: a run is n lines of `lanes` elements, x_step apart. Features after the axis
// lie side by side with their rows where there are no gaps; a shared operand is one lane for each of them.
typedef struct axis_runs {
    int64_t n, lanes, x_step, y_step;  // y_step: from line to line of a result of x's shape
    int64_t pre, post;                 // runs: pre x post
    int64_t x_pre, x_post, y_pre, y_post;
} axis_runs;

AD_INLINE axis_runs axis_runs_of(const ad_kernel *k, const axis_attr *attr) {
    const ad_kernel_operand *x = &k->x[0];
    axis_extent e = axis_extent_of(x->shape, attr);
    int64_t R = k->R, joined = 1;
    for (int i = 0; i < k->n; i++) joined = joined && k->x[i].stride == R;
    axis_runs runs = {e.n, joined ? e.post * R : R, e.post * x->stride, e.post * R, e.pre, joined ? 1 : e.post,
                      e.n * e.post * x->stride, x->stride, e.post * R, R};
    return runs;
}

// Where the run of (p, q) begins: in x, in a result with the axis removed, and in one that has it.
AD_INLINE int64_t axis_x(const axis_runs *a, int64_t p, int64_t q) { return p * a->x_pre + q * a->x_post; }
AD_INLINE int64_t axis_y(const axis_runs *a, int64_t p, int64_t q) { return p * a->y_pre + q * a->y_post; }
AD_INLINE int64_t axis_y_full(const axis_runs *a, int64_t p, int64_t q) {
    return p * a->n * a->y_pre + q * a->y_post;
}
// The same place in operand i of x's shape: offsets and steps of whole features.
AD_INLINE int64_t axis_in(const ad_kernel *k, int i, int64_t offset) {
    return offset / k->x[0].stride * k->x[i].stride;
}

// Lanes that plain loops take at a time, their state in arrays of this size.
enum { AXIS_LANES = 64 };

// Statement for every run of at most AXIS_LANES lanes: x_, y_ and full_ are where it begins (as above), m_ its lanes;
// r_ of them lie before it.
#define AXIS_FOR_RUNS(runs, x_, y_, full_, m_, ...)                                                           \
    for (int64_t p_ = 0; p_ < (runs).pre; p_++)                                                              \
        for (int64_t q_ = 0; q_ < (runs).post; q_++)                                                         \
            for (int64_t r_ = 0; r_ < (runs).lanes; r_ += AXIS_LANES) {                                      \
                const int64_t m_ = (runs).lanes - r_ < AXIS_LANES ? (runs).lanes - r_ : AXIS_LANES;          \
                const int64_t x_ = axis_x(&(runs), p_, q_) + r_, y_ = axis_y(&(runs), p_, q_) + r_;          \
                const int64_t full_ = axis_y_full(&(runs), p_, q_) + r_;                                     \
                __VA_ARGS__                                                                                  \
            }

#endif
