// flows_check.h -- whether layers and models are right: laws, reports, integrals, where NaN comes from.
#ifndef PULLBACK_FLOWS_CHECK_H
#define PULLBACK_FLOWS_CHECK_H

#include "flows_model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_check_options {
    int rows;          // points in a batch; 0: 7
    int cases;         // random parameter values, contexts and points; 0: 3
    double spread;     // standard deviation of the points; 0: 1
    double perturb;    // of the noise added to parameters for each case, so that no layer is checked only where it
                       // starts, as the identity; 0: 0.3; negative: none. The layer is as before afterwards.
    double tolerance;  // relative, times the condition number where an inverse is involved; 0: 1e-9
    uint64_t seed;
    bool brief;                     // only what is looked at in every case
    const char *path;               // flow_check_model's alone: a file to write, read back and remove; NULL: none
    const flow_load_options *load;  // types of one's own that it has inside; its own, and a chain's layers', need no mention
} flow_check_options;

// Tests a layer in f64: finite values; round trip both ways; the structure that its jacobian declares, and log_det of
// both directions, against the autodiff Jacobian; gradients in x, context and each parameter against differences; rows
// computed alone equal to rows in a batch, bit for bit; context really used; a second run with the same bits, and no state
// changed. Then, unless brief, once: the same bits on two threads, and from a layer made again from its description; f32
// against f64, as far as the measured conditioning allows; no NaN from inputs that are tiny, huge or on the edge of where
// they may lie, nor in gradients there. (A discrete layer at whole numbers, its generate only as far as it undoes
// normalize.) AD_OK, or a message that says in words what is wrong, where, and both values.
AD_API ad_status flow_check(flow_layer *layer, const flow_check_options *options, ad_error *error);
// The model's layer as above; its base density: samples that are finite, within its bounds and of its support, the same
// again and alone, context used, made again from its description; then log_prob against the base density of z plus log_det,
// and flow_sample_and_log_prob against flow_log_prob of the same samples; with a path, the same bits from a file.
AD_API ad_status flow_check_model(flow_model *model, const flow_check_options *options, ad_error *error);

// How a layer, or a whole model, fares on some rows. NAN: does not apply.
typedef struct flow_fare {
    const char *name;            // of the layer's type
    double log_det, log_det_sd;  // of normalize: mean over rows, and standard deviation
    double share;                // of the mean in the sum of all layers' means, all taken as sizes
    double saturation;           // share of numbers kept within a bound that are beyond 0.95 of it
    double tails;                // share of inputs outside of where the map is learned
    double condition;            // of the Jacobian, the largest of some rows, in the infinity norm
    double round_trip;           // the largest |generate(normalize(x)) - x| / (1 + |x|); infinite when generate fails
} flow_fare;
typedef struct flow_health {
    int64_t rows;
    int n;
    flow_fare *layers;  // [n], in the order of normalize; of a model that is no chain, the one
    flow_fare whole;    // from data to latents
    double log_prob, log_prob_sd;
} flow_health;

typedef struct flow_report_options {
    int64_t rows;       // at most so many of those given; 0: 1000
    int jacobian_rows;  // of which the Jacobian is looked at, up to 64 features; 0: 8; negative: none
} flow_report_options;
// What each layer does with the rows: its part in log_det, what is at its bounds or in tails, its conditioning and round
// trip. Computed in the type of the parameters, as training does; Jacobians in f64. options may be NULL. NULL with a message
// when it cannot be computed. Free with flow_health_free.
AD_API flow_health *flow_report(const flow_model *model, const flow_rows *rows, const flow_report_options *options,
                                ad_error *error);
AD_API void flow_health_free(flow_health *health);
// The same as a table. Caller frees with free(). NULL when out of memory.
AD_API char *flow_health_text(const flow_health *health);

typedef struct flow_integral_options {
    const double *low, *high;  // [D] the box; NULL: a wide one around samples of the model
    const double *context;     // [C]; NULL: zeros
    int points;                // of the grid along each feature; 0: 20001 of one feature, 801 of two
    double tolerance;          // 0: 1e-3
    uint64_t seed;             // of the samples
} flow_integral_options;
// Whether the model's density, of one or two features, integrates to one: by trapezoids (midpoints in a box that data cannot
// leave), in f64. *integral (may be NULL): what it came to. AD_OK, or AD_EARG with a message that says whether the grid, the
// box or the density is at fault. options may be NULL.
AD_API ad_status flow_check_integral(const flow_model *model, const flow_integral_options *options, double *integral,
                                     ad_error *error);

// Says where a log-density that is not finite comes from: a tensor, a row of the data, or the first layer that makes
// it, by name and row. AD_ENONFINITE with a message, or AD_OK ("every value is finite" in the message). error must not
// be NULL.
AD_API ad_status flow_find_nonfinite(const flow_model *model, const flow_rows *rows, ad_error *error);

#ifdef __cplusplus
}
#endif
#endif
