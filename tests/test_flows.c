// test_flows.c -- layers by their laws, models by reference values, files by what they refuse.
#include "files.h"
#include "flows.h"
#include "npz.h"

// Every call that makes something fills this in when it fails.
static ad_error error;

#define assert_made(p)                           \
    do {                                         \
        if (!(p)) fail_msg("%s", error.message); \
    } while (0)

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// log_prob of n rows of x, computed in the given type.
static void log_prob_of(const flow_model *model, ad_type type, const double *x, const double *context, int64_t n,
                        double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, n), k = util_source(context, n);
    ad_rows rows = util_rows(tape, "data", n);
    int64_t C = flow_model_context(model);
    ad_var c = C ? ad_input(rows, ad_shape1(C), &k) : AD_NONE;
    ad_var log_prob = ad_keep(flow_log_prob(model, ad_input(rows, flow_model_shape(model), &source), c));
    util_run(tape);
    util_read(log_prob, out, n);
    ad_tape_free(tape);
}

// Parameters moved off their start.
static void stir(flow_model *model, double size) {
    int n;
    uint64_t seed = 11;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) {
            ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&seed, -size, size));
        }
    }
}

static flow_model *small_model(int64_t D, int64_t C) {
    flow_realnvp_options options = {.layers = 3, .mix = FLOW_MIX_RANDOM, .mlp = {.layers = 1, .width = 8, .seed = 4}};
    flow_model *model = flow_realnvp(D, C, &options, &error);
    assert_made(model);
    stir(model, 0.3);
    return model;
}

// ---- laws -----------------------------------------------------------------------------------------------------------

static void every_registered_layer_keeps_the_laws(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        for (int i = 0; i < 12; i++) {
            flow_layer *layer = (*type)->example(i, &error);
            assert_made(layer);
            flow_check_options options = {.seed = (uint64_t)i};
            if (flow_check(layer, &options, &error) != AD_OK) fail_msg("example %d: %s", i, error.message);
            flow_layer_free(layer);
        }
    }
}

static void examples_do_not_end(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        for (int i = 0; i < 200; i++) {
            flow_layer *layer = (*type)->example(i, &error);
            assert_made(layer);
            flow_layer_free(layer);
        }
    }
}

static void presets_keep_the_laws(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        flow_realnvp_options options = {.layers = 4, .mix = (flow_mix)(i % 5), .mlp = {.width = 8, .seed = 1}};
        flow_model *model = flow_realnvp(2 + i, i % 2 ? 2 : 0, &options, &error);
        assert_made(model);
        assert_status_ok(flow_check_model(model, NULL, &error));
        flow_model_free(model);
    }
}

static void checking_leaves_the_parameters(void **state) {
    (void)state;
    flow_model *model = small_model(3, 0);
    const double x[3] = {0.3, -1, 2};
    double before, after;
    log_prob_of(model, AD_F32, x, NULL, 1, &before);
    assert_status_ok(flow_check_model(model, NULL, &error));
    log_prob_of(model, AD_F32, x, NULL, 1, &after);
    assert_true(before == after);
    flow_model_free(model);
}

// ---- reference values
// -------------------------------------------------------------------------------------------------

enum { H = 16, D4 = 4, N16 = 16 };

// Where the reference's two nets of masked inputs stand in our one net: [index in ours] or -1 outside.
typedef struct place {
    char name[40];  // "l0_s_W1"
    int rows, columns;
    int row[2 * H], column[2 * H];
    ad_param *param;
} place;

static int find(const int *list, int n, int value) {
    for (int i = 0; i < n; i++) {
        if (list[i] == value) return i;
    }
    return -1;
}

// Fills in the place of tensor W or b number k of net s or t (half 0 or 1) of layer i.
static void set_place(place *p, int i, int half, char kind, int k, ad_param *param) {
    static const int kept[2][2] = {{0, 2}, {1, 3}}, changed[2][2] = {{1, 3}, {0, 2}};
    *p = (place){.rows = k == 2 ? D4 : H, .columns = kind == 'b' ? 1 : k == 0 ? D4 : H, .param = param};
    snprintf(p->name, sizeof p->name, "l%d_%c_%c%d", i, half ? 't' : 's', kind, k);
    for (int r = 0; r < p->rows; r++) {
        int c = find(changed[i], 2, r);
        p->row[r] = k == 2 ? (c < 0 ? -1 : 2 * half + c) : H * half + r;
    }
    for (int c = 0; c < p->columns; c++) {
        p->column[c] = kind == 'b' ? 0 : k == 0 ? find(kept[i], 2, c) : H * half + c;
    }
}

