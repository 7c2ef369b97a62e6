// rational_quadratic.c -- the monotone rational-quadratic spline in a box, the identity outside, with its log-slope.
//
// Gregory and Delbourgo 1982; Durkan et al. 2019, "Neural spline flows", eq. 4-8. In a bin of width w, height h and
// s = h / w, with slopes d0 and d1 at its ends, t = (x - x0) / w and u = 1 - t (taken from the right edge):
//
//     y = y0 + h t (s t + d0 u) / E,  dy/dx = (s / E)^2 M,
//     E = s (t^2 + u^2) + (d0 + d1) t u,  M = d1 t^2 + 2 s t u + d0 u^2.
//
// These are sums of positive terms, where the paper's s + (d0 + d1 - 2 s) t u cancels. The other way, with
// v = (y - y0) / h and v' = 1 - v, t : u is the positive root of s v' t^2 + (d0 v' - d1 v) t u - s v u^2 = 0. Its
// discriminant is a sum of squares, of either sign of the middle term one form does not cancel, and t and u both come
// with all their digits.
//
// Rounding of f32 inside would make a round trip wrong by 1e-4 and more where bins are steep or flat: all is f64 here,
// but for exponentials and softplus of an f32 tape, which both directions take from the same raw numbers, so that they
// see the same knots. A point is moved into the box before the spline, so that tails neither overflow nor have a
// gradient that is not finite.
#include "cotangent.h"
#include "vmath.h"

typedef struct spline_attr {
    double bound, min_width, min_height, min_derivative, scale;
    int64_t inverse;
} spline_attr;

// The bin of a point.
typedef struct spline_bin {
    vd k;                        // its number
    vd x0, x1, y0, y1;           // its edges
    vd raw0, raw1, d0, d1;       // raw slopes and slopes at its ends,
    vd step0, step1;             // and the derivatives of slopes in raw ones
    vd per[2];                   // what an exponential adds to the least width, height
    vd right[2];                 // while it is looked for: right edges in x and y of the last bin seen
} spline_bin;

typedef struct spline_point {
    vd value, log_slope;
} spline_point;

// Side 0 is x and widths, side 1 y and heights. What all bins have, and what is shared out beyond that.
AD_INLINE double spline_least(const spline_attr *a, int side) {
    return 2 * a->bound * (side ? a->min_height : a->min_width);
}
AD_INLINE double spline_rest(const spline_attr *a, int64_t K, int side) {
    return 2 * a->bound * (1 - (double)K * (side ? a->min_height : a->min_width));
}

// The right edge of a bin that starts at left.
AD_INLINE vd spline_right(const spline_attr *a, int side, vd left, vd e, vd per) {
    return left + (vd_set(spline_least(a, side)) + e * per);
}

// Bin 0, to start from. e: exponentials of widths, then of heights, step apart; inverse: of their sums.
AD_INLINE spline_bin spline_first(const spline_attr *a, int64_t K, const vd *e, int step, vd inverse_x, vd inverse_y) {
    const vd left = vd_set(-a->bound);
    spline_bin bin = {.k = vd_set(0), .x0 = left, .y0 = left};
    bin.per[0] = vd_set(spline_rest(a, K, 0)) * inverse_x;
    bin.per[1] = vd_set(spline_rest(a, K, 1)) * inverse_y;
    bin.x1 = bin.right[0] = spline_right(a, 0, left, e[0], bin.per[0]);
    bin.y1 = bin.right[1] = spline_right(a, 1, left, e[K * step], bin.per[1]);
    return bin;
}

