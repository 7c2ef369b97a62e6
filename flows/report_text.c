// report_text.c -- what flow_report found, as a table.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { CELL = 24 };

// A number in so many digits, or "-" where it does not apply.
static const char *cell(char *buffer, double v, const char *format) {
    if (isnan(v)) return "-";
    snprintf(buffer, CELL, format, v);
    return buffer;
}

// As per cent.
static const char *part(char *buffer, double v) {
    return cell(buffer, 100 * v, "%.3g %%");
}

static int add_line(char *at, size_t room, const char *number, const flow_fare *f) {
    char b[7][CELL];
    return snprintf(at, room, "%5s %-24.24s %10s %9s %8s %9s %8s %9s %10s\n", number, f->name,
                    cell(b[0], f->log_det, "%.4g"), cell(b[1], f->log_det_sd, "%.3g"), part(b[2], f->share),
                    part(b[3], f->saturation), part(b[4], f->tails), cell(b[5], f->condition, "%.3g"),
                    cell(b[6], f->round_trip, "%.2g"));
}

char *flow_health_text(const flow_health *health) {
    enum { LINE = 200 };
    size_t room = LINE * ((size_t)health->n + 4), used = 0;
    char *text = malloc(room), number[CELL];
    if (!text) return NULL;
    used += (size_t)snprintf(text, room, "%5s %-24s %10s %9s %8s %9s %8s %9s %10s\n", "", "layer", "log_det", "sd",
                             "share", "at bound", "in tails", "condition", "round trip");
    for (int i = 0; i < health->n; i++) {
        snprintf(number, sizeof number, "%d", i);
        used += (size_t)add_line(text + used, room - used, number, &health->layers[i]);
    }
    used += (size_t)add_line(text + used, room - used, "whole", &health->whole);
    snprintf(text + used, room - used, "%lld rows, log_prob %.6g, sd %.3g\n", (long long)health->rows, health->log_prob,
             health->log_prob_sd);
    return text;
}
