// internal.h -- what the files of ad/ share: the recording and what is bound to it. The plan is in plan.h.
#ifndef AD_INTERNAL_H
#define AD_INTERNAL_H

#include "arena.h"
#include "op.h"

// What an op means to the planner, beyond computing y from x.
enum {
    AD_ROLE_PLAIN,        // runs its kernel
    AD_ROLE_DIRECT,       // leaf whose data is used where it lies when its type is the tape's
    AD_ROLE_VIEW,         // strided copy of x[0]: an alias where it is contiguous
    AD_ROLE_PLACE,        // sum of parts at offsets: parts are computed in place where they can be
    AD_ROLE_ALIAS,        // same value as x[0]; other operands only serve derivatives
    AD_ROLE_PLACEHOLDER,  // has no value of its own: loop state, cotangent of a jvp
    AD_ROLE_LOOP          // ad_loop
};

// ---- the recording --------------------------------------------------------------------------------------------------

// A node's identity, hashed and compared as bytes: this header, then n operand ids (padded to 8 bytes), then attributes.
typedef struct ad_record {
    const ad_op *op;
    uint32_t rows;  // row set + 1; 0: shared
    uint32_t slot;  // what a leaf is bound to, + 1; 0: none
    uint32_t n, attr_size;
} ad_record;

typedef struct ad_node {
    const ad_op *op;
    uint32_t record;  // offset in the tape's record stream, in units of 8 bytes
    uint32_t rows, slot, n;
    uint32_t scope;
    int32_t count;
    ad_shape shape;
} ad_node;

typedef struct ad_scope_node {  // one entry of a scope path
    const char *name;
    int index;
    uint32_t parent;
} ad_scope_node;

typedef struct ad_slot {  // what a leaf reads at run
    const ad_op *op;
    uint64_t key;         // identity: pointer, content hash of a constant, or row set + 1
    const void *bound;    // NULL: the row set's ad_row_set
    uint32_t node;        // its leaf; UINT32_MAX: none yet
} ad_slot;

typedef struct ad_row_set {
    const char *name;
    int64_t count, first;
} ad_row_set;

typedef enum ad_output_kind { AD_KEEP, AD_ASSIGN, AD_GRADIENT, AD_GRADIENT_ADD } ad_output_kind;
typedef struct ad_output {  // part of the plan's identity, but for target
    uint32_t id;            // UINT32_MAX: zeros
    ad_output_kind kind;
    ad_type type;           // of target
    int64_t count;
} ad_output;

typedef struct ad_output_memory {  // of one output
    void *target;                  // state or gradient
    void *data;                    // kept value, or a state's old value (ad_reject)
    size_t room;                   // bytes of data
    int64_t rows;                  // of a kept value; 0: shared
} ad_output_memory;

// All that a run reads and writes outside the plan: of a tape, or of a compiled program.
typedef struct ad_binding {
    ad_engine *engine;
    ad_type type;
    ad_slot *slots;
    size_t n_slots, room_slots;
    ad_row_set *rows;
    size_t n_rows, room_rows;
    ad_output_memory *memory;  // one an output, longer ones of earlier steps kept for reuse
    size_t n_memory, room_memory;
} ad_binding;

struct ad_tape {
    ad_binding bind;
    bool own_engine, training, ran;  // ran: since the last node or output was added
    uint32_t epoch;
    ad_error error;

    char *stream;  // records one after another
    size_t stream_size, stream_room;
    ad_node *nodes;
    size_t n_nodes, room_nodes;
    // What the recording before the last reset had beyond what this one has so far. As long as records repeat it, nothing is
    // hashed, looked up or written: a step like the one before costs a comparison a node.
    size_t old_nodes, old_stream, old_slots;
    bool repeats;     // up to now; else the next reset forgets everything
    int64_t appended;      // nodes, in all: as long as it stays, so does every byte of the stream
    int64_t planned_at;    // appended, when the last plan was looked up,
    int64_t planned;       // and the number of that plan
    uint32_t *table;  // hash-consing: node ids + 1, open addressing
    uint32_t *hashes; // of nodes
    size_t table_room, room_hashes;
    uint32_t *slot_table;  // slot numbers + 1 by (op, key)
    size_t slot_table_room;
    ad_scope_node *scopes;
    size_t n_scopes, room_scopes;
    uint32_t scope;
    ad_output *outputs;
    size_t n_outputs, room_outputs;
    ad_arena constants, scratch;
    uint32_t placeholders;  // numbers given to placeholders
    bool can_reject;        // states can be taken back until the next run
    uint32_t outputs_run;   // outputs of the last run
    int64_t runs;           // in all, for AD_PROFILE's reports
};

