// test_optimizers.c -- update rules, clipping, groups, L-BFGS, averages and schedules. White box: the rules' kernels.
#include "../optim/rule.h"
#include "npz.h"
#include "op.h"
#include "optim.h"
#include "util.h"

static ad_error error;

static void assert_status_ok(ad_status status) {
    if (status != AD_OK) fail_msg("%s", error.message);
}

// ---- PyTorch's values ---------------------------------------------------------------------------------------------

typedef struct row {
    const char *name;
    double lr;
    optim_options options;
} row;
// The options of tests/reference: the same in both files.
static const row rows[] = {
    {"p_sgd", 0.05, {.method = OPTIM_SGD}},
    {"p_sgd_wd", 0.05, {.method = OPTIM_SGD, .weight_decay = 0.02}},
    {"p_momentum", 0.02, {.method = OPTIM_SGD, .momentum = 0.9}},
    {"p_momentum_damp_wd", 0.02, {.method = OPTIM_SGD, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.02}},
    {"p_nesterov", 0.02, {.method = OPTIM_SGD, .momentum = 0.9, .nesterov = true}},
    {"p_nesterov_wd", 0.02, {.method = OPTIM_SGD, .momentum = 0.8, .nesterov = true, .weight_decay = 0.05}},
    {"p_adam", 0.1, {.method = OPTIM_ADAM}},
    {"p_adam_opts", 0.03, {.method = OPTIM_ADAM, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.05}},
    {"p_amsgrad", 0.1, {.method = OPTIM_ADAM, .amsgrad = true}},
    {"p_amsgrad_opts",
     0.05,
     {.method = OPTIM_ADAM, .amsgrad = true, .beta1 = 0.7, .beta2 = 0.9, .eps = 1e-7, .weight_decay = 0.01}},
    {"p_adamw", 0.1, {.method = OPTIM_ADAMW, .weight_decay = 0.01}},
    {"p_adamw_opts", 0.03, {.method = OPTIM_ADAMW, .beta1 = 0.85, .beta2 = 0.98, .eps = 1e-5, .weight_decay = 0.3}},
    {"p_adamw_amsgrad",
     0.05,
     {.method = OPTIM_ADAMW, .amsgrad = true, .beta1 = 0.7, .beta2 = 0.9, .weight_decay = 0.05}},
    {"p_radam", 0.1, {.method = OPTIM_RADAM}},
    {"p_radam_opts", 0.02, {.method = OPTIM_RADAM, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .weight_decay = 0.05}},
    {"p_adamax", 0.05, {.method = OPTIM_ADAMAX}},
    {"p_adamax_opts", 0.03, {.method = OPTIM_ADAMAX, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.05}}};
enum { ROWS = sizeof rows / sizeof *rows };

static optim_optimizer *optimizer_of(ad_param *param, const optim_options *options) {
    optim_optimizer *optimizer = optim_new(&param, 1, options, &error);
    if (!optimizer) fail_msg("%s", error.message);
    return optimizer;
}

// Gradients are given, whatever the parameters are.
static void methods_follow_the_reference_on_given_gradients(void **state) {
    (void)state;
    npz z = npz_open("optim_open.npz");
    int64_t n, steps, size;
    double *p0 = npz_array(&z, "p0", &n), *grads = npz_array(&z, "grads", &steps);
    for (int r = 0; r < ROWS; r++) {
        double *want = npz_array(&z, rows[r].name, &size);
        ad_param *p = ad_param_new("p", AD_F64, ad_shape1(n), NULL);
        memcpy(p->data, p0, (size_t)n * sizeof *p0);
        optim_optimizer *optimizer = optimizer_of(p, &rows[r].options);
        for (int64_t t = 0; t < steps / n; t++) {
            memcpy(p->grad, grads + t * n, (size_t)n * sizeof *grads);
            assert_status_ok(optim_update(optimizer, NULL, rows[r].lr, NULL, &error));
            for (int64_t i = 0; i < n; i++) {
                double got = ((double *)p->data)[i], right = want[(t + 1) * n + i];
                if (!(fabs(got - right) <= 1e-11 * fmax(1, fabs(right)))) {
                    fail_msg("%s, step %d, element %d: %.15g, expected %.15g", rows[r].name, (int)t + 1, (int)i, got,
                             right);
                }
            }
        }
        assert_int_equal(optim_steps(optimizer), 100);
        optim_free(optimizer);
        ad_param_free(p);
        free(want);
    }
    free(p0);
    free(grads);
    npz_close(&z);
}

