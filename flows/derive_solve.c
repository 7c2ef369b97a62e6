// derive_solve.c -- small systems of equations, one per row: Newton's iteration, gradients, and rows without a
// solution.
#include <float.h>
#include <math.h>
#include <string.h>

#include "derive.h"
#include "op.h"

// What no norm of something finite should come near.
static double largest(ad_tape *t) {
    return ad_tape_type(t) == AD_F32 ? 1e37 : 1e300;
}
static double epsilon(ad_tape *t) {
    return ad_tape_type(t) == AD_F32 ? (double)FLT_EPSILON : DBL_EPSILON;
}

// ---- a row that is not done fails the run --------------------------------------------------------------------------

// Operands: value, done, iterations, residual, element (or -1).
static bool require_shape(ad_shape_call *call) {
    call->y = call->x[0];
    return true;
}
static void require_vjp(const ad_vjp_call *call) {
    call->gx[0] = call->gy;
}

static double number(const ad_kernel *k, int operand, int lane, ad_type type) {
    int64_t at = (int64_t)lane * k->x[operand].lane;
    return type == AD_F64 ? ((const double *)k->x[operand].data)[at] : (double)((const float *)k->x[operand].data)[at];
}

static void require_kernel(const ad_kernel *k, ad_type type) {
    size_t bytes = (size_t)k->R * ad_type_size(type);
    int64_t n = ad_shape_count(*k->shape);
    for (int64_t i = 0; i < n; i++) {
        size_t from = (size_t)(i * k->x[0].stride) * ad_type_size(type);
        memcpy((char *)k->y + (size_t)i * bytes, (const char *)k->x[0].data + from, bytes);
    }
    for (int r = 0; r < k->live; r++) {
        if (number(k, 1, r, type) != 0) continue;
        double iterations = number(k, 2, r, type), residual = flow_said(number(k, 3, r, type)),
               at = number(k, 4, r, type);
        if (at >= 0) {
            ad_kernel_fail(k, r, AD_ECONVERGE, "feature %g: not converged after %g iterations: residual %g", at,
                           iterations, residual);
        } else {
            ad_kernel_fail(k, r, AD_ECONVERGE, "not converged after %g iterations: residual %g", iterations, residual);
        }
        return;
    }
}
static void require_f32(const ad_kernel *k) {
    require_kernel(k, AD_F32);
}
static void require_f64(const ad_kernel *k) {
    require_kernel(k, AD_F64);
}

static const ad_op require_op = {
    .name = "inverse", .shape = require_shape, .vjp = require_vjp, .kernel = {require_f32, require_f64}};

ad_var derive_require(ad_var value, const ad_solution *s, ad_var element) {
    if (!ad_ok(value)) return value;
    if (ad_is_none(element)) element = ad_number(value.tape, -1);
    ad_var x[] = {value, s->done, s->iterations, s->residual, element};
    for (int i = 1; i < 5; i++) {
        if (ad_has_rows(value) && ad_ok(x[i]) && !ad_has_rows(x[i])) x[i] = ad_to_rows(x[i], ad_rows_of(value));
    }
    return ad_apply(&require_op, x, 5, NULL, 0);
}

// ---- derivatives of a solution -------------------------------------------------------------------------------------

typedef struct attached {
    const derive_system *system;
    ad_var (*step)(void *arg, ad_var F);
    void *arg;
} attached;

static ad_var corrected(void *arg, ad_var y) {
    const attached *a = arg;
    return ad_sub(y, a->step(a->arg, a->system->F(a->system->arg, y)));
}

// The derivative of y - step(F(y)) in y is about 0, or strictly triangular, so that the adjoint equation takes as many
// iterations as max_iterations says, and y itself moves by rounding at most.
ad_var derive_attach(ad_var y, const derive_system *system, ad_var (*step)(void *arg, ad_var F), void *arg,
                     int max_iterations) {
    attached a = {system, step, arg};
    ad_solver_options o = {.max_iterations = max_iterations, .allow_failure = true};
    return ad_fixed_point(y, corrected, &a, &o).value;
}

// ---- Newton's iteration with line search ---------------------------------------------------------------------------
// One evaluation of F and its Jacobian an iteration, at the end of the step being tried. It is taken if the largest |F|
// falls, otherwise halved. Failing kernels inside a loop fail nothing: steps that are not finite are replaced.

typedef struct newton {
    derive_system system;
    int64_t n;
    double tolerance;
} newton;

// The state: y [n], the step p [n] from there, and these numbers. NORM is the largest |F(y)|.
enum { NORM, LENGTH, SOLVED, NUMBERS };

