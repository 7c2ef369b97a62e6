// test_kernels.c -- white-box: elementwise kernels of every instruction set this CPU has, against references.
// It samples; tests/sweep.c goes through all floats.
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels.h"
#include "references.h"
#include "ulps.h"
#include "util.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// Sanitizers look for errors that every value shows, and slow the references down.
enum { CHUNK = 4096, MANY = UTIL_SANITIZED ? 1 << 14 : 1 << 20, FEW = UTIL_SANITIZED ? 1 << 13 : 1 << 16 };

static const reference *reference_of(const ad_op *op) {
    for (int i = 0; i < REFERENCES; i++)
        if (!strcmp(references[i].name, op->name)) return &references[i];
    fail_msg("no reference for op %s: add one", op->name);
    return NULL;
}

// ---- running a kernel on doubles -----------------------------------------------------------------------------------

// y = op(x), through arrays of the type; n <= CHUNK.
static void run(const ad_op *op, ad_type type, int n, double (*x)[CHUNK], double *y) {
    static double a[3][CHUNK], out[CHUNK];
    for (int i = 0; i < 3; i++) to_type(type, x[i], a[i], n);
    const void *operands[] = {a[0], a[1], a[2]};
    op->lanes[type]((size_t)n, out, operands, reference_of(op)->attr);
    from_type(type, out, y, n);
}

static double from_bits(ad_type type, uint64_t bits) {
    double d;
    float f;
    if (type == AD_F64) {
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    uint32_t low = (uint32_t)bits;
    memcpy(&f, &low, sizeof f);
    return f;
}

static void compare_chunk(int k, ad_type type, int n, double (*x)[CHUNK]) {
    const reference *r = reference_of(isas[0].op[k]);
    static real exact[CHUNK];
    static double y[CHUNK];
    for (int j = 0; j < n; j++) exact[j] = r->f(x[0][j], x[1][j], x[2][j]);
    for (int i = 0; i < n_isas; i++) {
        const ad_op *op = isas[i].op[k];
        run(op, type, n, x, y);
        for (int j = 0; j < n; j++) {
            if (r->domain && !r->domain(x[0][j], x[1][j], x[2][j])) continue;
            if (!within(op, type, y[j], exact[j]))
                fail_msg("%s %s f%d of (%a, %a, %a): %a, expected %La, %.3g ulp", isas[i].name, op->name,
                         type ? 64 : 32, x[0][j], x[1][j], x[2][j], y[j], exact[j], ulps(type, y[j], exact[j]));
        }
    }
}

// ---- inputs --------------------------------------------------------------------------------------------------------

typedef void (*chunk_fn)(int k, ad_type type, int n, double (*x)[CHUNK]);

// One operand: every stride-th bit pattern of the type, the two others a permutation of it.
static void sweep_count(int k, ad_type type, chunk_fn fn, uint64_t count) {
    static double x[3][CHUNK];
    uint64_t bits = 0, stride = ((type == AD_F32 ? (uint64_t)1 << 32 : UINT64_MAX) / count) - 3;  // odd for f32
    for (uint64_t done = 0; done < count; done += CHUNK) {
        for (int j = 0; j < CHUNK; j++, bits += stride) x[0][j] = from_bits(type, bits);
        for (int j = 0; j < CHUNK; j++) x[1][j] = x[0][j * 1223 % CHUNK], x[2][j] = x[0][j * 611 % CHUNK];
        fn(k, type, CHUNK, x);
    }
}

static void sweep_few(int k, ad_type type, chunk_fn fn) { sweep_count(k, type, fn, FEW); }

// A million of the f32 patterns where the error is not that of one rounding.
static void sweep_many(int k, ad_type type, chunk_fn fn) {
    sweep_count(k, type, fn, type == AD_F32 && isas[0].op[k]->ulp[type] > 0 ? MANY : FEW);
}

// Where the functions bend: uniform numbers, rounded to the type.
static void sweep_uniform(int k, ad_type type, chunk_fn fn) {
    static const double range[] = {1, 10, 100};
    static double x[3][CHUNK];
    uint64_t seed = 7;
    for (int pass = 0; pass < 24; pass++) {
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < CHUNK; j++) {
                x[i][j] = uniform(&seed, -range[pass % 3], range[pass % 3]);
                if (type == AD_F32) x[i][j] = (float)x[i][j];
            }
        fn(k, type, CHUNK, x);
    }
}

