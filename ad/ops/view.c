// view.c -- rearranging elements: strided views and their adjoint (sums of parts at places), copies for rows.
//
// Slices, reshapes, transposes, broadcasts are one op, view; concatenation, padding and the gradients of views are one
// op, place. Each is the other's vjp. The planner turns contiguous views into aliases, and lets parts of a place be
// computed where they belong.
#include <stdlib.h>
#include <string.h>

#include "../internal.h"
#include "family.h"

// ---- kernels ------------------------------------------------------------------------------------------------------

// A view as few loops: axes of 1 left out, axes that follow each other in memory made one. The last is the inner loop.
typedef struct walk {
    int rank;
    int64_t dim[AD_MAX_RANK], stride[AD_MAX_RANK], i[AD_MAX_RANK];
    int64_t at;       // element of the viewed tensor where the inner loop starts
    int64_t n, step;  // inner loop: elements and what they are apart
    int64_t left;     // inner loops to come
} walk;

static walk walk_of(const ad_view_attr *attr) {
    walk w = {.at = attr->offset, .n = 1, .step = 1, .left = ad_count_of(&attr->shape)};
    for (int64_t a = 0; a < attr->shape.rank; a++) {
        int64_t d = attr->shape.dim[a], s = attr->stride[a];
        if (d == 1) continue;
        bool joins = w.rank && w.stride[w.rank - 1] == s * d;
        if (!joins) w.dim[w.rank++] = 1;
        w.dim[w.rank - 1] *= d, w.stride[w.rank - 1] = s;
    }
    if (w.rank && w.left) w.rank--, w.n = w.dim[w.rank], w.step = w.stride[w.rank], w.left /= w.n;
    return w;
}

// On to the next inner loop.
static void walk_on(walk *w) {
    w->left--;
    for (int a = w->rank - 1; a >= 0; a--) {
        w->at += w->stride[a];
        if (++w->i[a] < w->dim[a]) return;
        w->at -= w->stride[a] * w->dim[a];
        w->i[a] = 0;
    }
}

static void copy_lanes(char *y, const char *x, int lane, int R, size_t e) {
    if (lane) memcpy(y, x, (size_t)R * e);
    else if (e == 4) for (int r = 0; r < R; r++) memcpy(y + 4 * r, x, 4);
    else for (int r = 0; r < R; r++) memcpy(y + 8 * r, x, 8);
}

#define COPY_STRIDED(name, T)                                                                 \
    static void name(T *y, int64_t y_step, const T *x, int64_t x_step, int64_t n) {           \
        for (int64_t i = 0; i < n; i++) y[i * y_step] = x[i * x_step];                        \
    }
COPY_STRIDED(copy_strided_f32, float)
COPY_STRIDED(copy_strided_f64, double)

// n features, y's y_step apart and x's x_step, in elements.
static void copy_features(char *y, int64_t y_step, const char *x, int64_t x_step, int64_t n, int lane, int R,
                          size_t e) {
    if (y_step == R && x_step == R && (lane || R == 1)) memcpy(y, x, (size_t)(n * R) * e);
    else if (R == 1 && e == 4) copy_strided_f32((float *)(void *)y, y_step, (const float *)(const void *)x, x_step, n);
    else if (R == 1) copy_strided_f64((double *)(void *)y, y_step, (const double *)(const void *)x, x_step, n);
    else
        for (int64_t i = 0; i < n; i++)
            copy_lanes(y + i * y_step * (int64_t)e, x + i * x_step * (int64_t)e, lane, R, e);
}

static void view_bytes(const ad_kernel *k, size_t e) {
    const ad_kernel_operand *x = &k->x[0];
    char *y = k->y;
    for (walk w = walk_of(k->attr); w.left > 0; walk_on(&w), y += (size_t)(w.n * k->R) * e)
        copy_features(y, k->R, (const char *)x->data + w.at * x->stride * (int64_t)e, w.step * x->stride, w.n, x->lane,
                      k->R, e);
}
static void view_f32(const ad_kernel *k) { view_bytes(k, 4); }
static void view_f64(const ad_kernel *k) { view_bytes(k, 8); }

#define ADD_PART(name, T)                                                                                 \
    static void name(const ad_kernel *k, const ad_kernel_operand *x, const ad_view_attr *where) {         \
        const T *part = x->data;                                                                          \
        for (walk w = walk_of(where); w.left > 0; walk_on(&w)) {                                          \
            T *y = (T *)k->y + w.at * k->R;                                                               \
            for (int64_t i = 0; i < w.n; i++, y += w.step * k->R, part += x->stride)                      \
                for (int r = 0; r < k->R; r++) y[r] += part[r * x->lane];                                 \
        }                                                                                                 \
    }
