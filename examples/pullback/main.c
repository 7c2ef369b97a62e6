// main.c -- pullback: fits densities to tables, scores them, samples them, from the command line.
#include <stdio.h>
#include <string.h>

#include "tool.h"

static const tool_command *const commands[] = {&tool_fit,   &tool_score_command, &tool_sample, &tool_info, &tool_check,
#ifdef TOOL_PLOT  // where cairo is
                                               &tool_plot,
#endif
                                               &tool_doctor};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int usage(FILE *to, int status) {
    fprintf(to, "Usage: pullback COMMAND ...\nDensities of tables by normalizing flows.\n\n");
    for (int i = 0; i < COMMANDS; i++) fprintf(to, "  %-8s  %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n'pullback COMMAND --help' explains a command.\n");
    return fflush(to) ? 1 : status;
}

int tool_fail(const tool_command *command, const ad_error *error) {
    fprintf(stderr, "pullback %s: %s\n", command->name, error->message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage(stderr, 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) return usage(stdout, 0);
    if (strcmp(argv[1], "--version") == 0) return puts("pullback " TOOL_VERSION) < 0 || fflush(stdout);
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) return commands[i]->run(argc - 1, argv + 1);
    }
    fprintf(stderr, "pullback: unknown command '%s'\n", argv[1]);
    return usage(stderr, 2);
}