static ad_var item(ad_var state, int64_t n, int which) {
    return ad_slice(state, 0, 2 * n + which, 1);
}
static ad_var number_like(ad_var x, double value) {
    return ad_fill(x.tape, ad_shape1(1), value);
}
static ad_var most(ad_var x) {
    return ad_reshape(ad_max(ad_abs(x)), ad_shape1(1));
}
static ad_var size_of(ad_var y) {
    return ad_maximum(most(y), number_like(y, 1));
}
static ad_var below(ad_var x, double bound) {
    return ad_less(x, number_like(x, bound));
}
// Of 1 and 0.
static ad_var either(ad_var a, ad_var b) {
    return ad_maximum(a, b);
}
static ad_var both(ad_var a, ad_var b) {
    return ad_mul(a, b);
}
static ad_var no(ad_var a) {
    return ad_sub(number_like(a, 1), a);
}

// -J^-1 F, no longer than what could be meant; -F where there is none.
static ad_var newton_step(ad_var J, ad_var F, ad_var size) {
    ad_var p = ad_neg(ad_solve(J, F)), longest = ad_scale(size, 1e4);
    p = ad_where(below(most(p), largest(F.tape)), p, ad_neg(F));
    return ad_mul(p, ad_minimum(number_like(F, 1), ad_div(longest, ad_maximum(most(p), longest))));
}

// Whether F at q is what rounding of q alone makes of 0.
static ad_var is_rounding(ad_var F, ad_var J, ad_var q, int64_t n) {
    ad_var moves = ad_sum_axis(ad_mul(ad_abs(J), ad_reshape(ad_abs(q), ad_shape2(1, n))), 1);
    ad_var within = ad_less_equal(ad_abs(F), ad_scale(moves, 2 * epsilon(q.tape)));
    return ad_reshape(ad_min(within), ad_shape1(1));
}

static void newton_body(void *arg, ad_var state, ad_var *next, ad_var *done) {
    const newton *s = arg;
    const int64_t n = s->n;
    ad_var y = ad_slice(state, 0, 0, n), p = ad_slice(state, 0, n, n);
    ad_var norm = item(state, n, NORM), length = item(state, n, LENGTH), known = below(norm, largest(state.tape));
    ad_var q = ad_add(y, ad_mul(length, p)), F = s->system.F(s->system.arg, q), J = ad_jacobian(F, q);
    ad_var fresh = most(F), enough = ad_mul(norm, ad_offset(ad_scale(length, -1e-4), 1));
    ad_var taken = ad_less(fresh, enough), refused = no(taken), size = size_of(q), step = newton_step(J, F, size);

    ad_var small = ad_less(most(step), ad_scale(size, s->tolerance));
    ad_var there = both(taken, either(small, is_rounding(F, J, q, n)));
    // A step so short, of which not even a part improves anything, is rounding already.
    ad_var tiny = ad_less(most(p), ad_scale(size_of(y), sqrt(epsilon(state.tape))));
    ad_var stuck = both(both(refused, known), both(tiny, below(length, 0.1)));
    ad_var lost = both(refused, either(below(length, 1e-9), no(known))), solved = either(there, stuck);

    ad_var parts[] = {ad_where(taken, q, y), ad_where(taken, step, p), ad_where(either(taken, no(known)), fresh, norm),
                      ad_where(taken, number_like(y, 1), ad_scale(length, 0.5)), solved};
    *next = ad_concat(parts, 5, 0);
    *done = ad_reshape(either(solved, lost), ad_shape0());
}

static ad_loop_result iterate(newton *s, ad_var start, int max_iterations) {
    ad_tape *t = start.tape;
    const double first[NUMBERS] = {[NORM] = largest(t), [LENGTH] = 1};
    ad_var parts[] = {start, ad_zeros_like(start), ad_constant(t, ad_shape1(NUMBERS), first)};
    return ad_loop(ad_stop_gradient(ad_concat(parts, 3, 0)), max_iterations, newton_body, s);
}

static ad_var divide(void *arg, ad_var F) {
    return ad_solve(*(const ad_var *)arg, F);
}

ad_solution derive_newton(const derive_system *system, ad_var start, const ad_solver_options *options) {
    ad_tape *t = start.tape;
    const int64_t n = ad_dim(start, 0);
    ad_solution inert = {flow_inert(start), flow_inert(start), flow_inert(start), flow_inert(start)};
    newton s = {*system, n, options->tolerance > 0 ? options->tolerance : 4 * epsilon(t)};
    ad_loop_result loop = iterate(&s, start, options->max_iterations ? options->max_iterations : 100);
    if (!ad_ok(loop.state)) return inert;
    ad_var y = ad_stop_gradient(ad_slice(loop.state, 0, 0, n)), done = item(loop.state, n, SOLVED);
    ad_solution solution = {y, loop.iterations, ad_reshape(item(loop.state, n, NORM), ad_shape0()),
                            ad_reshape(done, ad_shape0())};
    if (!options->allow_failure) y = derive_require(y, &solution, AD_NONE);
    // Where there is no solution there is no Jacobian to speak of either.
    ad_var J = ad_jacobian(system->F(system->arg, y), y), one = ad_diag(ad_fill(t, ad_shape1(n), 1));
    J = ad_stop_gradient(ad_where(done, J, one));
    solution.value = derive_attach(y, system, divide, &J, 4);
    return solution;
}