// loss = 1/2 (p-c)^T A (p-c) + sum log cosh p, its gradient from the tape.
typedef struct problem {
    ad_tape *tape;
    ad_param *p;
    double *c, *A, *p0;
    int64_t n;
    npz z;
} problem;

static problem problem_new(void) {
    problem q = {.z = npz_open("optim_closed.npz"), .tape = ad_tape_new(NULL, AD_F64)};
    int64_t size;
    q.c = npz_array(&q.z, "c", &q.n);
    q.A = npz_array(&q.z, "A", &size);
    q.p0 = npz_array(&q.z, "p0", &q.n);
    q.p = ad_param_new("p", AD_F64, ad_shape1(q.n), NULL);
    memcpy(q.p->data, q.p0, (size_t)q.n * sizeof *q.p0);
    return q;
}

static void problem_free(problem *q) {
    ad_tape_free(q->tape);
    ad_param_free(q->p);
    free(q->c);
    free(q->A);
    free(q->p0);
    npz_close(&q->z);
}

static ad_status evaluate(void *arg, double *loss, ad_error *e) {
    problem *q = arg;
    ad_tape_reset(q->tape);
    ad_var v = ad_use(q->tape, q->p), d = ad_sub(v, ad_constant(q->tape, ad_shape1(q->n), q->c));
    ad_var A = ad_constant(q->tape, ad_shape2(q->n, q->n), q->A);
    ad_var quadratic = ad_scale(ad_sum(ad_mul(d, ad_linear(A, d, AD_NONE))), 0.5);
    ad_var log_cosh = ad_sum(ad_offset(ad_sub(ad_softplus(ad_scale(v, 2)), v), -0.69314718055994530942));
    ad_var value = ad_keep(ad_add(quadratic, log_cosh));
    ad_status status = ad_backward(value);
    if (status != AD_OK) return ad_fail(e, status, "%s", ad_tape_message(q->tape));
    *loss = ad_value(value);
    return AD_OK;
}

static void methods_follow_the_reference_on_a_loss(void **state) {
    (void)state;
    problem q = problem_new();
    int64_t size;
    double loss;
    for (int r = 0; r < ROWS; r++) {
        double *want = npz_array(&q.z, rows[r].name, &size);
        memcpy(q.p->data, q.p0, (size_t)q.n * sizeof *q.p0);
        optim_optimizer *optimizer = optimizer_of(q.p, &rows[r].options);
        for (int64_t t = 0; t < 100; t++) {
            assert_status_ok(evaluate(&q, &loss, &error));
            assert_status_ok(optim_update(optimizer, ad_tape_engine(q.tape), rows[r].lr, NULL, &error));
            util_assert_all_close((double *)q.p->data, want + (t + 1) * q.n, q.n, 1e-10);
        }
        optim_free(optimizer);
        free(want);
    }
    problem_free(&q);
}

// ---- one step -----------------------------------------------------------------------------------------------------

static void fill_gradient(ad_param *p, uint64_t seed) {
    for (int64_t i = 0; i < p->count; i++) {
        double g = util_uniform(&seed, -1, 1);
        if (p->type == AD_F64) {
            ((double *)p->grad)[i] = g;
        } else {
            ((float *)p->grad)[i] = (float)g;
        }
    }
}

enum { N_PARAMS = 5 };
static const int64_t sizes[N_PARAMS] = {3, 50001, 1, 16384, 777};

