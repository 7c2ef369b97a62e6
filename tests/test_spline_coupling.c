// test_spline_coupling.c -- spline couplings and residual nets: reference values, starts, parts, refusals.
#include <jansson.h>

#include "layers.h"

static flow_net *net_of(const flow_layer *layer) {
    return (flow_net *)(void *)layers_part(layer, "net");
}

// A layer's net set from the arrays l<layer>_W0, l<layer>_b0, ... of a file.
static void set_net(flow_net *net, const npz *z, int layer) {
    for (int i = 0; i < net->owner.n_params; i++) {
        ad_param *p = net->owner.params[i];
        char name[40];
        int64_t n;
        snprintf(name, sizeof name, "l%d_%.20s", layer, p->name);
        double *values = npz_array(z, name, &n);
        assert_int_equal(n, p->count);
        layers_set(p, values);
        free(values);
    }
}

static void compare(const npz *z, const char *name, const double *got, double tolerance) {
    int64_t n;
    double *want = npz_array(z, name, &n);
    util_assert_all_close(got, want, n, tolerance);
    free(want);
}

static void compare_var(const npz *z, const char *name, ad_var v, int64_t n, double tolerance) {
    double *got = malloc((size_t)n * sizeof *got);
    util_read(v, got, n);
    compare(z, name, got, tolerance);
    free(got);
}

// Parameters' grad against grad_l<layer>_W0, ...
static void compare_gradients(const npz *z, const flow_net *net, int layer) {
    for (int i = 0; i < net->owner.n_params; i++) {
        char name[40];
        snprintf(name, sizeof name, "grad_l%d_%.20s", layer, net->owner.params[i]->name);
        compare(z, name, net->owner.params[i]->grad, 1e-9);
    }
}

// ---- nflows ---------------------------------------------------------------------------------------------------------

// As the file says: features whose mask is 0 are kept; a tanh mlp with two hidden layers of 16.
static flow_model *nflows_model(const npz *z) {
    int64_t n;
    double *masks = npz_array(z, "masks", &n);
    flow_layer *layers[2];
    for (int i = 0; i < 2; i++) {
        bool kept[3];
        for (int d = 0; d < 3; d++) kept[d] = masks[3 * i + d] == 0;
        flow_spline_coupling_options o = {.kept = kept,
                                          .mlp = {.layers = 2, .width = 16, .activation = FLOW_TANH, .type = AD_F64}};
        layers[i] = flow_spline_coupling(3, 0, &o, &layers_error);
        layers_assert_made(layers[i]);
        set_net(net_of(layers[i]), z, i);
    }
    free(masks);
    flow_layer *chain = flow_chain(layers, 2, &layers_error);
    flow_model *model = flow_model_new(chain, flow_standard_normal(3, &layers_error), &layers_error);
    layers_assert_made(model);
    return model;
}

static void nsf_has_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("nsf_nflows_d3.npz");
    int64_t n;
    double *x = npz_array(&file, "x", &n);
    flow_model *model = nflows_model(&file);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n / 3);
    ad_var in = ad_input(util_rows(tape, "data", n / 3), ad_shape1(3), &source);
    flow_result z = flow_normalize(model, in, AD_NONE);
    ad_var log_prob = ad_keep(flow_log_prob(model, in, AD_NONE));
    ad_keep(z.value);
    ad_keep(z.log_det);
    util_run(tape);
    compare_var(&file, "z", z.value, n, 1e-10);
    compare_var(&file, "log_det", z.log_det, n / 3, 1e-10);
    compare_var(&file, "log_prob", log_prob, n / 3, 1e-10);
    ad_tape_free(tape);
    flow_model_free(model);
    free(x);
    npz_close(&file);
}

