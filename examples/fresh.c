// fresh.c -- fits to and scores by points that are drawn anew.
#include "fresh.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "points.h"
#include "progress.h"

enum { FIRST_LOOK = 20000 };  // points that numbers of the model are set by before training
enum { TRUTH_SHARE = 5 };     // the density is evaluated at one point of so many: some are slow

const data_density *fresh_density(const char *name, ad_error *error) {
    const data_density *density = data_find_density(name);
    if (density && density->dimension == 2 && density->sample) return density;
    ad_fail(error, AD_EARG, "there is no density '%s' of the plane: data.h lists them", name);
    return NULL;
}

// Points for different ends must not be the same ones.
static uint64_t train_seed(int64_t seed) {
    return 2 * (uint64_t)seed;
}
static uint64_t test_seed(int64_t seed) {
    return 2 * (uint64_t)seed + 1;
}

// ---- training ----------------------------------------------------------------------------------------------------

typedef struct run {
    const data_density *density;
    const fresh_options *o;
    double *xy;  // [batch][2], overwritten after each step
    progress meter;
    double loss;     // smoothed
    int64_t frames;  // so far
    ad_status status;
    ad_error *error;
} run;

static const char *name_of(const run *r) {
    return r->o->name ? r->o->name : r->density->name;
}

static void draw_batch(run *r, int64_t step) {
    r->density->sample(r->o->batch, train_seed(r->o->seed), FIRST_LOOK + step * r->o->batch, r->xy);
}

// Frames are due where the root of the share of steps done passes a number of N-ths.
static int64_t frame_at(const fresh_options *o, int64_t step) {
    return (int64_t)floor((double)o->frames * sqrt((double)step / (double)o->steps) + 1e-9);
}

static bool after_step(void *arg, const optim_progress *p) {
    run *r = arg;
    const fresh_options *o = r->o;
    double share = fmax(0.02, 1 / (double)p->step), left = p->seconds / (double)p->step * (double)(p->steps - p->step);
    r->loss += share * (p->loss - r->loss);
    progress_show(&r->meter, "%s: step %" PRId64 "/%" PRId64 "  loss %.3f, %.3f above the entropy  %.0f s left",
                  name_of(r), p->step, p->steps, r->loss, r->loss - r->density->entropy, left);
    if (o->frame && frame_at(o, p->step) > frame_at(o, p->step - 1)) {
        r->status = o->frame(o->frame_arg, ++r->frames, p->step, r->error);
    }
    draw_batch(r, p->step);
    return r->status == AD_OK;
}

static ad_status look_first(flow_model *model, run *r, ad_error *error) {
    data_table *table = data_density_table(r->density, AD_F64, FIRST_LOOK, train_seed(r->o->seed), error);
    if (!table) return error->status;
    const flow_rows rows = {.x = data_source(table, 0, NULL)};
    ad_status status = flow_init_from_data(model, &rows, error);
    data_table_free(table);
    return status;
}

ad_status fresh_fit(flow_model *model, const data_density *density, const fresh_options *o, optim_fit_result *result,
                    ad_error *error) {
    run r = {.density = density, .o = o, .meter = progress_start(o->quiet), .error = error};
    data_table *table = data_table_new(DATA_F64, o->batch, 2, error);
    if (!table) return error->status;
    r.xy = data_values(table);
    draw_batch(&r, 0);
    // One batch is all the rows there are; after each step others stand in their place.
    const flow_rows rows = {.x = data_source(table, 0, NULL)};
    const optim_fit_options how = {.steps = o->steps,
                                   .batch = o->batch,
                                   .lr = o->lr,
                                   .schedule = OPTIM_COSINE,
                                   .average = o->average,
                                   .seed = (uint64_t)o->seed,
                                   .engine = o->engine,
                                   .progress = after_step,
                                   .progress_arg = &r};
    ad_status status = look_first(model, &r, error);
    if (status == AD_OK) status = optim_fit(model, &rows, &how, result, error);
    if (status == AD_OK) status = r.status;
    if (status == AD_OK)
        progress_end(&r.meter, "%s: %" PRId64 " steps in %.1f s", name_of(&r), result->steps, result->seconds);
    data_table_free(table);
    return status;
}

// ---- scoring -----------------------------------------------------------------------------------------------------

static void mean_of(const double *value, int64_t n, double *mean, double *standard_error) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += value[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (value[i] - *mean) * (value[i] - *mean);
    *standard_error = sqrt(squares / (double)n / (double)(n > 1 ? n - 1 : 1));
}

ad_status fresh_judge(const flow_model *model, const data_density *density, ad_engine *engine, int64_t n, int64_t seed,
                      fresh_judgement *j, ad_error *error) {
    double *xy = malloc((size_t)n * 4 * sizeof *xy);
    if (!xy) return ad_fail(error, AD_ENOMEM, "out of memory for %" PRId64 " points", n);
    double *value = xy + 2 * n, *truth = xy + 3 * n;
    const int64_t few = (n + TRUTH_SHARE - 1) / TRUTH_SHARE;
    density->sample(n, test_seed(seed), 0, xy);
    *j = (fresh_judgement){.points = n};
    ad_status status = points_score(model, engine, xy, n, value, error);
    if (status == AD_OK) status = points_truth(density, engine, xy, few, truth, error);
    for (int64_t i = 0; i < n; i++) value[i] = -value[i];
    mean_of(value, n, &j->nll, &j->nll_error);
    for (int64_t i = 0; i < few; i++) value[i] += truth[i];
    mean_of(value, few, &j->kl, &j->kl_error);
    j->gap = j->nll - density->entropy;
    if (status == AD_OK) status = points_round_trip(model, engine, xy, few, &j->round_trip, error);
    free(xy);
    return status;
}

ad_status fresh_integral(const flow_model *model, const data_density *density, double *integral, ad_error *error) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY}, *xy = malloc(FIRST_LOOK * 2 * sizeof *xy);
    if (!xy) return ad_fail(error, AD_ENOMEM, "out of memory for points");
    density->sample(FIRST_LOOK, test_seed(0), 0, xy);
    for (int i = 0; i < 2 * FIRST_LOOK; i++) {
        low[i % 2] = fmin(low[i % 2], xy[i]);
        high[i % 2] = fmax(high[i % 2], xy[i]);
    }
    free(xy);
    for (int d = 0; d < 2; d++) {
        const double room = (high[d] - low[d]) / 2;
        low[d] -= room, high[d] += room;
    }
    ad_status status =
        flow_check_integral(model, &(flow_integral_options){.low = low, .high = high, .points = 601}, integral, error);
    return isfinite(*integral) ? AD_OK : status;  // what is off from 1 is for the reader to judge
}
