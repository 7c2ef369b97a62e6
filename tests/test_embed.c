// test_embed.c -- models whose context passes a net first: the same as the context embedded by hand, in every call;
// trained, fitted, saved, refused.
#include "files.h"
#include "layers.h"

enum { D = 2, C = 3, E = 4, ROWS = 6 };

static flow_net *net(int64_t in, int64_t out) {
    return flow_mlp(in, out,
                    &(flow_mlp_options){.layers = 1, .width = 5, .activation = FLOW_TANH, .seed = 4, .type = AD_F64},
                    &layers_error);
}

// Layers and base that use a context of E; not at the identity.
static flow_model *inner(void) {
    const flow_mlp_options mlp = {.layers = 1, .width = 6, .activation = FLOW_TANH, .seed = 2, .type = AD_F64};
    flow_layer *layers[] = {flow_affine_coupling(D, E, &(flow_coupling_options){.mlp = mlp}, &layers_error),
                            flow_actnorm(D, &(flow_linear_options){.type = AD_F64}, &layers_error)};
    flow_base *base = flow_base_normal(D, E, &(flow_scaled_options){.mlp = mlp, .type = AD_F64}, &layers_error);
    flow_model *model = flow_model_new(flow_chain(layers, 2, &layers_error), base, &layers_error);
    layers_assert_made(model);
    int n;
    uint64_t seed = 3;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) {
            ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&seed, -0.5, 0.5));
        }
    }
    return model;
}

static flow_model *embedded(void) {
    flow_model *model = flow_embed(inner(), net(C, E), &layers_error);
    layers_assert_made(model);
    return model;
}

typedef struct data {
    double x[ROWS * D], context[ROWS * C];
} data;

static data points(void) {
    data d;
    util_fill(d.x, ROWS * D, 1, -2, 2);
    util_fill(d.context, ROWS * C, 2, -2, 2);
    return d;
}

// Every call's numbers, of a model and a context that is put through first, if any.
static void run(const flow_model *model, const flow_net *first, double *out, int *n) {
    data d = points();
    ad_random random = {7, 0};
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source x = util_source(d.x, ROWS), k = util_source(d.context, ROWS);
    ad_rows rows = util_rows(tape, "data", ROWS);
    ad_var v = ad_input(rows, ad_shape1(D), &x), c = ad_input(rows, ad_shape1(C), &k);
    if (first) c = flow_net_apply(first, c);
    flow_result z = flow_normalize(model, v, c), back = flow_generate(model, v, c);
    flow_draw draw = flow_sample_and_log_prob(model, rows, &random, 1, c);
    ad_var all[] = {flow_log_prob(model, v, c),
                    ad_sum(z.value),
                    z.log_det,
                    ad_sum(back.value),
                    back.log_det,
                    ad_sum(draw.value),
                    draw.log_prob,
                    ad_sum(flow_sample(model, rows, &random, 1, c)),
                    ad_sum(flow_sample_tempered(model, 0.7, rows, &random, 1, c))};
    *n = sizeof all / sizeof *all;
    for (int i = 0; i < *n; i++) ad_keep(all[i]);
    util_run(tape);
    for (int i = 0; i < *n; i++) util_read(all[i], out + i * ROWS, ROWS);
    ad_tape_free(tape);
}

static void every_call_sees_what_the_net_says(void **state) {
    (void)state;
    enum { CALLS = 9 };
    double got[CALLS * ROWS], want[CALLS * ROWS];
    int n;
    flow_model *a = embedded(), *b = inner();
    flow_net *by_hand = net(C, E);
    assert_int_equal(flow_model_context(a), C);
    run(a, NULL, got, &n);
    assert_int_equal(n, CALLS);
    run(b, by_hand, want, &n);
    assert_memory_equal(got, want, sizeof got);
    flow_net_free(by_hand);
    flow_model_free(a);
    flow_model_free(b);
}

// Its tensors are the model's, and learn.
static void the_net_is_trained(void **state) {
    (void)state;
    flow_model *model = embedded();
    int n, seen = 0;
    const flow_tensor *tensors = flow_tensors(model, &n);
    data d = points();
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source x = util_source(d.x, ROWS), k = util_source(d.context, ROWS);
    ad_rows rows = util_rows(tape, "data", ROWS);
    ad_var c = ad_input(rows, ad_shape1(C), &k);
    ad_var loss = ad_mean_rows(flow_log_prob(model, ad_input(rows, ad_shape1(D), &x), c));
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    for (int i = 0; i < n; i++) {
        if (strncmp(tensors[i].name, "embed.", 6) != 0) continue;
        double size = 0;
        for (int64_t e = 0; e < tensors[i].param->count; e++) size += fabs(((double *)tensors[i].param->grad)[e]);
        assert_true(size > 0);
        seen++;
    }
    assert_int_equal(seen, 4);  // W0, b0, W1, b1
    ad_tape_free(tape);
    flow_model_free(model);
}

