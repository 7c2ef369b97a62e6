// base.h -- what base densities of independent features share: a standard density moved and scaled, feature by feature.
#ifndef FLOWS_BASE_H
#define FLOWS_BASE_H

#include "internal.h"

// Where location and scale come from.
typedef enum flow_place { FLOW_PLACE_FIXED, FLOW_PLACE_LEARNED, FLOW_PLACE_CLASSES, FLOW_PLACE_NET } flow_place;

typedef struct flow_scaled flow_scaled;

// The family of a type, the standard density of one feature: log-density of u [D], and [D] of its samples per row.
typedef struct flow_family {
    ad_var (*log_density)(const flow_scaled *scaled, ad_var u);
    ad_var (*draw)(const flow_scaled *scaled, ad_rows rows, const ad_random *random, uint32_t stream);
} flow_family;

struct flow_scaled {
    flow_base base;
    const flow_family *family;
    flow_place place;
    double bound;      // of the log-scale
    ad_param *values;  // learned: [2,D], of classes: [2 D,C]; location first, raw log-scale second
    flow_net *net;     // [C] -> [2 D], a part
    ad_type type;
};

// Zeroed beyond flow_scaled, size bytes; or NULL. Owns options->net, on failure too.
void *flow_scaled_new(const flow_base_type *type, size_t size, int64_t D, int64_t C, const flow_scaled_options *options,
                      ad_error *error);
// The calls of such a type.
ad_var flow_scaled_log_prob(const flow_base *base, ad_var z, ad_var context);
ad_var flow_scaled_sample(const flow_base *base, ad_rows rows, const ad_random *random, uint32_t stream,
                          ad_var context);
ad_var flow_scaled_center(const flow_base *base, ad_tape *tape, ad_var context);
json_t *flow_scaled_describe(const flow_base *base);
// What flow_scaled_describe wrote; tensors are taken from making. false with a message; nothing to free then.
bool flow_scaled_read(const json_t *options, const flow_making *making, int64_t *D, int64_t *C,
                      flow_scaled_options *scaled, ad_error *error);
// Options of configuration i for the law tests, with its D and C.
flow_scaled_options flow_scaled_example_options(int i, int64_t *D, int64_t *C);
// The rest of them, where it has no options of its own.
flow_base *flow_scaled_make(const flow_base_type *type, const json_t *options, const flow_making *making,
                            ad_error *error);
flow_base *flow_scaled_example(const flow_base_type *type, int i, ad_error *error);
#define FLOW_SCALED_CALLS                                                                             \
    .log_prob = flow_scaled_log_prob, .sample = flow_scaled_sample, .describe = flow_scaled_describe, \
    .make = flow_scaled_make, .example = flow_scaled_example

// The bound of options: 0: 10. NAN and a message when it is not positive and finite.
double flow_scale_bound(const char *who, double bound, ad_error *error);
// The number of a second, third, ... independent stream of random numbers of a caller's.
static inline uint32_t flow_stream(uint32_t stream, uint32_t i) {
    return stream + (i << 24);
}

#endif
