// check_rows.c -- an op's test evaluated in all the ways that must give the same.
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

// f64: a sum may be taken in another order. f32: 50 units of rounding of the tensor's largest element (PROMISES G5).
#define SAME_F64 1e-12
#define SAME_F32 (50 * (double)FLT_EPSILON)

enum { ROWS = 3 };

// ---- f32 ------------------------------------------------------------------------------------------------------------

// How far a step of half a unit in each input moves the result, as a tolerance for it.
static double conditioning(const check *c, const check_result *at, const check_result *moved, unsigned need) {
    double worst = 0;
    for (int i = -1; i < c->test->n; i++) {
        const check_value *a = i < 0 ? &at->y : &at->g[i], *b = i < 0 ? &moved->y : &moved->g[i];
        double most = 1, change = 0;
        if (i >= 0 && !(need >> i & 1)) continue;
        for (int64_t j = 0; j < a->count * (a->rows ? a->rows : 1); j++) {
            most = fmax(most, fabs(a->data[j]));
            change = fmax(change, fabs(a->data[j] - b->data[j]));
        }
        worst = fmax(worst, change / most);
    }
    return worst;
}

// 50 units of rounding, and where the point is worse conditioned than that 32 times what half a unit in the inputs
// does. Leaves the result in f64 in want.
static ad_status f32_against_f64(check *c, check_way way, check_result *got, check_result *want, const char *what) {
    check_result moved = {0};
    double allowed = SAME_F32;
    way.type = AD_F64;
    ad_check_evaluate(c, &way, want);
    if (want->status != AD_OK) return ad_check_fail(c, want->status, "%s: %s", what, want->message);
    way.moved = true;
    ad_check_evaluate(c, &way, &moved);
    if (moved.status == AD_OK) allowed += 32 * conditioning(c, want, &moved, way.need);
    ad_check_release(&moved);
    way.moved = false, way.type = AD_F32;
    ad_check_evaluate(c, &way, got);
    return ad_check_same(c, got, want, way.need, allowed, what);
}

static ad_status check_f32(check *c, check_result *got, check_result *want) {
    return f32_against_f64(c, ad_check_declared(c, AD_F64, ROWS), got, want, "f32 against f64");
}

// ---- rows and shared ------------------------------------------------------------------------------------------------

// Inputs per row by the bits of mask, against the declared ones. An input that is shared in either has one value for
// all rows. An op may refuse (a linear layer's weights are shared): then with an error, which evaluate has seen to.
static ad_status rows_against_shared(check *c, unsigned mask, check_result *got, check_result *want) {
    char what[160] = "", *p = what;
    check_way way = ad_check_declared(c, AD_F64, ROWS), declared = way;
    for (int i = 0; i < c->test->n; i++) {
        way.rows[i] = mask >> i & 1;
        way.repeat[i] = declared.repeat[i] = !(way.rows[i] && declared.rows[i]);
        if (way.rows[i] != declared.rows[i])
            p += snprintf(p, (size_t)(what + sizeof what - p), "%sinput %d %s", p == what ? "" : ", ", i,
                          way.rows[i] ? "per row" : "shared");
    }
    ad_check_evaluate(c, &way, got);
    if (got->status != AD_OK)
        return got->message[0] ? AD_OK : ad_check_fail(c, AD_EARG, "%s: refused without a message", what);
    ad_check_evaluate(c, &declared, want);
    ad_status status = ad_check_same(c, got, want, way.need, SAME_F64, what);
    if (status != AD_OK) return status;
    snprintf(p, (size_t)(what + sizeof what - p), ", f32 against f64");
    return f32_against_f64(c, way, got, want, what);
}

static ad_status check_sharing(check *c, check_result *got, check_result *want) {
    ad_status status = AD_OK;
    unsigned declared = 0;
    for (int i = 0; i < c->test->n; i++) declared |= (unsigned)c->in[i].rows << i;
    for (unsigned mask = 0; mask < 1u << c->test->n && status == AD_OK; mask++)
        if (mask != declared) status = rows_against_shared(c, mask, got, want);
    return status;
}

// ---- one value as several operands ----------------------------------------------------------------------------------

// Against equal values as operands of their own, whose gradients add up.
static ad_status check_alias(check *c, check_result *got, check_result *want) {
    double low = c->in[0].low, high = c->in[0].high;
    for (int i = 1; i < c->test->n; i++) {
        if (!ad_shape_equal(c->in[i].shape, c->in[0].shape)) return AD_OK;
        low = fmax(low, c->in[i].low), high = fmin(high, c->in[i].high);
    }
    if (c->test->n < 2 || !(high - low > 0.02)) return AD_OK;
    check_way way = ad_check_declared(c, AD_F64, ROWS);
    for (int i = 1; i < c->test->n; i++) way.rows[i] = way.rows[0];
    ad_check_choose(c, low, high);
    for (int i = 1; i < c->test->n; i++) memcpy(c->x[i], c->x[0], (size_t)(CHECK_ROWS * c->count[0]) * sizeof(double));
    ad_check_evaluate(c, &way, want);
    if (want->status != AD_OK) return AD_OK;  // seen above
    for (int i = 1; i < c->test->n && way.need; i++)
        for (int64_t j = 0; j < want->g[0].count * (want->g[0].rows ? want->g[0].rows : 1); j++)
            want->g[0].data[j] += want->g[i].data[j];
    way.alias = true, way.need = way.need ? 1 : 0;
    ad_check_evaluate(c, &way, got);
    return ad_check_same(c, got, want, way.need, SAME_F64, "one value as all operands");
}

