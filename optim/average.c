// average.c -- a moving average of parameters (Polyak and Juditsky 1992; exponential, as Kingma and Ba 2015,
// section 7.2).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

struct optim_average {
    ad_param **params;
    int n;
    double decay;
    int64_t updates;
    char *values;  // of all, one after the other, each in its type
};

static size_t bytes_of(const ad_param *p) {
    return (size_t)p->count * ad_type_size(p->type);
}

optim_average *optim_average_new(ad_param *const *params, int n, double decay, ad_error *error) {
    if (!(decay > 0 && decay < 1) || n < 0) {
        ad_fail(error, AD_EARG, "average: decay %g of %d parameters; expected above 0 and below 1", decay, n);
        return NULL;
    }
    size_t bytes = 1;
    for (int i = 0; i < n; i++) bytes += bytes_of(params[i]);
    optim_average *a = calloc(1, sizeof *a);
    if (a) *a = (optim_average){malloc((size_t)n * sizeof *params + 1), n, decay, 0, malloc(bytes)};
    if (!a || !a->params || !a->values) {
        optim_average_free(a);
        ad_fail(error, AD_ENOMEM, "average: out of memory for %d parameters", n);
        return NULL;
    }
    char *at = a->values;
    for (int i = 0; i < n; at += bytes_of(params[i]), i++) {
        a->params[i] = params[i];
        memcpy(at, params[i]->data, bytes_of(params[i]));
    }
    return a;
}

void optim_average_free(optim_average *average) {
    if (!average) return;
    free(average->params);
    free(average->values);
    free(average);
}

// Values have no alignment of their own: elements are copied out and in.
#define MOVE(T)                                                                 \
    static void move_##T(int64_t n, double share, const void *from, char *to) { \
        const T *p = from;                                                      \
        for (int64_t i = 0; i < n; i++) {                                       \
            T v;                                                                \
            memcpy(&v, to + (size_t)i * sizeof v, sizeof v);                    \
            v += (T)share * (p[i] - v);                                         \
            memcpy(to + (size_t)i * sizeof v, &v, sizeof v);                    \
        }                                                                       \
    }
MOVE(float)
MOVE(double)

void optim_average_update(optim_average *a) {
    double t = (double)a->updates++, share = 1 - fmin(a->decay, (1 + t) / (10 + t));
    char *at = a->values;
    for (int i = 0; i < a->n; at += bytes_of(a->params[i]), i++) {
        const ad_param *p = a->params[i];
        (p->type == AD_F64 ? move_double : move_float)(p->count, share, p->data, at);
    }
}

void optim_average_swap(optim_average *a) {
    char *at = a->values;
    for (int i = 0; i < a->n; i++) {
        char *data = a->params[i]->data;
        for (size_t k = 0; k < bytes_of(a->params[i]); k++, at++) {
            char v = data[k];
            data[k] = *at;
            *at = v;
        }
    }
}

int64_t *optim_average_updates(optim_average *average) {
    return &average->updates;
}

bool optim_average_kept(const optim_average *a, int i, optim_kept *kept) {
    if (i >= a->n) return false;
    char *at = a->values;
    for (int k = 0; k < i; k++) at += bytes_of(a->params[k]);
    *kept = (optim_kept){a->params[i]->type, a->params[i]->count, at};
    return true;
}
