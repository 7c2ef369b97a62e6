// check_base.c -- the laws of a model's base density: its samples, rows, context and description.
//
// That it integrates to one and that samples follow it needs many points: flow_check_integral does the first.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { ROWS = 9, ALONE = 4 };

// Samples [ROWS][D] and their log_prob, of one way to draw them.
typedef struct draws {
    double *z, *log_prob;
} draws;

typedef struct looking {
    const flow_base *base;
    ad_tape *tape;
    ad_random random;
    int64_t D, C;
    double *context, *other;  // [ROWS][C]
    draws first, second;
    double *memory;
    ad_error *error;
} looking;

static ad_status draw(const looking *l, const flow_base *base, const double *context, int first, int n,
                      const draws *out) {
    ad_source k = {.data = context + first * l->C, .type = AD_F64, .count = n};
    ad_tape_reset(l->tape);
    ad_rows rows = ad_rows_new(l->tape, "check");
    ad_rows_set(rows, n, first);
    ad_var c = l->C ? ad_input(rows, ad_shape1(l->C), &k) : AD_NONE;
    ad_var z = ad_keep(flow_base_sample(base, rows, &l->random, 0, c));
    ad_var p = ad_keep(flow_base_log_prob(base, z, c));
    ad_status status = ad_run(l->tape);
    if (status == AD_OK) status = ad_read(z, out->z, n * l->D);
    if (status == AD_OK) status = ad_read(p, out->log_prob, n);
    if (status == AD_OK) return AD_OK;
    return ad_fail(l->error, status, "base density '%s': %s", base->type->name, ad_tape_message(l->tape));
}

static bool equal(const looking *l, const draws *a, const draws *b, int first, int n) {
    return memcmp(a->z + first * l->D, b->z, (size_t)(n * l->D) * sizeof(double)) == 0 &&
           memcmp(a->log_prob + first, b->log_prob, (size_t)n * sizeof(double)) == 0;
}

static ad_status judge_samples(const looking *l) {
    const flow_base *b = l->base;
    for (int64_t i = 0; i < ROWS * l->D; i++) {
        double z = l->first.z[i];
        if (isfinite(z) && (!(b->low < b->high) || (z >= b->low && z <= b->high))) continue;
        return ad_fail(l->error, AD_EARG, "base density '%s': a sample is %g, which is %s", b->type->name, flow_said(z),
                       isfinite(z) ? "outside of where it says that elements lie" : "not finite");
    }
    for (int r = 0; r < ROWS; r++) {
        if (isfinite(l->first.log_prob[r])) continue;
        return ad_fail(l->error, AD_EARG, "base density '%s': log_prob of a sample of its own is %g", b->type->name,
                       flow_said(l->first.log_prob[r]));
    }
    return AD_OK;
}

static ad_status draw_again(const looking *l) {
    ad_status status = draw(l, l->base, l->context, 0, ROWS, &l->second);
    if (status == AD_OK && !equal(l, &l->first, &l->second, 0, ROWS)) {
        return ad_fail(l->error, AD_EARG, "base density '%s': the same seed, step and stream give other samples again",
                       l->base->type->name);
    }
    if (status == AD_OK) status = draw(l, l->base, l->context, ALONE, 1, &l->second);
    if (status != AD_OK || equal(l, &l->first, &l->second, ALONE, 1)) return status;
    return ad_fail(l->error, AD_EMIX, "base density '%s': row %d depends on the other rows of the batch",
                   l->base->type->name, (int)ALONE);
}

static ad_status change_context(const looking *l) {
    if (l->C == 0) return AD_OK;
    ad_status status = draw(l, l->base, l->other, 0, ROWS, &l->second);
    if (status != AD_OK || !equal(l, &l->first, &l->second, 0, ROWS)) return status;
    return ad_fail(l->error, AD_EARG, "base density '%s' ignores the context: another one changes no bit",
                   l->base->type->name);
}

