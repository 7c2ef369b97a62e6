// autoregressive.c -- autoregressive layer: each feature mapped by parameters that a masked net gives of those before
// it.
//
// Papamakarios, Pavlakou and Murray 2017 (MAF); with the directions swapped Kingma et al. 2016 (IAF). The way in which
// all that conditions is given takes one pass of the net; the other goes level by level, each hidden unit computed as
// soon as what it sees is known: one pass in all, too. Or it is iterated, by passes for all features at once: after as
// many as the net has levels nothing changes any more (Song et al. 2021).
#include <stdlib.h>

#include "internal.h"

typedef struct autoregressive {
    flow_layer layer;
    flow_transformer *transformer;  // a part
    flow_net *net;                  // a made, a part
    bool inverse;
    flow_solve solve;
    int passes;
    double tolerance;
} autoregressive;

static const char *const solve_names[] = {"sweep", "passes", "fixed point"};
enum { SOLVES = 3, MOST_PASSES = 1 << 20 };

// ---- the two ways ---------------------------------------------------------------------------------------------------

static flow_parameters parameters_at(const autoregressive *a, ad_var v, ad_var context) {
    ad_var raw = flow_made_apply(a->net, flow_seen(a->transformer, v), context);
    return (flow_parameters){raw, a->layer.x_shape.dim[0], a->transformer->P, true};
}

typedef struct sweeping {
    const flow_transformer *transformer;
    ad_var *log_det;
    int64_t n;
} sweeping;

static ad_var step(void *arg, ad_var parameters, ad_var v) {
    sweeping *s = arg;
    flow_parameters p = {parameters, ad_dim(v, 0), s->transformer->P, true};
    flow_result r = flow_transform(s->transformer, FLOW_GENERATE, p, v);
    if (!ad_is_none(r.log_det)) s->log_det[s->n++] = r.log_det;
    return flow_seen(s->transformer, r.value);
}

static ad_var flat(ad_var v) {
    ad_shape s = ad_shape_of(v);
    return s.rank == 1 ? v : ad_reshape(v, ad_shape1(ad_shape_count(s)));
}

static flow_result by_level(const autoregressive *a, ad_var v, ad_var context) {
    sweeping s = {a->transformer, calloc((size_t)a->layer.x_shape.dim[0], sizeof(ad_var)), 0};
    if (!s.log_det) {
        ad_tape_fail(v.tape, AD_ENOMEM, "autoregressive: out of memory");
        return (flow_result){flow_inert(v), flow_inert(v)};
    }
    const flow_sweep sweep = flow_made_sweep(a->net, v, context, step, &s);
    if (a->transformer->type->seen) {  // the sweep's values are what the net sees, but its parameters are those of all
        free(s.log_det);
        const flow_parameters p = {sweep.parameters, a->layer.x_shape.dim[0], a->transformer->P, true};
        return flow_transform(a->transformer, FLOW_GENERATE, p, v);
    }
    flow_result r = {sweep.value, AD_NONE};
    for (int64_t i = 0; i < s.n; i++) s.log_det[i] = flat(s.log_det[i]);
    if (s.n) r.log_det = flow_join(s.log_det, s.n);
    free(s.log_det);
    return r;
}

// From v itself: where it starts does not matter.
static flow_result by_passes(const autoregressive *a, ad_var v, ad_var context) {
    const int64_t levels = flow_made_levels(a->net), passes = a->passes > 0 && a->passes < levels ? a->passes : levels;
    flow_result r = {v, AD_NONE};
    for (int64_t i = 0; i < passes; i++) {
        r = flow_transform(a->transformer, FLOW_GENERATE, parameters_at(a, r.value, context), v);
    }
    return r;
}

typedef struct iterating {
    const autoregressive *a;
    ad_var v, context;
} iterating;