// Bin k > 0 takes the place of the one found so far where v is not below its left edge (NaN edges take all). The last
// one ends at the box's edge exactly.
AD_INLINE void spline_next(spline_bin *bin, const spline_attr *a, int64_t K, int64_t k, const vd *e, int step, vd v,
                           vd raw0, vd raw1) {
    const vd bound = vd_set(a->bound), x = bin->right[0], y = bin->right[1], edge = a->inverse ? y : x;
    bin->right[0] = k < K - 1 ? spline_right(a, 0, x, e[k * step], bin->per[0]) : bound;
    bin->right[1] = k < K - 1 ? spline_right(a, 1, y, e[(K + k) * step], bin->per[1]) : bound;
#define TAKE(member, new) bin->member = vd_if_less(v, edge, bin->member, new)
    TAKE(k, vd_set((double)k));
    TAKE(x0, x);
    TAKE(y0, y);
    TAKE(x1, bin->right[0]);
    TAKE(y1, bin->right[1]);
    TAKE(raw0, raw0);
    TAKE(raw1, raw1);
#undef TAKE
}

// Slopes from softplus of raw ones; 1 at the ends of the box. Beyond 1e100 their products would overflow.
AD_INLINE void spline_edges(spline_bin *bin, const spline_attr *a, int64_t K) {
    const vd one = vd_set(1), least = vd_set(a->min_derivative), most = vd_set(1e100);
    bin->d0 = vd_if_less(vd_set(0), bin->k, vd_min(most, least + bin->d0), one);
    bin->d1 = vd_if_less(bin->k, vd_set((double)K - 1), vd_min(most, least + bin->d1), one);
}

// t and u = 1 - t, and what the formulas share.
typedef struct spline_terms {
    vd w, h, s, t, u, tu, E, M, per_w, per_E;
} spline_terms;

AD_INLINE spline_terms spline_terms_at(const spline_bin *bin, vd v, bool inverse) {
    spline_terms c = {.w = bin->x1 - bin->x0, .h = bin->y1 - bin->y0};
    const vd one = vd_set(1), two = vd_set(2);
    c.per_w = one / c.w;
    const vd s = c.s = c.h * c.per_w;
    if (inverse) {
        const vd per = one / c.h;
        const vd low = (v - bin->y0) * per, high = (bin->y1 - v) * per, b = bin->d0 * high - bin->d1 * low;
        const vd root = vd_sqrt(b * b + vd_set(4) * ((s * low) * (s * high)));
        const vd t = vd_if_less(b, vd_set(0), root - b, two * s * low);
        const vd u = vd_if_less(b, vd_set(0), two * s * high, root + b), sum = one / (t + u);
        c.t = t * sum;
        c.u = u * sum;
    } else {
        c.t = (v - bin->x0) * c.per_w;
        c.u = (bin->x1 - v) * c.per_w;
    }
    c.tu = c.t * c.u;
    c.E = s * (c.t * c.t + c.u * c.u) + (bin->d0 + bin->d1) * c.tu;
    c.M = bin->d1 * (c.t * c.t) + two * s * c.tu + bin->d0 * (c.u * c.u);
    c.per_E = one / c.E;
    return c;
}

AD_INLINE spline_point spline_at(const spline_bin *bin, vd v, int64_t inverse) {
    const spline_terms c = spline_terms_at(bin, v, inverse != 0);
    const vd r = c.s * c.per_E, log_slope = AD_SLEEF_F64(log)(r * r * c.M);
    if (inverse) return (spline_point){bin->x0 + c.w * c.t, vd_set(0) - log_slope};
    return (spline_point){bin->y0 + c.h * (c.t * (c.s * c.t + bin->d0 * c.u) * c.per_E), log_slope};
}

// Cotangents of a point and of raw parameters. Of the raw width j of a spline (side 0; height: side 1): the softmax's
// share e_j scale (g_j - mean), where g_j is that in width j: before, for a bin left of the point's, or here.
typedef struct spline_gradient {
    vd x, raw0, raw1;
    vd before[2], here[2], mean[2], scale[2];
    vd any;  // 0: the cotangents that came in are 0, and so is all that goes out, whatever the factors are
} spline_gradient;

AD_INLINE vd spline_used(const spline_gradient *g, vd a) {
    return vd_if_equal(g->any, vd_set(0), vd_set(0), a);
}

