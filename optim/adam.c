// adam.c -- Adam (Kingma and Ba 2015, algorithm 1) with global-norm clipping.
//
// Work is cut into fixed tiles of parameters, whatever the threads: sums of squares are added in tile order and every
// element's update is its own, so the bits do not depend on who computed what.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adam_kernel.h"
#include "fpmode.h"
#include "op.h"
#include "optim.h"

typedef struct segment {  // consecutive elements of one parameter
    const ad_param *param;
    int64_t start, count;
    void *m, *v;     // at start
    double squares;  // of its gradient
} segment;

enum { TILE = 4096 };  // elements: small models still make work for several threads

struct optim_adam {
    segment *segments;
    int64_t n_segments;
    int64_t *tiles;  // [n_tiles + 1] first segment of each
    int64_t n_tiles;
    void *moments;
    const optim_adam_kernels *kernels;
    double beta1, beta2, eps, max_norm;
    double power1, power2;  // beta^steps
    int64_t steps;
    optim_adam_rule rule;  // of the step under way
};

static const optim_adam_kernels *choose_kernels(void) {
#ifdef __x86_64__
    if (strcmp(ad_cpu_name(), "avx512") == 0) return &optim_adam_avx512;
    if (strcmp(ad_cpu_name(), "avx2") == 0) return &optim_adam_avx2;
#endif
    return &optim_adam_plain;
}

// ---- made ---------------------------------------------------------------------------------------------------------

static int64_t segments_of(const ad_param *param) {
    return (param->count + TILE - 1) / TILE;
}

static size_t padded_bytes(const ad_param *param) {
    return ((size_t)param->count * ad_type_size(param->type) + 63) & ~(size_t)63;
}

// Segments in order of the parameters, moments one after another.
static void lay_out(optim_adam *adam, ad_param *const *params, int n) {
    char *at = adam->moments;
    segment *s = adam->segments;
    for (int i = 0; i < n; i++) {
        size_t size = ad_type_size(params[i]->type), bytes = padded_bytes(params[i]);
        for (int64_t start = 0; start < params[i]->count; start += TILE, s++) {
            int64_t left = params[i]->count - start;
            char *m = at + (size_t)start * size;
            *s = (segment){params[i], start, left < TILE ? left : TILE, m, m + bytes, 0};
        }
        at += 2 * bytes;
    }
}

static void make_tiles(optim_adam *adam) {
    int64_t filled = 0;
    for (int64_t i = 0; i < adam->n_segments; i++) {
        if (i == 0 || filled + adam->segments[i].count > TILE) {
            adam->tiles[adam->n_tiles++] = i;
            filled = 0;
        }
        filled += adam->segments[i].count;
    }
    adam->tiles[adam->n_tiles] = adam->n_segments;
}

static bool allocate(optim_adam *adam, ad_param *const *params, int n) {
    size_t bytes = 64, count = 1;  // at least something
    for (int i = 0; i < n; i++) {
        size_t more = 2 * padded_bytes(params[i]);
        if (bytes > SIZE_MAX / 2 - more) return false;
        bytes += more;
        count += (size_t)segments_of(params[i]);
    }
    adam->n_segments = (int64_t)count - 1;
    adam->segments = calloc(count, sizeof *adam->segments);
    adam->tiles = calloc(count + 1, sizeof *adam->tiles);
    adam->moments = aligned_alloc(64, bytes);
    if (!adam->segments || !adam->tiles || !adam->moments) return false;
    memset(adam->moments, 0, bytes);
    return true;
}

// A beta as given in the options; NaN when out of range.
static double settle_beta(double given, double standard) {
    double beta = given == 0 ? standard : given < 0 ? 0 : given;
    return beta < 1 ? beta : NAN;
}

