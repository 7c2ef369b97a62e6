// sgd.c -- stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013).
#include "rule.h"

static int slots(const optim_options *o) {
    return o->momentum > 0 ? 1 : 0;
}

// The first gradient is not damped, as in PyTorch.
static void prepare(const optim_options *o, int64_t t, optim_numbers *n) {
    n->c[0] = o->momentum;
    n->c[1] = t == 1 ? 1 : 1 - o->dampening;
    n->c[2] = o->nesterov;
}

#define UPDATE(T)                                                                                           \
    static void update_##T(size_t n, const optim_numbers *numbers, const void *gradient, void *const *kept, \
                           void *parameter) {                                                               \
        OPTIM_START(T);                                                                                     \
        T *restrict b = kept[0];                                                                            \
        const T lr = (T)numbers->lr, momentum = (T)numbers->c[0], fresh = (T)numbers->c[1];                 \
        if (!b) {                                                                                           \
            for (size_t i = 0; i < n; i++) p[i] -= lr * OPTIM_GRADIENT(i);                                  \
        } else if (numbers->c[2] > 0) {                                                                     \
            for (size_t i = 0; i < n; i++) {                                                                \
                T gi = OPTIM_GRADIENT(i);                                                                   \
                b[i] = momentum * b[i] + fresh * gi;                                                        \
                p[i] -= lr * (gi + momentum * b[i]);                                                        \
            }                                                                                               \
        } else {                                                                                            \
            for (size_t i = 0; i < n; i++) {                                                                \
                b[i] = momentum * b[i] + fresh * OPTIM_GRADIENT(i);                                         \
                p[i] -= lr * b[i];                                                                          \
            }                                                                                               \
        }                                                                                                   \
    }
UPDATE(float)
UPDATE(double)

const optim_rule OPTIM_ISA_NAME(optim_sgd) = {"sgd", false, slots, prepare, {update_float, update_double}};
