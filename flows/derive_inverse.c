// derive_inverse.c -- the direction of a derived layer that is not its map's: solved for as its structure allows.
#include "derive.h"

#include <float.h>
#include <math.h>

static ad_solver_options solver(const derived *d, bool allow_failure) {
    return (ad_solver_options){.tolerance = d->form->tolerance,
                               .max_iterations = d->form->max_iterations,
                               .low = d->form->low,
                               .high = d->form->high,
                               .allow_failure = allow_failure};
}

static bool bounded(const derived *d) {
    return d->form->low < d->form->high;
}

static ad_solution explicit_value(ad_var value) {
    ad_tape *t = value.tape;
    return (ad_solution){value, ad_number(t, 0), ad_number(t, 0), ad_number(t, 1)};
}

// ---- elementwise, coupling -----------------------------------------------------------------------------------------

typedef struct equation {
    const derived *d;
    const flow_call *call;
    ad_var z, context;
} equation;

static ad_var changed_less_z(void *arg, ad_var v) {
    const equation *e = arg;
    return ad_sub(derive_call("map", derive_given(e->d), e->call, v, e->d->changed), e->z);
}

// Rounding is relative to the largest element. A jump of the map across z is no solution, though a change of sign.
static ad_var really_solved(ad_var F, ad_var z, ad_var slopes, ad_var v) {
    double eps = ad_tape_type(z.tape) == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
    ad_var scale = ad_add(ad_max(ad_abs(z)), ad_max(ad_abs(ad_mul(slopes, v))));
    return ad_stop_gradient(ad_less_equal(ad_max(ad_abs(F)), ad_scale(ad_offset(scale, 1), sqrt(eps))));
}

// A solution looked at again: what derive_log_det needs as well.
static void look_again(const derived *d, ad_solution *s, ad_var z, ad_var context, bool allow_failure) {
    derive_point p = derive_point_at(d, s->value, context);
    ad_var slopes = derive_slopes(d, &p), F = ad_sub(derive_value(d, s->value, context), z);
    if (d->kept) z = derive_point_at(d, z, context).v;
    s->done = ad_mul(s->done, really_solved(F, z, slopes, p.v));
    s->residual = ad_stop_gradient(ad_max(ad_abs(F)));
    if (!allow_failure) s->value = derive_require(s->value, s, AD_NONE);
}

// What is kept is the same on both sides, and so is all that it says.
static ad_solution by_element(const derived *d, ad_var z, ad_var context, bool allow_failure) {
    derive_point p = derive_point_at(d, z, context);
    ad_solution s;
    if (derive_other(d)) {
        s = explicit_value(derive_call("map", derive_other(d), &p.call, p.v, d->changed));
    } else {
        equation e = {d, &p.call, p.v, context};
        ad_solver_options o = solver(d, allow_failure);
        s = ad_root(p.v, changed_less_z, &e, &o);
    }
    if (d->kept) {
        ad_var both[2] = {p.call.kept, s.value};
        s.value = derive_unsort(d, ad_concat(both, 2, 0));
    }
    if (!derive_other(d) && ad_ok(s.value)) look_again(d, &s, z, context, allow_failure);
    return s;
}

// ---- autoregressive ------------------------------------------------------------------------------------------------
// A loop over the features in order; those still to come are the middle of where they may lie, so that all is finite.
// The state is v [D] and these numbers.
enum { FEATURE, SOLVED, ITERATIONS, RESIDUAL, FAILED_AT, NUMBERS };

typedef struct sequence {
    const derived *d;
    ad_var z, context;
    ad_var place, which;  // [D] constants: when a feature's turn comes; its number
    // Of the feature whose turn it is:
    ad_var turn, known, parameters, target;  // turn: 1 at that feature
} sequence;

static ad_var picked(ad_var turn, ad_var v) {
    return ad_reshape(ad_sum(ad_where(turn, v, ad_zeros_like(v))), ad_shape1(1));
}

static ad_var one_feature(void *arg, ad_var y) {
    const sequence *s = arg;
    ad_var v = ad_where(s->turn, y, s->known);
    flow_call call = {&s->d->layer, y.tape, s->context, AD_NONE, s->parameters, 0};
    return ad_sub(picked(s->turn, derive_call("map", derive_given(s->d), &call, v, s->d->changed)), s->target);
}

static ad_solution solve_feature(sequence *s) {
    ad_solver_options o = solver(s->d, true);
    if (!derive_other(s->d)) return ad_root(s->target, one_feature, s, &o);
    flow_call call = {&s->d->layer, s->z.tape, s->context, AD_NONE, s->parameters, 0};
    return explicit_value(picked(s->turn, derive_call("map", derive_other(s->d), &call, s->z, s->d->changed)));
}