// Records a leaf: attributes say all but what it is bound to. rows.tape NULL: shared. op->shape gets n = 0 and attr.
ad_var ad_record_leaf(ad_tape *tape, ad_rows rows, const ad_op *op, const void *attr, size_t attr_size, const void *bound);
// The same with the identity of what is bound given apart (constants).
ad_var ad_record_leaf_key(ad_tape *tape, ad_rows rows, const ad_op *op, const void *attr, size_t attr_size,
                          const void *bound, uint64_t key);
// As ad_apply, the result having the given rows (tape NULL: those of the operands) and any number of operands, 0 included.
ad_var ad_apply_rows(const ad_op *op, ad_tape *tape, ad_rows rows, const ad_var *x, int n, const void *attr,
                     size_t attr_size);
void ad_record_reset(ad_tape *tape);
void ad_record_free(ad_tape *tape);

// The node of a live handle; NULL for any other.
static inline const ad_node *ad_node_of(ad_var v) {
    return v.tape && v.epoch == v.tape->epoch && v.id < v.tape->n_nodes ? &v.tape->nodes[v.id] : NULL;
}
// Checks a handle given to a public call named what; false, with the error on the tape, when it cannot be used.
bool ad_check_var(ad_var v, const char *what);
// The same for operands that must fit together: one tape, one row set. Of a misfit every tape gets the error.
bool ad_check_vars(const ad_var *x, int n, const char *what);
static inline ad_var ad_var_at(ad_tape *tape, uint32_t id) {
    ad_var v = {tape, id, tape->epoch};
    return v;
}
static inline ad_var ad_inert(ad_tape *tape) {
    ad_var v = {tape, UINT32_MAX, tape ? tape->epoch : 0};
    return v;
}
static inline const ad_record *ad_node_record(const char *stream, const ad_node *node) {
    return (const ad_record *)(const void *)(stream + (size_t)node->record * 8);
}
static inline const uint32_t *ad_node_inputs(const char *stream, const ad_node *node) {
    return (const uint32_t *)(const void *)(stream + (size_t)node->record * 8 + sizeof(ad_record));
}
static inline const void *ad_node_attr(const char *stream, const ad_node *node) {
    return stream + (size_t)node->record * 8 + sizeof(ad_record) + (node->n + 1) / 2 * 8;
}
// Operands that carry values (the others serve derivatives only).
static inline uint32_t ad_live_inputs(const ad_node *node) {
    return node->op->role == AD_ROLE_ALIAS ? 1 : node->n;
}

// "flow[3]/mlp[1]" into buffer; "" at top level.
char *ad_scope_path(const ad_tape *tape, uint32_t scope, char *buffer, size_t size);

// What parameters, states and constants begin with.
typedef struct ad_tensor {
    char *name;
    ad_shape shape;
    ad_type type;
    int64_t count;
    void *data;
} ad_tensor;
extern const ad_op *const ad_param_op, *const ad_input_op, *const ad_shared_input_op;

// ---- shapes ---------------------------------------------------------------------------------------------------------

static inline bool ad_same_shape(const ad_shape *a, const ad_shape *b) {  // ad_shape_equal without the copies
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}
int64_t ad_count_of(const ad_shape *shape);  // ad_shape_count without the copy
bool ad_shape_broadcast(ad_shape a, ad_shape b, ad_shape *out);
int64_t ad_shape_axis(ad_shape s, int64_t axis);  // counted from the start; -1: none
// Writes that axis is none of s's, and returns text.
const char *ad_axis_error(ad_shape s, int64_t axis, char *text, size_t size);
void ad_shape_strides(ad_shape s, int32_t *stride);

// ---- ops that the engine itself records -------------------------------------------------------------------------------

