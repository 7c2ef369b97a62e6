// test_bijector.c -- maps of one number: closed forms, both ends of every range, what is outside, learned numbers,
// refusals.
#include "transformers.h"

static flow_layer *made(const char *name, const flow_bijector_options *o) {
    flow_layer *layer = flow_bijector(1, name, o, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// ---- values ---------------------------------------------------------------------------------------------------------
// Each map once more, as the textbook writes it.

static double leaky_relu(double x, double a, double b) {
    return (void)b, x > 0 ? x : a * x;
}
static double elu(double x, double a, double b) {
    return (void)a, (void)b, x > 0 ? x : exp(x) - 1;
}
static double sneaky_relu(double x, double a, double b) {
    const double alpha = (1 - a) / (1 + a);
    return (void)b, (x + alpha * (sqrt(1 + x * x) - 1)) / (1 + alpha);
}
static double bent_identity(double x, double a, double b) {
    return (void)a, (void)b, (sqrt(x * x + 1) - 1) / 2 + x;
}
static double exponential(double x, double a, double b) {
    return (void)a, (void)b, exp(x);
}
static double softplus(double x, double a, double b) {
    return (void)a, (void)b, log(1 + exp(x));
}
static double squareplus(double x, double a, double b) {
    return (void)b, (x + sqrt(x * x + a)) / 2;
}
static double sigmoid(double x, double a, double b) {
    return (void)a, (void)b, 1 / (1 + exp(-x));
}
static double normal_cdf(double x, double a, double b) {
    return (void)a, (void)b, 0.5 * (1 + erf(x / sqrt(2)));
}
static double laplace_cdf(double x, double a, double b) {
    return (void)a, (void)b, x < 0 ? 0.5 * exp(x) : 1 - 0.5 * exp(-x);
}
static double cauchy_cdf(double x, double a, double b) {
    return (void)a, (void)b, 0.5 + atan(x) / acos(-1);
}
static double gumbel_cdf(double x, double a, double b) {
    return (void)a, (void)b, exp(-exp(-x));
}
static double kumaraswamy(double x, double a, double b) {
    return 1 - pow(1 - pow(x, a), b);
}
static double hyperbolic_tangent(double x, double a, double b) {
    return (void)a, (void)b, tanh(x);
}
static double softsign(double x, double a, double b) {
    return (void)a, (void)b, x / (1 + fabs(x));
}
static double leaky_tanh(double x, double a, double b) {
    const double t = tanh(a), beyond = fabs(x) - a;
    return (void)b, beyond < 0 ? tanh(x) : copysign(t + (1 - t * t) * beyond, x);
}
static double log_tanh(double x, double a, double b) {
    const double t = tanh(a);
    return (void)b, fabs(x) < a ? tanh(x) : copysign(t + a * (1 - t * t) * log(fabs(x) / a), x);
}
static double power(double x, double a, double b) {
    return (void)b, copysign(pow(fabs(x), a), x);
}
static double symlog(double x, double a, double b) {
    return (void)b, copysign(log(1 + a * fabs(x)) / a, x);
}
static double area_sine(double x, double a, double b) {
    return (void)a, (void)b, log(x + sqrt(x * x + 1));
}
static double sinh_arcsinh(double x, double a, double b) {
    return sinh(a * asinh(x) + b);
}
static double lambert_w(double x, double a, double b) {
    return (void)b, x * exp(a * x * x / 2);
}
static double soft_clip(double x, double a, double b) {  // onto (0, 1)
    const double u = a * log(1 + exp(x / a));
    return (void)b, 1 - log(1 + exp((1 - u) / a)) / log(1 + exp(1 / a));
}

typedef struct textbook {
    const char *name;
    double (*f)(double x, double a, double b);
    double a, b;  // not the defaults
    double a_default, b_default;
} textbook;

static const textbook all[] = {
    {"leaky relu", leaky_relu, 0.3, 0, 0.1, 0},
    {"elu", elu, 0, 0, 0, 0},
    {"sneaky relu", sneaky_relu, 0.4, 0, 0.1, 0},
    {"bent identity", bent_identity, 0, 0, 0, 0},
    {"exp", exponential, 0, 0, 0, 0},
    {"softplus", softplus, 0, 0, 0, 0},
    {"squareplus", squareplus, 1.5, 0, 4, 0},
    {"sigmoid", sigmoid, 0, 0, 0, 0},
    {"normal cdf", normal_cdf, 0, 0, 0, 0},
    {"laplace cdf", laplace_cdf, 0, 0, 0, 0},
    {"cauchy cdf", cauchy_cdf, 0, 0, 0, 0},
    {"gumbel cdf", gumbel_cdf, 0, 0, 0, 0},
    {"kumaraswamy", kumaraswamy, 2, 3, 1, 1},
    {"tanh", hyperbolic_tangent, 0, 0, 0, 0},
    {"softsign", softsign, 0, 0, 0, 0},
    {"leaky tanh", leaky_tanh, 0.8, 0, 3, 0},
    {"log tanh", log_tanh, 0.6, 0, 1, 0},
    {"power", power, 1.7, 0, 3, 0},
    {"symlog", symlog, 2.5, 0, 1, 0},
    {"asinh", area_sine, 0, 0, 0, 0},
    {"sinh arcsinh", sinh_arcsinh, 1.4, -0.6, 1, 0},
    {"lambert w", lambert_w, 0.5, 0, 0.1, 0},
    {"soft clip", soft_clip, 0.2, 0, 1, 0},
};
enum { MAPS = sizeof all / sizeof *all, N = 6 };

// Points of the map's domain.
static void points(const flow_layer *layer, double *x) {
    const double anywhere[N] = {-2.5, -0.75, -0.01, 0.02, 0.65, 3.5}, unit[N] = {0.001, 0.1, 0.3, 0.5, 0.8, 0.99};
    memcpy(x, layer->low < layer->high ? unit : anywhere, sizeof anywhere);
}

static void check_values(const textbook *t, double a, double b, double a_used, double b_used) {
    flow_layer *there = made(t->name, &(flow_bijector_options){.a = a, .b = b});
    flow_layer *back = made(t->name, &(flow_bijector_options){.inverse = true, .a = a, .b = b});
    double x[N], y[N], got[N], log_det[N], back_det[N];
    points(there, x);
    for (int i = 0; i < N; i++) y[i] = t->f(x[i], a_used, b_used);
    layers_run(there, AD_F64, true, x, N, got, log_det);
    util_assert_all_close(got, y, N, 1e-13);
    layers_run(back, AD_F64, true, y, N, got, back_det);
    util_assert_all_close(got, x, N, 1e-10);
    for (int i = 0; i < N; i++) util_assert_close(back_det[i], -log_det[i], 1e-10);
    layers_run(back, AD_F64, false, x, N, got, back_det);
    util_assert_all_close(got, y, N, 1e-13);
    for (int i = 0; i < N; i++) {  // the slope, by a difference
        const double h = 1e-5 * fmin(1, fabs(x[i])),
                     rise = t->f(x[i] + h, a_used, b_used) - t->f(x[i] - h, a_used, b_used);
        util_assert_close(log_det[i], log(rise / (2 * h)), 1e-7 + 1e-15 / rise);
    }
    flow_layer_free(there);
    flow_layer_free(back);
}

static void maps_follow_the_textbook(void **state) {
    (void)state;
    for (int i = 0; i < MAPS; i++) {
        check_values(&all[i], all[i].a, all[i].b, all[i].a, all[i].b);
        check_values(&all[i], 0, 0, all[i].a_default, all[i].b_default);
    }
}

// Close to 0 a power goes on in a straight line, which meets it at 0.001.
static void a_power_is_straight_at_zero(void **state) {
    (void)state;
    const double x[4] = {0, 0.0005, -0.0005, 0.001}, want[4] = {0, 0.5e-9, -0.5e-9, 1e-9};
    flow_layer *layer = made("power", NULL);
    double z[4], back[4], log_det[4];
    layers_run(layer, AD_F64, true, x, 4, z, log_det);
    for (int i = 0; i < 4; i++) assert_true(fabs(z[i] - want[i]) <= 1e-22);
    for (int i = 0; i < 3; i++) util_assert_close(log_det[i], 2 * log(0.001), 1e-13);
    layers_run(layer, AD_F64, false, z, 4, back, log_det);
    for (int i = 0; i < 4; i++) assert_true(fabs(back[i] - x[i]) <= 1e-16);
    flow_layer_free(layer);
}

// ---- extremes -------------------------------------------------------------------------------------------------------

// Whatever number comes in, value and gradients are no NaN, and value and log_det finite within the domain and the
// type.
static void check_extremes(flow_layer *layer, ad_type type, bool normalize, const char *name) {
    enum { X = 19 };
    const double x[X] = {0,  1e-35, -1e-35, 1e-10, -1e-10, 0.5, -0.5, 1,    -1,   8,
                         -8, 20,    -20,    200,   -200,   1e6, -1e6, 1e18, -1e18};
    double value[X], log_det[X], gradient[X];
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(x, X);
    ad_var v = ad_input(util_rows(tape, "data", X), ad_shape1(1), &source), g;
    flow_result r = normalize ? flow_layer_normalize(layer, v, AD_NONE) : flow_layer_generate(layer, v, AD_NONE);
    ad_grad(ad_sum_rows(ad_add(ad_sum(r.value), r.log_det)), &v, 1, &g);
    ad_keep(r.value), ad_keep(r.log_det), ad_keep(g);
    if (ad_run(tape) != AD_OK) fail_msg("%s: %s", name, ad_tape_message(tape));
    util_read(r.value, value, X);
    util_read(r.log_det, log_det, X);
    util_read(g, gradient, X);
    const double low = normalize ? layer->low : layer->z_low, high = normalize ? layer->high : layer->z_high;
    for (int i = 0; i < X; i++) {
        const bool far = fabs(value[i]) >= 0.4 * exp(type == AD_F32 ? 80 : 690);
        const bool outside = far || (low < high && (x[i] < low || x[i] > high));
        const double nothing = normalize ? -INFINITY : INFINITY;
        const bool right = outside ? log_det[i] == nothing : isfinite(log_det[i]);
        if (isfinite(value[i]) && right && !isnan(gradient[i])) continue;
        fail_msg("%s, %s of %g in f%d: value %g, log_det %g, gradient %g", name, normalize ? "normalize" : "generate",
                 x[i], type == AD_F32 ? 32 : 64, value[i], log_det[i], gradient[i]);
    }
    ad_tape_free(tape);
}

static void nothing_overflows(void **state) {
    (void)state;
    for (int i = 0; i < 4 * MAPS; i++) {
        const textbook *t = &all[i / 4];
        flow_layer *layer = made(t->name, &(flow_bijector_options){.inverse = i % 2, .learn = i % 4 > 1});
        for (int k = 0; k < 4; k++) check_extremes(layer, k % 2 ? AD_F64 : AD_F32, k / 2, t->name);
        flow_layer_free(layer);
    }
}

// tanh of 30 is 1 in f32: what comes back is the farthest that tanh tells apart, with a finite log_det both ways.
static void saturated_values_come_back(void **state) {
    (void)state;
    const double x[2] = {30, -30};
    flow_layer *layer = made("tanh", NULL);
    double z[2], back[2], log_det[2];
    layers_run(layer, AD_F32, true, x, 2, z, log_det);
    assert_true(z[0] == 1 && z[1] == -1);
    util_assert_close(log_det[0], 2 * log(2) - 60, 1e-6);
    layers_run(layer, AD_F32, false, z, 2, back, log_det);
    assert_true(back[0] > 8 && back[0] < 9 && back[1] == -back[0]);
    assert_true(isfinite(log_det[0]) && isfinite(log_det[1]));
    flow_layer_free(layer);
}

// ---- domains --------------------------------------------------------------------------------------------------------

static void what_is_outside_is_named(void **state) {
    (void)state;
    flow_layer *layer = made("exp", &(flow_bijector_options){.inverse = true});
    const double good[3] = {0.5, 2, 100}, bad[3] = {0.5, -2, 100}, nan[3] = {1, 1, (double)NAN};
    flow_rows rows = {.x = util_source(good, 3)};
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), AD_OK);
    rows.x.data = bad;
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), AD_EARG);
    util_assert_contains(layers_error.message, "'exp': row 1, feature 0 is -2, expected a number between 0 and inf");
    rows.x.data = nan;
    assert_int_equal(layer->type->init(layer, &rows, &layers_error), AD_ENONFINITE);
    double z[3], log_det[3];
    layers_run(layer, AD_F64, true, bad, 3, z, log_det);
    assert_true(log_det[1] == -INFINITY && isfinite(log_det[0]) && isfinite(log_det[2]));
    flow_layer_free(layer);
}

