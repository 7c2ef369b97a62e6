// fit.c -- pullback fit: a density fitted to a table by maximum likelihood, with validation, early stop and a test
// score.
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "../output.h"
#include "../progress.h"
#include "../show_step.h"
#include "optim.h"
#include "tool.h"

typedef struct asked {
    const char *data, *model, *out, *checkpoint, *log;
    tool_columns columns;
    int64_t steps, batch, patience, seed, threads;
    double lr, validation, test, weight_decay;
    bool anneal, json, quiet;
} asked;

typedef struct outcome {
    optim_fit_result fit;
    double test, standard_error, gaussian;  // mean negative log-likelihoods of the test rows, nats
    int64_t rows, train, held_out, features;
} outcome;

static bool show(void *meter, const optim_progress *p) {
    if (p->trouble) progress_end(meter, "%s", p->trouble);
    return show_step(meter, p);
}

// Values that repeat much have no density: a flow's likelihood on them grows without bound, and says nothing.
static void warn_of_discrete(const asked *a, const tool_rows *rows) {
    enum { LOOK = 2000 };
    int64_t n = rows->x->rows < LOOK ? rows->x->rows : LOOK, D = rows->x->columns, names;
    char **name = tool_split(rows->target, &names);
    for (int64_t c = 0; name && c < D && !a->quiet; c++) {
        int64_t repeated = 0;
        for (int64_t r = 1; r < n; r++) {
            double v = data_get(rows->x, r, c);
            bool seen = false;
            for (int64_t k = 0; k < r && !seen; k++) seen = data_get(rows->x, k, c) == v;
            repeated += seen;
        }
        if (repeated < n / 2) continue;
        fprintf(stderr,
                "warning: column '%s' repeats its values (%.0f %% of rows): its density is not finite. Make it a "
                "--context, or "
                "add noise of the size of its steps\n",
                name[c], 100.0 * (double)repeated / (double)n);
    }
    free(name);
}

// A good start for a table that nobody has looked at: small nets for few rows.
static const char *usual_model(int64_t rows) {
    return rows < 2000    ? "nsf-ar:layers=3,hidden=32x2,bins=6,bound=5"
           : rows < 50000 ? "nsf-ar:layers=5,hidden=128x2,bins=8,bound=5"
                          : "nsf-ar:layers=5,hidden=256x2,bins=8,bound=5";
}

static ad_status fit(const asked *a, const tool_rows *rows, flow_model *model, ad_engine *engine,
                     const data_split *split, outcome *o, ad_error *error) {
    flow_rows train = tool_source(rows), valid = train;
    train.index = split->train, train.n = split->n_train;
    valid.index = split->valid, valid.n = split->n_valid;
    const int64_t batch = a->batch ? a->batch : split->n_train < 5120 ? (split->n_train + 9) / 10 : 512;
    const int64_t epoch = split->n_train / batch + 1;
    progress meter = progress_start(a->quiet);
    const optim_fit_options how = {.steps = a->steps,
                                   .batch = batch,
                                   .lr = a->lr,
                                   .schedule = a->anneal ? OPTIM_COSINE : OPTIM_CONSTANT,
                                   .warm_up = 100,
                                   .optimizer = {.method = OPTIM_ADAMW, .weight_decay = a->weight_decay, .max_norm = 5},
                                   .average = 0.99,
                                   .validation = split->n_valid ? &valid : NULL,
                                   .validate_every = epoch > 100 ? epoch < 1000 ? epoch : 1000 : 100,
                                   .patience = a->patience,
                                   .plateau = !a->anneal,
                                   .lower = {.factor = 0.5, .patience = (int)(a->patience / 3), .threshold = 1e-4},
                                   .care = {.checkpoint = a->checkpoint, .log = a->log, .signals = true},
                                   .seed = (uint64_t)a->seed,
                                   .engine = engine,
                                   .progress = show,
                                   .progress_arg = &meter};
    ad_status status = flow_init_from_data(model, &train, error);
    optim_catch_signals(true);
    if (status == AD_OK) status = optim_fit(model, &train, &how, &o->fit, error);
    if (status == AD_OK) {
        progress_end(&meter, "%s after %" PRId64 " steps, %.1f s; best at step %" PRId64 ", validation %.4f nats",
                     o->fit.stopped            ? "stopped"
                     : o->fit.steps < a->steps ? "no better for long,"
                                               : "done",
                     o->fit.steps, o->fit.seconds, o->fit.best_step, o->fit.validation);
    }
    return status;
}

