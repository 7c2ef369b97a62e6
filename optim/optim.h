// optim.h -- fitting flows to data: Adam, maximum likelihood, evaluation.
//
//     flow_rows train = {.x = data_source(table, 0, NULL)};
//     optim_fit(model, &train, &(optim_fit_options){.steps = 5000, .validation = &held_out}, &result, &error);
//
// is made of public calls only, and is the same as a loop of one's own around
//
//     ad_tape_reset(tape);
//     ...                                        // record the loss
//     ad_backward(loss);
//     optim_adam_step(adam, engine, lr, &step, &error);
#ifndef PULLBACK_OPTIM_H
#define PULLBACK_OPTIM_H

#include "ad.h"
#include "flows.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- Adam ---------------------------------------------------------------------------------------------------------

typedef struct optim_adam optim_adam;

typedef struct optim_adam_options {
    double beta1, beta2;  // 0: 0.9 and 0.999; negative: 0
    double eps;           // 0: 1e-8
    double max_norm;      // gradients are scaled down to this norm over all parameters; 0: no clipping
} optim_adam_options;

// Adam (Kingma and Ba 2015), as PyTorch computes it: m and v in the parameter's type, zero at the start. Copies the
// array of pointers, borrows the parameters. options may be NULL. NULL when an option is out of range or memory is out.
AD_API optim_adam *optim_adam_new(ad_param *const *params, int n, const optim_adam_options *options, ad_error *error);
AD_API void optim_adam_free(optim_adam *adam);

typedef struct optim_step {
    double grad_norm;  // Euclidean norm of all gradients, before clipping, summed in f64 in a fixed order
    bool clipped;
} optim_step;
// One update of every parameter that is not frozen, from its grad, with learning rate lr. Runs on the engine's threads
// (NULL: the caller's alone); the result is the same, bit for bit, for any number of them. step may be NULL.
// AD_ENONFINITE, with parameters and moments untouched, when a gradient is not finite: the message names the parameter.
AD_API ad_status optim_adam_step(optim_adam *adam, ad_engine *engine, double lr, optim_step *step, ad_error *error);
// Steps taken so far.
AD_API int64_t optim_adam_steps(const optim_adam *adam);

// ---- learning rates -----------------------------------------------------------------------------------------------

typedef enum optim_schedule { OPTIM_CONSTANT = 0, OPTIM_COSINE } optim_schedule;
// Factor of the learning rate at step (from 0) of steps: rises linearly over the first warm_up steps, then stays at 1
// or falls as half a cosine to last (Loshchilov and Hutter 2017).
AD_API double optim_schedule_factor(optim_schedule schedule, int64_t step, int64_t steps, int64_t warm_up, double last);

// ---- maximum likelihood -------------------------------------------------------------------------------------------

typedef struct optim_progress {
    int64_t step, steps;  // done, and to do
    double loss;          // mean negative log-likelihood of the batch, nats
    double validation;    // newest one; NaN before the first
    double grad_norm, lr;
    double rows_per_second, seconds;  // since the start
    bool validated;                   // validation is of this step
} optim_progress;

typedef struct optim_fit_options {
    int64_t steps;  // 0: 2000
    int64_t batch;  // rows a step; 0: 256; at most the rows there are
    double lr;      // 0: 1e-3
    optim_schedule schedule;
    int64_t warm_up;              // steps; 0: none
    double last_lr;               // of the cosine, as a share of lr; 0: 0
    optim_adam_options adam;      // max_norm 0: 10 here; negative: no clipping
    const flow_rows *validation;  // NULL: none, and the last weights are kept
    int64_t validate_every;       // steps; 0: steps / 20, at least 1
    uint64_t seed;                // of the order of rows
    ad_engine *engine;            // NULL: one of its own
    ad_type type;                 // computed in: AD_F32 or AD_F64
    // Called after every step; false stops the fit (which ends as if steps were done). Must not touch the model.
    bool (*progress)(void *arg, const optim_progress *progress);
    void *progress_arg;
} optim_fit_options;

typedef struct optim_fit_result {
    int64_t steps;      // done
    double loss;        // of the last step
    double validation;  // of the weights kept: mean negative log-likelihood, nats; NaN when there was none
    int64_t best_step;  // they are those after this step
    double seconds;
    bool stopped;  // by progress
} optim_fit_result;

// Fits the model's parameters to rows by maximum likelihood with Adam: batches in a new random order each pass, read in
// place; the weights with the best validation are those the model has at the end. Calls no data-dependent
// initialisation: see flow_init_from_data. options and result may be NULL. The same seed gives the same bits for any
// number of threads. AD_ENONFINITE when loss or gradients stop being finite, with a message that names the place; the
// model then has its best weights so far, or, without validation, the last before the failure. Borrows everything until
// it returns.
AD_API ad_status optim_fit(flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                           optim_fit_result *result, ad_error *error);

// Mean log-density of rows under the model and its standard error (NULL: not wanted), computed in batches of batch rows
// (0: 4096) on engine (NULL: one of its own), in the type of the model's parameters, and summed in f64.
AD_API ad_status optim_mean_log_prob(const flow_model *model, const flow_rows *rows, int64_t batch, ad_engine *engine,
                                     double *mean, double *standard_error, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