static void a_box_is_filled(void **state) {
    (void)state;
    const double x[3] = {-50, 1, 50};
    flow_layer *layer = made("soft clip", &(flow_bijector_options){.a = 0.1, .low = -3, .high = 5});
    double z[3], log_det[3];
    layers_run(layer, AD_F64, true, x, 3, z, log_det);
    util_assert_close(z[0], -3, 1e-12);
    util_assert_close(z[1], 1, 1e-12);  // in the middle, far from both bends
    util_assert_close(z[2], 5, 1e-12);
    util_assert_close(log_det[1], 0, 1e-12);
    assert_true(layer->z_low == -3 && layer->z_high == 5);
    flow_layer_free(layer);
}

// A distribution function takes its density to the uniform one.
static void distribution_functions_have_their_densities(void **state) {
    (void)state;
    const char *const names[5] = {"normal cdf", "sigmoid", "laplace cdf", "cauchy cdf", "gumbel cdf"};
    const double x[N] = {-2.5, -0.75, 0, 0.02, 0.6, 9};
    for (int k = 0; k < 5; k++) {
        flow_model *model = flow_model_new(made(names[k], NULL), flow_base_uniform(1, 0, 1, NULL), &layers_error);
        layers_assert_made(model);
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_source source = util_source(x, N);
        ad_var v = ad_input(util_rows(tape, "data", N), ad_shape1(1), &source);
        ad_var log_prob = ad_keep(flow_log_prob(model, v, AD_NONE));
        util_run(tape);
        double got[N];
        util_read(log_prob, got, N);
        for (int i = 0; i < N; i++) {
            const double densities[5] = {-0.5 * x[i] * x[i] - 0.5 * log(2 * acos(-1)), -x[i] - 2 * log1p(exp(-x[i])),
                                         -fabs(x[i]) - log(2), -log(acos(-1) * (1 + x[i] * x[i])), -x[i] - exp(-x[i])};
            util_assert_close(got[i], densities[k], 1e-12);
        }
        ad_tape_free(tape);
        flow_model_free(model);
    }
}

