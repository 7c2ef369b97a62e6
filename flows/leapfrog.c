// leapfrog.c -- reversible dynamics: steps y_{t+1} = 2 y_t - y_{t-1} + h^2 f_t(y_t), and the Hamiltonian pair.
//
// Chang, Meng, Haber, Ruthotto, Begert and Holtham 2018, "Reversible architectures for arbitrarily deep residual neural
// networks" (leapfrog and Hamiltonian networks); Lensink, Peters and Haber 2022, "Fully hyperbolic convolutional neural
// networks"; here fully connected. The state is kept as position y and velocity v = (y_t - y_{t-1}) / h, the second and
// the first part of a row, in which a step is two shifts, v += h f(y) and y += h v. That is the recurrence after a
// linear change of variables, but it is the identity where h is 0, while 2 y_t - y_{t-1} goes on as it came: so h is
// learned and starts at 0, as the gate of a residual branch does. Both shifts have determinant 1.
//
// Parts of n and m features, k = min(n, m): the first k velocities move the first k positions. Positions beyond are
// seen, but stay; velocities beyond are pushed, but move nothing. K has as many columns as the larger part, and either
// part takes the first of them: f is the force of equal parts of which some are not there, and no D is left out.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

typedef struct kick {
    ad_param *K, *b, *U;  // [W,max(n,m)], [W], [W,C] or NULL
    flow_net *net;        // instead, a part
} kick;
typedef struct leapfrog {
    flow_layer layer;
    flow_leapfrog_kind kind;
    int64_t part[2];  // features of velocity, and of position
    int steps, n;
    kick *kick;     // [n], in the order in which normalize takes them
    ad_param *h;    // [1], or NULL: it is step
    double step;    // at the start
    int64_t width;  // of K; 0: forces are nets
    flow_activation activation;
    ad_type type;
    bool inverse;
} leapfrog;

enum { KINDS = 2 };
static const char *const kind_names[KINDS] = {"leapfrog", "hamiltonian"};

// ---- both directions ------------------------------------------------------------------------------------------------

static int64_t larger(const leapfrog *l) {
    return l->part[0] > l->part[1] ? l->part[0] : l->part[1];
}

// The part that kick i pushes.
static int pushed(const leapfrog *l, int i) {
    return l->kind == FLOW_HAMILTONIAN && l->part[1] > 0 ? i % 2 : 0;
}

static ad_var columns(const leapfrog *l, ad_var K, int part) {
    return l->part[part] == larger(l) ? K : ad_slice(K, 1, 0, l->part[part]);
}

// K^T s(K y + U context + b), y being AD_NONE where there is no position.
static ad_var symmetric(const leapfrog *l, int i, ad_tape *tape, ad_var y, ad_var context) {
    const int to = pushed(l, i);
    const kick *k = &l->kick[i];
    ad_var K = ad_use(tape, k->K), a = ad_use(tape, k->b);
    if (k->U) a = ad_linear(ad_use(tape, k->U), context, a);
    if (!ad_is_none(y)) {
        ad_var in = columns(l, K, !to);
        a = k->U ? ad_add(ad_linear(in, y, AD_NONE), a) : ad_linear(in, y, a);
    }
    return ad_linear_transposed(columns(l, K, to), flow_activate(l->activation, a));
}

static ad_var force(const leapfrog *l, int i, ad_tape *tape, ad_var y, ad_var context) {
    if (!l->kick[i].net) {
        ad_var f = symmetric(l, i, tape, y, context);
        return l->kind == FLOW_HAMILTONIAN && pushed(l, i) == 0 ? f : ad_neg(f);
    }
    ad_var in[2] = {y, context};
    if (ad_is_none(y)) return flow_net_apply(l->kick[i].net, context);
    return flow_net_apply(l->kick[i].net, ad_is_none(context) ? y : ad_concat(in, 2, 0));
}

// v + h by, or v - h by.
static ad_var moved(const leapfrog *l, ad_var v, ad_var by, bool back) {
    ad_var far = l->h ? ad_mul(by, ad_use(v.tape, l->h)) : ad_scale(by, l->step);
    return back ? ad_sub(v, far) : ad_add(v, far);
}