optim_adam *optim_adam_new(ad_param *const *params, int n, const optim_adam_options *options, ad_error *error) {
    optim_adam_options o = options ? *options : (optim_adam_options){0};
    double beta1 = settle_beta(o.beta1, 0.9), beta2 = settle_beta(o.beta2, 0.999), eps = o.eps == 0 ? 1e-8 : o.eps;
    if (!(beta1 < 1) || !(beta2 < 1) || !(eps > 0) || !(o.max_norm >= 0) || n < 0) {
        ad_fail(error, AD_EARG,
                "adam: beta1 %g, beta2 %g, eps %g, max_norm %g; expected betas below 1, eps above 0, "
                "max_norm 0 or more",
                o.beta1, o.beta2, eps, o.max_norm);
        return NULL;
    }
    optim_adam *adam = calloc(1, sizeof *adam);
    if (!adam || !allocate(adam, params, n)) {
        optim_adam_free(adam);
        ad_fail(error, AD_ENOMEM, "adam: out of memory for %d parameters", n);
        return NULL;
    }
    lay_out(adam, params, n);
    make_tiles(adam);
    adam->kernels = choose_kernels();
    adam->beta1 = beta1;
    adam->beta2 = beta2;
    adam->eps = eps;
    adam->max_norm = o.max_norm;
    adam->power1 = adam->power2 = 1;
    return adam;
}

void optim_adam_free(optim_adam *adam) {
    if (!adam) return;
    free(adam->segments);
    free(adam->tiles);
    free(adam->moments);
    free(adam);
}

int64_t optim_adam_steps(const optim_adam *adam) {
    return adam->steps;
}

// ---- a step -------------------------------------------------------------------------------------------------------

static void *element(void *data, const segment *s) {
    return (char *)data + (size_t)s->start * ad_type_size(s->param->type);
}

static void square_tile(void *arg, int64_t tile) {
    optim_adam *adam = arg;
    ad_fp_mode mode = ad_fp_flush();
    for (int64_t i = adam->tiles[tile]; i < adam->tiles[tile + 1]; i++) {
        segment *s = &adam->segments[i];
        s->squares = 0;
        if (s->param->frozen) continue;
        s->squares = adam->kernels->squares[s->param->type]((size_t)s->count, element(s->param->grad, s));
    }
    ad_fp_restore(mode);
}

static void update_tile(void *arg, int64_t tile) {
    optim_adam *adam = arg;
    ad_fp_mode mode = ad_fp_flush();
    for (int64_t i = adam->tiles[tile]; i < adam->tiles[tile + 1]; i++) {
        const segment *s = &adam->segments[i];
        if (s->param->frozen) continue;
        adam->kernels->update[s->param->type]((size_t)s->count, &adam->rule, element(s->param->grad, s), s->m, s->v,
                                              element(s->param->data, s));
    }
    ad_fp_restore(mode);
}

static void for_tiles(optim_adam *adam, ad_engine *engine, void (*fn)(void *arg, int64_t tile)) {
    if (engine && adam->n_tiles > 1) {
        ad_parallel(engine, adam->n_tiles, fn, adam);
    } else {
        for (int64_t i = 0; i < adam->n_tiles; i++) fn(adam, i);
    }
}

static ad_status norm(const optim_adam *adam, double *norm_out, ad_error *error) {
    double sum = 0;
    for (int64_t i = 0; i < adam->n_segments; i++) {
        const segment *s = &adam->segments[i];
        sum += s->squares;
        if (isfinite(sum)) continue;
        *norm_out = sqrt(sum);
        char shape[96];
        return ad_fail(error, AD_ENONFINITE, "adam: the gradient of parameter '%s' %s is not finite", s->param->name,
                       ad_shape_print(s->param->shape, shape, sizeof shape));
    }
    *norm_out = sqrt(sum);
    return AD_OK;
}

ad_status optim_adam_step(optim_adam *adam, ad_engine *engine, double lr, optim_step *step, ad_error *error) {
    optim_step done = {0};
    if (!isfinite(lr)) return ad_fail(error, AD_EARG, "adam: learning rate %g", lr);
    for_tiles(adam, engine, square_tile);
    ad_status status = norm(adam, &done.grad_norm, error);
    done.clipped = status == AD_OK && adam->max_norm > 0 && done.grad_norm > adam->max_norm;
    if (step) *step = done;
    if (status != AD_OK) return status;
    adam->power1 *= adam->beta1;
    adam->power2 *= adam->beta2;
    adam->rule = (optim_adam_rule){.beta1 = adam->beta1,
                                   .beta2 = adam->beta2,
                                   .eps = adam->eps,
                                   .clip = done.clipped ? adam->max_norm / done.grad_norm : 1,
                                   .step = lr / (1 - adam->power1),
                                   .inv_root = 1 / sqrt(1 - adam->power2)};
    for_tiles(adam, engine, update_tile);
    adam->steps++;
    return AD_OK;
}