// ---- learned numbers ------------------------------------------------------------------------------------------------

static void learned_numbers_stay_in_range(void **state) {
    (void)state;
    const double x = -2, raw[3] = {0, 1e30, -1e30}, slope[3] = {0.25, 1e3, 1e-3};
    flow_layer *layer = made("leaky relu", &(flow_bijector_options){.a = 0.25, .learn = true, .type = AD_F64});
    for (int i = 0; i < 3; i++) {
        double z, log_det;
        ad_param_set(layers_param(layer, "slope"), 0, raw[i]);
        layers_run(layer, AD_F64, true, &x, 1, &z, &log_det);
        util_assert_close(z, -2 * slope[i], 1e-12);
        util_assert_close(log_det, log(slope[i]), 1e-12);
    }
    flow_layer_free(layer);
}

static void each_feature_learns_its_own(void **state) {
    (void)state;
    const double x[2] = {1, 1}, ones[2] = {1, 1}, skew[2] = {0.4, -0.4};
    flow_layer *layer = flow_bijector(2, "sinh arcsinh", &(flow_bijector_options){.learn = true, .type = AD_F64}, NULL);
    layers_set(layers_param(layer, "skew"), skew);
    double z[2], log_det, gradient[2];
    layers_run(layer, AD_F64, true, x, 1, z, &log_det);
    for (int i = 0; i < 2; i++) util_assert_close(z[i], sinh(asinh(1) + 5 * tanh(skew[i] / 5)), 1e-12);
    layers_gradients(layer, true, x, 1, ones, ones, gradient);
    const double *grad = layers_param(layer, "skew")->grad;
    assert_true(grad[0] != grad[1]);
    flow_layer_free(layer);
}