static int list_places(const flow_model *model, place *places) {
    int n = 0, n_tensors;
    const flow_tensor *t = flow_tensors(model, &n_tensors);
    for (int j = 0; j < n_tensors; j++) {
        int layer, k;
        char kind;
        if (sscanf(t[j].name, "flow.%d.net.%c%d", &layer, &kind, &k) != 3) continue;
        for (int half = 0; half < 2; half++) set_place(&places[n++], layer - 1, half, kind, k, t[j].param);
    }
    return n;
}

static int64_t element(const place *p, int r, int c) {
    int64_t width = p->param->shape.rank == 2 ? p->param->shape.dim[1] : 1;
    return p->row[r] < 0 || p->column[c] < 0 ? -1 : p->row[r] * width + p->column[c];
}

static flow_model *reference_model(const npz *z) {
    static const int64_t order[D4] = {0, 2, 1, 3};  // even features first: its own inverse
    flow_coupling_options o = {.bound = INFINITY,
                               .mlp = {.layers = 2, .width = 2 * H, .activation = FLOW_LEAKY_RELU, .type = AD_F64}};
    flow_layer *layers[4];
    layers[0] = flow_permutation(D4, order, &error);
    layers[1] = flow_affine_coupling(D4, 0, &o, &error);
    o.keep = FLOW_KEEP_SECOND;
    layers[2] = flow_affine_coupling(D4, 0, &o, &error);
    layers[3] = flow_permutation(D4, order, &error);
    flow_model *model = flow_model_new(flow_chain(layers, 4, &error), flow_standard_normal(D4, &error), &error);
    assert_made(model);
    int n;
    ad_param *const *params = flow_params(model, &n);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) ad_param_set(params[i], k, 0);
    }
    place places[32];
    n = list_places(model, places);
    assert_int_equal(n, 24);
    for (int i = 0; i < n; i++) {
        int64_t count;
        double *W = npz_array(z, places[i].name, &count);
        assert_int_equal(count, places[i].rows * places[i].columns);
        for (int k = 0; k < count; k++) {
            int64_t at = element(&places[i], k / places[i].columns, k % places[i].columns);
            if (at >= 0) ad_param_set(places[i].param, at, W[k]);
        }
        free(W);
    }
    return model;
}

typedef struct reference {
    npz z;
    flow_model *model;
    ad_tape *tape;
    double *x;
    ad_source source;
    ad_var input;
} reference;

static reference open_reference(void) {
    int64_t n;
    reference r = {.z = npz_open("realnvp_exp_d4.npz")};
    r.model = reference_model(&r.z);
    r.tape = ad_tape_new(NULL, AD_F64);
    r.x = npz_array(&r.z, "x", &n);
    assert_int_equal(n, N16 * D4);
    return r;
}

// Rows of the named array as an input.
static ad_var input_of(reference *r, const char *name) {
    int64_t n;
    free(r->x);
    r->x = npz_array(&r->z, name, &n);
    r->source = util_source(r->x, N16);
    return ad_input(util_rows(r->tape, "data", N16), ad_shape1(D4), &r->source);
}

static void compare_with(reference *r, const char *name, ad_var v, double tolerance) {
    int64_t n;
    double *want = npz_array(&r->z, name, &n), *got = malloc((size_t)n * sizeof *got);
    util_read(v, got, n);
    util_assert_all_close(got, want, n, tolerance);
    free(want);
    free(got);
}

static void close_reference(reference *r) {
    ad_tape_free(r->tape);
    flow_model_free(r->model);
    npz_close(&r->z);
    free(r->x);
}

static void realnvp_has_the_reference_values(void **state) {
    (void)state;
    reference r = open_reference();
    ad_var x = input_of(&r, "x");
    flow_result z = flow_normalize(r.model, x, AD_NONE);
    ad_var log_prob = ad_keep(flow_log_prob(r.model, x, AD_NONE));
    ad_keep(z.value);
    ad_keep(z.log_det);
    util_run(r.tape);
    compare_with(&r, "z", z.value, 1e-11);
    compare_with(&r, "log_det", z.log_det, 1e-11);
    compare_with(&r, "log_prob", log_prob, 1e-11);
    close_reference(&r);
}

static void realnvp_generates_the_reference_values(void **state) {
    (void)state;
    reference r = open_reference();
    ad_var x = ad_keep(flow_generate(r.model, input_of(&r, "z"), AD_NONE).value);
    util_run(r.tape);
    compare_with(&r, "x_inv", x, 1e-11);
    close_reference(&r);
}