static void nsf_generates_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("nsf_nflows_d3.npz");
    int64_t n;
    double *z = npz_array(&file, "z", &n);
    flow_model *model = nflows_model(&file);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, n / 3);
    ad_var in = ad_input(util_rows(tape, "latent", n / 3), ad_shape1(3), &source);
    ad_var x = ad_keep(flow_generate(model, in, AD_NONE).value);
    util_run(tape);
    compare_var(&file, "x_inv", x, n, 1e-9);
    ad_tape_free(tape);
    flow_model_free(model);
    free(z);
    npz_close(&file);
}

// Rows of x in the file's scalar, as a row index; *n their number.
static int64_t *gradient_rows(const npz *file, int64_t *n) {
    double *list = npz_array(file, "grad_rows", n);
    int64_t *rows = malloc((size_t)*n * sizeof *rows);
    for (int64_t i = 0; i < *n; i++) rows[i] = (int64_t)list[i];
    free(list);
    return rows;
}

static void nsf_has_the_reference_gradients(void **state) {
    (void)state;
    npz file = npz_open("nsf_nflows_d3.npz");
    int64_t n, count;
    double *x = npz_array(&file, "x", &count);
    int64_t *index = gradient_rows(&file, &n);
    flow_model *model = nflows_model(&file);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = {x, AD_F64, count / 3, 0, index};
    ad_var in = ad_input(util_rows(tape, "data", n), ad_shape1(3), &source), gx;
    ad_var loss = ad_mean_rows(flow_log_prob(model, in, AD_NONE));
    ad_grad(loss, &in, 1, &gx);
    ad_keep(gx);
    if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    compare_var(&file, "grad_x", gx, 3 * n, 1e-9);
    flow_layer *chain = flow_model_layer(model);
    for (int i = 0; i < 2; i++) {
        flow_layer *layer = (flow_layer *)(void *)chain->owner.parts[i].owner;
        compare_gradients(&file, net_of(layer), i);
    }
    ad_tape_free(tape);
    flow_model_free(model);
    free(x);
    free(index);
    npz_close(&file);
}

// ---- zuko: another parametrisation, put into this one in ops --------------------------------------------------------

enum { ZUKO_BINS = 6, ZUKO_RAW = 3 * ZUKO_BINS - 1 };
static const double LEAST = 1e-6;

static ad_var soft_clip(ad_var v, double slope) {
    return ad_div(v, ad_offset(ad_abs(ad_scale(v, slope / log(1e-3))), 1));
}

// Raw sizes r with LEAST + (1 - K LEAST) softmax(r) = softmax(v).
static ad_var raw_sizes(ad_var v) {
    return ad_log(ad_offset(ad_softmax(soft_clip(v, 2), -1), -LEAST));
}

// z of one layer, log_det added to *log_det: mask 1 is kept.
static ad_var zuko_layer(const flow_net *net, const double *mask, ad_var x, ad_var *log_det) {
    int64_t order[3], place[3], k = 0, n = 0;
    for (int d = 0; d < 3; d++) k += mask[d] == 1;
    for (int d = 0; d < 3; d++) {
        if (mask[d] == 1) order[place[d] = n++] = d;
    }
    for (int d = 0; d < 3; d++) {
        if (mask[d] != 1) order[place[d] = n++] = d;
    }
    ad_var kept = ad_take(x, 0, order, k), changed = ad_take(x, 0, order + k, 3 - k);
    ad_var q = ad_reshape(flow_net_apply(net, kept), ad_shape2(3 - k, ZUKO_RAW));
    ad_var slopes = ad_exp(soft_clip(ad_slice(q, -1, 2 * ZUKO_BINS, ZUKO_BINS - 1), 1));
    ad_var raw[3] = {raw_sizes(ad_slice(q, -1, 0, ZUKO_BINS)), raw_sizes(ad_slice(q, -1, ZUKO_BINS, ZUKO_BINS)),
                     ad_softplus_inverse(ad_offset(slopes, -LEAST))};
    const ad_spline_options o = {.bound = 5, .min_width = LEAST, .min_height = LEAST, .min_derivative = LEAST};
    ad_var both = ad_rational_quadratic(changed, ad_concat(raw, 3, -1), &o, false);
    ad_var parts[2] = {kept, ad_reshape(ad_slice(both, 0, 0, 1), ad_shape1(3 - k))};
    *log_det = ad_add(*log_det, ad_sum(ad_slice(both, 0, 1, 1)));
    return ad_take(ad_concat(parts, 2, 0), 0, place, 3);
}

