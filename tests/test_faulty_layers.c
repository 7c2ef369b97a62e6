// test_faulty_layers.c -- flow_check names what is wrong with a layer: each fault of one that is right otherwise.
#include <jansson.h>

#include "flows.h"
#include "util.h"

static ad_error error;

// ---- a layer with a fault: z = e^a (x0, x1 + t(x0, context)) times gain --------------------------------------------

typedef enum fault_kind {
    NO_FAULT,
    WRONG_SIGN,
    FORGOTTEN,
    FORGOTTEN_TERM,
    FORGOTTEN_CONSTANT,
    FORGOTTEN_IN_GENERATE,
    NOT_INVERSE,
    SWAPPED,
    FOLDED,
    SINGULAR,
    LEAK,
    LEAK_IN_LOG_DET,
    IGNORED_CONTEXT,
    STOPPED_GRADIENT,
    NOT_FINITE,
    CHANGED_STATE,
    COUNTED,
    KEPT_HANDLE,
    LOST_OPTION,
    LOST_TENSOR,
    BAD_MAKE,
    LOST_DIGITS,
    OVERFLOW_IN_F32,
    NAN_FAR_OUT,
    NAN_SLOPE
} fault_kind;

typedef struct faulty {
    flow_layer layer;
    fault_kind fault;
    ad_param *a;  // [2]
    ad_state *seen;
    double gain;  // an option
    int recorded;
    ad_var kept;
} faulty;

// Shift of feature 1: what feature 0 and the context say.
static ad_var shift(const faulty *f, ad_var x0, ad_var context) {
    ad_var t = ad_scale(ad_tanh(x0), 0.7);
    if (f->fault == STOPPED_GRADIENT) t = ad_scale(ad_stop_gradient(ad_tanh(x0)), 0.7);
    if (f->fault == LEAK) t = ad_add(t, ad_mean_rows(x0));
    if (f->fault == COUNTED) t = ad_offset(t, 1e-13 * f->recorded);
    if (f->fault == CHANGED_STATE) t = ad_add(t, ad_use_state(x0.tape, f->seen));
    if (f->fault == LOST_DIGITS) t = ad_offset(ad_offset(t, 3e4), -3e4);
    if (f->fault == OVERFLOW_IN_F32)
        t = ad_scale(ad_div(ad_exp(ad_offset(t, 100)), ad_exp(ad_number(t.tape, 100))), 0.1);
    if (f->fault == NAN_FAR_OUT) t = ad_div(ad_power(x0, 20), ad_add(ad_power(x0, 20), ad_number(t.tape, 1)));
    if (f->fault == NAN_SLOPE) t = ad_sqrt(ad_square(x0));
    if (f->layer.C && f->fault != IGNORED_CONTEXT) t = ad_add(t, ad_sum(context));
    return ad_reshape(t, ad_shape1(1));
}

static ad_var log_det_of(const faulty *f, ad_var a, ad_var x0, double sign) {
    ad_var right = ad_offset(ad_scale(a, sign), sign * log(f->gain));
    switch (f->fault) {
        case WRONG_SIGN:
            return ad_neg(right);
        case FORGOTTEN:
            return AD_NONE;
        case FORGOTTEN_IN_GENERATE:
            return sign < 0 ? AD_NONE : right;
        case FORGOTTEN_TERM:
            return ad_slice(right, 0, 1, 1);
        case FORGOTTEN_CONSTANT:
            return ad_offset(right, 0.25);
        case LEAK_IN_LOG_DET:
            return ad_add(right, ad_scale(ad_sub(x0, ad_mean_rows(x0)), 1e-12));
        default:
            return right;
    }
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    faulty *f = (faulty *)(uintptr_t)layer;
    f->recorded++;
    if (f->fault == FOLDED) {
        return (flow_result){ad_square(x), ad_scale(ad_log(ad_scale(ad_square(x), 4)), 0.5)};
    }
    if (f->fault == KEPT_HANDLE && f->recorded > 1) return (flow_result){f->kept, AD_NONE};
    ad_var a = ad_use(x.tape, f->a), x0 = ad_slice(x, 0, 0, 1), t = shift(f, x0, context);
    ad_var both[2] = {x0, ad_add(f->fault == SINGULAR ? ad_scale(x0, 2) : ad_slice(x, 0, 1, 1), t)};
    ad_var z = ad_scale(ad_mul(ad_concat(both, 2, 0), ad_exp(a)), f->gain);
    if (f->fault == NOT_FINITE) z = ad_log(z);
    if (f->fault == CHANGED_STATE) ad_assign(f->seen, ad_mean_rows(x0));
    f->kept = z;
    return (flow_result){z, log_det_of(f, a, x0, 1)};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const faulty *f = (const faulty *)layer;
    ad_var a = ad_use(z.tape, f->a), u = ad_scale(ad_mul(z, ad_exp(ad_neg(a))), 1 / f->gain);
    ad_var x0 = ad_slice(u, 0, 0, 1), t = shift(f, x0, context);
    if (f->fault == NOT_INVERSE) t = ad_scale(t, 1.0001);
    ad_var both[2] = {x0, ad_sub(ad_slice(u, 0, 1, 1), t)};
    ad_var x = ad_concat(both, 2, 0);
    return (flow_result){f->fault == SWAPPED ? ad_flip(x, 0) : x, log_det_of(f, a, x0, -1)};
}

