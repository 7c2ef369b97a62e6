// softmax_real.h -- lanes of softmax.c for one element type: REAL, NAME(x) for its functions, V(x) for its vectors.

// A vector of lanes: the largest element and what is subtracted before exponentials are taken; sums of e^(x - base), of
// the largest elements (1 each) apart from the rest, which would vanish beside them.
typedef struct NAME(state) {
    VEC top, base;
    vd ones[HALVES], rest[HALVES];
} NAME(state);

AD_INLINE VEC NAME(load)(const REAL *x, int64_t m) { return m < WIDTH ? V(load_part)(x, (size_t)m) : V(load)(x); }

AD_INLINE void NAME(store)(REAL *y, VEC a, int64_t m) {
    if (m < WIDTH) V(store_part)(y, a, (size_t)m);
    else V(store)(y, a);
}

// NaN is left for the exponentials to find.
AD_INLINE VEC NAME(top)(VEC top, const REAL *x, int64_t step, int64_t n, int64_t m) {
    for (int64_t i = 0; i < n; i++) top = V(max)(NAME(load)(x + i * step, m), top);
    return top;
}

// Elements that are all -inf have exponentials 0: they must not be subtracted from each other.
AD_INLINE void NAME(start)(NAME(state) *s, VEC top) {
    s->top = top;
    s->base = V(if_less)(V(set)(-INFINITY), top, top, V(set)(0));
    for (int h = 0; h < HALVES; h++) s->ones[h] = s->rest[h] = vd_set(0);
}

// x - base, 0 where both are inf.
AD_INLINE VEC NAME(below_base)(const NAME(state) *s, VEC x) {
    VEC infinite_or_nan = V(if_less)(V(set)(LARGEST), x, V(set)(0), x);
    return V(if_less)(x, V(set)(INFINITY), x - s->base, infinite_or_nan);
}

// Adds the exponentials of n lines; keeps them in y where that is not NULL.
AD_INLINE void NAME(add)(NAME(state) *s, const REAL *x, int64_t step, int64_t n, int64_t m, REAL *y, int64_t y_step) {
    for (int64_t i = 0; i < n; i++) {
        VEC d = NAME(below_base)(s, NAME(load)(x + i * step, m)), e = V(exp)(d);
        VEC rest = V(if_less)(d, V(set)(0), e, V(set)(0)), one = e - rest;
        if (y) NAME(store)(y + i * y_step, e, m);
        s->rest[0] = s->rest[0] + WIDEN_LOW(rest);
        s->ones[0] = s->ones[0] + WIDEN_LOW(one);
        if (HALVES == 1) continue;
        s->rest[HALVES - 1] = s->rest[HALVES - 1] + WIDEN_HIGH(rest);
        s->ones[HALVES - 1] = s->ones[HALVES - 1] + WIDEN_HIGH(one);
    }
}

// log of the sum, finite also for a sum of 0 (which the largest element, -inf, then makes -inf).
AD_INLINE vd NAME(log_sum)(const NAME(state) *s, int h) {
    return vd_log1p(vd_max(vd_set(-0.5), (s->ones[h] - vd_set(1)) + s->rest[h]));
}

// A function of the sums, rounded to REAL.
AD_INLINE VEC NAME(result)(const NAME(state) *s, softmax_kind kind) {
    REAL y[WIDTH];
    for (int h = 0; h < HALVES; h++) {
        vd v;
        if (kind == SOFTMAX) v = vd_set(1) / vd_max(vd_set(0.5), s->ones[h] + s->rest[h]);  // the sum is 0, or >= 1
        else v = NAME(log_sum)(s, h);
        if (kind == LOGSUMEXP) v = (h ? WIDEN_HIGH(s->top) : WIDEN_LOW(s->top)) + v;
        NARROW(y + h * VD, v);
    }
    return V(load)(y);
}

// Lines of a result of x's shape. Exponentials are in y for SOFTMAX.
AD_INLINE void NAME(write)(const NAME(state) *s, VEC result, const REAL *x, int64_t step, int64_t n, int64_t m, REAL *y,
                           int64_t y_step, softmax_kind kind) {
    for (int64_t i = 0; i < n; i++) {
        REAL *line = y + i * y_step;
        VEC v = kind == SOFTMAX ? NAME(load)(line, m) * result
                                : NAME(below_base)(s, NAME(load)(x + i * step, m)) - result;
        NAME(store)(line, v, m);
    }
}