// x read through strides: out element (i0, i1, ...) is x's element offset + sum i_k stride[k]. Zero strides repeat.
typedef struct ad_view_attr {
    ad_shape shape;
    int32_t offset;
    int32_t stride[AD_MAX_RANK];
} ad_view_attr;
ad_var ad_view(ad_var x, const ad_view_attr *attr);
bool ad_view_contiguous(const ad_view_attr *attr);
ad_view_attr ad_view_whole(ad_shape shape);  // the view that is the tensor itself
// Checks x and axis of a public call; the axis from the start, or -1 with the error on the tape.
int64_t ad_check_axis(ad_var x, int axis, const char *what);
// Checks an x that needs rows.
bool ad_check_has_rows(ad_var x, const char *what);
// Sum of parts, each added through its view of the result (attr.shape is the part's shape); zero elsewhere.
ad_var ad_place(ad_tape *tape, ad_rows rows, ad_shape shape, const ad_var *parts, const ad_view_attr *where, int n);
// How the parts lie: they may overlap; as ranges apart from each other, in order; the same, and leave nothing out; strided,
// but apart.
enum { AD_PLACE_ADDS, AD_PLACE_GAPS, AD_PLACE_FULL, AD_PLACE_BOXES };
typedef struct ad_place_attr {  // followed by one ad_view_attr a part
    ad_shape shape;
    int32_t n, cover, zero;     // zero: elements are left out
} ad_place_attr;
static inline const ad_view_attr *ad_place_parts(const ad_place_attr *attr) {
    return (const ad_view_attr *)(const void *)(attr + 1);
}
// A leaf without value, of v's shape and rows; each call makes another.
ad_var ad_placeholder(ad_tape *tape, ad_rows rows, ad_shape shape);
extern const ad_op *const ad_placeholder_op;

typedef struct ad_loop_attr {
    int64_t n;               // features of the state
    int64_t max_iterations;
} ad_loop_attr;

// ---- gradients ------------------------------------------------------------------------------------------------------

// g with the shape and rows of x: broadcast axes and rows summed, missing ones spread.
ad_var ad_conform(ad_var g, ad_var x);
// As ad_vjp; with barrier, paths from y end at every x (partial derivatives holding the other x fixed).
void ad_vjp_paths(ad_var y, ad_var gy, const ad_var *x, int n, ad_var *gx, bool barrier);
// The gradient of an operand given twice is in both places: it counts once.
void ad_drop_repeated(const ad_var *x, int n, ad_var *gx);
// The gradients of an op that has a kernel for them, as one node (vjp_kernel.c).
void ad_vjp_by_kernel(const ad_op *op, const ad_vjp_call *call, size_t attr_size);
// expr with every occurrence of from replaced by to.
ad_var ad_substitute(ad_var expr, ad_var from, ad_var to);

// ---- checking -------------------------------------------------------------------------------------------------------

// What a checked function's input is sampled from: uniform numbers in [low, high) (splitmix64) ...
double ad_sample_uniform(uint64_t *seed, double low, double high);
// ... the input with its default range filled in ...
ad_gradcheck_input ad_sample_input(const ad_gradcheck_input *input);
// ... a point of the range; every other one close to a kink, which takes kinks and their sides in turn (*near counts) ...
double ad_sample(const ad_gradcheck_input *input, uint64_t *seed, int64_t *near);
// ... and the distance from x to the nearest kink or end of the range: no difference step may be longer.
double ad_sample_clearance(const ad_gradcheck_input *input, double x);

// y with each node of op replaced by what `with` records for its operands and attributes; rows: the node's, as
// ad_apply_rows wants them.
typedef ad_var (*ad_replacement)(void *arg, ad_rows rows, const ad_var *x, int n, const void *attr, size_t attr_size);
ad_var ad_replace(ad_var y, const ad_op *op, ad_replacement with, void *arg);
// Derivative orders that op claims: 0, 1, or 2 for any.
int ad_op_orders(const ad_op *op);
// Whether op has all that it needs to be used and checked: name, kernels, shape rule, error bounds, tests with their ranges.
ad_status ad_op_complete(const ad_op *op, ad_error *error);

// ---- registry -------------------------------------------------------------------------------------------------------

const ad_op *const *ad_op_registry(int *n);
// All families compiled for an instruction set, NULL at the end; NULL where there are none. For tests.
const ad_op *const *const *ad_isa_families(const char *isa);
// op with the kernels of the instruction set in use (op itself for ops of users).
const ad_op *ad_isa_op(const ad_op *op);

// ---- running --------------------------------------------------------------------------------------------------------

int64_t ad_engine_plans_made(const ad_engine *engine);

#endif