static json_t *describe(const flow_layer *layer) {
    const faulty *f = (const faulty *)layer;
    return json_pack("{s:i, s:f}", "fault", (int)f->fault, "gain", f->fault == LOST_OPTION ? 1 : f->gain);
}

static const flow_layer_type faulty_type;

static flow_layer *new_faulty(fault_kind fault, double gain, ad_type type, ad_error *e) {
    faulty *f = flow_layer_new(&faulty_type, sizeof *f, 2, 1, e);
    assert_non_null(f);
    f->fault = fault;
    f->gain = gain;
    f->a = flow_add_param(&f->layer.owner, "a", type, ad_shape1(2), e);
    f->seen = flow_add_state(&f->layer.owner, "seen", AD_F64, ad_shape1(1), e);
    assert_true(f->a && f->seen);
    ad_param_set(f->a, 0, 0.4);
    ad_param_set(f->a, 1, -0.7);
    return &f->layer;
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *e) {
    (void)making;
    fault_kind fault = (fault_kind)json_integer_value(json_object_get(options, "fault"));
    if (fault == BAD_MAKE) {
        ad_fail(e, AD_EFORMAT, "faulty: \"colour\" should be a text");
        return NULL;
    }
    double gain = json_number_value(json_object_get(options, "gain"));
    return new_faulty(fault, gain, fault == LOST_TENSOR ? AD_F32 : AD_F64, e);
}

static const flow_layer_type faulty_type = {
    .name = "faulty", .normalize = normalize, .generate = generate, .describe = describe, .make = make};

static void check_layer(flow_layer *layer, const flow_check_options *options, const char *words) {
    ad_status status = flow_check(layer, options, &error);
    flow_layer_free(layer);
    if (!words && status != AD_OK) fail_msg("%s", error.message);
    if (!words) return;
    if (status == AD_OK) fail_msg("not noticed: %s", words);
    util_assert_contains(error.message, words);
}

static void a_right_layer_passes(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        check_layer(new_faulty(NO_FAULT, 1.25, AD_F64, &error), &(flow_check_options){.seed = seed}, NULL);
    }
}

