// integral.c -- flow_check_integral: whether a density of one or two features integrates to one.
//
// Trapezoids on a grid converge fast where the density is smooth and has died away at the edges of the box; every other
// point of the grid makes a coarser one at no cost, whose result tells whether the grid was fine enough.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

enum { SAMPLES = 4096, BLOCK = 16384 };

typedef struct integral {
    const flow_model *model;
    ad_tape *tape;
    const double *context;
    int64_t D, n;  // points along each feature, odd
    double low[2], high[2];
    bool inside;         // midpoints of a box that data cannot leave
    double all, coarse;  // by all points, and by every other
    ad_error *error;
} integral;

static ad_var context_var(const integral *I) {
    return I->model->C ? ad_constant(I->tape, ad_shape1(I->model->C), I->context) : AD_NONE;
}

// ---- the box -------------------------------------------------------------------------------------------------------

// Around samples, as wide again on both sides, within what the layer allows.
static void widen(integral *I, const double *x) {
    const flow_layer *layer = I->model->layer;
    for (int64_t d = 0; d < I->D; d++) {
        double least = INFINITY, most = -INFINITY;
        for (int64_t i = 0; i < SAMPLES; i++) {
            least = fmin(least, x[i * I->D + d]);
            most = fmax(most, x[i * I->D + d]);
        }
        double wide = most > least ? most - least : 1;
        I->low[d] = least - wide;
        I->high[d] = most + wide;
        if (layer->low < layer->high) {
            I->low[d] = fmax(I->low[d], layer->low);
            I->high[d] = fmin(I->high[d], layer->high);
        }
    }
}

static ad_status box_of_samples(integral *I, uint64_t seed) {
    const ad_random random = {seed, 0};
    double *x = malloc(SAMPLES * (size_t)I->D * sizeof *x);
    if (!x) return ad_fail(I->error, AD_ENOMEM, "integral: out of memory");
    ad_tape_reset(I->tape);
    ad_rows rows = ad_rows_new(I->tape, "samples");
    ad_rows_set(rows, SAMPLES, 0);
    ad_var v = ad_keep(flow_sample(I->model, rows, &random, 0, context_var(I)));
    ad_status status = ad_run(I->tape);
    if (status == AD_OK) status = ad_read(v, x, SAMPLES * I->D);
    if (status == AD_OK) {
        widen(I, x);
    } else {
        ad_fail(I->error, status, "integral: %s", ad_tape_message(I->tape));
    }
    free(x);
    return status;
}

static ad_status choose_box(integral *I, const flow_integral_options *o) {
    const flow_layer *layer = I->model->layer;
    I->inside = !o->low && layer->low < layer->high && isfinite(layer->high - layer->low);
    if (!o->low && !I->inside) return box_of_samples(I, o->seed);
    for (int64_t d = 0; d < I->D; d++) {
        I->low[d] = I->inside ? layer->low : o->low[d];
        I->high[d] = I->inside ? layer->high : o->high[d];
        if (I->low[d] < I->high[d] && isfinite(I->high[d] - I->low[d])) continue;
        return ad_fail(I->error, AD_EARG, "integral: the box goes from %g to %g along feature %lld", I->low[d],
                       I->high[d], (long long)d);
    }
    return AD_OK;
}

// ---- the sum -------------------------------------------------------------------------------------------------------

// Place k of n along feature d.
static double place(const integral *I, int64_t d, int64_t k) {
    double width = I->high[d] - I->low[d];
    return I->low[d] + width * (I->inside ? ((double)k + 0.5) / (double)I->n : (double)k / (double)(I->n - 1));
}

// What place k counts, in units of the distance of two: in the grid of every step-th place, 0 when it is none of them.
static double weight(const integral *I, int64_t k, int64_t step) {
    if (I->inside) {  // midpoints of cells three times as wide are every third place from the second on
        return step == 1 ? 1 : k % 3 == 1 ? 3 : 0;
    }
    if (k % step != 0) return 0;
    return (double)step * (k == 0 || k == I->n - 1 ? 0.5 : 1);
}

