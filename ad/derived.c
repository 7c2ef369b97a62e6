// derived.c -- Jacobians, Hessian products, traces.
//
// The derivative of y in x by sweeps: a vjp with a one-hot cotangent is a row of the Jacobian. Where y has rows and x
// is shared a vjp would sum over rows; then a sweep is a directional derivative along a one-hot tangent, a column.
#include <string.h>

#include "internal.h"

typedef struct sweeps {
    ad_var y, x;
    bool columns;      // a sweep is a column
    ad_var u, pulled;  // columns: cotangent of y that vanishes from the plan, and its vjp
    int64_t n;         // sweeps
    double *one_hot;   // [n]
    ad_var *g;         // [n] the sweeps' results, or what was kept of them
} sweeps;

static bool check_pair(ad_var y, ad_var x, const char *what) {
    if (!ad_check_var(y, what)) return false;
    if (x.tape == y.tape) return ad_check_var(x, what);
    ad_tape_fail(y.tape, ad_is_none(x) ? AD_EARG : AD_EMIX, "%s: y and x are not on one tape", what);
    return false;
}

static ad_var inert_like(ad_var y) {
    return y.tape ? ad_inert(y.tape) : y;
}

static bool sweeps_start(sweeps *s, ad_var y, ad_var x, const char *what) {
    ad_tape *t = y.tape;
    *s = (sweeps){.y = y, .x = x, .columns = ad_has_rows(y) && !ad_has_rows(x)};
    s->n = ad_shape_count(ad_shape_of(s->columns ? x : y));
    size_t n = (size_t)s->n + 1;
    s->one_hot = ad_arena_take(&t->scratch, n * sizeof *s->one_hot);
    s->g = ad_arena_take(&t->scratch, n * sizeof *s->g);
    if (!s->one_hot || !s->g) {
        ad_tape_fail(t, AD_ENOMEM, "%s: out of memory", what);
        return false;
    }
    memset(s->one_hot, 0, n * sizeof *s->one_hot);
    if (s->columns) {
        s->u = ad_placeholder(t, ad_rows_of(y), ad_shape_of(y));
        ad_vjp(y, s->u, &x, 1, &s->pulled);
    }
    return true;
}

// Row i of the Jacobian, of x's shape; or column i, of y's.
static ad_var sweep(const sweeps *s, int64_t i) {
    ad_var g;
    s->one_hot[i] = 1;
    ad_var e = ad_constant(s->y.tape, ad_shape_of(s->columns ? s->x : s->y), s->one_hot);
    s->one_hot[i] = 0;
    if (s->columns)
        ad_vjp(s->pulled, e, &s->u, 1, &g);
    else
        ad_vjp(s->y, e, &s->x, 1, &g);
    return g;
}

static ad_var zeros_for(ad_var y, ad_var x, ad_shape shape) {
    ad_var zeros = ad_fill(y.tape, shape, 0);
    if (!ad_has_rows(y) && !ad_has_rows(x)) return zeros;
    return ad_to_rows(zeros, ad_rows_of(ad_has_rows(y) ? y : x));
}

// y's dimensions followed by x's; false with the error on the tape.
static bool jacobian_shape(ad_var y, ad_var x, ad_shape *shape) {
    ad_shape a = ad_shape_of(y), b = ad_shape_of(x);
    char text[2][64];
    bool fits = a.rank + b.rank <= AD_MAX_RANK;
    if (fits) {
        *shape = a;
        for (int32_t i = 0; i < b.rank; i++) shape->dim[shape->rank++] = b.dim[i];
    }
    if (fits && ad_shape_count(*shape) >= 0) return true;
    ad_tape_fail(y.tape, AD_ESHAPE, "jacobian: of y %s in x %s: %s", ad_shape_print(a, text[0], sizeof text[0]),
                 ad_shape_print(b, text[1], sizeof text[1]), fits ? "too many elements" : "more than 6 axes");
    return false;
}

ad_var ad_jacobian(ad_var y, ad_var x) {
    ad_shape shape;
    sweeps s;
    if (!check_pair(y, x, "jacobian") || !jacobian_shape(y, x, &shape)) return inert_like(y);
    if (ad_shape_count(shape) == 0) return zeros_for(y, x, shape);
    ad_arena mark = ad_arena_mark(&y.tape->scratch);
    ad_var jacobian = ad_inert(y.tape);
    if (sweeps_start(&s, y, x, "jacobian")) {
        int64_t size = ad_shape_count(shape) / s.n;
        for (int64_t i = 0; i < s.n; i++)
            s.g[i] = ad_reshape(sweep(&s, i), s.columns ? ad_shape2(size, 1) : ad_shape2(1, size));
        jacobian = ad_reshape(ad_concat(s.g, (int)s.n, s.columns ? 1 : 0), shape);
    }
    ad_arena_release(&y.tape->scratch, mark);
    return jacobian;
}

ad_var ad_hessian_product(ad_var y, ad_var x, ad_var v) {
    ad_var g, product;
    ad_grad(y, &x, 1, &g);
    ad_vjp(g, v, &x, 1, &product);  // the Hessian is symmetric
    return product;
}

static bool check_square(ad_var y, ad_var x, const char *what) {
    char a[64], b[64];
    if (!check_pair(y, x, what)) return false;
    if (ad_shape_equal(ad_shape_of(y), ad_shape_of(x))) return true;
    ad_tape_fail(y.tape, AD_ESHAPE, "%s: y has shape %s and x %s: expected the same", what,
                 ad_shape_print(ad_shape_of(y), a, sizeof a), ad_shape_print(ad_shape_of(x), b, sizeof b));
    return false;
}

ad_var ad_jacobian_trace(ad_var y, ad_var x) {
    sweeps s;
    if (!check_square(y, x, "jacobian trace")) return inert_like(y);
    if (ad_shape_count(ad_shape_of(y)) == 0) return zeros_for(y, x, ad_shape0());
    ad_arena mark = ad_arena_mark(&y.tape->scratch);
    ad_var trace = ad_inert(y.tape);
    if (sweeps_start(&s, y, x, "jacobian trace")) {
        for (int64_t i = 0; i < s.n; i++) s.g[i] = ad_slice(ad_reshape(sweep(&s, i), ad_shape1(s.n)), 0, i, 1);
        trace = ad_sum(ad_concat(s.g, (int)s.n, 0));
    }
    ad_arena_release(&y.tape->scratch, mark);
    return trace;
}

ad_var ad_jacobian_trace_estimate(ad_var y, ad_var x, ad_var v) {
    ad_var g;
    if (!check_square(y, x, "jacobian trace")) return inert_like(y);
    if (ad_has_rows(y) && !ad_has_rows(x))
        g = ad_jvp(y, x, v);
    else
        ad_vjp(y, v, &x, 1, &g);
    return ad_sum(ad_mul(v, g));
}
