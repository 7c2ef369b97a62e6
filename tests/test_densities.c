// test_densities.c -- every density: mass and entropy by quadrature, ops against plain C, gradients, samples.
#include "data.h"
#include "util.h"

// Where a density of the plane is, all but a part of 1e-12 or so, and what quadrature of GRID x GRID points makes of
// it.
typedef struct plane {
    const char *name;
    double box[4];  // x0 from, to, x1 from, to
    double tolerance;
    double agree;  // of ops and plain C; 0: 1e-10
} plane;

static const plane planes[] = {
    {"moons", {-5, 5, -4, 4.4}, 1e-9, 1e-8},
    {"8gaussians", {-5.8, 5.8, -5.8, 5.8}, 1e-9, 0},
    {"checkerboard", {-6, 6, -6, 6}, 1e-12, 0},
    {"circles", {-5, 5, -5, 5}, 1e-9, 0},
    {"rings", {-3.8, 3.8, -3.8, 3.8}, 1e-9, 0},
    {"swissroll", {-5, 5, -5, 5}, 1e-9, 0},
    {"2spirals", {-4.5, 4.5, -4.5, 4.5}, 1e-8, 1e-8},
    {"pinwheel", {-7, 7, -7, 7}, 2e-6, 1e-9},      // far out its arms are too thin for the grid
    {"diamond", {-3.9, 3.9, -3.9, 3.9}, 1e-6, 0},  // cells of .8 deviations: its logarithm has ridges
    {"four_circles", {-4.3, 4.2, -4.1, 4}, 1e-9, 0},
    {"gaussian", {-8, 8, -4, 4}, 1e-9, 0},
    {"banana", {-7, 7, -4, 24}, 1e-9, 0},
    {"crescent_cubed", {-7, 7, -80, 80}, 1e-9, 0},
    {"sine", {-8, 8, -5, 5}, 1e-9, 0},
    {"abs", {-8, 8, -4, 9}, 1e-9, 0},
    {"sign", {-8, 8, -11, 11}, 1e-9, 0},
    {"double_well", {-6, 6, -8, 8}, 1e-9, 0},
    {"many_well_2", {-5, 5, -8, 8}, 1e-9, 0},
    {"U1", {-6, 6, -6, 6}, 1e-9, 0},
    {"U2", {-14, 14, -5, 5}, 1e-9, 0},
    {"U3", {-14, 14, -7, 5}, 1e-9, 0},
    {"U4", {-14, 14, -7, 5}, 1e-9, 0},
};
enum { PLANES = sizeof planes / sizeof *planes, GRID = 240, BINS = 12, SAMPLES = 20000 };

// log_prob of n points by ops, in f64.
static void log_probs(const data_density *density, const double *points, int64_t n, double *out) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    ad_source source = util_source(points, n);
    ad_var x = ad_input(util_rows(tape, "points", n), ad_shape1(density->dimension), &source);
    ad_var y = ad_keep(density->log_prob(x));
    util_run(tape);
    util_read(y, out, n);
    ad_tape_free(tape);
}

static void *room(int64_t doubles) {
    void *p = malloc((size_t)doubles * sizeof(double));
    assert_non_null(p);
    return p;
}

static double *grids[PLANES];  // kept, for they take long

static int free_grids(void **state) {
    (void)state;
    for (int i = 0; i < PLANES; i++) free(grids[i]);
    return 0;
}

// log_prob at the middles of the cells of a grid over the box. cell: their area.
static const double *grid_of(const plane *p, const data_density *density, double *cell) {
    double hx = (p->box[1] - p->box[0]) / GRID, hy = (p->box[3] - p->box[2]) / GRID;
    *cell = hx * hy;
    if (grids[p - planes] != NULL) return grids[p - planes];
    double *points = room(2 * GRID * GRID), *l = room(GRID * GRID);
    for (int i = 0; i < GRID * GRID; i++) {
        points[2 * i] = p->box[0] + (i / GRID + 0.5) * hx;
        points[2 * i + 1] = p->box[2] + (i % GRID + 0.5) * hy;
    }
    log_probs(density, points, GRID * GRID, l);
    free(points);
    return grids[p - planes] = l;
}

static const data_density *find(const plane *p) {
    const data_density *density = data_find_density(p->name);
    if (density == NULL) fail_msg("%s is not there", p->name);
    return density;
}