static ad_status add_block(integral *I, int64_t first, int64_t count, double *x, double *p) {
    for (int64_t i = 0; i < count; i++) {
        for (int64_t d = 0; d < I->D; d++)
            x[i * I->D + d] = place(I, d, d == 0 ? (first + i) % I->n : (first + i) / I->n);
    }
    ad_source in = {.data = x, .type = AD_F64, .count = count};
    ad_tape_reset(I->tape);
    ad_rows rows = ad_rows_new(I->tape, "grid");
    ad_rows_set(rows, count, 0);
    ad_var v = ad_keep(flow_log_prob(I->model, ad_input(rows, I->model->layer->x_shape, &in), context_var(I)));
    ad_status status = ad_run(I->tape);
    if (status == AD_OK) status = ad_read(v, p, count);
    if (status != AD_OK) return ad_fail(I->error, status, "integral: %s", ad_tape_message(I->tape));
    for (int64_t i = 0; i < count; i++) {
        int64_t a = (first + i) % I->n, b = (first + i) / I->n;
        I->all += exp(p[i]) * weight(I, a, 1) * (I->D == 2 ? weight(I, b, 1) : 1);
        I->coarse += exp(p[i]) * weight(I, a, 2) * (I->D == 2 ? weight(I, b, 2) : 1);
    }
    return AD_OK;
}

static ad_status add_up(integral *I) {
    int64_t N = I->D == 2 ? I->n * I->n : I->n;
    double *x = malloc(BLOCK * (size_t)(I->D + 1) * sizeof *x), cell = 1;
    ad_status status = x ? AD_OK : ad_fail(I->error, AD_ENOMEM, "integral: out of memory");
    for (int64_t first = 0; first < N && status == AD_OK; first += BLOCK) {
        status = add_block(I, first, N - first < BLOCK ? N - first : BLOCK, x, x + BLOCK * I->D);
    }
    for (int64_t d = 0; d < I->D; d++) cell *= (I->high[d] - I->low[d]) / (double)(I->inside ? I->n : I->n - 1);
    I->all *= cell;
    I->coarse *= cell;
    free(x);
    return status;
}

static ad_status judge(const integral *I, double tolerance) {
    if (fabs(I->all - 1) <= tolerance) return AD_OK;
    char box[120];
    int used = snprintf(box, sizeof box, "[%.4g, %.4g]", I->low[0], I->high[0]);
    if (I->D == 2) snprintf(box + used, sizeof box - (size_t)used, " x [%.4g, %.4g]", I->low[1], I->high[1]);
    // What is missing may lie outside; what is too much cannot.
    double off = fabs(I->all - I->coarse);
    bool fine = off <= 0.5 * fabs(I->all - 1) && off <= 0.01 * fmax(I->all, I->coarse);
    const char *why = !fine        ? "every other point gives another: more points"
                      : I->all < 1 ? "some of it may lie outside of the box; or log_det or base density is wrong"
                                   : "log_det or base density is wrong";
    return ad_fail(I->error, AD_EARG, "the density integrates to %.8g over %s (%.8g by every other point): %s", I->all,
                   box, I->coarse, why);
}

ad_status flow_check_integral(const flow_model *model, const flow_integral_options *options, double *result,
                              ad_error *error) {
    flow_integral_options o = options ? *options : (flow_integral_options){.points = 0};
    integral I = {.model = model, .context = o.context, .D = ad_shape_count(model->layer->x_shape), .error = error};
    if (result) *result = NAN;
    if (I.D > 2) return ad_fail(error, AD_EARG, "integral: %lld features; expected one or two", (long long)I.D);
    if ((o.low == NULL) != (o.high == NULL))
        return ad_fail(error, AD_EARG, "integral: low without high, or high without low");
    if ((o.points != 0 && o.points < 3) || o.points > (I.D == 1 ? 100000000 : 10000)) {
        return ad_fail(error, AD_EARG, "integral: %d points along each feature", o.points);
    }
    I.n = o.points ? o.points | 1 : I.D == 1 ? 20001 : 801;  // odd
    double *zeros = calloc((size_t)model->C + 1, sizeof *zeros);
    if (!I.context) I.context = zeros;
    I.tape = ad_tape_new(NULL, AD_F64);
    ad_status status = zeros && I.tape ? choose_box(&I, &o) : ad_fail(error, AD_ENOMEM, "integral: out of memory");
    if (I.inside) I.n -= I.n % 3 == 0 ? 0 : I.n % 3;  // cells by threes
    if (status == AD_OK) status = add_up(&I);
    if (status == AD_OK && result) *result = I.all;
    if (status == AD_OK) status = judge(&I, o.tolerance > 0 ? o.tolerance : 1e-3);
    ad_tape_free(I.tape);
    free(zeros);
    return status;
}