static void next_feature(void *arg, ad_var state, ad_var *next, ad_var *done) {
    sequence *s = arg;
    const int64_t D = s->d->changed;
    ad_var number[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) number[i] = ad_slice(state, 0, D + i, 1);
    s->known = ad_slice(state, 0, 0, D);
    s->turn = ad_equal(s->place, number[FEATURE]);
    s->target = picked(s->turn, s->z);
    s->parameters = derive_point_at(s->d, s->known, s->context).call.parameters;
    ad_solution root = solve_feature(s);
    ad_var found = ad_reshape(root.done, ad_shape1(1)), after = ad_offset(number[FEATURE], 1);
    ad_var parts[] = {ad_where(s->turn, root.value, s->known),
                      after,
                      found,
                      ad_add(number[ITERATIONS], ad_reshape(root.iterations, ad_shape1(1))),
                      ad_maximum(number[RESIDUAL], ad_reshape(root.residual, ad_shape1(1))),
                      ad_where(found, number[FAILED_AT], picked(s->turn, s->which))};
    *next = ad_concat(parts, 6, 0);
    ad_var last = ad_greater_equal(after, ad_fill(state.tape, ad_shape1(1), (double)D));
    *done = ad_reshape(ad_maximum(last, ad_sub(ad_fill(state.tape, ad_shape1(1), 1), found)), ad_shape0());
}

static ad_var whole_less_z(void *arg, ad_var v) {
    const equation *e = arg;
    return ad_sub(derive_value(e->d, v, e->context), e->z);
}

static ad_var divide_by_slopes(void *arg, ad_var F) {
    return ad_div(F, *(const ad_var *)arg);
}

// Numbers 0 .. D - 1, or when each feature's turn comes, as a constant.
static ad_var counted(ad_tape *t, const int64_t *place, int64_t D) {
    ad_var out = ad_cumsum(ad_fill(t, ad_shape1(D), 1), 0);
    out = ad_offset(out, -1);
    return place ? ad_take(out, 0, place, D) : out;
}

// The state before the first feature; of rows that are solved already, after the last.
static ad_var start_state(const derived *d, ad_var z, const ad_loop_result *solved) {
    const int64_t D = d->changed;
    ad_tape *t = z.tape;
    const double first[NUMBERS] = {[FAILED_AT] = -1},
                 middle = bounded(d) ? 0.5 * d->form->low + 0.5 * d->form->high : 0;
    ad_var start = ad_fill(t, ad_shape1(D), middle), numbers = ad_constant(t, ad_shape1(NUMBERS), first);
    if (solved) {
        const double last[NUMBERS] = {[FEATURE] = (double)D, [SOLVED] = 1, [FAILED_AT] = -1};
        ad_var done = ad_slice(solved->state, 0, D, 1);
        start = ad_where(done, ad_slice(solved->state, 0, 0, D), start);
        numbers = ad_where(done, ad_constant(t, ad_shape1(NUMBERS), last), numbers);
    }
    ad_var parts[] = {start, numbers}, state = ad_concat(parts, 2, 0);
    return ad_has_rows(z) && ad_ok(state) && !ad_has_rows(state) ? ad_to_rows(state, ad_rows_of(z)) : state;
}

// A solution, with derivatives; and the diagonal of the Jacobian there.
static ad_var attach(const derived *d, ad_var v, ad_var z, ad_var context, ad_var *slopes, ad_var *parameters) {
    equation e = {d, NULL, z, context};
    if (d->takes_one) {
        flow_sweep swept = derive_sweep_solved(d, z, context, v);
        derive_point p = derive_point_with(d, swept.value, context, swept.parameters);
        *slopes = ad_stop_gradient(derive_slopes(d, &p));
        *parameters = swept.parameters;
        return swept.value;
    }
    derive_point p = derive_point_at(d, v, context);
    ad_var zero;
    *slopes = ad_stop_gradient(derive_diagonal(d, &p));
    zero = ad_zeros_like(*slopes);
    *slopes = ad_where(ad_equal(*slopes, zero), ad_offset(zero, 1), *slopes);
    return derive_attach(v, &(derive_system){whole_less_z, &e}, divide_by_slopes, slopes, (int)d->changed + 3);
}

