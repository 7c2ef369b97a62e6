// check.c -- pullback check: whether a model keeps the laws of a density, where it stands, and what its layers do to a
// table.
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

typedef struct asked {
    const char *model, *data;
    tool_columns columns;
} asked;

static int line(const char *what, ad_status status, const ad_error *error) {
    printf("%-10s %s\n", what, status == AD_OK ? "ok" : error->message);
    return status != AD_OK;
}

// Of one or two columns; of a model that is given others, where these are 0.
static int integral(const flow_model *model) {
    ad_error error = {0};
    double got = 0;
    if (ad_shape_count(flow_model_shape(model)) > 2) return 0;
    ad_status status = flow_check_integral(model, NULL, &got, &error);
    if (status != AD_OK) return line("integral", status, &error);
    printf("%-10s ok, %.6f\n", "integral", got);
    return 0;
}

// Layers as they are, not moved by noise: the model in the file is what is asked about.
static int laws(flow_model *model) {
    ad_error error = {0};
    flow_check_options as_it_is = {.perturb = -1, .cases = 2};
    return line("laws", flow_check_model(model, &as_it_is, &error), &error);
}

static int table(asked *a, const flow_model *model) {
    ad_error error = {0};
    tool_rows rows;
    ad_status status = tool_read(a->data, &a->columns, AD_F64, &rows, &error);
    if (status != AD_OK) return line("table", status, &error);
    flow_rows all = tool_source(&rows);
    status = flow_find_nonfinite(model, &all, &error);
    int wrong = line("table", status, &error);
    flow_health *health = status == AD_OK ? flow_report(model, &all, NULL, &error) : NULL;
    char *text = health ? flow_health_text(health) : NULL;
    if (text) printf("\n%s", text);
    if (status == AD_OK && !health) wrong += line("report", error.status, &error);
    free(text);
    flow_health_free(health);
    tool_rows_free(&rows);
    return wrong;
}

static int run(int argc, char **argv) {
    static asked a = {.data = ""};
    const option_row rows[] = {
        {"MODEL", NULL, "a model file", OPTION_ARGUMENT, &a.model, 0, 0},
        {"DATA", NULL, "a table: its densities are to be finite, too", OPTION_ARGUMENT, &a.data, 0, 0},
        {"target", "A,B", "columns; else those that the model was fitted to", OPTION_TEXT, &a.columns.target, 0, 0},
        {"context", "C,D", "columns that it is given; else as it was fitted", OPTION_TEXT, &a.columns.context, 0, 0},
        {"array", "NAME", "which array of an .npz", OPTION_TEXT, &a.columns.array, 0, 0},
    };
    options_read_as("pullback check", argc, argv,
                    "Checks that a model's directions undo each other and that its log_det is that of its Jacobian.",
                    rows, sizeof rows / sizeof *rows);
    ad_error error = {0};
    flow_model *model = tool_load(a.model, &a.columns, &error);
    if (!model) return tool_fail(&tool_check, &error);
    int wrong = laws(model) + integral(model);
    if (*a.data) wrong += table(&a, model);
    flow_model_free(model);
    return wrong != 0 || fflush(stdout);
}

const tool_command tool_check = {"check", "whether a model keeps the laws of a density", run};
