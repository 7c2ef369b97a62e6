// leaf.c -- values that come from outside: parameters, states, inputs, scalars, constants, row counts.
#include <string.h>

#include "../internal.h"
#include "family.h"

typedef struct leaf_attr {
    ad_shape shape;
    int32_t type;
    uint64_t content[2];  // of constants
} leaf_attr;

static bool leaf_shape(ad_shape_call *c) {
    memcpy(&c->y, c->attr, sizeof c->y);
    return true;
}

// ---- kernels: copies with conversion ------------------------------------------------------------------------------

#define COPY(D, S, d, s, n) \
    for (int64_t i = 0; i < (n); i++) ((D *)(d))[i] = (D)((const S *)(s))[i]

static void tensor_f32(const ad_kernel *k) {
    const ad_tensor *t = k->slot;
    if (t->type == AD_F32) COPY(float, float, k->y, t->data, t->count);
    else COPY(float, double, k->y, t->data, t->count);
}
static void tensor_f64(const ad_kernel *k) {
    const ad_tensor *t = k->slot;
    if (t->type == AD_F32) COPY(double, float, k->y, t->data, t->count);
    else COPY(double, double, k->y, t->data, t->count);
}

static void scalar_f32(const ad_kernel *k) { *(float *)k->y = (float)*(const double *)k->slot; }
static void scalar_f64(const ad_kernel *k) { *(double *)k->y = *(const double *)k->slot; }
static void row_count_f32(const ad_kernel *k) { *(float *)k->y = (float)((const ad_row_set *)k->slot)->count; }
static void row_count_f64(const ad_kernel *k) { *(double *)k->y = (double)((const ad_row_set *)k->slot)->count; }

// Rows of the source become lanes, 16 features at a time; lanes beyond the last row repeat it.
#define LOAD(name, D, S)                                                                             \
    static void name(const ad_kernel *k, const ad_source *source, int64_t n) {                       \
        int64_t stride = source->row_stride ? (int64_t)source->row_stride : n * (int64_t)sizeof(S);  \
        D *y = k->y;                                                                                 \
        for (int64_t f0 = 0; f0 < n; f0 += 16) {                                                     \
            int64_t f1 = f0 + 16 < n ? f0 + 16 : n;                                                  \
            for (int r = 0; r < k->R; r++) {                                                         \
                int64_t row = k->row + (r < k->live ? r : k->live - 1);                              \
                if (source->index) row = source->index[row];                                         \
                const char *p = (const char *)source->data + row * stride;                           \
                for (int64_t f = f0; f < f1; f++) {                                                  \
                    S v;                                                                             \
                    memcpy(&v, p + f * (int64_t)sizeof v, sizeof v);                                 \
                    y[f * k->R + r] = (D)v;                                                          \
                }                                                                                    \
            }                                                                                        \
        }                                                                                            \
    }
LOAD(load_ff, float, float)
LOAD(load_fd, float, double)
LOAD(load_df, double, float)
LOAD(load_dd, double, double)

