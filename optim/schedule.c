// schedule.c -- the learning rate over a run, as a factor.
#include <math.h>

#include "optim.h"

double optim_schedule_factor(optim_schedule schedule, int64_t step, int64_t steps, int64_t warm_up, double last) {
    if (step < warm_up) return (double)(step + 1) / (double)warm_up;
    if (schedule != OPTIM_COSINE || steps <= warm_up) return 1;
    double done = (double)(step - warm_up) / (double)(steps - warm_up);
    if (done > 1) done = 1;
    return last + (1 - last) * 0.5 * (1 + cos(3.14159265358979323846 * done));
}
