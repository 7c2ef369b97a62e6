// fpmode.h -- the floating-point mode kernels run in: round to nearest, nothing trapped, denormals flushed to zero.
#ifndef AD_FPMODE_H
#define AD_FPMODE_H

#include <stdint.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

typedef uint64_t ad_fp_mode;

// Sets the kernels' mode in the calling thread and returns the mode it had, for ad_fp_restore.
// Elsewhere than on x86 and aarch64 both do nothing: results differ below the smallest normal number only.
static inline ad_fp_mode ad_fp_flush(void) {
#if defined(__SSE2__)
    const unsigned exceptions_masked = 0x1f80, flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
    const ad_fp_mode old = _mm_getcsr();
    _mm_setcsr(exceptions_masked | flush_to_zero | denormals_are_zero);
    return old;
#elif defined(__aarch64__) && defined(__GNUC__)
    const uint64_t flush_to_zero = (uint64_t)1 << 24;
    ad_fp_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(flush_to_zero));
    return old;
#else
    return 0;
#endif
}

static inline void ad_fp_restore(ad_fp_mode old) {
#if defined(__SSE2__)
    _mm_setcsr((unsigned)old);
#elif defined(__aarch64__) && defined(__GNUC__)
    __asm__ volatile("msr fpcr, %0" : : "r"(old));
#else
    (void)old;
#endif
}

#endif
