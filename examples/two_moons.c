// two_moons.c -- trains a RealNVP on points of the plane by maximum likelihood: scores it, draws it, saves it.
//
// Without arguments: two moons, whose exact entropy is known, so that the score shows how good the model is.
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "flows.h"
#include "optim.h"
#include "picture.h"
#include "points.h"
#include "progress.h"
#include "show_step.h"
#include "settings.h"

typedef struct outcome {
    optim_fit_result fit;
    double nll, standard_error;
    int64_t parameters;
} outcome;

// A new model fitted to the points, or NULL.
static flow_model *train(const settings *s, const points *p, ad_engine *engine, optim_fit_result *fit,
                         ad_error *error) {
    const flow_realnvp_options shape = {.layers = (int)s->layers,
                                        .mlp = {.width = s->width, .seed = (uint64_t)s->seed}};
    flow_model *model = flow_realnvp(2, 0, &shape, error);
    if (!model) return NULL;
    flow_rows rows = points_train(p), valid = points_valid(p);
    progress meter = progress_start(s->quiet);
    const optim_fit_options how = {.steps = s->steps,
                                   .batch = s->batch < rows.n ? s->batch : rows.n,
                                   .lr = s->lr,
                                   .schedule = OPTIM_COSINE,
                                   .validation = &valid,
                                   .seed = (uint64_t)s->seed,
                                   .engine = engine,
                                   .progress = show_step,
                                   .progress_arg = &meter};
    ad_status status = flow_init_from_data(model, &rows, error);
    if (status != AD_OK && s->data) {  // a fault of the user's points
        ad_error inner = *error;
        ad_fail(error, status, "%s: %s", s->data, inner.message);
    }
    if (status == AD_OK) status = optim_fit(model, &rows, &how, fit, error);
    if (status != AD_OK) return flow_model_free(model), NULL;
    progress_end(&meter, "trained %" PRId64 " steps in %.1f s, validation %.4f nats", fit->steps, fit->seconds,
                 fit->validation);
    return model;
}

static ad_status write_scores(const char *file, const double *xy, const double *log_p, int64_t n, ad_error *error) {
    data_table *table = data_table_new(DATA_F64, n, 3, error);
    if (!table) return error->status;
    double *row = data_values(table);
    for (int64_t i = 0; i < n; i++, row += 3) row[0] = xy[2 * i], row[1] = xy[2 * i + 1], row[2] = log_p[i];
    ad_status status = data_write_npy(file, table, error);
    data_table_free(table);
    return status;
}

// Scores the test points, writes what is asked for.
static ad_status test(const settings *s, const points *p, const flow_model *model, ad_engine *engine, outcome *o,
                      ad_error *error) {
    double *xy = points_test(p), *log_p = malloc((size_t)p->n_test * sizeof *log_p);
    ad_status status = xy && log_p ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for the scores");
    if (status == AD_OK) status = points_score(model, engine, xy, p->n_test, log_p, error);
    if (status == AD_OK) points_average(log_p, p->n_test, &o->nll, &o->standard_error);
    if (status == AD_OK && s->scores) status = write_scores(s->scores, xy, log_p, p->n_test, error);
    if (status == AD_OK) status = picture_draw(s->picture, model, engine, xy, p->n_test, (uint64_t)s->seed, error);
    free(xy);
    free(log_p);
    return status;
}

static void print_json_number(const char *name, double value) {
    printf(isfinite(value) ? ", \"%s\": %.9g" : ", \"%s\": null", name, value);  // JSON has no NaN
}

static void print_json(const settings *s, const points *p, const ad_engine *engine, const outcome *o) {
    printf("{\"test_points\": %" PRId64, p->n_test);
    print_json_number("test_nll", o->nll);
    print_json_number("standard_error", o->standard_error);
    print_json_number("entropy", s->data ? NAN : data_find_density("moons")->entropy);
    print_json_number("validation_nll", s->load ? NAN : o->fit.validation);
    print_json_number("seconds_training", o->fit.seconds);
    printf(", \"steps\": %" PRId64 ", \"parameters\": %" PRId64 ", \"seed\": %" PRId64
           ", \"threads\": %d, \"cpu\": \"%s\"}\n",
           o->fit.steps, o->parameters, s->seed, ad_engine_threads(engine), ad_cpu_name());
}

static void print_text(const settings *s, const points *p, const outcome *o) {
    printf("test NLL  %.4f nats (", o->nll);
    if (p->n_test > 1) printf("standard error %.4f, ", o->standard_error);
    printf("%" PRId64 " points)\n", p->n_test);
    if (!s->data)
        printf("entropy   %.4f nats: the least that any model can reach\n", data_find_density("moons")->entropy);
    printf("model     %s (%" PRId64 " parameters)\n", s->load ? s->load : s->model, o->parameters);
    printf("picture   %s\n", s->picture);
    if (s->scores) printf("scores    %s\n", s->scores);
}

static ad_status work(const settings *s, points *p, ad_engine *engine, flow_model **model, ad_error *error) {
    outcome o = {0};
    ad_status status = settings_check(s, error);
    if (status == AD_OK && s->data) {
        status = points_of_file(p, s->data, s->load != NULL, (uint64_t)s->seed, error);
    } else if (status == AD_OK) {
        status = points_of_moons(p, s->points, s->test_points, (uint64_t)s->seed, error);
    }
    if (status != AD_OK) return status;
    *model = s->load ? points_model(s->load, error) : train(s, p, engine, &o.fit, error);
    if (!*model) return error->status;
    o.parameters = flow_param_count(*model);
    if (!s->load) status = flow_save(*model, s->model, error);
    if (status == AD_OK) status = test(s, p, *model, engine, &o, error);
    if (status != AD_OK) return status;
    if (s->json) {
        print_json(s, p, engine, &o);
    } else {
        print_text(s, p, &o);
    }
    return fflush(stdout) ? ad_fail(error, AD_EIO, "cannot write the results: %s", strerror(errno)) : AD_OK;
}

int main(int argc, char **argv) {
    const settings s = settings_read(argc, argv);
    ad_error error = {0};
    points p = {0};
    flow_model *model = NULL;
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)s.threads}, &error);
    ad_status status = engine ? work(&s, &p, engine, &model, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "two_moons: %s\n", error.message);
    flow_model_free(model);
    points_free(&p);
    ad_engine_free(engine);
    return status != AD_OK;
}
