// shape_program.h -- for tests: random programs of shape ops, and what they compute, element by element.
//
// A program is a list of steps, each of one or two earlier values. It is recorded on a tape, and evaluated here by loops
// over coordinates, in doubles. Values are whole numbers, so that both must agree exactly. All steps are linear in the
// leaves but for the value that padding fills in, which counts as 0 where only the linear part is asked for.
#ifndef PULLBACK_TESTS_SHAPE_PROGRAM_H
#define PULLBACK_TESTS_SHAPE_PROGRAM_H

#include "util.h"

enum { MOST_STEPS = 14, MOST_INDICES = 6, MOST_ELEMENTS = 160, MOST_ROWS = 70 };

typedef enum step_kind {
    LEAF,
    RESHAPE, SLICE, SLICE_STEP, CONCAT, STACK, PAD, TILE, FLIP, INSERT_AXIS, SQUEEZE, TRANSPOSE, TAKE, SCATTER_ADD, DIAGONAL,
    DIAG, TRIL, TRIU, EXPAND, TO_ROWS, TAKE_ALONG, PUT_ALONG, ADD, SCALE, SUM_AXIS, SUM_ROWS,
    STEP_KINDS
} step_kind;

typedef struct shape_step {
    step_kind kind;
    int a, b;                       // operands: steps before; b: of CONCAT, STACK, ADD; the index's step otherwise
    int axis;
    int64_t start, length, by;      // slices; padding before and after; sizes and times
    double value;                   // of padding
    int order[AD_MAX_RANK];
    int64_t index[MOST_INDICES];    // of TAKE and SCATTER_ADD, length of them
    ad_shape shape;                 // of the result
    bool rows, index_leaf;          // index_leaf: a leaf of whole numbers 0 or 1
} shape_step;

typedef struct shape_program {
    shape_step step[MOST_STEPS];
    int n, rows;                    // steps; rows of the batch
} shape_program;

typedef struct shape_values {       // of all steps: [rows][count], one row for shared ones
    double *v[MOST_STEPS];
} shape_values;

// ---- making one -----------------------------------------------------------------------------------------------------

static inline int pick(uint64_t *seed, int n) { return (int)util_uniform(seed, 0, n); }

static inline ad_shape shape_of_dims(int rank, const int32_t *dim) {
    ad_shape s = {rank, {0}};
    for (int i = 0; i < rank; i++) s.dim[i] = dim[i];
    return s;
}

static inline ad_shape random_shape(uint64_t *seed) {
    static const int32_t dims[] = {1, 1, 2, 2, 3, 3, 4, 5};
    ad_shape s;
    do {
        s = (ad_shape){pick(seed, AD_MAX_RANK + 1), {0}};
        for (int i = 0; i < s.rank; i++) s.dim[i] = dims[pick(seed, 8)];
    } while (ad_shape_count(s) > MOST_ELEMENTS / 2);
    return s;
}

static inline ad_shape without(ad_shape s, int axis) {
    for (int i = axis; i + 1 < s.rank; i++) s.dim[i] = s.dim[i + 1];
    s.dim[--s.rank] = 0;
    return s;
}
static inline ad_shape with_axis(ad_shape s, int axis, int32_t dim) {
    for (int i = s.rank++; i > axis; i--) s.dim[i] = s.dim[i - 1];
    s.dim[axis] = dim;
    return s;
}

// Another shape of as many elements: factors of the count dealt out to axes.
static inline ad_shape reshaped(uint64_t *seed, ad_shape from) {
    int64_t n = ad_shape_count(from);
    ad_shape s = {pick(seed, AD_MAX_RANK + 1), {0}};
    for (int i = 0; i < s.rank; i++) s.dim[i] = 1;
    if (s.rank == 0) return n == 1 ? s : ad_shape1(n);
    if (n == 0) {
        for (int i = 0; i < s.rank; i++) s.dim[i] = 1 + pick(seed, 3);
        s.dim[pick(seed, s.rank)] = 0;
        return s;
    }
    for (int64_t f = 2; n > 1; f++)
        for (; n % f == 0; n /= f) s.dim[pick(seed, s.rank)] *= (int32_t)f;
    return s;
}

