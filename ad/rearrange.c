// rearrange.c -- shapes made of views and places.
//
// A view reads through strides (ad_view), a place adds into zeros (ad_place); each is the other's adjoint, so that
// everything here has derivatives of any order.
#include "internal.h"

// Reports an operand whose shape does not fit; the inert result.
static ad_var misfit(ad_var x, const char *what, const char *expected) {
    char text[64];
    ad_tape_fail(x.tape, AD_ESHAPE, "%s: shape %s: expected %s", what,
                 ad_shape_print(ad_shape_of(x), text, sizeof text), expected);
    return ad_inert(x.tape);
}

static ad_shape with_dim(ad_shape shape, int64_t axis, int64_t n) {
    shape.dim[axis] = n < 0 || n > INT32_MAX ? -1 : (int32_t)n;
    return shape;
}

// x's shape as [before, n, after] around an axis.
typedef struct extent {
    int64_t before, n, after;
} extent;
static extent around(ad_shape s, int64_t axis) {
    extent e = {1, s.dim[axis], 1};
    for (int64_t i = 0; i < s.rank; i++)
        if (i != axis) *(i < axis ? &e.before : &e.after) *= s.dim[i];
    return e;
}

// ---- whole shapes -------------------------------------------------------------------------------------------------

ad_var ad_reshape(ad_var x, ad_shape shape) {
    if (!ad_check_var(x, "reshape")) return ad_inert(x.tape);
    if (ad_shape_count(shape) != ad_shape_count(ad_shape_of(x))) {
        char a[64], b[64];
        ad_tape_fail(x.tape, AD_ESHAPE, "reshape: %s to %s changes the number of elements",
                     ad_shape_print(ad_shape_of(x), a, sizeof a), ad_shape_print(shape, b, sizeof b));
        return ad_inert(x.tape);
    }
    ad_view_attr attr = ad_view_whole(shape);
    return ad_view(x, &attr);
}

ad_var ad_transpose(ad_var x, const int *order) {
    if (!ad_check_var(x, "transpose")) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x);
    ad_view_attr from = ad_view_whole(s), attr = from;
    unsigned seen = 0;
    for (int i = 0; i < s.rank; i++) {
        if (order[i] < 0 || order[i] >= s.rank || (seen & 1u << order[i])) {
            ad_tape_fail(x.tape, AD_EARG, "transpose: order is not a permutation of the %d axes", (int)s.rank);
            return ad_inert(x.tape);
        }
        seen |= 1u << order[i];
        attr.shape.dim[i] = s.dim[order[i]];
        attr.stride[i] = from.stride[order[i]];
    }
    return ad_view(x, &attr);
}

ad_var ad_expand(ad_var x, ad_shape shape) {
    if (!ad_check_var(x, "expand")) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), joint;
    char a[64], b[64];
    if (ad_shape_count(shape) < 0 || !ad_shape_broadcast(s, shape, &joint) || !ad_shape_equal(joint, shape)) {
        ad_tape_fail(x.tape, AD_ESHAPE, "expand: %s does not broadcast to %s", ad_shape_print(s, a, sizeof a),
                     ad_shape_print(shape, b, sizeof b));
        return ad_inert(x.tape);
    }
    int32_t stride[AD_MAX_RANK];
    ad_shape_strides(s, stride);
    ad_view_attr attr = {.shape = shape};
    for (int32_t i = 0; i < s.rank; i++)
        if (s.dim[i] != 1) attr.stride[shape.rank - s.rank + i] = stride[i];
    return ad_view(x, &attr);
}

// ---- along an axis ------------------------------------------------------------------------------------------------

ad_var ad_slice(ad_var x, int axis, int64_t start, int64_t length) {
    int64_t a = ad_check_axis(x, axis, "slice");
    if (a < 0) return ad_inert(x.tape);
    ad_view_attr attr = ad_view_whole(ad_shape_of(x));
    if (start < 0 || length < 0 || start > attr.shape.dim[a] - length) {
        char text[64];
        ad_tape_fail(x.tape, AD_EARG, "slice: %lld elements from %lld of axis %d of shape %s", (long long)length,
                     (long long)start, axis, ad_shape_print(attr.shape, text, sizeof text));
        return ad_inert(x.tape);
    }
    attr.shape.dim[a] = (int32_t)length;
    attr.offset = (int32_t)start * attr.stride[a];
    return ad_view(x, &attr);
}

