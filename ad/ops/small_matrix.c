// small_matrix.c -- linear systems: shared matrices by LAPACK, small ones per row a lane each.
//
// A matrix is factored once a step (ad_lu_factor, found again by its record) and what follows uses the factors:
// solutions, inverses, determinants, their gradients. All arithmetic is f64, rounded when stored. A lane's operations
// are its own and the same on every instruction set (no fma), so its bits depend on nothing else.
#include <float.h>

#include "lanes.h"
#include "matrix.h"

enum { GROUP = 4 };  // vectors of lanes in flight: one would wait for its own sums

static int64_t columns_of(const ad_shape *b) {
    return b->rank > 1 ? b->dim[1] : 1;
}

// ---- factors -------------------------------------------------------------------------------------------------------

// Lanes in which the largest of the rows from k on is not row k: exchanged with it. a [D][D], permutation [D].
AD_INLINE void pivot(int64_t D, int64_t k, vd *a, vd *permutation) {
    vd best = vd_abs(a[k * D + k]), row = vd_set((double)k);
    double rows[VD];
    unsigned moves = 0;
    for (int64_t i = k + 1; i < D; i++) {
        vd m = vd_abs(a[i * D + k]);
        row = vd_if_less(best, m, vd_set((double)i), row);
        best = vd_max(m, best);
    }
    vd_store(rows, row);
    for (int l = 0; l < VD; l++) moves |= 1u << (int)rows[l];
    for (int64_t i = k + 1; i < D; i++) {
        if (!(moves >> i & 1)) continue;
        vd off = vd_abs(row - vd_set((double)i)), half = vd_set(0.5), p = permutation[i], q = permutation[k];
        permutation[k] = vd_if_less(off, half, p, q);
        permutation[i] = vd_if_less(off, half, q, p);
        for (int64_t j = 0; j < D; j++) {
            vd x = a[k * D + j], y = a[i * D + j];
            a[k * D + j] = vd_if_less(off, half, y, x);
            a[i * D + j] = vd_if_less(off, half, x, y);
        }
    }
}

// A pivot of 0 has zeros below it: they stay.
AD_INLINE void factor_lanes(int64_t D, vd *a, vd *permutation) {
    for (int64_t i = 0; i < D; i++) permutation[i] = vd_set((double)i);
    for (int64_t k = 0; k < D; k++) {
        pivot(D, k, a, permutation);
        vd u = a[k * D + k], inverse = vd_if_less(vd_abs(u), vd_set(DBL_MIN), vd_set(0), vd_set(1) / u);
        for (int64_t i = k + 1; i < D; i++) {
            vd l = a[i * D + k] * inverse;
            a[i * D + k] = l;
            for (int64_t j = k + 1; j < D; j++) a[i * D + j] = a[i * D + j] - l * a[k * D + j];
        }
    }
}

// Element f of A in lanes r .. into a; bad is NaN in lanes where one is not finite.
AD_INLINE void load_matrix(const ad_kernel *k, int64_t n, int64_t r, vd *a, vd *bad, ad_type type) {
    *bad = vd_set(0);
    for (int64_t f = 0; f < n; f++) {
        a[f] = lanes_load(&k->x[0], f, r, k->R - r, type);
        *bad = *bad + (a[f] - a[f]);
    }
}

// An A that is not finite gets a pivot that is NaN: what uses the factors reports it.
AD_INLINE void lu_factor_rows_kernel(const ad_kernel *k, ad_type type) {
    int64_t D = k->shape->dim[1];
    vd *a = k->scratch, *permutation = a + D * D, bad;
    for (int64_t r = 0; r < k->R; r += VD) {
        load_matrix(k, D * D, r, a, &bad, type);
        factor_lanes(D, a, permutation);
        if (D > 0) a[0] = a[0] + bad;
        for (int64_t f = 0; f < (D + 1) * D; f++) lanes_store(k->y, f * k->R + r, a[f], k->R - r, type);
    }
}

static void lu_factor_rows_f32(const ad_kernel *k) {
    lu_factor_rows_kernel(k, AD_F32);
}
static void lu_factor_rows_f64(const ad_kernel *k) {
    lu_factor_rows_kernel(k, AD_F64);
}

