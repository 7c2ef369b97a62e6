// describe.c -- objects to JSON and back: the one list of types, and readers of options.
#include <string.h>

#include "internal.h"

// The registry: a new type is one line here and one in internal.h.
static const flow_layer_type *const layer_types[] = {&flow_coupling_type, &flow_permutation_type,
                                                     &flow_standardise_type, &flow_chain_type,
                                                     &flow_lu_linear_type, &flow_plu_linear_type, &flow_planar_type,
                                                     &flow_block_naf_type,
                                                     &flow_autoregressive_type, &flow_elementwise_type, &flow_inverse_type, &flow_split_type,
                                                     &flow_whiten_type, &flow_logit_type,
                                                     &flow_dequantise_type, &flow_clip_type,
                                                     &flow_dense_linear_type, &flow_diagonal_affine_type,
                                                     &flow_triangular_linear_type, &flow_householder_type,
                                                     &flow_qr_linear_type, &flow_svd_linear_type,
                                                     &flow_orthogonal_type, &flow_rotation_type,
                                                     &flow_plane_rotation_type, &flow_low_rank_linear_type,
                                                     &flow_rank_one_linear_type, &flow_kronecker_linear_type,
                                                     &flow_dct_type, &flow_bijector_type,
                                                     &flow_radial_type, &flow_sylvester_type,
                                                     &flow_actnorm_type, &flow_batch_norm_type,
                                                     &flow_simplex_type, &flow_ordered_type,
                                                     &flow_correlation_type,
                                                     &flow_coupling_pair_type, &flow_hint_type,
                                                     &flow_ladder_type, &flow_ranked_type,
                                                     &flow_leapfrog_type, NULL};
static const flow_net_type *const net_types[] = {&flow_made_type, &flow_mlp_type, &flow_residual_net_type, NULL};
static const flow_base_type *const base_types[] = {&flow_standard_normal_type, &flow_base_normal_type,
                                                   &flow_base_logistic_type, &flow_base_laplace_type,
                                                   &flow_base_gumbel_type, &flow_base_student_type,
                                                   &flow_base_full_type, &flow_base_pca_type,
                                                   &flow_base_mixture_type, &flow_base_uniform_type, &flow_base_box_type,
                                                   &flow_base_tempered_type, &flow_base_folded_type, NULL};

static const flow_transformer_type *const transformer_types[] = {
    &flow_additive_transformer_type, &flow_affine_transformer_type, &flow_spline_transformer_type,
    &flow_linear_spline_transformer_type, &flow_quadratic_spline_transformer_type,
    &flow_linear_rational_spline_transformer_type, &flow_cubic_spline_transformer_type,
    &flow_hermite_spline_transformer_type, &flow_circular_spline_transformer_type, &flow_sinusoid_transformer_type,
    &flow_bernstein_transformer_type, &flow_sum_of_squares_transformer_type, &flow_nonlinear_squared_transformer_type,
    &flow_bijector_transformer_type, &flow_incompressible_transformer_type,
    &flow_logistic_mixture_transformer_type, &flow_gaussianization_transformer_type, &flow_sigmoidal_transformer_type,
    &flow_umnn_transformer_type, &flow_monotone_net_transformer_type, &flow_dense_sigmoidal_transformer_type,
    &flow_censored_mixture_transformer_type, NULL};

const flow_transformer_type *const *flow_transformer_types(void) {
    return transformer_types;
}
flow_transformer *flow_example_transformer(int i, ad_error *error) {
    int n = 0;
    while (transformer_types[n]) n++;
    return transformer_types[i % n]->example(transformer_types[i % n], i / n, error);
}
const flow_layer_type *const *flow_layer_types(void) {
    return layer_types;
}
const flow_net_type *const *flow_net_types(void) {
    return net_types;
}
const flow_base_type *const *flow_base_types(void) {
    return base_types;
}

// ---- to JSON ------------------------------------------------------------------------------------------------------

