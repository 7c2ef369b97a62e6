// density_bands.c -- bands of the plane: x1 normal, and x2 normal about a function of x1 (Durkan et al. 2019).
#include <math.h>

#include "densities.h"

typedef struct band {
    const char *name;
    double s;  // deviation of x2 about its mean
    double (*mean)(double x);
    ad_var (*mean_ops)(ad_var x);
} band;

static void sample(const band *b, int64_t n, uint64_t seed, int64_t first, double *x) {
    for (; n > 0; n--, first++, x += 2) {
        data_draw draw = {seed, (uint64_t)first};
        data_normal_pair(&draw, 0, x);
        x[1] = b->mean(x[0]) + b->s * x[1];
    }
}

static double log_density(const band *b, const double *x) {
    double v = (x[1] - b->mean(x[0])) / b->s;
    return -(x[0] * x[0] + v * v) / 2 - log(2 * DATA_PI * b->s);
}

static ad_var log_prob(const band *b, ad_var x) {
    data_expect(x, b->name, 2);
    ad_var x1 = data_element(x, 0), v = ad_scale(ad_sub(data_element(x, 1), b->mean_ops(x1)), 1 / b->s);
    return ad_offset(ad_scale(ad_add(ad_square(x1), ad_square(v)), -0.5), -log(2 * DATA_PI * b->s));
}

// ---- means ---------------------------------------------------------------------------------------------------------

static double flat(double x) {
    (void)x;
    return 0;
}
static ad_var flat_ops(ad_var x) {
    return ad_number(x.tape, 0);
}

static double parabola(double x) {
    return x * x / 2 - 1;
}
static ad_var parabola_ops(ad_var x) {
    return ad_offset(ad_scale(ad_square(x), 0.5), -1);
}

static double cubic(double x) {
    return 0.2 * x * x * x;
}
static ad_var cubic_ops(ad_var x) {
    return ad_scale(ad_mul(ad_square(x), x), 0.2);
}

static double wave(double x) {
    return sin(5 * x);
}
static ad_var wave_ops(ad_var x) {
    return ad_sin(ad_scale(ad_clamp(x, -1e30, 1e30), 5));  // 5 x shall be finite in f32
}

static double corner(double x) {
    return fabs(x) - 1;
}
static ad_var corner_ops(ad_var x) {
    return ad_offset(ad_abs(x), -1);
}

static double jump(double x) {
    return (x > 0) - (x < 0) + x;
}
static ad_var jump_ops(ad_var x) {
    return ad_add(ad_sign(x), x);
}

// ---- the densities --------------------------------------------------------------------------------------------------

// The functions of a density take no argument that says which one it is. h: log(2 pi e s).
#define BAND(mean, text, deviation, h)                                              \
    static const band mean##_band = {text, deviation, mean, mean##_ops};            \
    static void mean##_sample(int64_t n, uint64_t seed, int64_t first, double *x) { \
        sample(&mean##_band, n, seed, first, x);                                    \
    }                                                                               \
    static double mean##_log_density(const double *x) {                             \
        return log_density(&mean##_band, x);                                        \
    }                                                                               \
    static ad_var mean##_log_prob(ad_var x) {                                       \
        return log_prob(&mean##_band, x);                                           \
    }                                                                               \
    const data_density data_##mean = {.name = text,                                 \
                                      .dimension = 2,                               \
                                      .entropy = h,                                 \
                                      .sample = mean##_sample,                      \
                                      .log_density = mean##_log_density,            \
                                      .log_prob = mean##_log_prob};

BAND(flat, "gaussian", 0.5, 2.14472988584940017)
BAND(parabola, "banana", 0.367879441171442322, 1.83787706640934548)  // s = e^-1
BAND(cubic, "crescent_cubed", 1, 2.83787706640934548)
BAND(wave, "sine", 0.367879441171442322, 1.83787706640934548)
BAND(corner, "abs", 0.223130160148429829, 1.33787706640934548)  // s = e^-1.5
BAND(jump, "sign", 0.223130160148429829, 1.33787706640934548)
