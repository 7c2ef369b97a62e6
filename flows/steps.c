// steps.c -- layers of several couplings in turn, each of one range of features by another: what they share.
//
// A step maps its range by the transformer, by parameters that its net gives of the range it keeps and of the context.
// normalize takes the steps in order, generate the other way round; a range is seen as it is at that step. Features are
// kept as pieces of the row: ranges are slices of them, joined where a step has changed but a part.
#include <stdio.h>
#include <stdlib.h>

#include "internal.h"

// ---- a row in pieces ------------------------------------------------------------------------------------------------

typedef struct piece {
    int64_t from, n;
    ad_var v;
} piece;
typedef struct pieces {
    piece *now, *next;  // room for 2 steps + 1 each
    ad_var *gathered;
    int n;
} pieces;

static bool pieces_begin(pieces *s, int n_steps, ad_var v) {
    const size_t room = 2 * (size_t)n_steps + 1;
    *s = (pieces){calloc(room, sizeof *s->now), calloc(room, sizeof *s->next), calloc(room, sizeof *s->gathered), 1};
    if (!s->now || !s->next || !s->gathered) return false;
    s->now[0] = (piece){0, ad_dim(v, 0), v};
    return true;
}

static void pieces_end(pieces *s) {
    free(s->now);
    free(s->next);
    free(s->gathered);
}

// What of the piece lies from one feature to another; n 0: nothing.
static piece cut(const piece *p, int64_t from, int64_t to) {
    if (from < p->from) from = p->from;
    if (to > p->from + p->n) to = p->from + p->n;
    if (to <= from) return (piece){from, 0, AD_NONE};
    if (to - from == p->n) return *p;
    return (piece){from, to - from, ad_slice(p->v, 0, from - p->from, to - from)};
}

static ad_var pieces_range(const pieces *s, int64_t from, int64_t n) {
    int64_t m = 0;
    for (int i = 0; i < s->n; i++) {
        piece p = cut(&s->now[i], from, from + n);
        if (p.n) s->gathered[m++] = p.v;
    }
    return flow_join(s->gathered, m);
}

static void pieces_replace(pieces *s, int64_t from, int64_t n, ad_var v) {
    int m = 0;
    bool placed = false;
    for (int i = 0; i < s->n; i++) {
        const piece *p = &s->now[i];
        piece before = cut(p, p->from, from), after = cut(p, from + n, p->from + p->n);
        if (before.n) s->next[m++] = before;
        if (!placed && p->from + p->n > from) {
            s->next[m++] = (piece){from, n, v};
            placed = true;
        }
        if (after.n) s->next[m++] = after;
    }
    piece *now = s->now;
    s->now = s->next, s->next = now, s->n = m;
}

// ---- both directions ------------------------------------------------------------------------------------------------

static ad_var seen(const pieces *row, const flow_step *step, ad_var context) {
    if (step->n_kept == 0) return context;
    ad_var in[2] = {pieces_range(row, step->kept, step->n_kept), context};
    return ad_is_none(context) ? in[0] : ad_concat(in, 2, 0);
}

// What a step's transformer is given: parameters, and the features that it maps.
static flow_parameters given(const flow_steps *s, const flow_step *step, const pieces *row, ad_var context, ad_var *v) {
    const flow_transformer *t = s->transformer;
    ad_var raw = flow_net_apply(step->net, seen(row, step, context));
    *v = pieces_range(row, step->changed, step->n_changed);
    return (flow_parameters){raw, step->n_changed, t->P, t->type->by_feature};
}

static ad_var take(const flow_steps *s, flow_direction direction, int i, pieces *row, ad_var context) {
    const flow_step *step = &s->step[i];
    ad_var v;
    flow_parameters p = given(s, step, row, context, &v);
    flow_result r = flow_transform(s->transformer, direction, p, v);
    pieces_replace(row, step->changed, step->n_changed, r.value);
    return r.log_det;
}

static flow_result transform(const flow_steps *s, flow_direction direction, ad_var v, ad_var context) {
    pieces row;
    flow_terms terms = {.n = 0};
    if (s->inverse) direction = !direction;
    if (!pieces_begin(&row, s->n, v)) {
        pieces_end(&row);
        ad_tape_fail(v.tape, AD_ENOMEM, "%s: out of memory", s->layer.type->name);
        return (flow_result){flow_inert(v), flow_inert(v)};
    }
    for (int k = 0; k < s->n; k++) {
        const int i = direction == FLOW_NORMALIZE ? k : s->n - 1 - k;
        flow_terms_add(&terms, take(s, direction, i, &row, context));
    }
    flow_result r = {pieces_range(&row, 0, ad_dim(v, 0)), flow_terms_join(&terms)};
    pieces_end(&row);
    return r;
}