ad_var ad_slice_step(ad_var x, int axis, int64_t start, int64_t length, int64_t step) {
    int64_t a = ad_check_axis(x, axis, "slice_step");
    if (a < 0) return ad_inert(x.tape);
    ad_view_attr attr = ad_view_whole(ad_shape_of(x));
    int64_t n = attr.shape.dim[a];
    bool fits = step != 0 && length >= 0 && start >= 0 && (length ? start < n : start <= n);
    if (fits && length > 1) fits = (step > 0 ? (n - 1 - start) / step : start / (step < -n ? n : -step)) >= length - 1;
    if (!fits) {
        char text[64];
        ad_tape_fail(x.tape, AD_EARG, "slice_step: %lld elements from %lld in steps of %lld of axis %d of shape %s",
                     (long long)length, (long long)start, (long long)step, axis,
                     ad_shape_print(attr.shape, text, sizeof text));
        return ad_inert(x.tape);
    }
    attr.shape.dim[a] = (int32_t)length;
    attr.offset = length ? (int32_t)start * attr.stride[a] : 0;
    if (length > 1) attr.stride[a] *= (int32_t)step;
    return ad_view(x, &attr);
}

ad_var ad_flip(ad_var x, int axis) {
    int64_t a = ad_check_axis(x, axis, "flip");
    if (a < 0) return ad_inert(x.tape);
    int64_t n = ad_shape_of(x).dim[a];
    return n > 1 ? ad_slice_step(x, (int)a, n - 1, n, -1) : x;
}

ad_var ad_pad(ad_var x, int axis, int64_t before, int64_t after, double value) {
    int64_t a = ad_check_axis(x, axis, "pad");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), whole = s;
    if (before < 0 || after < 0 || before > INT32_MAX || after > INT32_MAX) {
        ad_tape_fail(x.tape, AD_EARG, "pad: %lld elements before and %lld after", (long long)before, (long long)after);
        return ad_inert(x.tape);
    }
    whole = with_dim(s, a, before + s.dim[a] + after);
    if (ad_shape_count(whole) < 0) return misfit(x, "pad", "a padded result of at most 2^31 - 1 elements");
    if (before + after == 0) return x;
    if (value == 0) {
        ad_view_attr where = ad_view_whole(whole);
        where.shape = s;
        where.offset = (int32_t)before * where.stride[a];
        return ad_place(x.tape, ad_rows_of(x), whole, &x, &where, 1);
    }
    ad_var part[3] = {x, x, x};
    int n = 1, at = before ? 1 : 0;
    if (before) part[0] = ad_fill(x.tape, with_dim(s, a, before), value), n++;
    part[at] = x;
    if (after) part[at + 1] = ad_fill(x.tape, with_dim(s, a, after), value), n++;
    return ad_concat(part, n, (int)a);
}

ad_var ad_tile(ad_var x, int axis, int64_t times) {
    int64_t a = ad_check_axis(x, axis, "tile");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x);
    if (times < 0 || times > INT32_MAX) {
        ad_tape_fail(x.tape, AD_EARG, "tile: %lld times", (long long)times);
        return ad_inert(x.tape);
    }
    extent e = around(s, a);
    s = with_dim(s, a, e.n * times);
    if (ad_shape_count(s) < 0) return misfit(x, "tile", "a result of at most 2^31 - 1 elements");
    ad_var once = ad_reshape(x, ad_shape3(e.before, 1, e.n * e.after));
    return ad_reshape(ad_expand(once, ad_shape3(e.before, times, e.n * e.after)), s);
}

// ---- axes ---------------------------------------------------------------------------------------------------------

static ad_var insert_axis(ad_var x, int axis, const char *what) {
    if (!ad_check_var(x, what)) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), y = {s.rank + 1, {0}};
    if (s.rank == AD_MAX_RANK) return misfit(x, what, "room for one more axis");
    int64_t a = axis < 0 ? axis + (int64_t)y.rank : axis;
    if (a < 0 || a > s.rank) {
        ad_tape_fail(x.tape, AD_ESHAPE, "%s: axis %d of a result of %d axes", what, axis, (int)y.rank);
        return ad_inert(x.tape);
    }
    for (int64_t i = 0; i < y.rank; i++) y.dim[i] = i == a ? 1 : s.dim[i < a ? i : i - 1];
    return ad_reshape(x, y);
}