// A larger shape that s broadcasts to.
static inline ad_shape expanded(uint64_t *seed, ad_shape s) {
    for (int i = 0; i < s.rank; i++)
        if (s.dim[i] == 1) s.dim[i] = pick(seed, 8) ? 1 + pick(seed, 3) : 0;
    while (s.rank < AD_MAX_RANK && pick(seed, 2)) s = with_axis(s, 0, 1 + pick(seed, 3));
    return s;
}

// Fills in a step of kind t->kind on operand t->a; false where it does not fit there.
static inline bool complete_step(uint64_t *seed, const shape_program *p, shape_step *t) {
    ad_shape s = p->step[t->a].shape;
    int r = s.rank;
    t->axis = r ? pick(seed, r) : 0;
    int64_t d = r ? s.dim[t->axis] : 0;
    t->shape = s, t->rows = p->step[t->a].rows;
    switch (t->kind) {
        case RESHAPE: t->shape = reshaped(seed, s); return true;
        case SLICE:
            t->start = pick(seed, (int)d + 1), t->length = pick(seed, (int)(d - t->start) + 1);
            t->shape.dim[t->axis] = (int32_t)t->length;
            return r > 0;
        case SLICE_STEP:
            if (!r || !d) return false;
            t->start = pick(seed, (int)d), t->by = (pick(seed, 2) ? 1 : -1) * (1 + pick(seed, 3));
            t->length = pick(seed, (int)(t->by > 0 ? (d - 1 - t->start) / t->by : t->start / -t->by) + 2);
            t->shape.dim[t->axis] = (int32_t)t->length;
            return true;
        case CONCAT:
        case STACK:
        case ADD: {
            ad_shape other = p->step[t->b].shape;
            t->rows = t->rows || p->step[t->b].rows;
            if (t->kind == STACK) t->axis = pick(seed, r + 1);
            if (t->kind == CONCAT && (!r || other.rank != r)) return false;
            if (t->kind == CONCAT) {
                t->shape.dim[t->axis] += other.dim[t->axis];
                other.dim[t->axis] = s.dim[t->axis];
            }
            if (!ad_shape_equal(s, other)) return false;
            if (t->kind == STACK && r == AD_MAX_RANK) return false;
            if (t->kind == STACK) t->shape = with_axis(s, t->axis, 2);
            return true;
        }
        case PAD:
            t->start = pick(seed, 3), t->length = pick(seed, 3), t->value = pick(seed, 2) ? 0 : 1 + pick(seed, 5);
            if (r) t->shape.dim[t->axis] += (int32_t)(t->start + t->length);
            return r > 0;
        case TILE:
            t->by = pick(seed, 8) ? 1 + pick(seed, 3) : 0;
            if (r) t->shape.dim[t->axis] *= (int32_t)t->by;
            return r > 0;
        case FLIP: return r > 0;
        case INSERT_AXIS:
            t->axis = pick(seed, r + 1);
            if (r < AD_MAX_RANK) t->shape = with_axis(s, t->axis, 1);
            return r < AD_MAX_RANK;
        case SQUEEZE:
            if (d == 1) t->shape = without(s, t->axis);
            return d == 1;
        case TRANSPOSE:
            for (int i = 0; i < r; i++) t->order[i] = i;
            for (int i = r - 1; i > 0; i--) {
                int j = pick(seed, i + 1), o = t->order[i];
                t->order[i] = t->order[j], t->order[j] = o;
            }
            for (int i = 0; i < r; i++) t->shape.dim[i] = s.dim[t->order[i]];
            return true;
        case TAKE:
            t->length = pick(seed, MOST_INDICES + 1);
            if (!d) return false;
            for (int i = 0; i < t->length; i++) t->index[i] = pick(seed, (int)d);
            t->shape.dim[t->axis] = (int32_t)t->length;
            return true;
        case SCATTER_ADD:
            if (!r || d > MOST_INDICES) return false;
            t->length = d, t->by = 1 + pick(seed, 5);
            for (int i = 0; i < d; i++) t->index[i] = pick(seed, (int)t->by);
            t->shape.dim[t->axis] = (int32_t)t->by;
            return true;
        case DIAGONAL:
            if (r >= 2) t->shape = without(s, r - 1);
            return r >= 2 && s.dim[r - 1] == s.dim[r - 2];
        case DIAG:
            if (r >= 1 && r < AD_MAX_RANK) t->shape = with_axis(s, r, s.dim[r - 1]);
            return r >= 1 && r < AD_MAX_RANK;
        case TRIL:
        case TRIU: t->by = pick(seed, 9) - 4; return r >= 2;
        case EXPAND: t->shape = expanded(seed, s); return true;
        case TO_ROWS:
            t->rows = true;
            return !p->step[t->a].rows;
        case TAKE_ALONG:
        case PUT_ALONG: {
            ad_shape index = p->step[t->b].shape;
            if (!r || !p->step[t->b].index_leaf || index.rank != r || (t->kind == TAKE_ALONG && d < 2)) return false;
            t->rows = t->rows || p->step[t->b].rows;
            for (int i = 0; i < r; i++) {
                bool free = t->kind == TAKE_ALONG && i == t->axis;
                if (!free && s.dim[i] != index.dim[i] && s.dim[i] != 1 && index.dim[i] != 1) return false;
                t->shape.dim[i] = free || s.dim[i] == 1 ? index.dim[i] : s.dim[i];
            }
            t->by = 2 + pick(seed, 3);
            if (t->kind == PUT_ALONG) t->shape.dim[t->axis] = (int32_t)t->by;
            return true;
        }
        case SCALE: t->value = pick(seed, 5) - 2; return true;
        case SUM_AXIS:
            if (r) t->shape = without(s, t->axis);
            return r > 0;
        case SUM_ROWS:
            t->rows = false;
            return p->step[t->a].rows;
        default: return false;
    }
}

