// test_bases.c -- base densities by laws over their registry, by reference values, in the tails, from files.
#include <jansson.h>

#include "files.h"
#include "flows.h"
#include "npz.h"

static ad_error error;

#define assert_made(p)                           \
    do {                                         \
        if (!(p)) fail_msg("%s", error.message); \
    } while (0)

static void assert_refused(void *made, ad_status status, const char *words) {
    if (made) fail_msg("not refused: %s", words);
    assert_int_equal(error.status, status);
    util_assert_contains(error.message, words);
}

// ---- a base on points -----------------------------------------------------------------------------------------------

enum { MOST = 8 };  // of features and context

static const double contexts[3][MOST] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0.3, -0.8, 0.5, 1}};

// log_prob of n rows of z under one context, shared by all.
static void log_prob(const flow_base *base, ad_type type, const double *z, int64_t n, const double *context,
                     double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    ad_source source = util_source(z, n);
    ad_var c = base->C ? ad_constant(tape, ad_shape1(base->C), context) : AD_NONE;
    ad_var v = ad_keep(flow_base_log_prob(base, ad_input(util_rows(tape, "z", n), base->shape, &source), c));
    util_run(tape);
    util_read(v, out, n);
    ad_tape_free(tape);
}

static void sample(const flow_base *base, ad_type type, int64_t first, int64_t n, const double *context, double *out) {
    ad_tape *tape = ad_tape_new(NULL, type);
    const ad_random random = {77, 3};
    ad_rows rows = ad_rows_new(tape, "z");
    ad_rows_set(rows, n, first);
    ad_var c = base->C ? ad_constant(tape, ad_shape1(base->C), context) : AD_NONE;
    ad_var v = ad_keep(flow_base_sample(base, rows, &random, 5, c));
    util_run(tape);
    util_read(v, out, n * base->shape.dim[0]);
    ad_tape_free(tape);
}

static int list_params(const flow_owner *owner, ad_param **params, int n) {
    for (int i = 0; i < owner->n_params; i++) params[n++] = owner->params[i];
    for (int i = 0; i < owner->n_parts; i++) n = list_params(owner->parts[i].owner, params, n);
    return n;
}

// Parameters moved off their start, so that no law is shown of standard densities only.
static void stir(flow_base *base, uint64_t seed) {
    ad_param *params[16];
    int n = list_params(&base->owner, params, 0);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k++) {
            ad_param_set(params[i], k, ad_param_get(params[i], k) + util_uniform(&seed, -0.4, 0.4));
        }
    }
}

typedef void (*law)(flow_base *base, int number, const double *context);

static void for_all(int count, law check) {
    for (const flow_base_type *const *type = flow_base_types(); *type; type++) {
        for (int i = 0; i < count; i++) {
            flow_base *base = (*type)->example(*type, i, &error);
            assert_made(base);
            assert_true(base->C <= 4 && base->shape.dim[0] <= MOST);
            stir(base, (uint64_t)i);
            check(base, i, contexts[i % 3]);
            flow_base_free(base);
        }
    }
}

// ---- laws: the density integrates to one, and samples follow it ----------------------------------------------------

// Whether elements lie to the right of low, without an end.
static bool half_line(const flow_base *base) {
    return base->low < base->high && !isfinite(base->high);
}

// A grid of n points a feature with weights: on the line, or a half of it, by z = sinh(w), whose trapezoids converge
// fast on smooth densities with tails; on a box its midpoints.
typedef struct grid {
    int n;
    double *z, *weight;
} grid;

static grid make_grid(const flow_base *base, int n) {
    const bool half = half_line(base);
    const double W = 11, from = half ? 0 : -W, h = (W - from) / (n - 1), low = half ? base->low : 0;
    grid g = {n, malloc((size_t)n * sizeof(double)), malloc((size_t)n * sizeof(double))};
    for (int i = 0; i < n; i++) {
        double w = from + h * i, side = half ? 0 : (base->high - base->low) / n;
        g.z[i] = side > 0 ? base->low + (i + 0.5) * side : low + sinh(w);
        g.weight[i] = side > 0 ? side : h * cosh(w) * (half && i == 0 ? 0.5 : 1);
    }
    return g;
}

// Masses of the cells of the grid, [n] or [n][n].
static double *masses(const flow_base *base, const grid *g, const double *context) {
    int64_t D = base->shape.dim[0], N = D == 1 ? g->n : (int64_t)g->n * g->n;
    double *points = malloc((size_t)(N * D) * sizeof *points), *mass = malloc((size_t)N * sizeof *mass);
    for (int64_t i = 0; i < N; i++) {
        for (int64_t d = 0; d < D; d++) points[i * D + d] = g->z[d == 0 ? i % g->n : i / g->n];
    }
    log_prob(base, AD_F64, points, N, context, mass);
    for (int64_t i = 0; i < N; i++) mass[i] = exp(mass[i]) * g->weight[i % g->n] * (D == 1 ? 1 : g->weight[i / g->n]);
    free(points);
    return mass;
}

static int cell_of(const flow_base *base, const grid *g, double z) {
    double at = half_line(base)          ? asinh(z - base->low) / 11 * (g->n - 1)
                : base->high > base->low ? (z - base->low) / (base->high - base->low) * g->n - 0.5
                                         : (asinh(z) + 11) / 22 * (g->n - 1);
    return (int)fmin(fmax(floor(at + 0.5), 0), g->n - 1);
}

// Pearson's statistic of counts in coarse cells, merged up to 10 expected, as a standard normal number (Wilson,
// Hilferty).
static double surprise(const double *expected, const double *seen, int cells) {
    double chi2 = 0, e = 0, s = 0;
    int k = 0;
    for (int i = 0; i < cells; i++) {
        e += expected[i];
        s += seen[i];
        if (e < 10) continue;
        chi2 += (s - e) * (s - e) / e;
        k++;
        e = s = 0;
    }
    double df = fmax(k - 1, 1), t = 2 / (9 * df);
    return (cbrt(chi2 / df) - (1 - t)) / sqrt(t);
}