// ---- as transformers ------------------------------------------------------------------------------------------------

static flow_transformer *transformer(const char *name, const flow_bijector_transformer_options *o) {
    flow_transformer *t = flow_bijector_transformer(name, o, &layers_error);
    layers_assert_made(t);
    return t;
}

static flow_layer *elementwise(const char *name, const flow_bijector_transformer_options *o, bool inverse) {
    const flow_elementwise_options e = {.inverse = inverse, .type = AD_F64};
    flow_layer *layer = flow_elementwise(1, 0, transformer(name, o), &e, &layers_error);
    layers_assert_made(layer);
    return layer;
}

// f(v scale + shift) of a map of all numbers; its inverse, onto them, times scale plus shift; neither between two
// boxes.
static void transformers_add_a_scale_and_a_shift(void **state) {
    (void)state;
    const double s = 1.5 * tanh(0.6 / 1.5), x[2] = {-0.4, 0.3};
    for (int i = 0; i < MAPS; i++) {
        for (int inverse = 0; inverse < 2; inverse++) {
            const flow_bijector_transformer_options o = {
                .inverse = inverse, .bound = 1.5, .a = all[i].a, .b = all[i].b};
            flow_layer *bent = elementwise(all[i].name, &o, false);
            flow_layer *alone =
                made(all[i].name, &(flow_bijector_options){.inverse = inverse, .a = all[i].a, .b = all[i].b});
            ad_param *raw = layers_param(bent, "raw");
            const bool box = bent->low < bent->high, before = !box;
            const bool plain = box && bent->z_low < bent->z_high;
            double in[2] = {x[0], x[1]}, want[2], got[2], log_det[2], want_det[2], back[2];
            if (box) in[0] = 0.2, in[1] = 0.7;
            if (!plain) ad_param_set(raw, 0, 0.6), ad_param_set(raw, 1, -0.25);
            for (int k = 0; k < 2 && before; k++) in[k] = in[k] * exp(s) - 0.25;
            layers_run(alone, AD_F64, true, in, 2, want, want_det);
            for (int k = 0; k < 2 && !before && !plain; k++) want[k] = want[k] * exp(s) - 0.25;
            for (int k = 0; k < 2 && before; k++) in[k] = x[k];
            layers_run(bent, AD_F64, true, in, 2, got, log_det);
            for (int k = 0; k < 2; k++) {
                util_assert_close(got[k], want[k], 1e-12);
                util_assert_close(log_det[k], want_det[k] + (plain ? 0 : s), 1e-12);
            }
            layers_run(bent, AD_F64, false, got, 2, back, want_det);
            for (int k = 0; k < 2; k++) {
                util_assert_close(back[k], in[k], 1e-9);
                util_assert_close(want_det[k], -log_det[k], 1e-8);
            }
            flow_layer_free(bent);
            flow_layer_free(alone);
        }
    }
}

