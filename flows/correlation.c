// correlation.c -- Cholesky factors of correlation matrices by partial correlations (Lewandowski, Kurowicka and Joe
// 2009).
//
// Row i of L has length 1. With w = tanh(z) of as many numbers as it has below the diagonal, L_ij = w_j r_j, where
// r_j^2 = prod_{k<j} (1 - w_k^2) is what those before it leave, and L_ii = r_i. log r_j = -sum_{k<j} log cosh z_k.
// Backwards z_j = asinh(L_ij / |what comes after it|).
#include <math.h>

#include "internal.h"

enum { MOST = 64 };  // a few ops are recorded for each row

static int64_t side(const flow_layer *layer) {
    return (int64_t)(sqrt((double)layer->x_shape.dim[0]) + 0.5);
}

// The first row, (1, 0, ..., 0), with rows where like has them.
static ad_var first_row(ad_var like, int64_t K) {
    ad_var row = ad_pad(ad_fill(like.tape, ad_shape1(1), 1), 0, 0, K - 1, 0);
    return ad_has_rows(like) ? ad_to_rows(row, ad_rows_of(like)) : row;
}

static ad_var log_cosh(ad_var z) {
    ad_var size = ad_abs(z);  // no large numbers cancel
    return ad_offset(ad_add(size, ad_softplus(ad_scale(size, -2))), -0.69314718055994530942);
}

// log|det| of generate in one row's free elements: sum of log(r_j (1 - w_j^2)). log_r [n+1].
static ad_var row_log_det(ad_var log_cosh_z, ad_var log_r, int64_t n) {
    return ad_sub(ad_slice(log_r, 0, 0, n), ad_scale(log_cosh_z, 2));
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const int64_t K = side(layer);
    ad_var rows[MOST], terms[MOST];
    rows[0] = first_row(z, K);
    for (int64_t i = 1, at = 0; i < K; at += i, i++) {
        ad_var y = ad_slice(z, 0, at, i), s = log_cosh(y);
        ad_var log_r = ad_pad(ad_neg(ad_cumsum(s, 0)), 0, 1, 0, 0);
        rows[i] = ad_pad(ad_mul(ad_pad(ad_tanh(y), 0, 0, 1, 1), ad_exp(log_r)), 0, 0, K - 1 - i, 0);
        terms[i - 1] = row_log_det(s, log_r, i);
    }
    return (flow_result){ad_concat(rows, (int)K, 0), ad_concat(terms, (int)K - 1, 0)};
}

// Where a diagonal element is not positive there is no z: the density of such an L is 0. What stands above the
// diagonal, and how long rows are, is not looked at.
static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const int64_t K = side(layer);
    ad_tape *t = x.tape;
    ad_var numbers[MOST], terms[MOST], zero = ad_number(t, 0);
    for (int64_t i = 1; i < K; i++) {
        ad_var row = ad_slice(x, 0, i * K + 1, i), diagonal = ad_slice(row, 0, i - 1, 1);
        ad_var squares = ad_flip(ad_cumsum(ad_flip(ad_square(row), 0), 0), 0);  // of what comes after element j
        ad_var outside = ad_maximum(ad_less_equal(diagonal, zero), ad_less_equal(squares, zero));
        ad_var after = ad_sqrt(ad_where(outside, ad_number(t, 1), squares));
        numbers[i - 1] = ad_asinh(ad_div(ad_slice(x, 0, i * K, i), after));
        ad_var s = log_cosh(numbers[i - 1]), log_r = ad_pad(ad_neg(ad_cumsum(s, 0)), 0, 1, 0, 0);
        terms[i - 1] = ad_where(outside, ad_number(t, -INFINITY), ad_neg(row_log_det(s, log_r, i)));
    }
    return (flow_result){ad_concat(numbers, (int)K - 1, 0), ad_concat(terms, (int)K - 1, 0)};
}

// The elements below the diagonal, row by row; and L from them.
static ad_var free_elements(const flow_layer *layer, ad_var x) {
    const int64_t K = side(layer);
    ad_var rows[MOST];
    for (int64_t i = 1; i < K; i++) rows[i - 1] = ad_slice(x, 0, i * K, i);
    return ad_concat(rows, (int)K - 1, 0);
}

static ad_var complete(const flow_layer *layer, ad_var elements) {
    const int64_t K = side(layer);
    ad_var rows[MOST];
    rows[0] = first_row(elements, K);
    for (int64_t i = 1, at = 0; i < K; at += i, i++) {
        ad_var row = ad_slice(elements, 0, at, i);
        ad_var diagonal = ad_sqrt(ad_reshape(ad_offset(ad_neg(ad_sum(ad_square(row))), 1), ad_shape1(1)));
        ad_var both[2] = {row, diagonal};
        rows[i] = ad_pad(ad_concat(both, 2, 0), 0, 0, K - 1 - i, 0);
    }
    return ad_concat(rows, (int)K, 0);
}

flow_layer *flow_correlation(int64_t K, ad_error *error) {
    if (K < 2 || K > MOST) {
        ad_fail(error, AD_EARG, "correlation: matrices of %lld rows; expected 2 to %d", (long long)K, MOST);
        return NULL;
    }
    flow_layer *layer = flow_layer_new(&flow_correlation_type, sizeof *layer, K * K, 0, error);
    if (layer) layer->z_shape = ad_shape1(K * (K - 1) / 2);
    return layer;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "rows", (json_int_t)side(layer));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t K;
    return flow_json_int(options, "rows", 2, MOST, &K, error) ? flow_correlation(K, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    return flow_correlation(2 + i % 2, error);
}

const flow_layer_type flow_correlation_type = {.name = "correlation",
                                               .normalize = normalize,
                                               .generate = generate,
                                               .describe = describe,
                                               .make = make,
                                               .example = example,
                                               .coordinates = free_elements,
                                               .complete = complete};
