// error_function.c -- erf, erfc, erfinv; the normal distribution's cdf, log cdf and quantile.
//
// f32 kernels compute in f64, but for erf. NaN gives NaN, and so does an argument outside [-1,1] (erfinv) or
// [0,1] (normal_quantile), whose ends give +-inf. Tails are relative: normal_cdf and erfc are accurate until they
// underflow (x below -37.5 and above 26.5), normal_log_cdf until x^2/2 overflows, the normal_log_cdf of a large
// positive x is -Phi(-x).
#include "cotangent.h"
#include "special.h"

#if defined(AD_SIMD_AVX512)
#define SLEEF_ERFC Sleef_erfcd8_u15avx512f
#elif defined(AD_SIMD_AVX2)
#define SLEEF_ERFC Sleef_erfcd4_u15avx2
#else
#define SLEEF_ERFC Sleef_erfc_u15
#endif

// SLEEF's erf is off by 2 ulp and more near the smallest numbers, where it is 2 / sqrt(pi) x.
#if AD_ISA_BASE
AD_INLINE vf vf_erf(vf x) { return (vf)Sleef_erf_u10(x); }
#else
AD_INLINE vf vf_erf(vf x) {
    vf linear = vf_fma(x, vf_set(0x1.06eba8p-3f), x);
    return vf_if_less(vf_abs(x), vf_set(0x1p-60f), linear, AD_SLEEF_F32(erf)(x));
}
#endif
AD_INLINE vd vd_erf(vd x) {
    vd linear = vd_set(0x1.20dd750429b6dp+0) * x;
    return vd_if_less(vd_abs(x), vd_set(0x1p-60), linear, AD_SLEEF_F64(erf)(x));
}

// With denormals flushed SLEEF's erfc is off by hundreds of ulp where it is below 2^-970, from 26 on: there by the
// excess, 2 Phi(-x sqrt 2).
AD_INLINE vd vd_erfc(vd x) {
    const vd far = vd_set(25);
    vd y = SLEEF_ERFC(x);
    if (vd_any_less(far, x)) {
        vd b = vd_at_least(vd_at_most(x, 30), 25), a = b * vd_set(0x1.6a09e667f3bcdp+0);
        vd q = b * b, lost = vd_fma(b, b, -q), e = AD_SLEEF_F64(exp)(-q) * vd_set(2 * NORMAL_DENSITY_0);
        y = vd_if_less(far, x, vd_fma(e, -lost, e) / (a + vd_normal_excess(a)), y);
    }
    return y;
}

// ---- the normal distribution ---------------------------------------------------------------------------------------

// What one evaluation gives: a = |x|, E, the density and the upper tail Phi(-a), 0 beyond NORMAL_FAR.
typedef struct normal_parts {
    vd a, excess, density, tail;
} normal_parts;

AD_INLINE normal_parts normal_at(vd x) {
    normal_parts p;
    p.a = vd_abs(x);
    p.excess = vd_normal_excess(p.a);
    p.density = vd_normal_density(vd_at_most(p.a, NORMAL_FAR));
    p.tail = p.density / (p.a + p.excess);
    return p;
}

AD_INLINE vd normal_density(vd x) { return vd_normal_density(vd_at_most(vd_abs(x), NORMAL_FAR)); }

AD_INLINE vd normal_cdf(vd x) {
    normal_parts p = normal_at(x);
    return vd_if_negative(x, p.tail, vd_set(1) - p.tail);
}

// Below 0: -a^2/2 + log(Phi(-a) e^(a^2/2)), two negative numbers. Above: log(1 - tail) as log u, u = 1 - tail rounded,
// plus what rounding lost.
AD_INLINE vd normal_log_cdf(vd x) {
    normal_parts p = normal_at(x);
    vd one = vd_set(1), u = one - p.tail, scaled = vd_set(NORMAL_DENSITY_0) / (p.a + p.excess);
    vd rest = vd_if_negative(x, vd_set(-0.5) * p.a * p.a, (one - u - p.tail) / u);
    return AD_SLEEF_F64(log)(vd_if_negative(x, scaled, u)) + rest;
}

// density / Phi, the derivative of the log cdf, and that plus x, which falls to 0 on the left and does not cancel here.
AD_INLINE vd normal_hazard(vd x) {
    normal_parts p = normal_at(x);
    return vd_if_negative(x, p.a + p.excess, p.density / (vd_set(1) - p.tail));
}
AD_INLINE vd normal_hazard_excess(vd x) {
    normal_parts p = normal_at(x);
    return vd_if_negative(x, p.excess, p.a + p.density / (vd_set(1) - p.tail));
}

