// test_presets.c -- models by name: laws, densities that integrate to 1, samples that follow them, starts, files,
// refusals.
#include "files.h"
#include "layers.h"

enum { NICE, REALNVP, MAF, IAF, NSF, NSF_AR, GIN, REVNET, HINT, LADDER, LEAPFROG, PRESETS };
static const char *const names[PRESETS] = {"nice",   "realnvp", "maf",    "iaf", "nsf",
                                           "nsf-ar", "gin",     "revnet", "hint", "ladder", "leapfrog"};

// A small one. Nets of tanh: integrals over grids converge fast where densities have no kinks.
static flow_model *preset(int which, int64_t D, int64_t C, flow_mix mix, int layers) {
    const flow_mlp_options mlp = {.layers = 1, .width = 8, .activation = FLOW_TANH, .seed = 5, .type = AD_F64};
    const flow_maf_options maf = {layers, mix, false, {.made = {.mlp = mlp}}};
    const flow_nsf_options nsf = {
        .layers = layers, .bins = 4, .mix = mix, .autoregressive = which == NSF_AR, .mlp = mlp};
    flow_model *model = NULL;
    switch (which) {
        case NICE:
            model = flow_nice(D, C, &(flow_nice_options){.layers = layers, .mix = mix, .mlp = mlp}, &layers_error);
            break;
        case REALNVP:
            model =
                flow_realnvp(D, C, &(flow_realnvp_options){.layers = layers, .mix = mix, .mlp = mlp}, &layers_error);
            break;
        case GIN:
            model = flow_gin(D, C, &(flow_realnvp_options){.layers = layers, .mix = mix, .mlp = mlp}, &layers_error);
            break;
        case REVNET:
            model = flow_revnet(D, C, &(flow_nice_options){.layers = layers, .mix = mix, .mlp = mlp}, &layers_error);
            break;
        case HINT:
            model = flow_hint_model(D, C, &(flow_hint_model_options){.layers = layers, .mix = mix, .mlp = mlp},
                                    &layers_error);
            break;
        case LADDER:
            model = flow_ladder_model(D, C, &(flow_ladder_model_options){.layers = layers, .mix = mix, .mlp = mlp},
                                      &layers_error);
            break;
        case LEAPFROG:  // with a step so small that it starts as the identity
            model = flow_leapfrog_model(
                D, C, &(flow_leapfrog_model_options){.layers = layers, .steps = 3, .step = 1e-15, .mix = mix, .mlp = mlp},
                &layers_error);
            break;
        case MAF:
            model = flow_maf(D, C, &maf, &layers_error);
            break;
        case IAF:
            model = flow_iaf(D, C, &maf, &layers_error);
            break;
        default:
            model = flow_nsf(D, C, &nsf, &layers_error);
    }
    layers_assert_made(model);
    return model;
}

static void stir(flow_model *model, double size) {
    int n;
    uint64_t seed = 3;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) {
            ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&seed, -size, size));
        }
    }
}

static bool takes(int which, int64_t D, int64_t C) {
    return D > 1 || C > 0 || which == MAF || which == IAF || which == NSF_AR;
}

// ---- laws -----------------------------------------------------------------------------------------------------------

static void presets_keep_the_laws(void **state) {
    (void)state;
    for (int i = 0; i < (UTIL_SANITIZED ? PRESETS : 5 * PRESETS); i++) {
        const int64_t D = 1 + i / 2 % 4, C = i % 3;
        if (!takes(i % PRESETS, D, C)) continue;
        flow_model *model = preset(i % PRESETS, D, C, (flow_mix)(i / PRESETS), 2);
        if (flow_check_model(model, &(flow_check_options){.cases = 1}, &layers_error) != AD_OK) {
            fail_msg("%s: %s", names[i % PRESETS], layers_error.message);
        }
        flow_model_free(model);
    }
}

