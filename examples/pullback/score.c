// score.c -- pullback score: the log-density of each row of a table under a model.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

typedef struct asked {
    const char *model, *data, *out;
    tool_columns columns;
    int64_t threads;
    bool quiet, summary, json;
} asked;

static ad_status report(const asked *a, const double *log_p, int64_t n, ad_error *error) {
    double mean, se;
    tool_mean(log_p, n, &mean, &se);
    if (a->json) {
        return tool_print(json_pack("{s:I, s:o, s:o, s:s?}", "rows", (json_int_t)n, "mean_log_density", tool_real(mean),
                                    "standard_error", tool_real(se), "out", a->out),
                          error);
    }
    if (!a->summary && a->quiet) return AD_OK;
    FILE *to = a->summary ? stdout : stderr;
    fprintf(to, "mean log-density %.4f nats (", mean);
    if (n > 1) fprintf(to, "standard error %.4f, ", se);
    fprintf(to, "%lld row%s)\n", (long long)n, n > 1 ? "s" : "");
    return AD_OK;
}

static ad_status work(asked *a, ad_error *error) {
    flow_model *model = tool_load(a->model, &a->columns, error);
    tool_rows rows = {0};
    ad_engine *engine = model ? ad_engine_new(&(ad_engine_options){.threads = (int)a->threads}, error) : NULL;
    ad_status status = engine ? tool_read(a->data, &a->columns, AD_F64, &rows, error) : error->status;
    data_table *scores = status == AD_OK ? data_table_new(DATA_F64, rows.x->rows, 1, error) : NULL;
    if (status == AD_OK && !scores) status = error->status;
    if (status == AD_OK) status = tool_score(model, engine, &rows, data_values(scores), error);
    if (status == AD_OK && (a->out || !(a->summary || a->json)))
        status = tool_write(a->out, scores, "log_density", error);
    if (status == AD_OK) status = report(a, data_values(scores), rows.x->rows, error);
    data_table_free(scores);
    tool_rows_free(&rows);
    ad_engine_free(engine);
    flow_model_free(model);
    return status;
}

static asked request;
static const option_row options[] = {
    {"MODEL", NULL, "a file of 'pullback fit'", OPTION_ARGUMENT, &request.model, 0, 0},
    {"DATA", NULL, "table: .csv, .tsv, .npy, .npz, ...", OPTION_ARGUMENT, &request.data, 0, 0},
    {"out", "FILE", "where to write the log-densities, .csv or .npy; else standard output", OPTION_TEXT, &request.out,
     0, 0},
    {"summary", NULL, "their mean instead, on standard output", OPTION_FLAG, &request.summary, 0, 0},
    {"json", NULL, "the same as one JSON object", OPTION_FLAG, &request.json, 0, 0},
    {"target", "A,B", "columns; else those that the model was fitted to", OPTION_TEXT, &request.columns.target, 0, 0},
    {"context", "C,D", "columns that it is given; else as it was fitted", OPTION_TEXT, &request.columns.context, 0, 0},
    {"array", "NAME", "which array of an .npz", OPTION_TEXT, &request.columns.array, 0, 0},
    {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &request.threads, 0, 256},
    {"quiet", NULL, "no mean on standard error", OPTION_FLAG, &request.quiet, 0, 0},
};

static int run(void) {
    ad_error error = {0};
    return work(&request, &error) == AD_OK ? 0 : tool_fail(&tool_score_command, &error);
}

const tool_command tool_score_command = {
    "score", "log-density of each row of a table", "Writes the log-density of each row under a model, in nats.",
    options, sizeof options / sizeof *options,     run};