static flow_net *zuko_net(const npz *file, int64_t kept, int layer) {
    flow_mlp_options o = {.layers = 2, .width = 12, .activation = FLOW_TANH, .type = AD_F64};
    flow_net *net = flow_mlp(kept, (3 - kept) * ZUKO_RAW, &o, &layers_error);
    layers_assert_made(net);
    set_net(net, file, layer);
    return net;
}

static void zuko_splines_have_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("nsf_zuko_d3.npz");
    int64_t n, count;
    double *x = npz_array(&file, "x", &n), *masks = npz_array(&file, "masks", &count);
    flow_net *nets[2];
    for (int i = 0; i < 2; i++) {
        nets[i] = zuko_net(&file, (int64_t)(masks[3 * i] + masks[3 * i + 1] + masks[3 * i + 2]), i);
    }
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, n / 3);
    ad_var v = ad_input(util_rows(tape, "data", n / 3), ad_shape1(3), &source), log_det = ad_number(tape, 0);
    for (int i = 0; i < 2; i++) v = zuko_layer(nets[i], masks + 3 * i, v, &log_det);
    ad_keep(v);
    ad_keep(log_det);
    util_run(tape);
    compare_var(&file, "z", v, n, 1e-10);
    compare_var(&file, "log_det", log_det, n / 3, 1e-10);
    ad_tape_free(tape);
    for (int i = 0; i < 2; i++) flow_net_free(nets[i]);
    free(x);
    free(masks);
    npz_close(&file);
}

// ---- starts and parts -----------------------------------------------------------------------------------------------

static void a_new_layer_is_the_identity(void **state) {
    (void)state;
    double x[30], z[30], log_det[10];
    util_fill(x, 30, 5, -4, 4);
    for (int i = 0; i < 4; i++) {
        flow_spline_coupling_options o = {
            .conditioner = (flow_conditioner)(i % 2), .divide = i / 2, .bins = 5, .spline = {.min_derivative = 0.01}};
        flow_layer *layer = flow_spline_coupling(3, 0, &o, &layers_error);
        layers_assert_made(layer);
        layers_run(layer, AD_F64, true, x, 10, z, log_det);
        util_assert_all_close(z, x, 30, 1e-6);  // the bias is f32
        for (int r = 0; r < 10; r++) util_assert_close(log_det[r], 0, 1e-6);
        flow_layer_free(layer);
    }
}

static void stir(flow_layer *layer, double size) {
    uint64_t seed = 4;
    const flow_owner *net = &net_of(layer)->owner;
    for (int i = 0; i < net->n_params; i++) {
        ad_param *p = net->params[i];
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, util_uniform(&seed, -size, size));
    }
}

// Which of five features a layer changes, as bits.
static unsigned changed_by(const flow_spline_coupling_options *o) {
    flow_layer *layer = flow_spline_coupling(5, 0, o, &layers_error);
    layers_assert_made(layer);
    stir(layer, 1);
    const double x[5] = {0.5, 0.6, 0.7, 0.8, 0.9};
    double z[5], back[5], log_det[2];
    layers_run(layer, AD_F64, true, x, 1, z, &log_det[0]);
    layers_run(layer, AD_F64, false, z, 1, back, &log_det[1]);
    util_assert_all_close(back, x, 5, 1e-10);
    util_assert_close(log_det[1], -log_det[0], 1e-9);
    unsigned changed = 0;
    for (int d = 0; d < 5; d++) changed |= (z[d] != x[d] ? 1u : 0u) << d;
    flow_layer_free(layer);
    return changed;
}

