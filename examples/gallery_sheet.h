// gallery_sheet.h -- true densities and models of them in one picture.
#ifndef EXAMPLES_GALLERY_SHEET_H
#define EXAMPLES_GALLERY_SHEET_H

#include "names.h"
#include "panels.h"
#include "portrait.h"

typedef struct gallery_sheet {
    const names *model, *name;  // of densities
    portrait *window;           // one a density
    panels *drawn;
    double *log_p;
} gallery_sheet;

// A sheet with the true densities on it. Borrows the names and the engine. Close after failure, too.
ad_status gallery_sheet_open(gallery_sheet *s, const names *models, const names *densities, ad_engine *engine,
                             ad_error *error);
// Draws a model, number m of the names, of density number d; both count from 1.
ad_status gallery_sheet_show(gallery_sheet *s, int m, int d, const flow_model *model, double gap, ad_error *error);
// Writes the picture; once.
ad_status gallery_sheet_save(gallery_sheet *s, const char *file, ad_error *error);
void gallery_sheet_close(gallery_sheet *s);

#endif