// ---- inverses ------------------------------------------------------------------------------------------------------
// Rational functions, after Wichura, "Algorithm AS 241" (1988), with coefficients of their own (interpolation at
// Chebyshev points): q R(0.16 - q^2) in the middle, R(sqrt(-log m) - 1.5) and (- 5.5) outside. All are positive.

enum { TAIL_TOP = 10, TAIL_BOTTOM = 9 };
static const double middle_top[] = {0x1.9a18b449b087fp+1,  0x1.aa9e47fdee996p+6,  0x1.573f75686d360p+10,
                                    0x1.0dc704ae6af6ep+13, 0x1.af3de5b7fa325p+14, 0x1.4bca93135135fp+15,
                                    0x1.a0086869627bdp+14, 0x1.1341eb1e1f01ap+12};
static const double middle_bottom[] = {0x1p+0,
                                       0x1.1dc69b8ff9410p+5,
                                       0x1.f57b6513fb98fp+8,
                                       0x1.b7bec8c1f3aecp+11,
                                       0x1.95be6ce28e00fp+13,
                                       0x1.7cd618d47bf3bp+14,
                                       0x1.42ada0e505a7bp+14,
                                       0x1.73c4f41d442a2p+12,
                                       0x1.c7c32e071775bp+7};
static const double tail_top[2][TAIL_TOP] = {
    {0x1.4059f9ed66519p+0, 0x1.2845062d51bf5p+2, 0x1.a8e12cab38e28p+2, 0x1.406feaa4ce648p+2, 0x1.1d051ee2af4b9p+1,
     0x1.37db80f84c486p-1, 0x1.9ee0ac50f78bfp-4, 0x1.38097cdba4875p-7, 0x1.c4052be65a4d4p-12, 0x1.b5dd07d21cfeep-18},
    {0x1.d905c1e931284p+2, 0x1.76b3fe48a281bp+2, 0x1.e31048ceafe34p+0, 0x1.46ef3edceb5e5p-2, 0x1.f46fede0ebb88p-6,
     0x1.b34c35fde7901p-10, 0x1.9bcb864509a5dp-15, 0x1.7e8d4ed3b0c2bp-21, 0x1.1aa24e01ac808p-28,
     0x1.7c17c91cb297bp-38}};
static const double tail_bottom[2][TAIL_BOTTOM] = {
    {0x1p+0, 0x1.28210c34888a4p+1, 0x1.1b2a8ec6dd379p+1, 0x1.248b4516d5589p+0, 0x1.643e724bd12e2p-2,
     0x1.017e60567ec1cp-4, 0x1.9cf1bde0f5b13p-8, 0x1.38644ac13f65ep-12, 0x1.359c61ce816bap-18},
    {0x1p+0, 0x1.30456474293ebp-1, 0x1.1bf34b0bb39e6p-3, 0x1.09087b9a0167ap-6, 0x1.05f939f576fa4p-10,
     0x1.0cc0988dfe049p-15, 0x1.05fd3452a7d57p-21, 0x1.8cd1500b7618cp-29, 0x1.0cc437affabc4p-38}};

// The polynomial c[0] where r < 5.5, else c[1].
AD_INLINE vd tail_polynomial(const double *near, const double *far, int n, vd r, vd s) {
    vd split = vd_set(5.5), y = vd_if_less(r, split, vd_set(near[n - 1]), vd_set(far[n - 1]));
    for (int i = n - 2; i >= 0; i--) y = vd_multiply_add(y, s, vd_if_less(r, split, vd_set(near[i]), vd_set(far[i])));
    return y;
}

// The quantile of p = 1/2 + q, m = 1/2 - |q|, both exact, times scale. m = 0 gives +-inf, m < 0 NaN. q = half z, which
// may be too small to be halved.
AD_INLINE vd scaled_quantile(vd q, vd m, vd z, double half, double scale) {
    vd size = vd_abs(q), v = vd_set(0.16) - q * q;
    vd middle = z * (vd_set(half * scale) * vd_polynomial(middle_top, sizeof middle_top / sizeof *middle_top, v) /
                     vd_polynomial(middle_bottom, sizeof middle_bottom / sizeof *middle_bottom, v));
    vd r = vd_sqrt(-AD_SLEEF_F64(log)(m)), s = r - vd_if_less(r, vd_set(5.5), vd_set(1.5), vd_set(5.5));
    vd tail = tail_polynomial(tail_top[0], tail_top[1], TAIL_TOP, r, s) /
              tail_polynomial(tail_bottom[0], tail_bottom[1], TAIL_BOTTOM, r, s);
    tail = vd_if_less(vd_set(0), m, tail, r);
    tail = tail * vd_set(scale);
    return vd_if_less(vd_set(0.4), size, vd_if_negative(q, -tail, tail), middle);
}

