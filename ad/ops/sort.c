// sort.c -- sort, argsort, searchsorted.
//
// NaN is sorted as larger than any number, equal elements stay in order, -0 equals 0. An element's rank depends on
// its own row alone: every lane is sorted by itself.
#include <string.h>

#include "../internal.h"
#include "axis.h"

typedef struct sort_key {
    double value;
    int64_t number;
} sort_key;

static bool comes_after(double a, double b) { return a > b || (a != a && b == b); }

// Stable, for short runs.
static void insert_sorted(sort_key *key, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        sort_key moving = key[i];
        int64_t j = i;
        for (; j > 0 && comes_after(key[j - 1].value, moving.value); j--) key[j] = key[j - 1];
        key[j] = moving;
    }
}

// Sorted a and b, one after the other from a on, into to.
static void merge(const sort_key *a, int64_t n_a, int64_t n_b, sort_key *to) {
    const sort_key *b = a + n_a, *end_a = b, *end_b = b + n_b;
    while (a < end_a && b < end_b) *to++ = comes_after(a->value, b->value) ? *b++ : *a++;
    memcpy(to, a, (size_t)(end_a - a) * sizeof *a);
    memcpy(to + (end_a - a), b, (size_t)(end_b - b) * sizeof *b);
}

// Merge sort; spare has room for n. Returns where the result is: key or spare.
static sort_key *sort_keys(sort_key *key, sort_key *spare, int64_t n) {
    enum { SHORT = 16 };
    for (int64_t i = 0; i < n; i += SHORT) insert_sorted(key + i, n - i < SHORT ? n - i : SHORT);
    for (int64_t run = SHORT; run < n; run *= 2) {
        for (int64_t i = 0; i < n; i += 2 * run) {
            int64_t a = n - i < run ? n - i : run, b = n - i - a < run ? n - i - a : run;
            merge(key + i, a, b, spare + i);
        }
        sort_key *sorted = spare;
        spare = key, key = sorted;
    }
    return key;
}

#define ARGSORT(NAME, T)                                                                             \
    static void NAME(const ad_kernel *k) {                                                           \
        const axis_runs runs = axis_runs_of(k, k->attr);                                             \
        const T *x = k->x[0].data;                                                                   \
        T *y = k->y;                                                                                 \
        sort_key *key = k->scratch;                                                                  \
        AXIS_FOR_RUNS(runs, from, removed, to, m, {                                                  \
            (void)removed;                                                                           \
            for (int64_t r = 0; r < m; r++) {                                                        \
                for (int64_t i = 0; i < runs.n; i++)                                                 \
                    key[i] = (sort_key){x[from + i * runs.x_step + r], i};                           \
                const sort_key *sorted = sort_keys(key, key + runs.n, runs.n);                       \
                for (int64_t i = 0; i < runs.n; i++)                                                 \
                    y[to + i * runs.y_step + r] = (T)sorted[i].number;                               \
            }                                                                                        \
        })                                                                                           \
    }
ARGSORT(argsort_f32, float)
ARGSORT(argsort_f64, double)

static size_t argsort_scratch(const ad_kernel *k, ad_type type) {
    (void)type;
    return 2 * (size_t)axis_extent_of(k->x[0].shape, k->attr).n * sizeof(sort_key);
}

static bool argsort_shape(ad_shape_call *call) { return axis_kept(call, call->attr); }

// ---- searchsorted --------------------------------------------------------------------------------------------------

typedef struct search_attr {
    int32_t right, zero;
} search_attr;

enum { FEW = 32 };  // knots that are compared one by one, all lanes at a time

static int32_t last_dim(const ad_shape *shape) { return shape->dim[shape->rank - 1]; }

// Lanes of feature f.
#define LINE(T, x, f) ((const T *)(x)->data + (f) * (x)->stride)

