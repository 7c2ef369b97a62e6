// test_report.c -- what flow_report tells of layers, and whether flow_check_integral knows a density.
#include "flows.h"
#include "util.h"

static ad_error error;

#define assert_made(p)                           \
    do {                                         \
        if (!(p)) fail_msg("%s", error.message); \
    } while (0)

static flow_model *chain_model(flow_layer *const *layers, int n, int64_t D) {
    flow_model *model = flow_model_new(flow_chain(layers, n, &error), flow_standard_normal(D, &error), &error);
    assert_made(model);
    return model;
}

static flow_health *report(const flow_model *model, const double *x, const double *context, int64_t n) {
    flow_rows rows = {.x = util_source(x, n), .context = util_source(context, n)};
    flow_health *h = flow_report(model, &rows, NULL, &error);
    assert_made(h);
    return h;
}

static flow_layer *standardise(double sd0, double sd1) {
    const double mean[2] = {1, -1}, sd[2] = {sd0, sd1};
    return flow_standardise(2, &(flow_standardise_options){mean, sd, AD_F64}, &error);
}

static ad_param *last_param(const flow_model *model) {
    int n;
    ad_param *const *params = flow_params(model, &n);
    return params[n - 1];
}

// ---- report --------------------------------------------------------------------------------------------------------

// log_det of standardise is -log 4 - log 0.5, of the coupling the one that its last bias says.
static void log_dets_and_shares_are_those_of_the_layers(void **state) {
    (void)state;
    flow_coupling_options o = {.mlp = {.layers = -1, .type = AD_F64}};
    flow_layer *layers[] = {standardise(4, 0.5), flow_affine_coupling(2, 0, &o, &error)};
    flow_model *model = chain_model(layers, 2, 2);
    const double x[6] = {1, 2, 3, -4, 0.5, 0};
    ad_param_set(last_param(model), 0, 0.3);
    flow_health *h = report(model, x, NULL, 3);
    const double s = 2 * tanh(0.15);
    assert_int_equal(h->n, 2);
    assert_int_equal(h->rows, 3);
    assert_string_equal(h->layers[1].name, "coupling");
    util_assert_close(h->layers[0].log_det, -log(2), 1e-14);
    util_assert_close(fabs(h->layers[1].log_det), s, 1e-14);
    util_assert_close(h->layers[0].log_det_sd, 0, 1e-14);
    util_assert_close(h->layers[0].share, log(2) / (log(2) + s), 1e-14);
    util_assert_close(h->layers[0].share + h->layers[1].share, 1, 1e-14);
    util_assert_close(h->whole.log_det, h->layers[0].log_det + h->layers[1].log_det, 1e-13);
    util_assert_close(h->layers[0].condition, 8, 1e-12);
    assert_true(h->whole.round_trip < 1e-13 && h->layers[1].round_trip < 1e-13);
    assert_true(isnan(h->layers[0].saturation) && isnan(h->layers[0].tails) && isnan(h->layers[1].tails));
    assert_true(h->layers[1].saturation == 0);
    flow_health_free(h);
    flow_model_free(model);
}

static void log_prob_has_mean_and_deviation(void **state) {
    (void)state;
    flow_layer *layers[] = {flow_permutation(2, NULL, &error)};
    flow_model *model = chain_model(layers, 1, 2);
    const double x[4] = {0, 0, 0, 2};
    flow_health *h = report(model, x, NULL, 2);
    util_assert_close(h->log_prob, -1 - log(2 * 3.14159265358979323846), 1e-14);
    util_assert_close(h->log_prob_sd, 1, 1e-14);
    flow_health_free(h);
    flow_model_free(model);
}