enum { SAMPLES = UTIL_SANITIZED ? 20000 : 200000, COARSE = 50 };

// Cells of the grid go to COARSE cells a feature, by rank of marginal mass along it.
static void check_samples(const flow_base *base, const grid *g, const double *mass, const double *context, int number) {
    int64_t D = base->shape.dim[0], N = D == 1 ? g->n : (int64_t)g->n * g->n;
    double *marginal = calloc((size_t)g->n, sizeof *marginal), *z = malloc(SAMPLES * (size_t)D * sizeof *z), sum = 0;
    int *coarse = calloc((size_t)g->n, sizeof *coarse), parts = D == 1 ? COARSE : 12;
    double expected[COARSE * COARSE] = {0}, seen[COARSE * COARSE] = {0};
    for (int64_t i = 0; i < N; i++)
        marginal[i % g->n] += mass[i] / 2, marginal[i / g->n % g->n] += D == 1 ? 0 : mass[i] / 2;
    for (int i = 0; i < g->n; i++) {
        coarse[i] = (int)fmin(sum * parts * (D == 1 ? 2 : 1), parts - 1);
        sum += marginal[i];
    }
    for (int64_t i = 0; i < N; i++)
        expected[coarse[i % g->n] + (D == 1 ? 0 : parts * coarse[i / g->n])] += SAMPLES * mass[i];
    sample(base, AD_F64, 0, SAMPLES, context, z);
    for (int i = 0; i < SAMPLES; i++) {
        int cell = coarse[cell_of(base, g, z[i * D])];
        seen[cell + (D == 1 ? 0 : parts * coarse[cell_of(base, g, z[i * D + 1])])]++;
    }
    double s = surprise(expected, seen, D == 1 ? parts : parts * parts);
    if (!(s < 4.75))
        fail_msg("%s, example %d: samples do not follow the density, %g sigma", base->type->name, number, s);
    free(marginal);
    free(z);
    free(coarse);
}

static void check_density(flow_base *base, int number, const double *context) {
    int64_t D = base->shape.dim[0];
    if (D > 2) return;
    grid g = make_grid(base, D == 1 ? 20001 : 401);
    double *mass = masses(base, &g, context), sum = 0;
    for (int64_t i = 0; i < (D == 1 ? g.n : g.n * g.n); i++) sum += mass[i];
    // Trapezoids across a Laplace density's kink converge as the square of their width only.
    bool kink = strcmp(base->type->name, "laplace") == 0 || strcmp(base->type->name, "tempered") == 0;
    if (!(fabs(sum - 1) < (kink && D == 2 ? 3e-3 : 1e-6))) {
        fail_msg("%s, example %d: the density integrates to 1 %+g", base->type->name, number, sum - 1);
    }
    check_samples(base, &g, mass, context, number);
    free(mass);
    free(g.z);
    free(g.weight);
}

static void densities_integrate_to_one_and_samples_follow(void **state) {
    (void)state;
    for_all(12, check_density);
}

// ---- laws: gradients ------------------------------------------------------------------------------------------------

typedef struct function {
    flow_base *base;
    const double *context;
    const double *z;  // [N][D]; NULL: of samples
} function;

enum { N = 5 };

// The sum over rows of log_prob, or of weighted samples; with gradients in the parameters when backward.
static double evaluate(const function *f, bool backward) {
    static const double weight[MOST] = {0.7, -1.1, 0.4, 1.3, 0.9, -0.6, 0.2, 1};
    const ad_random random = {5, 0};
    int64_t D = f->base->shape.dim[0];
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_rows rows = util_rows(tape, "z", N);
    ad_source source = util_source(f->z, N);
    ad_var c = f->base->C ? ad_constant(tape, ad_shape1(f->base->C), f->context) : AD_NONE, s;
    if (f->z) {
        s = flow_base_log_prob(f->base, ad_input(rows, f->base->shape, &source), c);
    } else {
        ad_var v = flow_base_sample(f->base, rows, &random, 0, c);
        s = ad_sum(ad_mul(ad_add(v, ad_square(v)), ad_constant(tape, ad_shape1(D), weight)));
    }
    s = ad_sum_rows(s);
    if (backward && ad_backward(s) != AD_OK) fail_msg("%s: %s", f->base->type->name, ad_tape_message(tape));
    double value = ad_value(s);
    util_assert_ok(tape);
    ad_tape_free(tape);
    return value;
}

// A central difference over the move that a parameter in f32 really makes.
static double difference(const function *f, ad_param *p, int64_t k, double h) {
    double at = ad_param_get(p, k);
    ad_param_set(p, k, at + h);
    double right = ad_param_get(p, k), above = evaluate(f, false);
    ad_param_set(p, k, at - h);
    double left = ad_param_get(p, k), below = evaluate(f, false);
    ad_param_set(p, k, at);
    return (above - below) / (right - left);
}

static void check_param_gradients(const function *f, int number) {
    ad_param *params[16];
    int n = list_params(&f->base->owner, params, 0);
    if (n == 0) return;
    evaluate(f, true);
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < params[i]->count; k += 1 + params[i]->count / 8) {
            bool narrow = params[i]->type == AD_F32;
            double got = narrow ? (double)((float *)params[i]->grad)[k] : ((double *)params[i]->grad)[k];
            double want = (4 * difference(f, params[i], k, 5e-4) - difference(f, params[i], k, 1e-3)) / 3;
            if (fabs(got - want) <= 1e-6 * (1 + fabs(want))) continue;
            fail_msg("%s, example %d: the gradient of %s in %s[%d] is %.10g, by differences %.10g", f->base->type->name,
                     number, f->z ? "log_prob" : "samples", params[i]->name, (int)k, got, want);
        }
    }
}

