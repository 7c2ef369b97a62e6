// base_student.c -- independent Student-t densities: tails that fall as a power, of fixed or learned degrees of
// freedom.
//
// Samples by Bailey's polar method (1994, "Polar generation of random variates with the t-distribution"): with E
// standard exponential and V uniform, sqrt(df (e^(2 E / df) - 1)) cos(2 pi V) is exactly Student's for every df, and as
// df grows Box and Muller's normal. It is smooth in df: gradients of samples in all parameters are right in the mean.
#include <math.h>

#include "base.h"

typedef struct student {
    flow_scaled scaled;
    double df;      // fixed; 0: learned
    ad_param *raw;  // [D]: df = least + softplus(raw)
} student;

// Learned degrees of freedom stay above this: below, there is no variance.
static const double least = 2;

static ad_var degrees(const student *s, ad_tape *tape) {  // [] or [D]
    return s->raw ? ad_offset(ad_softplus(ad_use(tape, s->raw)), least) : ad_number(tape, s->df);
}

// log gamma(x + 1/2) - log gamma(x) - log(x) / 2 without the difference of large numbers: x raised by 12 by the
// recurrence, then the asymptotic series (Tricomi and Erdelyi 1951); to 1e-14 for x > 0.
static ad_var gamma_ratio(ad_var x) {
    static const double c[] = {-1.0 / 8, 1.0 / 192, -1.0 / 640, 17.0 / 14336, -31.0 / 18432};
    enum { UP = 12 };
    ad_var w = ad_reciprocal(ad_offset(x, UP)), w2 = ad_square(w), series = ad_offset(ad_scale(w2, c[4]), c[3]);
    for (int i = 2; i >= 0; i--) series = ad_offset(ad_mul(series, w2), c[i]);
    ad_var sum = ad_add(ad_mul(series, w), ad_scale(ad_log1p(ad_scale(ad_reciprocal(x), UP)), 0.5));
    for (int i = 0; i < UP; i++) sum = ad_sub(sum, ad_log1p(ad_scale(ad_reciprocal(ad_offset(x, i)), 0.5)));
    return sum;
}

// log(1 + v^2); the square is not formed where it could overflow.
static ad_var log1p_square(ad_var v) {
    ad_var size = ad_abs(v), far = ad_greater(size, ad_number(v.tape, 1e9));
    ad_var log_far = ad_scale(ad_log(ad_where(far, size, ad_number(v.tape, 1))), 2);
    return ad_where(far, log_far, ad_log1p(ad_square(ad_where(far, ad_number(v.tape, 0), v))));
}

// gamma_ratio(df / 2) - log(2 pi) / 2 - (df + 1) / 2 log(1 + u^2 / df)
static ad_var log_density(const flow_scaled *scaled, ad_var u) {
    ad_var df = degrees((const student *)scaled, u.tape);
    ad_var constant = ad_offset(gamma_ratio(ad_scale(df, 0.5)), -FLOW_HALF_LOG_2PI);
    return ad_sub(constant, ad_mul(ad_scale(ad_offset(df, 1), 0.5), log1p_square(ad_mul(u, ad_rsqrt(df)))));
}

static ad_var draw(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream) {
    ad_shape shape = scaled->base.shape;
    ad_var df = degrees((const student *)scaled, rows.tape), E = ad_exponential(rows, shape, random, stream);
    ad_var V = ad_uniform(rows, shape, random, flow_stream(stream, 1));
    ad_var radius = ad_sqrt(ad_mul(df, ad_expm1(ad_div(ad_scale(E, 2), df))));
    return ad_mul(radius, ad_cos(ad_scale(V, 6.28318530717958647693)));
}

static const flow_family family = {log_density, draw};

flow_base *flow_base_student(int64_t D, int64_t C, const flow_student_options *options, ad_error *error) {
    flow_student_options o = options ? *options : (flow_student_options){0};
    double df = o.df == 0 ? 5 : o.df, above = df - least;
    if (!(df >= 0.5 && df <= 1e6) || (o.learn_df && !(above > 0))) {
        ad_fail(error, AD_EARG, "student: %g degrees of freedom; expected %s to 1e6", df,
                o.learn_df ? "to learn: above 2" : "0.5");
        flow_net_free(o.scaled.net);
        return NULL;
    }
    student *s = flow_scaled_new(&flow_base_student_type, sizeof *s, D, C, &o.scaled, error);
    if (!s) return NULL;
    s->df = o.learn_df ? 0 : df;
    if (!o.learn_df) return &s->scaled.base;
    s->raw = flow_add_param(&s->scaled.base.owner, "df", o.scaled.type, ad_shape1(D), error);
    if (!s->raw) {
        flow_base_free(&s->scaled.base);
        return NULL;
    }
    for (int64_t d = 0; d < D; d++) ad_param_set(s->raw, d, above > 30 ? above : log(expm1(above)));
    return &s->scaled.base;
}

static json_t *describe(const flow_base *base) {
    const student *s = (const student *)base;
    json_t *object = flow_scaled_describe(base);
    if (!object || json_object_set_new(object, "df", json_real(s->df)) == 0) return object;  // 0: learned
    json_decref(object);
    return NULL;
}

static flow_base *make(const flow_base_type *type, const json_t *options, const flow_making *making, ad_error *error) {
    (void)type;
    int64_t D, C;
    flow_student_options o = {.df = 0};
    if (!flow_json_number(options, "df", &o.df, error)) return NULL;
    o.learn_df = o.df == 0;
    if (!flow_scaled_read(options, making, &D, &C, &o.scaled, error)) return NULL;
    if (!o.learn_df || flow_take_elements(making, D, error)) return flow_base_student(D, C, &o, error);
    flow_net_free(o.scaled.net);
    return NULL;
}

static flow_base *example(const flow_base_type *type, int i, ad_error *error) {
    (void)type;
    int64_t D, C;
    flow_student_options o = {.learn_df = i % 3 == 1, .df = i % 3 == 2 ? 3 + i : 0};
    o.scaled = flow_scaled_example_options(i, &D, &C);
    return flow_base_student(D, C, &o, error);
}

const flow_base_type flow_base_student_type = {.name = "student",
                                               .family = &family,
                                               .log_prob = flow_scaled_log_prob,
                                               .sample = flow_scaled_sample,
                                               .describe = describe,
                                               .make = make,
                                               .example = example};
