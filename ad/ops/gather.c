// gather.c -- elements by numbers that are values: take_along, put_along, embedding, one_hot.
//
// An index is a var of whole numbers, shared or per row, without gradient. One that is not a whole number in range, NaN
// included, fails the run: kernels name value, element and row, read NaN in its place, and add nothing anywhere.
#include <string.h>

#include "../internal.h"
#include "simd.h"

AD_INLINE double get(const void *x, int64_t i, ad_type type) {
    return type == AD_F32 ? ((const float *)x)[i] : ((const double *)x)[i];
}
AD_INLINE void set(void *y, int64_t i, double v, ad_type type) {
    if (type == AD_F32) ((float *)y)[i] = (float)v;
    else ((double *)y)[i] = v;
}
static size_t bytes_of(int64_t n, ad_type type) { return (size_t)n * ad_type_size(type); }

// ---- indices --------------------------------------------------------------------------------------------------------

enum { LANES = 64 };  // taken at once

typedef struct index_run {  // of one feature of an index, in n lanes from lane r
    int r, n;
    bool good;
    int32_t at[LANES];      // -1: out of range, and reported
} index_run;

// Lanes of an index that is shared are all like the first.
AD_INLINE void read_index(const ad_kernel *k, const ad_kernel_operand *x, int64_t f, int64_t size, index_run *j,
                          ad_type type) {
    const double end = (double)size;
    int bad = 0, own = x->lane ? j->n : 1;
    int64_t first = f * x->stride + (x->lane ? j->r : 0);
    for (int r = 0; r < own; r++) {
        double v = get(x->data, first + r, type);
        int32_t i = v >= 0 && v < end ? (int32_t)v : -1;
        j->at[r] = i == v ? i : -1;
        bad |= j->at[r] < 0;
    }
    for (int r = 0; bad && r < own; r++) {
        if (j->at[r] < 0)
            ad_kernel_fail(k, j->r + r, AD_EARG, "index %.9g, element %lld: expected a whole number from 0 to %lld",
                           get(x->data, first + r, type), (long long)f, (long long)size - 1);
    }
    for (int r = own; r < j->n; r++) j->at[r] = j->at[0];
    j->good = !bad;
}

// The next lanes from r on; false when there are none.
AD_INLINE bool next_lanes(const ad_kernel *k, const ad_kernel_operand *x, int64_t f, int64_t size, int r, index_run *j,
                          ad_type type) {
    j->r = r;
    j->n = k->R - r < LANES ? k->R - r : LANES;
    if (j->n > 0) read_index(k, x, f, size, j, type);
    return j->n > 0;
}

// Passes over the indices of feature f, some lanes at a time: in *j.
#define FOR_LANES(k, index, f, size, type, j) \
    for (int r_ = 0; next_lanes(k, index, f, size, r_, j, type); r_ += LANES)

// ---- along an axis --------------------------------------------------------------------------------------------------

typedef struct along_attr {
    int64_t axis, size;  // size: of the axis on the side that has it in full
} along_attr;

// One side is [before, size, after], the other, and the index, [before, n, after].
typedef struct along_extent {
    int64_t before, n, after;
} along_extent;

static along_extent extent_of(const ad_shape *s, int64_t axis) {
    along_extent e = {1, s->dim[axis], 1};
    for (int64_t i = 0; i < s->rank; i++)
        if (i != axis) *(i < axis ? &e.before : &e.after) *= s->dim[i];
    return e;
}

// to[r] = element j of the column of x from feature `first` on, step features apart.
AD_INLINE void take_lanes(const ad_kernel_operand *x, int64_t first, int64_t step, const index_run *j, bool same,
                          void *to, ad_type type) {
    const char *from = (const char *)x->data + bytes_of(first * x->stride + j->r * x->lane, type);
    if (j->good && same && x->lane) {
        memcpy(to, from + bytes_of(j->at[0] * step * x->stride, type), bytes_of(j->n, type));
    } else if (j->good) {
        for (int r = 0; r < j->n; r++) set(to, r, get(from, j->at[r] * step * x->stride + r * x->lane, type), type);
    } else {
        for (int r = 0; r < j->n; r++)
            set(to, r, j->at[r] < 0 ? (double)NAN : get(from, j->at[r] * step * x->stride + r * x->lane, type), type);
    }
}

