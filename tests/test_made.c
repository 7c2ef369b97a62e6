// test_made.c -- masked autoregressive nets and layers: what depends on what, the sweep by features, reference values.
#include <jansson.h>

#include "flows.h"
#include "npz.h"

static ad_error error;

#define assert_made(p)                           \
    do {                                         \
        if (!(p)) fail_msg("%s", error.message); \
    } while (0)

// ---- what depends on what -----------------------------------------------------------------------------------------

enum { B = 5 };

typedef struct net {
    flow_net *made;
    int64_t D, C, P;
    int64_t order[8];
    ad_tape *tape;
    double x[B * 8], context[B * 8];
    ad_source x_source, context_source;
    ad_var in, at;  // x and context
} net;

// A net with everything at random, its input and its context.
static net open_net(int64_t D, int64_t C, int64_t P, bool shuffled, int layers, ad_type type) {
    static const int64_t shuffle[8] = {3, 1, 4, 0, 2};
    net n = {.D = D, .C = C, .P = P, .tape = ad_tape_new(NULL, type)};
    for (int64_t k = 0; k < D; k++) n.order[k] = shuffled ? shuffle[k] : k;
    flow_made_options o = {.mlp = {.layers = layers, .width = 40, .activation = FLOW_TANH, .seed = 3, .type = AD_F64},
                           .order = shuffled ? n.order : NULL};
    n.made = flow_made(D, C, P, &o, &error);
    assert_made(n.made);
    util_fill(n.x, B * D, 1, -2, 2);
    util_fill(n.context, B * 8, 2, -2, 2);
    return n;
}
static void record_input(net *n) {
    ad_rows rows = util_rows(n->tape, "data", B);
    n->x_source = util_source(n->x, B);
    n->context_source = util_source(n->context, B);
    n->in = ad_input(rows, ad_shape1(n->D), &n->x_source);
    n->at = n->C ? ad_input(rows, ad_shape1(n->C), &n->context_source) : AD_NONE;
}
static void close_net(net *n) {
    ad_tape_free(n->tape);
    flow_net_free(n->made);
}

// Every parameter of feature order[k] moves with each of order[0 .. k-1], with the context, and with nothing else.
static void check_dependence(int64_t D, int64_t C, bool shuffled, int layers) {
    enum { P = 3 };
    net n = open_net(D, C, P, shuffled, layers, AD_F64);
    record_input(&n);
    ad_var y = flow_made_apply(n.made, n.in, n.at), J = ad_keep(ad_jacobian(y, n.in));
    ad_var K = C ? ad_keep(ad_jacobian(y, n.at)) : AD_NONE;
    util_run(n.tape);
    double *j = malloc((size_t)(B * D * P * (D + C)) * sizeof *j);
    util_read(J, j, B * D * P * D);
    for (int64_t r = 0; r < B * P; r++)
        for (int64_t k = 0; k < D; k++)
            for (int64_t l = 0; l < D; l++) {
                int64_t row = (r / P * D + n.order[k]) * P + r % P;
                assert_int_equal(j[row * D + n.order[l]] != 0, l < k);
            }
    if (C) util_read(K, j, B * D * P * C);
    for (int64_t i = 0; i < B * D * P * C; i++) assert_true(j[i] != 0);
    free(j);
    close_net(&n);
}
static void the_jacobian_is_triangular_in_the_order(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) check_dependence(5, i % 2 ? 2 : 0, i / 2 % 2, i / 4 ? i / 4 : -1);
    check_dependence(2, 0, false, 2);
    check_dependence(2, 1, false, 2);
}

static void one_feature_depends_on_the_context_only(void **state) {
    (void)state;
    check_dependence(1, 2, false, 2);
    check_dependence(1, 2, false, -1);
    check_dependence(1, 0, false, 2);
}

// The net as any other net, of (x, context).
static void a_made_is_a_net(void **state) {
    (void)state;
    net n = open_net(5, 2, 3, true, 2, AD_F64);
    record_input(&n);
    assert_int_equal(n.made->in, 7);
    assert_int_equal(n.made->out, 15);
    ad_var both[2] = {n.in, n.at};
    ad_var y = ad_keep(flow_net_apply(n.made, ad_concat(both, 2, 0))), want = ad_keep(flow_made_apply(n.made, n.in, n.at));
    util_run(n.tape);
    double a[B * 15], b[B * 15];
    util_read(y, a, B * 15);
    util_read(want, b, B * 15);
    assert_memory_equal(a, b, sizeof a);
    close_net(&n);
}