// Standard normal, or near it, but for numbers fitted.
static void presets_start_as_the_identity(void **state) {
    (void)state;
    const double x[6] = {0.5, -1, 2, 0, 0.1, -2.5};
    for (int which = 0; which < PRESETS; which++) {
        for (int mix = FLOW_MIX_HALVES; mix <= FLOW_MIX_LU; mix++) {
            flow_model *model = preset(which, 3, 0, (flow_mix)mix, 3);
            ad_tape *tape = ad_tape_new(NULL, AD_F64);
            ad_source source = util_source(x, 2);
            ad_var in = ad_input(util_rows(tape, "data", 2), ad_shape1(3), &source);
            ad_var log_prob = ad_keep(flow_log_prob(model, in, AD_NONE));
            util_run(tape);
            double got[2];
            util_read(log_prob, got, 2);
            util_assert_close(got[0], -0.5 * 5.25 - 1.5 * log(2 * 3.14159265358979323846), 1e-12);
            util_assert_close(got[1], -0.5 * 6.26 - 1.5 * log(2 * 3.14159265358979323846), 1e-12);
            ad_tape_free(tape);
            flow_model_free(model);
        }
    }
}

// Without anything between, two couplings reach all features; and a scale of each feature ends a NICE, alone in not
// keeping volumes.
static void halves_take_turns_and_nice_ends_in_scales(void **state) {
    (void)state;
    const double x[4] = {0.5, -1, 2, 0.3};
    double z[4], log_det, sum = 0;
    flow_model *model = preset(NICE, 4, 0, FLOW_MIX_HALVES, 2);
    stir(model, 0.4);
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_string_equal(t[n - 1].name, "flow.3.raw");
    for (int i = 0; i < 4; i++) {
        sum += 5 * tanh(ad_param_get(t[n - 1].param, i) / 5);
        assert_true(ad_param_get(t[n - 1].param, i) != 0);
    }
    layers_run(flow_model_layer(model), AD_F64, true, x, 1, z, &log_det);
    util_assert_close(log_det, sum, 1e-14);
    for (int i = 0; i < 4; i++) ad_param_set(t[n - 1].param, i, 0);
    layers_run(flow_model_layer(model), AD_F64, true, x, 1, z, &log_det);
    assert_true(log_det == 0);
    for (int i = 0; i < 4; i++) assert_true(z[i] != x[i]);
    flow_model_free(model);
}

// Two couplings reach all features, whatever part the first keeps.
static void masks_take_turns(void **state) {
    (void)state;
    const double x[4] = {0.5, -1, 2, 0.3};
    double z[4], log_det;
    for (int mask = FLOW_MASK_HALVES; mask <= FLOW_MASK_RANDOM; mask++) {
        for (int i = 0; i < 6; i++) {
            const flow_mlp_options mlp = {.layers = 1, .width = 8, .seed = (uint64_t)i, .type = AD_F64};
            const flow_nice_options nice = {.layers = 2, .mlp = mlp, .mask = (flow_mask)mask};
            const flow_realnvp_options realnvp = {
                .layers = 2, .mix = FLOW_MIX_HALVES, .mlp = mlp, .mask = (flow_mask)mask};
            const flow_nsf_options nsf = {.layers = 2, .mix = FLOW_MIX_HALVES, .mlp = mlp, .mask = (flow_mask)mask};
            flow_model *model = i % 3 == 0   ? flow_nice(4, 0, &nice, &layers_error)
                                : i % 3 == 1 ? flow_realnvp(4, 0, &realnvp, &layers_error)
                                             : flow_nsf(4, 0, &nsf, &layers_error);
            layers_assert_made(model);
            stir(model, 0.4);
            layers_run(flow_model_layer(model), AD_F64, true, x, 1, z, &log_det);
            for (int d = 0; d < 4; d++) assert_true(z[d] != x[d]);
            flow_model_free(model);
        }
    }
    assert_null(flow_nice(4, 0, &(flow_nice_options){.mask = (flow_mask)4}, &layers_error));
    util_assert_contains(layers_error.message, "nice: 4 layers, mix 1, mask 4");
}

// ---- densities ------------------------------------------------------------------------------------------------------

static const double context_of[2] = {0.7, -1.1};

// log_prob of n points [n][D], at one context for all.
static void log_prob_of(const flow_model *model, const double *x, int64_t n, double *out) {
    const int64_t D = flow_model_shape(model).dim[0], C = flow_model_context(model);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n);
    ad_var in = ad_input(util_rows(tape, "data", n), ad_shape1(D), &source);
    ad_var log_prob = ad_keep(flow_log_prob(model, in, C ? ad_constant(tape, ad_shape1(C), context_of) : AD_NONE));
    util_run(tape);
    util_read(log_prob, out, n);
    ad_tape_free(tape);
}