static json_t *with_type(const char *name, json_t *options) {
    json_t *object = options ? json_pack("{s:s}", "type", name) : NULL;
    if (object && json_object_update(object, options) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(options);
    return object;
}

json_t *flow_describe_layer(const flow_layer *layer) {
    const flow_layer_type *type = layer->type;
    return with_type(type->name, type->derived ? flow_derived_describe(layer) : type->describe(layer));
}
json_t *flow_describe_transformer(const flow_transformer *transformer) {
    return with_type(transformer->type->name, transformer->type->describe(transformer));
}
json_t *flow_describe_net(const flow_net *net) {
    return with_type(net->type->name, net->type->describe(net));
}
json_t *flow_describe_base(const flow_base *base) {
    return with_type(base->type->name, base->type->describe(base));
}

json_t *flow_json_list(const int64_t *values, int64_t n) {
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++) {
        if (json_array_append_new(list, json_integer(values[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

json_t *flow_json_with(json_t *object, const char *key, json_t *value) {
    if (object && value && json_object_set_new(object, key, value) == 0) return object;
    if (!object) json_decref(value);  // json_object_set_new takes it over even when it fails
    json_decref(object);
    return NULL;
}

const char *flow_type_text(ad_type type) {
    return type == AD_F64 ? "f64" : "f32";
}

// ---- from JSON ----------------------------------------------------------------------------------------------------

bool flow_take_elements(const flow_making *making, int64_t n, ad_error *error) {
    if (!making || !making->elements) return true;
    if (n >= 0 && n <= *making->elements) {
        *making->elements -= n;
        return true;
    }
    ad_fail(error, AD_EFORMAT, "the model described has far more parameters than the file holds");
    return false;
}

static const char *type_of(const json_t *description) {
    const char *name = json_string_value(json_object_get(description, "type"));
    return name ? name : "";
}

static const flow_layer_type *find_layer(const flow_layer_type *const *types, const char *name) {
    for (; types && *types; types++) {
        if (strcmp((*types)->name, name) == 0) return *types;
    }
    return NULL;
}

flow_layer *flow_make_layer(const json_t *description, const flow_making *making, ad_error *error) {
    const char *name = type_of(description);
    const flow_layer_type *type = making ? find_layer(making->types, name) : NULL;
    if (!type) type = find_layer(layer_types, name);
    if (!type) {
        ad_fail(error, AD_EFORMAT, "unknown layer '%.64s': not one of the library's, nor of the types given", name);
        return NULL;
    }
    flow_layer *layer = type->derived ? flow_derived_make(type, description, making, error)
                                      : type->make(description, making, error);
    if (layer) layer->initialised = true;
    return layer;
}

static const flow_transformer_type *find_transformer(const flow_transformer_type *const *types, const char *name) {
    for (; types && *types; types++) {
        if (strcmp((*types)->name, name) == 0) return *types;
    }
    return NULL;
}

flow_transformer *flow_make_transformer(const json_t *description, const flow_making *making, ad_error *error) {
    const char *name = type_of(description);
    const flow_transformer_type *type = making ? find_transformer(making->transformers, name) : NULL;
    if (!type) type = find_transformer(transformer_types, name);
    if (type) return type->make(type, description, making, error);
    ad_fail(error, AD_EFORMAT, "unknown transformer '%.64s': not one of the library's, nor of the types given", name);
    return NULL;
}

static const flow_net_type *find_net(const flow_net_type *const *types, const char *name) {
    for (; types && *types; types++) {
        if (strcmp((*types)->name, name) == 0) return *types;
    }
    return NULL;
}

flow_net *flow_make_net(const json_t *description, const flow_making *making, ad_error *error) {
    const char *name = type_of(description);
    const flow_net_type *type = making ? find_net(making->nets, name) : NULL;
    if (!type) type = find_net(net_types, name);
    if (type) return type->make(description, making, error);
    ad_fail(error, AD_EFORMAT, "unknown net '%.64s': not one of the library's, nor of the types given", name);
    return NULL;
}

static const flow_base_type *find_base(const flow_base_type *const *types, const char *name) {
    for (; types && *types; types++) {
        if (strcmp((*types)->name, name) == 0) return *types;
    }
    return NULL;
}

flow_base *flow_make_base(const json_t *description, const flow_making *making, ad_error *error) {
    const char *name = type_of(description);
    const flow_base_type *type = making ? find_base(making->bases, name) : NULL;
    if (!type) type = find_base(base_types, name);
    if (type) return type->make(type, description, making, error);
    ad_fail(error, AD_EFORMAT, "unknown base density '%.64s': not one of the library's, nor of the types given", name);
    return NULL;
}

bool flow_json_int(const json_t *object, const char *key, int64_t low, int64_t high, int64_t *value, ad_error *error) {
    const json_t *member = json_object_get(object, key);
    *value = json_integer_value(member);
    if (json_is_integer(member) && *value >= low && *value <= high) return true;
    ad_fail(error, AD_EFORMAT, "%.64s: \"%s\" should be a whole number from %lld to %lld", type_of(object), key,
            (long long)low, (long long)high);
    return false;
}

bool flow_json_number(const json_t *object, const char *key, double *value, ad_error *error) {
    const json_t *member = json_object_get(object, key);
    *value = json_number_value(member);
    if (json_is_number(member)) return true;
    ad_fail(error, AD_EFORMAT, "%.64s: \"%s\" should be a number", type_of(object), key);
    return false;
}

bool flow_json_bool(const json_t *object, const char *key, bool *value, ad_error *error) {
    const json_t *member = json_object_get(object, key);
    *value = json_is_true(member);
    if (json_is_boolean(member)) return true;
    ad_fail(error, AD_EFORMAT, "%.64s: \"%s\" should be true or false", type_of(object), key);
    return false;
}

bool flow_json_choice(const json_t *object, const char *key, const char *const *texts, int n, int *value,
                      ad_error *error) {
    const char *text = json_string_value(json_object_get(object, key));
    for (*value = 0; text && *value < n; (*value)++) {
        if (strcmp(texts[*value], text) == 0) return true;
    }
    ad_fail(error, AD_EFORMAT, "%.64s: \"%s\" is '%.64s', not a value known here", type_of(object), key,
            text ? text : "");
    return false;
}

bool flow_json_type(const json_t *object, ad_type *type, ad_error *error) {
    static const char *const texts[] = {"f32", "f64"};
    int i;
    if (!flow_json_choice(object, "precision", texts, 2, &i, error)) return false;
    *type = i ? AD_F64 : AD_F32;
    return true;
}
