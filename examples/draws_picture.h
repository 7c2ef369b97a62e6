// draws_picture.h -- a corner plot of what should be drawn, and of what is.
#ifndef EXAMPLES_DRAWS_PICTURE_H
#define EXAMPLES_DRAWS_PICTURE_H

#include "ad.h"
#include "corner.h"

// corner_draw of the first few of D columns, x1, x2, ...; dots may be NULL. AD_EARG where cairo was not there when this
// was built.
ad_status draws_picture(const char *file, int64_t D, const corner_set *dots, const corner_set *lines, ad_error *error);

#endif