// Rows that Newton's iteration does not solve are solved feature by feature, each in its bracket.
static ad_solution one_by_one(const derived *d, ad_var z, ad_var context, bool allow_failure, ad_var *parameters) {
    const int64_t D = d->changed;
    ad_tape *t = z.tape;
    sequence s = {.d = d, .z = z, .context = context, .place = counted(t, d->place, D), .which = counted(t, NULL, D)};
    ad_loop_result newton;
    if (d->takes_one) newton = derive_sweep_newton(d, z, context, ad_slice(start_state(d, z, NULL), 0, 0, D));
    ad_loop_result loop = ad_loop(start_state(d, z, d->takes_one ? &newton : NULL), (int)D, next_feature, &s);
    ad_var state = ad_stop_gradient(loop.state), v = ad_slice(state, 0, 0, D), number[NUMBERS], slopes;
    for (int i = 0; i < NUMBERS; i++) number[i] = ad_reshape(ad_slice(state, 0, D + i, 1), ad_shape0());
    if (d->takes_one) number[ITERATIONS] = ad_add(number[ITERATIONS], ad_stop_gradient(newton.iterations));

    v = attach(d, v, z, context, &slopes, parameters);
    derive_point p = derive_point_with(d, v, context, *parameters);
    ad_var F = ad_stop_gradient(ad_sub(derive_call("map", derive_given(d), &p.call, p.v, D), z));
    ad_var done = ad_mul(number[SOLVED], really_solved(F, z, slopes, ad_stop_gradient(v)));
    ad_solution solution = {v, number[ITERATIONS], ad_maximum(number[RESIDUAL], ad_max(ad_abs(F))), done};
    if (!allow_failure) solution.value = derive_require(v, &solution, number[FAILED_AT]);
    return solution;
}

static ad_solution autoregressive(const derived *d, ad_var z, ad_var context, bool allow_failure, ad_var *parameters) {
    if (!derive_other(d) || !d->takes_one) return one_by_one(d, z, context, allow_failure, parameters);
    flow_sweep swept = derive_sweep_given(d, z, context);
    *parameters = swept.parameters;
    return explicit_value(swept.value);
}

// ---- orthogonal, low rank, contractive, anything -------------------------------------------------------------------

// J is the same everywhere (an isometry is affine): v = J^T (z - map(0)).
static ad_solution transposed(const derived *d, ad_var z, ad_var context) {
    ad_var nothing = ad_fill(z.tape, ad_shape1(d->changed), 0), v;
    if (ad_has_rows(z)) nothing = ad_to_rows(nothing, ad_rows_of(z));
    ad_var off = ad_sub(z, derive_value(d, nothing, context));
    derive_point p = derive_point_at(d, z, context);
    ad_vjp(derive_call("map", derive_given(d), &p.call, p.v, d->changed), off, &p.v, 1, &v);
    return explicit_value(v);
}

// c = b(z - A(c)).
static ad_var bottleneck_less_c(void *arg, ad_var c) {
    const equation *e = arg;
    const derived *d = e->d;
    ad_var v = ad_sub(e->z, derive_call("map", derive_given(d), e->call, c, d->changed));
    return ad_sub(c, derive_call("bottleneck", d->form->bottleneck, e->call, v, d->rank));
}

static ad_solution through_bottleneck(const derived *d, ad_var z, ad_var context, bool allow_failure) {
    derive_point p = derive_point_at(d, z, context);
    equation e = {d, &p.call, z, context};
    ad_solver_options o = solver(d, allow_failure);
    o.low = o.high = 0;  // they say where v lies, not c
    ad_var start = derive_call("bottleneck", d->form->bottleneck, &p.call, p.v, d->rank);
    ad_solution s = d->rank == 1 ? ad_root(start, bottleneck_less_c, &e, &o)
                                 : derive_newton(&(derive_system){bottleneck_less_c, &e}, start, &o);
    s.value = ad_sub(z, derive_call("map", derive_given(d), &p.call, s.value, d->changed));
    return s;
}

// v / size = (z - g(v)) / size with the size of z, to which rounding is relative.
typedef struct contraction {
    equation e;
    ad_var size;
} contraction;

static ad_var less_residual(void *arg, ad_var w) {
    const contraction *c = arg;
    const derived *d = c->e.d;
    ad_var v = ad_mul(w, c->size), g = derive_call("map", derive_given(d), c->e.call, v, d->changed);
    return ad_div(ad_sub(c->e.z, g), c->size);
}

