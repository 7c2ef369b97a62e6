// points.h -- points of the plane in three parts: to train on, to validate with, to test with.
#ifndef EXAMPLES_POINTS_H
#define EXAMPLES_POINTS_H

#include "data.h"
#include "flows.h"

typedef struct points {
    data_table *table;
    int64_t *order;  // row numbers: training, validation, test
    int64_t n_train, n_valid, n_test;
} points;

// Draws two moons: as many points to train with and to test with as asked, and 10,000 for validation.
ad_status points_of_moons(points *p, int64_t n_train, int64_t n_test, uint64_t seed, ad_error *error);
// Reads a file of two columns. Of its rows, taken at random, eight tenths are for training, one each for validation and
// test; all are for testing when test_only.
ad_status points_of_file(points *p, const char *file, bool test_only, uint64_t seed, ad_error *error);
void points_free(points *p);

flow_rows points_train(const points *p);
flow_rows points_valid(const points *p);
// A copy of the test points, [n_test][2]: the caller frees it. NULL when out of memory.
double *points_test(const points *p);

// A model of points of the plane, from a file; NULL on error.
flow_model *points_model(const char *file, ad_error *error);
// Log-density of each of xy[n][2] under the model, computed in f64.
ad_status points_score(const flow_model *model, ad_engine *engine, const double *xy, int64_t n, double *log_p,
                       ad_error *error);
// The same of a known density of the plane, normalised.
ad_status points_truth(const data_density *density, ad_engine *engine, const double *xy, int64_t n, double *log_p,
                       ad_error *error);
// Mean of -log_p, and its standard error.
void points_average(const double *log_p, int64_t n, double *nll, double *standard_error);
// n samples of the model.
ad_status points_sample(const flow_model *model, ad_engine *engine, uint64_t seed, int64_t n, double *xy,
                        ad_error *error);
// The points x[n][2] that z[n][2] of the latent side become, computed in f64.
ad_status points_generate(const flow_model *model, ad_engine *engine, const double *z, int64_t n, double *x,
                          ad_error *error);
// The largest |x - generate(normalize(x))| of xy[n][2], computed in f64.
ad_status points_round_trip(const flow_model *model, ad_engine *engine, const double *xy, int64_t n, double *largest,
                            ad_error *error);

#endif
