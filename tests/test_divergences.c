// test_divergences.c -- losses against a Gaussian target of an affine flow: values and gradients by hand, given the
// draws.
#include "flows.h"
#include "optim.h"
#include "util.h"

enum { D = 2, N = 16 };
static const double m[D] = {0.7, -1.2}, sigma[D] = {0.5, 2}, log_constant = 3.25;
static const double raw_scale[D] = {0.4, -0.9}, shift[D] = {-0.3, 0.6};
static const double log_2pi = 1.83787706640934548356;

static ad_error error;

// Unnormalised: its log Z is log_constant + sum log sigma + D log(2 pi) / 2.
static ad_var gaussian(void *arg, ad_var x) {
    (void)arg;
    ad_var mean = ad_constant(x.tape, ad_shape1(D), m), sd = ad_constant(x.tape, ad_shape1(D), sigma);
    return ad_offset(ad_scale(ad_sum(ad_square(ad_div(ad_sub(x, mean), sd))), -0.5), log_constant);
}
static const optim_target target = {gaussian, NULL, "gaussian"};

static flow_model *affine(const double *raw, const double *b) {
    flow_diagonal_options o = {.linear.type = AD_F64};
    flow_model *model = flow_model_new(flow_diagonal_affine(D, &o, &error), flow_standard_normal(D, &error), &error);
    if (!model) fail_msg("%s", error.message);
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) {
        bool scale = strcmp(t[i].name, "flow.log_scale") == 0;
        for (int k = 0; k < D; k++) ad_param_set(t[i].param, k, scale ? raw[k] : b[k]);
    }
    return model;
}

