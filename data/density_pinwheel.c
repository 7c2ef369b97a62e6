// density_pinwheel.c -- five arms that bend: Gaussians, each point of which is turned by an angle of its own.
//
// A point f = (1 + .3 n, .1 n') of arm k is turned by -t, t = 2 pi k / 5 + e^f0 / 4, and doubled. A turn keeps the
// radius, so where x came from is one root a for each arm: the angle a of f with a - e^(r cos a) / 4 = angle of x + 2
// pi k / 5, r = |x| / 2, and the density there is that of f over the Jacobian determinant 1 + f1 e^f0 / 4. Far out the
// arms fold over themselves: of several roots the one is taken that is reached from f1 = 0 without passing through a
// fold. What that leaves out has probability 4e-9.
#include <math.h>

#include "densities.h"

enum { ARMS = 5 };
static const double along = 0.3, across = 0.1, scale = 2, most = 20;  // beyond f0 = most arms are straight

static double turn(double f0) {
    return exp(fmin(f0, most)) / 4;
}

static void sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double f[2];
        data_normal_pair(&draw, 0, f);
        f[0] = 1 + along * f[0];
        f[1] *= across;
        double t = 2 * DATA_PI / ARMS * floor(ARMS * data_uniform(&draw, 2)) + turn(f[0]);
        x[0] = scale * (cos(t) * f[0] + sin(t) * f[1]);
        x[1] = scale * (cos(t) * f[1] - sin(t) * f[0]);
    }
}

// Where the angles a begin, up to 2 pi further: from there to 0 a - turn(r cos a) rises, for r e^r |a| < 4. Wherever
// beyond it falls again it stays above the value that it is to have.
static double start(double r) {
    return -fmin(DATA_PI, 3.9 * exp(-r) / fmax(r, 1e-300));
}

static double height(double r, double a) {
    return a - turn(r * cos(a));
}

// The angle of arm k at x = 2 r (cos angle, sin angle): bisection within which Newton's method is tried.
static double root(double r, double angle, int k) {
    double from = start(r), low = from, high = from + 2 * DATA_PI, a = (low + high) / 2;
    double target = angle + 2 * DATA_PI * k / ARMS, turns = floor((target - height(r, from)) / (2 * DATA_PI));
    double want = target - 2 * DATA_PI * turns;
    for (int i = 0; i < 100 && high - low > 1e-15; i++) {
        double h = height(r, a) - want, slope = 1 + (r * cos(a) < most ? r * sin(a) * turn(r * cos(a)) : 0);
        if (h == 0) break;
        *(h < 0 ? &low : &high) = a;
        double next = a - h / slope;
        if (fabs(next - a) < 1e-16 * fmax(1, fabs(a))) break;
        a = next > low && next < high && i % 3 != 2 ? next : (low + high) / 2;
    }
    return a;
}

static double log_gaussian(double f0, double f1) {
    double u = (f0 - 1) / along, v = f1 / across;
    return -(u * u + v * v) / 2 - log(2 * DATA_PI * along * across * scale * scale * ARMS);
}

static double log_density(const double *x) {
    double r = hypot(x[0], x[1]) / scale, sum = -INFINITY;
    for (int k = 0; k < ARMS; k++) {
        double a = root(r, atan2(x[1], x[0]), k), f0 = r * cos(a), f1 = r * sin(a);
        sum = data_log_add(sum, log_gaussian(f0, f1) - log1p(f0 < most ? f1 * turn(f0) : 0));
    }
    return sum;
}

// ---- as ops ---------------------------------------------------------------------------------------------------------

static ad_var turn_ops(ad_var f0) {
    return ad_scale(ad_exp(ad_minimum(f0, ad_number(f0.tape, most))), 0.25);
}

static ad_var height_ops(ad_var r, ad_var a) {
    return ad_sub(a, turn_ops(ad_mul(r, ad_cos(a))));
}

typedef struct sought {
    ad_var r, from, want;  // [], [], [ARMS]
} sought;

static ad_var missed(void *arg, ad_var beyond) {
    const sought *s = arg;
    return ad_sub(height_ops(s->r, ad_add(s->from, beyond)), s->want);
}

// The angles of all arms. Where they begin is no matter of gradients.
static ad_var roots(ad_var r, ad_var angle) {
    ad_tape *t = r.tape;
    double shift[ARMS];
    for (int k = 0; k < ARMS; k++) shift[k] = 2 * DATA_PI * k / ARMS;
    ad_var fixed = ad_stop_gradient(r), least = ad_number(t, 1e-30);
    ad_var reach = ad_div(ad_scale(ad_exp(ad_neg(fixed)), 3.9), ad_maximum(fixed, least));
    sought s = {.r = r, .from = ad_neg(ad_minimum(reach, ad_number(t, DATA_PI)))};
    ad_var target = ad_add(angle, ad_constant(t, ad_shape1(ARMS), shift));
    ad_var turns = ad_floor(ad_scale(ad_sub(target, height_ops(r, s.from)), 0.5 / DATA_PI));
    s.want = ad_sub(target, ad_scale(turns, 2 * DATA_PI));
    // Of a point that is not a number there is no root: it shall be NaN, as of other densities, and not fail the run.
    ad_solver_options options = {.high = 2 * DATA_PI, .allow_failure = true};
    return ad_add(s.from, ad_root(s.want, missed, &s, &options).value);
}

static ad_var log_prob(ad_var x) {
    data_expect(x, "pinwheel", 2);
    if (!ad_ok(x)) return x;
    // Below infinity, whose products with 0 are no numbers.
    ad_var r = ad_minimum(ad_scale(ad_norm(x), 1 / scale), ad_number(x.tape, 1e30));
    ad_var a = roots(r, ad_atan2(data_element(x, 1), data_element(x, 0)));
    ad_var f0 = ad_mul(r, ad_cos(a)), f1 = ad_mul(r, ad_sin(a)), far = ad_number(x.tape, most);
    ad_var slope = ad_where(ad_less(f0, far), turn_ops(f0), ad_number(x.tape, 0));
    ad_var u = ad_scale(ad_offset(f0, -1), 1 / along), v = ad_scale(f1, 1 / across);
    ad_var half = ad_scale(ad_add(ad_square(u), ad_square(v)), -0.5);
    ad_var sum = ad_logsumexp(ad_sub(half, ad_log1p(ad_mul(f1, slope))));
    return ad_offset(sum, log_gaussian(1, 0));
}

const data_density data_pinwheel = {.name = "pinwheel",
                                    .dimension = 2,
                                    .entropy = 2.31778822,
                                    .sample = sample,
                                    .log_density = log_density,
                                    .log_prob = log_prob};
