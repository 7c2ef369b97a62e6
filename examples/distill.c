// distill.c -- a slow teacher is fitted to data; a student that samples fast learns its density, without the data.
//
// The teacher integrates to 1, so that log Z must come out as 0, and minus the ELBO is the student's divergence from
// it. A student that starts on the teacher itself finds its peaks and never the thin mass between them, and log Z shows
// it: so it starts on a power of the density (beta), in which that mass is most, and follows it to the first power. The
// loss is the reverse divergence throughout, or Renyi's (alpha), of the student's own draws. Noise makes the teacher a
// smoother density.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data.h"
#include "draws_picture.h"
#include "flows.h"
#include "optim.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "show_step.h"
#include "standardised.h"

typedef struct request {
    const char *data, *density, *teacher, *student, *save, *picture;
    int64_t teacher_steps, steps, draws, seed, threads, report;
    double lr, noise, beta, share, alpha;
    bool plain, quiet;
} request;

// How long each model takes for N draws, at best, for others may want the machine; and both in a picture.
static ad_status draw(const request *r, flow_model *const models[2], ad_engine *engine, ad_error *error) {
    enum { N = 20000, TIMES = 6 };
    const int64_t D = flow_model_shape(models[0]).dim[0];
    double *x = malloc((size_t)(2 * N * D) * sizeof *x), best[2] = {INFINITY, INFINITY};
    ad_status status = x ? AD_OK : ad_fail(error, AD_ENOMEM, "out of memory for draws");
    for (int i = 0; i < 2 * TIMES && status == AD_OK; i++) {
        const progress clock = progress_start(true);
        const optim_drawing how = {.n = N, .x = x + (i % 2) * N * D, .seed = 1, .engine = engine};
        status = optim_draws(models[i % 2], NULL, &how, error);
        best[i % 2] = fmin(best[i % 2], progress_seconds(&clock));
    }
    if (status == AD_OK) printf("sampling  %.1f times as fast\n", best[0] / best[1]);
    const corner_set teacher = {"teacher", x, N}, student = {"student", x + N * D, N};
    if (status == AD_OK && r->picture) status = draws_picture(r->picture, D, &teacher, &student, error);
    free(x);
    return status;
}

static optim_fit_options recipe(const request *r, int64_t steps, ad_engine *engine, progress *meter) {
    optim_fit_options how = {.steps = steps, .lr = r->lr, .schedule = OPTIM_COSINE, .seed = (uint64_t)r->seed};
    return how.engine = engine, how.progress = show_step, how.progress_arg = meter, how;
}

static ad_status teach(const request *r, flow_model *teacher, const flow_rows part[3], ad_engine *engine,
                       ad_error *error) {
    progress meter = progress_start(r->quiet);
    optim_fit_options how = recipe(r, r->teacher_steps, engine, &meter);
    how.validation = &part[1], how.noise = r->noise, how.average = 0.99;
    optim_fit_result result;
    ad_status status = flow_init_from_data(teacher, &part[0], error);
    if (status == AD_OK) status = optim_fit(teacher, &part[0], &how, &result, error);
    if (status == AD_OK) progress_end(&meter, "teacher: %.1f s", result.seconds);
    return status;
}

static ad_status learn(const request *r, flow_model *student, const optim_target *target, ad_engine *engine,
                       ad_error *error) {
    progress meter = progress_start(r->quiet);
    optim_target_options how = {.divergence = r->plain ? OPTIM_REVERSE_KL : OPTIM_PATH_KL, .report_draws = r->report};
    if (r->alpha != 1) how.divergence = OPTIM_ALPHA, how.alpha = r->alpha;
    how.beta = r->beta, how.beta_share = r->share, how.validation_draws = 10000;
    how.fit = recipe(r, r->steps, engine, &meter);
    how.fit.batch = r->draws, how.fit.average = 0.995;
    optim_target_result result;
    ad_status status = optim_fit_target(student, target, &how, &result, error);
    if (status != AD_OK) return status;
    progress_end(&meter, "student: %.1f s", result.fit.seconds);
    const optim_importance *i = &result.report;
    const double D = (double)flow_model_shape(student).dim[0];
    printf("KL        %.4f +- %.4f nats a dimension\n", -i->elbo / D, i->elbo_error / D);
    printf("log Z     %.4f +- %.4f (truth 0)\n", i->log_z, i->log_z_error);
    printf("ESS       %.4f, Pareto k %.2f, from %" PRId64 " draws\n", i->ess, i->pareto_k, i->n);
    return AD_OK;
}

