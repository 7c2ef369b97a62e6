// manual.c -- the manual page, in man(7)'s macros, from the commands' tables.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../options.h"
#include "tool.h"

// Text as it is: neither requests nor escapes, hyphens that can be copied.
static void put(const char *text, size_t n) {
    if (n && (*text == '.' || *text == '\'')) fputs("\\&", stdout);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\\') {
            fputs("\\e", stdout);
        } else if (text[i] == '-') {
            fputs("\\-", stdout);
        } else {
            putchar(text[i]);
        }
    }
}

static void say(const char *text) {
    put(text, strlen(text));
}

static void print_row(const option_row *row) {
    char text[64];
    const char *usual = options_default(row, text);
    printf(".TP\n");
    if (row->kind == OPTION_ARGUMENT) {
        printf(".I ");
        say(row->name);
    } else {
        printf(".BR ");
        say("--");
        say(row->name);
        if (row->argument) printf(" \" \" \\fI%s\\fR", row->argument);
    }
    putchar('\n');
    say(row->help);
    if (usual && *usual && row->kind != OPTION_ARGUMENT) {
        printf(" [");
        say(usual);
        putchar(']');
    }
    putchar('\n');
}

static void print_command(const tool_command *c) {
    printf(".SS pullback %s", c->name);
    for (int i = 0; i < c->n; i++) {
        const bool need = c->rows[i].kind == OPTION_ARGUMENT && !*(const char **)c->rows[i].value;
        if (c->rows[i].kind == OPTION_ARGUMENT) printf(need ? " %s" : " [%s]", c->rows[i].name);
    }
    printf("%s\n", c->n ? " [option]..." : "");
    say(c->text);
    putchar('\n');
    for (int i = 0; i < c->n; i++) print_row(&c->rows[i]);
}

// flow_text_help: "NAME: what it is", "    its keys", "KEY=values: what for".
static void print_models(void) {
    char *text = flow_text_help();
    for (char *line = text ? strchr(text, '\n') : NULL, *end; line && line[1]; line = end) {
        end = strchr(++line, '\n');
        if (!end) end = line + strlen(line);
        const size_t n = (size_t)(end - line), name = strcspn(line, ":=");
        if (*line == ' ') {
            printf("\nKeys: ");
            put(line + 4, n - 4);
        } else {
            const size_t values = line[name] == '=' ? strcspn(line, ":") : name;
            printf(".TP\n.B ");
            put(line, name);
            if (values > name) printf("\n= "), put(line + name + 1, values - name - 1), printf(".\n.br");
            printf("\n");
            if (values + 2 < n) put(line + values + 2, n - values - 2);
        }
        putchar('\n');
    }
    free(text);
}

int tool_print_manual(void) {
    printf(".\\\" Printed by pullback --manual.\n.TH PULLBACK 1 \"\" \"pullback " TOOL_VERSION
           "\"\n"
           ".SH NAME\npullback \\- densities of tables by normalizing flows\n"
           ".SH SYNOPSIS\n.B pullback\n.I COMMAND\n[argument]... [option]...\n"
           ".SH DESCRIPTION\nFits a density to the rows of a table, and works with what was fitted: log\\-densities of "
           "other\n"
           "rows, new rows, checks, pictures. Tables are text (.csv, .tsv, .txt, also with .gz), .npy or .npz; models "
           "are\n"
           "safetensors files that carry their own description and the names of their columns. Log\\-densities are in\n"
           "nats, per unit of the columns.\n.SH COMMANDS\nEach has \\-\\-help. Defaults are in brackets.\n");
    for (int i = 0; tool_commands[i]; i++) print_command(tool_commands[i]);
    printf(
        ".SH MODELS\nA model is one line, \\fINAME\\fR or \\fINAME:KEY=VALUE,KEY=VALUE,...\\fR, such as\n"
        ".BR nsf\\-ar:layers=5,hidden=128x2,bins=8 .\n");
    print_models();
    printf(
        ".SH EXIT STATUS\n.TP\n.B 0\nDone; of check and doctor: nothing is wrong.\n"
        ".TP\n.B 1\nIt could not be done, or something is wrong: a message on standard error says what.\n"
        ".TP\n.B 2\nThe command line is wrong.\n"
        ".TP\n.B 128+N\nfit was ended by signal N; the best parameters so far are saved.\n"
        ".SH ENVIRONMENT\n.TP\n.B AD_PROFILE=1\nprints where the time went, to standard error.\n"
        ".TP\n.B AD_TRACE_NAN=1\nnames the first operation that gives a value that is not finite.\n"
        ".SH EXAMPLES\n.nf\n"
        "pullback fit table.csv \\-\\-target x,y \\-\\-context z \\-\\-log run.jsonl \\-\\-out m.safetensors\n"
        "pullback score m.safetensors new.csv \\-\\-out log_densities.csv\n"
        "pullback sample m.safetensors \\-\\-n 1000 \\-\\-given conditions.csv \\-\\-out rows.npy\n"
        "pullback plot m.safetensors table.csv \\-\\-out corner.pdf\n"
        "pullback plot \\-\\-log run.jsonl \\-\\-out losses.png\n.fi\n");
    return 0;
}
