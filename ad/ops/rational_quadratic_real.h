// rational_quadratic_real.h -- kernels of rational_quadratic.c for one element type: REAL, NAME(x) for functions,
// V(x) for its vectors. Exponentials and softplus are taken in REAL, everything else is f64.

// m lanes (any number: none below 1) of a line, widened.
AD_INLINE vd NAME(load)(const REAL *x, int64_t m) {
    if (m >= VD) return WIDEN(x);
    return m > 0 ? WIDEN_PART(x, (size_t)m) : vd_set(0);
}

AD_INLINE void NAME(store)(REAL *y, vd a, int64_t m) {
    REAL part[VD];
    if (m >= VD) {
        NARROW(y, a);
        return;
    }
    NARROW(part, a);
    for (int64_t r = 0; r < m; r++) y[r] = part[r];
}

AD_INLINE VEC NAME(load_whole)(const REAL *x, int64_t m) { return m < WIDTH ? V(load_part)(x, (size_t)m) : V(load)(x); }

AD_INLINE void NAME(widen)(VEC a, vd *half) {
    half[0] = WIDEN_LOW(a);
    half[HALVES - 1] = WIDEN_HIGH(a);
}

// Exponentials of K lines, times scale, below the largest, e [K][HALVES], and the reciprocals of their sums.
AD_INLINE void NAME(exponentials)(const REAL *raw, int64_t stride, int64_t K, int64_t m, double scale, vd *e,
                                  vd *inverse) {
    const VEC factor = V(set)((REAL)scale);
    VEC top = NAME(load_whole)(raw, m);
    for (int64_t k = 1; k < K; k++) top = V(max)(NAME(load_whole)(raw + k * stride, m), top);
    for (int h = 0; h < HALVES; h++) inverse[h] = vd_set(0);
    for (int64_t k = 0; k < K; k++) {
        NAME(widen)(EXP((NAME(load_whole)(raw + k * stride, m) - top) * factor), e + k * HALVES);
        for (int h = 0; h < HALVES; h++) inverse[h] = inverse[h] + e[k * HALVES + h];
    }
    for (int h = 0; h < HALVES; h++) inverse[h] = vd_set(1) / inverse[h];
}

// The splines of m lanes.
typedef struct NAME(lanes) {
    spline_bin bin[HALVES];
    vd inside[HALVES];  // the point, moved into the box
    vd *e;              // [2][K][HALVES]: exponentials of raw widths and heights
} NAME(lanes);

// raw: the first parameter; steps: derivatives of slopes are wanted too.
AD_INLINE void NAME(find)(NAME(lanes) *s, const spline_attr *a, int64_t K, const REAL *x, const REAL *raw,
                          int64_t stride, int64_t m, bool steps) {
    vd inverse[2][HALVES];
    REAL knot[2][WIDTH];
    NAME(exponentials)(raw, stride, K, m, a->scale, s->e, inverse[0]);
    NAME(exponentials)(raw + K * stride, stride, K, m, a->scale, s->e + K * HALVES, inverse[1]);
    for (int h = 0; h < HALVES; h++) {
        const REAL *slopes = raw + 2 * K * stride + h * VD;
        const int64_t left = m - h * VD;
        const vd v = NAME(load)(x + h * VD, left);
        spline_bin bin = spline_first(a, K, s->e + h, HALVES, inverse[0][h], inverse[1][h]);
        vd before = vd_set(0), after = NAME(load)(slopes, left);
        s->inside[h] = vd_min(vd_set(a->bound), vd_max(vd_set(-a->bound), v));
        bin.raw0 = before, bin.raw1 = after;
        for (int64_t k = 1; k < K; k++) {
            before = after;
            after = k < K - 1 ? NAME(load)(slopes + k * stride, left) : vd_set(0);
            spline_next(&bin, a, K, k, s->e + h, HALVES, s->inside[h], before, after);
        }
        NARROW(knot[0] + h * VD, bin.raw0);
        NARROW(knot[1] + h * VD, bin.raw1);
        s->bin[h] = bin;
    }
    for (int side = 0; side < 2; side++) {
        const VEC at = V(load)(knot[side]);
        vd slope[HALVES], step[HALVES];
        NAME(widen)(V(softplus)(at), slope);
        if (steps) NAME(widen)(V(sigmoid)(at), step);
        for (int h = 0; h < HALVES; h++) {
            *(side ? &s->bin[h].d1 : &s->bin[h].d0) = slope[h];
            if (steps) *(side ? &s->bin[h].step1 : &s->bin[h].step0) = step[h];
        }
    }
    for (int h = 0; h < HALVES; h++) spline_edges(&s->bin[h], a, K);
}

