// check_kernel.c -- an op's kernels called on their own, with the operands and results that a run had.
//
// What a run cannot show: results written beyond the array, lanes beyond the last row, any number of lanes, tails of
// elementwise loops, a result in an operand's place.
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "fpmode.h"

enum { ROWS = 3, MOST_NODES = 3, MOST_OPERANDS = 8, GUARD = 64 };

typedef struct call {  // one application of the op
    check *check;
    ad_type type;
    const ad_op *op;  // with the kernels in use
    const ad_node *node;
    const void *attr;
    ad_kernel_operand x[MOST_OPERANDS];
    check_value in[MOST_OPERANDS], y;  // what the run had
    const ad_shape *shapes[MOST_OPERANDS];
} call;

// ---- arrays of a type -----------------------------------------------------------------------------------------------

static void put(ad_type type, void *to, int64_t i, double v) {
    if (type == AD_F32)
        ((float *)to)[i] = (float)v;
    else
        ((double *)to)[i] = v;
}

static double get(ad_type type, const void *from, int64_t i) {
    return type == AD_F32 ? (double)((const float *)from)[i] : ((const double *)from)[i];
}

// n elements, NaN, between two guards.
static char *guarded(ad_type type, int64_t n) {
    size_t bytes = (size_t)n * ad_type_size(type);
    char *p = malloc(bytes + 2 * GUARD);
    if (!p) return NULL;
    memset(p, 0xa5, bytes + 2 * GUARD);
    memset(p + GUARD, 0xff, bytes);
    return p;
}

static bool guards_hold(ad_type type, const char *p, int64_t n) {
    size_t bytes = (size_t)n * ad_type_size(type);
    for (size_t i = 0; i < GUARD; i++)
        if ((unsigned char)p[i] != 0xa5 || (unsigned char)p[GUARD + bytes + i] != 0xa5) return false;
    return true;
}

static bool agrees(ad_type type, double a, double b, double most) {
    const double tolerance = type == AD_F32 ? 50 * (double)FLT_EPSILON : 1e-12;
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance * most;
}

static double largest(const check_value *v) {
    double most = 1;
    for (int64_t i = 0; i < v->count * (v->rows ? v->rows : 1); i++) most = fmax(most, fabs(v->data[i]));
    return most;
}

static const char *type_name(ad_type type) {
    return type == AD_F32 ? "f32" : "f64";
}

// ---- elementwise ----------------------------------------------------------------------------------------------------

// Element j of an operand spread to the result's rows and features.
static double spread(const check_value *x, const check_value *y, int64_t j) {
    const int64_t r = j / y->count, f = j % y->count;
    return x->data[(x->rows ? r * x->count : 0) + (x->count == 1 ? 0 : f)];
}

// n elements at arrays shifted by one element; in_place: operand that the result replaces, -1: none.
static ad_status check_lanes_call(const call *k, int64_t n, int in_place, char *const *arrays) {
    const ad_type type = k->type;
    const size_t e = ad_type_size(type);
    const void *x[MOST_OPERANDS];
    for (uint32_t i = 0; i < k->node->n; i++) {
        for (int64_t j = 0; j < n; j++) put(type, arrays[i] + e, j, spread(&k->in[i], &k->y, j));
        x[i] = arrays[i] + e;
    }
    char *y = guarded(type, n + 1);
    if (!y) return ad_check_fail(k->check, AD_ENOMEM, "out of memory");
    void *to = in_place < 0 ? y + GUARD + e : arrays[in_place] + e;
    ad_fp_mode mode = ad_fp_flush();
    k->op->lanes[type]((size_t)n, to, x, k->attr);
    ad_fp_restore(mode);
    ad_status status = AD_OK;
    const double most = largest(&k->y);
    if (!guards_hold(type, y, n + 1))
        status = ad_check_fail(k->check, AD_EARG, "the %s kernel writes beyond its result (%lld elements)",
                               type_name(type), (long long)n);
    for (int64_t j = 0; j < n && status == AD_OK; j++)
        if (!agrees(type, get(type, to, j), k->y.data[j], most))
            status = ad_check_fail(k->check, AD_EARG, "the %s kernel%s: element %lld of %lld is %.9g, %.9g in a run",
                                   type_name(type), in_place < 0 ? "" : " with its result in place of an operand",
                                   (long long)j, (long long)n, get(type, to, j), k->y.data[j]);
    free(y);
    return status;
}