// ---- the sweep ----------------------------------------------------------------------------------------------------

static ad_var step(void *arg, ad_var parameters, ad_var v) {
    (void)arg;
    return ad_add(ad_scale(v, 0.3), ad_tanh(ad_slice(parameters, 0, 1, 1)));
}

static void check_sweep(int64_t C, bool shuffled, int layers, ad_type type) {
    net n = open_net(5, C, 3, shuffled, layers, type);
    record_input(&n);
    flow_sweep s = flow_made_sweep(n.made, n.in, n.at, step, NULL);
    ad_keep(s.value), ad_keep(s.parameters);
    ad_var again = ad_keep(flow_made_apply(n.made, s.value, n.at));
    ad_var value = ad_add(ad_scale(n.in, 0.3), ad_tanh(ad_reshape(ad_slice(again, 1, 1, 1), ad_shape1(5))));
    ad_keep(value);
    util_run(n.tape);
    double p[2][B * 15], v[2][B * 5];
    util_read(s.parameters, p[0], B * 15);
    util_read(again, p[1], B * 15);
    util_read(s.value, v[0], B * 5);
    util_read(value, v[1], B * 5);
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    assert_memory_equal(v[0], v[1], sizeof v[0]);
    close_net(&n);
}
static void a_sweep_gives_what_one_pass_gives(void **state) {
    (void)state;
    for (int i = 0; i < 24; i++) check_sweep(i % 2 ? 2 : 0, i / 2 % 2, i / 8 ? i / 8 : -1, i / 4 % 2 ? AD_F32 : AD_F64);
}

// Nodes recorded for generate, as many a feature whatever the number of features.
static uint32_t nodes_to_generate(int64_t D) {
    flow_layer *layer = flow_affine_autoregressive(D, 0, NULL, &error);
    assert_made(layer);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_random random = {1, 0};
    ad_rows rows = util_rows(tape, "draws", 3);
    flow_result x = flow_layer_generate(layer, ad_normal(rows, ad_shape1(D), &random, 0), AD_NONE);
    ad_keep(x.value);
    util_run(tape);
    uint32_t n = x.log_det.id;
    ad_tape_free(tape);
    flow_layer_free(layer);
    return n;
}
static void a_sweep_records_some_nodes_a_feature(void **state) {
    (void)state;
    uint32_t few = nodes_to_generate(20), many = nodes_to_generate(40);
    if (few > 20 * 30) fail_msg("%u nodes for 20 features", few);
    if (many > 2 * few + 10) fail_msg("%u nodes for 40 features, %u for 20", many, few);
}

// More features than an op takes operands.
static void wide_sweeps_are_joined(void **state) {
    (void)state;
    enum { WIDE = 4200 };
    flow_autoregressive_options o = {.made = {.mlp = {.layers = 1, .width = 1, .type = AD_F64}}};
    flow_layer *layer = flow_affine_autoregressive(WIDE, 0, &o, &error);
    assert_made(layer);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    double *z = malloc(WIDE * sizeof *z), *x = malloc(WIDE * sizeof *x);
    util_fill(z, WIDE, 1, -1, 1);
    ad_source source = util_source(z, 1);
    ad_var v = ad_input(util_rows(tape, "data", 1), ad_shape1(WIDE), &source);
    ad_var value = ad_keep(flow_layer_generate(layer, v, AD_NONE).value);
    util_run(tape);
    util_read(value, x, WIDE);
    assert_memory_equal(x, z, WIDE * sizeof *x);
    free(z), free(x);
    ad_tape_free(tape);
    flow_layer_free(layer);
}

// ---- reference values: nflows, zuko -------------------------------------------------------------------------------

enum { N = 16, D5 = 5, H = 16 };

typedef struct reference {
    npz z;
    flow_model *model;
    ad_tape *tape;
    int unit[H];      // ours, sorted by degree, to theirs
    bool shift_first;  // their outputs
    double *rows;
    ad_source source;
} reference;