ADD_PART(add_part_f32, float)
ADD_PART(add_part_f64, double)

static void copy_part(const ad_kernel *k, const ad_kernel_operand *x, const ad_view_attr *where, size_t e) {
    const char *part = x->data;
    for (walk w = walk_of(where); w.left > 0; walk_on(&w), part += w.n * x->stride * (int64_t)e)
        copy_features((char *)k->y + w.at * k->R * (int64_t)e, w.step * k->R, part, x->stride, w.n, x->lane, k->R, e);
}

// Zeroes all features that no part in place covers; parts apart from each other, ascending, are skipped where in place.
static void zero_rest(const ad_kernel *k, const ad_view_attr *where, int64_t n, size_t e) {
    int64_t total = ad_count_of(k->shape), from = 0;
    size_t bytes = (size_t)k->R * e;
    for (int64_t i = 0; i < n; i++) {
        if (k->x[i].data) continue;  // not in place: copied or added later, over zeros
        memset((char *)k->y + (size_t)from * bytes, 0, (size_t)(where[i].offset - from) * bytes);
        from = where[i].offset + ad_count_of(&where[i].shape);
    }
    memset((char *)k->y + (size_t)from * bytes, 0, (size_t)(total - from) * bytes);
}

static void place_parts(const ad_kernel *k, size_t e,
                        void (*add)(const ad_kernel *, const ad_kernel_operand *, const ad_view_attr *)) {
    const ad_place_attr *attr = k->attr;
    const ad_view_attr *where = ad_place_parts(attr);
    if (attr->cover == AD_PLACE_ADDS || attr->cover == AD_PLACE_BOXES) {
        if (attr->zero) memset(k->y, 0, (size_t)(ad_count_of(k->shape) * k->R) * e);
    } else if (attr->zero) {
        zero_rest(k, where, attr->n, e);
    }
    for (int64_t i = 0; i < attr->n; i++) {
        if (!k->x[i].data) continue;
        if (attr->cover == AD_PLACE_ADDS) add(k, &k->x[i], &where[i]);
        else copy_part(k, &k->x[i], &where[i], e);
    }
}
static void place_f32(const ad_kernel *k) { place_parts(k, 4, add_part_f32); }
static void place_f64(const ad_kernel *k) { place_parts(k, 8, add_part_f64); }

// ---- descriptors --------------------------------------------------------------------------------------------------

static bool view_shape(ad_shape_call *c) {
    c->y = ((const ad_view_attr *)c->attr)->shape;
    return true;
}
static bool place_shape(ad_shape_call *c) {
    c->y = ((const ad_place_attr *)c->attr)->shape;
    return true;
}
static bool same_shape(ad_shape_call *c) {
    c->y = c->x[0];
    return true;
}
// The view of y that is x again (its elements in order, axes of 1 left out), where the view y of x left out and
// repeated none: a transposition, a reversal.
static bool inverse_view(const ad_view_attr *attr, ad_shape x, ad_view_attr *inverse) {
    int32_t axis[AD_MAX_RANK], own[AD_MAX_RANK], m = 0, n = 1;
    if (!ad_shape_count(x) || ad_shape_count(x) != ad_shape_count(attr->shape)) return false;
    ad_shape_strides(attr->shape, own);
    for (int32_t a = 0; a < attr->shape.rank; a++) {  // by size of stride
        if (attr->shape.dim[a] == 1) continue;
        int32_t i = m++;
        for (; i > 0 && abs(attr->stride[axis[i - 1]]) < abs(attr->stride[a]); i--) axis[i] = axis[i - 1];
        axis[i] = a;
    }
    *inverse = (ad_view_attr){.shape = {.rank = m}};
    for (int32_t i = m; i-- > 0; n *= inverse->shape.dim[i]) {
        int32_t a = axis[i], d = attr->shape.dim[a], stride = attr->stride[a];
        if (abs(stride) != n) return false;
        inverse->shape.dim[i] = d;
        inverse->stride[i] = stride < 0 ? -own[a] : own[a];
        if (stride < 0) inverse->offset += own[a] * (d - 1);
    }
    return true;
}