static size_t lu_factor_rows_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    return (size_t)ad_count_of(k->shape) * sizeof(vd);
}

static bool lu_factor_rows_shape(ad_shape_call *call) {
    call->y = call->x[0];
    call->y.dim[0]++;
    return true;
}

// ---- triangular matrices -------------------------------------------------------------------------------------------

typedef struct half {  // of the matrix a, as solve_triangular's flags say
    const ad_kernel_operand *a;
    int64_t D;
    bool upper, unit, transposed;
} half;

// Element (i, j) in vector v of the lanes from r on. lane: a has rows; full: all vectors are there.
AD_INLINE vd at(const half *h, int64_t i, int64_t j, int v, int64_t r, int64_t lanes, const bool lane, const bool full,
                ad_type type) {
    if (!lane) return vd_set(lanes_get(h->a, i * h->D + j, 0, type));
    return lanes_load(h->a, i * h->D + j, r + v * VD, full ? VD : lanes - v * VD, type);
}

// x [D][GROUP] becomes the solution. Both forms read a along its rows.
AD_INLINE void substitute_rows(const half *h, int64_t r, int64_t lanes, vd *x, const bool lane, const bool full,
                               ad_type type) {
    for (int64_t s = 0; s < h->D; s++) {
        int64_t i = h->upper ? h->D - 1 - s : s, from = h->upper ? i + 1 : 0, to = h->upper ? h->D : i;
        vd sum[GROUP];
        for (int v = 0; v < GROUP; v++) sum[v] = x[i * GROUP + v];
        for (int64_t j = from; j < to; j++)
            for (int v = 0; v < GROUP; v++)
                sum[v] = sum[v] - at(h, i, j, v, r, lanes, lane, full, type) * x[j * GROUP + v];
        for (int v = 0; v < GROUP; v++) {
            if (!h->unit) sum[v] = sum[v] / at(h, i, i, v, r, lanes, lane, full, type);
            x[i * GROUP + v] = sum[v];
        }
    }
}

AD_INLINE void substitute_columns(const half *h, int64_t r, int64_t lanes, vd *x, const bool lane, const bool full,
                                  ad_type type) {
    for (int64_t s = 0; s < h->D; s++) {
        int64_t j = h->upper ? s : h->D - 1 - s, from = h->upper ? j + 1 : 0, to = h->upper ? h->D : j;
        for (int v = 0; v < GROUP; v++) {
            vd xj = x[j * GROUP + v];
            if (!h->unit) xj = xj / at(h, j, j, v, r, lanes, lane, full, type);
            x[j * GROUP + v] = xj;
        }
        for (int64_t i = from; i < to; i++)
            for (int v = 0; v < GROUP; v++)
                x[i * GROUP + v] = x[i * GROUP + v] - at(h, j, i, v, r, lanes, lane, full, type) * x[j * GROUP + v];
    }
}

AD_INLINE void substitute_as(const half *h, int64_t r, int64_t lanes, vd *x, const bool lane, const bool full,
                             ad_type type) {
    if (h->transposed) {
        substitute_columns(h, r, lanes, x, lane, full, type);
    } else {
        substitute_rows(h, r, lanes, x, lane, full, type);
    }
}

AD_INLINE void substitute(const half *h, int64_t r, int64_t lanes, vd *x, ad_type type) {
    bool full = lanes >= GROUP * VD;
    if (!h->a->lane) {
        substitute_as(h, r, lanes, x, false, true, type);
    } else if (full) {
        substitute_as(h, r, lanes, x, true, true, type);
    } else {
        substitute_as(h, r, lanes, x, true, false, type);
    }
}

// ---- singular ones -------------------------------------------------------------------------------------------------

static void report_singular(const ad_kernel *k, const half *h, int64_t r, const char *what, ad_type type) {
    for (int64_t i = 0; i < h->D; i++) {
        double d = lanes_get(h->a, i * (h->D + 1), r, type);
        if (isfinite(d) && d != 0) continue;
        if (d == 0)
            ad_kernel_fail(k, (int)r, AD_ENONFINITE, "A is singular: %s %d is 0", what, (int)i);
        else
            ad_kernel_fail(k, (int)r, AD_ENONFINITE, "A is not finite: %s %d is %g", what, (int)i, d);
        return;
    }
}

