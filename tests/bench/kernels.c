// kernels.c -- kernels from cache-resident data: elementwise ones against loops over SLEEF and libmvec, products against
// libxsmm. Needs AVX-512 for the comparisons; prints a Markdown table. White-box: the registry, gemm.h.
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "ops/gemm.h"

#ifdef HAVE_XSMM
#include <libxsmm.h>
#endif

enum { N = 1024, REPEATS = 200, ROUNDS = 15 };  // 4 KiB of floats: an operand and a result stay in L1

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

// ---- elementwise ----------------------------------------------------------------------------------------------------

#if defined(__x86_64__)
#include <immintrin.h>
typedef __m512 (*f16)(__m512);
typedef __m512d (*d8)(__m512d);

__attribute__((target("avx512f"))) static void loop_f32(void *fn, const float *x, float *y) {
    f16 f;
    memcpy(&f, &fn, sizeof f);
    for (int i = 0; i < N; i += 16) _mm512_storeu_ps(y + i, f(_mm512_loadu_ps(x + i)));
}
__attribute__((target("avx512f"))) static void loop_f64(void *fn, const double *x, double *y) {
    d8 f;
    memcpy(&f, &fn, sizeof f);
    for (int i = 0; i < N; i += 8) _mm512_storeu_pd(y + i, f(_mm512_loadu_pd(x + i)));
}
#endif

static void *libraries[2];

// The function of SLEEF (0) or libmvec (1) for an op; NULL: none, or no AVX-512.
static void *peer(int library, const char *op, ad_type type) {
    char name[64];
#if defined(__x86_64__)
    if (!libraries[library] || strcmp(ad_cpu_name(), "avx512") != 0) return NULL;
    const char *f = type == AD_F32 ? "f" : "";
    if (library == 0) snprintf(name, sizeof name, "Sleef_%s%s_u10avx512f", op, type == AD_F32 ? "f16" : "d8");
    else snprintf(name, sizeof name, "_ZGVeN%sv_%s%s", type == AD_F32 ? "16" : "8", op, f);
    return dlsym(libraries[library], name);
#else
    (void)op, (void)type, (void)name, (void)library;
    return NULL;
#endif
}

typedef struct subject {
    const ad_op *op;  // with the kernels in use; NULL: the peer
    void *peer;
    ad_type type;
    const void *const *x;
    void *y;
} subject;

static void call(const subject *s) {
    static const double attr[8] = {0.5, 0.5};
    if (s->op) s->op->lanes[s->type](N, s->y, s->x, attr);
#if defined(__x86_64__)
    else if (s->type == AD_F32) loop_f32(s->peer, s->x[0], s->y);
    else loop_f64(s->peer, s->x[0], s->y);
#endif
}

// Elements a nanosecond, best of the rounds.
static double rate(const subject *s) {
    double best = INFINITY;
    if (!s->op && !s->peer) return NAN;
    for (int r = 0; r < ROUNDS; r++) {
        double start = now();
        for (int i = 0; i < REPEATS; i++) call(s);
        best = fmin(best, now() - start);
    }
    return N * (double)REPEATS / best;
}

static void cell(double v) {
    if (isnan(v)) printf(" |");
    else printf(" %.2f |", v);
}

static void elementwise(void) {
    static float f[3][N], fy[N];
    static double d[3][N], dy[N];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < N; j++) d[i][j] = 0.05 + 0.9 * ((j * 37 + i * 11) % N) / N, f[i][j] = (float)d[i][j];
    printf("Elements a nanosecond, %s, inputs in (0.05, 0.95), L1:\n\n", ad_cpu_name());
    printf("| op | f32 | SLEEF u10 | libmvec | f64 | SLEEF u10 | libmvec |\n|---|---|---|---|---|---|---|\n");
    int n;
    const ad_op *const *ops = ad_op_registry(&n);
    for (int i = 0; i < n; i++) {
        if (!ops[i]->lanes[0]) continue;
        printf("| %s |", ops[i]->name);
        for (int type = 0; type < 2; type++) {
            const void *x[] = {type ? (void *)d[0] : (void *)f[0], type ? (void *)d[1] : (void *)f[1],
                               type ? (void *)d[2] : (void *)f[2]};
            subject s = {ad_isa_op(ops[i]), NULL, (ad_type)type, x, type ? (void *)dy : (void *)fy};
            cell(rate(&s));
            for (int library = 0; library < 2; library++) {
                s.op = NULL, s.peer = peer(library, ops[i]->name, (ad_type)type);
                cell(rate(&s));
            }
        }
        printf("\n");
    }
}

