// internal.h -- what the files of optim/ share.
#ifndef OPTIM_INTERNAL_H
#define OPTIM_INTERNAL_H

#include "optim.h"

// ---- log-density of rows, batch by batch (evaluate.c) -------------------------------------------------------------

// Made once, run often: allocates nothing after the first run.
typedef struct optim_scorer {
    const flow_model *model;
    flow_used_rows used;
    int64_t batch;
    ad_tape *tape;
    double *log_prob;  // [batch]
    int64_t *index;    // [batch]
} optim_scorer;

// Checks rows against the model. Borrows what they point to; close also after failure.
ad_status optim_scorer_open(optim_scorer *scorer, const flow_model *model, const flow_rows *rows, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error);
ad_status optim_scorer_run(optim_scorer *scorer, double *mean, double *standard_error, ad_error *error);
void optim_scorer_close(optim_scorer *scorer);

// Sources whose index picks the rows of a batch; weight.data NULL: none.
typedef struct optim_batch {
    ad_source x, context, weight;
    int64_t n, first;  // rows, and the number that the first one has for random numbers
    double noise;      // added to x; 0: none
    const ad_random *random;
} optim_batch;
// All rows, of which index, to be filled, picks the batch.
optim_batch optim_batch_of(const flow_rows *rows, const int64_t *index);
// A text that tells the rows used, in their order, from others (fit.c).
ad_status optim_fingerprint(const flow_model *model, const flow_used_rows *used, char *text, size_t size, ad_error *error);
// log_prob of its rows, recorded on a reset tape. Borrows batch until the run ends.
ad_var optim_record_log_prob(const flow_model *model, ad_tape *tape, const optim_batch *batch);

// ---- random numbers on the host -------------------------------------------------------------------------------------

// In (0, 1): splitmix64 (Steele, Lea and Flood 2014).
static inline double optim_uniform(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

// ---- draws of a model beside a target (path.c) ----------------------------------------------------------------------

// False, and an error on the tape, where what a loss gets cannot be used.
bool optim_check_sampling(const char *who, const flow_model *model, const optim_target *target,
                          const optim_sampling *sampling);
// log p~ of x under the target's name, beta times.
ad_var optim_record_target(const optim_target *target, const optim_sampling *sampling, ad_var x);
// Draws, with what they weigh and how log w changes as they move, parameters being held fixed in both.
typedef struct optim_path {
    ad_var x;           // depends on the parameters
    ad_var log_weight;  // [] per row, stopped
    ad_var slope;       // d log w / dx, of x's shape, stopped
} optim_path;
optim_path optim_record_path(const flow_model *model, const optim_target *target, const optim_sampling *sampling);
// A scalar of that value whose gradient is that of sum of coefficient (slope . x): coefficient [] per row, stopped
// here.
ad_var optim_along(const optim_path *path, ad_var value, ad_var coefficient);
// The stopped value, with the gradient of another scalar.
ad_var optim_value_and_gradient(ad_var value, ad_var other);
optim_divergence_loss optim_no_loss(const optim_sampling *sampling);

// optim_update in two: after optim_gradient_norm, and when that was finite.
void optim_apply(optim_optimizer *optimizer, ad_engine *engine, double lr);

// What an annealer changes from run to run: the step sizes of its n distributions (anneal.c).
double *optim_annealer_steps(optim_annealer *annealer, int64_t *n);

// Draws recorded once, to be made again and again as parameters change (draws.c). Does not move.
typedef struct optim_drawer {
    int64_t batch, elements;
    ad_type type;
    ad_tape *tape;
    ad_random random;
    ad_program *program;  // outputs: x, and log weights where there is a target
    bool weighted;
} optim_drawer;
// Close also after failure. target may be NULL.
ad_status optim_drawer_open(optim_drawer *drawer, const flow_model *model, const optim_target *target, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error);
// n draws of that seed; x and log_weight may be NULL.
ad_status optim_drawer_run(optim_drawer *drawer, uint64_t seed, int64_t n, double *x, double *log_weight, ad_error *error);
void optim_drawer_close(optim_drawer *drawer);

// ---- what a checkpoint holds of others ------------------------------------------------------------------------------

typedef struct optim_kept {
    ad_type type;
    int64_t count;
    void *data;  // bytes: no alignment
} optim_kept;
// Array number i of what an optimizer, an average or a snapshot keeps; false beyond the last.
bool optim_kept_of(const optim_optimizer *optimizer, int i, optim_kept *kept);
bool optim_average_kept(const optim_average *average, int i, optim_kept *kept);
// All tensors and counts of a checkpoint in memory: bytes of them, and copied there or back.
size_t optim_checkpoint_bytes(const optim_checkpoint *checkpoint);
void optim_checkpoint_copy(const optim_checkpoint *checkpoint, char *bytes, bool back);
// Their counters.
int64_t *optim_steps_of(optim_optimizer *optimizer);
int64_t *optim_average_updates(optim_average *average);

// ---- a model's tensors, kept aside (snapshot.c) -------------------------------------------------------------------

// NULL when out of memory. Holds the tensors as they are.
typedef struct optim_snapshot optim_snapshot;
optim_snapshot *optim_snapshot_new(const flow_model *model);
void optim_snapshot_take(optim_snapshot *snapshot);
void optim_snapshot_restore(const optim_snapshot *snapshot);
void optim_snapshot_free(optim_snapshot *snapshot);
bool optim_snapshot_kept(const optim_snapshot *snapshot, int i, optim_kept *kept);

#endif