// Fails the rows among lanes r .. r + GROUP VD whose diagonal holds a 0, or what is not finite. False: one does.
AD_INLINE bool check_diagonal(const ad_kernel *k, const half *h, int64_t r, const char *what, ad_type type) {
    bool good = true;
    for (int64_t end = r + GROUP * VD; r < k->R && r < end; r += VD) {
        vd least = vd_set(1), bad = vd_set(0);
        double smallest[VD], nan[VD];
        for (int64_t i = 0; i < h->D; i++) {
            vd d = vd_abs(lanes_load(h->a, i * (h->D + 1), r, k->R - r, type));
            least = vd_if_less(d, least, d, least);
            bad = bad + (d - d);
        }
        vd_store(smallest, least);
        vd_store(nan, bad);
        for (int64_t l = 0; l < VD && r + l < k->R; l++) {
            if (smallest[l] > 0 && nan[l] == 0) continue;
            good = false;
            report_singular(k, h, r + l, what, type);
        }
    }
    return good;
}

// ---- right-hand sides ----------------------------------------------------------------------------------------------

typedef struct equations {                 // op(A) X = B, column n of B being solved
    const ad_kernel_operand *b;            // NULL: the identity
    const ad_kernel_operand *permutation;  // the factors, whose last row it is; NULL: none
    int64_t D, N;
} equations;

static int64_t permuted(const equations *s, int64_t i, int64_t r, ad_type type) {
    return s->permutation ? (int64_t)lanes_get(s->permutation, s->D * s->D + i, r, type) : i;
}

// Element i of column n in lanes r ..; of the permuted column where rows permute each its own way.
AD_INLINE vd side(const equations *s, int64_t i, int64_t n, int64_t r, int64_t lanes, bool permute, ad_type type) {
    if (permute && s->permutation->lane) {
        double x[VD] = {0};
        for (int64_t l = 0; l < VD && l < lanes; l++) {
            int64_t p = permuted(s, i, r + l, type);
            x[l] = s->b ? lanes_get(s->b, p * s->N + n, r + l, type) : p == n;
        }
        return vd_load(x);
    }
    if (permute) i = permuted(s, i, 0, type);
    return s->b ? lanes_load(s->b, i * s->N + n, r, lanes, type) : vd_set(i == n);
}

AD_INLINE void load_side(const equations *s, int64_t n, int64_t r, int64_t lanes, bool permute, vd *x, ad_type type) {
    for (int64_t i = 0; i < s->D; i++)
        for (int v = 0; v < GROUP; v++) x[i * GROUP + v] = side(s, i, n, r + v * VD, lanes - v * VD, permute, type);
}

// Where permuted, element i of x is element F[D,i] of the solution.
AD_INLINE void store_solution(const ad_kernel *k, const equations *s, int64_t n, int64_t r, bool permute, const vd *x,
                              ad_type type) {
    for (int64_t i = 0; i < s->D; i++) {
        for (int v = 0; v < GROUP; v++) {
            int64_t from = r + v * VD;
            if (from >= k->R) break;
            if (!permute || !s->permutation->lane) {
                int64_t f = (permute ? permuted(s, i, 0, type) : i) * s->N + n;
                lanes_store(k->y, f * k->R + from, x[i * GROUP + v], k->R - from, type);
                continue;
            }
            double value[VD];
            vd_store(value, x[i * GROUP + v]);
            for (int64_t l = 0; l < VD && from + l < k->R; l++) {
                int64_t to = (permuted(s, i, from + l, type) * s->N + n) * k->R + from + l;
                lanes_put(k->y, to, value[l], type);
            }
        }
    }
}

// ---- shared systems, by LAPACK -------------------------------------------------------------------------------------

// The matrix of doubles that LAPACK reads: a itself, or a copy.
static const double *as_doubles(const ad_kernel_operand *a, int64_t n, double *copy, ad_type type) {
    if (type == AD_F64) return a->data;
    for (int64_t i = 0; i < n; i++) copy[i] = lanes_get(a, i, 0, type);
    return copy;
}

