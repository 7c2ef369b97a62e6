// transformer_sum_of_squares.c -- the element map of the integral of a sum of squares of polynomials.
//
// Jaini, Selby and Yu 2019, "Sum-of-squares polynomial flow", with zuko's constants: the slope at v is
// (1/K) sum_i (1 + sum_(j=0..L) a_ij (v / scale)^j)^2 + floor. Its integral from 0 is that of Gauss and Legendre with
// L + 1 nodes, which is exact for this degree, and a sum of terms of one sign. Polynomials hold in [-bound, bound],
// lines of the slopes there outside: they would overflow, and their log-slopes have no bound.
#include <math.h>

#include "rising.h"

enum { MAX_DEGREE = 16, MAX_POLYNOMIALS = 256 };

typedef struct sum_of_squares {
    flow_transformer transformer;
    int64_t polynomials, degree;
    double scale, bound, floor;
    double node[MAX_DEGREE + 1], weight[MAX_DEGREE + 1];  // on [0, 1]
} sum_of_squares;

// Numbers beyond these are taken for these: slopes are finite whatever the parameters are.
static const double most = 1e3;

// ---- the map --------------------------------------------------------------------------------------------------------

typedef struct curve {
    const sum_of_squares *s;
    ad_var a[MAX_DEGREE + 1];  // [n, 1, K] each
    ad_var shift, z;           // [n]
} curve;

static curve curve_of(const sum_of_squares *s, flow_parameters p, ad_var z) {
    const int64_t K = s->polynomials, L = s->degree, n = p.n;
    curve c = {.s = s, .z = z};
    ad_var raw = flow_parameters_by_feature(p);
    ad_var a = ad_clamp(ad_slice(raw, -1, 0, K * (L + 1)), -most, most);
    for (int64_t j = 0; j <= L; j++) {
        c.a[j] = ad_reshape(ad_slice_step(a, -1, j, K, L + 1), ad_shape3(n, 1, K));
    }
    c.a[0] = ad_offset(c.a[0], 1);
    c.shift = ad_reshape(ad_slice(raw, -1, K * (L + 1), 1), ad_shape1(n));
    return c;
}

// At points u [n, M], in units of scale: [n, M].
static ad_var slope_at(const curve *c, ad_var u) {
    ad_var x = ad_insert_axis(u, -1), sum = c->a[c->s->degree];
    for (int64_t j = c->s->degree - 1; j >= 0; j--) sum = ad_add(ad_mul(sum, x), c->a[j]);
    return ad_offset(ad_scale(ad_sum_axis(ad_square(sum), -1), 1 / (double)c->s->polynomials), c->s->floor);
}

// Value and slope.
static flow_result at(const curve *c, ad_var v) {
    const sum_of_squares *s = c->s;
    const int64_t nodes = s->degree + 1;
    ad_var edge = ad_clamp(v, -s->bound, s->bound), over = ad_sub(v, edge);
    ad_var u = ad_insert_axis(ad_scale(edge, 1 / s->scale), -1);
    ad_var inner = slope_at(c, ad_mul(u, ad_constant(v.tape, ad_shape2(1, nodes), s->node)));
    ad_var mean = ad_sum_axis(ad_mul(inner, ad_constant(v.tape, ad_shape2(1, nodes), s->weight)), -1);
    ad_var slope = ad_squeeze(slope_at(c, u), -1), lines = ad_mul(slope, over);
    return (flow_result){ad_add(c->shift, ad_add(ad_mul(edge, mean), lines)), slope};
}

static flow_rise excess(void *arg, ad_var v) {
    const curve *c = arg;
    flow_result r = at(c, v);
    return (flow_rise){ad_sub(r.value, c->z), r.log_det};
}

static flow_result normalize(const flow_transformer *t, flow_parameters p, ad_var v) {
    curve c = curve_of((const sum_of_squares *)t, p, AD_NONE);
    flow_result r = at(&c, v);
    return (flow_result){r.value, ad_log(r.log_det)};
}

static flow_result generate(const flow_transformer *t, flow_parameters p, ad_var z) {
    curve c = curve_of((const sum_of_squares *)t, p, z);
    ad_var v = flow_rising_root(z, excess, &c, NULL);
    return (flow_result){v, ad_neg(ad_log(at(&c, v).log_det))};
}

static flow_gauges gauge(const flow_transformer *t, flow_parameters p, ad_var v) {
    (void)p;
    return (flow_gauges){AD_NONE, ad_greater(ad_abs(v), ad_number(v.tape, ((const sum_of_squares *)t)->bound))};
}

// ---- made and described ---------------------------------------------------------------------------------------------

