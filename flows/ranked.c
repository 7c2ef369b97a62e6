// ranked.c -- a layer whose latent features are put in order by how much they move with its data.
//
// Das, Abbeel and Spanos 2019, "Likelihood contribution based multi-scale architecture for generative flows": what goes
// on through further layers is not a fixed half but the features whose derivatives are largest, by the mean over the
// data of log |dz_d / dx|. A coupling that keeps the first half, or a split that maps it on, then does so by their
// rule.
#include <math.h>
#include <stdlib.h>

#include "internal.h"

typedef struct ranked {
    flow_layer layer;
    flow_layer *inner;  // a part
    ad_state *place;    // [K], of each latent feature of the inner layer: whole numbers, the same in both types
    bool smallest;
} ranked;

// ---- both directions ------------------------------------------------------------------------------------------------

// Whatever numbers a file has for places, this is a permutation.
static ad_var order_of(const ranked *r, ad_tape *tape) {
    return ad_argsort(ad_use_state(tape, r->place), 0);
}

static flow_result normalize(const flow_layer *layer, ad_var x, ad_var context) {
    const ranked *r = (const ranked *)layer;
    flow_result v = flow_record(r->inner, FLOW_NORMALIZE, -1, x, context);
    return (flow_result){ad_take_along(v.value, 0, order_of(r, x.tape)), v.log_det};
}

static flow_result generate(const flow_layer *layer, ad_var z, ad_var context) {
    const ranked *r = (const ranked *)layer;
    ad_var v = ad_take_along(z, 0, ad_argsort(order_of(r, z.tape), 0));
    return flow_record(r->inner, FLOW_GENERATE, -1, v, context);
}

// ---- from data ------------------------------------------------------------------------------------------------------

typedef struct sized {
    double size;
    int64_t feature;
} sized;

static int by_size(const void *a, const void *b) {
    const sized *p = a, *q = b;
    if (p->size != q->size) return p->size > q->size ? -1 : 1;
    return p->feature < q->feature ? -1 : 1;
}

