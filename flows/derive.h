// derive.h -- what the files of derived layers share: the layer, its map at a point, and how systems are solved.
#ifndef FLOWS_DERIVE_H
#define FLOWS_DERIVE_H

#include "internal.h"

// Matrices per row: what ad_solve and ad_log_abs_det take.
enum { DERIVE_MOST = 16 };

typedef struct derived {
    flow_layer layer;
    const flow_derivation *form;
    flow_net *net;         // the conditioner, a part, or NULL
    ad_param *parameters;  // [D,P] instead, where it would have nothing to see
    int64_t *order;        // [D], or NULL: 0, 1, ...
    int64_t *place;        // [D]: order undone
    int64_t kept, changed, rank;
    bool takes_one;        // autoregressive: the map can be called for one feature alone
    double numbers[FLOW_NUMBERS];
    ad_type type;
    uint64_t seed;
} derived;

static inline const derived *derive_of(const flow_layer *layer) {
    return (const derived *)layer;
}

// ---- derive.c ------------------------------------------------------------------------------------------------------

// As flow_derive, with the conditioner given (owned from now on) or made (NULL).
flow_layer *derive_make(const flow_layer_type *type, int64_t D, int64_t C, const flow_derive_options *o,
                        flow_net *given, ad_error *error);

// ---- derive_map.c --------------------------------------------------------------------------------------------------

// The map about to be recorded at some v: all that it sees. v is a var of its own, so that derivatives in it leave out
// what context and parameters owe to the same features.
typedef struct derive_point {
    flow_call call;
    ad_var v;  // [n]
} derive_point;

derive_point derive_point_at(const derived *d, ad_var v, ad_var context);
// The same where the parameters at v are known (AD_NONE: they are not).
derive_point derive_point_with(const derived *d, ad_var v, ad_var context, ad_var parameters);
// One of the user's functions, which must give [n], at v instead of the point's own.
ad_var derive_call(const char *what, flow_map map, const flow_call *call, ad_var v, int64_t n);
// The map given, [D] -> [D]; and its log|det|, in parts.
ad_var derive_value(const derived *d, ad_var v, ad_var context);
ad_var derive_log_det(const derived *d, const derive_point *p);
// The derivative of each feature changed in itself, [n], where none has one in another: one sweep.
ad_var derive_slopes(const derived *d, const derive_point *p);
// The same of an autoregressive map, [D].
ad_var derive_diagonal(const derived *d, const derive_point *p);
// The map in the direction given, and in the other one (NULL: to be solved for).
flow_map derive_given(const derived *d);
flow_map derive_other(const derived *d);
// A coupling's features [D] in order: those kept first. And back.
ad_var derive_sort(const derived *d, ad_var v);
ad_var derive_unsort(const derived *d, ad_var v);

// ---- derive_inverse.c ----------------------------------------------------------------------------------------------

// v with map(v) = z. *parameters: the conditioner's at v, where they have been found on the way; else AD_NONE.
ad_solution derive_inverse(const derived *d, ad_var z, ad_var context, bool allow_failure, ad_var *parameters);

// ---- derive_sweep.c ------------------------------------------------------------------------------------------------

// Whether an autoregressive map with a conditioner, and its inverse where that is given, can be called for one feature.
bool derive_takes_one(const derived *d);
// v with map(v) = z, and the parameters there: by the inverse given; by Newton's iteration from start, its state v [D] and
// 1 where done, without derivatives; and with derivatives, from v solved for before.
flow_sweep derive_sweep_given(const derived *d, ad_var z, ad_var context);
ad_loop_result derive_sweep_newton(const derived *d, ad_var z, ad_var context, ad_var start);
flow_sweep derive_sweep_solved(const derived *d, ad_var z, ad_var context, ad_var v);

// ---- derive_solve.c ------------------------------------------------------------------------------------------------

// F(arg, y) of y's shape [n], to become 0.
typedef struct derive_system {
    ad_var (*F)(void *arg, ad_var y);
    void *arg;
} derive_system;
// F(y) = 0 by Newton's iteration with line search from start [n], n at most DERIVE_MOST.
ad_solution derive_newton(const derive_system *system, ad_var start, const ad_solver_options *options);
// y found before, with derivatives of any order: a fixed point of y - step(arg, F(y)), where step divides by a
// Jacobian, or what is near enough, taken as constant.
ad_var derive_attach(ad_var y, const derive_system *system, ad_var (*step)(void *arg, ad_var F), void *arg,
                     int max_iterations);
// value [n], after a check: the run fails for a row that is not done. element: which one is not, or AD_NONE.
ad_var derive_require(ad_var value, const ad_solution *s, ad_var element);

#endif