// Element (r, c) of theirs for our layer's; -1 as c: a bias.
static int64_t theirs(const reference *f, int layer, int64_t r, int64_t c) {
    int64_t row = layer < 2 ? f->unit[r] : f->shift_first ? r ^ 1 : r;
    if (c < 0) return row;
    return row * (layer == 0 ? D5 : H) + (layer == 0 ? c : f->unit[c]);
}

static void each_parameter(reference *f, const char *prefix, void (*visit)(ad_param *p, int64_t i, double value)) {
    static const char *const names[6] = {"W_0", "b_0", "W_1", "b_1", "W_out", "b_out"};
    int n;
    ad_param *const *params = flow_params(f->model, &n);
    assert_int_equal(n, 6);
    for (int k = 0; k < n; k++) {
        char name[20];
        int64_t count, columns = k % 2 ? 1 : params[k]->shape.dim[1];
        snprintf(name, sizeof name, "%s%s", prefix, names[k]);
        double *value = npz_array(&f->z, name, &count);
        assert_int_equal(count, params[k]->count);
        for (int64_t i = 0; i < count; i++) visit(params[k], i, value[theirs(f, k / 2, i / columns, k % 2 ? -1 : i % columns)]);
        free(value);
    }
}
static void set_value(ad_param *p, int64_t i, double value) {
    ad_param_set(p, i, value);
}
// Of a weight behind the mask it is 0, exactly.
static void compare_gradient(ad_param *p, int64_t i, double value) {
    double g = ((const double *)p->grad)[i];
    if (value == 0) assert_true(g == 0);
    util_assert_close(g, value, 1e-10);
}

// Both nets have tanh and units of degree 1 + j mod 4; what they have behind their masks stands in ours, too.
static reference open_reference(const char *name, flow_autoregressive_options o, bool shift_first) {
    reference f = {.z = npz_open(name), .tape = ad_tape_new(NULL, AD_F64), .shift_first = shift_first};
    for (int u = 0; u < H; u++) f.unit[u] = u % 4 * 4 + u / 4;
    o.made.mlp = (flow_mlp_options){.layers = 2, .width = H, .activation = FLOW_TANH, .type = AD_F64};
    f.model = flow_model_new(flow_affine_autoregressive(D5, 0, &o, &error), flow_standard_normal(D5, &error), &error);
    assert_made(f.model);
    each_parameter(&f, "", set_value);
    return f;
}
static reference open_nflows(void) {
    return open_reference("maf_nflows_d5.npz", (flow_autoregressive_options){.scale = FLOW_SCALE_SOFTPLUS}, false);
}
static reference open_zuko(void) {
    flow_autoregressive_options o = {.scale = FLOW_SCALE_SOFTSIGN, .bound = -log(1e-3)};
    return open_reference("maf_zuko_d5.npz", o, true);
}
static void close_reference(reference *f) {
    ad_tape_free(f->tape);
    flow_model_free(f->model);
    npz_close(&f->z);
    free(f->rows);
}

static ad_var input_of(reference *f, const char *name) {
    int64_t n;
    f->rows = npz_array(&f->z, name, &n);
    f->source = util_source(f->rows, N);
    return ad_input(util_rows(f->tape, "data", N), ad_shape1(D5), &f->source);
}
static void compare(reference *f, const char *name, ad_var v, double tolerance) {
    int64_t n;
    double *want = npz_array(&f->z, name, &n), *got = malloc((size_t)n * sizeof *got);
    util_read(v, got, n);
    util_assert_all_close(got, want, n, tolerance);
    free(want);
    free(got);
}

