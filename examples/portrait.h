// portrait.h -- a density of the plane and a model of it in one picture.
#ifndef EXAMPLES_PORTRAIT_H
#define EXAMPLES_PORTRAIT_H

#include "canvas.h"
#include "data.h"
#include "flows.h"

enum { PORTRAIT_NX = 200, PORTRAIT_NY = 200, PORTRAIT_CELLS = PORTRAIT_NX * PORTRAIT_NY };

// A window on a density: where it is drawn, and what its logarithm is there.
typedef struct portrait {
    const data_density *density;
    ad_engine *engine;
    plot_range x, y, scale;  // scale: of the log-density's colours, nats
    double *cells;           // [PORTRAIT_CELLS][2], centres of a grid, lowest y first
    double *truth;           // [PORTRAIT_CELLS]
} portrait;

// Borrows density and engine. Close after failure, too.
ad_status portrait_open(portrait *p, const data_density *density, ad_engine *engine, ad_error *error);
void portrait_close(portrait *p);
// True and model density, samples of the model, and what the model makes of straight lines of its latent side.
ad_status portrait_draw(const portrait *p, const char *file, const flow_model *model, const char *title, uint64_t seed,
                        ad_error *error);

#endif
