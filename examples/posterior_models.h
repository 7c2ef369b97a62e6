// posterior_models.h -- Bayesian models: log-densities of their natural parameters written in ops, with their data.
#ifndef EXAMPLES_POSTERIOR_MODELS_H
#define EXAMPLES_POSTERIOR_MODELS_H

#include <stdio.h>

#include "flows.h"
#include "optim.h"

enum { POSTERIOR_NAMES = 64 };

typedef struct posterior {
    const char *name;
    int64_t N, K;   // observations; predictors, or steps back
    double *y, *X;  // [N]; [N][K]
    double first;   // of garch: the first deviation
    optim_target target;
    flow_layer *natural;  // from free numbers to natural parameters; owned until a model takes it over
    // What is compared with others' draws: n numbers of natural parameters x; their names.
    int64_t n;
    char names[POSTERIOR_NAMES][24];
    void (*quantities)(const struct posterior *p, const double *x, double *out);
} posterior;

// The model of that name, with data from file (NULL: its own, which only eight_schools has). Close also after failure.
ad_status posterior_open(posterior *p, const char *name, const char *file, ad_error *error);
void posterior_close(posterior *p);
// Names of all, for --help.
extern const char posterior_list[];

// ---- posterior_read.c -----------------------------------------------------------------------------------------------

// Each fills in N, K, y and X (and first) from a file.
ad_status posterior_read_kidiq(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_nes(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_mesquite(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_blr(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_ark(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_garch(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_mixture(posterior *p, const char *file, ad_error *error);
ad_status posterior_read_logistic(posterior *p, const char *file, ad_error *error);

// ---- posterior_data.c --------------------------------------------------------------------------------------------

// A variable of a file of posteriordb's, one a line: "NAME RANK SIZES... : NUMBERS", plain or gzip. Numbers [*n] to be
// freed by the caller, or NULL.
double *posterior_read(const char *file, const char *variable, int64_t *n, ad_error *error);

// ---- posterior_compare.c --------------------------------------------------------------------------------------------

typedef struct posterior_comparison {
    const char *reference;       // summary of others: lines "NAME,MEAN,SD,..."; NULL: none
    const char *picture, *show;  // corner plot, of the quantities named (NULL: a few); NULL: none
    const char *draws;           // others' draws, a table with a header, for the picture; NULL: none
    int64_t n;                   // draws to take
    uint64_t seed;
    ad_engine *engine;
} posterior_comparison;
// Prints a line for each quantity; and how far means and sds are from the reference's at most, in its sds and as
// logarithms.
ad_status posterior_compare(const posterior *p, const flow_model *model, const posterior_comparison *with,
                            ad_error *error);

// ---- posterior_picture.c --------------------------------------------------------------------------------------------

// Draws a corner plot of q [p->n][with->n], quantity by quantity.
ad_status posterior_picture(const posterior *p, const double *q, const posterior_comparison *with, ad_error *error);

#endif