static void view_vjp(const ad_vjp_call *c) {
    ad_view_attr where = *(const ad_view_attr *)c->attr, inverse;
    ad_shape x = ad_shape_of(c->x[0]);
    ad_var g = c->gy;
    for (int a = 0; a < where.shape.rank; a++) {  // repeated elements: a sum, accumulated in double
        if (where.stride[a] != 0 || where.shape.dim[a] < 2) continue;
        where.shape.dim[a] = 1;
        g = ad_reshape(ad_sum_axis(g, a), where.shape);
    }
    if (inverse_view(&where, x, &inverse)) c->gx[0] = ad_reshape(ad_view(g, &inverse), x);
    else c->gx[0] = ad_place(g.tape, ad_rows_of(g), x, &g, &where, 1);
}
static void place_vjp(const ad_vjp_call *c) {
    for (int i = 0; i < c->n; i++)
        if (c->need[i]) c->gx[i] = ad_view(c->gy, &ad_place_parts(c->attr)[i]);
}
static void to_rows_vjp(const ad_vjp_call *c) { c->gx[0] = c->gy; }

static ad_var test_view(void *arg, const ad_var *x) {
    (void)arg;
    ad_var y = ad_slice(ad_transpose(x[0], (const int[]){1, 0}), 1, 1, 1);
    return ad_mul(ad_expand(y, ad_shape2(3, 2)), ad_reshape(x[0], ad_shape2(3, 2)));
}
static ad_var test_place(void *arg, const ad_var *x) {
    (void)arg;
    ad_var parts[] = {ad_slice(x[0], 1, 1, 2), ad_square(x[0]), ad_slice(x[0], 1, 0, 1)};
    return ad_concat(parts, 3, 1);
}
static ad_var test_to_rows(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(ad_to_rows(x[1], ad_rows_of(x[0])), x[0]);
}
#define X23 {.shape = {2, {2, 3}}, .rows = true}
static const ad_op_test view_tests[] = {{.n = 1, .x = {X23}, .f = test_view}};
static const ad_op_test place_tests[] = {{.n = 1, .x = {X23}, .f = test_place}};
static const ad_op_test to_rows_tests[] = {{.n = 2, .x = {X23, {.shape = {2, {2, 3}}}}, .f = test_to_rows}};

static const ad_op view_op = {.name = "view",
                              .flags = AD_OP_STRIDED | AD_OP_CHEAP,
                              .shape = view_shape,
                              .vjp = view_vjp,
                              .kernel = {view_f32, view_f64},
                              .tests = view_tests,
                              .n_tests = 1,
                              .role = AD_ROLE_VIEW};
static const ad_op place_op = {.name = "place", .flags = AD_OP_STRIDED, .shape = place_shape, .vjp = place_vjp,
                               .kernel = {place_f32, place_f64}, .tests = place_tests, .n_tests = 1,
                               .role = AD_ROLE_PLACE};
static const ad_op to_rows_op = {.name = "to_rows", .flags = AD_OP_CHEAP, .shape = same_shape, .vjp = to_rows_vjp,
                                 .kernel = {NULL, NULL}, .tests = to_rows_tests, .n_tests = 1, .role = AD_ROLE_ALIAS};

AD_FAMILY(view) = {&view_op, &place_op, &to_rows_op, NULL};

// ---- recording ----------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
bool ad_view_contiguous(const ad_view_attr *attr) {
    int64_t n = 1;
    for (int64_t a = attr->shape.rank - 1; a >= 0; a--) {
        if (attr->shape.dim[a] != 1 && attr->stride[a] != n) return false;
        n *= attr->shape.dim[a];
    }
    return true;
}

ad_view_attr ad_view_whole(ad_shape shape) {
    ad_view_attr attr = {.shape = shape};
    ad_shape_strides(shape, attr.stride);
    return attr;
}

ad_var ad_view(ad_var x, const ad_view_attr *attr) {
    if (ad_view_contiguous(attr) && attr->offset == 0 && ad_shape_equal(attr->shape, ad_shape_of(x))) return x;
    return ad_apply(&view_op, &x, 1, attr, sizeof *attr);
}

// Whether no element comes twice: each axis in turn steps over all that those of smaller steps reach.
static bool injective(const ad_view_attr *attr) {
    int64_t reach = 0, last = 0;
    for (int i = 0; i < attr->shape.rank; i++) {  // the next larger stride
        int64_t next = INT64_MAX, extent = 0;
        for (int a = 0; a < attr->shape.rank; a++) {
            int64_t stride = llabs(attr->stride[a]);
            if (attr->shape.dim[a] < 2 || (stride <= last && last)) continue;
            if (stride == next) return false;
            if (stride < next) next = stride, extent = stride * (attr->shape.dim[a] - 1);
        }
        if (next == INT64_MAX) return true;
        if (next <= reach) return false;
        reach += extent, last = next;
    }
    return true;
}

