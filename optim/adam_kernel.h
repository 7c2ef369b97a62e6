// adam_kernel.h -- the two loops of Adam, compiled once per instruction set.
#ifndef OPTIM_ADAM_KERNEL_H
#define OPTIM_ADAM_KERNEL_H

#include <stddef.h>

// One step's numbers, the same for every element.
typedef struct optim_adam_rule {
    double beta1, beta2, eps;
    double clip;      // factor of the gradient; 1: none
    double step;      // lr / (1 - beta1^t)
    double inv_root;  // 1 / sqrt(1 - beta2^t)
} optim_adam_rule;

// [0] for float, [1] for double (ad_type).
typedef struct optim_adam_kernels {
    double (*squares[2])(size_t n, const void *g);
    void (*update[2])(size_t n, const optim_adam_rule *rule, const void *g, void *m, void *v, void *p);
} optim_adam_kernels;

extern const optim_adam_kernels optim_adam_plain;
#ifdef __x86_64__
extern const optim_adam_kernels optim_adam_avx2, optim_adam_avx512;
#endif

#endif
