// options.c -- long options on getopt_long.
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 };

static _Noreturn void wrong(const char *program, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry '%s --help'.\n", program);
    va_end(args);
    exit(2);
}

const char *options_default(const option_row *row, char text[64]) {
    if (row->kind == OPTION_TEXT) return *(const char **)row->value;
    if (row->kind == OPTION_COUNT) snprintf(text, 64, "%" PRId64, *(int64_t *)row->value);
    if (row->kind == OPTION_NUMBER) snprintf(text, 64, "%g", *(double *)row->value);
    return row->kind == OPTION_COUNT || row->kind == OPTION_NUMBER ? text : NULL;
}

static _Noreturn void help(const char *program, const char *summary, const option_row *rows, int n) {
    printf("Usage: %s", program);
    for (int i = 0; i < n; i++) {
        if (rows[i].kind == OPTION_ARGUMENT) printf(*(const char **)rows[i].value ? " [%s]" : " %s", rows[i].name);
    }
    printf(" [option]...\n%s\n\n", summary);
    for (int i = 0; i < n; i++) {
        if (rows[i].kind == OPTION_ARGUMENT) {
            printf("  %-21s %s\n", rows[i].name, rows[i].help);
            continue;
        }
        int used =
            printf("  --%s%s%s", rows[i].name, rows[i].argument ? " " : "", rows[i].argument ? rows[i].argument : "");
        printf("%*s%s", used < 24 ? 24 - used : 1, "", rows[i].help);
        char text[64];
        const char *usual = options_default(&rows[i], text);
        if (usual) printf(" [%s]", usual);
        putchar('\n');
    }
    printf("  --help                print this and exit\n");
    if (fflush(stdout) == 0) exit(0);
    fprintf(stderr, "%s: standard output: cannot be written: %s\n", program, strerror(errno));
    exit(1);
}

static void set(const char *program, const option_row *row, const char *text) {
    char *end = NULL;
    errno = 0;
    if (row->kind == OPTION_FLAG) {
        *(bool *)row->value = true;
        return;
    }
    if (row->kind == OPTION_TEXT) {
        if (!*text) wrong(program, "--%s: expected %s, got an empty text", row->name, row->argument);
        *(const char **)row->value = text;
        return;
    }
    bool whole = row->kind == OPTION_COUNT;
    int64_t count = whole ? strtoll(text, &end, 10) : 0;
    double number = whole ? (double)count : strtod(text, &end);
    if (end == text || *end || errno || !(number >= row->low && number <= row->high)) {
        wrong(program, "--%s: expected a %snumber from %.12g to %.12g, got '%s'", row->name, whole ? "whole " : "",
              row->low, row->high, text);
    }
    if (whole) {
        *(int64_t *)row->value = count;
    } else {
        *(double *)row->value = number;
    }
}

// The next argument's row; the one that is missing when text is NULL.
static void take_argument(const char *program, const option_row *rows, int n, int *at, const char *text) {
    while (*at < n && rows[*at].kind != OPTION_ARGUMENT) ++*at;
    if (text && *at == n) wrong(program, "unexpected argument '%s'", text);
    if (text && !*text) wrong(program, "%s: expected a text, got an empty one", rows[*at].name);
    if (text) {
        *(const char **)rows[(*at)++].value = text;
    } else if (*at < n && !*(const char **)rows[*at].value) {
        wrong(program, "%s is missing: %s", rows[*at].name, rows[*at].help);
    }
}

void options_read_as(const char *program, int argc, char **argv, const char *summary, const option_row *rows, int n) {
    enum { FIRST = 2 };  // getopt's code of row 0; 1 is an argument's
    struct option list[MOST + 2] = {{0}};
    int argument = 0;
    if (n > MOST) wrong(program, "more than %d options in the table", MOST);
    for (int i = 0; i < n; i++) {
        list[i] = (struct option){rows[i].name, rows[i].kind == OPTION_FLAG ? no_argument : required_argument, NULL,
                                  FIRST + i};
    }
    list[n] = (struct option){"help", no_argument, NULL, FIRST + n};
    opterr = 0;
    for (int code, at = 1; (code = getopt_long(argc, argv, "-:", list, NULL)) != -1; at = optind) {
        if (code == ':') wrong(program, "%s: expected a value after it", argv[optind - 1]);
        if (code == 1) {
            take_argument(program, rows, n, &argument, optarg);
            continue;
        }
        bool known =
            code >= FIRST && code <= FIRST + n && (code == FIRST + n || rows[code - FIRST].kind != OPTION_ARGUMENT);
        if (!known) wrong(program, "unknown or ambiguous option '%s'", argv[at]);
        if (code == FIRST + n) help(program, summary, rows, n);
        set(program, &rows[code - FIRST], optarg);
    }
    for (; optind < argc; optind++) take_argument(program, rows, n, &argument, argv[optind]);  // behind --
    take_argument(program, rows, n, &argument, NULL);
}

void options_read(int argc, char **argv, const char *summary, const option_row *rows, int n) {
    const char *slash = strrchr(argv[0], '/');
    options_read_as(slash ? slash + 1 : argv[0], argc, argv, summary, rows, n);
}