// y[r] = number of the K knots from feature f of x[0] on that are below v = x[1]'s feature g.
#define COUNT(NAME, T)                                                                               \
    AD_INLINE void NAME##_lanes(const ad_kernel *k, int64_t f, int64_t K, int64_t g, T *y,           \
                                bool right, int t_lane, int v_lane) {                                \
        const T *v = LINE(T, &k->x[1], g);                                                           \
        for (int r = 0; r < k->R; r++) y[r] = 0;                                                     \
        for (int64_t i = 0; i < K; i++) {                                                            \
            const T *t = LINE(T, &k->x[0], f + i);                                                   \
            AD_IVDEP for (int r = 0; r < k->R; r++) {                                                \
                const T a = t[r * t_lane], b = v[r * v_lane], one = 1, zero = 0;                     \
                y[r] += (a < b) | (right & (a == b)) ? one : zero;                                   \
            }                                                                                        \
        }                                                                                            \
    }                                                                                                \
    AD_INLINE void NAME(const ad_kernel *k, int64_t f, int64_t K, int64_t g, T *y, bool right) {     \
        if (!k->x[0].lane) NAME##_lanes(k, f, K, g, y, right, 0, k->x[1].lane);                      \
        else if (k->x[1].lane) NAME##_lanes(k, f, K, g, y, right, 1, 1);                             \
        else NAME##_lanes(k, f, K, g, y, right, 1, 0);                                               \
    }
// The same by halving.
#define SEARCH(NAME, T)                                                                              \
    AD_INLINE void NAME(const ad_kernel *k, int64_t f, int64_t K, int64_t g, T *y, bool right) {     \
        const ad_kernel_operand *knots = &k->x[0];                                                   \
        for (int r = 0; r < k->R; r++) {                                                             \
            const T b = LINE(T, &k->x[1], g)[r * k->x[1].lane];                                      \
            int64_t low = 0, high = K; /* the number is one of low .. high */                        \
            while (low < high) {                                                                     \
                const int64_t middle = (low + high) / 2;                                             \
                const T a = LINE(T, knots, f + middle)[r * knots->lane];                             \
                if ((a < b) | (right & (a == b))) low = middle + 1;                                  \
                else high = middle;                                                                  \
            }                                                                                        \
            y[r] = (T)low;                                                                           \
        }                                                                                            \
    }
#define SEARCHSORTED(NAME, T, COUNT_OF, SEARCH_OF)                                                   \
    static void NAME(const ad_kernel *k) {                                                           \
        const bool right = ((const search_attr *)k->attr)->right;                                    \
        const int64_t K = last_dim(k->x[0].shape), N = last_dim(k->x[1].shape);                      \
        const int64_t count = ad_shape_count(*k->shape);                                             \
        for (int64_t g = 0; g < count; g++) {                                                        \
            T *y = (T *)k->y + g * k->R;                                                             \
            if (K <= FEW) COUNT_OF(k, g / N * K, K, g, y, right);                                    \
            else SEARCH_OF(k, g / N * K, K, g, y, right);                                            \
        }                                                                                            \
    }
COUNT(count_f32, float)
COUNT(count_f64, double)
SEARCH(search_f32, float)
SEARCH(search_f64, double)
SEARCHSORTED(searchsorted_f32, float, count_f32, search_f32)
SEARCHSORTED(searchsorted_f64, double, count_f64, search_f64)

// Leading dimensions are equal here: the call spreads them.
static bool searchsorted_shape(ad_shape_call *call) {
    const ad_shape *knots = &call->x[0], *x = &call->x[1];
    bool fit = knots->rank > 0 && knots->rank == x->rank;
    for (int i = 0; fit && i + 1 < x->rank; i++) fit = knots->dim[i] == x->dim[i];
    call->y = *x;
    return fit || ad_shape_fail(call, "expected knots [...,K] and x [...,N], leading dimensions that broadcast");
}

// ---- tests ---------------------------------------------------------------------------------------------------------

// Elements further apart than their range, out of order, so that differences do not exchange them.
static ad_var apart(ad_var x) {
    ad_shape shape = ad_shape_of(x);
    double offset[24];
    int64_t n = ad_shape_count(shape);
    for (int64_t i = 0; i < n && i < 24; i++) offset[i] = 8 * (double)((7 * i + 5) % (n + 1));
    return ad_add(x, ad_constant(x.tape, shape, offset));
}