flow_result flow_steps_normalize(const flow_layer *layer, ad_var x, ad_var context) {
    return transform((const flow_steps *)layer, FLOW_NORMALIZE, x, context);
}

flow_result flow_steps_generate(const flow_layer *layer, ad_var z, ad_var context) {
    return transform((const flow_steps *)layer, FLOW_GENERATE, z, context);
}

flow_gauges flow_steps_gauge(const flow_layer *layer, ad_var x, ad_var z, ad_var context) {
    const flow_steps *s = (const flow_steps *)layer;
    flow_terms saturation = {.n = 0}, tails = {.n = 0};
    ad_var start = s->inverse ? z : x, v;
    pieces row;
    if (!pieces_begin(&row, s->n, start)) {
        pieces_end(&row);
        ad_tape_fail(start.tape, AD_ENOMEM, "%s: out of memory", layer->type->name);
        return (flow_gauges){AD_NONE, AD_NONE};
    }
    for (int i = 0; i < s->n; i++) {
        flow_parameters p = given(s, &s->step[i], &row, context, &v);
        flow_gauges g = flow_gauge(s->transformer, p, v);
        flow_terms_add(&saturation, g.saturation);
        flow_terms_add(&tails, g.tails);
        take(s, FLOW_NORMALIZE, i, &row, context);
    }
    pieces_end(&row);
    return (flow_gauges){flow_terms_join(&saturation), flow_terms_join(&tails)};
}

// ---- making one -----------------------------------------------------------------------------------------------------

static void release(flow_owner *owner) {
    free(((flow_steps *)owner)->step);
}

static void drop(flow_transformer *transformer, const flow_couplings_options *o, int first) {
    flow_transformer_free(transformer);
    for (int i = first; o->nets && i < o->n_nets; i++) flow_net_free(o->nets[i]);
}

// Widths of a step's net halve with its level, but for those that are narrow.
static int64_t narrowed(int64_t width, int level) {
    enum { LEAST = 8 };
    if (level == 0) return width;
    if (width == 0) width = 64;
    for (int i = 0; i < level && width >= 2 * LEAST; i++) width /= 2;
    return width;
}

static bool add_net(flow_steps *s, int i, const flow_couplings_options *o, ad_error *error) {
    flow_step *step = &s->step[i];
    flow_conditioner_options how = {o->conditioner, o->mlp, o->residual, o->nets ? o->nets[i] : NULL};
    how.mlp.seed = flow_subseed(o->mlp.seed, (uint64_t)i);
    how.residual.seed = flow_subseed(o->residual.seed, (uint64_t)i);
    how.mlp.width = narrowed(how.mlp.width, step->level);
    how.residual.width = narrowed(how.residual.width, step->level);
    char name[24];
    snprintf(name, sizeof name, "net%d", i);
    flow_net *net = flow_conditioner_net(s->layer.type->name, step->n_kept + s->layer.C, step->n_changed,
                                         s->transformer, &how, error);
    step->net = net;
    return net && flow_add_part(&s->layer.owner, name, &net->owner, error) == AD_OK;
}

static bool settle(const flow_steps *s, const flow_couplings_options *o, ad_error *error) {
    const char *name = s->layer.type->name;
    if (o->nets && o->n_nets != s->n) {
        ad_fail(error, AD_EARG, "%s: %d nets, expected %d", name, o->n_nets, s->n);
        return false;
    }
    for (int i = 0; i < s->n; i++) {
        if (s->step[i].n_kept + s->layer.C > 0) continue;
        ad_fail(error, AD_EARG, "%s: one feature and no context leave nothing to condition on", name);
        return false;
    }
    return true;
}

flow_layer *flow_steps_abandon(flow_steps *s, const flow_couplings_options *o) {
    drop(NULL, o, 0);
    flow_layer_free(&s->layer);
    return NULL;
}

flow_steps *flow_steps_new(const flow_layer_type *type, size_t size, int64_t D, int64_t C,
                           flow_transformer *transformer, const flow_couplings_options *o, ad_error *error) {
    flow_steps *s = transformer ? flow_layer_new(type, size, D, C, error) : NULL;
    if (!s) {
        drop(transformer, o, 0);
        return NULL;
    }
    s->layer.owner.release = release;
    s->transformer = transformer;
    s->inverse = o->inverse;
    if (flow_add_part(&s->layer.owner, "transformer", &transformer->owner, error) == AD_OK &&
        flow_narrow_layer(&s->layer, transformer, o->inverse, error)) {
        if (flow_same_ranges(transformer, NULL)) return s;
        ad_fail(error, AD_EARG, "%s: the transformer %s takes features to another range", type->name,
                transformer->type->name);
    }
    flow_steps_abandon(s, o);
    return NULL;
}

