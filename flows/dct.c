// dct.c -- the orthonormal discrete cosine transform of the features: smooth signals become few large numbers.
//
// z_k = a_k sum_n x_n cos(pi (2 n + 1) k / (2 D)), a_0 = sqrt(1/D), else sqrt(2/D) (DCT-II). Its matrix is orthogonal:
// log_det 0, generate the transpose.
#include <math.h>

#include "internal.h"

enum { MOST_FEATURES = 2048 };  // whole numbers up to 2 D^2 are exact in f32

// [D,D], recorded rather than stored: made once a step, however many rows there are. The angle's (2 n + 1) k is brought
// into 0 to 4 D first, in whole numbers, so that it keeps its digits.
static ad_var matrix(ad_tape *tape, int64_t D) {
    ad_var k = ad_cumsum(ad_fill(tape, ad_shape1(D), 1), 0);  // 1 to D
    ad_var product = ad_outer(ad_offset(k, -1), ad_offset(ad_scale(k, 2), -1));
    ad_var turns = ad_floor(ad_scale(product, 1 / (4 * (double)D)));
    ad_var angle = ad_scale(ad_sub(product, ad_scale(turns, 4 * (double)D)), 3.14159265358979323846 / (2 * (double)D));
    ad_var first = ad_less(k, ad_number(tape, 1.5));
    ad_var a = ad_where(first, ad_number(tape, sqrt(1 / (double)D)), ad_number(tape, sqrt(2 / (double)D)));
    return ad_mul(ad_cos(angle), ad_insert_axis(a, 1));
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    (void)context;
    return (flow_result){ad_linear(matrix(x.tape, layer->x_shape.dim[0]), x, AD_NONE), AD_NONE};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    (void)context;
    return (flow_result){ad_linear_transposed(matrix(z.tape, layer->x_shape.dim[0]), z), AD_NONE};
}

flow_layer *flow_dct(int64_t D, ad_error *error) {
    if (D <= MOST_FEATURES) return flow_layer_new(&flow_dct_type, sizeof(flow_layer), D, 0, error);
    ad_fail(error, AD_EARG, "dct: %lld features, expected at most %d", (long long)D, MOST_FEATURES);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    return json_pack("{s:I}", "features", (json_int_t)layer->x_shape.dim[0]);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    (void)making;
    int64_t D;
    return flow_json_int(options, "features", 1, MOST_FEATURES, &D, error) ? flow_dct(D, error) : NULL;
}

static flow_layer *example(int i, ad_error *error) {
    return flow_dct(1 + i % 9, error);
}

const flow_layer_type flow_dct_type = {.name = "dct",
                                       .structure = FLOW_ORTHOGONAL,
                                       .normalize = normalize,
                                       .generate = generate,
                                       .describe = describe,
                                       .make = make,
                                       .example = example};