static void input_f32(const ad_kernel *k) {
    const ad_source *source = k->slot;
    (source->type == AD_F32 ? load_ff : load_fd)(k, source, ad_shape_count(*k->shape));
}
static void input_f64(const ad_kernel *k) {
    const ad_source *source = k->slot;
    (source->type == AD_F32 ? load_df : load_dd)(k, source, ad_shape_count(*k->shape));
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
static ad_var first(void *arg, const ad_var *x) {
    (void)arg;
    return ad_scale(x[0], 2);
}
static ad_var counted(void *arg, const ad_var *x) {
    (void)arg;
    return ad_mul(x[0], ad_row_count(ad_rows_of(x[0])));
}
static ad_var with_constants(void *arg, const ad_var *x) {
    (void)arg;
    static const double three[] = {1, -2, 0.5}, beta = 0.75;
    return ad_mul(ad_mul(x[0], ad_constant(x[0].tape, ad_shape1(3), three)), ad_scalar(x[0].tape, &beta));
}
#define TEST(function, per_row) \
    (const ad_op_test[]){{.n = 1, .x = {{.shape = {1, {3}}, .rows = per_row}}, .f = function}}, .n_tests = 1
#else
#define TEST(function, per_row) NULL
#endif

#define LEAF(leaf, text, more_flags, leaf_role, kernels, test)                                                        \
    static const ad_op leaf = {.name = text, .flags = AD_OP_CONSTANT | (more_flags), .shape = leaf_shape,             \
                               .kernel = {kernels##_f32, kernels##_f64}, .role = leaf_role, .tests = test}
LEAF(param_op, "parameter", 0, AD_ROLE_DIRECT, tensor, TEST(first, false));
LEAF(state_op, "state", 0, AD_ROLE_DIRECT, tensor, TEST(first, false));
LEAF(constant_op, "constant", 0, AD_ROLE_DIRECT, tensor, TEST(with_constants, true));
LEAF(scalar_op, "scalar", 0, AD_ROLE_PLAIN, scalar, TEST(with_constants, true));
LEAF(row_count_op, "row_count", 0, AD_ROLE_PLAIN, row_count, TEST(counted, true));
LEAF(input_op, "input", AD_OP_CHEAP, AD_ROLE_PLAIN, input, TEST(first, true));
LEAF(shared_input_op, "shared_input", 0, AD_ROLE_PLAIN, input, TEST(first, false));
LEAF(placeholder_op, "placeholder", 0, AD_ROLE_PLACEHOLDER, tensor, TEST(first, true));

AD_FAMILY(leaf) = {&param_op,     &state_op,  &constant_op,     &scalar_op,
                   &row_count_op, &input_op,  &shared_input_op, &placeholder_op, NULL};

// ---- recording ----------------------------------------------------------------------------------------------------

#if AD_ISA_BASE
#define XXH_INLINE_ALL
#include <xxhash.h>

const ad_op *const ad_param_op = &param_op, *const ad_input_op = &input_op,
                   *const ad_shared_input_op = &shared_input_op;
const ad_op *const ad_placeholder_op = &placeholder_op;

static const ad_rows no_rows;

ad_var ad_use(ad_tape *t, ad_param *p) {
    if (!p) {
        ad_tape_fail(t, AD_EARG, "ad_use: parameter is NULL");
        return ad_inert(t);
    }
    leaf_attr attr = {.shape = p->shape, .type = (int32_t)p->type};
    return ad_record_leaf(t, no_rows, &param_op, &attr, sizeof attr, p);
}

ad_var ad_use_state(ad_tape *t, ad_state *s) {
    if (!s) {
        ad_tape_fail(t, AD_EARG, "ad_use_state: state is NULL");
        return ad_inert(t);
    }
    leaf_attr attr = {.shape = s->shape, .type = (int32_t)s->type};
    return ad_record_leaf(t, no_rows, &state_op, &attr, sizeof attr, s);
}

static bool input_shape_ok(ad_tape *t, const char *what, ad_shape shape, const ad_source *source) {
    char text[64];
    if (!source) ad_tape_fail(t, AD_EARG, "%s: source is NULL", what);
    else if (ad_shape_count(shape) < 1)
        ad_tape_fail(t, AD_ESHAPE, "%s: shape %s has no elements, or too many", what,
                     ad_shape_print(shape, text, sizeof text));
    else return true;
    return false;
}

ad_var ad_input(ad_rows rows, ad_shape shape, const ad_source *source) {
    if (!input_shape_ok(rows.tape, "ad_input", shape, source)) return ad_inert(rows.tape);
    leaf_attr attr = {.shape = shape};
    return ad_record_leaf(rows.tape, rows, &input_op, &attr, sizeof attr, source);
}

ad_var ad_shared_input(ad_tape *t, ad_shape shape, const ad_source *source) {
    if (!input_shape_ok(t, "ad_shared_input", shape, source)) return ad_inert(t);
    leaf_attr attr = {.shape = shape};
    return ad_record_leaf(t, no_rows, &shared_input_op, &attr, sizeof attr, source);
}

ad_var ad_scalar(ad_tape *t, const double *value) {
    if (!value) {
        ad_tape_fail(t, AD_EARG, "ad_scalar: value is NULL");
        return ad_inert(t);
    }
    leaf_attr attr = {.shape = ad_shape0()};
    return ad_record_leaf(t, no_rows, &scalar_op, &attr, sizeof attr, value);
}

ad_var ad_row_count(ad_rows rows) {
    if (!rows.tape) return ad_none();
    leaf_attr attr = {.shape = ad_shape0()};
    if (rows.epoch != rows.tape->epoch || rows.id >= rows.tape->bind.n_rows) {
        ad_tape_fail(rows.tape, AD_ESTALE, "ad_row_count: a row set made before the tape's last reset");
        return ad_inert(rows.tape);
    }
    return ad_record_leaf_key(rows.tape, no_rows, &row_count_op, &attr, sizeof attr, NULL, rows.id + 1u);
}

ad_var ad_placeholder(ad_tape *t, ad_rows rows, ad_shape shape) {
    leaf_attr attr = {.shape = shape, .content = {++t->placeholders, 0}};
    return ad_record_leaf(t, rows, &placeholder_op, &attr, sizeof attr, NULL);
}

// Values as the tape's type, in a tensor that lives until reset.
static ad_tensor *constant_tensor(ad_tape *t, ad_shape shape, const double *values, int64_t step) {
    int64_t n = ad_shape_count(shape);
    ad_tensor *c = ad_arena_take(&t->constants, sizeof *c);
    void *data = c ? ad_arena_take(&t->constants, (size_t)n * ad_type_size(t->bind.type)) : NULL;
    if (!data) return NULL;
    *c = (ad_tensor){NULL, shape, t->bind.type, n, data};
    for (int64_t i = 0; i < n; i++) {
        if (t->bind.type == AD_F32) ((float *)data)[i] = (float)values[i * step];
        else ((double *)data)[i] = values[i * step];
    }
    return c;
}

static ad_var constant(ad_tape *t, const char *what, ad_shape shape, const double *values, int64_t step) {
    if (!t) return ad_none();
    int64_t n = ad_shape_count(shape);
    if (n < 0 || !values) {
        ad_tape_fail(t, n < 0 ? AD_ESHAPE : AD_EARG, n < 0 ? "%s: shape out of range" : "%s: values are NULL", what);
        return ad_inert(t);
    }
    // Values are hashed as given, so that an old constant is found before anything is copied.
    XXH128_hash_t h = XXH3_128bits_withSeed(values, (size_t)(step ? n : 1) * sizeof *values, (uint64_t)step);
    leaf_attr attr = {.shape = shape, .type = (int32_t)t->bind.type, .content = {h.low64, h.high64}};
    uint64_t key = (h.low64 ^ XXH3_64bits(&shape, sizeof shape)) | 1;
    size_t slots = t->bind.n_slots;
    ad_var v = ad_record_leaf_key(t, no_rows, &constant_op, &attr, sizeof attr, NULL, key);
    if (t->bind.n_slots == slots || t->bind.slots[slots].bound) return v;
    t->bind.slots[slots].bound = constant_tensor(t, shape, values, step);
    if (!t->bind.slots[slots].bound) ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", what);
    return v;
}

ad_var ad_constant(ad_tape *t, ad_shape shape, const double *values) {
    return constant(t, "ad_constant", shape, values, 1);
}
ad_var ad_fill(ad_tape *t, ad_shape shape, double value) { return constant(t, "ad_fill", shape, &value, 0); }
ad_var ad_number(ad_tape *t, double value) { return constant(t, "ad_number", ad_shape0(), &value, 0); }

ad_var ad_zeros_like(ad_var v) {
    if (!v.tape) return v;
    return ad_check_var(v, "ad_zeros_like") ? ad_fill(v.tape, ad_shape_of(v), 0) : ad_inert(v.tape);
}
#endif
