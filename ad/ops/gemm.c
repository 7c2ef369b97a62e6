// gemm.c -- matrix products: gemm_real.h for both element types.
//
// Why no library: in this layout libxsmm's generated code is 1 to 3 % faster from 64 x 64 on and slower at 512 x 512,
// and neither starts from a bias nor takes the lanes as contraction index. One kernel keeps one order of summation.
#include "gemm.h"
#include "transpose.h"

enum {
    TILE_M = 6,                          // rows of C held in registers,
    TILE_V = sizeof(vec_f32) == 64 ? 4 : 2,  // and vectors of each: 24 of 32 registers, or 12 of 16
    BLOCK_K = 256,                       // steps of k between visits to C, for a panel of B to stay in cache; half
                                         // as many where each is a line of A of its own
    THIN = 4                             // fewer rows or columns than this and one: not worth a transposition
};

#define REAL float
#define REAL_NAME(name) AD_CAT(name, f32)
#include "gemm_real.h"
#undef REAL
#undef REAL_NAME

#define REAL double
#define REAL_NAME(name) AD_CAT(name, f64)
#include "gemm_real.h"

size_t AD_ISA_NAME(ad_gemm_nt_scratch)(int64_t K, ad_type type) {
    size_t rows = ((size_t)K + 15) / 16 * 16;  // whole blocks, of whatever side
    return rows * (type == AD_F64 ? PANEL_f64 * sizeof(double) : PANEL_f32 * sizeof(float));
}