static const struct named {
    fault_kind fault;
    const char *words;
} faults[] = {
    {WRONG_SIGN, "log_det of normalize is wrong: it has the wrong sign"},
    {FORGOTTEN, "log_det of normalize is wrong: it is forgotten"},
    {FORGOTTEN_TERM, "log_det of normalize is wrong: a constant term is forgotten or wrong"},
    {FORGOTTEN_CONSTANT, "a constant term is forgotten or wrong"},
    {FORGOTTEN_IN_GENERATE, "log_det of generate is wrong: it is forgotten"},
    {NOT_INVERSE, "generate does not undo normalize: row"},
    {SWAPPED, "generate does not undo normalize, its features come back in another order: row"},
    {FOLDED, "generate does not undo normalize"},
    {SINGULAR, "normalize is not invertible: its Jacobian is singular in row"},
    {LEAK, "of normalize depends on the other rows of the batch: alone, its value"},
    {LEAK_IN_LOG_DET, "alone, its log_det"},
    {IGNORED_CONTEXT, "normalize ignores the context"},
    {STOPPED_GRADIENT, "the gradient of normalize in the input is wrong"},
    {NOT_FINITE, "normalize gives nan in row"},
    {CHANGED_STATE, "running normalize changes its state 'seen'"},
    {COUNTED, "normalize run again on the same rows gives another value: it depends on something beside"},
    {KEPT_HANDLE, "normalize cannot be computed"},
    {LOST_OPTION,
     "made again from its description, with the same tensors, normalize gives another value: describe or make"},
    {LOST_TENSOR, "made again from its description it has other tensors"},
    {BAD_MAKE, "it cannot be made again from its description: faulty: \"colour\" should be a text"},
    {LOST_DIGITS, "in f32 normalize loses digits: the value of row"},
    {OVERFLOW_IN_F32, "in f32 normalize loses digits: the value of row"},
    {NAN_FAR_OUT, "the value of normalize is nan at an extreme input, -1e+30 (in all features), in f64"},
    {NAN_SLOPE, "the gradient of normalize is nan at an extreme input, -0 (in all features), in f64"},
};

static void each_fault_is_named(void **state) {
    const struct named *n = *state;
    check_layer(new_faulty(n->fault, 1.25, AD_F64, &error), NULL, n->words);
}

// ---- other layers --------------------------------------------------------------------------------------------------

// z = logit(x); its log_det as z - 2 log x, right inside of (0, 1), inf - inf at 0.
static flow_result logit(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer, (void)context;
    ad_var z = ad_logit(x);
    return (flow_result){z, ad_sub(z, ad_scale(ad_log(x), 2))};
}
static flow_result sigmoid(const flow_layer *layer, ad_var z, ad_var context) {
    (void)layer, (void)context;
    return (flow_result){ad_sigmoid(z), ad_add(ad_log_sigmoid(z), ad_log_sigmoid(ad_neg(z)))};
}
static const flow_layer_type edge_type = {.name = "edge", .normalize = logit, .generate = sigmoid};

static void a_nan_at_an_edge_is_named(void **state) {
    (void)state;
    flow_layer *layer = flow_layer_new(&edge_type, sizeof *layer, 1, 0, &error);
    layer->high = 1;
    check_layer(layer, NULL, "the log_det of normalize is nan at an extreme input, 0 (one feature), in f64");
}

// z = x and as much again above 0; a slope of its own at the kink, where points lie 1e-11 off.
static flow_result bend(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer, (void)context;
    ad_var above = ad_greater(x, ad_number(x.tape, 0));
    return (flow_result){ad_add(x, ad_relu(x)), ad_scale(above, log(2))};
}
static flow_result unbend(const flow_layer *layer, ad_var z, ad_var context) {
    (void)layer, (void)context;
    ad_var above = ad_greater(z, ad_number(z.tape, 0));
    return (flow_result){ad_sub(z, ad_scale(ad_relu(z), 0.5)), ad_scale(above, -log(2))};
}
static const flow_layer_type bent_type = {.name = "bent", .normalize = bend, .generate = unbend};

static void a_kink_is_no_wrong_gradient(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        flow_layer *layer = flow_layer_new(&bent_type, sizeof *layer, 3, 0, &error);
        check_layer(layer, &(flow_check_options){.spread = 1e-11, .seed = seed}, NULL);
    }
}

// Of a spline whose points all lie in its tails no context changes a bit.
static void contexts_count_inside_of_boxes(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        flow_layer *layer = flow_elementwise(1, 1, flow_spline_transformer(NULL, &error), NULL, &error);
        assert_non_null(layer);
        check_layer(layer, &(flow_check_options){.spread = 10, .rows = 1, .brief = true, .seed = seed}, NULL);
    }
}

static void brief_leaves_out_what_is_looked_at_once(void **state) {
    (void)state;
    check_layer(new_faulty(NAN_FAR_OUT, 1.25, AD_F64, &error), &(flow_check_options){.brief = true}, NULL);
}