// By the midpoint rule on a grid of cells^D cells over [-reach, reach]^D.
static double integral(const flow_model *model, int64_t cells, double reach) {
    const int64_t D = flow_model_shape(model).dim[0], total = D == 1 ? cells : cells * cells;
    const double h = 2 * reach / (double)cells;
    double *x = malloc((size_t)(total * (D + 1)) * sizeof *x), *log_prob = x + total * D, sum = 0;
    for (int64_t i = 0; i < total; i++) {
        x[i * D] = h * ((double)(i % cells) + 0.5) - reach;
        if (D == 2) x[2 * i + 1] = h * ((double)(i / cells) + 0.5) - reach;
    }
    log_prob_of(model, x, total, log_prob);
    for (int64_t i = 0; i < total; i++) sum += exp(log_prob[i]);
    free(x);
    return sum * pow(h, (double)D);
}

static void densities_integrate_to_one(void **state) {
    (void)state;
    for (int which = 0; which < PRESETS; which++) {
        for (int i = 0; i < 4; i++) {
            const int64_t D = 1 + i / 2, C = i % 2 ? 2 : 0;
            if (!takes(which, D, C) || (UTIL_SANITIZED && D == 2)) continue;
            flow_model *model = preset(which, D, C, FLOW_MIX_USUAL, 2);
            stir(model, 0.4);
            const double got = integral(model, D == 1 ? 20000 : which == NSF || which == NSF_AR ? 1000 : 200, 16);
            if (!(fabs(got - 1) <= 1e-6)) {
                fail_msg("%s of %d features, context %d: %.10f", names[which], (int)D, (int)C, got);
            }
            flow_model_free(model);
        }
    }
}

// Counts in the cells of a histogram against the density's integrals: chi^2 of 39 degrees of freedom is above 109 once
// in 1e8.
static void samples_follow_the_density(void **state) {
    (void)state;
    enum { CELLS = 40, FINE = 50, DRAWS = 20000 };
    double x[CELLS * FINE], log_prob[CELLS * FINE], *drawn = malloc(DRAWS * sizeof *drawn);
    for (int i = 0; i < CELLS * FINE; i++) x[i] = (i + 0.5) / (double)(5 * FINE) - 4;
    for (int which = 0; which < PRESETS; which++) {
        flow_model *model = preset(which, 1, 2, FLOW_MIX_USUAL, 2);
        stir(model, 0.4);
        log_prob_of(model, x, CELLS * FINE, log_prob);
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_random random = {11, 0};
        ad_rows rows = util_rows(tape, "draws", DRAWS);
        ad_var sample = ad_keep(flow_sample(model, rows, &random, 0, ad_constant(tape, ad_shape1(2), context_of)));
        util_run(tape);
        util_read(sample, drawn, DRAWS);
        double want[CELLS + 1] = {0}, got[CELLS + 1] = {0}, chi2 = 0, inside = 0;
        for (int i = 0; i < CELLS * FINE; i++) want[i / FINE] += DRAWS * exp(log_prob[i]) / (5 * FINE);
        for (int i = 0; i < CELLS; i++) inside += want[i];
        want[CELLS] = fmax(DRAWS - inside, 1);  // beyond
        for (int i = 0; i < DRAWS; i++) got[drawn[i] < -4 || drawn[i] >= 4 ? CELLS : (int)((drawn[i] + 4) * 5)]++;
        for (int i = 0; i <= CELLS; i++) chi2 += (got[i] - want[i]) * (got[i] - want[i]) / fmax(want[i], 5);
        if (chi2 > 109) fail_msg("%s: chi^2 is %g", names[which], chi2);
        ad_tape_free(tape);
        flow_model_free(model);
    }
    free(drawn);
}

// ---- files, refusals ------------------------------------------------------------------------------------------------

static void presets_are_saved_and_loaded(void **state) {
    (void)state;
    double x[20], got[2][10];
    util_fill(x, 20, 4, -2, 2);
    for (int which = 0; which < PRESETS; which++) {
        flow_model *model = preset(which, 2, 2, FLOW_MIX_USUAL, 2);
        stir(model, 0.3);
        assert_int_equal(flow_save(model, files_path("preset.safetensors"), &layers_error), AD_OK);
        flow_model *loaded = flow_load(files_path("preset.safetensors"), NULL, &layers_error);
        layers_assert_made(loaded);
        log_prob_of(model, x, 10, got[0]);
        log_prob_of(loaded, x, 10, got[1]);
        assert_memory_equal(got[0], got[1], sizeof got[0]);
        flow_model_free(model);
        flow_model_free(loaded);
    }
}

