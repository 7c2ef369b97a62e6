// regression.h -- a regression problem with fixed splits into training and test rows, and the baseline on it.
#ifndef EXAMPLES_REGRESSION_H
#define EXAMPLES_REGRESSION_H

#include "data.h"

typedef struct regression {
    data_table *x, *y;   // [n][C] and [n][1], in double
    double *truth;       // [n] log-density of y given x, where it is known; else NULL
    const char *folder;  // of its splits; NULL: it makes its one split itself
    int64_t splits;
} regression;

// Reads a folder as Hernandez-Lobato and Adams (2015) lay them out: data.txt, index_features.txt and index_target.txt
// (columns, from 0), and splits index_train_K.txt and index_test_K.txt (rows, from 0), these in their own folder where
// splits is not NULL. folder NULL: 3,000 rows with y = +-(1 + sin x) / 2 + 0.05 (1 + |x|) e, both signs alike, x
// uniform in (-3, 3).
ad_status regression_open(regression *r, const char *folder, const char *splits, ad_error *error);
void regression_close(regression *r);
// Split k: training and test rows; valid is empty. Free with data_split_free.
data_split *regression_split(const regression *r, int64_t k, ad_error *error);
// x with each column of mean 0 and deviation 1 over the training rows, f32. A constant column is 0.
data_table *regression_inputs(const regression *r, const data_split *s, ad_error *error);
// Mean log-density of the test rows under the Gaussian whose mean is linear in inputs, least squares on the training
// rows, with their residual's variance.
double regression_linear(const regression *r, const data_table *inputs, const data_split *s);

#endif
