// root_real.h -- one step of the search for a root, for one element type: included by solver.c with REAL, REAL_NAME,
// EPS, MOST (the largest number) and SQRT defined.
//
// A bracketed Newton iteration with three more moves. While an end of the bracket is not known to have the right sign a
// Newton step goes at most there, and from there the bracket grows, ever faster. A Newton step that is lost in
// rounding, or does not shrink, is replaced by a longer one that tries to leave the root behind: a change of sign is
// the proof that ends the search. Everything else is bisection, also of brackets that Newton steps fail to shrink in
// CAREFREE evaluations, and from PATIENCE on. Written in selections, not branches, so that the lanes of a vector take
// their own moves.
#define ELEMENT REAL_NAME(element)
#define LIMITS REAL_NAME(limits)

typedef struct ELEMENT {
    REAL y, low, high, f_low, f_high, step, before, sign, status;
} ELEMENT;

typedef struct LIMITS {
    REAL tolerance, low, middle, half;  // the first bracket: its low end, its middle, half its width
} LIMITS;

AD_INLINE REAL REAL_NAME(larger)(REAL a, REAL b) {
    return a > b ? a : b;
}
AD_INLINE REAL REAL_NAME(smaller)(REAL a, REAL b) {
    return a < b ? a : b;
}
AD_INLINE REAL REAL_NAME(size)(REAL a) {
    return a < 0 ? -a : a;
}

// Between low and high: halfway, or between their orders of magnitude when these differ.
AD_INLINE REAL REAL_NAME(middle)(REAL low, REAL high) {
    REAL a = REAL_NAME(size)(low), b = REAL_NAME(size)(high);
    REAL far = REAL_NAME(larger)(a, b), near = REAL_NAME(smaller)(a, b);
    bool wide = far > 4 * (near + 1);
    near = low < 0 && high > 0 ? 0 : near;
    REAL order = SQRT(far) * SQRT(near + 1), half = (REAL)0.5 * low + (REAL)0.5 * high;
    return wide ? (b >= a ? order : -order) : half;
}

// The bracket after f and its slope at y. NaN teaches nothing. Conditions are chained through numbers: compilers do not
// make vectors of all that is joined by &.
AD_INLINE void REAL_NAME(learn)(ELEMENT *s, REAL f, REAL slope, const LIMITS *a) {
    REAL rise = f == f ? slope : 0, seen = (REAL)(rise > 0) - (REAL)(rise < 0), y = s->y;
    REAL turn = s->sign == 0 ? seen : 0;
    bool turned = turn < 0;  // points seen until then say nothing: f was flat there
    s->sign = s->sign != 0 ? s->sign : seen;
    s->low = turned ? y - a->half : s->low;
    s->high = turned ? y + a->half : s->high;
    s->f_low = turned ? 0 : s->f_low;
    s->f_high = turned ? 0 : s->f_high;
    f = s->sign < 0 ? -f : f;
    f = f > MOST ? MOST : f < -MOST ? -MOST : f;
    s->low = f < 0 ? y : s->low;
    s->f_low = f < 0 ? f : s->f_low;
    s->high = f > 0 ? y : s->high;
    s->f_high = f > 0 ? f : s->f_high;
    // A low or high end that y has reached without a change of sign moves on.
    REAL far = REAL_NAME(larger)(REAL_NAME(size)(y - a->middle), a->half);
    REAL tolerance = a->tolerance * REAL_NAME(larger)(1, REAL_NAME(size)(y));
    REAL reach = REAL_NAME(larger)(4 * far * (far / a->half), tolerance);
    REAL to_high = s->f_high == 0 ? s->high - y : (REAL)INFINITY, to_low = s->f_low == 0 ? y - s->low : (REAL)INFINITY;
    to_high = f < 0 ? to_high : (REAL)INFINITY;
    to_low = f > 0 ? to_low : (REAL)INFINITY;
    bool beyond_high = to_high <= tolerance, beyond_low = to_low <= tolerance;
    s->high = beyond_high ? REAL_NAME(smaller)(y + reach, MOST) : s->high;
    s->low = beyond_low ? REAL_NAME(larger)(y - reach, -MOST) : s->low;
}

