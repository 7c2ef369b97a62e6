// show_step.h -- progress of fits, on stderr.
#ifndef EXAMPLES_SHOW_STEP_H
#define EXAMPLES_SHOW_STEP_H

#include "optim.h"

// As optim_fit_options.progress; meter: a progress.
bool show_step(void *meter, const optim_progress *p);

#endif