// Mean over the rows of log |dz_d / dx|, [K]; 0 counts as 1e-300.
static ad_status measure(const ranked *r, const flow_rows *rows, double *size, ad_error *error) {
    const flow_layer *inner = r->inner;
    const int64_t n = flow_rows_count(rows, inner->C, error);
    if (n < 1) return n < 0 ? AD_EARG : ad_fail(error, AD_EARG, "ranked: no rows to measure derivatives at");
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "ranked: out of memory");
    ad_source data = rows->x, given = rows->context;
    data.index = given.index = rows->index;
    ad_rows set = ad_rows_new(tape, "data");
    ad_rows_set(set, n, 0);
    ad_var x = ad_input(set, inner->x_shape, &data);
    ad_var context = inner->C ? ad_input(set, ad_shape1(inner->C), &given) : AD_NONE;
    ad_var J = ad_jacobian(flow_layer_normalize(inner, x, context).value, x);
    ad_var squares = ad_maximum(ad_sum_axis(ad_square(J), -1), ad_number(tape, 0x1p-1022));
    ad_var all = ad_has_rows(squares) ? squares : ad_to_rows(squares, set);
    ad_var mean = ad_keep(ad_mean_rows(ad_scale(ad_log(all), 0.5)));
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(mean, size, r->place->count);
    if (status != AD_OK) ad_fail(error, status, "ranked: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

static ad_status rank(const ranked *r, const flow_rows *rows, ad_error *error) {
    const int64_t K = r->place->count;
    double *size = calloc((size_t)K, sizeof *size), *place = r->place->data;
    sized *order = calloc((size_t)K, sizeof *order);
    ad_status status =
        size && order ? measure(r, rows, size, error) : ad_fail(error, AD_ENOMEM, "ranked: out of memory");
    for (int64_t d = 0; d < K && status == AD_OK; d++) {
        if (!isfinite(size[d])) {
            status =
                ad_fail(error, AD_ENONFINITE, "ranked: the derivatives of feature %lld are not finite", (long long)d);
        }
        order[d] = (sized){r->smallest ? -size[d] : size[d], d};
    }
    if (status == AD_OK) {
        qsort(order, (size_t)K, sizeof *order, by_size);
        for (int64_t i = 0; i < K; i++) place[order[i].feature] = (double)i;
    }
    free(size);
    free(order);
    return status;
}

static ad_status init(flow_layer *layer, const flow_rows *rows, ad_error *error) {
    const ranked *r = (const ranked *)layer;
    const ad_status status = flow_init_layer(r->inner, FLOW_NORMALIZE, rows, error);
    return status == AD_OK ? rank(r, rows, error) : status;
}

// Ranked layers, and those that have one in them, wait for data, or no longer do: their number.
static int wait_for_data(flow_layer *l, bool wait) {
    int n = 0;
    if (l->type == &flow_ranked_type) {
        n = 1 + wait_for_data(((ranked *)l)->inner, wait);
    } else if (l->type == &flow_chain_type || l->type == &flow_split_type) {
        flow_layer_list *list = (flow_layer_list *)l;
        for (int i = 0; i < list->n; i++) n += wait_for_data(list->layers[i], wait);
    }
    if (n) l->initialised = !wait;
    return n;
}

ad_status flow_rank(flow_model *model, const flow_rows *rows, ad_error *error) {
    flow_layer *layer = flow_model_layer(model);
    const bool before = layer->initialised;
    if (before && wait_for_data(layer, true) == 0) return ad_fail(error, AD_EARG, "flow_rank: no ranked layer");
    ad_status status = flow_init_from_data(model, rows, error);
    if (status != AD_OK && before) wait_for_data(layer, false);
    return status;
}

// ---- making one -----------------------------------------------------------------------------------------------------

static bool fits(const flow_layer *inner, ad_error *error) {
    if (!inner->discrete && inner->x_shape.rank == 1 && inner->z_shape.rank == 1) return true;
    ad_fail(error, AD_EARG, "ranked: a %s is for whole numbers, or its rows are no lists of features",
            inner->type->name);
    return false;
}

flow_layer *flow_ranked(flow_layer *layer, bool smallest, ad_error *error) {
    ranked *r = layer && fits(layer, error) ? flow_layer_new(&flow_ranked_type, sizeof *r, 1, layer->C, error) : NULL;
    if (!r || flow_add_part(&r->layer.owner, "layer", &layer->owner, error)) {
        if (!r) flow_layer_free(layer);
        flow_layer_free(r ? &r->layer : NULL);
        return NULL;
    }
    r->inner = layer;
    r->smallest = smallest;
    r->layer.x_shape = layer->x_shape, r->layer.z_shape = layer->z_shape;
    r->layer.low = layer->low, r->layer.high = layer->high;
    r->layer.z_low = layer->z_low, r->layer.z_high = layer->z_high;
    const flow_structure structure = layer->jacobian.structure;  // these hold whatever the order
    if (structure == FLOW_ORTHOGONAL || structure == FLOW_VOLUME_PRESERVING) r->layer.jacobian = layer->jacobian;
    r->place = flow_add_state(&r->layer.owner, "place", AD_F64, layer->z_shape, error);
    if (r->place) return &r->layer;
    flow_layer_free(&r->layer);
    return NULL;
}

static json_t *describe(const flow_layer *layer) {
    const ranked *r = (const ranked *)layer;
    return json_pack("{s:b, s:o}", "smallest", r->smallest, "layer", flow_describe_layer(r->inner));
}

static flow_layer *make(const json_t *options, const flow_making *making, ad_error *error) {
    bool smallest;
    if (!flow_json_bool(options, "smallest", &smallest, error)) return NULL;
    flow_layer *inner = flow_make_layer(json_object_get(options, "layer"), making, error);
    if (inner && !flow_take_elements(making, ad_shape_count(inner->z_shape), error)) {
        flow_layer_free(inner);
        return NULL;
    }
    return flow_ranked(inner, smallest, error);
}

static flow_layer *example(int i, ad_error *error) {
    static const flow_layer_type *const types[] = {&flow_coupling_type, &flow_lu_linear_type,
                                                   &flow_diagonal_affine_type, &flow_chain_type};
    flow_layer *layer = flow_ranked(types[i % 4]->example(i / 4, error), i / 4 % 2, error);
    uint64_t random = (uint64_t)i;
    ad_state *place = layer ? ((ranked *)layer)->place : NULL;
    for (int64_t d = 0; place && d < place->count && i % 5; d++) ((double *)place->data)[d] = flow_random_unit(&random);
    if (layer) layer->initialised = ((ranked *)layer)->inner->initialised;
    return layer;
}

const flow_layer_type flow_ranked_type = {.name = "ranked",
                                          .normalize = normalize,
                                          .generate = generate,
                                          .describe = describe,
                                          .make = make,
                                          .init = init,
                                          .example = example};
