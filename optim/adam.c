// adam.c -- Adam (Kingma and Ba 2015, algorithm 1), AMSGrad (Reddi, Kale and Kumar 2018), and with decoupled weight
// decay (AdamW, Loshchilov and Hutter 2019).
#include "rule.h"

static int slots(const optim_options *o) {
    return o->amsgrad ? 3 : 2;
}

static void prepare(const optim_options *o, int64_t t, optim_numbers *n) {
    n->c[0] = o->beta1;
    n->c[1] = o->beta2;
    n->c[2] = o->eps;
    n->c[3] = n->lr / (1 - optim_power(o->beta1, t));
    n->c[4] = 1 / sqrt(1 - optim_power(o->beta2, t));
}

// As PyTorch's single-tensor loop orders it, in the element's own type.
#define UPDATE(T, SQRT)                                                                                        \
    static void update_##T(size_t n, const optim_numbers *numbers, const void *gradient, void *const *kept,    \
                           void *parameter) {                                                                  \
        OPTIM_START(T);                                                                                        \
        T *restrict m = kept[0], *restrict v = kept[1], *restrict most = kept[2];                              \
        const T b1 = (T)numbers->c[0], b2 = (T)numbers->c[1], eps = (T)numbers->c[2], step = (T)numbers->c[3], \
                inv_root = (T)numbers->c[4], c1 = (T)(1 - numbers->c[0]), c2 = (T)(1 - numbers->c[1]),         \
                shrink = (T)numbers->shrink;                                                                   \
        if (most) {                                                                                            \
            for (size_t i = 0; i < n; i++) {                                                                   \
                T gi = OPTIM_GRADIENT(i);                                                                      \
                m[i] = b1 * m[i] + c1 * gi;                                                                    \
                v[i] = b2 * v[i] + c2 * gi * gi;                                                               \
                most[i] = v[i] > most[i] ? v[i] : most[i];                                                     \
                p[i] = p[i] * shrink - step * m[i] / (SQRT(most[i]) * inv_root + eps);                         \
            }                                                                                                  \
            return;                                                                                            \
        }                                                                                                      \
        for (size_t i = 0; i < n; i++) {                                                                       \
            T gi = OPTIM_GRADIENT(i);                                                                          \
            m[i] = b1 * m[i] + c1 * gi;                                                                        \
            v[i] = b2 * v[i] + c2 * gi * gi;                                                                   \
            p[i] = p[i] * shrink - step * m[i] / (SQRT(v[i]) * inv_root + eps);                                \
        }                                                                                                      \
    }
UPDATE(float, sqrtf)
UPDATE(double, sqrt)

const optim_rule OPTIM_ISA_NAME(optim_adam) = {"adam", false, slots, prepare, {update_float, update_double}};
const optim_rule OPTIM_ISA_NAME(optim_adamw) = {"adamw", true, slots, prepare, {update_float, update_double}};