// A bracket after NaN, which is taken for the end of where f is defined. Before anything is known its ends are tried.
AD_INLINE void REAL_NAME(learn_end)(ELEMENT *s, REAL count, const LIMITS *a) {
    bool known_low = s->f_low<0, known_high = s->f_high> 0;
    if (known_low) {
        s->high = s->y, s->f_high = -1;
    } else if (known_high || count == 1) {
        s->low = s->y, s->f_low = 1;
    } else if (count == 2) {
        s->high = s->low, s->f_high = -1;
        s->low = a->low, s->f_low = 0;
    }
}

// Where to go from y, or that the search is over; this is evaluation number count.
AD_INLINE void REAL_NAME(move)(ELEMENT *s, REAL f, REAL slope, REAL count, const LIMITS *a) {
    f = s->sign < 0 ? -f : f, slope = s->sign < 0 ? -slope : slope;
    REAL y = s->y, last = REAL_NAME(size)(s->step), size = REAL_NAME(size)(y);
    REAL tolerance = a->tolerance * REAL_NAME(larger)(1, size), rounding = EPS * size;
    REAL middle = REAL_NAME(middle)(s->low, s->high);
    bool below = f < 0, exact = f == 0, nan = f != f, open_low = s->f_low == 0, open_high = s->f_high == 0;
    bool known_low = s->f_low<0, known_high = s->f_high> 0, both = known_low & known_high;
    bool blind = nan & !known_low & !known_high, adjacent = !((middle > s->low) & (middle < s->high));
    bool narrow = adjacent | ((s->high - s->low <= tolerance) & !open_low & !open_high);
    bool found = exact | (both & narrow), failed = narrow | (blind & (count > 2));

    REAL other = below | (blind & (count == 1)) ? s->high : s->low, room = REAL_NAME(size)(other - y);
    REAL newton = REAL_NAME(size)(f) / slope,
         trial = REAL_NAME(larger)(2 * newton, REAL_NAME(larger)(tolerance / 2, rounding));
    bool tiny = newton <= REAL_NAME(larger)(tolerance / 8, rounding / 2), slow = newton > s->before / 2;
    bool late = both & (count >= CAREFREE), in_vain = room > 2 * last, tried_in_vain = (s->step < 0) & in_vain;
    bool model = (slope > 0) & (newton <= MOST) & (count < PATIENCE);
    trial = tried_in_vain & !late ? REAL_NAME(larger)(trial, 8 * last) : trial;
    bool past = (late & (trial < room / 4) & !tried_in_vain) | ((tiny | slow) & (trial < room) & !late);
    bool try_past = model & past, go = model & (newton < room) & !(past | tiny | slow | (late & in_vain));
    bool open = (below & open_high) | (open_low & !below), to_end = (open & !nan & !go & !try_past) | blind;
    REAL length = go ? newton : trial, next = below ? y + length : y - length;
    next = (go | try_past) & (next > s->low) & (next < s->high) ? next : middle;
    next = to_end ? other : next;

    REAL way = REAL_NAME(smaller)(REAL_NAME(size)(next - y), MOST), best = -s->f_low <= s->f_high ? s->low : s->high;
    next = found ? best : next;
    s->y = exact ? y : next;
    s->before = last;
    s->step = try_past ? -way : way;
    s->f_low = exact ? 0 : s->f_low;
    s->f_high = exact ? 0 : s->f_high;
    s->status = found ? ROOT_FOUND : failed ? ROOT_FAILED : ROOT_SEARCHING;
}

