// sample.c -- points at which gradcheck.c and check_op.c look at a function.
#include <math.h>

#include "internal.h"

double ad_sample_uniform(uint64_t *seed, double low, double high) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return low + (high - low) * ((double)(z >> 11) / 9007199254740992.0);
}

ad_gradcheck_input ad_sample_input(const ad_gradcheck_input *input) {
    ad_gradcheck_input in = *input;
    if (in.low == 0 && in.high == 0) in.low = -1.5, in.high = 1.5;
    return in;
}

double ad_sample_clearance(const ad_gradcheck_input *in, double x) {
    double d = fmin(x - in->low, in->high - x);
    for (int k = 0; k < in->n_kinks; k++) d = fmin(d, fabs(x - in->kinks[k]));
    return d;
}

double ad_sample(const ad_gradcheck_input *in, uint64_t *seed, int64_t *near) {
    const double width = in->high - in->low, least = fmin(1e-3, 0.01 * width);
    if (in->n_kinks > 0 && ad_sample_uniform(seed, 0, 1) < 0.5) {
        const double side = *near % 2 ? 1 : -1, kink = in->kinks[*near / 2 % in->n_kinks];
        const double x = kink + side * least * pow(fmax(1, 0.1 * width / least), ad_sample_uniform(seed, 0.1, 1));
        ++*near;
        if (ad_sample_clearance(in, x) >= least) return x;
    }
    double x = 0.5 * (in->low + in->high);
    for (int tries = 0; tries < 1000; tries++) {
        x = ad_sample_uniform(seed, in->low, in->high);
        if (ad_sample_clearance(in, x) >= least) break;
    }
    return x;
}
