// take.c -- elements of an axis by number, and their adjoint.
//
// Operands with rows come with a lane for each (the op is not AD_OP_STRIDED), shared ones with R = 1: features are
// lines of R.
#include <string.h>

#include "../internal.h"
#include "family.h"

typedef struct take_attr {  // followed by n indices
    int64_t axis, n, size;  // size: of the axis on the side that has it in full
} take_attr;

static const int64_t *take_index(const take_attr *attr) { return (const int64_t *)(const void *)(attr + 1); }

static void take_bytes(const ad_kernel *k, size_t e) {
    const take_attr *attr = k->attr;
    const ad_kernel_operand *x = &k->x[0];
    int64_t post = 1;
    for (int64_t a = attr->axis + 1; a < k->shape->rank; a++) post *= k->shape->dim[a];
    int64_t run = attr->n * post, pre = run ? ad_count_of(k->shape) / run : 0;
    char *y = k->y;
    for (int64_t p = 0; p < pre; p++) {
        for (int64_t i = 0; i < attr->n; i++) {
            int64_t f = (p * attr->size + take_index(attr)[i]) * post;
            for (int64_t q = 0; q < post; q++, y += (size_t)k->R * e)
                memcpy(y, (const char *)x->data + (f + q) * x->stride * (int64_t)e, (size_t)k->R * e);
        }
    }
}
static void take_f32(const ad_kernel *k) { take_bytes(k, 4); }
static void take_f64(const ad_kernel *k) { take_bytes(k, 8); }

// Sums in double, [size][R] of them at a time.
#define PUT(name, T)                                                                                              \
    static void name(const ad_kernel *k) {                                                                        \
        const take_attr *attr = k->attr;                                                                          \
        const ad_kernel_operand *x = &k->x[0];                                                                    \
        int64_t post = 1, total = ad_count_of(k->shape), R = k->R;                                                \
        for (int64_t a = attr->axis + 1; a < k->shape->rank; a++) post *= k->shape->dim[a];                       \
        double *sum = k->scratch;                                                                                 \
        for (int64_t c = 0; total && c < total / attr->size; c++) {                                               \
            int64_t p = c / post, q = c % post;                                                                   \
            memset(sum, 0, (size_t)(attr->size * R) * sizeof *sum);                                               \
            for (int64_t i = 0; i < attr->n; i++) {                                                               \
                const T *from = (const T *)x->data + ((p * attr->n + i) * post + q) * x->stride;                  \
                double *to = sum + take_index(attr)[i] * R;                                                       \
                for (int64_t r = 0; r < R; r++) to[r] += (double)from[r];                                         \
            }                                                                                                     \
            for (int64_t s = 0; s < attr->size; s++) {                                                            \
                T *y = (T *)k->y + ((p * attr->size + s) * post + q) * R;                                         \
                for (int64_t r = 0; r < R; r++) y[r] = (T)sum[s * R + r];                                         \
            }                                                                                                     \
        }                                                                                                         \
    }
PUT(put_f32, float)
PUT(put_f64, double)

static size_t put_scratch(const ad_kernel *k, ad_type type) {
    const take_attr *attr = k->attr;
    (void)type;
    return (size_t)(attr->size * k->R) * sizeof(double);
}

static bool take_shape(ad_shape_call *c) {
    const take_attr *attr = c->attr;
    c->y = c->x[0];
    c->y.dim[attr->axis] = (int32_t)attr->n;
    return true;
}
static bool put_shape(ad_shape_call *c) {
    const take_attr *attr = c->attr;
    c->y = c->x[0];
    c->y.dim[attr->axis] = (int32_t)attr->size;
    return true;
}

static const ad_op take_op, put_op;
static size_t take_attr_size(const take_attr *attr) { return sizeof *attr + (size_t)attr->n * sizeof(int64_t); }

// The elements of a permutation come back by its inverse: one copy, and nothing to add.
static ad_var put(ad_var x, const take_attr *attr) {
    ad_arena mark = ad_arena_mark(&x.tape->scratch);
    take_attr *inverse = attr->n == attr->size ? ad_arena_take(&x.tape->scratch, take_attr_size(attr)) : NULL;
    int64_t *at = inverse ? (int64_t *)(void *)(inverse + 1) : NULL, found = 0;
    if (inverse) {
        *inverse = *attr;
        for (int64_t i = 0; i < attr->n; i++) at[i] = -1;
        for (int64_t i = 0; i < attr->n; i++) found += at[take_index(attr)[i]] < 0, at[take_index(attr)[i]] = i;
    }
    bool permutes = inverse && found == attr->n;
    ad_var y = ad_apply(permutes ? &take_op : &put_op, &x, 1, permutes ? inverse : attr, take_attr_size(attr));
    ad_arena_release(&x.tape->scratch, mark);
    return y;
}
static void take_vjp(const ad_vjp_call *c) { c->gx[0] = put(c->gy, c->attr); }
static void put_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_apply(&take_op, &c->gy, 1, c->attr, take_attr_size(c->attr));
}