static ad_solution contracted(const derived *d, ad_var z, ad_var context, bool allow_failure) {
    derive_point p = derive_point_at(d, z, context);
    ad_var size = ad_stop_gradient(ad_maximum(ad_max(ad_abs(z)), ad_number(z.tape, 1)));
    contraction c = {{d, &p.call, z, context}, size};
    ad_solver_options o = solver(d, allow_failure);
    o.low = o.high = 0;
    // Iterates of a map that hardly contracts end in cycles of a few units in the last place.
    if (o.tolerance == 0) o.tolerance = 64 * (ad_tape_type(z.tape) == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON);
    if (o.max_iterations == 0) o.max_iterations = 5000;
    ad_solution s = ad_fixed_point(ad_div(z, size), less_residual, &c, &o);
    s.value = ad_mul(s.value, size);
    return s;
}

static ad_solution newton(const derived *d, ad_var z, ad_var context, bool allow_failure) {
    equation e = {d, NULL, z, context};
    ad_solver_options o = solver(d, allow_failure);
    ad_var start = z;
    if (bounded(d)) {
        start = ad_fill(z.tape, ad_shape1(d->changed), 0.5 * o.low + 0.5 * o.high);
        if (ad_has_rows(z)) start = ad_to_rows(start, ad_rows_of(z));
    }
    return derive_newton(&(derive_system){whole_less_z, &e}, start, &o);
}

ad_solution derive_inverse(const derived *d, ad_var z, ad_var context, bool allow_failure, ad_var *parameters) {
    *parameters = AD_NONE;
    switch (d->form->structure) {
        case FLOW_ELEMENTWISE:
        case FLOW_COUPLING:
            return by_element(d, z, context, allow_failure);
        case FLOW_LOW_RANK:
            return through_bottleneck(d, z, context, allow_failure);
        case FLOW_CONTRACTIVE:
            return contracted(d, z, context, allow_failure);
        case FLOW_AUTOREGRESSIVE:
            if (d->form->conditioner || !derive_other(d))
                return autoregressive(d, z, context, allow_failure, parameters);
            break;
        case FLOW_ORTHOGONAL:
            if (!derive_other(d)) return transposed(d, z, context);
            break;
        default:
            if (!derive_other(d)) return newton(d, z, context, allow_failure);
    }
    derive_point p = derive_point_at(d, z, context);
    return explicit_value(derive_call("map", derive_other(d), &p.call, p.v, d->changed));
}

// ---- both directions -----------------------------------------------------------------------------------------------

// What derivatives are taken in must have rows where anything else has.
static ad_var with_rows(ad_var v, ad_var context) {
    bool spread = ad_ok(v) && !ad_has_rows(v) && !ad_is_none(context) && ad_has_rows(context);
    return spread ? ad_to_rows(v, ad_rows_of(context)) : v;
}

flow_result flow_derived_record(const flow_layer *layer, flow_direction direction, ad_var v, ad_var context) {
    const derived *d = derive_of(layer);
    v = with_rows(v, context);
    if (direction == flow_given_direction(layer)) {
        derive_point p = derive_point_at(d, v, context);
        return (flow_result){derive_value(d, v, context), derive_log_det(d, &p)};
    }
    ad_var parameters, x = derive_inverse(d, v, context, false, &parameters).value;
    derive_point p = derive_point_with(d, x, context, parameters);
    ad_var log_det = derive_log_det(d, &p);
    return (flow_result){x, ad_is_none(log_det) ? log_det : ad_neg(log_det)};
}

ad_solution flow_derived_solve(const flow_layer *layer, ad_var v, ad_var context) {
    ad_solution s = {flow_inert(v), flow_inert(v), flow_inert(v), flow_inert(v)};
    if (!flow_check_call(layer->type->name, v, layer->x_shape, context, layer->C)) return s;
    if (!layer->type->derived) {
        ad_tape_fail(v.tape, AD_EARG, "flow_derived_solve: '%s' is not a layer derived from a map", layer->type->name);
        return s;
    }
    const derived *d = derive_of(layer);
    ad_scope(v.tape, layer->type->name, -1);
    v = with_rows(v, context);
    ad_var parameters;
    s = derive_inverse(d, v, context, true, &parameters);
    s.residual = ad_stop_gradient(ad_max(ad_abs(ad_sub(derive_value(d, s.value, context), v))));
    ad_var *parts[] = {&s.iterations, &s.done};
    for (int i = 0; i < 2; i++) {
        *parts[i] = ad_stop_gradient(*parts[i]);
        if (ad_has_rows(v) && ad_ok(*parts[i]) && !ad_has_rows(*parts[i]))
            *parts[i] = ad_to_rows(*parts[i], ad_rows_of(v));
    }
    ad_scope_end(v.tape);
    return s;
}