static ad_var checked(void *arg, const ad_var *x) {
    const function *f = arg;
    int64_t C = f->base->C;
    return flow_base_log_prob(f->base, x[0], C ? x[1] : AD_NONE);
}

static void check_gradients(flow_base *base, int number, const double *context) {
    const double kinks[] = {0};
    const bool half = half_line(base);
    double z[N * MOST], low = base->low, high = half ? low + 2.3 : base->high;
    util_fill(z, N * MOST, (uint64_t)number + 9, high > low ? low : -2.1, high > low ? high : 2.3);
    function of_z = {base, context, z}, of_samples = {base, context, NULL};
    check_param_gradients(&of_z, number);
    check_param_gradients(&of_samples, number);
    if (high > low && !half) return;  // constant
    bool kink = strcmp(base->type->name, "laplace") == 0 || strcmp(base->type->name, "tempered") == 0;
    // A kink stands where learning put it: such points are checked far from it.
    ad_gradcheck_input inputs[] = {{base->shape, true, kink ? 4 : half ? low + 0.1 : -2, kink ? 6 : 2, kinks, 1},
                                   {ad_shape1(base->C), true, -1, 1, NULL, 0}};
    ad_gradcheck_options options = {.cases = 2, .seed = (uint64_t)number};
    if (ad_gradcheck(checked, &of_z, inputs, base->C ? 2 : 1, &options, &error) != AD_OK) {
        fail_msg("%s, example %d: %s", base->type->name, number, error.message);
    }
}

static void gradients_are_right(void **state) {
    (void)state;
    for_all(12, check_gradients);
}

// ---- laws: random numbers, contexts, files --------------------------------------------------------------------------

static void check_rows(flow_base *base, int number, const double *context) {
    int64_t D = base->shape.dim[0];
    double all[12 * MOST], some[5 * MOST];
    for (int type = 0; type < 2; type++) {
        sample(base, (ad_type)type, 100, 12, context, all);
        sample(base, (ad_type)type, 104, 5, context, some);
        if (memcmp(all + 4 * D, some, (size_t)(5 * D) * sizeof *some) != 0) {
            fail_msg("%s, example %d: a row's sample depends on its batch", base->type->name, number);
        }
    }
}

static void a_row_has_its_sample_in_any_batch(void **state) {
    (void)state;
    for_all(12, check_rows);
}

static void check_context(flow_base *base, int number, const double *context) {
    double z[MOST] = {0.5, 0.1, half_line(base) ? 0.7 : -0.7, 0.2}, zs[2][MOST], p[2];
    if (!base->C) return;
    const double other[MOST] = {context[0] - 1, 0.9, 2, -1};
    log_prob(base, AD_F64, z, 1, context, &p[0]);
    log_prob(base, AD_F64, z, 1, other, &p[1]);
    sample(base, AD_F64, 0, 1, context, zs[0]);
    sample(base, AD_F64, 0, 1, other, zs[1]);
    if (p[0] == p[1] || zs[0][0] == zs[1][0]) fail_msg("%s, example %d ignores its context", base->type->name, number);
}

static void contexts_are_used(void **state) {
    (void)state;
    for_all(12, check_context);
}

static void check_narrow(flow_base *base, int number, const double *context) {
    double z[20 * MOST], narrow[20], wide[20];
    bool box = base->high > base->low;
    util_fill(z, 20 * MOST, 3, box ? base->low : -6, half_line(base) ? base->low + 6 : box ? base->high : 6);
    log_prob(base, AD_F32, z, 20, context, narrow);
    log_prob(base, AD_F64, z, 20, context, wide);
    for (int i = 0; i < 20; i++) {
        if (util_close(narrow[i], wide[i], 3e-6)) continue;
        fail_msg("%s, example %d: %.9g in f32, %.9g in f64", base->type->name, number, narrow[i], wide[i]);
    }
}

static void f32_agrees_with_f64(void **state) {
    (void)state;
    for_all(12, check_narrow);
}

static void check_file(flow_base *base, int number, const double *context) {
    int64_t D = base->shape.dim[0];
    const flow_base_type *type = base->type;
    double z[3 * MOST], p[2][3], drawn[2][3 * MOST];
    util_fill(z, 3 * MOST, (uint64_t)number, 0, 0.4);
    log_prob(base, AD_F32, z, 3, context, p[0]);
    sample(base, AD_F32, 0, 3, context, drawn[0]);
    flow_base *copy = type->example(type, number, &error);  // the model frees its base, for_all the other
    stir(copy, (uint64_t)number);
    flow_model *model = flow_model_new(flow_permutation(D, NULL, &error), copy, &error);
    assert_made(model);
    if (flow_save(model, files_path("base.safetensors"), &error) != AD_OK) fail_msg("%s", error.message);
    flow_model *loaded = flow_load(files_path("base.safetensors"), NULL, &error);
    assert_made(loaded);
    log_prob(flow_model_base(loaded), AD_F32, z, 3, context, p[1]);
    sample(flow_model_base(loaded), AD_F32, 0, 3, context, drawn[1]);
    assert_memory_equal(p[0], p[1], sizeof p[0]);
    assert_memory_equal(drawn[0], drawn[1], (size_t)(3 * D) * sizeof(double));
    char *before = flow_describe(model), *after = flow_describe(loaded);
    assert_string_equal(before, after);
    free(before);
    free(after);
    flow_model_free(model);
    flow_model_free(loaded);
}

static void files_bring_them_back(void **state) {
    (void)state;
    for_all(12, check_file);
}

