// test_check_model.c -- flow_check_model names what is wrong with a base density, and reads back what it saved.
#include <jansson.h>

#include "files.h"
#include "flows.h"

static ad_error error;

typedef enum fault_kind {
    NO_FAULT,
    NOT_FINITE,
    OUTSIDE,
    NO_SUPPORT,
    LEAK,
    COUNTED,
    IGNORED_CONTEXT,
    LOST_OPTION,
    LOST_TENSOR,
    BAD_MAKE,
    WRONG_SHAPE
} fault_kind;

// Exponential densities on [0, inf), of a rate that context and an option say.
typedef struct faulty {
    flow_base base;
    fault_kind fault;
    double gain;
    int recorded;
} faulty;

static ad_var rate(const faulty *f, ad_var context) {
    ad_var says = ad_reshape(f->fault == IGNORED_CONTEXT ? ad_zeros_like(context) : context, ad_shape1(1));
    return ad_scale(ad_exp(says), f->gain);
}

static ad_var log_prob(const flow_base *base, ad_var z, ad_var context) {
    const faulty *f = (const faulty *)base;
    ad_var r = rate(f, context), inside = ad_greater(z, ad_number(z.tape, f->fault == NO_SUPPORT ? 0.5 : 0));
    return ad_where(inside, ad_sub(ad_log(r), ad_mul(r, z)), ad_number(z.tape, -(double)INFINITY));
}

static ad_var sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream, ad_var context) {
    faulty *f = (faulty *)(uintptr_t)base;
    f->recorded++;
    ad_var z =
        ad_div(ad_exponential(rows, ad_shape1(f->fault == WRONG_SHAPE ? 3 : 2), random, stream), rate(f, context));
    switch (f->fault) {
        case NOT_FINITE:
            return ad_log(ad_neg(z));
        case OUTSIDE:
            return ad_offset(z, -0.5);
        case LEAK:
            return ad_add(z, ad_mean_rows(z));
        case COUNTED:
            return ad_offset(z, 1e-12 * f->recorded);
        default:
            return z;
    }
}

static json_t *describe(const flow_base *base) {
    const faulty *f = (const faulty *)base;
    return json_pack("{s:i, s:f}", "fault", (int)f->fault, "gain", f->fault == LOST_OPTION ? 1 : f->gain);
}

static const flow_base_type faulty_type;

static flow_base *new_faulty(fault_kind fault, double gain, bool more, ad_error *e) {
    faulty *f = flow_base_new(&faulty_type, sizeof *f, 2, 1, e);
    assert_non_null(f);
    f->fault = fault;
    f->gain = gain;
    f->base.high = (double)INFINITY;
    if (more) assert_non_null(flow_add_param(&f->base.owner, "unused", AD_F32, ad_shape1(1), e));
    return &f->base;
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *e) {
    (void)type, (void)making;
    fault_kind fault = (fault_kind)json_integer_value(json_object_get(options, "fault"));
    if (fault != BAD_MAKE) return new_faulty(fault, json_number_value(json_object_get(options, "gain")), false, e);
    ad_fail(e, AD_EFORMAT, "faulty: no \"colour\"");
    return NULL;
}

static const flow_base_type faulty_type = {
    .name = "faulty", .log_prob = log_prob, .sample = sample, .describe = describe, .make = make};

static flow_model *model_of(flow_base *base) {
    flow_model *model = flow_model_new(flow_permutation(2, NULL, &error), base, &error);
    if (!model) fail_msg("%s", error.message);
    return model;
}

static void check_model(flow_model *model, const flow_check_options *o, const char *words) {
    ad_status status = flow_check_model(model, o, &error);
    flow_model_free(model);
    if (!words && status != AD_OK) fail_msg("%s", error.message);
    if (!words) return;
    if (status == AD_OK) fail_msg("not noticed: %s", words);
    util_assert_contains(error.message, words);
}

