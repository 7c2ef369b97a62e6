// schedule.c -- the learning rate over a run, as a factor.
#include <math.h>

#include "optim.h"

// Half a cosine from a to b, done from 0 to 1.
static double half_cosine(double a, double b, double done) {
    return b + (a - b) * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

double optim_schedule_factor(optim_schedule schedule, int64_t step, int64_t steps, int64_t warm_up, double last) {
    if (schedule == OPTIM_ONE_CYCLE) {
        if (warm_up == 0) warm_up = steps * 3 / 10;
        if (step < warm_up) return half_cosine(1.0 / 25, 1, (double)step / (double)warm_up);
    } else if (step < warm_up) {
        return (double)(step + 1) / (double)warm_up;
    }
    if (schedule == OPTIM_CONSTANT || steps <= warm_up) return 1;
    double done = fmin((double)(step - warm_up) / (double)(steps - warm_up), 1);
    if (schedule == OPTIM_LINEAR) return 1 + (last - 1) * done;
    if (schedule == OPTIM_EXPONENTIAL) return pow(last, done);
    return half_cosine(1, last, done);
}
