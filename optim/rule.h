// rule.h -- what an optimizer does to one element: an update rule, one file each, compiled once per instruction set.
//
// A rule's loops may be neither reordered nor contracted: every instruction set gives the same bits.
#ifndef OPTIM_RULE_H
#define OPTIM_RULE_H

#include <math.h>
#include <stddef.h>

#include "optim.h"

#ifndef AD_ISA
#define AD_ISA plain
#endif
#define OPTIM_CAT_(a, b) a##_##b
#define OPTIM_CAT(a, b) OPTIM_CAT_(a, b)
#define OPTIM_ISA_NAME(name) OPTIM_CAT(name, AD_ISA)

// One step's numbers, the same for every element of a group.
typedef struct optim_numbers {
    double limit, clip;  // the gradient is cut to +-limit, then multiplied by clip
    double l2, shrink;   // then l2 p is added to it; where decay is decoupled, p is first multiplied by shrink
    double lr;
    double c[6];  // the rule's own
} optim_numbers;

enum { OPTIM_MOST_SLOTS = 3 };

typedef struct optim_rule {
    const char *name;
    bool decoupled;                        // weight decay acts on the parameter instead of the gradient
    int (*slots)(const optim_options *o);  // values kept for each element, zero at the start
    // The rule's own numbers for step t, from 1 on; lr is filled in.
    void (*prepare)(const optim_options *o, int64_t t, optim_numbers *numbers);
    // n elements of a parameter; [0] for float, [1] for double (ad_type).
    void (*update[2])(size_t n, const optim_numbers *numbers, const void *g, void *const *slots, void *p);
} optim_rule;

// {sum of squares of the n elements, the same of the elements cut to +-limit}.
typedef struct optim_squares {
    double whole, cut;
} optim_squares;
typedef optim_squares (*optim_squares_of)(size_t n, const void *g, double limit);

// All rules in the order of optim_method, and the sums, for one instruction set.
enum { OPTIM_METHODS = 5 };
typedef struct optim_kernels {
    const optim_rule *rules[OPTIM_METHODS];
    optim_squares_of squares[2];
} optim_kernels;
extern const optim_kernels optim_kernels_plain;
#ifdef __x86_64__
extern const optim_kernels optim_kernels_avx2, optim_kernels_avx512;
#endif

// The gradient of element i as a rule sees it, in a loop over elements of type T with the names of OPTIM_START.
#define OPTIM_GRADIENT(i) (clip * (g[i] > limit ? limit : g[i] < -limit ? -limit : g[i]) + l2 * p[i])
#define OPTIM_START(T)              \
    const T *restrict g = gradient; \
    T *restrict p = parameter;      \
    const T limit = (T)numbers->limit, clip = (T)numbers->clip, l2 = (T)numbers->l2

// beta^t, from products alone: the same on every machine.
static inline double optim_power(double beta, int64_t t) {
    double power = 1;
    for (; t > 0; t >>= 1, beta *= beta) {
        if (t & 1) power *= beta;
    }
    return power;
}

#endif
