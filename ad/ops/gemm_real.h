// gemm_real.h -- the products of gemm.h for one element type: included by gemm.c with REAL and REAL_NAME defined.
#define VEC REAL_NAME(vec)
#define WIDTH REAL_NAME(WIDTH)
#define LOAD REAL_NAME(load)
#define STORE REAL_NAME(store)
#define LOAD_PART REAL_NAME(load_part)
#define STORE_PART REAL_NAME(store_part)
#define SPREAD REAL_NAME(spread)
#define MUL_ADD REAL_NAME(mul_add)
#define RELU REAL_NAME(relu)
#define RELU_SLOPE REAL_NAME(relu_slope)
#define PANEL REAL_NAME(PANEL)
#define COLUMNS REAL_NAME(columns)

enum { PANEL = TILE_V * WIDTH };

// A panel of columns of C, nv vectors wide (the last holds `last` columns), and what its tiles share.
typedef struct COLUMNS {
    int64_t M, K, am, ak, ldb, ldc, sm, last;
    const REAL *A, *B;  // rows of B are nv whole vectors
    const REAL *start;  // C starts from start[m*sm]; NULL: from itself
    REAL *C;
    bool far;  // C is added to and does not stay in the first cache
    int epilogue;
    const REAL *with;
} COLUMNS;

// The tile of mt rows from row m0, all in registers over K steps.
AD_VECTOR void REAL_NAME(tile)(const int mt, const int nv, const COLUMNS *p, int64_t m0) {
    const int64_t am = p->am, ak = p->ak, ldb = p->ldb, ldc = p->ldc, last = p->last, K = p->K;
    const REAL *A = p->A + m0 * am, *B = p->B, *start = p->start;
    REAL *C = p->C + m0 * ldc, *c = C;
    const int w = (nv - 1) * WIDTH;  // where the last vector starts
    VEC acc[TILE_M][TILE_V];
    if (start) {
        start += m0 * p->sm;
        AD_UNROLL for (int m = 0; m < mt; m++, start += p->sm) {
            VEC s = SPREAD(*start);
            AD_UNROLL for (int v = 0; v < nv; v++) acc[m][v] = s;
        }
    } else {
        AD_UNROLL for (int m = 0; m < mt; m++, c += ldc) {
            AD_UNROLL for (int v = 0; v < nv - 1; v++) acc[m][v] = LOAD(c + v * WIDTH);
            acc[m][nv - 1] = last == WIDTH ? LOAD(c + w) : LOAD_PART(c + w, last);
        }
        // The next tile's part of a C too large for the first cache: its rows are far apart, which defeats the
        // hardware.
        if (p->far) {
            AD_UNROLL for (int m = 0; m < mt; m++, c += ldc) {
                AD_UNROLL for (int v = 0; v < nv; v++) AD_PREFETCH(c + v * WIDTH);
            }
        }
    }
    // The next tile's rows of A, where they are contiguous or nearly so: no more than one line a step.
    const REAL *next = A + mt * am;
    const int64_t step = ak == 1 ? mt : ak;
    for (int64_t k = 0; k < K; k++, A += ak, B += ldb, next += step) {
        VEC b[TILE_V];
        AD_PREFETCH_READ(next);
        AD_UNROLL for (int v = 0; v < nv; v++) b[v] = LOAD(B + v * WIDTH);
        AD_UNROLL for (int m = 0; m < mt; m++) {
            VEC a = SPREAD(A[m * am]);
            AD_UNROLL for (int v = 0; v < nv; v++) acc[m][v] = MUL_ADD(a, b[v], acc[m][v]);
        }
    }
    if (p->epilogue == AD_EPILOGUE_RELU) {
        AD_UNROLL for (int m = 0; m < mt; m++) {
            AD_UNROLL for (int v = 0; v < nv; v++) acc[m][v] = RELU(acc[m][v]);
        }
    } else if (p->epilogue == AD_EPILOGUE_RELU_SLOPE) {
        const REAL *d = p->with + m0 * ldc;
        AD_UNROLL for (int m = 0; m < mt; m++, d += ldc) {
            AD_UNROLL for (int v = 0; v < nv - 1; v++) acc[m][v] = RELU_SLOPE(acc[m][v], LOAD(d + v * WIDTH));
            acc[m][nv - 1] = RELU_SLOPE(acc[m][nv - 1], last == WIDTH ? LOAD(d + w) : LOAD_PART(d + w, last));
        }
    }
    c = C;
    AD_UNROLL for (int m = 0; m < mt; m++, c += ldc) {
        AD_UNROLL for (int v = 0; v < nv - 1; v++) STORE(c + v * WIDTH, acc[m][v]);
        if (last == WIDTH) {
            STORE(c + w, acc[m][nv - 1]);
        } else {
            STORE_PART(c + w, last, acc[m][nv - 1]);
        }
    }
}

