// test_layer_memory.c -- layers of data, and rows with weights, when memory runs out.
#include "failing.h"
#include "flows.h"

static const double x[8] = {1, 5, 2, 0, 3, 7, 0, 4}, weights[4] = {1, 0, 2, 1};

static bool fits_a_box(ad_error *error) {
    flow_layer *layer = flow_clip(2, NULL, error);
    flow_rows rows = {.x = util_source(x, 4)};
    bool ok = layer != NULL && layer->type->init(layer, &rows, error) == AD_OK;
    flow_layer_free(layer);
    return ok;
}

// The constructor that fails frees the others' layers.
static bool makes_a_model_of_whole_numbers(ad_error *error) {
    flow_layer *layers[2] = {flow_dequantise(2, NULL, error), NULL};
    if (layers[0] != NULL) layers[1] = flow_logit(2, NULL, error);
    flow_layer *chain = layers[0] != NULL ? flow_chain(layers, 2, error) : NULL;
    flow_base *base = chain != NULL ? flow_standard_normal(2, error) : NULL;
    flow_model *model = chain != NULL ? flow_model_new(chain, base, error) : NULL;
    flow_model_free(model);
    return model != NULL;
}

static bool leaves_rows_out(ad_error *error) {
    static flow_model *model;  // made once
    if (model == NULL) {
        model = flow_model_new(flow_clip(2, NULL, error), flow_standard_normal(2, error), error);
        if (model == NULL) return false;
    }
    flow_rows rows = {.x = util_source(x, 4), .weight = util_source(weights, 4)};
    flow_used_rows used;
    bool ok = flow_use_rows(&used, model, &rows, error) == AD_OK;
    assert_true(!ok || used.n == 3);
    flow_used_rows_free(&used);
    return ok;
}

static void boxes(void **state) {
    (void)state;
    failing_each(fits_a_box);
}
static void models(void **state) {
    (void)state;
    failing_each(makes_a_model_of_whole_numbers);
}
static void weighted_rows(void **state) {
    (void)state;
    failing_each(leaves_rows_out);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(boxes), cmocka_unit_test(models),
                                       cmocka_unit_test(weighted_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