static void parts_are_those_asked_for(void **state) {
    (void)state;
    const bool kept[5] = {false, true, true, false, true};
    assert_int_equal(changed_by(&(flow_spline_coupling_options){0}), 0x18);
    assert_int_equal(changed_by(&(flow_spline_coupling_options){.keep = FLOW_KEEP_SECOND}), 0x07);
    assert_int_equal(changed_by(&(flow_spline_coupling_options){.split = 1}), 0x1e);
    assert_int_equal(changed_by(&(flow_spline_coupling_options){.alternate = true}), 0x0a);
    assert_int_equal(changed_by(&(flow_spline_coupling_options){.alternate = true, .keep = FLOW_KEEP_SECOND}), 0x15);
    assert_int_equal(changed_by(&(flow_spline_coupling_options){.kept = kept}), 0x09);
}

// With raw numbers in the thousands, bins and slopes are at their ends; far points are left alone.
static void a_wild_net_gives_finite_numbers(void **state) {
    (void)state;
    flow_layer *layer = flow_spline_coupling(4, 0, NULL, &layers_error);
    layers_assert_made(layer);
    stir(layer, 30);
    double x[400], z[400], back[400], log_det[100];
    util_fill(x, 400, 8, -3.5, 3.5);
    x[0] = 1e30, x[2] = 1e30, x[6] = -1e30, x[10] = 3, x[14] = -3;
    for (int type = 0; type < 2; type++) {
        layers_run(layer, (ad_type)type, true, x, 100, z, log_det);
        for (int i = 0; i < 400; i++) assert_true(isfinite(z[i]) && isfinite(log_det[i / 4]));
        assert_true(fabs(z[2]) >= 9e29 && fabs(z[6]) >= 9e29);
        layers_run(layer, (ad_type)type, false, z, 100, back, log_det);
        for (int i = 0; i < 400; i++) assert_true(isfinite(back[i]) && isfinite(log_det[i / 4]));
    }
    flow_layer_free(layer);
}

// ---- any parameters, any points -------------------------------------------------------------------------------------

enum { WILD_ROWS = 64, WILD_DRAWS = UTIL_SANITIZED ? 10 : 200 };

// Rows of (kept, changed).
static void draw_rows(double *x, uint64_t *seed) {
    for (int r = 0; r < WILD_ROWS; r++) {
        const double side = r / 8 % 2 ? -1 : 1;
        const double ends[5] = {3, (double)nextafterf(3, 4), (double)nextafterf(3, 2), 0x1p99, INFINITY};
        x[2 * r] = (double)(float)util_uniform(seed, -4, 4);
        x[2 * r + 1] = r % 8 < 5 ? side * ends[r % 8] : (double)(float)util_uniform(seed, -3, 3);
    }
}

static void assert_finite(const double *v, int64_t n, const char *what, double scale) {
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) fail_msg("parameters of size %g: %s %lld is %g", scale, what, (long long)i, v[i]);
    }
}

typedef struct trip {  // there, back, and there again
    double z[2 * WILD_ROWS], back[2 * WILD_ROWS], again[2 * WILD_ROWS], log_det[WILD_ROWS];
} trip;

// In units of what rounding costs, in x that of z or in z that of x: where the slope changes much within an ulp only one of
// the two is small.
static void check_trip(ad_type type, const double *x, const trip *t) {
    const double unit = 3 * (type == AD_F32 ? 0x1p-23 : 0x1p-52);
    for (int r = 0; r < WILD_ROWS; r++) {
        const double v = x[2 * r + 1], z = t->z[2 * r + 1], back = t->back[2 * r + 1], slope = exp(t->log_det[r]);
        assert_true(t->z[2 * r] == x[2 * r] && t->back[2 * r] == x[2 * r]);
        if (fabs(v) > 3) {
            assert_true(z == v && back == v && t->log_det[r] == 0);
        } else if (!(fabs(back - v) <= 4 * unit * (1 + 1 / slope)) &&
                   !(fabs(t->again[2 * r + 1] - z) <= 4 * unit * (1 + slope))) {
            fail_msg("from %.17g by %.17g of slope %g to %.17g", v, z, slope, back);
        }
    }
}

