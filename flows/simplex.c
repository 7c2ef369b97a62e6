// simplex.c -- shares: positive numbers that sum to 1, by breaking a stick.
//
// With a_k = z_k - log(K - k), k from 1 to K - 1, a share takes sigmoid(a_k) of what those before it leave:
// log x_k = log sigmoid(a_k) + sum_{j<k} log sigmoid(-a_j). All is kept in logarithms, so that small shares keep their
// digits. Backwards a_k = log x_k - log sum_{j>k} x_j.
#include <math.h>

#include "internal.h"

typedef struct breaks {
    ad_var log_left;   // [K]: log of what is left before share k
    ad_var log_taken;  // [K-1]: log sigmoid(a)
    ad_var log_kept;   // [K-1]: log sigmoid(-a)
} breaks;

static breaks break_stick(ad_var a) {
    breaks b = {.log_taken = ad_log_sigmoid(a), .log_kept = ad_log_sigmoid(ad_neg(a))};
    b.log_left = ad_pad(ad_cumsum(b.log_kept, 0), 0, 1, 0, 0);
    return b;
}

// log(K - k): even shares at z = 0.
static ad_var offsets(ad_var like, int64_t K) {
    ad_var counts = ad_cumsum(ad_fill(like.tape, ad_shape1(K - 1), 1), 0);  // 1 .. K - 1
    return ad_log(ad_flip(counts, 0));
}

// log|det| of generate in the first K - 1 shares, whose Jacobian is triangular: sum of log(left sigmoid(a)
// sigmoid(-a)).
static ad_var log_det(const breaks *b, int64_t K) {
    return ad_add(ad_slice(b->log_left, 0, 0, K - 1), ad_add(b->log_taken, b->log_kept));
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    const int64_t K = layer->x_shape.dim[0];
    breaks b = break_stick(ad_sub(z, offsets(z, K)));
    ad_var x = ad_exp(ad_add(b.log_left, ad_pad(b.log_taken, 0, 0, 1, 0)));
    return (flow_result){x, log_det(&b, K)};
}

// Where a share is not positive there is no z: the density of such an x is 0.
static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    const int64_t K = layer->x_shape.dim[0];
    ad_tape *t = x.tape;
    ad_var outside = ad_max(ad_less_equal(x, ad_number(t, 0)));
    ad_var shares = ad_where(outside, ad_number(t, 1 / (double)K), x);
    ad_var rest = ad_flip(ad_cumsum(ad_flip(ad_slice(shares, 0, 1, K - 1), 0), 0), 0);  // sum of those after k
    ad_var a = ad_sub(ad_log(ad_slice(shares, 0, 0, K - 1)), ad_log(rest));
    breaks b = break_stick(a);
    ad_var density = ad_where(outside, ad_number(t, -INFINITY), ad_neg(log_det(&b, K)));
    return (flow_result){ad_add(a, offsets(x, K)), density};
}

static ad_var free_shares(const flow_layer *layer, ad_var x) {
    return ad_slice(x, 0, 0, layer->z_shape.dim[0]);
}

static ad_var complete(const flow_layer *layer, ad_var shares) {
    (void)layer;
    ad_var last = ad_reshape(ad_offset(ad_neg(ad_sum(shares)), 1), ad_shape1(1)), both[2] = {shares, last};
    return ad_concat(both, 2, 0);
}

flow_layer *flow_simplex(int64_t K, ad_error *error) {
    if (K < 2) {
        ad_fail(error, AD_EARG, "simplex: %lld shares; expected 2 or more", (long long)K);
        return NULL;
    }
    flow_layer *layer = flow_layer_new(&flow_simplex_type, sizeof *layer, K, 0, error);
    if (layer) layer->z_shape = ad_shape1(K - 1);
    return layer;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "shares", (json_int_t)layer->x_shape.dim[0]);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t K;
    return flow_json_int(options, "shares", 2, FLOW_MAX_FEATURES, &K, error) ? flow_simplex(K, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    return flow_simplex(2 + i % 5, error);
}

const flow_layer_type flow_simplex_type = {.name = "simplex",
                                           .normalize = normalize,
                                           .generate = generate,
                                           .describe = describe,
                                           .make = make,
                                           .example = example,
                                           .coordinates = free_shares,
                                           .complete = complete};