static void laws_hold_and_files_bring_it_back(void **state) {
    (void)state;
    flow_model *model = embedded();
    const flow_check_options options = {.cases = 1, .path = files_path("embed.safetensors")};
    if (flow_check_model(model, &options, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_model_free(model);
}

// Means of what reaches the second layer: those of the first layer's z, at the context as the net says it.
static void init_passes_the_context_through_the_net(void **state) {
    (void)state;
    flow_model *model = embedded();
    data d = points();
    const int64_t index[] = {5, 0, 2, 3};
    flow_layer *chain = flow_model_layer(model);
    flow_rows rows = {.x = util_source(d.x, ROWS), .context = util_source(d.context, ROWS), .index = index, .n = 4};
    if (flow_init_from_data(model, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    const flow_owner *actnorm = layers_part(chain, "1");
    int n;
    double sums[D] = {0};
    flow_model *fresh = inner();  // actnorm not yet fitted: its z less its shift, over its scale
    flow_net *by_hand = net(C, E);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source x = util_source(d.x, ROWS), k = util_source(d.context, ROWS);
    x.index = k.index = index;
    ad_rows set = util_rows(tape, "data", 4);
    ad_var c = flow_net_apply(by_hand, ad_input(set, ad_shape1(C), &k));
    ad_var z = ad_keep(flow_normalize(fresh, ad_input(set, ad_shape1(D), &x), c).value);
    double values[4 * D];
    util_run(tape);
    util_read(z, values, 4 * D);
    for (int i = 0; i < 4 * D; i++) sums[i % D] += values[i];
    const flow_tensor *t = flow_tensors(fresh, &n);
    const ad_param *scale = NULL, *shift = NULL;
    for (int i = 0; i < n; i++) {
        if (strcmp(t[i].name, "flow.1.log_scale") == 0) scale = t[i].param;
        if (strcmp(t[i].name, "flow.1.b") == 0) shift = t[i].param;
    }
    assert_true(scale && shift && strcmp(actnorm->states[0]->name, "mean") == 0);
    for (int i = 0; i < D; i++) {
        const double s = exp(7 * tanh(ad_param_get(scale, i) / 7));
        util_assert_close(((double *)actnorm->states[0]->data)[i], (sums[i] / 4 - ad_param_get(shift, i)) / s, 1e-12);
    }
    ad_tape_free(tape);
    flow_net_free(by_hand);
    flow_model_free(fresh);
    flow_model_free(model);
}

static void reports_see_it_too(void **state) {
    (void)state;
    flow_model *model = embedded();
    data d = points();
    flow_rows rows = {.x = util_source(d.x, ROWS), .context = util_source(d.context, ROWS)};
    if (flow_find_nonfinite(model, &rows, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_health *health = flow_report(model, &rows, NULL, &layers_error);
    layers_assert_made(health);
    double all[9 * ROWS], mean = 0, log_det = 0;
    int n;
    run(model, NULL, all, &n);
    for (int i = 0; i < ROWS; i++) mean += all[i] / ROWS, log_det += all[2 * ROWS + i] / ROWS;
    util_assert_close(health->log_prob, mean, 1e-12);
    util_assert_close(health->whole.log_det, log_det, 1e-12);
    util_assert_close(health->layers[0].log_det + health->layers[1].log_det, log_det, 1e-12);
    flow_health_free(health);
    flow_model_free(model);
}

static void assert_refused(flow_model *model, ad_status status, const char *words) {
    assert_null(model);
    assert_int_equal(layers_error.status, status);
    util_assert_contains(layers_error.message, words);
}

static void nets_that_do_not_fit_are_refused(void **state) {
    (void)state;
    assert_refused(flow_embed(inner(), net(C, E + 1), &layers_error), AD_ESHAPE,
                   "the net is [3] -> [5], but the model takes a context of [4]");
    assert_refused(flow_embed(embedded(), net(2, C), &layers_error), AD_EARG, "passes a net already");
    flow_model *plain = flow_realnvp(2, 0, NULL, &layers_error);
    assert_refused(flow_embed(plain, net(C, E), &layers_error), AD_EARG, "takes no context");
    assert_null(flow_embed(inner(), NULL, &layers_error));
    assert_null(flow_embed(NULL, net(C, E), &layers_error));
}

// The context is checked against what the net takes, by the call's name.
static void contexts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    flow_model *model = embedded();
    ad_random random = {7, 0};
    for (int i = 0; i < 2; i++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        const double values[E] = {0}, x[D] = {0};
        ad_source source = util_source(x, 1);
        ad_rows rows = util_rows(tape, "data", 1);
        ad_var c = ad_constant(tape, ad_shape1(E), values);
        if (i == 0) flow_log_prob(model, ad_input(rows, ad_shape1(D), &source), c);
        if (i == 1) flow_sample(model, rows, &random, 0, c);
        assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
        util_assert_contains(ad_tape_message(tape), i ? "flow_sample: the model needs a context of [3], given [4]"
                                                      : "flow_log_prob: the model needs a context of [3], given [4]");
        ad_tape_free(tape);
    }
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_sees_what_the_net_says),
        cmocka_unit_test(the_net_is_trained),
        cmocka_unit_test_teardown(laws_hold_and_files_bring_it_back, files_empty),
        cmocka_unit_test(init_passes_the_context_through_the_net),
        cmocka_unit_test(reports_see_it_too),
        cmocka_unit_test(nets_that_do_not_fit_are_refused),
        cmocka_unit_test(contexts_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
