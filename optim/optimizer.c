// optimizer.c -- one step of all parameters by an update rule: gradient norm, clipping, groups, threads.
//
// Work is cut into fixed tiles of parameters, whatever the threads: sums of squares are added in tile order and every
// element's update is its own, so the bits do not depend on who computed what.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fpmode.h"
#include "internal.h"
#include "op.h"
#include "rule.h"

typedef struct segment {  // consecutive elements of one parameter
    const ad_param *param;
    int64_t start, count;
    void *kept[OPTIM_MOST_SLOTS];  // the rule's, at start; NULL beyond its slots
    int group;
    optim_squares squares;  // of its gradient
} segment;

enum { TILE = 4096, GROUPS = 64 };  // elements: small models still make work for several threads

typedef struct group {
    double lr_factor, weight_decay;
    optim_numbers numbers;  // of the step under way
} group;

struct optim_optimizer {
    optim_options o;
    segment *segments;
    int64_t n_segments;
    int64_t *tiles;  // [n_tiles + 1] first segment of each
    int64_t n_tiles;
    void *kept;
    size_t kept_bytes;
    const optim_rule *rule;
    optim_squares_of squares[2];
    group groups[GROUPS];
    int n_groups;
    int64_t steps;
};

static const optim_kernels *choose_kernels(void) {
#ifdef __x86_64__
    if (strcmp(ad_cpu_name(), "avx512") == 0) return &optim_kernels_avx512;
    if (strcmp(ad_cpu_name(), "avx2") == 0) return &optim_kernels_avx2;
#endif
    return &optim_kernels_plain;
}

// ---- made ---------------------------------------------------------------------------------------------------------

static int64_t segments_of(const ad_param *param) {
    return (param->count + TILE - 1) / TILE;
}

static size_t padded_bytes(const ad_param *param) {
    return ((size_t)param->count * ad_type_size(param->type) + 63) & ~(size_t)63;
}

// Segments in order of the parameters, what is kept one after another.
static void lay_out(optim_optimizer *a, ad_param *const *params, int n, int slots) {
    char *at = a->kept;
    segment *s = a->segments;
    for (int i = 0; i < n; i++) {
        size_t size = ad_type_size(params[i]->type), bytes = padded_bytes(params[i]);
        for (int64_t start = 0; start < params[i]->count; start += TILE, s++) {
            int64_t left = params[i]->count - start;
            *s = (segment){.param = params[i], .start = start, .count = left < TILE ? left : TILE};
            for (int k = 0; k < slots; k++) s->kept[k] = at + (size_t)k * bytes + (size_t)start * size;
        }
        at += (size_t)slots * bytes;
    }
}

static void make_tiles(optim_optimizer *a) {
    int64_t filled = 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        if (i == 0 || filled + a->segments[i].count > TILE) {
            a->tiles[a->n_tiles++] = i;
            filled = 0;
        }
        filled += a->segments[i].count;
    }
    a->tiles[a->n_tiles] = a->n_segments;
}

static bool allocate(optim_optimizer *a, ad_param *const *params, int n, int slots) {
    size_t bytes = 64, count = 1;  // at least something
    for (int i = 0; i < n; i++) {
        size_t more = (size_t)slots * padded_bytes(params[i]);
        if (bytes > SIZE_MAX / 2 - more) return false;
        bytes += more;
        count += (size_t)segments_of(params[i]);
    }
    a->n_segments = (int64_t)count - 1;
    a->segments = calloc(count, sizeof *a->segments);
    a->tiles = calloc(count + 1, sizeof *a->tiles);
    a->kept = aligned_alloc(64, bytes);
    a->kept_bytes = bytes;
    if (!a->segments || !a->tiles || !a->kept) return false;
    memset(a->kept, 0, bytes);
    return true;
}

// A beta as given in the options; NaN when out of range.
static double settle_beta(double given, double standard) {
    double beta = given == 0 ? standard : given < 0 ? 0 : given;
    return beta < 1 ? beta : NAN;
}

static bool positive(double v) {
    return v >= 0 && isfinite(v);
}