// Columns of B, permuted or not, one after the other.
static void load_columns(const equations *s, bool permute, double *x, ad_type type) {
    for (int64_t i = 0; i < s->D; i++) {
        int64_t p = permute ? permuted(s, i, 0, type) : i;
        for (int64_t n = 0; n < s->N; n++) x[n * s->D + i] = s->b ? lanes_get(s->b, p * s->N + n, 0, type) : p == n;
    }
}

static void store_columns(const ad_kernel *k, const equations *s, bool permute, const double *x, ad_type type) {
    for (int64_t i = 0; i < s->D; i++) {
        int64_t p = permute ? permuted(s, i, 0, type) : i;
        for (int64_t n = 0; n < s->N; n++) {
            lanes_put(k->y, p * s->N + n, x[n * s->D + i], type);
        }
    }
}

// Flags of one triangular system after the other; one: -1.
static void solve_shared(const ad_kernel *k, const equations *s, const ad_kernel_operand *a, const int flags[2],
                         bool before, bool after, ad_type type) {
    double *x = k->scratch, *copy = x + s->D * s->N;
    const double *matrix = as_doubles(a, s->D * s->D, copy, type);
    load_columns(s, before, x, type);
    ad_lapack_triangular(s->D, matrix, flags[0], s->N, x);
    if (flags[1] >= 0) ad_lapack_triangular(s->D, matrix, flags[1], s->N, x);
    store_columns(k, s, after, x, type);
}

static size_t solve_bytes(const ad_kernel *k, ad_type type) {
    int64_t D = k->x[0].shape->dim[0];
    if (k->R > 1) return (size_t)D * GROUP * sizeof(vd);
    return ((size_t)ad_count_of(k->shape) + (type == AD_F32 ? (size_t)(D * D) : 0)) * sizeof(double);
}

// ---- solve ---------------------------------------------------------------------------------------------------------
// Operands A (for its derivative), its factors, and b if it is not the identity.

typedef struct solve_attr {
    int64_t transposed;
} solve_attr;

// A = P L U: A x = b is U x = L^-1 P^T b, and A^T x = b is P^T x = L^-T U^-T b.
AD_INLINE void solve_kernel(const ad_kernel *k, ad_type type) {
    bool transposed = ((const solve_attr *)k->attr)->transposed;
    const ad_kernel_operand *F = &k->x[1];
    int64_t D = k->x[0].shape->dim[0];
    equations s = {k->n > 2 ? &k->x[2] : NULL, F, D, columns_of(k->shape)};
    half L = {F, D, false, true, transposed}, U = {F, D, true, false, transposed};
    if (k->R == 1) {
        const int plain[2] = {AD_UNIT_DIAGONAL, AD_UPPER};
        const int turned[2] = {AD_UPPER | AD_TRANSPOSED, AD_UNIT_DIAGONAL | AD_TRANSPOSED};
        check_diagonal(k, &U, 0, "pivot", type);
        solve_shared(k, &s, F, transposed ? turned : plain, !transposed, transposed, type);
        return;
    }
    vd *x = k->scratch;
    for (int64_t r = 0; r < k->R; r += GROUP * VD) {
        check_diagonal(k, &U, r, "pivot", type);
        for (int64_t n = 0; n < s.N; n++) {
            load_side(&s, n, r, k->R - r, !transposed, x, type);
            substitute(transposed ? &U : &L, r, k->R - r, x, type);
            substitute(transposed ? &L : &U, r, k->R - r, x, type);
            store_solution(k, &s, n, r, transposed, x, type);
        }
    }
}

static void solve_f32(const ad_kernel *k) {
    solve_kernel(k, AD_F32);
}
static void solve_f64(const ad_kernel *k) {
    solve_kernel(k, AD_F64);
}

static double solve_flops(const ad_kernel *k) {
    return 2.0 * k->x[0].shape->dim[0] * (double)ad_count_of(k->shape) * k->R;
}

static bool check_side(ad_shape_call *call, const ad_shape *A, const ad_shape *b) {
    if ((b->rank == 1 || b->rank == 2) && b->dim[0] == A->dim[0]) return true;
    return ad_shape_fail(call, "expected b [%d] or [%d,N] for A [%d,%d]", A->dim[0], A->dim[0], A->dim[0], A->dim[0]);
}

