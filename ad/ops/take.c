// take.c -- elements of an axis by number, and their adjoint.
//
// Operands with rows come with a lane for each (the op is not AD_OP_STRIDED), shared ones with R = 1: features are lines of R.
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

#define PUT(name, T)                                                                                              \
    static void name(const ad_kernel *k) {                                                                        \
        const take_attr *attr = k->attr;                                                                          \
        const ad_kernel_operand *x = &k->x[0];                                                                    \
        int64_t post = 1, total = ad_count_of(k->shape);                                                          \
        for (int64_t a = attr->axis + 1; a < k->shape->rank; a++) post *= k->shape->dim[a];                       \
        if (!total) return;                                                                                       \
        memset(k->y, 0, (size_t)(total * k->R) * sizeof(T));                                                      \
        const T *from = x->data;                                                                                  \
        for (int64_t p = 0; p < total / (attr->size * post); p++) {                                               \
            for (int64_t i = 0; i < attr->n; i++) {                                                               \
                T *y = (T *)k->y + (p * attr->size + take_index(attr)[i]) * post * k->R;                          \
                for (int64_t q = 0; q < post; q++, from += x->stride)                                             \
                    for (int r = 0; r < k->R; r++) y[q * k->R + r] += from[r];                                    \
            }                                                                                                     \
        }                                                                                                         \
    }
PUT(put_f32, float)
PUT(put_f64, double)

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
static void take_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_apply(&put_op, &c->gy, 1, c->attr, take_attr_size(c->attr));
}
static void put_vjp(const ad_vjp_call *c) {
    c->gx[0] = ad_apply(&take_op, &c->gy, 1, c->attr, take_attr_size(c->attr));
}

static ad_var test_take(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_take(x[0], 1, (const int64_t[]){2, 0, 2, 1}, 4));
}
static const ad_op_test take_tests[] = {{.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = test_take}};

static const ad_op take_op = {.name = "take", .shape = take_shape, .vjp = take_vjp,
                              .kernel = {take_f32, take_f64}, .tests = take_tests, .n_tests = 1};
static const ad_op put_op = {.name = "put", .shape = put_shape, .vjp = put_vjp,
                             .kernel = {put_f32, put_f64}, .tests = take_tests, .n_tests = 1};

AD_FAMILY(take) = {&take_op, &put_op, NULL};

#if AD_ISA_BASE
// Indices in steps are a strided view: reversal, slices.
static bool affine(const int64_t *index, int64_t n) {
    for (int64_t i = 2; i < n; i++)
        if (index[i] - index[i - 1] != index[1] - index[0]) return false;
    return true;
}

ad_var ad_take(ad_var x, int axis, const int64_t *index, int64_t n) {
    int64_t a = ad_check_axis(x, axis, "take");
    if (a < 0) return ad_inert(x.tape);
    ad_view_attr view = ad_view_whole(ad_shape_of(x));
    for (int64_t i = 0; i < n; i++) {
        if (index[i] >= 0 && index[i] < view.shape.dim[a]) continue;
        ad_tape_fail(x.tape, AD_EARG, "take: index %lld at %lld: axis %d has %lld elements", (long long)index[i], (long long)i,
                     axis, (long long)view.shape.dim[a]);
        return ad_inert(x.tape);
    }
    if (n > 0 && n <= INT32_MAX && affine(index, n)) {
        view.offset = (int32_t)index[0] * view.stride[a];
        view.stride[a] *= n > 1 ? (int32_t)(index[1] - index[0]) : 1;
        view.shape.dim[a] = (int32_t)n;
        return ad_view(x, &view);
    }
    size_t size = sizeof(take_attr) + (size_t)(n > 0 ? n : 0) * sizeof *index;
    ad_arena mark = ad_arena_mark(&x.tape->scratch);
    take_attr *attr = n < 0 || n > INT32_MAX ? NULL : ad_arena_take(&x.tape->scratch, size);
    if (!attr) {
        ad_tape_fail(x.tape, n < 0 ? AD_EARG : AD_ENOMEM, "take: %lld indices", (long long)n);
        return ad_inert(x.tape);
    }
    *attr = (take_attr){a, n, view.shape.dim[a]};
    if (n) memcpy(attr + 1, index, (size_t)n * sizeof *index);
    ad_var y = ad_apply(&take_op, &x, 1, attr, size);
    ad_arena_release(&x.tape->scratch, mark);
    return y;
}
#endif