// All pairs and triples of values that are special.
static void sweep_special(int k, ad_type type, chunk_fn fn) {
    const double special[] = {0,
                              -0.0,
                              1,
                              -1,
                              0.5,
                              2,
                              NAN,
                              INFINITY,
                              -INFINITY,
                              largest[type],
                              -largest[type],
                              smallest[type],
                              -smallest[type],
                              type == AD_F32 ? 0x1p-149 : 0x1p-1074,
                              -smallest[type] / 4,
                              3.5};
    static double x[3][CHUNK];
    for (int j = 0; j < CHUNK; j++)
        x[0][j] = special[j & 15], x[1][j] = special[j >> 4 & 15], x[2][j] = special[j >> 8];
    fn(k, type, CHUNK, x);
}

// Where tests/sweep.c found errors above the bound.
static void sweep_found(int k, ad_type type, chunk_fn fn) {
    static const struct {
        const char *op;
        double x;
    } found[] = {{"cos", 0x1.feb852p+84}, {"tan", 0x1.feb852p+84}};
    static double x[3][CHUNK];
    for (size_t i = 0; i < sizeof found / sizeof found[0]; i++) {
        if (strcmp(isas[0].op[k]->name, found[i].op) != 0) continue;
        for (int j = 0; j < 64; j++) x[0][j] = j % 2 ? found[i].x : -found[i].x;
        fn(k, type, 64, x);
    }
}

static void for_all_lanes_ops(void (*sweep)(int, ad_type, chunk_fn), chunk_fn fn) {
    for (int k = 0; k < isas[0].n; k++)
        for (int type = 0; type < 2; type++)
            if (isas[0].op[k]->lanes[type]) sweep(k, (ad_type)type, fn);
}

// ---- tests of lanes kernels ----------------------------------------------------------------------------------------

static void test_lists_agree(void **state) {
    (void)state;
    for (int i = 1; i < n_isas; i++) {
        assert_int_equal(isas[i].n, isas[0].n);
        for (int k = 0; k < isas[0].n; k++) assert_string_equal(isas[i].op[k]->name, isas[0].op[k]->name);
    }
}

static void test_every_op_has_a_test(void **state) {
    (void)state;
    for (int k = 0; k < isas[0].n; k++)
        if (isas[0].op[k]->n_tests < 1) fail_msg("op %s has no ad_op_test", isas[0].op[k]->name);
}

static void test_bit_patterns(void **state) {
    (void)state;
    for_all_lanes_ops(sweep_many, compare_chunk);
}

static void test_uniform(void **state) {
    (void)state;
    for_all_lanes_ops(sweep_uniform, compare_chunk);
}

static void test_special(void **state) {
    (void)state;
    for_all_lanes_ops(sweep_special, compare_chunk);
}

// The two sets with fma promise the same bits in f32 for what is not SLEEF's; SLEEF keeps it too on this sweep.
static void equal_bits_chunk(int k, ad_type type, int n, double (*x)[CHUNK]) {
    static double y[CHUNK], z[CHUNK];
    run(isas[1].op[k], type, n, x, y);
    run(isas[2].op[k], type, n, x, z);
    for (int j = 0; j < n; j++)
        if (y[j] != z[j] && !(isnan(y[j]) && isnan(z[j])))
            fail_msg("%s f%d of %a, %a: avx2 %a, avx512 %a", isas[1].op[k]->name, type ? 64 : 32, x[0][j], x[1][j],
                     y[j], z[j]);
}

static void test_avx2_equals_avx512(void **state) {
    (void)state;
    if (n_isas < 3) skip();
    for_all_lanes_ops(sweep_uniform, equal_bits_chunk);
}

