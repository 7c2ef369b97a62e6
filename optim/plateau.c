// plateau.c -- a learning rate that is lowered when the validation loss no longer falls.
#include <math.h>

#include "optim.h"

double optim_plateau_update(optim_plateau *p, double loss) {
    const double factor = p->factor == 0 ? 0.1 : p->factor, share = p->threshold == 0 ? 1e-4 : p->threshold;
    const int patience = p->patience == 0 ? 10 : p->patience < 0 ? 0 : p->patience;
    if (p->values++ == 0) {
        p->best = INFINITY;
        if (p->scale == 0) p->scale = 1;
    }
    if (loss < p->best && (isinf(p->best) || loss < p->best - share * fabs(p->best))) {
        p->best = loss;
        p->bad = 0;
    } else if (++p->bad > patience) {
        p->scale = fmax(p->scale * factor, p->least);
        p->bad = 0;
    }
    return p->scale;
}