static void realnvp_has_the_reference_gradients(void **state) {
    (void)state;
    reference r = open_reference();
    ad_var x = input_of(&r, "x"), gx;
    ad_var loss = ad_mean_rows(flow_log_prob(r.model, x, AD_NONE));
    ad_grad(loss, &x, 1, &gx);
    ad_keep(gx);
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(r.tape));
    compare_with(&r, "grad_x", gx, 1e-10);
    place places[32];
    int n = list_places(r.model, places);
    for (int i = 0; i < n; i++) {
        char name[60];
        int64_t count;
        snprintf(name, sizeof name, "grad_%.40s", places[i].name);
        double *want = npz_array(&r.z, name, &count);
        for (int k = 0; k < count; k++) {
            int64_t at = element(&places[i], k / places[i].columns, k % places[i].columns);
            if (at >= 0) util_assert_close(((double *)places[i].param->grad)[at], want[k], 1e-10);
        }
        free(want);
    }
    close_reference(&r);
}

// ---- models
// -----------------------------------------------------------------------------------------------------------

static void a_new_realnvp_is_the_standard_normal(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(3, 0, NULL, &error);
    assert_made(model);
    const double x[3] = {0.5, -1, 2};
    double log_prob;
    log_prob_of(model, AD_F64, x, NULL, 1, &log_prob);
    util_assert_close(log_prob, -0.5 * 5.25 - 1.5 * log(2 * 3.14159265358979323846), 1e-14);
    flow_model_free(model);
}

static void a_realnvp_of_w1_has_its_parameters(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_made(model);
    assert_int_equal(flow_param_count(model), 35344);
    flow_model_free(model);
}

static void seeds_decide_the_start(void **state) {
    (void)state;
    double log_prob[3];
    const double x[2] = {1, 2};
    for (int i = 0; i < 3; i++) {
        flow_realnvp_options options = {.mlp = {.seed = i == 1 ? 5 : 6, .width = 4}};
        flow_model *model = flow_realnvp(2, 0, &options, &error);
        assert_made(model);
        stir(model, 0.1);
        log_prob_of(model, AD_F64, x, NULL, 1, &log_prob[i]);
        flow_model_free(model);
    }
    assert_true(log_prob[0] == log_prob[2]);
    assert_true(log_prob[0] != log_prob[1]);
}

static void f32_agrees_with_f64(void **state) {
    (void)state;
    flow_model *model = small_model(4, 0);
    double x[40], narrow[10], wide[10];
    util_fill(x, 40, 3, -2, 2);
    log_prob_of(model, AD_F32, x, NULL, 10, narrow);
    log_prob_of(model, AD_F64, x, NULL, 10, wide);
    util_assert_all_close(narrow, wide, 10, 2e-5);
    flow_model_free(model);
}

// Scales stay within e^-2 to e^2 whatever the net says, so that nothing overflows.
static void a_coupling_is_bounded(void **state) {
    (void)state;
    flow_layer *coupling = flow_affine_coupling(2, 0, NULL, &error);
    flow_model *model = flow_model_new(coupling, flow_standard_normal(2, &error), &error);
    assert_made(model);
    stir(model, 1000);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    const double x[2] = {100, 0};
    ad_source source = util_source(x, 1);
    ad_var in = ad_input(util_rows(tape, "data", 1), ad_shape1(2), &source);
    ad_var log_det = ad_keep(flow_normalize(model, in, AD_NONE).log_det);
    util_run(tape);
    double value;
    util_read(log_det, &value, 1);
    util_assert_close(fabs(value), 2, 1e-6);
    ad_tape_free(tape);
    flow_model_free(model);
}

static void samples_follow_seed_and_stream(void **state) {
    (void)state;
    flow_model *model = small_model(2, 0);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_rows rows = util_rows(tape, "draws", 50);
    ad_random random = {7, 0}, other = {8, 0};
    ad_var a = ad_keep(flow_sample(model, rows, &random, 0, AD_NONE));
    ad_var b = ad_keep(flow_sample(model, rows, &random, 1, AD_NONE));
    ad_var c = ad_keep(flow_sample(model, rows, &other, 0, AD_NONE));
    ad_var d = ad_keep(flow_sample_and_log_prob(model, rows, &random, 0, AD_NONE).value);
    util_run(tape);
    double v[4][100];
    util_read(a, v[0], 100);
    util_read(b, v[1], 100);
    util_read(c, v[2], 100);
    util_read(d, v[3], 100);
    assert_memory_equal(v[0], v[3], sizeof v[0]);
    assert_memory_not_equal(v[0], v[1], sizeof v[0]);
    assert_memory_not_equal(v[0], v[2], sizeof v[0]);
    ad_tape_free(tape);
    flow_model_free(model);
}