// y[b, i, a] = x[b, index[b, i, a], a]
AD_INLINE void take_along(const ad_kernel *k, ad_type type) {
    const along_attr *attr = k->attr;
    const along_extent e = extent_of(k->shape, attr->axis);
    int64_t count = ad_count_of(k->shape);
    index_run j;
    for (int64_t f = 0; f < count; f++) {
        int64_t first = f / (e.n * e.after) * attr->size * e.after + f % e.after;
        FOR_LANES(k, &k->x[1], f, attr->size, type, &j)
            take_lanes(&k->x[0], first, e.after, &j, !k->x[1].lane, (char *)k->y + bytes_of(f * k->R + j.r, type),
                       type);
    }
}

// Adds feature f of x to the column sum [size][R], in lanes R apart.
AD_INLINE void put_lanes(const ad_kernel *k, int64_t f, int64_t size, void *sum, int64_t step, ad_type from,
                         ad_type to) {
    const ad_kernel_operand *x = &k->x[0];
    index_run j;
    FOR_LANES(k, &k->x[1], f, size, from, &j) {
        for (int r = 0; r < j.n; r++) {
            int64_t at = j.at[r] * step + j.r + r;
            if (j.at[r] >= 0)
                set(sum, at, get(sum, at, to) + get(x->data, f * x->stride + (j.r + r) * x->lane, from), to);
        }
    }
}

// y[b, index[b, i, a], a] += x[b, i, a]: sums of more than one element in double.
AD_INLINE void put_along(const ad_kernel *k, ad_type type) {
    const along_attr *attr = k->attr;
    const along_extent e = extent_of(k->x[0].shape, attr->axis);
    int64_t count = ad_count_of(k->shape), R = k->R, line = e.after * R;
    bool direct = e.n < 2 || type == AD_F64;
    if (direct && count) memset(k->y, 0, bytes_of(count * R, type));
    for (int64_t c = 0; c < e.before * e.after && count; c++) {
        int64_t b = c / e.after, a = c % e.after;
        char *y = (char *)k->y + bytes_of((b * attr->size * e.after + a) * R, type);
        if (!direct) memset(k->scratch, 0, bytes_of(attr->size * R, AD_F64));
        for (int64_t i = 0; i < e.n; i++) {
            int64_t f = (b * e.n + i) * e.after + a;
            if (direct) put_lanes(k, f, attr->size, y, line, type, type);
            else put_lanes(k, f, attr->size, k->scratch, R, type, AD_F64);
        }
        for (int64_t s = 0; s < attr->size && !direct; s++)
            for (int64_t r = 0; r < R; r++) set(y, s * line + r, get(k->scratch, s * R + r, AD_F64), type);
    }
}

static size_t put_along_scratch(const ad_kernel *k, ad_type type) {
    const along_attr *attr = k->attr;
    bool direct = k->x[0].shape->dim[attr->axis] < 2 || type == AD_F64;
    return direct ? 0 : bytes_of(attr->size * k->R, AD_F64);
}

static void take_along_f32(const ad_kernel *k) { take_along(k, AD_F32); }
static void take_along_f64(const ad_kernel *k) { take_along(k, AD_F64); }
static void put_along_f32(const ad_kernel *k) { put_along(k, AD_F32); }
static void put_along_f64(const ad_kernel *k) { put_along(k, AD_F64); }

// ---- rows of a matrix -----------------------------------------------------------------------------------------------