ad_var ad_insert_axis(ad_var x, int axis) { return insert_axis(x, axis, "insert_axis"); }

ad_var ad_squeeze(ad_var x, int axis) {
    int64_t a = ad_check_axis(x, axis, "squeeze");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), y = {s.rank - 1, {0}};
    if (s.dim[a] != 1) return misfit(x, "squeeze", "a dimension of 1 on that axis");
    for (int64_t i = 0; i < y.rank; i++) y.dim[i] = s.dim[i < a ? i : i + 1];
    return ad_reshape(x, y);
}

// ---- joined -------------------------------------------------------------------------------------------------------

static bool concat_shape(const ad_var *x, int n, int64_t a, ad_shape *out) {
    *out = ad_shape_of(x[0]);
    for (int i = 1; i < n; i++) {
        ad_shape s = ad_shape_of(x[i]), like = *out;
        if (s.rank != out->rank) return false;
        like.dim[a] = s.dim[a];
        if (!ad_shape_equal(like, s)) return false;
        if (out->dim[a] > INT32_MAX - s.dim[a]) return false;
        out->dim[a] += s.dim[a];
    }
    return true;
}

// The tape of the first of x that has one.
static ad_tape *tape_of(const ad_var *x, int n) {
    ad_tape *t = NULL;
    for (int i = 0; i < n && !t; i++) t = x[i].tape;
    return t;
}

static ad_var out_of_memory(ad_tape *t, const char *what) {
    ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", what);
    return ad_inert(t);
}

ad_var ad_concat(const ad_var *x, int n, int axis) {
    ad_tape *t = tape_of(x, n);
    if (!t) return ad_none();
    int64_t a = ad_check_vars(x, n, "concat") ? ad_check_axis(x[0], axis, "concat") : -1;
    ad_shape shape;
    if (a < 0) return ad_inert(t);
    if (!concat_shape(x, n, a, &shape) || ad_shape_count(shape) < 0) {
        ad_tape_fail(t, AD_ESHAPE,
                     "concat: parts differ in rank, or in a dimension other than axis %d, or are too large", axis);
        return ad_inert(t);
    }
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_view_attr *where = ad_arena_take(&t->scratch, (size_t)n * sizeof *where);
    if (!where) return out_of_memory(t, "concat");
    for (int64_t i = 0, start = 0; i < n; start += ad_shape_of(x[i]).dim[a], i++) {
        where[i] = ad_view_whole(shape);
        where[i].shape = ad_shape_of(x[i]);
        where[i].offset = (int32_t)start * where[i].stride[a];
    }
    ad_rows none = {NULL, 0, 0};
    ad_var y = n == 1 ? x[0] : ad_place(t, none, shape, x, where, n);
    ad_arena_release(&t->scratch, mark);
    return y;
}

static bool stack_check(const ad_var *x, int n) {
    if (!ad_check_vars(x, n, "stack")) return false;
    for (int i = 1; i < n; i++) {
        char text[2][64];
        if (ad_shape_equal(ad_shape_of(x[0]), ad_shape_of(x[i]))) continue;
        ad_tape_fail(x[0].tape, AD_ESHAPE, "stack: parts 0 and %d have shapes %s and %s", i,
                     ad_shape_print(ad_shape_of(x[0]), text[0], sizeof text[0]),
                     ad_shape_print(ad_shape_of(x[i]), text[1], sizeof text[1]));
        return false;
    }
    return true;
}

ad_var ad_stack(const ad_var *x, int n, int axis) {
    ad_tape *t = tape_of(x, n);
    if (!t) return ad_none();
    if (!stack_check(x, n)) return ad_inert(t);
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *part = ad_arena_take(&t->scratch, (size_t)n * sizeof *part);
    if (!part) return out_of_memory(t, "stack");
    for (int i = 0; i < n; i++) part[i] = insert_axis(x[i], axis, "stack");
    ad_var y = ad_ok(part[0]) ? ad_concat(part, n, axis) : part[0];
    ad_arena_release(&t->scratch, mark);
    return y;
}

