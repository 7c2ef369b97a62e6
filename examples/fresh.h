// fresh.h -- models of the plane fitted to a density by points that are drawn anew at each step, and judged by it.
#ifndef EXAMPLES_FRESH_H
#define EXAMPLES_FRESH_H

#include "data.h"
#include "flows.h"
#include "optim.h"

typedef struct fresh_options {
    int64_t steps, batch, seed;
    double lr, average;  // falls to 0 as half a cosine; decay of the moving average of weights that is kept, or 0
    ad_engine *engine;
    const char *name;  // in progress; NULL: the density's
    bool quiet;        // no progress on stderr
    // Called after at most so many steps, often at first, when much changes; number counts from 1. Sees the weights as
    // they are, not their average. Anything but AD_OK ends the fit.
    int64_t frames;
    ad_status (*frame)(void *arg, int64_t number, int64_t step, ad_error *error);
    void *frame_arg;
} fresh_options;

// The density of the plane of that name, to draw points from and to judge by; NULL with a message.
const data_density *fresh_density(const char *name, ad_error *error);

// Fits by maximum likelihood with Adam.
ad_status fresh_fit(flow_model *model, const data_density *density, const fresh_options *options,
                    optim_fit_result *result, ad_error *error);

typedef struct fresh_judgement {
    int64_t points;
    double nll, nll_error;  // mean negative log-likelihood of points not seen in training, and its standard error: nats
    double gap;             // what it is above the density's entropy, an estimate of the KL divergence; error as nll's
    double kl, kl_error;  // the same divergence by the mean of log(density / model) at a fifth of them: it varies less
    double round_trip;    // the largest |x - generate(normalize(x))| of these
} fresh_judgement;

// Scores the model with so many points of the density.
ad_status fresh_judge(const flow_model *model, const data_density *density, ad_engine *engine, int64_t points,
                      int64_t seed, fresh_judgement *judgement, ad_error *error);
// The integral of the model's density over a grid that holds the density's points, with as much room at each side as
// half their extent: 1, but for the grid's fineness.
ad_status fresh_integral(const flow_model *model, const data_density *density, double *integral, ad_error *error);

#endif
