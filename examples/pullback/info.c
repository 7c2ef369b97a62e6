// info.c -- pullback info: what a model file holds.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

static void print_tensors(const flow_model *model) {
    int n;
    const flow_tensor *t = flow_tensors(model, &n);
    for (int i = 0; i < n; i++) {
        char shape[96];
        ad_shape s = t[i].param ? t[i].param->shape : t[i].state->shape;
        ad_type type = t[i].param ? t[i].param->type : t[i].state->type;
        printf("  %-30s %s%s%s\n", t[i].name, type == AD_F64 ? "f64 " : "f32 ", ad_shape_print(s, shape, sizeof shape),
               t[i].param ? "" : "  not trained");
    }
}

static const char *file;
static bool json, tensors;
static const option_row options[] = {{"MODEL", NULL, "a model file", OPTION_ARGUMENT, &file, 0, 0},
                                     {"tensors", NULL, "list its tensors, too", OPTION_FLAG, &tensors, 0, 0},
                                     {"json", NULL, "its description as JSON, all of it", OPTION_FLAG, &json, 0, 0}};

static int run(void) {
    ad_error error = {0};
    flow_model *model = tool_load(file, NULL, &error);
    if (!model) return tool_fail(&tool_info, &error);
    char *text = flow_describe(model);
    const char *line = flow_model_text(model), *target = flow_note(model, TOOL_TARGET);
    const char *context = flow_note(model, TOOL_CONTEXT);
    if (json) {
        printf("%s\n", text ? text : "");
    } else {
        char shape[96];
        printf("model       %s\n", line ? line : "without a one-line description");
        printf("of          %s%s%s\n", ad_shape_print(flow_model_shape(model), shape, sizeof shape), target ? ": " : "",
               target ? target : "");
        if (flow_model_context(model)) {
            printf("given       %" PRId64 "%s%s\n", flow_model_context(model), context ? ": " : "",
                   context ? context : "");
        }
        printf("parameters  %" PRId64 "\n", flow_param_count(model));
        if (tensors) print_tensors(model);
    }
    free(text);
    flow_model_free(model);
    return 0;
}

const tool_command tool_info = {"info",  "what a model file holds",        "Says what a model file holds.",
                                options, sizeof options / sizeof *options, run};