// m lanes, at most a vector of them.
AD_INLINE void NAME(lanes)(const REAL *x, int64_t step, int64_t n, int64_t m, REAL *y, int64_t y_step,
                           softmax_kind kind) {
    NAME(state) s;
    NAME(start)(&s, NAME(top)(V(set)(-INFINITY), x, step, n, m));
    NAME(add)(&s, x, step, n, m, kind == SOFTMAX ? y : NULL, y_step);
    VEC result = NAME(result)(&s, kind);
    if (kind == LOGSUMEXP) NAME(store)(y, result, m);
    else NAME(write)(&s, result, x, step, n, m, y, y_step, kind);
}

// The sum of PARTS doubles as a tree, in an order of its own for every instruction set the same.
AD_INLINE vd NAME(tree)(double *part) {
    for (int half = PARTS / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j++) part[j] += part[j + half];
    return vd_set(part[0]);
}

// Sums of all lanes of all states, in every lane.
AD_INLINE void NAME(join)(NAME(state) *s) {
    double ones[PARTS], rest[PARTS];
    for (int g = 0; g < PARTS / WIDTH; g++)
        for (int h = 0; h < HALVES; h++) {
            vd_store(ones + g * WIDTH + h * VD, s[g].ones[h]);
            vd_store(rest + g * WIDTH + h * VD, s[g].rest[h]);
        }
    const vd all_ones = NAME(tree)(ones), all_rest = NAME(tree)(rest);
    for (int h = 0; h < HALVES; h++) s[0].ones[h] = all_ones, s[0].rest[h] = all_rest;
}

// One lane whose n elements are contiguous: PARTS of them side by side, the last ones filled up with -inf.
AD_INLINE void NAME(contiguous)(const REAL *x, int64_t n, REAL *y, softmax_kind kind) {
    const int64_t lines = n / PARTS, whole = lines * PARTS;
    REAL last[PARTS], last_y[PARTS], top[PARTS];
    for (int j = 0; j < PARTS; j++) last[j] = whole + j < n ? x[whole + j] : -(REAL)INFINITY;
    NAME(state) s[PARTS / WIDTH];
    for (int g = 0; g < PARTS / WIDTH; g++) {
        VEC t = NAME(top)(V(set)(-INFINITY), x + g * WIDTH, PARTS, lines, WIDTH);
        V(store)(top + g * WIDTH, NAME(top)(t, last + g * WIDTH, 0, 1, WIDTH));
    }
    for (int j = 1; j < PARTS; j++) top[0] = top[j] > top[0] ? top[j] : top[0];
    for (int g = 0; g < PARTS / WIDTH; g++) {
        NAME(start)(&s[g], V(set)(top[0]));
        NAME(add)(&s[g], x + g * WIDTH, PARTS, lines, WIDTH, kind == SOFTMAX ? y + g * WIDTH : NULL, PARTS);
        NAME(add)(&s[g], last + g * WIDTH, 0, 1, WIDTH, last_y + g * WIDTH, 0);
    }
    NAME(join)(s);
    VEC result = NAME(result)(&s[0], kind);
    if (kind == LOGSUMEXP) {
        V(store_part)(y, result, 1);
        return;
    }
    for (int g = 0; g < PARTS / WIDTH; g++) {
        NAME(write)(&s[0], result, x + g * WIDTH, PARTS, lines, WIDTH, y + g * WIDTH, PARTS, kind);
        NAME(write)(&s[0], result, last + g * WIDTH, 0, 1, WIDTH, last_y + g * WIDTH, 0, kind);
    }
    for (int64_t j = whole; j < n; j++) y[j] = last_y[j - whole];
}

AD_INLINE void NAME(kernel)(const ad_kernel *k, softmax_kind kind) {
    const axis_runs runs = axis_runs_of(k, k->attr);
    const REAL *x = k->x[0].data;
    REAL *y = k->y;
    for (int64_t p = 0; p < runs.pre; p++)
        for (int64_t q = 0; q < runs.post; q++) {
            const REAL *from = x + axis_x(&runs, p, q);
            REAL *to = y + (kind == LOGSUMEXP ? axis_y(&runs, p, q) : axis_y_full(&runs, p, q));
            if (runs.lanes == 1 && runs.x_step == 1 && runs.n >= PARTS) {
                NAME(contiguous)(from, runs.n, to, kind);
                continue;
            }
            for (int64_t r = 0; r < runs.lanes; r += WIDTH)
                NAME(lanes)(from + r, runs.x_step, runs.n, runs.lanes - r, to + r, runs.y_step, kind);
        }
}

static void NAME(logsumexp)(const ad_kernel *k) { NAME(kernel)(k, LOGSUMEXP); }
static void NAME(softmax)(const ad_kernel *k) { NAME(kernel)(k, SOFTMAX); }
static void NAME(log_softmax)(const ad_kernel *k) { NAME(kernel)(k, LOG_SOFTMAX); }