static ad_status settle(optim_options *o, const char *name, ad_error *error) {
    double beta1 = settle_beta(o->beta1, 0.9), beta2 = settle_beta(o->beta2, 0.999);
    if (o->eps == 0) o->eps = 1e-8;
    if (!(beta1 < 1) || !(beta2 < 1) || !(o->eps > 0 && isfinite(o->eps))) {
        return ad_fail(error, AD_EARG, "%s: beta1 %g, beta2 %g, eps %g; expected betas below 1, eps above 0", name,
                       o->beta1, o->beta2, o->eps);
    }
    if (!(o->momentum >= 0 && o->momentum < 1) || !(o->dampening >= 0 && o->dampening <= 1) ||
        (o->nesterov && (o->momentum == 0 || o->dampening > 0))) {
        return ad_fail(
            error, AD_EARG,
            "%s: momentum %g, dampening %g%s; expected momentum from 0 to below 1, dampening from 0 to 1, and "
            "Nesterov's with momentum and without dampening",
            name, o->momentum, o->dampening, o->nesterov ? ", Nesterov's" : "");
    }
    if (!positive(o->weight_decay) || !positive(o->max_norm) || !positive(o->max_value)) {
        return ad_fail(error, AD_EARG, "%s: weight_decay %g, max_norm %g, max_value %g; expected 0 or more", name,
                       o->weight_decay, o->max_norm, o->max_value);
    }
    o->beta1 = beta1;
    o->beta2 = beta2;
    return AD_OK;
}

optim_optimizer *optim_new(ad_param *const *params, int n, const optim_options *options, ad_error *error) {
    optim_options o = options ? *options : (optim_options){0};
    if ((unsigned)o.method >= OPTIM_METHODS || n < 0) {
        ad_fail(error, AD_EARG, "optimizer: method %d for %d parameters; expected 0 to %d, and 0 or more",
                (int)o.method, n, OPTIM_METHODS - 1);
        return NULL;
    }
    const optim_kernels *kernels = choose_kernels();
    const optim_rule *rule = kernels->rules[o.method];
    if (settle(&o, rule->name, error)) return NULL;
    optim_optimizer *a = calloc(1, sizeof *a);
    int slots = rule->slots(&o);
    if (!a || !allocate(a, params, n, slots)) {
        optim_free(a);
        ad_fail(error, AD_ENOMEM, "%s: out of memory for %d parameters", rule->name, n);
        return NULL;
    }
    lay_out(a, params, n, slots);
    make_tiles(a);
    a->o = o;
    a->rule = rule;
    memcpy(a->squares, kernels->squares, sizeof a->squares);
    a->groups[0] = (group){.lr_factor = 1, .weight_decay = o.weight_decay};
    a->n_groups = 1;
    return a;
}

void optim_free(optim_optimizer *optimizer) {
    if (!optimizer) return;
    free(optimizer->segments);
    free(optimizer->tiles);
    free(optimizer->kept);
    free(optimizer);
}

int64_t optim_steps(const optim_optimizer *optimizer) {
    return optimizer->steps;
}

const char *optim_name(const optim_optimizer *optimizer) {
    return optimizer->rule->name;
}

int64_t *optim_steps_of(optim_optimizer *optimizer) {
    return &optimizer->steps;
}

bool optim_kept_of(const optim_optimizer *a, int i, optim_kept *kept) {
    for (int64_t k = 0; k < a->n_segments; k++) {
        const segment *s = &a->segments[k];
        for (int slot = 0; s->start == 0 && slot < OPTIM_MOST_SLOTS && s->kept[slot]; slot++) {
            if (i-- > 0) continue;
            *kept = (optim_kept){s->param->type, s->param->count, s->kept[slot]};
            return true;
        }
    }
    return false;
}

static bool has(const optim_optimizer *a, const ad_param *param) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        if (a->segments[i].param == param) return true;
    }
    return param->count == 0;
}

ad_status optim_group(optim_optimizer *a, ad_param *const *params, int n, double lr_factor, double weight_decay,
                      ad_error *error) {
    if (!positive(lr_factor) || !positive(weight_decay) || a->n_groups == GROUPS) {
        return ad_fail(error, AD_EARG,
                       "%s: group %d with factor %g and weight decay %g; expected 0 or more, and below %d groups",
                       a->rule->name, a->n_groups, lr_factor, weight_decay, GROUPS);
    }
    for (int i = 0; i < n; i++) {
        if (!has(a, params[i])) {
            return ad_fail(error, AD_EARG, "%s: parameter '%s' of a group is not one of the optimizer's", a->rule->name,
                           params[i]->name);
        }
    }
    a->groups[a->n_groups] = (group){.lr_factor = lr_factor, .weight_decay = weight_decay};
    for (int i = 0; i < n; i++) {
        for (int64_t k = 0; k < a->n_segments; k++) {
            if (a->segments[k].param == params[i]) a->segments[k].group = a->n_groups;
        }
    }
    a->n_groups++;
    return AD_OK;
}