static bool solve_shape(ad_shape_call *call) {
    call->y = call->x[call->n > 2 ? 2 : 0];
    return call->n < 3 || check_side(call, &call->x[0], &call->x[2]);
}

// gb = A^-T gx, gA = -gb x^T.
static void solve_vjp(const ad_vjp_call *call) {
    bool transposed = ((const solve_attr *)call->attr)->transposed;
    ad_var A = call->x[0], gb = ad_factored_solve(A, call->x[1], call->gy, !transposed);
    if (call->n > 2 && call->need[2]) call->gx[2] = gb;
    if (!call->need[0]) return;
    call->gx[0] = ad_neg(transposed ? ad_outer_gradient(A, call->y, gb) : ad_outer_gradient(A, gb, call->y));
}

// ---- solve_triangular ----------------------------------------------------------------------------------------------

typedef struct triangular_attr {
    int64_t flags;
} triangular_attr;

AD_INLINE void solve_triangular_kernel(const ad_kernel *k, ad_type type) {
    int flags = (int)((const triangular_attr *)k->attr)->flags;
    int64_t D = k->x[0].shape->dim[0];
    equations s = {&k->x[1], NULL, D, columns_of(k->shape)};
    half T = {&k->x[0], D, flags & AD_UPPER, flags & AD_UNIT_DIAGONAL, flags & AD_TRANSPOSED};
    if (k->R == 1) {
        const int once[2] = {flags, -1};
        if (!T.unit) check_diagonal(k, &T, 0, "diagonal element", type);
        solve_shared(k, &s, &k->x[0], once, false, false, type);
        return;
    }
    vd *x = k->scratch;
    for (int64_t r = 0; r < k->R; r += GROUP * VD) {
        if (!T.unit) check_diagonal(k, &T, r, "diagonal element", type);
        for (int64_t n = 0; n < s.N; n++) {
            load_side(&s, n, r, k->R - r, false, x, type);
            substitute(&T, r, k->R - r, x, type);
            store_solution(k, &s, n, r, false, x, type);
        }
    }
}

static void solve_triangular_f32(const ad_kernel *k) {
    solve_triangular_kernel(k, AD_F32);
}
static void solve_triangular_f64(const ad_kernel *k) {
    solve_triangular_kernel(k, AD_F64);
}

static double solve_triangular_flops(const ad_kernel *k) {
    return solve_flops(k) / 2;
}

static bool solve_triangular_shape(ad_shape_call *call) {
    call->y = call->x[1];
    return check_side(call, &call->x[0], &call->x[1]);
}

