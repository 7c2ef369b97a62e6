// density_funnel.c -- Neal's funnel in ten dimensions (Neal 2003): a normal number sets the others' scale.
#include <math.h>

#include "densities.h"

enum { D = 10 };

static void sample_funnel(int64_t n, uint64_t seed, int64_t first, double *x) {
    for (int64_t i = 0; i < n; i++, x += D) {
        data_draw draw = {seed, (uint64_t)(first + i)};
        for (uint32_t k = 0; k < D; k += 2) data_normal_pair(&draw, k, x + k);
        x[0] *= 3;
        for (int k = 1; k < D; k++) x[k] *= exp(x[0] / 2);
    }
}

static double log_funnel(const double *x) {
    double square = 0, rate = exp(fmin(-x[0] / 2, 700));
    for (int k = 1; k < D; k++) square += x[k] * rate * (x[k] * rate);
    return -x[0] * x[0] / 18 - (D - 1) * x[0] / 2 - square / 2 - D * log(2 * DATA_PI) / 2 - log(3);
}

static ad_var funnel_ops(ad_var x) {
    data_expect(x, "funnel", D);
    ad_var x0 = data_element(x, 0), rate = ad_scale(x0, -0.5);
    // Scaled before they are squared, by what is finite: no infinity meets a 0.
    ad_var most = ad_number(x.tape, ad_tape_type(x.tape) == AD_F32 ? 80 : 700);
    ad_var scaled = ad_mul(ad_slice(x, 0, 1, D - 1), ad_exp(ad_minimum(rate, most)));
    ad_var first = ad_add(ad_scale(ad_square(x0), 1.0 / 18), ad_scale(x0, (D - 1) / 2.0));
    ad_var rest = ad_scale(ad_sum(ad_square(scaled)), 0.5);
    return ad_offset(ad_neg(ad_add(first, rest)), -D * log(2 * DATA_PI) / 2 - log(3));
}

const data_density data_funnel = {.name = "funnel",
                                  .dimension = D,
                                  .entropy = 15.2879976207148363,  // 5 log(2 pi e) + log 3
                                  .sample = sample_funnel,
                                  .log_density = log_funnel,
                                  .log_prob = funnel_ops};