// The first row's log-scale at its bound, the second's not: the net is one linear map.
static void numbers_at_their_bound_are_counted(void **state) {
    (void)state;
    flow_coupling_options o = {.mlp = {.layers = -1, .type = AD_F64}};
    flow_model *model = flow_model_new(flow_affine_coupling(2, 0, &o, &error), flow_standard_normal(2, &error), &error);
    assert_made(model);
    int n;
    ad_param *const *params = flow_params(model, &n);
    ad_param_set(params[0], 0, 10);  // log-scale = 2 tanh(10 x0 / 2)
    const double x[8] = {1, 0, 0.01, 0, -2, 0, 0.1, 1};
    flow_health *h = report(model, x, NULL, 4);
    assert_int_equal(h->n, 1);
    util_assert_close(h->layers[0].saturation, 0.5, 1e-15);
    flow_health_free(h);
    flow_model_free(model);
}

static void inputs_in_tails_are_counted(void **state) {
    (void)state;
    flow_autoregressive_options o = {.made = {.mlp = {.width = 4}}},
                                swapped = {.inverse = true, .made = {.mlp = {.width = 4}}};
    for (int kind = 0; kind < 3; kind++) {
        flow_transformer *t = flow_spline_transformer(NULL, &error);
        flow_layer *layers[] = {kind == 2 ? flow_elementwise(2, 0, t, NULL, &error)
                                          : flow_autoregressive(2, 0, t, kind ? &swapped : &o, &error)};
        flow_model *model = chain_model(layers, 1, 2);
        const double x[8] = {3.5, 0, 0, 1, -7, 4, 2.9, -2.9};
        flow_health *h = report(model, x, NULL, 4);
        util_assert_close(h->layers[0].tails, 3.0 / 8, 1e-15);
        assert_true(isnan(h->layers[0].saturation));
        flow_health_free(h);
        flow_model_free(model);
    }
}

// Of a coupling only what it changes, and contexts reach it.
static void contexts_reach_the_layers(void **state) {
    (void)state;
    flow_spline_coupling_options o = {.keep = FLOW_KEEP_SECOND, .mlp = {.width = 4}};
    flow_layer *layers[] = {flow_permutation(2, NULL, &error), flow_spline_coupling(2, 3, &o, &error)};
    flow_model *model = chain_model(layers, 2, 2);
    const double x[4] = {0, 9, 9, 0}, context[6] = {1, 2, 3, 4, 5, 6};
    flow_health *h = report(model, x, context, 2);
    util_assert_close(h->layers[1].tails, 0.5, 1e-15);
    flow_health_free(h);
    flow_model_free(model);
}

static void only_rows_picked_are_seen(void **state) {
    (void)state;
    flow_layer *layers[] = {flow_permutation(2, NULL, &error)};
    flow_model *model = chain_model(layers, 1, 2);
    const double x[6] = {0, 0, 1e9, 1e9, 0, 2};
    const int64_t index[2] = {0, 2};
    flow_rows rows = {.x = util_source(x, 3), .index = index, .n = 2};
    flow_health *h = flow_report(model, &rows, NULL, &error);
    assert_made(h);
    util_assert_close(h->log_prob_sd, 1, 1e-14);
    flow_health_free(h);
    h = flow_report(model, &rows, &(flow_report_options){.rows = 1, .jacobian_rows = -1}, &error);
    assert_made(h);
    assert_int_equal(h->rows, 1);
    assert_true(isnan(h->whole.condition));
    flow_health_free(h);
    flow_model_free(model);
}

static flow_result there(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer, (void)context;
    return (flow_result){ad_scale(x, 2), ad_number(x.tape, 2 * log(2))};
}
static flow_result fails(const flow_layer *layer, ad_var z, ad_var context) {
    (void)layer, (void)context;
    ad_tape_fail(z.tape, AD_ECONVERGE, "no root");
    return (flow_result){z, AD_NONE};
}
static const flow_layer_type one_way_type = {.name = "one way", .normalize = there, .generate = fails};