static ad_var pass(void *arg, ad_var y) {
    const iterating *i = arg;
    return flow_transform(i->a->transformer, FLOW_GENERATE, parameters_at(i->a, y, i->context), i->v).value;
}

static flow_result by_fixed_point(const autoregressive *a, ad_var v, ad_var context) {
    iterating i = {a, v, context};
    const int64_t levels = flow_made_levels(a->net);
    ad_solver_options o = {.tolerance = a->tolerance, .max_iterations = (int)levels + 2};
    ad_var y = ad_fixed_point(v, pass, &i, &o).value;
    // Once more: a root that a transformer does not find fails the run here, but not inside of the loop.
    return flow_transform(a->transformer, FLOW_GENERATE, parameters_at(a, y, context), v);
}

static flow_result transform(const autoregressive *a, flow_direction direction, ad_var v, ad_var context) {
    if ((direction == FLOW_NORMALIZE) != a->inverse) {
        return flow_transform(a->transformer, FLOW_NORMALIZE, parameters_at(a, v, context), v);
    }
    return (a->solve == FLOW_SOLVE_SWEEP    ? by_level
            : a->solve == FLOW_SOLVE_PASSES ? by_passes
                                            : by_fixed_point)(a, v, context);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const autoregressive *)layer, FLOW_NORMALIZE, x, context);
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const autoregressive *)layer, FLOW_GENERATE, z, context);
}

static flow_gauges gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context) {
    const autoregressive *a = (const autoregressive *)layer;
    ad_var v = a->inverse ? z : x;
    return flow_gauge(a->transformer, parameters_at(a, v, context), v);
}

// ---- making one -----------------------------------------------------------------------------------------------------

static bool settle(const flow_transformer *t, const flow_autoregressive_options *o, ad_error *error) {
    if (t->type->jointly) {
        ad_fail(error, AD_EARG, "autoregressive: the transformer %s maps features together, not one after the other",
                t->type->name);
    } else if (o->scale != 0 || o->bound != 0 || o->floor != 0) {
        ad_fail(error, AD_EARG,
                "autoregressive: scale, bound and floor are flow_affine_autoregressive's; a transformer has "
                "its own");
    } else if ((unsigned)o->solve >= SOLVES || o->passes < 0 || o->passes > MOST_PASSES ||
               !(o->tolerance >= 0 && o->tolerance < 1)) {
        ad_fail(error, AD_EARG, "autoregressive: solve is %d, %d passes, tolerance %g: out of range", (int)o->solve,
                o->passes, flow_said(o->tolerance));
    } else {
        return true;
    }
    return false;
}

flow_layer *flow_autoregressive(int64_t D, int64_t C, flow_transformer *transformer,
                                const flow_autoregressive_options *options, ad_error *error) {
    flow_autoregressive_options o = options ? *options : (flow_autoregressive_options){.inverse = false};
    autoregressive *a = transformer ? flow_layer_new(&flow_autoregressive_type, sizeof *a, D, C, error) : NULL;
    if (!a || !settle(transformer, &o, error)) {
        flow_transformer_free(transformer);
        flow_net_free(o.net);
        flow_layer_free(a ? &a->layer : NULL);
        return NULL;
    }
    a->inverse = o.inverse;
    a->solve = o.solve;
    a->passes = o.passes;
    a->tolerance = o.tolerance;
    a->transformer = transformer;
    if (flow_add_part(&a->layer.owner, "transformer", &transformer->owner, error) ||
        !flow_narrow_layer(&a->layer, transformer, o.inverse, error)) {
        flow_net_free(o.net);
    } else {
        a->net = flow_conditioner_made("autoregressive", D, C, transformer, &o.made, o.net, error);
        if (a->net && flow_add_part(&a->layer.owner, "net", &a->net->owner, error) == AD_OK) {
            a->layer.jacobian = (flow_jacobian){FLOW_AUTOREGRESSIVE, flow_made_order(a->net), 0, 0};
            return &a->layer;
        }
    }
    flow_layer_free(&a->layer);
    return NULL;
}

