// sweep.c -- white-box soak: f32 kernels of one operand at all 2^32 floats, as a run calls them (denormals flushed).
//
//     sweep [-s STRIDE] [-i ISA] [OP ...]
//
// Every STRIDE-th bit pattern (1), of the named ops or all, with the kernels of ISA (the best the CPU has). Prints a
// table of the largest errors in ulp as a page of text, a line when an op is done, and returns 1 when one is above its
// bound. References are those of test_kernels in double; what they find worse than all before is measured again in long
// double. An op takes one minute to ten.
#include <stdio.h>
#include <time.h>

#include "kernels.h"
#include "references.h"
#include "sweep.h"
#include "ulps.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum { CHUNK = 4096 };

typedef struct sweep {
    const ad_op *op;
    const reference *exact;
    sweep_function fast;
    double worst;   // ulp, so far
    float worst_x;
    int64_t checked, beyond;
    float beyond_x;  // one of them
} sweep;

static void run_flushed(const ad_op *op, size_t n, const float *x, float *y, const void *attr) {
    const void *operands[] = {x, x, x};
#if defined(__SSE__)
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040);
    op->lanes[AD_F32](n, y, operands, attr);
    _mm_setcsr(mode);
#else
    op->lanes[AD_F32](n, y, operands, attr);
#endif
}

// As ulps(), of a result that is a normal number; NaN for others.
static double ulps_fast(float y, double exact) {
    uint64_t bits;
    double binade;
    memcpy(&bits, &exact, sizeof bits);
    bits &= (uint64_t)0x7ff << 52;
    memcpy(&binade, &bits, sizeof binade);
    return fabs(y - exact) / (binade * 0x1p-23);
}

static void measure(sweep *s, float x, float y) {
    if (s->exact->domain && !s->exact->domain(x, x, x)) return;
    const real exact = s->exact->f(x, x, x);
    const bool tiny = fabsl(exact) < FLT_MIN;  // may be flushed
    const double distance = tiny ? 0 : ulps(AD_F32, y, exact);
    if (distance > s->worst) s->worst = distance, s->worst_x = x;
    if (!within(s->op, AD_F32, y, exact) && !(tiny && y == 0)) s->beyond++, s->beyond_x = x;
}

static void check_chunk(sweep *s, size_t n, const float *x) {
    static float y[CHUNK];
    run_flushed(s->op, n, x, y, s->exact->attr);
    for (size_t j = 0; j < n; j++) {
        const double exact = s->fast(x[j], x[j], x[j]);
        if (y[j] == exact || (isnan(y[j]) && isnan(exact))) continue;
        if ((fabs(exact) < FLT_MIN * 0.999 && y[j] == 0) ||
            (fabs(exact) > FLT_MAX * 1.001 && y[j] == copysign(INFINITY, exact)))
            continue;
        if (!(ulps_fast(y[j], exact) <= s->worst)) measure(s, x[j], y[j]);
    }
    s->checked += (int64_t)n;
}

static void check_floats(sweep *s, uint64_t stride) {
    static float x[CHUNK];
    size_t n = 0;
    for (uint64_t i = 0; i < (uint64_t)1 << 32; i += stride) {
        const uint32_t bits = (uint32_t)i;
        memcpy(&x[n], &bits, sizeof bits);
        if (x[n] != 0 && fabsf(x[n]) < FLT_MIN) continue;
        if (++n == CHUNK) check_chunk(s, n, x), n = 0;
    }
    check_chunk(s, n, x);
}

static void print_row(const sweep *s, uint64_t stride, double seconds) {
    const double bound = s->op->ulp[AD_F32] > 0 ? s->op->ulp[AD_F32] : 0.5;
    printf("| %s | %.4f | %a | %g | %llu |", s->op->name, s->worst, s->worst_x, bound, (unsigned long long)stride);
    if (s->beyond) printf(" **%lld beyond, one at %a**", (long long)s->beyond, s->beyond_x);
    printf(" %.3g s |\n", seconds);
    fflush(stdout);
}

// Whether the op is within its bound.
static bool sweep_op(const ad_op *op, const reference *exact, uint64_t stride) {
    sweep s = {.op = op, .exact = exact, .fast = sweep_reference(op->name), .worst = 0};
    const clock_t start = clock();
    check_floats(&s, stride);
    print_row(&s, stride, (double)(clock() - start) / CLOCKS_PER_SEC);
    return s.beyond == 0;
}

static const reference *unary_reference(const ad_op *op) {
    for (int i = 0; i < REFERENCES; i++)
        if (!strcmp(references[i].name, op->name)) return references[i].n == 1 ? &references[i] : NULL;
    return NULL;
}

static bool named(const ad_op *op, char **names, int n) {
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], op->name)) return true;
    return n == 0;
}

int main(int argc, char **argv) {
    uint64_t stride = 1;
    find_isas(NULL);
    const isa *kernels = &isas[n_isas - 1];
    int a = 1;
    for (; a + 1 < argc && argv[a][0] == '-'; a += 2) {
        if (argv[a][1] == 's') stride = strtoull(argv[a + 1], NULL, 10);
        for (int i = 0; i < n_isas && argv[a][1] == 'i'; i++)
            if (!strcmp(isas[i].name, argv[a + 1])) kernels = &isas[i];
    }
    if (stride < 1) return 2;
    printf("%s, compiler %s\n\n| op | largest error, ulp | at | bound | every | |\n|---|---|---|---|---|---|\n",
           kernels->name, __VERSION__);
    bool good = true;
    for (int k = 0; k < kernels->n; k++) {
        const reference *exact = unary_reference(kernels->op[k]);
        if (!exact || !kernels->op[k]->lanes[AD_F32] || !named(kernels->op[k], argv + a, argc - a)) continue;
        good = sweep_op(kernels->op[k], exact, stride) && good;
    }
    return good ? 0 : 1;
}