static inline shape_program random_program(uint64_t *seed, int steps) {
    static const int row_counts[] = {1, 2, 3, 5, 32, 33, MOST_ROWS};
    shape_program p = {.rows = row_counts[pick(seed, 7)]};
    int leaves = 2 + pick(seed, 3);
    for (; p.n < leaves; p.n++)
        p.step[p.n] = (shape_step){.kind = LEAF, .shape = random_shape(seed), .rows = pick(seed, 2), .index_leaf = p.n == 0};
    if (pick(seed, 2)) p.step[1].shape = p.step[0].shape;  // so that the index fits something
    for (int tries = 0; p.n < leaves + steps && tries < 400; tries++) {
        shape_step t = {.kind = LEAF + 1 + pick(seed, STEP_KINDS - 1)};
        bool last = pick(seed, 3) && p.n > leaves;
        t.a = last ? p.n - 1 : 1 + pick(seed, p.n - 1);  // not the index
        t.b = t.kind == TAKE_ALONG || t.kind == PUT_ALONG ? 0 : pick(seed, 3) ? 1 + pick(seed, p.n - 1) : t.a;
        if (!complete_step(seed, &p, &t)) continue;
        int64_t count = ad_shape_count(t.shape);
        if (count >= 0 && count <= MOST_ELEMENTS) p.step[p.n++] = t;
    }
    return p;
}

// ---- evaluating one -------------------------------------------------------------------------------------------------

static inline int64_t flat(ad_shape s, const int64_t *c) {
    int64_t f = 0;
    for (int i = 0; i < s.rank; i++) f = f * s.dim[i] + c[i];
    return f;
}
static inline void unflat(ad_shape s, int64_t f, int64_t *c) {
    for (int i = s.rank - 1; i >= 0; i--) c[i] = f % s.dim[i], f /= s.dim[i];
}

static inline const double *row_of(const shape_program *p, const shape_values *v, int step, int row) {
    return v->v[step] + (p->step[step].rows ? row * ad_shape_count(p->step[step].shape) : 0);
}

// Element at c of a tensor broadcast to c's shape, aligned at the last axis.
static inline double broadcast_at(const double *x, ad_shape s, const int64_t *c, int rank) {
    int64_t d[AD_MAX_RANK] = {0};
    for (int i = 0; i < s.rank; i++) d[i] = s.dim[i] == 1 ? 0 : c[rank - s.rank + i];
    return x[flat(s, d)];
}

