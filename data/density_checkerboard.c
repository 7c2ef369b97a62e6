// density_checkerboard.c -- uniform on eight squares of side 2.
#include <math.h>

#include "densities.h"

static void sample(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += 2) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        double a = 4 * data_uniform(&draw, 0) - 2, odd = fabs(fmod(floor(a), 2));
        x[0] = 2 * a;
        x[1] = 2 * (data_uniform(&draw, 1) - (data_uniform(&draw, 2) < 0.5 ? 0 : 2) + odd);
    }
}

static double log_density(const double *x) {
    bool inside = fabs(x[0]) < 4 && fabs(x[1]) < 4;
    return inside && fmod(floor(x[0] / 2) + floor(x[1] / 2), 2) == 0 ? -log(32) : -INFINITY;
}

static ad_var log_prob(ad_var x) {
    data_expect(x, "checkerboard", 2);
    ad_var half = ad_scale(ad_sum(ad_floor(ad_scale(x, 0.5))), 0.5);  // whole on the squares
    ad_var inside = ad_less(ad_max(ad_abs(x)), ad_number(x.tape, 4));
    ad_var on = ad_mul(inside, ad_equal(half, ad_floor(half)));
    return ad_where(on, ad_number(x.tape, -log(32)), ad_number(x.tape, -INFINITY));
}

const data_density data_checkerboard = {.name = "checkerboard",
                                        .dimension = 2,
                                        .entropy = 3.46573590279972655,  // log 32
                                        .sample = sample,
                                        .log_density = log_density,
                                        .log_prob = log_prob};
