// main.c -- pullback: fits densities to tables, scores them, samples them, from the command line.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../options.h"
#include "tool.h"

const tool_command *const tool_commands[] = {&tool_fit,    &tool_score_command, &tool_sample, &tool_info, &tool_check,
#ifdef EXAMPLES_CAIRO  // where cairo is
                                             &tool_plot,
#endif
                                             &tool_models, &tool_doctor,        NULL};

static int usage(FILE *to, int status) {
    fprintf(to, "Usage: pullback COMMAND ...\nDensities of tables by normalizing flows.\n\n");
    for (int i = 0; tool_commands[i]; i++)
        fprintf(to, "  %-8s  %s\n", tool_commands[i]->name, tool_commands[i]->summary);
    fprintf(to, "\n'pullback COMMAND --help' explains a command, 'man pullback' all of them.\n");
    return status;
}

int tool_fail(const tool_command *command, const ad_error *error) {
    fprintf(stderr, "pullback %s: %s\n", command->name, error->message);
    return 1;
}

static int run(const tool_command *command, int argc, char **argv) {
    char program[64];
    snprintf(program, sizeof program, "pullback %s", command->name);
    options_read_as(program, argc, argv, command->text, command->rows, command->n);
    return command->run();
}

static int command_line(int argc, char **argv) {
    if (argc < 2) return usage(stderr, 2);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) return usage(stdout, 0);
    if (strcmp(argv[1], "--version") == 0) return puts("pullback " TOOL_VERSION), 0;
    if (strcmp(argv[1], "--manual") == 0) return tool_print_manual();
    if (strcmp(argv[1], "--completion") == 0) return tool_print_completion(argc > 2 ? argv[2] : "");
    for (int i = 0; tool_commands[i]; i++) {
        if (strcmp(argv[1], tool_commands[i]->name) == 0) return run(tool_commands[i], argc - 1, argv + 1);
    }
    fprintf(stderr, "pullback: unknown command '%s'\n", argv[1]);
    return usage(stderr, 2);
}

int main(int argc, char **argv) {
    // A standard stream that is closed would be the next file opened: what is printed would go there.
    int spare = 0;
    while (spare >= 0 && spare <= 2) spare = open("/dev/null", O_RDONLY);
    if (spare > 2) close(spare);
    int status = command_line(argc, argv);
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || status != 0) return status;
    fprintf(stderr, "pullback: standard output: cannot be written%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return 1;
}