static void solve_triangular_vjp(const ad_vjp_call *call) {
    int flags = (int)((const triangular_attr *)call->attr)->flags;
    ad_var A = call->x[0], gb = ad_solve_triangular(A, call->gy, flags ^ AD_TRANSPOSED);
    if (call->need[1]) call->gx[1] = gb;
    if (!call->need[0]) return;
    ad_var g = flags & AD_TRANSPOSED ? ad_outer_gradient(A, call->y, gb) : ad_outer_gradient(A, gb, call->y);
    call->gx[0] = ad_triangle(ad_neg(g), flags & AD_UPPER, flags & AD_UNIT_DIAGONAL ? 0 : 1, 0);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

#define MATRIX(D)              \
    {                          \
        .shape = { 2, {D, D} } \
    }
#define MATRIX_ROWS(D) \
    { .shape = {2, {D, D}}, .rows = true }
#define VECTOR(D)           \
    {                       \
        .shape = { 1, {D} } \
    }
#define VECTOR_ROWS(D) \
    { .shape = {1, {D}}, .rows = true }

// x plus c times the identity: well conditioned.
static ad_var shifted(ad_var x, double c) {
    ad_var lower = ad_triangle(x, false, 1, c);
    return ad_add(lower, ad_triangle(x, true, 0, 0));
}
static ad_var solve_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve(shifted(x[0], 3), x[1]);
}
// Rows that must be exchanged: the diagonal is far from the largest elements.
static ad_var pivot_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve(ad_take(shifted(x[0], 4), 0, (const int64_t[]){2, 0, 1}, 3), x[1]);
}
static ad_var inverse_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_inverse(shifted(x[0], 3));
}
static ad_var lower_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve_triangular(shifted(x[0], 3), x[1], 0);
}
static ad_var upper_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve_triangular(shifted(x[0], 3), x[1], AD_UPPER);
}
static ad_var unit_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve_triangular(x[0], x[1], AD_UNIT_DIAGONAL | AD_TRANSPOSED);
}
static ad_var upper_transposed_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_solve_triangular(shifted(x[0], 3), x[1], AD_UPPER | AD_TRANSPOSED);
}
static const ad_op_test factor_tests[] = {
    {.n = 1, .x = {MATRIX_ROWS(3)}, .f = inverse_test},
    {.n = 1, .x = {MATRIX_ROWS(1)}, .f = inverse_test},
};
static const ad_op_test solve_tests[] = {
    {.n = 2, .x = {MATRIX(2), VECTOR(2)}, .f = solve_test},
    {.n = 2, .x = {MATRIX(2), VECTOR_ROWS(2)}, .f = solve_test},
    {.n = 2, .x = {MATRIX_ROWS(2), VECTOR(2)}, .f = solve_test},
    {.n = 2, .x = {MATRIX_ROWS(3), VECTOR_ROWS(3)}, .f = pivot_test},
    {.n = 2, .x = {MATRIX(3), VECTOR_ROWS(3)}, .f = pivot_test},
    {.n = 2, .x = {MATRIX(2), {.shape = {2, {2, 3}}}}, .f = solve_test},
    {.n = 2, .x = {MATRIX(2), {.shape = {2, {2, 2}}, .rows = true}}, .f = solve_test},
    {.n = 2, .x = {MATRIX_ROWS(2), {.shape = {2, {2, 1}}}}, .f = solve_test},
};
static const ad_op_test inverse_tests[] = {
    {.n = 1, .x = {MATRIX(3)}, .f = inverse_test},
    {.n = 1, .x = {MATRIX_ROWS(2)}, .f = inverse_test},
};
static const ad_op_test triangular_tests[] = {
    {.n = 2, .x = {MATRIX(3), VECTOR(3)}, .f = lower_test},
    {.n = 2, .x = {MATRIX(3), VECTOR_ROWS(3)}, .f = upper_test},
    {.n = 2, .x = {MATRIX_ROWS(3), VECTOR_ROWS(3)}, .f = upper_test},
    {.n = 2, .x = {MATRIX_ROWS(2), VECTOR(2)}, .f = lower_test},
    {.n = 2, .x = {MATRIX_ROWS(3), VECTOR_ROWS(3)}, .f = unit_test},
    {.n = 2, .x = {MATRIX(2), {.shape = {2, {2, 2}}, .rows = true}}, .f = unit_test},
    {.n = 2, .x = {MATRIX(2), {.shape = {2, {2, 2}}}}, .f = upper_transposed_test},
    {.n = 2, .x = {MATRIX_ROWS(2), {.shape = {2, {2, 2}}, .rows = true}}, .f = upper_transposed_test},
};
// ---- descriptors ---------------------------------------------------------------------------------------------------

// The derivative of the factors is that of what is made of them, with respect to A itself.
static const ad_op lu_factor_rows_op = {.name = "lu_factor_rows",
                                        .flags = AD_OP_CONSTANT,
                                        .shape = lu_factor_rows_shape,
                                        .kernel = {lu_factor_rows_f32, lu_factor_rows_f64},
                                        .scratch = lu_factor_rows_scratch,
                                        AD_TESTS(factor_tests)};
static const ad_op solve_op = {.name = "solve",
                               .flags = AD_OP_STRIDED,
                               .shape = solve_shape,
                               .vjp = solve_vjp,
                               .kernel = {solve_f32, solve_f64},
                               .scratch = solve_bytes,
                               .flops = solve_flops,
                               AD_TESTS(solve_tests)};
static const ad_op inverse_op = {.name = "inverse",
                                 .flags = AD_OP_STRIDED,
                                 .shape = solve_shape,
                                 .vjp = solve_vjp,
                                 .kernel = {solve_f32, solve_f64},
                                 .scratch = solve_bytes,
                                 .flops = solve_flops,
                                 AD_TESTS(inverse_tests)};