static void a_generate_that_fails_is_reported(void **state) {
    (void)state;
    flow_layer *layers[] = {flow_layer_new(&one_way_type, sizeof(flow_layer), 2, 0, &error),
                            flow_permutation(2, NULL, &error)};
    flow_model *model = chain_model(layers, 2, 2);
    const double x[2] = {1, 2};
    flow_health *h = report(model, x, NULL, 1);
    assert_true(isinf(h->layers[0].round_trip) && isinf(h->whole.round_trip));
    assert_true(h->layers[1].round_trip == 0);
    flow_health_free(h);
    flow_model_free(model);
}

static void the_table_says_it_all(void **state) {
    (void)state;
    flow_layer *layers[] = {standardise(4, 0.5), flow_affine_coupling(2, 0, NULL, &error)};
    flow_model *model = chain_model(layers, 2, 2);
    const double x[2] = {1, -1};
    flow_health *h = report(model, x, NULL, 1);
    char *text = flow_health_text(h);
    assert_made(text);
    util_assert_contains(
        text, "      layer                       log_det        sd    share  at bound in tails condition round trip\n");
    util_assert_contains(text,
                         "    0 standardise                 -0.6931         0    100 %         -        -         8");
    util_assert_contains(text, "    1 coupling ");
    util_assert_contains(text, "whole chain ");
    util_assert_contains(text, "1 rows, log_prob -2.53102, sd 0\n");
    free(text);
    flow_health_free(h);
    flow_model_free(model);
}

static void reports_need_rows(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 1, NULL, &error);
    const double x[2] = {0, (double)NAN};
    flow_rows none = {.x = {.data = NULL}}, no_context = {.x = util_source(x, 1)};
    assert_null(flow_report(model, &none, NULL, &error));
    util_assert_contains(error.message, "no data");
    assert_null(flow_report(model, &no_context, NULL, &error));
    util_assert_contains(error.message, "takes a context of 1 features");
    flow_model_free(model);
}

// ---- integral ------------------------------------------------------------------------------------------------------

static void assert_integral(const flow_model *model, const flow_integral_options *o, double tolerance) {
    double integral;
    if (flow_check_integral(model, o, &integral, &error) != AD_OK) fail_msg("%s", error.message);
    util_assert_close(integral, 1, tolerance);
}

static void densities_of_one_and_two_features_integrate_to_one(void **state) {
    (void)state;
    for (int64_t D = 1; D <= 2; D++) {
        flow_model *model = flow_from_text("maf:layers=2,hidden=8x1,seed=2,type=f64,activation=tanh", D, 1, &error);
        assert_made(model);
        int n;
        uint64_t seed = 3;
        ad_param *const *params = flow_params(model, &n);
        for (int i = 0; i < n; i++) {
            for (int64_t k = 0; k < params[i]->count; k++) {
                ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&seed, -0.3, 0.3));
            }
        }
        const double context[1] = {-0.7};
        assert_integral(model, &(flow_integral_options){.context = context}, 1e-9);
        flow_model_free(model);
    }
}

static void every_preset_is_a_density(void **state) {
    (void)state;
    static const char *const names[] = {"nice",   "realnvp:base=student", "maf:base=mixture",       "iaf:base=logistic",
                                        "planar", "nsf-coupling",         "nsf-ar:base=pca,rank=1", "radial"};
    for (int i = 0; i < 8; i++) {
        flow_model *model = flow_from_text(names[i], 2, 0, &error);
        assert_made(model);
        assert_integral(model, &(flow_integral_options){.points = 201}, 1e-3);
        flow_model_free(model);
    }
}

// Data in a box: no point of the grid lies outside, none on its edge.
static void boxes_of_layers_are_kept(void **state) {
    (void)state;
    for (int64_t D = 1; D <= 2; D++) {
        flow_layer *layer = flow_logit(D, NULL, &error);
        flow_model *model = flow_model_new(layer, flow_base_logistic(D, 0, NULL, &error), &error);
        assert_made(model);  // logistic latents: uniform data
        assert_integral(model, NULL, 1e-12);
        flow_model_free(model);
    }
}

