// progress.h -- how far a long computation is, on stderr.
#ifndef EXAMPLES_PROGRESS_H
#define EXAMPLES_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    bool quiet, terminal, open;  // open: an updating line is on the screen
    double start, last;          // seconds; last: when a line was written
} progress;

progress progress_start(bool quiet);
double progress_seconds(const progress *p);
// Says so when it is time to: ten times a second on a terminal, in place; every two seconds otherwise, a line each.
void progress_show(progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Ends the updating line and prints this one.
void progress_end(progress *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
