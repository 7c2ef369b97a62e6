// bijector_maps.c -- increasing functions of one number with their inverses and log-slopes: a row each.
//
// For any finite x of the tape's type value and log-slope are finite: what would overflow is held at e^80 (f32; f64:
// e^690), and the row says that it may come to that. Branches not taken are kept where they are finite, so that their
// gradients are, too.
#include <math.h>

#include "internal.h"

typedef flow_curve_numbers numbers;

static ad_var constant(ad_var like, double v) {
    return ad_number(like.tape, v);
}

// What e^x may be of, either way, so that some products with it are finite, too.
static double largest_exponent(ad_var x) {
    return ad_tape_type(x.tape) == AD_F32 ? 80 : 690;
}

double flow_curve_largest(ad_type type) {
    return 0.4 * exp(type == AD_F32 ? 80 : 690);  // sinh ends at half
}

static ad_var bounded_exp(ad_var x) {
    return ad_exp(ad_clamp(x, -largest_exponent(x), largest_exponent(x)));
}

static ad_var bounded_sinh(ad_var x) {
    return ad_sinh(ad_clamp(x, -largest_exponent(x), largest_exponent(x)));
}

static ad_var log_cosh(ad_var x) {
    return ad_offset(ad_add(x, ad_softplus(ad_scale(x, -2))), -log(2));
}

// sqrt(x^2 + a), without overflow of the square: r is any number near the result.
static ad_var root_of_square(ad_var x, ad_var a) {
    ad_var r = ad_stop_gradient(ad_maximum(ad_abs(x), constant(x, 1))), over_r = ad_reciprocal(r);
    return ad_mul(r, ad_sqrt(ad_add(ad_square(ad_mul(x, over_r)), ad_mul(a, ad_square(over_r)))));
}

static ad_var positive(ad_var x) {
    return ad_greater(x, constant(x, 0));
}

// The part above 0, and that below, of slopes 1/2 at 0: what is odd about 0 keeps its slope there.
static ad_var above(ad_var x) {
    return ad_maximum(x, constant(x, 0));
}
static ad_var below(ad_var x) {
    return ad_minimum(x, constant(x, 0));
}

// ---- kinks ----------------------------------------------------------------------------------------------------------

static ad_var leaky_relu(const numbers *n, ad_var x) {
    return ad_where(positive(x), x, ad_mul(n->a, x));
}
static ad_var leaky_relu_back(const numbers *n, ad_var y) {
    return ad_where(positive(y), y, ad_div(y, n->a));
}
static ad_var leaky_relu_slope(const numbers *n, ad_var x) {
    return ad_where(positive(x), constant(x, 0), ad_log(n->a));
}

static ad_var elu(const numbers *n, ad_var x) {
    (void)n;
    return ad_add(above(x), ad_expm1(below(x)));
}
static ad_var elu_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_add(above(y), ad_log1p(below(y)));
}
static ad_var elu_slope(const numbers *n, ad_var x) {
    (void)n;
    return below(x);
}

// Hyperbolas of slopes k - m on the left and k + m on the right (Finzi et al. 2019): k x + m (sqrt(1 + x^2) - 1). With
// w = y + m the inverse is (k w - m sqrt(w^2 + s)) / s, s = k^2 - m^2; on the right multiplied out, which cancels
// nothing.
typedef struct hyperbola {
    ad_var k, m, s;
} hyperbola;

static ad_var bend(const hyperbola *h, ad_var x) {
    return ad_add(ad_mul(h->k, x), ad_mul(h->m, ad_offset(root_of_square(x, constant(x, 1)), -1)));
}
static ad_var unbend(const hyperbola *h, ad_var y) {
    ad_var w = ad_add(y, h->m), right = above(w), left = below(w);
    ad_var far = ad_add(ad_mul(h->k, right), ad_mul(h->m, root_of_square(right, h->s)));
    ad_var on_right = ad_mul(ad_add(y, ad_scale(h->m, 2)), ad_div(y, far));
    ad_var on_left = ad_div(ad_sub(ad_mul(h->k, left), ad_mul(h->m, root_of_square(left, h->s))), h->s);
    return ad_where(positive(w), on_right, on_left);
}
static ad_var bend_slope(const hyperbola *h, ad_var x) {
    return ad_log(ad_add(h->k, ad_mul(h->m, ad_div(x, root_of_square(x, constant(x, 1))))));
}