static ad_var argsort_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_argsort(apart(x[0]), -1);
}

static ad_var sort_last_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_sort(apart(x[0]), -1));
}

static ad_var sort_middle_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_sort(apart(x[0]), 1));
}

static ad_var sort_first_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_square(ad_sort(apart(x[0]), 0));
}

static ad_var searchsorted_test(void *arg, const ad_var *x) {
    (void)arg;
    return ad_searchsorted(x[0], x[1], false);
}

static const ad_op_test argsort_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true}}, .f = argsort_test},
    {.n = 1, .x = {{.shape = {1, {4}}, .rows = true}}, .f = sort_first_test},
    {.n = 1, .x = {{.shape = {3, {2, 3, 2}}, .rows = true}}, .f = sort_middle_test},
    {.n = 1, .x = {{.shape = {2, {2, 3}}}}, .f = sort_last_test},
};
// Ranges apart, so that no difference crosses a knot.
static const ad_op_test searchsorted_tests[] = {
    {.n = 2,
     .x = {{.shape = {1, {4}}, .low = 1, .high = 2}, {.shape = {2, {2, 3}}, .rows = true, .low = 2.5, .high = 3}},
     .f = searchsorted_test},
    {.n = 2,
     .x = {{.shape = {2, {2, 2}}, .rows = true, .low = 1, .high = 2}, {.shape = {1, {3}}, .low = 0.5, .high = 0.9}},
     .f = searchsorted_test},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------

static const ad_op argsort_op = {.name = "argsort", .flags = AD_OP_CONSTANT, .shape = argsort_shape,
                                 .kernel = {argsort_f32, argsort_f64}, .scratch = argsort_scratch,
                                 AD_TESTS(argsort_tests)};
static const ad_op searchsorted_op = {.name = "searchsorted", .flags = AD_OP_CONSTANT | AD_OP_STRIDED,
                                      .shape = searchsorted_shape, .kernel = {searchsorted_f32, searchsorted_f64},
                                      AD_TESTS(searchsorted_tests)};

AD_FAMILY(sort) = {&argsort_op, &searchsorted_op, NULL};

#if AD_ISA_BASE

static ad_var permutation(ad_var x, int axis, const char *what) {
    const axis_attr attr = axis_of(x, axis);
    if (ad_check_axis(x, axis, what) < 0) return ad_inert(x.tape);
    axis_count_exactly(x, axis, what);
    return ad_apply(&argsort_op, &x, 1, &attr, sizeof attr);
}

ad_var ad_argsort(ad_var x, int axis) { return permutation(x, axis, "argsort"); }

ad_var ad_sort(ad_var x, int axis) {
    const ad_var numbers = permutation(x, axis, "sort");
    return ad_ok(numbers) ? ad_take_along(x, axis, numbers) : numbers;
}

// v, [...,n], with other leading dimensions.
static ad_var with_leading(ad_var v, ad_shape like) {
    like.dim[like.rank - 1] = (int32_t)ad_dim(v, -1);
    return ad_shape_equal(ad_shape_of(v), like) ? v : ad_expand(v, like);
}

// The shape that both broadcast to, the last dimension left out; false when there is none.
static bool joint_leading(ad_shape a, ad_shape b, ad_shape *joint) {
    if (a.rank < 1 || b.rank < 1) return false;
    a.dim[a.rank - 1] = b.dim[b.rank - 1] = 1;
    return ad_shape_broadcast(a, b, joint);
}

ad_var ad_searchsorted(ad_var knots, ad_var x, bool right) {
    const search_attr attr = {right, 0};
    ad_shape joint;
    axis_count_exactly(knots, -1, "searchsorted");
    if (ad_ok(knots) && ad_ok(x) && joint_leading(ad_shape_of(knots), ad_shape_of(x), &joint)) {
        knots = with_leading(knots, joint);
        x = with_leading(x, joint);
    }
    const ad_var both[] = {knots, x};
    return ad_apply(&searchsorted_op, both, 2, &attr, sizeof attr);
}

#endif
