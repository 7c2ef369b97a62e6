// param.c -- parameters and states: tensors that outlive tapes.
#include <stdlib.h>
#include <string.h>

#include "internal.h"

_Static_assert(offsetof(ad_param, data) == offsetof(ad_tensor, data) && offsetof(ad_state, data) == offsetof(ad_tensor, data) &&
                   offsetof(ad_param, type) == offsetof(ad_tensor, type) && offsetof(ad_state, type) == offsetof(ad_tensor, type),
               "parameters and states begin as ad_tensor");

static char *copy_name(const char *name) {
    size_t n = strlen(name) + 1;
    char *copy = malloc(n);
    if (copy) memcpy(copy, name, n);
    return copy;
}

static void *zeros(int64_t n, ad_type type) {
    void *p = ad_aligned((size_t)n, ad_type_size(type));
    if (p) memset(p, 0, (size_t)n * ad_type_size(type));
    return p;
}

static bool arguments_ok(const char *what, const char *name, ad_type type, ad_shape shape, ad_error *error) {
    char text[64];
    if (!name) ad_fail(error, AD_EARG, "%s: name is NULL", what);
    else if (type != AD_F32 && type != AD_F64) ad_fail(error, AD_EARG, "%s '%s': unknown element type %d", what, name, (int)type);
    else if (ad_shape_count(shape) < 1)
        ad_fail(error, AD_ESHAPE, "%s '%s': shape %s has no elements, or too many", what, name,
                ad_shape_print(shape, text, sizeof text));
    else return true;
    return false;
}

ad_param *ad_param_new(const char *name, ad_type type, ad_shape shape, ad_error *error) {
    if (!arguments_ok("parameter", name, type, shape, error)) return NULL;
    ad_param *p = calloc(1, sizeof *p);
    if (p) {
        p->shape = shape, p->type = type, p->count = ad_shape_count(shape);
        p->name = copy_name(name);
        p->data = zeros(p->count, type);
        p->grad = zeros(p->count, type);
    }
    if (p && p->name && p->data && p->grad) return p;
    ad_param_free(p);
    ad_fail(error, AD_ENOMEM, "parameter '%s': out of memory", name);
    return NULL;
}

void ad_param_free(ad_param *p) {
    if (!p) return;
    free(p->name);
    free(p->data);
    free(p->grad);
    free(p);
}

double ad_param_get(const ad_param *p, int64_t i) {
    return p->type == AD_F32 ? (double)((const float *)p->data)[i] : ((const double *)p->data)[i];
}

void ad_param_set(ad_param *p, int64_t i, double value) {
    if (p->type == AD_F32) ((float *)p->data)[i] = (float)value;
    else ((double *)p->data)[i] = value;
}

ad_state *ad_state_new(const char *name, ad_type type, ad_shape shape, ad_error *error) {
    if (!arguments_ok("state", name, type, shape, error)) return NULL;
    ad_state *s = calloc(1, sizeof *s);
    if (s) {
        s->shape = shape, s->type = type, s->count = ad_shape_count(shape);
        s->name = copy_name(name);
        s->data = zeros(s->count, type);
    }
    if (s && s->name && s->data) return s;
    ad_state_free(s);
    ad_fail(error, AD_ENOMEM, "state '%s': out of memory", name);
    return NULL;
}

void ad_state_free(ad_state *s) {
    if (!s) return;
    free(s->name);
    free(s->data);
    free(s);
}