// gv, gl: cotangents of value and log-slope. In the inverse direction x = f^-1(y) and its log-slope is -log f'(x): with
// l = (gv - gl dlog f'/dx) / f', which is y's, a parameter q has -l df/dq - gl dlog f'/dq.
AD_INLINE spline_gradient spline_pull(const spline_bin *bin, const spline_attr *a, int64_t K, vd v, vd gv, vd gl) {
    const spline_terms c = spline_terms_at(bin, v, a->inverse != 0);
    const vd zero = vd_set(0), one = vd_set(1), two = vd_set(2), d0 = bin->d0, d1 = bin->d1, s = c.s, t = c.t, u = c.u;
    const vd per_E = c.per_E, per_w = c.per_w, per_M = one / c.M, r = s * per_E, slope = r * r * c.M;
    // d log f' / dt
    const vd bend = two * ((d1 * t + s * (u - t) - d0 * u) * per_M - (u - t) * (d0 + d1 - two * s) * per_E);
    spline_gradient g = {.any = vd_abs(gv) + vd_abs(gl)};
    if (a->inverse) {
        g.x = (gv - gl * bend * per_w) / slope;
        gv = zero - g.x;
        gl = zero - gl;
    } else {
        g.x = gv * slope + gl * bend * per_w;
    }
    const vd gt = gv * slope * c.w + gl * bend, q = gv * c.h * c.tu * (per_E * per_E), tt = t * t, uu = u * u;
    const vd gs = q * (d1 * tt - d0 * uu) + gl * two * (c.w / c.h + c.tu * per_M - (tt + uu) * per_E);
    const vd gh = gv * (t * (s * t + d0 * u) * per_E) + gs * per_w;
    const vd both = two * c.tu * per_E;
    g.raw0 = (q * u * (s * u + d1 * t) + gl * (uu * per_M - both)) * bin->step0;
    g.raw1 = (gl * (tt * per_M - both) - q * t * (s * t + d0 * u)) * bin->step1;
    // The edges x0, x1, y0, y1 and, from them, widths and heights: an edge is the sum of those before it.
    const vd last = vd_set((double)K - 1), x1 = zero - (gs * s + gt * t) * per_w, y1 = gh;
    g.here[0] = vd_if_less(bin->k, last, x1, zero);
    g.here[1] = vd_if_less(bin->k, last, y1, zero);
    g.before[0] = (gs * s - gt * u) * per_w + g.here[0];
    g.before[1] = gv - gh + g.here[1];
    for (int side = 0; side < 2; side++) {  // shares of this bin and of those before it, from its edges
        const vd least = vd_set(spline_least(a, side)), left = side ? bin->y0 : bin->x0;
        const vd here = (side ? bin->y1 : bin->x1) - left - least, before = left + vd_set(a->bound) - bin->k * least;
        g.scale[side] = vd_set(a->scale) * bin->per[side];
        g.mean[side] = (g.before[side] * before + g.here[side] * here) * vd_set(1 / spline_rest(a, K, side));
    }
    return g;
}

// e^x for x <= 0.
#if AD_ISA_BASE
AD_INLINE vf exp_below_f32(vf x) { return AD_SLEEF_F32(exp)(x); }
#else
AD_INLINE vf exp_below_f32(vf x) {
    const vf_exp_parts e = vf_exp_split(vf_max(vf_set(-88), x));
    return vf_fma(e.s, e.r + e.p, e.s);
}
#endif

#define REAL float
#define VEC vf
#define WIDTH VF
#define HALVES (VF / VD)
#define NAME(name) AD_CAT(name, f32)
#define V(name) AD_CAT(vf, name)
#define EXP exp_below_f32
#define WIDEN(x) vd_from_f32(x)
#define WIDEN_PART(x, m) vd_from_f32_part(x, m)
#define WIDEN_LOW(a) vd_low(a)
#define WIDEN_HIGH(a) vd_high(a)
#define NARROW(y, a) vd_to_f32(y, a)
#include "rational_quadratic_real.h"
#undef REAL
#undef VEC
#undef WIDTH
#undef HALVES
#undef NAME
#undef V
#undef EXP
#undef WIDEN
#undef WIDEN_PART
#undef WIDEN_LOW
#undef WIDEN_HIGH
#undef NARROW

