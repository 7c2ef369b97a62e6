// picture.h -- a model of the plane beside its data.
#ifndef EXAMPLES_PICTURE_H
#define EXAMPLES_PICTURE_H

#include "flows.h"

// Draws up to 4,000 of the points xy[n][2], as many samples of the model, and its log-density, in three panels of a
// PNG.
ad_status picture_draw(const char *file, const flow_model *model, ad_engine *engine, const double *xy, int64_t n,
                       uint64_t seed, ad_error *error);

#endif