// A map's own numbers are parameters, too: raw ones move them from where they start, as the layer learns them.
static void transformers_learn_the_numbers_of_maps(void **state) {
    (void)state;
    const flow_bijector_transformer_options o = {.plain = true, .a = 1.4, .b = -0.6};
    flow_layer *bent = elementwise("sinh arcsinh", &o, false);
    flow_layer *layer =
        made("sinh arcsinh", &(flow_bijector_options){.learn = true, .a = 1.4, .b = -0.6, .type = AD_F64});
    layers_set(layers_param(bent, "raw"), (const double[]){0.3, -0.8});
    ad_param_set(layers_param(layer, "tail"), 0, 0.3);
    ad_param_set(layers_param(layer, "skew"), 0, -0.8);
    const double x[2] = {-1.5, 2};
    double got[2], want[2], log_det[2], want_det[2];
    layers_run(bent, AD_F64, true, x, 2, got, log_det);
    layers_run(layer, AD_F64, true, x, 2, want, want_det);
    assert_memory_equal(got, want, sizeof want);
    assert_memory_equal(log_det, want_det, sizeof want_det);
    flow_layer_free(bent);
    flow_layer_free(layer);
}

// Every map, both ways, by a net of a context and by a masked net.
static void layers_of_any_map_keep_the_laws(void **state) {
    (void)state;
    for (int i = 0; i < 2 * MAPS; i++) {
        const flow_bijector_transformer_options o = {.inverse = i % 2};
        const flow_mlp_options mlp = {.layers = 1, .width = 4, .activation = FLOW_TANH, .type = AD_F64};
        flow_transformer *t = transformer(all[i / 2].name, &o);
        flow_layer *layer =
            i / 2 % 2
                ? flow_elementwise(2, 2, t, &(flow_elementwise_options){.mlp = mlp}, &layers_error)
                : flow_autoregressive(2, 0, t, &(flow_autoregressive_options){.made = {.mlp = mlp}}, &layers_error);
        layers_assert_made(layer);
        const flow_check_options check = {.rows = 2, .cases = 1, .tolerance = 1e-10, .spread = 0.5};
        if (flow_check(layer, &check, &layers_error) != AD_OK)
            fail_msg("%s: %s", all[i / 2].name, layers_error.message);
        flow_layer_free(layer);
    }
}

