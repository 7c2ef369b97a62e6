// models.c -- pullback models: what 'fit --model' takes.
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

static int run(void) {
    char *text = flow_text_help();
    if (!text) return tool_fail(&tool_models, &(ad_error){AD_ENOMEM, "out of memory"});
    fputs(text, stdout);
    free(text);
    return 0;
}

const tool_command tool_models = {
    "models", "what 'fit --model' takes", "Lists the models that fit --model takes, their keys and values.", NULL, 0,
    run};