static hyperbola sneaky(const numbers *n) {
    return (hyperbola){ad_scale(ad_offset(n->a, 1), 0.5), ad_scale(ad_offset(ad_neg(n->a), 1), 0.5), n->a};
}
static ad_var sneaky_relu(const numbers *n, ad_var x) {
    hyperbola h = sneaky(n);
    return bend(&h, x);
}
static ad_var sneaky_relu_back(const numbers *n, ad_var y) {
    hyperbola h = sneaky(n);
    return unbend(&h, y);
}
static ad_var sneaky_relu_slope(const numbers *n, ad_var x) {
    hyperbola h = sneaky(n);
    return bend_slope(&h, x);
}

static hyperbola bent(ad_var x) {
    return (hyperbola){constant(x, 1), constant(x, 0.5), constant(x, 0.75)};
}
static ad_var bent_identity(const numbers *n, ad_var x) {
    (void)n;
    hyperbola h = bent(x);
    return bend(&h, x);
}
static ad_var bent_identity_back(const numbers *n, ad_var y) {
    (void)n;
    hyperbola h = bent(y);
    return unbend(&h, y);
}
static ad_var bent_identity_slope(const numbers *n, ad_var x) {
    (void)n;
    hyperbola h = bent(x);
    return bend_slope(&h, x);
}

// ---- onto the positive numbers --------------------------------------------------------------------------------------

static ad_var exponential(const numbers *n, ad_var x) {
    (void)n;
    return bounded_exp(x);
}
static ad_var exponential_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_log(y);
}
static ad_var exponential_slope(const numbers *n, ad_var x) {
    (void)n;
    return x;
}

static ad_var softplus(const numbers *n, ad_var x) {
    (void)n;
    return ad_softplus(x);
}
static ad_var softplus_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_softplus_inverse(y);
}
static ad_var softplus_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_log_sigmoid(x);
}

// (x + sqrt(x^2 + a)) / 2 (Barron 2021); left of 0 as a / 2 over the difference's conjugate.
static ad_var squareplus(const numbers *n, ad_var x) {
    ad_var root = root_of_square(x, n->a), sum = ad_add(ad_abs(x), root);
    return ad_where(positive(x), ad_scale(sum, 0.5), ad_scale(ad_div(n->a, sum), 0.5));
}
static ad_var squareplus_back(const numbers *n, ad_var y) {
    y = ad_maximum(y, constant(y, exp(-0.5 * largest_exponent(y))));  // whose square is there, for the gradient
    return ad_sub(y, ad_scale(ad_div(n->a, y), 0.25));
}
// The slope is y / sqrt(x^2 + a), y half of e^asinh(x / sqrt(a)) sqrt(a).
static ad_var squareplus_slope(const numbers *n, ad_var x) {
    ad_var root = root_of_square(x, n->a), log_sum = ad_log(ad_add(ad_abs(x), root));
    ad_var log_y = ad_where(positive(x), log_sum, ad_sub(ad_log(n->a), log_sum));
    return ad_offset(ad_sub(log_y, ad_log(root)), -log(2));
}

// ---- onto (0, 1): distribution functions ----------------------------------------------------------------------------

static ad_var sigmoid(const numbers *n, ad_var x) {
    (void)n;
    return ad_sigmoid(x);
}
static ad_var sigmoid_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_logit(y);
}
static ad_var sigmoid_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_add(ad_log_sigmoid(x), ad_log_sigmoid(ad_neg(x)));
}

static ad_var normal_cdf(const numbers *n, ad_var x) {
    (void)n;
    return ad_normal_cdf(x);
}
static ad_var normal_cdf_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_normal_quantile(y);
}
static ad_var normal_cdf_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_offset(ad_scale(ad_square(ad_clamp(x, -1e18, 1e18)), -0.5), -0.5 * log(2 * acos(-1)));
}

