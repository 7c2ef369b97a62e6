// test_planar.c -- the planar layer: reference values, its inverse, extreme parameters, refusals.
#include "layers.h"

enum { P = 6, D = 3, B = 12 };

static flow_layer *planar(int64_t features, const flow_planar_options *o) {
    flow_layer *layer = flow_planar(features, 0, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

static void set(const flow_layer *layer, const double *u, const double *w, double b) {
    layers_set(layers_param(layer, "u"), u);
    layers_set(layers_param(layer, "w"), w);
    ad_param_set(layers_param(layer, "b"), 0, b);
}

typedef struct reference {
    npz file;
    flow_layer *layer;
    double *u, *w, *b, *x, *y, *log_det;
} reference;

static reference open_reference(bool flip) {
    int64_t n;
    reference r = {.file = npz_open("planar_tanh_d3.npz")};
    r.layer = planar(D, &(flow_planar_options){.flip = flip, .type = AD_F64});
    r.u = npz_array(&r.file, "u", &n);
    r.w = npz_array(&r.file, "w", &n);
    r.b = npz_array(&r.file, "b", &n);
    r.x = npz_array(&r.file, "x", &n);
    assert_int_equal(n, P * B * D);
    r.y = npz_array(&r.file, "y", &n);
    r.log_det = npz_array(&r.file, "log_det", &n);
    return r;
}

static void close_reference(reference *r) {
    double *all[] = {r->u, r->w, r->b, r->x, r->y, r->log_det};
    for (int i = 0; i < 6; i++) free(all[i]);
    flow_layer_free(r->layer);
    npz_close(&r->file);
}

// The closed form of all parameter sets, in the direction that has it.
static void check_values(bool flip) {
    reference r = open_reference(flip);
    double y[B * D], log_det[B];
    for (int p = 0; p < P; p++) {
        set(r.layer, r.u + p * D, r.w + p * D, r.b[p]);
        layers_run(r.layer, AD_F64, flip, r.x + p * B * D, B, y, log_det);
        util_assert_all_close(y, r.y + p * B * D, B * D, 1e-11);
        util_assert_all_close(log_det, r.log_det + p * B, B, 1e-11);
    }
    close_reference(&r);
}

static void generate_has_the_reference_values(void **state) {
    (void)state;
    check_values(false);
}

static void flipped_it_is_normalize_that_has_them(void **state) {
    (void)state;
    check_values(true);
}

static void normalize_finds_the_reference_points(void **state) {
    (void)state;
    reference r = open_reference(false);
    double x[B * D], log_det[B];
    for (int p = 0; p < P; p++) {
        set(r.layer, r.u + p * D, r.w + p * D, r.b[p]);
        layers_run(r.layer, AD_F64, true, r.y + p * B * D, B, x, log_det);
        util_assert_all_close(x, r.x + p * B * D, B * D, 1e-9);  // slopes of the map down to 0.01
        for (int i = 0; i < B; i++) util_assert_close(-log_det[i], r.log_det[p * B + i], 1e-9);
    }
    close_reference(&r);
}

static void gradients_are_those_of_the_reference(void **state) {
    (void)state;
    reference r = open_reference(false);
    int64_t n;
    double *cot_y = npz_array(&r.file, "cot_y", &n), *cot_log_det = npz_array(&r.file, "cot_log_det", &n);
    double *grad[] = {npz_array(&r.file, "grad_u", &n), npz_array(&r.file, "grad_w", &n),
                      npz_array(&r.file, "grad_b", &n), npz_array(&r.file, "grad_x", &n)};
    double got[B * D];
    for (int p = 0; p < P; p++) {
        set(r.layer, r.u + p * D, r.w + p * D, r.b[p]);
        layers_gradients(r.layer, false, r.x + p * B * D, B, cot_y + p * B * D, cot_log_det + p * B, got);
        util_assert_all_close(got, grad[3] + p * B * D, B * D, 1e-10);
        util_assert_all_close((double *)layers_param(r.layer, "u")->grad, grad[0] + p * D, D, 1e-10);
        util_assert_all_close((double *)layers_param(r.layer, "w")->grad, grad[1] + p * D, D, 1e-10);
        util_assert_all_close((double *)layers_param(r.layer, "b")->grad, grad[2] + p, 1, 1e-10);
    }
    double *all[] = {cot_y, cot_log_det, grad[0], grad[1], grad[2], grad[3]};
    for (int i = 0; i < 6; i++) free(all[i]);
    close_reference(&r);
}

// w.u = +-200: softplus and the log of the slope neither overflow nor lose their digits, in f32.
static void a_long_u_overflows_nothing(void **state) {
    (void)state;
    flow_layer *layer = planar(1, NULL);
    const double w = 1, x = 0.5;
    for (int sign = -1; sign <= 1; sign += 2) {
        const double u = 200 * sign, t = tanh(0.5), m = sign > 0 ? 200 : 0;  // softplus(w.u)
        double y, log_det;
        set(layer, &u, &w, 0);
        layers_run(layer, AD_F32, false, &x, 1, &y, &log_det);
        util_assert_close(y, x + (m - 1) * t, 1e-6);
        util_assert_close(log_det, log(t * t + m * (1 - t * t)), 1e-6);
    }
    flow_layer_free(layer);
}

// At the plane itself the slope is softplus(w.u), which f32 cannot hold: its logarithm is that of softplus(-15).
static void the_slope_does_not_vanish(void **state) {
    (void)state;
    flow_layer *layer = planar(1, NULL);
    const double w = 1, u = -1e4, x = 0;
    double y, back, log_det, back_det;
    set(layer, &u, &w, 0);
    layers_run(layer, AD_F32, false, &x, 1, &y, &log_det);
    util_assert_close(log_det, log(log1p(exp(-15))), 1e-6);
    layers_run(layer, AD_F32, true, &y, 1, &back, &back_det);
    util_assert_close(back_det, -log_det, 1e-6);
    flow_layer_free(layer);
}

// One row of a layer with a context is a layer without, whose parameters have the net's outputs added.
static void a_context_moves_the_parameters(void **state) {
    (void)state;
    enum { C = 2, OUT = 2 * D + 1, N = 4 };
    double context[N * C], x[N * D], z[N * D], log_det[N], moved[OUT];
    util_fill(context, N * C, 1, -1, 1);
    util_fill(x, N * D, 2, -1, 1);
    flow_planar_options o = {.mlp = {.layers = -1, .type = AD_F64}, .seed = 3, .type = AD_F64};
    flow_layer *layer = flow_planar(D, C, &o, &layers_error), *fixed = planar(D, &o);
    layers_assert_made(layer);
    const flow_owner *net = layer->owner.parts[0].owner;
    const double *W = net->params[0]->data, *u = layers_param(layer, "u")->data, *w = layers_param(layer, "w")->data;
    util_fill(net->params[0]->data, OUT * C, 4, -0.5, 0.5);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(x, N), given = util_source(context, N);
    ad_rows rows = util_rows(tape, "data", N);
    flow_result r =
        flow_layer_normalize(layer, ad_input(rows, ad_shape1(D), &source), ad_input(rows, ad_shape1(C), &given));
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, z, N * D);
    util_read(r.log_det, log_det, N);
    for (int row = 0; row < N; row++) {
        double want[D], want_det;
        for (int i = 0; i < OUT; i++) moved[i] = W[i * C] * context[row * C] + W[i * C + 1] * context[row * C + 1];
        for (int d = 0; d < D; d++) moved[d] += u[d], moved[D + d] += w[d];
        set(fixed, moved, moved + D, moved[2 * D] + ((double *)layers_param(layer, "b")->data)[0]);
        layers_run(fixed, AD_F64, true, x + row * D, 1, want, &want_det);
        util_assert_all_close(z + row * D, want, D, 1e-12);
        util_assert_close(log_det[row], want_det, 1e-12);
    }
    ad_tape_free(tape);
    flow_layer_free(layer);
    flow_layer_free(fixed);
}

// Points far out and a map 200 times as steep at the plane: the root's bracket needs no widening.
static void the_inverse_holds_far_out_in_f32(void **state) {
    (void)state;
    flow_layer *layer = planar(2, NULL);
    const double u[2] = {200, 3}, w[2] = {1, 0}, x[10] = {0, 0, 1e4, -1e4, 0.01, 5, -3, 2, 1e-3, -1};
    double y[10], back[10], log_det[5], back_log_det[5];
    set(layer, u, w, 0);
    layers_run(layer, AD_F32, false, x, 5, y, log_det);
    layers_run(layer, AD_F32, true, y, 5, back, back_log_det);
    util_assert_all_close(back, x, 10, 200 * 1e-6);  // |u^| times the root's error
    for (int i = 0; i < 5; i++) util_assert_close(back_log_det[i], -log_det[i], 1e-3);
    flow_layer_free(layer);
}

static void the_leaky_map_has_two_slopes(void **state) {
    (void)state;
    flow_layer *layer = planar(1, &(flow_planar_options){.slope = 0.25, .type = AD_F64});
    const double w = 1, u = 1, x[3] = {1, -1, 0}, m = log1p(exp(1));
    const double slope[3] = {m, 0.75 + 0.25 * m, 0.75 + 0.25 * m};
    double y[3], back[3], log_det[3];
    set(layer, &u, &w, 0);
    layers_run(layer, AD_F64, false, x, 3, y, log_det);
    for (int i = 0; i < 3; i++) {
        util_assert_close(y[i], slope[i] * x[i], 1e-14);
        util_assert_close(log_det[i], log(slope[i]), 1e-14);
    }
    layers_run(layer, AD_F64, true, y, 3, back, log_det);
    for (int i = 0; i < 3; i++) {
        util_assert_close(back[i], x[i], 1e-14);
        util_assert_close(log_det[i], -log(slope[i]), 1e-14);
    }
    flow_layer_free(layer);
}

static void it_starts_as_the_identity(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        flow_planar_options o = {.flip = kind > 1, .slope = kind % 2 ? 0.5 : 0, .seed = 9, .type = AD_F64};
        flow_layer *layer = planar(3, &o);
        const double x[3] = {0.5, -1, 2};
        double z[3], log_det;
        layers_run(layer, AD_F64, true, x, 1, z, &log_det);
        util_assert_all_close(z, x, 3, 1e-14);
        util_assert_close(log_det, 0, 1e-14);
        flow_layer_free(layer);
    }
}