#define REAL double
#define VEC vd
#define WIDTH VD
#define HALVES 1
#define NAME(name) AD_CAT(name, f64)
#define V(name) AD_CAT(vd, name)
#define EXP AD_SLEEF_F64(exp)
#define WIDEN(x) vd_load(x)
#define WIDEN_PART(x, m) vd_load_part(x, m)
#define WIDEN_LOW(a) (a)
#define WIDEN_HIGH(a) (a)
#define NARROW(y, a) vd_store(y, a)
#include "rational_quadratic_real.h"

static size_t spline_scratch(const ad_kernel *k, ad_type type) {
    const ad_shape *p = k->x[1].shape;
    const int64_t K = (p->dim[p->rank - 1] + 1) / 3;
    (void)type;
    return (size_t)(2 * K) * (VF / VD) * sizeof(vd);
}

// Exponentials, and about sixty operations a spline.
static double spline_flops(const ad_kernel *k) {
    return (10 * (double)ad_shape_count(*k->x[1].shape) + 60 * (double)ad_shape_count(*k->x[0].shape)) * k->R;
}

static bool spline_shape(ad_shape_call *c) {
    const ad_shape x = c->x[0], p = c->x[1];
    char a[96], b[96];
    bool fits = p.rank == x.rank + 1 && p.dim[x.rank] >= 5 && p.dim[x.rank] % 3 == 2;
    for (int i = 0; i < x.rank && fits; i++) fits = x.dim[i] == p.dim[i];
    if (!fits)
        return ad_shape_fail(c, "x is %s and its parameters %s: expected one more axis there, of 3 K - 1, K >= 2",
                             ad_shape_print(x, a, sizeof a), ad_shape_print(p, b, sizeof b));
    const double K = (p.dim[x.rank] + 1) / 3;
    const spline_attr *attr = c->attr;
    if (attr->min_width * K >= 1 || attr->min_height * K >= 1)
        return ad_shape_fail(c, "%g bins of least width %g and height %g: more than the box holds", K, attr->min_width,
                             attr->min_height);
    c->y = (ad_shape){.rank = p.rank, .dim = {2}};
    for (int i = 0; i < x.rank; i++) c->y.dim[i + 1] = x.dim[i];
    return true;
}

// ---- in ops ---------------------------------------------------------------------------------------------------------

static ad_var number(ad_var like, double v) { return ad_number(like.tape, v); }

// Part of the last axis.
static ad_var columns(ad_var p, int64_t from, int64_t n) { return ad_slice(p, -1, from, n); }

// All knots in x or y, [..., K + 1], of raw sizes [..., K].
static ad_var all_knots(ad_var raw, int64_t K, double least, double bound) {
    ad_var share = ad_offset(ad_scale(ad_softmax(raw, -1), 1 - (double)K * least), least);
    ad_var inner = ad_offset(ad_scale(columns(ad_cumsum(share, -1), 0, K - 1), 2 * bound), -bound);
    return ad_pad(ad_pad(inner, -1, 1, 0, -bound), -1, 0, 1, bound);
}

// The elements before and after the point's bin, of values at all knots.
static void around(ad_var knots, ad_var k, int64_t K, ad_var *low, ad_var *high) {
    *low = ad_squeeze(ad_take_along(columns(knots, 0, K), -1, k), -1);
    *high = ad_squeeze(ad_take_along(columns(knots, 1, K), -1, k), -1);
}

