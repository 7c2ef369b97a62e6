// test_latency.c -- latency mode: a single row gets the values it has in a batch, up to rounding.
#include "flows.h"
#include "util.h"

enum { D = 7, H = 33, ROWS = 3 };

typedef struct fixture {
    ad_engine *engine[2];  // without latency mode, and with it
    ad_param *W[2], *b[2];
    double x[ROWS * D];
} fixture;

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    for (int i = 0; i < 2; i++) {
        const ad_engine_options options = {.threads = 1, .latency = i == 1};
        f->engine[i] = ad_engine_new(&options, NULL);
        f->W[i] = util_param("W", AD_F64, ad_shape2(H, i ? H : D), 2 + (uint64_t)i);
        f->b[i] = util_param("b", AD_F64, ad_shape1(H), 4 + (uint64_t)i);
    }
    util_fill(f->x, ROWS * D, 1, -1, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 2; i++) ad_engine_free(f->engine[i]), ad_param_free(f->W[i]), ad_param_free(f->b[i]);
    free(f);
    return 0;
}

// ---- nets -----------------------------------------------------------------------------------------------------------

typedef ad_var (*net)(const fixture *f, ad_var x);

static ad_var dense(const fixture *f, ad_var x) {
    for (int i = 0; i < 2; i++) x = ad_relu(ad_linear(ad_use(x.tape, f->W[i]), x, ad_use(x.tape, f->b[i])));
    return x;
}

static ad_var staircase(const fixture *f, ad_var x) {
    int64_t columns[H];
    for (int i = 0; i < 2; i++) {
        for (int o = 0; o < H; o++) columns[o] = o * (i ? H : D) / H;
        x = ad_relu(ad_linear_staircase(ad_use(x.tape, f->W[i]), x, ad_use(x.tape, f->b[i]), columns));
    }
    return x;
}

// y [H], its gradient in x [D], and in the second layer's weights [H,H], of the first `rows` rows.
static void run_net(const fixture *f, net make, int latency, ad_type type, int64_t rows, double *out) {
    ad_tape *tape = ad_tape_new(f->engine[latency], type);
    ad_source source = util_source(f->x, ROWS);
    ad_var x = ad_input(util_rows(tape, "data", rows), ad_shape1(D), &source), y = make(f, x), gx, gW;
    ad_var S = ad_sum(ad_square(y)), W = ad_use(tape, f->W[1]);
    ad_grad(S, &x, 1, &gx);
    ad_grad(ad_sum_rows(S), &W, 1, &gW);
    ad_keep(y), ad_keep(gx), ad_keep(gW);
    util_run(tape);
    util_read(y, out, rows * H);
    util_read(gx, out + rows * H, rows * D);
    util_read(gW, out + rows * (H + D), H * H);
    ad_tape_free(tape);
}

static void compare_net(const fixture *f, net make) {
    double want[H + D + H * H], got[H + D + H * H];
    for (int type = 0; type < 2; type++) {
        run_net(f, make, 0, (ad_type)type, 1, want);
        run_net(f, make, 1, (ad_type)type, 1, got);
        util_assert_all_close(got, want, H + D + H * H, type == AD_F64 ? 1e-13 : 2e-5);
    }
}

static void a_dense_net_of_one_row(void **state) { compare_net(*state, dense); }
static void a_masked_net_of_one_row(void **state) { compare_net(*state, staircase); }

// Several rows have lanes in either mode, and so the same bits.
static void batches_are_not_touched(void **state) {
    enum { N = ROWS * (H + D) + H * H };
    double want[N], got[N];
    run_net(*state, dense, 0, AD_F32, ROWS, want);
    run_net(*state, dense, 1, AD_F32, ROWS, got);
    assert_memory_equal(got, want, sizeof want);
}

// ---- layers -----------------------------------------------------------------------------------------------------------

// Value and log_det of one row; what has no such direction is left out by both.
static int64_t run_layer(const fixture *f, const flow_layer *layer, int latency, bool normalize, double *out) {
    ad_tape *tape = ad_tape_new(f->engine[latency], AD_F64);
    const ad_shape in = normalize ? layer->x_shape : layer->z_shape;
    int64_t n = ad_shape_count(in), c = layer->C, m = ad_shape_count(normalize ? layer->z_shape : layer->x_shape);
    double data[64];
    assert_true(n + c <= 64);
    util_fill(data, n + c, 9, 0.1, 0.9);
    ad_source x = util_source(data, 1), context = util_source(data + n, 1);
    ad_rows rows = util_rows(tape, "data", 1);
    ad_var v = ad_input(rows, in, &x);
    ad_var given = c ? ad_input(rows, ad_shape1(c), &context) : AD_NONE;
    flow_result r = normalize ? flow_layer_normalize(layer, v, given) : flow_layer_generate(layer, v, given);
    ad_keep(r.value), ad_keep(r.log_det);
    util_run(tape);
    util_read(r.value, out, m);
    util_read(r.log_det, out + m, 1);
    ad_tape_free(tape);
    return m + 1;
}

static void every_layer_of_one_row(void **state) {
    ad_error error = {AD_OK, ""};
    for (const flow_layer_type *const *type = flow_layer_types(); *type; type++) {
        for (int i = 0; i < 12; i++) {
            flow_layer *layer = (*type)->example(i, &error);
            if (!layer) fail_msg("%s %d: %s", (*type)->name, i, error.message);
            for (int normalize = 0; normalize < 2; normalize++) {
                double want[65], got[65];
                int64_t n = run_layer(*state, layer, 0, normalize, want);
                run_layer(*state, layer, 1, normalize, got);
                util_assert_all_close(got, want, n, 1e-9);
            }
            flow_layer_free(layer);
        }
    }
}

// ---- parameters -------------------------------------------------------------------------------------------------------

static void a_bad_parameter_behind_a_bad_result_is_named(void **state) {
    fixture *f = *state;
    ad_param_set(f->W[0], 3, INFINITY);
    ad_tape *tape = ad_tape_new(f->engine[1], AD_F64);
    ad_source source = util_source(f->x, ROWS);
    ad_var x = ad_input(util_rows(tape, "data", 1), ad_shape1(D), &source);
    ad_keep(dense(f, ad_abs(x)));
    assert_int_equal(ad_run(tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(tape), "parameter 'W': element 3 is inf");
    ad_tape_free(tape);
}

// A run that it makes fail names it, too.
static void a_bad_parameter_behind_a_failure_is_named(void **state) {
    const fixture *f = *state;
    ad_error error = {AD_OK, ""};
    flow_layer *layer = flow_planar(D, 0, NULL, &error);
    assert_non_null(layer);
    ad_param_set(layer->owner.params[2], 0, NAN);
    ad_tape *tape = ad_tape_new(f->engine[1], AD_F64);
    ad_source source = util_source(f->x, ROWS);
    ad_keep(flow_layer_normalize(layer, ad_input(util_rows(tape, "data", 1), ad_shape1(D), &source), AD_NONE).value);
    assert_int_equal(ad_run(tape), AD_ENONFINITE);
    util_assert_contains(ad_tape_message(tape), "parameter 'b': element 0 is nan");
    ad_tape_free(tape);
    flow_layer_free(layer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_dense_net_of_one_row),  TEST(a_masked_net_of_one_row),
        TEST(batches_are_not_touched), TEST(every_layer_of_one_row),
        TEST(a_bad_parameter_behind_a_bad_result_is_named),
        TEST(a_bad_parameter_behind_a_failure_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
