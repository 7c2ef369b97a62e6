// models.c -- pullback models: what 'fit --model' takes.
#include <stdio.h>
#include <stdlib.h>

#include "../options.h"
#include "tool.h"

static int run(void) {
    char *text = flow_text_help();
    int wrong = !text || fputs(text, stdout) < 0;
    free(text);
    return wrong || fflush(stdout);
}

const tool_command tool_models = {
    "models", "what 'fit --model' takes", "Lists the models that fit --model takes, their keys and values.", NULL, 0,
    run};