static ad_var laplace_cdf(const numbers *n, ad_var x) {
    (void)n;
    ad_var left = ad_scale(ad_exp(below(x)), 0.5), right = ad_scale(ad_exp(ad_neg(above(x))), -0.5);
    return ad_where(positive(x), ad_offset(right, 1), left);
}
static ad_var laplace_cdf_back(const numbers *n, ad_var y) {
    (void)n;
    ad_var half = constant(y, 0.5), left = ad_log(ad_scale(ad_minimum(y, half), 2));
    ad_var right = ad_log(ad_scale(ad_minimum(ad_offset(ad_neg(y), 1), half), 2));
    return ad_sub(left, right);  // the other one is 0
}
static ad_var laplace_cdf_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_offset(ad_neg(ad_abs(x)), -log(2));
}

static ad_var cauchy_cdf(const numbers *n, ad_var x) {
    (void)n;
    return ad_offset(ad_scale(ad_atan(x), 1 / acos(-1)), 0.5);
}
static ad_var cauchy_cdf_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_tan(ad_scale(ad_offset(y, -0.5), acos(-1)));
}
static ad_var cauchy_cdf_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_offset(ad_scale(ad_log(root_of_square(x, constant(x, 1))), -2), -log(acos(-1)));
}

static ad_var gumbel_cdf(const numbers *n, ad_var x) {
    (void)n;
    return ad_exp(ad_neg(bounded_exp(ad_neg(x))));
}
static ad_var gumbel_cdf_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_neg(ad_log(ad_neg(ad_log(y))));
}
static ad_var gumbel_cdf_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_neg(ad_add(x, bounded_exp(ad_neg(x))));
}

// 1 - (1 - x^a)^b (Kumaraswamy 1980), from (0, 1), in logarithms: log(1 - x^a) has no cancellation at either end.
static ad_var kumaraswamy(const numbers *n, ad_var x) {
    return ad_neg(ad_expm1(ad_mul(n->b, ad_log1mexp(ad_mul(n->a, ad_log(x))))));
}
static ad_var kumaraswamy_back(const numbers *n, ad_var y) {
    return ad_exp(ad_div(ad_log1mexp(ad_div(ad_log1p(ad_neg(y)), n->b)), n->a));
}
static ad_var kumaraswamy_slope(const numbers *n, ad_var x) {
    ad_var log_x = ad_log(x), rest = ad_log1mexp(ad_mul(n->a, log_x));
    ad_var powers = ad_add(ad_mul(ad_offset(n->a, -1), log_x), ad_mul(ad_offset(n->b, -1), rest));
    return ad_add(powers, ad_log(ad_mul(n->a, n->b)));
}

// ---- onto (-1, 1), and tails added to that --------------------------------------------------------------------------

static ad_var hyperbolic_tangent(const numbers *n, ad_var x) {
    (void)n;
    return ad_tanh(x);
}
static ad_var hyperbolic_tangent_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_atanh(y);
}
static ad_var hyperbolic_tangent_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_scale(log_cosh(x), -2);
}

static ad_var softsign(const numbers *n, ad_var x) {
    (void)n;
    return ad_softsign(x);
}
static ad_var softsign_back(const numbers *n, ad_var y) {
    (void)n;
    return ad_div(y, ad_offset(ad_neg(ad_abs(y)), 1));
}
static ad_var softsign_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_scale(ad_log1p(ad_abs(x)), -2);
}

static ad_var within(ad_var v, ad_var edge) {
    return ad_minimum(ad_maximum(v, ad_neg(edge)), edge);
}

// tanh up to +-a, from there on straight lines of its slope (flowjax's LeakyTanh).
static ad_var leaky_tanh(const numbers *n, ad_var x) {
    ad_var c = within(x, n->a), slope = ad_exp(hyperbolic_tangent_slope(n, n->a));
    return ad_add(ad_tanh(c), ad_mul(slope, ad_sub(x, c)));
}
static ad_var leaky_tanh_back(const numbers *n, ad_var y) {
    ad_var c = within(y, ad_tanh(n->a)), slope = ad_exp(hyperbolic_tangent_slope(n, n->a));
    return ad_add(ad_atanh(c), ad_div(ad_sub(y, c), slope));
}
static ad_var leaky_tanh_slope(const numbers *n, ad_var x) {
    return hyperbolic_tangent_slope(n, within(x, n->a));
}

