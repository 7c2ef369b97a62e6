// solve.c -- roots and fixed points: one ad_loop each, with derivatives by the implicit function theorem.
#include <float.h>
#include <math.h>

#include "internal.h"
#include "ops/solver.h"

static ad_solution inert(ad_tape *t) {
    ad_var v = t ? ad_inert(t) : ad_none();
    return (ad_solution){v, v, v, v};
}

// False with the error on the tape. defaults: what zeros stand for.
static bool check_options(ad_tape *t, const char *what, ad_solver_options *o, const ad_solver_options *given,
                          int max_iterations) {
    bool single = ad_tape_type(t) == AD_F32;
    double most = single ? (double)FLT_MAX : DBL_MAX;
    if (given) *o = *given;
    if (o->tolerance == 0) o->tolerance = 4 * (single ? (double)FLT_EPSILON : DBL_EPSILON);
    if (o->max_iterations == 0) o->max_iterations = max_iterations;
    if (o->low == 0 && o->high == 0) o->low = -1, o->high = 1;
    if (!(o->tolerance > 0 && o->tolerance < 1))
        ad_tape_fail(t, AD_EARG, "%s: tolerance %g: expected 0 to 1", what, o->tolerance);
    else if (!(o->low < o->high && -most <= o->low && o->high <= most))
        ad_tape_fail(t, AD_EARG, "%s: a bracket from %g to %g", what, o->low, o->high);
    else
        return true;
    return false;
}

// A function's value must look as its argument does.
static ad_var check_value(ad_var f, ad_var y, const char *what) {
    ad_tape *t = y.tape;
    char a[64], b[64];
    if (f.tape != t) {
        ad_tape_fail(t, ad_is_none(f) ? AD_EARG : AD_EMIX,
                     "%s: the function's value is not on the tape of its argument", what);
    } else if (!ad_check_var(f, what)) {
        return ad_inert(t);
    } else if (!ad_shape_equal(ad_shape_of(f), ad_shape_of(y))) {
        ad_tape_fail(t, AD_ESHAPE, "%s: the function's value has shape %s, its argument %s", what,
                     ad_shape_print(ad_shape_of(f), a, sizeof a), ad_shape_print(ad_shape_of(y), b, sizeof b));
    } else if (ad_has_rows(f) && !ad_has_rows(y)) {
        ad_tape_fail(t, AD_EMIX, "%s: the function's value has rows and its argument none: start from ad_to_rows",
                     what);
    } else {
        return f;
    }
    return ad_inert(t);
}

static ad_var part(ad_var state, int64_t start, ad_shape shape) {
    return ad_reshape(ad_slice(state, 0, start, ad_shape_count(shape)), shape);
}

static ad_var row_number(ad_var state, int64_t rows_start, int which) {
    return part(state, rows_start + which, ad_shape0());
}

static ad_solution solution(ad_var value, const ad_loop_result *loop, int64_t rows_start) {
    return (ad_solution){value, ad_stop_gradient(loop->iterations),
                         ad_stop_gradient(row_number(loop->state, rows_start, ROW_RESIDUAL)),
                         ad_stop_gradient(row_number(loop->state, rows_start, ROW_CONVERGED))};
}

typedef ad_var (*function)(void *arg, ad_var y);

// ---- roots
// ------------------------------------------------------------------------------------------------------------

typedef struct search {
    function f;
    void *arg;
    ad_root_attr attr;
} search;

static void search_step(void *arg, ad_var state, ad_var *next, ad_var *done) {
    const search *s = arg;
    ad_var y = part(state, 0, s->attr.shape), slope;
    ad_var f = check_value(s->f(s->arg, y), y, "root");
    ad_vjp(f, ad_fill(state.tape, s->attr.shape, 1), &y, 1, &slope);  // f is elementwise: the diagonal is all there is
    *next = ad_root_step(state, f, slope, &s->attr);
    *done = row_number(*next, ROOT_PLANES * s->attr.n, ROW_FINISHED);
}