static void densities_integrate_to_their_constants(void **state) {
    (void)state;
    for (int i = 0; i < PLANES; i++) {
        const data_density *density = find(&planes[i]);
        double cell, mass = 0, entropy = 0;
        const double *l = grid_of(&planes[i], density, &cell);
        for (int k = 0; k < GRID * GRID; k++) {
            double p = exp(l[k] - density->log_normaliser) * cell;
            mass += p;
            if (p > 0) entropy -= p * (l[k] - density->log_normaliser);
        }
        if (getenv("TEST_PRINT"))
            print_message("%s: log mass %.15g entropy %.15g\n", planes[i].name, log(mass), entropy);
        if (getenv("TEST_PRINT")) continue;
        if (!util_close(mass, 1, planes[i].tolerance)) fail_msg("%s: mass %.15g", planes[i].name, mass);
        if (!util_close(entropy, density->entropy, planes[i].tolerance)) {
            fail_msg("%s: entropy %.15g", planes[i].name, entropy);
        }
    }
}

static void ops_are_the_plain_functions(void **state) {
    (void)state;
    enum { N = 300 };
    for (int i = 0; i < PLANES; i++) {
        const data_density *density = find(&planes[i]);
        double x[2 * N], y[N], tolerance = planes[i].agree > 0 ? planes[i].agree : 1e-10;
        uint64_t seed = 3;
        for (int k = 0; k < 2 * N; k++) {
            const double *range = planes[i].box + k % 2 * 2;
            x[k] = util_uniform(&seed, range[0], range[1]);
        }
        log_probs(density, x, N, y);
        for (int k = 0; k < N; k++) {
            double want = density->log_density(x + 2 * k);
            if (y[k] == want || util_close(y[k], want, tolerance)) continue;
            fail_msg("%s at %.17g, %.17g: %.17g, not %.17g", density->name, x[2 * k], x[2 * k + 1], y[k], want);
        }
    }
}

// Both the ops and the plain function of many wells are sums over their pairs; the funnel's are each other.
static void ops_are_the_plain_functions_in_more_dimensions(void **state) {
    (void)state;
    enum { N = 100 };
    const data_density *density, *pair = data_find_density("many_well_2");
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        if (density->dimension == 2) continue;
        double x[N * 32], y[N];
        util_fill(x, N * density->dimension, 11, -2, 2);
        log_probs(density, x, N, y);
        for (int k = 0; k < N; k++) {
            const double *at = x + k * density->dimension;
            util_assert_close(y[k], density->log_density(at), 1e-12);
            if (strcmp(density->name, "funnel") == 0) continue;
            double sum = 0;
            for (int j = 0; j < density->dimension; j += 2) sum += pair->log_density(at + j);
            util_assert_close(y[k], sum, 1e-12);
        }
    }
}

static ad_var recorded(void *arg, const ad_var *x) {
    return ((const data_density *)arg)->log_prob(x[0]);
}

static void gradients_are_right(void **state) {
    (void)state;
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        if (strcmp(density->name, "checkerboard") == 0) continue;  // constant or -inf: no differences to compare
        ad_gradcheck_input input = {.shape = ad_shape1(density->dimension), .rows = true, .low = -2.4, .high = 2.4};
        ad_gradcheck_options options = {.cases = 3};
        ad_error error;
        if (ad_gradcheck(recorded, (void *)(uintptr_t)density, &input, 1, &options, &error) == AD_OK) continue;
        fail_msg("%s: %s", density->name, error.message);
    }
}

// The mean of -log p over the density's own samples is its entropy, within 4 standard errors.
static void samples_have_the_entropy(void **state) {
    (void)state;
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        if (density->sample == NULL) continue;
        double *x = room(SAMPLES * density->dimension), *l = room(SAMPLES), mean = 0, square = 0;
        density->sample(SAMPLES, 5, 0, x);
        log_probs(density, x, SAMPLES, l);
        for (int k = 0; k < SAMPLES; k++) mean -= (l[k] - density->log_normaliser) / SAMPLES;
        for (int k = 0; k < SAMPLES; k++) square += pow(-(l[k] - density->log_normaliser) - mean, 2) / SAMPLES;
        free(x);
        free(l);
        double error = fmax(sqrt(square / SAMPLES), 1e-12);
        if (fabs(mean - density->entropy) > 4 * error) fail_msg("%s: mean %.9g +- %.2g", density->name, mean, error);
    }
}

// Pearson's chi-square over cells that expect 5 points or more, the rest in one, by its cube root (Wilson, Hilferty
// 1931): a standard normal number when samples are the density's.
static double chi_square(const double *expected, const double *counted, int n) {
    double sum = 0, rest[2] = {0, 0}, cells = 0;
    for (int i = 0; i < n; i++) {
        if (expected[i] < 5) {
            rest[0] += expected[i];
            rest[1] += counted[i];
            continue;
        }
        sum += pow(counted[i] - expected[i], 2) / expected[i];
        cells++;
    }
    // A rest that expects next to nothing must get next to nothing; as a cell it would spoil the approximation.
    if (rest[0] < 5 && rest[1] > rest[0] + 12) return INFINITY;
    if (rest[0] >= 5) sum += pow(rest[1] - rest[0], 2) / rest[0];
    double k = fmax(1, cells - (rest[0] >= 5 ? 0 : 1));
    return (cbrt(sum / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k));
}

