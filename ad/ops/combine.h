// combine.h -- passes over whole arrays that need the instruction set in use.
#ifndef AD_OPS_COMBINE_H
#define AD_OPS_COMBINE_H

#include <stdbool.h>
#include <stdint.h>

#include "../op.h"

typedef struct ad_passes {
    // y[i] = sum over c < n of x[c * stride + i], in that order; count elements of the type. wide: x is double.
    void (*sum[2])(void *y, const void *x, int64_t n, int64_t stride, int64_t count);
    void (*sum_wide[2])(void *y, const void *x, int64_t n, int64_t stride, int64_t count);
    void (*max[2])(void *y, const void *x, int64_t n, int64_t stride, int64_t count);  // the largest; NaN if any is
    bool (*finite[2])(const void *x, int64_t n);
} ad_passes;

// Of the instruction set in use.
const ad_passes *ad_passes_of_cpu(void);

#endif