// ---- descriptions ---------------------------------------------------------------------------------------------------

static json_t *describe(const flow_layer *layer) {
    const autoregressive *a = (const autoregressive *)layer;
    return json_pack("{s:I, s:I, s:b, s:s, s:i, s:f, s:o, s:o}", "features", (json_int_t)layer->x_shape.dim[0],
                     "context", (json_int_t)layer->C, "inverse", a->inverse, "solve", solve_names[a->solve], "passes",
                     a->passes, "tolerance", a->tolerance, "transformer", flow_describe_transformer(a->transformer),
                     "net", flow_describe_net(a->net));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    flow_autoregressive_options o = {.inverse = false};
    int64_t D, C, passes;
    int solve;
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &C, error) ||
        !flow_json_bool(options, "inverse", &o.inverse, error) ||
        !flow_json_choice(options, "solve", solve_names, SOLVES, &solve, error) ||
        !flow_json_int(options, "passes", 0, MOST_PASSES, &passes, error) ||
        !flow_json_number(options, "tolerance", &o.tolerance, error)) {
        return NULL;
    }
    o.solve = (flow_solve)solve;
    o.passes = (int)passes;
    flow_transformer *t = flow_make_transformer(json_object_get(options, "transformer"), making, error);
    if (t) o.net = flow_make_net(json_object_get(options, "net"), making, error);
    if (o.net) return flow_autoregressive(D, C, t, &o, error);
    flow_transformer_free(t);
    return NULL;
}

// Each feature sees what bits of i say of those that come before it in an order.
static void example_adjacency(int i, int64_t D, bool *adjacency) {
    uint64_t random = (uint64_t)i, bits = flow_random(&random);
    for (int64_t d = 0; d < D; d++) {
        for (int64_t e = 0; e < D; e++) {
            const bool before = i % 2 ? e < d : e > d;
            adjacency[d * D + e] = before && bits >> (d * D + e) % 64 & 1;
        }
    }
}

static flow_layer *example(int i, ad_error *error) {
    const int64_t D = 1 + i % 6, C = i % 3 == 2 ? 2 : 0;
    bool adjacency[36];
    example_adjacency(i, D, adjacency);
    flow_autoregressive_options o = {.inverse = i / 3 % 2,
                                     .solve = (flow_solve)(i / 4 % SOLVES),
                                     .made = {.mlp = {.layers = i % 4 ? 1 + i % 2 : -1,
                                                      .width = 3 + i % 8,
                                                      .activation = (flow_activation)(i % 3),
                                                      .seed = (uint64_t)i,
                                                      .type = i % 2 ? AD_F64 : AD_F32},
                                              .arrange = i % 5 ? (flow_order)(i % 3) : FLOW_ORDER_NATURAL,
                                              .adjacency = i % 5 ? NULL : adjacency,
                                              .residual = i / 2 % 3 == 1}};
    flow_transformer *t = flow_example_transformer(i, error);
    // Of scales without bound a feature grows as the exponential of those before it, beyond all numbers of a wild net.
    static const flow_scale bounded[] = {FLOW_SCALE_TANH, FLOW_SCALE_SOFTSIGN, FLOW_SCALE_SOFTPLUS, FLOW_SCALE_SIGMOID};
    if (t && (t->type->jointly || t->type == &flow_affine_transformer_type)) {
        flow_transformer_free(t);
        t = flow_affine_transformer(&(flow_affine_transformer_options){.scale = bounded[i % 4]}, error);
    }
    return flow_autoregressive(D, C, t, &o, error);
}

const flow_layer_type flow_autoregressive_type = {.name = "autoregressive",
                                                  .normalize = normalize,
                                                  .generate = generate,
                                                  .describe = describe,
                                                  .make = make,
                                                  .example = example,
                                                  .gauge = gauge};