// ---- a step -------------------------------------------------------------------------------------------------------

static void *element(void *data, const segment *s) {
    return (char *)data + (size_t)s->start * ad_type_size(s->param->type);
}

static double limit(const optim_optimizer *a) {
    return a->o.max_value > 0 ? a->o.max_value : INFINITY;
}

static void square_tile(void *arg, int64_t tile) {
    optim_optimizer *a = arg;
    ad_fp_mode mode = ad_fp_flush();
    for (int64_t i = a->tiles[tile]; i < a->tiles[tile + 1]; i++) {
        segment *s = &a->segments[i];
        s->squares = (optim_squares){0};
        if (s->param->frozen) continue;
        s->squares = a->squares[s->param->type]((size_t)s->count, element(s->param->grad, s), limit(a));
    }
    ad_fp_restore(mode);
}

static void update_tile(void *arg, int64_t tile) {
    optim_optimizer *a = arg;
    ad_fp_mode mode = ad_fp_flush();
    for (int64_t i = a->tiles[tile]; i < a->tiles[tile + 1]; i++) {
        const segment *s = &a->segments[i];
        if (s->param->frozen) continue;
        a->rule->update[s->param->type]((size_t)s->count, &a->groups[s->group].numbers, element(s->param->grad, s),
                                        s->kept, element(s->param->data, s));
    }
    ad_fp_restore(mode);
}

static void for_tiles(optim_optimizer *a, ad_engine *engine, void (*fn)(void *arg, int64_t tile)) {
    if (engine && a->n_tiles > 1) {
        ad_parallel(engine, a->n_tiles, fn, a);
    } else {
        for (int64_t i = 0; i < a->n_tiles; i++) fn(a, i);
    }
}

// Norms of the gradient as it is, and with its elements cut.
static ad_status norms(const optim_optimizer *a, double *whole, double *cut, ad_error *error) {
    optim_squares sum = {0};
    for (int64_t i = 0; i < a->n_segments; i++) {
        const segment *s = &a->segments[i];
        sum.whole += s->squares.whole;
        sum.cut += s->squares.cut;
        if (isfinite(sum.whole)) continue;
        *whole = sqrt(sum.whole);
        char shape[96];
        return ad_fail(error, AD_ENONFINITE, "%s: the gradient of parameter '%s' %s is not finite", a->rule->name,
                       s->param->name, ad_shape_print(s->param->shape, shape, sizeof shape));
    }
    *whole = sqrt(sum.whole);
    *cut = sqrt(sum.cut);
    return AD_OK;
}

double optim_gradient_norm(optim_optimizer *a, ad_engine *engine) {
    double whole = NAN, cut;
    for_tiles(a, engine, square_tile);
    norms(a, &whole, &cut, NULL);
    return whole;
}

static void prepare(optim_optimizer *a, double lr, double clip) {
    for (int i = 0; i < a->n_groups; i++) {
        group *g = &a->groups[i];
        bool decoupled = a->rule->decoupled;
        g->numbers = (optim_numbers){
            .limit = limit(a), .clip = clip, .l2 = decoupled ? 0 : g->weight_decay, .lr = lr * g->lr_factor};
        g->numbers.shrink = decoupled ? 1 - g->numbers.lr * g->weight_decay : 1;
        a->rule->prepare(&a->o, a->steps, &g->numbers);
    }
}

void optim_apply(optim_optimizer *a, ad_engine *engine, double lr) {
    double whole, cut = 0;
    norms(a, &whole, &cut, NULL);
    bool clip = a->o.max_norm > 0 && cut > a->o.max_norm;
    a->steps++;
    prepare(a, lr, clip ? a->o.max_norm / cut : 1);
    for_tiles(a, engine, update_tile);
}

ad_status optim_update(optim_optimizer *a, ad_engine *engine, double lr, optim_step *step, ad_error *error) {
    optim_step done = {0};
    double cut = 0;
    if (!isfinite(lr)) return ad_fail(error, AD_EARG, "%s: learning rate %g", a->rule->name, lr);
    for_tiles(a, engine, square_tile);
    ad_status status = norms(a, &done.grad_norm, &cut, error);
    done.clipped = status == AD_OK && (cut < done.grad_norm || (a->o.max_norm > 0 && cut > a->o.max_norm));
    if (step) *step = done;
    if (status == AD_OK) optim_apply(a, engine, lr);
    return status;
}