static void check_wild(const flow_layer *layer, ad_type type, bool normalize, const double *x, double scale) {
    trip t;
    double gx[2 * WILD_ROWS];
    const flow_net *net = net_of(layer);
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, WILD_ROWS);
    ad_var v = ad_input(util_rows(tape, "data", WILD_ROWS), ad_shape1(2), &source), g;
    flow_result there = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_var back = normalize ? flow_layer_generate(layer, there.value, AD_NONE).value
                            : flow_layer_normalize(layer, there.value, AD_NONE).value;
    ad_var again = normalize ? flow_layer_normalize(layer, back, AD_NONE).value
                             : flow_layer_generate(layer, back, AD_NONE).value;
    ad_var S = ad_sum_rows(ad_add(ad_sum(there.value), there.log_det));
    ad_grad(S, &v, 1, &g);
    ad_keep(g), ad_keep(there.value), ad_keep(there.log_det), ad_keep(back), ad_keep(again);
    if (ad_backward(S) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    util_read(there.value, t.z, 2 * WILD_ROWS);
    util_read(back, t.back, 2 * WILD_ROWS);
    util_read(again, t.again, 2 * WILD_ROWS);
    util_read(there.log_det, t.log_det, WILD_ROWS);
    util_read(g, gx, 2 * WILD_ROWS);
    assert_finite(t.log_det, WILD_ROWS, "log_det", scale);
    assert_finite(gx, 2 * WILD_ROWS, "gradient in x", scale);
    for (int i = 0; i < net->owner.n_params; i++) {
        assert_finite(net->owner.params[i]->grad, net->owner.params[i]->count, net->owner.params[i]->name, scale);
    }
    check_trip(type, x, &t);
    ad_tape_free(tape);
}

// Parameters of sizes from 0.1 to 100. AD_TEST_CASES in the environment: so many draws.
static void any_parameters_keep_the_laws(void **state) {
    (void)state;
    const char *more = getenv("AD_TEST_CASES");
    const int draws = more && atoi(more) > 0 ? atoi(more) : WILD_DRAWS;
    uint64_t seed = 12;
    for (int i = 0; i < draws; i++) {
        flow_spline_coupling_options o = {.mlp = {.layers = 1, .width = 8, .type = AD_F64}};
        flow_layer *layer = flow_spline_coupling(2, 0, &o, &layers_error);
        layers_assert_made(layer);
        const double scale = 0.1 * pow(1000, util_uniform(&seed, 0, 1));
        const flow_owner *net = &net_of(layer)->owner;
        for (int k = 0; k < net->n_params; k++) {
            for (int64_t e = 0; e < net->params[k]->count; e++) {
                ad_param_set(net->params[k], e, util_uniform(&seed, -scale, scale));
            }
        }
        double x[2 * WILD_ROWS];
        draw_rows(x, &seed);
        for (int way = 0; way < 4; way++) check_wild(layer, (ad_type)(way / 2), way % 2, x, scale);
        flow_layer_free(layer);
    }
}

// divide: raw sizes count by 1 / sqrt(width) of the net.
static void divide_is_a_scale(void **state) {
    (void)state;
    double x[30], z[2][30], log_det[2][10];
    util_fill(x, 30, 6, -2, 2);
    for (int i = 0; i < 2; i++) {
        flow_spline_coupling_options o = {.conditioner = FLOW_RESIDUAL_NET,
                                          .residual = {.width = 16},
                                          .divide = i == 0,
                                          .spline = {.scale = i ? 0.25 : 0}};
        flow_layer *layer = flow_spline_coupling(3, 0, &o, &layers_error);
        layers_assert_made(layer);
        stir(layer, 1);
        layers_run(layer, AD_F64, true, x, 10, z[i], log_det[i]);
        flow_layer_free(layer);
    }
    assert_memory_equal(z[0], z[1], sizeof z[0]);
}

// ---- residual nets --------------------------------------------------------------------------------------------------