static void make_params(ad_param **params) {
    for (int i = 0; i < N_PARAMS; i++) {
        params[i] = util_param("p", i == 3 ? AD_F64 : AD_F32, ad_shape1(sizes[i]), (uint64_t)i);
    }
}

static void free_params(ad_param **params) {
    for (int i = 0; i < N_PARAMS; i++) ad_param_free(params[i]);
}

// Several steps on several threads; the norms of the gradients go to norms.
static void take_steps(ad_param **params, int threads, double norms[3]) {
    const optim_options options = {.max_norm = 2, .weight_decay = 0.1};
    const ad_engine_options engine_options = {.threads = threads};
    ad_engine *engine = threads ? ad_engine_new(&engine_options, &error) : NULL;
    optim_optimizer *adam = optim_new(params, N_PARAMS, &options, &error);
    for (int t = 0; t < 3; t++) {
        optim_step step;
        for (int i = 0; i < N_PARAMS; i++) fill_gradient(params[i], (uint64_t)(100 * t + i));
        assert_status_ok(optim_update(adam, engine, 0.01, &step, &error));
        assert_true(step.clipped);
        norms[t] = step.grad_norm;
    }
    optim_free(adam);
    ad_engine_free(engine);
}

static void updates_give_the_same_bits_for_any_threads(void **state) {
    (void)state;
    ad_param *one[N_PARAMS], *other[N_PARAMS];
    double norms[3], other_norms[3];
    make_params(one);
    take_steps(one, 0, norms);
    for (int threads = 1; threads <= 4; threads++) {
        make_params(other);
        take_steps(other, threads, other_norms);
        assert_memory_equal(norms, other_norms, sizeof norms);
        for (int i = 0; i < N_PARAMS; i++) {
            assert_memory_equal(one[i]->data, other[i]->data, (size_t)sizes[i] * ad_type_size(one[i]->type));
        }
        free_params(other);
    }
    free_params(one);
}

static void clipping_scales_the_gradient_to_the_norm(void **state) {
    (void)state;
    const double g[2] = {3, -4};
    // After one step, m = (1 - beta1) g and the update is lr sign(g): clipping shows in the second.
    double x[2];
    for (int clip = 0; clip < 2; clip++) {
        ad_param *p = ad_param_new("p", AD_F64, ad_shape1(2), NULL);
        const optim_options options = {.max_norm = clip ? 1 : 0};
        optim_optimizer *adam = optim_new(&p, 1, &options, &error);
        optim_step step;
        memcpy(p->grad, g, sizeof g);
        assert_status_ok(optim_update(adam, NULL, 0.1, &step, &error));
        util_assert_close(step.grad_norm, 5, 1e-15);
        assert_true(step.clipped == (clip == 1));
        const double small[2] = {clip ? 0.06 : 0.3, clip ? -0.08 : -0.4};  // shorter than 1 both times
        memcpy(p->grad, small, sizeof small);
        assert_status_ok(optim_update(adam, NULL, 0.1, &step, &error));
        assert_false(step.clipped);
        x[clip] = ((double *)p->data)[0];
        optim_free(adam);
        ad_param_free(p);
    }
    util_assert_close(x[0], x[1], 1e-7);  // all gradients five times smaller: the same updates, but for eps
}

static void a_gradient_not_finite_is_refused(void **state) {
    (void)state;
    ad_param *params[2] = {util_param("good", AD_F32, ad_shape1(3), 1), util_param("bad", AD_F32, ad_shape2(2, 2), 2)};
    float before[4];
    memcpy(before, params[1]->data, sizeof before);
    optim_optimizer *adam = optim_new(params, 2, NULL, &error);
    optim_step step;
    for (int i = 0; i < 2; i++) {
        ((float *)params[1]->grad)[3] = i ? NAN : INFINITY;
        assert_int_equal(optim_update(adam, NULL, 0.1, &step, &error), AD_ENONFINITE);
        util_assert_contains(error.message, "'bad' [2,2] is not finite");
        assert_false(isfinite(step.grad_norm));
    }
    assert_memory_equal(before, params[1]->data, sizeof before);
    assert_int_equal(optim_steps(adam), 0);
    optim_free(adam);
    ad_param_free(params[0]);
    ad_param_free(params[1]);
}