static flow_result heavy(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer, (void)context;
    return (flow_result){x, ad_number(x.tape, 0.25)};
}
static const flow_layer_type heavy_type = {.name = "heavy", .normalize = heavy, .generate = heavy};

static void a_density_too_large_is_named(void **state) {
    (void)state;
    flow_layer *layers[] = {flow_layer_new(&heavy_type, sizeof(flow_layer), 2, 0, &error)};
    flow_model *model = chain_model(layers, 1, 2);
    double integral;
    assert_int_equal(flow_check_integral(model, &(flow_integral_options){.points = 201}, &integral, &error), AD_EARG);
    util_assert_close(integral, exp(0.25), 1e-9);
    util_assert_contains(error.message, "the density integrates to 1.2840254 over [");
    util_assert_contains(error.message, "by every other point): log_det or base density is wrong");
    flow_model_free(model);
}

static void a_box_too_small_is_named(void **state) {
    (void)state;
    flow_layer *layers[] = {flow_permutation(1, NULL, &error)};
    flow_model *model = chain_model(layers, 1, 1);
    const double low[1] = {-1}, high[1] = {1};
    double integral;
    flow_integral_options o = {.low = low, .high = high};
    assert_int_equal(flow_check_integral(model, &o, &integral, &error), AD_EARG);
    util_assert_close(integral, erf(sqrt(0.5)), 1e-8);
    util_assert_contains(error.message, "some of it may lie outside of the box");
    flow_model_free(model);
}

static void a_grid_too_coarse_is_named(void **state) {
    (void)state;
    const double mean[1] = {0}, sd[1] = {0.01}, low[1] = {-10}, high[1] = {10.1};
    flow_layer *layers[] = {flow_standardise(1, &(flow_standardise_options){mean, sd, AD_F64}, &error)};
    flow_model *model = chain_model(layers, 1, 1);
    flow_integral_options o = {.low = low, .high = high, .points = 101};
    assert_int_equal(flow_check_integral(model, &o, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "every other point gives another: more points");
    flow_model_free(model);
}

static void bad_integrals_are_refused(void **state) {
    (void)state;
    const double edge[2] = {0, 0};
    flow_model *three = flow_realnvp(3, 0, NULL, &error), *two = flow_realnvp(2, 0, NULL, &error);
    assert_int_equal(flow_check_integral(three, NULL, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "3 features; expected one or two");
    assert_int_equal(flow_check_integral(two, &(flow_integral_options){.low = edge}, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "low without high");
    assert_int_equal(flow_check_integral(two, &(flow_integral_options){.low = edge, .high = edge}, NULL, &error),
                     AD_EARG);
    util_assert_contains(error.message, "the box goes from 0 to 0 along feature 0");
    assert_int_equal(flow_check_integral(two, &(flow_integral_options){.points = 2}, NULL, &error), AD_EARG);
    util_assert_contains(error.message, "2 points");
    flow_model_free(three);
    flow_model_free(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_dets_and_shares_are_those_of_the_layers),
        cmocka_unit_test(log_prob_has_mean_and_deviation),
        cmocka_unit_test(numbers_at_their_bound_are_counted),
        cmocka_unit_test(inputs_in_tails_are_counted),
        cmocka_unit_test(contexts_reach_the_layers),
        cmocka_unit_test(only_rows_picked_are_seen),
        cmocka_unit_test(a_generate_that_fails_is_reported),
        cmocka_unit_test(the_table_says_it_all),
        cmocka_unit_test(reports_need_rows),
        cmocka_unit_test(densities_of_one_and_two_features_integrate_to_one),
        cmocka_unit_test(every_preset_is_a_density),
        cmocka_unit_test(boxes_of_layers_are_kept),
        cmocka_unit_test(a_density_too_large_is_named),
        cmocka_unit_test(a_box_too_small_is_named),
        cmocka_unit_test(a_grid_too_coarse_is_named),
        cmocka_unit_test(bad_integrals_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