// One evaluation of R elements. What has finished stays. Loops apart, simple enough to be vectorised.
AD_INLINE void REAL_NAME(search)(const REAL *p, REAL *q, int64_t plane, int64_t R, const REAL *f, const REAL *slope,
                                 const REAL *count, const LIMITS *a) {
    int nans = 0;
    const LIMITS limits = *a;
    AD_IVDEP for (int64_t r = 0; r < R; r++) {
        const ELEMENT s = {.y = p[ROOT_Y * plane + r],
                           .low = p[ROOT_LOW * plane + r],
                           .high = p[ROOT_HIGH * plane + r],
                           .f_low = p[ROOT_F_LOW * plane + r],
                           .f_high = p[ROOT_F_HIGH * plane + r],
                           .sign = p[ROOT_SIGN * plane + r]};
        const REAL status = p[ROOT_STATUS * plane + r];
        ELEMENT t = s;
        REAL_NAME(learn)(&t, f[r], slope[r], &limits);
        bool stays = status != ROOT_SEARCHING;
        q[ROOT_LOW * plane + r] = stays ? s.low : t.low;
        q[ROOT_HIGH * plane + r] = stays ? s.high : t.high;
        q[ROOT_F_LOW * plane + r] = stays ? s.f_low : t.f_low;
        q[ROOT_F_HIGH * plane + r] = stays ? s.f_high : t.f_high;
        q[ROOT_SIGN * plane + r] = stays ? s.sign : t.sign;
    }
    for (int64_t r = 0; r < R; r++) nans += f[r] != f[r] ? 1 : 0;
    for (int64_t r = 0; r < R && nans > 0; r++) {
        if (f[r] == f[r] || p[ROOT_STATUS * plane + r] != ROOT_SEARCHING) continue;
        ELEMENT s = {.y = p[ROOT_Y * plane + r],
                     .low = q[ROOT_LOW * plane + r],
                     .high = q[ROOT_HIGH * plane + r],
                     .f_low = q[ROOT_F_LOW * plane + r],
                     .f_high = q[ROOT_F_HIGH * plane + r]};
        REAL_NAME(learn_end)(&s, count[r], a);
        q[ROOT_LOW * plane + r] = s.low, q[ROOT_F_LOW * plane + r] = s.f_low;
        q[ROOT_HIGH * plane + r] = s.high, q[ROOT_F_HIGH * plane + r] = s.f_high;
    }
    AD_IVDEP for (int64_t r = 0; r < R; r++) {
        const ELEMENT s = {p[ROOT_Y * plane + r],           q[ROOT_LOW * plane + r],    q[ROOT_HIGH * plane + r],
                           q[ROOT_F_LOW * plane + r],       q[ROOT_F_HIGH * plane + r], p[ROOT_STEP * plane + r],
                           p[ROOT_STEP_BEFORE * plane + r], q[ROOT_SIGN * plane + r],   p[ROOT_STATUS * plane + r]};
        ELEMENT t = s;
        REAL_NAME(move)(&t, f[r], slope[r], count[r], a);
        bool stays = s.status != ROOT_SEARCHING;
        q[ROOT_Y * plane + r] = stays ? s.y : t.y;
        q[ROOT_F_LOW * plane + r] = stays ? s.f_low : t.f_low;
        q[ROOT_F_HIGH * plane + r] = stays ? s.f_high : t.f_high;
        q[ROOT_STEP * plane + r] = stays ? s.step : t.step;
        q[ROOT_STEP_BEFORE * plane + r] = stays ? s.before : t.before;
        q[ROOT_STATUS * plane + r] = stays ? s.status : t.status;
    }
}

static void REAL_NAME(root_step)(const ad_kernel *k) {
    const ad_root_attr *attr = k->attr;
    const REAL *state = k->x[0].data, *f = k->x[1].data, *slope = k->x[2].data;
    const int64_t R = k->R, plane = attr->n * R;
    const LIMITS limits = {(REAL)attr->tolerance, (REAL)attr->low, (REAL)(0.5 * attr->low + 0.5 * attr->high),
                           (REAL)(0.5 * attr->high - 0.5 * attr->low)};
    REAL *next = k->y, *row = next + ROOT_PLANES * plane;
    REAL *count = row + ROW_ITERATIONS * R, *finished = row + ROW_FINISHED * R, *converged = row + ROW_CONVERGED * R,
         *residual = row + ROW_RESIDUAL * R;
    for (int64_t r = 0; r < R; r++) {
        count[r] = state[ROOT_PLANES * plane + ROW_ITERATIONS * R + r] + 1;
        finished[r] = converged[r] = 1, residual[r] = 0;
    }
    for (int64_t e = 0; e < attr->n; e++) {
        REAL *q = next + e * R;
        REAL_NAME(search)
        (state + e * R, q, plane, R, f + e * k->x[1].stride, slope + e * k->x[2].stride, count, &limits);
        AD_IVDEP for (int64_t r = 0; r < R; r++) {
            REAL status = q[ROOT_STATUS * plane + r], f_low = q[ROOT_F_LOW * plane + r],
                 f_high = q[ROOT_F_HIGH * plane + r];
            REAL below = f_low < 0 ? -f_low : MOST, above = f_high > 0 ? f_high : MOST,
                 left = REAL_NAME(smaller)(below, above);
            left = (status == ROOT_FOUND) & (f_low == 0) ? 0 : left;
            finished[r] = status == ROOT_SEARCHING ? 0 : finished[r];
            converged[r] = status == ROOT_FOUND ? converged[r] : 0;
            residual[r] = REAL_NAME(larger)(residual[r], left);
        }
    }
}