// tanh up to +-a, from there on tanh(a) + a sech^2(a) log(|x| / a): as smooth (nflows's LogTanh has this idea).
static ad_var tail_size(const numbers *n) {
    return ad_mul(n->a, ad_exp(hyperbolic_tangent_slope(n, n->a)));
}
static ad_var log_tanh(const numbers *n, ad_var x) {
    ad_var beyond = ad_log(ad_div(ad_maximum(ad_abs(x), n->a), n->a));
    return ad_add(ad_tanh(within(x, n->a)), ad_mul(ad_sign(x), ad_mul(tail_size(n), beyond)));
}
static ad_var log_tanh_back(const numbers *n, ad_var y) {
    ad_var edge = ad_tanh(n->a), c = within(y, edge), beyond = ad_div(ad_abs(ad_sub(y, c)), tail_size(n));
    ad_var most = ad_offset(ad_neg(ad_log(n->a)), largest_exponent(y));
    ad_var grown = ad_mul(n->a, ad_expm1(ad_minimum(beyond, most)));
    return ad_add(ad_atanh(c), ad_mul(ad_sign(y), grown));
}
static ad_var log_tanh_slope(const numbers *n, ad_var x) {
    ad_var beyond = ad_log(ad_div(ad_maximum(ad_abs(x), n->a), n->a));
    return ad_sub(hyperbolic_tangent_slope(n, within(x, n->a)), beyond);
}

// ---- heavier and lighter tails --------------------------------------------------------------------------------------

// sign(x) |x|^a; within 1e-3 of 0, where its slope would be 0 or infinite, a straight line.
static const double log_near = -6.907755278982137;  // log 1e-3

static ad_var power(const numbers *n, ad_var x) {
    ad_var size = ad_abs(x), near = constant(x, 1e-3), log_size = ad_log(ad_maximum(size, near));
    ad_var line = ad_mul(x, ad_exp(ad_scale(ad_offset(n->a, -1), log_near)));
    return ad_where(ad_greater(size, near), ad_mul(ad_sign(x), bounded_exp(ad_mul(n->a, log_size))), line);
}
static ad_var power_back(const numbers *n, ad_var y) {
    ad_var size = ad_abs(y), near = ad_exp(ad_scale(n->a, log_near)), log_size = ad_log(ad_maximum(size, near));
    ad_var line = ad_mul(y, ad_exp(ad_scale(ad_offset(ad_neg(n->a), 1), log_near)));
    return ad_where(ad_greater(size, near), ad_mul(ad_sign(y), bounded_exp(ad_div(log_size, n->a))), line);
}
static ad_var power_slope(const numbers *n, ad_var x) {
    ad_var size = ad_abs(x), near = constant(x, 1e-3), log_size = ad_log(ad_maximum(size, near));
    ad_var slope = ad_mul(ad_offset(n->a, -1), log_size);
    return ad_where(ad_greater(size, near), ad_add(slope, ad_log(n->a)), slope);
}

// sign(x) log(1 + a |x|) / a (the S-Log gate of Karami et al. 2019).
static ad_var symlog(const numbers *n, ad_var x) {
    ad_var right = ad_log1p(ad_mul(n->a, above(x))), left = ad_log1p(ad_mul(n->a, ad_neg(below(x))));
    return ad_div(ad_sub(right, left), n->a);
}
static ad_var symlog_back(const numbers *n, ad_var y) {
    ad_var most = ad_offset(ad_log(n->a), largest_exponent(y));
    ad_var right = ad_expm1(ad_minimum(ad_mul(n->a, above(y)), most));
    ad_var left = ad_expm1(ad_minimum(ad_mul(n->a, ad_neg(below(y))), most));
    return ad_div(ad_sub(right, left), n->a);
}
static ad_var symlog_slope(const numbers *n, ad_var x) {
    return ad_neg(ad_log1p(ad_mul(n->a, ad_abs(x))));
}

static ad_var area_sine(const numbers *n, ad_var x) {
    (void)n;
    return ad_asinh(x);
}
static ad_var area_sine_back(const numbers *n, ad_var y) {
    (void)n;
    return bounded_sinh(y);
}
static ad_var area_sine_slope(const numbers *n, ad_var x) {
    (void)n;
    return ad_neg(log_cosh(ad_asinh(x)));  // 1 + x^2 = cosh^2(asinh x)
}