// The element of the result at c, of steps that copy.
static inline double copied(const shape_program *p, const shape_values *v, const shape_step *t, int row, const int64_t *c,
                            bool linear) {
    ad_shape s = p->step[t->a].shape;
    const double *x = row_of(p, v, t->a, row);
    int64_t d[AD_MAX_RANK + 1] = {0};
    for (int i = 0; i < s.rank && i < t->shape.rank; i++) d[i] = c[i];
    switch (t->kind) {
        case RESHAPE: return x[flat(t->shape, c)];
        case SLICE: d[t->axis] += t->start; break;
        case SLICE_STEP: d[t->axis] = t->start + t->by * c[t->axis]; break;
        case CONCAT:
            d[t->axis] -= s.dim[t->axis];
            if (d[t->axis] >= 0) return row_of(p, v, t->b, row)[flat(p->step[t->b].shape, d)];
            d[t->axis] = c[t->axis];
            break;
        case STACK:
        case INSERT_AXIS:
            for (int i = t->axis; i < s.rank; i++) d[i] = c[i + 1];
            if (t->kind == STACK && c[t->axis]) x = row_of(p, v, t->b, row);
            break;
        case PAD:
            d[t->axis] -= t->start;
            if (d[t->axis] < 0 || d[t->axis] >= s.dim[t->axis]) return linear ? 0 : t->value;
            break;
        case TILE: d[t->axis] %= s.dim[t->axis]; break;
        case FLIP: d[t->axis] = s.dim[t->axis] - 1 - d[t->axis]; break;
        case SQUEEZE:
            d[t->axis] = 0;
            for (int i = t->axis + 1; i < s.rank; i++) d[i] = c[i - 1];
            break;
        case TRANSPOSE:
            for (int i = 0; i < s.rank; i++) d[t->order[i]] = c[i];
            break;
        case TAKE: d[t->axis] = t->index[c[t->axis]]; break;
        case DIAGONAL: d[s.rank - 1] = c[s.rank - 2]; break;
        case DIAG:
            if (c[s.rank] != c[s.rank - 1]) return 0;
            break;
        case TRIL:
            if (c[s.rank - 1] - c[s.rank - 2] > t->by) return 0;
            break;
        case TRIU:
            if (c[s.rank - 1] - c[s.rank - 2] < t->by) return 0;
            break;
        case EXPAND: return broadcast_at(x, s, c, t->shape.rank);
        case TO_ROWS: break;
        case TAKE_ALONG: {
            d[t->axis] = (int64_t)broadcast_at(row_of(p, v, t->b, row), p->step[t->b].shape, c, s.rank);
            for (int i = 0; i < s.rank; i++)
                if (s.dim[i] == 1 && i != t->axis) d[i] = 0;
            break;
        }
        case ADD: return x[flat(s, d)] + row_of(p, v, t->b, row)[flat(s, d)];
        case SCALE: return t->value * x[flat(s, d)];
        case SUM_AXIS: {
            double sum = 0;
            for (int i = s.rank - 1; i > t->axis; i--) d[i] = c[i - 1];
            for (d[t->axis] = 0; d[t->axis] < s.dim[t->axis]; d[t->axis]++) sum += x[flat(s, d)];
            return sum;
        }
        default: fail_msg("no such step");
    }
    return x[flat(s, d)];
}

// Steps that add: every element of the operand to where it belongs.
static inline void added(const shape_program *p, const shape_values *v, const shape_step *t, int row, double *y) {
    ad_shape s = p->step[t->a].shape, index = p->step[t->b].shape, from = s;
    if (t->kind == PUT_ALONG)
        for (int i = 0; i < s.rank; i++) from.dim[i] = s.dim[i] == 1 ? index.dim[i] : s.dim[i];
    for (int64_t f = 0; f < ad_shape_count(from); f++) {
        int64_t c[AD_MAX_RANK], d[AD_MAX_RANK];
        unflat(from, f, c);
        memcpy(d, c, sizeof d);
        d[t->axis] = t->kind == SCATTER_ADD ? t->index[c[t->axis]]
                                            : (int64_t)broadcast_at(row_of(p, v, t->b, row), index, c, s.rank);
        y[flat(t->shape, d)] += broadcast_at(row_of(p, v, t->a, row), s, c, s.rank);
    }
}

