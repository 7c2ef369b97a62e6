// completion.c -- what bash and zsh complete pullback's commands with, from the commands' tables.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "tool.h"

// The names of models, as words.
static void print_models(void) {
    char *text = flow_text_help();
    for (char *line = text ? strchr(text, '\n') : NULL; line && line[1]; line = strchr(line + 1, '\n')) {
        const size_t name = strcspn(line + 1, ":=");
        if (line[1] != ' ' && line[1 + name] == ':') printf(" %.*s", (int)name, line + 1);
    }
    free(text);
}

static void print_bash(void) {
    printf(
        "# bash completion of pullback; printed by pullback --completion bash.\n"
        "_pullback() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\n"
        "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" = 1 ]; then\n        words='");
    for (int i = 0; tool_commands[i]; i++) printf("%s ", tool_commands[i]->name);
    printf("--help --version'\n    elif [ \"$before\" = --model ]; then\n        words='");
    print_models();
    printf("'\n    elif [ \"${word#-}\" != \"$word\" ]; then\n        case ${COMP_WORDS[1]} in\n");
    for (int i = 0; tool_commands[i]; i++) {
        printf("            %s) words='", tool_commands[i]->name);
        for (int k = 0; k < tool_commands[i]->n; k++) {
            const option_row *row = &tool_commands[i]->rows[k];
            if (row->kind != OPTION_ARGUMENT) printf("--%s ", row->name);
        }
        printf("--help' ;;\n");
    }
    printf(
        "        esac\n    fi\n    if [ -n \"$words\" ]; then\n"
        "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n    else\n"
        "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n        compopt -o filenames 2> /dev/null\n    "
        "fi\n}\n"
        "complete -F _pullback pullback\n");
}

// Help within '...[...]'.
static void put_help(const char *text) {
    for (; *text; text++) {
        if (*text == '[' || *text == ']' || *text == ':') putchar('\\');
        printf(*text == '\'' ? "'\\''" : "%c", *text);
    }
}

static void print_zsh(void) {
    printf("#compdef pullback\n# Printed by pullback --completion zsh.\nlocal -a commands=(\n");
    for (int i = 0; tool_commands[i]; i++) {
        printf("  '%s:", tool_commands[i]->name);
        put_help(tool_commands[i]->summary);
        printf("'\n");
    }
    printf(
        ")\nif (( CURRENT == 2 )); then\n  _describe command commands\n  return\nfi\nlocal command=$words[2]\n"
        "shift words\n(( CURRENT-- ))\ncase $command in\n");
    for (int i = 0; tool_commands[i]; i++) {
        printf("  %s) _arguments", tool_commands[i]->name);
        for (int k = 0; k < tool_commands[i]->n; k++) {
            const option_row *row = &tool_commands[i]->rows[k];
            if (row->kind == OPTION_ARGUMENT) continue;
            printf(" \\\n    '--%s[", row->name);
            put_help(row->help);
            const bool file =
                row->argument && (strcmp(row->argument, "FILE") == 0 || strcmp(row->argument, "PATH") == 0);
            printf(row->argument ? "]:%s:%s'" : "]'", row->argument, file ? "_files" : "");
        }
        printf(" \\\n    '--help[print help and exit]' '*:file:_files' ;;\n");
    }
    printf("esac\n");
}

int tool_print_completion(const char *shell) {
    if (strcmp(shell, "bash") == 0) {
        print_bash();
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh();
    } else {
        fprintf(stderr, "pullback: --completion: bash or zsh, not '%s'\n", shell);
        return 2;
    }
    return 0;
}
