// check.h -- what the files of flow_check share: a layer under test at some points.
#ifndef FLOWS_CHECK_H
#define FLOWS_CHECK_H

#include "internal.h"

typedef struct checking {
    flow_layer *layer;
    bool constrained;  // layer is a check_free_layer
    const char *name;
    flow_check_options o;
    int64_t D, C;
    int B;            // rows
    int case_number;  // for messages
    uint64_t random;
    ad_engine *engine;
    ad_tape *tape;
    ad_error *error;
    double *memory;
    double *x, *z;               // [B][D] points of either side
    double *context, *context2;  // [B][C]
} checking;

// What the layer gives for in, all [B]: value [D], log_det [], and the Jacobian [D][D] of value in in.
typedef struct check_values {
    double *value, *log_det, *jacobian;
} check_values;

static inline const char *check_direction(flow_direction direction) {
    return direction == FLOW_NORMALIZE ? "normalize" : "generate";
}

// ---- check_points.c -----------------------------------------------------------------------------------------------

double check_normal(uint64_t *random);
// Runs the layer on rows first .. first + n of in and context, with gradients when out->jacobian is not NULL.
ad_status check_run(checking *c, flow_direction direction, const double *in, const double *context, int first, int n,
                    const check_values *out);
// log|det a| of a [D][D], which becomes its inverse; infinity norms of both. -INFINITY when it is singular,
// NAN when out of memory.
double check_invert(double *a, int64_t D, double *norm, double *inverse_norm);

// ---- check_structure.c ----------------------------------------------------------------------------------------------

// What the layer declares of its Jacobian against the Jacobians [B][D][D].
ad_status check_structure(checking *c, flow_direction direction, const double *jacobians);

// ---- check_repeat.c -------------------------------------------------------------------------------------------------

// Values and log_dets of two runs, n rows each; memory is to be freed.
typedef struct check_pair {
    check_values first, second;
    double *memory;
} check_pair;
bool check_make_pair(check_pair *p, const checking *c, int n);
// NULL when all bits are equal, else what differs.
const char *check_difference(const checking *c, const check_pair *p, int n);
// Two runs on the same rows give the same bits, and change no state.
ad_status check_again(checking *c, flow_direction direction);
// One thread and two give the same bits.
ad_status check_threads(checking *c, flow_direction direction);

// ---- check_describe.c -----------------------------------------------------------------------------------------------

// Made again from its description, with its tensors, the layer gives the same bits in both directions.
ad_status check_description(checking *c);
// Tensors of one owner to the other's; false when names, shapes or types differ.
bool check_copy_tensors(const flow_owner *from, const flow_owner *to);
// The types of the layer, of those in it when it is a chain, and those given; to be freed. NULL: out of memory.
const flow_layer_type **check_known_types(const flow_layer *layer, const flow_load_options *load);

// ---- check_base.c ---------------------------------------------------------------------------------------------------

ad_status check_base(const flow_base *base, const flow_check_options *options, ad_error *error);

// ---- check_narrow.c -------------------------------------------------------------------------------------------------

// In f32 as in f64, as far as rounding allows. backup: room for all parameters.
ad_status check_narrow(checking *c, flow_direction direction, double *backup);
// Copies all parameters to at (check_param_bytes of room), or back, and returns what follows.
double *check_copy_params(const flow_owner *owner, double *at, bool back);
size_t check_param_bytes(const flow_owner *owner);
// Adds noise of that size to all parameters.
void check_perturb(const flow_owner *owner, double size, uint64_t *random);

// ---- check_extremes.c -----------------------------------------------------------------------------------------------

// No NaN from inputs tiny, huge, or at an edge.
ad_status check_extremes(checking *c, flow_direction direction, ad_type type);

// ---- check_free.c ---------------------------------------------------------------------------------------------------

typedef struct check_free_layer {
    flow_layer layer;
    const flow_layer *whole;
} check_free_layer;
// Layer as a map of the free coordinates of its data: borrows what layer owns.
flow_layer *check_free(check_free_layer *seen, flow_layer *layer);
ad_status check_complete(checking *c);
// x from z, which is taken nearer to 0 where free coordinates of x in f32 would not tell z.
ad_status check_draw_free(checking *c);

// ---- check_gradients.c --------------------------------------------------------------------------------------------

// Gradients of a scalar of value and log_det in input, context and every parameter, against differences.
ad_status check_gradients(checking *c, flow_direction direction);

#endif