// The root t : u, as in the kernel.
static void root_in_ops(ad_var low, ad_var high, ad_var s, ad_var d0, ad_var d1, ad_var *t, ad_var *u) {
    ad_var b = ad_sub(ad_mul(d0, high), ad_mul(d1, low)), sl = ad_mul(s, low), sh = ad_mul(s, high);
    ad_var root = ad_sqrt(ad_add(ad_square(b), ad_scale(ad_mul(sl, sh), 4)));
    ad_var negative = ad_less(b, number(b, 0));
    ad_var n = ad_where(negative, ad_sub(root, b), ad_scale(sl, 2));
    ad_var m = ad_where(negative, ad_scale(sh, 2), ad_add(root, b)), sum = ad_add(n, m);
    *t = ad_div(n, sum);
    *u = ad_div(m, sum);
}

static ad_var spline_expand(const ad_var *x, int n, const void *attr) {
    const spline_attr *a = attr;
    (void)n;
    const ad_shape shape = ad_shape_of(x[1]);
    const int64_t K = (shape.dim[shape.rank - 1] + 1) / 3;
    ad_var inside = ad_less_equal(ad_abs(x[0]), number(x[0], a->bound)), v = ad_where(inside, x[0], number(x[0], 0));
    ad_var sizes = ad_scale(columns(x[1], 0, 2 * K), a->scale);
    ad_var knots_x = all_knots(columns(sizes, 0, K), K, a->min_width, a->bound);
    ad_var knots_y = all_knots(columns(sizes, K, K), K, a->min_height, a->bound);
    ad_var slopes = ad_offset(ad_softplus(columns(x[1], 2 * K, K - 1)), a->min_derivative);
    ad_var inner = columns(a->inverse ? knots_y : knots_x, 1, K - 1);
    ad_var k = ad_searchsorted(inner, ad_insert_axis(v, -1), true), x0, x1, y0, y1, d0, d1, t, u;
    around(knots_x, k, K, &x0, &x1);
    around(knots_y, k, K, &y0, &y1);
    around(ad_pad(slopes, -1, 1, 1, 1), k, K, &d0, &d1);
    ad_var w = ad_sub(x1, x0), h = ad_sub(y1, y0), s = ad_div(h, w);
    if (a->inverse) root_in_ops(ad_div(ad_sub(v, y0), h), ad_div(ad_sub(y1, v), h), s, d0, d1, &t, &u);
    else t = ad_div(ad_sub(v, x0), w), u = ad_div(ad_sub(x1, v), w);
    ad_var tu = ad_mul(t, u), tt = ad_square(t), uu = ad_square(u);
    ad_var E = ad_add(ad_mul(s, ad_add(tt, uu)), ad_mul(ad_add(d0, d1), tu));
    ad_var M = ad_add(ad_add(ad_mul(d1, tt), ad_mul(d0, uu)), ad_scale(ad_mul(s, tu), 2));
    ad_var log_slope = ad_log(ad_mul(ad_square(ad_div(s, E)), M));
    ad_var up = ad_mul(h, ad_div(ad_add(ad_mul(s, tt), ad_mul(d0, tu)), E));
    ad_var y = a->inverse ? ad_add(x0, ad_mul(w, t)) : ad_add(y0, up);
    ad_var tail = ad_where(ad_equal(x[0], x[0]), number(x[0], 0), x[0]);
    ad_var both[] = {ad_where(inside, y, x[0]), ad_where(inside, a->inverse ? ad_neg(log_slope) : log_slope, tail)};
    return ad_stack(both, 2, 0);
}

// ---- tests ----------------------------------------------------------------------------------------------------------

// Points are kept where they do not meet a knot: the log-slope has kinks there. K = 3, knots near -+0.7.
static ad_var test_spline(ad_var x, ad_var parameters, bool inverse) {
    static const double center[] = {-1.7, 0.0, 1.7, 3.1};
    ad_var c = ad_constant(x.tape, ad_shape1(4), center);
    return ad_rational_quadratic(ad_add(ad_scale(x, 0.1), c), ad_scale(parameters, 0.2),
                                 &(ad_spline_options){.bound = 2.1}, inverse);
}