// y of found elements, of others the end of the bracket with the smaller |f|.
static void REAL_NAME(root_value)(const ad_kernel *k) {
    const ad_root_attr *attr = k->attr;
    const REAL *state = k->x[0].data;
    const int64_t R = k->R, plane = attr->n * R, stride = k->x[0].stride;
    REAL *y = k->y;
    int bad_lane = INT_MAX;
    int64_t bad = 0;
    for (int64_t e = 0; e < attr->n; e++) {
        for (int r = 0; r < R; r++) {
            const REAL *p = state + e * stride + r;
            bool found = p[ROOT_STATUS * plane] == ROOT_FOUND;
            REAL f_low = p[ROOT_F_LOW * plane], f_high = p[ROOT_F_HIGH * plane];
            bool low = f_low < 0 && !(f_high > 0 && f_high < -f_low), high = f_high > 0 && !low;
            y[e * R + r] = p[(found || !(low || high) ? ROOT_Y : low ? ROOT_LOW : ROOT_HIGH) * plane];
            if (!found && r < bad_lane) bad_lane = r, bad = e;
        }
    }
    if (!attr->required || bad_lane >= k->live) return;
    const REAL *p = state + bad * stride + bad_lane, *row = state + ROOT_PLANES * plane + bad_lane;
    bool both = p[ROOT_F_LOW * plane] < 0 && p[ROOT_F_HIGH * plane] > 0;
    ad_kernel_fail(k, bad_lane, AD_ECONVERGE, "element %lld: %s after %d iterations: bracket [%g, %g], residual %g",
                   (long long)bad, both ? "not converged" : "no change of sign found", (int)row[ROW_ITERATIONS * R],
                   (double)p[ROOT_LOW * plane], (double)p[ROOT_HIGH * plane], (double)row[ROW_RESIDUAL * R]);
}

// The largest change and the largest value of a row decide.
static void REAL_NAME(fixed_step)(const ad_kernel *k) {
    const ad_fixed_attr *attr = k->attr;
    const REAL *y = k->x[0].data, *g = k->x[1].data;
    const int64_t R = k->R, n = attr->n, stride = k->x[1].stride;
    const REAL tolerance = (REAL)attr->tolerance, least = attr->adjoint ? 0 : 1;
    REAL *next = k->y, *iterations = next + (n + ROW_ITERATIONS) * R, *finished = iterations + R,
         *converged = finished + R, *change = converged + R, *scale = finished;
    for (int64_t r = 0; r < R; r++)
        iterations[r] = y[(n + ROW_ITERATIONS) * R + r] + 1, scale[r] = least, change[r] = 0;
    for (int64_t e = 0; e < n; e++) {
        AD_IVDEP for (int64_t r = 0; r < R; r++) {
            REAL to = g[e * stride + r], by = REAL_NAME(size)(to - y[e * R + r]), size = REAL_NAME(size)(to);
            next[e * R + r] = to;
            change[r] = by <= change[r] || change[r] != change[r] ? change[r] : by;  // NaN stays
            scale[r] = REAL_NAME(larger)(scale[r], size);
        }
    }
    for (int64_t r = 0; r < R; r++) {
        bool finite = change[r] <= MOST;
        converged[r] = finite && change[r] <= tolerance * scale[r] ? 1 : 0;
        finished[r] = !finite || converged[r] != 0 ? 1 : 0;
    }
}

static void REAL_NAME(fixed_value)(const ad_kernel *k) {
    const ad_fixed_attr *attr = k->attr;
    const REAL *state = k->x[0].data, *row = state + attr->n * k->x[0].stride;
    const int64_t R = k->R;
    memcpy(k->y, state, (size_t)(attr->n * R) * sizeof(REAL));
    for (int r = 0; r < k->live && attr->required; r++) {
        if (row[ROW_CONVERGED * R + r] != 0) continue;
        REAL change = row[ROW_RESIDUAL * R + r];
        ad_kernel_fail(k, r, AD_ECONVERGE, "%s%s after %d iterations: residual %g",
                       attr->adjoint ? "adjoint equation: " : "", change <= MOST ? "not converged" : "diverged",
                       (int)row[ROW_ITERATIONS * R + r], (double)change);
        return;
    }
}

#undef ELEMENT
#undef LIMITS
