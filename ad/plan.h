// plan.h -- what a recording becomes: sections of instructions that run over blocks of rows.
//
// A section is a list of instructions over one row set, run from first to last for a block of R rows and then for the next
// (a row stage), or over shared values only (R = 1). Sections alternate: shared, rows, shared, ...: level by level.
#ifndef AD_PLAN_H
#define AD_PLAN_H

#include "internal.h"

typedef enum plan_base {
    BASE_NONE,    // no memory: a part computed in place
    BASE_BLOCK,   // working memory of a thread: offset in features
    BASE_STORED,  // kept for a later stage, for all rows: offset in features
    BASE_SHARED,  // shared working memory: offset in elements
    BASE_SLOT,    // data of leaf `index`: offset in elements
    BASE_TARGET,  // memory of output `index` (a gradient): offset in elements
    BASE_SUM,     // accumulator of a chunk: offset in bytes
    BASE_TILE     // tile slot `index` of an elementwise run
} plan_base;

typedef struct plan_place {  // where a value, or a slice of it, is
    uint8_t base;
    uint8_t lane;      // 1: one element per row; 0: one for all rows
    uint32_t index;
    int32_t buffer;    // planner's buffer; -1: none
    int64_t offset;    // while planning: features within the buffer
    int64_t count;     // features
    const ad_shape *shape;
} plan_place;

typedef enum plan_kind { PLAN_KERNEL, PLAN_RUN, PLAN_SPREAD, PLAN_STORE, PLAN_LOOP, PLAN_LOOP_END } plan_kind;

typedef struct plan_instr {
    plan_kind kind;
    const ad_op *op;     // with the kernels in use
    uint32_t node;
    uint32_t x, n;       // operands: places x .. x + n
    plan_place y;
    uint32_t steps, n_steps, spreads, n_spreads;  // of an elementwise run
    uint32_t other;      // loops: instruction of the other end; store: output
    bool moves;          // an operand or the result lies elsewhere for each block
    const ad_op *then;   // kernel: op applied to its result at once, whose other operand is the last place; NULL: none
    uint32_t then_node;
} plan_instr;

typedef struct plan_step {  // of an elementwise run
    const ad_op *op;
    uint32_t node, x, n;
    plan_place y;
} plan_step;

typedef struct plan_spread {  // an operand broadcast over a tile, from its place into tile slot `slot`
    plan_place x;
    uint32_t slot;
} plan_spread;

typedef struct plan_sum {  // a row reduction: chunk accumulators into y
    uint32_t node;
    bool wide;             // accumulates in double
    int64_t offset;        // bytes
    int64_t start;         // elements of the section's sums before this one
    plan_place y;
} plan_sum;

typedef struct plan_section {
    uint32_t rows;  // row set + 1; 0: shared
    uint32_t level;
    uint32_t first, n;
    uint32_t sums, n_sums;
    int64_t block_features;  // working memory of a thread
    int64_t sum_bytes;       // accumulators of a chunk
    size_t scratch[5];       // bytes that kernels need, for R = 1, 32, 64, 128, 256 (the first for shared sections)
    uint32_t places;
} plan_section;

typedef struct plan_set {  // of a row set: what decides blocks and chunks
    int64_t stored_features, weight_bytes, sum_bytes;
    int64_t ops, features;  // nodes, and elements a row of all of them
} plan_set;

typedef struct ad_plan {
    uint64_t key[2];
    int64_t number;      // of all plans made
    int uses;            // by programs and running tapes
    bool dropped;        // out of the cache
    bool training;
    int64_t last_use;

    ad_type type;
    char *stream;        // copies of the recording, followed by the outputs
    size_t stream_size;
    ad_node *nodes;
    uint32_t n_nodes, n_outputs, n_slots;
    ad_output *outputs;
    plan_place *output_places;

    plan_instr *instrs;
    size_t n_instrs, room_instrs;
    plan_place *places;
    size_t n_places, room_places;
    plan_step *steps;
    size_t n_steps, room_steps;
    plan_spread *spreads;
    size_t n_spreads, room_spreads;
    plan_sum *sums;
    size_t n_sums, room_sums;
    plan_section *sections;
    size_t n_sections, room_sections;

    uint32_t *leaves;    // [n_leaves] nodes bound to something that a run reads
    uint32_t n_leaves;
    plan_set *sets;      // [n_sets]
    uint32_t n_sets;
    int64_t shared_elements;
    uint64_t *profile;                // nanoseconds by instruction, with AD_PROFILE
    int64_t profile_runs;
} ad_plan;

enum {
    TILE_BYTES = 4096,    // of one slot of an elementwise run: small enough that a run's slots stay in L1
    TILE_SLOTS = 10
};

// ---- planning -----------------------------------------------------------------------------------------------------------

typedef struct plan_buffer {  // memory of one value, or of several side by side
    uint8_t base;
    uint32_t index;
    int32_t parent;           // placed inside this buffer, at parent_offset features; -1: none
    int64_t parent_offset;
    int64_t size;             // features
    int64_t offset;           // result of allocation
    uint32_t first, last;     // instructions of the section that define and use it
    bool defined;             // by an instruction of its own (not a leaf)
} plan_buffer;

typedef struct planner {
    ad_tape *tape;
    ad_plan *plan;
    const char *stream;
    const ad_node *nodes;
    uint32_t n;
    bool *live;          // needed for an output
    uint32_t *level;
    uint32_t *body;      // not 0: inside the body of that loop, and perhaps of others
    uint32_t *loop_node; // of placeholders and body nodes: their loop
    bool *leafy;         // computed from leaves by cheap ops
    bool *again;         // computed again in a later stage rather than stored
    bool *stored;        // kept in memory for a later stage
    bool *marked;        // in the section being built
    plan_place *shared;  // places of shared values, by node
    plan_place *stores;  // places of stored row values, by node
    plan_place *here;    // places in the section being built
    plan_buffer *buffers;
    size_t n_buffers, room_buffers;
    size_t first_buffer; // of the section being built
    plan_section section;
    bool failed;         // out of memory, or an error on the tape
} planner;

// The plan of what the tape would run; NULL with the error on the tape.
ad_plan *ad_plan_new(ad_tape *tape);
void ad_plan_free(ad_plan *plan);

// plan_emit.c: instructions for the marked nodes of pl->section.
void plan_emit_section(planner *pl);
plan_place plan_new_buffer(planner *pl, plan_base base, int64_t size, int lane);
// Where a buffer's memory really is: the outermost buffer it was placed in, and the offset there.
int32_t plan_root(const planner *pl, int32_t buffer, int64_t *offset);
// plan_fuse.c: consecutive elementwise instructions become runs.
void plan_fuse_section(planner *pl);
// plan_memory.c: addresses.
void plan_allocate_section(planner *pl);
void plan_resolve(planner *pl);

static inline const ad_node *plan_node(const ad_plan *plan, uint32_t id) { return &plan->nodes[id]; }
static inline const void *plan_attr(const ad_plan *plan, uint32_t id) {
    return ad_node_attr(plan->stream, &plan->nodes[id]);
}

// ---- running --------------------------------------------------------------------------------------------------------------

// Blocks of a row section: functions of the plan and the number of rows alone (and of the engine's latency mode).
typedef struct plan_blocks {
    int R;
    int64_t blocks, chunks;
} plan_blocks;
plan_blocks plan_blocks_of(const plan_set *set, int64_t rows, bool latency);

#endif
