// check.c -- pullback check: whether a model keeps the laws of a density, and what its layers do to a table.
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

enum { OWN_DRAWS = 1000 };

typedef struct asked {
    const char *model, *data;
    tool_columns columns;
    bool json, quiet;
} asked;

// What has been found out, as text or for JSON.
typedef struct findings {
    const asked *asked;
    json_t *json;
    int wrong;
} findings;

static void tell(findings *f, const char *what, ad_status status, const ad_error *error) {
    const char *text = status == AD_OK ? "ok" : error->message;
    if (!f->asked->json && (!f->asked->quiet || status != AD_OK)) printf("%-10s %s\n", what, text);
    json_object_set_new(f->json, what, json_string(text));
    f->wrong += status != AD_OK;
}

// Of one or two columns; of a model that is given others, at the first row of the table, or where these are 0.
static void integral(findings *f, const flow_model *model, const data_table *context) {
    ad_error error = {0};
    double got = NAN, given[64];
    const int64_t C = flow_model_context(model);
    if (ad_shape_count(flow_model_shape(model)) > 2 || C > 64) return;
    for (int64_t i = 0; i < C; i++) given[i] = context ? data_get(context, 0, i) : 0;
    ad_status status = flow_check_integral(model, &(flow_integral_options){.context = given}, &got, &error);
    tell(f, "integral", status, &error);
    json_object_set_new(f->json, "integral_value", tool_real(got));
}

// Layers as they are, not moved by noise: the model in the file is what is asked about.
static void laws(findings *f, flow_model *model) {
    ad_error error = {0};
    flow_check_options as_it_is = {.perturb = -1, .cases = 2};
    ad_status status = flow_check_model(model, &as_it_is, &error);
    tell(f, "laws", status, &error);
}

static json_t *fare(const flow_fare *l) {
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", l->name, "log_det", tool_real(l->log_det),
                     "log_det_sd", tool_real(l->log_det_sd), "saturation", tool_real(l->saturation), "tails",
                     tool_real(l->tails), "condition", tool_real(l->condition), "round_trip", tool_real(l->round_trip));
}

static void report(findings *f, const flow_model *model, const flow_rows *rows) {
    ad_error error = {0};
    flow_health *health = flow_report(model, rows, NULL, &error);
    if (!health) {
        tell(f, "report", error.status, &error);
        return;
    }
    char *text = flow_health_text(health);
    if (text && !f->asked->json && !f->asked->quiet) printf("\n%s", text);
    free(text);
    json_t *layers = json_array();
    for (int i = 0; i < health->n; i++) json_array_append_new(layers, fare(&health->layers[i]));
    json_object_set_new(f->json, "report",
                        json_pack("{s:I, s:o, s:o, s:o, s:o}", "rows", (json_int_t)health->rows, "log_density",
                                  tool_real(health->log_prob), "log_density_sd", tool_real(health->log_prob_sd),
                                  "whole", fare(&health->whole), "layers", layers));
    flow_health_free(health);
}

// Of the table, or without one of rows that the model draws.
static void rows(findings *f, const flow_model *model, const tool_rows *table) {
    ad_error error = {0};
    tool_rows own = *table;
    if (!table->x) {
        own.x = data_table_new(DATA_F64, OWN_DRAWS, ad_shape_count(flow_model_shape(model)), &error);
        ad_status status = own.x ? tool_draw(model, NULL, NULL, 1, own.x, &error) : error.status;
        if (status != AD_OK) tell(f, "draws", status, &error);
        if (status != AD_OK) {
            data_table_free(own.x);
            return;
        }
    }
    const flow_rows all = tool_source(&own);
    ad_status status = flow_find_nonfinite(model, &all, &error);
    tell(f, table->x ? "table" : "draws", status, &error);
    if (status == AD_OK) report(f, model, &all);
    if (!table->x) data_table_free(own.x);
}

static ad_status work(asked *a, findings *f, ad_error *error) {
    flow_model *model = tool_load(a->model, &a->columns, error);
    tool_rows table = {0};
    ad_status status = model ? AD_OK : error->status;
    if (status == AD_OK && *a->data) status = tool_read(a->data, &a->columns, AD_F64, &table, error);
    if (status == AD_OK && table.x) status = tool_fits(model, &table, error);
    if (status == AD_OK) {
        laws(f, model);
        integral(f, model, table.context);
        if (table.x || !flow_model_context(model)) rows(f, model, &table);
        json_object_set_new(f->json, "ok", json_boolean(f->wrong == 0));
        if (a->json) status = tool_print(json_incref(f->json), error);
    }
    tool_rows_free(&table);
    flow_model_free(model);
    return status;
}

static asked request = {.data = ""};
static const option_row options[] = {
    {"MODEL", NULL, "a model file", OPTION_ARGUMENT, &request.model, 0, 0},
    {"DATA", NULL, "a table to look at its layers with; else rows that it draws", OPTION_ARGUMENT, &request.data, 0, 0},
    {"target", "A,B", "columns; else those that the model was fitted to", OPTION_TEXT, &request.columns.target, 0, 0},
    {"context", "C,D", "columns that it is given; else as it was fitted", OPTION_TEXT, &request.columns.context, 0, 0},
    {"array", "NAME", "which array of an .npz", OPTION_TEXT, &request.columns.array, 0, 0},
    {"drop-missing", NULL, "leave out rows with missing fields, else they are an error", OPTION_FLAG,
     &request.columns.drop, 0, 0},
    {"json", NULL, "findings as one JSON object", OPTION_FLAG, &request.json, 0, 0},
    {"quiet", NULL, "only what is wrong", OPTION_FLAG, &request.quiet, 0, 0},
};

static int run(void) {
    ad_error error = {0};
    findings f = {.asked = &request, .json = json_object()};
    ad_status status = work(&request, &f, &error);
    json_decref(f.json);
    if (status != AD_OK) return tool_fail(&tool_check, &error);
    return f.wrong != 0;
}

const tool_command tool_check = {"check",
                                 "whether a model keeps the laws of a density",
                                 "Checks that a model's directions undo each other, that its log_det is that of its "
                                 "Jacobian and that it integrates to 1; says how its layers fare.",
                                 options,
                                 sizeof options / sizeof *options,
                                 run};