// y[s, d] = W[index[s], d]
AD_INLINE void embedding(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *W = &k->x[0], *index = &k->x[1];
    int64_t N = W->shape->dim[0], D = W->shape->dim[1], S = ad_count_of(index->shape), R = k->R;
    index_run j;
    for (int64_t s = 0; s < S; s++) {
        char *y = (char *)k->y + bytes_of(s * D * R, type);
        FOR_LANES(k, index, s, N, type, &j) {
            if (R == 1 && j.good) {
                memcpy(y, (const char *)W->data + bytes_of(j.at[0] * D, type), bytes_of(D, type));
                continue;
            }
            for (int64_t d = 0; d < D; d++)
                for (int r = 0; r < j.n; r++)
                    set(y, d * R + j.r + r, j.good || j.at[r] >= 0 ? get(W->data, j.at[r] * D + d, type) : (double)NAN,
                        type);
        }
    }
}

// y[index[s], d] += g[s, d], over all s and live lanes, in y's type.
AD_INLINE void put_rows(const ad_kernel *k, ad_type from, ad_type to) {
    const ad_kernel_operand *g = &k->x[0], *index = &k->x[1];
    int64_t N = k->shape->dim[0], D = k->shape->dim[1], S = ad_count_of(index->shape);
    index_run j;
    for (int64_t s = 0; s < S; s++) {
        FOR_LANES(k, index, s, N, from, &j) {
            for (int r = 0; r < j.n && j.r + r < k->live; r++) {
                const void *line = (const char *)g->data + bytes_of(s * D * g->stride + (j.r + r) * g->lane, from);
                for (int64_t d = 0; d < D && j.at[r] >= 0; d++) {
                    int64_t at = j.at[r] * D + d;
                    set(k->y, at, get(k->y, at, to) + get(line, d * g->stride, from), to);
                }
            }
        }
    }
}

AD_INLINE void embedding_rows_adjoint(const ad_kernel *k, ad_type type) {
    if (k->first) memset(k->y, 0, bytes_of(ad_count_of(k->shape), AD_F64));
    put_rows(k, type, AD_F64);
}

// A shared index: sums in double, then to y.
AD_INLINE void embedding_adjoint(const ad_kernel *k, ad_type type) {
    int64_t n = ad_count_of(k->shape);
    ad_kernel wide = *k;
    wide.y = k->scratch;
    if (n) memset(wide.y, 0, bytes_of(n, AD_F64));
    put_rows(&wide, type, AD_F64);
    for (int64_t i = 0; i < n; i++) set(k->y, i, get(wide.y, i, AD_F64), type);
}

static size_t embedding_adjoint_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    return bytes_of(ad_count_of(k->shape), AD_F64);
}

static void embedding_f32(const ad_kernel *k) { embedding(k, AD_F32); }
static void embedding_f64(const ad_kernel *k) { embedding(k, AD_F64); }
static void embedding_adjoint_f32(const ad_kernel *k) { embedding_adjoint(k, AD_F32); }
static void embedding_adjoint_f64(const ad_kernel *k) { embedding_adjoint(k, AD_F64); }
static void embedding_rows_adjoint_f32(const ad_kernel *k) { embedding_rows_adjoint(k, AD_F32); }
static void embedding_rows_adjoint_f64(const ad_kernel *k) { embedding_rows_adjoint(k, AD_F64); }

// ---- one_hot --------------------------------------------------------------------------------------------------------

AD_INLINE void one_hot(const ad_kernel *k, ad_type type) {
    const ad_kernel_operand *index = &k->x[0];
    int64_t n = k->shape->dim[k->shape->rank - 1], S = ad_count_of(index->shape), R = k->R;
    index_run j;
    for (int64_t s = 0; s < S; s++) {
        char *y = (char *)k->y + bytes_of(s * n * R, type);
        FOR_LANES(k, index, s, n, type, &j)
            for (int64_t i = 0; i < n; i++)
                for (int r = 0; r < j.n; r++) set(y, i * R + j.r + r, j.at[r] == i ? 1 : 0, type);
    }
}
static void one_hot_f32(const ad_kernel *k) { one_hot(k, AD_F32); }
static void one_hot_f64(const ad_kernel *k) { one_hot(k, AD_F64); }