// The score that a Gaussian with the training rows' mean and covariance has: what a flow is to beat.
static double gaussian_score(const tool_rows *rows, const data_split *split, ad_engine *engine) {
    if (rows->context) return NAN;
    flow_layer *whiten = flow_whiten(rows->x->columns, NULL);
    flow_model *model = whiten ? flow_model_new(whiten, flow_standard_normal(rows->x->columns, NULL), NULL) : NULL;
    flow_rows train = tool_source(rows), test = train;
    train.index = split->train, train.n = split->n_train;
    test.index = split->test, test.n = split->n_test;
    double mean = NAN;
    if (!model || flow_init_from_data(model, &train, NULL) != AD_OK ||
        optim_mean_log_prob(model, &test, 0, engine, &mean, NULL, NULL) != AD_OK) {
        mean = NAN;
    }
    flow_model_free(model);
    return -mean;
}

static ad_status score(const tool_rows *rows, const flow_model *model, const data_split *split, ad_engine *engine,
                       outcome *o, ad_error *error) {
    o->test = o->standard_error = o->gaussian = NAN;
    if (split->n_test == 0) return AD_OK;
    flow_rows test = tool_source(rows);
    test.index = split->test, test.n = split->n_test;
    ad_status status = optim_mean_log_prob(model, &test, 0, engine, &o->test, &o->standard_error, error);
    o->test = -o->test;
    o->gaussian = gaussian_score(rows, split, engine);
    return status;
}

static ad_status print(const asked *a, const char *text, const flow_model *model, const outcome *o, ad_error *error) {
    if (a->json) {
        return tool_print(json_pack("{s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:f, s:s}", "model", text, "columns",
                                    tool_names(flow_note(model, TOOL_TARGET)), "rows", (json_int_t)o->rows,
                                    "parameters", (json_int_t)flow_param_count(model), "steps",
                                    (json_int_t)o->fit.steps, "validation_nll", tool_real(o->fit.validation),
                                    "test_nll", tool_real(o->test), "standard_error", tool_real(o->standard_error),
                                    "gaussian_nll", tool_real(o->gaussian), "seconds", o->fit.seconds, "out", a->out),
                          error);
    }
    printf("model     %s, %" PRId64 " parameters\n", text, flow_param_count(model));
    printf("rows      %" PRId64 " to train on, %" PRId64 " held out\n", o->train, o->held_out);
    if (isfinite(o->test)) {
        printf("test NLL  %.4f nats (standard error %.4f), %.4f bits per column\n", o->test, o->standard_error,
               o->test / (double)o->features / log(2));
    }
    if (isfinite(o->gaussian)) printf("          %.4f nats for a Gaussian\n", o->gaussian);
    printf("saved     %s\n", a->out);
    return AD_OK;
}

static ad_status note_columns(flow_model *model, const tool_rows *rows, ad_error *error) {
    ad_status status = flow_set_note(model, TOOL_TARGET, rows->target, error);
    return status == AD_OK && rows->given ? flow_set_note(model, TOOL_CONTEXT, rows->given, error) : status;
}

static ad_status work(const asked *a, outcome *o, ad_error *error) {
    tool_rows rows;
    ad_status status = output_check(a->out, error);
    if (status == AD_OK) status = tool_read(a->data, &a->columns, AD_F32, &rows, error);
    if (status != AD_OK) return status;
    const int64_t n = rows.x->rows;
    const char *text = a->model ? a->model : usual_model(n);
    data_split *split = data_split_new(n, a->validation, a->test, (uint64_t)a->seed, error);
    ad_engine *engine = split ? ad_engine_new(&(ad_engine_options){.threads = (int)a->threads}, error) : NULL;
    flow_model *model =
        engine ? flow_from_text(text, rows.x->columns, rows.context ? rows.context->columns : 0, error) : NULL;
    const bool plain = !strstr(text, "embed=");  // a net of one's own sees the context as it is
    if (model && rows.context && plain && split->n_train > 0)
        model = tool_standardise_context(model, rows.context, split->train, split->n_train, error);
    status = model ? AD_OK : error->status;
    if (status == AD_OK && split->n_train < 2) {
        status = ad_fail(error, AD_EFORMAT, "%s: too few rows to fit: %" PRId64 " of %" PRId64 " are to train on",
                         a->data, split->n_train, n);
    }
    if (status == AD_OK) status = note_columns(model, &rows, error);
    if (status == AD_OK) {
        warn_of_discrete(a, &rows);
        status = fit(a, &rows, model, engine, split, o, error);
    }
    if (status == AD_OK) status = flow_save(model, a->out, error);
    if (status == AD_OK) status = score(&rows, model, split, engine, o, error);
    if (status == AD_OK) {
        o->rows = n, o->train = split->n_train, o->held_out = n - split->n_train, o->features = rows.x->columns;
        status = print(a, text, model, o, error);
    }
    flow_model_free(model);
    ad_engine_free(engine);
    data_split_free(split);
    tool_rows_free(&rows);
    return status;
}

