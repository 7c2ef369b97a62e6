// guard.c -- what to do about a step that went wrong: skip it, go back to the last good state, or give up.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "optim.h"

enum { LEAST = 20 };  // values before a spike can be told

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, int n) {
    qsort(v, (size_t)n, sizeof *v, ascending);
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

// How many robust standard deviations (1.4826 times the median distance to the median) x lies above the values kept.
static double robust_z(const double *kept, int n, double x) {
    double v[OPTIM_GUARD_WINDOW];
    memcpy(v, kept, (size_t)n * sizeof *v);
    double middle = median(v, n);
    for (int i = 0; i < n; i++) v[i] = fabs(kept[i] - middle);
    double spread = 1.4826 * median(v, n);
    return (x - middle) / fmax(spread, 1e-12 * (1 + fabs(middle)));
}

static bool spikes(const optim_guard *g, double loss, double log_norm) {
    int n = (int)(g->values < OPTIM_GUARD_WINDOW ? g->values : OPTIM_GUARD_WINDOW);
    if (!(g->spike > 0) || n < LEAST) return false;
    return robust_z(g->losses, n, loss) > g->spike || robust_z(g->log_norms, n, log_norm) > g->spike;
}

optim_verdict optim_guard_judge(optim_guard *g, double loss, double grad_norm) {
    const double log_norm = log(fmax(grad_norm, 1e-300));
    if (g->scale == 0) g->scale = 1;
    bool finite = isfinite(loss) && isfinite(grad_norm);
    if (finite && !spikes(g, loss, log_norm)) {
        g->losses[g->values % OPTIM_GUARD_WINDOW] = loss;
        g->log_norms[g->values % OPTIM_GUARD_WINDOW] = log_norm;
        g->values++;
        g->in_a_row = 0;
        return OPTIM_GOOD;
    }
    g->skipped++;
    if (g->off) return OPTIM_GIVE_UP;
    if (++g->in_a_row < (g->skips > 0 ? g->skips : 3)) return OPTIM_SKIP;
    g->in_a_row = 0;
    if (g->rolled_back >= (g->rollbacks > 0 ? g->rollbacks : g->rollbacks < 0 ? 0 : 2)) return OPTIM_GIVE_UP;
    g->rolled_back++;
    g->values = 0;
    g->scale *= g->factor > 0 ? g->factor : 0.5;
    return OPTIM_ROLL_BACK;
}