static void check_values(reference f) {
    ad_var x = input_of(&f, "x"), gx;
    flow_result z = flow_normalize(f.model, x, AD_NONE);
    ad_var log_prob = ad_keep(flow_log_prob(f.model, x, AD_NONE)), loss = ad_mean_rows(log_prob);
    ad_keep(z.value), ad_keep(z.log_det);
    ad_grad(loss, &x, 1, &gx);
    ad_keep(gx);
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(f.tape));
    compare(&f, "z", z.value, 1e-11);
    compare(&f, "log_det", z.log_det, 1e-11);
    compare(&f, "log_prob", log_prob, 1e-11);
    compare(&f, "grad_x", gx, 1e-10);
    each_parameter(&f, "grad_", compare_gradient);
    close_reference(&f);
}
static void check_inverse(reference f) {
    flow_result x = flow_generate(f.model, input_of(&f, "z"), AD_NONE);
    ad_keep(x.value);
    ad_var minus = ad_keep(ad_neg(x.log_det));
    util_run(f.tape);
    compare(&f, "x_inv", x.value, 1e-11);
    compare(&f, "log_det", minus, 1e-11);
    close_reference(&f);
}
static void values_and_gradients_are_nflows(void **state) {
    (void)state;
    check_values(open_nflows());
}
static void values_and_gradients_are_zukos(void **state) {
    (void)state;
    check_values(open_zuko());
}
static void the_inverse_is_nflows(void **state) {
    (void)state;
    check_inverse(open_nflows());
}
static void the_inverse_is_zukos(void **state) {
    (void)state;
    check_inverse(open_zuko());
}

// ---- layers and models ----------------------------------------------------------------------------------------------

static void the_preset_keeps_the_laws(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        flow_maf_options o = {.layers = 3, .mix = i % 2 ? FLOW_MIX_RANDOM : FLOW_MIX_REVERSE, .layer = {.inverse = i / 2 % 2, .made = {.mlp = {.width = 8, .activation = FLOW_TANH}}}};
        flow_model *model = flow_maf(1 + i, i % 3 ? 2 : 0, &o, &error);
        assert_made(model);
        if (flow_check_model(model, NULL, &error) != AD_OK) fail_msg("case %d: %s", i, error.message);
        flow_model_free(model);
    }
}

static void a_maf_of_w2_has_its_parameters(void **state) {
    (void)state;
    flow_maf_options o = {.layer = {.made = {.mlp = {.width = 512}}}};
    flow_model *model = flow_maf(21, 0, &o, &error);
    assert_made(model);
    assert_int_equal(flow_param_count(model), 5 * (21 * 512 + 512 + 512 * 512 + 512 + 512 * 42 + 42));
    flow_model_free(model);
}

// IAF is MAF with the directions swapped, to the bit.
static void inverse_swaps_the_directions(void **state) {
    (void)state;
    double x[12], there[2][12], back[2][12];
    util_fill(x, 12, 5, -1, 1);
    for (int inverse = 0; inverse < 2; inverse++) {
        flow_autoregressive_options o = {.inverse = inverse, .made = {.mlp = {.type = AD_F64}}};
        flow_layer *layer = flow_affine_autoregressive(4, 0, &o, &error);
        assert_made(layer);
        uint64_t seed = 9;
        ad_param *W = layer->owner.parts[1].owner->params[4];  // of the net: parts[0] is the transformer
        for (int64_t i = 0; i < W->count; i++) ad_param_set(W, i, util_uniform(&seed, -1, 1));
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_source source = util_source(x, 3);
        ad_var v = ad_input(util_rows(tape, "data", 3), ad_shape1(4), &source);
        ad_var a = ad_keep(flow_layer_normalize(layer, v, AD_NONE).value), b = ad_keep(flow_layer_generate(layer, v, AD_NONE).value);
        util_run(tape);
        util_read(a, there[inverse], 12);
        util_read(b, back[inverse], 12);
        ad_tape_free(tape);
        flow_layer_free(layer);
    }
    assert_memory_equal(there[0], back[1], sizeof back[1]);
    assert_memory_equal(there[1], back[0], sizeof back[0]);
    assert_memory_not_equal(there[0], there[1], sizeof there[0]);
}

#define assert_refused(call, words)                 \
    do {                                            \
        error = (ad_error){0};                      \
        assert_null(call);                          \
        util_assert_contains(error.message, words); \
    } while (0)

// What is recorded of the shared numbers 0.1, 0.2, ...: x [n] and context [C], none where it is 0.
static void misfit(const flow_net *made, int which, int64_t n, int64_t C, const char *words) {
    double v[16];
    for (int i = 0; i < 16; i++) v[i] = 0.1 * i;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var x = ad_constant(tape, ad_shape1(n), v), context = C ? ad_constant(tape, ad_shape1(C), v) : AD_NONE;
    if (which == 0) flow_made_apply(made, x, context);
    if (which == 1) flow_made_sweep(made, x, context, step, NULL);
    if (which == 2) flow_net_apply(made, x);
    assert_int_not_equal(ad_tape_status(tape), AD_OK);
    util_assert_contains(ad_tape_message(tape), words);
    ad_tape_free(tape);
}

