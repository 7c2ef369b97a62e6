// test_epilogues.c -- relu and its slope inside the products before them: when, and with what values.
#include "util.h"

enum { B = 70, D = 9, H = 23 };

typedef struct fixture {
    ad_engine *engine;
    ad_tape *tape;
    double data[B * D];
    ad_source source;
    ad_param *W[2], *b[2];  // D -> H -> H
} fixture;

static ad_engine *new_engine(bool trace) {  // which looks at values one by one, so nothing is fused
    if (trace) setenv("AD_TRACE_NAN", "1", 1);
    const ad_engine_options options = {.threads = 1};
    ad_engine *engine = ad_engine_new(&options, NULL);
    unsetenv("AD_TRACE_NAN");
    return engine;
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->engine = new_engine(false);
    f->tape = ad_tape_new(f->engine, AD_F64);
    util_fill(f->data, B * D, 1, -1, 1);
    f->source = util_source(f->data, B);
    for (int i = 0; i < 2; i++) {
        f->W[i] = util_param("W", AD_F64, ad_shape2(H, i ? H : D), 2);
        f->b[i] = util_param("b", AD_F64, ad_shape1(H), 3);
    }
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    ad_tape_free(f->tape);
    ad_engine_free(f->engine);
    for (int i = 0; i < 2; i++) ad_param_free(f->W[i]), ad_param_free(f->b[i]);
    free(f);
    return 0;
}

static ad_var input(const fixture *f, ad_tape *t) { return ad_input(util_rows(t, "data", B), ad_shape1(D), &f->source); }

static ad_var layer(const fixture *f, int i, ad_var x) {
    return ad_linear(ad_use(x.tape, f->W[i]), x, ad_use(x.tape, f->b[i]));
}

static double at(const fixture *f, int row, int o) {  // of the first layer, before relu
    double sum = ad_param_get(f->b[0], o);
    for (int i = 0; i < D; i++) sum += ad_param_get(f->W[0], o * D + i) * f->data[row * D + i];
    return sum;
}

static void assert_explained(ad_tape *tape, const char *part, bool there) {
    char *text = ad_explain(tape);
    assert_non_null(text);
    if ((strstr(text, part) != NULL) != there) fail_msg("\"%s\" %s in:\n%s", part, there ? "is not" : "is", text);
    free(text);
}

static void relu_is_part_of_the_product(void **state) {
    fixture *f = *state;
    ad_var y = ad_keep(ad_relu(layer(f, 0, input(f, f->tape))));
    assert_explained(f->tape, "then relu ", true);
    assert_explained(f->tape, "run of", false);
    double got[B * H];
    util_run(f->tape);
    util_read(y, got, B * H);
    for (int i = 0; i < B * H; i++) util_assert_close(got[i], fmax(0, at(f, i / H, i % H)), 1e-13);
}

static void a_kept_product_stays(void **state) {
    fixture *f = *state;
    ad_var z = ad_keep(layer(f, 0, input(f, f->tape))), y = ad_keep(ad_relu(z));
    assert_explained(f->tape, "then relu ", false);
    double before[B * H], after[B * H];
    util_run(f->tape);
    util_read(z, before, B * H);
    util_read(y, after, B * H);
    for (int i = 0; i < B * H; i++) util_assert_close(before[i], at(f, i / H, i % H), 1e-13);
    for (int i = 0; i < B * H; i++) util_assert_close(after[i], fmax(0, before[i]), 0);
}

static void a_product_read_twice_stays(void **state) {
    fixture *f = *state;
    ad_var z = layer(f, 0, input(f, f->tape)), y = ad_keep(ad_add(ad_exp(z), ad_relu(z)));
    assert_explained(f->tape, "then relu ", false);
    double got[B * H];
    util_run(f->tape);
    util_read(y, got, B * H);
    for (int i = 0; i < B * H; i++) {
        double v = at(f, i / H, i % H);
        util_assert_close(got[i], exp(v) + fmax(0, v), 1e-13);
    }
}