static asked request = {.out = "model.safetensors",
                        .steps = 20000,
                        .patience = 12,
                        .seed = 1,
                        .lr = 1e-3,
                        .validation = 0.1,
                        .test = 0.1,
                        .weight_decay = 1e-4};
static const option_row options[] = {
    {"DATA", NULL, "table: .csv, .tsv, .npy, .npz, ...", OPTION_ARGUMENT, &request.data, 0, 0},
    {"model", "TEXT", "such as nsf-ar:layers=5,hidden=128x2,bins=8; else by the number of rows", OPTION_TEXT,
     &request.model, 0, 0},
    {"out", "FILE", "where to save the model", OPTION_TEXT, &request.out, 0, 0},
    {"target", "A,B", "columns to model, by name or number from 0; else all others", OPTION_TEXT,
     &request.columns.target, 0, 0},
    {"context", "C,D", "columns that are given: the density is that of the targets given these", OPTION_TEXT,
     &request.columns.context, 0, 0},
    {"array", "NAME", "which array of an .npz", OPTION_TEXT, &request.columns.array, 0, 0},
    {"drop-missing", NULL, "leave out rows with missing fields, else they are an error", OPTION_FLAG,
     &request.columns.drop, 0, 0},
    {"validation", "X", "share of rows that decides when to stop", OPTION_NUMBER, &request.validation, 0, 0.9},
    {"test", "X", "share of rows that the score is of", OPTION_NUMBER, &request.test, 0, 0.9},
    {"steps", "N", "steps at most", OPTION_COUNT, &request.steps, 1, 1e9},
    {"patience", "N", "validations without a better one that end the fit; 0: none do", OPTION_COUNT, &request.patience,
     0, 1e6},
    {"batch", "N", "rows a step; 0: by the number of rows", OPTION_COUNT, &request.batch, 0, 1e6},
    {"lr", "X", "learning rate at first; halved when validation stops falling", OPTION_NUMBER, &request.lr, 1e-12, 10},
    {"anneal", NULL, "the rate falls as half a cosine, to 0 at --steps, whatever the validation", OPTION_FLAG,
     &request.anneal, 0, 0},
    {"weight-decay", "X", "of AdamW", OPTION_NUMBER, &request.weight_decay, 0, 1},
    {"seed", "N", "of split, weights and batches; same seed, same model", OPTION_COUNT, &request.seed, 0, 1e15},
    {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &request.threads, 0, 256},
    {"checkpoint", "PATH", "write checkpoints, and go on from the newest", OPTION_TEXT, &request.checkpoint, 0, 0},
    {"log", "FILE", "metrics as JSON lines", OPTION_TEXT, &request.log, 0, 0},
    {"json", NULL, "results as one JSON object", OPTION_FLAG, &request.json, 0, 0},
    {"quiet", NULL, "no progress and no warnings on standard error", OPTION_FLAG, &request.quiet, 0, 0},
};

static int run(void) {
    ad_error error = {0};
    outcome o = {0};
    if (work(&request, &o, &error) != AD_OK) return tool_fail(&tool_fit, &error);
    return o.fit.signal ? 128 + o.fit.signal : 0;
}

const tool_command tool_fit = {
    "fit",   "a density fitted to a table",    "Fits a normalizing flow to the rows of a table by maximum likelihood.",
    options, sizeof options / sizeof *options, run};