// Whether the parts are boxes of the tensor, one behind the other along one axis: a concatenation along an inner axis.
static bool are_boxes(const ad_shape *shape, const ad_view_attr *where, int n) {
    ad_view_attr whole = ad_view_whole(*shape);
    int64_t axis = -1, end = 0;
    for (int i = 0; i < n; i++) {
        ad_shape s = where[i].shape;
        if (s.rank != shape->rank || memcmp(where[i].stride, whole.stride, sizeof whole.stride) != 0) return false;
        for (int a = 0; a < s.rank; a++) {
            if (s.dim[a] == shape->dim[a]) continue;
            if (axis >= 0 && axis != a) return false;
            axis = a;
        }
        if (axis < 0 || where[i].offset < end || where[i].offset % whole.stride[axis]) return false;
        end = where[i].offset + s.dim[axis] * (int64_t)whole.stride[axis];
        if (end > shape->dim[axis] * (int64_t)whole.stride[axis]) return false;
    }
    return true;
}

static int32_t cover_of(const ad_shape *shape, const ad_view_attr *where, int n) {
    int64_t end = 0, covered = 0;
    bool ranges = true;  // in ascending order
    for (int i = 0; i < n; i++) {
        if (!ad_view_contiguous(&where[i]) || where[i].offset < end) ranges = false;
        end = where[i].offset + ad_count_of(&where[i].shape);
        covered += ad_count_of(&where[i].shape);
    }
    if (ranges) return covered == ad_count_of(shape) ? AD_PLACE_FULL : AD_PLACE_GAPS;
    if (covered == 0 || ad_count_of(shape) == 0) return AD_PLACE_ADDS;
    return (n == 1 && injective(where)) || are_boxes(shape, where, n) ? AD_PLACE_BOXES : AD_PLACE_ADDS;
}

ad_var ad_place(ad_tape *t, ad_rows rows, ad_shape shape, const ad_var *parts, const ad_view_attr *where, int n) {
    size_t size = sizeof(ad_place_attr) + (size_t)n * sizeof *where;
    ad_arena mark = ad_arena_mark(&t->scratch);
    ad_place_attr *attr = ad_arena_take(&t->scratch, size);
    if (!attr) {
        ad_tape_fail(t, AD_ENOMEM, "place: out of memory");
        return ad_inert(t);
    }
    *attr = (ad_place_attr){shape, n, cover_of(&shape, where, n), 0};
    memcpy(attr + 1, where, (size_t)n * sizeof *where);
    int64_t covered = 0;
    for (int i = 0; i < n; i++) covered += ad_count_of(&where[i].shape);
    attr->zero = attr->cover == AD_PLACE_ADDS || covered < ad_count_of(&shape);
    ad_var y = ad_apply_rows(&place_op, t, rows, parts, n, attr, size);
    ad_arena_release(&t->scratch, mark);
    return y;
}

int64_t ad_check_axis(ad_var x, int axis, const char *what) {
    if (!ad_check_var(x, what)) return -1;
    char text[160];
    int64_t a = ad_shape_axis(ad_shape_of(x), axis);
    if (a < 0)
        ad_tape_fail(x.tape, AD_ESHAPE, "%s: %s", what, ad_axis_error(ad_shape_of(x), axis, text, sizeof text));
    return a;
}

bool ad_check_has_rows(ad_var x, const char *what) {
    if (!ad_check_var(x, what)) return false;
    if (!ad_has_rows(x)) ad_tape_fail(x.tape, AD_EARG, "%s: the operand is shared: expected one that has rows", what);
    return ad_has_rows(x);
}

ad_var ad_to_rows(ad_var x, ad_rows rows) {
    if (!ad_check_var(x, "to_rows")) return ad_inert(x.tape);
    if (ad_has_rows(x) || !rows.tape) {
        ad_tape_fail(x.tape, AD_EARG, "to_rows: %s", rows.tape ? "the operand has rows already" : "no row set");
        return ad_inert(x.tape);
    }
    return ad_apply_rows(&to_rows_op, x.tape, rows, &x, 1, NULL, 0);
}
#endif