static void frozen_parameters_stay(void **state) {
    (void)state;
    ad_param *params[2] = {util_param("a", AD_F32, ad_shape1(3), 1), util_param("b", AD_F32, ad_shape1(3), 2)};
    params[0]->frozen = true;
    fill_gradient(params[1], 1);
    ((float *)params[0]->grad)[0] = NAN;  // not even looked at
    float before[3];
    memcpy(before, params[0]->data, sizeof before);
    optim_optimizer *adam = optim_new(params, 2, NULL, &error);
    assert_status_ok(optim_update(adam, NULL, 0.1, NULL, &error));
    assert_memory_equal(before, params[0]->data, sizeof before);
    optim_free(adam);
    ad_param_free(params[0]);
    ad_param_free(params[1]);
}

static void values_are_cut_before_the_norm(void **state) {
    (void)state;
    const double g[2] = {30, -0.4};
    ad_param *p = ad_param_new("p", AD_F64, ad_shape1(2), NULL);
    optim_optimizer *sgd = optimizer_of(p, &(optim_options){.method = OPTIM_SGD, .max_value = 0.3, .max_norm = 0.25});
    optim_step step;
    memcpy(p->grad, g, sizeof g);
    assert_status_ok(optim_update(sgd, NULL, 1, &step, &error));
    util_assert_close(step.grad_norm, hypot(30, 0.4), 1e-15);
    assert_true(step.clipped);
    // Cut to {0.3, -0.3}, of norm 0.3 sqrt 2; then scaled to 0.25.
    util_assert_close(((double *)p->data)[0], -0.25 / sqrt(2), 1e-15);
    util_assert_close(((double *)p->data)[1], 0.25 / sqrt(2), 1e-15);
    ((double *)p->grad)[0] = INFINITY;  // is not cut
    assert_int_equal(optim_update(sgd, NULL, 1, &step, &error), AD_ENONFINITE);
    optim_free(sgd);
    ad_param_free(p);
}