// out[o] = b + sum_i W[o][i] v[i].
static void naive_linear(const flow_net *net, int i, const double *v, double *out) {
    const ad_param *W = net->owner.params[2 * i], *b = net->owner.params[2 * i + 1];
    for (int o = 0; o < W->shape.dim[0]; o++) {
        out[o] = ad_param_get(b, o);
        for (int k = 0; k < W->shape.dim[1]; k++) out[o] += ad_param_get(W, o * W->shape.dim[1] + k) * v[k];
    }
}

static void a_residual_net_is_its_formula(void **state) {
    (void)state;
    enum { WIDE = 7 };
    flow_residual_net_options o = {.blocks = 2, .width = WIDE, .activation = FLOW_TANH, .seed = 3, .type = AD_F64};
    flow_net *net = flow_residual_net(3, 4, &o, &layers_error);
    layers_assert_made(net);
    const double x[3] = {0.3, -1.2, 2};
    double h[WIDE], inner[WIDE], out[WIDE], got[4];
    uint64_t seed = 9;
    for (int i = 0; i < net->owner.n_params; i++) {
        ad_param *p = net->owner.params[i];
        for (int64_t k = 0; k < p->count; k++) ad_param_set(p, k, util_uniform(&seed, -1, 1));
    }
    naive_linear(net, 0, x, h);
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < WIDE; k++) out[k] = tanh(h[k]);
        naive_linear(net, 2 * i + 1, out, inner);
        for (int k = 0; k < WIDE; k++) inner[k] = tanh(inner[k]);
        naive_linear(net, 2 * i + 2, inner, out);
        for (int k = 0; k < WIDE; k++) h[k] += out[k];
    }
    naive_linear(net, 5, h, out);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var y = ad_keep(flow_net_apply(net, ad_constant(tape, ad_shape1(3), x)));
    util_run(tape);
    util_read(y, got, 4);
    util_assert_all_close(got, out, 4, 1e-13);
    ad_tape_free(tape);
    flow_net_free(net);
}

static double largest(const ad_param *p) {
    double most = 0;
    for (int64_t k = 0; k < p->count; k++) most = fmax(most, fabs(ad_param_get(p, k)));
    return most;
}

static void a_residual_net_starts_in_its_ranges(void **state) {
    (void)state;
    flow_net *net = flow_residual_net(4, 3, &(flow_residual_net_options){.blocks = 2, .width = 25}, &layers_error);
    layers_assert_made(net);
    assert_int_equal(net->owner.n_params, 12);
    const double bounds[6] = {0.5, 0.2, 1e-3, 0.2, 1e-3, 0.2};
    for (int i = 0; i < 12; i++) {
        const double most = largest(net->owner.params[i]), bound = bounds[i / 2];
        assert_true(most <= bound && (i % 2 || most > 0.5 * bound));  // biases are few
    }
    flow_net_free(net);
}

// ---- refusals -------------------------------------------------------------------------------------------------------

static void refused(int64_t D, int64_t C, flow_spline_coupling_options o, ad_status status, const char *words) {
    layers_assert_refused(flow_spline_coupling(D, C, &o, &layers_error), status, words);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const bool all[3] = {true, true, true}, none[3] = {false, false, false};
    refused(1, 0, (flow_spline_coupling_options){0}, AD_EARG, "nothing to condition on");
    refused(3, 0, (flow_spline_coupling_options){.kept = none}, AD_EARG, "nothing to condition on");
    refused(3, 0, (flow_spline_coupling_options){.kept = all}, AD_EARG, "none is changed");
    refused(3, 0, (flow_spline_coupling_options){.split = 3}, AD_EARG, "split 3");
    refused(3, 0, (flow_spline_coupling_options){.bins = 1}, AD_EARG, "1 bins");
    refused(3, 0, (flow_spline_coupling_options){.spline = {.bound = NAN}}, AD_EARG, "bound nan");
    refused(3, 0, (flow_spline_coupling_options){.spline = {.min_width = 0.2}}, AD_EARG, "do not fit into the box");
    refused(3, 0, (flow_spline_coupling_options){.spline = {.scale = -1}}, AD_EARG, "scale -1");
    refused(3, 0, (flow_spline_coupling_options){.conditioner = (flow_conditioner)2}, AD_EARG, "conditioner is 2");
    refused(3, 0, (flow_spline_coupling_options){.net = flow_mlp(2, 24, NULL, &layers_error)}, AD_ESHAPE,
            "the net is [2] -> [24], expected [2] -> [23]");
    refused(0, 0, (flow_spline_coupling_options){.net = flow_mlp(2, 23, NULL, &layers_error)}, AD_EARG, "0 features");
    assert_null(flow_residual_net(2, 3, &(flow_residual_net_options){.blocks = 501}, &layers_error));
    util_assert_contains(layers_error.message, "501 blocks");
}

