// show_step.c -- how far a fit is, how good, how fast, and how long it will take.
#include "show_step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "progress.h"

bool show_step(void *meter, const optim_progress *p) {
    const double left = p->seconds / (double)p->step * (double)(p->steps - p->step);
    char validation[40] = "";  // none yet
    if (!isnan(p->validation)) snprintf(validation, sizeof validation, "  validation %.4f", p->validation);
    progress_show(meter, "step %" PRId64 "/%" PRId64 "  loss %.4f%s  %.0f rows/s  %.0f s left", p->step, p->steps,
                  p->loss, validation, p->rows_per_second, left);
    return true;
}
