// optim.h -- fitting flows to data: optimizers, schedules, maximum likelihood, evaluation.
//
//     flow_rows train = {.x = data_source(table, 0, NULL)};
//     optim_fit(model, &train, &(optim_fit_options){.steps = 5000, .validation = &held_out}, &result, &error);
//
// is made of public calls only, and is the same as a loop of one's own around
//
//     ad_tape_reset(tape);
//     ...                                        // record the loss
//     ad_backward(loss);
//     optim_update(optimizer, engine, lr, &step, &error);
#ifndef PULLBACK_OPTIM_H
#define PULLBACK_OPTIM_H

#include "ad.h"
#include "flows.h"

#ifdef __cplusplus
extern "C" {
#endif

// ---- optimizers ---------------------------------------------------------------------------------------------------

typedef enum optim_method {
    OPTIM_ADAM = 0,  // Kingma and Ba 2015
    OPTIM_ADAMW,     // Loshchilov and Hutter 2019: weight decay apart from the gradient
    OPTIM_RADAM,     // Liu et al. 2020
    OPTIM_ADAMAX,    // Kingma and Ba 2015, algorithm 2
    OPTIM_SGD        // with momentum (Polyak 1964) or Nesterov's (Sutskever et al. 2013)
} optim_method;

typedef struct optim_options {
    optim_method method;
    double beta1, beta2;  // of Adam and its kin; 0: 0.9 and 0.999; negative: 0
    double eps;           // 0: 1e-8
    bool amsgrad;         // of Adam and AdamW (Reddi, Kale and Kumar 2018)
    double momentum;      // of SGD, below 1; 0: none
    double dampening;     // of the gradients that go into it
    bool nesterov;
    double weight_decay;  // adds weight_decay p to the gradient of p; OPTIM_ADAMW: p becomes (1 - lr weight_decay) p first
    double max_value;     // each element of a gradient is cut to +-max_value first; 0: none
    double max_norm;      // then gradients are scaled down to this norm over all parameters; 0: none
} optim_options;

typedef struct optim_optimizer optim_optimizer;
// The rules are those of PyTorch's classes; what they keep (moments) is of the parameter's type and zero at the start.
// Copies the array of pointers, borrows the parameters. options may be NULL (Adam). NULL when an option is out of range or
// memory is out.
AD_API optim_optimizer *optim_new(ad_param *const *params, int n, const optim_options *options, ad_error *error);
AD_API void optim_free(optim_optimizer *optimizer);
// These parameters, which are the optimizer's, get a learning rate and weight decay of their own from now on: lr_factor
// times that of optim_update, and weight_decay instead of the option. At most 63 groups.
AD_API ad_status optim_group(optim_optimizer *optimizer, ad_param *const *params, int n, double lr_factor,
                             double weight_decay, ad_error *error);

typedef struct optim_step {
    double grad_norm;  // Euclidean norm of all gradients, before clipping, summed in f64 in a fixed order
    bool clipped;      // by value or norm
} optim_step;
// One update of every parameter that is not frozen, from its grad, with learning rate lr. Runs on the engine's threads
// (NULL: the caller's alone); the result is the same, bit for bit, for any number of them. step may be NULL.
// AD_ENONFINITE, with parameters and moments untouched, when a gradient is not finite: the message names the parameter.
AD_API ad_status optim_update(optim_optimizer *optimizer, ad_engine *engine, double lr, optim_step *step, ad_error *error);
// Steps taken so far; the method's name ("adam").
AD_API int64_t optim_steps(const optim_optimizer *optimizer);
AD_API const char *optim_name(const optim_optimizer *optimizer);

// ---- L-BFGS, for losses without noise -----------------------------------------------------------------------------

// Computes the loss at the parameters as they are, and its gradient into their grad (as ad_backward does).
typedef ad_status (*optim_evaluate)(void *arg, double *loss, ad_error *error);

typedef struct optim_lbfgs_options {
    int history;         // pairs kept; 0: 10
    double first_step;   // length of the first step tried, at most; 0: 1
    double decrease;     // strong Wolfe conditions: sufficient decrease, 0: 1e-4,
    double curvature;    // and curvature, 0: 0.9; 0 < decrease < curvature < 1
    int evaluations;     // at most, in one step; 0: 25
    double tolerance;    // converged when no element of the gradient is larger; 0: 1e-8
} optim_lbfgs_options;

typedef struct optim_lbfgs optim_lbfgs;
// L-BFGS with a line search for the strong Wolfe conditions (Nocedal and Wright 2006, algorithms 7.5, 3.5 and 3.6). Kept in
// f64. Copies the array of pointers, borrows the parameters (not the frozen ones) and evaluate's arg. options may be NULL.
AD_API optim_lbfgs *optim_lbfgs_new(ad_param *const *params, int n, optim_evaluate evaluate, void *arg,
                                    const optim_lbfgs_options *options, ad_error *error);
AD_API void optim_lbfgs_free(optim_lbfgs *lbfgs);
typedef struct optim_lbfgs_iteration {
    double loss, grad_norm;  // at the parameters as the step leaves them; the Euclidean norm
    double length;           // of the step along its direction; 0: the parameters stay
    int evaluations;
    bool converged;  // the gradient is below the tolerance
    bool stuck;      // no lower loss was found along the direction: rounding, or a gradient that is not the loss's
} optim_lbfgs_iteration;
// One step. The loss never rises, and points where loss or gradient are not finite are stepped back from; AD_ENONFINITE
// when they are not finite where the step starts. Fails as evaluate does, parameters then being where the step started.
AD_API ad_status optim_lbfgs_update(optim_lbfgs *lbfgs, optim_lbfgs_iteration *done, ad_error *error);

// ---- averages of weights ------------------------------------------------------------------------------------------

typedef struct optim_average optim_average;
// A moving average of parameters: starts as they are; each update moves it by 1 - d towards them, with
// d = min(decay, (1 + t) / (10 + t)) at update t from 0, so that the start is soon forgotten. 0 < decay < 1. Copies the
// array of pointers, borrows the parameters. NULL when decay is out of range or memory is out.
AD_API optim_average *optim_average_new(ad_param *const *params, int n, double decay, ad_error *error);
AD_API void optim_average_free(optim_average *average);
AD_API void optim_average_update(optim_average *average);
// Exchanges average and parameters: once to use the average, once more to go on training.
AD_API void optim_average_swap(optim_average *average);

// ---- learning rates -----------------------------------------------------------------------------------------------

typedef enum optim_schedule {
    OPTIM_CONSTANT = 0,  // 1
    OPTIM_COSINE,        // half a cosine from 1 to last (Loshchilov and Hutter 2017)
    OPTIM_LINEAR,        // a straight line from 1 to last
    OPTIM_EXPONENTIAL,   // the same factor at each step, from 1 to last (which is then above 0)
    OPTIM_ONE_CYCLE      // half a cosine up from 1/25 over the warm-up (0: 30 % of the steps), one down to last (Smith 2018)
} optim_schedule;
// Factor of the learning rate at step (from 0) of steps: rises linearly over the first warm_up steps (but see
// OPTIM_ONE_CYCLE), then goes as the schedule says, to reach last at steps.
AD_API double optim_schedule_factor(optim_schedule schedule, int64_t step, int64_t steps, int64_t warm_up, double last);

// A rate lowered when a validation loss no longer falls: as PyTorch's ReduceLROnPlateau in relative mode. Zero-initialise,
// set what differs.
typedef struct optim_plateau {
    double factor;     // that the rate is multiplied by; 0: 0.1
    int patience;      // values in a row that are no better before it is; 0: 10; negative: 0
    double threshold;  // better is below (1 - threshold) best (best positive), a share; 0: 1e-4
    double least;      // scale never falls below; 0: none
    // State.
    double scale;  // of the learning rate; 0 before the first value: 1
    double best;
    int64_t bad, values;
} optim_plateau;
// The scale after one more validation loss. A NaN is no better.
AD_API double optim_plateau_update(optim_plateau *plateau, double loss);

// ---- checkpoints --------------------------------------------------------------------------------------------------
// A list of what a run is made of, written to and read from files PATH.STEP.safetensors. Each is written whole or not at all
// and carries a digest, so that a run killed at any moment finds its last whole one:
//
//     optim_checkpoint *c = optim_checkpoint_new("run", 3, &error);
//     optim_checkpoint_model(c, "model", model), optim_checkpoint_optimizer(c, "adam", adam);
//     optim_checkpoint_count(c, "epoch", &epoch);
//     optim_checkpoint_identity(c, "data", fingerprint);
//     if (optim_checkpoint_load(c, &step, &error)) ...   // step -1: there is none yet
//     for (...) { ...; if (step % 1000 == 0) optim_checkpoint_save(c, step, &error); }

typedef struct optim_checkpoint optim_checkpoint;
// Files start with path; the newest `keep` are kept (at least 2). NULL on an empty path and when memory is out.
AD_API optim_checkpoint *optim_checkpoint_new(const char *path, int keep, ad_error *error);
AD_API void optim_checkpoint_free(optim_checkpoint *checkpoint);
// Adds something under a name of its own, all of it borrowed in the checkpoint's lifetime. Nothing is read now. A lack of
// memory shows at the next load or save.
AD_API void optim_checkpoint_model(optim_checkpoint *checkpoint, const char *name, const flow_model *model);
AD_API void optim_checkpoint_optimizer(optim_checkpoint *checkpoint, const char *name, optim_optimizer *optimizer);
AD_API void optim_checkpoint_average(optim_checkpoint *checkpoint, const char *name, optim_average *average);
AD_API void optim_checkpoint_tensor(optim_checkpoint *checkpoint, const char *name, ad_type type, int64_t count, void *data);
AD_API void optim_checkpoint_count(optim_checkpoint *checkpoint, const char *name, int64_t *value);
// What must be the same when a run goes on: its data, options. text is copied.
AD_API void optim_checkpoint_identity(optim_checkpoint *checkpoint, const char *name, const char *text);
// Writes everything, then removes generations beyond those kept. On failure (disk full, folder gone) older files are as they
// were, and the run may go on.
AD_API ad_status optim_checkpoint_save(optim_checkpoint *checkpoint, int64_t step, ad_error *error);
// Reads the newest whole file back into everything that was added; *step is its step, -1 when there are no files. Files that
// are damaged are passed over (see optim_checkpoint_note). On an error nothing has changed: AD_EFORMAT when the file is of
// another run, naming what differs; AD_EIO when there are files and none can be read.
AD_API ad_status optim_checkpoint_load(optim_checkpoint *checkpoint, int64_t *step, ad_error *error);
// What was wrong with the newest file that the last load passed over, or NULL.
AD_API const char *optim_checkpoint_note(const optim_checkpoint *checkpoint);

// ---- importance weights -------------------------------------------------------------------------------------------

// What n draws of a model q say about a target p~ (which need not integrate to 1), from log w = log p~ - log q of each.
typedef struct optim_importance {
    int64_t n, zeros;          // draws, and how many of them have weight 0
    double elbo, elbo_error;   // mean of log w (a lower bound of log Z on average), and its standard error
    double log_z, log_z_error; // log of the mean of w: estimates log of the integral of p~; error by the delta method
    double ess;                // Kish's effective sample size as a share of n, (sum w)^2 / sum w^2 / n
    double pareto_k;           // k-hat (Vehtari et al. 2024): above 0.7 the weights' mean is not to be trusted, nor the errors
    double acceptance;         // share accepted by a Metropolis chain that is offered the draws in turn; seed is its own
} optim_importance;
// Of log_weight [n], -INFINITY where w is 0. AD_ENONFINITE on NaN, on infinite weights, and when all are 0.
AD_API ad_status optim_importance_of(const double *log_weight, int64_t n, uint64_t seed, optim_importance *out,
                                     ad_error *error);
// The expectation of f under the target, from self-normalised weights: sum w f / sum w; standard_error may be NULL. f [n] is
// not looked at where w is 0.
AD_API ad_status optim_expectation(const double *log_weight, const double *f, int64_t n, double *mean,
                                   double *standard_error, ad_error *error);

// ---- targets: log-densities known up to a constant ------------------------------------------------------------------

// A density p~ to fit a flow q to, without data: its logarithm as ops, x (of the model's shape) per row -> [] per row,
// may be -INFINITY. arg and name (for messages; NULL: "target") are borrowed.
typedef struct optim_target {
    ad_var (*log_prob)(void *arg, ad_var x);
    void *arg;
    const char *name;
} optim_target;
// A trained density as target, to distil it into a student that samples fast. Borrows the model, which takes no
// context.
AD_API optim_target optim_teacher(const flow_model *model);

// Where draws of the model come from, and beta: log p~ counts beta times.
typedef struct optim_sampling {
    ad_rows rows;             // one draw a row
    const ad_random *random;  // read at run: a new step, new draws. Borrowed
    uint32_t stream;
    ad_var beta;     // shared scalar, say an ad_scalar that rises to 1; zero-initialised: 1
    ad_var context;  // per row; zero-initialised: none
} optim_sampling;
typedef struct optim_divergence_loss {
    ad_var loss;        // shared scalar, to be minimised
    ad_var log_weight;  // [] per row: beta log p~ - log q of the draws
} optim_divergence_loss;

// Losses, recorded on the tape of sampling's rows; n is the number of rows. Each is an estimate of a divergence, but for
// log Z in some, and its gradient one of the divergence's.

// The reverse KL divergence, mean of log q - beta log p~ (Rezende and Mohamed 2015): minus the evidence lower bound.
// Parameters of the target, where it has some, get a gradient, too.
AD_API optim_divergence_loss optim_reverse_kl(const flow_model *model, const optim_target *target,
                                              const optim_sampling *sampling);
// The same value, and the gradient without the part of mean 0 that holds the draws fixed (the score): variance 0 where
// q is p~ (Roeder, Wu and Duvenaud 2017; Vaitl et al. 2022). Costs one more pass through the model, by normalize. Here
// and below parameters of the target get no gradient.
AD_API optim_divergence_loss optim_path_kl(const flow_model *model, const optim_target *target,
                                           const optim_sampling *sampling);
// With L = log(mean w^(1 - alpha)) / (1 - alpha), w = p~^beta / q: -L for alpha >= 0, where L is a lower bound of log Z
// (Renyi's, Li and Turner 2016; alpha 0: that of importance-weighted autoencoders), L for alpha < 0, an upper bound
// (-1: the chi^2 divergence). alpha 1 is optim_path_kl. Larger alpha seeks modes, smaller covers them. All rows are one
// group. Gradients are doubly reparameterised (Tucker et al. 2019): sum of (alpha v + (1 - alpha) v^2) d log w / dx dx,
// v the normalised w^(1 - alpha). alpha must be finite.
AD_API optim_divergence_loss optim_alpha_divergence(const flow_model *model, const optim_target *target,
                                                    const optim_sampling *sampling, double alpha);
// KL(p || q) from the draws of q themselves by self-normalised weights v (reweighted wake-sleep, Bornschein and Bengio
// 2015): gradient - sum of v d log q, biased by 1/n. Covers modes that q has found; large weights make it noisy.
AD_API optim_divergence_loss optim_forward_kl(const flow_model *model, const optim_target *target,
                                              const optim_sampling *sampling);
// The same with the doubly reparameterised gradient, - sum of (v - v^2) d log w / dx dx.
AD_API optim_divergence_loss optim_forward_path_kl(const flow_model *model, const optim_target *target,
                                                   const optim_sampling *sampling);

// ---- guards -------------------------------------------------------------------------------------------------------

enum { OPTIM_GUARD_WINDOW = 100 };
// What to do about steps that go wrong. Zero-initialise, set what differs.
typedef struct optim_guard {
    bool off;           // the first one ends the run
    int64_t skips;      // the last of so many in a row goes back to the last good state; 0: 3
    int64_t rollbacks;  // after so many of those, it gives up; 0: 2; negative: none
    double factor;      // of the learning rate at each rollback; 0: 0.5
    double spike;       // a loss or a gradient norm (its logarithm) so many robust standard deviations above the median of
                        // the last OPTIM_GUARD_WINDOW is wrong, too; 0: only those that are not finite
    // State.
    double scale;  // of the learning rate; 0 before the first step: 1
    int64_t in_a_row, rolled_back, skipped;
    int64_t values;
    double losses[OPTIM_GUARD_WINDOW], log_norms[OPTIM_GUARD_WINDOW];
} optim_guard;
typedef enum optim_verdict {
    OPTIM_GOOD = 0,
    OPTIM_SKIP,       // leave parameters and states as they were before the step
    OPTIM_ROLL_BACK,  // go back to the last good state, and go on with rate times scale
    OPTIM_GIVE_UP
} optim_verdict;
AD_API optim_verdict optim_guard_judge(optim_guard *guard, double loss, double grad_norm);
// Euclidean norm of the gradients of an optimizer's parameters; may be infinite or NaN. As optim_update computes it.
AD_API double optim_gradient_norm(optim_optimizer *optimizer, ad_engine *engine);

// SIGINT and SIGTERM are caught from now on (or no longer): the first sets what optim_signal_caught returns, its number, else
// 0; the second ends the program at once. For programs: a library should not call it.
AD_API void optim_catch_signals(bool on);
AD_API int optim_signal_caught(void);

// ---- annealed importance sampling ---------------------------------------------------------------------------------

typedef struct optim_annealing_options {
    int64_t chains;       // 0: 128
    int distributions;    // between the model and where chains go; 0: 4
    int transitions;      // at each of them; 0: 1
    int leapfrog;         // steps of Hamiltonian Monte Carlo in a transition; 0: 5; negative: a Metropolis step instead
    double step_size;     // of either at the start; 0: 0.1. Adapted at each distribution towards 65 % accepted (25 %)
    bool fixed_step;      // not adapted
    bool to_target;       // chains go to p~; false: to p~^2 / q, whose weights vary least (FAB)
    uint64_t seed;
    ad_engine *engine;    // NULL: one of its own
    ad_type type;         // densities are computed in
} optim_annealing_options;
typedef struct optim_annealed {
    int64_t chains;
    double *x;           // [chains][elements of a row]
    double *log_weight;  // [chains], before normalisation: their mean exponential estimates the integral of where chains go
    double *weight;      // [chains], of mean 1
    double acceptance;   // of the last run
} optim_annealed;

typedef struct optim_annealer optim_annealer;
// Chains from the model's draws by way of powers in between (Neal 2001), as FAB trains flows (Midgley et al. 2023). The
// model takes no context. Borrows model and target; the parameters are read at each run. options may be NULL.
AD_API optim_annealer *optim_annealer_new(const flow_model *model, const optim_target *target,
                                          const optim_annealing_options *options, ad_error *error);
AD_API void optim_annealer_free(optim_annealer *annealer);
// New chains, of draws number step. Proposals where the densities are not finite are refused; AD_ENONFINITE when no
// chain has a weight above 0.
AD_API ad_status optim_annealer_run(optim_annealer *annealer, uint64_t step, ad_error *error);
// What the last run gave: borrowed, written anew by the next. - mean of weight log q over these rows is FAB's loss.
AD_API const optim_annealed *optim_annealer_result(const optim_annealer *annealer);

// ---- maximum likelihood -------------------------------------------------------------------------------------------

typedef struct optim_progress {
    int64_t step, steps;  // done, and to do
    double loss;          // mean negative log-likelihood of the batch, nats
    double validation;    // newest one; NaN before the first
    double grad_norm, lr;
    double rows_per_second, seconds;  // since the start
    bool validated;                   // validation is of this step
    const char *trouble;              // what went wrong in this step and was mended, or could not be written; or NULL
} optim_progress;

// What keeps a run from harm, and tells of it. All of it may be left out.
typedef struct optim_care {
    optim_guard guard;         // its options
    const char *checkpoint;    // path of checkpoints: a run that finds some goes on from the newest whole one; NULL: none
    int64_t checkpoint_every;  // steps; 0: steps / 20, at least 1
    int keep;                  // checkpoints kept; 0: 2
    const char *log;           // JSON lines; NULL: none
    const char *events;        // folder, which is there, of TensorBoard's event files; NULL: none
    int64_t log_every;         // steps; 0: steps / 2000, at least 1; validations and troubles are always logged
    bool signals;              // SIGINT and SIGTERM end the run after the step under way, as progress would
} optim_care;

typedef struct optim_fit_options {
    int64_t steps;  // 0: 2000
    int64_t batch;  // rows a step; 0: 256; at most the rows there are
    double lr;      // 0: 1e-3
    optim_schedule schedule;
    int64_t warm_up;              // steps; 0: none
    double last_lr;               // of the cosine, as a share of lr; 0: 0
    optim_options optimizer;      // max_norm 0: 10 here; negative: no clipping
    int64_t accumulate;           // batches whose mean gradient makes a step; 0: 1
    double noise;                 // standard deviation of normal noise added to rows, anew at each step; none is in validation.
                                  // What is learnt is the density of the sum: smoother, and rows not by heart. 0: none
    double average;               // decay of a moving average of the parameters, which is what is validated and kept; 0: none
    const flow_rows *validation;  // NULL: none, and the last parameters are kept
    int64_t validate_every;       // steps; 0: steps / 20, at least 1
    int64_t patience;             // validations in a row without a better one that end the fit; 0: none do
    bool plateau;                 // the rate is lowered when validation stops falling, as lower says
    optim_plateau lower;          // its options
    optim_care care;              // guards, checkpoints, logs
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
    bool stopped;         // by progress or by a signal
    int signal;           // its number, or 0
    int64_t resumed;      // the step it went on from; 0: from the start
    int64_t skipped;      // steps that went wrong
    int64_t rolled_back;  // times the last good state was taken again
} optim_fit_result;

// Fits the model's parameters to rows by maximum likelihood with an optimizer (Adam by default): batches in a new random
// order each pass, read in place; the parameters with the best validation are those the model has at the end. Rows with
// weights count by them: loss and validation are weighted means, and the loss of a batch is divided by the mean weight of
// all rows, which keeps its gradient unbiased. Layers that draw noise draw it anew at each step, and the same at each
// validation (flow_set_step, at 0 in the end). Calls no data-dependent initialisation: see flow_init_from_data. options and
// result may be NULL. The same seed gives the same bits for any number of threads, and, with checkpoints, however often the
// run is killed and started again. A step whose loss or gradient is not finite is skipped, and so on as the guard says;
// when that gives up, AD_ENONFINITE, with a message that names the place; the model then has its best parameters so far,
// or, without validation, the last good ones. Checkpoints and logs that cannot be written do not end a run: progress tells
// of them; those of another run do (AD_EFORMAT). Borrows everything until it returns.
AD_API ad_status optim_fit(flow_model *model, const flow_rows *rows, const optim_fit_options *options,
                           optim_fit_result *result, ad_error *error);

// Mean log-density of rows under the model, weighted where they are, and its standard error (NULL: not wanted), computed
// in batches of batch rows (0: 4096) on engine (NULL: one of its own), in the type of the model's parameters, and summed
// in f64.
AD_API ad_status optim_mean_log_prob(const flow_model *model, const flow_rows *rows, int64_t batch, ad_engine *engine,
                                     double *mean, double *standard_error, ad_error *error);

// A test score, in nats a row and in bits per dimension: what the model needs to code a value, known to within bin.
typedef struct optim_score_options {
    double bin;         // how far apart the values of a feature are, in the units of rows; 0: 1, as whole numbers
    int64_t batch;      // these as optim_mean_log_prob
    ad_engine *engine;
} optim_score_options;
typedef struct optim_score {
    double log_prob, log_prob_error;  // mean log-density of the rows, nats, and its standard error
    double bits, bits_error;          // -log_prob / (D ln 2) - log2(bin), D elements a row, and its standard error
    int64_t n;                        // rows scored, those of weight 0 left out
} optim_score;
// By the convention of uniform dequantisation (Theis et al. 2016): with noise of [0, bin) added to values that lie bin
// apart, bits is on average an upper bound of -log2 P(x) / D. Noise is the model's (flow_dequantise in front, which takes
// whole numbers: bin 1; its step being that of flow_set_step) or has been added to the rows: bytes as (x + u) / 256 have
// bin 1 / 256, which makes the 8 bits of the usual formula. Of a model on log-odds of those, which are no layer of it, add
// the mean log-determinant of that map to log_prob. options may be NULL. AD_EARG where bin is not above 0.
AD_API ad_status optim_test_score(const flow_model *model, const flow_rows *rows, const optim_score_options *options,
                                  optim_score *score, ad_error *error);

// ---- logs ---------------------------------------------------------------------------------------------------------

typedef struct optim_log optim_log;
typedef struct optim_log_info {
    const char *run;          // what runs: "fit"
    uint64_t seed;
    int64_t params;           // trainable elements
    int threads;
    const char *data;         // fingerprint of the data, or NULL
    const char *model;        // flow_describe's text, or NULL
} optim_log_info;
// A file of JSON lines, new or added to. Every line is written out at once. What is not finite is null.
AD_API optim_log *optim_log_open(const char *path, bool append, ad_error *error);
AD_API void optim_log_close(optim_log *log);
// {"pullback": version, "run": ..., "seed": ..., "params": ..., "cpu": kernels, "threads": ..., "data": ..., "model": ...}.
AD_API ad_status optim_log_header(optim_log *log, const optim_log_info *info, ad_error *error);
// {"step": ..., "loss": ..., "grad_norm": ..., "lr": ..., "rows_per_second": ..., "seconds": ...}, and "validation" and
// "trouble" where there are.
AD_API ad_status optim_log_progress(optim_log *log, const optim_progress *progress, ad_error *error);
// A line of one's own.
AD_API ad_status optim_log_line(optim_log *log, const char *json, ad_error *error);

typedef struct optim_events optim_events;
// A new event file for TensorBoard in a folder, which is there.
AD_API optim_events *optim_events_open(const char *folder, ad_error *error);
AD_API void optim_events_close(optim_events *events);
AD_API ad_status optim_events_scalar(optim_events *events, const char *tag, int64_t step, double value, ad_error *error);

// A layer to start from, for targets whose parameters differ in scale or hang together: z = W (v - mode), where v are
// the latent features of layer (natural parameters being on its data side: see flows_data.h), mode is the
// highest point of the target's density there, found by L-BFGS from v = 0, and W^T W the curvature of its logarithm at
// it, made positive definite by adding to the diagonal where it is not (Laplace's approximation, when a standard normal
// follows). A flow_dense_linear in double whose parameters are frozen; owned by the caller. layer is borrowed, takes no
// context. NULL with *error filled in (AD_ENONFINITE) when the density is not finite at v = 0.
AD_API flow_layer *optim_laplace(const flow_layer *layer, const optim_target *target, ad_error *error);

// ---- fitting to a target --------------------------------------------------------------------------------------------

// Draws of a model with their weights, for importance sampling: see optim_importance_of and optim_expectation.
typedef struct optim_drawing {
    int64_t n;           // draws
    double *x;           // [n][elements of a row], or NULL
    double *log_weight;  // [n], log p~ - log q, or NULL
    uint64_t seed;
    int64_t batch;      // draws at a time; 0: 4096. The draws do not depend on it
    ad_engine *engine;  // NULL: one of its own
} optim_drawing;
// Fills x and log_weight, computed in the type of the model's parameters (without any in double). target may be NULL
// without log_weight. The model takes no context.
AD_API ad_status optim_draws(const flow_model *model, const optim_target *target, const optim_drawing *drawing,
                             ad_error *error);

typedef enum optim_divergence {
    OPTIM_PATH_KL = 0,      // the losses above: optim_path_kl,
    OPTIM_REVERSE_KL,       // optim_reverse_kl: half the cost where normalize is slow, and noisier
    OPTIM_ALPHA,            // optim_alpha_divergence
    OPTIM_FORWARD_KL,       // optim_forward_kl
    OPTIM_FORWARD_PATH_KL,  // optim_forward_path_kl
    OPTIM_ANNEALED          // weighted chains of an optim_annealer (FAB): the one that looks for modes itself
} optim_divergence;

typedef struct optim_target_options {
    // Steps (0: 5000), batch (draws a step), lr, schedule, optimizer, accumulate, average, validate_every, patience, plateau, care,
    // seed, engine, type, progress: as for optim_fit, whose loss is here that of the divergence, and whose validation is minus
    // the ELBO on one set of draws. fit.validation is not used.
    optim_fit_options fit;
    optim_divergence divergence;
    double alpha;                       // of OPTIM_ALPHA
    optim_annealing_options annealing;  // of OPTIM_ANNEALED; its chains (0: fit.batch), seed, engine and type are set here
    double beta, beta_share;   // beta rises from beta (0: 1) to 1 in a straight line, over this share of the steps (0: 0.5)
    const flow_rows *data;     // also rows to learn from: data_weight (0: 1) times their negative log-likelihood is added,
    double data_weight;
    int64_t data_batch;        // of so many of them a step (0: 256)
    int64_t validation_draws;  // 0: 2048
    bool keep_last;            // no validation: the last parameters are kept, not those of the best ELBO (which may leave out
                               // modes)
    int64_t report_draws;      // fresh ones, for the report at the end; 0: 10,000
} optim_target_options;

typedef struct optim_target_result {
    optim_fit_result fit;
    double elbo;              // of the parameters kept, on the draws of validations; NaN when there was none
    optim_importance report;  // of the parameters kept, on fresh draws; n = 0 when the fit failed
} optim_target_result;

// Fits the model's parameters to a target by its own draws, anew at each step: the parameters with the best evidence
// lower bound (mean of log p~ - log q; scored once beta is 1) are those the model has at the end. The report says how
// far to trust them: an ELBO below log_z by much, an ess near 0 or a pareto_k above 0.7 tell of a bad fit; but modes
// that no draw ever found show in none of these. Steps that are not finite, guards, checkpoints, logs and bits as with
// optim_fit. options and result may be NULL. Borrows everything until it returns.
AD_API ad_status optim_fit_target(flow_model *model, const optim_target *target, const optim_target_options *options,
                                  optim_target_result *result, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
