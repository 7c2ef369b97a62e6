// special_exact.h -- special functions in long double: series, recurrences and Newton steps.
//
// Of glibc they use the elementary functions, erfl and erfcl. Those and lgammal were measured against quadruple
// precision: errors below 8 units of the last place of a long double, at negative arguments too.
#ifndef PULLBACK_TESTS_SPECIAL_EXACT_H
#define PULLBACK_TESTS_SPECIAL_EXACT_H

#include "reference.h"

static const real density_0 = 0.398942280401432677939946059934L, real_pi = 3.14159265358979323846264338328L;

// ---- the normal distribution ---------------------------------------------------------------------------------------

static inline real reference_density(real x) { return density_0 * expl(-x * x / 2); }

// Phi(-x) = erfc(x / sqrt 2) / 2; what the quotient loses to rounding is put back, it would count for 2 x^2.
static inline real reference_tail(real x) {
    const real high = 0.707106781186547524381894L, low = 1.895032558893257079655e-20L;  // sqrt(1/2)
    real t = x * high, lost = fmal(x, high, -t) + x * low;
    return erfcl(t) / 2 - (isfinite(t) ? lost * expl(-t * t) / sqrtl(real_pi) : 0);
}

// density / Phi(-a) - a for a >= 0: a continued fraction (Laplace 1805), from 3 on; a below is not lost in rounding.
static inline real reference_excess(real a) {
    if (isinf(a)) return 0;
    if (a < 3) return reference_density(a) / reference_tail(a) - a;
    real f = a;
    for (int k = 100; k > 1; k--) f = a + k / f;
    return 1 / f;
}

static inline real reference_log_cdf(real x) {
    if (x > -3) return x < 0 ? logl(reference_tail(-x)) : log1pl(-reference_tail(x));
    return -x * x / 2 + logl(density_0 / (reference_excess(-x) - x));
}

static inline real reference_hazard(real x) {
    return x < 0 ? reference_excess(-x) - x : reference_density(x) / (1 - reference_tail(x));
}

static inline real reference_hazard_excess(real x) {
    return x < 0 ? reference_excess(-x) : x + reference_density(x) / (1 - reference_tail(x));
}

// x > 0 with Phi(-x) = m, m <= 1/2, by Newton's method on log Phi, which is concave, from the left.
static inline real reference_upper(real m) {
    real x = 0;
    if (m <= 0) return m < 0 ? NAN : INFINITY;
    for (int i = 0; i < 100; i++) {
        real tail = reference_tail(x), step = logl(tail / m) * tail / reference_density(x);
        if (x > 3) {  // by the excess: the tail itself may be too small for long double's steps
            real slope = reference_excess(x) + x;
            step = (-x * x / 2 + logl(density_0 / slope) - logl(m)) / slope;
        }
        x += step;
        if (fabsl(step) <= 1e-19L * x) break;
    }
    return x;
}

// x with Phi(x) = 1/2 + q, m = 1/2 - |q|: in the middle by Newton's method on erf.
static inline real reference_quantile(real q, real m) {
    if (isnan(q)) return q;
    if (fabsl(q) > 0.4L) return q < 0 ? -reference_upper(m) : reference_upper(m);
    real x = q / density_0;
    for (int i = 0; i < 20; i++) x -= (erfl(x * sqrtl(0.5L)) / 2 - q) / reference_density(x);
    return x;
}

// ---- gamma ---------------------------------------------------------------------------------------------------------

// Taylor series around the root, of the k-th derivatives divided by k!.
static inline real digamma_near_root(real from_root) {
    static const real c[] = {
        0.9676722454476211704274L,     -0.4427631689835921060929L,    0.2584997609556510106244L,
        -0.1639427054424065275043L,    0.1078240506912623657572L,     -0.07219956125645471092612L,
        0.04880428816414310722509L,    -0.03316112647484735929226L,   0.02259764823221810465962L,
        -0.0154247659049489591388L,    0.01053879161661217538812L,    -0.00720453438635686824097L,
        0.004926781395729853446354L,   -0.003369801655439328082793L,  0.002305126326734927836938L,
        -0.001576936771430197259271L,  0.001078825201916296580692L,   -0.000738070938996005129566L,
        0.0005049532658346020351774L,  -0.0003454680251063076995556L, 0.0002363560156402705279237L,
        -0.0001617062209197480344936L, 0.0001106337276874741090409L,  -0.00007569179582195065919238L,
        0.00005178575795222080868993L, -0.0000354300709476596063157L};
    real y = 0;
    for (int k = sizeof c / sizeof *c - 1; k >= 0; k--) y = y * from_root + c[k];
    return y * from_root;
}

static const real bernoulli[] = {1,        1.0L / 6,      -1.0L / 30, 1.0L / 42,      -1.0L / 30,         5.0L / 66,
                                 -691.0L / 2730, 7.0L / 6, -3617.0L / 510, 43867.0L / 798, -174611.0L / 330};

static inline real reference_digamma(real x) {
    if (x < 0) {
        real from_pole = x - roundl(x);
        if (isinf(x) || from_pole == 0) return NAN;
        return reference_digamma(1 - x) - real_pi / tanl(real_pi * from_pole);
    }
    real from_root = x - 1.4616321449683623411725L - 9.01631209325869591861443e-20L, sum = 0;
    if (fabsl(from_root) < 0.25L) return digamma_near_root(from_root);
    if (isinf(x)) return x;
    for (; x < 30; x += 1) sum += 1 / x;
    real r2 = 1 / (x * x), series = 0;
    for (int k = 10; k > 0; k--) series = (series + bernoulli[k] / (2 * k)) * r2;
    return logl(x) - 1 / (2 * x) - series - sum;
}

// The sum over k >= 0 of n! / (z + k)^(n + 1) for z >= 40: 10 terms of the asymptotic series.
static inline real reference_polygamma_tail(real z, int n, real factorial) {
    real ratio = 1, series = 0;
    for (int k = 0; k <= 10; k++) {
        series += bernoulli[k] * ratio / powl(z, 2 * k);
        ratio *= (2.0L * k + n) * (2.0L * k + n + 1) / ((2.0L * k + 1) * (2.0L * k + 2));
    }
    return factorial / n / powl(z, n) * (series + n / (2 * z));
}

// The sum over k >= 0 of n! / (x + k)^(n + 1): one by one between -40 and 40; what lies above, and what lies below,
// where it is the difference of two such, by their tails.
static inline real reference_polygamma(real x, int n) {
    real factorial = 1, sum = 0, z = x;
    if (isnan(x) || x == -INFINITY) return NAN;
    if (x < -0x1p60L) return n % 2 ? INFINITY : NAN;
    for (int i = 2; i <= n; i++) factorial *= i;
    if (x < -40) {
        real below = floorl(-x - 40) + 1, first = 1 - x - below;
        sum = reference_polygamma_tail(first, n, factorial) - reference_polygamma_tail(1 - x, n, factorial);
        if (n % 2 == 0) sum = -sum;
        z = x + below;
    }
    if (z <= 0 && z == roundl(z) && x != 0) return n % 2 ? INFINITY : NAN;
    for (; z < 40; z += 1) sum += factorial / powl(z, n + 1);
    sum += reference_polygamma_tail(z, n, factorial);
    return n % 2 ? sum : -sum;
}

static inline real sigmoid_of(real x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }

#endif