// An element's bits do not depend on its neighbours, whatever rare case these take a vector into.
static void alone_chunk(int k, ad_type type, int n, double (*x)[CHUNK]) {
    static const double extreme[] = {INFINITY, NAN, 1e-30, 1e30, 88.9, 710.1, 100, 0};
    static double mixed[3][CHUNK], y[CHUNK], one[3][CHUNK], alone[CHUNK];
    for (int o = 0; o < 3; o++)
        for (int j = 0; j < n; j++) mixed[o][j] = (j + o) % 3 == 1 ? extreme[j / 3 % 8] : x[o][j];
    for (int i = 0; i < n_isas; i++) {
        run(isas[i].op[k], type, n, mixed, y);
        for (int j = 0; j < n; j += 5) {
            for (int o = 0; o < 3; o++) one[o][0] = mixed[o][j];
            run(isas[i].op[k], type, 1, one, alone);
            if (y[j] != alone[0] && !(isnan(y[j]) && isnan(alone[0])))
                fail_msg("%s %s f%d of (%a, %a, %a): %a among others, %a alone", isas[i].name, isas[i].op[k]->name,
                         type ? 64 : 32, one[0][0], one[1][0], one[2][0], y[j], alone[0]);
        }
    }
}

static void test_alone(void **state) {
    (void)state;
    for_all_lanes_ops(sweep_uniform, alone_chunk);
}

// With denormals flushed, as in a run: results of normal operands stay within bounds, or are 0 where they are not
// normal.
#if defined(__SSE__)
static void flushed_chunk(int k, ad_type type, int n, double (*x)[CHUNK]) {
    static double y[CHUNK];
    const reference *r = reference_of(isas[0].op[k]);
    for (int i = 0; i < n_isas; i++) {
        const ad_op *op = isas[i].op[k];
        unsigned mode = _mm_getcsr();
        _mm_setcsr(mode | 0x8040);  // flush to zero, denormals are zero
        run(op, type, n, x, y);
        _mm_setcsr(mode);
        for (int j = 0; j < n; j++) {
            double v[] = {x[0][j], x[1][j], x[2][j]};
            bool normal = !r->domain || r->domain(v[0], v[1], v[2]);
            for (int o = 0; o < r->n; o++) normal = normal && !(v[o] != 0 && fabs(v[o]) < smallest[type]);
            real exact = r->f(v[0], v[1], v[2]);
            if (normal && !within(op, type, y[j], exact) && !(fabsl(exact) < smallest[type] && y[j] == 0))
                fail_msg("%s %s f%d of (%a, %a): %a, expected %La", isas[i].name, op->name, type ? 64 : 32, v[0], v[1],
                         y[j], exact);
        }
    }
}

static void test_flushed(void **state) {
    (void)state;
    for_all_lanes_ops(sweep_few, flushed_chunk);
    for_all_lanes_ops(sweep_special, flushed_chunk);
    for_all_lanes_ops(sweep_found, flushed_chunk);
}
#endif

// n elements that end where the memory ends: one read or written beyond is a fault.
static void *edge_new(size_t bytes, void **pages) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    assert_int_equal(mprotect(p + page, page, PROT_NONE), 0);
    *pages = p;
    return p + page - bytes;
}

static void edge_free(void *pages) { munmap(pages, 2 * (size_t)sysconf(_SC_PAGESIZE)); }

// The first n of CHUNK results, computed in arrays of exactly n elements; in_place: y is operand number in_place.
static void check_tail(const isa *i, int k, ad_type type, int n, int in_place) {
    static double x[3][CHUNK], all[CHUNK], y[CHUNK];
    uint64_t seed = 11;
    for (int o = 0; o < 3; o++)
        for (int j = 0; j < 64; j++) x[o][j] = uniform(&seed, 0.05, 0.95);
    run(i->op[k], type, 64, x, all);
    void *pages[4], *edge[4];
    for (int o = 0; o < 4; o++) edge[o] = edge_new((size_t)n * ad_type_size(type), &pages[o]);
    for (int o = 0; o < 3; o++) to_type(type, x[o], edge[o], n);
    void *out = in_place < 0 ? edge[3] : edge[in_place];
    const void *operands[] = {edge[0], edge[1], edge[2]};
    memset(pages[3], 0x5a, 64);
    i->op[k]->lanes[type]((size_t)n, out, operands, reference_of(i->op[k])->attr);
    from_type(type, out, y, n);
    for (int j = 0; j < n; j++)
        if (y[j] != all[j] && !(isnan(y[j]) && isnan(all[j])))
            fail_msg("%s %s f%d: element %d of %d is %a, of 64 is %a", i->name, i->op[k]->name, type ? 64 : 32, j, n,
                     y[j], all[j]);
    for (int o = 0; o < 4; o++) edge_free(pages[o]);
}

