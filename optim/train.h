// train.h -- what every training run does around its loss: steps and their guard, validation, checkpoints, logs,
// signals.
#ifndef OPTIM_TRAIN_H
#define OPTIM_TRAIN_H

#include "internal.h"

enum { OPTIM_HISTORY = 1000 };

// What a kind of run brings.
typedef struct optim_task {
    const char *run;  // its name, in messages and logs
    // Computes the loss of step (from 0) and its gradient, as ad_backward does. AD_ENONFINITE where one is not finite.
    ad_status (*compute)(void *arg, int64_t step, double *loss, ad_error *error);
    // Puts states back to what they were before compute, and says where what is not finite comes from.
    void (*undo)(void *arg, int64_t step, double loss, ad_error *why);
    // The loss that decides what is best; NULL: there is none.
    ad_status (*validate)(void *arg, double *loss, ad_error *error);
    // Adds what else of the run changes from step to step, for rollbacks and checkpoints. NULL: nothing does.
    void (*add)(void *arg, optim_checkpoint *checkpoint);
    void *arg;
    int64_t rows;           // a step
    int64_t validate_from;  // no validation before this step
    const char *data;      // fingerprint of the data, or NULL
    const char *identity;  // options that must be the same when a run goes on
} optim_task;

typedef struct optim_training {
    flow_model *model;
    ad_engine *engine;
    optim_task task;
    optim_fit_options o;  // settled
    optim_optimizer *optimizer;
    optim_average *average;
    optim_snapshot *best;
    optim_checkpoint *state, *checkpoint;  // what a rollback brings back; all of a run, on disk
    char *good;                            // bytes of state
    optim_guard guard;
    optim_plateau plateau;
    optim_log *log;
    optim_events *events;
    optim_progress now;
    optim_fit_result result;
    int64_t waited;  // validations without a better one
    double history[2 * OPTIM_HISTORY];
    int64_t n_history;
    double numbers[4];  // of now and result, on their way to and from a file
    double start;
    char trouble[sizeof((ad_error *)0)->message];
} optim_training;

// Fills in what options leave out; an error when one is out of range.
ad_status optim_settle(const char *run, optim_fit_options *options, ad_error *error);
// After it, close must be called, on failure too. Goes on from a checkpoint where there is one. task is copied; its
// texts and arg are borrowed.
ad_status optim_training_open(optim_training *t, flow_model *model, ad_engine *engine, const optim_fit_options *settled,
                              const optim_task *task, ad_error *error);
// All steps, until they are done or the run is stopped.
ad_status optim_training_run(optim_training *t, ad_error *error);
// Leaves the model with the parameters to keep; result may be NULL.
void optim_training_close(optim_training *t, optim_fit_result *result);

#endif