// The root says which row has none, instead of passing on what it found.
static void a_row_without_inverse_is_named(void **state) {
    (void)state;
    flow_layer *layer = planar(1, &(flow_planar_options){.type = AD_F64});
    const double y[3] = {0, (double)NAN, 1};
    ad_source source = util_source(y, 3);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_var in = ad_input(util_rows(tape, "data", 3), ad_shape1(1), &source);
    ad_keep(flow_layer_normalize(layer, in, AD_NONE).value);
    assert_int_equal(ad_run(tape), AD_ECONVERGE);
    util_assert_contains(ad_tape_message(tape), "row 1");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    flow_planar_options steep = {.slope = 1}, falling = {.slope = -0.1}, nan = {.slope = (double)NAN};
    flow_planar_options wrong = {.net = flow_mlp(3, 6, NULL, NULL)}, needless = {.net = flow_mlp(3, 5, NULL, NULL)};
    layers_assert_refused(flow_planar(2, 3, &wrong, &layers_error), AD_ESHAPE,
                          "the net is [3] -> [6], expected [3] -> [5]");
    layers_assert_refused(flow_planar(2, 0, &needless, &layers_error), AD_EARG, "planar: a net, but no context");
    layers_assert_refused(flow_planar(0, 0, NULL, &layers_error), AD_EARG, "planar: 0 features");
    layers_assert_refused(flow_planar(2, 0, &steep, &layers_error), AD_EARG, "planar: slope 1");
    layers_assert_refused(flow_planar(2, 0, &falling, &layers_error), AD_EARG, "planar: slope -0.1");
    layers_assert_refused(flow_planar(2, 0, &nan, &layers_error), AD_EARG, "planar: slope nan");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generate_has_the_reference_values),
        cmocka_unit_test(flipped_it_is_normalize_that_has_them),
        cmocka_unit_test(normalize_finds_the_reference_points),
        cmocka_unit_test(gradients_are_those_of_the_reference),
        cmocka_unit_test(a_long_u_overflows_nothing),
        cmocka_unit_test(the_inverse_holds_far_out_in_f32),
        cmocka_unit_test(the_leaky_map_has_two_slopes),
        cmocka_unit_test(it_starts_as_the_identity),
        cmocka_unit_test(the_slope_does_not_vanish),
        cmocka_unit_test(a_context_moves_the_parameters),
        cmocka_unit_test(a_row_without_inverse_is_named),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