static const double *gradient(const flow_model *model, const char *name) {
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) {
        if (strcmp(t[i].name, name) == 0) return t[i].param->grad;
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

// ---- by hand --------------------------------------------------------------------------------------------------------

typedef struct hand {
    double z[N][D], x[N][D], log_w[N], slope[N][D];  // slope: d log w / dx, parameters held
    double dx_draw[N][D], dx_db[D];                  // how draws move with raw scale and shift
    double ds[D], mean_log_w, log_mean_w;
} hand;

static void work_out(hand *h, const double *z, const double *raw, const double *b, double beta) {
    *h = (hand){.mean_log_w = 0};
    double sum = 0;
    for (int i = 0; i < N; i++) {
        h->log_w[i] = beta * log_constant;
        for (int k = 0; k < D; k++) {
            double t = tanh(raw[k] / 7), s = 7 * t, u;
            h->ds[k] = 1 - t * t;
            h->z[i][k] = z[i * D + k];
            h->x[i][k] = (z[i * D + k] - b[k]) * exp(-s);
            u = (h->x[i][k] - m[k]) / sigma[k];
            h->log_w[i] += -0.5 * beta * u * u + 0.5 * h->z[i][k] * h->z[i][k] + 0.5 * log_2pi - s;
            h->slope[i][k] = -beta * u / sigma[k] + h->z[i][k] * exp(s);
            h->dx_draw[i][k] = -h->x[i][k] * h->ds[k];
            h->dx_db[k] = -exp(-s);
        }
        h->mean_log_w += h->log_w[i] / N;
        sum += exp(h->log_w[i]);
    }
    h->log_mean_w = log(sum / N);
}

// Gradients of sum of coefficient (slope . x).
static void along(const hand *h, const double *coefficient, double *draw, double *db) {
    for (int k = 0; k < D; k++) {
        draw[k] = db[k] = 0;
        for (int i = 0; i < N; i++) {
            draw[k] += coefficient[i] * h->slope[i][k] * h->dx_draw[i][k];
            db[k] += coefficient[i] * h->slope[i][k] * h->dx_db[k];
        }
    }
}

// ---- recorded -------------------------------------------------------------------------------------------------------

typedef enum which { REVERSE, PATH, ALPHA, FORWARD, FORWARD_PATH } which;

typedef struct recorded {
    double loss, draw[D], db[D], z[N * D], log_w[N];
} recorded;

static optim_divergence_loss record(which w, const flow_model *model, const optim_sampling *s, double alpha) {
    switch (w) {
        case REVERSE:
            return optim_reverse_kl(model, &target, s);
        case PATH:
            return optim_path_kl(model, &target, s);
        case ALPHA:
            return optim_alpha_divergence(model, &target, s, alpha);
        case FORWARD:
            return optim_forward_kl(model, &target, s);
        default:
            return optim_forward_path_kl(model, &target, s);
    }
}

static recorded run(which w, const flow_model *model, double alpha, const double *beta) {
    recorded r;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_random random = {7, 3};
    optim_sampling s = {.rows = util_rows(tape, "draws", N), .random = &random, .stream = 1};
    if (beta) s.beta = ad_scalar(tape, beta);
    optim_divergence_loss l = record(w, model, &s, alpha);
    ad_var z = ad_keep(ad_normal(s.rows, ad_shape1(D), &random, 1));
    ad_keep(l.loss), ad_keep(l.log_weight);
    if (ad_backward(l.loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
    r.loss = ad_value(l.loss);
    assert_int_equal(ad_read(z, r.z, N * D), AD_OK);
    assert_int_equal(ad_read(l.log_weight, r.log_w, N), AD_OK);
    memcpy(r.draw, gradient(model, "flow.log_scale"), sizeof r.draw);
    memcpy(r.db, gradient(model, "flow.b"), sizeof r.db);
    ad_tape_free(tape);
    return r;
}

static void expect(const char *name, const recorded *r, double loss, const double *draw, const double *db) {
    for (int k = 0; k < D; k++) {
        if (fabs(r->draw[k] - draw[k]) <= 1e-10 && fabs(r->db[k] - db[k]) <= 1e-10) continue;
        fail_msg("%s, feature %d: gradients %.15g %.15g, expected %.15g %.15g", name, k, r->draw[k], r->db[k], draw[k],
                 db[k]);
    }
    if (!(fabs(r->loss - loss) <= 1e-10)) fail_msg("%s: loss %.15g, expected %.15g", name, r->loss, loss);
}

static void reverse_kl_by_hand(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    const double betas[2] = {1, 0.3};
    for (int i = 0; i < 2; i++) {
        hand h;
        recorded r = run(REVERSE, model, 0, &betas[i]);
        work_out(&h, r.z, raw_scale, shift, betas[i]);
        double c[N], draw[D], db[D];
        for (int j = 0; j < N; j++) {
            util_assert_close(r.log_w[j], h.log_w[j], 1e-12);
            c[j] = -1.0 / N;
        }
        along(&h, c, draw, db);
        recorded p = run(PATH, model, 0, &betas[i]);
        expect("path", &p, -h.mean_log_w, draw, db);
        // The score at fixed draws, d log q / d(raw, b), is what the plain gradient has beside that.
        for (int k = 0; k < D; k++) {
            for (int j = 0; j < N; j++) {
                draw[k] += h.ds[k] * (1 - h.z[j][k] * (h.z[j][k] - shift[k])) / N;
                db[k] -= h.z[j][k] / N;
            }
        }
        expect("plain", &r, -h.mean_log_w, draw, db);
    }
    flow_model_free(model);
}

// Mean of log q - log p~ in closed form, from the first two moments of the draws' latents, all that it depends on: with
// moments 0 and 1 it is KL(q || p) - log Z.
static void reverse_kl_is_the_closed_form(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    recorded r = run(REVERSE, model, 0, NULL);
    double value = -log_constant;
    for (int k = 0; k < D; k++) {
        double m1 = 0, m2 = 0, s = 7 * tanh(raw_scale[k] / 7), mu = -shift[k] * exp(-s), sd = exp(-s);
        for (int i = 0; i < N; i++) m1 += r.z[i * D + k] / N, m2 += r.z[i * D + k] * r.z[i * D + k] / N;
        double squares = sd * sd * m2 + 2 * sd * m1 * (mu - m[k]) + (mu - m[k]) * (mu - m[k]);
        value += s - 0.5 * log_2pi - 0.5 * m2 + 0.5 * squares / (sigma[k] * sigma[k]);
    }
    util_assert_close(r.loss, value, 1e-10);
    flow_model_free(model);
}

static void alpha_divergences_by_hand(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    const double alphas[5] = {0, 0.5, 1, 2, -1};
    for (int a = 0; a < 5; a++) {
        hand h;
        const double alpha = alphas[a], sign = alpha < 0 ? 1 : -1;
        recorded r = run(ALPHA, model, alpha, NULL);
        work_out(&h, r.z, raw_scale, shift, 1);
        double c[N], draw[D], db[D], sum = 0, bound = h.mean_log_w;
        for (int i = 0; i < N; i++) sum += exp((1 - alpha) * h.log_w[i]);
        for (int i = 0; i < N; i++) {
            double v = exp((1 - alpha) * h.log_w[i]) / sum;
            c[i] = sign * (alpha * v + (1 - alpha) * v * v);
        }
        if (alpha != 1) bound = log(sum / N) / (1 - alpha);
        along(&h, c, draw, db);
        expect("alpha", &r, sign * bound, draw, db);
    }
    flow_model_free(model);
}

static void forward_kl_by_hand(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    hand h;
    recorded r = run(FORWARD, model, 0, NULL), p = run(FORWARD_PATH, model, 0, NULL);
    work_out(&h, r.z, raw_scale, shift, 1);
    double c[N], draw[D] = {0}, db[D] = {0}, loss = -h.log_mean_w;
    for (int i = 0; i < N; i++) {
        double v = exp(h.log_w[i] - h.log_mean_w) / N;
        loss += v * h.log_w[i];
        c[i] = -(v - v * v);
        for (int k = 0; k < D; k++) {
            draw[k] -= v * h.ds[k] * (1 - h.z[i][k] * (h.z[i][k] - shift[k]));
            db[k] += v * h.z[i][k];
        }
    }
    expect("forward", &r, loss, draw, db);
    along(&h, c, draw, db);
    expect("forward along paths", &p, loss, draw, db);
    flow_model_free(model);
}

// Where the flow is the target, all draws weigh Z, and path gradients are 0 draw by draw; the plain one is noise.
static void no_variance_at_the_optimum(void **state) {
    (void)state;
    double raw[D], b[D], log_z = log_constant;
    for (int k = 0; k < D; k++) {
        raw[k] = 7 * atanh(-log(sigma[k]) / 7);
        b[k] = -m[k] / sigma[k];
        log_z += log(sigma[k]) + 0.5 * log_2pi;
    }
    flow_model *model = affine(raw, b);
    const which paths[3] = {PATH, ALPHA, FORWARD_PATH};
    for (int i = 0; i < 3; i++) {
        recorded r = run(paths[i], model, 0.5, NULL);
        for (int k = 0; k < D; k++) {
            util_assert_close(r.draw[k], 0, 1e-13);
            util_assert_close(r.db[k], 0, 1e-13);
        }
        util_assert_close(r.loss, paths[i] == FORWARD_PATH ? 0 : -log_z, 1e-12);
    }
    assert_true(fabs(run(REVERSE, model, 0, NULL).db[0]) > 1e-2);
    flow_model_free(model);
}

// ---- doubly-reparameterised gradients are those of the bound, on average -----------------------------------------

static ad_var whole_bound(const flow_model *model, const optim_sampling *s, double alpha) {
    ad_var log_w = optim_reverse_kl(model, &target, s).log_weight;
    ad_var total = ad_logsumexp_rows(ad_scale(log_w, 1 - alpha));
    return ad_scale(ad_sub(total, ad_log(ad_row_count(s->rows))), (alpha < 0 ? 1 : -1) / (1 - alpha));
}

enum { RUNS = 20000, FEW = 3 };

// Mean of the gradient in b over many runs, and its standard error.
static void mean_gradient(const flow_model *model, bool double_path, double alpha, double *mean, double *se) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_random random = {double_path ? 11 : 5, 0};
    optim_sampling s = {.rows = util_rows(tape, "draws", FEW), .random = &random};
    ad_var loss = double_path ? optim_alpha_divergence(model, &target, &s, alpha).loss : whole_bound(model, &s, alpha);
    ad_program *program = ad_compile_backward(loss, &error);
    if (!program) fail_msg("%s", error.message);
    double sum[D] = {0}, squares[D] = {0};
    for (; random.step < RUNS; random.step++) {
        assert_int_equal(ad_program_run(program, &error), AD_OK);
        const double *g = gradient(model, "flow.b");
        for (int k = 0; k < D; k++) sum[k] += g[k], squares[k] += g[k] * g[k];
    }
    for (int k = 0; k < D; k++) {
        mean[k] = sum[k] / RUNS;
        se[k] = sqrt((squares[k] / RUNS - mean[k] * mean[k]) / RUNS);
    }
    ad_program_free(program);
    ad_tape_free(tape);
}

static void doubly_reparameterised_gradients_are_unbiased(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    const double alphas[2] = {0, 0.5};
    for (int a = 0; a < 2; a++) {
        double once[D], once_error[D], twice[D], twice_error[D];
        mean_gradient(model, false, alphas[a], once, once_error);
        mean_gradient(model, true, alphas[a], twice, twice_error);
        for (int k = 0; k < D; k++) {
            if (fabs(once[k] - twice[k]) <= 4 * hypot(once_error[k], twice_error[k])) continue;
            fail_msg("alpha %g, feature %d: %.5f +- %.5f, expected %.5f +- %.5f", alphas[a], k, twice[k],
                     twice_error[k], once[k], once_error[k]);
        }
    }
    flow_model_free(model);
}

// ---- beta, mixtures, errors --------------------------------------------------------------------------------------

static void beta_changes_at_run(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_random random = {7, 3};
    double beta = 1;
    optim_sampling s = {
        .rows = util_rows(tape, "draws", N), .random = &random, .stream = 1, .beta = ad_scalar(tape, &beta)};
    ad_program *program = ad_compile_backward(optim_reverse_kl(model, &target, &s).loss, &error);
    if (!program) fail_msg("%s", error.message);
    for (; beta > 0; beta -= 0.5) {
        assert_int_equal(ad_program_run(program, &error), AD_OK);
        double now = *(const double *)ad_program_data(program, 0);
        util_assert_close(now, run(REVERSE, model, 0, &beta).loss, 1e-13);
    }
    ad_program_free(program);
    ad_tape_free(tape);
    flow_model_free(model);
}

// Draws of the flow and rows of data on one tape: the gradient is the sum of both.
static void mixes_with_likelihood(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    double x[5 * D], alone[D], mixed[D];
    util_fill(x, 5 * D, 3, -2, 2);
    const ad_source source = util_source(x, 5);
    recorded r = run(PATH, model, 0, NULL);
    ad_random random = {7, 3};
    for (int both = 0; both < 2; both++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        ad_var data = ad_input(util_rows(tape, "data", 5), ad_shape1(D), &source);
        ad_var loss = ad_neg(ad_mean_rows(flow_log_prob(model, data, AD_NONE)));
        optim_sampling s = {.rows = util_rows(tape, "draws", N), .random = &random, .stream = 1};
        if (both) loss = ad_add(ad_scale(loss, 0.25), optim_path_kl(model, &target, &s).loss);
        if (ad_backward(loss) != AD_OK) fail_msg("%s", ad_tape_message(tape));
        memcpy(both ? mixed : alone, gradient(model, "flow.b"), sizeof alone);
        ad_tape_free(tape);
    }
    for (int k = 0; k < D; k++) util_assert_close(mixed[k], r.db[k] + 0.25 * alone[k], 1e-12);
    flow_model_free(model);
}

static ad_var of_a_feature_each(void *arg, ad_var x) {
    (void)arg;
    return ad_square(x);
}

static void wrong_calls_say_so(void **state) {
    (void)state;
    flow_model *model = affine(raw_scale, shift);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_random random = {0};
    optim_sampling s = {.rows = util_rows(tape, "draws", N), .random = &random};
    optim_alpha_divergence(model, &target, &s, NAN);
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    assert_non_null(strstr(ad_tape_message(tape), "alpha is"));
    ad_tape_reset(tape);
    s.rows = util_rows(tape, "draws", N);
    optim_target wide = {of_a_feature_each, NULL, "wide"};
    optim_path_kl(model, &wide, &s);
    assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
    assert_non_null(strstr(ad_tape_message(tape), "wide"));
    assert_non_null(strstr(ad_tape_message(tape), "[2]"));
    ad_tape_reset(tape);
    s = (optim_sampling){.rows = util_rows(tape, "draws", N)};
    assert_false(ad_ok(optim_forward_kl(model, &target, &s).loss));
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    ad_tape_free(tape);
    flow_model_free(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reverse_kl_by_hand),         cmocka_unit_test(reverse_kl_is_the_closed_form),
        cmocka_unit_test(alpha_divergences_by_hand),  cmocka_unit_test(forward_kl_by_hand),
        cmocka_unit_test(no_variance_at_the_optimum), cmocka_unit_test(doubly_reparameterised_gradients_are_unbiased),
        cmocka_unit_test(beta_changes_at_run),        cmocka_unit_test(mixes_with_likelihood),
        cmocka_unit_test(wrong_calls_say_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