static const struct named {
    fault_kind fault;
    const char *words;
} faults[] = {
    {NO_FAULT, NULL},
    {NOT_FINITE, "base density 'faulty': a sample is nan, which is not finite"},
    {OUTSIDE, "which is outside of where it says that elements lie"},
    {NO_SUPPORT, "base density 'faulty': log_prob of a sample of its own is -inf"},
    {LEAK, "base density 'faulty': row 4 depends on the other rows of the batch"},
    {COUNTED, "the same seed, step and stream give other samples again"},
    {IGNORED_CONTEXT, "base density 'faulty' ignores the context"},
    {LOST_OPTION, "with the same tensors, it is another one: describe or make lose an option"},
    {LOST_TENSOR, "made again from its description it has other tensors"},
    {BAD_MAKE, "it cannot be made again from its description: faulty: no \"colour\""},
    {WRONG_SHAPE, "rows of [3], but the model takes [2]"},
};

static void each_fault_is_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        check_model(model_of(new_faulty(faults[i].fault, 1.5, faults[i].fault == LOST_TENSOR, &error)), NULL,
                    faults[i].words);
    }
}

static void the_bases_of_the_library_pass(void **state) {
    (void)state;
    for (const flow_base_type *const *type = flow_base_types(); *type; type++) {
        for (int i = 0; i < 8; i++) {
            flow_base *base = (*type)->example(*type, i, &error);
            assert_non_null(base);
            int64_t D = base->shape.dim[0];
            // A box keeps its latents in a layer that knows of it: here on the model's side.
            if (base->high > base->low) {
                flow_base_free(base);
                continue;
            }
            flow_model *model = flow_model_new(flow_permutation(D, NULL, &error), base, &error);
            check_model(model, &(flow_check_options){.brief = true, .cases = 1, .seed = (uint64_t)i}, NULL);
        }
    }
}

static void a_file_brings_the_model_back(void **state) {
    (void)state;
    const flow_check_options o = {.path = files_path("model.safetensors"), .brief = true, .cases = 1};
    check_model(flow_from_text("maf:layers=2,hidden=8x1,base=conditional", 3, 2, &error), &o, NULL);
    assert_int_equal(files_count(), 0);
    check_model(model_of(new_faulty(NO_FAULT, 1.5, false, &error)), &o, NULL);
    const flow_check_options nowhere = {.path = files_path("no/such/folder"), .brief = true, .cases = 1};
    check_model(model_of(new_faulty(NO_FAULT, 1.5, false, &error)), &nowhere, "no/such/folder");
}

// A description that loses its option from the second time on: the first is that of the base alone, the second the
// file's.
static int saves;
static json_t *describe_late(const flow_base *base) {
    const faulty *f = (const faulty *)base;
    return json_pack("{s:i, s:f}", "fault", (int)f->fault, "gain", saves++ == 0 ? f->gain : 1);
}

static void a_lossy_file_is_named(void **state) {
    (void)state;
    flow_base_type late = faulty_type;
    late.describe = describe_late;
    flow_base *base = new_faulty(NO_FAULT, 1.5, false, &error);
    base->type = &late;
    saves = 0;
    const flow_check_options o = {.path = files_path("late.safetensors"), .brief = true, .cases = 1};
    check_model(model_of(base), &o, "loaded from the file it was saved in, it draws or scores other rows");
}

// Splines see the context where data are, which is nowhere near 0.
static void models_of_data_far_from_zero_pass(void **state) {
    (void)state;
    flow_layer *layers[] = {
        flow_standardise(1, &(flow_standardise_options){.mean = (double[]){454}, .sd = (double[]){17}}, &error),
        flow_autoregressive(1, 1, flow_spline_transformer(NULL, &error), NULL, &error)};
    flow_model *model = flow_model_new(flow_chain(layers, 2, &error), flow_standard_normal(1, &error), &error);
    if (!model) fail_msg("%s", error.message);
    if (flow_check_model(model, &(flow_check_options){.brief = true}, &error) != AD_OK) fail_msg("%s", error.message);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_named),
        cmocka_unit_test(the_bases_of_the_library_pass),
        cmocka_unit_test(models_of_data_far_from_zero_pass),
        cmocka_unit_test_teardown(a_file_brings_the_model_back, files_empty),
        cmocka_unit_test_teardown(a_lossy_file_is_named, files_empty),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