// ---- products -------------------------------------------------------------------------------------------------------

#if defined(__x86_64__) && defined(HAVE_XSMM)
void ad_gemm_f32_avx512(const ad_gemm *g);
void ad_gemm_nt_f32_avx512(const ad_gemm *g, void *scratch);

static float *filled(int64_t n) {
    float *x = aligned_alloc(64, (size_t)(n * 4 + 63) / 64 * 64);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(i % 13) * 0.01f;
    return x;
}

// One layer's forward product, dX and dW in lanes: W [O,I], x [I][R], dY [O][R].
static void products(int64_t O, int64_t I, int64_t R) {
    float *W = filled(O * I), *x = filled(I * R), *y = filled(O * R), *dx = filled(I * R), *dW = filled(O * I);
    float *scratch = filled(1 << 20), *turned = filled(R * I);
    const ad_gemm forward = {.M = O, .N = R, .K = I, .A = W, .am = I, .ak = 1, .B = x, .ldb = R, .C = y, .ldc = R};
    const ad_gemm back = {.M = I, .N = R, .K = O, .A = W, .am = 1, .ak = I, .B = y, .ldb = R, .C = dx, .ldc = R};
    const ad_gemm weight = {.M = O, .N = I, .K = R, .A = y, .am = R, .ak = 1, .B = x, .ldb = R, .C = dW, .ldc = I};
    // libxsmm is column-major: C^T = B^T A^T. dX and dW need a transposed factor, which is made inside the time.
    const int flags = LIBXSMM_GEMM_FLAG_BETA_0;
    libxsmm_smmfunction xf = libxsmm_smmdispatch((int)R, (int)O, (int)I, NULL, NULL, NULL, NULL, NULL, &flags, NULL);
    libxsmm_smmfunction xb = libxsmm_smmdispatch((int)R, (int)I, (int)O, NULL, NULL, NULL, NULL, NULL, &flags, NULL);
    libxsmm_smmfunction xw = libxsmm_smmdispatch((int)I, (int)O, (int)R, NULL, NULL, NULL, NULL, NULL, &flags, NULL);
    float *Wt = filled(O * I);
    double best[6] = {INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY};
    int64_t repeats = 200000000 / (2 * O * I * R) + 1;
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < 6; k++) {
            double start = now();
            for (int64_t i = 0; i < repeats; i++) {
                if (k == 0) ad_gemm_f32_avx512(&forward);
                if (k == 1 && xf) xf(x, W, y);
                if (k == 2) ad_gemm_f32_avx512(&back);
                if (k == 3 && xb) libxsmm_otrans(Wt, W, 4, (int)I, (int)O, (int)I, (int)O), xb(y, Wt, dx);
                if (k == 4) ad_gemm_nt_f32_avx512(&weight, scratch);
                if (k == 5 && xw) libxsmm_otrans(turned, x, 4, (int)R, (int)I, (int)R, (int)I), xw(turned, y, dW);
            }
            best[k] = fmin(best[k], (now() - start) / (double)repeats);
        }
    double flops = 2.0 * (double)O * (double)I * (double)R;
    printf("| %lld x %lld, %lld |", (long long)O, (long long)I, (long long)R);
    for (int k = 0; k < 6; k++) cell(flops / best[k]);
    printf("\n");
    float *all[] = {W, x, y, dx, dW, scratch, turned, Wt};
    for (int i = 0; i < 8; i++) free(all[i]);
}

static void all_products(void) {
    static const int size[][3] = {{64, 64, 64},    {128, 128, 64}, {256, 256, 64},  {512, 512, 64},
                                  {64, 64, 256},   {256, 256, 256}, {512, 512, 256}, {16, 16, 64}};
    if (strcmp(ad_cpu_name(), "avx512") != 0) return;
    printf("\nGFLOP/s, f32, W [O,I] and lanes [I][R]; libxsmm's dX and dW with the transposition they need:\n\n");
    printf("| O x I, R | forward | libxsmm | dX | libxsmm | dW | libxsmm |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) products(size[i][0], size[i][1], size[i][2]);
}
#else
static void all_products(void) { printf("\nlibxsmm not found: no comparison of products.\n"); }
#endif

int main(void) {
    libraries[0] = dlopen("libsleef.so.3", RTLD_NOW);
    libraries[1] = dlopen("libmvec.so.1", RTLD_NOW);
    elementwise();
    all_products();
    return 0;
}