AD_VECTOR void REAL_NAME(tiles)(const int nv, const COLUMNS *p) {
    int64_t mt;
    for (int64_t m = 0; m < p->M; m += mt) {
        int64_t left = p->M - m;
        mt = left >= 2 * TILE_M ? TILE_M : left > TILE_M ? (left + 1) / 2 : left;  // 7 rows are 4 and 3, not 6 and 1
        switch (mt) {
            case 6: REAL_NAME(tile)(6, nv, p, m); break;
            case 5: REAL_NAME(tile)(5, nv, p, m); break;
            case 4: REAL_NAME(tile)(4, nv, p, m); break;
            case 3: REAL_NAME(tile)(3, nv, p, m); break;
            case 2: REAL_NAME(tile)(2, nv, p, m); break;
            default: REAL_NAME(tile)(1, nv, p, m); break;
        }
    }
}

// width columns, at most PANEL.
static void REAL_NAME(panel)(COLUMNS *p, int64_t width) {
    int64_t nv = (width + WIDTH - 1) / WIDTH;
    p->last = width - (nv - 1) * WIDTH;
    switch (nv) {
        case 0: break;
        case 1: REAL_NAME(tiles)(1, p); break;
        case 2: REAL_NAME(tiles)(2, p); break;
#if defined(__AVX512F__)
        case 3: REAL_NAME(tiles)(3, p); break;
        default: REAL_NAME(tiles)(4, p); break;
#endif
    }
}

static const REAL REAL_NAME(zero) = 0;

// The panel at column n over k0 .. k0+K; a last vector that is not whole goes through a padded copy of its part of B.
static void REAL_NAME(block)(const ad_gemm *g, int64_t k0, int64_t K, int64_t n) {
    const REAL *start = g->bias ? g->bias : &REAL_NAME(zero);
    COLUMNS p = {.M = g->M, .K = K, .am = g->am, .ak = g->ak, .ldb = g->ldb, .ldc = g->ldc, .sm = g->bias ? 1 : 0,
                 .A = (const REAL *)g->A + k0 * g->ak, .B = (const REAL *)g->B + k0 * g->ldb + n,
                 .start = g->add || k0 > 0 ? NULL : start, .C = (REAL *)g->C + n,
                 .epilogue = k0 + K == g->K ? g->epilogue : AD_EPILOGUE_NONE};
    if (p.epilogue == AD_EPILOGUE_RELU_SLOPE) p.with = (const REAL *)g->with + n;
    int64_t width = g->N - n < PANEL ? g->N - n : PANEL, rest = width % WIDTH, whole = width - rest;
    _Alignas(64) REAL edge[BLOCK_K * WIDTH];
    REAL_NAME(panel)(&p, whole);
    if (rest == 0) return;
    for (int64_t k = 0; k < K; k++) STORE(edge + k * WIDTH, LOAD_PART(p.B + k * p.ldb + whole, rest));
    p.B = edge, p.ldb = WIDTH, p.C += whole;
    if (p.with) p.with += whole;
    REAL_NAME(panel)(&p, rest);
}

void AD_ISA_NAME(REAL_NAME(ad_gemm))(const ad_gemm *g) {
    const int64_t most = g->ak == 1 ? BLOCK_K : BLOCK_K / 2;
    for (int64_t k = 0; k == 0 || k < g->K; k += most) {
        int64_t K = g->K - k < most ? g->K - k : most;
        for (int64_t n = 0; n < g->N; n += PANEL) REAL_NAME(block)(g, k, K, n);
    }
}