static ad_var test_normalize(void *arg, const ad_var *x) {
    (void)arg;
    return test_spline(x[0], x[1], false);
}

static ad_var test_generate(void *arg, const ad_var *x) {
    (void)arg;
    return test_spline(x[0], x[1], true);
}

// Slopes far from s, and bins far from equal: one point in the second of two bins.
static ad_var test_steep(void *arg, const ad_var *x) {
    static const double raw[] = {1.5, -0.5, -1, 2, -4};
    (void)arg;
    ad_var p = ad_add(ad_reshape(x[1], ad_shape3(1, 1, 5)), ad_constant(x[1].tape, ad_shape3(1, 1, 5), raw));
    return ad_rational_quadratic(ad_reshape(x[0], ad_shape2(1, 1)), p, &(ad_spline_options){.bound = 3}, true);
}

static const ad_op_test spline_tests[] = {
    {.n = 2, .x = {{.shape = {1, {4}}, .rows = true}, {.shape = {2, {4, 8}}, .rows = true}}, .f = test_normalize},
    {.n = 2, .x = {{.shape = {1, {4}}, .rows = true}, {.shape = {2, {4, 8}}, .rows = true}}, .f = test_generate},
    {.n = 2, .x = {{.shape = {1, {4}}, .rows = true}, {.shape = {2, {4, 8}}}}, .f = test_generate},
    {.n = 2, .x = {{.shape = {1, {4}}}, {.shape = {2, {4, 8}}}}, .f = test_normalize},
    {.n = 2,
     .x = {{.shape = {1, {1}}, .rows = true, .low = -1.8, .high = -1.2},
           {.shape = {1, {5}}, .rows = true, .low = -0.1, .high = 0.1}},
     .f = test_steep},
};

// ---- descriptor -----------------------------------------------------------------------------------------------------

static const ad_op rational_quadratic_op = {
    .name = "rational_quadratic",
    .shape = spline_shape,
    .expand = spline_expand,
    .kernel = {rational_quadratic_f32, rational_quadratic_f64},
    .vjp_kernel = {rational_quadratic_vjp_f32, rational_quadratic_vjp_f64},
    .scratch = spline_scratch,
    .flops = spline_flops,
    AD_TESTS(spline_tests)};

AD_FAMILY(rational_quadratic) = {&rational_quadratic_op, NULL};

#if AD_ISA_BASE

static bool between(double low, double v, double high) { return v >= low && v <= high; }

static bool in_range(const spline_attr *a) {
    return between(1e-3, a->bound, 1e6) && between(1e-6, a->min_width, 0.5) && between(1e-6, a->min_height, 0.5) &&
           between(1e-6, a->min_derivative, 1) && between(1e-6, a->scale, 1e6);
}

ad_var ad_rational_quadratic(ad_var x, ad_var parameters, const ad_spline_options *options, bool inverse) {
    const ad_spline_options o = options ? *options : (ad_spline_options){0};
    spline_attr attr = {.bound = o.bound != 0 ? o.bound : 3,
                        .min_width = o.min_width != 0 ? o.min_width : 1e-3,
                        .min_height = o.min_height != 0 ? o.min_height : 1e-3,
                        .min_derivative = o.min_derivative != 0 ? o.min_derivative : 1e-3,
                        .scale = o.scale != 0 ? o.scale : 1,
                        .inverse = inverse};
    const ad_var both[] = {x, parameters};
    if (x.tape && !in_range(&attr)) {
        ad_tape_fail(x.tape, AD_EARG,
                     "rational_quadratic: bound %g, least width %g, height %g, derivative %g, scale %g: out of range",
                     attr.bound, attr.min_width, attr.min_height, attr.min_derivative, attr.scale);
        return (ad_var){x.tape, UINT32_MAX, x.epoch};
    }
    return ad_apply(&rational_quadratic_op, both, 2, &attr, sizeof attr);
}

#endif