// ---- shapes ---------------------------------------------------------------------------------------------------------

// The public calls have spread x and index over each other.
static bool take_along_shape(ad_shape_call *c) {
    c->y = c->x[1];
    return true;
}
static bool put_along_shape(ad_shape_call *c) {
    const along_attr *attr = c->attr;
    c->y = c->x[0];
    c->y.dim[attr->axis] = (int32_t)attr->size;
    return true;
}

static bool embedding_shape(ad_shape_call *c) {
    if (c->rows[0]) return ad_shape_fail(c, "W has rows: expected a shared matrix");
    if (c->x[0].rank != 2) return ad_shape_fail(c, "expected a matrix W [N,D]");
    if (c->x[1].rank == AD_MAX_RANK) return ad_shape_fail(c, "expected an index of at most %d axes", AD_MAX_RANK - 1);
    c->y = c->x[1];
    c->y.dim[c->y.rank++] = c->x[0].dim[1];
    return true;
}
static bool embedding_adjoint_shape(ad_shape_call *c) {
    const int64_t *N = c->attr;
    c->y = (ad_shape){2, {(int32_t)*N, c->x[0].dim[c->x[0].rank - 1]}};
    return true;
}

static bool one_hot_shape(ad_shape_call *c) {
    const int64_t *n = c->attr;
    if (c->x[0].rank == AD_MAX_RANK) return ad_shape_fail(c, "expected an index of at most %d axes", AD_MAX_RANK - 1);
    c->y = c->x[0];
    c->y.dim[c->y.rank++] = (int32_t)*n;
    return true;
}

// ---- gradients ------------------------------------------------------------------------------------------------------
// Linear in what is not an index: each op is the other's adjoint.

static const ad_op take_along_op, put_along_op, embedding_op, embedding_adjoint_op, embedding_rows_adjoint_op;

static ad_var apply2(const ad_op *op, ad_var a, ad_var index, const void *attr, size_t size) {
    ad_var x[] = {a, index};
    return ad_apply(op, x, 2, attr, size);
}

static void take_along_vjp(const ad_vjp_call *c) {
    if (c->need[0]) c->gx[0] = apply2(&put_along_op, c->gy, c->x[1], c->attr, sizeof(along_attr));
}
static void put_along_vjp(const ad_vjp_call *c) {
    if (c->need[0]) c->gx[0] = apply2(&take_along_op, c->gy, c->x[1], c->attr, sizeof(along_attr));
}
static void embedding_vjp(const ad_vjp_call *c) {
    int64_t N = ad_shape_of(c->x[0]).dim[0];
    const ad_op *op = ad_has_rows(c->y) ? &embedding_rows_adjoint_op : &embedding_adjoint_op;
    if (c->need[0]) c->gx[0] = apply2(op, c->gy, c->x[1], &N, sizeof N);
}
static void embedding_adjoint_vjp(const ad_vjp_call *c) {
    if (c->need[0]) c->gx[0] = apply2(&embedding_op, c->gy, c->x[1], NULL, 0);
}

// ---- tests ----------------------------------------------------------------------------------------------------------
// Differences cannot step across whole numbers: indices are constants, or depend on the sign of an input.

static const double zero[] = {0};
#define SIGN {.shape = {0, {0}}, .rows = true, .kinks = zero, .n_kinks = 1}

// [2,2] of 0, 1, 2.
static ad_var shared_index(ad_var x) { return ad_constant(x.tape, ad_shape2(2, 2), (const double[]){2, 0, 2, 1}); }
// The same, other numbers where s is positive.
static ad_var index_by(ad_var s) {
    ad_var zeros = ad_fill(s.tape, ad_shape2(2, 2), 0);
    return ad_where(ad_greater(s, zeros), shared_index(s),
                    ad_constant(s.tape, ad_shape2(2, 2), (const double[]){0, 1, 1, 1}));
}