static void NAME(rational_quadratic)(const ad_kernel *k) {
    const spline_attr *a = k->attr;
    const ad_kernel_operand *x = &k->x[0], *p = &k->x[1];
    const int64_t P = p->shape->dim[p->shape->rank - 1], K = (P + 1) / 3, N = ad_shape_count(*x->shape), R = k->R;
    NAME(lanes) s = {.e = k->scratch};
    for (int64_t f = 0; f < N; f++)
        for (int64_t r = 0; r < R; r += WIDTH) {
            const int64_t m = R - r;
            const REAL *xf = (const REAL *)x->data + f * x->stride + r;
            REAL *y = (REAL *)k->y + f * R + r;
            NAME(find)(&s, a, K, xf, (const REAL *)p->data + f * P * p->stride + r, p->stride, m, false);
            for (int h = 0; h < HALVES; h++) {
                const vd v = NAME(load)(xf + h * VD, m - h * VD);
                const spline_point at = spline_at(&s.bin[h], s.inside[h], a->inverse);
                const vd tail = vd_if_equal(v, v, vd_set(0), v);
                NAME(store)(y + h * VD, vd_if_equal(s.inside[h], v, at.value, v), m - h * VD);
                NAME(store)(y + N * R + h * VD, vd_if_equal(s.inside[h], v, at.log_slope, tail), m - h * VD);
            }
        }
}

// Gradients of one spline's parameters, lines gradient[j * R].
AD_INLINE void NAME(put_gradients)(const NAME(lanes) *s, const spline_gradient *g, int h, int64_t K, REAL *gradient,
                                   int64_t R, int64_t m) {
    const spline_bin *bin = &s->bin[h];
    for (int side = 0; side < 2; side++) {
        const vd *e = s->e + side * K * HALVES + h;
        REAL *to = gradient + side * K * R;
        for (int64_t j = 0; j < K; j++) {
            const vd number = vd_set((double)j), here = vd_if_equal(number, bin->k, g->here[side], vd_set(0));
            const vd gj = vd_if_less(number, bin->k, g->before[side], here);
            NAME(store)(to + j * R, spline_used(g, e[j * HALVES] * g->scale[side] * (gj - g->mean[side])), m);
        }
    }
    for (int64_t j = 0; j < K - 1; j++) {
        const vd right = vd_if_equal(vd_set((double)j), bin->k, g->raw1, vd_set(0));
        const vd both = vd_if_equal(vd_set((double)(j + 1)), bin->k, g->raw0, right);
        NAME(store)(gradient + (2 * K + j) * R, spline_used(g, both), m);
    }
}

static void NAME(rational_quadratic_vjp)(const ad_kernel *k) {
    const spline_attr *a = k->attr;
    const ad_kernel_operand *x = &k->x[0], *p = &k->x[1], *gy = &k->x[3];
    const int64_t P = p->shape->dim[p->shape->rank - 1], K = (P + 1) / 3, N = ad_shape_count(*x->shape), R = k->R;
    NAME(lanes) s = {.e = k->scratch};
    for (int64_t f = 0; f < N; f++)
        for (int64_t r = 0; r < R; r += WIDTH) {
            const REAL *xf = (const REAL *)x->data + f * x->stride + r;
            const REAL *g0 = (const REAL *)gy->data + f * gy->stride + r, *g1 = g0 + N * gy->stride;
            REAL *gx = (REAL *)k->y + f * R + r, *gp = (REAL *)k->y + (N + f * P) * R + r;
            NAME(find)(&s, a, K, xf, (const REAL *)p->data + f * P * p->stride + r, p->stride, R - r, true);
            for (int h = 0; h < HALVES; h++) {
                const int64_t m = R - r - h * VD;
                const vd v = NAME(load)(xf + h * VD, m);
                const vd gv = NAME(load)(g0 + h * VD, m), gl = NAME(load)(g1 + h * VD, m);
                const vd in = s.inside[h], zero = vd_set(0);
                const spline_gradient g = spline_pull(&s.bin[h], a, K, in, vd_if_equal(in, v, gv, zero),
                                                      vd_if_equal(in, v, gl, zero));
                NAME(store)(gx + h * VD, vd_if_equal(in, v, spline_used(&g, g.x), gv), m);
                NAME(put_gradients)(&s, &g, h, K, gp + h * VD, R, m);
            }
        }
}