// Each member of a description replaced by nonsense is refused by name, and never made.
static void check_description(flow_base *base, int number, const double *context) {
    (void)context, (void)number;
    json_t *right = (json_t *)base->type->describe(base), *copy;
    const char *key;
    json_t *value;
    assert_non_null(right);
    json_object_foreach(right, key, value) {
        for (int kind = 0; kind < 3; kind++) {
            bool box = strcmp(key, "low") == 0 || strcmp(key, "high") == 0;
            if (kind == 1 && (strcmp(key, "df") == 0 || box)) continue;  // a number that may be what it is
            copy = json_deep_copy(right);
            json_t *bad = kind == 0 ? json_string("nonsense") : kind == 1 ? json_integer(-1) : NULL;
            if (bad ? json_object_set_new(copy, key, bad) : json_object_del(copy, key)) fail();
            flow_base *made = base->type->make(base->type, copy, NULL, &error);
            // A context of none needs no net.
            if (made && strcmp(key, "net") != 0) fail_msg("%s: \"%s\" of kind %d", base->type->name, key, kind);
            flow_base_free(made);
            json_decref(copy);
        }
    }
    json_decref(right);
}

static void bad_descriptions_are_refused(void **state) {
    (void)state;
    for_all(12, check_description);
}

static void descriptions_take_no_memory_they_are_not_worth(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"type\":\"full normal\",\"features\":8000,\"bound\":1,\"precision\":\"f32\"}",
        "{\"type\":\"pca normal\",\"features\":100000,\"rank\":100,\"bound\":1,\"precision\":\"f32\"}",
        "{\"type\":\"normal\",\"features\":100000,\"context\":0,\"place\":\"learned\",\"bound\":1,\"precision\":"
        "\"f32\"}",
        "{\"type\":\"normal\",\"features\":1000,\"context\":99,\"place\":\"classes\",\"bound\":1,\"precision\":"
        "\"f32\"}",
        "{\"type\":\"normal "
        "mixture\",\"features\":1000,\"context\":0,\"components\":10,\"bound\":1,\"precision\":\"f32\"}"};
    for (int i = 0; i < 5; i++) {
        int64_t elements = 1000;
        flow_making making = {.elements = &elements};
        json_t *json = json_loads(texts[i], 0, NULL);
        const char *name = json_string_value(json_object_get(json, "type"));
        for (const flow_base_type *const *type = flow_base_types(); *type; type++) {
            if (strcmp((*type)->name, name) != 0) continue;
            assert_refused((*type)->make(*type, json, &making, &error), AD_EFORMAT,
                           "far more parameters than the file");
        }
        json_decref(json);
    }
}

// ---- reference values ----------------------------------------------------------------------------------------------

typedef flow_base *(*constructor)(int64_t D, int64_t C, const flow_scaled_options *options, ad_error *error);

static void set_place(const flow_base *base, double location, double scale) {
    ad_param *values = base->owner.params[0];
    ad_param_set(values, 0, location);
    ad_param_set(values, 1, 10 * atanh(log(scale) / 10));
}

typedef struct family {
    npz file;
    int64_t n;
    double *x, *loc, *scale, *df, *want;
} family;

static family open_family(const char *name) {
    static const char *const fields[] = {"x", "loc", "scale", "logp", "df"};
    family f = {.file = npz_open("log_densities.npz")};
    double **arrays[] = {&f.x, &f.loc, &f.scale, &f.want, &f.df};
    for (int i = 0; i < (strcmp(name, "student_t") == 0 ? 5 : 4); i++) {
        char array[40];
        snprintf(array, sizeof array, "%s_%s", name, fields[i]);
        *arrays[i] = npz_array(&f.file, array, &f.n);
    }
    return f;
}

static void close_family(family *f) {
    double *arrays[] = {f->x, f->loc, f->scale, f->want, f->df};
    for (int i = 0; i < 5; i++) free(arrays[i]);
    npz_close(&f->file);
}

// Tails included: 1e5 scales away, and 1e160 where the density falls as a power.
static void compare(const char *name, constructor make) {
    family f = open_family(name);
    for (int64_t i = 0; i < f.n; i++) {
        flow_student_options o = {.df = f.df ? f.df[i] : 1, .scaled = {.type = AD_F64}};
        flow_base *base = make ? make(1, 0, &o.scaled, &error) : flow_base_student(1, 0, &o, &error);
        double got;
        assert_made(base);
        set_place(base, f.loc[i], f.scale[i]);
        log_prob(base, AD_F64, &f.x[i], 1, NULL, &got);
        util_assert_close_at(got, f.want[i], 2e-12, i, __FILE__, __LINE__);
        flow_base_free(base);
    }
    close_family(&f);
}

static void densities_have_the_reference_values(void **state) {
    (void)state;
    compare("normal", flow_base_normal);
    compare("logistic", flow_base_logistic);
    compare("laplace", flow_base_laplace);
    compare("gumbel", flow_base_gumbel);
    compare("student_t", NULL);
    compare("cauchy", NULL);
}

static void a_mixture_has_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("mixture_densities.npz");
    int64_t n, K;
    double *logits = npz_array(&file, "logits", &K), *loc = npz_array(&file, "loc", &K);
    double *log_scale = npz_array(&file, "log_scale", &K), *x = npz_array(&file, "x", &n), *want, got[32];
    want = npz_array(&file, "mn_logp", &n);
    flow_base *base = flow_base_mixture(1, 0, &(flow_mixture_options){.components = K, .type = AD_F64}, &error);
    assert_made(base);
    for (int64_t k = 0; k < K; k++) {
        ad_param_set(base->owner.params[0], 3 * k, logits[k]);
        ad_param_set(base->owner.params[0], 3 * k + 1, loc[k]);
        ad_param_set(base->owner.params[0], 3 * k + 2, 10 * atanh(log_scale[k] / 10));
    }
    log_prob(base, AD_F64, x, n, NULL, got);
    util_assert_all_close(got, want, n, 1e-12);
    double *arrays[] = {logits, loc, log_scale, x, want};
    for (int i = 0; i < 5; i++) free(arrays[i]);
    flow_base_free(base);
    npz_close(&file);
}

