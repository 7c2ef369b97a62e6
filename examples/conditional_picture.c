// conditional_picture.c -- what a mean of conditional flows says of rows, and pictures of it.
#include "conditional_picture.h"

#include <math.h>
#include <stdlib.h>

ad_status conditional_log_prob(const flow_model *model, const flow_rows *all, const int64_t *index, int64_t n,
                               double *log_p, ad_error *error) {
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    if (!tape) return ad_fail(error, AD_ENOMEM, "out of memory for a tape");
    ad_rows rows = ad_rows_new(tape, "rows");
    ad_rows_set(rows, n, 0);
    ad_source y = all->x, x = all->context;
    y.index = x.index = index;
    ad_var p = ad_keep(flow_log_prob(model, ad_input(rows, ad_shape1(1), &y),
                                     ad_input(rows, ad_shape1(flow_model_context(model)), &x)));
    ad_status status = ad_run(tape);
    if (status == AD_OK) status = ad_read(p, log_p, n);
    if (status != AD_OK) ad_fail(error, status, "scoring: %s", ad_tape_message(tape));
    ad_tape_free(tape);
    return status;
}

#ifdef EXAMPLES_CAIRO  // where cairo is
#include "columns.h"
#include "estimate.h"
#include "plot.h"

enum { NX = 200, NY = 160, DRAWS = 200 };

// Log of the mean of the densities on a grid over both ranges, lowest y first.
static ad_status grid(flow_model *const *models, int64_t M, plot_range xs, plot_range ys, double *log_p,
                      ad_error *error) {
    double *work = calloc(3 * NX * NY, sizeof *work), *y = work + NX * NY, *p = y + NX * NY;
    if (!work) return ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    ad_status status = AD_OK;
    for (int i = 0; i < NX * NY; i++) {
        work[i] = xs.low + (i % NX + 0.5) / NX * (xs.high - xs.low);
        y[i] = ys.low + ((double)(i / NX) + 0.5) / NY * (ys.high - ys.low);
        log_p[i] = 0;
    }
    const flow_rows all = {.x = {.data = y, .type = AD_F64, .count = NX * NY},
                           .context = {.data = work, .type = AD_F64, .count = NX * NY}};
    for (int64_t m = 0; m < M && status == AD_OK; m++) {
        status = conditional_log_prob(models[m], &all, NULL, NX * NY, p, error);
        for (int i = 0; i < NX * NY && status == AD_OK; i++) log_p[i] += exp(p[i]) / (double)M;
    }
    for (int i = 0; i < NX * NY; i++) log_p[i] = log(log_p[i]);
    free(work);
    return status;
}

static ad_status draw_density(const char *file, flow_model *const *models, int64_t M, const regression *r,
                              const data_split *s, const data_table *inputs, ad_error *error) {
    double *xy = malloc((size_t)(3 * s->n_test) * sizeof *xy), *log_p = malloc(NX * NY * sizeof *log_p),
           high = -INFINITY;
    double *scaled = xy ? xy + 2 * s->n_test : NULL;
    ad_status status = xy && log_p ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    for (int64_t i = 0; i < s->n_test && status == AD_OK; i++) {
        xy[2 * i] = data_get(r->x, s->test[i], 0), xy[2 * i + 1] = data_get(r->y, s->test[i], 0);
        scaled[i] = data_get(inputs, s->test[i], 0);
    }
    if (status != AD_OK) return free(xy), free(log_p), status;
    plot_range x = estimate_range(xy, s->n_test, 2, 1), y = estimate_range(xy + 1, s->n_test, 2, 1);
    plot *p = plot_new(2, x, y);
    if (!p) status = ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    if (p) status = grid(models, M, estimate_range(scaled, s->n_test, 1, 1), y, log_p, error);
    for (int i = 0; i < NX * NY && status == AD_OK; i++) high = fmax(high, log_p[i]);
    if (status == AD_OK) {
        plot_name_axes(p, "x", "y");
        plot_points(p, 0, "test rows", xy, (size_t)s->n_test);
        plot_heat(p, 1, "p(y | x)", log_p, NX, NY, (plot_range){ceil(high) - 8, ceil(high)}, "log density (nats)");
    }
    const char *wrong = p ? plot_save(p, status == AD_OK ? file : NULL) : NULL;
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong);
    free(xy), free(log_p);
    return status;
}

// Shares of a model's draws that are below the rows' y, added to share [n_test].
static ad_status count_below(const flow_model *model, const regression *r, const data_split *s,
                             const data_table *inputs, double weight, double *share, ad_error *error) {
    const int64_t n = s->n_test;
    ad_tape *tape = ad_tape_new(NULL, AD_F64);
    double *y = malloc((size_t)n * sizeof *y);
    ad_status status = tape && y ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    for (uint64_t k = 0; k < DRAWS && status == AD_OK; k++) {
        ad_random random = {.seed = 1, .step = k};
        ad_source x = data_source(inputs, 0, s->test);
        ad_tape_reset(tape);
        ad_rows rows = ad_rows_new(tape, "draws");
        ad_rows_set(rows, n, 0);
        ad_var drawn = ad_keep(flow_sample(model, rows, &random, 0, ad_input(rows, ad_shape1(inputs->columns), &x)));
        status = ad_run(tape);
        if (status == AD_OK) status = ad_read(drawn, y, n);
        if (status != AD_OK) ad_fail(error, status, "sampling: %s", ad_tape_message(tape));
        for (int64_t i = 0; i < n && status == AD_OK; i++) share[i] += weight * (y[i] < data_get(r->y, s->test[i], 0));
    }
    free(y);
    ad_tape_free(tape);
    return status;
}

static ad_status draw_shares(const char *file, flow_model *const *models, int64_t M, const regression *r,
                             const data_split *s, const data_table *inputs, ad_error *error) {
    double *share = calloc((size_t)s->n_test, sizeof *share);
    const char *name = "share of draws of y below a test row's";
    ad_status status = share ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for a picture");
    for (int64_t m = 0; m < M && status == AD_OK; m++)
        status = count_below(models[m], r, s, inputs, 1 / (double)(M * DRAWS), share, error);
    const corner_set rows = {.name = "test rows", .x = share, .n = s->n_test};
    const char *wrong = status == AD_OK ? columns_draw(file, &name, 1, &rows, NULL, NULL) : NULL;
    if (wrong) status = ad_fail(error, AD_EIO, "%s: cannot write the picture: %s", file, wrong);
    free(share);
    return status;
}

ad_status conditional_draw(const char *file, flow_model *const *models, int64_t M, const regression *r,
                           const data_split *s, const data_table *inputs, ad_error *error) {
    return (inputs->columns == 1 ? draw_density : draw_shares)(file, models, M, r, s, inputs, error);
}
#else
ad_status conditional_draw(const char *file, flow_model *const *models, int64_t M, const regression *r,
                           const data_split *s, const data_table *inputs, ad_error *error) {
    (void)file, (void)models, (void)M, (void)r, (void)s, (void)inputs, (void)error;
    return AD_OK;  // without cairo there are no pictures
}
#endif