// Nodes and weights on [0, 1]: roots of Legendre's polynomial by Newton's steps from the usual estimates.
static void legendre(sum_of_squares *s) {
    const int n = (int)s->degree + 1;
    for (int i = 0; i < n; i++) {
        double x = cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 1;
        for (int k = 0; k < 10; k++) {
            double p = 1, before = 0;
            for (int m = 1; m <= n; m++) {
                const double next = ((2 * m - 1) * x * p - (m - 1) * before) / m;
                before = p;
                p = next;
            }
            slope = n * (before - x * p) / (1 - x * x);
            x -= p / slope;
        }
        s->node[i] = (1 - x) / 2;
        s->weight[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

static bool settle(flow_sum_of_squares_transformer_options *o, ad_error *error) {
    if (o->polynomials == 0) o->polynomials = 3;
    if (o->degree == 0) o->degree = 4;
    if (o->scale == 0) o->scale = 10;
    if (o->bound == 0) o->bound = o->scale;
    if (o->floor == 0) o->floor = 1e-3;
    if (o->polynomials < 1 || o->polynomials > MAX_POLYNOMIALS || o->degree < 1 || o->degree > MAX_DEGREE) {
        ad_fail(error, AD_EARG, "sum of squares: %lld polynomials of degree %lld, expected 1 to %d, and 1 to %d",
                (long long)o->polynomials, (long long)o->degree, MAX_POLYNOMIALS, MAX_DEGREE);
        return false;
    }
    if (o->scale >= 1e-3 && o->scale <= 1e6 && o->bound > 0 && o->bound <= 2 * o->scale && o->floor >= 1e-6 &&
        o->floor <= 1) {
        return true;
    }
    ad_fail(error, AD_EARG,
            "sum of squares: scale %g, bound %g, floor %g; expected 1e-3 to 1e6, at most twice that, 1e-6 to 1",
            o->scale, o->bound, o->floor);
    return false;
}

flow_transformer *flow_sum_of_squares_transformer(const flow_sum_of_squares_transformer_options *options,
                                                  ad_error *error) {
    flow_sum_of_squares_transformer_options o =
        options ? *options : (flow_sum_of_squares_transformer_options){.degree = 0};
    sum_of_squares *s = settle(&o, error) ? flow_transformer_new(&flow_sum_of_squares_transformer_type, sizeof *s,
                                                                 o.polynomials * (o.degree + 1) + 1, error)
                                          : NULL;
    if (!s) return NULL;
    s->polynomials = o.polynomials;
    s->degree = o.degree;
    s->scale = o.scale;
    s->bound = o.bound;
    s->floor = o.floor;
    legendre(s);
    return &s->transformer;
}

static json_t *describe(const flow_transformer *t) {
    const sum_of_squares *s = (const sum_of_squares *)t;
    return json_pack("{s:I, s:I, s:f, s:f, s:f}", "polynomials", (json_int_t)s->polynomials, "degree",
                     (json_int_t)s->degree, "scale", s->scale, "bound", s->bound, "floor", s->floor);
}

static flow_transformer *make(const flow_transformer_type *type, const json_t *options, const flow_making *making,
                              ad_error *error) {
    (void)type, (void)making;
    flow_sum_of_squares_transformer_options o = {.degree = 0};
    if (!flow_json_int(options, "polynomials", 1, MAX_POLYNOMIALS, &o.polynomials, error) ||
        !flow_json_int(options, "degree", 1, MAX_DEGREE, &o.degree, error) ||
        !flow_json_number(options, "scale", &o.scale, error) || !flow_json_number(options, "bound", &o.bound, error) ||
        !flow_json_number(options, "floor", &o.floor, error)) {
        return NULL;
    }
    return flow_sum_of_squares_transformer(&o, error);
}

static flow_transformer *usual(const flow_transformer_type *type, const flow_usual_transformer_options *options,
                               ad_error *error) {
    (void)type;
    return flow_sum_of_squares_transformer(
        &(flow_sum_of_squares_transformer_options){.degree = options->bins, .scale = options->bound}, error);
}

static flow_transformer *example(const flow_transformer_type *type, int i, ad_error *error) {
    (void)type;
    const flow_sum_of_squares_transformer_options o = {
        .polynomials = 1 + i % 3, .degree = 1 + i % 5, .scale = i % 4 ? 0 : 3, .bound = i % 3 ? 0 : 5};
    return flow_sum_of_squares_transformer(&o, error);
}

const flow_transformer_type flow_sum_of_squares_transformer_type = {.name = "sum of squares",
                                                                    .normalize = normalize,
                                                                    .generate = generate,
                                                                    .describe = describe,
                                                                    .make = make,
                                                                    .example = example,
                                                                    .usual = usual,
                                                                    .gauge = gauge,
                                                                    .by_feature = true};