static ad_var take_along_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_take_along(x[0], -1, index_by(x[1])));
}
static ad_var take_along_shared_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_take_along(x[0], 0, shared_index(x[0])));
}
static ad_var put_along_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_put_along(x[0], 0, index_by(x[1]), 3));
}
static ad_var put_along_shared_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_put_along(x[0], 1, shared_index(x[0]), 4));
}
static ad_var embedding_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_embedding(x[0], index_by(x[1])));
}
static ad_var embedding_shared_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_embedding(x[0], shared_index(x[0])));
}
static ad_var one_hot_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_one_hot(index_by(x[1]), 3));
}

static const ad_op_test take_along_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 3}}, .rows = true}, SIGN}, .f = take_along_test},
    {.n = 2, .x = {{.shape = {2, {1, 3}}}, SIGN}, .f = take_along_test},
    {.n = 1, .x = {{.shape = {2, {3, 2}}, .rows = true}}, .f = take_along_shared_test},
    {.n = 1, .x = {{.shape = {2, {3, 1}}}}, .f = take_along_shared_test},
};
static const ad_op_test put_along_tests[] = {
    {.n = 2, .x = {{.shape = {2, {2, 2}}, .rows = true}, SIGN}, .f = put_along_test},
    {.n = 2, .x = {{.shape = {2, {2, 1}}}, SIGN}, .f = put_along_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}, .rows = true}}, .f = put_along_shared_test},
    {.n = 1, .x = {{.shape = {2, {2, 2}}}}, .f = put_along_shared_test},
};
static const ad_op_test embedding_tests[] = {
    {.n = 2, .x = {{.shape = {2, {3, 2}}}, SIGN}, .f = embedding_test},
    {.n = 1, .x = {{.shape = {2, {4, 3}}}}, .f = embedding_shared_test},
};
static const ad_op_test one_hot_tests[] = {{.n = 2, .x = {{.shape = {1, {3}}, .rows = true}, SIGN}, .f = one_hot_test}};

// ---- descriptors ----------------------------------------------------------------------------------------------------

static const ad_op take_along_op = {.name = "take_along",
                                    .flags = AD_OP_STRIDED,
                                    .shape = take_along_shape,
                                    .vjp = take_along_vjp,
                                    .kernel = {take_along_f32, take_along_f64},
                                    AD_TESTS(take_along_tests)};
static const ad_op put_along_op = {.name = "put_along",
                                   .flags = AD_OP_STRIDED,
                                   .shape = put_along_shape,
                                   .vjp = put_along_vjp,
                                   .kernel = {put_along_f32, put_along_f64},
                                   .scratch = put_along_scratch,
                                   AD_TESTS(put_along_tests)};
static const ad_op embedding_op = {.name = "embedding",
                                   .flags = AD_OP_STRIDED,
                                   .shape = embedding_shape,
                                   .vjp = embedding_vjp,
                                   .kernel = {embedding_f32, embedding_f64},
                                   AD_TESTS(embedding_tests)};
static const ad_op embedding_adjoint_op = {.name = "embedding_adjoint",
                                           .flags = AD_OP_STRIDED,
                                           .shape = embedding_adjoint_shape,
                                           .vjp = embedding_adjoint_vjp,
                                           .kernel = {embedding_adjoint_f32, embedding_adjoint_f64},
                                           .scratch = embedding_adjoint_scratch,
                                           AD_TESTS(embedding_tests)};
static const ad_op embedding_rows_adjoint_op = {.name = "embedding_rows_adjoint",
                                                .flags = AD_OP_STRIDED | AD_OP_REDUCES_ROWS | AD_OP_F64_SUM,
                                                .shape = embedding_adjoint_shape,
                                                .vjp = embedding_adjoint_vjp,
                                                .kernel = {embedding_rows_adjoint_f32, embedding_rows_adjoint_f64},
                                                AD_TESTS(embedding_tests)};