static void a_type_without_make_is_named(void **state) {
    (void)state;
    flow_layer_type half = faulty_type;
    half.make = NULL;
    flow_layer *layer = new_faulty(NO_FAULT, 1.25, AD_F64, &error);
    layer->type = &half;
    check_layer(layer, NULL, "it can be described, but the type has no make");
}

static void a_chain_knows_the_types_of_its_layers(void **state) {
    (void)state;
    flow_layer *layers[2] = {new_faulty(NO_FAULT, 1.25, AD_F64, &error), flow_permutation(2, NULL, &error)};
    check_layer(flow_chain(layers, 2, &error), NULL, NULL);
}

// A net of one's own inside a layer is made again when its type is given.
static ad_var twice(const flow_net *net, ad_var x) {
    (void)net;
    return ad_tanh(ad_scale(x, 2));
}
static json_t *describe_net(const flow_net *net) {
    (void)net;
    return json_object();
}
static flow_net *make_net(const json_t *options, const flow_making *making, ad_error *e);
static const flow_net_type net_type = {.name = "twice", .apply = twice, .describe = describe_net, .make = make_net};
static flow_net *make_net(const json_t *options, const flow_making *making, ad_error *e) {
    (void)options, (void)making, (void)e;
    flow_net *net = calloc(1, sizeof *net);
    assert_non_null(net);
    *net = (flow_net){.type = &net_type, .in = 2, .out = 2};
    return net;
}

static void types_inside_are_given(void **state) {
    (void)state;
    const flow_net_type *const nets[] = {&net_type, NULL};
    const flow_load_options load = {.nets = nets};
    flow_layer *layers[2];
    for (int i = 0; i < 2; i++) {
        layers[i] = flow_affine_coupling(2, 1, &(flow_coupling_options){.net = make_net(NULL, NULL, NULL)}, &error);
        assert_non_null(layers[i]);
    }
    check_layer(layers[0], NULL, "cannot be made again from its description: unknown net 'twice'");
    check_layer(layers[1], &(flow_check_options){.load = &load}, NULL);
}

// Data that lie in a region are moved inside of it: a wrong gradient shows there as well.
static flow_layer *ordered;
static flow_result stopped_log_det(const flow_layer *layer, ad_var x, ad_var context) {
    flow_result z = ordered->type->normalize(layer, x, context);
    return (flow_result){z.value, ad_stop_gradient(z.log_det)};
}

static void a_wrong_gradient_in_a_region_is_named(void **state) {
    (void)state;
    ordered = flow_ordered(3, &error);
    assert_non_null(ordered);
    flow_layer_type type = *ordered->type;
    flow_layer layer = *ordered;
    type.normalize = stopped_log_det;
    layer.type = &type;
    for (int spread = 1; spread < 6; spread += 2) {
        const flow_check_options o = {.brief = true, .spread = spread};
        assert_int_equal(flow_check(&layer, &o, &error), AD_ENOGRAD);
        util_assert_contains(error.message, "ordered: the gradient of normalize in the input is wrong");
    }
    flow_layer_free(ordered);
}

int main(void) {
    enum { FAULTS = sizeof faults / sizeof *faults, OTHERS = 9 };
    struct CMUnitTest tests[OTHERS + FAULTS] = {
        cmocka_unit_test(a_right_layer_passes),
        cmocka_unit_test(a_nan_at_an_edge_is_named),
        cmocka_unit_test(a_kink_is_no_wrong_gradient),
        cmocka_unit_test(a_wrong_gradient_in_a_region_is_named),
        cmocka_unit_test(contexts_count_inside_of_boxes),
        cmocka_unit_test(brief_leaves_out_what_is_looked_at_once),
        cmocka_unit_test(a_type_without_make_is_named),
        cmocka_unit_test(a_chain_knows_the_types_of_its_layers),
        cmocka_unit_test(types_inside_are_given),
    };
    for (int i = 0; i < FAULTS; i++) {
        tests[OTHERS + i] =
            (struct CMUnitTest){faults[i].words, each_fault_is_named, NULL, NULL, (void *)(uintptr_t)&faults[i]};
    }
    return _cmocka_run_group_tests("faulty layers", tests, OTHERS + FAULTS, NULL, NULL);
}