AD_INLINE vd normal_quantile(vd p) {
    vd half = vd_set(0.5), q = p - half;
    return scaled_quantile(q, vd_if_less(p, half, p, vd_set(1) - p), q, 1, 1);
}

AD_INLINE vd erfinv(vd y) {
    vd half = vd_set(0.5);
    return scaled_quantile(half * y, half * (vd_set(1) - vd_abs(y)), y, 0.5, 0x1.6a09e667f3bcdp-1);
}

AD_LANES_VF(erf_f32, vf_erf)
AD_LANES_VD(erf_f64, vd_erf)
AD_LANES_WIDE(erfc, vd_erfc(a))
AD_LANES_WIDE(erfinv, erfinv(a))
AD_LANES_WIDE(normal_cdf, normal_cdf(a))
AD_LANES_WIDE(normal_log_cdf, normal_log_cdf(a))
AD_LANES_WIDE(normal_quantile, normal_quantile(a))
AD_LANES_WIDE(normal_density, normal_density(a))
AD_LANES_WIDE(normal_hazard, normal_hazard(a))
AD_LANES_WIDE(normal_hazard_excess, normal_hazard_excess(a))

// ---- gradients -----------------------------------------------------------------------------------------------------

static const ad_op normal_hazard_op, normal_hazard_excess_op;

static ad_var gaussian(ad_var x) { return ad_exp(ad_neg(ad_square(x))); }

static void erf_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_scale(ad_cotangent_mul(call->gy, gaussian(call->x[0])), 0x1.20dd750429b6dp+0);  // 2 / sqrt(pi)
}
static void erfc_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_scale(ad_cotangent_mul(call->gy, gaussian(call->x[0])), -0x1.20dd750429b6dp+0);
}
// sqrt(pi)/2 e^(y^2) and sqrt(2 pi) e^(y^2/2): infinite at the ends, as the functions are.
static void erfinv_vjp(const ad_vjp_call *call) {
    ad_var slope = ad_exp(ad_square(call->y));
    call->gx[0] = ad_scale(ad_cotangent_mul(call->gy, slope), 0x1.c5bf891b4ef6bp-1);
}
static void normal_quantile_vjp(const ad_vjp_call *call) {
    ad_var slope = ad_exp(ad_scale(ad_square(call->y), 0.5));
    call->gx[0] = ad_scale(ad_cotangent_mul(call->gy, slope), 0x1.40d931ff62706p+1);
}
static void normal_cdf_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_normal_density(call->x[0]));
}
static void normal_density_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_neg(ad_cotangent_mul(ad_cotangent_mul(call->gy, call->y), call->x[0]));
}
static void normal_log_cdf_vjp(const ad_vjp_call *call) {
    call->gx[0] = ad_cotangent_mul(call->gy, ad_apply(&normal_hazard_op, call->x, 1, NULL, 0));
}
// h' = -h (h + x), (h + x)' = 1 - h (h + x). On the left the latter cancels: third derivatives of the log cdf have an
// error of eps relative to 1, not to themselves.
static void normal_hazard_vjp(const ad_vjp_call *call) {
    ad_var excess = ad_apply(&normal_hazard_excess_op, call->x, 1, NULL, 0);
    call->gx[0] = ad_neg(ad_cotangent_mul(ad_cotangent_mul(call->gy, call->y), excess));
}
static void normal_hazard_excess_vjp(const ad_vjp_call *call) {
    ad_var hazard = ad_apply(&normal_hazard_op, call->x, 1, NULL, 0);
    ad_var slope = ad_offset(ad_neg(ad_mul(hazard, call->y)), 1);
    call->gx[0] = ad_cotangent_mul(call->gy, slope);
}

// ---- tests ---------------------------------------------------------------------------------------------------------

