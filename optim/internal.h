// internal.h -- what the files of optim/ share.
#ifndef OPTIM_INTERNAL_H
#define OPTIM_INTERNAL_H

#include "optim.h"

// ---- log-density of rows, batch by batch (evaluate.c) -------------------------------------------------------------

// Made once, run often: allocates nothing after the first run.
typedef struct optim_scorer {
    const flow_model *model;
    const flow_rows *rows;
    int64_t count, batch;
    ad_tape *tape;
    double *log_prob;  // [batch]
    int64_t *index;    // [batch]
    ad_source x, context;
} optim_scorer;

// Checks rows against the model. Borrows all; close also after failure.
ad_status optim_scorer_open(optim_scorer *scorer, const flow_model *model, const flow_rows *rows, int64_t batch,
                            ad_engine *engine, ad_type type, ad_error *error);
ad_status optim_scorer_run(optim_scorer *scorer, double *mean, double *standard_error, ad_error *error);
void optim_scorer_close(optim_scorer *scorer);

// Number of rows picked; 0 and a message when they do not do for the model.
int64_t optim_rows_count(const flow_model *model, const flow_rows *rows, ad_error *error);
// log_prob of n rows, index[0..n), recorded on a reset tape from sources that are borrowed.
ad_var optim_record_log_prob(const flow_model *model, ad_tape *tape, const ad_source *x, const ad_source *context,
                             int64_t n);

// ---- a model's tensors, kept aside (snapshot.c) -------------------------------------------------------------------

// NULL when out of memory. Holds the tensors as they are.
typedef struct optim_snapshot optim_snapshot;
optim_snapshot *optim_snapshot_new(const flow_model *model);
void optim_snapshot_take(optim_snapshot *snapshot);
void optim_snapshot_restore(const optim_snapshot *snapshot);
void optim_snapshot_free(optim_snapshot *snapshot);

#endif