static void drift(const leapfrog *l, ad_var *part, bool back) {
    const int64_t m = l->part[0], n = l->part[1], k = m < n ? m : n;
    if (l->kind == FLOW_HAMILTONIAN || n == 0) return;
    ad_var v = k == m ? part[0] : ad_slice(part[0], 0, 0, k);
    if (k == n) {
        part[1] = moved(l, part[1], v, back);
    } else {
        ad_var both[2] = {moved(l, ad_slice(part[1], 0, 0, k), v, back), ad_slice(part[1], 0, k, n - k)};
        part[1] = ad_concat(both, 2, 0);
    }
}

static flow_result record(const leapfrog *l, bool back, ad_var x, ad_var context) {
    ad_var part[2] = {ad_slice(x, 0, 0, l->part[0]), AD_NONE};
    if (l->part[1]) part[1] = ad_slice(x, 0, l->part[0], l->part[1]);
    for (int j = 0; j < l->n; j++) {
        const int i = back ? l->n - 1 - j : j, to = pushed(l, i);
        if (back) drift(l, part, true);
        part[to] = moved(l, part[to], force(l, i, x.tape, part[!to], context), back);
        if (!back) drift(l, part, false);
    }
    return (flow_result){l->part[1] ? ad_concat(part, 2, 0) : part[0], AD_NONE};
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const leapfrog *l = (const leapfrog *)layer;
    return record(l, l->inverse, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const leapfrog *l = (const leapfrog *)layer;
    return record(l, !l->inverse, z, context);
}

// ---- making ---------------------------------------------------------------------------------------------------------

static void release(flow_owner *owner) {
    free(((leapfrog *)owner)->kick);
}

static flow_layer *abandon(leapfrog *l, const flow_couplings_options *o, int first) {
    for (int i = first; o->nets && i < o->n_nets; i++) flow_net_free(o->nets[i]);
    if (l) flow_layer_free(&l->layer);
    return NULL;
}

// What does not depend on D.
static bool fits(const leapfrog *l, const flow_leapfrog_options *o, ad_error *error) {
    const bool own = l->width != 0;
    if ((unsigned)o->kind >= KINDS || o->steps < 0 || l->n > FLOW_MOST_STEPS || l->n < l->steps) {
        ad_fail(error, AD_EARG, "leapfrog: kind %d, %d steps; expected kind 0 to %d and 1 to %d steps", (int)o->kind,
                o->steps, KINDS - 1, FLOW_MOST_STEPS / (o->kind == FLOW_HAMILTONIAN ? 2 : 1));
    } else if (!(l->step >= 0 && l->step <= 100)) {
        ad_fail(error, AD_EARG, "leapfrog: step %g; expected 0 to 100", flow_said(l->step));
    } else if (own && (l->width < 1 || l->width > FLOW_MAX_FEATURES || (unsigned)l->activation >= FLOW_ACTIVATIONS)) {
        ad_fail(error, AD_EARG, "leapfrog: width %lld, activation %d; expected 1 to 2^24 and 0 to %d",
                (long long)l->width, (int)l->activation, FLOW_ACTIVATIONS - 1);
    } else if (o->couplings.nets && o->couplings.n_nets != l->n) {
        ad_fail(error, AD_EARG, "leapfrog: %d nets, expected %d", o->couplings.n_nets, l->n);
    } else if (!own && l->part[1] + l->layer.C == 0) {
        ad_fail(error, AD_EARG, "leapfrog: one feature and no context leave nets nothing to see");
    } else {
        return true;
    }
    return false;
}

static void settle(leapfrog *l, const flow_leapfrog_options *o, int64_t D) {
    l->kind = o->kind;
    l->part[0] = o->split ? o->split : (D + 1) / 2;
    l->part[1] = D - l->part[0];
    l->steps = o->steps ? o->steps : 8;
    l->n = l->kind == FLOW_HAMILTONIAN && D > 1 && l->steps <= FLOW_MOST_STEPS ? 2 * l->steps : l->steps;
    l->step = o->step == 0 && o->fixed ? 1.0 / l->steps : o->step;
    l->width = o->free || o->couplings.nets ? 0 : o->couplings.mlp.width ? o->couplings.mlp.width : 64;
    l->activation = o->couplings.mlp.activation;
    l->type = o->couplings.mlp.type;
    l->inverse = o->couplings.inverse;
}

// K^T K of one column is about 1, so that a force is about as large as its position. Of n columns its largest
// eigenvalue is about (sqrt(W) + sqrt(n))^2 times the variance: below 4/3 with this one. Steps of h = 1 explode from 4.
static bool add_symmetric(leapfrog *l, int i, uint64_t seed, ad_error *error) {
    char name[3][24];
    const char letters[3] = {'K', 'b', 'U'};
    for (int k = 0; k < 3; k++) snprintf(name[k], sizeof name[k], "%c%d", letters[k], i);
    flow_owner *owner = &l->layer.owner;
    kick *k = &l->kick[i];
    const int64_t W = l->width, C = l->layer.C;
    if (!(k->K = flow_add_param(owner, name[0], l->type, ad_shape2(W, larger(l)), error)) ||
        !(k->b = flow_add_param(owner, name[1], l->type, ad_shape1(W), error)) ||
        (C > 0 && !(k->U = flow_add_param(owner, name[2], l->type, ad_shape2(W, C), error)))) {
        return false;
    }
    const double bound = sqrt(3 / (double)(W + 3 * (larger(l) - 1)));
    uint64_t random = flow_subseed(seed, (uint64_t)i);
    flow_fill_uniform(k->K, bound, &random);
    flow_fill_uniform(k->b, bound, &random);
    if (k->U) flow_fill_uniform(k->U, bound, &random);
    return true;
}

// Not at 0, as other conditioners do: h is. With both at 0 neither would have a gradient.
static flow_net *net_of(int64_t in, int64_t out, int i, const flow_couplings_options *o, ad_error *error) {
    flow_net *given = o->nets ? o->nets[i] : NULL;
    flow_mlp_options mlp = o->mlp;
    flow_residual_net_options residual = o->residual;
    mlp.seed = flow_subseed(mlp.seed, (uint64_t)i);
    residual.seed = flow_subseed(residual.seed, (uint64_t)i);
    if (given && given->in == in && given->out == out) return given;
    if (given) {
        ad_fail(error, AD_ESHAPE, "leapfrog: the net is [%lld] -> [%lld], expected [%lld] -> [%lld]",
                (long long)given->in, (long long)given->out, (long long)in, (long long)out);
        flow_net_free(given);
        return NULL;
    }
    if (o->conditioner == FLOW_MLP) return flow_mlp(in, out, &mlp, error);
    if (o->conditioner == FLOW_RESIDUAL_NET) return flow_residual_net(in, out, &residual, error);
    ad_fail(error, AD_EARG, "leapfrog: conditioner is %d, expected 0 or 1", (int)o->conditioner);
    return NULL;
}

static bool add_net(leapfrog *l, int i, const flow_couplings_options *o, ad_error *error) {
    const int to = pushed(l, i);
    flow_net *net = net_of(l->part[!to] + l->layer.C, l->part[to], i, o, error);
    char name[24];
    snprintf(name, sizeof name, "net%d", i);
    l->kick[i].net = net;
    return net && flow_add_part(&l->layer.owner, name, &net->owner, error) == AD_OK;
}

// All forces; or frees everything and gives NULL.
static flow_layer *finish(leapfrog *l, const flow_couplings_options *o, ad_error *error) {
    int made = 0;
    l->kick = calloc((size_t)l->n, sizeof *l->kick);
    if (!l->kick) ad_fail(error, AD_ENOMEM, "leapfrog: out of memory");
    bool ok = l->kick != NULL;
    for (; ok && made < l->n; made++) {
        ok = l->width ? add_symmetric(l, made, o->mlp.seed, error) : add_net(l, made, o, error);
    }
    return ok ? &l->layer : abandon(l, o, made);
}

flow_layer *flow_leapfrog(int64_t D, int64_t C, const flow_leapfrog_options *options, ad_error *error) {
    flow_leapfrog_options o = options ? *options : (flow_leapfrog_options){.steps = 0};
    leapfrog *l = flow_layer_new(&flow_leapfrog_type, sizeof *l, D, C, error);
    if (!l) return abandon(NULL, &o.couplings, 0);
    l->layer.owner.release = release;
    if (o.split < 0 || o.split > D || (D > 1 && o.split == D)) {
        ad_fail(error, AD_EARG, "leapfrog: split %lld leaves one part of %lld features empty", (long long)o.split,
                (long long)D);
        return abandon(l, &o.couplings, 0);
    }
    settle(l, &o, D);
    if (!fits(l, &o, error)) return abandon(l, &o.couplings, 0);
    if (!o.fixed) {
        l->h = flow_add_param(&l->layer.owner, "h", l->type, ad_shape1(1), error);
        if (!l->h) return abandon(l, &o.couplings, 0);
        ad_param_set(l->h, 0, l->step);
    }
    return finish(l, &o.couplings, error);
}

// ---- described ------------------------------------------------------------------------------------------------------

static json_t *describe_nets(const leapfrog *l) {
    json_t *nets = json_array();
    for (int i = 0; nets && i < l->n; i++) {
        if (json_array_append_new(nets, flow_describe_net(l->kick[i].net)) == 0) continue;
        json_decref(nets);
        nets = NULL;
    }
    return nets;
}

static json_t *describe(const flow_layer *layer) {
    const leapfrog *l = (const leapfrog *)layer;
    json_t *o = json_pack("{s:I, s:I, s:s, s:i, s:f, s:b, s:I, s:b, s:s}", "features",
                          (json_int_t)layer->x_shape.dim[0], "context", (json_int_t)layer->C, "kind",
                          kind_names[l->kind], "steps", l->steps, "step", l->step, "fixed", l->h == NULL, "split",
                          (json_int_t)l->part[0], "inverse", l->inverse, "precision", flow_type_text(l->type));
    if (l->width == 0) return flow_json_with(o, "nets", describe_nets(l));
    o = flow_json_with(o, "width", json_integer(l->width));
    return flow_json_with(o, "activation", json_string(flow_activation_names[l->activation]));
}

static bool read_symmetric(const json_t *options, const flow_making *making, int64_t D, int64_t C,
                           flow_leapfrog_options *o, ad_error *error) {
    flow_mlp_options *mlp = &o->couplings.mlp;
    int activation;
    if (!flow_json_int(options, "width", 1, FLOW_MAX_FEATURES, &mlp->width, error) ||
        !flow_json_choice(options, "activation", flow_activation_names, FLOW_ACTIVATIONS, &activation, error)) {
        return false;
    }
    mlp->activation = (flow_activation)activation;
    const int64_t columns = o->split > D - o->split ? o->split : D - o->split;
    return flow_take_elements(making, 2 * o->steps * mlp->width * (columns + 1 + C), error);
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    int64_t D, C, steps;
    int kind;
    flow_leapfrog_options o = {.steps = 0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_choice(options, "kind", kind_names, KINDS, &kind, error) ||
        !flow_json_int(options, "steps", 1, FLOW_MOST_STEPS, &steps, error) ||
        !flow_json_number(options, "step", &o.step, error) || !flow_json_bool(options, "fixed", &o.fixed, error) ||
        !flow_json_int(options, "split", 1, D, &o.split, error) ||
        !flow_json_bool(options, "inverse", &o.couplings.inverse, error) ||
        !flow_json_type(options, &o.couplings.mlp.type, error)) {
        return NULL;
    }
    o.kind = (flow_leapfrog_kind)kind;
    o.steps = (int)steps;
    const json_t *list = json_object_get(options, "nets");
    flow_net **nets = NULL;
    if (!list && !read_symmetric(options, making, D, C, &o, error)) return NULL;
    if (list && !(nets = flow_read_nets(list, making, &o.couplings.n_nets, error))) return NULL;
    o.couplings.nets = nets;
    flow_layer *layer = flow_leapfrog(D, C, &o, error);
    free(nets);
    return layer;
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 6, C = i / 2 % 3;
    flow_leapfrog_options o = {.kind = (flow_leapfrog_kind)(i / 3 % KINDS),
                               .steps = 1 + i / 5 % 2,
                               .step = i % 5 ? 0.1 * (i % 5) : 0,
                               .fixed = i % 7 == 2,
                               .split = D > 2 && i % 4 > 1 ? (i % 8 > 3 ? 1 : D - 1) : 0,
                               .free = i % 3 == 1 && D + C > 1,
                               .couplings = flow_steps_example(i)};
    return flow_leapfrog(D, C, &o, error);
}

const flow_layer_type flow_leapfrog_type = {.name = "leapfrog",
                                            .structure = FLOW_VOLUME_PRESERVING,
                                            .normalize = normalize,
                                            .generate = generate,
                                            .describe = describe,
                                            .make = make,
                                            .example = example};