static flow_transformer *leaky(ad_error *error) {
    return flow_bijector_transformer("leaky relu", NULL, error);
}
static flow_transformer *sneaky(ad_error *error) {
    return flow_bijector_transformer("sneaky relu", &(flow_bijector_transformer_options){.inverse = true}, error);
}
static flow_transformer *bent(ad_error *error) {
    return flow_bijector_transformer("bent identity", NULL, error);
}
static flow_transformer *tails(ad_error *error) {
    return flow_bijector_transformer("leaky tanh", NULL, error);
}
static const transformers_maker makers[] = {{"bijector", leaky, 0, 0, 0},
                                            {"bijector", sneaky, 0, 0, 0},
                                            {"bijector", bent, 0, 0, 0},
                                            {"bijector", tails, 0, 0, 0}};

// Of maps that do not grow: raw numbers of any size, and gradients to second order.
static void transformers_of_maps_have_no_nan_and_right_gradients(void **state) {
    (void)state;
    transformers_check_huge(makers, 4);
    transformers_check_gradients(makers, 4);
}

// Beyond a box the density is 0, whichever way round a layer takes the map.
static void outside_of_a_transformer_is_nothing(void **state) {
    (void)state;
    const double beyond[2] = {1.5, -0.5};
    double value[2], log_det[2];
    for (int inverse = 0; inverse < 2; inverse++) {
        flow_layer *layer = elementwise("kumaraswamy", NULL, inverse);
        layers_run(layer, AD_F64, true, beyond, 2, value, log_det);
        assert_true(log_det[0] == -INFINITY && log_det[1] == -INFINITY);
        assert_true(value[0] > 0.99 && value[0] <= 1 && value[1] >= 0 && value[1] < 0.01);
        layers_run(layer, AD_F64, false, beyond, 2, value, log_det);
        assert_true(log_det[0] == INFINITY && log_det[1] == INFINITY);
        flow_layer_free(layer);
    }
}

