// layers.h -- for tests of single layers: their tensors set from reference files, both directions run in either type.
#ifndef PULLBACK_TESTS_LAYERS_H
#define PULLBACK_TESTS_LAYERS_H

#include "flows.h"
#include "npz.h"

// Every call that makes something fills this in when it fails.
static ad_error layers_error;

#define layers_assert_made(p)                           \
    do {                                                \
        if (!(p)) fail_msg("%s", layers_error.message); \
    } while (0)

// A constructor's answer, which should be a refusal.
static inline void layers_assert_refused(flow_layer *layer, ad_status status, const char *words) {
    if (layer) fail_msg("not refused: %s", words);
    assert_int_equal(layers_error.status, status);
    util_assert_contains(layers_error.message, words);
}

static inline ad_param *layers_param(const flow_layer *layer, const char *name) {
    for (int i = 0; i < layer->owner.n_params; i++) {
        if (strcmp(layer->owner.params[i]->name, name) == 0) return layer->owner.params[i];
    }
    fail_msg("no parameter '%s'", name);
    return NULL;
}

static inline flow_owner *layers_part(const flow_layer *layer, const char *name) {
    for (int i = 0; i < layer->owner.n_parts; i++) {
        if (strcmp(layer->owner.parts[i].name, name) == 0) return layer->owner.parts[i].owner;
    }
    fail_msg("no part '%s'", name);
    return NULL;
}

static inline void layers_set(ad_param *param, const double *values) {
    for (int64_t i = 0; i < param->count; i++) ad_param_set(param, i, values[i]);
}

// One direction of n rows of D features: value [n][D] and log_det [n].
static inline void layers_run(const flow_layer *layer, ad_type type, bool normalize, const double *in, int64_t n,
                              double *value, double *log_det) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(in, n);
    ad_var v = ad_input(util_rows(tape, "data", n), layer->x_shape, &source);
    flow_result r = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_keep(r.value);
    ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, value, n * layer->x_shape.dim[0]);
    util_read(r.log_det, log_det, n);
    ad_tape_free(tape);
}

// S = sum over n rows of cot_value . value + cot_log_det log_det: its gradient in the input, and in parameters' grad.
static inline void layers_gradients(const flow_layer *layer, bool normalize, const double *in, int64_t n,
                                    const double *cot_value, const double *cot_log_det, double *gradient) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    int64_t D = layer->x_shape.dim[0];
    ad_source sources[] = {util_source(in, n), util_source(cot_value, n), util_source(cot_log_det, n)};
    ad_rows rows = util_rows(tape, "data", n);
    ad_var v = ad_input(rows, layer->x_shape, &sources[0]), g;
    flow_result r = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_var parts[] = {ad_sum(ad_mul(r.value, ad_input(rows, layer->x_shape, &sources[1]))),
                      ad_mul(r.log_det, ad_input(rows, ad_shape0(), &sources[2]))};
    ad_var S = ad_sum_rows(ad_add(parts[0], parts[1]));
    ad_grad(S, &v, 1, &g);
    ad_keep(g);
    if (ad_backward(S) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    util_read(g, gradient, n * D);
    ad_tape_free(tape);
}

#endif