static const ad_op_test smooth_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -3, .high = 3}}},
    {.n = 1, .x = {{.shape = {1, {3}}}}},
    {.n = 1, .x = {{.shape = {0, {0}}, .rows = true}}},
};
static const ad_op_test log_cdf_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -6, .high = 4}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = -60, .high = -50}}},
};
static const ad_op_test erfinv_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = -0.7, .high = 0.7}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 0.82, .high = 0.95}}},
};
static const ad_op_test quantile_tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .low = 0.12, .high = 0.88}}},
    {.n = 1, .x = {{.shape = {1, {3}}, .low = 0.03, .high = 0.08}}},
};

// ---- descriptors ---------------------------------------------------------------------------------------------------
// Bounds are measured (tests/test_kernels.c).

static const ad_op erf_op = {
    .name = "erf", .flags = AD_OP_ELEMENTWISE, .vjp = erf_vjp, AD_KERNELS(erf), .ulp = {1.1, 1},
    AD_TESTS(smooth_tests)};
static const ad_op erfc_op = {
    .name = "erfc", .flags = AD_OP_ELEMENTWISE, .vjp = erfc_vjp, AD_KERNELS(erfc), .ulp = {0.51, 4},
    AD_TESTS(smooth_tests)};
static const ad_op erfinv_op = {
    .name = "erfinv", .flags = AD_OP_ELEMENTWISE, .vjp = erfinv_vjp, AD_KERNELS(erfinv), .ulp = {0.51, 6.5},
    AD_TESTS(erfinv_tests)};
static const ad_op normal_cdf_op = {
    .name = "normal_cdf", .flags = AD_OP_ELEMENTWISE, .vjp = normal_cdf_vjp, AD_KERNELS(normal_cdf), .ulp = {0.51, 6},
    AD_TESTS(smooth_tests)};
static const ad_op normal_log_cdf_op = {
    .name = "normal_log_cdf", .flags = AD_OP_ELEMENTWISE, .vjp = normal_log_cdf_vjp, AD_KERNELS(normal_log_cdf),
    .ulp = {0.51, 7}, AD_TESTS(log_cdf_tests)};
static const ad_op normal_quantile_op = {
    .name = "normal_quantile", .flags = AD_OP_ELEMENTWISE, .vjp = normal_quantile_vjp, AD_KERNELS(normal_quantile),
    .ulp = {0.51, 6.5}, AD_TESTS(quantile_tests)};
static const ad_op normal_density_op = {
    .name = "normal_density", .flags = AD_OP_ELEMENTWISE, .vjp = normal_density_vjp, AD_KERNELS(normal_density),
    .ulp = {0.51, 3}, AD_TESTS(smooth_tests)};
static const ad_op normal_hazard_op = {
    .name = "normal_hazard", .flags = AD_OP_ELEMENTWISE, .vjp = normal_hazard_vjp, AD_KERNELS(normal_hazard),
    .ulp = {0.51, 6}, AD_TESTS(log_cdf_tests)};
static const ad_op normal_hazard_excess_op = {
    .name = "normal_hazard_excess", .flags = AD_OP_ELEMENTWISE, .vjp = normal_hazard_excess_vjp,
    AD_KERNELS(normal_hazard_excess), .ulp = {0.51, 6}, AD_TESTS(log_cdf_tests)};

AD_FAMILY(error_function) = {&erf_op,             &erfc_op,           &erfinv_op,        &normal_cdf_op,
                             &normal_log_cdf_op,  &normal_quantile_op, &normal_density_op, &normal_hazard_op,
                             &normal_hazard_excess_op, NULL};

#if AD_ISA_BASE

ad_var ad_erf(ad_var x) { return ad_apply(&erf_op, &x, 1, NULL, 0); }
ad_var ad_erfc(ad_var x) { return ad_apply(&erfc_op, &x, 1, NULL, 0); }
ad_var ad_erfinv(ad_var x) { return ad_apply(&erfinv_op, &x, 1, NULL, 0); }
ad_var ad_normal_cdf(ad_var x) { return ad_apply(&normal_cdf_op, &x, 1, NULL, 0); }
ad_var ad_normal_log_cdf(ad_var x) { return ad_apply(&normal_log_cdf_op, &x, 1, NULL, 0); }
ad_var ad_normal_density(ad_var x) { return ad_apply(&normal_density_op, &x, 1, NULL, 0); }
ad_var ad_normal_quantile(ad_var p) { return ad_apply(&normal_quantile_op, &p, 1, NULL, 0); }

#endif