// ---- some gradients only --------------------------------------------------------------------------------------------

static ad_status check_needs(check *c, check_result *got, check_result *want) {
    check_way way = ad_check_declared(c, AD_F64, ROWS);
    if (c->test->n < 2 || !way.need) return AD_OK;
    ad_status status = AD_OK;
    ad_check_evaluate(c, &way, want);
    for (unsigned need = 1; need < (1u << c->test->n) - 1 && status == AD_OK; need++) {
        char what[80];
        snprintf(what, sizeof what, "gradients in some inputs only (of 0 to %d, mask %#x)", c->test->n - 1, need);
        way.need = need;
        ad_check_evaluate(c, &way, got);
        status = ad_check_same(c, got, want, need, SAME_F64, what);
    }
    return status;
}

// ---- batches --------------------------------------------------------------------------------------------------------

static ad_status same_bits(const check *c, const check_value *part, const check_value *all, int64_t first,
                           const char *what) {
    if (!part->rows || !all->rows || all->meet) return AD_OK;
    for (int64_t j = 0; j < part->rows * part->count; j++) {
        double p = part->data[j], q = all->data[first * all->count + j];
        if (memcmp(&p, &q, sizeof p) == 0 || (isnan(p) && isnan(q))) continue;
        return ad_check_fail(c, AD_EARG,
                             "row %lld: element %lld of the %s is %.17g in a batch of %lld rows, %.17g in one of %d",
                             (long long)(first + j / part->count), (long long)(j % part->count), what, p,
                             (long long)part->rows, q, CHECK_ROWS);
    }
    return AD_OK;
}

// Rows [first, first + count) as a batch of their own: to the bit what they were among all.
static ad_status check_batch(check *c, ad_type type, int64_t first, int64_t count, check_result *got,
                             const check_result *all) {
    check_way way = ad_check_declared(c, type, count);
    way.first = first;
    for (int i = 0; i < c->test->n; i++) way.repeat[i] = !way.rows[i];  // shared ones are row 0
    ad_check_evaluate(c, &way, got);
    if (got->status != AD_OK) return ad_check_fail(c, got->status, "%lld rows: %s", (long long)count, got->message);
    ad_status status = same_bits(c, &got->y, &all->y, first, "value");
    for (int i = 0; i < c->test->n && status == AD_OK; i++)
        if (way.need >> i & 1) status = same_bits(c, &got->g[i], &all->g[i], first, "gradient");
    return status;
}

static ad_status check_batches(check *c, check_result *got, check_result *all) {
    static const int64_t part[][2] = {{0, 1}, {31, 1}, {64, 1}, {0, 2}, {7, 2}, {2, 63}, {0, 64}, {1, 64}};
    ad_status status = AD_OK;
    for (int type = 0; type < 2 && status == AD_OK; type++) {
        check_way way = ad_check_declared(c, (ad_type)type, CHECK_ROWS);
        ad_check_evaluate(c, &way, all);
        if (all->status != AD_OK) return ad_check_fail(c, all->status, "%d rows: %s", CHECK_ROWS, all->message);
        for (size_t k = 0; k < sizeof part / sizeof part[0] && status == AD_OK; k++)
            status = check_batch(c, (ad_type)type, part[k][0], part[k][1], got, all);
    }
    return status;
}

// ---- against expand -------------------------------------------------------------------------------------------------

static ad_var expanded(void *arg, ad_rows rows, const ad_var *x, int n, const void *attr, size_t attr_size) {
    (void)rows, (void)attr_size;
    return ((check *)arg)->op->expand(x, n, attr);
}

static ad_var without_vjp_kernel(void *arg, ad_rows rows, const ad_var *x, int n, const void *attr, size_t attr_size) {
    return ad_apply_rows(&((check *)arg)->without, x[0].tape, rows, x, n, attr, attr_size);
}

static ad_status check_expansion(check *c, check_result *got, check_result *want) {
    ad_status status = AD_OK;
    const bool vjp_kernel = c->op->vjp_kernel[0] || c->op->vjp_kernel[1];
    for (int type = 0; type < 2 && status == AD_OK; type++) {
        check_way way = ad_check_declared(c, (ad_type)type, ROWS), other = way;
        const double tolerance = type == AD_F32 ? SAME_F32 : SAME_F64;
        if (c->op->expand) {
            other.with = expanded;
            ad_check_evaluate(c, &way, got);
            ad_check_evaluate(c, &other, want);
            if (want->status != AD_OK) return ad_check_fail(c, want->status, "its expansion: %s", want->message);
            status = ad_check_same(c, got, want, way.need, tolerance, "against its expansion");
        }
        if (status == AD_OK && vjp_kernel && c->op->vjp) {
            other.with = without_vjp_kernel;
            ad_check_evaluate(c, &way, got);
            ad_check_evaluate(c, &other, want);
            status = ad_check_same(c, got, want, way.need, tolerance, "vjp kernel against vjp");
        }
    }
    return status;
}

ad_status ad_check_ways(check *c) {
    ad_status (*const steps[])(check *, check_result *, check_result *) = {check_expansion, check_f32,     check_needs,
                                                                           check_sharing,   check_batches, check_alias};
    check_result got = {0}, want = {0};
    ad_status status = AD_OK;
    ad_check_choose(c, 0, 0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && status == AD_OK; i++) status = steps[i](c, &got, &want);
    ad_check_release(&got);
    ad_check_release(&want);
    return status;
}