// Through text, as a file has it. The type itself counts as given.
static flow_base *made_again(const looking *l, const flow_load_options *load, ad_error *error) {
    const flow_base_type *const own[] = {l->base->type, NULL};
    const flow_load_options none = {.types = NULL}, o = load ? *load : none;
    flow_making making = {.types = o.types, .nets = o.nets, .bases = o.bases, .transformers = o.transformers};
    if (!making.bases) making.bases = own;
    json_t *described = flow_describe_base(l->base);
    char *text = described ? json_dumps(described, JSON_COMPACT) : NULL;
    json_t *read = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    flow_base *copy = read ? flow_make_base(read, &making, error) : NULL;
    if (!read) ad_fail(error, AD_ENOMEM, "describe gives no JSON object, which it should for want of memory only");
    json_decref(read);
    json_decref(described);
    free(text);
    return copy;
}

static ad_status make_again(const looking *l, const flow_load_options *load) {
    const char *name = l->base->type->name;
    if (!l->base->type->describe || !l->base->type->make) return AD_OK;
    ad_error inner = {AD_OK, ""};
    flow_base *copy = made_again(l, load, &inner);
    if (!copy) {
        return ad_fail(l->error, inner.status == AD_ENOMEM ? AD_ENOMEM : AD_EARG,
                       "base density '%s': it cannot be made again from its description: %s", name, inner.message);
    }
    ad_status status = AD_OK;
    if (!check_copy_tensors(&l->base->owner, &copy->owner)) {
        status =
            ad_fail(l->error, AD_EARG, "base density '%s': made again from its description it has other tensors", name);
    }
    if (status == AD_OK) status = draw(l, copy, l->context, 0, ROWS, &l->second);
    if (status == AD_OK && !equal(l, &l->first, &l->second, 0, ROWS)) {
        status = ad_fail(l->error, AD_EARG,
                         "base density '%s': made again from its description, with the same tensors, it is "
                         "another one: describe or make lose an option",
                         name);
    }
    flow_base_free(copy);
    return status;
}

// At parameters a little off where they are, as flow_check has them: they may start where no context matters.
static ad_status look(looking *l, const flow_check_options *o, uint64_t seed) {
    const double size = !o || o->perturb == 0 ? 0.3 : fmax(o->perturb, 0);
    double *backup = malloc(check_param_bytes(&l->base->owner) + 1);
    if (!backup) return ad_fail(l->error, AD_ENOMEM, "flow_check_model: out of memory");
    check_copy_params(&l->base->owner, backup, false);
    check_perturb(&l->base->owner, size, &seed);
    ad_status status = draw(l, l->base, l->context, 0, ROWS, &l->first);
    if (status == AD_OK) status = judge_samples(l);
    if (status == AD_OK) status = draw_again(l);
    if (status == AD_OK) status = change_context(l);
    if (status == AD_OK) status = make_again(l, o ? o->load : NULL);
    check_copy_params(&l->base->owner, backup, true);
    free(backup);
    return status;
}

ad_status check_base(const flow_base *base, const flow_check_options *options, ad_error *error) {
    looking l = {.base = base, .D = ad_shape_count(base->shape), .C = base->C, .error = error};
    uint64_t seed = options ? options->seed : 0;
    size_t D = (size_t)l.D, C = (size_t)l.C;
    double *m = l.memory = calloc(ROWS * (2 * (D + 1) + 2 * C), sizeof *m);
    l.tape = ad_tape_new(NULL, AD_F64);
    ad_status status = m && l.tape ? AD_OK : ad_fail(error, AD_ENOMEM, "flow_check_model: out of memory");
    if (status == AD_OK) {
        l.first = (draws){m, m + ROWS * D};
        l.second = (draws){m + ROWS * (D + 1), m + ROWS * (2 * D + 1)};
        l.context = m + ROWS * 2 * (D + 1);
        l.other = l.context + ROWS * C;
        for (size_t i = 0; i < 2 * ROWS * C; i++) l.context[i] = check_normal(&seed);
        l.random.seed = seed;
        status = look(&l, options, seed);
    }
    ad_tape_free(l.tape);
    free(m);
    return status;
}