static void a_full_normal_has_the_reference_values(void **state) {
    (void)state;
    npz file = npz_open("mixture_densities.npz");
    int64_t n;
    double *mean = npz_array(&file, "mvn_mean", &n), *L = npz_array(&file, "mvn_L", &n);
    double *x = npz_array(&file, "mvn_x", &n), *want = npz_array(&file, "mvn_logp", &n), got[6];
    flow_base *base = flow_base_full(4, &(flow_full_options){.type = AD_F64}, &error);
    assert_made(base);
    for (int i = 0; i < 4; i++) ad_param_set(base->owner.params[0], i, mean[i]);
    for (int i = 0; i < 16; i++) ad_param_set(base->owner.params[1], i, i % 5 ? L[i] : 10 * atanh(log(L[i]) / 10));
    ad_param_set(base->owner.params[1], 3, 99);  // above the diagonal: not read
    log_prob(base, AD_F64, x, 6, NULL, got);
    util_assert_all_close(got, want, 6, 1e-10);
    double *arrays[] = {mean, L, x, want};
    for (int i = 0; i < 4; i++) free(arrays[i]);
    flow_base_free(base);
    npz_close(&file);
}

// ---- closed forms --------------------------------------------------------------------------------------------------

static const double half_log_2pi = 0.91893853320467274178;

static flow_base *rank_one(ad_type type, const double *w, double log_noise) {
    flow_base *base = flow_base_pca(3, 1, &(flow_pca_options){.type = type}, &error);
    assert_made(base);
    for (int i = 0; i < 3; i++) ad_param_set(base->owner.params[1], i, w[i]);
    ad_param_set(base->owner.params[2], 0, 10 * atanh(log_noise / 10));
    return base;
}

// log |S| = 2 (D - 1) log s + log(s^2 + |w|^2), by the determinant lemma; the quadratic form by Sherman and Morrison.
static void a_pca_normal_has_its_closed_form(void **state) {
    (void)state;
    const double w[3] = {1, -2, 0.5}, z[3] = {0.3, 1.2, -0.8}, s2 = exp(-1), ww = 5.25, wz = 0.3 - 2.4 - 0.4;
    const double quadratic = (0.09 + 1.44 + 0.64 - wz * wz / (s2 + ww)) / s2;
    double got;
    flow_base *base = rank_one(AD_F64, w, -0.5);
    log_prob(base, AD_F64, z, 1, NULL, &got);
    util_assert_close(got, -3 * half_log_2pi - 0.5 * (2 * log(s2) + log(s2 + ww)) - 0.5 * quadratic, 1e-13);
    flow_base_free(base);
}

// Far out along w with little noise the quadratic form is a small difference of large numbers, unless written
// otherwise.
static void a_pca_normal_keeps_its_digits_in_f32(void **state) {
    (void)state;
    const double w[3] = {1, 1, 1}, z[3] = {3, 3, 3};
    double got;
    flow_base *base = rank_one(AD_F32, w, -6);
    log_prob(base, AD_F32, z, 1, NULL, &got);
    util_assert_close(got, -3 * half_log_2pi + 12 - 0.5 * log(3 + exp(-12)) - 13.5 / (3 + exp(-12)), 2e-6);
    flow_base_free(base);
}

static void student_tails_fit_in_f32(void **state) {
    (void)state;
    const double z[2] = {1e30, -1e30};
    double narrow[2], wide[2];
    flow_base *base = flow_base_student(1, 0, &(flow_student_options){.df = 2.5}, &error);
    log_prob(base, AD_F32, z, 2, NULL, narrow);
    log_prob(base, AD_F64, z, 2, NULL, wide);
    assert_true(wide[0] < -200 && wide[0] == wide[1]);
    util_assert_all_close(narrow, wide, 2, 1e-6);
    flow_base_free(base);
}

static void many_degrees_of_freedom_are_a_normal(void **state) {
    (void)state;
    const double z[3] = {0, 1.5, -4};
    double got[3];
    flow_base *base = flow_base_student(1, 0, &(flow_student_options){.df = 1e6}, &error);
    log_prob(base, AD_F32, z, 3, NULL, got);
    for (int i = 0; i < 3; i++) util_assert_close(got[i], -0.5 * z[i] * z[i] - half_log_2pi, 1e-4);
    flow_base_free(base);
}

static void learned_degrees_start_where_told(void **state) {
    (void)state;
    static const double dfs[] = {2.25, 5, 80};
    for (int i = 0; i < 3; i++) {
        flow_student_options fixed = {.df = dfs[i], .scaled = {.type = AD_F64}}, learned = fixed;
        const double z = 2.5;
        double p[2];
        learned.learn_df = true;
        flow_base *bases[] = {flow_base_student(1, 0, &fixed, &error), flow_base_student(1, 0, &learned, &error)};
        for (int k = 0; k < 2; k++) log_prob(bases[k], AD_F64, &z, 1, NULL, &p[k]);
        util_assert_close(p[0], p[1], 1e-13);
        flow_base_free(bases[0]);
        flow_base_free(bases[1]);
    }
}