flow_layer *flow_steps_finish(flow_steps *s, flow_step *step, int n, const flow_couplings_options *o, ad_error *error) {
    int made = 0;
    s->step = step;
    s->n = n;
    if (!step) ad_fail(error, AD_ENOMEM, "%s: out of memory", s->layer.type->name);
    bool ok = step && settle(s, o, error);
    while (ok && made < n) ok = add_net(s, made++, o, error);
    if (ok) return &s->layer;
    drop(NULL, o, made);
    flow_layer_free(&s->layer);
    return NULL;
}

// ---- described ------------------------------------------------------------------------------------------------------

json_t *flow_steps_describe(const flow_layer *layer) {
    const flow_steps *s = (const flow_steps *)layer;
    json_t *nets = json_array();
    for (int i = 0; nets && i < s->n; i++) {
        if (json_array_append_new(nets, flow_describe_net(s->step[i].net)) == 0) continue;
        json_decref(nets);
        nets = NULL;
    }
    return json_pack("{s:I, s:I, s:b, s:o, s:o}", "features", (json_int_t)layer->x_shape.dim[0], "context",
                     (json_int_t)layer->C, "inverse", s->inverse, "transformer",
                     flow_describe_transformer(s->transformer), "nets", nets);
}

flow_net **flow_read_nets(const json_t *list, const flow_making *making, int *n, ad_error *error) {
    const size_t count = json_array_size(list);
    *n = 0;
    if (count < 1 || count > FLOW_MOST_STEPS) {
        ad_fail(error, AD_EFORMAT, "\"nets\" should be a list of 1 to %d nets", FLOW_MOST_STEPS);
        return NULL;
    }
    flow_net **nets = calloc(count, sizeof *nets);
    if (!nets) ad_fail(error, AD_ENOMEM, "out of memory for %lld nets", (long long)count);
    while (nets && *n < (int)count) {
        nets[*n] = flow_make_net(json_array_get(list, (size_t)*n), making, error);
        if (!nets[*n]) break;
        ++*n;
    }
    if (nets && *n == (int)count) return nets;
    for (int i = 0; nets && i < *n; i++) flow_net_free(nets[i]);
    free(nets);
    return NULL;
}

bool flow_steps_read(const json_t *options, const flow_making *making, flow_steps_described *d, ad_error *error) {
    *d = (flow_steps_described){.D = 0};
    if (!flow_json_int(options, "features", 1, FLOW_MAX_FEATURES, &d->D, error) ||
        !flow_json_int(options, "context", 0, FLOW_MAX_FEATURES, &d->C, error) ||
        !flow_json_bool(options, "inverse", &d->couplings.inverse, error)) {
        return false;
    }
    d->transformer = flow_make_transformer(json_object_get(options, "transformer"), making, error);
    if (d->transformer) d->nets = flow_read_nets(json_object_get(options, "nets"), making, &d->couplings.n_nets, error);
    d->couplings.nets = d->nets;
    if (d->nets) return true;
    flow_transformer_free(d->transformer);
    return false;
}

flow_couplings_options flow_steps_example(int i) {
    const ad_type type = i % 2 ? AD_F64 : AD_F32;
    const flow_activation activation = (flow_activation)(i % 3);
    const uint64_t seed = (uint64_t)i;
    return (flow_couplings_options){
        .inverse = i / 2 % 2,
        .conditioner = i % 7 == 3 ? FLOW_RESIDUAL_NET : FLOW_MLP,
        .mlp = {.layers = i % 3 ? 1 : -1, .width = 5, .activation = activation, .seed = seed, .type = type},
        .residual = {.blocks = 1, .width = 5, .activation = activation, .seed = seed, .type = type}};
}

// Scales are bounded: with others one step may make an infinity of a number far out, and the next one a NaN of that.
flow_transformer *flow_steps_example_transformer(int i, ad_error *error) {
    const flow_spline_transformer_options spline = {.bins = 2 + i % 5, .spline = {.bound = 1 + i % 4}};
    const flow_affine_transformer_options affine = {.scale = i % 2 ? FLOW_SCALE_TANH : FLOW_SCALE_SOFTSIGN,
                                                    .bound = 0.5 + i % 3};
    switch (i / 3 % 4) {
        case 0:
            return flow_affine_transformer(&affine, error);
        case 1:
            return flow_spline_transformer(&spline, error);
        case 2:
            return flow_additive_transformer(error);
        default:
            return flow_incompressible_transformer(affine.bound, error);
    }
}