// sinh(a asinh(x) + b) (Jones and Pewsey 2009): tails and skewness.
static ad_var sinh_arcsinh(const numbers *n, ad_var x) {
    return bounded_sinh(ad_add(ad_mul(n->a, ad_asinh(x)), n->b));
}
static ad_var sinh_arcsinh_back(const numbers *n, ad_var y) {
    return bounded_sinh(ad_div(ad_sub(ad_asinh(y), n->b), n->a));
}
static ad_var sinh_arcsinh_slope(const numbers *n, ad_var x) {
    ad_var u = ad_asinh(x);
    return ad_add(ad_sub(log_cosh(ad_add(ad_mul(n->a, u), n->b)), log_cosh(u)), ad_log(n->a));
}

// x exp(a x^2 / 2) (Goerg 2015), up to where the exponential overflows. With w = a x^2 the inverse is y exp(-w / 2), w
// Lambert's function of a y^2: s = log w solves s + e^s = log(a y^2), as near to 0 or far out as y may be.
static ad_var lambert_inside(const numbers *n, ad_var x) {
    return within(x, ad_sqrt(ad_div(constant(x, 2 * largest_exponent(x) - 4), n->a)));
}
static ad_var lambert_w(const numbers *n, ad_var x) {
    ad_var c = lambert_inside(n, x);
    return ad_mul(c, ad_exp(ad_mul(n->a, ad_scale(ad_square(c), 0.5))));
}
static ad_var lambert_residual(void *arg, ad_var s) {
    const ad_var *log_square = arg;
    return ad_sub(ad_add(s, ad_exp(s)), *log_square);
}
static ad_var lambert_w_back(const numbers *n, ad_var y) {
    ad_var size = ad_maximum(ad_abs(y), constant(y, 1e-15));  // below, y is its own inverse
    ad_var log_square = ad_add(ad_scale(ad_log(size), 2), ad_log(n->a));
    ad_var w = ad_exp(ad_root(log_square, lambert_residual, &log_square, NULL).value);
    return ad_mul(y, ad_exp(ad_scale(w, -0.5)));
}
static ad_var lambert_w_slope(const numbers *n, ad_var x) {
    ad_var square = ad_mul(n->a, ad_square(lambert_inside(n, x)));
    return ad_add(ad_log1p(square), ad_scale(square, 0.5));
}

// ---- onto a box -----------------------------------------------------------------------------------------------------
// Two softplus of width a, at low and then at high, scaled to fill the box (TensorFlow Probability's SoftClip): with
// u = low + a softplus((x - low) / a) it is y = high - (high - low) softplus((high - u) / a) / softplus((high - low) /
// a).

static ad_var box_width(const numbers *n, ad_var x) {
    return ad_div(constant(x, n->high - n->low), n->a);
}
static ad_var lifted(const numbers *n, ad_var x) {  // (u - low) / a
    return ad_softplus(ad_div(ad_offset(x, -n->low), n->a));
}
static ad_var soft_clip(const numbers *n, ad_var x) {
    ad_var width = box_width(n, x), rest = ad_softplus(ad_sub(width, lifted(n, x)));
    return ad_offset(ad_scale(ad_div(rest, ad_softplus(width)), n->low - n->high), n->high);
}
static ad_var soft_clip_back(const numbers *n, ad_var y) {
    ad_var width = box_width(n, y), share = ad_scale(ad_offset(ad_neg(y), n->high), 1 / (n->high - n->low));
    ad_var lift = ad_sub(width, ad_softplus_inverse(ad_mul(share, ad_softplus(width))));
    ad_var least = constant(y, exp(-largest_exponent(y)));  // at low, what is left is rounding
    return ad_offset(ad_mul(n->a, ad_softplus_inverse(ad_maximum(lift, least))), n->low);
}
static ad_var soft_clip_slope(const numbers *n, ad_var x) {
    ad_var width = box_width(n, x), up = ad_log_sigmoid(ad_div(ad_offset(x, -n->low), n->a));
    ad_var down = ad_log_sigmoid(ad_sub(width, lifted(n, x)));
    return ad_add(ad_add(up, down), ad_log(ad_div(width, ad_softplus(width))));
}

// ---- the table ------------------------------------------------------------------------------------------------------