static void a_box_ends_at_its_edges(void **state) {
    (void)state;
    const double z[5] = {-1, 3, nextafter(-1, -2), nextafter(3, 4), (double)NAN};
    double got[5];
    flow_base *base = flow_base_uniform(1, -1, 3, &error);
    assert_made(base);
    log_prob(base, AD_F64, z, 5, NULL, got);
    for (int i = 0; i < 2; i++) util_assert_close(got[i], -log(4), 1e-15);
    for (int i = 2; i < 5; i++) assert_true(got[i] == -(double)INFINITY);
    flow_base_free(base);
}

// Covariance of 40,000 samples of three features against L L^T.
static void samples_of_a_full_normal_have_its_covariance(void **state) {
    (void)state;
    enum { ROWS = 40000 };
    flow_base *base = flow_base_full(3, &(flow_full_options){.type = AD_F64}, &error);
    static const double raw[9] = {0, 0, 0, 0.7, 0, 0, -0.5, 0.4, 0};
    for (int i = 0; i < 9; i++) ad_param_set(base->owner.params[1], i, raw[i]);
    double *z = malloc(ROWS * 3 * sizeof *z), L[9];
    sample(base, AD_F64, 0, ROWS, NULL, z);
    for (int i = 0; i < 9; i++) L[i] = i % 4 ? raw[i] : 1;
    for (int i = 0; i < 9; i++) {
        double sum = 0, want = 0;
        for (int r = 0; r < ROWS; r++) sum += z[r * 3 + i / 3] * z[r * 3 + i % 3];
        for (int k = 0; k < 3; k++) want += L[i / 3 * 3 + k] * L[i % 3 * 3 + k];
        assert_true(fabs(sum / ROWS - want) < 4.9 * 2.5 / sqrt(ROWS));  // variances of the products are below 6
    }
    free(z);
    flow_base_free(base);
}

// ---- temperature ---------------------------------------------------------------------------------------------------

// log p_T(z) - log p(z) / T^2 is one constant.
static void check_power(flow_base *base, double T) {
    const double z[8] = {0.1, 0.2, -1, 2, 0.5, -0.5, 3, 0.7};
    double p[4], q[4];
    log_prob(base, AD_F64, z, 4, NULL, p);
    flow_base *tempered = flow_temper(base, T, &error);
    assert_made(tempered);
    log_prob(tempered, AD_F64, z, 4, NULL, q);
    for (int i = 1; i < 4; i++) util_assert_close(q[i] - p[i] / (T * T), q[0] - p[0] / (T * T), 1e-12);
    flow_base_free(tempered);
}

static void tempered_densities_are_powers(void **state) {
    (void)state;
    static const constructor makers[] = {flow_base_normal, flow_base_laplace};
    for (int i = 0; i < 2; i++) {
        flow_base *base = makers[i](2, 0, &(flow_scaled_options){.type = AD_F64}, &error);
        stir(base, 4);
        check_power(base, 0.7);
    }
    flow_base *full = flow_base_full(2, &(flow_full_options){.type = AD_F64}, &error);
    flow_base *pca = flow_base_pca(2, 1, &(flow_pca_options){.type = AD_F64}, &error);
    stir(full, 4);
    stir(pca, 4);
    check_power(full, 1.3);
    check_power(pca, 0.5);
}

static void a_box_has_sides_of_its_own(void **state) {
    (void)state;
    enum { DRAWS = 400 };
    const double low[2] = {-1, 10}, high[2] = {3, 10.5};
    const double z[12] = {-1, 10, 3, 10.5, 0, 10.2, 3.01, 10.2, 0, 9.99, 0, (double)NAN};
    double p[6], draws[2 * DRAWS], most[2] = {-1e9, -1e9}, least[2] = {1e9, 1e9};
    flow_base *base = flow_base_box(2, low, high, &error);
    if (!base) fail_msg("%s", error.message);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(z, 6);
    ad_random random = {3, 0};
    ad_var log_prob =
        ad_keep(flow_base_log_prob(base, ad_input(util_rows(tape, "z", 6), ad_shape1(2), &source), AD_NONE));
    ad_var sample = ad_keep(flow_base_sample(base, util_rows(tape, "draws", DRAWS), &random, 0, AD_NONE));
    util_run(tape);
    util_read(log_prob, p, 6);
    util_read(sample, draws, 2 * DRAWS);
    for (int i = 0; i < 6; i++) util_assert_close(p[i], i < 3 ? -log(4) - log(0.5) : -(double)INFINITY, 1e-15);
    for (int i = 0; i < 2 * DRAWS; i++) {
        most[i % 2] = fmax(most[i % 2], draws[i]);
        least[i % 2] = fmin(least[i % 2], draws[i]);
    }
    for (int d = 0; d < 2; d++) {  // near the ends, which a sample misses by a fiftieth of the side once in 3,000 times
        assert_true(least[d] >= low[d] && least[d] < low[d] + (high[d] - low[d]) / 50);
        assert_true(most[d] <= high[d] && most[d] > high[d] - (high[d] - low[d]) / 50);
    }
    ad_tape_free(tape);
    flow_base_free(base);
}

// So narrow that its ends are one number in f32.
static void a_narrow_box_has_a_density_in_f32(void **state) {
    (void)state;
    const double low = 1000, high = 1000 + 0x1p-17, z = 1000;
    double p;
    flow_base *base = flow_base_box(1, &low, &high, &error);
    if (!base) fail_msg("%s", error.message);
    log_prob(base, AD_F32, &z, 1, NULL, &p);
    util_assert_close(p, 17 * log(2), 1e-6);
    flow_base_free(base);
}

static void a_uniform_power_is_uniform(void **state) {
    (void)state;
    flow_base *base = flow_temper(flow_base_uniform(1, 0, 2, &error), 0.3, &error);
    const double z = 1.9;
    double p;
    log_prob(base, AD_F64, &z, 1, NULL, &p);
    util_assert_close(p, -log(2), 1e-15);
    flow_base_free(base);
}