static ad_var test_take(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_take(x[0], 1, (const int64_t[]){2, 0, 2, 1}, 4));
}
static ad_var test_scatter_add(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_scatter_add(x[0], 1, (const int64_t[]){2, 0, 2}, 3, 4));
}
static const ad_op_test take_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = test_take}};
static const ad_op_test put_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = test_scatter_add},
                                       {.n = 1, .x = {{.shape = {3, {1, 3, 2}}}}, .f = test_scatter_add}};

static const ad_op take_op = {.name = "take", .shape = take_shape, .vjp = take_vjp,
                              .kernel = {take_f32, take_f64}, .tests = take_tests, .n_tests = 1};
static const ad_op put_op = {.name = "put", .shape = put_shape, .vjp = put_vjp,
                             .kernel = {put_f32, put_f64}, .scratch = put_scratch, .tests = put_tests, .n_tests = 2};

AD_FAMILY(take) = {&take_op, &put_op, NULL};

#if AD_ISA_BASE
// Indices in steps are a strided view: reversal, slices.
static bool affine(const int64_t *index, int64_t n) {
    for (int64_t i = 2; i < n; i++)
        if (index[i] - index[i - 1] != index[1] - index[0]) return false;
    return n > 0;
}

// Elements index[0], index[1], ... of axis a of a tensor of that shape, in steps; n of them.
static ad_view_attr affine_view(ad_shape whole, int64_t a, const int64_t *index, int64_t n) {
    ad_view_attr view = ad_view_whole(whole);
    view.offset = (int32_t)index[0] * view.stride[a];
    view.stride[a] *= n > 1 ? (int32_t)(index[1] - index[0]) : 1;
    view.shape.dim[a] = (int32_t)n;
    return view;
}

static bool check_indices(ad_tape *t, const char *what, const int64_t *index, int64_t n, int64_t size, int axis) {
    if (n < 0 || n > INT32_MAX || (n > 0 && !index)) {
        ad_tape_fail(t, AD_EARG, "%s: %lld indices%s", what, (long long)n, index ? "" : ", and the list is NULL");
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        if (index[i] >= 0 && index[i] < size) continue;
        ad_tape_fail(t, AD_EARG, "%s: index %lld at %lld: axis %d has %lld elements", what, (long long)index[i],
                     (long long)i, axis, (long long)size);
        return false;
    }
    return true;
}

// In the tape's scratch; NULL with the error on the tape.
static take_attr *new_attr(ad_tape *t, const char *what, int64_t a, const int64_t *index, int64_t n, int64_t size) {
    take_attr *attr = ad_arena_take(&t->scratch, sizeof *attr + (size_t)n * sizeof *index);
    if (attr) *attr = (take_attr){a, n, size};
    if (attr && n) memcpy(attr + 1, index, (size_t)n * sizeof *index);
    if (!attr) ad_tape_fail(t, AD_ENOMEM, "%s: %lld indices: out of memory", what, (long long)n);
    return attr;
}

ad_var ad_take(ad_var x, int axis, const int64_t *index, int64_t n) {
    int64_t a = ad_check_axis(x, axis, "take");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x);
    if (!check_indices(x.tape, "take", index, n, s.dim[a], axis)) return ad_inert(x.tape);
    if (affine(index, n)) {
        ad_view_attr view = affine_view(s, a, index, n);
        return ad_view(x, &view);
    }
    ad_arena mark = ad_arena_mark(&x.tape->scratch);
    take_attr *attr = new_attr(x.tape, "take", a, index, n, s.dim[a]);
    ad_var y = attr ? ad_apply(&take_op, &x, 1, attr, take_attr_size(attr)) : ad_inert(x.tape);
    ad_arena_release(&x.tape->scratch, mark);
    return y;
}

ad_var ad_scatter_add(ad_var x, int axis, const int64_t *index, int64_t n, int64_t size) {
    int64_t a = ad_check_axis(x, axis, "scatter_add");
    if (a < 0) return ad_inert(x.tape);
    ad_shape s = ad_shape_of(x), whole = s;
    if (n != s.dim[a] || size < 0 || size > INT32_MAX) {
        ad_tape_fail(x.tape, AD_EARG, "scatter_add: %lld indices for %lld elements of axis %d, into %lld", (long long)n,
                     (long long)s.dim[a], axis, (long long)size);
        return ad_inert(x.tape);
    }
    if (!check_indices(x.tape, "scatter_add", index, n, size, axis)) return ad_inert(x.tape);
    whole.dim[a] = (int32_t)size;
    if (ad_shape_count(whole) < 0) {
        ad_tape_fail(x.tape, AD_ESHAPE, "scatter_add: %lld elements along axis %d: too large", (long long)size, axis);
        return ad_inert(x.tape);
    }
    if (affine(index, n) && (n == 1 || index[0] != index[1])) {
        ad_view_attr where = affine_view(whole, a, index, n);
        return ad_place(x.tape, ad_rows_of(x), whole, &x, &where, 1);
    }
    ad_arena mark = ad_arena_mark(&x.tape->scratch);
    take_attr *attr = new_attr(x.tape, "scatter_add", a, index, n, size);
    ad_var y = attr ? put(x, attr) : ad_inert(x.tape);
    ad_arena_release(&x.tape->scratch, mark);
    return y;
}
#endif