// clang-format off
#define ANYWHERE {0, 0}
#define NEVER {false, false}
#define NUMBERLESS {{.name = NULL}}
static const flow_curve maps[] = {
    {"leaky relu", leaky_relu, leaky_relu_back, leaky_relu_slope,
     ANYWHERE, ANYWHERE, {{"slope", 0.1, 1e-3, 1e3, true}}, NEVER},
    {"elu", elu, elu_back, elu_slope, ANYWHERE, {-1, INFINITY}, NUMBERLESS, NEVER},
    {"sneaky relu", sneaky_relu, sneaky_relu_back, sneaky_relu_slope,
     ANYWHERE, ANYWHERE, {{"slope", 0.1, 1e-3, 0.999, true}}, NEVER},
    {"bent identity", bent_identity, bent_identity_back, bent_identity_slope, ANYWHERE, ANYWHERE, NUMBERLESS, NEVER},
    {"exp", exponential, exponential_back, exponential_slope, ANYWHERE, {0, INFINITY}, NUMBERLESS, {true, false}},
    {"softplus", softplus, softplus_back, softplus_slope, ANYWHERE, {0, INFINITY}, NUMBERLESS, NEVER},
    {"squareplus", squareplus, squareplus_back, squareplus_slope,
     ANYWHERE, {0, INFINITY}, {{"square", 4, 1e-3, 1e3, true}}, NEVER},
    {"sigmoid", sigmoid, sigmoid_back, sigmoid_slope, ANYWHERE, {0, 1}, NUMBERLESS, NEVER},
    {"normal cdf", normal_cdf, normal_cdf_back, normal_cdf_slope, ANYWHERE, {0, 1}, NUMBERLESS, NEVER},
    {"laplace cdf", laplace_cdf, laplace_cdf_back, laplace_cdf_slope, ANYWHERE, {0, 1}, NUMBERLESS, NEVER},
    {"cauchy cdf", cauchy_cdf, cauchy_cdf_back, cauchy_cdf_slope, ANYWHERE, {0, 1}, NUMBERLESS, NEVER},
    {"gumbel cdf", gumbel_cdf, gumbel_cdf_back, gumbel_cdf_slope, ANYWHERE, {0, 1}, NUMBERLESS, NEVER},
    {"kumaraswamy", kumaraswamy, kumaraswamy_back, kumaraswamy_slope,
     {0, 1}, {0, 1}, {{"a", 1, 0.02, 50, true}, {"b", 1, 0.02, 50, true}}, NEVER},
    {"tanh", hyperbolic_tangent, hyperbolic_tangent_back, hyperbolic_tangent_slope,
     ANYWHERE, {-1, 1}, NUMBERLESS, NEVER},
    {"softsign", softsign, softsign_back, softsign_slope, ANYWHERE, {-1, 1}, NUMBERLESS, NEVER},
    {"leaky tanh", leaky_tanh, leaky_tanh_back, leaky_tanh_slope,
     ANYWHERE, ANYWHERE, {{"edge", 3, 0.1, 5, true}}, NEVER},
    {"log tanh", log_tanh, log_tanh_back, log_tanh_slope,
     ANYWHERE, ANYWHERE, {{"edge", 1, 0.1, 5, true}}, {false, true}},
    {"power", power, power_back, power_slope, ANYWHERE, ANYWHERE, {{"exponent", 3, 0.1, 10, true}}, {true, true}},
    {"symlog", symlog, symlog_back, symlog_slope, ANYWHERE, ANYWHERE, {{"scale", 1, 1e-2, 1e2, true}}, {false, true}},
    {"asinh", area_sine, area_sine_back, area_sine_slope, ANYWHERE, ANYWHERE, NUMBERLESS, {false, true}},
    {"sinh arcsinh", sinh_arcsinh, sinh_arcsinh_back, sinh_arcsinh_slope,
     ANYWHERE, ANYWHERE, {{"tail", 1, 0.1, 10, true}, {"skew", 0, -5, 5, false}}, {true, true}},
    {"lambert w", lambert_w, lambert_w_back, lambert_w_slope,
     ANYWHERE, ANYWHERE, {{"tail", 0.1, 1e-3, 2, true}}, {true, false}},
    {"soft clip", soft_clip, soft_clip_back, soft_clip_slope,
     ANYWHERE, {1, -1}, {{"hinge", 1, 1e-3, 1e3, true}}, NEVER},
};
// clang-format on

const flow_curve *flow_curves(int *n) {
    *n = (int)(sizeof maps / sizeof *maps);
    return maps;
}