// The state before the first evaluation, halfway between low and high.
static ad_var search_start(ad_var like, const ad_root_attr *a) {
    ad_tape *t = like.tape;
    int64_t n = ROOT_PLANES * a->n + ROW_NUMBERS;
    ad_arena mark = ad_arena_mark(&t->scratch);
    double *x = ad_arena_take(&t->scratch, (size_t)n * sizeof *x), most = ad_tape_type(t) == AD_F32 ? FLT_MAX : DBL_MAX;
    ad_var state = ad_inert(t);
    if (x) {
        const double first[ROOT_PLANES] = {[ROOT_Y] = 0.5 * a->low + 0.5 * a->high,
                                           [ROOT_LOW] = a->low,
                                           [ROOT_HIGH] = a->high,
                                           [ROOT_STEP] = most,
                                           [ROOT_STEP_BEFORE] = most};
        for (int64_t i = 0; i < n; i++) x[i] = i < ROOT_PLANES * a->n ? first[i / a->n] : 0;
        state = ad_constant(t, ad_shape1(n), x);
        if (ad_has_rows(like)) state = ad_to_rows(state, ad_rows_of(like));
    } else {
        ad_tape_fail(t, AD_ENOMEM, "root: out of memory");
    }
    ad_arena_release(&t->scratch, mark);
    return state;
}

// The bracket as the tape's type can hold it, with a point in the middle.
static void set_bracket(ad_root_attr *a, ad_type type, const ad_solver_options *o) {
    double middle = 0.5 * o->low + 0.5 * o->high, half = 0.5 * o->high - 0.5 * o->low;
    double least = 8 * (type == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON) * fabs(middle);
    if (half < least) half = least;
    a->low = middle - half, a->high = middle + half;
}

ad_solution ad_root(ad_var like, function f, void *arg, const ad_solver_options *options) {
    if (!ad_check_var(like, "root")) return inert(like.tape);
    ad_tape *t = like.tape;
    ad_solver_options o = {0};
    if (!check_options(t, "root", &o, options, 100)) return inert(t);
    search s = {
        f, arg, {.required = !o.allow_failure, .n = ad_shape_count(ad_shape_of(like)), .tolerance = o.tolerance}};
    s.attr.shape = ad_shape_of(like);
    set_bracket(&s.attr, ad_tape_type(t), &o);
    ad_loop_result loop = ad_loop(search_start(like, &s.attr), o.max_iterations, search_step, &s);
    ad_var value = ad_implicit(ad_root_value(loop.state, &s.attr), f, arg);
    return ad_ok(value) ? solution(value, &loop, ROOT_PLANES * s.attr.n) : inert(t);
}

// ---- fixed points
// -------------------------------------------------------------------------------------------------------

typedef struct iteration {
    function g;
    void *arg;
    const ad_fixed_attr *attr;
} iteration;

static void iterate(void *arg, ad_var state, ad_var *next, ad_var *done) {
    const iteration *s = arg;
    ad_var y = part(state, 0, s->attr->shape);
    *next = ad_fixed_step(state, check_value(s->g(s->arg, y), y, "fixed_point"), s->attr);
    *done = row_number(*next, s->attr->n, ROW_FINISHED);
}

ad_solution ad_fixed_solve(ad_var start, function g, void *arg, const ad_fixed_attr *attr) {
    iteration s = {g, arg, attr};
    ad_var parts[] = {ad_reshape(start, ad_shape1(attr->n)), ad_fill(start.tape, ad_shape1(ROW_NUMBERS), 0)};
    ad_loop_result loop = ad_loop(ad_concat(parts, 2, 0), attr->max_iterations, iterate, &s);
    ad_var value = ad_fixed_implicit(ad_fixed_value(loop.state, attr), g, arg, attr);
    return ad_ok(value) ? solution(value, &loop, attr->n) : inert(start.tape);
}

ad_solution ad_fixed_point(ad_var start, function g, void *arg, const ad_solver_options *options) {
    if (!ad_check_var(start, "fixed_point")) return inert(start.tape);
    ad_solver_options o = {0};
    if (!check_options(start.tape, "fixed_point", &o, options, 1000)) return inert(start.tape);
    ad_fixed_attr attr = {.required = !o.allow_failure,
                          .max_iterations = o.max_iterations,
                          .tolerance = o.tolerance,
                          .n = ad_shape_count(ad_shape_of(start))};
    attr.shape = ad_shape_of(start);
    return ad_fixed_solve(start, g, arg, &attr);
}
