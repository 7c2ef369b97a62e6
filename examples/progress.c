// progress.c -- one updating line on a terminal, now and then a plain line elsewhere; no colours, nothing on stdout.
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

progress progress_start(bool quiet) {
    const char *term = getenv("TERM");
    double start = now();
    bool terminal = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
    return (progress){.quiet = quiet, .terminal = terminal, .start = start, .last = start};
}

double progress_seconds(const progress *p) {
    return now() - p->start;
}

static void print(progress *p, bool update, const char *format, va_list args) {
    if (p->terminal) fputs("\r\x1b[K", stderr);  // to the line's beginning, and clear it
    vfprintf(stderr, format, args);
    if (!update) fputc('\n', stderr);
    fflush(stderr);
    p->open = update;
    p->last = now();
}

void progress_show(progress *p, const char *format, ...) {
    if (p->quiet || now() - p->last < (p->terminal ? 0.1 : 2)) return;
    va_list args;
    va_start(args, format);
    print(p, p->terminal, format, args);
    va_end(args);
}

void progress_end(progress *p, const char *format, ...) {
    if (p->quiet) return;
    va_list args;
    va_start(args, format);
    print(p, false, format, args);
    va_end(args);
}
