// derive_sweep.c -- the inverse of an autoregressive map with a conditioner, whose parameters are found feature by
// feature in one sweep through the net: the other direction where it is given, else Newton's iteration.
#include <float.h>
#include <math.h>

#include "derive.h"

typedef struct sweep {
    const derived *d;
    ad_var context, before;  // before: where features are known from before, [D]
    int64_t k;               // how many have had their turn
} sweep;

// The feature whose turn it is, alone.
static flow_call next_call(sweep *s, ad_var parameters) {
    const int64_t feature = flow_made_order(s->d->net)[s->k++];
    ad_var row = ad_reshape(parameters, ad_shape2(1, s->d->form->conditioner));
    return (flow_call){&s->d->layer, parameters.tape, s->context, AD_NONE, row, feature + 1};
}

// ---- whether the map takes one feature alone -----------------------------------------------------------------------

bool derive_takes_one(const derived *d) {
    if (d->form->structure != FLOW_AUTOREGRESSIVE || !d->net) return false;
    ad_tape *t = ad_tape_new(NULL, AD_F64);
    if (!t) return false;
    ad_rows rows = ad_rows_new(t, "one");
    ad_var v = ad_to_rows(ad_fill(t, ad_shape1(1), 0), rows), context = AD_NONE;
    if (d->layer.C) context = ad_to_rows(ad_fill(t, ad_shape1(d->layer.C), 0), rows);
    sweep s = {d, context, v, 0};
    flow_call call = next_call(&s, ad_to_rows(ad_fill(t, ad_shape1(d->form->conditioner), 0), rows));
    ad_var y = derive_call("map", derive_given(d), &call, v, 1);
    if (derive_other(d)) y = derive_call("map", derive_other(d), &call, y, 1);
    const bool takes = ad_ok(y) && ad_tape_status(t) == AD_OK;
    ad_tape_free(t);
    return takes;
}

// ---- the steps of sweeps -------------------------------------------------------------------------------------------

static ad_var given_step(void *arg, ad_var parameters, ad_var z) {
    sweep *s = arg;
    flow_call call = next_call(s, parameters);
    return derive_call("map", derive_other(s->d), &call, z, 1);
}

// Halfway to an end of where v lies, when the step would pass it.
static ad_var keep_within(const derived *d, ad_var next, ad_var y) {
    const double low = d->form->low, high = d->form->high;
    if (!(low < high)) return next;
    ad_var a = ad_fill(y.tape, ad_shape1(1), low), b = ad_fill(y.tape, ad_shape1(1), high);
    next = ad_where(ad_greater(next, a), next, ad_scale(ad_add(y, a), 0.5));
    return ad_where(ad_less(next, b), next, ad_scale(ad_add(y, b), 0.5));
}

// One step of Newton's, from before, with parameters that follow from those just made.
static ad_var newton_step(void *arg, ad_var parameters, ad_var z) {
    sweep *s = arg;
    flow_call call = next_call(s, parameters);
    ad_var y = ad_offset(ad_slice(s->before, 0, call.feature - 1, 1), 0), slope;
    ad_var f = derive_call("map", derive_given(s->d), &call, y, 1);
    ad_vjp(f, ad_fill(y.tape, ad_shape1(1), 1), &y, 1, &slope);
    ad_var step = ad_div(ad_sub(z, f), slope), most = ad_fill(y.tape, ad_shape1(1), 1e6);
    step = ad_where(ad_less(ad_abs(step), most), step, ad_zeros_like(step));  // NaN, too
    return keep_within(s->d, ad_add(y, step), y);
}

typedef struct residual {
    flow_call call;
    ad_var z;
} residual;

static ad_var residual_of(void *arg, ad_var y) {
    const residual *r = arg;
    return ad_sub(derive_call("map", derive_given(derive_of(r->call.layer)), &r->call, y, 1), r->z);
}

// Solved before: with derivatives.
static ad_var solved_step(void *arg, ad_var parameters, ad_var z) {
    sweep *s = arg;
    residual r = {next_call(s, parameters), z};
    return ad_implicit(ad_slice(s->before, 0, r.call.feature - 1, 1), residual_of, &r);
}

static flow_sweep run(sweep *s, flow_made_step step, ad_var z) {
    s->k = 0;
    return flow_made_sweep(s->d->net, z, s->context, step, s);
}

// ---- Newton's iteration --------------------------------------------------------------------------------------------
// Each iteration is a sweep, in which a feature takes a step with the parameters that features before it now give: all
// come nearer at the same quadratic rate, instead of one after the other.

typedef struct iteration {
    sweep sweep;
    ad_var z;
    double tolerance, eps;
} iteration;

// 1 where a feature is as near as it gets: the next step is short, or rounding explains what is left.
static ad_var near(const iteration *it, flow_sweep swept) {
    const derived *d = it->sweep.d;
    derive_point p = {{&d->layer, it->z.tape, it->sweep.context, AD_NONE, swept.parameters, 0},
                      ad_offset(swept.value, 0)};
    ad_var f = ad_sub(derive_call("map", derive_given(d), &p.call, p.v, d->changed), it->z);
    ad_var slope = ad_abs(derive_slopes(d, &p)), size = ad_abs(p.v), one = ad_fill(f.tape, ad_shape1(d->changed), 1);
    ad_var step = ad_scale(ad_mul(slope, ad_maximum(size, one)), it->tolerance);
    ad_var rounding = ad_scale(ad_add(ad_abs(it->z), ad_mul(slope, size)), it->eps);
    return ad_less_equal(ad_abs(f), ad_maximum(step, rounding));
}

static void iterate(void *arg, ad_var state, ad_var *next, ad_var *done) {
    iteration *it = arg;
    it->sweep.before = ad_slice(state, 0, 0, it->sweep.d->changed);
    flow_sweep swept = run(&it->sweep, newton_step, it->z);
    ad_var all = ad_reshape(ad_min(near(it, swept)), ad_shape1(1)), parts[] = {swept.value, all};
    *next = ad_concat(parts, 2, 0);
    *done = ad_reshape(all, ad_shape0());
}

ad_loop_result derive_sweep_newton(const derived *d, ad_var z, ad_var context, ad_var start) {
    enum { MOST = 24 };
    const double eps = 4 * (ad_tape_type(z.tape) == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON);
    const int most = d->form->max_iterations;
    iteration it = {{d, context, start, 0}, z, d->form->tolerance > 0 ? d->form->tolerance : eps, eps};
    ad_var parts[] = {start, ad_slice(ad_zeros_like(start), 0, 0, 1)};
    return ad_loop(ad_concat(parts, 2, 0), most > 0 && most < MOST ? most : MOST, iterate, &it);
}

// ---- with derivatives ----------------------------------------------------------------------------------------------

flow_sweep derive_sweep_given(const derived *d, ad_var z, ad_var context) {
    sweep s = {d, context, z, 0};
    return run(&s, given_step, z);
}

flow_sweep derive_sweep_solved(const derived *d, ad_var z, ad_var context, ad_var v) {
    sweep s = {d, context, v, 0};
    return run(&s, solved_step, z);
}