static void groups_have_their_own_rate_and_decay(void **state) {
    (void)state;
    ad_param *params[3], *stranger = util_param("stranger", AD_F64, ad_shape1(1), 9);
    for (int i = 0; i < 3; i++) {
        params[i] = util_param("p", AD_F64, ad_shape1(1), 0);
        ((double *)params[i]->data)[0] = 2;
        ((double *)params[i]->grad)[0] = 1;
    }
    optim_optimizer *sgd = optim_new(params, 3, &(optim_options){.method = OPTIM_SGD, .weight_decay = 0.5}, &error);
    assert_status_ok(optim_group(sgd, &params[1], 1, 0.1, 0, &error));
    assert_status_ok(optim_group(sgd, &params[2], 1, 0, 0, &error));
    assert_int_equal(optim_group(sgd, &stranger, 1, 1, 0, &error), AD_EARG);
    util_assert_contains(error.message, "'stranger' of a group is not one of the optimizer's");
    assert_int_equal(optim_group(sgd, params, 1, -1, 0, &error), AD_EARG);
    assert_status_ok(optim_update(sgd, NULL, 0.25, NULL, &error));
    util_assert_close(((double *)params[0]->data)[0], 2 - 0.25 * (1 + 0.5 * 2), 1e-15);
    util_assert_close(((double *)params[1]->data)[0], 2 - 0.025, 1e-15);
    util_assert_close(((double *)params[2]->data)[0], 2, 0);
    optim_free(sgd);
    for (int i = 0; i < 3; i++) ad_param_free(params[i]);
    ad_param_free(stranger);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    const struct {
        optim_options o;
        const char *text;
    } bad[] = {{{.beta1 = 1}, "adam: beta1 1,"},
               {{.beta2 = 1.5}, "adam: beta1"},
               {{.eps = -1}, "eps -1"},
               {{.beta1 = NAN}, "adam: beta1"},
               {{.max_norm = -1}, "max_norm -1"},
               {{.max_value = NAN}, "max_value"},
               {{.weight_decay = INFINITY, .method = OPTIM_ADAMW}, "adamw: weight_decay inf"},
               {{.method = OPTIM_SGD, .momentum = 1}, "sgd: momentum 1"},
               {{.method = OPTIM_SGD, .nesterov = true}, "Nesterov's"},
               {{.method = (optim_method)17}, "method 17"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(optim_new(NULL, 0, &bad[i].o, &error));
        util_assert_contains(error.message, bad[i].text);
    }
    ad_param *p = util_param("p", AD_F32, ad_shape1(1), 1);
    optim_optimizer *optimizer = optimizer_of(p, NULL);
    assert_int_equal(optim_update(optimizer, NULL, NAN, NULL, &error), AD_EARG);
    optim_free(optimizer);
    ad_param_free(p);
}

// Kernels that this machine can run, against plain C.
static const optim_kernels *other_kernels(int i) {
    const optim_kernels *list[2] = {NULL, NULL};
#ifdef __x86_64__
    if (strcmp(ad_cpu_name(), "plain") != 0) list[0] = &optim_kernels_avx2;
    if (strcmp(ad_cpu_name(), "avx512") == 0) list[1] = &optim_kernels_avx512;
#endif
    return list[i];
}

static void kernels_agree_bit_for_bit(void **state) {
    (void)state;
    enum { N = 1003 };
    static float v[2][5][N];
    for (int r = 0; r < ROWS; r++) {
        optim_options o = rows[r].options;
        if (o.beta1 == 0) o.beta1 = 0.9, o.beta2 = 0.999, o.eps = 1e-8;
        for (int k = 0; k < 2 && other_kernels(k); k++) {
            const optim_kernels *kernels[2] = {&optim_kernels_plain, other_kernels(k)};
            optim_squares squares[2];
            for (int j = 0; j < 2; j++) {
                const optim_rule *rule = kernels[j]->rules[o.method];
                uint64_t seed = 3;
                for (int i = 0; i < 5 * N; i++) v[j][i / N][i % N] = (float)util_uniform(&seed, 1e-4, 1);
                void *kept[3] = {NULL, NULL, NULL};
                for (int s = 0; s < rule->slots(&o); s++) kept[s] = v[j][2 + s];
                optim_numbers numbers = {.limit = 0.9, .clip = 0.7, .l2 = 0.01, .shrink = 0.99, .lr = 0.1};
                rule->prepare(&o, 3, &numbers);
                squares[j] = kernels[j]->squares[AD_F32](N, v[j][0], 0.8);
                rule->update[AD_F32](N, &numbers, v[j][0], kept, v[j][1]);
            }
            assert_memory_equal(&squares[0], &squares[1], sizeof squares[0]);
            assert_memory_equal(v[0], v[1], sizeof v[0]);
        }
    }
}

// ---- L-BFGS -------------------------------------------------------------------------------------------------------

// The minimum to 1e-9 in few steps, every step lower than the last.
static void lbfgs_finds_the_minimum(void **state) {
    (void)state;
    problem q = problem_new();
    optim_lbfgs *l = optim_lbfgs_new(&q.p, 1, evaluate, &q, NULL, &error);
    optim_lbfgs_iteration now = {.loss = INFINITY};
    int steps = 0, evaluations = 0;
    for (; steps < 50 && !now.converged; steps++) {
        double before = now.loss;
        assert_status_ok(optim_lbfgs_update(l, &now, &error));
        assert_true(now.loss <= before);
        assert_false(now.stuck);
        evaluations += now.evaluations;
    }
    assert_true(now.converged && steps <= 20 && evaluations <= 30);
    double loss, largest = 0;
    assert_status_ok(evaluate(&q, &loss, &error));
    for (int64_t i = 0; i < q.n; i++) largest = fmax(largest, fabs(((double *)q.p->grad)[i]));
    assert_true(largest <= 1e-8);
    assert_true(loss == now.loss);  // the parameters are where the step says
    optim_lbfgs_free(l);
    problem_free(&q);
}

// Rosenbrock's valley in 2 parameters, one frozen beside them; from (-1.2, 1) to (1, 1).
typedef struct valley {
    ad_param *params[3];
    int calls;
    double wall;  // beyond it in x the loss is not finite
    ad_status fails;
} valley;

static ad_status rosenbrock(void *arg, double *loss, ad_error *e) {
    valley *v = arg;
    double x = ((double *)v->params[0]->data)[0], y = ((double *)v->params[1]->data)[0];
    v->calls++;
    if (v->fails && v->calls > 5) return ad_fail(e, v->fails, "no more");
    *loss = x > v->wall ? NAN : (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x);
    ((double *)v->params[0]->grad)[0] = -2 * (1 - x) - 400 * x * (y - x * x);
    ((double *)v->params[1]->grad)[0] = 200 * (y - x * x);
    return AD_OK;
}

static valley valley_new(void) {
    valley v = {.wall = INFINITY};
    const double start[3] = {-1.2, 1, 5};
    for (int i = 0; i < 3; i++) {
        v.params[i] = ad_param_new("v", AD_F64, ad_shape1(1), NULL);
        ad_param_set(v.params[i], 0, start[i]);
    }
    v.params[2]->frozen = true;
    return v;
}
static void valley_free(valley *v) {
    for (int i = 0; i < 3; i++) ad_param_free(v->params[i]);
}

static void lbfgs_walks_down_a_valley(void **state) {
    (void)state;
    const double walls[] = {INFINITY, 1.0001};
    for (int i = 0; i < 2; i++) {
        valley v = valley_new();
        v.wall = walls[i];
        optim_lbfgs *l = optim_lbfgs_new(v.params, 3, rosenbrock, &v, NULL, &error);
        optim_lbfgs_iteration now = {0};
        for (int steps = 0; steps < 100 && !now.converged && !now.stuck; steps++) {
            assert_status_ok(optim_lbfgs_update(l, &now, &error));
        }
        assert_true(now.converged);
        util_assert_close(ad_param_get(v.params[0], 0), 1, 1e-7);
        util_assert_close(ad_param_get(v.params[1], 0), 1, 1e-7);
        util_assert_close(ad_param_get(v.params[2], 0), 5, 0);
        assert_true(v.calls < 120);
        optim_lbfgs_free(l);
        valley_free(&v);
    }
}

static void lbfgs_leaves_parameters_where_a_failed_step_started(void **state) {
    (void)state;
    valley v = valley_new();
    v.fails = AD_ENOMEM;
    optim_lbfgs *l = optim_lbfgs_new(v.params, 3, rosenbrock, &v, NULL, &error);
    optim_lbfgs_iteration now;
    double x = NAN;
    ad_status status = AD_OK;
    while (status == AD_OK) {
        x = ad_param_get(v.params[0], 0);
        status = optim_lbfgs_update(l, &now, &error);
    }
    assert_int_equal(status, AD_ENOMEM);
    assert_string_equal(error.message, "no more");
    assert_true(ad_param_get(v.params[0], 0) == x);
    optim_lbfgs_free(l);
    v.wall = -100, v.fails = AD_OK;
    l = optim_lbfgs_new(v.params, 3, rosenbrock, &v, NULL, &error);
    assert_int_equal(optim_lbfgs_update(l, &now, &error), AD_ENONFINITE);
    util_assert_contains(error.message, "where the first step starts");
    optim_lbfgs_free(l);
    assert_null(optim_lbfgs_new(v.params, 3, rosenbrock, &v, &(optim_lbfgs_options){.decrease = 0.95}, &error));
    util_assert_contains(error.message, "0 < decrease < curvature < 1");
    assert_null(optim_lbfgs_new(v.params, 3, NULL, &v, NULL, &error));
    valley_free(&v);
}

// ---- averages and rates -------------------------------------------------------------------------------------------

static void averages_follow_their_formula(void **state) {
    (void)state;
    ad_param *params[2] = {util_param("a", AD_F32, ad_shape1(3), 1), util_param("b", AD_F64, ad_shape1(2), 2)};
    optim_average *average = optim_average_new(params, 2, 0.3, &error);
    double want = ad_param_get(params[1], 1);
    for (int t = 0; t < 6; t++) {
        for (int i = 0; i < 2; i++) ad_param_set(params[1], i, 10 * t + i);
        optim_average_update(average);
        double d = fmin(0.3, (1.0 + t) / (10.0 + t));
        want = d * want + (1 - d) * (10 * t + 1);
    }
    optim_average_swap(average);
    util_assert_close(ad_param_get(params[1], 1), want, 1e-14);
    optim_average_swap(average);
    assert_true(ad_param_get(params[1], 1) == 51);
    optim_average_free(average);
    assert_null(optim_average_new(params, 2, 1, &error));
    util_assert_contains(error.message, "decay 1 of 2 parameters");
    ad_param_free(params[0]);
    ad_param_free(params[1]);
}

static void plateaus_lower_the_rate(void **state) {
    (void)state;
    optim_plateau p = {.factor = 0.5, .patience = 2, .threshold = 0.1, .least = 0.2};
    const double losses[] = {-10, -10.9, -11.1, -11, NAN, -11, -12, -14, -14, -14, -14, -14, -14, -14};
    const double scales[] = {1, 1, 1, 1, 1, .5, .5, .5, .5, .5, .25, .25, .25, .2};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        util_assert_close(optim_plateau_update(&p, losses[i]), scales[i], 0);
    }
}