// A short context would have features in its place, and what is too long would be cut.
static void inputs_that_do_not_fit_are_refused(void **state) {
    (void)state;
    flow_net *made = flow_made(3, 2, 2, NULL, &error), *plain = flow_made(3, 0, 2, NULL, &error);
    flow_net *other = flow_mlp(3, 6, NULL, &error);
    for (int which = 0; which < 2; which++) {
        misfit(made, which, 3, 1, "made: the model needs a context of [2], given [1]");
        misfit(made, which, 3, 3, "given [3]");
        misfit(made, which, 3, 0, "given none");
        misfit(made, which, 4, 2, "made: rows of [4], but the model takes [3]");
        misfit(plain, which, 3, 2, "the model takes none");
        misfit(other, which, 3, 0, "made: the net is of type 'mlp'");
    }
    misfit(made, 2, 8, 0, "made: rows of [8], but the model takes [5]");
    flow_net_free(made);
    flow_net_free(plain);
    flow_net_free(other);
}

// A description may ask for any width of no layers: no memory goes with it.
static void no_hidden_layers_have_no_width(void **state) {
    (void)state;
    flow_made_options o = {.mlp = {.layers = -1, .width = 1 << 24}};
    flow_net *made = flow_made(2, 0, 2, &o, &error);
    assert_made(made);
    json_t *text = made->type->describe(made);
    assert_int_equal(json_integer_value(json_object_get(text, "width")), 1);
    json_decref(text);
    flow_net_free(made);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const int64_t twice[2] = {1, 1}, beyond[2] = {0, 2};
    assert_refused(flow_made(2, 0, 1, &(flow_made_options){.order = twice}, &error), "each of 0 to 1 once");
    assert_refused(flow_made(2, 0, 1, &(flow_made_options){.order = beyond}, &error), "each of 0 to 1 once");
    assert_refused(flow_made(0, 0, 1, NULL, &error), "made: 0 features");
    assert_refused(flow_made(2, 0, (int64_t)1 << 40, NULL, &error), "out of range");
    assert_refused(flow_affine_autoregressive(0, 0, NULL, &error), "autoregressive: 0 features");
    assert_refused(flow_affine_autoregressive(2, 0, &(flow_autoregressive_options){.bound = -1}, &error), "bound -1");
    assert_refused(flow_affine_autoregressive(2, 0, &(flow_autoregressive_options){.scale = (flow_scale)9}, &error), "scale is 9");
    flow_autoregressive_options mlp = {.net = flow_mlp(2, 4, NULL, &error)}, wide = {.net = flow_made(2, 0, 3, NULL, &error)};
    assert_refused(flow_affine_autoregressive(2, 0, &mlp, &error), "not a made of 2 features, context 0 and 2 outputs");
    assert_refused(flow_affine_autoregressive(2, 0, &wide, &error), "not a made of 2 features");
    assert_refused(flow_maf(2, 0, &(flow_maf_options){.layers = -1}, &error), "-1 layers");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_jacobian_is_triangular_in_the_order),
        cmocka_unit_test(one_feature_depends_on_the_context_only),
        cmocka_unit_test(a_made_is_a_net),
        cmocka_unit_test(a_sweep_gives_what_one_pass_gives),
        cmocka_unit_test(a_sweep_records_some_nodes_a_feature),
        cmocka_unit_test(wide_sweeps_are_joined),
        cmocka_unit_test(values_and_gradients_are_nflows),
        cmocka_unit_test(values_and_gradients_are_zukos),
        cmocka_unit_test(the_inverse_is_nflows),
        cmocka_unit_test(the_inverse_is_zukos),
        cmocka_unit_test(the_preset_keeps_the_laws),
        cmocka_unit_test(a_maf_of_w2_has_its_parameters),
        cmocka_unit_test(inverse_swaps_the_directions),
        cmocka_unit_test(inputs_that_do_not_fit_are_refused),
        cmocka_unit_test(no_hidden_layers_have_no_width),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