static const ad_op one_hot_op = {.name = "one_hot", .flags = AD_OP_STRIDED | AD_OP_CONSTANT, .shape = one_hot_shape,
                                 .kernel = {one_hot_f32, one_hot_f64}, AD_TESTS(one_hot_tests)};

AD_FAMILY(gather) = {&take_along_op,        &put_along_op,
                     &embedding_op,         &embedding_adjoint_op,
                     &embedding_rows_adjoint_op, &one_hot_op, NULL};

// ---- recording ------------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
static bool same_tape(ad_var x, ad_var index, const char *what) {
    if (x.tape != index.tape) {
        ad_status status = ad_is_none(x) || ad_is_none(index) ? AD_EARG : AD_EMIX;
        if (x.tape) ad_tape_fail(x.tape, status, "%s: operand and index are not on one tape", what);
        if (index.tape) ad_tape_fail(index.tape, status, "%s: operand and index are not on one tape", what);
        return false;
    }
    return ad_check_var(x, what) && ad_check_var(index, what);
}

// x and index spread over each other, but along the axis where `free` says that they differ there. False with the error
// on the tape.
static bool spread_both(ad_var *x, ad_var *index, int64_t a, bool free, const char *what) {
    ad_shape s = ad_shape_of(*x), t = ad_shape_of(*index), u = s, v = t, joint;
    if (free) u.dim[a] = v.dim[a] = 1;
    if (s.rank != t.rank || !ad_shape_broadcast(u, v, &joint)) {
        char one[64], two[64];
        ad_tape_fail(x->tape, AD_ESHAPE, "%s: index of shape %s for an operand of shape %s along axis %lld", what,
                     ad_shape_print(t, one, sizeof one), ad_shape_print(s, two, sizeof two), (long long)a);
        return false;
    }
    u = v = joint;
    if (free) u.dim[a] = s.dim[a], v.dim[a] = t.dim[a];
    *x = ad_expand(*x, u), *index = ad_expand(*index, v);
    return ad_ok(*x) && ad_ok(*index);
}

ad_var ad_take_along(ad_var x, int axis, ad_var index) {
    ad_tape *t = x.tape ? x.tape : index.tape;
    int64_t a = same_tape(x, index, "take_along") ? ad_check_axis(x, axis, "take_along") : -1;
    if (a < 0 || !spread_both(&x, &index, a, true, "take_along")) return ad_inert(t);
    along_attr attr = {a, ad_shape_of(x).dim[a]};
    return apply2(&take_along_op, x, index, &attr, sizeof attr);
}

ad_var ad_put_along(ad_var x, int axis, ad_var index, int64_t size) {
    ad_tape *t = x.tape ? x.tape : index.tape;
    int64_t a = same_tape(x, index, "put_along") ? ad_check_axis(x, axis, "put_along") : -1;
    if (a < 0 || !spread_both(&x, &index, a, false, "put_along")) return ad_inert(t);
    if (size < 0 || size > INT32_MAX) {
        ad_tape_fail(t, AD_EARG, "put_along: %lld elements along axis %d", (long long)size, axis);
        return ad_inert(t);
    }
    along_attr attr = {a, size};
    return apply2(&put_along_op, x, index, &attr, sizeof attr);
}

ad_var ad_embedding(ad_var W, ad_var index) { return apply2(&embedding_op, W, index, NULL, 0); }

ad_var ad_one_hot(ad_var index, int64_t n) {
    if (!ad_check_var(index, "one_hot")) return ad_inert(index.tape);
    if (n < 0 || n > INT32_MAX) {
        ad_tape_fail(index.tape, AD_EARG, "one_hot: %lld elements", (long long)n);
        return ad_inert(index.tape);
    }
    return ad_apply(&one_hot_op, &index, 1, &n, sizeof n);
}
#endif