static flow_model *model_of(flow_base *base) {
    flow_model *model = flow_model_new(flow_permutation(2, NULL, &error), base, &error);
    assert_made(model);
    return model;
}

// Noise times T, through the model's layers.
static void samples_at_a_temperature(void **state) {
    (void)state;
    flow_base *base = flow_base_normal(2, 0, &(flow_scaled_options){.type = AD_F64}, &error);
    ad_param_set(base->owner.params[0], 0, 5);
    flow_model *model = model_of(base);
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    const ad_random random = {3, 1};
    ad_rows rows = util_rows(tape, "z", 4);
    ad_var x = ad_keep(flow_sample(model, rows, &random, 0, AD_NONE));
    ad_var cold = ad_keep(flow_sample_tempered(model, 0.25, rows, &random, 0, AD_NONE));
    double v[8], w[8];
    util_run(tape);
    util_read(x, v, 8);
    util_read(cold, w, 8);
    for (int i = 0; i < 8; i++) util_assert_close(w[i], (i % 2 ? 5 : 0) + 0.25 * (v[i] - (i % 2 ? 5 : 0)), 1e-14);
    ad_tape_reset(tape);
    flow_sample_tempered(model, 0, util_rows(tape, "z", 4), &random, 0, AD_NONE);
    assert_int_equal(ad_tape_status(tape), AD_EARG);
    util_assert_contains(ad_tape_message(tape), "temperature 0; expected 1e-6 to 1e6");
    ad_tape_free(tape);
    flow_model_free(model);
}

// ---- bad input -----------------------------------------------------------------------------------------------------

static void bad_options_are_refused(void **state) {
    (void)state;
    flow_scaled_options bound = {.bound = -1}, fixed = {.fixed = true}, classes = {.classes = true};
    flow_scaled_options net = {.net = flow_mlp(2, 5, NULL, &error)}, both = {.classes = true},
                        type = {.type = (ad_type)7};
    both.net = flow_mlp(2, 4, NULL, &error);
    assert_refused(flow_base_normal(0, 0, NULL, &error), AD_EARG, "normal: 0 features");
    assert_refused(flow_base_normal(2, -1, NULL, &error), AD_EARG, "-1 of context");
    assert_refused(flow_base_normal(2, 0, &bound, &error), AD_EARG, "normal: bound -1");
    bound.bound = 1e-300;  // its reciprocal is no number in f32
    assert_refused(flow_base_normal(2, 0, &bound, &error), AD_EARG, "normal: bound 1e-300");
    assert_refused(flow_base_laplace(2, 1, &fixed, &error), AD_EARG, "laplace: fixed, so it takes no context");
    assert_refused(flow_base_logistic(2, 0, &classes, &error), AD_EARG, "logistic: classes without a context");
    assert_refused(flow_base_normal(2, 2, &net, &error), AD_ESHAPE, "the net is [2] -> [5], expected [2] -> [4]");
    assert_refused(flow_base_normal(2, 2, &both, &error), AD_EARG, "both classes and a net");
    assert_refused(flow_base_gumbel(2, 0, &type, &error), AD_EARG, "gumbel: element type 7");
    flow_student_options few = {.df = 0.1}, learned = {.df = 2, .learn_df = true};
    assert_refused(flow_base_student(2, 0, &few, &error), AD_EARG, "student: 0.1 degrees of freedom; expected 0.5");
    assert_refused(flow_base_student(2, 0, &learned, &error), AD_EARG, "to learn: above 2");
    assert_refused(flow_base_full(9000, NULL, &error), AD_EARG, "full normal: 9000 features");
    assert_refused(flow_base_pca(3, 4, NULL, &error), AD_EARG, "pca normal: rank 4");
    flow_mixture_options none = {.components = -2}, narrow = {.components = 2, .net = flow_mlp(1, 9, NULL, &error)};
    assert_refused(flow_base_mixture(3, 0, &none, &error), AD_EARG, "normal mixture: -2 components");
    assert_refused(flow_base_mixture(3, 1, &narrow, &error), AD_ESHAPE, "the net is [1] -> [9], expected [1] -> [14]");
    assert_refused(flow_base_uniform(3, 1, 1, &error), AD_EARG, "uniform: from 1 to 1");
    const double ends[2] = {0.5, 1};
    assert_refused(flow_base_box(2, ends, NULL, &error), AD_EARG, "box: feature 1 from 1 to 1");
    assert_refused(flow_base_box(2, NULL, (const double[]){(double)INFINITY, 1}, &error), AD_EARG,
                   "feature 0 from 0 to inf");
    assert_refused(flow_base_uniform(3, 0, (double)INFINITY, &error), AD_EARG, "uniform: from 0 to inf");
}

static void bad_temperatures_are_refused(void **state) {
    (void)state;
    assert_refused(flow_temper(flow_standard_normal(2, &error), -1, &error), AD_EARG, "temperature -1");
    assert_refused(flow_temper(flow_base_student(2, 0, NULL, &error), 2, &error), AD_EARG,
                   "a power of the base density 'student' is no scaled copy of it");
    flow_base *once = flow_temper(flow_standard_normal(2, &error), 2, &error);
    assert_refused(flow_temper(once, 2, &error), AD_EARG, "tempered already");
    error = (ad_error){AD_EARG, "the first"};
    assert_refused(flow_temper(NULL, 2, &error), AD_EARG, "the first");
}