static const ad_op solve_triangular_op = {.name = "solve_triangular",
                                          .flags = AD_OP_STRIDED,
                                          .shape = solve_triangular_shape,
                                          .vjp = solve_triangular_vjp,
                                          .kernel = {solve_triangular_f32, solve_triangular_f64},
                                          .scratch = solve_bytes,
                                          .flops = solve_triangular_flops,
                                          AD_TESTS(triangular_tests)};
AD_FAMILY(small_matrix) = {&lu_factor_rows_op, &solve_op, &inverse_op, &solve_triangular_op, NULL};

#if AD_ISA_BASE

bool ad_check_square(ad_var A, const char *what, bool rows_allowed) {
    if (!ad_check_var(A, what)) return false;
    ad_shape s = ad_shape_of(A);
    char text[64];
    if (s.rank != 2 || s.dim[0] != s.dim[1]) {
        ad_tape_fail(A.tape, AD_ESHAPE, "%s: A is %s, expected a square matrix [D,D]", what,
                     ad_shape_print(s, text, sizeof text));
        return false;
    }
    if (!ad_has_rows(A) || (rows_allowed && s.dim[0] <= AD_SMALL_MATRIX)) return true;
    if (rows_allowed) {
        ad_tape_fail(A.tape, AD_ESHAPE,
                     "%s: A is %s per row: matrices with rows are at most [%d,%d], larger ones shared", what,
                     ad_shape_print(s, text, sizeof text), AD_SMALL_MATRIX, AD_SMALL_MATRIX);
    } else {
        ad_tape_fail(A.tape, AD_ESHAPE, "%s: A has rows; it must be shared", what);
    }
    return false;
}

ad_var ad_lu_factor_rows(ad_var A) {
    return ad_apply(&lu_factor_rows_op, &A, 1, NULL, 0);
}

ad_var ad_factored_solve(ad_var A, ad_var F, ad_var b, bool transposed) {
    ad_var x[] = {A, F, b};
    solve_attr attr = {transposed};
    return ad_is_none(b) ? ad_apply(&inverse_op, x, 2, &attr, sizeof attr)
                         : ad_apply(&solve_op, x, 3, &attr, sizeof attr);
}

ad_var ad_outer_gradient(ad_var A, ad_var u, ad_var v) {
    bool vectors = ad_shape_of(u).rank == 1, over_rows = !ad_has_rows(A) && (ad_has_rows(u) || ad_has_rows(v));
    if (vectors) return over_rows ? ad_outer_rows(u, v) : ad_outer(u, v);
    return over_rows ? ad_outer_rows(ad_transposed(u), ad_transposed(v)) : ad_matmul(u, v, AD_TRANSPOSE_B);
}

ad_var ad_solve(ad_var A, ad_var b) {
    const ad_var both[] = {A, b};
    if (!ad_check_vars(both, 2, "solve")) return ad_inert(A.tape ? A.tape : b.tape);
    if (!ad_check_square(A, "solve", true)) return ad_inert(A.tape);
    return ad_factored_solve(A, ad_lu_factor(A), b, false);
}

ad_var ad_inverse(ad_var A) {
    if (!ad_check_square(A, "inverse", true)) return ad_inert(A.tape);
    return ad_factored_solve(A, ad_lu_factor(A), ad_none(), false);
}

ad_var ad_solve_triangular(ad_var A, ad_var b, int flags) {
    ad_var x[] = {A, b};
    if (!ad_check_vars(x, 2, "solve_triangular")) return ad_inert(A.tape ? A.tape : b.tape);
    if (!ad_check_square(A, "solve_triangular", true)) return ad_inert(A.tape);
    if (flags & ~(AD_UPPER | AD_UNIT_DIAGONAL | AD_TRANSPOSED))
        ad_tape_fail(A.tape, AD_EARG, "solve_triangular: unknown flags %d", flags);
    triangular_attr attr = {flags};
    return ad_apply(&solve_triangular_op, x, 2, &attr, sizeof attr);
}

#endif
