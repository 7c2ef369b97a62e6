// sample.c -- pullback sample: new rows from a model.
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "tool.h"

typedef struct asked {
    const char *model, *out, *given;
    tool_columns columns;
    int64_t n, seed, threads;
    bool json, quiet;
} asked;

// A line of numbers at the top would be read as a row.
static const char *header(const char *names) {
    return names && names[strspn(names, "0123456789,")] ? names : NULL;
}

// A file whose columns are the context's. told: by whom the command was called, else by the model.
static ad_status read_context(const asked *a, const flow_model *model, bool told, tool_rows *rows, ad_error *error) {
    int64_t C = flow_model_context(model);
    if (!a->given) {
        return ad_fail(error, AD_EARG,
                       "the model takes %lld columns of context (%s): give rows of them with --given FILE",
                       (long long)C, a->columns.context ? a->columns.context : "unnamed");
    }
    // Where the model's names are not those of its columns, all of them are taken.
    tool_columns columns = {.target = a->columns.context, .array = a->columns.array};
    ad_status status = tool_read(a->given, &columns, AD_F64, rows, error);
    if (status == AD_EARG && !told) columns.target = NULL, status = tool_read(a->given, &columns, AD_F64, rows, error);
    if (status != AD_OK || rows->x->columns == C) return status;
    return ad_fail(error, AD_ESHAPE, "%s: %lld columns, the model's context has %lld", a->given,
                   (long long)rows->x->columns, (long long)C);
}

static ad_status work(asked *a, ad_error *error) {
    if (a->json && !a->out) return ad_fail(error, AD_EARG, "--json: where are the rows to go? --out FILE");
    const bool told = a->columns.context != NULL;
    flow_model *model = tool_load(a->model, &a->columns, error);
    tool_rows given = {0};
    ad_engine *engine = model ? ad_engine_new(&(ad_engine_options){.threads = (int)a->threads}, error) : NULL;
    ad_status status = engine ? AD_OK : error->status;
    if (status == AD_OK && flow_model_context(model) > 0) status = read_context(a, model, told, &given, error);
    data_table *out =
        status == AD_OK ? data_table_new(DATA_F64, a->n, ad_shape_count(flow_model_shape(model)), error) : NULL;
    if (status == AD_OK && !out) status = error->status;
    if (status == AD_OK) status = tool_draw(model, engine, given.x, (uint64_t)a->seed, out, error);
    if (status == AD_OK) status = tool_write(a->out, out, header(flow_note(model, TOOL_TARGET)), error);
    if (status == AD_OK && a->json) {
        status = tool_print(json_pack("{s:I, s:o, s:s}", "rows", (json_int_t)a->n, "columns",
                                      tool_names(flow_note(model, TOOL_TARGET)), "out", a->out),
                            error);
    } else if (status == AD_OK && a->out && !a->quiet) {
        fprintf(stderr, "%lld rows drawn\n", (long long)a->n);
    }
    data_table_free(out);
    tool_rows_free(&given);
    ad_engine_free(engine);
    flow_model_free(model);
    return status;
}

static asked request = {.n = 1000, .seed = 1};
static const option_row options[] = {
    {"MODEL", NULL, "a file of 'pullback fit'", OPTION_ARGUMENT, &request.model, 0, 0},
    {"n", "N", "rows to draw", OPTION_COUNT, &request.n, 1, 1e9},
    {"out", "FILE", "where to write them, .csv or .npy; else standard output", OPTION_TEXT, &request.out, 0, 0},
    {"given", "FILE", "table with the context of each row, used again from its first when it is shorter", OPTION_TEXT,
     &request.given, 0, 0},
    {"context", "C,D", "its columns; else those that the model was fitted to", OPTION_TEXT, &request.columns.context, 0,
     0},
    {"array", "NAME", "which array of an .npz", OPTION_TEXT, &request.columns.array, 0, 0},
    {"seed", "N", "same seed, same rows", OPTION_COUNT, &request.seed, 0, 1e15},
    {"threads", "N", "threads to compute with; 0: all there are", OPTION_COUNT, &request.threads, 0, 256},
    {"json", NULL, "say on standard output, as one JSON object, what went to --out", OPTION_FLAG, &request.json, 0, 0},
    {"quiet", NULL, "say nothing on standard error", OPTION_FLAG, &request.quiet, 0, 0},
};

static int run(void) {
    ad_error error = {0};
    return work(&request, &error) == AD_OK ? 0 : tool_fail(&tool_sample, &error);
}

const tool_command tool_sample = {"sample", "new rows from a model",          "Draws rows from a model.",
                                  options,  sizeof options / sizeof *options, run};