static void test_tails(void **state) {
    (void)state;
    for (int i = 0; i < n_isas; i++)
        for (int k = 0; k < isas[0].n; k++)
            for (int n = 0; n <= 40 && isas[i].op[k]->lanes[0]; n++)
                check_tail(&isas[i], k, n % 2 ? AD_F32 : AD_F64, n, -1);
    for (int i = 0; i < n_isas; i++)
        for (int k = 0; k < isas[0].n; k++)
            for (int n = 0; n <= 40 && isas[i].op[k]->lanes[0]; n++)
                check_tail(&isas[i], k, n % 2 ? AD_F64 : AD_F32, n, -1);
}

static void test_in_place(void **state) {
    (void)state;
    for (int i = 0; i < n_isas; i++)
        for (int k = 0; k < isas[0].n; k++)
            for (int o = 0; isas[i].op[k]->lanes[0] && o < reference_of(isas[i].op[k])->n; o++) {
                check_tail(&isas[i], k, AD_F32, 61, o);
                check_tail(&isas[i], k, AD_F64, 61, o);
            }
}

// The documented limits, exactly, signs of zeros included.
static void test_limits(void **state) {
    (void)state;
    static const struct {
        const char *op;
        double x, y;
    } table[] = {
        {"exp", -INFINITY, 0},
        {"exp", INFINITY, INFINITY},
        {"exp", 0, 1},
        {"log", 0, -INFINITY},
        {"log", -0.0, -INFINITY},
        {"log", 1, 0},
        {"log", INFINITY, INFINITY},
        {"tanh", 0, 0},
        {"tanh", -0.0, -0.0},
        {"tanh", INFINITY, 1},
        {"tanh", -INFINITY, -1},
        {"tanh", 20, 1},
        {"tanh", -20, -1},
        {"sigmoid", 0, 0.5},
        {"sigmoid", INFINITY, 1},
        {"sigmoid", -INFINITY, 0},
        {"sigmoid", -3e38, 0},
        {"sigmoid", 3e38, 1},
        {"softplus", -INFINITY, 0},
        {"softplus", INFINITY, INFINITY},
        {"softplus", 0x1p127, 0x1p127},
        {"softplus", -0x1p127, 0},
        {"relu", -0.0, 0},
        {"relu", -INFINITY, 0},
        {"relu", INFINITY, INFINITY},
        {"sqrt", -0.0, -0.0},
        {"reciprocal", -0.0, -INFINITY},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++)
        for (int i = 0; i < n_isas; i++)
            for (int k = 0; k < isas[i].n; k++)
                for (int type = 0; type < 2 && !strcmp(isas[i].op[k]->name, table[t].op); type++) {
                    static double x[3][CHUNK], y[CHUNK];
                    for (int j = 0; j < 19; j++) x[0][j] = table[t].x;
                    run(isas[i].op[k], (ad_type)type, 19, x, y);
                    for (int j = 0; j < 19; j++)
                        if (y[j] != table[t].y || signbit(y[j]) != signbit(table[t].y))
                            fail_msg("%s %s f%d(%g) = %g", isas[i].name, table[t].op, type ? 64 : 32, table[t].x, y[j]);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists_agree),
        cmocka_unit_test(test_every_op_has_a_test),
        cmocka_unit_test(test_bit_patterns),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_avx2_equals_avx512),
        cmocka_unit_test(test_alone),
#if defined(__SSE__)
        cmocka_unit_test(test_flushed),
#endif
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_in_place),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, find_isas, NULL);
}
