// radam.c -- rectified Adam (Liu et al. 2020, algorithm 2).
#include "rule.h"

static int slots(const optim_options *o) {
    (void)o;
    return 2;
}

// While the variance of the adaptive rate has no bound (rho <= 5, as PyTorch has it; the paper says 4) the step is
// momentum's alone: adaptive is 0.
static void prepare(const optim_options *o, int64_t t, optim_numbers *n) {
    double power2 = optim_power(o->beta2, t), most = 2 / (1 - o->beta2) - 1;
    double rho = most - 2 * (double)t * power2 / (1 - power2);
    double rectify = sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho));
    n->c[0] = o->beta1;
    n->c[1] = o->beta2;
    n->c[2] = o->eps;
    n->c[3] = n->lr / (1 - optim_power(o->beta1, t));
    n->c[4] = rho > 5 ? rectify * sqrt(1 - power2) : 0;
}

#define UPDATE(T, SQRT)                                                                                        \
    static void update_##T(size_t n, const optim_numbers *numbers, const void *gradient, void *const *kept,    \
                           void *parameter) {                                                                  \
        OPTIM_START(T);                                                                                        \
        T *restrict m = kept[0], *restrict v = kept[1];                                                        \
        const T b1 = (T)numbers->c[0], b2 = (T)numbers->c[1], eps = (T)numbers->c[2], step = (T)numbers->c[3], \
                adaptive = (T)numbers->c[4], c1 = (T)(1 - numbers->c[0]), c2 = (T)(1 - numbers->c[1]);         \
        for (size_t i = 0; i < n; i++) {                                                                       \
            T gi = OPTIM_GRADIENT(i);                                                                          \
            m[i] = b1 * m[i] + c1 * gi;                                                                        \
            v[i] = b2 * v[i] + c2 * gi * gi;                                                                   \
            p[i] -= step * m[i] * (adaptive > 0 ? adaptive / (SQRT(v[i]) + eps) : 1);                          \
        }                                                                                                      \
    }
UPDATE(float, sqrtf)
UPDATE(double, sqrt)

const optim_rule OPTIM_ISA_NAME(optim_radam) = {"radam", false, slots, prepare, {update_float, update_double}};