// ---- matrices -----------------------------------------------------------------------------------------------------

ad_var ad_diagonal(ad_var x) {
    if (!ad_check_var(x, "diagonal")) return ad_inert(x.tape);
    ad_view_attr attr = ad_view_whole(ad_shape_of(x));
    int32_t last = attr.shape.rank - 1;
    if (last < 1 || attr.shape.dim[last] != attr.shape.dim[last - 1]) return misfit(x, "diagonal", "[...,D,D]");
    attr.stride[last - 1] += attr.stride[last];
    attr.stride[last] = attr.shape.dim[last] = 0;
    attr.shape.rank = last;
    return ad_view(x, &attr);
}

ad_var ad_diag(ad_var x) {
    if (!ad_check_var(x, "diag")) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), whole = s;
    if (s.rank < 1 || s.rank == AD_MAX_RANK) return misfit(x, "diag", "[...,D] of at most 5 axes");
    whole.dim[whole.rank++] = s.dim[s.rank - 1];
    if (ad_shape_count(whole) < 0) return misfit(x, "diag", "a result of at most 2^31 - 1 elements");
    ad_view_attr where = ad_view_whole(whole);
    where.stride[s.rank - 1] += where.stride[s.rank];
    where.stride[s.rank] = 0;
    where.shape = s;
    return ad_place(x.tape, ad_rows_of(x), whole, &x, &where, 1);
}

// The numbers first, first + 1, ... as a shared constant of that shape.
static ad_var count_up(ad_tape *t, ad_shape shape, int64_t first) {
    int64_t n = ad_shape_count(shape);
    ad_arena mark = ad_arena_mark(&t->scratch);
    double *values = ad_arena_take(&t->scratch, (size_t)n * sizeof *values);
    if (!values) {
        ad_tape_fail(t, AD_ENOMEM, "triangle: out of memory");
        return ad_inert(t);
    }
    for (int64_t i = 0; i < n; i++) values[i] = (double)(first + i);
    ad_var v = ad_constant(t, shape, values);
    ad_arena_release(&t->scratch, mark);
    return v;
}

// x where column - row >= k (upper) or <= k, else 0. Chosen, not multiplied: 0 over infinity and NaN, too.
static ad_var triangle(ad_var x, int k, bool upper, const char *what) {
    if (!ad_check_var(x, what)) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x);
    if (s.rank < 2) return misfit(x, what, "[...,M,N]");
    int32_t M = s.dim[s.rank - 2], N = s.dim[s.rank - 1];
    int64_t shift = k < -M ? -M : k > N ? N : k;  // beyond these nothing changes, and the numbers stay exact
    ad_var row = count_up(x.tape, ad_shape2(M, 1), shift), column = count_up(x.tape, ad_shape2(1, N), 0);
    ad_var inside = upper ? ad_greater_equal(column, row) : ad_less_equal(column, row);
    return ad_where(inside, x, ad_number(x.tape, 0));
}

ad_var ad_tril(ad_var x, int k) { return triangle(x, k, false, "tril"); }
ad_var ad_triu(ad_var x, int k) { return triangle(x, k, true, "triu"); }

ad_var ad_outer(ad_var a, ad_var b) {
    const ad_var both[] = {a, b};
    char text[2][64];
    if (!ad_check_vars(both, 2, "outer")) return ad_inert(a.tape ? a.tape : b.tape);
    if (ad_shape_of(a).rank < 1) return misfit(a, "outer", "[...,M]");
    if (ad_shape_of(b).rank < 1) return misfit(b, "outer", "[...,N]");
    ad_var column = insert_axis(a, -1, "outer"), row = insert_axis(b, -2, "outer");
    ad_shape joint;
    if (!ad_ok(column) || !ad_ok(row)) return ad_inert(a.tape);
    if (ad_shape_broadcast(ad_shape_of(column), ad_shape_of(row), &joint)) return ad_mul(column, row);
    ad_tape_fail(a.tape, AD_ESHAPE, "outer: leading dimensions of %s and %s do not broadcast",
                 ad_shape_print(ad_shape_of(a), text[0], sizeof text[0]),
                 ad_shape_print(ad_shape_of(b), text[1], sizeof text[1]));
    return ad_inert(a.tape);
}