static ad_status check_lanes(const call *k) {
    const int64_t n = k->y.count * (k->y.rows ? k->y.rows : 1);
    char *arrays[MOST_OPERANDS] = {NULL};
    ad_status status = AD_OK;
    for (uint32_t i = 0; i < k->node->n; i++)
        if (!(arrays[i] = malloc((size_t)(n + 1) * ad_type_size(k->type)))) status = AD_ENOMEM;
    for (int64_t m = 0; m <= n && m <= 20 && status == AD_OK; m++) status = check_lanes_call(k, m, -1, arrays);
    for (uint32_t i = 0; i < k->node->n && status == AD_OK; i++) status = check_lanes_call(k, n, (int)i, arrays);
    for (uint32_t i = 0; i < k->node->n; i++) free(arrays[i]);
    return status;
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

// Operand i as [count][R]: padding repeats the last row, or (a row reduction must not see it) is something else.
static void *operand_new(const call *k, uint32_t i, int R, int live, ad_kernel_operand *x) {
    const check_value *in = &k->in[i];
    const bool reduces = k->op->flags & AD_OP_REDUCES_ROWS;
    const bool one = R == 1 || (!in->rows && (k->op->flags & AD_OP_STRIDED));
    const int lanes = one ? 1 : R;
    void *data = malloc((size_t)(in->count > 0 ? in->count : 1) * (size_t)lanes * ad_type_size(k->type));
    *x = (ad_kernel_operand){data, lanes, R > 1 && !one, k->shapes[i]};
    for (int64_t f = 0; data && f < in->count; f++)
        for (int r = 0; r < lanes; r++) {
            const int row = r < live ? r : live - 1;
            double v = in->data[(in->rows ? row * in->count : 0) + f];
            put(k->type, data, f * lanes + r, r >= live && reduces ? v + 1 : v);
        }
    return data;
}

static ad_status compare_block(const call *k, const char *y, int R, int live) {
    const double most = largest(&k->y);
    for (int64_t f = 0; f < k->y.count; f++)
        for (int r = 0; r < R; r++) {
            const int row = r < live ? r : live - 1;
            const double got = get(k->type, y, f * R + r), want = k->y.data[(k->y.rows ? row * k->y.count : 0) + f];
            if (agrees(k->type, got, want, most)) continue;
            if (r >= live)
                return ad_check_fail(
                    k->check, AD_EARG,
                    "the %s kernel: lane %d of %d, beyond the last row, is %.9g and does not repeat that row's %.9g",
                    type_name(k->type), r, R, got, want);
            return ad_check_fail(k->check, AD_EARG,
                                 "the %s kernel with R = %d: element %lld of row %d is %.9g, %.9g in a run",
                                 type_name(k->type), R, (long long)f, r, got, want);
        }
    return AD_OK;
}

// A reduction: written at first, then added to (or the larger taken).
static ad_status compare_sum(const call *k, const char *y, ad_type type, int calls) {
    const double times = k->op->flags & AD_OP_MAX_ROWS ? 1 : calls;
    for (int64_t f = 0; f < k->y.count; f++)
        if (!agrees(k->type, get(type, y, f), times * k->y.data[f], times * largest(&k->y)))
            return ad_check_fail(k->check, AD_EARG,
                                 "the %s kernel: element %lld of the reduction of %d blocks is %.9g, expected %.9g",
                                 type_name(k->type), (long long)f, calls, get(type, y, f), times * k->y.data[f]);
    return AD_OK;
}

static ad_status run_block(const call *k, ad_kernel *kernel, char *y, ad_type type) {
    const bool reduces = k->op->flags & AD_OP_REDUCES_ROWS;
    const int64_t n = k->y.count * (reduces ? 1 : kernel->R);
    ad_status status = AD_OK;
    for (int calls = 1; calls <= (reduces ? 2 : 1) && status == AD_OK; calls++) {
        kernel->first = calls == 1;
        ad_fp_mode mode = ad_fp_flush();
        k->op->kernel[k->type](kernel);
        ad_fp_restore(mode);
        if (!guards_hold(type, y, n))
            status = ad_check_fail(k->check, AD_EARG, "the %s kernel with R = %d writes beyond its result",
                                   type_name(k->type), kernel->R);
        else if (reduces)
            status = compare_sum(k, y + GUARD, type, calls);
        else
            status = compare_block(k, y + GUARD, kernel->R, kernel->live);
    }
    return status;
}

static ad_status check_block(call *k, int R, int live) {
    const bool reduces = k->op->flags & AD_OP_REDUCES_ROWS;
    const ad_type type = k->op->flags & AD_OP_F64_SUM ? AD_F64 : k->type;
    void *data[MOST_OPERANDS] = {NULL}, *scratch = NULL;
    ad_kernel kernel = {
        .n = (int)k->node->n, .R = R, .live = live, .x = k->x, .shape = &k->node->shape, .attr = k->attr};
    char *y = guarded(type, k->y.count * (reduces ? 1 : R));
    bool room = y != NULL;
    for (uint32_t i = 0; i < k->node->n; i++) room = (data[i] = operand_new(k, i, R, live, &k->x[i])) && room;
    if (k->op->scratch) room = (scratch = ad_aligned(k->op->scratch(&kernel, k->type) + 1, 1)) && room;
    kernel.scratch = scratch;
    kernel.y = room ? y + GUARD : NULL;
    ad_status status = room ? run_block(k, &kernel, y, type) : ad_check_fail(k->check, AD_ENOMEM, "out of memory");
    for (uint32_t i = 0; i < k->node->n; i++) free(data[i]);
    free(scratch);
    free(y);
    return status;
}

static ad_status check_blocks(call *k) {
    static const int lanes[] = {ROWS, 8, 33, 64};
    const bool reduces = k->op->flags & AD_OP_REDUCES_ROWS;
    if (!k->y.rows && !reduces) return check_block(k, 1, 1);
    ad_status status = reduces ? AD_OK : check_block(k, 1, 1);  // row 0
    for (size_t i = 0; i < sizeof lanes / sizeof lanes[0] && status == AD_OK; i++)
        status = check_block(k, lanes[i], ROWS);
    return status;
}

// ---- what a run had -------------------------------------------------------------------------------------------------

static ad_status read_kept(ad_var v, check_value *to) {
    to->rows = ad_has_rows(v) ? ROWS : 0;
    to->count = ad_shape_count(ad_shape_of(v));
    int64_t n = to->count * (to->rows ? to->rows : 1);
    free(to->data);
    to->data = malloc((size_t)(n > 0 ? n : 1) * sizeof *to->data);
    return to->data ? ad_read(v, to->data, n) : AD_ENOMEM;
}

static ad_status check_node(check *c, ad_type type, uint32_t id) {
    const ad_tape *t = c->tape[type];
    call k = {.check = c, .type = type, .op = ad_isa_op(c->op), .node = &t->nodes[id]};
    k.attr = ad_node_attr(t->stream, k.node);
    ad_status status = read_kept(ad_var_at(c->tape[type], id), &k.y);
    for (uint32_t i = 0; i < k.node->n && status == AD_OK; i++) {
        const uint32_t in = ad_node_inputs(t->stream, k.node)[i];
        k.shapes[i] = &t->nodes[in].shape;
        status = read_kept(ad_var_at(c->tape[type], in), &k.in[i]);
    }
    if (status != AD_OK)
        status = ad_check_fail(c, status, "%s", ad_tape_message(t));
    else
        status = c->op->flags & AD_OP_ELEMENTWISE ? check_lanes(&k) : check_blocks(&k);
    for (int i = 0; i < MOST_OPERANDS; i++) free(k.in[i].data);
    free(k.y.data);
    return status;
}

// Nodes of op that can be looked at; any loop makes values unreadable.
static int find_nodes(const check *c, const ad_tape *t, uint32_t *ids, bool *found) {
    int n = 0;
    bool loops = false;
    for (uint32_t id = 0; id < t->n_nodes; id++) {
        const ad_node *node = &t->nodes[id];
        loops = loops || node->op->role == AD_ROLE_LOOP;
        if (node->op != c->op) continue;
        *found = true;
        if (n < MOST_NODES && node->n > 0 && node->n <= MOST_OPERANDS) ids[n++] = id;
    }
    return loops || c->op->role != AD_ROLE_PLAIN ? 0 : n;
}

static ad_status check_type(check *c, ad_type type, bool *found) {
    ad_tape *t = c->tape[type];
    check_way way = ad_check_declared(c, type, ROWS);
    ad_source sources[CHECK_INPUTS];
    ad_var x[CHECK_INPUTS], g[CHECK_INPUTS];
    uint32_t ids[MOST_NODES];
    ad_var y = ad_check_record(c, &way, sources, x);
    if (ad_tape_status(t) == AD_OK && way.need) ad_grad(ad_check_weigh(y), x, c->test->n, g);
    int n = ad_tape_status(t) == AD_OK ? find_nodes(c, t, ids, found) : 0;
    for (int k = 0; k < n; k++) {
        ad_keep(ad_var_at(t, ids[k]));
        for (uint32_t i = 0; i < t->nodes[ids[k]].n; i++)
            ad_keep(ad_var_at(t, ad_node_inputs(t->stream, &t->nodes[ids[k]])[i]));
    }
    if (n) ad_run(t);
    if (ad_tape_status(t) != AD_OK) return ad_check_fail(c, ad_tape_status(t), "%s", ad_tape_message(t));
    ad_status status = AD_OK;
    for (int k = 0; k < n && status == AD_OK; k++) status = check_node(c, type, ids[k]);
    return status;
}

ad_status ad_check_kernels(check *c, bool *found) {
    ad_status status = check_type(c, AD_F64, found);
    return status == AD_OK ? check_type(c, AD_F32, found) : status;
}