// Of a volume that is kept but for a scale at the end; layers that differ, and turn about what comes.
static void a_leapfrog_ends_in_scales(void **state) {
    (void)state;
    const double x[4] = {0.5, -1, 2, 0.3};
    double z[4], log_det, sum = 0;
    flow_model *model = flow_leapfrog_model(4, 0, NULL, &layers_error);
    layers_assert_made(model);
    layers_run(flow_model_layer(model), AD_F64, true, x, 1, z, &log_det);
    assert_true(log_det == 0);
    for (int i = 0; i < 4; i++) assert_true(fabs(z[i] - x[i]) > 1e-3 && fabs(z[i]) < 10);
    stir(model, 0.1);
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_string_equal(t[n - 1].name, "flow.8.raw");  // after standardise, 4 layers, 3 permutations
    for (int i = 0; i < 4; i++) sum += 5 * tanh(ad_param_get(t[n - 1].param, i) / 5);
    layers_run(flow_model_layer(model), AD_F64, true, x, 1, z, &log_det);
    util_assert_close(log_det, sum, 1e-6);
    flow_model_free(model);
}

#define assert_refused(call, words)                        \
    do {                                                   \
        assert_null(call);                                 \
        util_assert_contains(layers_error.message, words); \
    } while (0)

static void bad_options_are_refused(void **state) {
    (void)state;
    assert_refused(flow_nice(1, 0, NULL, &layers_error), "nothing to condition on");
    assert_refused(flow_nice(2, 0, &(flow_nice_options){.mix = (flow_mix)7}, &layers_error), "nice: 4 layers, mix 7");
    assert_refused(flow_ladder_model(3, 0, &(flow_ladder_model_options){.parts = 5}, &layers_error), "ladder: 5 parts");
    assert_refused(flow_ladder_model(3, 0, &(flow_ladder_model_options){.layers = -1}, &layers_error),
                   "ladder: -1 layers");
    assert_refused(flow_leapfrog_model(3, 0, &(flow_leapfrog_model_options){.steps = -1}, &layers_error),
                   "leapfrog: kind 0, -1 steps");
    assert_refused(flow_leapfrog_model(3, 0, &(flow_leapfrog_model_options){.step = -1}, &layers_error), "step -1");
    assert_refused(flow_leapfrog_model(3, 0, &(flow_leapfrog_model_options){.mix = (flow_mix)7}, &layers_error),
                   "leapfrog: 4 layers, mix 7");
    assert_refused(flow_nsf(2, 0, &(flow_nsf_options){.layers = -1}, &layers_error), "nsf: -1 layers");
    assert_refused(flow_nsf(2, 0, &(flow_nsf_options){.bins = 1}, &layers_error), "1 bins");
    assert_refused(flow_nsf(2, 0, &(flow_nsf_options){.bins = 1, .map_kept = true}, &layers_error), "1 bins");
    assert_refused(flow_nsf(0, 0, NULL, &layers_error), "0 features");
    flow_net *net = flow_made(2, 0, 2, NULL, &layers_error);
    assert_refused(flow_iaf(2, 0, &(flow_maf_options){.layer = {.net = net}}, &layers_error), "one net given for all");
    flow_net_free(net);
}

static void an_nsf_may_map_the_features_kept(void **state) {
    (void)state;
    const flow_nsf_options o = {
        .layers = 2, .bins = 3, .map_kept = true, .plain = true, .mlp = {.layers = 1, .width = 6}};
    flow_model *model = flow_nsf(3, 1, &o, &layers_error);
    layers_assert_made(model);
    if (flow_check_model(model, NULL, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    int n, raw = 0;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) raw += strstr(t[i].name, "kept_raw") != NULL;
    assert_int_equal(raw, 2);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(presets_keep_the_laws),
        cmocka_unit_test(presets_start_as_the_identity),
        cmocka_unit_test(densities_integrate_to_one),
        cmocka_unit_test(samples_follow_the_density),
        cmocka_unit_test(presets_are_saved_and_loaded),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(halves_take_turns_and_nice_ends_in_scales),
        cmocka_unit_test(masks_take_turns),
        cmocka_unit_test(a_leapfrog_ends_in_scales),
        cmocka_unit_test(an_nsf_may_map_the_features_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