// d[k*PANEL + n] = s[n*lds + k] for n < N <= PANEL, k < K. Whole blocks are written; what lies beyond N and K is
// arbitrary.
static void REAL_NAME(pack_transposed)(int64_t N, int64_t K, const REAL *s, int64_t lds, REAL *d) {
    _Alignas(64) REAL corner[WIDTH * WIDTH];
    for (int64_t n = 0; n < N; n += WIDTH, s += WIDTH * lds, d += WIDTH) {
        int64_t rows = N - n < WIDTH ? N - n : WIDTH, k = 0;
        if (rows == WIDTH) {  // a constant for the compiler
            for (; k + WIDTH <= K; k += WIDTH) REAL_NAME(transpose_block)(WIDTH, s + k, lds, d + k * PANEL, PANEL);
        } else {
            for (; k + WIDTH <= K; k += WIDTH) REAL_NAME(transpose_block)(rows, s + k, lds, d + k * PANEL, PANEL);
        }
        if (k == K) continue;
        for (int64_t i = 0; i < rows; i++) STORE(corner + i * WIDTH, LOAD_PART(s + i * lds + k, K - k));
        REAL_NAME(transpose_block)(rows, corner, WIDTH, d + k * PANEL, PANEL);
    }
}

// Element j of the result is row j of a times b, summed over k, for rows <= WIDTH rows of a (the last one again for more).
AD_VECTOR VEC REAL_NAME(dots)(int64_t rows, int64_t K, const REAL *a, int64_t lda, const REAL *b) {
    VEC acc[WIDTH];
    int64_t k = 0;
    AD_UNROLL for (int j = 0; j < WIDTH; j++) acc[j] = SPREAD(0);
    for (; k + WIDTH <= K; k += WIDTH) {
        const REAL *row = a + k;
        VEC x = LOAD(b + k);
        AD_UNROLL for (int j = 0; j < WIDTH; j++, row += j < rows ? lda : 0) acc[j] = MUL_ADD(LOAD(row), x, acc[j]);
    }
    if (k < K) {
        const REAL *row = a + k;
        VEC x = LOAD_PART(b + k, K - k);
        AD_UNROLL for (int j = 0; j < WIDTH; j++, row += j < rows ? lda : 0)
            acc[j] = MUL_ADD(LOAD_PART(row, K - k), x, acc[j]);
    }
    return REAL_NAME(sum_each)(acc);
}

// The product as scalar products, for THIN columns at most; cm and cn are C's strides.
static void REAL_NAME(thin)(const ad_gemm *g, int64_t cm, int64_t cn) {
    const REAL *A = g->A, *B = g->B;
    REAL *C = g->C;
    _Alignas(64) REAL sum[WIDTH];
    for (int64_t m = 0; m < g->M; m += WIDTH, A += WIDTH * g->am, C += WIDTH * cm) {
        int64_t rows = g->M - m < WIDTH ? g->M - m : WIDTH;
        for (int64_t n = 0; n < g->N; n++) {
            const REAL *b = B + n * g->ldb;
            VEC all = rows == WIDTH ? REAL_NAME(dots)(WIDTH, g->K, A, g->am, b) : REAL_NAME(dots)(rows, g->K, A, g->am, b);
            STORE(sum, all);
            for (int64_t j = 0; j < rows; j++) {
                REAL *c = C + j * cm + n * cn;
                *c = g->add ? *c + sum[j] : sum[j];
            }
        }
    }
}

void AD_ISA_NAME(REAL_NAME(ad_gemm_nt))(const ad_gemm *g, void *scratch) {
    if (g->N <= THIN) {
        REAL_NAME(thin)(g, g->ldc, 1);
        return;
    }
    if (g->M <= THIN) {
        ad_gemm swapped = {.M = g->N, .N = g->M, .K = g->K, .A = g->B, .am = g->ldb, .B = g->A, .ldb = g->am,
                           .C = g->C, .add = g->add};
        REAL_NAME(thin)(&swapped, 1, g->ldc);
        return;
    }
    COLUMNS p = {.M = g->M, .K = g->K, .am = g->am, .ak = 1, .ldb = PANEL, .ldc = g->ldc, .A = g->A, .B = scratch,
                 .start = g->add ? NULL : &REAL_NAME(zero), .far = g->M * g->ldc > (int64_t)(32768 / sizeof(REAL))};
    for (int64_t n = 0; n < g->N; n += PANEL) {
        int64_t width = g->N - n < PANEL ? g->N - n : PANEL;
        p.C = (REAL *)g->C + n;
        REAL_NAME(pack_transposed)(width, g->K, (const REAL *)g->B + n * g->ldb, g->ldb, scratch);
        REAL_NAME(panel)(&p, width);
    }
}

#undef VEC
#undef WIDTH
#undef LOAD
#undef STORE
#undef LOAD_PART
#undef STORE_PART
#undef SPREAD
#undef MUL_ADD
#undef RELU
#undef RELU_SLOPE
#undef PANEL
#undef COLUMNS
