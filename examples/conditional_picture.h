// conditional_picture.h -- what a mean of conditional flows says of rows, and pictures of it.
#ifndef EXAMPLES_CONDITIONAL_PICTURE_H
#define EXAMPLES_CONDITIONAL_PICTURE_H

#include "flows.h"
#include "regression.h"

enum { CONDITIONAL_MEMBERS = 32 };

// Log-density of n of the rows, in f64.
ad_status conditional_log_prob(const flow_model *model, const flow_rows *all, const int64_t *index, int64_t n,
                               double *log_p, ad_error *error);
// One input: the test rows, and p(y | x) where they lie. More: how often draws of y given x are below the y of a test
// row, which is uniform where p is right.
ad_status conditional_draw(const char *file, flow_model *const *models, int64_t M, const regression *r,
                           const data_split *s, const data_table *inputs, ad_error *error);

#endif
