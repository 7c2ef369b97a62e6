// adamax.c -- Adam with the largest gradient, fading, in place of the mean square (Kingma and Ba 2015, algorithm 2).
#include "rule.h"

static int slots(const optim_options *o) {
    (void)o;
    return 2;
}

static void prepare(const optim_options *o, int64_t t, optim_numbers *n) {
    n->c[0] = o->beta1;
    n->c[1] = o->beta2;
    n->c[2] = o->eps;
    n->c[3] = n->lr / (1 - optim_power(o->beta1, t));
}

// eps is added to the gradient's size, as in PyTorch, so that nothing is divided by 0.
#define UPDATE(T, ABS)                                                                                         \
    static void update_##T(size_t n, const optim_numbers *numbers, const void *gradient, void *const *kept,    \
                           void *parameter) {                                                                  \
        OPTIM_START(T);                                                                                        \
        T *restrict m = kept[0], *restrict u = kept[1];                                                        \
        const T b1 = (T)numbers->c[0], b2 = (T)numbers->c[1], eps = (T)numbers->c[2], step = (T)numbers->c[3], \
                c1 = (T)(1 - numbers->c[0]);                                                                   \
        for (size_t i = 0; i < n; i++) {                                                                       \
            T gi = OPTIM_GRADIENT(i), size = ABS(gi) + eps, faded = b2 * u[i];                                 \
            m[i] = b1 * m[i] + c1 * gi;                                                                        \
            u[i] = faded > size ? faded : size;                                                                \
            p[i] -= step * m[i] / u[i];                                                                        \
        }                                                                                                      \
    }
UPDATE(float, fabsf)
UPDATE(double, fabs)

const optim_rule OPTIM_ISA_NAME(optim_adamax) = {"adamax", false, slots, prepare, {update_float, update_double}};
