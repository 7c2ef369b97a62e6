// lanes.h -- for kernels that hold a whole small problem a lane: vectors of lanes of either type, all arithmetic in
// f64.
#ifndef AD_OPS_LANES_H
#define AD_OPS_LANES_H

#include "simd.h"

AD_INLINE double lanes_get(const ad_kernel_operand *x, int64_t f, int64_t r, ad_type type) {
    int64_t at = f * x->stride + r * x->lane;
    return type == AD_F32 ? (double)((const float *)x->data)[at] : ((const double *)x->data)[at];
}

// Feature f of lanes r .. r + VD. Of n < VD lanes (n <= 0: none) the others are 0; a shared operand is the same in all.
AD_INLINE vd lanes_load(const ad_kernel_operand *x, int64_t f, int64_t r, int64_t n, ad_type type) {
    if (!x->lane) return vd_set(lanes_get(x, f, 0, type));
    int64_t at = f * x->stride + r;
    if (n >= VD)
        return type == AD_F32 ? vd_from_f32((const float *)x->data + at) : vd_load((const double *)x->data + at);
    if (n <= 0) return vd_set(0);
    return type == AD_F32 ? vd_from_f32_part((const float *)x->data + at, (size_t)n)
                          : vd_load_part((const double *)x->data + at, (size_t)n);
}

// The first n lanes of a to y[at ..).
AD_INLINE void lanes_store(void *y, int64_t at, vd a, int64_t n, ad_type type) {
    if (n <= 0) return;
    if (type == AD_F64) {
        if (n >= VD) {
            vd_store((double *)y + at, a);
        } else {
            vd_store_part((double *)y + at, a, (size_t)n);
        }
    } else if (n >= VD) {
        vd_to_f32((float *)y + at, a);
    } else {
        float part[VD];
        vd_to_f32(part, a);
        for (int64_t i = 0; i < n; i++) ((float *)y)[at + i] = part[i];
    }
}

// Fails the rows among lanes r .. r + VD in which bad is not 0.
AD_INLINE void lanes_fail_not_finite(const ad_kernel *k, int64_t r, vd bad) {
    double nan[VD];
    vd_store(nan, bad);
    for (int64_t l = 0; l < VD && r + l < k->R; l++)
        if (nan[l] != 0) ad_kernel_fail(k, (int)(r + l), AD_ENONFINITE, "A is not finite");
}

// y[i] of a result without lanes.
AD_INLINE void lanes_put(void *y, int64_t i, double value, ad_type type) {
    if (type == AD_F32) {
        ((float *)y)[i] = (float)value;
    } else {
        ((double *)y)[i] = value;
    }
}

#endif