static void a_row_lies_in_one_range(void **state) {
    (void)state;
    layers_assert_refused(flow_coupling(2, 0, transformer("sigmoid", NULL), NULL, &layers_error), AD_EARG,
                          "coupling: the transformer bijector takes features to another range than those kept");
    layers_assert_refused(flow_hint(2, 0, transformer("exp", NULL), NULL, &layers_error), AD_EARG,
                          "hint: the transformer bijector takes features to another range");
    flow_coupling_options o = {.kept_transformer = transformer("tanh", NULL)};
    layers_assert_refused(flow_coupling(2, 0, transformer("sigmoid", NULL), &o, &layers_error), AD_EARG,
                          "takes features to another range");
    o.kept_transformer = transformer("sigmoid", NULL);
    flow_layer *layer = flow_coupling(2, 0, transformer("sigmoid", NULL), &o, &layers_error);
    layers_assert_made(layer);
    const flow_check_options check = {.rows = 2, .cases = 1, .spread = 0.5};
    if (flow_check(layer, &check, &layers_error) != AD_OK) fail_msg("%s", layers_error.message);
    flow_layer_free(layer);
    flow_bijector_transformer_options plain = {.plain = true};
    assert_null(flow_bijector_transformer("exp", &plain, &layers_error));
    util_assert_contains(layers_error.message, "nothing is left to choose");
    plain = (flow_bijector_transformer_options){.bound = 30};
    assert_null(flow_bijector_transformer("exp", &plain, &layers_error));
    util_assert_contains(layers_error.message, "bound 30");
    assert_null(flow_bijector_transformer("cosh", NULL, &layers_error));
    util_assert_contains(layers_error.message, "no map 'cosh'");
}

static void bad_options_are_refused(void **state) {
    (void)state;
    ad_error *e = &layers_error;
    layers_assert_refused(flow_bijector(2, "cosh", NULL, e), AD_EARG, "bijector: no map 'cosh'");
    layers_assert_refused(flow_bijector(2, NULL, NULL, e), AD_EARG, "bijector: no map ''");
    layers_assert_refused(flow_bijector(0, "exp", NULL, e), AD_EARG, "bijector: 0 features");
    flow_bijector_options o = {.a = -1};
    layers_assert_refused(flow_bijector(2, "power", &o, e), AD_EARG,
                          "'power': exponent -1; expected more than 0.1 and less than 10");
    o.a = (double)NAN;
    layers_assert_refused(flow_bijector(2, "leaky relu", &o, e), AD_EARG, "'leaky relu': slope nan");
    o = (flow_bijector_options){.low = 2, .high = 1};
    layers_assert_refused(flow_bijector(2, "soft clip", &o, e), AD_EARG, "'soft clip': a box from 2 to 1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_follow_the_textbook),
        cmocka_unit_test(a_power_is_straight_at_zero),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(saturated_values_come_back),
        cmocka_unit_test(what_is_outside_is_named),
        cmocka_unit_test(a_box_is_filled),
        cmocka_unit_test(distribution_functions_have_their_densities),
        cmocka_unit_test(learned_numbers_stay_in_range),
        cmocka_unit_test(each_feature_learns_its_own),
        cmocka_unit_test(transformers_add_a_scale_and_a_shift),
        cmocka_unit_test(transformers_learn_the_numbers_of_maps),
        cmocka_unit_test(layers_of_any_map_keep_the_laws),
        cmocka_unit_test(transformers_of_maps_have_no_nan_and_right_gradients),
        cmocka_unit_test(outside_of_a_transformer_is_nothing),
        cmocka_unit_test(a_row_lies_in_one_range),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
