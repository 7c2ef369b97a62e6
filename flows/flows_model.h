// flows_model.h -- models, and what is asked of them: log-densities, samples, tensors, files.
#ifndef PULLBACK_FLOWS_MODEL_H
#define PULLBACK_FLOWS_MODEL_H

#include "ad.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flow_layer flow_layer;
typedef struct flow_net flow_net;
typedef struct flow_base flow_base;
typedef struct flow_model flow_model;

// What a layer gives: value, and log|det d value / d input| of the direction taken.
typedef struct flow_result {
    ad_var value, log_det;
} flow_result;

// What a layer or transformer tells of itself to flow_report.
typedef struct flow_gauges {
    ad_var saturation;  // of numbers kept within a bound: how near each is to it, 0 to 1, in any shape; AD_NONE: has none
    ad_var tails;       // 1 where an input lies outside of where the map is learned (a spline's box), else 0; AD_NONE
} flow_gauges;

// What flow_sample_and_log_prob gives.
typedef struct flow_draw {
    ad_var value, log_prob;
} flow_draw;

// A model: the density of x such that layer's normalize(x) follows base. Owns both from now on, on failure too (they
// are then freed). Fails (NULL) when their shapes do not fit, or when either is NULL: *error is then left as the
// constructor that failed filled it in.
AD_API flow_model *flow_model_new(flow_layer *layer, flow_base *base, ad_error *error);
AD_API void flow_model_free(flow_model *model);

// Features of a row of x; context features (0: none); borrowed layer and base.
AD_API ad_shape flow_model_shape(const flow_model *model);
AD_API int64_t flow_model_context(const flow_model *model);
AD_API flow_layer *flow_model_layer(const flow_model *model);
AD_API flow_base *flow_model_base(const flow_model *model);
// The model with its context through a net (flow_mlp, flow_residual_net, one of one's own): it then takes a context of net's
// inputs, and its layers and base density see net's outputs, as many as they take. The net is trained, saved and loaded with
// the model; its tensors are "embed....". Owns both, on failure too, and gives the same model back; of NULL, NULL with *error
// left alone. Fails where shapes do not fit, without a context, and when there is such a net already.
AD_API flow_model *flow_embed(flow_model *model, flow_net *net, ad_error *error);

// Log-density of each row of x under the model, shape [] per row.
// x: [D] per row; context: [C] per row, or AD_NONE. Borrows both. Differentiable in x, context and parameters.
// log_det and base density are summed in f64 and rounded once. Fails on the tape (AD_ESHAPE) when D or C are not the
// model's.
AD_API ad_var flow_log_prob(const flow_model *model, ad_var x, ad_var context);
// z and log|det dz/dx|; x and log|det dx/dz|. Shapes and failure as flow_log_prob; log_det [] per row.
AD_API flow_result flow_normalize(const flow_model *model, ad_var x, ad_var context);
AD_API flow_result flow_generate(const flow_model *model, ad_var z, ad_var context);
// Samples, [D] per row of rows. random is borrowed until the run ends: the same seed, step and stream give the same
// rows. stream is below 2^24: base densities that need several streams take the higher numbers.
AD_API ad_var flow_sample(const flow_model *model, ad_rows rows, const ad_random *random, uint32_t stream,
                          ad_var context);
// Samples at temperature T: of the base density to the power 1/T^2 (Kingma and Dhariwal 2018, section 6.1; see
// flow_temper), through the layers. Fails on the tape (AD_EARG) where flow_temper would.
AD_API ad_var flow_sample_tempered(const flow_model *model, double T, ad_rows rows, const ad_random *random,
                                   uint32_t stream, ad_var context);
// Samples and their log-density ([] per row) in one pass through the layers.
AD_API flow_draw flow_sample_and_log_prob(const flow_model *model, ad_rows rows, const ad_random *random,
                                          uint32_t stream, ad_var context);