// Half of a product.
static void a_part_of_a_product_stays_apart(void **state) {
    fixture *f = *state;
    ad_var y = ad_keep(ad_relu(ad_slice(layer(f, 0, input(f, f->tape)), 0, 3, 5)));
    assert_explained(f->tape, "then relu ", false);
    double got[B * 5];
    util_run(f->tape);
    util_read(y, got, B * 5);
    for (int i = 0; i < B * 5; i++) util_assert_close(got[i], fmax(0, at(f, i / 5, i % 5 + 3)), 1e-13);
}

// Placed in a larger value: computed there.
static void a_relu_in_a_concatenation(void **state) {
    fixture *f = *state;
    ad_var x = input(f, f->tape), parts[] = {x, ad_relu(layer(f, 0, x))};
    ad_var y = ad_keep(ad_concat(parts, 2, 0));
    double got[B * (D + H)];
    util_run(f->tape);
    util_read(y, got, B * (D + H));
    for (int r = 0; r < B; r++) {
        for (int i = 0; i < D; i++) util_assert_close(got[r * (D + H) + i], f->data[r * D + i], 0);
        for (int i = 0; i < H; i++) util_assert_close(got[r * (D + H) + D + i], fmax(0, at(f, r, i)), 1e-13);
    }
}

// The slope's mask is computed between the product and the slope: it is too late for the product.
static void a_mask_that_comes_after_the_product(void **state) {
    fixture *f = *state;
    ad_var x = input(f, f->tape);
    ad_var p = ad_linear_transposed(ad_use(f->tape, f->W[0]), layer(f, 0, x)), z = ad_offset(ad_square(x), -0.2), g;
    ad_vjp(ad_relu(z), p, &x, 1, &g);
    ad_keep(g);
    ad_keep(p);
    assert_explained(f->tape, "then relu_slope", false);
    ad_tape_reset(f->tape);
    x = input(f, f->tape);
    p = ad_linear_transposed(ad_use(f->tape, f->W[0]), layer(f, 0, x)), z = ad_offset(ad_square(x), -0.2);
    ad_vjp(ad_relu(z), p, &x, 1, &g);
    ad_keep(g);
    double got[B * D];
    util_run(f->tape);
    util_read(g, got, B * D);
    for (int i = 0; i < B * D; i++) {
        double sum = 0;
        for (int o = 0; o < H; o++) sum += ad_param_get(f->W[0], o * D + i % D) * at(f, i / D, o);
        util_assert_close(got[i], f->data[i] * f->data[i] > 0.2 ? 2 * f->data[i] * sum : 0, 1e-12);
    }
}

static ad_var loss_of(const fixture *f, ad_tape *t) {
    return ad_keep(ad_mean_rows(ad_sum(ad_square(ad_relu(layer(f, 1, ad_relu(layer(f, 0, input(f, t)))))))));
}

static void a_step_has_the_same_bits_with_and_without(void **state) {
    fixture *f = *state;
    ad_engine *traced = new_engine(true);
    ad_engine *engines[] = {f->engine, traced};
    double loss[2], gradient[2][H * D];
    for (int e = 0; e < 2; e++) {
        ad_tape *tape = ad_tape_new(engines[e], AD_F64);
        ad_var y = loss_of(f, tape), W = ad_use(tape, f->W[0]), gW;
        ad_grad(y, &W, 1, &gW);
        ad_keep(gW);
        assert_explained(tape, "then relu_slope", e == 0);
        util_run(tape);
        util_read(y, &loss[e], 1);
        util_read(gW, gradient[e], H * D);
        ad_tape_free(tape);
    }
    assert_memory_equal(&loss[0], &loss[1], sizeof *loss);
    assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
    ad_engine_free(traced);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(relu_is_part_of_the_product),
        TEST(a_kept_product_stays),
        TEST(a_product_read_twice_stays),
        TEST(a_part_of_a_product_stays_apart),
        TEST(a_relu_in_a_concatenation),
        TEST(a_mask_that_comes_after_the_product),
        TEST(a_step_has_the_same_bits_with_and_without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