// The layer of a description as a file has it, which should be refused.
static void file_refused(const char *features, const char *kept, const char *bins, const char *net, ad_status status,
                         const char *words) {
    char text[900];
    snprintf(text, sizeof text,
             "{\"type\":\"coupling\",\"features\":%s,\"context\":0,\"inverse\":false,\"kept\":%s,\"transformer\":{\"type\":"
             "\"rational-quadratic spline\",\"bins\":%s,\"bound\":3.0,\"min_width\":1e-3,\"min_height\":1e-3,"
             "\"min_derivative\":1e-3,\"scale\":1.0},\"kept_transformer\":null,\"net\":{\"type\":%s,\"activation\":\"relu\","
             "\"precision\":\"f32\"}}",
             features, kept, bins, net);
    json_t *options = json_loads(text, 0, NULL);
    assert_non_null(options);
    int64_t elements = 10000;
    flow_making making = {.elements = &elements};
    flow_layer *some = flow_spline_coupling(2, 0, NULL, &layers_error);
    layers_assert_made(some);
    layers_assert_refused(some->type->make(options, &making, &layers_error), status, words);
    flow_layer_free(some);
    json_decref(options);
}

static void bad_descriptions_are_refused(void **state) {
    (void)state;
    const char *net = "\"mlp\",\"in\":1,\"out\":10,\"layers\":0,\"width\":1";
    const char *large = "\"residual net\",\"in\":1,\"out\":10,\"blocks\":400,\"width\":16777216";
    file_refused("3", "[3]", "2", net, AD_EFORMAT, "\"kept\" should list some of the features, 0 to 2");
    file_refused("3", "[1,1]", "2", net, AD_EFORMAT, "\"kept\" should list");
    file_refused("3", "\"all\"", "2", net, AD_EFORMAT, "\"kept\" should list");
    file_refused("3", "[0]", "5000", net, AD_EFORMAT, "\"bins\" should be a whole number from 2 to 4096");
    file_refused("3", "[0]", "2", large, AD_EFORMAT, "far more parameters than the file holds");
    file_refused("3", "[0,1]", "2", net, AD_ESHAPE, "the net is [1] -> [10], expected [2] -> [5]");
    // Features of no parameter take no memory.
    file_refused("16777216", "[0]", "2", net, AD_EFORMAT, "16777216 features, but the net is [1] -> [10]");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nsf_has_the_reference_values),    cmocka_unit_test(nsf_generates_the_reference_values),
        cmocka_unit_test(nsf_has_the_reference_gradients), cmocka_unit_test(zuko_splines_have_the_reference_values),
        cmocka_unit_test(a_new_layer_is_the_identity),     cmocka_unit_test(parts_are_those_asked_for),
        cmocka_unit_test(a_wild_net_gives_finite_numbers), cmocka_unit_test(any_parameters_keep_the_laws),
        cmocka_unit_test(divide_is_a_scale),
        cmocka_unit_test(a_residual_net_is_its_formula),   cmocka_unit_test(a_residual_net_starts_in_its_ranges),
        cmocka_unit_test(bad_options_are_refused),         cmocka_unit_test(bad_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