// A tensor of a model under the name it has in files ("flow.1.net.W0"): param or state, the other is NULL.
typedef struct flow_tensor {
    const char *name;
    ad_param *param;
    ad_state *state;
} flow_tensor;
// All trainable tensors, in a fixed order; *n their number. Borrowed from the model, in its lifetime.
AD_API ad_param *const *flow_params(const flow_model *model, int *n);
// All tensors, saved states among them.
AD_API const flow_tensor *flow_tensors(const flow_model *model, int *n);
// Number of trainable elements.
AD_API int64_t flow_param_count(const flow_model *model);

// Rows to learn from or to score. x: all rows there are; context: that of each, or data NULL. index (say, a
// data_split's) picks n of them; NULL: all of x.count. weight: a number of each row, finite and not negative, that says how
// often it counts; data NULL: 1 each. A row of weight 0 is as if it were not there. x.index, context.index and weight.index
// must be NULL. Borrows everything.
typedef struct flow_rows {
    ad_source x, context;
    const int64_t *index;
    int64_t n;
    ad_source weight;
} flow_rows;

// For those who write loops of their own: the rows checked against a model, and those of weight 0 left out.
typedef struct flow_used_rows {
    flow_rows rows;  // index NULL: all rows of x
    int64_t n;       // how many they are, at least 1
    double weight;   // their mean weight
    int64_t *owned;  // rows.index where it is a new one, else NULL
} flow_used_rows;
AD_API ad_status flow_use_rows(flow_used_rows *used, const flow_model *model, const flow_rows *rows, ad_error *error);
AD_API void flow_used_rows_free(flow_used_rows *used);  // safe after failure, too

// Data-dependent initialisation: each layer that has one, in order, sees the rows as the layers before it leave them, all of
// one weight but for those of weight 0.
// Done once: layers already initialised (also by flow_load) stay as they are. Fails on a non-finite value or a constant
// feature, naming row and feature; layers before the one that fails are then initialised.
AD_API ad_status flow_init_from_data(flow_model *model, const flow_rows *rows, ad_error *error);

// Sets the step of the random numbers that layers draw by themselves (flow_dequantise), from the next run on; 0 in a new or
// loaded model. The same step gives a row the same noise, in whatever batch: in training, each step is to have its own.
AD_API void flow_set_step(flow_model *model, uint64_t step);

// Writes the model, atomically, as a safetensors file: tensors by name, the model's own description in the metadata.
AD_API ad_status flow_save(const flow_model *model, const char *path, ad_error *error);

typedef struct flow_layer_type flow_layer_type;
typedef struct flow_transformer_type flow_transformer_type;
typedef struct flow_net_type flow_net_type;
typedef struct flow_base_type flow_base_type;
typedef struct flow_load_options {  // each beside the library's own, ended by NULL; or NULL
    const flow_layer_type *const *types;
    const flow_transformer_type *const *transformers;
    const flow_net_type *const *nets;
    const flow_base_type *const *bases;
} flow_load_options;
// The model of a file, rebuilt from its own description. options may be NULL. NULL, and nothing kept, when the file
// cannot be read, is of an unknown version, names an unknown layer, lacks a tensor, or has one of another shape or
// type.
AD_API flow_model *flow_load(const char *path, const flow_load_options *options, ad_error *error);
// Texts that a model carries and files keep: names of columns, where its data came from. key: 1 to 200 bytes; both UTF-8 and
// copied. flow_note: the text (borrowed until it is set anew), or NULL.
AD_API ad_status flow_set_note(flow_model *model, const char *key, const char *text, ad_error *error);
AD_API const char *flow_note(const flow_model *model, const char *key);
// All of them, numbered from 0: text and *key; NULL beyond the last.
AD_API const char *flow_note_number(const flow_model *model, int i, const char **key);
// The model as JSON text, as stored in files. Caller frees with free(). NULL when out of memory.
AD_API char *flow_describe(const flow_model *model);

#ifdef __cplusplus
}
#endif
#endif