static void wrong_shapes_are_reported(void **state) {
    (void)state;
    flow_base *base = flow_base_normal(2, 3, NULL, &error);
    ad_tape *tape = ad_tape_new(NULL, AD_F32);
    ad_rows rows = util_rows(tape, "z", 1);
    const ad_random random = {1, 1};
    flow_base_log_prob(base, ad_normal(rows, ad_shape1(2), &random, 0), AD_NONE);
    assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(tape), "needs a context of [3], given none");
    ad_tape_reset(tape);
    rows = util_rows(tape, "z", 1);
    flow_base_log_prob(base, ad_normal(rows, ad_shape1(3), &random, 0), AD_NONE);
    util_assert_contains(ad_tape_message(tape), "rows of [3]");
    ad_tape_reset(tape);
    flow_base_sample(base, util_rows(tape, "z", 1), &random, 0, AD_NONE);
    assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
    util_assert_contains(ad_tape_message(tape), "needs a context of [3], given none");
    ad_tape_free(tape);
    flow_base_free(base);
}

// ---- types of users' own -------------------------------------------------------------------------------------------

static ad_var own_log_prob(const flow_base *base, ad_var z, ad_var context) {
    (void)base, (void)context;
    return ad_neg(z);
}
static ad_var own_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream,
                         ad_var context) {
    (void)context;
    return ad_exponential(rows, base->shape, random, stream);
}
static struct json_t *own_describe(const flow_base *base) {
    (void)base;
    return json_object();
}
static flow_base *own_make(const flow_base_type *type, const struct json_t *options, const flow_making *making,
                           ad_error *e) {
    (void)options, (void)making;
    return flow_base_new(type, sizeof(flow_base), 2, 0, e);
}
static const flow_base_type own_type = {
    .name = "own", .log_prob = own_log_prob, .sample = own_sample, .describe = own_describe, .make = own_make};

static void own_bases_are_loaded_by_name(void **state) {
    (void)state;
    flow_model *model = model_of(own_make(&own_type, NULL, NULL, &error));
    if (flow_save(model, files_path("own.safetensors"), &error) != AD_OK) fail_msg("%s", error.message);
    assert_refused(flow_load(files_path("own.safetensors"), NULL, &error), AD_EFORMAT, "unknown base density 'own'");
    const flow_base_type *const bases[] = {&own_type, NULL};
    flow_model *loaded = flow_load(files_path("own.safetensors"), &(flow_load_options){.bases = bases}, &error);
    assert_made(loaded);
    assert_ptr_equal(flow_model_base(loaded)->type, &own_type);
    flow_model_free(model);
    flow_model_free(loaded);
}

static ad_var twice(const flow_net *net, ad_var x) {
    (void)net;
    return ad_scale(x, 2);
}
static struct json_t *net_describe(const flow_net *net) {
    (void)net;
    return json_object();
}
static const flow_net_type net_type;
static flow_net *net_make(const struct json_t *options, const flow_making *making, ad_error *e) {
    (void)options, (void)making, (void)e;
    flow_net *net = calloc(1, sizeof *net);
    *net = (flow_net){.type = &net_type, .in = 4, .out = 4};
    return net;
}
static const flow_net_type net_type = {.name = "twice", .apply = twice, .describe = net_describe, .make = net_make};

static void own_nets_are_loaded_by_name(void **state) {
    (void)state;
    flow_scaled_options o = {.net = net_make(NULL, NULL, NULL)};
    flow_model *model = model_of(flow_base_normal(2, 4, &o, &error));
    if (flow_save(model, files_path("net.safetensors"), &error) != AD_OK) fail_msg("%s", error.message);
    assert_refused(flow_load(files_path("net.safetensors"), NULL, &error), AD_EFORMAT, "unknown net 'twice'");
    const flow_net_type *const nets[] = {&net_type, NULL};
    flow_model *loaded = flow_load(files_path("net.safetensors"), &(flow_load_options){.nets = nets}, &error);
    assert_made(loaded);
    const double z[2] = {1, 2}, c[4] = {0.5, 1, 0, 0};  // at the mean
    double p;
    log_prob(flow_model_base(loaded), AD_F64, z, 1, c, &p);
    util_assert_close(p, -2 * half_log_2pi, 1e-15);
    flow_model_free(model);
    flow_model_free(loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(densities_integrate_to_one_and_samples_follow),
        cmocka_unit_test(gradients_are_right),
        cmocka_unit_test(a_row_has_its_sample_in_any_batch),
        cmocka_unit_test(contexts_are_used),
        cmocka_unit_test(f32_agrees_with_f64),
        cmocka_unit_test_teardown(files_bring_them_back, files_empty),
        cmocka_unit_test(bad_descriptions_are_refused),
        cmocka_unit_test(descriptions_take_no_memory_they_are_not_worth),
        cmocka_unit_test(densities_have_the_reference_values),
        cmocka_unit_test(a_mixture_has_the_reference_values),
        cmocka_unit_test(a_full_normal_has_the_reference_values),
        cmocka_unit_test(a_pca_normal_has_its_closed_form),
        cmocka_unit_test(a_pca_normal_keeps_its_digits_in_f32),
        cmocka_unit_test(student_tails_fit_in_f32),
        cmocka_unit_test(many_degrees_of_freedom_are_a_normal),
        cmocka_unit_test(learned_degrees_start_where_told),
        cmocka_unit_test(a_box_ends_at_its_edges),
        cmocka_unit_test(samples_of_a_full_normal_have_its_covariance),
        cmocka_unit_test(tempered_densities_are_powers),
        cmocka_unit_test(a_box_has_sides_of_its_own),
        cmocka_unit_test(a_narrow_box_has_a_density_in_f32),
        cmocka_unit_test(a_uniform_power_is_uniform),
        cmocka_unit_test(samples_at_a_temperature),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(bad_temperatures_are_refused),
        cmocka_unit_test(wrong_shapes_are_reported),
        cmocka_unit_test_teardown(own_bases_are_loaded_by_name, files_empty),
        cmocka_unit_test_teardown(own_nets_are_loaded_by_name, files_empty),
    };
    return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