static void samples_follow_the_density(void **state) {
    (void)state;
    for (int i = 0; i < PLANES; i++) {
        const data_density *density = find(&planes[i]);
        if (density->sample == NULL) continue;
        double cell, *x = room(2 * SAMPLES);
        const double *l = grid_of(&planes[i], density, &cell);
        double expected[BINS * BINS + 1] = {0}, counted[BINS * BINS + 1] = {0};
        for (int k = 0; k < GRID * GRID; k++) {
            int bin = k / GRID / (GRID / BINS) * BINS + k % GRID / (GRID / BINS);
            expected[bin] += SAMPLES * exp(l[k] - density->log_normaliser) * cell;
        }
        density->sample(SAMPLES, 7, 0, x);
        const double *box = planes[i].box;
        for (int k = 0; k < SAMPLES; k++) {
            double a = (x[2 * k] - box[0]) / (box[1] - box[0]), b = (x[2 * k + 1] - box[2]) / (box[3] - box[2]);
            bool inside = a >= 0 && a < 1 && b >= 0 && b < 1;
            counted[inside ? (int)(a * BINS) * BINS + (int)(b * BINS) : BINS * BINS]++;
        }
        free(x);
        double z = chi_square(expected, counted, BINS * BINS + 1);
        if (!(fabs(z) < 4)) fail_msg("%s: chi-square is %.3g deviations from its mean", density->name, z);
    }
}

static void points_depend_on_seed_and_number_alone(void **state) {
    (void)state;
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        if (density->sample == NULL) continue;
        int d = density->dimension;
        double all[10 * 32], some[2 * 32];
        size_t bytes = 2 * (size_t)d * sizeof *some;
        density->sample(10, 9, 100, all);
        density->sample(2, 9, 107, some);
        assert_memory_equal(all + 7 * d, some, bytes);
        density->sample(2, 10, 107, some);
        assert_memory_not_equal(all + 7 * d, some, bytes);
    }
}

// -inf, or some number: anywhere, in either type.
static void no_point_has_a_density_that_is_no_number(void **state) {
    (void)state;
    enum { N = 9 };
    const double far[N] = {0, 1e-30, -20, 45, 1e3, -1e5, 1e10, -1e25, 3e38};
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        double x[N * N * 32], y[N * N];
        for (int k = 0; k < N * N * density->dimension; k++) x[k] = 0.5;
        for (int k = 0; k < N * N; k++) {
            x[k * density->dimension] = far[k / N];
            x[k * density->dimension + 1] = far[k % N];
            double l = density->log_density(x + k * density->dimension);
            if (isnan(l)) fail_msg("%s at %g, %g", density->name, far[k / N], far[k % N]);
        }
        for (int type = 0; type < 2; type++) {
            ad_tape *tape = ad_tape_new(NULL, (ad_type)type);
            ad_source source = util_source(x, N * N);
            ad_var at = ad_input(util_rows(tape, "points", N * N), ad_shape1(density->dimension), &source);
            ad_var l = ad_keep(density->log_prob(at));
            util_run(tape);
            util_read(l, y, N * N);
            ad_tape_free(tape);
            for (int k = 0; k < N * N; k++) {
                if (isnan(y[k])) fail_msg("%s as ops, type %d, at %g, %g", density->name, type, far[k / N], far[k % N]);
            }
        }
    }
}

static void other_shapes_fail_on_the_tape(void **state) {
    (void)state;
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        ad_tape *tape = ad_tape_new(NULL, AD_F64);
        density->log_prob(ad_fill(tape, ad_shape1(density->dimension + 1), 0.5));
        assert_int_equal(ad_tape_status(tape), AD_ESHAPE);
        util_assert_contains(ad_tape_message(tape), density->name);
        ad_tape_free(tape);
    }
}

static void names_find_their_densities(void **state) {
    (void)state;
    const data_density *density;
    for (int i = 0; (density = data_density_number(i)) != NULL; i++) {
        assert_ptr_equal(data_find_density(density->name), density);
    }
    assert_null(data_density_number(-1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(densities_integrate_to_their_constants),
        cmocka_unit_test(ops_are_the_plain_functions),
        cmocka_unit_test(ops_are_the_plain_functions_in_more_dimensions),
        cmocka_unit_test(gradients_are_right),
        cmocka_unit_test(samples_have_the_entropy),
        cmocka_unit_test(samples_follow_the_density),
        cmocka_unit_test(points_depend_on_seed_and_number_alone),
        cmocka_unit_test(no_point_has_a_density_that_is_no_number),
        cmocka_unit_test(other_shapes_fail_on_the_tape),
        cmocka_unit_test(names_find_their_densities),
    };
    return cmocka_run_group_tests(tests, NULL, free_grids);
}
