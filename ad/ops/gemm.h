// gemm.h -- matrix products for kernels: one strided product, and one whose contraction is contiguous in both factors.
//
// Every element of C is one chain of multiply-adds in the order of k, whatever the sizes around it: a lane's result
// does not depend, in any bit, on how many lanes there are or where among them it stands.
#ifndef AD_OPS_GEMM_H
#define AD_OPS_GEMM_H

#include "family.h"

// What becomes of an element c of the result while it is in a register, d the element of `with` at its place.
enum {
    AD_EPILOGUE_NONE,
    AD_EPILOGUE_RELU,       // max(c, 0)
    AD_EPILOGUE_RELU_SLOPE  // c where d > 0 or c = 0, else d
};

// C[m*ldc + n] = start + sum over k < K of A[m*am + k*ak] * B[k*ldb + n], for m < M, n < N;
// start is C itself when add is set, else bias[m], else 0. C overlaps neither factor.
typedef struct ad_gemm {
    int64_t M, N, K;
    const void *A;
    int64_t am, ak;
    const void *B;
    int64_t ldb;
    void *C;
    int64_t ldc;
    const void *bias;  // [M] or NULL
    bool add;
    int epilogue;
    const void *with;  // laid out as C
} ad_gemm;
void AD_ISA_NAME(ad_gemm_f32)(const ad_gemm *g);
void AD_ISA_NAME(ad_gemm_f64)(const ad_gemm *g);

// The same with the second factor transposed: B[n*ldb + k] for B[k*ldb + n]; ak must be 1, bias NULL, no epilogue. Here the
// order of summation depends on M, N and K. scratch: ad_gemm_nt_scratch bytes, 64-byte aligned.
void AD_ISA_NAME(ad_gemm_nt_f32)(const ad_gemm *g, void *scratch);
void AD_ISA_NAME(ad_gemm_nt_f64)(const ad_gemm *g, void *scratch);
size_t AD_ISA_NAME(ad_gemm_nt_scratch)(int64_t K, ad_type type);

// Either of the above by the elements' type.
static inline void ad_gemm_run(ad_type type, const ad_gemm *g) {
    (type == AD_F64 ? AD_ISA_NAME(ad_gemm_f64) : AD_ISA_NAME(ad_gemm_f32))(g);
}
static inline void ad_gemm_nt_run(ad_type type, const ad_gemm *g, void *scratch) {
    (type == AD_F64 ? AD_ISA_NAME(ad_gemm_nt_f64) : AD_ISA_NAME(ad_gemm_nt_f32))(g, scratch);
}
// An epilogue alone, on the M x N elements of C.
static inline void ad_gemm_finish(ad_type type, int64_t M, int64_t N, void *C, int64_t ldc, int epilogue, const void *with) {
    if (epilogue == AD_EPILOGUE_NONE) return;
    ad_gemm_run(type, &(ad_gemm){.M = M, .N = N, .C = C, .ldc = ldc, .add = true, .epilogue = epilogue, .with = with});
}

#endif