// All steps from the leaves, whose values are set.
static inline void evaluate_program(const shape_program *p, shape_values *v, bool linear) {
    for (int i = 0; i < p->n; i++) {
        const shape_step *t = &p->step[i];
        int64_t n = ad_shape_count(t->shape);
        if (t->kind == LEAF) continue;
        for (int r = 0; r < (t->rows ? p->rows : 1); r++) {
            double *y = v->v[i] + r * n;
            memset(y, 0, (size_t)n * sizeof *y);
            for (int k = 0; k < p->rows && t->kind == SUM_ROWS; k++)
                for (int64_t f = 0; f < n; f++) y[f] += row_of(p, v, t->a, k)[f];
            if (t->kind == SUM_ROWS) continue;
            if (t->kind == SCATTER_ADD || t->kind == PUT_ALONG) {
                added(p, v, t, r, y);
                continue;
            }
            for (int64_t f = 0; f < n; f++) {
                int64_t c[AD_MAX_RANK];
                unflat(t->shape, f, c);
                y[f] = copied(p, v, t, r, c, linear);
            }
        }
    }
}

// ---- recording one --------------------------------------------------------------------------------------------------

static inline ad_var record_step(const shape_step *t, ad_var a, ad_var b, ad_rows rows) {
    const ad_var both[] = {a, b};
    int from_end = t->axis - (int)ad_shape_of(a).rank;  // the same axis
    switch (t->kind) {
        case RESHAPE: return ad_reshape(a, t->shape);
        case SLICE: return ad_slice(a, from_end, t->start, t->length);
        case SLICE_STEP: return ad_slice_step(a, from_end, t->start, t->length, t->by);
        case CONCAT: return ad_concat(both, 2, from_end);
        case STACK: return ad_stack(both, 2, from_end - 1);
        case PAD: return ad_pad(a, t->axis, t->start, t->length, t->value);
        case TILE: return ad_tile(a, from_end, t->by);
        case FLIP: return ad_flip(a, t->axis);
        case INSERT_AXIS: return ad_insert_axis(a, from_end - 1);
        case SQUEEZE: return ad_squeeze(a, from_end);
        case TRANSPOSE: return ad_transpose(a, t->order);
        case TAKE: return ad_take(a, from_end, t->index, t->length);
        case SCATTER_ADD: return ad_scatter_add(a, t->axis, t->index, t->length, t->by);
        case DIAGONAL: return ad_diagonal(a);
        case DIAG: return ad_diag(a);
        case TRIL: return ad_tril(a, (int)t->by);
        case TRIU: return ad_triu(a, (int)t->by);
        case EXPAND: return ad_expand(a, t->shape);
        case TO_ROWS: return ad_to_rows(a, rows);
        case TAKE_ALONG: return ad_take_along(a, from_end, b);
        case PUT_ALONG: return ad_put_along(a, t->axis, b, t->by);
        case ADD: return ad_add(a, b);
        case SCALE: return ad_scale(a, t->value);
        case SUM_AXIS: return ad_sum_axis(a, t->axis);
        case SUM_ROWS: return ad_sum_rows(a);
        default: return AD_NONE;
    }
}

static inline void print_program(const shape_program *p) {
    static const char *const names[] = {"leaf",   "reshape", "slice",      "slice_step", "concat",      "stack",    "pad",
                                        "tile",   "flip",    "insert_axis", "squeeze",   "transpose",   "take",     "scatter_add",
                                        "diagonal", "diag",  "tril",       "triu",       "expand",      "to_rows",  "take_along",
                                        "put_along", "add",  "scale",      "sum_axis",   "sum_rows"};
    print_error("%d rows\n", p->rows);
    for (int i = 0; i < p->n; i++) {
        const shape_step *t = &p->step[i];
        char text[64];
        print_error("  %d: %s(%d, %d) axis %d, start %d, length %d, by %d, value %g -> %s%s\n", i, names[t->kind], t->a, t->b,
                    t->axis, (int)t->start, (int)t->length, (int)t->by, t->value,
                    ad_shape_print(t->shape, text, sizeof text), t->rows ? " per row" : "");
    }
}

#endif