static void schedules_have_their_shape(void **state) {
    (void)state;
    util_assert_close(optim_schedule_factor(OPTIM_CONSTANT, 70, 100, 0, 0), 1, 0);
    util_assert_close(optim_schedule_factor(OPTIM_CONSTANT, 4, 100, 10, 0), 0.5, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 9, 110, 10, 0.2), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 10, 110, 10, 0.2), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 60, 110, 10, 0.2), 0.6, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 110, 110, 10, 0.2), 0.2, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_COSINE, 5, 5, 5, 0.2), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_LINEAR, 60, 110, 10, 0.2), 0.6, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_LINEAR, 110, 110, 10, 0.2), 0.2, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_EXPONENTIAL, 60, 110, 10, 0.04), 0.2, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_ONE_CYCLE, 0, 100, 0, 0.01), 0.04, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_ONE_CYCLE, 15, 100, 0, 0.01), 0.52, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_ONE_CYCLE, 30, 100, 0, 0.01), 1, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_ONE_CYCLE, 65, 100, 0, 0.01), 0.505, 1e-15);
    util_assert_close(optim_schedule_factor(OPTIM_ONE_CYCLE, 100, 100, 0, 0.01), 0.01, 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_follow_the_reference_on_given_gradients),
        cmocka_unit_test(methods_follow_the_reference_on_a_loss),
        cmocka_unit_test(updates_give_the_same_bits_for_any_threads),
        cmocka_unit_test(clipping_scales_the_gradient_to_the_norm),
        cmocka_unit_test(values_are_cut_before_the_norm),
        cmocka_unit_test(groups_have_their_own_rate_and_decay),
        cmocka_unit_test(a_gradient_not_finite_is_refused),
        cmocka_unit_test(frozen_parameters_stay),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(kernels_agree_bit_for_bit),
        cmocka_unit_test(lbfgs_finds_the_minimum),
        cmocka_unit_test(lbfgs_walks_down_a_valley),
        cmocka_unit_test(lbfgs_leaves_parameters_where_a_failed_step_started),
        cmocka_unit_test(averages_follow_their_formula),
        cmocka_unit_test(plateaus_lower_the_rate),
        cmocka_unit_test(schedules_have_their_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
