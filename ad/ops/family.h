// family.h -- how a file of ops is compiled once per instruction set.
//
// Each file in ad/ops/ is compiled with AD_ISA = plain, avx2, avx512. Descriptors and kernels are static in all of them;
// AD_FAMILY(name) exports the list of the file's ops under a name of its instruction set. What must exist once (public
// functions) stands between #if AD_ISA_BASE and #endif. The engine records the base descriptors and takes the kernels of
// the list that fits the machine (ad/isa.c).
#ifndef AD_OPS_FAMILY_H
#define AD_OPS_FAMILY_H

#include "../op.h"

#ifndef AD_ISA
#define AD_ISA plain
#define AD_ISA_BASE 1
#endif
#ifndef AD_ISA_BASE
#define AD_ISA_BASE 0
#endif

#define AD_CAT_(a, b) a##_##b
#define AD_CAT(a, b) AD_CAT_(a, b)
// Name of an exported symbol that exists once per instruction set: AD_ISA_NAME(ad_gemm_f32) is ad_gemm_f32_avx512 ...
#define AD_ISA_NAME(name) AD_CAT(name, AD_ISA)

// AD_FAMILY(arithmetic) = {&add_op, &mul_op, NULL};
#define AD_FAMILY(name) \
    extern const ad_op *const AD_ISA_NAME(ad_family_##name)[]; \
    const ad_op *const AD_ISA_NAME(ad_family_##name)[]

#endif