// A shared context stands for every row's.
static void a_context_may_be_shared(void **state) {
    (void)state;
    flow_model *model = small_model(2, 2);
    double x[6] = {0, 1, -1, 2, 0.5, 0.5}, context[6] = {1, -1, 1, -1, 1, -1}, by_row[3], shared[3];
    log_prob_of(model, AD_F64, x, context, 3, by_row);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, 3);
    ad_var in = ad_input(util_rows(tape, "data", 3), ad_shape1(2), &source);
    ad_var log_prob = ad_keep(flow_log_prob(model, in, ad_constant(tape, ad_shape1(2), context)));
    util_run(tape);
    util_read(log_prob, shared, 3);
    util_assert_all_close(shared, by_row, 3, 1e-13);
    ad_tape_free(tape);
    flow_model_free(model);
}

static void expect_tape_error(ad_var v, const char *words) {
    assert_int_equal(ad_tape_status(v.tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(v.tape), words);
    assert_false(ad_ok(v));
    ad_tape_reset(v.tape);
}

static void wrong_shapes_are_reported(void **state) {
    (void)state;
    flow_model *model = small_model(2, 0), *conditional = small_model(2, 3);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    const double x[3] = {0};
    ad_source source = util_source(x, 1);
    ad_var three = ad_input(util_rows(tape, "data", 1), ad_shape1(3), &source);
    expect_tape_error(flow_log_prob(model, three, AD_NONE), "rows of [3], but the model takes [2]");
    ad_var two = ad_input(util_rows(tape, "data", 1), ad_shape1(2), &source);
    expect_tape_error(flow_log_prob(model, two, two), "the model takes none");
    two = ad_input(util_rows(tape, "data", 1), ad_shape1(2), &source);
    expect_tape_error(flow_normalize(conditional, two, AD_NONE).value, "needs a context of [3], given none");
    ad_tape_free(tape);
    flow_model_free(model);
    flow_model_free(conditional);
}

static void errors_in_layers_name_the_place(void **state) {
    (void)state;
    flow_model *model = small_model(2, 0);
    int n;
    ad_param *const *params = flow_params(model, &n);
    ad_param_set(params[n - 1], 0, NAN);
    const double x[2] = {0, 0};
    ad_source source = util_source(x, 1);
    flow_rows rows = {.x = source};
    assert_int_equal(flow_find_nonfinite(model, &rows, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "tensor 'flow.5.net.b1' is nan");
    flow_model_free(model);
}

static void overflow_is_traced_to_its_layer(void **state) {
    (void)state;
    flow_coupling_options o = {.bound = INFINITY};
    flow_layer *layers[2] = {flow_affine_coupling(2, 0, NULL, &error), flow_affine_coupling(2, 0, &o, &error)};
    flow_model *model = flow_model_new(flow_chain(layers, 2, &error), flow_standard_normal(2, &error), &error);
    assert_made(model);
    int n;
    ad_param *const *params = flow_params(model, &n);
    for (int64_t k = 0; k < 2; k++) ad_param_set(params[n - 1], k, -1000);  // the last bias: log-scale and shift
    const double x[4] = {0, 0, 1, 1};
    const int64_t index[1] = {1};
    flow_rows rows = {.x = util_source(x, 2), .index = index, .n = 1};
    assert_int_equal(flow_find_nonfinite(model, &rows, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "layer 1 (coupling) gives value inf in row 1 of the data");
    flow_model_free(model);
}

// ---- data-dependent initialisation
// ------------------------------------------------------------------------------------

static void standardise_fits_mean_and_deviation(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_made(model);
    const double x[8] = {1, 1e6, 99, 99, 3, 1e6 + 4, 99, 99};
    const int64_t index[2] = {0, 2};  // the other rows are not seen
    flow_rows rows = {.x = util_source(x, 4), .index = index, .n = 2};
    assert_status_ok(flow_init_from_data(model, &rows, &error));
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_string_equal(t[0].name, "flow.0.mean");
    const float *mean = t[0].state->data, *sd = t[1].state->data;
    util_assert_close(mean[0], 2, 1e-7);
    util_assert_close(mean[1], 1e6 + 2, 1e-7);
    util_assert_close(sd[0], 1, 1e-7);
    util_assert_close(sd[1], 2, 1e-7);
    flow_model_free(model);
}

// A second standardise sees the rows as the layers before it leave them.
static void later_layers_see_the_latents(void **state) {
    (void)state;
    const double three[2] = {3, 3}, two[2] = {2, 2}, x[8] = {3, 5, 5, 5, 7, 7, 1, 3};
    flow_standardise_options fixed = {three, two, AD_F64}, fitted = {.type = AD_F64};
    flow_layer *layers[2] = {flow_standardise(2, &fixed, &error), flow_standardise(2, &fitted, &error)};
    flow_model *model = flow_model_new(flow_chain(layers, 2, &error), flow_standard_normal(2, &error), &error);
    assert_made(model);
    flow_rows rows = {.x = util_source(x, 4)};
    assert_status_ok(flow_init_from_data(model, &rows, &error));
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_true(((const double *)t[0].state->data)[0] == 3);               // given, so left alone
    util_assert_close(((const double *)t[2].state->data)[0], 0.5, 1e-15);  // mean of 0, 1, 2, -1
    util_assert_close(((const double *)t[3].state->data)[1], sqrt(0.5), 1e-15);
    flow_model_free(model);
}

static void bad_rows_do_not_initialise(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_made(model);
    double x[6] = {1, 0.1, 2, 0.1, 3, 0.1};  // whose mean rounds to another number
    flow_rows rows = {.x = util_source(x, 3)};
    assert_int_equal(flow_init_from_data(model, &rows, &error), AD_EARG);
    util_assert_contains(error.message, "feature 1 has standard deviation 0");
    x[3] = NAN;
    assert_int_equal(flow_init_from_data(model, &rows, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "row 1, feature 1 is nan");
    rows.x.count = 0;
    assert_int_equal(flow_init_from_data(model, &rows, &error), AD_EARG);
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_true(((const float *)t[1].state->data)[0] == 1);  // as it was
    flow_model_free(model);
}

static void initialisation_happens_once(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_made(model);
    const double x[4] = {1, 2, 3, 4}, y[4] = {10, 20, 30, 40};
    flow_rows first = {.x = util_source(x, 2)}, second = {.x = util_source(y, 2)};
    assert_status_ok(flow_init_from_data(model, &first, &error));
    assert_status_ok(flow_init_from_data(model, &second, &error));
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    assert_true(((const float *)t[0].state->data)[0] == 2);
    flow_model_free(model);
}

// ---- options
// ----------------------------------------------------------------------------------------------------------

#define assert_refused(call, words)                 \
    do {                                            \
        error = (ad_error){0};                      \
        assert_null(call);                          \
        util_assert_contains(error.message, words); \
    } while (0)

static void bad_options_are_refused(void **state) {
    (void)state;
    const int64_t twice[2] = {1, 1};
    const double mean[1] = {0}, sd[1] = {0};
    flow_coupling_options c = {.split = 3}, bound = {.bound = -1};
    assert_refused(flow_affine_coupling(1, 0, NULL, &error), "nothing to condition on");
    assert_refused(flow_affine_coupling(0, 0, NULL, &error), "coupling: 0 features");
    assert_refused(flow_affine_coupling(3, 0, &c, &error), "split 3 leaves one part of 3 features empty");
    assert_refused(flow_affine_coupling(3, 0, &bound, &error), "bound -1");
    assert_refused(flow_permutation(2, twice, &error), "each of 0 to 1 once");
    assert_refused(flow_standardise(1, &(flow_standardise_options){mean, sd, AD_F32}, &error), "sd 0");
    assert_refused(flow_standardise(1, &(flow_standardise_options){mean, NULL, AD_F32}, &error), "both or neither");
    assert_refused(flow_mlp(2, 0, NULL, &error), "2 -> 0");
    assert_refused(flow_standard_normal(0, &error), "0 features");
    assert_refused(flow_chain(NULL, 0, &error), "no layers");
    assert_refused(flow_realnvp(1, 0, NULL, &error), "nothing to condition on");
    assert_refused(flow_realnvp(2, 0, &(flow_realnvp_options){.layers = -1}, &error), "-1 layers");
}

static void parts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    flow_layer *layers[2] = {flow_permutation(2, NULL, &error), flow_permutation(3, NULL, &error)};
    assert_refused(flow_chain(layers, 2, &error),
                   "layer 1 (permutation) takes [3], but layer 0 (permutation) gives [2]");
    flow_layer *contexts[2] = {flow_affine_coupling(2, 1, NULL, &error), flow_affine_coupling(2, 2, NULL, &error)};
    assert_refused(flow_chain(contexts, 2, &error), "takes a context of 2, one before it of 1");
    assert_refused(flow_model_new(flow_permutation(2, NULL, &error), flow_standard_normal(3, &error), &error),
                   "latent rows are [2], but the base density's are [3]");
    flow_coupling_options o = {.net = flow_mlp(3, 4, NULL, &error)};
    assert_refused(flow_affine_coupling(2, 0, &o, &error), "the net is [3] -> [4], expected [1] -> [2]");
}

// A constructor that failed leaves its own message through chain and model.
static void the_first_failure_is_the_one_told(void **state) {
    (void)state;
    flow_layer *layers[2] = {flow_permutation(2, NULL, &error), NULL};
    layers[1] = flow_affine_coupling(1, 0, NULL, &error);
    flow_layer *chain = flow_chain(layers, 2, &error);
    assert_null(chain);
    flow_base *base = flow_standard_normal(2, NULL);
    assert_null(flow_model_new(chain, base, &error));
    util_assert_contains(error.message, "nothing to condition on");
}

// ---- files
// ------------------------------------------------------------------------------------------------------------

static void assert_models_equal(const flow_model *a, const flow_model *b) {
    int n, m;
    const flow_tensor *s = flow_tensors(a, &n), *t = flow_tensors(b, &m);
    assert_int_equal(n, m);
    for (int i = 0; i < n; i++) {
        assert_string_equal(s[i].name, t[i].name);
        assert_int_equal(s[i].param == NULL, t[i].param == NULL);
        if (s[i].param) {
            size_t size = (size_t)s[i].param->count * ad_type_size(s[i].param->type);
            assert_memory_equal(s[i].param->data, t[i].param->data, size);
        } else {
            size_t size = (size_t)s[i].state->count * ad_type_size(s[i].state->type);
            assert_memory_equal(s[i].state->data, t[i].state->data, size);
        }
    }
    char *p = flow_describe(a), *q = flow_describe(b);
    assert_string_equal(p, q);
    free(p);
    free(q);
}

static void every_registered_layer_is_saved_and_loaded(void **state) {
    (void)state;
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        for (int i = 0; i < 8; i++) {
            flow_layer *layer = (*type)->example(i, &error);
            assert_made(layer);
            int64_t D = layer->z_shape.dim[0], C = layer->C;
            flow_model *model = flow_model_new(layer, flow_standard_normal(D, &error), &error);
            assert_made(model);
            stir(model, 0.2);
            assert_status_ok(flow_save(model, files_path("layer.safetensors"), &error));
            flow_model *loaded = flow_load(files_path("layer.safetensors"), NULL, &error);
            assert_made(loaded);
            assert_models_equal(model, loaded);
            double x[60], context[30], a[6], b[6];
            util_fill(x, 60, 1, -1, 1);
            util_fill(context, 30, 2, -1, 1);
            assert_true(D <= 10 && C <= 5);
            log_prob_of(model, AD_F32, x, context, 6, a);
            log_prob_of(loaded, AD_F32, x, context, 6, b);
            assert_memory_equal(a, b, sizeof a);
            flow_model_free(model);
            flow_model_free(loaded);
        }
    }
}

static void loaded_models_count_as_initialised(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, NULL, &error);
    assert_made(model);
    const double x[4] = {1, 2, 3, 5};
    flow_rows rows = {.x = util_source(x, 2)};
    assert_status_ok(flow_save(model, files_path("new.safetensors"), &error));
    flow_model *loaded = flow_load(files_path("new.safetensors"), NULL, &error);
    assert_made(loaded);
    assert_status_ok(flow_init_from_data(loaded, &rows, &error));
    assert_models_equal(model, loaded);
    flow_model_free(model);
    flow_model_free(loaded);
}

// A small model's file, with tensor number `bad` left out or replaced, or another description.
static const char *tampered(int bad, const data_tensor *with, const char *description) {
    flow_model *model = small_model(2, 0);
    assert_status_ok(flow_save(model, files_path("whole.safetensors"), &error));
    flow_model_free(model);
    data_tensors *file = data_load_tensors(files_path("whole.safetensors"), &error);
    assert_made(file);
    data_tensor list[64];
    int64_t n = 0;
    for (int64_t i = 0; i < file->n; i++) {
        if (i != bad) list[n++] = file->tensor[i];
        if (i == bad && with) {
            list[n] = *with;
            list[n++].name = file->tensor[i].name;
        }
    }
    data_meta meta = {"flow_model", description ? description : data_find_meta(file, "flow_model")};
    data_tensors all = {.tensor = list, .n = n, .meta = &meta, .n_meta = 1};
    assert_status_ok(data_save_tensors(files_path("tampered.safetensors"), &all, &error));
    data_tensors_free(file);
    return files_path("tampered.safetensors");
}

static void notes_live_in_files(void **state) {
    (void)state;
    flow_model *model = flow_realnvp(2, 0, &(flow_realnvp_options){.layers = 1}, &error);
    assert_null(flow_note(model, "columns"));
    assert_status_ok(flow_set_note(model, "columns", "a", &error));
    assert_status_ok(flow_set_note(model, "source", "table \"1\"\n", &error));
    assert_status_ok(flow_set_note(model, "columns", "a,b", &error));
    assert_int_equal(flow_set_note(model, "", "text", &error), AD_EARG);
    assert_status_ok(flow_save(model, files_path("notes.safetensors"), &error));
    flow_model_free(model);
    model = flow_load(files_path("notes.safetensors"), NULL, &error);
    if (!model) fail_msg("%s", error.message);
    const char *key;
    assert_string_equal(flow_note_number(model, 0, &key), "a,b");
    assert_string_equal(key, "columns");
    assert_string_equal(flow_note(model, "source"), "table \"1\"\n");
    assert_null(flow_note_number(model, 2, &key));
    flow_model_free(model);
}

static void files_that_do_not_fit_are_refused(void **state) {
    (void)state;
    const float ones[400] = {1};
    const double wide[400] = {1};
    data_tensor shape = {"", AD_F32, ad_shape1(7), ones}, type = {"", AD_F64, ad_shape1(2), wide};
    assert_refused(flow_load(tampered(0, NULL, NULL), NULL, &error), "is missing");
    assert_refused(flow_load(tampered(0, &shape, NULL), NULL, &error), "is [7], expected [");
    assert_refused(flow_load(tampered(0, &type, NULL), NULL, &error), "tensor '");
    assert_refused(flow_load(tampered(-1, NULL, "{"), NULL, &error), "not JSON");
    assert_refused(flow_load(tampered(-1, NULL, "{\"version\":2}"), NULL, &error),
                   "model of version 2; this library reads version 1");
    assert_refused(flow_load(tampered(-1, NULL, "{\"version\":1,\"layer\":{\"type\":\"spline\"}}"), NULL, &error),
                   "unknown layer 'spline'");
    assert_refused(
        flow_load(tampered(-1, NULL, "{\"version\":1,\"layer\":{\"type\":\"chain\",\"layers\":[7]}}"), NULL, &error),
        "unknown layer ''");
    assert_refused(flow_load(tampered(-1, NULL,
                                      "{\"version\":1,\"layer\":{\"type\":\"permutation\",\"features\":2,"
                                      "\"order\":[0,1]},\"base\":{\"type\":\"standard normal\",\"features\":2}}"),
                             NULL, &error),
                   "tensors, but the model described has 0");
    assert_refused(flow_load(files_path("nowhere.safetensors"), NULL, &error), "nowhere.safetensors");
}

static void a_file_cannot_ask_for_more_memory_than_it_is_worth(void **state) {
    (void)state;
    const char *net =
        "{\"type\":\"mlp\",\"in\":1,\"out\":2,\"layers\":900,\"width\":16777216,"
        "\"activation\":\"relu\",\"precision\":\"f32\"}";
    char text[1000];
    snprintf(text, sizeof text,
             "{\"version\":1,\"layer\":{\"type\":\"coupling\",\"features\":2,\"context\":0,\"inverse\":false,"
             "\"kept\":[0],\"transformer\":{\"type\":\"additive\"},\"kept_transformer\":null,\"net\":%s}}",
             net);
    assert_refused(flow_load(tampered(-1, NULL, text), NULL, &error), "far more parameters than the file holds");
}

// Parameters of the features kept are the layer's own: no net stands for them.
static void nor_can_a_transformer_of_what_is_kept(void **state) {
    (void)state;
    assert_refused(
        flow_load(tampered(-1, NULL,
                           "{\"version\":1,\"layer\":{\"type\":\"coupling\",\"features\":2,\"context\":0,"
                           "\"inverse\":false,\"kept\":[0],\"transformer\":{\"type\":\"additive\"},"
                           "\"kept_transformer\":{\"type\":\"deep sigmoidal\",\"components\":4096,\"layers\":16,"
                           "\"bound\":7.0,\"scale_bound\":2.0,\"logistic\":false},"
                           "\"net\":{\"type\":\"mlp\",\"in\":1,\"out\":1,\"layers\":0,\"width\":1,"
                           "\"activation\":\"relu\",\"precision\":\"f32\"}}}"),
                  NULL, &error),
        "far more parameters than the file holds");
}

static void refusals_name_the_file(void **state) {
    (void)state;
    assert_refused(flow_load(tampered(-1, NULL, "{\"version\":2}"), NULL, &error), "tampered.safetensors: model of");
}

// ---- a layer of one's own
// ---------------------------------------------------------------------------------------------

// z = x + 1, in the fewest lines: options need no JSON of their own when there are none.
struct json_t *json_object(void);
static flow_result plus_one(const flow_layer *layer, ad_var x, ad_var context) {
    (void)layer, (void)context;
    return (flow_result){ad_offset(x, 1), AD_NONE};
}
static flow_result minus_one(const flow_layer *layer, ad_var z, ad_var context) {
    (void)layer, (void)context;
    return (flow_result){ad_offset(z, -1), AD_NONE};
}
static struct json_t *describe_plus(const flow_layer *layer) {
    (void)layer;
    return json_object();
}
static const flow_layer_type plus_type;
static flow_layer *make_plus(const struct json_t *options, const flow_making *making, ad_error *e) {
    (void)options, (void)making;
    return flow_layer_new(&plus_type, sizeof(flow_layer), 2, 0, e);
}
static const flow_layer_type plus_type = {
    .name = "plus", .normalize = plus_one, .generate = minus_one, .describe = describe_plus, .make = make_plus};

static void own_layers_are_loaded_by_name(void **state) {
    (void)state;
    flow_layer *layers[2] = {make_plus(NULL, NULL, &error), flow_permutation(2, NULL, &error)};
    flow_model *model = flow_model_new(flow_chain(layers, 2, &error), flow_standard_normal(2, &error), &error);
    assert_made(model);
    assert_status_ok(flow_check_model(model, NULL, &error));
    assert_status_ok(flow_save(model, files_path("own.safetensors"), &error));
    assert_refused(flow_load(files_path("own.safetensors"), NULL, &error), "unknown layer 'plus'");
    const flow_layer_type *const types[] = {&plus_type, NULL};
    flow_model *loaded = flow_load(files_path("own.safetensors"), &(flow_load_options){.types = types}, &error);
    assert_made(loaded);
    assert_models_equal(model, loaded);
    flow_model_free(model);
    flow_model_free(loaded);
}

static void names_in_a_layer_are_distinct(void **state) {
    (void)state;
    flow_layer *layer = make_plus(NULL, NULL, &error);
    assert_non_null(flow_add_param(&layer->owner, "a", AD_F32, ad_shape1(1), &error));
    assert_refused(flow_add_param(&layer->owner, "a", AD_F32, ad_shape1(1), &error), "'a' is taken");
    assert_refused(flow_add_state(&layer->owner, "a.b", AD_F32, ad_shape1(1), &error), "has a dot");
    flow_layer_free(layer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_live_in_files),
        cmocka_unit_test(every_registered_layer_keeps_the_laws),
        cmocka_unit_test(examples_do_not_end),
        cmocka_unit_test(presets_keep_the_laws),
        cmocka_unit_test(checking_leaves_the_parameters),
        cmocka_unit_test(realnvp_has_the_reference_values),
        cmocka_unit_test(realnvp_generates_the_reference_values),
        cmocka_unit_test(realnvp_has_the_reference_gradients),
        cmocka_unit_test(a_new_realnvp_is_the_standard_normal),
        cmocka_unit_test(a_realnvp_of_w1_has_its_parameters),
        cmocka_unit_test(seeds_decide_the_start),
        cmocka_unit_test(f32_agrees_with_f64),
        cmocka_unit_test(a_coupling_is_bounded),
        cmocka_unit_test(samples_follow_seed_and_stream),
        cmocka_unit_test(a_context_may_be_shared),
        cmocka_unit_test(wrong_shapes_are_reported),
        cmocka_unit_test(errors_in_layers_name_the_place),
        cmocka_unit_test(overflow_is_traced_to_its_layer),
        cmocka_unit_test(standardise_fits_mean_and_deviation),
        cmocka_unit_test(later_layers_see_the_latents),
        cmocka_unit_test(bad_rows_do_not_initialise),
        cmocka_unit_test(initialisation_happens_once),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(parts_that_do_not_fit_are_refused),
        cmocka_unit_test(the_first_failure_is_the_one_told),
        cmocka_unit_test_teardown(every_registered_layer_is_saved_and_loaded, files_empty),
        cmocka_unit_test_teardown(loaded_models_count_as_initialised, files_empty),
        cmocka_unit_test_teardown(files_that_do_not_fit_are_refused, files_empty),
        cmocka_unit_test_teardown(a_file_cannot_ask_for_more_memory_than_it_is_worth, files_empty),
        cmocka_unit_test_teardown(nor_can_a_transformer_of_what_is_kept, files_empty),
        cmocka_unit_test_teardown(refusals_name_the_file, files_empty),
        cmocka_unit_test_teardown(own_layers_are_loaded_by_name, files_empty),
        cmocka_unit_test(names_in_a_layer_are_distinct),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