static ad_status work(const request *r, const data_table *table, ad_engine *engine, flow_model *models[2],
                      ad_error *error) {
    if (r->picture && output_check(r->picture, error) != AD_OK) return error->status;
    data_split *split = data_split_new(table->rows, 0.1, 0.1, (uint64_t)r->seed, error);
    models[0] = split ? flow_from_text(r->teacher, table->columns, 0, error) : NULL;
    models[1] = models[0] ? flow_from_text(r->student, table->columns, 0, error) : NULL;
    if (!models[1]) return data_split_free(split), error->status;
    const ad_source all = data_source(table, 0, NULL);
    const flow_rows part[3] = {{.x = all, .index = split->train, .n = split->n_train},
                               {.x = all, .index = split->valid, .n = split->n_valid},
                               {.x = all, .index = split->test, .n = split->n_test}};
    const optim_target target = optim_teacher(models[0]);
    double score[2];
    ad_status status = teach(r, models[0], part, engine, error);
    if (status == AD_OK) status = learn(r, models[1], &target, engine, error);
    for (int i = 0; i < 2 && status == AD_OK; i++)
        status = optim_mean_log_prob(models[i], &part[2], 0, engine, &score[i], NULL, error);
    data_split_free(split);
    if (status != AD_OK) return status;
    printf("test NLL  teacher %.4f, student %.4f: %.4f more\n", -score[0], -score[1], score[0] - score[1]);
    status = draw(r, models, engine, error);
    return status == AD_OK && r->save ? flow_save(models[1], r->save, error) : status;
}

int main(int argc, char **argv) {
    request r = {.density = "banana", .teacher = "nsf-ar:layers=2,hidden=64x2"};
    r.student = "nsf-ar:layers=3,hidden=64x2,inverse=yes";
    r.teacher_steps = 2000, r.steps = 3000, r.draws = 256, r.seed = 1, r.report = 20000, r.lr = 2e-3;
    r.beta = 0.2, r.share = 0.5, r.alpha = 1;
    const option_row rows[] = {
        {"data", "FILE", ".npz with X, and y: rows whose y is 0 are learnt", OPTION_TEXT, &r.data, 0, 0},
        {"density", "NAME", "instead: points of a density of data.h", OPTION_TEXT, &r.density, 0, 0},
        {"teacher", "TEXT", "as flow_from_text takes it", OPTION_TEXT, &r.teacher, 0, 0},
        {"student", "TEXT", "the same", OPTION_TEXT, &r.student, 0, 0},
        {"teacher-steps", "N", "steps of Adam", OPTION_COUNT, &r.teacher_steps, 1, 1e9},
        {"steps", "N", "of the student", OPTION_COUNT, &r.steps, 1, 1e9},
        {"draws", "N", "of the student, a step", OPTION_COUNT, &r.draws, 2, 1e6},
        {"noise", "X", "standard deviation of what is added to the teacher's rows", OPTION_NUMBER, &r.noise, 0, 100},
        {"beta", "X", "power of the teacher's density that the student starts on", OPTION_NUMBER, &r.beta, 1e-6, 1},
        {"share", "X", "of the steps until it is 1", OPTION_NUMBER, &r.share, 1e-6, 1},
        {"alpha", "X", "order of Renyi's divergence; 1: the reverse one", OPTION_NUMBER, &r.alpha, -100, 100},
        {"lr", "X", "learning rate at first; falls to 0 as half a cosine", OPTION_NUMBER, &r.lr, 1e-12, 10},
        {"plain", NULL, "gradients not along paths: for students slow to normalize", OPTION_FLAG, &r.plain, 0, 0},
        {"report", "N", "draws for the report", OPTION_COUNT, &r.report, 100, 1e8},
        {"seed", "N", "same seed, same models", OPTION_COUNT, &r.seed, 0, 1e15},
        {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &r.threads, 0, 256},
        {"save", "FILE", "where to save the student", OPTION_TEXT, &r.save, 0, 0},
        {"picture", "FILE", "draws of both: .png, .svg or .pdf", OPTION_TEXT, &r.picture, 0, 0},
        {"quiet", NULL, "no progress on stderr", OPTION_FLAG, &r.quiet, 0, 0},
    };
    options_read(argc, argv, "Distils a density into a model that samples fast.", rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    flow_model *models[2] = {NULL, NULL};
    ad_engine *engine = ad_engine_new(&(ad_engine_options){.threads = (int)r.threads}, &error);
    const data_density *density = data_find_density(r.density);
    data_table *table = NULL;
    if (engine && r.data) table = standardised_normals(r.data, &error);
    if (engine && !r.data && density) table = data_density_table(density, AD_F64, 20000, (uint64_t)r.seed, &error);
    if (!r.data && !density) ad_fail(&error, AD_EARG, "there is no density '%s'", r.density);
    ad_status status = table ? work(&r, table, engine, models, &error) : error.status;
    if (status != AD_OK) fprintf(stderr, "distill: %s\n", error.message);
    flow_model_free(models[0]), flow_model_free(models[1]);
    data_table_free(table), ad_engine_free(engine);
    return status == AD_OK ? 0 : 1;
}
