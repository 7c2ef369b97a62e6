// custom_ops_module.c -- an op in a shared object of its own, which test_custom_ops.c loads: Huber's loss, kernel and
// vjp.
#include <math.h>

#include "op.h"

typedef struct huber_attr {
    double delta;  // from where on it is linear
} huber_attr;

#define HUBER(name, T, abs_of)                                                    \
    static void name(size_t n, void *y, const void *const *x, const void *attr) { \
        const T d = (T)((const huber_attr *)attr)->delta;                         \
        for (size_t i = 0; i < n; i++) {                                          \
            const T v = ((const T *)x[0])[i], a = abs_of(v);                      \
            ((T *)y)[i] = a <= d ? v * v / 2 : d * (a - d / 2);                   \
        }                                                                         \
    }
HUBER(huber_f32, float, fabsf)
HUBER(huber_f64, double, fabs)

// x where |x| <= delta, beyond it delta with x's sign.
static void huber_vjp(const ad_vjp_call *c) {
    const double delta = ((const huber_attr *)c->attr)->delta;
    const ad_var d = ad_number(c->y.tape, delta), x = c->x[0];
    const ad_var slope = ad_where(ad_greater(x, d), d, ad_where(ad_less(x, ad_neg(d)), ad_neg(d), x));
    c->gx[0] = ad_mul(c->gy, slope);
}

static ad_var huber_test(void *arg, const ad_var *x);
static const double kinks[] = {-0.5, 0.5};
static const ad_op_test tests[] = {
    {.n = 1, .x = {{.shape = {2, {2, 3}}, .rows = true, .kinks = kinks, .n_kinks = 2}}, .f = huber_test}};
static const ad_op huber_op = {.name = "huber",
                               .flags = AD_OP_ELEMENTWISE,
                               .vjp = huber_vjp,
                               .lanes = {huber_f32, huber_f64},
                               .tests = tests,
                               .n_tests = 1};

// What the program that loads this looks for.
AD_API extern const ad_op *const module_ops[];
AD_API const ad_op *const module_ops[] = {&huber_op, NULL};
AD_API ad_var module_huber(ad_var x, double delta);
AD_API ad_var module_huber(ad_var x, double delta) {
    const huber_attr attr = {delta};
    return ad_apply(&huber_op, &x, 1, &attr, sizeof attr);
}

static ad_var huber_test(void *arg, const ad_var *x) {
    (void)arg;
    return module_huber(x[0], 0.5);
}
