// rearrange.c -- shapes made of views and places.
//
// A view reads through strides (ad_view), a place adds into zeros (ad_place); each is the other's adjoint, so that
// everything here has derivatives of any order.
#include "internal.h"

// Reports an operand whose shape does not fit; the inert result.
static ad_var misfit(ad_var x, const char *what, const char *expected) {
    char text[64];
    ad_tape_fail(x.tape, AD_ESHAPE, "%s: shape %s: expected %s", what, ad_shape_print(ad_shape_of(x), text, sizeof text),
                 expected);
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

// ---- along an axis ----------------------------------------------------------------------------------------------------

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

// ---- axes -------------------------------------------------------------------------------------------------------------

ad_var ad_insert_axis(ad_var x, int axis) {
    if (!ad_check_var(x, "insert_axis")) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), y = {s.rank + 1, {0}};
    if (s.rank == AD_MAX_RANK) return misfit(x, "insert_axis", "room for one more axis");
    int64_t a = axis < 0 ? axis + (int64_t)y.rank : axis;
    if (a < 0 || a > s.rank) {
        ad_tape_fail(x.tape, AD_EARG, "insert_axis: axis %d of a result of %d axes", axis, (int)y.rank);
        return ad_inert(x.tape);
    }
    for (int64_t i = 0; i < y.rank; i++) y.dim[i] = i == a ? 1 : s.dim[i < a ? i : i - 1];
    return ad_reshape(x, y);
}

ad_var ad_squeeze(ad_var x, int axis) {
    int64_t a = ad_check_axis(x, axis, "squeeze");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), y = {s.rank - 1, {0}};
    if (s.dim[a] != 1) return misfit(x, "squeeze", "a dimension of 1 on that axis");
    for (int64_t i = 0; i < y.rank; i++) y.dim[i] = s.dim[i < a ? i : i + 1];
    return ad_reshape(x, y);
}

ad_var ad_stack(const ad_var *x, int n, int axis) {
    ad_tape *t = NULL;
    for (int i = 0; i < n && !t; i++) t = x[i].tape;
    if (!t) return ad_none();
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_var *part = ad_arena_take(&t->scratch, (size_t)n * sizeof *part);
    if (!part) {
        ad_tape_fail(t, AD_ENOMEM, "stack: out of memory");
        return ad_inert(t);
    }
    for (int i = 0; i < n; i++) {
        char text[2][64];
        bool live = x[i].tape == t && ad_node_of(x[0]) && ad_node_of(x[i]);
        if (live && !ad_shape_equal(ad_shape_of(x[0]), ad_shape_of(x[i])))
            ad_tape_fail(t, AD_ESHAPE, "stack: parts 0 and %d have shapes %s and %s", i,
                         ad_shape_print(ad_shape_of(x[0]), text[0], sizeof text[0]),
                         ad_shape_print(ad_shape_of(x[i]), text[1], sizeof text[1]));
        part[i] = x[i].tape == t ? ad_insert_axis(x[i], axis) : x[i];  // concat reports what is not on the tape
    }
    ad_var y = ad_concat(part, n, axis);
    ad_arena_release(&t->scratch, mark);
    return y;
}

// ---- matrices ---------------------------------------------------------------------------------------------------------

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
    if (ad_is_none(a) || ad_is_none(b)) return ad_mul(a, b);  // which says so
    if (!ad_check_var(a, "outer") || !ad_check_var(b, "outer")) return ad_inert(a.tape);
    if (ad_shape_of(a).rank < 1) return misfit(a, "outer", "[...,M]");
    if (ad_shape_of(b).rank < 1) return misfit(b, "outer", "[...,N]");
    return ad_mul(ad_insert_axis(a, -1), ad_insert_axis(b, -2));
}
